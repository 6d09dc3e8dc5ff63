"""The first of many ordered cells that holds a point, by whichever index needs the least work for the cells at hand.

All of them answer exactly what a scan would: they share its test, and differ in what they pass over.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from approx._bins import Bins
from approx._cells import common_frame, outer_boxes, table
from approx._hierarchy import Hierarchy

__all__ = ["CellIndex"]

_FEW = 24  # tests per point that need no improvement
_PROBES = 512


class CellIndex:
    """An index for cells {x : |A_i (x - c_i)| < 1} (or balls of radius r_i).

    centers (N, n), half_extents (N, n) of the bounding boxes, and either radii (N,) or shapes (N, n, n).
    work : how many cells or boxes are looked at for a point near the cells, on average
    """

    def __init__(
        self,
        centers: NDArray,
        half_extents: NDArray,
        radii: NDArray | None = None,
        shapes: NDArray | None = None,
    ):
        self._index: Bins | Hierarchy | None = None
        self._frame: NDArray | None = None  # the index sees the points turned by it
        self.work = np.inf if len(centers) else 0.0
        if not len(centers):
            return
        cells, probes = table(centers, radii, shapes), _probes(centers, half_extents)
        frames = [None] if shapes is None or shapes.shape[1] == 1 else [None, common_frame(shapes)]
        for frame in frames:
            low, high = outer_boxes(centers, half_extents, shapes, frame)
            for make in (Bins, Hierarchy, _in_order):
                index = make(cells, low, high)
                work = index.find(probes, _turned(probes, frame))[1] / len(probes)
                if work < self.work:
                    self.work, self._index, self._frame = work, index, frame
                if self.work <= _FEW:
                    return

    def find(self, x: NDArray[np.float64]) -> NDArray[np.int64]:
        """x (k, n) float64 -> (k,) index of the first cell that holds each point, -1 where none does."""
        if self._index is None:
            return np.full(len(x), -1, dtype=np.int64)
        points = np.require(x, requirements=["C", "W"])  # read-only arrays would have kernels of their own
        return self._index.find(points, _turned(points, self._frame))[0]


def _in_order(cells: NDArray, low: NDArray, high: NDArray) -> Hierarchy:
    return Hierarchy(cells, low, high, row="order")


def _turned(points: NDArray, frame: NDArray | None) -> NDArray[np.float64]:
    if frame is None:
        return points
    with np.errstate(invalid="ignore"):  # infinite points are in no ellipsoid, wherever they are placed
        return points @ frame


def _probes(centers: NDArray, half_extents: NDArray) -> NDArray[np.float64]:
    """Points in and about the cells' boxes, and others between the centres; always the same ones."""
    rng = np.random.default_rng(0)
    cell = rng.integers(len(centers), size=_PROBES)
    near = centers[cell] + rng.uniform(-1, 1, (_PROBES, centers.shape[1])) * half_extents[cell]
    return np.concatenate([near, rng.uniform(centers.min(axis=0), centers.max(axis=0), near.shape)])
