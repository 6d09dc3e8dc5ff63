"""A picture painted with ellipsoids: how it looks after some of them, and how its error falls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from approx import _checks
from approx.plotting._functions import pick_component
from approx.plotting._style import BLUE, GREY, SomeFigure, coordinates, frame, make_axes, make_figure, quantity

__all__ = ["painting_curve", "painting_picture"]

_PIXELS = 400  # along the longer side
_LAYERS = (10, 50, 200, 500)


def painting_curve(painting: Any, ax: Axes | None = None) -> Axes:
    """The root mean square and the largest error at the nodes over the number of ellipsoids, both axes logarithmic.

    painting : what `constructions.paint` returned
    ax : where to draw; a new pyplot figure if None

    Returns the Axes. Raises TypeError for anything else.

    >>> import constructions
    >>> from approx.targets import peaks
    >>> from matplotlib.figure import Figure
    >>> painting_curve(constructions.paint(peaks(), 5, nodes=30), Figure().subplots()).get_xlabel()
    'ellipsoids = hidden layers'
    """
    call = "painting_curve"
    _require(call, painting)
    ax = make_axes(call, ax)
    count = np.arange(1, len(painting) + 1)
    ax.plot(count, painting.largest[1:], color=GREY, label="largest")
    ax.plot(count, painting.rms[1:], color=BLUE, label="root mean square")
    if len(count):
        ax.set(xscale="log", yscale="log")
    ax.set_xlabel("ellipsoids = hidden layers")
    ax.set_ylabel(quantity("error at the nodes", painting.target.unit))
    ax.grid(alpha=0.3, which="both")
    ax.legend(frameon=False)
    return ax


def painting_picture(
    painting: Any,
    *,
    layers: Sequence[int] = _LAYERS,
    component: int | None = None,
    colors: str = "gray",
    fig: SomeFigure | None = None,
) -> SomeFigure | Figure:
    """The target, the painting after some numbers of ellipsoids, and the curve of its error.

    painting : what `constructions.paint` returned; in other dimensions than 2 only the curve is drawn
    layers : which numbers, as far as the painting has so many ellipsoids; its last state is shown in any case
    component : which of the m values; None is their length if m > 1
    colors : name of a matplotlib colour map
    fig : an empty figure (or subfigure) to draw in; a new pyplot figure if None

    Returns the figure. Raises TypeError or ValueError for anything else.

    >>> from matplotlib.figure import Figure
    >>> import constructions
    >>> from approx import targets
    >>> picture = constructions.paint(targets.peaks(), 12, nodes=40)
    >>> len(painting_picture(picture, fig=Figure()).axes)
    5
    """
    call = "painting_picture"
    _require(call, painting)
    if painting.target.dim_in != 2:
        figure = make_figure(call, fig, (6.4, 4.4))
        painting_curve(painting, figure.add_subplot())
        return figure
    counts = sorted({_checks.count(call, "layers", k) for k in layers})
    counts = [k for k in counts if k < len(painting)] + [len(painting)]
    component = pick_component(call, component, painting.target.dim_out)
    box = painting.domain.bounding_box()
    width, height = box.widths / box.widths.max()
    across = np.linspace(box.lower[0], box.upper[0], max(2, round(_PIXELS * width)))
    up = np.linspace(box.lower[1], box.upper[1], max(2, round(_PIXELS * height)))
    points = np.stack(np.meshgrid(across, up), axis=-1).reshape(-1, 2)
    inside = painting.domain.contains(points)

    def raster(function: Any) -> np.ndarray:
        values = np.full(len(points), np.nan)
        found = function(points[inside])
        values[inside] = np.linalg.norm(found, axis=1) if component is None else found[:, component]
        return values.reshape(len(up), len(across))

    shown = {painting.target.name: raster(painting.target)}
    for count in counts:
        unit = f" {painting.target.unit}" if painting.target.unit else ""
        words = f"{count:,} ellipsoid{'s' if count != 1 else ''}, rms {painting.rms[count]:.3g}{unit}"
        shown[words] = raster(painting.cover(count))
    low, high = frame(shown[painting.target.name])
    columns = (len(shown) + 2) // 2
    figure = make_figure(call, fig, (0.8 + 3.1 * columns * min(1.4, max(0.75, width / height)), 6.8))
    grid = figure.add_gridspec(2, columns)
    panels = [figure.add_subplot(grid[i // columns, i % columns]) for i in range(len(shown))]
    edges = (box.lower[0], box.upper[0], box.lower[1], box.upper[1])
    for ax, (title, values) in zip(panels, shown.items(), strict=True):
        image = ax.imshow(values, origin="lower", extent=edges, cmap=colors, vmin=low, vmax=high)
        ax.set_title(title, fontsize="medium")
        coordinates(ax, painting.target.axis_unit, box)
    row, column = divmod(len(shown), columns)
    panels.append(figure.add_subplot(grid[row, column:], box_aspect=height / width / (1.4 * (columns - column) - 0.4)))
    painting_curve(painting, panels[-1])
    figure.colorbar(image, ax=panels, shrink=0.6, label=quantity("value", painting.target.unit))
    return figure


def _require(call: str, painting: Any) -> None:
    if not all(hasattr(painting, name) for name in ("cover", "rms", "largest", "target", "domain")):
        received = f"painting = {_checks.show(painting)}"
        raise TypeError(_checks.message(call, received, "a Painting", "Pass what constructions.paint returned."))
