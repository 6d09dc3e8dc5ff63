"""Find the first of many ordered cells that holds a point: a binary tree of boxes.

The leaves hold up to eight cells each. Every node knows a box around its cells and the first of them; a search passes
over nodes whose box does not hold the point, or whose first cell comes after one already found. Of two children the one
with the earlier first cell is visited first. Nodes lie in the order in which they are visited, and each knows where to
go on when it is passed over. Boxes are kept in single precision, rounded outward; rounding is monotone, so a point in
the box is in it in single precision too.

Cells are put in a row before they are grouped: by size and then along a Morton curve ("space"), or as they are ordered
("order"), which makes the search a scan that passes over groups. The second serves covers whose boxes overlap so
heavily that space does not tell them apart, as with long slanted ellipsoids.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from approx._cells import holds
from approx._compile import compiled
from approx._threads import for_slices

__all__ = ["Hierarchy"]

_LEAF = 8
_CACHED = 1 << 13  # cells
_CODE_BITS = 62


class Hierarchy:
    """A tree for the cells of a table (see `_cells.table`) with boxes low, high (N, n); N >= 1. row: as above."""

    def __init__(self, table: NDArray, low: NDArray, high: NDArray, row: str = "space"):
        cells, dim = low.shape
        centers = low / 2 + high / 2
        bits = max(1, min(16, _CODE_BITS // dim))
        # A Morton code of ranks: neither clusters nor outliers waste its bits.
        self._edges = np.quantile(centers, np.linspace(0, 1, (1 << min(bits, 10)) + 1)[1:-1], axis=0)
        if row == "space":
            size = np.log2(np.maximum((high - low).max(axis=1), 1e-300)) // 2
            order = np.lexsort((self._codes(centers), size))
        else:
            order = np.arange(cells)
        leaves = 1
        while leaves * _LEAF < cells:
            leaves *= 2
        ends = np.arange(leaves + 1) * cells // leaves
        heap_low: NDArray = np.empty((2 * leaves, dim))
        heap_high: NDArray = np.empty((2 * leaves, dim))
        first = np.empty(2 * leaves, np.int64)
        heap_low[leaves:] = np.minimum.reduceat(low[order], ends[:-1])
        heap_high[leaves:] = np.maximum.reduceat(high[order], ends[:-1])
        first[leaves:] = np.minimum.reduceat(order, ends[:-1])
        parents = leaves
        while parents > 1:
            children, parents = parents, parents // 2
            for values, join in ((heap_low, np.minimum), (heap_high, np.maximum), (first, np.minimum)):
                values[parents:children] = join(
                    values[children : 2 * children : 2], values[children + 1 : 2 * children : 2]
                )
        nodes = 2 * leaves - 1
        kind = np.int32 if cells < 1 << 30 else np.int64
        self._boxes = np.empty((nodes, 2 * dim), np.float32)
        self._nodes = np.empty((nodes + 1, 3), kind)  # first cell, where to go on, where its cells start
        self._nodes[nodes] = cells, nodes, cells
        self._ids = np.empty(cells, kind)
        heap_low, heap_high = _outward(heap_low, -np.inf), _outward(heap_high, np.inf)
        _emit(first, heap_low, heap_high, order, ends, self._boxes, self._nodes, self._ids)
        self._table = table[self._ids]

    def find(self, points: NDArray[np.float64], placed: NDArray[np.float64]) -> tuple[NDArray[np.int64], int]:
        """points (k, n) -> (k,) the first cell that holds each, -1 where none does; and how many nodes were visited
        and cells tested.

        placed (k, n) : the points in the coordinates of the boxes
        """
        count = points.shape[0]
        found, tests = np.empty(count, np.int64), []
        spread = len(self._table) > _CACHED and count > 1024
        order = np.argsort(self._codes(placed)) if spread else np.arange(count)

        def work(start: int, stop: int) -> None:
            tree = (self._boxes, self._nodes, self._ids, self._table.reshape(-1), self._table.shape[1])
            scratch = np.empty(points.shape[1], np.float32)
            tests.append(_find(points.reshape(-1), placed, order[start:stop], *tree, scratch, found))

        for_slices(work, count, align=1)
        return found, sum(tests)

    def _codes(self, x: NDArray) -> NDArray[np.int64]:
        """(k, n) -> (k,) Morton codes."""
        codes = np.zeros(len(x), np.int64)
        dim = x.shape[1]
        bits = (len(self._edges) + 1).bit_length() - 1
        for axis in range(dim):
            rank = np.searchsorted(np.ascontiguousarray(self._edges[:, axis]), x[:, axis])
            for bit in range(bits):
                codes |= ((rank >> bit) & 1) << (bit * dim + axis)
        return codes


def _outward(values: NDArray, towards: float) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        return np.nextafter(values.astype(np.float32), np.float32(towards))


@compiled
def _emit(first, low, high, order, ends, boxes, nodes, ids):  # pragma: no cover - compiled
    leaves, dim = ends.shape[0] - 1, low.shape[1]
    stack = np.empty(128, np.int64)
    stack[0], height = 1, 1
    node, position = 0, 0
    while height > 0:
        height -= 1
        h = stack[height]
        for a in range(dim):
            boxes[node, 2 * a], boxes[node, 2 * a + 1] = low[h, a], high[h, a]
        nodes[node, 0], nodes[node, 2] = first[h], position
        size, below = 1, h
        while below < leaves:
            below, size = 2 * below, 2 * size + 1
        nodes[node, 1] = node + size
        node += 1
        if h < leaves:
            one, other = 2 * h, 2 * h + 1
            if first[other] < first[one]:
                one, other = other, one
            stack[height], stack[height + 1] = other, one
            height += 2
        else:
            start = position
            for q in range(ends[h - leaves], ends[h - leaves + 1]):  # sorted by insertion
                place = position
                while place > start and ids[place - 1] > order[q]:
                    ids[place] = ids[place - 1]
                    place -= 1
                ids[place] = order[q]
                position += 1


@compiled
def _find(points, placed, order, boxes, nodes, ids, cells, width, x, found):  # pragma: no cover - compiled
    dim, count, none = placed.shape[1], boxes.shape[0], ids.shape[0]
    work = 0
    for k in order:
        for a in range(dim):
            x[a] = placed[k, a]
        best, node = none, 0
        while node < count:
            work += 1
            inside = nodes[node, 0] < best
            for a in range(dim):
                inside &= (x[a] >= boxes[node, 2 * a]) & (x[a] <= boxes[node, 2 * a + 1])
            if not inside:
                node = nodes[node, 1]
                continue
            if nodes[node, 1] == node + 1:
                for c in range(nodes[node, 2], nodes[node + 1, 2]):
                    if ids[c] >= best:
                        break
                    work += 1
                    if holds(points, k * dim, dim, cells, c * width, width):
                        best = ids[c]
                        break
            node += 1
        found[k] = best if best < none else -1
    return work
