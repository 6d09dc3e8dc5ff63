"""Look at streams of points, here or spread over the workers of an executor, with the same result.

Every chunk of a stream is made from its own seed, so any worker can make it, and what the workers saw is put together
in the order of the chunks.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from approx import _checks
from approx.covers import Cover
from approx.evaluation._subject import evaluator
from approx.evaluation._watch import Watch
from approx.targets import Target

__all__ = ["Seen", "Streams", "Subject", "look"]

Array = NDArray[np.float64]

_TASKS = 32
_CALL = "sup_error"


@dataclass(frozen=True)
class Subject:
    """What is measured: a network or function F, its target, its cells if known, and how F is evaluated."""

    network: Any
    target: Target
    cover: Cover | None
    engine: str

    def watch(self) -> Watch:
        evaluate = evaluator(self.network, self.target.dim_in, self.target.dim_out, self.engine)
        return Watch(evaluate, self.target, self.cover)


class Streams:
    """Points in chunks. Subclasses are plain data, so that they travel to other processes."""

    @property
    def chunks(self) -> int:
        raise NotImplementedError

    def points(self, part: slice) -> Iterator[Array]:
        raise NotImplementedError


@dataclass
class Seen:
    """What a part of a stream came to: the watch, the sum of squared errors and the number of points by chunk."""

    watch: Watch
    squares: list[float]
    counts: list[int]


def look(
    subject: Subject, streams: Iterable[Streams], executor: Executor | None, progress: Callable[[int], Any]
) -> list[Seen]:
    """One `Seen` per stream."""
    if executor is not None and not callable(getattr(executor, "submit", None)):
        action = "Pass a concurrent.futures executor, or client.get_executor() of dask."
        received = f"executor = {_checks.show(executor)}"
        raise TypeError(_checks.message(_CALL, received, "an executor with submit()", action))
    result = []
    for stream in streams:
        if executor is None:
            result.append(_see(subject, stream, slice(None), progress))
            continue
        ends = np.unique(np.linspace(0, stream.chunks, min(_TASKS, stream.chunks) + 1).astype(int)).tolist()
        parts = [slice(*ends[i : i + 2]) for i in range(len(ends) - 1)]
        try:
            tasks = [executor.submit(_see, subject, stream, part) for part in parts]
            whole = Seen(subject.watch(), [], [])
            for task in tasks:
                seen = task.result()
                whole.watch.join(seen.watch)
                whole.squares += seen.squares
                whole.counts += seen.counts
                progress(sum(seen.counts))
        except (pickle.PicklingError, AttributeError) as error:
            received = f"an executor of processes and a network or target that does not pickle ({error})"
            action = "Define the function at the top level of a module, or use a pool of threads."
            raise TypeError(_checks.message(_CALL, received, "what can be sent to other processes", action)) from error
        result.append(whole)
    return result


def _see(subject: Subject, stream: Streams, part: slice, progress: Callable[[int], Any] = lambda count: None) -> Seen:
    seen = Seen(subject.watch(), [], [])
    for points in stream.points(part):
        seen.squares.append(float((seen.watch.look(points) ** 2).sum()))
        seen.counts.append(len(points))
        progress(len(points))
    watch = seen.watch
    del watch.network, watch.target, watch.cover, watch.claims  # whoever asked has them, and they may be large
    return seen
