"""Radial-basis networks reach spectral accuracy with hundreds of layers, beside scipy's RBFInterpolator and training.

    python -m tests.benchmarks.bench_radial_basis [accuracy] [space] [rates] [trained] [terrain] [speed] [--plot FILE]

accuracy : real dense float64 networks at 100,000 points that were not fitted, against the figure to reach
space    : the same on all of R^n, out to |x| = 1e6, and the bound beyond
rates    : error against layers, beside the best of RBFInterpolator over kernels and shapes at as many centres
trained  : beside a radial network and a ReLU MLP trained for a fixed budget, a grid and an RBF interpolator, all with
           as many parameters; and both trained ones of the same width and depth
terrain  : sup and root mean square at grid points held out, beside RBFInterpolator with as many centres
speed    : processor seconds of building against layers
"""

import argparse
import sys
import time
from dataclasses import replace

import numpy as np
from scipy.interpolate import RBFInterpolator

from approx import targets
from approx.domains import Box, WholeSpace
from approx.rates import BASELINES, Budget, baseline
from constructions import radial_basis
from constructions.radial_basis.centers import spread

POINTS = 100_000
WAVE = targets.from_numpy(
    lambda x: np.sin(2 * x[:, 0]) * np.cos(x[:, 1]), 2, domain=Box.cube(2, 3.0), lipschitz=2.3, name="sin(2x) cos(y)"
)
CONE = targets.cone(dim=1)
ACCURACY = [  # target, domain, layers, to reach
    (targets.gaussian(dim=1), Box.cube(1, 3.0), 40, 1e-11),
    (targets.gaussian(dim=2), Box.cube(2, 3.0), 400, 2e-9),
    (targets.franke(), Box.cube(2, 3.0), 500, 1e-7),
    (WAVE, Box.cube(2, 3.0), 400, 3e-7),
    (targets.gaussian(dim=3), Box.cube(3, 2.0), 800, 1e-5),
]
SLACK = {"shifted_relu": 1.0, "radial_softplus": 10.0, "radial_swish": 10.0}


def largest(network, target, points):
    """max |F - f| through the dense network, in pieces that fit in memory."""
    pieces = np.array_split(points, 40)
    return max(float(np.linalg.norm(network.evaluate(x) - target(x), axis=1).max()) for x in pieces)


def unseen(domain, count=POINTS):
    """Half uniform at random, a quarter on the faces, a quarter near the corners."""
    rng = np.random.default_rng(2024)
    x = domain.lower + domain.widths * rng.random((count, domain.dim))
    quarter = count // 4
    face = rng.integers(domain.dim, size=quarter)
    x[np.arange(quarter), face] = np.where(rng.random(quarter) < 0.5, domain.lower[face], domain.upper[face])
    u = rng.beta(0.3, 0.3, (quarter, domain.dim))
    x[quarter : 2 * quarter] = domain.lower + domain.widths * u
    return x


def accuracy():
    print(f"error at {POINTS:,} unseen points, dense float64 networks of width n + m + 1")
    for name, slack in SLACK.items():
        for target, domain, layers, goal in ACCURACY:
            started = time.perf_counter()
            built = radial_basis.build(target, layers=layers, activation=name, domain=domain, verify=False)
            seconds = time.perf_counter() - started
            error = largest(built.network, target, unseen(domain))
            print(
                f"  {name:<16} {target.name:<15} n = {target.dim_in}  {layers:4d} layers of width "
                f"{built.hidden_widths[0]}  {error:.2e}  goal {goal * slack:.0e}: {goal * slack / error:6.2f} x below"
                f"  (estimated {built.fit.score:.1e}, rounding {built.attainable:.1e}, {seconds:.1f} s)",
                flush=True,
            )


def space():
    print("on all of R^n: |x| <= 1e6 sampled (log-uniform beyond the domain), and the bound beyond 1e12")
    rows = [
        ("gaussian", 1, 40, "shifted_relu"),
        ("gaussian", 2, 400, "shifted_relu"),
        ("gaussian", 1, 40, "radial_swish"),
    ]
    rows += [("gaussian", 2, 250, "radial_swish"), ("affine_bump", 1, 40, "shifted_relu")]
    rows += [("affine_bump", 1, 40, "radial_swish")]
    for name, dim, layers, rho in rows:
        target = targets.get(name, dim=dim)
        built = radial_basis.build(target, layers=layers, activation=rho, domain=WholeSpace(dim), verify=False)
        rng = np.random.default_rng(7)
        direction = rng.normal(size=(POINTS, dim))
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        length = np.where(rng.random(POINTS) < 0.5, 6 * rng.random(POINTS), 10 ** rng.uniform(0, 6, POINTS))
        error = largest(built.network, target, direction * length[:, None])
        print(
            f"  {name:<12} n = {dim}  {rho:<13} {layers:4d} layers  {error:.2e}; beyond {built.beyond(1e12):.1e}, "
            f"of it the slope {built.slope_error:.1e}",
            flush=True,
        )


def peer(target, domain, count, points):
    """The least error of RBFInterpolator with `count` centres over kernels and shapes; which one."""
    best = (np.inf, "")
    values = target(points)
    x, size = spread(domain, count), domain.diameter / 2
    trials = [("thin_plate_spline", 1.0), ("cubic", 1.0)]
    trials += [(k, e / size) for k in ("inverse_multiquadric", "gaussian") for e in np.geomspace(0.5, 40, 12)]
    for kernel, epsilon in trials:
        try:
            found = RBFInterpolator(x, target(x), kernel=kernel, epsilon=epsilon)(points)
        except np.linalg.LinAlgError:
            continue
        error = float(np.abs(found - values).max())
        if error < best[0]:
            best = error, kernel
    return best


def rates(plot):
    print("error against layers; peer: RBFInterpolator, the best of 2 splines and 24 kernel shapes, as many centres")
    curves = {}
    for target, counts in (
        (targets.gaussian(dim=1), (5, 10, 15, 20, 30, 40)),
        (targets.gaussian(dim=2), (25, 50, 100, 200, 400)),
        (targets.franke(), (25, 50, 100, 200, 400)),
        (CONE, (5, 10, 20, 40, 80, 160)),
    ):
        points = unseen(target.domain, 8000)
        ours, theirs = [], []
        for count in counts:
            built = radial_basis.build(target, layers=count, verify=False)
            ours.append(largest(built.network, target, points))
            theirs.append(peer(target, target.domain, count, points))
            print(
                f"  {target.name:<9} n = {target.dim_in}  {count:4d} layers  {ours[-1]:.2e}   peer {theirs[-1][0]:.2e} "
                f"({theirs[-1][1]})  ratio {ours[-1] / theirs[-1][0]:.3g}",
                flush=True,
            )
        n, logs = target.dim_in, np.log(ours)
        root, line = np.array(counts) ** (1 / n), np.log(counts)
        spectral, algebraic = (np.polyfit(t, logs, 1, full=True) for t in (root, line))
        slope, start = spectral[0]
        print(f"    log error = {start:.2f} {slope:+.3f} N^(1/{n}), misfit {_misfit(spectral, logs):.2f}")
        print(f"    error ~ N^{algebraic[0][0]:.2f}, misfit of the logarithm {_misfit(algebraic, logs):.2f}")
        curves[f"{target.name}, n = {n}"] = n, counts, ours, [error for error, _ in theirs]
    if plot:
        draw(curves, plot)


def _misfit(found, logs):
    return float(np.sqrt(found[1][0] / len(logs))) if len(found[1]) else 0.0


def draw(curves, plot):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(curves), figsize=(4 * len(curves), 3.6), layout="constrained")
    for ax, (name, (n, counts, ours, theirs)) in zip(axes, curves.items(), strict=True):
        root = np.array(counts) ** (1 / n)
        ax.semilogy(root, ours, "o-", label="radial-basis network")
        ax.semilogy(root, theirs, "s--", label="RBFInterpolator")
        ax.set(title=name, xlabel=f"$N^{{1/{n}}}$" if n > 1 else "$N$ hidden layers", ylabel="max |F - f|")
        ax.legend()
    figure.savefig(plot, dpi=120)
    print(f"wrote {plot}")


def trained():
    """Trained networks four layers deep, and as deep as the one that is built: with as many parameters as wide, too."""
    for target, count in ((targets.gaussian(dim=1), 20), (targets.franke(), 60)):
        built = radial_basis.build(target, layers=count, verify=False)
        ours = largest(built.network, target, unseen(target.domain, 20_000))
        size = f"{built.parameters} parameters, {built.seconds:.1f} s"
        print(f"  {target.name} n = {target.dim_in}: built, {size}: {ours:.2e}")
        shallow = Budget(steps=1000, samples=20_000)
        print(f"  beside training with as many parameters: {shallow}")
        deep = replace(shallow, hidden=count, seeds=(0,))
        rivals = [(kind, shallow) for kind in BASELINES]
        rivals += [(kind, deep) for kind in BASELINES if kind.startswith("trained")]
        for kind, budget in rivals:
            row = baseline(kind, target, built.parameters, 1.0, budget)
            layers = f", {row.hidden_layers} hidden layers" if row.hidden_layers else ""
            print(
                f"    {kind:<15} {row.parameters:5d} parameters{layers}, {row.seconds:6.1f} s: {row.lower:.2e}, "
                f"{row.lower / ours:.3g} x  {row.note}",
                flush=True,
            )


def terrain():
    target = targets.terrain()
    nodes = [np.linspace(a, b, k) for a, b, k in zip(target.domain.lower, target.domain.upper, (403, 344), strict=True)]
    sub = [axis[::4] for axis in nodes]  # every fourth node fits, the nodes between them are held out
    fitted = np.stack(np.meshgrid(*sub, indexing="ij"), -1).reshape(-1, 2)
    held = np.stack(np.meshgrid(*[axis[2::4] for axis in nodes], indexing="ij"), -1).reshape(-1, 2)
    y, truth = target(fitted), target(held)
    print(f"terrain in metres, {len(fitted):,} grid points fitted, {len(held):,} between them held out")
    rng = np.random.default_rng(0)
    for count in (50, 100, 200, 400):
        built = radial_basis.from_samples(fitted, y, layers=count)
        off = np.abs(built.network.evaluate(held) - truth)
        chosen = rng.permutation(len(fitted))[:count]
        other = np.abs(RBFInterpolator(fitted[chosen], y[chosen])(held) - truth)
        print(
            f"  {count:4d} layers  sup {off.max():6.1f} rms {np.sqrt((off**2).mean()):6.2f}   RBFInterpolator sup "
            f"{other.max():6.1f} rms {np.sqrt((other**2).mean()):6.2f}  ratio of rms "
            f"{np.sqrt((off**2).mean() / (other**2).mean()):.3g}  ({built.seconds:.1f} s)",
            flush=True,
        )


def speed():
    print("processor seconds of building franke, measuring excluded")
    seconds = []
    counts = (125, 250, 500, 1000, 2000)
    for count in counts:
        started = time.process_time()
        built = radial_basis.build(targets.franke(), layers=count, verify=False)
        seconds.append(time.process_time() - started)
        print(
            f"  {count:5d} layers  {seconds[-1]:7.2f} s, {built.seconds:.2f} s of wall time"
            f"  (estimated error {built.fit.score:.1e})",
            flush=True,
        )
    order = np.polyfit(np.log(counts[1:]), np.log(seconds[1:]), 1)[0]
    print(f"  growth N^{order:.2f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = {"accuracy": accuracy, "space": space, "trained": trained, "terrain": terrain, "speed": speed}
    parser.add_argument("parts", nargs="*", choices=[*parts, "rates", []], help="default: all")
    parser.add_argument("--plot", metavar="FILE", help="draw error against layers")
    args = parser.parse_args()
    for name in args.parts or ["accuracy", "space", "rates", "trained", "terrain", "speed"]:
        rates(args.plot) if name == "rates" else parts[name]()
        sys.stdout.flush()


if __name__ == "__main__":
    main()
