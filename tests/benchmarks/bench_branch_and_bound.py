"""Branch and bound brackets sup |F - f| faster than global optimisers and samples find a lower bound of it.

    python -m tests.benchmarks.bench_branch_and_bound [--quick]

One line a method: seconds, the lower bound found, and both as ratios to branch and bound in the same run. Only branch
and bound has an upper bound.
"""

import argparse
import time

import numpy as np
from scipy import optimize

from approx import targets
from approx.certification.branch import branch_and_bound
from approx.certification.cells import Cells
from approx.certification.enclosures import enclosure_of
from constructions import covers

# target, dimension, eps, strategy, tolerance / eps, evaluations for direct
CASES = [
    ("gaussian", 2, 0.035, "adaptive", 1e-3, 20_000),
    ("gaussian", 3, 0.05, "adaptive", 1e-3, 5_000),
    ("gaussian", 3, 0.05, "uniform", 1e-3, 5_000),
    ("gaussian", 4, 0.3, "adaptive", 1e-2, 5_000),
]


def compare(name, dim, eps, strategy, tolerance, evaluations):
    f = getattr(targets, name)(dim)
    cover = covers.make(strategy, f, eps, f.domain, everywhere=True, affine=f.affine)
    problem = (Cells.of(cover, 1e-10), cover.values, cover.affine, enclosure_of(f), f.domain)
    started = time.perf_counter()
    bracket = branch_and_bound(*problem, tol=tolerance * eps)
    ours = time.perf_counter() - started
    decision = branch_and_bound(*problem, eps=1.01 * eps)
    print(
        f"{name} n = {dim}, eps = {eps}, {len(cover):,} cells ({strategy}): {bracket.status},"
        f" [{bracket.lower:.7f}, {bracket.upper:.7f}], {bracket.boxes:,} boxes, {bracket.boxes / ours:.3g} boxes/s;"
        f" sup <= 1.01 eps: {decision.status} in {decision.seconds:.3f} s",
        flush=True,
    )

    def error(points):
        return np.linalg.norm(cover(points) - f(points), axis=1)

    def objective(x):
        return -float(error(x[None])[0])

    bounds = list(zip(f.domain.lower, f.domain.upper, strict=True))
    cover.find(np.zeros((1, dim)))  # builds the index
    peers = {
        "direct": lambda: -optimize.direct(objective, bounds, maxfun=evaluations, maxiter=10**6).fun,
        "shgo": lambda: -optimize.shgo(objective, bounds, n=512, sampling_method="sobol").fun,
        "differential evolution": lambda: -optimize.differential_evolution(objective, bounds, seed=0).fun,
        "1e6 random points": lambda: error(
            np.random.default_rng(0).uniform(*zip(*bounds, strict=True), (10**6, dim))
        ).max(),
    }
    print(f"  {'branch and bound':<24}{ours:9.3f} s   lower {bracket.lower:.7f}")
    for peer, run in peers.items():
        started = time.perf_counter()
        found = run()
        seconds = time.perf_counter() - started
        share = found / bracket.lower - 1
        print(
            f"  {peer:<24}{seconds:9.3f} s   lower {found:.7f}   {seconds / ours:8.2f} x the time, {share:+.2%}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="only the first case")
    options = parser.parse_args()
    f = targets.gaussian(1)
    warm = covers.make("uniform", f, 0.3, f.domain, everywhere=True, affine=f.affine)
    branch_and_bound(Cells.of(warm), warm.values, warm.affine, enclosure_of(f), f.domain, tol=1e-2)  # compiles
    for case in CASES[: 1 if options.quick else None]:
        compare(*case)


if __name__ == "__main__":
    main()
