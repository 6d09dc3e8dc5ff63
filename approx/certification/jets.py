"""Values and gradients of a function over boxes, and the mean value form.

A jet carries an interval for the value and one for each partial derivative through the same numpy functions that
intervals accept (forward differentiation). Where a function has a kink (abs, minimum, maximum, a norm at 0) the
gradient interval holds Clarke's generalized gradient, for which the mean value theorem still holds.

Moore, Kearfott, Cloud, Introduction to Interval Analysis (2009), section 6.4; Lebourg's mean value theorem: Clarke,
Optimization and Nonsmooth Analysis (1983), theorem 2.3.7.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from approx.certification._operands import Operand, matmul, unsupported
from approx.certification.intervals import Interval, unchecked

__all__ = ["Jet", "Linear", "linear", "mean_value"]

Array = NDArray[np.float64]


class Jet(Operand):
    """value : Interval (...); partials : n Intervals that broadcast to its shape, None for a derivative that is 0.

    >>> x = Jet.variables(Interval([[1.0, 2.0]], [[1.0, 2.0]]))
    >>> y = x[:, 0] * x[:, 1] ** 2
    >>> [round(float(part.lo[0]), 9) for part in y.partials]
    [4.0, 4.0]
    """

    __slots__ = ("partials", "value")
    kind = "jet"

    def __init__(self, value: Interval, partials: list[Interval | None]):
        self.value = value
        self.partials = partials

    @classmethod
    def variables(cls, boxes: Interval) -> Jet:
        """The n coordinates of boxes (k, n): their gradients are the unit vectors."""
        units = [np.broadcast_to(unit, boxes.shape) for unit in np.eye(boxes.shape[-1])]
        return cls(boxes, [unchecked(unit, unit) for unit in units])

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        if ufunc is np.matmul:
            return matmul(self, *inputs)
        if ufunc is np.hypot:
            return self._length([self._lift(x) for x in inputs])
        if ufunc not in SLOPES or method != "__call__" or options:
            raise unsupported(self.kind, ufunc)
        values = [x.value if isinstance(x, Jet) else self.value._lift(x) for x in inputs]
        result = ufunc(*values)
        moving = [(x, slope) for x, slope in zip(inputs, SLOPES[ufunc], strict=True) if isinstance(x, Jet)]
        return Jet(result, _chain([(x, slope(result, *values)) for x, slope in moving]))

    def _lift(self, value: Any) -> Jet:
        return value if isinstance(value, Jet) else Jet(self.value._lift(value), [None] * len(self.partials))

    def _restructure(self, change: Callable[[Array], Array]) -> Jet:
        def spread(array: Array) -> Array:
            return change(np.broadcast_to(array, self.shape))

        partials = [None if part is None else _simplified(part._restructure(spread)) for part in self.partials]
        return Jet(self.value._restructure(change), partials)

    def _join(self, parts: list[Any], combine: Callable[[list[Array]], Array]) -> Jet:
        lifted = [self._lift(part) for part in parts]
        partials = []
        for column in zip(*(jet.partials for jet in lifted), strict=True):
            full = [
                np.broadcast_to(_ZERO if part is None else part, jet.shape)
                for part, jet in zip(column, lifted, strict=True)
            ]
            partials.append(None if all(part is None for part in column) else self.value._join(full, combine))
        return Jet(self.value._join([jet.value for jet in lifted], combine), partials)

    def _length(self, parts: list[Jet]) -> Jet:
        length = self.value._length([part.value for part in parts])
        # The gradient of the length lies in the unit ball, at 0 too (where a part is 0 on the whole box, it cannot move
        # along the box, and its slope does not matter).
        return Jet(length, _chain([(part, np.clip(part.value / length, -1.0, 1.0)) for part in parts]))


def _constant(value: float) -> Interval:
    number = np.asarray(value)
    return unchecked(number, number)


_ZERO, _ONE = _constant(0.0), _constant(1.0)


def _simplified(part: Interval) -> Interval | None:
    """None or _ONE for a partial derivative that is the constant 0 or 1."""
    if part.lo is part.hi and part.size:
        if not part.lo.any():
            return None
        if (part.lo == 1).all():
            return _ONE
    return part


def _chain(terms: list[tuple[Jet, Interval | float]]) -> list[Interval | None]:
    """The partial derivatives of a function, from its arguments and its derivatives in them."""
    partials: list[Interval | None] = []
    for i in range(len(terms[0][0].partials)):
        total = None
        for x, slope in terms:
            part = x.partials[i]
            if part is None:
                continue
            if isinstance(slope, Interval):
                term = slope if part is _ONE else slope * part
            else:
                term = part if slope > 0 else -part
            total = term if total is None else total + term
        partials.append(total)
    return partials


def _side(a: Interval, b: Interval) -> Interval:
    """Slope of max(a, b) in a: 1 where a is above b, 0 where it is below, and anything between otherwise."""
    above, below = a.lo >= b.hi, a.hi <= b.lo
    return unchecked(np.where(above & ~below, 1.0, 0.0), np.where(below & ~above, 0.0, 1.0))


def _sign(v: Interval, a: Interval) -> Interval:
    above, below = a.lo >= 0, a.hi <= 0
    return unchecked(np.where(above & ~below, 1.0, -1.0), np.where(below & ~above, -1.0, 1.0))


def _less_one(p: Interval) -> Interval:
    """p - 1, a constant again where p is a constant integer: negative bases need one."""
    if p.lo is p.hi and (np.trunc(p.lo) == p.lo).all() and (np.abs(p.lo) < 2.0**53).all():
        exponent = np.asarray(p.lo - 1)
        return unchecked(exponent, exponent)
    return p - 1.0


# For each ufunc and each of its arguments a, b: the derivative, from the value v and the arguments.
SLOPES: dict[Any, tuple[Callable[..., Any], ...]] = {
    np.add: (lambda v, a, b: 1.0, lambda v, a, b: 1.0),
    np.subtract: (lambda v, a, b: 1.0, lambda v, a, b: -1.0),
    np.multiply: (lambda v, a, b: b, lambda v, a, b: a),
    np.divide: (lambda v, a, b: 1.0 / b, lambda v, a, b: -v / b),
    np.negative: (lambda v, a: -1.0,),
    np.positive: (lambda v, a: 1.0,),
    np.reciprocal: (lambda v, a: -np.square(v),),
    np.square: (lambda v, a: 2.0 * a,),
    np.power: (lambda v, a, b: b * a ** _less_one(b), lambda v, a, b: v * np.log(a)),
    np.sqrt: (lambda v, a: 0.5 / v,),
    np.absolute: (_sign,),
    np.fabs: (_sign,),
    np.maximum: (lambda v, a, b: _side(a, b), lambda v, a, b: _side(b, a)),
    np.minimum: (lambda v, a, b: _side(b, a), lambda v, a, b: _side(a, b)),
    np.exp: (lambda v, a: v,),
    np.expm1: (lambda v, a: np.exp(a),),
    np.log: (lambda v, a: 1.0 / a,),
    np.log1p: (lambda v, a: 1.0 / (1.0 + a),),
    np.sin: (lambda v, a: np.cos(a),),
    np.cos: (lambda v, a: -np.sin(a),),
    np.tan: (lambda v, a: 1.0 + np.square(v),),
    np.arctan: (lambda v, a: 1.0 / (1.0 + np.square(a)),),
    np.tanh: (lambda v, a: 1.0 - np.square(v),),
    np.sinh: (lambda v, a: np.cosh(a),),
    np.cosh: (lambda v, a: np.sinh(a),),
}


class Linear(NamedTuple):
    """A function on boxes (k, n): for every x in a box, its value is one of `value`, plus the sum over j of one of
    slopes[j] times x_j - middle_j (None: zero), and one of `natural`."""

    middle: NDArray[np.float64]
    value: Interval
    slopes: list[Interval | None]
    natural: Interval


def linear(function: Callable[[Any], Any], boxes: Interval) -> Linear:
    """The mean value form in parts, about the middle of each box: the slopes hold the gradient on the whole box.

    function : takes an operand (k, n) and returns one of shape (k,) or (k, m); boxes : Interval (k, n) with finite
    ends. Raises TypeError when the function uses something that jets do not know.
    """
    jet = function(Jet.variables(boxes))
    middle = np.clip(boxes.lo + 0.5 * (boxes.hi - boxes.lo), boxes.lo, boxes.hi)
    if not isinstance(jet, Jet):
        constant = boxes._lift(jet)
        return Linear(middle, constant, [None] * boxes.shape[-1], constant)
    return Linear(middle, function(unchecked(middle, middle)), jet.partials, jet.value)


def mean_value(function: Callable[[Any], Any], boxes: Interval) -> Interval:
    """f(c) + gradient(box) . (box - c), c the middle of the box, cut to the natural enclosure f(box).

    Arguments and errors are those of `linear`.

    >>> narrow = mean_value(lambda x: x[:, 0] - np.square(x[:, 0]), Interval([[0.4]], [[0.6]]))
    >>> bool(narrow.width[0] < 0.05)
    True
    """
    form = linear(function, boxes)
    result, step = form.value, boxes - form.middle
    for i, part in enumerate(form.slopes):
        if part is not None:
            result = result + part * (step[:, i] if result.ndim == 1 else step[:, i, None])
    return form.natural.meet(result)
