"""Axes, labels and colours that all figures share. Nothing here touches matplotlib's global state."""

from __future__ import annotations

from typing import Any, TypeVar

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.figure import Figure, FigureBase, SubFigure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import EngFormatter, MaxNLocator
from numpy.typing import NDArray

from approx import _checks
from approx.domains import Box
from approx.networks import RadialNetwork

__all__ = [
    "BAND",
    "BLUE",
    "COLORS",
    "ERROR_MAP",
    "GREY",
    "ORANGE",
    "VALUE_MAP",
    "SomeFigure",
    "color_bar",
    "coordinates",
    "frame",
    "make_axes",
    "make_figure",
    "network_text",
    "quantity",
]

SomeFigure = TypeVar("SomeFigure", bound=Figure | SubFigure)

# Okabe and Ito's palette, safe for colour-blind readers.
BLUE = "#0072B2"
ORANGE = "#D55E00"
GREY = "#767676"
COLORS = (BLUE, ORANGE, "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
BAND = "#F0E0B0"
VALUE_MAP = "viridis"
ERROR_MAP = "RdBu_r"


def make_axes(call: str, ax: Any, size: tuple[float, float] = (6.4, 4.4)) -> Axes:
    """`ax`, or the axes of a new pyplot figure when it is None. Raises TypeError for anything else."""
    if ax is None:
        return plt.figure(figsize=size, layout="constrained").add_subplot()
    if not isinstance(ax, Axes):
        action = "Pass ax=None for a new figure."
        raise TypeError(_checks.message(call, f"ax = {_checks.show(ax)}", "a matplotlib Axes or None", action))
    return ax


def make_figure(call: str, fig: SomeFigure | None, size: tuple[float, float]) -> SomeFigure | Figure:
    """`fig`, or a new pyplot figure when it is None. Raises TypeError for anything else."""
    if fig is None:
        return plt.figure(figsize=size, layout="constrained")
    if not isinstance(fig, FigureBase):
        action = "Pass fig=None for a new figure."
        raise TypeError(_checks.message(call, f"fig = {_checks.show(fig)}", "a matplotlib Figure or None", action))
    if isinstance(fig, Figure) and fig.get_layout_engine() is None:
        fig.set_layout_engine("constrained")
    return fig


def color_bar(ax: Axes, image: ScalarMappable, label: str, **options: Any) -> Colorbar:
    """A colour bar to the right of `ax`; as tall as the picture if the layout finds room for what is beside it."""
    constrained = isinstance(ax.figure.get_layout_engine(), ConstrainedLayoutEngine)
    place: dict[str, Any] = {"cax": ax.inset_axes((1.04, 0.0, 0.05, 1.0))} if constrained else {"ax": ax}
    return ax.figure.colorbar(image, label=label, **place, **options)


def quantity(name: str, unit: str) -> str:
    """A label: the name and, where there is one, the unit."""
    return f"{name} ({unit})" if unit else name


def coordinates(ax: Axes, unit: str, box: Box) -> None:
    """Label and limit the axes of R^1 (x only) or R^2; equal scales unless the box is very long."""
    names = ("$x$",) if box.dim == 1 else ("$x_1$", "$x_2$")
    for i, name in enumerate(names):
        axis = ax.yaxis if i else ax.xaxis
        (ax.set_ylim if i else ax.set_xlim)(box.lower[i], box.upper[i])
        axis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
        if unit == "m" and box.widths.max() >= 5000:  # terrain: 10 km, not 10000 m
            axis.set_major_formatter(EngFormatter(unit=unit))
            axis.set_label_text(name)
        else:
            axis.set_label_text(quantity(name, unit))
    if box.dim == 2:
        ax.set_aspect("equal" if box.widths.max() <= 4 * box.widths.min() else "auto")


def frame(values: NDArray, *more: NDArray) -> tuple[float, float]:
    """The smallest and largest finite value, never equal."""
    seen = np.concatenate([np.ravel(part)[np.isfinite(np.ravel(part))] for part in (values, *more)])
    if not seen.size:
        return 0.0, 1.0
    low, high = float(seen.min()), float(seen.max())
    pad = 0.5 * max(abs(low), 1.0) * 1e-3 if low == high else 0.0
    return low - pad, high + pad


def network_text(network: RadialNetwork) -> str:
    """Layers, widths and parameters in words."""
    hidden = network.hidden_widths
    if not hidden:
        return f"no hidden layer, {network.parameter_count:,} parameters"
    layers = f"{len(hidden):,} hidden layer{'s' if len(hidden) > 1 else ''}"
    low, high = min(hidden), max(hidden)
    widths = f"width {low:,}" if low == high else f"widths {low:,} to {high:,}"
    return f"{layers} of {widths}, {network.parameter_count:,} parameters"
