"""One thread for each worker of pytest-xdist, which has one on every core: threads of small matrices wait for others.

Set before torch and numpy are loaded, and inherited by workers, notebooks and programs that tests start.
"""

import gc
import os

for library in ("OMP", "OPENBLAS", "MKL"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")


def pytest_collection_finish():
    """What is loaded and collected stays: the collector of garbage need not go through it again and again."""
    gc.collect()
    gc.freeze()
