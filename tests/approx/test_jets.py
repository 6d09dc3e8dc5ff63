"""Derivatives over boxes, and the mean value form: secant slopes and values in ball arithmetic, random functions."""

import numpy as np
import pytest
from flint import arb, ctx
from hypothesis import given, settings
from hypothesis import strategies as st

from approx.certification.intervals import Interval, IntervalError
from approx.certification.jets import Jet, mean_value


@pytest.fixture(autouse=True)
def precision():
    before, ctx.prec = ctx.prec, 400
    yield
    ctx.prec = before


def escapes(result, exact):
    """How many exact values certainly lie outside their intervals."""
    ends = zip(result.lo.ravel().tolist(), result.hi.ravel().tolist(), exact, strict=True)
    return sum(bool(value < lo or value > hi) for lo, hi, value in ends)


# name: (function of arrays, function of balls, least and greatest argument)
SMOOTH = {
    "exp": (np.exp, arb.exp, -5.0, 5.0),
    "expm1": (np.expm1, arb.expm1, -5.0, 5.0),
    "log": (np.log, arb.log, 1e-3, 5.0),
    "log1p": (np.log1p, arb.log1p, -0.999, 5.0),
    "sqrt": (np.sqrt, arb.sqrt, 0.0, 5.0),
    "sin": (np.sin, arb.sin, -5.0, 5.0),
    "cos": (np.cos, arb.cos, -5.0, 5.0),
    "tan": (np.tan, arb.tan, -1.57, 1.57),
    "arctan": (np.arctan, arb.atan, -5.0, 5.0),
    "sinh": (np.sinh, arb.sinh, -5.0, 5.0),
    "cosh": (np.cosh, arb.cosh, -5.0, 5.0),
    "tanh": (np.tanh, arb.tanh, -5.0, 5.0),
    "square": (np.square, lambda v: v * v, -5.0, 5.0),
    "absolute": (np.absolute, abs, -5.0, 5.0),
    "negative": (np.negative, lambda v: -v, -5.0, 5.0),
    "reciprocal": (np.reciprocal, lambda v: 1 / v, 0.01, 5.0),
    "quotient": (lambda x: np.sin(x) / (2 + x), lambda v: v.sin() / (2 + v), -1.9, 5.0),
    "product": (lambda x: x * np.exp(x), lambda v: v * v.exp(), -5.0, 5.0),
    "maximum": (lambda x: np.maximum(x, 1 - x), lambda v: v.max(1 - v), -5.0, 5.0),
    "minimum": (lambda x: np.minimum(2 * x, 0.5), lambda v: (2 * v).min(arb(0.5)), -5.0, 5.0),
    "hypot": (lambda x: np.hypot(x, 2.0), lambda v: (v * v + 4).sqrt(), -5.0, 5.0),
    "base": (lambda x: 3.0**x, lambda v: arb(3) ** v, -5.0, 5.0),
}
SMOOTH |= {
    f"power {p}": (lambda x, p=p: x**p, lambda v, p=p: v**p, 0.01 if p < 0 else -5.0, 5.0)
    for p in (-2, -1, 0, 1, 2, 3, 4)
}
SMOOTH |= {f"power {p}": (lambda x, p=p: x**p, lambda v, p=p: v ** arb(p), 0.0, 5.0) for p in (0.5, 2.5)}


@pytest.mark.parametrize("name", SMOOTH)
def test_derivatives_hold_all_secant_slopes(name):
    """By the mean value theorem a slope between two points of a box is a derivative inside it."""
    function, exact, low, high = SMOOTH[name]
    rng = np.random.default_rng(7)
    middle, half = rng.uniform(low, high, 600), 10.0 ** rng.uniform(-9, 0, 600)
    lo, hi = np.maximum(middle - half, low), np.minimum(middle + half, high)
    (slope,) = function(Jet.variables(Interval(lo[:, None], hi[:, None]))).partials
    if slope is None:
        assert name in ("power 0",)
        return
    slope = np.broadcast_to(slope, (600, 1))
    assert not np.isnan(slope.lo).any() and (slope.lo <= slope.hi).all()
    ends = [(arb(p), arb(q)) for p, q in zip(lo.tolist(), hi.tolist(), strict=True)]
    assert escapes(slope, [(exact(q) - exact(p)) / (q - p) for p, q in ends]) == 0
    small = (half < 1e-7) & (middle - low > 0.05) & (high - middle > 0.05)
    assert small.any() and (slope.width[small, 0] <= 1e-3 * (1 + np.abs(slope.lo[small, 0]))).all()


def test_mean_value_form_closes_in_quadratically():
    def function(x):
        return x[:, 0] * np.exp(-x[:, 0]) - x[:, 0] * x[:, 1] + np.sin(x[:, 1] - x[:, 0])

    middle = np.random.default_rng(8).uniform(-2, 2, (200, 2))
    excess = []
    for half in (1e-2, 1e-3):
        boxes = Interval(middle - half, middle + half)
        grid = middle[:, None] + half * np.stack(np.meshgrid(*[np.linspace(-1, 1, 41)] * 2), -1).reshape(-1, 2)
        values = function(grid.reshape(-1, 2)).reshape(200, -1)
        sharp = mean_value(function, boxes)
        excess.append(float((sharp.width - np.ptp(values, axis=1)).max()))
        assert (sharp.lo <= values.min(axis=1)).all() and (values.max(axis=1) <= sharp.hi).all()
        assert (function(boxes).width >= sharp.width).all()
    assert 0 < excess[1] < excess[0] / 50


def test_a_vector_of_functions():
    def function(x):
        return np.stack([x[:, 0] * x[:, 1], x[:, 0] - np.square(x[:, 0])], axis=1)

    boxes = Interval([[0.4, 1.0]], [[0.6, 1.2]])
    result = mean_value(function, boxes)
    assert result.shape == (1, 2) and result.lo[0, 0] <= 0.4 and result.hi[0, 0] >= 0.72
    assert 0.25 <= result.hi[0, 1] <= 0.2701 and 0.2299 <= result.lo[0, 1] <= 0.24


def test_kinks_have_generalized_gradients():
    lo = np.array([[-1.0, -0.5], [1.0, 2.0], [-3.0, -2.0], [0.0, 0.0]])
    hi = np.array([[2.0, 1.0], [2.0, 3.0], [-1.0, -1.0], [0.0, 0.0]])
    x = Jet.variables(Interval(lo, hi))
    slope = np.abs(x[:, 0]).partials[0]
    assert slope.lo.tolist() == [-1, 1, -1, -1] and slope.hi.tolist() == [1, 1, -1, 1]
    slope = np.maximum(x[:, 0], 0.0).partials[0]
    assert slope.lo.tolist() == [0, 1, 0, 0] and slope.hi.tolist() == [1, 1, 0, 1]
    for part in np.linalg.norm(x, axis=1).partials:
        assert (part.lo >= -1 - 1e-15).all() and (part.hi <= 1 + 1e-15).all()
        assert part.contains(1.0)[0] and part.contains(-1.0)[0]  # the tip is inside
    cone = mean_value(lambda v: np.linalg.norm(v, axis=1), Interval(lo, hi))
    assert cone.lo[0] == 0 and cone.contains(np.linalg.norm(lo, axis=1)).all()


def test_poles_are_not_bridged():
    boxes = Interval([[-1.0], [1.0]], [[2.0], [2.0]])
    for function in (lambda x: 1 / x, np.reciprocal, lambda x: x**-1, lambda x: np.tan(np.pi / 2 + x)):
        bounds = mean_value(lambda x, f=function: f(x[:, 0]), boxes)
        assert bounds.lo[0] == -np.inf and bounds.hi[0] == np.inf
    step = mean_value(lambda x: np.arctan(1 / x[:, 0]), boxes)
    assert step.lo[0] <= -np.pi / 4 - 0.7 and step.hi[0] >= np.pi / 2 and step.hi[1] < 0.8


def test_jets_refuse_what_they_lack():
    boxes = Interval([[0.5]], [[1.0]])
    for function in (np.log2, np.sign, lambda x: np.where(x, x, x), lambda x: np.add.reduce(x), np.asarray):
        with pytest.raises(TypeError, match="jets"):
            mean_value(function, boxes)
    assert mean_value(lambda x: np.ones(len(x)), boxes).lo.tolist() == [1.0]


# Random functions: a tree is "x", "y", a number, or (name, subtrees). Numbers are lifted before numpy can round them.
ONE = {
    "exp": (lambda a: np.exp(np.tanh(a)), lambda a: a.tanh().exp()),
    "log": (lambda a: np.log1p(np.square(a)), lambda a: (a * a).log1p()),
    "sqrt": (lambda a: np.sqrt(np.abs(a)), lambda a: abs(a).sqrt()),
    "cube": (lambda a: a**3, lambda a: a**3),
    "power": (lambda a: np.abs(a) ** 1.5, lambda a: abs(a) ** arb(1.5)),
    "inverse": (lambda a: a**-2, lambda a: a**-2),
    "base": (lambda a: 2.0 ** np.sin(a), lambda a: arb(2) ** a.sin()),
    "sin": (np.sin, arb.sin),
    "cos": (np.cos, arb.cos),
    "arctan": (np.arctan, arb.atan),
    "negative": (np.negative, lambda a: -a),
}
TWO = {
    "add": (np.add, lambda a, b: a + b),
    "subtract": (np.subtract, lambda a, b: a - b),
    "multiply": (np.multiply, lambda a, b: a * b),
    "divide": (lambda a, b: a / (1 + b * b), lambda a, b: a / (1 + b * b)),
    "pole": (lambda a, b: a / (b - 0.5), lambda a, b: a / (b - arb(0.5))),
    "maximum": (np.maximum, lambda a, b: a.max(b)),
    "minimum": (np.minimum, lambda a, b: a.min(b)),
    "hypot": (np.hypot, lambda a, b: (a * a + b * b).sqrt()),
}
TREES = st.recursive(
    st.one_of(st.sampled_from(["x", "y"]), st.floats(-3, 3)),
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(sorted(ONE)), inner), st.tuples(st.sampled_from(sorted(TWO)), inner, inner)
    ),
    max_leaves=8,
)
SIDES = st.tuples(st.floats(-4, 4), st.one_of(st.just(0.0), st.floats(1e-12, 3)))


def evaluate(tree, x, y, number, column):
    if not isinstance(tree, tuple):
        return {"x": x, "y": y}.get(tree) if isinstance(tree, str) else number(tree)
    name, *parts = tree
    return {**ONE, **TWO}[name][column](*(evaluate(part, x, y, number, column) for part in parts))


@given(tree=TREES, first=SIDES, second=SIDES, seed=st.integers(0, 2**32 - 1))
@settings(max_examples=250, deadline=None)
def test_random_functions_are_enclosed(tree, first, second, seed):
    lo = np.array([[first[0], second[0]]])
    hi = lo + np.array([[first[1], second[1]]])

    def function(v):
        return evaluate(tree, v[:, 0], v[:, 1], lambda c: np.full_like(v[:, 0], c), 0)

    try:
        natural, sharp = function(Interval(lo, hi)), mean_value(function, Interval(lo, hi))
    except IntervalError:
        assert "power" in str(tree) or "pole" in str(tree) or "inverse" in str(tree)
        return
    for result in (natural, sharp):
        assert (result.lo <= result.hi).all() and (result.lo < np.inf).all() and (result.hi > -np.inf).all()
    share = np.random.default_rng(seed).choice([0.0, 1.0, 0.5, 0.3, 0.999], (12, 2))
    for x, y in np.clip(lo + share * (hi - lo), lo, hi).tolist():
        value = evaluate(tree, arb(x), arb(y), arb, 1)
        if value.is_finite():
            assert escapes(natural, [value]) == 0 == escapes(sharp, [value])
