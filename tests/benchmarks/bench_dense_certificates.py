"""Taylor models and forms are far narrower than interval arithmetic through the layers, for a few times its cost.

    python -m tests.benchmarks.bench_dense_certificates [--quick]

For networks of several activations: median widths of the bounds over boxes in units of the sampled range (1 is tight),
and boxes a second, of four methods in one run: hull IBP (the exact interval hull of every layer, h increasing), the
mean value form (the same with interval Jacobians), first-order forms, and models of degree 9. The peers do not count
rounding. Then the time in which `certify` brackets sup |F - f| on [-2, 2]^2 to 1e-4. Last, radial-basis networks, whose
weights cancel: the measured error, what models prove in 60 seconds at most, and what forms alone prove in that time;
and such networks on all of R^n.
"""

import argparse
import time

import numpy as np
import torch

from approx import targets
from approx.activations import activation
from approx.certification import certify, enclosure_of
from approx.certification._profiles import Profile
from approx.certification.dense import Difference, search_dense
from approx.certification.intervals import Interval, unchecked
from approx.domains import Box, WholeSpace
from approx.networks import RadialNetwork
from constructions import radial_basis

HALF_WIDTHS = (0.5, 0.1, 0.01)
DOMAIN = Box.cube(2, 2.0)
TARGET = targets.from_expression("sin(x)*cos(y)", domain=DOMAIN)
CASES = [
    ("radial_swish", {}, 8, 2),
    ("radial_swish", {}, 16, 4),
    ("radial_softplus", {}, 16, 4),
    ("shifted_relu", {}, 8, 2),
    ("shifted_relu", {}, 16, 4),
    ("squashing", {}, 8, 2),
    ("squashing", {}, 16, 4),
    ("rational_squash", {}, 16, 4),
    ("shifted_sigmoid", {}, 16, 4),
]
BASES = [
    ("gaussian", 1, 10, "shifted_relu"),
    ("gaussian", 1, 20, "shifted_relu"),
    ("gaussian", 1, 40, "shifted_relu"),
    ("gaussian", 1, 40, "radial_swish"),
    ("gaussian", 2, 100, "shifted_relu"),
    ("franke", 2, 100, "shifted_relu"),
    ("gaussian", 2, 400, "shifted_relu"),
    ("gaussian", 3, 200, "radial_swish"),
]
UNBOUNDED = [
    ("gaussian", 1, 20, "radial_swish"),
    ("gaussian", 1, 40, "radial_swish"),
    ("gaussian", 1, 20, "shifted_relu"),
    ("bump", 1, 40, "shifted_relu"),
    ("gaussian", 2, 100, "shifted_relu"),
    ("gaussian", 2, 100, "radial_swish"),
    ("affine_bump", 1, 30, "radial_swish"),
    ("affine_bump", 2, 100, "radial_swish"),
]


def network(name, parameters, width, depth, dtype=torch.float64):
    """Inputs in R^2, `depth` layers before the readout, weights of variance 1 / inputs, normal shifts / 2."""
    generator = torch.Generator().manual_seed(0)
    widths = [2, *[width] * depth, 1]
    layers = []
    for index in range(depth + 1):
        weight = torch.randn(widths[index + 1], widths[index], generator=generator, dtype=torch.float64)
        bias = 0.5 * torch.randn(widths[index + 1], generator=generator, dtype=torch.float64)
        rho = activation(name, **parameters) if index < depth else None
        layers.append(((weight / widths[index] ** 0.5).to(dtype), bias.to(dtype), rho))
    return RadialNetwork.from_layers(layers)


def factor_ends(profile, low, high):
    """Bounds of s(r) = h(r) / r for low <= r <= high, from its ends and, where it is not monotone, from h and r."""
    h, slope = profile.bounds(Interval(low, high))
    first, last = (profile.bounds(Interval(r, r))[0] / np.maximum(r, 1e-300) for r in (low, high))
    rises = slope.lo * low >= h.hi  # s' = (h' - s) / r
    falls = slope.hi * high <= h.lo
    least = np.where(rises, first.lo, np.where(falls, last.lo, h.lo / high))
    most = np.where(rises, last.hi, np.where(falls, first.hi, np.minimum(h.hi / low, profile.factor[1])))
    return least, most


def hull_layer(profile, low, high):
    """The hull of rho over boxes (k, d): rho_i increases with v_i, so only s at the two faces counts."""
    near = np.square(np.maximum(np.maximum(low, -high), 0.0))
    far = np.square(np.maximum(np.abs(low), np.abs(high)))
    ends = []
    for v, sign in ((low, -1.0), (high, 1.0)):
        others = [np.maximum(a.sum(axis=1, keepdims=True) - a, 0.0) for a in (near, far)]
        least, most = factor_ends(profile, *(np.sqrt(v * v + a) for a in others))
        ends.append(np.where(v * sign > 0, v * most, v * least))
    return ends


def hull(layers, low, high, jacobian=None):
    """Ranges, or with jacobian = (lo, hi) of the input (k, n, n) ranges of values and derivatives."""
    for weight, bias, profile in layers:
        plus, minus = np.maximum(weight, 0).T, np.minimum(weight, 0).T
        low, high = low @ plus + high @ minus + bias, high @ plus + low @ minus + bias
        if jacobian is not None:
            a, b = jacobian
            jacobian = plus.T @ a + minus.T @ b, plus.T @ b + minus.T @ a
        if profile is None:
            continue
        if jacobian is not None:
            jacobian = multiply(jacobian_of(profile, low, high), jacobian)
        low, high = hull_layer(profile, low, high)
    return (low, high) if jacobian is None else (low, high, jacobian)


def jacobian_of(profile, low, high):
    """Bounds of s I + (h' - s) u u^T over boxes (k, d)."""
    near = np.sqrt(np.square(np.maximum(np.maximum(low, -high), 0.0)).sum(axis=1))
    far = np.sqrt(np.square(np.maximum(np.abs(low), np.abs(high))).sum(axis=1))
    s = unchecked(*factor_ends(profile, near, far))
    bend = (profile.bounds(Interval(near, far))[1] - s)[:, None, None]
    u = np.clip(Interval(low, high) / Interval(near, far)[:, None], -1.0, 1.0)
    eye = np.eye(low.shape[1])
    return s[:, None, None] * eye + bend * u[:, :, None] * u[:, None, :]


def multiply(a, jacobian):
    """Interval matrix products (k, d, d) by (k, d, n); NaN where an end is not finite."""
    low, high = 0.0, 0.0
    for j in range(a.shape[2]):
        products = [x[:, :, j, None] * y[:, j, None, :] for x in (a.lo, a.hi) for y in jacobian]
        low, high = low + np.minimum.reduce(products), high + np.maximum.reduce(products)
    return low, high


def methods(net):
    zero = targets.from_expression("0*x + 0*y", domain=DOMAIN)
    layers = [
        (w.double().numpy(), b.double().numpy(), rho and Profile.of(rho, "benchmark")) for w, b, rho in net.layers()
    ]

    def mean_value(low, high):
        middle, radius = (low + high) / 2, (high - low) / 2
        eye = np.broadcast_to(np.eye(low.shape[1]), (len(low), low.shape[1], low.shape[1]))
        *_, (a, b) = hull(layers, low, high, (eye, eye))
        reach = (np.maximum(np.abs(a), np.abs(b)) * radius[:, None, :]).sum(axis=2)
        reach = np.where(np.isnan(reach), np.inf, reach)
        value = net.evaluate(middle)
        return value - reach, value + reach

    return {
        "hull IBP": lambda low, high: hull(layers, low, high),
        "mean value": mean_value,
        "Taylor form": without_models(Difference(net, enclosure_of(zero))).range,
        "Taylor model": Difference(net, enclosure_of(zero)).range,
    }


def without_models(difference):
    difference.models = None
    return difference


def widths(net, count):
    rng = np.random.default_rng(0)
    centers = rng.uniform(-1.5, 1.5, (count, 2))
    steps = rng.uniform(-1, 1, (300, 2))
    steps[:4] = [[1, 1], [1, -1], [-1, 1], [-1, -1]]
    for name, bounds in methods(net).items():
        ratios = []
        for half in HALF_WIDTHS:
            values = net.evaluate(centers[:, None] + half * steps)
            low, high = bounds(centers - half, centers + half)
            slack = 1e-12 * np.abs(values)
            assert ((low[:, None] <= values + slack) & (values - slack <= high[:, None])).all(), name
            ratio = (high - low) / np.ptp(values, axis=1)
            ratios.append(float(np.median(np.where(np.isnan(ratio), np.inf, ratio))))
        many = rng.uniform(-1.5, 1.5, (20 * count, 2))
        started = time.perf_counter()
        bounds(many - 0.1, many + 0.1)
        speed = len(many) / (time.perf_counter() - started)
        print(f"  {name:<12}" + "".join(f"{ratio:10.3g}" for ratio in ratios) + f"{speed:12,.0f} boxes/s", flush=True)


def end_to_end(net, target, tol=1e-4):
    report = certify(net, target, DOMAIN, tol=tol, max_seconds=30)
    times = []
    for _ in range(3):
        started = time.perf_counter()
        certify(net, target, DOMAIN, tol=tol, max_seconds=30)
        times.append(time.perf_counter() - started)
    width = report.upper - report.lower
    print(f"  certify: {min(times):.3f} s, {report.samples:,} boxes, [{report.lower:.6f}, +{width:.2g}]", flush=True)


def radial_bases(cases) -> None:
    print("radial-basis networks: measured, proved by models (seconds), proved by forms alone in that time, ratio")
    for name, dim, layers, rho in cases:
        target = targets.get(name, dim=dim)
        built = radial_basis.build(target, layers=layers, activation=rho, prove=False)
        near = 0.1 * built.report.lower
        started = time.perf_counter()
        proof = certify(built.network, target, tol=near, max_seconds=60)
        seconds = time.perf_counter() - started
        forms = without_models(Difference(built.network, enclosure_of(target)))
        found = search_dense(forms, target.domain, tol=near, max_seconds=seconds)
        print(
            f"  {name}, n = {dim}, {layers:4} layers, {rho:<13} {built.report.lower:9.2e} {proof.upper:9.2e}"
            f" ({seconds:5.1f} s) {found.upper:9.2e} {found.upper / proof.upper:9.2e}",
            flush=True,
        )


def everywhere(cases) -> None:
    print("radial-basis networks on all of R^n: measured, proved (seconds)")
    for name, dim, layers, rho in cases:
        built = radial_basis.build(
            targets.get(name, dim=dim), layers=layers, activation=rho, domain=WholeSpace(dim), prove=False
        )
        proof = certify(built, tol=0.1 * built.report.lower, max_seconds=60)
        print(
            f"  {name}, n = {dim}, {layers:4} layers, {rho:<13} {built.report.lower:9.2e} {proof.upper:9.2e}"
            f" ({proof.seconds:5.1f} s)",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="only the first two networks")
    options = parser.parse_args()
    np.seterr(all="ignore")  # infinite and NaN bounds of the peers
    halves = "".join(f"{half:>10}" for half in HALF_WIDTHS)
    for name, parameters, width, depth in CASES[: 2 if options.quick else None]:
        for dtype in (torch.float64, torch.float32):
            net = network(name, parameters, width, depth, dtype)
            print(f"{name}, width {width}, depth {depth}, {str(dtype).removeprefix('torch.')}")
            if dtype == torch.float64:
                print(f"  {'half-width':<12}{halves}")
                widths(net, 200)
            end_to_end(net, TARGET)
    radial_bases(BASES[: 2 if options.quick else None])
    everywhere(UNBOUNDED[: 1 if options.quick else None])


if __name__ == "__main__":
    main()
