"""The work behind `radial compress`: read a network, compress it, write it, report."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

__all__ = ["compress_file"]

_BOUNDS = ("lower", "upper", "claim", "rests_on", "certificate")  # of the weights as they were


def compress_file(args: argparse.Namespace, files: dict[str, Path]) -> Any:
    """Compress the network in args.file into files["network"], print what args ask for; returns the Compression.

    The cover stays with a network that computes the same function, and goes with a tolerance.
    """
    from approx import compress, storage

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
        facts |= {"hidden_widths_before": list(result.widths[1:-1]), "hidden_widths": list(result.reduced_widths[1:-1])}
        print(json.dumps(facts, allow_nan=False))
    elif not args.quiet:
        print(result)
        print()
        print(result.table())
    return result


def _finite(value: float | None) -> float | None:
    """JSON has no infinity, which a network that overflows at the samples gives."""
    return value if value is not None and math.isfinite(value) else None
