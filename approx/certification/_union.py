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

from approx._compile import compiled

__all__ = ["MOST", "held"]

Array = NDArray[np.float64]

MOST = 24  # cells that are tried together
_PIVOTS = 24


def held(
    lower: Array, upper: Array, rows: NDArray[np.int64], starts: NDArray[np.int64], cells: NDArray[np.int32],
    offsets: Array, matrices: Array, inner: Array, cuts: Array,
) -> NDArray[np.int64]:  # fmt: skip
    """(k,) for the boxes number `rows`: which entry of its list of cells, in compressed rows starts, cells, is the last
    that is needed to hold the box; -1 if they do not surely hold it. Its row of `cuts` is then the point they hold
    worst. The lists are of 1 to MOST cells; `offsets`, `matrices`, `inner`: see Cells.refine."""
    dim = lower.shape[1]
    columns = MOST + 2 * dim + 1
    memory = (
        np.empty((dim + 2, columns)), np.empty(MOST), np.empty((MOST, dim)), np.empty(MOST),
        np.empty(MOST), np.empty(dim + 1, np.int64), np.empty(dim), np.empty(dim),
    )  # fmt: skip
    last = np.full(len(rows), -1)
    _hold(lower, upper, rows, starts, cells, offsets, matrices, inner, memory, cuts, last)
    return last


@compiled
def _hold(
    lower, upper, rows, starts, cells, offsets, matrices, inner, memory, cuts, last
):  # pragma: no cover - compiled
    tableau, constants, gradients, sizes, weights, basis, middle, half = memory
    dim = lower.shape[1]
    for r in range(rows.shape[0]):
        k = rows[r]
        count = starts[k + 1] - starts[k]
        for a in range(dim):
            middle[a] = lower[k, a] / 2 + upper[k, a] / 2
            half[a] = max(upper[k, a] - middle[a], middle[a] - lower[k, a]) * (1 + 2.0**-50)
        best = np.int64(0)  # a literal would be compiled apart
        for e in range(count):
            i = cells[starts[k] + e]
            _measure(e, i, middle, half, offsets, matrices, inner, constants, gradients, sizes)
            if constants[e] < constants[best]:
                best = e
        if not constants[best] < 0.0:
            continue
        costs = _solve(count, dim, best, constants, gradients, tableau, basis, weights)
        last[r] = _prove(count, dim, constants, gradients, sizes, weights, offsets.shape[1])
        if last[r] < 0:
            for a in range(dim):
                cuts[k, a] = middle[a] + half[a] * (tableau[dim + 1, costs + a] / 2 - 1)


@compiled
def _measure(e, i, middle, half, offsets, matrices, inner, constants, gradients, sizes):  # pragma: no cover - compiled
    """Constant and h_j times the gradient of cell i; and the size of everything that is summed for them."""
    dim = middle.shape[0]
    scale = inner[i]
    for a in range(dim):
        gradients[e, a] = 0.0
    if not 0.0 < scale < np.inf:
        constants[e] = np.inf
        return
    total = 0.0
    size = 0.0
    for j in range(offsets.shape[1]):
        if matrices.shape[0] == 0:
            value = middle[j] - offsets[i, j]
            spread = half[j]
            gradients[e, j] = value * half[j] / scale
            size += 2 * abs(value) * half[j]
        else:
            value = -offsets[i, j]
            spread = 0.0
            for a in range(dim):
                value += matrices[i, j, a] * middle[a]
                spread += abs(matrices[i, j, a]) * half[a]
            for a in range(dim):
                gradients[e, a] += matrices[i, j, a] * value * half[a] / scale
            size += 2 * abs(value) * spread
        total += value * value + spread * spread
    constants[e] = total / scale - 1.0
    sizes[e] = (total + size) / scale + 1.0


@compiled
def _solve(count, dim, best, constants, gradients, tableau, basis, weights):  # pragma: no cover - compiled
    """Weights for which the sum of the constants and of 2 |components of the combined gradient| is about least.
    Returns where the last row of the tableau has the reduced costs of the components' positive parts: 2 + 2 t_j / h_j
    for the dual solution t."""
    columns = 0
    place = weights  # until the end: the column of each cell
    for e in range(count):
        place[e] = -1.0
        if constants[e] < np.inf:
            place[e] = columns
            columns += 1
    # Columns: the weights, the positive and the negative part of each component, the right side.
    right = columns + 2 * dim
    cost = dim + 1
    for row in range(dim + 2):
        for column in range(right + 1):
            tableau[row, column] = 0.0
    first = int(place[best])
    for e in range(count):
        if place[e] >= 0.0:
            column = int(place[e])
            tableau[dim, column] = 1.0
            tableau[cost, column] = constants[e] - constants[best]
            for a in range(dim):
                sign = 1.0 if gradients[best, a] > 0.0 else -1.0
                tableau[a, column] = sign * (gradients[best, a] - gradients[e, a])
                tableau[cost, column] -= 2.0 * tableau[a, column]
    for a in range(dim):
        sign = 1.0 if gradients[best, a] > 0.0 else -1.0
        tableau[a, columns + a] = -sign
        tableau[a, columns + dim + a] = sign
        tableau[a, right] = sign * gradients[best, a]
        basis[a] = columns + dim + a if sign > 0.0 else columns + a
        tableau[cost, columns + a] = 2.0 + 2.0 * sign
        tableau[cost, columns + dim + a] = 2.0 - 2.0 * sign
    tableau[dim, right] = 1.0
    basis[dim] = first
    for _ in range(_PIVOTS):
        enter = 0
        for column in range(1, right):
            if tableau[cost, column] < tableau[cost, enter]:
                enter = column
        if tableau[cost, enter] >= -1e-13:
            break
        leave = -1
        for row in range(dim + 1):
            if tableau[row, enter] > 1e-12 and (
                leave < 0 or tableau[row, right] * tableau[leave, enter] < tableau[leave, right] * tableau[row, enter]
            ):
                leave = row
        if leave < 0:
            break
        pivot = tableau[leave, enter]
        for column in range(right + 1):
            tableau[leave, column] /= pivot
        for row in range(dim + 2):
            factor = tableau[row, enter]
            if row != leave and factor != 0.0:
                for column in range(right + 1):
                    tableau[row, column] -= factor * tableau[leave, column]
        basis[leave] = enter
    for e in range(count):
        column = place[e]
        weights[e] = 0.0
        for row in range(dim + 1):
            if basis[row] == column:
                weights[e] = max(tableau[row, right], 0.0)
    return columns


@compiled
def _prove(count, dim, constants, gradients, sizes, weights, rows):  # pragma: no cover - compiled
    total = 0.0
    size = 0.0
    last = -1
    for e in range(count):
        if weights[e] > 0.0:
            total += weights[e] * constants[e]
            size += weights[e] * sizes[e]
            last = e
    for a in range(dim):
        component = 0.0
        for e in range(count):
            component += weights[e] * gradients[e, a]
        total += 2.0 * abs(component)
    return last if total + (8 * (dim + rows + count) + 64) * 2.0**-52 * size < 0.0 else -1
