"""Radial networks: counts by hand, every block against plain loops, and both engines against each other."""

import copy
import itertools
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from approx.activations import RadialActivation, ShiftedReLU, StepReLU
from approx.networks import Dense, Growing, RadialNetwork, Stack

DTYPES = (torch.float64, torch.float32)
ROUNDING = {torch.float64: 2.0**-52, torch.float32: 2.0**-23}


def weights(rng, dtype, *shape):
    return torch.as_tensor(rng.normal(size=shape)).to(dtype)


def random_network(seed, kind, dtype=torch.float64, layers=6):
    """R^2 -> R^3. Weights keep norms near 1, so that Step-ReLU both keeps and resets."""
    rng = np.random.default_rng(seed)

    def affine(out, inputs, activation=None):
        return Dense(0.8 * weights(rng, dtype, out, inputs), 0.3 * weights(rng, dtype, out), activation)

    step = StepReLU()
    if kind == "dense":
        blocks = [affine(4, 2, step), affine(3, 4, step), affine(5, 3, step), affine(3, 5)]
    elif kind == "stack":
        run = Stack(0.6 * weights(rng, dtype, layers, 4, 4), 0.3 * weights(rng, dtype, layers, 4), step)
        blocks = [affine(4, 2, step), run, affine(3, 4)]
    elif kind == "growing":
        run = Growing(0.5 * weights(rng, dtype, layers, 4, 3), 0.3 * weights(rng, dtype, layers, 4), step)
        blocks = [affine(3, 2, step), run, affine(3, 3 + layers)]
    else:
        first = Growing(0.5 * weights(rng, dtype, 3, 3, 2), 0.3 * weights(rng, dtype, 3, 3), step)
        run = Stack(0.5 * weights(rng, dtype, layers, 4, 4), 0.3 * weights(rng, dtype, layers, 4), step)
        last = Growing(0.5 * weights(rng, dtype, 3, 3, 2), 0.3 * weights(rng, dtype, 3, 3), step)
        blocks = [first, affine(4, 5, step), run, last, affine(3, 7, step)]
    return RadialNetwork(blocks)


KINDS = ("dense", "stack", "growing", "mixed")


def dense_layers(network, layers=None):
    """The weights in float64, and whether there is an activation."""
    for weight, bias, activation in itertools.islice(network.layers(), layers):
        yield weight.detach().double().numpy(), bias.detach().double().numpy(), activation


def plain_feedforward(network, x, layers=None):
    """The definition with dense matrices, one point and one layer at a time, in float64."""
    result, matrices = [], list(dense_layers(network, layers))
    for point in np.asarray(x, dtype=np.float64):
        v = point
        for weight, bias, activation in matrices:
            v = weight @ v + bias
            if activation is not None and np.sqrt((v**2).sum()) < 1:
                v = np.zeros_like(v)
        result.append(v)
    return np.array(result)


def far_from_steps(network, x, margin):
    """(k,) whether every |v| met on the way is at least `margin` from 1."""
    keep, matrices = np.ones(len(x), bool), list(dense_layers(network))
    for k, point in enumerate(np.asarray(x, dtype=np.float64)):
        v = point
        for weight, bias, activation in matrices:
            v = weight @ v + bias
            length = np.linalg.norm(v)
            keep[k] &= activation is None or abs(length - 1) > margin
            if activation is not None and length < 1:
                v = np.zeros_like(v)
    return keep


def points(seed, count, dtype=torch.float64):
    return torch.as_tensor(np.random.default_rng(seed).normal(scale=2.0, size=(count, 2))).to(dtype)


@pytest.mark.parametrize(
    ("kind", "widths", "parameters", "stored"),
    [
        # By hand: the sum of n_i (n_{i-1} + 1).
        ("dense", (2, 4, 3, 5, 3), 4 * 3 + 3 * 5 + 5 * 4 + 3 * 6, 12 + 15 + 20 + 18),
        ("stack", (2, 4, 4, 4, 4, 4, 4, 4, 3), 4 * 3 + 6 * 4 * 5 + 3 * 5, 12 + 6 * 20 + 15),
        ("growing", (2, 3, 4, 5, 6, 7, 8, 9, 3), 9 + (16 + 25 + 36 + 49 + 64 + 81) + 3 * 10, 9 + 6 * 16 + 30),
        (
            "mixed",
            (2, 3, 4, 5, 4, 4, 4, 4, 4, 4, 4, 5, 6, 7, 3),
            (3 * 3 + 4 * 4 + 5 * 5) + 4 * 6 + 6 * 4 * 5 + (5 * 5 + 6 * 6 + 7 * 7) + 3 * 8,
            3 * 9 + 24 + 120 + 3 * 9 + 24,
        ),
    ],
)
def test_widths_and_counts_by_hand(kind, widths, parameters, stored):
    network = random_network(0, kind)
    assert network.widths == widths and network.hidden_widths == widths[1:-1]
    assert (network.dim_in, network.dim_out) == (2, 3)
    assert (network.depth, network.hidden_layers) == (len(widths) - 1, len(widths) - 2)
    assert (network.parameter_count, network.stored_numbers) == (parameters, stored)
    shapes = [tuple(weight.shape) for weight, _, _ in network.layers()]
    assert shapes == [(b, a) for a, b in itertools.pairwise(widths)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("engine", ["compiled", "torch", "auto"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_network_is_its_dense_layers(kind, engine, dtype):
    resets = 0
    for seed in range(3):
        network = random_network(seed, kind, dtype)
        x = points(seed, 150, dtype)
        unit = ROUNDING[dtype]
        sure = far_from_steps(network, x, 1e3 * unit)
        assert sure.mean() > 0.9
        expected = plain_feedforward(network, x)
        values = network(x, engine=engine)
        assert values.dtype == dtype and values.shape == (150, 3)
        # Norms stay below about 1e3, layers add a few roundings each.
        np.testing.assert_allclose(values.double().numpy()[sure], expected[sure], rtol=1e3 * unit, atol=1e3 * unit)
        hidden = plain_feedforward(network, x, network.depth - 1)
        resets += (hidden == 0).all(axis=1).sum()
    assert resets > 0  # the test would say little if no point were ever reset


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("trainable", [False, True])
def test_partial_feedforward_is_every_layer_in_turn(kind, trainable):
    network, x = random_network(1, kind).requires_grad_(trainable), points(1, 40)
    sure = far_from_steps(network, x, 1e-12)
    for layers in range(network.depth + 1):
        partial = network.partial(x, layers).detach()
        assert partial.shape == (40, network.widths[layers])
        expected = plain_feedforward(network, x, layers)
        np.testing.assert_allclose(partial.numpy()[sure], expected[sure], rtol=1e-12, atol=1e-12)
    assert (network.partial(x, 0) == x).all()


def test_growing_equals_its_dense_layers_bit_for_bit_in_structure():
    network = random_network(2, "growing")
    for layer, (weight, bias, _) in enumerate(itertools.islice(network.layers(), 1, 7)):
        block = network.blocks[1]
        head = torch.zeros(4 + layer, 3 + layer).double()
        head[:4, :3] = block.weight[layer]
        for carried in range(layer):  # old coordinate 3 + c moves to 4 + c
            head[4 + carried, 3 + carried] = 1.0
        assert torch.equal(weight, head)
        assert torch.equal(bias, torch.cat([block.bias[layer], torch.zeros(layer).double()]))
    dense = RadialNetwork([Dense(w, b, a) for w, b, a in network.layers()])
    x = points(2, 100)
    assert dense.widths == network.widths and dense.parameter_count == network.parameter_count
    torch.testing.assert_close(dense(x), network(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("layer", [(np.eye(2), np.zeros(2)), np.eye(3), None])
def test_from_layers_says_what_a_layer_is(layer):
    with pytest.raises(TypeError, match=r"required triples \(weight, bias, activation\). Pass None as"):
        RadialNetwork.from_layers([layer])


def test_from_layers_takes_arrays_and_lists_of_triples():
    network = RadialNetwork.from_layers([(np.eye(2), np.zeros(2), StepReLU()), (np.ones((1, 2)), np.ones(1), None)])
    assert network.evaluate([[3.0, 4.0], [0.5, 0.75], [0.0, 1.0]]).ravel().tolist() == [8.0, 1.0, 2.0]


def test_a_torch_model_becomes_a_network_that_owns_its_weights():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(2, 8, bias=False), ShiftedReLU(0.5, trainable=True), nn.Linear(8, 3), nn.Linear(3, 1)
    )
    network = RadialNetwork.from_sequential(model.double())
    x = torch.randn(50, 2, dtype=torch.float64)
    before = model(x).detach()
    assert network.widths == (2, 8, 3, 1) and not any(p.requires_grad for p in network.blocks[0].parameters(False))
    assert torch.allclose(network(x), before, rtol=1e-14, atol=1e-15)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)
    assert torch.allclose(network(x), before, rtol=1e-14, atol=1e-15) and not torch.allclose(model(x), before)


@pytest.mark.parametrize(
    "model, text",
    [
        (nn.Sequential(nn.Linear(2, 3), nn.ReLU()), r"received ReLU\(\) after 1 nn.Linear"),
        (nn.Sequential(StepReLU(), nn.Linear(2, 3)), r"received StepReLU\(\) after 0"),
        (nn.Sequential(nn.Linear(2, 3), StepReLU(), StepReLU()), r"received StepReLU\(\) after 1"),
        ("a model", "received 'a model' after 0"),
    ],
)
def test_other_models_are_refused(model, text):
    with pytest.raises(TypeError, match=text):
        RadialNetwork.from_sequential(model)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_compiled_values_do_not_depend_on_the_batch(kind, dtype):
    network, x = random_network(3, kind, dtype), points(3, 1000, dtype)
    together = network(x, engine="compiled")
    alone = torch.cat([network(x[k : k + 1], engine="compiled") for k in range(0, 1000, 9)])
    assert torch.equal(alone, together[::9])
    for size in (63, 64, 65, 130):
        assert torch.equal(network(x[:size], engine="compiled"), together[:size])
    order = torch.as_tensor(np.random.default_rng(0).permutation(1000))
    assert torch.equal(network(x[order], engine="compiled"), together[order])


@pytest.mark.parametrize("kind", KINDS)
def test_compiled_values_do_not_depend_on_the_threads(kind):
    network, x = random_network(4, kind), points(4, 10_001)  # more than one slice per thread
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        single = network(x, engine="compiled")
        torch.set_num_threads(2)
        double = network(x, engine="compiled")
        torch.set_num_threads(5)
        many = network(x, engine="compiled")
    finally:
        torch.set_num_threads(before)
    assert torch.equal(single, double) and torch.equal(single, many)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("engine", ["compiled", "torch"])
def test_nan_in_nan_out_and_only_there(kind, engine):
    network, x = random_network(5, kind), points(5, 100)
    clean = network(x, engine=engine)
    x[7, 0] = x[70, 1] = torch.nan
    values = network(x, engine=engine)
    assert values[[7, 70]].isnan().all()
    keep = torch.ones(100, dtype=bool)
    keep[[7, 70]] = False
    torch.testing.assert_close(values[keep], clean[keep], rtol=1e-12, atol=1e-12)
    for layers in range(1, network.depth + 1):
        assert network.partial(x, layers)[7].isnan().any()


@pytest.mark.parametrize("kind", KINDS)
def test_shapes_of_inputs(kind):
    network, x = random_network(6, kind), points(6, 24)
    values = network(x)
    assert torch.equal(network(x[3]), values[3]) and network(x[3]).shape == (3,)
    assert torch.equal(network(x.reshape(2, 3, 4, 2)), values.reshape(2, 3, 4, 3))
    assert network(x[:0]).shape == (0, 3) and network(x[:0].reshape(4, 0, 2)).shape == (4, 0, 3)
    assert torch.equal(network(x.T.contiguous().T), values)


def test_evaluate_takes_arrays_of_any_layout():
    network = random_network(7, "stack")
    x = points(7, 20).numpy()
    values = network.evaluate(x)
    assert values.dtype == np.float64 and values.shape == (20, 3)
    assert (network.evaluate(x[::-1]) == values[::-1]).all()
    assert (network.evaluate(x.astype(">f8")) == values).all()
    assert (network.evaluate(x.tolist()) == values).all()
    assert (network.evaluate(np.asfortranarray(x)) == values).all()
    assert network.evaluate([[1, 2]]).shape == (1, 3)


def test_evaluate_takes_read_only_arrays_without_a_warning():
    network, x = random_network(7, "stack"), np.ones((3, 2))
    x.setflags(write=False)
    before = torch.is_warn_always_enabled()
    torch.set_warn_always(True)  # torch warns only once per process otherwise
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            network.evaluate(x)
    finally:
        torch.set_warn_always(before)


def test_weights_are_frozen_until_asked_and_then_get_gradients():
    network = random_network(8, "mixed")
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert not network(points(8, 5)).requires_grad
    network.requires_grad_(True)
    network(points(8, 200)).square().sum().backward()
    gradients = [parameter.grad for parameter in network.parameters()]
    assert all(gradient is not None and torch.isfinite(gradient).all() for gradient in gradients)
    assert all(gradient.abs().max() > 0 for gradient in gradients[-2:])


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_the_function(kind):
    network = random_network(9, kind).requires_grad_(True)
    x = points(9, 12)
    x = x[torch.as_tensor(far_from_steps(network, x, 1e-4))]
    network(x).sin().sum().backward()
    with torch.no_grad():
        for parameter in network.parameters():
            flat, slopes = parameter.view(-1), parameter.grad.view(-1)
            for at in (0, flat.numel() // 2, flat.numel() - 1):
                kept, step = flat[at].item(), 1e-6
                flat[at] = kept + step
                above = network(x).sin().sum()
                flat[at] = kept - step
                below = network(x).sin().sum()
                flat[at] = kept
                assert (above - below).item() / (2 * step) == pytest.approx(slopes[at].item(), rel=1e-5, abs=1e-6)


def test_gradients_with_respect_to_the_input():
    network = random_network(10, "stack")
    x = points(10, 30).requires_grad_(True)
    values = network(x)
    assert values.requires_grad
    values.sum().backward()
    assert torch.isfinite(x.grad).all() and x.grad.abs().max() > 0
    with torch.no_grad():  # and no graph where none is wanted
        assert torch.equal(network(x), network(x.detach()))


def test_unknown_activations_run_on_torch():
    layers = [(np.eye(2), np.zeros(2), RadialActivation(torch.tanh)), (np.eye(2), np.zeros(2), None)]
    network = RadialNetwork.from_layers(layers)
    assert not network.compiled
    assert network.evaluate([[3.0, 4.0], [0.0, 0.0]]) == pytest.approx(np.tanh(5) * np.array([[0.6, 0.8], [0.0, 0.0]]))
    with pytest.raises(ValueError, match="engine='compiled'; required the package's activations"):
        network(torch.zeros(1, 2).double(), engine="compiled")

    class Softened(StepReLU):  # a subclass may change the rule, so it is not compiled
        def forward(self, v):
            return 0.5 * v

    soft = RadialNetwork.from_layers([(np.eye(2), np.zeros(2), Softened()), (np.eye(2), np.zeros(2), None)])
    assert soft.evaluate([[0.2, 0.4]]).tolist() == [[0.1, 0.2]]


@pytest.mark.parametrize("engine", ["compiled", "torch"])
def test_a_growing_run_without_a_layer_after_it(engine):
    run = Growing(torch.ones(2, 3, 2).double(), torch.zeros(2, 3).double(), StepReLU())
    network = RadialNetwork([run])
    assert (network.widths, network.compiled) == ((2, 3, 4), True)
    assert network(torch.ones(1, 2).double(), engine=engine).tolist() == [[4.0, 4.0, 4.0, 2.0]]


@pytest.mark.parametrize("kind", KINDS)
def test_state_dicts_round_trip(kind, tmp_path):
    network, other = random_network(11, kind), random_network(12, kind)
    x = points(11, 50)
    assert not torch.equal(other(x), network(x))
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    other.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    assert torch.equal(other(x), network(x))
    assert torch.equal(copy.deepcopy(network)(x), network(x))


@pytest.mark.parametrize("kind", KINDS)
def test_conversion_to_float32(kind):
    network = random_network(13, kind)
    x = points(13, 200)
    sure = far_from_steps(network, x, 1e-3)
    with pytest.warns(UserWarning, match=r"weights converted from torch.float64 to torch.float32"):
        small = copy.deepcopy(network).to(torch.float32)
    assert (small.dtype, small.widths) == (torch.float32, network.widths)
    assert all(p.dtype == torch.float32 for p in small.parameters()) and not any(
        p.requires_grad for p in small.parameters()
    )
    np.testing.assert_allclose(small.evaluate(x)[sure], network.evaluate(x)[sure], rtol=1e-3, atol=1e-4)
    with pytest.raises(TypeError, match=r"input torch.float64 on cpu; required a tensor of torch.float32"):
        small(x)


def test_blocks_own_their_weights():
    weight, bias = torch.eye(2).double(), torch.zeros(2).double()
    network = RadialNetwork([Dense(weight, bias)])
    weight[:] = 9.0
    assert network.evaluate([[1.0, 2.0]]).tolist() == [[1.0, 2.0]]


def test_what_a_network_says_of_itself():
    network = random_network(0, "growing")
    assert repr(network) == ("RadialNetwork(R^2 -> R^3, 7 hidden layers of widths 3..9, 310 parameters, float64)")
    assert "Growing  6       3 -> 9" in network.summary() and repr(network) in network.summary()
    single = RadialNetwork.from_layers([(np.eye(2, dtype=np.float32), np.zeros(2, dtype=np.float32), None)])
    assert repr(single) == "RadialNetwork(R^2 -> R^2, no hidden layer, 6 parameters, float32)"


EYE, ZERO, ONES = torch.eye(2).double(), torch.zeros(2).double(), torch.ones(3, 2, 2).double()


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: RadialNetwork([]), ValueError, "no blocks; required at least one layer"),
        (lambda: RadialNetwork([Dense(EYE, ZERO), Dense(EYE.float(), ZERO.float())]), ValueError, "several dtypes"),
        (lambda: RadialNetwork([Dense(EYE, ZERO), Dense(torch.ones(1, 3).double(), ZERO[:1])]), ValueError, "width 2"),
        (lambda: RadialNetwork([Dense(EYE[:1], ZERO[:1]), Stack(ONES, ONES[:, 0], None)]), ValueError, "Stack: .* 1"),
        (lambda: Dense(EYE, torch.zeros(3).double()), ValueError, r"weight of shape \(2, 2\) and bias of shape \(3,\)"),
        (lambda: Dense(ONES, ONES[:, 0]), ValueError, "weight with 2 axes"),
        (lambda: Dense(torch.ones(2, 0).double(), ZERO), ValueError, r"weight of shape \(2, 0\)"),
        (lambda: Dense(EYE, ZERO.float()), TypeError, "one real floating dtype"),
        (lambda: Dense(EYE.long(), ZERO.long()), TypeError, "one real floating dtype"),
        (lambda: Dense(EYE * torch.nan, ZERO), ValueError, "NaN or infinity in the weights"),
        (lambda: Dense(EYE, ZERO, torch.relu), TypeError, r"wrap a profile h, RadialActivation\(h\)"),
        (lambda: Dense(EYE, ZERO, "step_relu"), TypeError, r"received activation 'step_relu'; .*activation\(name\)"),
        (lambda: Stack(torch.ones(3, 2, 3).double(), ONES[:, 0], None), ValueError, "Stack: received width 3"),
        (lambda: Growing(ONES, ONES[:, 0], StepReLU()), ValueError, "Growing: received width 2"),
    ],
)
def test_networks_that_do_not_fit_are_refused(make, error, text):
    with pytest.raises(error, match=text):
        make()


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda net: net(np.zeros((1, 2))), TypeError, "input ndarray; required a tensor of torch.float64 on cpu"),
        (lambda net: net(torch.zeros(1, 2)), TypeError, "input torch.float32 on cpu"),
        (lambda net: net(torch.zeros(1, 3).double()), ValueError, r"input of shape \(1, 3\); required shape"),
        (lambda net: net(torch.tensor(1.0).double()), ValueError, r"input of shape \(\)"),
        (lambda net: net(torch.zeros(1, 2).double(), engine="gpu"), ValueError, "engine = 'gpu'; required one of auto"),
        (lambda net: net.partial(torch.zeros(1, 2).double(), -1), ValueError, "0 <= layers <= 8"),
        (lambda net: net.partial(torch.zeros(1, 2).double(), 9), ValueError, "0 <= layers <= 8"),
        (lambda net: net.partial(torch.zeros(1, 2).double(), 1.0), TypeError, "an integer"),
        (lambda net: net.evaluate([[1.0]]), ValueError, r"RadialNetwork.evaluate: received x of shape \(1, 1\)"),
        (lambda net: net.evaluate([[np.nan, 1.0]]), ValueError, "containing NaN"),
        (lambda net: net.evaluate([["a", "b"]]), TypeError, "real numbers"),
        (
            lambda net: net.requires_grad_(True)(torch.zeros(1, 2).double(), engine="compiled"),
            ValueError,
            r"wrap the call in torch.no_grad\(\)",
        ),
    ],
)
def test_calls_that_do_not_fit_are_refused(call, error, text):
    with pytest.raises(error, match=text):
        call(random_network(0, "stack"))


def test_step_relu_keeps_the_unit_sphere_on_both_engines():
    network = RadialNetwork.from_layers([(np.eye(2), np.zeros(2), StepReLU()), (np.eye(2), np.zeros(2), None)])
    x = torch.tensor([[1.0, 0.0], [0.0, -1.0], [np.nextafter(1.0, 0), 0.0]]).double()
    for engine in ("compiled", "torch"):
        assert network(x, engine=engine).tolist() == [[1.0, 0.0], [0.0, -1.0], [0.0, 0.0]]


def test_losing_digits_warns():
    with pytest.warns(UserWarning, match="needs the digits it was built with"):
        random_network(1, "dense").half()
