"""Taylor models of networks: exact values in ball arithmetic and computed values lie within them, and closely."""

import numpy as np
import pytest
import torch
from flint import ctx

import constructions
from approx import targets
from approx.activations import RadialActivation, activation
from approx.certification import certify, enclosure_of
from approx.certification._profiles import Profile
from approx.certification._series import Basis
from approx.certification.dense import Difference
from approx.certification.forms import Layers
from approx.certification.models import DEGREES, Models
from approx.certification.taylor import Taylor
from approx.domains import Box
from approx.networks import RadialNetwork
from tests.approx.arb_networks import CASES, layers_of, random_network, value
from tests.approx.test_taylor import escapes

SMOOTH = [case for case in CASES if case[0] != "step_relu"]


@pytest.fixture(autouse=True)
def precision():
    before, ctx.prec = ctx.prec, 300
    yield
    ctx.prec = before


def boxes(rng, count, n, dtype=np.float64):
    """Boxes of all sizes and points in them, both exact in the dtype."""
    middle = rng.uniform(-2, 2, (count, n)).astype(dtype).astype(float)
    radius = 2.0 ** rng.integers(-16, 0, (count, 1)) * (rng.random((count, n)) > 0.1)
    u = rng.integers(-4, 5, (count, n)) / 4
    return middle, radius, np.clip((middle + u * radius).astype(dtype).astype(float), middle - radius, middle + radius)


@pytest.mark.parametrize(("name", "parameters"), SMOOTH)
@pytest.mark.parametrize("n", [1, 2, 3])
def test_networks_of_every_activation(name, parameters, n):
    rng = np.random.default_rng(n)
    network = random_network(name, parameters, [n, 4, 3, 2], seed=n)
    models = Models(Layers(network, "test"))
    middle, radius, points = boxes(rng, 40, n)
    found = models(Taylor.variables(models.basis, middle, radius))
    assert found.shape == (40, 2) and np.isfinite(found.error).any()
    stored = layers_of(network)
    for k in range(40):
        exact = value(stored, points[k].tolist())
        for j in range(2):
            if np.isfinite(found.error[k, j]):
                box = middle[k].tolist(), radius[k].tolist()
                assert not escapes(found[:, j], k, *box, points[k].tolist(), exact[j]), (name, k)


@pytest.mark.parametrize(("name", "parameters"), SMOOTH)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_computed_values(name, parameters, dtype):
    """What the network computes in its dtype, at the points themselves: nothing but rounding is allowed for."""
    rng = np.random.default_rng(4)
    network = random_network(name, parameters, [2, 6, 5, 1], seed=2, dtype=dtype)
    models = Models(Layers(network, "test"))
    middle = rng.normal(size=(2000, 2)) * 10 ** rng.uniform(-2, 1.5, (2000, 1))
    found = models(Taylor.variables(models.basis, middle, np.zeros((2000, 2))))
    values = network.evaluate(middle)
    known = np.isfinite(found.error)
    assert known.mean() > 0.9
    gap = np.abs(values - found.terms[0])
    assert (gap <= found.error)[known].all()
    assert np.median(found.error) < 3e3 * models.layers.unit


@pytest.mark.parametrize(("name", "parameters"), SMOOTH)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_computed_values_of_one_activation(name, parameters, dtype):
    """The activation as torch computes it, without the rounding of affine layers that would hide its own."""
    rng = np.random.default_rng(5)
    rho, models = (
        activation(name, **parameters),
        Models(Layers(random_network(name, parameters, [1, 1], dtype=dtype), "t")),
    )
    if name == "radial_identity":
        return
    for dim in (1, 2, 5, 16):
        vectors = rng.normal(size=(1000, dim)) * 10 ** rng.uniform(-1, 2, (1000, 1))
        tensor = torch.from_numpy(vectors).to(dtype)
        terms = np.zeros((len(models.basis), dim, 1000))
        terms[0] = tensor.double().numpy().T
        with np.errstate(all="ignore"):
            after, error = models._activate(Profile.of(rho, "test"), terms, np.zeros((dim, 1000)))
        gap = np.abs(rho(tensor).double().numpy().T - after[0])
        assert (gap <= error).all() and np.isfinite(error).mean() > 0.8


def test_rounding_of_sums_that_cancel():
    """Sums of float32 in any order: the bound holds them, and is not many times larger."""
    rng = np.random.default_rng(6)
    for used in (1, 2, 3, 8):
        weight = rng.normal(size=(40, 8)).astype(np.float32) * 10 ** rng.uniform(-3, 3, (40, 8)).astype(np.float32)
        weight[:, used:] = 0
        bias = -weight.astype(float).sum(axis=1).astype(np.float32)
        network = RadialNetwork.from_layers([(torch.from_numpy(weight), torch.from_numpy(bias), None)])
        models = Models.__new__(Models)
        models.layers, models.basis = Layers(network, "test"), Basis.of(1, 1)
        points = 1 + rng.integers(-2, 3, (500, 8)) * 2.0**-20
        terms = np.zeros((2, 8, 500))
        terms[0] = points.T
        after, error = models._affine(models.layers.stored[0], terms, np.zeros((8, 500)))
        w, x, b = torch.from_numpy(weight), torch.from_numpy(points.astype(np.float32)), torch.from_numpy(bias)
        in_order = torch.zeros(500, 40)
        for j in range(8):
            in_order = in_order + x[:, j, None] * w[:, j]
        bias_first = b.expand(500, 40)
        for j in range(8):
            bias_first = bias_first + x[:, j, None] * w[:, j]
        largest = 0.0
        for computed in (x @ w.T + b, torch.addmm(b, x, w.T), in_order + b, bias_first):
            gap = np.abs(computed.double().numpy().T - after[0])
            assert (gap <= error).all()
            largest = np.maximum(largest, (gap / error).max())
        assert largest > 0.03


def test_where_there_are_models():
    target = targets.gaussian(dim=2)
    for network, expected in (
        (random_network("radial_swish", {}, [2, 3, 1]), True),
        (random_network("step_relu", {}, [2, 3, 1]), False),
    ):
        assert (Difference(network, enclosure_of(target)).models is not None) == expected
    four = max(DEGREES) + 1
    assert (
        Difference(random_network("radial_swish", {}, [four, 3, 1]), enclosure_of(targets.gaussian(dim=four))).models
        is None
    )
    lifted = targets.from_numpy(lambda x: np.exp2(x[:, 0]), 2, domain=Box.cube(2, 1.0))  # intervals know it, models not
    assert Difference(random_network("radial_swish", {}, [2, 3, 1]), enclosure_of(lifted)).models is None


def test_a_box_where_the_target_is_undefined():
    target = targets.from_numpy(lambda x: np.sqrt(x[:, 0]), 1, domain=Box([0.0], [1.0]))
    difference = Difference(random_network("radial_swish", {}, [1, 3, 1]), enclosure_of(target))
    low, high = difference.range(np.array([[-2.0], [0.5]]), np.array([[-1.0], [0.6]]))
    assert low[0] == -np.inf and high[0] == np.inf and high[1] - low[1] < 1


def test_a_profile_of_the_caller():
    rho = RadialActivation(torch.tanh)
    rho.interval_h = np.tanh
    one = torch.ones(1, 1).double()
    network = RadialNetwork.from_layers([(2 * one, 3 * one[0], rho), (one, 0 * one[0], None)])
    target = targets.from_numpy(lambda x: np.tanh(2 * x[:, 0] + 3), 1, domain=Box.cube(1, 1.0))
    report = certify(network, target, tol=1e-12)
    assert report.upper < 1e-12 and report.claim == "certified on condition"


@pytest.mark.parametrize(("activation", "layers"), [("shifted_relu", 20), ("radial_swish", 16)])
def test_radial_basis_networks_are_certified_closely(activation, layers):
    """Weights that cancel each other to a part in 10^10: the bound is near the error all the same."""
    built = constructions.build(
        targets.gaussian(dim=1), builder="radial_basis", layers=layers, activation=activation, samples=4000
    )
    assert built.report.lower < 2e-6
    proof = certify(built.network, built.target, built.domain, max_seconds=20, tol=0.2 * built.report.lower)
    assert proof.claim == "certified"
    assert built.report.lower <= proof.upper <= 2 * built.report.lower
    check = proof.recheck()
    assert check.holds


def test_two_dimensions_and_forms_alone():
    """Sixty layers for a Gaussian: models see it, forms do not."""
    target = targets.gaussian(dim=2)
    built = constructions.build(target, builder="radial_basis", layers=60, samples=2000)
    difference = Difference(built.network, enclosure_of(target))
    rng = np.random.default_rng(7)
    lower = rng.uniform(-3, 2.9, (30, 2))
    low, high = difference.range(lower, lower + 0.1)
    for _ in range(20):
        points = lower + 0.1 * rng.random((30, 2))
        rest = built.network.evaluate(points) - target(points)
        assert ((low <= rest) & (rest <= high)).all()
    narrow = np.median(high - low)
    difference.models = None
    low, high = difference.range(lower, lower + 0.1)
    assert np.median(high - low) > 100 * narrow
