"""What a file keeps of an activation that is registered, but not the package's own.

Beside its config and its state, these are where its class was defined, for whoever misses it, and values of h: a class
that is registered under the same name by another program, or was changed since, is refused by them.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from approx import _checks
from approx.activations import RadialActivation, from_config, is_built_in
from approx.activations._radial import KINDS, class_name

__all__ = ["NotRegistered", "description", "recalled"]

_RADII = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
_NEAR = 1e-6  # of |h| and of 1: parameters may be float32


class NotRegistered(ValueError):
    """An activation of a file that is not registered, or as another function."""


def description(call: str, activation: RadialActivation) -> dict[str, Any] | None:
    """{"class": where it was defined, "h": values}; None for one of the package.

    Raises ValueError for one that is not registered, and for one that its config and state do not make again.
    """
    config = activation.config()
    if is_built_in(activation):
        return None
    values = _heights(activation)
    try:
        again = _made(config, {name: value.detach().cpu() for name, value in activation.state_dict().items()})
        problem = "" if _near(_heights(again), values) else "which give another h"
    except ValueError as error:
        problem = str(error)
    if problem:
        numbers = {key: value for key, value in config.items() if key != "name"}
        received = f"{activation}, of which files keep the numbers {numbers}, the parameters and the buffers, {problem}"
        required = "an __init__ whose arguments are numbers kept as attributes of the same names"
        action = "Keep them so, or as parameters or buffers whose shapes do not depend on anything else."
        raise ValueError(_checks.message(call, received, required, action))
    return {"class": class_name(type(activation)), "h": values}


def recalled(config: Mapping[str, Any], state: Mapping[str, Tensor], described: Any) -> RadialActivation:
    """The activation of a file. Raises NotRegistered, and TypeError, ValueError, RuntimeError or LookupError where the
    file contradicts itself."""
    if described is None:
        made = from_config(config)
        made.load_state_dict(state, assign=True)
        if not is_built_in(made):
            raise ValueError(f"an activation {config['name']!r} of which the file does not say what it is")
        return made
    name, origin, before = config["name"], described["class"], described["h"]
    kind = KINDS.get(name)
    if kind is None:
        raise NotRegistered(f"whose activation {name!r} is not registered here; it was {origin}")
    made = _made(config, state)
    values = _heights(made)
    if np.shape(before) != np.shape(values):
        raise ValueError(f"{_checks.show(before)} instead of values of {name!r}")
    if not _near(values, before):
        i = int((~_close(values, before)).argmax())
        raise NotRegistered(
            f"whose activation {name!r} was {origin} with h({_RADII[i]:g}) = {before[i]:g}; the one registered here, "
            f"{class_name(kind)}, has h({_RADII[i]:g}) = {values[i]:g}"
        )
    return made


def _made(config: Mapping[str, Any], state: Mapping[str, Tensor]) -> RadialActivation:
    try:
        made = from_config(config)
        made.load_state_dict({name: value.clone() for name, value in state.items()}, assign=True)
    except Exception as error:  # whatever a caller's __init__ raises
        raise ValueError(f"from which it cannot be made ({type(error).__name__}: {error})") from error
    return made


def _heights(activation: RadialActivation) -> list[float]:
    device = next((part.device for part in itertools.chain(activation.parameters(), activation.buffers())), None)
    with torch.no_grad():
        return activation.profile(torch.tensor(_RADII, dtype=torch.float64, device=device)).tolist()


def _near(values: list[float], others: list[float]) -> bool:
    return np.shape(values) == np.shape(others) and bool(_close(values, others).all())


def _close(values: list[float], others: list[float]) -> NDArray[np.bool_]:
    return np.isclose(values, others, rtol=_NEAR, atol=_NEAR, equal_nan=True)
