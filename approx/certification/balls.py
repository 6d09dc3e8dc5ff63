"""Values of a function over balls: quadratic forms in the position, with outward rounding.

A point of a ball is x = c + r u with |u| <= 1. A form stands for a number v(u) with

    |v(u) - (center + sum_i linear_i u_i + sum_i square_i u_i^2)| <= error    for all |u| <= 1,

next to an interval that holds v. The coordinates are forms without error, and so is |x - p|^2, whose range is therefore
the right one, where bounding boxes would give up to n times the width. With A = |linear|, D the largest of square_i,

    max over |u| <= 1 of linear . u + sum square_i u_i^2 <= max over 0 <= t <= 1 of A t + D t^2,

which is A + D where D >= 0 or A >= -2 D, and never more than A^2 / (-4 D) where D < 0. Minima follow by symmetry.

Rules. Sums and multiples are exact but for rounding. A square has the form
center^2 + 2 center (linear + square) + sum linear_i^2 u_i^2; what is missing is at most the smaller of |linear|^2 and
sum over i != j of |linear_i linear_j|, for the mixed terms (a.u)^2 - sum a_i^2 u_i^2 lie between -|a|^2 and |a|^2,
plus what the products with squares and errors can be. A product drops (v - center_v)(w - center_w). Any other function
g is replaced by the mean value form g(m) + s (v - m), m in the range of v and s the middle of the range of g' there,
which `jets` provides: that is off by at most the radius of that range times the largest |v - m|.

de Figueiredo and Stolfi, Affine arithmetic: concepts and applications, Numerical Algorithms 37 (2004) 147-158.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from approx.certification._operands import Operand, matmul, unsupported
from approx.certification.intervals import TINY, UNIT, Interval, down, unchecked, up
from approx.certification.jets import SLOPES

__all__ = ["BallForm"]

Array = NDArray[np.float64]
Terms = list["Array | None"]


@dataclass(frozen=True, eq=False)
class _Form:
    """center, error: (...); linear, square: n arrays that broadcast to them, None for 0."""

    center: Array
    linear: Terms
    square: Terms
    error: Array

    def map(self, change: Callable[[Array], Array]) -> _Form:
        return _Form(change(self.center), _each(self.linear, change), _each(self.square, change), change(self.error))

    def peaks(self) -> tuple[Array, Array]:
        """Upper bounds of form - center and of center - form, the error left out."""
        slope = _length(self.linear)
        most, least = _extreme(np.maximum, self.square), _extreme(np.minimum, self.square)
        return _peak(slope, most), _peak(slope, -least)

    def range(self) -> tuple[Array, Array]:
        above, below = self.peaks()
        return down(down(self.center - below) - self.error), up(up(self.center + above) + self.error)

    def spread(self) -> Array:
        """A bound of |v - center|."""
        return up(np.maximum(*self.peaks()) + self.error)

    def negated(self) -> _Form:
        made = self.map(np.negative)
        return _Form(made.center, made.linear, made.square, self.error)

    def scaled(self, factor: Array) -> _Form:
        """factor * v, for numbers."""
        made = self.map(lambda part: part * factor)
        return _Form(made.center, made.linear, made.square, up(np.abs(made.error)) + made.rounding())

    def plus(self, other: _Form) -> _Form:
        center, error = self.center + other.center, up(self.error + other.error)
        linear, lost = _sum(self.linear, other.linear)
        square, also = _sum(self.square, other.square)
        return _Form(center, linear, square, up(error + UNIT * (np.abs(center) + lost + also) + TINY, 4))

    def rounding(self) -> Array:
        """More than all parts can be off by after one rounding each."""
        size = sum((np.abs(part) for part in (*self.linear, *self.square) if part is not None), np.abs(self.center))
        return up(size * UNIT, len(self.linear) + 4) + (2 * len(self.linear) + 1) * TINY

    def squared(self) -> _Form:
        """v^2, or more exactly (center + linear + square + error)^2."""
        n, c = len(self.linear), self.center
        present = [part for part in self.linear if part is not None]
        total = functools.reduce(np.add, [np.square(part) for part in present], np.zeros(()))
        mixed: Any = 0.0
        if len(present) > 1:
            reach = np.square(functools.reduce(np.add, [np.abs(part) for part in present]))
            mixed = np.minimum(total, np.maximum(reach - total, 0.0) + reach * (8 * n * UNIT))
        length, bend = _length(self.linear), _largest(self.square)
        rest = mixed + 2 * length * bend + np.square(bend)  # products of linear and square, and of squares
        rest = rest + self.error * (2 * (np.abs(c) + length + bend) + self.error)
        linear = _each(self.linear, lambda part: 2 * c * part)
        square: list[Any] = [
            None
            if a is None and d is None
            else (0.0 if a is None else np.square(a)) + (0.0 if d is None else 2 * c * d)
            for a, d in zip(self.linear, self.square, strict=True)
        ]
        made = _Form(c * c, linear, square, np.zeros(()))
        size = np.square(np.abs(c) + length + bend)  # rounding: every term of the square is at most this
        return _Form(made.center, linear, square, up(rest + size * (8 * (n + 1) * UNIT) + n * TINY, 8 * n + 32))


class BallForm(Operand):
    """Forms over balls, which numpy functions written for plain arrays accept.

    bounds : Interval (...) that holds the values; form : `_Form` (...).

    >>> x = BallForm.variables(np.array([[3.0, 4.0]]), np.array([1.0]))
    >>> r = np.linalg.norm(x, axis=1).bounds
    >>> bool(4 - 1e-12 < r.lo[0] < 4 < 6 < r.hi[0] < 6 + 1e-12)
    True
    """

    __slots__ = ("bounds", "form")
    kind = "ball form"

    def __init__(self, bounds: Interval, form: _Form):
        self.bounds = bounds
        self.form = form

    @classmethod
    def variables(cls, centers: Array, radii: Array) -> BallForm:
        """The n coordinates over balls: centers (k, n), radii (k,) finite and >= 0."""
        n = centers.shape[1]
        linear: Terms = [np.where(unit, radii[:, None], 0.0) for unit in np.eye(n, dtype=bool)]
        box = unchecked(down(centers - radii[:, None]), up(centers + radii[:, None]))
        return cls(box, _Form(centers, linear, [None] * n, np.zeros(centers.shape)))

    @property
    def shape(self) -> tuple[int, ...]:
        return self.bounds.shape

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        if ufunc is np.matmul:
            return matmul(self, *inputs)
        if ufunc is np.hypot:
            return self._length([self._lift(x) for x in inputs])
        if ufunc not in SLOPES or method != "__call__" or options:
            raise unsupported(self.kind, ufunc)
        natural = ufunc(*(x.bounds if isinstance(x, BallForm) else self.bounds._lift(x) for x in inputs))
        with np.errstate(all="ignore"):
            return _narrowed(natural, self._form_of(ufunc, inputs, natural))

    def _form_of(self, ufunc: np.ufunc, inputs: tuple[Any, ...], natural: Interval) -> _Form:
        operands = [self._lift(x) for x in inputs]
        forms = [x.form for x in operands]
        numbers = [not isinstance(x, BallForm) for x in inputs]
        if ufunc is np.square or (ufunc is np.power and numbers[1] and (forms[1].center == 2).all()):
            return forms[0].squared()
        if ufunc is np.negative:
            return forms[0].negated()
        if ufunc is np.positive:
            return forms[0]
        if ufunc in (np.add, np.subtract):
            return forms[0].plus(forms[1] if ufunc is np.add else forms[1].negated())
        if ufunc is np.multiply:
            if any(numbers):
                return forms[0].scaled(forms[1].center) if numbers[1] else forms[1].scaled(forms[0].center)
            return forms[0].squared() if forms[0] is forms[1] else _product(*forms)
        return self._linearised(ufunc, operands, natural)

    def _constant(self, value: Array) -> _Form:
        none: Terms = [None] * len(self.form.linear)
        return _Form(value, none, none, np.zeros(value.shape))

    def _linearised(self, ufunc: np.ufunc, operands: list[BallForm], natural: Interval) -> _Form:
        ranges = [x.bounds for x in operands]
        points = [np.clip(x.form.center, x.bounds.lo, x.bounds.hi) for x in operands]
        at = ufunc(*(r if r.lo is r.hi else unchecked(p, p) for p, r in zip(points, ranges, strict=True)))
        middle = at.lo / 2 + at.hi / 2
        total = self._constant(middle)
        total = _Form(middle, total.linear, total.square, up(np.maximum(at.hi - middle, middle - at.lo)))
        for x, point, slope in zip(operands, points, SLOPES[ufunc], strict=True):
            if x.bounds.lo is x.bounds.hi:
                continue
            known = slope(natural, *ranges)
            known = known if isinstance(known, Interval) else x.bounds._lift(known)
            steep = known.lo / 2 + known.hi / 2
            doubt = up(np.maximum(known.hi - steep, steep - known.lo))
            far = up(np.maximum(x.bounds.hi - point, point - x.bounds.lo))
            moved = x.form.plus(self._constant(-point)).scaled(steep)
            moved = _Form(moved.center, moved.linear, moved.square, up(moved.error + up(doubt * far)))
            total = total.plus(moved)
        return total

    def _lift(self, value: Any) -> BallForm:
        if isinstance(value, BallForm):
            return value
        bounds = self.bounds._lift(value)
        return BallForm(bounds, self._constant(bounds.lo))

    def _restructure(self, change: Callable[[Array], Array]) -> BallForm:
        form = self.form.map(lambda part: change(np.broadcast_to(part, self.shape)))
        linear, square = ([p if p is not None and p.any() else None for p in t] for t in (form.linear, form.square))
        return BallForm(self.bounds._restructure(change), _Form(form.center, linear, square, form.error))

    def _join(self, parts: list[Any], combine: Callable[[list[Array]], Array]) -> BallForm:
        lifted = [self._lift(part) for part in parts]

        def together(columns: Sequence[Array | None]) -> Array:
            return combine(
                [np.broadcast_to(0.0 if c is None else c, x.shape) for c, x in zip(columns, lifted, strict=True)]
            )

        forms = [x.form for x in lifted]
        linear, square = (
            [None if all(c is None for c in column) else together(column) for column in zip(*terms, strict=True)]
            for terms in ([f.linear for f in forms], [f.square for f in forms])
        )
        center, error = together([f.center for f in forms]), together([f.error for f in forms])
        return BallForm(self.bounds._join([x.bounds for x in lifted], combine), _Form(center, linear, square, error))

    def _length(self, parts: list[BallForm]) -> BallForm:
        with np.errstate(all="ignore"):
            natural: Any = functools.reduce(np.add, [np.square(part.bounds) for part in parts])
            form = functools.reduce(_Form.plus, [part.form.squared() for part in parts])
            total: Any = _narrowed(natural, form)
            return np.sqrt(total)


def _narrowed(natural: Interval, form: _Form) -> BallForm:
    """The natural bounds, cut to the range of the form where that did not overflow."""
    low, high = form.range()
    known = np.isfinite(form.center) & np.isfinite(form.error) & np.isfinite(low) & np.isfinite(high)
    low = np.maximum(natural.lo, np.where(known, low, -np.inf))
    return BallForm(unchecked(low, np.minimum(natural.hi, np.where(known, high, np.inf))), form)


def _product(first: _Form, second: _Form) -> _Form:
    """first * second = c d + c (second - d) + d (first - c) + (first - c) (second - d)."""
    c, d = first.center, second.center
    made = first.scaled(d).plus(second.scaled(c))
    center = c * d
    error = made.error + first.spread() * second.spread() + UNIT * (np.abs(made.center) + np.abs(center)) + TINY
    return _Form(made.center - center, made.linear, made.square, up(error, 8))


def _each(terms: Terms, change: Callable[[Array], Array]) -> Terms:
    return [None if part is None else change(part) for part in terms]


def _sum(first: Terms, second: Terms) -> tuple[Terms, Any]:
    """The sums, and the size of what was rounded."""
    total: Any = 0.0
    result: Terms = []
    for a, b in zip(first, second, strict=True):
        if a is None or b is None:
            result.append(b if a is None else a)
        else:
            result.append(a + b)
            total = total + np.abs(a + b)
    return result, total


def _length(terms: Terms) -> Any:
    """An upper bound of the Euclidean length; squares below 1e-300 may have underflowed."""
    present = [np.square(part) for part in terms if part is not None]
    if not present:
        return 0.0
    return up(np.sqrt(functools.reduce(np.add, present)), len(terms) + 4) + 1e-150


def _extreme(choose: np.ufunc, terms: Terms) -> Any:
    return functools.reduce(choose, [0.0 if part is None else part for part in terms])


def _largest(terms: Terms) -> Any:
    return np.maximum(_extreme(np.maximum, terms), -_extreme(np.minimum, terms))


def _peak(slope: Any, bend: Any) -> Any:
    """Upper bound of slope t + bend t^2 over 0 <= t <= 1, slope >= 0."""
    turning = (bend < 0) & (slope < -2 * bend)
    divisor = np.where(turning, -4 * bend, 1.0)
    return up(np.where(turning, slope * slope / divisor, np.maximum(slope + bend, 0.0)), 4)
