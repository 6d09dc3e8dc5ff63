"""What bounds |F - f| outside a cube: the target's approach to its affine part, and what the network does far away."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from approx import _checks
from approx.affine import AffineMap
from approx.certification.enclosures import Enclosure
from approx.certification.forms import Layers
from approx.certification.intervals import TINY
from approx.certification.outside import Outside
from approx.certification.pieces import Pieces
from approx.networks import RadialNetwork
from approx.targets import Target, check_tail
from approx.targets.falsify import tail_at

__all__ = ["GlobalBoundUnavailable", "Tail", "beyond_cells", "beyond_models"]

Array = NDArray[np.float64]
_CALL = "certify"
_GROWTH = 1.25
_STEPS = 60
_SAMPLES = 1024
_NEGLIGIBLE = 0.05  # of an error that occurs
_TRIALS, _STRIDE = 6, 3  # larger and larger cubes
_FALLING = 0.7  # bounds that fall more slowly are what rounding leaves
_BY_MODELS = "outside a cube, Taylor models up to infinity, in real arithmetic"


class GlobalBoundUnavailable(ValueError):
    """Nothing bounds |F - f| at infinity; a compact domain can still be certified.

    >>> import approx, constructions
    >>> built = constructions.build(approx.targets.ridge(dim=1), 0.3, verify=False)
    >>> try:
    ...     approx.certify(built, domain=approx.WholeSpace(1))
    ... except GlobalBoundUnavailable:
    ...     print("pass a compact domain")
    pass a compact domain
    """


@dataclass(frozen=True)
class Tail:
    """|F - f| <= bound outside the cube |x_k| <= half; `because` says why."""

    half: float
    bound: float
    because: str
    conditional: bool


def beyond_cells(found: Pieces, target: Target, enclosure: Enclosure, eps: float | None) -> Tail:
    """A cube that holds all cells, and a bound of |F - f| outside it."""
    affine = _asymptote(target)
    same_slope, offset = found.outside_error(affine)
    if not same_slope or not np.isfinite(found.reach):
        received = "a network whose slope outside all cells is not proved equal to that of the target's affine part"
        action = "Pass a compact domain, or build it with a cover of balls in float64."
        raise GlobalBoundUnavailable(_checks.message(_CALL, received, "exactly that slope", action))
    enough = eps / 2 if eps is not None else _seen(found, target) / 2
    halves, bounds, because, conditional = _vanishing(target, enclosure, found.reach)
    least = bounds.min()
    wanted = enough - offset if eps is None else max(enough - offset, (eps - offset) / 2)
    first = int(np.argmax(bounds <= max(wanted, 1.001 * least)))
    half, bound = float(halves[first]), float(np.nextafter(bounds[first] + offset, np.inf))
    return Tail(half, bound, f"outside the cells, {because} {half:.6g}", conditional)


def beyond_models(
    network: RadialNetwork, layers: Layers, target: Target, enclosure: Enclosure, eps: float | None, seconds: float
) -> Tail:
    """A cube, and a bound of |F - f| outside it by Taylor models of F and the target's own bounds."""
    affine = _asymptote(target)
    try:
        outside = Outside(layers, affine)
    except ValueError as error:
        received = f"all of R^{target.dim_in} for {error}"
        required = "a compact domain, or smooth layers that are bounded beyond one"
        raise GlobalBoundUnavailable(_checks.message(_CALL, received, required, "Pass a Box or a Ball.")) from error
    size = max(_seen(network.evaluate, target), TINY)
    reach = float(np.abs(target.domain.sample(_SAMPLES)).max())
    halves, bounds, because, conditional = _vanishing(target, enclosure, reach)
    first = int(np.argmax(bounds <= max(_NEGLIGIBLE * size, 1.001 * bounds.min())))
    best = Tail(np.inf, np.inf, "", conditional)
    for half, bound in list(zip(halves.tolist(), bounds.tolist(), strict=True))[first::_STRIDE][:_TRIALS]:
        enough = size if eps is None else eps - bound
        low, high = outside.largest(half, tol=_NEGLIGIBLE * size, enough=enough, max_seconds=seconds / _TRIALS)
        tail = Tail(half, float(np.nextafter(high + bound, np.inf)), f"{_BY_MODELS}; {because} {half:.6g}", conditional)
        falls = tail.bound < _FALLING * best.bound
        best = min(best, tail, key=lambda found: found.bound)
        if high <= max(enough, low + _NEGLIGIBLE * size) or not falls:
            break
    if not np.isfinite(best.bound):
        received = f"a network whose models have no bound for |x_k| >= {halves[first]:.6g}"
        required = "layers that see those points away from their centres"
        raise GlobalBoundUnavailable(_checks.message(_CALL, received, required, "Pass a Box or a Ball."))
    return best


def _asymptote(target: Target) -> AffineMap:
    if target.affine is None:
        received = f"all of R^{target.dim_in} for {target.name!r}, which has no affine part"
        raise GlobalBoundUnavailable(
            _checks.message(_CALL, received, "an asymptotically affine target", "Pass a compact domain.")
        )
    return target.affine


def _seen(function: Callable[[Array], Array], target: Target) -> float:
    """An error that occurs."""
    points = target.domain.sample(_SAMPLES)
    return float(np.linalg.norm(function(points) - target(points), axis=1).max())


def _vanishing(target: Target, enclosure: Enclosure, reach: float) -> tuple[Array, Array, str, bool]:
    """Cubes |x_k| <= half for half > reach, bounds of |f - L| outside them, what these are and whether only claimed."""
    assert target.affine is not None, "the caller has seen that there is one"
    growth = np.power(_GROWTH, np.arange(_STEPS), dtype=np.float64)
    halves = max(reach, target.domain.diameter * 2.0**-10) * (1 + 1e-9) * growth
    bounds = [_slabs(enclosure, target.affine, half) for half in halves.tolist()]
    because, conditional = f"{enclosure.basis} on the slabs |x_k| >=", enclosure.conditional
    if not np.isfinite(bounds).any() and target.tail is not None:
        check_tail(target)
        bounds = [tail_at(target, half) for half in halves.tolist()]
        because, conditional = "the target's tail at", target.lipschitz_source != "proved"
    if not np.nanmin(bounds, initial=np.inf) < np.inf:
        received = f"|f - L| without a bound up to |x| = {halves[-1]:.3g}"
        required = "a target that intervals bound at infinity, or one with tail="
        raise GlobalBoundUnavailable(_checks.message(_CALL, received, required, "Pass tail=, or a compact domain."))
    found = np.array(bounds, dtype=np.float64)
    found[np.isnan(found)] = np.inf
    return halves, found, because, conditional


def _slabs(enclosure: Enclosure, affine: AffineMap, half: float) -> float:
    """A bound of |f - L| where some |x_k| >= half, from the 2 n unbounded slabs; inf if intervals give none."""
    n = affine.dim_in
    lower, upper = np.full((2 * n, n), -np.inf), np.full((2 * n, n), np.inf)
    lower[range(n), range(n)] = half
    upper[range(n, 2 * n), range(n)] = -half
    low, high = enclosure.residual_range(lower, upper, affine)
    size = np.maximum(np.abs(low), np.abs(high))
    if not np.isfinite(size).all():
        return float("inf")
    return float(np.linalg.norm(size, axis=1).max()) * (1 + 1e-12)
