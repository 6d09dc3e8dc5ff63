"""Convergence curves: what is drawn is what was measured."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from approx import experiments, plotting
from approx.training import random_network, train


def test_a_training_run():
    run = train(random_network((1, 3, 1)), [[0.0], [1.0]], [[1.0], [0.0]], epochs=7)
    ax = plotting.convergence_plot(run, Figure().subplots())
    (line,) = ax.lines
    assert np.array_equal(line.get_xdata(), np.arange(8)) and np.array_equal(line.get_ydata(), run.losses)
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_yscale()) == ("epoch", "loss", "log")


def test_an_experiment_shows_median_and_range():
    result = experiments.projected_descent(trials=3, epochs=5)
    ax = plotting.convergence_plot(result, Figure().subplots())
    for line, curve, band in zip(ax.lines, result.curves, ax.collections, strict=True):
        assert np.array_equal(line.get_ydata(), np.median(curve.values, axis=0))
        heights = band.get_paths()[0].vertices[:, 1]
        assert (heights.min(), heights.max()) == (curve.values.min(), curve.values.max())
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [curve.name for curve in result.curves]
    assert "median and range of 3 trials" in ax.get_title()


def test_trials_that_end_early_end_the_median():
    curve = experiments.Curve("c", "loss", np.array([[3.0, 2.0, np.nan], [5.0, 4.0, 1.0]]))
    result = experiments.lossless(trials=2)
    object.__setattr__(result, "curves", (curve,))
    ax = plotting.convergence_plot(result, Figure().subplots())
    assert ax.lines[0].get_ydata()[:2].tolist() == [4, 3] and np.isnan(ax.lines[0].get_ydata()[2])


def test_many_curves_have_no_bands():
    result = experiments.image_recovery(trials=2, epochs=2, copies=5, noise=[0.5, 1])
    ax = plotting.convergence_plot(result, Figure().subplots(), quantity="test accuracy")
    assert len(ax.lines) == 6 and not ax.collections and ax.get_yscale() == "linear"
    assert "median of 2 trials" in ax.get_title()


def test_refusals():
    result = experiments.lossless(trials=1)
    with pytest.raises(ValueError, match="experiment 1, which trains nothing"):
        plotting.convergence_plot(result)
    with pytest.raises(TypeError, match="an Experiment or a Training"):
        plotting.convergence_plot([1.0, 0.5])
    run = train(random_network((1, 3, 1)), [[0.0]], [[1.0]], epochs=1)
    with pytest.raises(ValueError, match="quantity = 'accuracy'; required one of loss"):
        plotting.convergence_plot(run, quantity="accuracy")
    with pytest.raises(TypeError, match="a matplotlib Axes or None"):
        plotting.convergence_plot(run, 3)


def test_experiments_side_by_side():
    results = [experiments.projected_descent(trials=1, epochs=1), experiments.image_recovery(trials=1, epochs=1)]
    left, right = plotting.experiments_picture(results, Figure()).axes
    assert (left.get_ylabel(), right.get_ylabel()) == ("loss", "test accuracy")
    with pytest.raises(ValueError, match="no results"):
        plotting.experiments_picture([])
    with pytest.raises(TypeError, match="Put the experiment in a list"):
        plotting.experiments_picture(results[0])
    with pytest.raises(ValueError, match="experiment 1, which trains nothing"):
        plotting.experiments_picture([experiments.lossless(trials=1)], Figure())
