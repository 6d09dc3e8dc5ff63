"""Thin QR compresses a wide network faster than complete QR, in a few training steps' time, and the result runs faster.

    python -m tests.benchmarks.bench_compression [--quick] [--device cuda]

For each widths: seconds and peak memory of approx.compress and of Algorithm 1 with complete QR factorisations in numpy,
each in a process of its own (Linux), and their ratios; both deviations; one training step; inference and training of
the compressed network against the full one, beside the ratio of parameters. Imports are not counted.
"""

import argparse
import itertools
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

import approx
from approx.activations import ShiftedReLU
from approx.networks import RadialNetwork

WIDTHS = [(2, 16, 64, 128, 16, 2), (784, 4096, 4096, 4096, 10)]
QUICK = [(2, 16, 64, 128, 16, 2), (78, 512, 512, 512, 10)]
BATCH = 64


def arrays(widths):
    rng = np.random.default_rng(0)
    return [(rng.normal(size=(b, a)) / a**0.5, rng.normal(size=b)) for a, b in itertools.pairwise(widths)]


def network(layers, device="cpu"):
    kinds = [ShiftedReLU(0.1)] * (len(layers) - 1) + [None]
    pairs = zip(layers, kinds, strict=True)
    return RadialNetwork.from_layers((*map(torch.tensor, layer), kind) for layer, kind in pairs).to(device)


def published(layers):
    """Algorithm 1 with complete QR factorisations, as printed in arXiv 2107.02550."""
    reduced, (weight, bias) = [], layers[0]
    for after, offset in layers[1:]:
        a = np.column_stack([bias, weight])
        q, r = np.linalg.qr(a, mode="complete")
        size = min(a.shape)
        reduced.append((r[:size, 1:], r[:size, 0]))
        inclusion = np.eye(len(a), size)
        weight, bias = after @ q @ inclusion, offset
    return [*reduced, (weight, bias)]


def best(work, device, repeats):
    """Seconds of the fastest of `repeats` calls."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        if device != "cpu":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return min(times)


def resident(field):
    """Bytes of memory of this process: VmRSS now, VmHWM at the peak (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(field))


def alone(name, widths, device):
    """In a process of its own: print seconds, memory in bytes above that before the work, and the deviation."""
    layers = arrays(widths)
    net = network(layers, device)
    warm = arrays((78, 512, 512, 2))
    approx.compress(network(warm, device), samples=0)
    published(warm)
    x = torch.tensor(np.random.default_rng(1).normal(size=(BATCH, widths[0]))).to(device)
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    result = [None]
    work = {
        "thin": lambda: result.__setitem__(0, approx.compress(net, samples=0).network),
        "complete": lambda: result.__setitem__(0, published(layers)),
    }[name]
    seconds = best(work, device, 2 if max(widths) > 1000 else 20)
    memory = resident("VmHWM") - before
    small = result[0] if name == "thin" else network(result[0], device)
    with torch.no_grad():
        full, gap = net(x), (net(x) - small(x)).abs().max()
    print(json.dumps([seconds, memory, float(gap / full.abs().max())]))


def training_step(net, x):
    net.requires_grad_(True)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-6)

    def step():
        optimizer.zero_grad()
        (net(x) ** 2).mean().backward()
        optimizer.step()

    return step


def inference(net, x):
    def work():
        with torch.no_grad():
            net(x)

    return work


def compare(widths, device):
    found = {}
    for name in ("thin", "complete"):
        command = [sys.executable, "-m", "tests.benchmarks.bench_compression", "--alone", name, "--device", device]
        command += ["--widths", *map(str, widths)]
        found[name] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    (ours, memory, gap), (theirs, other, their_gap) = found["thin"], found["complete"]
    net = network(arrays(widths), device)
    result = approx.compress(net, samples=0)
    x = torch.tensor(np.random.default_rng(1).normal(size=(BATCH, widths[0]))).to(device)
    repeats = 3 if max(widths) > 1000 else 30
    before, after = result.parameters
    print(
        f"widths {widths} -> {result.reduced_widths}, {before:,} -> {after:,} parameters, {before / after:.3g} x fewer"
    )
    print(f"  thin QR     {ours:9.4g} s  {memory / 2**20:8.1f} MiB  relative deviation {gap:.1e}  ({device})")
    print(f"  complete QR {theirs:9.4g} s  {other / 2**20:8.1f} MiB  relative deviation {their_gap:.1e}  (numpy, cpu)")
    ratio = (
        f"{other / memory:.3g} x less memory"
        if min(memory, other) > 2**20 and device == "cpu"
        else "memory not compared"
    )
    print(f"  thin is {theirs / ours:.3g} x faster, {ratio}")
    for name, work in (("inference", inference), ("training step", training_step)):
        slow, fast = (best(work(item, x), device, repeats) for item in (net, result.network))
        print(f"  {name}: {slow:.4g} s full, {fast:.4g} s compressed, {slow / fast:.3g} x faster", end="")
        print(f"; compressing takes {ours / slow:.3g} full steps" if name == "training step" else "")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="smaller widths")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--alone", choices=("thin", "complete"), help=argparse.SUPPRESS)
    parser.add_argument("--widths", type=int, nargs="+", help="widths of one network instead of the usual ones")
    args = parser.parse_args()
    if args.alone:
        alone(args.alone, tuple(args.widths), args.device)
        return
    for widths in [tuple(args.widths)] if args.widths else QUICK if args.quick else WIDTHS:
        compare(widths, args.device)


if __name__ == "__main__":
    main()
