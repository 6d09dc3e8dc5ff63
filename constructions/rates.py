"""Sweeps over builders and covers by name: how the number of layers grows as the tolerance shrinks."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import Any

from approx import _checks, rates
from approx.rates import Budget, Method, RateTable
from approx.targets import Target
from constructions import BUILDERS, build, radial_basis
from constructions.covers import STRATEGIES

__all__ = ["THEORY", "methods", "sweep"]

_CHOICES = ("auto", "apart")  # strategies that take one of the others
# Layers ~ eps^-order in R^n, the least and the largest order expected of smooth targets: small cells pave the domain;
# nested ones follow level sets, of which there are about 1/eps; large cells bounded by ellipsoids that osculate level
# sets lie in between, by how well those fit.
THEORY: dict[str, Callable[[int], tuple[float, float]]] = {
    "uniform": lambda n: (n, n),
    "adaptive": lambda n: (n, n),
    "nested": lambda n: (1, 1),
    "greedy": lambda n: ((n + 2) / 3, (n + 1) / 2),
}


def methods(
    covers: Sequence[str] | None = None, builders: Sequence[str | None] = (None,), **options: Any
) -> list[Method]:
    """A `Method` for every pair of a builder and a cover strategy.

    covers : names from constructions.covers.STRATEGIES; None: all but "auto" and "apart", which choose among others
    builders : names from BUILDERS, or "radial_basis", which has no cells and takes no covers and values; None in it
        stands for the one that `constructions.build` chooses
    options : for `Builder.build`, such as samples=, values=, domain=, max_layers=
    Raises ValueError, listing the names, for unknown ones.

    >>> [(method.builder, method.cover) for method in methods(["uniform", "adaptive"], ["widening"])]
    [('widening', 'uniform'), ('widening', 'adaptive')]
    """
    call = "rates.methods"
    chosen = [name for name in STRATEGIES if name not in _CHOICES] if covers is None else list(covers)
    for name in chosen:
        _checks.one_of(call, "covers", name, STRATEGIES)
    for builder in builders:
        if builder is not None:
            _checks.one_of(call, "builders", builder, (*BUILDERS, radial_basis.NAME))
    settings = {key: str(value) for key, value in options.items()}
    kernels = []
    if radial_basis.NAME in builders:
        kept = {key: value for key, value in options.items() if key != "values"}
        kernels = [Method(radial_basis.NAME, "kernels", partial(radial_basis.build, **kept), settings=settings)]
    return kernels + [
        Method(
            builder,
            cover,
            partial(build, builder=builder, cover=cover, **options),
            THEORY.get(cover, lambda n: None),
            settings,
        )
        for builder in builders
        if builder != radial_basis.NAME
        for cover in chosen
    ]


def sweep(
    targets: Target | Sequence[Target],
    eps: float | Sequence[float],
    covers: Sequence[str] | None = None,
    builders: Sequence[str | None] = (None,),
    *,
    baselines: str | Sequence[str] = (),
    budget: Budget | None = None,
    executor: Executor | None = None,
    cache: str | os.PathLike[str] | None = None,
    progress: bool = False,
    **options: Any,
) -> RateTable:
    """`approx.rates.sweep` over `methods(covers, builders, **options)`.

    >>> from approx import targets
    >>> table = sweep(targets.gaussian(dim=1), [0.2, 0.1, 0.05], ["uniform"], samples=1000)
    >>> print(table.series()[0])
    gaussian on R^1, constant_width, uniform: order 1.29 +- 0.05, theory 1 (eps 0.2 to 0.05)
    """
    return rates.sweep(
        targets,
        eps,
        methods(covers, builders, **options),
        baselines=baselines,
        budget=budget,
        executor=executor,
        cache=cache,
        progress=progress,
    )
