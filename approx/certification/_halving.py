"""The search of branch and bound: boxes that wait, the most promising first, and what the others have shown."""

from __future__ import annotations

import heapq
import itertools
import pickle
import time
from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from approx import _checks
from approx._interrupts import plain_interrupts
from approx.certification._blocks import Block, take_lists
from approx.certification._boxes import Problem

__all__ = ["Limits", "Search", "Worst"]

Array = NDArray[np.float64]
_BATCH = 1 << 12  # boxes, or
_PAIRS = 1 << 20  # pairs (box, cell), that are halved together
_POINTS = 512  # points evaluated per batch
_PARTS = 32  # tasks for an executor
_SHOWN = 64  # cells that are named in a report


@dataclass(frozen=True)
class Limits:
    tol: float
    gap: float
    eps: float | None
    deadline: float
    boxes: int

    def near(self, lower: float) -> float:
        """The largest upper bound that is near enough to that lower one."""
        return lower + max(self.tol, self.gap * lower)


@dataclass(frozen=True)
class Worst:
    """The box with the largest bound."""

    bound: float
    box: Array
    cells: tuple[int, ...]

    @classmethod
    def of(cls, block: Block) -> Worst:
        k = int(block.bounds.argmax())
        starts, cells, closed = block.lists
        piece = int(block.pieces[k])
        rest = [int(i) for i in cells[starts[k] : starts[k + 1]][:_SHOWN]] + ([] if closed[k] else [-1])
        box = np.stack([block.lower[k], block.upper[k]])
        return cls(float(block.bounds[k]), box, (piece, *(i for i in rest if i != piece)))


class Search:
    """The boxes that may still raise the bound, and what the others have shown."""

    def __init__(self, problem: Problem, limits: Limits, started: float):
        self.problem, self.limits, self.started = problem, limits, started
        self.lower = 0.0
        self.argmax: Array | None = None
        self.least = 0.0  # no upper bound that counts the value errors can fall below it
        self.done: Worst | None = None  # the worst of the boxes that are not looked at any more
        self.boxes, self.last, self.stopped = 0, limits.boxes, False
        self.interrupted = False
        self.history: list[tuple[float, float, float]] = []
        self._heap: list[tuple[float, int, Block]] = []
        self._count = itertools.count()

    @property
    def live(self) -> int:
        return sum(len(block) for _, _, block in self._heap)

    def worst(self) -> Worst:
        """The box that the upper bound comes from."""
        if self._heap and not (self.done and self.done.bound >= -self._heap[0][0]):
            return Worst.of(self._heap[0][2])
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
            self._note(Worst.of(block.take(rows[[block.bounds[rows].argmax()]])))

    def _note(self, worst: Worst | None) -> None:
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
                self._note(Worst.of(top))  # no box that was taken from the heap and lost has a larger bound

    @plain_interrupts()
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
            self._note(Worst.of(pick(np.array([np.where(good, bounds, -1.0).argmax()]))))
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
        self.run(bar, enough=8 * _BATCH)
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
                self._note(Worst.of(hand))
                continue
            self.boxes, self.stopped = self.boxes + found.boxes, self.stopped or found.stopped
            self.least = max(self.least, found.least)
            if found.lower > self.lower:
                self.lower, self.argmax = found.lower, found.argmax
            self._note(found.done)
            bar.update(found.boxes)
        self.history.append((time.time() - self.started, self.lower, self.upper))

    def _result(self, task: Future) -> Search | None:
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
            raise TypeError(_checks.message(self.problem.call, received, "parts that pickle", action)) from error

    def close(self) -> None:
        """Keep of the boxes that wait only the worst."""
        if self._heap:
            self._note(self.worst())
            self._heap.clear()


def _play(
    problem: Problem,
    limits: Limits,
    started: float,
    lower: float,
    argmax: Array | None,
    least: float,
    block: Block,
) -> Search:
    """The part of a search that starts from these boxes, without the boxes that are left."""
    search = Search(problem, limits, started)
    search.lower, search.argmax, search.least = lower, argmax, least
    search.push(block)
    with tqdm(disable=True) as bar:
        search.run(bar)
    search.close()
    del search.problem  # whoever asked has it, and it may be large
    return search
