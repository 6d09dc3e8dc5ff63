"""The work behind `radial render`: a page to play with, or an animation, of a saved network or a new one."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["FORMATS", "add_options", "render"]

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
    parser.add_argument("--domain", metavar="SPEC", help="what to show (default: the target's own domain)")
    parser.add_argument("--dim", type=int, metavar="N", help="dimension, for gallery targets and formulas")
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


def render(args: argparse.Namespace, out: Path, find: Callable[..., tuple[Any, Any]], progress: bool) -> int:
    """Write the page or the animation that args ask for; `find` reads args.target and args.domain."""
    from approx import _checks, storage

    kind = out.suffix.lower()
    if kind not in FORMATS:
        required = f"a file name that ends in {' or '.join(FORMATS)}"
        raise ValueError(_checks.message("radial render", repr(str(out)), required, "The ending chooses the format."))
    subject = _subject(args, find, progress)
    if kind == ".html" and not args.animate:
        from approx.render import write_page

        options = {"cover": subject.cover, "eps": subject.eps, "note": subject.note, "domain": subject.domain}
        write_page(out, subject.network, subject.target, **options)
    else:
        _animate(args, out, subject, storage.replacing)
    if args.json:
        facts = {"target": subject.target.name, "eps": subject.eps, "hidden_layers": subject.network.hidden_layers}
        print(json.dumps(facts | {"files": {"page": str(out)}, "bytes": out.stat().st_size}, allow_nan=False))
    elif not args.quiet:
        eps = "" if subject.eps is None else f", eps = {subject.eps:g}"
        print(f"{'target':<14}{subject.target.name}{eps}")
        print(f"{'network':<14}{subject.network!r}")
        print(f"{'wrote page':<14}{out} ({out.stat().st_size:,} bytes)")
    return 0


def _subject(args: argparse.Namespace, find: Callable[..., tuple[Any, Any]], progress: bool) -> _Subject:
    from approx import _checks, storage

    if Path(args.subject).suffix.lower() == ".safetensors" or (args.target and os.path.isfile(args.subject)):
        if args.eps is not None or args.builder is not None:
            received = "--eps or --builder for a saved network"
            raise ValueError(_checks.message("radial render", received, "a TARGET to build for", "Drop them."))
        saved = storage.load(args.subject)
        args.target = args.target or _remembered(saved)
        target, domain = find(args, saved.network.dim_in)
        eps = saved.provenance.get("eps")
        eps = float(eps) if isinstance(eps, int | float) and eps > 0 else None
        return _Subject(saved.network, saved.cover, target, eps, str(saved.provenance.get("theorem", "")), domain)
    if args.target is not None:
        received = f"{args.subject!r} and {args.target!r}"
        action = "Write networks with `radial build --out`, or name one target only."
        raise ValueError(_checks.message("radial render", received, "FILE TARGET, or TARGET alone", action))
    import constructions

    args.target = args.subject
    target, domain = find(args, None)
    given = {} if args.builder is None else {"builder": args.builder}
    if args.builder != constructions.radial_basis.NAME:
        given["progress"] = progress
    eps = _tolerance(target) if args.eps is None else args.eps
    built = constructions.build(target, eps, domain=domain, prove=False, **given)
    cover = getattr(built, "cover", None)
    return _Subject(built.network, cover, target, eps, getattr(built, "theorem", ""), domain)


def _remembered(saved: Any) -> str:
    from approx import _checks
    from approx.targets import GALLERY

    name = saved.provenance.get("target")
    if name not in GALLERY:
        action = "Name the target after the file, as in: radial render net.safetensors 'expr:x*y' --out page.html"
        raise ValueError(_checks.message("radial render", "a file alone", "a file that names a gallery target", action))
    return name


def _tolerance(target: Any) -> float:
    """A tenth of the spread of the values, in one digit."""
    import numpy as np

    values = target(target.domain.sample(4096))
    spread = float(np.linalg.norm(values.max(axis=0) - values.min(axis=0)))
    return float(f"{_SHARE * (spread or 1.0):.0e}")


def _animate(args: argparse.Namespace, out: Path, subject: _Subject, replacing: Any) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import animation, pyplot

    from approx import plotting

    domain = subject.target.domain if subject.domain is None else subject.domain
    shown = plotting.growth_animation(
        subject.network, subject.target, cover=subject.cover, domain=domain, frames=args.frames
    )
    try:
        with replacing(out) as temporary:
            if out.suffix.lower() == ".html":
                temporary.write_text(shown.to_jshtml(fps=10), encoding="utf-8")
            else:
                gif = temporary.with_suffix(".gif")  # the writer goes by the ending
                shown.save(gif, writer=animation.PillowWriter(fps=10), dpi=100)
                gif.replace(temporary)
    finally:
        pyplot.close("all")
