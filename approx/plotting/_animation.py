"""A construction growing, layer by layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.animation import FuncAnimation
from matplotlib.figure import Figure
from numpy.typing import NDArray

from approx import _checks
from approx.covers import Cover
from approx.evaluation import captured
from approx.networks import RadialNetwork
from approx.plotting._style import BLUE, ORANGE, VALUE_MAP, color_bar, coordinates, frame, make_figure, quantity
from approx.plotting._view import View, subject_of, view_of
from approx.targets import Target

__all__ = ["growth_animation"]

Array = NDArray[np.float64]
_LINE, _SIDE = 1000, 200
_MOST_FRAMES = 1000


def growth_animation(
    subject: Any,
    target: Target | None = None,
    *,
    cover: Cover | None = None,
    domain: Any = None,
    frames: int = 60,
    component: int = 0,
    fig: Figure | None = None,
) -> FuncAnimation:
    """An animation of a Step-ReLU network of which only the first layers paint: frame by frame more of them.

    A point that layer k captures has the network's value once k layers paint, and the cover's affine map before. Which
    layer captures which point, and to what value, comes from the network's weights, at 1000 points of a line or
    200 x 200 of a plane; in more dimensions it is the plane of the first two coordinates.

    subject : a construction, or a network with `target` and `cover`
    domain : what is shown, by default the construction's domain or the target's
    frames : at most how many; the last one is the whole network
    component : which of the m values
    fig : an empty figure to draw in; a new pyplot figure if None

    Save it with ``animation.save("growing.gif", writer="pillow")``; in a notebook, show
    ``IPython.display.HTML(animation.to_jshtml())``. Raises TypeError or ValueError for pieces that do not fit together,
    and for networks without a cover, which do not paint.

    >>> from approx.affine import AffineMap
    >>> from approx.activations import StepReLU
    >>> from approx.targets import gaussian
    >>> layer = [[1.0], [0.0]], [0.0, 0.5], StepReLU()
    >>> network = RadialNetwork.from_layers([layer, ([[0.0, 2.0]], [0.0], None)])
    >>> cover = Cover([[0.0]], [[0.0]], AffineMap.constant([1.0], 1), radii=[0.75**0.5])
    >>> growth_animation(network, gaussian(dim=1), cover=cover, fig=Figure()).to_jshtml().count("image/png")
    1
    """
    call = "growth_animation"
    parts = subject_of(call, subject, target, domain=domain)
    cover = getattr(subject, "cover", None) if cover is None else cover
    if not isinstance(parts.network, RadialNetwork) or not isinstance(cover, Cover):
        received = f"network {_checks.show(parts.network)} with cover = {_checks.show(cover)}"
        action = "Pass the construction, or cover= from the file."
        raise TypeError(_checks.message(call, received, "a RadialNetwork and the Cover it was built from", action))
    if (cover.dim_in, cover.dim_out) != (parts.target.dim_in, parts.target.dim_out):
        required = f"a cover R^{parts.target.dim_in} -> R^{parts.target.dim_out}, as the target"
        raise ValueError(_checks.message(call, repr(cover), required, "Pass the cover of this network."))
    frames = _checks.count(call, "frames", frames, most=_MOST_FRAMES)
    component = _checks.count(call, "component", component, least=0, most=parts.target.dim_out - 1)
    view = view_of(parts)
    axes, points = _grid(view)
    inside = view.domain.contains(points)
    layer = np.zeros(len(points), dtype=np.int64)
    layer[inside] = captured(parts.network, points[inside]) + 1
    full, start = np.full(len(points), np.nan), cover.affine(points)[:, component]
    full[inside] = parts.values(points[inside])[:, component]
    start[~inside] = np.nan
    last = int(layer.max(initial=0))
    if not last:
        action = "Choose a domain that cells of the network meet."
        raise ValueError(_checks.message(call, "a picture in which no layer captures a point", "one", action))
    counts = np.unique(np.ceil(np.linspace(0, last, frames + 1)[1:]).astype(int))
    figure = make_figure(call, fig, (6.4, 4.8))
    ax = figure.add_subplot()
    limits = frame(full, start)

    def values(count: int) -> Array:
        return np.where(layer <= count, full, start)  # layer 0: no layer captures it, so full is the affine map

    if view.drawn == 1:
        show = _curve(ax, axes[0], values, parts.target, points, component, layer, limits)
    else:
        box = view.box
        extent = (box.lower[0], box.upper[0], box.lower[1], box.upper[1])
        shape = (len(axes[1]), len(axes[0]))
        image = ax.imshow(
            values(0).reshape(shape), origin="lower", extent=extent, cmap=VALUE_MAP, vmin=limits[0], vmax=limits[1]
        )
        color_bar(ax, image, quantity(parts.target.name, parts.target.unit))

        def show(count: int) -> None:
            image.set_data(values(count).reshape(shape))

    coordinates(ax, parts.target.axis_unit, view.box)
    title = ax.set_title("")

    def draw(count: int) -> list:
        show(count)
        title.set_text(f"the first {count:,} of {last:,} layers")
        return []

    return FuncAnimation(figure, draw, frames=[int(count) for count in counts], interval=100, blit=False)


def _grid(view: View) -> tuple[list[Array], Array]:
    box, count = view.box, _LINE if view.drawn == 1 else _SIDE
    axes = [low + width * (np.arange(count) + 0.5) / count for low, width in zip(box.lower, box.widths, strict=True)]
    return axes, view.lift(np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, view.drawn))


def _curve(
    ax: Any, x: Array, values: Any, target: Target, points: Array, component: int, layer: Any, limits: Any
) -> Callable[[int], None]:
    exact = target(points)[:, component]
    ax.plot(x, exact, color=ORANGE, lw=1.2, label=target.name)
    (line,) = ax.plot([], [], color=BLUE, lw=2, label="network")
    low, high = frame(np.array(limits), exact)
    ax.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))
    ax.set_ylabel(quantity(target.name, target.unit))
    ax.legend(loc="upper right", fontsize="small")

    def show(count: int) -> None:
        side = np.where(layer <= count, layer, 0)
        jumps = np.flatnonzero(np.diff(side)) + 1  # the line is broken where another cell begins
        line.set_data(np.insert(x, jumps, x[jumps]), np.insert(values(count), jumps, np.nan))

    return show
