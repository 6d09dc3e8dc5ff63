"""Where an approximation is asked for: boxes and balls (compact), or all of R^n.

Every domain answers the same questions: which points it contains, how to sample it, how far a point is
from it, and which box bounds it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from approx import _checks

__all__ = ["Ball", "Box", "Domain", "WholeSpace", "format_domain", "parse_domain"]

Array = NDArray[np.float64]
_MAX_SAMPLES = 200_000_000


@runtime_checkable
class Domain(Protocol):
    """What every domain offers; n is its dimension.

    >>> isinstance(Box.cube(2, 1.0), Domain), isinstance(WholeSpace(3), Domain)
    (True, True)
    """

    @property
    def dim(self) -> int: ...

    @property
    def compact(self) -> bool: ...

    def contains(self, x: ArrayLike) -> NDArray[np.bool_]:
        """x : (..., n) -> (...) whether each point lies in the domain."""
        ...

    def project(self, x: ArrayLike) -> Array:
        """x : (..., n) -> (..., n) the nearest point of the domain."""
        ...

    def sample(self, count: int, seed: int = 0) -> Array:
        """(count, n) quasi-random points of the domain, the same for the same seed."""
        ...


@dataclass(frozen=True)
class Box:
    """The closed box lower <= x <= upper.

    >>> Box.cube(2, 3.0).diameter
    8.48528137423857
    >>> Box([0, 0], [2, 1]).contains([[1.0, 0.5], [3.0, 0.5]])
    array([ True, False])
    """

    lower: Array
    upper: Array

    def __init__(self, lower: ArrayLike, upper: ArrayLike):
        low = np.atleast_1d(_checks.real_array("Box", "lower", lower))
        high = np.atleast_1d(_checks.real_array("Box", "upper", upper))
        low = _checks.finite_array("Box", "lower", low, (None,))
        high = _checks.finite_array("Box", "upper", high, low.shape)
        if low.size == 0 or not (low < high).all():
            action = (
                "Swap the bounds." if (low > high).any() else "Give every coordinate an interval of positive width."
            )
            received = f"lower = {low}, upper = {high}"
            raise ValueError(_checks.message("Box", received, "lower < upper in every coordinate", action))
        low, high = low.copy(), high.copy()
        low.setflags(write=False)
        high.setflags(write=False)
        object.__setattr__(self, "lower", low)
        object.__setattr__(self, "upper", high)

    @classmethod
    def cube(cls, dim: int, half_width: float, center: float = 0.0) -> Box:
        """[center - half_width, center + half_width]^dim."""
        dim = _checks.count("Box.cube", "dim", dim)
        half = _checks.positive("Box.cube", "half_width", half_width)
        return cls(np.full(dim, center - half), np.full(dim, center + half))

    @property
    def dim(self) -> int:
        return self.lower.shape[0]

    @property
    def compact(self) -> Literal[True]:
        return True

    @property
    def widths(self) -> Array:
        return self.upper - self.lower

    @property
    def diameter(self) -> float:
        return float(np.linalg.norm(self.widths))

    @property
    def volume(self) -> float:
        return float(np.prod(self.widths))

    def bounding_box(self) -> Box:
        return self

    def contains(self, x: ArrayLike) -> NDArray[np.bool_]:
        points = _checks.points("Box.contains", "x", x, self.dim)
        return np.all((points >= self.lower) & (points <= self.upper), axis=-1)

    def project(self, x: ArrayLike) -> Array:
        return np.clip(_checks.points("Box.project", "x", x, self.dim), self.lower, self.upper)

    def distance(self, x: ArrayLike) -> Array:
        """x : (..., n) -> (...) Euclidean distance to the box, 0 inside."""
        points = _checks.points("Box.distance", "x", x, self.dim)
        return np.linalg.norm(points - self.project(points), axis=-1)

    def sample(self, count: int, seed: int = 0) -> Array:
        return self.lower + self.widths * _unit_points("Box.sample", self.dim, count, seed)

    def grid(self, per_axis: int) -> Array:
        """(per_axis**n, n) points of the product grid that includes the faces."""
        per_axis = _checks.count("Box.grid", "per_axis", per_axis, least=2)
        if per_axis**self.dim > _MAX_SAMPLES:
            raise ValueError(
                _checks.message(
                    "Box.grid",
                    f"{per_axis}**{self.dim} points",
                    f"at most {_MAX_SAMPLES}",
                    "Lower per_axis or use sample().",
                )
            )
        axes = [np.linspace(a, b, per_axis) for a, b in zip(self.lower, self.upper, strict=True)]
        return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, self.dim)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Box)
            and np.array_equal(self.lower, other.lower)
            and np.array_equal(self.upper, other.upper)
        )

    def __hash__(self) -> int:
        return hash((self.lower.tobytes(), self.upper.tobytes()))

    def __str__(self) -> str:
        spans = [_span(float(a), float(b)) for a, b in zip(self.lower, self.upper, strict=True)]
        return f"{spans[0]}^{self.dim}" if len(set(spans)) == 1 and self.dim > 1 else " x ".join(spans)


@dataclass(frozen=True)
class Ball:
    """The closed ball |x - center| <= radius.

    >>> print(Ball([0.0, 0.0], 2.0))
    ball of radius 2 about (0, 0)
    """

    center: Array
    radius: float

    def __init__(self, center: ArrayLike, radius: float):
        point = np.atleast_1d(_checks.real_array("Ball", "center", center))
        point = _checks.finite_array("Ball", "center", point, (None,)).copy()
        _checks.count("Ball", "dimension", point.shape[0])
        point.setflags(write=False)
        object.__setattr__(self, "center", point)
        object.__setattr__(self, "radius", _checks.positive("Ball", "radius", radius))

    @property
    def dim(self) -> int:
        return self.center.shape[0]

    @property
    def compact(self) -> Literal[True]:
        return True

    @property
    def diameter(self) -> float:
        return 2 * self.radius

    def bounding_box(self) -> Box:
        return Box(self.center - self.radius, self.center + self.radius)

    def contains(self, x: ArrayLike) -> NDArray[np.bool_]:
        points = _checks.points("Ball.contains", "x", x, self.dim)
        return np.linalg.norm(points - self.center, axis=-1) <= self.radius

    def project(self, x: ArrayLike) -> Array:
        offset = _checks.points("Ball.project", "x", x, self.dim) - self.center
        length = np.linalg.norm(offset, axis=-1, keepdims=True)
        inside = length <= self.radius
        return self.center + offset * np.where(inside, 1.0, self.radius / np.where(inside, 1.0, length))

    def distance(self, x: ArrayLike) -> Array:
        """x : (..., n) -> (...) Euclidean distance to the ball, 0 inside."""
        points = _checks.points("Ball.distance", "x", x, self.dim)
        return np.maximum(np.linalg.norm(points - self.center, axis=-1) - self.radius, 0.0)

    def sample(self, count: int, seed: int = 0) -> Array:
        unit = _unit_points("Ball.sample", self.dim + 1, count, seed)
        return self.center + _directions(unit[:, 1:]) * self.radius * unit[:, :1] ** (1 / self.dim)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ball) and np.array_equal(self.center, other.center) and self.radius == other.radius

    def __hash__(self) -> int:
        return hash((self.center.tobytes(), self.radius))

    def __str__(self) -> str:
        return f"ball of radius {self.radius:g} about ({', '.join(f'{c:g}' for c in self.center)})"


@dataclass(frozen=True)
class WholeSpace:
    """All of R^n.

    >>> print(WholeSpace(2), WholeSpace(2).compact)
    R^2 False
    """

    dim: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "dim", _checks.count("WholeSpace", "dim", self.dim))

    @property
    def compact(self) -> Literal[False]:
        return False

    def contains(self, x: ArrayLike) -> NDArray[np.bool_]:
        return np.all(np.isfinite(_checks.points("WholeSpace.contains", "x", x, self.dim)), axis=-1)

    def project(self, x: ArrayLike) -> Array:
        return _checks.points("WholeSpace.project", "x", x, self.dim)

    def sample(self, count: int, seed: int = 0, *, scale: float = 1.0, reach: float = 1e6) -> Array:
        """(count, n) points: directions uniform, half of them with |x| <= scale (uniform in volume), half with
        log|x| uniform between `scale` and `reach`."""
        scale = _checks.positive("WholeSpace.sample", "scale", scale)
        reach = max(scale, _checks.positive("WholeSpace.sample", "reach", reach))
        unit = _unit_points("WholeSpace.sample", self.dim + 1, count, seed)
        t = unit[:, :1]
        inner = scale * np.minimum(2 * t, 1.0) ** (1 / self.dim)
        outer = scale * (reach / scale) ** np.maximum(2 * t - 1, 0.0)
        return _directions(unit[:, 1:]) * np.where(t < 0.5, inner, outer)

    def __str__(self) -> str:
        return f"R^{self.dim}"


def _span(low: float, high: float) -> str:
    """[low, high] with six digits, or as many more as tell the two apart to three."""
    ratio = max(1.0, max(abs(low), abs(high)) / (high - low))
    digits = max(6, min(17, 3 + math.ceil(math.log10(ratio))))
    return f"[{low:.{digits}g}, {high:.{digits}g}]"


def _unit_points(call: str, dim: int, count: int, seed: int) -> Array:
    """(count, dim) scrambled Sobol points strictly inside the unit cube."""
    count = _checks.count(call, "count", count, least=0, most=_MAX_SAMPLES)
    seed = _checks.count(call, "seed", seed, least=0, most=2**63 - 1)
    if count == 0:
        return np.empty((0, dim))
    points = torch.quasirandom.SobolEngine(dim, scramble=True, seed=seed).draw(count, dtype=torch.float64)
    return np.clip(points.numpy(), 2.0**-40, 1 - 2.0**-40)


def _directions(unit: Array) -> Array:
    """(k, n) points of the unit cube -> (k, n) unit vectors, uniform on the sphere."""
    if unit.shape[1] == 1:
        return np.where(unit < 0.5, -1.0, 1.0)
    gauss = ndtri(unit)
    length = np.linalg.norm(gauss, axis=1, keepdims=True)
    return gauss / np.where(length > 0, length, 1.0)


def parse_domain(spec: str, dim: int) -> Box | Ball | WholeSpace:
    """Read a domain as the command line writes it.

    ``box:-3,3`` (the same interval in every coordinate), ``box:-3,3;0,1`` (one interval per coordinate),
    ``ball:2`` (about the origin), ``ball:2;1,0`` (about (1, 0)), ``space`` (all of R^n). Raises ValueError for
    anything else.

    >>> print(parse_domain("box:-3,3", 2), "|", parse_domain("space", 2))
    [-3, 3]^2 | R^2
    """
    help_text = "Write box:LO,HI or box:LO,HI;LO,HI;... or ball:RADIUS or ball:RADIUS;C1,...,Cn or space."
    if not isinstance(spec, str):
        raise TypeError(_checks.message("domain", _checks.show(spec), "text", help_text))
    kind, _, rest = spec.strip().partition(":")
    try:
        if kind == "space" and not rest:
            return WholeSpace(dim)
        if kind == "ball":
            radius, _, center = rest.partition(";")
            about = [float(v) for v in center.split(",")] if center else [0.0] * dim
            if len(about) != dim:
                raise ValueError(f"{len(about)} coordinates of the center")
            return Ball(about, float(radius))
        if kind == "box":
            spans = [tuple(float(v) for v in part.split(",")) for part in rest.split(";")]
            if any(len(span) != 2 for span in spans) or len(spans) not in (1, dim):
                raise ValueError("wrong number of bounds")
            if len(spans) == 1:
                spans = spans * dim
            return Box([s[0] for s in spans], [s[1] for s in spans])
    except ValueError as error:
        raise ValueError(_checks.message("domain", repr(spec), f"a domain of R^{dim} ({error})", help_text)) from None
    raise ValueError(_checks.message("domain", repr(spec), "box:, ball: or space", help_text))


def format_domain(domain: Box | Ball | WholeSpace) -> str:
    """The specification that `parse_domain` reads as this domain, to the last bit.

    >>> format_domain(Box([-1, 0], [1, 0.5])), format_domain(Ball([0.1, 0], 2))
    ('box:-1.0,1.0;0.0,0.5', 'ball:2.0;0.1,0.0')
    """
    if isinstance(domain, WholeSpace):
        return "space"
    if isinstance(domain, Ball):
        return f"ball:{domain.radius!r};{','.join(map(repr, domain.center.tolist()))}"
    spans = zip(domain.lower.tolist(), domain.upper.tolist(), strict=True)
    return "box:" + ";".join(f"{low!r},{high!r}" for low, high in spans)
