"""F - L outside a cube, for a radial network F and an affine map L: Taylor models in the direction and in 1/|x|.

Where x_a is the coordinate of largest size and |x_a| >= R, x = X / t with X_a = 1 or -1, the other X_j in [-1, 1] and
0 < t <= 1/R: a box of as many variables, on which t = 0 stands for infinity. A state is v = M x + u with an exact
matrix M and bounded u: an affine layer makes W M x + (W u + b) of it. With the direction and the inverse length

    D = v / |v| = t v / |t v|,        z = 1 / |v| = t / |t v|,        t v = M X + t u,

an activation with h(r) = r - b + e(r), where e decays, makes M x + (u + (e - b) D) of it, and one with a bounded h,
analytic in z up to a rest that decays, h D and M = 0. So all is bounded and smooth up to t = 0 while |t v| > 0, and
F - L is bounded if M is the matrix of L in the end, exactly. All this holds for F in real arithmetic.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from approx.affine import AffineMap
from approx.certification._expansions import power
from approx.certification._profiles import Far, Profile
from approx.certification._series import added, known, ranges
from approx.certification.branch import branch_and_bound
from approx.certification.dense import without_cells
from approx.certification.forms import Layer, Layers
from approx.certification.intervals import TINY, UNIT, up
from approx.certification.models import Models, scaled, squared
from approx.certification.taylor import Taylor
from approx.domains import Box

__all__ = ["Outside"]

Array = NDArray[np.float64]
Model = tuple[Array, Array]
_PARTS = 4
_TOGETHER, _MOST = 64, 1 << 14  # boxes
_MOST_BITS = 1 << 15


@dataclass(frozen=True)
class _Step:
    """A layer, M after its affine map, (d, n) within 2 units of rounding, and its activation if M is not 0."""

    layer: Layer
    slope: Array
    far: Far | None


class Outside:
    """Bounds of F - L for |x_axis| >= 1/t as an oracle on boxes (X_j for j != axis, t), on one side of zero.

    Raises ValueError, with the reason, for networks of which nothing is known there.
    """

    together = _TOGETHER

    def __init__(self, layers: Layers, affine: AffineMap):
        if not Models.follow(layers):
            raise ValueError("more than three dimensions, or activations that jump")
        exact = copy.copy(layers)
        exact.unit = exact.tiny = 0.0
        self.models = Models(exact)
        self.offset = affine.offset
        self.steps: list[_Step] = []
        self.axis, self.side = 0, 1.0
        slope = _Dyadic.of(np.eye(layers.dim_in))
        for layer in layers.stored:
            slope = _Dyadic.of(layer.weight) @ slope
            far = None
            if isinstance(layer.profile, Profile) and slope.nonzero:
                far = layer.profile.far
                if far is None:
                    raise ValueError("an activation that is not the package's")
            self.steps.append(_Step(layer, slope.rounded(), far))
            if far is not None and far.bounded is not None:
                slope = _Dyadic.of(np.zeros(slope.integers.shape))
        if slope != _Dyadic.of(affine.matrix):
            raise ValueError("a network whose slope at infinity is not exactly that of the target's affine part")

    def largest(self, half: float, *, tol: float, enough: float, max_seconds: float) -> tuple[float, float]:
        """Bounds of sup |F - L| outside the cube |x_k| <= half, within tol of each other if the budget suffices, unless
        the upper one is below `enough`."""
        n = self.models.layers.dim_in
        box = Box([-1.0] * (n - 1) + [0.0], [1.0] * (n - 1) + [float(up(1 / half))])
        faces = [self._facing(axis, side) for axis in range(n) for side in (1.0, -1.0)]
        found = [
            branch_and_bound(
                *without_cells(face, n, len(self.offset)),
                box,
                tol=tol,
                eps=max(enough, TINY),
                max_seconds=max_seconds / len(faces),
                max_boxes=_MOST,
            )
            for face in faces
        ]
        return max(part.lower for part in found), max(part.upper for part in found)

    def _facing(self, axis: int, side: float) -> Outside:
        """The same for another face of the cube."""
        other = copy.copy(self)
        other.axis, other.side = axis, side
        return other

    def range(self, lower: Array, upper: Array) -> tuple[Array, Array]:
        """lower, upper (k, n), t last -> (low, high), (k, m) each."""
        low, high = np.empty((2, len(lower), len(self.offset)))
        for start in range(0, len(lower), self.models.chunk):
            rows = slice(start, start + self.models.chunk)
            middle = lower[rows] + 0.5 * (upper[rows] - lower[rows])
            radius = up(np.maximum(middle - lower[rows], upper[rows] - middle))
            with np.errstate(all="ignore"):
                terms, error = self._follow(Taylor.variables(self.models.basis, middle, radius))
            boxes = error.shape[1]
            bounds = ranges(self.models.basis, terms.reshape(len(terms), -1), error.reshape(-1), _PARTS)[:2]
            low[rows], high[rows] = (part.reshape(-1, boxes).T for part in bounds)
        return low, high

    def _follow(self, x: Taylor) -> Model:
        """F - L, (P, m, k)."""
        models, (boxes, n) = self.models, x.shape
        terms = x.terms.transpose(0, 2, 1)
        face = np.zeros((len(terms), 1, boxes))
        face[0] = self.side
        direction = np.concatenate([terms[:, : self.axis], face, terms[:, self.axis : -1]], axis=1)
        t = Taylor(models.basis, terms[:, -1], np.zeros(boxes))
        rest: Model = np.zeros((len(terms), n, boxes)), np.zeros((n, boxes))  # u
        for step in self.steps:
            rest = models._affine(step.layer, *rest)
            if step.far is None:
                if isinstance(step.layer.profile, Profile):  # M = 0
                    rest = models._activate(step.layer.profile, *rest)
                continue
            shrunk = added(*_mapped(step.slope, direction), *self._times(t, rest))  # t v
            inverse = Taylor(models.basis, *squared(models.basis, *shrunk))._function(power(-0.5))
            z = inverse * t
            least = 1 / np.maximum(z.bounds.hi, TINY) * (1 - 4 * UNIT)  # |v| is no smaller
            height = np.full(boxes, -step.far.shift) if step.far.bounded is None else step.far.bounded(z)
            moved = self._times(_blurred(z._lift(height), step.far.rest(least)) * inverse, shrunk)
            rest = added(*rest, *moved) if step.far.bounded is None else moved
        constant = np.zeros(rest[0].shape)
        constant[0] = -self.offset[:, None]
        return added(*rest, constant, np.zeros(rest[1].shape))

    def _times(self, factor: Taylor, state: Model) -> Model:
        return scaled(self.models.basis, factor.terms, factor.error, *state)


def _blurred(model: Taylor, error: Array) -> Taylor:
    return Taylor(model.basis, *known(model.terms, up(model.error + error)))


def _mapped(slope: Array, direction: Array) -> Model:
    """M X for X (P, n, k) of size at most 1; M is rounded, and so are the sums."""
    terms = slope @ direction
    size = np.abs(slope) @ np.abs(direction).sum(axis=0)
    return known(terms, size * ((2 * direction.shape[1] + 8) * UNIT) + len(terms) * TINY)


@dataclass(frozen=True, eq=False)
class _Dyadic:
    """A matrix, integers * 2^exponent, in lowest terms."""

    integers: NDArray[Any]  # of Python's
    exponent: int

    @classmethod
    def of(cls, matrix: Array) -> _Dyadic:
        mantissas, exponents = np.frexp(matrix)
        least = int(exponents[matrix != 0].min(initial=0)) - 53
        numbers = [int(m) << max(int(e) - 53 - least, 0) for m, e in zip(
            np.ldexp(mantissas, 53).ravel().tolist(), exponents.ravel().tolist(), strict=True)]  # fmt: skip
        return cls(np.array(numbers, dtype=object).reshape(matrix.shape), least)._lowest()

    def __matmul__(self, other: _Dyadic) -> _Dyadic:
        return _Dyadic(self.integers @ other.integers, self.exponent + other.exponent)._lowest()

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, _Dyadic)
            and self.exponent == other.exponent
            and bool((self.integers == other.integers).all())
        )

    @property
    def nonzero(self) -> bool:
        return any(self.integers.flat)

    def _lowest(self) -> _Dyadic:
        """Raises ValueError when the numbers explode."""
        zeros = [(number & -number).bit_length() - 1 for number in self.integers.flat if number]
        if not zeros:
            return _Dyadic(self.integers * 0, 0)
        if max(abs(number).bit_length() for number in self.integers.flat) > _MOST_BITS:
            raise ValueError("a product of weights with too many digits")
        return _Dyadic(self.integers >> min(zeros), self.exponent + min(zeros))

    def rounded(self) -> Array:
        """float64, within 2 units; infinite where that has no number for it."""
        found = []
        for number in self.integers.flat:
            shift = max(abs(number).bit_length() - 64, 0)
            try:
                found.append(math.ldexp(float(number >> shift), shift + self.exponent))
            except OverflowError:
                found.append(math.inf)
        return np.array(found, dtype=np.float64).reshape(self.integers.shape)
