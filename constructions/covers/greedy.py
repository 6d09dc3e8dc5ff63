"""Ellipsoids chosen one after another, each as large as what is left to paint allows.

An idea of this toolkit, not of the paper. In the ordered list of cells the first one that holds x decides, so cell i
only has to serve E_i minus (E_1 u ... u E_{i-1}): f minus a constant must stay within eps there, and E_i may swallow
every cell before it. The list is therefore grown from the extremes of f - L inward, like shells: a hill takes nested
ellipsoids, the sides of a saddle giants whose boundaries follow the level sets, and what L serves is never painted.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from approx import _checks
from approx.affine import AffineMap
from approx.covers import Cover
from approx.domains import Ball, Box
from constructions.covers._beneath import beneath
from constructions.covers._canvas import Canvas
from constructions.covers._growth import Cell, Effort, grow
from constructions.covers._problem import Problem
from constructions.covers._proving import prove
from constructions.covers._strategy import strategy

__all__ = ["greedy"]

Array = NDArray[np.float64]
_MARGIN = 0.02  # of eps, for what happens between samples
_NODES = {1: 2000, 2: 400_000, 3: 125_000}  # at most
_LINES = {1: 1, 2: 4, 3: 1}
_STRIDES = 2.0  # steps of the grid, at least, in which f changes by eps where it is steep
_COARSE = 48
_AROUND = 1.15
_RADIAL = 0.9  # the share of what is to be painted where f differs from a radial function by at most eps/2


@strategy("greedy cover")
def greedy(
    problem: Problem,
    *,
    seed: int = 0,
    effort: Effort | None = None,
    max_seconds: float | None = None,
    progress: bool = False,
) -> Cover:
    """Ellipsoids, each chosen to paint most of what is left; |F - f| <= eps on the domain by branch and bound.

    Cells are chosen on samples with a margin of 2% of eps: at every step the open sample where |f - L| is largest must
    be painted, together with as much else as one ellipsoid can, samples with larger |f - L| counting more. The rule is
    kept along the boundaries that a cell will show, not only at grid nodes. Then the finished cover is proved; a point
    that refutes it gets a small ball on top. `error_bound` is what was proved, nan where nothing bounds f.

    On a compact domain L is a constant in the middle of the values, whatever `affine` was; if the builder cannot use
    it, one more cell with its value holds the whole domain. On all of R^n with a slope, the cells are balls.

    values : "chebyshev" only: a cell takes the middle of what it shows
    everywhere, overlap, max_cells : as for `uniform`
    seed : of the search; the same seed gives the same cover, unless max_seconds ends it
    effort : how hard every step searches
    max_seconds : choose no further large cell after this time, or after Ctrl-C: what is left then is painted beneath
        them with the cells of `adaptive`, which takes many more but little time. The cover's `strategy` says so, and
        how many of each there are. Completing and proving the cover come on top of it. None: the search goes on to
        its end, and Ctrl-C ends it without a cover

    Dimensions 1 to 3. Time and memory grow like samples x cells. Raises TooManyCells, a ValueError, when the cells
    outnumber max_cells; ValueError or TypeError for arguments that do not fit each other.

    >>> from approx import targets
    >>> f = targets.gaussian(dim=1)
    >>> cover = greedy(f, 0.2, f.domain, everywhere=True, affine=f.affine)
    >>> bool(cover.error_bound <= 0.2)
    True
    >>> greedy(f, 0.2, f.domain, everywhere=True, affine=f.affine, max_seconds=0).strategy
    'greedy, ended by max_seconds = 0: 0 large cells, 5 adaptive ones beneath'
    """
    call, started = problem.call, time.perf_counter()
    if problem.values != "chebyshev":
        action = "Pass values='chebyshev', or use cover='uniform' or 'adaptive'."
        raise ValueError(_checks.message(call, f"values = {problem.values!r}", "values = 'chebyshev'", action))
    n = problem.target.dim_in
    if n not in _NODES:
        action = "Use cover='adaptive' or 'uniform'."
        raise ValueError(_checks.message(call, f"a target of R^{n}", f"dimension <= {max(_NODES)}", action))
    seed = _checks.count(call, "seed", seed, least=0)
    if max_seconds is not None:
        max_seconds = _seconds(problem, max_seconds)
    if problem.region is None:
        return problem.empty("greedy")
    effort = effort or Effort()
    area, walled = _area(problem)
    if problem.reach == math.inf:
        problem = replace(problem, affine=_background(problem, area))
    inner = replace(problem, eps=problem.eps * (1 - _MARGIN))
    # On all of R^n, a slope passes exactly through the layers of balls only.
    round_only = not problem.domain.compact and not problem.affine.is_constant
    deadline = None if max_seconds is None else started + max_seconds
    cells: list[Cell] = []
    stopped = "max_seconds"
    if max_seconds is None or max_seconds > 0:
        canvas = Canvas(problem.target, area, _nodes(problem, area), _LINES[n], walled=walled)
        rng = np.random.default_rng(seed)
        options = {"center": _source(problem, area), "round_only": round_only, "progress": progress}
        cells, stopped = paint(
            canvas, inner.eps, problem.affine, effort, rng, problem.max_cells, deadline=deadline, **options
        )
    if stopped == "max_cells":
        raise problem.too_many(f"more than {problem.max_cells} ellipsoids")
    if stopped == "painted":
        return prove(problem, cells, area, round_only=round_only)
    because = "interrupted" if stopped == "interrupted" else f"ended by max_seconds = {max_seconds:g}"
    small = beneath(inner, cells)
    words = f"greedy, {because}: {len(cells):,} large cells, {len(small[0]):,} adaptive ones beneath"
    return prove(problem, cells, area, round_only=round_only, small=small, words=words)


def paint(
    canvas: Canvas,
    eps: float,
    affine: AffineMap,
    effort: Effort,
    rng: np.random.Generator,
    max_cells: int,
    *,
    center: Array | None = None,
    round_only: bool = False,
    deadline: float | None = None,
    progress: bool = False,
) -> tuple[list[Cell], str]:
    """Cells, the first on top, and why there are no more: "painted" (|f - affine| <= eps at every sample without one),
    "max_cells", "max_seconds" (by the clock of time.perf_counter) or, if there is a deadline, "interrupted".

    They are grown from the extremes of f - affine inward, or outward from `center`.
    """
    cells: list[Cell] = []
    bar = tqdm(desc="greedy cover", unit="cell", disable=not progress)
    try:
        while True:
            size = np.linalg.norm(canvas.values - affine(canvas.points), axis=1)
            open_size = np.where(canvas.done | canvas.wall, -1.0, size)
            if open_size.max() <= eps:
                return cells, "painted"
            if len(cells) == max_cells:
                return cells, "max_cells"
            if deadline is not None and time.perf_counter() >= deadline:
                return cells, "max_seconds"
            if center is None:
                anchor, urge = int(open_size.argmax()), effort.urgency / (2 * eps) * size
            else:
                distance = np.linalg.norm(canvas.points - center, axis=1)
                anchor, urge = int(np.where(open_size < 0, np.inf, distance).argmin()), np.zeros(len(size))
            cells.append(grow(canvas, eps, affine, effort, rng, anchor, urge, center=center, round_only=round_only))
            bar.update()
            bar.set_postfix_str(f"{np.mean(open_size > eps):.1%} to paint", refresh=False)
    except KeyboardInterrupt:
        if deadline is None:
            raise
        return cells, "interrupted"
    finally:
        bar.close()


def _seconds(problem: Problem, max_seconds: float) -> float:
    """A checked budget. Raises ValueError or TypeError."""
    call, target = problem.call, problem.target
    if not (isinstance(max_seconds, float) and max_seconds == math.inf):
        max_seconds = _checks.finite(call, "max_seconds", max_seconds)
    if max_seconds < 0:
        action = "Pass seconds, or None."
        raise ValueError(_checks.message(call, f"max_seconds = {max_seconds:g}", "max_seconds >= 0", action))
    if target.modulus is None and target.enclosure is None:
        received = f"max_seconds for target {target.name!r} with neither modulus nor enclosure"
        action = "Pass lipschitz= or enclosure=, or max_seconds=None."
        raise ValueError(_checks.message(call, received, "one of them, for small cells when time is up", action))
    return max_seconds


def _area(problem: Problem) -> tuple[Box | Ball, bool]:
    """Where to paint, and whether no cell may reach beyond it."""
    if problem.reach == math.inf:
        return problem.domain, False
    box = problem.region.bounding_box()
    middle, half = box.lower / 2 + box.upper / 2, _AROUND * box.widths / 2
    box = Box(middle - half, middle + half)
    if problem.domain.compact and not problem.domain.contains(np.stack([box.lower, box.upper])).all():
        return problem.domain, False
    return box, True


def _nodes(problem: Problem, area: Box | Ball) -> NDArray[np.int64]:
    """Nodes per axis: enough of them to see f change by a share of eps, within limits."""
    box = area.bounding_box()
    n = box.dim
    count = int(min(_COARSE, _NODES[n] ** (1 / n)))
    points = area.project(box.grid(count))
    values = problem.target(points).reshape((count,) * n + (-1,))
    steps = [np.linalg.norm(np.diff(values, axis=axis), axis=-1).ravel() for axis in range(n)]
    steep = max(float(np.quantile(step, 0.98)) / (w / (count - 1)) for step, w in zip(steps, box.widths, strict=True))
    spacing = problem.eps / _STRIDES / max(steep, 1e-300)
    spacing = 0.0 if n == 1 else min(spacing, float(box.widths.max()) / (count - 1))
    spacing = max(spacing, float((box.volume / _NODES[n]) ** (1 / n)))
    return np.maximum(np.ceil(box.widths / spacing), 3).astype(np.int64) + 1


def _background(problem: Problem, area: Box | Ball) -> AffineMap:
    """A constant in the middle of the values: what it serves needs no cells."""
    values = problem.target(area.project(area.bounding_box().grid(_COARSE)))
    return AffineMap.constant((values.min(axis=0) + values.max(axis=0)) / 2, problem.target.dim_in)


def _source(problem: Problem, area: Box | Ball) -> Array | None:
    """A point about which f is nearly constant on spheres, so that cells nest around it; None if there is none among
    the middle of the area and the places of the extremes."""
    box = area.bounding_box()
    points = area.project(box.grid(_COARSE))
    values = problem.target(points)
    matters = np.linalg.norm(values - problem.affine(points), axis=1) > problem.eps
    if values.shape[1] > 1 or box.dim == 1 or not matters.any():
        return None
    values = values[:, 0]
    for center in (box.lower / 2 + box.upper / 2, points[values.argmax()], points[values.argmin()]):
        distance = np.linalg.norm(points - center, axis=1)
        shell = np.round(distance / distance.max() * _COARSE).astype(np.int64)
        count = np.maximum(np.bincount(shell), 1)
        # The profile goes through the means of the shells; what is left of f is not radial.
        profile = np.interp(distance, np.bincount(shell, distance) / count, np.bincount(shell, values) / count)
        if np.mean(np.abs(values - profile)[matters] <= problem.eps / 2) > _RADIAL:
            return center
    return None
