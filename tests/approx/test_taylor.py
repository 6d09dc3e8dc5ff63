"""Taylor models of functions: exact values in ball arithmetic lie within their errors, which are of high order."""

from fractions import Fraction

import numpy as np
import pytest
from flint import arb, ctx, fmpq

from approx import targets
from approx.certification._series import Basis
from approx.certification.enclosures import function_of
from approx.certification.intervals import Interval, IntervalError
from approx.certification.taylor import Taylor
from tests.approx.formulas import random_function


@pytest.fixture(autouse=True)
def precision():
    before, ctx.prec = ctx.prec, 300
    yield
    ctx.prec = before


def exact(number):
    """A float or fraction as an arb."""
    number = Fraction(number)
    return arb(fmpq(number.numerator, number.denominator))


def escapes(model, k, middle, radius, x, value):
    """Whether the value (arb) at the point x (floats) certainly is outside model k."""
    basis, total = model.basis, arb(0)
    xi = [
        exact((Fraction(p) - Fraction(c)) / Fraction(r)) if r else arb(0)
        for p, c, r in zip(x, middle, radius, strict=True)
    ]
    for term, powers in zip(model.terms[:, k].tolist(), basis.powers.tolist(), strict=True):
        if term:
            part = arb(term)
            for t, p in zip(xi, powers, strict=True):
                part *= t**p
            total += part
    return bool(abs(value - total) > arb(model.error[k]))


def boxes(rng, count, n, widest=0.3):
    middle = rng.uniform(-2, 2, (count, n)) * rng.integers(0, 2, (count, 1))
    radius = 10.0 ** rng.uniform(-8, widest, (count, 1)) * (rng.random((count, n)) > 0.1)
    u = rng.uniform(-1, 1, (count, n))
    u = np.where(rng.random(u.shape) < 0.3, np.sign(u), u) * (1 - 1e-12)
    return middle, radius, np.clip(middle + u * radius, middle - radius, middle + radius)


@pytest.mark.parametrize("seed", range(6))
def test_no_exact_value_escapes(seed):
    rng = np.random.default_rng(seed)
    for _ in range(20):
        n = int(rng.integers(1, 4))
        basis = Basis.of(n, int(rng.integers(1, 8 - n)))
        function, in_balls = random_function(rng, n)
        middle, radius, points = boxes(rng, 30, n)
        model = function(Taylor.variables(basis, middle, radius))
        assert model.shape == (30,) and not np.isnan(model.error).any() and np.isfinite(model.terms).all()
        bounds = model.bounds
        for k in range(30):
            x = points[k].tolist()
            value = in_balls([arb(v) for v in x])
            assert not escapes(model, k, middle[k].tolist(), radius[k].tolist(), x, value)
            assert not (value < bounds.lo[k] or value > bounds.hi[k])


SMOOTH = {
    "gaussian": (lambda x: np.exp(-np.square(x).sum(axis=1)), 2),
    "of the norm": (lambda x: np.exp(-(np.linalg.norm(x, axis=1) ** 2)), 3),
    "waves": (lambda x: np.sin(2 * x[:, 0]) * np.cos(x[:, 1]), 2),
    "quotient": (lambda x: x[:, 0] / (1.5 + np.tanh(x[:, 0])), 1),
    "roots": (lambda x: np.sqrt(2 + np.sin(x[:, 0])) ** 0.7 + np.log(3 + x[:, 1]) - np.arctan(x[:, 0] * x[:, 1]), 2),
    "hyperbolic": (lambda x: np.sinh(x[:, 0]) * np.cosh(x[:, 0]) + np.expm1(x[:, 0]) - np.log1p(x[:, 0] ** 2), 1),
}


@pytest.mark.parametrize(("function", "n"), SMOOTH.values(), ids=SMOOTH)
def test_the_order_is_that_of_the_degree(function, n):
    """Boxes a quarter as wide: the error is 4^-(degree + 1) of what it was."""
    rng = np.random.default_rng(1)
    middle = rng.uniform(-1, 1, (40, n))
    for degree in (3, 5):
        errors = [
            np.median(function(Taylor.variables(Basis.of(n, degree), middle, np.full((40, n), r))).error)
            for r in (0.08, 0.02)
        ]
        assert np.log(errors[0] / errors[1]) / np.log(4) > degree + 0.5


def test_the_root_of_a_square_is_analytic_at_zero():
    """|x|^2 by way of |x|, on a box around 0."""
    x = Taylor.variables(Basis.of(2, 4), np.zeros((1, 2)), np.full((1, 2), 0.5))
    r = np.linalg.norm(x, axis=1)
    assert (r * r).error[0] < 1e-14 and (r[:, None] ** 2).error[0, 0] < 1e-14 and r.error[0] > 0.3


def test_kinks_and_branches():
    basis = Basis.of(1, 3)
    middle = np.array([[-1.0], [0.0], [1.0]])
    x = Taylor.variables(basis, middle, np.full((3, 1), 0.5))[:, 0]
    assert (np.abs(x).error > [-1, 0.2, -1]).all() and np.abs(x).error[0] == np.abs(x).error[2] == 0
    assert (np.abs(x).terms[1] == [-0.5, 0, 0.5]).all()
    assert (np.maximum(x, 0.2).terms[1] == [0, 0, 0.5]).all() and (np.minimum(x, 0.2).terms[1] == [0.5, 0, 0]).all()
    with pytest.raises(TypeError, match="branch"):
        np.where(x > 0, x, 0)
    with pytest.raises(TypeError, match="not known"):
        np.sinc(x)
    with pytest.raises(IntervalError):
        np.log(x)
    with pytest.raises(TypeError, match="NaN"):
        x + np.nan
    with pytest.raises(TypeError, match="one exponent"):
        x ** np.array([1.0, 2.0, 3.0])


def test_what_has_no_bound_stays_unknown():
    """1/x on a box with 0, and everything made of it; beside it, a box that is not concerned."""
    x = Taylor.variables(Basis.of(1, 3), np.array([[0.0], [2.0]]), np.full((2, 1), 0.5))[:, 0]
    for y in (1 / x, np.sqrt(1 / np.square(x)), np.exp(1 / x) * 0.0, x**-3.0 - x**-3.0):
        assert y.error[0] == np.inf and np.isfinite(y.error[1])
        assert not y.terms[:, 0].any()
    bounded = np.sin(1 / x)
    assert bounded.error[0] <= 1 + 1e-12 and bounded.bounds.lo[0] <= -1


def test_numpy_functions_for_arrays():
    """Shapes, joins and constants, against values at the middles."""
    middle = np.random.default_rng(2).normal(size=(5, 3))
    x = Taylor.variables(Basis.of(3, 2), middle, np.full((5, 3), 1e-9))
    matrix = np.arange(6.0).reshape(3, 2)
    for function in (
        lambda v: np.stack([v[:, 0], 2 - v[:, 1]], axis=1) @ np.eye(2),
        lambda v: v @ matrix - np.array([1.0, 2.0]),
        lambda v: np.concatenate([v, np.ones((len(v), 1))], axis=1)[:, ::-1],
        lambda v: (v[:, None, :] - np.zeros((4, 3))).sum(axis=2) / 3.0,
        lambda v: np.hypot(v[:, 0], v[:, 1]) + np.float_power(np.abs(v[:, 2]), 2.0) * -1,
        lambda v: np.einsum("ki,ij,kj->k", v, np.eye(3), v),
        lambda v: np.reciprocal(np.clip(v.T, 4.0, 5.0)) + 0 * v.T,
    ):
        found, wanted = function(x), function(middle)
        assert found.shape == wanted.shape
        assert (np.abs(found.terms[0] - wanted) <= 1e-7).all() and (found.error < 1e-7).all()


@pytest.mark.parametrize("name", ["gaussian", "franke", "peaks", "saddle", "ridge", "affine_bump", "swirl", "rings"])
def test_the_gallery(name):
    """Models run through the functions of the gallery and hold their values; on small boxes, closely."""
    target = targets.get(name)
    rng = np.random.default_rng(3)
    middle = target.domain.sample(200) * 0.95
    for radius, few in ((0.1, 1.0), (1e-3, 1e-7)):
        x = Taylor.variables(Basis.of(2, 5), middle, np.full((200, 2), radius))
        found = x._lift(function_of(target)(x))
        assert np.median(found.error) <= few
        box = Interval(*(found.bounds.lo, found.bounds.hi))
        for _ in range(20):
            values = target(middle + radius * rng.uniform(-1, 1, middle.shape))
            slack = 1e-12 * (1 + np.abs(values))
            assert ((box.lo - slack <= values) & (values <= box.hi + slack)).all()
