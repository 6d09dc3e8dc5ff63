"""What every radial activation shares: rho(v) = h(|v|) v / |v| from a profile h, and what files keep of it."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from approx import _checks

__all__ = ["KINDS", "RadialActivation", "arguments", "class_name", "same"]


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

        Raises ValueError for activations that are not registered.
        """
        kind = KINDS.get(self.name)
        if kind is None or not same(kind, type(self)):
            call, received = f"{type(self).__name__}.config", "a profile that is not registered and cannot be saved"
            action = "Register its class with approx.activations.register, or keep the code that builds it."
            raise ValueError(_checks.message(call, received, f"one of {', '.join(sorted(KINDS))}", action))
        return {"name": self.name, **self._parameters_dict()}

    def extra_repr(self) -> str:
        h = self.__dict__.get("h")  # absent in subclasses, and where h is a module, which prints itself
        if h is not None:
            return getattr(h, "__name__", _checks.show(h))
        return ", ".join(f"{key}={value}" for key, value in self._parameters_dict().items())

    def _parameters_dict(self) -> dict[str, Any]:
        """The numbers that are kept under the names of the arguments of __init__."""
        kept = {name: getattr(self, name, None) for name in arguments(type(self))}
        kept = {name: x.item() if isinstance(x, Tensor) and x.numel() == 1 else x for name, x in kept.items()}
        return {name: x for name, x in kept.items() if isinstance(x, bool | int | float)}

    def _vectors(self, v: Tensor) -> Tensor:
        """v as (k, d) in the dtype to compute in, after the checks that `forward` promises."""
        call = type(self).__name__
        _floating(call, "v", v)
        if v.ndim == 0 or v.shape[-1] == 0:
            required = "shape (..., d) with d >= 1, last axis = coordinates"
            got = f"v of shape {tuple(v.shape)}"
            raise ValueError(_checks.message(call, got, required, "For d = 1 use v[..., None]."))
        return (v if v.dtype.itemsize >= 4 else v.float()).reshape(-1, v.shape[-1])


KINDS: dict[str, type[RadialActivation]] = {}
"""What is registered, by name."""


def same(kind: type, other: type) -> bool:
    """Whether they are one class, or two runs of its definition."""
    return class_name(kind) == class_name(other)


def class_name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def arguments(kind: type[RadialActivation]) -> tuple[str, ...]:
    """What the class takes besides h."""
    return tuple(name for name in inspect.signature(kind).parameters if name != "h")


def _floating(call: str, name: str, value: Any) -> None:
    if not isinstance(value, Tensor) or not value.is_floating_point():
        got = f"{name} of {value.dtype}" if isinstance(value, Tensor) else f"{name} = {_checks.show(value)}"
        raise TypeError(_checks.message(call, got, "a tensor of a real floating dtype", f"Convert {name} first."))


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
