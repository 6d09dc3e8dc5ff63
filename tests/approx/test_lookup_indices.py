"""Every index against a scan with the same rounded numbers: the answers are equal, at every point."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from approx._bins import Bins
from approx._cells import common_frame, outer_boxes, table
from approx._hierarchy import Hierarchy
from approx._lookup import CellIndex


def scan(points, centers, radii, shapes):
    """The first cell, by trying all of them with plain sums from left to right."""
    found = np.full(len(points), -1)
    for i in reversed(range(len(centers))):
        offset = (points - centers[i]).T
        rows = [offset] if shapes is None else [shapes[i][a][:, None] * offset for a in range(len(offset))]
        if shapes is None:
            total = _sum([x * x for x in offset])
            found[total < radii[i] * radii[i]] = i
        else:
            total = _sum([_sum(list(row)) ** 2 for row in rows])
            found[total < 1.0] = i
    return found


def _sum(terms):
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def half_extents(radii, shapes, dim):
    if shapes is None:
        return np.repeat(radii[:, None], dim, axis=1)
    return np.sqrt((np.linalg.inv(shapes) ** 2).sum(axis=2))


def every_index(centers, radii, shapes):
    half = half_extents(radii, shapes, centers.shape[1])
    yield lambda x: CellIndex(centers, half, radii, shapes).find(x)
    cells = table(centers, radii, shapes)
    for frame in [None] if shapes is None else [None, common_frame(shapes)]:
        boxes = outer_boxes(centers, half, shapes, frame)
        turn = (lambda x, frame=frame: x) if frame is None else (lambda x, frame=frame: x @ frame)
        for index in (Bins(cells, *boxes), Hierarchy(cells, *boxes), Hierarchy(cells, *boxes, row="order")):
            yield lambda x, index=index, turn=turn: index.find(x, turn(x))[0]


def probes(rng, centers, radii, shapes, count=300):
    """Points on the boundaries as closely as numbers allow, in the cells, among them and far away."""
    dim = centers.shape[1]
    cell = rng.integers(len(centers), size=count)
    direction = rng.normal(size=(count, dim))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    inverse = np.eye(dim) * radii[cell, None, None] if shapes is None else np.linalg.inv(shapes[cell])
    axis = np.eye(dim)[rng.integers(dim, size=count)] * rng.choice([-1.0, 1.0], (count, 1))
    points = [centers]
    for vector in (direction, axis):
        depth = rng.choice([0.3, 1 - 1e-15, 1 - 2e-16, 1.0, 1 + 3e-16, 1.1], count)
        points.append(centers[cell] + np.einsum("kab,kb->ka", inverse, depth[:, None] * vector))
    points.append(rng.normal(size=(count // 3, dim)) * 10 ** rng.uniform(-3, 3, (count // 3, 1)))
    points.append(np.array([[np.inf] * dim, [-1e308] * dim]))
    return np.concatenate(points)


@given(st.integers(0, 2**31), st.sampled_from([1, 2, 3, 5, 10]), st.integers(1, 80), st.booleans())
@settings(max_examples=60, deadline=None)
def test_every_index_is_a_scan(seed, dim, cells, balls):
    rng = np.random.default_rng(seed)
    sizes = 10 ** rng.uniform(-3, 1, cells)
    centers = rng.normal(size=(cells, dim)) * 10 ** rng.uniform(-1, 1) + rng.choice([0.0, 1e6])
    turns = np.linalg.qr(rng.normal(size=(cells, dim, dim)))[0]
    shapes = np.swapaxes(turns, 1, 2) / (sizes[:, None] * 10 ** rng.uniform(-4, 0, (cells, dim)))[:, :, None]
    facts = (centers, sizes, None) if balls else (centers, None, shapes)
    x = probes(rng, *facts)
    with np.errstate(all="ignore"):
        expected = scan(x, *facts)
        for find in every_index(*facts):
            assert (find(x) == expected).all()


@pytest.mark.parametrize("thin", [1e-3, 1e-9, 1e-13])
def test_slanted_slabs_are_found_without_trying_all(thin):
    rng = np.random.default_rng(3)
    dim, cells = 3, 2000
    frame = np.linalg.qr(rng.normal(size=(dim, dim)))[0]
    lengths = np.array([[thin, 1.0, 1.0]]) * rng.uniform(0.5, 1, (cells, 1))
    shapes = frame.T / lengths[:, :, None]
    centers = np.linspace(-1, 1, cells)[:, None] * frame[:, 0]
    x = probes(rng, centers, None, shapes, 100)
    half = half_extents(None, shapes, dim)
    index = CellIndex(centers, half, shapes=shapes)
    with np.errstate(all="ignore"):
        assert (index.find(x) == scan(x, centers, None, shapes)).all()
    if thin >= 1e-9:
        assert index.work < 50


def test_nested_cells_cost_no_more_than_a_scan():
    radii = np.linspace(0.01, 1, 3000)
    centers = np.zeros((3000, 4))
    index = CellIndex(centers, half_extents(radii, None, 4), radii=radii)
    x = np.random.default_rng(0).uniform(-0.6, 0.6, (2000, 4))
    assert (index.find(x) == scan(x, centers, radii, None)).all()
    assert index.work < 3000


def test_work_hardly_grows_with_the_cells():
    work = []
    for side in (30, 300):
        centers = np.stack(np.meshgrid(*[np.arange(side) / side] * 2), axis=-1).reshape(-1, 2)
        radii = np.full(len(centers), 0.75 / side)
        work.append(CellIndex(centers, half_extents(radii, None, 2), radii=radii).work)
    assert work[1] < 1.5 * work[0] < 10


def test_many_points_are_answered_in_their_own_order():
    """Points are sorted on the way where there are many cells."""
    rng = np.random.default_rng(1)
    centers, radii = rng.uniform(size=(40_000, 2)), 10 ** rng.uniform(-3, -2, 40_000)
    x = rng.uniform(size=(3000, 2))
    for find in every_index(centers, radii, None):
        assert (find(x) == np.concatenate([find(x[:1000]), find(x[1000:2000]), find(x[2000:])])).all()
    brute = [np.argmax(((p - centers) ** 2).sum(axis=1) < radii**2) for p in x[:50]]
    hit = [(((p - centers) ** 2).sum(axis=1) < radii**2).any() for p in x[:50]]
    assert (find(x[:50]) == np.where(hit, brute, -1)).all()


@pytest.mark.parametrize("offset", [0.0, -1e6, 1e9])
@pytest.mark.parametrize("dim", [2, 3])
def test_bins_that_a_ball_reaches_with_a_corner_alone(dim, offset):
    """Balls that end where a corner of their bins' grid is, and points about these corners."""
    rng = np.random.default_rng(dim)
    side = 14 if dim == 2 else 6
    centers = np.stack(np.meshgrid(*[np.arange(side) / side] * dim, indexing="ij"), axis=-1).reshape(-1, dim)
    centers = rng.permutation(offset + centers + rng.uniform(-0.2, 0.2, centers.shape) / side)
    radii = np.full(len(centers), 0.7 * dim**0.5 / side)

    def bins():
        return Bins(table(centers, radii, None), *outer_boxes(centers, half_extents(radii, None, dim), None))

    first = bins()
    grid = [first._origin[a] + np.arange(1, n) / first._scale[a] for a, n in enumerate(first._per_axis)]
    corners = np.stack(np.meshgrid(*grid, indexing="ij"), axis=-1).reshape(-1, dim)
    step = np.spacing(np.abs(corners).max())
    for i in range(len(centers) // 3):  # the others keep the median, so the bins stay
        distance = np.linalg.norm(corners - centers[i], axis=1)
        reached = distance[(distance < radii[i]) & (distance > radii[i] / 2)]
        if len(reached):
            radii[i] = rng.choice(reached) + rng.integers(-3, 9) * step
    index = bins()
    assert np.array_equal(index._origin, first._origin)
    assert np.array_equal(index._scale, first._scale)
    low, high = outer_boxes(centers, half_extents(radii, None, dim), None)
    spans = index._bins(high) - index._bins(low) + 1
    assert index._starts[-1] < 0.98 * spans.prod(axis=1).sum()  # corners of boxes have no entry
    x = corners + rng.integers(-2, 3, (4, *corners.shape)) * np.spacing(np.abs(corners))
    x = x.reshape(-1, dim)
    assert np.array_equal(index.find(x, x)[0], scan(x, centers, radii, None))
