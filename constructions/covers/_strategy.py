"""The arguments that all strategies share, checked in one place."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from approx.affine import AffineMap
from approx.covers import Cover
from approx.domains import Ball, Box, WholeSpace
from approx.targets import Target
from constructions.covers._problem import Problem

__all__ = ["strategy"]


def strategy(call: str, values: str = "chebyshev") -> Callable[[Callable[..., Cover]], Callable[..., Cover]]:
    """Turns solve(problem, **own) -> Cover into a function of (target, eps, domain, *, everywhere, affine, values,
    overlap, max_cells, **own) that checks the shared arguments first; `values` is the default of that name.

    >>> from approx import targets
    >>> @strategy("empty cover")
    ... def empty(problem):
    ...     return problem.empty("empty")
    >>> f = targets.gaussian(dim=1)
    >>> empty(f, 2.0, f.domain, everywhere=True, affine=f.affine)
    Cover(0 balls in R^1, values in R^1, strategy='empty')
    """
    usual = values

    def public(solve: Callable[..., Cover]) -> Callable[..., Cover]:
        def make(
            target: Target,
            eps: float,
            domain: Box | Ball | WholeSpace,
            *,
            everywhere: bool,
            affine: AffineMap,
            values: str = usual,
            overlap: float = 1e-6,
            max_cells: int = 1_000_000,
            **own: Any,
        ) -> Cover:
            problem = Problem.parse(
                call,
                target,
                eps,
                domain,
                everywhere=everywhere,
                affine=affine,
                values=values,
                overlap=overlap,
                max_cells=max_cells,
            )
            return solve(problem, **own)

        shared = [p for p in inspect.signature(make).parameters.values() if p.kind != p.VAR_KEYWORD]
        own = list(inspect.signature(solve).parameters.values())[1:]
        made = functools.wraps(solve)(make)
        made.__signature__ = inspect.signature(solve).replace(parameters=[*shared, *own])  # type: ignore[attr-defined]
        return made

    return public
