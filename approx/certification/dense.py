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
from approx.certification.intervals import TINY, UNIT, Interval, up
from approx.domains import Ball, Box
from approx.networks import RadialNetwork

__all__ = ["Difference", "search_dense", "without_cells"]

Array = NDArray[np.float64]


class Difference:
    """Bounds of F - f, an oracle for branch and bound. They hold for F in real arithmetic, and as evaluated in the
    network's dtype.

    Raises TypeError or ValueError for networks that forms cannot follow (see `Layers`).
    """

    def __init__(self, network: RadialNetwork, enclosure: Enclosure, call: str = "Difference"):
        self.layers = Layers(network, call)
        self.enclosure = enclosure
        self._made_from = network, enclosure, call

    def __reduce__(self) -> tuple[type, tuple]:
        return Difference, self._made_from

    def range(self, lower: Array, upper: Array) -> tuple[Array, Array]:
        """lower, upper (k, n), finite -> (low, high), (k, m) each: low <= F - f <= high on the box."""
        return self.range_and_peaks(lower, upper)[:2]

    def range_and_peaks(self, lower: Array, upper: Array) -> tuple[Array, Array, Array]:
        """The range, and the corner (k, n) of each box towards which the largest component of |F - f| grows."""
        low, high = np.empty((2, len(lower), self.layers.dim_out))
        peaks = np.empty(lower.shape)
        for start in range(0, len(lower), self.layers.chunk):
            rows = slice(start, start + self.layers.chunk)
            low[rows], high[rows], peaks[rows] = self._range(lower[rows], upper[rows])
        return low, high, peaks

    def _range(self, lower: Array, upper: Array) -> tuple[Array, Array, Array]:
        target = self.enclosure.linear(lower, upper)
        middle = target.middle if target is not None else np.clip(lower + 0.5 * (upper - lower), lower, upper)
        radius = up(np.maximum(middle - lower, upper - middle))
        shape = len(lower), self.layers.dim_out
        slopes = [] if target is None else [_spread(part, shape) for part in target.slopes]
        values = self.enclosure.range(lower, upper) if target is None else (target.natural.lo, target.natural.hi)
        low, high = np.full((2, *shape), -np.inf)
        low, peaks, largest = -low, lower.copy(), np.full(len(lower), -np.inf)
        with np.errstate(all="ignore"):
            for rows, form in self.layers(middle.T, radius.T):
                least, most = _less(form, *(end[rows].T for end in values))
                if target is not None:
                    form = _tilted(form, [part and (part[0][rows], part[1][rows]) for part in slopes], radius[rows])
                    joint = _less(form, target.value.lo[rows].T, target.value.hi[rows].T)
                    least, most = np.fmax(least, joint[0]), np.fmin(most, joint[1])
                proper = least <= most
                least, most = np.where(proper, least, -np.inf), np.where(proper, most, np.inf)
                low[rows], high[rows] = np.minimum(low[rows], least), np.maximum(high[rows], most)
                bound = np.maximum(-least, most)
                ahead = bound.max(axis=1) > largest[rows]
                largest[rows[ahead]] = bound[ahead].max(axis=1)
                peaks[rows[ahead]] = _corners(
                    form.take(ahead), least[ahead], most[ahead], lower[rows[ahead]], upper[rows[ahead]]
                )
        return low, high, peaks


def _corners(form: Form, least: Array, most: Array, lower: Array, upper: Array) -> Array:
    """The corner of each box towards which the component with the largest bound grows in size."""
    below = most < -least
    component = np.where(below, -least, most).argmax(axis=1)
    boxes = np.arange(len(lower))
    ascends = (form.terms[1:, component, boxes].T > 0) != below[boxes, component][:, None]
    return np.where(ascends, upper, lower)


def _less(form: Form, least: Array, most: Array) -> tuple[Array, Array]:
    """Bounds of F - y for any y with least <= y <= most, as (k, m); the form is that of F."""
    reach = np.abs(form.terms[1:]).sum(axis=0) + form.error
    slack = (len(form.terms) + 6) * UNIT * (form.size + np.maximum(np.abs(least), np.abs(most))) + TINY
    return (form.terms[0] - reach - most - slack).T, (form.terms[0] + reach - least + slack).T


def _spread(part: Interval | None, shape: tuple[int, int]) -> tuple[Array, Array] | None:
    return None if part is None else (np.broadcast_to(part.lo, shape), np.broadcast_to(part.hi, shape))


def _tilted(form: Form, slopes: list, radius: Array) -> Form:
    """The form, less slopes[j] (x_j - middle_j) for any values of the slopes in their intervals."""
    terms, error = form.terms.copy(), form.error.copy()
    for j, part in enumerate(slopes):
        if part is None:
            continue
        low, high = part[0].T, part[1].T
        center = 0.5 * low + 0.5 * high
        half = np.maximum(high - center, center - low)
        moved = center * radius[:, j]
        error += (half * (1 + 4 * UNIT)) * radius[:, j] + 4 * UNIT * (np.abs(moved) + np.abs(terms[1 + j])) + TINY
        terms[1 + j] -= moved
    error *= 1 + (2 * len(slopes) + 4) * UNIT
    return form._replace(terms=terms, error=error)


def without_cells(difference: Difference) -> tuple[Cells, Array, AffineMap, Difference]:
    """F - f as a problem for branch and bound: no cells, and the affine map 0 against the difference."""
    n, m = difference.layers.dim_in, difference.layers.dim_out
    return Cells(np.empty((0, n)), np.empty(0)), np.empty((0, m)), AffineMap.constant(np.zeros(m), n), difference


def search_dense(difference: Difference, domain: Box | Ball, **limits) -> Bracket:
    """Branch and bound for sup |F - f|; limits as for `branch_and_bound`."""
    return branch_and_bound(*without_cells(difference), domain, **limits)
