"""What a radial-basis build returns."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from approx import _checks
from approx.domains import Ball, Box, WholeSpace
from approx.evaluation import SupError
from approx.networks import RadialNetwork
from approx.targets import Target
from constructions._measured import Measured
from constructions.radial_basis.design import Fit
from constructions.radial_basis.tails import displacement, features_beyond

__all__ = ["RadialBasis", "SampleReport"]


@dataclass(frozen=True)
class SampleReport:
    """How a network fits the samples it was made from.

    count : of samples
    smoothing : the regularisation, as the size of errors in the features that it stands for
    cross_validated : root mean square at samples left out, over all folds, for that smoothing
    rms, largest : of |F(x_k) - y_k| over all samples, by the network itself

    >>> from constructions import radial_basis
    >>> x = np.linspace(-3, 3, 50)[:, None]
    >>> report = radial_basis.from_samples(x, np.exp(-x * x), layers=12).samples
    >>> report.count, bool(report.largest < 1e-3)
    (50, True)
    """

    count: int
    smoothing: float
    cross_validated: float
    rms: float
    largest: float


@dataclass(frozen=True, eq=False)
class RadialBasis(Measured):
    """A radial-basis network built for a target or from samples.

    network : hidden layers of width n + m + 1
    target, eps, domain : what it approximates (None: samples), the tolerance asked for (None: none), where
    fit : centres, shapes, weights and the figures of the fit
    builder, theorem, reason : what it rests on, and why it has as many layers as it has
    report : the measured error of the network; None if not measured
    seconds : time for building, measuring excluded
    samples : how it fits the samples it was made from; None if it was made from a target

    >>> import constructions
    >>> from approx import targets
    >>> built = constructions.build(targets.gaussian(dim=1), builder="radial_basis", layers=10, samples=1000)
    >>> built.network.hidden_layers, bool(built.report.lower < 0.01)
    (10, True)
    """

    network: RadialNetwork
    target: Target | None
    eps: float | None
    domain: Box | Ball | WholeSpace
    fit: Fit
    builder: str
    theorem: str
    reason: str
    report: SupError | None
    seconds: float
    samples: SampleReport | None = None

    @property
    def name(self) -> str:
        """Of what it approximates."""
        if self.target is not None:
            return self.target.name
        return "samples" if self.samples is None else f"{self.samples.count:,} samples"

    @property
    def attainable(self) -> float:
        """What rounding adds to the error, estimated: no more layers of this kind will get below it."""
        return self.fit.noise

    @property
    def slope_error(self) -> float:
        """On R^n, a bound of |A x_N - A x|, what is left of the slope at infinity: 0 for constant ones."""
        if self.domain.compact or not self.fit.matrix.any():
            return 0.0
        layers = self.fit.layers
        return float(np.linalg.norm(self.fit.matrix, 2) * displacement(layers.kernel, layers.slopes).sum())

    def beyond(self, radius: float) -> float:
        """On R^n, a bound of |F - f| for |x| >= radius, from the formulas of `tails` and the target's own tail.

        Raises ValueError for a network on a compact domain.
        """
        radius = _checks.positive("RadialBasis.beyond", "radius", radius)
        if self.domain.compact or self.target is None or self.target.tail is None:
            action = "Build with domain=WholeSpace(n)."
            raise ValueError(_checks.message("RadialBasis.beyond", str(self.domain), "a network on R^n", action))
        inner = features_beyond(self.fit.layers, self.fit.weights, radius)
        return inner + self.slope_error + float(self.target.tail(radius))

    def provenance(self) -> dict[str, Any]:
        """What a saved file should remember, as JSON-able values."""
        kernel = self.fit.layers.kernel
        return {
            "target": self.name,
            "eps": self.eps,
            "domain": str(self.domain),
            "builder": self.builder,
            "theorem": self.theorem,
            "activation": str(kernel.activation),
            "kernel": kernel.name,
            "gain": kernel.gain,
            "level": kernel.level,
            "shapes": [float(self.fit.shapes.min()), float(self.fit.shapes.max())],
            "condition": self.fit.condition,
            "cancellation": self.fit.cancellation,
            "attainable": self.attainable,
            "slope_error": self.slope_error,
            **self._record(),
            "samples": None if self.samples is None else asdict(self.samples),
            "seconds": self.seconds,
        }

    def figures(self) -> dict[str, str]:
        """Kernel and digits in words, as the command line and repr show them."""
        fit, kernel = self.fit, self.fit.layers.kernel
        low, high = fit.shapes.min(), fit.shapes.max()
        shapes = f"kappa = {low:.3g}" if low == high else f"kappa from {low:.3g} to {high:.3g}"
        return {
            "kernel": f"{kernel.name}, {shapes}; {kernel.activation} at level {kernel.level:.4g}",
            "digits": f"gain {kernel.gain:.3g}, condition {fit.condition:.1e}, cancellation {fit.cancellation:.1e}, "
            f"attainable {self.attainable:.1e}",
        }

    def __repr__(self) -> str:
        figures = self.figures()
        goal = "" if self.eps is None else f" to eps = {self.eps:g}"
        lines = [
            f"RadialBasis of {self.name}{goal} on {self.domain}",
            f"  layers   {self.hidden_layers:,}: {self.reason}",
            f"  kernel   {figures['kernel']}",
            f"  network  {self.network!r}",
            f"  digits   {figures['digits']}",
        ]
        if not self.domain.compact:
            radius = 1e12
            slope = f", of which {self.slope_error:.1e} are left of the slope" if self.slope_error else ""
            lines.append(f"  beyond   |F - f| <= {self.beyond(radius):.2g} for |x| >= {radius:.1g}, by formula{slope}")
        if self.samples is not None:
            data = self.samples
            lines.append(
                f"  samples  rms {data.rms:.4g}, largest {data.largest:.4g}; left out {data.cross_validated:.4g} rms, "
                f"smoothing {data.smoothing:.1e}"
            )
        else:
            lines.append(self._error())
        return "\n".join(lines)
