"""Radial-basis networks from samples, and fine-tuning."""

import functools

import numpy as np
import pytest
import torch

from approx import storage, targets
from approx.domains import Box, WholeSpace
from constructions import radial_basis
from constructions.radial_basis.build import problem_for
from constructions.radial_basis.data import cross_validated
from constructions.radial_basis.features import Layers, sweep
from constructions.radial_basis.kernels import kernel
from constructions.radial_basis.tuning import _features

build = functools.partial(radial_basis.build, samples=2000)


def scattered(count, noise, dim=2, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.uniform(-2, 2, (count, dim))
    return x, np.exp(-np.square(x).sum(axis=1)) + noise * rng.normal(size=count)


def test_cross_validation_is_what_it_says():
    rng = np.random.default_rng(0)
    columns, values = rng.normal(size=(30, 5)), rng.normal(size=(30, 2))
    parts = np.array_split(rng.permutation(30), 5)
    grid = np.array([0.01, 0.3])
    expected = []
    for mu in grid:
        total = 0.0
        for part in parts:
            rest = [k for k in range(30) if k not in part]
            a = columns[rest]
            weights = np.linalg.solve(a.T @ a + mu**2 * len(rest) * np.eye(5), a.T @ values[rest])
            total += ((columns[part] @ weights - values[part]) ** 2).sum()
        expected.append((total / 30) ** 0.5)
    assert cross_validated(columns, values, parts, grid) == pytest.approx(expected)


def test_exact_samples_are_met_and_noise_is_not_fitted():
    x, y = scattered(600, 0.0)
    exact = radial_basis.from_samples(x, y, layers=80)
    assert exact.samples.rms < 1e-4
    x, noisy = scattered(600, 0.1)
    built = radial_basis.from_samples(x, noisy, layers=80)
    rough = radial_basis.from_samples(x, noisy, layers=80, smoothing=0)
    probe = Box.cube(2, 1.8).sample(2000)
    truth = np.exp(-np.square(probe).sum(axis=1))
    error, overfitted = (np.sqrt(np.mean((b.network.evaluate(probe)[:, 0] - truth) ** 2)) for b in (built, rough))
    assert error < 0.05  # half the noise
    assert error < overfitted
    assert 0.08 < built.samples.cross_validated < 0.13
    assert built.samples.rms == pytest.approx(np.sqrt(np.mean((built.network.evaluate(x)[:, 0] - noisy) ** 2)))
    assert "600 samples" in repr(built)


def test_vector_samples_repeats_and_a_file(tmp_path):
    x, y = scattered(300, 0.0, dim=1)
    x, values = np.concatenate([x, x[:20]]), np.stack([np.concatenate([y, y[:20] + 1e-3]), np.zeros(320)], axis=1)
    built = radial_basis.from_samples(x, values, layers=20)
    assert set(built.hidden_widths) == {1 + 2 + 1}
    assert np.abs(built.network.evaluate(x) - values).max() < 2e-3
    storage.save(tmp_path / "net.safetensors", built.network, provenance=built.provenance())
    assert storage.load(tmp_path / "net.safetensors").provenance["samples"]["count"] == 320


@pytest.mark.parametrize(
    ("x", "y", "options", "words"),
    [
        (np.zeros((10, 1)), np.zeros(9), {}, r"values of shape \(9, 1\)"),
        (np.full((10, 1), np.nan), np.zeros(10), {}, "Remove NaN"),
        (np.arange(10.0)[:, None], np.zeros(10), {"layers": 8}, "8 layers for 10 samples"),
        (np.arange(10.0)[:, None], np.zeros(10), {"domain": Box([0.0], [5.0])}, r"a sample at \[6.0\]"),
        (np.arange(10.0)[:, None], np.zeros(10), {"smoothing": -1.0}, "smoothing > 0"),
        (np.arange(10.0)[:, None], np.zeros(10), {"activation": "squashing"}, "tends to 0"),
    ],
)
def test_wrong_samples_get_one_clear_error(x, y, options, words):
    with pytest.raises(ValueError, match=words):
        radial_basis.from_samples(x, y, **({"layers": 3} | options))


@pytest.mark.parametrize("name", ["shifted_relu", "radial_swish"])
def test_differentiable_features_are_the_swept_ones(name):
    rng = np.random.default_rng(0)
    known = kernel(name, 100.0)
    layers = Layers.of(known, rng.normal(size=(5, 2)), known.slopes(rng.uniform(0.5, 1, 5)))
    x = rng.normal(size=(7, 2))
    vector = torch.tensor(np.concatenate([layers.images.ravel() / 3, np.log(layers.slopes)]))
    features, moved = _features(layers, vector, torch.from_numpy(x.T.copy()), 3.0)
    expected, expected_moved = sweep(layers, x)
    assert features.numpy() == pytest.approx(expected, rel=1e-10)
    assert moved.numpy() == pytest.approx(expected_moved, rel=1e-12)


def test_fine_tuning_lowers_the_error_or_changes_nothing():
    rough = build(targets.franke(), layers=30)
    fine = radial_basis.fine_tune(rough, 20, samples=2000)
    assert fine.report.lower < 0.6 * rough.report.lower
    assert fine.network.widths == rough.network.widths
    probe = rough.domain.sample(1000, seed=9)
    values = targets.franke()(probe)
    after, before = (np.abs(item.network.evaluate(probe) - values).max() for item in (fine, rough))
    assert after < before
    exact = build(targets.gaussian(dim=1), layers=40)
    assert radial_basis.fine_tune(exact, 2, samples=2000).report.lower <= exact.report.lower


def test_fine_tuning_refuses_what_it_cannot_tune():
    x, y = scattered(50, 0.0, dim=1)
    with pytest.raises(ValueError, match="one built for a target"):
        radial_basis.fine_tune(radial_basis.from_samples(x, y, layers=5))
    sloped = build(targets.affine_bump(dim=1), layers=5, domain=WholeSpace(1), verify=False)
    with pytest.raises(ValueError, match="without a slope"):
        radial_basis.fine_tune(sloped)
    with pytest.raises(TypeError, match="a RadialBasis"):
        radial_basis.fine_tune(sloped.network)
    with pytest.raises(ValueError, match="steps"):
        radial_basis.fine_tune(build(targets.gaussian(dim=1), layers=5, verify=False), 0)


def test_points_held_out_are_not_fitted():
    problem = problem_for(targets.franke(), targets.franke().domain, 50, torch.float64)
    fitted = {tuple(point) for point in problem.points}
    inside = sum(tuple(point) in fitted for point in problem.held)
    assert inside <= 4  # the corners
