"""Cells as large as the local variation of f allows: a tree of cubes, each in its circumscribed ball.

An idea of this toolkit, not of the paper: cubes are halved until f is certified to vary by no more than 2 eps on the
ball around the cube, so cells are large where f is flat.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from approx import _checks
from approx.covers import Cover
from approx.domains import Ball, Box
from approx.lattice import ball_volume
from constructions.covers._ground import grounded
from constructions.covers._problem import Problem, TooManyCells, meets
from constructions.covers._strategy import strategy
from constructions.covers._values import certify

__all__ = ["adaptive", "leaves"]

Array = NDArray[np.float64]
_SPLITS = (1, 3, 5, 7, 9, 11, 13)  # root cubes along the longest side
_MAX_ROOTS = 4096
_MAX_DIM = 14  # a cube has 2^n halves
_CHUNK = 1 << 15
_PATHS = 512  # points whose leaves predict the size of a tree
_SLACK = 2.0  # that prediction may be off by this factor
_GROWN = 2  # trees, those predicted to be smallest, that are grown to the end


@strategy("adaptive cover")
def adaptive(problem: Problem) -> Cover:
    """Balls around the leaves of a tree of cubes, |F - f| <= eps on the domain as far as the target's claims hold.

    The bounding box of the domain (on all of R^n: of the ball outside which the tail is below eps) is cut into equal
    cubes, an odd number up to 13 along its longest side, whichever is judged to need the fewest cells. A cube is left
    out when it misses the domain, or when `everywhere` and |f - affine| <= eps is certified on it. It becomes a cell
    when |f - value| <= eps is certified on its whole circumscribed ball. Else it is halved. The certificates are proofs
    where fn runs on intervals; a Lipschitz constant estimated from samples counts only where these decide nothing.

    values : "chebyshev" gives a cell the middle of an enclosure of f; "center" gives it f at its centre,
        which needs cells of about half the size
    everywhere, overlap, max_cells : as for `uniform`

    Radii are exactly r0 2^-k, and centres lie at odd multiples of 2^-(k+1) of the root cube's side from its corner.
    Cells come from large to small, so a later cell never paints over a part that only a smaller one certifies: each
    certificate holds on the whole ball. For n <= 3 no later ball holds an earlier centre: cubes of sides S >= s have
    disjoint interiors, so their centres are at least (S + s)/2 >= s apart, and the later ball has the radius
    (1 + overlap) s sqrt(n)/2 < s. For n >= 4 equal neighbours do hold each other's centres.

    The size is predicted from the leaves that hold a few points of the domain, within about 10% in the plane. Raises
    TooManyCells, a ValueError, when the prediction, or later the count, exceeds max_cells, and in dimensions above 14;
    ValueError when cells get too small for float64 and for arguments that do not fit each other; RuntimeError if the
    cover fails its own check.

    >>> from approx import targets
    >>> f = targets.gaussian(dim=2)
    >>> adaptive(f, 0.1, f.domain, everywhere=True, affine=f.affine)
    Cover(256 balls in R^2, values in R^1, strategy='adaptive')
    """
    name = "adaptive, center values" if problem.values == "center" else "adaptive"
    if problem.region is None:
        return problem.empty(name)
    problem = grounded(problem, even=False)
    return problem.finish(name, *leaves(problem))


def leaves(
    problem: Problem, hidden: Callable[[Array, Array], NDArray[np.bool_]] | None = None
) -> tuple[Array, Array, Array, float]:
    """Centres (N, n), values (N, m), radii (N,) of the cells, and the largest certified bound of |F - f|.

    hidden : says of boxes [lower, upper], each (k, n), which of them need no cell. Errors: as for `adaptive`.
    """
    call, target = problem.call, problem.target
    if target.dim_in > _MAX_DIM:
        received = f"a target of R^{target.dim_in}"
        raise TooManyCells(_checks.message(call, received, f"dimension <= {_MAX_DIM}", "Use cover='uniform'."))
    if target.modulus is None and target.enclosure is None:
        received = f"target {target.name!r} with neither modulus nor enclosure"
        raise ValueError(_checks.message(call, received, "one of them", "Pass lipschitz= or enclosure=."))
    trees = [_Tree(problem, splits, hidden) for splits in _SPLITS if splits == 1 or splits**target.dim_in <= _MAX_ROOTS]
    ranked = sorted(((tree.estimate(), i) for i, tree in enumerate(trees)))[:_GROWN]
    least = ranked[0][0]
    roughly = "more than 1e+308" if least == math.inf else f"roughly {least:.3g}"
    if least > _SLACK * problem.max_cells + 100:
        raise problem.too_many(f"{roughly} cells or more, judged from {_PATHS} points", least)
    best, limit = None, problem.max_cells
    for _, i in ranked:
        if trees[i].grow(limit):
            best, limit = trees[i], trees[i].count - 1
    if best is None:
        raise problem.too_many(f"{roughly} cells, judged from {_PATHS} points, and outgrew the limit", least)
    return best.cells()


class _Tree:
    """Cubes of side `side` 2^-level, given by their integer positions; `levels` holds the accepted cells
    (centers, values, radius), large to small."""

    def __init__(
        self, problem: Problem, splits: int, hidden: Callable[[Array, Array], NDArray[np.bool_]] | None = None
    ):
        self.problem, self.hidden = problem, hidden
        self.count, self.error = 0, 0.0
        self.levels: list[tuple[Array, Array, float]] = []
        box = problem.to_cover.bounding_box()
        n = box.dim
        self.corner, self.side = box.lower, float(box.widths.max()) / splits
        self.radius = self.side * math.sqrt(n) / 2 * (1 + problem.overlap)
        self.per_axis = np.maximum(np.ceil(box.widths / self.side * (1 - 1e-15)), 1).astype(np.int64)

    def estimate(self) -> float:
        """About how many cells the tree will have, from the leaves that hold a few points of the region.

        The number of leaves is the integral of 1/volume(leaf of x) over x, here by quasi-Monte Carlo.
        """
        region, n = self.problem.to_cover, len(self.corner)
        points = (region.sample(_PATHS) - self.corner) / self.side
        total = level = 0
        with np.errstate(over="ignore"):
            while len(points) and self.problem.resolves(math.ldexp(self.radius, -level)):
                index = np.clip(np.floor(points * 2.0**level).astype(np.int64), 0, self.per_axis * 2**level - 1)
                cubes, place = np.unique(index, axis=0, return_inverse=True)
                place = place.ravel()
                needed, accepted, _ = self._settle(cubes, level)
                total += np.exp2(np.float64(n * level)) * int(accepted[place].sum())
                points = points[(needed & ~accepted)[place]]
                level += 1
            total += np.exp2(np.float64(n * level)) * len(points)
            return float(total / _PATHS * _volume(region) / self.side**n)

    def grow(self, limit: int) -> bool:
        """Settle all cubes, level by level; False once there are, or will be, more cells than `limit`."""
        cubes, parts = _grid(self.per_axis), np.zeros((1, len(self.corner)), np.int64)
        level = 0
        while len(cubes):
            radius = math.ldexp(self.radius, -level)
            self.problem.require_resolution(radius)
            found, rest, waiting = [], [], 0
            chunk = max(1, _CHUNK // len(parts))
            for start in range(0, len(cubes), chunk):
                index = (cubes[start : start + chunk, None] + parts).reshape(-1, parts.shape[1])
                needed, accepted, values = self._settle(index, level)
                found.append((self._centers(index[accepted], level), values))
                rest.append(index[needed & ~accepted])
                self.count += len(values)
                waiting += len(rest[-1])
                if self.count + waiting > limit:
                    return False
            centers, values = (np.concatenate(part) for part in zip(*found, strict=True))
            self.levels.append((centers, values, radius))
            cubes, parts, level = 2 * np.concatenate(rest), _grid(np.full(len(self.corner), 2)), level + 1
        return True

    def _centers(self, index: NDArray[np.int64], level: int) -> Array:
        return self.corner + (index + 0.5) * math.ldexp(self.side, -level)

    def _settle(self, index: NDArray[np.int64], level: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_], Array]:
        """(k,) which cubes need a cell, (k,) which of them may be one, and the values of the latter."""
        problem, side = self.problem, math.ldexp(self.side, -level)
        lower, upper = self.corner + index * side, self.corner + (index + 1) * side
        needed = meets(problem.to_cover, lower, upper)
        if self.hidden is not None:
            needed[needed] = ~self.hidden(lower[needed], upper[needed])
        centers = self._centers(index[needed], level)
        half_diagonal = side * math.sqrt(index.shape[1]) / 2
        served = problem.affine_bounds(centers, half_diagonal, lower[needed], upper[needed])
        kept = served > problem.eps
        needed[needed] = kept
        chosen, bounds = certify(problem, centers[kept], math.ldexp(self.radius, -level), problem.values)
        fits = bounds <= problem.eps
        accepted = needed.copy()
        accepted[needed] = fits
        self.error = max(self.error, float(served[~kept].max(initial=0.0)), float(bounds[fits].max(initial=0.0)))
        return needed, accepted, chosen[fits]

    def cells(self) -> tuple[Array, Array, Array, float]:
        """Centres (N, n), values (N, m), radii (N,) and the largest certified bound."""
        radii = [np.full(len(centers), radius) for centers, _, radius in self.levels]
        centers, values, _ = zip(*self.levels, strict=True)
        return np.concatenate(centers), np.concatenate(values), np.concatenate(radii), self.error


def _volume(region: Box | Ball) -> float:
    return region.volume if isinstance(region, Box) else ball_volume(region.dim) * region.radius**region.dim


def _grid(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """(prod(counts), n) integer positions of a grid of cubes."""
    axes = [np.arange(k) for k in counts]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(counts))
