"""The command line: ``radial gallery``, ``radial build``, ``radial evaluate``, ``radial certify``,
``radial compress``, ``radial export``, ``radial rates``, ``radial render``, ``radial reproduce``.

Exit status: 0 success, 1 the error exceeds eps or is not proved to stay within it, 2 wrong input or a refused build
(one line on stderr), 130 interrupted. With --json the result is one JSON object on stdout and nothing else goes there.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any, NoReturn

from constructions import _export, _help, _paint, _rates, _render, _reproduce
from constructions._printing import show

# numpy, torch and numba are imported where they are used, so that --help answers at once.

__all__ = ["main"]

PLOT_FORMATS = ("jpg", "pdf", "png", "svg")
MAX_DIM = 1000


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command `radial` with these arguments (default: sys.argv[1:]); returns the exit status.

    Raises SystemExit(0) for --help; every other outcome is a status.
    """
    try:
        args = _parser().parse_args(argv)
        status = args.run(args)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        print("radial: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, TypeError, OSError, ImportError, MemoryError, RuntimeError) as error:
        text = " ".join(str(error).split()) or type(error).__name__
        print(f"radial: error: {text}", file=sys.stderr)
        return 2


class _Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are errors like all others: one line, status 2."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message} (see {self.prog} --help)")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="radial",
        description="Build explicit radial networks that approximate a function, and measure their error.",
        epilog=_help.MAIN,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Any, summary: str, epilog: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(
            name,
            help=summary,
            description=summary,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        sub.set_defaults(run=run)
        sub.add_argument("--json", action="store_true", help="print one JSON value on stdout")
        return sub

    gallery = command("gallery", _gallery, "List the ready-made targets.", _help.GALLERY)
    gallery.add_argument("--plot", metavar="FILE", help=f"draw them all on one sheet ({', '.join(PLOT_FORMATS)})")

    build = command("build", _build, "Build a network for a target and measure its error.", _help.BUILD)
    build.add_argument("target", metavar="TARGET")
    build.add_argument("--eps", type=float, help="tolerance of the sup norm, > 0")
    build.add_argument(
        "--builder",
        metavar="NAME",
        help="widening, constant_width, narrow, minimal or radial_basis (default: one of the first three)",
    )
    build.add_argument("--layers", type=int, metavar="N", help="hidden layers (radial_basis; instead of --eps)")
    build.add_argument("--activation", metavar="NAME", help="radial_basis: shifted_relu, radial_swish, ...")
    build.add_argument(
        "--cover",
        metavar="NAME",
        help="uniform, adaptive, nested, greedy or auto (the default: the fewest cells of the first three)",
    )
    build.add_argument("--values", choices=("center", "chebyshev"), help="value of a cell: f(center), or mid-range")
    build.add_argument("--lipschitz", type=float, metavar="L", help="Lipschitz constant of the target, if you know it")
    build.add_argument("--dtype", choices=("float64", "float32"), default="float64", help="of the weights")
    build.add_argument(
        "--max-layers", type=int, metavar="N", help="refuse more hidden layers; without --eps, paint with so many cells"
    )
    build.add_argument(
        "--max-seconds",
        type=float,
        metavar="S",
        help="--cover greedy: fill up with small cells after this time; without --eps, stop painting",
    )
    build.add_argument("--no-proof", action="store_true", help="measure only, without certifying an upper bound")
    build.add_argument("--out", metavar="FILE", help="save the network here (safetensors)")
    evaluate = command("evaluate", _evaluate, "Measure the error of a saved network.", _help.EVALUATE)
    evaluate.add_argument("file", metavar="FILE")
    evaluate.add_argument("target", metavar="TARGET")
    certify = command("certify", _certify, "Prove bounds of the error of a saved network.", _help.CERTIFY)
    certify.add_argument("file", metavar="FILE")
    certify.add_argument("target", metavar="TARGET")
    certify.add_argument("--eps", type=float, help="what to prove (default: the tolerance of the build)")
    certify.add_argument("--tol", type=float, help="stop when the bounds are this close (default: once eps is decided)")
    certify.add_argument(
        "--lipschitz", type=float, metavar="L", help="Lipschitz constant of the target, if you know it"
    )
    certify.add_argument("--max-seconds", type=float, default=60.0, metavar="S", help="budget (default 60)")
    certify.add_argument("--recheck", action="store_true", help="confirm the result in Arb's ball arithmetic")
    certify.add_argument("--out", metavar="FILE", help="save the network here with this certificate in its header")
    certify.add_argument("--quiet", action="store_true", help="no progress and no report")
    compress = command("compress", _compress, "Make a saved network smaller.", _help.COMPRESS)
    compress.add_argument("file", metavar="FILE")
    compress.add_argument("--out", metavar="FILE", required=True, help="save the smaller network here")
    compress.add_argument("--tol", type=float, default=0.0, help="how far it may differ (default 0: lossless)")
    compress.add_argument("--method", choices=("qr", "rank", "diagonal"), help="default: qr, or rank with --tol")
    compress.add_argument("--radius", type=float, default=1.0, metavar="R", help="of the ball that counts (default 1)")
    _export.add_options(
        command("export", _export_network, "Write a saved network for programs without this package.", _help.EXPORT)
    )
    _rates.add_options(command("rates", _sweep, "Tabulate layers over tolerances, with observed orders.", _help.RATES))
    _render.add_options(
        command("render", _render_page, "Write a page or an animation that shows a network at work.", _help.RENDER)
    )
    _reproduce.add_options(
        command("reproduce", _run_experiments, "Repeat the experiments of arXiv 2107.02550.", _help.REPRODUCE)
    )
    for sub in (build, evaluate, certify):
        sub.add_argument("--domain", metavar="SPEC", help="where the error counts")
        sub.add_argument("--dim", type=int, metavar="N", help="dimension, for gallery targets and formulas")
    for sub in (build, evaluate, compress):
        sub.add_argument("--samples", type=int, metavar="N", help="points of the measurement")
        sub.add_argument("--seed", type=int, default=0, help="of the measurement's points (default 0)")
        sub.add_argument("--plot", metavar="FILE", help=f"draw the result ({', '.join(PLOT_FORMATS)})")
        sub.add_argument("--quiet", action="store_true", help="no progress and no report")
    return parser


def _gallery(args: argparse.Namespace) -> int:
    from approx.targets import GALLERY

    files = _outputs(args, inputs=[])
    if "plot" in files:
        _draw(files["plot"], picture="gallery_sheet")
    entries = []
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
    import textwrap

    for entry in entries:
        reach = f"all of R^{entry['dim_in']}" if entry["everywhere"] else "compact domains"
        print(f"{entry['name']}  R^{entry['dim_in']} -> R^{entry['dim_out']} on {entry['domain']}, for {reach}")
        print(f"    Lipschitz constant {entry['lipschitz']:.6g}, values spread over {entry['spread']:.4g}")
        print(textwrap.fill(entry["commentary"], 100, initial_indent="    ", subsequent_indent="    ") + "\n")
    return 0


def _spread(target: Any) -> float:
    """The diagonal of the bounding box of the values at a grid of points of the domain."""
    import numpy as np

    values = target(target.domain.bounding_box().grid(129))  # every gallery target is planar by default
    return float(np.linalg.norm(values.max(axis=0) - values.min(axis=0)))


def _build(args: argparse.Namespace) -> int:
    files = _outputs(args, inputs=[args.target])
    target, domain = _target_and_domain(args)
    import torch

    import constructions
    from approx import _checks, storage

    if args.eps is None and args.max_layers is not None and args.builder != constructions.radial_basis.NAME:
        _paint.paint_target(args, files, target, domain, _show_progress(args), _draw)
        return 0
    given = _given(args, "builder", "cover", "values", "layers", "activation", "max_layers", "max_seconds", "samples")
    if args.builder == constructions.radial_basis.NAME:
        strange = ["--" + name.replace("_", "-") for name in ("cover", "values", "max_seconds") if name in given]
    else:
        strange = [f"--{name}" for name in ("layers", "activation") if name in given]
        strange += ["no --eps"] if args.eps is None else []
        given |= {"progress": _show_progress(args), "prove": not args.no_proof}
        if args.cover in constructions.covers.SEARCHES:  # so that Ctrl-C keeps the cells that are there
            given.setdefault("max_seconds", math.inf)
    if strange:
        required = (
            "--eps; --cover, --values, --max-seconds for builders from cells, --layers, --activation for radial_basis"
        )
        raise ValueError(_checks.message("radial build", " and ".join(strange), required, "Change the options."))
    try:
        built = constructions.build(
            target, args.eps, domain=domain, dtype=getattr(torch, args.dtype), seed=args.seed, **given
        )
    except constructions.ToleranceMissed as missed:
        print(f"radial: {missed}", file=sys.stderr)
        return 1
    provenance = built.provenance()
    if "network" in files:
        storage.save(files["network"], built.network, cover=getattr(built, "cover", None), provenance=provenance)
    if "plot" in files:
        _draw(files["plot"], built)
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
    bound = getattr(built, "lower_bound", None)  # radial bases are no Step-ReLU networks
    if args.builder == constructions.radial_basis.NAME:
        rows |= built.figures()
    else:
        rows["cells"] = f"{len(built.cover):,}, {built.cover.strategy}"
    if bound is not None:
        rows["least layers"] = f"{bound.layers:,} in any Step-ReLU network with this tolerance"
    facts = provenance | {"reason": built.reason, "depth_bound": None if bound is None else bound.layers}
    show(args, rows, facts, built.network, built.report, args.eps, files)
    return 1 if args.eps is not None and built.report.refutes(args.eps) else 0


def _evaluate(args: argparse.Namespace) -> int:
    files = _outputs(args, inputs=[args.file, args.target])
    from approx import storage
    from approx.evaluation import sup_error

    saved = storage.load(args.file)
    target, domain = _target_and_domain(args, saved.network.dim_in)
    report = sup_error(
        saved.network,
        target,
        domain,
        cover=saved.cover,
        seed=args.seed,
        progress=_show_progress(args),
        **_given(args, "samples"),
    )
    eps = _built_for(saved)
    if "plot" in files:
        _draw(files["plot"], saved.network, target, report=report, eps=eps, domain=report.domain)
    rows = {"file": args.file, "target": target.name, "domain": str(report.domain)}
    show(args, rows, rows | {"eps": eps}, saved.network, report, eps, files)
    return 0


def _certify(args: argparse.Namespace) -> int:
    from approx import storage
    from approx.certification import certify
    from approx.domains import WholeSpace

    saved = storage.load(args.file)
    target, domain = _target_and_domain(args, saved.network.dim_in)
    if domain is None and saved.provenance.get("domain") == str(WholeSpace(target.dim_in)):
        domain = WholeSpace(target.dim_in)
    eps = _built_for(saved) if args.eps is None else args.eps
    files = _outputs(args, [args.file, args.target])
    report = certify(
        saved.network,
        target,
        domain,
        eps=eps,
        tol=args.tol,
        max_seconds=args.max_seconds,
        progress=_show_progress(args),
    )
    proved = None if eps is None else report.proves(eps)
    rows = {"file": args.file, "target": target.name, "domain": str(report.domain)}
    facts = rows | {"eps": eps, "proved": proved, "rests_on": list(report.rests_on)}
    holds = True
    if args.recheck:
        check = report.recheck()
        holds = check.holds
        said = "; ".join(check.contradictions) or ("confirmed" if holds else "the worst point is undecided")
        facts |= {"recheck": asdict(check) | {"holds": holds}}
        rows |= {"recheck": f"{said}, at {check.points} points, {check.basis}"}
    if "network" in files and holds:
        certificate = report.to_dict()
        header = {key: certificate[key] for key in ("domain", "lower", "upper", "claim", "rests_on")}
        provenance = saved.provenance | header | {"target": target.name, "eps": eps, "certificate": certificate}
        storage.save(files["network"], saved.network, cover=saved.cover, provenance=provenance)
    show(args, rows, facts, saved.network, report, eps, files if holds else {})
    return 0 if holds and (proved or (proved is None and report.upper is not None)) else 1


def _compress(args: argparse.Namespace) -> int:
    from constructions._compress import compress_file

    files = _outputs(args, inputs=[args.file])
    result = compress_file(args, files)
    if "plot" in files:
        _draw(files["plot"], result, picture="compression_picture")
    return 0


def _export_network(args: argparse.Namespace) -> int:
    return _export.export_file(args, _outputs(args, inputs=[args.file])["network"])


def _sweep(args: argparse.Namespace) -> int:
    files = _outputs(args, inputs=[args.target, *([args.cache] if args.cache else [])])
    target, domain = _target_and_domain(args)
    table = _rates.tabulate(args, files, target, domain, _show_progress(args))
    if "plot" in files:
        _draw(files["plot"], table, picture="rates_picture")
    if table.interrupted:
        return 130
    return 0 if any(row.parameters is not None for row in table.rows) else 1


def _render_page(args: argparse.Namespace) -> int:
    files = _outputs(args, inputs=[args.subject, *([args.target] if args.target else [])])
    return _render.render(args, files["network"], _target_and_domain, _show_progress(args))


def _run_experiments(args: argparse.Namespace) -> int:
    files = _outputs(args, inputs=[])
    results = _reproduce.reproduce(args, files, _show_progress(args))
    drawn = [result for result in results if result.curves]
    if "plot" in files and drawn:
        _draw(files["plot"], drawn, picture="experiments_picture")
    return 130 if results[-1].interrupted else 0


def _built_for(saved: Any) -> float | None:
    """The tolerance that the file says it was built for."""
    eps = saved.provenance.get("eps")
    return float(eps) if isinstance(eps, int | float) and 0 < eps < math.inf else None


def _given(args: argparse.Namespace, *names: str) -> dict[str, Any]:
    """The options the user gave; for the others the library's own defaults hold."""
    return {name: getattr(args, name) for name in names if getattr(args, name) is not None}


def _show_progress(args: argparse.Namespace) -> bool:
    return not args.quiet and sys.stderr.isatty()


def _target_and_domain(args: argparse.Namespace, known: int | None = None) -> tuple[Any, Any]:
    """The target, and the domain or None if the user named none; `known` is the dimension if --dim is not given."""
    from approx import _checks
    from approx.domains import parse_domain
    from approx.targets import parse_target
    from approx.targets.expressions import Expression

    dim = known if args.dim is None else _checks.count("radial", "--dim", args.dim, most=MAX_DIM)
    lipschitz = getattr(args, "lipschitz", None)
    if args.domain is None:
        return parse_target(args.target, dim=dim, lipschitz=lipschitz), None
    kind, _, formula = args.target.strip().partition(":")
    if dim is None:  # a formula may be undefined on the default domain, so it is only parsed here
        dim = Expression(formula.strip()).dim_in if kind == "expr" else parse_target(args.target).dim_in
    domain = parse_domain(args.domain, dim)
    compact = domain if domain.compact else None
    return parse_target(args.target, dim=dim, domain=compact, lipschitz=lipschitz), domain


def _outputs(args: argparse.Namespace, inputs: Iterable[str]) -> dict[str, Any]:
    """The files to write, checked before the long work starts."""
    from approx import _checks, storage

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
    return files


def _draw(file: Any, *subject: Any, picture: str = "overview", **options: Any) -> None:
    """Save approx.plotting.<picture>(*subject, ...) as `file`, without a display."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    from approx import plotting, storage

    figure = getattr(plotting, picture)(*subject, **options)
    try:
        with storage.replacing(file) as temporary:
            figure.savefig(temporary, format=file.suffix.lower().removeprefix("."), dpi=150)
    finally:
        pyplot.close(figure)
