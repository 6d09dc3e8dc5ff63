"""The least number of hidden layers with which a Step-ReLU network can stay within eps of a target."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from approx import _checks
from approx.affine import AffineMap
from approx.depth._cover import Question, packing, search
from approx.depth._points import Segment, Values, candidates, extremes, spread
from approx.domains import Ball, Box, WholeSpace
from approx.targets import Target
from approx.targets._target import require_target
from approx.targets.falsify import tail_at

__all__ = ["DepthBound", "depth_lower_bound"]

Array = NDArray[np.float64]
_CALL = "depth_lower_bound"
_ULPS = 2.0**-48  # relative to the numbers involved: what the arithmetic here rounds
_ROUGH, _FINE = 256, 4096  # points of a segment that is tried, and of one that is used
_MANY = 1 << 17  # where only an offset is free
_ROUGH_WORK, _WORK = 5e5, 4e6
_PARTS = 64  # of 2 eps: how finely a segment's values are resolved
_LINES = 2
_SPREAD_DIM = 3  # up to here points spread over the domain are tried as well
_PACKED = 400
_FARTHEST = 2.0**40


@dataclass(frozen=True, eq=False)
class DepthBound:
    """No Step-ReLU network with fewer than `layers` hidden layers, of any widths, stays within eps of the target.

    layers : the bound
    target, eps, domain : the name of the target, the tolerance, and where the error counts
    affine : the affine map that leaves the fewest values needed, of those tried
    values_needed : how many values serve what `affine` leaves, at the points looked at: near this a painter of cells
        on that background may hope to come; it is no bound
    points : where the bound comes from, in words
    rests_on : what is taken for granted

    >>> from approx.targets import gaussian
    >>> bound = depth_lower_bound(gaussian(dim=1), 0.1)
    >>> bound.layers, str(bound.domain)
    (4, 'R^1')
    """

    layers: int
    target: str
    eps: float
    domain: Box | Ball | WholeSpace
    affine: AffineMap = field(repr=False)
    values_needed: int
    points: str
    rests_on: tuple[str, ...]

    def __repr__(self) -> str:
        lines = [
            f"DepthBound: {self.target} to eps = {self.eps:g} on {self.domain} takes at least {self.layers:,} layers",
            f"  points    {self.points}",
            f"  best map  {_describe(self.affine)}, which leaves {self.values_needed:,} values needed",
        ]
        return "\n".join([*lines, f"  rests on  {'; '.join(self.rests_on)}"])


def depth_lower_bound(target: Target, eps: float, domain: Box | Ball | WholeSpace | None = None) -> DepthBound:
    """How many hidden layers every Step-ReLU network F with sup |F - f| <= eps on the domain must have, at least.

    target : f, scalar or vector-valued
    eps : the tolerance (Euclidean norm of the values), > 0
    domain : a Box or Ball where f is known, or all of R^n, for which f needs an affine part (`target.affine`); None
        means R^n if there is an affine part and a tail, else target.domain

    Theorem. Let N be the number of Step-ReLU layers of F, of any widths, every other map being affine. If
    |F - f| <= eps on K, then N >= min over affine maps L of the least number of closed balls of radius eps that cover
    f({x in K: |f(x) - L(x)| > eps}).

    Proof. Follow x through the layers. A Step-ReLU keeps its argument v or sets all of it to 0. If no layer does the
    latter, F(x) = L(x) for the composition L of all affine maps. Otherwise let i be the last layer that does: behind
    it every layer keeps its argument, so F(x) = y_i, the value at 0 of the composition of the affine maps behind
    layer i, whatever x is. So F = L on one set and takes at most N values elsewhere. Where |f - L| > eps, F is one of
    them, and f(x) lies in the ball about it.                                                               QED

    On R^n, if f - A -> 0 at infinity for an affine A, only the maps L = A + d with |d| <= eps need be looked at.
    Proof. Layer i sets to 0, of the points that no earlier layer did, those with |M_i x + c_i| < 1. If M_i = 0 for one
    i with |c_i| < 1, F = L nowhere, its values cover all of f(R^n), and they are no fewer than those for any L.
    Otherwise let v_i be a row of M_i that is not zero (where there is none, the layer does nothing), and u a direction
    with v_i.u != 0 for all i, as almost every u: far out along u every |v_i.x| is large, so nothing is set to 0 in a
    cone about u, sufficiently far out. There F = L, so |L - A| <= eps + o(1). An affine map that is bounded on an open
    cone is constant there, hence L = A + d, and |d| <= eps in the limit.                                   QED

    What is computed is a bound from below in three respects. K is replaced by finitely many points, which can only
    lower the number: lines through extremes of f, where L has two parameters, in up to three dimensions points all
    over K as well; the largest bound counts. The minimum over all L is taken by branch and bound, whose bounds hold
    for boxes of affine maps; what it has not decided at the end of its budget counts with its bound. eps is increased
    by a bound of the error in f's values. For vector values two more reductions: components of F are networks, so
    bounds for components hold; and points whose values are pairwise more than 2 eps apart need different values, save
    those that L serves, of which branch and bound finds the largest number for a component.

    The bound is for F in real arithmetic. Raises TypeError or ValueError for anything but a Target, eps that is not
    positive, and domains of another dimension or beyond what is known of f.

    Source: our own; counting pieces is the usual way to such bounds (telgarsky2016benefits, for ReLU).

    >>> from approx import targets
    >>> print(depth_lower_bound(targets.gaussian(dim=10), 0.06).layers)
    8
    """
    domain = _domain_of(target, domain)
    eps = _checks.positive(_CALL, "eps", eps)
    values = Values.of(target)
    if domain.compact:
        target = target.with_domain(domain) if domain != target.domain else target
        found, affine, needed = _compact(target, values, eps, domain)
        rests_on: tuple[str, ...] = (values.basis,)
    else:
        assert target.affine is not None, "the domain would have been refused"
        found, affine, needed = _everywhere(target, target.affine, values, eps)
        rests_on = (values.basis, "the target's affine part at infinity")
    layers, points = max(found, key=lambda pair: pair[0], default=(0, "no points"))
    return DepthBound(layers, target.name, eps, domain, affine, max(needed, layers), points, rests_on)


def _domain_of(target: Target, domain: Box | Ball | WholeSpace | None) -> Box | Ball | WholeSpace:
    require_target(_CALL, target)
    if domain is None:
        known = target.affine is not None and target.tail is not None
        return WholeSpace(target.dim_in) if known else target.domain
    if not isinstance(domain, Box | Ball | WholeSpace):
        received = f"domain = {_checks.show(domain)}"
        raise TypeError(_checks.message(_CALL, received, "a Box, Ball or WholeSpace", "Build one with approx.Box."))
    if domain.dim != target.dim_in:
        required = f"one of R^{target.dim_in}, as the target"
        raise ValueError(_checks.message(_CALL, f"a domain of R^{domain.dim}", required, "Match them."))
    if not domain.compact and target.affine is None:
        received = f"{domain} for {target.name!r}, which has no affine part"
        action = "Pass affine= to the target, or a compact domain: its bound holds on R^n too."
        raise ValueError(_checks.message(_CALL, received, "a target with affine= on R^n", action))
    return domain


def _everywhere(
    target: Target, affine: AffineMap, values: Values, eps: float
) -> tuple[list[tuple[int, str]], AffineMap, int]:
    """Bounds on R^n, the best offset found, and the values needed with it. Only the offset of L is free."""
    n, region = target.dim_in, _heart(target, eps)
    starts = spread(region)

    def distance(x: Array) -> Array:
        return np.linalg.norm(target(x) - affine(x), axis=1)

    peak = extremes(distance, region, starts)
    ends = [(peak, point) for j in range(n) for point in _faces(region, peak, j)][: 2 * max(2, 12 // n)]
    several = [starts]
    if target.dim_out == 1:
        top = extremes(lambda x: target(x)[:, 0] - affine(x)[:, 0], region, starts)
        bottom = extremes(lambda x: affine(x)[:, 0] - target(x)[:, 0], region, starts)
        count = min(max(_FINE, int(8 * _PARTS / eps)), _MANY)
        several.append(region.project(np.linspace(bottom, top, count)))  # L - A is constant, rounded points will do
    pieces = [Segment.within(region, *pair) for pair in ends]
    several += [s.resolved(target, 2 * eps / _PARTS, _FINE)[0] for s in pieces if s is not None]
    points = np.concatenate(several)
    known, at_points, error = values(points)
    linear = affine(points[known])
    error += _ULPS * float(np.abs(at_points).max() + np.abs(linear).max())
    tolerance, residual = eps + error, at_points - linear
    text = f"{len(linear):,} points of {region}"
    if target.dim_out > 1:
        # |f - A - d| > eps for every |d| <= eps.
        far = at_points[np.linalg.norm(residual, axis=1) > 2 * tolerance * (1 + _ULPS)]
        count = len(packing(far, 2 * tolerance * (1 + _ULPS), len(far)))
        return [(count, text)], affine, count
    order = np.argsort(at_points[:, 0], kind="stable")
    f, r = at_points[order, 0], residual[order, 0]
    scale, middle = max(1e-300, np.ptp(f) / 2, np.abs(r).max()), (f.max() + f.min()) / 2
    question = Question(np.ones((len(f), 1)), r / scale, (f - middle) / scale, tolerance / scale)
    result = search(question, shift=eps / scale * (1 + _ULPS), work=8 * _WORK)
    best = AffineMap(affine.matrix, affine.offset + result.weights * scale)
    return [(result.least, text)], best, result.attained


def _heart(target: Target, eps: float) -> Ball:
    """A ball outside which f is within eps of its affine part; about the origin or the target's domain."""
    box = target.domain.bounding_box()
    known = Ball((box.lower + box.upper) / 2, box.diameter / 2)
    if target.tail is None:
        return known
    radius = 1.0
    while tail_at(target, radius) > eps and radius < _FARTHEST:
        radius *= 1.25
    return Ball(np.zeros(target.dim_in), radius) if radius < _FARTHEST else known


def _faces(region: Ball, point: Array, axis: int) -> Iterator[Array]:
    """Where the ball is left from a point along an axis."""
    offset = point - region.center
    rest = float(offset @ offset - offset[axis] ** 2)
    reach = math.sqrt(max(0.0, region.radius**2 - rest))
    for sign in (1.0, -1.0):
        end = point.copy()
        end[axis] = region.center[axis] + sign * reach
        yield end


def _compact(
    target: Target, values: Values, eps: float, domain: Box | Ball
) -> tuple[list[tuple[int, str]], AffineMap, int]:
    """Bounds on a compact domain, the best affine map found, and the values needed with it."""
    found: list[tuple[int, str]] = []
    parts = []
    for j in range(target.dim_out):
        more, affine, needed = _component(target, values, eps, domain, j)
        name = f" (component {j + 1})" if target.dim_out > 1 else ""
        found += [(count, text + name) for count, text in more]
        parts.append((affine, needed))
    affine = AffineMap(np.concatenate([a.matrix for a, _ in parts]), np.concatenate([a.offset for a, _ in parts]))
    if target.dim_out == 1:
        return found, affine, parts[0][1]
    count, text = _packed(target, values, eps, domain)
    found.append((count, text))
    left = target(spread(domain))
    left = left[np.linalg.norm(left - affine(spread(domain)), axis=1) > eps]
    return found, affine, len(packing(left, 2 * eps, len(left)))


def _component(
    target: Target, values: Values, eps: float, domain: Box | Ball, j: int
) -> tuple[list[tuple[int, str]], AffineMap, int]:
    """The same for the component f_j."""

    def function(x: Array) -> Array:
        return target(x)[:, j]

    segments, directions = candidates(function, domain)
    rough = [_on_segment(target, values, eps, s, j, _ROUGH, _ROUGH_WORK) for s in segments]
    order = sorted(range(len(segments)), key=lambda i: (-rough[i][0], i))[: _LINES if domain.dim > 1 else 1]
    found, maps = [], []
    for i in order:
        count, line = _on_segment(target, values, eps, segments[i], j, _FINE, _WORK)
        found.append((count, f"a segment from {_vector(segments[i].start)} to {_vector(segments[i].end)}"))
        maps += [line, *_lifted(segments[i], line, directions)]
    points = spread(domain)
    if 1 < domain.dim <= _SPREAD_DIM:
        count, affine = _on_points(target, values, eps, points, domain, j)
        found.append((count, f"{len(points):,} points of {domain}"))
        maps.append(affine)
    tried = np.concatenate([points, *[segments[i].resolved(target, eps / 8, 1024)[0] for i in order]])
    f = function(tried)
    tried, f = tried[np.argsort(f, kind="stable")], np.sort(f)
    middle = AffineMap.constant([(f[0] + f[-1]) / 2], domain.dim)
    fitted = np.linalg.lstsq(np.column_stack([np.ones(len(tried)), tried]), f, rcond=None)[0]
    maps += [middle, AffineMap(fitted[None, 1:], fitted[:1])]
    question = Question(np.zeros((len(f), 0)), f, f, eps)
    needed = [int(question.needed(np.abs(f - a(tried)[:, 0])[None] > eps * (1 + 1e-9))[0]) for a in maps]
    best = int(np.argmin(needed))
    return found, maps[best], needed[best]


def _on_segment(
    target: Target, values: Values, eps: float, segment: Segment, j: int, most: int, work: float
) -> tuple[int, AffineMap]:
    """The bound from a segment, and the affine map, constant across it, that comes nearest."""
    points, places = segment.resolved(target, 2 * eps / _PARTS, most)
    known, f, error = values(points)
    places = places[known]
    count, weights = _least(np.column_stack([np.ones(len(places)), places]), f[:, j], eps + error, work)
    along = segment.end - segment.start
    slope = 2 * weights[1] * along / (along @ along)
    return count, AffineMap(slope[None], [weights[0] - slope @ (segment.start + segment.end) / 2])


def _on_points(
    target: Target, values: Values, eps: float, points: Array, domain: Box | Ball, j: int
) -> tuple[int, AffineMap]:
    box = domain.bounding_box()
    middle, half = (box.lower + box.upper) / 2, (box.upper - box.lower) / 2
    known, f, error = values(points)
    features = np.column_stack([np.ones(len(f)), (points[known] - middle) / half])
    count, weights = _least(features, f[:, j], eps + error, _WORK)
    slope = weights[1:] / half
    return count, AffineMap(slope[None], [weights[0] - slope @ middle])


def _least(features: Array, f: Array, eps: float, work: float) -> tuple[int, Array]:
    """`search` for values f (k,) in units of their size; the weights in units of f."""
    order = np.argsort(f, kind="stable")
    f, features = f[order], features[order]
    middle, scale = (f[0] + f[-1]) / 2, (f[-1] - f[0]) / 2
    if not scale > eps:
        return 0, np.append(middle, np.zeros(features.shape[1] - 1))
    tolerance = (eps + _ULPS * float(np.abs(f).max())) / scale
    unit = (f - middle) / scale
    result = search(Question(features, unit, unit, tolerance), work=work)
    weights = result.weights * scale
    weights[0] += middle
    return result.least, weights


def _lifted(segment: Segment, line: AffineMap, directions: list[Array]) -> Iterator[AffineMap]:
    """Affine maps with other level planes that agree with `line` on the segment."""
    ends = np.stack([segment.start, segment.end])
    low, high = line(ends)[:, 0]
    for d in directions:
        run = d @ (ends[1] - ends[0])
        if abs(run) > 1e-3 * np.linalg.norm(ends[1] - ends[0]):
            slope = (high - low) / run * d
            yield AffineMap(slope[None], [low - slope @ ends[0]])


def _packed(target: Target, values: Values, eps: float, domain: Box | Ball) -> tuple[int, str]:
    """Points whose values are pairwise more than 2 eps apart, less the most of them that an affine map serves."""
    best = 0, "no points"
    n = domain.dim
    if n <= _SPREAD_DIM:
        box = domain.bounding_box()
        middle, half = (box.lower + box.upper) / 2, (box.upper - box.lower) / 2
        points = spread(domain)
        sets = [(points, np.column_stack([np.ones(len(points)), (points - middle) / half]))]
    else:
        sets = []
    for segment in candidates(lambda x: np.linalg.norm(target(x), axis=1), domain)[0][:_LINES]:
        points, places = segment.points(1 << 12)
        sets.append((points, np.column_stack([np.ones(len(points)), places])))
    for points, features in sets:
        known, f, error = values(points)
        tolerance = eps + error + _ULPS * float(np.abs(f).max())
        chosen = packing(f, 2 * tolerance * (1 + _ULPS), _PACKED)
        for j in range(target.dim_out):
            g = f[chosen, j]
            middle_value, scale = (g.max() + g.min()) / 2, max(np.ptp(g) / 2, tolerance)
            question = Question(features[known][chosen], (g - middle_value) / scale, None, tolerance / scale)
            least = search(question, work=_ROUGH_WORK).least
            if least > best[0]:
                best = least, f"{len(chosen):,} points with values more than 2 eps apart"
    return best


def _describe(affine: AffineMap) -> str:
    if affine.is_constant:
        return f"the constant {_vector(affine.offset)}"
    if affine.dim_out == 1:
        return f"slope {_vector(affine.matrix[0])}, {affine.offset[0]:.4g} at the origin"
    return f"an affine map R^{affine.dim_in} -> R^{affine.dim_out}"


def _vector(values: Array) -> str:
    shown = [f"{value:.4g}" for value in values[:4]]
    return shown[0] if len(values) == 1 else f"({', '.join(shown)}{', ...' if len(values) > 4 else ''})"
