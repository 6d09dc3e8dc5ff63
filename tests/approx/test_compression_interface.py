"""What compress takes and refuses, what it leaves alone, and what it prints."""

import copy

import pytest
import torch

import approx
from approx import activations
from approx.compression import Orthogonal, compress
from approx.networks import Dense, RadialNetwork, Stack


def network(kind=None, dtype=torch.float64, widths=(1, 8, 16, 8, 1)):
    generator = torch.Generator().manual_seed(0)
    layers = []
    for i in range(1, len(widths)):
        weight = torch.randn(widths[i], widths[i - 1], generator=generator, dtype=torch.float64)
        bias = torch.randn(widths[i], generator=generator, dtype=torch.float64)
        inner = (kind or activations.Squashing()) if i < len(widths) - 1 else None
        layers.append((weight.to(dtype), bias.to(dtype), inner))
    return RadialNetwork.from_layers(layers)


def test_activations_are_kept_and_copied_only_if_they_have_parameters():
    plain, trained = activations.StepReLU(), activations.ShiftedReLU(0.5, trainable=True)
    net = network(plain)
    assert all(block.activation is plain for block in approx.compress(net).network.blocks[:-1])
    net = network(trained)
    small = approx.compress(net).network
    kinds = [block.activation for block in small.blocks[:-1]]
    assert kinds[0] is kinds[1] is kinds[2] is not trained
    assert kinds[0].config() == trained.config()
    with torch.no_grad():
        kinds[0].shift += 1.0
    assert trained.shift.item() == 0.5


def test_the_full_network_is_left_alone_and_the_reduced_one_owns_its_weights():
    net = network()
    before = copy.deepcopy(net.state_dict())
    result = approx.compress(net)
    x = torch.ones(1, 1).double()
    value = net(x)
    with torch.no_grad():
        for parameter in result.network.parameters():
            parameter += 1.0
    assert torch.equal(net(x), value)
    assert all(torch.equal(net.state_dict()[name], value) for name, value in before.items())
    stack = RadialNetwork(
        [Stack(torch.ones(3, 2, 2), torch.ones(3, 2), activations.StepReLU()), Dense(torch.ones(1, 2), torch.ones(1))]
    )
    small = approx.compress(stack).network
    small.blocks[0].weight += 1
    assert torch.equal(stack.blocks[0].weight, torch.ones(3, 2, 2))


@pytest.mark.parametrize("trainable", [False, True])
def test_the_reduced_network_asks_for_gradients_as_the_full_one_does(trainable):
    result = approx.compress(network().requires_grad_(trainable))
    assert {parameter.requires_grad for parameter in result.network.parameters()} == {trainable}
    assert not any(value.requires_grad for pair in result.residual for value in pair)


def test_rotated_refuses_weights_that_changed_since():
    net = network().requires_grad_(True)
    result = approx.compress(net)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    net(torch.ones(1, 1).double()).sum().backward()
    optimizer.step()
    with pytest.raises(RuntimeError, match="a network whose weights changed since"):
        _ = result.rotated
    result = approx.compress(net)
    rotated = result.rotated
    optimizer.step()
    assert result.rotated is rotated


def test_repr_and_table_show_before_and_after():
    result = approx.compress(network())
    text = repr(result)
    for part in ("(1, 8, 16, 8, 1)", "(1, 2, 3, 4, 1)", "305", "34 (11.1%)", "lossless", "Algorithm 1", "256 points"):
        assert part in text
    lines = result.table().splitlines()
    assert lines[0].split() == ["layer", "activation", "width", "before", "after", "parameters", "before", "after"]
    assert lines[2].split() == ["2", "Squashing()", "16", "3", "144", "9"]
    assert lines[-1].split() == ["total", "305", "34"]
    lossy = approx.compress(network(), tol=1e3, radius=2.0)
    assert "<= 2" in repr(lossy)
    assert "rank-revealing" in repr(lossy)
    assert "points" not in repr(approx.compress(network(), samples=0))
    deep = RadialNetwork(
        [
            Stack(torch.ones(1000, 2, 2) / 4, torch.ones(1000, 2), activations.StepReLU()),
            Dense(torch.ones(1, 2), torch.ones(1)),
        ]
    )
    assert "2 x 1,001" in repr(approx.compress(deep))
    assert "1 to 1,000" in approx.compress(deep).table()


def test_the_same_call_gives_the_same_bits():
    for method in ("qr", "rank", "diagonal"):
        one, two = (approx.compress(network(), method=method, seed=3) for _ in range(2))
        assert one.deviation == two.deviation
        for a, b in zip(one.network.parameters(), two.network.parameters(), strict=True):
            assert torch.equal(a, b)


def test_samples_and_radius_are_those_asked_for():
    net = network()
    result = approx.compress(net, samples=50, radius=4.0, seed=2)
    points = torch.tensor(approx.Ball([0.0], 4.0).sample(50, 2))
    assert result.deviation == float((net(points) - result.network(points)).norm(dim=1).max())
    nothing = approx.compress(net, samples=0)
    assert (nothing.deviation, nothing.scale) == (None, None)


def test_a_scale_far_above_the_deviation_is_not_spelled_out():
    rough = [Dense(10.0 * torch.eye(2), torch.zeros(2), activations.StepReLU()) for _ in range(15)]
    small = approx.compress(RadialNetwork([*rough, Dense(torch.ones(1, 2), torch.zeros(1))]))
    assert small.deviation < 0.01 * small.scale * 2.0**-23 and "(under 0.01 eps x scale)" in repr(small)


def spoiled(change):
    net = network()
    change(net)
    return net


def set_weight(block, value):
    block.weight = torch.nn.Parameter(value, requires_grad=False)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (
            lambda net: setattr(net.blocks[1], "activation", torch.nn.ReLU()),
            TypeError,
            "block 1 with activation ReLU.*wrap a profile",
        ),
        (
            lambda net: set_weight(net.blocks[0], torch.ones(8, 1, dtype=torch.complex128)),
            TypeError,
            "block 0 with weight of torch.complex128",
        ),
        (lambda net: net.half(), TypeError, "weight of torch.float16; required one dtype, float32 or float64"),
        (lambda net: net.blocks[2].float(), TypeError, "block 2 with weight of torch.float32"),
        (
            lambda net: net.blocks[0].weight.fill_(float("nan")),
            ValueError,
            "block 0 with NaN or infinity in its weight",
        ),
        (lambda net: net.blocks[3].bias.fill_(float("inf")), ValueError, "block 3 with NaN or infinity in its bias"),
        (lambda net: set_weight(net.blocks[1], torch.ones(16, 7).double()), ValueError, "matching widths"),
        (
            lambda net: set_weight(net.blocks[1], torch.ones(15, 8).double()),
            ValueError,
            r"weight \(15, 8\) and bias \(16,\)",
        ),
        (
            lambda net: setattr(net.blocks[2], "bias", net.blocks[0].bias),
            ValueError,
            "block 2, whose bias also belongs to another layer.*untie",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:RadialNetwork")
def test_networks_that_cannot_be_compressed(change, error, words):
    with pytest.raises(error, match=words):
        compress(spoiled(change))


def test_a_block_used_twice_is_refused():
    block = Dense(torch.eye(2).double(), torch.ones(2).double(), activations.StepReLU())
    with pytest.raises(ValueError, match="block 1, whose weight also belongs to another layer"):
        compress(RadialNetwork([block, block]))


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"tol": -1.0}, ValueError, "tol >= 0"),
        ({"tol": float("nan")}, ValueError, "a finite tol"),
        ({"tol": "small"}, TypeError, "a real number"),
        ({"radius": 0.0}, ValueError, "radius > 0"),
        ({"radius": float("inf")}, ValueError, "a finite radius"),
        ({"samples": -1}, ValueError, "0 <= samples"),
        ({"samples": 1.5}, TypeError, "an integer"),
        ({"seed": -1}, ValueError, "0 <= seed"),
        ({"method": "lu"}, ValueError, "one of diagonal, qr, rank"),
        ({"method": "qr", "tol": 0.1}, ValueError, "Use method='rank' or 'diagonal', or tol=0"),
    ],
)
def test_options_out_of_range(options, error, words):
    with pytest.raises(error, match=words):
        compress(network(), **options)


@pytest.mark.parametrize("thing", [None, torch.nn.Linear(2, 2), "network.safetensors"])
def test_only_radial_networks(thing):
    with pytest.raises(TypeError, match=r"required a RadialNetwork. Pass construction.network"):
        compress(thing)


def test_factors_are_a_sequence():
    factors = approx.compress(network()).factors
    assert len(factors) == 3
    assert [factor.size for factor in factors] == [8, 16, 8] == [factor.size for factor in factors[:]]
    assert factors[-1].size == 8
    assert repr(factors) == "Factors(3 orthogonal matrices)"
    assert repr(factors[1]) == "Orthogonal(16 x 16, 3 reflectors)"
    with pytest.raises(IndexError, match="out of range"):
        factors[3]


def test_factors_check_what_they_are_applied_to():
    factor = approx.compress(network()).factors[0]
    with pytest.raises(
        TypeError, match=r"received a tensor of torch.float32 on cpu; required a tensor of torch.float64"
    ):
        factor.apply(torch.ones(8))
    with pytest.raises(TypeError, match="received list"):
        factor.apply_transpose([1.0] * 8)
    with pytest.raises(ValueError, match=r"shape \(7,\); required shape \(..., 8\)"):
        factor.apply(torch.ones(7).double())
    assert factor.apply(torch.ones(0, 8).double()).shape == (0, 8)
    for wrong in ([[1.0, 0.0]], torch.eye(2).long(), torch.eye(0)):
        with pytest.raises(ValueError, match=r"required an \(n, n\) real matrix"):
            Orthogonal.from_matrix(wrong)
    for wrong in (2 * torch.eye(3), torch.full((2, 2), float("nan"))):
        with pytest.raises(ValueError, match=r"max \|M\^T M - I\| = .* required an orthogonal matrix"):
            Orthogonal.from_matrix(wrong)
