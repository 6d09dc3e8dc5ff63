"""What is known about sup |F - f|: the report, its reading rules and its printed form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from approx import _checks
from approx.domains import Ball, Box, WholeSpace

__all__ = ["SupError"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class SupError:
    """lower <= sup |F - f| (<= upper, where something certifies it), Euclidean norm over the components.

    lower : the largest |F - f| that was met at a point; a maximum over points is never an upper bound
    upper : a certified upper bound, or None: nothing certifies one
    claim : what kind of statement this is; "sampled" for a lower bound only
    rests_on : what the claim relies on, one sentence each
    obstacle : why there is no upper bound, where one was looked for
    domain : where the error was looked for
    argmax : (n,) the point where `lower` was met
    network_value, target_value : (m,) F and f there
    samples : how many times the network was evaluated
    boundary_pairs : how many points of cell boundaries were looked at from both sides
    rms : root mean square of |F - f| over evenly spread points of a compact domain; None on R^n
    reach : on R^n, the largest |x| that was looked at
    tail : on R^n, the target's own bound of |f - L| for |x| >= reach, if it has one
    eps : the accuracy the network was built for, if known
    unit : unit of the values
    seconds : wall time

    Raises ValueError when a bound is negative or not finite, or upper < lower.

    >>> report = SupError(lower=0.25, domain=Box([0], [1]), argmax=np.array([0.5]), network_value=np.array([0.0]),
    ...                   target_value=np.array([0.25]), samples=100)
    >>> report.refutes(0.2), report.refutes(0.3), report.proves(0.3)
    (True, False, False)
    """

    lower: float
    domain: Box | Ball | WholeSpace
    argmax: Array
    network_value: Array
    target_value: Array
    samples: int
    upper: float | None = None
    claim: str = "sampled"
    rests_on: tuple[str, ...] = ()
    obstacle: str = ""
    boundary_pairs: int = 0
    rms: float | None = None
    reach: float | None = None
    tail: float | None = None
    eps: float | None = None
    unit: str = ""
    seconds: float = 0.0

    def __post_init__(self) -> None:
        for name in ("lower", "upper", "rms", "reach", "tail", "eps", "seconds"):
            value = getattr(self, name)
            if value is not None and not 0 <= _checks.finite("SupError", name, value):
                raise ValueError(
                    _checks.message("SupError", f"{name} = {value}", f"{name} >= 0", "Pass a distance or a time.")
                )
        if self.upper is not None and self.upper < self.lower:
            raise ValueError(
                _checks.message(
                    "SupError",
                    f"lower = {self.lower!r} and upper = {self.upper!r}",
                    "lower <= upper",
                    f"One of the bounds is wrong: F and f differ by `lower` at x = {self.argmax.tolist()}.",
                )
            )

    def refutes(self, eps: float) -> bool:
        """Whether a point shows sup |F - f| > eps. False proves nothing: the supremum may still exceed eps."""
        return self.lower > _checks.positive("SupError.refutes", "eps", eps)

    def proves(self, eps: float) -> bool:
        """Whether a certified upper bound shows sup |F - f| <= eps. Never true for a sampled report."""
        eps = _checks.positive("SupError.proves", "eps", eps)
        return self.upper is not None and self.upper <= eps

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain numbers, lists, text and None: ready for json.dumps, no NaN or infinity."""
        result: dict[str, Any] = {name: getattr(self, name) for name in SupError.__dataclass_fields__}
        for name in ("argmax", "network_value", "target_value"):
            result[name] = getattr(self, name).tolist()
        return result | {"domain": str(self.domain), "rests_on": list(self.rests_on)}

    def __repr__(self) -> str:
        unit = f" {self.unit}" if self.unit else ""
        bracket = f"{self.lower:.6g} <= sup |F - f|"
        bracket += ", upper bound not certified" if self.upper is None else f" <= {self.upper:.6g}"
        rows = [("bracket", bracket + (f"   [{self.unit}]" if unit else ""))]
        rows.append(
            (
                "worst point",
                f"x = {_vector(self.argmax)}: F = {_vector(self.network_value)}{unit},"
                f" f = {_vector(self.target_value)}{unit}",
            )
        )
        if self.eps is not None:
            verdict = "refuted" if self.refutes(self.eps) else "proved" if self.proves(self.eps) else "not refuted"
            rows.append(("built for", f"eps = {self.eps:g}: {verdict}"))
        if self.rms is not None:
            rows.append(("rms", f"{self.rms:.6g}{unit}"))
        if self.reach is not None and self.upper is None:
            known = (
                "no bound of |f - L| is known" if self.tail is None else f"the target claims |f - L| <= {self.tail:g}"
            )
            rows.append(("beyond", f"|x| > {self.reach:g}: not looked at, {known}"))
        jumps = self.boundary_pairs or self.upper is None  # a proof has seen both sides without points
        sides = f", {self.boundary_pairs:,} boundary points from both sides" if jumps else ""
        rows.append(("looked at", f"{self.samples:,} points{sides}"))
        rows.extend(("rests on" if i == 0 else "", text) for i, text in enumerate(self.rests_on))
        if self.obstacle:
            rows.append(("because", self.obstacle))
        rows.append(("seconds", f"{self.seconds:.3g}"))
        title = f"{type(self).__name__} on {self.domain} ({self.claim})"
        return "\n".join([title, *(f"  {name:<12}{text}" for name, text in rows)])


def _vector(values: Array, most: int = 6) -> str:
    shown = [f"{value:.6g}" for value in values[:most]] + ["..."] * (len(values) > most)
    return shown[0] if len(values) == 1 else f"({', '.join(shown)})"
