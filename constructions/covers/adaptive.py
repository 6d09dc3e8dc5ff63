"""Cells as large as the local variation of f allows: a tree of cubes, each in its circumscribed ball.

An idea of this toolkit, not of the paper: cubes are halved until f is certified to vary by no more than 2 eps on the
ball around the cube, so cells are large where f is flat.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from approx import _checks
from approx.affine import AffineMap
from approx.covers import Cover
from approx.domains import Ball, Box, WholeSpace
from approx.targets import Target
from constructions.covers._problem import Problem, meets
from constructions.covers._values import certify

__all__ = ["adaptive"]

Array = NDArray[np.float64]
_SPLITS = (1, 3, 5, 7)  # root cubes along the longest side
_MAX_ROOTS = 4096
_MAX_DIM = 14  # a cube has 2^n halves
_CHUNK = 1 << 15


def adaptive(
    target: Target,
    eps: float,
    domain: Box | Ball | WholeSpace,
    *,
    everywhere: bool,
    affine: AffineMap,
    values: str = "chebyshev",
    overlap: float = 1e-6,
    max_cells: int = 1_000_000,
) -> Cover:
    """Balls around the leaves of a tree of cubes, |F - f| <= eps on the domain as far as the target's claims hold.

    The bounding box of the domain (on all of R^n: of the ball outside which the tail is below eps) is cut into equal
    cubes, 1, 3, 5 or 7 along its longest side, whichever ends with the fewest cells. A cube is left out when it misses
    the domain, when an earlier, larger cell holds it, or when `everywhere` and |f - affine| <= eps is certified on it.
    It becomes a cell when |f - value| <= eps is certified on its whole circumscribed ball. Else it is halved.

    values : "chebyshev" gives a cell the middle of an enclosure of f; "center" gives it f at its centre,
        which needs cells of about half the size
    everywhere, overlap, max_cells : as for `uniform`

    Radii are exactly r0 2^-k, and centres lie at odd multiples of 2^-(k+1) of the root cube's side from its corner.
    Cells come from large to small, so a later cell never paints over a part that only a smaller one certifies: each
    certificate holds on the whole ball. For n <= 3 no later ball holds an earlier centre: cubes of sides S >= s have
    disjoint interiors, so their centres are at least (S + s)/2 >= s apart, and the later ball has the radius
    (1 + overlap) s sqrt(n)/2 < s. For n >= 4 equal neighbours do hold each other's centres.

    Raises ValueError when the cells, or the cubes that need halving, outnumber max_cells, when cells get too small for
    float64, and in dimensions above 14.

    >>> from approx import targets
    >>> f = targets.gaussian(dim=2)
    >>> adaptive(f, 0.1, f.domain, everywhere=True, affine=f.affine)
    """
    call = "adaptive cover"
    problem = Problem.parse(
        call,
        target,
        eps,
        domain,
        everywhere=everywhere,
        affine=affine,
        values=values,
        overlap=overlap,
        max_cells=max_cells,
    )
    name = "adaptive, center values" if values == "center" else "adaptive"
    if problem.region is None:
        return problem.empty(name)
    if target.dim_in > _MAX_DIM:
        received = f"a target of R^{target.dim_in}"
        raise ValueError(_checks.message(call, received, f"dimension <= {_MAX_DIM}", "Use cover='uniform'."))
    if target.modulus is None and target.enclosure is None:
        received = f"target {target.name!r} with neither modulus nor enclosure"
        raise ValueError(_checks.message(call, received, "one of them", "Pass lipschitz= or enclosure=."))
    best, refusal, limit = None, None, max_cells
    for splits in _SPLITS:
        if splits > 1 and splits**target.dim_in > _MAX_ROOTS:
            break
        try:
            tree = _Tree(problem, splits, limit)
        except _Overgrown as error:
            refusal = refusal or error
            continue
        best, limit = tree, tree.count - 1
    if best is None:
        raise problem.too_many(str(refusal))
    return problem.finish(name, *best.cells())


class _Overgrown(Exception):
    """The tree outgrew its limit."""


class _Tree:
    """Cubes settled level by level; `levels` holds (centers, values, radius) of the accepted cells, large to small."""

    def __init__(self, problem: Problem, splits: int, limit: int):
        self.problem, self.limit = problem, limit
        self.count, self.error = 0, 0.0
        self.levels: list[tuple[Array, Array, float]] = []
        self._larger: list[tuple[cKDTree, float]] = []
        box = problem.region.bounding_box()
        n = box.dim
        self.corner, self.side = box.lower, float(box.widths.max()) / splits
        self.radius = self.side * math.sqrt(n) / 2 * (1 + problem.overlap)
        per_axis = np.maximum(np.ceil(box.widths / self.side * (1 - 1e-15)), 1).astype(np.int64)
        cubes = _grid(per_axis)
        halves = _grid(np.full(n, 2))
        level = 0
        while len(cubes):
            parents = self._settle(cubes, halves if level else np.zeros((1, n), np.int64), level)
            cubes, level = 2 * parents, level + 1

    def _settle(self, cubes: NDArray[np.int64], parts: NDArray[np.int64], level: int) -> NDArray[np.int64]:
        """Settle the cubes `cubes + parts` of a level, given by their integer positions; return those to be halved."""
        radius = math.ldexp(self.radius, -level)
        self.problem.require_resolution(radius)
        found: list[tuple[Array, Array]] = []
        rest: list[NDArray[np.int64]] = []
        waiting = 0
        chunk = max(1, _CHUNK // len(parts))
        for start in range(0, len(cubes), chunk):
            index = (cubes[start : start + chunk, None] + parts).reshape(-1, parts.shape[1])
            index, centers = self._needed(index, level)
            chosen, bounds = certify(self.problem, centers, radius, self.problem.values)
            fits = bounds <= self.problem.eps
            found.append((centers[fits], chosen[fits]))
            rest.append(index[~fits])
            self.error = max(self.error, float(bounds[fits].max(initial=0.0)))
            self.count += int(fits.sum())
            waiting += len(rest[-1])
            if self.count + waiting > self.limit:
                raise _Overgrown(f"at least about {self.count + waiting} cells, down to radius {radius:.3g}")
        centers, values = (np.concatenate(part) for part in zip(*found, strict=True))
        if len(centers):
            self.levels.append((centers, values, radius))
            self._larger.append((cKDTree(centers), radius))
        return np.concatenate(rest)

    def _needed(self, index: NDArray[np.int64], level: int) -> tuple[NDArray[np.int64], Array]:
        """The cubes, and their centres, that no larger cell and not the affine map takes care of."""
        side = math.ldexp(self.side, -level)
        index = index[meets(self.problem.region, self.corner + index * side, self.corner + (index + 1) * side)]
        centers = self.corner + (index + 0.5) * side
        alive = np.ones(len(index), dtype=bool)
        import os
        for tree, radius in (self._larger if os.environ.get('D')!='0' else []):
            _, nearest = tree.query(centers)
            farthest = np.linalg.norm(np.abs(centers - tree.data[nearest]) + side / 2, axis=1)
            alive &= farthest > radius * (1 - self.problem.overlap)
        index, centers = index[alive], centers[alive]
        half_diagonal = side * math.sqrt(index.shape[1]) / 2
        served = self.problem.affine_bounds(centers, half_diagonal, centers - side / 2, centers + side / 2)
        kept = served > self.problem.eps
        self.error = max(self.error, float(served[~kept].max(initial=0.0)))
        return index[kept], centers[kept]

    def cells(self) -> tuple[Array, Array, Array, float]:
        """Centres (N, n), values (N, m), radii (N,) and the largest certified bound."""
        n, m = self.problem.affine.dim_in, self.problem.affine.dim_out
        centers = [np.empty((0, n)), *(c for c, _, _ in self.levels)]
        values = [np.empty((0, m)), *(v for _, v, _ in self.levels)]
        radii = [np.full(len(c), r) for c, _, r in self.levels]
        return np.concatenate(centers), np.concatenate(values), np.concatenate([np.empty(0), *radii]), self.error


def _grid(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """(prod(counts), n) integer positions of a grid of cubes."""
    axes = [np.arange(k) for k in counts]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(counts))
