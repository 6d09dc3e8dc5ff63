"""One greedy step: the ellipsoid that paints most about the sample that needs it most."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from approx import _checks
from approx.affine import AffineMap
from constructions.covers._blocks import blocks
from constructions.covers._canvas import Canvas
from constructions.covers._quadrics import ball, climb, quadrics, rounded, scores, shape_of, span

__all__ = ["Cell", "Effort", "grow"]

Array = NDArray[np.float64]
_GIANT = 100.0  # the largest radius of curvature at the anchor, in diameters of the region
_FLAT = (1e-3, 5e-2)  # least curvatures of seeds, relative to the largest
_FEW = 1000  # samples of each kind in the first search
_NEIGHBOURS = 24  # earlier cells tried as seeds
_REVISIONS, _SHRINKING = 12, 100
_SLOWEST = 0.7
_DEPTHS = np.array([0, 1, 2, 4, 8, 16, 32, 64])  # in 16ths of a step of the grid
_EIGHTHS = np.arange(1, 9) / 8
_WIDE, _NARROW = 0.2, 0.05  # relative first steps of the searches
_EXTREME = (0.995,)  # the value lies so far inward from f at the anchor, in eps: nothing open is more extreme, and f
_EITHER = (0.995, 0.0, -0.995)
_SHIFTS = (0.9, 0.5, 0.0)  # between samples hardly; without a constant L, or for vectors, others may be better


@dataclass(frozen=True)
class Effort:
    """starts : seeds that are searched from; steps : of each search; urgency : how much more a sample counts, as an
    exponent, for every 2 eps by which |f - L| is larger."""

    starts: int = 6
    steps: int = 300
    urgency: float = 8.0


@dataclass(frozen=True, eq=False)
class Cell:
    """|A (x - c)| < 1 with the middle (m,) of what it shows, and by how much f strays from that on the samples."""

    center: Array
    shape: Array
    value: Array
    error: float


def grow(
    canvas: Canvas,
    eps: float,
    affine: AffineMap,
    effort: Effort,
    rng: np.random.Generator,
    anchor: int,
    size: Array,
    urge: float,
    *,
    center: Array | None = None,
    round_only: bool = False,
) -> Cell:
    """The cell about the sample `anchor` on whose exposed part f stays within eps of its value, painted beneath the
    others. size (k,): |f - L| at the samples; they count for exp(urge size).

    Candidates go through the anchor; each is as large as that rule allows. Seeds: the superlevel set of the second
    order Taylor polynomial of f - L at the anchor, balls, half-space-like giants along the level set, and the shapes
    of the cells nearby; the best are improved by local search. round_only : balls only. center : where cells are
    grown outward from; without it, the anchor is where |f - L| is largest.
    """
    origin = canvas.points[anchor].copy()
    residual = canvas.values[anchor] - affine(origin)
    direction = residual / max(float(np.linalg.norm(residual)), 1e-300)
    flat = 1 / (_GIANT * float(np.linalg.norm(canvas.upper - canvas.lower)))
    seeds = _seeds(canvas, origin, affine, direction, flat, center)
    shifts: tuple[float, ...]
    if center is not None:
        shifts = _EITHER
    else:
        shifts = _EXTREME if affine.is_constant and affine.dim_out == 1 else _SHIFTS
    best: tuple[Array, float, Array, Array] | None = None
    for shift in shifts:
        value = canvas.values[anchor] - shift * eps * direction
        bad, good = canvas.split(value, eps)
        bad, good = (chosen[np.argsort(canvas.places[chosen], kind="stable")] for chosen in (bad, good))
        weight = canvas.weight[good] * np.exp(urge * (size[good] - size[anchor]))
        offsets, targets = canvas.points[bad] - origin, canvas.points[good] - origin
        theta, reached = _search(offsets, targets, weight, seeds, flat, effort, rng, round_only)
        if best is None or reached > best[1]:
            best = theta, reached, value, offsets
    assert best is not None, "there is a shift to try"
    theta, _, value, offsets = best
    middle, shape, value, edge, edge_values = _fit(canvas, anchor, theta, flat, offsets, value, eps)
    newly = canvas.paint(middle, shape, edge, edge_values)
    value, error = _middle(np.concatenate([canvas.values[newly], edge_values]), value)
    canvas.trim()
    return Cell(middle, shape, value, error)


def _search(
    bad: Array,
    good: Array,
    weight: Array,
    seeds: Array,
    flat: float,
    effort: Effort,
    rng: np.random.Generator,
    ball_only: bool,
) -> tuple[Array, float]:
    """The best parameters found for bad and good offsets and the weights of the good ones, and their score. Few samples
    first: they let candidates grow that all of them would stop early. All decide which of these is improved."""
    n = bad.shape[1]
    thin, every = -(-len(bad) // _FEW) or 1, -(-len(good) // _FEW) or 1
    few, whole = (blocks(bad[::thin]), blocks(good[::every], weight[::every])), (blocks(bad), blocks(good, weight))
    if ball_only:
        seeds = np.array([rounded(theta, n) for theta in seeds])
    found = []
    for i in np.argsort(-scores(seeds, flat, *few), kind="stable")[: effort.starts]:
        found.append(climb(seeds[i], flat, *few, _noise(rng, effort.steps, n, ball_only), _WIDE)[0])
    best = found[scores(np.array(found), flat, *whole).argmax()]
    return climb(best, flat, *whole, _noise(rng, effort.steps // 2, n, ball_only), _NARROW)


def _noise(rng: np.random.Generator, steps: int, n: int, ball_only: bool) -> Array:
    """(steps, p) directions of search."""
    if not ball_only:
        return rng.standard_normal((steps, n * (n + 1) // 2 + n))
    free = rng.standard_normal((steps, n + 1))
    lower = np.zeros((steps, n * (n + 1) // 2))
    lower[:, [i * (i + 3) // 2 for i in range(n)]] = free[:, :1]
    return np.concatenate([lower, free[:, 1:]], axis=1)


def _seeds(
    canvas: Canvas, origin: Array, affine: AffineMap, direction: Array, flat: float, center: Array | None
) -> Array:
    """(k, p) parameters of candidates."""
    n = canvas.dim
    gradient, hessian = _derivatives(canvas, origin, affine, direction)
    curvature, axes = np.linalg.eigh(-hessian / 2)
    largest = max(float(np.abs(curvature).max()), 1e-12 + float(np.abs(gradient).max()) * 1e-3)
    steepness = float(np.linalg.norm(gradient))
    forms = [(axes * np.maximum(curvature, low * largest)) @ axes.T for low in _FLAT]
    slopes = [-gradient / 2] * len(_FLAT)
    if steepness > 0:
        forms.append(1e-3 * np.eye(n))
        slopes.append(-gradient / steepness / 2)
    found = [quadrics(np.array(forms), np.array(slopes)), ball(n)[None]]
    if center is not None:
        found.append(quadrics(np.eye(n)[None], (origin - center)[None], flat))
    if canvas.count:
        gaps = np.einsum("kij,kj->ki", canvas.shapes, origin - canvas.centers)
        near = np.argsort((gaps**2).sum(axis=1), kind="stable")[:_NEIGHBOURS]
        shapes = canvas.shapes[near]
        found.append(quadrics(shapes.transpose(0, 2, 1) @ shapes, np.einsum("kji,kj->ki", shapes, gaps[near]), flat))
    return np.concatenate(found)


def _derivatives(canvas: Canvas, origin: Array, affine: AffineMap, direction: Array) -> tuple[Array, Array]:
    """Gradient (n,) and Hessian (n, n) of direction.(f - L) near the anchor, by differences over the grid spacing."""
    n, h = canvas.dim, 0.5 * canvas.spacing
    steps = h * np.eye(n)
    pairs = [(i, j) for i in range(n) for j in range(i)]
    middle = np.clip(origin, canvas.lower + 2 * h, canvas.upper - 2 * h)
    stencil = [middle, *(middle + steps), *(middle - steps)]
    stencil += [middle + s * (steps[i] + steps[j]) for i, j in pairs for s in (1, -1)]
    points = canvas.domain.project(np.array(stencil))
    values = (canvas.f(points) - affine(points)) @ direction
    ahead, behind = values[1 : n + 1], values[n + 1 : 2 * n + 1]
    hessian = np.diag((ahead + behind - 2 * values[0]) / h**2)
    both = values[2 * n + 1 :].reshape(-1, 2).sum(axis=1)
    for (i, j), total in zip(pairs, both, strict=True):
        mixed = (total - 2 * values[0]) / h**2 - hessian[i, i] - hessian[j, j]
        hessian[i, j] = hessian[j, i] = mixed / 2
    return (ahead - behind) / (2 * h), hessian


def _fit(
    canvas: Canvas, anchor: int, theta: Array, flat: float, bad: Array, value: Array, eps: float
) -> tuple[Array, Array, Array, Array, Array]:
    """The largest of the quadrics `theta` without bad samples whose exposed boundary keeps the rule as well; where that
    shrinks too far, a ball with the value of f at its centre. Returns centre, matrix, value, exposed boundary and f
    there. Raises ValueError where even small balls do not keep the rule."""
    origin, level = canvas.points[anchor].copy(), np.inf
    for attempt in range(_SHRINKING):
        if attempt == _REVISIONS:
            theta, level, value = ball(canvas.dim), np.inf, canvas.values[anchor]
            bad = canvas.points[canvas.split(value, eps)[0]] - origin
        nearest = span(theta, flat, bad)[0]
        if level < np.inf:
            level = max(min(nearest, level), _SLOWEST * level)
        elif nearest < np.inf:
            level = nearest
        else:  # nothing is in the way: hold everything
            level = 1.02 * span(theta, flat, canvas.points - origin)[1]
        if level > 0:
            center, shape = shape_of(theta, flat, level, origin)
            edge, walled = canvas.exposed(center, shape)
            edge_values = canvas.f(edge)
            wrong = walled | (np.linalg.norm(edge_values - value, axis=1) > eps)
            if not wrong.any():
                return center, shape, value, edge, edge_values
            bad = _inward(canvas, edge[wrong], center, shape, value, eps) - origin
        else:  # the search found nothing that holds the anchor
            theta, level = ball(canvas.dim), np.inf
    received = f"eps = {eps:.3g}, far below what f changes between samples {canvas.spacing:.3g} apart"
    action = "Use a larger eps, or cover='adaptive'."
    raise ValueError(_checks.message("greedy cover", received, "an eps that samples resolve", action))


def _inward(canvas: Canvas, points: Array, center: Array, shape: Array, value: Array, eps: float) -> Array:
    """Boundary points of a cell that break the rule, moved inward to about where they keep it."""
    normal = ((points - center) @ shape.T) @ shape
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)

    def deep(depths: Array) -> NDArray[np.intp]:
        """(k,) the place of the first of the depths (k, d) that keeps the rule, the last one where none does."""
        moved = points[:, None] - depths[:, :, None] * normal[:, None]
        flat = moved.reshape(-1, moved.shape[2])
        inside = canvas.domain.project(flat)
        wrong = np.linalg.norm(canvas.f(inside) - value, axis=1) > eps
        wrong |= canvas.walled & (flat != inside).any(axis=1)
        kept = ~wrong.reshape(depths.shape)
        kept[:, -1] = True
        return kept.argmax(axis=1)

    row = np.arange(len(points))
    depths = np.broadcast_to(canvas.spacing / 16 * _DEPTHS, (len(points), len(_DEPTHS)))
    place = deep(depths[:, 1:]) + 1
    depths = depths[row, place - 1, None] + (depths[row, place] - depths[row, place - 1])[:, None] * _EIGHTHS
    return points - depths[row, deep(depths), None] * normal


def _middle(shown: Array, value: Array) -> tuple[Array, float]:
    """A point (m,) near the centre of the smallest ball around values (k, m), not worse than `value`; its radius."""
    middle = (shown.min(axis=0) + shown.max(axis=0)) / 2
    if shown.shape[1] > 1:  # Badoiu and Clarkson's iteration
        for step in range(2, 66):
            middle = middle + (shown[np.square(shown - middle).sum(axis=1).argmax()] - middle) / step
    radius, other = (float(np.linalg.norm(shown - y, axis=1).max()) for y in (middle, value))
    return (middle, radius) if radius <= other else (value, other)
