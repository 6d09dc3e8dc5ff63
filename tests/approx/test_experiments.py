"""The paper's experiments in small: what is measured, what is drawn at random, and what the results hold."""

import csv
import itertools
import json
import re

import numpy as np
import pytest
import torch

from approx import experiments
from approx.compression import compress
from approx.experiments import compression as module
from approx.experiments import recovery
from approx.training import random_network, train


def test_lossless_finds_rounding_alone():
    result = experiments.lossless(trials=10)
    single, double = (result[f"mean |F - F_red|, {dtype}"] for dtype in ("float32", "float64"))
    assert result.number == 1 and result.seeds == tuple(range(10)) and single.paper == (1.31e-8, 4.45e-9)
    assert abs(single.mean - 1.31e-8) < 3 * 4.45e-9  # the paper's own figure; other libraries round otherwise
    assert 0 < double.mean < 1e-15 and result["|loss - loss_red|, float64"].mean < 1e-15


def test_lossless_measures_the_deviation_of_the_seeds_networks():
    result = experiments.lossless(trials=2, seed=5)
    assert result.seeds == (5, 6)
    x = np.linspace(-3, 3, 121)[:, None]
    for seed, value in zip(result.seeds, result["mean |F - F_red|, float64"].values, strict=True):
        network = random_network((1, 6, 7, 1), "shifted_sigmoid", seed=seed)
        gap = np.abs(network.evaluate(x) - compress(network).network.evaluate(x)).mean()
        assert value == pytest.approx(gap, abs=2e-17)


def test_projected_descent_in_small():
    result = experiments.projected_descent(trials=2, epochs=60, lr=0.02)
    assert result["|loss - loss_red|, projected, float32"].mean < 1e-6
    assert result["|loss - loss_red|, projected, float64"].mean < 1e-15
    assert result["largest weight deviation, float64"].mean < 1e-14
    assert result["|loss - loss_red|, not projected, float32"].values.min() > 1e-4
    compressed, projected, free = (curve.values for curve in result.curves)
    assert compressed.shape == (2, 61) and projected == pytest.approx(compressed, abs=1e-6)
    assert abs(free - compressed).max() > 1e-4 and (compressed[:, -1] < compressed[:, 0]).all()


def test_the_weight_gap_sees_every_entry():
    start = compress(random_network((1, 4, 5, 1), seed=1))
    assert module.weight_gap(start.rotated, start.network, start.residual) == 0
    for which in (0, 1):
        for i, layer in enumerate(start.rotated.layers()):
            for entry in np.ndindex(*layer[which].shape):
                kept = layer[which][entry].item()
                layer[which][entry] = kept + 0.5
                assert module.weight_gap(start.rotated, start.network, start.residual) == pytest.approx(0.5), (i, entry)
                layer[which][entry] = kept


def test_training_time_counts_epochs_and_seconds():
    threads = torch.get_num_threads()
    result = experiments.training_time(trials=2, side=5, epochs=12, lr=0.05, stop_loss=1e-6)
    assert torch.get_num_threads() == threads
    assert result["epochs, compressed"].values.tolist() == result["epochs, full"].values.tolist() == [12, 12]
    seconds = [result[f"seconds, {name}"].values for name in ("full", "compressed")]
    assert result["full / compressed, seconds"].values == pytest.approx(seconds[0] / seconds[1])
    assert "0 of 2 compressed and 0 of 2 full" in result.commentary and result.settings["reduced"] == (2, 3, 4, 5, 6, 2)
    done = experiments.training_time(trials=1, side=5, epochs=12, stop_loss=10.0)
    assert done["epochs, full"].mean == 0 and "1 of 1 compressed and 1 of 1 full" in done.commentary


def test_training_time_starts_both_from_the_same_function():
    for f, formula in (("gaussian", lambda t: np.exp(-t * t)), ("sigmoid", lambda t: 1 / (1 + np.exp(-t)))):
        result = experiments.training_time(trials=1, seed=3, side=4, epochs=2, f=f)
        small, full = (curve.values[0, 0] for curve in result.curves)
        t = np.linspace(-3, 3, 4)
        x = np.array(list(itertools.product(t, t)))
        start = random_network((2, 16, 64, 128, 16, 2), "radial_sigmoid", seed=3).evaluate(x)
        assert small == pytest.approx(((start - formula(x)) ** 2).mean(), rel=1e-5) == full


def test_image_recovery_repeats_the_paper_and_finds_where_its_gap_to_relu_comes_from():
    result = experiments.image_recovery(trials=3)
    assert result.seeds == (0, 1, 2) and result.settings["copies"] == "240 for training, 60 for the test"
    for part in ("train", "test"):
        assert result[f"Step-ReLU radial, {part} accuracy"].values.tolist() == [1, 1, 1]
        assert result[f"ReLU, {part} accuracy"].mean > 0.95
        assert result[f"ReLU, outputs too, {part} accuracy"].mean < 0.95
    assert result["ReLU, test accuracy"].paper == (0.757, 0.25) and "A gap like the paper's" in result.commentary
    assert {curve.quantity for curve in result.curves} == {"loss", "test accuracy"}
    assert all(curve.values.shape == (3, 151) for curve in result.curves)


def test_a_sweep_of_noise_names_its_levels():
    result = experiments.image_recovery(trials=1, noise=[0.5, 3], epochs=2, copies=10, batch=8, digit=0, originals=2)
    names = [row.quantity for row in result.rows]
    assert (
        len(names) == 12 and names[1] == "Step-ReLU radial, test accuracy, noise 0.5" and names[-1].endswith("noise 3")
    )
    assert result.settings["copies"] == "16 for training, 4 for the test" and result.settings["batch"] == 8
    assert result.rows[0].paper == (1.0, 0.0) and result.rows[6].paper is None
    assert result.settings["widths"] == (64, 65, 66, 2)


def test_noisy_copies_are_uniform_in_their_balls():
    rng = np.random.default_rng(0)
    originals = np.array([[0.0, 0, 0], [2, 0, 0], [2, 1, 0]])
    images, labels = experiments.noisy_copies(originals, 20_000, 0.5, rng)
    assert labels.tolist() == np.repeat([0, 1, 2], 20_000).tolist()
    nearest = np.array([2.0, 1.0, 1.0])  # by hand
    offsets = images - originals[labels]
    share = (np.linalg.norm(offsets, axis=1) / (0.5 * nearest[labels])) ** 3  # share of the ball's volume
    assert share.max() <= 1 + 1e-12
    counts = np.histogram(share, bins=20, range=(0, 1))[0]
    assert abs(counts - 3000).max() < 5 * np.sqrt(3000)
    directions = offsets / np.linalg.norm(offsets, axis=1, keepdims=True)
    assert abs(directions.mean(axis=0)).max() < 5 / np.sqrt(3 * 60_000)
    assert directions.T @ directions / 60_000 == pytest.approx(np.eye(3) / 3, abs=0.01)


def test_pointwise_relu_has_the_same_weights():
    network = random_network((4, 5, 6, 3), "step_relu", seed=2)
    x = torch.randn(9, 4, dtype=torch.float64)
    v = x.numpy()
    for weight, bias, rho in network.layers():
        v = v @ weight.numpy().T + bias.numpy()
        v = v if rho is None else np.maximum(v, 0)
    for outputs, wanted in ((False, v), (True, np.maximum(v, 0))):
        assert recovery.pointwise_relu(network, outputs=outputs)(x).detach().numpy() == pytest.approx(wanted, abs=1e-14)


def test_trials_follow_their_seeds():
    first = experiments.image_recovery(trials=2, epochs=3, copies=10)
    second = experiments.image_recovery(trials=1, seed=1, epochs=3, copies=10)
    for a, b in zip(first.curves, second.curves, strict=True):
        assert np.array_equal(a.values[1], b.values[0]) and not np.array_equal(a.values[0], b.values[0])


def test_every_trial_has_its_own_images(monkeypatch):
    seen = []

    def spy(originals, *args):
        seen.append(originals)
        return experiments.noisy_copies(originals, *args)

    monkeypatch.setattr(recovery, "noisy_copies", spy)
    experiments.image_recovery(trials=2, epochs=1, copies=5, digit=7)
    images, labels = experiments.load_digits()
    assert not np.array_equal(*seen)
    for original in itertools.chain(*seen):
        assert 7 in labels[(images == original).all(axis=1)]


def interrupt_after(monkeypatch, calls):
    """The given number of calls of `train` go through, the next is interrupted."""
    count = itertools.count()

    def limited(*args, **options):
        if next(count) == calls:
            raise KeyboardInterrupt
        return train(*args, **options)

    monkeypatch.setattr(module, "train", limited)


def test_an_interrupt_keeps_finished_trials(monkeypatch):
    interrupt_after(monkeypatch, 8)  # five calls a trial
    result = experiments.projected_descent(trials=4, epochs=2)
    assert result.interrupted and result.seeds == (0,) and len(result.rows[0].values) == 1
    assert repr(result).endswith("interrupted") and "1 trial\n" in result.table()


def test_an_interrupt_in_the_first_trial_is_passed_on(monkeypatch):
    interrupt_after(monkeypatch, 2)
    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        experiments.projected_descent(trials=4, epochs=2)


def test_an_unfinished_training_is_no_trial(monkeypatch):
    def stopped(*args, **options):
        run = train(*args, **options)
        object.__setattr__(run, "stopped", "interrupted")
        return run

    monkeypatch.setattr(recovery, "train", stopped)
    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        experiments.image_recovery(trials=1, epochs=1, copies=5)


def test_tables_and_files_hold_the_values():
    result = experiments.lossless(trials=3, seed=2)
    row = result.rows[0]
    assert row.std == pytest.approx(np.sqrt(((row.values - row.values.mean()) ** 2).sum() / 2))
    line = result.table().splitlines()[2]
    assert re.split(r"  +", line) == [row.quantity, "1.31e-08 +- 4.5e-09", f"{row.mean:.3g} +- {row.std:.2g}"]
    facts = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert facts["seeds"] == [2, 3, 4] and facts["rows"][0]["values"] == row.values.tolist()
    assert (facts["rows"][0]["paper_mean"], facts["rows"][1]["paper_mean"]) == (1.31e-8, None)
    lines = list(csv.DictReader(result.to_csv().splitlines()))
    assert len(lines) == 12 and lines[0]["seed"] == "2" and float(lines[0]["value"]) == row.values[0]
    assert lines[0]["paper_mean"] == "1.31e-08" and lines[3]["paper_mean"] == ""
    with pytest.raises(ValueError, match="quantity = 'loss'; required one of"):
        result["loss"]


@pytest.mark.parametrize("run", experiments.EXPERIMENTS.values())
@pytest.mark.parametrize("options, match", [({"trials": 0}, "1 <= trials"), ({"seed": -1}, "0 <= seed")])
def test_every_experiment_checks_trials_and_seed(run, options, match):
    with pytest.raises(ValueError, match=match):
        run(**options)


@pytest.mark.parametrize(
    "run, options, error, match",
    [
        (experiments.projected_descent, {"epochs": 0}, ValueError, "1 <= epochs"),
        (experiments.projected_descent, {"lr": np.inf}, ValueError, "a finite lr"),
        (experiments.training_time, {"f": "sine"}, ValueError, "one of gaussian, sigmoid"),
        (experiments.training_time, {"side": 1}, ValueError, "2 <= side"),
        (experiments.image_recovery, {"noise": 0.0}, ValueError, "noise > 0"),
        (experiments.image_recovery, {"noise": [0.5, np.nan]}, ValueError, "a finite noise"),
        (experiments.image_recovery, {"noise": []}, ValueError, "different noise levels"),
        (experiments.image_recovery, {"noise": [1, 1]}, ValueError, "different noise levels"),
        (experiments.image_recovery, {"noise": "loud"}, TypeError, "a real number"),
        (experiments.image_recovery, {"digit": 10}, ValueError, "digit <= 9"),
        (experiments.image_recovery, {"originals": 1}, ValueError, "2 <= originals"),
        (experiments.image_recovery, {"originals": 1000}, ValueError, r"originals <= 1\d\d"),
        (experiments.image_recovery, {"copies": 1}, ValueError, "2 <= copies"),
        (experiments.image_recovery, {"batch": 1000}, ValueError, "batch <= 240"),
    ],
)
def test_experiments_refuse(run, options, error, match):
    with pytest.raises(error, match=match):
        run(**options)


@pytest.mark.parametrize(
    "originals, noise, match",
    [
        (np.zeros((2, 3)), 0.5, "originals that coincide"),
        (np.zeros((1, 3)), 0.5, "1 original;"),
        (np.zeros(3), 0.5, r"originals of shape \(3,\)"),
        (np.full((2, 2), np.nan), 0.5, "finite numbers"),
        (np.eye(2), -1.0, "noise > 0"),
    ],
)
def test_noisy_copies_refuse(originals, noise, match):
    with pytest.raises(ValueError, match=match):
        experiments.noisy_copies(originals, 5, noise, np.random.default_rng(0))
