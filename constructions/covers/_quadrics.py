"""Ellipsoids through a given point, as large as forbidden points allow: their search, compiled.

About an anchor p, a convex quadric is {x : q(x - p) < t} with q(u) = u.Qu + 2 b.u, Q = L L^T + r I positive definite;
it holds its anchor when t > 0. For given (L, b) the largest t that keeps forbidden points outside is the least q among
them, so a search over (L, b) needs no size. As Q -> 0 at fixed b the quadric becomes a half-space: the same parameters
reach from small ellipsoids to giants whose boundary follows a level set. r keeps the giants and the ratio of the axes
finite: r = |b|/R + |L|^2/ratio, where R is the largest radius of curvature at the anchor.

Parameters are flat: the n (n + 1)/2 entries of the lower triangle L by rows, then the n entries of b.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from approx._compile import compiled
from constructions.covers._blocks import SIDE, Blocks, bounds, values
from constructions.covers._evolution import GOAL, adapt, mutate

__all__ = ["ball", "climb", "quadrics", "rounded", "scores", "shape_of", "span"]

Array = NDArray[np.float64]
_RATIO = 1e-6


@compiled
def _form(theta, flat, form, slope):  # pragma: no cover - compiled
    """Q into `form` (n, n) and b into `slope` (n,); `flat` is 1/R."""
    n = slope.shape[0]
    size = 0.0
    for k in range(n * (n + 1) // 2):
        size += theta[k] * theta[k]
    steep = 0.0
    for i in range(n):
        slope[i] = theta[n * (n + 1) // 2 + i]
        steep += slope[i] * slope[i]
    for i in range(n):
        for j in range(i + 1):
            total = 0.0
            for a in range(j + 1):
                total += theta[i * (i + 1) // 2 + a] * theta[j * (j + 1) // 2 + a]
            form[i, j] = total
            form[j, i] = total
        form[i, i] += np.sqrt(steep) * flat + size * _RATIO


def span(theta: Array, flat: float, offsets: Array) -> tuple[float, float]:
    """The least and the largest q at the offsets (k, n) from the anchor; inf and -inf without any."""
    form, slope = _quadric(theta, flat, offsets.shape[1])
    q = form @ offsets.T
    q += 2.0 * slope[:, None]
    q *= offsets.T
    q = q.sum(axis=0)
    return float(q.min(initial=np.inf)), float(q.max(initial=-np.inf))


def _quadric(theta: Array, flat: float, n: int) -> tuple[Array, Array]:
    form, slope = np.empty((n, n)), np.empty(n)
    _form(theta, flat, form, slope)
    return form, slope


def scores(thetas: Array, flat: float, bad: Blocks, good: Blocks) -> Array:
    """(c,) the score of every row of `thetas`, by blocks of bad and of good offsets from the anchor: the weight of the
    good points that the largest quadric without bad points holds, -1 if it misses its anchor."""
    return np.array([_score(theta, flat, bad, good)[0] for theta in thetas])


def climb(theta: Array, flat: float, bad: Blocks, good: Blocks, noise: Array, sigma: float) -> tuple[Array, float]:
    """A local search from `theta`: the best parameters found, and their score. noise (steps, p) standard normal."""
    theta, p, n = theta.copy(), len(theta), bad.points.shape[1]
    best, level = _score(theta, flat, bad, good)
    if 0.0 < level < np.inf:  # the same quadric with level 1
        theta[: p - n] /= math.sqrt(level)
        theta[p - n :] /= level
    squares = np.square(theta).tolist()
    lengths, tilt = math.sqrt(sum(squares[: p - n])), math.sqrt(sum(squares[p - n :]))
    factor = np.diag([lengths] * (p - n) + [tilt + lengths] * n)
    return theta, _search(theta, best, noise, sigma, factor, flat, bad, good)[0]


def _score(theta: Array, flat: float, bad: Blocks, good: Blocks) -> tuple[float, float]:
    none = np.empty((0, len(theta)))
    return _search(theta, -1.0, none, 0.0, none, flat, bad, good)


def _search(
    theta: Array, best: float, noise: Array, sigma: float, factor: Array, flat: float, bad: Blocks, good: Blocks
) -> tuple[float, float]:
    p, n, count = len(theta), bad.points.shape[1], max(1, len(bad.points), len(good.points))
    scratch = (np.empty(size) for size in (p, p, (n, n), n, count, count, SIDE, SIDE))
    return _climb(int(n == 2))(theta, best, noise, sigma, factor, flat, bad, good, *scratch)


@functools.cache
def _climb(plane: int) -> Callable:
    """The search in the plane (1) or in any dimension (0): what a constant excludes is not compiled."""

    @compiled
    def kernel(
        theta, best, noise, sigma, factor, flat, bad, good, trial, step, form, slope, low, high, q, lanes
    ):  # pragma: no cover - compiled  # fmt: skip
        """Improve `theta`, whose score is `best`, in place by steps of shape `factor` (p, p); without noise (steps, p),
        score it. The arrays after `good` are scratch.

        Returns the score, and, of the last quadric looked at, the least q of all bad points or, once that is known not
        to be positive, some q <= 0.
        """
        success, level, steps, blocks = GOAL, np.inf, noise.shape[0], bad.points.shape[0]
        for row in range(max(1, steps)):
            if steps > 0:
                mutate(theta, factor, sigma, noise[row], trial, step)
            else:
                for k in range(theta.shape[0]):
                    trial[k] = theta[k]
            _form(trial, flat, form, slope)
            level, first, least = np.inf, 0, np.inf
            bounds(plane, form, slope, bad.middle, bad.half, low, high)
            for k in range(blocks):
                if low[k] < least:
                    first, least = k, low[k]
            for turn in range(-min(1, blocks), blocks):  # the most promising block comes first
                k = turn if turn >= 0 else first
                if level <= 0.0:
                    break
                if low[k] < level and turn != first:
                    values(plane, form, slope, bad.points[k], q)
                    for s in range(SIDE):
                        level = min(level, q[s])
            value = -1.0
            if level > 0.0:
                value = 0.0
                bounds(plane, form, slope, good.middle, good.half, low, high)
                for s in range(SIDE):
                    lanes[s] = 0.0
                for k in range(good.points.shape[0]):
                    if high[k] < level:
                        value += good.total[k]
                    elif low[k] < level:
                        values(plane, form, slope, good.points[k], q)
                        for s in range(SIDE):
                            lanes[s] += good.weight[k, s] if q[s] < level else 0.0
                for s in range(SIDE):
                    value += lanes[s]
            if steps > 0:
                sigma, success = adapt(factor, sigma, success, value > best, noise[row], step)
            if value >= best:
                best = value
                for k in range(theta.shape[0]):  # assigning a slice takes seconds to compile
                    theta[k] = trial[k]
        return best, level

    return kernel


def ball(dim: int) -> Array:
    """The parameters of a ball about its anchor."""
    return quadrics(np.eye(dim)[None], np.zeros((1, dim)))[0]


def quadrics(forms: Array, slopes: Array, flat: float = 0.0) -> Array:
    """(k, p) the parameters of q(u) = u.form u + 2 slope.u, forms (k, n, n) positive definite and slopes (k, n); with
    1/R = `flat`, what r adds to the form is taken off, as far as the form stays well conditioned."""
    n = slopes.shape[1]
    if flat:
        least = np.linalg.eigvalsh(forms)[:, 0]
        added = flat * np.linalg.norm(slopes, axis=1) + _RATIO * np.trace(forms, axis1=1, axis2=2)
        forms = forms - np.minimum(added, 0.9 * least)[:, None, None] * np.eye(n)
    rows, columns = np.tril_indices(n)
    return np.concatenate([np.linalg.cholesky(forms)[:, rows, columns], slopes], axis=1)


def rounded(theta: Array, dim: int) -> Array:
    """The parameters with Q a multiple of the identity, of the same trace."""
    lower = theta[: dim * (dim + 1) // 2]
    return np.concatenate([ball(dim)[: len(lower)] * np.sqrt(lower @ lower / dim), theta[len(lower) :]])


def shape_of(theta: Array, flat: float, level: float, anchor: Array) -> tuple[Array, Array]:
    """Centre c (n,) and matrix A (n, n) of {x : q(x - anchor) < level} = {x : |A (x - c)| < 1}."""
    form, slope = _quadric(theta, flat, len(anchor))
    back = np.linalg.solve(form, slope)
    radius = np.sqrt(level + slope @ back)
    return anchor - back, np.ascontiguousarray(np.linalg.cholesky(form).T / radius)
