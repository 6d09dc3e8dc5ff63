"""Cells: the cover as it lies in space, and the network capturing its cells layer by layer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import EllipseCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import distance_transform_edt

from approx import _checks
from approx.covers import Cover
from approx.domains import Ball, Box
from approx.evaluation import captured
from approx.networks import RadialNetwork
from approx.plotting._functions import pick_component, shown_component
from approx.plotting._style import (
    BLUE,
    GREY,
    ORANGE,
    VALUE_MAP,
    SomeFigure,
    color_bar,
    coordinates,
    frame,
    make_axes,
    make_figure,
)

__all__ = ["capture_plot", "cover_plot"]

Array = NDArray[np.float64]
_NUMBERED = 60  # most cells that get a number
_OUTLINED = 3000  # most cells that get an outline
_GRID = 240  # per side, to find where a cell is visible
_FIRST_LAYERS = 6


def cover_plot(
    cover: Cover,
    ax: Axes | None = None,
    *,
    domain: Box | Ball | None = None,
    component: int | None = None,
    axis_unit: str = "",
    unit: str = "",
) -> Axes:
    """The cells of a cover, coloured by their values: the first cell lies on top, as it is the one that counts.

    n = 1: the function that the cells and the affine map make, broken where it jumps. n = 2: ellipses on the affine
    map. Up to 60 cells are numbered in their order, from 1, where they are visible.

    domain : the part to draw; by default the box around all cells, or [-1, 1]^n without cells
    component : which of the m values; None is their length if m > 1
    unit, axis_unit : units of values and coordinates, which a cover does not know
    ax : where to draw; a new pyplot figure if None

    Returns the Axes. Raises TypeError for another thing than a cover, ValueError for n > 2 or a domain of another
    dimension.

    >>> from approx.affine import AffineMap
    >>> from matplotlib.figure import Figure
    >>> two = Cover([[0, 0], [1, 0]], [[1.0], [2.0]], AffineMap.constant([0.0], 2), radii=[1, 1])
    >>> len(cover_plot(two, Figure().subplots()).collections[0].get_array())
    2
    """
    call = "cover_plot"
    if not isinstance(cover, Cover):
        action = "Pass construction.cover."
        raise TypeError(_checks.message(call, f"cover = {_checks.show(cover)}", "a Cover", action))
    n = cover.dim_in
    if n > 2:
        action = "Draw its function with function_plot(target, cover) on a slice."
        raise ValueError(_checks.message(call, f"cells in R^{n}", "cells in R^1 or R^2", action))
    if domain is not None and (not isinstance(domain, Box | Ball) or domain.dim != n):
        action = "Give the part to draw."
        raise ValueError(_checks.message(call, f"domain = {_checks.show(domain)}", f"a Box or Ball of R^{n}", action))
    component = pick_component(call, component, cover.dim_out)
    box = _box_of(cover) if domain is None else domain.bounding_box()
    ax = make_axes(call, ax)
    draw = _draw_intervals if n == 1 else _draw_ellipses
    label = "value" if component is not None else "|value|"
    label = f"{label} {component + 1}" if component is not None and cover.dim_out > 1 else label
    draw(ax, cover, box, component, f"{label} ({unit})" if unit else label)
    coordinates(ax, axis_unit, box)
    ax.set_title(f"{len(cover):,} cell{'' if len(cover) == 1 else 's'}, {cover.strategy}", fontsize="medium")
    return ax


def _box_of(cover: Cover) -> Box:
    if not len(cover):
        return Box.cube(cover.dim_in, 1.0)
    return Box((cover.centers - cover.half_extents).min(axis=0), (cover.centers + cover.half_extents).max(axis=0))


def _draw_intervals(ax: Axes, cover: Cover, box: Box, component: int | None, label: str) -> None:
    reach = cover.half_extents[:, 0]
    ends = np.concatenate([cover.centers[:, 0] - reach, cover.centers[:, 0] + reach, box.lower, box.upper])
    ends = np.unique(ends.clip(box.lower[0], box.upper[0]))
    left, right = ends[:-1], ends[1:]
    first = cover.find(((left + right) / 2)[:, None])
    change = np.flatnonzero(np.diff(first))  # ends of covered cells change nothing
    left, right, first = left[np.append(0, change + 1)], right[np.append(change, -1)], first[np.append(0, change + 1)]
    held = first >= 0
    value = np.full((3, len(left)), np.nan)  # at the left end, at the right end, and a break
    for row, x in enumerate((left, right)):
        value[row, held] = shown_component(cover.values[first[held]], component)
        value[row, ~held] = shown_component(cover.affine(x[~held, None]), component)
    x = np.stack([left, right, np.full(len(left), np.nan)])
    for mask, color, name in ((held, BLUE, "cells"), (~held, GREY, "affine map")):
        if mask.any():
            ax.plot(x[:, mask].T.ravel(), value[:, mask].T.ravel(), color=color, lw=2, label=name)
    if len(cover) <= _NUMBERED:
        for i in range(len(cover)):
            seen = np.flatnonzero(first == i)
            if len(seen):
                k = seen[np.argmax((right - left)[seen])]
                ax.annotate(
                    str(i + 1),
                    ((left[k] + right[k]) / 2, value[0, k]),
                    (0, 3),
                    textcoords="offset points",
                    ha="center",
                    fontsize="small",
                )
    ax.margins(y=0.1)
    ax.set_ylabel(label)
    ax.legend(fontsize="small")


def _draw_ellipses(ax: Axes, cover: Cover, box: Box, component: int | None, label: str) -> None:
    values = shown_component(cover.values, component)
    background = shown_component(cover.affine(box.grid(64)), component).reshape(64, 64).T
    scale = Normalize(*frame(values, background))
    extent = (box.lower[0], box.upper[0], box.lower[1], box.upper[1])
    ax.imshow(background, origin="lower", extent=extent, cmap=VALUE_MAP, norm=scale, zorder=0, aspect="auto")
    if cover.radii is not None:
        axes, angles = np.repeat(cover.radii[:, None], 2, axis=1), np.zeros(len(cover))
    else:  # |A (x - c)| < 1 with A = U diag(s) V: the semi-axes are the rows of V with lengths 1/s
        _, singular, rows = np.linalg.svd(cover.matrices)
        axes, angles = 1 / singular, np.degrees(np.arctan2(rows[:, 0, 1], rows[:, 0, 0]))
    back = slice(None, None, -1)  # the first cell is drawn last
    ellipses = EllipseCollection(
        2 * axes[back, 0],
        2 * axes[back, 1],
        angles[back],
        units="xy",
        offsets=cover.centers[back],
        offset_transform=ax.transData,
        cmap=VALUE_MAP,
        norm=scale,
        linewidths=0.6 if len(cover) <= _OUTLINED else 0,
        edgecolors="black" if len(cover) <= _OUTLINED else "face",
    )
    ellipses.set_array(values[back])
    ax.add_collection(ellipses, autolim=False)
    if len(cover) <= _NUMBERED:
        _number(ax, cover, box, values, scale)
    color_bar(ax, ellipses, label)


def _number(ax: Axes, cover: Cover, box: Box, values: Array, scale: Normalize) -> None:
    """Every visible cell's number far from the edge of what is visible of it, and there far from the other numbers."""
    points = box.grid(_GRID)
    first = cover.find(points).reshape(_GRID, _GRID)
    placed: list[Array] = []
    for i in range(len(cover)):
        inside = np.pad(first == i, 1)
        if inside.any():
            depth = distance_transform_edt(inside)[1:-1, 1:-1]
            room = points[depth.ravel() > 0.9 * depth.max()] if placed else points[[np.argmax(depth)]]
            gaps = np.linalg.norm(room[:, None] - np.array([*placed, [np.inf] * 2]), axis=2).min(axis=1)
            x, y = room[np.argmax(gaps)]
            placed.append(np.array([x, y]))
            dark = scale(values[i]) < 0.6
            ax.text(x, y, str(i + 1), ha="center", va="center", fontsize="small", color="white" if dark else "black")


def capture_plot(
    network: RadialNetwork, points: ArrayLike, layers: Sequence[int] | None = None, fig: SomeFigure | None = None
) -> SomeFigure | Figure:
    """Which points each layer captures: one panel per layer, in the coordinates that the layer itself sees.

    A panel shows W_i F_{i-1}(x) + b_i for every point x, that is the points as they arrive at the activation of layer
    i; Step-ReLU sends the open unit ball to 0. The first two coordinates are drawn (for n = 1 the first, and the
    length of all others), and the circle is the part of the unit ball that an uncaptured point can meet.

    points : (k, n)
    layers : which layers, counted from 1 to network.hidden_layers; by default the first six
    fig : where to draw; a new pyplot figure if None

    Returns the figure. Raises TypeError or ValueError for points of the wrong shape, layers that do not exist, and a
    network without hidden layers.

    >>> import torch
    >>> from approx.activations import StepReLU
    >>> from approx.networks import Dense
    >>> from matplotlib.figure import Figure
    >>> eye, zero = torch.eye(2).double(), torch.zeros(2).double()
    >>> net = RadialNetwork([Dense(eye, zero, StepReLU()), Dense(eye, zero)])
    >>> capture_plot(net, [[0.5, 0.5], [2.0, 0.0]], fig=Figure()).axes[0].get_title()
    'layer 1: captures 1, 0 before'
    """
    call = "capture_plot"
    if not isinstance(network, RadialNetwork):
        action = "Pass construction.network."
        raise TypeError(_checks.message(call, f"network = {_checks.show(network)}", "a RadialNetwork", action))
    x = _checks.finite_array(call, "points", points, (None, network.dim_in))
    if not len(x) or not network.hidden_layers:
        received = "no points" if not len(x) else "a network without hidden layers"
        action = "Sample some, for instance target.domain.sample(500)." if not len(x) else "Nothing can be captured."
        raise ValueError(_checks.message(call, received, "points and layers that may capture them", action))
    wanted = range(1, min(_FIRST_LAYERS, network.hidden_layers) + 1) if layers is None else np.ravel(layers).tolist()
    chosen = [_checks.count(call, "layer", layer, most=network.hidden_layers) for layer in wanted]
    if not chosen:
        raise ValueError(_checks.message(call, "no layers", "at least one layer", "Pass layers=None for the first."))
    when = captured(network, x) + 1  # 0: never
    states = [_arriving(network, x, layer) for layer in chosen]
    columns = min(3, len(chosen))
    rows = -(-len(chosen) // columns)
    figure = make_figure(call, fig, (3.6 * columns + 0.4, 3.5 * rows + 0.5))
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax, layer, state in zip(panels, chosen, states, strict=False):
        _draw_captures(ax, state, when, layer, network.dim_in)
    for ax in panels[len(chosen) :]:
        ax.set_axis_off()
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(names))
    return figure


def _arriving(network: RadialNetwork, x: Array, layer: int) -> Array:
    """(k, n) -> (k, n_layer): what arrives at the activation of a layer, counted from 1."""
    with torch.no_grad():
        state = network.partial(torch.as_tensor(x).to(network.device, network.dtype), layer - 1)
        for block in network.blocks:
            if layer <= block.layers:
                break
            layer -= block.layers
        pick = slice(None) if block.weight.ndim == 2 else slice(layer - 1, layer)
        affine = type(block)(block.weight[pick], block.bias[pick], None)  # the same layer without its activation
        return affine.step(state, 0).double().cpu().numpy()


def _draw_captures(ax: Axes, state: Array, when: NDArray[np.int64], layer: int, n: int) -> None:
    n = min(n, state.shape[1])
    before, now = (when > 0) & (when < layer), when == layer
    waiting = ~before
    rest = np.linalg.norm(state[:, n:], axis=1)
    height = float(np.median(rest[waiting])) if waiting.any() else 0.0
    picture = np.stack([state[:, 0], rest if n == 1 else state[:, 1]], axis=1)
    radius = 1.0 if n == 1 else np.sqrt(max(0.0, 1 - height**2))
    ball = Circle((0, 0), radius, facecolor=ORANGE, alpha=0.18, edgecolor=ORANGE, lw=1.5, label="unit ball")
    ax.add_patch(ball)
    for mask, marker, color, size, name in (
        (waiting & ~now, "o", BLUE, 7, "not yet captured"),
        (now, "o", ORANGE, 14, "captured here"),
        (before, "x", "black", 22, "captured before"),
    ):
        ax.scatter(picture[mask, 0], picture[mask, 1], s=size, c=color, marker=marker, lw=1, label=name)
    # Captured points may sit far away, at the codes of their values; what still moves sets the frame.
    seen = np.concatenate([picture[waiting], [[-1.1, -1.1], [1.1, 1.1]]])
    low, high = seen.min(axis=0), seen.max(axis=0)
    if n == 1:
        ax.set(xlim=(low[0], high[0]), ylim=(0, 1.05 * high[1]))
    else:
        middle, half = (low + high) / 2, 0.52 * (high - low).max()
        ax.set(xlim=middle[0] + half * np.array([-1, 1]), ylim=middle[1] + half * np.array([-1, 1]), aspect="equal")
    ax.set_xlabel("$v_1$")
    ax.set_ylabel("length of the other coordinates" if n == 1 else "$v_2$")
    ax.set_title(f"layer {layer}: captures {now.sum():,}, {before.sum():,} before", fontsize="medium")
