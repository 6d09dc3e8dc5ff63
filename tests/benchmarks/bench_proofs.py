"""Every builder x gallery target x eps, each with a certificate: its bounds, what they rest on, and the time.

    python -m tests.benchmarks.bench_proofs [--eps 0.2 0.1 0.05] [--max-layers 400000] [--high]

A row fails loudly when eps is not proved, when the bounds are farther apart than eps/1000 (eps/100 for n = 4), or when
one of a million random points of the domain exceeds the lower bound by more than the bounds are apart. --high: n = 4,
and gaussian in dimensions 5 to 10 on its domain and on all of R^n, where only the upper bound counts.
"""

import argparse
import time

import numpy as np

import constructions
from approx import certify, targets
from approx.domains import WholeSpace
from tests.constructions.test_conformance import COMPACT_ONLY, ROWS, target_of

ROWS_3D = [*ROWS, *((name, 3) for name in ("bump", "affine_bump", "cone", "ridge", "rings", "saddle"))]
POINTS = 1_000_000
HIGH = [(4, 0.3, None), (4, 0.2, None)]
HIGH += [
    (n, eps, whole)
    for n, eps in ((5, 0.3), (6, 0.4), (7, 0.4), (8, 0.4), (9, 0.4), (10, 0.45))
    for whole in (False, True)
]
HEAD = "target n builder eps layers domain lower/eps upper/eps gap/eps sampled/eps claim boxes build_s proof_s"


def row(target, builder, eps, apart, domain=None, **options):
    started = time.perf_counter()
    try:
        built = constructions.build(target, eps, builder=builder, domain=domain, verify=False, **options)
    except ValueError as error:
        print(target.name, target.dim_in, builder, eps, "refused:", str(error)[:120], sep="\t", flush=True)
        return
    made = time.perf_counter()
    proof = certify(built, tol=None if apart == np.inf else 0.999 * apart * eps, max_seconds=600)
    seconds = time.perf_counter() - made
    points = target.domain.sample(POINTS)
    sampled = 0.0
    if built.hidden_layers <= 50_000 or builder != "widening":
        for part in np.array_split(points, 100):
            gaps = np.linalg.norm(built.cover(part) - target(part), axis=1)
            sampled = max(sampled, float(gaps.max()))
    gap = proof.upper - proof.lower
    cells = [target.name, target.dim_in, builder, eps, f"{built.hidden_layers:,}", built.domain]
    cells += [f"{value / eps:.6f}" for value in (proof.lower, proof.upper, gap, sampled)]
    cells += [proof.claim, f"{proof.samples:,}", f"{made - started:.2f}", f"{seconds:.2f}"]
    print(*cells, sep="\t", flush=True)
    assert proof.proves(eps), proof
    assert apart == np.inf or gap <= apart * eps, proof
    assert apart == np.inf or sampled <= proof.lower + apart * eps, proof
    assert sampled <= proof.upper


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--eps", type=float, nargs="+", default=[0.2, 0.1, 0.05])
    parser.add_argument("--max-layers", type=int, default=400_000)
    parser.add_argument("--high", action="store_true")
    options = parser.parse_args()
    print("\t".join(HEAD.split()))
    if options.high:
        for dim, eps, whole in HIGH:
            f = targets.gaussian(dim)
            domain = WholeSpace(dim) if whole is None or whole else f.domain
            row(f, "constant_width", eps, 1e-2 if dim == 4 else np.inf, domain)
        return
    for eps in options.eps:
        for name, dim in ROWS_3D:
            for builder in constructions.BUILDERS:
                f = target_of(name, dim)
                if builder == "minimal" and max(dim, f.dim_out) == 1:
                    continue
                assert (f.affine is None or f.tail is None) == (name in COMPACT_ONLY)
                row(f, builder, eps, 1e-3, max_layers=options.max_layers)


if __name__ == "__main__":
    main()
