"""What a construction returns: the network, the cells behind it, and everything needed to check it."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

from approx.covers import Cover
from approx.depth import DepthBound, depth_lower_bound
from approx.domains import Ball, Box, WholeSpace
from approx.evaluation import SupError
from approx.networks import RadialNetwork
from approx.targets import Target
from constructions._gadgets import Rounding
from constructions._measured import Measured

__all__ = ["Assembly", "Construction"]


_MANY = 200  # cells; greedy covers search dimensions up to _GREEDY_DIM
_GREEDY_DIM = 3


@dataclass(frozen=True, eq=False)
class Assembly:
    """A network made from a cover.

    cover : the cells and values that the network realises (as rounded, in exact arithmetic of its formulas)
    rounding : how far floating point may displace a cell boundary
    affine_exact : outside all cells the slope of the stored network is exactly that of cover.affine

    >>> import approx
    >>> from constructions import constant_width
    >>> cover = Cover([[0.0]], [[5.0]], approx.AffineMap.constant([0.0], 1), radii=[1.0])
    >>> made = constant_width.assemble(cover)
    >>> made.network.hidden_widths, made.affine_exact
    ((3,), True)
    """

    network: RadialNetwork
    cover: Cover
    rounding: Rounding
    affine_exact: bool = False


@dataclass(frozen=True, eq=False)
class Construction(Measured):
    """A network built for a target, with everything needed to check it.

    network : the radial network
    cover : the ordered cells that the network realises
    target, eps, domain : the claim is |network(x) - target(x)| <= eps for x in domain
    builder, theorem, reason : which construction, its source, and why it was chosen
    rounding : how far floating point may displace a cell boundary
    report : the measured error; None if not measured
    seconds : time for building, measuring excluded

    >>> import constructions
    >>> from approx import targets
    >>> built = constructions.build(targets.gaussian(dim=1), 0.2)
    >>> built.report.proves(0.2), built.hidden_layers == len(built.cover)
    (True, True)
    """

    network: RadialNetwork
    cover: Cover
    target: Target
    eps: float
    domain: Box | Ball | WholeSpace
    builder: str
    theorem: str
    reason: str
    rounding: Rounding
    report: SupError | None
    seconds: float

    @functools.cached_property
    def lower_bound(self) -> DepthBound | None:
        """How many hidden layers every Step-ReLU network with this tolerance needs, computed when first asked for (a
        second or so); None where the target does not allow it, as when f fails at points the build did not visit."""
        try:
            return depth_lower_bound(self.target, self.eps, self.domain)
        except Exception:  # whatever fn raises: a bound that is missing must not take the network with it
            return None

    def provenance(self) -> dict[str, Any]:
        """What a saved file should remember, as JSON-able values."""
        return {
            "target": self.target.name,
            "eps": self.eps,
            "domain": str(self.domain),
            "builder": self.builder,
            "theorem": self.theorem,
            "cover": self.cover.strategy,
            "lipschitz": self.target.lipschitz,
            "lipschitz_source": self.target.lipschitz_source,
            "cells": len(self.cover),
            **self._record(),
            "seconds": self.seconds,
        }

    def __repr__(self) -> str:
        lines = [
            f"Construction of {self.target.name} to eps = {self.eps:g} on {self.domain}",
            f"  theorem  {self.theorem} ({self.builder}): {self.reason}",
            f"  cells    {len(self.cover):,}, {self.cover.strategy}{self._hint()}",
            f"  network  {self.network!r}",
        ]
        if self.lower_bound is not None:
            least, layers = self.lower_bound.layers, self.hidden_layers
            times = layers / max(least, 1)
            ratio = f", {times:,.0f} times as many" if times >= 100 else f", {times:.3g} times as many"
            known = f"{ratio}; no Step-ReLU network has under {least:,}" if least else "; no lower bound is known"
            known = known if layers else ", the least there is"
            lines.append(f"  depth    {layers:,} hidden layer{'' if layers == 1 else 's'}{known}")
        lines.append(self._error())
        return "\n".join(lines)

    def _hint(self) -> str:
        small = self.cover.strategy.startswith(("uniform", "adaptive"))
        if small and len(self.cover) >= _MANY and self.target.dim_in <= _GREEDY_DIM and self.builder != "minimal":
            return '; cover="greedy" may take far fewer'
        return ""
