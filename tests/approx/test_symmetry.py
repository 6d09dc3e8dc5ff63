"""The action of the orthogonal group, and what it conserves along gradient flow and along free motion."""

import itertools

import numpy as np
import pytest
import torch

from approx import activations
from approx.compression import Orthogonal, balance, change_basis, momentum_map, random_orthogonal
from approx.networks import Dense, Growing, RadialNetwork, Stack

KINDS = [activations.activation(name) for name in activations.activation_names()]


def network(kind, widths=(2, 5, 4, 6, 3), seed=0):
    generator = torch.Generator().manual_seed(seed)
    layers = []
    for i, (before, after) in enumerate(itertools.pairwise(widths)):
        weight = torch.randn(after, before, generator=generator, dtype=torch.float64)
        bias = torch.randn(after, generator=generator, dtype=torch.float64)
        layers.append((weight, bias, kind if i < len(widths) - 2 else None))
    return RadialNetwork.from_layers(layers).requires_grad_(True)


DATA = torch.randn(20, 2, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
WANTED = torch.randn(20, 3, generator=torch.Generator().manual_seed(8), dtype=torch.float64)


def gradient(net):
    values = [value for block in net.blocks for value in (block.weight, block.bias)]
    loss = ((net(DATA) - WANTED) ** 2).mean()
    return list(zip(*[iter(torch.autograd.grad(loss, values))] * 2, strict=True))


def move(net, direction, length):
    with torch.no_grad():
        for block, (weight, bias) in zip(net.blocks, direction, strict=True):
            block.weight += length * weight
            block.bias += length * bias


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_the_function_is_invariant(kind):
    net = network(kind)
    factors = random_orthogonal(net.hidden_widths, seed=1)
    turned = change_basis(net, factors)
    torch.testing.assert_close(turned(DATA), net(DATA), atol=1e-12, rtol=1e-12)
    assert not torch.allclose(turned.blocks[1].weight, net.blocks[1].weight, atol=0.1)
    back = change_basis(turned, factors, inverse=True)
    for one, two in zip(net.parameters(), back.parameters(), strict=True):
        torch.testing.assert_close(one.detach(), two.detach(), atol=1e-13, rtol=0)


def test_the_action_is_the_formula_and_composes():
    net = network(activations.Squashing())
    first, second = (random_orthogonal(net.hidden_widths, seed=seed) for seed in (1, 2))
    turned = change_basis(net, first)
    matrices = [torch.eye(2).double(), *(factor.matrix() for factor in first), torch.eye(3).double()]
    for i, ((weight, bias, _), (old, shift, _)) in enumerate(zip(turned.layers(), net.layers(), strict=True)):
        torch.testing.assert_close(weight.data, matrices[i + 1] @ old.data @ matrices[i].T)
        torch.testing.assert_close(bias.data, matrices[i + 1] @ shift.data)
    both = [two.matrix() @ one.matrix() for one, two in zip(first, second, strict=True)]
    for one, two in zip(change_basis(turned, second).parameters(), change_basis(net, both).parameters(), strict=True):
        torch.testing.assert_close(one.detach(), two.detach())


def test_stacks_stay_stacks_and_growing_runs_become_dense():
    rng = np.random.default_rng(0)
    kind = activations.StepReLU()

    def random(*shape):
        return torch.tensor(rng.normal(size=shape))

    blocks = [Stack(random(3, 2, 2), random(3, 2), kind), Growing(random(2, 3, 2), random(2, 3), kind)]
    net = RadialNetwork([*blocks, Dense(random(1, 4), random(1))])
    turned = change_basis(net, random_orthogonal(net.hidden_widths, seed=0))
    assert [type(block) for block in turned.blocks] == [Stack, Dense, Dense, Dense]
    torch.testing.assert_close(turned(DATA), net(DATA))
    same = change_basis(net, [Orthogonal(width) for width in net.hidden_widths])
    assert [type(block) for block in same.blocks] == [Stack, Growing, Dense]
    assert torch.equal(same(DATA), net(DATA))


def test_random_orthogonal_is_uniform_and_repeatable():
    for factor, again in zip(random_orthogonal((4, 7), seed=5), random_orthogonal((4, 7), seed=5), strict=True):
        matrix = factor.matrix()
        torch.testing.assert_close(matrix.T @ matrix, torch.eye(factor.size).double(), atol=1e-14, rtol=0)
        assert torch.equal(matrix, again.matrix())
    many = torch.stack([random_orthogonal((3,), seed=seed)[0].matrix() for seed in range(600)])
    assert many.mean(dim=0).abs().max() < 0.1  # every entry has mean 0 and variance 1/3
    assert ((many * many).mean(dim=0) - 1 / 3).abs().max() < 0.06
    assert 0.4 < (torch.linalg.det(many) > 0).double().mean() < 0.6
    assert random_orthogonal((2,), seed=0, dtype=torch.float32)[0].matrix().dtype == torch.float32


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_gradients_have_no_momentum(kind):
    net = network(kind)
    direction = gradient(net)
    assert max(float(moment.abs().max()) for moment in momentum_map(net, direction)) < 1e-12
    moved = [(weight + 0.1, bias) for weight, bias in direction]
    assert max(float(moment.abs().max()) for moment in momentum_map(net, moved)) > 0.1


def test_the_momentum_map_is_the_derivative_along_the_orbit():
    """<X, P_i(gradient)> = d/dt loss(exp(t X) . (W, b)) for any function of the parameters, by differences."""
    net = network(activations.Squashing(), widths=(2, 4, 5, 3))
    generator = torch.Generator().manual_seed(3)
    test = [tuple(torch.randn(v.shape, generator=generator).double() for v in pair) for pair in gradient(net)]

    def value(turned):
        return sum(
            float((weight.data * a).sum() + (bias.data * b).sum())
            for (weight, bias, _), (a, b) in zip(turned.layers(), test, strict=True)
        )

    x = torch.randn(4, 4, generator=generator).double()
    x = x - x.T
    still = Orthogonal(5)
    step = 1e-5
    ahead, behind = (value(change_basis(net, [torch.linalg.matrix_exp(sign * step * x), still])) for sign in (1, -1))
    moment = momentum_map(net, test)[0]
    assert (ahead - behind) / (2 * step) == pytest.approx(0.5 * float((x * moment).sum()), rel=1e-7)


def test_free_motion_conserves_momentum_and_friction_decays_it():
    net = network(activations.Squashing())
    velocity = [
        tuple(torch.randn(v.shape, generator=torch.Generator().manual_seed(i)).double() for v in pair)
        for i, pair in enumerate(gradient(net))
    ]
    start = momentum_map(net, velocity)
    length = 1e-2
    for _ in range(200):  # leapfrog keeps the momenta of linear symmetries to rounding
        velocity = [
            tuple(v - length / 2 * g for v, g in zip(*pairs, strict=True))
            for pairs in zip(velocity, gradient(net), strict=True)
        ]
        move(net, velocity, length)
        velocity = [
            tuple(v - length / 2 * g for v, g in zip(*pairs, strict=True))
            for pairs in zip(velocity, gradient(net), strict=True)
        ]
    for before, after in zip(start, momentum_map(net, velocity), strict=True):
        torch.testing.assert_close(after, before, atol=1e-11, rtol=0)
    assert max(float(moment.abs().max()) for moment in start) > 1
    friction, start = 0.5, momentum_map(net, velocity)
    for _ in range(100):
        velocity = [
            tuple(v - length * (g + friction * v) for v, g in zip(*pairs, strict=True))
            for pairs in zip(velocity, gradient(net), strict=True)
        ]
        move(net, velocity, length)
    for before, after in zip(start, momentum_map(net, velocity), strict=True):
        torch.testing.assert_close(after, before * (1 - length * friction) ** 100, atol=1e-11, rtol=0)


@pytest.mark.parametrize("length", [1e-3, 1e-2])
def test_no_step_of_gradient_descent_turns(length):
    net = network(activations.RadialSwish())
    for _ in range(20):
        direction = gradient(net)
        assert max(float(moment.abs().max()) for moment in momentum_map(net, direction)) < 1e-10
        move(net, direction, -length)


def test_balance_is_conserved_for_linear_activations_only():
    drifts = {}
    for kind in (activations.RadialIdentity(), activations.Squashing()):
        for length in (2e-4, 1e-4):
            net = network(kind)
            start = balance(net)
            for _ in range(round(0.02 / length)):
                move(net, gradient(net), -length)
            drifts[type(kind), length] = max(
                float((b - a).abs().max()) for a, b in zip(start, balance(net), strict=True)
            )
    linear = [drifts[activations.RadialIdentity, length] for length in (2e-4, 1e-4)]
    assert linear[1] == pytest.approx(linear[0] / 2, rel=0.1)  # the error of the time step, no more
    bent = [drifts[activations.Squashing, length] for length in (2e-4, 1e-4)]
    assert bent[1] == pytest.approx(bent[0], rel=0.05)
    assert bent[1] > 1e-3


def test_balance_is_the_formula():
    net = network(activations.Squashing(), widths=(2, 3, 1))
    (first, bias, _), (last, _, _) = net.layers()
    expected = first @ first.T + bias[:, None] * bias - last.T @ last
    torch.testing.assert_close(balance(net)[0], expected.detach())


def test_what_does_not_fit_is_refused():
    net = network(activations.Squashing())
    with pytest.raises(ValueError, match="received 2 factors; required 3, one per hidden layer"):
        change_basis(net, random_orthogonal((5, 4), seed=0))
    with pytest.raises(ValueError, match="received factor 1 of size 5; required size 4"):
        change_basis(net, random_orthogonal((5, 5, 6), seed=0))
    with pytest.raises(ValueError, match="required an orthogonal matrix"):
        change_basis(net, [2 * torch.eye(width).double() for width in net.hidden_widths])
    with pytest.raises(
        TypeError, match=r"received a tensor of torch.float64 on cpu; required a tensor of torch.float32"
    ):
        change_basis(net, random_orthogonal(net.hidden_widths, seed=0, dtype=torch.float32))
    for call in (lambda thing: change_basis(thing, []), lambda thing: momentum_map(thing, []), balance):
        with pytest.raises(TypeError, match="required a RadialNetwork"):
            call(torch.nn.Linear(2, 2))
    with pytest.raises(ValueError, match="received a direction of other shapes"):
        momentum_map(net, gradient(net)[:-1])
    with pytest.raises(ValueError, match="0 <= seed"):
        random_orthogonal((3,), seed=-1)
    with pytest.raises(ValueError, match="1 <= width"):
        random_orthogonal((0,), seed=1)
