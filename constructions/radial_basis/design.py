"""From a kernel and a number of layers to centres, shapes and weights, judged at points that were not fitted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from constructions.radial_basis.centers import select
from constructions.radial_basis.features import Layers, sweep
from constructions.radial_basis.kernels import Kernel
from constructions.radial_basis.solve import least_squares

__all__ = ["Fit", "Problem", "best_shape", "choose", "fit"]

Array = NDArray[np.float64]
_RATIO = 1.3  # between neighbouring shapes that are tried
_REACHES = (0.95, 1.15, 1.4)
_PILOT = 300  # features with which shapes are compared


@dataclass(frozen=True, eq=False)
class Problem:
    """What is to be fitted, and where.

    points (k, n), values (k, m) : what the weights are fitted to; weights (k,) or None
    held, held_values : points that are not fitted, where designs are judged
    middle (n,), size : of the domain
    candidates : (count, reach) -> (count, n) places for centres
    digits : the rounding unit of the network's dtype
    noise : standard deviation of errors in the values
    affine : None, or the (matrix (m, n), offset (m,)) the output must have
    """

    points: Array
    values: Array
    held: Array
    held_values: Array
    middle: Array
    size: float
    candidates: Callable[[int, float], Array]
    digits: float
    affine: tuple[Array, Array] | None = None

    @property
    def renormalise(self) -> bool:
        return self.affine is None


@dataclass(frozen=True, eq=False)
class Fit:
    """Layers with their weights (N, m), the output's affine map, and what is known of them.

    error : the largest |F - f| at the held-out points, features in exact arithmetic
    noise : what rounding in the network adds, estimated: digits x gain x |weights|
    condition, cancellation : of the fit; sum |a_i psi_i| over the size of the values
    """

    layers: Layers
    centers: Array
    shapes: Array
    weights: Array
    matrix: Array
    offset: Array
    error: float
    noise: float
    condition: float
    cancellation: float

    @property
    def score(self) -> float:
        return self.error + self.noise


def _affine_columns(problem: Problem, moved: Array) -> Array:
    """1 and the coordinates, of size one."""
    scaled = (moved - problem.middle) / problem.size
    return np.concatenate([scaled, np.ones((len(moved), 1))], axis=1)


def fit(problem: Problem, kernel: Kernel, centers: Array, shapes: Array) -> Fit:
    """Sweep the points through the layers and solve for the weights."""
    n, count = centers.shape[1], len(centers)
    layers = Layers.of(kernel, centers, kernel.slopes(shapes), renormalise=problem.renormalise)
    features, moved = sweep(layers, problem.points)
    held, held_moved = sweep(layers, problem.held)
    noise = problem.digits * kernel.gain
    if problem.affine is None:
        columns = np.concatenate([features, _affine_columns(problem, moved)], axis=1)
        solution = least_squares(columns, problem.values, noise)
        a = solution.coefficients[:count]
        matrix = solution.coefficients[count : count + n].T / problem.size
        offset = solution.coefficients[-1] - matrix @ problem.middle
    else:
        matrix, offset = problem.affine
        solution = least_squares(features, problem.values - moved @ matrix.T - offset, noise)
        a = solution.coefficients
    rest = held @ a + held_moved @ matrix.T + offset - problem.held_values
    parts = np.abs(held) @ np.linalg.norm(a, axis=1)
    size = max(float(np.abs(problem.values).max()), 1e-300)
    return Fit(
        layers,
        centers,
        shapes,
        a,
        matrix,
        offset,
        error=float(np.linalg.norm(rest, axis=1).max()),
        noise=2 * noise * float(np.linalg.norm(a)),
        condition=solution.condition,
        cancellation=float(parts.max()) / size,
    )


def best_shape(problem: Problem, kernel: Kernel, count: int) -> tuple[float, float]:
    """(shape, reach) with the least held-out error for evenly spread centres, by descent on a grid of ratio 1.3."""
    pilot = min(count, _PILOT)
    seen: dict[tuple[int, float], float] = {}

    def score(step: int, reach: float) -> float:
        if (step, reach) not in seen:
            shapes = np.full(pilot, _RATIO**step / problem.size)
            seen[step, reach] = fit(problem, kernel, problem.candidates(pilot, reach), shapes).score
        return seen[step, reach]

    best, reach = 0, _REACHES[1]
    while True:
        near = [(score(step, reach), step) for step in (best - 2, best - 1, best, best + 1, best + 2)]
        step = min(near)[1]
        if step == best or not -12 <= step <= 24:
            break
        best = step
    reach = min((score(step, r), r) for r in _REACHES for step in (best - 1, best, best + 1))[1]
    step = min((score(step, reach), step) for step in (best - 1, best, best + 1))[1]
    return _RATIO**step / problem.size, reach


def choose(problem: Problem, kernel: Kernel, count: int, shape: float, reach: float) -> tuple[Array, Array]:
    """Centres (N, n) and shapes (N,) by orthogonal least squares among three times as many candidates."""
    places = problem.candidates(3 * count, reach)
    rows = slice(0, max(3 * count, 64))
    points, values = problem.points[rows], problem.values[rows]
    squares = np.square(points[:, None] - places[None]).sum(axis=2)
    columns = kernel.values(squares, kernel.slopes(np.full(len(places), shape)))
    chosen = select(columns, values, _affine_columns(problem, points), count).chosen
    return places[chosen], np.full(len(chosen), shape)
