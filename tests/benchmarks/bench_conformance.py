"""Every builder x gallery target x eps, each measured at a million points and more: the table of errors and times.

    python -m tests.benchmarks.bench_conformance [--samples 1000000] [--eps 0.2 0.1]

A row fails loudly when a measured error exceeds eps, when the dense network differs from its ordered cells outside
the rounding collar, or when a hidden width is not the theorem's.
"""

import argparse
import time

import constructions
from tests.constructions.test_conformance import ROWS, check, target_of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--eps", type=float, nargs="+", default=[0.2, 0.1])
    options = parser.parse_args()
    head = "target n builder eps cells hidden_layers parameters measured/eps points compared mismatches build_s total_s"
    print("\t".join(head.split()))
    for name, dim in ROWS:
        for builder in constructions.BUILDERS:
            if builder == "minimal" and max(dim, target_of(name, dim).dim_out) == 1:
                continue
            for eps in options.eps:
                started = time.perf_counter()
                built, report, agreement = check(builder, name, dim, eps, options.samples)
                row = [name, dim, builder, eps, len(built.cover), built.hidden_layers, built.parameters]
                row += [f"{report.lower / eps:.4f}", report.samples, agreement.decided, agreement.mismatches]
                row += [f"{built.seconds:.2f}", f"{time.perf_counter() - started:.1f}"]
                print("\t".join(map(str, row)), flush=True)


if __name__ == "__main__":
    main()
