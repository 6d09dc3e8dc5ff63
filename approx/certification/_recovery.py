"""What the stored weights do to uncaptured and to captured points, with error bounds."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from approx import _checks
from approx._threads import for_slices
from approx.certification import _captured, _uncaptured
from approx.certification._captured import Trajectories
from approx.certification._chain import FORMATS, Chain, chain_of, run
from approx.certification._rounding import FREE, LOAD, PARTS, SIZE, spread
from approx.certification._shapes import OUTWARD
from approx.networks import RadialNetwork

__all__ = ["AmbiguousNetwork", "Errors", "Recovery", "recover"]

Array = NDArray[np.float64]
_CONDITION = 1e8
_MOST_NUMBERS = 100_000_000


class AmbiguousNetwork(ValueError):
    """A constant vector meets the threshold |v| = 1 so closely that rounding decides what the network does.

    layer : the layer, counted from 1; margin : | |v| - 1 | there

    >>> import torch
    >>> from approx.activations import StepReLU
    >>> from approx.certification import AmbiguousNetwork, pieces
    >>> from approx.networks import RadialNetwork
    >>> weights = [[[1.0]], [[1.0], [0.0]], [[1.0, 1.0]]], [[0.0], [0.6, 0.8], [0.0]]
    >>> weights, biases = ([torch.tensor(value, dtype=torch.float64) for value in values] for values in weights)
    >>> try:  # what the first layer sets to 0 arrives at the second as (0.6, 0.8), of length 1
    ...     pieces(RadialNetwork.from_layers(zip(weights, biases, [StepReLU(), StepReLU(), None])))
    ... except AmbiguousNetwork as error:
    ...     error.layer, error.margin < 1e-6
    (2, True)
    """

    def __init__(self, layer: int, margin: float, what: str):
        self.layer, self.margin = layer, margin
        super().__init__(
            _checks.message(
                "pieces",
                f"{what} whose norm at layer {layer} is within {margin:.3g} of 1, closer than rounding can tell",
                "norms away from the threshold of Step-ReLU",
                "Change that layer's weights a little, or use dtype=torch.float64.",
            )
        )


@dataclass(frozen=True, eq=False)
class Errors:
    """Bounds of v - (M x + b) = M zeta + r: shift (L,) |zeta|, norm (L,) |r| over the counted rows, retired ones
    included, terms (L,) how many squares make up |v|^2, last (m,) bounds of the final value's components."""

    shift: Array
    norm: Array
    terms: Array
    last: Array


@dataclass(frozen=True, eq=False)
class Recovery:
    """A chain with its recovered maps.

    maps, defects (rows, n + 1): [slope, offset] of every row, and bounds of what rounding did to each
    fixed (rows,): no path leads from x to the row; squares (L,): q
    based (L,), pull, keep: where and how errors are moved into a shift of x
    """

    chain: Chain
    maps: Array
    defects: Array
    fixed: NDArray[np.bool_]
    squares: Array
    based: NDArray[np.int64]
    pull: Array
    keep: Array

    @property
    def last(self) -> slice:
        """The rows of the output."""
        return slice(int(self.chain.first_row[-2]), int(self.chain.first_row[-1]))

    def errors(self, radius: float, extra: Array, *, rounding: bool) -> Errors:
        """Errors over |x| <= radius: `extra` (rows,) injected row by row, and with `rounding` that of evaluation."""
        chain, n = self.chain, self.chain.dim_in
        state = np.zeros((PARTS, chain.width))
        state[SIZE, :n], state[LOAD], state[FREE] = radius * (1 + 1e-9), 1.0, 1.0
        shift = radius * 2.0**-chain.digits if rounding and chain.digits < 53 else 0.0  # x itself is rounded
        before = state, np.full(n, shift), 0.0, 0.0
        sizes = np.linalg.norm(self.maps[:, :n], axis=1) * radius + np.abs(self.maps[:, n])
        digits = chain.digits if rounding else 0
        found = spread(chain, 0, len(chain), self.moves, before, sizes, extra, digits, captured=False)
        last = found.rest[self.last] + np.abs(self.maps[self.last, :n]) @ found.shift[-1]
        return Errors(
            np.linalg.norm(found.shift, axis=1) * OUTWARD, np.sqrt(found.squared) * OUTWARD, found.terms, last * OUTWARD
        )

    @property
    def moves(self) -> tuple[NDArray, ...]:
        """What `spread` takes of it."""
        return self.maps, self.defects, self.fixed, self.based, self.pull, self.keep

    @functools.cached_property
    def real_errors(self) -> tuple[Errors, Errors]:
        """Errors in real arithmetic, everywhere: a constant part, and one to be multiplied by |x|."""
        slopes = self.defects[:, :-1].sum(axis=1)
        return self.errors(0.0, np.ascontiguousarray(self.defects[:, -1]), rounding=False), self.errors(
            0.0, slopes, rounding=False
        )

    def follow(self, starts: NDArray[np.int64], digits: int) -> Trajectories:
        """Trajectories of the zero state after each of the layers `starts`, ascending."""
        chain, count = self.chain, len(starts)
        found = Trajectories.unknown(count, chain.dim_out)

        def work(first: int, stop: int) -> None:
            for wave in range(first, stop):
                part = slice(wave * _captured.WAVE, (wave + 1) * _captured.WAVE)
                _captured.settle(chain, self.moves, starts[part], FORMATS[digits], found.part(part))

        for_slices(work, -(-count // _captured.WAVE), align=1, least=1)
        found.errors[:] *= OUTWARD
        return found

    def values(self, layers: NDArray[np.int64], digits: int) -> tuple[Array, Array]:
        """(k, m) outputs for the zero state after each of the layers, ascending, and (k,) Euclidean error bounds.

        Raises AmbiguousNetwork where a norm is nearer to 1 than its error.
        """
        chain = self.chain
        values, errors = np.zeros((len(chain), chain.dim_out)), np.full((len(chain), chain.dim_out), np.nan)
        following = np.full(len(chain), -1)
        todo = layers
        while len(todo):
            found = self.follow(todo, digits)
            doubtful = np.flatnonzero(found.doubtful >= 0)
            if len(doubtful):
                k = doubtful[0]
                what = f"points captured by layer {todo[k] + 1}"
                raise AmbiguousNetwork(int(found.doubtful[k]) + 1, float(found.gaps[k]), what)
            if not np.isfinite(found.values).all():
                raise ValueError(_overflow("pieces", int(todo[~np.isfinite(found.values).all(axis=1)][0]) + 1))
            values[todo], errors[todo], following[todo] = found.values, found.errors, found.following
            ahead = np.unique(found.following[found.following >= 0])
            todo = ahead[np.isnan(errors[ahead]).any(axis=1)]
        for layer in np.flatnonzero(following >= 0)[::-1]:
            values[layer], errors[layer] = values[following[layer]], errors[following[layer]]
        return values[layers], np.linalg.norm(errors[layers], axis=1) * OUTWARD


def recover(network: RadialNetwork, call: str) -> Recovery:
    """The recovery of a network. Raises what `chain_of` raises, and ValueError when its maps overflow."""
    chain = chain_of(network, call)
    maps, defects, fixed, squares, mixed, failed = _maps(chain)
    if failed >= 0:
        chain = chain_of(network, call, expand=True)
        maps, defects, fixed, squares, mixed, _ = _maps(chain)
    bad = np.flatnonzero(~np.isfinite(maps).all(axis=1))
    if len(bad):
        raise ValueError(_overflow(call, int(np.searchsorted(chain.first_row, bad[0], side="right"))))
    return Recovery(chain, maps, defects, fixed, squares, *_bases(chain, maps[:, :-1], fixed, mixed))


def _overflow(call: str, layer: int) -> str:
    return _checks.message(
        call,
        f"weights whose products overflow at or behind layer {layer}",
        "values within the range of float64 for points near the origin, whatever layer zeroes them",
        "Rescale the layers.",
    )


def _maps(chain: Chain) -> tuple[Array, Array, NDArray[np.bool_], Array, NDArray[np.bool_], bool]:
    rows, n = chain.bias.shape[0], chain.dim_in
    maps, defects = np.zeros((rows, n + 1)), np.zeros((rows, n + 1))
    fixed, mixed = np.zeros(rows, bool), np.zeros(len(chain), bool)
    squares = np.zeros(len(chain))
    memory = np.zeros((chain.width, n + 1)), np.zeros(chain.width, bool)
    failed = run(_uncaptured.recover, chain, len(chain), n, maps, defects, fixed, squares, mixed, *memory)
    return maps, defects, fixed, squares, mixed, failed


def _bases(
    chain: Chain, slopes: Array, fixed: NDArray[np.bool_], mixed: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], Array, Array]:
    """based (L,), pull (K, n, width), keep (K, width, width): for layers that mix coordinates and whose slope M has n
    independent rows, |B| and |I - M B| with a left inverse B of M that reads n rows only."""
    n, width = chain.dim_in, chain.width
    based = np.full(len(chain), -1)
    layers = np.flatnonzero(mixed)
    if not len(layers) or len(layers) * width**2 > _MOST_NUMBERS:
        return based, np.zeros((0, n, width)), np.zeros((0, width, width))
    pull, keep = np.zeros((len(layers), n, width)), np.zeros((len(layers), width, width))
    used = 0
    for layer in layers:
        start, stop = chain.first_row[layer], chain.first_row[layer + 1]
        free = np.flatnonzero(~fixed[start:stop] & chain.counted[start:stop])
        if len(free) < n:
            continue
        slope = slopes[start:stop]
        if len(free) > n:
            free = free[np.sort(scipy.linalg.qr(slope[free].T, mode="r", pivoting=True)[1][:n])]
        try:
            inverse = np.linalg.inv(slope[free])
        except np.linalg.LinAlgError:
            continue
        rows = stop - start
        size = np.abs(slope) @ np.abs(inverse)
        if not size.max() <= _CONDITION:
            continue
        left = np.eye(rows)
        left[:, free] -= slope @ inverse
        left = np.abs(left)
        left[:, free] += (n + 4) * 2.0**-53 * (size + left[:, free])
        pull[used][:, free] = np.abs(inverse)
        keep[used][:rows, :rows] = left
        based[layer] = used
        used += 1
    return based, pull[:used], keep[:used]
