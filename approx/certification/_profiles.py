"""Rigorous bounds of the profile h of a radial activation, and of its derivative, on intervals of radii.

The activations of the package without jumps have closed forms, rounded outward with 8 units in the last place for every
elementary function. Any other profile needs `interval_h`, the same function written with numpy: it then runs on
intervals, and its derivative comes from jets.

>>> rho = RadialActivation(torch.tanh)
>>> rho.interval_h = np.tanh
>>> h, slope = Profile.of(rho, "example").bounds(Interval([0.0], [1.0]))
>>> round(float(h.hi[0]), 6), round(float(slope.lo[0]), 6)
(0.761594, 0.419974)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from approx import _checks
from approx.activations import (
    RadialActivation,
    RadialSigmoid,
    RadialSoftplus,
    RadialSwish,
    RationalSquash,
    ShiftedReLU,
    ShiftedSigmoid,
    Squashing,
    activation_names,
)
from approx.certification.intervals import ELEMENTARY, TINY, UNIT, Interval, down, unchecked, up
from approx.certification.jets import Jet

__all__ = ["Far", "Profile"]

Array = NDArray[np.float64]
Bounds = Callable[[Interval], tuple[Interval, Interval]]

_UNITS = 4 * ELEMENTARY  # at most two elementary functions and a few operations between positive numbers
_SWISH_PEAK = (2.399, 2.4)  # between these h' of the swish is largest


@dataclass(frozen=True)
class Far:
    """What h is for large r: r - shift, or a bounded function of z = 1/r that is analytic at 0, up to a rest.

    rest : radii r -> a bound of the error for all radii >= r; infinite where nothing is known
    shift : of an h that is not bounded
    bounded : z -> h, of any operand that numpy functions accept; None if h is not bounded
    """

    rest: Callable[[Array], Array]
    shift: float = 0.0
    bounded: Callable[[Any], Any] | None = None


@dataclass(frozen=True)
class Profile:
    """What a certificate needs to know of rho(v) = s(|v|) v, s(r) = h(r) / r.

    bounds : radii, an Interval within [0, inf) -> Intervals that hold h and h' there
    ratio : s, of any operand that numpy functions accept
    factor : the least and the largest s(r) over all r > 0, as far as they are known
    from_zero : whether h(0) = 0
    shift : the largest number that is added to r before h is computed
    units : the relative error of h as torch computes it is below units * 2^-p in a dtype of p binary digits, if an
        elementary function is good to 8 units in the last place
    far : what h is for large r, if that is known
    assumes : what of all this only the caller knows
    """

    bounds: Bounds
    ratio: Callable[[Any], Any]
    factor: tuple[float, float]
    from_zero: bool
    shift: float = 0.0
    units: int = 64
    far: Far | None = None
    assumes: str = ""

    @classmethod
    def of(cls, activation: RadialActivation, call: str) -> Profile:
        """The profile of an activation with the parameters it has now.

        Raises ValueError for one that is neither the package's nor has `interval_h`, and where that contradicts h.
        """
        known = _KNOWN.get(type(activation))
        if known is not None:
            return known(activation.config().get("shift", 0.0))
        function = getattr(activation, "interval_h", None)
        if not callable(function):
            received = f"the activation {activation}, of which no bounds are known"
            required = f"one of {', '.join(activation_names())}, or an activation with interval_h"
            action = "Set activation.interval_h to h written with numpy functions, such as numpy.tanh for torch.tanh."
            raise ValueError(_checks.message(call, received, required, action))
        bounds = _differentiated(function)
        _compare(activation, bounds, call)
        with torch.no_grad():
            start = activation.profile(torch.zeros(1, dtype=torch.float64)).item()
        assumes = (
            f"interval_h of {activation} being the profile h, which torch computes to {cls.units} units of rounding"
        )
        return cls(bounds, lambda r: function(r) / r, (-np.inf, np.inf), start == 0.0, assumes=assumes)


def _differentiated(function: Callable) -> Bounds:
    def bounds(r: Interval) -> tuple[Interval, Interval]:
        flat = unchecked(r.lo.reshape(-1, 1), r.hi.reshape(-1, 1))
        jet = function(Jet.variables(flat)[:, 0])
        if not isinstance(jet, Jet) or jet.shape != (len(flat),):
            raise TypeError(f"interval_h returned {_checks.show(jet)} for {len(flat)} intervals")

        def shaped(part: Interval) -> Interval:
            return unchecked(*(np.broadcast_to(end, (len(flat),)).reshape(r.shape) for end in (part.lo, part.hi)))

        slope = jet.partials[0]
        return shaped(jet.value), shaped(unchecked(np.zeros(1), np.zeros(1)) if slope is None else slope)

    return bounds


def _compare(activation: RadialActivation, bounds: Bounds, call: str) -> None:
    radii = np.concatenate([[0.0], np.geomspace(1e-3, 1e3, 61)])
    with torch.no_grad():
        values = activation.profile(torch.from_numpy(radii)).numpy()
    try:
        h, _ = bounds(Interval(radii, radii))
    except Exception as error:  # whatever a caller's function raises for arguments that are no arrays
        received = f"interval_h of {activation}, which fails on intervals ({type(error).__name__}: {error})"
        required = "numpy functions of r without branches"
        raise ValueError(_checks.message(call, received, required, "Rewrite interval_h.")) from error
    slack = 1e-9 * (1 + np.abs(values))
    agree = (h.lo - slack <= values) & (values <= h.hi + slack)
    if not agree.all():
        i = int(agree.argmin())
        received = f"interval_h of {activation} in {h.lo[i]:.6g} .. {h.hi[i]:.6g} at r = {radii[i]:.6g}"
        raise ValueError(_checks.message(call, received, f"h(r) = {values[i]:.6g}", "Make it the same function."))


def _monotone(function: Callable[[Array], Array], r: Interval) -> Interval:
    """Bounds of an increasing function that is >= 0."""
    return unchecked(np.maximum(down(function(r.lo), _UNITS), 0.0), up(function(r.hi), _UNITS))


def _peaked(function: Callable[[Array], Array], r: Interval, peak: tuple[float, float], most: float) -> Interval:
    """Bounds of a function >= 0 that increases up to a point within `peak`, decreases from there, and is <= most."""
    ends = function(r.lo), function(r.hi)
    high = np.where((r.lo <= peak[1]) & (r.hi >= peak[0]), most, up(np.maximum(*ends), _UNITS))
    return unchecked(np.maximum(down(np.minimum(*ends), _UNITS), 0.0), np.minimum(high, most))


def _moved(r: Interval, shift: float) -> Interval:
    return r if shift == 0 else r - shift


def _sigmoid(t: Array) -> Array:
    decay = np.exp(-np.abs(t))
    return np.where(t >= 0, 1.0, decay) / (1 + decay)


def _bell(t: Array) -> Array:
    """The derivative of the sigmoid."""
    decay = np.exp(-np.abs(t))
    return decay / np.square(1 + decay)


def _squashing(r: Interval) -> tuple[Interval, Interval]:
    def inverse(x: Array) -> Array:
        return 1 / np.maximum(x, 1.0)

    def value(x: Array) -> Array:
        small = np.square(np.minimum(x, 1.0))
        return np.where(x < 1, small / (1 + small), 1 / (1 + np.square(inverse(x))))

    def slope(x: Array) -> Array:
        small, i = np.minimum(x, 1.0), inverse(x)
        return np.where(x < 1, 2 * small / np.square(1 + small * small), 2 * i**3 / np.square(1 + i * i))

    return _monotone(value, r), _peaked(slope, r, (0.5773, 0.5774), 0.649519052838329)


def _rational(r: Interval) -> tuple[Interval, Interval]:
    near, far = (1 / np.square(1 + end) for end in (r.hi, r.lo))
    slope = unchecked(np.maximum(down(near, _UNITS), 0.0), up(far, _UNITS))
    return _monotone(lambda x: 1 / (1 + 1 / np.maximum(x, TINY)), r), slope


def _swish(r: Interval) -> tuple[Interval, Interval]:
    def slope(x: Array) -> Array:
        decay = np.exp(-x)
        return (1 + np.minimum(x, 1e3) * decay / (1 + decay)) / (1 + decay)

    return _monotone(lambda x: x * _sigmoid(x), r), _peaked(slope, r, _SWISH_PEAK, 1.0998393201288673)


def _shifted_relu(shift: float) -> Bounds:
    def bounds(r: Interval) -> tuple[Interval, Interval]:
        t = _moved(r, shift)
        slope = unchecked(np.where(t.lo > 0, 1.0, 0.0), np.where(t.hi < 0, 0.0, 1.0))
        return unchecked(np.maximum(t.lo, 0.0), np.maximum(t.hi, 0.0)), slope

    return bounds


def _shifted_sigmoid(shift: float) -> Bounds:
    def bounds(r: Interval) -> tuple[Interval, Interval]:
        t = _moved(r, shift)
        return _monotone(_sigmoid, t), _peaked(_bell, t, (0.0, 0.0), 0.25)

    return bounds


def _softplus(shift: float) -> Bounds:
    def value(t: Array) -> Array:
        return np.maximum(t, 0.0) + np.log1p(np.exp(-np.abs(t)))

    def bounds(r: Interval) -> tuple[Interval, Interval]:
        t = _moved(r, shift)
        return _monotone(value, t), _monotone(_sigmoid, t)

    return bounds


def _decaying(b: float) -> Callable[[Array], Array]:
    """exp(b - r), rounded up."""
    return lambda r: np.exp(b - r) * (1 + 2.0**-32) + TINY


_FAR_SQUASHING = Far(np.zeros_like, bounded=lambda z: 1 / (1 + z * z))
_FAR_RATIONAL = Far(np.zeros_like, bounded=lambda z: 1 / (1 + z))
_FAR_SWISH = Far(lambda r: np.where(r >= 1, r * _decaying(0.0)(r), 0.4) * (1 + 2 * UNIT))  # r / (1 + e^r)

_EXACT, _RATIONAL, _ONCE, _TWICE = 1, 8, 24, 48  # units: no more than r - shift, no elementary function, one, two
_KNOWN: dict[type[RadialActivation], Callable[[float], Profile]] = {
    Squashing: lambda _: Profile(
        _squashing,
        lambda r: r / (1 + r * r),
        (0.0, 0.5),
        True,
        units=_RATIONAL,
        far=_FAR_SQUASHING,
    ),
    RationalSquash: lambda _: Profile(
        _rational,
        lambda r: 1 / (1 + r),
        (0.0, 1.0),
        True,
        units=_RATIONAL,
        far=_FAR_RATIONAL,
    ),
    RadialSwish: lambda _: Profile(
        _swish,
        lambda r: 1 / (1 + np.exp(-r)),
        (0.5, 1.0),
        True,
        units=_ONCE,
        far=_FAR_SWISH,
    ),
    RadialSigmoid: lambda _: _sigmoids(0.0),
    ShiftedSigmoid: lambda b: _sigmoids(b),
    ShiftedReLU: lambda b: Profile(
        _shifted_relu(b),
        lambda r: np.maximum(1 - b / r, 0.0),
        (0.0, 1.0) if b >= 0 else (1.0, np.inf),
        b >= 0,
        shift=abs(b),
        units=_EXACT,
        far=Far(lambda r: np.where(r >= b, 0.0, np.inf), shift=b),
    ),
    RadialSoftplus: lambda b: Profile(
        _softplus(b),
        lambda r: (np.maximum(r - b, 0.0) + np.log1p(np.exp(-np.abs(r - b)))) / r,
        (0.0, np.inf),
        False,
        shift=abs(b),
        units=_TWICE,
        far=Far(_decaying(b), shift=b),
    ),
}


def _sigmoids(b: float) -> Profile:
    bounds = _shifted_sigmoid(b)
    far = Far(_decaying(b), bounded=lambda z: z * 0.0 + 1.0)
    return Profile(
        bounds, lambda r: 1 / ((1 + np.exp(b - r)) * r), (0.0, np.inf), False, shift=abs(b), units=_ONCE, far=far
    )
