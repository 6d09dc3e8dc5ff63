"""From a kernel and a number of layers to centres, shapes and weights, judged at points that were not fitted."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from approx.activations import RadialActivation
from constructions.radial_basis.centers import select
from constructions.radial_basis.features import Layers, sweep
from constructions.radial_basis.kernels import Kernel, kernel
from constructions.radial_basis.solve import towards_minimax

__all__ = ["LEAST_GAIN", "Fit", "Plan", "Problem", "choose", "design", "fit", "plan", "solve", "system"]

Array = NDArray[np.float64]
_RATIO = 1.3  # between neighbouring shapes that are tried
_COARSE = -6, 22, 3  # powers of it to begin with, in units of the domain's size
LEAST_GAIN = 30.0
_THIN = 4  # one in so many points held out, when plans are compared
_PILOT = 400  # features with which plans are compared
_MANY = 800  # above so many, one greedy choice instead of several
_ROUNDS = 3  # of Lawson's iteration


@dataclass(frozen=True, eq=False)
class Problem:
    """What is to be fitted, and where.

    points (k, n), values (k, m) : what the weights are fitted to
    held, held_values : points that are not fitted, where designs are judged
    middle (n,), size : of the domain
    candidates : (count, reach) -> (count, n) places for centres
    digits : the rounding unit of the network's dtype
    affine : None, or the (matrix (m, n), offset (m,)) the output must have: the claim is then about R^n
    ridge : least size of the regularisation, for values with errors
    mean : designs are judged by the root mean square at the held-out points instead of the largest difference
    reaches, spans : to try: how far centres go, and gain / layers
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
    ridge: float = 0.0
    mean: bool = False
    reaches: tuple[float, ...] = (0.95, 1.15, 1.4)
    spans: tuple[float, ...] = (1.0, 2.0, 4.0)

    @property
    def sloped(self) -> bool:
        """On R^n, whether the values have a slope at infinity."""
        return self.affine is not None and bool(self.affine[0].any())


@dataclass(frozen=True, eq=False)
class Fit:
    """Layers with their weights (N, m), the output's affine map, and what is known of them.

    error : the largest |F - f| at the held-out points (or their root mean square), in exact arithmetic
    noise : what rounding in the network adds, estimated: 2 digits x gain x |weights|
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

    def __repr__(self) -> str:
        low, high = self.shapes.min(), self.shapes.max()
        return (
            f"Fit of {len(self.centers):,} kernels, R^{self.centers.shape[1]} -> R^{self.weights.shape[1]}\n"
            f"  kernel   {self.layers.kernel.name}, kappa from {low:.3g} to {high:.3g}\n"
            f"  error    {self.error:.3g} at points held out, and about {self.noise:.1g} from rounding\n"
            f"  digits   condition {self.condition:.1e}, cancellation {self.cancellation:.1e}"
        )


@dataclass(frozen=True)
class Plan:
    """shape : kappa; reach : centres lie in the domain enlarged by it; span : gain / layers; score : of the pilot"""

    shape: float
    reach: float
    span: float
    score: float = math.inf


def affine_columns(problem: Problem, moved: Array) -> Array:
    """The coordinates, scaled to size one, and 1: (k, n + 1)."""
    scaled = (moved - problem.middle) / problem.size
    return np.concatenate([scaled, np.ones((len(moved), 1))], axis=1)


def layers_for(problem: Problem, known: Kernel, centers: Array, shapes: Array) -> Layers:
    """On R^n nothing is renormalised, and slopes are powers of two so that x passes through the weights exactly."""
    slopes = known.slopes(shapes)
    if problem.affine is None:
        return Layers.of(known, centers, slopes)
    return Layers.of(known, centers, np.ldexp(1.0, np.round(np.log2(slopes)).astype(int)), renormalise=False)


def fit(problem: Problem, known: Kernel, centers: Array, shapes: Array, rounds: int = 0) -> Fit:
    """Sweep the points through the layers and solve for the weights, with `rounds` rounds towards the sup norm."""
    return solve(problem, layers_for(problem, known, centers, shapes), centers, shapes, rounds)


def system(problem: Problem, features: Array, moved: Array) -> tuple[Array, Array]:
    """Columns and right-hand sides of the least-squares problem, from what `sweep` gives at problem.points."""
    if problem.affine is None:
        return np.concatenate([features, affine_columns(problem, moved)], axis=1), problem.values
    # What the layers do to the slope has no limit 0 at infinity: features that tried to mend it would explode.
    matrix, offset = problem.affine
    return features, problem.values - problem.points @ matrix.T - offset


def solve(problem: Problem, layers: Layers, centers: Array, shapes: Array, rounds: int = 0) -> Fit:
    """The weights for given layers."""
    n, count = centers.shape[1], len(centers)
    rounding = problem.digits * layers.kernel.gain
    columns, values = system(problem, *sweep(layers, problem.points))
    solution = towards_minimax(columns, values, max(rounding, problem.ridge), rounds)
    a = solution.coefficients[:count]
    if problem.affine is None:
        matrix = solution.coefficients[count : count + n].T / problem.size
        offset = solution.coefficients[-1] - matrix @ problem.middle
    else:
        matrix, offset = problem.affine
    held, held_moved = sweep(layers, problem.held)
    rest = held @ a + held_moved @ matrix.T + offset - problem.held_values
    parts = np.abs(held) @ np.linalg.norm(a, axis=1)
    return Fit(
        layers,
        centers,
        shapes,
        a,
        matrix,
        offset,
        error=_size(problem, np.linalg.norm(rest, axis=1)),
        noise=2 * rounding * float(np.linalg.norm(a)),
        condition=solution.condition,
        cancellation=float(parts.max()) / max(float(np.abs(values).max()), 1e-300),
    )


def _size(problem: Problem, errors: Array) -> float:
    return float(np.sqrt(np.mean(errors**2))) if problem.mean else float(errors.max())


def plan(problem: Problem, rho: RadialActivation | str, count: int, fixed: Plan) -> Plan:
    """The shape, reach and span with the least error of evenly spread centres; what `fixed` gives as > 0 is kept.

    One after the other on grids, with at most 400 features; their rounding counts as that of all `count`.
    """
    pilot = min(count, _PILOT)
    scaled = replace(
        problem,
        digits=problem.digits * count / pilot,
        points=problem.points[: max(4 * pilot, 400)],
        values=problem.values[: max(4 * pilot, 400)],
        held=problem.held[::_THIN],
        held_values=problem.held_values[::_THIN],
    )
    seen: dict[tuple[float, float, float], float] = {}

    def score(step: float, reach: float, span: float) -> float:
        key = step, reach, span
        if key not in seen:
            known = kernel(rho, max(LEAST_GAIN, span * pilot))
            shapes = np.full(pilot, _shape(problem, step))
            seen[key] = fit(scaled, known, problem.candidates(pilot, reach), shapes).score
        return seen[key]

    def search(span: float) -> tuple[float, float, float]:
        """(score, reach, step) for this span."""
        reach = fixed.reach or problem.reaches[1]
        if fixed.shape:
            steps: tuple[float, ...] = (math.log(fixed.shape * problem.size) / math.log(_RATIO),)
        else:
            step = min((score(s, reach, span), s) for s in range(*_COARSE))[1]
            step = min((score(s, reach, span), s) for s in (step - 1, step, step + 1))[1]
            steps = step - 1, step, step + 1
        reaches = (reach,) if fixed.reach else problem.reaches
        return min((score(s, r, span), r, s) for r, s in itertools.product(reaches, steps))

    spans = (fixed.span,) if fixed.span else problem.spans
    if problem.sloped:  # orders of magnitude between the spans, so each has its own shape
        (best, reach, step), span = min((search(span), span) for span in spans)
    else:
        _, reach, step = search(fixed.span or spans[1])
        best, span = min((score(step, reach, span), span) for span in spans)
    return Plan(_shape(problem, step), reach, span, best)


def _shape(problem: Problem, step: float) -> float:
    return _RATIO**step / problem.size


def choose(problem: Problem, known: Kernel, count: int, shapes: tuple[float, ...], reach: float) -> tuple[Array, Array]:
    """Centres (N, n) and shapes (N,) by orthogonal least squares among candidates, each place with each shape."""
    places = problem.candidates((3 if len(shapes) == 1 else 2) * count, reach)
    rows = slice(0, max(3 * count, 64))
    points, values = problem.points[rows], problem.values[rows]
    squares = cdist(points, places, "sqeuclidean")
    columns = np.concatenate([known.values(squares, known.slopes(np.array(shape))) for shape in shapes], axis=1)
    if problem.affine is not None:
        matrix, offset = problem.affine
        values, fixed = values - points @ matrix.T - offset, np.empty((len(points), 0))
    else:
        fixed = affine_columns(problem, points)
    chosen = select(columns, values, fixed, count, 16 if count <= _MANY else 32).chosen
    return places[chosen % len(places)], np.repeat(shapes, len(places))[chosen]


def design(problem: Problem, rho: RadialActivation | str, count: int, planned: Plan, greedy: bool = True) -> Fit:
    """The best of evenly spread and greedily chosen centres around the planned shape, fitted towards the sup norm."""
    known = kernel(rho, max(LEAST_GAIN, planned.span * count))
    spread = problem.candidates(count, planned.reach)
    half = math.sqrt(_RATIO)
    tried = [fit(problem, known, spread, np.full(count, planned.shape))]
    if greedy:
        mixes: list[tuple[float, ...]] = [(planned.shape / half, planned.shape * half)]
        if count <= _MANY:
            wide = planned.shape / _RATIO, planned.shape * _RATIO
            mixes += [(planned.shape,), wide, (*wide, planned.shape)]
        tried += [fit(problem, known, *choose(problem, known, count, mix, planned.reach)) for mix in mixes]
    best = min(tried, key=lambda item: item.score)
    if problem.mean:
        return best
    polished = solve(problem, best.layers, best.centers, best.shapes, _ROUNDS)
    return min(best, polished, key=lambda item: item.score)
