"""A formula less an affine map, without cancellation: linear terms are kept apart, as exact slopes, and struck out.

Bounds of x/2 + exp(-x^2) and of x/2 over an unbounded box say nothing of the difference; those of exp(-x^2) do.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np

from approx.affine import AffineMap
from approx.targets import Expression

__all__ = ["residual"]

Slopes = tuple[Fraction, ...]


def residual(formula: Expression, affine: AffineMap, operands: list[Any]) -> list[Any] | None:
    """The components of formula - affine at operands; None where its linear terms are not exactly those of affine.

    >>> wide = np.array([1e300])
    >>> residual(Expression("x/2 + exp(-x^2) + 1"), AffineMap([[0.5]], [1.0]), [wide])
    [array([0.])]
    """
    n = affine.dim_in
    zero = getattr(operands[0], "_lift", np.asarray)(np.zeros(operands[0].shape))  # rounded outward from here on
    unit = [tuple(Fraction(int(k == j)) for k in range(n)) for j in range(n)]
    terms = [_Term(slopes, zero, partial(_same, x)) for slopes, x in zip(unit, operands, strict=True)]
    found = []
    for part, row, offset in zip(formula.evaluate(terms), affine.matrix.tolist(), affine.offset, strict=True):
        term = part if isinstance(part, _Term) else _bent(part, n)
        if term.slopes != tuple(map(Fraction, row)):
            return None
        found.append(zero + term.rest - offset)
    return found


class _Term:
    """slopes . x + rest; `whole` gives it as the operand it is."""

    def __init__(self, slopes: Slopes, rest: Any, whole: Callable[[], Any]):
        self.slopes, self.rest, self.whole = slopes, rest, whole

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        if method != "__call__" or options:
            return NotImplemented
        terms = [part if isinstance(part, _Term) else _bent(part, len(self.slopes)) for part in inputs]
        slopes = _slopes(ufunc, terms)
        if slopes is None:
            return _bent(ufunc(*(term.whole() for term in terms)), len(self.slopes))
        rest = ufunc(*(term.rest for term in terms))
        return _Term(slopes, rest, lambda: ufunc(*(term.whole() for term in terms)) if any(slopes) else rest)


def _same(value: Any) -> Any:
    return value


def _bent(value: Any, dim: int) -> _Term:
    return _Term((Fraction(0),) * dim, value, partial(_same, value))


def _slopes(ufunc: np.ufunc, terms: list[_Term]) -> Slopes | None:
    """Those of the result, where it is linear in the terms; None otherwise."""
    first, last = terms[0], terms[-1]
    if ufunc in (np.add, np.subtract):
        sign = 1 if ufunc is np.add else -1
        return tuple(a + sign * b for a, b in zip(first.slopes, last.slopes, strict=True))
    if ufunc in (np.negative, np.positive):
        return tuple(-a if ufunc is np.negative else a for a in first.slopes)
    factor, scaled = (last.rest, first) if ufunc is np.true_divide or any(first.slopes) else (first.rest, last)
    if ufunc not in (np.multiply, np.true_divide) or not isinstance(factor, float) or any(_other(terms, scaled).slopes):
        return None
    if not np.isfinite(factor) or (ufunc is np.true_divide and factor == 0):
        return None
    number = Fraction(float(factor))
    return tuple(a * number if ufunc is np.multiply else a / number for a in scaled.slopes)


def _other(terms: list[_Term], one: _Term) -> _Term:
    return terms[1] if terms[0] is one else terms[0]
