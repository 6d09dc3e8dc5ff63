"""Captured points: the zero state after a layer, followed through the rest of the network.

Errors are bounded as in `_rounding`, whose docstring has the model. All trajectories are followed together, lane by
lane, and layers are taken in spans; those that live on behind a span close ranks. A layer with the same value ends the
ones before it in most constructions, so there are no more of them than different values.

A state is an array (PARTS, rows, lanes): values, their sizes, their errors, for how many nonzero terms they count in a
sum, and what they are multiples of. Sums of squares have the same form, (PARTS, lanes).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from approx.certification import _chain
from approx.certification._chain import Chain, Format
from approx.certification._gliding import ERROR, LOAD, MULTIPLE, PARTS, SIZE, VALUE, Glider

__all__ = ["WAVE", "Trajectories", "settle"]

Array = NDArray[np.float64]
WAVE = 1 << 16  # trajectories that are kept at a time; bounds depend on their company, so not on the number of threads
_SPAN = 256  # layers
_MOST_NUMBERS = 1 << 20  # of the dense matrices of a span


class Trajectories(NamedTuple):
    """The zero state after each of k layers, followed through the network.

    following (k,): the layer that zeroes it again, or -1; values, errors (k, m) at the end
    doubtful (k,): a layer where the norm is nearer to 1 than its error, or -1, and gaps (k,): | |v| - 1 | there
    """

    following: NDArray[np.int64]
    values: Array
    errors: Array
    doubtful: NDArray[np.int64]
    gaps: Array

    @classmethod
    def unknown(cls, count: int, dim: int) -> Trajectories:
        values, errors = np.zeros((2, count, dim))
        return cls(np.full(count, -1), values, errors, np.full(count, -1), np.zeros(count))

    def part(self, which: slice) -> Trajectories:
        """Views of some."""
        return Trajectories._make(array[which] for array in self)


class _Lanes(NamedTuple):
    """Trajectories, one in each entry of the last axis.

    starts (k,), ascending: the layers whose zero state they follow; names (k,): where their results belong
    state (PARTS, width, k); total (PARTS, k): q; moved (n, k): the shift zeta; alive (k,)
    """

    starts: NDArray[np.int64]
    names: NDArray[np.int64]
    state: Array
    total: Array
    moved: Array
    alive: NDArray[np.bool_]

    @classmethod
    def fresh(cls, starts: NDArray[np.int64], names: NDArray[np.int64], width: int, dim: int) -> _Lanes:
        """At the zero state."""
        count = len(starts)
        state, total = np.zeros((PARTS, width, count)), np.zeros((PARTS, count))
        state[MULTIPLE] = total[MULTIPLE] = np.inf
        return cls(starts, names, state, total, np.zeros((dim, count)), np.ones(count, bool))

    def take(self, which: NDArray[np.int64]) -> _Lanes:
        """Copies of some."""
        return _Lanes._make(part.take(which, axis=-1) for part in self)

    def join(self, other: _Lanes) -> _Lanes:
        return _Lanes._make(np.concatenate(pair, axis=-1) for pair in zip(self, other, strict=True))


class _Span:
    """The layers first .. stop of a chain with dense matrices, row by row.

    rows (stop - first + 1,): layer first + i has the rows rows[i] .. rows[i + 1], of a chain that begins with row
    `begin`; inputs (stop - first,): how many coordinates it reads
    factors (PARTS - 1, rows, width), shifts (PARTS - 1, rows), grids, shift_grids: by what a row multiplies each part
    of a state, and what it adds; powers (rows,): are all weights powers of two?
    """

    def __init__(self, chain: Chain, first: int, stop: int) -> None:
        self.first, self.stop = first, stop
        begin, end = int(chain.first_row[first]), int(chain.first_row[stop])
        self.begin, self.rows = begin, chain.first_row[first : stop + 1] - begin
        self.inputs = np.diff(chain.first_row[first - 1 : stop])
        entries = slice(int(chain.first_entry[begin]), int(chain.first_entry[end]))
        row = np.repeat(np.arange(end - begin), np.diff(chain.first_entry[begin : end + 1]))
        at = row, chain.column[entries]
        weight, grid, bias = chain.weight[entries], chain.grid[entries], chain.bias[begin:end]
        self.factors = np.zeros((PARTS - 1, end - begin, chain.width))
        for part, factor in ((VALUE, weight), (SIZE, np.abs(weight)), (ERROR, np.abs(weight)), (LOAD, 1.0)):
            self.factors[part][at] = factor
        self.shifts = np.stack([bias, np.abs(bias), np.zeros_like(bias), bias != 0.0])
        self.grids = np.full((end - begin, chain.width), np.inf)
        self.grids[at] = grid
        self.shift_grids = chain.bias_grid[begin:end]
        self.powers = np.bincount(row, grid != np.abs(weight), minlength=end - begin) == 0
        self.counted = chain.counted[begin:end]
        self.step, self.retire = chain.step[first:stop], chain.retire[first:stop]


def settle(
    chain: Chain, moves: tuple[NDArray, ...], starts: NDArray[np.int64], form: Format, found: Trajectories
) -> None:
    """Follow the zero state after layer starts[k] (ascending) until it is zeroed again or leaves the network.

    moves : (maps, defects, fixed, based, pull, keep) of a `Recovery`; based all -1 means that errors stay in r
    found : what to fill in, `Trajectories.unknown` before
    """
    layers, width, n = len(chain), chain.width, chain.dim_in
    length = int(np.clip(_MOST_NUMBERS // (PARTS * width**2), 1, _SPAN))
    glide = Glider(chain, moves, form, length) if layers >= _chain.LONG else None
    lanes = _Lanes.fresh(starts[:0], np.zeros(0, np.int64), width, n)
    ahead = stop = 0
    while len(lanes.names) or ahead < len(starts):
        first = stop if len(lanes.names) else int(starts[ahead]) + 1
        stop = min(first + length, layers if first == layers - 1 else layers - 1)  # the last one by itself
        joined = np.arange(ahead, np.searchsorted(starts, stop - 1))  # the others have nothing to pass
        ahead += len(joined)
        lanes = lanes.join(_Lanes.fresh(starts[joined], joined, width, n))
        left = np.arange(len(lanes.names))
        if glide is not None and stop < layers:
            left = left[~glide(first, stop, lanes, found.following)]
        if len(left):
            part = lanes.take(left)
            with np.errstate(over="ignore", invalid="ignore"):
                _walk(_Span(chain, first, stop), moves, form, part, found)
            for whole, taken in zip(lanes, part, strict=True):
                whole[..., left] = taken
        lanes = lanes.take(np.flatnonzero(lanes.alive))
        if stop == layers:
            found.values[lanes.names] = lanes.state[VALUE, : chain.dim_out].T
            rest = lanes.state[ERROR, : chain.dim_out] + np.abs(moves[0][chain.first_row[-2] :, :n]) @ lanes.moved
            found.errors[lanes.names] = np.where(np.isnan(rest), np.inf, rest).T
            return


def _walk(span: _Span, moves: tuple[NDArray, ...], form: Format, lanes: _Lanes, found: Trajectories) -> None:
    """Take lanes through a span, step by step."""
    unit, most = 2.0**-form.digits, 2.0**form.digits
    active = np.searchsorted(lanes.starts, np.arange(span.first, span.stop))
    begin = int(np.argmax(active > 0))
    now = lanes.state[:, : span.inputs[begin], :0]
    for i in range(begin, span.stop - span.first):
        layer, count = span.first + i, active[i]
        if now.shape[2] < count:
            now = np.concatenate([now, lanes.state[:, : now.shape[1], now.shape[2] : count]], axis=2)
        total, moved, alive = lanes.total[:, :count], lanes.moved[:, :count], lanes.alive[:count]
        retired = span.retire[i]
        if retired < 0:
            total[...] = 0.0
            total[MULTIPLE] = np.inf
        else:
            total[VALUE] += now[VALUE, retired] ** 2
            total[ERROR] += now[ERROR, retired] ** 2
            total[LOAD] += now[LOAD, retired]
            np.minimum(total[MULTIPLE], now[MULTIPLE, retired], out=total[MULTIPLE])
        now, spread = _advance(span, i, moves, form, now, moved)
        if not span.step[i]:
            continue
        counted = now if len(spread) == now.shape[1] else now[:, span.counted[span.rows[i] : span.rows[i + 1]]]
        norm = total[VALUE] + (counted[VALUE] ** 2).sum(axis=0)
        error = total[ERROR] + (spread**2).sum(axis=0)
        terms = total[LOAD] + counted[LOAD].sum(axis=0)
        # Both evaluations may be off, the one that is bounded and this one.
        distance = 2.0 * np.sqrt(error) * (1 + 2.0**-20)
        doubt = distance + (terms + 3.0) * 2.0 * unit
        near = np.flatnonzero(~(norm > (1.0 + doubt) ** 2 * (1 + 2.0**-40)) & alive)  # zeroed, or could be
        if not len(near):
            continue
        names, norm, distance = lanes.names[near], norm[near], distance[near]
        gap = np.abs(np.sqrt(norm) - 1.0)
        # Exact squares leave no doubt even at |v| = 1.
        least = np.minimum(total[MULTIPLE, near], counted[MULTIPLE][:, near].min(axis=0))
        sure = (distance == 0.0) & (norm <= least * least * most) & (least * least >= form.smallest)
        unsure = ~(gap > doubt[near]) & ~sure & (found.doubtful[names] < 0)
        found.doubtful[names[unsure]] = layer
        found.gaps[names[unsure]] = gap[unsure]
        ended = norm < 1.0
        found.following[names[ended]] = layer
        alive[near[ended]] = False
        if not lanes.alive.any():
            return
    lanes.state[:, : now.shape[1]] = now


def _advance(
    span: _Span, i: int, moves: tuple[NDArray, ...], form: Format, now: Array, moved: Array
) -> tuple[Array, Array]:
    """The state behind layer i of a span, without its activation, and the errors of its counted rows with what `moved`
    adds to them. Errors r are moved into the shift, as `spread` does."""
    rows = slice(int(span.rows[i]), int(span.rows[i + 1]))
    inputs, counted = now.shape[1], span.counted[rows]
    some: slice | NDArray[np.bool_] = slice(None) if counted.all() else counted
    new = np.empty((PARTS, len(counted), now.shape[2]))
    new[:MULTIPLE] = np.einsum("pjc,pck->pjk", span.factors[:, rows, :inputs], now[:MULTIPLE])
    new[:MULTIPLE] += span.shifts[:, rows, None]
    # Where there is no weight the grid is inf; times 0, for multiples of nothing, it is NaN, which fmin ignores.
    new[MULTIPLE] = span.shift_grids[rows, None]
    for c in range(inputs):
        np.fmin(new[MULTIPLE], span.grids[rows, c, None] * now[MULTIPLE, c], out=new[MULTIPLE])
    size, multiple = new[SIZE, some], new[MULTIPLE, some]
    unit, most = 2.0**-form.digits, 2.0**form.digits
    # Uncounted rows are totals: rounded, in any order, where they are read.
    bound = np.where(multiple >= form.smallest, np.minimum(multiple * most, form.largest), 0.0)
    inexact = ~((size < bound) | (size == 0.0))
    if inexact.any():
        terms = np.maximum(new[LOAD, some] - 1.0 + ~span.powers[rows, None][some], 0.0)
        relative = np.where(terms * unit < 0.5, terms * unit / (1.0 - terms * unit), np.inf)
        rounding = np.where(inexact, relative * size + terms * form.smallest, 0.0)
        new[ERROR, some] += np.where(size <= form.largest, rounding, np.inf)
        new[MULTIPLE, some] = np.where(rounding == 0.0, multiple, 0.0)
    maps, defects, _, based, pull, keep = moves
    own, base = slice(span.begin + rows.start, span.begin + rows.stop), based[span.first + i]
    slopes, defects = maps[own, :-1], defects[own, :-1]
    if moved.any() or base >= 0:
        error = new[ERROR] + np.einsum("ja,ak->jk", defects, moved)
        if base >= 0:
            moved += np.einsum("aj,jk->ak", pull[base, :, : len(error)], error)
            error = np.einsum("ij,jk->ik", keep[base, : len(error), : len(error)], error)
        new[ERROR] = error
        spread = error[some] + np.einsum("ja,ak->jk", np.abs(slopes[some]), moved)
    else:
        spread = new[ERROR, some]
    # From here on sizes are those of the values, with their errors.
    size = np.abs(new[VALUE, some]) + 2.0 * spread
    new[SIZE, some] = size
    new[LOAD, some] = size != 0.0
    new[MULTIPLE, some] = np.where(size == 0.0, np.inf, new[MULTIPLE, some])
    return new, spread
