"""The paper's cover: balls of one radius, from the modulus of continuity.

Source: Ganev, van Laarhoven, Walters, arXiv 2107.02550, proof of Theorem 3: cover a compact set by balls on which f
varies by less than eps, and give each the value of f at its centre. The paper leaves the balls open; here their
centres form the lattice A_n*, whose covers are thin.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from approx import _checks
from approx.covers import Cover
from approx.domains import Ball, Box
from approx.lattice import Lattice
from constructions.covers._ground import grounded
from constructions.covers._problem import Problem, TooManyCells
from constructions.covers._strategy import strategy
from constructions.covers._values import certify

__all__ = ["uniform"]

Array = NDArray[np.float64]
_SLACK = 1.5  # the count predicted from volumes may be off by this factor
_SLACK_IF_PRUNED = 8.0  # and by this one where cells may be left out
_ENLARGE = 1.5
_HALVINGS = 6


@strategy("uniform cover", values="center")
def uniform(problem: Problem) -> Cover:
    """Balls of one radius r with |F - f| <= eps on the domain, as far as the target's own claims hold.

    r = target.radius_for(eps), the largest with modulus(r) <= eps; the lattice has the covering radius r/(1 + overlap),
    and the cells are its points within that of the domain. On an interval: the least number of equal intervals.
    On all of R^n the ball |x| <= R is covered, R the smallest radius with tail(R) <= eps; every cell is certified
    beyond that ball too.

    everywhere : the builder uses `affine` outside the cells; then cells on which that is within eps of f are left out,
        and a domain larger than the ball |x| <= R is covered only as far as that ball. On a compact domain that
        lies in no such ball another map takes the place of `affine` if it leaves clearly fewer cells
    values : "center" gives a cell f at its centre (or at the point of the domain nearest to it), as in the paper.
        "chebyshev" gives it the middle of an enclosure of f, and r becomes the largest radius found for which every
        cell keeps its certified bound: up to twice the paper's radius, but only where the modulus is loose or the
        target has a sharp enclosure.
    overlap : relative amount by which cells are larger than the lattice needs
    max_cells : refuse larger covers

    Cost: about thickness * volume / r^n cells. Raises TooManyCells, a ValueError, before any work when the predicted
    count exceeds max_cells by far, and else when the count does; ValueError or TypeError for arguments that do not fit
    each other; RuntimeError if the cover fails its own check.

    >>> from approx import targets
    >>> f = targets.gaussian(dim=2)
    >>> uniform(f, 0.1, f.domain, everywhere=True, affine=f.affine)
    Cover(241 balls in R^2, values in R^1, strategy='uniform')
    """
    name = "uniform, chebyshev values" if problem.values == "chebyshev" else "uniform"
    if problem.region is None:
        return problem.empty(name)
    problem = grounded(problem, even=True)
    radius = min(problem.target.radius_for(problem.eps), 2 * problem.to_cover.diameter)
    best = _layout(problem, radius, "center")
    if best is None:
        with_modulus = f"a modulus that exceeds eps = {problem.eps:g} below the radius {radius:.3g}"
        received = f"target {problem.target.name!r} with {with_modulus}"
        raise ValueError(_checks.message(problem.call, received, "a non-decreasing modulus", "Correct the modulus."))
    if problem.values == "chebyshev":
        best = _enlarge(problem, best)
    return problem.finish(
        name, best.centers, best.values, np.full(len(best.centers), best.radius), best.error, best.lattice
    )


@dataclass(frozen=True, eq=False)
class _Layout:
    centers: Array
    values: Array
    radius: float
    error: float
    lattice: Lattice | None


def _circumradius(region: Box | Ball) -> float:
    return region.radius if isinstance(region, Ball) else region.diameter / 2


def _predicted(region: Box | Ball, rho: float) -> float:
    """How many cells a lattice of covering radius rho needs; exact for one cell and on an interval."""
    if _circumradius(region) <= rho:
        return 1.0
    if region.dim == 1:
        return float(np.ceil(_circumradius(region) / rho))
    return Lattice(region.dim, rho).predicted_count(region)


def _layout(problem: Problem, radius: float, values: str) -> _Layout | None:
    """Cells of that radius, or None when one of them has no certificate. Raises ValueError when there are too many."""
    region, rho = problem.to_cover, radius / (1 + problem.overlap)
    n = region.dim
    predicted = _predicted(region, rho)
    slack = _SLACK_IF_PRUNED if problem.everywhere else _SLACK
    if predicted > slack * problem.max_cells + 100:
        about = "more than 1e+308" if predicted == math.inf else f"about {predicted:.6g}"
        raise problem.too_many(f"{about} cells of radius {radius:.3g}", predicted)
    problem.require_resolution(radius)
    box, lattice = region.bounding_box(), None
    if _circumradius(region) <= rho:
        centers = (box.lower + box.widths / 2)[None, :]
    elif n == 1:
        count = int(predicted)
        rho = _circumradius(region) / count
        radius = min(radius, rho * (1 + problem.overlap))
        centers = box.lower + (2 * np.arange(count)[:, None] + 1) * rho
    else:
        lattice = Lattice(n, rho)
        centers = lattice.points(region)
    served = problem.affine_bounds(centers, rho, centers - rho, centers + rho)
    kept = served > problem.eps
    error = float(served[~kept].max(initial=0.0))
    centers = centers[kept]
    if len(centers) > problem.max_cells:
        raise problem.too_many(f"{len(centers)} cells of radius {radius:.3g}", len(centers))
    chosen, bounds = certify(problem, centers, radius, values, stop=True)
    if (bounds > problem.eps).any():
        return None
    return _Layout(centers, chosen, radius, max(error, float(bounds.max(initial=0.0))), lattice)


def _enlarge(problem: Problem, best: _Layout) -> _Layout:
    """The layout of the largest radius found, by growth and bisection, for which every cell is certified."""

    def attempt(radius: float) -> _Layout | None:
        try:
            return _layout(problem, radius, "chebyshev")
        except TooManyCells:  # a larger radius may, rarely, meet a few points more at the boundary
            return None

    good, bad, limit = best.radius, math.inf, 2 * problem.to_cover.diameter
    while bad == math.inf and good < limit:
        trial = attempt(good * _ENLARGE)
        if trial is None:
            bad = good * _ENLARGE
        else:
            best, good = trial, good * _ENLARGE
    for _ in range(_HALVINGS if bad < math.inf else 0):
        middle = (good + bad) / 2
        trial = attempt(middle)
        if trial is None:
            bad = middle
        else:
            best, good = trial, middle
    return best
