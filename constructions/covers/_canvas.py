"""What is painted and what is not: samples of a region, and the cells that lie on it so far.

Samples are the nodes of a grid and, for every cell, the exposed points where fine grid lines cross its boundary. The
second kind makes the unpainted region known right up to the boundaries of the cells, so a cell that is put beneath
the others is judged by what it will really show.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from approx.domains import Ball, Box
from constructions.covers._blocks import curve
from constructions.covers._held import held, holds, within

__all__ = ["Canvas"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
_EDGE_WEIGHT = 0.05  # of a boundary sample, in grid nodes


class Canvas:
    """A box or ball of R^n with cells {x : |A_i (x - c_i)| < 1}, the first on top.

    f : (k, n) -> (k, m), asked at points of the domain only
    nodes : grid nodes per axis
    lines : grid lines, of which each carries the crossings with boundaries, per spacing of the nodes
    walled : no cell may reach beyond the bounding box; else cells end with the domain

    points, values : (k, n) and (k, m) the samples; grid nodes first, `grid` of them
    done : (k,) samples that some cell holds, or that lie outside the domain
    wall : (k,) samples that no cell may hold
    weight : (k,) how much of the region a sample stands for
    places : (k,) along a curve that keeps neighbours together
    """

    def __init__(
        self, f: Callable[[Array], Array], domain: Box | Ball, nodes: NDArray[np.int64], lines: int, *, walled: bool
    ):
        box = domain.bounding_box()
        self.f, self.domain, self.walled = f, domain, walled
        self.lower, self.upper = box.lower, box.upper
        self.shape = tuple(int(k) for k in nodes)
        self.spacing = float((box.widths / (nodes - 1)).max())
        ends = list(zip(box.lower, box.upper, nodes, strict=True))
        axes = [np.linspace(a, b, k) for a, b, k in ends]
        self._lines = [np.linspace(a, b, (k - 1) * lines + 1) for a, b, k in ends]
        points = _product(axes)
        self.grid, n = points.shape
        outside = ~domain.contains(points)
        values = f(domain.project(points) if outside.any() else points)
        done, wall = outside, np.zeros(self.grid, bool)
        if walled:
            rim = np.ones(self.shape, bool)
            rim[(slice(1, -1),) * n] = False
            wall, done = outside | rim.ravel(), wall
        weight, places = np.ones(self.grid), curve(points, box.lower, box.upper)
        self._rows: list[NDArray] = [points, values, done, wall, weight, places]
        self._show(self.grid)
        self.count = 0
        self._centers, self._shapes = np.empty((64, n)), np.empty((64, n, n))

    @property
    def dim(self) -> int:
        return len(self.shape)

    @property
    def centers(self) -> Array:
        return self._centers[: self.count]

    @property
    def shapes(self) -> Array:
        return self._shapes[: self.count]

    def split(self, middle: Array, radius: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(bad, good): indices of the open samples that a cell with values within `radius` of `middle` must miss, as
        far as a connected cell could meet them first, and of those that it may hold."""
        close = within(self.values, middle, radius) & ~self.wall
        bad, good = ~(self.done | close), close & ~self.done
        nodes = bad[: self.grid].reshape(self.shape)
        met = np.zeros(self.shape, bool)
        for axis in range(self.dim):
            after = (slice(None),) * axis + (slice(1, None),)
            before = (slice(None),) * axis + (slice(None, -1),)
            met[after] |= ~nodes[before]
            met[before] |= ~nodes[after]
        bad[: self.grid] = (nodes & met).ravel()
        return np.flatnonzero(bad), np.flatnonzero(good)

    def exposed(self, center: Array, shape: Array) -> tuple[Array, Mask]:
        """Boundary points (k, n) of a cell, in the domain and on grid lines, that no cell holds; and (k,) whether they
        lie on a wall."""
        points = self._crossings(center, shape)
        points = points[~held(points, self._centers, self._shapes, self.count)]
        if not self.walled:
            return points, np.zeros(len(points), bool)
        outside = ((points <= self.lower) | (points >= self.upper)).any(axis=1)
        return self.domain.project(points), outside | ~self.domain.contains(points)

    def paint(self, center: Array, shape: Array, edge: Array, edge_values: Array) -> Mask:
        """Put a cell beneath all others; `edge` (k, n) its exposed boundary. (K,) which samples that newly holds."""
        if self.count == len(self._centers):
            self._centers = np.concatenate([self._centers, np.empty_like(self._centers)])
            self._shapes = np.concatenate([self._shapes, np.empty_like(self._shapes)])
        self._centers[self.count], self._shapes[self.count] = center, shape
        self.count += 1
        newly = np.empty(len(self.points), bool)
        holds(self.points, self._centers, self._shapes, self.count - 1, self.done, newly)
        self.done |= newly
        self._edge = edge, edge_values
        return newly

    def trim(self) -> None:
        """Take up the last cell's exposed boundary as samples, and drop those that are painted."""
        edge, values = self._edge
        kept = self.grid + np.flatnonzero(~self.done[self.grid :])
        middle, stop = self.grid + len(kept), self.grid + len(kept) + len(edge)
        fresh = edge, values, False, False, _EDGE_WEIGHT, curve(edge, self.lower, self.upper)
        for i, (row, new) in enumerate(zip(self._rows, fresh, strict=True)):
            moved = row[kept]
            if len(row) < stop:
                self._rows[i] = np.concatenate([row, np.empty((stop, *row.shape[1:]), row.dtype)])
            self._rows[i][self.grid : middle], self._rows[i][middle:stop] = moved, new
        self._show(stop)

    def _show(self, count: int) -> None:
        """There are so many samples, and room for more."""
        self.points, self.values, self.done, self.wall, self.weight, self.places = (row[:count] for row in self._rows)

    def _crossings(self, center: Array, shape: Array) -> Array:
        """Where the boundary of the cell crosses the grid lines."""
        n, form, found = self.dim, shape.T @ shape, []
        reach = np.linalg.norm(np.linalg.inv(shape), axis=1)  # of the cell, along every axis
        ends = zip(self._lines, center - reach, center + reach, strict=True)
        lines = [line[np.searchsorted(line, low) : np.searchsorted(line, high, "right")] for line, low, high in ends]
        for axis in range(n):
            rest = [i for i in range(n) if i != axis]
            base = _product([lines[i] for i in rest]) if rest else np.empty((1, 0))
            offset = base - center[rest]
            # form[axis, axis] s^2 + 2 half s + rest = 0 for the coordinate s along the line, from the centre
            half = offset @ form[rest, axis]
            least = np.einsum("ki,ij,kj->k", offset, form[np.ix_(rest, rest)], offset) - 1
            root = half * half - form[axis, axis] * least
            real = root > 0
            half, root = half[real], np.sqrt(root[real])
            for sign in (-1.0, 1.0):
                points = np.insert(base[real], axis, center[axis] + (sign * root - half) / form[axis, axis], axis=1)
                found.append(points)
        points = np.concatenate(found)
        if self.walled:
            return points
        return points[self.domain.contains(points)]


def _product(axes: list[Array]) -> Array:
    """(k, n) all combinations."""
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes))
