"""The second opinion: targets and networks in ball arithmetic of any precision (Arb, through python-flint).

Nothing here shares arithmetic with the intervals and pieces that a certificate is made of: an array entry is an arb
ball, and a network is run layer by layer on its stored weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from approx import _checks
from approx.activations import RadialActivation, StepReLU, is_built_in
from approx.blocks import Growing
from approx.certification._operands import Operand, matmul, unsupported
from approx.networks import RadialNetwork

__all__ = ["ArbArray", "forward", "precision"]

_PROFILES: dict[str, Callable[[Any, float], Any]] = {  # h(r) for r > 0, and the shift where there is one
    "radial_identity": lambda r, b: r,
    "squashing": lambda r, b: r * r / (1 + r * r),
    "rational_squash": lambda r, b: r / (1 + r),
    "radial_sigmoid": lambda r, b: 1 / (1 + (-r).exp()),
    "radial_swish": lambda r, b: r / (1 + (-r).exp()),
    "shifted_relu": lambda r, b: (r - b).max(_flint().arb(0)),
    "shifted_sigmoid": lambda r, b: 1 / (1 + (b - r).exp()),
    "radial_softplus": lambda r, b: (1 + (r - b).exp()).log(),
}


def _flint() -> Any:
    try:
        import flint
    except ImportError as error:
        action = "Install it with: pip install python-flint."
        raise ImportError(_checks.message("recheck", "no python-flint", "Arb's ball arithmetic", action)) from error
    return flint


@contextmanager
def precision(bits: int) -> Iterator[Any]:
    """python-flint computing with so many bits, and with as many as before afterwards."""
    flint = _flint()
    before = flint.ctx.prec
    flint.ctx.prec = bits
    try:
        yield flint
    finally:
        flint.ctx.prec = before


class ArbArray(Operand):
    """An array of arb balls that takes a caller's numpy functions.

    >>> with precision(100):
    ...     x = ArbArray.of(np.array([[3.0, 4.0]]))
    ...     float(np.sqrt(np.sum(x * x, axis=1)).entries[0])
    5.0
    """

    __slots__ = ("entries",)
    kind = "ball"

    def __init__(self, entries: NDArray[np.object_]):
        self.entries = entries

    @classmethod
    def of(cls, values: Any) -> ArbArray:
        """The exact values of an array of floats."""
        return cls(np.frompyfunc(lambda v: _flint().arb(float(v)), 1, 1)(np.asarray(values)))

    @property
    def shape(self) -> tuple[int, ...]:
        return np.shape(self.entries)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        if ufunc is np.matmul:
            return matmul(self, *inputs)
        if ufunc is np.hypot:
            return self._length([self._lift(x) for x in inputs])
        if ufunc not in _UFUNCS or method != "__call__" or options:
            raise unsupported(self.kind, ufunc)
        apply = np.frompyfunc(_UFUNCS[ufunc], ufunc.nin, 1)
        return ArbArray(apply(*(self._lift(x).entries for x in inputs)))

    def _lift(self, value: Any) -> ArbArray:
        return value if isinstance(value, ArbArray) else ArbArray.of(value)

    def _restructure(self, change: Callable[[Any], Any]) -> ArbArray:
        return ArbArray(change(self.entries))

    def _join(self, parts: list[Any], combine: Callable[[list[Any]], Any]) -> ArbArray:
        return ArbArray(combine([self._lift(part).entries for part in parts]))

    def _length(self, parts: list[Any]) -> ArbArray:
        return np.sqrt(sum(part * part for part in parts))


def _power(a: Any, b: Any) -> Any:
    """Integer powers by multiplication, so that negative bases have them; x * x rather than x ** 2."""
    if b.is_exact() and b.is_integer() and abs(float(b)) <= 1024:
        count = abs(int(float(b)))
        result = _flint().arb(1)
        while count:
            result, a, count = result * a if count & 1 else result, a * a, count >> 1
        return 1 / result if float(b) < 0 else result
    return a.sqrt() if b == 0.5 else (b * a.log()).exp()


_UFUNCS: dict[Any, Callable[..., Any]] = {
    np.add: lambda a, b: a + b,
    np.subtract: lambda a, b: a - b,
    np.multiply: lambda a, b: a * b,
    np.divide: lambda a, b: a / b,
    np.negative: lambda a: -a,
    np.positive: lambda a: a,
    np.reciprocal: lambda a: 1 / a,
    np.square: lambda a: a * a,
    np.power: _power,
    np.sqrt: lambda a: a.sqrt(),
    np.absolute: abs,
    np.fabs: abs,
    np.maximum: lambda a, b: a.max(b),
    np.minimum: lambda a, b: a.min(b),
    np.exp: lambda a: a.exp(),
    np.expm1: lambda a: a.expm1(),
    np.log: lambda a: a.log(),
    np.log1p: lambda a: a.log1p(),
    np.sin: lambda a: a.sin(),
    np.cos: lambda a: a.cos(),
    np.tan: lambda a: a.tan(),
    np.arctan: lambda a: a.atan(),
    np.tanh: lambda a: a.tanh(),
    np.sinh: lambda a: a.sinh(),
    np.cosh: lambda a: a.cosh(),
}


def forward(network: RadialNetwork, points: NDArray[np.float64]) -> list[list[Any] | None]:
    """F at points (k, n): for each, the m balls that hold the components of F for the stored weights in real
    arithmetic, at the working precision; None where that precision cannot tell on which side of |v| = 1 a layer's
    vector lies.

    Raises ValueError for an activation that is not the package's and has no `interval_h`.
    """
    flint = _flint()
    states: list[list[Any] | None] = [[flint.arb(float(c)) for c in point] for point in points]
    for block in network.blocks:
        activation = block.activation
        step = type(activation) is StepReLU
        profile = None if activation is None or step else _profile(activation)
        shift = float(getattr(activation, "shift", 0.0))
        weights, biases = (v.detach().cpu().double().numpy() for v in (block.weight, block.bias))
        if weights.ndim == 2:
            weights, biases = weights[None], biases[None]
        head = weights.shape[2] if isinstance(block, Growing) else None
        for weight, bias in zip(weights, biases, strict=True):
            rows = [[(j, flint.arb(w)) for j, w in enumerate(row) if w] for row in weight.tolist()]
            constants = [flint.arb(b) for b in bias.tolist()]
            for k, state in enumerate(states):
                if state is None:
                    continue
                new = [sum((w * state[j] for j, w in row), b) for row, b in zip(rows, constants, strict=True)]
                if head is not None:
                    new += state[head:]
                if step:
                    states[k] = _step(new, flint)
                else:
                    states[k] = new if profile is None else _rescale(new, profile, shift, flint)
    return states


def _profile(activation: RadialActivation) -> Callable[[Any, float], Any]:
    """h(r) for r > 0, and the shift where there is one: by name, or a caller's `interval_h`."""
    if is_built_in(activation):
        return _PROFILES[activation.name]
    function = getattr(activation, "interval_h", None)
    if not callable(function):
        received = f"the activation {activation}, which is not the package's"
        action = "Set activation.interval_h to h written with numpy functions."
        raise ValueError(_checks.message("recheck", received, "one with interval_h", action))
    return lambda r, _: function(ArbArray(np.array([r], dtype=object))).entries[0]


def _step(vector: list[Any], flint: Any) -> list[Any] | None:
    square = sum((v * v for v in vector), flint.arb(0))
    if square < 1:
        return [flint.arb(0)] * len(vector)
    return vector if square >= 1 else None


def _rescale(vector: list[Any], profile: Callable[[Any, float], Any], shift: float, flint: Any) -> list[Any] | None:
    square = sum((v * v for v in vector), flint.arb(0))
    if square == 0:
        return vector
    if not square > 0:
        return None
    length = square.sqrt()
    factor = profile(length, shift) / length
    return [factor * v for v in vector]
