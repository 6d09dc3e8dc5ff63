"""The orthogonal symmetry of radial networks: turning the hidden coordinates leaves the function as it is.

Notation. W_i, b_i: weights and biases, i = 1..L; Q_i in O(n_i): one factor per hidden layer, Q_0 = Q_L = identity.
The action Q.(W, b) takes W_i to Q_i W_i Q_{i-1}^T and b_i to Q_i b_i. A radial activation commutes with Q_i, since
it rescales a vector by a function of its length, so the feedforward function of Q.(W, b) is that of (W, b)
(arXiv 2107.02550, section 5).

What the symmetry says about training. Let a loss depend on the function alone, and let X be antisymmetric, so that
Q_i = exp(t X) moves the parameters along an orbit on which the loss is constant. With M_i the *momentum map* of a
direction (V, c) in parameter space,

    P_i = V_i W_i^T + c_i b_i^T - W_{i+1}^T V_{i+1},      M_i = P_i - P_i^T,                        (1)

the derivative along the orbit is <X, P_i(gradient)>, zero for all X, hence M_i(gradient) = 0 at every point: gradients
are perpendicular to the orbits. So gradient flow keeps M_i(velocity) = 0, and every single step of gradient descent,
of any length, has M_i(step) = 0. For motion without friction, W'' = -gradient, Noether's theorem makes M_i(velocity) a
constant; friction g W' makes it decay as e^(-g t). All this is angular momentum. The balance
W_i W_i^T + b_i b_i^T - W_{i+1}^T W_{i+1} has the derivative P + P^T along a flow, which this symmetry leaves open: it
is conserved for linear activations, whose symmetry is the general linear group, and not for other radial ones.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from approx import _checks
from approx.blocks import Block
from approx.compression.factors import Orthogonal
from approx.networks import Dense, RadialNetwork, Stack

__all__ = ["balance", "change_basis", "momentum_map"]


def change_basis(
    network: RadialNetwork, factors: Sequence[Orthogonal | Tensor | ArrayLike], *, inverse: bool = False
) -> RadialNetwork:
    """The network Q.(W, b), or Q^-1.(W, b) with inverse=True: other weights, the same function up to rounding.

    factors : one per hidden layer, an `Orthogonal` or an (n_i, n_i) orthogonal matrix of the network's dtype
    Blocks between identities stay as they are; a `Growing` block under other factors becomes `Dense` layers.
    Raises TypeError for something that is not a network, ValueError for factors that do not fit or are not orthogonal.

    >>> net = RadialNetwork([Dense(torch.eye(2), torch.zeros(2)), Dense(torch.ones(1, 2), torch.zeros(1))])
    >>> change_basis(net, [torch.tensor([[0.0, 1.0], [-1.0, 0.0]])]).blocks[0].weight.data
    tensor([[ 0.,  1.],
            [-1.,  0.]])
    """
    call = "change_basis"
    _network(call, network)
    turns = [Orthogonal.from_matrix(item) if not isinstance(item, Orthogonal) else item for item in factors]
    sizes, hidden = tuple(factor.size for factor in turns), network.hidden_widths
    if sizes != hidden:
        i = next((i for i, pair in enumerate(zip(sizes, hidden, strict=False)) if pair[0] != pair[1]), None)
        received = f"{len(sizes)} factors" if i is None else f"factor {i} of size {sizes[i]}"
        required = f"{len(hidden)}, one per hidden layer" if i is None else f"size {hidden[i]}"
        raise ValueError(_checks.message(call, received, required, "See network.hidden_widths."))
    blocks: list[Block] = []
    first, width = 0, network.dim_in
    before = Orthogonal(width)
    for block in network.blocks:
        here = [*turns[first : first + block.layers], Orthogonal(network.dim_out)][: block.layers]
        if all(factor.is_identity for factor in (before, *here)):
            blocks.append(type(block)(block.weight, block.bias, block.activation))
        else:
            turned = []
            for layer, factor in enumerate(here):
                turned.append(_turned(*block.matrix(layer, width), factor, before, inverse))
                before = factor
            if isinstance(block, Stack):
                weights, biases = (torch.stack(values) for values in zip(*turned, strict=True))
                blocks.append(Stack(weights, biases, block.activation))
            else:
                blocks.extend(Dense(*pair, block.activation) for pair in turned)
        before = here[-1]
        first += block.layers
        width = block.widths_after(width)[-1]
    return RadialNetwork(blocks)


def momentum_map(network: RadialNetwork, direction: Sequence[tuple[Tensor, Tensor]]) -> list[Tensor]:
    """M_i of formula (1) above for every hidden layer: antisymmetric tensors (n_i, n_i).

    direction : (V_i, c_i) for every layer, of the shapes of W_i and b_i: a gradient, a step or a velocity
    Raises TypeError for something that is not a network, ValueError for a direction that does not fit.

    >>> from approx.training import random_network
    >>> net = random_network((1, 6, 7, 1)).requires_grad_(True)
    >>> net(torch.ones(3, 1).double()).square().sum().backward()
    >>> gradient = [(block.weight.grad, block.bias.grad) for block in net.blocks]
    >>> all(bool(moment.abs().max() < 1e-12) for moment in momentum_map(net, gradient))
    True
    """
    _network("momentum_map", network)
    layers = [(weight.detach(), bias.detach()) for weight, bias, _ in network.layers()]
    wanted = [(weight.shape, bias.shape) for weight, bias in layers]
    if [tuple(value.shape for value in pair) for pair in direction] != wanted:
        action = "Pass one pair per layer, in order, shaped as network.layers() gives them."
        received, required = "a direction of other shapes", "(weight, bias) pairs shaped as the layers"
        raise ValueError(_checks.message("momentum_map", received, required, action))
    moments = []
    for i, (weight, bias) in enumerate(layers[:-1]):
        (moved, shifted), (after, _) = direction[i], direction[i + 1]
        part = moved @ weight.T + torch.outer(shifted, bias) - layers[i + 1][0].T @ after
        moments.append(part - part.T)
    return moments


def balance(network: RadialNetwork) -> list[Tensor]:
    """W_i W_i^T + b_i b_i^T - W_{i+1}^T W_{i+1} for every hidden layer, symmetric tensors (n_i, n_i).

    Gradient flow conserves it if the activation of layer i is linear. Raises TypeError for anything but a network.

    >>> from approx.training import random_network
    >>> [tuple(matrix.shape) for matrix in balance(random_network((1, 6, 7, 1)))]
    [(6, 6), (7, 7)]
    """
    _network("balance", network)
    layers = [(weight.detach(), bias.detach()) for weight, bias, _ in network.layers()]
    return [
        weight @ weight.T + torch.outer(bias, bias) - after.T @ after
        for (weight, bias), (after, _) in itertools.pairwise(layers)
    ]


def _network(call: str, network: RadialNetwork) -> None:
    if not isinstance(network, RadialNetwork):
        received = f"network = {_checks.show(network)}"
        raise TypeError(_checks.message(call, received, "a RadialNetwork", "Pass construction.network."))


def _turned(
    weight: Tensor, bias: Tensor, after: Orthogonal, before: Orthogonal, inverse: bool
) -> tuple[Tensor, Tensor]:
    """(Q weight P^T, Q bias) for Q = after, P = before, or for their inverses; rows are turned by acting on columns."""
    after_acts, before_acts = ((factor.apply_transpose if inverse else factor.apply) for factor in (after, before))
    weight, bias = weight.detach(), bias.detach()
    return after_acts(before_acts(weight).T).T, after_acts(bias)
