"""Every place where |F - f| may exceed eps, found in one pass of branch and bound."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray
from tqdm import tqdm

from approx import _checks
from approx.affine import AffineMap
from approx.certification._blocks import Block
from approx.certification._boxes import Problem, norm
from approx.certification._halving import Limits, Search
from approx.certification.branch import Oracle
from approx.certification.cells import Cells
from approx.domains import Ball, Box

__all__ = ["Holes", "holes"]

Array = NDArray[np.float64]
_CALL = "holes"
_CLOSE = 1e-3  # of eps: where |F - f| comes so close to eps, a box is given up


@dataclass(frozen=True, eq=False, kw_only=True)
class Holes:
    """|F - f| <= elsewhere <= eps on the domain outside k boxes, if the pass is complete.

    lower, upper : (k, n) corners of the boxes
    bounds : (k,) what is proved of |F - f| on them, more than eps
    elsewhere : the largest bound of all other boxes
    complete : whether the pass came to its end; if not, there are boxes that neither were proved nor are listed
    boxes, seconds : the effort
    """

    lower: Array
    upper: Array
    bounds: Array
    elsewhere: float
    complete: bool
    boxes: int
    seconds: float = field(repr=False)

    def __len__(self) -> int:
        return len(self.bounds)

    @property
    def proved(self) -> bool:
        """Whether |F - f| <= eps on the whole domain."""
        return self.complete and not len(self)


def holes(
    cells: Cells,
    values: ArrayLike,
    affine: AffineMap,
    oracle: Oracle,
    domain: Box | Ball,
    *,
    eps: float,
    spread: float,
    resolution: float = 0.0,
    max_seconds: float = 60.0,
    max_boxes: int = 50_000_000,
) -> Holes:
    """The boxes that keep |F - f| <= eps from being proved, F(x) = y_i for the first cell that holds x, else affine(x).

    cells, values, affine, oracle, domain, max_seconds, max_boxes : as for `branch_and_bound`
    spread : a box is listed once f is known to stay within `spread` of one value there, so that another cell can serve
        it, and a point of it has |F - f| > 0.999 eps
    resolution : a box of that diameter is not halved again, whatever is known; nor is one that is too small against
        the collars, or for floating point

    Unlike `branch_and_bound`, which stops at the first point that refutes eps, the search goes on until every box is
    proved or listed. What it holds for, boundaries off by no more than the collars, is the same.

    Raises ValueError or TypeError as `branch_and_bound`.

    >>> from approx.certification import enclosure_of
    >>> from approx.targets import gaussian
    >>> half = Cells([[0.0]], [9.0])  # 1/2 everywhere
    >>> found = holes(
    ...     half, [[0.5]], AffineMap.constant([0.0], 1), enclosure_of(gaussian(dim=1)), Box([-3], [3]),
    ...     eps=0.4, spread=0.05,
    ... )
    >>> found.complete, bool(found.elsewhere <= 0.4), len(found) > 2
    (True, True, True)
    >>> middles = (found.lower + found.upper) / 2
    >>> bool((abs(np.exp(-(middles**2)) - 0.5) > 0.3).all())
    True
    """
    started = time.time()
    limits = Limits(
        0.0,
        0.0,
        _checks.positive(_CALL, "eps", eps),
        started + _checks.positive(_CALL, "max_seconds", max_seconds),
        _checks.count(_CALL, "max_boxes", max_boxes),
    )
    spread, resolution = _checks.positive(_CALL, "spread", spread), _checks.finite(_CALL, "resolution", resolution)
    problem = Problem(_CALL, cells, values, affine, oracle, domain, 0.0, limits.deadline)
    search = _Everywhere(problem, limits, started, spread, resolution)
    search.push(problem.root(min(limits.boxes, getattr(oracle, "together", 1))))
    with tqdm(disable=True) as bar:
        search.run(bar)
    n = affine.dim_in
    listed = search.listed
    lower, upper, bounds = (
        np.concatenate([np.empty(shape), *(getattr(block, name) for block in listed)])
        for name, shape in (("lower", (0, n)), ("upper", (0, n)), ("bounds", 0))
    )
    return Holes(
        lower=lower,
        upper=upper,
        bounds=bounds,
        elsewhere=0.0 if search.done is None else search.done.bound,
        complete=not search.stopped,
        boxes=search.boxes,
        seconds=time.time() - started,
    )


class _Everywhere(Search):
    """A search that lists what it cannot prove, and goes on."""

    def __init__(self, problem: Problem, limits: Limits, started: float, spread: float, resolution: float):
        super().__init__(problem, limits, started)
        self.within, self.finest = spread, resolution
        self.listed: list[Block] = []

    def _enough(self) -> float:
        assert self.limits.eps is not None, "eps is given"
        return self.limits.eps

    def decided(self) -> bool:
        return not self._heap

    def retire(self, block: Block, rows: NDArray) -> None:
        above = block.bounds[rows] > self._enough()
        if above.any():
            self.listed.append(block.take(rows[above]))
        super().retire(block, rows[~above])

    def push(self, block: Block) -> None:
        ended = norm(block.upper - block.lower) <= self.finest
        ended |= self._refuted(block)
        self.retire(block, np.flatnonzero(ended))
        if not ended.all():
            super().push(block.take(np.flatnonzero(~ended)))

    def _look(self, block: Block) -> None:
        """`push` has looked at every box that is ready to be listed."""

    def _refuted(self, block: Block) -> NDArray[np.bool_]:
        """(k,) whether one value serves the box, and a point of it shows that F has another."""
        high, low = block.high, block.low
        with np.errstate(invalid="ignore"):
            width = norm(np.maximum(high - low, 0.0))
        rest = np.flatnonzero((width <= 2 * self.within) & (block.bounds > self._enough()))
        refuted = np.zeros(len(block), np.bool_)
        enough = self._enough() * (1 - _CLOSE)
        # What is wrong may lie along the boundary of a cell: the middle of a box is then in the collar, or inside the
        # cell, at every size, and the corners are not all there.
        for corner in (None, *itertools.product((False, True), repeat=block.lower.shape[1])):
            if not len(rest):
                break
            part = block.take(rest)
            points = self.problem.proposals(part) if corner is None else np.where(corner, part.upper, part.lower)
            shown, _, sure = self.problem.look(part, points)
            wrong = np.logical_and(sure, shown > enough)
            refuted[rest[wrong]] = True
            rest = rest[~wrong]
        return refuted
