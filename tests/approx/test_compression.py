"""Lossless compression: widths, values, factors and residual, over many random networks and against exact ranks."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import approx
import constructions
from approx import activations
from approx.compression import random_orthogonal
from approx.compression.reduce import _LONG
from approx.networks import Dense, Growing, RadialNetwork, Stack

ACTIVATIONS = [
    *(activations.activation(name) for name in activations.activation_names()),
    activations.ShiftedReLU(0.3, trainable=True),
    activations.ShiftedSigmoid(-0.5),
    activations.RadialActivation(torch.tanh),
    None,
]
METHODS = ("qr", "rank", "diagonal")


def paper_widths(widths):
    """n_i^red = min(n_i, n_{i-1}^red + 1) for hidden layers; input and output keep theirs."""
    reduced = [widths[0]]
    for width in widths[1:-1]:
        reduced.append(min(width, reduced[-1] + 1))
    return (*reduced, *widths[1:][-1:])


def network(widths, seed=0, bias=1.0, dtype=torch.float64, kind=None):
    rng = np.random.default_rng(seed)
    layers = []
    for i, (before, after) in enumerate(itertools.pairwise(widths)):
        inner = (kind or activations.Squashing()) if i < len(widths) - 2 else None
        pair = rng.normal(size=(after, before)) / before**0.5, bias * rng.normal(size=after)
        layers.append((*(torch.tensor(value, dtype=dtype) for value in pair), inner))
    return RadialNetwork.from_layers(layers)


def planted(widths, seed, loss):
    """A random network, and the least widths that the ranks planted in it allow."""
    rng = np.random.default_rng(seed)
    layers, least = [], [widths[0]]
    for i, (columns, rows) in enumerate(itertools.pairwise(widths), 1):
        rank = rows
        span = np.eye(rows)
        if loss and rng.random() < 0.7:
            rank = int(rng.integers(1, rows + 1))
            span = rng.normal(size=(rows, rank))
        if loss and rng.random() < 0.2:
            span[rng.integers(rows)] = 0
            rank = min(rank, rows - 1)
        biased = bool(rng.random() < 0.7)
        weight, bias = span @ rng.normal(size=(span.shape[1], columns)), biased * span @ rng.normal(size=span.shape[1])
        scale = max(1.0, float(np.linalg.norm(weight, 2)))
        inner = i < len(widths) - 1
        kind = ACTIVATIONS[rng.integers(len(ACTIVATIONS))] if inner or rng.random() < 0.2 else None
        layers.append((torch.tensor(2 * weight / scale), torch.tensor(bias / scale), kind))
        least.append(max(1, min(rank, least[-1] + biased)) if inner else rows)
    return RadialNetwork.from_layers(layers), tuple(least)


def rounding_scale(net, x):
    """s_i = g_i (|b_i| + |W_i| s_{i-1}) per point, with exact norms and exact slopes."""
    size = x.norm(dim=1)
    for weight, bias, activation in net.layers():
        size = size * torch.linalg.matrix_norm(weight, 2) + bias.norm()
        x = x @ weight.T + bias
        if activation is not None:
            r = x.norm(dim=1).requires_grad_(True)
            (slope,) = torch.autograd.grad(activation.profile(r).sum(), r)
            gain = torch.maximum(activation.profile(r).abs() / r, slope.abs()).nan_to_num(0.0).detach()
            size, x = size * torch.where(r == 0, 0.0, gain.clamp(min=0)), activation(x).detach()
    return size.detach()


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(st.integers(1, 64), min_size=2, max_size=9), st.integers(0, 2**32 - 1), st.booleans())
def test_random_networks_keep_their_function_and_reach_the_least_widths(widths, seed, loss):
    net, least = planted(widths, seed, loss)
    x = torch.tensor(np.random.default_rng(seed).normal(size=(16, widths[0])))
    full = net(x, engine="torch")  # another kernel would be compiled for every width
    allowed = 1e-12 * rounding_scale(net, x)
    results = {method: approx.compress(net, method=method, samples=0) for method in METHODS}
    assert results["qr"].reduced_widths == paper_widths(widths)
    assert results["rank"].reduced_widths == results["diagonal"].reduced_widths == least
    for method, result in results.items():
        assert ((full - result.network(x, engine="torch")).norm(dim=1) <= allowed).all(), method


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=2, max_size=5), st.integers(0, 2**32 - 1))
def test_rank_finds_the_least_chain_of_subspaces_in_exact_arithmetic(widths, seed):
    rng = np.random.default_rng(seed)
    layers, chain, least = [], np.eye(widths[0], dtype=int).tolist(), [widths[0]]
    for columns, rows in itertools.pairwise(widths):
        weight, bias = rng.integers(-1, 2, (rows, columns)), rng.integers(-1, 2, rows)
        layers.append((torch.tensor(weight).double(), torch.tensor(bias).double(), activations.Squashing()))
        chain = independent(
            [bias.tolist(), *([sum(map(int.__mul__, map(int, row), u)) for row in weight] for u in chain)]
        )
        if not chain:
            return  # a layer that is zero throughout keeps a coordinate of its own
        least.append(len(chain))
    net = RadialNetwork.from_layers(layers)
    assert approx.compress(net, method="rank").reduced_widths == (*least[:-1], widths[-1])


def independent(vectors):
    """A basis of the span, of integer vectors: those that Gaussian elimination over the rationals keeps."""
    kept, rows = [], []
    for vector in vectors:
        rest = [Fraction(value) for value in vector]
        for pivot, row in rows:
            factor = rest[pivot] / row[pivot]
            rest = [a - factor * b for a, b in zip(rest, row, strict=True)]
        pivot = next((i for i, value in enumerate(rest) if value), None)
        if pivot is not None:
            rows.append((pivot, rest))
            kept.append([int(value) for value in vector])
    return kept


def test_widths_and_parameters_of_the_paper():
    result = approx.compress(network((1, 8, 16, 8, 1)))
    assert (result.widths, result.reduced_widths) == ((1, 8, 16, 8, 1), (1, 2, 3, 4, 1))
    assert result.parameters == (305, 34)
    assert result.bound is None


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("bias", [0.0, 1.0])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_factors_rotated_and_residual_are_what_the_theorem_says(method, bias, dtype):
    net = network((3, 9, 17, 4, 12, 2), seed=3, bias=bias, dtype=dtype)
    result = approx.compress(net, method=method)
    eps = torch.finfo(dtype).eps
    x = torch.randn(20, 3, generator=torch.Generator().manual_seed(1), dtype=dtype)
    assert result.network.dtype == dtype
    assert result.deviation <= 100 * eps * result.scale
    matrices = [factor.matrix() for factor in result.factors]
    assert [len(matrix) for matrix in matrices] == list(net.hidden_widths)
    for factor, matrix in zip(result.factors, matrices, strict=True):
        v = torch.randn(7, 2, factor.size, generator=torch.Generator().manual_seed(2), dtype=dtype)
        torch.testing.assert_close(factor.apply(v), v @ matrix.to(dtype).T)
        torch.testing.assert_close(factor.apply_transpose(v), v @ matrix.to(dtype))
        identity = torch.eye(factor.size, dtype=matrix.dtype)
        torch.testing.assert_close(matrix.T @ matrix, identity, atol=50 * eps, rtol=0)
    torch.testing.assert_close(result.rotated(x), net(x), atol=200 * eps, rtol=0)
    befores = [torch.eye(3, dtype=dtype), *(matrix.to(dtype) for matrix in matrices)]
    afters = [*(matrix.to(dtype) for matrix in matrices), torch.eye(2, dtype=dtype)]
    lists = (net.layers(), result.network.layers(), result.rotated.layers(), result.residual)
    for before, after, (w, b, _), (small, offset, _), (turned, moved, _), (rest, gap) in zip(
        befores, afters, *lists, strict=True
    ):
        torch.testing.assert_close(turned.data, after.T @ w.data @ before, atol=100 * eps, rtol=0)
        torch.testing.assert_close(moved.data, after.T @ b.data, atol=100 * eps, rtol=0)
        rows, columns = small.shape
        assert torch.equal(turned[:rows, :columns], small)
        assert torch.equal(moved[:rows], offset)
        assert not turned[rows:, :columns].any()
        assert not moved[rows:].any()
        assert not rest[:rows, :columns].any()
        assert not gap.any()
        assert torch.equal(rest[:, columns:], turned[:, columns:])


def test_hidden_vectors_are_the_reduced_ones_in_the_leading_columns():
    """Theorem 6: z_i = V_i y_i at every layer, not only at the end."""
    net = network((2, 16, 64, 128, 16, 2), seed=5)
    result = approx.compress(net)
    x = torch.randn(9, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for layer, factor in enumerate(result.factors, 1):
        y = result.network.partial(x, layer)
        padded = torch.nn.functional.pad(y, (0, factor.size - y.shape[1]))
        torch.testing.assert_close(factor.apply(padded), net.partial(x, layer), atol=1e-13, rtol=0)


def test_diagonal_form_has_diagonal_weights_in_every_second_layer():
    result = approx.compress(network((3, 9, 17, 9, 12, 14, 2), seed=1), method="diagonal")
    for layer, (weight, _, _) in enumerate(result.network.layers(), 1):
        off = weight.clone()
        off.diagonal().zero_()
        assert bool(off.any()) == (layer not in (2, 4))
    assert (next(itertools.islice(result.network.layers(), 1, None))[0].diagonal() > 0).all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("widths", [(1, 1), (3, 2), (1, 1, 1), (5, 3, 1, 4), (1, 64, 1)])
def test_small_shapes(widths, method):
    result = approx.compress(network(widths), method=method)
    assert result.deviation <= 100 * 2.0**-52 * result.scale
    assert result.reduced_widths == paper_widths(widths)


def test_layers_that_are_zero_keep_one_coordinate():
    net = network((2, 5, 5, 1))
    net.blocks[1].weight.zero_()
    net.blocks[1].bias.zero_()
    assert approx.compress(net).reduced_widths == (2, 3, 4, 1)
    result = approx.compress(net, method="rank")
    assert result.reduced_widths == (2, 3, 1, 1)
    assert result.deviation == 0


def stacked(layers, rank, bias, kind, width=4, seed=0):
    """R^2 -> R^1 through a stack whose layers have the given rank."""
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=(layers, width, rank)) @ rng.normal(size=(layers, rank, width))
    weight /= np.linalg.norm(weight, 2, axis=(1, 2))[:, None, None]
    arrays = [rng.normal(size=(width, 2)), rng.normal(size=width), 1.5 * weight]
    arrays += [bias * rng.normal(size=(layers, width)), rng.normal(size=(1, width)), np.ones(1)]
    first, offset, weights, biases, last, end = map(torch.tensor, arrays)
    return RadialNetwork([Dense(first, offset, kind), Stack(weights, biases, kind), Dense(last, end)])


@pytest.mark.parametrize("layers", [_LONG - 4, _LONG + 4])
@pytest.mark.parametrize("rank", [1, 2, 4])
@pytest.mark.parametrize("bias", [0.0, 0.3])
def test_stacks_reach_the_same_widths_in_the_compiled_loop_and_layer_by_layer(layers, rank, bias):
    net = stacked(layers, rank, bias, activations.RadialSigmoid())
    result = approx.compress(net, method="rank")
    widths = [2, 3]
    for _ in range(layers):
        widths.append(min(4, rank + bool(bias), widths[-1] + bool(bias)))
    assert result.reduced_widths == (*widths, 1)
    assert result.deviation <= 100 * 2.0**-52 * result.scale
    x = torch.randn(9, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(result.network(x), net(x), atol=1e-12, rtol=0)
    torch.testing.assert_close(result.rotated(x), net(x), atol=1e-12, rtol=0)
    for layer in (1, 2, layers // 2, layers + 1):
        y, factor = result.network.partial(x, layer), result.factors[layer - 1]
        padded = torch.nn.functional.pad(y, (0, 4 - y.shape[1]))
        torch.testing.assert_close(factor.apply(padded), net.partial(x, layer), atol=1e-12, rtol=0)


def test_a_deep_stack_stays_a_stack():
    net = stacked(100_000, 4, 0.3, activations.StepReLU())
    for method in ("qr", "rank"):
        result = approx.compress(net, method=method, samples=8)
        assert len(result.network.blocks) <= 5
        assert torch.equal(
            result.network.blocks[-2].weight[5:], net.blocks[1].weight[-len(result.network.blocks[-2].weight[5:]) :]
        )
    thin = approx.compress(stacked(100_000, 2, 0.0, activations.StepReLU()), method="rank", samples=8)
    assert thin.reduced_widths[2:-1] == (2,) * 100_000
    assert len(thin.network.blocks) <= 5


def test_a_stack_whose_rank_keeps_changing_takes_the_largest_width():
    net = stacked(1200, 2, 0.0, activations.RadialSigmoid())
    net.blocks[1].weight[::2, :, 0] = 0
    net.blocks[1].weight[::2, :, 1:] = net.blocks[1].weight[::2, :, 1:2]
    net.blocks[1].bias[1::2] = 0.1
    result = approx.compress(net, method="rank")
    assert len(result.network.blocks) <= 5
    assert set(result.reduced_widths[3:-1]) == {2}
    x = torch.randn(9, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(result.network(x), net(x), atol=1e-12, rtol=0)
    torch.testing.assert_close(result.rotated(x), net(x), atol=1e-12, rtol=0)


def growing(layers, wide, kind):
    """R^2 -> R^1 through a Growing run behind a layer of width `wide`."""
    rng = np.random.default_rng(0)
    shapes = [(wide, 2), (wide,), (layers, 3, 2), (layers, 3), (1, wide + layers), (1,)]
    first, offset, weights, biases, last, end = (torch.tensor(rng.normal(size=shape)) for shape in shapes)
    return RadialNetwork([Dense(first, offset, kind), Growing(weights, biases, kind), Dense(last, end)])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("layers", [5, _LONG + 1])
@pytest.mark.parametrize("wide", [3, 10])
def test_growing_runs(method, layers, wide):
    net = growing(layers, wide, activations.Squashing())
    result = approx.compress(net, method=method)
    assert result.deviation <= 100 * 2.0**-52 * result.scale
    x = torch.randn(9, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(result.rotated(x), net(x), atol=1e-12, rtol=0)
    if method == "qr":
        assert result.reduced_widths == paper_widths(net.widths)
    else:
        assert all(a <= b for a, b in zip(result.reduced_widths, net.widths, strict=True))


@pytest.mark.parametrize("builder", ["widening", "constant_width", "narrow", "minimal"])
@pytest.mark.parametrize("method", ["qr", "rank"])
def test_constructed_networks(builder, method):
    domain = None if builder in ("widening", "constant_width") else approx.Box([-2.0, -2.0], [2.0, 2.0])
    built = constructions.build(
        approx.targets.gaussian(dim=2), eps=0.2, domain=domain, builder=builder, prove=False, samples=100
    )
    result = approx.compress(built.network, method=method, radius=2.0)
    assert all(a <= b for a, b in zip(result.reduced_widths, paper_widths(built.network.widths), strict=True))
    assert result.deviation <= 1e-9
    x = np.random.default_rng(0).uniform(-1, 1, (200, 2))
    assert np.abs(result.rotated.evaluate(x) - built.network.evaluate(x)).max() <= 1e-9


@pytest.mark.parametrize("layers", [_LONG - 4, _LONG + 4])
def test_a_stack_that_loses_rank_on_the_way(layers):
    rng = np.random.default_rng(2)
    weights, biases = rng.normal(size=(layers, 4, 4)) / 2, rng.normal(size=(layers, 4))
    weights[layers // 2, :, 1:], biases[layers // 2] = weights[layers // 2, :, :1], 0.0
    kind = activations.RationalSquash()
    blocks = [Stack(torch.tensor(weights), torch.tensor(biases), kind)]
    net = RadialNetwork([*blocks, Dense(torch.ones(2, 4).double(), torch.ones(2).double())])
    result = approx.compress(net, method="rank")
    lost = layers // 2 + 1
    assert result.reduced_widths == (*[4] * lost, 1, 2, 3, *[4] * (layers - lost - 2), 2)
    x = torch.randn(9, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for layer in (1, lost - 1, lost, lost + 1, lost + 2, layers):
        y, factor = result.network.partial(x, layer), result.factors[layer - 1]
        padded = torch.nn.functional.pad(y, (0, 4 - y.shape[1]))
        torch.testing.assert_close(factor.apply(padded), net.partial(x, layer), atol=1e-12, rtol=0)


@pytest.mark.parametrize("layers", [_LONG - 4, _LONG + 4])
@pytest.mark.parametrize(("size", "kept"), [(1e-11, 4), (1e-17, 3)])
def test_only_rounding_counts_as_lost_rank(layers, size, kept):
    turn = random_orthogonal((4,), seed=0)[0].matrix()
    weights = (turn @ torch.diag(torch.tensor([1.0, 1.0, 1.0, size]).double()) @ turn.T).repeat(layers, 1, 1)
    biases = torch.zeros(layers, 4).double()
    blocks = [Stack(weights, biases, activations.RadialIdentity()), Dense(weights[0], biases[0])]
    assert set(approx.compress(RadialNetwork(blocks), method="rank").reduced_widths[1:-1]) == {kept}


def test_the_scale_is_the_size_that_numbers_reach():
    net = network((3, 9, 17, 4, 2), seed=3, kind=activations.RadialSwish())
    result = approx.compress(net, radius=5.0)
    x = torch.tensor(approx.Ball([0.0] * 3, 5.0).sample(256, 0))
    exact = float(rounding_scale(net, x).max())
    assert 0.5 * exact <= result.scale <= 1.01 * exact  # norms come from a few steps of the power method
