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
from approx.certification._chain import Chain

__all__ = ["ERROR", "LANES", "LOAD", "MULTIPLE", "PARTS", "SIZE", "glide"]

Array = NDArray[np.float64]

LANES = 64
PARTS = 5  # of a row of a state: values, and where the others begin
SIZE, ERROR, MULTIPLE, LOAD = LANES, 2 * LANES, 3 * LANES, 4 * LANES
_compile = compiled(fastmath={"contract"})
_FAR = 2.0**500


def glide(
    chain: Chain,
    first: int,
    stop: int,
    digits: int,
    smallest: float,
    largest: float,
    glided: NDArray[np.bool_],
    names: NDArray[np.int64],
    states: Array,
    alive: NDArray[np.bool_],
    following: NDArray[np.int64],
) -> None:
    """Move the states (groups, width, PARTS LANES) of `_captured` through the layers first .. stop.

    glided (groups,): which groups to move; False behind it for those that must be taken step by step
    names (groups, LANES): where the result of a lane goes in `following`, as in `settle`; alive (groups, LANES)
    """
    width = states.shape[1]
    through, spare = np.zeros((width, width + 1)), np.zeros((width, width + 1))
    if not _paths(
        chain.first_row, chain.first_entry, chain.column, chain.grid, chain.bias_grid, first, stop, through, spare
    ):
        glided[:] = False
        return
    memory = (
        np.zeros((width, LANES)), np.zeros((width, LANES)), *np.zeros((4, width)), np.zeros(LANES),
        np.zeros(LANES, np.int64),
    )  # fmt: skip
    for group in np.flatnonzero(glided):
        glided[group] = _glide(
            chain.arrays, first, stop, digits, smallest, largest, through, states[group], alive[group], names[group],
            following, memory,
        )  # fmt: skip


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
    chain, first, stop, digits, smallest, largest, through, state, alive, names, following, memory
):  # pragma: no cover - compiled
    """Move one group, as `glide`; False, and nothing is changed, if its layers must be taken step by step.

    through : what `_paths` found
    """
    first_row, first_entry, column, weight, grid, bias, bias_grid, _, step, _ = chain
    now, new, common, sizes, after, new_sizes, norm, ended = memory
    width = state.shape[0]
    unit, most = 2.0**-digits, 2.0**digits
    far = (1.0 + (width + 3.0) * 2.0 * unit) ** 2 * (1 + 2.0**-40)
    before = rows = first_row[first] - first_row[first - 1]
    for j in range(before):
        common[j] = np.inf
        sizes[j] = 0.0
        for k in range(LANES):
            if state[j, ERROR + k] != 0.0:
                return False
            common[j] = min(common[j], state[j, MULTIPLE + k])
            sizes[j] = max(sizes[j], abs(state[j, k]))
            now[j, k] = state[j, k]
    for k in range(LANES):
        ended[k] = -1
    for layer in range(first, stop):
        origin = first_row[layer]
        rows = first_row[layer + 1] - origin
        for k in range(LANES):
            norm[k] = 0.0
        for j in range(rows):
            row = origin + j
            shift = bias[row]
            total, least = abs(shift), bias_grid[row]
            line = new[j]
            begin = first_entry[row]
            end = first_entry[row + 1]
            for e in range(begin, end):
                c = column[e]
                w = weight[e]
                total += abs(w) * sizes[c]
                least = min(least, grid[e] * common[c])
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
            if not (least >= smallest and total * (1 + 2.0**-20) <= min(least * most, largest)):
                return False
            after[j], new_sizes[j] = least, total
            for k in range(LANES):
                norm[k] += line[k] * line[k]
        common, after = after, common
        sizes, new_sizes = new_sizes, sizes
        now, new = new, now
        if not step[layer]:
            continue
        near = 0
        for k in range(LANES):
            near += 0 if norm[k] > far else 1
        if near == 0:
            continue
        for k in range(LANES):
            if norm[k] > far:
                continue
            if not abs(np.sqrt(norm[k]) - 1.0) > (width + 3.0) * 2.0 * unit:
                return False
            if norm[k] < 1.0:
                if ended[k] < 0:
                    ended[k] = layer
                for j in range(rows):
                    now[j, k] = 0.0
                norm[k] = 0.0
    for k in range(LANES):
        if alive[k] and ended[k] >= 0:
            alive[k] = False
            following[names[k]] = ended[k]
        if not alive[k]:
            continue
        for j in range(before):
            after[j] = state[j, MULTIPLE + k]
        for j in range(rows):
            state[j, k] = now[j, k]
            state[j, SIZE + k] = abs(now[j, k])
            state[j, LOAD + k] = 1.0 if now[j, k] != 0.0 else 0.0
            least = through[j, width]
            for c in range(before):
                if through[j, c] < np.inf:
                    least = min(least, through[j, c] * after[c])
            state[j, MULTIPLE + k] = least
    return True
