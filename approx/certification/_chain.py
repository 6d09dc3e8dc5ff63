"""A Step-ReLU network as one list of sparse layers, the form in which the certifier reads the stored weights.

Layer i maps the state s to v = W_i s + b_i and then, if it is a Step-ReLU layer, sets v to zero when
q_i + sum of v_j^2 over its counted rows is below 1. For dense layers q_i = 0 and every row is counted.

A growing run followed by a dense layer would need O(N^2) entries. It is stored with its head only: the newest
coordinate of a layer is `retired` by the next one, which adds its square to q and its share of the readout to
uncounted rows (the totals, which begin as 0 and then keep themselves with weight 1). Zeroing resets both, so this is
the same function. Layers that retire nothing have q = 0.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from approx import _checks
from approx._compile import ready
from approx.activations import RadialActivation, RadialIdentity, StepReLU
from approx.blocks import Block
from approx.networks import Dense, Growing, RadialNetwork

__all__ = ["DIGITS", "FORMATS", "LONG", "Chain", "Format", "chain_of", "lowest_bit", "run"]

Array = NDArray[np.float64]
DIGITS = {torch.float64: 53, torch.float32: 24}


class Format(NamedTuple):
    """A floating-point format: its binary digits, its least normal number, and a power of two below its largest."""

    digits: int
    smallest: float
    largest: float


FORMATS = {53: Format(53, 2.0**-1022, 2.0**1023), 24: Format(24, 2.0**-126, 2.0**127)}
LONG = 2048  # layers from which on what only saves time is worth compiling
_MOST_ENTRIES = 200_000_000
_MOST_EXPANDED = 4_000_000
_interpreted: Counter[Callable] = Counter()  # layers


@dataclass(frozen=True, eq=False)
class Chain:
    """The layers of a network, row by row.

    dim_in, dim_out : n and m
    digits : binary digits p of the network's dtype
    first_row : (L + 1,) layer i has the rows first_row[i] .. first_row[i + 1]
    first_entry : (rows + 1,) a row has the entries first_entry[r] .. first_entry[r + 1]
    column, weight, grid : (entries,) input coordinate, nonzero weight, and its lowest set bit as a power of two
    bias, bias_grid : (rows,) likewise; the grid of 0 is inf
    counted : (rows,) whether the row counts towards the norm
    step : (L,) whether the layer is a Step-ReLU layer
    retire : (L,) the input coordinate whose square joins q, -1 for none
    """

    dim_in: int
    dim_out: int
    digits: int
    first_row: NDArray[np.int64]
    first_entry: NDArray[np.int64]
    column: NDArray[np.int64]
    weight: Array
    grid: Array
    bias: Array
    bias_grid: Array
    counted: NDArray[np.bool_]
    step: NDArray[np.bool_]
    retire: NDArray[np.int64]

    def __len__(self) -> int:
        return self.step.shape[0]

    @functools.cached_property
    def width(self) -> int:
        """The longest state."""
        return max(self.dim_in, int(np.diff(self.first_row).max()))

    @functools.cached_property
    def arrays(self) -> tuple[NDArray, ...]:
        """What the compiled kernels read, in the order in which they unpack it."""
        return (
            self.first_row,
            self.first_entry,
            self.column,
            self.weight,
            self.grid,
            self.bias,
            self.bias_grid,
            self.counted,
            self.step,
            self.retire,
        )


def run(kernel: Callable, chain: Chain, layers: int, *arguments: Any) -> Any:
    """Call a kernel for some layers of a chain; first uncompiled, with the same result, until that took as long as
    loading or compiling would."""
    _interpreted[kernel] += layers
    done = _interpreted[kernel]
    if done < LONG // 2 or (done < 8 * LONG and not ready(kernel)):
        kernel = getattr(kernel, "py_func", kernel)
    with np.errstate(all="ignore"):
        return kernel(chain.arrays, *arguments)


def lowest_bit(values: Array) -> Array:
    """The largest power of two of which each value is an integer multiple; inf for 0.

    >>> lowest_bit(np.array([6.0, 0.75, 0.0]))
    array([2.  , 0.25,  inf])
    """
    mantissa, exponent = np.frexp(values)
    integer = np.ldexp(mantissa, 53).astype(np.int64)
    with np.errstate(divide="ignore"):
        return np.where(integer == 0, np.inf, np.ldexp((integer & -integer).astype(np.float64), exponent - 53))


def chain_of(network: RadialNetwork, call: str, *, expand: bool = False) -> Chain:
    """The chain of a network. `expand` writes growing runs out, for those whose carried coordinates depend on x.

    Raises TypeError for anything but a RadialNetwork; ValueError for activations other than Step-ReLU, for dtypes
    other than float64 and float32 and for networks too large to write out.
    """
    if not isinstance(network, RadialNetwork):
        raise TypeError(_checks.message(call, _checks.show(network), "a RadialNetwork", "Pass the network itself."))
    if network.dtype not in DIGITS:
        required = "weights of torch.float64 or torch.float32"
        raise ValueError(_checks.message(call, f"weights of {network.dtype}", required, "Convert it with .double()."))
    builder = _Builder()
    blocks = list(network.blocks)
    widths = list(network._inputs)
    index = 0
    while index < len(blocks):
        block = blocks[index]
        step = _is_step(block.activation, call)
        weight, bias = (value.detach().cpu().double().numpy() for value in (block.weight, block.bias))
        if not isinstance(block, Growing):
            builder.add(weight.reshape(-1, *weight.shape[-2:]), bias.reshape(-1, bias.shape[-1]), step)
        elif not expand and step and _is_compact(blocks, widths, index):
            after = blocks[index + 1]
            readout, offset = (value.detach().cpu().double().numpy() for value in (after.weight, after.bias))
            builder.add_growing(weight, bias, readout, offset, _is_step(after.activation, call))
            index += 1
        else:
            if block.layers * (widths[index] + block.layers) > _MOST_EXPANDED:
                raise ValueError(
                    _checks.message(
                        call,
                        f"a growing run of {block.layers:,} layers that must be written out in full",
                        f"at most {_MOST_EXPANDED:,} carried coordinates, one readout layer after the run, and "
                        "carried coordinates that do not depend on x",
                        "Certify a shorter network.",
                    )
                )
            for layer in range(block.layers):
                dense, shift = block.matrix(layer, widths[index])
                builder.add(
                    dense.detach().cpu().double().numpy()[None], shift.detach().cpu().double().numpy()[None], step
                )
        index += 1
    return builder.chain(network.dim_in, network.dim_out, DIGITS[network.dtype])


def _is_step(activation: RadialActivation | None, call: str) -> bool:
    if activation is None or type(activation) is RadialIdentity:
        return False
    if type(activation) is StepReLU:
        return True
    raise ValueError(
        _checks.message(
            call,
            f"activation {activation}",
            "Step-ReLU layers, the only ones with finitely many pieces",
            "Networks with other radial activations have no pieces; approx.certify bounds their error.",
        )
    )


def _is_compact(blocks: Sequence[Block], widths: Sequence[int], index: int) -> bool:
    """Whether the growing run starts with its head alone and is read by one dense layer."""
    return widths[index] == blocks[index].weight.shape[2] and isinstance((*blocks, None)[index + 1], Dense)


class _Builder:
    """Collects runs of equally shaped layers."""

    def __init__(self) -> None:
        self.runs: list[tuple[NDArray, ...]] = []
        self.entries = 0

    def add(
        self, weight: Array, bias: Array, step: bool, counted: NDArray | None = None, retire: NDArray | None = None
    ) -> None:
        """weight (k, out, in), bias (k, out), counted (out,), retire (k,): k layers."""
        layers, rows, _ = weight.shape
        flat = weight.reshape(layers * rows, -1)
        row, column = np.nonzero(flat)
        counted = np.ones(rows, bool) if counted is None else counted
        retire = np.full(layers, -1) if retire is None else retire
        self.runs.append(
            (
                np.full(layers, rows),
                np.bincount(row, minlength=layers * rows),
                column,
                flat[row, column],
                bias.reshape(-1),
                np.tile(counted, layers),
                np.full(layers, step),
                retire,
            )
        )

    def add_growing(self, weight: Array, bias: Array, readout: Array, offset: Array, step: bool) -> None:
        """A growing run and the dense layer after it, with the carried coordinates replaced by their readout."""
        layers, head = weight.shape[0], weight.shape[2]
        outputs = readout.shape[0]
        width = head + 1 + outputs
        if layers * width**2 > _MOST_ENTRIES:
            raise ValueError(
                _checks.message(
                    "certification",
                    f"a growing run of {layers:,} layers read by {outputs:,} rows",
                    f"at most {_MOST_ENTRIES:,} numbers",
                    "Certify a smaller network.",
                )
            )
        full, shift = np.zeros((layers, width, width)), np.zeros((layers, width))
        full[:, : head + 1, :head] = weight
        shift[:, : head + 1] = bias
        total = np.arange(head + 1, width)
        full[1:, total, total] = 1.0
        # The newest coordinate of layer l stands at head + (layers - 1 - l) when the run ends.
        full[1:, total, head] = readout[:, :head:-1].T[: layers - 1]
        counted = np.arange(width) <= head
        self.add(full[:1, :, :head], shift[:1], True, counted)
        if layers > 1:
            self.add(full[1:], shift[1:], True, counted, np.full(layers - 1, head))
        last = np.hstack([readout[:, : head + 1], np.eye(outputs)])
        self.add(last[None], offset[None], step)

    def chain(self, dim_in: int, dim_out: int, digits: int) -> Chain:
        rows, counts, column, weight, bias, counted, step, retire = (
            np.concatenate([run[k] for run in self.runs]) for k in range(8)
        )
        start = np.zeros(1, np.int64)
        return Chain(
            dim_in=dim_in,
            dim_out=dim_out,
            digits=digits,
            first_row=np.concatenate([start, np.cumsum(rows)]),
            first_entry=np.concatenate([start, np.cumsum(counts)]),
            column=column.astype(np.int64),
            weight=np.ascontiguousarray(weight),
            grid=lowest_bit(weight),
            bias=np.ascontiguousarray(bias),
            bias_grid=lowest_bit(bias),
            counted=counted,
            step=step,
            retire=retire.astype(np.int64),
        )
