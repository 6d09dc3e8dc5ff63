"""From greedy cells to a cover that is proved: branch and bound, and a patch wherever it finds a hole."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from approx.certification import Enclosure, EnclosureUnavailable, enclosure_of
from approx.certification.branch import branch_and_bound
from approx.certification.cells import Cells
from approx.covers import Cover
from approx.domains import Ball, Box
from constructions.covers._growth import Cell
from constructions.covers._problem import Problem

__all__ = ["prove"]

Array = NDArray[np.float64]
_ROOM = 1.02  # by which the last cell exceeds a domain that it must hold
_SHARE = 0.98  # of eps, within which f stays on a patch
_PATCHES = 200
_MENDED = ("eps refuted", "rounding", "converged")
_LARGEST = 1 / 8  # radius of a patch, in diameters of the region
_HALVINGS = 40
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

    Where the builder has no affine map outside the cells, a last one holds the whole domain. Branch and bound looks
    for points with |F - f| > eps; each gets a ball on top on which f stays within 0.98 eps of its value there, and the
    search begins anew. `error_bound` is nan where nothing bounds f between points, or the search ends undecided.
    small : centres, values and radii of balls beneath them; words : the strategy
    """
    cover = _assemble(problem, cells, small, words)
    try:
        oracle = enclosure_of(problem.target)
    except EnclosureUnavailable:
        return cover
    patches = 0
    while True:
        uncertain = Cells.of(cover, problem.overlap * _SHIFT * area.diameter)
        bracket = branch_and_bound(
            uncertain, cover.values, cover.affine, oracle, area, eps=problem.eps, max_seconds=_SECONDS
        )
        if bracket.upper <= problem.eps or bracket.status not in _MENDED or patches == _PATCHES:
            break
        # Where bounds meet about eps, or rounding leaves a point open, a patch decides it as well.
        refuted = bracket.argmax if bracket.status == "eps refuted" else None
        point = area.project(bracket.worst_box.mean(axis=0)) if refuted is None else refuted
        cover, patches = _patched(problem, cover, oracle, point, area.diameter), patches + 1
    if len(cover) > problem.max_cells:
        raise problem.too_many(f"{len(cover)} ellipsoids")
    words = f"{cover.strategy}, {patches} of them patches" if patches else cover.strategy
    proved = bracket.upper <= problem.eps
    return replace(cover, strategy=words, error_bound=max(bracket.upper, problem.known_tail) if proved else np.nan)


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


def _patched(problem: Problem, cover: Cover, oracle: Enclosure, point: Array, diameter: float) -> Cover:
    """The cover with the largest ball of its series on top, about the point, on which f is nearly constant."""
    value = problem.target(point)
    radii = diameter * _LARGEST * 0.5 ** np.arange(_HALVINGS)
    centers = np.repeat(point[None], len(radii), axis=0)
    low, high = oracle.range_on_balls(centers, radii, problem.domain if problem.domain.compact else None)
    off = np.linalg.norm(np.maximum(high - value, value - low), axis=1)
    radius = float(radii[np.argmax(off <= _SHARE * problem.eps)])
    centers, values = np.concatenate([point[None], cover.centers]), np.concatenate([value[None], cover.values])
    sizes = None if cover.radii is None else np.concatenate([[radius], cover.radii])
    shapes = None if cover.shapes is None else np.concatenate([np.eye(len(point))[None] / radius, cover.shapes])
    return replace(cover, centers=centers, values=values, radii=sizes, shapes=shapes)
