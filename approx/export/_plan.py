"""What every export is written from: a network as a short list of steps with plain arrays.

A step is one of
    dense    x -> rho(weight x + bias); weight (o, i), bias (o,)
    stack    N layers of width d; weight (N, d, d), bias (N, d)
    growing  N layers that add one coordinate each, and the affine map after them; weight (N, h + 1, h),
             bias (N, h + 1), readout (o, w + N), offset (o,) for inputs of width w
    rescale  x -> rho(x), the activation of the layer that a growing step ends with; no arrays
Within a growing step the coordinates that are carried along are never kept: rho needs only the sum of their squares,
and the affine map after them only their share of its value. So the step costs N times a constant, not N^2.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from approx import _checks
from approx.activations import activation_names, is_built_in
from approx.networks import Growing, RadialNetwork, Stack

__all__ = ["Plan", "Step", "plan_of"]

FORMAT = "radial-plan"
VERSION = 1


@dataclass(frozen=True, eq=False)
class Step:
    """kind : dense, stack, growing or rescale; activation : its `config()`, None for none; arrays : by name."""

    kind: str
    activation: dict[str, Any] | None
    arrays: dict[str, NDArray]


@dataclass(frozen=True, eq=False)
class Plan:
    """A network R^dim_in -> R^dim_out as steps, all arrays of one dtype."""

    dim_in: int
    dim_out: int
    dtype: np.dtype
    steps: tuple[Step, ...]

    def arrays(self) -> dict[str, NDArray]:
        """Every array by the name that files use, such as ``step1.weight``."""
        return {f"step{i}.{name}": array for i, step in enumerate(self.steps) for name, array in step.arrays.items()}

    def header(self) -> str:
        """JSON that says how the arrays fit together."""
        steps = [{"kind": step.kind, "activation": step.activation} for step in self.steps]
        facts = {"dim_in": self.dim_in, "dim_out": self.dim_out, "dtype": self.dtype.name, "steps": steps}
        return json.dumps({"format": FORMAT, "version": VERSION, **facts})


def plan_of(call: str, network: RadialNetwork) -> Plan:
    """The plan of a network with its weights as they are now.

    Raises TypeError for something else, ValueError for a dtype that is not float32 or float64, weights that are not
    finite and activations that are not the package's.
    """
    if not isinstance(network, RadialNetwork):
        received = f"network = {_checks.show(network)}"
        raise TypeError(_checks.message(call, received, "a RadialNetwork", "Pass construction.network."))
    if network.dtype not in (torch.float32, torch.float64):
        action = "Convert it with network.double()."
        raise ValueError(_checks.message(call, f"weights of {network.dtype}", "float32 or float64", action))
    for name, parameter in network.named_parameters():
        if not torch.isfinite(parameter).all():
            action = "Export an earlier state of the training."
            raise ValueError(_checks.message(call, f"NaN or infinity in {name}", "finite numbers", action))
    for block in network.blocks:
        if block.activation is not None and not is_built_in(block.activation):
            received = f"the activation {block.activation}, of which programs without this package know nothing"
            required = f"one of {', '.join(activation_names())}"
            action = "Keep the network with approx.save and a registered activation, and load it where that is."
            raise ValueError(_checks.message(call, received, required, action))
    steps = tuple(_steps(network))
    dtype = np.dtype(np.float32 if network.dtype == torch.float32 else np.float64)
    return Plan(network.dim_in, network.dim_out, dtype, steps)


def _steps(network: RadialNetwork) -> Iterator[Step]:
    width = network.dim_in
    skip = False
    for block, after in itertools.zip_longest(network.blocks, list(network.blocks)[1:]):
        widths = block.widths_after(width)
        if skip:  # a single layer that went into the growing step before it
            skip = False
            if block.activation is not None:
                yield Step("rescale", block.activation.config(), {})
        else:
            config = None if block.activation is None else block.activation.config()
            arrays = {"weight": _array(block.weight), "bias": _array(block.bias)}
            if isinstance(block, Growing):
                skip = after is not None and after.layers == 1 and not isinstance(after, Growing | Stack)
                if after is not None and skip:
                    readout, offset = _array(after.weight), _array(after.bias)
                else:
                    readout = np.eye(widths[-1], dtype=arrays["weight"].dtype)
                    offset = np.zeros(widths[-1], arrays["bias"].dtype)
                yield Step("growing", config, arrays | {"readout": readout, "offset": offset})
            else:
                yield Step("stack" if isinstance(block, Stack) else "dense", config, arrays)
        width = widths[-1]


def _array(tensor: torch.Tensor) -> NDArray:
    array = tensor.detach().cpu().contiguous().numpy().copy()
    array.setflags(write=False)
    return array
