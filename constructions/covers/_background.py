"""The affine background that leaves the least to paint on a profile over an interval."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from approx._compile import compiled
from constructions.covers._painting import Painting, strips

__all__ = ["best_line"]

Array = NDArray[np.float64]
_COARSE = 1000  # positions at which all lines are compared
_CHORDS = 40  # positions whose chords give the slopes
_LEVELS = 25  # positions that a line of every slope runs through
_TRIED = 8  # lines that are painted on all positions
_ROUNDS = 4  # of refinement


def best_line(t: Array, low: Array, high: Array, eps: float) -> tuple[Array, Array, Painting]:
    """(offset (m,), slope (m,), painting): the background offset + slope t with the fewest strips found.

    t (M,) ascending; low, high (M, m). For m = 1: if a line serves a set of positions, so does a parallel one that
    touches the bounds of that set, at an end of it or where the residual g - slope t has an extremum. So for each slope
    offsets from extrema, and from positions all over the interval, are compared by disjoint strips on a coarse grid;
    slopes are those of chords, refined around the best. The best lines are painted on all positions. A search, no
    proof that none is better. For m > 1 constants are tried.
    """
    m = low.shape[1]
    if m == 1:
        lines = _lines(t, low[:, 0], high[:, 0], eps)
    else:
        some = np.unique(np.linspace(0, len(t) - 1, _CHORDS).astype(int))
        middles = np.concatenate([(low[some] + high[some]) / 2, (low.min(axis=0) + high.max(axis=0))[None] / 2])
        lines = [(middle, np.zeros(m)) for middle in middles]
    best = None
    for offset, slope in lines:
        painting = strips(low, high, offset + t[:, None] * slope, eps)
        if not np.isfinite(painting.error):
            continue
        if best is None or (len(painting), painting.error) < (len(best[2]), best[2].error):
            best = offset, slope, painting
    if best is None:
        nothing = Painting(np.empty((0, 2), np.int64), np.empty((0, m)), np.inf)
        return np.zeros(m), np.zeros(m), nothing
    return best


def _lines(t: Array, low: Array, high: Array, eps: float) -> list[tuple[Array, Array]]:
    """The lines with the fewest disjoint strips, constants among them, on a coarse grid."""
    some = np.unique(np.linspace(0, len(t) - 1, min(_COARSE, len(t))).astype(int))
    s, least, most = t[some], low[some], high[some]
    at = np.unique(np.linspace(0, len(s) - 1, _CHORDS).astype(int))
    middle = (least[at] + most[at]) / 2
    i, j = np.triu_indices(len(at), 1)
    slopes = np.unique(np.append((middle[j] - middle[i]) / (s[at][j] - s[at][i]), 0.0))
    gap = float(np.ptp(slopes)) / len(slopes)
    best = _compared(s, least, most, slopes, eps)
    for _ in range(_ROUNDS):
        around = np.unique(best[:, 1])[:, None] + gap * np.linspace(-1, 1, 21)
        best = np.concatenate([best, _compared(s, least, most, np.unique(around), eps)])
        best = _ranked(best)
        gap /= 8
    return [(line[:1], line[1:2]) for line in best]


def _ranked(lines: Array) -> Array:
    """Rows (offset, slope, strips, width): the fewest and narrowest first."""
    return lines[np.lexsort((lines[:, 3], lines[:, 2]))][:_TRIED]


def _compared(t: Array, low: Array, high: Array, slopes: Array, eps: float) -> Array:
    """The best lines (k, 4) of those slopes."""
    rows = []
    for slope in slopes:
        upper, lower = high - slope * t, low - slope * t
        turns = np.flatnonzero(np.diff(np.sign(np.diff(upper + lower)))) + 1
        ends = np.concatenate([[0, len(t) - 1], turns])
        through = np.linspace(0, len(t) - 1, _LEVELS).astype(int)
        bound = eps * (1 - 1e-9)
        offsets = np.concatenate([upper[ends] - bound, lower[ends] + bound, (upper[through] + lower[through]) / 2])
        rows.append(np.stack([offsets, np.full(len(offsets), slope)], axis=1))
    lines = np.concatenate(rows)
    counts, widths = _count(t, low, high, lines[:, 0].copy(), lines[:, 1].copy(), eps)
    return _ranked(np.column_stack([lines, counts, widths]))


@compiled
def _count(t, low, high, offsets, slopes, eps):  # pragma: no cover - compiled
    """How many disjoint strips each line leaves to paint, and the sum of the widths of their values."""
    counts = np.empty(len(offsets), np.int64)
    widths = np.empty(len(offsets))
    size = len(t)
    served = np.empty(size, np.bool_)
    for k in range(len(offsets)):
        for j in range(size):
            level = offsets[k] + slopes[k] * t[j]
            served[j] = high[j] - level <= eps and level - low[j] <= eps
        count = 0
        at = 0
        width = 0.0
        while at < size - 1:
            if served[at] and served[at + 1]:
                at += 1
                continue
            least, most = low[at], high[at]
            j = at
            while j < size - 1 and max(most, high[j + 1]) - min(least, low[j + 1]) <= 2 * eps:
                j += 1
                least, most = min(least, low[j]), max(most, high[j])
            if j == at:  # too steep for the grid
                j += 1
            width += most - least
            count += 1
            at = j
        counts[k] = count
        widths[k] = width
    return counts, widths
