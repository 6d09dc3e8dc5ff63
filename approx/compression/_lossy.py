"""Which singular values a lossy compression may drop, and the bound of the error that this leaves.

Notation. Layer i maps z to rho_i(W_i z + b_i); the lossy network keeps z_i = V_i y_i with orthonormal columns V_i, and
U_i is the orthonormal basis that the lossless Algorithm 1 finds, whose range contains all z_i, and that of V_i.
G_i = L_i prod_{j > i} L_j |W_j U_{j-1}| bounds what an error in front of activation i becomes at the output, L_j the
Lipschitz constant of rho_j: the difference of the two networks stays in the ranges of the U_j. Dropping directions of
A_i = [b_i, W_i V_{i-1}] moves the argument of rho_i by at most e_i. Both networks start from the same x, so by
induction over the layers

    |F(x) - F_red(x)| <= sum_i G_i e_i + sum_i H_i r_i                                            (1)

where e_i = sqrt(2) s, s the largest dropped singular value of [b_i, Y W_i V_{i-1}], applied to (1, y_{i-1} / Y), with
Y a bound of |y_{i-1}| for |x| <= radius. The second sum is rounding: r_i bounds that of layer i, which may leave the
ranges of the U_j, so that H_i is G_i with Frobenius norms of the full W_j.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from approx import _checks
from approx.activations import RadialActivation, is_built_in
from approx.networks import RadialNetwork

__all__ = ["Budget"]

_SLACK = 1 + 1e-9  # rounding of norms and of the bound itself


class Budget:
    """Divides `tol` among the layers, and keeps count of (1); layers are taken in order.

    Raises ValueError for an activation without a finite Lipschitz constant, naming the layer.
    """

    def __init__(self, network: RadialNetwork, lossless: RadialNetwork, tol: float, radius: float):
        self.tol, self.size, self.spent = tol, radius, 0.0
        self.lipschitz = [_lipschitz(layer, block, tol) for layer, block in _activations(network)]
        self.gains = self._gains([float(torch.linalg.matrix_norm(w.double(), 2)) for w, _, _ in lossless.layers()])
        self.rounding_gains = self._gains([float(w.double().norm()) for w, _, _ in network.layers()])

    def _gains(self, norms: list[float]) -> list[float]:
        gains = [self.lipschitz[-1]]
        for norm, constant in zip(norms[:0:-1], self.lipschitz[-2::-1], strict=True):
            gains.append(constant * norm * _SLACK * gains[-1])
        return gains[::-1]

    def rank(self, layer: int, singular: Tensor, rounding: float, complete: float) -> int:
        """How many singular values of [b, Y W V] to keep, at least 1, within this layer's share of what is left.

        rounding : what it adds when some are dropped; complete : what it adds when none are
        """
        left = max(self.tol - self.spent, 0.0) / max(1, len(self.gains) - 1 - layer)
        costs = [self._cost(layer, math.sqrt(2) * float(value), rounding) for value in singular[1:]]
        costs.append(self._cost(layer, 0.0, complete))
        rank = next((i + 1 for i, cost in enumerate(costs) if cost <= left), len(costs))
        self.spent += costs[rank - 1]
        return rank

    def spend(self, layer: int, rounding: float) -> None:
        """Count rounding in front of the activation of this layer."""
        self.spent += self._cost(layer, 0.0, rounding)

    def _cost(self, layer: int, error: float, rounding: float) -> float:
        pairs = ((self.gains[layer], error), (self.rounding_gains[layer], rounding))
        return sum(gain * value * _SLACK for gain, value in pairs if value)  # a gain may be infinite

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
        if activation is not None and is_built_in(activation):  # these profiles never decrease
            height = activation.profile(torch.tensor([before], dtype=torch.float64, device=weight.device))
            self.size = min(self.size, float(height) * _SLACK)
        if not math.isfinite(self.size):
            self.spent = math.inf
            self.check()


def _activations(network: RadialNetwork) -> Iterator[tuple[int, RadialActivation | None]]:
    layers = (block.activation for block in network.blocks for _ in range(block.layers))
    return enumerate(layers, 1)


def _lipschitz(layer: int, activation: RadialActivation | None, tol: float) -> float:
    constant = 1.0 if activation is None else activation.lipschitz
    if constant is None or not math.isfinite(constant):
        known = "unknown" if constant is None else "infinite: it jumps"
        received = f"tol = {tol:g} and layer {layer} with {activation}, whose Lipschitz constant is {known}"
        action = "Compress with tol=0, which is lossless for every radial activation."
        if constant is None:
            action += " Or set the attribute `lipschitz` of the activation."
        required = "activations with a finite Lipschitz constant, so that an error stays bounded"
        raise ValueError(_checks.message("compress", received, required, action))
    return float(constant)
