"""How many values serve those points that an affine map does not, and the least such number over all affine maps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from approx._compile import compiled

__all__ = ["Question", "Searched", "packing", "search"]

Array = NDArray[np.float64]
_SLACK = 1e-13  # more than the rounding of an affine map with coefficients of size 1 at arguments of size 1
_BATCH = 64


@dataclass(frozen=True, eq=False)
class Question:
    """Points and tolerance: the affine map w -> features @ w serves point j where it is within eps of residual_j; the
    points that it does not serve need values.

    features : (k, p), entries in [-1, 1]
    residual : (k,) what the affine map has to meet, of size 1 or so
    values : (k,) ascending, what the values have to meet; None where every point needs a value of its own
    eps : > 0, in the units of residual and values
    """

    features: Array
    residual: Array
    values: Array | None
    eps: float

    def needed(self, unserved: NDArray[np.bool_]) -> NDArray[np.int64]:
        """(b, k) which points are not served -> (b,) the least number of values within eps of all these points.

        From the smallest value upwards, an interval of length 2 eps starts where the last one ends: no cover of a
        finite set of numbers is smaller.
        """
        if self.values is None:
            return unserved.sum(axis=1)
        beyond = np.searchsorted(self.values, self.values + 2 * self.eps * (1 + _SLACK), side="right")
        counts = np.zeros(len(unserved), dtype=np.int64)
        _intervals(unserved, beyond, counts)
        return counts

    def with_map(self, weights: Array) -> int:
        """The number of values that the affine map with these weights (p,) leaves needed."""
        off = np.abs(self.features @ weights - self.residual) > self.eps * (1 + _SLACK) + _SLACK
        return int(self.needed(off[None])[0])


@dataclass(frozen=True, eq=False)
class Searched:
    """least : no affine map leaves fewer values needed. weights : (p,) a map that leaves `attained` values needed."""

    least: int
    attained: int
    weights: Array


def search(question: Question, *, shift: float | None = None, work: float = 2e7) -> Searched:
    """Branch and bound over all affine maps.

    Point j is served by w if and only if the linear functionals (features_j, -(residual_j +- eps)) of (w, s), at
    s = 1, are <= 0 and >= 0. Both conditions may be scaled, so the maps are searched as the points (w, s), s >= 0, of
    the surface of a cube, which is compact; on a box of such points the bounds of the functionals are exact up to
    rounding. A point where one of them holds nowhere in the box is served by no map of the box.

    shift : instead, only w with |w| <= shift in every coordinate. work : boxes times points to spend; what is not
    decided by then counts with its bound, so that `least` stays valid.
    """
    p = question.features.shape[1]
    above = np.column_stack([question.features, -(question.residual + question.eps)])
    below = np.column_stack([question.features, -(question.residual - question.eps)])
    lower, upper = (
        _whole(p) if shift is None else (np.append([-shift] * p, 1.0)[None], np.append([shift] * p, 1.0)[None])
    )
    attained, weights = int(question.needed(np.ones((1, len(above)), dtype=bool))[0]), np.zeros(p)
    for guess in (weights, _fitted(question)):
        count = question.with_map(guess)
        if count < attained and (shift is None or np.abs(guess).max() <= shift):
            attained, weights = count, guess
    low_ends, high_ends, bounds = np.empty((0, p + 1)), np.empty((0, p + 1)), np.empty(0, dtype=np.int64)
    spent, least = 0.0, attained
    while True:
        middle, half = (lower + upper) / 2, (upper - lower) / 2
        highest = middle @ above.T - half @ np.abs(above).T > _SLACK
        lowest = middle @ below.T + half @ np.abs(below).T < -_SLACK
        new = question.needed(highest | lowest)
        spent += len(lower) * len(above)
        inside = middle[:, p] > 1e-9
        tried = middle[inside, :p] / middle[inside, p:]
        if len(tried):
            off = np.abs(tried @ question.features.T - question.residual) > question.eps * (1 + _SLACK) + _SLACK
            counts = question.needed(off)
            if counts.min() < attained:
                attained, weights = int(counts.min()), tried[counts.argmin()]
        low_ends, high_ends = np.concatenate([low_ends, lower]), np.concatenate([high_ends, upper])
        bounds = np.concatenate([bounds, new])
        keep = bounds < attained
        low_ends, high_ends, bounds = low_ends[keep], high_ends[keep], bounds[keep]
        least = min(attained, int(bounds.min())) if len(bounds) else attained
        if not len(bounds) or spent >= work:
            return Searched(least, attained, weights)
        chosen = np.argsort(bounds, kind="stable")[:_BATCH]
        lower, upper = _halves(low_ends[chosen], high_ends[chosen])
        rest = np.ones(len(bounds), dtype=bool)
        rest[chosen] = False
        low_ends, high_ends, bounds = low_ends[rest], high_ends[rest], bounds[rest]


@compiled
def _intervals(unserved, beyond, counts):
    """`Question.needed` for ascending values; beyond[j] is the first point that an interval from point j on misses."""
    for row in range(unserved.shape[0]):
        j = 0
        while j < unserved.shape[1]:
            if unserved[row, j]:
                counts[row] += 1
                j = beyond[j]
            else:
                j += 1


def _fitted(question: Question) -> Array:
    """The least-squares map: where one map serves all points it often does."""
    solution: NDArray = np.linalg.lstsq(question.features, question.residual, rcond=None)[0]
    return solution


def _whole(p: int) -> tuple[Array, Array]:
    """The faces of the cube |w_i| <= 1, 0 <= s <= 1 that any ray from 0 with s >= 0 meets: all but s = 0."""
    lower, upper = np.full((2 * p + 1, p + 1), -1.0), np.ones((2 * p + 1, p + 1))
    lower[:, p] = 0.0
    lower[0, p] = 1.0
    for i in range(p):
        upper[1 + 2 * i, i] = -1.0
        lower[2 + 2 * i, i] = 1.0
    return lower, upper


def _halves(lower: Array, upper: Array) -> tuple[Array, Array]:
    """Every box cut in two across its longest side."""
    rows, longest = np.arange(len(lower)), (upper - lower).argmax(axis=1)
    middle = (lower[rows, longest] + upper[rows, longest]) / 2
    left, right = upper.copy(), lower.copy()
    left[rows, longest], right[rows, longest] = middle, middle
    return np.concatenate([lower, right]), np.concatenate([left, upper])


def packing(values: Array, distance: float, most: int) -> NDArray[np.int64]:
    """Indices of points of values (k, m) that are pairwise farther apart than `distance`, at most `most` of them: each
    the first that is far enough from those before."""
    chosen: list[int] = []
    free = np.ones(len(values), dtype=bool)
    while free.any() and len(chosen) < most:
        i = int(free.argmax())
        chosen.append(i)
        free &= np.linalg.norm(values - values[i], axis=1) > distance
        free[i] = False
    return np.array(chosen, dtype=np.int64)
