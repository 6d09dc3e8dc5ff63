"""The first of many ordered cells: bins against the definition."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from approx._lookup import CellIndex


def first_by_definition(x, centers, matrices):
    """The definition, cell by cell: the first i with |A_i (x - c_i)| < 1; also where rounding could decide."""
    found, unsure = np.full(len(x), -1), np.zeros(len(x), bool)
    for i in reversed(range(len(centers))):
        square = ((x - centers[i]) @ matrices[i].T) ** 2
        inside = square.sum(axis=1) < 1
        edge = np.abs(square.sum(axis=1) - 1) < 1e-9
        found[inside] = i
        unsure[inside & ~edge] = False
        unsure |= edge
    return found, unsure


def random_cells(rng, cells, n, spread, balls):
    """Cells with sizes 10^-spread .. 10^spread / 2, around a few clusters and everywhere."""
    radii = 10 ** rng.uniform(-6, 3, cells) if spread == "all" else 10 ** rng.uniform(-1, 0, cells)
    scale = 10 ** rng.uniform(-3, 3) if spread == "all" else 1.0
    centers = rng.normal(size=(cells, n)) * scale
    centers[cells // 2 :] = centers[0] + rng.normal(size=(cells - cells // 2, n)) * scale * 1e-3
    if balls:
        return centers, radii, None, np.eye(n) / radii[:, None, None]
    axes = radii[:, None] * 10 ** rng.uniform(-1, 0, (cells, n))
    turns = np.linalg.qr(rng.normal(size=(cells, n, n)))[0]
    shapes = np.swapaxes(turns, 1, 2) / axes[:, :, None]
    return centers, None, shapes, shapes


def index_of(centers, radii, shapes):
    if radii is not None:
        return CellIndex(centers, np.broadcast_to(radii[:, None], centers.shape), radii=radii)
    return CellIndex(centers, np.sqrt((np.linalg.inv(shapes) ** 2).sum(axis=2)), shapes=shapes)


def probes(rng, centers, matrices, count):
    """Points in and just around random cells, among them, and far beyond all bins."""
    n = centers.shape[1]
    cell = rng.integers(len(centers), size=count)
    direction = rng.normal(size=(count, n))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    depth = rng.choice([0.0, 0.5, 0.999, 1.001, 1.5, 10.0], size=count)
    near = centers[cell] + np.linalg.solve(matrices[cell], (depth[:, None] * direction)[:, :, None])[:, :, 0]
    far = rng.normal(size=(count // 4, n)) * 10 ** rng.uniform(-8, 8, (count // 4, 1))
    return np.concatenate([near, far, centers])


@given(
    st.integers(0, 2**31),
    st.integers(1, 4),
    st.integers(1, 60),
    st.sampled_from(["all", "few"]),
    st.booleans(),
)
@settings(max_examples=100, deadline=None)
def test_the_first_cell_is_found(seed, n, cells, spread, balls):
    rng = np.random.default_rng(seed)
    centers, radii, shapes, matrices = random_cells(rng, cells, n, spread, balls)
    x = probes(rng, centers, matrices, 200)
    found = index_of(centers, radii, shapes).find(x)
    expected, unsure = first_by_definition(x, centers, matrices)
    assert unsure.mean() < 0.2
    assert (found == expected)[~unsure].all()


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_thousands_of_cells(n):
    rng = np.random.default_rng(n)
    centers, radii, _, _ = random_cells(rng, 3000, n, "few", True)
    radii *= 0.2 if n > 1 else 0.01
    centers[::500] *= 50  # far outliers
    radii[2000::700] = 1e4  # giants late in the order, over everything
    matrices = np.eye(n) / radii[:, None, None]
    x = probes(rng, centers, matrices, 3000)
    expected, unsure = first_by_definition(x, centers, matrices)
    assert (index_of(centers, radii, None).find(x) == expected)[~unsure].all()
    assert len(np.unique(expected)) > 300


def test_a_giant_first_cell_hides_all_others():
    centers, radii = np.linspace(-1, 1, 50)[:, None], np.r_[1e6, np.full(49, 0.1)]
    index = CellIndex(centers, radii[:, None], radii=radii)
    assert (index.find(np.linspace(-9e5, 9e5, 101)[:, None]) == 0).all()
    assert index.find(np.array([[2e6], [-2e6]])).tolist() == [-1, -1]


def test_balls_are_open_to_the_last_bit():
    # All numbers are exact in binary, so the definition holds without rounding.
    centers, radii = np.array([[0.0, 0.0], [8.0, 0.0]]), np.array([5.0, 0.5])
    index = CellIndex(centers, np.repeat(radii[:, None], 2, axis=1), radii=radii)
    on = [[3.0, 4.0], [-5.0, 0.0], [0.0, 5.0], [8.5, 0.0], [8.0, 0.5]]
    assert index.find(np.array(on)).tolist() == [-1] * 5
    just_in = [[np.nextafter(5.0, 0), 0.0], [np.nextafter(8.5, 0), 0.0], [3.0, np.nextafter(4.0, 0)]]
    assert index.find(np.array(just_in)).tolist() == [0, 1, 0]


@given(st.floats(-1e3, 1e3), st.floats(1e-6, 1e3), st.integers(-3, 3), st.booleans())
@settings(max_examples=200, deadline=None)
def test_one_dimensional_balls_against_exact_arithmetic(center, radius, steps, right):
    x = center + radius if right else center - radius
    for _ in range(abs(steps)):
        x = np.nextafter(x, np.inf if steps > 0 else -np.inf)
    offset = x - center  # rounded once: the sides agree wherever the rounded offset is not exactly the radius
    exact = abs(Fraction(x) - Fraction(center)) < Fraction(radius)
    index = CellIndex(np.array([[center]]), np.array([[radius]]), radii=np.array([radius]))
    found = index.find(np.array([[x]]))[0] == 0
    assert found == (abs(offset) < radius) or abs(abs(offset) - radius) <= 2 * np.spacing(radius)
    if Fraction(offset) == Fraction(x) - Fraction(center) and abs(abs(offset) - radius) > 2 * np.spacing(radius):
        assert found == exact


def test_no_cells_and_no_points():
    empty = CellIndex(np.empty((0, 2)), np.empty((0, 2)), radii=np.empty(0))
    assert empty.find(np.zeros((3, 2))).tolist() == [-1, -1, -1]
    one = CellIndex(np.zeros((1, 2)), np.ones((1, 2)), radii=np.ones(1))
    assert one.find(np.empty((0, 2))).shape == (0,)
    assert one.find(np.array([[np.inf, 0.0], [-np.inf, np.inf], [0.1, 0.1]])).tolist() == [-1, -1, 0]


def test_coinciding_cells_belong_to_the_first():
    centers = np.zeros((40, 3))
    index = CellIndex(centers, np.ones((40, 3)), radii=np.ones(40))
    assert (index.find(np.random.default_rng(0).uniform(-0.5, 0.5, (50, 3))) == 0).all()


def test_needles_across_the_bins():
    """Long thin ellipsoids meet many bins, and only a sliver of each bin's boxes."""
    rng = np.random.default_rng(5)
    cells = 400
    turns = np.linalg.qr(rng.normal(size=(cells, 2, 2)))[0]
    shapes = np.swapaxes(turns, 1, 2) / np.array([100.0, 1e-2])[None, :, None]
    centers = rng.uniform(-1, 1, (cells, 2))
    x = probes(rng, centers, shapes, 4000)
    expected, unsure = first_by_definition(x, centers, shapes)
    assert (index_of(centers, None, shapes).find(x) == expected)[~unsure].all()
