"""Where the centres go: space-filling candidates, and a greedy choice among them.

The choice is orthogonal least squares (Chen, Cowan and Grant, Orthogonal least squares learning algorithm for radial
basis function networks, 1991): the next feature is the one that, made orthogonal to those already chosen, removes
most of the residual. Here several are taken at a time, so that the work is matrix products.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from approx.domains import Ball, Box

__all__ = ["Selection", "fitting_points", "select", "spread"]

Array = NDArray[np.float64]
_TINY = 1e-13  # what is left of a column of unit length, when it is rounding
_POOL = 4  # candidates looked at for each that is taken


def _halton(dim: int, count: int) -> Array:
    from scipy.stats import qmc  # slow to import

    return qmc.Halton(dim, scramble=False).random(count + 1)[1:]


def spread(domain: Box | Ball, count: int, reach: float = 1.0) -> Array:
    """(count, n) evenly spread points of the domain, enlarged by `reach` about its middle: a Halton sequence."""
    if isinstance(domain, Ball):
        wide = Ball(domain.center, domain.radius * reach)
        box = wide.bounding_box()
        size = count
        while True:
            points = box.lower + box.widths * _halton(domain.dim, size)
            points = points[wide.contains(points)]
            if len(points) >= count:
                return points[:count]
            size *= 2
    middle, half = (domain.lower + domain.upper) / 2, domain.widths / 2
    return middle + reach * half * (2 * _halton(domain.dim, count) - 1)


def fitting_points(domain: Box | Ball, count: int) -> Array:
    """(count, n) points of the domain, denser towards its boundary as Chebyshev's are, corners or poles included."""
    if isinstance(domain, Ball):
        offset = (spread(domain, count) - domain.center) / domain.radius
        length = np.linalg.norm(offset, axis=1, keepdims=True)
        pushed = np.sin(np.pi / 2 * np.minimum(length, 1.0))
        points = domain.center + domain.radius * offset * pushed / np.where(length > 0, length, 1.0)
        axes = domain.radius * np.concatenate([np.eye(domain.dim), -np.eye(domain.dim)])
        extra = (domain.center + axes)[:count]
        points[: len(extra)] = extra
        return domain.project(points)
    unit = 2 * _halton(domain.dim, count) - 1
    unit = 0.1 * unit - 0.9 * np.cos(np.pi / 2 * (1 + unit))
    if domain.dim <= 10:
        corners = np.stack(np.meshgrid(*[[-1.0, 1.0]] * domain.dim, indexing="ij"), -1).reshape(-1, domain.dim)
        corners = corners[: count // 4]
        unit[: len(corners)] = corners
    return domain.project((domain.lower + domain.upper) / 2 + domain.widths / 2 * unit)


@dataclass(frozen=True, eq=False)
class Selection:
    """chosen : indices of the candidates, best first
    residuals : (number chosen, largest |residual| left), after every block
    """

    chosen: NDArray[np.int64]
    residuals: tuple[tuple[int, float], ...]


def select(columns: Array, values: Array, fixed: Array, count: int, block: int = 16) -> Selection:
    """At most `count` of the columns (k, C) that together with `fixed` (k, f) describe values (k, m).

    When all that is left depends on the chosen columns to rounding, the first of the others follow. `columns` is
    overwritten.
    """
    basis, _ = np.linalg.qr(fixed)
    scale = np.linalg.norm(columns, axis=0)
    columns /= np.where(scale > 0, scale, 1.0)
    rest = values - basis @ (basis.T @ values)
    for _ in range(2):
        columns -= basis @ (basis.T @ columns)
    free = np.ones(columns.shape[1], dtype=bool)
    chosen: list[int] = []
    history = []
    while len(chosen) < count:
        history.append((len(chosen), float(np.abs(rest).max(initial=0.0))))
        squares = np.einsum("kc,kc->c", columns, columns)
        usable = free & (squares > _TINY**2)
        if not usable.any():
            chosen += np.flatnonzero(free)[: count - len(chosen)].tolist()
            break
        gains = np.where(usable, np.square(columns.T @ rest).sum(axis=1) / np.where(usable, squares, 1.0), -1.0)
        take = min(block, count - len(chosen))
        pool = np.argsort(-gains, kind="stable")[: _POOL * take]
        pool = pool[usable[pool]]
        picked = pool[_one_by_one(columns[:, pool].copy(), rest.copy(), take)]
        new = columns[:, picked]
        new, _ = np.linalg.qr(new / np.sqrt(squares[picked]))
        columns -= new @ (new.T @ columns)
        rest = rest - new @ (new.T @ rest)
        free[picked] = False
        chosen += picked.tolist()
    history.append((len(chosen), float(np.abs(rest).max(initial=0.0))))
    return Selection(np.array(chosen, dtype=np.int64), tuple(history))


def _one_by_one(columns: Array, rest: Array, count: int) -> NDArray[np.int64]:
    """The greedy choice itself, on a few columns (overwritten)."""
    first = np.einsum("kc,kc->c", columns, columns)
    picked: list[int] = []
    for _ in range(min(count, columns.shape[1])):
        squares = np.einsum("kc,kc->c", columns, columns)
        usable = squares > 1e-8 * first
        usable[picked] = False
        if not usable.any():
            break
        gains = np.where(usable, np.square(columns.T @ rest).sum(axis=1) / np.where(usable, squares, 1.0), -1.0)
        best = int(gains.argmax())
        direction = columns[:, best] / np.sqrt(squares[best])
        columns -= np.outer(direction, direction @ columns)
        rest -= np.outer(direction, direction @ rest)
        picked.append(best)
    return np.array(picked, dtype=np.int64)
