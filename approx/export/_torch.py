"""Networks as plain torch: modules that torch itself defines, TorchScript and torch.export programs."""

# Without `from __future__ import annotations`: TorchScript cannot read the annotations of `unused` methods as text.

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, fx, nn

from approx import _checks
from approx.activations import RadialActivation, from_config
from approx.export._plan import Plan, Step, plan_of
from approx.networks import RadialNetwork

__all__ = ["program_of", "script_of", "to_program", "to_script", "to_sequential", "undeprecated"]

_MOST_NUMBERS = 100_000_000  # weights written out densely: 800 MB in float64


def to_sequential(network: RadialNetwork) -> nn.Sequential:
    """The network as nn.Sequential of nn.Linear and traced activations, none of them a class of this package.

    x (..., n) -> (..., m). An activation becomes a torch.fx.GraphModule: its operations as a graph of torch functions
    and, as generated Python code, in its `code`. So ``torch.save(module, file)`` writes a file that ``torch.load(file,
    weights_only=False)`` reads where this package is not installed. Parameters are copies that require gradients where
    the network's do; a trainable shift stays a parameter. Every layer is written out, which takes 4 kB a layer and
    seconds for 10,000: `to_program` and `to_script` keep long runs together.
    Raises what `to_numpy` raises, and ValueError for more than 1e8 weights (a long growing run has dense matrices).

    >>> from approx.activations import StepReLU
    >>> from approx.networks import Dense
    >>> eye = torch.eye(2, dtype=torch.float64)
    >>> net = RadialNetwork([Dense(eye, torch.zeros(2).double(), StepReLU()), Dense(eye[:1], torch.ones(1).double())])
    >>> to_sequential(net)
    Sequential(
      (0): Linear(in_features=2, out_features=2, bias=True)
      (1): StepReLU()
      (2): Linear(in_features=2, out_features=1, bias=True)
    )
    """
    plan_of("to_sequential", network)  # for its checks
    if network.parameter_count > _MOST_NUMBERS:
        received = f"a network of {network.parameter_count:,} weights, written out densely"
        action = "Use to_program, to_script, to_onnx or to_numpy, which keep runs of layers together."
        raise ValueError(_checks.message("to_sequential", received, f"at most {_MOST_NUMBERS:,}", action))
    modules: list[nn.Module] = []
    traced: dict[int, fx.GraphModule] = {}
    for weight, bias, activation in network.layers():
        linear = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
        linear.weight = nn.Parameter(weight.detach().clone(), weight.requires_grad)
        linear.bias = nn.Parameter(bias.detach().clone(), bias.requires_grad)
        modules.append(linear)
        if activation is not None:
            if id(activation) not in traced:
                traced[id(activation)] = _traced(activation, network.dtype)
            modules.append(traced[id(activation)])
    return nn.Sequential(*modules)


def to_script(network: RadialNetwork) -> torch.jit.ScriptModule:
    """The network as a TorchScript module, x (batch, n) -> (batch, m), with runs of layers as loops.

    ``torch.jit.save`` writes it, ``torch.jit.load`` reads it in Python or C++ without this package.
    Raises what `to_numpy` raises.

    >>> from approx.networks import Dense
    >>> script = to_script(RadialNetwork([Dense(torch.eye(2).double(), torch.ones(2).double())]))
    >>> script(torch.zeros(1, 2).double())
    tensor([[1., 1.]], dtype=torch.float64)
    """
    return script_of(plan_of("to_script", network))


def to_program(network: RadialNetwork) -> torch.export.ExportedProgram:
    """The network as a torch.export program, x (batch, n) -> (batch, m) with a dynamic batch.

    ``torch.export.save`` writes it as .pt2, ``torch.export.load(file).module()`` is a module again, without this
    package. Runs of layers are torch's scan operator, which versions before 2.6 do not have.
    Raises ImportError there, and what `to_numpy` raises.

    >>> from approx.networks import Dense
    >>> program = to_program(RadialNetwork([Dense(torch.eye(2).double(), torch.ones(2).double())]))
    >>> program.module()(torch.zeros(3, 2).double()).shape
    torch.Size([3, 2])
    """
    return program_of(plan_of("to_program", network))


def script_of(plan: Plan) -> torch.jit.ScriptModule:
    """The TorchScript module of a plan."""
    with undeprecated():
        return torch.jit.script(_Network(plan).eval())


@contextlib.contextmanager
def undeprecated() -> Iterator[None]:
    """Without torch's advice to write torch.export programs instead: `to_program` does."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning, message=".*torch.jit")
        yield


def program_of(plan: Plan) -> torch.export.ExportedProgram:
    """The torch.export program of a plan."""
    if any(step.kind in ("stack", "growing") for step in plan.steps):
        try:
            from torch._higher_order_ops.scan import scan  # noqa: F401
        except ImportError as error:
            required = "torch 2.6 or newer, whose programs may contain loops"
            action = "Write TorchScript instead (to_script, a file .pt)."
            raise ImportError(_checks.message("to_program", f"torch {torch.__version__}", required, action)) from error
    module = _Network(plan).eval()
    module.unroll(False)
    example = torch.zeros(3, plan.dim_in, dtype=module.dtype)
    return torch.export.export(module, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},))


class _Rescale(nn.Module):
    """rho of an activation of the package in elementwise torch operations, for tracing, scripting and exporting."""

    def __init__(self, config: dict[str, Any] | None, dtype: torch.dtype, shift: Tensor | None = None):
        super().__init__()
        self.name = "none" if config is None else str(config["name"])
        self.large = float(torch.finfo(dtype).max) ** 0.5 / 1e4
        self.slope = 0.0
        if config is not None:
            start = from_config(config).factor(torch.zeros(1, dtype=torch.float64))
            self.slope = float(start.detach().nan_to_num(0.0, 0.0, 0.0))
        if isinstance(shift, nn.Parameter):
            self.shift = nn.Parameter(shift.detach().clone(), shift.requires_grad)
        elif config is not None and "shift" in config:
            self.register_buffer("shift", torch.tensor(float(config["shift"]), dtype=torch.float64))
        else:
            self.register_buffer("shift", torch.zeros((), dtype=torch.float64))

    def forward(self, v: Tensor) -> Tensor:
        if self.name == "none":
            return v
        if self.name == "step_relu":
            return torch.where((v * v).sum(-1, keepdim=True) < 1.0, 0.0, v)
        top = v.detach().abs().amax(-1, keepdim=True)
        zero = top == 0.0
        outside = (top < 1.0 / self.large) | (top > self.large)
        scale = torch.where(zero, 1.0, torch.where(outside, top, 1.0))  # so that squares are numbers
        scaled = torch.where(zero, 1.0, v) / scale  # and no gradient is NaN
        length = (scaled * scaled).sum(-1, keepdim=True).sqrt()
        return torch.where(zero, self.slope * v, self.profile(scale * length) * (scaled / length))

    def profile(self, r: Tensor) -> Tensor:
        """h(r) for radii r >= 0, in the same forms as approx.activations."""
        if self.name == "squashing":
            small = r.clamp(max=1.0)
            inverse = 1.0 / r.clamp(min=1.0)
            return torch.where(r < 1.0, small * small / (1.0 + small * small), 1.0 / (1.0 + inverse * inverse))
        if self.name == "rational_squash":
            return r / (1.0 + r)
        if self.name == "radial_sigmoid":
            return torch.sigmoid(r)
        if self.name == "radial_swish":
            return r * torch.sigmoid(r)
        if self.name == "shifted_relu":
            return (r - self.shift).clamp(min=0.0)
        if self.name == "shifted_sigmoid":
            return torch.sigmoid(r - self.shift)
        if self.name == "radial_softplus":
            t = r - self.shift
            return t.clamp(min=0.0) + torch.log1p(torch.exp(-t.abs()))
        return r

    def factor(self, square: Tensor) -> Tensor:
        """h(r) / r from the square of r; 0 where r = 0."""
        if self.name == "none":
            return torch.ones_like(square)
        if self.name == "step_relu":
            return torch.where(square < 1.0, torch.zeros_like(square), torch.ones_like(square))
        zero = square == 0.0
        r = torch.where(zero, 1.0, square).sqrt()
        return torch.where(zero, 0.0, self.profile(r) / r)


def _traced(activation: RadialActivation, dtype: torch.dtype) -> fx.GraphModule:
    shift = getattr(activation, "shift", None)
    module = _Rescale(activation.config(), dtype, shift if isinstance(shift, nn.Parameter) else None)
    return fx.GraphModule(module, fx.Tracer().trace(module), type(activation).__name__)


class _Step(nn.Module):
    """One step of a plan; `loops` says whether a run is a Python loop or torch's scan."""

    weight: Tensor
    bias: Tensor
    readout: Tensor
    offset: Tensor

    def __init__(self, step: Step, dtype: torch.dtype):
        super().__init__()
        self.loops = True
        self.kind = step.kind
        empty = {name: torch.zeros(0) for name in ("weight", "bias", "readout", "offset")}
        for name, tensor in (empty | {key: torch.tensor(array) for key, array in step.arrays.items()}).items():
            self.register_buffer(name, tensor)
        self.rescale = _Rescale(step.activation, dtype)

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "rescale":
            return self.rescale(x)
        if self.kind == "dense":
            return self.layer(x, self.weight, self.bias)
        if self.kind == "growing":
            return self.growing(x)
        if not self.loops:
            return self.scan_stack(x)
        for i in range(self.weight.shape[0]):
            x = self.layer(x, self.weight[i], self.bias[i])
        return x

    def layer(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return self.rescale(torch.addmm(bias, x, weight.t()))

    def growing(self, x: Tensor) -> Tensor:
        layers = self.weight.shape[0]
        head = self.weight.shape[2]
        rest = x[:, head:]
        carried = (rest * rest).sum(1, keepdim=True)  # squared length of the coordinates carried along
        total = torch.mm(rest, self.readout[:, layers + head :].t())  # their share of the readout
        x = x[:, :head]
        columns = self.readout[:, head : layers + head].t().flip(0)
        if not self.loops:
            x, carried, total = self.scan_growing(x, carried, total, columns)
        else:
            for i in range(layers):
                x, carried, total = self.grow(x, carried, total, self.weight[i], self.bias[i], columns[i])
        return torch.addmm(self.offset, x, self.readout[:, :head].t()) + total

    def grow(
        self, x: Tensor, carried: Tensor, total: Tensor, weight: Tensor, bias: Tensor, column: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        grown = torch.addmm(bias, x, weight.t())
        factor = self.rescale.factor((grown * grown).sum(1, keepdim=True) + carried)
        keep = factor != 0.0
        grown = torch.where(keep, factor * grown, 0.0)
        newest = grown[:, -1:]
        carried = torch.where(keep, factor * factor * carried, 0.0) + newest * newest
        return grown[:, :-1].clone(), carried, torch.where(keep, factor * total, 0.0) + newest * column

    @torch.jit.unused
    def scan_stack(self, x: Tensor) -> Tensor:
        from torch._higher_order_ops.scan import scan

        def step(x: Tensor, given: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            return self.layer(x, *given), x.new_zeros(1)  # scan wants something to collect from every layer

        return scan(step, x, (self.weight, self.bias))[0]

    @torch.jit.unused
    def scan_growing(self, x: Tensor, carried: Tensor, total: Tensor, columns: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        from torch._higher_order_ops.scan import scan

        def step(
            state: tuple[Tensor, Tensor, Tensor], given: tuple[Tensor, Tensor, Tensor]
        ) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor]:
            return self.grow(*state, *given), columns.new_zeros(1)

        return scan(step, (x.clone(), carried, total), (self.weight, self.bias, columns))[0]


class _Network(nn.Module):
    """A plan as a module that torch.jit and torch.export understand."""

    def __init__(self, plan: Plan):
        super().__init__()
        self.dtype = torch.float32 if plan.dtype.name == "float32" else torch.float64
        self.steps = nn.ModuleList(_Step(step, self.dtype) for step in plan.steps)

    def unroll(self, loops: bool) -> None:
        for step in self.modules():
            if isinstance(step, _Step):
                step.loops = loops

    def forward(self, x: Tensor) -> Tensor:
        for step in self.steps:
            x = step(x)
        return x
