"""The command ``radial reproduce``: the experiments of arXiv 2107.02550 with the paper's numbers beside ours."""

from __future__ import annotations

import argparse
import inspect
import json
from typing import Any

from approx import _checks, experiments, storage
from constructions._arguments import draw, outputs, show_progress

__all__ = ["add_options", "run"]

_OPTIONS = ("noise", "digit", "mnist")  # of experiment 4 alone


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "experiment", metavar="EXPERIMENT", choices=("1", "2", "3", "4", "all"), help="1, 2, 3, 4 or all"
    )
    parser.add_argument("--trials", type=int, default=10, metavar="N", help="random starts (default 10)")
    parser.add_argument("--seed", type=int, default=0, help="of the first trial; the others count up (default 0)")
    parser.add_argument("--noise", type=float, nargs="+", metavar="X", help="experiment 4: noise levels (default 0.5)")
    parser.add_argument("--digit", type=int, help="experiment 4: which digit the images show (default 3)")
    parser.add_argument("--mnist", metavar="FOLDER", help="experiment 4: MNIST's IDX files instead of scikit-learn's")
    parser.add_argument("--csv", metavar="FILE", help="write the value of every trial here")
    parser.add_argument("--plot", metavar="FILE", help="draw the curves over the epochs")
    parser.add_argument("--quiet", action="store_true", help="no progress and no report")


def run(args: argparse.Namespace) -> int:
    """Run the experiments that `args` names, print their tables, write and draw them; returns the exit status."""
    files = outputs(args, inputs=[])
    call = "radial reproduce"
    _checks.count(call, "--trials", args.trials)
    _checks.count(call, "--seed", args.seed, least=0)
    chosen = list(experiments.EXPERIMENTS) if args.experiment == "all" else [int(args.experiment)]
    given = {name: getattr(args, name) for name in _OPTIONS if getattr(args, name) is not None}
    if given and 4 not in chosen:
        received = f"--{next(iter(given))} with experiment {args.experiment}"
        raise ValueError(_checks.message(call, received, "experiment 4 or all", "Leave the option out."))
    if "plot" in files and chosen == [1]:
        received = "--plot with experiment 1, which trains nothing"
        raise ValueError(_checks.message(call, received, "experiment 2, 3, 4 or all", "Leave --plot out."))
    results: list[Any] = []
    for number in chosen:
        experiment = experiments.EXPERIMENTS[number]
        options = {name: value for name, value in given.items() if name in inspect.signature(experiment).parameters}
        results.append(experiment(trials=args.trials, seed=args.seed, progress=show_progress(args), **options))
        if not (args.json or args.quiet):
            print(results[-1], end="\n\n", flush=True)
        if results[-1].interrupted:
            break
    if "csv" in files:
        head, *_ = results[0].to_csv().splitlines()
        lines = [line for result in results for line in result.to_csv().splitlines()[1:]]
        with storage.replacing(files["csv"]) as temporary:
            temporary.write_text("\n".join([head, *lines, ""]), encoding="utf-8")
    if args.json:
        facts = [result.to_dict() for result in results]
        print(json.dumps({"experiments": facts, "files": {k: str(v) for k, v in files.items()}}, allow_nan=False))
    drawn = [result for result in results if result.curves]
    if "plot" in files and drawn:
        draw(files["plot"], drawn, picture="experiments_picture")
    return 130 if results[-1].interrupted else 0
