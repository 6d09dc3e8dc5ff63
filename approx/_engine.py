"""Compiled forward pass of deep narrow radial networks on the CPU, without gradients.

Points are taken in blocks, stored coordinate by coordinate, and pushed through all layers before the next block:
weights stream from cache, and points fill the lanes of vectors. Long runs of constant width up to NARROW have a kernel
per width and activation whose sums stay in registers (`_tiles`), which takes the single layer before such a run, too;
all others share one per activation. A narrow affine map by itself is left to numpy. A kernel is compiled when it is
first used. Every block is padded to full size, so a point's value does not depend on the batch it came in.
Multiplications and additions are fused, so values can differ from torch's in the last bits.

An activation is given as (code, shift), see `_rescale.code`.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Collection, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from approx._compile import compiled
from approx._rescale import IDENTITY, STEP, cut, rescale
from approx._threads import for_slices
from approx._tiles import BYTES, REGISTERS, ROWS, SIDE, affine_tile, square_tile

__all__ = ["NARROW", "Activation", "Run", "chain", "growing", "layers", "unfolded"]

NARROW = 16
LONG = 8  # layers; a kernel of their own saves shorter runs 100 ns a point at most, and takes over a third of a second
_TILES = 4
_ROW = 256  # bytes of a block's rows, in kernels for any width: tiles of every processor
BLOCK = 64  # of the kernels for growing runs
_compile = compiled(fastmath={"contract"})
_inlined = compiled(fastmath={"contract"}, inline="always")
Activation = tuple[int, float]
Run = tuple[Any, Any, Activation]  # weights, biases


def layers(
    points: NDArray,
    weights: NDArray,
    biases: NDArray,
    activation: Activation,
    needed: Collection[tuple[int, int]] = (),
) -> NDArray:
    """points (k, i), weights (N, o, i), biases (N, o) -> (k, o) after N layers; o = i unless N = 1.

    needed : code and width of kernels that are needed in any case, and serve narrower single layers as well
    """
    count, width, inputs = weights.shape
    code, shift = activation
    lanes = BYTES // points.itemsize
    if count == 1 and code == IDENTITY and max(width, inputs) <= NARROW:
        return _map(points, weights[0], biases[0])
    square = max(width, inputs)
    if _has_own_kernel(weights) or (count == 1 and (code, square) in needed):
        points = _padded(points, (len(points), square))
        weights, biases = _padded(weights, (count, square, square)), _padded(biases, (count, square))
        group, side = _tile(square)
        kernel, rows = _square(code, square, group, side), (square, square)
        values = _run(kernel, rows, _TILES * side * lanes, points, square, shift, weights, biases)
        return np.ascontiguousarray(values[:, :width])
    rows = (max(width, inputs),) * 2
    return _run(_wide(code), rows, _ROW // points.itemsize, points, width, shift, weights, biases)


def _tile(width: int) -> tuple[int, int]:
    """Rows and vectors whose sums fit into registers, beside a coordinate and a weight. With fewer than two vectors too
    many weights are loaded: then rows go in groups, beside the squared lengths so far."""
    side = min(SIDE, (REGISTERS - 1) // (width + 1))
    if side > 1:
        return width, side
    groups = -(-width // ((REGISTERS - 1) // SIDE - 2))
    return -(-width // groups), SIDE


def _has_own_kernel(weights: NDArray) -> bool:
    """Whether a run is long enough for a kernel of its width, and narrow enough."""
    count, width, inputs = weights.shape
    return width == inputs <= NARROW and count >= LONG


def _map(points: NDArray, weight: NDArray, bias: NDArray) -> NDArray:
    """An affine map, coordinate by coordinate: numpy's own product of a point depends on the others."""
    result = np.empty((len(points), len(bias)), points.dtype)
    for row, shift, out in zip(weight, bias, result.T, strict=True):
        out[:] = shift
        for factor, column in zip(row, points.T, strict=True):
            out += factor * column
    return result


def _padded(array: NDArray, shape: tuple[int, ...]) -> NDArray:
    """With zeros at the ends of its axes."""
    if array.shape == shape:
        return array
    result = np.zeros(shape, array.dtype)
    result[tuple(map(slice, array.shape))] = array
    return result


def chain(points: Any, runs: Iterable[Run], evaluate: Callable | None = None, join: Callable = np.concatenate) -> Any:
    """Runs of layers (weights, biases, activation) one after another; single layers of one shape go together.

    evaluate is `layers`, and join puts arrays together, for arrays of another kind than numpy's.
    """
    runs = list(runs)
    if evaluate is None:
        needed = {(code, weights.shape[1]) for weights, _, (code, _) in runs if _has_own_kernel(weights)}
        evaluate = functools.partial(layers, needed=needed)

    def alike(run: Run) -> tuple:
        weights, _, activation = run
        return (len(weights) == 1, weights.shape[1:], activation)

    for (single, _, activation), group in itertools.groupby(runs, alike):
        members = list(group)
        if single and len(members) > 1:
            weights, biases = (join([run[part] for run in members]) for part in (0, 1))
            points = evaluate(points, weights, biases, activation)
        else:
            for weights, biases, _ in members:
                points = evaluate(points, weights, biases, activation)
    return points


def growing(points: NDArray, weights: NDArray, biases: NDArray, readout: NDArray, offset: NDArray) -> NDArray:
    """N Step-ReLU layers that each add one coordinate, then an affine map.

    points (k, w); weights (N, h + 1, h), biases (N, h + 1): layer i maps the first h coordinates to h + 1 new
    ones and carries all others along unchanged; readout (o, w + N), offset (o,) -> (k, o).
    """
    columns = np.ascontiguousarray(readout.T)
    result = np.empty((points.shape[0], readout.shape[0]), points.dtype)
    kernel = _growing(weights.shape[2])

    def work(start: int, stop: int) -> None:
        kernel(points[start:stop], weights, biases, columns, offset, result[start:stop])

    for_slices(work, points.shape[0], BLOCK)
    return result


def unfolded(points: NDArray, weights: NDArray, biases: NDArray, activation: Activation) -> NDArray:
    """The layers of `growing` with any activation and without the last map: (k, w) -> (k, w + N), newest first."""
    width = points.shape[1] + weights.shape[0]
    code, shift = activation
    kernel, rows = _unfolded(code), (width, *weights.shape[1:])
    return _run(kernel, rows, _ROW // points.itemsize, points, width, shift, weights, biases)


def _rescales(code: int) -> bool:
    return code not in (IDENTITY, STEP)


def _run(
    kernel: Callable,
    rows: tuple[int, ...],
    block: int,
    points: NDArray,
    width: int,
    shift: float,
    *arrays: NDArray,
) -> NDArray:
    """rows: of the blocks that the kernel works with."""
    result = np.empty((points.shape[0], width), points.dtype)
    arrays = tuple(np.ascontiguousarray(array) for array in arrays)

    def work(start: int, stop: int) -> None:
        blocks = [_aligned(count, block, points.dtype) for count in rows]
        squares, factors = _aligned(2, block, points.dtype)
        part = points[start:stop], *arrays, points.dtype.type(shift), result[start:stop]
        kernel(*part, squares, factors, *blocks)

    for_slices(work, points.shape[0], block)
    return result


def _aligned(rows: int, columns: int, dtype: np.dtype) -> NDArray:
    """An empty (rows, columns) array whose rows start at multiples of a vector, for columns that fill vectors."""
    lanes = BYTES // dtype.itemsize
    buffer = np.empty(rows * columns + lanes, dtype)
    start = -(buffer.ctypes.data // dtype.itemsize) % lanes
    return buffer[start : start + rows * columns].reshape(rows, columns)


@_inlined
def _load(points, start, state):  # pragma: no cover - compiled
    stop = min(start + state.shape[1], points.shape[0])
    for k in range(state.shape[1]):
        row = start + k if start + k < stop else start
        for j in range(points.shape[1]):
            state[j, k] = points[row, j]
    return stop


@functools.cache
def _square(code: int, d: int, group: int, side: int) -> Callable:
    step, rescales = code == STEP, _rescales(code)  # constants: what they exclude is not compiled

    @_compile
    def kernel(points, weights, biases, shift, result, squares, factors, state, out):  # pragma: no cover - compiled
        width = side * (BYTES // points.itemsize)
        block = _TILES * width
        for start in range(0, points.shape[0], block):
            stop = _load(points, start, state)
            for layer in range(weights.shape[0]):
                if step:
                    for k in range(0, block, width):
                        square_tile(weights, biases, layer, state, out, squares, k, d, group, side, 1)
                else:
                    for k in range(0, block, width):
                        square_tile(weights, biases, layer, state, out, squares, k, d, group, side, 0)
                if group < d:
                    state, out = out, state
                if rescales:  # by the formula of this code alone, in loops over vectors
                    rescale(code, shift, state, squares, factors)
            for k in range(start, stop):
                for i in range(d):
                    result[k, i] = state[i, k - start]

    return kernel


@_inlined
def _affine(weights, biases, layer, state, out, squares):  # pragma: no cover - compiled
    """out[:o] = weights[layer] @ state[:i] + biases[layer], and the squared lengths of the columns."""
    height, block = weights.shape[1], squares.shape[0]
    width = SIDE * (BYTES // state.itemsize)
    for i in range(0, height - ROWS + 1, ROWS):
        for k in range(0, block, width):
            affine_tile(weights, biases, layer, state, out, i, k, ROWS)
    for i in range(height - height % ROWS, height):
        for k in range(0, block, width):
            affine_tile(weights, biases, layer, state, out, i, k, 1)
    for k in range(block):
        squares[k] = 0
    for i in range(height):
        for k in range(block):
            squares[k] += out[i, k] * out[i, k]


@functools.cache
def _wide(code: int) -> Callable:
    step, rescales = code == STEP, _rescales(code)

    @_compile
    def kernel(points, weights, biases, shift, result, squares, factors, state, out):  # pragma: no cover
        height = weights.shape[1]
        for start in range(0, points.shape[0], state.shape[1]):
            stop = _load(points, start, state)
            for layer in range(weights.shape[0]):
                _affine(weights, biases, layer, state, out, squares)
                if rescales:
                    rescale(code, shift, out[:height], squares, factors)
                elif step:
                    cut(out[:height], squares)
                state, out = out, state
            for k in range(start, stop):
                for i in range(height):
                    result[k, i] = state[i, k - start]

    return kernel


@functools.cache
def _unfolded(code: int) -> Callable:
    step, rescales = code == STEP, _rescales(code)

    @_compile
    def kernel(
        points, weights, biases, shift, result, squares, factors, state, out, inputs
    ):  # pragma: no cover - compiled
        # Newest coordinates last, so that nothing moves: coordinate i of w of them stands in row w - 1 - i.
        count, new, head = weights.shape
        total, block = state.shape
        for start in range(0, points.shape[0], block):
            stop = min(start + block, points.shape[0])
            width = points.shape[1]
            for j in range(width):
                for k in range(block):
                    state[width - 1 - j, k] = points[start + k, j] if start + k < stop else points[start, j]
            for layer in range(count):
                for j in range(head):
                    for k in range(block):
                        inputs[j, k] = state[width - 1 - j, k]
                _affine(weights, biases, layer, inputs, out, squares)
                for i in range(width - head):
                    for k in range(block):
                        squares[k] += state[i, k] * state[i, k]
                width += 1
                for i in range(new):
                    for k in range(block):
                        state[width - 1 - i, k] = out[i, k]
                if rescales:
                    rescale(code, shift, state[:width], squares, factors)
                elif step:
                    cut(state[:width], squares)
            for k in range(start, stop):
                for i in range(total):
                    result[k, i] = state[total - 1 - i, k - start]

    return kernel


@functools.cache
def _growing(head: int) -> Callable:
    @_compile
    def kernel(points, weights, biases, columns, offset, result):  # pragma: no cover - compiled
        width, layers, outputs = points.shape[1], weights.shape[0], columns.shape[1]
        state = np.empty((width, BLOCK), points.dtype)
        out = np.empty((head + 1, BLOCK), points.dtype)
        carried = np.empty(BLOCK, points.dtype)  # squared length of the coordinates carried along
        total = np.empty((outputs, BLOCK), points.dtype)  # their share of the readout
        one, zero = points.dtype.type(1), points.dtype.type(0)
        for start in range(0, points.shape[0], BLOCK):
            stop = _load(points, start, state)
            for k in range(BLOCK):
                carried[k] = zero
                for o in range(outputs):
                    total[o, k] = zero
            for j in range(head, width):
                for k in range(BLOCK):
                    carried[k] += state[j, k] * state[j, k]
                    for o in range(outputs):
                        total[o, k] += columns[layers + j, o] * state[j, k]
            for layer in range(layers):
                column = columns[layers + head - 1 - layer]
                for k in range(BLOCK):
                    square = carried[k]
                    for i in range(head + 1):
                        value = biases[layer, i]
                        for j in range(head):
                            value += weights[layer, i, j] * state[j, k]
                        out[i, k] = value
                        square += value * value
                    for i in range(head):
                        state[i, k] = zero if square < one else out[i, k]
                    # The last new coordinate joins the carried ones; a reset clears them all.
                    newest = zero if square < one else out[head, k]
                    carried[k] = (zero if square < one else carried[k]) + newest * newest
                    out[head, k] = newest
                    for o in range(outputs):
                        total[o, k] = (zero if square < one else total[o, k]) + column[o] * newest
            for k in range(start, stop):
                for o in range(outputs):
                    value = total[o, k - start] + offset[o]
                    for j in range(head):
                        value += columns[j, o] * state[j, k - start]
                    result[k, o] = value

    return kernel
