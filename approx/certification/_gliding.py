"""Trajectories that pass a span of layers in groups, compiled: what `_captured` does step by step, faster.

Values are those of every lane, bounds are for all lanes of a group: if all are multiples of g in a coordinate, and no
larger than s, a row is exact in all lanes if it is for g and s, so one test per row replaces one per lane. What a lane
is a multiple of behind the span follows from paths through the span, which are the same for all lanes. Where a row is
not exact, the largest error serves for all lanes of chains that mix coordinates, which round everywhere; in others a
lane is better off by itself. Where a norm is too near to 1, nothing is decided here.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from approx._compile import compiled
from approx.certification._chain import Chain, Format

__all__ = ["ERROR", "LOAD", "MULTIPLE", "PARTS", "SIZE", "VALUE", "glide"]

Array = NDArray[np.float64]

VALUE, SIZE, ERROR, LOAD, MULTIPLE = range(5)  # the parts of a state
PARTS = 5
LEAST, MOST = 128, 512  # lanes of a group: a span has about 128 new ones, and 512 stay in the cache
_compile = compiled(fastmath={"contract"})
_FAR = 2.0**500


def glide(
    chain: Chain,
    first: int,
    stop: int,
    form: Format,
    moves: tuple[NDArray, ...],
    lanes: tuple[NDArray, ...],
    following: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Move lanes (k,) through the layers first .. stop.

    moves, lanes: as in `_captured`; lanes are left unchanged where they must be taken step by step, for which the
    result (k,) is False
    """
    state, moved, alive = lanes[2], lanes[4], lanes[5]
    count, width = len(alive), state.shape[1]
    glided = np.zeros(count, bool)
    group = max(LEAST, -(-count // -(-count // MOST)))
    through, spare = np.zeros((width, width + 1)), np.zeros((width, width + 1))
    _paths(chain.first_row, chain.first_entry, chain.column, chain.grid, chain.bias_grid, first, stop, through, spare)
    memory = (
        *np.zeros((2, width, group)), *np.zeros((2, 2, width, group)), *np.zeros((2, PARTS, width)),
        *np.zeros((2, width)), np.zeros(len(moved)), *np.zeros((2, group)), np.zeros(group, np.int64),
    )  # fmt: skip
    fixed = chain.arrays, first, stop, tuple(form), through, moves, tuple(lanes)  # named tuples are compiled apart
    for low in range(0, count, group):
        glided[low : low + group] = _glide(*fixed, low, following, memory)
    return glided


@_compile
def _paths(first_row, first_entry, column, grid, bias_grid, first, stop, now, new):  # pragma: no cover - compiled
    """now (width, width + 1): entry (j, c) times the grid of coordinate c before the span, and the last entry, are what
    coordinate j is a multiple of behind it; less, down to 0, where that leaves the range of exact products."""
    width = now.shape[0]
    for j in range(width):
        for c in range(width + 1):
            now[j, c] = 1.0 if c == j else np.inf
    for layer in range(first, stop):
        origin = first_row[layer]
        for row in range(origin, first_row[layer + 1]):
            j = row - origin
            for c in range(width + 1):
                new[j, c] = np.inf if c < width else bias_grid[row]
            for e in range(first_entry[row], first_entry[row + 1]):
                for c in range(width + 1):
                    new[j, c] = min(new[j, c], grid[e] * now[column[e], c])
        for j in range(first_row[layer + 1] - origin):
            for c in range(width + 1):
                now[j, c] = new[j, c]
                if now[j, c] < np.inf:
                    now[j, c] = min(now[j, c], _FAR) if now[j, c] > 1 / _FAR else 0.0


@_compile
def _glide(
    chain, first, stop, form, through, moves, lanes, low, following, memory
):  # pragma: no cover - compiled  # fmt: skip
    """Move the lanes from `low` on, as `glide`; False, and nothing is changed, if they must be taken step by step.

    through : what `_paths` found
    Of all lanes together: `bounds` of the parts of a state but the values, by how much sizes exceed values (`margins`),
    and loads, errors and multiples of q. Totals add up thousands of terms, most of them 0: `heavy` has the sizes and
    loads of each lane.
    """
    first_row, first_entry, column, weight, grid, bias, bias_grid, counted, step, retire = chain
    starts, names, states, totals, moved, alive = lanes
    maps, defects, based, pull, keep = moves
    digits, smallest, largest = form
    now, new, heavy, heavier, bounds, spare, errors, margins, zeta, norm, squares, ended = memory
    width, dim, group = states.shape[1], zeta.shape[0], now.shape[1]
    count = min(names.shape[0] - low, group)
    latest = starts[low + count - 1]
    unit, most = 2.0**-digits, 2.0**digits
    before = rows = first_row[first] - first_row[first - 1]
    summed, rough, least_square, moving, measured = 0.0, 0.0, np.inf, False, True
    for a in range(dim):
        zeta[a] = 0.0
    for j in range(before):
        bounds[SIZE, j] = bounds[ERROR, j] = bounds[LOAD, j] = 0.0
        bounds[MULTIPLE, j] = np.inf
        margins[j] = 0.0
    for k in range(group):
        lane = low + min(k, count - 1)
        for j in range(before):
            now[j, k] = states[VALUE, j, lane]
            margins[j] = max(margins[j], states[SIZE, j, lane] - abs(now[j, k]))
            heavy[0, j, k], heavy[1, j, k] = states[SIZE, j, lane], states[LOAD, j, lane]
            for part in range(SIZE, MULTIPLE):
                bounds[part, j] = max(bounds[part, j], states[part, j, lane])
            bounds[MULTIPLE, j] = min(bounds[MULTIPLE, j], states[MULTIPLE, j, lane])
        for a in range(dim):
            zeta[a] = max(zeta[a], moved[a, lane])
            moving = moving or not zeta[a] == 0.0
        summed = max(summed, totals[LOAD, lane])
        rough = max(rough, totals[ERROR, lane])
        least_square = min(least_square, totals[MULTIPLE, lane])
        squares[k] = totals[VALUE, lane]
        ended[k] = -1
    for layer in range(first, stop):
        origin = first_row[layer]
        inputs, rows = rows, first_row[layer + 1] - origin
        retired = retire[layer]
        if retired >= 0:
            summed += bounds[LOAD, retired]
            rough += bounds[ERROR, retired] * bounds[ERROR, retired]
            least_square = min(least_square, bounds[MULTIPLE, retired])
            for k in range(group):
                squares[k] += now[retired, k] * now[retired, k]
        elif summed > 0.0:
            summed, rough, least_square = 0.0, 0.0, np.inf
            for k in range(group):
                squares[k] = 0.0
        for tight in range(2):
            inexact = False
            for k in range(group):
                norm[k] = squares[k]
            for j in range(rows):
                row = origin + j
                shift = bias[row]
                total, least, error = abs(shift), bias_grid[row], 0.0
                load = 1.0 if shift != 0.0 else 0.0
                powers = 0.0  # one more rounding for products that are not exact
                line = new[j]
                begin = first_entry[row]
                end = first_entry[row + 1]
                for e in range(begin, end):
                    c = column[e]
                    w = weight[e]
                    size = abs(w)
                    total += size * bounds[SIZE, c]
                    error += size * bounds[ERROR, c]
                    load += bounds[LOAD, c]
                    least = min(least, grid[e] * bounds[MULTIPLE, c])
                    powers = powers if grid[e] == size else 1.0
                    source = now[c]
                    if e == begin:
                        for k in range(group):
                            line[k] = shift + w * source[k]
                    else:
                        for k in range(group):
                            line[k] += w * source[k]
                if begin == end:
                    for k in range(group):
                        line[k] = shift
                if counted[row]:  # the others are totals: rounded, in any order, where they are read
                    if not (least >= smallest and total * (1 + 2.0**-20) <= min(least * most, largest)):
                        terms = max(load - 1.0 + powers, 0.0) * unit
                        error += (terms / (1.0 - terms) if terms < 0.5 else np.inf) * total + terms * most * smallest
                        if not (error < np.inf and total <= largest):
                            return False
                        least = 0.0
                    load = 1.0
                    for k in range(group):
                        norm[k] += line[k] * line[k]
                else:
                    for k in range(group):
                        heavier[0, j, k], heavier[1, j, k] = abs(shift), 1.0 if shift != 0.0 else 0.0
                    for e in range(begin, end):
                        c = column[e]
                        own = not counted[origin - inputs + c]
                        for k in range(group):
                            size = heavy[0, c, k] if own else abs(now[c, k]) + margins[c]
                            heavier[0, j, k] += abs(weight[e]) * size
                            heavier[1, j, k] += heavy[1, c, k] if own else (0.0 if size == 0.0 else 1.0)
                inexact = inexact or not error == 0.0
                spare[SIZE, j], spare[ERROR, j], spare[LOAD, j], spare[MULTIPLE, j] = total, error, load, least
            if not inexact or measured or tight == 1:
                break
            for c in range(inputs):  # sizes add up; they are measured only where that matters
                size = 0.0 if counted[origin - inputs + c] else np.inf
                for k in range(group):
                    size = max(size, abs(now[c, k]))
                bounds[SIZE, c] = min(bounds[SIZE, c], size + margins[c])
        bounds, spare = spare, bounds
        now, new = new, now
        heavy, heavier = heavier, heavy
        uncertain = rough
        for j in range(rows):
            margins[j] = 0.0
        measured = inexact or moving
        if measured:
            base = based[layer]
            moving = moving or base >= 0
            for j in range(rows):
                errors[j] = bounds[ERROR, j]
                for a in range(dim):
                    errors[j] += defects[origin + j, a] * zeta[a]
            if base >= 0:
                for a in range(dim):
                    for j in range(rows):
                        zeta[a] += pull[base, a, j] * errors[j]
            for j in range(rows):
                error = errors[j]
                if base >= 0:
                    error = 0.0
                    for i in range(rows):
                        error += keep[base, j, i] * errors[i]
                bounds[ERROR, j] = error
                if not counted[origin + j]:
                    continue
                for a in range(dim):
                    error += abs(maps[origin + j, a]) * zeta[a]
                uncertain += error * error
                margins[j] = 2.0 * error  # the evaluation that is bounded and this one may be off to either side
                size = 0.0
                for k in range(group):
                    size = max(size, abs(now[j, k]))
                bounds[SIZE, j] = size + margins[j]
        if layer <= latest:  # some wait for the layer that zeroes them
            for k in range(group):
                if layer <= starts[low + min(k, count - 1)]:
                    for j in range(rows):
                        now[j, k] = heavy[0, j, k] = heavy[1, j, k] = 0.0
                    squares[k] = 0.0
                    norm[k] = np.inf
        if not step[layer]:
            continue
        doubt = 2.0 * np.sqrt(uncertain) * (1 + 2.0**-20) + (width + summed + 3.0) * 2.0 * unit
        far = (1.0 + doubt) ** 2 * (1 + 2.0**-40)
        near = 0
        for k in range(group):
            near += 0 if norm[k] > far else 1
        if near == 0:
            continue
        for k in range(group):
            if norm[k] > far:
                continue
            if not abs(np.sqrt(norm[k]) - 1.0) > doubt:
                return False
            if norm[k] < 1.0:
                if ended[k] < 0:
                    ended[k] = layer
                for j in range(rows):
                    now[j, k] = heavy[0, j, k] = heavy[1, j, k] = 0.0
                squares[k] = 0.0
    for k in range(count):
        lane = low + k
        if ended[k] >= 0 and alive[lane]:
            alive[lane] = False
            following[names[lane]] = ended[k]
        if not alive[lane]:
            continue
        totals[VALUE, lane], totals[ERROR, lane] = squares[k], rough
        totals[LOAD, lane], totals[MULTIPLE, lane] = summed, least_square
        for a in range(dim):
            moved[a, lane] = zeta[a]
        for j in range(before):
            errors[j] = states[MULTIPLE, j, lane]
        for j in range(rows):
            error = bounds[ERROR, j]
            for a in range(dim):
                error += abs(maps[first_row[stop - 1] + j, a]) * zeta[a]
            states[VALUE, j, lane], states[ERROR, j, lane] = now[j, k], bounds[ERROR, j]
            states[SIZE, j, lane], states[LOAD, j, lane] = heavy[0, j, k], heavy[1, j, k]
            if counted[first_row[stop - 1] + j]:
                states[SIZE, j, lane] = abs(now[j, k]) + 2.0 * error
                states[LOAD, j, lane] = 0.0 if states[SIZE, j, lane] == 0.0 else 1.0
            least = through[j, width] if bounds[MULTIPLE, j] > 0.0 else 0.0
            for c in range(before):
                if through[j, c] == 0.0:
                    least = 0.0
                elif through[j, c] < np.inf:
                    least = min(least, through[j, c] * errors[c])
            states[MULTIPLE, j, lane] = least
    return True
