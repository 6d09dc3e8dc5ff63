"""Covers: the ordered-cell function and its geometry."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from approx.affine import AffineMap
from approx.covers import Cover

LINE = AffineMap([[2.0]], [1.0])


def random_cover(seed, cells, n, m, balls=True):
    rng = np.random.default_rng(seed)
    affine = AffineMap(rng.normal(size=(m, n)), rng.normal(size=m))
    centers, values = rng.uniform(-2, 2, (cells, n)), rng.normal(size=(cells, m))
    if balls:
        return Cover(centers, values, affine, radii=rng.uniform(0.1, 1.5, cells))
    return Cover(centers, values, affine, shapes=rng.normal(size=(cells, n, n)) + 2 * np.eye(n))


def value_by_definition(cover, x):
    for center, matrix, value in zip(cover.centers, cover.matrices, cover.values, strict=True):
        if np.linalg.norm(matrix @ (x - center)) < 1:
            return value
    return cover.affine.matrix @ x + cover.affine.offset


@given(st.integers(0, 2**31), st.integers(0, 25), st.integers(1, 4), st.integers(1, 3), st.booleans())
@settings(max_examples=40, deadline=None)
def test_values_follow_the_definition(seed, cells, n, m, balls):
    cover = random_cover(seed, cells, n, m, balls)
    assert (len(cover), cover.dim_in, cover.dim_out, cover.is_balls) == (cells, n, m, balls)
    x = np.random.default_rng(seed + 1).uniform(-4, 4, (5, 8, n))
    values = cover(x)
    assert values.shape == (5, 8, m)
    for i in np.ndindex(5, 8):
        assert values[i] == pytest.approx(value_by_definition(cover, x[i]), rel=1e-12, abs=1e-12)
    assert (cover.find(x) >= 0).shape == (5, 8)
    assert cover(np.empty((0, n))).shape == (0, m)


def test_the_doctest_cells_and_their_boundaries():
    cover = Cover([[0.0], [1.0]], [[5.0], [7.0]], LINE, radii=[1.0, 1.0])
    x = [[-1.0], [0.0], [1.0], [2.0], [np.nextafter(1.0, 0)], [np.nextafter(2.0, 0)]]
    assert cover(x).ravel().tolist() == [-1.0, 5.0, 7.0, 5.0, 5.0, 7.0]  # at 2: L(2) = 5
    assert cover.find(x).tolist() == [-1, 0, 1, -1, 0, 1]


def test_a_value_does_not_depend_on_the_batch():
    cover = random_cover(3, 30, 3, 2)
    x = np.random.default_rng(0).uniform(-4, 4, (6000, 3))
    together = cover(x)
    assert all((cover(x[i]) == together[i]).all() for i in range(0, 6000, 17))
    assert (cover(x[::-1]) == together[::-1]).all()


def test_extents_of_known_cells():
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    shapes = np.stack([np.diag([0.5, 0.25]), np.diag([0.5, 0.25]) @ turn.T])
    cover = Cover([[3.0, 4.0], [0.0, 0.0]], [[0.0], [1.0]], AffineMap.constant([0.0], 2), shapes=shapes)
    # Semi-axes 2 and 4; turned by u: half width along e is |(2 u_1.e, 4 u_2.e)|.
    assert cover.half_extents[0] == pytest.approx([2.0, 4.0])
    assert cover.half_extents[1] == pytest.approx([np.hypot(1.2, 3.2), np.hypot(1.6, 2.4)])
    assert cover.largest_radius_each == pytest.approx([4.0, 4.0])
    assert cover.reach == pytest.approx(9.0)
    balls = Cover([[3.0, 4.0]], [[0.0]], AffineMap.constant([0.0], 2), radii=[0.5])
    assert (balls.reach, balls.half_extents.tolist(), balls.matrices.tolist()) == (
        5.5,
        [[0.5, 0.5]],
        [[[2, 0], [0, 2]]],
    )


@pytest.mark.parametrize("balls", [True, False])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_boundary_points_lie_on_boundaries_with_outward_normals(balls, n):
    cover = random_cover(7, 12, n, 1, balls)
    points, normals = cover.boundary_points(240, seed=1)
    assert points.shape == normals.shape == (240, n)
    assert np.linalg.norm(normals, axis=1) == pytest.approx(np.ones(240))
    gauges = np.linalg.norm(np.einsum("kij,pkj->pki", cover.matrices, points[:, None] - cover.centers), axis=2)
    cell = np.abs(gauges - 1).argmin(axis=1)
    assert np.abs(gauges - 1).min(axis=1).max() < 1e-12
    assert len(np.unique(cell)) == 12
    # The gradient of |A (x - c)| points the way of the normal.
    gradient = np.einsum("kji,kjl,kl->ki", cover.matrices[cell], cover.matrices[cell], points - cover.centers[cell])
    gradient /= np.linalg.norm(gradient, axis=1, keepdims=True)
    assert gradient == pytest.approx(normals, abs=1e-9)
    again, _ = cover.boundary_points(240, seed=1)
    assert (again == points).all()


def test_boundary_points_of_nothing():
    empty = Cover(np.empty((0, 2)), np.empty((0, 1)), AffineMap.constant([0.0], 2), radii=np.empty(0))
    assert empty.boundary_points(5)[0].shape == (0, 2) and empty.reach == 0.0
    assert random_cover(0, 3, 2, 1).boundary_points(0)[1].shape == (0, 2)
    assert empty([[1.0, 2.0]]).tolist() == [[0.0]]


@pytest.mark.parametrize("balls", [True, False])
def test_subsets_keep_order_and_facts(balls):
    cover = random_cover(1, 5, 2, 1, balls)
    part = cover.subset([4, 0])
    assert (part.centers == cover.centers[[4, 0]]).all() and (part.values == cover.values[[4, 0]]).all()
    assert (part.matrices == cover.matrices[[4, 0]]).all() and part.affine is cover.affine
    assert len(cover.subset(np.zeros(5, bool))) == 0


def test_the_cover_owns_its_numbers():
    centers = np.zeros((1, 1))
    cover = Cover(centers, [[5.0]], LINE, radii=[1.0])
    centers[:] = 10.0
    assert cover([[0.0]]).tolist() == [[5.0]]
    for array in (cover.centers, cover.values, cover.radii):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1.0
    assert repr(cover) == "Cover(1 ball in R^1, values in R^1, strategy='by hand')"


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        ({"centers": [[0.0, 1.0]]}, ValueError, r"centers of shape \(1, 2\)"),
        ({"centers": [[np.nan]]}, ValueError, r"centers\[0, 0\] = nan"),
        ({"values": [[1.0], [2.0]]}, ValueError, r"values of shape \(2, 1\)"),
        ({"values": [["red"]]}, TypeError, "values of dtype"),
        ({"radii": None}, ValueError, "exactly one of them"),
        ({"shapes": [[[1.0]]]}, ValueError, "exactly one of them"),
        ({"radii": [0.0]}, ValueError, r"radii\[0\] = 0.0"),
        ({"radii": [-1.0]}, ValueError, r"radii\[0\] = -1.0"),
        ({"radii": [1e-200]}, ValueError, "so that its square is a number"),
        ({"radii": [1e200]}, ValueError, "so that its square is a number"),
        ({"radii": [np.inf]}, ValueError, r"radii\[0\] = inf"),
        ({"radii": [1.0, 1.0]}, ValueError, r"radii of shape \(2,\)"),
        ({"radii": None, "shapes": [[[0.0]]]}, ValueError, r"shapes\[0\] with singular values"),
        ({"radii": None, "shapes": [[1.0]]}, ValueError, r"shapes of shape \(1, 1\)"),
        ({"affine": None}, ValueError, "an AffineMap"),
        ({"affine": AffineMap(np.zeros((0, 1)), [])}, ValueError, "n, m >= 1"),
    ],
)
def test_bad_cells_get_one_clear_error(changes, error, text):
    arguments = {"centers": [[0.0]], "values": [[1.0]], "affine": LINE, "radii": [1.0]} | changes
    with pytest.raises(error, match=text):
        Cover(**arguments)


def test_bad_points_get_one_clear_error():
    cover = Cover([[0.0]], [[1.0]], LINE, radii=[1.0])
    with pytest.raises(ValueError, match=r"Cover: received x of shape \(1, 2\)"):
        cover([[0.0, 1.0]])
    with pytest.raises(ValueError, match=r"Cover.find: received x containing NaN"):
        cover.find([[np.nan]])
