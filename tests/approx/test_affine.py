"""Affine maps between coordinate spaces."""

import numpy as np
import pytest

from approx.affine import AffineMap


@pytest.mark.parametrize(("n", "m"), [(1, 1), (2, 1), (1, 3), (3, 2), (7, 5)])
def test_values_are_matrix_times_x_plus_offset(n, m):
    rng = np.random.default_rng(n + 10 * m)
    matrix, offset, x = rng.normal(size=(m, n)), rng.normal(size=m), rng.normal(size=(4, 6, n))
    affine = AffineMap(matrix, offset)
    assert (affine.dim_in, affine.dim_out, affine.is_constant) == (n, m, False)
    values = affine(x)
    assert values.shape == (4, 6, m)
    for i in np.ndindex(4, 6):
        expected = [sum(matrix[a, b] * x[i][b] for b in range(n)) + offset[a] for a in range(m)]
        assert values[i] == pytest.approx(expected, rel=1e-13, abs=1e-13)
    assert affine(np.empty((0, n))).shape == (0, m)


def test_a_value_does_not_depend_on_the_batch():
    rng = np.random.default_rng(0)
    affine, x = AffineMap(rng.normal(size=(3, 4)), rng.normal(size=3)), rng.normal(size=(1000, 4))
    together = affine(x)
    assert all((affine(x[i]) == together[i]).all() for i in range(1000))
    order = rng.permutation(1000)
    assert (affine(x[order]) == together[order]).all()


def test_lipschitz_is_the_spectral_norm():
    angle = 0.3
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    assert AffineMap(turn @ np.diag([3.0, 0.5]), [0, 0]).lipschitz == pytest.approx(3.0)


def test_constant_maps():
    constant = AffineMap.constant([1.0, 2.0], 3)
    assert constant.is_constant and constant.lipschitz == 0.0
    assert constant([[5.0, 6.0, 7.0]]).tolist() == [[1.0, 2.0]]
    assert AffineMap.constant(4.0, 2)([0.0, 0.0]).tolist() == [4.0]


def test_the_map_owns_its_numbers():
    matrix = np.ones((1, 2))
    affine = AffineMap(matrix, [0.0])
    matrix[:] = 5.0
    assert affine([1.0, 1.0]).tolist() == [2.0]
    with pytest.raises(ValueError, match="read-only"):
        affine.matrix[0, 0] = 1.0


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: AffineMap([1.0], [1.0]), ValueError, r"matrix of shape \(1,\)"),
        (lambda: AffineMap([[1.0]], [1.0, 2.0]), ValueError, r"offset of shape \(2,\)"),
        (lambda: AffineMap([[np.inf]], [1.0]), ValueError, r"matrix\[0, 0\] = inf"),
        (lambda: AffineMap([[1.0]], [np.nan]), ValueError, r"offset\[0\] = nan"),
        (lambda: AffineMap([["x"]], [1.0]), TypeError, "real numbers"),
        (lambda: AffineMap.constant([[1], [2, 3]], 1), TypeError, "rectangular value"),
        (lambda: AffineMap.constant([1.0], 0), ValueError, "1 <= dim_in"),
        (lambda: AffineMap([[1.0]], [1.0])([[1.0, 2.0]]), ValueError, r"shape \(\.\.\., 1\)"),
        (lambda: AffineMap([[1.0]], [1.0])([[np.nan]]), ValueError, "containing NaN"),
    ],
)
def test_bad_input_gets_one_clear_error(make, error, text):
    with pytest.raises(error, match=text):
        make()
