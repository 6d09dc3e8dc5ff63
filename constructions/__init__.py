"""Builders: from a target and a tolerance to a radial network, by the proofs' own strategies.

    covers           which cells to paint: uniform lattice, adaptive boxes, level sets, greedy ellipsoids
    widening         Theorem 3: widths n + 1, ..., n + N, on R^n
    constant_width   Theorem 5: width n + m + 1, on R^n
    narrow           width max(n, m) + 1, compact domains
    minimal          width max(n, m), compact domains
    radial_basis     width n + m + 1, other activations, no cells: weights by least squares
    painting         the best picture of data with so many ellipsoids, width n + m + 1

The modules of builders from cells have `assemble(cover)` for a cover made by hand and `build(target, eps)` for the
whole path. To add one, write its module with a `BUILDER` and list it here.
"""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Any, Literal, overload

import numpy as np

from approx import _checks
from approx.affine import AffineMap
from approx.covers import Cover
from approx.domains import Ball, Box
from approx.targets import Target
from constructions import constant_width, covers, minimal, narrow, radial_basis, widening
from constructions._construction import Assembly, Builder, Construction, ToleranceMissed
from constructions.painting import Painting, paint
from constructions.radial_basis import RadialBasis

__all__ = [
    "BUILDERS",
    "Assembly",
    "Builder",
    "Construction",
    "Painting",
    "RadialBasis",
    "ToleranceMissed",
    "build",
    "covers",
    "paint",
    "radial_basis",
]

_FITTED, _SAFE = 1024, 0.95  # points for one affine map, and how much of eps it may leave at them
_CLEARLY = 0.5  # of the parameters of `narrow`, a wider network with an affine map is judged to have at most
_FromCells = Literal["constant_width", "minimal", "narrow", "widening"]
BUILDERS: dict[str, Builder] = {
    module.BUILDER.name: module.BUILDER for module in (widening, constant_width, narrow, minimal)
}


@overload
def build(
    target: Target, eps: float, *, builder: _FromCells | None = None, domain: Any = None, **options: Any
) -> Construction: ...
@overload
def build(
    target: Target, eps: float | None = None, *, builder: Literal["radial_basis"], domain: Any = None, **options: Any
) -> RadialBasis: ...
@overload
def build(
    target: Target, eps: float | None = None, *, builder: str | None = None, domain: Any = None, **options: Any
) -> Construction | RadialBasis: ...
def build(
    target: Target, eps: float | None = None, *, builder: str | None = None, domain: Any = None, **options: Any
) -> Construction | RadialBasis:
    """Build a network within `eps` of the target in sup norm; says in `.reason` which construction it took and why.

    builder : a name from `BUILDERS`, or "radial_basis", which takes layers= as well (see
        `constructions.radial_basis.build`); None chooses `constant_width` where the claim is on R^n (the target is
        asymptotically affine with a known tail, and no compact domain was asked for) and `narrow` otherwise, unless
        one affine map is within eps, which takes no hidden layer, or serves so much of the domain that
        `constant_width`, which has one outside its cells, needs far fewer of them
    domain, options : see `Builder.build`
    Raises ValueError for unknown names, and whatever `Builder.build` raises.

    >>> from approx import targets
    >>> print(build(targets.gaussian(dim=1), 0.2, samples=1000))  # doctest: +ELLIPSIS
    Construction of gaussian to eps = 0.2 on R^1
      theorem  Theorem 5 (constant_width): ...
    """
    if builder is not None:
        _checks.one_of("build", "builder", builder, (*BUILDERS, radial_basis.NAME))
    _check_names(options, radial_basis.build if builder == radial_basis.NAME else Builder.build)
    if builder == radial_basis.NAME:
        return radial_basis.build(target, eps, domain=domain, **options)
    eps = _checks.positive("build", "eps", eps)
    if builder is not None:
        return BUILDERS[builder].build(target, eps, domain=domain, **options)
    asymptotic = isinstance(target, Target) and target.affine is not None and target.tail is not None
    if (domain is None and asymptotic) or (domain is not None and not getattr(domain, "compact", True)):
        chosen = constant_width.BUILDER
        reason = "the claim is on all of R^n and the width stays n + m + 1"
    else:
        affine = _one_map(target, eps, domain, options)
        if affine is not None:
            return affine
        if _mostly_affine(target, eps, domain, options):
            chosen = constant_width.BUILDER
            reason = "an affine map serves so much of the domain that few cells are left"
        else:
            chosen = narrow.BUILDER
            where = "the domain is compact" if domain is not None else "the target has no known affine part at infinity"
            reason = f"{where}, and this is the narrowest with one layer per cell"
    return chosen.build(target, eps, domain=domain, reason=reason, **options)


def _one_map(target: Any, eps: float, domain: Any, options: dict[str, Any]) -> Construction | None:
    """The network without hidden layers, where an affine map is proved to be within eps on a compact domain."""
    if not isinstance(target, Target) or not isinstance(domain, Box | Ball | None):
        return None  # refused later, with its reason
    domain = target.domain if domain is None else domain
    if options.get("cover", "auto") != "auto" or domain.dim != target.dim_in:
        return None
    points = domain.sample(_FITTED)
    values = target(points)
    columns = np.column_stack([points - points.mean(axis=0), np.ones(len(points))])
    slopes = np.linalg.lstsq(columns, values, rcond=None)[0][:-1].T
    for matrix in (0 * slopes, slopes):
        rest = values - points @ matrix.T
        offset = (rest.min(axis=0) + rest.max(axis=0)) / 2
        if np.linalg.norm(rest - offset, axis=1).max() <= _SAFE * eps:
            break
    else:
        return None
    empty, none = np.empty((0, target.dim_in)), np.empty((0, target.dim_out))
    cover = Cover(empty, none, AffineMap(matrix, offset), radii=np.empty(0), strategy="none")
    plain = {key: value for key, value in options.items() if key not in ("cover", "values")}
    plain |= {"cover": cover, "verify": True, "prove": True, "reason": "one affine map is within eps, without a layer"}
    try:
        built = constant_width.BUILDER.build(target, eps, domain=domain, **plain)
    except ToleranceMissed:  # f goes further between the points that were tried
        return None
    if built.report is None or not built.report.proves(eps):  # cells at least rest on what is known of f
        return None
    return built if options.get("verify", True) else replace(built, report=None)


def _mostly_affine(target: Any, eps: float, domain: Any, options: dict[str, Any]) -> bool:
    """Whether an affine map outside the cells saves far more layers than the width that it takes costs."""
    if not isinstance(target, Target) or not isinstance(domain, Box | Ball | None):
        return False
    domain = target.domain if domain is None else domain
    if options.get("cover", "auto") != "auto" or domain.dim != target.dim_in:
        return False
    n, m = target.dim_in, target.dim_out
    slim, wide = max(n, m) + 1, n + m + 1
    return covers.left_by_affine(target, eps, domain) * wide * (wide + 1) <= _CLEARLY * slim * (slim + 1)


def _check_names(options: dict[str, Any], function: Any) -> None:
    kinds = inspect.signature(function).parameters
    known = [name for name, parameter in kinds.items() if parameter.kind is parameter.KEYWORD_ONLY]
    strange = [name for name in options if name not in kinds]
    if strange and known:
        action = _checks.spelling(strange[0], known, "Leave it out.")
        if strange[0] in inspect.signature(radial_basis.build).parameters:
            action += f" builder={radial_basis.NAME!r} takes {strange[0]}."
        raise TypeError(_checks.message("build", f"{strange[0]}=", f"one of {', '.join(known)}", action))
