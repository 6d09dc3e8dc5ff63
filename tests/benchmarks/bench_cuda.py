"""The CUDA kernel against a loop over torch modules, torch.compile, and the device's multiply-add and copy rates.

    python -m tests.benchmarks.bench_cuda

Medians of five interleaved runs, timed by events of the device. The loop is what a user would write: nn.ModuleList of
nn.Linear with the activation in between. A point and a layer of width d are 2 d^2 + 3 d operations, and every point
and weight has to be read once, every value written once; the floor is the time of whichever takes longer at the rates
measured here. Without a device it says so and ends.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numba import cuda

from approx import _cuda
from approx.activations import activation, activation_names
from approx.networks import RadialNetwork, Stack
from tests.benchmarks.bench_engine import Loop, step, weights

RUNS = 5
SUMS, UNROLLED = 16, 8
_LOOP = 20  # layers of the loop; its cost is that of one layer times their number
_CHECKED = 1000  # points that are compared with the processor's engine


def multiply_adds(dtype: str):
    """A kernel: every thread does rounds * UNROLLED * SUMS multiply-adds, independent ones in turn."""
    real = np.dtype(dtype).type

    @cuda.jit
    def kernel(rounds, result):
        sums = cuda.local.array(SUMS, real)
        for i in range(SUMS):
            sums[i] = real(i + 3)  # none is 2, which multiply-adds keep and a compiler drops
        for _ in range(rounds):
            for _ in range(UNROLLED):
                for i in range(SUMS):
                    sums[i] = cuda.fma(sums[i], real(0.5), real(1))
        total = real(0)
        for i in range(SUMS):
            total += sums[i]
        result[cuda.grid(1)] = total

    return kernel


def operations(points: int, layers: int, width: int) -> float:
    return points * layers * (2.0 * width**2 + 3 * width)


def traffic(points: int, layers: int, width: int, itemsize: int) -> float:
    """Bytes that have to move."""
    return itemsize * (2.0 * points * width + layers * width * (width + 1))


def row(size: tuple[int, int, int], itemsize: int, seconds: dict[str, float], rates: dict[str, float]) -> str:
    """Costs of a point and a layer and the kernel's share of the floors.

    size is (points, layers, width); seconds are those of `kernel`, `torch` and `loop`; rates are `flops` and `bytes`
    per second.
    """
    points, layers, width = size
    fast = seconds["kernel"]
    flops, moved = operations(*size) / rates["flops"], traffic(*size, itemsize) / rates["bytes"]
    costs = [f"{1e9 * seconds[name] / (points * layers):10.5f} ns" for name in ("kernel", "torch", "loop")]
    return (
        f"d = {width:<3} N = {layers:<7} {points:<8} {' '.join(costs)} {seconds['torch'] / fast:7.1f}x "
        f"{seconds['loop'] / fast:7.1f}x {flops / fast:6.0%} {moved / fast:6.0%} {max(flops, moved) / fast:6.0%}"
    )


def medians(*calls: Callable[[], object]) -> list[float]:
    """Seconds between events of the device before and after each call; the calls take turns, after one to warm up."""
    seconds = np.empty((RUNS, len(calls)))
    for call in calls:
        call()
    for run in range(RUNS):
        for i, call in enumerate(calls):
            before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            before.record()
            call()
            after.record()
            after.synchronize()
            seconds[run, i] = before.elapsed_time(after) / 1e3
    return np.median(seconds, axis=0).tolist()


def measured_rates(dtype: torch.dtype) -> dict[str, float]:
    """Operations per second of multiply-adds, and bytes read and written per second by a copy."""
    name = str(dtype).removeprefix("torch.")
    kernel, rounds, threads = multiply_adds(name), 4000, 256
    blocks = 8 * torch.cuda.get_device_properties(0).multi_processor_count
    result = torch.empty(blocks * threads, dtype=dtype, device="cuda")
    array = cuda.as_cuda_array(result)
    large = torch.zeros(1 << 26, dtype=dtype, device="cuda")
    target = torch.empty_like(large)
    stream = cuda.external_stream(torch.cuda.current_stream().cuda_stream)
    adding, copying = medians(lambda: kernel[blocks, threads, stream](rounds, array), lambda: target.copy_(large))
    flops = 2.0 * blocks * threads * rounds * UNROLLED * SUMS / adding
    return {"flops": flops, "bytes": 2.0 * large.numel() * large.element_size() / copying}


def compare(points: int, layers: int, width: int, dtype: torch.dtype, name: str, rates: dict[str, float]) -> None:
    rho = activation(name)
    weight, bias = weights(layers, width, dtype)
    here = RadialNetwork([Stack(weight, bias, rho)])
    x = torch.randn(points, width, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype)
    some = min(layers, _LOOP)
    loop = Loop(weight[:some], bias[:some], step if name == "step_relu" else rho).cuda()
    there, y = RadialNetwork([Stack(weight, bias, rho)]).cuda(), x.cuda()
    with torch.no_grad():
        differences = (there(y[:_CHECKED]).cpu() - here(x[:_CHECKED])).abs().amax(dim=1)
        calls = (
            (lambda: there(y, engine="compiled")),
            (lambda: there.partial(y, some, engine="torch")),
            (lambda: loop(y)),
        )
        fast, plain, modules = medians(*calls)
    seconds = {"kernel": fast, "torch": plain * layers / some, "loop": modules * layers / some}
    differ = int((differences > 1e4 * torch.finfo(dtype).eps).sum())
    line = row((points, layers, width), dtype.itemsize, seconds, rates)
    print(
        f"{name:<16} {str(dtype).removeprefix('torch.'):<8} {line}   {differ} of {len(differences)} differ", flush=True
    )


def against_torch_compile(points: int, layers: int, width: int, dtype: torch.dtype) -> None:
    weight, bias = weights(layers, width, dtype)
    network, loop = (
        RadialNetwork([Stack(weight, bias, activation("step_relu"))]).cuda(),
        Loop(weight, bias, step).cuda(),
    )
    x = torch.randn(points, width, dtype=dtype, device="cuda")
    try:
        with torch.no_grad():
            compiled = torch.compile(loop)
            fast, inductor = medians(lambda: network(x, engine="compiled"), lambda: compiled(x))
    except Exception as error:  # it needs Triton
        print(f"torch.compile does not work here: {str(error).splitlines()[0]}")
        return
    print(f"the kernel is {inductor / fast:.1f}x as fast as torch.compile of {layers} layers, d = {width}, {dtype}")


def main() -> None:
    if not torch.cuda.is_available():
        print("no CUDA device")
        return
    stack = Stack(*weights(1, 4, torch.float64), activation("step_relu")).cuda()
    if trouble := _cuda.obstacle([stack]):
        print(f"the kernels cannot be used: {trouble}")
        return
    print(torch.cuda.get_device_name(0))
    print("a point and a layer, by the kernel, torch and the loop; ratios; shares of multiply-adds, copies and floor")
    for dtype in (torch.float64, torch.float32):
        rates = measured_rates(dtype)
        print(f"{dtype}: {rates['flops'] / 1e12:.1f} TFLOP/s, {rates['bytes'] / 1e12:.2f} TB/s")
        for width in (4, 8, 14):
            for points in (10_000, 100_000, 1_000_000):
                compare(points, 1000, width, dtype, "step_relu", rates)
        compare(100_000, 100_000, 4, dtype, "step_relu", rates)
        for name in activation_names():
            compare(100_000, 1000, 4, dtype, name, rates)
        against_torch_compile(100_000, 32, 4, dtype)


if __name__ == "__main__":
    main()
