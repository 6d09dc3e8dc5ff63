"""Figures are checked by what they draw: the data of lines, images and cells, not by pixels."""

import itertools
import tracemalloc
from dataclasses import replace
from types import SimpleNamespace

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.collections import EllipseCollection, LineCollection, PathCollection
from matplotlib.figure import Figure

from approx import certify, plotting
from approx.activations import RadialActivation, ShiftedReLU, StepReLU
from approx.affine import AffineMap
from approx.compression import compress
from approx.covers import Cover
from approx.domains import Ball, Box, WholeSpace
from approx.evaluation import SupError
from approx.experiments import projected_descent
from approx.networks import Dense, Growing, RadialNetwork, Stack
from approx.targets import Target

matplotlib.use("Agg")
plt = pytest.importorskip("matplotlib.pyplot")


@pytest.fixture(autouse=True)
def _no_figure_left_open():
    plt.close("all")
    yield
    plt.close("all")


@pytest.fixture
def ax():
    return Figure().subplots()


def hole(n, m=1):
    """F(x) = the first m coordinates of x, and 0 where |x| < 1: it jumps on the unit sphere."""
    eye, zero = torch.eye(n).double(), torch.zeros(n).double()
    return RadialNetwork([Dense(eye, zero, StepReLU()), Dense(eye[:m], zero[:m])])


def linear(n, m=1, **more):
    """f(x) = the first m coordinates of x."""
    more = {"domain": Box.cube(n, 2.0), "lipschitz": 1.0, "name": "linear"} | more
    return Target(fn=lambda x: x[:, :m], dim_in=n, dim_out=m, **more)


def construction(n, m=1, eps=1.0, whole=False, report=True, **more):
    target = linear(n, m, affine=AffineMap(np.eye(n)[:m], np.zeros(m)), tail=lambda r: 0.0, **more)
    domain = WholeSpace(n) if whole else target.domain
    worst = np.zeros(n)
    worst[0], worst[-1] = 0.9, 0.1 if n > 1 else 0.9
    found = SupError(
        lower=float(np.linalg.norm(worst[:m])),
        domain=domain,
        argmax=worst,
        network_value=np.zeros(m),
        target_value=worst[:m],
        samples=10,
        eps=eps,
    )
    return SimpleNamespace(
        network=hole(n, m),
        target=target,
        eps=eps,
        domain=domain,
        report=found if report else None,
        builder="by hand",
        theorem="Theorem 0",
    )


def line(ax, label):
    return next(line for line in ax.lines if line.get_label() == label)


def image(ax):
    return ax.images[0].get_array().filled(np.nan)


def pixel_points(ax, extra=()):
    """The (r, c, n) points that the pixels of the image stand for, from its extent alone."""
    assert ax.images[0].origin == "lower"
    left, right, bottom, top = ax.images[0].get_extent()
    rows, columns = ax.images[0].get_array().shape
    x = left + (np.arange(columns) + 0.5) * (right - left) / columns
    y = bottom + (np.arange(rows) + 0.5) * (top - bottom) / rows
    return np.array([[(a, b, *extra) for a in x] for b in y])


class TestProfiles:
    def test_the_jump_of_step_relu_is_open_below_and_closed_above(self, ax):
        plotting.profile_plot([StepReLU()], ax)
        curve, opened, closed = ax.lines
        r, h = curve.get_data()
        broken = np.isnan(h)
        assert r[broken] == pytest.approx([1.0], abs=1e-5)
        assert np.array_equal(h[~broken], np.where(r[~broken] < 1, 0, r[~broken]))
        assert (opened.get_xydata().tolist(), closed.get_xydata().tolist()) == ([[1, 0]], [[1, 1]])
        assert opened.get_markerfacecolor() == ax.get_facecolor() != closed.get_markerfacecolor()

    def test_continuous_profiles_are_not_broken(self, ax):
        shift = ShiftedReLU(0.5, trainable=True)
        plotting.profile_plot(["squashing", shift, RadialActivation(torch.tanh)], ax, radius=2.0)
        oracles = (lambda r: r**2 / (r**2 + 1), lambda r: np.maximum(r - 0.5, 0), np.tanh)
        assert len(ax.lines) == 3
        for drawn, oracle in zip(ax.lines, oracles, strict=True):
            r, h = drawn.get_data()
            assert (r[0], r[-1]) == (0, 2)
            assert h == pytest.approx(oracle(r), abs=1e-12)
        assert ax.get_legend().get_texts()[1].get_text().startswith("ShiftedReLU")

    @pytest.mark.parametrize(
        ("activations", "error", "match"),
        [
            ([], TypeError, "no activations"),
            ([torch.tanh], TypeError, "RadialActivation"),
            (3, TypeError, "activations = 3"),
            ("squash", ValueError, "squash"),
        ],
    )
    def test_refuses_what_has_no_profile(self, activations, error, match):
        with pytest.raises(error, match=match):
            plotting.profile_plot(activations)
        assert not plt.get_fignums()

    def test_refuses_a_radius_that_is_not_positive(self):
        with pytest.raises(ValueError, match="radius > 0"):
            plotting.profile_plot("step_relu", radius=0.0)


class TestFunctionPlot:
    def test_the_line_holds_the_networks_values_and_is_broken_where_it_jumps(self, ax):
        network = hole(1)
        assert plotting.function_plot(linear(1), network, eps=0.25, ax=ax) is ax
        x, y = line(ax, "network").get_data()
        broken = np.isnan(y)
        assert np.array_equal(y[~broken], network.evaluate(x[~broken, None])[:, 0])
        assert x[broken] == pytest.approx([-1, 1], abs=1e-5)
        before, after = np.flatnonzero(broken) - 1, np.flatnonzero(broken) + 1
        assert y[before] == pytest.approx([-1, 0], abs=1e-5)
        assert y[after] == pytest.approx([0, 1], abs=1e-5)
        assert (x[0], x[-1]) == ax.get_xlim() == (-2, 2)

    def test_the_target_and_its_band(self, ax):
        plotting.function_plot(linear(1, unit="m", axis_unit="s"), hole(1), eps=0.25, ax=ax)
        x, y = line(ax, "target").get_data()
        assert np.array_equal(x, y)
        corners = ax.collections[0].get_paths()[0].vertices
        assert np.abs(corners[:, 1] - corners[:, 0]) == pytest.approx(0.25)
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("$x$ (s)", "linear (m)")

    def test_a_steep_continuous_network_is_not_broken(self, ax):
        plotting.function_plot(linear(1), lambda x: np.tanh(300 * x), ax=ax)
        assert np.isfinite(line(ax, "network").get_ydata()).all()

    def test_every_component_of_a_curve_is_drawn(self, ax):
        target = Target(fn=lambda x: np.hstack([x, -x]), dim_in=1, dim_out=2, domain=Box([0], [1]), lipschitz=2.0)
        plotting.function_plot(target, ax=ax)
        for i, sign in ((1, 1), (2, -1)):
            x, y = line(ax, f"target {i}").get_data()
            assert np.array_equal(y, sign * x)

    def test_a_map_holds_the_values_at_the_pixel_centres(self, ax):
        target = Target(
            fn=lambda x: x[:, 0] + 10 * x[:, 1],
            dim_in=2,
            domain=Box([0, 1], [2, 4]),
            lipschitz=11.0,
            unit="m",
            axis_unit="km",
        )
        plotting.function_plot(target, ax=ax)
        points = pixel_points(ax)
        assert image(ax) == pytest.approx(points @ [1, 10], abs=1e-12)
        assert (ax.get_xlim(), ax.get_ylim()) == ((0, 2), (1, 4))
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("$x_1$ (km)", "$x_2$ (km)")
        assert ax.figure.axes[1].get_ylabel() == "f (m)"

    def test_the_map_of_a_network_has_level_lines_of_the_target(self, ax):
        network = hole(2)
        plotting.function_plot(linear(2), network, ax=ax)
        assert np.array_equal(image(ax), network.evaluate(pixel_points(ax))[..., 0])
        levels = ax.collections[0]
        for path, level in zip(levels.get_paths(), levels.levels, strict=True):
            assert path.vertices[:, 0] == pytest.approx(level, abs=1e-9)

    def test_points_outside_a_ball_stay_empty(self, ax):
        plotting.function_plot(linear(2, domain=Ball([0, 0], 2.0)), ax=ax)
        assert np.array_equal(np.isnan(image(ax)), np.linalg.norm(pixel_points(ax), axis=-1) > 2)

    def test_a_vector_field_is_its_length_and_arrows(self, ax):
        plotting.function_plot(linear(2, 2), ax=ax)
        assert image(ax) == pytest.approx(np.linalg.norm(pixel_points(ax), axis=-1), abs=1e-12)
        arrows = ax.collections[0]
        assert np.array_equal(np.stack([arrows.U, arrows.V], axis=1), arrows.XY)

    def test_one_component_of_a_vector_field(self, ax):
        plotting.function_plot(linear(2, 2), component=1, ax=ax)
        assert image(ax) == pytest.approx(pixel_points(ax)[..., 1], abs=1e-12)
        assert not ax.collections

    def test_three_dimensions_are_cut(self, ax):
        target = Target(fn=lambda x: x @ [1.0, 10.0, 100.0], dim_in=3, domain=Box.cube(3, 1), lipschitz=101.0)
        plotting.function_plot(target, through=[0, 0, 0.5], ax=ax)
        assert image(ax) == pytest.approx(pixel_points(ax) @ [1, 10] + 50, abs=1e-12)
        assert "$x_{3}$ = 0.5" in ax.get_title()

    def test_long_distances_in_metres_are_drawn_in_kilometres(self, ax):
        plotting.function_plot(linear(2, domain=Box([0, 0], [30000, 20000]), axis_unit="m"), ax=ax)
        ax.figure.canvas.draw()
        assert "20 km" in [tick.get_text() for tick in ax.get_xticklabels()]

    def test_a_constant_target_can_be_drawn(self, ax):
        target = Target(fn=lambda x: 0 * x[:, 0] + 7, dim_in=2, domain=Box.cube(2, 1), lipschitz=1.0)
        plotting.function_plot(target, lambda x: 0 * x[:, 0] + 7, ax=ax)
        ax.figure.canvas.draw()
        assert (image(ax) == 7).all()

    @pytest.mark.parametrize(
        ("arguments", "error", "match"),
        [
            ({"target": np.sin}, TypeError, "a Target"),
            ({"network": hole(2)}, ValueError, "R\\^2 -> R\\^1"),
            ({"network": "net"}, TypeError, "network = 'net'"),
            ({"network": lambda x: np.zeros((len(x), 3))}, ValueError, "values of shape"),
            ({"network": lambda x: np.full(len(x), np.nan)}, ValueError, "finite values"),
            ({"domain": Box.cube(2, 1.0)}, ValueError, "dimension 1"),
            ({"eps": 0.0}, ValueError, "eps > 0"),
            ({"component": 1}, ValueError, "component = 1"),
            ({"ax": "here"}, TypeError, "a matplotlib Axes"),
        ],
    )
    def test_refuses_what_does_not_fit(self, arguments, error, match):
        with pytest.raises(error, match=match):
            plotting.function_plot(**({"target": linear(1)} | arguments))
        assert not plt.get_fignums()

    def test_refuses_a_slice_with_nothing_to_see(self):
        ball = linear(3, domain=Ball([0, 0, 0], 1.0))
        with pytest.raises(ValueError, match="a point of ball"):
            plotting.function_plot(ball, through=[0, 0, 2.0])
        with pytest.raises(ValueError, match="less than a pixel"):
            plotting.function_plot(ball, through=[0, 0, 1.0])


class TestErrorMap:
    def test_curve_tolerance_and_worst_point(self, ax):
        built = construction(1, unit="m")
        assert plotting.error_map(built, ax=ax) is ax
        x, error = ax.lines[0].get_data()
        seen = ~np.isnan(error)
        assert np.array_equal(error[seen], built.network.evaluate(x[seen, None])[:, 0] - x[seen])
        assert {tuple(drawn.get_ydata()) for drawn in ax.lines[1:3]} == {(-1, -1), (1, 1)}
        marker = line(ax, "largest found: 0.9 m")
        assert marker.get_xydata().tolist() == [[0.9, -0.9]]
        assert ax.get_ylabel() == "$F - f$ (m)"

    def test_without_a_report_the_worst_drawn_point_is_marked(self, ax):
        plotting.error_map(hole(1), linear(1), eps=2.0, ax=ax)
        marker = next(drawn for drawn in ax.lines if drawn.get_marker() == "X")
        assert np.abs(marker.get_xydata()) == pytest.approx(np.ones((1, 2)), abs=1e-5)

    def test_a_worst_point_out_of_view_is_only_named(self, ax):
        plotting.error_map(construction(1), domain=Box([1.5], [2.0]), ax=ax)
        assert all(drawn.get_marker() != "X" for drawn in ax.lines)
        assert "x = 0.9, outside this view" in ax.get_legend().get_texts()[-1].get_text()

    @pytest.mark.parametrize("eps", [1.0, 0.5])
    def test_the_colours_span_the_tolerance_and_its_excess_is_outlined(self, ax, eps):
        built = construction(2, eps=eps)
        plotting.error_map(built, ax=ax)
        points = pixel_points(ax)
        assert np.array_equal(image(ax), built.network.evaluate(points)[..., 0] - points[..., 0])
        assert ax.images[0].get_clim() == (-eps, eps)
        assert len(ax.collections) == (1 if eps < 1 else 0)
        assert ax.lines[0].get_xydata().tolist() == [[0.9, 0.1]]
        assert ax.get_title() == "error, largest found: 0.9"

    def test_vector_errors_are_lengths_or_one_component(self, ax):
        built = construction(2, 2)
        plotting.error_map(built, ax=ax)
        error = built.network.evaluate(pixel_points(ax)) - pixel_points(ax)
        assert np.array_equal(image(ax), np.linalg.norm(error, axis=-1))
        assert ax.images[0].get_clim() == (0, 1)
        other = Figure().subplots()
        plotting.error_map(built, component=1, ax=other)
        assert np.array_equal(image(other), error[..., 1])
        assert other.images[0].get_clim() == (-1, 1)
        assert other.get_title().startswith("|F - f|, largest found")  # of the vector, not of the component

    def test_three_dimensions_are_cut_through_the_worst_point(self, ax):
        built = construction(3)
        plotting.error_map(built, ax=ax)
        points = pixel_points(ax, extra=[0.1])
        assert np.array_equal(image(ax), built.network.evaluate(points)[..., 0] - points[..., 0])
        assert ax.get_title().startswith("slice $x_{3}$ = 0.1")
        assert len(ax.lines) == 1

    def test_a_worst_point_at_the_pole_of_a_ball_leaves_something_to_see(self, ax):
        built = construction(3, domain=Ball([0, 0, 0], 2.0))
        pole = SupError(
            lower=0.1,
            domain=built.target.domain,
            argmax=np.array([0, 0, 2.0]),
            network_value=np.zeros(1),
            target_value=np.zeros(1),
            samples=1,
        )
        plotting.error_map(built, report=pole, ax=ax)
        assert np.isfinite(image(ax)).mean() > 0.2
        assert "not in this view" in ax.get_title()

    def test_an_exact_network(self, ax):
        plotting.error_map(lambda x: x, linear(1), ax=ax)
        other = Figure().subplots()
        plotting.error_map(lambda x: x[:, :1], linear(2), ax=other)
        ax.figure.canvas.draw()
        other.figure.canvas.draw()
        assert not np.nan_to_num(image(other)).any()

    def test_refuses_a_report_alone(self):
        with pytest.raises(TypeError, match="a SupError, which holds one point"):
            plotting.error_map(construction(1).report)

    def test_refuses_a_target_alone_and_a_report_of_another_space(self):
        with pytest.raises(TypeError, match="no network"):
            plotting.error_map(None, linear(1))
        with pytest.raises(TypeError, match="a SupError on R\\^1"):
            plotting.error_map(hole(1), linear(1), report=construction(2).report)
        assert not plt.get_fignums()


class TestCoverPlot:
    def ellipses(self, ax):
        return next(item for item in ax.collections if isinstance(item, EllipseCollection))

    def cover(self, cells=30, seed=0):
        rng = np.random.default_rng(seed)
        return Cover(
            rng.uniform(-1, 1, (cells, 2)),
            rng.normal(size=(cells, 1)),
            AffineMap([[1.0, 0.0]], [0.0]),
            shapes=rng.normal(size=(cells, 2, 2)) + 2 * np.eye(2),
        )

    def test_every_ellipse_is_its_cell_and_the_first_lies_on_top(self, ax):
        cover = self.cover()
        plotting.cover_plot(cover, ax)
        drawn = self.ellipses(ax)
        assert np.array_equal(drawn.get_array(), cover.values[::-1, 0])
        assert np.array_equal(drawn.get_offsets(), cover.centers[::-1])
        angle = np.linspace(0, 2 * np.pi, 9)
        sizes = zip(drawn.get_widths() / 2, drawn.get_heights() / 2, np.radians(drawn.get_angles()), strict=True)
        for k, (a, b, turn) in enumerate(sizes):
            along, across = np.array([np.cos(turn), np.sin(turn)]), np.array([-np.sin(turn), np.cos(turn)])
            rim = a * np.cos(angle)[:, None] * along + b * np.sin(angle)[:, None] * across
            assert np.linalg.norm(rim @ cover.shapes[-1 - k].T, axis=1) == pytest.approx(1, abs=1e-9)

    def test_numbers_stand_where_their_cell_is_seen(self, ax):
        cover = self.cover()
        plotting.cover_plot(cover, ax, domain=Box.cube(2, 1.5))
        assert len(ax.texts) > 5
        for text in ax.texts:
            assert cover.find(text.get_position()) == int(text.get_text()) - 1

    def test_numbers_of_rings_keep_apart(self, ax):
        radii = np.linspace(0.2, 1.6, 8)
        rings = Cover(np.zeros((8, 2)), radii[:, None], AffineMap.constant([0.0], 2), radii=radii)
        plotting.cover_plot(rings, ax, domain=Box.cube(2, 2.0))
        places = np.array([text.get_position() for text in ax.texts])
        gaps = np.linalg.norm(places[:, None] - places, axis=2) + 9 * np.eye(8)
        assert (rings.find(places) == np.arange(8)).all() and gaps.min() > 0.3  # rings are 0.2 wide

    @pytest.mark.parametrize("layout", ["constrained", None])
    def test_the_colour_bar_is_as_tall_as_the_picture_where_the_layout_allows_it(self, layout):
        figure = Figure(figsize=(3, 6), layout=layout)
        plotting.cover_plot(self.cover(), figure.subplots(), domain=Box.cube(2, 2.0))
        figure.draw_without_rendering()
        picture = figure.axes[0]
        bar = (picture.child_axes or figure.axes[1:])[0]
        shared = bar.get_window_extent().height / picture.get_window_extent().height
        assert shared == pytest.approx(1.0) if layout else shared > 1

    def test_the_background_is_the_affine_map(self, ax):
        plotting.cover_plot(self.cover(), ax, domain=Box.cube(2, 2.0), unit="m", axis_unit="s")
        x = np.linspace(-2, 2, 64)
        assert image(ax) == pytest.approx(np.tile(x, (64, 1)), abs=1e-12)
        assert ax.get_xlabel() == "$x_1$ (s)"
        assert ax.figure.axes[1].get_ylabel() == "value (m)"

    def test_many_cells_are_drawn_within_reasonable_memory(self, ax):
        rng = np.random.default_rng(0)
        cells = 100_000
        cover = Cover(
            rng.uniform(-1, 1, (cells, 2)), rng.normal(size=(cells, 1)), AffineMap.constant([0.0], 2),
            radii=np.full(cells, 0.01),
        )  # fmt: skip
        tracemalloc.start()
        try:
            plotting.cover_plot(cover, ax)
            ax.figure.canvas.draw()
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert len(self.ellipses(ax).get_array()) == cells
        assert not ax.texts
        assert peak < 200e6

    def test_intervals_are_steps_of_the_covers_function(self, ax):
        cover = Cover([[0.0], [0.5], [3.0]], [[5.0], [7.0], [1.0]], AffineMap([[1.0]], [0.0]), radii=[1, 1, 0.5])
        plotting.cover_plot(cover, ax)
        cells, background = line(ax, "cells").get_xydata(), line(ax, "affine map").get_xydata()
        assert [row.tolist() for row in cells if not np.isnan(row[0])] == [
            [-1, 5], [1, 5], [1, 7], [1.5, 7], [2.5, 1], [3.5, 1],
        ]  # fmt: skip
        assert [row.tolist() for row in background if not np.isnan(row[0])] == [[1.5, 1.5], [2.5, 2.5]]
        assert [text.get_text() for text in ax.texts] == ["1", "2", "3"]

    @pytest.mark.parametrize("n", [1, 2])
    def test_no_cells_leave_the_background(self, ax, n):
        cover = Cover(np.empty((0, n)), np.empty((0, 1)), AffineMap(np.ones((1, n)), [0.0]), radii=np.empty(0))
        plotting.cover_plot(cover, ax)
        ax.figure.canvas.draw()
        assert ax.get_xlim() == (-1, 1)
        assert ax.get_title().startswith("0 cells")
        if n == 1:
            assert line(ax, "affine map").get_xydata()[:2].tolist() == [[-1, -1], [1, 1]]

    def test_vector_values_are_coloured_by_length_or_component(self, ax):
        cover = Cover([[0, 0], [1, 0]], [[3.0, 4.0], [6.0, 8.0]], AffineMap.constant([0, 0], 2), radii=[1, 1])
        plotting.cover_plot(cover, ax)
        assert self.ellipses(ax).get_array().tolist() == [10, 5]
        other = Figure().subplots()
        plotting.cover_plot(cover, other, component=1)
        assert self.ellipses(other).get_array().tolist() == [8, 4]

    def test_refuses_other_things_and_other_dimensions(self):
        solid = Cover(np.zeros((1, 3)), [[1.0]], AffineMap.constant([0.0], 3), radii=[1.0])
        with pytest.raises(ValueError, match="cells in R\\^3"):
            plotting.cover_plot(solid)
        with pytest.raises(TypeError, match="a Cover"):
            plotting.cover_plot(hole(2))
        with pytest.raises(ValueError, match="a Box or Ball of R\\^2"):
            plotting.cover_plot(self.cover(), domain=Box.cube(1, 1.0))
        assert not plt.get_fignums()


class TestCapturePlot:
    def network(self):
        """Layer 1 captures the unit disc about 0, layer 2 the one about (3, 0), seen from there."""
        eye, zero = torch.eye(2).double(), torch.zeros(2).double()
        shift = torch.tensor([-3.0, 0.0]).double()
        return RadialNetwork(
            [Dense(eye, zero, StepReLU()), Stack(eye[None], shift[None], StepReLU()), Dense(eye, zero)]
        )

    def panel(self, ax):
        return {item.get_label(): np.asarray(item.get_offsets()).tolist() for item in ax.collections}

    def test_the_points_arrive_and_are_captured_layer_by_layer(self):
        fig = plotting.capture_plot(self.network(), [[0.5, 0.0], [3.5, 0.0], [2.0, 2.0]], fig=Figure())
        first, second = fig.axes
        assert self.panel(first) == {
            "captured before": [],
            "not yet captured": [[3.5, 0], [2, 2]],
            "captured here": [[0.5, 0]],
        }
        assert self.panel(second) == {
            "captured before": [[-3, 0]],
            "not yet captured": [[-1, 2]],
            "captured here": [[0.5, 0]],
        }
        assert second.get_title() == "layer 2: captures 1, 1 before"
        assert [item.radius for ax in fig.axes for item in ax.patches] == [1, 1]

    def test_the_ball_is_cut_at_the_height_of_the_points(self):
        lift = torch.tensor([[1.0, 0], [0, 1], [0, 0]]).double()
        network = RadialNetwork(
            [
                Dense(lift, torch.tensor([0, 0, 0.6], dtype=torch.float64), StepReLU()),
                Dense(lift.T, torch.zeros(2).double()),
            ]
        )
        fig = plotting.capture_plot(network, [[0.79, 0.0], [0.81, 0.0]], fig=Figure())
        assert fig.axes[0].patches[0].radius == pytest.approx(0.8)
        assert self.panel(fig.axes[0])["captured here"] == [[0.79, 0]]

    def test_one_dimension_shows_the_other_coordinates_as_height(self):
        lift = torch.tensor([[1.0], [0.0]]).double()
        network = RadialNetwork(
            [
                Dense(lift, torch.tensor([0, 0.6], dtype=torch.float64), StepReLU()),
                Dense(lift.T, torch.zeros(1).double()),
            ]
        )
        fig = plotting.capture_plot(network, [[0.5], [2.0]], fig=Figure())
        assert self.panel(fig.axes[0])["captured here"] == [[0.5, 0.6]]
        assert fig.axes[0].patches[0].radius == 1

    def test_chosen_layers_of_a_growing_network(self):
        rng = np.random.default_rng(0)
        weight, bias = torch.as_tensor(rng.normal(size=(5, 4, 3))), torch.as_tensor(rng.normal(size=(5, 4)))
        network = RadialNetwork(
            [
                Dense(torch.as_tensor(rng.normal(size=(3, 2))), torch.zeros(3).double(), StepReLU()),
                Growing(weight, bias, StepReLU()),
                Dense(torch.ones(1, 8).double(), torch.zeros(1).double()),
            ]
        )
        points = rng.normal(size=(20, 2))
        fig = plotting.capture_plot(network, points, layers=[4, 6], fig=Figure())
        for ax, layer in zip(fig.axes, (4, 6), strict=True):
            w, b, _ = list(network.layers())[layer - 1]
            arriving = network.partial(torch.as_tensor(points), layer - 1) @ w.T + b
            drawn = np.concatenate([item for item in self.panel(ax).values() if item])
            assert np.sort(drawn, axis=0) == pytest.approx(np.sort(arriving[:, :2].numpy(), axis=0), abs=1e-12)

    def test_a_hidden_width_below_the_input_dimension(self):
        down = torch.ones(1, 2).double()
        network = RadialNetwork([Dense(down, torch.zeros(1).double(), StepReLU()), Dense(down[:, :1], down[0, :1])])
        fig = plotting.capture_plot(network, [[0.1, 0.2], [2.0, 2.0]], fig=Figure())
        assert self.panel(fig.axes[0])["captured here"] == [pytest.approx([0.3, 0])]

    @pytest.mark.parametrize(
        ("arguments", "error", "match"),
        [
            ({"network": linear(2)}, TypeError, "a RadialNetwork"),
            ({"points": [[0.0]]}, ValueError, "points of shape"),
            ({"points": np.empty((0, 2))}, ValueError, "no points"),
            ({"points": [[np.nan, 0.0]]}, ValueError, "finite"),
            ({"layers": [3]}, ValueError, "1 <= layer <= 2"),
            ({"layers": [0]}, ValueError, "1 <= layer <= 2"),
            ({"layers": [1.5]}, TypeError, "an integer"),
            ({"layers": []}, ValueError, "no layers"),
            ({"fig": "here"}, TypeError, "a matplotlib Figure"),
        ],
    )
    def test_refuses_what_does_not_fit(self, arguments, error, match):
        with pytest.raises(error, match=match):
            plotting.capture_plot(**({"network": self.network(), "points": [[0.0, 0.0]]} | arguments))
        assert not plt.get_fignums()

    def test_refuses_a_network_without_hidden_layers(self):
        flat = RadialNetwork([Dense(torch.eye(2), torch.zeros(2))])
        with pytest.raises(ValueError, match="without hidden layers"):
            plotting.capture_plot(flat, [[0.0, 0.0]])


class TestNetworkPicture:
    def widths(self, *widths):
        pairs = itertools.pairwise(widths)
        return RadialNetwork([Dense(torch.zeros(b, a), torch.zeros(b), StepReLU()) for a, b in pairs])

    def texts(self, ax):
        return [text.get_text() for text in ax.texts]

    def boxes(self, ax):
        """Heights at the two ends of every layer's box; the affine maps between them have no edge."""
        drawn = [patch.get_xy() for patch in ax.patches if patch.get_linewidth()]
        return [(box[1, 1] - box[0, 1], box[2, 1] - box[3, 1]) for box in drawn]

    def test_a_small_network_has_a_box_per_layer(self, ax):
        plotting.network_picture(self.widths(1, 8, 16, 8, 1), ax)
        assert self.texts(ax) == ["1", "8", "16", "8", "1"]
        assert self.boxes(ax) == [pytest.approx([width / 16] * 2) for width in (1, 8, 16, 8, 1)]
        assert "305 parameters" in ax.get_title()

    def test_a_deep_run_is_one_box(self, ax):
        eye, zero = torch.eye(4).repeat(1000, 1, 1), torch.zeros(1000, 4)
        network = RadialNetwork([Dense(eye[0, :, :2], zero[0], StepReLU()), Stack(eye, zero, StepReLU())])
        plotting.network_picture(network, ax)
        assert self.texts(ax) == ["2", "4\n1,000 layers", "4"]

    def test_a_growing_run_is_a_wedge(self, ax):
        network = RadialNetwork(
            [
                Dense(torch.zeros(3, 2), torch.zeros(3), StepReLU()),
                Growing(torch.zeros(100, 4, 3), torch.zeros(100, 4), StepReLU()),
                Dense(torch.zeros(1, 103), torch.zeros(1)),
            ]
        )
        plotting.network_picture(network, ax)
        assert self.texts(ax) == ["2", "3 to 103\n101 layers", "1"]
        assert self.boxes(ax)[1] == pytest.approx((0.04, 1))

    def test_an_irregular_deep_network_is_its_outline(self, ax):
        widths = np.random.default_rng(0).permutation(40) + 1
        plotting.network_picture(self.widths(*widths.tolist()), ax)
        assert not self.texts(ax)
        assert np.ptp(ax.collections[0].get_paths()[0].vertices[:, 1]) == 40
        assert ax.get_xlabel() == "layer"

    def test_refuses_other_things(self):
        with pytest.raises(TypeError, match="a RadialNetwork"):
            plotting.network_picture([1, 2, 1])
        assert not plt.get_fignums()


class TestCompressionPicture:
    def compressed(self, *widths):
        return compress(TestNetworkPicture().widths(*widths))

    def nodes(self, ax):
        """(kept, removed) nodes of every column, counted by the colour of the dots."""
        dots = [c for c in ax.collections if isinstance(c, PathCollection)]
        filled = {}
        for collection in dots:
            if not len(collection.get_offsets()):
                continue
            white = collection.get_facecolor()[0][:3].tolist() == [1, 1, 1]
            for layer, _ in collection.get_offsets():
                filled.setdefault(round(layer), [0, 0])[white] += 1
        return [tuple(filled[layer]) for layer in sorted(filled)]

    def test_nodes_before_and_after(self):
        before, after = plotting.compression_picture(self.compressed(1, 8, 16, 8, 1), Figure()).axes
        assert self.nodes(before) == [(1, 0), (2, 6), (3, 13), (4, 4), (1, 0)]
        assert self.nodes(after) == [(1, 0), (2, 0), (3, 0), (4, 0), (1, 0)]
        assert [text.get_text() for text in before.texts] == ["1", "8", "16", "8", "1"]
        assert [text.get_text() for text in after.texts] == ["1", "2", "3", "4", "1"]
        assert (before.get_title(), after.get_title()) == ("before: 305 parameters", "after: 34 parameters")
        assert before.get_ylim() == after.get_ylim()
        assert before.get_ylim()[0] < -8 < 8 < before.get_ylim()[1]
        lines = [c for c in before.collections if isinstance(c, LineCollection)]
        assert len(lines[0].get_segments()) == 8 + 128 + 128 + 8

    def test_wide_and_deep_networks(self):
        before, _ = plotting.compression_picture(self.compressed(3, 1000, 2), Figure()).axes
        assert self.nodes(before)[1] == (1, 15)
        assert [text.get_text() for text in before.texts] == ["3", "...", "1,000", "2"]
        before, after = plotting.compression_picture(self.compressed(2, *[4] * 40, 1), Figure()).axes
        assert "4\n40 layers" in [text.get_text() for text in before.texts]
        assert after.get_title() == "after: 790 parameters"

    def test_refuses_other_things(self):
        with pytest.raises(TypeError, match=r"a Compression. Pass what approx.compress returns"):
            plotting.compression_picture(TestNetworkPicture().widths(1, 2, 1))
        assert not plt.get_fignums()


class TestOverview:
    def test_curves(self):
        fig = plotting.overview(construction(1), fig=Figure())
        values, error = fig.axes
        x, y = line(values, "network").get_data()
        inside = np.abs(x) < 0.999
        assert not y[inside & ~np.isnan(y)].any()
        assert error.get_ylabel() == "$F - f$"

    def test_the_title_says_what_and_how_good(self):
        fig = plotting.overview(construction(2, whole=True), fig=Figure())
        title = fig.get_suptitle()
        assert "linear on $R^2$, eps = 1" in title
        assert "Theorem 0 (by hand): 1 hidden layer of width 2, 9 parameters" in title
        assert "found 0.9, upper bound not certified" in title

    def test_a_long_title_is_broken_to_fit(self):
        built = construction(1)
        built.theorem = "a theorem with " + "many words " * 15
        fig = plotting.overview(built, fig=Figure(figsize=(7, 4)))
        fig.canvas.draw()
        box = fig._suptitle.get_window_extent()
        assert 0 <= box.x0 < box.x1 <= fig.bbox.width

    def test_the_title_does_not_call_an_unmeasured_error_measured(self):
        fig = plotting.overview(construction(2, report=False), fig=Figure())
        assert "error not measured" in fig.get_suptitle()

    def test_maps_of_target_network_and_error(self):
        built = construction(2)
        fig = plotting.overview(built, fig=Figure())
        target, network, error = [ax for ax in fig.axes if ax.images]
        points = pixel_points(target)
        assert np.array_equal(image(target), points[..., 0])
        assert np.array_equal(image(network), built.network.evaluate(points)[..., 0])
        assert np.array_equal(image(error), image(network) - image(target))
        assert target.images[0].get_clim() == network.images[0].get_clim()

    def test_each_of_two_components_has_its_row(self):
        fig = plotting.overview(construction(2, 2), fig=Figure())
        maps = [ax for ax in fig.axes if ax.images]
        assert len(maps) == 6
        for row in (0, 1):
            assert np.array_equal(image(maps[3 * row]), pixel_points(maps[0])[..., row])
            assert np.array_equal(image(maps[3 * row + 2]), image(maps[3 * row + 1]) - image(maps[3 * row]))

    def test_a_slice_through_the_worst_point(self):
        fig = plotting.overview(construction(3), fig=Figure())
        assert "slice $x_{3}$ = 0.1 through the worst point" in " ".join(fig.get_suptitle().split())
        elsewhere = plotting.overview(construction(3, report=False), fig=Figure()).get_suptitle()
        assert "slice $x_{3}$ = 0" in elsewhere
        assert "worst" not in elsewhere

    def test_the_far_field_shows_errors_out_to_a_million(self):
        built = construction(2, whole=True)
        fig = plotting.overview(built, fig=Figure())
        far = next(ax for ax in fig.axes if ax.get_title() == "far field")
        lengths, errors = line(far, "sampled points").get_data()
        assert lengths.max() > 5e5
        assert (errors[lengths >= 1] <= 1e-8).all()
        assert (errors[lengths < 1] <= lengths[lengths < 1]).all()
        assert errors.max() > 0.9
        assert (far.get_xscale(), far.get_yscale()) == ("log", "log")
        assert line(far, "eps").get_ydata() == [1, 1]

    def test_a_network_and_a_target_do_without_a_construction(self):
        fig = plotting.overview(hole(1), linear(1), eps=2.0, fig=Figure())
        assert len(fig.axes) == 2

    @pytest.mark.parametrize(("size", "columns"), [((16, 4), 4), ((11, 8), 2)])
    def test_panels_follow_the_shape_of_the_figure(self, size, columns):
        fig = plotting.overview(construction(2, whole=True), fig=Figure(figsize=size))
        panels = [ax for ax in fig.axes if ax.images or ax.get_title() == "far field"]
        assert len(panels) == 4
        assert {ax.get_subplotspec().get_gridspec().ncols for ax in panels} == {columns}

    def test_a_subfigure_will_do(self):
        whole = Figure(figsize=(10, 8), layout="constrained")
        upper, lower = whole.subfigures(2, 1)
        assert plotting.overview(construction(1), fig=upper) is upper
        plotting.overview(construction(2), fig=lower)
        whole.canvas.draw()
        assert len(upper.axes) == 2

    def test_deeper_networks_are_drawn_at_fewer_points(self):
        def sides(layers):
            eye, zero = torch.eye(2).double(), torch.zeros(2).double()
            stack = Stack(eye.repeat(layers, 1, 1), zero.repeat(layers, 1), StepReLU())
            network = RadialNetwork([stack, Dense(eye[:1], zero[:1])])
            fig = plotting.overview(network, linear(2, affine=AffineMap([[1.0, 0]], [0])), fig=Figure())
            return image(fig.axes[1]).shape[0]

        assert sides(10) == 400 > sides(50_000) >= 64

    def test_refuses_what_cannot_be_drawn(self):
        with pytest.raises(TypeError, match="no network"):
            plotting.overview(None, linear(1))
        with pytest.raises(TypeError, match="a Target"):
            plotting.overview(hole(1))
        with pytest.raises(TypeError, match="a matplotlib Figure"):
            plotting.overview(construction(1), fig=Figure().subplots())
        assert not plt.get_fignums()


# Tested in files of their own.
ELSEWHERE = {
    *("explore", "gallery_sheet", "growth_animation", "painting_curve", "painting_picture"),
    *("parameters_plot", "rates_picture", "rates_plot"),
}


def every_figure(**place):
    """One call of every function, with ax= or fig= where `place` holds axes() or figure()."""
    axes = place.get("axes", lambda: None)
    figure = place.get("figure", lambda: None)
    built = construction(2, whole=True)
    cover = Cover([[0, 0]], [[1.0]], AffineMap.constant([0.0], 2), radii=[1.0])
    proof = certify(built.network, built.target, built.target.domain, tol=0.1)
    trained = projected_descent(trials=1, epochs=1)
    return [
        plotting.profile_plot("step_relu", axes()),
        plotting.function_plot(built.target, built.network, ax=axes()),
        plotting.error_map(built, ax=axes()),
        plotting.cover_plot(cover, axes()),
        plotting.network_picture(built.network, axes()),
        plotting.compression_picture(compress(built.network), fig=figure()),
        plotting.capture_plot(built.network, [[0.0, 0.0]], fig=figure()),
        plotting.overview(built, fig=figure()),
        plotting.bound_map(proof, axes(), parts=3),
        plotting.bracket_plot(proof, axes()),
        plotting.worst_cell_plot(proof, axes()),
        plotting.convergence_plot(trained, axes()),
        plotting.experiments_picture([trained], fig=figure()),
    ]


def test_given_axes_leave_pyplot_and_its_settings_alone():
    before = dict(matplotlib.rcParams)
    made = every_figure(axes=lambda: Figure().subplots(), figure=Figure)
    assert len(made) == len(set(plotting.__all__) - ELSEWHERE)
    assert not plt.get_fignums()
    assert dict(matplotlib.rcParams) == before


def test_without_axes_each_call_makes_one_pyplot_figure():
    before = dict(matplotlib.rcParams)
    made = every_figure()
    figures = [item if hasattr(item, "savefig") else item.figure for item in made]
    assert [plt.figure(number) for number in plt.get_fignums()] == figures
    assert dict(matplotlib.rcParams) == before


def test_the_same_input_gives_the_same_picture():
    first, second = ([ax.images[0].get_array() for ax in plotting.overview(construction(2)).axes if ax.images]
                     for _ in range(2))  # fmt: skip
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.fixture(scope="module")
def proof():
    return certify(hole(2), linear(2, domain=Box([-2.0, -1.5], [2.0, 1.5])), tol=1e-3, eps=1.2)


class TestCertificates:
    def test_the_bounds_close_in(self, proof, ax):
        plotting.bracket_plot(proof, ax)
        upper, lower = (line.get_ydata() for line in ax.lines[:2])
        assert (np.diff(upper) <= 0).all() and (np.diff(lower) >= 0).all() and (lower <= upper).all()
        assert upper[-1] == proof.upper and 1 <= ax.get_ylim()[1] < 5
        assert ax.lines[2].get_ydata()[0] == 1.2
        assert [text.get_text() for text in ax.get_legend().get_texts()][2] == "eps = 1.2"

    def test_the_worst_box_and_cell_are_outlined(self, proof, ax):
        plotting.worst_cell_plot(proof, ax)
        (box,) = ax.patches
        assert np.array_equal([box.get_xy(), box.get_corners()[2]], proof.worst_box)
        outline = np.concatenate([path.vertices for path in ax.collections[0].get_paths()])
        assert np.linalg.norm(outline, axis=1) == pytest.approx(1.0, abs=1e-3)  # the unit circle is the cell
        assert ax.get_title() == f"upper bound {proof.upper:.6g}, the cell of layer 1"
        low, high = np.transpose([ax.get_xlim(), ax.get_ylim()])
        assert (low < proof.worst_box[0]).all() and (proof.worst_box[1] < high).all()

    def test_a_line_and_a_slice(self, ax):
        plotting.worst_cell_plot(certify(hole(1), linear(1), tol=1e-3), ax)
        assert len(ax.patches) == 1
        ax = Figure().subplots()
        plotting.worst_cell_plot(certify(hole(3), linear(3), tol=0.05), ax)
        assert len(ax.patches) == 1 and len(ax.collections) >= 1

    def test_a_bound_of_the_affine_map_and_a_network_without_cells(self, ax):
        eye, zero = torch.eye(2).double(), torch.zeros(2).double()
        plain = RadialNetwork([Dense(eye, zero), Dense(eye[:1], zero[:1])])
        shifted = Target(fn=lambda x: x[:, 0] * 1.5, dim_in=2, domain=Box.cube(2, 2.0), lipschitz=1.5)
        plotting.worst_cell_plot(certify(plain, shifted, tol=1e-3), ax)
        assert "the affine map" in ax.get_title() and len(ax.patches) == 1

    def test_bounds_part_by_part(self, ax):
        plotting.bound_map(certify(hole(1), linear(1), tol=1e-3), ax, parts=8)
        upper, lower = (patch.get_data().values for patch in ax.patches[1:3])
        assert upper == pytest.approx([0, 1, 1, 0.5, 0.5, 1, 1, 0], abs=1e-6)  # |x| where |x| < 1, else 0
        assert lower[[0, 2, 3, 4, 5, 7]] == pytest.approx(upper[[0, 2, 3, 4, 5, 7]], abs=0.05)
        assert (lower <= upper).all() and lower[1] == 0  # where rounding may put -1 on either side

    def test_eps_is_in_sight(self, ax):
        plotting.bound_map(certify(hole(1), linear(1), eps=3.0), ax, parts=8)
        assert ax.get_ylim()[0] == 0 and ax.get_ylim()[1] > 3

    def test_a_map_of_bounds(self, proof, ax):
        plotting.bound_map(proof, ax, parts=4)
        bounds = ax.collections[0].get_array().reshape(4, 4)  # rows are x_2
        assert bounds[1:3, 1:3].max() == pytest.approx(1.0, abs=0.01) and bounds[0, 0] == pytest.approx(0, abs=0.01)
        assert len(ax.lines[0].get_xdata()) and ax.get_title().endswith("; dots: over 0.05")
        with pytest.raises(ValueError, match=r"a Box of R\^2"):
            plotting.bound_map(proof, ax, domain=Box.cube(3, 1.0))

    def test_a_certificate_can_be_drawn_alone(self, proof, ax):
        plotting.error_map(proof, ax=ax)
        assert ax.lines[0].get_xdata()[0] == proof.argmax[0]

    @pytest.mark.parametrize("plot", [plotting.bracket_plot, plotting.worst_cell_plot])
    def test_refuses_other_things(self, plot):
        with pytest.raises(TypeError, match="a Certificate"):
            plot(construction(2))

    def test_refuses_what_has_nothing_to_show(self, proof):
        with pytest.raises(ValueError, match="without history"):
            plotting.bracket_plot(replace(proof, history=np.empty((3, 0))))
        with pytest.raises(ValueError, match="outside all boxes"):
            plotting.worst_cell_plot(replace(proof, worst_box=None))
