"""Ctrl-C as a KeyboardInterrupt wherever it comes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

__all__ = ["plain_interrupts"]


@contextlib.contextmanager
def plain_interrupts() -> Iterator[None]:
    """A context, or decorator, that raises KeyboardInterrupt where Ctrl-C came while a compiled function ran: there
    Python raises a SystemError with it as its cause.

    >>> try:
    ...     with plain_interrupts():
    ...         raise SystemError("returned a result with an exception set") from KeyboardInterrupt()
    ... except KeyboardInterrupt:
    ...     print("interrupted")
    interrupted
    """
    try:
        yield
    except SystemError as error:
        if isinstance(error.__cause__, KeyboardInterrupt):
            raise KeyboardInterrupt from error
        raise
