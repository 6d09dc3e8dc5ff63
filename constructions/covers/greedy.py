"""Ellipsoids chosen one after another, each as large as what is left to paint allows.

An idea of this toolkit, not of the paper. In the ordered list of cells the first one that holds x decides, so cell i
only has to serve E_i minus (E_1 u ... u E_{i-1}): f minus a constant must stay within eps there, and E_i may swallow
every cell before it. The list is therefore grown from the extremes of f - L inward, like shells: a hill takes nested
ellipsoids, the sides of a saddle giants whose boundaries follow the level sets, and what L serves is never painted.
"""

from __future__ import annotations

import math
import sys
import time
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from approx import _checks
from approx._interrupts import plain_interrupts
from approx.affine import AffineMap
from approx.covers import Cover
from approx.domains import Ball, Box
from constructions.covers._beneath import beneath
from constructions.covers._canvas import Canvas
from constructions.covers._ground import area_of, backgrounds, nodes_of, source_of
from constructions.covers._growth import Cell, Effort, grow
from constructions.covers._held import foremost
from constructions.covers._problem import Problem
from constructions.covers._proving import prove
from constructions.covers._strategy import strategy

__all__ = ["greedy"]

Array = NDArray[np.float64]
_MARGIN = 0.02  # of eps, for what happens between samples
_LINES = {1: 1, 2: 4, 3: 1}
_ROUGHLY, _QUICK = 1.0, Effort(starts=2, steps=100)  # of trials: steps of the grid in which f changes by eps; search
_MANY = 150  # cells of a trial, at most
_CLEARLY = 0.9  # of the cells that the middle of the values takes, a better background takes at most
_ENDED = ("max_seconds", "interrupted")


@strategy("greedy cover")
def greedy(
    problem: Problem,
    *,
    seed: int = 0,
    tries: int = 1,
    effort: Effort | None = None,
    max_seconds: float | None = None,
    progress: bool = False,
) -> Cover:
    """Ellipsoids, each chosen to paint most of what is left; |F - f| <= eps on the domain by branch and bound.

    Cells are chosen on samples with a margin of 2% of eps: at every step the open sample where |f - L| is largest must
    be painted, together with as much else as one ellipsoid can, samples with larger |f - L| counting more. The rule is
    kept along the boundaries that a cell will show, not only at grid nodes. Then the finished cover is proved; where
    that finds more than eps, balls on top mend it, counted in the cover's `strategy`, and it is proved anew.
    `error_bound` is what was proved, nan where nothing bounds f.

    On a compact domain L is chosen here, whatever `affine` was: the middle of the values, a quartile, the value that
    serves most of the area or, where the builder has an affine map, the affine map with the least largest or the least
    mean error at samples, whichever takes the fewest cells in a quick trial on a coarse grid (with a larger eps where
    it would take many). If the builder cannot use it, one more cell with its value holds the whole domain. On all of
    R^n with a slope, the cells are balls.

    About an extremum whose level sets are ellipsoids, the cells are nested ones along them, as those of `nested`: a
    hill of height h above L takes ceil((h - e) / (2 e)) of them, e = 0.98 eps, the least number with that margin, and a
    cell low down may hold several hills.

    values : "chebyshev" only: a cell takes the middle of what it shows
    everywhere, overlap, max_cells : as for `uniform`
    seed : of the search; the same seed gives the same cover, unless max_seconds ends it
    tries : searches, of which the one with the fewest cells counts; every further one takes as long as the first
    effort : how hard every step searches
    max_seconds : choose no further large cell after this time, or after Ctrl-C: what is left then is painted beneath
        them with the cells of `adaptive`, which takes many more but little time. The cover's `strategy` says so, and
        how many of each there are. Completing and proving the cover come on top of it. None: the search goes on to
        its end, and Ctrl-C ends it without a cover

    Dimensions 1 to 3. Time grows like the number of cells, 15 to 25 ms for each in the plane, since a step of the
    search looks at the few blocks of samples that a boundary meets; memory like the number of samples, at most 400,000
    nodes and what boundaries add. sin(2x)cos(y) on [-3, 3]^2 takes 338 cells and 7 s of one core with eps 0.05, and 943
    cells and 21 s with 0.025. The terrain at 50 m, rough between samples, takes 3,183 cells, 614 of them patches, 77 s
    of search and 10 of proof.

    Raises TooManyCells, a ValueError, when the cells outnumber max_cells; ValueError or TypeError for arguments that do
    not fit each other.

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
    if n not in _LINES:
        action = "Use cover='adaptive' or 'uniform'."
        raise ValueError(_checks.message(call, f"a target of R^{n}", f"dimension <= {max(_LINES)}", action))
    seed, tries = _checks.count(call, "seed", seed, least=0), _checks.count(call, "tries", tries)
    deadline = None
    if max_seconds is not None:
        max_seconds = _seconds(problem, max_seconds)
        deadline = started + max_seconds
    if problem.region is None:
        return problem.empty("greedy")
    area, walled = area_of(problem)
    search = _Search(problem, area, walled, effort or Effort(), seed, deadline, progress)
    cells, stopped = search.run(tries)
    problem = search.problem
    if stopped == "max_cells":
        raise problem.too_many(f"more than {problem.max_cells} ellipsoids", problem.max_cells + 1)
    if stopped == "painted":
        return prove(problem, cells, area)
    because = "interrupted" if stopped == "interrupted" else f"ended by max_seconds = {max_seconds:g}"
    if progress:
        tqdm.write(f"greedy cover {because}: small cells for what is left; Ctrl-C stops it", file=sys.stderr)
    small = beneath(replace(problem, eps=problem.eps * (1 - _MARGIN)), cells)
    words = f"greedy, {because}: {len(cells):,} large cells, {len(small[0]):,} adaptive ones beneath"
    return prove(problem, cells, area, small=small, words=words)


class _Search:
    """Paintings of one problem, whose affine map the first `run` chooses on a compact domain."""

    def __init__(
        self,
        problem: Problem,
        area: Box | Ball,
        walled: bool,
        effort: Effort,
        seed: int,
        deadline: float | None,
        progress: bool,
    ):
        self.problem, self.area, self.walled = problem, area, walled
        self.effort, self.seed, self.deadline, self.progress = effort, seed, deadline, progress
        self.nodes = nodes_of(problem, area)

    def run(self, tries: int) -> tuple[list[Cell], str]:
        """The cells of the best of so many paintings, and why there are no more: see `paint`."""
        cells: list[Cell] = []
        stopped = ""
        if self.problem.reach == math.inf:
            self.problem, stopped = self._grounded()
        best: list[Cell] | None = None
        for seed in range(self.seed, self.seed + tries):
            if stopped in _ENDED or (best is not None and not best):
                break
            limit = self.problem.max_cells if best is None else len(best) - 1
            cells, stopped = self._paint(self.problem, self.nodes, self.effort, seed, limit, self.progress)
            if stopped == "painted":
                best = cells
        return (cells, stopped) if best is None else (best, "painted")

    def _grounded(self) -> tuple[Problem, str]:
        """The problem with the best of `backgrounds`, and "", or why there was no time to choose.

        In the trials eps is doubled until one takes at most _MANY cells.
        """
        found = [replace(self.problem, affine=affine) for affine in backgrounds(self.problem, self.area)]
        best, limit, times, painted, turn = found[0], min(self.problem.max_cells, _MANY), 1, False, 0
        while len(found) > 1 and turn < len(found):
            problem = found[turn]
            trial = replace(problem, eps=times * problem.eps)
            turn += 1
            try:
                cells, stopped = self._paint(trial, nodes_of(trial, self.area, _ROUGHLY), _QUICK, 0, limit, False)
            except ValueError:  # coarse samples do not resolve eps
                continue
            if stopped in _ENDED:
                return best, stopped
            if stopped == "painted":
                # Where the middle of the values takes about as many, the difference is noise.
                share = _CLEARLY if problem is found[0] else 1.0
                best, limit, painted = problem, max(min(int(share * len(cells)), len(cells) - 1), 0), True
            elif not painted:
                times, turn = 2 * times, turn - 1
        return best, ""

    def _paint(
        self, problem: Problem, nodes: NDArray[np.int64], effort: Effort, seed: int, limit: int, progress: bool
    ) -> tuple[list[Cell], str]:
        if self.deadline is not None and time.perf_counter() >= self.deadline:
            return [], "max_seconds"
        canvas = Canvas(problem.target, self.area, nodes, _LINES[self.area.dim], walled=self.walled)
        return paint(
            canvas,
            problem.eps * (1 - _MARGIN),
            problem.affine,
            effort,
            np.random.default_rng(seed),
            limit,
            center=source_of(problem, self.area),
            round_only=problem.round_only,
            deadline=self.deadline,
            progress=progress,
        )


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

    def sizes(start: int) -> Array:
        return np.linalg.norm(canvas.values[start:] - affine(canvas.points[start:]), axis=1)

    def distances(start: int) -> Array:
        return np.linalg.norm(canvas.points[start:] - center, axis=1)

    cells: list[Cell] = []
    at_nodes = sizes(0), np.empty(0) if center is None else distances(0)
    urge = effort.urgency / (2 * eps) if center is None else 0.0
    try:
        with plain_interrupts(), tqdm(desc="greedy cover", unit="cell", disable=not progress) as bar:
            while True:
                size = np.concatenate([at_nodes[0], sizes(canvas.grid)])
                anchor = foremost(size, canvas.done, canvas.wall)
                if anchor < 0 or size[anchor] <= eps:
                    return cells, "painted"
                if len(cells) == max_cells:
                    return cells, "max_cells"
                if deadline is not None and time.perf_counter() >= deadline:
                    return cells, "max_seconds"
                if center is not None:
                    distance = np.concatenate([at_nodes[1], distances(canvas.grid)])
                    anchor = foremost(-distance, canvas.done, canvas.wall)
                cells.append(
                    grow(canvas, eps, affine, effort, rng, anchor, size, urge, center=center, round_only=round_only)
                )
                bar.update()
                if progress:
                    left = np.mean(~canvas.done[: canvas.grid] & (at_nodes[0] > eps))
                    bar.set_postfix_str(f"{left:.1%} to paint", refresh=False)
    except KeyboardInterrupt:
        if deadline is None:
            raise
        return cells, "interrupted"


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
