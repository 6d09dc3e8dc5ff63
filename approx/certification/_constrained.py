"""Bounds of |F - f| on the part of a box where a piece can count, to second order in the size of the box.

A cell counts only where q(x) = |A x - u|^2 <= outer, and what comes after it only where q(x) >= inner. So for every
multiplier t >= 0

    sup of sigma (f - y) over box and cell <= sup over the box of sigma (f - y) + t (outer - q),

and likewise with t (q - inner) outside a cell. With the mean value form of f about the middle c of the box, x = c + xi,
and q(x) = q(c) + g.xi + |A xi|^2, the slopes of f and of t q cancel for the right t where f is constant along the
boundary of the cell. That is where good covers have their largest errors, all along the boundaries: plain ranges of f
would need boxes as small as the tolerance there, these need boxes of about its square root.

Each bound uses the one constraint that helps most. Any t is valid, so rounding matters only in the sum, where `slack`
exceeds it: every term is at most a few times the magnitudes that are added up in it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from approx._compile import compiled
from approx.affine import AffineMap
from approx.certification._union import expanded
from approx.certification.cells import Cells, Lists
from approx.certification.intervals import up
from approx.certification.jets import Linear

__all__ = ["constrained"]

Array = NDArray[np.float64]


def constrained(
    form: Linear,
    lower: Array,
    upper: Array,
    lists: Lists,
    cells: Cells,
    inner: Array,
    outer: Array,
    values: Array,
    affine: AffineMap,
    limits: Array,
) -> Array:
    """Bounds of |f - y_i| for the listed cells, and of |f - L|, on the parts of boxes where these may count.

    form : f on the boxes lower, upper (k, n), values (k, m); lists of l entries: as for Cells.refine, with its
        thresholds inner, outer (N,); values (N, m); limits (l + k,): what is good enough, inf where it is known to hold
    Returns (l + k,): an entry for each of the lists, then one for L on each box; inf where not looked at, such as
    after the first piece of a box that is not good enough. Value errors are not in them.
    """
    k, m, n = len(lower), values.shape[1], cells.dim_in
    slopes = np.zeros((2, k, m, n))
    for j, part in enumerate(form.slopes):
        if part is not None:
            slopes[0, :, :, j], slopes[1, :, :, j] = (np.broadcast_to(end, (k, m)) for end in (part.lo, part.hi))
    at = np.empty((2, k, m))
    at[0], at[1] = form.value.lo, form.value.hi
    radius = up(np.maximum(form.middle - lower, upper - form.middle))
    starts, members, closed = lists
    bounds = np.full(len(members) + k, np.inf)
    box = np.repeat(np.arange(k), np.diff(starts))
    some = None if cells.matrices is None else cells.matrices[members]
    with np.errstate(over="ignore", invalid="ignore"):
        quadratics = _quadratics(form.middle[box], radius[box], cells.offsets[members], some)
    padded = [np.concatenate([part, np.zeros((1, *part.shape[1:]))]) for part in quadratics]  # no constraint
    _constrained(
        np.ascontiguousarray(form.middle), np.ascontiguousarray(radius), at, slopes, starts, members, closed,
        *padded, inner, outer, values, affine.matrix, affine.offset, limits, bounds, np.zeros(n),
    )  # fmt: skip
    return bounds


def _quadratics(
    middle: Array, radius: Array, offsets: Array, matrices: Array | None
) -> tuple[Array, Array, Array, Array]:
    """Of cells on boxes, row by row: q(c) (e,), its gradient (e, n), a bound of |A xi|^2 (e,), and of what all terms of
    q add up to (e,)."""
    w, reach, gradient = expanded(middle, radius, offsets, matrices)
    size = np.abs(middle) + radius
    size = np.abs(offsets) + (size if matrices is None else np.einsum("epn,en->ep", np.abs(matrices), size))
    return (w * w).sum(axis=1), 2.0 * gradient, (reach * reach).sum(axis=1), (size * size).sum(axis=1)


@compiled
def _with(sign, start, slopes, k, j, tilt, radius, gradient, q, bend, size, limit, inside, n):  # pragma: no cover
    """sup over the box of sign (f_j - y_j) + t (limit - q), or + t (q - limit) outside, for a t that suits."""
    along = 0.0
    square = 0.0
    for a in range(n):
        r = radius[k, a]
        slope = sign * (0.5 * (slopes[0, k, j, a] + slopes[1, k, j, a]) - tilt[a])
        along += r * r * slope * gradient[a]
        square += r * r * gradient[a] * gradient[a]
    t = along / square if square > 0.0 else 0.0
    if not inside:
        t = -t
    if not (0.0 < t < 1e100):
        t = 0.0
    turn = -t if inside else t
    total = start + turn * (q - limit)
    terms = abs(start) + t * (q + abs(limit) + 4.0 * size)
    for a in range(n):
        low = sign * (slopes[0, k, j, a] - tilt[a]) + turn * gradient[a]
        high = sign * (slopes[1, k, j, a] - tilt[a]) + turn * gradient[a]
        total += radius[k, a] * max(abs(low), abs(high))
        largest = max(abs(slopes[0, k, j, a]), abs(slopes[1, k, j, a]))
        terms += radius[k, a] * (largest + abs(tilt[a]) + t * abs(gradient[a]))
    if not inside:
        total += t * bend
    return total + (8 * n + 64) * 2.0**-52 * terms


@compiled
def _constrained(
    middle, radius, at, slopes, starts, members, closed, q, gradients, bend, size, inner, outer, values,
    linear, constant, limits, bounds, tilt,
):  # pragma: no cover - compiled  # fmt: skip
    n = middle.shape[1]
    m = values.shape[1]
    for k in range(middle.shape[0]):
        count = starts[k + 1] - starts[k]
        for e in range(count + 1):
            last = e == count
            slot = members.shape[0] + k if last else starts[k] + e
            if last and closed[k]:
                bounds[slot] = 0.0
                continue
            if limits[slot] == np.inf:
                continue
            enough = limits[slot] / np.sqrt(m)
            square = 0.0
            for j in range(m):
                if last:
                    y = constant[j]
                    weight = abs(constant[j])
                    for a in range(n):
                        y += linear[j, a] * middle[k, a]
                        weight += abs(linear[j, a] * middle[k, a])
                        tilt[a] = linear[j, a]
                else:
                    y = values[members[starts[k] + e], j]
                    weight = abs(y)
                    for a in range(n):
                        tilt[a] = 0.0
                largest = 0.0
                for turn in range(2):
                    sign = 1.0 - 2.0 * turn
                    start = at[1, k, j] - y if turn == 0 else y - at[0, k, j]
                    start += (n + 8) * 2.0**-52 * (weight + abs(at[0, k, j]) + abs(at[1, k, j]))
                    best = np.inf
                    for back in range(-1, count if last else e + 1):
                        if best <= enough:
                            break
                        c, limit, inside = members.shape[0], 0.0, True
                        if back >= 0:
                            c = starts[k] + (back if last else e - back)
                            cell = members[c]
                            inside = c == slot
                            limit = outer[cell] if inside else inner[cell]
                            if limit == np.inf or (not inside and limit <= 0.0):
                                continue
                        found = _with(
                            sign, start, slopes, k, j, tilt, radius, gradients[c],
                            q[c], bend[c], size[c], limit, inside, n,
                        )  # fmt: skip
                        best = min(best, found) if found == found else best
                    largest = max(largest, best)
                square += largest * largest
            bounds[slot] = np.sqrt(square) * (1.0 + (m + 8) * 2.0**-52)
            if bounds[slot] > limits[slot]:
                break  # the box has to be halved, whatever the other pieces do
