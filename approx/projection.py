"""Projected gradient descent: training the compressed network inside the full one (arXiv 2107.02550, section 6).

Let Q be the orthogonal factors of the compression of W = (weights, biases), W_red the compressed weights padded with
zeros, and U = Q^-1 . W - W_red. Theorem 8 says two things about full gradient steps of a loss that depends on the
weights only through the network's values:

* gradient descent commutes with Q: training W is training Q^-1 . W, seen in another basis;
* from Q^-1 . W, gradient descent projected onto the shape of the compressed network (`projection_masks`) is
  gradient descent from W_red plus the constant U, step for step.

Why the second holds: U only has columns that multiply coordinates n_i^red + 1, ..., n_i of a hidden layer. Those
coordinates are zero on every input, and the projection keeps them so, since it never changes the rows that make them.
Hence U does not act, the gradient of its entries is zero, and on the other entries both networks have the same
gradient.

What else may be put between the gradient and the step:

* momentum from a zero start, heavy ball or Nesterov, and dampening: the step is a fixed linear combination of the
  gradients so far. Linear combinations commute with Q and with the projection, so both statements hold.
* weight decay: it commutes with Q, but shrinks U by a factor in every step, so the second statement fails as it
  stands. `ProjectedGradientDescent` refuses it.
* Adam, RMSprop, Adagrad: every coordinate is divided by a size of its own. That agrees with the projection, but not
  with Q: the first statement fails, and training the rotated network is not training W.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from approx import _checks
from approx.blocks import Growing
from approx.networks import RadialNetwork

__all__ = ["ProjectedGradientDescent", "projection_masks"]


def projection_masks(network: RadialNetwork, reduced_widths: Sequence[int]) -> list[tuple[Tensor, Tensor]]:
    """Which entries projected gradient descent may change: (weight, bias) bool tensors, one pair per block.

    network : of `Dense` and `Stack` blocks; the masks have the shapes of the blocks' parameters
    reduced_widths : (n_0^red, ..., n_L^red), `approx.compress(network).reduced_widths`

    In layer i the entries in rows > n_i^red and columns <= n_{i-1}^red stay fixed, and so do the bias entries in
    rows > n_i^red (arXiv 2107.02550, section 6). Raises TypeError or ValueError for widths that do not fit, and for
    `Growing` blocks, whose carried coordinates are not parameters.

    >>> ones = torch.ones(3, 3)
    >>> layers = [(ones[:, :1], ones[0], None), (ones[:1], ones[0, :1], None)]
    >>> weight, bias = projection_masks(RadialNetwork.from_layers(layers), (1, 2, 1))[0]
    >>> weight.tolist(), bias.tolist()
    ([[True], [True], [False]], [True, True, False])
    """
    call = "projection_masks"
    _radial(call, network)
    reduced, widths = check_widths(call, "reduced_widths", reduced_widths), network.widths
    if len(reduced) != len(widths) or any(small > full for small, full in zip(reduced, widths, strict=True)):
        received = f"reduced_widths = {_checks.show(reduced)} for a network of widths {_checks.show(widths)}"
        action = "Pass compress(network).reduced_widths."
        raise ValueError(_checks.message(call, received, "as many widths, none of them larger", action))
    if (reduced[0], reduced[-1]) != (widths[0], widths[-1]):
        received = f"reduced_widths from {reduced[0]} to {reduced[-1]}"
        required = f"the ends as they are, {widths[0]} and {widths[-1]}"
        raise ValueError(_checks.message(call, received, required, "Only hidden widths can be reduced."))
    masks, layer = [], 0
    for block in network.blocks:
        if isinstance(block, Growing):
            action = "Copy the network into dense layers: RadialNetwork.from_layers(network.layers())."
            raise ValueError(_checks.message(call, "a Growing block", "Dense and Stack blocks", action))
        weight = torch.ones_like(block.weight, dtype=torch.bool)
        bias = torch.ones_like(block.bias, dtype=torch.bool)
        each = [(weight, bias)] if block.layers == 1 and weight.ndim == 2 else zip(weight, bias, strict=True)
        for layer_weight, layer_bias in each:
            layer += 1
            layer_weight[reduced[layer] :, : reduced[layer - 1]] = False
            layer_bias[reduced[layer] :] = False
        masks.append((weight, bias))
    return masks


class ProjectedGradientDescent(torch.optim.SGD):
    """torch.optim.SGD that moves only along the shape of the compressed network (arXiv 2107.02550, section 6).

    network : a `RadialNetwork`, usually `approx.compress(net).rotated`, whose parameters require gradients
    reduced_widths : (n_0^red, ..., n_L^red), `approx.compress(net).reduced_widths`
    lr, momentum, dampening, nesterov : as in torch.optim.SGD; Theorem 8 holds for all of them (see the module)

    `step` sets the gradient entries outside `projection_masks` to zero, then steps. Parameters of activations are
    not projected. Raises ValueError for weight decay, under which Theorem 8 fails, and for a frozen network.

    >>> from approx.compression import compress
    >>> from approx.training import random_network
    >>> small = compress(random_network((1, 6, 7, 1)))
    >>> full = small.rotated.requires_grad_(True)
    >>> optimizer = ProjectedGradientDescent(full, small.reduced_widths, lr=0.1)
    >>> full(torch.ones(3, 1).double()).square().mean().backward()
    >>> optimizer.step()
    >>> full.blocks[1].weight[3:, :2].abs().max().item()  # what the compressed network does not have stays 0
    0.0
    """

    def __init__(
        self,
        network: RadialNetwork,
        reduced_widths: Sequence[int],
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ):
        call = "ProjectedGradientDescent"
        masks = projection_masks(network, reduced_widths)
        if weight_decay != 0:
            received, required = f"weight_decay = {_checks.show(weight_decay)}", "weight_decay = 0"
            action = "Decay shrinks the residual U as well, so it is no gradient descent of the compressed network."
            raise ValueError(_checks.message(call, received, required, action))
        check_step(call, lr, momentum)
        free = [parameter for parameter in network.parameters() if parameter.requires_grad]
        if not free:
            action = "Call network.requires_grad_(True) first."
            raise ValueError(_checks.message(call, "a frozen network", "parameters that require gradients", action))
        self._fixed = [
            (parameter, ~mask)
            for block, pair in zip(network.blocks, masks, strict=True)
            for parameter, mask in zip((block.weight, block.bias), pair, strict=True)
        ]
        super().__init__(free, lr=lr, momentum=momentum, dampening=dampening, nesterov=nesterov)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step from the gradients that are there, or that `closure` computes; returns its loss."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for parameter, fixed in self._fixed:
            if parameter.grad is not None:
                parameter.grad.masked_fill_(fixed, 0)
        super().step()
        return loss


def check_step(call: str, lr: Any, momentum: Any) -> None:
    _checks.positive(call, "lr", lr)
    if not 0 <= _checks.finite(call, "momentum", momentum) < 1:
        raise ValueError(_checks.message(call, f"momentum = {momentum}", "0 <= momentum < 1", "Try 0.9."))


def check_widths(call: str, name: str, widths: Any) -> tuple[int, ...]:
    if isinstance(widths, str) or not isinstance(widths, Iterable):
        raise TypeError(
            _checks.message(call, f"{name} = {_checks.show(widths)}", "integers", "Pass (1, 6, 7, 1), say.")
        )
    sizes = tuple(_checks.count(call, f"a width of {name}", width) for width in widths)
    if len(sizes) < 2:
        raise ValueError(_checks.message(call, f"{name} = {sizes}", "input and output width", "Pass (n, ..., m)."))
    return sizes


def _radial(call: str, network: Any) -> None:
    if not isinstance(network, RadialNetwork):
        received = f"network = {_checks.show(network)}"
        raise TypeError(_checks.message(call, received, "a RadialNetwork", "Projection is about radial networks."))
