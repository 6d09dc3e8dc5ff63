"""Torch callables on operands: a stand-in for a tensor that hands torch's functions over to numpy's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from approx.certification._operands import Operand

__all__ = ["TensorView", "through_torch"]


def through_torch(function: Callable[[Any], Any], x: Operand) -> Operand:
    """function(x) for a function of tensors (k, n).

    Raises TypeError for a torch function that is not known, or that would be a data-dependent branch.
    """
    with torch.no_grad():
        result = function(TensorView(x))
    return result.operand if isinstance(result, TensorView) else _plain(result)


class TensorView:
    """An operand as a torch function sees it: torch's functions, methods and operators in terms of numpy's."""

    dtype = torch.float64
    device = torch.device("cpu")
    requires_grad = False

    def __init__(self, operand: Operand):
        self.operand = operand

    @property
    def shape(self) -> torch.Size:
        return torch.Size(self.operand.shape)

    @property
    def ndim(self) -> int:
        return self.operand.ndim

    @property
    def T(self) -> TensorView:
        return TensorView(self.operand.T)

    mT = T

    def __len__(self) -> int:
        return len(self.operand)

    def __iter__(self) -> Iterator[TensorView]:
        return (TensorView(row) for row in self.operand)

    def __getitem__(self, key: Any) -> TensorView:
        return TensorView(self.operand[key])

    def __bool__(self) -> bool:
        return bool(self.operand)  # raises: a branch

    def size(self, dim: int | None = None) -> Any:
        return self.shape if dim is None else self.shape[dim]

    def dim(self) -> int:
        return self.ndim

    def __getattr__(self, name: str) -> Callable[..., TensorView]:
        function = _BY_NAME.get(name)
        if name.startswith("__") or function is None:
            raise AttributeError(f"Tensor.{name} is not known for {self.operand.kind}s")
        return lambda *args, **options: _apply(function, (self, *args), options)

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(function, "__name__", str(function))
        in_place = name.endswith("_") and not name.endswith("__")  # such as relu_
        known = None if in_place else _BY_NAME.get(name, _BY_NAME.get(name.strip("_")))
        if known is None:
            raise TypeError(f"torch.{name} is not known on boxes; write the function with elementary functions")
        return _apply(known, args, kwargs or {})


def _operator(function: Callable[..., Any], reflected: bool = False) -> Callable[..., Any]:
    def method(self: TensorView, *others: Any) -> Any:
        return _apply(function, (*others, self) if reflected else (self, *others), {})

    return method


for _name, _function in {"add": np.add, "sub": np.subtract, "mul": np.multiply, "truediv": np.divide, "pow": np.power,
                         "matmul": np.matmul}.items():  # fmt: skip
    setattr(TensorView, f"__{_name}__", _operator(_function))
    setattr(TensorView, f"__r{_name}__", _operator(_function, reflected=True))
for _name, _function in {"neg": np.negative, "abs": np.absolute}.items():
    setattr(TensorView, f"__{_name}__", _operator(_function))


def _plain(value: Any) -> Any:
    """Operands and arrays out of what torch code passes around."""
    if isinstance(value, TensorView):
        return value.operand
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().double().numpy()
    if isinstance(value, list | tuple):
        return type(value)(_plain(part) for part in value)
    return value


def _apply(function: Callable[..., Any], args: Any, options: dict[str, Any]) -> TensorView:
    options = {_RENAMED.get(name, name): _plain(value) for name, value in options.items()}
    in_place = options.pop("inplace", False)
    result = _wrap(function(*map(_plain, args), **options))
    if in_place:  # what reads the argument from now on sees the result
        args[0].operand = result.operand
    return result


def _wrap(value: Any) -> Any:
    if isinstance(value, Operand):
        return TensorView(value)
    return tuple(map(_wrap, value)) if isinstance(value, tuple) else torch.from_numpy(np.asarray(value))


_RENAMED = {"dim": "axis", "keepdim": "keepdims"}


def _sigmoid(x: Any) -> Any:
    return np.tanh(x / 2.0) * 0.5 + 0.5


def _to(x: Any, dtype: Any = torch.float64) -> Any:
    if dtype is not torch.float64:
        raise TypeError(f"a conversion to {dtype} is not known on boxes; compute in torch.float64")
    return x


def _norm(x: Any, p: Any = 2, axis: Any = None, keepdims: bool = False, ord: Any = None, **_: Any) -> Any:
    order = p if ord is None else ord
    return np.linalg.norm(
        x, 2 if order == "fro" else order, axis=axis[0] if isinstance(axis, tuple | list) else axis, keepdims=keepdims
    )


def _clamp(x: Any, min: Any = None, max: Any = None) -> Any:
    return np.clip(x, min, max)


def _linear(x: Any, weight: Any, bias: Any = None) -> Any:
    product = x @ weight.T
    return product if bias is None else product + bias


def _reduction(function: Callable[..., Any]) -> Callable[..., Any]:
    def reduce(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        for index in sorted(np.atleast_1d(axis), reverse=True) if isinstance(axis, tuple | list) else [axis]:
            x = function(x, axis=index, keepdims=keepdims)
        return x

    return reduce


_BY_NAME: dict[str, Callable[..., Any]] = {
    **{name: getattr(np, name) for name in ("exp", "expm1", "log", "log1p", "sin", "cos", "tan", "tanh", "sinh", "cosh",
                                            "sqrt", "square", "maximum", "minimum", "hypot", "reciprocal")},
    "abs": np.abs, "absolute": np.abs, "neg": np.negative, "negative": np.negative, "positive": np.positive,
    "arctan": np.arctan, "atan": np.arctan, "matmul": np.matmul, "mm": np.matmul, "mv": np.matmul,
    "add": np.add, "sub": np.subtract, "subtract": np.subtract, "mul": np.multiply, "multiply": np.multiply,
    "div": np.divide, "divide": np.divide, "truediv": np.divide, "true_divide": np.divide,
    "pow": np.power, "float_power": np.power,
    "sum": _reduction(np.sum), "mean": _reduction(np.mean), "prod": _reduction(np.prod),
    "amax": _reduction(np.max), "amin": _reduction(np.min),
    "norm": _norm, "vector_norm": _norm, "linalg_norm": _norm, "linalg_vector_norm": _norm,
    "clamp": _clamp, "clip": _clamp,
    "relu": lambda x: np.maximum(x, 0.0), "sigmoid": _sigmoid,
    "silu": lambda x: x * _sigmoid(x), "rsqrt": lambda x: 1.0 / np.sqrt(x),
    "linear": _linear, "stack": lambda tensors, axis=0: np.stack(tensors, axis=axis),
    "cat": lambda tensors, axis=0: np.concatenate(tensors, axis=axis),
    "hstack": np.hstack, "column_stack": np.column_stack, "einsum": np.einsum,
    "unsqueeze": lambda x, axis: np.expand_dims(x, axis), "squeeze": lambda x, axis=None: np.squeeze(x, axis),
    "reshape": lambda x, *shape: x.reshape(*shape),
    "transpose": lambda x, a, b: np.moveaxis(x, (a, b), (b, a)), "t": lambda x: x.T,
    "unbind": lambda x, axis=0: tuple(np.moveaxis(x, axis, 0)),
    "double": lambda x: x, "to": _to, "contiguous": lambda x: x, "clone": lambda x, **k: x.copy(),
    "detach": lambda x: x, "zeros_like": lambda x, **k: np.zeros_like(x), "ones_like": lambda x, **k: np.ones_like(x),
}  # fmt: skip
