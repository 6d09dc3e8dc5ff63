"""From a stored network and a target to lower <= sup |F - f| <= upper, and what that rests on."""

from __future__ import annotations

import functools
import time
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import numpy as np

from approx import _checks
from approx.certification.branch import Bracket, branch_and_bound
from approx.certification.enclosures import Enclosure, enclosure_of
from approx.certification.pieces import Pieces, pieces
from approx.certification.witness import Witnessed, witnessed
from approx.domains import Ball, Box, WholeSpace
from approx.evaluation import SupError
from approx.networks import RadialNetwork
from approx.targets import Target, check_lipschitz, check_tail

__all__ = ["GlobalBoundUnavailable", "certify"]

_CALL = "certify"
_DECIDED = 1e-6  # of eps: closer bounds would decide nothing that rounding leaves open
_WARM_UP = 256  # boxes
_GROWTH = 1.25
_STEPS = 60
_WITNESSED = 4  # from this dimension on a witness is tried first, and above it branch and bound only
_STILL, _MANY = 6, 20_000  # up to this dimension and for so many cells


class GlobalBoundUnavailable(ValueError):
    """Nothing bounds |F - f| outside all cells; a compact domain can still be certified."""


@dataclass(frozen=True)
class _Tail:
    """|F - f| <= bound outside the cube |x_k| <= half; `because` says why."""

    half: float
    bound: float
    because: str
    conditional: bool


def certify(
    subject: Any,
    target: Target | None = None,
    domain: Box | Ball | WholeSpace | None = None,
    *,
    eps: float | None = None,
    tol: float | None = None,
    max_seconds: float = 60.0,
    executor: Executor | None = None,
    progress: bool = False,
) -> SupError:
    """Certified bounds of sup |F - f| for a Step-ReLU network as it is stored, however it was built.

    subject : a RadialNetwork with Step-ReLU activations, or a construction (then target, domain and eps are its own)
    target : f; needs a function that runs on intervals, an enclosure, or a Lipschitz constant
    domain : Box, Ball or WholeSpace, by default the construction's, else the target's compact domain
    eps : stop as soon as sup <= eps is proved or refuted, unless `tol` asks for more
    tol : stop when upper - lower <= tol; without tol and eps the bounds are improved until the budget ends. It has no
        effect beyond 6 dimensions, where only witnesses are tried
    max_seconds : the budget of the search; what is proved by then is valid
    executor : concurrent.futures.Executor that shares the search

    The pieces are recovered from the stored weights; a point nearer to a boundary than rounding can tell counts for
    both sides. From four dimensions on, a witness (see `witness`) comes first; branch and bound, the only method in
    fewer, follows where that decides nothing and there are few cells. On R^n the stored affine map must have exactly
    the slope of the target's, and |f - L| is bounded on the unbounded slabs outside the cells, by interval arithmetic
    or by the target's tail.

    `claim` is "certified", or "certified on condition" when something in `rests_on` is only claimed; "sampled" when
    the budget ended without an upper bound. Raises ValueError when a point refutes what the target claims,
    EnclosureUnavailable when nothing bounds the target between points, GlobalBoundUnavailable on R^n when nothing
    bounds |F - f| at infinity, AmbiguousNetwork when rounding decides what a layer does to a constant.

    >>> import constructions
    >>> from approx import targets
    >>> report = certify(constructions.build(targets.gaussian(dim=1), 0.2, verify=False))
    >>> report.proves(0.2), report.claim
    (True, 'certified')
    """
    started = time.perf_counter()
    built = subject if hasattr(subject, "network") else None
    network = subject if built is None else built.network
    target = getattr(built, "target", None) if target is None else target
    if not isinstance(network, RadialNetwork) or not isinstance(target, Target):
        received = f"{_checks.show(subject)} and target {_checks.show(target)}"
        required = "a RadialNetwork (or a construction) and a Target"
        raise TypeError(_checks.message(_CALL, received, required, "Pass the network and what it approximates."))
    domain = getattr(built, "domain", target.domain) if domain is None else domain
    eps = getattr(built, "eps", None) if eps is None else _checks.positive(_CALL, "eps", eps)
    if (network.dim_in, network.dim_out) != (target.dim_in, target.dim_out) or domain.dim != target.dim_in:
        received = f"a network R^{network.dim_in} -> R^{network.dim_out} and {domain} for a target R^{target.dim_in}"
        required = f"R^{target.dim_in} -> R^{target.dim_out} and a domain of R^{target.dim_in}"
        raise ValueError(_checks.message(_CALL, received, required, "Match them."))
    if target.lipschitz_source == "claimed" and target.lipschitz is not None:
        check_lipschitz(target)
    enclosure = enclosure_of(target)
    found = pieces(network, None if not domain.compact else _radius(domain))
    tail = None if domain.compact else _outside(found, target, enclosure, eps)
    core = domain if tail is None else Box.cube(domain.dim, tail.half)
    bracket = seen = None
    if target.dim_in >= _WITNESSED:
        seen = witnessed(found, target, enclosure, domain, core, eps, max_seconds)
    few = target.dim_in <= _WITNESSED or (target.dim_in <= _STILL and len(found) <= _MANY)
    if seen is None or (few and (tol is not None or not _decided(seen, eps))):
        bracket = _branched(found, enclosure, core, eps, tol, max_seconds, executor, progress)
    return _report(network, target, domain, enclosure, bracket, seen, tail, eps, time.perf_counter() - started)


def _decided(shown: Witnessed, eps: float | None) -> bool:
    """Whether that decides if sup |F - f| <= eps."""
    return eps is not None and (shown.upper <= eps or shown.lower > eps)


def _branched(
    found: Pieces,
    enclosure: Enclosure,
    core: Box | Ball,
    eps: float | None,
    tol: float | None,
    max_seconds: float,
    executor: Executor | None,
    progress: bool,
) -> Bracket:
    """The bracket of branch and bound on the core."""
    search = functools.partial(
        branch_and_bound,
        found.cells(_radius(core)),
        found.values[found.nonempty],
        found.affine,
        enclosure,
        core,
        value_error=found.value_error(_radius(core)),
    )
    search(max_boxes=_WARM_UP, max_seconds=3600.0)  # compiles what is not in the cache yet, outside the budget
    return search(
        eps=eps if tol is None else None,
        tol=tol if tol is not None or eps is None else _DECIDED * eps,
        max_seconds=max_seconds,
        executor=executor,
        progress=progress,
    )


def _radius(domain: Box | Ball) -> float:
    """The largest |x| of a compact domain, rounded up."""
    box = domain.bounding_box()
    return float(np.linalg.norm(np.maximum(np.abs(box.lower), np.abs(box.upper)))) * (1 + 1e-12)


def _outside(found: Pieces, target: Target, enclosure: Enclosure, eps: float | None) -> _Tail:
    """A cube that holds all cells, and a bound of |F - f| outside it."""
    if target.affine is None:
        received = f"all of R^{target.dim_in} for {target.name!r}, which has no affine part"
        raise GlobalBoundUnavailable(
            _checks.message(_CALL, received, "an asymptotically affine target", "Pass a compact domain.")
        )
    same_slope, offset = found.outside_error(target.affine)
    if not same_slope or not np.isfinite(found.reach):
        received = "a network whose slope outside all cells is not proved equal to that of the target's affine part"
        action = "Pass a compact domain, or build it with a cover of balls in float64."
        raise GlobalBoundUnavailable(_checks.message(_CALL, received, "exactly that slope", action))
    checked = False
    half = max(found.reach, target.domain.diameter * 2.0**-10) * (1 + 1e-9)
    for _ in range(_STEPS):
        bound = _slabs(enclosure, target, half)
        because, conditional = f"{enclosure.basis} on the slabs |x_k| >= {half:.6g}", enclosure.conditional
        if not np.isfinite(bound) and target.tail is not None:
            if not checked:
                check_tail(target)
                checked = True
            bound = float(target.tail(half))
            proved = target.lipschitz_source == "proved"
            because, conditional = f"the target's tail({half:.6g}) = {bound:.6g}", not proved
        if bound + offset <= (np.inf if eps is None else eps / 2):
            return _Tail(half, float(np.nextafter(bound + offset, np.inf)), because, conditional)
        half *= _GROWTH
    received = f"|f - L| without a bound below {np.inf if eps is None else eps / 2:g} up to |x| = {half:.3g}"
    required = "a target that intervals bound at infinity, or one with tail="
    raise GlobalBoundUnavailable(_checks.message(_CALL, received, required, "Pass tail=, or a compact domain."))


def _slabs(enclosure: Enclosure, target: Target, half: float) -> float:
    """A bound of |f - L| where some |x_k| >= half, from the 2 n unbounded slabs; inf if intervals give none."""
    n = target.dim_in
    lower, upper = np.full((2 * n, n), -np.inf), np.full((2 * n, n), np.inf)
    lower[range(n), range(n)] = half
    upper[range(n, 2 * n), range(n)] = -half
    low, high = enclosure.residual_range(lower, upper, target.affine)
    size = np.maximum(np.abs(low), np.abs(high))
    if not np.isfinite(size).all():
        return float("inf")
    return float(np.linalg.norm(size, axis=1).max()) * (1 + 1e-12)


def _report(
    network: RadialNetwork,
    target: Target,
    domain: Box | Ball | WholeSpace,
    enclosure: Enclosure,
    bracket: Bracket | None,
    seen: Witnessed | None,
    tail: _Tail | None,
    eps: float | None,
    seconds: float,
) -> SupError:
    shown = [part for part in (bracket, seen) if part is not None]
    best = max(shown, key=lambda part: part.lower)
    upper = min(part.upper for part in shown)
    upper = upper if tail is None else max(upper, tail.bound)
    known = bool(np.isfinite(upper))
    rests_on = [f"the target bounded by {enclosure.basis}" + (", which is a claim" if enclosure.conditional else "")]
    if bracket is not None:
        rests_on.append(f"the pieces of the stored weights, {bracket.boxes:,} boxes, status: {bracket.status}")
    if seen is not None:
        rests_on += [f"the pieces of the stored weights, witness: {seen.kind}", *seen.rests_on]
    if tail is not None:
        rests_on.append(f"outside the cells, {tail.because}" + (", which is a claim" if tail.conditional else ""))
    conditional = enclosure.conditional or (tail is not None and tail.conditional)
    argmax = np.zeros(target.dim_in) if best.argmax is None else best.argmax
    return SupError(
        lower=best.lower,
        upper=upper if known else None,
        claim=("certified on condition" if conditional else "certified") if known else "sampled",
        rests_on=tuple(rests_on),
        domain=domain,
        argmax=argmax,
        network_value=network.evaluate(argmax),
        target_value=target(argmax),
        samples=(bracket.boxes if bracket else 0) + (seen.points if seen else 0),
        eps=eps,
        unit=target.unit,
        seconds=seconds,
    )
