"""Rows of a sweep, and what they say together: pairwise and fitted orders beside those of the theory."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from approx import _checks
from approx.rates import _format

__all__ = ["RateRow", "RateSeries", "RateTable"]

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class RateRow:
    """One network for one tolerance.

    target, dim_in : its name and n
    builder, cover : how the network was made; for a baseline its name, and "" for the cover
    eps : the tolerance; for a baseline that of the network whose parameters it may use
    hidden_layers, parameters : its size; None where there is none (a grid has no layers, a refused build nothing)
    lower, upper : lower <= sup |F - f| <= upper; upper is None if nothing was proved, both are None without a network
    claim : "certified", "certified on condition", "sampled" or "refused"
    depth_bound : hidden layers that any Step-ReLU network with this tolerance needs; None if unknown
    theory : the least and the largest order that the theory expects of the layers; None if it says nothing
    seconds : wall time of building, measuring and proving
    baseline : whether this is a competitor rather than a construction
    note : why a build was refused; seeds and spread of a baseline

    >>> row = RateRow(target="f", dim_in=2, builder="narrow", cover="uniform", eps=0.1, hidden_layers=9)
    >>> row.claim, row.hidden_layers
    ('refused', 9)
    """

    target: str
    dim_in: int
    builder: str
    cover: str
    eps: float
    hidden_layers: int | None = None
    parameters: int | None = None
    lower: float | None = None
    upper: float | None = None
    claim: str = "refused"
    depth_bound: int | None = None
    theory: tuple[float, float] | None = None
    seconds: float = 0.0
    baseline: bool = False
    note: str = ""

    def __post_init__(self) -> None:
        _checks.positive("RateRow", "eps", self.eps)
        _checks.count("RateRow", "dim_in", self.dim_in)
        for name in ("hidden_layers", "parameters", "depth_bound"):
            if getattr(self, name) is not None:
                _checks.count("RateRow", name, getattr(self, name), least=0)

    @property
    def name(self) -> str:
        """Builder and cover in one."""
        return f"{self.builder}, {self.cover}" if self.cover else self.builder


@dataclass(frozen=True, eq=False)
class RateSeries:
    """The rows of one target and one method, from large tolerances to small ones: layers ~ eps^(-order).

    target, dim_in, builder, cover : whose
    eps, layers : (k,) strictly decreasing tolerances, and hidden layers
    pairwise : (k - 1,) order between neighbours, log(layers ratio) / log(eps ratio)
    order, spread : slope of the least-squares line through log layers over log 1/eps, and its standard error; nan for
        fewer than 2, and for the spread fewer than 3 rows
    theory : the least and the largest order that the theory expects; None if it says nothing

    >>> rows = [RateRow(target="f", dim_in=2, builder="b", cover="c", eps=eps, hidden_layers=int(1 / eps**2 + 0.5))
    ...         for eps in (0.4, 0.2, 0.1)]
    >>> series = RateTable(tuple(rows)).series()[0]
    >>> series.layers, round(series.order)
    (array([  6.,  25., 100.]), 2)
    """

    target: str
    dim_in: int
    builder: str
    cover: str
    eps: Array
    layers: Array
    theory: tuple[float, float] | None

    @property
    def pairwise(self) -> Array:
        return np.diff(np.log(self.layers)) / -np.diff(np.log(self.eps))

    @property
    def order(self) -> float:
        return self._fit[0]

    @property
    def spread(self) -> float:
        return self._fit[1]

    @property
    def _fit(self) -> tuple[float, float]:
        if len(self.eps) < 2:
            return math.nan, math.nan
        from scipy.stats import linregress  # slow to import

        line = linregress(-np.log(self.eps), np.log(self.layers))
        return float(line.slope), float(line.stderr) if len(self.eps) > 2 else math.nan

    @property
    def label(self) -> str:
        """Builder and cover."""
        return f"{self.builder}, {self.cover}"

    def __repr__(self) -> str:
        fitted = "order unknown" if math.isnan(self.order) else f"order {self.order:.2f}"
        if not math.isnan(self.spread):
            fitted += f" +- {self.spread:.2f}"
        expected = "" if self.theory is None else f", theory {_format.span(self.theory)}"
        span = f"eps {self.eps[0]:g} to {self.eps[-1]:g}" if len(self.eps) else "no eps"
        return f"{self.target} on R^{self.dim_in}, {self.label}: {fitted}{expected} ({span})"


@dataclass(frozen=True, eq=False, repr=False)
class RateTable:
    """The rows of a sweep; print it for the table and the orders.

    rows : from `sweep`, grouped by target and method, in the order they were asked for
    interrupted : whether rows are missing for an interrupt (Ctrl-C)

    Raises TypeError for rows that are not RateRows.

    >>> make = lambda eps, layers: RateRow(
    ...     target="f", dim_in=2, builder="b", cover="uniform", eps=eps, hidden_layers=layers, theory=(2.0, 2.0)
    ... )
    >>> table = RateTable((make(0.2, 10), make(0.1, 40), make(0.05, 160)))
    >>> table.series()[0].pairwise
    array([2., 2.])
    >>> table.series()
    (f on R^2, b, uniform: order 2.00 +- 0.00, theory 2 (eps 0.2 to 0.05),)
    """

    rows: tuple[RateRow, ...]
    interrupted: bool = False

    def __post_init__(self) -> None:
        wrong = [row for row in self.rows if not isinstance(row, RateRow)]
        if wrong:
            received = f"a row {_checks.show(wrong[0])}"
            raise TypeError(_checks.message("RateTable", received, "RateRows", "Take the rows of another table."))
        object.__setattr__(self, "rows", tuple(self.rows))

    def series(self) -> tuple[RateSeries, ...]:
        """One per target and method, refused builds, networks without layers and baselines left out."""
        found: dict[tuple[str, int, str, str], list[RateRow]] = {}
        for row in self.rows:
            if row.hidden_layers and not row.baseline:
                found.setdefault((row.target, row.dim_in, row.builder, row.cover), []).append(row)
        result = []
        for key, rows in found.items():
            distinct = {row.eps: row for row in rows}
            chosen = [distinct[eps] for eps in sorted(distinct, reverse=True)]
            eps = np.array([row.eps for row in chosen])
            layers = np.array([float(row.hidden_layers or 0) for row in chosen])
            result.append(RateSeries(*key, eps, layers, chosen[0].theory))
        return tuple(result)

    def __add__(self, other: RateTable) -> RateTable:
        """The rows of both."""
        return RateTable((*self.rows, *other.rows), self.interrupted or other.interrupted)

    def to_dict(self) -> dict[str, Any]:
        """Rows, orders and whether it was interrupted, JSON-able."""
        orders = [
            {
                "target": s.target,
                "dim_in": s.dim_in,
                "builder": s.builder,
                "cover": s.cover,
                "pairwise": [float(p) for p in s.pairwise],
                "order": None if math.isnan(s.order) else s.order,
                "spread": None if math.isnan(s.spread) else s.spread,
                "theory": s.theory,
            }
            for s in self.series()
        ]
        return {"rows": [asdict(row) for row in self.rows], "orders": orders, "interrupted": self.interrupted}

    def to_csv(self) -> str:
        """A line per row, every field in full; nothing stands for None."""
        names = [field.name for field in fields(RateRow)]
        return _format.csv_text(names, [[getattr(row, name) for name in names] for row in self.rows])

    def to_markdown(self, columns: Sequence[str] | None = None) -> str:
        """A table for Markdown, with the orders below; columns : which of the printed ones, by name, None for all."""
        return _format.markdown(*self._chosen("to_markdown", columns), [repr(s) for s in self.series()])

    def to_latex(self, columns: Sequence[str] | None = None) -> str:
        """A tabular for LaTeX, no packages needed, with the orders below as a comment.

        columns : which of the printed ones, by name, None for all. Raises ValueError, listing the names, for others.

        >>> row = RateRow(target="f", dim_in=2, builder="b", cover="uniform", eps=0.1, hidden_layers=40)
        >>> print(RateTable((row,)).to_latex(["cover", "eps", "layers"]).partition("%")[0])
        \\begin{tabular}{lrr}
        cover & eps & layers \\\\
        \\hline
        uniform & 0.1 & 40 \\\\
        \\end{tabular}
        <BLANKLINE>
        """
        return _format.latex(*self._chosen("to_latex", columns), [repr(s) for s in self.series()])

    def _chosen(self, call: str, columns: Sequence[str] | None) -> tuple[list[str], list[list[str]]]:
        names = list(_HEAD) if columns is None else list(columns)
        where = [_HEAD.index(_checks.one_of(call, "columns", name, _HEAD)) for name in names]
        return names, [[line[i] for i in where] for line in self._cells()]

    def _cells(self) -> list[list[str]]:
        orders: dict[tuple[Any, ...], float] = {}
        for s in self.series():
            for eps, order in zip(s.eps[1:], s.pairwise, strict=True):
                orders[s.target, s.dim_in, s.builder, s.cover, float(eps)] = float(order)
        cells = []
        for row in self.rows:
            order = None if row.baseline else orders.get((row.target, row.dim_in, row.builder, row.cover, row.eps))
            cells.append(
                [
                    f"{row.target}, R^{row.dim_in}",
                    row.builder,
                    row.cover,
                    f"{row.eps:g}",
                    _format.whole(row.hidden_layers),
                    "" if order is None else f"{order:.2f}",
                    "" if row.theory is None else _format.span(row.theory),
                    _format.whole(row.depth_bound),
                    _format.whole(row.parameters),
                    "" if row.lower is None else f"{row.lower:.4g}",
                    "" if row.upper is None else f"{row.upper:.4g}",
                    row.claim,
                    f"{row.seconds:.3g}",
                ]
            )
        return cells

    def __repr__(self) -> str:
        lines = [_format.aligned(_HEAD, self._cells(), left=3), "", *map(repr, self.series())]
        notes = [f"{row.name}, eps = {row.eps:g}: {row.note}" for row in self.rows if row.note]
        lines += ["", *(note for note, _ in itertools.groupby(notes))] if notes else []
        return "\n".join([*lines, "interrupted: rows are missing"] if self.interrupted else lines)


_HEAD = (
    "target",
    "builder",
    "cover",
    "eps",
    "layers",
    "order",
    "theory",
    "least layers",
    "parameters",
    "error from",
    "to",
    "claim",
    "seconds",
)
