"""Radial networks: affine maps alternating with radial rescalings (arXiv 2107.02550, section 4).

A network is a sequence of blocks. `Dense` is one layer; `Stack` is a run of layers of constant width stored as
two tensors; `Growing` is a run in which every layer adds one coordinate and carries the older ones along, as
Theorem 3 needs, also stored as two tensors. So a million layers are a handful of tensors.
"""

from __future__ import annotations

import copy
import itertools
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.autograd import forward_ad

from approx import _checks, _cuda, _engine, _rescale
from approx.activations import RadialActivation, StepReLU
from approx.blocks import Block, Dense, Growing, Stack

__all__ = ["Dense", "Growing", "RadialNetwork", "Stack"]

ENGINES = ("auto", "compiled", "torch")


class RadialNetwork(nn.Module):
    """A feedforward network of radial layers, from R^n to R^m.

    Parameters: blocks (`Dense`, `Stack`, `Growing`) in order of application; the last usually has no
    activation. Weights come frozen (requires_grad=False); call ``network.requires_grad_(True)`` to train.
    Raises ValueError when widths, dtypes or devices do not fit together.

    >>> eye = torch.eye(2, dtype=torch.float64)
    >>> net = RadialNetwork([Dense(eye, torch.zeros(2).double(), StepReLU()), Dense(eye[:1], torch.ones(1).double())])
    >>> net.widths, net.parameter_count
    ((2, 2, 1), 9)
    >>> net(torch.tensor([[3.0, 0.0], [0.1, 0.1]]).double()).ravel()
    tensor([4., 1.], dtype=torch.float64)
    """

    blocks: Sequence[Block]

    def __init__(self, blocks: Iterable[Block]):
        super().__init__()
        self.blocks = cast("Sequence[Block]", nn.ModuleList(blocks))
        if not len(self.blocks):
            raise ValueError(
                _checks.message("RadialNetwork", "no blocks", "at least one layer", "Pass Dense, Stack or Growing.")
            )
        if len({(block.weight.dtype, block.weight.device) for block in self.blocks}) > 1:
            raise ValueError(
                _checks.message(
                    "RadialNetwork", "blocks of several dtypes or devices", "one of each", "Use .to(...) first."
                )
            )
        width = self.dim_in
        self._inputs = []  # input width of every block
        for block in self.blocks:
            self._inputs.append(width)
            width = block.widths_after(width)[-1]

    @classmethod
    def from_layers(
        cls, layers: Iterable[tuple[ArrayLike | Tensor, ArrayLike | Tensor, RadialActivation | None]]
    ) -> RadialNetwork:
        """A network from (weight (n_i, n_{i-1}), bias (n_i,), activation) triples, one per layer; None for none.

        Weights are copied, frozen, in their own floating dtype. Raises TypeError for what is no triple, and what
        `Dense` raises.
        """
        blocks = []
        for layer in layers:
            if not isinstance(layer, list | tuple) or len(layer) != 3:
                received = f"the layer {_checks.show(layer)}"
                required = "triples (weight, bias, activation)"
                action = "Pass None as the activation of a layer that is affine alone."
                raise TypeError(_checks.message("RadialNetwork.from_layers", received, required, action))
            weight, bias, activation = layer
            blocks.append(Dense(torch.as_tensor(weight), torch.as_tensor(bias), activation))
        return cls(blocks)

    @classmethod
    def from_sequential(cls, model: nn.Sequential) -> RadialNetwork:
        """The network that a torch model of nn.Linear and radial activations is, with a frozen copy of its weights.

        Raises TypeError for other models and modules, and for an activation that follows no nn.Linear.

        >>> model = nn.Sequential(nn.Linear(2, 8), StepReLU(), nn.Linear(8, 1))
        >>> RadialNetwork.from_sequential(model)
        RadialNetwork(R^2 -> R^1, 1 hidden layer of width 8, 33 parameters, float32)
        """
        layers: list[tuple[Tensor, Tensor, RadialActivation | None]] = []
        for module in model if isinstance(model, nn.Sequential) else [model]:
            if isinstance(module, nn.Linear):
                bias = torch.zeros_like(module.weight[:, 0]) if module.bias is None else module.bias
                layers.append((module.weight, bias, None))
            elif isinstance(module, RadialActivation) and layers and layers[-1][2] is None:
                layers[-1] = (*layers[-1][:2], copy.deepcopy(module))
            else:
                received = f"{_checks.show(module)} after {len(layers)} nn.Linear"
                wanted = "an nn.Sequential of nn.Linear, each followed by at most one radial activation"
                action = "Give other models' weights and biases to RadialNetwork.from_layers."
                raise TypeError(_checks.message("RadialNetwork.from_sequential", received, wanted, action))
        return cls.from_layers(layers)

    @property
    def dim_in(self) -> int:
        return self.blocks[0].weight.shape[-1]

    @property
    def dim_out(self) -> int:
        return self.widths[-1]

    @property
    def dtype(self) -> torch.dtype:
        return self.blocks[0].weight.dtype

    @property
    def device(self) -> torch.device:
        return self.blocks[0].weight.device

    @property
    def depth(self) -> int:
        """The number of affine maps, the last one included."""
        return sum(block.layers for block in self.blocks)

    @property
    def widths(self) -> tuple[int, ...]:
        """(n_0, ..., n_L)."""
        widths = [self.dim_in]
        for block in self.blocks:
            widths.extend(block.widths_after(widths[-1]))
        return tuple(widths)

    @property
    def hidden_widths(self) -> tuple[int, ...]:
        return self.widths[1:-1]

    @property
    def hidden_layers(self) -> int:
        return self.depth - 1

    @property
    def parameter_count(self) -> int:
        """The sum of n_i (n_{i-1} + 1), counting every weight, zeros and ones included."""
        widths = self.widths
        return sum(out * (width + 1) for width, out in itertools.pairwise(widths))

    @property
    def stored_numbers(self) -> int:
        """How many numbers are actually kept in memory."""
        return sum(parameter.numel() for parameter in self.parameters())

    @property
    def compiled(self) -> bool:
        """Whether a compiled engine can evaluate it: the package's activations, in float32 or float64, on the CPU or a
        GPU that numba can compile for."""
        return (
            self.device.type in ("cpu", "cuda")
            and self.dtype in (torch.float32, torch.float64)
            and all(_rescale.known(block.activation) for block in self.blocks)
            and not (self.device.type == "cuda" and _cuda.obstacle(self.blocks))
        )

    @property
    def working_width(self) -> int:
        """How many numbers per point are kept while it is evaluated (a folded growing run keeps only its head)."""
        if self.compiled and self.device.type == "cpu":
            folded = [isinstance(block, Growing) and _folds(block, after) for block, after in self._pairs()]
            widths = zip(self._inputs[1:] + [self.dim_out], folded, strict=True)
            return max(self.dim_in, *(width for width, inside in widths if not inside))
        return max(self.widths)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> RadialNetwork:
        before = self.dtype
        super()._apply(fn, recurse)
        if torch.finfo(self.dtype).bits < torch.finfo(before).bits:
            warnings.warn(
                f"RadialNetwork: weights converted from {before} to {self.dtype}; a constructed network needs the "
                f"digits it was built with. Build it with dtype={self.dtype}, where that dtype can hold it.",
                stacklevel=3,
            )
        return self

    def layers(self) -> Iterator[tuple[Tensor, Tensor, RadialActivation | None]]:
        """Every layer as (weight (n_i, n_{i-1}), bias (n_i,), activation), one dense layer at a time."""
        for block, width in zip(self.blocks, self._inputs, strict=True):
            for layer in range(block.layers):
                yield (*block.matrix(layer, width), block.activation)

    def forward(self, x: Tensor, *, engine: str = "auto") -> Tensor:
        """x (..., n) -> (..., m), same dtype and device as the network.

        engine: "compiled" (the package's activations, no gradients; a point's value is independent of its batch),
        "torch" (everything), "auto" (compiled where it applies). On a GPU "compiled" is a kernel for numba's CUDA
        target, the extra `cuda`, for runs of width up to 16; torch evaluates wider and growing runs, with a batch's
        roundings.
        Raises TypeError for another dtype or device, ValueError for a wrong last axis or an engine that cannot be used.
        """
        return self._through(x, self.depth, self._choose("RadialNetwork.forward", engine, x))

    def partial(self, x: Tensor, layers: int, *, engine: str = "auto") -> Tensor:
        """The partial feedforward function F_layers: x (..., n) -> (..., n_layers), activations applied.

        ``partial(x, 0)`` is x and ``partial(x, depth)`` is the network. engine: as in `forward`.
        """
        layers = _checks.count("RadialNetwork.partial", "layers", layers, least=0, most=self.depth)
        return self._through(x, layers, self._choose("RadialNetwork.partial", engine, x))

    def evaluate(self, x: ArrayLike, *, engine: str = "auto") -> NDArray[np.float64]:
        """x (..., n) array -> (..., m) float64 array, through the network's own dtype. engine: as in `forward`."""
        points = _checks.points("RadialNetwork.evaluate", "x", x, self.dim_in)
        tensor = torch.from_numpy(np.require(points, requirements=["C", "W"]))  # torch refuses views such as x[::-1]
        with torch.no_grad():
            return self(tensor.to(self.device, self.dtype), engine=engine).double().cpu().numpy()

    def summary(self) -> str:
        """A table of the blocks: layers, widths, activation, parameters."""
        rows = [("block", "layers", "widths", "activation", "stored")]
        for block, width in zip(self.blocks, self._inputs, strict=True):
            after = block.widths_after(width)
            span = f"{width} -> {after[-1]}"
            name = "none" if block.activation is None else str(block.activation)
            stored = block.weight.numel() + block.bias.numel()
            rows.append((type(block).__name__, f"{block.layers:,}", span, name, f"{stored:,}"))
        sizes = [max(len(row[i]) for row in rows) for i in range(5)]
        table = ["  ".join(cell.ljust(size) for cell, size in zip(row, sizes, strict=True)).rstrip() for row in rows]
        return "\n".join([*table, repr(self)])

    def __repr__(self) -> str:
        hidden = self.hidden_widths
        if not hidden:
            widths = "no hidden layer"
        elif len(set(hidden)) == 1:
            widths = f"{len(hidden):,} hidden layer{'s' if len(hidden) > 1 else ''} of width {hidden[0]}"
        else:
            widths = f"{len(hidden):,} hidden layers of widths {min(hidden)}..{max(hidden)}"
        return (
            f"RadialNetwork(R^{self.dim_in} -> R^{self.dim_out}, {widths}, "
            f"{self.parameter_count:,} parameters, {str(self.dtype).removeprefix('torch.')})"
        )

    def _flatten(self, x: Tensor) -> Tensor:
        if not isinstance(x, Tensor) or x.dtype != self.dtype or x.device != self.device:
            got = f"{x.dtype} on {x.device}" if isinstance(x, Tensor) else type(x).__name__
            raise TypeError(
                _checks.message(
                    "RadialNetwork",
                    f"input {got}",
                    f"a tensor of {self.dtype} on {self.device}",
                    "Convert it with x.to(...), or pass arrays to evaluate().",
                )
            )
        if x.ndim == 0 or x.shape[-1] != self.dim_in:
            raise ValueError(
                _checks.message(
                    "RadialNetwork",
                    f"input of shape {tuple(x.shape)}",
                    f"shape (..., {self.dim_in})",
                    "The last axis holds the coordinates.",
                )
            )
        return x.reshape(-1, self.dim_in)

    def _choose(self, call: str, engine: str, x: Tensor) -> bool:
        """Whether to take the compiled engine."""
        _checks.one_of(call, "engine", engine, ENGINES)
        if engine == "torch":
            return False
        compilable = self._compilable(x)
        if engine == "compiled" and not compilable:
            required = "the package's activations, tensors of float32 or float64 on the CPU or a GPU, and no gradients"
            action = "Use engine='torch', or wrap the call in torch.no_grad()."
            trouble = _cuda.obstacle(self.blocks) if self.device.type == "cuda" else ""
            if trouble:
                required = f"a GPU that numba can compile for ({trouble})"
                action = "Use engine='torch', or pip install 'radial-approx[cuda]'."
            raise ValueError(_checks.message(call, "engine='compiled'", required, action))
        return compilable

    def _compilable(self, x: Tensor) -> bool:
        """No gradients wanted, forward or backward, and nothing that traces or transforms torch's own operations."""
        if not self.compiled or torch.jit.is_tracing() or torch.compiler.is_compiling():
            return False
        return all(_plain(tensor) for tensor in (x, *self.parameters()))

    def _pairs(self) -> Iterator[tuple[Block, Block | None]]:
        """Every block with the one after it."""
        return itertools.zip_longest(self.blocks, list(self.blocks)[1:])

    def _through(self, x: Tensor, layers: int, compiled: bool) -> Tensor:
        """x (..., n) through the first layers."""
        result = self._flatten(x)
        if compiled and self.device.type == "cuda":
            result = _cuda.through(self.blocks, result.detach(), layers)
        elif compiled:
            result = torch.from_numpy(self._run_compiled(result.detach().numpy(), layers))
        else:
            for block in self.blocks:
                result = block.run(result, min(layers, block.layers))
                layers -= min(layers, block.layers)
        return result.reshape(*x.shape[:-1], result.shape[-1])

    def _run_compiled(self, points: NDArray, layers: int) -> NDArray:
        points = np.ascontiguousarray(points)
        chain: list[_engine.Run] = []
        pending: tuple[NDArray, NDArray] | None = None  # a growing run waits for the affine map after it
        for block, after in self._pairs():
            take = min(layers, block.layers)
            if take == 0:
                break
            weight, bias = (value.detach().numpy() for value in (block.weight, block.bias))
            activation = _rescale.code(block.activation)
            if isinstance(block, Growing):
                points, chain = _engine.chain(points, chain), []
                if layers > take and _folds(block, after):
                    pending = (weight, bias)
                else:
                    points = _engine.unfolded(points, weight[:take], bias[:take], activation)
            elif pending is not None:
                points = _engine.growing(points, *pending, weight, bias)
                pending = None
                if block.activation is not None:
                    points = block.activation(torch.from_numpy(points)).numpy()
            elif isinstance(block, Dense):
                chain.append((weight[None], bias[None], activation))
            else:
                chain.append((weight[:take], bias[:take], activation))
            layers -= take
        return _engine.chain(points, chain)


def _plain(tensor: Tensor) -> bool:
    """Whether it is nothing but numbers: no subclass, no gradient asked for, no wrapper of torch.func."""
    if type(tensor) not in (Tensor, nn.Parameter) or (tensor.requires_grad and torch.is_grad_enabled()):
        return False
    try:
        tensor.data_ptr()
    except RuntimeError:  # wrapped by vmap
        return False
    return forward_ad.unpack_dual(tensor).tangent is None


def _folds(block: Growing, after: Block | None) -> bool:
    """Whether a compiled growing run can be merged with the layer after it, and never keep the coordinates it adds."""
    return type(block.activation) is StepReLU and isinstance(after, Dense)
