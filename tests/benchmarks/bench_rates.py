"""Greedy covers need about eps^-1.5 layers in the plane, uniform ones eps^-2.

    python -m tests.benchmarks.bench_rates [CACHE] [PLOT]

Smooth targets that are not radial, on [-3, 3]^2, over five halvings of eps; every network is certified or refused.
Takes two minutes or so; CACHE keeps finished points. Prints the table, and fails if an order observed for
greedy covers exceeds 1.6.
"""

import sys

from approx import Box, targets
from constructions import rates

EPS = [0.4 / 2**k for k in range(6)]
BOX = Box.cube(2, 3.0)
MOST = 1.6


def main(cache=None, plot=None):
    smooth = [targets.franke(), targets.peaks(domain=BOX)]
    table = rates.sweep(
        smooth, EPS, ["greedy", "uniform"], cache=cache, domain=BOX, max_layers=20_000, progress=sys.stderr.isatty()
    )
    print(table)
    if plot is not None:
        from approx import plotting

        plotting.rates_picture(table).savefig(plot, dpi=150)
    orders = {series.target: series.order for series in table.series() if series.cover == "greedy"}
    print({name: round(order, 2) for name, order in orders.items()})
    return 0 if orders and max(orders.values()) <= MOST else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
