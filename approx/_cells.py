"""Cells {x : |A (x - c)| < 1} as one table, the test that decides whether one holds a point, and boxes around them.

The test is the same plain sum of rounded numbers everywhere, so every way to look for the first cell that holds a
point gives the same answer as trying the cells one by one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic
from numpy.typing import NDArray

from approx._compile import compiled

__all__ = ["common_frame", "holds", "outer_boxes", "prefetch", "table"]

_UNIT = 2.0**-53


def table(centers: NDArray, radii: NDArray | None, shapes: NDArray | None) -> NDArray[np.float64]:
    """(N, n + 1) rows c, r^2 for balls, (N, n + n^2 + 1) rows c, A, 0 for ellipsoids."""
    if shapes is None:
        assert radii is not None, "cells are balls or ellipsoids"
        return np.concatenate([centers, np.square(radii)[:, None]], axis=1)
    cells, dim = centers.shape
    return np.concatenate([centers, np.reshape(shapes, (cells, dim * dim)), np.zeros((cells, 1))], axis=1)


def outer_boxes(
    centers: NDArray, half_extents: NDArray, shapes: NDArray | None, frame: NDArray | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(N, n) lower and upper corners of boxes; `holds` is false for points x outside, its own rounding included.

    frame : an orthogonal matrix Q; the boxes are then in the coordinates x Q, as numpy computes them
    For n below a thousand. Where A is so ill conditioned that its inverse says little, the box is that of a ball.
    """
    half = half_extents * (1 + 1e-12)
    longest = np.sqrt(np.square(half).sum(axis=1, keepdims=True))
    reach = np.abs(centers).max(axis=1, keepdims=True) + longest
    if shapes is not None and len(shapes):
        dim = centers.shape[1]
        if frame is not None:
            half = np.sqrt(np.square(frame.T @ np.linalg.inv(shapes)).sum(axis=2)) * (1 + 1e-12)
            centers = centers @ frame
        condition = np.sqrt(np.square(shapes).sum(axis=(1, 2)))[:, None] * longest
        # |A (x - c)| is computed to dim^2 u |A| |x - c|, and the half extents come from a computed inverse.
        rounding = 16 * dim * dim * _UNIT * condition
        half = (half + rounding * longest) * (1 + rounding)
        if frame is not None:
            half = half + 8 * dim * dim * _UNIT * (reach + rounding * longest)
    with np.errstate(over="ignore"):
        half = half + 8 * _UNIT * (np.abs(centers) + half)
        return centers - half, centers + half


def common_frame(shapes: NDArray) -> NDArray[np.float64]:
    """(n, n) an orthogonal matrix whose columns are the axes that the ellipsoids have in common, as far as they do."""
    scaled = shapes / np.sqrt(np.square(shapes).sum(axis=(1, 2)))[:, None, None]
    return np.linalg.eigh(np.einsum("kba,kbc->ac", scaled, scaled))[1]


@compiled
def holds(points, p, dim, cells, c, width):  # pragma: no cover - compiled
    """Whether the cell of `width` numbers from cells[c] on holds the point from points[p] on; both arrays are flat."""
    total = 0.0
    if width == dim + 1:
        for a in range(dim):
            offset = points[p + a] - cells[c + a]
            total += offset * offset
        return total < cells[c + dim]
    entries = c + dim
    for _ in range(dim):
        image = 0.0
        for b in range(dim):
            image += cells[entries] * (points[p + b] - cells[c + b])
            entries += 1
        total += image * image
    return total < 1.0


@intrinsic
def prefetch(typing: Any, array: Any, index: Any) -> tuple[Any, Any]:
    """Ask for the cache line of entry `index` of a one-dimensional array; any index is allowed."""

    def emit(context, builder, signature, values):
        data = context.make_array(signature.args[0])(context, builder, values[0]).data
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        ask = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        place = builder.bitcast(builder.gep(data, [values[1]]), byte)
        builder.call(ask, [place, number(0), number(3), number(1)])
        return context.get_dummy_value()

    return types.void(array, types.intp), emit
