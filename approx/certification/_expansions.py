"""Taylor coefficients of elementary functions, in interval arithmetic: g^(j)(x) / j! for all x of an interval.

Each rule takes intervals x and an order K and returns K + 1 intervals. `Rule.regular` tells on which intervals the
function is analytic. The recurrences are those of automatic differentiation: Moore, Kearfott, Cloud, Introduction to
Interval Analysis (2009), section 9.3 (rall1981automatic).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from approx.certification.intervals import TINY, UNIT, Interval, unchecked

__all__ = ["RULES", "Rule", "power"]

Series = list[Any]  # of Interval
_FEW = 2.0  # exponents up to here have binomial coefficients that do not grow


def _everywhere(x: Interval) -> NDArray[np.bool_]:
    return np.ones(x.shape, dtype=bool)


@dataclass(frozen=True)
class Rule:
    """value : the numpy function; series(x, order) : its Taylor coefficients; regular(x) : (...) bool"""

    value: Callable[[Any], Any]
    series: Callable[[Interval, int], Series]
    regular: Callable[[Interval], NDArray[np.bool_]] = _everywhere


def _exp(x: Interval, order: int) -> Series:
    found: Series = [np.exp(x)]
    for j in range(order):
        found.append(found[-1] / (j + 1.0))
    return found


def _expm1(x: Interval, order: int) -> Series:
    return [np.expm1(x), *_exp(x, order)[1:]]


def _log_about(value: Any, x: Interval, order: int) -> Series:
    """log: the coefficients after the first are -(-1/x)^j / j."""
    step = -1.0 / x
    found, part = [value], -step
    for j in range(1, order + 1):
        found.append(part / float(j))
        part = part * step
    return found


def _waves(signs: tuple[int, int, int, int], x: Interval, order: int, pair: tuple[np.ufunc, np.ufunc]) -> Series:
    """Derivatives that repeat: the two functions in turn, with these signs, over j!."""
    values = [function(x) for function in pair]
    found, factorial = [], 1.0
    for j in range(order + 1):
        factorial *= max(j, 1)  # exact up to 22!
        part = values[j % 2] / factorial
        found.append(part if signs[j % 4] > 0 else -part)
    return found


def _quotient(sign: float, value: Any, order: int) -> Series:
    """y' = 1 + sign y^2: tan (1) and tanh (-1)."""
    found = [value]
    for j in range(order):
        total = functools.reduce(np.add, (found[i] * found[j - i] for i in range(j + 1)))
        rest = sign * total
        found.append((rest + 1.0 if j == 0 else rest) / (j + 1.0))
    return found


def _arctan(x: Interval, order: int) -> Series:
    """g^(j)/j! = (-1)^(j-1) sin(j t) / (j (1 + x^2)^(j/2)), t = pi/2 - arctan x."""
    found = [np.arctan(x)]
    length = np.sqrt(np.square(x) + 1.0)
    angle, power = _HALF_TURN - found[0], length
    for j in range(1, order + 1):
        found.append((1.0 if j % 2 else -1.0) * np.sin(float(j) * angle) / (float(j) * power))
        power = power * length
    return found


_HALF_TURN = unchecked(np.asarray(np.pi / 2), np.asarray(np.nextafter(np.pi / 2, 2.0)))


def power(exponent: float) -> Rule:
    """x^p for a number p; analytic for x > 0, and for integers p away from 0."""
    whole = float(exponent).is_integer()
    value: Callable[[Any], Any] = {0.5: np.sqrt, -1.0: np.reciprocal}.get(
        float(exponent), lambda x: np.power(x, exponent)
    )

    def series(x: Interval, order: int) -> Series:
        found: Series = [value(x)]
        if abs(exponent) > _FEW:
            inverse = 1.0 / x
            for j in range(order):
                found.append(found[-1] * inverse * (_exact(exponent, j) / (j + 1.0)))
            return found
        # Monotone on either side of 0, so the ends decide; a few roundings each, in factors of at most 2.
        ends, inverses = (value(x.lo), value(x.hi)), (1 / x.lo, 1 / x.hi)
        for j in range(order):
            factor = (exponent - j) / (j + 1.0)
            ends = ends[0] * inverses[0] * factor, ends[1] * inverses[1] * factor
            low, high = np.minimum(*ends), np.maximum(*ends)
            slack = (4 * j + 24) * UNIT * np.maximum(np.abs(low), np.abs(high)) + 2.0**20 * TINY
            found.append(unchecked(low - slack, high + slack))
        return found

    def regular(x: Interval) -> NDArray[np.bool_]:
        return (x.lo > 0) | (x.hi < 0) if whole else x.lo > 0

    return Rule(value, series, regular)


def _exact(exponent: float, j: int) -> Interval:
    """exponent - j, rounded outward."""
    value = np.asarray(float(exponent))
    return unchecked(value, value) - float(j)


def _positive(x: Interval) -> NDArray[np.bool_]:
    return x.lo > 0


def _finite_tangent(x: Interval) -> NDArray[np.bool_]:
    found: Any = np.tan(x)
    return np.isfinite(found.hi)


RULES: dict[Any, Rule] = {
    np.reciprocal: power(-1.0),
    np.sqrt: power(0.5),
    np.exp: Rule(np.exp, _exp),
    np.expm1: Rule(np.expm1, _expm1),
    np.log: Rule(np.log, lambda x, order: _log_about(np.log(x), x, order), _positive),
    np.log1p: Rule(np.log1p, lambda x, order: _log_about(np.log1p(x), x + 1.0, order), lambda x: x.lo > -1),
    np.sin: Rule(np.sin, lambda x, order: _waves((1, 1, -1, -1), x, order, (np.sin, np.cos))),
    np.cos: Rule(np.cos, lambda x, order: _waves((1, -1, -1, 1), x, order, (np.cos, np.sin))),
    np.sinh: Rule(np.sinh, lambda x, order: _waves((1, 1, 1, 1), x, order, (np.sinh, np.cosh))),
    np.cosh: Rule(np.cosh, lambda x, order: _waves((1, 1, 1, 1), x, order, (np.cosh, np.sinh))),
    np.tanh: Rule(np.tanh, lambda x, order: _quotient(-1.0, np.tanh(x), order)),
    np.tan: Rule(np.tan, lambda x, order: _quotient(1.0, np.tan(x), order), _finite_tangent),
    np.arctan: Rule(np.arctan, _arctan),
}
