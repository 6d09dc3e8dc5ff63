"""Captured points, compiled: the zero state after a layer, followed through the rest of the network.

Errors are bounded as in `_uncaptured`, whose docstring has the model. 64 trajectories, a group, are followed together,
so that the loops over them are vectorised. Layers are taken in spans, and those that live on behind a span close ranks:
a step costs in proportion to the trajectories alive there. A layer with the same value ends the ones before it in most
constructions, so there are no more of them than different values.

The state of a group is an array (width, 5 LANES): a row has the values of a coordinate in all lanes, then their sizes,
their errors, what they are multiples of, and how many nonzero terms they count for in a sum. Sums of squares have the
same form.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from approx._compile import compiled
from approx.certification import _chain
from approx.certification._chain import Chain
from approx.certification._gliding import ERROR, LANES, LOAD, MULTIPLE, PARTS, SIZE, glide

__all__ = ["LANES", "WAVE", "settle"]

Array = NDArray[np.float64]
WAVE = 1 << 16  # trajectories that are kept at a time
_SPAN = 128  # layers
_compile = compiled(fastmath={"contract"})


@_compile
def _pull(layer, rows, origin, moves, moved, state, spare):  # pragma: no cover - compiled
    """Move errors r of the rows of a layer into the shift zeta (dim, LANES), as `spread` does."""
    defects, based, pull, keep = moves
    index = based[layer]
    dim = moved.shape[0]
    for j in range(rows):
        for a in range(dim):
            for k in range(LANES):
                state[j, ERROR + k] += defects[origin + j, a] * moved[a, k]
    if index < 0:
        return
    for a in range(dim):
        for j in range(rows):
            for k in range(LANES):
                moved[a, k] += pull[index, a, j] * state[j, ERROR + k]
    for j in range(rows):
        for k in range(LANES):
            spare[j, k] = state[j, ERROR + k]
    for j in range(rows):
        for k in range(LANES):
            state[j, ERROR + k] = 0.0
        for i in range(rows):
            for k in range(LANES):
                state[j, ERROR + k] += keep[index, j, i] * spare[i, k]


@_compile
def _advance(
    chain, moves, maps, layer, digits, smallest, largest, state, moved, norm, new, spare
):  # pragma: no cover - compiled
    """The state `new` behind a layer, without its activation; the squares of its counted rows are added to `norm`."""
    first_row, first_entry, column, weight, grid, bias, bias_grid, counted, _, _ = chain
    unit, most = 2.0**-digits, 2.0**digits
    origin = first_row[layer]
    rows = first_row[layer + 1] - origin
    for row in range(origin, first_row[layer + 1]):
        j = row - origin
        shift = bias[row]
        some = 1.0 if shift != 0.0 else 0.0
        powers = 0.0  # one more rounding for products that are not exact
        for k in range(LANES):
            new[j, k] = shift
            new[j, SIZE + k] = abs(shift)
            new[j, ERROR + k] = 0.0
            new[j, MULTIPLE + k] = bias_grid[row]
            new[j, LOAD + k] = some
        for e in range(first_entry[row], first_entry[row + 1]):
            c = column[e]
            w = weight[e]
            a = abs(w)
            g = grid[e]
            if g != a:
                powers = 1.0
            for k in range(LANES):
                new[j, k] += w * state[c, k]
                new[j, SIZE + k] += a * state[c, SIZE + k]
                new[j, ERROR + k] += a * state[c, ERROR + k]
                new[j, MULTIPLE + k] = min(new[j, MULTIPLE + k], g * state[c, MULTIPLE + k])
                new[j, LOAD + k] += state[c, LOAD + k]
        if not counted[row]:  # a total: rounded, in any order, where it is read
            continue
        inexact = 0
        for k in range(LANES):
            multiple = new[j, MULTIPLE + k]
            bound = min(multiple * most, largest) if multiple >= smallest else 0.0
            inexact += 0 if new[j, SIZE + k] <= bound else 1
        if inexact == 0:
            continue
        for k in range(LANES):
            multiple, size = new[j, MULTIPLE + k], new[j, SIZE + k]
            bound = min(multiple * most, largest) if multiple >= smallest else 0.0
            terms = max(new[j, LOAD + k] - 1.0 + powers, 0.0)
            rounding = terms * unit / (1.0 - terms * unit) * size + terms * smallest
            rounding = 0.0 if size <= bound else rounding
            new[j, ERROR + k] += rounding if size <= largest else np.inf
            new[j, MULTIPLE + k] = multiple if rounding == 0.0 else 0.0
    if moves is not None:
        _pull(layer, rows, origin, moves, moved, new, spare)
    # From here on sizes are those of the values, with their errors.
    for j in range(rows):
        if not counted[origin + j]:
            continue
        for k in range(LANES):
            spare[j, k] = new[j, ERROR + k]
        if moves is not None:
            for a in range(moved.shape[0]):
                slope = abs(maps[origin + j, a])
                for k in range(LANES):
                    spare[j, k] += slope * moved[a, k]
        for k in range(LANES):
            # Twice: the evaluation that is bounded and this one may be off to either side.
            size = abs(new[j, k]) + 2.0 * spare[j, k]
            some = 1.0 if size > 0.0 else 0.0
            new[j, SIZE + k] = size
            new[j, MULTIPLE + k] = new[j, MULTIPLE + k] if size > 0.0 else np.inf
            new[j, LOAD + k] = some
            norm[0, k] += new[j, k] * new[j, k]
            norm[0, ERROR + k] += spare[j, k] * spare[j, k]
            norm[0, LOAD + k] += some


@_compile
def _walk(
    chain, moves, maps, starts, first, stop, digits, smallest, largest, names, glided, states, sums, moved, alive,
    memory, following, doubtful, gaps,
):  # pragma: no cover - compiled  # fmt: skip
    """Take groups of trajectories, those that have not glided, through the layers first .. stop, step by step.

    moves : (defects, based, pull, keep), or None where nothing is ever moved
    names (groups, LANES), ascending: which trajectory a lane has; the others: see `settle`
    """
    first_row, _, _, _, _, _, _, counted, step, retire = chain
    state, new, norm, spare = memory
    unit, most = 2.0**-digits, 2.0**digits
    for group in range(names.shape[0]):
        if glided[group]:
            continue
        latest = starts[names[group, LANES - 1]]
        total = sums[group]
        living = 0
        for k in range(LANES):
            living += alive[group, k]
        for j in range(state.shape[0]):
            for k in range(PARTS * LANES):
                state[j, k] = states[group, j, k]
        carries = True
        for layer in range(max(first, starts[names[group, 0]] + 1), stop):
            origin = first_row[layer]
            rows = first_row[layer + 1] - origin
            retired = retire[layer]
            if retired >= 0:
                carries = True
                for k in range(LANES):
                    total[0, k] += state[retired, k] * state[retired, k]
                    total[0, ERROR + k] += state[retired, ERROR + k] * state[retired, ERROR + k]
                    total[0, MULTIPLE + k] = min(total[0, MULTIPLE + k], state[retired, MULTIPLE + k])
                    total[0, LOAD + k] += state[retired, LOAD + k]
            elif carries:
                carries = False
                for k in range(LANES):
                    total[0, k] = total[0, ERROR + k] = total[0, LOAD + k] = 0.0
                    total[0, MULTIPLE + k] = np.inf
            for k in range(PARTS * LANES):
                norm[0, k] = total[0, k]
            _advance(
                chain, moves, maps, layer, digits, smallest, largest, state, moved[group], norm, new, spare
            )  # fmt: skip
            state, new = new, state
            if layer > latest:
                if not step[layer]:
                    continue
                near = 0  # lanes that are zeroed, or could be: |v| <= 1 + error
                for k in range(LANES):
                    least = 1.0 + 2.0 * np.sqrt(norm[0, ERROR + k]) * (1 + 2.0**-20)
                    least += (norm[0, LOAD + k] + 3.0) * 2.0 * unit
                    near += 0 if norm[0, k] > least * least * (1 + 2.0**-40) else 1
                if near == 0:
                    continue
            for k in range(LANES):
                name = names[group, k]
                waiting = layer <= starts[name]
                zeroed = waiting or not alive[group, k]
                if not zeroed and step[layer]:
                    length = np.sqrt(norm[0, k])
                    distance = 2.0 * np.sqrt(norm[0, ERROR + k]) * (1 + 2.0**-20)
                    zeroed = norm[0, k] < 1.0
                    if not abs(length - 1.0) > distance + (norm[0, LOAD + k] + 3.0) * 2.0 * unit:
                        # Exact squares leave no doubt even at |v| = 1.
                        least = total[0, MULTIPLE + k]
                        for j in range(rows):
                            if counted[origin + j]:
                                least = min(least, state[j, MULTIPLE + k])
                        sure = distance == 0.0 and norm[0, k] <= least * least * most and least * least >= smallest
                        if not sure and doubtful[name] < 0:
                            doubtful[name] = layer
                            gaps[name] = abs(length - 1.0)
                    if zeroed:
                        following[name] = layer
                        alive[group, k] = False
                        living -= 1
                if zeroed:
                    for part in range(k, PARTS * LANES, LANES):
                        for j in range(rows):
                            state[j, part] = 0.0 if part - k != MULTIPLE else np.inf
                        total[0, part] = 0.0 if part - k != MULTIPLE else np.inf
                    for a in range(moved.shape[1]):
                        moved[group, a, k] = 0.0
            if living == 0:
                break
        for j in range(state.shape[0]):
            for k in range(PARTS * LANES):
                states[group, j, k] = state[j, k]


def settle(
    chain: Chain,
    maps: Array,
    defects: Array,
    based: NDArray[np.int64],
    pull: Array,
    keep: Array,
    starts: NDArray[np.int64],
    digits: int,
    smallest: float,
    largest: float,
    following: NDArray[np.int64],
    values: Array,
    errors: Array,
    doubtful: NDArray[np.int64],
    gaps: Array,
) -> None:
    """Follow the zero state after layer starts[k] (ascending) until it is zeroed again or leaves the network.

    based (L,) all -1 means that errors stay in r; smallest, largest: the least normal and the largest number of the
    format. Results: following (k,) the layer that zeroes it again, or -1;
    values, errors (k, m) at the end; doubtful (k,): a layer where the norm is nearer to 1 than its error, or -1,
    and gaps (k,): | |v| - 1 | there.
    """
    layers, count, width, n = len(chain), starts.shape[0], chain.width, chain.dim_in
    moves = (defects, based, pull, keep) if (based >= 0).any() else None
    glides = layers >= _chain.LONG and moves is None and bool(chain.counted.all())
    memory = tuple(np.zeros((rows, PARTS * LANES)) for rows in (width, width, 1, width))
    # What lanes have at the start; a row with its parts is a row of a state, the last but n one are the sums.
    fresh = np.zeros(PARTS * (width + 1) + n)
    fresh[MULTIPLE // LANES : PARTS * (width + 1) : PARTS] = np.inf
    living, lanes = np.zeros((0, fresh.shape[0])), np.zeros(0, np.int64)
    ahead = stop = 0
    while len(lanes) or ahead < count:
        first = stop if len(lanes) else int(starts[ahead]) + 1
        stop = min(first + _SPAN, layers)
        joined = np.arange(ahead, np.searchsorted(starts, stop))
        ahead += len(joined)
        lanes = np.concatenate([lanes, joined])
        used, groups = len(lanes), -(-len(lanes) // LANES)
        store = np.tile(fresh, (groups * LANES, 1))
        store[: len(living)] = living
        parts = np.split(store.reshape(groups, LANES, -1).swapaxes(1, 2), [PARTS * width, PARTS * (width + 1)], axis=1)
        states, sums, moved = (np.ascontiguousarray(part).reshape(groups, -1, r * LANES)
                               for part, r in zip(parts, (PARTS, PARTS, 1), strict=True))  # fmt: skip
        names = np.pad(lanes, (0, groups * LANES - used), mode="edge").reshape(groups, LANES)
        alive = (np.arange(groups * LANES) < used).reshape(groups, LANES)
        glided = np.zeros(groups, bool)
        if glides and first > 0:
            glided |= starts[names[:, -1]] < first
            glide(chain, first, stop, digits, smallest, largest, glided, names, states, alive, following)
        _walk(
            chain.arrays, moves, maps, starts, first, stop, digits, smallest, largest, names, glided, states, sums,
            moved, alive, memory, following, doubtful, gaps,
        )  # fmt: skip
        store = np.concatenate([part.reshape(groups, -1, LANES) for part in (states, sums, moved)], axis=1)
        store = store.swapaxes(1, 2).reshape(groups * LANES, -1)
        living, lanes = store[alive.ravel()], names[alive]
        if stop == layers:
            values[lanes] = living[:, : PARTS * chain.dim_out : PARTS]
            errors[lanes] = living[:, ERROR // LANES : PARTS * chain.dim_out : PARTS]
            errors[lanes] += living[:, living.shape[1] - n :] @ np.abs(maps[chain.first_row[-2] :, :n]).T
            return
