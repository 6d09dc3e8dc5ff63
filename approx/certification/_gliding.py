"""Trajectories that pass a span of layers without rounding, compiled; what `_captured` does step by step, faster.

Let all lanes be multiples of g in a coordinate, and no larger than s. A row is exact in all lanes if it is for g and s,
so one scalar test per row replaces one per lane, and what a lane is a multiple of behind the span follows from paths
through the span, which are the same for all lanes. Where the test fails, or a norm is too near to 1, nothing is
decided here.
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
LANES = 64  # that are followed together
_compile = compiled(fastmath={"contract"})
_FAR = 2.0**500


def glide(
    chain: Chain,
    first: int,
    stop: int,
    form: Format,
    starts: NDArray[np.int64],
    names: NDArray[np.int64],
    state: Array,
    total: Array,
    alive: NDArray[np.bool_],
    following: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Move lanes (k,) through the layers first .. stop.

    starts, names, state (PARTS, width, k), total (PARTS, k), alive: as in `_captured`, where they are left unchanged
    for those lanes that must be taken step by step, for which the result (k,) is False
    """
    count, width = len(names), state.shape[1]
    glided = np.zeros(count, bool)
    through, spare = np.zeros((width, width + 1)), np.zeros((width, width + 1))
    if not _paths(
        chain.first_row, chain.first_entry, chain.column, chain.grid, chain.bias_grid, first, stop, through, spare
    ):
        return glided
    memory = (
        np.zeros((width, LANES)), np.zeros((width, LANES)), *np.zeros((6, width)), np.zeros(LANES), np.zeros(LANES),
        np.zeros(LANES, np.int64),
    )  # fmt: skip
    for low in range(0, count, LANES):
        some = slice(low, min(low + LANES, count))
        glided[some] = _glide(
            chain.arrays,
            first,
            stop,
            *form,
            through,
            starts,
            names,
            state,
            total,
            alive,
            low,
            following,
            memory,
        )
    return glided


@_compile
def _paths(first_row, first_entry, column, grid, bias_grid, first, stop, now, new):  # pragma: no cover - compiled
    """now (width, width + 1): entry (j, c) times the grid of coordinate c before the span, and the last entry, are what
    coordinate j is a multiple of behind it. False if that leaves the range where such products are exact."""
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
                if now[j, c] < np.inf and not 1 / _FAR < now[j, c] < _FAR:
                    return False
    return True


@_compile
def _glide(
    chain,
    first,
    stop,
    digits,
    smallest,
    largest,
    through,
    starts,
    names,
    states,
    totals,
    alive,
    low,
    following,
    memory,
):  # pragma: no cover - compiled
    """Move the lanes from `low` on, as `glide`; False, and nothing is changed, if they must be taken step by step.

    through : what `_paths` found
    Of all lanes together: multiples (`common`), sizes and loads of coordinates, loads (`summed`) and multiples of q.
    """
    first_row, first_entry, column, weight, grid, bias, bias_grid, counted, step, retire = chain
    now, new, common, sizes, loads, new_common, new_sizes, new_loads, norm, squares, ended = memory
    width = states.shape[1]
    count = min(names.shape[0] - low, LANES)
    latest = starts[low + count - 1]
    unit, most = 2.0**-digits, 2.0**digits
    before = rows = first_row[first] - first_row[first - 1]
    for j in range(before):
        common[j] = np.inf
        sizes[j] = loads[j] = 0.0
        for k in range(LANES):
            lane = low + min(k, count - 1)
            if states[ERROR, j, lane] != 0.0:
                return False
            common[j] = min(common[j], states[MULTIPLE, j, lane])
            sizes[j] = max(sizes[j], states[SIZE, j, lane])
            loads[j] = max(loads[j], states[LOAD, j, lane])
            now[j, k] = states[VALUE, j, lane]
    summed, least_square = 0.0, np.inf
    for k in range(LANES):
        lane = low + min(k, count - 1)
        if totals[ERROR, lane] != 0.0:
            return False
        summed = max(summed, totals[LOAD, lane])
        least_square = min(least_square, totals[MULTIPLE, lane])
        squares[k] = totals[VALUE, lane]
        ended[k] = -1
    for layer in range(first, stop):
        origin = first_row[layer]
        rows = first_row[layer + 1] - origin
        retired = retire[layer]
        if retired >= 0:
            summed += loads[retired]
            least_square = min(least_square, common[retired])
            for k in range(LANES):
                squares[k] += now[retired, k] * now[retired, k]
        elif summed > 0.0:
            summed, least_square = 0.0, np.inf
            for k in range(LANES):
                squares[k] = 0.0
        for k in range(LANES):
            norm[k] = squares[k]
        for j in range(rows):
            row = origin + j
            shift = bias[row]
            total, least = abs(shift), bias_grid[row]
            load = 1.0 if shift != 0.0 else 0.0
            line = new[j]
            begin = first_entry[row]
            end = first_entry[row + 1]
            for e in range(begin, end):
                c = column[e]
                w = weight[e]
                total += abs(w) * sizes[c]
                least = min(least, grid[e] * common[c])
                load += loads[c]
                source = now[c]
                if e == begin:
                    for k in range(LANES):
                        line[k] = shift + w * source[k]
                else:
                    for k in range(LANES):
                        line[k] += w * source[k]
            if begin == end:
                for k in range(LANES):
                    line[k] = shift
            new_common[j], new_sizes[j], new_loads[j] = least, total, load
            if not counted[row]:  # a total: rounded, in any order, where it is read
                continue
            if not (least >= smallest and total * (1 + 2.0**-20) <= min(least * most, largest)):
                return False
            new_loads[j] = 1.0
            for k in range(LANES):
                norm[k] += line[k] * line[k]
        common, new_common = new_common, common
        sizes, new_sizes = new_sizes, sizes
        loads, new_loads = new_loads, loads
        now, new = new, now
        if layer <= latest:  # some wait for the layer that zeroes them
            for k in range(LANES):
                if layer <= starts[low + min(k, count - 1)]:
                    for j in range(rows):
                        now[j, k] = 0.0
                    squares[k] = 0.0
                    norm[k] = np.inf
        if not step[layer]:
            continue
        doubt = (width + summed + 3.0) * 2.0 * unit
        far = (1.0 + doubt) ** 2 * (1 + 2.0**-40)
        near = 0
        for k in range(LANES):
            near += 0 if norm[k] > far else 1
        if near == 0:
            continue
        for k in range(LANES):
            if norm[k] > far:
                continue
            if not abs(np.sqrt(norm[k]) - 1.0) > doubt:
                return False
            if norm[k] < 1.0:
                if ended[k] < 0:
                    ended[k] = layer
                for j in range(rows):
                    now[j, k] = 0.0
                squares[k] = 0.0
    for k in range(count):
        lane = low + k
        if ended[k] >= 0 and alive[lane]:
            alive[lane] = False
            following[names[lane]] = ended[k]
        if not alive[lane]:
            continue
        totals[VALUE, lane], totals[LOAD, lane], totals[MULTIPLE, lane] = squares[k], summed, least_square
        for j in range(before):
            new_common[j] = states[MULTIPLE, j, lane]
        for j in range(rows):
            full = counted[first_row[stop - 1] + j]
            states[VALUE, j, lane] = now[j, k]
            states[SIZE, j, lane] = abs(now[j, k]) if full else sizes[j]
            states[LOAD, j, lane] = (1.0 if now[j, k] != 0.0 else 0.0) if full else loads[j]
            least = through[j, width]
            for c in range(before):
                if through[j, c] < np.inf:
                    least = min(least, through[j, c] * new_common[c])
            states[MULTIPLE, j, lane] = least
    return True
