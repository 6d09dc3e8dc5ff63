"""Theorem 5: Step-ReLU networks of constant hidden width n + m + 1 on all of R^n.

Source: Ganev, van Laarhoven, Walters, arXiv 2107.02550, Theorem 5.

Idea: the state is (x, y, t). A point travels as (x, 0, 0) until the first cell that holds it captures it; then it
sits at (0, p_i, 1), where p_i codes the value of that cell, and no later layer moves it.

Notation. T_i(x, y, t) = (A_i (x - (1 - t) c_i), y - t p_i + (1 - t) eta_i e_1, (1 - t) h) is the affine map before
the activation of layer i, S_i the one after it: S_i(v, w, q) = (A_i^{-1} v + (q/h) c_i,
w + (1 - q/h) p_i - (q/h) eta_i e_1, 1 - q/h). Layer i has the affine map T_i S_{i-1}; the output is
(x, y, t) -> L(x) + s y after S_N. An earlier point (0, p_j, 1) arrives at layer i as (0, p_j - p_i, 0), so it
survives when |p_j - p_i| >= 1, and equal values may merge.

Departures from the paper. (1) A_i scales x and eta_i pads the norm, so that radii are free while h = 1/2 and A_i is
a power of two: the x-blocks multiply to the identity exactly (`maps="paper"` gives A_i = I, h_i = sqrt(1 - r_i^2),
eta_i = 0 instead). (2) Values are rounded to a grid of step 2 s, so |p_j - p_i| >= 2 for different values, where
s = min |y_i - y_j| puts the closest pair on the threshold.

Cost: N hidden layers for N cells, N (n + m + 1) (n + m + 2) + O(1) parameters.
Fails: for maps="paper" with a radius >= 1; in float32 where cells are smaller than the spacing of numbers.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from approx.activations import StepReLU
from approx.covers import Cover
from approx.networks import RadialNetwork
from constructions._construction import Assembly, Builder
from constructions._gadgets import (
    block,
    check_arguments,
    code_values,
    conditioned_gauge,
    exact_in,
    paper_gauge,
    transfer,
)

__all__ = ["BUILDER", "assemble", "build"]


def assemble(
    cover: Cover,
    *,
    tolerance: float | None = None,
    maps: str = "conditioned",
    dtype: torch.dtype = torch.float64,
) -> Assembly:
    """The network of Theorem 5 for any ordered cover.

    tolerance : values may move by this much (Euclidean norm); None takes the finest grid of the dtype
    maps : "conditioned" or "paper"; the paper's maps need balls with radii < 1
    Raises ValueError when the dtype cannot resolve the cells or the values.
    """
    check_arguments("constant_width.assemble", cover, tolerance, maps, dtype)
    n, m, cells = cover.dim_in, cover.dim_out, len(cover)
    linear, base = cover.affine.matrix, cover.affine.offset  # L(x) = B x + b
    gauge = paper_gauge(cover) if maps == "paper" else conditioned_gauge(cover, dtype, adjust="padding")
    rounding = gauge.rounding(dtype, n + m + 1)
    if not cells:
        return Assembly(RadialNetwork([block(linear, base, dtype)]), cover, rounding, exact_in(linear, dtype))
    codes, scale = code_values(cover.values, base, tolerance, dtype, maps)
    h, eta = gauge.heights, gauge.paddings
    x, y, t = slice(0, n), slice(n, n + m), n + m

    entry, entry_bias = np.zeros((t + 1, n)), np.zeros(t + 1)  # T_1(x, 0, 0)
    entry[x] = gauge.entry
    entry_bias[x], entry_bias[n], entry_bias[t] = -gauge.matrices[0] @ gauge.anchors[0], eta[0], h[0]

    ratio, shift = transfer(gauge.matrices, gauge.anchors)  # T_{i+1} S_i
    moved = codes[:-1] - codes[1:]
    weight, bias = np.zeros((cells - 1, t + 1, t + 1)), np.zeros((cells - 1, t + 1))
    weight[:, x, x] = ratio
    weight[:, x, t] = shift / h[:-1, None]
    weight[:, y, y] = np.eye(m)
    weight[:, y, t] = -moved / h[:-1, None]
    weight[:, n, t] += (eta[1:] - eta[:-1]) / h[:-1]
    weight[:, t, t] = h[1:] / h[:-1]
    bias[:, y] = moved

    out = np.zeros((m, t + 1))  # (x, y, t) -> L(x) + s y after S_N
    out[:, x] = linear @ gauge.exit
    out[:, y] = scale * np.eye(m)
    out[:, t] = (linear @ gauge.cover.centers[-1] - scale * codes[-1]) / h[-1]
    out[0, t] -= scale * eta[-1] / h[-1]
    blocks = [
        block(entry, entry_bias, dtype, StepReLU()),
        *([block(weight, bias, dtype, StepReLU())] if cells > 1 else []),
        block(out, base + scale * codes[-1], dtype),
    ]
    realised = replace(gauge.cover, values=base + scale * codes)
    return Assembly(RadialNetwork(blocks), realised, rounding, gauge.affine_exact and exact_in(out[:, x], dtype))


BUILDER = Builder(
    name="constant_width",
    theorem="Theorem 5",
    widths="n + m + 1, every layer",
    assemble=assemble,
    everywhere=True,
    layers=lambda n, m, cells: cells,
)
build = BUILDER.build
