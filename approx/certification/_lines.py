"""The factor s(r) = h(r) / r of a radial activation between two parallel lines in r^2.

A radial layer multiplies v by s(|v|), and |v|^2 is a polynomial in the coordinates of a box. So a line in r^2 loses
only second-order terms. The line is the secant; how far s strays from it is bounded on a few pieces of [low, high]
from h at their ends and the range of h' on each, in the manner of Piyavskii's saw-tooth bound
(piyavskii1972).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from approx.certification._profiles import Profile
from approx.certification.intervals import UNIT, Interval, unchecked

__all__ = ["Lines", "lines"]

Array = NDArray[np.float64]

_PIECES = 8


@dataclass(frozen=True)
class Lines:
    """|s(r) - (offset + slope r^2)| <= error for low <= r <= high, r > 0; all (k,). error may be inf, with slope 0.

    factor : (2, k) the least and the largest s(r)
    size, steepness, shear : (k,) bounds of |h(r)|, |h'(r)| and |h'(r) - s(r)|
    stretch : (k,) bound of both |s| and |h'|: the Lipschitz constant of rho between these radii
    """

    offset: Array
    slope: Array
    error: Array
    factor: Array
    size: Array
    steepness: Array
    shear: Array
    stretch: Array


def lines(profile: Profile, low: Array, high: Array) -> Lines:
    """The lines on 0 <= low <= high, (k,) each; high may be infinite."""
    with np.errstate(all="ignore"):
        whole, _ = profile.bounds(unchecked(low, high))
        size = np.maximum(np.abs(whole.lo), np.abs(whole.hi))
        finite = np.isfinite(high)
        nodes = low + (np.where(finite, high, low) - low) * (np.arange(_PIECES + 1) / _PIECES)[:, None]
        nodes = np.clip(nodes, low, high)
        nodes[-1] = np.where(finite, high, low)
        left, right = nodes[:-1], nodes[1:]
        radii = unchecked(left, right)
        h, steep = profile.bounds(radii)
        steepness = np.maximum(np.abs(steep.lo), np.abs(steep.hi)).max(axis=0)
        points = unchecked(nodes, nodes)
        at = _capped(profile.bounds(points)[0] / points, profile)
        factor = _capped(h / radii, profile)
        if profile.from_zero:  # near 0, h(r) / r is a derivative between 0 and r
            zero = low == 0
            for ends in (at, factor):
                ends.lo[0] = np.where(zero, np.maximum(steep.lo[0], profile.factor[0]), ends.lo[0])
                ends.hi[0] = np.where(zero, np.minimum(steep.hi[0], profile.factor[1]), ends.hi[0])
        rate = (steep - factor) / (2.0 * np.square(radii))  # of s in r^2
        least, most = factor.lo.min(axis=0), factor.hi.max(axis=0)

        squares = np.square(nodes)
        rise = 0.5 * (at.lo[-1] + at.hi[-1]) - 0.5 * (at.lo[0] + at.hi[0])
        slope = np.clip(rise / (squares[-1] - squares[0]), rate.lo.min(axis=0), rate.hi.max(axis=0))
        slope = np.where(np.isfinite(slope), slope, 0.0)
        below, above = _stray(at, factor, rate, points, radii, slope)
        error = 0.5 * (above - below)
        flat = ~(error < 0.5 * (most - least))
        slope = np.where(flat, 0.0, slope)
        below, above = np.where(flat, least, below), np.where(flat, most, above)
        offset = 0.5 * (below + above)
        error = np.maximum(above - offset, offset - below) * (1 + 4 * UNIT)
        known = finite & np.isfinite(error)
        shear = np.maximum(np.abs((steep - factor).lo), np.abs((steep - factor).hi)).max(axis=0)
        stretch = np.maximum(np.maximum(np.abs(least), np.abs(most)), steepness)
        everywhere = profile.factor
        return Lines(
            offset=np.where(known, offset, 0.0),
            slope=np.where(known, slope, 0.0),
            error=np.where(known, error, np.inf),
            factor=np.stack([np.where(finite, end, all) for end, all in zip((least, most), everywhere, strict=True)]),
            size=_known(size),
            steepness=_known(np.where(finite, steepness, np.inf)),
            shear=_known(np.where(finite, shear, np.inf)),
            stretch=_known(np.where(finite, stretch, np.inf)),
        )


def _known(values: Array) -> Array:
    return np.where(np.isnan(values), np.inf, values)


def _capped(values: Interval, profile: Profile) -> Interval:
    """Bounds of s, cut to what is known of it everywhere; nothing known where they are NaN."""
    least, most = profile.factor
    low = np.where(np.isnan(values.lo), least, np.maximum(values.lo, least))
    return unchecked(low, np.where(np.isnan(values.hi), most, np.minimum(values.hi, most)))


def _stray(
    at: Interval, factor: Interval, rate: Interval, points: Interval, radii: Interval, slope: Array
) -> tuple[Array, Array]:
    """Bounds of s(r) - slope r^2, (k,) each."""
    line = unchecked(slope, slope)
    node = at - line * np.square(points)
    piece = factor - line * np.square(radii)
    tilt = rate - line
    ends = unchecked(points.lo[:-1], points.lo[:-1]), unchecked(points.hi[1:], points.hi[1:])
    length: Any = np.square(ends[1]) - np.square(ends[0])
    fall, climb = np.maximum(-tilt.lo, 0.0), np.maximum(tilt.hi, 0.0)

    def crest(start: Array, end: Array, climb: Array, fall: Array) -> Array:
        """The highest point of a curve from start to end that climbs and falls no faster."""
        peak = (fall * start + climb * end + fall * climb * length.hi) / (fall + climb)
        slack = 8 * UNIT * (np.abs(start) + np.abs(end) + np.minimum(fall, climb) * length.hi)
        ends = np.maximum(start, end)
        return np.where(fall + climb > 0, np.maximum(peak, ends), ends) + slack

    high = crest(node.hi[:-1], node.hi[1:], climb, fall)
    low = -crest(-node.lo[:-1], -node.lo[1:], fall, climb)
    high = np.where(np.isnan(high), piece.hi, np.minimum(high, piece.hi))
    low = np.where(np.isnan(low), piece.lo, np.maximum(low, piece.lo))
    return low.min(axis=0), high.max(axis=0)
