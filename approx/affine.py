"""Affine maps x -> A x + b between coordinate spaces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from approx import _checks

__all__ = ["AffineMap"]


@dataclass(frozen=True, eq=False)
class AffineMap:
    """x -> matrix @ x + offset, from R^n to R^m.

    Parameters: matrix (m, n) and offset (m,), finite, float64. Raises ValueError or TypeError otherwise.

    >>> AffineMap([[1.0, 2.0]], [0.5])([[1.0, 1.0], [0.0, 0.0]])
    array([[3.5],
           [0.5]])
    """

    matrix: NDArray[np.float64]
    offset: NDArray[np.float64]

    def __init__(self, matrix: ArrayLike, offset: ArrayLike):
        a = _checks.finite_array("AffineMap", "matrix", matrix, (None, None)).copy()
        b = _checks.finite_array("AffineMap", "offset", offset, (a.shape[0],)).copy()
        a.setflags(write=False)
        b.setflags(write=False)
        object.__setattr__(self, "matrix", a)
        object.__setattr__(self, "offset", b)

    @classmethod
    def constant(cls, value: ArrayLike, dim_in: int) -> AffineMap:
        """The map with the same value, (m,), at every point of R^dim_in."""
        offset = np.atleast_1d(_checks.real_array("AffineMap.constant", "value", value))
        return cls(np.zeros((offset.shape[0], _checks.count("AffineMap.constant", "dim_in", dim_in))), offset)

    @property
    def dim_in(self) -> int:
        return self.matrix.shape[1]

    @property
    def dim_out(self) -> int:
        return self.matrix.shape[0]

    @property
    def is_constant(self) -> bool:
        return not self.matrix.any()

    @property
    def lipschitz(self) -> float:
        """The spectral norm of the matrix."""
        return float(np.linalg.norm(self.matrix, 2)) if self.matrix.size else 0.0

    def __call__(self, x: ArrayLike) -> NDArray[np.float64]:
        points = _checks.points("AffineMap", "x", x, self.dim_in)
        result = np.empty((*points.shape[:-1], self.dim_out))
        result[:] = self.offset
        for j in range(self.dim_in):  # a matrix product would round a point differently in another batch
            result += points[..., j, None] * self.matrix[:, j]
        return result
