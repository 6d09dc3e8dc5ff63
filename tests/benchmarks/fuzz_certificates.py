"""Random networks, targets, domains and tolerances against `approx.certify`: is any bracket wrong?

    python -m tests.benchmarks.fuzz_certificates [--cases 2000] [--seed 0] [--seconds 1]

Every certificate is attacked: at random points, at corners, on both sides of recovered cell boundaries and of jumps
found by bisection, by ascent on |F - f|, always with the network as it computes in its own dtype by both engines, and
by `recheck`. Points that seem to exceed a bound are settled with f in ball arithmetic. Prints kinds x outcomes and
exits 1 if a value lies above `upper`, `lower` is not attained, `recheck` contradicts, or certify fails with an error
that is not a worded refusal.
"""

import argparse
import itertools
import sys
import time
import warnings
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import torch

from approx import Ball, Box, WholeSpace, certify, targets
from approx.activations import activation
from approx.affine import AffineMap
from approx.certification import AmbiguousNetwork, pieces
from approx.certification._arb import ArbArray, forward, precision
from approx.certification.enclosures import EVALUATION_ERROR, function_of
from approx.covers import Cover
from approx.networks import RadialNetwork
from constructions import constant_width, narrow, radial_basis, widening

SHIFTS = {"shifted_sigmoid": 1.5, "shifted_relu": 0.8, "radial_softplus": -0.5}
SMOOTH = ("squashing", "rational_squash", "radial_swish", "radial_sigmoid", *SHIFTS)
PIECES = ("step", "degenerate", "balls", "ellipsoids", "everywhere")
KINDS = (*PIECES, "scaled", "mixed", "infinity", *SMOOTH)
ENGINES = ("auto", "torch")
BITS, SHOWN = 160, 3


@dataclass(frozen=True)
class Case:
    kind: str
    network: RadialNetwork
    target: targets.Target
    domain: Box | Ball | WholeSpace
    limits: dict

    @property
    def region(self) -> Box | Ball:
        return self.domain if self.domain.compact else self.target.domain


def make_case(kind: str, seed: int, seconds: float) -> Case:
    rng = np.random.default_rng((seed, KINDS.index(kind)))
    n, m = int(rng.integers(1, 5)), int(rng.integers(1, 4))
    size = 10.0 ** rng.uniform(-8, 8) if kind == "scaled" else 1.5
    if kind in ("everywhere", "infinity"):
        n = min(n, 2) if kind == "infinity" else n
        target = (targets.gaussian, targets.affine_bump)[int(rng.integers(2))](dim=min(n, 3))
        domain = WholeSpace(target.dim_in)
    else:
        target = random_target(rng, n, m, size)
        ball = Ball(rng.uniform(-0.3, 0.3, n) * size, float(rng.uniform(0.2, 1.2)) * size)
        domain = target.domain if rng.random() < 0.5 else ball
    dtype = torch.float32 if rng.random() < 0.3 and domain.compact else torch.float64
    if kind == "infinity":
        network = smooth_at_infinity(rng, target)
    elif kind in ("balls", "ellipsoids", "everywhere"):
        network = random_construction(rng, kind, target, dtype)
    else:
        network = random_layers(rng, kind, n, m, size, dtype)
    limits = {"max_seconds": seconds}
    if rng.random() < 0.6:
        limits["eps"] = 10.0 ** rng.uniform(-3, 1)
    if rng.random() < 0.6:
        limits["tol"] = 10.0 ** rng.uniform(-15 if rng.random() < 0.1 else -4, 0)
    return Case(kind, network, target, domain, limits)


def random_layers(rng, kind: str, n: int, m: int, size: float, dtype: torch.dtype) -> RadialNetwork:
    widths, layers = [n, *(int(w) for w in rng.integers(1, 6, rng.integers(1, 7))), m], []
    for i, (before, after) in enumerate(itertools.pairwise(widths)):
        weight = rng.normal(size=(after, before)) * 10.0 ** rng.uniform(-0.5, 0.7) / (size if i == 0 else 1.0)
        bias = rng.normal(size=after) * 10.0 ** rng.uniform(-1, 0.3)
        if kind == "degenerate":
            degenerate(rng, weight, bias)
        names = ("step_relu",) if kind in PIECES else ("step_relu", *SMOOTH) if kind in ("mixed", "scaled") else (kind,)
        name = names[int(rng.integers(len(names)))]
        rho = activation(name, **({"shift": SHIFTS[name]} if name in SHIFTS else {}))
        if i == len(widths) - 2 or (rng.random() < 0.1 and kind in ("step", "mixed")):
            rho = None
        layers.append((torch.as_tensor(weight, dtype=dtype), torch.as_tensor(bias, dtype=dtype), rho))
    return RadialNetwork.from_layers(layers)


def degenerate(rng, weight: np.ndarray, bias: np.ndarray) -> None:
    """Tiny, huge, equal and zero rows, powers of two, and biases of norm 1 to the last digit."""
    trick, row = int(rng.integers(5)), int(rng.integers(len(weight)))
    if trick < 2:
        weight[row] = (weight[row] * 10.0 ** rng.uniform(-12, 4), weight[0])[trick]
    elif trick == 2:
        weight[:] = np.sign(weight) * 2.0 ** np.round(np.log2(np.abs(weight)))
        bias[:] = np.round(bias * 8) / 8
    elif trick == 3:
        weight[row], bias[:] = 0.0, 0.0
        bias[row] = 1.0 + int(rng.integers(-2, 3)) * 2.0**-52
    else:
        weight[:] = np.outer(weight[:, 0], weight[0]) + 1e-9 * weight


def random_construction(rng, kind: str, target, dtype: torch.dtype) -> RadialNetwork:
    n, m, cells = target.dim_in, target.dim_out, int(rng.integers(1, 25))
    affine = target.affine or AffineMap(rng.normal(size=(m, n)), rng.normal(size=m))
    extent = {"radii": 10 ** rng.uniform(-2, 0.2, cells)}
    if kind == "ellipsoids":
        extent = {"shapes": np.linalg.qr(rng.normal(size=(cells, n, n)))[0] / rng.uniform(0.1, 1.5, (cells, 1, n))}
        dtype = torch.float64
    cover = Cover(rng.uniform(-1, 1, (cells, n)), rng.normal(size=(cells, m)), affine, **extent)
    method = (constant_width, widening, narrow)[int(rng.integers(2 if kind == "everywhere" else 3))]
    options = {"tolerance": 0.01} if method is narrow else {}
    return method.assemble(cover, dtype=dtype, **options).network


def smooth_at_infinity(rng, target) -> RadialNetwork:
    """A radial-basis network with other weights of its kernels, or any network of a bounded activation."""
    n = target.dim_in
    if rng.random() < 0.3:
        return random_layers(
            rng, ("squashing", "rational_squash", "radial_sigmoid")[rng.integers(3)], n, 1, 1.5, torch.float64
        )
    rho = activation(("shifted_relu", "radial_swish", "radial_softplus")[rng.integers(3)])
    layers = int(rng.integers(2, 12))
    built = radial_basis.build(target, layers=layers, activation=rho, domain=WholeSpace(n), verify=False)
    fit = built.fit
    weights = fit.weights * (1 + 10.0 ** rng.uniform(-8, 0) * rng.normal(size=fit.weights.shape))
    return radial_basis.assemble(fit.layers, weights, fit.matrix, fit.offset, torch.float64)


def random_target(rng, n: int, m: int, size: float) -> targets.Target:
    domain = Box.cube(n, size, center=float(rng.uniform(-0.2, 0.2)) * size)
    style = int(rng.integers(6)) if size == 1.5 else 0
    if style < 3:
        parts = [formula(rng, n, size) for _ in range(m)]
        return targets.from_expression(parts[0] if m == 1 else f"({', '.join(parts)})", dim_in=n, domain=domain)
    a, b = rng.normal(size=(n, m)), rng.normal(size=m)
    facts = {"dim_in": n, "dim_out": m, "domain": domain, "lipschitz": 1.01 * float(np.linalg.norm(a, 2))}
    if style == 3:
        return targets.from_numpy(lambda x: np.tanh(x @ a + b), **facts)
    if style == 4:
        weights, shift = torch.from_numpy(a), torch.from_numpy(b)
        return targets.from_torch(lambda x: torch.sin(x @ weights + shift), **facts)
    # It has branches: only the claimed constant bounds it.
    return targets.from_numpy(lambda x: np.where(x @ a + b > 0, x @ a + b, -0.5 * (x @ a + b)), **facts)


def formula(rng, n: int, size: float) -> str:
    x, y = (f"(x{int(i) + 1}*{1.5 / size!r})" for i in rng.integers(0, n, 2))
    a, b, c = (repr(round(float(v), 3)) for v in rng.normal(size=3))
    shapes = (
        f"sin({a}*{x} + {b}*{y}) + {c}",
        f"exp(-({x} - {a})^2 - {y}^2)*{c}",
        f"abs({x} - {a}) - max({y}, {b})",
        f"sqrt({x}^2 + {y}^2 + 0.01)*{c}",
        f"({x}*{y} + {a})/(1 + {x}^2)",
        f"tanh(20*({x} - {a})) + {c}",
        f"log(2 + sin({x}*{y})) - {b}*{x}^3",
        f"exp(-((({x}) - {a})*1000)^2)*{c}",
        f"{a}*{x} + {b}*{y}",
        f"{c}",
    )
    return shapes[int(rng.integers(len(shapes)))]


def computed(case: Case, x: np.ndarray, engine: str) -> np.ndarray:
    tensor = torch.from_numpy(np.ascontiguousarray(x)).to(case.network.dtype)
    with torch.no_grad():
        return case.network(tensor, engine=engine).double().numpy()


def gaps(case: Case, x: np.ndarray) -> np.ndarray:
    """(k,) the larger |F - f| of the two engines."""
    values = case.target(x)
    return np.max([np.linalg.norm(computed(case, x, engine) - values, axis=1) for engine in ENGINES], axis=0)


def inside(domain, x: np.ndarray) -> np.ndarray:
    """The points that surely lie in the domain."""
    if isinstance(domain, Ball):
        return x[np.linalg.norm(x - domain.center, axis=1) * (1 + 1e-14) <= domain.radius]
    return x[domain.contains(x)]


def boundary_points(case: Case, rng) -> np.ndarray:
    """On both sides of the recovered boundaries, at relative distances 1e-6 to 1e-16, for Step-ReLU networks."""
    n, region = case.domain.dim, case.region.bounding_box()
    points = [np.empty((0, n))]
    found = (
        pieces(case.network, 2 * float(np.linalg.norm([region.lower, region.upper]))) if case.kind in PIECES else None
    )
    for k in rng.choice(found.nonempty, 20) if found and len(found.nonempty) else ():
        directions = rng.normal(size=(12, n))
        with np.errstate(all="ignore"):
            edge = directions / np.linalg.norm(directions @ found.matrices[k].T, axis=1, keepdims=True)
            edge *= np.sqrt(found.rho2[k]) * (1 + rng.integers(-1, 2, (12, 1)) * 10.0 ** -rng.uniform(6, 16, (12, 1)))
        points.append((found.centers[k] + edge)[np.isfinite(edge).all(axis=1)])
    return np.concatenate(points)


def jumps(case: Case, x: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Points next to each other, reached by halving the segments along which |F - f| changes most."""
    best = np.argsort(-np.abs(np.diff(values)))[:20]
    a, b, at_a, at_b = x[best], x[best + 1], values[best], values[best + 1]
    for _ in range(55):
        middle = a / 2 + b / 2
        value = gaps(case, middle)
        first = np.abs(value - at_a) >= np.abs(value - at_b)
        a, at_a = np.where(first[:, None], a, middle), np.where(first, at_a, value)
        b, at_b = np.where(first[:, None], middle, b), np.where(first, value, at_b)
    return np.concatenate([a, b])


def attack(case: Case, argmax: np.ndarray, rng) -> np.ndarray:
    """The points with the largest |F - f| that were found."""
    n, region = case.domain.dim, case.region.bounding_box()
    corners = region.lower + region.widths * ((np.arange(1 << n)[:, None] >> np.arange(n)) & 1)
    x = [case.region.sample(3000, int(rng.integers(1 << 30))), corners, argmax[None], boundary_points(case, rng)]
    x = inside(case.region, np.concatenate(x))
    values = gaps(case, x)
    for step in 10.0 ** -np.arange(13):
        if step == 1:
            moved = jumps(case, x, values)
        else:
            top = np.repeat(x[np.argsort(-values)[:8]], 12, axis=0)
            moved = top + step * region.widths * rng.normal(size=top.shape)
        moved = inside(case.region, moved)
        x, values = np.concatenate([x, moved]), np.concatenate([values, gaps(case, moved)])
    if not case.domain.compact:
        far = rng.normal(size=(200, n)) * 10.0 ** rng.uniform(0, 4, (200, 1))
        x, values = np.concatenate([x, far]), np.concatenate([values, gaps(case, far)])
    best = np.argsort(-values)[:30]
    return x[best]


def exact_gaps(case: Case, x: np.ndarray, engine: str | None) -> list:
    """Arb balls of |F - f| (k,), F in real arithmetic (None) or as computed; None where rounding decides a piece."""
    with precision(BITS) as flint:
        try:
            truth = function_of(case.target)(ArbArray.of(x)).entries.tolist()
        except Exception:  # a function with branches: its float64 values, as certificates trust them
            values = case.target(x)
            slack = EVALUATION_ERROR * np.maximum(1.0, np.abs(values))
            truth = np.frompyfunc(lambda v, r: flint.arb(float(v), float(r)), 2, 1)(values, slack).tolist()
        outputs = ArbArray.of(computed(case, x, engine)).entries.tolist() if engine else forward(case.network, x)
        return [
            None if row is None else sum(((a - b) * (a - b) for a, b in zip(row, f, strict=True)), flint.arb(0)).sqrt()
            for row, f in zip(outputs, truth, strict=True)
        ]


def violations(case: Case, rng) -> tuple[str, list[str]]:
    """The outcome of a case and what is wrong with it."""
    try:
        report = certify(case.network, case.target, case.domain, **case.limits)
    except ValueError as error:
        refused = isinstance(error, AmbiguousNetwork) or ("received" in str(error) and "required" in str(error))
        return "refused", [] if refused else [f"unworded error: {error!r}"]
    wrong = list(report.recheck(samples=4, seed=int(rng.integers(1000))).contradictions)
    # What is computed far out on R^n is not claimed.
    engines = ENGINES if case.domain.compact else ()
    for engine in engines:
        (gap,) = exact_gaps(case, report.argmax[None], engine)
        if report.lower > 0 and gap.upper() < report.lower:
            wrong.append(f"{engine} |F - f| = {gap} < lower = {report.lower!r} at {report.argmax.tolist()}")
    if report.upper is None:
        return "no bound", wrong
    x = attack(case, report.argmax, rng)
    for engine in (None, *engines):
        for point, gap in zip(x[:10], exact_gaps(case, x[:10], engine), strict=True):
            if gap is not None and gap.lower() > report.upper:
                wrong.append(f"{engine or 'real'} |F - f| = {gap} > upper = {report.upper!r} at {point.tolist()}")
    return report.claim, wrong


def run_case(kind: str, seed: int, seconds: float) -> tuple[str, list[str], float]:
    started = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            outcome, wrong = violations(make_case(kind, seed, seconds), np.random.default_rng(seed))
        except Exception as error:
            outcome, wrong = "failed", [f"{type(error).__name__}: {error}"]
    return outcome, wrong, time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0, help="of the first case; the others follow")
    parser.add_argument("--seconds", type=float, default=1.0, help="budget of each search")
    options = parser.parse_args()
    counts, times, bad = defaultdict(lambda: defaultdict(int)), defaultdict(list), defaultdict(int)
    for case in range(options.seed, options.seed + options.cases):
        kind = KINDS[case % len(KINDS)]
        outcome, wrong, seconds = run_case(kind, case, options.seconds)
        counts[kind][outcome] += 1
        times[kind].append(seconds)
        bad[kind] += bool(wrong)
        for text in wrong[:SHOWN]:
            print(f"{kind}, seed {case}: {text}", flush=True)
    print(f"{'kind':<18}{'cases':>7}{'violations':>12}{'median s':>10}  outcomes")
    for kind, outcomes in counts.items():
        listed = ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()))
        print(f"{kind:<18}{len(times[kind]):>7}{bad[kind]:>12}{np.median(times[kind]):>10.2f}  {listed}")
    sys.exit(1 if any(bad.values()) else 0)


if __name__ == "__main__":
    main()
