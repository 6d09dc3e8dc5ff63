"""Boxes of a search in blocks, and the lists of cells that may decide F on them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from approx.certification.cells import Lists, take_lists

__all__ = ["Block"]

Array = NDArray[np.float64]


@dataclass
class Block:
    """k boxes and what is known on them.

    lower, upper : (k, n)
    lists : the cells that may decide F there
    low, high : (k, m) bounds of f; infinite where nothing is known, never NaN
    outside : (k,) bound of |f - L|; only read where no cell surely holds the box
    bounds, pieces : (k,) bound of |F - f|, and the cell it is for, -1 for L
    cuts : (k, n) a point to look at and where to cut the box; NaN, or a point on its boundary: cut it in the middle
    """

    lower: Array
    upper: Array
    lists: Lists
    low: Array
    high: Array
    outside: Array
    bounds: Array
    pieces: NDArray[np.int32]
    cuts: Array

    def __len__(self) -> int:
        return len(self.bounds)

    def take(self, rows: NDArray) -> Block:
        """The boxes with these indices."""
        lists = take_lists(self.lists, rows)
        rest = (self.low, self.high, self.outside, self.bounds, self.pieces, self.cuts)
        return Block(self.lower[rows], self.upper[rows], lists, *(array[rows] for array in rest))

    @classmethod
    def join(cls, blocks: list[Block]) -> Block:
        if len(blocks) == 1:
            return blocks[0]
        sizes = np.concatenate([np.diff(block.lists[0]) for block in blocks])
        cells, closed = (np.concatenate([block.lists[i] for block in blocks]) for i in (1, 2))
        names = ("lower", "upper", "low", "high", "outside", "bounds", "pieces", "cuts")
        arrays = {name: np.concatenate([getattr(block, name) for block in blocks]) for name in names}
        return cls(lists=(np.concatenate(([0], np.cumsum(sizes))), cells, closed), **arrays)
