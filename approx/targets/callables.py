"""Targets from numpy and torch callables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from approx import _checks
from approx.domains import Ball, Box
from approx.targets._target import Target
from approx.targets.falsify import estimate_lipschitz

__all__ = ["TorchFunction", "from_numpy", "from_torch"]

Array = NDArray[np.float64]


def from_numpy(
    fn: Callable[[Array], Any],
    dim_in: int,
    dim_out: int = 1,
    *,
    domain: Box | Ball,
    lipschitz: float | None = None,
    name: str = "f",
    **facts: Any,
) -> Target:
    """A target from fn: (k, n) float64 -> (k, m), or (k,) when m = 1.

    `facts` are further fields of Target: modulus, affine, tail, enclosure, commentary, unit, ... Without `lipschitz`
    (and without `modulus`) the constant is estimated from samples and marked as such. fn is called at a few points of
    the domain first; raises ValueError when it fails there, returns the wrong shape, or is not vectorised.

    >>> f = from_numpy(lambda x: np.cos(x[:, 0]) * x[:, 1], 2, domain=Box.cube(2, 1.0), lipschitz=2.0)
    >>> f([0.0, 0.5])
    array([0.5])
    """
    target = Target(fn=fn, dim_in=dim_in, dim_out=dim_out, domain=domain, lipschitz=lipschitz, name=name, **facts)
    _probe(target)
    return target if target.modulus is not None else estimate_lipschitz(target)


def from_torch(
    fn: Callable[[Any], Any],
    dim_in: int,
    dim_out: int = 1,
    *,
    domain: Box | Ball,
    lipschitz: float | None = None,
    name: str = "f",
    **facts: Any,
) -> Target:
    """A target from a torch callable (or module), tensor (k, n) float64 -> tensor (k, m) or (k,); as from_numpy.

    Values are computed without gradients, on the device and in the dtype fn itself chooses, and returned as float64.

    >>> f = from_torch(lambda x: x.square().sum(1), 2, domain=Box.cube(2, 1.0), lipschitz=3.0)
    >>> f([1.0, 2.0])
    array([5.])
    """
    if not callable(fn):
        received = f"fn = {_checks.show(fn)}"
        raise TypeError(_checks.message("from_torch", received, "a callable", "Pass a function or a module."))
    return from_numpy(TorchFunction(fn), dim_in, dim_out, domain=domain, lipschitz=lipschitz, name=name, **facts)


@dataclass(frozen=True, eq=False)
class TorchFunction:
    """The numpy function that a torch callable stands for."""

    fn: Callable[[Any], Any]

    def __call__(self, x: Array) -> Array:
        import torch

        with torch.no_grad():
            values = self.fn(torch.tensor(x, dtype=torch.float64))
        if not isinstance(values, torch.Tensor):
            received = f"{type(values).__name__} from fn"
            raise TypeError(_checks.message("from_torch", received, "a tensor", "For numpy functions use from_numpy."))
        return values.detach().to(device="cpu", dtype=torch.float64).numpy()


def _probe(target: Target) -> None:
    """Call fn on a few points, together and one by one."""
    points = target.domain.sample(target.dim_in + 3, seed=0)
    try:
        together = target(points)
        single = np.concatenate([target(point[None]) for point in points])
    except Exception as error:
        if isinstance(error, ValueError) and str(error).startswith(f"target {target.name!r}:"):
            raise  # fn ran, and this says what is wrong with its values
        received = f"fn that fails at {len(points)} points of the domain ({type(error).__name__}: {error})"
        required = "fn: (k, n) array -> (k, m) array, for every k"
        action = "Vectorise fn over the first axis and use numpy functions of x[:, 0], x[:, 1], ..."
        if isinstance(target.fn, TorchFunction) and "dtype" in str(error):
            required, action = "fn of float64 tensors", "Convert the module with .double(), or x in fn."
        raise ValueError(_checks.message(f"target {target.name!r}", received, required, action)) from error
    scale = 1e-6 * (1 + np.abs(together).max())  # a float32 model may differ by rounding from batch to batch
    if not np.allclose(together, single, rtol=0, atol=scale):
        received = "fn whose value at a point depends on the other points of the batch"
        action = "Vectorise fn over the first axis; put a torch module into eval mode."
        raise ValueError(_checks.message(f"target {target.name!r}", received, "one value per point", action))
