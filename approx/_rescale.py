"""The package's activations on blocks of points, compiled: the same formulas as in `approx.activations`.

A vector is multiplied by h(|v|) / |v|. Where |v|^2 or h is so small or large that this would lose digits, it is divided
by a power of two first, as `RadialActivation.forward` does for every vector.
"""

from __future__ import annotations

import math

import numpy as np

from approx._compile import compiled
from approx.activations import (
    RadialActivation,
    RadialIdentity,
    RadialSigmoid,
    RadialSoftplus,
    RadialSwish,
    RationalSquash,
    ShiftedReLU,
    ShiftedSigmoid,
    Squashing,
    StepReLU,
)

__all__ = ["FAR", "IDENTITY", "STEP", "code", "cut", "known", "profile", "rescale", "rescale_one", "usual"]

IDENTITY, STEP, _SQUASHING, _RATIONAL, _SIGMOID, _SWISH, _RELU, _SOFTPLUS = range(8)
_CODES: dict[type, int] = {
    type(None): IDENTITY,
    RadialIdentity: IDENTITY,
    StepReLU: STEP,
    Squashing: _SQUASHING,
    RationalSquash: _RATIONAL,
    RadialSigmoid: _SIGMOID,
    RadialSwish: _SWISH,
    ShiftedReLU: _RELU,
    ShiftedSigmoid: _SIGMOID,
    RadialSoftplus: _SOFTPLUS,
}
FAR = (1e16, 1e140)  # float32 and float64: radii whose squares, and those of whose inverses, do not overflow
_FORMULAS = {"h", "profile", "forward"}  # what an instance may replace
_compile = compiled(fastmath={"contract"})


def known(activation: RadialActivation | None) -> bool:
    """Whether the kernels know it; no activation (None) is the identity. A subclass or an instance may change it."""
    return type(activation) in _CODES and not _FORMULAS & getattr(activation, "__dict__", {}).keys()


def code(activation: RadialActivation | None) -> tuple[int, float]:
    """(code, shift) of a known activation, for the kernels."""
    return _CODES[type(activation)], float(getattr(activation, "shift", 0.0))


@_compile
def profile(code, shift, r, one):  # pragma: no cover - compiled
    """h(r). Like all formulas here it is compiled for GPUs, too (`_cuda`), which have no min and max."""
    t = r - shift
    if code == _SQUASHING:
        small, inverse = (r, one) if r < one else (one, one / r)
        return small * small / (one + small * small) if r < one else one / (one + inverse * inverse)
    if code == _RATIONAL:
        return r / (one + r)
    if code == _RELU:
        return t if t > 0 or t != t else one - one
    decay = math.exp(-abs(t))
    if code == _SOFTPLUS:
        return (t if t > 0 else one - one) + math.log1p(decay)
    sigmoid = (one if t >= 0 else decay) / (one + decay)
    return r * sigmoid if code == _SWISH else sigmoid


@_compile
def usual(h, r, far, one):  # pragma: no cover - compiled
    """Whether h(r) / r may be computed as it stands: both are within 1 / far and far, or h is 0."""
    return (r * far > one) & (r < far) & ((h == one - one) | (abs(h) * far > one))


@_compile
def rescale_one(code, shift, state, k, one):  # pragma: no cover - compiled
    zero = one - one
    top = zero
    for i in range(state.shape[0]):
        size = abs(state[i, k])
        top = size if size > top or size != size else top
        if top != top:
            break
    if top == zero:
        return
    if not top < np.inf:  # NaN and infinity give NaN throughout
        for i in range(state.shape[0]):
            state[i, k] = np.nan
        return
    scale = math.ldexp(one, math.frexp(top)[1] - 1)
    total = zero
    for i in range(state.shape[0]):
        state[i, k] /= scale
        total += state[i, k] * state[i, k]
    length = math.sqrt(total)
    h = profile(code, shift, scale * length, one)
    for i in range(state.shape[0]):
        state[i, k] = h * (state[i, k] / length)


@compiled(fastmath={"contract"}, inline="always")
def cut(state, squares):  # pragma: no cover - compiled
    """Apply Step-ReLU to the columns of state (d, block), given their squared lengths."""
    one = state.dtype.type(1)
    for i in range(state.shape[0]):
        for k in range(state.shape[1]):
            state[i, k] = one - one if squares[k] < one else state[i, k]  # NaN is kept


@_compile
def rescale(code, shift, state, squares, factors):  # pragma: no cover - compiled
    """Likewise for other activations, none of which is the identity; factors is scratch."""
    one = state.dtype.type(1)
    far = state.dtype.type(FAR[1] if state.itemsize == 8 else FAR[0])
    unusual = 0
    for k in range(squares.shape[0]):
        r = math.sqrt(squares[k])
        h = profile(code, shift, r, one)
        common = usual(h, r, far, one)
        factors[k] = h / r if common else -one  # h >= 0
        unusual += not common
    if unusual:
        for k in range(squares.shape[0]):
            if factors[k] == -one:
                factors[k] = one
                rescale_one(code, shift, state, k, one)
    for i in range(state.shape[0]):
        for k in range(state.shape[1]):
            state[i, k] *= factors[k]
