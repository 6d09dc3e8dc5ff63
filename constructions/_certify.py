"""The command ``radial certify``: bounds of the error of a saved network, proved."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from approx import storage
from approx.certification import certify
from constructions._arguments import add_domain, outputs, recall, show_progress
from constructions._printing import show

__all__ = ["add_options", "run"]


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE")
    parser.add_argument(
        "target", metavar="TARGET", nargs="?", help="default: what FILE was built for, a gallery target or a formula"
    )
    parser.add_argument("--eps", type=float, help="what to prove (default: the tolerance of the build)")
    parser.add_argument("--tol", type=float, help="how near the bounds come (default: eps is decided, or 1%%)")
    parser.add_argument("--lipschitz", type=float, metavar="L", help="Lipschitz constant of the target, if you know it")
    parser.add_argument("--max-seconds", type=float, default=60.0, metavar="S", help="budget (default 60)")
    parser.add_argument("--recheck", action="store_true", help="confirm the result in Arb's ball arithmetic")
    parser.add_argument("--out", metavar="FILE", help="save the network here with this certificate in its header")
    parser.add_argument("--quiet", action="store_true", help="no progress and no report")
    add_domain(parser)


def run(args: argparse.Namespace) -> int:
    saved = storage.load(args.file)
    target, domain = recall("radial certify", args, saved)
    eps = saved.eps if args.eps is None else args.eps
    files = outputs(args, [args.file, args.target], saves=True)
    report = certify(
        saved.network,
        target,
        domain,
        eps=eps,
        tol=args.tol,
        max_seconds=args.max_seconds,
        progress=show_progress(args),
    )
    proved = None if eps is None else report.proves(eps)
    rows = {"file": args.file, "target": target.name, "domain": str(report.domain)}
    facts = rows | {"eps": eps, "proved": proved, "rests_on": list(report.rests_on)}
    holds = True
    if args.recheck:
        check = report.recheck()
        holds = check.holds
        facts |= {"recheck": asdict(check) | {"holds": holds}}
        rows |= {"recheck": f"{check.verdict}, at {check.points} points, {check.basis}"}
    if "network" in files and holds:
        certificate = report.to_dict()
        header = {key: certificate[key] for key in ("domain", "lower", "upper", "claim", "rests_on")}
        provenance = saved.provenance | header | {"target": target.name, "eps": eps, "certificate": certificate}
        storage.save(files["network"], saved.network, cover=saved.cover, provenance=provenance)
    show(args, rows, facts, saved.network, report, eps, files if holds else {})
    return 0 if holds and (proved or (proved is None and report.upper is not None)) else 1
