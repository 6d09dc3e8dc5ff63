"""Curves of a training run or of an experiment over the epochs."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from approx import _checks
from approx.experiments import Curve, Experiment
from approx.plotting._style import COLORS, SomeFigure, make_axes, make_figure
from approx.training import Training

__all__ = ["convergence_plot", "experiments_picture"]

_STYLES = ("-", "--", "-.", ":")
_BANDS = 3  # more of them hide each other


def convergence_plot(result: Experiment | Training, ax: Axes | None = None, *, quantity: str | None = None) -> Axes:
    """A quantity over the epochs: the median over the trials and, up to three curves, their range as a band.

    result : an `Experiment` with curves, or a `Training`, whose losses are drawn
    quantity : which one, such as "loss" or "test accuracy"; None: the first there is. Losses have a logarithmic axis
    ax : where to draw; a new pyplot figure if None

    Returns the Axes. Raises TypeError or ValueError for anything else, and for an experiment without such curves.

    >>> from matplotlib.figure import Figure
    >>> from approx.training import random_network, train
    >>> run = train(random_network((1, 2, 1)), [[0.0], [1.0]], [[1.0], [0.0]], epochs=3)
    >>> convergence_plot(run, Figure().subplots()).get_ylabel()
    'loss'
    """
    call = "convergence_plot"
    if isinstance(result, Training):
        curves: tuple[Curve, ...] = (Curve("training", "loss", result.losses[None]),)
    elif isinstance(result, Experiment):
        curves = result.curves
        if not curves:
            received = f"experiment {result.number}, which trains nothing"
            raise ValueError(_checks.message(call, received, "an experiment with curves", "Draw experiment 2, 3 or 4."))
    else:
        received = f"result = {_checks.show(result)}"
        action = "Pass what approx.train or an experiment returned."
        raise TypeError(_checks.message(call, received, "an Experiment or a Training", action))
    known = [curve.quantity for curve in curves]
    quantity = known[0] if quantity is None else _checks.one_of(call, "quantity", quantity, set(known))
    shown = [curve for curve in curves if curve.quantity == quantity]
    ax = make_axes(call, ax)
    for i, curve in enumerate(shown):
        _draw(ax, curve, COLORS[i % len(COLORS)], _STYLES[i % len(_STYLES)], len(shown) <= _BANDS)
    if quantity == "loss":
        ax.set_yscale("log")
    ax.set_xlim(0, max(1, *(curve.values.shape[1] - 1 for curve in shown)))
    ax.set_xlabel("epoch")
    ax.set_ylabel(quantity)
    if isinstance(result, Experiment):
        trials = len(result.seeds)
        band = "median" + (" and range" if len(shown) <= _BANDS else "") + " of"
        title = f"experiment {result.number}, {result.title}"
        ax.set_title(f"{title}: {band} {trials} trials" if trials > 1 else title, fontsize="medium")
        ax.legend(fontsize="small")
    return ax


def experiments_picture(results: Sequence[Experiment], fig: SomeFigure | None = None) -> SomeFigure | Figure:
    """One `convergence_plot` per experiment, side by side: the test accuracy where there is one, else the loss.

    results : experiments with curves; fig : where to draw, a new pyplot figure if None

    Returns the figure. Raises ValueError without results or for one without curves, TypeError for anything else.

    >>> from matplotlib.figure import Figure
    >>> from approx.experiments import projected_descent
    >>> len(experiments_picture([projected_descent(trials=1, epochs=2)], Figure()).axes)
    1
    """
    call = "experiments_picture"
    if not isinstance(results, Sequence) or not all(isinstance(result, Experiment) for result in results):
        received = f"results = {_checks.show(results)}"
        raise TypeError(_checks.message(call, received, "a list of Experiments", "Put the experiment in a list."))
    if not results:
        raise ValueError(_checks.message(call, "no results", "at least one Experiment", "Run an experiment first."))
    figure = make_figure(call, fig, (6.4 * len(results), 4.4))
    for ax, result in zip(figure.subplots(1, len(results), squeeze=False)[0], results, strict=True):
        known = {curve.quantity for curve in result.curves}
        convergence_plot(result, ax, quantity="test accuracy" if "test accuracy" in known else None)
    return figure


def _draw(ax: Axes, curve: Curve, color: Any, style: str, band: bool) -> None:
    epochs = np.arange(curve.values.shape[1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # epochs that no trial reached with a number
        middle, low, high = (reduce(curve.values, axis=0) for reduce in (np.nanmedian, np.nanmin, np.nanmax))
    ended = np.isfinite(curve.values).sum(axis=0) < len(curve.values)
    middle = np.where(ended, np.nan, middle)  # the median of those still running would jump where one ends
    ax.plot(epochs, middle, color=color, ls=style, lw=1.8, label=curve.name)
    if band and len(curve.values) > 1:
        ax.fill_between(epochs, low, high, color=color, alpha=0.15, lw=0)
