"""Which points ellipsoids {x : |A (x - c)| < 1} hold, compiled."""

from __future__ import annotations

import numpy as np

from approx._compile import compiled

__all__ = ["foremost", "held", "holds", "within"]

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


@compiled
def held(points, centers, shapes, count, found):  # pragma: no cover - compiled
    """Into found (k,): whether one of the first `count` cells holds the point, and not just at its boundary."""
    total = points.shape[0]
    near, nearer = np.empty(count, np.int64), np.empty(count, np.int64)
    for c in range(count):
        near[c] = count - 1 - c
    several = _meeting(points, 0, total, centers, shapes, near, count, near)
    for start in range(0, total, _CHUNK):
        stop = min(start + _CHUNK, total)
        few = _meeting(points, start, stop, centers, shapes, near, several, nearer)
        for k in range(start, stop):
            found[k] = False
            for turn in range(few):
                c = nearer[turn]
                if _square(points, k, centers, shapes, c) < _SURELY:
                    found[k] = True
                    break


@compiled
def _meeting(points, start, stop, centers, shapes, cells, total, found):  # pragma: no cover - compiled
    """Into the head of `found`: which of cells[:total] may meet the box around points[start:stop]; how many."""
    n, count = points.shape[1], 0
    middle, half, turned = np.empty(n), np.empty(n), np.empty(n)
    for j in range(n):
        low, high = np.inf, -np.inf
        for k in range(start, stop):
            low, high = min(low, points[k, j]), max(high, points[k, j])
        middle[j], half[j] = (low + high) / 2, (high - low) / 2
    for turn in range(total):
        c = cells[turn]
        # The tangent of |A (x - c)|^2 at the middle of the box, a lower bound, at the corner where it is least.
        least = 0.0
        for i in range(n):
            turned[i] = 0.0
            for j in range(n):
                turned[i] += shapes[c, i, j] * (middle[j] - centers[c, j])
            least += turned[i] * turned[i]
        for j in range(n):
            slope = 0.0
            for i in range(n):
                slope += shapes[c, i, j] * turned[i]
            least -= 2 * abs(slope) * half[j]
        if least < 1.0:
            found[count] = c
            count += 1
    return count


@compiled
def within(values, middle, radius, found):  # pragma: no cover - compiled
    """Into found (k,): |values - middle| <= radius."""
    for k in range(values.shape[0]):
        total = 0.0
        for j in range(values.shape[1]):
            gap = values[k, j] - middle[j]
            total += gap * gap
        found[k] = total <= radius * radius


@compiled
def foremost(rank, done, wall):  # pragma: no cover - compiled
    """Where rank (k,) is largest among samples neither done nor wall; -1 without any."""
    best = -1
    for k in range(rank.shape[0]):
        if not (done[k] or wall[k]) and (best < 0 or rank[k] > rank[best]):
            best = k
    return best
