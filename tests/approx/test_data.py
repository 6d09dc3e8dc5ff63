"""Targets from grids and samples, against scipy and brute force."""

import itertools
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import RegularGridInterpolator

from approx.domains import Ball, Box
from approx.targets import check_lipschitz, from_grid, from_samples


def random_grid(shape, m=None, seed=0):
    rng = np.random.default_rng(seed)
    axes = [np.cumsum(rng.uniform(0.2, 2.0, k)) - 1.0 for k in shape]
    values = rng.standard_normal(shape if m is None else (*shape, m))
    return axes, values


# Grids


@pytest.mark.parametrize("shape", [(2,), (7,), (2, 2), (5, 8), (3, 4, 5), (2, 3, 2, 3)])
@pytest.mark.parametrize("m", [None, 1, 3])
def test_grid_values_match_scipy_in_ij_order(shape, m):
    axes, values = random_grid(shape, m)
    f = from_grid(values, axes=axes, vector=m is not None)
    assert f.dim_out == (m or 1)
    points = f.domain.sample(200)
    expected = RegularGridInterpolator(axes, values, method="linear")(points).reshape(200, -1)
    np.testing.assert_allclose(f(points), expected, rtol=1e-12, atol=1e-12)
    index = tuple(k - 1 for k in shape)
    np.testing.assert_allclose(f(f.domain.upper), np.atleast_1d(values[index]))  # the far corner is in


def jacobian(f, points, lower, upper):
    """Central differences that stay inside one cell: exact along coordinate lines of a multilinear function."""
    n = f.dim_in
    columns = []
    for i in range(n):
        a, b = points.copy(), points.copy()
        a[:, i], b[:, i] = lower[:, i], upper[:, i]
        columns.append((f(b) - f(a)) / (upper - lower)[:, i, None])
    return np.stack(columns, axis=-1)


@pytest.mark.parametrize("shape, m", [((6,), None), ((5, 4), None), ((3, 3, 3), None), ((4, 5), 2), ((3, 2, 3), 3)])
def test_grid_lipschitz_is_exact(shape, m):
    axes, values = random_grid(shape, m, seed=2)
    f = from_grid(values, axes=axes, vector=m is not None)
    worst = 0.0
    for cell in itertools.product(*(range(k - 1) for k in shape)):  # dense Jacobians in every cell
        low = np.array([axis[i] for axis, i in zip(axes, cell, strict=True)])
        high = np.array([axis[i + 1] for axis, i in zip(axes, cell, strict=True)])
        points = low + (high - low) * Box.cube(len(shape), 0.5, 0.5).grid(7)
        ends = np.broadcast_to(low, points.shape), np.broadcast_to(high, points.shape)
        worst = max(worst, np.linalg.norm(jacobian(f, points, *ends), 2, axis=(1, 2)).max())
    assert f.lipschitz == pytest.approx(worst, rel=1e-9)
    rng = np.random.default_rng(0)
    a = f.domain.sample(4000)
    b = f.domain.project(a + rng.standard_normal(a.shape) * 10 ** rng.uniform(-3, 0.5, (4000, 1)))
    assert (np.linalg.norm(f(a) - f(b), axis=1) <= f.lipschitz * np.linalg.norm(a - b, axis=1) + 1e-12).all()
    assert check_lipschitz(f) >= 0.8 * worst


@pytest.mark.parametrize("shape, m", [((9,), None), ((12, 17), None), ((6, 7, 8), None), ((9, 10), 2)])
@pytest.mark.parametrize("size", [0.0, 0.02, 0.2, 0.6, 1.0])
def test_grid_enclosures(shape, m, size):
    axes, values = random_grid(shape, m, seed=3)
    f = from_grid(values, axes=axes, vector=m is not None)
    n = len(shape)
    rng = np.random.default_rng(1)
    extent = size * f.domain.widths * rng.uniform(0.3, 1, (60, n))
    lower = f.domain.lower + (f.domain.widths - extent) * rng.uniform(0, 1, (60, n))
    upper = lower + extent
    low, high = f.enclosure(lower, upper)
    for a, b, floor, ceiling in zip(lower, upper, low, high, strict=True):
        # All nodes and cut points of the box: where a multilinear interpolant takes its extremes.
        stops = [np.r_[s, axis[(axis > s) & (axis < t)], t] for s, t, axis in zip(a, b, axes, strict=True)]
        at = f(np.stack(np.meshgrid(*stops, indexing="ij"), -1).reshape(-1, n))
        assert (floor <= at.min(0)).all() and (at.max(0) <= ceiling).all()
        small = all(len(s) <= 3 for s in stops)
        if small:
            np.testing.assert_allclose([floor, ceiling], [at.min(0), at.max(0)], atol=1e-10)
        else:  # at worst the nodes of the touched cells
            ends = zip(a, b, axes, strict=True)
            rows = [slice(np.searchsorted(x, s, "right") - 1, np.searchsorted(x, t) + 1) for s, t, x in ends]
            nodes = np.reshape(values[tuple(rows)], (-1, f.dim_out))
            np.testing.assert_allclose([floor, ceiling], [nodes.min(0), nodes.max(0)], atol=1e-10)


def test_grid_enclosures_outside_are_cut_to_the_grid():
    f = from_grid([[0.0, 1.0], [2.0, 5.0]])
    low, high = f.enclosure(np.array([[-5.0, -5.0], [0.5, 0.5]]), np.array([[9.0, 9.0], [7.0, 0.5]]))
    np.testing.assert_allclose(low.ravel(), [0.0, 2.0], atol=1e-9)
    np.testing.assert_allclose(high.ravel(), [5.0, 3.5], atol=1e-9)


def test_grid_boxes_and_units():
    f = from_grid(np.zeros((3, 5)), name="flat", unit="K", axis_unit="s")
    assert f.domain == Box([0, 0], [2, 4]) and (f.name, f.unit, f.axis_unit) == ("flat", "K", "s")
    assert f.lipschitz > 0 and f.lipschitz_source == "proved"
    f = from_grid(np.arange(6.0).reshape(2, 3), lower=[-1, 10], upper=[1, 12])
    np.testing.assert_allclose(f([[-1, 10], [-1, 11], [1, 12], [0, 10]]).ravel(), [0, 1, 5, 1.5])
    with pytest.raises(ValueError, match="outside the domain"):
        f([2.0, 11.0])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(f))([0.3, 10.2]), f([0.3, 10.2]))


@pytest.mark.parametrize(
    "arguments, pattern",
    [
        ({"values": []}, r"shape \(0,\); required at least 2 nodes"),
        ({"values": 3.0}, r"shape \(\); required at least 2 nodes"),
        ({"values": [1.0]}, r"shape \(1,\)"),
        ({"values": [[1.0, 2.0]]}, r"shape \(1, 2\)"),
        ({"values": np.zeros((2,) * 7)}, "1 to 6 axes"),
        ({"values": [1.0, 2.0], "vector": True}, r"shape \(2,\)"),
        ({"values": [1.0, np.nan]}, r"values\[1\] = nan; required finite"),
        ({"values": [1.0, np.inf]}, r"values\[1\] = inf; required finite"),
        ({"values": [1e308, -1e308]}, "slopes that overflow"),
        ({"values": ["a", "b"]}, "values of dtype <U1"),
        ({"values": [1j, 0]}, "values of dtype complex128"),
        ({"values": [[1.0], [1.0, 2.0]]}, "rectangular values"),
        ({"values": [1, 2], "lower": [0]}, "only one of lower and upper"),
        ({"values": [1, 2], "lower": [1], "upper": [0]}, "lower < upper"),
        ({"values": [1, 2], "lower": [0, 0], "upper": [1, 1]}, r"a box of R\^2"),
        ({"values": [1, 2], "axes": [[0, 1]], "lower": [0]}, "axes together with lower"),
        ({"values": [1, 2], "axes": [[0, 1], [0, 1]]}, "2 axes for values with 1"),
        ({"values": [1, 2], "axes": [[0, 1, 2]]}, r"axes\[0\] of shape \(3,\)"),
        ({"values": [1, 2], "axes": [[1, 0]]}, r"axes\[0\] that does not increase"),
        ({"values": [1, 2], "axes": [[1, 1]]}, r"axes\[0\] that does not increase"),
    ],
)
def test_bad_grids_are_refused(arguments, pattern):
    with pytest.raises((ValueError, TypeError), match=pattern):
        from_grid(**arguments)


# Samples


def brute_force_slope(points, values):
    pairs = itertools.combinations(range(len(points)), 2)
    return max(abs(values[i] - values[j]) / np.linalg.norm(points[i] - points[j]) for i, j in pairs)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 6), st.integers(2, 30), st.integers(0, 10**6))
def test_samples_are_reproduced_with_their_own_slope(n, k, seed):
    rng = np.random.default_rng(seed)
    points, values = rng.standard_normal((k, n)), rng.standard_normal(k)
    f = from_samples(points, values)
    slope = brute_force_slope(points, values)
    assert f.lipschitz == pytest.approx(slope, rel=1e-12)
    np.testing.assert_allclose(f(points)[:, 0], values, atol=1e-12 * (1 + slope))
    queries = rng.standard_normal((50, n)) * 3
    distance = np.linalg.norm(queries[:, None] - points, axis=-1)
    central = 0.5 * ((values + slope * distance).min(1) + (values - slope * distance).max(1))
    np.testing.assert_allclose(f(queries)[:, 0], central, atol=1e-11 * (1 + slope))
    assert check_lipschitz(f, samples=64) <= slope * (1 + 1e-9)


def test_samples_in_one_dimension_interpolate_between_neighbours():
    f = from_samples([[3.0], [0.0], [1.0]], [1.0, 0.0, 2.0])
    np.testing.assert_allclose(f([[0.5], [-1.0], [2.0], [1e6]]).ravel(), [1.0, 0.0, 1.5, f([[4.0]]).item()], atol=1e-6)
    assert f.domain == Box([0.0], [3.0]) and f.lipschitz == 2.0


def test_vector_samples_are_bounded_componentwise():
    rng = np.random.default_rng(0)
    points, values = rng.uniform(-1, 1, (40, 3)), rng.standard_normal((40, 2))
    f = from_samples(points, values)
    np.testing.assert_allclose(f(points), values, atol=1e-10)
    assert f.lipschitz == pytest.approx(np.hypot(*(brute_force_slope(points, v) for v in values.T)), rel=1e-12)
    assert check_lipschitz(f) <= f.lipschitz


def test_sample_enclosures_hold_and_close_in():
    rng = np.random.default_rng(0)
    points, values = rng.uniform(-1, 1, (30, 2)), rng.standard_normal((30, 2))
    f = from_samples(points, values)
    middle, half = rng.uniform(-1, 1, (50, 2)), rng.uniform(0, 0.1, (50, 2))
    low, high = f.enclosure(middle - half, middle + half)
    inside = f(middle[:, None] + half[:, None] * rng.uniform(-1, 1, (50, 200, 2)))
    assert (low[:, None] <= inside).all() and (inside <= high[:, None]).all()
    low, high = f.enclosure(middle, middle)
    np.testing.assert_allclose(low, f(middle), atol=1e-9)
    np.testing.assert_allclose(high, f(middle), atol=1e-9)


def test_large_samples_are_evaluated_in_chunks():
    rng = np.random.default_rng(0)
    points = rng.uniform(-1, 1, (3000, 2))
    f = from_samples(points, points @ [3.0, 4.0])
    assert f.lipschitz <= 5.0 * (1 + 1e-12)
    queries = rng.uniform(-0.9, 0.9, (3000, 2))
    np.testing.assert_allclose(f(queries)[:, 0], queries @ [3.0, 4.0], atol=0.2)
    np.testing.assert_array_equal(f(queries)[1500:1510], f(queries[1500:1510]))


@pytest.mark.parametrize("steep", [0, 1500, 2998])
def test_the_steepest_pair_of_large_samples_is_found(steep):
    points, values = np.arange(3000.0), np.zeros(3000)
    values[: steep + 1] = 1.0
    points[steep + 1 :] -= 0.5
    assert from_samples(points[:, None], values).lipschitz == pytest.approx(2.0, rel=1e-12)


def test_repeated_samples_merge_and_flat_axes_are_widened():
    f = from_samples([[0.0, 1.0], [2.0, 1.0], [-0.0, 1.0]], [1.0, 5.0, 1.0])
    assert f.domain == Box([0.0, 0.0], [2.0, 2.0]) and f.lipschitz == 2.0
    wide = from_samples([[0.0], [1.0]], [0.0, 1.0], domain=Ball([0.0], 9.0))
    assert wide.domain == Ball([0.0], 9.0)


@pytest.mark.parametrize(
    "points, values, pattern",
    [
        ([[0.0], [0.0]], [1.0, 2.0], r"two values at the point \[0.0\]"),
        ([[0.0], [-0.0]], [1.0, 2.0], r"two values at the point \[0.0\]"),
        ([[0.0], [0.0]], [1.0, 1.0], "1 distinct points; required at least 2"),
        ([[0.0]], [1.0], "1 distinct points"),
        (np.empty((0, 2)), [], "0 distinct points"),
        (np.empty((3, 0)), [1, 2, 3], "at least one coordinate"),
        ([[0.0], [1.0]], np.empty((2, 0)), "at least one coordinate and one value"),
        ([0.0, 1.0], [1.0, 2.0], r"points of shape \(2,\); required shape \(k, n\)\. .*points\[:, None\]"),
        ([[0.0], [1.0]], [1.0, 2.0, 3.0], r"values of shape \(3,\); required shape \(2,\) or \(2, m\)"),
        ([[0.0], [1.0]], 1.0, r"values of shape \(\); required shape \(2,\)"),
        ([[0.0], [np.nan]], [1.0, 2.0], "finite numbers"),
        ([[0.0], [1.0]], [np.inf, 2.0], "finite numbers"),
        ([[0.0], [1e-200]], [0.0, 1.0], "Merge points that almost coincide"),
        ([["a"], ["b"]], [1.0, 2.0], "points of dtype"),
        (np.zeros((20001, 1)), np.zeros(20001), "20001 samples; required at most 20000"),
    ],
)
def test_bad_samples_are_refused(points, values, pattern):
    with pytest.raises((ValueError, TypeError), match=pattern):
        from_samples(points, values)
