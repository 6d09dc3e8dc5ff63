"""The kernels of `_cuda`, for numba's CUDA target and its simulator. Importing this imports numba.cuda.

A thread takes `side` points through all layers. All loops over coordinates and points are unrolled, which keeps the
points in registers. The threads of a block copy as many layers as `staged` bytes of shared memory hold, then all of
them read the same numbers at once, 16 bytes at a time; indices into a row of layers are constants, so none has to be
checked for being negative.
"""

from __future__ import annotations

import functools
import math
import types
from typing import Any

import numpy as np
from numba import cuda

from approx import _rescale
from approx._rescale import FAR, STEP

__all__ = ["kernel"]

_WORD = 16  # bytes read at once


def _device(function: Any, **names: Any) -> Any:
    """A compiled function of `_rescale` for the device; names are the functions that it calls."""
    source = function.py_func
    return cuda.jit(device=True)(types.FunctionType(source.__code__, {**source.__globals__, **names}, source.__name__))


@functools.cache
def kernel(code: int, d: int, side: int, dtype: str, threads: int, staged: int) -> Any:
    """Layers up to width d in every thread for `side` points, which lie `threads` apart.

    For STEP, shift is the least |v|^2 that is kept, 1 for Step-ReLU and 0 for the identity.
    """
    real = np.dtype(dtype).type
    per_word = _WORD // np.dtype(dtype).itemsize
    words = -(-d * (d + 1) // per_word)  # of a layer, bias first, then column by column
    chunk = max(1, staged // (_WORD * words))
    far = real(FAR[dtype == "float64"])
    profile, usual = _device(_rescale.profile), _device(_rescale.usual)
    rescale_one = _device(_rescale.rescale_one, profile=profile)
    half = d // 2  # compilers unroll loops of some 300 operations, not of 500

    @cuda.jit(device=True)
    def columns(row, start, stop, state, out):  # pragma: no cover - compiled
        for j in range(start, stop):
            for i in range(d):
                entry = row[d + j * d + i]
                for p in range(side):
                    out[i, p] = cuda.fma(entry, state[j, p], out[i, p])

    @cuda.jit
    def layers(points, weights, biases, shift, result):  # pragma: no cover - compiled
        count, inputs = points.shape
        depth, height, _ = weights.shape
        first = cuda.blockIdx.x * threads * side + cuda.threadIdx.x
        if first - cuda.threadIdx.x >= count:
            return
        zero, one = real(0), real(1)
        stage = cuda.shared.array((chunk, words), np.complex128).view(real)  # aligned to words
        state = cuda.local.array((d, side), real)
        out = cuda.local.array((d, side), real)
        spare = cuda.local.array((d, 1), real)
        for p in range(side):
            k = first + p * threads
            k = k if k < count else 0  # values of no point are dropped
            for i in range(d):
                state[i, p] = points[k, i] if i < inputs else zero
        for start in range(0, depth, chunk):
            some = chunk if chunk < depth - start else depth - start
            cuda.syncthreads()
            for place in range(cuda.threadIdx.x, some * d, threads):
                layer = place // d
                i = place - layer * d
                stage[layer, i] = biases[start + layer, i] if i < height else zero
                for j in range(d):
                    entry = weights[start + layer, i, j] if i < height and j < inputs else zero
                    stage[layer, d + j * d + i] = entry
            cuda.syncthreads()
            for layer in range(some):
                row = stage[layer]
                for i in range(d):
                    bias = row[i]
                    for p in range(side):
                        out[i, p] = bias
                columns(row, 0, half, state, out)
                columns(row, half, d, state, out)
                for p in range(side):
                    square = out[0, p] * out[0, p]
                    for i in range(1, d):
                        square = cuda.fma(out[i, p], out[i, p], square)
                    if code == STEP:
                        for i in range(d):
                            state[i, p] = zero if square < shift else out[i, p]  # NaN is kept
                    else:
                        r = math.sqrt(square)
                        h = profile(code, shift, r, one)
                        if usual(h, r, far, one):
                            factor = h / r
                            for i in range(d):
                                state[i, p] = out[i, p] * factor
                        else:
                            for i in range(d):
                                spare[i, 0] = out[i, p]
                            rescale_one(code, shift, spare, 0, one)
                            for i in range(d):
                                state[i, p] = spare[i, 0]
        for p in range(side):
            k = first + p * threads
            if k < count:
                for i in range(d):
                    if i < height:
                        result[k, i] = state[i, p]

    return layers
