"""Stored networks evaluated in exact rational arithmetic against the ordered-cell function, also exact."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from approx.affine import AffineMap
from approx.covers import Cover
from constructions import constant_width, minimal, narrow, widening

ASSEMBLE = {
    "widening": widening.assemble,
    "constant_width": constant_width.assemble,
    "narrow": narrow.assemble,
    "minimal": minimal.assemble,
}


def rational(array):
    """A float array or tensor as nested lists of exact fractions."""
    return [rational(row) for row in array] if np.ndim(array) else Fraction(float(array))


class ExactNetwork:
    """The stored weights as exact fractions; |v| < 1 is decided without rounding."""

    def __init__(self, network):
        self.layers = [
            (rational(weight.numpy()), rational(bias.numpy()), activation is not None)
            for weight, bias, activation in network.layers()
        ]

    def states(self, x):
        """x as fractions -> the exact vector after every layer."""
        v, states = list(x), []
        for weight, bias, step in self.layers:
            v = [sum((w * c for w, c in zip(row, v, strict=True) if w), b) for row, b in zip(weight, bias, strict=True)]
            if step and sum(c * c for c in v) < 1:
                v = [Fraction(0)] * len(v)
            states.append(v)
        return states

    def __call__(self, x):
        return self.states(x)[-1]


class ExactCells:
    """The cells of a cover as fractions: the first one that holds a point, by definition."""

    def __init__(self, cover):
        self.centers, self.is_balls = rational(cover.centers), cover.is_balls
        self.shapes = rational(cover.radii if cover.is_balls else cover.shapes)

    def find(self, x):
        for i, (center, shape) in enumerate(zip(self.centers, self.shapes, strict=True)):
            offset = [a - c for a, c in zip(x, center, strict=True)]
            if self.is_balls:
                inside = sum(a * a for a in offset) < shape * shape
            else:
                rows = [sum(s * a for s, a in zip(row, offset, strict=True)) for row in shape]
                inside = sum(a * a for a in rows) < 1
            if inside:
                return i
        return -1


def affine_exactly(affine, x):
    rows = zip(rational(affine.matrix), rational(affine.offset), strict=True)
    return [sum(a * c for a, c in zip(row, x, strict=True)) + b for row, b in rows]


def unit_vector(rng, n):
    """An exactly rational point of the unit sphere (stereographic projection)."""
    t = [Fraction(int(k), 64) for k in rng.integers(-128, 129, n - 1)]
    square = sum(a * a for a in t)
    vector = [2 * a / (1 + square) for a in t] + [(1 - square) / (1 + square)]
    return vector if rng.random() < 0.5 else [-a for a in vector]


def ball_cover(seed, n, m, cells=7, slope=True):
    """Overlapping balls of sizes 1/20 .. 1; values are short dyadic numbers, different in every cell."""
    rng = np.random.default_rng(seed)
    centers, radii = rng.uniform(-1, 1, (cells, n)), 10 ** rng.uniform(-1.3, 0, cells)
    values = rng.permutation(np.arange(-3, cells - 3))[:, None] + rng.integers(0, 4, (cells, m)) / 8
    affine = AffineMap(rng.normal(size=(m, n)) * slope, rng.normal(size=m) * slope)
    return Cover(centers, values, affine, radii=radii)


def apart_cover(n, m):
    """A row of balls of which none holds another's centre, as `minimal` needs."""
    centers = np.zeros((4, n))
    centers[:, 0] = [-1.2, -0.4, 0.4, 1.2]
    values = np.array([[2.0], [-1.0], [0.5], [2.0]]) * np.ones(m)
    return Cover(centers, values, AffineMap.constant(np.zeros(m), n), radii=np.full(4, 0.6))


def exact_points(rng, cover, count):
    """Rational points in cells, between them and beyond them."""
    n = cover.dim_in
    result = [rational(point) for point in rng.uniform(-2.5, 2.5, (count, n))]
    for _ in range(count):
        i, depth = rng.integers(len(cover)), Fraction(int(rng.integers(0, 95)), 100)
        direction = unit_vector(rng, n)
        center, radius = rational(cover.centers[i]), Fraction(float(cover.radii[i]))
        result.append([c + depth * radius * d for c, d in zip(center, direction, strict=True)])
    return result


def boundary_pairs(rng, cover, count):
    """Pairs of rational points at relative distance 1e-9 inside and outside the boundary of a cell."""
    for _ in range(count):
        i, direction = rng.integers(len(cover)), unit_vector(rng, cover.dim_in)
        center = rational(cover.centers[i])
        for side in (-1, 1):
            radius = Fraction(float(cover.radii[i])) * (1 + side * Fraction(1, 10**9))
            yield [c + radius * d for c, d in zip(center, direction, strict=True)]


def nearest_value(cover, value):
    """Which value of the cover this is, and how far off."""
    gaps = np.linalg.norm(cover.values - np.array([float(v) for v in value]), axis=1)
    return int(gaps.argmin()), float(gaps.min())


@pytest.mark.parametrize(("n", "m"), [(1, 1), (2, 1), (1, 2), (3, 2)])
@pytest.mark.parametrize("name", ["widening", "constant_width", "narrow"])
def test_the_first_cell_that_holds_a_point_gives_its_value(name, n, m):
    rng = np.random.default_rng(n + 10 * m)
    made = ASSEMBLE[name](ball_cover(n + 10 * m, n, m), tolerance=2.0**-12)
    network, cells = ExactNetwork(made.network), ExactCells(made.cover)
    points = exact_points(rng, made.cover, 25) + list(boundary_pairs(rng, made.cover, 25))
    outside = 0
    for x in points:
        first = cells.find(x)
        if first < 0:
            outside += 1
            continue
        which, gap = nearest_value(made.cover, network(x))
        assert which == first and gap < 1e-12
    assert 0 < outside < len(points)


@pytest.mark.parametrize(("n", "m"), [(1, 2), (2, 1), (2, 2), (3, 1)])
def test_minimal_networks_give_the_first_cells_value(n, m):
    rng = np.random.default_rng(n)
    made = minimal.assemble(apart_cover(n, m), tolerance=0.25)
    network, cells = ExactNetwork(made.network), ExactCells(made.cover)
    points = exact_points(rng, made.cover, 15) + list(boundary_pairs(rng, made.cover, 15))
    inside = [x for x in points if cells.find(x) >= 0]
    assert len(inside) > 20
    for x in inside:
        expected = made.cover.values[cells.find(x)]
        assert np.abs([float(v) for v in network(x)] - expected).max() < 1e-11


@pytest.mark.parametrize(("n", "m"), [(1, 1), (2, 1), (3, 2)])
@pytest.mark.parametrize("maps", ["conditioned", "paper"])
@pytest.mark.parametrize("name", ["widening", "constant_width"])
def test_outside_the_cells_the_slope_is_exactly_that_of_the_affine_map(name, maps, n, m):
    cover = ball_cover(5 * n + m, n, m)
    if maps == "paper":
        cover = Cover(cover.centers, cover.values, cover.affine, radii=np.minimum(cover.radii, 0.9))
    made = ASSEMBLE[name](cover, maps=maps)
    assert made.affine_exact
    network, cells = ExactNetwork(made.network), ExactCells(made.cover)
    rng = np.random.default_rng(0)
    points = [rational(x * 10.0**k) for k in (0.5, 3, 8) for x in rng.uniform(-1, 1, (6, n))]
    outside = [x for x in points if cells.find(x) < 0]
    assert len(outside) >= 12
    gaps = {
        tuple(a - b for a, b in zip(network(x), affine_exactly(made.cover.affine, x), strict=True)) for x in outside
    }
    assert len(gaps) == 1  # one and the same fraction, at |x| = 1 and at 1e8
    assert max(abs(gap) for gap in gaps.pop()) < 1e-12


@pytest.mark.parametrize("name", ["widening", "constant_width"])
def test_the_slope_is_not_exact_where_it_is_not_claimed(name):
    """The rational oracle can tell the difference: ellipsoids round, and so does float32."""
    rng = np.random.default_rng(1)
    affine = AffineMap([[0.3, -0.7]], [0.1])
    shapes = rng.normal(size=(4, 2, 2)) + 2 * np.eye(2)
    cover = Cover(rng.uniform(-1, 1, (4, 2)), [[1.0], [2.0], [3.0], [4.0]], affine, shapes=shapes)
    balls = Cover(cover.centers, cover.values, affine, radii=np.full(4, 0.3))
    for made in (ASSEMBLE[name](cover), ASSEMBLE[name](balls, tolerance=0.01, dtype=torch.float32)):
        assert not made.affine_exact
        network = ExactNetwork(made.network)
        far = [[Fraction(10**k), Fraction(-(10**k))] for k in (3, 6)]
        gaps = {network(x)[0] - affine_exactly(affine, x)[0] for x in far}
        assert len(gaps) == 2


def test_ellipsoids_give_the_first_cells_value():
    rng = np.random.default_rng(2)
    shapes = rng.normal(size=(6, 2, 2)) + 2 * np.eye(2)
    values = np.arange(6.0)[:, None]
    cover = Cover(rng.uniform(-1, 1, (6, 2)), values, AffineMap.constant([-1.0], 2), shapes=shapes)
    on, normals = cover.boundary_points(40, seed=3)
    points = np.concatenate([rng.uniform(-1.5, 1.5, (40, 2)), on + 1e-9 * normals, on - 1e-9 * normals])
    for name in ("widening", "constant_width", "narrow"):
        made = ASSEMBLE[name](cover, tolerance=0.01)
        network, cells = ExactNetwork(made.network), ExactCells(made.cover)
        for x in map(rational, points):
            first = cells.find(x)
            if first >= 0:
                assert nearest_value(made.cover, network(x))[0] == first


@pytest.mark.parametrize(("n", "m"), [(1, 1), (2, 2), (3, 1)])
def test_captured_points_of_constant_width_sit_exactly_on_their_codes(n, m):
    cover = ball_cover(n, n, m, slope=False)  # dyadic values about 0: rounding them to the grid changes nothing
    made = constant_width.assemble(cover)
    assert (made.cover.values == cover.values).all()
    network, cells = ExactNetwork(made.network), ExactCells(made.cover)
    scale = rational(made.network.blocks[-1].weight[0, n])
    codes = [[v / scale for v in row] for row in rational(cover.values)]
    captured = 0
    for x in exact_points(np.random.default_rng(n), made.cover, 30):
        first, states = cells.find(x), network.states(x)
        if first < 0:
            continue
        captured += 1
        # After layer k >= first: (0, p_first - p_k, 0), to the last bit.
        for k in range(first, len(cover)):
            moved = [a - b for a, b in zip(codes[first], codes[k], strict=True)]
            assert states[k] == [Fraction(0)] * n + moved + [Fraction(0)]
        assert states[-1] == rational(cover.values[first])
        assert made.network.evaluate([[float(c) for c in x]])[0].tolist() == cover.values[first].tolist()
    assert captured > 20


@pytest.mark.parametrize("n", [1, 2, 3])
def test_captured_points_of_widening_keep_one_coordinate_exactly(n):
    made = widening.assemble(ball_cover(n, n, 1))
    network, cells, count = ExactNetwork(made.network), ExactCells(made.cover), len(made.cover)
    for x in exact_points(np.random.default_rng(n), made.cover, 20):
        first, last = cells.find(x), network.states(x)[-2]
        newest = last[n + 1 :]  # e_{N-1}, ..., e_1; the coordinate before them still is q_N
        expected = [Fraction(0)] * (count - 1)
        if first >= 0:
            assert last[n] == 0 or first < count - 1
            if first < count - 1:
                expected[count - 2 - first] = newest[count - 2 - first]
                assert newest[count - 2 - first] >= 1
        assert newest == expected


@pytest.mark.parametrize("name", ["widening", "constant_width"])
def test_float64_states_are_the_exact_ones(name):
    """On the dyadic grid of the translations no sum is ever rounded: floating point equals rational arithmetic."""
    made = ASSEMBLE[name](ball_cover(4, 2, 1, cells=12), tolerance=0.01)
    exact = ExactNetwork(made.network)
    grid = 2.0**-45
    points = np.round(np.random.default_rng(4).uniform(-2, 2, (30, 2)) / grid) * grid
    x = torch.as_tensor(points)
    floating = [made.network.partial(x, layer).numpy() for layer in range(1, made.network.depth)]
    for k, point in enumerate(points):
        states = exact.states(rational(point))
        for layer, state in enumerate(floating):
            assert rational(state[k]) == states[layer]


def test_float64_states_of_narrow_networks_are_the_exact_ones():
    """Codes up to 2^21 share coordinates with x, so the translations must lie on a coarser grid than x alone needs."""
    cover = ball_cover(6, 2, 2, cells=12, slope=False)  # two values leave no room for digits
    radius = np.sqrt(0.75) / 4  # the common scale b is then 4, exactly
    made = narrow.assemble(
        Cover(cover.centers, cover.values, cover.affine, radii=np.full(12, radius)), tolerance=2.0**-19
    )
    exact, rng = ExactNetwork(made.network), np.random.default_rng(6)
    offsets = rng.uniform(-1, 1, (60, 2)) * radius
    points = np.round((made.cover.centers[rng.integers(12, size=60)] + offsets) * 2.0**25) / 2.0**25
    floating = [made.network.partial(torch.as_tensor(points), layer).numpy() for layer in range(1, made.network.depth)]
    assert max(np.abs(state).max() for state in floating) > 2.0**20
    for k, point in enumerate(points):
        states = exact.states(rational(point))
        for layer, state in enumerate(floating):
            assert rational(state[k]) == states[layer]


@pytest.mark.parametrize("name", ["widening", "constant_width", "narrow"])
def test_floating_point_finds_the_right_side_of_every_boundary(name):
    made = ASSEMBLE[name](ball_cover(9, 2, 1, cells=25), tolerance=2.0**-8)
    cells, rng = ExactCells(made.cover), np.random.default_rng(9)
    points = list(boundary_pairs(rng, made.cover, 150))
    values = made.network.evaluate([[float(c) for c in x] for x in points])
    decided = 0
    for x, value in zip(points, values, strict=True):
        first = cells.find(x)
        if first >= 0:
            decided += 1
            assert nearest_value(made.cover, value)[0] == first
        elif name != "narrow":
            decided += 1
            assert value == pytest.approx([float(v) for v in affine_exactly(made.cover.affine, x)], abs=1e-8)
    assert decided > 150
