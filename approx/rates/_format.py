"""Tables as aligned text, csv, Markdown and LaTeX."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

__all__ = ["aligned", "csv_text", "latex", "markdown", "span", "whole"]

_WORDS = ("target", "builder", "cover", "claim")  # columns of text, which begin at the left
_LATEX = {c: f"\\{c}" for c in "#$%&_{}"} | {"\\": r"\textbackslash{}", "^": r"\^{}", "~": r"\~{}"}


def aligned(head: Sequence[str], cells: Sequence[Sequence[str]], *, left: int) -> str:
    """Columns padded with spaces, the first `left` of them to the right, the others to the left."""
    sizes = [max(map(len, column)) for column in zip(head, *cells, strict=True)]
    lines = [head, ["-" * size for size in sizes], *cells]
    padded = (
        [c.ljust(s) if i < left else c.rjust(s) for i, (c, s) in enumerate(zip(x, sizes, strict=True))] for x in lines
    )
    return "\n".join("  ".join(line).rstrip() for line in padded)


def csv_text(head: Sequence[str], cells: Sequence[Sequence[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    for line in cells:
        writer.writerow([_plain(value) for value in line])
    return text.getvalue()


def markdown(head: Sequence[str], cells: Sequence[Sequence[str]], notes: Sequence[str]) -> str:
    lines = [head, ["---"] * len(head), *cells]
    table = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
    return "\n".join([*table, "", *(f"- {note}" for note in notes), ""])


def latex(head: Sequence[str], cells: Sequence[Sequence[str]], notes: Sequence[str]) -> str:
    lines = [" & ".join(_escaped(cell) for cell in line) + r" \\" for line in (head, *cells)]
    body = [lines[0], r"\hline", *lines[1:]]
    shape = "".join("l" if name in _WORDS else "r" for name in head)
    comments = [f"% {note}" for note in notes]
    return "\n".join([rf"\begin{{tabular}}{{{shape}}}", *body, r"\end{tabular}", *comments, ""])


def span(bounds: tuple[float, float]) -> str:
    """One number, or two with a dash."""
    low, high = (f"{bound:.3g}" for bound in bounds)
    return low if low == high else f"{low}-{high}"


def whole(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def _plain(value: Any) -> Any:
    if value is None:
        return ""
    return span(value) if isinstance(value, tuple) else repr(value) if isinstance(value, float) else value


def _escaped(text: str) -> str:
    return "".join(_LATEX.get(c, c) for c in text)
