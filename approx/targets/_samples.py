"""The central Lipschitz interpolant of scattered samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

__all__ = ["LipschitzInterpolant", "largest_slopes"]

Array = NDArray[np.float64]
_CHUNK = 1 << 22  # distances held at a time


@dataclass(frozen=True, eq=False)
class LipschitzInterpolant:
    """f(x) = (min_i (y_i + L |x - x_i|) + max_i (y_i - L |x - x_i|)) / 2, componentwise, on all of R^n.

    points (k, n), values (k, m), slopes (m,): with slopes at least the largest slopes between the samples, f takes the
    samples' values and component j is Lipschitz with constant slopes[j]. It is the midpoint of all functions that are
    and do (Sukharev's optimal interpolant; McShane 1934 for the two envelopes).
    """

    points: Array
    values: Array
    slopes: Array

    def __call__(self, x: Array) -> Array:
        """x (k, n) -> (k, m), with bounded memory."""
        result = np.empty((len(x), self.values.shape[1]))
        step = max(1, _CHUNK // len(self.points))
        for start in range(0, len(x), step):
            distance = cdist(x[start : start + step], self.points)
            for j, (value, slope) in enumerate(zip(self.values.T, self.slopes, strict=True)):
                reach = slope * distance
                upper = (value + reach).min(axis=1)
                lower = (value - reach).max(axis=1)
                result[start : start + step, j] = 0.5 * (lower + upper)
        return result

    def enclose(self, lower: Array, upper: Array) -> tuple[Array, Array]:
        """Bounds on boxes (k, n): both envelopes bounded through the nearest and farthest point of the box."""
        low = np.empty((len(lower), self.values.shape[1]))
        high, size = np.empty_like(low), np.empty_like(low)
        step = max(1, _CHUNK // (len(self.points) * self.points.shape[1]))
        for start in range(0, len(lower), step):
            rows = slice(start, start + step)
            below = lower[rows, None, :] - self.points
            above = self.points - upper[rows, None, :]
            near = np.linalg.norm(np.maximum(np.maximum(below, above), 0.0), axis=-1)
            far = np.linalg.norm(np.maximum(np.abs(below), np.abs(above)), axis=-1)
            for j, (value, slope) in enumerate(zip(self.values.T, self.slopes, strict=True)):
                low[rows, j] = (value + slope * near).min(axis=1) + (value - slope * far).max(axis=1)
                high[rows, j] = (value + slope * far).min(axis=1) + (value - slope * near).max(axis=1)
                size[rows, j] = np.abs(value).max() + slope * far.max(axis=1)  # of the terms, which may cancel
        slack = (self.points.shape[1] + 16) * np.finfo(np.float64).eps * size
        return 0.5 * low - slack, 0.5 * high + slack


def largest_slopes(points: Array, values: Array) -> Array:
    """(m,) max over pairs of |y_i - y_j| / |x_i - x_j|, per component; inf when two points coincide to rounding."""
    slopes = np.zeros(values.shape[1])
    step = max(1, _CHUNK // len(points))
    for start in range(0, len(points), step):
        stop = min(start + step, len(points))
        inverse = cdist(points[start:stop], points[start:])
        if np.count_nonzero(inverse) < inverse.size - (stop - start):
            return np.full(values.shape[1], np.inf)
        np.divide(1.0, inverse, out=inverse, where=inverse > 0)  # 0 stays on the diagonal
        for j, value in enumerate(values.T):
            ratio = np.abs(value[start:stop, None] - value[None, start:])
            ratio *= inverse
            slopes[j] = max(slopes[j], float(ratio.max()))
    return slopes
