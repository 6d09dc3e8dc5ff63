"""The pieces a network is stored in: single layers, and runs of layers kept as two tensors each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from approx import _checks
from approx.activations import RadialActivation

__all__ = ["Block", "Dense", "Growing", "Stack"]

KEPT_NUMBERS = 1 << 22  # of states; layers keep a few times as many for their gradients


class Block(nn.Module):
    """Layers stored together: weights, biases and one activation (None = identity)."""

    axes: ClassVar[int]
    """How many axes the weight has."""
    weight: nn.Parameter
    bias: nn.Parameter

    def __init__(self, weight: Tensor, bias: Tensor, activation: RadialActivation | None = None):
        super().__init__()
        call = type(self).__name__
        weight, bias = (torch.as_tensor(value) for value in (weight, bias))
        if not weight.is_floating_point() or weight.dtype != bias.dtype:
            raise TypeError(
                _checks.message(
                    call,
                    f"weight of {weight.dtype} and bias of {bias.dtype}",
                    "one real floating dtype",
                    "Convert both, for instance with .double().",
                )
            )
        if weight.ndim != self.axes or bias.shape != weight.shape[:-1] or 0 in weight.shape[-2:]:
            raise ValueError(
                _checks.message(
                    call,
                    f"weight of shape {tuple(weight.shape)} and bias of shape {tuple(bias.shape)}",
                    f"weight with {self.axes} axes (..., out, in) and bias (..., out)",
                    "Check the order of the axes.",
                )
            )
        if not (torch.isfinite(weight).all() and torch.isfinite(bias).all()):
            raise ValueError(
                _checks.message(call, "NaN or infinity in the weights", "finite weights", "Check their source.")
            )
        if activation is not None and not isinstance(activation, RadialActivation):
            raise TypeError(
                _checks.message(
                    call,
                    f"activation {_checks.show(activation)}",
                    "a RadialActivation or None",
                    "Take one by name, activations.activation(name), or wrap a profile h, RadialActivation(h).",
                )
            )
        self.weight = nn.Parameter(weight.detach().clone(), requires_grad=False)
        self.bias = nn.Parameter(bias.detach().clone(), requires_grad=False)
        self.activation = activation

    @property
    def layers(self) -> int:
        """How many layers the block holds."""
        return 1 if self.weight.ndim == 2 else self.weight.shape[0]

    def widths_after(self, width: int) -> Sequence[int]:
        """Widths after each of its layers, for inputs of this width; ValueError if they do not fit."""
        raise NotImplementedError

    def matrix(self, layer: int, width: int) -> tuple[Tensor, Tensor]:
        """(weight (out, in), bias (out,)) of one layer as dense tensors; `width` is the block's input width."""
        raise NotImplementedError

    def step(self, x: Tensor, layer: int) -> Tensor:
        """x (k, in) -> (k, out): one layer with its activation."""
        weight, bias = (self.weight, self.bias) if self.weight.ndim == 2 else (self.weight[layer], self.bias[layer])
        return self._layer(x, weight, bias)

    def run(self, x: Tensor, layers: int) -> Tensor:
        """x (k, in) -> (k, out): the first `layers` layers.

        Where gradients are wanted and the numbers to keep for them are many, only some states are kept, and the layers
        between two of them are evaluated again on the way back: about 2 sqrt(N) states for N layers instead of N.
        """
        if not layers or self.weight.ndim == 2:
            return self.step(x, 0) if layers else x
        weight, bias = self.weight[:layers], self.bias[:layers]
        numbers = x.shape[0] * sum(self.widths_after(x.shape[1])[:layers])
        tracked = any(tensor.requires_grad for tensor in (x, *self.parameters()))
        if not (torch.is_grad_enabled() and tracked and numbers > KEPT_NUMBERS):
            return self._layers(x, weight, bias)
        size = math.isqrt(layers - 1) + 1
        for start in range(0, layers, size):
            part = slice(start, start + size)
            arguments = (self._layers, x, weight[part], bias[part])
            x = checkpoint(*arguments, use_reentrant=False, preserve_rng_state=False)
        return x

    def _layers(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        # Indexing one layer at a time would fill a gradient as large as all weights for each of them.
        for one, other in zip(weight.unbind(0), bias.unbind(0), strict=True):
            x = self._layer(x, one, other)
        return x

    def _layer(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return self._activate(torch.addmm(bias, x, weight.T))

    def _activate(self, x: Tensor) -> Tensor:
        return x if self.activation is None else self.activation(x)


class Dense(Block):
    """One layer x -> rho(weight x + bias). weight (out, in), bias (out,).

    >>> layer = Dense(torch.eye(2), torch.ones(2))
    >>> layer.layers, layer.widths_after(2), layer.step(torch.zeros(1, 2), 0)
    (1, (2,), tensor([[1., 1.]]))
    """

    axes = 2

    def widths_after(self, width: int) -> Sequence[int]:
        _fits(width == self.weight.shape[1], self, width)
        return (self.weight.shape[0],)

    def matrix(self, layer: int, width: int) -> tuple[Tensor, Tensor]:
        return self.weight, self.bias


class Stack(Block):
    """N layers of constant width d. weight (N, d, d), bias (N, d).

    >>> stack = Stack(torch.eye(2).repeat(1000, 1, 1), torch.zeros(1000, 2), None)
    >>> stack.layers, stack.widths_after(2)[:3]
    (1000, (2, 2, 2))
    """

    axes = 3

    def __init__(self, weight: Tensor, bias: Tensor, activation: RadialActivation | None):
        super().__init__(weight, bias, activation)
        _fits(self.weight.shape[1] == self.weight.shape[2], self, self.weight.shape[2])

    def widths_after(self, width: int) -> Sequence[int]:
        _fits(width == self.weight.shape[2], self, width)
        return (width,) * self.layers

    def matrix(self, layer: int, width: int) -> tuple[Tensor, Tensor]:
        return self.weight[layer], self.bias[layer]


class Growing(Block):
    """N layers; each maps the first h coordinates to h + 1 new ones and carries all the others unchanged.

    weight (N, h + 1, h), bias (N, h + 1). Layer i therefore has the dense matrix diag(weight[i], I) and adds one
    coordinate. The activation acts on the whole vector.

    >>> run = Growing(torch.ones(3, 2, 1), torch.zeros(3, 2), None)
    >>> list(run.widths_after(1)), run.matrix(1, 1)[0]  # x twice, and the coordinate behind it
    ([2, 3, 4], tensor([[1., 0.],
            [1., 0.],
            [0., 1.]]))
    """

    axes = 3

    def __init__(self, weight: Tensor, bias: Tensor, activation: RadialActivation | None):
        super().__init__(weight, bias, activation)
        _fits(self.weight.shape[1] == self.weight.shape[2] + 1, self, self.weight.shape[2])

    def widths_after(self, width: int) -> Sequence[int]:
        _fits(width >= self.weight.shape[2], self, width)
        return range(width + 1, width + 1 + self.layers)

    def matrix(self, layer: int, width: int) -> tuple[Tensor, Tensor]:
        head = self.weight.shape[2]
        carried = width + layer - head
        weight = torch.block_diag(self.weight[layer], torch.eye(carried, dtype=self.weight.dtype).to(self.weight))
        return weight, torch.cat([self.bias[layer], self.bias.new_zeros(carried)])

    def _layer(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        head = weight.shape[1]
        moved = torch.addmm(bias, x[:, :head], weight.T)
        return self._activate(torch.cat([moved, x[:, head:]], dim=1))


def _fits(condition: bool, block: Block, width: int) -> None:
    if not condition:
        raise ValueError(
            _checks.message(
                type(block).__name__,
                f"width {width} and weight of shape {tuple(block.weight.shape)}",
                "matching widths",
                "Check the order of the blocks and the shapes of their weights.",
            )
        )
