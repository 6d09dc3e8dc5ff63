"""What else could be done with as many parameters: trained networks, a grid of constants, radial basis functions."""

from __future__ import annotations

import functools
import itertools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.interpolate import RBFInterpolator
from torch import Tensor, nn

from approx import _checks
from approx.rates._table import RateRow
from approx.targets import Target
from approx.training import random_network

__all__ = ["BASELINES", "Budget", "baseline"]

Array = NDArray[np.float64]
Function = Callable[[Array], Array]
_MOST_CENTERS = 3000  # the interpolator solves a dense system
_CHUNK = 4096


@dataclass(frozen=True)
class Budget:
    """What a baseline may spend.

    seeds : of the trained networks; the row is that of the median error
    hidden : their hidden layers
    steps, batch, lr : of Adam, on the mean square error, the rate falling to 0 along a cosine
    data : quasi-random points to train on
    samples : points at which the error is looked for
    """

    seeds: tuple[int, ...] = (0, 1, 2)
    hidden: int = 4
    steps: int = 1000
    batch: int = 256
    lr: float = 1e-2
    data: int = 4096
    samples: int = 50_000

    def __post_init__(self) -> None:
        for name in ("hidden", "steps", "batch", "data", "samples"):
            _checks.count("Budget", name, getattr(self, name))
        _checks.positive("Budget", "lr", self.lr)
        if not isinstance(self.seeds, tuple) or not self.seeds:
            received = f"seeds = {_checks.show(self.seeds)}"
            raise ValueError(_checks.message("Budget", received, "a tuple of integers", "Pass seeds=(0, 1, 2), say."))
        for seed in self.seeds:
            _checks.count("Budget", "seeds", seed, least=0)


@dataclass(frozen=True, eq=False)
class _Fitted:
    """A function with `parameters` numbers in it, (k, n) -> (k, m); layers: of a network"""

    function: Function
    parameters: int
    layers: int | None = None


def baseline(kind: str, target: Target, parameters: int, eps: float, budget: Budget | None = None) -> RateRow:
    """The row of a competitor with at most `parameters` parameters, on target.domain.

    kind : a name from BASELINES
        "trained radial", "trained ReLU": hidden layers of equal width with shifted sigmoid, as in the paper's
        experiments, or ReLU, trained with Adam
        "grid": a constant on every cell of a product grid, the value at its centre
        "RBF": scipy's thin plate spline through quasi-random centres, whose coordinates count as parameters
    eps : only noted in the row

    The error is the largest at budget.samples points, a lower bound of the sup norm. On one thread with explicit
    seeds: the same numbers in every process. Raises ValueError for an unknown kind; a budget that is too small for any
    such function gives a row that says so.

    >>> from approx import targets
    >>> row = baseline("grid", targets.gaussian(), 100, 0.1)
    >>> row.parameters, round(row.lower, 1), row.claim
    (100, 0.3, 'sampled')
    """
    call = "baseline"
    make = BASELINES[_checks.one_of(call, "kind", kind, BASELINES)]
    parameters = _checks.count(call, "parameters", parameters)
    budget = Budget() if budget is None else budget
    blank = functools.partial(
        RateRow, target=target.name, dim_in=target.dim_in, builder=kind, cover="", eps=eps, baseline=True
    )
    started, threads = time.perf_counter(), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        seeds = budget.seeds if kind in _TRAINED else budget.seeds[:1]
        fitted = [make(target, parameters, budget, seed) for seed in seeds]
        errors = [_error(target, one.function, budget) for one in fitted]
    except _TooSmall as small:
        return blank(note=str(small), seconds=time.perf_counter() - started)
    finally:
        torch.set_num_threads(threads)
    middle = int(np.argsort(errors, kind="stable")[len(errors) // 2])
    note = f"median of {len(seeds)} seeds, {min(errors):.3g} to {max(errors):.3g}" if len(seeds) > 1 else ""
    return blank(
        hidden_layers=fitted[middle].layers,
        parameters=fitted[middle].parameters,
        lower=errors[middle],
        claim="sampled",
        seconds=time.perf_counter() - started,
        note=note,
    )


class _TooSmall(ValueError):
    """No function of that kind has so few parameters."""


def _error(target: Target, function: Function, budget: Budget) -> float:
    points = target.domain.sample(budget.samples, seed=1)
    gaps = [target(part) - function(part) for part in np.array_split(points, max(1, len(points) // _CHUNK))]
    return float(np.linalg.norm(np.concatenate(gaps), axis=1).max())


def _widths(target: Target, parameters: int, hidden: int) -> tuple[int, ...]:
    """The widths n, w, ..., w, m with the largest w so that there are at most `parameters` weights and biases."""
    for w in range(int(math.sqrt(parameters)) + 1, 0, -1):
        widths = (target.dim_in, *[w] * hidden, target.dim_out)
        size = sum(out * (fan_in + 1) for fan_in, out in itertools.pairwise(widths))
        if size <= parameters:
            return widths
    raise _TooSmall(f"{parameters} parameters, and {hidden} hidden layers of width 1 take {size}")


def _trained_radial(target: Target, parameters: int, budget: Budget, seed: int) -> _Fitted:
    network = random_network(_widths(target, parameters, budget.hidden), "shifted_sigmoid", seed=seed)
    return _trained(network.requires_grad_(True), target, budget, seed)


def _trained_relu(target: Target, parameters: int, budget: Budget, seed: int) -> _Fitted:
    generator = torch.Generator().manual_seed(seed)
    layers: list[nn.Module] = []
    for fan_in, out in itertools.pairwise(_widths(target, parameters, budget.hidden)):
        linear = nn.utils.skip_init(nn.Linear, fan_in, out, dtype=torch.float64)
        with torch.no_grad():
            for parameter in (linear.weight, linear.bias):
                parameter.uniform_(-1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in), generator=generator)
        layers += [linear, nn.ReLU()]
    return _trained(nn.Sequential(*layers[:-1]), target, budget, seed)


def _trained(network: nn.Module, target: Target, budget: Budget, seed: int) -> _Fitted:
    """Adam on coordinates and values brought to size 1, which a first and last affine map would do as well."""
    box = target.domain.bounding_box()
    center, half = (box.lower + box.upper) / 2, (box.upper - box.lower) / 2
    points = target.domain.sample(budget.data, seed=0)
    values = target(points)
    middle, scale = values.mean(axis=0), max(float(values.std()), 1e-300)
    x, y = torch.from_numpy((points - center) / half), torch.from_numpy((values - middle) / scale)
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(network.parameters(), lr=budget.lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, budget.steps)
    for _ in range(budget.steps):
        chosen = torch.randint(len(x), (min(budget.batch, len(x)),), generator=generator)
        optimizer.zero_grad()
        loss: Tensor = nn.functional.mse_loss(network(x[chosen]), y[chosen])
        loss.backward()
        optimizer.step()
        schedule.step()

    def function(part: Array) -> Array:
        with torch.no_grad():
            return network(torch.from_numpy((part - center) / half)).numpy() * scale + middle

    return _Fitted(function, sum(p.numel() for p in network.parameters()), budget.hidden)


def _grid(target: Target, parameters: int, budget: Budget, seed: int) -> _Fitted:
    n, m = target.dim_in, target.dim_out
    side = int((parameters / m) ** (1 / n) + 1e-9)
    if side < 1:
        raise _TooSmall(f"{parameters} parameters, and one value takes {m}")
    box = target.domain.bounding_box()
    step = (box.upper - box.lower) / side
    places = np.stack(np.meshgrid(*[np.arange(side)] * n, indexing="ij"), axis=-1).reshape(-1, n)
    table = target(target.domain.project(box.lower + (places + 0.5) * step))

    def function(part: Array) -> Array:
        cell = np.clip(((part - box.lower) / step).astype(np.int64), 0, side - 1)
        return table[np.ravel_multi_index(tuple(cell.T), (side,) * n)]

    return _Fitted(function, table.size)


def _rbf(target: Target, parameters: int, budget: Budget, seed: int) -> _Fitted:
    n, m = target.dim_in, target.dim_out
    count = (parameters - m * (n + 1)) // (n + m)
    if count < n + 1:
        raise _TooSmall(f"{parameters} parameters, and {n + 1} centres take {(n + 1) * (n + 2 * m)}")
    centers = target.domain.sample(min(count, _MOST_CENTERS), seed=0)
    return _Fitted(RBFInterpolator(centers, target(centers)), len(centers) * (n + m) + m * (n + 1))


BASELINES: dict[str, Callable[[Target, int, Budget, int], _Fitted]] = {
    "trained radial": _trained_radial,
    "trained ReLU": _trained_relu,
    "grid": _grid,
    "RBF": _rbf,
}
_TRAINED = ("trained radial", "trained ReLU")
