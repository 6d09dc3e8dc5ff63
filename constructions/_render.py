"""The work behind `radial render`: a page to play with, or an animation, of a saved network or a new one."""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import constructions
from approx import _checks, storage
from approx.render import write_page
from constructions._arguments import add_domain, outputs, recall, show_progress, target_and_domain

__all__ = ["FORMATS", "add_options", "run"]

FORMATS = (".gif", ".html")
_SHARE = 0.1  # of the spread of the values: the tolerance if none is given


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("subject", metavar="FILE|TARGET", help="a saved network, or a target to build one for")
    parser.add_argument("target", metavar="TARGET", nargs="?", help="of a FILE, where the file does not name it")
    parser.add_argument("--out", metavar="PAGE", required=True, help="page.html, or growing.gif")
    parser.add_argument("--animate", action="store_true", help="as .html: the animation instead of the page")
    parser.add_argument("--eps", type=float, help="tolerance of the build (default: a tenth of the values' spread)")
    parser.add_argument("--builder", metavar="NAME", help="of the build (default: chosen for the target)")
    parser.add_argument("--frames", type=int, default=60, metavar="N", help="of the animation, at most (default 60)")
    add_domain(parser, "what to show (default: the target's own domain)")
    parser.add_argument("--quiet", action="store_true", help="no report")


@dataclass(frozen=True)
class _Subject:
    """What is shown: a construction, or what a file holds together with its target."""

    network: Any
    cover: Any
    target: Any
    eps: float | None
    note: str
    domain: Any


def run(args: argparse.Namespace) -> int:
    """Write the page or the animation that args ask for; returns the exit status."""
    out = outputs(args, inputs=[args.subject, *([args.target] if args.target else [])])["network"]
    kind = out.suffix.lower()
    if kind not in FORMATS:
        required = f"a file name that ends in {' or '.join(FORMATS)}"
        raise ValueError(_checks.message("radial render", repr(str(out)), required, "The ending chooses the format."))
    subject = _subject(args)
    if kind == ".html" and not args.animate:
        options = {"cover": subject.cover, "eps": subject.eps, "note": subject.note, "domain": subject.domain}
        write_page(out, subject.network, subject.target, **options)
    else:
        _animate(args, out, subject)
    if args.json:
        facts = {"target": subject.target.name, "eps": subject.eps, "hidden_layers": subject.network.hidden_layers}
        print(json.dumps(facts | {"files": {"page": str(out)}, "bytes": out.stat().st_size}, allow_nan=False))
    elif not args.quiet:
        eps = "" if subject.eps is None else f", eps = {subject.eps:g}"
        print(f"{'target':<14}{subject.target.name}{eps}")
        print(f"{'network':<14}{subject.network!r}")
        print(f"{'wrote':<14}{out} ({out.stat().st_size:,} bytes)")
    return 0


def _subject(args: argparse.Namespace) -> _Subject:
    if Path(args.subject).suffix.lower() == ".safetensors" or (args.target and os.path.isfile(args.subject)):
        if args.eps is not None or args.builder is not None:
            received = "--eps or --builder for a saved network"
            raise ValueError(_checks.message("radial render", received, "a TARGET to build for", "Drop them."))
        saved = storage.load(args.subject)
        target, domain = recall("radial render", args, saved)
        domain = domain if domain is not None and domain.compact else None
        theorem = str(saved.provenance.get("theorem", ""))
        return _Subject(saved.network, saved.cover, target, saved.eps, theorem, domain)
    if args.target is not None:
        received = f"{args.subject!r} and {args.target!r}"
        action = "Write networks with `radial build --out`, or name one target only."
        raise ValueError(_checks.message("radial render", received, "FILE TARGET, or TARGET alone", action))
    args.target = args.subject
    target, domain = target_and_domain(args)
    given = {} if args.builder is None else {"builder": args.builder}
    if args.builder != constructions.radial_basis.NAME:
        given["progress"] = show_progress(args)
    eps = _tolerance(target) if args.eps is None else args.eps
    built = constructions.build(target, eps, domain=domain, prove=False, **given)
    cover = getattr(built, "cover", None)
    return _Subject(built.network, cover, target, eps, getattr(built, "theorem", ""), domain)


def _tolerance(target: Any) -> float:
    """A tenth of the spread of the values, in one digit."""
    values = target(target.domain.sample(4096))
    spread = float(np.linalg.norm(values.max(axis=0) - values.min(axis=0)))
    return float(f"{_SHARE * (spread or 1.0):.0e}")


def _animate(args: argparse.Namespace, out: Path, subject: _Subject) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import animation, pyplot

    from approx import plotting

    domain = subject.target.domain if subject.domain is None else subject.domain
    shown = plotting.growth_animation(
        subject.network, subject.target, cover=subject.cover, domain=domain, frames=args.frames
    )
    try:
        with storage.replacing(out) as temporary:
            if out.suffix.lower() == ".html":
                temporary.write_text(shown.to_jshtml(fps=10), encoding="utf-8")
            else:
                gif = temporary.with_suffix(".gif")  # the writer goes by the ending
                shown.save(gif, writer=animation.PillowWriter(fps=10), dpi=100)
                gif.replace(temporary)
    finally:
        pyplot.close("all")
