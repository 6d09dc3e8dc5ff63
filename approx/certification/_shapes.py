"""From v(x) = M x + b and the test q + |v|^2 < 1 to a centre, a matrix and a radius, with bounds of what was neglected.

Write y = x - c. Then q + |M x + b|^2 = q + |M y + h|^2 with h = M c + b, and the cell is described by
|A y|^2 < rho2 = 1 - q - |h|^2, where A = M if M has at most n rows and else the triangular factor of M. Neglected are
y^T (M^T M - A^T A) y and 2 h^T M y: `quadratic` |y|^2 + `linear` |y| + `constant` bounds them, for any c.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["OUTWARD", "Drift", "Shapes", "blurred", "displaced", "shapes_of"]

Array = NDArray[np.float64]
OUTWARD = 1 + 2.0**-20  # covers the rounding of the bounds themselves, see _rounding
_U = 2.0**-53
_ROUND = 1e-11  # a relative deviation from a ball that is worth neglecting
_CHUNK = 1 << 11  # cells at a time: their temporaries stay in the cache
_RANK = 1e-9


class Drift(NamedTuple):
    """Bounds (N,) of errors r, `norm`, and of shifts zeta of x, `shift`."""

    norm: Array
    shift: Array


@dataclass(frozen=True, eq=False)
class Shapes:
    """N cells |A (x - c)|^2 < rho2.

    centers (N, n); matrices (N, n, n), padded with zero rows; rho2 (N,)
    scales (N,): s where A = s I, else nan
    stretches (N,): at least |A|; shrinkings (N,): at least |A^-1|, inf where A has a kernel
    quadratic, linear, constant (N,): coefficients of the bound of what is neglected
    """

    centers: Array
    matrices: Array
    rho2: Array
    scales: Array
    stretches: Array
    shrinkings: Array
    quadratic: Array
    linear: Array
    constant: Array

    def reached(self, rho2: Array) -> NDArray[np.bool_]:
        """(N,) which cells are not behind a layer that zeroes everything."""
        everything = np.flatnonzero((self.stretches == 0) & (rho2 > 0))
        last = everything[0] if len(everything) else len(rho2)
        return np.arange(len(rho2)) <= last


def shapes_of(slopes: Array, offsets: Array, first: NDArray[np.int64], squares: Array, terms: Array) -> Shapes:
    """Cell i has the rows first[i] .. first[i + 1] of slopes (rows, n) and offsets (rows,), q = squares[i] and
    terms[i], the number of squares added up in q."""
    count, dim = first.shape[0] - 1, slopes.shape[1]
    shapes = Shapes(
        centers=np.zeros((count, dim)),
        matrices=np.zeros((count, dim, dim)),
        rho2=1.0 - squares,
        scales=np.full(count, np.nan),
        stretches=np.zeros(count),
        shrinkings=np.full(count, np.inf),
        quadratic=np.zeros(count),
        linear=np.zeros(count),
        constant=(16.0 + terms) * _U * (1.0 + squares),
    )
    rows = np.diff(first)
    for size in np.unique(rows[rows > 0]):
        same = np.flatnonzero(rows == size)
        for start in range(0, len(same), _CHUNK):
            chosen = same[start : start + _CHUNK]
            index = first[chosen, None] + np.arange(size)
            _fill(shapes, chosen, slopes[index], offsets[index])
    return shapes


def blurred(
    shapes: Shapes, rho2: Array, fixed: Drift, relative: Drift, theta: Array | float, limit: Array
) -> tuple[Array, Array, NDArray[np.bool_]]:
    """eta with | |A y|^2 - rho2 | <= eta wherever it is doubtful whether x counts as captured, the shift zeta there,
    and whether that is known to be near the cell.

    fixed, relative : v = M (x + zeta) + b + r with (|r|, |zeta|) <= fixed + relative |x|; y = x + zeta - c
    theta : how much larger or smaller than |v|^2 the computed square may be, relatively
    limit : what is known of |y| otherwise

    Everything neglected grows at most like |y|^2. Let e = max(|rho2|, 1e-6). If eta <= 2 e at |y| = 2 |A^-1| sqrt(e),
    where |A y|^2 >= 4 e, then nothing farther out is doubtful. Where A = 0 and nothing grows with |x|, neither does
    the doubt.
    """
    reach = np.linalg.norm(shapes.centers, axis=1)
    steady = relative.norm == 0  # otherwise a matrix A = 0 may stand for a small one

    def at(distance: Array) -> tuple[Array, Array]:
        size = reach + 2 * distance  # bounds |x| if |y| <= distance and |zeta| <= distance
        error = fixed.norm + np.where(steady, 0.0, relative.norm * size)
        shift = fixed.shift + np.where(relative.shift == 0, 0.0, relative.shift * size)
        neglected = shapes.quadratic * distance**2 + shapes.linear * distance + shapes.constant
        eta = (neglected + theta + 2 * error * (1 + theta) + error**2) * OUTWARD + 1e-300
        return np.nan_to_num(eta, nan=np.inf, posinf=np.inf), np.nan_to_num(shift, nan=np.inf, posinf=np.inf)

    with np.errstate(invalid="ignore", over="ignore"):
        least = np.maximum(np.abs(rho2), 1e-6)
        constant = (shapes.stretches == 0) & steady
        near = np.where(constant, 0.0, 2 * shapes.shrinkings * np.sqrt(least))
        (eta, shift), (far, far_shift) = at(near), at(limit)
        resolved = constant | (np.isfinite(near) & (eta <= 2 * least) & (shift <= near))
    return np.where(resolved, eta, far), np.where(resolved, shift, far_shift), resolved


def displaced(
    shapes: Shapes, rho2: Array, eta: Array, shift: Array, limit: Array, resolved: NDArray[np.bool_]
) -> tuple[Array, Array]:
    """Bounds of the distance from the boundary |A y|^2 = rho2 to where it may be: in x, and in |A (x - c)|."""
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        ratio = eta / rho2
        clear = ratio < 0.5
        s = np.sqrt(1 - ratio)
        extent = np.where(resolved, np.sqrt(rho2) * shapes.shrinkings, limit)
        factor = np.where(clear, ratio / ((1 + s) * s), np.where(resolved, np.sqrt(1 + ratio), np.inf))
        x = (shift + factor * extent) * OUTWARD
        margin = (
            shapes.stretches * shift + np.sqrt(rho2) * np.where(clear, ratio / (1 + s), np.sqrt(1 + ratio))
        ) * OUTWARD
    certain = (rho2 <= 0) | (shapes.stretches == 0)

    def bound(size: Array) -> Array:
        return np.where(certain, 0.0, np.nan_to_num(size, nan=np.inf, posinf=np.inf))

    return bound(x), bound(margin * OUTWARD)


def _fill(shapes: Shapes, chosen: NDArray[np.int64], slope: Array, offset: Array) -> None:
    """The cells `chosen`, whose slopes (k, p, n) and offsets (k, p) have the same shape."""
    p, n = slope.shape[1:]
    noise = (n + p + 4) * _U
    gram = slope.swapaxes(1, 2) @ slope
    gram_noise = noise * _norm(np.abs(slope).swapaxes(1, 2) @ np.abs(slope))
    scale = np.sqrt(np.trace(gram, axis1=1, axis2=2) / n)
    identity = np.eye(n)
    # Balls: M^T M = s^2 I.
    round_gap = _norm(gram - np.square(scale)[:, None, None] * identity)
    balls = (round_gap <= _ROUND * scale**2) & (p >= n) & (scale > 0)
    inverse = np.empty((len(chosen), n, p))
    inverse[balls] = slope[balls].swapaxes(1, 2) / np.square(scale[balls])[:, None, None]
    if not balls.all():
        inverse[~balls] = np.linalg.pinv(slope[~balls], rcond=_RANK)
    center = -np.einsum("kij,kj->ki", inverse, offset)
    left = np.einsum("kij,kj->ki", slope, center) + offset
    center = center - np.einsum("kij,kj->ki", inverse, left)
    left = np.einsum("kij,kj->ki", slope, center) + offset
    left_noise = noise * np.linalg.norm(np.einsum("kij,kj->ki", np.abs(slope), np.abs(center)) + np.abs(offset), axis=1)
    if p <= n:
        matrix = np.zeros((len(chosen), n, n))
        matrix[:, :p] = slope
    else:
        triangle: Any = np.linalg.qr(slope, mode="r")
        matrix = triangle
    matrix[balls] = scale[balls, None, None] * identity
    shrinking = np.full(len(chosen), np.inf)
    if p >= n:
        defect = _norm(identity - inverse @ slope) + noise * _norm(np.abs(inverse) @ np.abs(slope))
        with np.errstate(divide="ignore", invalid="ignore"):
            # |M y| >= |y| (1 - defect) / |B|, and |A y|^2 >= |M y|^2 - gap |y|^2
            least = np.square(np.maximum(1 - defect, 0.0) / _norm(inverse))
    else:
        least = np.zeros(len(chosen))
    exact = (p <= n) & ~balls
    gap = _norm(gram - matrix.swapaxes(1, 2) @ matrix) + gram_noise
    gap += noise * _norm(np.abs(matrix).swapaxes(1, 2) @ np.abs(matrix))
    gap = np.where(exact, 0.0, gap)
    least = least - gap
    positive = least > 0
    shrinking[positive] = 1 / np.sqrt(least[positive])
    shrinking[balls] = (1 + 8 * _U) / scale[balls]
    stretch = _norm(matrix) * (1 + noise)
    stretch[balls] = scale[balls] * (1 + 8 * _U)
    length = np.linalg.norm(left, axis=1)
    shapes.centers[chosen] = center
    shapes.matrices[chosen] = matrix
    shapes.rho2[chosen] -= length**2
    shapes.scales[chosen] = np.where(balls, scale, np.nan)
    shapes.stretches[chosen] = stretch
    shapes.shrinkings[chosen] = shrinking
    shapes.quadratic[chosen] = gap
    slack = np.linalg.norm(np.einsum("kji,kj->ki", slope, left), axis=1) + noise * length * _norm(slope)
    shapes.linear[chosen] = 2 * (slack + _norm(slope) * left_noise)
    shapes.constant[chosen] += 2 * left_noise * (length + left_noise) + 2 * noise * length**2


def _norm(matrices: Array) -> Array:
    """Frobenius norms of (k, ., .)."""
    return np.linalg.norm(matrices, axis=(1, 2))
