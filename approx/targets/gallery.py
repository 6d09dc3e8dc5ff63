"""Ready-made targets: proved Lipschitz constants, tails and enclosures, amplitudes near 1, on the box [-3, 3]^n.

Every factory takes `dim` and `domain` (a compact Box or Ball; by default the box above) and raises ValueError for a
dimension it is not defined in. The constants are derived beside each function.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from approx import _checks
from approx.affine import AffineMap
from approx.domains import Ball, Box
from approx.targets._surfaces import franke, peaks, swirl, terrain
from approx.targets._target import Target, outward, prose
from approx.targets.levels import EllipsoidLevels, PlaneLevels

__all__ = [
    "GALLERY",
    "affine_bump",
    "bump",
    "cone",
    "franke",
    "gaussian",
    "get",
    "peaks",
    "ridge",
    "rings",
    "saddle",
    "swirl",
    "terrain",
]

Array = NDArray[np.float64]

HALF_WIDTH = 3.0  # of the default box
BUMP_RADIUS = 2.5
RING_FREQUENCY = 3.0
GAUSSIAN_SLOPE = math.sqrt(2 / math.e)  # sup of 2 r exp(-r^2), taken at r^2 = 1/2


def gaussian(dim: int = 2, *, domain: Box | Ball | None = None) -> Target:
    """exp(-|x|^2): the paper's own example, in any dimension. It is radial, so the nested balls of its level sets need
    about 1/(2 eps) layers whatever the dimension, while a uniform cover needs a power of 1/eps that grows with n.

    >>> gaussian(dim=3)([0.0, 0.0, 0.0])
    array([1.])
    """
    dim = _checks.count("gaussian", "dim", dim)
    radial = _Radial(_gauss)
    return Target(
        fn=radial,
        dim_in=dim,
        domain=domain or Box.cube(dim, HALF_WIDTH),
        name="gaussian",
        lipschitz=GAUSSIAN_SLOPE,
        affine=AffineMap.constant([0.0], dim),
        residual_lipschitz=GAUSSIAN_SLOPE,
        tail=partial(_profile_value, _gauss),
        enclosure=radial.enclose,
        lipschitz_source="proved",
        commentary=prose(gaussian),
        levels=EllipsoidLevels(np.zeros(dim)),
    )


def bump(dim: int = 2, *, domain: Box | Ball | None = None) -> Target:
    """exp(-s^2 / (1 - s^2)) with s = |x|/2.5, and 0 from |x| = 2.5 on: infinitely smooth with compact support. Outside
    that ball a network with no cell there is exact, so the whole error budget is spent inside.

    >>> bump()([[0.0, 0.0], [2.5, 0.0]]).ravel()
    array([1., 0.])
    """
    dim = _checks.count("bump", "dim", dim)
    # With u = s^2: |g'(s)| = 2 s exp(-u/(1-u)) / (1-u)^2, and d/ds log|g'| = 0 becomes 1 - 3 u^2 = 0.
    u = 1 / math.sqrt(3)
    slope = 2 * math.sqrt(u) * math.exp(-u / (1 - u)) / (1 - u) ** 2 / BUMP_RADIUS
    radial = _Radial(_bump_profile)
    return Target(
        fn=radial,
        dim_in=dim,
        domain=domain or Box.cube(dim, HALF_WIDTH),
        name="bump",
        lipschitz=slope,
        affine=AffineMap.constant([0.0], dim),
        residual_lipschitz=slope,
        tail=partial(_profile_value, _bump_profile),
        enclosure=radial.enclose,
        lipschitz_source="proved",
        commentary=prose(bump),
        levels=EllipsoidLevels(np.zeros(dim)),
    )


def cone(dim: int = 2, *, domain: Box | Ball | None = None) -> Target:
    """|x|: Lipschitz with constant exactly 1 in every dimension, and not differentiable at its tip. No affine map
    approaches it at infinity (in one dimension its two ends have different slopes), so it is a target on compact sets
    only. Its amplitude on the box is 3 sqrt(n), larger than that of its neighbours here.

    >>> cone()([3.0, 4.0])
    array([5.])
    """
    dim = _checks.count("cone", "dim", dim)
    radial = _Radial(_identity)
    return Target(
        fn=radial,
        dim_in=dim,
        domain=domain or Box.cube(dim, HALF_WIDTH),
        name="cone",
        lipschitz=1.0,  # the reverse triangle inequality, an equality along every ray
        enclosure=radial.enclose,
        lipschitz_source="proved",
        commentary=prose(cone),
        levels=EllipsoidLevels(np.zeros(dim)),
    )


def ridge(dim: int = 2, *, domain: Box | Ball | None = None) -> Target:
    """tanh(w.x) with w = (1, 1/2, ..., 1/n): a step that depends on one direction only. Slabs across w, which are very
    long ellipsoids, meet it with about 1/eps cells in every dimension. Its two sides tend to -1 and 1, no single affine
    map, so it is a target on compact sets only.

    >>> ridge()([[0.0, 0.0], [-1.0, 2.0]]).ravel()
    array([0., 0.])
    """
    dim = _checks.count("ridge", "dim", dim)
    weights = 1 / np.arange(1, dim + 1)
    wave = _Ridge(weights)
    return Target(
        fn=wave,
        dim_in=dim,
        domain=domain or Box.cube(dim, HALF_WIDTH),
        name="ridge",
        lipschitz=float(np.linalg.norm(weights)),  # tanh' <= 1, an equality on the hyperplane w.x = 0
        enclosure=wave.enclose,
        lipschitz_source="proved",
        commentary=prose(ridge),
        levels=PlaneLevels(weights),
    )


def rings(dim: int = 2, *, domain: Box | Ball | None = None) -> Target:
    """cos(3|x|): concentric waves of amplitude 1. Radial like the gaussian, but every wave must be paid for again, so
    the layers needed grow with the size of the domain. It never stops oscillating, so no affine map approaches it at
    infinity: a target on compact sets only.

    >>> rings()([0.0, 0.0])
    array([1.])
    """
    dim = _checks.count("rings", "dim", dim)
    radial = _Radial(_waves, _waves_range)
    return Target(
        fn=radial,
        dim_in=dim,
        domain=domain or Box.cube(dim, HALF_WIDTH),
        name="rings",
        lipschitz=RING_FREQUENCY,  # |d/dr cos(k r)| = k |sin(k r)| <= k, an equality at r = pi/(2k)
        enclosure=radial.enclose,
        lipschitz_source="proved",
        commentary=prose(rings),
        levels=EllipsoidLevels(np.zeros(dim)),
    )


def saddle(dim: int = 2, *, domain: Box | Ball | None = None) -> Target:
    """(x1^2 - x2^2 + x3^2 - ...) / (9 ceil(n/2)), which lies in [-1, 1] on the default box. Its curvature has both
    signs, so no ellipsoid is a level set and every cell is a compromise. It grows without bound: a target on compact
    sets only.

    >>> saddle()([[3.0, 0.0], [3.0, 3.0]]).ravel()
    array([1., 0.])
    """
    dim = _checks.count("saddle", "dim", dim)
    domain = domain or Box.cube(dim, HALF_WIDTH)
    scale = 1 / (HALF_WIDTH**2 * math.ceil(dim / 2))
    surface = _Saddle(np.where(np.arange(dim) % 2 == 0, 1.0, -1.0), scale)
    return Target(
        fn=surface,
        dim_in=dim,
        domain=domain,
        name="saddle",
        lipschitz=2 * scale * _farthest(domain),  # |gradient| = 2 scale |x|
        enclosure=surface.enclose,
        lipschitz_source="proved",
        commentary=prose(saddle),
    )


def affine_bump(dim: int = 2, *, domain: Box | Ball | None = None) -> Target:
    """a.x + 0.1 + exp(-|x|^2) with a = 0.3 (1, -1, 1, ...)/n: a bump on a slope. It approaches an affine map that is
    not constant, so a network that claims anything about all of R^n has to carry x through every layer.

    >>> affine_bump()([0.0, 0.0])
    array([1.1])
    """
    dim = _checks.count("affine_bump", "dim", dim)
    slope = np.where(np.arange(dim) % 2 == 0, 0.3, -0.3) / dim
    surface = _SlopedGaussian(slope, 0.1)
    return Target(
        fn=surface,
        dim_in=dim,
        domain=domain or Box.cube(dim, HALF_WIDTH),
        name="affine_bump",
        # The gaussian's gradient takes its largest length in every direction, that of a included.
        lipschitz=float(np.linalg.norm(slope)) + GAUSSIAN_SLOPE,
        affine=AffineMap(slope[None, :], [0.1]),
        residual_lipschitz=GAUSSIAN_SLOPE,
        tail=partial(_profile_value, _gauss),
        enclosure=surface.enclose,
        lipschitz_source="proved",
        commentary=prose(affine_bump),
    )


GALLERY: dict[str, Callable[..., Target]] = {
    factory.__name__: factory
    for factory in (
        gaussian,
        bump,
        affine_bump,
        cone,
        ridge,
        rings,
        saddle,
        franke,
        peaks,
        swirl,
        terrain,
    )
}


def get(name: str, **options: object) -> Target:
    """The gallery target of that name; `options` (dim, domain) go to its factory. Raises ValueError, listing the
    names, when there is none.

    >>> get("franke").name
    'franke'
    """
    if not isinstance(name, str) or name not in GALLERY:
        hint = _checks.spelling(name, GALLERY)
        required = f"one of {', '.join(GALLERY)}"
        raise ValueError(_checks.message("targets.get", f"name = {_checks.show(name)}", required, hint))
    return GALLERY[name](**options)


@dataclass(frozen=True, eq=False)
class _Radial:
    """x -> profile(|x|). `profile_range(a, b)` bounds the profile on [a, b]; without it the profile is monotone."""

    profile: Callable[[Array], Array]
    profile_range: Callable[[Array, Array], tuple[Array, Array]] | None = None

    def __call__(self, x: Array) -> Array:
        return self.profile(np.linalg.norm(x, axis=-1))

    def enclose(self, lower: Array, upper: Array) -> tuple[Array, Array]:
        near = np.linalg.norm(np.maximum(np.maximum(lower, -upper), 0.0), axis=-1)
        far = np.linalg.norm(np.maximum(np.abs(lower), np.abs(upper)), axis=-1)
        if self.profile_range is not None:
            low, high = self.profile_range(near, far)
        else:
            ends = self.profile(near), self.profile(far)
            low, high = np.minimum(*ends), np.maximum(*ends)
        return outward(low[:, None], high[:, None])


@dataclass(frozen=True, eq=False)
class _Ridge:
    weights: Array

    def __call__(self, x: Array) -> Array:
        return np.tanh(x @ self.weights)

    def enclose(self, lower: Array, upper: Array) -> tuple[Array, Array]:
        low, high = _linear_range(self.weights, lower, upper)
        return outward(np.tanh(low)[:, None], np.tanh(high)[:, None])


@dataclass(frozen=True, eq=False)
class _Saddle:
    signs: Array
    scale: float

    def __call__(self, x: Array) -> Array:
        return self.scale * (np.square(x) @ self.signs)

    def enclose(self, lower: Array, upper: Array) -> tuple[Array, Array]:
        near = np.maximum(np.maximum(lower, -upper), 0.0)
        far = np.maximum(np.abs(lower), np.abs(upper))
        low, high = _linear_range(self.scale * self.signs, np.square(near), np.square(far))
        return outward(low[:, None], high[:, None])


@dataclass(frozen=True, eq=False)
class _SlopedGaussian:
    slope: Array
    offset: float

    def __call__(self, x: Array) -> Array:
        return x @ self.slope + self.offset + _gauss(np.linalg.norm(x, axis=-1))

    def enclose(self, lower: Array, upper: Array) -> tuple[Array, Array]:
        low, high = _Radial(_gauss).enclose(lower, upper)
        low_plane, high_plane = _linear_range(self.slope, lower, upper)
        return outward(low + low_plane[:, None] + self.offset, high + high_plane[:, None] + self.offset)


def _linear_range(weights: Array, lower: Array, upper: Array) -> tuple[Array, Array]:
    """Exact range of weights.x on boxes, up to rounding."""
    positive, negative = np.maximum(weights, 0.0), np.minimum(weights, 0.0)
    return lower @ positive + upper @ negative, upper @ positive + lower @ negative


def _farthest(domain: Box | Ball) -> float:
    """max |x| over the domain."""
    if isinstance(domain, Ball):
        return float(np.linalg.norm(domain.center)) + domain.radius
    return float(np.linalg.norm(np.maximum(np.abs(domain.lower), np.abs(domain.upper))))


def _profile_value(profile: Callable[[Array], Array], radius: float) -> float:
    return float(profile(np.asarray(radius)))


def _identity(r: Array) -> Array:
    return r


def _gauss(r: Array) -> Array:
    return np.exp(-np.square(r))


def _bump_profile(r: Array) -> Array:
    u = np.square(r / BUMP_RADIUS)
    return np.exp(-u / np.maximum(1 - u, 1e-3))  # below a gap of 1e-3 the value underflows to 0 anyway


def _waves(r: Array) -> Array:
    return np.cos(RING_FREQUENCY * r)


def _waves_range(near: Array, far: Array) -> tuple[Array, Array]:
    """Range of cos(k r) for near <= r <= far: its turning points are the multiples of pi."""
    a, b = RING_FREQUENCY * near / math.pi, RING_FREQUENCY * far / math.pi
    ends = _waves(near), _waves(far)
    high = np.where(np.floor(b / 2) > np.floor(a / 2), 1.0, np.maximum(*ends))
    low = np.where(np.floor((b - 1) / 2) > np.floor((a - 1) / 2), -1.0, np.minimum(*ends))
    return low, high
