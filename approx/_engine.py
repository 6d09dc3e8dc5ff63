"""Compiled forward pass of deep narrow Step-ReLU networks on the CPU.

Points are taken in blocks of 64, stored coordinate by coordinate, and pushed through all layers before the next
block: weights stream from cache and the loop over the block is vectorised. Kernels are compiled once per width, so
that the loops over coordinates unroll. Every block is padded to full size, so a point's value does not depend on
the batch it came in. Multiplications and additions may be fused, so values can differ from torch's in the last bits.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from approx._compile import compiled
from approx._threads import for_slices

__all__ = ["dense", "growing", "stack"]

BLOCK = 64
_compile = compiled(fastmath={"contract"}, error_model="numpy")


def dense(points: NDArray, weight: NDArray, bias: NDArray, step: bool) -> NDArray:
    """points (k, i), weight (o, i), bias (o,) -> (k, o) after one affine map and, if `step`, Step-ReLU."""
    return _run(_dense, points, weight.shape[0], np.ascontiguousarray(weight), np.ascontiguousarray(bias), step)


def stack(points: NDArray, weights: NDArray, biases: NDArray) -> NDArray:
    """points (k, d), weights (N, d, d), biases (N, d) -> (k, d) after N Step-ReLU layers of width d."""
    return _run(_stack(points.shape[1]), points, points.shape[1], weights, biases)


def growing(points: NDArray, weights: NDArray, biases: NDArray, readout: NDArray, offset: NDArray) -> NDArray:
    """N Step-ReLU layers that each add one coordinate, then an affine map.

    points (k, w); weights (N, h + 1, h), biases (N, h + 1): layer i maps the first h coordinates to h + 1 new
    ones and carries all others along unchanged; readout (o, w + N), offset (o,) -> (k, o).
    """
    columns = np.ascontiguousarray(readout.T)
    return _run(_growing(weights.shape[2]), points, readout.shape[0], weights, biases, columns, offset)


def _run(kernel: Callable, points: NDArray, width: int, *arguments) -> NDArray:
    result = np.empty((points.shape[0], width), points.dtype)

    def work(start: int, stop: int) -> None:
        kernel(points[start:stop], *arguments, result[start:stop])

    for_slices(work, points.shape[0], BLOCK)
    return result


@_compile
def _load(points, start, state):  # pragma: no cover - compiled
    stop = min(start + BLOCK, points.shape[0])
    for j in range(points.shape[1]):
        for k in range(BLOCK):
            state[j, k] = points[start + k, j] if start + k < stop else points[start, j]
    return stop


@_compile
def _dense(points, weight, bias, step, result):  # pragma: no cover - compiled
    width, inputs = weight.shape
    state = np.empty((inputs, BLOCK), points.dtype)
    out = np.empty((width, BLOCK), points.dtype)
    squares = np.empty(BLOCK, points.dtype)
    one, zero = points.dtype.type(1), points.dtype.type(0)
    for start in range(0, points.shape[0], BLOCK):
        stop = _load(points, start, state)
        squares[:] = zero
        for i in range(width):
            out[i, :] = bias[i]
            for j in range(inputs):
                w = weight[i, j]
                for k in range(BLOCK):
                    out[i, k] += w * state[j, k]
            for k in range(BLOCK):
                squares[k] += out[i, k] * out[i, k]
        for k in range(start, stop):
            for i in range(width):
                result[k, i] = zero if step and squares[k - start] < one else out[i, k - start]


@functools.cache
def _stack(d: int) -> Callable:
    @_compile
    def kernel(points, weights, biases, result):  # pragma: no cover - compiled
        state = np.empty((d, BLOCK), points.dtype)
        out = np.empty((d, BLOCK), points.dtype)
        one, zero = points.dtype.type(1), points.dtype.type(0)
        for start in range(0, points.shape[0], BLOCK):
            stop = _load(points, start, state)
            for layer in range(weights.shape[0]):
                for k in range(BLOCK):
                    square = zero
                    for i in range(d):
                        value = biases[layer, i]
                        for j in range(d):
                            value += weights[layer, i, j] * state[j, k]
                        out[i, k] = value
                        square += value * value
                    for i in range(d):
                        state[i, k] = zero if square < one else out[i, k]  # NaN is kept
            for k in range(start, stop):
                for i in range(d):
                    result[k, i] = state[i, k - start]

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
            carried[:] = zero
            total[:] = zero
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
