"""Trajectories that pass a span of layers in groups: what `_captured` does step by step, faster.

Values are those of every lane, computed by a compiled loop. Bounds are for all lanes of a group: `_rounding.spread`
passes on the largest of their sizes, as measured, and the least power of two of which they are multiples, so that one
test per row replaces one per lane. What a lane itself is a multiple of behind the span follows from paths through the
span, which are the same for all lanes. Where a norm turns out to be too near to 1, nothing is decided here.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from approx._compile import compiled
from approx.certification import _rounding
from approx.certification._chain import Chain, Format

__all__ = ["ERROR", "LOAD", "MULTIPLE", "PARTS", "SIZE", "VALUE", "Glider"]

Array = NDArray[np.float64]

VALUE, SIZE, ERROR, LOAD, MULTIPLE = range(5)  # the parts of a state
PARTS = 5
LEAST, MOST = 256, 2048  # lanes of a group: a span has about 256 new ones, and 2048 stay in the cache
_FAR, _LOST, _NEVER = 500, -(2**20), 2**29  # exponents of powers of two: the largest, and in place of 0 and of inf
_POSITIVE = 2**63 - 1  # all bits but the sign


class Glider:
    """Moves lanes through spans of layers.

    moves : as in `_captured`; length : the most layers of a span
    """

    def __init__(self, chain: Chain, moves: tuple[NDArray, ...], form: Format, length: int) -> None:
        self.chain, self.moves, self.form = chain, moves, form
        self.memory = np.zeros((length + 1) * chain.width * MOST)

    def __call__(
        self, first: int, stop: int, lanes: tuple[NDArray, ...], following: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Move lanes (k,), as in `_captured`, through the layers first .. stop.

        Lanes are left unchanged where they must be taken step by step, for which the result (k,) is False.
        """
        count = len(lanes[-1])
        glided = np.zeros(count, bool)
        group = max(LEAST, -(-count // -(-count // MOST)))
        span = _Span(self.chain, first, stop)
        for low in range(0, count, group):
            part = slice(low, min(low + group, count))
            with np.errstate(all="ignore"):
                glided[part] = self._group(span, tuple(lane[..., part] for lane in lanes), following)
        return glided

    def _group(self, span: _Span, lanes: tuple[NDArray, ...], following: NDArray[np.int64]) -> bool:
        starts, names, state, total, moved, alive = lanes
        chain, first, stop, after = self.chain, span.first, span.stop, span.after
        rounds = state[ERROR].any() or moved.any()
        if not rounds:
            found = self._errors(span, lanes, span.unknown)
            rounds = found.rest.any()
        slabs = stop - first + 1 if span.totals.any() else 2
        history = self.memory[: slabs * chain.width * len(starts)].reshape(slabs, chain.width, len(starts))
        history[0], history[1:, :, np.searchsorted(starts, first) :] = state[VALUE], 0.0
        squares, norm, ended = total[VALUE].copy(), np.empty(len(starts)), np.full(len(starts), -1)
        above, below = np.full(stop - first, 1.0 + 2.0 ** (-self.form.digits / 5)), np.full(stop - first, -1.0)
        sizes = np.zeros(len(span.layer) if rounds else 0)
        bits = history.view(np.int64), sizes.view(np.int64)
        _follow(chain.arrays, first, stop, starts, history, squares, norm, above, below, ended, *bits)
        if rounds:
            found = self._errors(span, lanes, sizes)
        # Both evaluations may be off, the one that is bounded and this one.
        doubt = 2.0 * np.sqrt(found.squared) * (1 + 2.0**-20) + (found.terms + 3.0) * 2.0 * 2.0**-self.form.digits
        clear = (above > (1.0 + doubt) ** 2 * (1 + 2.0**-40)) & ((below < 0.0) | (1.0 - np.sqrt(below) > doubt))
        rest, multiples = found.rest[-after:], found.multiples[-after:]
        if not ((clear | span.passive).all() and np.isfinite(rest).all()):
            return False
        fell = (ended >= 0) & alive
        following[names[fell]] = ended[fell]
        alive[fell] = False
        values = history[(stop - first) % slabs, :after]
        slopes = self.moves[0][span.rows, : len(moved)]
        size = np.abs(values) + 2.0 * (rest + np.abs(slopes[-after:]) @ found.shift[-1])[:, None]
        load = (size != 0.0).astype(float)
        if span.totals.any():
            margins = np.zeros(history.shape[:2])
            if rounds:
                margins[0] = (state[SIZE] - np.abs(state[VALUE])).max(axis=1)
                margins[span.place] = 2.0 * (found.rest + (np.abs(slopes) * found.shift[span.layer]).sum(axis=1))
            for j in np.flatnonzero(span.totals).tolist():
                size[j], load[j] = span.total(j, history, margins, starts, state[SIZE, j], state[LOAD, j])
        total[MULTIPLE] = np.inf if span.renewed else np.minimum(total[MULTIPLE], state[MULTIPLE, span.entering])
        total[MULTIPLE] = np.minimum(total[MULTIPLE], found.multiples[span.retired].min(initial=np.inf))
        least = np.zeros_like(values)
        if multiples.any():
            paths = span.through[:after]
            least[:] = paths[:, -1:]
            for j, c in np.argwhere(paths[:, :-1] < np.inf):
                np.minimum(least[j], paths[j, c] * state[MULTIPLE, c], out=least[j])
            least[(multiples == 0.0) | (paths == 0.0).any(axis=1)] = 0.0
        state[VALUE, :after], state[SIZE, :after], state[LOAD, :after] = values, size, load
        state[ERROR, :after], state[MULTIPLE, :after] = rest[:, None], least
        total[VALUE], total[ERROR], total[LOAD] = squares, *found.square
        moved[...] = found.shift[-1][:, None]
        return True

    def _errors(self, span: _Span, lanes: tuple[NDArray, ...], sizes: Array) -> _rounding.Spread:
        """Those of all lanes together."""
        _, _, state, total, moved, _ = lanes
        worst = np.zeros((_rounding.PARTS, self.chain.width))
        worst[_rounding.SIZE], worst[_rounding.LOAD] = state[SIZE].max(axis=1), state[LOAD].max(axis=1)
        worst[_rounding.ERROR] = worst[_rounding.BASE] = state[ERROR].max(axis=1)
        worst[_rounding.MULTIPLE] = state[MULTIPLE].min(axis=1)
        before = worst, moved.max(axis=1), float(total[ERROR].max()), float(total[LOAD].max())
        where = self.chain, span.first, span.stop
        return _rounding.spread(*where, self.moves, before, sizes, span.none, self.form.digits, captured=True)


class _Span:
    """The layers first .. stop of a chain.

    rows : those of the chain; after: how many the last layer has
    layer (rows,), begins (layers,): the layer, from 0, of a row, and the first row of a layer, from 0
    place : where a row stands in an array (layers + 1, width) of states
    totals (width,): which coordinates behind the span do not count towards the norm
    passive (layers,): those that are no Step-ReLU layers
    renewed : whether q is begun anew; retired: rows of the coordinates of which it then consists behind the span, but
        for one before the span, `entering`
    """

    def __init__(self, chain: Chain, first: int, stop: int) -> None:
        self.chain, self.first, self.stop = chain, first, stop
        begin, end = int(chain.first_row[first]), int(chain.first_row[stop])
        self.rows, self.begins = slice(begin, end), chain.first_row[first:stop] - begin
        widths = np.diff(chain.first_row[first : stop + 1])
        self.after = int(widths[-1])
        self.layer = np.repeat(np.arange(stop - first), widths)
        self.place = self.layer + 1, np.arange(end - begin) - self.begins[self.layer]
        self.none, self.unknown = np.zeros(end - begin), np.full(end - begin, np.inf)
        self.totals = ~chain.counted[end - self.after : end]
        self.passive = ~chain.step[first:stop]
        retire = chain.retire[first:stop]
        since = int(np.max(np.flatnonzero(retire < 0), initial=-1)) + 1
        self.renewed, self.entering = since > 0, int(retire[0])
        since = max(since, 1)
        self.retired = self.begins[since - 1 : -1] + retire[since:]

    def total(
        self, j: int, history: Array, margins: Array, starts: NDArray[np.int64], size: Array, load: Array
    ) -> tuple[Array, Array]:
        """The size of coordinate j behind the span, which is not counted, and of how many terms it is a sum.

        history (layers + 1, width, k), margins (layers + 1, width): values, and how much larger they may be
        size, load (k,): before the span
        """
        position, layer, column, weight, kept = self._growth
        own = position == j
        layer, column = layer[own], column[own]
        terms = np.abs(history[layer, column])
        errors = margins[layer, column, None]
        if errors.any():
            terms += errors * (layer[:, None] > starts + (1 - self.first))  # a lane that waits has none
        return kept * size + np.abs(weight[own]) @ terms, kept * load + np.count_nonzero(terms, axis=0)

    @functools.cached_property
    def through(self) -> Array:
        """What `_paths` finds."""
        chain, j = self.chain, self.place[1]
        exponents = np.full((self.stop - self.first, chain.width + 1, chain.width + 1), _NEVER)
        row, entries = self._entries
        exponents[self.layer[row], j[row], chain.column[entries]] = np.frexp(chain.grid[entries])[1] - 1
        shifts = chain.bias_grid[self.rows]
        exponents[self.layer, j, -1] = np.where(shifts < np.inf, np.frexp(shifts)[1] - 1, _NEVER)
        exponents[:, -1, -1] = 0
        return _paths(exponents)

    @functools.cached_property
    def _entries(self) -> tuple[NDArray[np.int64], slice]:
        """The row, from 0, of each entry, and where they are in the chain."""
        starts = self.chain.first_entry[self.rows.start : self.rows.stop + 1]
        return np.repeat(np.arange(len(self.layer)), np.diff(starts)), slice(int(starts[0]), int(starts[-1]))

    @functools.cached_property
    def _growth(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], Array, bool]:
        """What is added to totals, from the last layer on in which they begin: to which coordinate, in which layer,
        from which coordinate, with what weight; and whether they were begun before the span."""
        chain = self.chain
        row, entries = self._entries
        column, weight, layer = chain.column[entries], chain.weight[entries], self.layer[row]
        counted = chain.counted[chain.first_row[self.first - 1 + layer] + column]
        into = ~chain.counted[self.rows][row]
        keeps = np.zeros(self.stop - self.first, bool)
        keeps[layer[into & ~counted]] = True
        since = int(np.max(np.flatnonzero(~keeps), initial=-1))
        into &= counted & (layer >= since)
        return self.place[1][row[into]], layer[into], column[into], weight[into], since < 0


def _paths(exponents: NDArray[np.int64]) -> Array:
    """(width + 1, width + 1): entry (j, c) times what coordinate c is a multiple of before some layers is what
    coordinate j is a multiple of behind them, with inf where no path leads from c to j; less, down to 0, where that
    leaves the range of exact products. The last coordinate is the constant 1.

    exponents (layers, width + 1, width + 1): of the grids of the weights
    """
    exponents = np.ascontiguousarray(exponents.transpose(1, 2, 0), dtype=np.int32)
    while exponents.shape[2] > 1:
        left, earlier, later = exponents[..., exponents.shape[2] & ~1 :], exponents[..., :-1:2], exponents[..., 1::2]
        pairs = (later[:, :, None] + earlier).min(axis=1)
        pairs[pairs < -_FAR] = _LOST
        np.minimum(pairs, _FAR, out=pairs, where=pairs <= _NEVER // 2)
        pairs[pairs > _NEVER // 2] = _NEVER
        exponents = np.concatenate([pairs, left], axis=2)
    last = exponents[..., 0]
    return np.where(last == _NEVER, np.inf, np.where(last < -_FAR, 0.0, np.exp2(np.minimum(last, _FAR))))


@compiled(fastmath={"contract"})
def _follow(
    chain, first, stop, starts, history, squares, norm, above, below, ended, bits, sizes
):  # pragma: no cover - compiled  # fmt: skip
    """Values of the lanes behind each layer, and which are zeroed.

    starts (k,): the layers up to which a lane waits, zero
    history (layers + 1, width, k), of which the first is given, or (2, width, k), to be used in turn
    squares (k,): q, before and behind the span
    above, below (layers,): bounds of the squared norms that are at least 1 from below, the first of which is given,
        and of those that are less from above
    ended (k,): the first layer that zeroed a lane again, or -1
    bits : the bits of history; sizes (rows,): those of the largest value of any lane, empty if not needed
    Working memory: norm (k,)
    """
    first_row, first_entry, column, weight, _, bias, _, counted, step, retire = chain
    slabs, alive, measured = history.shape[0], 0, sizes.shape[0] > 0
    for i in range(stop - first):
        layer = first + i
        while alive < starts.shape[0] and starts[alive] < layer:
            alive += 1
        now, new = history[i % slabs], history[(i + 1) % slabs]
        origin, retired = first_row[layer], retire[layer]
        if retired >= 0:
            for k in range(alive):
                squares[k] += now[retired, k] * now[retired, k]
        elif i == 0 or retire[layer - 1] >= 0:
            for k in range(alive):
                squares[k] = 0.0
        for k in range(alive):
            norm[k] = squares[k]
        for row in range(origin, first_row[layer + 1]):
            line, shift = new[row - origin], bias[row]
            begin, end = first_entry[row], first_entry[row + 1]
            for e in range(begin, end):
                source, w = now[column[e]], weight[e]
                if e == begin:
                    for k in range(alive):
                        line[k] = shift + w * source[k]
                else:
                    for k in range(alive):
                        line[k] += w * source[k]
            if begin == end:
                for k in range(alive):  # assigning a slice takes long to compile
                    line[k] = shift
            if counted[row]:
                for k in range(alive):
                    norm[k] += line[k] * line[k]
            if measured:
                top = 0
                for k in range(alive):
                    top = max(top, bits[(i + 1) % slabs, row - origin, k] & _POSITIVE)
                sizes[row - first_row[first]] = top
        near, clear = 0, above[i]
        for k in range(alive):
            near += 0 if norm[k] > clear else 1
        if near == 0 or not step[layer]:
            continue
        for k in range(alive):
            if norm[k] < 1.0:
                below[i] = max(below[i], norm[k])
                ended[k] = layer if ended[k] < 0 else ended[k]
                squares[k] = 0.0
                for j in range(first_row[layer + 1] - origin):
                    new[j, k] = 0.0
            else:
                above[i] = min(above[i], norm[k])
