"""The layers of a radial-basis network: what they do to points, and their weights.

Notation. The state before layer i is (x, y): x in R^n, y in R^m. The layer sees v = (K_i (x - c_i), eta y, H), where
the last coordinate comes from its bias, and rescales v by lambda_i = lambda(|v|). The affine map after it reads off

    x' = c_i + (x - c_i) lambda_i / s,
    y' = y lambda_i / s + a_i phi_i,        phi_i = (H - H lambda_i) / (H delta(H)),

with s = lambda(H) (s = 1 on R^n). eta is so small that eta y does not count in |v|. So after all layers

    y = sum_i a_i psi_i(x),     psi_i = phi_i prod_{j > i} lambda_j / s,

which is linear in the weights a_i, and the output is A x_N + b + y. Nothing is neglected: the psi_i are computed with
the points as the earlier layers have moved them, and c_i is where they have moved the centre.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from approx.blocks import Block, Dense, Stack
from approx.networks import RadialNetwork
from constructions.radial_basis.kernels import Kernel

__all__ = ["Layers", "assemble", "sweep"]

Array = NDArray[np.float64]
_ROWS = 4096
_BITS = {torch.float64: 40, torch.float32: 20}  # |eta y| <= 2^-bits H


@dataclass(frozen=True, eq=False)
class Layers:
    """Everything about the hidden layers but the weights of the features.

    kernel : the activation at its level
    images : (N, n) c_i, the centres as the layers before have moved them
    slopes : (N,) K_i
    renormal : s, lambda(H) or 1

    >>> import constructions
    >>> from approx import targets
    >>> built = constructions.build(targets.gaussian(dim=1), builder="radial_basis", layers=10, samples=1000)
    >>> built.fit.layers.images.shape, built.fit.layers.slopes.shape
    ((10, 1), (10,))
    """

    kernel: Kernel
    images: Array
    slopes: Array
    renormal: float

    def __len__(self) -> int:
        return len(self.slopes)

    @classmethod
    def of(cls, kernel: Kernel, centers: Array, slopes: Array, *, renormalise: bool = True) -> Layers:
        """Layers with centres at `centers` (N, n), in the coordinates of the input."""
        renormal = 1 - kernel.at_level if renormalise else 1.0
        images = np.array(centers, dtype=np.float64)
        for i in range(len(images) - 1):
            _step(kernel, renormal, images[i].copy(), slopes[i], images[i + 1 :].T)
        return cls(kernel, images, np.array(slopes, dtype=np.float64), renormal)


def _step(kernel: Kernel, renormal: float, center: Array, slope: float, x: Array) -> tuple[Array, Array]:
    """Move the points x (n, k) in place; returns phi (k,) and lambda/s (k,)."""
    offset = x - center[:, None]
    squares = np.einsum("jk,jk->k", offset, offset)
    defect = kernel.defect(np.sqrt(kernel.level**2 + slope**2 * squares))
    ratio = (1 - defect) / renormal
    np.multiply(offset, ratio, out=offset)
    np.add(offset, center[:, None], out=x)
    return defect / kernel.at_level, ratio


def sweep(layers: Layers, points: Array) -> tuple[Array, Array]:
    """points (k, n) -> psi (k, N) and the points as all layers have moved them (k, n), in one pass.

    >>> import constructions
    >>> from approx import targets
    >>> built = constructions.build(targets.gaussian(dim=1), builder="radial_basis", layers=10, samples=1000)
    >>> psi, moved = sweep(built.fit.layers, np.zeros((3, 1)))
    >>> psi.shape, moved.shape
    ((3, 10), (3, 1))
    """
    features = np.empty((len(points), len(layers)))
    moved = np.array(points, dtype=np.float64)
    ratios = np.empty((len(layers), min(_ROWS, len(points))))
    for start in range(0, len(points), _ROWS):
        x = moved[start : start + _ROWS].T.copy()
        rows = features[start : start + _ROWS]
        for i in range(len(layers)):
            phi, ratio = _step(layers.kernel, layers.renormal, layers.images[i], layers.slopes[i], x)
            rows[:, i] = phi
            ratios[i, : len(rows)] = ratio
        tail = np.ones(len(rows))
        for i in range(len(layers) - 1, -1, -1):
            rows[:, i] *= tail
            tail *= ratios[i, : len(rows)]
        moved[start : start + _ROWS] = x.T
    return features, moved


def assemble(layers: Layers, weights: Array, matrix: Array, offset: Array, dtype: torch.dtype) -> RadialNetwork:
    """The dense network with hidden width n + m + 1: weights a (N, m), output A (m, n) and b (m,).

    >>> import constructions
    >>> from approx import targets
    >>> fit = constructions.build(targets.gaussian(dim=1), builder="radial_basis", layers=10, samples=1000).fit
    >>> net = assemble(fit.layers, fit.weights, fit.matrix, fit.offset, torch.float64)
    >>> psi, moved = sweep(fit.layers, np.zeros((1, 1)))
    >>> bool(abs(net.evaluate([[0.0]]) - psi @ fit.weights - moved @ fit.matrix.T - fit.offset).max() < 1e-12)
    True
    """
    count, n = layers.images.shape
    m = len(offset)
    width = n + m + 1
    level, defect, s = layers.kernel.level, layers.kernel.at_level, layers.renormal
    c, k = layers.images, layers.slopes
    eta = 2.0 ** (math.floor(math.log2(level / max(np.abs(weights).sum(), 1e-300))) - _BITS[dtype])
    enter = np.zeros((count, width, width))  # what layer i reads of the state that layer i - 1 left
    bias = np.zeros((count, width))
    x, y, t = np.arange(n), np.arange(n, n + m), n + m
    bias[:, t] = level
    bias[0, x] = -k[0] * c[0]
    enter[1:, x, x] = (k[1:] / (k[:-1] * s))[:, None]
    bias[1:, x] = k[1:, None] * (c[:-1] - c[1:])
    enter[1:, y, y] = 1 / s
    enter[1:, y, t] = -eta * weights[:-1] / (level * defect)
    bias[1:, y] = eta * weights[:-1] / defect
    first = np.zeros((width, n))
    first[x, x] = k[0]
    last = np.zeros((m, width))
    last[:, x] = matrix / (k[-1] * s)
    last[np.arange(m), y] = 1 / (eta * s)
    last[:, t] = -weights[-1] / (level * defect)
    out = offset + matrix @ c[-1] + weights[-1] / defect
    rho = layers.kernel.activation

    def tensor(array: Array) -> torch.Tensor:
        return torch.tensor(array, dtype=dtype)

    hidden: list[Block] = [Dense(tensor(first), tensor(bias[0]), rho)]
    if count > 1:
        hidden.append(Stack(tensor(enter[1:]), tensor(bias[1:]), rho))
    return RadialNetwork([*hidden, Dense(tensor(last), tensor(out))])
