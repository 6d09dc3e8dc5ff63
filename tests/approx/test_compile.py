"""Compiled functions: with a cache on disk, and without a place for one."""

import gc

import numba
import numpy as np
import pytest
from numba.core import event

from approx import _compile


def total(values):
    result = 0.0
    for value in values:
        result += value
    return result


def abs_total(values):
    return abs(total(values))


def test_without_a_writable_cache(monkeypatch):
    real = numba.njit

    def njit(**options):
        if options.get("cache"):

            def refuse(function):
                raise RuntimeError("cannot cache function: no locator available")

            return refuse
        return real(**options)

    monkeypatch.setattr(_compile, "njit", njit)

    kernel = _compile.compiled(fastmath={"contract"})(total)
    assert not _compile.ready(kernel)
    assert kernel(np.arange(4.0)) == 6.0
    assert _compile.ready(kernel)


def test_what_is_in_the_cache_is_ready(monkeypatch, tmp_path):
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    first, second = _compile.compiled(total), _compile.compiled(total)
    assert not _compile.ready(first) and not _compile.ready(second)
    assert first(np.arange(4.0)) == 6.0
    assert _compile.ready(second) and not second.signatures
    assert second(np.arange(4.0)) == 6.0
    assert sum(second.stats.cache_hits.values()) == 1
    assert not _compile.ready(_compile.compiled(abs_total))


def test_what_is_not_compiled_at_all_is_ready():
    assert _compile.ready(total)


class Recorder(event.Listener):
    """Whether garbage is collected when a compilation begins, and when it has ended."""

    def __init__(self):
        self.seen = []

    def on_start(self, _):
        self.seen.append(gc.isenabled())

    def on_end(self, _):
        self.seen.append(gc.isenabled())


@pytest.mark.parametrize("before", [True, False])
def test_no_garbage_is_collected_while_something_is_compiled(before, monkeypatch, tmp_path):
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    inner = _compile.compiled(total)
    outer = _compile.compiled(lambda values: inner(values) + 1.0)
    recorder, enabled = Recorder(), gc.isenabled()
    try:
        (gc.enable if before else gc.disable)()
        with event.install_listener("numba:compile", recorder):
            assert outer(np.arange(4.0)) == 7.0
            with pytest.raises(numba.TypingError):
                outer("no array")
        assert gc.isenabled() == before
    finally:
        (gc.enable if enabled else gc.disable)()
    # Two compilations, one within the other, and then two that fail.
    assert recorder.seen == [False, False, False, before] * 2
