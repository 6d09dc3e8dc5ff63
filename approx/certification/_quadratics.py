"""Values of a function on the level sets of a quadratic or linear function t: polynomials of degree 2 in the position.

A point is x = c + y with |y_i| <= reach_i. A form stands for a number v with |v - p(y)| <= error, p a polynomial of
degree at most 2 whose coefficients are kept one by one. With t = y.G y, or t = w.y, it is split as

    p(y) = a_0 + a_1 t + a_2 t^2 + rest(y)

(a_2 = 0 for t = y.G y), where a_1, a_2 make the rest's coefficients small; |rest| is at most the sum of their sizes
times the reaches. So |x|^2 has its right range wherever t = |x - c|^2 lies in a given interval, in any dimension and
with no box around the points; and where f is no function of t, the rest says how far it is from one.

Sums, multiples and products up to degree 2 keep their form, with outward rounding of all coefficients. Any other
function is applied to the range. What remains is interval arithmetic in t, whose error is of first order in the width
of the interval.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from approx.certification._operands import Operand, matmul, unsupported
from approx.certification.intervals import TINY, UNIT, Interval, unchecked, up
from approx.certification.jets import SLOPES

__all__ = ["Level", "LevelForm"]

Array = NDArray[np.float64]
Terms = list["Array | None"]


@dataclass(frozen=True, eq=False)
class Level:
    """t(x) = (x - center).gram (x - center), or direction.(x - center): one of the two is None.

    center, reach : (n,) |x - center| <= reach in every coordinate, for all points that matter
    """

    center: Array
    reach: Array
    gram: Array | None = None
    direction: Array | None = None

    @property
    def dim(self) -> int:
        return len(self.center)

    @property
    def along(self) -> Array:
        """(n,) the direction of a linear t; 0 for a quadratic one."""
        return np.zeros(self.dim) if self.direction is None else self.direction

    @functools.cached_property
    def pairs(self) -> list[tuple[int, int]]:
        """The terms of degree 2, in the order of their coefficients."""
        return [(i, j) for i in range(self.dim) for j in range(i, self.dim)]

    @functools.cached_property
    def place(self) -> dict[tuple[int, int], int]:
        """The number of each term of degree 2 among all terms."""
        return {pair: 1 + self.dim + k for k, pair in enumerate(self.pairs)}

    @functools.cached_property
    def sizes(self) -> Array:
        """(P,) upper bounds of the terms 1, y_i, y_i y_j."""
        squares = [self.reach[i] * self.reach[j] for i, j in self.pairs]
        return up(np.concatenate([[1.0], self.reach, squares]), 4)

    @functools.cached_property
    def squared(self) -> Array:
        """(P,) the coefficients of t, or of t^2 for a linear one, which are of degree 2 alone."""
        square = np.outer(self.along, self.along) if self.gram is None else self.gram
        quadratic = [square[i, i] if i == j else 2 * square[i, j] for i, j in self.pairs]
        return np.concatenate([np.zeros(1 + self.dim), quadratic])

    @functools.cached_property
    def linear(self) -> Array:
        """(P,) the coefficients of a linear t; 0 for a quadratic one."""
        return np.concatenate([[0.0], self.along, np.zeros(len(self.pairs))])


@dataclass(frozen=True, eq=False)
class _Form:
    """terms : P coefficients, arrays that broadcast to each other, None for 0; error: a bound of what is missing."""

    level: Level
    terms: Terms
    error: Array

    @property
    def degree(self) -> int:
        n = self.level.dim
        if any(part is not None for part in self.terms[1 + n :]):
            return 2
        return 1 if any(part is not None for part in self.terms[1:]) else 0

    @property
    def size(self) -> Any:
        """A bound of |p|."""
        present = zip(self.terms, self.level.sizes, strict=True)
        return up(sum((np.abs(part) * s for part, s in present if part is not None), np.zeros(())), len(self.terms))

    def map(self, change: Callable[[Array], Array]) -> _Form:
        terms = [None if part is None else change(part) for part in self.terms]
        return _Form(self.level, terms, change(self.error))

    def rounded(self, error: Any, units: int = 1) -> _Form:
        """The same terms, each off by so many units in the last place."""
        return _Form(self.level, self.terms, up(error + self.size * (units * UNIT) + TINY, 4))

    def plus(self, other: _Form) -> _Form:
        terms = [
            (b if a is None else a) if a is None or b is None else a + b
            for a, b in zip(self.terms, other.terms, strict=True)
        ]
        return _Form(self.level, terms, np.zeros(())).rounded(self.error + other.error)

    def negated(self) -> _Form:
        made = self.map(np.negative)
        return _Form(made.level, made.terms, self.error)

    def times(self, other: _Form) -> _Form | None:
        """The product; None if its degree exceeds 2."""
        if self.degree + other.degree > 2:
            return None
        n, place = self.level.dim, self.level.place
        terms: Terms = [None] * len(self.terms)
        for p, a in enumerate(self.terms):
            for q, b in enumerate(other.terms):
                if a is None or b is None:
                    continue
                if p == 0 or q == 0:
                    r = p + q
                else:
                    r = place[min(p, q) - 1, max(p, q) - 1]
                product, known = a * b, terms[r]
                terms[r] = product if known is None else known + product
        mine, its = self.size, other.size
        error = self.error * its + other.error * mine + self.error * other.error
        return _Form(self.level, terms, up(error + mine * its * ((2 * n + 8) * UNIT) + TINY, 8))

    def range(self, t: Interval) -> Interval:
        """Bounds of v where t(x) lies in the interval."""
        level = self.level
        zero = np.zeros(())
        present = [zero if part is None else part for part in self.terms]
        squared, linear = _share(present, level.squared), _share(present, level.linear)
        rest, used = self.error, (level.squared, level.linear)
        for p in range(1, len(present)):
            own = squared * used[0][p] + linear * used[1][p]
            left = np.abs(present[p] - own) + (np.abs(present[p]) + np.abs(squared * used[0][p]) * 2
                                               + np.abs(linear * used[1][p]) * 2) * (2 * UNIT)  # fmt: skip
            rest = rest + left * level.sizes[p]
        rest = up(rest, len(present) + 8)
        value = unchecked(present[0] - rest, present[0] + rest)
        value = unchecked(value.lo - np.abs(present[0]) * UNIT - TINY, value.hi + np.abs(present[0]) * UNIT + TINY)
        total = value + squared * (np.square(t) if level.gram is None else t)
        return total + linear * t if level.gram is None else total


def _share(terms: list[Array], pattern: Array) -> Array:
    """The multiple of the pattern that is nearest to the terms."""
    weight = float(np.square(pattern).sum())
    if weight == 0:
        return np.zeros(())
    return sum((terms[p] * (pattern[p] / weight) for p in np.flatnonzero(pattern)), np.zeros(()))


class LevelForm(Operand):
    """Forms over sets {x : t(x) in an interval}, which numpy functions written for plain arrays accept.

    natural : Interval (...) that holds the values; form : None where the degree exceeds 2; t : Interval (...)

    >>> level = Level(np.zeros(3), np.full(3, 9.0), gram=np.eye(3))
    >>> x = LevelForm.variables(level, np.array([4.0]), np.array([4.41]))
    >>> r = np.linalg.norm(x, axis=1).bounds
    >>> bool(2 - 1e-12 < r.lo[0] <= 2.0 and 2.1 <= r.hi[0] < 2.1 + 1e-12)
    True
    """

    __slots__ = ("form", "natural", "t")
    kind = "level form"

    def __init__(self, natural: Interval, form: _Form | None, t: Interval):
        self.natural, self.form, self.t = natural, form, t

    @classmethod
    def variables(cls, level: Level, low: Array, high: Array) -> LevelForm:
        """The n coordinates where low <= t <= high, (k,) each."""
        n, shape = level.dim, (len(low), level.dim)
        terms: Terms = [np.broadcast_to(level.center, shape)]
        terms += [np.broadcast_to(unit, shape) for unit in np.eye(n)]
        terms += [None] * len(level.pairs)
        box = unchecked(
            np.broadcast_to(level.center - up(level.reach, 2) - np.abs(level.center) * UNIT, shape),
            np.broadcast_to(level.center + up(level.reach, 2) + np.abs(level.center) * UNIT, shape),
        )
        t = unchecked(np.broadcast_to(low[:, None], shape), np.broadcast_to(high[:, None], shape))
        return cls(box, _Form(level, terms, np.zeros(shape)), t)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.natural.shape

    @property
    def bounds(self) -> Interval:
        """Interval (...) that holds the values."""
        if self.form is None:
            return self.natural
        with np.errstate(all="ignore"):
            found = self.form.range(self.t)
        known = np.isfinite(found.lo) & np.isfinite(found.hi)
        low = np.maximum(self.natural.lo, np.where(known, found.lo, -np.inf))
        return unchecked(low, np.minimum(self.natural.hi, np.where(known, found.hi, np.inf)))

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        if ufunc is np.matmul:
            return matmul(self, *inputs)
        if ufunc is np.hypot:
            return self._length([self._lift(x) for x in inputs])
        if ufunc not in SLOPES or method != "__call__" or options:
            raise unsupported(self.kind, ufunc)
        with np.errstate(all="ignore"):
            operands = [self._lift(x) for x in inputs]
            form = self._form_of(ufunc, operands, inputs)
            natural = ufunc(*(x.natural if form is not None else x.bounds for x in operands))
        t = self.t
        if t.shape != natural.shape:
            t = unchecked(*(np.broadcast_to(end, natural.shape) for end in (t.lo, t.hi)))
        return LevelForm(natural, form, t)

    def _form_of(self, ufunc: np.ufunc, operands: list[LevelForm], inputs: tuple[Any, ...]) -> _Form | None:
        forms = [x.form for x in operands if x.form is not None]
        if len(forms) < len(operands):
            return None
        if ufunc is np.square or (ufunc is np.power and _is_two(inputs[1])):
            return forms[0].times(forms[0])
        if ufunc is np.negative:
            return forms[0].negated()
        if ufunc is np.positive:
            return forms[0]
        if ufunc is np.add:
            return forms[0].plus(forms[1])
        if ufunc is np.subtract:
            return forms[0].plus(forms[1].negated())
        if ufunc is np.multiply:
            return forms[0].times(forms[1])
        if ufunc is np.divide and not isinstance(inputs[1], Operand):
            factor = 1 / np.asarray(inputs[1], np.float64)
            inverse = self._lift(factor).form if np.isfinite(factor).all() else None
            made = None if inverse is None else forms[0].times(inverse)
            return None if made is None else made.rounded(made.error)
        return None

    def _lift(self, value: Any) -> LevelForm:
        if isinstance(value, LevelForm):
            return value
        natural = self.natural._lift(value)
        level = self.form.level if self.form is not None else None
        if level is None:
            return LevelForm(natural, None, natural)
        terms: Terms = [natural.lo, *[None] * (level.dim + len(level.pairs))]
        return LevelForm(natural, _Form(level, terms, np.zeros(natural.shape)), natural)

    def _restructure(self, change: Callable[[Array], Array]) -> LevelForm:
        form = self.form
        if form is not None:
            form = form.map(lambda part: change(np.broadcast_to(part, self.shape)))
            kept = [p if p is not None and (k == 0 or p.any()) else None for k, p in enumerate(form.terms)]
            form = _Form(form.level, kept, form.error)
        return LevelForm(self.natural._restructure(change), form, self.t._restructure(change))

    def _join(self, parts: list[Any], combine: Callable[[list[Array]], Array]) -> LevelForm:
        lifted = [self._lift(part) for part in parts]
        natural = self.natural._join([x.bounds for x in lifted], combine)
        shapes = [x.shape for x in lifted]
        t = [
            x.t if isinstance(p, LevelForm) else self._like(shape)
            for p, x, shape in zip(parts, lifted, shapes, strict=True)
        ]
        forms = [x.form for x in lifted if x.form is not None]
        if len(forms) < len(lifted):
            return LevelForm(natural, None, self.natural._join(t, combine))
        columns = zip(*(form.terms for form in forms), strict=True)
        terms: Terms = []
        for column in columns:
            if all(part is None for part in column):
                terms.append(None)
                continue
            full = [np.broadcast_to(0.0 if c is None else c, shape) for c, shape in zip(column, shapes, strict=True)]
            terms.append(combine(full))
        error = combine([np.broadcast_to(form.error, shape) for form, shape in zip(forms, shapes, strict=True)])
        return LevelForm(natural, _Form(forms[0].level, terms, error), self.natural._join(t, combine))

    def _like(self, shape: tuple[int, ...]) -> Interval:
        """The intervals of t for a constant of that shape, which has the boxes along the same axes."""
        return unchecked(*(np.broadcast_to(end, shape) for end in (self.t.lo, self.t.hi)))

    def _length(self, parts: list[LevelForm]) -> LevelForm:
        total: Any = functools.reduce(np.add, [np.square(part) for part in parts])
        return np.sqrt(total)


def _is_two(value: Any) -> bool:
    return not isinstance(value, Operand) and bool((np.asarray(value) == 2).all())
