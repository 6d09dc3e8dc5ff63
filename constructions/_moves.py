"""Moves that bring finitely many points, one after another, to places from which their values can be read.

A Step-ReLU layer of width D >= 2 can do this: given a ball, every point strictly inside it jumps to its centre and
all other points stay. So a point p goes to q, and nothing else moves, when some ball about q holds p and no other
point. (arXiv 2107.02550 uses such moves for its narrowest networks; the plan below is ours.)

Plan. Choose a direction u. The highest remaining point p along u can be lifted to p + tau u in one move, for any tau:
the ball about p + tau u through p lies above all the others. Its goal lies below all points along u, in a region
clear of them. High above the goal the next obstacle is far away, so one move crosses over to it, and then every move
halves the height, until the goal is closer than any other goal. Points of equal value share a goal.

With m < D the goals form a grid on a hyperplane across u, so they can be reached in any order. With m = D there is no
free coordinate, and a goal can be reached from above only before higher goals are taken: so the points first go to
parking places on a line, in an order such that the second transport takes them to their goals from the lowest up.

Moves per point: about 4 + log2(2 K) with K the number of grid steps across the goals; for m = D twice that, with K the
number of distinct values the first time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from approx import _checks
from approx._compile import compiled

__all__ = ["Routing", "route"]

Array = NDArray[np.float64]
_REACH = 0.95  # a move uses at most this share of the clearance around its centre
_MARGIN = 1e-11  # of the largest coordinate: below this, rounding could decide a move
_TILT = 0.1


@dataclass(frozen=True, eq=False)
class Routing:
    """Moves (centers (M, D), radii (M,)) in order; afterwards the value of a point z is scale * z[:m] + shift."""

    centers: Array
    radii: Array
    scale: float
    shift: Array


def route(points: Array, values: NDArray[np.int64]) -> Routing:
    """Moves that bring every point to a place where its value can be read off.

    points (N, D), D >= 2, distinct unless their values agree; values (N, m) integers, m <= D.
    Raises ValueError for D = 1 (width-1 networks are monotone), NaN or infinity, equal points of different values,
    or points so close that rounding would decide a move.
    """
    call = "route"
    points = _checks.finite_array(call, "points", points, (None, None))
    values = np.asarray(values)
    dim, m = points.shape[1], values.shape[1]
    if dim < 2 or m > dim:
        raise ValueError(
            _checks.message(
                call,
                f"points of R^{dim} and values of R^{m}",
                "D >= 2 and m <= D; layers of width 1 map the line monotonically and cannot reorder points",
                "Use the construction of width max(n, m) + 1.",
            )
        )
    points, kept, place = np.unique(points, axis=0, return_index=True, return_inverse=True)
    clash = np.flatnonzero((values != values[kept][place.ravel()]).any(axis=1))
    if len(clash):
        raise ValueError(
            _checks.message(
                call,
                f"several values at the point {points[place.ravel()[clash[0]]]}",
                "one value per point",
                "Remove the duplicate.",
            )
        )
    values = values[kept]
    distinct, goal = np.unique(values, axis=0, return_inverse=True)
    goal = goal.ravel()
    if len(distinct) <= 1:
        shift = distinct[0].astype(float) if len(distinct) else np.zeros(m)
        return Routing(np.empty((0, dim)), np.empty(0), 0.0, shift)
    u = _direction(points)
    if m < dim:
        places, spacing = _grid_across(points, distinct, u)
        centers, radii = _transport(points, goal, places, spacing, u, u)
    else:
        # First placed, first parked nearest: the goals are taken from the lowest up.
        rank = np.empty(len(distinct), np.int64)
        rank[np.argsort(distinct @ u, kind="stable")] = np.arange(len(distinct))
        parks, spacing, up = _parking_line(points, len(distinct), u)
        first = _transport(points, rank[goal], parks, spacing, u, up)
        places, spacing = _grid_below(parks, distinct, u)
        second = _transport(parks[rank], np.arange(len(distinct)), places, spacing, u, u)
        centers, radii = (np.concatenate(pair) for pair in zip(first, second, strict=True))
    return Routing(centers, radii, 1 / spacing, distinct[0] - places[0, :m] / spacing)


def _direction(points: Array) -> Array:
    """A direction, near the last axis, along which points are well apart in height or else far apart sideways."""
    dim = points.shape[1]
    radius = max(float(np.linalg.norm(points - points.mean(axis=0), axis=1).max()), 1e-300)
    rng = np.random.default_rng(0)
    best, chosen = -1.0, np.eye(dim)[-1]
    for _ in range(32):
        u = np.append(rng.uniform(-0.5, 0.5, dim - 1), 1.0)
        u /= np.linalg.norm(u)
        height = points @ u
        order = np.argsort(height)
        gap = np.diff(height[order])
        aside = np.linalg.norm(np.diff(points[order], axis=0), axis=1)
        room = float((gap + aside**2 / (20 * radius)).min(initial=np.inf))
        if room > best:
            best, chosen = room, u
    return chosen


def _cloud(points: Array) -> tuple[Array, float]:
    """A ball that holds the points: centre and radius."""
    center = (points.min(axis=0) + points.max(axis=0)) / 2
    return center, max(float(np.linalg.norm(points - center, axis=1).max()), 1e-300)


def _grid_across(points: Array, values: NDArray, u: Array) -> tuple[Array, float]:
    """Goals for m < D: z[:m] = base + spacing * value, on a hyperplane across u below all points."""
    center, radius = _cloud(points)
    m = values.shape[1]
    steps = values - values.min(axis=0)
    spacing = 4 * radius * min(1.0, 256 / float(steps.max()))
    lateral = spacing * steps - np.append(0.0, spacing * steps[:, 1:].max(axis=0, initial=0) / 2)
    lateral[:, 0] += 3 * radius
    foot = center - (center @ u - (points @ u).min() + radius / 20) * u
    places = np.repeat(foot[None], len(values), axis=0)
    places[:, :m] += lateral
    places[:, -1] -= lateral @ u[:m] / u[-1]  # back onto the hyperplane
    return places, spacing


def _across(u: Array) -> Array:
    """A unit vector perpendicular to u."""
    axis = np.zeros_like(u)
    axis[np.argmin(np.abs(u))] = 1.0
    axis -= (axis @ u) * u
    return axis / np.linalg.norm(axis)


def _parking_line(points: Array, count: int, u: Array) -> tuple[Array, float, Array]:
    """`count` places on a line below all points that falls away from them, their spacing, and the line's normal."""
    center, radius = _cloud(points)
    side = _across(u)
    along = np.cos(_TILT) * side - np.sin(_TILT) * u
    spacing = 4 * radius / count
    start = center - (center @ u - (points @ u).min() + radius / 20) * u + 3 * radius * along
    return start + spacing * np.arange(count)[:, None] * along, spacing, np.cos(_TILT) * u + np.sin(_TILT) * side


def _grid_below(parks: Array, values: NDArray, u: Array) -> tuple[Array, float]:
    """Goals for m = D: z = base + spacing * value, below the parking line and beside it."""
    center, radius = _cloud(parks)
    steps = values - values.min(axis=0)
    size = float(np.linalg.norm(steps.max(axis=0)))
    spacing = 4 * radius / size
    middle = steps.max(axis=0) / 2
    side = parks[-1] - parks[0]
    side -= (side @ u) * u
    side /= np.linalg.norm(side)
    # The cluster has radius 2 * radius: it ends up beyond the line's end, with its top below the line's lowest place.
    base = center + 5 * radius * side - (center @ u - (parks @ u).min() + 2.1 * radius) * u
    return base + spacing * (steps - middle), spacing


def _transport(
    points: Array, goal: NDArray[np.int64], places: Array, spacing: float, u: Array, up: Array
) -> tuple[Array, Array]:
    """Moves that take points[i] to places[goal[i]], from the highest point along u to the lowest.

    Needs: places at mutual distance >= spacing, all lower along u than every point; and whenever a point is brought
    to a place, the places taken before lie nowhere above it along `up`.
    """
    order = np.argsort(-(points @ u), kind="stable")
    points, goal = points[order], goal[order]
    center, radius = _cloud(points)

    def from_cloud(q: Array) -> Array:
        return np.linalg.norm(q - center, axis=1) - radius

    # Waypoints above each place, from the lowest up, and their distances to the nearest obstacle.
    above, gaps = [places], [np.minimum(spacing, from_cloud(places))]
    active = np.ones(len(places), bool)
    counts = np.ones(len(places), np.int64)
    while active.any():
        q = above[-1] + _REACH * gaps[-1][:, None] * up
        clear = np.minimum((q - places) @ up, from_cloud(q))
        above.append(q)
        gaps.append(clear)
        counts[active] += 1
        over = (q - center) @ u
        aside = np.linalg.norm(q - center - over[:, None] * u, axis=1) + radius
        active &= (aside > _REACH * clear) | (over < 2 * radius)
    stops, clears = np.stack(above), np.stack(gaps)

    moves = counts[goal] + 1  # the lift, then every stop from the highest down
    owner = np.repeat(np.arange(len(points)), moves)
    step = np.arange(len(owner)) - np.repeat(np.cumsum(moves) - moves, moves)
    level = counts[goal][owner] - step
    lift = step == 0
    top = stops[counts[goal] - 1, goal]
    lifted = points + ((top - points) @ u)[:, None] * u
    centers = stops[np.where(lift, 0, level), goal[owner]]
    centers[lift] = lifted
    start = np.empty_like(centers)  # where the point stands before the move
    start[lift] = points
    start[1:][~lift[1:]] = centers[:-1][~lift[1:]]
    length = np.linalg.norm(centers - start, axis=1)
    clear = clears[np.where(lift, 0, level), goal[owner]]
    clear[lift] = _clear_of_lower(points, lifted, (places @ u).max(), u)
    margin = (clear - length) / np.abs(centers).max()
    worst = int(np.argmin(margin))
    if margin[worst] < _MARGIN:
        raise ValueError(
            _checks.message(
                "route",
                f"points as close as those about {points[owner[worst]]}",
                "points further apart than rounding can blur",
                "Use larger cells, or the construction of width max(n, m) + 1.",
            )
        )
    return centers, (length + clear) / 2


def _clear_of_lower(points: Array, lifted: Array, floor: float, u: Array) -> Array:
    """(N,) distance from lifted[i] to the nearest of the points after i, and of anything below `floor`."""
    height = points @ u
    clear = np.empty(len(points))
    _nearest_lower(points, lifted, height, clear)
    return np.minimum(clear, lifted @ u - floor)


@compiled
def _nearest_lower(points, lifted, height, clear):  # pragma: no cover - compiled
    for i in range(points.shape[0]):
        top, best = -np.inf, np.inf  # top: the height of the point itself, and its distance
        for j in range(i, points.shape[0]):
            if top - height[j] >= best:
                break  # all further points are lower still
            square = 0.0
            for a in range(points.shape[1]):
                gap = lifted[i, a] - points[j, a]
                square += gap * gap
            distance = np.sqrt(square)
            if j == i:
                top = distance + height[i]
            elif distance < best:
                best = distance
        clear[i] = best
