"""What is drawn and how finely: a subject with its target, and samples of both along a line or a plane."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from approx import _checks
from approx.certification import Certificate
from approx.domains import Ball, Box, WholeSpace
from approx.evaluation import SupError
from approx.evaluation._subject import chunk_size
from approx.networks import RadialNetwork
from approx.targets import Target
from approx.targets._target import require_target

__all__ = [
    "Curve",
    "Map",
    "Subject",
    "View",
    "curve",
    "difference",
    "jumping_line",
    "plane_map",
    "subject_of",
    "view_of",
]

Array = NDArray[np.float64]

# Multiply-adds that one figure may cost: a second or two. Only the compiled engine is fast.
_WORK = {True: 1e10, False: 1.5e8}
_LINE = (400, 2000)  # least and most points along a line
_SIDE = (64, 400)  # least and most points along each side of a map
_HALVINGS = 12


@dataclass(frozen=True, eq=False)
class Subject:
    """F with everything known about it.

    network : what evaluates F, a RadialNetwork or a callable; None when only the target is drawn
    claim : where |F - f| <= eps is claimed
    """

    network: Any
    target: Target
    eps: float | None
    report: SupError | None
    claim: Box | Ball | WholeSpace
    call: str

    def values(self, points: Array) -> Array:
        """F at points (k, n) -> (k, m), in batches that fit in memory."""
        n, m = self.target.dim_in, self.target.dim_out
        size = chunk_size(self.network, n, m)
        parts = [self._batch(points[start : start + size], m) for start in range(0, len(points), size)]
        return np.concatenate(parts) if parts else np.empty((0, m))

    def _batch(self, points: Array, m: int) -> Array:
        network = self.network
        values = network.evaluate(points) if isinstance(network, RadialNetwork) else network(points)
        values = _checks.real_array(self.call, "the values of the network", values)
        if m == 1 and values.shape == (len(points),):
            values = values[:, None]
        if values.shape != (len(points), m):
            received = f"network values of shape {values.shape} at {len(points)} points"
            required = f"shape {(len(points), m)}, as the target"
            raise ValueError(_checks.message(self.call, received, required, "Pass the network of this target."))
        finite = np.isfinite(values).all(axis=1)
        if not finite.all():
            i = int(np.argmin(finite))
            received = f"network value {values[i].tolist()} at x = {_checks.show(points[i].tolist())}"
            raise ValueError(_checks.message(self.call, received, "finite values", "The network overflows there."))
        return values

    def affordable(self, least: int, most: int) -> int:
        """How many points to evaluate F at, between the two numbers: fewer for deeper networks."""
        if not isinstance(self.network, RadialNetwork):
            return most
        return int(min(most, max(least, _WORK[self.network.compiled] / self.network.stored_numbers)))


def subject_of(
    call: str, subject: Any, target: Any, *, report: Any = None, eps: Any = None, domain: Any = None
) -> Subject:
    """The pieces of a figure from a construction, or from a network (or callable) and its target, checked."""
    if isinstance(subject, Certificate):  # it knows its network
        report = subject if report is None else report
    elif isinstance(subject, SupError):
        action = "Pass the construction, or the network and its target, and the report as report=."
        raise TypeError(_checks.message(call, "a SupError, which holds one point", "something to evaluate", action))
    built = subject if hasattr(subject, "network") else None
    network = subject if built is None else built.network
    target = getattr(built, "target", None) if target is None else target
    require_target(call, target)
    if network is not None and not callable(network):
        required = "a construction, a RadialNetwork or a callable (k, n) -> (k, m)"
        received = f"network = {_checks.show(network)}"
        raise TypeError(_checks.message(call, received, required, "Pass the network itself."))
    n, m = target.dim_in, target.dim_out
    dims = getattr(network, "dim_in", n), getattr(network, "dim_out", m)
    if dims != (n, m):
        received = f"a network R^{dims[0]} -> R^{dims[1]}"
        action = "Use the target the network was built for."
        raise ValueError(_checks.message(call, received, f"R^{n} -> R^{m}, as the target", action))
    report = getattr(built, "report", None) if report is None else report
    if report is not None and (not isinstance(report, SupError) or report.argmax.shape != (n,)):
        received = f"report = {_checks.show(report)}"
        raise TypeError(_checks.message(call, received, f"a SupError on R^{n}", "Pass what sup_error returned."))
    for source in (built, report):
        eps = getattr(source, "eps", None) if eps is None else eps
        domain = getattr(source, "domain", None) if domain is None else domain
    domain = target.domain if domain is None else domain
    if not isinstance(domain, Box | Ball | WholeSpace) or domain.dim != n:
        received = f"domain = {_checks.show(domain)}"
        required = f"a Box, Ball or WholeSpace of dimension {n}"
        raise ValueError(_checks.message(call, received, required, "Give the domain the dimension of the target."))
    eps = None if eps is None else _checks.positive(call, "eps", eps)
    return Subject(network, target, eps, report, domain, call)


@dataclass(frozen=True, eq=False)
class View:
    """The part of R^n that is drawn: the domain, cut by the line or plane of the first coordinates through a point.

    domain : compact; through : (n,) the point that fixes the coordinates not drawn
    """

    domain: Box | Ball
    through: Array

    @property
    def drawn(self) -> int:
        return min(self.domain.dim, 2)

    @property
    def box(self) -> Box:
        """The frame of the picture."""
        box = self.domain.bounding_box()
        return Box(box.lower[: self.drawn], box.upper[: self.drawn])

    @property
    def slice_text(self) -> str:
        """Which slice of a space of more than two dimensions this is; empty otherwise."""
        return ", ".join(f"$x_{{{i + 1}}}$ = {self.through[i]:.3g}" for i in range(2, self.domain.dim))

    def lift(self, points: Array) -> Array:
        """Points (k, 1 or 2) of the picture -> (k, n) points of the space."""
        result = np.tile(self.through, (len(points), 1))
        result[:, : self.drawn] = points
        return result

    def shows(self, point: Array) -> bool:
        """Whether a point (n,) lies in the frame and on the slice."""
        return bool(self.box.contains(point[: self.drawn])) and np.array_equal(point[2:], self.through[2:])


def view_of(subject: Subject, through: ArrayLike | None = None) -> View:
    """The compact domain of the claim or, for R^n, the target's own; cut through `through` or the worst point."""
    domain = subject.claim if subject.claim.compact else subject.target.domain
    if through is not None:
        point = _checks.finite_array(subject.call, "through", through, (domain.dim,))
        if not domain.contains(point):
            received = f"through = {_checks.show(point.tolist())}"
            action = "Choose a point inside, or pass another domain."
            raise ValueError(_checks.message(subject.call, received, f"a point of {domain}", action))
    else:
        box = domain.bounding_box()
        point = middle = (box.lower + box.upper) / 2
        if subject.report is not None:
            point = domain.project(subject.report.argmax)
            if isinstance(domain, Ball):  # a slice near a pole would show next to nothing
                away = float(np.linalg.norm((point - middle)[2:])) / domain.radius
                point[2:] = middle[2:] + (point - middle)[2:] * min(1.0, 0.8 / max(away, 0.8))
    return View(domain, point)


@dataclass(frozen=True, eq=False)
class Curve:
    """Values along a line: x (k,), target (k, m), network (k, m) or None, NaN where F jumps."""

    x: Array
    target: Array
    network: Array | None


@dataclass(frozen=True, eq=False)
class Map:
    """Values on a plane, NaN outside the domain: x (c,) and y (r,) pixel centres, target and network (r, c, m)."""

    x: Array
    y: Array
    extent: tuple[float, float, float, float]
    target: Array
    network: Array | None


def difference(data: Curve | Map) -> Array:
    """F - f, for what was sampled of a subject with a network."""
    assert data.network is not None, "nothing but the target was sampled"
    return data.network - data.target


def curve(subject: Subject, view: View) -> Curve:
    """F and f along the first coordinate; n = 1."""
    lower, upper = float(view.box.lower[0]), float(view.box.upper[0])

    def target(x: Array) -> Array:
        return subject.target(view.lift(x[:, None]))

    if subject.network is None:
        x, values = jumping_line(target, lower, upper, _LINE[1])
        return Curve(x, values, None)
    count = subject.affordable(*_LINE)
    x, values = jumping_line(lambda x: subject.values(view.lift(x[:, None])), lower, upper, count)
    return Curve(x, target(x), values)


def plane_map(subject: Subject, view: View) -> Map:
    """F and f on the plane of the first two coordinates; n >= 2."""
    most = _SIDE[1]
    if subject.network is not None:
        most = int(np.sqrt(subject.affordable(_SIDE[0] ** 2, most**2)))
    box = view.box
    x, y = (low + width * (np.arange(most) + 0.5) / most for low, width in zip(box.lower, box.widths, strict=True))
    points = view.lift(np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2))
    inside = view.domain.contains(points)
    if not inside.any():
        received = (
            f"a slice through {_checks.show(view.through.tolist())}, which meets {view.domain} in less than a pixel"
        )
        action = "Move `through` towards the middle."
        raise ValueError(_checks.message(subject.call, received, "a slice with something to see", action))

    def fill(function: Callable[[Array], Array]) -> Array:
        values = np.full((len(points), subject.target.dim_out), np.nan)
        values[inside] = function(points[inside])
        return values.reshape(most, most, -1)

    extent = (float(box.lower[0]), float(box.upper[0]), float(box.lower[1]), float(box.upper[1]))
    network = None if subject.network is None else fill(subject.values)
    return Map(x, y, extent, fill(subject.target), network)


def jumping_line(function: Callable[[Array], Array], lower: float, upper: float, count: int) -> tuple[Array, Array]:
    """function (k,) -> (k, m) sampled on [lower, upper]: x (k,) and values (k, m), with a row of NaN at each jump.

    Steps that stand out are halved towards the larger change; a change that then is still there is a jump.
    """
    x = np.linspace(lower, upper, count)
    values = function(x)
    change = np.linalg.norm(np.diff(values, axis=0), axis=1)
    noise = 1e-9 * (np.abs(values).max(initial=0.0) + change.max(initial=0.0))
    steep = np.flatnonzero(change > np.maximum(4 * np.median(change), noise))
    left, right, at_left, at_right = x[steep], x[steep + 1], values[steep], values[steep + 1]
    for _ in range(_HALVINGS if len(steep) else 0):
        middle = (left + right) / 2
        at_middle = function(middle)
        first = np.linalg.norm(at_middle - at_left, axis=1) >= np.linalg.norm(at_right - at_middle, axis=1)
        right, at_right = np.where(first, middle, right), np.where(first[:, None], at_middle, at_right)
        left, at_left = np.where(first, left, middle), np.where(first[:, None], at_left, at_middle)
    jumps = np.linalg.norm(at_right - at_left, axis=1) > 0.1 * change[steep]
    left, right, at_left, at_right = left[jumps], right[jumps], at_left[jumps], at_right[jumps]
    x = np.concatenate([x, left, (left + right) / 2, right])
    values = np.concatenate([values, at_left, np.full_like(at_left, np.nan), at_right])
    order = np.argsort(x, kind="stable")
    return x[order], values[order]
