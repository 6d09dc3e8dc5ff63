"""Argument checks shared by both packages, and the form every error message takes.

A message has four parts: the call, what it received, what it requires, and what to do about it.
"""

from __future__ import annotations

import difflib
import math
import numbers
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def message(call: str, received: str, required: str, action: str) -> str:
    """One error text: ``call: received ...; required .... What to do.``"""
    return f"{call}: received {received}; required {required}. {action}"


def show(value: Any, limit: int = 80) -> str:
    """A short repr on one line that never floods a message."""
    if isinstance(value, np.ndarray) and value.size > 8:
        return f"array of shape {value.shape} and dtype {value.dtype}"
    text = " ".join(repr(value).split())
    return text if len(text) <= limit else text[: limit - 3] + "..."


def positive(call: str, name: str, value: Any, *, action: str = "") -> float:
    """`value` as a float that is finite and > 0. Raises ValueError or TypeError."""
    number = finite(call, name, value)
    if not number > 0:
        raise ValueError(message(call, f"{name} = {show(value)}", f"{name} > 0", action or f"Pass a positive {name}."))
    return number


def finite(call: str, name: str, value: Any) -> float:
    """`value` as a finite float. Raises ValueError or TypeError."""
    if isinstance(value, bool) or not isinstance(value, (numbers.Real, np.number)):
        raise TypeError(message(call, f"{name} = {show(value)}", "a real number", f"Pass {name} as a plain float."))
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(
            message(call, f"{name} = {show(value)}", f"a finite {name}", f"Pass a finite number for {name}.")
        )
    return number


def count(call: str, name: str, value: Any, *, least: int = 1, most: int | None = None) -> int:
    """`value` as an int in [least, most]. Raises ValueError or TypeError."""
    if isinstance(value, bool) or not isinstance(value, (numbers.Integral, np.integer)):
        raise TypeError(message(call, f"{name} = {show(value)}", "an integer", f"Pass {name} as an int."))
    number = int(value)
    if number < least or (most is not None and number > most):
        span = f"{least} <= {name}" + ("" if most is None else f" <= {most}")
        raise ValueError(message(call, f"{name} = {number}", span, f"Choose {name} in that range."))
    return number


def points(call: str, name: str, value: ArrayLike, dim: int) -> NDArray[np.float64]:
    """`value` as a float64 array of shape (..., dim) without NaN. Raises ValueError or TypeError."""
    array = real_array(call, name, value)
    if array.ndim == 0 or array.shape[-1] != dim:
        raise ValueError(
            message(
                call,
                f"{name} of shape {array.shape}",
                f"shape (..., {dim}), last axis = coordinates",
                f"Reshape {name}; for n = 1 use x[:, None]." if dim == 1 else f"Reshape {name}.",
            )
        )
    if np.isnan(array).any():
        raise ValueError(message(call, f"{name} containing NaN", "numbers", f"Remove the NaN from {name}."))
    return array


def real_array(call: str, name: str, value: ArrayLike) -> NDArray[np.float64]:
    """`value` as a float64 array; refuses complex, strings, objects and ragged lists."""
    try:
        array = np.asarray(value)
    except (ValueError, TypeError) as error:
        raise TypeError(
            message(call, f"{name} = {show(value)}", "an array of real numbers", f"Pass a rectangular {name}.")
        ) from error
    if array.dtype.kind not in "fiub":
        raise TypeError(
            message(
                call,
                f"{name} of dtype {array.dtype}",
                "an array of real numbers",
                f"Convert {name} to float64 first.",
            )
        )
    return array.astype(np.float64, copy=False)


def finite_array(call: str, name: str, value: ArrayLike, shape: tuple[int | None, ...]) -> NDArray[np.float64]:
    """`value` as a finite float64 array whose shape matches `shape` (None matches any length)."""
    array = real_array(call, name, value)
    fits = array.ndim == len(shape) and all(s is None or s == a for s, a in zip(shape, array.shape, strict=True))
    if not fits:
        wanted = "(" + ", ".join("*" if s is None else str(s) for s in shape) + ("," if len(shape) == 1 else "") + ")"
        raise ValueError(
            message(call, f"{name} of shape {array.shape}", f"shape {wanted}", f"Reshape {name} to {wanted}.")
        )
    bad = ~np.isfinite(array)
    if bad.any():
        where = tuple(int(i) for i in np.argwhere(bad)[0])
        raise ValueError(
            message(
                call,
                f"{name}{list(where)} = {array[where]}",
                "finite numbers",
                f"Remove NaN and infinity from {name}.",
            )
        )
    return array


def one_of(call: str, name: str, value: Any, names: Iterable[str]) -> str:
    """`value` as one of `names`. Raises ValueError that lists them."""
    known = sorted(names)
    if value not in known:
        raise ValueError(message(call, f"{name} = {show(value)}", f"one of {', '.join(known)}", spelling(value, known)))
    return value


def spelling(word: Any, names: Iterable[str], otherwise: str = "Check the spelling.") -> str:
    """What to do about an unknown name: take one that is close to it, or `otherwise` where none is."""
    close = difflib.get_close_matches(str(word).lower(), list(names), n=2)
    return f"Did you mean {' or '.join(close)}?" if close else otherwise
