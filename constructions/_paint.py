"""The work behind `radial build` without a tolerance: the best picture with so many ellipsoids."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from approx import _checks, storage
from approx.evaluation import sup_error
from constructions._arguments import draw, show_progress
from constructions._printing import show
from constructions.painting import paint

__all__ = ["paint_target"]


def paint_target(args: argparse.Namespace, files: dict[str, Path], target: Any, domain: Any) -> None:
    """Paint the target, save the network, draw the picture, print what args ask for."""
    progress = show_progress(args)
    given = [name for name in ("builder", "cover", "values") if getattr(args, name) is not None]
    if given or args.dtype != "float64":
        received = f"--{given[0] if given else 'dtype'} without --eps"
        action = "Pass --eps, or leave it out: painting has its own cover and takes constant_width in float64."
        raise ValueError(_checks.message("radial build", received, "--max-layers alone", action))
    budget = {} if args.max_seconds is None else {"max_seconds": args.max_seconds}
    painting = paint(target, args.max_layers, domain=domain, seed=args.seed, progress=progress, **budget)
    network, cover = painting.network(), painting.cover()
    options = {} if args.samples is None else {"samples": args.samples}
    report = sup_error(network, target, painting.domain, cover=cover, seed=args.seed, progress=progress, **options)
    facts = {
        "target": target.name,
        "eps": None,
        "domain": str(painting.domain),
        "builder": "constant_width",
        "theorem": "Theorem 5",
        "cover": cover.strategy,
        "cells": len(painting),
        "rms": float(painting.rms[-1]),
        "nodes": list(painting.nodes),
        "rms_curve": painting.rms.tolist(),
        "largest_curve": painting.largest.tolist(),
        "rests_on": list(report.rests_on),
        "seconds": painting.seconds,
    }
    if "network" in files:
        kept = {key: value for key, value in facts.items() if not key.endswith("_curve")}
        measured = {"lower": report.lower, "upper": report.upper, "claim": report.claim}
        storage.save(files["network"], network, cover=cover, provenance=kept | measured)
    if "plot" in files:
        draw(files["plot"], painting, picture="painting_picture")
    rows = {
        "target": f"{target.name}, R^{target.dim_in} -> R^{target.dim_out}, {target.commentary}",
        "domain": str(painting.domain),
        "theorem": "Theorem 5 (constant_width)",
        "cells": f"{len(painting):,}, painted one on top of the other",
        "rms error": f"{painting.rms[-1]:.6g} at {' x '.join(map(str, painting.nodes))} nodes, "
        f"{painting.rms[0]:.6g} before the first ellipsoid",
    }
    show(args, rows, facts, network, report, None, files)
