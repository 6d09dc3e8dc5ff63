"""A cube cut into boxes by a binary tree, written down as the depths of its leaves in order.

A box of depth d is halved along axis d mod n. The leaves of a tree, read from left to right, are consecutive intervals
[p, p + 2^-d) of [0, 1) in Morton order: each begins where the one before it ends, and at a multiple of its own length.
Conversely, depths for which that holds from 0 to 1 without a rest are those of one tree. So a list of depths tiles the
cube or it is refused: there is no way to write down a gap, an overlap or a leaf within a leaf.

Faces lie at corner + side * q, rounded, for dyadic numbers q. That is one float64 number for each q, and increasing in
q, so boxes computed in floating point tile as well as the exact ones.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from approx import _checks
from approx._compile import compiled

__all__ = ["HALVINGS", "boxes_of", "leaves", "morton_order"]

Array = NDArray[np.float64]
HALVINGS = 50  # of each axis at most: positions in units of side / 2^50 are integers that float64 holds


def leaves(
    corner: Array, side: float, depths: NDArray, chunk: int = 1 << 14
) -> Iterator[tuple[slice, tuple[Array, Array]]]:
    """The leaves' boxes in order, a chunk at a time: (which leaves, (lower (k, n), upper (k, n))).

    corner (n,), side > 0 : the cube; depths (L,) integers. Raises ValueError when the list is not that of a tree, at
    the latest after its last leaf.
    """
    n = len(corner)
    state = np.zeros(n + 2, np.int64)
    depths = np.asarray(depths)
    fits = depths.ndim == 1 and depths.dtype.kind in "iu" and len(depths) > 0
    if not fits or depths.max() > HALVINGS * n or depths.min() < 0:
        _refuse(_checks.show(depths), f"a list of integers from 0 to {HALVINGS * n}")
    for start in range(0, len(depths), chunk):
        part = depths[start : start + chunk].astype(np.int64)
        positions = np.empty((len(part), n), np.int64)
        read = _walk(part, state, positions)
        if read < len(part):
            what = "comes after the last one" if state[n + 1] else "overlaps the one before it"
            _refuse(f"a leaf number {start + read} that {what}", "leaves that tile the cube")
        yield slice(start, start + len(part)), boxes_of(corner, side, positions, part[:, None])
    if not state[n + 1]:
        _refuse(f"{len(depths)} leaves that leave a gap at the end", "leaves that tile the cube")


def _refuse(received: str, required: str) -> None:
    raise ValueError(_checks.message("witness", received, required, "It proves nothing: make a new one."))


def boxes_of(corner: Array, side: float, positions: NDArray[np.int64], depths: NDArray | int) -> tuple[Array, Array]:
    """Lower and upper corners (k, n) of the boxes at these integer positions (k, n)."""
    n = len(corner)
    halvings = (np.asarray(depths) + n - 1 - np.arange(n)) // n  # of each axis
    unit = side * 2.0**-HALVINGS
    return corner + unit * positions, corner + unit * (positions + (np.int64(1) << (HALVINGS - halvings)))


def morton_order(positions: NDArray[np.int64], depth: int) -> NDArray[np.int64]:
    """The order from left to right of boxes at these integer positions (k, n), none deeper than `depth`."""
    n = positions.shape[1]
    words = []
    for first in range(0, max(depth, 1), 63):
        word = np.zeros(len(positions), np.int64)
        for d in range(first, min(first + 63, depth)):
            word = 2 * word + ((positions[:, d % n] >> (HALVINGS - 1 - d // n)) & 1)
        words.append(word)
    return np.lexsort(words[::-1])


@compiled
def _walk(depths, state, positions):  # pragma: no cover - compiled
    """The positions of the next leaves; returns how many could be read. state: the position of the next leaf, the
    least depth it may have there, and whether the cube is full."""
    n = positions.shape[1]
    for k in range(depths.shape[0]):
        if state[n + 1] or depths[k] < state[n]:
            return k
        for a in range(n):
            positions[k, a] = state[a]
        d = depths[k]
        while d > 0:  # to the right: add one to the last bit, and carry
            bit = np.int64(1) << (49 - (d - 1) // n)
            axis = (d - 1) % n
            state[axis] ^= bit
            if state[axis] & bit:
                break
            d -= 1
        state[n] = d
        state[n + 1] = d == 0
    return depths.shape[0]
