"""Taylor models of a radial network on boxes: high order, for activations that are analytic where they are used.

State v = p(xi) + e, |e_i| <= error_i. An affine layer maps the coefficients. A radial layer multiplies v by
g(|v|^2), g(q) = h(sqrt q) / sqrt q: first a model of g in the one variable q, on all values that |v|^2 takes on the
box, then that polynomial of the polynomial |v|^2, then the product with v. All roundings, here and in the network, end
up in the errors. Forms (see `forms`) are of first order and lose sight of weights that cancel each other; here what is
lost is of order degree + 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from approx.certification._profiles import Profile
from approx.certification._series import Basis, composed, known, multiplied, reach
from approx.certification.forms import Layer, Layers
from approx.certification.intervals import TINY, UNIT, Interval, unchecked, up
from approx.certification.jets import Jet
from approx.certification.taylor import Taylor

__all__ = ["DEGREES", "Models", "scaled", "squared"]

Array = NDArray[np.float64]
DEGREES = {1: 12, 2: 9, 3: 6}  # by dimension; beyond it, forms only
_NARROWEST = 2.0**-50  # of |v|^2: the half width of its range is at least this
_NUMBERS = 1 << 17  # in one array of coefficients


def squared(basis: Basis, terms: Array, error: Array) -> tuple[Array, Array]:
    """The model (P, k) of |v|^2 for models v (P, d, k), and its error."""
    count, dims, boxes = terms.shape
    flat = terms.reshape(count, dims * boxes), error.reshape(dims * boxes)
    squares, missing = multiplied(basis, *flat, *flat)
    squares = squares.reshape(count, dims, boxes)
    rounding = dims * UNIT * np.abs(squares).sum(axis=(0, 1))
    missing = (missing.reshape(dims, boxes).sum(axis=0) + rounding) * (1 + (dims * count + 8) * UNIT)
    return known(squares.sum(axis=1), missing)


def scaled(basis: Basis, factor: Array, doubt: Array, terms: Array, error: Array) -> tuple[Array, Array]:
    """Models (P, d, k) times one model (P, k) of a number."""
    count, dims, boxes = terms.shape
    flat = terms.reshape(count, dims * boxes), error.reshape(dims * boxes)
    factors = np.broadcast_to(factor[:, None], terms.shape).reshape(count, dims * boxes)
    product, missing = multiplied(basis, factors, np.broadcast_to(doubt, error.shape).reshape(-1), *flat)
    return product.reshape(terms.shape), missing.reshape(error.shape)


class Models:
    """The layers of a network R^n -> R^m as Taylor models need them: n <= 3, no activation that jumps.

    layers : what the forms know of it; degree : of the polynomials
    """

    def __init__(self, layers: Layers, degree: int | None = None):
        self.layers = layers
        self.basis = Basis.of(layers.dim_in, DEGREES[layers.dim_in] if degree is None else degree)
        widest = max(len(layer.bias) for layer in layers.stored)
        self.chunk = max(1, _NUMBERS // (len(self.basis) * widest))  # boxes at a time

    @staticmethod
    def follow(layers: Layers) -> bool:
        """Whether there are models of these layers."""
        smooth = all(layer.profile is None or isinstance(layer.profile, Profile) for layer in layers.stored)
        return smooth and layers.dim_in in DEGREES

    def __call__(self, x: Taylor) -> Taylor:
        """The values (k, m) of the network, exact and as evaluated in its dtype, at points (k, n)."""
        terms, error = x.terms.transpose(0, 2, 1), x.error.T
        if self.layers.unit > UNIT / 2:  # points are rounded to the network's dtype
            error = error + (np.abs(terms).sum(axis=0) + error) * (2 * self.layers.unit) + self.layers.tiny
        with np.errstate(all="ignore"):
            for layer in self.layers.stored:
                terms, error = self._affine(layer, terms, error)
                if isinstance(layer.profile, Profile):
                    terms, error = self._activate(layer.profile, terms, error)
        return Taylor(self.basis, terms.transpose(0, 2, 1), error.T)

    def _affine(self, layer: Layer, terms: Array, error: Array) -> tuple[Array, Array]:
        # Zeros are multiplied and added without rounding. Of the additions, in any order, only the last has a result
        # as small as the sum, where terms cancel.
        used = np.count_nonzero(layer.weight, axis=1)[:, None]
        mapped = layer.weight @ terms
        mapped[0] += layer.bias[:, None]
        parts = layer.magnitude @ (np.abs(terms).sum(axis=0) + error)
        size = parts + np.abs(layer.bias)[:, None]
        result = np.abs(mapped).sum(axis=0) + layer.magnitude @ error
        rounding = self.layers.unit * (parts + np.maximum(used - 1, 0) * size + result)  # in the network
        rounding += UNIT / 2 * (used * parts + np.abs(mapped[0]))  # and here
        rounded = 1.01 * rounding + (used + 1) * (self.layers.tiny + len(terms) * TINY)
        error = (layer.magnitude @ error + rounded) * (1 + (layer.weight.shape[1] + len(terms) + 16) * UNIT)
        large = ~(size <= self.layers.huge / 16)  # sums may overflow in the network's dtype
        return known(mapped, np.where(large.any(axis=0), np.inf, error))

    def _activate(self, profile: Profile, terms: Array, error: Array) -> tuple[Array, Array]:
        square, missing = squared(self.basis, terms, error)
        middle = square[0]
        radius = (reach(square) + missing) * (1 + 8 * UNIT) + np.abs(middle) * _NARROWEST + TINY
        lost = ~np.isfinite(radius)
        middle, radius = np.where(lost, 1.0, middle), np.where(lost, 0.5, radius)
        line = Taylor.variables(Basis.of(1, self.basis.degree), middle[:, None], radius[:, None])[:, 0]
        factor = line._lift(profile.ratio(np.sqrt(line)))
        inner = square / radius
        inner[0] = 0.0
        shrunk = (missing + reach(square) * (2 * UNIT)) / radius * (1 + 4 * UNIT) + TINY
        shrunk = np.where(lost, np.inf, shrunk)
        scale = composed(self.basis, factor.terms, inner, shrunk, factor.error)
        product, rest = scaled(self.basis, *scale, terms, error)
        size = (np.abs(terms).sum(axis=0) + error) * (1 + (len(terms) + 4) * UNIT)
        rest = rest + self._evaluation(profile, factor.bounds, middle, radius, size)
        return known(product, rest * (1 + 4 * UNIT))

    def _evaluation(self, profile: Profile, factor: Interval, middle: Array, radius: Array, size: Array) -> Array:
        """How far the computed s(|v|) v may be from s(|v|) v, (d, k), for |v|^2 within radius of middle, |v_i| <= size.

        |v| is computed with a relative error theta, and that number serves both as the argument of h and as divisor:
        so s is taken at a radius that is off by theta, and rounded.
        """
        unit = self.layers.unit
        theta = (len(size) / 2 + 8) * unit
        low = np.maximum((middle - radius) * (1 - 4 * theta - 8 * UNIT), 0.0)
        high = up((middle + radius) * (1 + 4 * theta), 4)
        slopes = Jet.variables(unchecked(low[:, None], high[:, None]))[:, 0]
        slope = slopes._lift(profile.ratio(np.sqrt(slopes))).partials[0]
        rate = np.zeros(1) if slope is None else np.maximum(np.abs(slope.lo), np.abs(slope.hi))
        least, most = np.maximum(np.sqrt(low) * (1 - UNIT), 0.0), up(np.sqrt(high))
        h, steep = profile.bounds(unchecked(least, most))
        steepness = np.maximum(np.abs(steep.lo), np.abs(steep.hi))
        largest = np.maximum(np.abs(h.lo), np.abs(h.hi))
        relative = (
            2 * theta * rate * high + np.maximum(np.abs(factor.lo), np.abs(factor.hi)) * (profile.units + 4) * unit
        )
        moved = np.fmin(1.0, size / least) * steepness * (4 * unit) * (most + profile.shift)
        tiny = 8 * self.layers.tiny * (1 + largest)
        return 1.01 * (relative * size + moved) + tiny
