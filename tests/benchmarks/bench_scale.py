"""A network of a million layers: built from a cover, saved, loaded, evaluated, compressed, certified; time and memory.

python -m tests.benchmarks.bench_scale [layers]
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import approx
from approx.certification import pieces
from constructions import constant_width


class Clock:
    def __init__(self) -> None:
        self.wall, self.processor = time.perf_counter(), time.process_time()

    def lap(self, what: str) -> None:
        wall, processor = time.perf_counter(), time.process_time()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"{what:<40} {wall - self.wall:7.2f} s {processor - self.processor:7.2f} s {peak:6.2f} GB", flush=True)
        self.wall, self.processor = time.perf_counter(), time.process_time()


def main() -> None:
    side = round(float(sys.argv[1] if len(sys.argv) > 1 else 1_000_000) ** 0.5)
    print("                                              wall  processor  peak memory")
    clock = Clock()
    target = approx.targets.gaussian(dim=2)
    axis = np.linspace(-3, 3, side)
    centers = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    radii = np.full(len(centers), 0.501 * 2**0.5 * (axis[1] - axis[0]))
    cover = approx.Cover(centers, target(centers), target.affine, radii=radii, overlap=1e-4)
    clock.lap(f"cover of {len(cover):,} cells")
    built = constant_width.assemble(cover, tolerance=1e-4)
    clock.lap("network")
    x = np.random.default_rng(0).uniform(-3.5, 3.5, (100_000, 2))
    cells = built.cover.find(x)
    clock.lap("index of the cells")
    built.cover.find(x)
    clock.lap("first cell, 1e5 points")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "network.safetensors"
        approx.save(file, built.network, cover=built.cover)
        clock.lap(f"save, {file.stat().st_size / 2**20:.0f} MB")
        loaded = approx.load(file).network
        clock.lap("load")
    values = loaded.evaluate(x[:1024])
    clock.lap("evaluate 1024 points")
    assert (cells[:1024] >= 0).any() and np.abs(values - built.cover(x[:1024])).max() < 1e-6
    approx.compress(loaded)
    clock.lap("compress")
    found = pieces(loaded)
    clock.lap("pieces, with error bounds")
    assert found.outside_error(target.affine) == (True, 0.0)
    clock.lap("exact slope outside")
    width = axis[1] - axis[0]
    proof = approx.certify(loaded, target, eps=float(width), max_seconds=600.0)
    clock.lap(f"certify, pieces included, {proof.samples:,} boxes")
    assert proof.proves(float(width)), proof


if __name__ == "__main__":
    main()
