"""What every construction shares: the path from a target and a tolerance to a measured network."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from tqdm import tqdm

from approx import _checks
from approx._compile import ready
from approx.affine import AffineMap
from approx.certification import AmbiguousNetwork, EnclosureUnavailable, GlobalBoundUnavailable, certify
from approx.certification.cells import span
from approx.covers import Cover
from approx.domains import Ball, Box, WholeSpace
from approx.evaluation import sup_error
from approx.targets import Target, check_claims, check_tail
from approx.targets._target import require_target
from constructions import covers
from constructions._gadgets import check_dtype
from constructions._result import Assembly, Construction

__all__ = ["TRY", "Assembly", "Builder", "Construction", "ToleranceMissed", "proved", "unproved"]

# Shares of eps: rounding of values to the grid, growth of radii by the paddings; and the overlap of the cells.
_BUDGET = {torch.float64: (2.0**-10, 2.0**-12, 1e-6), torch.float32: (2.0**-6, 1e-2, 4e-3)}
_RETRIES = 6
_PROVE_DIM, _PROVE_LAYERS, _PROVE_SECONDS = 10, 50_000, 20.0
TRY = "Call approx.certify(construction, max_seconds=...), or radial certify on the saved file."
_NEAR = 0.1  # of a measured error: bounds so close to it say all that matters


class ToleranceMissed(ValueError):
    """The measured error of a finished network exceeds eps.

    >>> import approx
    >>> from constructions import ToleranceMissed, build
    >>> one = approx.Cover([[0.0]], [[1.0]], approx.AffineMap.constant([0.0], 1), radii=[1.0])
    >>> try:
    ...     build(approx.targets.gaussian(dim=1), 0.1, cover=one, samples=1000)
    ... except ToleranceMissed:
    ...     print("more cells are needed")
    more cells are needed
    """


@dataclass(frozen=True, eq=False)
class Builder:
    """One construction: its name, its source and how it turns a cover into a network.

    name, theorem : how it is called and cited
    widths : the hidden widths in words
    assemble : (cover, *, tolerance, maps, dtype) -> Assembly
    everywhere : it reproduces the cover's affine map outside all cells, so claims on R^n are possible
    coding : the least share of eps to spend on rounding values to a grid
    strategy : the cover that "auto" stands for, from n
    refuse : (n, m) -> why there is no such network, or None
    layers : an estimate of the hidden layers from (n, m, cells), used to refuse before building

    >>> from constructions import BUILDERS
    >>> builder = BUILDERS["minimal"]
    >>> builder.widths, builder.everywhere, builder.refuse(2, 1) is None, builder.refuse(1, 1) is None
    ('max(n, m), every layer', False, True, False)
    """

    name: str
    theorem: str
    widths: str
    assemble: Callable[..., Assembly]
    everywhere: bool
    layers: Callable[[int, int, int], int]
    coding: float = 0.0
    strategy: Callable[[int], str] = lambda n: "auto"
    refuse: Callable[[int, int], str | None] = lambda n, m: None

    def build(
        self,
        target: Target,
        eps: float,
        *,
        domain: Box | Ball | WholeSpace | None = None,
        cover: str | Cover = "auto",
        values: str = "chebyshev",
        maps: str = "conditioned",
        dtype: torch.dtype = torch.float64,
        device: str | torch.device = "cpu",
        max_layers: int = 1_000_000,
        max_seconds: float | None = None,
        tries: int = 1,
        samples: int = 200_000,
        seed: int = 0,
        verify: bool = True,
        prove: bool = True,
        progress: bool = False,
        reason: str = "asked for",
    ) -> Construction:
        """Build a network F with |F - f| <= eps on the domain, and measure it.

        target : what to approximate
        eps : the tolerance in sup norm (Euclidean norm of the values), > 0
        domain : where; None means R^n if the construction and the target's affine part allow it, else target.domain
        cover : a strategy of `constructions.covers.STRATEGIES`, "auto", or a Cover made by hand
        values : "center" (the paper's f(c_i)) or "chebyshev" (the middle of the enclosed range)
        maps : "conditioned" or "paper" (the literal maps, where the construction has them)
        dtype, device : of the network's weights; float64 or float32
        max_layers : refuse, before building, what is predicted to need more hidden layers
        max_seconds : for cover="greedy": choose no further large cells after that time or Ctrl-C; small ones are added
            to meet eps all the same; tries : take the best of so many searches. See `covers.greedy`
        samples, seed : for the measurement; verify=False skips it
        prove : also certify an upper bound where that is quick: n <= 10, at most 50,000 layers, 20 seconds
        progress : show bars while it searches, measures and proves
        Raises ValueError with what to change: eps <= 0 or NaN, a domain the construction cannot serve, a claimed
        Lipschitz constant or tail that sampling refutes, too many layers; ToleranceMissed for a measured error above
        eps.
        """
        call = f"{self.name}.build"
        require_target(call, target)
        eps = _checks.positive(call, "eps", eps)
        max_layers = _checks.count(call, "max_layers", max_layers)
        check_dtype(call, dtype)
        _check_device(call, device, dtype)
        domain = self._domain(call, target, domain)
        obstacle = self.refuse(target.dim_in, target.dim_out)
        if obstacle:
            raise ValueError(obstacle)
        check_claims(target, seed=seed)
        if not domain.compact:
            check_tail(target)
        options = (domain, cover, values, maps, dtype, device, max_layers)
        started = time.perf_counter()
        for attempt in range(_RETRIES):
            search = {"max_seconds": max_seconds, "tries": tries, "progress": progress}
            try:
                with tqdm(total=2, desc=f"{self.name}: cover", leave=False, disable=not progress) as bar:
                    built = self._once(target, eps, bar, search, *options)
                if cover == "auto" and built.cover.strategy.startswith("nested"):
                    reason += "; the cells follow the level sets"
                built = replace(built, reason=reason)
                if not verify:
                    return built
                built = _measured(built, samples, seed, progress)
                return proved(built, progress) if prove else built
            except (ToleranceMissed, covers.BrokenClaim):
                # An estimated constant may be too small; a finer cover follows from a larger one.
                slope = target.lipschitz if target.lipschitz_source == "estimated" else None
                if slope is None or isinstance(cover, Cover) or attempt == _RETRIES - 1:
                    raise
                if max_seconds is not None:
                    max_seconds = max(0.0, max_seconds - (time.perf_counter() - started))
                target = replace(target, lipschitz=1.5 * slope, residual_lipschitz=None)
        raise AssertionError("the loop returns or raises")

    def _once(
        self,
        target: Target,
        eps: float,
        bar: tqdm,
        search: dict[str, Any],
        domain: Box | Ball | WholeSpace,
        cover: str | Cover,
        values: str,
        maps: str,
        dtype: torch.dtype,
        device: str | torch.device,
        max_layers: int,
    ) -> Construction:
        """The network for the target as it is described, not yet measured."""
        call = f"{self.name}.build"
        started = time.perf_counter()
        coding, growth, _ = _BUDGET[dtype]
        coding = max(coding, self.coding)
        cells = self._cover(target, eps * (1 - coding - growth), domain, cover, values, dtype, max_layers, search)
        bar.set_description(f"{self.name}: {len(cells):,} cells into layers")
        bar.update()
        made = self.assemble(cells, tolerance=eps * coding, maps=maps, dtype=dtype)
        if made.network.hidden_layers > max_layers:
            received = f"a size of {made.network.hidden_layers:,} hidden layers"
            required = f"at most max_layers = {max_layers:,}"
            raise ValueError(_checks.message(call, received, required, "Raise max_layers or eps."))
        if not domain.compact:
            _check_slope(call, made, target)
        return Construction(
            network=made.network.to(device),
            cover=made.cover,
            target=target,
            eps=eps,
            domain=domain,
            builder=self.name,
            theorem=self.theorem,
            reason="",
            rounding=made.rounding,
            report=None,
            seconds=time.perf_counter() - started,
        )

    def _domain(self, call: str, target: Target, domain: Any) -> Box | Ball | WholeSpace:
        asymptotic = target.affine is not None and target.tail is not None
        if domain is None:
            return WholeSpace(target.dim_in) if self.everywhere and asymptotic else target.domain
        if not isinstance(domain, (Box, Ball, WholeSpace)):
            received, action = f"domain {_checks.show(domain)}", "Write approx.Box([-1, 0], [1, 2]), say."
            raise TypeError(_checks.message(call, received, "a Box, Ball or WholeSpace", action))
        if domain.dim != target.dim_in:
            raise ValueError(
                _checks.message(
                    call, f"a domain of R^{domain.dim}", f"one of R^{target.dim_in}, as the target", "Match them."
                )
            )
        if not domain.compact and not self.everywhere:
            raise ValueError(
                _checks.message(
                    call,
                    str(domain),
                    "a compact domain: this construction means nothing outside its cells",
                    "Use constant_width or widening on R^n, or pass a Box or Ball.",
                )
            )
        if not domain.compact and not asymptotic:
            raise ValueError(
                _checks.message(
                    call,
                    f"{domain} for {target.name}, which has no affine part and tail",
                    "an asymptotically affine target (affine= and tail=) on an unbounded domain",
                    "Declare them, or pass a compact domain such as target.domain.",
                )
            )
        return domain

    def _cover(
        self,
        target: Target,
        eps: float,
        domain: Box | Ball | WholeSpace,
        cover: str | Cover,
        values: str,
        dtype: torch.dtype,
        max_layers: int,
        search: dict[str, Any],
    ) -> Cover:
        if isinstance(cover, Cover):
            if (cover.dim_in, cover.dim_out) != (target.dim_in, target.dim_out):
                raise ValueError(
                    _checks.message(
                        f"{self.name}.build",
                        f"a cover of R^{cover.dim_in} with values in R^{cover.dim_out}",
                        f"R^{target.dim_in} and R^{target.dim_out}, as the target",
                        "Make the cover for this target.",
                    )
                )
            if search["max_seconds"] is not None or search["tries"] != 1:
                received = "max_seconds or tries with a Cover made by hand"
                action = "Leave them out."
                raise ValueError(_checks.message(f"{self.name}.build", received, 'cover="greedy"', action))
            return cover
        if cover == "auto":
            cover = self.strategy(target.dim_in)
        affine = target.affine if self.everywhere else None
        if affine is None:
            # No asymptote: the middle of the values seen keeps the coded values small.
            seen = target(domain.sample(1024))
            affine = AffineMap.constant((seen.min(axis=0) + seen.max(axis=0)) / 2, target.dim_in)
        # The largest number of cells whose layers stay within max_layers.
        few, many = 1, max_layers + 1
        while many - few > 1:
            middle = (few + many) // 2
            fits = self.layers(target.dim_in, target.dim_out, middle) <= max_layers
            few, many = (middle, many) if fits else (few, middle)
        return covers.make(
            cover,
            target,
            eps,
            domain,
            everywhere=self.everywhere,
            affine=affine,
            values=values,
            overlap=_BUDGET[dtype][2],
            max_cells=few,
            **search,
        )


def _check_device(call: str, device: Any, dtype: torch.dtype) -> None:
    """Asked before the long work: the weights go there at its end."""
    try:
        torch.zeros(1, device=device, dtype=dtype)
    except (RuntimeError, AssertionError, TypeError) as error:  # torch has one for every way to fail
        received = f"device = {_checks.show(device)} ({str(error).splitlines()[0][:80]})"
        required = f"a device that holds {dtype} here"
        raise ValueError(_checks.message(call, received, required, 'Leave device out, or pass "cpu".')) from error


def _check_slope(call: str, made: Assembly, target: Target) -> None:
    """On R^n any other slope than that of the target's affine part leaves an unbounded error."""
    assert target.affine is not None, "a claim on R^n is about an asymptotically affine target"
    if not made.affine_exact:
        raise ValueError(
            _checks.message(
                call,
                "a cover whose affine part is not reproduced exactly",
                "balls and a slope that the dtype holds, or a constant affine part, for a claim on all of R^n",
                "Use a cover of balls and dtype=torch.float64, or a compact domain.",
            )
        )
    if (made.cover.affine.matrix != target.affine.matrix).any():
        raise ValueError(
            _checks.message(
                call,
                f"a cover with slope {_checks.show(made.cover.affine.matrix.tolist())} outside its cells",
                f"that of the target's affine part, {_checks.show(target.affine.matrix.tolist())}, on all of R^n",
                "Make the cover with affine=target.affine, or pass a compact domain.",
            )
        )


def _measured(built: Construction, samples: int, seed: int, progress: bool) -> Construction:
    report = sup_error(built, samples=samples, seed=seed, progress=progress)
    if report.lower > built.eps:
        raise ToleranceMissed(
            _checks.message(
                f"{built.builder}.build",
                f"a network with measured error {report.lower:.6g} at {report.argmax} on {built.domain}",
                f"an error of at most eps = {built.eps:g}",
                "Pass a larger Lipschitz constant or a finer cover; verify=False returns the network as it is.",
            )
        )
    target = built.target
    known = "the target's modulus or enclosure" if target.lipschitz is None else _slope(target)
    return replace(built, report=replace(report, rests_on=(*report.rests_on, f"cells chosen from {known}")))


def proved(built: Any, progress: bool) -> Any:
    """A measured construction with an upper bound in its report, or with the reason why there is none."""
    if built.network.dim_in > _PROVE_DIM or built.hidden_layers > _PROVE_LAYERS:
        limits = f"more than {_PROVE_DIM} dimensions or {_PROVE_LAYERS:,} layers"
        return unproved(built, f"not tried by itself for {limits}, since it may take long. {TRY}")
    if progress:
        first = "" if ready(span) else " (the first time, this compiles for a while)"
        tqdm.write(f"proving an upper bound{first}", file=sys.stderr)
    near = _NEAR * built.report.lower or None if built.eps is None else None  # there is no eps to be decided
    try:
        proof = certify(built, tol=near, max_seconds=_PROVE_SECONDS, progress=progress)
    except (EnclosureUnavailable, GlobalBoundUnavailable, AmbiguousNetwork) as error:
        return unproved(built, str(error))
    if proof.upper is None:
        return unproved(built, f"none found in {_PROVE_SECONDS:g} seconds. {TRY}")
    report, rests_on = built.report, proof.rests_on
    names: tuple[str, ...] = ("samples", "boundary_pairs", "rms", "reach", "tail")
    if report.lower > proof.lower:  # the measured point shows more
        names += ("lower", "argmax", "network_value", "target_value")
    rests_on = (f"lower: {report.samples:,} points; upper: {rests_on[0]}", *rests_on[1:])
    measured = {name: getattr(report, name) for name in names}
    seconds = report.seconds + proof.seconds
    return replace(built, report=replace(proof, **measured, rests_on=rests_on, seconds=seconds))


def unproved(built: Any, why: str) -> Any:
    """A measured construction whose report says why it has no upper bound."""
    return replace(built, report=replace(built.report, obstacle=why))


def _slope(target: Target) -> str:
    return f"the {target.lipschitz_source} Lipschitz constant {target.lipschitz:.6g}"
