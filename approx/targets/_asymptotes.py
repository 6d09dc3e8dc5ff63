"""What a formula tends to at infinity, written as formulas too: an affine map, and a bound of the rest as r grows."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from approx import _checks
from approx.affine import AffineMap
from approx.targets.expressions import Expression

__all__ = ["FormulaTail", "affine_formula", "affine_map"]

_RADIUS = re.compile(r"\br\b")


def affine_map(text: str, dim_in: int) -> AffineMap:
    """The affine map R^dim_in -> R^m that a formula describes, from its coefficients in exact arithmetic.

    Raises ValueError for a formula that is not affine, and for slopes that float64 does not hold, such as that of x/3:
    no network and no other function has exactly those.

    >>> affine_map("2*x - (y - 1)/4", 2)
    AffineMap(matrix=array([[ 2.  , -0.25]]), offset=array([0.25]))
    """
    parsed = Expression(text, dim_in)
    variables = [_Line((*(Fraction(int(k == j)) for k in range(dim_in)), Fraction(0))) for j in range(dim_in)]
    try:
        lines = [_Line.of(part, dim_in) for part in parsed.evaluate(variables)]
        rows = [[float(number) for number in line.coefficients] for line in lines]
    except (TypeError, ValueError, ZeroDivisionError, OverflowError) as error:
        required = "sums and multiples of the variables, such as 2*x - y + 1"
        action = "Write what f tends to at infinity; a constant is affine, too."
        raise ValueError(_checks.message("affine", _checks.show(text), required, action)) from error
    for line, row in zip(lines, rows, strict=True):
        for exact, number in zip(line.coefficients[:-1], row[:-1], strict=True):
            if Fraction(number) != exact:
                received = f"{_checks.show(text)} with the slope {exact}"
                action = f"Write {number!r} for it, there and in f."
                raise ValueError(_checks.message("affine", received, "slopes that float64 holds", action))
    return AffineMap([row[:-1] for row in rows], [row[-1] for row in rows])


def affine_formula(affine: AffineMap) -> str:
    """A formula from which `affine_map` makes the same map.

    >>> affine_formula(AffineMap([[2.0, -0.25]], [0.25]))
    '2.0*x1 + -0.25*x2 + 0.25'
    """
    rows = [
        " + ".join([*(f"{a!r}*x{k}" for k, a in enumerate(row, start=1) if a), repr(b)])
        for row, b in zip(affine.matrix.tolist(), affine.offset.tolist(), strict=True)
    ]
    return rows[0] if len(rows) == 1 else f"({', '.join(rows)})"


@dataclass(frozen=True)
class FormulaTail:
    """r -> a bound of |f(x) - L(x)| for all |x| >= r, as a formula in r.

    Raises ValueError for anything but a formula of one component without other variables.

    >>> FormulaTail("1/(1 + r^2)")(2.0)
    0.2
    """

    text: str
    _parsed: Expression = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        required, action = "a formula in r, such as exp(-r^2)", "It bounds |f - affine| wherever |x| >= r."
        if not isinstance(self.text, str):
            raise TypeError(_checks.message("tail", f"a {type(self.text).__name__}", required, action))
        try:
            others = Expression(_RADIUS.sub("1", self.text))
            parsed = Expression(_RADIUS.sub("x", self.text), 1)
        except ValueError as error:
            raise ValueError(_checks.message("tail", _checks.show(self.text), required, str(error))) from error
        if parsed.dim_out != 1 or any(what == "variable" for program in others.programs for what, _ in program):
            raise ValueError(_checks.message("tail", _checks.show(self.text), required, action))
        object.__setattr__(self, "_parsed", parsed)

    def __call__(self, radius: float) -> float:
        return float(self._parsed(np.array([[float(radius)]]))[0, 0])


@dataclass(frozen=True, eq=False)
class _Line:
    """An affine form: one coefficient per variable and the constant, exact."""

    coefficients: tuple[Fraction, ...]

    @classmethod
    def of(cls, value: Any, dim: int) -> _Line:
        """`value` itself or a constant. Raises ValueError or OverflowError for NaN and infinity."""
        return value if isinstance(value, _Line) else cls((Fraction(0),) * dim + (Fraction(float(value)),))

    @property
    def constant(self) -> Fraction | None:
        return None if any(self.coefficients[:-1]) else self.coefficients[-1]

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        rule = _RULES.get(ufunc)
        if rule is None or method != "__call__" or options:
            return NotImplemented
        return rule(*(_Line.of(value, len(self.coefficients) - 1) for value in inputs))

    def scaled(self, factor: Fraction | None) -> _Line:
        if factor is None:
            raise TypeError("a product of variables")
        return _Line(tuple(factor * number for number in self.coefficients))


def _sum(a: _Line, b: _Line) -> _Line:
    return _Line(tuple(p + q for p, q in zip(a.coefficients, b.coefficients, strict=True)))


def _quotient(a: _Line, b: _Line) -> _Line:
    return a.scaled(None if b.constant is None else 1 / b.constant)


_RULES: dict[np.ufunc, Callable[..., _Line]] = {
    np.add: _sum,
    np.subtract: lambda a, b: _sum(a, b.scaled(Fraction(-1))),
    np.multiply: lambda a, b: a.scaled(b.constant) if a.constant is None else b.scaled(a.constant),
    np.true_divide: _quotient,
    np.negative: lambda a: a.scaled(Fraction(-1)),
    np.positive: lambda a: a,
}
