"""Polynomials with a bound of what they miss: against exact rationals."""

import pickle
from fractions import Fraction

import numpy as np
import pytest

from approx.certification._series import Basis, added, composed, multiplied, ranges


def random_models(rng, basis, count, spread=3.0):
    """Coefficients of all sizes, many of them 0, and errors."""
    terms = rng.normal(size=(len(basis), count)) * 10 ** rng.uniform(-spread, spread, (len(basis), count))
    terms *= rng.random(terms.shape) < rng.random(count)
    return terms, 10 ** rng.uniform(-9, 0, count) * (rng.random(count) < 0.7)


def points(rng, basis, count):
    """xi in [-1, 1]^n, corners among them."""
    xi = rng.uniform(-1, 1, (count, basis.dim))
    return np.where(rng.random(xi.shape) < 0.3, np.sign(xi), xi)


def value(basis, terms, xi):
    """The polynomial at a list of rationals."""
    total = Fraction(0)
    for term, powers in zip(terms.tolist(), basis.powers.tolist(), strict=True):
        part = Fraction(term)
        for x, p in zip(xi, powers, strict=True):
            part *= x**p
        total += part
    return total


def rationals(xi):
    return [Fraction(x) for x in xi.tolist()]


CASES = [(1, 0), (1, 7), (2, 4), (3, 3)]


@pytest.mark.parametrize(("n", "degree"), CASES)
def test_the_monomials(n, degree):
    basis = Basis.of(n, degree)
    assert basis is Basis.of(n, degree) and pickle.loads(pickle.dumps(basis)) is basis
    assert (
        len({tuple(p) for p in basis.powers.tolist()}) == len(basis) and (np.diff(basis.powers.sum(axis=1)) >= 0).all()
    )
    for left, right, out in zip(basis.left, basis.right, basis.out, strict=True):
        assert (basis.powers[left] + basis.powers[right] == basis.powers[out]).all()
    pairs = basis.powers[:, None].sum(axis=2) + basis.powers[None].sum(axis=2)
    assert len(basis.out) == (pairs <= degree).sum()
    if degree:
        assert (basis.powers[basis.variables] == np.eye(n)).all()
    for axis in range(n):
        known = basis.above[axis] >= 0
        assert (basis.powers[basis.above[axis][known]] == basis.powers[known] + np.eye(n, dtype=int)[axis]).all()
        assert known.sum() == (basis.powers.sum(axis=1) < degree).sum()


@pytest.mark.parametrize(("n", "degree"), CASES)
def test_products_and_sums_of_all_members(n, degree):
    """Whatever numbers two models stand for, their product and sum stay within the errors."""
    rng, basis = np.random.default_rng(degree), Basis.of(n, degree)
    count = 150  # more than one block, and not a multiple
    (a, ea), (b, eb) = random_models(rng, basis, count), random_models(rng, basis, count)
    for kept in {degree, degree // 2}:
        product = multiplied(basis, a, ea, b, eb, kept)
        assert not product[0][basis.start[kept + 1] :].any()
        total = added(a, ea, b, eb)
        for k, xi in enumerate(points(rng, basis, count)):
            x = rationals(xi)
            for s, t in ((1, 1), (-1, 1), (1, -1)):
                u = value(basis, a[:, k], x) + s * Fraction(ea[k])
                v = value(basis, b[:, k], x) + t * Fraction(eb[k])
                assert abs(u * v - value(basis, product[0][:, k], x)) <= Fraction(product[1][k])
                assert abs(u + v - value(basis, total[0][:, k], x)) <= Fraction(total[1][k])


def test_rounding_is_all_that_is_added_to_exact_products():
    basis = Basis.of(2, 4)
    rng = np.random.default_rng(1)
    terms = np.zeros((len(basis), 50))
    terms[: basis.start[3]] = rng.normal(size=(basis.start[3], 50))
    _, error = multiplied(basis, terms, np.zeros(50), terms, np.zeros(50))
    assert (error <= 1e-14 * np.square(np.abs(terms).sum(axis=0))).all() and (error > 0).all()


@pytest.mark.parametrize(("n", "degree"), [(1, 7), (2, 4)])
def test_polynomials_of_polynomials(n, degree):
    rng, basis = np.random.default_rng(2), Basis.of(n, degree)
    inner, error = random_models(rng, basis, 80, spread=0.5)
    inner[0] = 0.0
    size = np.abs(inner).sum(axis=0) + error + 1e-3
    inner, error = inner / size, error / size
    numbers = rng.normal(size=(degree + 3, 80))
    rest = 10 ** rng.uniform(-9, -3, 80)
    terms, missing = composed(basis, numbers, inner, error, rest)
    for k, xi in enumerate(points(rng, basis, 80)):
        x = rationals(xi)
        for sign in (-1, 1):
            z = value(basis, inner[:, k], x) + sign * Fraction(error[k])
            exact = sum(Fraction(c) * z**j for j, c in enumerate(numbers[:, k].tolist())) + sign * Fraction(rest[k])
            assert abs(exact - value(basis, terms[:, k], x)) <= Fraction(missing[k])


@pytest.mark.parametrize(("n", "degree"), [(1, 1), (1, 7), (2, 4), (3, 3)])
@pytest.mark.parametrize("parts", [1, 4])
def test_ranges(n, degree, parts):
    rng, basis = np.random.default_rng(3), Basis.of(n, degree)
    terms, error = random_models(rng, basis, 60)
    low, high, corner = ranges(basis, terms, error, parts)
    assert (np.abs(corner) <= 1).all()
    for xi in points(rng, basis, 20):
        x = rationals(xi)
        for k in range(60):
            exact = value(basis, terms[:, k], x)
            assert Fraction(low[k]) <= exact - Fraction(error[k]) and exact + Fraction(error[k]) <= Fraction(high[k])


def test_ranges_of_lines_are_attained_at_the_corner():
    basis = Basis.of(2, 3)
    terms = np.zeros((len(basis), 4))
    terms[0] = 2.0
    terms[basis.variables] = [[1.0, -1.0, 1.0, -1.0], [0.5, 0.5, -0.5, -0.5]]
    low, high, corner = ranges(basis, terms, np.zeros(4), 4)
    assert np.allclose(low, 0.5) and np.allclose(high, 3.5)
    assert (corner == [[1, -1, 1, -1], [1, 1, -1, -1]]).all()


def test_what_overflows_is_unknown():
    basis = Basis.of(1, 2)
    huge = np.full((3, 1), 1e200)
    for terms, error in (
        multiplied(basis, huge, np.zeros(1), huge, np.zeros(1)),
        multiplied(basis, huge, np.full(1, np.inf), 0 * huge, np.zeros(1)),
        added(huge, np.full(1, np.inf), huge, np.zeros(1)),
    ):
        assert error == np.inf and not terms.any()
        low, high, _ = ranges(basis, terms, error, 4)
        assert low == -np.inf and high == np.inf
