import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from approx.domains import Ball, Box
from approx.lattice import Lattice, ball_volume


def brute_force(lattice, low, high, steps):
    """All lattice points with integer coordinates up to `steps` that lie in the box, about the origin."""
    k = np.array(list(itertools.product(range(-steps, steps + 1), repeat=lattice.dim)))
    x = k @ lattice.basis
    return x[((x >= low) & (x <= high)).all(axis=1)]


def distance_to_lattice(lattice, points):
    """Distance to the nearest of the lattice points whose integer coordinates are near the real ones of the point."""
    real = points @ np.linalg.inv(lattice.basis)
    best = np.full(len(points), np.inf)
    for shift in itertools.product((-1, 0, 1, 2), repeat=lattice.dim):
        near = (np.floor(real) + shift) @ lattice.basis
        best = np.minimum(best, np.linalg.norm(points - near, axis=1))
    return best


@pytest.mark.parametrize("n", range(1, 11))
def test_basis_has_the_invariants_of_the_dual_of_A_n(n):
    lattice = Lattice(n, math.sqrt(n * (n + 2) / (12 * (n + 1))))
    gram = lattice.basis @ lattice.basis.T
    np.testing.assert_allclose(gram, np.eye(n) - 1 / (n + 1), atol=1e-12)
    assert np.linalg.det(gram) == pytest.approx(1 / (n + 1))
    assert np.array_equal(lattice.basis, np.tril(lattice.basis))
    # The basis spans the lattice dual to A_n: products with the roots e_i - e_j are integers, and the
    # determinant 1/(n+1) is the reciprocal of that of A_n.
    projected = np.eye(n + 1)[:n] - 1 / (n + 1)
    np.testing.assert_allclose(projected @ projected.T, gram, atol=1e-12)
    roots = np.eye(n + 1)[:n] - np.eye(n + 1)[1:]
    products = projected @ roots.T
    np.testing.assert_allclose(products, np.round(products), atol=1e-12)


@pytest.mark.parametrize(
    ("n", "thickness"),
    [(1, 1.0), (2, 1.2092), (3, 1.4635), (4, 1.7655), (5, 2.1243), (8, 3.6658)],  # Conway and Sloane, table 2.1
)
def test_thickness_is_that_of_the_tables(n, thickness):
    assert Lattice(n, 0.7).thickness == pytest.approx(thickness, abs=5e-5)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_covering_radius_by_brute_force(n):
    lattice = Lattice(n, 1.5)
    cell = np.random.default_rng(n).random((4000, n)) @ lattice.basis
    distances = distance_to_lattice(lattice, cell)
    assert distances.max() <= 1.5 + 1e-12
    # Random points rarely come near a deep hole; climbing from the worst of them does.
    worst = cell[np.argsort(distances)[-5:]]
    rng = np.random.default_rng(7)
    step = 0.2
    for _ in range(80):
        moved = worst + step * rng.standard_normal((100, *worst.shape))
        heights = distance_to_lattice(lattice, moved.reshape(-1, n)).reshape(100, -1)
        top = heights.argmax(axis=0)
        better = heights.max(axis=0) > distance_to_lattice(lattice, worst)
        worst = np.where(better[:, None], moved[top, np.arange(len(worst))], worst)
        step *= 0.9
    reached = distance_to_lattice(lattice, worst).max()
    assert reached == pytest.approx(1.5, rel=1e-3)
    assert reached <= 1.5 + 1e-12


@pytest.mark.parametrize("n", range(1, 9))
def test_deep_hole_is_at_the_covering_radius_and_has_n_plus_1_nearest_points(n):
    lattice = Lattice(n, 1.0)
    around = lattice.points(Ball(lattice.deep_hole, 0.25), 1.0, origin=np.zeros(n))
    distances = np.sort(np.linalg.norm(around - lattice.deep_hole, axis=1))
    np.testing.assert_allclose(distances[: n + 1], 1.0, rtol=1e-12)
    assert len(distances) == n + 1 or distances[n + 1] > 1.0 + 1e-9


@pytest.mark.parametrize("n", [2, 3, 4])
def test_all_vertices_of_the_voronoi_cell_are_deep_holes(n):
    lattice = Lattice(n, math.sqrt(n * (n + 2) / (12 * (n + 1))))
    for order in itertools.permutations(range(n + 1)):
        p = (np.array(order) - n / 2) / (n + 1)
        vertex = (p[:n] - p[n]) @ lattice.basis
        assert distance_to_lattice(lattice, vertex[None])[0] == pytest.approx(lattice.covering_radius)


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_minimal_distance_by_brute_force(n):
    lattice = Lattice(n, 1.0)
    points = brute_force(lattice, -9, 9, 3)
    lengths = np.linalg.norm(points, axis=1)
    assert lengths[lengths > 1e-9].min() == pytest.approx(lattice.minimal_distance)


@settings(max_examples=30, deadline=None)
@given(
    n=st.integers(1, 3),
    widths=st.lists(st.floats(0.1, 4.0), min_size=3, max_size=3),
    reach=st.floats(0.0, 1.5),
    ball=st.booleans(),
)
def test_points_are_exactly_those_near_the_domain(n, widths, reach, ball):
    lattice = Lattice(n, 1.0)
    half = np.array(widths[:n]) / 2
    domain = Ball(np.zeros(n), half[0]) if ball else Box(-half, half)
    found = lattice.points(domain, reach)
    every = brute_force(lattice, -6, 6, 6)
    distances = domain.distance(every)
    sure, maybe = every[distances < reach - 1e-6], every[distances < reach + 1e-6]
    table = {tuple(np.round(x, 6) + 0.0) for x in found}
    assert len(table) == len(found)
    assert {tuple(np.round(x, 6) + 0.0) for x in sure} <= table <= {tuple(np.round(x, 6) + 0.0) for x in maybe}


def test_points_come_in_serpentine_order():
    points = Lattice(2, 1.0).points(Box.cube(2, 20.0))
    jumps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    assert jumps.max() < 4.0  # a row-by-row order would jump by 40


def test_origin_is_a_point_of_the_translate():
    origin = np.array([0.3, -0.2])
    points = Lattice(2, 0.5).points(Box.cube(2, 2.0), origin=origin)
    assert np.linalg.norm(points - origin, axis=1).min() < 1e-12


@pytest.mark.parametrize("domain", [Box([-3.0, 0.0, 1.0], [2.0, 0.5, 7.0]), Ball([0.1, 0.2, 0.3], 2.5)])
def test_predicted_count_is_the_mean_over_origins(domain):
    lattice = Lattice(3, 0.6)
    rng = np.random.default_rng(0)
    counts = [len(lattice.points(domain, 0.4, origin=rng.random(3) @ lattice.basis)) for _ in range(60)]
    mean, spread = np.mean(counts), np.std(counts) / math.sqrt(60)
    assert abs(lattice.predicted_count(domain, 0.4) - mean) <= 5 * spread + 1e-3 * mean


def test_predicted_count_of_a_square_by_hand():
    # Area of the 6 x 2 rectangle grown by 1: 12 + 16 + pi; a hexagonal cell of covering radius 1 has 3 sqrt(3)/2.
    expected = (12 + 16 + math.pi) / (1.5 * math.sqrt(3))
    assert Lattice(2, 1.0).predicted_count(Box([0.0, 0.0], [6.0, 2.0])) == pytest.approx(expected)


@pytest.mark.parametrize("n", [1, 2, 10])
@pytest.mark.parametrize("radius", [1e-12, 1e-150, 1e-299])
def test_predicted_count_never_fails(n, radius):
    for domain in (Box.cube(n, 1.0), Ball(np.zeros(n), 1.0)):
        assert Lattice(n, radius).predicted_count(domain) > 1e11


def test_ball_volume_by_hand():
    assert [ball_volume(n) for n in range(4)] == pytest.approx([1, 2, math.pi, 4 * math.pi / 3])


@pytest.mark.parametrize("radius", [0.0, -1.0, math.nan, math.inf])
def test_bad_radius_is_refused(radius):
    with pytest.raises(ValueError, match=r"Lattice: received covering_radius = .*; required"):
        Lattice(2, radius)


def test_bad_dimension_is_refused():
    with pytest.raises(ValueError, match=r"Lattice: received dim = 0; required 1 <= dim"):
        Lattice(0, 1.0)
    with pytest.raises(TypeError, match=r"Lattice: received dim = 2.0; required an integer"):
        Lattice(2.0, 1.0)
