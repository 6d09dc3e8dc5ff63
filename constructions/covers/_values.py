"""Which value a cell gets, and a certified bound of |f - value| on it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from approx import _checks
from approx.certification import Enclosure
from approx.domains import Ball
from approx.lattice import Lattice
from constructions.covers._problem import Problem, meets

__all__ = ["BrokenClaim", "certify", "fill"]

Array = NDArray[np.float64]
Enclose = Callable[[Array, Array], tuple[Array, Array]]
_CHUNK = 2048
_SAMPLES = 128  # at most this many points, or boxes, stand for one cell
_PER_AXIS = 11  # boxes along an axis
_MANY_DIMS = 5  # where small boxes that cover a ball are too many to be small


class BrokenClaim(ValueError):
    """A value of f contradicts what the target says of it.

    >>> from approx import AffineMap, Box, targets
    >>> from constructions import covers
    >>> lie = targets.Target(fn=lambda x: x[:, 0], dim_in=1, domain=Box([0], [1]), lipschitz=1.0,
    ...                      enclosure=lambda low, high: (0 * low, 0 * high))
    >>> try:
    ...     covers.adaptive(lie, 0.1, lie.domain, everywhere=False, affine=AffineMap.constant([0.5], 1))
    ... except covers.BrokenClaim:
    ...     print("the enclosure is wrong")
    the enclosure is wrong
    """


def certify(problem: Problem, centers: Array, radius: float, values: str, *, stop: bool = False) -> tuple[Array, Array]:
    """Values (k, m) for the balls of that radius about `centers` (k, n), and (k,) bounds of |f - value| on the part of
    each ball that lies in the domain.

    values : "center" takes f at the point of the domain nearest to the centre, as the paper does; "chebyshev" takes
        the middle of an enclosure of f wherever f at the centre is not certified to be within eps.
    stop : give up after the first cells whose bound exceeds eps (what follows keeps bound inf).

    Enclosures of f, intersected: f(c) +- modulus(r); the target's own enclosure on the bounding box; the range of f on
    points that fill the ball to a distance d, widened by modulus(d); where the target has no enclosure, or in many
    dimensions, forms over the ball that follow fn; either on small boxes that cover the ball.
    A modulus that is only estimated comes last where f has proved bounds.
    The later and dearer ones are taken only for cells that miss eps. Points outside the domain are replaced by the
    nearest points of it, which are no farther from the points of the domain. So f is only evaluated in the domain.

    Raises ValueError, naming a point, when a value of f refutes what the target claims about itself.
    """
    k = len(centers)
    chosen, bounds = np.empty((k, problem.target.dim_out)), np.full(k, np.inf)
    for start in range(0, k, _CHUNK):
        part = slice(start, start + _CHUNK)
        chosen[part], bounds[part] = _certify(problem, centers[part], radius, values)
        if stop and (bounds[part] > problem.eps).any():
            break
    return chosen, bounds


def _certify(problem: Problem, centers: Array, radius: float, values: str) -> tuple[Array, Array]:
    points = problem.domain.project(centers)
    at_center = problem.target(points)
    claimed = problem.variation(radius)
    change = np.inf if problem.doubtful else claimed
    chosen, bounds = at_center.copy(), np.full(len(centers), change)
    low, high = at_center - change, at_center + change
    for enclose in _enclosures(problem, radius, values):
        open_cells = np.flatnonzero(bounds > problem.eps)
        if not len(open_cells):
            break
        tighter = enclose(problem, centers[open_cells], radius)
        low[open_cells] = np.fmax(low[open_cells], tighter[0])
        high[open_cells] = np.fmin(high[open_cells], tighter[1])
        _refute(problem, points[open_cells], at_center[open_cells], low[open_cells], high[open_cells])
        with np.errstate(invalid="ignore"):  # bounds may be infinite; then nothing is reached
            middle = at_center if values == "center" else low + (high - low) / 2
            reached = np.linalg.norm(np.maximum(high - middle, middle - low), axis=1)
        better = reached < bounds
        chosen[better], bounds[better] = middle[better], reached[better]
    rest = bounds > max(problem.eps, claimed)
    chosen[rest], bounds[rest] = at_center[rest], claimed
    return chosen, bounds


def _enclosures(
    problem: Problem, radius: float, values: str
) -> Iterator[Callable[[Problem, Array, float], tuple[Array, Array]]]:
    given, followed, many = problem.target.enclosure, problem.enclosure, problem.target.dim_in >= _MANY_DIMS
    if given is not None:
        yield functools.partial(_on_box, given)
    pattern = fill(problem.target.dim_in)
    if pattern is not None and not problem.variation(pattern[1] * radius) < problem.eps:
        pattern = None
    if pattern is not None and not problem.doubtful:
        yield functools.partial(_on_samples, pattern)
    if followed is not None and (given is None or many):
        yield functools.partial(_on_ball, followed, values)
    if given is not None:
        yield functools.partial(_on_small_boxes, given, values)
    elif followed is not None and not many:
        yield functools.partial(_on_small_boxes, followed.range, values)
    if pattern is not None and problem.doubtful:
        yield functools.partial(_on_samples, pattern)


def _on_ball(enclosure: Enclosure, values: str, problem: Problem, centers: Array, radius: float) -> tuple[Array, Array]:
    low, high = np.full((2, len(centers), problem.target.dim_out), np.inf)
    low, hopeful = -low, _may_fit(problem, centers, radius, values)
    within = problem.domain if problem.domain.compact else None
    radii = np.full(int(hopeful.sum()), radius)
    low[hopeful], high[hopeful] = enclosure.range_on_balls(centers[hopeful], radii, within)
    return low, high


def _on_box(enclose: Enclose, problem: Problem, centers: Array, radius: float) -> tuple[Array, Array]:
    return enclose(*problem.clip(centers - radius, centers + radius))


def _on_small_boxes(
    enclose: Enclose, values: str, problem: Problem, centers: Array, radius: float
) -> tuple[Array, Array]:
    (k, n), m = centers.shape, problem.target.dim_out
    low, high = np.full((k, m), -np.inf), np.full((k, m), np.inf)
    boxes = small_boxes(n)
    if boxes is None:
        return low, high
    hopeful = _may_fit(problem, centers, radius, values)
    if not hopeful.any():
        return low, high
    centers = centers[hopeful]
    lower = (centers[:, None] + radius * boxes[0]).reshape(-1, n)
    upper = (centers[:, None] + radius * boxes[1]).reshape(-1, n)
    used = meets(problem.domain, lower, upper)
    least, most = np.full((len(lower), m), np.inf), np.full((len(lower), m), -np.inf)
    least[used], most[used] = enclose(*problem.clip(lower[used], upper[used]))
    shape = (len(centers), -1, m)
    low[hopeful], high[hopeful] = least.reshape(shape).min(axis=1), most.reshape(shape).max(axis=1)
    return low, high


def _may_fit(problem: Problem, centers: Array, radius: float, values: str) -> NDArray[np.bool_]:
    """(k,) False where a few values of f already show that the cell cannot be certified."""
    points = problem.domain.project(centers[:, None] + radius * probe(centers.shape[1]))
    seen = problem.target(points)
    if values == "center":
        middle = problem.target(problem.domain.project(centers))[:, None]
    else:
        middle = (seen.min(axis=1, keepdims=True) + seen.max(axis=1, keepdims=True)) / 2
    # No component of f may stray from the value by more than eps; the middle of all is best for each of them.
    return np.all(np.abs(seen - middle) <= problem.eps, axis=(1, 2))


def _on_samples(pattern: tuple[Array, float], problem: Problem, centers: Array, radius: float) -> tuple[Array, Array]:
    unit, distance = pattern
    sampled = problem.target(problem.domain.project(centers[:, None] + radius * unit))
    change = problem.variation(distance * radius)
    return sampled.min(axis=1) - change, sampled.max(axis=1) + change


@functools.cache
def fill(dim: int) -> tuple[Array, float] | None:
    """Points (s, dim) of the unit ball and their fill distance: every point of the ball is within it of one of them.

    A_n* with the smallest of a few covering radii that needs no more than 128 points; those outside the ball are
    moved to its boundary. None in dimensions (from 4 on) where the points would be too many to help.

    >>> [(len(fill(n)[0]), fill(n)[1]) for n in (1, 2, 3)]
    [(17, 0.0625), (97, 0.125), (113, 0.3333333333333333)]
    """
    ball = Ball(np.zeros(dim), 1.0)
    for distance in (1 / 16, 1 / 8, 1 / 6, 1 / 4, 1 / 3, 1 / 2):
        lattice = Lattice(dim, distance)
        if lattice.predicted_count(ball) <= _SAMPLES:
            return ball.project(lattice.points(ball)), distance
    return None


@functools.cache
def probe(dim: int) -> Array:
    """A few points (s, dim) all over the unit ball; only its axes' ends where that would be too many."""
    if Lattice(dim, 0.5).predicted_count(Ball(np.zeros(dim), 1.0)) > _SAMPLES:
        return np.concatenate([np.eye(dim), -np.eye(dim)])
    ball = Ball(np.zeros(dim), 1.0)
    return ball.project(Lattice(dim, 0.5).points(ball))


@functools.cache
def small_boxes(dim: int) -> tuple[Array, Array] | None:
    """Lower and upper corners (s, dim) of at most 128 boxes that cover the unit ball; None where two per axis are
    too many."""
    per_axis = min(_PER_AXIS, int(_SAMPLES ** (1 / dim) + 1e-9))
    if per_axis < 2:
        return None
    edges = np.linspace(-1.0, 1.0, per_axis + 1)
    grid = np.stack(np.meshgrid(*[np.arange(per_axis)] * dim, indexing="ij"), axis=-1).reshape(-1, dim)
    lower, upper = edges[grid], edges[grid + 1]
    used = meets(Ball(np.zeros(dim), 1.0), lower, upper)
    return lower[used], upper[used]


def _refute(problem: Problem, points: Array, values: Array, low: Array, high: Array) -> None:
    """Raise ValueError where f(point) lies outside its own enclosure."""
    slack = 1e-9 * (1 + np.abs(values))
    wrong = ((values < low - slack) | (values > high + slack)).any(axis=1)
    if wrong.any():
        i = int(np.argmax(wrong))
        raise BrokenClaim(
            _checks.message(
                problem.call,
                f"f({points[i].tolist()}) = {values[i].tolist()} outside the bounds [{low[i].tolist()}, "
                f"{high[i].tolist()}] that target {problem.target.name!r} claims",
                "a Lipschitz constant, modulus and enclosure that hold",
                "Correct those fields of the target.",
            )
        )
