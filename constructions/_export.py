"""The work behind `radial export`: read a network, write it in another format, compare the two."""

from __future__ import annotations

import argparse
import json
from typing import Any

from approx import _checks, export, storage
from constructions._arguments import outputs

__all__ = ["add_options", "run"]


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE")
    parser.add_argument("--out", metavar="FILE", required=True, help="the ending chooses: .onnx, .npz, .py, .pt, .pt2")
    parser.add_argument("--samples", type=int, default=10_000, metavar="N", help="points to compare at (default 10000)")
    parser.add_argument("--quiet", action="store_true", help="no report")


def run(args: argparse.Namespace) -> int:
    """Write the network to args.out, run that file at sample points and report; returns the exit status."""
    out = outputs(args, inputs=[args.file])["network"]
    samples = _checks.count("radial export", "--samples", args.samples)
    saved = storage.load(args.file)
    export.write(out, saved.network)
    facts: dict[str, Any] = {"file": args.file, "files": {"network": str(out)}, "bytes": out.stat().st_size}
    try:
        function = export.read(out)
    except ImportError as missing:
        facts |= {"compared": 0, "reason": str(missing)}
        said, status = f"not compared: {missing}", 0
    else:
        points = export.probe(saved.network, saved.cover, samples)
        check = export.compare(saved.network, function(points), points)
        facts |= {"compared": check.points, "largest_difference": check.largest, "tolerance": check.tolerance}
        facts |= {"other_side": check.other_side, "wrong": check.wrong}
        status = 0 if check.agrees else 1
        said = f"{check.points:,} points, largest difference {check.largest:.3g}"
        if check.other_side:
            said += f", {check.other_side:,} points within rounding of a boundary"
        if check.wrong and check.example is not None:
            said += f", {check.wrong:,} points WRONG, such as {check.example.tolist()}"
    if args.json:
        print(json.dumps(facts, allow_nan=False))
    elif not args.quiet:
        rows = {"file": args.file, "network": repr(saved.network), "compared": said}
        rows |= {"wrote network": f"{out} ({facts['bytes']:,} bytes)"}
        for name, text in rows.items():
            print(f"{name:<14}{text}")
    return status
