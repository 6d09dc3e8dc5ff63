"""Taylor models: polynomials of high degree that follow a function on boxes, with a bound of the rest.

A model stands for a number that depends on xi in [-1, 1]^n, x = middle + radius * xi: |v - p(xi)| <= error. Sums and
products are those of polynomials. An analytic function g of a model a_0 + z is its Taylor polynomial at a_0, with
interval coefficients, and the Lagrange remainder g^(d+1)(range) / (d+1)! z^(d+1). Where g is not analytic on the range
of the model, or the polynomial is wider than the range of g, the model is that range: a constant with an error.

Makino and Berz, Taylor models and other validated functional inclusion methods, International Journal of Pure and
Applied Mathematics 4 (2003) 379-456.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from approx.certification._expansions import RULES, Rule, power
from approx.certification._operands import Operand, matmul, unsupported
from approx.certification._series import Basis, added, composed, known, multiplied, reach
from approx.certification.intervals import TINY, UNIT, Interval, unchecked, up

__all__ = ["Taylor"]

Array = NDArray[np.float64]
_MOST_POWER = 8  # x^p up to here by multiplication


class Taylor(Operand):
    """Models of an array of numbers, which numpy functions written for plain arrays accept.

    basis : of the polynomials; terms (P, ...) : their coefficients; error (...) : infinite where nothing is known
    root_of : for a square root, the model of its square, which may be analytic where the root is not

    >>> x = Taylor.variables(Basis.of(1, 8), np.array([[0.5]]), np.array([[0.25]]))
    >>> y = np.exp(np.sin(x[:, 0]))
    >>> bool(y.error[0] < 1e-7), bool(abs(y.terms[0, 0] - np.exp(np.sin(0.5))) < 1e-7)
    (True, True)
    """

    __slots__ = ("basis", "error", "root_of", "terms")
    kind = "Taylor model"

    def __init__(self, basis: Basis, terms: Array, error: Array, root_of: Taylor | None = None):
        self.basis, self.terms, self.error, self.root_of = basis, terms, error, root_of

    @classmethod
    def variables(cls, basis: Basis, middle: Array, radius: Array) -> Taylor:
        """The n coordinates of the boxes |x - middle| <= radius, (k, n) each."""
        terms = np.zeros((len(basis), *middle.shape))
        terms[0] = middle
        axes = np.arange(basis.dim)
        terms[basis.variables, :, axes] = radius[:, axes].T
        return cls(basis, terms, np.zeros(middle.shape))

    @property
    def shape(self) -> tuple[int, ...]:
        return self.error.shape

    @property
    def bounds(self) -> Interval:
        """Interval (...) that holds the values."""
        spread = (reach(self.terms) + self.error) * (1 + 4 * UNIT)
        slack = np.abs(self.terms[0]) * UNIT + spread * UNIT + TINY
        return unchecked(self.terms[0] - spread - slack, self.terms[0] + spread + slack)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        if ufunc is np.matmul:
            return matmul(self, *inputs)
        if ufunc not in _OPERATIONS and ufunc not in RULES:
            raise unsupported(self.kind, ufunc)
        if method != "__call__" or options:
            raise TypeError(f"numpy.{ufunc.__name__} of {self.kind}s takes no options and has no .{method}")
        with np.errstate(all="ignore"):
            if ufunc in RULES:
                found = inputs[0]._function(RULES[ufunc])
                found.root_of = inputs[0] if ufunc is np.sqrt else None
                return found
            return _OPERATIONS[ufunc](self, *inputs)

    def _lift(self, value: Any) -> Taylor:
        if isinstance(value, Taylor):
            return value
        constant = _constant(value)
        terms = np.zeros((len(self.basis), *constant.shape))
        terms[0] = constant
        return Taylor(self.basis, *known(terms, np.zeros(constant.shape)))

    def _of(self, terms: Array, error: Array) -> Taylor:
        return Taylor(self.basis, *known(terms, error))

    def _restructure(self, change: Callable[[Array], Array]) -> Taylor:
        root_of = None if self.root_of is None else self.root_of._restructure(change)
        return Taylor(self.basis, np.stack([change(part) for part in self.terms]), change(self.error), root_of)

    def _join(self, parts: list[Any], combine: Callable[[list[Array]], Array]) -> Taylor:
        lifted = [self._lift(part) for part in parts]
        terms = np.stack([combine(list(columns)) for columns in zip(*(part.terms for part in lifted), strict=True)])
        return Taylor(self.basis, terms, combine([part.error for part in lifted]))

    def _length(self, parts: list[Taylor]) -> Taylor:
        total: Any = functools.reduce(np.add, [np.square(part) for part in parts])
        return np.sqrt(total)

    def _shaped(self, shape: tuple[int, ...]) -> Taylor:
        """Broadcast to a shape."""
        if self.shape == shape:
            return self
        filled = self.terms.reshape(len(self.terms), *(1,) * (len(shape) - self.ndim), *self.shape)
        return Taylor(self.basis, np.broadcast_to(filled, (len(filled), *shape)), np.broadcast_to(self.error, shape))

    def _plus(self, other: Any) -> Taylor:
        if not isinstance(other, Taylor):
            return self._plus_constant(other)
        shape = np.broadcast_shapes(self.shape, other.shape)
        a, b = self._shaped(shape), other._shaped(shape)
        return Taylor(self.basis, *added(a.terms, a.error, b.terms, b.error))

    def _plus_constant(self, other: Any) -> Taylor:
        number = _constant(other)
        moved = self._shaped(np.broadcast_shapes(self.shape, number.shape))
        terms = moved.terms.copy()
        terms[0] += number
        return moved._of(terms, up(moved.error + np.abs(terms[0]) * UNIT + TINY, 4))

    def _times(self, other: Any) -> Taylor:
        if other is self and self.root_of is not None:
            return self.root_of
        if not isinstance(other, Taylor):
            return self._times_constant(other)
        shape = np.broadcast_shapes(self.shape, other.shape)
        a, b = (
            (x.terms.reshape(len(x.terms), -1), x.error.reshape(-1))
            for x in (self._shaped(shape), other._shaped(shape))
        )
        terms, error = multiplied(self.basis, *a, *b)
        return Taylor(self.basis, terms.reshape(-1, *shape), error.reshape(shape))

    def _times_constant(self, other: Any) -> Taylor:
        number = _constant(other)
        moved = self._shaped(np.broadcast_shapes(self.shape, number.shape))
        terms = moved.terms * number
        error = moved.error * np.abs(number) + np.abs(terms).sum(axis=0) * UNIT + len(terms) * TINY
        return moved._of(terms, error * (1 + (len(terms) + 8) * UNIT))

    def _negative(self) -> Taylor:
        return Taylor(self.basis, -self.terms, self.error)

    def _range_model(self, found: Any) -> Taylor:
        """The constant model of an interval."""
        terms = np.zeros((len(self.basis), *found.shape))
        terms[0] = found.lo / 2 + found.hi / 2
        error = up(np.maximum(found.hi - terms[0], terms[0] - found.lo), 4)
        return self._of(terms, error)

    def _function(self, rule: Rule) -> Taylor:
        """An analytic function of the values."""
        box = self.bounds
        whole = self._range_model(rule.value(box))
        regular = rule.regular(box) & np.isfinite(box.lo) & np.isfinite(box.hi)
        middle = np.where(regular, self.terms[0], 1.0)
        low, high = np.where(regular, box.lo, 1.0), np.where(regular, box.hi, 1.0)
        order = self.basis.degree + 1
        series = rule.series(unchecked(np.stack([middle, low]), np.stack([middle, high])), order)
        numbers = np.stack([part.lo[0] / 2 + part.hi[0] / 2 for part in series[:-1]])
        step = (reach(self.terms) + self.error) * (1 + 4 * UNIT)
        rest = np.maximum(np.abs(series[-1].lo[1]), np.abs(series[-1].hi[1]))
        # By Horner's scheme: the remainder, and by how much each coefficient may be off.
        for part, number in zip(reversed(series[:-1]), numbers[::-1], strict=True):
            doubt = up(np.maximum(part.hi[0] - number, number - part.lo[0]), 2)
            rest = (rest * step + doubt) * (1 + 4 * UNIT)
        inner = self.terms.copy()
        inner[0] = 0.0
        columns, flat = numbers.reshape(len(numbers), -1), inner.reshape(len(inner), -1)
        terms, error = composed(self.basis, columns, flat, self.error.reshape(-1), rest.reshape(-1))
        terms, error = terms.reshape(inner.shape), error.reshape(self.shape)
        better = regular & (reach(terms) + error < 2 * whole.error)
        return Taylor(self.basis, np.where(better, terms, whole.terms), np.where(better, error, whole.error))


def _constant(value: Any) -> Array:
    """A float64 array of what intervals accept as constants. Raises TypeError for NaN and other dtypes."""
    return unchecked(0.0, 0.0)._lift(value).lo


def _divide(like: Taylor, a: Any, b: Any) -> Taylor:
    if isinstance(b, Taylor):
        return b._function(RULES[np.reciprocal])._times(a)
    number = _constant(b)
    inverse = 1 / number
    scaled = a._times_constant(inverse)
    # The inverse was rounded; where it is no normal number, nothing is claimed.
    doubt = np.where((np.abs(inverse) >= TINY) & np.isfinite(inverse), UNIT, np.inf)
    size = np.abs(scaled.terms).sum(axis=0) + scaled.error
    return scaled._of(scaled.terms, up(scaled.error + doubt * size, len(scaled.terms) + 4))


def _power(like: Taylor, a: Any, b: Any) -> Taylor:
    if isinstance(b, Taylor):
        return np.exp(b * np.log(a))
    exponent = np.asarray(b, dtype=np.float64)
    if exponent.size != 1:
        raise TypeError("numpy.power of Taylor models takes one exponent at a time")
    p = float(exponent.reshape(-1)[0])
    if p.is_integer() and 1 <= p <= _MOST_POWER:
        return functools.reduce(Taylor._times, [a._times(a)] * (int(p) // 2) + [a] * (int(p) % 2))
    return a._function(power(p))


def _absolute(like: Taylor, a: Taylor) -> Taylor:
    box = a.bounds
    bent = a._range_model(np.abs(box))
    return _chosen(box.lo >= 0, a, _chosen(box.hi <= 0, a._negative(), bent))


def _chosen(mask: NDArray[np.bool_], a: Taylor, b: Taylor) -> Taylor:
    return Taylor(a.basis, np.where(mask, a.terms, b.terms), np.where(mask, a.error, b.error))


def _maximum(like: Taylor, a: Any, b: Any) -> Taylor:
    a, b = like._lift(a), like._lift(b)
    shape = np.broadcast_shapes(a.shape, b.shape)
    a, b = a._shaped(shape), b._shaped(shape)
    first, second = a.bounds, b.bounds
    both = like._range_model(np.maximum(first, second))
    return _chosen(first.lo >= second.hi, a, _chosen(second.lo >= first.hi, b, both))


def _minimum(like: Taylor, a: Any, b: Any) -> Taylor:
    return _maximum(like, like._lift(a)._negative(), like._lift(b)._negative())._negative()


_OPERATIONS: dict[Any, Callable[..., Taylor]] = {
    np.add: lambda like, a, b: a._plus(b) if isinstance(a, Taylor) else b._plus(a),
    np.subtract: lambda like, a, b: like._lift(a)._plus(-b),
    np.multiply: lambda like, a, b: a._times(b) if isinstance(a, Taylor) else b._times(a),
    np.divide: _divide,
    np.negative: lambda like, a: a._negative(),
    np.positive: lambda like, a: Taylor(a.basis, a.terms.copy(), a.error.copy()),
    np.square: lambda like, a: a._times(a),
    np.power: _power,
    np.float_power: _power,
    np.absolute: _absolute,
    np.fabs: _absolute,
    np.maximum: _maximum,
    np.minimum: _minimum,
    np.hypot: lambda like, a, b: like._length([like._lift(a), like._lift(b)]),
}
