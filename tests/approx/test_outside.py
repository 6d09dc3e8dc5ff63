"""Networks outside a cube, up to infinity: exact values in ball arithmetic lie within the bounds, and near them."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from flint import arb, ctx

import approx
import constructions
from approx import targets
from approx.activations import RadialActivation, activation
from approx.certification import GlobalBoundUnavailable, certify
from approx.certification.forms import Layers
from approx.certification.outside import Outside, _Dyadic
from approx.domains import Box, WholeSpace
from approx.networks import RadialNetwork
from tests.approx.arb_networks import CASES, bounded_network, far_value, layers_of, random_network, value

SMOOTH = [case for case in CASES if case[0] not in ("step_relu", "radial_identity")]
LINE, PLANE = WholeSpace(1), WholeSpace(2)


@pytest.fixture(autouse=True)
def precision():
    before, ctx.prec = ctx.prec, 300
    yield
    ctx.prec = before


def directions(rng, count, n, farthest):
    """Boxes (X_j, t) with t from 0 or from some number on, and dyadic points in them with t > 0."""
    middle, radius = rng.uniform(-0.5, 0.5, (count, n)), 2.0 ** rng.integers(-8, -1, (count, 1)) * np.ones((1, n))
    lower, upper = middle - radius, middle + radius
    lower[:, -1] = np.where(np.arange(count) % 3 == 0, 0.0, farthest * rng.random(count))
    upper[:, -1] = lower[:, -1] + farthest * 2.0 ** rng.integers(-12, 1, count)
    points = lower + rng.integers(0, 5, (count, n)) / 4 * (upper - lower)
    points[:, -1] = np.maximum(points[:, -1], upper[:, -1] * 2.0**-60)
    return lower, upper, np.clip(points, lower, upper)


@pytest.mark.parametrize(("name", "parameters"), SMOOTH)
@pytest.mark.parametrize("n", [1, 2, 3])
def test_exact_values_lie_within(name, parameters, n):
    rng = np.random.default_rng(n)
    widths = [n, 4, 3, 2]
    bounded = activation(name, **parameters).h(torch.tensor([1e9])) < 2
    network = random_network(name, parameters, widths, seed=n) if bounded else bounded_network(name, parameters, n, n)
    offset = np.array([0.25, -1.0])
    outside = Outside(Layers(network, "test"), approx.AffineMap.constant(offset, n))
    lower, upper, points = directions(rng, 18, n, 0.125)
    for axis in range(n):
        face = outside._facing(axis, 1.0 if axis % 2 else -1.0)
        low, high = face.range(lower, upper)
        narrow = upper[:, -1] - lower[:, -1] < 0.01
        assert np.isfinite(high[narrow]).mean() > 0.6
        for k in range(len(points)):
            for j, number in enumerate(far_value(network, points[k], axis, face.side)):
                assert number - arb(offset[j]) > arb(low[k, j]) - arb(2) ** -200, (k, j)
                assert number - arb(offset[j]) < arb(high[k, j]) + arb(2) ** -200, (k, j)


def test_bounds_are_near_what_they_bound():
    network = bounded_network("shifted_relu", {"shift": 0.8}, 2, 7)
    outside = Outside(Layers(network, "test"), approx.AffineMap.constant(np.zeros(2), network.dim_in))
    lower, upper = np.array([[0.25, 0.0]]), np.array([[0.28125, 0.015625]])
    low, high = outside.range(lower, upper)
    grid = [np.array([a, t]) for a in np.linspace(0.25, 0.28125, 5) for t in np.linspace(2.0**-40, 0.015625, 9)]
    values = np.array([[float(c.mid()) for c in far_value(network, point, 0, 1.0)] for point in grid])
    spread = values.max(axis=0) - values.min(axis=0)
    assert (high[0] - low[0] < 1.5 * spread + 1e-9).all() and (spread > 1e-4).all()


def test_infinity_is_a_limit():
    network = bounded_network("radial_softplus", {"shift": 1.0}, 1, 3)
    outside = Outside(Layers(network, "test"), approx.AffineMap.constant(np.zeros(2), network.dim_in))
    low, high = outside.range(np.zeros((1, 1)), np.zeros((1, 1)))
    far = far_value(network, np.array([2.0**-200]), 0, 1.0)
    assert (high - low < 1e-12).all()
    assert all(abs(float(c.mid()) - low[0, j]) < 1e-12 for j, c in enumerate(far))


@pytest.mark.parametrize("name", ["shifted_relu", "radial_swish", "radial_softplus"])
def test_a_gaussian_on_the_whole_line(name):
    target = targets.gaussian(dim=1)
    built = constructions.build(target, builder="radial_basis", layers=16, activation=name, domain=LINE)
    report = built.report
    assert report.claim == "certified" and report.domain == LINE
    assert report.lower <= report.upper < 1.3 * report.lower + 1e-8
    x = np.concatenate([np.linspace(-40, 40, 4001), np.geomspace(1, 1e9, 400), -np.geomspace(1, 1e9, 400)])[:, None]
    errors = np.abs(built.network.evaluate(x) - target(x)).max()
    assert 0.5 * report.lower < errors <= report.upper + 1e-12
    assert "up to infinity" in str(report)


def test_a_gaussian_on_the_plane_meets_its_tolerance():
    target = targets.gaussian()
    built = constructions.build(target, builder="radial_basis", layers=60, domain=PLANE, prove=False)
    eps = 1.2 * built.report.lower
    proof = certify(built, eps=eps, max_seconds=60)
    assert proof.proves(eps) and proof.claim == "certified"
    refuted = certify(built, eps=0.5 * built.report.lower, max_seconds=60)
    assert refuted.refutes(0.5 * built.report.lower)


def test_a_limit_that_is_wrong_is_seen():
    """Another constant at infinity: nowhere near the origin is the error so large."""
    target = targets.gaussian(dim=1)
    built = constructions.build(target, builder="radial_basis", layers=16, domain=LINE, prove=False)
    weight, bias, _ = list(built.network.layers())[-1]
    layers = [*list(built.network.layers())[:-1], (weight, bias + 0.125, None)]
    proof = certify(RadialNetwork.from_layers(layers), target, LINE)
    assert 0.124 < proof.upper < 0.13


def test_a_bounded_activation_and_a_vector_valued_target():
    network = random_network("squashing", {}, [1, 3, 2], seed=5)
    zero = targets.Target(
        fn=lambda x: np.concatenate([0 * x, 0 * x], axis=1),
        dim_in=1,
        dim_out=2,
        domain=Box.cube(1, 3.0),
        affine=approx.AffineMap.constant([0.0, 0.0], 1),
        tail=lambda radius: 0.0,
    )
    proof = certify(network, zero, LINE, tol=1e-3)
    x = np.concatenate([np.linspace(-10, 10, 4001), np.geomspace(10, 1e8, 200), -np.geomspace(10, 1e8, 200)])[:, None]
    largest = np.linalg.norm(network.evaluate(x), axis=1).max()
    assert largest <= proof.upper < largest + 0.02


def test_what_has_no_bound_at_infinity_is_refused():
    target = targets.gaussian(dim=1)
    built = constructions.build(target, builder="radial_basis", layers=5, domain=LINE, prove=False)
    layers = list(built.network.layers())
    weight = layers[-1][0].clone()
    weight[0, 0] = 1e-300
    growing = RadialNetwork.from_layers([*layers[:-1], (weight, layers[-1][1], None)])
    with pytest.raises(GlobalBoundUnavailable, match="slope at infinity is not exactly"):
        certify(growing, target, LINE)
    own = RadialActivation(torch.tanh)
    own.interval_h = np.tanh
    with pytest.raises(GlobalBoundUnavailable, match="not the package's"):
        certify(RadialNetwork.from_layers([(*layers[0][:2], own), (weight, layers[-1][1], None)]), target, LINE)
    jumping = [(*layers[0][:2], activation("step_relu")), *layers[1:]]
    with pytest.raises(GlobalBoundUnavailable, match="jump"):
        certify(RadialNetwork.from_layers(jumping), target, LINE)
    with pytest.raises(GlobalBoundUnavailable, match="slope at infinity is not exactly"):
        certify(built.network, targets.get("affine_bump", dim=1), LINE)


@pytest.mark.parametrize("name", ["shifted_relu", "radial_swish"])
def test_a_slope_at_infinity(name):
    """F - L and L itself are known exactly: ball arithmetic at |x| up to 2^60 confirms the bound."""
    target = targets.get("affine_bump", dim=1)
    built = constructions.build(target, builder="radial_basis", layers=14, activation=name, domain=LINE)
    assert built.report.claim == "certified" and built.report.upper < 1.5 * built.report.lower
    slope, offset = target.affine.matrix[0, 0], target.affine.offset[0]
    for x in np.concatenate([-np.geomspace(8, 2.0**60, 12), np.geomspace(8, 2.0**60, 12)]).tolist():
        (exact,) = value(layers_of(built.network), [x])
        gap = exact - (arb(slope) * arb(x) + arb(offset))
        assert abs(gap) < built.report.upper


def test_slopes_are_products_without_rounding():
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(3, 4)) * 10.0 ** rng.integers(-9, 9, (3, 4)), rng.normal(size=(4, 2))
    product = _Dyadic.of(one) @ _Dyadic.of(other)
    for i, j in np.ndindex(3, 2):
        exact = sum(Fraction(a) * Fraction(b) for a, b in zip(one[i].tolist(), other[:, j].tolist(), strict=True))
        assert Fraction(int(product.integers[i, j])) * Fraction(2) ** product.exponent == exact
        assert abs(Fraction(product.rounded()[i, j].item()) - exact) <= abs(exact) * Fraction(2) ** -52
    assert product == _Dyadic.of(4 * one) @ _Dyadic.of(other / 4) and product != _Dyadic.of(one) @ _Dyadic.of(2 * other)
    assert not _Dyadic.of(np.zeros((2, 2))).nonzero and _Dyadic.of(np.zeros((2, 2))) == _Dyadic.of(np.zeros((2, 2)))
    tiny = _Dyadic.of(np.array([[2.0**-1074]]))
    assert (tiny @ tiny).nonzero and (tiny @ tiny).rounded() == 0
    huge = _Dyadic.of(np.array([[2.0**1000]]))
    assert (huge @ huge).rounded() == np.inf
