"""What the commands share: options, how they are read, which files are written."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from approx import _checks, export, storage
from approx.domains import WholeSpace, parse_domain
from approx.targets import parse_target
from approx.targets.expressions import Expression

__all__ = [
    "PLOT_FORMATS",
    "add_domain",
    "add_measurement",
    "draw",
    "given",
    "outputs",
    "recall",
    "show_progress",
    "target_and_domain",
]

PLOT_FORMATS = ("jpg", "pdf", "png", "svg")
_MAX_DIM = 1000


def add_domain(parser: argparse.ArgumentParser, what: str = "where the error counts") -> None:
    parser.add_argument("--domain", metavar="SPEC", help=what)
    parser.add_argument("--dim", type=int, metavar="N", help="dimension, for gallery targets and formulas")
    parser.add_argument("--affine", metavar="FORMULA", help="the affine map that a formula tends to at infinity")
    parser.add_argument(
        "--tail", metavar="FORMULA", help="a bound of |formula - affine| for |x| >= r, such as exp(-r^2)"
    )


def add_measurement(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--samples", type=int, metavar="N", help="points of the measurement")
    parser.add_argument("--seed", type=int, default=0, help="of the measurement's points (default 0)")
    parser.add_argument("--plot", metavar="FILE", help=f"draw the result ({', '.join(PLOT_FORMATS)})")
    parser.add_argument("--quiet", action="store_true", help="no progress and no report")


def recall(call: str, args: argparse.Namespace, saved: storage.Saved) -> tuple[Any, Any]:
    """The target and the domain of a saved network: what the user names, else what the file says it was built for.

    Raises ValueError where neither names a target.
    """
    words, dim = saved.words, saved.network.dim_in
    if not args.target:
        if "target" not in words:
            name = saved.provenance.get("target")
            held = f"a file that was built for {_checks.show(name)}" if name else "a file that names no target"
            action = f"Name the target after the file, as in: {call} net.safetensors 'expr:x*y' or ... heights.csv"
            required = "the target besides, since a file keeps only formulas and names of the gallery"
            raise ValueError(_checks.message(call, held, required, action))
        args.target = words["target"]
        if args.affine is None and args.tail is None:
            args.affine, args.tail = words.get("affine"), words.get("tail")
    spec = words.get("domain")
    if args.domain is None and args.dim in (None, dim) and spec != "space":
        args.domain = spec
    target, domain = target_and_domain(args, dim)
    if domain is None and spec == "space" and target.dim_in == dim and target.affine:
        domain = WholeSpace(dim)
    return target, domain


def given(args: argparse.Namespace, *names: str) -> dict[str, Any]:
    """The options the user gave; for the others the library's own defaults hold."""
    return {name: getattr(args, name) for name in names if getattr(args, name) is not None}


def show_progress(args: argparse.Namespace) -> bool:
    return not args.quiet and sys.stderr.isatty()


def target_and_domain(args: argparse.Namespace, known: int | None = None) -> tuple[Any, Any]:
    """The target, and the domain or None if the user named none; `known` is the dimension if --dim is not given."""
    dim = known if args.dim is None else _checks.count("radial", "--dim", args.dim, most=_MAX_DIM)
    facts = {"lipschitz": getattr(args, "lipschitz", None), "affine": args.affine, "tail": args.tail}
    if args.domain is None:
        return parse_target(args.target, dim=dim, **facts), None
    kind, _, formula = args.target.strip().partition(":")
    if dim is None:  # a formula may be undefined on the default domain, so it is only parsed here
        dim = Expression(formula.strip()).dim_in if kind == "expr" else parse_target(args.target).dim_in
    domain = parse_domain(args.domain, dim)
    compact = domain if domain.compact else None
    return parse_target(args.target, dim=dim, domain=compact, **facts), domain


def outputs(args: argparse.Namespace, inputs: Iterable[str], *, saves: bool = False) -> dict[str, Path]:
    """The files to write, checked before the long work starts; saves: --out is a network in this package's format."""
    names = {"network": "out", "plot": "plot", "csv": "csv", "markdown": "markdown", "latex": "latex"}
    named = {kind: getattr(args, name, None) for kind, name in names.items()}
    files = {kind: storage.writable(path) for kind, path in named.items() if path is not None}
    if "plot" in files and files["plot"].suffix.lower().removeprefix(".") not in PLOT_FORMATS:
        required = f"a file name that ends in {', '.join('.' + name for name in PLOT_FORMATS)}"
        raise ValueError(_checks.message("--plot", repr(args.plot), required, "Rename it."))
    taken = {os.path.realpath(path) for path in inputs if os.path.exists(path)}
    for file in files.values():
        if str(file) in taken:
            required = "a file that is neither an input nor another output"
            raise ValueError(_checks.message("radial", repr(str(file)), required, "Choose another name."))
        taken.add(str(file))
    if saves and "network" in files:
        _check_network(files["network"])
    return files


def _check_network(file: Path) -> None:
    """A name that promises another format would mislead whoever opens the file."""
    kind = file.suffix.lower()
    if kind in export.FORMATS or kind.removeprefix(".") in (*PLOT_FORMATS, "html", "gif", "csv", "json"):
        action = "Save it so, then radial export writes other formats." if kind in export.FORMATS else "Rename it."
        required = "a name such as net.safetensors, as networks are saved in that format"
        raise ValueError(_checks.message("--out", repr(file.name), required, action))


def draw(file: Path, *subject: Any, picture: str = "overview", **options: Any) -> None:
    """Save approx.plotting.<picture>(*subject, ...) as `file`, without a display."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    from approx import plotting

    figure = getattr(plotting, picture)(*subject, **options)
    try:
        with storage.replacing(file) as temporary:
            figure.savefig(temporary, format=file.suffix.lower().removeprefix("."), dpi=150)
    finally:
        pyplot.close(figure)
