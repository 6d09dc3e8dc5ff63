"""Small certified cells beneath large ones, for a search that has to end early."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from approx._compile import compiled
from constructions.covers._growth import Cell
from constructions.covers._problem import Problem
from constructions.covers.adaptive import leaves

__all__ = ["beneath"]

Array = NDArray[np.float64]
_OVERLAP = 1e-3  # of small cells, far more than by how much boundaries may be off in the proof that follows


def beneath(problem: Problem, cells: list[Cell]) -> tuple[Array, Array, Array]:
    """Centres (k, n), values (k, m) and radii (k,) of the cells of `adaptive` for the part of the
    region that none of `cells` holds and problem.affine does not serve.

    A cube is left out if a single cell of the list holds it. What `adaptive` certifies holds on whole balls, so it
    does not matter what else lies on them. Raises as `adaptive` does.
    """
    n = problem.affine.dim_in
    centers = np.reshape([cell.center for cell in cells], (-1, n))
    shapes = np.reshape([cell.shape for cell in cells], (-1, n, n))
    corners = np.stack(np.meshgrid(*[[-1.0, 1.0]] * n, indexing="ij"), axis=-1).reshape(-1, n)

    def hidden(lower: Array, upper: Array) -> NDArray[np.bool_]:
        found = np.empty(len(lower), np.bool_)
        _hold(lower, upper, corners, centers, shapes, (1 - problem.overlap) ** 2, found)
        return found

    budget = max(1, problem.max_cells - len(cells))
    asked = replace(problem, everywhere=True, overlap=max(_OVERLAP, problem.overlap), max_cells=budget)
    return leaves(asked, hidden)[:3]


@compiled
def _hold(lower, upper, corners, centers, shapes, limit, found):  # pragma: no cover - compiled
    """Into found (k,): whether one cell, shrunk so that |A (x - c)|^2 < limit, holds the box [lower, upper]."""
    n = lower.shape[1]
    point = np.empty(n)
    for k in range(lower.shape[0]):
        found[k] = False
        for c in range(centers.shape[0]):
            holds = True
            for e in range(corners.shape[0]):
                for j in range(n):
                    half = (upper[k, j] - lower[k, j]) / 2
                    point[j] = lower[k, j] + half + corners[e, j] * half - centers[c, j]
                total = 0.0
                for i in range(n):
                    entry = 0.0
                    for j in range(n):
                        entry += shapes[c, i, j] * point[j]
                    total += entry * entry
                if not total < limit:
                    holds = False
                    break
            if holds:
                found[k] = True
                break
