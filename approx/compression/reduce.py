"""Smaller radial networks that compute the same function (arXiv 2107.02550, section 5)."""

from __future__ import annotations

import copy

import torch

from approx.activations import RadialActivation
from approx.compression.factors import Orthogonal
from approx.compression.result import Compression, _versions
from approx.networks import Dense, RadialNetwork

__all__ = ["compress"]


def compress(network: RadialNetwork) -> Compression:
    """Algorithm 1."""
    blocks, factors = _reduce(network)
    return Compression(RadialNetwork(blocks), network, factors, "qr", None, None, None, 1.0, 0, _versions(network))


@torch.no_grad()
def _reduce(network):
    copies: dict[int, RadialActivation] = {}
    blocks, factors = [], []
    width, basis, done, last = network.dim_in, None, 0, network.depth - 1
    for block in network.blocks:
        activation = _own(block.activation, copies)
        for layer in range(block.layers):
            if basis is None and block.weight.ndim == 3:  # n_i <= n_{i-1} + 1 from here on: nothing to gain
                rest = block.layers - layer
                blocks.append(type(block)(block.weight[layer:], block.bias[layer:], activation))
                sizes = block.widths_after(width)[layer:]
                shared = {size: Orthogonal(size) for size in set(sizes)}
                factors += [shared[size] for size in sizes][: last - done]
                done += rest
                break
            weight, bias = block.matrix(layer, width)
            moved = weight if basis is None else weight @ basis
            rows, columns = moved.shape
            if done == last or rows <= columns + 1:
                reduced = (moved, bias)
                factor, basis = Orthogonal(rows), None
            else:
                factor = Orthogonal(rows, *torch.geqrf(torch.cat([bias[:, None], moved], dim=1)))
                basis = factor.columns(columns + 1)
                upper = factor.reflectors[: columns + 1].triu()
                reduced = (upper[:, 1:], upper[:, 0])
            blocks.append(Dense(*reduced, activation))
            if done < last:
                factors.append(factor)
            done += 1
        width = block.widths_after(width)[-1]
    return blocks, factors


def _own(activation, copies):
    """The activation itself, or a copy if it has parameters, shared between the same layers as before."""
    if activation is None or next(activation.parameters(), None) is None:
        return activation
    return copies.setdefault(id(activation), copy.deepcopy(activation))
