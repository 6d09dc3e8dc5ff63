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

_ULP = 2.0**-52


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
    ends = np.zeros((k, m, 2, n))
    for j, part in enumerate(form.slopes):
        if part is not None:
            ends[:, :, 0, j], ends[:, :, 1, j] = part.lo, part.hi
    low, high = (np.broadcast_to(end, (k, m)) for end in (form.value.lo, form.value.hi))
    middle, radius = form.middle, up(np.maximum(form.middle - lower, upper - form.middle))
    starts, members, closed = lists
    box = np.repeat(np.arange(k), np.diff(starts))
    some = None if cells.matrices is None else cells.matrices[members]
    with np.errstate(over="ignore", invalid="ignore"):
        quadratics = _quadratics(middle[box], radius[box], cells.offsets[members], some)
        # What a constant is compared with, f, and what 0 is compared with, f - L: ranges at the middle, slopes, reach.
        products = affine.matrix * middle[:, None]
        level, slack = products.sum(axis=2) + affine.offset, (10 * n + 80) * _ULP
        weight = (np.abs(products) + np.abs(affine.matrix) * radius[:, None]).sum(axis=2) + np.abs(affine.offset)
        slopes = np.stack([ends, ends - affine.matrix[:, None]]) * radius[:, None, None]
        reach = np.abs(slopes).max(axis=3).sum(axis=3)
        rounding = slack * (np.abs(low) + np.abs(high) + reach[0] + np.stack([np.zeros((k, m)), weight]))
        sides = np.stack([[high, high - level] + rounding, [-low, level - low] + rounding], axis=-1)
    bounds = np.full(len(members) + k, np.inf)
    _constrained(
        starts, members, closed, limits, inner, outer, values, sides.reshape(-1, 2), reach.reshape(-1),
        slopes.reshape(-1), *quadratics, bounds,
    )  # fmt: skip
    return bounds


def _quadratics(
    middle: Array, radius: Array, offsets: Array, matrices: Array | None
) -> tuple[Array, Array, Array, Array]:
    """Of cells on boxes, row by row: radius times the gradient of q (e, n), q(c) (e,), a bound of |A xi|^2 (e,), and of
    what all terms of q add up to (e,)."""
    w, reach, gradient = expanded(middle, radius, offsets, matrices)
    gradient = 2.0 * radius * gradient
    size = np.abs(middle) + radius
    size = np.abs(offsets) + (size if matrices is None else np.einsum("epn,en->ep", np.abs(matrices), size))
    q, bend, size = ((part * part).sum(axis=1) for part in (w, reach, size))
    return gradient, q, bend, q + 4.0 * size + np.abs(gradient).sum(axis=1)


@compiled(inline="always")
def _with(start, sign, slopes, s, gradients, c, q, bend, size, limit, inside):  # pragma: no cover - compiled
    """sup over the box of sign (f_j - y_j) + t (limit - q), or + t (q - limit) outside, for a t that suits."""
    n = gradients.shape[1]
    along = 0.0
    square = 0.0
    for a in range(n):
        gradient = gradients[c, a]
        along += (slopes[s + a] + slopes[s + n + a]) * gradient
        square += gradient * gradient
    turn = -0.5 * sign * along / square if square > 0.0 else 0.0
    t = -turn if inside else turn
    if not (0.0 < t < 1e100):
        return np.inf
    total = start + turn * (q - limit)
    if not inside:
        total += t * bend
    for a in range(n):
        shift = turn * gradients[c, a]
        total += max(abs(sign * slopes[s + a] + shift), abs(sign * slopes[s + n + a] + shift))
    return total + (8 * n + 64) * _ULP * t * (size + abs(limit))


@compiled
def _constrained(
    starts, members, closed, limits, inner, outer, values, sides, reach, slopes, gradients, q, bend, sizes, bounds
):  # pragma: no cover - compiled
    entries = members.shape[0]
    boxes = closed.shape[0]
    m = values.shape[1]
    n = gradients.shape[1]
    for k in range(boxes):
        first = starts[k]
        count = starts[k + 1] - first
        for e in range(count + 1):
            last = e == count
            slot = entries + k if last else first + e
            limit = limits[slot]
            if last and closed[k]:
                bounds[slot] = 0.0
                continue
            if limit == np.inf:
                continue
            enough = limit / np.sqrt(m)
            square = 0.0
            for j in range(m):
                y = 0.0 if last else values[members[slot], j]
                row = (last * boxes + k) * m + j
                largest = 0.0
                for side in range(2):
                    sign = 1.0 - 2.0 * side
                    start = sides[row, side] - sign * y + (n + 8) * _ULP * abs(y)
                    best = start + reach[row]
                    if best != best:
                        best = np.inf
                    for back in range(count if last else e + 1):
                        if best <= enough:
                            break
                        c = first + (back if last else e - back)
                        inside = c == slot
                        edge = outer[members[c]] if inside else inner[members[c]]
                        if edge == np.inf or (not inside and edge <= 0.0):
                            continue
                        found = _with(
                            start, sign, slopes, row * 2 * n, gradients, c, q[c], bend[c], sizes[c], edge, inside
                        )
                        if found < best:
                            best = found
                    if best > largest:
                        largest = best
                square += largest * largest
            size = np.sqrt(square) * (1.0 + (m + 8) * _ULP)
            bounds[slot] = size
            if size > limit:
                break  # the box has to be halved, whatever the other pieces do
