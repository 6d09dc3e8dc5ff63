"""Looking for counterexamples: steepest pairs of points, and values beyond a claimed tail.

Sampling can refute a claimed constant, never prove one.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from approx import _checks
from approx.domains import Ball, Box
from approx.targets._grid import spectral_norms
from approx.targets._target import Target, usable_slope

__all__ = ["SAFETY_FACTOR", "check_lipschitz", "check_tail", "estimate_lipschitz"]

Array = NDArray[np.float64]
SAFETY_FACTOR = 1.1
MAX_STEEPNESS = 1e4  # steepest slope over mean slope across the domain; beyond it the target looks discontinuous
_STEP = 1e-5  # of the domain's width, for differences: cube root of the rounding unit, about
_STARTS = 6  # points from which the ascent goes on
_TRIES = 12  # perturbations of each in a round
_ROUNDS = 24
_HALVINGS = 21  # of a pair of points
_SHORTEST = 1e-6  # pair, of the domain's width: nearer, functions with float32 inside are all steps
_REACH = 4.0  # with an affine map at infinity the claims hold on R^n: look that far beyond the domain too


def estimate_lipschitz(target: Target, samples: int = 4096, seed: int = 0) -> Target:
    """The target with a Lipschitz constant found by sampling: 1.1 times the steepest slope seen.

    Jacobians by central differences at `samples` Sobol points of the domain, the largest spectral norm refined by
    random ascent from the worst points, and secants between pairs of points, halved. No proof: the result is marked
    lipschitz_source="estimated". Raises ValueError where the target has no finite value, and when the slope seen looks
    like that of a jump or a pole: 1e4 times what would take the values across their range.

    >>> from approx.targets import Target
    >>> f = Target(fn=lambda x: np.sin(3 * x[:, 0]), dim_in=1, domain=Box.cube(1, 2.0))
    >>> round(estimate_lipschitz(f).lipschitz, 4), estimate_lipschitz(f).lipschitz_source
    (3.3, 'estimated')
    """
    samples = _checks.count("estimate_lipschitz", "samples", samples, least=2)
    a, b, slope = _steepest_pair(target, samples, seed)
    values = target(target.domain.sample(samples, seed))
    span = float(np.linalg.norm(np.ptp(values, axis=0)))
    # The values may cross their range over the narrowest side of the domain.
    if slope * float(target.domain.bounding_box().widths.min()) > MAX_STEEPNESS * span:
        received = f"a target {target.name!r} with slope {slope:.3g} between {a.tolist()} and {b.tolist()}"
        required = f"a slope below {MAX_STEEPNESS:g} times the mean (it may have a jump or a pole there)"
        action = "Choose a domain without that point, or pass lipschitz= or modulus=."
        raise ValueError(_checks.message("estimate_lipschitz", received, required, action))
    return replace(
        target,
        lipschitz=usable_slope(SAFETY_FACTOR * slope, target.domain, float(np.abs(values).max())),
        lipschitz_source="estimated",
        residual_lipschitz=None,
    )


def check_lipschitz(target: Target, samples: int = 4096, seed: int = 0) -> float:
    """Try to refute the target's Lipschitz constant; returns the steepest slope seen, a lower bound of the true one.

    Raises ValueError naming two points whose slope exceeds the constant, or when the target has none.

    >>> from approx.targets import gaussian
    >>> round(check_lipschitz(gaussian()), 4)
    0.8578
    """
    call = f"check_lipschitz({target.name!r})"
    if target.lipschitz is None:
        raise ValueError(_checks.message(call, "no Lipschitz constant", "one", "Pass lipschitz= to the target."))
    samples = _checks.count("check_lipschitz", "samples", samples, least=2)
    a, b, slope = _steepest_pair(target, samples, seed)
    if slope > target.lipschitz * (1 + 1e-9):
        raise ValueError(
            _checks.message(
                call,
                f"a {target.lipschitz_source} Lipschitz constant {target.lipschitz:.9g}, but |f(a) - f(b)|/|a - b| = "
                f"{slope:.9g} at a = {a.tolist()}, b = {b.tolist()}",
                "a constant that no pair of points exceeds",
                f"Raise lipschitz above {slope:.6g} (estimate_lipschitz suggests one), or shrink the domain.",
            )
        )
    return slope


def check_tail(target: Target, seed: int = 0) -> None:
    """Try to refute the target's tail: |f - L| against tail(R) on spheres of radius R = 2^k times the domain's, along
    the axes and in random directions.

    Raises ValueError with a counterexample, when the tail increases or is no number >= 0, or when there is none.

    >>> from approx.targets import gaussian
    >>> check_tail(gaussian())
    """
    call = f"check_tail({target.name!r})"
    if target.affine is None or target.tail is None:
        action = "Pass affine= and tail= to the target."
        raise ValueError(_checks.message(call, "a target without affine map or tail", "both", action))
    n = target.dim_in
    random = np.random.default_rng(seed).standard_normal((64, n))
    random /= np.linalg.norm(random, axis=1, keepdims=True)
    directions = np.concatenate([np.eye(n), -np.eye(n), random])
    before = np.inf
    for radius in 0.5 * target.domain.diameter * 2.0 ** np.arange(-4, 16, 0.5):
        radius = float(radius)
        bound = float(target.tail(radius))
        if not 0 <= bound <= before * (1 + 1e-12):  # also false for NaN
            received = f"tail({radius:.6g}) = {bound:g} after {before:g} at a smaller radius"
            required = "a non-increasing tail >= 0"
            raise ValueError(_checks.message(call, received, required, "Take the supremum over all larger radii."))
        before = bound
        points = radius * directions
        values, limits = target(points), target.affine(points)
        gaps = np.linalg.norm(values - limits, axis=1)
        sizes = np.linalg.norm(values, axis=1) + np.linalg.norm(limits, axis=1) + target.affine.lipschitz * radius
        rounding = 64 * np.finfo(float).eps * (1 + sizes)
        excess = gaps - bound * (1 + 1e-9) - rounding
        if excess.max() > 0:
            at = int(excess.argmax())
            received = (
                f"tail({radius:.6g}) = {bound:.9g}, but |f - L| = {gaps[at]:.9g} at the point {points[at].tolist()}"
            )
            required = "tail(R) >= |f(x) - L(x)| for all |x| >= R"
            raise ValueError(_checks.message(call, received, required, "Correct the tail or the affine map."))


def _steepest_pair(target: Target, samples: int, seed: int) -> tuple[Array, Array, float]:
    """(a, b, |f(a) - f(b)| / |a - b|) for the steepest pair found, less the rounding of the difference."""
    domain = target.domain
    rng = np.random.default_rng(seed)
    points = domain.sample(samples, seed)
    bounds: Box | Ball | None = domain
    if target.affine is not None:  # the claims hold on all of R^n: half of the points from a wider box, and no edge
        box = domain.bounding_box()
        center, half = (box.lower + box.upper) / 2, box.widths / 2
        points[::2] = Box(center - _REACH * half, center + _REACH * half).sample(len(points[::2]), seed + 1)
        bounds = None
    width = domain.bounding_box().widths
    slopes, directions = _local_slopes(target, points, bounds)
    best = np.argsort(-slopes, kind="stable")[:_STARTS]
    points, slopes, directions = points[best], slopes[best], directions[best]
    spread = 0.1
    for _ in range(_ROUNDS):
        moved = points[:, None] + spread * width * rng.uniform(-1, 1, (len(points), _TRIES, target.dim_in))
        moved = moved.reshape(-1, target.dim_in)
        moved = moved if bounds is None else bounds.project(moved)
        new_slopes, new_directions = _local_slopes(target, moved, bounds)
        shape = (len(points), _TRIES)
        pick = new_slopes.reshape(shape).argmax(axis=1) + _TRIES * np.arange(len(points))
        better = new_slopes[pick] > slopes
        for old, new in ((points, moved), (slopes, new_slopes), (directions, new_directions)):
            old[better] = new[pick][better]
        spread *= 0.6
    # Pairs: along the steepest directions at several lengths, and random ones at all scales.
    a, b = [], []
    for length in (1e-2, 1e-3, 1e-4, 1e-5):
        step = 0.5 * length * float(width.min()) * directions
        a.append(points - step)
        b.append(points + step)
    start = domain.sample(samples, seed + 2)
    a.append(start)
    b.append(start + 10 ** rng.uniform(-6, 0, (samples, 1)) * width * rng.uniform(-1, 1, start.shape))
    ends = [np.concatenate(side) for side in (a, b)]
    return _bisect(target, *(ends if bounds is None else [bounds.project(side) for side in ends]))


def _bisect(target: Target, a: Array, b: Array) -> tuple[Array, Array, float]:
    """The steepest pair among (a, b) and the halves of the best of them: one half of a pair is at least as steep as the
    whole, so halving closes in on a jump or a pole between the two."""
    values_a, values_b = target(a), target(b)
    shortest = _SHORTEST * float(target.domain.bounding_box().widths.min())
    best_slope, best = -1.0, (a[0], b[0])
    for halving in range(_HALVINGS):
        gaps = np.linalg.norm(values_a - values_b, axis=1)
        ratio = _ratios(a, b, values_a, values_b, shortest)
        at = int(ratio.argmax())
        if ratio[at] > best_slope:
            best_slope, best = float(ratio[at]), (a[at].copy(), b[at].copy())
        if halving == 0:
            keep = np.unique(np.concatenate([np.argsort(-ratio, kind="stable")[:8], np.argsort(-gaps)[:8]]))
            a, b, values_a, values_b = a[keep], b[keep], values_a[keep], values_b[keep]
        middle = 0.5 * (a + b)
        values = target(middle)
        first = np.linalg.norm(values - values_a, axis=1) >= np.linalg.norm(values - values_b, axis=1)
        first = first[:, None]
        a, values_a = np.where(first, a, middle), np.where(first, values_a, values)
        b, values_b = np.where(first, middle, b), np.where(first, values, values_b)
    return *best, best_slope


def _ratios(a: Array, b: Array, values_a: Array, values_b: Array, shortest: float) -> Array:
    """|f(a) - f(b)| / |a - b|, lowered by what rounding of values and points can add; 0 for pairs nearer than that."""
    distance = np.linalg.norm(a - b, axis=1)
    value_size = np.linalg.norm(values_a, axis=1) + np.linalg.norm(values_b, axis=1)
    point_size = np.linalg.norm(a, axis=1) + np.linalg.norm(b, axis=1)
    gap = np.linalg.norm(values_a - values_b, axis=1) - 16 * np.finfo(float).eps * value_size
    safe = np.where(distance >= shortest, distance, np.inf)
    return np.maximum(gap, 0.0) / safe * (1 - 16 * np.finfo(float).eps * point_size / safe)


def _local_slopes(target: Target, points: Array, bounds: Box | Ball | None) -> tuple[Array, Array]:
    """Spectral norms of the Jacobians at points (k, n), by central differences inside `bounds`, and the unit directions
    (k, n) they belong to."""
    k, n = points.shape
    jacobian = np.empty((k, target.dim_out, n))
    step = _STEP * target.domain.bounding_box().widths
    for i in range(n):
        shift = np.zeros(n)
        shift[i] = step[i]
        a, b = points - shift, points + shift
        if bounds is not None:
            a, b = bounds.project(a), bounds.project(b)
        distance = np.linalg.norm(b - a, axis=1)
        jacobian[:, :, i] = (target(b) - target(a)) / np.where(distance > 0, distance, 1.0)[:, None]
    if target.dim_out == 1 or n == 1:
        slopes = spectral_norms(jacobian)
        directions = jacobian[:, 0] if n > 1 else np.ones((k, 1))
        length = np.linalg.norm(directions, axis=1, keepdims=True)
        return slopes, directions / np.where(length > 0, length, 1.0)
    _, values, transposed = np.linalg.svd(jacobian)
    return values[:, 0], transposed[:, 0]
