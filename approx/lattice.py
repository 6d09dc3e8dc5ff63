"""The lattice A_n*: the thinnest lattice cover of R^n by equal balls for n <= 5, and near the best known beyond.

Source: Conway and Sloane, Sphere Packings, Lattices and Groups, chapter 4, section 6.6. A_1* is the interval cover,
A_2* the hexagonal lattice, A_3* the body-centred cubic one. Thinner lattices are known for n = 6, 7 and 8 at least.

Standard scaling: the projections of e_1, ..., e_n in R^(n+1) along (1, ..., 1) are a basis, with Gram matrix
I - J/(n+1), determinant 1/(n+1), minimal norm n/(n+1) and covering radius sqrt(n (n+2) / (12 (n+1))).
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from approx import _checks
from approx.domains import Ball, Box

__all__ = ["Lattice", "ball_volume"]

Array = NDArray[np.float64]
_ROUNDING = 1e-9  # relative slack of comparisons: far above rounding, far below the overlap of cells


@dataclass(frozen=True)
class Lattice:
    """A_n* scaled to a covering radius: every point of R^dim lies within `covering_radius` of a lattice point.

    Raises ValueError or TypeError for dim < 1 or a radius that is not positive and finite.

    >>> hexagonal = Lattice(2, 1.0)
    >>> round(hexagonal.thickness, 4), round(hexagonal.minimal_distance, 4)
    (1.2092, 1.7321)
    >>> len(hexagonal.points(Ball([0.0, 0.0], 5.0)))
    43
    """

    dim: int
    covering_radius: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "dim", _checks.count("Lattice", "dim", self.dim))
        radius = _checks.positive("Lattice", "covering_radius", self.covering_radius)
        object.__setattr__(self, "covering_radius", radius)

    @property
    def scale(self) -> float:
        """The factor by which the standard scaling is enlarged."""
        n = self.dim
        return self.covering_radius / math.sqrt(n * (n + 2) / (12 * (n + 1)))

    @functools.cached_property
    def basis(self) -> Array:
        """(n, n) lower-triangular matrix whose rows are a basis: the points are k @ basis, k integer."""
        n = self.dim
        return self.scale * np.linalg.cholesky(np.eye(n) - np.full((n, n), 1 / (n + 1)))

    @property
    def minimal_distance(self) -> float:
        """Distance between nearest lattice points: scale * sqrt(n/(n+1))."""
        return self.scale * math.sqrt(self.dim / (self.dim + 1))

    @property
    def thickness(self) -> float:
        """Volume of a covering ball over the volume per lattice point, det(basis)."""
        n = self.dim
        unit = Lattice(n, 1.0).scale
        return ball_volume(n) * math.sqrt(n + 1) / unit**n

    @functools.cached_property
    def deep_hole(self) -> Array:
        """(n,) a point at distance `covering_radius` from the lattice.

        The Voronoi cell is the permutohedron; its vertices are the permutations of (n/2, n/2 - 1, ..., -n/2)/(n+1)
        in R^(n+1), all of them deep holes. This one has the coordinates (n, n-1, ..., 1)/(n+1) in the basis.
        """
        n = self.dim
        return (np.arange(n, 0, -1) / (n + 1)) @ self.basis

    def points(self, domain: Box | Ball, reach: float | None = None, origin: ArrayLike | None = None) -> Array:
        """(k, n) the points of origin + lattice within `reach` (by default the covering radius) of the domain.

        The covering radius gives every point whose Voronoi cell meets the domain. `origin` is (n,), by default the
        centre of the domain's bounding box. Points come in serpentine order, so that neighbours in the list are near
        each other. The basis is triangular, so coordinates are settled one after another, the last one first, and a
        branch ends as soon as the settled coordinates are too far from those of the domain.
        """
        reach = self.covering_radius if reach is None else reach
        box = domain.bounding_box()
        start = box.lower + box.widths / 2 if origin is None else np.asarray(origin, dtype=np.float64)
        low, high = box.lower - reach, box.upper + reach
        found = start[None, :]
        for axis in range(self.dim - 1, -1, -1):
            step = self.basis[axis, axis]
            first = np.ceil((low[axis] - found[:, axis]) / step - _ROUNDING)
            last = np.floor((high[axis] - found[:, axis]) / step + _ROUNDING)
            counts = np.maximum(last - first + 1, 0).astype(np.int64)
            parent = np.repeat(np.arange(len(found)), counts)
            along = np.arange(len(parent)) - np.repeat(np.cumsum(counts) - counts, counts)
            turn = parent % 2 == 1
            factor = np.where(turn, last[parent] - along, first[parent] + along)
            found = found[parent] + factor[:, None] * self.basis[axis]
            near = _shadow(domain, axis).distance(found[:, axis:]) <= reach * (1 + _ROUNDING)
            found = found[near]
        return found

    def predicted_count(self, domain: Box | Ball, reach: float | None = None) -> float:
        """The mean of len(points(domain, reach)) over all origins: the volume of the domain grown by `reach`, over the
        volume per lattice point. inf where that overflows.

        Box of widths w (Steiner's formula): sum over k of e_k(w) reach^(n-k) V_(n-k), e_k the elementary symmetric
        polynomials and V_j the volume of the unit ball of R^j. Ball of radius R: (R + reach)^n V_n.
        """
        n = self.dim
        reach = self.covering_radius if reach is None else reach
        with np.errstate(over="ignore", invalid="ignore"):
            if isinstance(domain, Ball):
                volume = ball_volume(n) * np.float64((domain.radius + reach) / self.covering_radius) ** n
            else:
                symmetric = np.ones(1)
                for width in domain.widths / self.covering_radius:
                    symmetric = np.append(symmetric, 0.0) + np.append(0.0, symmetric * width)
                grown = np.float64(reach / self.covering_radius) ** np.arange(n, -1, -1)
                volume = np.float64(symmetric @ (grown * [ball_volume(n - k) for k in range(n + 1)]))
            count = volume * math.sqrt(n + 1) / Lattice(n, 1.0).scale ** n
        return float(count) if np.isfinite(count) else math.inf


def ball_volume(dim: int) -> float:
    """Volume of the unit ball of R^dim, pi^(dim/2) / Gamma(dim/2 + 1); 1 for dim = 0.

    >>> round(ball_volume(3), 6)
    4.18879
    """
    return math.exp(0.5 * dim * math.log(math.pi) - math.lgamma(dim / 2 + 1))


def _shadow(domain: Box | Ball, axis: int) -> Box | Ball:
    """The domain projected to the coordinates from `axis` on."""
    if axis == 0:
        return domain
    if isinstance(domain, Ball):
        return Ball(domain.center[axis:], domain.radius)
    return Box(domain.lower[axis:], domain.upper[axis:])
