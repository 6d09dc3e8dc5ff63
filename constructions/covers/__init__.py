"""Cover strategies: which cells, and which values, a construction paints.

Every strategy is a function (target, eps, domain, *, everywhere, affine, values, overlap, max_cells) -> Cover.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from approx import _checks
from approx.affine import AffineMap
from approx.covers import Cover
from approx.domains import Ball, Box, WholeSpace
from approx.targets import Target
from constructions.covers._coverage import check_coverage
from constructions.covers._problem import TooManyCells
from constructions.covers.adaptive import adaptive
from constructions.covers.lattice import Lattice
from constructions.covers.uniform import uniform

__all__ = ["STRATEGIES", "Lattice", "TooManyCells", "adaptive", "auto", "check_coverage", "make", "uniform"]


def auto(target: Target, eps: float, domain: Box | Ball | WholeSpace, **options) -> Cover:
    """The adaptive cover when the target has an enclosure and it needs fewer cells, else the uniform one.

    The cover's `strategy` says which, and against what. Arguments and errors: as for `adaptive` and `uniform`.

    >>> from approx import targets
    >>> f = targets.gaussian(dim=2)
    >>> auto(f, 0.1, f.domain, everywhere=True, affine=f.affine).strategy
    """
    if target.enclosure is None:
        return uniform(target, eps, domain, **options)
    if target.modulus is None:
        return adaptive(target, eps, domain, **options)
    made, refused = [], []
    for strategy in (adaptive, uniform):
        try:
            made.append(strategy(target, eps, domain, **options))
        except TooManyCells as refusal:
            refused.append(refusal)
    if not made:
        raise refused[0]
    made.sort(key=len)
    return made[0]


def make(
    strategy: str,
    target: Target,
    eps: float,
    domain: Box | Ball | WholeSpace,
    *,
    everywhere: bool,
    affine: AffineMap,
    values: str = "center",
    overlap: float = 1e-6,
    max_cells: int = 1_000_000,
) -> Cover:
    """The cover of that strategy.

    Raises ValueError, listing the names, for an unknown strategy; else as the strategy itself.
    """
    chosen = STRATEGIES[_checks.one_of("covers.make", "strategy", strategy, STRATEGIES)]
    return chosen(
        target,
        eps,
        domain,
        everywhere=everywhere,
        affine=affine,
        values=values,
        overlap=overlap,
        max_cells=max_cells,
    )


STRATEGIES: dict[str, Callable[..., Cover]] = {"auto": auto, "adaptive": adaptive, "uniform": uniform}
