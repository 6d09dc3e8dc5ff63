"""Fine-tuning: centres and shapes move by L-BFGS, and the weights are solved for at every step.

With the weights always optimal the gradient of the residual needs only the derivatives of the features at fixed weights
(variable projection: Golub and Pereyra, The differentiation of pseudo-inverses and nonlinear least squares problems
whose variables separate, 1973).
"""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize

from approx import _checks
from approx.evaluation import sup_error
from constructions.radial_basis.build import problem_for
from constructions.radial_basis.design import Fit, Problem, solve, system
from constructions.radial_basis.features import Layers, assemble, sweep
from constructions.radial_basis.result import RadialBasis
from constructions.radial_basis.solve import least_squares

__all__ = ["fine_tune"]

Array = NDArray[np.float64]
_CALL = "radial_basis.fine_tune"
_ROUNDS = 3


def fine_tune(built: RadialBasis, steps: int = 20, *, samples: int = 20_000, seed: int = 0) -> RadialBasis:
    """The same construction after at most `steps` steps of L-BFGS on centres and shapes; never worse than before.

    The result is measured anew; where the steps have not lowered the error at points that are not fitted, `built` comes
    back itself. Raises TypeError for anything but a RadialBasis, ValueError for one made from samples, or with a slope
    at infinity, which needs slopes K that are powers of two.

    >>> from approx import targets
    >>> from constructions.radial_basis import build
    >>> rough = build(targets.gaussian(dim=1), layers=6, samples=1000)
    >>> fine = fine_tune(rough, samples=1000)
    >>> bool(fine.report.lower < 0.5 * rough.report.lower)
    True
    """
    if not isinstance(built, RadialBasis):
        required = "a RadialBasis"
        raise TypeError(_checks.message(_CALL, _checks.show(built), required, "Pass what radial_basis.build returned."))
    steps = _checks.count(_CALL, "steps", steps)
    if built.target is None or (not built.domain.compact and built.fit.matrix.any()):
        received = f"a network for {built.name} on {built.domain}"
        required = "one built for a target, on a compact domain or without a slope at infinity"
        raise ValueError(_checks.message(_CALL, received, required, "Build it for such a target."))
    started = time.perf_counter()
    dtype = built.network.dtype
    problem = problem_for(built.target, built.domain, built.hidden_layers, dtype)
    tuned = _tuned(problem, built.fit, steps)
    if tuned.score >= built.fit.score:
        return built
    network = assemble(tuned.layers, tuned.weights, tuned.matrix, tuned.offset, dtype)
    seconds = built.seconds + time.perf_counter() - started
    result = replace(built, network=network.to(built.network.device), fit=tuned, report=None, seconds=seconds)
    if built.report is None:
        return result
    report = sup_error(result, samples=samples, seed=seed)
    return replace(result, report=report) if report.lower < built.report.lower else built


def _tuned(problem: Problem, fit: Fit, steps: int) -> Fit:
    layers, count = fit.layers, len(fit.layers)
    start = np.concatenate([layers.images.ravel() / problem.size, np.log(layers.slopes)])
    points = torch.from_numpy(problem.points.T.copy())
    digits = problem.digits * layers.kernel.gain

    def unpack(vector: Array) -> Layers:
        images = vector[: layers.images.size].reshape(layers.images.shape) * problem.size
        return replace(layers, images=images, slopes=np.exp(vector[layers.images.size :]))

    def objective(vector: Array) -> tuple[float, Array]:
        """log |residual|^2 with the best weights, and its gradient at those weights."""
        now = unpack(vector)
        columns, values = system(problem, *sweep(now, problem.points))
        solution = least_squares(columns, values, digits).coefficients
        rest = columns @ solution - values
        variable = torch.from_numpy(vector).requires_grad_(True)
        features, moved = _features(layers, variable, points, problem.size)
        if problem.affine is None:
            scaled = (moved - torch.from_numpy(problem.middle)) / problem.size
            features = torch.cat([features, scaled, torch.ones_like(scaled[:, :1])], dim=1)
        product = (features * torch.from_numpy(rest @ solution.T)).sum()
        (gradient,) = torch.autograd.grad(product, variable)
        total = float((rest**2).sum()) + digits**2 * len(rest) * float((solution**2).sum())
        return np.log(total), 2 * gradient.numpy() / total

    found = minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": steps})
    moved = unpack(found.x)
    shapes = fit.shapes * moved.slopes / layers.slopes
    assert len(moved) == count, "fine-tuning keeps the number of layers"
    return solve(problem, moved, moved.images, shapes, _ROUNDS)


def _features(layers: Layers, vector: torch.Tensor, x: torch.Tensor, size: float) -> tuple[torch.Tensor, torch.Tensor]:
    """What `sweep` computes, as a function that can be differentiated; x is (n, k)."""
    count, n = layers.images.shape
    images, slopes = vector[: count * n].reshape(count, n) * size, torch.exp(vector[count * n :])
    level, rho = layers.kernel.level, layers.kernel.activation
    phis, ratios = [], []
    for image, slope in zip(images, slopes, strict=True):
        offset = x - image[:, None]
        factor = rho.factor(torch.sqrt(level**2 + slope**2 * offset.square().sum(dim=0)))
        phis.append((1 - factor) / layers.kernel.at_level)
        ratios.append(factor / layers.renormal)
        x = image[:, None] + offset * ratios[-1]
    stacked = torch.stack(ratios)
    after = torch.flip(torch.cumprod(torch.flip(stacked, [0]), dim=0), [0])
    tails = torch.cat([after[1:], torch.ones_like(after[:1])])
    return (torch.stack(phis) * tails).T, x.T
