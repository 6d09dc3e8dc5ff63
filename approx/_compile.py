"""numba.njit with the settings used throughout: no interpreter lock, division by zero as in numpy, and cached on disk
where a cache can be written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

__all__ = ["compiled"]


def compiled(function: Callable | None = None, **options: Any) -> Any:
    """Decorator, with or without options of numba.njit. Without a writable cache every process compiles anew."""
    if function is None:
        return lambda inner: compiled(inner, **options)
    options = {"nogil": True, "error_model": "numpy", **options}
    try:
        return njit(cache=True, **options)(function)
    except RuntimeError:  # "no locator available": neither the package nor the home directory can hold a cache
        return njit(**options)(function)
