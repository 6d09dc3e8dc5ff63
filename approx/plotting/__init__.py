"""Figures: every function takes a result and the axes (or figure) to draw in, and returns them.

Nothing is shown or saved, and matplotlib's settings stay as they are. Without `ax` or `fig` a new pyplot figure is
made, so that notebooks and ``plt.show()`` find it; with one, pyplot is not touched.
"""

from approx.plotting._animation import growth_animation
from approx.plotting._cells import capture_plot, cover_plot
from approx.plotting._certificates import bound_map, bracket_plot, worst_cell_plot
from approx.plotting._compression import compression_picture
from approx.plotting._convergence import convergence_plot, experiments_picture
from approx.plotting._functions import error_map, function_plot
from approx.plotting._gallery import gallery_sheet
from approx.plotting._interactive import explore
from approx.plotting._networks import network_picture, profile_plot
from approx.plotting._overview import overview
from approx.plotting._painting import painting_curve, painting_picture
from approx.plotting._rates import parameters_plot, rates_picture, rates_plot

__all__ = [
    "bound_map",
    "bracket_plot",
    "capture_plot",
    "compression_picture",
    "convergence_plot",
    "cover_plot",
    "error_map",
    "experiments_picture",
    "explore",
    "function_plot",
    "gallery_sheet",
    "growth_animation",
    "network_picture",
    "overview",
    "painting_curve",
    "painting_picture",
    "parameters_plot",
    "profile_plot",
    "rates_picture",
    "rates_plot",
    "worst_cell_plot",
]
