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

__all__ = ["BASE", "ERROR", "FREE", "LOAD", "MULTIPLE", "PARTS", "SIZE", "Spread", "spread"]

Array = NDArray[np.float64]

# A state has per coordinate: size, how many terms it is a sum of, its error and two parts of it, what it is a multiple
# of, and 1 if it depends on x.
SIZE, LOAD, ERROR, BASE, LADDER, MULTIPLE, FREE = range(7)
PARTS = 7


class Spread(NamedTuple):
    """Errors M zeta + r behind each of some layers.

    shift (layers, n): zeta; rest (rows,): r, entry by entry; multiples (rows,): the power of two of which a row is an
    exact multiple, 0 if it is none
    squared (layers,): errors of q, and of the counted rows with what zeta adds to them if points are captured, squared
        and added up; terms (layers,): how many squares |v|^2 is a sum of
    square : behind the last layer, of q, its squared error and how many terms it is a sum of
    """

    shift: Array
    rest: Array
    multiples: Array
    squared: Array
    terms: Array
    square: tuple[float, float]


def spread(
    chain: Chain,
    first: int,
    stop: int,
    moves: tuple[NDArray, ...],
    before: tuple[Array, Array, float, float],
    sizes: Array,
    extra: Array,
    digits: int,
    captured: bool,
) -> Spread:
    """Pass errors through the layers first .. stop.

    moves : (maps, defects, fixed, based, pull, keep) of a `Recovery`
    before : of the first layer: a state (7, width), zeta (n,), and of q the squared error and the number of terms
    sizes (rows,): of the rows, without their errors; inf where all that is known is that of what they add up
    extra (rows,): errors to be injected; digits: those to which operations round, 0 for none
    captured : points do not depend on x; their sizes are measured, so that errors count twice
    """
    state, zeta, carried, squares = before
    shift, states = np.zeros((stop - first + 1, len(zeta))), np.zeros((2, *state.shape))
    shift[0], states[0] = zeta, state
    rest, multiples = np.zeros((2, int(chain.first_row[stop] - chain.first_row[first])))
    squared, terms = np.zeros((2, stop - first))
    square = run(
        _spread, chain, stop - first, first, stop, *moves, states, carried, squares, sizes, extra,
        2.0**-digits if digits else 0.0, 2.0**digits, *FORMATS[digits or chain.digits][1:], captured, shift, rest,
        multiples, squared, terms,
    )  # fmt: skip
    return Spread(shift[1:], rest, multiples, squared, terms, square)


@compiled(inline="always")
def _gamma(operations, unit):  # pragma: no cover - compiled
    """k u / (1 - k u), inf where it means nothing."""
    total = operations * unit
    return total / (1.0 - total) if total < 0.5 else np.inf


@compiled
def _spread(
    chain, first, stop, maps, defects, fixed, based, pull, keep, states, carried, squares, sizes, extra, unit, most,
    smallest, largest, captured, shift, rest, multiples, squared, terms,
):  # pragma: no cover - compiled  # fmt: skip
    """As `spread`; returns q's part of it behind the span.

    maps, defects (rows, at least dim); fixed (rows,): no path leads from x to the row
    based (L,): -1 or which of pull (K, dim, width), keep (K, width, width) moves r into zeta, |B| and |I - M B|
    states (2, 7, width): that before the span, and working memory; shift (layers + 1, dim), with zeta before it
    unit, most : 2^-p, 0 if nothing is rounded, and 2^p; smallest, largest: the least normal and the largest number
    """
    first_row, first_entry, column, weight, grid, bias, bias_grid, counted, _, retire = chain
    dim, origin = shift.shape[1], first_row[first]
    sides = 2.0 if captured else 1.0
    for i in range(stop - first):
        layer = first + i
        now, new, moved = states[i % 2], states[(i + 1) % 2], shift[i + 1]
        for a in range(dim):
            moved[a] = shift[i, a]
        begin, end, retired = first_row[layer], first_row[layer + 1], retire[layer]
        if retired < 0:
            carried = squares = 0.0
        else:
            carried += now[ERROR, retired] * now[ERROR, retired]
            squares += now[LOAD, retired]
        for row in range(begin, end):
            j, shifted = row - begin, bias[row]
            total, error, common = abs(shifted), 0.0, bias_grid[row]
            count = 1.0 if shifted != 0.0 else 0.0
            powers, varying, single, factor = True, 0, 0, 0.0
            for e in range(first_entry[row], first_entry[row + 1]):
                k, w, g = column[e], abs(weight[e]), grid[e]
                total += w * now[SIZE, k]
                count += now[LOAD, k]
                error += w * now[ERROR, k]
                powers = powers and g == w
                if now[FREE, k] > 0.0:
                    varying, single, factor = varying + 1, k, w if g == w else 0.0
                else:  # all terms but the one that varies are multiples of it
                    common = min(common, g * now[MULTIPLE, k])
            multiple = common if varying == 0 else 0.0
            operations = count - 1.0 if powers else count
            ladders = varying == 1 and factor > 0.0
            base, ladder = error, 0.0
            if unit == 0.0 or not counted[row]:
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
                    base += _gamma(operations, unit) * total + operations * smallest
                    multiple = 0.0
            if unit > 0.0 and total > largest:
                base = np.inf
            base += extra[row - origin]
            for a in range(dim):
                base += defects[row, a] * moved[a]
            free = 0.0 if captured or fixed[row] else 1.0
            if counted[row]:
                error = base + ladder
                for a in range(dim):
                    error += abs(maps[row, a]) * moved[a]
                total = min(total if error == 0.0 else np.inf, sizes[row - origin] + sides * error)
                count = 0.0 if free == 0.0 and total == 0.0 else 1.0
            new[SIZE, j], new[LOAD, j], new[MULTIPLE, j], new[FREE, j] = total, count, multiple, free
            new[BASE, j], new[LADDER, j], new[ERROR, j] = base, ladder, base + ladder
        b = based[layer]
        if b >= 0:
            for j in range(end - begin):
                new[BASE, j] = new[LADDER, j] = 0.0
                for k in range(end - begin):
                    new[BASE, j] += keep[b, j, k] * new[ERROR, k]
                for a in range(dim):
                    moved[a] += pull[b, a, j] * new[ERROR, j]
            for j in range(end - begin):
                new[ERROR, j] = new[BASE, j]
        squared[i], terms[i] = carried, squares
        for row in range(begin, end):
            error = new[ERROR, row - begin]
            rest[row - origin], multiples[row - origin] = error, new[MULTIPLE, row - begin]
            if counted[row]:
                for a in range(dim):
                    error += abs(maps[row, a]) * moved[a] if captured else 0.0
                squared[i] += error * error
                terms[i] += new[LOAD, row - begin]
    return carried, squares
