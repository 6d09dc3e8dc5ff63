"""What a radial-basis network does far away, bounded by its formulas (in real arithmetic).

A layer moves x by |x - c_i| |delta(r)| with r^2 = H^2 + K_i^2 |x - c_i|^2, at most

    m_i = sup_t t |delta(sqrt(H^2 + K_i^2 t^2))| = (H / K_i) sup_u u |delta(H sqrt(1 + u^2))|

(b / K_i for the shifted ReLU; the supremum is taken on a fine grid and rounded up by 1 %). So |x_N - x| <= sum_i m_i,
which is what stays of a slope A: |A x_N - A x| <= |A| sum_i m_i. And for |x| >= R the layer i sees a point at a
distance of at least R - |c_i| - sum_{j < i} m_j from its centre, where phi_i is as small as the kernel is there.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from approx.domains import WholeSpace
from constructions.radial_basis.features import Layers
from constructions.radial_basis.kernels import Kernel

__all__ = ["displacement", "far_points", "features_beyond"]

Array = NDArray[np.float64]
_GRID = np.geomspace(1e-4, 1e12, 8000)
_MARGIN = 1.01


def displacement(kernel: Kernel, slopes: Array) -> Array:
    """m_i of layers without renormalisation with these slopes (N,)."""
    size = np.abs(kernel.defect(kernel.level * np.sqrt(1 + _GRID**2)))
    return _MARGIN * float((_GRID * size).max()) * kernel.level / slopes


def features_beyond(layers: Layers, weights: Array, radius: float) -> float:
    """A bound of |sum_i a_i psi_i(x)| for |x| >= radius; inf where the formula says nothing."""
    moved = displacement(layers.kernel, layers.slopes)
    before = np.cumsum(moved) - moved
    distance = radius - np.linalg.norm(layers.images, axis=1) - before
    if not (distance > 0).all():
        return float("inf")
    phi = np.abs(layers.kernel.values(distance**2, layers.slopes))
    growth = max(1.0, 1 - layers.kernel.at_level) ** len(layers)  # lambda > 1 where delta < 0
    return _MARGIN * growth * float(phi @ np.linalg.norm(weights, axis=1))


def far_points(dim: int, radius: float, count: int, reach: float) -> Array:
    """(count, n) points with radius < |x| <= reach, directions even: of four, three with radius/|x| spread over [0, 1]
    as Chebyshev points are (far away F - f is a smooth function of 1/|x|), one with log|x| uniform."""
    unit = WholeSpace(dim).sample(2 * count + 2, seed=7, scale=1.0, reach=2.0)
    length = np.linalg.norm(unit, axis=1)
    directions = (unit / length[:, None])[length > 1][:count]
    share = (np.log2(length[length > 1][:count]) + np.arange(len(directions)) * 0.6180339887498949) % 1
    inverse = np.sin(np.pi / 2 * share) ** 2
    logarithmic = (radius / reach) ** share
    scaled = np.where(np.arange(len(directions)) % 4 == 3, logarithmic, np.maximum(inverse, radius / reach))
    return directions * radius / scaled[:, None]
