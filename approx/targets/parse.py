"""Targets as the command line names them."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from approx import _checks
from approx.domains import Ball, Box
from approx.targets._target import Target
from approx.targets.data import SUFFIXES, from_file
from approx.targets.falsify import check_lipschitz
from approx.targets.formulas import from_expression
from approx.targets.gallery import GALLERY, get

__all__ = ["parse_target"]


def parse_target(
    spec: str,
    *,
    dim: int | None = None,
    domain: Box | Ball | None = None,
    lipschitz: float | None = None,
    affine: str | None = None,
    tail: str | None = None,
) -> Target:
    """A target from a gallery name ("gaussian"), a formula ("expr:exp(-x^2)*sin(y)") or the path of a data file.

    `dim` and `domain` override the defaults. A `lipschitz` given here is a claim: it is tested by sampling and marked
    as claimed. `affine` and `tail` say what a formula tends to, see `from_expression`.
    Raises ValueError when nothing is called `spec` (listing what is), when the dimensions disagree, or when the claim
    is refuted.

    >>> parse_target("gaussian", dim=3).dim_in, parse_target("expr: abs(x) + y", lipschitz=1.5).dim_in
    (3, 2)
    """
    call = "target"
    if not isinstance(spec, str):
        raise TypeError(_checks.message(call, f"{_checks.show(spec)}", "text", "Pass a name, expr:... or a path."))
    if dim is not None and domain is not None and domain.dim != _checks.count(call, "dim", dim):
        received = f"dim = {dim} with the domain {domain}"
        raise ValueError(_checks.message(call, received, "one dimension", "Drop one of the two."))
    spec = spec.strip()
    if not spec.startswith("expr:") and not affine is tail is None:
        received = f"{_checks.show(spec)} with affine or tail"
        raise ValueError(_checks.message(call, received, "a formula after expr:", "The gallery has its own."))
    if dim is None and domain is not None:
        dim = domain.dim
    if spec in GALLERY:
        target = get(spec, domain=domain, **({} if dim is None else {"dim": dim}))
    elif spec.startswith("expr:"):
        text = spec.removeprefix("expr:").strip()
        target = from_expression(text, dim_in=dim, domain=domain, lipschitz=lipschitz, affine=affine, tail=tail)
    elif Path(spec).suffix.lower() in SUFFIXES or os.sep in spec:
        target = from_file(spec, domain=domain)
        if dim is not None and dim != target.dim_in:
            received = f"dim = {dim} for {spec!r}, which holds a function on R^{target.dim_in}"
            raise ValueError(_checks.message(call, received, f"dim = {target.dim_in}", "Drop dim."))
    else:
        hint = _checks.spelling(spec, GALLERY, "Formulas start with expr:, as in 'expr:x^2 - y'.")
        required = f"one of {', '.join(GALLERY)}; expr:FORMULA; or a file ({', '.join(SUFFIXES)})"
        raise ValueError(_checks.message(call, _checks.show(spec), required, hint))
    if lipschitz is not None:
        target = replace(target, lipschitz=lipschitz, lipschitz_source="claimed")
        check_lipschitz(target)
    return target
