"""Step-ReLU networks of constant hidden width max(n, m) >= 2 on compact domains.

Source: Ganev, van Laarhoven, Walters, arXiv 2107.02550, the compact-domain construction without an indicator.

Idea, with D = max(n, m). Stage 1: layer i sets (z - c_i) / r_i to zero where it is shorter than 1, so the ball about
c_i collapses to c_i; ball after ball, the whole domain becomes the finite set of centres. Stage 2: a layer of the same
form moves one of these points p to a place q, and nothing else, when some ball about q holds p and no other point;
`_moves` finds moves that bring every centre to a place from which an affine map reads its value.

Notation. Layer k has the ball with centre q_k and matrix A_k: T_k(z) = A_k (z - q_k), S_k(v) = A_k^{-1} v + q_k; its
affine map is T_k S_{k-1}. Coordinates are stored scaled by a common b.

Every point of the domain must lie in a cell, and no later cell may hold an earlier centre (lattice covers up to n = 9
and adaptive covers up to n = 3 have that). Outside the cells the network's value means nothing.

Departures from the paper: A_k may be any matrix in stage 1; the order of moves in stage 2 is ours.
Cost: N layers in stage 1 and O(N log N) in stage 2, of D (D + 1) parameters each.
Fails: for max(n, m) = 1, where a width-1 Step-ReLU network can only be monotone; in float32 for larger N.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from approx import _checks
from approx.activations import StepReLU
from approx.covers import Cover
from approx.networks import RadialNetwork
from constructions._construction import Assembly, Builder
from constructions._gadgets import block, check_arguments, code_values, conditioned_gauge, pad, transfer
from constructions._moves import route

__all__ = ["BUILDER", "assemble", "build"]


def assemble(
    cover: Cover,
    *,
    tolerance: float | None = None,
    maps: str = "conditioned",
    dtype: torch.dtype = torch.float64,
) -> Assembly:
    """The network of width max(n, m) for an ordered cover; it equals the cover wherever a cell holds x.

    tolerance : values may move by this much (Euclidean norm); the coarser, the fewer layers
    maps : "conditioned" or "paper", the same here: the paper's maps already scale by the radius
    Raises ValueError for max(n, m) = 1, for a cover without cells or with a cell that holds an earlier centre, and
    when the dtype cannot tell the moves apart.
    """
    check_arguments("minimal.assemble", cover, tolerance, maps, dtype)
    n, m, cells = cover.dim_in, cover.dim_out, len(cover)
    wide = max(n, m)
    obstacle = _refuse(n, m)
    if obstacle:
        raise ValueError(obstacle)
    if not cells:
        raise ValueError(
            _checks.message("minimal.assemble", "a cover without cells", "at least one cell", "Cover the domain.")
        )
    _check_centers(cover)
    origin = cover.affine.offset
    codes, half = code_values(cover.values, origin, tolerance, dtype)
    gauge = conditioned_gauge(cover, dtype, adjust="scale", height=0.0)
    matrices, anchors = pad(gauge.matrices, gauge.anchors, wide)
    routing = route(anchors, (codes / 2).astype(np.int64))
    matrices = np.concatenate([matrices, np.eye(wide) / routing.radii[:, None, None]])
    anchors = np.concatenate([anchors, routing.centers])

    entry = gauge.framed(gauge.base * matrices[0][:, :n])
    weight, bias = transfer(matrices, anchors)
    step = 2 * half  # codes are even, the routing counts them by ones
    out = step * routing.scale * np.linalg.inv(matrices[-1])[:m]
    out_bias = origin + step * (routing.scale * anchors[-1, :m] + routing.shift)
    blocks = [
        block(entry, -matrices[0] @ anchors[0], dtype, StepReLU()),
        *([block(weight, bias, dtype, StepReLU())] if len(weight) else []),
        block(out, out_bias, dtype),
    ]
    realised = replace(gauge.cover, values=origin + half * codes)
    made = Assembly(RadialNetwork(blocks), realised, gauge.rounding(dtype, wide))
    _check_values(made, half, dtype)
    return made


def _refuse(n: int, m: int) -> str | None:
    if max(n, m) >= 2:
        return None
    return _checks.message(
        "minimal",
        "a function from R to R",
        "max(n, m) >= 2: a width-1 Step-ReLU layer maps the line monotonically, so a width-1 network is monotone "
        "and cannot approximate a function that rises and falls",
        "Use narrow (width 2) instead.",
    )


def _layers(n: int, m: int, cells: int) -> int:
    """Measured: up to 12 moves per point with a free coordinate, 20 + log2(N) when every coordinate has a value."""
    return cells * (13 if m < n else 20 + cells.bit_length())


def _check_centers(cover: Cover) -> None:
    """No later cell may hold an earlier centre: it would move what has been captured."""
    backwards = cover.subset(np.arange(len(cover))[::-1])
    last = len(cover) - 1 - backwards.find(cover.centers)
    wrong = np.flatnonzero(last != np.arange(len(cover)))
    if len(wrong):
        i = int(wrong[0])
        raise ValueError(
            _checks.message(
                "minimal.assemble",
                f"cell {int(last[i])}, which holds the centre of the earlier cell {i}",
                "no later cell that holds an earlier centre",
                "Put larger cells first, or use a uniform or adaptive cover.",
            )
        )


def _check_values(made: Assembly, half: float, dtype: torch.dtype) -> None:
    """Rounding adds up over the moves; the centres must still arrive at their values."""
    owned = made.cover.find(made.cover.centers) == np.arange(len(made.cover))
    reached = made.network.evaluate(made.cover.centers[owned])
    wrong = float(np.abs(reached - made.cover.values[owned]).max(initial=0.0))
    if not wrong <= half / 4:
        raise ValueError(
            _checks.message(
                "minimal.assemble",
                f"{made.network.hidden_layers:,} layers in {str(dtype).removeprefix('torch.')}, whose rounding "
                f"moves a value by {wrong:.3g}",
                "a dtype that keeps the points of stage 2 apart",
                "Use dtype=torch.float64, or fewer cells.",
            )
        )


BUILDER = Builder(
    name="minimal",
    theorem="compact variant of Theorem 5, width max(n, m)",
    widths="max(n, m), every layer",
    assemble=assemble,
    everywhere=False,
    layers=_layers,
    coding=2.0**-5,  # fewer different values, fewer moves
    strategy=lambda n: "apart" if n <= 3 else "uniform",
    refuse=_refuse,
)
build = BUILDER.build
