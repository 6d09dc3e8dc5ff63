"""Sliders for a function that draws, where there is a notebook that can show them."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from approx import _checks

__all__ = ["explore"]


def explore(function: Callable[..., Any], **choices: Any) -> Any:
    """Call a function with controls for its arguments: sliders and menus in Jupyter, one plain call elsewhere.

    function : draws a figure or prints something; called again whenever a control moves
    choices : for each argument what it may be: (low, high) or (low, high, step) for a slider, of integers if all of
        them are integers; a list of values for a menu; True or False for a box to tick. The control starts at the
        argument's own default, and without one at low, at the first value, or as given

    Returns the widget, shown already, if the package ipywidgets is installed and this runs in a Jupyter kernel;
    otherwise the function's value at the start of all controls. Raises TypeError for a function that is none or has
    no such argument, ValueError for choices that are none or a default that is not among them.

    >>> explore(lambda layer=3, kind="paper": f"{kind} {layer}", layer=(1, 6), kind=["paper", "conditioned"])
    'paper 3'
    """
    call = "explore"
    if not callable(function):
        received = f"function = {_checks.show(function)}"
        raise TypeError(_checks.message(call, received, "a callable", "Pass the function itself, without ()."))
    parameters = inspect.signature(function).parameters
    every = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    start = {}
    for name, choice in choices.items():
        if name not in parameters and not every:
            received = f"{name} = {_checks.show(choice)}"
            required = f"an argument of the function: {', '.join(parameters)}"
            raise TypeError(_checks.message(call, received, required, "Name the argument as the function does."))
        default = parameters[name].default if name in parameters else inspect.Parameter.empty
        start[name] = _start(call, name, choice, default)
    if not _has_widgets():
        return function(**start)
    return _shown(function, choices, start)


def _start(call: str, name: str, choice: Any, default: Any) -> Any:
    """The value that a control starts with, the choice checked."""
    given = default is not inspect.Parameter.empty
    if isinstance(choice, bool):
        return bool(default) if given else choice
    if isinstance(choice, list) and choice:
        if given and not any(default is value or default == value for value in choice):
            required = f"one of {_checks.show(choice)}"
            raise ValueError(_checks.message(call, f"{name} = {_checks.show(default)}", required, "Add the default."))
        return default if given else choice[0]
    ends = isinstance(choice, tuple) and len(choice) in (2, 3)
    if not ends or not all(isinstance(end, int | float | np.number) and np.isfinite(end) for end in choice):
        required = "(low, high), (low, high, step), a list of values, or a bool"
        received = f"{name} = {_checks.show(choice)}"
        raise ValueError(_checks.message(call, received, required, "Say what the argument may be."))
    low, high = choice[:2]
    if not low < high or (len(choice) == 3 and not choice[2] > 0):
        received = f"{name} = {_checks.show(choice)}"
        raise ValueError(_checks.message(call, received, "low < high and step > 0", "Swap the ends."))
    if given and not low <= default <= high:
        received, required = f"{name} = {_checks.show(default)}", f"a default between {low} and {high}"
        raise ValueError(_checks.message(call, received, required, "Widen the range."))
    return default if given else low


def _has_widgets() -> bool:
    """Whether this runs in a Jupyter kernel, and ipywidgets can be imported."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if not hasattr(shell, "kernel"):
        return False
    if "ipywidgets" in sys.modules:
        return sys.modules["ipywidgets"] is not None
    return importlib.util.find_spec("ipywidgets") is not None


def _shown(function: Callable[..., Any], choices: dict[str, Any], start: dict[str, Any]) -> Any:
    import ipywidgets
    from IPython.display import display

    def control(choice: Any, value: Any) -> Any:
        options: dict[str, Any] = {"value": value, "continuous_update": False}
        if isinstance(choice, bool):
            return ipywidgets.Checkbox(value=value)
        if isinstance(choice, list):
            return ipywidgets.Dropdown(options=choice, value=value)
        whole = all(isinstance(end, int | np.integer) for end in (*choice, value))
        kind = ipywidgets.IntSlider if whole else ipywidgets.FloatSlider
        low, high = choice[:2]
        step = choice[2] if len(choice) == 3 else 1 if whole else (high - low) / 100
        return kind(min=low, max=high, step=step, **options)

    def call(**values: Any) -> Any:  # without it, arguments that have no control would have to be fit for one
        return function(**values)

    widget = ipywidgets.interactive(call, **{name: control(choices[name], start[name]) for name in choices})
    display(widget)
    return widget
