"""The command ``radial evaluate``: the error of a saved network, measured."""

from __future__ import annotations

import argparse

from approx import storage
from approx.evaluation import sup_error
from constructions._arguments import (
    add_domain,
    add_measurement,
    draw,
    given,
    outputs,
    recall,
    show_progress,
)
from constructions._printing import show

__all__ = ["add_options", "run"]


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE")
    parser.add_argument(
        "target", metavar="TARGET", nargs="?", help="default: what FILE was built for, a gallery target or a formula"
    )
    add_domain(parser)
    add_measurement(parser)


def run(args: argparse.Namespace) -> int:
    files = outputs(args, inputs=[args.file, *([args.target] if args.target else [])])
    saved = storage.load(args.file)
    target, domain = recall("radial evaluate", args, saved)
    report = sup_error(
        saved.network,
        target,
        domain,
        cover=saved.cover,
        seed=args.seed,
        progress=show_progress(args),
        **given(args, "samples"),
    )
    eps = saved.eps
    if "plot" in files:
        draw(files["plot"], saved.network, target, report=report, eps=eps, domain=report.domain)
    rows = {"file": args.file, "target": target.name, "domain": str(report.domain)}
    show(args, rows, rows | {"eps": eps}, saved.network, report, eps, files)
    return 1 if eps is not None and report.refutes(eps) else 0
