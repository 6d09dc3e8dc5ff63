"""Figures of paintings."""

import numpy as np
import pytest
from matplotlib.figure import Figure

import constructions
from approx import plotting, targets


@pytest.fixture(scope="module")
def picture():
    return constructions.paint(targets.peaks(), 12, nodes=40)


def test_panels_show_the_picture_after_so_many_ellipsoids(picture):
    fig = plotting.painting_picture(picture, layers=(3, 7, 99), fig=Figure())
    titled = [ax for ax in fig.axes if ax.get_title()]
    assert [ax.get_title().partition(",")[0] for ax in titled] == [
        "peaks",
        "3 ellipsoids",
        "7 ellipsoids",
        "12 ellipsoids",
    ]
    shown = np.asarray(titled[1].images[0].get_array())
    x = np.linspace(-3, 3, shown.shape[1])
    points = np.stack(np.meshgrid(x, x), axis=-1)
    np.testing.assert_allclose(shown, picture.cover(3)(points)[..., 0])
    assert titled[1].images[0].get_clim() == titled[0].images[0].get_clim()


def test_the_curve_shows_both_errors(picture):
    ax = plotting.painting_curve(picture, Figure().subplots())
    drawn = {line.get_label(): line.get_xydata() for line in ax.lines}
    counts = np.arange(1, 13)
    np.testing.assert_array_equal(drawn["root mean square"], np.column_stack([counts, picture.rms[1:]]))
    np.testing.assert_array_equal(drawn["largest"], np.column_stack([counts, picture.largest[1:]]))
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")


def test_other_dimensions_and_wrong_arguments(picture):
    line = constructions.paint(targets.gaussian(dim=1), 3, nodes=100)
    assert len(plotting.painting_picture(line, fig=Figure()).axes) == 1
    with pytest.raises(TypeError, match=r"painting_picture: received painting = 3; required a Painting"):
        plotting.painting_picture(3)
    with pytest.raises(ValueError, match=r"layers = 0; required 1 <= layers"):
        plotting.painting_picture(picture, layers=(0,), fig=Figure())
