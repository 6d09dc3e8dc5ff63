"""From a target and a tolerance, or a number of layers, to a measured radial-basis network."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

from approx import _checks
from approx.activations import RadialActivation
from approx.domains import Ball, Box, WholeSpace
from approx.evaluation import sup_error
from approx.targets import Target, check_tail
from approx.targets._target import require_target
from constructions._construction import TRY, proved, unproved
from constructions._gadgets import check_dtype
from constructions.radial_basis.centers import fitting_points, spread
from constructions.radial_basis.design import LEAST_GAIN, Fit, Plan, Problem, design, plan
from constructions.radial_basis.features import assemble
from constructions.radial_basis.result import RadialBasis
from constructions.radial_basis.tails import far_points

__all__ = ["NAME", "THEOREM", "build", "planned_by", "problem_for"]

_CALL = "radial_basis.build"
_FIRST = 25  # layers to begin with where only eps is given
_QUICK = 100  # layers whose certificate takes a second or two
_BISECTIONS = 2
_HELD = 4096
_FAR = 1e7  # how far out a network on R^n is fitted, in radii of the target's domain
CENTERS = ("greedy", "spread")
NAME, THEOREM = "radial_basis", "universality of radial-basis networks, see constructions.radial_basis"


def build(
    target: Target,
    eps: float | None = None,
    *,
    layers: int | None = None,
    activation: RadialActivation | str = "shifted_relu",
    domain: Box | Ball | WholeSpace | None = None,
    centers: str = "greedy",
    gain: float | None = None,
    shape: float | None = None,
    dtype: torch.dtype = torch.float64,
    max_layers: int = 2000,
    samples: int = 20_000,
    seed: int = 0,
    verify: bool = True,
    prove: bool | None = None,
) -> RadialBasis:
    """A radial-basis network for the target, with `layers` hidden layers or as many as `eps` takes.

    target : what to approximate
    eps : tolerance in sup norm; the layers double until the measured error meets it, up to max_layers, and are then
        bisected twice
    layers : the number of hidden layers; with eps as well, eps is only reported on
    activation : a radial activation with h(r)/r -> 1, or the name of one
    domain : where; None means target.domain. WholeSpace(n) takes a target with an affine part at infinity and a tail
    centers : "greedy" (orthogonal least squares among candidates) or "spread" (a Halton sequence)
    gain : 1/|1 - lambda| at the level of the layers; at least 30; None chooses it, 1 to 4 times the number of
        layers on compact domains
    shape : kappa of the kernels; None chooses by the error at points that are not fitted
    dtype : of the weights
    samples, seed : of the measurement; verify=False skips it
    prove : also certify an upper bound, for 20 seconds at most, of what was measured. None:
        where that takes a second or two, in one dimension up to 100 layers. Hundreds of layers in two dimensions take
        longer than that: see `approx.certify`
    Raises ValueError with what to change: neither eps nor layers, an activation without a kernel, a domain of another
    dimension. A tolerance that is missed is no error: `.reason` says why the build stopped.

    >>> from approx import targets
    >>> built = build(targets.gaussian(dim=1), layers=30)
    >>> bool(built.report.lower < 1e-7), set(built.hidden_widths)
    (True, {3})
    """
    require_target(_CALL, target)
    if eps is None and layers is None:
        raise ValueError(_checks.message(_CALL, "neither eps nor layers", "one of them", "Pass eps= or layers=."))
    eps = None if eps is None else _checks.positive(_CALL, "eps", eps)
    max_layers = _checks.count(_CALL, "max_layers", max_layers)
    layers = None if layers is None else _checks.count(_CALL, "layers", layers, most=max_layers)
    _checks.one_of(_CALL, "centers", centers, CENTERS)
    check_dtype(_CALL, dtype)
    domain = _domain(target, domain)
    started = time.perf_counter()
    check = partial(sup_error, samples=samples, seed=seed) if verify else None

    def made(count: int) -> RadialBasis:
        found = _design(target, domain, count, activation, centers, gain, shape, dtype)
        built = RadialBasis(
            network=assemble(found.layers, found.weights, found.matrix, found.offset, dtype),
            target=target,
            eps=eps,
            domain=domain,
            fit=found,
            builder=NAME,
            theorem=THEOREM,
            reason="asked for",
            report=None,
            seconds=time.perf_counter() - started,
        )
        return built if check is None else replace(built, report=check(built))

    if layers is not None:
        built = made(layers)
    else:
        assert eps is not None, "one of the two is given"
        built = _grown(made, eps, max_layers)
    if not verify or prove is False:
        return built
    if prove is None and (domain.dim > 1 or built.hidden_layers > _QUICK):
        return unproved(built, f"not tried by itself beyond one dimension and {_QUICK} layers. {TRY}")
    return proved(built, progress=False)


def _grown(made: Callable[[int], RadialBasis], eps: float, max_layers: int) -> RadialBasis:
    """Twice the layers until eps is met, then two bisections down."""
    few, many = 0, min(_FIRST, max_layers)
    built = made(many)
    while _reached(built) > eps:
        rounded = built.fit.noise > 0.5 * built.fit.error
        if rounded or many >= max_layers:
            why = "rounding leaves no more" if rounded else f"max_layers = {max_layers:,} reached"
            return replace(built, reason=f"eps missed, {why}")
        few, many = many, min(2 * many, max_layers)
        built = made(many)
    for _ in range(_BISECTIONS):
        middle = (few + many) // 2
        if middle <= few:
            break
        smaller = made(middle)
        if _reached(smaller) <= eps:
            many, built = middle, smaller
        else:
            few = middle
    return replace(built, reason=f"enough for eps, {few} are not" if few else "enough for eps")


def _reached(built: RadialBasis) -> float:
    """The measured error, or what the fit promises."""
    return built.fit.score if built.report is None else built.report.lower


def _domain(target: Target, domain: Box | Ball | WholeSpace | None) -> Box | Ball | WholeSpace:
    if domain is None:
        return target.domain
    if not isinstance(domain, Box | Ball | WholeSpace) or domain.dim != target.dim_in:
        received = f"domain = {_checks.show(domain)}"
        required = f"a Box, Ball or WholeSpace of R^{target.dim_in}"
        raise ValueError(_checks.message(_CALL, received, required, "Build one with approx.Box."))
    if not domain.compact:
        if target.affine is None or target.tail is None:
            action = "Declare them, or pass a compact domain such as target.domain."
            received = f"{domain} for {target.name}, which has no affine part and tail"
            required = "an asymptotically affine target (affine= and tail=)"
            raise ValueError(_checks.message(_CALL, received, required, action))
        check_tail(target)
    return domain


def _design(
    target: Target,
    domain: Box | Ball | WholeSpace,
    count: int,
    activation: RadialActivation | str,
    centers: str,
    gain: float | None,
    shape: float | None,
    dtype: torch.dtype,
) -> Fit:
    problem = problem_for(target, domain, count, dtype)
    planned = plan(problem, activation, count, planned_by(_CALL, shape, gain, count))
    return design(problem, activation, count, planned, centers == "greedy")


def planned_by(call: str, shape: float | None, gain: float | None, count: int) -> Plan:
    """What the caller has fixed, checked."""
    shape = 0.0 if shape is None else _checks.positive(call, "shape", shape)
    gain = 0.0 if gain is None else _checks.positive(call, "gain", gain)
    if 0 < gain < LEAST_GAIN:
        action = "Leave it out, or use 100 to 10,000 in float64."
        raise ValueError(_checks.message(call, f"gain = {gain:g}", f"gain >= {LEAST_GAIN:g}", action))
    return Plan(shape, 0.0, gain / count)


def problem_for(target: Target, domain: Box | Ball | WholeSpace, count: int, dtype: torch.dtype) -> Problem:
    disc = _disc(target.domain)
    core = domain if domain.compact else disc
    box = core.bounding_box()
    points = fitting_points(core, max(4 * count, 400))
    held = np.concatenate([core.sample(_HELD, seed=1), fitting_points(core, 2 * len(points))[len(points) :]])
    affine = None
    options: dict[str, Any] = {}
    if not domain.compact:
        assert target.affine is not None, "a claim on R^n is about an asymptotically affine target"
        affine = target.affine.matrix, target.affine.offset
        options = {"reaches": (0.5, 0.7, 0.95)}
        if affine[0].any():  # what is left of the slope falls with the gain, and shows at the points held out
            options["spans"] = (2.0**6, 2.0**10, 2.0**14, 2.0**18)
        far = far_points(domain.dim, disc.radius, len(points) + _HELD, _FAR * disc.radius)
        pairs = len(points) // 2  # every prefix holds both kinds
        mixed = np.stack([points[: 2 * pairs : 2], points[1 : 2 * pairs : 2], far[:pairs]], axis=1)
        points, held = mixed.reshape(-1, domain.dim), np.concatenate([held, far[-_HELD:]])
    return Problem(
        points,
        target(points),
        held,
        target(held),
        middle=(box.lower + box.upper) / 2,
        size=float(box.widths.max()) / 2,
        candidates=lambda amount, reach: spread(core, amount, reach),
        digits=torch.finfo(dtype).eps,
        affine=affine,
        **options,
    )


def _disc(core: Box | Ball) -> Ball:
    """The ball about 0 that holds the target's compact domain."""
    box = core.bounding_box()
    return Ball(np.zeros(core.dim), float(np.linalg.norm(np.maximum(np.abs(box.lower), np.abs(box.upper)))))
