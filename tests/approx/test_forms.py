"""Taylor forms of networks: values in ball arithmetic and in floating point never escape, and they are narrow."""

import numpy as np
import pytest
import torch
from flint import arb, ctx

from approx.activations import RadialActivation, StepReLU, activation
from approx.certification.forms import Layers
from approx.networks import Dense, Growing, RadialNetwork, Stack
from tests.approx import arb_networks
from tests.approx.arb_networks import CASES, random_network


@pytest.fixture(autouse=True)
def precision():
    before, ctx.prec = ctx.prec, 300
    yield
    ctx.prec = before


def ranges(network, center, radius):
    """Bounds (k, m) of the network on boxes, from the definition of a form."""
    low, high = np.full((2, len(center), network.dim_out), -np.inf)
    low = -low
    for rows, form in Layers(network, "test")(center.T, np.broadcast_to(radius, center.shape).T):
        reach = np.abs(form.terms[1:]).sum(axis=0) + form.error
        reach += 1e-15 * (np.abs(form.terms[0]) + reach)
        reach = np.where(np.isnan(reach), np.inf, reach)
        middle = np.where(np.isnan(form.terms[0]), 0.0, form.terms[0])
        low[rows] = np.minimum(low[rows], (middle - reach).T)
        high[rows] = np.maximum(high[rows], (middle + reach).T)
    return low, high


def shapes(seed):
    """Widths 1..16, depths 1..5, n and m 1..3."""
    rng = np.random.default_rng(seed)
    widths = [int(w) for w in rng.integers(1, 17, int(rng.integers(0, 5)))]
    return [int(rng.integers(1, 4)), *widths, int(rng.integers(1, 4))]


@pytest.mark.parametrize(("name", "parameters"), CASES)
def test_points_hold_the_exact_and_the_computed_values(name, parameters):
    for seed in range(12):
        dtype = (torch.float64, torch.float32)[seed % 2]
        network = random_network(name, parameters, shapes(seed), seed, dtype, gain=(1.0, 2.0, 0.3)[seed % 3])
        x = np.random.default_rng(seed).normal(size=(20, network.dim_in)) * (1.0 if seed % 4 else 30.0)
        low, high = ranges(network, x, 0.0)
        layers = arb_networks.layers_of(network)
        for point, lo, hi in zip(x.tolist(), low.tolist(), high.tolist(), strict=True):
            for exact, a, b in zip(arb_networks.value(layers, point), lo, hi, strict=True):
                assert not (exact < a or exact > b), (name, seed, point)
        for values in (network.evaluate(x), np.stack([network.evaluate(point) for point in x])):
            assert ((low <= values) & (values <= high)).all(), (name, seed)
        unit = 2.0**-53 if dtype == torch.float64 else 2.0**-24
        if name != "step_relu":
            assert np.median((high - low) / (1 + np.abs(high))) < 4e4 * unit


@pytest.mark.parametrize(("name", "parameters"), CASES)
def test_boxes_hold_the_values_inside(name, parameters):
    for seed in range(24):
        dtype = (torch.float64, torch.float32)[seed % 2]
        network = random_network(name, parameters, shapes(seed + 100), seed, dtype)
        n, rng = network.dim_in, np.random.default_rng(seed)
        center, radius = rng.normal(size=(40, n)), 10 ** rng.uniform(-5, 0.5, (40, n))
        low, high = ranges(network, center, radius)
        corners = rng.choice([-1.0, 1.0], size=(40, 60, n))
        inside = rng.uniform(-1, 1, (40, 60, n))
        for steps in (corners, inside):
            values = network.evaluate(center[:, None] + radius[:, None] * steps * (1 - 1e-15))
            assert ((low[:, None] <= values) & (values <= high[:, None])).all(), (name, seed)
        layers = arb_networks.layers_of(network)
        for k in range(0, 40, 8):
            x = (center[k] + radius[k] * inside[k, 0]).tolist()
            for exact, a, b in zip(arb_networks.value(layers, x), low[k].tolist(), high[k].tolist(), strict=True):
                assert not (exact < a or exact > b), (name, seed, k)


def test_values_that_cross_the_kinks_and_jumps():
    """Mixed activations, whose thresholds run through every box, and vectors through 0."""
    rng = np.random.default_rng(5)
    kinds = [StepReLU(), activation("shifted_relu", shift=0.3), activation("squashing"), activation("radial_sigmoid")]
    for seed in range(40):
        rhos = [kinds[i] for i in rng.integers(0, 4, 3)]
        widths = [2, 3, 2, 3, 1]
        layers = [
            (rng.normal(size=(b, a)) / a**0.5, rng.normal(size=b) * 0.1 * (seed % 3), rho)
            for a, b, rho in zip(widths, widths[1:], [*rhos, None], strict=False)
        ]
        network = RadialNetwork.from_layers(layers)
        center, radius = rng.normal(size=(30, 2)) * 0.3, 10 ** rng.uniform(-2, 0.3, (30, 1))
        low, high = ranges(network, center, radius)
        x = center[:, None] + radius[:, None] * rng.uniform(-1, 1, (30, 300, 2))
        x[:, 0] = 0.0 * x[:, 0] + np.clip(0.0, center - radius, center + radius)
        values = network.evaluate(x)
        assert ((low[:, None] <= values) & (values <= high[:, None])).all(), seed


@pytest.mark.parametrize("name", ["radial_swish", "squashing", "rational_squash", "shifted_sigmoid"])
def test_forms_are_second_order_accurate(name):
    """Ten times smaller boxes: the excess over the sampled range shrinks a hundredfold."""
    network = random_network(name, {}, [2, 8, 8, 1], 3)
    center = np.random.default_rng(0).uniform(-1, 1, (50, 2))
    x = np.random.default_rng(1).uniform(-1, 1, (400, 2))
    x[:4] = [[1, 1], [1, -1], [-1, 1], [-1, -1]]
    excess = []
    for radius in (1e-2, 1e-3):
        low, high = ranges(network, center, radius)
        values = network.evaluate(center[:, None] + radius * x)
        excess.append(np.median(((high - low) - (values.max(axis=1) - values.min(axis=1)))[:, 0]))
    assert 0 < excess[1] < excess[0] / 60


def test_correlations_between_layers_are_kept():
    """x and -x, taken apart and put together again by an orthogonal map, cancel but for rounding."""
    wide = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]).double()
    back = torch.tensor([[1.0, 0.0, 1.0]]).double()
    network = RadialNetwork([Dense(wide, torch.zeros(3).double(), activation("radial_swish")),
                             Dense(back, torch.zeros(1).double())])  # fmt: skip
    low, high = ranges(network, np.array([[0.5, 1.0]]), 0.1)
    assert (low <= 0).all() and (high >= 0).all() and (high - low < 0.02).all()


def test_ranges_stay_bounded_where_the_profile_is():
    for name in ("squashing", "rational_squash", "radial_sigmoid"):
        network = random_network(name, {}, [2, 8, 8, 1], 1)
        low, high = ranges(network, np.zeros((1, 2)), 1e9)
        reach = float(network.blocks[-1].weight.norm(dim=1).max()) * 8**0.5
        assert (np.abs(np.stack([low, high]) - network.blocks[-1].bias.numpy()) <= reach * 1.01).all()


def test_overflow_is_no_bound():
    one, zero = torch.ones(1, 1).double(), torch.zeros(1).double()
    swish = activation("radial_swish")
    for dtype, large in ((torch.float64, 1e200), (torch.float32, 1e30)):
        network = RadialNetwork([Dense((one * large).to(dtype), zero.to(dtype), swish) for _ in range(2)])
        low, high = ranges(network, np.array([[1.0], [0.0]]), 1e-3)
        assert not np.isfinite(low).any() and not np.isfinite(high).any()
        assert not np.isfinite(ranges(network, np.array([[1.0]]), 0.0)).any()
        grounded = RadialNetwork([*network.blocks, Dense(one.to(dtype), zero.to(dtype), activation("squashing"))])
        low, high = ranges(grounded, np.array([[0.0]]), 1e-3)
        assert not np.isfinite(high).all() or high[0, 0] >= 1  # never less than the values can be


def test_stored_runs_of_layers():
    rng = np.random.default_rng(0)
    rho = activation("radial_swish")
    network = RadialNetwork(
        [
            Stack(rng.normal(size=(3, 2, 2)), rng.normal(size=(3, 2)), rho),
            Growing(rng.normal(size=(2, 3, 2)), rng.normal(size=(2, 3)), rho),
            Dense(rng.normal(size=(1, 4)), rng.normal(size=1)),
        ]
    )
    center = rng.normal(size=(20, 2))
    low, high = ranges(network, center, 0.05)
    values = network.evaluate(center[:, None] + 0.05 * rng.uniform(-1, 1, (20, 200, 2)))
    assert ((low[:, None] <= values) & (values <= high[:, None])).all()
    assert np.median(high - low) < 3 * np.median(values.max(axis=1) - values.min(axis=1))


def test_many_dimensions():
    network = random_network("squashing", {}, [12, 10, 2], 2)
    center = np.random.default_rng(0).normal(size=(10, 12))
    low, high = ranges(network, center, 0.02)
    values = network.evaluate(center[:, None] + 0.02 * np.random.default_rng(1).choice([-1.0, 1.0], (10, 500, 12)))
    assert ((low[:, None] <= values) & (values <= high[:, None])).all()


def test_trained_shifts_are_read():
    rho = activation("shifted_relu", shift=0.1, trainable=True)
    network = RadialNetwork([Dense(torch.ones(1, 1).double(), torch.zeros(1).double(), rho)])
    with torch.no_grad():
        rho.shift += 0.4
    low, high = ranges(network, np.array([[2.0]]), 0.0)
    assert low[0, 0] <= 1.5 <= high[0, 0] and high[0, 0] - low[0, 0] < 1e-13


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: "a network", TypeError, "a RadialNetwork"),
        (lambda: random_network("squashing", {}, [1, 2, 1]).to(torch.bfloat16), ValueError, "float64 or torch.float32"),
        (lambda: random_network("squashing", {}, [1, 5000, 5000, 1]), ValueError, "at most 20,000,000"),
        (
            lambda: RadialNetwork([Dense(torch.ones(1, 1), torch.zeros(1), RadialActivation(torch.tanh))]),
            ValueError,
            "interval_h",
        ),
    ],
)
def test_networks_that_are_refused(make, error, text):
    with pytest.warns(UserWarning) if "float32" in text else pytest.MonkeyPatch.context():
        network = make()
    with pytest.raises(error, match=text):
        Layers(network, "test")


def test_arb_oracle_agrees_with_the_network():
    network = random_network("radial_softplus", {"shift": 0.5}, [2, 4, 3, 2], 0)
    value = arb_networks.value(arb_networks.layers_of(network), [0.3, -0.2])
    assert [float(v) for v in value] == pytest.approx(network.evaluate([0.3, -0.2]).tolist(), abs=1e-13)
    assert isinstance(value[0], arb)
