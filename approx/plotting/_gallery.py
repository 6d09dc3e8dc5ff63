"""All ready-made targets on one sheet."""

from __future__ import annotations

from matplotlib.figure import Figure

from approx.plotting._functions import function_plot
from approx.plotting._style import SomeFigure, make_figure
from approx.targets import GALLERY

__all__ = ["gallery_sheet"]

_COLUMNS = 4


def gallery_sheet(*, fig: SomeFigure | None = None) -> SomeFigure | Figure:
    """Every target of the gallery on its own domain, four in a row, in the order of `radial gallery`.

    fig : an empty figure to draw in; a new pyplot figure if None. Raises TypeError for anything else.

    >>> from matplotlib.figure import Figure
    >>> sheet = gallery_sheet(fig=Figure())
    >>> [ax.get_title() for ax in sheet.axes if ax.get_title()][:3]
    ['gaussian', 'bump', 'affine_bump']
    """
    rows = -(-len(GALLERY) // _COLUMNS)
    figure = make_figure("gallery_sheet", fig, (4.2 * _COLUMNS, 3.4 * rows))
    for position, (name, factory) in enumerate(GALLERY.items()):
        ax = figure.add_subplot(rows, _COLUMNS, position + 1)
        function_plot(factory(), ax=ax)
        ax.set_title(name)
    return figure
