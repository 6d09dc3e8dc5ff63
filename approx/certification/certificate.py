"""What `certify` returns: the report of a sup-norm error with its proof's whereabouts, and a second opinion on it."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from approx import _checks
from approx.certification._arb import ArbArray, forward, precision
from approx.certification.enclosures import EVALUATION_ERROR, enclosure_of, function_of
from approx.evaluation import SupError
from approx.networks import RadialNetwork
from approx.targets import Target

__all__ = ["Certificate", "Recheck"]

Array = NDArray[np.float64]
_FAR = (1e1, 1e3, 1e6)  # times the target's domain, on R^n


@dataclass(frozen=True, kw_only=True)
class Recheck:
    """Bounds of |F - f| at points, computed anew in ball arithmetic, against those of a certificate.

    points : how many points were looked at
    undecided : at how many of them the precision could not tell on which side of a cell boundary they lie
    bits : the precision
    at_argmax : bounds of |F - f| at the certificate's worst point; None if undecided
    largest : the largest |F - f| met, rounded down
    basis : how f was computed
    contradictions : what does not fit, one sentence each
    seconds : wall time

    >>> import constructions
    >>> from approx import certify, targets
    >>> proof = certify(constructions.build(targets.gaussian(dim=1), 0.2, verify=False))
    >>> check = proof.recheck(samples=4)
    >>> check.points, check.contradictions
    (9, ())
    >>> print(check)
    Recheck: confirmed
      worst point  0.16... <= |F - f| <= 0.16...
      points       9, 0 undecided; the largest |F - f| >= 0.16...
      target       ball arithmetic at 256 bits
    """

    points: int
    undecided: int
    bits: int
    at_argmax: tuple[float, float] | None
    largest: float
    basis: str
    contradictions: tuple[str, ...]
    seconds: float

    @property
    def holds(self) -> bool:
        """Whether the worst point was confirmed and nothing contradicts the bounds."""
        return self.at_argmax is not None and not self.contradictions

    @property
    def verdict(self) -> str:
        """What came out, in words."""
        return "; ".join(self.contradictions) or ("confirmed" if self.holds else "the worst point is undecided")

    def __repr__(self) -> str:
        worst = "undecided" if self.at_argmax is None else "{:.9g} <= |F - f| <= {:.9g}".format(*self.at_argmax)
        return (
            f"Recheck: {self.verdict}\n"
            f"  worst point  {worst}\n"
            f"  points       {self.points:,}, {self.undecided:,} undecided; the largest |F - f| >= {self.largest:.9g}\n"
            f"  target       {self.basis}"
        )


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Certificate(SupError):
    """A SupError with what its proof met.

    network, target : F and f
    worst_box : (2, n) the box that `upper` comes from; None where it comes from a bound outside all boxes
    worst_layers : the layers (from 0) whose cells may decide F there, -1 for the affine map; the first is the one that
        `upper` is for
    history : (3, t) seconds, lower and upper along the way
    """

    network: RadialNetwork
    target: Target
    worst_box: Array | None = None
    worst_layers: tuple[int, ...] = ()
    history: Array = field(default_factory=lambda: np.empty((3, 0)))

    def to_dict(self) -> dict[str, Any]:
        """As for SupError, with the worst box."""
        box = None if self.worst_box is None else self.worst_box.tolist()
        return super().to_dict() | {"worst_box": box, "worst_layers": list(self.worst_layers)}

    def recheck(self, samples: int = 16, *, seed: int = 0, bits: int = 256) -> Recheck:
        """|F - f| at the worst point, at `samples` points of the domain and as many of the worst box, in Arb's ball
        arithmetic, layer by layer through the stored weights, sharing no arithmetic with the proof.

        It must confirm `lower` (to 1e-12 max(1, |f|), the accuracy of a measured value), not exceed `upper`, and f must
        lie in its enclosure on the worst box. That takes about 20 microseconds per point and layer of width 4. Raises
        ImportError without python-flint, ValueError for samples < 1 or bits < 64.

        >>> import constructions
        >>> from approx import certify, targets
        >>> report = certify(constructions.build(targets.gaussian(dim=1), 0.2, verify=False))
        >>> check = report.recheck()
        >>> check.holds, check.points, bool(check.largest <= report.upper)
        (True, 33, True)
        """
        started = time.perf_counter()
        samples = _checks.count("recheck", "samples", samples)
        bits = _checks.count("recheck", "bits", bits, least=64)
        points = np.concatenate(
            [self.argmax[None], *self._points(samples, _checks.count("recheck", "seed", seed, least=0))]
        )
        contradictions = []
        with precision(bits) as flint:
            values, basis = self._target_in_arb(points, flint)
            contradictions += self._enclosed(points[-samples:], values[-samples:])
            outputs = forward(self.network, points)
            bounds: list[tuple[float, float] | None] = []
            for output, row in zip(outputs, values, strict=True):
                if output is None:
                    bounds.append(None)
                    continue
                bounds.append(_length([a - b for a, b in zip(output, row, strict=True)]))
        first = bounds[0]
        slack = EVALUATION_ERROR * max(1.0, float(np.abs(self.target_value).max(initial=0.0)))
        if first is not None and not first[1] >= self.lower - slack:
            contradictions.append(f"|F - f| = {first[1]!r} < lower = {self.lower!r} at x = {self.argmax.tolist()}")
        for x, bound in zip(points, bounds, strict=True):
            if bound is not None and self.upper is not None and not bound[0] <= self.upper:
                contradictions.append(f"|F - f| = {bound[0]!r} > upper = {self.upper!r} at x = {x.tolist()}")
        return Recheck(
            points=len(points),
            undecided=sum(bound is None for bound in bounds),
            bits=bits,
            at_argmax=first,
            largest=max((bound[0] for bound in bounds if bound is not None), default=0.0),
            basis=basis,
            contradictions=tuple(contradictions),
            seconds=time.perf_counter() - started,
        )

    def _points(self, samples: int, seed: int) -> list[Array]:
        """Points of the domain, and of the worst box."""
        rng = np.random.default_rng(seed)
        region = self.domain if self.domain.compact else self.target.domain
        spread = region.sample(samples, seed)
        if not self.domain.compact:  # some of them far out
            scales = np.resize([1.0, *_FAR], samples)
            spread = spread * scales[:, None]
        if self.worst_box is None:
            return [spread, region.sample(samples, seed + 1)]
        lower, upper = self.worst_box
        near = lower + rng.random((samples, len(lower))) * (upper - lower)
        return [spread, region.project(near) if self.domain.compact else near]

    def _target_in_arb(self, points: Array, flint: Any) -> tuple[list[list[Any]], str]:
        """f at the points as balls (k, m), and how they were computed."""
        try:
            values = function_of(self.target)(ArbArray.of(points))
            return values.entries.tolist(), f"ball arithmetic at {flint.ctx.prec} bits"
        except Exception:  # whatever fn or a library under it raises for arguments that are no arrays
            values = self.target(points)
        radius = EVALUATION_ERROR * np.maximum(1.0, np.abs(values))
        balls = np.frompyfunc(lambda v, r: flint.arb(float(v), float(r)), 2, 1)(values, radius)
        return balls.tolist(), f"float64 values of f, trusted to {EVALUATION_ERROR:g} max(1, |f|)"

    def _enclosed(self, points: Array, values: list[list[Any]]) -> list[str]:
        """Where f surely leaves its enclosure on the worst box."""
        if self.worst_box is None or self.upper is None:
            return []
        low, high = (bound[0] for bound in enclosure_of(self.target).range(*self.worst_box[:, None]))
        wrong = []
        for x, row in zip(points, values, strict=True):
            inside = np.all((self.worst_box[0] <= x) & (x <= self.worst_box[1]))
            if inside and any(v < float(a) or v > float(b) for v, a, b in zip(row, low, high, strict=True)):
                wrong.append(f"f = {row} outside its bounds {low.tolist()} .. {high.tolist()} at x = {x.tolist()}")
        return wrong


def _length(balls: list[Any]) -> tuple[float, float]:
    """Floats just below and above the length of a vector. From its ends: the square of a ball may reach below 0."""
    low, high = (
        sum((end * end for end in ends), 0 * balls[0]).sqrt()
        for ends in ([ball.abs_lower() for ball in balls], [ball.abs_upper() for ball in balls])
    )
    return math.nextafter(float(low.lower()), -math.inf), math.nextafter(float(high.upper()), math.inf)
