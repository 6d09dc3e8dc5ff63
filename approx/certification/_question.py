"""What a witness has to show: bounds of |F - f| cell by cell, and of |f - L| where no cell is sure to hold a point."""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from approx.affine import AffineMap
from approx.certification._boxes import norm
from approx.certification.cells import Cells
from approx.certification.enclosures import Enclosure
from approx.domains import Ball, Box

__all__ = ["Question"]

Array = NDArray[np.float64]
_ULP = 2.0**-52
_TOGETHER = (256, 16, 1)  # cells whose boxes are halved together,
_BOXES = 1 << 16  # as long as there are no more than that


@dataclass(frozen=True, eq=False)
class Question:
    """F(x) = y_i for the first cell i that holds x, else affine(x): is |F - f| small on the domain?

    cells, values (N, m), affine, error : F, with every value and the affine map off by at most `error`
    enclosure : bounds of f
    core : the points where no cell is sure to help, and |f - affine| is not known to be small, lie in all of these
    domain : where |F - f| matters; None for R^n
    """

    cells: Cells
    values: Array
    affine: AffineMap
    error: float
    enclosure: Enclosure
    core: tuple[Box | Ball, ...]
    domain: Box | Ball | None

    @functools.cached_property
    def box(self) -> tuple[Array, Array]:
        """Lower and upper corner of a box that holds the core, rounded outward."""
        ends = []
        for part in self.core:
            box = part.bounding_box()
            margin = 0.0 if isinstance(part, Box) else (np.abs(part.center) + part.radius) * (2 * _ULP)
            ends.append((box.lower - margin, box.upper + margin))
        lower, upper = (np.array(end) for end in zip(*ends, strict=True))
        return lower.max(axis=0), np.maximum(lower.max(axis=0), upper.min(axis=0))

    def in_core(self, lower: Array, upper: Array) -> NDArray[np.bool_]:
        """(k,) False where the boxes (k, n) surely miss the core."""
        found = np.ones(len(lower), np.bool_)
        for part in self.core:
            found &= self._meets(part, lower, upper)
        return found

    @staticmethod
    def _meets(part: Box | Ball, lower: Array, upper: Array) -> NDArray[np.bool_]:
        """(k,) False where the boxes (k, n) surely miss it."""
        if isinstance(part, Box):
            return np.all((lower <= part.upper) & (upper >= part.lower), axis=1)
        gap = np.maximum(np.maximum(lower - part.center, part.center - upper), 0.0)
        return ~(norm(gap) > part.radius * (1 + (len(part.center) + 8) * _ULP))

    def clip(self, lower: Array, upper: Array) -> tuple[Array, Array]:
        """The boxes (k, n), cut to the box around the core."""
        return np.clip(lower, *self.box), np.clip(upper, *self.box)

    def on_cells(self) -> Array:
        """(N,) bounds of |y_i - f| on the part of each cell, with its collar, that lies in the domain; 0 for cells
        without such a part, inf where nothing is known."""
        cells, domain = self.cells, self.domain
        count, n = len(cells), cells.dim_in
        bounds = np.zeros(count)
        if cells.matrices is None:
            with np.errstate(over="ignore"):
                radii = np.maximum((cells.radii + cells.collars) * (1 + 2 * _ULP), 0.0)
            alive = cells.radii + cells.collars > 0
            if domain is not None:
                margin = (np.abs(cells.offsets).max(axis=1, initial=0.0) + radii) * (n + 16) * _ULP
                alive &= domain.distance(cells.offsets) <= radii + margin
            sure = alive & np.isfinite(radii)
            bounds[alive & ~sure] = np.inf
            low, high = self.enclosure.range_on_balls(cells.offsets[sure], radii[sure], domain)
        else:
            limits = np.full(n, -np.inf), np.full(n, np.inf)
            if domain is not None:
                box = domain.bounding_box()
                limits = np.nextafter(box.lower, -np.inf), np.nextafter(box.upper, np.inf)
            lower, upper = cells.boxes(*limits)
            sure = np.all(lower <= upper, axis=1)
            low, high = self.enclosure.range(lower[sure], upper[sure])
        bounds[sure] = self._size(high - self.values[sure], self.values[sure] - low)
        return bounds

    def sharpened(self, bounds: Array, enough: float, deadline: float) -> Array:
        """The bounds of `on_cells`, improved where they exceed `enough`: the box around such a cell is halved, and what
        misses the cell or the domain is dropped."""
        cells, domain = self.cells, self.domain
        cells, domain = self.cells, self.domain
        limits = np.full(cells.dim_in, -np.inf), np.full(cells.dim_in, np.inf)
        if domain is not None:
            box = domain.bounding_box()
            limits = np.nextafter(box.lower, -np.inf), np.nextafter(box.upper, np.inf)
        lower, upper = cells.boxes(*limits)
        bounds, known = bounds.copy(), (np.isfinite(lower) & np.isfinite(upper)).all(axis=1)
        for together in _TOGETHER:
            bad = np.flatnonzero(known & (bounds > enough))
            for start in range(0, len(bad), together):
                if time.time() > deadline:
                    return bounds
                chosen = bad[start : start + together]
                found = self._halved(lower[chosen], upper[chosen], chosen, enough)
                bounds[chosen] = np.minimum(bounds[chosen], found)
        return bounds

    def _halved(self, lower: Array, upper: Array, cells: NDArray[np.int64], enough: float) -> Array:
        """(k,) bounds of |y_i - f| on these cells and boxes (k, n) around them."""
        _, outer = self.cells.thresholds(lower.min(axis=0), upper.max(axis=0))
        result, of, bounds = np.zeros(len(cells)), np.arange(len(cells)), np.full(len(cells), np.inf)
        while len(of) and len(of) <= _BOXES:
            axis, rows, count = (upper - lower).argmax(axis=1), np.arange(len(of)), len(of)
            middle = lower[rows, axis] / 2 + upper[rows, axis] / 2
            if not ((middle > lower[rows, axis]) & (middle < upper[rows, axis])).any():
                break
            lower, upper, of = (np.concatenate([part, part]) for part in (lower, upper, of))
            upper[rows, axis] = lower[rows + count, axis] = middle
            kept = ~self.cells.miss(lower, upper, cells[of], outer)
            if self.domain is not None:
                kept &= self._meets(self.domain, lower, upper)
            lower, upper, of = lower[kept], upper[kept], of[kept]
            low, high = self.enclosure.range(lower, upper)
            values = self.values[cells[of]]
            bounds = self._size(high - values, values - low)
            open_ = bounds > enough
            np.maximum.at(result, of[~open_], bounds[~open_])
            lower, upper, of, bounds = lower[open_], upper[open_], of[open_], bounds[open_]
        np.maximum.at(result, of, bounds)
        return result

    def outside_on_boxes(self, lower: Array, upper: Array) -> Array:
        """(k,) bounds of |f - affine| on boxes (k, n)."""
        low, high = self.enclosure.residual_range(lower, upper, self.affine)
        return self._size(high, -low)

    def outside_on_balls(self, centers: Array, radii: Array) -> Array:
        """(k,) bounds of |f - affine| on the part of balls, (k, n) and (k,), that lies in the domain."""
        low, high = self.enclosure.range_on_balls(centers, radii, self.domain, self.affine)
        return self._size(high, -low)

    def outside_at(self, points: Array) -> Array:
        """(k,) |f - affine| at points (k, n) or near them, about."""
        points = self.core[0].project(points)  # f may be undefined elsewhere
        return norm(np.abs(self.enclosure.target(points) - self.affine(points)))

    def _size(self, above: Array, below: Array) -> Array:
        up = 1 + (self.values.shape[1] + 8) * _ULP
        size = (norm(np.maximum(np.maximum(above, below), 0.0)) * up + self.error) * up
        return np.where(np.isnan(size), np.inf, size)
