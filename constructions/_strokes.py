"""Ellipsoids painted over a grid of values: what one gains, and the search for the best, compiled.

Sums along the last axis are kept, so an ellipsoid costs one interval per grid line, not one visit per node.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from approx._compile import compiled
from constructions.covers._evolution import GOAL, adapt, mutate

__all__ = ["climb", "gains", "mark", "matrix_of", "means", "tally"]

Array = NDArray[np.float64]


@compiled
def _inverse(theta, n, shape):  # pragma: no cover - compiled
    """Into shape (n, n): the inverse of the lower triangle M, read by rows from theta[n:]; False if there is none."""
    for i in range(n):
        pivot = theta[n + i * (i + 1) // 2 + i]
        if not abs(pivot) > 1e-100:
            return False
        for j in range(n):
            shape[i, j] = 1.0 if i == j else 0.0
            for a in range(i):
                shape[i, j] -= theta[n + i * (i + 1) // 2 + a] * shape[a, j]
            shape[i, j] /= pivot
    return True


@compiled
def _interval(lead, row, center, shape, start, step, count):  # pragma: no cover - compiled
    """The nodes [first, last) of a grid line that the ellipsoid |shape (x - center)| < 1 holds."""
    n = center.shape[0]
    # |a + s b|^2 < 1 along the line, s counted from the centre
    aa = 0.0
    ab = 0.0
    bb = 0.0
    for i in range(n):
        a = 0.0
        for j in range(n - 1):
            a += shape[i, j] * (lead[row, j] - center[j])
        b = shape[i, n - 1]
        aa += a * a
        ab += a * b
        bb += b * b
    root = ab * ab - bb * (aa - 1.0)
    if not root > 0.0:
        return 0, 0
    root = np.sqrt(root)
    low = (center[n - 1] + (-ab - root) / bb - start) / step
    high = (center[n - 1] + (-ab + root) / bb - start) / step
    first = min(max(np.floor(low) + 1.0, 0.0), float(count))
    last = min(max(np.ceil(high), 0.0), float(count))
    return int(first), int(last)


@compiled
def _gain(theta, lead, start, step, sums, shape, total):  # pragma: no cover - compiled
    """By how much the sum of squared errors falls when the ellipsoid is painted with the mean of the values.

    shape (n, n), total (2 + m,): scratch
    """
    n = lead.shape[1] + 1
    if not _inverse(theta, n, shape):
        return -np.inf
    center = theta[:n]
    count = sums.shape[1] - 1
    for c in range(sums.shape[2]):
        total[c] = 0.0
    for row in range(lead.shape[0]):
        first, last = _interval(lead, row, center, shape, start, step, count)
        if first < last:
            for c in range(sums.shape[2]):
                total[c] += sums[row, last, c] - sums[row, first, c]
    if not total[0] > 0.0:
        return -np.inf
    gain = total[1]
    for c in range(2, sums.shape[2]):
        gain += total[c] * total[c] / total[0]
    return gain


def gains(thetas: Array, lead: Array, start: float, step: float, sums: Array) -> Array:
    """(c,) the gain of every row of `thetas`: centre (n,), then a lower triangle M by rows; the ellipsoid is
    {c + M z : |z| < 1}. lead (rows, n - 1) places the grid lines, sums is from `tally`."""
    none = np.empty((0, thetas.shape[1]))
    rest = none, 0.0, none, lead, start, step, sums, *_scratch(thetas[0], lead, sums)
    return np.array([_climb(theta, -np.inf, *rest) for theta in thetas])


def climb(
    theta: Array, best: float, lead: Array, start: float, step: float, sums: Array, noise: Array, sigma: float
) -> tuple[Array, float]:
    """A local search from `theta` with gain `best`: (theta, gain). noise (steps, p) standard normal."""
    theta, n = theta.copy(), lead.shape[1] + 1
    factor = np.eye(len(theta)) * np.linalg.norm(theta[n:])
    return theta, _climb(theta, best, noise, sigma, factor, lead, start, step, sums, *_scratch(theta, lead, sums))


def _scratch(theta: Array, lead: Array, sums: Array) -> tuple[Array, ...]:
    n = lead.shape[1] + 1
    return np.empty_like(theta), np.empty_like(theta), np.empty((n, n)), np.empty(sums.shape[2])


@compiled
def _climb(
    theta, best, noise, sigma, factor, lead, start, step, sums, trial, moved, shape, total
):  # pragma: no cover - compiled
    """Improve `theta`, whose gain is `best`, in place by steps of shape `factor` (p, p), and return its gain; without
    noise (steps, p) the gain of `theta` itself. The arrays after `sums` are scratch."""
    success, steps = GOAL, noise.shape[0]
    for row in range(max(1, steps)):
        if steps > 0:
            mutate(theta, factor, sigma, noise[row], trial, moved)
        else:
            for k in range(theta.shape[0]):  # assigning a slice takes long to compile
                trial[k] = theta[k]
        value = _gain(trial, lead, start, step, sums, shape, total)
        if steps > 0:
            sigma, success = adapt(factor, sigma, success, value > best, noise[row], moved)
        if value >= best:
            best = value
            for k in range(theta.shape[0]):
                theta[k] = trial[k]
    return best


@compiled
def mark(center, shape, lead, start, step, owner, label):  # pragma: no cover - compiled
    """Write `label` into owner (rows, count) where the ellipsoid |shape (x - center)| < 1 lies."""
    for row in range(lead.shape[0]):
        first, last = _interval(lead, row, center, shape, start, step, owner.shape[1])
        for k in range(first, last):
            owner[row, k] = label


def means(owner: NDArray[np.int64], weight: Array, values: Array, parts: int) -> Array:
    """(parts, m) the mean of the values (rows, count, m) over the nodes of each owner; over all where it has none."""
    owner, columns = owner.ravel(), np.moveaxis(values * weight[..., None], 2, 0)
    total = np.bincount(owner, weight.ravel(), parts)
    sums = np.stack([np.bincount(owner, column.ravel(), parts) for column in columns], axis=1)
    bare = total == 0.0
    return np.where(bare[:, None], sums.sum(axis=0) / total.sum(), sums / np.where(bare, 1.0, total)[:, None])


@compiled
def tally(owner, painted, weight, values, middle, sums, squares):  # pragma: no cover - compiled
    """The sum and the largest of the squared errors when every owner shows painted[owner] (parts, m).

    Into sums (rows, count + 1, 2 + m): running sums along the lines of the weight, of weight (|error|^2 -
    |values - middle|^2), and of weight times values - middle. Into squares (rows, count): the running sum of all
    squared errors.
    """
    m = values.shape[2]
    total = 0.0
    largest = 0.0
    for row in range(owner.shape[0]):
        for c in range(2 + m):
            sums[row, 0, c] = 0.0
        for k in range(owner.shape[1]):
            here = weight[row, k]
            error = 0.0
            size = 0.0
            for c in range(m):
                offset = values[row, k, c] - middle[c]
                gap = values[row, k, c] - painted[owner[row, k], c]
                error += here * gap * gap
                size += here * offset * offset
                sums[row, k + 1, 2 + c] = sums[row, k, 2 + c] + here * offset
            sums[row, k + 1, 0] = sums[row, k, 0] + here
            sums[row, k + 1, 1] = sums[row, k, 1] + error - size
            total += error
            largest = max(largest, error)
            squares[row, k] = total
    return total, largest


def matrix_of(theta: Array, dim: int) -> tuple[Array, Array]:
    """Centre (n,) and matrix A (n, n) of the ellipsoid |A (x - c)| < 1."""
    lower = np.zeros((dim, dim))
    lower[np.tril_indices(dim)] = theta[dim:]
    matrix: NDArray = np.linalg.inv(lower)
    return theta[:dim].copy(), matrix
