"""Run a compiled kernel over slices of the points on several threads.

Kernels release the interpreter lock, so plain threads suffice, and no global thread pool is touched.
The number of threads follows torch.get_num_threads(), so a caller who limits torch limits us as well.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

__all__ = ["for_slices"]


def for_slices(work: Callable[[int, int], None], total: int, align: int, least: int = 4096) -> None:
    """Call work(start, stop) on disjoint slices that cover range(total), starts at multiples of `align`."""
    threads = max(1, torch.get_num_threads())
    if threads == 1 or total <= least:
        if total:
            work(0, total)
        return
    size = -(-total // (4 * threads))
    size = max(align, -(-size // align) * align)
    starts = range(0, total, size)
    with ThreadPoolExecutor(threads) as pool:
        for future in [pool.submit(work, start, min(start + size, total)) for start in starts]:
            future.result()
