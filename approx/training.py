"""Training loops for radial networks, and random networks to start from."""

from __future__ import annotations

import copy
import itertools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from tqdm import tqdm

from approx import _checks
from approx._interrupts import plain_interrupts
from approx.activations import RadialActivation, activation
from approx.networks import RadialNetwork
from approx.projection import ProjectedGradientDescent, check_step, check_widths

__all__ = ["Training", "random_network", "train"]

Network = TypeVar("Network", bound=nn.Module)

LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross_entropy": nn.functional.cross_entropy,
    "mse": nn.functional.mse_loss,
}


def random_network(
    widths: Sequence[int],
    kind: RadialActivation | str = "shifted_sigmoid",
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
) -> RadialNetwork:
    """A radial network with random weights, on the CPU.

    widths : (n_0, ..., n_L), at least two
    kind : the activation of the hidden layers, or its name; every layer gets a copy of its own. The last layer is bare
    seed : the weights and biases of layer i are uniform in [-1, 1] / sqrt(n_{i-1}), PyTorch's usual start. They are
        drawn in float64 and rounded to `dtype`, so that a seed means the same network in every dtype

    Raises TypeError or ValueError for widths below 1, unknown activations, or a dtype that is not floating.

    >>> random_network((1, 6, 7, 1), seed=3).widths
    (1, 6, 7, 1)
    """
    call = "random_network"
    sizes = check_widths(call, "widths", widths)
    rho = activation(kind) if isinstance(kind, str) else kind
    if not isinstance(rho, RadialActivation):
        required = "a RadialActivation or its name"
        raise TypeError(_checks.message(call, f"kind = {_checks.show(kind)}", required, 'Pass "step_relu", say.'))
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise TypeError(_checks.message(call, f"dtype = {dtype}", "a real floating dtype", "Pass torch.float64."))
    generator = torch.Generator().manual_seed(_checks.count(call, "seed", seed, least=0))

    def uniform(*shape: int, fan_in: int) -> Tensor:
        unit = torch.rand(*shape, generator=generator, dtype=torch.float64)
        return ((2 * unit - 1) / math.sqrt(fan_in)).to(dtype)

    last = len(sizes) - 2
    return RadialNetwork.from_layers(
        (uniform(m, n, fan_in=n), uniform(m, fan_in=n), copy.deepcopy(rho) if i < last else None)
        for i, (n, m) in enumerate(itertools.pairwise(sizes))
    )


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Training(Generic[Network]):
    """What a training run did.

    network : the trained copy, frozen: after the last step, or the best one met if `stopped` is "interrupted" or
        "diverged"
    losses : (epochs + 1,) loss on all the data after 0, 1, ... epochs
    watched : (epochs + 1, w) what `watch` returned after each epoch; None without `watch`
    stopped : "epochs" (all done), "stop_loss", "max_seconds", "interrupted" or "diverged"
    seconds : wall time of the loop
    seed : of the order of the batches

    >>> run = train(random_network((1, 2, 1)), [[0.0], [1.0]], [[1.0], [0.0]], epochs=3)
    >>> run.epochs, run.stopped, run.losses.shape
    (3, 'epochs', (4,))
    """

    network: Network
    losses: NDArray[np.float64]
    watched: NDArray[np.float64] | None
    stopped: str
    seconds: float
    seed: int

    @property
    def epochs(self) -> int:
        """How many epochs were finished."""
        return len(self.losses) - 1

    def __repr__(self) -> str:
        span = f"loss {self.losses[0]:.4g} -> {self.losses[-1]:.4g}, best {np.nanmin(self.losses):.4g}"
        return f"Training({self.epochs:,} epochs, {span}, {self.seconds:.3g} s, stopped: {self.stopped})"


def train(
    network: Network,
    inputs: ArrayLike | Tensor,
    outputs: ArrayLike | Tensor,
    *,
    loss: str | Callable[[Tensor, Tensor], Tensor] = "mse",
    lr: float = 0.01,
    epochs: int = 1000,
    momentum: float = 0.0,
    nesterov: bool = False,
    batch: int | None = None,
    reduced_widths: Sequence[int] | None = None,
    stop_loss: float | None = None,
    max_seconds: float | None = None,
    watch: Callable[[nn.Module], ArrayLike] | None = None,
    seed: int = 0,
    progress: bool = False,
) -> Training[Network]:
    """Gradient descent from the weights of `network`, which stays as it is: a copy is trained.

    network : a `RadialNetwork`, frozen or not, or any module (k, n) -> (k, m)
    inputs : (k, n) finite numbers, converted to the network's dtype and device
    outputs : (k, m) finite numbers; for "cross_entropy" (k,) integer classes
    loss : "mse" (mean over all entries), "cross_entropy" (mean over the points), or (prediction, outputs) -> scalar
    lr, momentum, nesterov : as in torch.optim.SGD
    batch : points per step, drawn anew from `seed` in every epoch; None: all of them, one step an epoch
    reduced_widths : if given, `ProjectedGradientDescent` with these widths
    stop_loss : stop once the loss on all the data is at most this
    max_seconds : start no epoch after this time
    watch : called with the network after every epoch, under no_grad; returns numbers to record

    Full batches cost one forward and one backward pass an epoch; smaller ones one more forward pass, for `losses`.
    An interrupt (Ctrl-C) or a loss that is not finite ends the run, with the best weights met. Raises TypeError or
    ValueError for data, step sizes or counts that make no sense.

    >>> x = torch.linspace(-3, 3, 121, dtype=torch.float64)[:, None]
    >>> run = train(random_network((1, 6, 7, 1)), x, torch.exp(-x * x), lr=0.05, epochs=50)
    >>> run.epochs, run.stopped, bool(run.losses[-1] < run.losses[0])
    (50, 'epochs', True)
    """
    call = "train"
    if not isinstance(network, nn.Module) or not any(True for _ in network.parameters()):
        required = "a module with parameters"
        raise TypeError(_checks.message(call, f"network = {_checks.show(network)}", required, "Pass a RadialNetwork."))
    if not callable(loss):
        loss = LOSSES[_checks.one_of(call, "loss", loss, LOSSES)]
    check_step(call, lr, momentum)
    epochs = _checks.count(call, "epochs", epochs, least=0)
    seed = _checks.count(call, "seed", seed, least=0)
    stop_loss = -math.inf if stop_loss is None else _checks.finite(call, "stop_loss", stop_loss)
    limit = math.inf if max_seconds is None else _checks.positive(call, "max_seconds", max_seconds)
    model = copy.deepcopy(network).requires_grad_(True)
    x, y = _data(call, model, inputs, outputs, classes=loss is LOSSES["cross_entropy"])
    size = len(x) if batch is None else _checks.count(call, "batch", batch, most=len(x))
    if reduced_widths is None:
        optimizer: torch.optim.SGD = torch.optim.SGD(model.parameters(), lr=lr, momentum=momentum, nesterov=nesterov)
    else:
        radial = cast(RadialNetwork, model)  # other modules are refused there
        optimizer = ProjectedGradientDescent(radial, reduced_widths, lr=lr, momentum=momentum, nesterov=nesterov)
    generator = torch.Generator().manual_seed(seed)
    losses: list[float] = []
    watched: list[tuple[float, ...]] = []
    weights = list(model.parameters())
    best, best_loss, stopped = _copy(weights), math.inf, "epochs"
    start = time.perf_counter()
    try:
        with plain_interrupts(), tqdm(total=epochs, desc=call, unit="epoch", disable=not progress) as bar:
            while True:
                value = loss(model(x), y) if size == len(x) else _whole(loss, model, x, y)
                losses.append(float(value.detach()))
                if watch is not None:
                    with torch.no_grad():
                        watched.append(tuple(np.atleast_1d(watch(model)).astype(float).tolist()))
                if not math.isfinite(losses[-1]):
                    stopped = "diverged"
                    break
                if losses[-1] < best_loss:
                    best, best_loss = _copy(weights), losses[-1]
                if losses[-1] <= stop_loss:
                    stopped = "stop_loss"
                    break
                if len(losses) > epochs:
                    break
                if time.perf_counter() - start >= limit:
                    stopped = "max_seconds"
                    break
                if size == len(x):
                    _descend(optimizer, value)
                else:
                    for chosen in torch.randperm(len(x), generator=generator).to(x.device).split(size):
                        _descend(optimizer, loss(model(x[chosen]), y[chosen]))
                bar.update()
    except KeyboardInterrupt:
        if not losses or (watch is not None and not watched):
            raise
        stopped = "interrupted"
    if watch is not None:
        losses = losses[: len(watched)]
    if stopped in ("interrupted", "diverged"):
        with torch.no_grad():
            for parameter, value in zip(weights, best, strict=True):
                parameter.copy_(value)
    return Training(
        network=model.requires_grad_(False),
        losses=np.array(losses),
        watched=np.array(watched) if watch is not None else None,
        stopped=stopped,
        seconds=time.perf_counter() - start,
        seed=seed,
    )


def _descend(optimizer: torch.optim.Optimizer, value: Tensor) -> None:
    optimizer.zero_grad()
    value.backward()
    optimizer.step()


def _whole(loss: Callable, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    with torch.no_grad():
        return loss(model(x), y)


def _copy(weights: list[nn.Parameter]) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in weights]


def _data(call: str, model: nn.Module, inputs: Any, outputs: Any, *, classes: bool) -> tuple[Tensor, Tensor]:
    like = next(model.parameters())
    x, y = (value.detach().cpu().numpy() if isinstance(value, Tensor) else value for value in (inputs, outputs))
    dims = (model.dim_in, model.dim_out) if isinstance(model, RadialNetwork) else (None, None)
    x = _checks.finite_array(call, "inputs", x, (None, dims[0]))
    if not len(x):
        raise ValueError(_checks.message(call, "no points", "at least one", "Pass inputs of shape (k, n)."))
    y = np.asarray(y) if classes else _checks.finite_array(call, "outputs", y, (len(x), dims[1]))
    if classes and (y.dtype.kind not in "iu" or y.shape != (len(x),) or y.min() < 0):
        received = f"outputs of dtype {y.dtype} and shape {y.shape}"
        required = f"{len(x)} classes 0, 1, ... as integers"
        raise ValueError(_checks.message(call, received, required, "Number the classes from 0."))
    if classes and dims[1] is not None and y.max() >= dims[1]:
        received, required = f"class {y.max()}", f"classes below {dims[1]}, the network's outputs"
        raise ValueError(_checks.message(call, received, required, "Number the classes from 0."))
    values = torch.as_tensor(y, device=like.device)
    return torch.as_tensor(x).to(like), values.long() if classes else values.to(like)
