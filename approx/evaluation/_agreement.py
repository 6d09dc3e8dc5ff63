"""Does a network do what its cover says, and which layer captures which point?"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from approx import _checks
from approx.covers import Cover
from approx.evaluation._subject import Collar, chunk_size
from approx.networks import Growing, RadialNetwork

__all__ = ["Agreement", "captured", "compare_with_cover"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class Agreement:
    """How a network compares with the ordered-cell function of its cover.

    points : how many points were compared
    decided : how many of them have the same first cell however rounding shifts the boundaries
    mismatches : at how many decided points the two differ by more than rounding of the values accounts for
    example : (n,) the decided point where they differ most, in units of the tolerance; None without decided points
    worst : the difference there
    tolerance : what rounding of the values accounts for there

    >>> from approx.affine import AffineMap
    >>> cover = Cover([[0.0]], [[1.0]], AffineMap.constant([0.0], 1), radii=[1.0])
    >>> net = RadialNetwork.from_layers([(torch.zeros(1, 1), torch.ones(1), None)])  # 1 everywhere
    >>> found = compare_with_cover(net, cover, [[0.5], [2.0], [3.0]])
    >>> found.agrees, found.mismatches
    (False, 2)
    """

    points: int
    decided: int
    mismatches: int
    example: Array | None
    worst: float
    tolerance: float

    @property
    def agrees(self) -> bool:
        """Whether some point was decided, and none of them differs."""
        return self.decided > 0 and self.mismatches == 0


def compare_with_cover(
    network: RadialNetwork, cover: Cover, points: ArrayLike, rounding: Collar | None = None
) -> Agreement:
    """Compare a dense Step-ReLU network with the cover it was built from, at points (k, n).

    A point counts if its first cell stays the same when every cell shrinks and grows by the rounding collar, the
    bound rounding.collar(radius) of how far rounding may displace a boundary for |x| <= radius. Without `rounding`
    the collar is 4 (N + 8) u (|x| + max |c_i|) for N hidden layers and the unit roundoff u of the network's dtype.
    Values may differ by 4 (N + 8) u times the largest number they are computed from.

    Raises ValueError or TypeError for points that are not finite, and points or covers of the wrong dimension.

    >>> import constructions
    >>> from approx.targets import gaussian
    >>> built = constructions.build(gaussian(dim=2), 0.3, verify=False)
    >>> points = gaussian(dim=2).domain.sample(1000)
    >>> compare_with_cover(built.network, built.cover, points, built.rounding).agrees
    True
    """
    call = "compare_with_cover"
    x = _checks.finite_array(call, "points", points, (None, network.dim_in))
    if (cover.dim_in, cover.dim_out) != (network.dim_in, network.dim_out):
        raise ValueError(
            _checks.message(
                call,
                f"a cover R^{cover.dim_in} -> R^{cover.dim_out}",
                f"R^{network.dim_in} -> R^{network.dim_out}, as the network",
                "Pass the cover the network was built from.",
            )
        )
    growth = 4 * (network.hidden_layers + 8) * torch.finfo(network.dtype).eps
    lengths = np.linalg.norm(x, axis=1)
    farthest = float(np.linalg.norm(cover.centers, axis=1).max()) if len(cover) else 0.0
    # Points beyond all cells have a collar of their own, which would needlessly blur the cells.
    near = lengths <= 2 * cover.reach
    decided = np.zeros(len(x), dtype=bool)
    for group in (near, ~near):
        if group.any():
            radius = float(lengths[group].max())
            collar = growth * (radius + farthest) if rounding is None else rounding.collar(radius)
            decided[group] = _first_cell_is_sure(cover, x[group], collar)
    x, lengths = x[decided], lengths[decided]
    affine = cover.affine
    largest = max(float(np.abs(part).max(initial=0.0)) for part in (cover.values, affine.offset))
    tolerances = growth * (largest + affine.lipschitz * (farthest + lengths)) + np.finfo(float).tiny
    size = chunk_size(network, network.dim_in, network.dim_out)
    differences = np.empty(len(x))
    for start in range(0, len(x), size):
        part = x[start : start + size]
        differences[start : start + size] = np.linalg.norm(network.evaluate(part) - cover(part), axis=1)
    differences[np.isnan(differences)] = np.inf
    worst = int((differences / tolerances).argmax()) if len(x) else None
    return Agreement(
        points=len(decided),
        decided=len(x),
        mismatches=int((differences > tolerances).sum()),
        example=None if worst is None else x[worst],
        worst=0.0 if worst is None else float(differences[worst]),
        tolerance=0.0 if worst is None else float(tolerances[worst]),
    )


def _first_cell_is_sure(cover: Cover, x: Array, collar: float) -> NDArray[np.bool_]:
    """(k,) whether the first cell is the same for all boundaries within `collar` of the true ones."""
    if not len(cover):
        return np.ones(len(x), dtype=bool)
    shortest = 1 / np.linalg.norm(cover.matrices, 2, axis=(1, 2)) if cover.radii is None else cover.radii
    change = collar / shortest  # scaling an ellipsoid by 1 +- this moves its boundary by at least the collar
    small, large = (_scaled(cover, factor) for factor in (np.maximum(1 - change, 1e-100), 1 + change))
    first = small.find(x)
    return (first == large.find(x)) & ((first < 0) | (change[first] < 1))


def _scaled(cover: Cover, factor: Array) -> Cover:
    if cover.radii is not None:
        return replace(cover, radii=cover.radii * factor)
    return replace(cover, shapes=cover.matrices / factor[:, None, None])


def captured(network: RadialNetwork, points: ArrayLike) -> NDArray[np.int64]:
    """points (k, n) -> (k,) index of the first layer whose activation sends each point to zero, -1 if none does.

    Layers count from 0. This is the network's own account, one layer after another on the points not yet captured:
    about N k d^2 operations for N layers of width d (8 seconds for N = 4489, d = 4 and 1e5 points on two cores).

    Raises ValueError or TypeError for points that are not finite or of the wrong dimension.

    >>> import constructions
    >>> from approx.affine import AffineMap
    >>> cover = Cover([[0.0], [1.0]], [[5.0], [7.0]], AffineMap.constant([0.0], 1), radii=[1.0, 1.0])
    >>> net = constructions.BUILDERS["constant_width"].assemble(cover).network
    >>> captured(net, [[0.5], [1.5], [9.0]])
    array([ 0,  1, -1])
    """
    x = _checks.finite_array("captured", "points", points, (None, network.dim_in))
    size = chunk_size(network, network.dim_in, network.dim_out)
    result = np.empty(len(x), dtype=np.int64)
    with torch.no_grad():
        for start in range(0, len(x), size):
            state = torch.as_tensor(x[start : start + size]).to(network.device, network.dtype)
            result[start : start + size] = _first_zero(network, state).cpu().numpy()
    return result


def _first_zero(network: RadialNetwork, state: Tensor) -> Tensor:
    result = torch.full((state.shape[0],), -1, dtype=torch.int64, device=state.device)
    alive = torch.arange(state.shape[0], device=state.device)
    active = [i for i, block in enumerate(network.blocks) if block.activation is not None]
    index = 0
    for i, block in enumerate(network.blocks[: active[-1] + 1] if active else ()):
        if isinstance(block, Growing) and i == active[-1]:
            # Nothing reads the coordinates carried along any more, and a radial activation needs only their length.
            head = block.weight.shape[2]
            state = torch.cat([state[:, :head], state[:, head:].norm(dim=1, keepdim=True)], dim=1)
        for layer in range(block.layers):
            if not alive.numel():
                return result
            if isinstance(block, Growing) and i == active[-1]:
                grown = block.step(state, layer)
                state = torch.cat([grown[:, :head], grown[:, head:].norm(dim=1, keepdim=True)], dim=1)
            else:
                state = block.step(state, layer)
            if block.activation is not None:
                zero = (state == 0).all(dim=1)
                if zero.any():
                    result[alive[zero]] = index
                    state, alive = state[~zero], alive[~zero]
            index += 1
    return result
