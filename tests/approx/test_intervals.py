"""Interval arithmetic against exact values: ball arithmetic for functions, rational numbers for sums and products."""

import itertools
import math

import numpy as np
import pytest
from flint import arb, ctx

from approx.certification import intervals
from approx.certification.intervals import Interval, IntervalError
from approx.certification.jets import Jet, mean_value

CASES = 3000  # random cases a function; 100_000 ran without a failure
LARGEST = np.finfo(float).max

# name: (function of arrays, function of balls, least and greatest argument)
UNARY = {
    "exp": (np.exp, arb.exp, -760.0, 709.7),
    "exp2": (np.exp2, lambda v: arb(2) ** v, -1080.0, 1023.9),
    "expm1": (np.expm1, arb.expm1, -760.0, 709.7),
    "log": (np.log, arb.log, 5e-324, 1e308),
    "log2": (np.log2, lambda v: v.log() / arb(2).log(), 5e-324, 1e308),
    "log10": (np.log10, lambda v: v.log() / arb(10).log(), 5e-324, 1e308),
    "log1p": (np.log1p, arb.log1p, -1 + 2.0**-53, 1e308),
    "sqrt": (np.sqrt, arb.sqrt, 0.0, 1e308),
    "sin": (np.sin, arb.sin, -1e18, 1e18),
    "cos": (np.cos, arb.cos, -1e18, 1e18),
    "tan": (np.tan, arb.tan, -1e10, 1e10),
    "arctan": (np.arctan, arb.atan, -1e300, 1e300),
    "sinh": (np.sinh, arb.sinh, -710.0, 710.0),
    "cosh": (np.cosh, arb.cosh, -710.0, 710.0),
    "tanh": (np.tanh, arb.tanh, -400.0, 400.0),
    "square": (np.square, lambda v: v * v, -1e153, 1e153),
    "absolute": (np.absolute, abs, -1e308, 1e308),
    "negative": (np.negative, lambda v: -v, -1e308, 1e308),
    "reciprocal": (np.reciprocal, lambda v: 1 / v, 1e-300, 1e300),
}
UNARY |= {
    f"power {p}": (lambda x, p=p: x**p, lambda v, p=p: v**p, 1e-20 if p < 0 else -1e20, 1e20)
    for p in (-3, -2, -1, 0, 1, 2, 3, 4, 5, 7, 12)
}
UNARY |= {f"power {p}": (lambda x, p=p: x**p, lambda v, p=p: v ** arb(p), 1e-60, 1e60) for p in (0.5, 1.5, -0.3, 2.7)}
BINARY = {
    "add": (np.add, lambda a, b: a + b),
    "subtract": (np.subtract, lambda a, b: a - b),
    "multiply": (np.multiply, lambda a, b: a * b),
    "divide": (np.divide, lambda a, b: a / b),
    "maximum": (np.maximum, lambda a, b: a.max(b)),
    "minimum": (np.minimum, lambda a, b: a.min(b)),
    "hypot": (np.hypot, lambda a, b: (a * a + b * b).sqrt()),
}
EXACT = ("absolute", "negative", "power 1", "power 0", "maximum", "minimum")  # these do not round


@pytest.fixture(autouse=True)
def precision():
    before, ctx.prec = ctx.prec, 1200  # sines of 1e18 and cancelling sums need it
    yield
    ctx.prec = before


def numbers(rng, count, low, high):
    """Numbers of [low, high]: even, spread over all magnitudes, and whole."""
    size = np.concatenate([np.zeros(1), 10.0 ** rng.uniform(-300, math.log10(max(abs(low), high)), count // 2)])
    spread = np.where(rng.random(len(size)) < 0.5, size, -size)
    even = low + (high / 2 - low / 2) * rng.uniform(0, 1, count // 4)
    near = rng.normal(0, 3, count)
    pool = np.concatenate([spread, even, -even, near, np.round(near)])
    return rng.permutation(pool[(pool >= low) & (pool <= high)])[:count]


def escapes(result, exact):
    """How many exact values certainly lie outside their intervals."""
    ends = zip(result.lo.ravel().tolist(), result.hi.ravel().tolist(), exact, strict=True)
    return sum(bool(value < lo or value > hi) for lo, hi, value in ends)


def point_failures(name, seed=0):
    function, exact, low, high = UNARY[name]
    x = numbers(np.random.default_rng(seed), CASES, low, high)
    assert len(x) > CASES // 3
    return escapes(function(Interval(x, x)), [exact(arb(v)) for v in x.tolist()])


def pair_failures(name, seed=0):
    function, exact = BINARY[name]
    rng = np.random.default_rng(seed)
    a, b = numbers(rng, CASES, -1e150, 1e150), numbers(rng, CASES, -1e150, 1e150)
    if name == "divide":
        b = np.where(b == 0, 1.0, b)
    values = [exact(arb(p), arb(q)) for p, q in zip(a.tolist(), b.tolist(), strict=True)]
    return escapes(function(Interval(a, a), Interval(b, b)), values)


@pytest.mark.parametrize("name", UNARY)
def test_points_are_enclosed(name):
    assert point_failures(name) == 0


@pytest.mark.parametrize("name", BINARY)
def test_pairs_of_points_are_enclosed(name):
    assert pair_failures(name) == 0


@pytest.mark.parametrize("name", [*UNARY, *BINARY])
def test_without_rounding_points_escape(name, monkeypatch):
    for side in ("down", "up"):
        monkeypatch.setattr(intervals, side, lambda x, units=1: x)
    failures = point_failures(name) if name in UNARY else pair_failures(name)
    assert (failures == 0) == (name in EXACT)


@pytest.mark.parametrize("side", ["down", "up"])
def test_each_side_of_the_rounding_is_needed(side, monkeypatch):
    monkeypatch.setattr(intervals, side, lambda x, units=1: x)
    assert pair_failures("add") > 0 and pair_failures("multiply") > 0


@pytest.mark.parametrize("name", [name for name in UNARY if name != "tan"])
def test_point_intervals_are_narrow(name):
    function, _, low, high = UNARY[name]
    x = numbers(np.random.default_rng(1), CASES, low, high)
    if name in ("sin", "cos"):
        x = x[np.abs(x) < 1.8e16]  # 2^54
    result = function(Interval(x, x))
    scale = 1.0 if name in ("sin", "cos") else np.maximum(np.abs(result.lo), np.abs(result.hi))
    assert (result.width <= 20 * 2.0**-52 * scale + 1e-306).all()


@pytest.mark.parametrize("name", UNARY)
def test_boxes_hold_the_values_inside(name):
    function, exact, low, high = UNARY[name]
    rng = np.random.default_rng(2)
    x = numbers(rng, CASES // 3, low, high)
    reach = 10.0 ** rng.uniform(-17, 0, len(x)) * np.where(rng.random(len(x)) < 0.5, 1.0, np.abs(x) / 2)
    boxes = Interval(np.maximum(x - reach, low), np.minimum(x + reach, high))
    result = function(boxes)
    for share in (0.0, 1.0, rng.random(len(x))):
        inside = np.clip(boxes.lo * (1 - share) + boxes.hi * share, boxes.lo, boxes.hi)
        assert escapes(result, [exact(arb(v)) for v in inside.tolist()]) == 0


@pytest.mark.parametrize("name", UNARY)
def test_ranges_of_boxes_are_exact(name):
    """Against the extremes of many values inside."""
    function, _, low, high = UNARY[name]
    rng = np.random.default_rng(3)
    middle, half = rng.uniform(-6, 6, 400), rng.uniform(0, 3, 400)
    lo, hi = np.clip(middle - half, low, high), np.clip(middle + half, low, high)
    result = function(Interval(lo, hi))
    grid = np.clip(lo[:, None] + (hi - lo)[:, None] * np.linspace(0, 1, 2001), lo[:, None], hi[:, None])
    values = function(grid)
    least, most = values.min(axis=1), values.max(axis=1)
    assert (result.lo <= least).all() and (most <= result.hi).all()
    step = np.abs(np.diff(values, axis=1)).max(axis=1)
    bounded = np.isfinite(result.lo) & np.isfinite(result.hi)
    gap = np.maximum(least - result.lo, result.hi - most)[bounded]
    assert (
        bounded.sum() > 100 and (gap <= 2 * step[bounded] + 1e-14 * np.abs(values).max(axis=1)[bounded] + 1e-306).all()
    )
    assert (np.abs(values[~bounded]).max(axis=1) > 100).all()  # a pole inside


def test_turning_points_are_exact():
    boxes = Interval([1.5, -1.6, 3.0, 0.1, -0.1], [1.6, -1.5, 3.2, 0.2, 0.1])
    sine, cosine = np.sin(boxes), np.cos(boxes)
    assert sine.hi[0] == 1 and sine.lo[1] == -1 and cosine.lo[2] == -1 and cosine.hi[4] == 1 and cosine.hi[3] < 1
    assert (np.square(boxes).lo[4], np.abs(boxes).lo[4], (boxes**4).lo[4]) == (0, 0, 0)
    assert math.isinf(np.tan(boxes).hi[0]) and np.tan(boxes).hi[3] < 0.21


@pytest.mark.parametrize("period", [np.pi, 2 * np.pi])
def test_large_arguments_are_counted_in_turns(period):
    """Against ball arithmetic, with floats that are nearly multiples of the period among them."""
    exact = arb.pi() * round(period / np.pi)
    rng = np.random.default_rng(0)
    x = 2.0 ** rng.uniform(0, 54, 3000) * rng.choice([-1, 1], 3000)
    near = [float((arb(k) / 2 * exact).mid()) for k in (2.0 ** rng.uniform(0, 51, 3000)).astype(np.int64).tolist()]
    x = np.concatenate([x, near, np.nextafter(near, 0), [2.0**54, -(2.0**54), 0.0]])
    count, rest = intervals._reduced(x, period)
    assert (count == np.rint(count)).all() and (np.abs(rest) < 3).all()
    for v, k, r in zip(x.tolist(), count.tolist(), rest.tolist(), strict=True):
        assert abs(arb(v) / exact - arb(k) - arb(r)) < 2.0**-47


@pytest.mark.parametrize("start", [1e4, 1e8, 1e12, 1e15, 1.7e16])
@pytest.mark.parametrize("name", ["sin", "cos"])
def test_ranges_far_from_zero_are_exact(name, start):
    """The extremes are those of the ends and of the turning points, which ball arithmetic finds."""
    function, at_points, _, _ = UNARY[name]
    rng = np.random.default_rng(1)
    lo = start * (1 + 0.01 * rng.random(500))
    hi = lo + rng.uniform(0, 7, 500)
    found = function(Interval(lo, hi))
    assert (found.lo > -1).any() and (found.hi < 1).any()
    shift = arb(1) / 4 if name == "sin" else arb(0)
    for low, high, a, b in zip(lo.tolist(), hi.tolist(), found.lo.tolist(), found.hi.tolist(), strict=True):
        ends = [float(at_points(arb(end))) for end in (low, high)]
        for phase, bound, sign in ((shift, b, 1), (shift + arb(1) / 2, a, -1)):
            first, last = (arb(end) / (2 * arb.pi()) - phase for end in (low, high))
            inside = bool(first.ceil() <= last.floor())
            best = 1.0 if inside else max(sign * end for end in ends)
            assert abs(sign * bound - best) < 1e-12


def test_beyond_what_can_be_counted_waves_are_between_their_extremes():
    far = np.sin(Interval([2.0**55, -np.inf], [2.0**55 + 8, 3.0]))
    assert far.lo.tolist() == [-1.0, -1.0] and far.hi.tolist() == [1.0, 1.0]
    assert math.isinf(np.tan(Interval([2.0**55], [2.0**55 + 8])).hi[0])


SPECIAL = [-np.inf, -LARGEST, -2.0, -1e-310, -0.0, 0.0, 5e-324, 1.0, 3.0, 1e200, LARGEST, np.inf]
BOXES = [(a, b) for a, b in itertools.product(SPECIAL, SPECIAL) if a <= b and a < np.inf and b > -np.inf]


def proper(result):
    assert not np.isnan(result.lo).any() and not np.isnan(result.hi).any()
    assert (result.lo <= result.hi).all() and (result.lo < np.inf).all() and (result.hi > -np.inf).all()


@pytest.mark.parametrize("name", UNARY)
def test_special_ends(name):
    function, exact, low, high = UNARY[name]
    for a, b in BOXES:
        if b < low or (b == 0 and low > 0):
            continue
        result = function(Interval([a], [b]))
        proper(result)
        for x in SPECIAL:
            if max(a, low) <= x <= min(b, high):
                assert escapes(result, [exact(arb(x))]) == 0, (a, b, x)


@pytest.mark.parametrize("name", BINARY)
def test_special_ends_of_pairs(name):
    function, exact = BINARY[name]
    lo, hi = np.array(BOXES).T
    shape = (len(lo), len(lo))
    first = np.broadcast_to(Interval(lo[:, None], hi[:, None]), shape)
    second = np.broadcast_to(Interval(lo, hi), shape)
    result = function(first, second)
    proper(result)
    for x, y in itertools.product([v for v in SPECIAL if math.isfinite(v)], repeat=2):
        if name == "divide" and y == 0:
            continue
        value = exact(arb(x), arb(y))
        held = first.contains(x) & second.contains(y)
        assert held.any()
        assert not (value < result.lo[held].max().item() or value > result.hi[held].min().item()), (x, y)


def test_limits_at_infinity():
    far = Interval([3.0], [np.inf])
    assert np.exp(-(far**2)).hi[0] <= math.exp(-9) * (1 + 1e-13) and np.exp(-(far**2)).lo[0] == 0
    assert 0 <= 1 / 3 - (1 / far).hi[0] + 1e-15 < 1e-14 and abs((1 / far).lo[0]) < 1e-300
    assert (far - far).lo[0] == -np.inf and (0.0 * far).hi[0] < 1e-300 and (far * 0.0).lo[0] > -1e-300
    assert np.exp(Interval([800.0], [900.0])).lo[0] > 1e308 and np.exp(Interval([800.0], [900.0])).hi[0] == np.inf
    assert (far / far).lo[0] <= 0 and (far / far).hi[0] == np.inf
    assert (1 / Interval([0.0, -1.0], [2.0, 0.0])).lo[0] == pytest.approx(0.5)
    assert (1 / Interval([-1.0], [2.0])).hi[0] == np.inf == -(1 / Interval([-1.0], [2.0])).lo[0]


def test_partial_functions():
    part = Interval([-1.0, 4.0], [4.0, 9.0])
    assert (
        np.sqrt(part).lo.tolist()[0] == 0 and np.sqrt(part).hi[0] == pytest.approx(2) and np.log(part).lo[0] == -np.inf
    )
    assert (part**0.5).hi[0] == pytest.approx(2) and (part**1.5).lo[0] == 0
    never = Interval([1.0, -3.0], [2.0, -1.0])
    for function, name in ((np.sqrt, "sqrt"), (np.log, "log"), (np.log1p, "log1p"), (lambda x: x**0.5, "power")):
        with pytest.raises(IntervalError, match=rf"numpy\.{name}: received an interval \[-3\.0, -1\.0\]"):
            function(never)
    with pytest.raises(IntervalError, match=r"numpy\.log:"):
        np.log(Interval([0.0], [0.0]))


def test_integer_and_other_exponents_do_not_mix():
    boxes = Interval([[-2.0, 0.0]], [[1.0, 1.0]])
    with pytest.raises(TypeError, match="split them"):
        boxes ** np.array([2.0, 0.5])  # the first is defined below 0, the second is not
    assert (boxes ** np.array([2.0, 3.0])).hi[0, 0] >= 4.0


def test_powers_with_interval_exponents():
    rng = np.random.default_rng(5)
    base, power = rng.uniform(0, 4, (2, 500)), rng.uniform(-3, 3, (2, 500))
    base, power = np.sort(base, axis=0), np.sort(power, axis=0)
    result = Interval(*base) ** Interval(*power)
    for s, t in itertools.product((0, 1, 0.5), repeat=2):
        x, y = base[0] + s * (base[1] - base[0]), power[0] + t * (power[1] - power[0])
        x, y = np.clip(x, *base), np.clip(y, *power)
        assert escapes(result, [arb(p) ** arb(q) for p, q in zip(x.tolist(), y.tolist(), strict=True)]) == 0
    assert escapes(2.0 ** Interval(*power), [arb(2) ** arb(q) for q in power[1].tolist()]) == 0
    whole = Interval([[-2.0, 1.0]], [[3.0, 2.0]]) ** np.array([[2, 3]])
    assert whole.lo[0, 0] == 0 and whole.hi[0] == pytest.approx([9, 8]) and whole.lo[0, 1] == pytest.approx(1)


@pytest.mark.parametrize("factor", [3.0, -0.1, 1e308, -5e-324, 2.0**-1074, 0.0, -0.0])
def test_one_number_is_a_factor_like_any_other(factor):
    """The short way for one number gives the bounds of the general one."""
    rng = np.random.default_rng(4)
    lo, hi = np.sort([numbers(rng, 300, -1e308, 1e308)[:200], numbers(rng, 300, -1e308, 1e308)[:200]], axis=0)
    lo[:20], hi[10:30] = -np.inf, np.inf
    x, many = Interval(lo, hi), Interval(np.full(200, factor), np.full(200, factor))
    for one, general in ((factor * x, many * x), (x * factor, x * many), (x / factor, x / many)):
        assert one.lo.tolist() == general.lo.tolist() and one.hi.tolist() == general.hi.tolist()


def test_equal_factors_are_squares():
    x = Interval([[-1.0, 2.0]], [[2.0, 3.0]])
    assert (x * x).lo[0, 0] == (x[:, 0] * x[:, 0]).lo[0] == np.einsum("ki,ki->ki", x, x).lo[0, 0] == 0
    assert (x[:, 0] * x[:, 0].copy()).lo[0] == pytest.approx(-2)
    assert (x[:, 0] * x[:, 1]).lo[0] == pytest.approx(-3)
    square = Interval([[-1.0, 2.0], [3.0, 4.0]], [[2.0, 3.0], [4.0, 5.0]])
    assert (square[0] * square[:, 0]).hi.tolist() == pytest.approx([4, 12])  # from the same place in memory
    assert (square * square.T).hi[0, 1] == pytest.approx(12)


OPERATIONS = {
    "columns": lambda x: x[:, 0] * x[:, 1] - x[..., 2],
    "iterated": lambda x: (lambda u, v, w: u + v * w)(*x.T),
    "sum": lambda x: np.sum(x, axis=-1) + x.sum(axis=1) + np.sum(x, axis=1, keepdims=True)[:, 0],
    "prod": lambda x: np.prod(x, axis=1),
    "mean": lambda x: np.mean(x, axis=1) + x.mean(axis=-1),
    "extremes": lambda x: np.max(x, axis=1) - x.min(axis=1),
    "norm": lambda x: np.linalg.norm(x, axis=-1) + np.linalg.norm(x, ord=1, axis=1) + np.linalg.norm(x, np.inf, 1),
    "matmul": lambda x: x @ np.array([1.0, -2.0, 0.0]),
    "matrices": lambda x: (np.array([[1.0, -2.0, 0.5], [0.0, 1.0, 3.0]]) @ x.T).T + x @ np.ones((3, 2)),
    "einsum": lambda x: np.einsum("ki,ij,kj->k", x, np.array([[2.0, 1, 0], [1, 3, 0], [0, 0, 1]]), x),
    "squares": lambda x: np.einsum("ki,ki->k", x, x),
    "stack": lambda x: np.stack([x[:, 0], x[:, 1] ** 2], axis=-1),
    "column_stack": lambda x: np.column_stack([x[:, 0], np.ones(len(x)), x]),
    "vstack": lambda x: np.vstack([x[:, 0], x[:, 1]]).T,
    "concatenate": lambda x: np.concatenate([x, x[:, :1]], axis=1),
    "clip": lambda x: np.clip(x, -0.5, 0.5) + x.clip(0.0, None),
    "reshape": lambda x: x.reshape(len(x), 3, 1)[:, ::-1, 0],
    "axes": lambda x: np.moveaxis(np.expand_dims(x, 1), 1, 2)[:, :, 0] + np.transpose(x).T,
    "broadcast": lambda x: np.broadcast_to(x[:, :1], x.shape) * x,
    "constants": lambda x: np.zeros_like(x) + 2 * np.ones_like(x) - x / 4 + np.full_like(x, 0.1) * np.arange(3),
    "scalars": lambda x: np.float64(0.1) * x + np.float32(0.1) - 1 / (2 + np.square(x)),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_array_functions(name):
    """As numpy on points, to rounding; and boxes hold the values inside; jets agree with intervals."""
    function = OPERATIONS[name]
    rng = np.random.default_rng(6)
    x = rng.uniform(-1, 1, (50, 3))
    expected, at_points = function(x), function(Interval(x, x))
    assert at_points.shape == expected.shape
    np.testing.assert_allclose(at_points.lo, expected, atol=1e-13)
    np.testing.assert_allclose(at_points.hi, expected, atol=1e-13)
    half = rng.uniform(0, 0.2, x.shape)
    boxes = Interval(x - half, x + half)
    result, jet, sharp = function(boxes), function(Jet.variables(boxes)), mean_value(function, boxes)
    np.testing.assert_array_equal((jet.value.lo, jet.value.hi), (result.lo, result.hi))
    for _ in range(20):
        values = function(boxes.lo + (boxes.hi - boxes.lo) * rng.random(x.shape))
        for bounds in (result, sharp):
            assert (bounds.lo <= values + 1e-13).all() and (values <= bounds.hi + 1e-13).all()


def test_assignment_follows_numpy():
    x = Interval([[-1.0, 0.0]], [[2.0, 1.0]])
    total = np.zeros_like(x)
    total[:, 1] = x[:, 0]
    total += 1
    part = total[:, 0]
    part *= x[:, 1]
    assert total.lo[0, 0] == pytest.approx(0) and total.hi[0].tolist() == pytest.approx([1, 3])
    assert x.lo.tolist() == [[-1, 0]]
    with pytest.raises(TypeError, match=r"start from numpy\.zeros_like"):
        np.add(x, 1.0, out=np.zeros((1, 2)))


@pytest.mark.parametrize(
    "attempt, pattern",
    [
        (lambda x: x > 0, r"numpy\.greater of intervals would be a data-dependent branch"),
        (lambda x: x == 1, r"numpy\.equal of intervals"),
        (lambda x: np.where(x, 1.0, x), r"numpy\.where of intervals"),
        (lambda x: np.where(np.ones(3) > 0, x, 0.0), r"numpy\.where of intervals"),
        (lambda x: np.sign(x), r"numpy\.sign of intervals would be a data-dependent branch"),
        (lambda x: bool(x[0, 0]), "the truth value of intervals would be a data-dependent branch"),
        (lambda x: np.arange(3)[x], "interval|integer"),
        (lambda x: np.argmax(x), r"numpy\.argmax of intervals"),
        (lambda x: np.spacing(x), r"numpy\.spacing is not known for intervals"),
        (lambda x: np.convolve(x[:, 0], x[:, 1]), r"numpy\.convolve is not known for intervals"),
        (lambda x: np.asarray(x), "intervals are no plain arrays"),
        (lambda x: np.array([x[:, 0], x[:, 1]]), "intervals are no plain arrays"),
        (lambda x: float(x[0, 0]), "intervals are no single numbers"),
        (lambda x: len(x[0, 0]), "without axes"),
        (lambda x: np.sum(x), "would mix the boxes"),
        (lambda x: np.add.reduce(x), r"no \.reduce"),
        (lambda x: np.add(x, x, where=np.ones((1, 2), bool)), "takes no options"),
        (lambda x: np.linalg.norm(x, ord=3, axis=1), "ord = 3"),
        (lambda x: np.einsum("ki,ki", x, x), "explicit subscripts"),
        (lambda x: np.einsum("kk->k", x), "repeated letters"),
        (lambda x: x + np.nan, "NaN"),
        (lambda x: x + np.array([1j]), "complex"),
        (lambda x: x + "1", "unsupported operand|NotImplemented|not supported|str"),
        (lambda x: x[:, :0].sum(axis=1), "length 0"),
        (lambda x: x @ np.ones(3), "matmul of shapes"),
    ],
)
def test_what_cannot_be_followed_is_refused(attempt, pattern):
    with pytest.raises((TypeError, ValueError, IndexError), match=pattern):
        attempt(Interval([[-1.0, 0.5]], [[1.0, 2.0]]))


@pytest.mark.parametrize(
    "lo, hi, pattern",
    [
        ([1.0], [0.0], r"\[1\.0, 0\.0\] at \[0\]"),
        ([np.nan], [1.0], "required lo <= hi"),
        ([np.inf], [np.inf], "lo < inf"),
        ([-np.inf], [-np.inf], "hi > -inf"),
        ([1.0, 2.0], [3.0], "equal shape"),
        (["a"], ["b"], "array of real numbers"),
    ],
)
def test_malformed_intervals(lo, hi, pattern):
    with pytest.raises((ValueError, TypeError), match=pattern):
        Interval(lo, hi)
