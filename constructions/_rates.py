"""The command ``radial rates``: how the number of layers grows as the tolerance shrinks."""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import pickle
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import replace
from typing import Any

from approx import _checks, storage
from approx.rates import BASELINES, Budget, end_at_interrupts
from constructions import rates
from constructions._arguments import add_domain, draw, given, outputs, show_progress, target_and_domain

__all__ = ["add_options", "run"]

_CALL = "radial rates"


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("target", metavar="TARGET")
    parser.add_argument("--eps", required=True, metavar="E,E,...", help="tolerances, such as 0.2,0.1,0.05")
    parser.add_argument("--covers", metavar="NAME,...", help="cover strategies (default: all)")
    parser.add_argument("--builders", metavar="NAME,...", help="builders (default: the one that build chooses)")
    parser.add_argument("--baselines", metavar="NAME,...", help="radial, relu, grid, rbf, or all")
    parser.add_argument("--seeds", type=int, metavar="N", help="networks that a trained baseline trains (default 3)")
    parser.add_argument("--steps", type=int, metavar="N", help="steps of their training (default 1000)")
    parser.add_argument("--values", choices=("center", "chebyshev"), help="value of a cell: f(center), or mid-range")
    parser.add_argument("--lipschitz", type=float, metavar="L", help="Lipschitz constant of the target, if you know it")
    parser.add_argument("--max-layers", type=int, metavar="N", help="refuse to build more hidden layers than this")
    parser.add_argument("--samples", type=int, metavar="N", help="points of the measurement")
    parser.add_argument("--no-proof", action="store_true", help="measure only, without certifying upper bounds")
    add_domain(parser)
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes (default 1)")
    parser.add_argument("--cache", metavar="FILE", help="keep finished points here, and take them from here")
    for name in ("csv", "markdown", "latex"):
        parser.add_argument(f"--{name}", metavar="FILE", help=f"write the table here ({name})")
    parser.add_argument("--plot", metavar="FILE", help="draw layers over eps, and errors over parameters")
    parser.add_argument("--quiet", action="store_true", help="no progress and no table")


def run(args: argparse.Namespace) -> int:
    """Sweep as `args` say, print, write and draw the table; returns the exit status."""
    files = outputs(args, inputs=[args.target, *([args.cache] if args.cache else [])])
    target, domain = target_and_domain(args)
    short = {"radial": "trained radial", "relu": "trained ReLU", "grid": "grid", "rbf": "RBF"}
    names = _names(args.baselines) or []
    names = list(short) if names == ["all"] else names
    kinds = [short[_checks.one_of(_CALL, "--baselines", name, [*short, "all"])] for name in names]
    assert set(short.values()) == set(BASELINES), "every baseline has a short name"
    options = given(args, "values", "max_layers", "samples")
    options |= {"domain": domain} if domain is not None else {}
    options |= {"prove": False} if args.no_proof else {}
    budget = Budget()
    if args.seeds is not None:
        budget = replace(budget, seeds=tuple(range(_checks.count(_CALL, "--seeds", args.seeds))))
    if args.steps is not None:
        budget = replace(budget, steps=args.steps)
    with _processes(_checks.count(_CALL, "--jobs", args.jobs), target) as executor:
        table = rates.sweep(
            target,
            _tolerances(args.eps),
            _names(args.covers),
            _names(args.builders) or (None,),
            baselines=kinds,
            budget=budget,
            executor=executor,
            cache=args.cache,
            progress=show_progress(args),
            **options,
        )
    texts = {"csv": table.to_csv, "markdown": table.to_markdown, "latex": table.to_latex}
    for kind, text in texts.items():
        if kind in files:
            with storage.replacing(files[kind]) as temporary:
                temporary.write_text(text(), encoding="utf-8")
    if args.json:
        print(json.dumps(table.to_dict() | {"files": {k: str(v) for k, v in files.items()}}, allow_nan=False))
    elif not args.quiet:
        print(table)
        if table.interrupted:
            print("the same command goes on from here" if args.cache else "with --cache FILE one can go on from here")
    if "plot" in files:
        draw(files["plot"], table, picture="rates_picture")
    if table.interrupted:
        return 130
    return 0 if any(row.parameters is not None for row in table.rows) else 1


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def _tolerances(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        action = "Write --eps 0.2,0.1,0.05, say."
        raise ValueError(_checks.message(_CALL, f"--eps {text}", "numbers with commas between", action)) from None


@contextlib.contextmanager
def _processes(jobs: int, target: Any) -> Iterator[Executor | None]:
    """A pool of so many processes, started afresh, since forking a process with threads may hang; None for one."""
    if jobs == 1:
        yield None
        return
    try:
        pickle.dumps(target)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        received = f"--jobs {jobs} with a target that cannot be sent to other processes ({error})"
        raise ValueError(_checks.message(_CALL, received, "--jobs 1", "Leave --jobs out.")) from None
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=end_at_interrupts) as pool:
        yield pool
