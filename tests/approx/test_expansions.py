"""Taylor coefficients in interval arithmetic: against power series in ball arithmetic."""

import numpy as np
import pytest
from flint import arb, arb_series, ctx

from approx.certification._expansions import RULES, power
from approx.certification.intervals import Interval

ORDER = 12
METHODS = {
    np.exp: arb_series.exp,
    np.expm1: lambda s: s.exp() - 1,
    np.log: arb_series.log,
    np.log1p: lambda s: (1 + s).log(),
    np.sqrt: arb_series.sqrt,
    np.reciprocal: lambda s: 1 / s,
    np.sin: arb_series.sin,
    np.cos: arb_series.cos,
    np.tan: arb_series.tan,
    np.arctan: arb_series.atan,
    np.sinh: lambda s: (s.exp() - (-s).exp()) / 2,
    np.cosh: lambda s: (s.exp() + (-s).exp()) / 2,
    np.tanh: lambda s: 1 - 2 / ((2 * s).exp() + 1),
}
POWERS = [-2.5, -2.0, 0.3, 1.5, 9.0]
CASES = [(f.__name__, RULES[f], METHODS[f]) for f in METHODS]
CASES += [(f"power {p}", power(p), lambda s, p=p: s ** arb_series([arb(p)])) for p in POWERS]


@pytest.fixture(autouse=True)
def precision():
    before = ctx.prec, ctx.cap
    ctx.prec, ctx.cap = 300, ORDER + 2
    yield
    ctx.prec, ctx.cap = before


def test_every_rule_is_here():
    assert set(METHODS) == set(RULES)


@pytest.mark.parametrize(("name", "rule", "method"), CASES, ids=[case[0] for case in CASES])
def test_coefficients(name, rule, method):
    rng = np.random.default_rng(0)
    center = rng.uniform(-4, 4, 120)
    width = np.where(rng.random(120) < 0.3, 0.0, 10 ** rng.uniform(-8, 0, 120))
    x = Interval(center, center + width)
    regular = rule.regular(x)
    assert regular.sum() >= 20
    x = Interval(x.lo[regular], x.hi[regular])
    series = rule.series(x, ORDER)
    assert len(series) == ORDER + 1
    for k in range(len(x)):
        for t in (0.0, rng.random(), 1.0):
            point = arb(min(x.lo[k] + t * (x.hi[k] - x.lo[k]), x.hi[k]))
            exact = method(arb_series([point, 1], ORDER + 2))
            for j, part in enumerate(series):
                assert not (exact[j] < part.lo[k] or exact[j] > part.hi[k]), (name, j, x.lo[k], x.hi[k])
    for part in rule.series(Interval(x.lo, x.lo), ORDER):  # of points: little more than rounding
        assert np.median(part.width / (np.maximum(np.abs(part.lo), np.abs(part.hi)) + 1e-290)) < 1e-11


@pytest.mark.parametrize(("name", "rule", "method"), CASES, ids=[case[0] for case in CASES])
def test_values_are_those_of_the_function(name, rule, method):
    x = Interval([0.3, 0.5], [0.4, 0.5])
    assert np.allclose(rule.value(x).lo, rule.series(x, 1)[0].lo, rtol=1e-14)
