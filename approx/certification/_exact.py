"""The final affine map of a chain in exact arithmetic."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from approx.certification._chain import Chain

__all__ = ["exact_affine"]

_MOST_BITS = 1 << 15


def exact_affine(chain: Chain) -> list[list[Fraction]] | None:
    """[slope, offset] of the output rows, (m, n + 1), for an uncaptured point; None when the numbers explode.

    Every number is an integer times a power of two. Rows are kept as integers over a common exponent without common
    factors of two, so dyadic chains stay short.
    """
    n = chain.dim_in
    weights, shifts = _split(chain.weight, chain.grid)
    biases, bias_shifts = _split(chain.bias, np.where(chain.bias == 0, 1.0, chain.bias_grid))
    columns = chain.column.tolist()
    first_row, first_entry = chain.first_row.tolist(), chain.first_entry.tolist()
    state = [([int(a == j) for a in range(n + 1)], 0) for j in range(n)]
    for layer in range(len(chain)):
        after = []
        for row in range(first_row[layer], first_row[layer + 1]):
            terms = []
            for e in range(first_entry[row], first_entry[row + 1]):
                integers, exponent = state[columns[e]]
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
        state = after
    return [[Fraction(i) * Fraction(2) ** exponent for i in integers] for integers, exponent in state]


def _split(values, grid) -> tuple[list[int], list[int]]:
    """values = integers * 2^exponents, with odd integers."""
    exponents = np.frexp(grid)[1] - 1
    return np.ldexp(values, -exponents).astype(np.int64).tolist(), exponents.tolist()
