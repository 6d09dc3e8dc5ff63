"""Step-ReLU networks of constant hidden width max(n, m) + 1 on compact domains.

Source: Ganev, van Laarhoven, Walters, arXiv 2107.02550, the compact-domain variant that follows Theorem 5.

Idea: x and the captured value share the same D = max(n, m) coordinates, and one more coordinate t says which of
the two they hold: (x, 0) before the capture, (p_i, 1) after it.

Notation. T_i(z, t) = (A_i (z - (1 - t) c_i - t p_i), (1 - t) h) before the activation of layer i,
S_i(v, q) = (A_i^{-1} v + (q/h) c_i + (1 - q/h) p_i, 1 - q/h) after it; layer i has the affine map T_i S_{i-1}, the
output is y_0 + s W z, W the weights of the digits. An earlier point (p_j, 1) survives layer i when
|A_i (p_j - p_i)| >= 1, so the codes p are even integers in units of the largest cell, where |A_i v| >= |v|.
Coordinates are stored scaled by a common b.

Digits. All layers move x, too, from code to code, and so round it like numbers of the size of the codes. Therefore the
code of a value has digits, one in each of the D coordinates as far as they go: two of 12 bits in place of one of 24.

Every point of the domain must lie in a cell. Outside the cells the network's value means nothing.

Departures from the paper: A_i scales with the cell and h = 1/2 (`maps="paper"`: A_i = I, h_i = sqrt(1 - r_i^2)).
Cost: N hidden layers for N cells, N (D + 1) (D + 2) + O(1) parameters.
Fails: as constant_width; and in float32 the shared coordinates leave fewer digits for x.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from approx import _checks
from approx.activations import StepReLU
from approx.covers import Cover
from approx.networks import RadialNetwork
from constructions._construction import Assembly, Builder
from constructions._gadgets import (
    Gauge,
    Rounding,
    block,
    check_arguments,
    code_values,
    conditioned_gauge,
    digits,
    pad,
    paper_gauge,
    transfer,
)

__all__ = ["BUILDER", "assemble", "build"]

Array = NDArray[np.float64]


def assemble(
    cover: Cover,
    *,
    tolerance: float | None = None,
    maps: str = "conditioned",
    dtype: torch.dtype = torch.float64,
) -> Assembly:
    """The network of width max(n, m) + 1 for any ordered cover; it equals the cover wherever a cell holds x.

    tolerance : values may move by this much (Euclidean norm); None takes the finest grid of the dtype
    maps : "conditioned" or "paper"; the paper's maps need balls with radii < 1
    Raises ValueError for a cover without cells, or when the dtype cannot resolve the cells or the values.
    """
    check_arguments("narrow.assemble", cover, tolerance, maps, dtype)
    n, m, cells = cover.dim_in, cover.dim_out, len(cover)
    if not cells:
        raise ValueError(
            _checks.message("narrow.assemble", "a cover without cells", "at least one cell", "Cover the domain.")
        )
    wide = max(n, m)
    origin = cover.affine.offset
    codes, scale = code_values(cover.values, origin, tolerance, dtype, maps)
    gauge, rounding, codes, reading = _coded(cover, codes, maps, dtype)
    matrices, anchors = pad(gauge.matrices, gauge.anchors, wide)
    reading = scale * reading
    h = gauge.heights
    z, t = slice(0, wide), wide

    entry, entry_bias = np.zeros((wide + 1, n)), np.zeros(wide + 1)  # T_1(x, 0)
    entry[z] = gauge.framed(gauge.base * matrices[0][:, :n])
    entry_bias[z], entry_bias[t] = -matrices[0] @ anchors[0], h[0]

    ratio, shift = transfer(matrices, anchors)  # T_{i+1} S_i
    moved = np.einsum("kij,kj->ki", matrices[1:], codes[:-1] - codes[1:])
    weight, bias = np.zeros((cells - 1, t + 1, t + 1)), np.zeros((cells - 1, t + 1))
    weight[:, z, z] = ratio
    weight[:, z, t] = (shift - moved) / h[:-1, None]
    weight[:, t, t] = h[1:] / h[:-1]
    bias[:, z] = moved

    out = np.empty((m, wide + 1))  # y_0 + s W z after S_N
    out[:, z] = reading @ np.linalg.inv(matrices[-1])
    out[:, t] = reading @ (anchors[-1] - codes[-1]) / h[-1]
    blocks = [
        block(entry, entry_bias, dtype, StepReLU()),
        *([block(weight, bias, dtype, StepReLU())] if cells > 1 else []),
        block(out, origin + reading @ codes[-1], dtype),
    ]
    realised = replace(gauge.cover, values=origin + codes @ reading.T)
    return Assembly(RadialNetwork(blocks), realised, rounding)


def _coded(cover: Cover, codes: Array, maps: str, dtype: torch.dtype) -> tuple[Gauge, Rounding, Array, Array]:
    """A gauge, its rounding, the codes (N, D) beside x and what reads them, (m, D): with one digit or, if that
    displaces boundaries less, with as many as there is room for. Raises ValueError where the dtype resolves the cells
    with neither."""
    n, m = cover.dim_in, cover.dim_out
    wide = max(n, m)
    if maps == "paper":
        gauge = paper_gauge(cover)
        return gauge, gauge.rounding(dtype, wide + 1, float(np.abs(codes).max())), *digits(codes, 1, wide)
    found, refusal = [], None
    for count in sorted({wide // m, 1}, reverse=True):
        vectors, reading = digits(codes, count, wide)
        magnitude = float(np.abs(vectors).max())
        try:
            gauge = conditioned_gauge(cover, dtype, adjust="scale", magnitude=magnitude)
        except ValueError as error:
            refusal = error
            continue
        if gauge.frame is not None:  # what codes share with long axes only displaces boundaries along these
            across = np.diagonal(gauge.matrices, axis1=1, axis2=2)
            thin = (across == across.max(axis=1, keepdims=True)).any(axis=0)
            magnitude = float(np.abs(vectors[:, :n][:, thin]).max())
        found.append((gauge, gauge.rounding(dtype, wide + 1, magnitude), vectors, reading))
    if not found:
        assert refusal is not None, "a gauge is found or refused"
        raise refusal
    return min(found, key=lambda made: made[1].absolute)


BUILDER = Builder(
    name="narrow",
    theorem="compact variant of Theorem 5, width max(n, m) + 1",
    widths="max(n, m) + 1, every layer",
    assemble=assemble,
    everywhere=False,
    layers=lambda n, m, cells: cells,
)
build = BUILDER.build
