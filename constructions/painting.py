"""Pictures painted with a given number of ellipsoids: gridded data, images, or any target on a compact domain.

An idea of this toolkit. Seen backwards, an ordered cover is a painting: the last cell is painted first, and the first
lies on top. Here every next ellipsoid is painted on top of the others, where it lowers the sum of squared errors
most; so the first k strokes are a picture, and a network of k layers, for every k. The sup norm would be no guide:
with few cells it stays near half the range of the values at every edge of a picture, whatever else improves.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from approx import _checks
from approx._interrupts import plain_interrupts
from approx.affine import AffineMap
from approx.covers import Cover
from approx.domains import Ball, Box
from approx.networks import RadialNetwork
from approx.targets import Target
from approx.targets._grid import GridInterpolant
from approx.targets._target import require_target
from constructions import constant_width
from constructions._strokes import climb, gains, mark, matrix_of, means, tally

__all__ = ["Painting", "paint"]

Array = NDArray[np.float64]
_MAX_DIM = 3
_NODES = 400_000  # at most, unless the data are a grid of more
_DEFAULT = {1: 4000, 2: 300, 3: 48}  # nodes per axis for targets that are no grid
_SEEDS, _STARTS, _STEPS = 96, 4, 120
_LEAST = 1e-12  # of the first sum of squares: a smaller gain is rounding
_SHOWN = (10, 50, 200, 500)


@dataclass(frozen=True, eq=False)
class Painting:
    """Ellipsoids {x : |A_i (x - c_i)| < 1} in the order in which they were painted, the last on top.

    target, domain : what was painted, and where
    centers, shapes : (N, n) and (N, n, n)
    rms, largest : (N + 1,) root mean square and maximum of |F - f| at the nodes, after 0, 1, ..., N ellipsoids
    nodes : grid nodes per axis
    seconds : time for painting

    >>> import constructions
    >>> from approx import targets
    >>> picture = constructions.paint(targets.peaks(), 5, nodes=30)
    >>> picture.centers.shape, len(picture.rms), len(picture.cover(3))
    ((5, 2), 6, 3)
    """

    target: Target
    domain: Box | Ball
    centers: Array
    shapes: Array
    rms: Array
    largest: Array
    nodes: tuple[int, ...]
    seconds: float
    _sheet: _Sheet = field(repr=False)

    def __len__(self) -> int:
        return len(self.centers)

    def cover(self, layers: int | None = None) -> Cover:
        """The picture after that many ellipsoids (None: all) as an ordered cover, the last stroke first.

        Each has the mean of f over the nodes where it can be seen, and so has the background. Raises ValueError for
        more ellipsoids than there are.
        """
        count = (
            len(self) if layers is None else _checks.count("Painting.cover", "layers", layers, least=0, most=len(self))
        )
        owner = self._sheet.empty()
        for i in range(count):
            self._sheet.mark(owner, self.centers[i], self.shapes[i], i + 1)
        order = np.arange(count)[::-1]
        values = means(owner, self._sheet.weight, self._sheet.values, count + 1)
        return Cover(
            self.centers[order],
            values[1:][order],
            AffineMap.constant(values[0], self.target.dim_in),
            shapes=self.shapes[order],
            strategy=f"painted, {count} ellipsoids",
        )

    def network(self, layers: int | None = None) -> RadialNetwork:
        """The picture after that many ellipsoids as a Step-ReLU network of as many hidden layers of width n + m + 1,
        by the construction of Theorem 5. On the domain it is the cover's function."""
        return constant_width.assemble(self.cover(layers)).network

    def __repr__(self) -> str:
        lines = [f"Painting of {self.target.name} on {self.domain}: {len(self):,} ellipsoids, {self.seconds:.3g} s"]
        lines.append(f"  {'layers':>8}{'rms error':>12}{'largest':>12}   at {math.prod(self.nodes):,} nodes")
        for count in sorted({0, *(k for k in _SHOWN if k < len(self)), len(self)}):
            lines.append(f"  {count:8,}{self.rms[count]:12.4g}{self.largest[count]:12.4g}")
        return "\n".join(lines)


def paint(
    target: Target,
    max_layers: int,
    *,
    rms: float = 0.0,
    domain: Box | Ball | None = None,
    nodes: int | None = None,
    seed: int = 0,
    max_seconds: float = math.inf,
    progress: bool = False,
) -> Painting:
    """Paint a target with at most `max_layers` ellipsoids, or until the root mean square error is at most `rms`.

    target : gridded data and images (`approx.targets.from_grid`, `from_file`), or any other of 1 to 3 dimensions
    domain : a compact Box or Ball, by default the target's own
    nodes : grid nodes per axis where the error is judged; by default those of gridded data, else 300 in the plane
    seed : of the search; the same seed gives the same painting unless max_seconds ends it
    max_seconds : stop, with what is painted by then; so does Ctrl-C

    Every step tries ellipses of many sizes where the error is, improves the best few by local search and takes the one
    with which the sum of squared errors falls most; then all visible parts take the mean of f over them. It costs time
    in proportion to the nodes and does not slow down with the number of ellipsoids. Errors are those at the nodes;
    `approx.sup_error(painting.network(), target)` looks between them. Raises ValueError or TypeError for arguments
    that do not fit.

    >>> from approx import targets
    >>> picture = paint(targets.peaks(), 20, nodes=60)
    >>> len(picture), bool(picture.rms[20] < picture.rms[5] < picture.rms[0])
    (20, True)
    >>> picture.network(5).hidden_layers
    5
    """
    call = "paint"
    require_target(call, target)
    n = target.dim_in
    if n > _MAX_DIM:
        action = "Build a network for it with constructions.build."
        raise ValueError(_checks.message(call, f"a target of R^{n}", f"dimension <= {_MAX_DIM}", action))
    max_layers = _checks.count(call, "max_layers", max_layers)
    rms = _checks.finite(call, "rms", rms)
    if rms < 0:
        raise ValueError(_checks.message(call, f"rms = {rms:g}", "rms >= 0", "Pass a tolerance, or 0."))
    seed = _checks.count(call, "seed", seed, least=0)
    if max_seconds != math.inf:
        max_seconds = _checks.positive(call, "max_seconds", max_seconds)
    domain = target.domain if domain is None else domain
    if not isinstance(domain, Box | Ball) or domain.dim != n:
        action = "Pass a compact domain of the target's dimension."
        raise ValueError(_checks.message(call, f"domain = {_checks.show(domain)}", f"a Box or Ball of R^{n}", action))
    target = target.with_domain(domain)
    started = time.perf_counter()
    sheet = _Sheet.of(target, domain, _counts(call, target, domain, nodes))
    cells, curve = _strokes(sheet, max_layers, rms, np.random.default_rng(seed), started + max_seconds, progress)
    errors = np.array(curve)
    return Painting(
        target,
        domain,
        np.reshape([center for center, _ in cells], (-1, n)),
        np.reshape([shape for _, shape in cells], (-1, n, n)),
        errors[:, 0],
        errors[:, 1],
        sheet.counts,
        time.perf_counter() - started,
        sheet,
    )


def _strokes(
    sheet: _Sheet, most: int, enough: float, rng: np.random.Generator, deadline: float, progress: bool
) -> tuple[list[tuple[Array, Array]], list[tuple[float, float]]]:
    """The ellipsoids, and the errors after each of them and before the first."""
    owner = sheet.empty()
    cells: list[tuple[Array, Array]] = []
    ledger = _Ledger(sheet)
    curve = [ledger.update(owner, 1)]
    least = _LEAST * curve[0][0] ** 2 * float(sheet.weight.sum())
    try:
        with plain_interrupts(), tqdm(total=most, desc="paint", unit="ellipsoid", disable=not progress) as bar:
            while len(cells) < most and curve[-1][0] > enough and time.perf_counter() < deadline:
                theta, gain = ledger.best(rng)
                if not gain > least:
                    break
                center, shape = matrix_of(theta, len(sheet.counts))
                sheet.mark(owner, center, shape, len(cells) + 1)
                errors = ledger.update(owner, len(cells) + 2)
                cells, curve = [*cells, (center, shape)], [*curve, errors]
                bar.update()
                bar.set_postfix_str(f"rms {errors[0]:.4g}", refresh=False)
    except KeyboardInterrupt:
        pass
    return cells, curve[: len(cells) + 1]


@dataclass(frozen=True, eq=False)
class _Sheet:
    """Values of f at the nodes of a grid, as lines along the last axis.

    values (rows, count, m), weight (rows, count): 1 in the domain, else 0; lead (rows, n - 1) where the lines lie;
    start, step : of the nodes along them; counts : nodes per axis; box : the bounding box
    """

    values: Array
    weight: Array
    lead: Array
    start: float
    step: float
    counts: tuple[int, ...]
    box: Box

    @classmethod
    def of(cls, target: Target, domain: Box | Ball, counts: tuple[int, ...]) -> _Sheet:
        box = domain.bounding_box()
        axes = [np.linspace(a, b, k) for a, b, k in zip(box.lower, box.upper, counts, strict=True)]
        points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes))
        inside = domain.contains(points)
        values = target(points if inside.all() else domain.project(points))
        lead = np.ascontiguousarray(points.reshape(-1, counts[-1], len(axes))[:, 0, :-1])
        step = float(box.widths[-1]) / (counts[-1] - 1)
        weight = inside.astype(np.float64).reshape(-1, counts[-1])
        return cls(values.reshape(len(lead), counts[-1], -1), weight, lead, float(box.lower[-1]), step, counts, box)

    def empty(self) -> NDArray[np.int64]:
        """Which ellipsoid, counted from 1, is seen at each node: none."""
        return np.zeros(self.weight.shape, np.int64)

    def mark(self, owner: NDArray[np.int64], center: Array, shape: Array, label: int) -> None:
        mark(center, np.ascontiguousarray(shape), self.lead, self.start, self.step, owner, label)


class _Ledger:
    """What is left to gain: sums over the sheet for the picture as it is."""

    def __init__(self, sheet: _Sheet):
        rows, count, m = sheet.values.shape
        self.sheet = sheet
        self.middle = means(sheet.empty(), sheet.weight, sheet.values, 1)[0]
        self.sums, self.squares = np.zeros((rows, count + 1, 2 + m)), np.zeros((rows, count))

    def update(self, owner: NDArray[np.int64], parts: int) -> tuple[float, float]:
        """Take up a new picture; returns the root mean square and the maximum of its error."""
        sheet = self.sheet
        painted = means(owner, sheet.weight, sheet.values, parts)
        total, largest = tally(owner, painted, sheet.weight, sheet.values, self.middle, self.sums, self.squares)
        return math.sqrt(total / float(sheet.weight.sum())), math.sqrt(largest)

    def best(self, rng: np.random.Generator) -> tuple[Array, float]:
        """Parameters of the ellipsoid with the largest gain that was found, and its gain."""
        grid = self.sheet.lead, self.sheet.start, self.sheet.step, self.sums
        seeds = self._seeds(rng)
        marks = gains(seeds, *grid)
        best, gain = seeds[0], -math.inf
        for i in np.argsort(-marks, kind="stable")[:_STARTS]:
            noise = rng.standard_normal((_STEPS, seeds.shape[1]))
            theta, reached = climb(seeds[i], marks[i], *grid, noise, 0.2)
            if reached > gain:
                best, gain = theta, reached
        return best, gain

    def _seeds(self, rng: np.random.Generator) -> Array:
        """Ellipsoids of many sizes and directions about nodes drawn in proportion to the squared error."""
        sheet = self.sheet
        n, widths = len(sheet.counts), sheet.box.widths
        place = np.searchsorted(self.squares.ravel(), rng.random(_SEEDS) * self.squares[-1, -1])
        row, column = np.divmod(np.minimum(place, sheet.weight.size - 1), sheet.counts[-1])
        centers = np.column_stack([sheet.lead[row], sheet.start + sheet.step * column])
        largest = float(widths.max()) / 2
        smallest = 2 * float((widths / np.array(sheet.counts)).max())
        axes = smallest * (max(largest / smallest, 1.0)) ** rng.random((_SEEDS, n))
        axes *= np.exp(0.5 * rng.standard_normal((_SEEDS, n)))
        turn, _ = np.linalg.qr(rng.standard_normal((_SEEDS, n, n)))
        lower = np.linalg.cholesky(np.einsum("kij,kj,klj->kil", turn, axes**2, turn))
        return np.concatenate([centers, lower[(slice(None), *np.tril_indices(n))]], axis=1)


def _counts(call: str, target: Target, domain: Box | Ball, nodes: int | None) -> tuple[int, ...]:
    """Nodes per axis; in proportion to the widths of the box, `nodes` of them along the longest."""
    n, widths = target.dim_in, domain.bounding_box().widths
    if nodes is not None:
        nodes = _checks.count(call, "nodes", nodes, least=2)
        if nodes**n > 100 * _NODES:
            raise ValueError(
                _checks.message(call, f"nodes = {nodes} in R^{n}", f"at most {100 * _NODES} in all", "Take fewer.")
            )
    elif isinstance(target.fn, GridInterpolant):
        return tuple(len(axis) for axis in target.fn.axes)
    else:
        nodes = _DEFAULT[n]
    return tuple(max(2, round(nodes * float(w / widths.max()))) for w in widths)
