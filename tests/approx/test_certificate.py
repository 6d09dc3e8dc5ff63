"""The second opinion confirms true certificates and contradicts forged ones."""

import itertools
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from flint import arb

import constructions
from approx import Box, certify, targets
from approx.activations import activation, activation_names
from approx.certification import local_bounds
from approx.certification._arb import ArbArray, forward, precision
from approx.networks import RadialNetwork


@pytest.fixture(scope="module")
def report():
    return certify(constructions.build(targets.peaks(), 0.5, verify=False))


@pytest.mark.parametrize("builder", ["widening", "constant_width", "narrow", "minimal"])
def test_certificates_hold(builder):
    target = targets.swirl()
    built = getattr(constructions, builder).build(target, 0.5, domain=Box.cube(2, 1.0), verify=False)
    certificate = certify(built)
    check = certificate.recheck(samples=5)
    assert check.holds and check.points == 11 and check.undecided == 0
    assert check.at_argmax[0] <= check.largest <= certificate.upper
    assert check.at_argmax[1] - check.at_argmax[0] < 1e-14


def test_the_report_of_a_build_can_be_rechecked():
    built = constructions.build(targets.gaussian(dim=1), 0.2)
    assert built.report.recheck(samples=3).holds
    assert built.report.worst_box.shape == (2, 1) and built.report.rms is None
    assert len(built.report.to_dict()["worst_layers"]) >= 1
    assert "network" not in built.report.to_dict()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda r: {"lower": r.lower + 1e-9, "upper": r.upper + 1}, "< lower"),
        (lambda r: {"lower": 0.0, "upper": r.lower - 1e-9}, "> upper"),
        (lambda r: {"argmax": r.argmax + 1e-3}, "< lower"),
    ],
)
def test_forged_certificates_are_contradicted(report, change, text):
    forged = replace(report, **change(report))
    check = forged.recheck(samples=4)
    assert not check.holds
    assert text in check.contradictions[0]


def opaque(x):
    return np.array([float(np.sin(row[0])) for row in np.asarray(x)])


def test_a_wrong_enclosure_is_found():
    target = targets.from_numpy(opaque, 1, domain=Box([0.0], [1.0]), lipschitz=1.0)
    report = certify(constructions.build(target, 0.2, verify=False))
    assert report.recheck().holds
    wrong = replace(target, enclosure=lambda low, high: (0 * low - 2, 0 * high - 1))
    check = replace(report, target=wrong).recheck()
    assert not check.holds and "outside its bounds" in check.contradictions[0]


def test_points_near_a_boundary_need_digits():
    """|v|^2 = 1 exactly is decided; |v|^2 = 1 + O(2^-105) needs more than 64 bits."""
    eye, zero = torch.eye(2).double(), torch.zeros(2).double()
    network = RadialNetwork.from_layers([(eye, zero, activation("step_relu")), (eye, zero, None)])
    edge = float(np.nextafter(1.0, 0.0))
    near = [edge, float(np.sqrt(2.0**-52 - 2.0**-106))]
    points = np.array([[0.0, 1.0], [0.0, edge], near])
    with precision(64):
        first, second, third = forward(network, points)
    assert [float(v) for v in first] == [0.0, 1.0] and [float(v) for v in second] == [0.0, 0.0] and third is None
    with precision(256) as flint:
        assert forward(network, points)[2] is not None
        assert flint.ctx.prec == 256
        report = certify(network, targets.from_expression("x, y", domain=Box.cube(2, 2.0)), tol=0.1)
    check = replace(report, argmax=np.array(near)).recheck(samples=1, bits=64)
    assert check.undecided == 1 and check.at_argmax is None and not check.holds


def test_networks_in_rational_arithmetic():
    """Step-ReLU networks are rational: layer by layer in Fractions."""
    built = constructions.constant_width.build(targets.peaks(), 0.9, verify=False)
    points = Box.cube(2, 3.0).sample(6)
    with precision(300):
        balls = forward(built.network, points)
    for x, ball in zip(points, balls, strict=True):
        state = [Fraction(float(c)) for c in x]
        for weight, bias, rho in built.network.layers():
            rows = weight.tolist()
            state = [
                sum((Fraction(w) * s for w, s in zip(row, state, strict=True)), Fraction(b))
                for row, b in zip(rows, bias.tolist(), strict=True)
            ]
            if rho is not None and sum(s * s for s in state) < 1:
                state = [Fraction(0)] * len(state)
        exact = arb(int(state[0].numerator)) / arb(int(state[0].denominator))
        assert ball[0].overlaps(exact)
        assert float(ball[0].rad()) < 1e-60


@pytest.mark.parametrize("name", activation_names())
@pytest.mark.parametrize("widths", [(2, 3, 1), (1, 4, 4, 2)])
def test_dense_networks_of_every_activation(name, widths):
    rng = np.random.default_rng(0)
    layers = []
    for i, (n, k) in enumerate(itertools.pairwise(widths)):
        rho = activation(name) if i < len(widths) - 2 else None
        layers.append((torch.tensor(rng.normal(size=(k, n))), torch.tensor(rng.normal(size=k)), rho))
    network = RadialNetwork.from_layers(layers)
    points = rng.normal(size=(20, widths[0]))
    with precision(128):
        values = np.array([[float(v) for v in row] for row in forward(network, points)])
    assert values == pytest.approx(network.evaluate(points), abs=1e-13)


def test_functions_in_ball_arithmetic():
    """The same functions as numpy, to more digits."""
    x = np.random.default_rng(0).uniform(0.1, 0.9, size=(5, 3))
    cases = [
        lambda v: np.exp(-np.sum(v**2, axis=1)) + np.linalg.norm(v, axis=-1) ** -3,
        lambda v: np.hypot(v[:, 0], v[:, 1]) * np.maximum(v[:, 0], 0.5) - np.minimum(v[:, 1], np.abs(v[:, 2])),
        lambda v: np.sin(v[:, 0]) + np.cos(v[:, 1]) * np.tan(v[:, 2]) + np.arctan(v[:, 0]) / np.log1p(v[:, 1]),
        lambda v: np.sinh(v[:, 0]) - np.cosh(v[:, 1]) + np.expm1(v[:, 2]) ** 2.5 + np.tanh(v @ np.ones(3)),
        lambda v: np.sqrt(v[:, 0]) + np.log(v[:, 1]) - np.reciprocal(v[:, 2]) + np.clip(v[:, 0], 0.2, 0.4) ** 0.5,
        lambda v: np.stack([v[:, 0], -v[:, 1]], axis=1).sum(axis=1) + np.einsum("ki,ki->k", v, v) + (-v[:, 0]) ** 3,
    ]
    with precision(128):
        for function in cases:
            values = function(ArbArray.of(x)).entries
            assert np.array([float(v) for v in values]) == pytest.approx(function(x), rel=1e-14)
            assert all(float(v.rad()) < 1e-30 for v in values)
        with pytest.raises(TypeError, match="data-dependent branch"):
            np.floor(ArbArray.of(x))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [({"samples": 0}, "samples"), ({"bits": 8}, "bits"), ({"seed": -1}, "seed"), ({"samples": 1.5}, "samples")],
)
def test_bad_arguments(report, arguments, text):
    with pytest.raises((ValueError, TypeError), match=text):
        report.recheck(**arguments)


def test_without_flint(report, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "flint", None)
    with pytest.raises(ImportError, match="pip install python-flint"):
        report.recheck()


def test_opaque_targets_are_trusted_to_float64():
    target = targets.from_numpy(opaque, 1, domain=Box([0.0], [1.0]), lipschitz=1.0)
    check = certify(constructions.build(target, 0.2, verify=False)).recheck(samples=2)
    assert check.holds and "float64" in check.basis


@pytest.mark.parametrize("kind", ["pieces", "dense"])
def test_local_bounds_are_those_of_a_search_on_each_box(kind):
    if kind == "pieces":
        report = certify(constructions.build(targets.peaks(), 0.5, verify=False))
    else:
        weights = np.random.default_rng(0).normal(size=(2, 4, 2))
        layers = [
            (torch.tensor(weights[0]), torch.zeros(4).double(), activation("radial_swish")),
            (torch.tensor(weights[1].T[:1]), torch.zeros(1).double(), None),
        ]
        report = certify(RadialNetwork.from_layers(layers), targets.peaks(), Box.cube(2, 2.0), tol=0.05)
    lower = np.random.default_rng(1).uniform(-1.5, 1.0, size=(5, 2))
    upper = lower + np.random.default_rng(2).uniform(0.01, 0.5, size=(5, 2))
    low, high = local_bounds(report, lower, upper, tol=0.01)
    for a, b, least, most in zip(lower, upper, low, high, strict=True):
        alone = certify(report.network, report.target, Box(a, b), tol=1e-3)
        assert least <= alone.upper and alone.lower <= most <= alone.upper + 0.1
    assert (high - low).max() < 0.1 and np.median(high - low) <= 0.01
    points = lower + np.random.default_rng(3).random((500, 5, 2)) * (upper - lower)
    gaps = np.linalg.norm(report.network.evaluate(points) - report.target(points), axis=2)
    assert (gaps <= high).all()


@pytest.mark.parametrize(
    ("lower", "upper", "options", "text"),
    [
        ([[0.0, 0.0]], [[0.0, 1.0]], {}, "lower < upper"),
        ([[0.0]], [[1.0]], {}, "lower"),
        ([[0.0, np.nan]], [[1.0, 1.0]], {}, "lower"),
        ([[0.0, 0.0]], [[1.0, 1.0]], {"tol": -1.0}, "tol"),
        ([[0.0, 0.0]], [[1.0, 1.0]], {"rounds": 1.5}, "rounds"),
    ],
)
def test_local_bounds_refuse(report, lower, upper, options, text):
    with pytest.raises((ValueError, TypeError), match=text):
        local_bounds(report, lower, upper, **options)
    with pytest.raises(TypeError, match="a Certificate"):
        local_bounds(report.network, lower, upper)
