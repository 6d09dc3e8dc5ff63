"""Theorem 8 of arXiv 2107.02550, step for step; the masks by brute force; what the optimizer refuses."""

import copy
from fractions import Fraction

import numpy as np
import pytest
import torch

from approx.activations import RadialIdentity, ShiftedReLU, StepReLU
from approx.compression import compress
from approx.networks import Dense, Growing, RadialNetwork, Stack
from approx.projection import ProjectedGradientDescent, projection_masks
from approx.training import random_network, train

STEPS = 400
EPS = np.finfo(np.float64).eps


def data(n, m, count=20):
    generator = torch.Generator().manual_seed(5)
    x = 2 * torch.rand(count, n, generator=generator, dtype=torch.float64) - 1
    return x, torch.cos(3 * x.sum(dim=1, keepdim=True) + torch.arange(m))


def descend(network, optimizer, x, y):
    """One full-batch step of the mean square error."""
    optimizer.zero_grad()
    torch.nn.functional.mse_loss(network(x), y).backward()
    optimizer.step()


def matrices(network):
    return [value.detach() for weight, bias, _ in network.layers() for value in (weight, bias)]


def tensors(residual):
    return [torch.as_tensor(value) for pair in residual for value in pair]


def padded(small, full):
    result = torch.zeros_like(full)
    result[tuple(slice(size) for size in small.shape)] = small
    return result


CASES = [
    ((1, 6, 7, 1), "shifted_sigmoid", {}),
    ((1, 6, 7, 1), "shifted_sigmoid", {"lr": 0.002, "momentum": 0.9}),
    ((2, 9, 5, 12, 2), "radial_swish", {"lr": 0.004, "momentum": 0.8, "nesterov": True}),
    ((2, 5, 9, 3), "step_relu", {"momentum": 0.5, "dampening": 0.5}),
    ((3, 4, 2, 8, 1), ShiftedReLU(0.1, trainable=True), {}),
    ((2, 3, 1), "squashing", {}),  # nothing to reduce: the masks are all true
]


@pytest.mark.parametrize("widths, kind, options", CASES)
def test_theorem_8_step_for_step(widths, kind, options):
    """|gamma_proj^k(Q^-1 W) - (gamma_red^k(W_red) + U)| at every step k.

    Every step adds a unit or so of rounding to weights of size one, and where training is unstable it magnifies what is
    there already exponentially: the statement could not be seen in floating point then. These step sizes are small
    enough for descent to damp old errors as it damps others, so 64 units bound all steps; momentum m acts like a step
    size larger by 1 / (1 - m), which is allowed for.
    """
    start = compress(random_network(widths, kind, seed=7))
    large, small = (copy.deepcopy(net).requires_grad_(True) for net in (start.rotated, start.network))
    rates = {"lr": 0.02, **options}
    projected = ProjectedGradientDescent(large, start.reduced_widths, **rates)
    plain = torch.optim.SGD(small.parameters(), **rates)
    x, y = data(widths[0], widths[-1])
    before = matrices(small)[0].clone()
    for k in range(1, (STEPS if widths[0] == 1 else STEPS // 2) + 1):
        descend(large, projected, x, y)
        descend(small, plain, x, y)
        pairs = zip(matrices(large), matrices(small), tensors(start.residual), strict=True)
        gap = max(float((full - padded(part, full) - u).abs().max()) for full, part, u in pairs)
        assert gap <= 64 * EPS, (k, gap)
    assert (matrices(small)[0] - before).abs().max() > 1e-3  # something was learned


def test_theorem_8_for_cross_entropy_through_the_training_loop():
    start = compress(random_network((2, 6, 9, 3), "radial_swish", seed=1))
    x, _ = data(2, 1)
    classes = torch.arange(len(x)) % 3
    options = {"loss": "cross_entropy", "lr": 0.1, "epochs": 300, "momentum": 0.5}
    full = train(start.rotated, x, classes, reduced_widths=start.reduced_widths, **options)
    small = train(start.network, x, classes, **options)
    assert full.losses == pytest.approx(small.losses, abs=1e-12) and small.losses[-1] < small.losses[0] - 0.01
    for a, b, u in zip(matrices(full.network), matrices(small.network), tensors(start.residual), strict=True):
        torch.testing.assert_close(a, padded(b, a) + u, atol=1e-12, rtol=0)


def test_without_the_projection_compressing_and_training_do_not_commute():
    network = random_network((1, 6, 7, 1), seed=7)
    x, y = data(1, 1)
    first = train(compress(network).network, x, y, lr=0.2, epochs=250)
    last = train(network, x, y, lr=0.2, epochs=250)
    small = compress(last.network).network
    assert small(x).sub(last.network(x)).abs().max() < 1e-12  # compressing afterwards loses nothing
    assert small(x).sub(first.network(x)).abs().max() > 1e-2  # but it is another network
    free = train(compress(network).rotated, x, y, lr=0.2, epochs=250)
    assert free.losses == pytest.approx(last.losses, abs=1e-10)  # in the rotated basis, too


def rotated_back(network, factors):
    """(W, b) -> Q^-1 . (W, b), by definition: layer i becomes (Q_i^T W_i Q_{i-1}, Q_i^T b_i)."""
    result, before = [], None
    for i, (weight, bias, _) in enumerate(network.layers()):
        weight, bias = weight.detach().clone(), bias.detach().clone()
        if before is not None:
            weight = before.apply_transpose(weight)  # rows of W times Q
        if i < len(factors):
            before = factors[i]
            weight, bias = before.apply_transpose(weight.T).T, before.apply_transpose(bias[None])[0]
        result += [weight, bias]
    return result


@pytest.mark.parametrize(
    "make, commutes",
    [
        (lambda p: torch.optim.SGD(p, lr=0.05), True),
        (lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True), True),
        (lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=0.1), True),
        (lambda p: torch.optim.Adam(p, lr=0.05), False),
    ],
)
def test_which_optimizers_commute_with_the_orthogonal_factors(make, commutes):
    network = random_network((2, 7, 9, 1), "radial_swish", seed=3)
    start = compress(network)
    x, y = data(2, 1)
    original, rotated = (copy.deepcopy(net).requires_grad_(True) for net in (network, start.rotated))
    for net in (original, rotated):
        optimizer = make(net.parameters())
        for _ in range(100):
            descend(net, optimizer, x, y)
    pairs = zip(rotated_back(original, start.factors), matrices(rotated), strict=True)
    gap = max(float((a - b).abs().max()) for a, b in pairs)
    assert (gap < 1e-12) if commutes else (gap > 1e-2)


def test_masks_are_the_entries_that_keep_the_extra_coordinates_zero():
    """Brute force: change one entry after the other and look whether a coordinate beyond n_i^red wakes up."""
    start = compress(random_network((2, 5, 6, 4, 2), "radial_swish", seed=2))
    reduced = start.reduced_widths
    x, _ = data(2, 1)
    base = [list(layer) for layer in start.rotated.layers()]
    masks = projection_masks(start.rotated, reduced)
    assert len(masks) == len(base) == 4
    for i, pair in enumerate(masks):
        for which in (0, 1):
            for entry in np.ndindex(*base[i][which].shape):
                layers = [[w.clone(), b.clone(), rho] for w, b, rho in base]
                layers[i][which][entry] += 1.0
                hidden = RadialNetwork.from_layers(layers).partial(x, i + 1)
                asleep = bool((hidden[:, reduced[i + 1] :].abs() < 1e-12).all())
                assert asleep == bool(pair[which][entry]), (i, which, entry)


def test_two_steps_in_exact_arithmetic():
    """A linear network (radial identity) of widths (1, 3, 1), reduced (1, 2, 1), with dyadic weights: momentum 1/2,
    step 1/4, loss = the square at one point. Every number is exact in float64, so the comparison is, too."""
    half = Fraction(1, 2)
    w1, b1 = [half, 1, Fraction(0)], [Fraction(1), -half, Fraction(0)]
    w2, b2, x, y = [half, 1, Fraction(3)], Fraction(0), Fraction(1), Fraction(2)
    speed = [[Fraction(0)] * 3 for _ in range(3)] + [Fraction(0)]
    network = RadialNetwork(
        [
            Dense(
                torch.tensor([[0.5], [1.0], [0.0]]).double(), torch.tensor([1.0, -0.5, 0.0]).double(), RadialIdentity()
            ),
            Dense(torch.tensor([[0.5, 1.0, 3.0]]).double(), torch.zeros(1).double()),
        ]
    ).requires_grad_(True)
    optimizer = ProjectedGradientDescent(network, (1, 2, 1), lr=0.25, momentum=0.5)
    for _ in range(2):
        hidden = [w * x + b for w, b in zip(w1, b1, strict=True)]
        slope = 2 * (sum(w * v for w, v in zip(w2, hidden, strict=True)) + b2 - y)
        rows = [slope * w for w in w2[:2]] + [0]  # the third row is held
        gradients = [[row * x for row in rows], rows, [slope * v for v in hidden], slope]
        speed = [
            half * v + g if isinstance(g, Fraction) else [half * a + b for a, b in zip(v, g, strict=True)]
            for v, g in zip(speed, gradients, strict=True)
        ]
        w1, b1, w2 = (
            [a - v / 4 for a, v in zip(old, new, strict=True)] for old, new in zip((w1, b1, w2), speed, strict=False)
        )
        b2 -= speed[3] / 4
        descend(network, optimizer, torch.tensor([[float(x)]]).double(), torch.tensor([[float(y)]]).double())
    (weight1, bias1, _), (weight2, bias2, _) = network.layers()
    assert [float(v) for v in w1] == weight1[:, 0].tolist() and weight1[2] == 0
    assert [float(v) for v in b1] == bias1.tolist()
    assert [float(v) for v in w2] == weight2[0].tolist() and weight2[0, 2] == 3
    assert float(b2) == bias2.item()


def test_masks_of_stacks_are_those_of_their_layers():
    weight, bias = torch.rand(2, 3, 3).double(), torch.rand(2, 3).double()
    first = Dense(torch.rand(3, 1).double(), torch.rand(3).double(), StepReLU())
    last = Dense(torch.rand(1, 3).double(), torch.rand(1).double())
    network = RadialNetwork([first, Stack(weight, bias, StepReLU()), last])
    reduced = (1, 2, 3, 3, 1)
    stacked = projection_masks(network, reduced)
    dense = projection_masks(RadialNetwork.from_layers(network.layers()), reduced)
    assert torch.equal(stacked[1][0], torch.stack([dense[1][0], dense[2][0]]))
    assert torch.equal(stacked[1][1], torch.stack([dense[1][1], dense[2][1]]))
    assert not stacked[0][0][2].any() and not stacked[0][1][2] and stacked[1][0].all()


def test_gradients_that_are_not_numbers_are_held_where_masked():
    network = random_network((1, 3, 1)).requires_grad_(True)
    before = network.blocks[0].bias[2].item()
    optimizer = ProjectedGradientDescent(network, (1, 2, 1), lr=0.1)
    network.blocks[0].bias.grad = torch.tensor([1.0, 1.0, float("nan")]).double()
    optimizer.step()
    assert network.blocks[0].bias[2].item() == before


def test_step_with_a_closure_returns_its_loss():
    network = random_network((1, 3, 1), seed=1).requires_grad_(True)
    held = network.blocks[0].weight[2].item()
    optimizer = ProjectedGradientDescent(network, (1, 2, 1), lr=0.1)

    def closure():
        loss = network(torch.ones(1, 1).double()).square().sum()
        loss.backward()
        return loss

    first = optimizer.step(closure).item()
    optimizer.zero_grad()
    assert closure().item() < first and network.blocks[0].weight[2].item() == held


NET = random_network((2, 4, 3, 1), "step_relu")


@pytest.mark.parametrize(
    "network, reduced, error, match",
    [
        (NET, (2, 3, 1), ValueError, r"projection_masks: received reduced_widths = \(2, 3, 1\) for a network"),
        (NET, (2, 5, 3, 1), ValueError, "none of them larger"),
        (NET, (1, 3, 3, 1), ValueError, "from 1 to 1; required the ends as they are, 2 and 1"),
        (NET, (2, 0, 3, 1), ValueError, "1 <= a width of reduced_widths"),
        (NET, (2, 3.0, 3, 1), TypeError, "a width of reduced_widths = 3.0"),
        (NET, 3, TypeError, "reduced_widths = 3; required integers"),
        (torch.nn.Linear(2, 1), (2, 1), TypeError, "required a RadialNetwork"),
    ],
)
def test_masks_refuse_widths_that_do_not_fit(network, reduced, error, match):
    with pytest.raises(error, match=match):
        projection_masks(network, reduced)


def test_growing_blocks_are_refused_with_the_way_out():
    last = Dense(torch.rand(1, 4).double(), torch.rand(1).double())
    network = RadialNetwork([Growing(torch.rand(2, 3, 2).double(), torch.rand(2, 3).double(), StepReLU()), last])
    with pytest.raises(ValueError, match=r"received a Growing block.*from_layers\(network.layers\(\)\)"):
        projection_masks(network, network.widths)
    dense = RadialNetwork.from_layers(network.layers())
    assert all(mask.all() for pair in projection_masks(dense, dense.widths) for mask in pair)


@pytest.mark.parametrize(
    "options, match",
    [
        ({"weight_decay": 0.1}, "weight_decay = 0.1; required weight_decay = 0. Decay shrinks the residual"),
        ({"lr": 0.0}, "lr > 0"),
        ({"lr": float("nan")}, "a finite lr"),
        ({"momentum": 1.0}, "0 <= momentum < 1"),
        ({"momentum": -0.1}, "0 <= momentum < 1"),
    ],
)
def test_the_optimizer_refuses(options, match):
    network = copy.deepcopy(NET).requires_grad_(True)
    with pytest.raises(ValueError, match=match):
        ProjectedGradientDescent(network, network.widths, **options)


def test_the_optimizer_refuses_frozen_networks():
    with pytest.raises(ValueError, match=r"a frozen network.*requires_grad_\(True\)"):
        ProjectedGradientDescent(NET, NET.widths)
