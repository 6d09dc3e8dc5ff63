"""Which points ellipsoids {x : |A (x - c)| < 1} hold."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from approx._compile import compiled

__all__ = ["foremost", "held", "holds", "within"]

Array = NDArray[np.float64]
_SURELY = 1 - 1e-9
_CHUNK = 16  # points that are next to each other


@compiled
def _square(points, k, centers, shapes, c):  # pragma: no cover - compiled
    """|A (x - c)|^2 of point k and cell c."""
    n, total = centers.shape[1], 0.0
    for i in range(n):
        entry = 0.0
        for j in range(n):
            entry += shapes[c, i, j] * (points[k, j] - centers[c, j])
        total += entry * entry
    return total


@compiled
def holds(points, centers, shapes, c, done, found):  # pragma: no cover - compiled
    """Into found (k,): whether cell c holds the point, and it is not done (k,)."""
    if centers.shape[1] == 2:
        x, y = centers[c, 0], centers[c, 1]
        a11, a12, a21, a22 = shapes[c, 0, 0], shapes[c, 0, 1], shapes[c, 1, 0], shapes[c, 1, 1]
        for k in range(points.shape[0]):
            u, v = points[k, 0] - x, points[k, 1] - y
            one, two = a11 * u + a12 * v, a21 * u + a22 * v
            found[k] = (not done[k]) & (one * one + two * two < 1.0)
        return
    for k in range(points.shape[0]):
        found[k] = not done[k] and _square(points, k, centers, shapes, c) < 1.0


def held(points: Array, centers: Array, shapes: Array, count: int) -> NDArray[np.bool_]:
    """(k,) whether one of the first `count` cells holds the point, and not just at its boundary."""
    found = np.empty(len(points), np.bool_)
    near, scratch = np.arange(count - 1, -1, -1), np.empty((3, points.shape[1]))
    near = near[: _meeting(points, 0, len(points), centers, shapes, near, *scratch, near)]
    _held(points, centers, shapes, near, np.empty_like(near), *scratch, found)
    return found


@compiled
def _held(points, centers, shapes, near, nearer, middle, half, turned, found):  # pragma: no cover - compiled
    total = points.shape[0]
    for start in range(0, total, _CHUNK):
        stop = min(start + _CHUNK, total)
        few = _meeting(points, start, stop, centers, shapes, near, middle, half, turned, nearer)
        for k in range(start, stop):
            found[k] = False
            for turn in range(few):
                if _square(points, k, centers, shapes, nearer[turn]) < _SURELY:
                    found[k] = True
                    break


@compiled
def _meeting(points, start, stop, centers, shapes, cells, middle, half, turned, found):  # pragma: no cover - compiled
    """Into the head of `found`, which may be `cells`: which of these may meet the box around points[start:stop]; how
    many. The three arrays before it are scratch."""
    n, count = points.shape[1], 0
    for j in range(n):
        low, high = np.inf, -np.inf
        for k in range(start, stop):
            place = points[k, j]
            low, high = min(low, place), max(high, place)
        middle[j], half[j] = (low + high) / 2, (high - low) / 2
    for c in cells:
        # The tangent of |A (x - c)|^2 at the middle of the box, a lower bound, at the corner where it is least.
        least = 0.0
        for i in range(n):
            entry = 0.0
            for j in range(n):
                entry += shapes[c, i, j] * (middle[j] - centers[c, j])
            turned[i] = entry
            least += entry * entry
        for j in range(n):
            slope = 0.0
            for i in range(n):
                slope += shapes[c, i, j] * turned[i]
            least -= 2 * abs(slope) * half[j]
        if least < 1.0:
            found[count] = c
            count += 1
    return count


def within(values: Array, middle: Array, radius: float) -> NDArray[np.bool_]:
    """(k,) |values - middle| <= radius."""
    total = np.zeros(len(values))
    for part, center in zip(values.T, middle, strict=True):  # the last axis is a slow one to sum over
        total += np.square(part - center)
    return total <= radius * radius


def foremost(rank: Array, done: NDArray[np.bool_], wall: NDArray[np.bool_]) -> int:
    """Where rank (k,) is largest among samples neither done nor wall; -1 without any."""
    open_ones = np.flatnonzero(~(done | wall))
    return int(open_ones[rank[open_ones].argmax()]) if len(open_ones) else -1
