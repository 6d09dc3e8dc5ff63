"""Gradients through many layers with few states kept: as with all of them, and finite differences."""

import numpy as np
import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from approx import blocks
from approx.activations import activation
from approx.networks import Dense, Growing, RadialNetwork, Stack


def network_of(kind, layers, rho, width=3):
    rng = np.random.default_rng(0)

    def tensor(*shape):
        return torch.as_tensor(rng.normal(size=shape) / np.sqrt(shape[-1]))

    first = Dense(tensor(width, 2), tensor(width), rho)
    if kind == "stack":
        eye = torch.eye(width).double()
        run = Stack(eye + 0.1 * tensor(layers, width, width), 0.1 * tensor(layers, width), rho)
        return RadialNetwork([first, run, Dense(tensor(1, width), tensor(1))]).requires_grad_(True)
    run = Growing(tensor(layers, width + 1, width), tensor(layers, width + 1), rho)
    return RadialNetwork([first, run, Dense(tensor(1, width + layers), tensor(1))]).requires_grad_(True)


def gradients(network, x):
    network.zero_grad()
    x = x.clone().requires_grad_(True)
    network(x).square().sum().backward()
    return [x.grad, *(parameter.grad.clone() for parameter in network.parameters())]


@pytest.mark.parametrize("kind", ["stack", "growing"])
@pytest.mark.parametrize("name", ["swish", "softplus", "step_relu"])
def test_keeping_less_changes_no_gradient(kind, name, monkeypatch):
    rho = activation(name, trainable=True) if name == "softplus" else activation(name)
    network, x = network_of(kind, 37, rho), torch.randn(5, 2, generator=torch.Generator().manual_seed(0)).double()
    whole = gradients(network, x)
    monkeypatch.setattr(blocks, "KEPT_NUMBERS", 0)
    assert all(torch.equal(one, other) for one, other in zip(gradients(network, x), whole, strict=True))
    assert whole[0].abs().max() > 0


def test_against_finite_differences(monkeypatch):
    monkeypatch.setattr(blocks, "KEPT_NUMBERS", 0)
    network, x = network_of("stack", 4, activation("softplus", trainable=True)), torch.randn(3, 2).double()
    names = [name for name, _ in network.named_parameters()]

    def value(x, *parameters):
        return torch.func.functional_call(network, dict(zip(names, parameters, strict=True)), (x,))

    parameters = [parameter.detach().clone().requires_grad_(True) for parameter in network.parameters()]
    assert torch.autograd.gradcheck(value, (x.requires_grad_(True), *parameters))
    assert torch.autograd.gradgradcheck(lambda x: value(x, *parameters), (x,))


def test_few_numbers_are_kept(monkeypatch):
    network, x = network_of("stack", 400, activation("swish")), torch.randn(64, 2).double()
    kept = []

    def keep(tensor):
        kept.append(tensor.numel())
        return tensor

    def through():
        kept.clear()
        with saved_tensors_hooks(keep, lambda tensor: tensor):
            network(x).sum()
        return sum(kept)

    everything = through()
    monkeypatch.setattr(blocks, "KEPT_NUMBERS", 0)
    assert everything > 400 * 64 * 3 and through() < 0.05 * everything


def test_thousands_of_layers(monkeypatch):
    monkeypatch.setattr(blocks, "KEPT_NUMBERS", 1 << 16)
    network = network_of("stack", 1500, activation("step_relu"))
    x = 4 * torch.randn(20, 2, generator=torch.Generator().manual_seed(1)).double()
    assert 1500 * 20 * 3 > blocks.KEPT_NUMBERS
    result = gradients(network, x)
    assert all(torch.isfinite(gradient).all() for gradient in result)
    step = 1e-7
    with torch.no_grad():  # the compiled engine differs in rounding only
        network.blocks[0].bias[0] += step
        above = network(x).square().sum()
        network.blocks[0].bias[0] -= 2 * step
        below = network(x).square().sum()
    assert float((above - below) / (2 * step)) == pytest.approx(float(result[2][0]), rel=1e-4, abs=1e-6)
