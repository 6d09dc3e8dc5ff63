"""numba.njit with the settings used throughout: no interpreter lock, division by zero as in numpy, and cached on disk
where a cache can be written."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba import njit
from numba.core import event

__all__ = ["cache_folder", "compiled", "ready"]


class _WithoutCollections(event.Listener):
    """No garbage is collected while numba compiles: it makes so many objects that collections, which look at those of
    every package again and again, take a sixth of its time."""

    def __init__(self) -> None:
        self.enabled: list[bool] = []  # before each of the compilations under way, one within the other

    def on_start(self, _: event.Event) -> None:
        self.enabled.append(gc.isenabled())
        gc.disable()

    def on_end(self, _: event.Event) -> None:
        if self.enabled.pop():
            gc.enable()


event.register("numba:compile", _WithoutCollections())  # events come one at a time, under the compiler's lock


def compiled(function: Callable | None = None, **options: Any) -> Any:
    """Decorator, with or without options of numba.njit. Without a writable cache every process compiles anew.

    A function is optimised once by itself and once more within each that calls it, so what one kernel alone calls is
    better inlined where types are found: inline="always".
    """
    if function is None:
        return lambda inner: compiled(inner, **options)
    options = {"nogil": True, "error_model": "numpy", **options}
    try:
        return njit(cache=True, **options)(function)
    except RuntimeError:  # "no locator available": neither the package nor the home directory can hold a cache
        return njit(**options)(function)


def cache_folder(kernel: Any) -> str | None:
    """Where a compiled function is kept; None if nowhere, or if nothing is compiled at all."""
    return kernel.stats.cache_path if hasattr(kernel, "stats") else None


def ready(kernel: Any) -> bool:
    """Whether a compiled function was called before, or one of that name and line lies in the cache: then a call does
    not compile it, unless the arguments' types or the source are new."""
    if not hasattr(kernel, "py_func") or kernel.signatures:
        return True
    folder, function = cache_folder(kernel), kernel.py_func
    name = f"*.{function.__qualname__}-{function.__code__.co_firstlineno}.*.nbi"
    return folder is not None and any(Path(folder).glob(name))
