"""The command ``radial gallery``: the ready-made targets."""

from __future__ import annotations

import argparse
import json
import textwrap
from typing import Any

import numpy as np

from approx.targets import GALLERY, Target
from constructions._arguments import PLOT_FORMATS, draw, outputs

__all__ = ["add_options", "run"]


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--plot", metavar="FILE", help=f"draw them all on one sheet ({', '.join(PLOT_FORMATS)})")


def run(args: argparse.Namespace) -> int:
    files = outputs(args, inputs=[])
    if "plot" in files:
        draw(files["plot"], picture="gallery_sheet")
    entries: list[dict[str, Any]] = []
    for name, factory in GALLERY.items():
        target = factory()
        entries.append(
            {
                "name": name,
                "dim_in": target.dim_in,
                "dim_out": target.dim_out,
                "domain": str(target.domain),
                "lipschitz": target.lipschitz,
                "spread": _spread(target),
                "everywhere": target.affine is not None and target.tail is not None,
                "commentary": target.commentary,
            }
        )
    if args.json:
        print(json.dumps(entries, allow_nan=False))
        return 0
    for entry in entries:
        reach = f"all of R^{entry['dim_in']}" if entry["everywhere"] else "compact domains"
        print(f"{entry['name']}  R^{entry['dim_in']} -> R^{entry['dim_out']} on {entry['domain']}, for {reach}")
        print(f"    Lipschitz constant {entry['lipschitz']:.6g}, values spread over {entry['spread']:.4g}")
        print(textwrap.fill(entry["commentary"], 100, initial_indent="    ", subsequent_indent="    ") + "\n")
    return 0


def _spread(target: Target) -> float:
    """The diagonal of the bounding box of the values at a grid of points of the domain."""
    values = target(target.domain.bounding_box().grid(129))  # every gallery target is planar by default
    return float(np.linalg.norm(values.max(axis=0) - values.min(axis=0)))
