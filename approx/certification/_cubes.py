"""A tree of boxes, each in one cell or with |f - L| small on it: found by halving boxes, checked leaf by leaf."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from approx import _checks
from approx._compile import compiled
from approx.certification._grid import Grid, find_grid, matches, signature
from approx.certification._question import Question
from approx.certification._tree import HALVINGS, boxes_of, leaves, morton_order
from approx.certification.cells import Cells, span

__all__ = ["Tree", "check_tree", "find_tree"]

Array = NDArray[np.float64]
_CHUNK = 1 << 14
_MOST = 1 << 22  # leaves
_FEW = 64  # balls that are all tried,
_TRIED = 256  # and ellipsoids
_NEAREST = 4
_TOUCH = 1e-8  # of a cube's side


@dataclass(frozen=True, eq=False)
class Tree:
    """corner (n,), side : the cube. depths (L,) : its leaves in order, see `_tree`. cells (L,) : the cell that holds
    the leaf's part of the core, -1 where |f - affine| is to be bounded."""

    corner: Array
    side: float
    depths: NDArray[np.int64]
    cells: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.depths)


def check_tree(question: Question, tree: Tree) -> float:
    """A bound of |f - affine| on all points of the core that may lie in no cell.

    Takes nothing on trust: raises ValueError unless the cube holds the core, the leaves tile the cube, and every leaf
    with a cell lies in that cell without its collar, all with outward rounding.
    """
    lower, upper = question.box
    corner = np.asarray(tree.corner, np.float64)
    side, cells = float(tree.side), np.asarray(tree.cells)
    if corner.shape != lower.shape or not np.isfinite(corner).all() or not 0 < side < np.inf:
        _refuse(f"corner {_checks.show(corner)} and side {side}", f"a cube of R^{len(lower)}")
    if cells.shape != np.shape(tree.depths) or cells.dtype.kind not in "iu":
        _refuse(f"cells {_checks.show(cells)}", "one integer for each leaf")
    if not ((corner <= lower) & (corner + side >= upper)).all():
        _refuse("a cube that does not hold the core", f"one that holds {lower.tolist()} .. {upper.tolist()}")
    if len(cells) and (cells.min() < -1 or cells.max() >= len(question.cells)):
        _refuse(
            f"a cell number {cells.max() if cells.min() >= -1 else cells.min()}", f"-1 .. {len(question.cells)} - 1"
        )
    inner, _ = question.cells.thresholds(lower, upper)
    bound = 0.0
    for rows, (low, high) in leaves(corner, side, tree.depths, _CHUNK):
        of = cells[rows].astype(np.int64)
        used = question.in_core(low, high)
        low, high = question.clip(low, high)
        inside = _holds(low, high, of[:, None], question.cells, inner) >= 0
        wrong = used & (of >= 0) & ~inside
        if wrong.any():
            at = int(wrong.argmax())
            _refuse(f"a leaf number {rows.start + at} that is not in its cell {of[at]}", "leaves inside their cells")
        open_ = used & (of < 0)
        if open_.any():
            bound = max(bound, float(question.outside_on_boxes(low[open_], high[open_]).max()))
    return bound if bound >= 0 else np.inf


def _refuse(received: str, required: str) -> None:
    raise ValueError(_checks.message("witness", received, required, "It proves nothing: make a new one."))


def find_tree(question: Question, goal: float, deadline: float) -> Tree:
    """A tree with |f - affine| <= goal on the leaves without a cell, as far as found by `deadline` (time.time)."""
    proposer = _Proposer(question)
    corner, side = proposer.corner, proposer.side
    n = len(corner)
    inner, _ = question.cells.thresholds(*question.box)
    active, depth, total = np.zeros((1, n), np.int64), 0, 0
    done: list[tuple[NDArray, NDArray, int]] = []
    while len(active):
        final = depth >= HALVINGS * n or total + 2 * len(active) > _MOST
        kept = []
        for start in range(0, len(active), _CHUNK):
            part = active[start : start + _CHUNK]
            low, high = boxes_of(corner, side, part, depth)
            used = question.in_core(low, high)
            low, high = question.clip(low, high)
            found = np.full(len(part), -1)
            rows = np.flatnonzero(used)
            candidates = proposer.candidates(part[rows], low[rows], high[rows], depth)
            if candidates is not None:
                found[rows] = _holds(low[rows], high[rows], candidates, question.cells, inner)
                rows = rows[found[rows] < 0]
            if len(rows):
                # An interval is dear, and no use where the value in the middle is too large.
                near = question.outside_at(low[rows] / 2 + high[rows] / 2) <= goal
                near[near] = question.outside_on_boxes(low[rows[near]], high[rows[near]]) <= goal
                rows = rows[~near]
            final = final or time.time() > deadline
            closed = np.ones(len(part), np.bool_)
            closed[rows] = final
            done.append((part[closed], found[closed], depth))
            kept.append(part[~closed])
        total += sum(len(part) for part, _, _ in done[-len(kept) :])
        active = np.concatenate(kept)
        right = active.copy()
        if len(active):
            right[:, depth % n] += np.int64(1) << (HALVINGS - 1 - depth // n)
        active, depth = np.concatenate([active, right]), depth + 1
    positions = np.concatenate([part for part, _, _ in done])
    cells = np.concatenate([found for _, found, _ in done])
    depths = np.concatenate([np.full(len(part), d) for part, _, d in done])
    order = morton_order(positions, int(depths.max()))
    return Tree(corner, side, depths[order], cells[order])


class _Proposer:
    """Which cell may hold a box? Guesses."""

    def __init__(self, question: Question):
        cells = question.cells
        lower, upper = question.box
        self.count, n = len(cells), cells.dim_in
        balls = cells.matrices is None
        self.grid = find_grid(cells.offsets, cells.radii) if balls and self.count > _FEW else None
        self.tree = None
        if self.grid is not None and not self._place(self.grid, lower, upper):
            self.grid = None
        if self.grid is None:
            self.corner = np.nextafter(lower, -np.inf)
            self.side = float((upper - self.corner).max()) * (1 + 2.0**-40) or 1.0
        if balls and self.count > _FEW and self.grid is None:
            # In one more dimension the nearest point is the ball that x is deepest in: |x - c|^2 + (R^2 - r^2) least.
            radii = np.minimum(cells.radii, 1e150)
            lift = np.sqrt(np.maximum(radii.max() ** 2 - radii**2, 0.0))
            self.tree = cKDTree(np.column_stack([cells.offsets, lift]))
        self.n = n

    def _place(self, grid: Grid, lower: Array, upper: Array) -> bool:
        """A cube of 2^self.coarse grid cubes a side around the core, and the cells' places in it, if there is room."""
        first = np.floor((lower - grid.origin) / grid.side)
        first -= grid.origin + first * grid.side > lower
        self.corner = grid.origin + first * grid.side
        self.coarse = 0
        while not (self.corner + np.ldexp(grid.side, self.coarse) >= upper).all():
            self.coarse += 1
            if self.coarse + grid.levels.max() > HALVINGS - 2:
                return False
        self.side = float(np.ldexp(grid.side, self.coarse))
        places = grid.positions - (first.astype(np.int64) * (np.int64(1) << grid.levels[:, None]))
        self.levels = {}
        for level in np.unique(grid.levels):
            members = np.flatnonzero(grid.levels == level)
            marks = signature(places[members])
            order = np.argsort(marks, kind="stable")
            self.levels[int(level) + self.coarse] = (members, places[members], marks[order], order)
        # What the core, up to rounding, has in common with cubes that only touch it also lies in those within.
        self.ends = (lower - self.corner) / self.side, (upper - self.corner) / self.side
        return True

    def candidates(self, positions: NDArray, lower: Array, upper: Array, depth: int) -> NDArray | None:
        """(k, c) cells for boxes (k, n), -1 for none."""
        if not self.count or not len(positions):
            return None
        if self.grid is not None:
            level, rest = divmod(depth, self.n)
            if rest or level not in self.levels:
                return None
            members, places, marks, order = self.levels[level]
            start, stop = (end * 2.0**level for end in self.ends)
            first, last = np.floor(start + _TOUCH).astype(np.int64), np.ceil(stop - _TOUCH).astype(np.int64) - 1
            at = matches(np.clip(positions >> (HALVINGS - level), first, last), places, marks, order)
            return np.where(at >= 0, members[at], -1)[:, None]
        if self.tree is None:
            few = min(self.count, _TRIED)
            return np.broadcast_to(np.arange(few), (len(positions), few))
        middle = np.column_stack([lower / 2 + upper / 2, np.zeros(len(lower))])
        return self.tree.query(middle, k=min(_NEAREST, self.count))[1].reshape(len(middle), -1)


def _holds(lower: Array, upper: Array, candidates: NDArray, cells: Cells, inner: Array) -> NDArray[np.int64]:
    """(k,) the first of the candidates (k, c) that surely holds the box, -1 if there is none."""
    found = np.empty(len(lower), np.int64)
    matrices = np.empty((0, 1, 1)) if cells.matrices is None else cells.matrices
    lower, upper = np.ascontiguousarray(lower), np.ascontiguousarray(upper)
    _first(lower, upper, np.array(candidates, np.int64), cells.offsets, matrices, inner, found)
    return found


@compiled
def _first(lower, upper, candidates, offsets, matrices, inner, found):  # pragma: no cover - compiled
    for k in range(lower.shape[0]):
        found[k] = -1
        for e in range(candidates.shape[1]):
            i = candidates[k, e]
            if i >= 0:
                _, far = span(lower, upper, k, offsets, matrices, i)
                if far < inner[i]:
                    found[k] = i
                    break
