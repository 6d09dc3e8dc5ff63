"""Greedy covers take at least 50 times fewer layers than the paper's uniform covers, in the median at least 100 times.

python -m tests.benchmarks.bench_greedy [eps]: every scalar target of the gallery in the plane but the terrain, and one
more, on [-3, 3]^2, certified by the cover's own proof. Exit status 1 where a claim fails or a cover is not proved.
"""

from __future__ import annotations

import resource
import statistics
import sys
import time

from approx import targets
from approx.affine import AffineMap
from approx.domains import Box
from constructions.covers import greedy, uniform

NAMES = ("gaussian", "bump", "affine_bump", "cone", "ridge", "rings", "saddle", "franke", "peaks")
FEW = ("saddle", "peaks", "rings", "sin(2*x)*cos(y)")  # those that must each be 50 times fewer


def main() -> int:
    eps = float(sys.argv[1]) if len(sys.argv) > 1 else 0.05
    every = [targets.get(name) for name in NAMES]
    every.append(targets.from_expression("sin(2*x)*cos(y)", domain=Box.cube(2, 3.0)))
    ratios, holds = {}, True
    print(f"eps = {eps:g}\n{'target':<18}{'greedy':>8}{'uniform':>9}{'ratio':>8}{'proved':>10}{'CPU s':>8}{'MB':>7}")
    for f in every:
        flat = AffineMap.constant([0.0], 2)
        started = time.process_time()
        cover = greedy(f, eps, f.domain, everywhere=False, affine=flat)
        seconds = time.process_time() - started
        even = uniform(f, eps, f.domain, everywhere=False, affine=flat, values="center")
        ratios[f.name] = len(even) / len(cover)
        holds &= cover.error_bound <= eps
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(
            f"{f.name:<18}{len(cover):8,}{len(even):9,}{ratios[f.name]:8.0f}{cover.error_bound:10.5f}{seconds:8.1f}{memory:7}",
            flush=True,
        )
    print(f"median ratio {statistics.median(ratios.values()):.0f}")
    return 0 if holds and min(ratios[name] for name in FEW) >= 50 and statistics.median(ratios.values()) >= 100 else 1


if __name__ == "__main__":
    raise SystemExit(main())
