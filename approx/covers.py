"""Covers: ordered ellipsoids with one value each, on an affine background.

A Step-ReLU construction realises exactly this function: F(x) = y_i for the first i with x in E_i, and
L(x) if no cell holds x.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from approx import _checks
from approx._lookup import CellIndex
from approx.affine import AffineMap
from approx.domains import Ball

__all__ = ["Cover"]

Array = NDArray[np.float64]
_SMALLEST = 1e-150  # radius of a cell, and the reciprocal of the largest


@dataclass(frozen=True, eq=False)
class Cover:
    """Ordered open cells E_i = {x : |A_i (x - c_i)| < 1} with values y_i, and the affine map outside.

    centers : (N, n) cell centres c_i
    values : (N, m) the value y_i painted by each cell
    affine : the affine map used where no cell holds x
    radii : (N,) for balls, A_i = I / radii[i]; exactly one of `radii` and `shapes` is given
    shapes : (N, n, n) invertible matrices A_i for ellipsoids
    strategy : how the cells were chosen
    error_bound : a-priori bound of |F - f| on the region the cover is for; nan if unknown
    overlap : relative amount by which every cell may shrink or shift, in units of its own radius, and the
        cells still cover the region they are for

    Raises ValueError for empty dimensions, shapes that do not agree, non-finite entries, radii <= 0 (or
    beyond 1e-150 and 1e150) or singular matrices. A cover without cells (N = 0) is valid: it is its affine map.

    >>> cover = Cover([[0.0], [1.0]], [[5.0], [7.0]], AffineMap.constant([0.0], 1), radii=[1.0, 1.0])
    >>> cover([[0.5], [1.5], [3.0]]).ravel()
    array([5., 7., 0.])
    """

    centers: Array
    values: Array
    affine: AffineMap
    radii: Array | None
    shapes: Array | None
    strategy: str
    error_bound: float
    overlap: float

    def __init__(
        self,
        centers: ArrayLike,
        values: ArrayLike,
        affine: AffineMap,
        radii: ArrayLike | None = None,
        shapes: ArrayLike | None = None,
        *,
        strategy: str = "by hand",
        error_bound: float = float("nan"),
        overlap: float = 0.0,
    ):
        call = "Cover"
        if not isinstance(affine, AffineMap) or 0 in affine.matrix.shape:
            received = f"affine = {_checks.show(affine)}"
            required = "an AffineMap R^n -> R^m with n, m >= 1"
            raise ValueError(_checks.message(call, received, required, "Build it with AffineMap(A, b)."))
        n, m = affine.dim_in, affine.dim_out
        centers = _checks.finite_array(call, "centers", centers, (None, n))
        cells = centers.shape[0]
        values = _checks.finite_array(call, "values", values, (cells, m))
        if (radii is None) == (shapes is None):
            raise ValueError(_checks.message(call, "radii and shapes", "exactly one of them", "Pass radii= for balls."))
        if radii is not None:
            radii = _checks.finite_array(call, "radii", radii, (cells,))
            outside = (radii < _SMALLEST) | (radii > 1 / _SMALLEST)
            if outside.any():
                i = int(np.argmax(outside))
                required = f"{_SMALLEST:g} <= radius <= {1 / _SMALLEST:g}, so that its square is a number"
                action = "Remove or resize that cell."
                raise ValueError(_checks.message(call, f"radii[{i}] = {radii[i]}", required, action))
        if shapes is not None:
            shapes = _checks.finite_array(call, "shapes", shapes, (cells, n, n))
            singular = np.linalg.svd(shapes, compute_uv=False)
            bad = np.flatnonzero(singular[:, -1] <= 1e-14 * singular[:, 0])
            if len(bad):
                raise ValueError(
                    _checks.message(
                        call,
                        f"shapes[{bad[0]}] with singular values {singular[bad[0]]}",
                        "invertible matrices",
                        "Give the ellipsoid a finite, positive extent in every direction.",
                    )
                )
        for name, array in (("centers", centers), ("values", values), ("radii", radii), ("shapes", shapes)):
            if array is not None:
                array = np.array(array, dtype=np.float64, order="C")
                array.setflags(write=False)
            object.__setattr__(self, name, array)
        facts = {"affine": affine, "strategy": strategy, "error_bound": error_bound, "overlap": overlap}
        for name, fact in facts.items():
            object.__setattr__(self, name, fact)

    def __len__(self) -> int:
        return self.centers.shape[0]

    @property
    def dim_in(self) -> int:
        return self.affine.dim_in

    @property
    def dim_out(self) -> int:
        return self.affine.dim_out

    @property
    def is_balls(self) -> bool:
        return self.radii is not None

    @functools.cached_property
    def matrices(self) -> Array:
        """(N, n, n) the matrices A_i, also for balls."""
        if self.radii is not None:
            return np.eye(self.dim_in) / self.radii[:, None, None]
        assert self.shapes is not None, "exactly one of radii and shapes is given"
        return self.shapes

    @functools.cached_property
    def half_extents(self) -> Array:
        """(N, n) half widths of the cells' bounding boxes."""
        if self.radii is not None:
            return np.broadcast_to(self.radii[:, None], self.centers.shape)
        inverse = np.linalg.inv(self.matrices)
        return np.sqrt((inverse**2).sum(axis=2))

    @functools.cached_property
    def reach(self) -> float:
        """A radius about the origin that holds every cell; 0 without cells."""
        if not len(self):
            return 0.0
        if self.radii is not None:
            return float((np.linalg.norm(self.centers, axis=1) + self.radii).max())
        return float((np.linalg.norm(self.centers, axis=1) + self.largest_radius_each).max())

    @functools.cached_property
    def largest_radius_each(self) -> Array:
        """(N,) the longest semi-axis of every cell."""
        if self.radii is not None:
            return self.radii
        return 1.0 / np.linalg.norm(self.matrices, -2, axis=(1, 2))

    @functools.cached_property
    def _index(self) -> CellIndex:
        return CellIndex(self.centers, self.half_extents, self.radii, self.shapes)

    def find(self, x: ArrayLike) -> NDArray[np.int64]:
        """x : (..., n) -> (...) index of the first cell that holds each point, -1 where none does."""
        points = _checks.points("Cover.find", "x", x, self.dim_in)
        return self._index.find(points.reshape(-1, self.dim_in)).reshape(points.shape[:-1])

    def __call__(self, x: ArrayLike) -> Array:
        """x : (..., n) -> (..., m) the value of the first cell that holds x, else affine(x)."""
        points = _checks.points("Cover", "x", x, self.dim_in)
        cell = self.find(points)
        result = self.affine(points)
        result[cell >= 0] = self.values[cell[cell >= 0]]
        return result

    def boundary_points(self, count: int, seed: int = 0) -> tuple[Array, Array]:
        """`count` quasi-random points of the cells' boundaries: (points (count, n), outward unit normals)."""
        if not len(self) or count == 0:
            return np.empty((0, self.dim_in)), np.empty((0, self.dim_in))
        rng = np.random.default_rng(seed)
        cell = rng.permutation(np.arange(count) % len(self))
        sphere = Ball(np.zeros(self.dim_in), 1.0).sample(count, seed)
        sphere /= np.linalg.norm(sphere, axis=1, keepdims=True)
        if self.radii is not None:
            return self.centers[cell] + self.radii[cell, None] * sphere, sphere
        shapes = self.matrices[cell]
        points = self.centers[cell] + np.linalg.solve(shapes, sphere[:, :, None])[:, :, 0]
        normals = np.einsum("kba,kb->ka", shapes, sphere)
        return points, normals / np.linalg.norm(normals, axis=1, keepdims=True)

    def subset(self, cells: ArrayLike) -> Cover:
        """The cover with only these cells, in this order (an index array or a boolean mask)."""
        pick = np.asarray(cells)
        return replace(
            self,
            centers=self.centers[pick],
            values=self.values[pick],
            radii=None if self.radii is None else self.radii[pick],
            shapes=None if self.shapes is None else self.shapes[pick],
        )

    def __repr__(self) -> str:
        kind = ("ball" if self.is_balls else "ellipsoid") + ("" if len(self) == 1 else "s")
        return f"Cover({len(self):,} {kind} in R^{self.dim_in}, values in R^{self.dim_out}, strategy={self.strategy!r})"
