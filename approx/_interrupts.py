"""Ctrl-C, which may come while a compiled function runs: Python then raises a SystemError with it as its cause."""

from __future__ import annotations

__all__ = ["INTERRUPTS", "is_interrupt"]

INTERRUPTS = KeyboardInterrupt, SystemError


def is_interrupt(error: BaseException) -> bool:
    """Whether one of INTERRUPTS is a Ctrl-C.

    >>> is_interrupt(KeyboardInterrupt()), is_interrupt(SystemError())
    (True, False)
    """
    return isinstance(error, KeyboardInterrupt) or isinstance(error.__cause__, KeyboardInterrupt)
