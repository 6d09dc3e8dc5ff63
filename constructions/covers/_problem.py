"""What every cover strategy is given: checked arguments, the region to cover, and what the affine map serves."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from approx import _checks
from approx.affine import AffineMap
from approx.certification import Enclosure, EnclosureUnavailable, enclosure_of
from approx.covers import Cover
from approx.domains import Ball, Box, WholeSpace
from approx.lattice import Lattice
from approx.targets import Target
from approx.targets._target import require_target
from constructions.covers._coverage import check_coverage

__all__ = ["VALUES", "Problem", "TooManyCells", "meets"]

Array = NDArray[np.float64]
VALUES = ("center", "chebyshev")
_FARTHEST = 2.0**60
_SPACINGS = 8  # a cell's overlap must be worth this many units in the last place of its centre


class TooManyCells(ValueError):
    """A cover would need more cells than it may have; `count` is how many, roughly: math.inf where nothing is known.

    >>> from approx import targets
    >>> from constructions import covers
    >>> f = targets.gaussian(dim=2)
    >>> try:
    ...     covers.uniform(f, 0.01, f.domain, everywhere=True, affine=f.affine, max_cells=100)
    ... except covers.TooManyCells:
    ...     print("a larger eps, or another strategy")
    a larger eps, or another strategy
    """

    def __init__(self, message: str, count: float = math.inf):
        super().__init__(message)
        self.count = count

    def __reduce__(self) -> tuple[type[TooManyCells], tuple[str, float]]:
        return type(self), (str(self), self.count)


@dataclass(frozen=True, eq=False)
class Problem:
    """One checked request for a cover.

    target : the target, its domain set to (on all of R^n: to a box well beyond) what the cells can reach
    domain : where |F - f| <= eps is claimed
    home : the target's own domain
    region : the compact set to cover, which holds all points of the domain with |x| < reach; None if there are none
    affine : the map used outside the cells, where `everywhere` allows points to stay
    reach, tail : |f - L| <= tail <= eps for |x| >= reach; reach is inf where that is unknown
    """

    call: str
    target: Target
    eps: float
    domain: Box | Ball | WholeSpace
    home: Box | Ball
    region: Box | Ball | None
    affine: AffineMap
    everywhere: bool
    values: str
    overlap: float
    max_cells: int
    reach: float
    tail: float

    @classmethod
    def parse(
        cls,
        call: str,
        target: Target,
        eps: float,
        domain: Box | Ball | WholeSpace,
        *,
        everywhere: bool,
        affine: AffineMap,
        values: str,
        overlap: float,
        max_cells: int,
    ) -> Problem:
        """Check the arguments of a strategy. Raises ValueError or TypeError."""
        require_target(call, target)
        eps = _checks.positive(call, "eps", eps)
        _checks.one_of(call, "values", values, VALUES)
        overlap = _checks.positive(call, "overlap", overlap)
        if not 1e-12 <= overlap <= 0.5:
            received = f"overlap = {overlap:g}"
            raise ValueError(_checks.message(call, received, "1e-12 <= overlap <= 0.5", "Keep the default 1e-6."))
        max_cells = _checks.count(call, "max_cells", max_cells)
        n, m, home = target.dim_in, target.dim_out, target.domain
        if not isinstance(domain, Box | Ball | WholeSpace) or domain.dim != n:
            received = f"domain = {_checks.show(domain)}"
            required = f"a Box, Ball or WholeSpace of R^{n}"
            raise ValueError(_checks.message(call, received, required, "Pass a domain of the target's dimension."))
        if not isinstance(affine, AffineMap) or (affine.dim_in, affine.dim_out) != (n, m):
            received = f"affine = {_checks.show(affine)}"
            action = "Pass target.affine, or AffineMap.constant(value, dim_in)."
            raise ValueError(_checks.message(call, received, f"an AffineMap from R^{n} to R^{m}", action))
        if domain.compact:
            known = everywhere and target.tail is not None and _same(affine, target.affine)
            reach, tail = _tail_reach(target, eps) if known else (math.inf, math.inf)
            target, region = target.with_domain(domain), _within_reach(domain, reach)
        else:
            _check_whole_space(call, target, affine, everywhere)
            reach, tail = _tail_reach(target, eps)
            if reach == math.inf:
                received = f"eps = {eps:g} and a tail of {tail:g} still at |x| = {_FARTHEST:.3g}"
                action = "Use a larger eps, a sharper tail= of the target, or a compact domain."
                raise ValueError(_checks.message(call, received, "a tail that falls below eps", action))
            region = Ball(np.zeros(n), reach) if reach > 0 else None
            if region is not None:
                target = target.with_domain(Box.cube(n, 10 * math.sqrt(n) * reach))
        return cls(call, target, eps, domain, home, region, affine, everywhere, values, overlap, max_cells, reach, tail)

    @property
    def to_cover(self) -> Box | Ball:
        """The region where there is one; a strategy is `empty` otherwise."""
        assert self.region is not None, "nothing is left to cover"
        return self.region

    @property
    def round_only(self) -> bool:
        """Whether cells must be balls: on all of R^n, a slope passes exactly through the layers of balls only."""
        return not self.domain.compact and not self.affine.is_constant

    @property
    def known_tail(self) -> float:
        """A bound of |f - L| beyond the region; 0 where the region is the whole domain."""
        return self.tail if self.reach < math.inf else 0.0

    def reach_for(self, eps: float) -> float:
        """The smallest R with tail(R) <= eps; `reach` itself where there is none."""
        reach, _ = _tail_reach(self.target, eps)
        return reach if reach < math.inf else self.reach

    def variation(self, radius: float) -> float:
        """How much f can change within that distance: the modulus; inf when none is known."""
        return math.inf if self.target.modulus is None else float(self.target.variation(radius))

    @functools.cached_property
    def doubtful(self) -> bool:
        """Whether the modulus is only estimated while f has proved bounds: it counts where these do not decide."""
        return self.target.lipschitz_source == "estimated" and self.enclosure is not None

    @functools.cached_property
    def enclosure(self) -> Enclosure | None:
        """Proved bounds of f, and of f less an affine map, on boxes and balls; None where there are none."""
        try:
            found = enclosure_of(self.target)
        except EnclosureUnavailable:
            return None
        return None if found.conditional else found

    def clip(self, lower: Array, upper: Array) -> tuple[Array, Array]:
        """The boxes [lower, upper] (k, n), cut to the bounding box of a compact domain."""
        if not self.domain.compact:
            return lower, upper
        box = self.domain.bounding_box()
        return np.clip(lower, box.lower, box.upper), np.clip(upper, box.lower, box.upper)

    @functools.cached_property
    def _own_affine(self) -> bool:
        return _same(self.affine, self.target.affine)

    def affine_bounds(self, centers: Array, radius: float, lower: Array, upper: Array) -> Array:
        """(k,) bounds of |f - L| on the parts of the domain that lie in the boxes [lower, upper] (k, n) and within
        `radius` of the centers (k, n). All inf unless the builder uses L outside the cells."""
        if not self.everywhere or not len(centers):
            return np.full(len(centers), np.inf)
        change = self.variation(radius) + self.affine.lipschitz * radius
        if self._own_affine and self.target.residual_lipschitz is not None:
            change = min(change, self.target.residual_lipschitz * radius)
        nearest = self.domain.project(centers)
        apart = np.linalg.norm(self.target(nearest) - self.affine(nearest), axis=1)
        claimed = apart + (change if change <= self.eps else math.inf)
        bounds = np.full(len(centers), np.inf) if self.doubtful else claimed
        lower, upper = self.clip(lower, upper)
        if self.target.enclosure is not None:
            low, high = self.target.enclosure(lower, upper)
            positive, negative = np.maximum(self.affine.matrix.T, 0.0), np.minimum(self.affine.matrix.T, 0.0)
            least = lower @ positive + upper @ negative + self.affine.offset
            most = upper @ positive + lower @ negative + self.affine.offset
            bounds = np.fmin(bounds, np.linalg.norm(np.maximum(high - least, most - low), axis=1))
        if self.reach < math.inf:
            beyond = np.linalg.norm(np.clip(0.0, lower, upper), axis=1) >= self.reach
            bounds[beyond] = np.minimum(bounds[beyond], self.tail)
        rows = np.flatnonzero((bounds > self.eps) & (apart <= self.eps))
        if self.enclosure is not None and len(rows) and (self.target.enclosure is None or not self.affine.is_constant):
            # Terms of f and L cancel here: x + 2y + exp(-x^2) less x + 2y is small, though both vary.
            low, high = self.enclosure.residual_range(lower[rows], upper[rows], self.affine)
            bounds[rows] = np.fmin(bounds[rows], np.linalg.norm(np.maximum(high, -low), axis=1))
        return np.where(bounds > self.eps, np.minimum(bounds, claimed), bounds)

    def resolves(self, radius: float) -> bool:
        """Whether float64 tells cells of that radius, and their overlap, apart."""
        return radius * self.overlap >= _SPACINGS * float(np.spacing(self._largest_coordinate))

    def require_resolution(self, radius: float) -> None:
        """Raise ValueError where float64 cannot tell cells of that radius, and their overlap, apart."""
        if not self.resolves(radius):
            size = self._largest_coordinate
            raise ValueError(
                _checks.message(
                    self.call,
                    f"eps = {self.eps:g} on {self.region}, cells of radius {radius:.3g}",
                    f"cells that float64 resolves at coordinates up to {size:.3g} with overlap {self.overlap:g}",
                    "Use a larger eps, or move the domain towards the origin.",
                )
            )

    @functools.cached_property
    def _largest_coordinate(self) -> float:
        box = self.to_cover.bounding_box()
        return float(max(np.abs(box.lower).max(), np.abs(box.upper).max()))

    def too_many(self, cells: str, count: float) -> TooManyCells:
        """The refusal when a cover would be too large; `cells` and `count` say what it would need."""
        return TooManyCells(
            _checks.message(
                self.call,
                f"eps = {self.eps:g} on {self.region}, which takes {cells}",
                f"at most max_cells = {self.max_cells}",
                "Use a larger eps, a smaller domain or another cover, or raise max_layers (here max_cells).",
            ),
            count,
        )

    def finish(
        self,
        strategy: str,
        centers: Array,
        values: Array,
        radii: Array | None,
        error: float,
        lattice: Lattice | None = None,
        *,
        shapes: Array | None = None,
    ) -> Cover:
        """The cover, once it has passed `check_coverage`. `error` bounds |F - f| on the region."""
        error = max(error, self.known_tail)
        cover = Cover(
            centers,
            values,
            self.affine,
            radii=radii,
            shapes=shapes,
            strategy=strategy,
            error_bound=error,
            overlap=self.overlap,
        )
        if self.region is not None:
            check_coverage(cover, self.region, served=self._served if self.everywhere else None, lattice=lattice)
        return cover

    def empty(self, strategy: str) -> Cover:
        """The cover without cells, for a target that its affine map serves everywhere."""
        n, m = self.affine.dim_in, self.affine.dim_out
        return self.finish(strategy, np.empty((0, n)), np.empty((0, m)), np.empty(0), 0.0)

    def _served(self, x: Array) -> NDArray[np.bool_]:
        return np.linalg.norm(self.target(x) - self.affine(x), axis=1) <= self.eps * (1 + 1e-9)


def meets(region: Box | Ball | WholeSpace, lower: Array, upper: Array) -> NDArray[np.bool_]:
    """(k,) whether the boxes [lower, upper] (k, n) hold a point of the region."""
    if isinstance(region, WholeSpace):
        return np.ones(len(lower), dtype=bool)
    if isinstance(region, Box):
        return np.all((lower <= region.upper) & (upper >= region.lower), axis=-1)
    nearest = np.clip(region.center, lower, upper)
    return np.linalg.norm(nearest - region.center, axis=-1) <= region.radius


def _same(affine: AffineMap, other: AffineMap | None) -> bool:
    return other is not None and (
        affine is other or (np.array_equal(affine.matrix, other.matrix) and np.array_equal(affine.offset, other.offset))
    )


def _within_reach(domain: Box | Ball, reach: float) -> Box | Ball | None:
    """A part of the domain that holds all its points with |x| < reach; None if there are none."""
    if reach == math.inf:
        return domain
    box = domain.bounding_box()
    lower, upper = np.maximum(box.lower, -reach), np.minimum(box.upper, reach)
    if (lower >= upper).any():
        return None
    if isinstance(domain, Box):
        inside = bool((lower == -reach).all() and (upper == reach).all())
    else:
        inside = float(np.linalg.norm(domain.center)) + reach <= domain.radius
    if inside:
        return Ball(np.zeros(domain.dim), reach)
    return Box(lower, upper) if isinstance(domain, Box) else domain


def _check_whole_space(call: str, target: Target, affine: AffineMap, everywhere: bool) -> None:
    action = "Choose a compact domain, or a target with affine= and tail=."
    if not everywhere:
        received = f"all of R^{target.dim_in} for a builder that must capture every point"
        raise ValueError(_checks.message(call, received, "a compact domain", "Choose a Box or a Ball."))
    if target.affine is None or target.tail is None:
        missing = "affine map" if target.affine is None else "tail bound"
        received = f"all of R^{target.dim_in} for target {target.name!r} without {missing}"
        raise ValueError(_checks.message(call, received, "a target with affine and tail", action))
    if not _same(affine, target.affine):
        received = f"all of R^{target.dim_in} with an affine map that is not the target's"
        raise ValueError(_checks.message(call, received, "affine = target.affine", "Pass target.affine."))


def _tail_reach(target: Target, eps: float) -> tuple[float, float]:
    """The smallest R, to a relative 1e-9 from above, with tail(R) <= eps, and tail(R); R = inf if there is none."""
    tail = target.tail
    if tail is None:
        return math.inf, math.inf
    if float(tail(0.0)) <= eps:
        return 0.0, float(tail(0.0))
    low, high = 0.0, 1.0
    while not float(tail(high)) <= eps:
        low, high = high, 2 * high
        if high > _FARTHEST:
            return math.inf, float(tail(low))
    while high - low > 1e-9 * high and high > 1 / _FARTHEST:
        middle = low + (high - low) / 2
        if float(tail(middle)) <= eps:
            high = middle
        else:
            low = middle
    return high, float(tail(high))
