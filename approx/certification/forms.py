"""First-order Taylor forms of a radial network on boxes, with every rounding accounted for.

A form stands for a vector that depends on xi in [-1, 1]^n: v = c + A xi + delta with |delta_i| <= e_i, where x = center
+ radius * xi runs over a box. An affine layer maps c and A, and multiplies e by |W|.

A radial layer multiplies v by s(|v|). For p = c + d, d = A xi, the square |p|^2 = |c|^2 + t.xi + |d|^2, t = 2 A^T c, is
a polynomial, and s lies within `error` of a line of slope b in it (`_lines`). So

    s p = s0 c + (s0 A + b c t^T) xi + b ((t.xi) d + |d|^2 c) + b |d|^2 d + ...,

whose quadratic terms are bounded for each pair of coordinates: xi_j^2 is 1/2 +- 1/2. delta is multiplied by Jacobian
matrices s I + (h' - s) u u^T, u = v / |v|: in each coordinate that mixes the errors, but the Euclidean norm |delta| at
most grows by the larger of |s| and |h'|. Both bounds are carried along. Where a component of the result is twice as
wide as the product of the ranges of v and s, or as the range of h, it becomes such a constant interval. A box on which
a Step-ReLU layer may do either goes on as two.

Every form also holds what evaluating the network in its dtype gives, in any order of summation, with fused multiply-add
or without (not with reduced-precision modes such as TF32), with elementary functions to 8 units in the last place.
Infinite or NaN errors mean that nothing is known.

Affine arithmetic (stolfi1997selfvalidated, chapter 3), with one symbol for each coordinate of the box.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from approx import _checks
from approx.activations import RadialActivation, RadialIdentity, StepReLU
from approx.certification._chain import DIGITS
from approx.certification._lines import Lines, lines
from approx.certification._profiles import Profile
from approx.certification.intervals import TINY, UNIT
from approx.networks import RadialNetwork

__all__ = ["Form", "Layer", "Layers"]

Array = NDArray[np.float64]

_MOST_ENTRIES = 20_000_000
_NUMBERS = 1 << 15  # in one coefficient array: a few of them fit into the cache
_STEP = "step"
_KEPT = 0.5  # a form that is wider than an interval by less than 1 / _KEPT is worth more: it follows x
_VANISHED = 2.0**-510  # more than the square root of what underflow takes from a square
_PAIRS = 28  # products of columns of A that are worth computing: n <= 8


class Form(NamedTuple):
    """k vectors c + A xi + delta in R^d. terms (1 + n, d, k): c and the columns of A; error (d, k) >= |delta_i|;
    ball (k,) >= |delta|, the Euclidean norm."""

    terms: Array
    error: Array
    ball: Array

    @property
    def size(self) -> Array:
        """(d, k) bounds of |v_i|, but for a few roundings."""
        return np.abs(self.terms).sum(axis=0) + self.error

    def take(self, boxes: NDArray) -> Form:
        return Form(self.terms[:, :, boxes], self.error[:, boxes], self.ball[boxes])


class _Square(NamedTuple):
    """Bounds of v = p + delta, p = c + d, d = A xi: low <= |v| <= high, whatever the rounding here or in the network;
    reach >= |d_i|, p >= |p_i|, half >= |v_i - c_i|, size >= |v_i|. And the polynomial |p|^2, within `slack`:

    middle + tilt.xi + sum of square_j xi_j^2 + sum over pairs (i, j) of cross_ij xi_i xi_j,

    |tilt.xi| <= swing and |d|^2 <= bend; pairs is None where n is so large that only bend is computed. theta: relative
    error of |v| and v / |v| in the network's dtype.
    """

    reach: Array
    p: Array
    half: Array
    size: Array
    tilt: Array
    square: Array
    pairs: list[tuple[int, int]] | None
    cross: list[Array]
    swing: Array
    bend: Array
    middle: Array
    slack: Array
    low: Array
    high: Array
    theta: float


@dataclass(frozen=True)
class Layer:
    """A layer as stored, |weight|, bounds of the norms of its rows and of its own, and what its activation is."""

    weight: Array
    bias: Array
    magnitude: Array
    rows: Array
    norm: float
    profile: Profile | str | None

    @classmethod
    def of(cls, weight: Array, bias: Array, profile: Profile | str | None) -> Layer:
        above = 1 + (sum(weight.shape) + 64) * UNIT  # more than the rounding of a norm
        with np.errstate(over="ignore"):
            rows = np.linalg.norm(weight, axis=1) * above + weight.shape[1] * _VANISHED
        norm = float(np.linalg.norm(weight, 2)) * (1 + (above - 1) * max(weight.shape))  # LAPACK is backward stable
        return cls(weight, bias, np.abs(weight), rows[:, None], norm, profile)


class Layers:
    """The layers of a network R^n -> R^m as the forms need them.

    Raises TypeError for anything but a RadialNetwork; ValueError for dtypes other than float64 and float32, for weights
    that are NaN or infinite, for activations without known bounds, and for networks whose dense matrices would have
    more than 2e7 entries.
    """

    def __init__(self, network: RadialNetwork, call: str):
        if not isinstance(network, RadialNetwork):
            raise TypeError(_checks.message(call, _checks.show(network), "a RadialNetwork", "Pass the network itself."))
        if network.dtype not in DIGITS:
            required = "weights of torch.float64 or torch.float32"
            raise ValueError(_checks.message(call, f"weights of {network.dtype}", required, "Convert with .double()."))
        widths = network.widths
        entries = sum(a * b for a, b in itertools.pairwise(widths))
        if entries > _MOST_ENTRIES:
            received = f"layers with {entries:,} weights, written out"
            raise ValueError(_checks.message(call, received, f"at most {_MOST_ENTRIES:,}", "Use a smaller network."))
        self.dim_in, self.dim_out = network.dim_in, network.dim_out
        self.unit = 2.0 ** -DIGITS[network.dtype]  # of rounding
        limits = torch.finfo(network.dtype)
        self.tiny, self.huge = limits.tiny, limits.max
        known = {id(a): _profile(a, call) for block in network.blocks if (a := block.activation) is not None}
        self.assumes = tuple(dict.fromkeys(p.assumes for p in known.values() if isinstance(p, Profile) and p.assumes))
        self.stored = []
        for weight, bias, activation in network.layers():
            w, b = (value.detach().cpu().double().numpy().copy() for value in (weight, bias))
            if not (np.isfinite(w).all() and np.isfinite(b).all()):
                raise ValueError(_checks.message(call, "NaN or infinity in the weights", "numbers", "Correct them."))
            self.stored.append(Layer.of(w, b, known.get(id(activation))))
        self.chunk = max(1, _NUMBERS // (max(widths) * (2 + self.dim_in)))  # boxes at a time

    def __call__(self, center: Array, radius: Array) -> list[tuple[NDArray[np.int64], Form]]:
        """The values on boxes |x - center| <= radius, (n, k) each: pairs (rows, form). A box that a Step-ReLU layer may
        partly zero is in the rows of several forms, each of its values in one of them."""
        n, count = center.shape
        terms = np.zeros((1 + n, n, count))
        terms[0] = center
        terms[range(1, n + 1), range(n)] = radius
        exact = self.unit <= UNIT / 2  # float64 points are points of the network's dtype
        size = np.abs(center) + radius
        error = np.zeros((n, count)) if exact else size * (2 * self.unit) + self.tiny
        form = Form(terms, error, _norm(error))
        waiting, done = [(0, np.arange(count), form)], []
        with np.errstate(all="ignore"):
            while waiting:
                index, rows, form = waiting.pop()
                for layer in self.stored[index:]:
                    index += 1
                    form = self._affine(layer, form)
                    if isinstance(layer.profile, Profile):
                        form = self._activate(layer.profile, form)
                    elif layer.profile == _STEP:
                        low, high = self._square(form).low, self._square(form).high
                        zeroed = np.flatnonzero(~(low >= 1))
                        if len(zeroed):
                            waiting.append((index, rows[zeroed], _zero(form, len(zeroed))))
                            kept = ~(high < 1)
                            rows, form = rows[kept], form.take(kept)
                    if not len(rows):
                        break
                else:
                    done.append((rows, form))
        return done

    def _affine(self, layer: Layer, form: Form) -> Form:
        count = layer.weight.shape[1] + 2
        rounding = count * (self.unit + UNIT) * 1.01  # of the network's sum and of ours
        terms = layer.weight @ form.terms
        terms[0] += layer.bias[:, None]
        moved, size = layer.magnitude @ np.stack([form.error, form.size])
        rounded = rounding * (size + np.abs(layer.bias)[:, None]) + count * (self.tiny + TINY)
        grow = 1 + (count + len(terms) + 8) * UNIT
        error = (np.fmin(moved, layer.rows * form.ball) + rounded) * grow
        ball = np.fmin((layer.norm * form.ball + _norm(rounded)) * grow, _norm(error))
        # So large that a product, a sum or the norm may overflow in the network's dtype:
        large = ~(rounded <= rounding * self.huge / (8 * len(error)))
        return Form(terms, np.where(large, np.inf, error), np.where(large.any(axis=0), np.inf, ball))

    def _square(self, form: Form) -> _Square:
        center, slopes = form.terms[0], form.terms[1:]
        dim, n = len(center), len(slopes)
        grow = 1 + (dim + n + 64) * (2 * UNIT)  # more than the rounding of a sum of terms >= 0
        reach = np.abs(slopes).sum(axis=0) * grow
        p = (np.abs(center) + reach) * grow
        half = (reach + form.error) * grow
        size = (np.abs(center) + half) * grow

        tilt = 2 * (center * slopes).sum(axis=1)
        square = np.square(slopes).sum(axis=1)
        pairs = list(itertools.combinations(range(n), 2)) if n * (n - 1) // 2 <= _PAIRS else None
        cross = [2 * (slopes[i] * slopes[j]).sum(axis=0) for i, j in pairs or []]
        if pairs is None:
            bend = np.square(reach).sum(axis=0) * grow
        else:
            bend = (square.sum(axis=0) + sum(np.abs(c) for c in cross)) * grow
        swing = np.abs(tilt).sum(axis=0) * grow
        middle = np.square(center).sum(axis=0)
        slack = (dim + n + 16) * UNIT * np.square(p).sum(axis=0) * grow + dim * TINY
        theta = (dim / 2 + 8) * (self.unit + UNIT)
        low = middle - swing - slack
        low = np.sqrt(np.where(low > 0, low, 0.0)) * (1 - 4 * UNIT) - form.ball
        nearest = np.sqrt(np.square(np.maximum(np.abs(center) - half, 0.0)).sum(axis=0))
        low = np.fmax(low, nearest) * (1 - theta)
        high = np.sqrt(middle + swing + bend + slack) * (1 + 4 * UNIT) + form.ball
        high = np.fmin(high, _norm(size)) * (1 + theta) + TINY
        low, high = np.where(low > 0, low, 0.0), np.where(np.isnan(high), np.inf, high)
        size = np.where(np.isnan(size), np.inf, size)
        return _Square(reach, p, half, size, tilt, square, pairs, cross, swing, bend, middle, slack, low, high, theta)

    def _activate(self, profile: Profile, form: Form) -> Form:
        center, slopes = form.terms[0], form.terms[1:]
        grow = 1 + (len(center) + len(slopes) + 64) * (2 * UNIT)
        v = self._square(form)
        reach, p, tilt, square, swing, bend, middle = v.reach, v.p, v.tilt, v.square, v.swing, v.bend, v.middle
        line = lines(profile, v.low, v.high)

        value = line.offset + line.slope * middle  # s0, at |v|^2 = |c|^2
        steep = np.abs(line.slope)
        terms = np.empty_like(form.terms)
        quadratic = tilt[:, None] * slopes + square[:, None] * center
        terms[0] = value * center + (0.5 * line.slope) * quadratic.sum(axis=0)
        terms[1:] = value * slopes + (line.slope * tilt)[:, None] * center
        second = 0.5 * np.abs(quadratic).sum(axis=0)
        if v.pairs is None:
            second += swing * reach + bend * np.abs(center)
        else:
            for (i, j), c in zip(v.pairs, v.cross, strict=True):
                second += np.abs(tilt[i] * slopes[j] + tilt[j] * slopes[i] + c * center)
        rounding = (len(slopes) + 24) * UNIT * p * (np.abs(value) + steep * (middle + 2 * (swing + bend)))
        rest = (steep * (second + bend * reach + v.slack * p) + rounding) * grow

        towards = np.fmin(1.0, v.size / v.low)  # bounds of |v_i| / |v|
        sheared = (towards * form.error).sum(axis=0) * grow - towards * form.error
        turned = np.fmin(line.stretch * form.error + line.shear * towards * sheared, line.stretch * form.ball)
        squares = line.slope * np.square(np.maximum(np.abs(center) - reach, 0.0)), line.slope * np.square(p)
        most = line.factor[1] + line.error + 2 * np.maximum(*squares)
        least = line.factor[0] - line.error + 2 * np.minimum(*squares)
        blunt = 16 * UNIT * (np.abs(line.factor).max(axis=0) + line.error + 2 * steep * np.square(p))  # rounding
        jolt = (form.error * (2 * p + form.error)).sum(axis=0) * (grow * grow)
        others = np.fmin(jolt - 2 * p * form.error, form.ball * (2 * v.high + form.ball) * grow)
        along = (np.maximum(np.abs(most), np.abs(least)) + blunt) * form.error + steep * p * np.maximum(others, 0.0)
        extra, blur = self._evaluation(profile, line, v, towards)
        error = (rest + line.error * p + np.fmin(turned, along + line.error * form.error)) * grow + extra
        ball = (_norm(rest) + line.error * v.high + line.stretch * form.ball) * grow + blur
        result = Form(terms, error, np.fmin(ball, _norm(error)))
        return _narrowest(result, *_product(center, v.half, line), extra)

    def _evaluation(self, profile: Profile, line: Lines, v: _Square, towards: Array) -> tuple[Array, Array]:
        """How far the computed rho(v) may be from rho near v: in each coordinate, and in norm."""
        relative = 1.01 * (v.theta + profile.units * self.unit)
        moved = 1.01 * line.steepness * (v.theta * v.high + 4 * self.unit * (v.high + profile.shift))
        least = 8 * self.tiny * (1 + line.size)
        factor = np.abs(line.factor).max(axis=0)
        each = relative * np.fmin(factor * v.size, line.size) + towards * moved + least
        return each, relative * np.fmin(factor * v.high, line.size) + moved + len(v.size) * least


def _profile(activation: RadialActivation, call: str) -> Profile | str | None:
    if type(activation) is RadialIdentity:
        return None
    return _STEP if type(activation) is StepReLU else Profile.of(activation, call)


def _zero(form: Form, count: int) -> Form:
    dims = form.error.shape[0]
    return Form(np.zeros((len(form.terms), dims, count)), np.zeros((dims, count)), np.zeros(count))


def _norm(vectors: Array) -> Array:
    """(d, k) numbers >= 0 -> (k,) bounds of their Euclidean norms; infinite where squares overflow."""
    return np.sqrt(np.square(vectors).sum(axis=0)) * (1 + (len(vectors) + 8) * UNIT) + len(vectors) * _VANISHED


def _product(center: Array, half: Array, line: Lines) -> tuple[Array, Array]:
    """Bounds of s(|v|) v from the ranges of both, and from that of h."""
    low, high = center - half, center + half
    least, most = line.factor
    ends = np.stack([low * least, low * most]), np.stack([high * least, high * most])
    low, high = ends[0].min(axis=0), ends[1].max(axis=0)
    slack = 4 * UNIT
    low = np.where(np.isnan(low), -np.inf, low - slack * np.abs(low) - TINY)
    high = np.where(np.isnan(high), np.inf, high + slack * np.abs(high) + TINY)
    return np.maximum(low, -line.size), np.minimum(high, line.size)


def _narrowest(form: Form, low: Array, high: Array, extra: Array) -> Form:
    """The form, with the interval low .. high (and `extra` about it) in the components where that is much narrower."""
    middle = 0.5 * low + 0.5 * high
    half = np.maximum(high - middle, middle - low) * (1 + 4 * UNIT) + extra
    wide = np.abs(form.terms[1:]).sum(axis=0) + form.error
    change = ~(_KEPT * wide <= half) & ~np.isnan(half)
    if not change.any():
        return form
    terms = np.where(change, 0.0, form.terms)
    terms[0] = np.where(change, middle, form.terms[0])
    error = np.where(change, half, form.error)
    return Form(terms, error, np.where(change.any(axis=0), _norm(error), form.ball))
