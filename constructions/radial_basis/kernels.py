"""Which radial kernel an activation induces, and at which level H it is used.

Notation. lambda(r) = h(r)/r, delta(r) = 1 - lambda(r) its defect, H the level (the constant coordinate of a layer),
D = 1/|delta(H)| the gain, K the slope of a layer, d a distance. The kernel is

    phi(d) = delta(sqrt(H^2 + K^2 d^2)) / delta(H),        phi(0) = 1,

and its shape kappa is defined by phi(d) = 1 - kappa^2 d^2 / 2 + O(d^4), that is kappa = sqrt(p) K / H with the local
order p = -r delta'(r) / delta(r) at r = H. As H grows phi tends to

    (1 + kappa^2 d^2 / p)^(-p/2)     where p tends to a positive number  (inverse multiquadric for p = 1),
    exp(-kappa^2 d^2 / 2)            where p tends to infinity           (Gaussian).

One unit of rounding in lambda H is D units in phi: a layer of gain D costs log10(D) digits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from approx import _checks
from approx.activations import RadialActivation, RadialSoftplus, RadialSwish, ShiftedReLU, activation

__all__ = ["Kernel", "kernel"]

Array = NDArray[np.float64]
_FAR = np.array([1e2, 1e4, 1e6, 1e8, 1e10, 1e12])
_CALL = "radial_basis"


@dataclass(frozen=True, eq=False)
class Kernel:
    """The kernel of an activation at one level.

    activation : the radial activation
    gain : D; the factor lambda differs from 1 by at most 1/D beyond the level
    level : H, with |delta(H)| = 1/D
    defect : (k,) radii -> delta(r)
    order : the local order p at the level
    name : of the limit kernel, with its formula

    >>> made = kernel("shifted_relu", 1000.0)
    >>> round(made.level), round(made.gain), round(made.order)
    (1000, 1000, 1)
    """

    activation: RadialActivation
    gain: float
    level: float
    defect: Callable[[Array], Array]
    order: float
    name: str

    @property
    def at_level(self) -> float:
        """delta(H) = +-1/D."""
        return float(self.defect(np.array([self.level]))[0])

    def slopes(self, shapes: Array) -> Array:
        """K of kernels of these shapes kappa: kappa H / sqrt(p)."""
        return np.asarray(shapes) * self.level / math.sqrt(self.order)

    def values(self, squares: Array, slopes: Array) -> Array:
        """phi at squared distances d^2, with slopes K that broadcast against them."""
        return self.defect(np.sqrt(self.level**2 + slopes**2 * squares)) / self.at_level

    def profile(self, distance: Array, shape: float) -> Array:
        """phi(d) for distances of any shape."""
        return self.values(np.square(distance), self.slopes(np.array(shape)))


def kernel(rho: RadialActivation | str, gain: float) -> Kernel:
    """The kernel of an activation with h(r)/r -> 1, at the level where |h(r)/r - 1| = 1/gain.

    Raises ValueError, with the reason, for activations that induce none: bounded or sublinear h (h(r)/r -> 0), another
    limit than 1, h(r) = r beyond some radius (Step-ReLU, the identity), or a defect that never equals 1/gain.

    >>> from approx.activations import ShiftedReLU
    >>> kernel(ShiftedReLU(1.0), 1000.0).name
    'inverse multiquadric, (1 + kappa^2 d^2)^(-1/2)'
    """
    if isinstance(rho, str):
        rho = activation(rho)
    if not isinstance(rho, RadialActivation):
        required = "a RadialActivation or the name of one"
        raise TypeError(_checks.message(_CALL, f"activation {_checks.show(rho)}", required, "Wrap h in one."))
    gain = _checks.positive(_CALL, "gain", gain)
    if gain < 2:
        raise ValueError(_checks.message(_CALL, f"gain = {gain:g}", "gain >= 2", "Use 100 to 10,000 in float64."))
    defect = _defect(rho)
    _check_tail(rho, defect)
    level = _level(rho, defect, gain)
    near, far = (_order(defect, level * factor) for factor in (1.0, 1.5))
    if not near > 0:
        _refuse(rho, f"|h(r)/r - 1| that does not decrease at r = {level:.4g}", "a decreasing tail")
    return Kernel(rho, gain, level, defect, near, _name(near, far))


def _defect(rho: RadialActivation) -> Callable[[Array], Array]:
    """delta without cancellation where a formula is known."""
    if isinstance(rho, ShiftedReLU):
        shift = float(rho.shift)
        return lambda r: np.where(r > shift, shift / r, 1.0)
    if isinstance(rho, RadialSoftplus):
        shift = float(rho.shift)
        return lambda r: (shift - np.log1p(np.exp(np.minimum(shift - r, 700.0)))) / r
    if isinstance(rho, RadialSwish):
        return lambda r: np.exp(-r) / (1 + np.exp(-r))

    def general(r: Array) -> Array:
        with torch.no_grad():
            radii = np.ascontiguousarray(r, dtype=np.float64)
            return 1.0 - rho.factor(torch.from_numpy(radii.ravel())).numpy().reshape(radii.shape)

    return general


def _check_tail(rho: RadialActivation, defect: Callable[[Array], Array]) -> None:
    size = np.abs(defect(_FAR))
    if not np.isfinite(size).all():
        _refuse(rho, "h(r)/r that is not finite far out", "h(r)/r -> 1 as r -> infinity")
    limit = 1 - float(defect(_FAR[-1:])[0])
    if size[-1] > 0.1 or (np.diff(size) > 1e-9).any():
        if abs(limit) < 1e-3:
            reason = (
                "h(r)/r that tends to 0: near any level such an h is a smooth shrinking map, and small perturbations "
                "of it only give polynomials of low degree"
            )
            _refuse(rho, reason, "h(r)/r -> 1 as r -> infinity, as for shifted_relu, radial_softplus or radial_swish")
        _refuse(rho, f"h(r)/r = {limit:.6g} at r = 1e12", "h(r)/r -> 1 as r -> infinity")


def _level(rho: RadialActivation, defect: Callable[[Array], Array], gain: float) -> float:
    """The largest r with |delta(r)| >= 1/gain, by bisection."""
    low, high = 1e-6, 1e14
    while high / low > 1 + 1e-15:
        middle = math.sqrt(low * high)
        if not low < middle < high:
            break
        low, high = (middle, high) if abs(float(defect(np.array([middle]))[0])) >= 1 / gain else (low, middle)
    here = abs(float(defect(np.array([low]))[0])) * gain
    if not abs(here - 1) < 1e-2:
        reason = f"h(r) = r beyond r = {high:.4g}" if here > 1 else "|h(r)/r - 1| that is nowhere so large"
        action = "Step-ReLU and the like have builders of their own, such as constant_width."
        _refuse(rho, reason, f"h(r)/r that tends to 1 but passes through 1 - 1/{gain:g} continuously", action)
    return low


def _refuse(rho: RadialActivation, reason: str, required: str, action: str = "Choose another activation.") -> None:
    raise ValueError(_checks.message(_CALL, f"activation {rho} with {reason}", required, action))


def _order(defect: Callable[[Array], Array], r: float) -> float:
    """-d log|delta| / d log r."""
    step = 1e-4
    low, high = (abs(float(defect(np.array([r * math.exp(t)]))[0])) for t in (-step, step))
    return math.log(low / high) / (2 * step) if low > 0 and high > 0 else math.nan


def _name(near: float, far: float) -> str:
    if math.isfinite(far) and abs(far - near) <= 0.02 * near:
        p = round(near, 1)
        if p == 1:
            return "inverse multiquadric, (1 + kappa^2 d^2)^(-1/2)"
        return f"inverse multiquadric of order {p:g}, (1 + kappa^2 d^2 / {p:g})^(-{p / 2:g})"
    return "Gaussian, exp(-kappa^2 d^2 / 2) as the level grows"
