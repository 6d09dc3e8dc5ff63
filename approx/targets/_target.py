"""A target: the function to approximate, and what is known about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from approx import _checks
from approx.affine import AffineMap
from approx.domains import Ball, Box
from approx.targets.levels import EllipsoidLevels, Levels, PlaneLevels

__all__ = ["Target"]

Array = NDArray[np.float64]
SOURCES = ("claimed", "estimated", "proved")
_LARGEST = 1e150


@dataclass(frozen=True)
class LinearModulus:
    """r -> slope * r, the modulus of continuity that a Lipschitz constant gives."""

    slope: float

    def __call__(self, radius: ArrayLike) -> Array:
        return self.slope * np.asarray(radius, dtype=np.float64)


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Target:
    """A function f: R^n -> R^m with the facts a construction or a certificate may use.

    fn : numpy callable, (k, n) float64 -> (k, m), or (k,) when m = 1.
    dim_in, dim_out : n and m.
    domain : the compact Box or Ball of R^n where plots and compact builds happen by default.
    lipschitz : sup |f(x) - f(y)| / |x - y|, Euclidean norms on both sides, over R^n if `affine` is given and over
        `domain` otherwise; None if unknown.
    modulus : non-decreasing, modulus(r) >= sup over |x - y| <= r of |f(x) - f(y)|; by default lipschitz * r.
    affine : the affine map L with |f - L| -> 0 at infinity; None if there is none or it is unknown.
    residual_lipschitz : Lipschitz constant of f - L on R^n; by default lipschitz + |A|.
    tail : non-increasing, tail(R) >= sup over |x| >= R of |f(x) - L(x)|.
    enclosure : (lower (k, n), upper (k, n)) -> (low (k, m), high (k, m)), componentwise bounds of f on the part of
        each box that lies in the domain, or on all of it if `affine` is given.
    lipschitz_source : "proved", "claimed" (by the caller) or "estimated" (from samples: no proof rests on it).
    expression : the formula, when the target was read from one.
    levels : what is known of the level sets of f, `EllipsoidLevels` or `PlaneLevels`; cells may follow them.

    Raises ValueError or TypeError when a field is malformed or fields contradict each other.

    >>> f = Target(fn=lambda x: np.sin(x[:, 0]), dim_in=1, domain=Box([0], [1]), lipschitz=1.0, name="sine")
    >>> f([[0.0], [0.5]]).shape, f.radius_for(0.25)
    ((2, 1), 0.25)
    >>> f
    Target 'sine': R^1 -> R^1 on [0, 1]
      Lipschitz constant 1 (claimed)
    """

    fn: Callable[[Array], Any]
    dim_in: int
    dim_out: int = 1
    domain: Box | Ball
    name: str = "f"
    lipschitz: float | None = None
    modulus: Callable[[Any], Any] | None = None
    affine: AffineMap | None = None
    residual_lipschitz: float | None = None
    tail: Callable[[float], float] | None = None
    enclosure: Callable[[Array, Array], tuple[Array, Array]] | None = None
    lipschitz_source: str = "claimed"
    commentary: str = ""
    unit: str = ""
    axis_unit: str = ""
    expression: str = ""
    levels: Levels | None = None

    def __post_init__(self) -> None:
        call = "Target"
        _require_callable(call, "fn", self.fn)
        for name in ("modulus", "tail", "enclosure"):
            if getattr(self, name) is not None:
                _require_callable(call, name, getattr(self, name))
        for name in ("name", "commentary", "unit", "axis_unit", "expression"):
            if not isinstance(getattr(self, name), str):
                received = f"{name} = {_checks.show(getattr(self, name))}"
                raise TypeError(_checks.message(call, received, "text", f"Pass {name} as a str."))
        n = _checks.count(call, "dim_in", self.dim_in)
        m = _checks.count(call, "dim_out", self.dim_out)
        self._set("dim_in", n)
        self._set("dim_out", m)
        if not isinstance(self.domain, Box | Ball) or self.domain.dim != n:
            action = "Give the compact domain of f; claims on all of R^n come from affine= and tail=."
            received = f"domain = {_checks.show(self.domain)}"
            raise ValueError(_checks.message(call, received, f"a Box or Ball of R^{n}", action))
        _checks.one_of(call, "lipschitz_source", self.lipschitz_source, SOURCES)
        if self.levels is not None and not (
            isinstance(self.levels, EllipsoidLevels | PlaneLevels) and self.levels.dim == n
        ):
            received = f"levels = {_checks.show(self.levels)}"
            raise ValueError(
                _checks.message(call, received, f"levels of R^{n}", "Pass EllipsoidLevels or PlaneLevels.")
            )
        if self.lipschitz is not None:
            self._set("lipschitz", _checks.positive(call, "lipschitz", self.lipschitz))
        if self.affine is not None:
            self._check_affine(call)
        elif self.tail is not None or self.residual_lipschitz is not None:
            given = "tail" if self.tail is not None else "residual_lipschitz"
            action = "Pass the affine map L that f approaches at infinity."
            raise ValueError(_checks.message(call, f"{given} without affine", "affine with it", action))
        if self.modulus is None or isinstance(self.modulus, LinearModulus):
            self._set("modulus", None if self.lipschitz is None else LinearModulus(self.lipschitz))

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _check_affine(self, call: str) -> None:
        affine = self.affine
        if not isinstance(affine, AffineMap):
            received = f"affine = {_checks.show(affine)}"
            raise TypeError(_checks.message(call, received, "an AffineMap or None", "Build it with AffineMap(A, b)."))
        if (affine.dim_in, affine.dim_out) != (self.dim_in, self.dim_out):
            received = f"affine: R^{affine.dim_in} -> R^{affine.dim_out}"
            required = f"R^{self.dim_in} -> R^{self.dim_out}, as f"
            raise ValueError(_checks.message(call, received, required, "Give the affine map the shape of f."))
        if self.residual_lipschitz is not None:
            self._set("residual_lipschitz", _checks.positive(call, "residual_lipschitz", self.residual_lipschitz))
        elif self.lipschitz is not None:
            self._set("residual_lipschitz", self.lipschitz + affine.lipschitz)

    def __call__(self, x: ArrayLike) -> Array:
        """f(x): x (..., n) -> (..., m) float64.

        Raises ValueError for points of the wrong dimension, when `fn` returns the wrong shape, and when a value is NaN,
        infinite or beyond 1e150, whose square is no number (naming the first such point).
        """
        call = f"target {self.name!r}"
        points = _checks.points(call, "x", x, self.dim_in)
        flat = points.reshape(-1, self.dim_in).view()
        flat.setflags(write=False)  # fn must not change the caller's array
        if not len(flat):
            return np.empty((*points.shape[:-1], self.dim_out))
        with np.errstate(all="ignore"):  # what is not finite is refused below, by name
            values = _checks.real_array(call, "the values of fn", self.fn(flat))
        shape = (len(flat), self.dim_out)
        if values.shape != shape and not (self.dim_out == 1 and values.shape == shape[:1]):
            received = f"values of shape {values.shape} from fn at {len(flat)} points"
            action = "Vectorise fn over the first axis: fn(x) with x of shape (k, n), and return one value a row."
            if values.ndim == 2 and len(values) == len(flat):
                action = f"Pass dim_out={values.shape[1]}, or return the values wanted."
            raise ValueError(_checks.message(call, received, f"shape {shape}", action))
        values = values.reshape(shape)
        finite = (np.abs(values) <= _LARGEST).all(axis=1)  # also false for NaN
        if not finite.all():
            where = int(np.argmin(finite))
            outside = np.isfinite(flat[where]).all() and not self.domain.contains(flat[where])
            action = f"That point is outside the domain {self.domain}." if outside else "Change fn or the domain."
            received = f"f({_checks.show(flat[where].tolist())}) = {_checks.show(values[where].tolist())}"
            raise ValueError(_checks.message(call, received, f"finite values up to {_LARGEST:g}", action))
        return values.reshape(*points.shape[:-1], self.dim_out)

    def variation(self, radius: ArrayLike) -> Any:
        """modulus(radius), radius (...) >= 0: how much f can change within that distance. Raises ValueError when
        neither a modulus nor a Lipschitz constant is known."""
        if self.modulus is None:
            action = "Pass lipschitz= or modulus=, or use estimate_lipschitz(target)."
            raise ValueError(_checks.message(f"target {self.name!r}", "no Lipschitz constant", "one", action))
        return self.modulus(radius)

    def radius_for(self, eps: float) -> float:
        """The largest r with modulus(r) <= eps (to rounding, from below); inf when the modulus never exceeds eps.

        Raises ValueError when eps <= 0, when no modulus is known, or when no r > 1e-300 will do.
        """
        call = f"target {self.name!r}.radius_for"
        eps = _checks.positive(call, "eps", eps)
        high = 1.0
        while float(self.variation(high)) <= eps:
            high *= 2
            if high > 1e300:
                return float("inf")
        low = high / 2
        while float(self.variation(low)) > eps:
            high, low = low, low / 2
            if low < 1e-300:
                action = "Choose a larger eps, or a modulus that tends to 0 with r."
                raise ValueError(_checks.message(call, f"modulus(0+) > {eps:g}", "a modulus <= eps", action))
        while True:
            middle = low + (high - low) / 2
            if not low < middle < high:
                return low
            if float(self.variation(middle)) <= eps:
                low = middle
            else:
                high = middle

    def with_domain(self, domain: Box | Ball) -> Target:
        """The same function on another compact domain.

        What is known without `affine` is known on the present domain only: then the new one must lie inside it.
        Raises ValueError otherwise.
        """
        if self.affine is None and isinstance(domain, Box | Ball) and domain.dim == self.dim_in:
            inner = domain.bounding_box()
            if isinstance(self.domain, Ball):
                far = np.maximum(np.abs(inner.lower - self.domain.center), np.abs(inner.upper - self.domain.center))
                inside = float(np.linalg.norm(far)) <= self.domain.radius or (
                    isinstance(domain, Ball)
                    and np.linalg.norm(domain.center - self.domain.center) + domain.radius <= self.domain.radius
                )
            else:
                inside = bool(self.domain.contains(np.stack([inner.lower, inner.upper])).all())
            if not inside:
                action = "Choose a smaller domain, or make a new target with its own Lipschitz constant."
                required = f"a domain inside {self.domain}, where {self.name!r} is known"
                raise ValueError(_checks.message("Target.with_domain", f"domain = {domain}", required, action))
        return replace(self, domain=domain)

    def __repr__(self) -> str:
        lines = [f"Target {self.name!r}: R^{self.dim_in} -> R^{self.dim_out} on {self.domain}"]
        if self.expression not in ("", self.name):
            lines.append(f"  f = {_checks.show(self.expression)}")
        if self.lipschitz is None:
            lines.append("  Lipschitz constant unknown" if self.modulus is None else "  with a modulus of continuity")
        else:
            lines.append(f"  Lipschitz constant {self.lipschitz:.6g} ({self.lipschitz_source})")
        if self.affine is not None:
            kind = "a constant" if self.affine.is_constant else "an affine"
            bound = ", with a bound on the tail" if self.tail is not None else ", tail unknown"
            lines.append(f"  tends to {kind} map at infinity{bound}")
        if self.enclosure is not None:
            lines.append("  encloses its values on boxes")
        if self.unit or self.axis_unit:
            lines.append(f"  values in {self.unit or '1'}, coordinates in {self.axis_unit or '1'}")
        return "\n".join(lines)


def outward(low: Array, high: Array) -> tuple[Array, Array]:
    """Bounds widened by more than the rounding of the few operations behind them."""
    slack = 1e-13 * (1 + np.maximum(np.abs(low), np.abs(high)))
    return low - slack, high + slack


def usable_slope(slope: float, domain: Box | Ball, size: float) -> float:
    """`slope`, or for constants the least Lipschitz constant this toolkit works with: a change of 1e-9 times the
    values' size over the whole domain."""
    return max(slope, 1e-9 * (size or 1.0) / domain.diameter)


def prose(factory: Callable[..., Any]) -> str:
    """The docstring of a factory up to its example, as one paragraph."""
    return " ".join((factory.__doc__ or "").partition(">>>")[0].split())


def require_target(call: str, value: Any) -> Target:
    """`value`, which must be a Target. Raises TypeError that says how to make one of it."""
    if isinstance(value, Target):
        return value
    action = "Build one with approx.targets."
    if isinstance(value, str):
        action = f"Pass approx.targets.parse_target({_checks.show(value)})."
    elif callable(value):
        action = "Wrap the function with approx.targets.from_numpy or from_torch, or in Target."
    elif isinstance(value, np.ndarray | list):
        action = "Wrap the data with approx.targets.from_grid or from_samples."
    raise TypeError(_checks.message(call, f"target = {_checks.show(value)}", "a Target", action))


def _require_callable(call: str, name: str, value: Any) -> None:
    if not callable(value):
        received = f"{name} = {_checks.show(value)}"
        raise TypeError(_checks.message(call, received, "a callable", f"Pass {name} as a function."))
