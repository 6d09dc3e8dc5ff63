"""F - L outside a cube, for a radial network F and a constant L: Taylor models in the direction and in 1/|x|.

Where x_a is the coordinate of largest size and |x_a| >= R, x = X / t with X_a = 1 or -1, the other X_j in [-1, 1] and
0 < t <= 1/R: a box of as many variables, on which t = 0 stands for infinity. A coordinate of a state is *near* if it
has x only through norms or through bounded activations; the others are *far*: t times them is followed. For a state v

    t (W v + b) = W (t v) + b t,        |v|^2 t^2 = |t v|^2,        z = 1/|v| = t / |t v|,

and an activation multiplies v by h(r)/r, a function of z that is analytic at 0 up to a rest that decays. So all is
smooth up to t = 0 while |t v| > 0. F is bounded if its last layer reads no far coordinate, which is seen from zeros
among the stored weights: what rounding leaves of a slope grows with x. All this holds for F in real arithmetic.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from approx.certification._expansions import power
from approx.certification._profiles import Profile
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


@dataclass(frozen=True)
class _Step:
    """A layer by its rows: `far` (d, D) reads (t far, t near, t), `near` reads near. bounds: whether all is near after
    the activation; then `order` is that of the coordinates among (far, near)."""

    far: Layer
    near: Layer
    profile: Profile | None
    bounds: bool
    order: NDArray[np.int64]


class Outside:
    """Bounds of F - offset for |x_axis| >= 1/t as an oracle on boxes (X_j for j != axis, t), on one side of zero.

    Raises ValueError, with the reason, for networks of which nothing is known there.
    """

    together = _TOGETHER

    def __init__(self, layers: Layers, offset: Array):
        if not Models.follow(layers):
            raise ValueError("more than three dimensions, or activations that jump")
        exact = copy.copy(layers)
        exact.unit = exact.tiny = 0.0
        self.models = Models(exact)
        self.offset = offset
        self.steps: list[_Step] = []
        self.axis, self.side = 0, 1.0
        far = np.ones(layers.dim_in, dtype=bool)
        for layer in layers.stored:
            self.steps.append(_step(layer, far))
            far = np.zeros(len(layer.bias), dtype=bool) if self.steps[-1].bounds else _reads(layer, far)
        if far.any():
            raise ValueError("an output that grows with |x|, if only by what rounding left of a slope")

    def largest(self, half: float, *, tol: float, enough: float, max_seconds: float) -> tuple[float, float]:
        """Bounds of sup |F - offset| outside the cube |x_k| <= half, within tol of each other if the budget suffices,
        unless the upper one is below `enough`."""
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
        """F - offset, (P, m, k)."""
        models, (boxes, n) = self.models, x.shape
        t = x.terms[:, None, :, -1], x.error[None, :, -1]
        face = np.zeros((len(x.terms), 1, boxes))
        face[0] = self.side
        others = x.terms[:, :, :-1].transpose(0, 2, 1)
        far: Model = (
            np.concatenate([others[:, : self.axis], face, others[:, self.axis :]], axis=1),
            np.zeros((n, boxes)),
        )
        near: Model = np.zeros((len(x.terms), 0, boxes)), np.zeros((0, boxes))
        for step in self.steps:
            read = _joined(far, self._shrunk(t, near), t)
            far, near = models._affine(step.far, *read), models._affine(step.near, *near)
            if step.profile is None:
                continue
            if not far[0].shape[1]:
                near = models._activate(step.profile, *near)
                continue
            together = _joined(far, self._shrunk(t, near))
            length = Taylor(models.basis, *squared(models.basis, *together))
            inverse = length._function(power(-0.5))
            factor = self._factor(step.profile, inverse * Taylor(models.basis, t[0][:, 0], t[1][0]))
            if step.bounds:
                near = self._times(factor * inverse, together)
                near = near[0][:, step.order], near[1][step.order]
                far = far[0][:, :0], far[1][:0]
            else:
                far, near = self._times(factor, far), self._times(factor, near)
        constant = np.zeros(near[0].shape)
        constant[0] = -self.offset[:, None]
        return added(*near, constant, np.zeros(near[1].shape))

    def _shrunk(self, t: Model, near: Model) -> Model:
        return scaled(self.models.basis, t[0][:, 0], t[1][0], *near)

    def _times(self, factor: Taylor, state: Model) -> Model:
        return scaled(self.models.basis, factor.terms, factor.error, *state)

    def _factor(self, profile: Profile, inverse: Taylor) -> Taylor:
        """h(r)/r or h(r) for r = 1/inverse."""
        assert profile.far is not None, "seen at the beginning"
        found = inverse._lift(profile.far.of_inverse(inverse))
        least = 1 / np.maximum(inverse.bounds.hi, TINY) * (1 - 4 * UNIT)
        return Taylor(self.models.basis, *known(found.terms, up(found.error + profile.far.rest(least))))


def _reads(layer: Layer, far: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return (layer.weight[:, far] != 0).any(axis=1)


def _step(layer: Layer, far: NDArray[np.bool_]) -> _Step:
    """Raises ValueError where nothing is known of the activation far out."""
    reads = _reads(layer, far)
    profile = layer.profile if isinstance(layer.profile, Profile) else None
    if profile is not None and profile.far is None and reads.any():
        raise ValueError("an activation that is not registered")
    grown = np.concatenate([layer.weight[reads][:, far], layer.weight[reads][:, ~far], layer.bias[reads, None]], axis=1)
    bounds = profile is not None and profile.far is not None and not profile.far.grows and bool(reads.any())
    order = np.argsort(np.concatenate([np.flatnonzero(reads), np.flatnonzero(~reads)]))
    return _Step(
        _rows(layer, grown, np.zeros(len(grown))),
        _rows(layer, layer.weight[~reads][:, ~far], layer.bias[~reads]),
        profile,
        bounds,
        order,
    )


def _rows(layer: Layer, weight: Array, bias: Array) -> Layer:
    return replace(layer, weight=weight, bias=bias, magnitude=np.abs(weight))


def _joined(*parts: Model) -> Model:
    return np.concatenate([part[0] for part in parts], axis=1), np.concatenate([part[1] for part in parts])
