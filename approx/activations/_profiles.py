"""The profiles that come with the package."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from approx import _checks
from approx.activations._radial import RadialActivation

__all__ = [
    "RadialIdentity",
    "RadialSigmoid",
    "RadialSoftplus",
    "RadialSwish",
    "RationalSquash",
    "ShiftedReLU",
    "ShiftedSigmoid",
    "Squashing",
    "StepReLU",
]


class StepReLU(RadialActivation):
    """h(r) = r if r >= 1, else 0; |v| = 1 is kept. Lipschitz: infinite, it jumps at r = 1.

    >>> StepReLU()(torch.tensor([[0.6, 0.8], [0.6, 0.7]]))
    tensor([[0.6000, 0.8000],
            [0.0000, 0.0000]])
    """

    name = "step_relu"
    limit_factor = 1.0
    lipschitz = math.inf

    def h(self, r: Tensor) -> Tensor:
        return torch.where(r < 1, 0.0, r)

    def forward(self, v: Tensor) -> Tensor:
        """v : (..., d) -> (..., d): v unless |v|^2 < 1, where |v|^2 is the plain sum of squares from left to right.

        Kept vectors come back unchanged, bit for bit, infinite ones and those with NaN included.
        """
        vectors = self._vectors(v)
        with torch.no_grad():
            first, *others = (vectors * vectors).T.contiguous().unbind(0)
            for square in others:
                first = first + square
        return torch.where((first < 1).reshape(*v.shape[:-1], 1), 0.0, v)


class RadialIdentity(RadialActivation):
    """h(r) = r. Lipschitz: 1."""

    name = "radial_identity"
    limit_factor = 1.0
    lipschitz = 1.0

    def h(self, r: Tensor) -> Tensor:
        return r

    def forward(self, v: Tensor) -> Tensor:
        self._vectors(v)
        return v


class Squashing(RadialActivation):
    """h(r) = r^2 / (r^2 + 1), the squash of capsule networks. Lipschitz: h' = 2 r / (1 + r^2)^2 is largest at
    r = 1 / sqrt(3), where it is 3 sqrt(3) / 8."""

    name = "squashing"
    limit_factor = 0.0
    lipschitz = 3 * math.sqrt(3) / 8

    def h(self, r: Tensor) -> Tensor:
        small, inverse = r.clamp(max=1.0), 1 / r.clamp(min=1.0)  # neither square overflows
        return torch.where(r < 1, small * small / (1 + small * small), 1 / (1 + inverse * inverse))


class RationalSquash(RadialActivation):
    """h(r) = r / (1 + r), the ``squash`` of escnn. Lipschitz: h' = 1 / (1 + r)^2 <= h'(0) = 1."""

    name = "rational_squash"
    limit_factor = 0.0
    lipschitz = 1.0

    def h(self, r: Tensor) -> Tensor:
        return r / (1 + r)


class RadialSigmoid(RadialActivation):
    """h(r) = 1 / (1 + e^-r). Lipschitz: infinite, since h(0) = 1/2 makes rho jump at 0."""

    name = "radial_sigmoid"
    limit_factor = 0.0
    lipschitz = math.inf

    def h(self, r: Tensor) -> Tensor:
        return _sigmoid(r)


class RadialSwish(RadialActivation):
    """h(r) = r / (1 + e^-r). Lipschitz: with s = 1 / (1 + e^-r), h' = s + r s (1 - s) is largest where h'' = 0, which
    is r (2 s - 1) = 2, that is r tanh(r / 2) = 2 or r = 2.39935728...; there h' = 1/2 + r/4, rounded up."""

    name = "radial_swish"
    limit_factor = 1.0
    lipschitz = 1.099839320128867

    def h(self, r: Tensor) -> Tensor:
        return r * _sigmoid(r)


class _Shifted(RadialActivation):
    """A profile with one parameter, the shift: a number, or a trainable nn.Parameter of float64 that holds it."""

    def __init__(self, shift: float = 1.0, *, trainable: bool = False):
        super().__init__()
        value = _checks.finite(type(self).__name__, "shift", shift)
        if not isinstance(trainable, bool):
            call, got = type(self).__name__, f"trainable = {_checks.show(trainable)}"
            raise TypeError(_checks.message(call, got, "True or False", "Pass trainable=True for a parameter."))
        self.shift = nn.Parameter(torch.tensor(value, dtype=torch.float64)) if trainable else value

    def _parameters_dict(self) -> dict[str, Any]:
        if isinstance(self.shift, Tensor):
            return {"shift": self.shift.item(), "trainable": True}
        return {"shift": self.shift}


class ShiftedReLU(_Shifted):
    """h(r) = max(0, r - shift); escnn's ``n_relu`` with shift = exp(log_bias). Lipschitz: |h'| <= 1; infinite for
    shift < 0, where h(0) = -shift makes rho jump at 0.

    >>> ShiftedReLU(1.0)(torch.tensor([6.0, 8.0]))
    tensor([5.4000, 7.2000])
    """

    name = "shifted_relu"
    limit_factor = 1.0

    @property
    def lipschitz(self) -> float:  # type: ignore[override]  # a constant elsewhere, here it follows the shift
        return 1.0 if self.shift >= 0 else math.inf

    def h(self, r: Tensor) -> Tensor:
        return (r - self.shift).clamp(min=0.0)


class ShiftedSigmoid(_Shifted):
    """h(r) = 1 / (1 + e^(-r + shift)). Lipschitz: infinite, since h(0) > 0 makes rho jump at 0."""

    name = "shifted_sigmoid"
    limit_factor = 0.0
    lipschitz = math.inf

    def h(self, r: Tensor) -> Tensor:
        return _sigmoid(r - self.shift)


class RadialSoftplus(_Shifted):
    """h(r) = log(1 + e^(r - shift)), a smooth `ShiftedReLU`: lambda(r) = 1 - shift / r + O(e^-r / r).
    Lipschitz: infinite, since h(0) > 0 makes rho jump at 0; away from 0 it is smooth with 0 < h' < 1."""

    name = "radial_softplus"
    limit_factor = 1.0
    lipschitz = math.inf

    def h(self, r: Tensor) -> Tensor:
        t = r - self.shift
        return t.clamp(min=0.0) + torch.log1p(torch.exp(_minus_abs(t)))


def _minus_abs(t: Tensor) -> Tensor:
    return torch.where(t >= 0, -t, t)  # unlike abs, with a derivative at 0 that fits the branch taken


def _sigmoid(t: Tensor) -> Tensor:
    # torch.sigmoid rounds differently in the vectorised part and the tail of a batch; torch.exp does not.
    decay = torch.exp(_minus_abs(t))
    return torch.where(t >= 0, 1.0, decay) / (1 + decay)
