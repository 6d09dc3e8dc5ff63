"""Values and errors: curves on a line, maps on a plane."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from numpy.typing import ArrayLike, NDArray

from approx import _checks
from approx.domains import Ball, Box
from approx.plotting._style import (
    BAND,
    COLORS,
    ERROR_MAP,
    GREY,
    ORANGE,
    VALUE_MAP,
    color_bar,
    coordinates,
    frame,
    make_axes,
    quantity,
)
from approx.plotting._view import Curve, Map, Subject, View, curve, difference, plane_map, subject_of, view_of
from approx.targets import Target
from approx.targets._target import require_target

__all__ = [
    "draw_curves",
    "draw_error_curve",
    "draw_error_map",
    "draw_values",
    "error_map",
    "function_plot",
    "pick_component",
    "shown_component",
    "value_label",
]

Array = NDArray[np.float64]
_ARROWS = 15  # per side of a vector field
_LEVELS = 7


def function_plot(
    target: Target,
    network: Any = None,
    *,
    domain: Box | Ball | None = None,
    eps: float | None = None,
    component: int | None = None,
    through: ArrayLike | None = None,
    ax: Axes | None = None,
) -> Axes:
    """The target, and the network beside it.

    n = 1: the target's curve, with the band of +-eps about it if eps is given, and the network's curve, which is
    broken where it jumps. n = 2: a map of the network's values with level lines of the target, or of the target's
    values if no network is given. n >= 3: the same on the slice of the first two coordinates through a point.

    network : a RadialNetwork, Construction, Cover or other callable (k, n) -> (k, m), or None
    domain : the part to draw, by default target.domain
    component : which of the m values; None draws all of them as curves (n = 1) or their length, with arrows if m = 2
    through : (n,) the point that a slice goes through, for n >= 3; by default the middle of the domain
    ax : where to draw; a new pyplot figure if None

    Returns the Axes. Raises TypeError or ValueError for pieces that do not fit together.

    >>> from approx.targets import gaussian
    >>> from matplotlib.figure import Figure
    >>> function_plot(gaussian(dim=1), ax=Figure().subplots()).get_ylabel()
    'gaussian'
    """
    call = "function_plot"
    require_target(call, target)
    subject = subject_of(call, network, target, eps=eps, domain=domain)
    component = pick_component(call, component, target.dim_out)
    view = view_of(subject, through)
    if target.dim_in == 1:
        data = curve(subject, view)
        ax = make_axes(call, ax)
        draw_curves(ax, subject, view, data, component)
    else:
        grid = plane_map(subject, view)
        ax = make_axes(call, ax)
        shown = grid.target if grid.network is None else grid.network
        image = draw_values(ax, subject, view, grid, shown, component, levels=grid.network is not None)
        color_bar(ax, image, value_label(target, component))
    if view.slice_text:
        ax.set_title(f"slice {view.slice_text}")
    return ax


def error_map(
    subject: Any,
    target: Target | None = None,
    *,
    report: Any = None,
    eps: float | None = None,
    domain: Box | Ball | None = None,
    component: int | None = None,
    through: ArrayLike | None = None,
    ax: Axes | None = None,
) -> Axes:
    """The error F - f, with the tolerance and the worst point.

    n = 1: curves between the lines +-eps. n = 2: a map whose colours span [-eps, eps], with lines where |F - f| = eps
    if it gets larger. n >= 3: the same on the slice of the first two coordinates through the worst point.

    subject : a construction or a Certificate, or a RadialNetwork, Cover or callable (k, n) -> (k, m) with `target`
    report : the SupError that says where the worst point is; by default the construction's, or none, and then the
        worst of the points drawn is marked
    eps, domain : by default the construction's; on all of R^n the target's own domain is drawn
    component : which of the m values; if m > 1, None draws all of them as curves (n = 1) or |F - f| as a map
    through : (n,) the point that a slice goes through, for n >= 3
    ax : where to draw; a new pyplot figure if None

    Returns the Axes. Raises TypeError or ValueError for pieces that do not fit together, and for a sampled report:
    it holds one point, so it cannot be drawn without the network.

    >>> from approx.targets import gaussian
    >>> from matplotlib.figure import Figure
    >>> ax = error_map(lambda x: 0 * x, gaussian(dim=1), eps=0.5, ax=Figure().subplots())
    >>> ax.get_ylabel()
    '$F - f$'
    """
    call = "error_map"
    parts = subject_of(call, subject, target, report=report, eps=eps, domain=domain)
    if parts.network is None:
        raise TypeError(_checks.message(call, "no network", "a network", "Pass the construction or the network."))
    component = pick_component(call, component, parts.target.dim_out)
    view = view_of(parts, through)
    if parts.target.dim_in == 1:
        data = curve(parts, view)
        ax = make_axes(call, ax)
        draw_error_curve(ax, parts, view, data, component)
    else:
        grid = plane_map(parts, view)
        ax = make_axes(call, ax)
        draw_error_map(ax, parts, view, grid, component)
        if view.slice_text:
            ax.set_title(f"slice {view.slice_text}\n{ax.get_title()}", fontsize="medium")
    return ax


def pick_component(call: str, component: Any, m: int) -> int | None:
    """The component to draw, checked; None for all of several."""
    if component is None:
        return 0 if m == 1 else None
    return _checks.count(call, "component", component, least=0, most=m - 1)


def shown_component(values: Array, component: int | None) -> Array:
    """(..., m) -> (...): one component, or the Euclidean length."""
    return np.linalg.norm(values, axis=-1) if component is None else values[..., component]


def draw_curves(ax: Axes, subject: Subject, view: View, data: Curve, component: int | None) -> None:
    """Target, band and network over x."""
    target = subject.target
    shown = range(target.dim_out) if component is None else [component]
    for position, i in enumerate(shown):
        suffix = f" {i + 1}" if target.dim_out > 1 else ""
        f = data.target[:, i]
        if subject.eps is not None:
            label = f"target ± {subject.eps:g}" if position == 0 else None
            ax.fill_between(data.x, f - subject.eps, f + subject.eps, color=BAND, lw=0, label=label)
        if data.network is None:
            ax.plot(data.x, f, color=COLORS[position % 6], lw=1.8, label=f"target{suffix}")
        else:
            ax.plot(data.x, f, color="black", lw=1.2, label="target" if position == 0 else None)
            ax.plot(data.x, data.network[:, i], color=COLORS[position % 6], lw=1.8, label=f"network{suffix}")
    coordinates(ax, target.axis_unit, view.box)
    ax.set_ylabel(quantity(target.name, target.unit))
    if data.network is not None or len(shown) > 1 or subject.eps is not None:
        ax.legend(fontsize="small")


def draw_error_curve(ax: Axes, subject: Subject, view: View, data: Curve, component: int | None) -> None:
    """F - f over x, between the lines +-eps; without a component all of them."""
    target, eps = subject.target, subject.eps
    error = difference(data)
    shown = range(target.dim_out) if component is None else [component]
    for position, i in enumerate(shown):
        label = f"component {i + 1}" if len(shown) > 1 else None
        ax.plot(data.x, error[:, i], color=COLORS[position % 6], lw=1.4, label=label)
    if eps is not None:
        for sign in (-1, 1):
            ax.axhline(sign * eps, color="black", ls="--", lw=1, label="± eps" if sign > 0 else None)
    ax.axhline(0, color=GREY, lw=0.6)
    lengths = np.linalg.norm(error, axis=1)
    x, size, signed = data.x[np.nanargmax(lengths)], np.nanmax(lengths), error[np.nanargmax(lengths)]
    if subject.report is not None:
        report = subject.report
        x, size, signed = report.argmax[0], report.lower, report.network_value - report.target_value
    label = f"largest found: {size:.3g} {target.unit}".rstrip()
    if view.box.contains([x]):
        heights = signed[list(shown)]
        ax.plot([x] * len(heights), heights, "X", color=ORANGE, mec="black", ms=8, label=label, zorder=5)
    else:
        ax.plot([], [], " ", label=f"{label}\nat x = {x:.4g}, outside this view")
    limit = 1.15 * (max(eps or 0.0, size) or 1.0)
    ax.set_ylim(-limit, 1.45 * limit)  # room for the legend
    coordinates(ax, target.axis_unit, view.box)
    ax.set_ylabel(quantity("$F - f$", target.unit))
    ax.legend(loc="upper center", fontsize="small", ncols=2)


def draw_values(
    ax: Axes,
    subject: Subject,
    view: View,
    grid: Map,
    values: Array,
    component: int | None,
    *,
    levels: bool = False,
    limits: tuple[float, float] | None = None,
) -> AxesImage:
    """A map of values (r, c, m), coloured over `limits`; `levels` adds level lines of the target."""
    picture = shown_component(values, component)
    low, high = limits or frame(picture, shown_component(grid.target, component))
    image = ax.imshow(
        picture, origin="lower", extent=grid.extent, cmap=VALUE_MAP, vmin=low, vmax=high, interpolation="nearest"
    )
    f = shown_component(grid.target, component)
    if levels and np.nanmin(f) < np.nanmax(f):
        lines = np.linspace(np.nanmin(f), np.nanmax(f), _LEVELS + 2)[1:-1]
        ax.contour(grid.x, grid.y, f, levels=lines, colors="white", linewidths=0.8, alpha=0.8)
    if component is None and values.shape[-1] == 2:
        step = max(1, len(grid.x) // _ARROWS)
        some = slice(step // 2, None, step)
        u, v = values[some, some, 0], values[some, some, 1]
        ax.quiver(grid.x[some], grid.y[some], u, v, color="white", edgecolor="black", linewidth=0.3, width=0.006)
    coordinates(ax, subject.target.axis_unit, view.box)
    return image


def draw_error_map(ax: Axes, subject: Subject, view: View, grid: Map, component: int | None) -> AxesImage:
    """A map of F - f, or of its length without a component, with the worst point and a colour bar."""
    target, eps, report = subject.target, subject.eps, subject.report
    error = difference(grid)
    picture = shown_component(error, component)
    lengths = np.linalg.norm(error, axis=-1)
    largest = float(np.nanmax(np.abs(picture)))
    limit = eps or largest or 1.0
    exceeded = largest > limit
    image = ax.imshow(
        picture,
        origin="lower",
        extent=grid.extent,
        cmap="cividis" if component is None else ERROR_MAP,
        vmin=0 if component is None else -limit,
        vmax=limit,
        interpolation="nearest",
    )
    if exceeded:
        ax.contour(grid.x, grid.y, np.abs(picture), levels=[limit], colors="black", linewidths=0.7)
    row, column = np.unravel_index(np.nanargmax(lengths), lengths.shape)
    worst, size = view.lift(np.array([[grid.x[column], grid.y[row]]]))[0], float(np.nanmax(lengths))
    if report is not None:
        worst, size = report.argmax, report.lower
    what = "|F - f|" if component is not None and target.dim_out > 1 else "error"  # the norm over all components
    found = f"{what}, largest found: {size:.3g} {target.unit}".rstrip()
    if view.shows(worst):
        marker = ax.plot(*worst[:2], "X", color="white", mec="black", ms=9, mew=1.2, zorder=5)[0]
        marker.set_path_effects([patheffects.withStroke(linewidth=1, foreground="black")])
        note = found
    else:
        note = f"{found}, not in this view"
    ax.set_title(note, fontsize="medium")
    name = "$|F - f|$" if component is None else "$F - f$"
    if component is not None and target.dim_out > 1:
        name += f", component {component + 1}"
    extend = "neither" if not exceeded else "max" if component is None else "both"
    bar = color_bar(ax, image, quantity(name, target.unit), extend=extend)
    if eps is not None:
        ends = [0, eps / 2, eps] if component is None else [-eps, -eps / 2, 0, eps / 2, eps]
        bar.set_ticks(ends, labels=[f"{tick:g}" for tick in ends])
    coordinates(ax, target.axis_unit, view.box)
    return image


def value_label(target: Target, component: int | None) -> str:
    """What a colour bar of values says."""
    name = f"|{target.name}|" if component is None else target.name
    if component is not None and target.dim_out > 1:
        name += f", component {component + 1}"
    return quantity(name, target.unit)
