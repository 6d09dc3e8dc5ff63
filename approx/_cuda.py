"""Compiled forward pass of deep narrow radial networks on a CUDA device, without gradients.

One launch takes all points through all layers of a run. A thread keeps a few points in registers; the threads of a
block copy one chunk of layers after another to shared memory, where all of them read the same numbers at once. Every
point goes through the operations of `_engine` in their order, so its value does not depend on its batch, and differs
from the CPU's by roundings of exp and log alone. Growing runs and layers wider than NARROW are left to torch.

The kernels are written in numba's dialect of CUDA. Before one is used in a process, values are compared with torch's.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from approx import _rescale
from approx._engine import NARROW, Activation, Run, chain
from approx._rescale import IDENTITY, STEP
from approx.blocks import Block, Growing, Stack

__all__ = ["launch", "obstacle", "through"]

THREADS = 128  # of a block
BLOCKS = 128  # of a launch at least, where numba warns of fewer; blocks without points stop at once
STAGED = 16384  # bytes of shared memory for the layers of a block
_CHECKED = 4, 50  # layers and points that are compared with torch


def obstacle(blocks: Iterable[Block]) -> str:
    """Why no kernel can evaluate those of the blocks that fit, on a CUDA device; empty if kernels can."""
    if not _available():
        return "numba finds no CUDA device, or no toolkit to compile for it"
    for block in filter(_fits, blocks):
        weight = block.weight
        kind: Any = type(block.activation)
        found = _verdict(kind, max(weight.shape[-2:]), weight.dtype, weight.device)
        if found:
            return found
    return ""


def through(blocks: Iterable[Block], points: Tensor, layers: int) -> Tensor:
    """points (k, n) on a CUDA device through the first layers, where there is no `obstacle`."""
    runs: list[Run] = []
    for block in blocks:
        take = min(layers, block.layers)
        layers -= take
        if take and _fits(block):
            weight, bias = block.weight.detach(), block.bias.detach()
            stacked = (weight[None], bias[None]) if weight.ndim == 2 else (weight[:take], bias[:take])
            runs.append((*stacked, _rescale.code(block.activation)))
        elif take:
            points, runs = block.run(chain(points, runs, _layers, torch.cat), take), []
    return chain(points, runs, _layers, torch.cat)


def launch(points: Any, weights: Any, biases: Any, activation: Activation, result: Any, stream: Any = 0) -> None:
    """points (k, i), weights (N, o, i), biases (N, o) -> result (k, o): C-contiguous arrays on the current device.

    k and N are at least 1, i = o unless N = 1, both at most NARROW.
    """
    from approx._cuda_kernel import kernel  # imports numba.cuda, which few need

    code, shift = activation
    if code in (IDENTITY, STEP):  # one kernel for both
        code, shift = STEP, float(code == STEP)
    dtype = np.dtype(points.dtype)
    width = max(weights.shape[1:])
    side = 4 if width <= 8 else 2
    blocks = max(BLOCKS, -(-points.shape[0] // (side * THREADS)))
    run = kernel(code, width, side, dtype.name, THREADS, STAGED)
    run[blocks, THREADS, stream](points, weights, biases, dtype.type(shift), result)


def _fits(block: Block) -> bool:
    narrow = not isinstance(block, Growing) and max(block.weight.shape[-2:]) <= NARROW
    return narrow and block.weight.dtype in (torch.float32, torch.float64) and _rescale.known(block.activation)


@functools.cache
def _available() -> bool:
    try:
        from numba import cuda

        return bool(cuda.is_available())
    except Exception:  # an installation that does not fit, of which there are many kinds
        return False


@functools.cache
def _verdict(kind: type, width: int, dtype: torch.dtype, device: torch.device) -> str:
    """What is wrong with a kernel, empty if nothing is, by values of a small network. A fault is warned of, once."""
    rho = kind()
    points, weights, biases = _sample(width, dtype)
    expected = Stack(weights, biases, rho).run(points, len(weights))
    try:
        values = _layers(points.to(device), weights.to(device), biases.to(device), _rescale.code(rho)).cpu()
    except Exception as error:  # of the driver, the compiler or numba
        found = f"{type(error).__name__}: {error}"
    else:
        allowed = 1e3 * torch.finfo(dtype).eps
        if torch.allclose(values, expected, rtol=allowed, atol=allowed):
            return ""
        found = "its values differ from those of torch"
    warnings.warn(f"RadialNetwork: torch evaluates instead of the CUDA kernel: {found}", stacklevel=2)
    return found


def _sample(width: int, dtype: torch.dtype) -> list[Tensor]:
    """Points, weights and biases of a few layers, none of whose values is within rounding of a jump at |v| = 1."""
    layers, count = _CHECKED
    rng = np.random.default_rng(0)
    shapes = (count, width), (layers, width, width), (layers, width)
    return [torch.from_numpy(rng.normal(scale=shape[-1] ** -0.5, size=shape)).to(dtype) for shape in shapes]


def _layers(points: Tensor, weights: Tensor, biases: Tensor, activation: Activation) -> Tensor:
    """`launch` with tensors of one CUDA device on its current stream."""
    from numba import cuda

    result = points.new_empty(points.shape[0], weights.shape[1])
    if not points.shape[0]:
        return result
    tensors = (points.contiguous(), weights.contiguous(), biases.contiguous(), result)
    with cuda.gpus[points.device.index]:
        stream = cuda.external_stream(torch.cuda.current_stream(points.device).cuda_stream)
        x, weight, bias, values = (cuda.as_cuda_array(tensor) for tensor in tensors)
        launch(x, weight, bias, activation, values, stream)
    return result
