"""One layer at a time: what it does to a form holds for every vector that the form stands for."""

import numpy as np
import pytest
import torch
from flint import arb

from approx.activations import StepReLU, activation
from approx.certification._profiles import Profile
from approx.certification.forms import Form, Layers
from approx.networks import Dense, RadialNetwork
from tests.approx import arb_networks
from tests.approx.arb_networks import random_network

CASES = [case for case in arb_networks.CASES if case[0] not in ("step_relu", "radial_identity")]
KINDS = ("slopes alone", "errors alone", "both", "errors in a ball")


def random_forms(rng, dim, n, count, kind):
    scale = 10 ** rng.uniform(-2, 0.7, (2, count))
    terms = rng.normal(size=(1 + n, dim, count))
    terms[1:] *= scale[0] * (kind != "errors alone")
    error = rng.exponential(size=(dim, count)) * scale[1] * (kind != "slopes alone")
    ball = np.linalg.norm(error, axis=0) * (rng.uniform(0.2, 1, count) if kind == "errors in a ball" else 1 + 1e-12)
    return Form(terms, error, ball)


def members(rng, form, count):
    """xi (n, k) and vectors of the forms (d, k), most of them extreme."""
    n, dim, k = len(form.terms) - 1, *form.error.shape
    for _ in range(count):
        xi = rng.choice([-1.0, 1.0, -1.0, 1.0, 0.0, rng.uniform(-1, 1)], size=(n, k))
        delta = form.error * rng.choice([-1.0, 1.0, 0.0, rng.uniform(-1, 1)], size=(dim, k))
        length = np.linalg.norm(delta, axis=0)
        delta *= np.minimum(1.0, form.ball / np.where(length > 0, length, 1.0))
        yield xi, form.terms[0] + np.einsum("jdk,jk->dk", form.terms[1:], xi) + delta


def assert_holds(form, xi, values, slack=1e-12):
    rest = values - form.terms[0] - np.einsum("jdk,jk->dk", form.terms[1:], xi)
    slack = slack * (1 + np.abs(values) + np.abs(form.terms).sum(axis=0))
    known = np.isfinite(form.error)
    assert known.any() and not np.isnan(rest[known]).any()
    assert (np.abs(rest) <= form.error + slack)[known].all()
    known = np.isfinite(form.ball)
    assert (np.linalg.norm(rest, axis=0) <= form.ball + slack.sum(axis=0))[known].all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("name", "parameters"), CASES)
def test_radial_layers(name, parameters, kind):
    rng = np.random.default_rng(0)
    rho = activation(name, **parameters)
    layers, profile = Layers(random_network(name, parameters, [1, 1]), "test"), Profile.of(rho, "test")
    for dim, n in ((1, 1), (2, 1), (3, 2), (6, 3), (3, 9)):
        form = random_forms(rng, dim, n, 150, kind)
        with np.errstate(all="ignore"):
            after = layers._activate(profile, form)
        for xi, vectors in members(rng, form, 20):
            assert_holds(after, xi, rho(torch.from_numpy(vectors.T.copy())).numpy().T)


@pytest.mark.parametrize("kind", KINDS)
def test_affine_layers(kind):
    rng = np.random.default_rng(1)
    for dim, n, out in ((1, 1, 1), (3, 2, 2), (5, 1, 8)):
        network = RadialNetwork([Dense(rng.normal(size=(out, dim)), rng.normal(size=out))])
        layers = Layers(network, "test")
        form = random_forms(rng, dim, n, 50, kind)
        after = layers._affine(layers.stored[0], form)
        for xi, vectors in members(rng, form, 40):
            assert_holds(after, xi, network.evaluate(vectors.T).T)


def exact_distance(values, form):
    """Euclidean distances of vectors of arb from the centres, and the largest excess over the componentwise errors."""
    pairs = zip(values, form.terms[0].T.tolist(), form.error.T.tolist(), form.ball.tolist(), strict=True)
    for vector, center, error, ball in pairs:
        gaps = [abs(v - arb(c)) for v, c in zip(vector, center, strict=True)]
        assert not any(gap > e for gap, e in zip(gaps, error, strict=True))
        assert not sum((gap * gap for gap in gaps), arb(0)).sqrt() > ball


def test_rounding_of_affine_layers():
    """In coordinates and in norm, against ball arithmetic: a tenth of the sums would be off without it."""
    rng = np.random.default_rng(2)
    for dtype in (torch.float64, torch.float32):
        network = random_network("squashing", {}, [7, 5], 1, dtype)
        layers = Layers(network, "test")
        points = rng.normal(size=(100, 7)).astype(np.float32).astype(np.float64)
        form = Form(np.concatenate([points.T[None], np.zeros((1, 7, 100))]), np.zeros((7, 100)), np.zeros(100))
        after = layers._affine(layers.stored[0], form)
        exact_distance([arb_networks.value(arb_networks.layers_of(network), x) for x in points.tolist()], after)
        computed = network.evaluate(points).T
        assert_holds(after, np.zeros((1, 100)), computed, slack=0)


@pytest.mark.parametrize(("name", "parameters"), CASES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_computed_values_of_radial_layers(name, parameters, dtype):
    """The activation as torch computes it, without the rounding of affine layers that would hide its own."""
    rng = np.random.default_rng(3)
    rho, layers = activation(name, **parameters), Layers(random_network(name, parameters, [1, 1], dtype=dtype), "test")
    for dim in (1, 2, 5, 16):
        vectors = rng.normal(size=(2000, dim)) * 10 ** rng.uniform(-4, 2, (2000, 1))
        tensor = torch.from_numpy(vectors).to(dtype)
        terms = np.zeros((2, dim, 2000))
        terms[0] = tensor.double().numpy().T
        form = Form(terms, np.zeros((dim, 2000)), np.zeros(2000))
        with np.errstate(all="ignore"):
            after = layers._activate(Profile.of(rho, "test"), form)
        assert_holds(after, np.zeros((1, 2000)), rho(tensor).double().numpy().T, slack=0)
        scale = np.linalg.norm(after.terms[0], axis=0) + np.abs(parameters.get("shift", 0.0)) + 1e-3
        assert (after.error < 2e4 * layers.unit * scale).mean() > 0.9


def test_steps_of_single_precision_near_their_threshold():
    """Where |v| is 1 to a few units of rounding, whatever torch does is in one of the forms."""
    rng = np.random.default_rng(4)
    directions = rng.normal(size=(3000, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    points = (directions * (1 + rng.integers(-4, 5, (3000, 1)) * 2.0**-25)).astype(np.float32).astype(np.float64)
    eye, zero = torch.eye(3), torch.zeros(3)
    network = RadialNetwork([Dense(eye, zero, StepReLU())])
    values, found = network.evaluate(points), np.zeros(3000, bool)
    assert 0 < values.any(axis=1).sum() < 3000
    for rows, form in Layers(network, "test")(points.T, np.zeros((3, 3000))):
        found[rows] |= (np.abs(values[rows].T - form.terms[0]) <= form.error).all(axis=0)
    assert found.all()


def test_points_are_rounded_to_single_precision_first():
    layers = Layers(random_network("squashing", {}, [2, 1], dtype=torch.float32), "test")
    layers.stored = []
    points = np.random.default_rng(5).normal(size=(500, 2)) * 10 ** np.linspace(-3, 3, 500)[:, None]
    ((_, form),) = layers(points.T, np.zeros((2, 500)))
    rounded = np.abs(points.astype(np.float32).astype(np.float64) - points).T
    assert (rounded > 0).mean() > 0.9 and (rounded <= form.error).all()
