"""Uncaptured points, compiled: their affine maps, recovered layer by layer."""

from __future__ import annotations

from approx._compile import compiled
from approx.certification._errorfree import add, product

__all__ = ["recover"]


@compiled
def recover(chain, dim, maps, defects, fixed, squares, mixed, before, free):  # pragma: no cover - compiled
    """The affine map of an uncaptured point, layer by layer.

    maps (rows, dim + 1): [slope, offset] of every row; defects (rows, dim + 1): by how much it differs from the
    exact W [slope, offset] of the previous layer's maps, 0 where every operation was exact
    fixed (rows,): no path leads from x to the row; squares (L,): q; mixed (L,): some row adds several coordinates
    that depend on x
    Working memory: before (width, dim + 1), free (width,)
    Returns the first layer that retires a coordinate that depends on x, or -1.
    """
    first_row, first_entry, column, weight, _, bias, _, _, _, retire = chain
    for j in range(free.shape[0]):
        free[j] = True
        for a in range(dim + 1):
            before[j, a] = 1.0 if a == j < dim else 0.0
    square = 0.0
    for layer in range(first_row.shape[0] - 1):
        retired = retire[layer]
        if retired < 0:
            square = 0.0
        elif free[retired]:
            return layer
        else:
            square += before[retired, dim] * before[retired, dim]
        squares[layer] = square
        for row in range(first_row[layer], first_row[layer + 1]):
            inputs = 0
            for e in range(first_entry[row], first_entry[row + 1]):
                if free[column[e]]:
                    inputs += 1
            fixed[row] = inputs == 0
            if inputs > 1:
                mixed[layer] = True
            for a in range(dim + 1):
                high = bias[row] if a == dim else 0.0
                low = 0.0
                size = abs(high)
                rough = 0.0  # sizes of the corrections: 0 means that nothing was rounded
                for e in range(first_entry[row], first_entry[row + 1]):
                    value = before[column[e], a]
                    if value == 0.0:
                        continue
                    p, e1 = product(weight[e], value)
                    high, e2 = add(high, p)
                    low += e1 + e2
                    rough += abs(e1) + abs(e2)
                    size += abs(p)
                    if abs(p) < 1e-280:
                        rough += 1e-300
                maps[row, a] = high + low
                if rough > 0.0:
                    terms = first_entry[row + 1] - first_entry[row] + 2
                    tiny = terms * (terms * 2.0**-104 * size + 1e-300)
                    defects[row, a] = abs((high - maps[row, a]) + low) * (1 + 2.0**-50) + tiny
        for j in range(first_row[layer + 1] - first_row[layer]):
            row = first_row[layer] + j
            for a in range(dim + 1):
                before[j, a] = maps[row, a]
            free[j] = not fixed[row]
    return -1
