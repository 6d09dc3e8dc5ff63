"""Lemma-level pieces shared by the constructions: how a layer measures its cell, and how values are coded.

Every layer that captures the cell E_i does so because Step-ReLU sets a vector to zero when its norm is below 1.
The vector is (A_i (x - c_i), padding, height): the height h and padding eta are constants that an uncaptured
point carries along, so the cell is |A_i (x - c_i)|^2 < 1 - h^2 - eta^2. A `Gauge` fixes A_i, h and eta for all
cells of a cover; the paper's own choice is A_i = I, h_i = sqrt(1 - r_i^2), eta = 0.

Digits. With A_i = b 2^k and centres on a dyadic grid every translation is a multiple of the grid, so after the
first rounding all sums are exact: the displacement of a cell boundary does not grow with the number of layers,
and for b = 1 the product of all x-blocks is exactly the identity. That is what makes a claim on all of R^n possible.
Ellipsoids that have a frame U in common, see `_frames`, are treated like balls after the first layer has mapped x to
U x. Others are scaled as they are, and every layer rounds. On all of R^n ellipsoids need a constant affine part.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from approx import _checks
from approx.activations import StepReLU
from approx.covers import Cover
from approx.networks import Dense, Stack
from constructions._frames import common_frame

__all__ = [
    "CODE_BITS",
    "DIGITS",
    "Gauge",
    "Rounding",
    "block",
    "check_arguments",
    "check_dtype",
    "code_values",
    "conditioned_gauge",
    "digits",
    "exact_in",
    "pad",
    "paper_gauge",
    "transfer",
]

Array = NDArray[np.float64]
DIGITS = {torch.float64: 53, torch.float32: 24}
CODE_BITS = {torch.float64: 24, torch.float32: 11}  # codes and paddings share a coordinate exactly
PADDING_BITS = {torch.float64: 26, torch.float32: 10}
_HEIGHT = 0.5


def check_arguments(call: str, cover: Cover, tolerance: float | None, maps: str, dtype: torch.dtype) -> None:
    """What every `assemble` requires of its arguments. Raises TypeError or ValueError."""
    if not isinstance(cover, Cover):
        raise TypeError(_checks.message(call, f"cover {_checks.show(cover)}", "a Cover", "Make one with approx.Cover."))
    if tolerance is not None:
        _checks.positive(call, "tolerance", tolerance)
    _checks.one_of(call, "maps", maps, ("conditioned", "paper"))
    check_dtype(call, dtype)


def check_dtype(call: str, dtype: torch.dtype) -> None:
    """Raises ValueError for all but float64 and float32."""
    if dtype not in DIGITS:
        received = f"dtype {_checks.show(dtype)}"
        raise ValueError(_checks.message(call, received, "torch.float64 or torch.float32", "Pick one."))


def exact_in(array: Array, dtype: torch.dtype) -> bool:
    """Whether every entry survives the conversion to `dtype`."""
    values = torch.tensor(array)
    return torch.equal(values.to(dtype).to(values.dtype), values)


@dataclass(frozen=True)
class Rounding:
    """How far floating point may displace a cell boundary: absolute + relative * |x|, in units of x."""

    absolute: float
    relative: float

    def collar(self, radius: float) -> float:
        """The displacement for points with |x| <= radius (a-priori, float arithmetic of the network's dtype)."""
        return self.absolute + self.relative * radius


@dataclass(frozen=True, eq=False)
class Gauge:
    """How every layer measures its cell: v = M_i (b U x - u_i), with padding eta_i and height h_i beside it.

    cover : the cells as the network will realise them (centres U^-1 u_i / b, radii as measured)
    base : the common scale b; A_i = b M_i U
    anchors : (N, n) the scaled centres u_i = b U c_i
    matrices : (N, n, n) the matrices M_i
    heights, paddings : (N,) the constants h_i and eta_i of an uncaptured point
    exact : all sums of the x-block are exact after the first rounding
    frame : (n, n) the matrix U, None for the identity
    """

    cover: Cover
    base: float
    anchors: Array
    matrices: Array
    heights: Array
    paddings: Array
    exact: bool
    frame: Array | None = None

    @property
    def entry(self) -> Array:
        """(n, n) from x to the x-block of the first layer: b M_1 U."""
        return self.framed(self.base * self.matrices[0])

    def framed(self, matrix: Array) -> Array:
        """(., n) the matrix on coordinates U x as one on x."""
        return matrix if self.frame is None else matrix @ self.frame

    @property
    def exit(self) -> Array:
        """(n, n) from the x-block of the last layer back to x: the inverse of b M_N U."""
        inverse: NDArray = np.linalg.inv(self.base * self.matrices[-1])
        if self.frame is not None:
            inverse = np.linalg.solve(self.frame, inverse)
        return inverse

    @property
    def affine_exact(self) -> bool:
        """The product of the x-blocks is exactly the identity, or nothing outside the cells reads x.

        The last layer must store the slope exactly too.
        """
        return self.cover.affine.is_constant or (self.cover.is_balls and math.frexp(self.base)[0] == 0.5)

    def rounding(self, dtype: torch.dtype, width: int, magnitude: float = 0.0) -> Rounding:
        """A-priori bound on the displacement of cell boundaries.

        Exact gauges: a coordinate is rounded once per binade it crosses, in all at most two units in the last
        place of the largest number met, |x| or `magnitude`. Others: one rounding of that size per layer, times
        the condition number of A_i where layers mix coordinates. The comparison |v|^2 < 1 adds (width + 3) u
        relative to 1 - h^2 - eta^2.
        """
        if not len(self.cover):
            return Rounding(0.0, 0.0)
        unit = 2.0 ** (1 - DIGITS[dtype])
        chain = 4 * math.sqrt(self.cover.dim_in)
        if not self.exact:
            singular = np.linalg.svd(self.matrices, compute_uv=False)
            mixing = 1.0 if self.frame is not None else float((singular[:, 0] / singular[:, -1]).max())
            chain *= len(self.cover) * mixing
        if self.frame is not None:
            chain *= float(np.linalg.cond(self.frame))
        room = 1 - self.heights**2 - self.paddings**2
        edge = (width + 3) * float((self.cover.largest_radius_each / room).max())
        size = max(magnitude / self.base, self.cover.reach)
        return Rounding(unit * (chain * size + edge), unit * chain)


def transfer(matrices: Array, anchors: Array) -> tuple[Array, Array]:
    """From one gauge to the next: (N-1, n, n) matrices M_{i+1} M_i^{-1} and (N-1, n) shifts M_{i+1} (u_i - u_{i+1})."""
    ratio = matrices[1:] @ np.linalg.inv(matrices[:-1])
    same = (matrices[1:] == matrices[:-1]).all(axis=(1, 2))
    ratio[same] = np.eye(matrices.shape[1])
    return ratio, np.einsum("kij,kj->ki", matrices[1:], anchors[:-1] - anchors[1:])


def paper_gauge(cover: Cover) -> Gauge:
    """The literal maps of the paper: A_i = I and h_i = sqrt(1 - r_i^2), so radii must lie in (0, 1)."""
    radii = cover.radii
    if radii is None or (len(cover) and not radii.max() < 1):
        raise ValueError(
            _checks.message(
                "maps='paper'",
                f"{cover!r}" if radii is None else f"a radius {radii.max():g}",
                "balls of radius < 1, as the paper's h = sqrt(1 - r^2) needs",
                "Use maps='conditioned', or rescale the coordinates.",
            )
        )
    cells, n = len(cover), cover.dim_in
    matrices = np.broadcast_to(np.eye(n), (cells, n, n))
    heights = np.sqrt((1 - radii) * (1 + radii))
    return Gauge(cover, 1.0, cover.centers, matrices, heights, np.zeros(cells), exact=False)


def conditioned_gauge(
    cover: Cover, dtype: torch.dtype, *, adjust: str, height: float = 0.5, magnitude: float = 0.0
) -> Gauge:
    """A gauge that is well conditioned for cells of any size.

    adjust says how the radii of balls are met:
    "padding": A_i is a power of two, the height stays 1/2, eta_i makes up the rest (constant width);
    "height": A_i is a power of two, h_i in [1/2, 0.91) makes up the rest (widening);
    "scale": A_i = sqrt(1 - height^2) / r_i, exact when the ratios of the radii are powers of two (narrow, minimal).
    Ellipsoids with a common frame are met likewise, others by A_i = sqrt(1 - height^2) times their own matrix.
    `magnitude` is the largest number, in units of b x, that will share a coordinate with x.
    Raises ValueError when the grid of the dtype is too coarse for the cells.
    """
    cells, n = len(cover), cover.dim_in
    full = math.sqrt(1 - height**2)
    heights, paddings = np.full(cells, height), np.zeros(cells)
    if not cells:
        return Gauge(cover, 1.0, cover.centers, np.zeros((0, n, n)), heights, paddings, exact=True)
    if cover.radii is not None:
        frame, cell_radii = None, cover.radii
    else:
        frame = common_frame(cover.matrices)
        if frame is None:
            matrices = full * cover.matrices
            base = float(np.linalg.svd(matrices, compute_uv=False)[:, -1].min())
            return Gauge(cover, base, base * cover.centers, matrices / base, heights, paddings, exact=False)
        cell_radii = frame.radii
    centers = cover.centers if frame is None else cover.centers @ frame.matrix.T
    stretch = np.ones((cells, n)) if frame is None else frame.powers
    mixing = None if frame is None else frame.matrix
    if adjust == "scale":
        base = _truncate(full / float((cell_radii[:, None] / stretch).max()), DIGITS[dtype])
        scales = full / cell_radii / base
        powers = np.exp2(np.round(np.log2(scales)))
        exact = bool((np.abs(scales / powers - 1) < 2.0 ** (2 - DIGITS[dtype])).all())
        if not exact:
            matrices = _diagonal(scales, stretch)
            return Gauge(cover, base, base * centers, matrices, heights, paddings, False, mixing)
        scales = powers
    else:
        base = 1.0
        scales = np.exp2(np.floor(np.log2(full / cell_radii)))  # sqrt(3)/4 < scale * radius <= sqrt(3)/2
        free = np.maximum(1 - (scales * cell_radii) ** 2, height**2)
        if adjust == "height":
            heights = np.floor(np.ldexp(np.sqrt(free), DIGITS[dtype] - 2)) * 2.0 ** (2 - DIGITS[dtype])
        else:
            paddings = np.floor(np.ldexp(np.sqrt(free - height**2), PADDING_BITS[dtype])) * 2.0 ** -PADDING_BITS[dtype]
    spread = 1.0 if frame is None else float(np.linalg.norm(frame.matrix, 2))
    anchors = _snap(centers, cell_radii, cover.reach * spread, cover.overlap, base, dtype, magnitude)
    radii = np.sqrt(1 - heights**2 - paddings**2) / (scales * base)
    if frame is None:
        realised = replace(cover, centers=anchors / base, radii=radii)
    else:
        placed: NDArray = np.linalg.solve(frame.matrix, anchors.T / base)
        realised = replace(cover, centers=placed.T, shapes=frame.shapes(radii))
    return Gauge(realised, base, anchors, _diagonal(scales, stretch), heights, paddings, True, mixing)


def _diagonal(scales: Array, stretch: Array) -> Array:
    """(N, n, n) diagonal matrices scales[i] stretch[i]."""
    return (scales[:, None] * stretch)[:, :, None] * np.eye(stretch.shape[1])


def _truncate(value: float, digits: int) -> float:
    """`value` rounded down to so many binary digits."""
    mantissa, exponent = math.frexp(value)
    return math.ldexp(math.floor(math.ldexp(mantissa, digits)), exponent - digits)


def _snap(
    centers: Array, radii: Array, reach: float, overlap: float, base: float, dtype: torch.dtype, magnitude: float
) -> Array:
    """Scaled centres moved to the coarsest grid on which all sums of the chain are exact in `dtype`."""
    largest = max(base * float(np.abs(centers).max()), base * reach, magnitude)
    grid = 2.0 ** (math.ceil(math.log2(largest)) + 3 - DIGITS[dtype])
    moved = np.round(centers * (base / grid)) * grid
    shift = np.linalg.norm(moved / base - centers, axis=1)
    worst = int(np.argmax(shift / radii))
    room = (overlap / 2 or 0.1) * float(radii[worst])
    if shift[worst] > room:
        raise ValueError(
            _checks.message(
                "conditioned maps",
                f"cell {worst} of radius {radii[worst]:.3g} at distance "
                f"{np.linalg.norm(centers[worst]):.3g} from the origin in {str(dtype).removeprefix('torch.')}",
                f"cells larger than the spacing of numbers there (a shift of {room:.3g} is allowed)",
                "Use dtype=torch.float64, or a cover with more overlap.",
            )
        )
    return moved


def block(weight: Array, bias: Array, dtype: torch.dtype, activation: StepReLU | None = None) -> Dense | Stack:
    """A `Dense` or `Stack` block from float64 arrays."""
    kind = Dense if weight.ndim == 2 else Stack
    w, b = (torch.as_tensor(np.require(array, requirements="W")).to(dtype) for array in (weight, bias))
    return kind(w, b, activation)


def code_values(
    values: Array, origin: Array, tolerance: float | None, dtype: torch.dtype, maps: str = "conditioned"
) -> tuple[Array, float]:
    """Codes p_i with values = origin + scale * p_i, different codes at distance at least 2.

    values (N, m), origin (m,) -> (codes (N, m), scale). Conditioned: codes are even integers and the scale is a
    power of two, so values move by up to `tolerance` (Euclidean; None takes the finest grid of the dtype).
    maps="paper": no rounding, scale = half the smallest gap between values.
    Raises ValueError when the codes would not be exact in `dtype`.
    """
    offsets = values - origin
    size = float(np.abs(offsets).max(initial=0.0))
    if size == 0.0:
        return np.zeros(values.shape), 1.0
    if maps == "paper":
        distinct = np.unique(offsets, axis=0)
        gap = float(cKDTree(distinct).query(distinct, k=2)[0][:, 1].min()) if len(distinct) > 1 else 2.0
        return offsets / (gap / 2), gap / 2
    if tolerance is None:
        step = 2.0 ** (math.ceil(math.log2(size)) + 1 - CODE_BITS[dtype])
    else:
        step = 2.0 ** math.floor(math.log2(2 * tolerance / math.sqrt(values.shape[1])))
    integers = np.round(offsets / step)
    if np.abs(integers).max() > 2.0 ** CODE_BITS[dtype]:
        raise ValueError(
            _checks.message(
                "value coding",
                f"values up to {size:.3g} to be told apart to {tolerance:.3g} in {str(dtype).removeprefix('torch.')}",
                f"a ratio below 2^{CODE_BITS[dtype]}",
                "Use dtype=torch.float64, or a larger eps.",
            )
        )
    return 2 * integers, step / 2


def digits(codes: Array, count: int, wide: int) -> tuple[Array, Array]:
    """Even integers, (N, m), as vectors (N, wide) of `count` digits each, even integers again, about as large as the
    root of that order, and the matrix (m, wide) that reads them: codes = vectors @ matrix.T, exactly. Different codes
    have different vectors, so these are at least 2 apart.

    >>> digits(np.array([[2.0], [100.0], [-100.0]]), 2, 3)
    (array([[ 2.,  0.,  0.],
           [ 4.,  6.,  0.],
           [-4., -6.,  0.]]), array([[ 1., 16.,  0.]]))
    """
    rest, m, parts = codes / 2, codes.shape[1], []
    bits = math.ceil(math.log2(float(np.abs(rest).max(initial=0.0)) + 1))
    base = 2.0 ** math.ceil((bits + 1) / count)
    for _ in range(count - 1):
        carried = np.round(rest / base)
        parts.append(rest - base * carried)
        rest = carried
    unused = [(0, 0), (0, wide - count * m)]
    reading = np.kron(base ** np.arange(count), np.eye(m))
    return np.pad(2 * np.concatenate([*parts, rest], axis=1), unused), np.pad(reading, unused)


def pad(matrices: Array, anchors: Array, wide: int) -> tuple[Array, Array]:
    """Embed gauges of R^n in R^wide: new coordinates are scaled like the cell's longest axis."""
    cells, n = anchors.shape
    grown = np.zeros((cells, wide, wide))
    grown[:, range(wide), range(wide)] = np.linalg.svd(matrices, compute_uv=False)[:, -1:]
    grown[:, :n, :n] = matrices
    return grown, np.pad(anchors, [(0, 0), (0, wide - n)])
