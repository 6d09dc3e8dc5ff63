"""Radial rescalings: rho(v) = h(|v|) v / |v|, rho(0) = 0 (arXiv 2107.02550).

An activation is a profile h on [0, inf); its factor is lambda(r) = h(r) / r. Everything else follows from h:
rho commutes with every orthogonal map, and its Jacobian at v != 0 has the eigenvalue h'(r) along v and lambda(r)
across it. So the Lipschitz constant of rho on R^d is the supremum of |h'| and |h(r) / r|. If h(0) = 0 the mean
value theorem leaves sup |h'|; if h(0) != 0, or h jumps, rho jumps and the constant is infinite.

The same names mean different profiles elsewhere, so a bare "squash" is refused:

* escnn ``squash``: r / (1 + r), here `RationalSquash` or "escnn_squash";
* escnn ``n_relu``: max(0, r - b) with b = exp(log_bias), here `ShiftedReLU` or "n_relu" with shift=b;
* capsule networks' squash: r^2 / (1 + r^2), here `Squashing` or "capsule_squash";
* the paper's own code: eta(r + b), here `ShiftedReLU` or `ShiftedSigmoid` with shift=-b.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from approx import _checks

__all__ = [
    "RadialActivation",
    "RadialIdentity",
    "RadialSigmoid",
    "RadialSoftplus",
    "RadialSwish",
    "RationalSquash",
    "ShiftedReLU",
    "ShiftedSigmoid",
    "Squashing",
    "StepReLU",
    "activation",
    "activation_names",
    "from_config",
]


class RadialActivation(nn.Module):
    """rho(v) = h(|v|) v / |v|, rho(0) = 0, for a profile h.

    Pass any callable h (floating tensor of radii r >= 0 -> tensor of the same shape, elementwise), or subclass and
    define the method `h` and what is known of `limit_factor` and `lipschitz`. An nn.Module as h is trained along.
    Every vector is treated on its own, to the last bit if h treats every radius so (torch.exp does; torch.sigmoid
    and softplus round differently at the end of a batch). Raises TypeError without exactly one h.

    >>> rho = RadialActivation(torch.tanh)
    >>> rho(torch.tensor([[0.0, 0.0], [30.0, 40.0]]))
    tensor([[0.0000, 0.0000],
            [0.6000, 0.8000]])
    """

    h: Callable[[Tensor], Tensor]
    name: ClassVar[str] = ""
    """The name in the registry, empty for profiles that are not in it."""
    limit_factor: float | None = None
    """The limit of lambda(r) as r -> infinity, None if unknown."""
    lipschitz: float | None = None
    """The Lipschitz constant of rho on R^d for every d >= 1, None if unknown."""

    def __init__(self, h: Callable[[Tensor], Tensor] | None = None):
        super().__init__()
        defined = hasattr(type(self), "h")
        if defined == (h is not None) or not (defined or callable(h)):
            call, required = type(self).__name__, "no h, the class defines it" if defined else "a callable h"
            action = "Pass RadialActivation a function of a tensor of radii, such as torch.tanh."
            raise TypeError(_checks.message(call, f"h = {_checks.show(h)}", required, action))
        if h is not None:
            self.h = h

    def profile(self, r: Tensor) -> Tensor:
        """h(r) for a floating tensor of radii r >= 0 of any shape; same shape and dtype.

        Raises TypeError for anything but a floating tensor, TypeError or ValueError when h returns another thing.
        """
        call = f"{type(self).__name__}.profile"
        _floating(call, "r", r)
        values = self.h(r)
        required = f"a real tensor of shape {tuple(r.shape)}, one h(r) per r"
        if not isinstance(values, Tensor) or values.is_complex():
            got = f"h(r) of type {values.dtype if isinstance(values, Tensor) else type(values).__name__}"
            raise TypeError(_checks.message(call, got, required, "Build h from torch functions."))
        if values.shape != r.shape:
            got = f"h(r) of shape {tuple(values.shape)}"
            raise ValueError(_checks.message(call, got, required, "Make h act elementwise."))
        return values.to(r.dtype)  # a float64 parameter in h widens a single float32 radius

    def factor(self, r: Tensor) -> Tensor:
        """lambda(r) = h(r) / r for finite radii r >= 0 of any shape; at r = 0 its limit, infinite if h(0) != 0.

        The limit is h(t) / t at the smallest normal number t of the dtype. Raises as `profile` does.
        """
        _floating(f"{type(self).__name__}.factor", "r", r)
        zero = r == 0
        safe = torch.where(zero, torch.finfo(r.dtype).tiny, r)
        start = self.profile(torch.zeros_like(r)).detach()
        return torch.where(zero & (start != 0), start.sign() * math.inf, self.profile(safe) / safe)

    def forward(self, v: Tensor) -> Tensor:
        """v : (..., d) of a floating dtype -> (..., d) of the same dtype; every vector on its own.

        rho(0) = 0 with derivative lambda(0) I, or 0 where lambda(0) is infinite. A vector with a NaN or an infinite
        entry gives NaN throughout. |v|^2 may overflow or underflow, |v| itself must not exceed the largest number
        of the dtype. Half precisions are computed in float32.
        Raises TypeError for anything but a floating tensor, ValueError without coordinates (d = 0 or a scalar).
        """
        vectors = self._vectors(v)
        r, direction, zero = _polar(vectors)
        slope = self.factor(r.new_zeros(1)).detach().nan_to_num(0.0, 0.0, 0.0)
        result = torch.where(zero, slope * vectors, self.profile(r)[:, None] * direction)
        return result.reshape(v.shape).to(v.dtype)

    def config(self) -> dict[str, Any]:
        """A JSON-able dict {"name": ..., parameters} from which `from_config` makes an equal activation.

        Raises ValueError for activations that are not in the registry.
        """
        if _CLASSES.get(self.name) is not type(self):
            call, received = f"{type(self).__name__}.config", "a profile that is not registered and cannot be saved"
            action = "Save the network with a registered activation, or keep the code that builds it."
            raise ValueError(_checks.message(call, received, f"one of {', '.join(activation_names())}", action))
        return {"name": self.name, **self._parameters_dict()}

    def extra_repr(self) -> str:
        h = self.__dict__.get("h")  # absent in subclasses, and where h is a module, which prints itself
        if h is not None:
            return getattr(h, "__name__", _checks.show(h))
        return ", ".join(f"{key}={value}" for key, value in self._parameters_dict().items())

    def _parameters_dict(self) -> dict[str, Any]:
        return {}

    def _vectors(self, v: Tensor) -> Tensor:
        """v as (k, d) in the dtype to compute in, after the checks that `forward` promises."""
        call = type(self).__name__
        _floating(call, "v", v)
        if v.ndim == 0 or v.shape[-1] == 0:
            required = "shape (..., d) with d >= 1, last axis = coordinates"
            got = f"v of shape {tuple(v.shape)}"
            raise ValueError(_checks.message(call, got, required, "For d = 1 use v[..., None]."))
        return (v if v.dtype.itemsize >= 4 else v.float()).reshape(-1, v.shape[-1])


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


def activation(name: str, **parameters: Any) -> RadialActivation:
    """The registered activation of that name or alias; case, spaces, "-" and "_" do not matter.

    Raises ValueError for an unknown name and TypeError for parameters it does not take.

    >>> activation("Step-ReLU"), activation("n_relu", shift=0.5)
    (StepReLU(), ShiftedReLU(shift=0.5))
    """
    known = {_plain(known): kind for known, kind in (_CLASSES | _ALIASES).items()}
    kind = known.get(_plain(name)) if isinstance(name, str) else None
    if kind is None:
        required = f"one of {', '.join([*activation_names(), *sorted(_ALIASES)])}"
        raise ValueError(_checks.message("activation", f"name = {_checks.show(name)}", required, "Check the spelling."))
    takes = ("shift", "trainable") if kind in _SHIFTED else ()
    if not parameters.keys() <= set(takes):
        received = f"parameters {', '.join(sorted(parameters))}"
        required = f"for {kind.name} at most {' and '.join(takes) or 'the name'}"
        raise TypeError(_checks.message("activation", received, required, "Drop the others."))
    return kind(**parameters)


def activation_names() -> tuple[str, ...]:
    """The names of all registered activations, sorted, without aliases.

    >>> activation_names()[:3]
    ('radial_identity', 'radial_sigmoid', 'radial_softplus')
    """
    return tuple(sorted(_CLASSES))


def from_config(config: Mapping[str, Any]) -> RadialActivation:
    """The activation whose `config()` this is. Raises TypeError or ValueError for anything else.

    >>> from_config(ShiftedReLU(0.5).config())
    ShiftedReLU(shift=0.5)
    """
    if not isinstance(config, Mapping) or not all(isinstance(key, str) for key in config):
        required = 'a dict {"name": ...}'
        raise TypeError(_checks.message("from_config", _checks.show(config), required, "Pass what config() gave."))
    parameters = dict(config)
    return activation(parameters.pop("name", None), **parameters)


def _floating(call: str, name: str, value: Any) -> None:
    if not isinstance(value, Tensor) or not value.is_floating_point():
        got = f"{name} of {value.dtype}" if isinstance(value, Tensor) else f"{name} = {_checks.show(value)}"
        raise TypeError(_checks.message(call, got, "a tensor of a real floating dtype", f"Convert {name} first."))


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def _polar(v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """v (k, d) -> lengths (k,), unit vectors (k, d), whether v = 0 (k, 1); where v = 0 the first two are stand-ins.

    Only elementwise operations and maxima are used, so a row's bits do not depend on the other rows.
    """
    top = v.detach().abs().amax(dim=1, keepdim=True)
    zero = top == 0
    top = torch.where(zero, 1.0, top)
    scale = top / (2 * torch.frexp(top).mantissa)  # a power of two, exact to divide by; NaN if top is NaN or inf
    scaled = torch.where(zero, 1.0, v) / scale
    if v.shape[1] == 1:  # the direction is +-1: its derivative is 0, not a difference of rounding errors
        length = scaled.abs()
        direction = (scaled / length).detach()
    else:
        squares = scaled * scaled
        while squares.shape[1] > 1:  # add halves: accurate, and d = 1000 takes ten steps
            half = squares.shape[1] // 2
            pairs = squares[:, :half] + squares[:, half : 2 * half]
            squares = torch.cat([pairs, squares[:, 2 * half :]], dim=1) if squares.shape[1] % 2 else pairs
        length = squares.sqrt()
        direction = scaled / length
    return (scale * length).squeeze(1), direction, zero


def _minus_abs(t: Tensor) -> Tensor:
    return torch.where(t >= 0, -t, t)  # unlike abs, with a derivative at 0 that fits the branch taken


def _sigmoid(t: Tensor) -> Tensor:
    # torch.sigmoid rounds differently in the vectorised part and the tail of a batch; torch.exp does not.
    decay = torch.exp(_minus_abs(t))
    return torch.where(t >= 0, 1.0, decay) / (1 + decay)


_FIXED = (StepReLU, RadialIdentity, Squashing, RationalSquash, RadialSigmoid, RadialSwish)
_SHIFTED = (ShiftedReLU, ShiftedSigmoid, RadialSoftplus)
_CLASSES: dict[str, type[RadialActivation]] = {kind.name: kind for kind in (*_FIXED, *_SHIFTED)}
_ALIASES: dict[str, type[RadialActivation]] = {
    "capsule_squash": Squashing,
    "escnn_squash": RationalSquash,
    "identity": RadialIdentity,
    "n_relu": ShiftedReLU,
    "sigmoid": RadialSigmoid,
    "softplus": RadialSoftplus,
    "swish": RadialSwish,
}
