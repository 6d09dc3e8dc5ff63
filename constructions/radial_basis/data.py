"""Radial-basis networks from samples, with errors in the values or without.

The smoothing parameter is chosen by cross-validation (Stone, Cross-validatory choice and assessment of statistical
predictions, 1974): the samples fall into five parts, each is predicted from the other four, and the regularisation with
the least root mean square counts. One singular value decomposition per part serves all regularisations.
"""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from approx import _checks
from approx.activations import RadialActivation
from approx.domains import Ball, Box
from constructions._gadgets import check_dtype
from constructions.radial_basis.build import NAME, THEOREM, planned_by
from constructions.radial_basis.centers import spread
from constructions.radial_basis.design import Problem, design, plan, solve, system
from constructions.radial_basis.features import assemble, sweep
from constructions.radial_basis.result import RadialBasis, SampleReport

__all__ = ["cross_validated", "from_samples"]

Array = NDArray[np.float64]
_CALL = "radial_basis.from_samples"
_FOLDS = 5
_RIDGES = (1e-9, 1e-3)  # for values without and with errors: the centres and shapes are chosen for both
_GRID = np.geomspace(1e-13, 10.0, 57)  # four a decade
MAX_LAYERS = 2000


def from_samples(
    points: ArrayLike,
    values: ArrayLike,
    *,
    layers: int,
    smoothing: float | None = None,
    activation: RadialActivation | str = "shifted_relu",
    domain: Box | Ball | None = None,
    gain: float | None = None,
    shape: float | None = None,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
) -> RadialBasis:
    """A network with `layers` hidden layers for samples: points (k, n), values (k,) or (k, m), scattered or gridded.

    layers : fewer than 4 k / 5
    smoothing : >= 0, or None: by cross-validation; 0 regularises no more than rounding asks for
    domain : where centres go and the network is meant to be used; None takes the samples' bounding box
    seed : of the division of the samples into five parts
    The other arguments are those of `build`. Repeated points are welcome. Raises ValueError or TypeError for NaN,
    other shapes, points outside the domain, and more layers than the samples determine.

    >>> rng = np.random.default_rng(0)
    >>> x = rng.uniform(-3, 3, (300, 1))
    >>> noisy = np.exp(-x[:, 0] ** 2) + 0.05 * rng.normal(size=300)
    >>> built = from_samples(x, noisy, layers=40)
    >>> grid = np.linspace(-3, 3, 100)[:, None]
    >>> bool(np.abs(built.network.evaluate(grid)[:, 0] - np.exp(-grid[:, 0] ** 2)).max() < 0.06)
    True
    """
    started = time.perf_counter()
    x = _checks.finite_array(_CALL, "points", points, (None, None))
    y = _checks.real_array(_CALL, "values", values)
    y = _checks.finite_array(_CALL, "values", y[:, None] if y.ndim == 1 else y, (len(x), None))
    if not x.shape[1] or not y.shape[1]:
        required = "at least one coordinate and one value"
        raise ValueError(_checks.message(_CALL, f"shapes {x.shape}, {y.shape}", required, "Check the columns."))
    layers = _checks.count(_CALL, "layers", layers, most=MAX_LAYERS)
    if layers >= 4 * len(x) // 5:
        action = "Use fewer layers, or give more samples."
        raise ValueError(_checks.message(_CALL, f"{layers} layers for {len(x)} samples", "fewer than 4/5", action))
    if smoothing is not None and smoothing != 0:
        smoothing = _checks.positive(_CALL, "smoothing", smoothing)
    check_dtype(_CALL, dtype)
    domain = _domain(x, domain)
    box = domain.bounding_box()
    order = np.random.default_rng(_checks.count(_CALL, "seed", seed, least=0)).permutation(len(x))
    parts = np.array_split(order, _FOLDS)
    held, rest = parts[0], np.concatenate(parts[1:])
    problem = Problem(
        x[rest],
        y[rest],
        x[held],
        y[held],
        middle=(box.lower + box.upper) / 2,
        size=float(box.widths.max()) / 2,
        candidates=lambda amount, reach: spread(domain, amount, reach),
        digits=torch.finfo(dtype).eps,
        mean=True,
    )
    fixed = planned_by(_CALL, shape, gain, layers)
    tried = []
    for ridge in _RIDGES if smoothing is None else (smoothing,):
        guess = replace(problem, ridge=ridge)
        made = design(guess, activation, layers, plan(guess, activation, layers, fixed))
        columns, _ = system(replace(problem, points=x, values=y), *sweep(made.layers, x))
        rounding = problem.digits * made.layers.kernel.gain
        grid = _GRID[_GRID > rounding] if smoothing is None else np.array([max(smoothing, rounding)])
        tried.append((made, grid, cross_validated(columns, y, parts, grid)))
    made, grid, errors = min(tried, key=lambda item: item[2].min())
    best = int(errors.argmin())
    everything = replace(problem, points=x, values=y, ridge=float(grid[best]))
    made = solve(everything, made.layers, made.centers, made.shapes)
    network = assemble(made.layers, made.weights, made.matrix, made.offset, dtype)
    off = np.linalg.norm(network.evaluate(x) - y, axis=1)
    return RadialBasis(
        network=network,
        target=None,
        eps=None,
        domain=domain,
        fit=made,
        builder=NAME,
        theorem=THEOREM,
        reason="asked for",
        report=None,
        seconds=time.perf_counter() - started,
        samples=SampleReport(
            len(x), float(grid[best]), float(errors[best]), float(np.sqrt(np.mean(off**2))), float(off.max())
        ),
    )


def cross_validated(columns: Array, values: Array, parts: list[NDArray[np.int64]], grid: Array) -> Array:
    """For every regularisation mu of the grid the root mean square at the parts left out, when the other rows minimise
    |columns a - values|^2 + mu^2 k |a|^2, k their number."""
    squares = np.zeros(len(grid))
    for part in parts:
        rest = np.setdiff1d(np.arange(len(columns)), part)
        q, r = np.linalg.qr(columns[rest])
        u, s, vt = np.linalg.svd(r)
        right = u.T @ (q.T @ values[rest])
        left = columns[part] @ vt.T
        for i, mu in enumerate(grid):
            damped = (s / (s**2 + mu**2 * len(rest)))[:, None] * right
            squares[i] += np.square(left @ damped - values[part]).sum()
    return np.sqrt(squares / len(columns))


def _domain(x: Array, domain: Box | Ball | None) -> Box | Ball:
    if domain is None:
        low, high = x.min(axis=0), x.max(axis=0)
        half = np.where(high > low, 0.0, max(0.5 * float((high - low).max()), 1e-3))
        return Box(low - half, high + half)
    if not isinstance(domain, Box | Ball) or domain.dim != x.shape[1]:
        received, required = f"domain = {_checks.show(domain)}", f"a Box or Ball of R^{x.shape[1]}"
        raise ValueError(_checks.message(_CALL, received, required, "Build one with approx.Box."))
    outside = ~domain.contains(x)
    if outside.any():
        received = f"a sample at {x[int(np.argmax(outside))].tolist()}"
        raise ValueError(_checks.message(_CALL, received, f"samples inside {domain}", "Widen the domain."))
    return domain
