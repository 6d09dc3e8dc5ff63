"""Measure sup |F - f|: the largest difference met at any point that was looked at, a lower bound."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from approx import _checks
from approx.covers import Cover
from approx.domains import Ball, Box, WholeSpace
from approx.evaluation import _sampling
from approx.evaluation._agreement import compare_with_cover
from approx.evaluation._report import SupError
from approx.evaluation._subject import Collar, chunk_size
from approx.evaluation._tasks import Streams, Subject, look
from approx.networks import ENGINES, RadialNetwork
from approx.targets import Target
from approx.targets._target import require_target

__all__ = ["sup_error"]

Array = NDArray[np.float64]

_CALL = "sup_error"
_DENSE_WORK = 1e11  # points times weights: from ten seconds up
_COMPARED = 4096  # points at which a cover must agree with its network
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
    executor: Executor | None = None,
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
    engine : how a RadialNetwork is evaluated, see `RadialNetwork.forward`. "cover" picks the worst points by the
        cover, once it has agreed with the network at thousands of points, and evaluates the network at those; "auto"
        does so where the network itself would take more than some ten seconds
    executor : a concurrent.futures executor that the points are spread over, in at most 32 tasks for each kind of
        point; the result is the same. A pool of processes needs a network and a target that pickle

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
    target = require_target(_CALL, target)
    usual: Box | Ball | WholeSpace = getattr(built, "domain", None) or target.domain
    domain = usual if domain is None else domain
    if cover is None:
        cover = subject if isinstance(subject, Cover) else getattr(built, "cover", None)
    rounding = getattr(built, "rounding", None) if rounding is None else rounding
    network = subject if built is None else built.network
    _check_fit(target, domain, cover)
    samples = _checks.count(_CALL, "samples", samples)
    seed = _checks.count(_CALL, "seed", seed, least=0)
    reach = _checks.positive(_CALL, "reach", reach)

    tail = None
    if domain.compact:
        core: Box | Ball = domain  # the compact region in which cells matter
    else:
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

    offset = Offset(min(1.0, scale), max(_NEAR, 4 * digits), 2 * collar)
    size = chunk_size(network, domain.dim, target.dim_out)
    screened, engine = _screen(network, target, cover, core, rounding, engine, samples, offset)
    subject = Subject(cover if screened else network, target, cover, "auto" if screened else engine)
    streams = _streams(target, domain, core, cover, samples, size, reach, seed, offset)
    watch, pairs = subject.watch(), 0
    with tqdm(total=samples, desc=_CALL, unit="pt", disable=not progress) as bar:
        squares = 0.0
        for stream, seen in zip(streams, look(subject, streams, executor, bar.update), strict=True):
            watch.join(seen.watch)
            if isinstance(stream, Spread):
                squares += math.fsum(seen.squares)
            if isinstance(stream, Sides):
                pairs += sum(seen.counts) // 2
        if optimize:
            watch.climb(region, core, samples, size, seed, offset)
    rests_on = f"the largest difference met at {watch.looked:,} points: a lower bound, not a certificate"
    looked = watch.looked
    if screened:
        finals = Subject(network, target, None, engine).watch()
        for start in range(0, len(watch.points), size):
            finals.look(watch.points[start : start + size])
        rests_on = (
            f"the largest difference met at the worst {len(watch.points):,} of {looked:,} points, "
            f"picked by the cover, which agreed with the network at {screened:,} points: a lower bound, no certificate"
        )
        watch = finals
    return SupError(
        lower=watch.lower,
        domain=domain,
        argmax=watch.argmax,
        network_value=watch.network_value,
        target_value=watch.target_value,
        samples=looked,
        rests_on=(rests_on,),
        boundary_pairs=pairs,
        rms=float(np.sqrt(squares / samples)) if domain.compact else None,
        reach=None if domain.compact else reach,
        tail=tail,
        eps=getattr(built, "eps", None),
        unit=target.unit,
        seconds=time.perf_counter() - started,
    )


@dataclass(frozen=True)
class Spread(Streams):
    """Evenly spread points of a region."""

    region: Box | Ball
    count: int
    size: int
    seed: int

    @property
    def chunks(self) -> int:
        return -(-self.count // self.size)

    def points(self, part: slice) -> Iterator[Array]:
        return _sampling.spread(self.region, self.count, self.size, self.seed, part)


@dataclass(frozen=True)
class Sides(Streams):
    """Both sides of cell boundaries."""

    cover: Cover
    region: Box | Ball
    count: int
    size: int
    seed: int
    offset: _sampling.Offset

    @property
    def chunks(self) -> int:
        return -(-self.count // self.size) if len(self.cover) else 1

    def points(self, part: slice) -> Iterator[Array]:
        some = (self.cover, self.region, self.count, self.size, self.seed, self.offset, part)
        return (np.concatenate(sides) for sides in _sampling.boundary_pairs(*some))


@dataclass(frozen=True)
class Few(Streams):
    """Points that are not worth dividing: make(*arguments) yields them in chunks."""

    make: Callable[..., Iterator[Array]]
    arguments: tuple[Any, ...]
    chunks: int = 1

    def points(self, part: slice) -> Iterator[Array]:
        return self.make(*self.arguments)


@dataclass(frozen=True)
class Offset:
    """How far from a boundary its two sides are looked at: points (k, n) -> (k,)."""

    least: float
    relative: float
    absolute: float

    def __call__(self, points: Array) -> Array:
        size = np.maximum(np.linalg.norm(points, axis=-1), self.least)
        return np.maximum(self.relative * size, self.absolute)


def _streams(
    target: Target,
    domain: Any,
    core: Box | Ball,
    cover: Cover | None,
    count: int,
    size: int,
    reach: float,
    seed: int,
    offset: Offset,
) -> list[Streams]:
    """All points to look at: spread over the domain, at special places, on both sides of boundaries.

    On R^n they are spread over the target's own domain and the ball that holds the cells, and far out.
    """
    if domain.compact:
        streams: list[Streams] = [Spread(domain, count, size, seed)]
    else:
        inner = [target.domain] if cover is None or not len(cover) else [target.domain, core]
        share = -(-count // (len(inner) + 1))
        seeds = [_sampling.chunk_seed(seed, i) for i in range(len(inner) + 1)]
        streams = [Spread(region, share, size, own) for region, own in zip(inner, seeds, strict=False)]
        streams.append(Few(_sampling.far, (core.dim, _sampling.circumradius(core), reach, share, size, seeds[-1])))
    streams.append(Few(_sampling.landmarks, (core, cover, count, size, seed)))
    if cover is not None:
        streams.append(Sides(cover, core, -(-count // 4), max(1, size // 2), seed, offset))
    return streams


def _screen(
    network: Any,
    target: Target,
    cover: Cover | None,
    core: Box | Ball,
    rounding: Collar | None,
    engine: str,
    samples: int,
    offset: Offset,
) -> tuple[int, str]:
    """At how many points the cover agreed with the network, 0 if it is not to pick the points; the network's engine."""
    _checks.one_of(_CALL, "engine", engine, (*ENGINES, "cover"))
    known = cover if cover is not None and len(cover) and isinstance(network, RadialNetwork) else None
    slow = known is not None and samples * network.stored_numbers > _DENSE_WORK
    wanted = engine == "cover" or (engine == "auto" and slow)
    if not wanted:
        return 0, engine
    if known is not None:
        some = -(-_COMPARED // 4)
        sides = np.concatenate(
            [part for pair in _sampling.boundary_pairs(known, core, some, some, 1, offset) for part in pair]
        )
        points = np.concatenate([core.sample(_COMPARED, 1), sides])
        agreement = compare_with_cover(network, known, points, rounding)
        if agreement.agrees:
            return agreement.decided, "auto"
        if engine == "auto":
            return 0, engine
    action = "Use engine='auto', which evaluates the network itself, or pass the cover it was built from."
    received = f"engine='cover' and {'no RadialNetwork with a cover' if known is None else agreement}"
    raise ValueError(_checks.message(_CALL, received, "a network that does what its cover says", action))


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
