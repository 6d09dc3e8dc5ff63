"""Compiled functions work without a place for the cache."""

import numba
import numpy as np

from approx import _compile


def test_without_a_writable_cache(monkeypatch):
    real = numba.njit

    def njit(**options):
        if options.get("cache"):

            def refuse(function):
                raise RuntimeError("cannot cache function: no locator available")

            return refuse
        return real(**options)

    monkeypatch.setattr(_compile, "njit", njit)

    @_compile.compiled(fastmath={"contract"})
    def total(values):
        result = 0.0
        for value in values:
            result += value
        return result

    assert total(np.arange(4.0)) == 6.0
