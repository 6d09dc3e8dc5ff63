"""The cubes that balls are drawn around, where a cover is made from a grid of cubes and their halves."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Grid", "find_grid", "matches", "signature"]

Array = NDArray[np.float64]
_LEVELS = 40
_NEAR = 0.02  # octaves


@dataclass(frozen=True, eq=False)
class Grid:
    """Ball i is about the middle of the cube origin + [p_i, p_i + 1] side 2^-levels_i.

    origin (n,); side: that of the largest cubes; levels (N,); positions (N, n) the integers p_i
    """

    origin: Array
    side: float
    levels: NDArray[np.int64]
    positions: NDArray[np.int64]


def find_grid(centers: Array, radii: Array) -> Grid | None:
    """The cubes whose circumscribed balls these may be: a guess that nothing rests on. None if there are none."""
    n = centers.shape[1]
    if not len(radii) or not (np.isfinite(radii) & (radii > 0)).all():
        return None
    octaves = np.log2(radii.max()) - np.log2(radii)
    levels = np.rint(octaves).astype(np.int64)
    if np.abs(octaves - levels).max() > _NEAR or levels.max() > _LEVELS:
        return None
    side = _side(centers, levels, 2 * float(radii.max()) / math.sqrt(n) * (1 - 1e-6))
    large = int(np.argmin(levels))
    origin = centers[large] - side / 2
    sides = np.ldexp(side, -levels)[:, None]
    places = (centers - origin) / sides - 0.5
    positions = np.rint(places).astype(np.int64)
    if np.abs(places - positions).max() > 1e-3:
        return None
    return Grid(origin, side, levels, positions)


def _side(centers: Array, levels: NDArray[np.int64], side: float) -> float:
    """`side` corrected so that the most frequent cubes are whole numbers of sides apart, near ones first."""
    common = np.bincount(levels).argmax()
    gaps = np.abs(centers[levels == common] - centers[levels == common][0]).reshape(-1)
    small = math.ldexp(side, -int(common))
    for reach in 2.0 ** np.arange(0, 40):
        near = gaps[(gaps > small / 2) & (gaps < (reach + 0.5) * small)]
        counts = np.rint(near / small)
        if len(near):
            small = float(near @ counts / (counts @ counts))
        if (reach + 0.5) * small > gaps.max(initial=0.0):
            break
    return math.ldexp(small, int(common))


def signature(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """(k, n) integers -> (k,) numbers, different ones, most likely, for different rows."""
    mixer = np.random.default_rng(0).integers(1, 2**62, rows.shape[1]) * 2 + 1
    with np.errstate(over="ignore"):
        return (rows * mixer).sum(axis=1)


def matches(rows: NDArray[np.int64], known: NDArray[np.int64], marks: NDArray[np.int64], order: NDArray) -> NDArray:
    """For each row (k, n) the number of an equal row of `known` (N, n), -1 if there is none or (very rarely) it is
    not found. marks, order : the signatures of `known`, sorted, and their order."""
    if not len(known) or not len(rows):
        return np.full(len(rows), -1)
    mark = signature(rows)
    at = order[np.minimum(np.searchsorted(marks, mark), len(marks) - 1)]
    return np.where((known[at] == rows).all(axis=1), at, -1)
