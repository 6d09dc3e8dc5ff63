"""Branch and bound: lower <= sup |F - f| <= upper over a box or a ball, for an ordered-cell function F.

Boxes are halved, the most promising first. Each keeps the ordered list of the cells that may decide F somewhere on
it, and hands it down to its halves; bounds of f on the box bound |f - y_i| for every cell on the list, and |f - L|
where the cells do not surely hold the box. Where a boundary may be off, both sides count. All bounds are rounded
outward.
"""

from __future__ import annotations

import heapq
import itertools
import pickle
import time
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from tqdm import tqdm

from approx import _checks
from approx.affine import AffineMap
from approx.certification._blocks import Block, take_lists
from approx.certification._boxes import Problem
from approx.certification.cells import Cells
from approx.domains import Ball, Box

__all__ = ["Bracket", "Oracle", "branch_and_bound"]

Array = NDArray[np.float64]

_CALL = "branch_and_bound"
_BATCH = 1 << 12  # boxes, or
_PAIRS = 1 << 20  # pairs (box, cell), that are halved together
_POINTS = 512  # points evaluated per batch
_PARTS = 32  # tasks for an executor
_SHOWN = 64  # cells that are named in a report


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
    limits = _Limits(
        tol if tol is not None else 0.0 if eps is None else eps / 1000,
        0.0 if gap is None else _checks.positive(_CALL, "gap", gap),
        eps,
        started + _checks.positive(_CALL, "max_seconds", max_seconds),
        _checks.count(_CALL, "max_boxes", max_boxes),
    )
    problem = Problem(_CALL, cells, values, affine, oracle, domain, value_error, limits.deadline)
    search = _Search(problem, limits, started)
    search.push(problem.root(min(limits.boxes, getattr(oracle, "together", 1))))
    with tqdm(desc=_CALL, unit="box", disable=not progress) as bar:
        if executor is not None:
            search.run(bar, enough=8 * _BATCH)
            search.spread(executor, bar)
        search.run(bar)
    return search.bracket()


@dataclass(frozen=True)
class _Limits:
    tol: float
    gap: float
    eps: float | None
    deadline: float
    boxes: int

    def near(self, lower: float) -> float:
        """The largest upper bound that is near enough to that lower one."""
        return lower + max(self.tol, self.gap * lower)


@dataclass(frozen=True)
class _Worst:
    """The box with the largest bound."""

    bound: float
    box: Array
    cells: tuple[int, ...]

    @classmethod
    def of(cls, block: Block) -> _Worst:
        k = int(block.bounds.argmax())
        starts, cells, closed = block.lists
        piece = int(block.pieces[k])
        rest = [int(i) for i in cells[starts[k] : starts[k + 1]][:_SHOWN]] + ([] if closed[k] else [-1])
        box = np.stack([block.lower[k], block.upper[k]])
        return cls(float(block.bounds[k]), box, (piece, *(i for i in rest if i != piece)))


class _Search:
    """The boxes that may still raise the bound, and what the others have shown."""

    def __init__(self, problem: Problem, limits: _Limits, started: float):
        self.problem, self.limits, self.started = problem, limits, started
        self.lower = 0.0
        self.argmax: Array | None = None
        self.least = 0.0  # no upper bound that counts the value errors can fall below it
        self.done: _Worst | None = None  # the worst of the boxes that are not looked at any more
        self.boxes, self.last, self.stopped = 0, limits.boxes, False
        self.interrupted = False
        self.history: list[tuple[float, float, float]] = []
        self._heap: list[tuple[float, int, Block]] = []
        self._count = itertools.count()

    @property
    def live(self) -> int:
        return sum(len(block) for _, _, block in self._heap)

    def worst(self) -> _Worst:
        """The box that the upper bound comes from."""
        if self._heap and not (self.done and self.done.bound >= -self._heap[0][0]):
            return _Worst.of(self._heap[0][2])
        assert self.done is not None, "every box waits or was retired"
        return self.done

    @property
    def upper(self) -> float:
        top = -self._heap[0][0] if self._heap else 0.0
        return max(self.lower, top, self.done.bound if self.done else 0.0)

    def _enough(self) -> float:
        """A bound that is good enough for a box."""
        limits = self.limits
        return max(limits.near(self.lower), self.least + limits.tol / 4, limits.eps or 0.0)

    def decided(self) -> bool:
        eps = self.limits.eps
        if not self._heap or (eps is not None and self.lower > eps):
            return True
        top = -self._heap[0][0]
        if top <= self._enough():
            return True
        if self.done is None or top > self.done.bound:
            return False
        # The upper bound is final. As many boxes again may still improve the lower bound.
        self.last = min(self.last, 2 * self.boxes)
        return self.boxes >= self.last

    def retire(self, block: Block, rows: NDArray) -> None:
        """Boxes that are not halved any more: remember the worst."""
        if len(rows):
            self._note(_Worst.of(block.take(rows[[block.bounds[rows].argmax()]])))

    def _note(self, worst: _Worst | None) -> None:
        if worst is not None and not (self.done and self.done.bound >= worst.bound):
            self.done = worst

    def push(self, block: Block) -> None:
        """Look at the most promising boxes, and keep those that are not good enough."""
        order = np.argsort(-block.bounds, kind="stable")
        self._look(block.take(order[:_POINTS]))
        good = block.bounds[order] <= self._enough()
        self.retire(block, order[good])
        order = order[~good]
        if not len(order):
            return
        starts = block.lists[0]
        pairs = np.cumsum(starts[order + 1] - starts[order])
        part = np.maximum(np.arange(len(order)) // _BATCH, pairs // _PAIRS)
        for rows in np.split(order, np.flatnonzero(np.diff(part)) + 1):
            piece = block.take(rows)
            heapq.heappush(self._heap, (-float(piece.bounds[0]), next(self._count), piece))

    def _look(self, block: Block) -> None:
        points = self.problem.proposals(block)
        values, most, decided = self.problem.look(block, points)
        if decided.any():
            best = int(np.where(decided, values, -1.0).argmax())
            if values[best] > self.lower or self.argmax is None:
                self.lower, self.argmax = float(values[best]), points[best].copy()
            self.least = max(self.least, float(most[decided].max()))

    def _pop(self) -> Block:
        blocks, boxes, pairs = [], 0, 0
        while self._heap and boxes < _BATCH and pairs < _PAIRS:
            blocks.append(heapq.heappop(self._heap)[2])
            boxes, pairs = boxes + len(blocks[-1]), pairs + len(blocks[-1].lists[1])
        return Block.join(blocks)

    def run(self, bar: tqdm, enough: float = np.inf) -> None:
        """Halve boxes until the question is decided, the budget ends, or `enough` boxes wait."""
        top = None
        try:
            while not self.decided() and (enough == np.inf or self.live < enough):
                if time.time() > self.limits.deadline or self.boxes >= self.limits.boxes or self.stopped:
                    self.stopped = True
                    break
                top, before = self._heap[0][2], self.boxes
                self._expand(self._pop())
                self.history.append((time.time() - self.started, self.lower, self.upper))
                bar.update(self.boxes - before)
                bar.set_postfix_str(f"{self.lower:.6g} .. {self.upper:.6g}", refresh=False)
        except KeyboardInterrupt:
            self.stopped = True
            if top is not None:
                self._note(_Worst.of(top))  # no box that was taken from the heap and lost has a larger bound

    def _expand(self, block: Block) -> None:
        problem = self.problem
        lower, upper, rows, final = problem.split(block)
        self.boxes += len(rows)
        if problem.ball is not None:
            inside = problem.meets_domain(lower, upper)
            lower, upper, rows, final = lower[inside], upper[inside], rows[inside], final[inside]
        lists, blurred, cuts = problem.refine(lower, upper, rows, block.lists, block.outside > self._enough())
        # The new lists with the old bounds of f may suffice.
        bounds, pieces = problem.bounds(rows, lists, block.low, block.high, block.outside)
        bounds = np.minimum(bounds, block.bounds[rows])
        good = bounds <= self._enough()

        def pick(which: NDArray) -> Block:
            of = rows[which]
            known = block.low[of], block.high[of], block.outside[of], bounds[which], pieces[which], cuts[which]
            return Block(lower[which], upper[which], take_lists(lists, which), *known)

        if good.any():
            self._note(_Worst.of(pick(np.array([np.where(good, bounds, -1.0).argmax()]))))
        rest = np.flatnonzero(~good)
        if not len(rest):
            return
        parts, final = pick(rest), (final | blurred)[rest]
        parts = problem.narrow(parts, self._enough())
        self.retire(parts, np.flatnonzero(final))
        if not final.all():
            self.push(parts.take(np.flatnonzero(~final)) if final.any() else parts)

    def spread(self, executor: Executor, bar: tqdm) -> None:
        """Deal the boxes out to tasks and collect what these find, in a fixed order."""
        if self.decided() or self.stopped:
            return
        block = Block.join([entry[2] for entry in sorted(self._heap, key=lambda entry: entry[:2])])
        order = np.argsort(-block.bounds, kind="stable")
        hands = [block.take(order[i::_PARTS]) for i in range(min(_PARTS, len(order)))]
        limits = replace(self.limits, boxes=max(1, (self.limits.boxes - self.boxes) // len(hands)))
        start = (self.problem, limits, self.started, self.lower, self.argmax, self.least)
        tasks = [executor.submit(_play, *start, hand) for hand in hands]
        self._heap.clear()
        for task, hand in zip(tasks, hands, strict=True):
            found = self._result(task)
            if found is None:
                self._note(_Worst.of(hand))
                continue
            self.boxes, self.stopped = self.boxes + found.boxes, self.stopped or found.stopped
            self.least = max(self.least, found.least)
            if found.lower > self.lower:
                self.lower, self.argmax = found.lower, found.argmax
            self._note(found.done)
            bar.update(found.boxes)
        self.history.append((time.time() - self.started, self.lower, self.upper))

    def _result(self, task: Future) -> _Search | None:
        """What a task has found; None if it is not done when Ctrl-C comes."""
        if self.interrupted and not task.done():
            task.cancel()
            return None
        try:
            return task.result()
        except KeyboardInterrupt:
            self.interrupted = self.stopped = True
            return None
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            if "pickle" not in str(error):
                raise
            received = f"an executor of processes and an oracle that does not pickle ({error})"
            action = "Define the functions at the top level of a module, or use threads."
            raise TypeError(_checks.message(_CALL, received, "parts that pickle", action)) from error

    def close(self) -> None:
        """Keep of the boxes that wait only the worst."""
        if self._heap:
            self._note(self.worst())
            self._heap.clear()

    def bracket(self) -> Bracket:
        worst, upper, limits = self.worst(), self.upper, self.limits
        if limits.eps is not None and upper <= limits.eps:
            status = "eps proved"
        elif limits.eps is not None and self.lower > limits.eps:
            status = "eps refuted"
        elif upper <= limits.near(self.lower):
            status = "converged"
        else:
            status = "budget" if self.stopped else "rounding"
        return Bracket(
            lower=self.lower,
            upper=upper,
            argmax=self.argmax,
            status=status,
            worst_box=worst.box,
            worst_cells=worst.cells,
            boxes=self.boxes,
            seconds=time.time() - self.started,
            history=np.array(self.history, dtype=np.float64).reshape(-1, 3).T,
        )


def _play(
    problem: Problem,
    limits: _Limits,
    started: float,
    lower: float,
    argmax: Array | None,
    least: float,
    block: Block,
) -> _Search:
    """The part of a search that starts from these boxes, without the boxes that are left."""
    search = _Search(problem, limits, started)
    search.lower, search.argmax, search.least = lower, argmax, least
    search.push(block)
    with tqdm(disable=True) as bar:
        search.run(bar)
    search.close()
    del search.problem  # whoever asked has it, and it may be large
    return search
