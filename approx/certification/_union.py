"""Do several cells together surely hold a box?

Where g_i(x) = |A_i x - u_i|^2 / s_i - 1 < 0 for one of some cells at every x of the box, they hold it. That is so if a
combination with weights w_i >= 0 is negative on the whole box, and with x = z + t, |t_j| <= h_j,

    sum w_i g_i(z + t) <= sum w_i (g_i(z) + |A_i t|^2 / s_i) + 2 sum_j h_j |sum_i w_i (A_i^T (A_i z - u_i))_j / s_i|.

The weights that make the right side least solve a linear program with n + 1 rows. A simplex method proposes weights;
the proof is the evaluation of the right side, rounded upward. Its dual solution is a point of the box that the cells
hold worst. For balls, a box with such a point as a corner is held by the cells around it even if they overlap by
next to nothing there, so boxes are cut at that point.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["MOST", "expanded", "held", "places"]

Array = NDArray[np.float64]

MOST = 24  # cells that are tried together
_PIVOTS = 24


def held(
    lower: Array, upper: Array, starts: NDArray[np.int64], cells: NDArray[np.int32], offsets: Array, matrices: Array,
    inner: Array,
) -> tuple[NDArray[np.int64], Array]:  # fmt: skip
    """Which of its cells is the last that is needed to hold a box?

    lower, upper (k, n): the boxes; starts, cells: the cells of each, 1 to MOST, in compressed rows; offsets, matrices,
    inner: see Cells.refine
    Returns (k,) a number within the row, -1 if the cells do not surely hold the box, and (k, n) the point that they
    then hold worst, NaN where no cell holds the middle of the box.
    """
    middle = lower / 2 + upper / 2
    half = np.maximum(upper - middle, middle - lower) * (1 + 2.0**-50)
    box = np.repeat(np.arange(len(lower)), np.diff(starts))
    some = matrices[cells] if len(matrices) else None
    weights = np.zeros(len(cells))
    with np.errstate(over="ignore", invalid="ignore"):
        constants, gradients, sizes = _measure(middle[box], half[box], offsets[cells], some, inner[cells])
        worst = _weigh(starts, constants, gradients, weights)
        return _prove(starts, constants, gradients, sizes, weights, offsets.shape[1]), middle + half * worst


def expanded(middle: Array, half: Array, offsets: Array, matrices: Array | None) -> tuple[Array, Array, Array]:
    """Of cells on boxes, row by row: the vector A x - u (e, p) at the middle of the box, a bound of |A t| (e, p) for
    |t_j| <= h_j, and half the gradient (e, n) of |A x - u|^2. matrices (e, p, n), None for balls."""
    if matrices is None:
        value = middle - offsets
        return value, half, value
    value = np.einsum("epn,en->ep", matrices, middle) - offsets
    return value, np.einsum("epn,en->ep", np.abs(matrices), half), np.einsum("epn,ep->en", matrices, value)


def places(starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of the entries of compressed rows: the number of each within its row."""
    return np.arange(starts[-1]) - np.repeat(starts[:-1], np.diff(starts))


def _measure(
    middle: Array, half: Array, offsets: Array, matrices: Array | None, scale: Array
) -> tuple[Array, Array, Array]:
    """For cells on boxes, row by row: the constant (e,), h_j times the gradient (e, n), and the size (e,) of everything
    that is summed for them. The constant of cells without a bound is inf."""
    usable = (scale > 0.0) & (scale < np.inf)
    scale = np.where(usable, scale, 1.0)
    value, spread, gradients = expanded(middle, half, offsets, matrices)
    total = (value * value + spread * spread).sum(axis=1)
    size = (2 * np.abs(value) * spread).sum(axis=1)
    constants = np.where(usable, total / scale - 1.0, np.inf)
    gradients = np.where((constants < np.inf)[:, None], gradients * half / scale[:, None], 0.0)
    return constants, gradients, (total + size) / scale + 1.0


def _prove(
    starts: NDArray[np.int64], constants: Array, gradients: Array, sizes: Array, weights: Array, rows: int
) -> NDArray[np.int64]:
    """The last cell with a weight of each row, -1 where the combination is not surely negative on the box."""
    used = weights > 0.0
    first, counts = starts[:-1], np.diff(starts)
    total = np.add.reduceat(np.where(used, weights * constants, 0.0), first)
    size = np.add.reduceat(np.where(used, weights * sizes, 0.0), first)
    components = np.add.reduceat(weights[:, None] * gradients, first)
    total += 2.0 * np.abs(components).sum(axis=1)
    last = np.maximum.reduceat(np.where(used, places(starts), -1), first)
    slack = (8 * (gradients.shape[1] + rows + counts) + 64) * 2.0**-52
    return np.where(total + slack * size < 0.0, last, -1)


def _weigh(starts: NDArray[np.int64], constants: Array, gradients: Array, weights: Array) -> Array:
    """Set the weights for which the sum of the constants and of 2 |components of the combined gradient| is about least.
    Returns the dual solution t_j / h_j, (k, n). Rows without a negative constant are left alone, with NaN.

    The linear program starts with all weight on the cell of the least constant. As a + |a| and |a| - a, twice the
    positive and negative parts of a component a, its sign there decides which part is in the first basis.
    """
    first, counts, dim = starts[:-1], np.diff(starts), gradients.shape[1]
    least = np.minimum.reduceat(constants, first)
    worst = np.full((len(counts), dim), np.nan)
    rows = np.flatnonzero(least < 0.0)
    if not len(rows):
        return worst
    place = places(starts)
    best = np.minimum.reduceat(np.where(constants == np.repeat(least, counts), place, MOST), first)[rows]
    leading = gradients[first[rows] + best]
    signs = np.where(leading > 0.0, 1.0, -1.0)

    # Columns: the weights, the part of each component that is not in the first basis, the part that is, the right
    # side. Rows: the components, the sum of the weights, the costs.
    entries = np.flatnonzero(np.repeat(least < 0.0, counts))
    box, place, most = np.repeat(np.arange(len(rows)), counts[rows]), place[entries], int(counts[rows].max())
    tableaus = np.zeros((len(rows), dim + 2, most + 2 * dim + 1))
    columns = signs[box] * (leading[box] - gradients[entries])
    tableaus[box, :dim, place] = columns
    tableaus[box, dim, place] = 1.0
    # inf stays inf: such a column never enters.
    tableaus[box, dim + 1, place] = constants[entries] - least[rows][box] - 2.0 * columns.sum(axis=1)
    axes = np.arange(dim)
    tableaus[:, axes, most + axes], tableaus[:, axes, most + dim + axes] = -1.0, 1.0
    tableaus[:, dim + 1, most : most + dim] = 4.0
    tableaus[:, :dim, -1], tableaus[:, dim, -1] = np.abs(leading), 1.0
    basis = np.concatenate([np.tile(most + dim + axes, (len(rows), 1)), best[:, None]], axis=1)
    _pivot(tableaus, basis)

    k, row = np.nonzero(basis < most)
    weights[first[rows][k] + basis[k, row]] = np.maximum(tableaus[k, row, -1], 0.0)
    worst[rows] = signs * (tableaus[:, dim + 1, most : most + dim] / 2 - 1)
    return worst


def _pivot(tableaus: Array, basis: NDArray[np.int64]) -> None:
    """The simplex method on each of the tableaus (k, rows, columns), with the columns that are in the basis."""
    rows = np.arange(len(tableaus))
    for _ in range(_PIVOTS):
        costs, each = tableaus[rows, -1, :-1], np.arange(len(rows))
        enter = costs.argmin(axis=1)
        column = tableaus[rows, :, enter]
        usable = column[:, :-1] > 1e-12
        ratios = np.where(usable, tableaus[rows, :-1, -1] / np.where(usable, column[:, :-1], 1.0), np.inf)
        leave = ratios.argmin(axis=1)
        able = np.flatnonzero((costs[each, enter] < -1e-13) & (ratios[each, leave] < np.inf))
        if not len(able):
            break
        rows, enter, leave, column = rows[able], enter[able], leave[able], column[able]
        basis[rows, leave] = enter
        pivot = tableaus[rows, leave] / column[np.arange(len(rows)), leave][:, None]
        tableaus[rows] -= column[:, :, None] * pivot[:, None]
        tableaus[rows, leave] = pivot
