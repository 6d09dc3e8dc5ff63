"""Measure sup |F - f|: the largest difference met at any point that was looked at, a lower bound."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from approx import _checks
from approx.covers import Cover
from approx.domains import Ball, Box, WholeSpace
from approx.evaluation import _sampling
from approx.evaluation._report import SupError
from approx.evaluation._subject import Collar, chunk_size, evaluator
from approx.evaluation._watch import Watch
from approx.targets import Target

__all__ = ["sup_error"]

Array = NDArray[np.float64]

_CALL = "sup_error"
_NEAR = 1e-9  # how far from a boundary its two sides are looked at, for coordinates of order one


def sup_error(
    subject: Any,
    target: Target | None = None,
    domain: Box | Ball | WholeSpace | None = None,
    *,
    cover: Cover | None = None,
    rounding: Collar | None = None,
    samples: int = 1_000_000,
    seed: int = 0,
    optimize: bool = True,
    reach: float = 1e6,
    progress: bool = False,
    engine: str = "auto",
) -> SupError:
    """Look for the largest |F - f| (Euclidean norm over the m components) on a domain.

    subject : F: a RadialNetwork, a construction (an object with network, cover, target, domain, rounding, which are
        then the defaults of the other arguments), or a callable (k, n) float64 -> (k, m)
    target : f
    domain : Box, Ball or WholeSpace, by default the target's compact domain; R^n needs a target with an affine part
    cover : the cells that F is made of, if known; then both sides of their boundaries are looked at, and climbs
        follow the rims of the cells
    rounding : its collar(radius) is how far rounding may displace a boundary for |x| <= radius
    samples : how many evenly spread points; a quarter as many boundary points come on top
    optimize : climb from the worst points
    reach : on R^n, the largest |x| looked at
    progress : show a progress bar
    engine : how a RadialNetwork is evaluated, see `RadialNetwork.forward`

    Only values that the subject itself returns count, so the result is a lower bound of sup |F - f| for the network
    as it computes, whichever side of a boundary rounding puts a point. It is never an upper bound. The same
    arguments give the same result. Memory does not grow with `samples` or with the depth of the network.

    Raises ValueError or TypeError when the pieces do not fit together, when F is not finite at a point or has
    the wrong shape, when R^n is asked for a target without affine part, and when a point contradicts the target's
    tail bound.

    >>> from approx.targets import Target
    >>> identity = Target(fn=lambda x: x[:, 0], dim_in=1, domain=Box([0], [1]), lipschitz=1.0)
    >>> report = sup_error(lambda x: np.where(x < 0.5, 0.25, 0.75), identity, samples=1000)
    >>> round(report.lower, 6), report.upper
    (0.25, None)
    """
    started = time.perf_counter()
    built = subject if hasattr(subject, "network") else None
    target = getattr(built, "target", None) if target is None else target
    if not isinstance(target, Target):
        raise TypeError(
            _checks.message(_CALL, f"target = {_checks.show(target)}", "a Target", "Wrap the function in Target(...).")
        )
    domain = getattr(built, "domain", target.domain) if domain is None else domain
    if cover is None:
        cover = subject if isinstance(subject, Cover) else getattr(built, "cover", None)
    rounding = getattr(built, "rounding", None) if rounding is None else rounding
    network = subject if built is None else built.network
    _check_fit(target, domain, cover)
    samples = _checks.count(_CALL, "samples", samples)
    seed = _checks.count(_CALL, "seed", seed, least=0)
    reach = _checks.positive(_CALL, "reach", reach)

    core = domain  # the compact region in which cells matter
    tail = None
    if not domain.compact:
        radius = _sampling.circumradius(target.domain)
        if cover is not None:
            radius = max(radius, min(cover.reach, reach))
        core = Ball(np.zeros(domain.dim), radius)
        reach = max(reach, radius)
        tail = None if target.tail is None else _checks.finite(_CALL, "target.tail(reach)", float(target.tail(reach)))
    region = core if domain.compact else Ball(np.zeros(domain.dim), reach)
    scale = _sampling.circumradius(core)
    collar = 0.0 if rounding is None else _checks.finite(_CALL, "rounding.collar(...)", rounding.collar(scale))
    digits = torch.finfo(getattr(network, "dtype", torch.float64)).eps

    def offset(points: Array) -> Array:
        size = np.maximum(np.linalg.norm(points, axis=-1), min(1.0, scale))
        return np.maximum(max(_NEAR, 4 * digits) * size, 2 * collar)

    size = chunk_size(network, domain.dim, target.dim_out)
    watch = Watch(evaluator(network, target.dim_in, target.dim_out, engine), target, cover)
    bar = tqdm(total=samples, desc=_CALL, unit="pt", disable=not progress)
    squares = 0.0
    with bar:
        if domain.compact:
            for points in _sampling.spread(domain, samples, size, seed):
                squares += float((watch.look(points) ** 2).sum())
                bar.update(len(points))
        else:
            for points in _space(target, core, cover, samples, size, reach, seed):
                watch.look(points)
                bar.update(len(points))
        for points in _sampling.landmarks(core, cover, samples, size, seed):
            watch.look(points)
        pairs = 0
        if cover is not None:
            half = max(1, size // 2)
            for sides in _sampling.boundary_pairs(cover, core, -(-samples // 4), half, seed, offset):
                watch.look(np.concatenate(sides))
                pairs += len(sides[0])
        if optimize:
            watch.climb(region, core, samples, size, seed, offset)
    return SupError(
        lower=watch.lower,
        domain=domain,
        argmax=watch.argmax,
        network_value=watch.network_value,
        target_value=watch.target_value,
        samples=watch.looked,
        rests_on=(f"the largest difference met at {watch.looked:,} points: a lower bound, not a certificate",),
        boundary_pairs=pairs,
        rms=float(np.sqrt(squares / samples)) if domain.compact else None,
        reach=None if domain.compact else reach,
        tail=tail,
        eps=getattr(built, "eps", None),
        unit=target.unit,
        seconds=time.perf_counter() - started,
    )


def _space(
    target: Target, core: Ball, cover: Cover | None, count: int, size: int, reach: float, seed: int
) -> Iterator[Array]:
    """Points of R^n: the target's own domain, the ball that holds the cells, and far out."""
    inner = [target.domain] if cover is None or not len(cover) else [target.domain, core]
    share = -(-count // (len(inner) + 1))
    for i, region in enumerate(inner):
        yield from _sampling.spread(region, share, size, _sampling.chunk_seed(seed, i))
    yield from _sampling.far(core.dim, core.radius, reach, share, size, _sampling.chunk_seed(seed, len(inner)))


def _check_fit(target: Target, domain: Any, cover: Cover | None) -> None:
    if not isinstance(domain, Box | Ball | WholeSpace) or domain.dim != target.dim_in:
        raise ValueError(
            _checks.message(
                _CALL,
                f"domain = {_checks.show(domain)}",
                f"a Box, Ball or WholeSpace of dimension {target.dim_in}",
                "Give the domain the dimension of the target.",
            )
        )
    if not domain.compact and target.affine is None:
        raise ValueError(
            _checks.message(
                _CALL,
                f"the domain {domain} and the target {target.name!r} without affine part",
                "a target that is asymptotically affine",
                "Give the target affine= and tail=, or choose a Box or Ball.",
            )
        )
    if cover is not None and (cover.dim_in, cover.dim_out) != (target.dim_in, target.dim_out):
        raise ValueError(
            _checks.message(
                _CALL,
                f"a cover R^{cover.dim_in} -> R^{cover.dim_out}",
                f"R^{target.dim_in} -> R^{target.dim_out}, as the target",
                "Pass the cover the network was built from.",
            )
        )
