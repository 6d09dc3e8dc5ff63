"""Does an exported file compute what the network does? Both are run at points, boundaries of cells among them."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from approx import _checks
from approx.covers import Cover
from approx.domains import Ball
from approx.networks import RadialNetwork

__all__ = ["Comparison", "compare", "probe"]

Array = NDArray[np.float64]

_TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-4}
_COLLAR = {torch.float64: 1e-12, torch.float32: 1e-4}  # relative; far above the rounding of a layer's input
_DIRECTIONS = 64
_TRIALS = 4


@dataclass(frozen=True, eq=False, kw_only=True)
class Comparison:
    """How another evaluation of a network compares with the network's own.

    points : how many points were compared
    largest : the largest difference at the points where the two take the same side of every boundary
    other_side : at how many points they differ by more than `tolerance`, and the other value is one that the network
        itself takes within `collar` of the point: the point lies within rounding of a boundary
    wrong : at how many points they differ by more, without that excuse
    example : (n,) the worst such point, or None
    tolerance : what rounding of the values may account for, absolute
    collar : how far rounding may move a boundary, relative to 1 + |x|

    >>> net = RadialNetwork.from_layers([(torch.ones(1, 2).double(), torch.zeros(1).double(), None)])
    >>> found = compare(net, [[3.0], [8.0]], [[1.0, 2.0], [3.0, 4.0]])
    >>> found.points, found.wrong, found.example
    (2, 1, array([3., 4.]))
    """

    points: int
    largest: float
    other_side: int
    wrong: int
    example: Array | None
    tolerance: float
    collar: float

    @property
    def agrees(self) -> bool:
        return self.wrong == 0


def compare(network: RadialNetwork, values: ArrayLike, points: ArrayLike) -> Comparison:
    """Compare `values` (k, m), computed elsewhere at `points` (k, n), with the network's own.

    Values may differ by 1e-12 times the largest of them (1e-4 in float32). Networks without jumps may lose digits
    inside; theirs may differ by what they move, in 4 trials, when every weight changes in its last bits.
    A point where they differ by more counts as `other_side` if the network takes the other value somewhere within the
    collar, 1e-12 (1 + |x|) (1e-4 in float32), tried in 64 directions: then a boundary passes so close that rounding
    decides the side.
    Raises TypeError or ValueError for arrays of other shapes, or points that are not finite.

    >>> net = RadialNetwork.from_layers([(torch.ones(1, 2).double(), torch.zeros(1).double(), None)])
    >>> compare(net, [[3.0], [7.0]], [[1.0, 2.0], [3.0, 4.0]]).wrong
    0
    """
    call = "compare"
    x = _checks.finite_array(call, "points", points, (None, network.dim_in))
    x = x.astype(np.float32).astype(float) if network.dtype == torch.float32 else x
    other = np.array(_checks.finite_array(call, "values", values, (len(x), network.dim_out)))
    own = network.evaluate(x)
    tolerance = _TOLERANCE[network.dtype] * max(1.0, float(np.abs(own).max(initial=0.0)))
    if not any(block.activation is not None and block.activation.lipschitz == np.inf for block in network.blocks):
        tolerance = max(tolerance, _sensitivity(network, x[:: max(1, len(x) // 1000)]))
    collar = _COLLAR[network.dtype]
    difference = np.abs(own - other).max(axis=1)
    far = np.flatnonzero(~(difference <= tolerance))
    excused = np.array([_other_side(network, x[i], other[i], tolerance, collar) for i in far], dtype=bool)
    wrong = far[~excused]
    near = np.delete(difference, far)
    return Comparison(
        points=len(x),
        largest=float(near.max(initial=0.0)),
        other_side=int(excused.sum()),
        wrong=len(wrong),
        example=x[wrong[np.argmax(difference[wrong])]] if len(wrong) else None,
        tolerance=tolerance,
        collar=collar,
    )


def _sensitivity(network: RadialNetwork, x: Array) -> float:
    """How far values move, at most, when every weight is multiplied by 1 - 4 u, 1 or 1 + 4 u at random."""
    generator = torch.Generator().manual_seed(0)
    moved = 0.0
    for _ in range(_TRIALS):
        shaken = copy.deepcopy(network)
        with torch.no_grad():
            for parameter in shaken.parameters():
                unit = 4 * torch.finfo(parameter.dtype).eps
                signs = torch.randint(-1, 2, parameter.shape, generator=generator).to(parameter)
                parameter.mul_(1 + unit * signs)
        moved = max(moved, float(np.abs(shaken.evaluate(x) - network.evaluate(x)).max(initial=0.0)))
    return moved


def _other_side(network: RadialNetwork, x: Array, value: Array, tolerance: float, collar: float) -> bool:
    directions = Ball(np.zeros(len(x)), 1.0).sample(_DIRECTIONS)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    around = x + collar * (1 + np.linalg.norm(x)) * directions
    return bool((np.abs(network.evaluate(around) - value).max(axis=1) <= tolerance).any())


def probe(network: RadialNetwork, cover: Cover | None, count: int, seed: int = 0) -> Array:
    """`count` points (k, n) to compare at: of the ball that holds all cells, and, for a cover, a quarter of them
    1e-9 outside, a quarter 1e-9 inside of a cell's boundary (1e-3 in float32, times 1 + |x|).

    >>> net = RadialNetwork.from_layers([(torch.ones(1, 2).double(), torch.zeros(1).double(), None)])
    >>> probe(net, None, 100).shape
    (100, 2)
    """
    reach = 3.0 if cover is None or not len(cover) else 1.1 * cover.reach
    edges = count // 4 if cover is not None and len(cover) else 0
    inside = Ball(np.zeros(network.dim_in), reach).sample(count - 2 * edges, seed)
    if cover is None or not edges:
        return inside
    edge, normal = cover.boundary_points(edges, seed)
    step = 1e-9 if network.dtype == torch.float64 else 1e-3
    step = step * (1 + np.linalg.norm(edge, axis=1, keepdims=True))
    return np.concatenate([inside, edge + step * normal, edge - step * normal])
