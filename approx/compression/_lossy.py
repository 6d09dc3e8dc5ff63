"""Which singular values a lossy compression may drop, and the bound of the error that this leaves.

Notation. Layer i maps z to rho_i(W_i z + b_i); the compressed network keeps z_i = V_i y_i with orthonormal columns V_i.
G_i = L_i prod_{j > i} L_j |W_j| bounds what an error in front of activation i becomes at the output, L_j the Lipschitz
constant of rho_j, |W_j| the spectral norm in the full network. Dropping directions of A_i = [b_i, W_i V_{i-1}] moves
the argument of rho_i by at most e_i. Both networks start from the same x, so by induction over the layers

    |F(x) - F_red(x)| <= sum_i G_i e_i                                                            (1)

with Y = a bound of |y_{i-1}| for |x| <= radius, e_i = sqrt(2) s, where s is the largest dropped singular value of
[b_i, Y W_i V_{i-1}], applied to (1, y_{i-1} / Y), whose length is at most sqrt(2).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from approx import _checks
from approx.activations import RadialActivation, activation_names
from approx.networks import RadialNetwork

__all__ = ["Budget"]

_SLACK = 1 + 1e-9  # rounding of norms and of the bound itself


class Budget:
    """Divides `tol` among the layers, and keeps count of (1); layers are taken in order.

    Raises ValueError for an activation without a finite Lipschitz constant, naming the layer.
    """

    def __init__(self, network: RadialNetwork, tol: float, radius: float):
        self.tol, self.size, self.spent = tol, radius, 0.0
        self.lipschitz, norms = [], []
        for layer, (weight, _, activation) in enumerate(network.layers()):
            constant = 1.0 if activation is None else activation.lipschitz
            if constant is None or not math.isfinite(constant):
                known = "unknown" if constant is None else "infinite: it jumps"
                received = f"tol = {tol:g} and layer {layer + 1} with {activation}, whose Lipschitz constant is {known}"
                action = "Compress with tol=0, which is lossless for every radial activation."
                if constant is None:
                    action += " Or set the attribute `lipschitz` of the activation."
                required = "activations with a finite Lipschitz constant, so that an error stays bounded"
                raise ValueError(_checks.message("compress", received, required, action))
            self.lipschitz.append(float(constant))
            norms.append(float(torch.linalg.matrix_norm(weight.detach().double(), 2)) * _SLACK)
        self.gains = [self.lipschitz[-1]]
        for norm, constant in zip(norms[:0:-1], self.lipschitz[-2::-1], strict=True):
            self.gains.append(constant * norm * self.gains[-1])
        self.gains.reverse()

    def rank(self, layer: int, singular: Tensor, rounding: float, complete: float) -> int:
        """How many singular values of [b, Y W V] to keep, at least 1, within this layer's share of what is left.

        rounding is added to what is dropped; complete is the error when all are kept.
        """
        left = max(self.tol - self.spent, 0.0) / max(1, len(self.gains) - 1 - layer)
        errors = [math.sqrt(2) * float(value) + rounding for value in singular[1:]] + [complete]
        fits = (i + 1 for i, error in enumerate(errors) if self._cost(layer, error) <= left)
        rank = next(fits, len(errors))
        self.spend(layer, errors[rank - 1])
        return rank

    def spend(self, layer: int, error: float) -> None:
        """Count an error in front of the activation of this layer."""
        self.spent += self._cost(layer, error)

    def _cost(self, layer: int, error: float) -> float:
        return self.gains[layer] * error * _SLACK if error else 0.0  # a gain may be infinite

    def check(self) -> None:
        """Raises ValueError if the bound is not below tol."""
        if not (self.spent <= self.tol and math.isfinite(self.size)):
            received = f"tol = {self.tol:g}, where rounding and the Lipschitz constants already give {self.spent:.3g}"
            action = "Pass a larger tol or a smaller radius, or tol=0 for a lossless compression."
            raise ValueError(_checks.message("compress", received, "a tol that can be proved", action))

    def advance(self, layer: int, weight: Tensor, bias: Tensor, activation: RadialActivation | None) -> None:
        """Go through a reduced layer: from the bound of |y_{i-1}| to that of |y_i|."""
        norm = float(torch.linalg.matrix_norm(weight.double(), 2))
        before = (float(bias.double().norm()) + norm * self.size) * _SLACK
        self.size = before * self.lipschitz[layer]
        if activation is not None and activation.name in activation_names():  # these profiles never decrease
            height = activation.profile(torch.tensor([before], dtype=torch.float64))
            self.size = min(self.size, float(height) * _SLACK)
        if not math.isfinite(self.size):
            self.spent = math.inf
            self.check()
