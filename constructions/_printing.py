"""How the commands build, evaluate and certify print a report: a table, or one JSON object."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["runs", "show"]


def show(
    args: argparse.Namespace,
    rows: dict[str, str],
    facts: dict[str, Any],
    network: Any,
    report: Any,
    eps: float | None,
    files: dict[str, Any],
) -> None:
    """Print the result: `facts` and measurements as JSON, or `rows` and measurements as a table."""
    if args.json:
        measured = {name: getattr(report, name) for name in ("lower", "upper", "claim", "obstacle", "samples")}
        result = facts | measured | {"argmax": report.argmax.tolist(), "measuring_seconds": report.seconds}
        result |= {"hidden_layers": network.hidden_layers, "parameters": network.parameter_count}
        result |= {"files": {kind: str(file) for kind, file in files.items()}}
        result |= {"hidden_widths": runs(network.hidden_widths)}
        result.pop("certificate", None)
        print(json.dumps(result, allow_nan=False))
        return
    if args.quiet:
        return
    unit = f" {report.unit}" if report.unit else ""
    certified = report.upper is not None
    verdict, refuted = "", eps is not None and report.refutes(eps)
    if eps is not None:
        words = "above" if refuted else "proved within" if report.proves(eps) else "none found above"
        verdict = f", {words} eps = {eps:g}"
    if certified:
        bounds = f"{report.lower:.6g} <= sup |F - f| <= {report.upper:.6g}{unit}{verdict}"
        if refuted:  # the upper bound of a search that ended early says little
            bounds = f"sup |F - f| >= {report.lower:.6g}{unit}{verdict} (and <= {report.upper:.6g})"
        error = {"error": bounds, "claim": report.claim, "rests on": "; ".join(report.rests_on)}
    else:
        error = {"error": f"at least {report.lower:.6g}{unit} at {report.samples:,} points{verdict}"}
        error |= {"upper bound": "not certified" + (f": {report.obstacle}" if report.obstacle else "")}
    widths = network.hidden_widths
    span = f"{min(widths)}" if len(set(widths)) == 1 else f"{min(widths, default=0)} to {max(widths, default=0)}"
    x, f, y = (_vector(value) for value in (report.argmax, report.target_value, report.network_value))
    rows = rows | {
        "hidden layers": f"{network.hidden_layers:,}, width {span}",
        "parameters": f"{network.parameter_count:,}, {str(network.dtype).removeprefix('torch.')}",
        **error,
        "worst at": f"x = {x}: target {f}, network {y}",
        "seconds": (f"{facts['seconds']:.3g} building, " if "seconds" in facts else "")
        + f"{report.seconds:.3g} measuring",
    }
    rows |= {f"wrote {kind}": f"{file} ({file.stat().st_size:,} bytes)" for kind, file in files.items()}
    for name, text in rows.items():
        print(f"{name:<14}{text}")


def _vector(values: Iterable[float]) -> str:
    shown = [f"{value:.6g}" for value in values]
    return shown[0] if len(shown) == 1 else f"({', '.join(shown)})"


def runs(widths: Sequence[int]) -> list[list[int]]:
    """Widths as runs [first, layers, step], which stand for first, first + step, ...: equal ones, or one more each.

    >>> runs((4,) * 1_000_000), runs((3, 4, 5)), runs((8, 16, 8))
    ([[4, 1000000, 0]], [[3, 3, 1]], [[8, 1, 0], [16, 1, 0], [8, 1, 0]])
    """
    found: list[list[int]] = []
    for width in widths:
        if found:
            first, layers, step = found[-1]
            growth = width - (first + (layers - 1) * step)
            if growth in (0, 1) and (layers == 1 or growth == step):
                found[-1][1:] = layers + 1, growth
                continue
        found.append([width, 1, 0])
    return found
