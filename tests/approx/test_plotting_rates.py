"""Rates and baselines, drawn."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from approx import plotting
from approx.rates import RateRow, RateTable


def table(order=2.0, **facts):
    known = {"target": "f", "dim_in": 2, "builder": "b", "cover": "c", "theory": (1.5, 2.0), "depth_bound": 3}
    return RateTable(
        tuple(
            RateRow(
                **known | {"eps": e, "hidden_layers": round(10 * e**-order), "parameters": 50, "lower": e / 2} | facts
            )
            for e in (0.4, 0.2, 0.1)
        )
    )


def axes():
    return Figure(layout="constrained").subplots()


def test_lines_are_the_rows_and_the_slopes_those_of_the_theory():
    ax = plotting.rates_plot(table(), axes())
    lines = {line.get_label(): line for line in ax.lines}
    measured = next(line for label, line in lines.items() if label.startswith("b, c, order 2.0"))
    assert np.asarray(measured.get_xdata()).tolist() == [0.4, 0.2, 0.1]
    assert np.asarray(measured.get_ydata()).tolist() == [62, 250, 1000]
    dashed = [line for line in ax.lines if line.get_linestyle() == "--" and len(line.get_xdata()) == 2]
    slopes = sorted(np.diff(np.log(line.get_ydata()))[0] / np.log(4) for line in dashed)
    assert slopes == pytest.approx([1.5, 2.0])
    bound = next(line for label, line in lines.items() if label.startswith("no Step-ReLU"))
    assert list(bound.get_ydata()) == [3, 3, 3]
    assert ax.get_xscale() == ax.get_yscale() == "log" and ax.xaxis_inverted()
    assert ax.get_title() == "f on $R^{2}$"


def test_the_legend_explains_what_is_drawn_and_nothing_else():
    for rows, drawn in ((table(), True), (RateTable(table().rows[:1]), False)):
        labels = [text.get_text() for text in plotting.rates_plot(rows, axes()).get_legend().get_texts()]
        assert ("order of the theory" in labels) is drawn


def test_several_targets_are_named_in_the_legend():
    ax = plotting.rates_plot(table() + table(target="g", order=1.0), axes())
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert any(label.startswith("f, R^2: b, c") for label in labels)
    assert any(label.startswith("g, R^2: b, c") for label in labels)


def test_proved_and_sampled_errors_are_told_apart():
    proved, sampled = table(upper=0.4), table(builder="grid", cover="", baseline=True, upper=None)
    ax = plotting.parameters_plot(proved + sampled, axes())
    lines = {line.get_label(): line for line in ax.lines}
    assert set(lines) == {"b, c, proved", "grid, sampled"}
    assert lines["grid, sampled"].get_markerfacecolor() == "white"
    assert set(lines["b, c, proved"].get_ydata()) == {0.4}


def test_a_picture_has_the_second_panel_only_with_errors():
    assert len(plotting.rates_picture(table(), Figure()).axes) == 2
    assert len(plotting.rates_picture(table(lower=None), Figure()).axes) == 1


def test_refusals():
    with pytest.raises(TypeError, match="required a RateTable"):
        plotting.rates_plot([1, 2])
    with pytest.raises(ValueError, match="without networks"):
        plotting.rates_plot(RateTable(()))
    with pytest.raises(ValueError, match="without measured networks"):
        plotting.parameters_plot(RateTable(()))
