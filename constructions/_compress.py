"""The work behind `radial compress`: read a network, compress it, write it, report."""

from __future__ import annotations

import argparse
import json
import math

from approx import compress, storage
from constructions._arguments import add_measurement, draw, outputs
from constructions._printing import runs

__all__ = ["add_options", "run"]

_BOUNDS = ("lower", "upper", "claim", "rests_on", "certificate")  # of the weights as they were


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE")
    parser.add_argument("--out", metavar="FILE", required=True, help="save the smaller network here")
    parser.add_argument("--tol", type=float, default=0.0, help="how far it may differ (default 0: lossless)")
    parser.add_argument("--method", choices=("qr", "rank", "diagonal"), help="default: qr, or rank with --tol")
    parser.add_argument("--radius", type=float, default=1.0, metavar="R", help="of the ball that counts (default 1)")
    add_measurement(parser)


def run(args: argparse.Namespace) -> int:
    """Compress the network in args.file into args.out, print and draw what args ask for; returns the exit status.

    The cover stays with a network that computes the same function, and goes with a tolerance.
    """
    files = outputs(args, inputs=[args.file], saves=True)
    saved = storage.load(args.file)
    given = {name: getattr(args, name) for name in ("method", "samples") if getattr(args, name) is not None}
    result = compress(saved.network, tol=args.tol, radius=args.radius, seed=args.seed, **given)
    facts = {
        "method": result.method,
        "tol": args.tol,
        "bound": result.bound,
        "radius": args.radius,
        "deviation": _finite(result.deviation),
        "scale": _finite(result.scale),
        "samples": result.samples,
    }
    before, after = result.parameters
    facts |= {"parameters_before": before, "parameters": after}
    storage.save(
        files["network"],
        result.network,
        cover=saved.cover if result.bound is None else None,
        provenance={key: value for key, value in saved.provenance.items() if key not in _BOUNDS}
        | {"compressed": facts},
    )
    if args.json:
        facts = {"file": args.file, **facts, "files": {kind: str(file) for kind, file in files.items()}}
        facts |= {"hidden_widths_before": runs(result.widths[1:-1])}
        facts |= {"hidden_widths": runs(result.reduced_widths[1:-1])}
        print(json.dumps(facts, allow_nan=False))
    elif not args.quiet:
        print(result)
        print()
        print(result.table())
    if "plot" in files:
        draw(files["plot"], result, picture="compression_picture")
    return 0


def _finite(value: float | None) -> float | None:
    """JSON has no infinity, which a network that overflows at the samples gives."""
    return value if value is not None and math.isfinite(value) else None
