"""From greedy cells to a cover that is proved: branch and bound, and a patch wherever it finds a hole."""

from __future__ import annotations

import heapq
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from approx.certification import Enclosure, EnclosureUnavailable, enclosure_of
from approx.certification.cells import Cells
from approx.certification.holes import Holes, holes
from approx.covers import Cover
from approx.domains import Ball, Box
from constructions.covers._growth import Cell
from constructions.covers._problem import Problem

__all__ = ["prove"]

Array = NDArray[np.float64]
_ROOM = 1.02  # by which the last cell exceeds a domain that it must hold
_SHARE = 0.98  # of eps, within which f stays on a patch
_SPREAD = 0.125  # of eps, within which f stays on a box that needs a patch
_RESOLUTION = 2.0**-20  # diameters of the region: no box that needs a patch is halved further
_ROUNDS = 8
_TOGETHER = 20_000  # boxes that are patched in one round
_LARGEST = 1.0  # radius of a patch, in diameters of the region
_HALVINGS = 40
_ROOTS = (2**0.5, 2**0.25)  # by which the first radius of the series that does is increased
_SECONDS = 60.0
_SHIFT = 0.01  # of the overlap, in diameters of the region, by which boundaries may be off in the proof


def prove(
    problem: Problem,
    cells: list[Cell],
    area: Box | Ball,
    *,
    small: tuple[Array, Array, Array] | None = None,
    words: str = "greedy",
) -> Cover:
    """The cover of these cells over `area`, the first on top, with its proved error as `error_bound`.

    Where the builder has no affine map outside the cells, a last one holds the whole domain. Branch and bound finds
    all boxes where |F - f| <= eps is not so. They get balls on top, as few as a greedy choice finds, on which f stays
    within 0.98 eps of one value, and the cover is proved anew, the whole of it. `error_bound` is nan where nothing
    bounds f between points, or where boxes are left after some rounds, or after a minute.
    small : centres, values and radii of balls beneath them; words : the strategy
    """
    cover = _assemble(problem, cells, small, words)
    try:
        oracle = enclosure_of(problem.target)
    except EnclosureUnavailable:
        return cover
    count, most = len(cover), max(problem.max_cells, len(cover))
    for _ in range(_ROUNDS):
        uncertain = Cells.of(cover, problem.overlap * _SHIFT * area.diameter)
        found = holes(
            uncertain, cover.values, cover.affine, oracle, area, eps=problem.eps, spread=_SPREAD * problem.eps,
            resolution=_RESOLUTION * area.diameter, max_seconds=_SECONDS,
        )  # fmt: skip
        if found.proved or not len(found) or len(cover) > most:
            break
        cover = _on_top(cover, *_patches(problem, oracle, found, area.diameter))
    if len(cover) > problem.max_cells:
        raise problem.too_many(f"{len(cover)} ellipsoids", len(cover))
    words = f"{cover.strategy}, {len(cover) - count} of them patches" if len(cover) > count else cover.strategy
    error = max(found.elsewhere, problem.known_tail) if found.proved else np.nan
    return replace(cover, strategy=words, error_bound=error)


def _assemble(problem: Problem, cells: list[Cell], small: tuple[Array, Array, Array] | None, words: str) -> Cover:
    n, m = problem.affine.dim_in, problem.affine.dim_out
    centers, shapes = [np.empty((0, n))], [np.empty((0, n, n))]
    values = [np.empty((0, m))]
    for cell in cells:
        centers.append(cell.center[None])
        shapes.append(cell.shape[None])
        values.append(cell.value[None])
    if small is not None:
        centers.append(small[0])
        shapes.append(np.eye(n) / small[2][:, None, None])
        values.append(small[1])
    if not problem.everywhere:
        box = problem.to_cover.bounding_box()
        centers.append((box.lower / 2 + box.upper / 2)[None])
        shapes.append(np.eye(n)[None] / (_ROOM * box.diameter / 2))
        values.append(problem.affine.offset[None])
    matrices = np.concatenate(shapes)
    return Cover(
        np.concatenate(centers),
        np.concatenate(values),
        problem.affine,
        radii=1 / matrices[:, 0, 0] if problem.round_only else None,
        shapes=None if problem.round_only else matrices,
        strategy=words,
        overlap=problem.overlap,
    )


def _patches(problem: Problem, oracle: Enclosure, found: Holes, diameter: float) -> tuple[Array, Array, Array]:
    """Centres (k, n), values (k, m) and radii (k,) of balls on which f stays within 0.98 eps of the value: every box
    lies in one of them, or gets one about its middle."""
    rows = np.argsort(-found.bounds, kind="stable")[:_TOGETHER]
    lower, upper = found.lower[rows], found.upper[rows]
    centers, reach = lower / 2 + upper / 2, np.linalg.norm(upper - lower, axis=1) / 2
    radii, values = _largest(problem, oracle, centers, diameter)
    tree = cKDTree(centers)
    holds = []
    for i in range(len(centers)):
        near = np.array(tree.query_ball_point(centers[i], radii[i]), np.int64)
        far = np.linalg.norm(centers[near] - centers[i], axis=1) + reach[near]
        holds.append(np.append(near[far < radii[i] * (1 - problem.overlap)], i))
    chosen = _fewest(holds, len(centers))
    chosen = chosen[radii[chosen] > 0]
    return centers[chosen], values[chosen], radii[chosen]


def _largest(problem: Problem, oracle: Enclosure, centers: Array, diameter: float) -> tuple[Array, Array]:
    """Radii (k,) and values (k, m) of large balls about the centres (k, n) on which f is nearly constant; 0 where none
    of the series is so."""
    radii, values = np.zeros(len(centers)), np.zeros((len(centers), problem.target.dim_out))
    within = problem.domain if problem.domain.compact else None

    def grow(rows: NDArray[np.int64], tried: Array) -> NDArray[np.bool_]:
        """(k,) whether these radii do; if so, they are taken."""
        low, high = oracle.range_on_balls(centers[rows], tried, within)
        off = np.linalg.norm(high - low, axis=1) / 2
        good = off <= _SHARE * problem.eps
        radii[rows[good]], values[rows[good]] = tried[good], (low[good] + high[good]) / 2
        return good

    rows = np.arange(len(centers))
    for radius in diameter * _LARGEST * 0.5 ** np.arange(_HALVINGS):
        rows = rows[~grow(rows, np.full(len(rows), radius))]
        if not len(rows):
            break
    rows = np.flatnonzero(radii)
    for root in _ROOTS:
        grow(rows, radii[rows] * root)
    return radii, values


def _fewest(sets: list[NDArray[np.int64]], count: int) -> NDArray[np.int64]:
    """Which of the sets, each time the one with the most numbers 0 .. count - 1 that no earlier one has, have all."""
    left = np.ones(count, bool)
    waiting = [(-len(numbers), i) for i, numbers in enumerate(sets)]
    heapq.heapify(waiting)
    chosen = []
    while left.any():
        size, i = heapq.heappop(waiting)
        new = int(left[sets[i]].sum())
        if new == 0:
            continue
        if new < -size:  # it has become smaller, so it waits again
            heapq.heappush(waiting, (-new, i))
            continue
        left[sets[i]] = False
        chosen.append(i)
    return np.array(chosen, np.int64)


def _on_top(cover: Cover, centers: Array, values: Array, radii: Array) -> Cover:
    """The cover with balls (k, n), (k, m), (k,) before its cells."""
    n = cover.dim_in
    sizes = None if cover.radii is None else np.concatenate([radii, cover.radii])
    balls = np.eye(n) / radii[:, None, None]
    shapes = None if cover.shapes is None else np.concatenate([balls, cover.shapes])
    centers, values = np.concatenate([centers, cover.centers]), np.concatenate([values, cover.values])
    return replace(cover, centers=centers, values=values, radii=sizes, shapes=shapes)
