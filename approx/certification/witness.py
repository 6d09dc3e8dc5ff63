"""Bounds of sup |F - f| in any dimension, from a witness: cells that together hold every point where L will not do.

Whatever cell captures a point x, |F(x) - f(x)| is at most the bound of |y_i - f| on all of that cell. If none does,
F(x) = L(x). So the bound of all cells, and the bound of |f - L| on a set that holds every point that no cell is sure to
capture, are all that is needed. Where everything depends on one quantity only, `_levels` needs no such set; its bound
comes first. Otherwise the witnesses for such a set are one cell that holds it, a tree of boxes, each inside
one cell or not (`_cubes`), and a lattice whose points are the centres of equal balls (`_lattices`). They are found from
the cells alone and checked in time proportional to their size; a bad guess only makes the bound larger.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from approx.certification._blocks import Block
from approx.certification._boxes import Problem
from approx.certification._cubes import check_tree, find_tree
from approx.certification._lattices import check_lattice, find_lattice
from approx.certification._levels import by_levels
from approx.certification._question import Question
from approx.certification.enclosures import Enclosure
from approx.certification.pieces import Pieces
from approx.domains import Ball, Box, WholeSpace
from approx.targets import Target, check_tail

__all__ = ["Witnessed", "witnessed"]

Array = NDArray[np.float64]
_PAIRS = 1 << 22  # (point, cell) that are compared at once
_LOOKED = 1 << 29  # coordinates that looking at points may compare
_POINTS = 1024
_FARTHEST = 2.0**60


@dataclass(frozen=True, eq=False)
class Witnessed:
    """lower <= sup |F - f| <= upper.

    argmax : (n,) the point that shows the lower bound; None if no point could be decided
    kind : which witness it was
    points : how many were looked at for the lower bound
    rests_on : what it relies on besides the enclosure and the cells
    """

    lower: float
    upper: float
    argmax: Array | None
    kind: str
    points: int
    rests_on: tuple[str, ...]
    seconds: float


def witnessed(
    found: Pieces,
    target: Target,
    enclosure: Enclosure,
    domain: Box | Ball | WholeSpace,
    core: Box | Ball,
    eps: float | None,
    max_seconds: float,
    *,
    tol: float | None = None,
    gap: float | None = None,
    levels_only: bool = False,
) -> Witnessed | None:
    """Bounds of sup |F - f| over the domain, except for what |f - L| is outside the core, where no cell holds x.

    found : the pieces of F; core : the domain, or for R^n a part of it
    eps : what one would like to prove; the search for a witness ends there, or where the cells end it
    tol, gap : how near the bounds should come, for levels, see `branch_and_bound`
    levels_only : None unless everything depends on one quantity
    Raises what the enclosure raises.
    """
    started = time.time()
    box = core.bounding_box()
    radius = float(np.linalg.norm(np.maximum(np.abs(box.lower), np.abs(box.upper)))) * (1 + 1e-12)
    if np.isfinite(found.reach):
        radius = max(radius, found.reach)
    compact = domain if isinstance(domain, Box | Ball) else None
    cells, values, error = found.cells(radius), found.values[found.nonempty], found.value_error(radius)
    question = Question(cells, values, found.affine, error, enclosure, (core,), compact)
    levelled = by_levels(question, eps, tol, max_seconds / 2, gap)
    if levelled is not None:
        lower, argmax, points = _look(question, np.zeros(len(cells)), levelled.points)
        upper, kind = max(levelled.upper, lower), f"{levelled.intervals:,} intervals of one quantity"
        return Witnessed(lower, upper, argmax, kind, points, (), time.time() - started)
    if levels_only:
        return None
    bounds = question.on_cells()
    if eps is not None and bounds.max(initial=0.0) > eps:
        bounds = question.sharpened(bounds, eps, started + max_seconds / 2)
    most = float(bounds.max(initial=0.0))
    goal = max(most, eps or 0.0) or error
    kind, outside = "no witness", np.inf
    rests_on: tuple[str, ...] = ()
    if np.isfinite(goal):
        reach, beyond = _reach(found, target, enclosure, goal, error)
        if reach < radius:
            question = replace(question, core=(core, Ball(np.zeros(target.dim_in), reach)))
            rests_on = (f"beyond |x| = {reach:.6g}, the target's tail",)
        else:
            beyond = 0.0
        kind, outside = _outside(question, goal, started + max_seconds)
        outside = max(outside, beyond)
    lower, argmax, points = _look(question, bounds)
    upper = max(most, outside, lower)
    upper = upper if upper >= 0 else math.inf
    return Witnessed(lower, upper, argmax, kind, points, rests_on, time.time() - started)


def _reach(found: Pieces, target: Target, enclosure: Enclosure, goal: float, error: float) -> tuple[float, float]:
    """The least R found with |f - L| + error <= bound <= goal for |x| >= R, and that bound; (inf, 0) where nothing but
    a claim says so and all else is proved."""
    tail, affine = target.tail, target.affine
    if tail is None or affine is None or not (target.lipschitz_source == "proved" or enclosure.conditional):
        return math.inf, 0.0
    same_slope, offset = found.outside_error(affine)
    if not same_slope:
        return math.inf, 0.0
    if target.lipschitz_source != "proved":
        check_tail(target)

    def bound(radius: float) -> float:
        return (float(tail(radius)) + offset + error) * (1 + 1e-12)

    low, high = 0.0, 1.0
    while not bound(high) <= goal:
        low, high = high, 2 * high
        if high > _FARTHEST:
            return math.inf, 0.0
    while high - low > 1e-6 * high and high > 1e-6:
        middle = (low + high) / 2
        low, high = (low, middle) if bound(middle) <= goal else (middle, high)
    return high, bound(high)


def _outside(question: Question, goal: float, deadline: float) -> tuple[str, float]:
    """Which witness, and its bound of |f - L| on what the cells may leave of the core."""
    if _one_holds(question):
        return "one cell", 0.0
    cells, best = question.cells, ("no witness", np.inf)
    guess = find_lattice(cells.offsets, cells.radii) if cells.matrices is None and len(cells) else None
    if guess is not None:
        bound = check_lattice(question, *guess)
        if bound < best[1]:  # not where it is NaN
            best = "the cells around all points of a lattice", bound
    if not best[1] <= goal:
        tree = find_tree(question, goal, deadline)
        bound = check_tree(question, tree)
        if bound < best[1]:
            best = f"a tree of {len(tree):,} boxes", bound
    return best


def _one_holds(question: Question) -> bool:
    """Whether some cell, a ball, surely holds the core, as a part of another ball."""
    cells, n = question.cells, question.cells.dim_in
    for part in question.core:
        if isinstance(part, Ball) and cells.matrices is None and len(cells):
            gaps = np.linalg.norm(cells.offsets - part.center, axis=1)
            if ((gaps + part.radius) * (1 + (n + 8) * 2.0**-52) < cells.radii - cells.collars).any():
                return True
    return False


def _look(question: Question, bounds: Array, more: Array | None = None) -> tuple[float, Array | None, int]:
    """A lower bound, where it was met, and from how many points of the domain: of the core, the middles and far points
    of the worst cells, and some more."""
    cells = question.cells
    count, n = len(cells), cells.dim_in
    budget = int(min(_POINTS, max(32, _LOOKED / max(1, count * n))))
    several = [part.sample(budget // 4 // len(question.core)) for part in question.core]
    several += [] if more is None else [more]
    if cells.matrices is None and count:
        worst = np.argsort(-bounds, kind="stable")[: budget // 4]
        centers, steps = cells.offsets[worst], cells.radii[worst, None] * (1 - 1e-9) - 2 * cells.collars[worst, None]
        slope = _slopes(question, centers, steps)
        several += [centers, centers + steps * slope, centers - steps * slope]
    points = np.concatenate(several)
    domain = Box(*question.box) if question.domain is None else question.domain
    points = points[domain.contains(points)]
    problem = Problem(
        "witness", cells, question.values, question.affine, question.enclosure, domain, question.error, deadline=0.0
    )
    lower, argmax = 0.0, None
    size = max(1, _PAIRS // max(1, count))
    for start in range(0, len(points), size):
        part = points[start : start + size]
        block = _unknown(part, count, question.values.shape[1])
        sizes, _, decided = problem.look(block, part)
        if decided.any():
            best = int(np.where(decided, sizes, -1.0).argmax())
            if sizes[best] > lower or argmax is None:
                lower, argmax = float(sizes[best]), part[best].copy()
    return lower, argmax, len(points)


def _slopes(question: Question, centers: Array, steps: Array) -> Array:
    """Unit vectors along which f changes fastest, about."""
    n, target = centers.shape[1], question.enclosure.target
    points = centers[:, None] + 1e-3 * steps[:, None] * np.concatenate([np.eye(n), -np.eye(n)])
    domain = target.domain if target.affine is None else question.domain
    if domain is not None:
        points = domain.project(points)
    values = target(points)
    changes = values[:, :n] - values[:, n:]
    strongest = np.abs(changes).sum(axis=1).argmax(axis=1)
    slope = changes[np.arange(len(centers)), :, strongest]
    lengths = np.linalg.norm(slope, axis=1, keepdims=True)
    return np.where(lengths > 0, slope / np.where(lengths > 0, lengths, 1.0), np.eye(n)[0])


def _unknown(points: Array, count: int, dim_out: int) -> Block:
    """Points as boxes about which nothing is known yet."""
    k = len(points)
    cells = np.tile(np.arange(count, dtype=np.int32), k)
    lists = (np.arange(k + 1) * count, cells, np.zeros(k, np.bool_))
    free = np.full((k, dim_out), np.inf)
    nothing = np.full(k, np.inf)
    return Block(points, points, lists, -free, free, nothing, nothing, np.full(k, -1, np.int32), points)
