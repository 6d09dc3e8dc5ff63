"""Where greedy cells are painted, on how fine a grid, and on which background."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog

from approx.affine import AffineMap
from approx.domains import Ball, Box
from constructions.covers._problem import Problem

__all__ = ["area_of", "backgrounds", "best_affine", "grounded", "nodes_of", "source_of"]

Array = NDArray[np.float64]
_AROUND = 1.15
_NODES = {1: 2000, 2: 400_000, 3: 125_000}  # at most
_STRIDES = 2.0  # steps of the grid, at least, in which f changes by eps where it is steep
_COARSE = 48
_RADIAL = 0.9  # the share of what is to be painted where f differs from a radial function by at most eps/2
_FEW = 2000  # samples that backgrounds are judged by
_GRID_DIMS = 3  # up to which they are a grid
_STEP = 1e-3  # of the width of the domain, over which slopes are seen
_LESS = 0.9  # of what the given map leaves to paint, another one leaves at most
_CLOSER = 0.5  # the largest error of a sloping map is at most this share of a constant's
_MOST, _MORE = 0.5, 0.1  # shares of the area: a sloping map that is not closer serves so much, more than a constant
_STEPS = 40  # of reweighted least squares
_APART = 0.25  # of eps, by which two constants must differ to be two


def area_of(problem: Problem) -> tuple[Box | Ball, bool]:
    """Where to paint, and whether no cell may reach beyond it."""
    box = problem.to_cover.bounding_box()
    if problem.reach == math.inf:  # then it is the domain
        return problem.to_cover, False
    middle, half = box.lower / 2 + box.upper / 2, _AROUND * box.widths / 2
    box = Box(middle - half, middle + half)
    if problem.domain.compact and not problem.domain.contains(np.stack([box.lower, box.upper])).all():
        return problem.domain, False
    return box, True


def nodes_of(problem: Problem, area: Box | Ball, strides: float = _STRIDES) -> NDArray[np.int64]:
    """Nodes per axis: enough of them to see f change by a share of eps, within limits."""
    box = area.bounding_box()
    n = box.dim
    count = int(min(_COARSE, _NODES[n] ** (1 / n)))
    points = area.project(box.grid(count))
    values = problem.target(points).reshape((count,) * n + (-1,))
    steps = [np.linalg.norm(np.diff(values, axis=axis), axis=-1).ravel() for axis in range(n)]
    steep = max(float(np.quantile(step, 0.98)) / (w / (count - 1)) for step, w in zip(steps, box.widths, strict=True))
    spacing = problem.eps / strides / max(steep, 1e-300)
    spacing = 0.0 if n == 1 else min(spacing, float(box.widths.max()) / (count - 1))
    spacing = max(spacing, float((box.volume / _NODES[n]) ** (1 / n)))
    return np.maximum(np.ceil(box.widths / spacing), 3).astype(np.int64) + 1


def source_of(problem: Problem, area: Box | Ball) -> Array | None:
    """A point about which f is nearly constant on spheres, so that cells nest around it; None if there is none among
    the middle of the area and the places of the extremes."""
    box = area.bounding_box()
    points = area.project(box.grid(_COARSE))
    values = problem.target(points)
    matters = np.linalg.norm(values - problem.affine(points), axis=1) > problem.eps
    if values.shape[1] > 1 or box.dim == 1 or not matters.any():
        return None
    values = values[:, 0]
    for center in (box.lower / 2 + box.upper / 2, points[values.argmax()], points[values.argmin()]):
        distance = np.linalg.norm(points - center, axis=1)
        shell = np.round(distance / distance.max() * _COARSE).astype(np.int64)
        count = np.maximum(np.bincount(shell), 1)
        # The profile goes through the means of the shells; what is left of f is not radial.
        profile = np.interp(distance, np.bincount(shell, distance) / count, np.bincount(shell, values) / count)
        if np.mean(np.abs(values - profile)[matters] <= problem.eps / 2) > _RADIAL:
            return center
    return None


def grounded(problem: Problem, *, even: bool) -> Problem:
    """The problem with the map of `best_affine`, where the builder has one that is free."""
    if not problem.everywhere or problem.reach < math.inf:
        return problem
    return replace(problem, affine=best_affine(problem, even=even)[0])


def best_affine(problem: Problem, *, even: bool) -> tuple[AffineMap, float]:
    """The affine map that leaves the fewest small cells, and about which share of those for the region it leaves.

    Judged at samples by values and slopes: a map serves a point if f, within the radius of a cell there, stays within
    eps of it. It is the map of the problem unless one of `backgrounds` is clearly better and the map is free.
    even : cells are of one size, as the largest slope allows; else the slope at a point allows its cells
    """
    region, n = problem.to_cover, problem.target.dim_in
    points, values = _seen(problem, region)
    slopes = _slopes(problem, points, values)
    steep = np.linalg.norm(slopes, axis=(1, 2))
    inverse = (np.full(len(points), steep.max()) if even else steep) / problem.eps + 1 / region.diameter

    def left(affine: AffineMap) -> float:
        change = np.linalg.norm(slopes - affine.matrix, axis=(1, 2)) / inverse
        rest = np.linalg.norm(values - affine(points), axis=1) + change > problem.eps
        return float((inverse[rest] ** n).sum() / (inverse**n).sum())

    best, share = problem.affine, left(problem.affine)
    least = _LESS * share
    for affine in backgrounds(problem, region) if problem.reach == math.inf else ():
        if left(affine) < least:
            best, share = affine, left(affine)
            least = share
    return best, share


def backgrounds(problem: Problem, area: Box | Ball) -> Iterator[AffineMap]:
    """Maps that may leave little to paint: the constants in the middle of the values, at their quartiles, and the one
    that serves most of the area; where the builder has an affine map, the one with the least largest error at samples
    as well, if that is much smaller: cells show constants, so a slope pays only where it serves most of the area."""
    n = problem.target.dim_in
    points, values = _seen(problem, area)
    gaps = np.linalg.norm(values[:, None] - values[None], axis=2) if values.shape[1] > 1 else None
    if gaps is None:
        order = np.sort(values[:, 0])
        low, high = (np.searchsorted(order, order + side * problem.eps, "right") for side in (-1, 1))
        served = order[:, None][np.flatnonzero(high - low == (high - low).max())]
    else:
        count = (gaps <= problem.eps).sum(axis=1)
        served = values[count == count.max()]
    tried: list[Array] = []
    middle, quartiles = (values.min(axis=0) + values.max(axis=0)) / 2, np.quantile(values, [0.5, 0.25, 0.75], axis=0)
    common = served[len(served) // 2]
    for value in (middle, *quartiles, common):
        if all(np.linalg.norm(value - other) > _APART * problem.eps for other in tried):
            tried.append(value)
            yield AffineMap.constant(value, n)
    if problem.everywhere:
        slanted = _chebyshev(points, values)
        off, half = (np.linalg.norm(values - y, axis=1).max() for y in (slanted(points), tried[0]))
        if off <= _CLOSER * half:
            yield slanted
        slanted, flat = _median(points, values, problem.eps), AffineMap.constant(common, n)
        share, constant = (_served(affine, points, values, problem.eps) for affine in (slanted, flat))
        if share >= max(_MOST, constant + _MORE):
            yield slanted


def _seen(problem: Problem, area: Box | Ball) -> tuple[Array, Array]:
    """Some points (k, n) all over the area, and the values (k, m) of f there."""
    n = problem.target.dim_in
    few = n <= _GRID_DIMS
    points = area.project(area.bounding_box().grid(int(_FEW ** (1 / n)))) if few else area.sample(_FEW)
    return points, problem.target(points)


def _slopes(problem: Problem, points: Array, values: Array) -> Array:
    """(k, m, n) differences of f along the axes, towards the middle of the region."""
    box = problem.to_cover.bounding_box()
    slopes = np.empty((*values.shape, box.dim))
    for axis in range(box.dim):
        step = np.zeros(box.dim)
        step[axis] = _STEP * box.widths[axis]
        moved = problem.to_cover.project(points + np.where(points > box.lower / 2 + box.upper / 2, -step, step))
        slopes[:, :, axis] = (problem.target(moved) - values) / (moved - points)[:, axis, None]
    return slopes


def _served(affine: AffineMap, points: Array, values: Array, eps: float) -> float:
    """The share of the points where the map is within eps of the values."""
    return float(np.mean(np.linalg.norm(values - affine(points), axis=1) <= eps))


def _median(points: Array, values: Array, eps: float) -> AffineMap:
    """An affine map with about the least mean distance from the values at the points, by reweighted least squares."""
    middle, half = points.mean(axis=0), np.ptp(points, axis=0) / 2
    rows = np.column_stack([(points - middle) / half, np.ones(len(points))])
    weight = np.ones(len(points))
    for _ in range(_STEPS):
        root = np.sqrt(weight)[:, None]
        solved = np.linalg.lstsq(root * rows, root * values, rcond=None)[0]
        weight = 1 / np.maximum(np.linalg.norm(values - rows @ solved, axis=1), 1e-3 * eps)
    slopes = solved[:-1].T / half
    return AffineMap(slopes, solved[-1] - slopes @ middle)


def _chebyshev(points: Array, values: Array) -> AffineMap:
    """For every component the affine map with the least largest error at the points, by linear programming."""
    k, n = points.shape
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    half = (points.max(axis=0) - points.min(axis=0)) / 2
    rows = np.column_stack([(points - middle) / half, np.ones(k)])
    bounds = np.block([[rows, -np.ones((k, 1))], [-rows, -np.ones((k, 1))]])
    cost = np.append(np.zeros(n + 1), 1.0)
    maps = []
    for y in values.T:
        solved = linprog(cost, A_ub=bounds, b_ub=np.concatenate([y, -y]), bounds=(None, None), method="highs")
        flat = np.append(np.zeros(n), [(y.min() + y.max()) / 2, 0.0])
        maps.append(flat if solved.x is None else solved.x)
    slopes = np.array(maps)[:, :n] / half
    return AffineMap(slopes, np.array(maps)[:, n] - slopes @ middle)
