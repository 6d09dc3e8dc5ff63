"""Lossy compression: the bound is never exceeded, is spent as promised, and refused where none exists."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import approx
from approx import activations
from approx.networks import Dense, RadialNetwork, Stack

LIPSCHITZ = [
    activations.Squashing(),
    activations.RationalSquash(),
    activations.RadialSwish(),
    activations.ShiftedReLU(0.2),
    activations.ShiftedReLU(0.1, trainable=True),
    activations.RadialIdentity(),
    None,
]


def decaying(widths, seed, kinds=LIPSCHITZ, bias=0.3, dtype=torch.float64):
    """A random network whose maps [b, W] have singular values that fall by 4 from one to the next."""
    rng = np.random.default_rng(seed)
    layers = []
    for i in range(1, len(widths)):
        left, _, right = np.linalg.svd(rng.normal(size=(widths[i], widths[i - 1] + 1)), full_matrices=False)
        both = left * 4.0 ** -np.arange(left.shape[1]) @ right
        kind = kinds[rng.integers(len(kinds))] if i < len(widths) - 1 else None
        layers.append((torch.tensor(both[:, 1:], dtype=dtype), torch.tensor(bias * both[:, 0], dtype=dtype), kind))
    return RadialNetwork.from_layers(layers)


def worst_found(full, small, radius, seed):
    """max |F - F_red| over the ball: random points, then gradient ascent from the worst of them."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(400, full.dim_in))
    x *= radius * rng.uniform(0, 1, (400, 1)) ** 0.2 / np.linalg.norm(x, axis=1, keepdims=True)
    x = torch.tensor(x).to(full.dtype)
    found = (full(x) - small(x)).norm(dim=1)
    x = x[found.argsort(descending=True)[:10]]
    best = float(found.max())
    for _ in range(15):
        x = x.detach().requires_grad_(True)
        error = (full(x) - small(x)).norm(dim=1)
        best = max(best, error.max().item())
        (slope,) = torch.autograd.grad(error.sum(), x)
        x = (x + 0.1 * radius * slope / slope.norm(dim=1, keepdim=True).clamp(min=1e-30)).detach()
        x = x * (radius / x.norm(dim=1, keepdim=True).clamp(min=radius))
    return best


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(1, 12), min_size=3, max_size=6),
    st.integers(0, 2**32 - 1),
    st.floats(-4, 0),
    st.sampled_from([0.5, 1.0, 10.0]),
    st.sampled_from(["rank", "diagonal"]),
)
def test_the_bound_holds_and_stays_below_tol(widths, seed, exponent, radius, method):
    net = decaying(widths, seed)
    tol = 10.0**exponent
    result = approx.compress(net, tol=tol, radius=radius, method=method)
    assert result.bound <= tol
    # The bound is one of real arithmetic; both networks are evaluated with rounding, through different code if a shift
    # is trainable.
    rounding = 16 * len(widths) * max(widths) * np.finfo(np.float64).eps * max(1.0, result.scale)
    assert result.deviation <= result.bound + rounding
    assert worst_found(net, result.network, radius, seed) <= result.bound + rounding


def test_the_bound_is_the_sum_that_the_docstring_states():
    """One hidden layer: sqrt(2) s L |W_2 U_1|, from numpy alone."""
    net = decaying((3, 8, 2), 1, [activations.Squashing()])
    radius = 2.0
    result = approx.compress(net, tol=0.02, radius=radius)
    (weight, bias, rho), (after, _, _) = net.layers()
    scaled = np.column_stack([bias.numpy(), radius * weight.numpy()])
    singular = np.linalg.svd(scaled, compute_uv=False)
    kept = result.reduced_widths[1]
    assert 1 <= kept < 4
    seen = after.numpy() @ np.linalg.qr(np.column_stack([bias.numpy(), weight.numpy()]))[0]
    expected = math.sqrt(2) * singular[kept] * 3 * math.sqrt(3) / 8 * np.linalg.norm(seen, 2)
    assert result.bound == pytest.approx(expected, rel=1e-6)
    assert rho.lipschitz == 3 * math.sqrt(3) / 8
    one_less = math.sqrt(2) * singular[kept - 1] * rho.lipschitz * np.linalg.norm(seen, 2)
    assert one_less > 0.02


def test_a_larger_tol_never_gives_larger_widths_and_a_large_one_reduces_to_one():
    net = decaying((3, 12, 12, 12, 2), 4, [activations.Squashing()])
    widths = [approx.compress(net, tol=tol, samples=0).reduced_widths for tol in (1e-8, 1e-4, 1e-2, 1.0, 100.0)]
    for finer, coarser in itertools.pairwise(widths):
        assert sum(coarser) <= sum(finer)
    assert widths[0] == (3, 4, 5, 6, 2)
    assert widths[-1] == (3, 1, 1, 1, 2)


@pytest.mark.parametrize("radius", [1e-3, 1e3])
def test_what_counts_is_the_ball(radius):
    """A direction that only inputs of length 1000 excite goes for a small ball and stays for a large one."""
    rho = activations.RadialIdentity()
    weight = torch.diag(torch.tensor([1.0, 1e-4])).double()
    net = RadialNetwork.from_layers(
        [(weight, torch.zeros(2).double(), rho), (torch.eye(2).double(), torch.zeros(2).double(), None)]
    )
    kept = approx.compress(net, tol=1e-5, radius=radius).reduced_widths[1]
    assert kept == (1 if radius < 1 else 2)


def test_float32_counts_its_rounding():
    net = decaying((3, 10, 10, 2), 2, dtype=torch.float32)
    result = approx.compress(net, tol=1e-2)
    assert result.network.dtype == torch.float32
    assert result.deviation <= result.bound <= 1e-2
    with pytest.raises(ValueError, match=r"rounding and the Lipschitz constants already give .* larger tol"):
        approx.compress(net, tol=1e-9)


def test_deep_stacks_with_a_tolerance():
    rng = np.random.default_rng(0)
    weights = torch.tensor(0.5 * np.linalg.qr(rng.normal(size=(80, 4, 4)))[0])
    blocks = [Stack(weights, torch.tensor(rng.normal(size=(80, 4))), activations.Squashing())]
    blocks += [Dense(torch.ones(1, 4).double(), torch.zeros(1).double())]
    net = RadialNetwork(blocks)
    result = approx.compress(net, tol=1e-6)
    assert result.deviation <= result.bound <= 1e-6
    assert set(result.reduced_widths[1:30]) == {1}  # their error has faded at the output
    assert result.reduced_widths[-2] == 4


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (activations.StepReLU(), r"layer 1 with StepReLU\(\), whose Lipschitz constant is infinite"),
        (activations.RadialSigmoid(), "infinite: it jumps"),
        (activations.ShiftedReLU(-0.1), "infinite: it jumps"),
        (activations.RadialActivation(torch.tanh), "is unknown; .*set the attribute `lipschitz`"),
    ],
)
def test_activations_without_a_lipschitz_constant_are_refused_with_a_tolerance_only(kind, words):
    net = decaying((2, 5, 5, 1), 0, [kind])
    with pytest.raises(ValueError, match=words):
        approx.compress(net, tol=0.1)
    assert approx.compress(net, tol=0).bound is None


def test_a_bound_that_overflows_is_refused():
    rng = np.random.default_rng(0)
    blocks = [
        Stack(
            torch.tensor(30.0 * rng.normal(size=(400, 3, 3))), torch.ones(400, 3).double(), activations.RadialIdentity()
        )
    ]
    with pytest.raises(ValueError, match="already give inf; required a tol that can be proved"):
        approx.compress(RadialNetwork([*blocks, Dense(torch.ones(1, 3).double(), torch.zeros(1).double())]), tol=1.0)
