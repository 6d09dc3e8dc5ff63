"""The growing construction: every frame against the network of the first layers alone."""

import numpy as np
import pytest
from matplotlib.figure import Figure

import constructions
from approx import targets
from approx.domains import Box
from approx.plotting import growth_animation


def frames_of(animation):
    return list(animation.new_frame_seq())


def test_every_frame_is_the_cover_of_the_first_cells():
    """With constant_width, layer k captures cell k: the picture after k layers is the cover of the first k cells."""
    built = constructions.build(targets.peaks(), 0.4, builder="constant_width", verify=False)
    figure = Figure()
    animation = growth_animation(built, frames=5, fig=figure)
    image = figure.axes[0].images[0]
    x = (np.arange(200) + 0.5) * 6 / 200 - 3
    points = np.stack(np.meshgrid(x, x), axis=-1)
    counts = frames_of(animation)
    assert len(counts) == 5
    assert counts[-1] <= len(built.cover)
    for count in counts:
        animation._func(count)
        expected = built.cover.subset(np.arange(count))(points)[..., 0]
        differs = np.abs(np.asarray(image.get_array()) - expected) > 1e-12
        assert differs.mean() < 1e-4  # points within rounding of a boundary, if any
        assert figure.axes[0].get_title() == f"the first {count:,} of {counts[-1]:,} layers"


def test_a_curve_breaks_where_cells_begin():
    built = constructions.build(targets.gaussian(dim=1), 0.1, builder="widening", verify=False)
    figure = Figure()
    animation = growth_animation(built, frames=100, fig=figure)
    counts = frames_of(animation)
    assert counts == list(range(1, counts[-1] + 1))
    line = figure.axes[0].lines[1]
    for count in (0, counts[-1] // 2, counts[-1]):
        animation._func(count)
        x, y = line.get_data()
        seen = ~np.isnan(y)
        cover = built.cover.subset(np.arange(count))
        assert np.abs(y[seen] - cover(x[seen][:, None])[:, 0]).max() <= 1e-12
        assert (~seen).sum() == np.count_nonzero(np.diff(cover.find(x[seen][:, None])))


def test_files(tmp_path):
    from PIL import Image

    built = constructions.build(targets.gaussian(dim=1), 0.2, cover="uniform", verify=False)
    animation = growth_animation(built, frames=3, fig=Figure())
    animation.save(tmp_path / "growing.gif", writer="pillow")
    with Image.open(tmp_path / "growing.gif") as picture:
        assert picture.n_frames == 3
    page = animation.to_jshtml()
    assert page.count("data:image/png;base64") == 3


def test_what_does_not_fit():
    built = constructions.build(targets.gaussian(dim=2), 0.4, verify=False)
    with pytest.raises(TypeError, match="required a RadialNetwork and the Cover it was built from"):
        growth_animation(built.network, built.target, fig=Figure())
    with pytest.raises(ValueError, match="required 1 <= frames"):
        growth_animation(built, frames=0, fig=Figure())
    with pytest.raises(ValueError, match="required 0 <= component <= 0"):
        growth_animation(built, component=1, fig=Figure())
    other = constructions.build(targets.gaussian(dim=1), 0.4, verify=False)
    with pytest.raises(ValueError, match=r"required a cover R\^2 -> R\^1"):
        growth_animation(built.network, built.target, cover=other.cover, fig=Figure())
    with pytest.raises(ValueError, match="no layer captures a point"):
        growth_animation(built, domain=Box([50, 50], [51, 51]), fig=Figure())
