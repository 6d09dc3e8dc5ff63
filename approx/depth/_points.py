"""Points where a target is hard for a network with few layers: extremes, and straight lines between them.

Points of a line are computed without rounding, so that an affine map is exactly affine along them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from approx.certification import EnclosureUnavailable, enclosure_of
from approx.certification.enclosures import EVALUATION_ERROR
from approx.domains import Ball, Box
from approx.evaluation._sampling import landmarks
from approx.evaluation._search import climb
from approx.targets import Target

__all__ = ["Segment", "Values", "candidates", "extremes"]

Array = NDArray[np.float64]
_BITS = 34  # of the ends of a segment, relative to the region; with 15 of its points they fit into 53
_FINEST = 14
_SAMPLES = 1024
_CLIMBERS = 4
_LARGEST_ERROR = 1e-9  # of the values' size: points where f is known less well are left out


@dataclass(frozen=True, eq=False)
class Values:
    """f at points, with a bound of the error. basis : what that rests on."""

    target: Target
    bounds: Callable[[Array], tuple[Array, Array]] | None
    basis: str

    @classmethod
    def of(cls, target: Target) -> Values:
        try:
            enclosure = enclosure_of(target)
        except EnclosureUnavailable:
            enclosure = None
        if enclosure is None or enclosure.conditional:
            return cls(target, None, f"float64 values of f to {EVALUATION_ERROR:g} max(1, |f|)")
        return cls(target, lambda x: enclosure.range(x, x), f"values of f by {enclosure.basis}")

    def __call__(self, points: Array) -> tuple[NDArray[np.bool_], Array, float]:
        """points (k, n) -> (k,) where f is known well, f there (j, m), and a bound of |error| over them."""
        values = self.target(points)
        if self.bounds is None:
            size = max(1.0, float(np.abs(values).max(initial=0.0)))
            return np.ones(len(points), dtype=bool), values, EVALUATION_ERROR * math.sqrt(values.shape[1]) * size
        low, high = self.bounds(points)
        error = np.linalg.norm(np.maximum(high - values, values - low), axis=1)  # of the values returned
        known = error <= _LARGEST_ERROR * max(1.0, float(np.abs(values).max(initial=0.0)))
        return known, values[known], float(error[known].max(initial=0.0))


@dataclass(frozen=True, eq=False)
class Segment:
    """The segment from start to end, (n,) each, with few binary digits."""

    start: Array
    end: Array

    @classmethod
    def within(cls, region: Box | Ball, start: Array, end: Array) -> Segment | None:
        """Nearly from start to end inside the region; None if too little is left."""
        box = region.bounding_box()
        unit = 2.0 ** (math.frexp(float(max(np.abs(box.lower).max(), np.abs(box.upper).max())))[1] - _BITS)
        middle = (box.lower + box.upper) / 2
        ends = []
        for point in (start, end):
            for inward in (0.0, 2.0**-32, 2.0**-24, 2.0**-8):
                near = point + inward * (middle - point)
                rounded = np.where(near > middle, np.floor(near / unit), np.ceil(near / unit)) * unit
                if region.contains(rounded):
                    ends.append(rounded)
                    break
        if len(ends) < 2 or np.linalg.norm(ends[1] - ends[0]) < 64 * unit:
            return None
        return cls(*ends)

    def points(self, pieces: int) -> tuple[Array, Array]:
        """(pieces + 1, n) points, exactly on the segment, and (pieces + 1,) where they lie on it, from -1 to 1.

        pieces : a power of 2, at most 2^14
        """
        steps = np.arange(pieces + 1) / pieces
        return self.start + steps[:, None] * (self.end - self.start), 2 * steps - 1

    def resolved(self, target: Target, resolution: float, most: int) -> tuple[Array, Array]:
        """Of the 2^14 + 1 points those between which f changes by some `resolution`; at most some `most` of them."""
        points, places = self.points(1 << _FINEST)
        values = target(points)
        path = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(values, axis=0), axis=1))])
        steps = path / max(resolution, 2 * path[-1] / most, 1e-300) + np.arange(len(path)) * (most / 2 / len(path))
        chosen = np.flatnonzero(np.diff(np.floor(steps), prepend=-1.0, append=np.inf)[:-1] > 0)
        chosen = np.append(chosen, len(path) - 1)
        return points[chosen], places[chosen]


def extremes(height: Callable[[Array], Array], region: Box | Ball, starts: Array) -> Array:
    """The point (n,) of the region where height, (k, n) -> (k,), is largest among those found from starts (k, n)."""
    first = starts[np.argsort(-height(starts), kind="stable")[:_CLIMBERS]]
    steps = np.full(len(first), region.diameter / 16)
    top = climb(height, region, first, steps)
    return top[height(top).argmax()]


def spread(region: Box | Ball) -> Array:
    """Points everywhere in the region, its corners and centre among them."""
    special = np.concatenate(list(landmarks(region, None, 0, _SAMPLES, 0)))[:_SAMPLES]
    return region.project(np.concatenate([special, region.sample(_SAMPLES)]))


def steepest(function: Callable[[Array], Array], region: Box | Ball, points: Array) -> tuple[Array, Array]:
    """The point of (k, n) with the largest gradient, by differences, and that gradient: (n,) each."""
    step = 1e-5 * region.diameter
    gradients = np.empty_like(points)
    for j in range(region.dim):
        shift = step * np.eye(region.dim)[j]
        ahead, back = region.project(points + shift), region.project(points - shift)
        run = (ahead - back)[:, j]
        gradients[:, j] = (function(ahead) - function(back)) / np.where(run > 0, run, np.inf)
    i = int(np.linalg.norm(gradients, axis=1).argmax())
    return points[i], gradients[i]


def candidates(function: Callable[[Array], Array], region: Box | Ball) -> tuple[list[Segment], list[Array]]:
    """Segments along which a scalar function, (k, n) -> (k,), may vary most, and directions (n,) of its change."""
    n = region.dim
    starts = spread(region)
    top = extremes(function, region, starts)
    bottom = extremes(lambda x: -function(x), region, starts)
    center = (region.bounding_box().lower + region.bounding_box().upper) / 2
    if n == 1:
        ends = [(region.bounding_box().lower, region.bounding_box().upper)]
        directions = [np.ones(1)]
    else:
        place, gradient = steepest(function, region, starts)
        directions = [d / np.linalg.norm(d) for d in (gradient, top - bottom) if np.linalg.norm(d) > 0]
        signs = np.where(gradient >= 0, 1.0, -1.0)
        axes = list(np.eye(n)[: 2 * max(2, 12 // n)])
        lines = [(top, d) for d in [*directions, signs, np.ones(n), *axes]]
        lines += [(bottom, d) for d in [*directions, *axes]]
        lines += [(center, d) for d in [*directions, signs, *axes]] + [(place, gradient)]
        ends = [(bottom, top)] + [_across(region, point, d) for point, d in lines if np.linalg.norm(d) > 0]
    segments = [Segment.within(region, *pair) for pair in ends]
    return [s for s in segments if s is not None], directions


def _across(region: Box | Ball, point: Array, direction: Array) -> tuple[Array, Array]:
    """Where the line through a point of the region leaves it."""
    if isinstance(region, Ball):
        offset = point - region.center
        a, b = direction @ direction, offset @ direction
        root = math.sqrt(max(0.0, float(b * b - a * (offset @ offset - region.radius**2))))
        return point + direction * (-b - root) / a, point + direction * (-b + root) / a
    with np.errstate(divide="ignore", invalid="ignore"):
        times = np.stack([(region.lower - point) / direction, (region.upper - point) / direction])
    times = times[:, direction != 0]
    low, high = times.min(axis=0).max(), times.max(axis=0).min()
    return region.project(point + low * direction), region.project(point + high * direction)
