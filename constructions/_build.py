"""The command ``radial build``: from a target and a tolerance to a network and a report."""

from __future__ import annotations

import argparse
import math
import os
import sys

import torch

import constructions
from approx import _checks
from constructions._arguments import add_domain, add_measurement, draw, given, outputs, show_progress, target_and_domain
from constructions._paint import paint_target
from constructions._printing import show

__all__ = ["add_options", "run"]


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("target", metavar="TARGET")
    parser.add_argument("--eps", type=float, help="tolerance of the sup norm, > 0")
    parser.add_argument(
        "--builder",
        metavar="NAME",
        help="widening, constant_width, narrow, minimal or radial_basis (default: one of the first three)",
    )
    parser.add_argument("--layers", type=int, metavar="N", help="hidden layers (radial_basis; instead of --eps)")
    parser.add_argument("--activation", metavar="NAME", help="radial_basis: shifted_relu, radial_swish, ...")
    parser.add_argument(
        "--cover",
        metavar="NAME",
        help="uniform, adaptive, nested, greedy or auto (the default: the fewest cells of the first three)",
    )
    parser.add_argument("--values", choices=("center", "chebyshev"), help="value of a cell: f(center), or mid-range")
    parser.add_argument("--lipschitz", type=float, metavar="L", help="Lipschitz constant of the target, if you know it")
    parser.add_argument("--dtype", choices=("float64", "float32"), default="float64", help="of the weights")
    parser.add_argument(
        "--max-layers", type=int, metavar="N", help="refuse more hidden layers; without --eps, paint with so many cells"
    )
    parser.add_argument(
        "--max-seconds",
        type=float,
        metavar="S",
        help="--cover greedy: fill up with small cells after this time; without --eps, stop painting",
    )
    parser.add_argument("--tries", type=int, metavar="N", help="--cover greedy: take the best of N searches")
    parser.add_argument("--no-proof", action="store_true", help="measure only, without certifying an upper bound")
    parser.add_argument("--out", metavar="FILE", help="save the network here (safetensors)")
    add_domain(parser)
    add_measurement(parser)


def run(args: argparse.Namespace) -> int:
    files = outputs(args, inputs=[args.target], saves=True)
    target, domain = target_and_domain(args)
    if args.eps is None and args.max_layers is not None and args.builder != constructions.radial_basis.NAME:
        paint_target(args, files, target, domain)
        return 0
    cellular = ("cover", "values", "max_seconds", "tries")
    options = given(args, "builder", *cellular, "layers", "activation", "max_layers", "samples")
    if args.builder == constructions.radial_basis.NAME:
        strange = ["--" + name.replace("_", "-") for name in cellular if name in options]
        options |= {"prove": False} if args.no_proof else {}
    else:
        strange = [f"--{name}" for name in ("layers", "activation") if name in options]
        strange += ["no --eps"] if args.eps is None else []
        if strange == ["no --eps"]:
            action = "Pass --eps 0.1, say; --max-layers N alone paints with N cells."
            raise ValueError(_checks.message("radial build", "no --eps", "a tolerance of the error", action))
        options |= {"progress": show_progress(args), "prove": not args.no_proof}
        if args.cover in constructions.covers.SEARCHES:  # so that Ctrl-C keeps the cells that are there
            options.setdefault("max_seconds", math.inf)
    if strange:
        required = (
            "--eps; --cover, --values, --max-seconds, --tries for builders from cells, --layers, --activation for "
            "radial_basis"
        )
        raise ValueError(_checks.message("radial build", " and ".join(strange), required, "Change the options."))
    try:
        built = constructions.build(
            target, args.eps, domain=domain, dtype=getattr(torch, args.dtype), seed=args.seed, **options
        )
    except constructions.ToleranceMissed as missed:
        print(f"radial: {missed}", file=sys.stderr)
        return 1
    assert built.report is not None, "the command always measures"
    provenance = built.provenance()
    if "network" in files:
        built.save(files["network"])
    if "plot" in files:
        draw(files["plot"], built)
    rows = {
        "target": f"{target.name}, R^{target.dim_in} -> R^{target.dim_out}"
        + (f", {target.commentary}" if os.path.exists(args.target) else ""),
        "domain": str(built.domain),
        "theorem": f"{built.theorem} ({built.builder})",
        "because": built.reason,
        "known of f": f"Lipschitz constant {target.lipschitz:.6g} ({target.lipschitz_source})"
        if target.lipschitz is not None
        else "a modulus",
    }
    bound = None
    if isinstance(built, constructions.RadialBasis):  # no Step-ReLU network: without cells, and no bound of its depth
        rows |= built.figures()
    else:
        bound = built.lower_bound
        rows["cells"] = f"{len(built.cover):,}, {built.cover.strategy}"
    if bound is not None:
        rows["least layers"] = f"{bound.layers:,} in any Step-ReLU network with this tolerance"
    facts = provenance | {"reason": built.reason, "depth_bound": None if bound is None else bound.layers}
    show(args, rows, facts, built.network, built.report, args.eps, files)
    return 1 if args.eps is not None and built.report.refutes(args.eps) else 0
