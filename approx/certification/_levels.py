"""An upper bound of sup |F - f| where everything depends on one quantity: a search over numbers instead of points.

Let t(x) be quadratic or linear. If every cell {|A_i x - u_i| < rho_i} is, up to little, a set {t < s} or
{|t - d| < h}, if the affine map is, up to little, a function of t, and if f can be bounded on sets {low <= t <= high},
then |F - f| can be bounded on such sets too, and halving intervals of t is branch and bound in one dimension, whatever
that of x. Nested balls, concentric similar ellipsoids and parallel slabs are such cells; t is guessed from the first
of them. Nothing is assumed to be exact: |A_i x - u_i|^2 is split into a polynomial in t and a rest, whose bound on the
core widens the collar of the cell; so is the affine map, and f by `_quadratics`.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from approx.affine import AffineMap
from approx.certification._quadratics import Level, LevelForm
from approx.certification._question import Question
from approx.certification.branch import branch_and_bound
from approx.certification.cells import Cells
from approx.certification.enclosures import Enclosure, function_of
from approx.certification.intervals import IntervalError
from approx.domains import Ball, Box
from approx.targets import Target

__all__ = ["Levelled", "by_levels"]

Array = NDArray[np.float64]
_U = 2.0**-52
_MOST = 5000  # cells
_MOST_DIM = 16  # terms of degree 2 grow with n^2, and corners of boxes with 2^n
_LITTLE = 1e-3  # of rho_i^2: what a cell may differ from a function of t
_CHUNK = 256  # intervals of t at a time


@dataclass(frozen=True, eq=False)
class Levelled:
    """upper : a bound of |F - f| on the core; points (k, n) of the core where it may be large; intervals: how many"""

    upper: float
    points: Array
    intervals: int


def by_levels(
    question: Question, eps: float | None, tol: float | None, max_seconds: float, gap: float | None = None
) -> Levelled | None:
    """The bound for F = question.cells, values, affine on the first part of question.core; None where cells, affine map
    or target have no such structure. When to stop: see `branch_and_bound`."""
    cells, core = question.cells, question.core[0]
    if not 0 < len(cells) <= _MOST or not 1 < cells.dim_in <= _MOST_DIM:
        return None
    for level in _guesses(cells, core):
        span = _span(level, core)
        with np.errstate(all="ignore"):
            reduced = _reduced_cells(cells, level)
            line = _reduced_affine(question.affine, level)
        if reduced is None or line is None or not np.isfinite(span).all():
            continue
        try:
            oracle = _Oracle(question.enclosure, level, span)
        except TypeError:  # fn cannot be followed
            return None
        affine, off = line
        errors = np.full(len(cells) + 1, question.error)
        errors[-1] = (errors[-1] + off) * (1 + 8 * _U)
        box = Box([span[0]], [span[1]])
        search = functools.partial(branch_and_bound, eps=eps, tol=tol, gap=gap, max_seconds=max_seconds)
        bracket = search(reduced, question.values, affine, oracle, box, value_error=errors)
        return Levelled(bracket.upper, _points(level, core, reduced, bracket.argmax), bracket.boxes)
    return None


def _guesses(cells: Cells, core: Box | Ball) -> list[Level]:
    """Quantities t that the first cell may be a function of."""
    n = cells.dim_in
    box = core.bounding_box()

    def level(center: Array, **kind: Array) -> Level:
        reach = np.maximum(np.abs(box.lower - center), np.abs(box.upper - center))
        return Level(center, reach * (1 + 4 * _U) + np.abs(center) * (4 * _U), **kind)

    if cells.matrices is None:
        return [level(cells.offsets[0], gram=np.eye(n))]
    matrix = cells.matrices[0]
    gram = matrix.T @ matrix
    gram = (gram + gram.T) / (2 * np.abs(gram).max())
    center = np.linalg.lstsq(matrix, cells.offsets[0], rcond=None)[0]
    row = matrix[np.linalg.norm(matrix, axis=1).argmax()]
    middle = box.lower / 2 + box.upper / 2
    return [level(center, gram=gram), level(middle, direction=row / np.abs(row).max())]


def _span(level: Level, core: Box | Ball) -> Array:
    """(2,) an interval that holds t on the core, rounded outward."""
    n, noise = level.dim, (level.dim**2 + 16) * _U
    if level.gram is None:
        size = float(np.abs(level.along) @ level.reach)
        if isinstance(core, Ball):
            middle = float(level.along @ (core.center - level.center))
            size_ball = abs(middle) + core.radius * float(np.linalg.norm(level.along))
            size = min(size, size_ball)
        return np.array([-size, size]) * (1 + noise)
    largest = float(np.linalg.norm(level.gram, 2)) * (1 + noise)
    if isinstance(core, Ball):
        most = largest * (float(np.linalg.norm(core.center - level.center)) + core.radius) ** 2
    elif not (level.gram - np.diag(np.diag(level.gram))).any():
        most = float(np.diag(level.gram) @ np.square(level.reach))
    else:  # convex, so largest at a corner
        corners = np.array(list(itertools.product(*zip(core.lower, core.upper, strict=True)))) - level.center
        most = float(np.einsum("ki,ij,kj->k", corners, level.gram, corners).max())
        most += float(level.reach @ np.abs(level.gram) @ level.reach) * noise
    return np.array([0.0, most * (1 + noise)]) + np.array([0.0, n * 1e-300])


def _reduced_cells(cells: Cells, level: Level) -> Cells | None:
    """The cells as intervals of t; None if they differ by more than a little from functions of t."""
    n, count = level.dim, len(cells)
    matrices = np.broadcast_to(np.eye(n), (count, n, n)) if cells.matrices is None else cells.matrices
    shift = np.einsum("kij,j->ki", matrices, level.center) - cells.offsets  # A (c + y) - u = A y + shift
    size = np.einsum("kij,j->ki", np.abs(matrices), np.abs(level.center)) + np.abs(cells.offsets)
    doubt = (n + 4) * _U * size  # of shift
    square = np.einsum("kij,kil->kjl", matrices, matrices)
    linear = 2 * np.einsum("kij,ki->kj", matrices, shift)
    constant = np.square(shift).sum(axis=1)
    spread = np.einsum("kij,j->ki", np.abs(matrices), level.reach)  # bounds |A y|, row by row
    whole = np.square(spread + np.abs(shift) + doubt).sum(axis=1)
    noise = (4 * n + 32) * _U * whole + (2 * doubt * (spread + np.abs(shift) + doubt)).sum(axis=1)
    if level.gram is not None:
        pattern = level.gram
        slope = np.einsum("kij,ij->k", square, pattern) / np.square(pattern).sum()
        rest_linear, middle = linear, np.zeros(count)
    else:
        w = level.along
        weight = float(w @ w)
        pattern = np.outer(w, w)
        slope = np.einsum("kij,ij->k", square, pattern) / weight**2
        tilt = linear @ w / weight
        rest_linear, middle = linear - tilt[:, None] * w, -tilt / (2 * slope)
        noise += 64 * _U * (np.abs(constant) + tilt * tilt / (4 * np.abs(slope)))
        constant = constant - tilt * tilt / (4 * slope)
    left = square - slope[:, None, None] * pattern
    rest = np.einsum("kij,i,j->k", np.abs(left), level.reach, level.reach) + np.abs(rest_linear) @ level.reach
    rest = (rest + noise) * (1 + 1e-9)
    alive = cells.radii + cells.collars > 0
    radius2 = np.square(cells.radii)
    if not (slope > 0).all() or not (rest[alive] <= _LITTLE * radius2[alive]).all():
        return None
    inner = np.square(np.maximum(cells.radii - cells.collars, 0.0)) * (1 - 8 * _U) - constant - rest
    outer = np.square(np.maximum(cells.radii + cells.collars, 0.0)) * (1 + 8 * _U) - constant + rest
    inner, outer = np.maximum(inner / slope, 0.0), np.maximum(outer / slope, 0.0)
    inner, outer = np.where(alive, inner, 0.0), np.where(alive, outer, 0.0)
    if level.gram is None:
        inner, outer = np.sqrt(inner), np.sqrt(outer)
    inner, outer = inner * (1 - 16 * _U), outer * (1 + 16 * _U)
    radii, collars = (inner + outer) / 2, (outer - inner) / 2
    collars = collars * (1 + 4 * _U) + radii * (4 * _U) + np.abs(middle) * (16 * _U)
    return Cells(middle[:, None], np.where(alive, radii, -1.0), collars=np.where(alive, collars, 0.0))


def _reduced_affine(affine: AffineMap, level: Level) -> tuple[AffineMap, float] | None:
    """The affine map as one of t, and by how much (Euclidean norm) it may be off on the core."""
    if level.gram is not None:
        slope, left = np.zeros(affine.dim_out), affine.matrix
    else:
        w = level.along
        slope = affine.matrix @ w / float(w @ w)
        left = affine.matrix - np.outer(slope, w)
    size = np.abs(affine.matrix) @ (level.reach + np.abs(level.center)) + np.abs(affine.offset)
    off = np.abs(left) @ level.reach + (2 * level.dim + 16) * _U * size
    offset = affine.offset + affine.matrix @ level.center
    return AffineMap(slope[:, None], offset), float(np.linalg.norm(off)) * (1 + 1e-12)


@dataclass(frozen=True, eq=False)
class _Oracle:
    """Bounds of f on sets {low <= t <= high}; t is known to lie in `span`."""

    enclosure: Enclosure
    level: Level
    span: Array

    def __post_init__(self) -> None:
        if self.enclosure.conditional or not self.enclosure.followed:
            raise TypeError("f is known by claims only")
        self._bounds(self.span[:1], self.span[1:])

    @property
    def target(self) -> Target:
        return self.enclosure.target

    def range(self, lower: Array, upper: Array) -> tuple[Array, Array]:
        """lower, upper (k, 1) -> (low, high) (k, m)."""
        low, high = np.empty((2, len(lower), self.target.dim_out))
        for start in range(0, len(lower), _CHUNK):
            rows = slice(start, start + _CHUNK)
            try:
                low[rows], high[rows] = self._bounds(lower[rows, 0], upper[rows, 0])
            except IntervalError:  # f is undefined on one of the sets
                low[rows], high[rows] = -np.inf, np.inf
        return low, high

    def _bounds(self, low: Array, high: Array) -> tuple[Array, Array]:
        low, high = np.maximum(low, self.span[0]), np.minimum(high, self.span[1])
        found = function_of(self.target)(LevelForm.variables(self.level, low, high))
        if not isinstance(found, LevelForm):
            values = np.asarray(found, np.float64)
            return values, values
        bounds = found.bounds
        return bounds.lo, bounds.hi


def _points(level: Level, core: Box | Ball, cells: Cells, argmax: Array | None) -> Array:
    """Points of the core on both sides of the cells' ends, and where the search met its largest value."""
    radii, collars = cells.radii + 2 * cells.collars, 1e-9 * np.abs(cells.radii)
    ends = [cells.offsets[:, 0] + sign * (radii + step) for sign in (-1, 1) for step in (-2 * collars, 2 * collars)]
    t = np.concatenate([*ends, np.empty(0) if argmax is None else argmax])
    if level.gram is None:
        direction = level.along / float(level.along @ level.along)
        return core.project(level.center + t[:, None] * direction)
    corner = (
        core.center
        if isinstance(core, Ball)
        else np.where(level.center < (core.lower + core.upper) / 2, core.upper, core.lower)
    )
    away = corner - level.center
    away = away if away.any() else np.eye(level.dim)[0]
    length = float(np.sqrt(away @ level.gram @ away))
    return core.project(level.center + np.sqrt(np.maximum(t, 0.0))[:, None] * away / length)
