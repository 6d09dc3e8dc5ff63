"""How the number of layers grows as the tolerance shrinks: sweeps, tables with observed orders, baselines."""

from approx.rates._baselines import BASELINES, Budget, baseline
from approx.rates._sweep import Method, end_at_interrupts, sweep
from approx.rates._table import RateRow, RateSeries, RateTable

__all__ = [
    "BASELINES",
    "Budget",
    "Method",
    "RateRow",
    "RateSeries",
    "RateTable",
    "baseline",
    "end_at_interrupts",
    "sweep",
]
