"""What is measured: a network, or any function of points, evaluated in batches that fit in memory."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from approx import _checks
from approx.networks import RadialNetwork

__all__ = ["Collar", "chunk_size", "evaluator"]

Array = NDArray[np.float64]

_CALL = "sup_error"
_CHUNK = 65536
_CHUNK_NUMBERS = 1 << 21  # about as many float64 numbers in any one array: 16 MB, of which a dozen live at a time


class Collar(Protocol):
    """How far rounding may displace a cell boundary."""

    def collar(self, radius: float) -> float: ...


def evaluator(network: Any, dim_in: int, dim_out: int, engine: str = "auto") -> Callable[[Array], Array]:
    """The subject as a function (k, n) -> (k, m) float64; it raises ValueError where a value is NaN or infinite.

    engine : as in `RadialNetwork.forward`, for networks only
    """
    name = getattr(network, "__name__", type(network).__name__)
    if isinstance(network, RadialNetwork):
        if (network.dim_in, network.dim_out) != (dim_in, dim_out):
            raise ValueError(
                _checks.message(
                    _CALL,
                    f"a network R^{network.dim_in} -> R^{network.dim_out}",
                    f"R^{dim_in} -> R^{dim_out}, as the target",
                    "Use the target the network was built for.",
                )
            )
        compute = functools.partial(network.evaluate, engine=engine)
    elif callable(network):
        compute = network
    else:
        raise TypeError(
            _checks.message(
                _CALL,
                f"subject = {_checks.show(network)}",
                "a RadialNetwork, a construction or a callable (k, n) -> (k, m)",
                "Pass the network itself.",
            )
        )

    def evaluate(points: Array) -> Array:
        values = _checks.real_array(_CALL, f"the values of {name}", compute(points))
        if dim_out == 1 and values.shape == (len(points),):
            values = values[:, None]
        if values.shape != (len(points), dim_out):
            raise ValueError(
                _checks.message(
                    _CALL,
                    f"values of shape {values.shape} from {name} at {len(points)} points",
                    f"shape {(len(points), dim_out)}",
                    "Return one row per point.",
                )
            )
        finite = np.isfinite(values).all(axis=1)
        if not finite.all():
            i = int(finite.argmin())
            raise ValueError(
                _checks.message(
                    _CALL,
                    f"{name}(x) = {values[i].tolist()} at x = {points[i].tolist()}",
                    "finite values",
                    "The network overflows or is broken there.",
                )
            )
        return values

    return evaluate


def chunk_size(network: Any, dim_in: int, dim_out: int) -> int:
    """How many points to evaluate at once: a power of two that keeps the arrays small."""
    numbers = max(dim_in, dim_out)
    if isinstance(network, RadialNetwork):
        numbers = max(numbers, network.working_width)
    return 1 << (max(1, min(_CHUNK, _CHUNK_NUMBERS // numbers)).bit_length() - 1)
