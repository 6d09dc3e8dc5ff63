"""Rigorous bounds of a target on boxes, and what they rest on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from approx import _checks
from approx.affine import AffineMap
from approx.certification._operands import Operand
from approx.certification._residual import residual
from approx.certification._torch import through_torch
from approx.certification.balls import BallForm
from approx.certification.intervals import Interval, IntervalError, down, unchecked, up
from approx.certification.jets import Linear, linear, mean_value
from approx.domains import Ball, Box
from approx.targets import Expression, Target
from approx.targets._target import require_target
from approx.targets.callables import TorchFunction

__all__ = ["EVALUATION_ERROR", "Enclosure", "EnclosureUnavailable", "enclosure_of", "function_of", "obstacle"]

Array = NDArray[np.float64]
Bounds = Callable[[Array, Array, "AffineMap | None"], Interval]

CHUNK = 1 << 14  # boxes at a time: their temporaries stay in the cache
BALLS = 1 << 16  # numbers: balls times dimensions at a time
UNITS = 16  # an enclosure given with a target is widened by so many units in the last place
EVALUATION_ERROR = 1e-12  # of float64 evaluation of f, relative to max(1, |f|); assumed, not proved
_NATURAL = "interval arithmetic"
_PROBES = 256  # points at which fn on intervals is compared with fn on arrays
ROUNDING = 1 + 2.0**-40  # more than the rounding of a norm or of a Lipschitz bound


class EnclosureUnavailable(ValueError):
    """Nothing is known about the target that bounds its values on a box.

    >>> from approx import targets
    >>> from approx.domains import Box
    >>> opaque = targets.Target(fn=lambda x: [float(v) ** 2 for v in x[:, 0]], dim_in=1, domain=Box([0], [1]))
    >>> try:
    ...     enclosure_of(opaque)
    ... except EnclosureUnavailable:
    ...     print("pass lipschitz=")
    pass lipschitz=
    """


@dataclass(frozen=True, eq=False)
class Enclosure:
    """Componentwise bounds of `target` on boxes.

    basis : what they rest on. conditional : whether that includes something which nobody proved: a claim of the
    caller's, or the accuracy of float64 evaluation.

    >>> from approx.targets import gaussian
    >>> f = enclosure_of(gaussian())
    >>> low, high = f.range([[3.0, -np.inf]], [[np.inf, np.inf]])
    >>> float(low[0, 0]), bool(high[0, 0] <= np.exp(-9.0) * (1 + 1e-13)), f.basis
    (0.0, True, 'interval arithmetic')
    """

    target: Target
    basis: str
    conditional: bool
    _bounds: Bounds = field(repr=False)
    _differentiable: bool = field(default=False, repr=False)
    _forms: bool = field(default=False, repr=False)  # fn runs on forms over balls

    def __reduce__(self) -> tuple[Callable[[Target], Enclosure], tuple[Target]]:
        """Made anew from the target where it is unpickled, as in the workers of a process pool."""
        return enclosure_of, (self.target,)

    @property
    def followed(self) -> bool:
        """Whether fn itself runs on operands, so that nothing else needs to be known."""
        return self.basis == _NATURAL

    @property
    def everywhere(self) -> bool:
        """Whether the bounds hold beyond the target's domain: claims do so for targets with an affine part only."""
        return self.followed or self.target.affine is not None

    def range(self, lower: ArrayLike, upper: ArrayLike) -> tuple[Array, Array]:
        """Boxes lower, upper (k, n), sides may be infinite or points -> low, high (k, m), low <= f <= high on the box.

        Infinite bounds mean that none is known. Points of a box outside the domain need not be covered: f may be
        undefined there, or its modulus unknown. Raises ValueError for NaN, lower > upper or wrong shapes.
        """
        return self._enclose("range", lower, upper, None)

    def residual_range(self, lower: ArrayLike, upper: ArrayLike, affine: AffineMap) -> tuple[Array, Array]:
        """Bounds of f - affine in the same form. They are infinite on an unbounded box, unless `affine` is constant
        or the box is bounded in every coordinate that it depends on."""
        call, n, m = "Enclosure.residual_range", self.target.dim_in, self.target.dim_out
        if not isinstance(affine, AffineMap) or (affine.dim_in, affine.dim_out) != (n, m):
            received = f"affine = {_checks.show(affine)}"
            raise ValueError(_checks.message(call, received, f"an AffineMap R^{n} -> R^{m}", "Give it the shape of f."))
        return self._enclose("residual_range", lower, upper, affine)

    def linear(self, lower: Array, upper: Array) -> Linear | None:
        """The mean value form on bounded boxes, (k, n) each, in parts of shape (k, m); None if f has none there."""
        if not self._differentiable:
            return None
        try:
            return linear(function_of(self.target), _boxes(np.asfortranarray(lower), np.asfortranarray(upper)))
        except IntervalError:  # f is undefined at the middle of a box
            return None

    def range_on_balls(
        self, centers: ArrayLike, radii: ArrayLike, within: Box | Ball | None, affine: AffineMap | None = None
    ) -> tuple[Array, Array]:
        """Bounds (k, m) of f, or of f - affine, on the points of `within` (None: of R^n) in closed balls.

        centers (k, n), radii (k,) finite and >= 0. The intersection of what is known: forms over the balls, the range
        on bounding boxes cut to `within`, and the change within the radius that the modulus allows, where it is proved
        or the enclosure rests on claims anyway. Raises ValueError for NaN or wrong shapes.
        """
        call, n = "Enclosure.range_on_balls", self.target.dim_in
        centers = _checks.finite_array(call, "centers", centers, (None, n))
        radii = _checks.finite_array(call, "radii", radii, (len(centers),))
        if (radii < 0).any():
            raise ValueError(_checks.message(call, "a negative radius", "radii >= 0", "Pass radii of balls."))
        lower, upper = down(centers - radii[:, None], 2), up(centers + radii[:, None], 2)
        if within is not None:
            box = within.bounding_box()
            lower, upper = (np.clip(end, down(box.lower), up(box.upper)) for end in (lower, upper))
            if isinstance(within, Box):
                # (x - p).(c - p) <= 0 for the nearest point p of the box, so |x - p|^2 <= |x - c|^2 - |c - p|^2.
                nearest = box.project(centers)
                gap = np.square(down(np.abs(centers - nearest))).sum(axis=1)
                shrunk: Array = up(np.sqrt(np.maximum(up(radii * radii, 8) - down(gap, n + 8), 0.0)), 8)
                centers, radii = nearest, shrunk
        low, high = self._enclose(call, lower, upper, affine)
        if self._forms:
            size = max(1, BALLS // n)
            for start in range(0, len(centers), size):
                rows = slice(start, start + size)
                forms = _on_balls(self.target, affine, centers[rows], radii[rows])
                if forms is not None:
                    low[rows], high[rows] = np.maximum(low[rows], forms.lo), np.minimum(high[rows], forms.hi)
        proved = self.target.lipschitz_source == "proved"
        if self.target.modulus is not None and (proved or self.conditional):
            # Again, |x - p| <= |x - c| for the nearest point p of a convex set that holds x.
            points = centers if within is None else within.project(centers)
            points = self.target.domain.project(points) if self.target.affine is None else points
            reach = radii * ROUNDING + np.abs(points).max(axis=1) * 2.0**-48
            change = np.asarray(self.target.variation(reach), dtype=np.float64) * ROUNDING
            change = change + (0.0 if affine is None else affine.lipschitz * reach * ROUNDING)
            least, most = self._enclose(call, points, points, affine)
            low, high = np.fmax(low, down(least - change[:, None])), np.fmin(high, up(most + change[:, None]))
        return low, high

    def _enclose(self, name: str, lower: ArrayLike, upper: ArrayLike, affine: AffineMap | None) -> tuple[Array, Array]:
        call = name if "." in name else f"Enclosure.{name}"
        lower = _checks.points(call, "lower", lower, self.target.dim_in)
        upper = _checks.points(call, "upper", upper, self.target.dim_in)
        if lower.ndim != 2 or lower.shape != upper.shape:
            received = f"lower of shape {lower.shape}, upper of shape {upper.shape}"
            raise ValueError(_checks.message(call, received, "both (k, n)", "Pass one box a row."))
        if not ((lower <= upper) & (lower < np.inf) & (upper > -np.inf)).all():
            raise ValueError(_checks.message(call, "a box with lower > upper", "lower <= upper", "Swap the corners."))
        low, high = np.empty((2, len(lower), self.target.dim_out))
        for start in range(0, len(lower), CHUNK):
            rows = slice(start, start + CHUNK)
            # Columns are what functions read: keep each in one piece.
            bounds = self._bounds(np.asfortranarray(lower[rows]), np.asfortranarray(upper[rows]), affine)
            low[rows], high[rows] = bounds.lo, bounds.hi
        return low, high


def enclosure_of(target: Target) -> Enclosure:
    """The best enclosure that the target allows.

    1. Interval arithmetic on `target.fn` (of numpy or torch functions), cut to the mean value form on bounded boxes:
       unconditional, outward rounded. It bounds f as real arithmetic on fn's float64 constants defines it.
    2. If fn cannot run on intervals: `target.enclosure`, widened by 16 units in the last place (its own slack must
       cover the rest of its rounding, as that of the gallery does). Conditional unless the target's facts are proved.
    3. Otherwise the modulus of continuity about the middle of the box. Conditional: it trusts the modulus if that is
       claimed, and float64 values of f to 1e-12 max(1, |f|).

    Raises EnclosureUnavailable when only an estimated modulus, or none, is known.

    >>> import approx
    >>> step = lambda x: np.where(x[:, 0] > 0, 1.0, 0.0) * x[:, 0]
    >>> f = approx.targets.from_numpy(step, 1, domain=approx.Box.cube(1, 1.0), lipschitz=1.0)
    >>> print(enclosure_of(f).basis)
    the claimed Lipschitz constant 1, and float64 values of f to 1e-12 max(1, |f|)
    """
    require_target("enclosure_of", target)
    refused = obstacle(target, _natural)
    if refused is None:
        differentiable = obstacle(target, mean_value) is None
        forms = obstacle(target, _around) is None
        bounds = _interval_bounds(target, differentiable)
        return Enclosure(target, _NATURAL, False, bounds, differentiable, forms)
    proved = target.lipschitz_source == "proved"
    if target.enclosure is not None:
        basis = "the target's enclosure" if proved else "the target's enclosure, as claimed by the caller"
        return Enclosure(target, basis, not proved, _given_bounds(target, target.enclosure))
    if target.modulus is None or target.lipschitz_source == "estimated":
        known = "no Lipschitz constant" if target.modulus is None else "a Lipschitz constant estimated from samples"
        received = f"a target {target.name!r} with {known}, whose fn does not run on intervals ({refused})"
        required = "something that bounds f between points"
        action = "Write fn with numpy functions of x that have no branches, or pass enclosure=, lipschitz= or modulus=."
        raise EnclosureUnavailable(_checks.message("enclosure_of", received, required, action))
    fact = "modulus of continuity" if target.lipschitz is None else f"Lipschitz constant {target.lipschitz:g}"
    basis = f"the {target.lipschitz_source} {fact}, and float64 values of f to {EVALUATION_ERROR:g} max(1, |f|)"
    return Enclosure(target, basis, True, _modulus_bounds(target))


def function_of(target: Target, affine: AffineMap | None = None) -> Callable[[Any], Any]:
    """f, or f - affine, on operands: (k, n) -> (k, m)."""

    def evaluate(x: Any) -> Any:
        rest = None
        if isinstance(target.fn, Expression):
            rest = None if affine is None or affine.is_constant else residual(target.fn, affine, list(x.T))
            parts = target.fn.evaluate(list(x.T)) if rest is None else rest
            values: Any = np.stack([p if isinstance(p, Operand) else np.full(len(x), p) for p in parts], axis=1)
        else:
            if isinstance(target.fn, TorchFunction) and isinstance(x, Operand):
                values = through_torch(target.fn.fn, x)
            else:
                values = target.fn(x)
            if not isinstance(values, Operand):
                values = _checks.real_array(f"target {target.name!r}", "the values of fn", values)
        if target.dim_out == 1 and values.shape == (len(x),):
            values = values[:, None]
        if values.shape != (len(x), target.dim_out):
            raise TypeError(f"values of shape {values.shape} at {len(x)} boxes")
        return values if affine is None or rest is not None else values - _line(affine, x)

    return evaluate


def _line(affine: AffineMap, x: Any) -> Any:
    return affine.offset if affine.is_constant else x @ affine.matrix.T + affine.offset


def _natural(function: Callable[[Any], Any], boxes: Interval) -> Interval:
    return boxes._lift(function(boxes))


def _around(function: Callable[[Any], Any], boxes: Interval) -> Interval:
    """Bounds on the balls around boxes (k, n), from forms over balls."""
    centers = boxes.lo / 2 + boxes.hi / 2
    balls = BallForm.variables(centers, up(np.linalg.norm(up(boxes.hi - centers), axis=1), 16))
    return balls._lift(function(balls)).bounds


def _on_balls(target: Target, affine: AffineMap | None, centers: Array, radii: Array) -> Interval | None:
    """Bounds of f - affine on balls; None where f is undefined on one of them."""
    balls = BallForm.variables(np.asfortranarray(centers), radii)
    try:
        return balls._lift(function_of(target, affine)(balls)).bounds
    except IntervalError:
        return None


def obstacle(target: Target, method: Callable[[Any, Interval], Interval]) -> str | None:
    """Why the method does not work on the target, found by trying it at points of the domain and on boxes there."""
    points = target.domain.sample(_PROBES)
    values = target(points)
    try:
        at_points = method(function_of(target), _boxes(points, points))
        method(function_of(target), _boxes(points, target.domain.project(points + 1e-3 * target.domain.diameter)))
    except Exception as error:  # whatever fn or a library under it raises for arguments that are no arrays
        return f"{type(error).__name__}: {error}"[:300]
    slack = 1e-9 * (1 + np.abs(values))  # values that disagree by more are another function's
    agrees = (at_points.lo - slack <= values) & (values <= at_points.hi + slack)
    return None if agrees.all() else "fn has other values on intervals than on arrays"


def _narrows(target: Target) -> bool:
    """Whether the mean value form is narrower than the natural one, on small boxes of the domain. Where no variable
    occurs twice, as in exp(-|x|^2), it only costs time."""
    points = target.domain.sample(64)
    boxes = _boxes(points, target.domain.project(points + 1e-3 * target.domain.diameter))
    try:
        natural, sharp = (method(function_of(target), boxes).width.sum() for method in (_natural, mean_value))
    except IntervalError:
        return True
    return bool(sharp < 0.95 * natural)


def _boxes(lower: Array, upper: Array) -> Interval:
    """The boxes between two corners, as copies."""
    lower, upper = np.minimum(lower, upper), np.maximum(lower, upper)
    for corner in (lower, upper):
        corner.setflags(write=False)  # fn must not change its argument
    return unchecked(lower, upper)


def _interval_bounds(target: Target, differentiable: bool) -> Bounds:
    narrows = differentiable and _narrows(target)

    def natural(function: Callable[[Any], Any], boxes: Interval) -> Interval:
        try:
            return _natural(function, boxes)
        except IntervalError:
            if len(boxes) == 1:
                unknown = np.full((1, target.dim_out), np.inf)
                return unchecked(-unknown, unknown)
            half = len(boxes) // 2
            halves = [natural(function, boxes[:half]), natural(function, boxes[half:])]
            return halves[0]._join(halves, np.concatenate)

    def bounds(lower: Array, upper: Array, affine: AffineMap | None) -> Interval:
        function, boxes = function_of(target, affine), _boxes(lower, upper)
        finite = np.isfinite(lower).all(axis=1) & np.isfinite(upper).all(axis=1)
        linear = affine is not None and not affine.is_constant  # its variables occur in f too
        if not (narrows or (linear and differentiable)) or not finite.any():
            return natural(function, boxes)
        if not finite.all():
            result = unchecked(*np.empty((2, len(lower), target.dim_out)))
            for rows in (finite, ~finite):
                result[rows] = bounds(lower[rows], upper[rows], affine)
            return result
        try:
            return mean_value(function, boxes)
        except IntervalError:  # f is undefined at the middle of a box
            return natural(function, boxes)

    return bounds


def _given_bounds(target: Target, enclosure: Callable[[Array, Array], tuple[Array, Array]]) -> Bounds:
    def bounds(lower: Array, upper: Array, affine: AffineMap | None) -> Interval:
        call, shape = f"the enclosure of target {target.name!r}", (len(lower), target.dim_out)
        with np.errstate(all="ignore"):
            low, high = (_checks.real_array(call, "its value", end) for end in enclosure(lower, upper))
        if low.shape != high.shape or (low.shape != shape and (low.shape != shape[:1] or shape[1] > 1)):
            received = f"bounds of shapes {low.shape} and {high.shape}"
            raise ValueError(_checks.message(call, received, f"shape {shape}", "Return two arrays (k, m)."))
        if (low > high).any():
            raise ValueError(_checks.message(call, "low > high", "low <= high", "Correct the enclosure."))
        low = np.where(np.isnan(low), -np.inf, low).reshape(shape)
        high = np.where(np.isnan(high), np.inf, high).reshape(shape)
        values = unchecked(down(low, UNITS), up(high, UNITS))
        return values if affine is None else values - _line(affine, _boxes(lower, upper))

    return bounds


def _modulus_bounds(target: Target) -> Bounds:
    def bounds(lower: Array, upper: Array, affine: AffineMap | None) -> Interval:
        boxes = _boxes(lower, upper)
        if target.affine is None:  # nothing is known outside the domain
            limits = target.domain.bounding_box()
            lower, upper = (np.clip(end, limits.lower, limits.upper) for end in (lower, upper))
        with np.errstate(all="ignore"):
            middle = np.clip(0.5 * lower + 0.5 * upper, lower, upper)
            middle = np.where(np.isfinite(middle), middle, np.clip(0.0, lower, upper))
            if target.affine is None and isinstance(target.domain, Ball):
                middle = target.domain.project(middle)
            radius = np.linalg.norm(np.maximum(upper - middle, middle - lower), axis=1) * ROUNDING
            change = np.asarray(target.variation(radius), dtype=np.float64) * ROUNDING
        change = np.where(np.isnan(change), np.inf, change)[:, None]
        at_middle = target(middle)
        change = change + EVALUATION_ERROR * np.maximum(1.0, np.abs(at_middle))
        values = unchecked(down(at_middle - change), up(at_middle + change))
        return values if affine is None else values - _line(affine, boxes)

    return bounds
