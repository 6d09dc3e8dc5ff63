"""The final affine map of a chain in exact arithmetic."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from approx._compile import compiled
from approx.certification import _chain
from approx.certification._chain import Chain
from approx.certification._errorfree import add, product

__all__ = ["exact_affine"]

_MOST_BITS = 1 << 15
_TERMS = 8  # numbers whose sum is an entry
_FAR = 2.0**900  # between 1 / _FAR and _FAR products and their rounding errors are numbers


def exact_affine(chain: Chain) -> list[list[Fraction]] | None:
    """[slope, offset] of the output rows, (m, n + 1), for an uncaptured point; None when the numbers explode.

    In integers. For long chains compiled, with every entry a sum of a few floating-point numbers, as far as that goes.
    """
    n = chain.dim_in
    if len(chain) < 8 * _chain.LONG:
        return _integers(chain, 0, [[Fraction(int(a == j)) for a in range(n + 1)] for j in range(n)])
    entries = np.zeros((chain.width, n + 1, _TERMS))
    counts = np.zeros((chain.width, n + 1), np.int64)
    entries[range(n), range(n), 0] = 1.0
    counts[range(n), range(n)] = 1
    arrays = (chain.first_row, chain.first_entry, chain.column, chain.weight, chain.bias)
    states = [(entries, counts), (np.zeros_like(entries), np.zeros_like(counts))]
    done = _expansions(*arrays, *states[0], *states[1])
    entries, counts = states[done % 2]
    rows = n if done == 0 else int(chain.first_row[done] - chain.first_row[done - 1])
    exact = [
        [sum(map(Fraction, entries[j, a, : counts[j, a]].tolist()), Fraction(0)) for a in range(n + 1)]
        for j in range(rows)
    ]
    return exact if done == len(chain) else _integers(chain, done, exact)


@compiled(inline="always")
def _grow(terms, count, value):  # pragma: no cover - compiled
    """Add a number to terms[:count]; returns the new count, or -1 if there is no room. Every step is exact."""
    kept = 0
    for i in range(count):
        value, rest = add(value, terms[i])
        if rest != 0.0:
            terms[kept] = rest
            kept += 1
    if value != 0.0:
        if kept == terms.shape[0]:
            return -1
        terms[kept] = value
        kept += 1
    return kept


@compiled(inline="always")
def _condense(terms, count):  # pragma: no cover - compiled
    """The same sum in as few terms as one pass from the largest on gives."""
    for i in range(count - 1, 0, -1):
        terms[i], terms[i - 1] = add(terms[i], terms[i - 1])
    kept = 0
    for i in range(count):
        if terms[i] != 0.0:
            terms[kept] = terms[i]
            kept += 1
    return kept


@compiled
def _expansions(
    first_row, first_entry, column, weight, bias, entries, counts, new, new_counts
):  # pragma: no cover - compiled
    """Move the state, sums of entries[j, a, : counts[j, a]], through the layers; returns how many it passed exactly.

    After an odd number it is in new, new_counts, of the same shapes.

    Source: J. R. Shewchuk, Adaptive precision floating-point arithmetic, Discrete Comput. Geom. 18 (1997), section 2.
    """
    layers, columns = first_row.shape[0] - 1, entries.shape[1]
    for layer in range(layers):
        for row in range(first_row[layer], first_row[layer + 1]):
            j = row - first_row[layer]
            for a in range(columns):
                shift = bias[row] if a == columns - 1 else 0.0
                if not abs(shift) < _FAR:
                    return layer
                terms = new[j, a]
                terms[0] = shift
                count = 1 if shift != 0.0 else 0
                for e in range(first_entry[row], first_entry[row + 1]):
                    w, c = weight[e], column[e]
                    for i in range(counts[c, a]):
                        x = entries[c, a, i]
                        p, error = product(w, x)
                        least, most = min(abs(w), abs(x), abs(p)), max(abs(w), abs(x), abs(p))
                        if not (least > 1 / _FAR and most < _FAR):
                            return layer
                        for value in (p, error):
                            count = _grow(terms, count, value)
                            if count < 0:
                                return layer
                new_counts[j, a] = _condense(terms, count)
        entries, new = new, entries
        counts, new_counts = new_counts, counts
    return layers


def _integers(chain: Chain, done: int, state: list[list[Fraction]]) -> list[list[Fraction]] | None:
    """The state after the first `done` layers moved through the others.

    Every number is an integer times a power of two. Rows are kept as integers over a common exponent without common
    factors of two, so dyadic chains stay short.
    """
    n = chain.dim_in
    rows = slice(int(chain.first_row[done]), None)
    start = int(chain.first_entry[chain.first_row[done]])
    weights, shifts = _split(chain.weight[start:], chain.grid[start:])
    bias, bias_grid = chain.bias[rows], chain.bias_grid[rows]
    biases, bias_shifts = _split(bias, np.where(bias == 0, 1.0, bias_grid))
    columns = chain.column[start:].tolist()
    first_row = (chain.first_row[done:] - chain.first_row[done]).tolist()
    first_entry = (chain.first_entry[rows] - start).tolist()
    now = [_over_common_power(row) for row in state]
    for layer in range(len(first_row) - 1):
        after = []
        for row in range(first_row[layer], first_row[layer + 1]):
            terms = []
            for e in range(first_entry[row], first_entry[row + 1]):
                integers, exponent = now[columns[e]]
                if any(integers):
                    terms.append((integers, weights[e], exponent + shifts[e]))
            low = min([term[2] for term in terms] + ([bias_shifts[row]] if biases[row] else []), default=0)
            total = [0] * n + [biases[row] << (bias_shifts[row] - low) if biases[row] else 0]
            for integers, factor, exponent in terms:
                factor <<= exponent - low
                total = [t + factor * i for t, i in zip(total, integers, strict=True)]
            common = 0
            for t in total:
                common |= t
            if common:
                spare = (common & -common).bit_length() - 1
                total, low = [t >> spare for t in total], low + spare
                if max(abs(t).bit_length() for t in total) > _MOST_BITS:
                    return None
            after.append((total, low))
        now = after
    return [[Fraction(i) * Fraction(2) ** exponent for i in integers] for integers, exponent in now]


def _over_common_power(row: list[Fraction]) -> tuple[list[int], int]:
    """Dyadic numbers = integers * 2^exponent."""
    digits = max(value.denominator for value in row).bit_length() - 1
    return [int(value * 2**digits) for value in row], -digits


def _split(values: NDArray, grid: NDArray) -> tuple[list[int], list[int]]:
    """values = integers * 2^exponents, with odd integers."""
    exponents = np.frexp(grid)[1] - 1
    return np.ldexp(values, -exponents).astype(np.int64).tolist(), exponents.tolist()
