"""Find the first of many ordered cells that holds a point: bins over the cells' bounding boxes.

Every bin keeps the ordered list of the cells whose bounding box meets it, so the first cell in that list
that holds the point is the first of all. Bins beyond the edge are folded onto the edge bins, which keeps
the rule valid for points and cells of any extent.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from approx._compile import compiled
from approx._threads import for_slices

__all__ = ["CellIndex"]

_AXES = 3  # bins span at most this many coordinates; the rest is decided by the exact test
_ENTRIES_PER_CELL = 24


class CellIndex:
    """Bins for cells {x : |A_i (x - c_i)| < 1} (or balls of radius r_i).

    centers (N, n), half_extents (N, n) of the bounding boxes, and either radii (N,) or shapes (N, n, n).
    """

    def __init__(self, centers, half_extents, radii=None, shapes=None):
        self._centers = np.ascontiguousarray(centers)
        self._squared = None if radii is None else np.ascontiguousarray(radii) ** 2
        self._shapes = None if shapes is None else np.ascontiguousarray(shapes)
        cells, dim = centers.shape
        axes = min(dim, _AXES)
        low = (centers - half_extents)[:, :axes]
        high = (centers + half_extents)[:, :axes]
        # Medians keep a few giant cells from stretching the bins over empty space.
        self._origin = centers[:, :axes].min(axis=0) if cells else np.zeros(axes)
        top = centers[:, :axes].max(axis=0) if cells else np.ones(axes)
        width = np.maximum(np.median(high - low, axis=0) / 2, 1e-300) if cells else np.ones(axes)
        per_axis = np.clip(np.ceil((top - self._origin) / width), 1, 1 << 20).astype(np.int64)
        while np.prod(per_axis.astype(float)) > max(64, 4 * cells):
            per_axis = np.maximum(per_axis * 3 // 4, 1)
        while True:
            step = np.maximum((top - self._origin) / per_axis, 1e-300)
            first = _bin(low, self._origin, step, per_axis)
            last = _bin(high, self._origin, step, per_axis)
            entries = np.prod((last - first + 1).astype(float), axis=1).sum()
            if entries <= _ENTRIES_PER_CELL * cells + 4096 or (per_axis == 1).all():
                break
            per_axis = np.maximum(per_axis // 2, 1)
        self._step, self._per_axis = step, per_axis
        self._starts, self._cells = _fill(first, last, per_axis)

    def find(self, x: NDArray[np.float64]) -> NDArray[np.int64]:
        """x (k, n) float64 -> (k,) index of the first cell that holds each point, -1 where none does."""
        points = np.ascontiguousarray(x)
        found = np.full(points.shape[0], -1, dtype=np.int64)
        if self._centers.shape[0] == 0:
            return found
        axes = self._origin.shape[0]
        bins = np.zeros(points.shape[0], dtype=np.int64)
        inside = _bin(points[:, :axes], self._origin, self._step, self._per_axis)
        for axis in range(axes):
            bins = bins * self._per_axis[axis] + inside[:, axis]

        def work(start: int, stop: int) -> None:
            args = (points[start:stop], bins[start:stop], self._starts, self._cells, self._centers)
            if self._shapes is None:
                _find_ball(*args, self._squared, found[start:stop])
            else:
                _find_ellipsoid(*args, self._shapes, found[start:stop])

        for_slices(work, points.shape[0], align=1)
        return found


def _bin(x, origin, step, per_axis):
    with np.errstate(over="ignore", invalid="ignore"):  # points at infinity, bins of no width
        index = np.floor((x - origin) / step)
    return np.clip(np.nan_to_num(index, nan=0.0), 0, per_axis - 1).astype(np.int64)


@compiled
def _visit(first, last, per_axis, starts, cells, write):  # pragma: no cover - compiled
    axes = per_axis.shape[0]
    index = np.empty(axes, np.int64)
    for i in range(first.shape[0]):
        index[:] = first[i]
        while True:
            b = 0
            for a in range(axes):
                b = b * per_axis[a] + index[a]
            if write:
                cells[starts[b]] = i
            starts[b] += 1
            a = axes - 1
            while a >= 0:
                index[a] += 1
                if index[a] <= last[i, a]:
                    break
                index[a] = first[i, a]
                a -= 1
            if a < 0:
                break


def _fill(first, last, per_axis):
    counts = np.zeros(int(np.prod(per_axis)), np.int64)
    _visit(first, last, per_axis, counts, np.empty(0, np.int64), False)
    starts = np.concatenate(([0], np.cumsum(counts)))
    cells = np.empty(starts[-1], np.int64)
    _visit(first, last, per_axis, starts[:-1].copy(), cells, True)
    return starts, cells


@compiled
def _find_ball(points, bins, starts, cells, centers, squared, found):  # pragma: no cover - compiled
    for k in range(points.shape[0]):
        for e in range(starts[bins[k]], starts[bins[k] + 1]):
            i = cells[e]
            total = 0.0
            for a in range(points.shape[1]):
                offset = points[k, a] - centers[i, a]
                total += offset * offset
            if total < squared[i]:
                found[k] = i
                break


@compiled
def _find_ellipsoid(points, bins, starts, cells, centers, shapes, found):  # pragma: no cover - compiled
    dim = points.shape[1]
    for k in range(points.shape[0]):
        for e in range(starts[bins[k]], starts[bins[k] + 1]):
            i = cells[e]
            total = 0.0
            for a in range(dim):
                entry = 0.0
                for b in range(dim):
                    entry += shapes[i, a, b] * (points[k, b] - centers[i, b])
                total += entry * entry
            if total < 1.0:
                found[k] = i
                break
