"""Ranks and reduced weights of a long run of layers of equal width, in one compiled loop.

Every layer depends on the one before, so the factorisations cannot be batched; in compiled code a layer of width 4
takes about a microsecond.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from approx._compile import compiled

__all__ = ["reduce_stack"]


def reduce_stack(
    weights: NDArray, biases: NDArray, basis: NDArray | None
) -> tuple[NDArray, NDArray, NDArray, NDArray, NDArray]:
    """weights (N, d, d), biases (N, d), basis (d, r) of the input's subspace or None for all of R^d.

    Returns (reduced weights (N, d, d), biases (N, d), ranks (N,), reflectors (N, d, d), tau (N, d)). Layer i's
    reduced weight is the leading ranks[i] x ranks[i - 1] block, the rest is zero; where ranks[i] = d its factor is the
    identity. A rank counts the columns of a pivoted QR factorisation of [b_i, W_i V] above the rounding level,
    2 d eps |[b_i, W_i]|_F, and is at least 1.
    """
    weights, biases = np.ascontiguousarray(weights), np.ascontiguousarray(biases)
    count, d = biases.shape
    start, rank = np.zeros((d, d), weights.dtype), d
    if basis is not None:
        rank = basis.shape[1]
        start[:, :rank] = basis
    reduced, offsets, reflectors, tau = (np.zeros_like(array) for array in (weights, biases) * 2)
    found = reduced, offsets, np.empty(count, np.int64), reflectors, tau
    scratch = np.empty((d, d + 1), weights.dtype), np.empty((d, d + 1), weights.dtype), np.empty(d + 1, np.int64)
    eps = float(np.finfo(weights.dtype).eps)
    _reduce(weights, biases, start, rank, basis is None, eps, *found, *scratch)
    return found


@compiled
def _reduce(
    weights, biases, basis, rank, whole, eps, reduced, offsets, ranks, reflectors, tau, work, kept, order
):  # pragma: no cover - compiled
    """Fill the five arrays of `reduce_stack`; basis (d, d) begins with `rank` columns of it, unless it is `whole`."""
    count, d = biases.shape
    # Plain loops: assignments to slices take seconds to compile.
    for i in range(count):
        total = 0.0  # |[b, W]|_F^2
        for row in range(d):
            total += biases[i, row] * biases[i, row]
            for k in range(d):
                total += weights[i, row, k] * weights[i, row, k]
        allowed = 2 * d * eps * math.sqrt(total)
        columns = rank + 1
        for row in range(d):
            work[row, 0] = biases[i, row]
            for column in range(rank):
                if whole:
                    work[row, column + 1] = weights[i, row, column]
                else:
                    value = 0.0
                    for k in range(d):
                        value += weights[i, row, k] * basis[k, column]
                    work[row, column + 1] = value
        for column in range(columns):
            order[column] = column
        for row in range(d):
            for column in range(columns):
                kept[row, column] = work[row, column]
        found = _pivoted(work, columns, order, allowed, reflectors[i], tau[i])
        if found == d:
            for row in range(d):
                tau[i, row] = 0
                offsets[i, row] = kept[row, 0]
                for k in range(d):
                    reflectors[i, row, k] = 0
                for column in range(rank):
                    reduced[i, row, column] = kept[row, column + 1]
            whole = True
        else:
            found = max(found, 1)
            for column in range(columns):
                for row in range(found):
                    if order[column] == 0:
                        offsets[i, row] = work[row, column]
                    else:
                        reduced[i, row, order[column] - 1] = work[row, column]
            for row in range(d):
                for column in range(d):
                    basis[row, column] = 1 if row == column < found else 0
            for k in range(found - 1, -1, -1):
                _reflect(reflectors[i], tau[i], k, basis, 0, found)
            whole = False
        rank = found
        ranks[i] = found


@compiled(inline="always")
def _pivoted(work, columns, order, allowed, reflectors, tau):  # pragma: no cover - compiled
    """QR with column pivoting, in place, until what remains is at most `allowed` in every column; the rank."""
    d = work.shape[0]
    for k in range(min(d, columns)):
        best, largest = k, -1.0
        for column in range(k, columns):
            square = 0.0
            for row in range(k, d):
                square += work[row, column] * work[row, column]
            if square > largest:
                best, largest = column, square
        length = math.sqrt(largest)
        if length <= allowed:
            for column in range(k, columns):
                for row in range(k, d):
                    work[row, column] = 0
            return k
        order[k], order[best] = order[best], order[k]
        for row in range(d):
            work[row, k], work[row, best] = work[row, best], work[row, k]
        head = work[k, k]
        pivot = -length if head > 0 else length
        reflectors[k, k] = 1
        if k < d - 1:
            tau[k] = (pivot - head) / pivot
            for row in range(k + 1, d):
                reflectors[row, k] = work[row, k] / (head - pivot)
                work[row, k] = 0
            work[k, k] = pivot
            _reflect(reflectors, tau, k, work, k + 1, columns)
    return min(d, columns)


@compiled(inline="always")
def _reflect(reflectors, tau, k, matrix, first, last):  # pragma: no cover - compiled
    """matrix[:, first:last] <- H_k matrix[:, first:last]; v_k starts with an implicit 1 at row k."""
    d = matrix.shape[0]
    for column in range(first, last):
        value = matrix[k, column]
        for row in range(k + 1, d):
            value += reflectors[row, k] * matrix[row, column]
        value *= tau[k]
        matrix[k, column] -= value
        for row in range(k + 1, d):
            matrix[row, column] -= value * reflectors[row, k]
