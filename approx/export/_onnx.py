"""ONNX models: standard operators only, a dynamic batch, one Scan per run of layers however long it is."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from approx.export._plan import Plan, Step, plan_of
from approx.networks import RadialNetwork

__all__ = ["model_of", "to_onnx"]

OPSET = 17
IR_VERSION = 8  # what runtimes of the opset's time read


def to_onnx(network: RadialNetwork) -> Any:
    """An onnx.ModelProto with input ``x`` (batch, n) and output ``y`` (batch, m), in the network's dtype.

    Runs of layers are Scan operators over stacked weights, so a million layers are a handful of nodes; the operators
    are those of ONNX's default domain, opset 17. Values differ from the network's by rounding, see `to_numpy`.
    Raises ImportError without the package onnx, and what `to_numpy` raises.

    >>> import torch
    >>> from approx.networks import Dense
    >>> model = to_onnx(RadialNetwork([Dense(torch.eye(2).double(), torch.ones(2).double())]))
    >>> [node.op_type for node in model.graph.node]
    ['MatMul', 'Add', 'Identity']
    """
    return model_of(plan_of("to_onnx", network))


def model_of(plan: Plan) -> Any:
    """The onnx.ModelProto of a plan."""
    try:
        import onnx
        from onnx import helper
    except ImportError as error:
        raise ImportError("to_onnx needs the package onnx: pip install onnx onnxruntime") from error
    kind = helper.np_dtype_to_tensor_dtype(plan.dtype)
    graph = _Graph(plan.dtype)
    x = "x"
    for step in plan.steps:
        x = _STEPS[step.kind](graph, x, step)
    graph.node("Identity", x, output="y")
    inputs = [helper.make_tensor_value_info("x", kind, ["batch", plan.dim_in])]
    outputs = [helper.make_tensor_value_info("y", kind, ["batch", plan.dim_out])]
    made = helper.make_graph(graph.nodes, "radial_network", inputs, outputs, graph.constants)
    opset = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(made, opset_imports=opset, ir_version=IR_VERSION, producer_name="radial-approx")
    onnx.checker.check_model(model)
    return model


class _Graph:
    """Nodes and constants of a graph, or of the body of a Scan; every name is new."""

    def __init__(self, dtype: np.dtype, prefix: str = ""):
        self.dtype, self.prefix = dtype, prefix
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._known: dict[float, str] = {}

    def node(self, operator: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        from onnx import helper

        output = output or f"{self.prefix}v{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [output], **attributes))
        return output

    def array(self, array: NDArray) -> str:
        from onnx import numpy_helper

        name = f"{self.prefix}c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def number(self, value: float) -> str:
        """A scalar of the network's dtype."""
        if value not in self._known:
            self._known[value] = self.array(np.array(value, self.dtype))
        return self._known[value]

    def axis(self, value: int) -> str:
        return self.array(np.array([value], np.int64))

    def columns(self, x: str, start: int, stop: int) -> str:
        """x[:, start:stop]"""
        return self.node("Slice", x, self.axis(start), self.axis(stop), self.axis(1))

    def squares(self, x: str) -> str:
        """The sum of the squares of every row, as a column."""
        return self.node("ReduceSum", self.node("Mul", x, x), self.axis(1), keepdims=1)

    def scan(self, body: _Graph, states: list[tuple[str, str, str]], series: list[tuple[str, NDArray]]) -> list[str]:
        """Run `body` over the first axis of the arrays in `series`.

        states : (initial value outside, name inside, name inside after one layer); series : (name inside, array).
        """
        from onnx import helper

        kind = helper.np_dtype_to_tensor_dtype(self.dtype)
        inputs = [helper.make_tensor_value_info(name, kind, None) for _, name, _ in states]
        inputs += [helper.make_tensor_value_info(name, kind, array.shape[1:]) for name, array in series]
        outputs = [helper.make_tensor_value_info(name, kind, None) for _, _, name in states]
        graph = helper.make_graph(body.nodes, f"{body.prefix}layer", inputs, outputs, body.constants)
        results = [f"{self.prefix}v{len(self.nodes)}_{i}" for i in range(len(states))]
        given = [initial for initial, _, _ in states] + [self.array(array) for _, array in series]
        self.nodes.append(helper.make_node("Scan", given, results, body=graph, num_scan_inputs=len(series)))
        return results

    def body(self) -> _Graph:
        return _Graph(self.dtype, f"{self.prefix}b{len(self.nodes)}_")


def _dense(graph: _Graph, x: str, step: Step) -> str:
    weight, bias = step.arrays["weight"], step.arrays["bias"]
    moved = graph.node("Add", graph.node("MatMul", x, graph.array(weight.T)), graph.array(bias))
    return _rescale(graph, moved, step)


def _stack(graph: _Graph, x: str, step: Step) -> str:
    weight, bias = step.arrays["weight"], step.arrays["bias"]
    body = graph.body()
    state, w, b = (f"{body.prefix}{name}" for name in ("x", "w", "b"))
    moved = _rescale(body, body.node("Add", body.node("MatMul", state, w), b), step)
    after = body.node("Identity", moved)
    return graph.scan(body, [(x, state, after)], [(w, weight.transpose(0, 2, 1)), (b, bias)])[0]


def _growing(graph: _Graph, x: str, step: Step) -> str:
    weight, bias, readout, offset = (step.arrays[name] for name in ("weight", "bias", "readout", "offset"))
    layers, head = weight.shape[0], weight.shape[2]
    width = readout.shape[1] - layers
    rest = graph.columns(x, head, width)
    squared = graph.squares(rest)
    share = graph.node("MatMul", rest, graph.array(readout[:, layers + head :].T))
    body = graph.body()
    state, carried, total, w, b, column = (f"{body.prefix}{name}" for name in ("x", "q", "t", "w", "b", "r"))
    grown = body.node("Add", body.node("MatMul", state, w), b)
    square = body.node("Add", body.squares(grown), carried)
    factor = _factor(body, square, step.activation)
    zero = body.number(0.0)
    keep = body.node("Not", body.node("Equal", factor, zero))

    def scaled(value: str, by: str) -> str:
        return body.node("Where", keep, body.node("Mul", by, value), zero)

    grown = scaled(grown, factor)
    newest = body.columns(grown, head, head + 1)
    joined = body.node("Add", scaled(carried, body.node("Mul", factor, factor)), body.node("Mul", newest, newest))
    added = body.node("Add", scaled(total, factor), body.node("Mul", newest, column))
    states = [(x, state, body.columns(grown, 0, head)), (squared, carried, joined), (share, total, added)]
    states[0] = (graph.columns(x, 0, head), *states[0][1:])
    columns = readout[:, head : layers + head].T[::-1]  # the newest coordinate stands first after the last layer
    series = [(w, weight.transpose(0, 2, 1)), (b, bias), (column, columns)]
    x, _, total = graph.scan(body, states, series)
    value = graph.node("Add", graph.node("MatMul", x, graph.array(readout[:, :head].T)), total)
    return graph.node("Add", value, graph.array(offset))


def _rescale(graph: _Graph, v: str, step: Step) -> str:
    """v (batch, d) -> h(|v|) v / |v|"""
    if step.activation is None:
        return v
    zero, one = graph.number(0.0), graph.number(1.0)
    if step.activation["name"] == "step_relu":
        return graph.node("Where", graph.node("Less", graph.squares(v), one), zero, v)
    top = graph.node("ReduceMax", graph.node("Abs", v), axes=[1], keepdims=1)
    empty = graph.node("Equal", top, zero)
    large = float(np.sqrt(np.finfo(graph.dtype).max) / 1e4)
    outside = graph.node("Less", top, graph.number(1 / large))
    outside = graph.node("Or", outside, graph.node("Less", graph.number(large), top))
    scale = graph.node("Where", empty, one, graph.node("Where", outside, top, one))  # so that squares are numbers
    scaled = graph.node("Div", v, scale)
    length = graph.node("Where", empty, one, graph.node("Sqrt", graph.squares(scaled)))
    values = _profile(graph, graph.node("Mul", scale, length), step.activation)
    return graph.node("Where", empty, zero, graph.node("Mul", values, graph.node("Div", scaled, length)))


def _factor(graph: _Graph, square: str, activation: dict[str, Any] | None) -> str:
    """h(r) / r from the square of r; 0 where r = 0."""
    zero, one = graph.number(0.0), graph.number(1.0)
    if activation is None:
        return graph.node("Where", graph.node("Equal", square, square), one, one)
    if activation["name"] == "step_relu":
        return graph.node("Where", graph.node("Less", square, one), zero, one)
    empty = graph.node("Equal", square, zero)
    r = graph.node("Where", empty, one, graph.node("Sqrt", square))
    return graph.node("Where", empty, zero, graph.node("Div", _profile(graph, r, activation), r))


def _profile(graph: _Graph, r: str, activation: dict[str, Any]) -> str:
    """The profile h(r), in the same forms as approx.activations."""
    name = activation["name"]
    zero, one = graph.number(0.0), graph.number(1.0)

    def sigmoid(t: str) -> str:
        decay = graph.node("Exp", graph.node("Neg", graph.node("Abs", t)))
        top = graph.node("Where", graph.node("Less", t, zero), decay, one)
        return graph.node("Div", top, graph.node("Add", one, decay))

    def shifted() -> str:
        return graph.node("Sub", r, graph.number(float(activation["shift"])))

    if name == "radial_identity":
        return r
    if name == "squashing":
        square = graph.node("Mul", r, r)  # r^2 / (1 + r^2) for r < 1, else 1 / (1 + r^-2)
        inverse = graph.node("Div", one, graph.node("Max", r, one))
        inner = graph.node("Div", square, graph.node("Add", one, square))
        outer = graph.node("Div", one, graph.node("Add", one, graph.node("Mul", inverse, inverse)))
        return graph.node("Where", graph.node("Less", r, one), inner, outer)
    if name == "rational_squash":
        return graph.node("Div", r, graph.node("Add", one, r))
    if name == "radial_sigmoid":
        return sigmoid(r)
    if name == "radial_swish":
        return graph.node("Mul", r, sigmoid(r))
    if name == "shifted_relu":
        return graph.node("Max", shifted(), zero)
    if name == "shifted_sigmoid":
        return sigmoid(shifted())
    if name == "radial_softplus":
        t = shifted()
        decay = graph.node("Exp", graph.node("Neg", graph.node("Abs", t)))
        return graph.node("Add", graph.node("Max", t, zero), graph.node("Log", graph.node("Add", one, decay)))
    raise ValueError(f"to_onnx: received the activation {name}; required one whose profile is known here.")


_STEPS = {"dense": _dense, "stack": _stack, "growing": _growing, "rescale": _rescale}
