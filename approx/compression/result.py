"""What compressing a network gives: the smaller network, and how it sits in the full one."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from approx import _checks
from approx.compression.factors import Orthogonal
from approx.compression.symmetry import change_basis
from approx.networks import Dense, RadialNetwork

__all__ = ["Compression"]


@dataclass(frozen=True, eq=False, repr=False)
class Compression:
    """A radial network and its compressed form.

    network : the reduced network; dtype, device and activations of the full one
    full : the network that was compressed
    factors : one `Orthogonal` Q_i per hidden layer; its first n_i^red columns carry the reduced coordinates
    method : "qr" (Algorithm 1), "rank" or "diagonal"
    bound : proved bound of |F - F_red| on |x| <= radius, in real arithmetic; None where nothing was dropped on purpose
        (lossless)
    deviation : max |F - F_red| measured at `samples` points of the ball |x| <= radius; None without samples
    scale : how large numbers get on the way at those points, local slopes of the activations included; a lossless
        deviation is a small multiple of the machine epsilon times this
    radius, samples : where it was measured
    versions : of the full weights at the time, to notice changes

    >>> from approx.compression import compress
    >>> from approx.training import random_network
    >>> small = compress(random_network((1, 6, 7, 1)))
    >>> small.widths, small.reduced_widths, small.parameters
    ((1, 6, 7, 1), (1, 2, 3, 1), (69, 17))
    """

    network: RadialNetwork
    full: RadialNetwork
    factors: Sequence[Orthogonal]
    method: str
    bound: float | None
    deviation: float | None
    scale: float | None
    radius: float
    samples: int
    versions: tuple = field(default=())

    @property
    def widths(self) -> tuple[int, ...]:
        """(n_0, ..., n_L) before."""
        return self.full.widths

    @property
    def reduced_widths(self) -> tuple[int, ...]:
        """(n_0, ..., n_L) after."""
        return self.network.widths

    @property
    def parameters(self) -> tuple[int, int]:
        """Numbers of parameters (before, after)."""
        return self.full.parameter_count, self.network.parameter_count

    @cached_property
    def rotated(self) -> RadialNetwork:
        """Q^-1.(W, b): the full-size network in the basis in which the reduced one is its leading part.

        The leading n_i^red x n_{i-1}^red blocks are those of the reduced network exactly, and in a lossless
        compression the blocks below them are exactly zero. Computed on first use; raises RuntimeError if the weights
        of the full network changed since it was compressed.
        """
        if versions(self.full) != self.versions:
            action = "Read .rotated or .residual before training the full network, or compress it again."
            received = "a network whose weights changed since"
            raise RuntimeError(_checks.message("Compression.rotated", received, "the network compressed", action))
        rotated = change_basis(self.full, self.factors, inverse=True)
        if all(factor.is_identity for factor in self.factors):
            return rotated
        layers = []
        for (weight, bias, activation), (small, offset, _) in zip(rotated.layers(), self.network.layers(), strict=True):
            weight, bias = weight.detach().clone(), bias.detach().clone()
            rows, columns = small.shape
            if self.bound is None:
                weight[rows:, :columns] = 0
                bias[rows:] = 0
            weight[:rows, :columns] = small.detach()
            bias[:rows] = offset.detach()
            layers.append(Dense(weight, bias, activation))
        return RadialNetwork(layers)

    @cached_property
    def residual(self) -> list[tuple[Tensor, Tensor]]:
        """U = Q^-1.(W, b) - (W_red, b_red), the latter padded by zeros: (weight, bias) per layer, of full size."""
        result = []
        for (weight, bias, _), (small, offset, _) in zip(self.rotated.layers(), self.network.layers(), strict=True):
            weight, bias = weight.detach().clone(), bias.detach().clone()
            weight[: small.shape[0], : small.shape[1]] -= small.detach()
            bias[: len(offset)] -= offset.detach()
            result.append((weight, bias))
        return result

    def table(self) -> str:
        """A line per layer, or per run of layers with the same widths: widths and parameters before and after."""
        rows: list[tuple[str, ...]] = [("layer", "activation", "width before", "after", "parameters before", "after")]
        names = [str(block.activation or "none") for block in self.full.blocks for _ in range(block.layers)]
        before, after = (list(itertools.pairwise(widths)) for widths in (self.widths, self.reduced_widths))
        layer, totals = 1, [0, 0]
        for (name, *pairs), run in itertools.groupby(zip(names, before, after, strict=True)):
            count = len(list(run))
            sizes = [count * out * (width + 1) for width, out in pairs]
            totals = [total + size for total, size in zip(totals, sizes, strict=True)]
            label = str(layer) if count == 1 else f"{layer} to {layer + count - 1:,}"
            rows.append((label, name, *(f"{out:,}" for _, out in pairs), *(f"{size:,}" for size in sizes)))
            layer += count
        rows.append(("total", "", "", "", *(f"{total:,}" for total in totals)))
        sizes = [max(map(len, column)) for column in zip(*rows, strict=True)]
        cells = ([*map(str.ljust, row[:2], sizes[:2]), *map(str.rjust, row[2:], sizes[2:])] for row in rows)
        return "\n".join("  ".join(row).rstrip() for row in cells)

    def __repr__(self) -> str:
        name = {"qr": "QR, Algorithm 1", "rank": "rank-revealing", "diagonal": "rank-revealing, diagonal form"}
        before, after = self.parameters
        rows = [
            ("", "before", "after"),
            ("widths", _widths(self.widths), _widths(self.reduced_widths)),
            ("parameters", f"{before:,}", f"{after:,} ({100 * after / before:.3g}%)"),
        ]
        size = max(len(row[1]) for row in rows)
        lines = [f"Compression of R^{self.full.dim_in} -> R^{self.full.dim_out}, {name[self.method]}"]
        lines += [f"  {label:<11} {left:<{size}}  {right}" for label, left, right in rows]
        claim = "lossless" if self.bound is None else f"|F - F_red| <= {self.bound:.3g} for |x| <= {self.radius:g}"
        if self.deviation is not None:
            claim += f"; {self.deviation:.3g} at the worst of {self.samples:,} points of |x| <= {self.radius:g}"
            if self.bound is None and self.scale is not None and self.scale > 0:
                ratio = self.deviation / self.scale / torch.finfo(self.full.dtype).eps
                claim += f" ({f'{ratio:.2g}' if ratio >= 0.01 else 'under 0.01'} eps x scale)"
        return "\n".join([*lines, f"  {'error':<11} {claim}"])


def _widths(widths: tuple[int, ...]) -> str:
    """(1, 8, 16, 8, 1), with runs as 4 x 1,000, and long lists cut in the middle."""
    runs = [(width, len(list(run))) for width, run in itertools.groupby(widths)]
    if len(widths) <= 8:
        runs = [(width, 1) for width in widths]
    parts = [f"{width:,}" if count == 1 else f"{width:,} x {count:,}" for width, count in runs]
    return f"({', '.join(parts if len(parts) <= 10 else [*parts[:5], '...', *parts[-4:]])})"


def versions(network: RadialNetwork) -> tuple:
    """Changes whenever an optimiser, a copy or an assignment writes to the weights."""
    return tuple((id(value), value._version) for block in network.blocks for value in (block.weight, block.bias))
