"""Branch and bound: lower <= sup |F - f| <= upper over a box or a ball, for an ordered-cell function F.

Boxes are halved, the most promising first. Each keeps the ordered list of the cells that may decide F somewhere on
it, and hands it down to its halves; bounds of f on the box bound |f - y_i| for every cell on the list, and |f - L|
where the cells do not surely hold the box. Where a boundary may be off, both sides count. All bounds are rounded
outward.
"""

from __future__ import annotations

import time
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from tqdm import tqdm

from approx import _checks
from approx.affine import AffineMap
from approx.certification._boxes import Problem
from approx.certification._halving import Limits, Search
from approx.certification.cells import Cells
from approx.domains import Ball, Box

__all__ = ["Bracket", "Oracle", "branch_and_bound"]

Array = NDArray[np.float64]

_CALL = "branch_and_bound"


class Oracle(Protocol):
    """Bounds of f: R^n -> R^m on boxes. Where nothing is known they may be infinite or NaN.

    An oracle may also offer residual_range(lower, upper, affine), bounds of f - affine; linear(lower, upper), the mean
    value form of f in parts or None, which bounds f along the boundaries of cells; and range_and_peaks(lower, upper):
    the bounds, and a point (k, n) of each box where |f| seems to be largest, to be looked at. `together` is a number of
    boxes that take hardly longer than one: the search begins with so many.
    """

    def range(self, lower: Array, upper: Array) -> tuple[Array, Array]:
        """lower, upper (k, n) -> (low, high), (k, m) each: low <= f(x) <= high for lower <= x <= upper."""
        ...


@dataclass(frozen=True, eq=False, kw_only=True)
class Bracket:
    """lower <= sup |F - f| <= upper.

    argmax : (n,) the point where |F - f| >= lower was shown, outside all collars; None if no point could be decided
    status : "eps proved", "eps refuted", "converged" (within tol or gap), "budget" (time or boxes ran out, or
        interrupted), or "rounding": what collars, value errors and the resolution of floating point leave open keeps
        the bracket open. More time does not help; smaller collars or larger overlaps of the cells do.
    worst_box : (2, n) lower and upper corner of the box that `upper` comes from
    worst_cells : the cells that may decide F there, -1 for the affine map; the first is the one that `upper` is for
    boxes, seconds : the effort
    history : (3, t) seconds, lower and upper along the way

    >>> from approx.affine import AffineMap
    >>> from approx.certification import Cells, branch_and_bound, enclosure_of
    >>> from approx.domains import Box
    >>> from approx.targets import gaussian
    >>> half = Cells([[0.0]], [9.0])
    >>> found = branch_and_bound(
    ...     half, [[0.5]], AffineMap.constant([0.0], 1), enclosure_of(gaussian(dim=1)), Box([-3], [3]), tol=1e-3
    ... )
    >>> found.status, bool(found.lower <= 0.5 <= found.upper)
    ('converged', True)
    """

    lower: float
    upper: float
    argmax: Array | None
    status: str
    worst_box: Array
    worst_cells: tuple[int, ...]
    boxes: int
    seconds: float
    history: Array = field(repr=False)


def branch_and_bound(
    cells: Cells,
    values: ArrayLike,
    affine: AffineMap,
    oracle: Oracle,
    domain: Box | Ball,
    *,
    value_error: ArrayLike = 0.0,
    tol: float | None = None,
    gap: float | None = None,
    eps: float | None = None,
    max_seconds: float = 60.0,
    max_boxes: int = 50_000_000,
    executor: Executor | None = None,
    progress: bool = False,
) -> Bracket:
    """Bounds of sup |F - f| over the domain, where F(x) = y_i for the first cell i that holds x, else affine(x).

    cells, values : N cells in R^n and their values y_i, (N, m)
    oracle : bounds of f; the result is as reliable as they are
    value_error : by how much (Euclidean norm) every y_i and the affine map may be off: a number, or (N + 1,) numbers,
        the last for the affine map
    eps : stop when sup <= eps is proved or refuted
    tol : stop when upper <= lower + tol; by default eps/1000, and without both and `gap` the bounds are improved until
        they meet or the budget ends
    gap : stop when upper <= (1 + gap) lower, too
    max_seconds, max_boxes : the budget; what has been found by then is returned, also after Ctrl-C
    executor : spreads the work over its workers, in at most 32 tasks; a process pool needs an oracle that pickles

    The bracket holds for every F whose boundaries differ from those of the cells by no more than the collars, and
    whose values differ by no more than `value_error`. The lower bound comes from points outside all collars.

    Raises ValueError or TypeError for arguments that do not fit together, for an oracle that returns the wrong shape,
    and when two of its bounds contradict each other (naming the point).

    >>> class Identity:
    ...     def range(self, lower, upper):
    ...         return lower, upper
    >>> half = branch_and_bound(Cells([[0.0]], [1.0]), [[0.25]], AffineMap([[1.0]], [0.0]), Identity(),
    ...                         Box([-2.0], [2.0]), tol=1e-3)
    >>> half.status, round(half.lower, 2), round(half.upper, 2)
    ('converged', 1.25, 1.25)
    """
    started = time.time()
    if executor is not None and not callable(getattr(executor, "submit", None)):
        received = f"executor = {_checks.show(executor)}"
        action = "Pass for instance a ThreadPoolExecutor, or None."
        raise TypeError(_checks.message(_CALL, received, "a concurrent.futures.Executor", action))
    eps = None if eps is None else _checks.positive(_CALL, "eps", eps)
    tol = None if tol is None else _checks.positive(_CALL, "tol", tol)
    limits = Limits(
        tol if tol is not None else 0.0 if eps is None else eps / 1000,
        0.0 if gap is None else _checks.positive(_CALL, "gap", gap),
        eps,
        started + _checks.positive(_CALL, "max_seconds", max_seconds),
        _checks.count(_CALL, "max_boxes", max_boxes),
    )
    problem = Problem(_CALL, cells, values, affine, oracle, domain, value_error, limits.deadline)
    search = Search(problem, limits, started)
    root = problem.root(min(limits.boxes, getattr(oracle, "together", 1)))
    search.push(root)
    search.history.append((time.time() - started, search.lower, search.upper))
    with tqdm(desc=_CALL, unit="box", disable=not progress) as bar:
        if executor is not None:
            search.spread(executor, bar)
        search.run(bar)
    return _bracket(search, len(root))


def _bracket(search: Search, first: int) -> Bracket:
    """What the search found, which began with so many boxes."""
    worst, upper, limits = search.worst(), search.upper, search.limits
    if limits.eps is not None and upper <= limits.eps:
        status = "eps proved"
    elif limits.eps is not None and search.lower > limits.eps:
        status = "eps refuted"
    elif upper <= limits.near(search.lower):
        status = "converged"
    else:
        status = "budget" if search.stopped else "rounding"
    return Bracket(
        lower=search.lower,
        upper=upper,
        argmax=search.argmax,
        status=status,
        worst_box=worst.box,
        worst_cells=worst.cells,
        boxes=first + search.boxes,
        seconds=time.time() - search.started,
        history=np.array(search.history, dtype=np.float64).reshape(-1, 3).T,
    )
