"""The command ``radial compile``: a little of everything, so that the inner loops are compiled and in the cache."""

from __future__ import annotations

import argparse
import json
import time

import numpy as np
import torch
from numba.core.event import install_recorder

from approx import _checks, certify, compress, depth_lower_bound, sup_error
from approx._cells import holds
from approx._compile import cache_folder
from approx.activations import ShiftedReLU, StepReLU
from approx.affine import AffineMap
from approx.covers import Cover
from approx.domains import WholeSpace
from approx.networks import Dense, RadialNetwork, Stack
from approx.targets import from_grid, gaussian, ridge
from constructions import BUILDERS, build, constant_width, covers, paint
from constructions._arguments import outputs

__all__ = ["add_options", "run"]

_FEW = 4096  # points at which errors are measured


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quiet", action="store_true", help="no report")


def run(args: argparse.Namespace) -> int:
    """Do every job once and report how long each took; returns the exit status."""
    outputs(args, inputs=[])
    if cache_folder(holds) is None:  # of one compiled function as of all
        required = "one, to keep what is compiled"
        action = "Set NUMBA_CACHE_DIR to a folder that can be written, and unset NUMBA_DISABLE_JIT."
        raise ValueError(_checks.message("radial compile", "no place for numba's cache", required, action))
    seconds = {}
    with install_recorder("numba:compile") as recorder:
        for job in (_covers, _builders, _evaluation, _painting, _radial_basis, _long_chain, _compression):
            start = time.perf_counter()
            job()
            name = job.__name__.strip("_").replace("_", " ")
            seconds[name] = round(time.perf_counter() - start, 3)
            if not (args.json or args.quiet):
                print(f"{name:<14}{seconds[name]:5.1f} s", flush=True)
    compiled = sum(event.is_start for _, event in recorder.buffer)
    if args.json:
        print(json.dumps({"seconds": seconds, "compiled": compiled}))
    elif not args.quiet:
        print(f"{'compiled':<14}{compiled} functions" if compiled else "nothing was left to compile")
    return 0


def _covers() -> None:
    for cover in covers.STRATEGIES:
        build(gaussian(dim=2), 0.3, builder="constant_width", cover=cover, samples=_FEW)
    build(gaussian(dim=3), 0.5, cover="greedy", samples=_FEW)  # the plane has a kernel of its own
    build(ridge(), 0.3, builder="narrow", cover="nested", samples=_FEW)


def _builders() -> None:
    for name in BUILDERS:
        build(gaussian(dim=2), 0.3, builder=name, samples=_FEW)
    build(gaussian(dim=3), 0.5, builder="minimal", cover="uniform", samples=_FEW)
    build(gaussian(dim=1), 0.1, samples=_FEW)
    depth_lower_bound(gaussian(dim=2), 0.1)


def _evaluation() -> None:
    for dtype in (torch.float64, torch.float32):
        for width in range(2, 7):  # every width has a kernel of its own
            weights = torch.zeros(16, width, width, dtype=dtype)
            RadialNetwork([Stack(weights, weights[:, 0], StepReLU())])(weights[0])
    build(gaussian(dim=2), 0.3, dtype=torch.float32, samples=_FEW)


def _painting() -> None:
    x = np.linspace(0.0, 1.0, 16)
    paint(from_grid(np.sin(9 * x[:, None]) * x), 30)


def _radial_basis() -> None:
    target = gaussian(dim=2)
    built = build(target, builder="radial_basis", layers=20, samples=_FEW)
    certify(built.network, target, max_seconds=0.1)


def _long_chain() -> None:
    centers = np.stack(np.meshgrid(*[np.linspace(-1.0, 1.0, 130)] * 2), axis=-1).reshape(-1, 2)
    target, radii = gaussian(dim=2), np.full(len(centers), 0.0124)
    cover = Cover(centers, target(centers), AffineMap.constant([0.0], 2), radii)
    network = constant_width.assemble(cover).network
    sup_error(network, target, WholeSpace(2), samples=_FEW)
    certify(network, target, WholeSpace(2), max_seconds=0.1)


def _compression() -> None:
    line = torch.ones(100, 8, 1, dtype=torch.float64)
    first, last = torch.ones(8, 2, dtype=torch.float64), torch.ones(1, 8, dtype=torch.float64)
    rho = ShiftedReLU(1.0)
    stack = Stack(line @ line.mT, line[..., 0], rho)
    network = RadialNetwork([Dense(first, line[0, :, 0], rho), stack, Dense(last, line[0, :1, 0], None)])
    compress(network, method="rank")
