"""The part of numpy's interface that stand-ins for arrays (intervals, jets) share, in terms of a few primitives.

A caller's function, written for (k, n) arrays, runs on such operands unchanged: numpy hands its ufuncs over through
``__array_ufunc__``, its other functions through ``__array_function__``, and the methods and operators are here.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Operand", "unsupported"]

Array = NDArray[np.float64]
ALL = slice(None)

_DECISIONS = {  # their result says which way a program goes, and on a box it may go both ways
    np.less, np.less_equal, np.greater, np.greater_equal, np.equal, np.not_equal, np.isfinite, np.isinf, np.isnan,
    np.sign, np.signbit, np.heaviside, np.floor, np.ceil, np.rint, np.trunc, np.floor_divide, np.remainder,
    np.logical_and, np.logical_or, np.logical_not, np.where, np.select, np.piecewise, np.any, np.all, np.argmax,
    np.argmin, np.sort, np.argsort, np.nonzero, np.isclose, np.allclose, np.array_equal, np.round,
}  # fmt: skip


def unsupported(kind: str, function: Any) -> TypeError:
    """The error for a numpy function that cannot be followed on a box."""
    name = f"numpy.{getattr(function, '__name__', function)}"
    if function in _DECISIONS:
        return _branch(kind, name)
    return TypeError(f"{name} is not known for {kind}s; write the function with + - * / ** and elementary functions")


def _branch(kind: str, name: str) -> TypeError:
    return TypeError(
        f"{name} of {kind}s would be a data-dependent branch: all values in a box need not agree on it; use "
        "numpy.minimum, numpy.maximum, numpy.clip or numpy.abs, which have no branches"
    )


class Operand(np.lib.mixins.NDArrayOperatorsMixin):
    """Base of Interval and Jet. Subclasses provide `shape`, ``__array_ufunc__``, and

    _restructure(change) : the operand with its entries rearranged as change(array) -> array does.
    _join(parts, combine) : several operands put together as combine(arrays) -> array does.
    _lift(value) : the operand that stands for a constant array.
    _length(parts) : sqrt(sum of squares) of the operands in the list.
    """

    __slots__ = ()
    kind = "operand"
    dtype = np.dtype(np.float64)

    _restructure: Callable[..., Any]
    _join: Callable[..., Any]
    _lift: Callable[..., Any]
    _length: Callable[..., Any]

    @property
    def shape(self) -> tuple[int, ...]:
        raise NotImplementedError

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))

    @property
    def T(self) -> Any:
        return self.transpose()

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError(f"len() of {self.kind}s without axes")
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, key: Any) -> Any:
        if any(isinstance(part, Operand) for part in (key if isinstance(key, tuple) else (key,))):
            raise _branch(self.kind, "indexing")
        return self._restructure(lambda array: array[key])

    def __bool__(self) -> bool:
        raise _branch(self.kind, "the truth value")

    def __float__(self) -> float:
        raise TypeError(f"{self.kind}s are no single numbers")

    def __array__(self, *args: Any, **options: Any) -> Array:
        raise TypeError(f"{self.kind}s are no plain arrays; combine them with numpy.stack, not numpy.array")

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if not all(issubclass(t, (type(self), np.ndarray)) for t in types):
            return NotImplemented
        if function not in _FUNCTIONS:
            raise unsupported(self.kind, function)
        return _FUNCTIONS[function](self, *args, **kwargs)

    def transpose(self, *axes: Any) -> Any:
        order = axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes
        return self._restructure(lambda array: array.transpose(*order))

    def reshape(self, *shape: Any) -> Any:
        return self._restructure(lambda array: array.reshape(*shape))

    def copy(self) -> Any:
        return np.positive(self)

    def sum(self, axis: int | None = None, keepdims: bool = False) -> Any:
        return _reduce(np.add, self, axis, keepdims)

    def prod(self, axis: int | None = None, keepdims: bool = False) -> Any:
        return _reduce(np.multiply, self, axis, keepdims)

    def max(self, axis: int | None = None, keepdims: bool = False) -> Any:
        return _reduce(np.maximum, self, axis, keepdims)

    def min(self, axis: int | None = None, keepdims: bool = False) -> Any:
        return _reduce(np.minimum, self, axis, keepdims)

    def mean(self, axis: int | None = None, keepdims: bool = False) -> Any:
        total = self.sum(axis, keepdims)
        return total / (self.size // max(1, total.size))

    def dot(self, other: Any) -> Any:
        return matmul(self, self, other)

    def clip(self, min: Any = None, max: Any = None) -> Any:
        return _clip(self, self, min, max)


def _axis(axis: Any, ndim: int) -> int:
    index = operator.index(axis)
    if not -ndim <= index < ndim:
        raise np.exceptions.AxisError(index, ndim)
    return index % ndim


def _parts(x: Any, axis: int | None) -> tuple[list[Any], int]:
    """The slices of x across one axis; None stands for the only axis there is."""
    if axis is None and x.ndim != 1:
        raise TypeError(f"a reduction of {x.kind}s over all axes would mix the boxes; name the axis, as in axis=-1")
    axis = _axis(0 if axis is None else axis, x.ndim)
    return [x[(ALL,) * axis + (i,)] for i in range(x.shape[axis])], axis


def _reduce(combine: np.ufunc, x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    parts, axis = _parts(x, axis)
    if not parts:
        raise TypeError(f"a reduction of {x.kind}s over an axis of length 0")
    result = functools.reduce(combine, parts) if len(parts) > 1 else np.positive(parts[0])
    return result[(ALL,) * axis + (None,)] if keepdims else result


def matmul(like: Any, a: Any, b: Any) -> Any:
    """a @ b, entry by entry as a sum of products."""
    a, b = (v if isinstance(v, Operand) else np.asarray(v) for v in (a, b))
    if not a.ndim or not b.ndim or a.shape[-1] != b.shape[max(b.ndim - 2, 0)]:
        raise ValueError(f"matmul of shapes {a.shape} and {b.shape}")
    total: Any = 0.0
    for j in range(a.shape[-1]):
        if b.ndim == 1:
            left, right = a[..., j], b[j]
        else:
            left, right = (
                (a[j] if a.ndim == 1 else a[..., j, None]),
                b[..., j, :] if a.ndim == 1 else b[..., None, j, :],
            )
        total = left * right if j == 0 else total + left * right
    return total


def _einsum(like: Any, subscripts: Any, *operands: Any) -> Any:
    """Explicit sums of products, such as "ki,ij,kj->k"."""
    if not isinstance(subscripts, str) or "->" not in subscripts or "." in subscripts:
        raise TypeError(f"numpy.einsum of {like.kind}s needs explicit subscripts such as 'ki,ki->k'")
    inputs, output = subscripts.replace(" ", "").split("->")
    names = inputs.split(",")
    if any(len(set(name)) < len(name) for name in (*names, output)) or len(names) != len(operands):
        raise TypeError(f"numpy.einsum({subscripts!r}) is not known for {like.kind}s: repeated letters in one operand")
    order = output + "".join(c for c in dict.fromkeys(inputs) if c not in output and c != ",")
    factors = []
    for name, x in zip(names, operands, strict=True):
        present = [c for c in order if c in name]
        aligned = (x if isinstance(x, Operand) else np.asarray(x)).transpose([name.index(c) for c in present])
        factors.append(aligned[tuple(ALL if c in name else None for c in order)])
    if len(factors) == 2 and operands[0] is operands[1] and names[0] == names[1]:
        product = np.square(factors[0])
    else:
        product = functools.reduce(operator.mul, factors)
    for _ in order[len(output) :]:
        product = product.sum(axis=-1)
    return product


def _norm(like: Any, x: Any, ord: Any = None, axis: int | None = None, keepdims: bool = False) -> Any:
    if ord == 1:
        return _reduce(np.add, np.absolute(x), axis, keepdims)
    if ord == np.inf:
        return _reduce(np.maximum, np.absolute(x), axis, keepdims)
    if ord not in (None, 2):
        raise TypeError(f"numpy.linalg.norm of {like.kind}s with ord = {ord!r}; known are 1, 2 and inf")
    parts, axis = _parts(x, axis)
    result = like._length(parts)
    return result[(ALL,) * axis + (None,)] if keepdims else result


def _clip(like: Any, x: Any, a_min: Any = None, a_max: Any = None, *, min: Any = None, max: Any = None) -> Any:
    low, high = (a_min if min is None else min), (a_max if max is None else max)
    result = np.positive(x) if low is None else np.maximum(x, low)
    return result if high is None else np.minimum(result, high)


def _stack(like: Any, arrays: Sequence[Any], axis: int = 0) -> Any:
    return like._join(list(arrays), lambda parts: np.stack(parts, axis))


def _concatenate(like: Any, arrays: Sequence[Any], axis: int = 0) -> Any:
    return like._join(list(arrays), lambda parts: np.concatenate(parts, axis))


def _column_stack(like: Any, tup: Sequence[Any]) -> Any:
    return _concatenate(like, [v[:, None] if np.ndim(v) == 1 else v for v in tup], axis=1)


def _vstack(like: Any, tup: Sequence[Any]) -> Any:
    return _concatenate(like, [v[None] if np.ndim(v) == 1 else v for v in tup])


def _hstack(like: Any, tup: Sequence[Any]) -> Any:
    return _concatenate(like, tup, axis=0 if np.ndim(tup[0]) == 1 else 1)


def _full_like(like: Any, a: Any, fill_value: Any) -> Any:
    return like._lift(np.full(a.shape, fill_value, dtype=np.float64)).copy()  # may be written to


_FUNCTIONS: dict[Any, Callable[..., Any]] = {
    np.sum: lambda like, a, axis=None, keepdims=False: a.sum(axis, keepdims),
    np.prod: lambda like, a, axis=None, keepdims=False: a.prod(axis, keepdims),
    np.mean: lambda like, a, axis=None, keepdims=False: a.mean(axis, keepdims),
    np.max: lambda like, a, axis=None, keepdims=False: a.max(axis, keepdims),
    np.min: lambda like, a, axis=None, keepdims=False: a.min(axis, keepdims),
    np.amax: lambda like, a, axis=None, keepdims=False: a.max(axis, keepdims),
    np.amin: lambda like, a, axis=None, keepdims=False: a.min(axis, keepdims),
    np.linalg.norm: _norm,
    np.dot: matmul,
    np.einsum: _einsum,
    np.clip: _clip,
    np.stack: _stack,
    np.concatenate: _concatenate,
    np.column_stack: _column_stack,
    np.vstack: _vstack,
    np.hstack: _hstack,
    np.broadcast_to: lambda like, array, shape: array._restructure(lambda a: np.broadcast_to(a, shape)),
    np.expand_dims: lambda like, a, axis: a._restructure(lambda b: np.expand_dims(b, axis)),
    np.squeeze: lambda like, a, axis=None: a._restructure(lambda b: np.squeeze(b, axis)),
    np.moveaxis: lambda like, a, source, destination: a._restructure(lambda b: np.moveaxis(b, source, destination)),
    np.transpose: lambda like, a, axes=None: a.transpose(*(() if axes is None else (axes,))),
    np.reshape: lambda like, a, shape: a.reshape(shape),
    np.copy: lambda like, a: a.copy(),
    np.zeros_like: lambda like, a: _full_like(like, a, 0.0),
    np.ones_like: lambda like, a: _full_like(like, a, 1.0),
    np.full_like: _full_like,
    np.shape: lambda like, a: a.shape,
    np.ndim: lambda like, a: a.ndim,
}
