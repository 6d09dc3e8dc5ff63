"""Errors of evaluating a span of layers, passed on from layer to layer, compiled.

Model of evaluation: a row is a sum of products, rounded to p binary digits after every operation, in any order, with
fused multiply-add or without. A sum of k nonzero terms is off by at most gamma_k = k u / (1 - k u) times the sum of
their sizes, u = 2^-p; by less where it can be proved:
- Exact sums. If every term is an integer multiple of a power of two g and the sizes add up to at most 2^p g, then
  every partial sum in every order is a number of the format: there is no rounding at all. (Less than 2^p g, where the
  sum of the sizes is rounded itself.)
- Ladders. Let a row be 2^k s + constants, the constants exact multiples of g, and let all sizes stay below 2^p q with
  q <= g. An inexact addition leaves a multiple of a coarser power of two than before, by at most half of which it is
  off, and what follows keeps it: q/2 + q/4 + ... < q bounds all roundings of the whole ladder together.

Errors are kept as M zeta + r: a shift zeta of x, carried by the recovered slope M of the layer, and a rest r,
entry by entry. Layers that mix coordinates move errors into zeta, where products A_2 A_1^-1 A_3 A_2^-1 ... of
matrices telescope, while products of their absolute values would explode.

All this holds for many points at once, with the largest of their sizes and errors and the least power of two.

All bounds are sums and products of numbers >= 0, so rounding makes them wrong by a relative 2^-53 per operation at
most; the callers enlarge them by 2^-20, which is enough for 2^33 operations one after another.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from approx._compile import compiled
from approx.certification._chain import FORMATS, Chain, run

__all__ = ["BASE", "LADDER", "LOAD", "MULTIPLE", "SIZE", "Spread", "spread"]

Array = NDArray[np.float64]

# A state has per coordinate: size, how many terms it is a sum of, its error in two parts, what it is a multiple of.
SIZE, LOAD, BASE, LADDER, MULTIPLE = range(5)


class Spread(NamedTuple):
    """Errors M zeta + r behind each of some layers.

    shift (layers, n): zeta; rest (rows,): r, entry by entry; multiples (rows,): the power of two of which a row is an
    exact multiple, 0 if it is none
    squared (layers,): errors of q, and of the counted rows with what zeta adds to them if points are captured, squared
        and added up; terms (layers,): how many squares |v|^2 is a sum of
    """

    shift: Array
    rest: Array
    multiples: Array
    squared: Array
    terms: Array


def spread(
    chain: Chain,
    first: int,
    stop: int,
    moves: tuple[NDArray, ...],
    state: Array,
    moved: Array,
    square: Array,
    sizes: Array,
    extra: Array,
    digits: int,
    captured: bool,
) -> Spread:
    """Pass errors through the layers first .. stop.

    moves : (maps, defects, fixed, based, pull, keep) of a `Recovery`
    state (5, width), moved (n,), square (2,): before the first layer the parts of a state, zeta, and of q the squared
        error and the number of terms; overwritten
    sizes (rows,): of the rows, without their errors; inf where all that is known is that of what they add up
    extra (rows,): errors to be injected; digits: those to which operations round, 0 for none
    captured : points do not depend on x; their sizes are measured, so that errors count twice
    """
    rows = int(chain.first_row[stop] - chain.first_row[first])
    dim, width = len(moved), state.shape[1]
    found = Spread(np.zeros((stop - first, dim)), *np.zeros((2, rows)), *np.zeros((2, stop - first)))
    memory = np.zeros((5, width)), np.zeros(width), np.zeros(width, np.bool_)
    limits = FORMATS[chain.digits][1:]
    run(_spread, chain, stop - first, first, stop, *moves, state, moved, square, sizes, extra, digits, *limits,
        captured, *found, *memory)  # fmt: skip
    return found


@compiled
def _gamma(operations, unit):  # pragma: no cover - compiled
    """k u / (1 - k u), inf where it means nothing."""
    total = operations * unit
    return total / (1.0 - total) if total < 0.5 else np.inf


@compiled
def _spread(
    chain, first, stop, maps, defects, fixed, based, pull, keep, now, moved, square, sizes, extra, digits, smallest,
    largest, captured, shift, rest, multiples, squared, terms, new, omega, free,
):  # pragma: no cover - compiled  # fmt: skip
    """As `spread`, whose result is shift .. terms.

    maps, defects (rows, at least dim); fixed (rows,): no path leads from x to the row
    based (L,): -1 or which of pull (K, dim, width), keep (K, width, width) moves r into zeta, |B| and |I - M B|
    smallest, largest: the least normal and the largest number of the format
    Working memory: new (5, width), omega (width,), free (width,)
    """
    dim = moved.shape[0]
    first_row, first_entry, column, weight, grid, bias, bias_grid, counted, _, retire = chain
    unit, most = 2.0**-digits, 2.0**digits
    sides = 2.0 if captured else 1.0
    for k in range(free.shape[0]):
        free[k] = not captured
    origin = first_row[first]
    for layer in range(first, stop):
        retired = retire[layer]
        if retired < 0:
            square[0] = square[1] = 0.0
        else:
            error = now[BASE, retired] + now[LADDER, retired]
            square[0] += error * error
            square[1] += now[LOAD, retired]
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
                total += w * now[SIZE, k]
                count += now[LOAD, k]
                error += w * (now[BASE, k] + now[LADDER, k])
                powers = powers and grid[e] == w
                if free[k]:
                    varying += 1
                    single = k
                    factor = w if grid[e] == w else 0.0
                else:
                    common = min(common, grid[e] * now[MULTIPLE, k])
            multiple = common if varying == 0 else 0.0
            operations = count - 1.0 if powers else count
            ladders = varying == 1 and factor > 0.0
            base = error
            ladder = 0.0
            if digits == 0 or not counted[row]:
                pass
            elif operations <= 0.0:  # one term, scaled by a power of two
                if ladders:
                    base, ladder = factor * now[BASE, single], factor * now[LADDER, single]
            elif varying != 0 or not (total < common * most and common >= smallest):
                exponent = math.frexp(total * (1 + 2 * (count + 2) * unit))[1]
                level = max(factor * now[LADDER, single], math.ldexp(unit, exponent)) if ladders else np.inf
                if level <= common and smallest <= level < np.inf:
                    base, ladder = factor * now[BASE, single], level
                else:
                    base = error + _gamma(operations, unit) * total + operations * smallest
                    multiple = 0.0
            if digits > 0 and total > largest:
                base = np.inf
            base += extra[row - origin]
            spill = 0.0
            for a in range(dim):
                spill += defects[row, a] * moved[a]
            base += spill
            size = total
            if counted[row]:
                error = base + ladder
                for a in range(dim):
                    error += abs(maps[row, a]) * moved[a]
                size = min(total if error == 0.0 else np.inf, sizes[row - origin] + sides * error)
                count = 0.0 if (captured or fixed[row]) and size == 0.0 else 1.0
            omega[j] = base + ladder
            new[SIZE, j] = size
            new[LOAD, j] = count
            new[BASE, j] = base
            new[LADDER, j] = ladder
            new[MULTIPLE, j] = multiple
        b = based[layer]
        if b >= 0:
            for a in range(dim):
                for k in range(rows):
                    moved[a] += pull[b, a, k] * omega[k]
            for j in range(rows):
                new[LADDER, j] = 0.0
                new[BASE, j] = 0.0
                for k in range(rows):
                    new[BASE, j] += keep[b, j, k] * omega[k]
        now, new = new, now
        for a in range(dim):
            shift[layer - first, a] = moved[a]
        squared[layer - first], terms[layer - first] = square[0], square[1]
        for j in range(rows):
            row = first_row[layer] + j
            error = now[BASE, j] + now[LADDER, j]
            rest[row - origin], multiples[row - origin] = error, now[MULTIPLE, j]
            free[j] = not (captured or fixed[row])
            if counted[row]:
                for a in range(dim):
                    error += abs(maps[row, a]) * moved[a] if captured else 0.0
                squared[layer - first] += error * error
                terms[layer - first] += now[LOAD, j]
