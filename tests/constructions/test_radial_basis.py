"""Radial-basis networks: formulas against direct evaluation, the network against the formulas, builds and refusals."""

import functools
import math
import re
from fractions import Fraction

import mpmath
import numpy as np
import pytest
import torch

import constructions
from approx import storage, targets
from approx.activations import RadialActivation, RadialSoftplus, RadialSwish, ShiftedReLU
from approx.domains import Ball, Box
from constructions import radial_basis, rates
from constructions.radial_basis import Layers, assemble, kernel, sweep
from constructions.radial_basis.centers import fitting_points, select, spread
from constructions.radial_basis.solve import least_squares

GAUSSIAN = targets.gaussian(dim=1)
WAVE = targets.from_numpy(
    lambda x: np.stack([np.sin(2 * x[:, 0]) * np.cos(x[:, 1]), x[:, 0] * x[:, 1]], 1),
    2,
    2,
    domain=Box.cube(2, 1.5),
    lipschitz=4.0,
    name="wave",
)
H = {
    "shifted_relu": lambda r: r - 1,
    "radial_softplus": lambda r: mpmath.log1p(mpmath.exp(r - 1)),
    "radial_swish": lambda r: r / (1 + mpmath.exp(-r)),
}
build = functools.partial(radial_basis.build, samples=2000)
PROFILE = RadialActivation(lambda r: r * r * r / (1 + r * r))  # lambda = 1 - 1/(1 + r^2)


def random_layers(name="shifted_relu", n=2, count=6, gain=50.0, renormalise=True, seed=0):
    rng = np.random.default_rng(seed)
    known = kernel(name, gain)
    slopes = known.slopes(rng.uniform(0.3, 1.0, count))
    return Layers.of(known, rng.normal(size=(count, n)), slopes, renormalise=renormalise)


def by_definition(layers, name, weights, matrix, offset, x):
    """The docstring's layers one after the other at one point, in 40 digits, eta = 0."""
    with mpmath.workdps(40):
        h, level, s = H[name], mpmath.mpf(layers.kernel.level), mpmath.mpf(layers.renormal)
        x, y = [mpmath.mpf(float(v)) for v in x], [mpmath.mpf(0)] * weights.shape[1]
        defect = 1 - h(level) / level
        for c, k, a in zip(layers.images, layers.slopes, weights, strict=True):
            v = [mpmath.mpf(float(k)) * (xj - mpmath.mpf(float(cj))) for xj, cj in zip(x, c, strict=True)]
            r = mpmath.sqrt(sum(t * t for t in v) + level**2)
            factor = h(r) / r
            phi = (level - level * factor) / (level * defect)
            x = [mpmath.mpf(float(cj)) + t * factor / (float(k) * s) for cj, t in zip(c, v, strict=True)]
            y = [yj * factor / s + float(aj) * phi for yj, aj in zip(y, a, strict=True)]
        return [
            float(sum(float(m) * xj for m, xj in zip(row, x, strict=True)) + float(b) + yj)
            for row, b, yj in zip(matrix, offset, y, strict=True)
        ]


@pytest.mark.parametrize("name", H)
@pytest.mark.parametrize("renormalise", [True, False])
def test_sweep_and_network_are_the_formulas(name, renormalise):
    layers = random_layers(name, renormalise=renormalise)
    rng = np.random.default_rng(1)
    weights, matrix, offset = rng.normal(size=(6, 2)), rng.normal(size=(2, 2)), rng.normal(size=2)
    points = rng.normal(size=(5, 2)) * 2
    exact = np.array([by_definition(layers, name, weights, matrix, offset, x) for x in points])
    features, moved = sweep(layers, points)
    assert features @ weights + moved @ matrix.T + offset == pytest.approx(exact, abs=1e-12)
    network = assemble(layers, weights, matrix, offset, torch.float64)
    assert network.widths == (2, *[5] * 6, 2)
    rounding = 50 * np.finfo(float).eps * layers.kernel.gain * np.abs(weights).sum()
    assert np.abs(network.evaluate(points) - exact).max() <= rounding
    single = assemble(layers, weights, matrix, offset, torch.float32).evaluate(points)
    assert np.abs(single - exact).max() <= 50 * np.finfo(np.float32).eps * layers.kernel.gain * np.abs(weights).sum()


def test_features_are_kernels_times_the_factors_of_later_layers():
    """psi_i = phi_i prod_{j > i} lambda_j / s, in a layer by layer recursion on fractions."""
    layers = random_layers(n=1, count=4, gain=20.0)
    x = Fraction(0.75)
    phis, factors = [], []
    for c, k in zip(layers.images[:, 0], layers.slopes, strict=True):
        offset = x - Fraction(c)
        r = Fraction(math.sqrt(float(Fraction(k) ** 2 * offset**2 + 400)))
        factor = (1 - 1 / r) / (1 - Fraction(1, 20))
        phis.append(20 / r)
        factors.append(factor)
        x = Fraction(c) + offset * factor
    expected = [float(phis[i] * math.prod(factors[i + 1 :])) for i in range(4)]
    features, moved = sweep(layers, np.array([[0.75]]))
    assert features[0] == pytest.approx(expected, rel=1e-12)
    assert moved[0, 0] == pytest.approx(float(x), rel=1e-12)


def test_centres_are_moved_with_the_points():
    centers = np.array([[0.5, 0.1], [-1.0, 0.2], [0.3, 0.9]])
    known = kernel("shifted_relu", 20.0)
    layers = Layers.of(known, centers, known.slopes(np.ones(3)))
    before = Layers(known, layers.images[:2], layers.slopes[:2], layers.renormal)
    assert sweep(before, centers[2:])[1] == pytest.approx(layers.images[2:])
    assert not np.allclose(layers.images[2], centers[2])


@pytest.mark.parametrize(
    ("rho", "name", "limit"),
    [
        (ShiftedReLU(1.0), "inverse multiquadric, (1 + kappa^2 d^2)^(-1/2)", lambda t: (1 + t) ** -0.5),
        (ShiftedReLU(-2.0), "inverse multiquadric, (1 + kappa^2 d^2)^(-1/2)", lambda t: (1 + t) ** -0.5),
        (RadialSoftplus(1.0), "inverse multiquadric, (1 + kappa^2 d^2)^(-1/2)", lambda t: (1 + t) ** -0.5),
        (PROFILE, "inverse multiquadric of order 2", lambda t: (1 + t / 2) ** -1.0),
        (RadialSwish(), "Gaussian", lambda t: np.exp(-t / 2)),
        (RadialSoftplus(0.0), "Gaussian", lambda t: np.exp(-t / 2)),
    ],
)
def test_kernels_are_named_and_tend_to_their_limits(rho, name, limit):
    d = np.linspace(0, 2.5, 50)
    gaps = []
    for gain in (1e2, 1e4, 1e8):
        known = kernel(rho, gain)
        assert known.name.startswith(name)
        assert abs(known.at_level) == pytest.approx(1 / gain, rel=1e-2)
        assert known.profile(np.zeros(1), 0.8)[0] == 1
        gaps.append(np.abs(known.profile(d, 0.8) - limit((0.8 * d) ** 2)).max())
        small = np.array([1e-2])
        assert 1 - known.profile(small, 1.0)[0] == pytest.approx(0.5e-4, rel=1e-2)  # 1 - kappa^2 d^2 / 2
    assert gaps[0] <= 0.2
    assert gaps[-1] <= (0.1 if name == "Gaussian" else 1e-5)
    assert gaps == sorted(gaps, reverse=True) or max(gaps) < 1e-5


@pytest.mark.parametrize(
    ("rho", "words"),
    [
        ("radial_sigmoid", "h(r)/r that tends to 0"),
        ("squashing", "h(r)/r that tends to 0"),
        ("rational_squash", "h(r)/r that tends to 0"),
        ("step_relu", "h(r) = r beyond r = 1"),
        ("radial_identity", "nowhere so large"),
        (RadialActivation(lambda r: 2 * r), "h(r)/r = 2 at"),
        (RadialActivation(torch.sqrt), "h(r)/r that tends to 0"),
        (RadialActivation(lambda r: r * r), "h(r)/r = 1e+12 at"),
    ],
)
def test_activations_without_a_kernel_are_refused_with_the_reason(rho, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        kernel(rho, 100.0)


def test_least_squares_minimises_what_it_says():
    rng = np.random.default_rng(0)
    matrix, values, weights = rng.normal(size=(40, 6)), rng.normal(size=(40, 2)), rng.uniform(0.5, 2, 40)
    noise = 0.3
    found = least_squares(matrix, values, noise, weights).coefficients
    normal = matrix.T @ (weights[:, None] * matrix) + noise**2 * weights.sum() * np.eye(6)
    assert found == pytest.approx(np.linalg.solve(normal, matrix.T @ (weights[:, None] * values)))
    twice = np.concatenate([matrix, matrix[:, :1]], axis=1)  # dependent columns share the weight
    a = least_squares(twice, values, 1e-6).coefficients
    assert a[0] == pytest.approx(a[6], abs=1e-4)


def test_the_first_choice_removes_most_of_the_residual():
    rng = np.random.default_rng(0)
    columns, values, fixed = rng.normal(size=(30, 12)), rng.normal(size=(30, 1)), np.ones((30, 1))
    chosen = select(columns.copy(), values, fixed, 5, block=1).chosen
    taken = fixed
    for j in chosen:  # brute force: try every column

        def left(i, taken=taken):
            basis = np.column_stack([taken, columns[:, i]])
            return np.linalg.norm(values - basis @ np.linalg.lstsq(basis, values, rcond=None)[0])

        assert j == min(range(12), key=left)
        taken = np.column_stack([taken, columns[:, j]])


@pytest.mark.parametrize("domain", [Box([0.0, -1.0], [2.0, 5.0]), Ball([1.0, 0.0], 2.0)])
def test_points_fill_the_domain(domain):
    for points in (spread(domain, 500), fitting_points(domain, 500)):
        assert points.shape == (500, 2)
        assert domain.contains(points).all()
        assert domain.distance(points).max() == 0
    assert not domain.contains(spread(domain, 500, 1.5)).all()
    probe = domain.sample(200)
    gaps = np.linalg.norm(probe[:, None] - fitting_points(domain, 500), axis=2).min(axis=1)
    assert gaps.max() < 0.2 * domain.diameter


@pytest.mark.parametrize(("name", "bound"), [("shifted_relu", 1e-7), ("radial_softplus", 1e-7), ("radial_swish", 1e-6)])
def test_thirty_layers_reach_what_a_million_cells_do_not(name, bound):
    built = build(GAUSSIAN, layers=30, activation=name)
    x = np.linspace(-3, 3, 5001)[:, None]
    assert built.hidden_widths == (3,) * 30
    assert repr(built.fit).startswith("Fit of 30 kernels, R^1 -> R^1\n") and "array" not in repr(built.fit)
    error = np.abs(built.network.evaluate(x)[:, 0] - np.exp(-(x[:, 0] ** 2))).max()
    assert error <= bound
    assert built.report.lower <= 1.5 * error + 1e-12
    assert "attainable" in repr(built)


@pytest.mark.parametrize(
    ("name", "bound"), [("shifted_relu", 1e-11), ("radial_softplus", 1e-10), ("radial_swish", 1e-10)]
)
def test_forty_layers_reach_eleven_digits(name, bound):
    network = build(GAUSSIAN, layers=40, activation=name, verify=False).network
    x = np.random.default_rng(4).uniform(-3, 3, (100_000, 1))
    assert np.abs(network.evaluate(x)[:, 0] - np.exp(-(x[:, 0] ** 2))).max() <= bound


def test_vector_values_share_centres():
    built = build(WAVE, layers=60)
    assert set(built.hidden_widths) == {2 + 2 + 1}
    assert built.report.lower < 1e-3


def test_layers_grow_until_eps_is_met_or_a_reason_is_given():
    built = build(GAUSSIAN, 1e-6)
    assert built.report.lower <= 1e-6
    few = int(re.fullmatch(r"enough for eps(?:, (\d+) are not)?", built.reason)[1] or 0)
    assert few < built.hidden_layers <= 25
    if few:
        assert build(GAUSSIAN, layers=few).report.lower > 1e-6
    short = build(GAUSSIAN, 1e-6, max_layers=10)
    assert (short.hidden_layers, short.report.lower > 1e-6) == (10, True)
    assert short.reason == "eps missed, max_layers = 10 reached"
    hard = build(GAUSSIAN, 1e-15)
    assert hard.reason == "eps missed, rounding leaves no more"


def test_rates_of_radial_basis_networks_by_name():
    table = rates.sweep(GAUSSIAN, [1e-2, 1e-4], builders=["radial_basis"], samples=2000, prove=False)
    assert [row.builder for row in table.rows] == ["radial_basis"] * 2
    layers = [row.hidden_layers for row in table.rows]
    assert layers[0] < layers[1] < 25
    assert all(row.lower <= row.eps for row in table.rows)


def test_single_precision_is_reported_honestly():
    built = build(GAUSSIAN, layers=20, dtype=torch.float32)
    assert built.network.dtype == torch.float32
    assert 1e-7 < built.report.lower < 1e-2
    assert built.attainable > 1e-8


def test_the_same_call_gives_the_same_bits():
    a, b = (build(GAUSSIAN, layers=15, verify=False).network for _ in range(2))
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


def test_a_ball_as_domain_and_a_saved_network(tmp_path):
    built = constructions.build(
        targets.gaussian(), builder="radial_basis", layers=40, samples=2000, domain=Ball([0.0, 0.0], 2.0)
    )
    assert built.report.lower < 1e-3
    storage.save(tmp_path / "net.safetensors", built.network, provenance=built.provenance())
    saved = storage.load(tmp_path / "net.safetensors")
    x = built.domain.sample(100)
    assert np.array_equal(saved.network.evaluate(x), built.network.evaluate(x))
    assert saved.provenance["kernel"].startswith("inverse multiquadric")


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: radial_basis.build(GAUSSIAN), ValueError, "neither eps nor layers"),
        (lambda: radial_basis.build(np.sin, 0.1), TypeError, "required a Target"),
        (lambda: build(GAUSSIAN, -1.0), ValueError, "eps > 0"),
        (lambda: build(GAUSSIAN, math.nan), ValueError, "finite eps"),
        (lambda: build(GAUSSIAN, layers=0), ValueError, "1 <= layers <= 2000"),
        (lambda: build(GAUSSIAN, layers=10, centers="best"), ValueError, "one of greedy, spread"),
        (lambda: build(GAUSSIAN, layers=10, domain=Box.cube(2, 1)), ValueError, r"WholeSpace of R\^1"),
        (lambda: build(GAUSSIAN, layers=10, dtype=torch.float16), ValueError, "float16"),
        (lambda: build(GAUSSIAN, layers=10, activation="sigmoid"), ValueError, "tends to 0"),
        (lambda: build(GAUSSIAN, layers=10, shape=-1.0), ValueError, "shape > 0"),
        (lambda: build(GAUSSIAN, layers=10, gain=1.0), ValueError, "gain >= 30"),
        (lambda: kernel(torch.tanh, 100.0), TypeError, "a RadialActivation"),
    ],
)
def test_wrong_arguments_get_one_clear_error(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_a_certificate_in_one_dimension_is_close():
    built = build(GAUSSIAN, layers=6, prove=True)
    assert built.report.claim == "certified"
    assert built.report.lower <= built.report.upper <= 2 * built.report.lower
    assert "certified" in repr(built)
    x = np.linspace(-3, 3, 4001)[:, None]
    assert np.abs(built.network.evaluate(x) - GAUSSIAN(x)).max() <= built.report.upper
