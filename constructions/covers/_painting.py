"""Painting a function of one variable with intervals: the last coat on top, a background where nothing is painted.

A profile is known at M positions 0, 1, ..., M - 1 by bounds low, high (M, m) that also hold what may happen between a
position and its neighbours. An interval (a, b) covers the gaps a .. b - 1 between neighbouring positions; its value
must serve both ends of every gap where it is on top.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from approx._compile import compiled

__all__ = ["Painting", "paint", "partition", "served_by", "shells", "strips"]

Array = NDArray[np.float64]
_MOST_RUNS = 300  # the time of the dynamic program grows with their cube
_PHASES = 12  # positions of the bands of values that are tried, besides those that fit the background and the extremes
_TOUCH = 1e-3  # of eps: bands are narrower by this, since neighbouring runs share a position


@dataclass(frozen=True, eq=False)
class Painting:
    """intervals (N, 2), the topmost first; values (N, m); error: the largest distance of the profile from the paint."""

    intervals: NDArray[np.int64]
    values: Array
    error: float

    def __len__(self) -> int:
        return len(self.intervals)


def served_by(low: Array, high: Array, background: Array, eps: float) -> NDArray[np.bool_]:
    """(M,) where the background, (M, m) or (m,), is within eps of the profile."""
    return np.linalg.norm(np.maximum(high - background, background - low), axis=1) <= eps


def paint(low: Array, high: Array, background: Array | None, intervals: NDArray[np.int64]) -> Painting:
    """The painting with these intervals and the best values; intervals that are nowhere on top are dropped.

    Intervals are lengthened where others hide them, so that a position near an end has at most two colours, even if
    the end is not known exactly. The error is inf if a gap is neither painted nor has a background.
    """
    ends = np.unique(np.append(intervals, [0, len(low) - 1]))  # between two of them one interval is on top
    places = np.searchsorted(ends, intervals)
    owner = np.full(len(ends) - 1, -1)
    for i, (first, last) in reversed(list(enumerate(places))):
        owner[first:last] = i
    lower, upper = _over(np.minimum, low, ends), _over(np.maximum, high, ends)
    kept, values, error = [], [], 0.0
    for i, (first, last) in enumerate(places):
        own = owner == i
        if not own.any():
            continue
        least, most = lower[own].min(axis=0), upper[own].max(axis=0)
        while first > 0 and 0 <= owner[first - 1] < i:
            first -= 1
        while last < len(owner) and 0 <= owner[last] < i:
            last += 1
        kept.append(((intervals[i, 0] + ends[first] + 1) // 2, (intervals[i, 1] + ends[last]) // 2))
        values.append((least + most) / 2)
        error = max(error, float(np.linalg.norm((most - least) / 2)))
    bare = owner < 0
    if bare.any():
        if background is None:
            error = np.inf
        else:
            off = np.linalg.norm(np.maximum(high - background, background - low), axis=1)
            error = max(error, float(_over(np.maximum, off, ends)[bare].max()))
    m = low.shape[1]
    return Painting(np.array(kept, np.int64).reshape(-1, 2), np.array(values).reshape(-1, m), error)


def _over(extreme: np.ufunc, values: Array, ends: NDArray[np.int64]) -> Array:
    """The extreme of the values (M, ...) from each end to the next one, both included."""
    return extreme(extreme.reduceat(values, ends[:-1], axis=0), values[ends[1:]])


def partition(low: Array, high: Array, eps: float, start: int, stop: int) -> NDArray[np.int64]:
    """Consecutive intervals from `start` down to `stop`, each as long as one value serves it; so no partition has
    fewer: by induction, the k-th interval of any other does not end before the k-th of this one.

    The last end is above `stop` where not even one gap is served by one value.
    """
    ends = _descend(low, high, eps, start, stop)
    return np.stack([ends[1:], ends[:-1]], axis=1)


def shells(low: Array, high: Array, eps: float, *, free: bool, pinned: bool = False) -> tuple[Painting, Array]:
    """The fewest nested intervals (0, b_1), (0, b_2), ..., and the constant background (m,) that goes with them.

    Nested intervals paint consecutive shells from 0 outward, and leave only what is beyond the largest to the
    background. If that is `free` to be chosen, it takes the outermost shell, as large as possible; else everything is
    painted. Both are best possible, see `partition`. A `pinned` background has the middle value of the last position.
    Then eps is lowered as far as that number of shells allows, which
    makes all errors about equal.
    """

    middle = (low[-1] + high[-1]) / 2

    def ends(bound: float) -> NDArray[np.int64] | None:
        least, most = low, high
        if pinned:  # a last position that only its middle serves
            least, most = low.copy(), high.copy()
            room = bound / np.sqrt(low.shape[1]) * (1 - 1e-9)
            least[-1], most[-1] = np.minimum(low[-1], middle - room), np.maximum(high[-1], middle + room)
        parts = partition(least, most, bound, len(low) - 1, 0)
        if len(parts) and parts[-1, 0] > 0:
            return None
        return parts[1:, 1] if free else parts[:, 1]

    found = _equalised(ends, eps)
    if found is None:
        return Painting(np.empty((0, 2), np.int64), np.empty((0, low.shape[1])), np.inf), np.zeros(low.shape[1])
    outer = found[::-1]
    start = int(outer[-1]) if free and len(outer) else 0
    background = middle if pinned else (low[start:].min(axis=0) + high[start:].max(axis=0)) / 2
    nested = np.stack([np.zeros_like(outer), outer], axis=1)
    return paint(low, high, background if free else None, nested), background


def strips(low: Array, high: Array, background: Array | None, eps: float) -> Painting:
    """Few intervals anywhere on the line, painted over each other.

    background : (M, m) or None, where there is none
    The better of two: disjoint intervals from left to right, each as long as possible and starting where the background
    ends to serve, which is best possible among disjoint ones; and for m = 1, for several ways to cut the values into
    bands of 2 eps, the fewest coats that give every position the middle of its band, by dynamic programming (bottom
    coats may be painted over, so a bump takes one coat a band instead of two). Best possible where it meets the lower
    bound: the number of bands.
    """

    def best(bound: float) -> NDArray[np.int64] | None:
        served = np.zeros(len(low), bool) if background is None else served_by(low, high, background, bound)
        found = _disjoint(low, high, served, bound)
        if low.shape[1] > 1 or (found is not None and len(found) <= 1) or _is_monotone(low, high):
            return found
        for phase in _phases(low, high, background, bound):
            few = _coats(low, high, served, bound, phase)
            if few is None or (found is not None and len(few) >= len(found)):
                continue
            if paint(low, high, background, few).error <= bound:
                found = few
        return found

    found = _equalised(best, eps)
    if found is None:
        return Painting(np.empty((0, 2), np.int64), np.empty((0, low.shape[1])), np.inf)
    return paint(low, high, background, found)


def _equalised(solve: Callable[[float], NDArray[np.int64] | None], eps: float) -> NDArray[np.int64] | None:
    """The solution for eps, and one as short for the least bound found by bisection."""
    found = solve(eps)
    if found is None:
        return None
    least, bound = eps / 2, eps
    for _ in range(12):
        middle = (least + bound) / 2
        shorter = solve(middle)
        if shorter is not None and len(shorter) <= len(found):
            found, bound = shorter, middle
        else:
            least = middle
    return found


def _is_monotone(low: Array, high: Array) -> bool:
    steps = np.diff((low + high)[:, 0])
    return bool((steps >= 0).all() or (steps <= 0).all())


def _phases(low: Array, high: Array, background: Array | None, eps: float) -> list[float]:
    """Edges of bands of values that are worth a try."""
    width = 2 * eps * (1 - _TOUCH)
    edges = [float(low.min()), float(high.max())]
    if background is not None and np.ptp(background) <= 1e-12 * width:
        edges.insert(0, float(background[0, 0]) - width / 2)
    return edges + [float(low.min()) - k * width / _PHASES for k in range(1, _PHASES)]


def _disjoint(low: Array, high: Array, served: NDArray[np.bool_], eps: float) -> NDArray[np.int64] | None:
    ends = _sweep(low, high, served, eps)
    return None if ends[0, 0] < 0 else ends[1:]


def _coats(low: Array, high: Array, served: NDArray[np.bool_], eps: float, edge: float) -> NDArray[np.int64] | None:
    """The fewest intervals that give every gap the colour of its band, except where the background may stay."""
    middle = ((low[:-1] + high[1:] + low[1:] + high[:-1]) / 4)[:, 0]
    bare = served[:-1] & served[1:]
    colours = np.floor((middle - edge) / (2 * eps * (1 - _TOUCH))).astype(np.int64)
    starts = np.flatnonzero(np.diff(colours) | np.diff(bare)) + 1
    starts = np.concatenate([[0], starts])
    if len(starts) > _MOST_RUNS:
        return None
    stops = np.append(starts[1:], len(middle))
    cost, choice = _program(colours[starts])
    runs, free = len(starts), bare[starts]
    least, origin = np.zeros(runs + 1, np.int64), np.zeros(runs + 1, np.int64)
    for j in range(runs):
        options = least[: j + 1] + cost[: j + 1, j]
        origin[j + 1] = int(options.argmin())
        least[j + 1] = options[origin[j + 1]]
        if free[j] and least[j] <= least[j + 1]:
            least[j + 1], origin[j + 1] = least[j], -1
    coats: list[list[int]] = []
    j = runs
    while j > 0:
        if origin[j] < 0:
            j -= 1
            continue
        coats += _retrace(choice, int(origin[j]), j - 1)
        j = int(origin[j])
    return np.array([[starts[a], stops[b]] for a, b in coats[::-1]], np.int64).reshape(-1, 2)


def _retrace(choice: NDArray[np.int64], first: int, last: int) -> list[list[int]]:
    """The coats of the runs first .. last, the bottom first; a coat is [first run, last run]."""
    if last < first:
        return []
    k = int(choice[first, last])
    if k == last:
        return [*_retrace(choice, first, last - 1), [last, last]]
    coats = _retrace(choice, first, k)
    top = max(i for i, coat in enumerate(coats) if coat[0] <= k <= coat[1])
    coats[top][1] = last
    return [*coats, *_retrace(choice, k + 1, last - 1)]


@compiled
def _fits(least, most, low, high, j, eps):  # pragma: no cover - compiled
    """Whether one value serves what was between least and most, and position j too; takes it in if so."""
    total = 0.0
    for c in range(low.shape[1]):
        half = (max(most[c], high[j, c]) - min(least[c], low[j, c])) / 2
        total += half * half
    if total > eps * eps:
        return False
    for c in range(low.shape[1]):
        least[c] = min(least[c], low[j, c])
        most[c] = max(most[c], high[j, c])
    return True


@compiled
def _descend(low, high, eps, start, stop):  # pragma: no cover - compiled
    ends = np.empty(start - stop + 2, np.int64)
    ends[0] = start
    count = 1
    at = start
    while at > stop:
        least, most = low[at].copy(), high[at].copy()
        j = at
        while j > stop and _fits(least, most, low, high, j - 1, eps):
            j -= 1
        if j == at:
            break
        ends[count] = j
        count += 1
        at = j
    if at > stop and count == 1:
        ends[1] = start
        count = 2
    return ends[:count]


@compiled
def _sweep(low, high, served, eps):  # pragma: no cover - compiled
    """Row 0 says whether it worked (0) or not (-1); the others are the intervals."""
    size = low.shape[0]
    found = np.empty((size + 1, 2), np.int64)
    found[0] = 0
    count = 1
    at = 0
    while at < size - 1:
        if served[at] and served[at + 1]:
            at += 1
            continue
        least, most = low[at].copy(), high[at].copy()
        j = at
        while j < size - 1 and _fits(least, most, low, high, j + 1, eps):
            j += 1
        if j == at:
            found[0] = -1
            return found[:1]
        found[count, 0] = at
        found[count, 1] = j
        count += 1
        at = j
    return found[:count]


@compiled
def _program(colours):  # pragma: no cover - compiled
    """cost[i, j]: the fewest coats that paint the runs i .. j in their colours, each coat an interval of one colour;
    choice[i, j]: the run k whose coat also paints j, or j itself for a coat of its own."""
    runs = len(colours)
    cost = np.zeros((runs, runs), np.int64)
    choice = np.zeros((runs, runs), np.int64)
    for length in range(1, runs + 1):
        for i in range(runs - length + 1):
            j = i + length - 1
            cost[i, j] = (cost[i, j - 1] if j > i else 0) + 1
            choice[i, j] = j
            for k in range(i, j):
                if colours[k] == colours[j]:
                    between = cost[k + 1, j - 1] if k + 1 <= j - 1 else 0
                    if cost[i, k] + between < cost[i, j]:
                        cost[i, j] = cost[i, k] + between
                        choice[i, j] = k
    return cost, choice
