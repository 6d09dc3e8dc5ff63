"""Points of R^n in blocks of neighbours, on which the bounds of a convex quadratic are known from a box.

The least and the largest q of all points, or which of them have q < t, need q at the points of the few blocks whose
bounds leave that open: about a square root of all in the plane. SIDE points of a block lie side by side, coordinate by
coordinate, and so do the boxes, for loops over vector lanes; a sum over lanes has a fixed order.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from approx._compile import compiled

__all__ = ["SIDE", "Blocks", "blocks", "bounds", "curve", "values"]

Array = NDArray[np.float64]
SIDE = 32
_BITS = 16  # of a place on the curve: then numpy sorts by counting


class Blocks(NamedTuple):
    """B blocks of points.

    points : (B, n, SIDE); the last block repeats its first point where it is not full
    weight : (B, SIDE), 0 for repetitions
    total : (B,) the sums of the weights
    middle, half : (n, B) the middles and the half widths of the boxes
    """

    points: Array
    weight: Array
    total: Array
    middle: Array
    half: Array


def blocks(points: Array, weight: Array | None = None) -> Blocks:
    """Points (k, n), neighbours next to each other, and their weights, all 1 if there are none."""
    k, n = points.shape
    full, rest = divmod(k, SIDE)
    count = full + (rest > 0)
    laid, weights = np.empty((count, n, SIDE)), np.zeros((count, SIDE))
    laid[:full] = points[: k - rest].reshape(full, SIDE, n).transpose(0, 2, 1)
    if rest:
        laid[full] = points[k - rest, :, None]
        laid[full, :, :rest] = points[k - rest :].T
    weights.ravel()[:k] = 1.0 if weight is None else weight
    low, high = (np.ascontiguousarray(end(axis=2).T) for end in (laid.min, laid.max))
    return Blocks(laid, weights, weights.sum(axis=1), (low + high) / 2, (high - low) / 2)


def curve(points: Array, lower: Array, upper: Array) -> NDArray[np.uint16]:
    """(k,) places of points (k, n) of a box along Hilbert's curve.

    Source: Skilling, Programming the Hilbert curve, AIP Conference Proceedings 707, 2004.
    """
    n = points.shape[1]
    bits = _BITS // n
    cells = 1 << bits
    position = ((points - lower) / (upper - lower) * cells).astype(np.int64).clip(0, cells - 1).T.copy()
    for bit in range(bits - 1, 0, -1):
        rest = (1 << bit) - 1
        for axis in range(n):
            flipped = (position[axis] >> bit) & 1 == 1
            exchanged = (position[0] ^ position[axis]) & rest
            position[0] ^= np.where(flipped, rest, exchanged)
            if axis:
                position[axis] ^= np.where(flipped, 0, exchanged)
    for axis in range(1, n):
        position[axis] ^= position[axis - 1]
    gray = np.zeros(len(points), np.int64)
    for bit in range(bits - 1, 0, -1):
        gray ^= np.where((position[-1] >> bit) & 1, (1 << bit) - 1, 0)
    position ^= gray
    place = np.zeros(len(points), np.int64)
    for bit in range(bits - 1, -1, -1):
        for axis in range(n):
            place = 2 * place + ((position[axis] >> bit) & 1)
    return place.astype(np.uint16)


@compiled
def values(plane, form, slope, points, q):  # pragma: no cover - compiled
    """Into q (k,): q(u) = u.form u + 2 slope.u at points (n, k). plane: a constant, 1 if n = 2, else 0."""
    n, count = points.shape
    if plane == 1:
        a, b, c = form[0, 0], 2 * form[0, 1], form[1, 1]
        x, y = 2 * slope[0], 2 * slope[1]
        for k in range(count):
            q[k] = (a * points[0, k] + b * points[1, k] + x) * points[0, k] + (c * points[1, k] + y) * points[1, k]
        return
    for k in range(count):
        q[k] = 0.0
    for i in range(n):
        for k in range(count):
            q[k] += 2 * slope[i] * points[i, k]
        for j in range(i + 1):
            factor = form[i, i] if i == j else 2 * form[i, j]
            for k in range(count):
                q[k] += factor * points[i, k] * points[j, k]


@compiled
def bounds(plane, form, slope, middle, half, low, high):  # pragma: no cover - compiled
    """Into low and high (B,): bounds of q on boxes, its tangent's least value and its largest Taylor terms."""
    n, count = middle.shape
    values(plane, form, slope, middle, low)
    if plane == 1:
        a, b, c, d, e = form[0, 0], form[0, 1], form[1, 1], slope[0], slope[1]
        for k in range(count):
            x, y, wide, tall = middle[0, k], middle[1, k], half[0, k], half[1, k]
            steep = 2 * (abs(a * x + b * y + d) * wide + abs(b * x + c * y + e) * tall)
            high[k] = low[k] + steep + (a * wide + 2 * abs(b) * tall) * wide + c * tall * tall
            low[k] -= steep
        return
    for k in range(count):
        steep, bent = 0.0, 0.0
        for i in range(n):
            gradient = slope[i]
            for j in range(n):
                gradient += form[i, j] * middle[j, k]
                bent += abs(form[i, j]) * half[i, k] * half[j, k]
            steep += 2 * abs(gradient) * half[i, k]
        high[k] = low[k] + steep + bent
        low[k] -= steep
