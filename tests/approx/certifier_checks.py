"""What must hold for a sound certifier: each check takes the package `approx.certification`, real or mutated."""

import itertools
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from flint import arb, ctx

import constructions
from approx import Ball, Box, WholeSpace, targets
from approx.activations import StepReLU, activation
from approx.affine import AffineMap
from approx.covers import Cover
from approx.networks import RadialNetwork
from tests.approx.arb_networks import CASES, bounded_network, far_value, random_network


def arithmetic(c):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 300)) * 10.0 ** rng.integers(-3, 4, size=(2, 300))
    a, b = c.intervals.Interval(x, x), c.intervals.Interval(y, y)
    exact = [(Fraction(p), Fraction(q)) for p, q in zip(x.tolist(), y.tolist(), strict=True)]
    for result, true in (
        (a + b, [p + q for p, q in exact]),
        (a - b, [p - q for p, q in exact]),
        (a * b, [p * q for p, q in exact]),
        (a / b, [p / q for p, q in exact]),
        (np.square(a), [p * p for p, _ in exact]),
    ):
        assert all(low <= t <= high for low, t, high in zip(result.lo.tolist(), true, result.hi.tolist(), strict=True))
    small = c.intervals.Interval(x / 1e3, x / 1e3)
    for function, method in ((np.exp, "exp"), (np.sin, "sin"), (np.tanh, "tanh"), (np.cosh, "cosh")):
        result = function(small)
        for low, point, high in zip(result.lo.tolist(), (x / 1e3).tolist(), result.hi.tolist(), strict=True):
            assert arb(low) <= getattr(arb(point), method)() <= arb(high)


def boxes(c):
    """Interval and mean value forms hold the values at points of boxes that straddle zeros and crests."""
    rng = np.random.default_rng(1)
    lower = rng.uniform(-4, 4, size=(400, 2))
    upper = lower + rng.uniform(0, 2, size=(400, 2))
    box = c.intervals.Interval(lower, upper)
    for function in (
        lambda v: np.sin(v[:, 0]) * v[:, 1],
        lambda v: np.square(v[:, 0]) - v[:, 0] * v[:, 1],
        lambda v: np.abs(v[:, 0]) - v[:, 0],
        lambda v: v[:, 1] / -3.0 - 2.0 * v[:, 0],
        lambda v: np.abs(v[:, 0]) ** 3 / (1.0 + np.square(v[:, 1])),
        lambda v: np.exp(-np.square(v[:, 0])) * np.cos(3.0 * v[:, 1]) + np.maximum(v[:, 0], v[:, 1]),
    ):
        for result in (function(box), c.jets.mean_value(function, box)):
            for _ in range(30):
                values = function(lower + rng.random((400, 2)) * (upper - lower))
                assert (result.lo <= values).all() and (values <= result.hi).all()


class Identity:
    """f(x) = x."""

    def range(self, lower, upper):
        return lower, upper


class Unknown(Identity):
    """f(x) = x for x < 0; nothing is known beyond."""

    def range(self, lower, upper):
        unknown = upper > 0
        return np.where(unknown, np.nan, lower), np.where(unknown, np.nan, upper)


def line(c, oracle=None, radii=(1.0, 1.0), collars=0.0, values=(-0.5, 3.0), **options):
    """Two overlapping cells about -0.5 and 0.5, outside them F = f = x."""
    cells = c.Cells([[-0.5], [0.5]], radii, collars=collars)
    values = np.array(values)[:, None]
    identity = AffineMap([[1.0]], [0.0])
    return c.branch_and_bound(cells, values, identity, oracle or Identity(), Box([-2.0], [2.0]), **options)


def first_match(c):
    bracket = line(c, tol=1e-3)
    assert bracket.lower <= 2.5 <= bracket.upper <= bracket.lower + 1e-3


def decisions(c):
    assert line(c, eps=2.4).status == "eps refuted"
    proved = line(c, eps=2.6)
    assert proved.status == "eps proved" and 2.5 <= proved.upper <= 2.6
    assert line(c, tol=1e-3, max_boxes=1).status == "budget"


def both_sides(c):
    """In the collar of a cell either side may count: |x - 3| <= 2.5 + 0.25, and only 2.5 - 0.25 is surely met."""
    bracket = line(c, collars=0.25, tol=1e-3)
    assert bracket.upper >= 2.75 and bracket.lower <= 2.25
    wide = line(c, collars=0.25, radii=(1.0, 0.1), values=(0.0, 0.0), tol=1e-3)
    assert wide.upper >= 1.75
    high = AffineMap([[1.0]], [5.0])
    two = c.Cells([[0.8], [0.0]], [0.03, 1.0], collars=[0.0, 0.25])
    shell = c.branch_and_bound(two, [[0.8], [0.0]], high, Identity(), Box([-0.9], [0.9]), tol=0.1, max_boxes=10**4)
    assert shell.upper >= 5.0 and shell.lower <= 0.75


def value_errors(c):
    bracket = line(c, value_error=0.1, tol=1e-3, max_boxes=1000)
    assert bracket.upper >= 2.6 and bracket.lower <= 2.4
    outside = line(c, radii=(0.0, 0.0), value_error=0.1, tol=1e-3, max_boxes=1000)
    assert outside.upper >= 0.1 and outside.lower == 0.0


def nothing_known(c):
    bracket = line(c, Unknown(), eps=10.0, max_boxes=2000)
    assert bracket.status != "eps proved" and bracket.upper == np.inf


def disks(c):
    none = c.Cells(np.empty((0, 2)), [])
    disk = Ball([1.0, 0.0], 2.0)
    zero = AffineMap.constant([0.0], 2)

    class First:
        def range(self, lower, upper):
            return lower[:, :1], upper[:, :1]

    bracket = c.branch_and_bound(none, np.empty((0, 1)), zero, First(), disk, tol=1e-3)
    assert bracket.lower <= 3.0 <= bracket.upper <= 3.0 + 2e-3


class Cone:
    """f(x) = -0.3 max |x_i - peak_i|."""

    def __init__(self, peak):
        self.peak = np.array(peak)

    def range(self, lower, upper):
        near = np.maximum(np.maximum(lower - self.peak, self.peak - upper), 0.0).max(axis=1)
        far = np.maximum(self.peak - lower, upper - self.peak).max(axis=1)
        return -0.3 * far[:, None], -0.3 * near[:, None]


def ellipses(c):
    """|F - f| = 5 is met at one point of a long slanted cell, wherever that point is."""
    cells = c.Cells([[0.0, 0.0]], [1.0], [[[1.0, -1.0], [0.01, 0.01]]])
    zero, box = AffineMap.constant([0.0], 2), Box.cube(2, 4.0)
    for peak in ((2.5, 1.75), (1.75, 2.5), (-2.5, -1.75), (-1.75, -2.5), (3.5, 3.5), (3.9, 3.0), (0.1, 0.2)):
        bracket = c.branch_and_bound(cells, [[-5.0]], zero, Cone(peak), box, tol=1e-3)
        assert bracket.lower <= 5.0 <= bracket.upper


def rims(c):
    """Bounds of |f - y| on the parts of boxes where a piece counts hold at points of these parts."""
    rng = np.random.default_rng(0)
    boxes, count = 150, 3
    for case in range(8):
        m, slanted = 1 + case // 4, case % 2 == 1
        kinds = [
            lambda x: np.stack([np.exp(-np.sum(x**2, axis=1)), 0.3 * x[:, 0] * x[:, 1]], axis=1),
            lambda x: np.stack([0.7 * x[:, 0] - 0.4 * x[:, 1], 0.3 * x[:, 0] * x[:, 1]], axis=1),
        ]
        function = kinds[case // 2 % 2]
        target = targets.from_numpy(lambda x, f=function, m=m: f(x)[:, :m], 2, m, domain=Box.cube(2, 3.0))
        centers, radii = rng.uniform(-0.5, 0.5, size=(count, 2)), rng.uniform(0.6, 1.2, size=count)
        if case % 4 < 2:  # level sets of the first component
            centers[:], radii = 0.0, np.array([0.5, 0.8, 1.1])
        shapes = np.tile(np.eye(2), (count, 1, 1)) + slanted * 0.3 * rng.normal(size=(count, 2, 2))
        collar = 0.05 * (case > 5)
        cells = c.Cells(np.einsum("ipj,ij->ip", shapes, centers), radii, shapes if slanted else None, collars=collar)
        values = target(centers) + rng.normal(size=(count, m))
        affine = AffineMap(rng.normal(size=(m, 2)), np.zeros(m))
        angles, half = rng.uniform(0, 2 * np.pi, boxes), 10.0 ** rng.uniform(-3, -0.5, size=(boxes, 1))
        on = np.arange(boxes) % count
        rim = np.stack([np.cos(angles), np.sin(angles)], axis=1) * radii[on, None]
        middle = (
            centers[on] + np.linalg.solve(shapes[on], rim[:, :, None])[:, :, 0] + half * rng.uniform(-1, 1, (boxes, 2))
        )
        lower, upper = middle - half, middle + half * rng.uniform(0.2, 1, (boxes, 2))
        form = c.enclosure_of(target).linear(lower, upper)
        members = np.tile(np.arange(count, dtype=np.int32), boxes)
        lists = (np.arange(boxes + 1) * count, members, np.zeros(boxes, np.bool_))
        inner, outer = cells.thresholds(np.full(2, -4.0), np.full(2, 4.0))
        x = lower + rng.random((300, boxes, 2)) * (upper - lower)
        length = np.linalg.norm(np.einsum("ipj,sbij->sbip", shapes, x[:, :, None] - centers), axis=3)
        within, without = length < radii + collar, length >= radii - collar
        f = target(x)
        for piece in range(count + 1):
            limits = np.full(boxes * (count + 1), np.inf)
            slots = np.arange(boxes) * count + piece if piece < count else boxes * count + np.arange(boxes)
            limits[slots] = 0.0
            arguments = (form, lower, upper, lists, cells, inner, outer, values, affine, limits)
            bounds = c._constrained.constrained(*arguments)[slots]
            y = values[piece] if piece < count else affine(x)
            counts = without[:, :, :piece].all(axis=2) & (piece == count or within[:, :, min(piece, count - 1)])
            gaps = np.where(counts, np.linalg.norm(y - f, axis=2), 0.0)
            assert (gaps <= bounds).all()


def corners(c):
    """An affine f whose Lipschitz constant is exact: the bound is attained at the corners of every box."""

    def opaque(x):
        return np.array([float(row.sum()) for row in np.asarray(x)])

    slope = float(np.nextafter(np.sqrt(2.0), 2.0))
    target = targets.from_numpy(opaque, 2, domain=Box.cube(2, 4.0), lipschitz=slope)
    low, high = c.enclosure_of(target).range([[0.0, 0.0], [-1.0, 2.0]], [[1.0, 1.0], [1.0, 3.0]])
    assert (low.ravel() <= [0.0, 1.0]).all() and (high.ravel() >= [2.0, 4.0]).all()
    report = c.certify(network_of(1.0, 0.0, dims=2), target, tol=0.05)
    assert report.claim == "certified on condition" and report.upper >= 4.0


def network_of(slope, offset, dims=1):
    """slope * x_1 + offset."""
    weight = torch.zeros(1, dims).double()
    weight[0, 0] = slope
    eye = torch.eye(dims).double()
    return RadialNetwork.from_layers([(eye, 0 * eye[0], None), (weight, torch.tensor([float(offset)]).double(), None)])


def hump(scale, middle, slope, **facts):
    return targets.from_numpy(
        lambda x: scale / (1.0 + np.square(x[:, 0] - middle)) + slope * x[:, 0],
        1,
        domain=Box([-2.0], [2.0]),
        lipschitz=2.0,
        affine=AffineMap([[slope]], [0.0]),
        **facts,
    )


def far_away(c):
    """The largest error lies beyond the target's domain, or is approached at infinity only."""
    assert c.certify(network_of(0.0, 0.0), hump(1.0, 9.0, 0.0), WholeSpace(1), tol=0.01).upper >= 1.0
    sloped = hump(0.25, 0.0, 1.0, tail=lambda radius: 0.25 / (1.0 + radius**2))
    assert c.certify(network_of(1.0, 0.25), sloped, WholeSpace(1), tol=1e-9).upper >= 0.25
    with pytest.raises(c.GlobalBoundUnavailable, match="slope"):
        c.certify(network_of(1 + 2.0**-52, 0.0), sloped, WholeSpace(1), tol=0.01)
    with pytest.raises(c.GlobalBoundUnavailable, match="tail="):
        c.certify(network_of(1.0, 0.0), replace(sloped, tail=None), WholeSpace(1), tol=0.01)
    # F = -1/4, L = -1/8, and f -> 0: |F - f| < 1/4 everywhere.
    number = torch.tensor([-0.25], dtype=torch.float64)
    layers = [(number[:, None], 0 * number, activation("radial_swish")), (0 * number[:, None], number, None)]
    limit = AffineMap.constant([-0.125], 1)
    late = hump(-0.25, 0.0, 0.0, tail=lambda radius: 0.125)
    late = replace(late, affine=limit, fn=lambda x: np.maximum(-0.25 / (1.0 + np.square(x)), -0.125))
    assert c.certify(RadialNetwork.from_layers(layers), late, WholeSpace(1), tol=0.01).upper >= 0.25


def infinity(c):
    """Models outside a cube hold exact values, for activations that grow and such that are bounded."""
    rng = np.random.default_rng(6)
    precision, ctx.prec = ctx.prec, 200
    try:
        for n, (name, parameters) in itertools.product((1, 2), CASES):
            if name in ("step_relu", "radial_identity"):
                continue
            bounded = "sigmoid" in name or "squash" in name
            network = bounded_network(name, parameters, n, n)
            if bounded:
                network = random_network(name, parameters, [n, 3, 2, 1])
                with torch.no_grad():
                    next(network.parameters())[0] = 0.0  # the first coordinate does not read x
            offset = np.full(network.dim_out, 0.5)
            outside = c.outside.Outside(c.forms.Layers(network, "check"), AffineMap.constant(offset, n))
            lower = np.concatenate([rng.uniform(-1, 1, (12, n - 1)), 0.25 * rng.random((12, 1))], axis=1)
            upper = lower + 2.0**-6
            for axis, side in itertools.product(range(n), (1.0, -1.0)):
                low, high = outside._facing(axis, side).range(lower, upper)
                assert np.isfinite(high - low).mean() > 0.5
                for k in range(12):
                    for j, number in enumerate(far_value(network, upper[k], axis, side)):
                        assert arb(low[k, j]) - 1e-12 < number - 0.5 < arb(high[k, j]) + 1e-12
        weight = torch.tensor([[1e-300]], dtype=torch.float64)
        layers = [(torch.eye(1).double(), torch.zeros(1).double(), activation("shifted_relu"))]
        with pytest.raises(ValueError, match="slope"):
            network = RadialNetwork.from_layers([*layers, (weight, weight[0], None)])
            c.outside.Outside(c.forms.Layers(network, "check"), AffineMap.constant(np.zeros(1), 1))
    finally:
        ctx.prec = precision


def claims(c):
    wrong = replace(hump(1.0, 0.0, 0.0), lipschitz=0.1)
    with pytest.raises(ValueError, match="Lipschitz constant"):
        c.certify(network_of(0.0, 0.0), wrong, tol=0.1)


def boundaries(c):
    """No point farther from a cell's boundary than its collar is evaluated on the wrong side, in float32."""
    built = constructions.constant_width.build(targets.peaks(), 0.3, dtype=torch.float32, verify=False)
    found = c.pieces(built.network)
    cells, order, rng = found.cells(5.0), found.nonempty, np.random.default_rng(0)
    moved = 0.0
    for k in range(len(order)):
        directions = rng.normal(size=(40, 2))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        center, radius, value = found.centers[order[k]], found.radii[order[k]], found.values[order[k]]
        near, far = np.full(40, (1 - 1e-4) * radius), np.full(40, (1 + 1e-4) * radius)
        for step in range(30):
            middle = far if step == 0 else (near + far) / 2
            points = np.float32(center + middle[:, None] * directions).astype(np.float64)
            captured = np.abs(built.network.evaluate(points) - value).max(axis=1) <= found.value_error(5.0)
            if step == 0:  # where another cell lies over the boundary, or has the same value, nothing is seen
                ends, beyond = found.find(center + near[:, None] * directions), found.find(points)
                seen = (ends == order[k]) & ~captured & ((beyond < 0) | (beyond > order[k]))
                continue
            gap = np.linalg.norm(points - center, axis=1) - radius
            wrong = np.where(captured, gap, -gap)[seen]
            moved = max(moved, wrong.max(initial=0.0))
            assert (wrong <= cells.collars[k] + 1e-15).all()
            near, far = np.where(captured, middle, near), np.where(captured, far, middle)
    assert moved > 1e-8


def sums(c):
    """The affine map of a network whose weights cancel, in rational arithmetic."""
    rng = np.random.default_rng(0)
    layers = [
        (torch.tensor(rng.normal(size=(3, 3)) * 1e3), torch.tensor(rng.normal(size=3) * 1e6), rho)
        for rho in (StepReLU(), StepReLU(), None)
    ]
    found = c.pieces(RadialNetwork.from_layers(layers), 10.0)
    matrix = [[Fraction(int(i == j)) for j in range(3)] for i in range(3)]
    offset = [Fraction(0)] * 3
    for weight, bias, _ in layers:
        rows = [[Fraction(w) for w in row] for row in weight.tolist()]
        matrix = [[sum(row[k] * matrix[k][j] for k in range(3)) for j in range(3)] for row in rows]
        offset = [
            sum(row[k] * offset[k] for k in range(3)) + Fraction(b) for row, b in zip(rows, bias.tolist(), strict=True)
        ]
    x = rng.normal(size=(50, 3))
    for point in x / np.linalg.norm(x, axis=1, keepdims=True):
        true = [
            sum(a * Fraction(v) for a, v in zip(row, point.tolist(), strict=True)) + b
            for row, b in zip(matrix, offset, strict=True)
        ]
        stored = [
            sum(Fraction(a) * Fraction(v) for a, v in zip(row, point.tolist(), strict=True)) + Fraction(b)
            for row, b in zip(found.affine.matrix.tolist(), found.affine.offset.tolist(), strict=True)
        ]
        gap = float(sum((a - b) ** 2 for a, b in zip(true, stored, strict=True))) ** 0.5
        assert gap <= found.affine_error(1.0)


NAMES = (
    "radial_swish",
    "shifted_relu",
    "squashing",
    "radial_sigmoid",
    "radial_softplus",
    "step_relu",
    "radial_identity",
)


def quantities(c):
    """Forms along one quantity hold the values at points of its level sets, and rounding is not forgotten."""
    functions = [
        lambda x: (x[:, 0] + 2) * x[:, 1] - x[:, 0] ** 2 / 3,
        lambda x: 1 - np.einsum("ki,ki->k", x, x - 0.5),
        lambda x: np.tanh(x @ np.arange(1.0, 3.0)) + x[:, 1],
    ]
    rng = np.random.default_rng(6)
    slanted = np.array([[2.0, 0.7], [0.7, 1.0]])
    direction = np.array([1.0, -2.0])
    for kind, t in (
        ({"gram": slanted}, lambda y: np.einsum("ki,ij,kj->k", y, slanted, y)),
        ({"direction": direction}, lambda y: y @ direction),
    ):
        level = c._quadratics.Level(np.array([0.3, -0.8]), np.array([1.0, 2.0]), **kind)
        y = rng.uniform(-1, 1, (2000, 2)) * level.reach
        at, width = t(y), rng.choice([1e-9, 1e-2, 1.0], 2000)
        for function in functions:
            values = function(level.center + y)
            found = function(c._quadratics.LevelForm.variables(level, at - width * rng.random(2000), at + width)).bounds
            noise = 1e-14 * (1 + np.abs(values))
            assert (found.lo <= values + noise).all() and (values - noise <= found.hi).all()
    # Rounding adds up: the exact sum of so many stored numbers must be held.
    point = c._quadratics.Level(np.zeros(1), np.array([1e-300]), gram=np.eye(1))
    total = c._quadratics.LevelForm.variables(point, np.zeros(1), np.zeros(1))
    for _ in range(300):
        total = total + 0.1
    found = total.form.range(total.t)
    assert float(found.lo.ravel()[0]) <= 300 * Fraction(0.1) <= float(found.hi.ravel()[0])


def level_sets(c):
    """No point of the core errs by more than the bound along level sets: balls, ellipsoids, slabs; on boxes and balls;
    with affine maps that depend on more; with boundaries known up to a collar only."""
    slanted = np.array([[1.0, 1.0], [0.0, 0.5]])
    slab = np.array([[1.0, -2.0], [0.0, 1e-4]])
    box, disk = Box([-2.0, -2.0], [2.0, 2.0]), Ball([0.5, 0.0], 2.5)
    center, across = np.array([0.3, -0.2]), np.array([0.1, -0.2])
    balls, flat = {"radii": [0.8, 1.5]}, AffineMap.constant([0.2], 2)

    def hill(x):
        return np.exp(-np.square(x - center).sum(axis=1))

    def bowl(x):
        return np.square(x - center).sum(axis=1)

    def valley(x):
        return np.square((x - center) @ slanted.T).sum(axis=1)

    def slope(x):
        return x[:, 0] - 2 * x[:, 1]

    for shape, values, affine, domain, shift, function in (
        (balls, [1.0, -0.5], flat, box, 0.0, hill),
        (balls, [1.0, -0.5], AffineMap([[0.5, 0.5]], [0.0]), box, 0.0, lambda x: 0.1 * bowl(x) - 2),
        (balls, [1.0, -0.5], flat, disk, 0.0, bowl),
        (balls, [1.0, -0.5], flat, box, 0.2, hill),
        (balls, [1.4, 0.3], flat, box, 0.2, hill),
        ({"shapes": [slanted, slanted / 2]}, [1.0, -0.5], flat, box, 0.0, valley),
        ({"shapes": [slab, slab / 2]}, [8.0, -0.5], flat, box, 0.0, slope),
        ({"shapes": [slab, slab / 2]}, [0.5, 0.4], AffineMap([[-0.5, 1.0]], [0.2]), Box([-1, -2], [3, 1]), 0.0, slope),
    ):
        target = targets.from_numpy(function, 2, domain=domain.bounding_box(), lipschitz=None)
        centers = np.stack([center, center + (across if "shapes" in shape and function is slope else 0.0)])
        cover = Cover(centers, np.reshape(values, (2, 1)), affine, **shape)
        cells, enclosure = c.cells.Cells.of(cover, shift), c.enclosures.enclosure_of(target)
        question = c._question.Question(cells, cover.values, affine, 0.0, enclosure, (domain,), domain.bounding_box())
        found = c._levels.by_levels(question, None, 1e-3, 30.0)
        points = np.concatenate([domain.sample(20_000), domain.project(domain.bounding_box().grid(3))])
        points = np.concatenate([points, domain.project(cover.boundary_points(2000)[0])])
        worst = 0.0
        for moved in (0.0,) if not shift else (-0.95 * shift, 0.95 * shift):
            other = cover if not shift else replace(cover, radii=cover.radii + moved)
            worst = max(worst, float(np.abs(other(points) - target(points)).max()))
        assert worst <= found.upper * (1 + 1e-9)


def forms(c):
    """Taylor forms hold what dense networks evaluate to, in float64 and float32, at points and on boxes."""
    rng = np.random.default_rng(0)
    for name in NAMES:
        for dtype in (torch.float64, torch.float32):
            widths = [2, 4, 3, 1]
            layers = [
                (
                    torch.tensor(rng.normal(size=(b, a)) * (1 + (name == "step_relu"))).to(dtype),
                    torch.tensor(rng.normal(size=b) * (1e5 if name == "radial_identity" else 1)).to(dtype),
                    activation(name) if i < 2 else None,
                )
                for i, (a, b) in enumerate(itertools.pairwise(widths))
            ]
            network = RadialNetwork.from_layers(layers)
            center = np.float32(rng.normal(size=(200, 2)) * 2).astype(float)
            radius = 10.0 ** rng.uniform(-3, 0.3, size=(200, 1)) * (rng.random((200, 2)) > 0.2)
            radius[:50] = 0.0
            low, high = np.full((2, 200), np.inf)
            high = -high
            for rows, form in c.forms.Layers(network, "check")(center.T, radius.T):
                reach = np.abs(form.terms[1:]).sum(axis=0)[0] + form.error[0]
                low[rows] = np.minimum(low[rows], form.terms[0, 0] - reach)
                high[rows] = np.maximum(high[rows], form.terms[0, 0] + reach)
            for _ in range(40):
                x = center + np.clip(1.5 * rng.uniform(-1, 1, size=(200, 2)), -1, 1) * radius
                values = network.evaluate(np.clip(x, center - radius, center + radius)).ravel()
                assert (low <= values).all() and (values <= high).all()


def models(c):
    """Taylor models hold what networks evaluate to in float32, and what single layers do, close to the ends."""
    rng = np.random.default_rng(5)
    center = np.float32(rng.normal(size=(300, 2))).astype(float)
    radius = 2.0 ** rng.integers(-12, 0, size=(300, 2))
    for name, degree in itertools.product(("squashing", "radial_swish", "shifted_relu", "radial_softplus"), (1, 4)):
        layers = [
            (torch.tensor(rng.normal(size=(b, a))).float(), torch.tensor(rng.normal(size=b)).float(), rho)
            for a, b, rho in ((2, 4, activation(name)), (4, 3, activation(name)), (3, 1, None))
        ]
        network = RadialNetwork.from_layers(layers)
        found = c.models.Models(c.forms.Layers(network, "check"))
        found.basis = basis = c._series.Basis.of(2, degree)
        model = found(c.taylor.Taylor.variables(basis, center, radius))
        assert np.isfinite(model.error).mean() > 0.5
        for _ in range(20):
            xi = rng.choice([-1.0, -0.5, 0.0, 0.5, 1.0], size=(300, 2))
            monomials = np.prod(xi[:, None] ** basis.powers, axis=2).T[:, :, None]
            gap = np.abs(network.evaluate(center + radius * xi) - (model.terms * monomials).sum(axis=0))
            assert (gap <= model.error + 1e-15).all()
        with np.errstate(all="ignore"):  # one layer of each kind at points: only its own rounding
            for step, layer in ((found._activate, layers[0][2]), (found._affine, torch.nn.Linear(4, 4))):
                vectors = torch.tensor(rng.normal(size=(500, 4))).float()
                terms = np.zeros((len(basis), 4, 500))
                terms[0] = vectors.double().numpy().T
                stored = c._profiles.Profile.of(layers[0][2], "check")
                if layer is not layers[0][2]:
                    pair = layer.weight.detach(), layer.bias.detach(), None
                    stored = c.forms.Layers(RadialNetwork.from_layers([pair]), "check").stored[0]
                after, error = step(stored, terms, np.zeros((4, 500)))
                assert (np.abs(layer(vectors).detach().double().numpy().T - after[0]) <= error).all()


def series(c):
    """Taylor models of functions hold their values in ball arithmetic, and so do the bounds of these models."""
    precision, ctx.prec = ctx.prec, 200
    try:
        _functions(c, np.random.default_rng(5))
    finally:
        ctx.prec = precision


def _functions(c, rng):
    basis = c._series.Basis.of(1, 3)
    for function in (
        lambda x: x.exp() if isinstance(x, arb) else np.exp(x),
        lambda x: x.sin() * x if isinstance(x, arb) else np.sin(x) * x,
        lambda x: (x * x * x) * (x * x * x),
        lambda x: 1 / (3 + x) + (x * 0.1).tanh() if isinstance(x, arb) else 1 / (3 + x) + np.tanh(x * 0.1),
    ):
        for width in (0.0, 0.25, 1.0):
            middle = rng.integers(-64, 65, size=(60, 1)) / 64 + 0.1
            model = function(c.taylor.Taylor.variables(basis, middle, np.full((60, 1), width))[:, 0])
            low, high, _ = c._series.ranges(basis, model.terms, model.error, 2)
            for k in range(60):
                for t in (-1, -0.5, 0, 1):
                    value = function(arb(middle[k, 0]) + width * t)
                    polynomial = sum(arb(a) * t**j for j, a in enumerate(model.terms[:, k].tolist()))
                    assert not abs(value - polynomial) > arb(model.error[k])
                    assert low[k] <= value <= high[k]


def profiles(c):
    """Bounds of h' hold its largest value, between the ends of an interval."""
    for name, at in (("squashing", 3**-0.5), ("radial_swish", 2.39935728)):
        profile = c._profiles.Profile.of(activation(name), "check")
        _, slope = profile.bounds(c.intervals.Interval([0.9 * at], [1.1 * at]))
        r = torch.tensor([at], dtype=torch.float64, requires_grad=True)
        activation(name).profile(r).sum().backward()
        assert slope.lo[0] <= r.grad.item() <= slope.hi[0]


def dense(c):
    """The bracket of a dense network, against a fine grid; and what cannot be bounded is not proved."""
    rng = np.random.default_rng(3)
    network = RadialNetwork.from_layers(
        [
            (torch.tensor(rng.normal(size=(5, 2))), torch.tensor(rng.normal(size=5)), activation("radial_swish")),
            (torch.tensor(rng.normal(size=(2, 5))), torch.tensor(rng.normal(size=2)), None),
        ]
    )
    box = Box([-1.0, -0.5], [0.5, 1.0])
    target = targets.from_numpy(
        lambda x: np.stack([np.sin(3.0 * x[:, 0]), x[:, 0] * x[:, 1]], axis=1), 2, 2, domain=box
    )
    points = box.grid(200)
    seen = np.linalg.norm(network.evaluate(points) - target(points), axis=1).max()
    difference = c.dense.Difference(network, c.enclosure_of(target))
    reports = [c.certify(network, target, tol=1e-3, max_seconds=5)]
    difference.models = None
    reports.append(c.dense.search_dense(difference, box, tol=1e-3, max_seconds=5))
    for report in reports:
        assert seen <= report.upper and report.lower - 1e-3 <= seen and report.upper - report.lower <= 1e-3
    eye, zero = torch.eye(2), torch.zeros(2)  # in float32, 1e40 overflows
    huge = RadialNetwork.from_layers([(eye * 1e30, zero, None), (eye * 1e10, zero, None)])
    difference = c.dense.Difference(huge, c.enclosure_of(target))
    low, high = difference.range(box.lower[None], box.upper[None])
    assert (low == -np.inf).all() and (high == np.inf).all()
