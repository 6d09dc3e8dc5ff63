"""The command ``radial evaluate``: the error of a saved network, measured."""

from __future__ import annotations

import argparse

from approx import storage
from approx.evaluation import sup_error
from constructions._arguments import (
    add_domain,
    add_measurement,
    built_for,
    draw,
    given,
    outputs,
    remembered,
    show_progress,
    target_and_domain,
)
from constructions._printing import show

__all__ = ["add_options", "run"]


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE")
    parser.add_argument("target", metavar="TARGET", nargs="?", help="default: the gallery target that FILE names")
    add_domain(parser)
    add_measurement(parser)


def run(args: argparse.Namespace) -> int:
    files = outputs(args, inputs=[args.file, *([args.target] if args.target else [])])
    saved = storage.load(args.file)
    args.target = args.target or remembered("radial evaluate", saved)
    target, domain = target_and_domain(args, saved.network.dim_in)
    report = sup_error(
        saved.network,
        target,
        domain,
        cover=saved.cover,
        seed=args.seed,
        progress=show_progress(args),
        **given(args, "samples"),
    )
    eps = built_for(saved)
    if "plot" in files:
        draw(files["plot"], saved.network, target, report=report, eps=eps, domain=report.domain)
    rows = {"file": args.file, "target": target.name, "domain": str(report.domain)}
    show(args, rows, rows | {"eps": eps}, saved.network, report, eps, files)
    return 0
