"""Pictures of activations and of the shape of a network."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.patches import Polygon

from approx import _checks
from approx.activations import RadialActivation, StepReLU, activation
from approx.networks import RadialNetwork
from approx.plotting._style import BLUE, COLORS, GREY, make_axes, network_text
from approx.plotting._view import jumping_line

__all__ = ["network_picture", "profile_plot"]

_STYLES = ("-", "--", "-.", ":")
_POINTS = 1201
_COLUMNS = 14  # most pieces of a network that are drawn one by one


def profile_plot(
    activations: RadialActivation | str | Iterable[RadialActivation | str],
    ax: Axes | None = None,
    *,
    radius: float = 3.0,
) -> Axes:
    """The profiles h(r) of radial activations for 0 <= r <= radius.

    activations : one or several `RadialActivation`s, or names in the registry. Jumps are not joined; that of Step-ReLU
        is drawn with an open and a closed end.
    ax : where to draw; a new pyplot figure if None

    Returns the Axes. Raises TypeError or ValueError without activations or for anything else.
    Source: arXiv 2107.02550, section 3, where the same curves introduce the activations.

    >>> from matplotlib.figure import Figure
    >>> profile_plot("step_relu", Figure().subplots()).get_ylabel()
    '$h(r)$'
    """
    call = "profile_plot"
    radius = _checks.positive(call, "radius", radius)
    several = [activations] if isinstance(activations, RadialActivation | str) else activations
    if not isinstance(several, Iterable):
        action = "Pass one activation, or a list of them."
        received = f"activations = {_checks.show(activations)}"
        raise TypeError(_checks.message(call, received, "RadialActivations or their names", action))
    chosen = [activation(item) if isinstance(item, str) else item for item in several]
    wrong = [item for item in chosen if not isinstance(item, RadialActivation)]
    if wrong or not chosen:
        received = _checks.show(wrong[0]) if wrong else "no activations"
        required = "RadialActivations or their names"
        raise TypeError(_checks.message(call, received, required, "Wrap a profile h with RadialActivation(h)."))
    curves = [jumping_line(_profile(item), 0.0, radius, _POINTS) for item in chosen]
    ax = make_axes(call, ax)
    for i, (item, (r, h)) in enumerate(zip(chosen, curves, strict=True)):
        color = COLORS[i % len(COLORS)]
        ax.plot(r, h[:, 0], color=color, ls=_STYLES[i % len(_STYLES)], lw=2, label=str(item).removesuffix("()"))
        if isinstance(item, StepReLU) and radius > 1:
            ax.plot([1], [0], "o", color=color, mfc=ax.get_facecolor(), zorder=4)
            ax.plot([1], [1], "o", color=color, zorder=4)
    ax.set_xlim(0, radius)
    ax.set_xlabel("$r$")
    ax.set_ylabel("$h(r)$")
    ax.legend(fontsize="small")
    return ax


def _profile(item: RadialActivation) -> Callable[[np.ndarray], np.ndarray]:
    def values(r: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return item.profile(torch.as_tensor(r)).numpy()[:, None]

    return values


def network_picture(network: RadialNetwork, ax: Axes | None = None) -> Axes:
    """The widths of a network from left to right, one box per layer, its height the width.

    Runs of equal width become one box, and runs that grow by one per layer a wedge, when there are more than 14
    layers; a network that is still too long is drawn as its outline.

    Returns the Axes. Raises TypeError for anything but a RadialNetwork.

    >>> import torch
    >>> from approx.networks import Dense
    >>> from matplotlib.figure import Figure
    >>> blocks = [Dense(torch.ones(3, 2), torch.zeros(3), StepReLU()), Dense(torch.ones(1, 3), torch.zeros(1))]
    >>> [text.get_text() for text in network_picture(RadialNetwork(blocks), Figure().subplots()).texts]
    ['2', '3', '1']
    """
    call = "network_picture"
    if not isinstance(network, RadialNetwork):
        action = "Pass construction.network."
        raise TypeError(_checks.message(call, f"network = {_checks.show(network)}", "a RadialNetwork", action))
    widths = np.array(network.widths)
    pieces = [(i, i) for i in range(len(widths))]
    if len(pieces) > _COLUMNS:
        pieces = _runs(widths)
    ax = make_axes(call, ax, (6.4, 3.2))
    if len(pieces) > _COLUMNS:
        ax.fill_between(range(len(widths)), widths / 2, -widths / 2, step="mid", color=BLUE, alpha=0.6, lw=0)
        ax.set_xlabel("layer")
        ax.set_yticks([])
        ax.set_xlim(-0.5, len(widths) - 0.5)
    else:
        _draw_pieces(ax, widths, pieces)
        ax.set_axis_off()
    ax.set_title(f"$R^{{{network.dim_in}}} \\to R^{{{network.dim_out}}}$, {network_text(network)}", fontsize="medium")
    return ax


def _runs(widths: np.ndarray) -> list[tuple[int, int]]:
    """(first, last) layers of maximal runs with one constant step, 0 or 1; input and output stay on their own."""
    step = np.diff(widths)
    pieces = [(0, 0)]
    first, last = 1, len(widths) - 2
    while first <= last:
        end = first
        while end < last and step[end] == step[first] and step[first] in (0, 1):
            end += 1
        pieces.append((first, end))
        first = end + 1
    return [*pieces, (len(widths) - 1, len(widths) - 1)]


def _draw_pieces(ax: Axes, widths: np.ndarray, pieces: list[tuple[int, int]]) -> None:
    tallest = float(widths.max())
    left, edge = 0.0, None
    for first, last in pieces:
        long = last > first
        right = left + (2.4 if long else 0.6)
        heights = [max(float(widths[k]) / tallest, 0.04) / 2 for k in (first, last)]
        if edge is not None:  # the affine map between two pieces
            ax.add_patch(
                Polygon(
                    [(edge[0], -edge[1]), (edge[0], edge[1]), (left, heights[0]), (left, -heights[0])],
                    closed=True,
                    facecolor=GREY,
                    alpha=0.25,
                    lw=0,
                )
            )
        outer = first in (0, len(widths) - 1)
        corners = [(left, -heights[0]), (left, heights[0]), (right, heights[1]), (right, -heights[1])]
        ax.add_patch(
            Polygon(
                corners,
                closed=True,
                facecolor="white" if outer else BLUE,
                alpha=1 if outer else 0.55,
                edgecolor="black",
                lw=1,
            )
        )
        text = f"{widths[first]:,}"
        if long:
            span = text if widths[last] == widths[first] else f"{text} to {widths[last]:,}"
            text = f"{span}\n{last - first + 1:,} layers"
        ax.text((left + right) / 2, -max(heights) - 0.03, text, ha="center", va="top")
        edge, left = (right, heights[1]), right + 0.5
    ax.set_xlim(-0.1, left - 0.4)
    ax.set_ylim(-0.72, 0.53)
