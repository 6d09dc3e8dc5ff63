"""The pieces of a Step-ReLU network, recovered from its stored weights.

Theorem. Let F have the layers s_i = rho(W_i s_{i-1} + b_i), i = 1..N, of any widths, with rho = Step-ReLU (zero where
|v| < 1, else v) or the identity, s_0 = x. Let M_i x + b_i' be the affine map that layers 1..i make without any rho,
E_i = {x : |M_i x + b_i'| < 1} for the Step-ReLU layers, and y_i the output of layers i+1..N for the input zero. Then
F(x) = y_i for the FIRST i with x in E_i, and F(x) = M_N x + b_N' if there is none.

Proof. As long as x is in none of E_1, ..., E_{i-1}, no layer has changed its vector, so layer i sees M_i x + b_i'
(induction). If x is not in E_i, rho keeps it. If it is, the state becomes zero, which no longer depends on x, and the
rest of the network maps it to y_i, whatever it does with it (it may zero it again).

So the network is a painter: E_i is an ellipsoid, a cylinder over one (a slab, for instance), everything or nothing.
That is the same theorem for every construction and for trained networks. What is returned are floating-point numbers:
cells |A_i (x - c_i)|^2 < rho2_i, values and the affine map, and rigorous bounds of how far they are from those of the
stored weights in real arithmetic, and from what evaluating the network in its dtype does, in any order of summation,
with fused multiply-add or without (not with reduced-precision modes such as TF32).

The bounds. Let the vector before layer i be v = M (x + zeta) + b + r (`_rounding` bounds zeta and r), and the
computed |v|^2 off by a relative theta. Then x counts as captured only if |M (x + zeta) + b| <= (1 + theta) + |r|, and
as not captured only if it is >= (1 - theta) - |r|. With eta = 2 |r| + |r|^2 + 2 theta + ... this is
| |A y|^2 - rho2 | <= eta, y = x + zeta - c: the boundary is off by at most |zeta| + |y| (1 / sqrt(1 - eta/rho2) - 1).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike, NDArray

from approx import _checks
from approx.activations import RadialIdentity, StepReLU
from approx.affine import AffineMap
from approx.certification._exact import exact_affine
from approx.certification._recovery import AmbiguousNetwork, Errors, Recovery, recover
from approx.certification._shapes import OUTWARD, Drift, Shapes, blurred, displaced, shapes_of
from approx.certification.cells import Cells
from approx.covers import Cover
from approx.networks import RadialNetwork

__all__ = ["AmbiguousNetwork", "Pieces", "is_stepwise", "pieces"]

Array = NDArray[np.float64]
_CALL = "pieces"
_PAIRS = 1 << 22


@dataclass(frozen=True, eq=False, repr=False)
class Pieces:
    """Ordered cells {x : |matrices[i] (x - centers[i])|^2 < rho2[i]}, their values, and the affine map outside.

    N Step-ReLU layers of a network R^n -> R^m make N cells, empty ones included.

    centers : (N, n)
    matrices : (N, n, n); rank below n for unbounded cells (slabs), zero for a layer that zeroes everything
    rho2 : (N,); a cell with rho2 <= 0 is empty
    radii : (N,) of the cells that are balls, nan for others
    bounded : (N,) whether the cell is proved bounded
    values : (N, m), nan for empty cells and behind a layer that zeroes everything
    affine : the map of points that no layer zeroes
    layers : (N,) the layer of each cell, counted from 0
    displacement : (N,) by how far in x the boundary in real arithmetic may be off, for |x| <= radius; inf if unknown
    value_errors : (N,) Euclidean bounds of |values - those of real arithmetic|
    radius : where unbounded cells are described; None, nowhere: their displacement is inf

    >>> import constructions
    >>> from approx.targets import gaussian
    >>> built = constructions.build(gaussian(dim=1), 0.2, verify=False)
    >>> found = pieces(built.network)  # from the weights alone
    >>> len(found) == len(built.cover), bool(np.abs(found.centers - built.cover.centers).max() < 1e-12)
    (True, True)
    """

    centers: Array
    matrices: Array
    rho2: Array
    radii: Array
    bounded: NDArray[np.bool_]
    values: Array
    affine: AffineMap
    layers: NDArray[np.int64]
    displacement: Array
    value_errors: Array
    radius: float | None
    _recovery: Recovery = field(repr=False)
    _shapes: Shapes = field(repr=False)
    _margins: Array = field(repr=False)

    def __len__(self) -> int:
        return self.centers.shape[0]

    def __repr__(self) -> str:
        chosen = self.nonempty
        balls = int((~np.isnan(self.radii[chosen])).sum())
        kinds = f"{len(chosen):,} cells of {len(self):,} layers: {balls:,} balls"
        unbounded = int((~self.bounded[chosen]).sum())
        kinds += f", {len(chosen) - balls:,} others" + (f" ({unbounded:,} unbounded)" if unbounded else "")
        off = self.displacement[chosen].max(initial=0.0)
        return f"Pieces of R^{self.dim_in} -> R^{self.dim_out} ({kinds}; boundaries known to {off:.2g})"

    @property
    def dim_in(self) -> int:
        return self.affine.dim_in

    @property
    def dim_out(self) -> int:
        return self.affine.dim_out

    @functools.cached_property
    def nonempty(self) -> NDArray[np.int64]:
        """The indices of the cells that are not empty and not behind a layer that zeroes everything."""
        return np.flatnonzero(~np.isnan(self.values).any(axis=1))

    @functools.cached_property
    def reach(self) -> float:
        """A radius about the origin that holds every nonempty cell, displacements included; inf with unbounded ones."""
        chosen = self.nonempty
        extent = np.sqrt(self.rho2[chosen]) * self._shapes.shrinkings[chosen] + self.displacement[chosen]
        return float((np.linalg.norm(self.centers[chosen], axis=1) + extent).max(initial=0.0)) * OUTWARD

    def cover(self) -> Cover:
        """The nonempty cells as a Cover, in order: its cell k is the cell nonempty[k].

        Raises ValueError if a cell is unbounded.
        """
        chosen = self.nonempty
        unbounded = chosen[~self.bounded[chosen]]
        if len(unbounded):
            raise ValueError(
                _checks.message(
                    "Pieces.cover",
                    f"an unbounded cell, at layer {self.layers[unbounded[0]] + 1}",
                    "bounded cells",
                    "Use the rows of Pieces (matrices, centers, rho2), or Pieces.cells().",
                )
            )
        radii = self.radii[chosen]
        if np.isnan(radii).any():
            shapes = self.matrices[chosen] / np.sqrt(self.rho2[chosen])[:, None, None]
            return Cover(self.centers[chosen], self.values[chosen], self.affine, shapes=shapes, strategy="recovered")
        return Cover(self.centers[chosen], self.values[chosen], self.affine, radii=radii, strategy="recovered")

    def cells(self, radius: float | None = None) -> Cells:
        """The nonempty cells for branch and bound, with collars for real arithmetic, or, if `radius` is given, for
        evaluation in the network's dtype at |x| <= radius as well."""
        chosen = self.nonempty
        collars, margins = (self.displacement, self._margins) if radius is None else self._blur(radius)
        if not np.isnan(self.radii[chosen]).any():
            return Cells(self.centers[chosen], self.radii[chosen], collars=collars[chosen])
        offsets = np.einsum("kij,kj->ki", self.matrices, self.centers)[chosen]
        size = np.einsum("kij,kj->ki", np.abs(self.matrices), np.abs(self.centers))[chosen]
        noise = np.linalg.norm(size, axis=1) * (self.dim_in + 2) * 2.0**-53
        collars = (margins[chosen] + noise) * OUTWARD
        return Cells(offsets, np.sqrt(self.rho2[chosen]), self.matrices[chosen], collars)

    def find(self, x: ArrayLike) -> NDArray[np.int64]:
        """x : (..., n) -> (...) the first cell that holds each point, -1 where none does."""
        points = _checks.points("Pieces.find", "x", x, self.dim_in)
        flat = points.reshape(-1, self.dim_in)
        if not len(self.nonempty):
            found = np.full(len(flat), -1)
        elif self.bounded[self.nonempty].all():
            found = self._index.find(flat)
            found = np.where(found >= 0, self.nonempty[found], -1)
        else:
            found = self._search(flat)
        return found.reshape(points.shape[:-1])

    def __call__(self, x: ArrayLike) -> Array:
        """x : (..., n) -> (..., m) the value of the first cell that holds x, else affine(x)."""
        points = _checks.points("Pieces", "x", x, self.dim_in)
        found = self.find(points)
        result = self.affine(points)
        result[found >= 0] = self.values[found[found >= 0]]
        return result

    def collar(self, radius: float) -> Array:
        """(N,) how far evaluation in the network's dtype, at points with |x| <= radius, may displace each boundary.

        A point farther than that from the boundaries of all cells gets the piece of the first cell that holds it.
        Raises AmbiguousNetwork if a layer's constant vector is too near to the threshold, as for `value_error`.
        """
        return self._blur(radius)[0]

    def value_error(self, radius: float) -> float:
        """Bound of |computed F(x) - (values or affine)(x)| for |x| <= radius and correctly classified points."""
        errors = self._float_errors(radius)
        outside = float(np.linalg.norm(errors.last)) * OUTWARD
        captured = self._float_value_errors[self.nonempty].max(initial=0.0)
        return max(outside, float(captured))

    def affine_error(self, radius: float) -> float:
        """Bound of |affine(x) - M_N x - b_N'| for |x| <= radius, in real arithmetic."""
        radius = _checks.positive("Pieces.affine_error", "radius", radius)
        fixed, relative = self._recovery.real_errors
        return float(np.linalg.norm(fixed.last + relative.last * radius)) * OUTWARD

    def outside_error(self, affine: AffineMap) -> tuple[bool, float]:
        """Is the stored network's affine map outside all cells exactly x -> affine(x)?

        Returns (slope_equal, offset_bound): whether the slopes are proved equal in rational arithmetic, and an upper
        bound of the Euclidean distance between the offsets. Where the rational numbers explode, equality is not
        proved and the bound comes from the running error analysis.

        Raises TypeError or ValueError for an affine map that does not fit.
        """
        if not isinstance(affine, AffineMap) or (affine.dim_in, affine.dim_out) != (self.dim_in, self.dim_out):
            required = f"an AffineMap from R^{self.dim_in} to R^{self.dim_out}"
            raise ValueError(_checks.message("Pieces.outside_error", _checks.show(affine), required, "Match them."))
        exact = self._exact
        if exact is None:
            gap = np.abs(self.affine.offset - affine.offset) * (1 + 2.0**-50)
            bound = float(np.linalg.norm(gap + self._recovery.real_errors[0].last)) * OUTWARD
            # A readout that no path connects with x has the slope zero, whatever the numbers.
            cut = bool(self._recovery.fixed[self._recovery.last].all())
            return cut and affine.is_constant, bound
        slope = all(
            entry == Fraction(wanted)
            for row, wanted_row in zip(exact, affine.matrix.tolist(), strict=True)
            for entry, wanted in zip(row[:-1], wanted_row, strict=True)
        )
        gaps = [abs(row[-1] - Fraction(b)) for row, b in zip(exact, affine.offset.tolist(), strict=True)]
        if not any(gaps):
            return slope, 0.0
        return slope, float(np.linalg.norm([float(gap) for gap in gaps])) * OUTWARD + 5e-324

    @functools.cached_property
    def _exact(self) -> list[list[Fraction]] | None:
        return exact_affine(self._recovery.chain)

    @functools.cached_property
    def _index(self) -> Cover:
        return self.cover()

    @functools.cached_property
    def _float_value_errors(self) -> Array:
        """(N,) bounds of |values - what evaluation in the network's dtype gives|, nan where values are."""
        digits = self._recovery.chain.digits
        if digits == 53:
            return 2 * self.value_errors  # this one and the other may be off to either side
        errors = np.full(len(self), np.nan)
        errors[self.nonempty] = self._recovery.values(self.layers[self.nonempty], digits)[1]
        return (errors + self.value_errors) * OUTWARD

    def _float_errors(self, radius: float) -> Errors:
        radius = _checks.positive("Pieces", "radius", radius)
        defects = self._recovery.defects
        extra = defects[:, -1] + radius * defects[:, :-1].sum(axis=1)
        return self._recovery.errors(radius, extra, rounding=True)

    def _blur(self, radius: float) -> tuple[Array, Array]:
        """Collars in x, and in units of |A (x - c)|, for evaluation in the network's dtype."""
        errors = self._float_errors(radius)
        theta = (errors.terms[self.layers] + 2) * 2.0 ** (1 - self._recovery.chain.digits)
        drift = Drift(errors.norm[self.layers], errors.shift[self.layers])
        none = Drift(np.zeros(len(self)), np.zeros(len(self)))
        limit = radius + np.linalg.norm(self.centers, axis=1) + drift.shift
        eta, shift, resolved = blurred(self._shapes, self.rho2, drift, none, theta, limit)
        doubtful = np.where(
            self._shapes.stretches == 0, np.abs(self.rho2) <= eta, (self.rho2 <= 0) & (self.rho2 + eta > 0)
        )
        _refuse(doubtful & self._shapes.reached(self.rho2), self.layers, self.rho2)
        _ = self._float_value_errors  # refuses captured points that come too near to the threshold
        return displaced(self._shapes, self.rho2, eta, shift, limit, resolved)

    def _search(self, points: Array) -> NDArray[np.int64]:
        """`find` for cells that a Cover cannot hold: all pairs, in blocks."""
        found = np.full(len(points), -1)
        matrices, centers, rho2 = (a[self.nonempty] for a in (self.matrices, self.centers, self.rho2))
        block = max(1, _PAIRS // max(1, len(rho2) * self.dim_in))
        for start in range(0, len(points), block):
            offsets = points[start : start + block, None, :] - centers
            inside = np.square(np.einsum("kij,bkj->bki", matrices, offsets)).sum(axis=2) < rho2
            first = np.argmax(inside, axis=1)
            found[start : start + block] = np.where(inside.any(axis=1), self.nonempty[first], -1)
        return found


def is_stepwise(network: RadialNetwork) -> bool:
    """Whether the network has finitely many affine pieces, which can be recovered."""
    kinds = {type(block.activation) for block in network.blocks}
    return kinds <= {StepReLU, RadialIdentity, type(None)}


def pieces(network: RadialNetwork, radius: float | None = None) -> Pieces:
    """The pieces of a Step-ReLU network, with error bounds.

    network : layers with Step-ReLU or no activation, in float64 or float32
    radius : describe unbounded cells where |x| <= radius; networks without unbounded cells need none
    Raises ValueError for other activations (`dense` serves those) and weights whose products overflow,
    AmbiguousNetwork where rounding decides what a layer does to a constant vector, TypeError for anything but a
    network.
    Source: the theorem of this module.

    >>> import torch
    >>> from approx.activations import StepReLU
    >>> net = RadialNetwork.from_layers([
    ...     (torch.tensor([[2.0]]).double(), torch.tensor([-1.0]).double(), StepReLU()),
    ...     (torch.tensor([[0.5]]).double(), torch.tensor([0.5]).double(), None),
    ... ])
    >>> found = pieces(net)
    >>> found.cover().centers.item(), found.radii.item(), found.values.item(), found.affine.matrix.item()
    (0.5, 0.5, 0.5, 1.0)
    >>> found([[0.2], [3.0]]).ravel(), net.evaluate([[0.2], [3.0]]).ravel()
    (array([0.5, 3. ]), array([0.5, 3. ]))
    >>> found.outside_error(AffineMap([[1.0]], [0.0]))
    (True, 0.0)
    """
    radius = None if radius is None else _checks.positive(_CALL, "radius", radius)
    recovery = recover(network, _CALL)
    chain, n = recovery.chain, network.dim_in
    layers = np.flatnonzero(chain.step)
    shapes = _shapes(recovery, layers)
    fixed, relative = (Drift(e.norm[layers], e.shift[layers]) for e in recovery.real_errors)
    limit = np.full(len(layers), np.inf)
    if radius is not None:
        limit = radius + np.linalg.norm(shapes.centers, axis=1) + fixed.shift + relative.shift * radius
    eta, shift, resolved = blurred(shapes, shapes.rho2, fixed, relative, 0.0, limit)
    reached = shapes.reached(shapes.rho2)
    _refuse(reached & (shapes.stretches == 0) & (np.abs(shapes.rho2) <= eta), layers, shapes.rho2)
    # A cell that may or may not exist is made as large as it can be, and its collar covers all of it.
    doubtful = (np.abs(shapes.rho2) <= eta) & (shapes.stretches > 0)
    rho2 = np.where(doubtful, np.where(np.isfinite(eta), shapes.rho2 + eta, 1.0), shapes.rho2)
    displacement, margins = displaced(shapes, rho2, eta, shift, limit, resolved)
    values, errors = np.full((len(layers), network.dim_out), np.nan), np.full(len(layers), np.nan)
    chosen = reached & (rho2 > 0)
    values[chosen], errors[chosen] = recovery.values(layers[chosen], 53)
    with np.errstate(invalid="ignore"):
        radii = np.sqrt(rho2) / shapes.scales
    return Pieces(
        centers=shapes.centers,
        matrices=shapes.matrices,
        rho2=rho2,
        radii=radii,
        bounded=resolved & (shapes.stretches > 0),
        values=values,
        affine=AffineMap(recovery.maps[recovery.last, :n], recovery.maps[recovery.last, n]),
        layers=layers,
        displacement=displacement,
        value_errors=errors,
        radius=radius,
        _recovery=recovery,
        _shapes=shapes,
        _margins=margins,
    )


def _shapes(recovery: Recovery, layers: NDArray[np.int64]) -> Shapes:
    """The cells of the Step-ReLU layers: rows without slope join q."""
    chain = recovery.chain
    slopes, offsets = recovery.maps[:, :-1], recovery.maps[:, -1]
    varies = chain.counted & (slopes != 0).any(axis=1)
    rest = np.where(chain.counted & ~varies, np.minimum(np.abs(offsets), 1e50), 0.0)
    squares = np.minimum(recovery.squares, 1e100) + np.add.reduceat(rest**2, chain.first_row[:-1])
    terms = recovery.real_errors[0].terms
    rows = np.flatnonzero(varies & np.repeat(chain.step, np.diff(chain.first_row)))
    first = np.append(np.searchsorted(rows, chain.first_row[layers]), len(rows))
    return shapes_of(slopes[rows], offsets[rows], first, squares[layers], terms[layers])


def _refuse(doubtful: NDArray[np.bool_], layers: NDArray[np.int64], rho2: Array) -> None:
    """AmbiguousNetwork for the first doubtful layer."""
    bad = np.flatnonzero(doubtful)
    if len(bad):
        margin = abs(1 - float(np.sqrt(1 - rho2[bad[0]])))
        raise AmbiguousNetwork(int(layers[bad[0]]) + 1, margin, "a vector")
