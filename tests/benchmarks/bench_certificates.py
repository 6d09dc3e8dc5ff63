"""Certificates against their peers: intervals against python-flint and codac, brackets against global optimisers.

    python -m tests.benchmarks.bench_certificates [--quick]

Every line ends with the ratio to the named peer, measured in the same run. Only branch and bound has an upper bound.
codac (a library of guaranteed set methods) is compared where it is installed: pip install codac.
"""

import argparse
import time

import flint
import numpy as np
from scipy import optimize

from approx import Box, targets
from approx.affine import AffineMap
from approx.certification import Cells, branch_and_bound, enclosure_of
from approx.certification.intervals import Interval, up
from approx.certification.jets import mean_value
from constructions import covers

# target, eps, strategy, tolerance, evaluations for direct
CASES = [
    ("waves 2", 0.268, "uniform", 1e-5, 20_000),
    ("gaussian 2", 0.035, "adaptive", 3.5e-5, 20_000),
    ("waves 3", 0.37, "adaptive", 1e-5, 5_000),
    ("gaussian 3", 0.05, "adaptive", 5e-5, 5_000),
    ("gaussian 4", 0.3, "adaptive", 3e-3, 5_000),
]
REPEATS = 5


def waves(x):
    """An envelope, waves and a polynomial: every variable occurs several times."""
    return np.exp(-0.25 * np.sum(x * x, axis=1)) * np.sin(3.0 * x[:, 0] + x[:, -1]) + 0.1 * x[:, 0] * x[:, -1]


def waves_in_arb(box):
    total = sum((x * x for x in box), flint.arb(0))
    return (-total / 4).exp() * (3 * box[0] + box[-1]).sin() + box[0] * box[-1] / 10


def median_time(run):
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds))


def line(what, ours, peer, unit, name):
    print(f"  {what:<34}{ours:12.4g} {unit:<8} {name:<26}{peer:12.4g} {unit:<8} ratio {ours / peer:8.3g}", flush=True)


def intervals():
    """Enclosures of `waves` on boxes of R^3."""
    print("Interval arithmetic, waves on boxes of R^3 (medians of 5)")
    rng = np.random.default_rng(0)
    count, few = 1 << 14, 2000
    lower = rng.uniform(-3, 3, (count, 3))
    upper = lower + 10.0 ** rng.uniform(-3, -1, (count, 3))
    boxes = Interval(np.asfortranarray(lower), np.asfortranarray(upper))
    natural = count / median_time(lambda: waves(boxes))
    centered = count / median_time(lambda: mean_value(waves, boxes))

    balls = [
        [flint.arb((a + b) / 2, (b - a) / 2) for a, b in zip(*row, strict=True)]
        for row in zip(lower, upper, strict=True)
    ]
    peer = few / median_time(lambda: [waves_in_arb(box) for box in balls[:few]])
    line("natural form", natural, peer, "boxes/s", "python-flint loop")
    plain = count / median_time(lambda: waves(lower))
    line("natural form", natural, plain, "boxes/s", "numpy on points")
    values = rng.normal(size=10**6)
    ours, peer = (1 / median_time(lambda f=f: f(values)) for f in (up, lambda x: np.nextafter(x, np.inf)))
    line("one outward rounding", ours, peer, "1e6/s", "numpy.nextafter")
    try:
        import codac
    except ImportError:
        print("  codac is not installed: not compared")
        return
    x = codac.VectorVar(3)
    squares = codac.sqr(x[0]) + codac.sqr(x[1]) + codac.sqr(x[2])
    theirs = codac.AnalyticFunction([x], codac.exp(-0.25 * squares) * codac.sin(3.0 * x[0] + x[2]) + 0.1 * x[0] * x[2])
    vectors = [
        codac.IntervalVector([[a, b] for a, b in zip(*row, strict=True)]) for row in zip(lower, upper, strict=True)
    ]
    rate = few / median_time(lambda: [theirs.eval(codac.EvalMode.NATURAL, box) for box in vectors[:few]])
    line("natural form", natural, rate, "boxes/s", "codac, natural")
    rate = few / median_time(lambda: [theirs.eval(codac.EvalMode.CENTERED, box) for box in vectors[:few]])
    line("mean value form", centered, rate, "boxes/s", "codac, centered")
    found = [theirs.eval(box) for box in vectors]
    widths = np.array([y.ub() - y.lb() for y in found])
    ours = mean_value(waves, boxes)
    line("median width", float(np.median(ours.width)), float(np.median(widths)), "", "codac, default")
    low, high = np.array([y.lb() for y in found]), np.array([y.ub() for y in found])
    print(f"  enclosures that do not meet codac's: {int(((ours.lo > high) | (ours.hi < low)).sum())} of {count:,}")


def target_of(name):
    kind, dim = name.split()
    if kind == "gaussian":
        return targets.gaussian(dim=int(dim))
    return targets.from_numpy(waves, int(dim), domain=Box.cube(int(dim), 3.0), lipschitz=3.5, name=name)


def compare(name, eps, strategy, tolerance, evaluations):
    f = target_of(name)
    dim = f.dim_in
    affine = AffineMap.constant([0.0], dim)
    cover = covers.make(strategy, f, eps, f.domain, everywhere=f.affine is not None, affine=affine)
    problem = (Cells.of(cover, 1e-10), cover.values, cover.affine, enclosure_of(f), f.domain)
    started = time.perf_counter()
    bracket = branch_and_bound(*problem, tol=tolerance)
    ours = time.perf_counter() - started
    decision = branch_and_bound(*problem, eps=1.01 * eps)
    print(
        f"{name}, eps = {eps}, {len(cover):,} cells ({strategy}): {bracket.status},"
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
    intervals()
    for case in CASES[: 1 if options.quick else None]:
        compare(*case)


if __name__ == "__main__":
    main()
