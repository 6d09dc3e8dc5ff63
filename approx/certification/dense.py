"""F - f on boxes for any radial network F: the Taylor form of F less the mean value form of f.

Where F follows f the slopes cancel, and what is left shrinks with the square of the box.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from approx.affine import AffineMap
from approx.certification.branch import Bracket, branch_and_bound
from approx.certification.cells import Cells
from approx.certification.enclosures import Enclosure
from approx.certification.forms import Form, Layers
from approx.certification.intervals import TINY, UNIT, up
from approx.domains import Ball, Box
from approx.networks import RadialNetwork

__all__ = ["Difference", "search_dense"]

Array = NDArray[np.float64]


class Difference:
    """Bounds of F - f, an oracle for branch and bound. They hold for F in real arithmetic, and as evaluated in the
    network's dtype.

    Raises TypeError or ValueError for networks that forms cannot follow (see `Layers`).
    """

    def __init__(self, network: RadialNetwork, enclosure: Enclosure, call: str = "Difference"):
        self.layers = Layers(network, call)
        self.enclosure = enclosure

    def range(self, lower: Array, upper: Array) -> tuple[Array, Array]:
        """lower, upper (k, n), finite -> (low, high), (k, m) each: low <= F - f <= high on the box."""
        low, high = np.empty((2, len(lower), self.layers.dim_out))
        for start in range(0, len(lower), self.layers.chunk):
            rows = slice(start, start + self.layers.chunk)
            low[rows], high[rows] = self._range(lower[rows], upper[rows])
        return low, high

    def _range(self, lower: Array, upper: Array) -> tuple[Array, Array]:
        with np.errstate(all="ignore"):
            target = self.enclosure.linear(lower, upper)
            middle = target.middle if target is not None else np.clip(lower + 0.5 * (upper - lower), lower, upper)
            radius = up(np.maximum(middle - lower, upper - middle))
            form = self.layers(middle.T, radius.T)
            if target is None:
                least, most = self.enclosure.range(lower, upper)
                return _less(form, least.T, most.T)
            low, high = _less(form, target.natural.lo.T, target.natural.hi.T)
            joint = _less(_tilted(form, target.slopes, radius), target.value.lo.T, target.value.hi.T)
            return np.fmax(low, joint[0]), np.fmin(high, joint[1])


def _less(form: Form, least: Array, most: Array) -> tuple[Array, Array]:
    """Bounds of F - y for any y with least <= y <= most, as (k, m); the form is that of F."""
    reach = np.abs(form.terms[1:]).sum(axis=0) + form.error
    slack = (len(form.terms) + 6) * UNIT * (form.size + np.maximum(np.abs(least), np.abs(most))) + TINY
    return (form.terms[0] - reach - most - slack).T, (form.terms[0] + reach - least + slack).T


def _tilted(form: Form, slopes: list, radius: Array) -> Form:
    """The form, less slopes[j] (x_j - middle_j) for any values of the slopes in their intervals."""
    terms, error = form.terms.copy(), form.error.copy()
    for j, part in enumerate(slopes):
        if part is None:
            continue
        low, high = (np.broadcast_to(end.T, error.shape) for end in (part.lo, part.hi))
        center = 0.5 * low + 0.5 * high
        half = np.maximum(high - center, center - low)
        moved = center * radius[:, j]
        error += (half * (1 + 4 * UNIT)) * radius[:, j] + 4 * UNIT * (np.abs(moved) + np.abs(terms[1 + j])) + TINY
        terms[1 + j] -= moved
    error *= 1 + (2 * len(slopes) + 4) * UNIT
    return form._replace(terms=terms, error=error)


def search_dense(difference: Difference, domain: Box | Ball, **limits) -> Bracket:
    """Branch and bound for sup |F - f|; limits as for `branch_and_bound`."""
    m = difference.layers.dim_out
    nothing = Cells(np.empty((0, domain.dim)), np.empty(0))
    return branch_and_bound(
        nothing, np.empty((0, m)), AffineMap.constant(np.zeros(m), domain.dim), difference, domain, **limits
    )
