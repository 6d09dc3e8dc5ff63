"""Bounds of |F - f| on many boxes one by one: where the error is large, and where it is known how large."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from approx import _checks
from approx.certification._blocks import Block
from approx.certification._boxes import Problem
from approx.certification.certificate import Certificate
from approx.certification.dense import Difference, without_cells
from approx.certification.enclosures import enclosure_of
from approx.certification.pieces import is_stepwise, pieces
from approx.domains import Box

__all__ = ["local_bounds"]

Array = NDArray[np.float64]
_CALL = "local_bounds"


def local_bounds(
    report: Certificate, lower: ArrayLike, upper: ArrayLike, *, tol: float | None = None, rounds: int = 6
) -> tuple[Array, Array]:
    """(low (k,), high (k,)): low <= sup |F - f| <= high on each of the boxes lower, upper (k, n), certified as the
    report is.

    tol : how near the bounds should come to each other, by default a hundredth of the report's upper bound
    rounds : how often boxes are cut into four at most; after that the bounds are what they are

    Raises TypeError for anything but a Certificate, ValueError for boxes of the wrong shape, that are not finite, or
    with lower >= upper.

    >>> import constructions
    >>> from approx import certify, targets
    >>> report = certify(constructions.build(targets.gaussian(dim=1), 0.2, verify=False))
    >>> low, high = local_bounds(report, [[-3.0], [0.0]], [[0.0], [3.0]])
    >>> bool((low <= high).all() and high.max() <= report.upper + 1e-3)
    True
    """
    if not isinstance(report, Certificate):
        action = "Pass what certify returned."
        raise TypeError(_checks.message(_CALL, f"report = {_checks.show(report)}", "a Certificate", action))
    n = report.target.dim_in
    lower, upper = (
        _checks.finite_array(_CALL, name, end, (None, n)) for name, end in (("lower", lower), ("upper", upper))
    )
    if lower.shape != upper.shape or not len(lower) or not (lower < upper).all():
        received = f"lower of shape {lower.shape}, upper of shape {upper.shape}"
        raise ValueError(_checks.message(_CALL, received, "both (k, n), lower < upper", "Pass one box a row."))
    rounds = _checks.count(_CALL, "rounds", rounds, least=0)
    tol = (report.upper or report.lower) / 100 if tol is None else _checks.positive(_CALL, "tol", tol)
    problem = _problem(report, Box(lower.min(axis=0), upper.max(axis=0)))
    # All boxes at once: the parts of one share its number.
    nothing = np.zeros(len(lower), np.int64)
    lists, _, cuts = problem.refine(lower, upper, nothing, problem.root().lists, np.array([False]))
    unknown = np.full(len(lower), np.inf)
    block = problem.block(lower, upper, lists, *problem.range(lower, upper), unknown, cuts)
    number, low, high = np.arange(len(lower)), np.zeros(len(lower)), np.zeros(len(lower))
    for turn in range(rounds + 1):
        points = problem.proposals(block)
        values, _, decided = problem.look(block, points)
        np.maximum.at(low, number, np.where(decided, values, 0.0))
        waits = (block.bounds > np.maximum(low, high)[number] + tol) & (turn < rounds)
        np.maximum.at(high, number[~waits], block.bounds[~waits])
        block, number = block.take(np.flatnonzero(waits)), number[waits]
        if not len(number):
            break
        first, last, rows, _ = problem.split(block)
        lists, _, cuts = problem.refine(first, last, rows, block.lists, block.outside > low[number])
        number = number[rows]
        known = block.low[rows], block.high[rows], block.outside[rows], block.bounds[rows], block.pieces[rows]
        block = problem.narrow(Block(first, last, lists, *known, cuts))
    return low, np.maximum(low, high)


def _problem(report: Certificate, box: Box) -> Problem:
    """|F - f| on a box."""
    network, enclosure, never = report.network, enclosure_of(report.target), float("inf")
    if is_stepwise(network):
        radius = float(np.linalg.norm(np.maximum(np.abs(box.lower), np.abs(box.upper)))) * (1 + 1e-12)
        found = pieces(network, radius)
        cells, values, error = found.cells(radius), found.values[found.nonempty], found.value_error(radius)
        return Problem(_CALL, cells, values, found.affine, enclosure, box, error, never)
    return Problem(
        _CALL, *without_cells(Difference(network, enclosure, _CALL), network.dim_in, network.dim_out), box, 0.0, never
    )
