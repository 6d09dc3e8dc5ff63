"""From a stored network and a target to lower <= sup |F - f| <= upper, and what that rests on."""

from __future__ import annotations

import functools
import time
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from approx import _checks
from approx.certification._infinity import Tail, beyond_cells, beyond_models
from approx.certification.branch import Bracket, branch_and_bound
from approx.certification.certificate import Certificate
from approx.certification.dense import Difference, search_dense
from approx.certification.enclosures import Enclosure, enclosure_of
from approx.certification.pieces import Pieces, is_stepwise, pieces
from approx.certification.witness import Witnessed, witnessed
from approx.domains import Ball, Box, WholeSpace
from approx.networks import RadialNetwork
from approx.targets import Target, check_claims

__all__ = ["certify"]

_CALL = "certify"
_DECIDED = 1e-6  # of eps: closer bounds would decide nothing that rounding leaves open
_GAP = 0.01  # of the error: closer bounds of it say hardly more, and may take a hundred times as long
_LEAST = 1e-300  # no tolerance is smaller
_WARM_UP = 256  # boxes, for pieces; forms compile nothing of their own
_FARTHEST, _NEAREST = 1e150, 1e-150  # |x| whose squares are numbers
_LEVELLED = 3  # from this dimension on a search by levels is tried first
_WITNESSED = 4  # from this dimension on a witness is tried first, and above it branch and bound only
_STILL, _MANY = 6, 20_000  # up to this dimension and for so many cells
_CROWDED = 100_000  # cells, from which on a witness is tried first in three dimensions too
_CONFRONTED = 255  # points where computed values are compared with the bounds
_NOISE = 1e-13  # more than the rounding of such a comparison


@dataclass(frozen=True)
class _Plan:
    """search : branch and bound over the core: the domain, or a cube that holds all cells; basis : what it goes by;
    claims : what it assumes; tail : the bound outside; pieces : of F, where it has finitely many"""

    search: functools.partial[Bracket]
    core: Box | Ball
    basis: str
    claims: tuple[str, ...] = ()
    tail: Tail | None = None
    pieces: Pieces | None = None

    @property
    def wants_witness(self) -> bool:
        """Whether to bound F - f on whole cells first."""
        if self.pieces is None:
            return False
        return self.core.dim >= _WITNESSED or (self.core.dim == 3 and len(self.pieces) > _CROWDED)

    @property
    def is_small(self) -> bool:
        """Whether boxes may be many enough to decide it."""
        dim = self.core.dim
        return self.pieces is None or dim <= _WITNESSED or (dim <= _STILL and len(self.pieces) <= _MANY)


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
) -> Certificate:
    """Certified bounds of sup |F - f| for a radial network as it is stored, however it was built.

    subject : a RadialNetwork, or a construction or a file's content (then target, domain and eps are its own)
    target : f; needs a function that runs on intervals, an enclosure, or a Lipschitz constant
    domain : Box, Ball or WholeSpace, by default the construction's, else the target's compact domain
    eps : stop as soon as sup <= eps is proved or refuted, unless `tol` asks for more
    tol : stop when upper - lower <= tol and, if there is an eps, that is decided; without tol and eps the search stops
        when upper <= 1.01 lower. It has no effect beyond 6 dimensions, where only witnesses are tried
    max_seconds : the budget of a search; what is proved by then is valid. A search that ends within it gives the same
        bounds every time
    executor : concurrent.futures.Executor that shares the search

    Step-ReLU networks: the pieces are recovered from the stored weights; a point nearer to a boundary than rounding
    can tell counts for both sides. From three dimensions on, nested cells of a function of one quantity are searched
    by that quantity alone (see `_levels`). From four dimensions on, and for more than 100,000 cells in three, a
    witness (see `witness`) comes first; branch and bound, the only method otherwise, follows where that does not
    suffice and there are few cells. On R^n the stored affine map must have exactly the slope of the target's, and
    |f - L| is bounded on the unbounded slabs outside the cells, by interval arithmetic or by the target's tail.

    Networks with other radial activations, mixed ones too: Taylor models of high order (up to three dimensions, where
    no activation jumps) and first-order forms bound F - f on boxes. An activation that is not the package's needs
    `interval_h`, its profile h written with numpy. On R^n, n <= 3, models in the direction and in 1/|x| bound F - L
    outside a cube, for the package's activations and a network that has exactly the slope of L (see `outside`).

    Both hold for F in real arithmetic and for F as evaluated in the network's dtype, at the points of the domain; on
    R^n for the latter only in a cube that holds all cells, since far out the rounding of L(x) exceeds every bound.

    `claim` is "certified", or "certified on condition" when something in `rests_on` is only claimed; "sampled" when
    the budget ended without an upper bound. Raises ValueError when a point refutes what the target claims, when the
    network computes something else than its stored layers, and for a domain beyond that of claims about the target;
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
    if domain is None:
        domain = getattr(built, "domain", None) or target.domain
    if not isinstance(domain, Box | Ball | WholeSpace):
        received = f"domain = {_checks.show(domain)}"
        raise TypeError(_checks.message(_CALL, received, "a Box, a Ball or WholeSpace", "Build one with approx.Box."))
    eps = getattr(built, "eps", None) if eps is None else _checks.positive(_CALL, "eps", eps)
    tol = None if tol is None else _checks.positive(_CALL, "tol", tol)
    max_seconds = _checks.positive(_CALL, "max_seconds", max_seconds)
    if (network.dim_in, network.dim_out) != (target.dim_in, target.dim_out) or domain.dim != target.dim_in:
        received = f"a network R^{network.dim_in} -> R^{network.dim_out} and {domain} for a target R^{target.dim_in}"
        required = f"R^{target.dim_in} -> R^{target.dim_out} and a domain of R^{target.dim_in}"
        raise ValueError(_checks.message(_CALL, received, required, "Match them."))
    check_claims(target)
    enclosure = enclosure_of(target)
    if domain.compact and not enclosure.everywhere:
        target.with_domain(domain)  # refuses points where nothing is known of f
    with np.errstate(all="ignore"):  # what overflows is refused below, or has infinite bounds
        plan = _plan(network, target, domain, enclosure, eps, max_seconds)
    bracket = seen = None
    if plan.pieces is not None and plan.core.dim >= _LEVELLED:
        question = (plan.pieces, target, enclosure, domain, plan.core, eps, max_seconds)
        seen = witnessed(*question, tol=tol, gap=_gap(eps, tol), levels_only=not plan.wants_witness)
    if seen is None or (plan.is_small and not _suffices(seen, eps, tol)):
        bracket = _search(plan, eps, tol, {"max_seconds": max_seconds, "executor": executor, "progress": progress})
    return _report(network, target, domain, enclosure, plan, bracket, seen, eps, time.perf_counter() - started)


def _gap(eps: float | None, tol: float | None) -> float | None:
    """How near the bounds should come, relative to the error, if nothing else was asked for."""
    return _GAP if eps is None and tol is None else None


def _decided(shown: Bracket | Witnessed, eps: float | None) -> bool:
    """Whether that decides if sup |F - f| <= eps."""
    return eps is not None and (shown.upper <= eps or shown.lower > eps)


def _suffices(shown: Witnessed, eps: float | None, tol: float | None) -> bool:
    """Whether that is what was asked for."""
    gap = _gap(eps, tol)
    if gap is not None:
        return shown.upper <= (1 + gap) * shown.lower
    near = tol is None or shown.upper - shown.lower <= tol
    return near and (eps is None or _decided(shown, eps))


def _search(plan: _Plan, eps: float | None, tol: float | None, limits: dict[str, Any]) -> Bracket:
    """Branch and bound, until eps is decided and the bounds are near each other."""
    warm_up = 1 if plan.pieces is None else _WARM_UP
    plan.search(max_boxes=warm_up, max_seconds=3600.0)  # compiles what is not in the cache yet, outside the budget
    near = None if eps is None else max(_DECIDED * eps, _LEAST)
    decide = functools.partial(plan.search, eps=eps, tol=near, gap=_gap(eps, tol), **limits)
    bracket = decide() if tol is None else plan.search(tol=tol, **limits)
    if tol is not None and eps is not None and not _decided(bracket, eps):
        return _both(bracket, decide())  # the bounds may be near each other, and eps between them
    return bracket


def _plan(
    network: RadialNetwork,
    target: Target,
    domain: Box | Ball | WholeSpace,
    enclosure: Enclosure,
    eps: float | None,
    max_seconds: float,
) -> _Plan:
    """By pieces where the network has finitely many, by Taylor models or forms otherwise."""
    radius = _radius(domain) if domain.compact else None
    core: Box | Ball
    if is_stepwise(network):
        found = pieces(network, radius)
        if domain.compact:
            core, tail = domain, None
        else:
            tail = beyond_cells(found, target, enclosure, eps)
            core = Box.cube(domain.dim, tail.half)
        search = _search_pieces(found, enclosure, core)
        return _Plan(search, core, "the pieces of the stored weights", tail=tail, pieces=found)
    difference = Difference(network, enclosure, _CALL)
    if domain.compact:
        core, tail = domain, None
    else:
        tail = beyond_models(network, difference.layers, target, enclosure, eps, max_seconds / 2)
        core = Box.cube(domain.dim, tail.half)
    search = functools.partial(search_dense, difference, core)
    method = "forms" if difference.models is None else "models"
    return _Plan(search, core, f"Taylor {method} of the stored layers", claims=difference.layers.assumes, tail=tail)


def _search_pieces(found: Pieces, enclosure: Enclosure, core: Box | Ball) -> functools.partial[Bracket]:
    radius = _radius(core)
    error = found.value_error(radius)
    if not np.isfinite(error):
        received = f"a network whose rounding errors have no bound for |x| <= {radius:.3g}"
        required = "layers whose squares do not overflow in the network's dtype"
        raise ValueError(_checks.message(_CALL, received, required, "Rescale the layers, or pass a smaller domain."))
    return functools.partial(
        branch_and_bound,
        found.cells(radius),
        found.values[found.nonempty],
        found.affine,
        enclosure,
        core,
        value_error=error,
    )


def _radius(domain: Box | Ball) -> float:
    """The largest |x| of a compact domain, rounded up."""
    if isinstance(domain, Ball):
        radius = float(np.linalg.norm(domain.center)) + domain.radius
    else:
        radius = float(np.linalg.norm(np.maximum(np.abs(domain.lower), np.abs(domain.upper))))
    if not radius < _FARTHEST:
        raise ValueError(_checks.message(_CALL, f"{domain}", f"|x| < {_FARTHEST:g} there", "Pass a smaller domain."))
    return max(radius, _NEAREST) * (1 + 1e-12)


def _center(domain: Box | Ball) -> NDArray[np.float64]:
    return domain.center if isinstance(domain, Ball) else domain.project(domain.lower / 2 + domain.upper / 2)


def _both(first: Bracket, second: Bracket) -> Bracket:
    """What two searches for the same thing have shown."""
    best = min(first, second, key=lambda bracket: bracket.upper)
    other = second if best is first else first
    later = second.history + np.array([[first.seconds], [0.0], [0.0]])
    history = np.concatenate([first.history, later], axis=1)
    lower, upper = np.maximum.accumulate(history[1]), np.minimum.accumulate(history[2])
    return replace(
        best,
        lower=max(first.lower, second.lower),
        argmax=best.argmax if best.lower >= other.lower else other.argmax,
        boxes=first.boxes + second.boxes,
        seconds=first.seconds + second.seconds,
        history=np.stack([history[0], lower, upper]),
    )


def _confront(
    network: RadialNetwork, enclosure: Enclosure, region: Box | Ball, argmax: NDArray, lower: float, upper: float
) -> None:
    """Raise ValueError where the network computes other values than its stored layers can have, as one does whose
    forward pass was overridden."""
    points = np.concatenate([argmax[None], region.sample(_CONFRONTED)])
    values = network.evaluate(points)
    low, high = enclosure.range(points, points)
    with np.errstate(all="ignore"):
        least = np.linalg.norm(np.maximum(np.maximum(low - values, values - high), 0.0), axis=1) * (1 - _NOISE)
        most = np.linalg.norm(np.maximum(high - values, values - low), axis=1) * (1 + _NOISE) + _NOISE * lower
        most += _NEAREST  # squares of less than that are no numbers
    wrong = ~(least <= upper) & np.isfinite(upper)  # a value that is NaN is wrong too
    wrong[0] |= most[0] < lower
    if wrong.any():
        i = int(wrong.argmax())
        received = f"a network that computes {values[i].tolist()} at x = {points[i].tolist()}"
        required = f"|F - f| within {lower!r} .. {upper!r}, as its stored layers have it"
        action = "Undo what changes its layers or activations, such as an overridden forward."
        raise ValueError(_checks.message(_CALL, received, required, action))


def _report(
    network: RadialNetwork,
    target: Target,
    domain: Box | Ball | WholeSpace,
    enclosure: Enclosure,
    plan: _Plan,
    bracket: Bracket | None,
    seen: Witnessed | None,
    eps: float | None,
    seconds: float,
) -> Certificate:
    shown = [part for part in (bracket, seen) if part is not None]
    best = max(shown, key=lambda part: part.lower)
    upper, tail = min(part.upper for part in shown), plan.tail
    deciding = bracket if bracket is not None and bracket.upper == upper else None
    if tail is not None and tail.bound > upper:
        upper, deciding = tail.bound, None
    known = bool(np.isfinite(upper))
    rests_on = [f"the target bounded by {enclosure.basis}" + (", which is a claim" if enclosure.conditional else "")]
    if bracket is not None:
        rests_on.append(f"{plan.basis}, {bracket.boxes:,} boxes, status: {bracket.status}")
    if seen is not None:
        rests_on += [f"{plan.basis}, witness: {seen.kind}", *seen.rests_on]
    rests_on += [f"{claim}, which is a claim" for claim in plan.claims]
    if tail is not None:
        rests_on.append(tail.because + (", which is a claim" if tail.conditional else ""))
    conditional = enclosure.conditional or bool(plan.claims) or (tail is not None and tail.conditional)
    argmax = _center(plan.core if tail is None else target.domain) if best.argmax is None else best.argmax
    _confront(network, enclosure, plan.core, argmax, best.lower, upper)
    layers: tuple[int, ...] = ()
    if deciding is not None and plan.pieces is not None:
        numbers = plan.pieces.layers[plan.pieces.nonempty]
        layers = tuple(-1 if i < 0 else int(numbers[i]) for i in deciding.worst_cells)
    return Certificate(
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
        network=network,
        target=target,
        worst_box=None if deciding is None else deciding.worst_box,
        worst_layers=layers,
        history=np.empty((3, 0)) if bracket is None else bracket.history,
    )
