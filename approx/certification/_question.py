"""What a witness has to show: bounds of |F - f| cell by cell, and of |f - L| where no cell is sure to hold a point."""

from __future__ import annotations

import functools
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
            if isinstance(part, Box):
                found &= ((lower <= part.upper) & (upper >= part.lower)).all(axis=1)
            else:
                gap = np.maximum(np.maximum(lower - part.center, part.center - upper), 0.0)
                found &= ~(norm(gap) > part.radius * (1 + (len(part.center) + 8) * _ULP))
        return found

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
            alive = cells.radii > 0
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
            sure = (lower <= upper).all(axis=1)
            low, high = self.enclosure.range(lower[sure], upper[sure])
        bounds[sure] = self._size(high - self.values[sure], self.values[sure] - low)
        return bounds

    def outside_on_boxes(self, lower: Array, upper: Array) -> Array:
        """(k,) bounds of |f - affine| on boxes (k, n)."""
        low, high = self.enclosure.residual_range(lower, upper, self.affine)
        return self._size(high, -low)

    def outside_on_balls(self, centers: Array, radii: Array) -> Array:
        """(k,) bounds of |f - affine| on the part of balls, (k, n) and (k,), that lies in the domain."""
        low, high = self.enclosure.range_on_balls(centers, radii, self.domain, self.affine)
        return self._size(high, -low)

    def outside_at(self, points: Array) -> Array:
        """(k,) |f - affine| at points (k, n), about."""
        return norm(np.abs(self.enclosure.target(points) - self.affine(points)))

    def _size(self, above: Array, below: Array) -> Array:
        up = 1 + (self.values.shape[1] + 8) * _ULP
        size = (norm(np.maximum(np.maximum(above, below), 0.0)) * up + self.error) * up
        return np.where(np.isnan(size), np.inf, size)
