"""Captured points, compiled: the zero state after a layer, followed through the rest of the network.

Errors are bounded as in `_uncaptured`, whose docstring has the model. 64 trajectories are followed together, so that
the loops over them are vectorised. Layers are taken in spans, and those that live on behind a span close ranks: a step
costs in proportion to the trajectories alive there. A layer with the same value ends the ones before it in most
constructions, so there are no more of them than different values.

A state is an array (width, 5 LANES): a row has the values of a coordinate in all lanes, then their sizes, their errors,
what they are multiples of, and how many nonzero terms they count for in a sum. Sums of squares have the same form.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from approx._compile import compiled
from approx.certification._chain import Chain
from approx.certification._gliding import ERROR, LANES, LOAD, MULTIPLE, PARTS, SIZE, glide, paths

__all__ = ["LANES", "WAVE", "settle"]

Array = NDArray[np.float64]
WAVE = 1 << 16  # trajectories that are kept at a time
_SPAN = 128  # layers
_compile = compiled(error_model="numpy", fastmath={"contract"})


@_compile
def _pull(dim, rows, origin, maps, defects, index, pull, keep, moved, state, spare):  # pragma: no cover - compiled
    """Move errors r of the rows of a layer into the shift zeta (dim, LANES), as `spread` does."""
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
def _load(store, row, fresh, group, lanes, part):  # pragma: no cover - compiled
    """Fill the rows of `part` with the columns group .. group + lanes of the store, spare lanes with fresh numbers."""
    for j in range(part.shape[0]):
        for first in range(0, part.shape[1], LANES):
            for k in range(LANES):
                part[j, first + k] = store[row, group + k] if k < lanes else fresh[row]
            row += 1


@_compile
def _keep(store, row, kept, alive, part):  # pragma: no cover - compiled
    """Copy living lanes to the columns of the store from `kept` on."""
    for j in range(part.shape[0]):
        for first in range(0, part.shape[1], LANES):
            c = kept
            for k in range(LANES):
                if alive[k]:
                    store[row, c] = part[j, first + k]
                    c += 1
            row += 1


@_compile
def _advance(
    first_row, first_entry, column, weight, grid, bias, bias_grid, counted, layer, digits, smallest, largest, state, new
):  # pragma: no cover - compiled
    """The state behind a layer, without its activation; sizes are the sums of the sizes of all terms."""
    unit, most = 2.0**-digits, 2.0**digits
    origin = first_row[layer]
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


@_compile
def _measure(rows, origin, counted, shifts, maps, moved, state, spare, norm):  # pragma: no cover - compiled
    """Add the squares of the counted rows to `norm`, and let sizes be those of the values, with their errors.
    shifts : n, or 0 if nothing is ever moved"""
    for j in range(rows):
        if not counted[origin + j]:
            continue
        for k in range(LANES):
            spare[j, k] = state[j, ERROR + k]
        for a in range(shifts):
            slope = abs(maps[origin + j, a])
            for k in range(LANES):
                spare[j, k] += slope * moved[a, k]
        for k in range(LANES):
            # Twice: the evaluation that is bounded and this one may be off to either side.
            size = abs(state[j, k]) + 2.0 * spare[j, k]
            some = 1.0 if size > 0.0 else 0.0
            state[j, SIZE + k] = size
            state[j, MULTIPLE + k] = state[j, MULTIPLE + k] if size > 0.0 else np.inf
            state[j, LOAD + k] = some
            norm[0, k] += state[j, k] * state[j, k]
            norm[0, ERROR + k] += spare[j, k] * spare[j, k]
            norm[0, LOAD + k] += some


@_compile
def _span(
    first_row, first_entry, column, weight, grid, bias, bias_grid, counted, step, retire, shifts, maps, defects, based,
    pull, keep, starts, first, stop, digits, smallest, largest, through, plain, store, names, fresh, used, memory,
    following, values, errors, doubtful, gaps,
):  # pragma: no cover - compiled  # fmt: skip
    """Take the first `used` trajectories of the store through layers first .. stop; returns how many live on.

    store (PARTS width + PARTS + n, at least used): states, sums and what was moved; fresh : a column at the start
    through, plain : what `paths` found; memory : see `settle`
    """
    state, new, sums, norm, spare, moved, bounds, lengths, alive = memory
    layers = first_row.shape[0] - 1
    unit, most = 2.0**-digits, 2.0**digits
    # Where the store has its parts; a literal 0 would be compiled apart.
    kept = begin = np.int64(0)
    summed = PARTS * state.shape[0]
    shifted = summed + PARTS
    for group in range(0, used, LANES):
        lanes = min(LANES, used - group)
        latest = starts[names[group + lanes - 1]]
        for k in range(LANES):
            alive[k] = k < lanes
        _load(store, begin, fresh, group, lanes, state)
        _load(store, summed, fresh, group, lanes, sums)
        _load(store, shifted, fresh, group, lanes, moved)
        glided = plain and latest < first
        if glided:
            glided = glide(
                first_row, first_entry, column, weight, grid, bias, bias_grid, step, first, stop, digits, smallest,
                largest, through, state, new, bounds, lengths, alive, names, group, following,
            )  # fmt: skip
            if not glided:
                for k in range(lanes):
                    alive[k] = True
                _load(store, begin, fresh, group, lanes, state)
        living = lanes
        carries = True
        for layer in range(stop if glided else max(first, starts[names[group]] + 1), stop):
            origin = first_row[layer]
            rows = first_row[layer + 1] - origin
            retired = retire[layer]
            if retired >= 0:
                carries = True
                for k in range(LANES):
                    sums[0, k] += state[retired, k] * state[retired, k]
                    sums[0, ERROR + k] += state[retired, ERROR + k] * state[retired, ERROR + k]
                    sums[0, MULTIPLE + k] = min(sums[0, MULTIPLE + k], state[retired, MULTIPLE + k])
                    sums[0, LOAD + k] += state[retired, LOAD + k]
            elif carries:
                carries = False
                for k in range(LANES):
                    sums[0, k] = sums[0, ERROR + k] = sums[0, LOAD + k] = 0.0
                    sums[0, MULTIPLE + k] = np.inf
            for k in range(PARTS * LANES):
                norm[0, k] = sums[0, k]
            _advance(
                first_row, first_entry, column, weight, grid, bias, bias_grid, counted, layer, digits, smallest,
                largest, state, new,
            )  # fmt: skip
            state, new = new, state
            if shifts > 0:
                _pull(shifts, rows, origin, maps, defects, based[layer], pull, keep, moved, state, spare)
            _measure(rows, origin, counted, shifts, maps, moved, state, spare, norm)
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
                name = names[group + min(k, lanes - 1)]
                waiting = k >= lanes or layer <= starts[name]
                zeroed = waiting or not alive[k]
                if not zeroed and step[layer]:
                    length = np.sqrt(norm[0, k])
                    distance = 2.0 * np.sqrt(norm[0, ERROR + k]) * (1 + 2.0**-20)
                    zeroed = norm[0, k] < 1.0
                    if not abs(length - 1.0) > distance + (norm[0, LOAD + k] + 3.0) * 2.0 * unit:
                        # Exact squares leave no doubt even at |v| = 1.
                        least = sums[0, MULTIPLE + k]
                        for j in range(rows):
                            if counted[origin + j]:
                                least = min(least, state[j, MULTIPLE + k])
                        sure = distance == 0.0 and norm[0, k] <= least * least * most and least * least >= smallest
                        if not sure and doubtful[name] < 0:
                            doubtful[name] = layer
                            gaps[name] = abs(length - 1.0)
                    if zeroed:
                        following[name] = layer
                if zeroed:
                    if not waiting and alive[k]:
                        alive[k] = False
                        living -= 1
                    for part in range(k, PARTS * LANES, LANES):
                        for j in range(rows):
                            state[j, part] = 0.0 if part - k != MULTIPLE else np.inf
                        sums[0, part] = 0.0 if part - k != MULTIPLE else np.inf
                    for a in range(shifts):
                        moved[a, k] = 0.0
            if living == 0:
                break
        if stop < layers:
            _keep(store, begin, kept, alive, state)
            _keep(store, summed, kept, alive, sums)
            _keep(store, shifted, kept, alive, moved)
        for k in range(lanes):
            if not alive[k]:
                continue
            name = names[group + k]
            if stop < layers:
                names[kept] = name
                kept += 1
                continue
            for j in range(values.shape[1]):
                values[name, j] = state[j, k]
                bound = state[j, ERROR + k]
                for a in range(shifts):
                    bound += abs(maps[first_row[layers - 1] + j, a]) * moved[a, k]
                errors[name, j] = bound
    return kept


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
    shifts = n if (based >= 0).any() else 0
    glides = bool(chain.counted.all()) and not shifts
    memory = (
        *(np.zeros((rows, PARTS * LANES)) for rows in (width, width, 1, 1)),
        np.zeros((width, LANES)), np.zeros((n, LANES)), np.zeros((4, width)), np.zeros(LANES), np.zeros(LANES, bool),
    )  # fmt: skip
    fresh = np.zeros(PARTS * (width + 1) + n)
    fresh[MULTIPLE // LANES : PARTS * (width + 1) : PARTS] = np.inf
    store, names = np.zeros((fresh.shape[0], count)), np.zeros(count, np.int64)
    grids = chain.first_row, chain.first_entry, chain.column, chain.grid, chain.bias_grid
    through, scratch = np.zeros((width, width + 1)), np.zeros((width, width + 1))
    used = ahead = stop = 0
    while used > 0 or ahead < count:
        first = stop if used > 0 else int(starts[ahead]) + 1
        stop = min(first + _SPAN, layers)
        joined = int(np.searchsorted(starts, stop)) - ahead
        store[:, used : used + joined] = fresh[:, None]
        names[used : used + joined] = np.arange(ahead, ahead + joined)
        used, ahead = used + joined, ahead + joined
        plain = glides and first > 0 and paths(*grids, first, stop, through, scratch)
        used = _span(
            *chain.arrays, shifts, maps, defects, based, pull, keep, starts, first, stop, digits, smallest, largest,
            through, plain, store, names, fresh, used, memory, following, values, errors, doubtful, gaps,
        )  # fmt: skip
