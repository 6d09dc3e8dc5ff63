"""Arrays of intervals with outward rounding, which numpy functions written for plain arrays accept.

Every operation on reals x in X, y in Y has its exact result in the interval computed here, infinite ends included.
+ - * / and the square root are correctly rounded by IEEE 754, so one unit in the last place is enough. For elementary
functions 8 units are allowed: numpy's own promise is 4, and the tests compare every function with ball arithmetic.

Moore, Kearfott, Cloud, Introduction to Interval Analysis (2009), chapters 2 to 5; IEEE 1788-2015 for partial functions
and infinite ends.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from approx import _checks
from approx.certification._operands import Operand, matmul, unsupported

__all__ = ["Interval", "IntervalError"]

Array = NDArray[np.float64]

LARGEST = np.finfo(np.float64).max
UNIT = 2.0**-52  # at least one unit in the last place of x is below |x| * UNIT + TINY
TINY = np.finfo(np.float64).tiny  # the least normal number: safe even where subnormal numbers are flushed to zero
ELEMENTARY = 8  # units in the last place
PHASE = 2.0**-50  # relative error allowed when an argument is counted in turns
_NEAR_ZERO, _FARTHEST = 2.0**12, 2.0**54  # |x| from which turns are counted in two parts, and up to which they are
_SECOND = {np.pi: 1.2246467991473532e-16, 2 * np.pi: 2.4492935982947064e-16}  # pi and 2 pi less their float64


class IntervalError(ValueError):
    """A function has no real value anywhere on a box."""


def down(x: Any, units: int = 1) -> Any:
    """A bound below x by at least that many units in the last place; below +inf (an overflow), the largest number."""
    x = np.minimum(x, LARGEST)
    slack = np.abs(x)
    slack *= units * UNIT
    slack += units * TINY
    x -= slack
    return x


def up(x: Any, units: int = 1) -> Any:
    x = np.maximum(x, -LARGEST)
    slack = np.abs(x)
    slack *= units * UNIT
    slack += units * TINY
    x += slack
    return x


class Interval(Operand):
    """Closed intervals [lo, hi] of real numbers, one for each entry of two float64 arrays of equal shape.

    lo <= hi, lo < inf and hi > -inf; an infinite end means unbounded on that side. Ufuncs and other numpy functions on
    Intervals return Intervals that hold every value which the function takes on the boxes; constants may be mixed in.
    A function that is undefined on part of a box (a root, a logarithm) is enclosed where it is defined. Subexpressions
    of constants alone are what numpy computes from them. Turning points of sin and cos and poles of tan are told apart
    up to |x| = 2^54 (1.8e16); beyond, any box may hold one.

    Raises ValueError for NaN or lo > hi; TypeError for functions it cannot follow and for data-dependent branches;
    IntervalError where a function is undefined on a whole box.

    >>> x = Interval([[-1.0, 0.0]], [[2.0, 1.0]])
    >>> y = np.exp(-np.square(x[:, 0])) + x[:, 1]
    >>> bool(0.018 < y.lo[0] < np.exp(-4.0) < 2.0 < y.hi[0] < 2.0 + 1e-14)
    True
    """

    __slots__ = ("hi", "lo")
    kind = "interval"

    lo: Array
    hi: Array

    def __init__(self, lo: ArrayLike, hi: ArrayLike):
        low = _checks.real_array("Interval", "lo", lo)
        high = _checks.real_array("Interval", "hi", hi)
        if low.shape != high.shape:
            received = f"shapes {low.shape} and {high.shape}"
            raise ValueError(_checks.message("Interval", received, "lo and hi of equal shape", "Broadcast them."))
        proper = (low <= high) & (low < np.inf) & (high > -np.inf)
        if not proper.all():
            at = tuple(int(i) for i in np.argwhere(~proper)[0])
            received = f"[{low[at]}, {high[at]}] at {list(at)}"
            action = "Swap the ends, or remove what is NaN."
            raise ValueError(_checks.message("Interval", received, "lo <= hi with lo < inf, hi > -inf", action))
        self.lo, self.hi = low.copy(), high.copy()

    @property
    def shape(self) -> tuple[int, ...]:
        return self.lo.shape

    @property
    def width(self) -> Array:
        """hi - lo, rounded to nearest."""
        return self.hi - self.lo

    def contains(self, x: ArrayLike) -> NDArray[np.bool_]:
        """Whether each number lies in its interval."""
        values = np.asarray(x)
        return (self.lo <= values) & (values <= self.hi)

    def meet(self, other: Interval) -> Interval:
        """The intersection of two enclosures of the same values, which is never empty."""
        return unchecked(np.maximum(self.lo, other.lo), np.minimum(self.hi, other.hi))

    def __setitem__(self, key: Any, value: Any) -> None:
        value = self._lift(value)
        self.lo[key], self.hi[key] = value.lo, value.hi

    def __repr__(self) -> str:
        return f"Interval({_checks.show(self.lo)}, {_checks.show(self.hi)})"

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, out: Any = None, **options: Any) -> Any:
        for x in inputs:
            if not isinstance(x, _OPERANDS):
                return NotImplemented
        kernel = _KERNELS.get(ufunc)
        if kernel is None:
            raise unsupported(self.kind, ufunc)
        if method != "__call__" or options:
            raise TypeError(f"numpy.{ufunc.__name__} of intervals takes no options and has no .{method}")
        with np.errstate(all="ignore"):
            result = kernel(*(self._lift(x) for x in inputs))
        if out is None:
            return result
        (target,) = out
        if not isinstance(target, Interval):
            raise TypeError("intervals do not fit into a plain array; start from numpy.zeros_like of an interval")
        target[...] = result
        return target

    def _lift(self, value: Any) -> Interval:
        if isinstance(value, Interval):
            return value
        if type(value) is float and value == value:
            constant = np.asarray(value)
            return unchecked(constant, constant)
        constant = np.asarray(value)
        if constant.dtype.kind not in "fiub":
            raise TypeError(f"intervals do not mix with an array of dtype {constant.dtype}")
        constant = constant.astype(np.float64, copy=False)
        if np.isnan(constant).any():
            raise TypeError("intervals do not mix with NaN")
        return unchecked(constant, constant)  # one array twice: the mark of a constant

    def _restructure(self, change: Callable[[Array], Array]) -> Interval:
        lo = change(self.lo)
        return unchecked(lo, lo if self.lo is self.hi else change(self.hi))

    def _join(self, parts: list[Any], combine: Callable[[list[Array]], Array]) -> Interval:
        lifted = [self._lift(part) for part in parts]
        return unchecked(combine([p.lo for p in lifted]), combine([p.hi for p in lifted]))

    def _length(self, parts: list[Interval]) -> Interval:
        total: Any = functools.reduce(np.add, [np.square(part) for part in parts])
        return np.sqrt(total)


_OPERANDS = (Interval, np.ndarray, float, int, np.number)


def unchecked(lo: Any, hi: Any) -> Interval:
    result = object.__new__(Interval)
    result.lo = np.asarray(lo)
    result.hi = result.lo if hi is lo else np.asarray(hi)
    return result


def _same(a: Interval, b: Interval) -> bool:
    """Whether both are the same entries in memory, so that a * b is a square."""

    def view(x: Array) -> tuple[Any, ...]:
        return x.__array_interface__["data"], x.shape, x.strides

    if a is b or a.lo.shape != b.lo.shape:
        return a is b
    return view(a.lo) == view(b.lo) and view(a.hi) == view(b.hi)


def _ends(a: Interval) -> tuple[Array, ...]:
    return (a.lo,) if a.lo is a.hi else (a.lo, a.hi)


def _near(a: Interval) -> Array:
    """min |x|."""
    return np.maximum(np.maximum(a.lo, -a.hi), 0.0)


def _far(a: Interval) -> Array:
    """max |x|."""
    return np.maximum(np.abs(a.lo), np.abs(a.hi))


def _signed_zeros(a: Interval) -> tuple[Array, Array]:
    """The ends, with zeros signed as limits from inside: +0 on the left end and -0 on the right one."""
    return a.lo + 0.0, -(0.0 - a.hi)


def _hull(candidates: list[Array], units: int = 1) -> Interval:
    """The interval that the candidates span. NaN among them is 0 * inf, 0 / 0 or inf / inf, whose limit from inside the
    box is 0 or lies between the other candidates."""
    lo = functools.reduce(np.minimum, candidates)
    if np.isnan(np.minimum.reduce(lo, axis=None, initial=0.0)):
        return _hull([np.where(np.isnan(c), 0.0, c) for c in candidates], units)
    return unchecked(down(lo, units), up(functools.reduce(np.maximum, candidates), units))


def _is_factor(a: Interval) -> bool:
    """Whether it is one number, finite and not 0."""
    return a.lo is a.hi and a.lo.ndim == 0 and bool(0.0 < abs(a.lo) < np.inf)


def _scaled(lo: Any, hi: Any, factor: Interval) -> Interval:
    """The interval of these ends, in reverse order if the factor is negative."""
    return unchecked(down(lo), up(hi)) if factor.lo > 0.0 else unchecked(down(hi), up(lo))


def _multiply(a: Interval, b: Interval) -> Interval:
    if _same(a, b):
        return _square(a)
    if _is_factor(a):
        a, b = b, a
    if _is_factor(b):
        return _scaled(a.lo * b.lo, a.hi * b.lo, b)
    return _hull([x * y for x in _ends(a) for y in _ends(b)])


def _divide(a: Interval, b: Interval) -> Interval:
    if _is_factor(b):
        return _scaled(a.lo / b.lo, a.hi / b.lo, b)
    lo, hi = _signed_zeros(b)
    result = _hull([x / y for x in _ends(a) for y in ((lo,) if b.lo is b.hi else (lo, hi))])
    pole = ((lo < 0) & (hi > 0)) | ((lo == 0) & (hi == 0))
    return _whole_where(pole, result) if pole.any() else result


def _negative(a: Interval) -> Interval:
    lo = -a.hi
    return unchecked(lo, lo if a.lo is a.hi else -a.lo)


def _whole_where(mask: Any, a: Interval) -> Interval:
    return unchecked(np.where(mask, -np.inf, a.lo), np.where(mask, np.inf, a.hi))


def _square(a: Interval) -> Interval:
    near, far = _near(a), _far(a)
    return unchecked(np.maximum(down(near * near), 0.0), up(far * far))


def _absolute(a: Interval) -> Interval:
    return unchecked(_near(a), _far(a))


def _power(a: Interval, b: Interval) -> Interval:
    if b.lo is b.hi:
        whole = np.trunc(b.lo) == b.lo
        if whole.all():
            return _square(a) if b.ndim == 0 and b.lo == 2 else _integer_power(a, b.lo)
        if whole.any():
            raise TypeError("numpy.power of intervals: integer and other exponents have different domains; split them")
    lo = _defined("power", a, 0.0, closed=True)
    return _clamped(_hull([np.power(x, y) for x in (lo, a.hi) for y in _ends(b)], ELEMENTARY), 0.0, np.inf)


def _integer_power(a: Interval, p: Array) -> Interval:
    lo, hi = _signed_zeros(a)
    if p.ndim == 0 and 3 <= p <= 6:  # at most 5 roundings
        result = _hull([functools.reduce(np.multiply, [x] * int(p)) for x in (lo, hi)], ELEMENTARY)
    else:
        result = _hull([np.power(lo, p), np.power(hi, p)], ELEMENTARY)
    even, straddles = p % 2 == 0, (lo < 0) & (hi > 0)
    low = np.where(straddles & (even if p.ndim else bool(even)) & (p > 0), 0.0, result.lo)
    low = np.where(even, np.maximum(low, 0.0), low)
    low = np.where(straddles & ~even & (p < 0), -np.inf, low)
    return unchecked(low, np.where(straddles & (p < 0), np.inf, result.hi))


def _clamped(a: Interval, least: float, most: float) -> Interval:
    return unchecked(np.maximum(a.lo, least), np.minimum(a.hi, most))


def _defined(name: str, a: Interval, start: float, closed: bool) -> Array:
    """The left end, moved to the start of the function's domain."""
    outside = a.hi < start if closed else a.hi <= start
    if outside.any():
        at = int(np.argmax(outside.reshape(-1)))
        box = f"[{np.ravel(a.lo)[at]}, {np.ravel(a.hi)[at]}]"
        required = f"numbers {'>=' if closed else '>'} {start:g} among them"
        action = "Change the function, or keep to the domain where it is defined."
        raise IntervalError(_checks.message(f"numpy.{name}", f"an interval {box}", required, action))
    return np.maximum(a.lo, start)


def _sqrt(a: Interval) -> Interval:
    lo = _defined("sqrt", a, 0.0, closed=True)
    return unchecked(np.maximum(down(np.sqrt(lo)), 0.0), up(np.sqrt(a.hi)))


def _increasing(function: np.ufunc, start: float, least: float, most: float) -> Callable[[Interval], Interval]:
    """The kernel of an increasing function, defined for x > start, with values in [least, most]."""

    def kernel(a: Interval) -> Interval:
        lo = a.lo if start == -np.inf else _defined(function.__name__, a, start, closed=False)
        ends = unchecked(down(function(lo), ELEMENTARY), up(function(a.hi), ELEMENTARY))
        return ends if (least, most) == (-np.inf, np.inf) else _clamped(ends, least, most)

    return kernel


def _cosh(a: Interval) -> Interval:
    return unchecked(np.maximum(down(np.cosh(_near(a)), ELEMENTARY), 1.0), up(np.cosh(_far(a)), ELEMENTARY))


def _turns(a: Interval, period: float) -> tuple[Array, Array]:
    """The ends counted in periods, from a whole number of them, outward by more than the rounding of that count."""
    size = np.maximum(np.abs(a.lo), np.abs(a.hi))
    if not (size > _NEAR_ZERO).any():
        low, high = a.lo / period, a.hi / period
        return low - (np.abs(low) + 1) * PHASE, high + (np.abs(high) + 1) * PHASE
    known = size <= _FARTHEST
    (first, low), (last, high) = (_reduced(np.where(known, end, 0.0), period) for end in (a.lo, a.hi))
    high = high + (last - first)
    low, high = low - (np.abs(low) + 1) * (16 * PHASE), high + (np.abs(high) + 1) * (16 * PHASE)
    return np.where(known, low, -np.inf), np.where(known, high, np.inf)


def _reduced(x: Array, period: float) -> tuple[Array, Array]:
    """x / period for |x| <= 2^54 as a whole number and a rest that is off by less than 2^-47.

    With the period as p + s, s its second part, and q < 2^53, the product q p is a sum of two floats without error
    (Dekker 1971), x - q p has one rounding or none, and q times what p + s lack is below 2^-50.
    """
    count = np.rint(x / period)
    product = count * period
    count_high, period_high = _upper_half(count), _upper_half(np.float64(period))
    count_low, period_low = count - count_high, period - period_high
    lost = (count_high * period_high - product) + count_high * period_low + count_low * period_high
    lost = lost + count_low * period_low
    return count, (((x - product) - lost) - count * _SECOND[period]) / period


def _upper_half(x: Any) -> Any:
    """x rounded to 26 digits."""
    scaled = x * (2.0**27 + 1)
    return scaled - (scaled - x)


def _meets(low: Array, high: Array, phase: float) -> NDArray[np.bool_]:
    """Whether an integer + phase may lie in [low, high]."""
    return np.floor(high - phase) >= np.ceil(low - phase)


def _wave(function: np.ufunc, crest: float) -> Callable[[Interval], Interval]:
    """The kernel of a sine or cosine whose maximum lies `crest` turns after 0."""

    def kernel(a: Interval) -> Interval:
        low, high = _turns(a, 2 * np.pi)
        ends = function(a.lo), function(a.hi)
        lo = np.where(_meets(low, high, crest + 0.5), -1.0, down(np.minimum(*ends), ELEMENTARY))
        hi = np.where(_meets(low, high, crest), 1.0, up(np.maximum(*ends), ELEMENTARY))
        return unchecked(np.maximum(lo, -1.0), np.minimum(hi, 1.0))

    return kernel


def _tan(a: Interval) -> Interval:
    pole = _meets(*_turns(a, np.pi), 0.5)
    return _whole_where(pole, unchecked(down(np.tan(a.lo), ELEMENTARY), up(np.tan(a.hi), ELEMENTARY)))


_KERNELS: dict[Any, Callable[..., Interval]] = {
    np.add: lambda a, b: unchecked(down(a.lo + b.lo), up(a.hi + b.hi)),
    np.subtract: lambda a, b: unchecked(down(a.lo - b.hi), up(a.hi - b.lo)),
    np.multiply: _multiply,
    np.divide: _divide,
    np.negative: _negative,
    np.positive: lambda a: unchecked(a.lo.copy(), a.hi.copy()),
    np.reciprocal: lambda a: _divide(unchecked(1.0, 1.0), a),
    np.square: _square,
    np.power: _power,
    np.float_power: _power,
    np.sqrt: _sqrt,
    np.absolute: _absolute,
    np.fabs: _absolute,
    np.maximum: lambda a, b: unchecked(np.maximum(a.lo, b.lo), np.maximum(a.hi, b.hi)),
    np.minimum: lambda a, b: unchecked(np.minimum(a.lo, b.lo), np.minimum(a.hi, b.hi)),
    np.hypot: lambda a, b: a._length([a, b]),
    np.matmul: lambda a, b: matmul(a, a, b),
    np.exp: _increasing(np.exp, -np.inf, 0.0, np.inf),
    np.exp2: _increasing(np.exp2, -np.inf, 0.0, np.inf),
    np.expm1: _increasing(np.expm1, -np.inf, -1.0, np.inf),
    np.log: _increasing(np.log, 0.0, -np.inf, np.inf),
    np.log2: _increasing(np.log2, 0.0, -np.inf, np.inf),
    np.log10: _increasing(np.log10, 0.0, -np.inf, np.inf),
    np.log1p: _increasing(np.log1p, -1.0, -np.inf, np.inf),
    np.sinh: _increasing(np.sinh, -np.inf, -np.inf, np.inf),
    np.tanh: _increasing(np.tanh, -np.inf, -1.0, 1.0),
    np.arctan: _increasing(np.arctan, -np.inf, -np.inf, np.inf),
    np.cosh: _cosh,
    np.sin: _wave(np.sin, 0.25),
    np.cos: _wave(np.cos, 0.0),
    np.tan: _tan,
}
