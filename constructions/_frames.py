"""Coordinates in which the ellipsoids of a cover differ only by scalings.

If all matrices are A_i = diag(2^k_i1, ..., 2^k_in) U / r_i with one U, as those of concentric similar ellipsoids or of
parallel slabs are, then a network can work on u = U x: its layers scale coordinates and mix none, as for balls.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Frame", "common_frame"]

Array = NDArray[np.float64]
_SAME = 2.0**-46  # relative deviations that one rounding or two of the entries explain


@dataclass(frozen=True, eq=False)
class Frame:
    """A_i = diag(powers[i]) matrix / radii[i].

    matrix : (n, n), invertible; powers : (N, n) powers of two, at most 1; radii : (N,)
    """

    matrix: Array
    powers: Array
    radii: Array

    def shapes(self, radii: Array) -> Array:
        """(N, n, n) the matrices A_i for other radii."""
        return self.powers[:, :, None] * self.matrix / radii[:, None, None]


def common_frame(shapes: Array) -> Frame | None:
    """The frame of matrices (N, n, n), N >= 1; None if they have none in common.

    >>> frame = common_frame(np.array([[[4.0, 2.0], [0.0, 1.0]], [[1.0, 0.5], [0.0, 2.0]]]))
    >>> frame.powers.tolist(), bool((frame.shapes(frame.radii)[1] == [[1.0, 0.5], [0.0, 2.0]]).all())
    ([[1.0, 0.25], [0.5, 1.0]], True)
    """
    lengths = np.linalg.norm(shapes[0], axis=1)
    matrix = shapes[0] / np.exp2(np.round(np.log2(lengths / lengths.max())))[:, None] / lengths.max()
    factors = np.einsum("krj,rj->kr", shapes, matrix) / np.square(matrix).sum(axis=1)
    size = np.linalg.norm(shapes, axis=2)
    if not (np.linalg.norm(shapes - factors[:, :, None] * matrix, axis=2) <= _SAME * size).all():
        return None
    largest = factors.max(axis=1)
    if not (factors > 0).all():
        return None
    powers = np.exp2(np.round(np.log2(factors / largest[:, None])))
    if not (np.abs(factors / largest[:, None] / powers - 1) <= _SAME).all():
        return None
    return Frame(matrix, powers, 1 / largest)
