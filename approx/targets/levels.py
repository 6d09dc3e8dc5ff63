"""Targets whose level sets are known: f(x) = g(t(x)) for one real quantity t.

Then one profile, t -> g(t), says all about f, in any dimension: a construction can follow the level sets, and a
certificate needs to look at numbers t instead of points x. What is declared here is used to choose cells; certificates
prove it anew.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import scipy.optimize
from numpy.typing import ArrayLike, NDArray

from approx import _checks
from approx.domains import Ball, Box

__all__ = ["EllipsoidLevels", "Levels", "NoSegment", "PlaneLevels"]

Array = NDArray[np.float64]
_CORNER_DIMS = 14  # a box has 2^n corners
_ALIGNED = 1e-12


class NoSegment(ValueError):
    """The points of a region where t is least and largest are not known."""


@dataclass(frozen=True, eq=False)
class EllipsoidLevels:
    """t(x) = |A (x - c)|: the level sets of f are spheres (A = I) or ellipsoids about c.

    center : (n,) c; matrix : (n, n) A, invertible; None for I
    Raises ValueError for entries that are not finite, shapes that do not agree and singular matrices.

    >>> float(EllipsoidLevels([1.0, 0.0])([4.0, 4.0]))
    5.0
    """

    center: Array
    matrix: Array | None = None

    def __init__(self, center: ArrayLike, matrix: ArrayLike | None = None):
        call = "EllipsoidLevels"
        point = _checks.finite_array(call, "center", center, (None,))
        n = _checks.count(call, "dimension", point.shape[0])
        if matrix is not None:
            matrix = _checks.finite_array(call, "matrix", matrix, (n, n))
            sizes = np.linalg.svd(matrix, compute_uv=False)
            if not sizes[-1] > 1e-12 * sizes[0]:
                received = f"a matrix with singular values {sizes}"
                action = "Use PlaneLevels for a function of one direction."
                raise ValueError(_checks.message(call, received, "an invertible matrix", action))
        object.__setattr__(self, "center", point)
        object.__setattr__(self, "matrix", matrix)

    @property
    def dim(self) -> int:
        return self.center.shape[0]

    @property
    def gauge(self) -> Array:
        """(n, n) the matrix A, also where it is I."""
        return np.eye(self.dim) if self.matrix is None else self.matrix

    def __call__(self, x: ArrayLike) -> Array:
        """x (..., n) -> t (...)."""
        offset = _checks.points("EllipsoidLevels", "x", x, self.dim) - self.center
        return np.linalg.norm(offset if self.matrix is None else offset @ self.matrix.T, axis=-1)

    def ray(self, most: float) -> tuple[Array, Array]:
        """The centre, and a point with t = most."""
        end = np.eye(self.dim)[0]
        end = end if self.matrix is None else np.linalg.solve(self.matrix, end)
        return self.center, self.center + most * end

    def segment(self, region: Box | Ball) -> tuple[Array, Array]:
        """Points of the region where t is least and largest; t is monotone between them, for it is convex.

        Raises NoSegment for ellipsoids in balls about another point, and for turned ones in a box of many dimensions.
        """
        gram = self.gauge.T @ self.gauge
        size = np.abs(gram).max()
        diagonal = bool((np.abs(gram - np.diag(np.diag(gram))) <= _ALIGNED * size).all())
        if isinstance(region, Ball):
            round_ = diagonal and bool(np.ptp(np.diag(gram)) <= _ALIGNED * size)
            away = region.center - self.center
            distance = float(np.linalg.norm(away))
            if round_:
                direction = away / distance if distance else np.eye(self.dim)[0]
            elif distance <= _ALIGNED * region.radius:
                direction = np.linalg.eigh(gram)[1][:, -1]
            else:
                raise NoSegment(f"its ellipsoids are not concentric with the {region}")
            return region.project(self.center), region.center + region.radius * direction
        if diagonal:
            nearest = region.project(self.center)
            farther = np.abs(region.upper - self.center) >= np.abs(region.lower - self.center)
            return nearest, np.where(farther, region.upper, region.lower)
        if self.dim > _CORNER_DIMS:
            raise NoSegment(f"a box in more than {_CORNER_DIMS} dimensions has too many corners")
        corners = np.array(list(itertools.product(*zip(region.lower, region.upper, strict=True))))
        nearest = self.center
        if not region.contains(nearest):
            found = scipy.optimize.lsq_linear(self.gauge, self.gauge @ self.center, (region.lower, region.upper))
            nearest = region.project(found.x)
        return nearest, corners[int(np.argmax(self(corners)))]


@dataclass(frozen=True, eq=False)
class PlaneLevels:
    """t(x) = w.x: f depends on one direction only, a ridge.

    direction : (n,) w, not zero
    Raises ValueError for a direction that is zero or not finite.

    >>> float(PlaneLevels([1.0, 0.5])([2.0, 2.0]))
    3.0
    """

    direction: Array

    def __init__(self, direction: ArrayLike):
        call = "PlaneLevels"
        vector = _checks.finite_array(call, "direction", direction, (None,))
        _checks.count(call, "dimension", vector.shape[0])
        if not vector.any():
            raise ValueError(_checks.message(call, "a direction of length 0", "a direction", "Pass w of t = w.x."))
        object.__setattr__(self, "direction", vector)

    @property
    def dim(self) -> int:
        return self.direction.shape[0]

    def __call__(self, x: ArrayLike) -> Array:
        """x (..., n) -> t (...)."""
        return _checks.points("PlaneLevels", "x", x, self.dim) @ self.direction

    def segment(self, region: Box | Ball) -> tuple[Array, Array]:
        """Points of the region where t is least and largest."""
        w = self.direction
        if isinstance(region, Ball):
            step = region.radius * w / np.linalg.norm(w)
            return region.center - step, region.center + step
        return np.where(w >= 0, region.lower, region.upper), np.where(w >= 0, region.upper, region.lower)


Levels = EllipsoidLevels | PlaneLevels
