"""What every build has: a network and what was measured of it."""

from __future__ import annotations

import os
from typing import Any

from approx import storage
from approx.certification import Certificate
from approx.domains import Ball, Box, WholeSpace, format_domain
from approx.evaluation import SupError
from approx.networks import RadialNetwork
from approx.targets import Target, asymptote
from constructions._printing import runs

__all__ = ["Measured"]


class Measured:
    """Base of what builds return: the sizes of the network, and the words and records of its error.

    network : the radial network
    report : its measured error; None if not measured
    domain, target : where it was built, and for what; None for a network fitted to samples
    """

    network: RadialNetwork
    report: SupError | None
    domain: Box | Ball | WholeSpace
    target: Target | None

    @property
    def hidden_layers(self) -> int:
        return self.network.hidden_layers

    @property
    def hidden_widths(self) -> tuple[int, ...]:
        return self.network.hidden_widths

    @property
    def parameters(self) -> int:
        return self.network.parameter_count

    def provenance(self) -> dict[str, Any]:
        """What a saved file should remember, as JSON-able values."""
        raise NotImplementedError

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the network with its cells, certificate and what it was built for; `approx.load` reads it.

        Raises as `approx.save`.

        >>> import tempfile
        >>> import approx
        >>> import constructions
        >>> built = constructions.build(approx.targets.gaussian(dim=1), 0.2)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     built.save(f"{folder}/gaussian.safetensors")
        ...     saved = approx.load(f"{folder}/gaussian.safetensors")
        >>> saved
        Saved gaussian to eps = 0.2 on R^1
          network  RadialNetwork(R^1 -> R^1, 2 hidden layers of width 3, 22 parameters, float64)
          cells    2, nested shells (auto: uniform and adaptive have no fewer cells)
          error    0.166784 <= sup|F - f| <= 0.19369, certified when it was built
        """
        storage.save(path, self.network, cover=getattr(self, "cover", None), provenance=self.provenance())

    def _record(self) -> dict[str, Any]:
        """Sizes and error as JSON-able values."""
        report = self.report
        return {
            "domain_spec": format_domain(self.domain),
            "formula": "" if self.target is None else self.target.expression,
            **({} if self.target is None else asymptote(self.target)),
            "hidden_layers": self.hidden_layers,
            "hidden_widths": runs(self.hidden_widths),
            "parameters": self.parameters,
            "lower": None if report is None else report.lower,
            "upper": None if report is None else report.upper,
            "claim": "not measured" if report is None else report.claim,
            "rests_on": [] if report is None else list(report.rests_on),
            "obstacle": "" if report is None else report.obstacle,
            "certificate": report.to_dict() if isinstance(report, Certificate) else None,
        }

    def _error(self) -> str:
        """The last lines of the repr."""
        if self.report is None:
            return "  error    not measured"
        upper, why = self.report.upper, self.report.obstacle
        bound = ", upper bound not certified" if upper is None else f" <= {upper:.6g}, {self.report.claim}"
        return f"  error    {self.report.lower:.6g} <= sup|F - f|{bound}" + (f"\n  because  {why}" if why else "")
