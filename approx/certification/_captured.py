"""Captured points, compiled: the zero state after a layer, followed through the rest of the network.

Errors are bounded as in `_uncaptured`, whose docstring has the model. 64 trajectories are followed together, so that
the loops over them are vectorised. Layers are taken in spans, and those that live on behind a span close ranks: a step
costs in proportion to the trajectories alive there. A layer with the same value ends the ones before it in most
constructions, so there are no more of them than different values.
"""

from __future__ import annotations

import numpy as np

from approx._compile import compiled
from approx.certification._gliding import LANES, glide, paths

__all__ = ["LANES", "WAVE", "settle"]

WAVE = 1 << 16  # trajectories that are kept at a time
_SPAN = 128  # layers
_compile = compiled(error_model="numpy", fastmath={"contract"})


@_compile
def _state(width):  # pragma: no cover - compiled
    """Per coordinate and lane: value, size, error, what it is a multiple of, how many terms it is a sum of."""
    shape = (width, LANES)
    return np.zeros(shape), np.zeros(shape), np.zeros(shape), np.zeros(shape), np.zeros(shape)


@_compile
def _pull(dim, rows, origin, maps, defects, index, pull, keep, moved, error, spare):  # pragma: no cover - compiled
    """Move errors r (rows, LANES) of a layer into the shift zeta (dim, LANES), as `spread` does."""
    for j in range(rows):
        for a in range(dim):
            for k in range(LANES):
                error[j, k] += defects[origin + j, a] * moved[a, k]
    if index < 0:
        return
    for a in range(dim):
        for j in range(rows):
            for k in range(LANES):
                moved[a, k] += pull[index, a, j] * error[j, k]
    for j in range(rows):
        for k in range(LANES):
            spare[j, k] = error[j, k]
    for j in range(rows):
        for k in range(LANES):
            error[j, k] = 0.0
        for i in range(rows):
            for k in range(LANES):
                error[j, k] += keep[index, j, i] * spare[i, k]


@_compile
def _load(store, fresh, group, lanes, parts):  # pragma: no cover - compiled
    """Fill arrays (rows, LANES) with the columns group .. group + lanes of the store, spare lanes with fresh ones."""
    row = 0
    for part in parts:
        for j in range(part.shape[0]):
            for k in range(lanes):
                part[j, k] = store[row, group + k]
            for k in range(lanes, LANES):
                part[j, k] = fresh[row]
            row += 1


@_compile
def _keep(store, kept, alive, parts):  # pragma: no cover - compiled
    """Copy living lanes to the columns of the store from `kept` on."""
    row = 0
    for part in parts:
        for j in range(part.shape[0]):
            c = kept
            for k in range(LANES):
                if alive[k]:
                    store[row, c] = part[j, k]
                    c += 1
            row += 1


@_compile
def settle(
    first_row,
    first_entry,
    column,
    weight,
    grid,
    bias,
    bias_grid,
    counted,
    step,
    retire,
    dim,
    maps,
    defects,
    based,
    pull,
    keep,
    starts,
    digits,
    smallest,
    largest,
    following,
    values,
    errors,
    doubtful,
    gaps,
):  # pragma: no cover - compiled
    """Follow the zero state after layer starts[k] (ascending) until it is zeroed again or leaves the network.

    based (L,) all -1 means that errors stay in r; smallest, largest: the least normal and the largest number of the
    format. Results: following (k,) the layer that zeroes it again, or -1;
    values, errors (k, m) at the end; doubtful (k,): a layer where the norm is nearer to 1 than its error, or -1,
    and gaps (k,): | |v| - 1 | there.
    """
    layers = first_row.shape[0] - 1
    width = dim
    pulls = False
    counts = not counted.all()  # totals need to know how many terms a lane has added; elsewhere all terms count
    for layer in range(layers):
        width = max(width, first_row[layer + 1] - first_row[layer])
        pulls = pulls or based[layer] >= 0
    unit = 2.0**-digits
    most = 2.0**digits
    state, size, error, multiple, load = _state(width)
    new_state, new_size, new_error, new_multiple, new_load = _state(width)
    new_load[:] = 1.0
    spare = np.empty((width, LANES))
    moved = np.zeros((dim, LANES))
    sums = np.empty((4, LANES))
    square, square_error, squares, finest = sums
    norm, norm_error, norm_terms = np.empty(LANES), np.zeros(LANES), np.full(LANES, float(width))
    alive = np.empty(LANES, np.bool_)
    count, first, used, ahead = starts.shape[0], 0, 0, 0
    store, names = np.empty((5 * width + dim + 4, count)), np.empty(count, np.int64)
    through, spare_through = np.empty((width, width + 1)), np.empty((width, width + 1))
    fresh = np.zeros(store.shape[0])
    fresh[3 * width : 4 * width] = np.inf  # multiple
    fresh[4 * width : 5 * width] = 0.0 if counts else 1.0  # load
    fresh[-1] = np.inf  # finest
    while used > 0 or ahead < count:
        if used == 0:
            first = starts[ahead] + 1
        stop = min(first + _SPAN, layers)
        while ahead < count and starts[ahead] < stop:
            for row in range(store.shape[0]):
                store[row, used] = fresh[row]
            names[used] = ahead
            used += 1
            ahead += 1
        plain = not counts and not pulls and first > 0
        if plain:
            plain = paths(first_row, first_entry, column, grid, bias_grid, first, stop, through, spare_through)
        kept = np.int64(0)
        for group in range(0, used, LANES):
            lanes = min(LANES, used - group)
            latest = starts[names[group + lanes - 1]]
            for k in range(LANES):
                alive[k] = k < lanes
            _load(store, fresh, group, lanes, (state, size, error, multiple, load, moved, sums))
            glided = plain and latest < first
            if glided:
                glided = glide(
                    first_row, first_entry, column, weight, grid, bias, bias_grid, step, first, stop, digits, smallest,
                    largest, through, state, new_state, size, error, multiple, alive, names[group : group + lanes],
                    following,
                )  # fmt: skip
                if not glided:
                    for k in range(lanes):
                        alive[k] = True
                    _load(store, fresh, group, lanes, (state, size, error, multiple, load, moved, sums))
            living = lanes
            carries = True
            for layer in range(stop if glided else max(first, starts[names[group]] + 1), stop):
                origin = first_row[layer]
                rows = first_row[layer + 1] - origin
                retired = retire[layer]
                if retired < 0:
                    if carries:
                        square[:], square_error[:], squares[:], finest[:] = 0.0, 0.0, 0.0, np.inf
                        carries = False
                else:
                    carries = True
                    for k in range(LANES):
                        square[k] += state[retired, k] * state[retired, k]
                    for k in range(LANES):
                        square_error[k] += error[retired, k] * error[retired, k]
                    for k in range(LANES):
                        squares[k] += load[retired, k]
                    for k in range(LANES):
                        finest[k] = min(finest[k], multiple[retired, k])
                for k in range(LANES):
                    norm[k], norm_error[k] = square[k], square_error[k]
                if counts:
                    for k in range(LANES):
                        norm_terms[k] = squares[k]
                for j in range(rows):
                    row = origin + j
                    shift = bias[row]
                    powers = 0.0  # one more rounding for products that are not exact
                    some = 1.0 if shift != 0.0 else 0.0
                    if counts:
                        new_load[j, :] = some
                    else:
                        some += first_entry[row + 1] - first_entry[row]
                    new_error[j, :] = 0.0
                    new_state[j, :] = shift
                    new_size[j, :] = abs(shift)
                    new_multiple[j, :] = bias_grid[row]
                    for e in range(first_entry[row], first_entry[row + 1]):
                        c = column[e]
                        w = weight[e]
                        a = abs(w)
                        g = grid[e]
                        if g != a:
                            powers = 1.0
                        for k in range(LANES):
                            new_state[j, k] += w * state[c, k]
                        for k in range(LANES):
                            new_multiple[j, k] = min(new_multiple[j, k], g * multiple[c, k])
                        for k in range(LANES):
                            new_size[j, k] += a * size[c, k]
                        for k in range(LANES):
                            new_error[j, k] += a * error[c, k]
                        if counts:
                            for k in range(LANES):
                                new_load[j, k] += load[c, k]
                    if not counted[row]:  # a total: rounded, in any order, where it is read
                        continue
                    inexact = 0
                    for k in range(LANES):
                        bound = min(new_multiple[j, k] * most, largest) if new_multiple[j, k] >= smallest else 0.0
                        inexact += 0 if new_size[j, k] <= bound else 1
                    if inexact == 0:
                        continue
                    for k in range(LANES):
                        bound = min(new_multiple[j, k] * most, largest) if new_multiple[j, k] >= smallest else 0.0
                        spare[j, k] = 0.0 if new_size[j, k] <= bound else 1.0
                    for k in range(LANES):
                        terms = max((new_load[j, k] if counts else some) - 1.0 + powers, 0.0)
                        spare[j, k] *= terms * unit / (1.0 - terms * unit) * new_size[j, k] + terms * smallest
                    for k in range(LANES):
                        new_error[j, k] += spare[j, k] if new_size[j, k] <= largest else np.inf
                    for k in range(LANES):
                        new_multiple[j, k] = new_multiple[j, k] if spare[j, k] == 0.0 else 0.0
                if pulls:
                    _pull(dim, rows, origin, maps, defects, based[layer], pull, keep, moved, new_error, spare)
                for j in range(rows):
                    if not counted[origin + j]:
                        continue
                    for k in range(LANES):
                        norm[k] += new_state[j, k] * new_state[j, k]
                    for k in range(LANES):
                        spare[j, k] = new_error[j, k]
                    if pulls:
                        for a in range(dim):
                            slope = abs(maps[origin + j, a])
                            for k in range(LANES):
                                spare[j, k] += slope * moved[a, k]
                    for k in range(LANES):
                        # Twice: the evaluation that is bounded and this one may be off to either side.
                        new_size[j, k] = abs(new_state[j, k]) + 2.0 * spare[j, k]
                    for k in range(LANES):
                        norm_error[k] += spare[j, k] * spare[j, k]
                    if counts:
                        for k in range(LANES):
                            new_multiple[j, k] = new_multiple[j, k] if new_size[j, k] > 0.0 else np.inf
                        for k in range(LANES):
                            new_load[j, k] = 1.0 if new_size[j, k] > 0.0 else 0.0
                        for k in range(LANES):
                            norm_terms[k] += new_load[j, k]
                state, new_state = new_state, state
                size, new_size = new_size, size
                error, new_error = new_error, error
                multiple, new_multiple = new_multiple, multiple
                load, new_load = new_load, load
                if layer > latest:
                    if not step[layer]:
                        continue
                    near = 0  # lanes that are zeroed, or could be: |v| <= 1 + error
                    for k in range(LANES):
                        least = 1.0 + 2.0 * np.sqrt(norm_error[k]) * (1 + 2.0**-20)
                        least += (norm_terms[k] + 3.0) * 2.0 * unit
                        near += 0 if norm[k] > least * least * (1 + 2.0**-40) else 1
                    if near == 0:
                        continue
                for k in range(LANES):
                    waiting = k >= lanes or layer <= starts[names[group + min(k, lanes - 1)]]
                    zeroed = waiting or not alive[k]
                    name = names[group + min(k, lanes - 1)]
                    if not zeroed and step[layer]:
                        length = np.sqrt(norm[k])
                        distance = 2.0 * np.sqrt(norm_error[k]) * (1 + 2.0**-20)
                        zeroed = norm[k] < 1.0
                        if not abs(length - 1.0) > distance + (norm_terms[k] + 3.0) * 2.0 * unit:
                            # Exact squares leave no doubt even at |v| = 1.
                            least = finest[k]
                            for j in range(rows):
                                if counted[origin + j]:
                                    least = min(least, multiple[j, k])
                            sure = distance == 0.0 and norm[k] <= least * least * most and least * least >= smallest
                            if not sure and doubtful[name] < 0:
                                doubtful[name] = layer
                                gaps[name] = abs(length - 1.0)
                        if zeroed:
                            following[name] = layer
                    if zeroed:
                        if not waiting and alive[k]:
                            alive[k] = False
                            living -= 1
                        for j in range(rows):
                            state[j, k] = size[j, k] = error[j, k] = 0.0
                            load[j, k] = 0.0 if counts else 1.0
                            multiple[j, k] = np.inf
                        for a in range(dim):
                            moved[a, k] = 0.0
                        square[k] = square_error[k] = squares[k] = 0.0
                        finest[k] = np.inf
                if living == 0:
                    break
            if stop < layers:
                _keep(store, kept, alive, (state, size, error, multiple, load, moved, sums))
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
                    bound = error[j, k]
                    for a in range(dim):
                        bound += abs(maps[first_row[layers - 1] + j, a]) * moved[a, k]
                    errors[name, j] = bound
        used, first = kept, stop
