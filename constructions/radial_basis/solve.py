"""Weights of the features: least squares that knows how many digits the network will keep."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack, qr, solve_triangular

__all__ = ["Solution", "least_squares", "towards_minimax"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Solution:
    """coefficients : (N, m); condition : of the scaled, regularised matrix, estimated in the 1-norm"""

    coefficients: Array
    condition: float


def least_squares(matrix: Array, values: Array, noise: float, weights: Array | None = None) -> Solution:
    """The a that minimises sum_k w_k |(matrix a - values)_k|^2 + noise^2 (sum_k w_k) |a|^2.

    matrix (k, N) with columns of size one or so, values (k, m), weights (k,) >= 0. The second term is what independent
    errors of size `noise` in the entries of the matrix add on average, so nothing is fitted that rounding would
    destroy. One Householder factorisation of the columns and the right-hand sides together; columns may be as
    dependent as they like.
    """
    count, columns = matrix.shape
    total = count if weights is None else float(weights.sum())
    stacked = np.zeros((count + columns, columns + values.shape[1]), order="F")
    stacked[:count, :columns] = matrix
    stacked[:count, columns:] = values
    if weights is not None:
        stacked[:count] *= np.sqrt(weights)[:, None]
    np.fill_diagonal(stacked[count:], max(noise, 1e-300) * math.sqrt(total))
    (upper,) = qr(stacked, mode="r", overwrite_a=True, check_finite=False)
    triangle, right = upper[:columns, :columns], upper[:columns, columns:]
    inverse_condition, _ = lapack.dtrcon(triangle)
    return Solution(
        solve_triangular(triangle, right, check_finite=False),
        1 / inverse_condition if inverse_condition > 0 else math.inf,
    )


def towards_minimax(matrix: Array, values: Array, noise: float, rounds: int) -> Solution:
    """Least squares with weights that grow where the residual is large: Lawson's iteration for the sup norm.

    After each round w <- w (|r| / mean |r| + 1/10); of all rounds the one with the least max |r| + 2 noise |a| counts.
    """
    weights, best, least = np.ones(len(matrix)), None, math.inf
    for _ in range(rounds + 1):
        solution = least_squares(matrix, values, noise, weights)
        rest = np.linalg.norm(matrix @ solution.coefficients - values, axis=1)
        largest = float(rest.max()) + 2 * noise * float(np.linalg.norm(solution.coefficients))
        if largest < least:
            best, least = solution, largest
        mean = float(rest.mean())
        if not mean > 0:
            break
        weights = weights * (rest / mean + 0.1)
        weights /= weights.mean()
    assert best is not None, "the first round is always taken"
    return best
