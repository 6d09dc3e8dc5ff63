"""Cover strategies: which cells, and which values, a construction paints.

Every strategy is a function (target, eps, domain, *, everywhere, affine, values, overlap, max_cells) -> Cover; those
that search for long, listed in SEARCHES, take max_seconds, tries and progress besides.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from approx import _checks
from approx.affine import AffineMap
from approx.covers import Cover
from approx.domains import Ball, Box, WholeSpace
from approx.lattice import Lattice
from approx.targets import Target
from constructions.covers._coverage import check_coverage
from constructions.covers._ground import best_affine
from constructions.covers._problem import Problem, TooManyCells
from constructions.covers._values import BrokenClaim
from constructions.covers.adaptive import adaptive
from constructions.covers.greedy import greedy
from constructions.covers.nested import NotNested, nested
from constructions.covers.uniform import uniform

__all__ = [
    "SEARCHES",
    "STRATEGIES",
    "BrokenClaim",
    "Lattice",
    "NotNested",
    "TooManyCells",
    "adaptive",
    "apart",
    "auto",
    "check_coverage",
    "greedy",
    "left_by_affine",
    "make",
    "nested",
    "uniform",
]


def auto(
    target: Target, eps: float, domain: Box | Ball | WholeSpace, *, max_cells: int = 1_000_000, **options: Any
) -> Cover:
    """The cover with the fewest cells: `nested` where f has known level sets, unless `apart` finds fewer; else `apart`.

    Options and errors: as for the other strategies; where all need more than max_cells, the refusal of the one that
    needs the fewest. The cover's `strategy` says which it is, and against what.

    >>> from approx import targets
    >>> f = targets.gaussian(dim=2)
    >>> make("auto", f, 0.1, f.domain, everywhere=True, affine=f.affine, values="chebyshev").strategy
    'nested shells (auto: uniform and adaptive have no fewer cells)'
    """
    try:
        shells = nested(target, eps, domain, max_cells=max_cells, **options)
    except NotNested:
        return apart(target, eps, domain, max_cells=max_cells, **options)
    except TooManyCells as refusal:
        return _unless_fewer(refusal, apart, target, eps, domain, max_cells=max_cells, **options)
    if len(shells) <= 1:
        return shells
    try:
        return apart(target, eps, domain, max_cells=len(shells) - 1, **options)
    except TooManyCells:
        return replace(shells, strategy=f"{shells.strategy} (auto: uniform and adaptive have no fewer cells)")


def apart(
    target: Target, eps: float, domain: Box | Ball | WholeSpace, *, max_cells: int = 1_000_000, **options: Any
) -> Cover:
    """The adaptive cover when it needs fewer cells than the uniform one, else the uniform one: small cells that follow
    one another in space, as `minimal` needs them.

    Options and errors: as for `uniform` and `adaptive`. The cover's `strategy` says which it is, and against what.

    >>> from approx import targets
    >>> f = targets.franke()
    >>> make("apart", f, 0.1, f.domain, everywhere=False, affine=AffineMap.constant([0.5], 2)).strategy
    'adaptive, center values (auto: uniform has 513 cells)'
    """
    if isinstance(target, Target) and target.modulus is None:
        return adaptive(target, eps, domain, max_cells=max_cells, **options)
    try:
        even = uniform(target, eps, domain, max_cells=max_cells, **options)
    except TooManyCells as refusal:
        cover = _unless_fewer(refusal, adaptive, target, eps, domain, max_cells=max_cells, **options)
        return replace(cover, strategy=f"{cover.strategy} (auto: uniform has too many cells)")
    if len(even) <= 1:
        return even
    try:
        cover = adaptive(target, eps, domain, max_cells=len(even) - 1, **options)
    except TooManyCells:
        return replace(even, strategy=f"{even.strategy} (auto: adaptive has no fewer cells)")
    return replace(cover, strategy=f"{cover.strategy} (auto: uniform has {len(even):,} cells)")


def _unless_fewer(refusal: TooManyCells, strategy: Callable[..., Cover], *args: Any, **options: Any) -> Cover:
    """The cover of that strategy; if it is refused as well, raises the refusal that needs fewer cells."""
    try:
        return strategy(*args, **options)
    except TooManyCells as other:
        raise min(other, refusal, key=lambda error: error.count) from None


def left_by_affine(target: Target, eps: float, domain: Box | Ball) -> float:
    """About which share of the small cells for a compact domain is left, where an affine map serves the rest of it.

    Judged at samples, by the slopes of f there. Raises ValueError or TypeError as the strategies do.

    >>> from approx import targets
    >>> f = targets.from_expression("x + 2*y + exp(-9*(x^2 + y^2))")
    >>> round(left_by_affine(f, 0.1, f.domain), 2), left_by_affine(targets.saddle(), 0.1, Box.cube(2, 3.0)) > 0.9
    (0.04, True)
    """
    affine = target.affine or AffineMap.constant(target(domain.sample(1)).ravel(), target.dim_in)
    problem = Problem.parse(
        "left_by_affine", target, eps, domain, everywhere=True, affine=affine, values="chebyshev", overlap=1e-6,
        max_cells=1,
    )  # fmt: skip
    if problem.region is None:
        return 0.0
    return best_affine(problem, even=False)[1]


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
    max_seconds: float | None = None,
    tries: int = 1,
    progress: bool = False,
) -> Cover:
    """The cover of that strategy.

    max_seconds, tries : the budget of a search, and how often it is repeated, see `greedy`
    progress : show a bar while it runs
    Raises ValueError, listing the names, for an unknown strategy, and for a budget where nothing is searched for; else
    as the strategy itself.

    >>> from approx import targets
    >>> f = targets.gaussian(dim=1)
    >>> make("uniform", f, 0.2, f.domain, everywhere=True, affine=f.affine).strategy
    'uniform'
    """
    chosen = STRATEGIES[_checks.one_of("covers.make", "strategy", strategy, STRATEGIES)]
    search: dict[str, Any] = {}
    if strategy in SEARCHES:
        search = {"max_seconds": max_seconds, "tries": tries, "progress": progress}
    elif max_seconds is not None or tries != 1:
        name = "max_seconds" if max_seconds is not None else "tries"
        received, required = f"{name} with cover = {strategy!r}", f"a cover that searches: {', '.join(SEARCHES)}"
        raise ValueError(_checks.message("covers.make", received, required, f"Leave {name} out."))
    return chosen(
        target,
        eps,
        domain,
        everywhere=everywhere,
        affine=affine,
        values=values,
        overlap=overlap,
        max_cells=max_cells,
        **search,
    )


STRATEGIES: dict[str, Callable[..., Cover]] = {
    "auto": auto,
    "adaptive": adaptive,
    "apart": apart,
    "greedy": greedy,
    "nested": nested,
    "uniform": uniform,
}
SEARCHES = ("greedy",)
