"""Proof obligation of every cover: its cells, even a little smaller than stated, hold every point they must."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from approx import _checks
from approx.covers import Cover
from approx.domains import Ball, Box
from approx.lattice import Lattice

__all__ = ["check_coverage"]

Array = NDArray[np.float64]
_CORNER_DIMS = 10  # a box has 2^n corners
_HOLES = 4096


def check_coverage(
    cover: Cover,
    domain: Box | Ball,
    *,
    served: Callable[[Array], NDArray[np.bool_]] | None = None,
    lattice: Lattice | None = None,
    samples: int = 2048,
    seed: int = 0,
) -> None:
    """Raise RuntimeError, naming a point, unless the cells shrunk by overlap/2 hold every test point of the domain.

    Test points: `samples` quasi-random points of the domain, its centre, corners and poles, and the nearest points of
    the domain to the cells' outermost points. `served`, (k, n) -> (k,), says which points may stay outside all cells.
    `lattice` says that the cells are balls about lattice points: then its covering radius is compared with the
    distance of its deep hole from the points around it, and the deep holes around the cells are test points too.

    >>> from approx.affine import AffineMap
    >>> cover = Cover([[0.0]], [[1.0]], AffineMap.constant([0.0], 1), radii=[1.0], overlap=1e-6)
    >>> check_coverage(cover, Box([-0.9], [0.9]))
    >>> check_coverage(cover, Box([-0.9], [1.1]))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    RuntimeError: check_coverage: received a point [1.1] in no cell of Cover(1 ball in R^1, ...
    """
    points = [_special_points(domain), domain.sample(samples, seed)]
    if len(cover):
        edge, _ = cover.boundary_points(samples, seed)
        points.append(domain.project(edge))
    if lattice is not None:
        points.append(_deep_holes(cover, domain, lattice))
    tested = np.concatenate(points)
    shrink = 1 - cover.overlap / 2
    if cover.radii is not None:
        smaller = replace(cover, radii=cover.radii * shrink)
    else:
        smaller = replace(cover, shapes=cover.matrices / shrink)
    open_points = tested[smaller.find(tested) < 0]
    if served is not None and len(open_points):
        open_points = open_points[~served(open_points)]
    if len(open_points):
        raise RuntimeError(
            _checks.message(
                "check_coverage",
                f"a point {open_points[0].tolist()} in no cell of {cover!r}",
                f"cells that cover {domain}, even when shrunk by {cover.overlap / 2:g}",
                "This is a defect of the cover strategy: please report it with the target and eps.",
            )
        )


def _special_points(domain: Box | Ball) -> Array:
    """(k, n) the centre, the centres of the faces (or the poles of a ball) and, in few dimensions, the corners."""
    box = domain.bounding_box()
    half = box.widths / 2
    signs = np.concatenate([np.zeros((1, box.dim)), np.eye(box.dim), -np.eye(box.dim)])
    if box.dim <= _CORNER_DIMS:
        signs = np.concatenate([signs, list(itertools.product((-1.0, 1.0), repeat=box.dim))])
    return domain.project(box.lower + half + signs * half)


def _deep_holes(cover: Cover, domain: Box | Ball, lattice: Lattice) -> Array:
    """(k, n) deep holes around the cells, moved into the domain. Raises RuntimeError on a wrong covering radius."""
    hole, rho = lattice.deep_hole, lattice.covering_radius
    around = lattice.points(Ball(hole, rho / 2), rho, origin=np.zeros(lattice.dim))
    distance = float(np.linalg.norm(around - hole, axis=1).min())
    if not abs(distance - rho) <= 1e-9 * rho:
        raise RuntimeError(
            _checks.message(
                "check_coverage",
                f"a deep hole at distance {distance!r}",
                f"the covering radius {rho!r}",
                "This is a defect of the lattice: please report it.",
            )
        )
    centers = cover.centers[:: max(1, len(cover) // _HOLES)]
    return domain.project(np.concatenate([centers + hole, centers - hole]))
