"""Multilinear interpolation of gridded values, with its exact Lipschitz constant and its range on boxes."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import RegularGridInterpolator

__all__ = ["GridInterpolant"]

Array = NDArray[np.float64]
_CHUNK = 1 << 18
_KEPT = 1 << 24  # numbers kept in window tables


@dataclass(frozen=True, eq=False)
class GridInterpolant:
    """The multilinear interpolant of values (k1, ..., kn, m) at the nodes axes[0] x ... x axes[n-1]; NaN outside.

    axes : n increasing arrays of lengths k1, ..., kn >= 2.
    """

    axes: tuple[Array, ...]
    values: Array
    _parts: list[RegularGridInterpolator] = field(init=False, repr=False)
    _tables: dict[tuple[int, ...], tuple[Array, Array]] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        # One interpolator per component: scipy's compiled path for two dimensions takes scalar values only.
        parts = [
            RegularGridInterpolator(self.axes, np.ascontiguousarray(part), bounds_error=False, fill_value=np.nan)
            for part in np.moveaxis(self.values, -1, 0)
        ]
        object.__setattr__(self, "_parts", parts)

    def __call__(self, x: Array) -> Array:
        """x (k, n) -> (k, m)."""
        return np.stack([part(x) for part in self._parts], axis=1)

    def lipschitz(self) -> float:
        """max over cells of the spectral norm of the Jacobian at the cell's corners.

        That is exact: along a coordinate line inside a cell the Jacobian is affine in the coordinate, so its norm is
        convex there and is largest at an end; coordinate by coordinate, at a corner. A continuous function whose
        Jacobian is at most L on every cell of a convex box has Lipschitz constant L.
        """
        n = len(self.axes)
        slopes = []
        for i, axis in enumerate(self.axes):
            shape = [1] * self.values.ndim
            shape[i] = -1
            slopes.append(np.diff(self.values, axis=i) / np.diff(axis).reshape(shape))
        if not all(np.isfinite(slope).all() for slope in slopes):
            return np.inf
        largest = 0.0
        for corner in itertools.product((0, 1), repeat=n):
            at = []
            for i, slope in enumerate(slopes):  # the slope along axis i at a corner is that of the edge through it
                sides = [slice(b, b + len(a) - 1) for b, a in zip(corner, self.axes, strict=True)]
                sides[i] = slice(None)
                at.append(slope[tuple(sides)].reshape(-1, self.values.shape[-1]))
            jacobian = np.stack(at, axis=-1)
            for start in range(0, len(jacobian), _CHUNK):
                largest = max(largest, float(spectral_norms(jacobian[start : start + _CHUNK]).max()))
        return largest * (1 + 1e-12)  # rounding of the differences

    def enclose(self, lower: Array, upper: Array) -> tuple[Array, Array]:
        """Range on boxes (k, n), cut to the grid: exact for a box with at most one grid plane per axis inside it, and
        otherwise the range of the nodes of all cells it touches. A box outside the grid gets the range at the nearest
        face."""
        first = np.array([axis[0] for axis in self.axes])
        last = np.array([axis[-1] for axis in self.axes])
        lower, upper = np.clip(lower, first, last), np.clip(upper, first, last)
        begin = np.empty(lower.shape, dtype=np.int64)  # last node at or below the box, first node at or above it
        end = np.empty_like(begin)
        for i, axis in enumerate(self.axes):
            begin[:, i] = np.searchsorted(axis, lower[:, i], side="right") - 1
            end[:, i] = np.searchsorted(axis, upper[:, i], side="left")
        low = np.empty((len(lower), self.values.shape[-1]))
        high = np.empty_like(low)
        small = (end - begin <= 2).all(axis=1)
        if small.any():
            low[small], high[small] = self._small_range(lower[small], upper[small], begin[small])
        if not small.all():
            low[~small], high[~small] = self._node_range(begin[~small], end[~small])
        slack = 1e-12 * max(1e-300, float(np.abs(self.values).max()))
        return low - slack, high + slack

    def _small_range(self, lower: Array, upper: Array, begin: NDArray[np.int64]) -> tuple[Array, Array]:
        """Each cell's part of the box is a box, on which a multilinear function is extreme at a corner."""
        stops = []
        for i, axis in enumerate(self.axes):
            plane = axis[np.minimum(begin[:, i] + 1, len(axis) - 1)]
            stops.append((lower[:, i], np.clip(plane, lower[:, i], upper[:, i]), upper[:, i]))
        low = np.full((len(lower), self.values.shape[-1]), np.inf)
        high = -low
        for corner in itertools.product(*stops):
            value = self(np.stack(corner, axis=1))
            low = np.minimum(low, value)
            high = np.maximum(high, value)
        return low, high

    def _node_range(self, begin: NDArray[np.int64], end: NDArray[np.int64]) -> tuple[Array, Array]:
        """Range of the nodes begin..end (inclusive): windows of 2^p nodes, two per axis, cover each index box."""
        power = np.floor(np.log2(end - begin + 1)).astype(np.int64)
        low = np.empty((len(begin), self.values.shape[-1]))
        high = np.empty_like(low)
        for key in np.unique(power, axis=0):
            rows = np.flatnonzero((power == key).all(axis=1))
            smallest, largest = self._window_table(tuple(int(p) for p in key))
            starts = [(begin[rows, i], end[rows, i] + 1 - (1 << int(p))) for i, p in enumerate(key)]
            at = [tuple(choice) for choice in itertools.product(*starts)]
            low[rows] = np.minimum.reduce([smallest[a] for a in at])
            high[rows] = np.maximum.reduce([largest[a] for a in at])
        return low, high

    def _window_table(self, key: tuple[int, ...]) -> tuple[Array, Array]:
        """(min, max) of the values over the window of 2^key[i] nodes per axis that starts at each node."""
        if key not in self._tables:
            tables = []
            for reduce in (np.minimum, np.maximum):
                table = self.values
                for i, power in enumerate(key):
                    for step in range(power):
                        moved = np.moveaxis(table, i, 0)
                        table = np.moveaxis(reduce(moved[: -(1 << step)], moved[1 << step :]), 0, i)
                tables.append(table)
            while self._tables and (len(self._tables) + 1) * self.values.size > _KEPT:
                self._tables.pop(next(iter(self._tables)))
            self._tables[key] = (tables[0], tables[1])
        return self._tables[key]


def spectral_norms(matrices: Array) -> Array:
    """(k, m, n) -> (k,) largest singular values; Euclidean norms where m or n is 1."""
    if 1 in matrices.shape[1:]:
        return np.linalg.norm(matrices.reshape(len(matrices), -1), axis=1)
    return np.linalg.norm(matrices, 2, axis=(1, 2))
