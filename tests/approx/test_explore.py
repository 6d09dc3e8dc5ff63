"""Controls for functions that draw: the same call with and without widgets."""

import sys
import types

import pytest

from approx.plotting import _interactive, explore


def draw(layer=3, radius=0.5, kind="paper", grid=False):
    return layer, radius, kind, grid


CHOICES = {"layer": (1, 6), "radius": (0.1, 2.0, 0.1), "kind": ["conditioned", "paper"], "grid": True}


@pytest.fixture
def kernel(monkeypatch):
    """A stand-in for IPython in a kernel that collects what is displayed."""
    interaction = pytest.importorskip("ipywidgets.widgets.interaction")
    monkeypatch.setattr(interaction, "show_inline_matplotlib_plots", lambda: None)
    monkeypatch.setattr(interaction, "clear_output", lambda **_: None)
    monkeypatch.setattr(interaction, "get_ipython", lambda: None, raising=False)
    shown = []
    ipython = types.ModuleType("IPython")
    ipython.get_ipython = lambda: types.SimpleNamespace(kernel=object())
    ipython.display = types.ModuleType("IPython.display")
    ipython.display.display = shown.append
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", ipython.display)
    return shown


def test_outside_a_kernel_it_is_one_plain_call():
    assert explore(draw, **CHOICES) == (3, 0.5, "paper", False)
    assert explore(lambda a, b, c, d: (a, b, c, d), a=(2, 5), b=(0.25, 1.0), c=[7, 8], d=True) == (2, 0.25, 7, True)
    assert explore(lambda **options: options, size=(1, 2)) == {"size": 1}
    assert explore(draw) == draw()


def test_in_a_kernel_without_ipywidgets_it_is_the_same_call(kernel, monkeypatch):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    assert explore(draw, **CHOICES) == (3, 0.5, "paper", False)
    assert not kernel


def test_with_widgets_there_is_one_control_each(kernel):
    widget = explore(draw, **CHOICES)
    assert kernel == [widget]
    names = {control.description: type(control).__name__ for control in widget.children[:-1]}
    assert names == {"layer": "IntSlider", "radius": "FloatSlider", "kind": "Dropdown", "grid": "Checkbox"}
    layer, radius, kind, grid = widget.children[:-1]
    assert (layer.min, layer.max, layer.step, layer.value) == (1, 6, 1, 3)
    assert (radius.min, radius.max, radius.step, radius.value) == (0.1, 2.0, 0.1, 0.5)
    assert kind.options == ("conditioned", "paper")
    assert (kind.value, grid.value) == ("paper", False)


def test_arguments_without_a_control_keep_their_defaults(kernel):
    calls = []
    widget = explore(lambda layer=2, ax=None: calls.append((layer, ax)), layer=(1, 6))
    widget.update()
    assert set(calls) == {(2, None)}


def test_moving_a_control_calls_again(kernel):
    calls = []
    widget = explore(lambda layer=2: calls.append(layer), layer=(1, 6))
    widget.children[0].value = 5
    assert calls[-1] == 5


@pytest.mark.parametrize(
    ("choices", "text"),
    [
        ({"layer": (5, 1)}, "low < high"),
        ({"layer": (1, 6, 0)}, "step > 0"),
        ({"layer": (4, 6)}, "a default between 4 and 6"),
        ({"kind": []}, "a list of values"),
        ({"kind": ["other"]}, "Add the default"),
        ({"radius": (0.0, float("inf"))}, "Say what the argument may be"),
        ({"radius": "all"}, "Say what the argument may be"),
    ],
)
def test_choices_that_are_none(choices, text):
    with pytest.raises(ValueError, match=text):
        explore(draw, **choices)


def test_other_mistakes():
    with pytest.raises(TypeError, match="explore: received function = 3"):
        explore(3)
    with pytest.raises(TypeError, match="an argument of the function: layer, radius, kind, grid"):
        explore(draw, depth=(1, 2))
    assert not hasattr(_interactive, "ipywidgets")
