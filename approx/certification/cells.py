"""Ordered cells with collars, and what a box can tell about them: it surely misses a cell, or surely lies in it.

Everything is decided with a margin that exceeds the rounding of the computation, so that "surely" is a proof.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from approx import _checks
from approx._compile import compiled
from approx.certification._union import MOST, held, places
from approx.covers import Cover

__all__ = ["Cells", "Lists", "take_lists"]

Array = NDArray[np.float64]
Lists = tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.bool_]]  # candidates of boxes, see Cells.refine

_ULP = 2.0**-52
_SMALLEST = 1e-140  # squares of smaller radii leave the range in which rounding is relative


@dataclass(frozen=True, eq=False)
class Cells:
    """Ordered open cells E_i = {x : |A_i x - u_i| < rho_i}; the first one that holds x decides.

    offsets : (N, p) u_i; for balls (A_i = I) the centres
    radii : (N,) rho_i; a cell with rho_i <= 0 is empty, and inf is everything
    matrices : (N, p, n) A_i of any rank (slabs and cylinders included), or None for balls
    collars : (N,) >= 0, in units of rho_i: a point with | |A_i x - u_i| - rho_i | <= collar_i counts both as inside
        and as outside E_i. It stands for all that is uncertain about the boundary. A boundary that may be off by the
        distance d in x needs a collar of d for a ball and d |A_i| otherwise.

    Raises ValueError or TypeError for arrays that are not finite (radii may be infinite) or do not fit together.

    >>> cells = Cells([[0.0], [1.0]], [1.0, 1.0])
    >>> len(cells), cells.dim_in
    (2, 1)
    """

    offsets: Array
    radii: Array
    matrices: Array | None
    collars: Array

    def __init__(
        self, offsets: ArrayLike, radii: ArrayLike, matrices: ArrayLike | None = None, collars: ArrayLike = 0.0
    ):
        call = "Cells"
        offsets = _checks.finite_array(call, "offsets", offsets, (None, None))
        count = offsets.shape[0]
        radii = _checks.real_array(call, "radii", radii)
        if radii.shape != (count,) or np.isnan(radii).any():
            received = f"radii of shape {radii.shape}" + (" with NaN" if np.isnan(radii).any() else "")
            raise ValueError(_checks.message(call, received, f"({count},) numbers", "Give every cell one radius."))
        widths = _checks.real_array(call, "collars", collars)
        if widths.shape not in ((), (count,)) or not (widths >= 0).all():
            received = f"collars {_checks.show(collars)}"
            required = f"one number >= 0, or ({count},) of them"
            raise ValueError(_checks.message(call, received, required, "Pass distances, without NaN."))
        if matrices is not None:
            matrices = _checks.finite_array(call, "matrices", matrices, (count, offsets.shape[1], None))
            matrices = np.array(matrices, order="C")
        if 0 in offsets.shape[1:] or (matrices is not None and matrices.shape[2] == 0):
            raise ValueError(_checks.message(call, "an empty dimension", "n, p >= 1", "Give points coordinates."))
        # Copies, writeable as well: compiled code is compiled anew for every kind of array.
        object.__setattr__(self, "offsets", np.array(offsets, order="C"))
        object.__setattr__(self, "radii", np.array(radii))
        object.__setattr__(self, "matrices", matrices)
        object.__setattr__(self, "collars", np.array(np.broadcast_to(widths, (count,))))

    @classmethod
    def around(
        cls, centers: ArrayLike, radii: ArrayLike, matrices: ArrayLike | None = None, displacement: ArrayLike = 0.0
    ) -> Cells:
        """The cells {x : |A_i (x - c_i)| < rho_i} with boundaries that may be off by a distance in x.

        centers (N, n); radii (N,); matrices (N, n, n), None for balls; displacement: a number >= 0, or (N,) of them.
        What rounding A_i c_i adds is included in the collars.
        """
        plain = cls(centers, radii, matrices, displacement)
        if plain.matrices is None:
            return plain
        n, size = plain.dim_in, np.abs(plain.matrices) @ np.abs(plain.offsets)[:, :, None]
        offsets = (plain.matrices @ plain.offsets[:, :, None])[:, :, 0]
        rounding = np.linalg.norm(size[:, :, 0], axis=1) * (2 * n + 4) * _ULP
        stretch = np.linalg.norm(plain.matrices, axis=(1, 2)) * (1 + (n * n + 4) * _ULP)  # Frobenius: at least |A|
        moved = np.where(np.isfinite(plain.collars), plain.collars * np.maximum(stretch, 1e-300), np.inf)
        return cls(offsets, radii, plain.matrices, (moved + rounding) * (1 + 4 * _ULP))

    @classmethod
    def of(cls, cover: Cover, displacement: ArrayLike = 0.0) -> Cells:
        """The cells of a cover, whose boundaries may be off by a distance in x."""
        if cover.radii is not None:
            return cls.around(cover.centers, cover.radii, None, displacement)
        return cls.around(cover.centers, np.ones(len(cover)), cover.matrices, displacement)

    def __len__(self) -> int:
        return self.offsets.shape[0]

    @property
    def dim_in(self) -> int:
        return (self.offsets if self.matrices is None else self.matrices).shape[-1]

    def thresholds(self, lower: Array, upper: Array) -> tuple[Array, Array]:
        """(inner (N,), outer (N,)) for boxes within lower <= x <= upper, (n,) each: a box lies in cell i for sure if
        the `far` that `refine` computes is < inner[i], and misses it for sure if `near` > outer[i]."""
        terms = self.offsets.shape[1] + self.dim_in
        slack = self.collars
        if self.matrices is not None:
            size = np.abs(self.matrices) @ np.maximum(np.abs(lower), np.abs(upper)) + np.abs(self.offsets)
            slack = slack + np.linalg.norm(size, axis=1) * (2 * terms + 4) * _ULP + 1e-290
        margin = (terms + 16) * _ULP
        with np.errstate(invalid="ignore", over="ignore", under="ignore"):
            inside = (self.radii - slack) * (1 - margin)
            outside = (self.radii + slack) * (1 + margin)
            inner = np.where(inside > _SMALLEST, inside * inside, -1.0)
            outer = np.where(outside <= 0, -1.0, np.maximum(outside * outside, _SMALLEST**2))
        # NaN, from inf - inf: nothing is sure
        return np.nan_to_num(inner, nan=-1.0, posinf=np.inf), np.nan_to_num(outer, nan=np.inf, posinf=np.inf)

    def boxes(self, lower: Array, upper: Array) -> tuple[Array, Array]:
        """(low (N, n), high (N, n)): boxes around the cells with their collars, cut to lower <= x <= upper; not
        low <= high where a cell misses it."""
        radii = np.maximum(self.radii + self.collars, 0.0)
        if self.matrices is None:
            centers, extents = self.offsets, np.broadcast_to(radii[:, None], self.offsets.shape)
        else:
            centers, extents = self._hulls(self.matrices, radii, lower, upper)
        with np.errstate(invalid="ignore", over="ignore"):
            extents = extents * (1 + 4 * _ULP) + np.abs(centers) * (2 * _ULP) + 1e-300
            low, high = np.maximum(centers - extents, lower), np.minimum(centers + extents, upper)
        unknown = np.isnan(low) | np.isnan(high)
        return np.where(unknown, lower, low), np.where(unknown, upper, high)

    def _hulls(self, matrices: Array, radii: Array, lower: Array, upper: Array) -> tuple[Array, Array]:
        """Centres and half widths from x - c = B (A x - u) + (I - B A)(x - c) + B (u - A c), true for every B."""
        offsets, n = self.offsets, self.dim_in
        try:
            inverse = np.linalg.pinv(matrices)
        except np.linalg.LinAlgError:
            inverse = np.zeros(matrices.shape).swapaxes(1, 2)
        centers = np.einsum("kij,kj->ki", inverse, offsets)
        with np.errstate(invalid="ignore", over="ignore"):
            noise = (2 * n + 2 * offsets.shape[1] + 8) * _ULP
            product = np.abs(inverse) @ np.abs(matrices)
            defect = np.abs(np.eye(n) - inverse @ matrices) + noise * (product + np.eye(n))
            reach = np.maximum(np.abs(lower - centers), np.abs(upper - centers))
            size = np.abs(offsets) + np.einsum("kij,kj->ki", np.abs(matrices), np.abs(centers))
            residual = np.abs(offsets - np.einsum("kij,kj->ki", matrices, centers)) + noise * size
            extents = np.linalg.norm(inverse, axis=2) * radii[:, None]
            extents += np.einsum("kij,kj->ki", defect, reach) + np.einsum("kij,kj->ki", np.abs(inverse), residual)
            return centers, extents * (1 + 1e-12)

    def just_inside(self, points: Array, cells: NDArray) -> Array:
        """points, (k, n), moved along the gradient of |A_i x - u_i| to about where it is rho_i less the collar; only a
        proposal, exact for balls."""
        offsets, radii, collars = self.offsets[cells], self.radii[cells], self.collars[cells]
        matrices = np.eye(self.dim_in)[None] if self.matrices is None else self.matrices[cells]
        vectors = (matrices @ points[:, :, None])[:, :, 0] - offsets
        with np.errstate(all="ignore"):
            lengths = np.linalg.norm(vectors, axis=1)
            slopes = (vectors[:, None, :] @ matrices)[:, 0, :] / lengths[:, None]
            change = radii * (1 - 1e-12) - 1.5 * collars - lengths
            moved = points + slopes * (change / np.square(slopes).sum(axis=1))[:, None]
        return np.where(np.isfinite(moved), moved, points)

    def miss(self, lower: Array, upper: Array, cells: NDArray, outer: Array) -> NDArray[np.bool_]:
        """(k,) whether box k surely misses the cell cells[k]. outer: the threshold."""
        matrices = np.empty((0, 1, 1)) if self.matrices is None else self.matrices
        missed = np.empty(len(cells), np.bool_)
        boxes = np.ascontiguousarray(lower), np.ascontiguousarray(upper)
        _miss(*boxes, np.array(cells, np.int64), self.offsets, matrices, outer, missed)
        return missed

    def refine(
        self, lower: Array, upper: Array, parents: NDArray, lists: Lists, inner: Array, outer: Array, join: NDArray
    ) -> tuple[Lists, NDArray[np.bool_], Array]:
        """Which cells matter on each box?

        lower, upper : (k, n) the boxes; parents (k,) names for each the entry of `lists` that holds for it
        lists : (starts (l + 1,), cells, closed (l,)): ordered candidates in compressed rows; a closed list ends with
            cells that together surely hold the box
        inner, outer : the thresholds
        join : (l,) whether to try if several cells together surely hold a box, where no single one does
        Returns lists for the k boxes, candidates that do not surely miss the box, up to where the cells so far surely
        hold it; (k,) whether the box is so small against the collars of all undecided cells that halving it is no use;
        and (k, n) a point where to cut the box, NaN where the middle will do.
        """
        starts, cells, closed = lists
        total = int((starts[parents + 1] - starts[parents]).sum())
        new_starts, new_cells = np.zeros(len(parents) + 1, np.int64), np.empty(total, np.int32)
        new_closed, blurred = closed[parents], np.zeros(len(parents), np.bool_)
        cuts = np.full(lower.shape, np.nan)
        if not total:
            return (new_starts, new_cells, new_closed), blurred, cuts
        matrices = np.empty((0, 1, 1)) if self.matrices is None else self.matrices
        _refine(
            lower, upper, parents, starts, cells, closed, self.offsets, matrices, inner, outer, self.collars,
            new_starts, new_cells, new_closed, blurred,
        )  # fmt: skip
        new_cells = new_cells[: new_starts[-1]]
        sizes = np.diff(new_starts)
        rows = np.flatnonzero(join[parents] & ~new_closed & (sizes > 1) & (sizes <= MOST))
        if len(rows):
            row_starts, row_cells, _ = take_lists((new_starts, new_cells, new_closed), rows)
            boxes = lower[rows], upper[rows]
            last, worst = held(*boxes, row_starts, row_cells, self.offsets, matrices, inner)
            cuts[rows[last < 0]] = worst[last < 0]
            new_closed[rows] = last >= 0
            needed = sizes.copy()
            needed[rows[last >= 0]] = last[last >= 0] + 1
            new_cells = new_cells[places(new_starts) < np.repeat(needed, sizes)]
            new_starts[1:] = np.cumsum(needed)
        return (new_starts, new_cells, new_closed), blurred, cuts


def take_lists(lists: Lists, rows: NDArray) -> Lists:
    """The lists of these boxes."""
    starts, cells, closed = lists
    sizes = starts[rows + 1] - starts[rows]
    new_starts = np.concatenate(([0], np.cumsum(sizes)))
    entries = np.arange(new_starts[-1]) + np.repeat(starts[rows] - new_starts[:-1], sizes)
    return new_starts, cells[entries], closed[rows]


@compiled
def span(lower, upper, k, offsets, matrices, i):  # pragma: no cover - compiled
    """Squares of the least and largest |A_i x - u_i| on box k; unless A_i = I, on a box around the values A_i x."""
    near = 0.0
    far = 0.0
    for j in range(offsets.shape[1]):
        low = -offsets[i, j]
        high = low
        if matrices.shape[0] == 0:
            low += lower[k, j]
            high += upper[k, j]
        else:
            for a in range(lower.shape[1]):
                entry = matrices[i, j, a]
                if entry != 0.0:
                    one, other = entry * lower[k, a], entry * upper[k, a]
                    low += one if entry > 0.0 else other
                    high += other if entry > 0.0 else one
        if low > 0.0:
            near += low * low
        elif high < 0.0:
            near += high * high
        reach = high if high > -low else -low
        far += reach * reach
    return near, far


@compiled
def _miss(lower, upper, cells, offsets, matrices, outer, missed):  # pragma: no cover - compiled
    for k in range(lower.shape[0]):
        near, _ = span(lower, upper, k, offsets, matrices, cells[k])
        missed[k] = near > outer[cells[k]]


@compiled
def _refine(
    lower, upper, parents, starts, cells, closed, offsets, matrices, inner, outer, collars, new_starts, new_cells,
    new_closed, blurred,
):  # pragma: no cover - compiled  # fmt: skip
    cursor = np.int64(0)  # a literal would be compiled apart
    for k in range(lower.shape[0]):
        parent = parents[k]
        shut = closed[parent]
        undecided = 0
        fine = 0
        for e in range(starts[parent], starts[parent + 1]):
            i = cells[e]
            near, far = span(lower, upper, k, offsets, matrices, i)
            if near > outer[i]:
                continue
            new_cells[cursor] = i
            cursor += 1
            if far < inner[i]:
                shut = True
                break
            undecided += 1
            if np.sqrt(far) - np.sqrt(near) <= collars[i] / 2:
                fine += 1
        new_starts[k + 1] = cursor
        new_closed[k] = shut
        blurred[k] = 0 < undecided == fine
