"""How size grows as the tolerance shrinks, and what the same number of parameters achieves otherwise."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, LogLocator, NullFormatter, NullLocator, StrMethodFormatter

from approx import _checks
from approx.plotting._style import COLORS, GREY, SomeFigure, make_axes, make_figure
from approx.rates import RateRow, RateTable

__all__ = ["parameters_plot", "rates_picture", "rates_plot"]

_DECADES = 100.0  # from here on labels at 2 and 5 would meet
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")


def rates_plot(table: RateTable, ax: Axes | None = None) -> Axes:
    """Hidden layers over the tolerance, on logarithmic axes, with the orders of the theory and the lower bound.

    table : from `sweep`; baselines are left out. Every method is a line with its fitted order in the legend; a dashed
        line of the theory's order, or a wedge between its two, starts at the first point. Below the grey line no
        Step-ReLU network has that tolerance
    ax : where to draw; a new pyplot figure if None

    Returns the Axes. Raises TypeError for anything but a RateTable, ValueError for one without networks.

    >>> from matplotlib.figure import Figure
    >>> from approx.rates import RateRow
    >>> row = RateRow(target="f", dim_in=2, builder="b", cover="c", eps=0.1, hidden_layers=9)
    >>> rates_plot(RateTable((row,)), Figure().subplots()).get_ylabel()
    'hidden layers'
    """
    call = "rates_plot"
    series = _checked(call, table).series()
    if not series:
        received = "a table without networks"
        raise ValueError(_checks.message(call, received, "a row with hidden layers", "Use a larger eps."))
    ax = make_axes(call, ax)
    several = len({(s.target, s.dim_in) for s in series}) > 1
    for i, s in enumerate(series):
        color = COLORS[i % len(COLORS)]
        label = f"{s.target}, R^{s.dim_in}: {s.label}" if several else s.label
        if not np.isnan(s.order):
            label += f", order {s.order:.2f}" + ("" if np.isnan(s.spread) else f" $\\pm$ {s.spread:.2f}")
        ax.plot(s.eps, s.layers, color=color, marker=_MARKERS[i % len(_MARKERS)], ms=5, lw=1.6, label=label)
        if s.theory is not None and len(s.eps) > 1:
            ends = np.array([s.eps[0], s.eps[-1]])
            low, high = (s.layers[0] * (ends / ends[0]) ** -order for order in s.theory)
            ax.plot(ends, high, color=color, ls="--", lw=0.9, alpha=0.8)
            if s.theory[0] != s.theory[1]:
                ax.plot(ends, low, color=color, ls="--", lw=0.9, alpha=0.8)
                ax.fill_between(ends, low, high, color=color, alpha=0.12, lw=0)
    _bounds(ax, table)
    if any(s.theory is not None and len(s.eps) > 1 for s in series):
        ax.plot([], [], color=GREY, ls="--", lw=0.9, label="order of the theory")
    _logarithmic(ax)
    ax.invert_xaxis()
    eps = sorted({float(e) for s in series for e in s.eps})
    if len(eps) <= 9:
        ax.xaxis.set_major_locator(FixedLocator(eps))
        ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlabel(r"tolerance $\epsilon$")
    ax.set_ylabel("hidden layers")
    first = series[0]
    ax.set_title(
        "layers for a tolerance" if several else f"{first.target} on $R^{{{first.dim_in}}}$", fontsize="medium"
    )
    ax.legend(fontsize="small")
    ax.grid(True, which="major", alpha=0.25)
    return ax


def parameters_plot(table: RateTable, ax: Axes | None = None) -> Axes:
    """The error over the number of parameters, on logarithmic axes, baselines included.

    table : from `sweep`. Filled markers are proved upper bounds of the sup norm, hollow ones the largest error found
        at samples, which is a lower bound; the legend says which curve is which
    ax : where to draw; a new pyplot figure if None

    Returns the Axes. Raises TypeError for anything but a RateTable, ValueError for one without measured networks.

    >>> from matplotlib.figure import Figure
    >>> from approx.rates import RateRow
    >>> row = RateRow(target="f", dim_in=2, builder="b", cover="c", eps=0.1, parameters=9, lower=0.1, upper=0.1)
    >>> parameters_plot(RateTable((row,)), Figure().subplots()).get_xlabel()
    'parameters'
    """
    call = "parameters_plot"
    measured = [row for row in _checked(call, table).rows if row.parameters and row.lower]
    if not measured:
        received = "a table without measured networks"
        raise ValueError(
            _checks.message(call, received, "a row with parameters and an error", "Sweep with verify=True.")
        )
    ax = make_axes(call, ax)
    groups: dict[Any, list[RateRow]] = {}
    for row in measured:
        groups.setdefault((row.target, row.dim_in, row.name), []).append(row)
    several = len({key[:2] for key in groups}) > 1
    for i, ((target, dim, name), rows) in enumerate(groups.items()):
        proved = all(row.upper is not None for row in rows)
        points = sorted((row.parameters, row.upper if proved else row.lower) for row in rows)
        color = COLORS[i % len(COLORS)]
        label = f"{target}, R^{dim}: {name}" if several else name
        ax.plot(
            *zip(*points, strict=True),
            color=color,
            marker=_MARKERS[i % len(_MARKERS)],
            ms=5,
            mfc=color if proved else "white",
            ls=":" if rows[0].baseline else "-",
            lw=1.4,
            label=f"{label}, {'proved' if proved else 'sampled'}",
        )
    _logarithmic(ax)
    ax.set_xlabel("parameters")
    ax.set_ylabel(r"$\sup |F - f|$: upper bound, or largest found")
    if not several:
        ax.set_title(f"{measured[0].target} on $R^{{{measured[0].dim_in}}}$", fontsize="medium")
    ax.legend(fontsize="small")
    ax.grid(True, which="major", alpha=0.25)
    return ax


def rates_picture(table: RateTable, fig: SomeFigure | None = None) -> SomeFigure | Figure:
    """`rates_plot` and, beside it, `parameters_plot` where errors were measured.

    table : from `sweep`; fig : where to draw, a new pyplot figure if None

    Returns the figure. Raises what they raise.

    >>> from matplotlib.figure import Figure
    >>> from approx.rates import RateRow
    >>> row = RateRow(target="f", dim_in=2, builder="b", cover="c", eps=0.1, hidden_layers=9)
    >>> len(rates_picture(RateTable((row,)), Figure()).axes)
    1
    """
    measured = any(row.parameters and row.lower for row in _checked("rates_picture", table).rows)
    figure = make_figure("rates_picture", fig, (12.8 if measured else 6.4, 4.8))
    axes = figure.subplots(1, 1 + measured, squeeze=False)[0]
    rates_plot(table, axes[0])
    if measured:
        parameters_plot(table, axes[1])
    return figure


def _logarithmic(ax: Axes) -> None:
    """Logarithmic axes with plain numbers at 1 and, where there is room, 2 and 5 times the powers of ten."""
    ax.set_xscale("log")
    ax.set_yscale("log")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_minor_locator(LogLocator(subs=(2, 5)))
        axis.set_major_formatter(StrMethodFormatter("{x:,g}"))
        low, high = axis.get_view_interval()
        crowded = axis is ax.xaxis and high > _DECADES * low
        axis.set_minor_formatter(NullFormatter() if crowded else StrMethodFormatter("{x:,g}"))


def _bounds(ax: Axes, table: RateTable) -> None:
    """The lower bounds of the depth, one line per target."""
    found: dict[tuple[str, int], dict[float, int]] = {}
    for row in table.rows:
        if row.depth_bound:
            found.setdefault((row.target, row.dim_in), {})[row.eps] = row.depth_bound
    for i, bounds in enumerate(found.values()):
        eps = sorted(bounds, reverse=True)
        label = None if i else "no Step-ReLU network is below"
        ax.plot(eps, [bounds[e] for e in eps], color=GREY, lw=2.2, marker="_", ms=9, label=label)


def _checked(call: str, table: Any) -> RateTable:
    if not isinstance(table, RateTable):
        received = f"table = {_checks.show(table)}"
        raise TypeError(_checks.message(call, received, "a RateTable", "Pass what sweep returned."))
    return table
