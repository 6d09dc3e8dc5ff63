"""Which quantity t a target depends on: as declared, or guessed from its gradients."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from approx.domains import Ball, Box
from approx.targets import EllipsoidLevels, PlaneLevels, Target
from approx.targets.levels import Levels

__all__ = ["NotNested", "levels_of"]

Array = NDArray[np.float64]
_STEP = 1e-3  # of the domain's diameter, for differences of fourth order
_SAME = 1e-6  # relative deviations that count as none
_CLEAR = 1e-4
_MOST_DIM = 12  # the equations for A grow with n^4
_DIGITS = 9  # that a guess is rounded to


class NotNested(ValueError):
    """The level sets of a target are not known to be ellipsoids or planes.

    >>> from approx import targets
    >>> from constructions import covers
    >>> f = targets.franke()
    >>> try:
    ...     covers.make("nested", f, 0.1, f.domain, everywhere=False, affine=targets.gaussian(dim=2).affine)
    ... except covers.NotNested:
    ...     print("take another strategy")
    take another strategy
    """


def levels_of(target: Target, region: Box | Ball) -> Levels:
    """The levels declared by the target, or guessed: raises NotNested, with the reason, where there are none.

    A guess comes from gradients at points of the region. If all are parallel, f is a function of w.x. If f = g(t) with
    t^2 = (x - c).G (x - c), the gradient is parallel to G x - b with b = G c: linear equations for the entries of G
    and b, whose solution must be unique up to a factor. A guess is no proof: it is compared with values of f here, and
    the cover made from it is for a certificate to prove.
    """
    if target.levels is not None:
        return target.levels
    if target.dim_in == 1:
        return PlaneLevels([1.0])
    if target.dim_in > _MOST_DIM:
        raise NotNested(f"level sets are recognised in up to {_MOST_DIM} dimensions; declare them with levels=")
    points, gradients = _gradients(target, region)
    found = _plane(gradients) or _ellipsoid(points, gradients)
    _confirm(target, found, region)
    return found


def _gradients(target: Target, region: Box | Ball) -> tuple[Array, Array]:
    """Points (k, n) well inside the region and gradients (k, m, n) there, as large as 1 at most."""
    n = target.dim_in
    middle = region.center if isinstance(region, Ball) else region.lower + region.widths / 2
    points = middle + 0.9 * (region.sample(4 * n + 12, seed=1) - middle)
    step = _STEP * region.diameter / np.sqrt(n)
    moves = step * np.eye(n)
    at = [target(points[:, None] + k * moves) for k in (-2, -1, 1, 2)]
    slopes = (8 * (at[2] - at[1]) - (at[3] - at[0])) / (12 * step)
    gradients = slopes.transpose(0, 2, 1)
    size = float(np.linalg.norm(gradients, axis=2).max())
    if not size > 0:
        raise NotNested("it seems to be constant")
    return points, gradients / size


def _plane(gradients: Array) -> PlaneLevels | None:
    _, sizes, axes = np.linalg.svd(gradients.reshape(-1, gradients.shape[2]), full_matrices=False)
    if sizes[1] > _SAME * sizes[0]:
        return None
    direction = axes[0] / axes[0][np.abs(axes[0]).argmax()]
    return PlaneLevels(_rounded(direction))


def _ellipsoid(points: Array, gradients: Array) -> EllipsoidLevels:
    n = points.shape[1]
    rows, columns = np.triu_indices(n)
    count = len(rows)
    # normal[k, i, :]: the i-th component of G x_k - b as a linear form in the entries of G and b.
    normal = np.zeros((len(points), n, count + n))
    for e, (row, column) in enumerate(zip(rows, columns, strict=True)):
        normal[:, row, e] += points[:, column]
        if row != column:
            normal[:, column, e] += points[:, row]
    normal[:, range(n), range(count, count + n)] = -1.0
    scale = np.linalg.norm(normal, axis=(0, 1))
    i, j = np.triu_indices(n, 1)
    equations = gradients[:, :, i, None] * normal[:, None, j] - gradients[:, :, j, None] * normal[:, None, i]
    _, sizes, solutions = np.linalg.svd(equations.reshape(-1, count + n) / scale, full_matrices=False)
    if sizes[-1] > _SAME * sizes[0]:
        raise NotNested("its level sets are no ellipsoids or planes")
    if sizes[-2] < _CLEAR * sizes[0]:
        raise NotNested("its gradients leave open which ellipsoids its level sets are")
    solution = solutions[-1] / scale
    gram = np.zeros((n, n))
    gram[rows, columns] = gram[columns, rows] = solution[:count]
    vector = solution[count:]
    largest = np.diag(gram)[np.abs(np.diag(gram)).argmax()]
    if largest == 0:
        raise NotNested("its level sets are no ellipsoids")
    gram, vector = _rounded(gram / largest), vector / largest
    if not np.linalg.eigvalsh(gram)[0] > _CLEAR:
        raise NotNested("its level sets are quadrics but no ellipsoids, a saddle for instance")
    center = np.linalg.solve(gram, vector)
    size = float(np.abs(points).max())
    center = np.round(center / size, _DIGITS) * size
    if np.array_equal(gram, np.eye(n)):
        return EllipsoidLevels(center)
    return EllipsoidLevels(center, np.linalg.cholesky(gram).T)


def _rounded(numbers: Array) -> Array:
    """Guessed numbers without the digits that differences have spoilt; + 0.0 turns -0 into 0."""
    return np.round(numbers, _DIGITS) + 0.0


def _confirm(target: Target, levels: Levels, region: Box | Ball) -> None:
    """Values at points of the region against those on a segment across all levels."""
    points = region.sample(256, seed=2)
    try:
        first, last = levels.segment(region)
    except ValueError as error:
        raise NotNested(str(error)) from error
    share = np.linspace(0.0, 1.0, 4097)[:, None]
    line = first + share * (last - first)
    values, profile, t = target(points), target(line), levels(line)
    size = float(np.ptp(profile, axis=0).max())
    expected = np.stack([np.interp(levels(points), t, column) for column in profile.T], axis=1)
    off = np.abs(values - expected).max(axis=1)
    allowed = _CLEAR * size + 2 * float(np.abs(np.diff(profile, axis=0)).max())
    if not off.max() <= allowed:
        worst = points[int(off.argmax())]
        raise NotNested(
            f"its gradients look like those of {type(levels).__name__}, but not its value at {worst.tolist()}"
        )
