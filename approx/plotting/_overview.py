"""One figure per construction: target, network and error side by side."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from numpy.typing import NDArray

from approx import _checks
from approx.domains import Ball, Box, WholeSpace
from approx.networks import RadialNetwork
from approx.plotting._functions import (
    draw_curves,
    draw_error_curve,
    draw_error_map,
    draw_values,
    pick_component,
    shown_component,
    value_label,
)
from approx.plotting._style import BLUE, GREY, ORANGE, SomeFigure, color_bar, frame, make_figure, network_text, quantity
from approx.plotting._view import Map, Subject, View, curve, plane_map, subject_of, view_of
from approx.targets import Target

__all__ = ["overview"]

Array = NDArray[np.float64]
_FAR = (256, 4096)  # least and most points of the far field
_FLOOR = 1e-8  # of the largest error: smaller ones are drawn there
_ROWS = 3  # most components that get a row each


def overview(
    subject: Any,
    target: Target | None = None,
    *,
    report: Any = None,
    eps: float | None = None,
    domain: Box | Ball | WholeSpace | None = None,
    fig: SomeFigure | None = None,
) -> SomeFigure | Figure:
    """Target, network and error in one figure, under a title with the construction, its size and its error.

    n = 1: both curves with the band of +-eps, and the error. n = 2: maps of target, network and error; with two or
    three components a row for each. n >= 3: the same on the slice of the first two coordinates through the worst
    point. On all of R^n the target's own domain is drawn, and one more panel shows |F - f| out to |x| = 10^6.

    subject : a construction, or a RadialNetwork, Cover or callable (k, n) -> (k, m) together with `target`
    report, eps, domain : by default the construction's
    fig : an empty figure (or subfigure) to draw in; a new pyplot figure if None

    Returns the figure. Raises TypeError or ValueError for pieces that do not fit together.

    >>> from approx.targets import gaussian
    >>> from matplotlib.figure import Figure
    >>> len(overview(lambda x: 0 * x, gaussian(dim=1), domain=WholeSpace(1), fig=Figure()).axes)
    3
    """
    call = "overview"
    parts = subject_of(call, subject, target, report=report, eps=eps, domain=domain)
    if parts.network is None:
        raise TypeError(_checks.message(call, "no network", "a network", "Pass the construction or the network."))
    view = view_of(parts)
    far = None if parts.claim.compact else _far_field(parts, parts.claim)
    if parts.target.dim_in == 1:
        data = curve(parts, view)
        figure = make_figure(call, fig, (10.5 if far is None else 13.0, 4.4))
        panels = _grid(figure, 2 if far is None else 3)
        draw_curves(panels[0], parts, view, data, pick_component(call, None, parts.target.dim_out))
        draw_error_curve(panels[1], parts, view, data, pick_component(call, None, parts.target.dim_out))
    else:
        grid, m = plane_map(parts, view), parts.target.dim_out
        components = [None] if m > _ROWS else list(range(m))
        figure = make_figure(call, fig, (12.5 if far is None else 16.0, 1.0 + 3.4 * len(components)))
        panels = _draw_maps(figure, parts, view, grid, components, far is not None)
    if far is not None:
        _draw_far(panels[-1], parts, *far)
    title = figure.suptitle("")
    size = float(title.get_fontsize())
    letters = max(20, int(72 * figure.bbox.width / figure.dpi / (0.62 * size)))  # that fit in a line
    lines = [textwrap.wrap(line, letters) for line in _title(parts, subject, view, letters)]
    title.set_text("\n".join(itertools.chain(*lines)))
    return figure


def _grid(fig: Figure | SubFigure, count: int) -> list[Axes]:
    """Panels in one row if the figure is wide, else in two columns."""
    columns = count if fig.bbox.width >= 2 * fig.bbox.height else min(count, 2)
    spec = fig.add_gridspec(-(-count // columns), columns)
    return [fig.add_subplot(spec[i // columns, i % columns]) for i in range(count)]


def _draw_maps(
    fig: Figure | SubFigure, parts: Subject, view: View, grid: Map, components: Sequence[int | None], far: bool
) -> list[Axes]:
    """Rows of target, network and error; the last panel is the far field's, if there is one."""
    assert grid.network is not None, "the subject has a network"
    rows = len(components)
    if rows == 1:
        panels = _grid(fig, 4 if far else 3)
    else:
        spec = fig.add_gridspec(rows, 4 if far else 3)
        panels = [fig.add_subplot(spec[row, column]) for row in range(rows) for column in range(3)]
        panels += [fig.add_subplot(spec[:, 3])] if far else []
    for row, component in enumerate(components):
        left, middle, right = panels[3 * row : 3 * row + 3]
        limits = frame(*(shown_component(values, component) for values in (grid.target, grid.network)))
        for ax, values, name in ((left, grid.target, "target"), (middle, grid.network, "network")):
            image = draw_values(ax, parts, view, grid, values, component, limits=limits)
            ax.set_title(name, fontsize="medium")
        color_bar(middle, image, value_label(parts.target, component))
        draw_error_map(right, parts, view, grid, component)
    return panels


def _far_field(parts: Subject, space: WholeSpace) -> tuple[float, Array, Array]:
    """(radius of the view, |x| (k,), |F - f| (k,)) at points out to |x| = 10^6."""
    corners = parts.target.domain.bounding_box()
    scale = float(np.linalg.norm(np.maximum(np.abs(corners.lower), np.abs(corners.upper))))
    points = space.sample(parts.affordable(*_FAR), scale=scale)
    error = np.linalg.norm(parts.values(points) - parts.target(points), axis=1)
    return scale, np.linalg.norm(points, axis=1), error


def _draw_far(ax: Axes, parts: Subject, scale: float, lengths: Array, error: Array) -> None:
    top = max(error.max(initial=0.0), parts.eps or 0.0) or 1.0
    floor = 10.0 ** np.floor(np.log10(_FLOOR * top))
    ax.loglog(lengths, np.maximum(error, floor), ".", ms=2.5, color=BLUE, label="sampled points")
    if parts.eps is not None:
        ax.axhline(parts.eps, color="black", ls="--", lw=1, label="eps")
    if parts.target.tail is not None:
        radii = np.geomspace(scale, lengths.max(), 200)
        tail = np.array([float(parts.target.tail(r)) for r in radii])
        ax.plot(radii, np.maximum(tail, floor), color=ORANGE, lw=1.5, label="bound of |f - L|, L affine")
    ax.axvline(scale, color=GREY, lw=1, ls=":", label="edge of the view")
    ax.set_ylim(floor / 2, 20 * top)
    ax.set_xlabel(quantity("$|x|$", parts.target.axis_unit))
    ax.set_xlim(scale / 50, 2 * lengths.max())
    ax.set_ylabel(quantity(f"max(|F - f|, {floor:.0e})", parts.target.unit))
    ax.set_title("far field", fontsize="medium")
    ax.legend(fontsize="small", loc="center right")


def _title(parts: Subject, subject: Any, view: View, letters: int) -> list[str]:
    target, report = parts.target, parts.report
    wanted = "" if parts.eps is None else f", eps = {parts.eps:g} {target.unit}".rstrip()
    where = f"{parts.claim} {target.axis_unit}".rstrip() if parts.claim.compact else f"$R^{parts.claim.dim}$"
    cut = f"; slice {view.slice_text}" if view.slice_text else ""
    if cut and report is not None and view.shows(report.argmax):
        cut += " through the worst point"
    lines = [f"{target.name} on {where}{wanted}{cut}"]
    if isinstance(parts.network, RadialNetwork):
        source = f"{subject.theorem} ({subject.builder}): " if hasattr(subject, "builder") else ""
        size = network_text(parts.network)
        lines.extend([source + size] if len(source + size) <= letters else [source, size])
    if report is None:
        lines.append("error not measured")
    else:
        upper = "upper bound not certified" if report.upper is None else f"at most {report.upper:.4g}"
        lines.append(f"sup |F - f|: found {report.lower:.4g}, {upper}")
    return lines
