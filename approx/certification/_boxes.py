"""Bounds of |F - f| on boxes and at points, for an ordered-cell function F and bounds of f. Rounded outward."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from approx import _checks
from approx.affine import AffineMap
from approx.certification._blocks import Block
from approx.certification._constrained import constrained
from approx.certification.cells import Cells, Lists, take_lists
from approx.domains import Ball, Box

__all__ = ["Problem"]

Array = NDArray[np.float64]

_ULP = 2.0**-52
_CHUNK = 1 << 16  # cells whose range of f is asked for together


class Problem:
    """F, f and the domain, fixed for a whole search. The arguments are those of `branch_and_bound`."""

    def __init__(
        self,
        call: str,
        cells: Cells,
        values: ArrayLike,
        affine: AffineMap,
        oracle: Any,
        domain: Box | Ball,
        value_error: ArrayLike,
        deadline: float,
    ):
        for name, value, kinds, action in (
            ("cells", cells, (Cells,), "Convert a cover with Cells.of(cover)."),
            ("affine", affine, (AffineMap,), "Build it with AffineMap(A, b)."),
            ("domain", domain, (Box, Ball), "On R^n, bound what is outside a compact domain by a tail."),
        ):
            if not isinstance(value, kinds):
                required = " or ".join(kind.__name__ for kind in kinds)
                raise TypeError(_checks.message(call, f"{name} = {_checks.show(value)}", required, action))
        n, m = affine.dim_in, affine.dim_out
        if {cells.dim_in, domain.dim} != {n}:
            received = f"cells in R^{cells.dim_in}, a domain in R^{domain.dim}, an affine map on R^{n}"
            raise ValueError(_checks.message(call, received, "the same dimension", "Pass parts of one problem."))
        if not callable(getattr(oracle, "range", None)):
            received = f"oracle = {_checks.show(oracle)}"
            raise TypeError(_checks.message(call, received, "an object with range(lower, upper)", "Wrap the bounds."))
        self.call, self.cells, self.affine, self.oracle = call, cells, affine, oracle
        self.values = np.array(_checks.finite_array(call, "values", values, (len(cells), m)), order="C")
        error = _checks.real_array(call, "value_error", value_error)
        if error.shape not in ((), (len(cells) + 1,)) or not ((error >= 0) & np.isfinite(error)).all():
            received = f"value_error = {_checks.show(value_error)}"
            required = f"one finite number >= 0, or ({len(cells) + 1},) of them"
            raise ValueError(_checks.message(call, received, required, "Pass bounds, without NaN."))
        self.errors = np.array(np.broadcast_to(error, (len(cells) + 1,)))
        self.ball = domain if isinstance(domain, Ball) else None
        if isinstance(domain, Box):
            self.lower, self.upper = domain.lower.copy(), domain.upper.copy()
        else:
            self.lower = np.nextafter(domain.center - domain.radius, -np.inf)
            self.upper = np.nextafter(domain.center + domain.radius, np.inf)
        # Factors that exceed the rounding of a norm of m, or n, numbers and a few operations around it.
        self._up, self._down = 1 + (m + 8) * _ULP, 1 - (m + 8) * _ULP
        self._wide = 1 + (n + 8) * _ULP
        self._inner, self._outer = cells.thresholds(self.lower, self.upper)
        self._caps = np.full(len(cells), np.inf)  # bounds of |f - y_i| on all of cell i
        self._scale = self.upper - self.lower
        low, high = cells.boxes(self.lower, self.upper)
        known = np.flatnonzero((low <= high).all(axis=1))
        if len(known):
            # Boxes are halved where they are longest, measured by the cells.
            self._scale = np.maximum(np.median((high - low)[known], axis=0), self._scale * 2.0**-40)
        for start in range(0, len(known), _CHUNK):
            if time.time() > deadline:
                break
            part = known[start : start + _CHUNK]
            least, most = self.range(low[part], high[part])
            gap = np.maximum(most - self.values[part], self.values[part] - least)
            self._caps[part] = self._upward(gap, self.errors[part])

    def root(self, count: int = 1) -> Block:
        """Boxes that cover the domain, at most `count`, of its shape."""
        lower, upper = _grid(self.lower, self.upper, count)
        if self.ball is not None:
            inside = self.meets_domain(lower, upper)
            lower, upper = lower[inside], upper[inside]
        everything = np.arange(len(self.cells), dtype=np.int32)
        lists: Lists = (np.array([0, len(everything)]), everything, np.array([False]))
        rows = np.zeros(len(lower), dtype=np.int64)
        lists, _, cuts = self.refine(lower, upper, rows, lists, np.zeros(1, np.bool_))
        return self.block(lower, upper, lists, *self.range(lower, upper), np.full(len(lower), np.inf), cuts)

    def block(
        self, lower: Array, upper: Array, lists: Lists, low: Array, high: Array, outside: Array, cuts: Array
    ) -> Block:
        """The boxes with their bounds of |F - f|, given bounds of f and, perhaps poor ones, of |f - L|."""
        rows = np.flatnonzero(~lists[2])
        outside = outside.copy()
        outside[rows] = np.minimum(outside[rows], self._outside(lower[rows], upper[rows], low[rows], high[rows]))
        bounds, pieces = self.bounds(np.arange(len(lower)), lists, low, high, outside)
        return Block(lower, upper, lists, low, high, outside, bounds, pieces, cuts)

    def refine(
        self, lower: Array, upper: Array, rows: NDArray, lists: Lists, join: NDArray
    ) -> tuple[Lists, NDArray[np.bool_], Array]:
        """The lists of boxes that lie in the boxes `rows`, whose lists are given; see Cells.refine."""
        return self.cells.refine(lower, upper, rows, lists, self._inner, self._outer, join)

    def bounds(
        self, rows: NDArray, lists: Lists, low: Array, high: Array, outside: Array
    ) -> tuple[Array, NDArray[np.int32]]:
        """(k,) bounds of |F - f| and the cells they are for, on boxes with these lists; low, high and outside are for
        larger boxes, of which box k lies in number rows[k]."""
        starts, cells, closed = lists
        bounds, box = np.where(closed, 0.0, outside[rows]), np.repeat(np.arange(len(rows)), np.diff(starts))
        able = np.flatnonzero(self._caps[cells] > bounds[box])
        box, cells = box[able], cells[able]
        pieces = _raise(bounds, box, cells, self._sizes(low[rows[box]], high[rows[box]], cells))
        return bounds, pieces

    def _sizes(self, low: Array, high: Array, cells: NDArray) -> Array:
        """(k,) bounds of |F - f| on parts of cells, with those of f there."""
        gap = np.maximum(high - self.values[cells], self.values[cells] - low)
        return np.minimum(self._upward(gap, self.errors[cells]), self._caps[cells])

    def range(self, lower: Array, upper: Array) -> tuple[Array, Array]:
        """(k, m) bounds of f on boxes that are never NaN; infinite where the oracle knows nothing."""
        return self._usable(self.oracle.range(lower, upper), (len(lower), self.affine.dim_out))

    def narrow(self, block: Block, enough: float = np.inf) -> Block:
        """The same boxes with the bounds of f on them, where so far those of larger boxes stood; where they are not
        good enough, with bounds on the parts of the boxes where each piece counts."""
        shape = (len(block), self.affine.dim_out)
        if hasattr(self.oracle, "range_and_peaks"):
            *bounds, cuts = self.oracle.range_and_peaks(block.lower, block.upper)
        else:
            bounds, cuts = self.oracle.range(block.lower, block.upper), block.cuts
        low, high = self._usable(bounds, shape)
        middle = np.clip(block.lower / 2 + block.upper / 2, block.lower, block.upper)
        self._refute(middle, self._holds(middle), low, high, block)
        low, high = np.maximum(low, block.low), np.minimum(high, block.high)
        proper = low <= high  # not so, perhaps, on boxes beyond the domain
        low, high = np.where(proper, low, -np.inf), np.where(proper, high, np.inf)
        new = self.block(block.lower, block.upper, block.lists, low, high, block.outside, cuts)
        new.bounds = np.minimum(new.bounds, block.bounds)
        if hasattr(self.oracle, "linear"):
            self._sharpen(new, enough)
        return new

    def _sharpen(self, block: Block, enough: float) -> None:
        """Better bounds of boxes that lie across boundaries of cells."""
        starts, _, closed = block.lists
        counts = np.diff(starts)
        rows = np.flatnonzero((block.bounds > enough) & (counts > closed))
        form = self.oracle.linear(block.lower[rows], block.upper[rows]) if len(rows) else None
        if form is None:
            return
        lists = starts, members, closed = take_lists(block.lists, rows)
        box = np.repeat(np.arange(len(rows)), np.diff(starts))
        low, high = block.low[rows], block.high[rows]
        plain = np.concatenate([self._sizes(low[box], high[box], members), np.where(closed, 0.0, block.outside[rows])])
        limits = np.where(plain > enough, enough, np.inf)
        sharp = constrained(
            form, block.lower[rows], block.upper[rows], lists, self.cells, self._inner, self._outer, self.values,
            self.affine, limits,
        )  # fmt: skip
        errors = np.concatenate([self.errors[members], np.full(len(rows), self.errors[-1])])
        size = np.minimum(plain, (sharp + errors) * self._up)
        bounds = size[len(members) :].copy()
        pieces = _raise(bounds, box, members, size[: len(members)])
        better = bounds < block.bounds[rows]
        block.bounds[rows[better]], block.pieces[rows[better]] = bounds[better], pieces[better]

    def _usable(self, bounds: tuple[Array, Array], shape: tuple[int, ...]) -> tuple[Array, Array]:
        low, high = (np.ascontiguousarray(bound, dtype=np.float64) for bound in bounds)
        if low.shape != shape or high.shape != shape:
            received = f"bounds of shapes {low.shape} and {high.shape} from the oracle for {shape[0]} boxes"
            raise ValueError(_checks.message(self.call, received, f"shape {shape}", "Correct the oracle."))
        proper = low <= high
        return np.where(proper, low, -np.inf), np.where(proper, high, np.inf)

    def _affine_range(self, lower: Array, upper: Array) -> tuple[Array, Array]:
        matrix, offset = self.affine.matrix, self.affine.offset
        low = high = np.broadcast_to(offset, (len(lower), len(offset)))
        if self.affine.is_constant:
            return low.copy(), high.copy()
        for j in range(matrix.shape[1]):
            ends = lower[:, j, None] * matrix[:, j], upper[:, j, None] * matrix[:, j]
            low, high = low + np.minimum(*ends), high + np.maximum(*ends)
        size = np.abs(matrix) @ np.maximum(np.abs(self.lower), np.abs(self.upper)) + np.abs(offset)
        slack = size * ((2 * matrix.shape[1] + 4) * _ULP) + 1e-300
        return low - slack, high + slack

    def _outside(self, lower: Array, upper: Array, low: Array, high: Array) -> Array:
        least, most = self._affine_range(lower, upper)
        gap = np.maximum(high - least, most - low)
        if hasattr(self.oracle, "residual_range") and not self.affine.is_constant and len(lower):
            below, above = self._usable(self.oracle.residual_range(lower, upper, self.affine), low.shape)
            gap = np.minimum(gap, np.maximum(above, -below))
        return self._upward(gap, self.errors[-1])

    def _upward(self, gap: Array, error: Array | float) -> Array:
        return (norm(gap) * self._up + error) * self._up

    def meets_domain(self, lower: Array, upper: Array) -> NDArray[np.bool_]:
        """(k,) False where a part of the box around the domain surely misses it."""
        if self.ball is None:
            return np.ones(len(lower), np.bool_)
        gap = np.maximum(np.maximum(lower - self.ball.center, self.ball.center - upper), 0.0)
        return ~(norm(gap) > self.ball.radius * self._wide)

    def split(self, block: Block) -> tuple[Array, Array, NDArray, NDArray[np.bool_]]:
        """Halve every box where it is longest, and its halves again: lower, upper, the box that each part comes from,
        and whether it is too small to be halved again. Boxes with a point where to cut are cut there."""
        rows = np.repeat(np.arange(len(block)), 4)
        lower, upper, cuts = block.lower[rows], block.upper[rows], block.cuts[rows]
        with np.errstate(over="ignore", invalid="ignore"):
            density = 1 / self._scale
            for turn in range(2):
                _halve(lower, upper, cuts, density, np.arange(len(rows)) >> turn & 1 > 0)
            tiny = ~_longest(lower, upper, density)[1]
        return lower, upper, rows, tiny

    def proposals(self, block: Block) -> Array:
        """(k, n) one point of each box: alternately its middle, and, for the piece that its bound is for, a point just
        inside the cell, or the point that the cells hold worst."""
        points = block.lower / 2 + block.upper / 2
        turn = np.arange(len(block)) % 2 == 1
        rows = np.flatnonzero(turn & (block.pieces >= 0))
        if len(rows):
            points[rows] = self.cells.just_inside(points[rows], block.pieces[rows])
        rows = np.flatnonzero(turn & (block.pieces < 0) & ~np.isnan(block.cuts).any(axis=1))
        points[rows] = block.cuts[rows]
        if self.ball is not None:
            offset = points - self.ball.center
            length = np.maximum(norm(np.abs(offset)), 1e-300)
            points = self.ball.center + offset * np.minimum(1.0, self.ball.radius * (1 - 1e-14) / length)[:, None]
        return np.clip(points, block.lower, block.upper)

    def look(self, block: Block, points: Array) -> tuple[Array, Array, Array]:
        """Look at one point of each box, (k, n).

        Returns (k,) each: a lower bound of |F - f| for every F that the value errors allow; an upper bound; and
        whether they hold, the point being surely in the domain and in no collar.
        """
        (starts, cells, closed), _, _ = self.refine(
            points, points, np.arange(len(points)), block.lists, np.zeros(len(block), np.bool_)
        )
        low, high = self.range(points, points)
        valid = self._holds(points)
        self._refute(points, valid, low, high, block)
        counts = np.diff(starts)
        least, most = self._affine_range(points, points)
        error = np.full(len(points), self.errors[-1])
        in_cell = closed & (counts == 1)
        cell = cells[starts[:-1][in_cell]]
        error[in_cell] = self.errors[cell]
        least[in_cell] = most[in_cell] = self.values[cell]
        size = self._downward(low - most, least - high)
        decided = valid & (in_cell | (~closed & (counts == 0)))
        highest = self._upward(np.maximum(high - least, most - low), error)
        highest = np.where(np.isfinite(highest), highest, size + error)
        return np.maximum((size - error) * self._down, 0.0), highest, decided

    def _downward(self, first: Array, second: Array) -> Array:
        return norm(np.maximum(np.maximum(first, second), 0.0)) * self._down

    def _holds(self, points: Array) -> NDArray[np.bool_]:
        """(k,) whether each point of the box around the domain surely lies in the domain."""
        if self.ball is None:
            return np.ones(len(points), np.bool_)
        return norm(np.abs(points - self.ball.center)) * self._wide <= self.ball.radius

    def _refute(self, points: Array, valid: NDArray[np.bool_], low: Array, high: Array, block: Block) -> None:
        """Raise ValueError if f cannot be within low and high at a valid point and within the bounds of its box."""
        wrong = valid & ((low > block.high) | (high < block.low)).any(axis=1)
        if wrong.any():
            i = int(wrong.argmax())
            received = f"f within {low[i].tolist()} .. {high[i].tolist()} at x = {points[i].tolist()}, but within"
            received += f" {block.low[i].tolist()} .. {block.high[i].tolist()} on a box around it"
            action = "Correct the target's enclosure, or its Lipschitz constant."
            raise ValueError(_checks.message(self.call, received, "bounds that do not contradict each other", action))


def _grid(lower: Array, upper: Array, count: int) -> tuple[Array, Array]:
    """The box in equal parts, as many in every direction: corners (k, n), k <= max(1, count)."""
    parts = max(1, math.floor(count ** (1 / len(lower)) + 1e-9))
    edges = [np.linspace(low, high, parts + 1) for low, high in zip(lower, upper, strict=True)]
    for edge, low, high in zip(edges, lower, upper, strict=True):
        edge[0], edge[-1] = low, high
    first, last = (np.stack(np.meshgrid(*(edge[part] for edge in edges), indexing="ij"), axis=-1)
                   for part in (slice(None, -1), slice(1, None)))  # fmt: skip
    return first.reshape(-1, len(lower)), last.reshape(-1, len(lower))


def norm(vectors: Array) -> Array:
    """(k, m) numbers >= 0 -> (k,) Euclidean norms, without overflow or underflow on the way."""
    if vectors.shape[1] == 1:
        return vectors[:, 0]
    largest = vectors.max(axis=1)
    finite = np.isfinite(largest)
    divisor = np.where((largest > 0) & finite, largest, 1.0)[:, None]
    scaled = np.where(finite[:, None], vectors / divisor, 0.0)
    return np.where(finite, divisor[:, 0] * np.sqrt(np.square(scaled).sum(axis=1)), largest)


def _halve(lower: Array, upper: Array, cuts: Array, density: Array, second: NDArray[np.bool_]) -> None:
    """Keep one half of each box, (k, n), the second one where this is asked for; boxes that floating point has no room
    to halve stay."""
    width = upper - lower
    cut, room = lower / 2 + upper / 2, np.minimum(cuts - lower, upper - cuts) > 2.0**-20 * width
    axis, divisible = _longest(lower, upper, density)
    marked = np.where(room, width * density, 0.0)
    best = marked.argmax(axis=1)
    rows = np.arange(len(lower))
    use = marked[rows, best] > 0.0
    axis[use] = best[use]
    cut = np.clip(np.where(use, cuts[rows, axis], cut[rows, axis]), lower[rows, axis], upper[rows, axis])
    for bound, half in ((lower, divisible & second), (upper, divisible & ~second)):
        bound[rows[half], axis[half]] = cut[half]


def _longest(lower: Array, upper: Array, density: Array) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """(k,) the axis along which to halve each box, and whether floating point has room for it on any axis."""
    width = upper - lower
    length = width * density
    length[~(width > 2.0**-50 * np.maximum(np.abs(lower), np.abs(upper)) + 1e-300) | ~(length > 0.0)] = 0.0
    axis = length.argmax(axis=1)
    return axis, length[np.arange(len(axis)), axis] > 0.0


def _raise(bounds: Array, box: NDArray, cells: NDArray, sizes: Array) -> NDArray[np.int32]:
    """Raise the bounds (k,) of boxes to those of their cells; returns (k,) these cells, -1 where none is larger."""
    pieces, before = np.full(len(bounds), -1, np.int32), bounds.copy()
    np.maximum.at(bounds, box, sizes)
    worst = np.flatnonzero((sizes == bounds[box]) & (sizes > before[box]))
    pieces[box[worst]] = cells[worst]
    return pieces
