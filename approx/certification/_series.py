"""Polynomials of bounded degree in xi in [-1, 1]^n, many at a time, with a bound of what they miss.

A model is a pair (terms, error): terms (P, ...) the coefficients of the monomials in the order of `Basis`, and
error (...): it stands for any number v with |v - p(xi)| <= error. An infinite error means that nothing is known; then
all terms are 0. Coefficients are rounded, terms above the degree are dropped, and `error` grows by bounds of both.
"""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from approx._compile import compiled
from approx.certification.intervals import TINY, UNIT

__all__ = ["Basis", "added", "composed", "known", "multiplied", "ranges", "reach"]

Array = NDArray[np.float64]
_ROUNDING = UNIT / 2 * (1 + 2.0**-20)  # relative, of one operation; the rest makes up for products of such errors
_BLOCK = 64  # models in one go: their coefficients stay in the cache


@dataclass(frozen=True, eq=False)
class Basis:
    """The monomials xi^a with |a| <= degree in n variables, by degree.

    powers : (P, n) the exponents a
    start : (degree + 2,) the monomials of degree d are start[d] .. start[d + 1]
    left, right, out : (T,) monomial left[t] times monomial right[t] is monomial out[t], out ascending
    products : (degree + 2,) the triples with an `out` of degree below d are those before products[d]
    ways : (P,) prod (a_i + 1), in how many ways the monomial is a product
    """

    powers: NDArray[np.int64]
    start: NDArray[np.int64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    out: NDArray[np.int64]
    products: NDArray[np.int64]
    ways: Array

    @classmethod
    @functools.lru_cache(maxsize=32)
    def of(cls, n: int, degree: int) -> Basis:
        """The one basis for these numbers."""
        powers = [a for d in range(degree + 1) for a in _of_degree(n, d)]
        place = {a: i for i, a in enumerate(powers)}
        triples = sorted(
            (place[c], i, j)
            for (i, a), (j, b) in itertools.product(enumerate(powers), repeat=2)
            if (c := tuple(map(sum, zip(a, b, strict=True)))) in place
        )
        out, left, right = np.array(triples, dtype=np.int64).T.copy()
        degrees = np.array([sum(a) for a in powers])
        start = np.searchsorted(degrees, np.arange(degree + 2))
        products = np.searchsorted(out, start)
        ways = np.array([math.prod(k + 1.0 for k in a) for a in powers])
        return cls(np.array(powers, dtype=np.int64).reshape(len(powers), n), start, left, right, out, products, ways)

    def __len__(self) -> int:
        return len(self.ways)

    @property
    def degree(self) -> int:
        return len(self.start) - 2

    @property
    def dim(self) -> int:
        return self.powers.shape[1]

    @functools.cached_property
    def above(self) -> NDArray[np.int64]:
        """(n, P) the number of each monomial times xi_l, -1 above the degree."""
        place = {tuple(a): i for i, a in enumerate(self.powers.tolist())}
        steps = np.eye(self.dim, dtype=np.int64)
        return np.array([[place.get(tuple(a), -1) for a in (self.powers + step).tolist()] for step in steps])

    @property
    def variables(self) -> NDArray[np.int64]:
        """The numbers of xi_1 .. xi_n among the monomials."""
        return self.start[1] + self.powers[self.start[1] : self.start[2]].argmax(axis=1).argsort()

    def __reduce__(self) -> tuple:
        return Basis.of, (self.dim, self.degree)


def _of_degree(n: int, degree: int) -> list[tuple[int, ...]]:
    if n == 1:
        return [(degree,)]
    return [(first, *rest) for first in range(degree, -1, -1) for rest in _of_degree(n - 1, degree - first)]


def reach(terms: Array) -> Array:
    """(...) a bound of |p - p(0)|."""
    return np.abs(terms[1:]).sum(axis=0) * (1 + (len(terms) + 4) * UNIT)


def known(terms: Array, error: Array) -> tuple[Array, Array]:
    """The model itself, or what stands for nothing known where a number overflowed or is NaN."""
    lost = ~(np.isfinite(error) & np.isfinite(terms).all(axis=0))
    if lost.any():
        terms, error = np.where(lost, 0.0, terms), np.where(lost, np.inf, error)
    return terms, error


def added(terms: Array, error: Array, others: Array, more: Array) -> tuple[Array, Array]:
    """The sum of two models of equal shape."""
    total = terms + others
    size = np.abs(total).sum(axis=0)
    return known(total, (error + more + size * _ROUNDING + len(terms) * TINY) * (1 + (len(terms) + 8) * UNIT))


def multiplied(
    basis: Basis, a: Array, ea: Array, b: Array, eb: Array, degree: int | None = None
) -> tuple[Array, Array]:
    """The product of models (P, B) and (B,), kept up to `degree` (by default that of the basis)."""
    degree = basis.degree if degree is None else degree
    terms, error = np.zeros(a.shape), np.empty(a.shape[1])
    a, ea, b, eb = (np.ascontiguousarray(part) for part in (a, ea, b, eb))  # every layout is compiled apart
    _multiply(
        a, ea, b, eb, basis.left, basis.right, basis.out, basis.products[degree + 1], basis.start, degree, basis.ways,
        terms, error,
    )  # fmt: skip
    return known(terms, error)


@compiled
def _multiply(a, ea, b, eb, left, right, out, count, start, degree, ways, c, ec):  # pragma: no cover - compiled
    terms, models = a.shape
    top = len(start) - 1
    grow = 1 + (4 * terms + 64) * UNIT
    one, other, result = np.zeros((terms, _BLOCK)), np.zeros((terms, _BLOCK)), np.zeros((terms, _BLOCK))
    used_a, used_b = np.empty(terms, np.bool_), np.empty(terms, np.bool_)
    of_a, of_b = np.empty((top, _BLOCK)), np.empty((top, _BLOCK))
    for begin in range(0, models, _BLOCK):
        block = min(_BLOCK, models - begin)
        for i in range(terms):
            used_a[i] = used_b[i] = False
            for k in range(block):
                one[i, k], other[i, k] = a[i, begin + k], b[i, begin + k]
                used_a[i] |= one[i, k] != 0  # NaN too
                used_b[i] |= other[i, k] != 0
                result[i, k] = 0.0
        for t in range(count):
            i, j, r = left[t], right[t], out[t]
            if used_a[i] and used_b[j]:
                for k in range(_BLOCK):
                    result[r, k] += one[i, k] * other[j, k]
        for i in range(terms):
            for k in range(block):
                c[i, begin + k] = result[i, k]
        # |a| and |b| by degree, and once more with the number of ways each term is a product.
        for d in range(top):
            for k in range(block):
                of_a[d, k] = of_b[d, k] = 0.0
            for i in range(start[d], start[d + 1]):
                for k in range(block):
                    of_a[d, k] += abs(one[i, k])
                    of_b[d, k] += abs(other[i, k])
        for k in range(block):
            counted_a = counted_b = size_a = size_b = dropped = 0.0
            for i in range(terms):
                counted_a += ways[i] * abs(one[i, k])
                counted_b += ways[i] * abs(other[i, k])
            tail, lowest = 0.0, top
            for d in range(top):  # of b, all degrees above degree - d
                while lowest > max(degree - d + 1, 0):
                    lowest -= 1
                    tail += of_b[lowest, k]
                dropped += of_a[d, k] * tail
                size_a += of_a[d, k]
                size_b += of_b[d, k]
            error_a, error_b = ea[begin + k], eb[begin + k]
            rounding = _ROUNDING * counted_a * counted_b + terms * terms * TINY
            ec[begin + k] = (dropped + rounding + error_a * (size_b + error_b) + size_a * error_b) * grow


def composed(basis: Basis, numbers: Array, inner: Array, error: Array, rest: Array) -> tuple[Array, Array]:
    """sum_j numbers_j z^j up to an error of `rest`, for numbers (J, B) and models z (P, B) with |z| <= 1 or as given.

    z has no constant term, so what Horner's scheme has at step j needs no degree above `degree` - j.
    """
    top = len(numbers) - 1
    terms, missing = np.zeros(inner.shape), np.zeros(error.shape)
    terms[0] = numbers[top]
    for j in range(top - 1, -1, -1):
        terms, missing = multiplied(basis, terms, missing, inner, error, max(basis.degree - j, 0))
        constant = terms[0] + numbers[j]
        missing = (missing + np.abs(constant) * _ROUNDING + TINY) * (1 + 4 * UNIT)
        terms[0] = constant
    return known(terms, (missing + rest) * (1 + 4 * UNIT))


def ranges(basis: Basis, terms: Array, error: Array, parts: int) -> tuple[Array, Array, Array]:
    """Bounds of models (P, B) over xi in [-1, 1]^n, from parts^n cubes (parts a power of 2): low, high (B,), and the
    corner (n, B) of such a cube towards which |p| grows most."""
    n, models = basis.dim, terms.shape[1]
    low, high, corner = np.empty(models), np.empty(models), np.zeros((n, models))
    _range(terms, basis.powers, basis.above, basis.degree, parts, low, high, corner)
    slack = np.abs(terms).sum(axis=0) * ((16 * basis.degree + 4 * len(terms) + 64) * UNIT)
    slack = (slack + error + TINY) * (1 + 8 * UNIT)
    slack += np.abs(low) * UNIT + np.abs(high) * UNIT
    low, high = low - slack, high + slack
    lost = ~(np.isfinite(low) & np.isfinite(high))
    return np.where(lost, -np.inf, low), np.where(lost, np.inf, high), corner


@compiled
def _range(terms, powers, above, degree, parts, low, high, corner):  # pragma: no cover - compiled
    count, n = powers.shape
    half = 1.0 / parts
    moved, middle = np.empty(count), np.empty(n)
    scale = np.empty(count)
    for i in range(count):
        scale[i] = 1.0
        for axis in range(n):
            scale[i] *= half ** powers[i, axis]
    for k in range(terms.shape[1]):
        low[k], high[k], largest = np.inf, -np.inf, -np.inf
        for cube in range(parts**n):
            rest = cube
            for axis in range(n):
                middle[axis] = (2 * (rest % parts) + 1) * half - 1
                rest //= parts
            for i in range(count):
                moved[i] = terms[i, k]
            for axis in range(n):  # p(middle + .), one variable after the other
                for done in range(degree):
                    for i in range(count - 1, -1, -1):
                        if powers[i, axis] >= done and above[axis, i] >= 0:
                            moved[i] += middle[axis] * moved[above[axis, i]]
            spread = 0.0
            for i in range(1, count):
                spread += abs(moved[i]) * scale[i]
            low[k] = min(low[k], moved[0] - spread)
            high[k] = max(high[k], moved[0] + spread)
            if abs(moved[0]) + spread > largest:
                largest = abs(moved[0]) + spread
                for axis in range(n):
                    up = (moved[above[axis, 0]] > 0) == (moved[0] > 0)
                    corner[axis, k] = middle[axis] + (half if up else -half)
