"""Cells along the level sets: nested balls or ellipsoids of a radial or quadratic target, slabs of a ridge.

An idea of this toolkit, not of the paper. A Step-ReLU network with N hidden layers takes at most N values besides one
affine map, so it needs at least as many layers as f has values, 2 eps apart, where no affine map serves. Cells that
follow the level sets of f = g(t(x)) reach that number where g is monotone, in every dimension.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from approx import _checks
from approx.affine import AffineMap
from approx.covers import Cover
from approx.domains import Ball
from approx.targets import EllipsoidLevels, PlaneLevels, Target
from constructions.covers._background import best_line
from constructions.covers._painting import Painting, shells, strips
from constructions.covers._problem import Problem
from constructions.covers._recognise import NotNested, levels_of
from constructions.covers._strategy import strategy

__all__ = ["NotNested", "nested"]

Array = NDArray[np.float64]
_POSITIONS = (1 << 16) + 1  # of the profile: a cell loses at most one step of it
_FIRST = (1 << 13) + 1  # positions that show where the others should be
_EVEN = 0.2  # the share of positions that is spread evenly
_SPARE = 1000.0  # on R^n the profile is followed to where the tail is below eps over this


@strategy("nested cover")
def nested(problem: Problem) -> Cover:
    """Cells between level sets of f = g(t(x)), t = |A (x - c)| or w.x, |F - f| <= eps as far as f has that form.

    t is what `target.levels` declares, or recognised from gradients; every function of one variable has it. Nothing
    else is assumed of f: g is read off along a segment through all levels, at 65,537 positions, with second differences
    standing for what is between. So `error_bound` is no proof. A certificate of the network is one.

    t = |A (x - c)|: nested ellipsoids {t < b_1}, {t < b_2}, ... paint shells. No list of concentric cells does with
    fewer: of each only {b' <= t < b} is seen, b' the largest bound before it, so the cells seen are consecutive
    shells, and the affine map is left beyond the largest. The shells are as thick as one value allows, from outside
    in (`shells` in `_painting`).
    t = w.x: slabs, ellipsoids so long across w that on the domain they differ from slabs by less than the overlap. They
    may lie beside each other or be painted over (`strips` in `_painting`). In one dimension they are intervals.

    Where `everywhere` is allowed, the affine map is chosen here: a constant that takes the outermost shell (on R^n the
    limit of f, unless another one saves a cell), or on a compact domain a + b w.x such that the fewest strips are left.
    Where g is monotone, N is the lower bound: the least number, over affine L that depend on t only, of intervals of
    length 2 eps that hold f({|f - L| > eps}). For exp(-|x|^2) on R^n this is ceil((1 - 2 eps) / (2 eps)). For others,
    cos(3|x|) for instance, every wave has its own shells, and the lower bound is not met. Where (1 - 2 eps) / (2 eps)
    is a whole number, the small share of eps that a builder keeps for rounding costs one layer more.

    Where f has several extrema, `greedy` nests ellipsoids about every one of them, as here about one.

    values : "chebyshev" only: the centre of a nested ball has another value than the shell that it paints
    everywhere, overlap, max_cells : as for `uniform`

    Raises NotNested, a ValueError, with the reason, where f is not of that form or where even thin shells miss eps;
    TooManyCells beyond max_cells; else as `uniform`.

    >>> from approx import domains, targets
    >>> f = targets.gaussian(dim=10)
    >>> nested(f, 0.06, domains.WholeSpace(10), everywhere=True, affine=f.affine)
    Cover(8 balls in R^10, values in R^1, strategy='nested shells')
    """
    if problem.values != "chebyshev":
        raise _refusal(problem, f"values = {problem.values!r}, which belong to cells about their own centres")
    if problem.region is None:
        return problem.empty("nested")
    if problem.domain.compact:  # no tail is needed where the affine map is free
        problem = replace(problem, region=problem.domain, reach=np.inf, tail=np.inf)
    try:
        levels = levels_of(problem.target, problem.home if problem.domain.compact else problem.to_cover)
        found = [_cut(problem, kind) for kind in _kinds(levels)]
    except NotNested as obstacle:
        raise _refusal(problem, str(obstacle)) from obstacle
    cover = min(found, key=len)
    if len(cover) > problem.max_cells:
        raise problem.too_many(f"{len(cover):,} cells", len(cover))
    return cover


def _refusal(problem: Problem, because: str) -> NotNested:
    received = f"target {problem.target.name!r}: {because}"
    action = "Use cover='greedy', which nests ellipsoids about every extremum, or declare levels= if you know them."
    return NotNested(_checks.message(problem.call, received, "a function of one quantity |A (x - c)| or w.x", action))


def _kinds(levels: EllipsoidLevels | PlaneLevels) -> list[EllipsoidLevels | PlaneLevels]:
    """On a line intervals need not be concentric."""
    return [levels, PlaneLevels([1.0])] if levels.dim == 1 and isinstance(levels, EllipsoidLevels) else [levels]


def _cut(problem: Problem, levels: EllipsoidLevels | PlaneLevels) -> Cover:
    first, last = _segment(problem, levels)
    if not np.linalg.norm(last - first) > 0:
        raise NotNested("all of the domain lies on one level set")
    points = first + _spread(problem.target, first, last)[:, None] * (last - first)
    t = np.maximum.accumulate(levels(points))
    profile = problem.target(points)
    if isinstance(levels, EllipsoidLevels):
        slack = _slack(t, profile, problem.overlap * t)
        return _shells(problem, levels, t, profile - slack, profile + slack)
    slack = _slack(t, profile, np.full(len(t), problem.overlap * (t[-1] - t[0])))
    return _strips(problem, levels, points, t, profile - slack, profile + slack)


def _segment(problem: Problem, levels: EllipsoidLevels | PlaneLevels) -> tuple[Array, Array]:
    """Two points between which t takes all values that matter, in ascending order."""
    if problem.domain.compact:
        try:
            return levels.segment(problem.to_cover)
        except ValueError as error:
            raise NotNested(str(error)) from error
    reach = problem.reach_for(problem.eps / _SPARE)
    if isinstance(levels, EllipsoidLevels):
        far = np.linalg.norm(levels.gauge, 2) * (np.linalg.norm(levels.center) + reach)
        return levels.ray(float(far))
    if levels.dim > 1:
        raise NotNested("the slabs of a ridge are unbounded, and cells on all of R^n are not")
    return np.array([-reach]), np.array([reach])


def _spread(target: Target, first: Array, last: Array) -> Array:
    """Positions in [0, 1] between which f changes about equally."""
    even = np.linspace(0.0, 1.0, _FIRST)
    steps = np.linalg.norm(np.diff(target(first + even[:, None] * (last - first)), axis=0), axis=1)
    total = steps.sum() or 1.0
    path = np.concatenate([[0.0], np.cumsum((1 - _EVEN) * steps / total + _EVEN / len(steps))])
    shares = np.interp(np.linspace(0.0, path[-1], _POSITIONS), path, even)
    return np.clip(shares, 0.0, 1.0)


def _slack(t: Array, profile: Array, shift: Array) -> Array:
    """(M, m) what a shift of t and the course between positions add to the profile's values."""
    step = np.diff(profile, axis=0)
    bend = np.zeros_like(profile)
    bend[1:-1] = np.abs(np.diff(step, axis=0))
    bend[0], bend[-1] = bend[1], bend[-2]
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = np.nan_to_num(np.abs(step) / np.diff(t)[:, None], nan=0.0, posinf=0.0)
    steepest = np.zeros_like(profile)
    steepest[:-1], steepest[1:] = slope, np.maximum(slope, np.append(slope[1:], slope[-1:], axis=0))
    return bend / 4 + steepest * shift[:, None]


def _shells(problem: Problem, levels: EllipsoidLevels, t: Array, low: Array, high: Array) -> Cover:
    whole = not problem.domain.compact
    if whole:
        if not problem.affine.is_constant:
            raise NotNested("its affine part depends on more than t")
        # One more position stands for all that is farther out; it is in no cell.
        assert problem.target.tail is not None, "a claim on R^n needs one"
        tail = float(problem.target.tail(problem.reach_for(problem.eps / _SPARE)))
        offset = problem.affine.offset
        low, high = np.vstack([low, offset - tail]), np.vstack([high, offset + tail])
    painting, background = shells(low, high, problem.eps, free=problem.everywhere)
    _require_fit(painting)
    if whole:  # the limit itself, unless another constant saves a layer
        limited = shells(low, high, problem.eps, free=True, pinned=True)
        if np.isfinite(limited[0].error) and len(limited[0]) <= len(painting):
            painting, background = limited[0], problem.affine.offset
    problem = replace(problem, affine=AffineMap.constant(background, levels.dim))
    last = painting.intervals[:, 1]
    bounds = t[np.minimum(last, len(t) - 1)]
    bounds = np.where((last == len(t) - 1) & (not whole), bounds * (1 + 2 * problem.overlap), bounds)
    centers = np.broadcast_to(levels.center, (len(bounds), levels.dim))
    if levels.matrix is None:
        return problem.finish("nested shells", centers, painting.values, bounds, painting.error)
    shapes = levels.matrix / bounds[:, None, None]
    return problem.finish("nested shells", centers, painting.values, None, painting.error, shapes=shapes)


def _strips(problem: Problem, levels: PlaneLevels, points: Array, t: Array, low: Array, high: Array) -> Cover:
    w = levels.direction
    if problem.everywhere and problem.domain.compact:
        offset, slope, painting = best_line(t, low, high, problem.eps)
        problem = replace(problem, affine=AffineMap(slope[:, None] * w, offset))
    elif problem.everywhere:
        painting = strips(low, high, problem.affine(points), problem.eps)
    else:
        painting = strips(low, high, None, problem.eps)
        problem = replace(problem, affine=_middle(problem, painting))
    _require_fit(painting)
    first, last = painting.intervals.T
    spare = 2 * problem.overlap * (t[-1] - t[0])
    lower = np.where(first == 0, t[0] - spare, t[first])
    upper = np.where(last == len(t) - 1, t[-1] + spare, t[last])
    half = (upper - lower) / 2 * (1 + problem.overlap)
    region = problem.to_cover
    base = region.center if isinstance(region, Ball) else region.lower + region.widths / 2
    axis = int(np.abs(w).argmax())
    centers = np.tile(base, (len(half), 1))
    centers[:, axis] += ((lower + upper) / 2 - levels(base)) / w[axis]
    if levels.dim == 1:
        return problem.finish("nested intervals", centers, painting.values, half / abs(w[0]), painting.error)
    # {((w.(x - c)) / half)^2 + sum over j != axis of ((x - c)_j / length)^2 < 1}, where length / half is a power of two
    # so that layers scale coordinates only, and half of the overlap is lost at the domain's edge.
    length = region.diameter / 2 * np.sqrt(2 / problem.overlap)
    ratios = np.exp2(np.ceil(np.log2(length / half)))
    # The row of w comes last: narrow keeps values in the first coordinates.
    shapes = np.eye(levels.dim) / (half * ratios)[:, None, None]
    shapes[:, [axis, -1]] = shapes[:, [-1, axis]]
    shapes[:, -1] = w / half[:, None]
    return problem.finish("nested slabs", centers, painting.values, None, painting.error, shapes=shapes)


def _middle(problem: Problem, painting: Painting) -> AffineMap:
    """The constant that keeps coded values small where nothing stays outside the cells."""
    if not len(painting):
        return problem.affine
    values = painting.values
    return AffineMap.constant((values.min(axis=0) + values.max(axis=0)) / 2, problem.affine.dim_in)


def _require_fit(painting: Painting) -> None:
    if not np.isfinite(painting.error):
        raise NotNested("it changes by more than 2 eps between neighbouring positions of its profile")
