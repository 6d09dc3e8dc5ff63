"""Find the first of many ordered cells that holds a point: bins over the cells' bounding boxes.

Every bin keeps the ordered list of the cells that may hold a point of it, so the first cell in that list that holds the
point is the first of all. Bins beyond the edge are folded onto the edge bins, which keeps the rule valid for points and
cells of any extent. Where the lists do not fit into the cache, points are taken bin by bin, roughly, and what they need
is fetched ahead: the cost of a point is then that of the memory that it alone touches.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from approx._cells import holds, prefetch
from approx._compile import compiled
from approx._threads import for_slices

__all__ = ["Bins"]

_AXES = 3  # bins span at most this many coordinates; the rest is decided by the exact test
_ENTRIES_PER_CELL = 32
_CACHED = 1 << 15  # cells
_RANGES = 1 << 12
_TOGETHER = 1 << 17  # points


class Bins:
    """Bins for the cells of a table (see `_cells.table`) with boxes low, high (N, n); N >= 1."""

    def __init__(self, table: NDArray, low: NDArray, high: NDArray):
        cells, dim = low.shape
        axes = min(dim, _AXES)
        low, high = low[:, :axes], high[:, :axes]
        centers = low / 2 + high / 2
        # Medians keep a few giant cells from stretching the bins over empty space.
        self._origin = centers.min(axis=0)
        top = centers.max(axis=0)
        width = np.maximum(np.median(high - low, axis=0) / 2, 1e-300)
        per_axis = np.clip(np.ceil((top - self._origin) / width), 1, 1 << 20).astype(np.int64)
        while np.prod(per_axis.astype(float)) > max(64, 4 * cells):
            per_axis = np.maximum(per_axis * 3 // 4, 1)
        while True:
            self._per_axis = per_axis
            self._scale = np.minimum(per_axis / np.maximum(top - self._origin, 1e-300), 1e300)
            first, last = (self._bins(corner) for corner in (low, high))
            entries = np.prod((last - first + 1).astype(float), axis=1).sum()
            if entries <= _ENTRIES_PER_CELL * cells + 4096 or (per_axis == 1).all():
                break
            per_axis = np.maximum(per_axis // 2, 1)
        self._starts, lists = _fill(first, last, per_axis, *self._reaches(table, dim))
        # Neighbouring cells stand together in memory.
        self._ids = np.argsort(_flat(self._bins(centers), per_axis), kind="stable")
        place = np.empty(cells, lists.dtype)
        place[self._ids] = np.arange(cells, dtype=lists.dtype)
        self._lists = place[lists]
        self._table = table[self._ids]

    def find(self, points: NDArray[np.float64], placed: NDArray[np.float64]) -> tuple[NDArray[np.int64], int]:
        """points (k, n) -> (k,) the first cell that holds each, -1 where none does; and how many tests that took.

        placed (k, n) : the points in the coordinates of the boxes
        """
        count = points.shape[0]
        found = np.empty(count, np.int64)
        spread = len(self._table) > _CACHED and count > 1024
        tests = []

        def work(start: int, stop: int) -> None:
            for first in range(start, stop, _TOGETHER):
                part = slice(first, min(first + _TOGETHER, stop))
                bins = _flat(self._bins(placed[part]), self._per_axis)
                order, keys = np.arange(len(bins)), bins
                if spread:
                    keys = np.empty_like(bins)
                    _sort(bins, len(self._starts) - 1, np.zeros(_RANGES + 2, np.int64), order, keys)
                cells = (self._starts, self._lists, self._table.reshape(-1), self._table.shape[1])
                tests.append(_find(points[part].reshape(-1), points.shape[1], order, keys, *cells, found[part]))
                found[part] = np.where(found[part] < 0, -1, self._ids[found[part]])

        for_slices(work, count, align=1)
        return found, sum(tests)

    def _reaches(self, table: NDArray, dim: int) -> tuple[NDArray, NDArray, NDArray]:
        """Centres (N, axes), squared distances (N,) beyond which a cell holds no point, and the lower and upper sides
        of the bins (2, axes, most bins), all rounded so that a bin farther from a centre than that needs no entry."""
        axes, most = len(self._per_axis), int(self._per_axis.max())
        sides = np.full((2, axes, most), np.inf)
        sides[0] = -np.inf
        for axis, count in enumerate(self._per_axis):
            inner = np.arange(1, count) / self._scale[axis]
            room = 2.0**-46 * (abs(self._origin[axis]) + inner) + 1e-300
            sides[0, axis, 1:count] = self._origin[axis] + inner - room
            sides[1, axis, : count - 1] = self._origin[axis] + inner + room
        balls = table.shape[1] == dim + 1
        reach = table[:, dim] * (1 + 2.0**-40) if balls else np.full(len(table), np.inf)
        return np.ascontiguousarray(table[:, :axes]), reach, sides

    def _bins(self, x: NDArray) -> NDArray[np.int64]:
        """(k, axes) the bin of each point along each axis. Monotone in every coordinate, rounding included: a point
        within a box lies in a bin of that box."""
        with np.errstate(over="ignore", invalid="ignore"):
            place = (x[:, : len(self._origin)] - self._origin) * self._scale
        return np.minimum(np.fmax(place, 0.0), self._per_axis - 1.0).astype(np.int64)


def _flat(index: NDArray, per_axis: NDArray) -> NDArray[np.int64]:
    result = np.zeros(len(index), np.int64)
    for axis, size in enumerate(per_axis):
        result = result * size + index[:, axis]
    return result


@compiled
def _visit(first, last, per_axis, centers, reach, sides, index, starts, cells, write):  # pragma: no cover - compiled
    axes = per_axis.shape[0]
    for i in range(first.shape[0]):
        for a in range(axes):
            index[a] = first[i, a]
        while True:
            b = 0
            distance = 0.0
            for a in range(axes):
                place, center = index[a], centers[i, a]
                b = b * per_axis[a] + place
                below, above = sides[0, a, place] - center, center - sides[1, a, place]
                if below > 0.0:
                    distance += below * below
                elif above > 0.0:
                    distance += above * above
            if not distance > reach[i]:
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


def _fill(
    first: NDArray, last: NDArray, per_axis: NDArray, centers: NDArray, reach: NDArray, sides: NDArray
) -> tuple[NDArray, NDArray]:
    counts = np.zeros(int(np.prod(per_axis)), np.int64)
    kind = np.int32 if len(first) < 1 << 31 else np.int64
    bins = first, last, per_axis, centers, reach, sides, np.empty_like(per_axis)
    _visit(*bins, counts, np.empty(0, kind), False)
    starts = np.concatenate(([0], np.cumsum(counts)))
    cells = np.empty(starts[-1], kind)
    _visit(*bins, starts[:-1].copy(), cells, True)
    return starts.astype(np.int32) if starts[-1] < 1 << 31 else starts, cells


@compiled
def _sort(bins, total, place, order, keys):  # pragma: no cover - compiled
    """Points by ranges of bins that are small enough for what belongs to a range to stay in the cache.

    place (_RANGES + 2,): zeros
    """
    shift = 0
    while total >> shift > _RANGES:
        shift += 1
    for k in range(bins.shape[0]):
        place[(bins[k] >> shift) + 1] += 1
    for r in range(1, place.shape[0]):
        place[r] += place[r - 1]
    for k in range(bins.shape[0]):
        r = bins[k] >> shift
        order[place[r]], keys[place[r]] = k, bins[k]
        place[r] += 1


@compiled
def _find(points, dim, order, keys, starts, lists, cells, width, found):  # pragma: no cover - compiled
    """Points and cells are flat; found is the place of a cell in them."""
    count, tests = order.shape[0], 0
    for q in range(count):
        # What the next points need is fetched while this one is decided.
        if q + 24 < count:
            prefetch(starts, keys[q + 24])
            prefetch(points, order[q + 24] * dim)
        if q + 16 < count:
            ahead = starts[keys[q + 16]]
            prefetch(lists, ahead)
            prefetch(lists, ahead + 8)
        if q + 8 < count:
            ahead = starts[keys[q + 8]]
            for e in range(ahead, min(ahead + 8, lists.shape[0])):
                prefetch(cells, lists[e] * width)
        k, key = order[q], keys[q]
        found[k] = -1
        for e in range(starts[key], starts[key + 1]):
            tests += 1
            c = lists[e]
            if holds(points, k * dim, dim, cells, c * width, width):
                found[k] = c
                break
    return tests
