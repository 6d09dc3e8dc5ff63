"""Looking for counterexamples: steepest pairs of points, and values beyond a claimed tail.

Sampling can refute a claimed constant, never prove one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from approx import _checks
from approx.domains import Ball, Box
from approx.targets._grid import spectral_norms
from approx.targets._target import LinearModulus, Target, usable_slope

__all__ = [
    "SAFETY_FACTOR",
    "check_claims",
    "check_enclosure",
    "check_lipschitz",
    "check_modulus",
    "check_tail",
    "estimate_lipschitz",
]

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


def check_modulus(target: Target, samples: int = 4096, seed: int = 0) -> float:
    """Try to refute the target's modulus of continuity, by pairs of points at all distances and ascent from the worst;
    returns the largest |f(a) - f(b)| / modulus(|a - b|) seen.

    Raises ValueError with a counterexample, when the modulus decreases, is negative or NaN, or when there is none.

    >>> from approx.targets import gaussian
    >>> 0.9 < check_modulus(gaussian()) <= 1
    True
    """
    call = f"check_modulus({target.name!r})"
    samples = _checks.count("check_modulus", "samples", samples, least=2)
    diameter = target.domain.diameter
    radii = diameter * 2.0 ** np.arange(-30, 1)
    bounds = np.asarray(target.variation(radii), dtype=np.float64)
    wrong = ~((bounds >= 0) & (np.diff(bounds, prepend=0.0) >= -1e-12 * bounds))  # also true for NaN
    if wrong.any():
        at = int(wrong.argmax())
        received = f"modulus({radii[at]:.6g}) = {bounds[at]:g}" + (f" after {bounds[at - 1]:g} nearer" if at else "")
        raise ValueError(_checks.message(call, received, "a non-decreasing modulus >= 0", "Correct the modulus."))
    rng, n = np.random.default_rng(seed), target.dim_in

    def ratio(pairs: Array) -> Array:
        a, b = pairs[:, :n], pairs[:, n:]
        first, second = target(a), target(b)
        rounding = 16 * np.finfo(float).eps * (np.linalg.norm(first, axis=1) + np.linalg.norm(second, axis=1))
        gap = np.maximum(np.linalg.norm(first - second, axis=1) - rounding, 0.0)
        allowed = np.asarray(target.variation(np.linalg.norm(a - b, axis=1) * (1 + 1e-15)), dtype=np.float64)
        return gap / np.maximum(allowed, 1e-300)

    starts, _, into = _starts(target, samples, seed)

    def inside(pairs: Array) -> Array:
        return np.concatenate([into(half) for half in (pairs[:, :n], pairs[:, n:])], axis=1)

    steps = rng.standard_normal(starts.shape)
    steps *= diameter * 10.0 ** rng.uniform(-6, 0, (samples, 1)) / np.linalg.norm(steps, axis=1, keepdims=True)
    pairs = inside(np.concatenate([starts, starts + steps], axis=1))
    width = np.tile(target.domain.bounding_box().widths, 2)
    pairs = np.concatenate([pairs, _ascend(ratio, pairs, ratio(pairs), width, inside, rng)])
    ratios = ratio(pairs)
    at = int(ratios.argmax())
    if ratios[at] > 1 + 1e-9:
        a, b = pairs[at, :n], pairs[at, n:]
        distance = float(np.linalg.norm(a - b))
        received = f"modulus({distance:.6g}) = {float(target.variation(distance)):.9g}, but |f(a) - f(b)| = "
        received += f"{float(np.linalg.norm(target(a) - target(b))):.9g} at a = {a.tolist()}, b = {b.tolist()}"
        raise ValueError(_checks.message(call, received, "modulus(|a - b|) >= |f(a) - f(b)|", "Raise the modulus."))
    return float(ratios[at])


def check_enclosure(target: Target, samples: int = 2048, seed: int = 0) -> None:
    """Try to refute the target's enclosure: boxes of all sizes around points of the domain, many of them where f is
    largest or smallest, found by ascent, and then ascent towards where f comes nearest to leaving its bounds.

    Raises ValueError with the box and the point, when a bound is NaN or has the wrong shape, or when there is none.

    >>> from approx.targets import gaussian
    >>> check_enclosure(gaussian())
    """
    call = f"check_enclosure({target.name!r})"
    samples = _checks.count("check_enclosure", "samples", samples)
    enclosure = target.enclosure
    if enclosure is None:
        raise ValueError(_checks.message(call, "no enclosure", "one", "Pass enclosure= to the target."))
    rng, n, into = np.random.default_rng(seed), target.dim_in, target.domain.project
    domain = target.domain.bounding_box()

    def parts(rows: Array) -> tuple[Array, Array, Array]:
        """A row is two corners and a point of the domain; the box is the smallest that holds them."""
        first, second, points = rows[:, :n], rows[:, n : 2 * n], rows[:, 2 * n :]
        three = np.stack([*(np.clip(end, domain.lower, domain.upper) for end in (first, second)), points])
        return three.min(axis=0), three.max(axis=0), points

    def gaps(rows: Array) -> Array:
        """By how much f leaves its bounds; where it does not, how near it comes to, relative to their width."""
        lower, upper, points = parts(rows)
        low, high = (_checks.real_array(call, "its bounds", end) for end in enclosure(lower, upper))
        shape = (len(rows), target.dim_out)
        if low.shape != high.shape or (low.shape != shape and (target.dim_out > 1 or low.shape != shape[:1])):
            received = f"bounds of shapes {low.shape} and {high.shape}"
            raise ValueError(_checks.message(call, received, f"shape {shape}", "Return two arrays (k, m)."))
        values, low, high = target(points), low.reshape(shape), high.reshape(shape)
        slack = 64 * np.finfo(float).eps * (1 + np.abs(values))
        outside = np.maximum(low - values, values - high) - slack
        size = np.where(np.isfinite(high - low), high - low, np.inf) + 1e-300
        return np.nan_to_num(np.where(outside > 0, outside, outside / size), nan=np.inf).max(axis=1)

    def inside(rows: Array) -> Array:
        return np.concatenate([rows[:, : 2 * n], into(rows[:, 2 * n :])], axis=1)

    starts, sides = target.domain.sample(samples, seed), domain.widths
    ends = [starts]
    for j in range(target.dim_out):
        for sign in (1.0, -1.0):

            def height(x: Array, j: int = j, sign: float = sign) -> Array:
                return sign * target(x)[:, j]

            peaks = _ascend(height, starts, height(starts), sides, into, rng)
            ends.append(np.repeat(peaks, -(-samples // (4 * target.dim_out * len(peaks))), axis=0))
    points = np.concatenate(ends)
    reach = sides * 10.0 ** rng.uniform(-6, 0, (len(points), 1))
    shifts = [reach * rng.uniform(-1, 1, points.shape) for _ in range(2)]
    rows = np.concatenate([points + shifts[0], points + shifts[1], points], axis=1)
    rows = np.concatenate([rows, _ascend(gaps, rows, gaps(rows), np.tile(sides, 3), inside, rng)])
    found = gaps(rows)
    at = int(found.argmax())
    if found[at] > 0:
        lower, upper, point = (part[at] for part in parts(rows))
        low, high = (np.ravel(end).tolist() for end in enclosure(lower[None], upper[None]))
        received = f"bounds {low} .. {high} on the box {lower.tolist()} .. {upper.tolist()}, but f = "
        received += f"{target(point).tolist()} at {point.tolist()}"
        raise ValueError(_checks.message(call, received, "low <= f <= high on the box", "Correct the enclosure."))


def check_claims(target: Target, seed: int = 0) -> None:
    """Try to refute whatever the caller claims of the target: its Lipschitz constant, modulus and enclosure. Facts that
    are marked as proved, or as estimated, are not looked at. Raises ValueError with a counterexample.

    >>> from approx import Box
    >>> from approx.targets import Target
    >>> check_claims(Target(fn=lambda x: 2 * x[:, 0], dim_in=1, domain=Box.cube(1, 1.0), lipschitz=1.0))
    Traceback (most recent call last):
    ...
    ValueError: check_lipschitz('f'): received a claimed Lipschitz constant 1, but |f(a) - f(b)|/|a - b| = 2 at ...
    """
    if target.lipschitz_source != "claimed":
        return
    if target.lipschitz is not None:
        check_lipschitz(target, seed=seed)
    if target.modulus is not None and not isinstance(target.modulus, LinearModulus):
        check_modulus(target, seed=seed)
    if target.enclosure is not None:
        check_enclosure(target, seed=seed)


def tail_at(target: Target, radius: float) -> float:
    """target.tail(radius), inf included. Raises ValueError where that fails or is no number >= 0."""
    assert target.tail is not None, "the caller has seen that there is one"
    try:
        bound = float(target.tail(radius))
        received = f"tail({radius:.6g}) = {bound:g}"
    except Exception as error:  # whatever the caller's function raises
        bound, received = np.nan, f"tail({radius:.6g}) raising {type(error).__name__}: {error}"
    if bound >= 0:
        return bound
    action = "Return a float for every float R > 0; numpy's functions overflow to inf, those of math raise."
    raise ValueError(_checks.message(f"the tail of {target.name!r}", received, "a non-increasing tail >= 0", action))


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
        bound = tail_at(target, radius)
        if not bound <= before * (1 + 1e-12):
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
    points, bounds, inside = _starts(target, samples, seed)
    width = domain.bounding_box().widths
    slopes, _ = _local_slopes(target, points, bounds)
    points = _ascend(lambda moved: _local_slopes(target, moved, bounds)[0], points, slopes, width, inside, rng)
    _, directions = _local_slopes(target, points, bounds)
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


def _starts(target: Target, samples: int, seed: int) -> tuple[Array, Box | Ball | None, Callable[[Array], Array]]:
    """Points where the modulus of f is claimed, the domain that limits them, and the map into it. With an affine map at
    infinity that is all of R^n: half of the points come from a wider box, and there is no edge."""
    points = target.domain.sample(samples, seed)
    if target.affine is None:
        return points, target.domain, target.domain.project
    box = target.domain.bounding_box()
    center, half = (box.lower + box.upper) / 2, box.widths / 2
    points[::2] = Box(center - _REACH * half, center + _REACH * half).sample(len(points[::2]), seed + 1)
    return points, None, lambda moved: moved


def _ascend(
    score: Callable[[Array], Array],
    starts: Array,
    scores: Array,
    width: Array,
    inside: Callable[[Array], Array],
    rng: np.random.Generator,
) -> Array:
    """Random ascent from the best of the starts (k, p), moved by less and less of `width` (p,)."""
    best = np.argsort(-scores, kind="stable")[:_STARTS]
    points, scores = starts[best].copy(), scores[best].copy()
    spread = 0.1
    for _ in range(_ROUNDS):
        moved = points[:, None] + spread * width * rng.uniform(-1, 1, (len(points), _TRIES, points.shape[1]))
        moved = inside(moved.reshape(-1, points.shape[1]))
        new = score(moved)
        pick = new.reshape(len(points), _TRIES).argmax(axis=1) + _TRIES * np.arange(len(points))
        better = new[pick] > scores
        points[better], scores[better] = moved[pick][better], new[pick][better]
        spread *= 0.6
    return points


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
