"""From a target and a tolerance, or a number of layers, to a measured radial-basis network."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import torch

from approx import _checks
from approx.activations import RadialActivation
from approx.domains import Ball, Box, WholeSpace
from approx.evaluation import sup_error
from approx.targets import Target
from constructions.radial_basis.centers import fitting_points, spread
from constructions.radial_basis.design import Fit, Problem, best_shape, choose, fit
from constructions.radial_basis.features import assemble
from constructions.radial_basis.kernels import Kernel, kernel
from constructions.radial_basis.result import RadialBasis

__all__ = ["build"]

_CALL = "radial_basis.build"
_FIRST = 25  # layers to begin with where only eps is given
_HELD = 4096
CENTERS = ("greedy", "spread")
NAME, THEOREM = "radial_basis", "universality of radial-basis networks, see constructions.radial_basis"


def build(
    target: Target,
    eps: float | None = None,
    *,
    layers: int | None = None,
    activation: RadialActivation | str = "shifted_relu",
    domain: Box | Ball | None = None,
    centers: str = "greedy",
    gain: float | None = None,
    shape: float | None = None,
    dtype: torch.dtype = torch.float64,
    max_layers: int = 2000,
    samples: int = 20_000,
    seed: int = 0,
    verify: bool = True,
) -> RadialBasis:
    """A radial-basis network for the target, with `layers` hidden layers or as many as `eps` takes.

    target : what to approximate
    eps : tolerance in sup norm; the layers double until the measured error meets it, up to max_layers
    layers : the number of hidden layers; with eps as well, eps is only reported on
    activation : a radial activation with h(r)/r -> 1, or the name of one
    domain : where; None means target.domain
    centers : "greedy" (orthogonal least squares among candidates) or "spread" (a Halton sequence)
    gain : 1/|1 - lambda| at the level of the layers; None chooses twice the number of layers
    shape : kappa of the kernels; None chooses by the error at points that are not fitted
    dtype : of the weights
    samples, seed : of the measurement; verify=False skips it
    Raises ValueError with what to change: neither eps nor layers, an activation without a kernel, a domain of another
    dimension. A tolerance that is missed is no error: `.reason` says why the build stopped.

    >>> from approx import targets
    >>> built = build(targets.gaussian(dim=1), layers=30)
    >>> bool(built.report.lower < 1e-7), set(built.hidden_widths)
    (True, {3})
    """
    if not isinstance(target, Target):
        action = "Wrap a function with approx.targets.from_numpy or from_expression."
        raise TypeError(_checks.message(_CALL, f"target {_checks.show(target)}", "a Target", action))
    if eps is None and layers is None:
        raise ValueError(_checks.message(_CALL, "neither eps nor layers", "one of them", "Pass eps= or layers=."))
    eps = None if eps is None else _checks.positive(_CALL, "eps", eps)
    max_layers = _checks.count(_CALL, "max_layers", max_layers)
    layers = None if layers is None else _checks.count(_CALL, "layers", layers, most=max_layers)
    _checks.one_of(_CALL, "centers", centers, CENTERS)
    if dtype not in (torch.float64, torch.float32):
        raise ValueError(_checks.message(_CALL, f"dtype {dtype}", "torch.float64 or torch.float32", "Pick one."))
    domain = _domain(target, domain)
    started = time.perf_counter()
    count = layers if layers is not None else min(_FIRST, max_layers)
    while True:
        made = _design(target, domain, count, activation, centers, gain, shape, dtype)
        network = assemble(made.layers, made.weights, made.matrix, made.offset, dtype)
        built = RadialBasis(
            network=network,
            target=target,
            eps=eps,
            domain=domain,
            fit=made,
            builder=NAME,
            theorem=THEOREM,
            reason="asked for" if layers is not None else "",
            report=None,
            seconds=time.perf_counter() - started,
        )
        if verify:
            built = replace(built, report=sup_error(built, samples=samples, seed=seed))
        reached = built.report.lower if built.report is not None else made.score
        if layers is not None:
            return built
        if reached <= eps:
            return replace(built, reason="enough for eps")
        if made.noise > 0.5 * made.error or count >= max_layers:
            why = "rounding leaves no more" if made.noise > 0.5 * made.error else f"max_layers = {max_layers:,} reached"
            return replace(built, reason=f"eps missed, {why}")
        count = min(2 * count, max_layers)


def _domain(target: Target, domain: Box | Ball | WholeSpace | None) -> Box | Ball | WholeSpace:
    if domain is None:
        return target.domain
    if not isinstance(domain, Box | Ball) or domain.dim != target.dim_in:
        received = f"domain = {_checks.show(domain)}"
        raise ValueError(_checks.message(_CALL, received, f"a Box or Ball of R^{target.dim_in}", "Build one."))
    return domain


def _design(target, domain, count, activation, centers, gain, shape, dtype) -> Fit:
    problem = _problem(target, domain, count, dtype)
    known: Kernel = kernel(activation, max(100.0, 2.0 * count) if gain is None else gain)
    pilot_shape, reach = best_shape(problem, known, count)
    shape = pilot_shape if shape is None else _checks.positive(_CALL, "shape", shape)
    places = problem.candidates(count, reach)
    made = fit(problem, known, places, np.full(count, shape))
    if centers == "greedy":
        chosen = fit(problem, known, *choose(problem, known, count, shape, reach))
        made = min(made, chosen, key=lambda item: item.score)
    return made


def _problem(target: Target, domain: Box | Ball, count: int, dtype: torch.dtype) -> Problem:
    points = fitting_points(domain, max(4 * count, 400))
    held = np.concatenate([domain.sample(_HELD, seed=1), fitting_points(domain, 2 * len(points))[len(points) :]])
    box = domain.bounding_box()
    return Problem(
        points,
        target(points),
        held,
        target(held),
        middle=(box.lower + box.upper) / 2,
        size=float(box.widths.max()) / 2,
        candidates=lambda amount, reach: spread(domain, amount, reach),
        digits=torch.finfo(dtype).eps,
    )
