"""F - f on boxes for any radial network F: Taylor models of both, or a Taylor form of F and a mean value form of f.

Where F follows f the polynomials cancel. What is left of forms shrinks with the square of the box, that of models with
a high power of it; forms follow where models cannot: in many dimensions, through jumps, and on wide boxes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from approx.affine import AffineMap
from approx.certification._series import Basis, ranges
from approx.certification.branch import Bracket, Oracle, branch_and_bound
from approx.certification.cells import Cells
from approx.certification.enclosures import Enclosure, function_of, obstacle
from approx.certification.forms import Form, Layers
from approx.certification.intervals import TINY, UNIT, Interval, IntervalError, up
from approx.certification.models import Models
from approx.certification.taylor import Taylor
from approx.domains import Ball, Box
from approx.networks import RadialNetwork

__all__ = ["Difference", "search_dense", "without_cells"]

Array = NDArray[np.float64]
_TOGETHER = 256
_PARTS = 4  # in each direction, for bounds of the difference of two models
_MOST_MISSING = 1e-3  # of the values' size: models that miss more may be worse than forms


class Difference:
    """Bounds of F - f, an oracle for branch and bound. They hold for F in real arithmetic, and as evaluated in the
    network's dtype.

    Raises TypeError or ValueError for networks that forms cannot follow (see `Layers`).
    """

    def __init__(self, network: RadialNetwork, enclosure: Enclosure, call: str = "Difference"):
        self.layers = Layers(network, call)
        self.enclosure = enclosure
        followed = Models.follow(self.layers) and enclosure.followed and not obstacle(enclosure.target, _by_models)
        self.models = Models(self.layers) if followed else None
        self._at_points = Models(self.layers, 1) if followed else None
        self.together = _TOGETHER if followed else 1  # boxes to begin with: one takes nearly as long
        self._made_from = network, enclosure, call

    def __reduce__(self) -> tuple[type, tuple]:
        return Difference, self._made_from

    def range(self, lower: Array, upper: Array) -> tuple[Array, Array]:
        """lower, upper (k, n), finite -> (low, high), (k, m) each: low <= F - f <= high on the box."""
        return self.range_and_peaks(lower, upper)[:2]

    def range_and_peaks(self, lower: Array, upper: Array) -> tuple[Array, Array, Array]:
        """The range, and a point (k, n) of each box near which the largest component of |F - f| may be largest."""
        low, high = np.full((2, len(lower), self.layers.dim_out), -np.inf)
        high, peaks = -high, lower.copy()
        left = np.arange(len(lower))
        if self.models is not None and self._at_points is not None:
            wide = np.ones(len(lower), dtype=bool)
            models = self._at_points if (lower == upper).all() else self.models
            for rows in _chunks(left, models.chunk):
                low[rows], high[rows], peaks[rows], wide[rows] = self._modelled(models, lower[rows], upper[rows])
            left = left[wide]
        for rows in _chunks(left, self.layers.chunk):
            least, most, corners = self._range(lower[rows], upper[rows])
            ahead = (most - least).max(axis=1) < (high[rows] - low[rows]).max(axis=1)
            peaks[rows[ahead]] = corners[ahead]
            low[rows], high[rows] = np.maximum(low[rows], least), np.minimum(high[rows], most)
        return low, high, peaks

    def _modelled(self, models: Models, lower: Array, upper: Array) -> tuple[Array, Array, Array, NDArray[np.bool_]]:
        """What `range_and_peaks` returns, from Taylor models, and for which boxes forms may know more."""
        count, m = len(lower), self.layers.dim_out
        middle = np.clip(lower + 0.5 * (upper - lower), lower, upper)
        x = Taylor.variables(models.basis, middle, up(np.maximum(middle - lower, upper - middle)))
        try:
            target = x._lift(function_of(self.enclosure.target)(x))
        except IntervalError:  # f is undefined on one of the boxes
            nothing = np.full((count, m), np.inf)
            return -nothing, nothing, lower, np.ones(count, dtype=bool)
        rest = models(x) - target
        flat = rest.terms.reshape(len(rest.terms), -1), rest.error.reshape(-1)
        low, high, corners = ranges(models.basis, *flat, _PARTS)
        low, high = low.reshape(count, m), high.reshape(count, m)
        largest = np.maximum(-low, high).argmax(axis=1)
        corners = corners.reshape(-1, count, m)[:, np.arange(count), largest].T
        peaks = np.clip(middle + corners * (upper - middle), lower, upper)
        wide = ~(rest.error < _MOST_MISSING * np.abs(target.terms).sum(axis=0)).all(axis=1)
        return low, high, peaks, wide

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


def _chunks(rows: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def _by_models(function: Callable[[Any], Any], boxes: Interval) -> Interval:
    """Bounds by Taylor models, to see whether the function can be followed."""
    middle = boxes.lo / 2 + boxes.hi / 2
    basis = Basis.of(boxes.shape[-1], 3)
    x = Taylor.variables(basis, middle, up(np.maximum(boxes.hi - middle, middle - boxes.lo)))
    return x._lift(function(x)).bounds


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


def without_cells(oracle: Oracle, dim_in: int, dim_out: int) -> tuple[Cells, Array, AffineMap, Oracle]:
    """sup |f| for the f of an oracle as a problem for branch and bound: no cells, and the affine map 0 against f."""
    empty = Cells(np.empty((0, dim_in)), np.empty(0)), np.empty((0, dim_out))
    return *empty, AffineMap.constant(np.zeros(dim_out), dim_in), oracle


def search_dense(difference: Difference, domain: Box | Ball, **limits: Any) -> Bracket:
    """Branch and bound for sup |F - f|; limits as for `branch_and_bound`."""
    sizes = difference.layers.dim_in, difference.layers.dim_out
    return branch_and_bound(*without_cells(difference, *sizes), domain, **limits)
