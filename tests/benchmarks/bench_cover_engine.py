"""First cell that holds a point: cost as the number of cells grows, and against the network's layers as torch modules.

    python -m tests.benchmarks.bench_cover_engine [points]

One thread, processor time, medians of five runs. Every answer is checked against a scan on a sample.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import torch

from approx._lookup import CellIndex
from tests.benchmarks._timing import medians
from tests.benchmarks.bench_engine import Loop, step, weights

_LAYERS = 50  # of the loop that is timed; its cost per layer is the same for all


def lattice(cells: int, dim: int):
    side = round(cells ** (1 / dim))
    centers = np.stack(np.meshgrid(*[np.arange(side) / side] * dim, indexing="ij"), axis=-1).reshape(-1, dim)
    return centers, np.full(len(centers), 0.5001 * dim**0.5 / side)


def mixed(cells: int, dim: int):
    rng = np.random.default_rng(0)
    radii = np.sort(10 ** rng.uniform(-2, 0, cells)) * cells ** (-1 / dim)
    return rng.uniform(size=(cells, dim)), radii


def check(index: CellIndex, centers, radii, x) -> None:
    found = index.find(x[:200])
    for point, cell in zip(x[:200], found, strict=True):
        inside = np.flatnonzero(np.square(point - centers).sum(axis=1) < radii**2)
        assert cell == (inside[0] if len(inside) else -1)


def main() -> None:
    points = int(float(sys.argv[1])) if len(sys.argv) > 1 else 100_000
    rng = np.random.default_rng(1)
    print("cells          n         N   build s   ns/point   looked at   loop of N modules")
    for name, make in (("equal", lattice), ("100 to 1", mixed)):
        for dim in (2, 3):
            weight, bias = weights(_LAYERS, dim + 2, torch.float64)
            loop, state = Loop(weight, bias, step), torch.randn(points, dim + 2, dtype=torch.float64)
            with torch.no_grad():
                (plain,) = medians(lambda loop=loop, state=state: loop(state))
            x = rng.uniform(size=(points, dim))
            made = []
            for cells in (1_000, 10_000, 100_000, 1_000_000):
                centers, radii = make(cells, dim)
                start = time.process_time()
                index = CellIndex(centers, np.repeat(radii[:, None], dim, axis=1), radii=radii)
                made.append((len(centers), index, time.process_time() - start))
                check(index, centers, radii, x)
            # All sizes take turns, so that what else the machine does falls on all of them.
            times = medians(*(lambda index=index, x=x: index.find(x) for _, index, _ in made))
            for (cells, index, build), seconds in zip(made, times, strict=True):
                ratio = plain / _LAYERS * cells / seconds
                print(
                    f"{name:<12} {dim:3} {cells:9,} {build:9.2f} {1e9 * seconds / points:10.0f} "
                    f"{index.work:11.1f} {ratio:18,.0f}x",
                    flush=True,
                )


if __name__ == "__main__":
    main()
