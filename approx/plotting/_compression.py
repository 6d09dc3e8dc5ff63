"""A network before and after compression, drawn node by node."""

from __future__ import annotations

import itertools

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from approx import _checks
from approx.compression import Compression
from approx.plotting._networks import network_picture
from approx.plotting._style import BLUE, GREY, SomeFigure, make_figure

__all__ = ["compression_picture"]

_NODES = 16  # most nodes of a layer that are drawn
_LAYERS = 12  # most layers drawn node by node


def compression_picture(compression: Compression, fig: SomeFigure | None = None) -> SomeFigure | Figure:
    """The full network on the left, the compressed one on the right, both in the basis of the compression.

    Columns of nodes are layers, with the width below; filled nodes are the coordinates that remain, white ones those
    that compression removes. Of layers wider than 16 the first and last nodes are drawn, the removed among them in
    proportion; networks deeper than 12 layers are drawn as by `network_picture`.

    fig : a matplotlib Figure to draw in; a new pyplot figure if None
    Returns the Figure. Raises TypeError for anything but a `Compression`.
    Source: arXiv 2107.02550, Figure 4.

    >>> from approx.compression import compress
    >>> from approx.training import random_network
    >>> from matplotlib.figure import Figure
    >>> figure = compression_picture(compress(random_network((1, 6, 7, 1))), Figure())
    >>> [ax.get_title() for ax in figure.axes]
    ['before: 69 parameters', 'after: 17 parameters']
    """
    call = "compression_picture"
    if not isinstance(compression, Compression):
        received = f"compression = {_checks.show(compression)}"
        raise TypeError(_checks.message(call, received, "a Compression", "Pass what approx.compress returns."))
    figure = make_figure(call, fig, (8.8, 3.6))
    before, after = figure.subplots(1, 2)
    widths, reduced = compression.widths, compression.reduced_widths
    if len(widths) > _LAYERS:
        for ax, network in ((before, compression.full), (after, compression.network)):
            network_picture(network, ax)
            ax.set_title("")
    else:
        tallest = min(max(widths), _NODES + 1) / 2
        _columns(before, widths, reduced, tallest)
        _columns(after, reduced, reduced, tallest)
    for ax, name, count in zip((before, after), ("before", "after"), compression.parameters, strict=True):
        ax.set_title(f"{name}: {count:,} parameters", fontsize="medium")
    return figure


def _columns(ax: Axes, widths: tuple[int, ...], kept: tuple[int, ...], tallest: float) -> None:
    """Nodes of every layer as a column centred on 0, the kept ones on top."""
    places = []
    for width in widths:
        drawn = min(width, _NODES)
        height = (drawn - 1) / 2 - np.arange(drawn)
        places.append(height + np.where(height < 0, -0.5, 0.5) * (width > drawn))  # a gap where nodes are left out
    lines = [
        [(layer, y), (layer + 1, z)]
        for layer, pair in enumerate(itertools.pairwise(places))
        for y, z in itertools.product(*pair)
    ]
    ax.add_collection(LineCollection(lines, colors=GREY, linewidths=0.4, alpha=0.5, zorder=1))
    for layer, (heights, width, count) in enumerate(zip(places, widths, kept, strict=True)):
        stay = np.arange(len(heights)) < max(1, round(count * len(heights) / width))
        for chosen, color in ((stay, BLUE), (~stay, "white")):
            at = heights[chosen]
            ax.scatter([layer] * len(at), at, s=42, color=color, edgecolors="black", linewidths=0.8, zorder=2)
        if width > len(heights):
            ax.text(layer, 0, "...", rotation=90, ha="center", va="center")
        ax.annotate(f"{width:,}", (layer, heights[-1]), (0, -8), textcoords="offset points", ha="center", va="top")
    ax.set_xlim(-0.4, len(widths) - 0.6)
    ax.set_ylim(-tallest - 1.5, tallest + 0.7)
    ax.set_axis_off()
