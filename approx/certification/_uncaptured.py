"""Uncaptured points, compiled: their affine maps, recovered layer by layer, and the errors of evaluating them.

Model of evaluation: a row is a sum of products, rounded to p binary digits after every operation, in any order, with
fused multiply-add or without. A sum of k nonzero terms is off by at most gamma_k = k u / (1 - k u) times the sum of
their sizes, u = 2^-p; by less where it can be proved:
- Exact sums. If every term is an integer multiple of a power of two g and the sizes add up to at most 2^p g, then
  every partial sum in every order is a number of the format: there is no rounding at all.
- Ladders. Let a row be 2^k s + constants, the constants exact multiples of g, and let all sizes stay below 2^p q with
  q <= g. An inexact addition leaves a multiple of a coarser power of two than before, by at most half of which it is
  off, and what follows keeps it: q/2 + q/4 + ... < q bounds all roundings of the whole ladder together.

Errors are kept as M zeta + r: a shift zeta of x, carried by the recovered slope M of the layer, and a rest r,
entry by entry. Layers that mix coordinates move errors into zeta, where products A_2 A_1^-1 A_3 A_2^-1 ... of
matrices telescope, while products of their absolute values would explode.

All bounds are sums and products of numbers >= 0, so rounding makes them wrong by a relative 2^-53 per operation at
most; the callers enlarge them by 2^-20, which is enough for 2^33 operations one after another.
"""

from __future__ import annotations

import math

import numpy as np

from approx._compile import compiled
from approx.certification._errorfree import add, product

__all__ = ["recover", "spread"]

# A state has per coordinate: size, how many terms it is a sum of, its error in two parts, what it is a multiple of.
_SIZE, _LOAD, _BASE, _LADDER, _MULTIPLE = range(5)


@compiled
def _gamma(operations, unit):  # pragma: no cover - compiled
    """k u / (1 - k u), inf where it means nothing."""
    total = operations * unit
    return total / (1.0 - total) if total < 0.5 else np.inf


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


@compiled
def spread(
    chain, dim, maps, defects, fixed, based, pull, keep, shift, extra, radius, digits, smallest, largest, zeta, rest,
    carried, terms, now, new, moved, omega, free,
):  # pragma: no cover - compiled  # fmt: skip
    """Errors of uncaptured points with |x| <= radius, as M zeta + r.

    digits > 0: rounding in that many digits; digits = 0: none, only `extra` (rows,) is injected
    based (L,): -1 or which of pull (K, dim, width), keep (K, width, width) moves r into zeta, |B| and |I - M B|
    shift: |zeta| of the input, per coordinate; smallest, largest: the least normal and the largest
    number of the format
    Results: zeta (L, dim), rest (rows,), carried (L,) squared errors of q, terms (L,) how many squares are added
    Working memory: now, new (5, width), moved (dim,), omega (width,), free (width,)
    """
    first_row, first_entry, column, weight, grid, bias, bias_grid, counted, _, retire = chain
    unit, most = 2.0**-digits, 2.0**digits
    for a in range(dim):
        moved[a] = shift
    for k in range(free.shape[0]):
        free[k] = True
        now[_SIZE, k] = radius * (1 + 1e-9) if k < dim else 0.0
        now[_LOAD, k] = 1.0
        now[_BASE, k] = now[_LADDER, k] = now[_MULTIPLE, k] = 0.0
    square_error = 0.0
    squares = 0.0
    for layer in range(first_row.shape[0] - 1):
        retired = retire[layer]
        if retired < 0:
            square_error = 0.0
            squares = 0.0
        else:
            error = now[_BASE, retired] + now[_LADDER, retired]
            square_error += error * error
            squares += now[_LOAD, retired]
        carried[layer] = square_error
        rows = first_row[layer + 1] - first_row[layer]
        for j in range(rows):
            row = first_row[layer] + j
            total = abs(bias[row])
            count = 1.0 if bias[row] != 0.0 else 0.0
            error = 0.0
            common = bias_grid[row]  # all terms but the one that varies are multiples of it
            powers = True
            varying = 0
            single = 0
            factor = 0.0
            for e in range(first_entry[row], first_entry[row + 1]):
                k = column[e]
                w = abs(weight[e])
                total += w * now[_SIZE, k]
                count += now[_LOAD, k]
                error += w * (now[_BASE, k] + now[_LADDER, k])
                powers = powers and grid[e] == w
                if free[k]:
                    varying += 1
                    single = k
                    factor = w if grid[e] == w else 0.0
                else:
                    common = min(common, grid[e] * now[_MULTIPLE, k])
            multiple = common if varying == 0 else 0.0
            operations = count - 1.0 if powers else count
            ladders = varying == 1 and factor > 0.0
            base = error
            ladder = 0.0
            if digits == 0 or not counted[row]:
                pass
            elif operations <= 0.0:  # one term, scaled by a power of two
                if ladders:
                    base, ladder = factor * now[_BASE, single], factor * now[_LADDER, single]
            elif varying != 0 or not (total <= common * most and common >= smallest):
                exponent = math.frexp(total * (1 + 2 * (count + 2) * unit))[1]
                level = max(factor * now[_LADDER, single], math.ldexp(unit, exponent)) if ladders else np.inf
                if level <= common and smallest <= level < np.inf:
                    base, ladder = factor * now[_BASE, single], level
                else:
                    base = error + _gamma(operations, unit) * total + operations * smallest
                    multiple = 0.0
            if digits > 0 and total > largest:
                base = np.inf
            base += extra[row]
            spill = 0.0
            slope = 0.0
            for a in range(dim):
                spill += defects[row, a] * moved[a]
                slope += maps[row, a] * maps[row, a]
            base += spill
            size = total
            if counted[row]:
                size = np.sqrt(slope) * radius + abs(maps[row, dim]) + base + ladder
                for a in range(dim):
                    size += abs(maps[row, a]) * moved[a]
                count = 0.0 if fixed[row] and size == 0.0 else 1.0
            omega[j] = base + ladder
            new[_SIZE, j] = size
            new[_LOAD, j] = count
            new[_BASE, j] = base
            new[_LADDER, j] = ladder
            new[_MULTIPLE, j] = multiple
        b = based[layer]
        if b >= 0:
            for a in range(dim):
                for k in range(rows):
                    moved[a] += pull[b, a, k] * omega[k]
            for j in range(rows):
                new[_LADDER, j] = 0.0
                new[_BASE, j] = 0.0
                for k in range(rows):
                    new[_BASE, j] += keep[b, j, k] * omega[k]
        now, new = new, now
        for a in range(dim):
            zeta[layer, a] = moved[a]
        added = squares
        for j in range(rows):
            row = first_row[layer] + j
            rest[row] = now[_BASE, j] + now[_LADDER, j]
            free[j] = not fixed[row]
            if counted[row]:
                added += now[_LOAD, j]
        terms[layer] = added
