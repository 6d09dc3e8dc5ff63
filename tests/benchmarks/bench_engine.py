"""The compiled engine against a loop over torch modules, torch.compile, and the processor's multiply-add peak.

    python -m tests.benchmarks.bench_engine

One thread, processor time, medians of five interleaved runs. The loop is what a user would write: nn.ModuleList of
nn.Linear with the activation in between. Operations are counted as 2 d^2 + 3 d for a point and a layer of width d.
"""

from __future__ import annotations

import numpy as np
import torch
from llvmlite import ir
from numba import njit
from numba.core import cgutils, types
from numba.extending import intrinsic
from torch import nn

from approx._tiles import BYTES, REGISTERS
from approx.activations import StepReLU, activation, activation_names
from approx.networks import RadialNetwork, Stack
from tests.benchmarks._timing import medians

POINTS = 100_000
_SUMS = REGISTERS - 4
_LOOP = 20  # layers of the loop; its cost is that of one layer times their number


class Loop(nn.Module):
    """The same layers as torch modules, one after another."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor, activate):
        super().__init__()
        width = weight.shape[1]
        self.layers = nn.ModuleList(nn.Linear(width, width, dtype=weight.dtype) for _ in weight)
        self.activate = activate
        with torch.no_grad():
            for layer, one, other in zip(self.layers, weight, bias, strict=True):
                layer.weight.copy_(one)
                layer.bias.copy_(other)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = self.activate(layer(x))
        return x


def step(v: torch.Tensor) -> torch.Tensor:
    return torch.where((v * v).sum(dim=1, keepdim=True) < 1, 0.0, v)


@intrinsic
def _multiply_add(typing, rounds, like):
    """`rounds` times _SUMS independent multiply-adds of full vectors."""

    def emit(context, builder, signature, values):
        element = context.get_value_type(like)
        lanes = BYTES * 8 // like.bitwidth
        vector = ir.VectorType(element, lanes)
        kind = ir.FunctionType(vector, [vector] * 3)
        fma = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fma.v{lanes}f{like.bitwidth}")
        starts = [
            ir.Constant(vector, [element(0.5 + 0.01 * i + 0.001 * k) for k in range(lanes)]) for i in range(_SUMS)
        ]
        sums = [cgutils.alloca_once_value(builder, start) for start in starts]
        factor, term = (ir.Constant(vector, [element(number)] * lanes) for number in (0.9999, 1e-4))
        with cgutils.for_range(builder, values[0]):
            for place in sums:
                builder.store(builder.call(fma, [builder.load(place), factor, term]), place)
        total = builder.load(sums[0])
        for place in sums[1:]:
            total = builder.fadd(total, builder.load(place))
        return builder.extract_element(total, ir.IntType(32)(0))

    return like(types.int64, like), emit


@njit
def _peak_loop(rounds, like):
    return _multiply_add(rounds, like)


def peak(dtype: torch.dtype) -> float:
    """Floating-point operations per second of one thread."""
    like = np.float64(0) if dtype == torch.float64 else np.float32(0)
    rounds = 2_000_000
    (seconds,) = medians(lambda: _peak_loop(rounds, like))
    return 2 * rounds * _SUMS * (BYTES // like.itemsize) / seconds


def weights(layers: int, width: int, dtype: torch.dtype):
    source = torch.Generator().manual_seed(0)
    weight = torch.randn(layers, width, width, generator=source, dtype=torch.float64) / width**0.5
    bias = 0.3 * torch.randn(layers, width, generator=source, dtype=torch.float64)
    return weight.to(dtype), bias.to(dtype)


def compare(layers: int, width: int, dtype: torch.dtype, name: str, top: float) -> None:
    rho = activation(name)
    weight, bias = weights(layers, width, dtype)
    network = RadialNetwork([Stack(weight, bias, rho)])
    some = min(layers, _LOOP)
    loop = Loop(weight[:some], bias[:some], step if name == "step_relu" else rho)
    x = torch.randn(POINTS, width, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype)
    with torch.no_grad():
        far = (network.partial(x, some) - loop(x)).abs().amax(dim=1) > 1e3 * torch.finfo(dtype).eps
        fast, plain = medians(lambda: network(x), lambda: loop(x))
    pairs = POINTS * layers
    plain *= layers / some
    print(
        f"{name:<16} {str(dtype)[6:]:<8} d = {width:<3} N = {layers:<5} "
        f"{1e9 * fast / pairs:8.3f} ns {1e9 * plain / pairs:8.2f} ns {plain / fast:7.1f}x "
        f"{(2 * width**2 + 3 * width) * pairs / fast / top:6.0%}   {int(far.sum())} points differ",
        flush=True,
    )


def against_torch_compile(layers: int, width: int) -> None:
    weight, bias = weights(layers, width, torch.float64)
    network, loop = RadialNetwork([Stack(weight, bias, StepReLU())]), Loop(weight, bias, step)
    x = torch.randn(POINTS, width, dtype=torch.float64)
    try:
        with torch.no_grad():
            compiled = torch.compile(loop)
            fast, inductor = medians(lambda: network(x), lambda: compiled(x))
    except Exception as error:  # it needs a C++ compiler
        print(f"torch.compile does not work here: {str(error).splitlines()[0]}")
        return
    print(f"the engine is {inductor / fast:.1f}x as fast as torch.compile of {layers} layers, d = {width}, float64")


def main() -> None:
    tops = {dtype: peak(dtype) for dtype in (torch.float64, torch.float32)}
    print(", ".join(f"{str(dtype)[6:]} peak {top / 1e9:.0f} GFLOP/s" for dtype, top in tops.items()), "on one thread")
    print("activation       dtype    width   layers       engine         loop    ratio   of peak")
    for dtype, top in tops.items():
        compare(1000, 4, dtype, "step_relu", top)
        compare(100, 8, dtype, "step_relu", top)
        compare(60, 14, dtype, "step_relu", top)
    for name in activation_names():
        compare(30, 4, torch.float64, name, tops[torch.float64])
    against_torch_compile(32, 4)


if __name__ == "__main__":
    main()
