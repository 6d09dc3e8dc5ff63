"""Equal balls around all points of a lattice A_n* that matter: the proof that they cover is the covering radius.

Every point lies within the covering radius rho of a lattice point (Conway and Sloane, Sphere Packings, Lattices and
Groups, chapter 4, section 6.6). So each point x of the core is in the cell around such a lattice point, if that cell is
there and larger than rho by its distance from the lattice point; and if it is not there, |f - L| must be small on the
ball of radius rho around the lattice point.

Rounding. Let B be the basis in float64, s the scale and G the Gram matrix of the standard basis. If B B^T = s^2 (G + D)
then B = s (G + D)^(1/2) Q with Q orthogonal, and s G^(1/2) Q is the basis of a lattice that is exactly A_n* up to a
rotation. They differ by at most s |D| sqrt(n + 1), since the least eigenvalue of G is 1/(n + 1). A point k B is off by
|k| times that.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from approx.certification._grid import matches, signature
from approx.certification._question import Question
from approx.lattice import Lattice

__all__ = ["check_lattice", "find_lattice"]

Array = NDArray[np.float64]
_ULP = 2.0**-52
_MOST = 2e7  # lattice points


def find_lattice(centers: Array, radii: Array) -> tuple[float, Array] | None:
    """Scale (covering radius) and origin of the lattice that the centres may belong to, a guess; None if none."""
    n = centers.shape[1]
    if n < 2 or len(centers) < 2 or radii.max() > radii.min() * (1 + 1e-9):
        return None
    steps = centers[1:] - centers[:-1]
    along = np.abs(steps[(np.abs(steps[:, 1:]) < 1e-9 * radii[0]).all(axis=1), 0])
    if not len(along):
        return None
    unit = Lattice(n, 1.0)
    rho = float(along.min()) / unit.minimal_distance
    if not 0.5 * radii[0] < rho < 2 * radii[0]:
        return None
    basis, origin = unit.basis, centers[0]
    for _ in range(2):
        spots = np.rint(np.linalg.solve(basis.T, (centers - origin).T).T / rho) @ basis
        spots -= spots[0]
        spread = spots - spots.mean(axis=0)
        rho = float((spread * centers).sum() / (spread * spread).sum())
        origin = centers.mean(axis=0) - rho * spots.mean(axis=0)
    return rho, origin


def check_lattice(question: Question, rho: float, origin: Array) -> float:
    """A bound of |f - affine| on all points of the core that may lie in no cell; inf where balls around this lattice
    do not show that there is one. Cells are balls."""
    cells, n = question.cells, len(origin)
    lattice = Lattice(n, rho)
    basis = lattice.basis
    rho = rho * (1 + 8 * _ULP)
    defect = np.abs(basis @ basis.T / lattice.scale**2 - (np.eye(n) - 1 / (n + 1)))
    skew = lattice.scale * (float(np.linalg.norm(defect)) + n * (n + 8) * _ULP) * math.sqrt(n + 1) * (1 + 2.0**-40)
    stretch = float(np.linalg.norm(basis)) * (1 + 2.0**-40)
    offset = float(np.linalg.norm(origin)) * (1 + 2.0**-40)
    if not np.isfinite(offset):
        return np.inf

    def off(spots: NDArray[np.int64], points: Array) -> Array:
        """How far `points` may be from the points number `spots` of the exact lattice."""
        spots = spots.astype(np.float64)
        size = np.linalg.norm(spots, axis=1) * (1 + 2.0**-40)
        noise = (2 * n + 8) * _ULP * (size * stretch + offset + np.linalg.norm(points, axis=1))
        return (np.linalg.norm(spots @ basis + origin - points, axis=1) + noise + size * skew) * (1 + 2.0**-40)

    def spots_of(points: Array) -> NDArray[np.int64]:
        return np.rint(np.linalg.solve(basis.T, (points - origin).T).T).astype(np.int64)

    reach = rho * (1 + 1e-6)
    part = min(question.core, key=lambda part: lattice.predicted_count(part, reach))
    if not lattice.predicted_count(part, reach) <= _MOST:
        return np.inf
    points = lattice.points(part, reach, origin)
    for other in question.core:
        points = points[other.distance(points) <= reach]
    spots = spots_of(points)
    far = off(spots, points)
    if not (far <= 1e-8 * rho).all():  # else `reach` has room for this, and for the rounding of distances
        return np.inf
    known = spots_of(cells.offsets)
    marks = signature(known)
    order = np.argsort(marks, kind="stable")
    cell = matches(spots, known, marks[order], order)
    with np.errstate(invalid="ignore"):
        room = (cells.radii - cells.collars) * (1 - 4 * _ULP) - off(known, cells.offsets) - rho * (1 + 8 * _ULP)
    served = (cell >= 0) & (room[cell] > 0)
    missing = np.flatnonzero(~served)
    if not len(missing):
        return 0.0
    bounds = question.outside_on_balls(points[missing], rho + far[missing])
    return float(bounds.max())
