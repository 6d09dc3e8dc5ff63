"""Theorem 3: Step-ReLU networks of hidden widths n + 1, n + 2, ..., n + N on all of R^n.

Source: Ganev, van Laarhoven, Walters, arXiv 2107.02550, Theorem 3.

Idea: every layer opens one new coordinate e_i. The ball about c_i collapses to the point c_i + (its own e_i); all
other points, captured or not, stay where they are, and in the end the coordinate e_i alone carries the value.

Notation. T_i(z) = (A_i (x - c_i), h_i e_i, older coordinates) before the activation of layer i,
S_i(v, q) = (A_i^{-1} v + c_i, k_i (h_i - q)) after it; layer i has the affine map T_i S_{i-1}. An uncaptured point
has q = h_i and gets e_i = 0, a captured one has q = 0 and gets e_i = k_i h_i >= 1, which keeps its norm above 1 in
every later layer. Output: L(x) + sum_i (y_i - L(c_i)) e_i / (k_i h_i). The newest coordinate is stored first.

Departures from the paper. A_i is a power of two and k_i = 2, where the paper has A_i = I, h_i = sqrt(1 - r_i^2) and
k_i = 1/h_i (`maps="paper"`): radii are free, and e_i = 0 holds exactly.

Cost: N hidden layers for N cells; about N^3 / 3 parameters as dense matrices, of which N (n + 2)^2 differ from the
identity and are stored.
Fails: for maps="paper" with a radius >= 1; in float32 where cells are smaller than the spacing of numbers.
"""

from __future__ import annotations

import numpy as np
import torch

from approx.activations import StepReLU
from approx.blocks import Block, Growing
from approx.covers import Cover
from approx.networks import RadialNetwork
from constructions._construction import Assembly, Builder
from constructions._gadgets import block, check_arguments, conditioned_gauge, exact_in, paper_gauge, transfer

__all__ = ["BUILDER", "assemble", "build"]


def assemble(
    cover: Cover,
    *,
    tolerance: float | None = None,
    maps: str = "conditioned",
    dtype: torch.dtype = torch.float64,
) -> Assembly:
    """The network of Theorem 3 for any ordered cover.

    tolerance : not needed here, values are kept as they are
    maps : "conditioned" or "paper"; the paper's maps need balls with radii < 1
    Raises ValueError when the dtype cannot resolve the cells.
    """
    check_arguments("widening.assemble", cover, tolerance, maps, dtype)
    n, m, cells = cover.dim_in, cover.dim_out, len(cover)
    gauge = paper_gauge(cover) if maps == "paper" else conditioned_gauge(cover, dtype, adjust="height")
    rounding = gauge.rounding(dtype, n + cells)
    linear, base = cover.affine.matrix, cover.affine.offset  # L(x) = B x + b
    if not cells:
        return Assembly(RadialNetwork([block(linear, base, dtype)]), cover, rounding, exact_in(linear, dtype))
    h = gauge.heights
    k = 1 / h if maps == "paper" else np.full(cells, 2.0)

    entry = np.vstack([gauge.entry, np.zeros((1, n))])  # T_1
    entry_bias = np.append(-gauge.matrices[0] @ gauge.anchors[0], h[0])

    ratio, shift = transfer(gauge.matrices, gauge.anchors)  # T_{i+1} S_i: (v, q) -> (v', q', e_i)
    weight, bias = np.zeros((cells - 1, n + 2, n + 1)), np.zeros((cells - 1, n + 2))
    weight[:, :n, :n] = ratio
    bias[:, :n] = shift
    bias[:, n] = h[1:]
    weight[:, n + 1, n] = -k[:-1]
    bias[:, n + 1] = k[:-1] * h[:-1]

    heights = (cover.values - cover.affine(gauge.cover.centers)) / (k * h)[:, None]
    out = np.empty((m, n + cells))
    out[:, :n] = linear @ gauge.exit
    out[:, n] = -k[-1] * heights[-1]  # the last coordinate is still q
    out[:, n + 1 :] = heights[-2::-1].T
    out_bias = cover.affine(gauge.cover.centers[-1]) + k[-1] * h[-1] * heights[-1]
    blocks: list[Block] = [block(entry, entry_bias, dtype, StepReLU())]
    if cells > 1:
        blocks.append(Growing(torch.tensor(weight, dtype=dtype), torch.tensor(bias, dtype=dtype), StepReLU()))
    blocks.append(block(out, out_bias, dtype))
    return Assembly(RadialNetwork(blocks), gauge.cover, rounding, gauge.affine_exact and exact_in(out[:, :n], dtype))


BUILDER = Builder(
    name="widening",
    theorem="Theorem 3",
    widths="n + 1, n + 2, ..., n + N",
    assemble=assemble,
    everywhere=True,
    layers=lambda n, m, cells: cells,
)
build = BUILDER.build
