"""Radial-basis networks on all of R^n: what stays at infinity, bounded by formula and met by the network."""

import functools

import numpy as np
import pytest
import torch

from approx import targets
from approx.domains import WholeSpace
from constructions import radial_basis
from constructions.radial_basis import Layers, kernel, sweep
from constructions.radial_basis.tails import displacement, far_points, features_beyond

build = functools.partial(radial_basis.build, domain=WholeSpace(1), samples=2000)


def far(dim, radius, reach=1e9, count=4000):
    x = WholeSpace(dim).sample(2 * count, seed=3, scale=radius, reach=reach)
    return x[np.linalg.norm(x, axis=1) >= radius]


def layers_on_the_plane(name="shifted_relu", gain=100.0, count=8):
    rng = np.random.default_rng(0)
    known = kernel(name, gain)
    slopes = known.slopes(rng.uniform(0.4, 1.2, count))
    return Layers.of(known, rng.normal(size=(count, 2)), slopes, renormalise=False)


@pytest.mark.parametrize("name", ["shifted_relu", "radial_softplus", "radial_swish"])
def test_no_point_moves_further_than_the_bound(name):
    layers = layers_on_the_plane(name)
    bound = displacement(layers.kernel, layers.slopes)
    if name == "shifted_relu":
        assert bound == pytest.approx(1.01 / layers.slopes, rel=1e-3)  # b / K, rounded up by 1 %
    x = np.concatenate([far(2, 0.1, 1e6), np.random.default_rng(1).normal(size=(4000, 2))])
    moved = np.linalg.norm(sweep(layers, x)[1] - x, axis=1)
    assert moved.max() <= bound.sum()
    assert moved.max() >= 0.3 * bound.sum()


@pytest.mark.parametrize("name", ["shifted_relu", "radial_swish"])
def test_features_are_small_far_away_as_the_bound_says(name):
    layers = layers_on_the_plane(name)
    weights = np.random.default_rng(2).normal(size=(8, 3))
    for radius in (10.0, 100.0, 1e4):
        values = sweep(layers, far(2, radius))[0] @ weights
        bound = features_beyond(layers, weights, radius)
        assert np.linalg.norm(values, axis=1).max() <= bound
        aligned = sweep(layers, far(2, radius))[0] @ np.abs(weights)
        assert bound <= 4 * np.linalg.norm(aligned, axis=1).max() + 1e-300 or name == "radial_swish"
    assert features_beyond(layers, weights, 0.5) == np.inf


def test_far_points_lie_where_they_should():
    x = far_points(2, 3.0, 1000, 3e7)
    length = np.linalg.norm(x, axis=1)
    assert x.shape == (1000, 2)
    assert length.min() >= 3 * (1 - 1e-12)
    assert length.max() <= 3e7 * (1 + 1e-12)
    assert (length > 1e6).any()
    assert (length < 6).mean() > 0.2


@pytest.mark.parametrize(("name", "bound"), [("shifted_relu", 1e-8), ("radial_swish", 1e-9)])
def test_a_gaussian_on_the_whole_line(name, bound):
    built = build(targets.gaussian(dim=1), layers=40, activation=name)
    assert built.report.lower <= bound
    x = np.concatenate([np.linspace(-5, 5, 2001)[:, None], far(1, 5.0, 1e8)])
    error = np.abs(built.network.evaluate(x)[:, 0] - np.exp(-np.square(x[:, 0])))
    assert error.max() <= bound
    assert built.slope_error == 0
    outside = np.linalg.norm(x, axis=1) >= 1e3
    assert error[outside].max() <= built.beyond(1e3) + built.attainable
    assert built.beyond(1e12) <= 1e-6
    assert "beyond" in repr(built)


@pytest.mark.parametrize("name", ["shifted_relu", "radial_swish"])
def test_a_slope_at_infinity_passes_exactly_and_what_is_left_is_bounded(name):
    target = targets.affine_bump(dim=1)
    built = build(target, layers=30, activation=name)
    product = torch.eye(1, dtype=torch.float64)
    for weight, _, _ in built.network.layers():  # the chain of x-blocks
        product = weight[:1, :1] @ product
    assert product.item() == target.affine.matrix[0, 0]
    assert 0 < built.slope_error < 1e-3
    x = far(1, 1e4, 1e7)
    error = np.abs(built.network.evaluate(x) - target(x)).max()
    assert error <= built.beyond(1e4) + built.attainable + 1e-9
    assert built.report.lower < 2e-3
    assert "left of the slope" in repr(built)


def test_targets_without_an_asymptote_are_refused():
    with pytest.raises(ValueError, match="no affine part and tail"):
        radial_basis.build(targets.cone(dim=1), layers=10, domain=WholeSpace(1))
    compact = radial_basis.build(targets.gaussian(dim=1), layers=5, verify=False)
    with pytest.raises(ValueError, match=r"a network on R\^n"):
        compact.beyond(10.0)
