"""What an experiment gives back: measured quantities beside the paper's, and curves over the epochs."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from approx import _checks
from approx._interrupts import plain_interrupts

__all__ = ["Curve", "Experiment", "Row", "curve", "run_trials"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Row:
    """One measured quantity.

    quantity : what was measured; values : (trials,)
    paper : the paper's (mean, standard deviation) of it, or None

    >>> Row("seconds", np.array([1.0, 3.0]), paper=(15.32, 2.53)).mean
    2.0
    """

    quantity: str
    values: Array
    paper: tuple[float, float] | None = None

    @property
    def mean(self) -> float:
        return float(np.mean(self.values))

    @property
    def std(self) -> float:
        """The standard deviation of a sample, n - 1 in the denominator; 0 for one trial."""
        return float(np.std(self.values, ddof=1)) if len(self.values) > 1 else 0.0


@dataclass(frozen=True, eq=False)
class Curve:
    """A quantity after 0, 1, ... epochs; values (trials, most epochs + 1), NaN once a trial has ended.

    >>> from approx.experiments import projected_descent
    >>> projected_descent(trials=1, epochs=2).curves[0].values.shape
    (1, 3)
    """

    name: str
    quantity: str
    values: Array


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Experiment:
    """The result of one of the paper's experiments; print it for the table.

    number : 1 to 4; title, source : what it is, and where the paper's numbers come from
    settings : everything that was chosen
    seeds : one per finished trial
    rows : measured quantities; curves : over the epochs, possibly none
    commentary : what the numbers say, agreement or not
    seconds : wall time; interrupted : whether trials are missing for an interrupt (Ctrl-C)

    >>> from approx.experiments import lossless
    >>> result = lossless(trials=2)
    >>> result.number, result.seeds, result.rows[0].paper
    (1, (0, 1), (1.31e-08, 4.45e-09))
    """

    number: int
    title: str
    source: str
    settings: Mapping[str, Any]
    seeds: tuple[int, ...]
    rows: tuple[Row, ...]
    curves: tuple[Curve, ...]
    commentary: str
    seconds: float
    interrupted: bool

    def __getitem__(self, quantity: str) -> Row:
        """The row of that quantity. Raises ValueError that lists them."""
        _checks.one_of("Experiment", "quantity", quantity, [row.quantity for row in self.rows])
        return next(row for row in self.rows if row.quantity == quantity)

    def table(self) -> str:
        """Quantity, the paper's mean +- standard deviation, ours; one line a row."""
        cells = [("quantity", "paper", f"here, {len(self.seeds)} trial{'s' if len(self.seeds) > 1 else ''}")]
        for row in self.rows:
            paper = "" if row.paper is None else _spread(*row.paper)
            cells.append((row.quantity, paper, _spread(row.mean, row.std)))
        sizes = [max(len(line[i]) for line in cells) for i in range(3)]
        lines = ["  ".join(cell.ljust(size) for cell, size in zip(line, sizes, strict=True)).rstrip() for line in cells]
        return "\n".join([lines[0], "  ".join("-" * size for size in sizes), *lines[1:]])

    def to_dict(self) -> dict[str, Any]:
        """Everything but the curves, JSON-able; numbers that are not finite become None."""
        rows = [
            {
                "quantity": row.quantity,
                "paper_mean": None if row.paper is None else row.paper[0],
                "paper_std": None if row.paper is None else row.paper[1],
                "mean": _number(row.mean),
                "std": _number(row.std),
                "values": [_number(value) for value in row.values],
            }
            for row in self.rows
        ]
        names = ("number", "title", "source", "commentary", "seconds", "interrupted")
        facts = {name: getattr(self, name) for name in names}
        return facts | {"settings": dict(self.settings), "seeds": list(self.seeds), "rows": rows}

    def to_csv(self) -> str:
        """One line per quantity and trial: experiment,quantity,paper_mean,paper_std,seed,value."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["experiment", "quantity", "paper_mean", "paper_std", "seed", "value"])
        for row in self.rows:
            for seed, value in zip(self.seeds, row.values, strict=True):
                writer.writerow([self.number, row.quantity, *(row.paper or ("", "")), seed, repr(float(value))])
        return text.getvalue()

    def __repr__(self) -> str:
        head = f"Experiment {self.number}: {self.title} ({self.source})"
        settings = ", ".join(f"{name} {value}" for name, value in self.settings.items())
        first, last = self.seeds[0], self.seeds[-1]
        end = f"seeds {first} to {last}, {self.seconds:.3g} s" + (", interrupted" if self.interrupted else "")
        return "\n".join([head, settings, "", self.table(), "", self.commentary, end])


def run_trials(
    call: str, trial: Callable[[int], Any], trials: Any, seed: Any, progress: bool
) -> tuple[list[Any], tuple[int, ...], float, bool]:
    """trial(s) for s = seed, seed + 1, ...: (results, seeds, seconds, whether an interrupt came before the end).

    On one thread: networks this small gain nothing from more, and lose much where other work takes the processors.
    """
    trials = _checks.count(call, "trials", trials)
    seed = _checks.count(call, "seed", seed, least=0)
    results: list[Any] = []
    start = time.perf_counter()
    interrupted = False
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with plain_interrupts():
            for s in tqdm(range(seed, seed + trials), desc=call, unit="trial", disable=not progress):
                results.append(trial(s))
    except KeyboardInterrupt:
        if not results:
            raise
        interrupted = True
    finally:
        torch.set_num_threads(threads)
    return results, tuple(range(seed, seed + len(results))), time.perf_counter() - start, interrupted


def curve(name: str, quantity: str, runs: Sequence[Array]) -> Curve:
    """The curves of several trials in one array, padded with NaN."""
    values = np.full((len(runs), max(len(run) for run in runs)), np.nan)
    for line, run in zip(values, runs, strict=True):
        line[: len(run)] = run
    return Curve(name, quantity, values)


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _spread(mean: float, std: float) -> str:
    return f"{mean:.3g} +- {std:.2g}"
