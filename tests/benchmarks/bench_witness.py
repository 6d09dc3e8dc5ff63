"""Checking a witness takes microseconds a cell, in any dimension: less than a few hundred plain evaluations of f.

    python -m tests.benchmarks.bench_witness [--quick]

For exp(-|x|^2) on R^n, one line a cover: its cells and the leaves of the witness; seconds to bound |f - y| on all
cells, to find a witness and to check it; cells per second of bounds and check together, and that as a ratio to plain
float64 evaluation of f in the same run.
"""

import argparse
import time

import numpy as np

from approx import targets
from approx.certification import Cells, enclosure_of
from approx.certification._cubes import check_tree, find_tree
from approx.certification._lattices import check_lattice, find_lattice
from approx.certification._question import Question
from approx.domains import Ball, WholeSpace
from constructions import covers

# dimension, eps of the adaptive cover, eps of the uniform cover
CASES = [
    (3, 0.05, 0.03),
    (4, 0.15, 0.08),
    (5, 0.3, 0.15),
    (6, 0.3, 0.2),
    (7, 0.4, 0.25),
    (8, 0.45, 0.3),
    (9, 0.45, 0.4),
    (10, 0.45, 0.37),
]


def clock(work):
    started = time.perf_counter()
    return work(), time.perf_counter() - started


def measure(dim, eps, strategy):
    f = targets.gaussian(dim=dim)
    options = {"everywhere": True, "affine": f.affine, "values": "chebyshev", "max_cells": 3_000_000}
    cover = covers.make(strategy, f, eps * (1 - 2.0**-9), WholeSpace(dim), **options)  # as `build` does
    core = Ball(np.zeros(dim), float(np.sqrt(-np.log(eps))) * (1 + 1e-9))
    question = Question(Cells.of(cover, 1e-10), cover.values, cover.affine, 1e-10, enclosure_of(f), (core,), None)
    bounds, cells = clock(question.on_cells)
    if strategy == "uniform":
        guess, find = clock(lambda: find_lattice(question.cells.offsets, question.cells.radii))
        outside, check = clock(lambda: check_lattice(question, *guess))
        leaves = len(cover)
    else:
        tree, find = clock(lambda: find_tree(question, eps, time.time() + 300))
        outside, check = clock(lambda: check_tree(question, tree))
        leaves = len(tree)
    _, plain = clock(lambda: f(cover.centers))
    upper, speed = max(float(bounds.max()), outside), len(cover) / (cells + check)
    print(
        f"n = {dim:2}, eps = {eps:4}, {strategy:8}: {len(cover):9,} cells, {leaves:9,} leaves, sup <= {upper:.6f};"
        f" cells {cells:.2f} s, find {find:.2f} s, check {check:.2f} s: {speed:.3g} cells/s,"
        f" {speed * plain / len(cover):.3f} of plain evaluation",
        flush=True,
    )
    assert upper <= eps


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="only up to n = 6")
    arguments = parser.parse_args()
    measure(2, 0.2, "adaptive")  # compiles
    for n, coarse, fine in CASES:
        if n <= 6 or not arguments.quick:
            measure(n, coarse, "adaptive")
            measure(n, fine, "uniform")
