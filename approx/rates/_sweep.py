"""Build networks for many tolerances, targets and methods, and collect what they cost."""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Executor, Future, as_completed
from dataclasses import dataclass, field, replace
from types import FrameType
from typing import Any

import torch
from tqdm import tqdm

from approx import _checks
from approx._interrupts import plain_interrupts
from approx.rates._baselines import BASELINES, Budget, baseline
from approx.rates._cache import Cache, fingerprint
from approx.rates._table import RateRow, RateTable
from approx.targets import Target

__all__ = ["Method", "end_at_interrupts", "sweep"]

_CALL = "sweep"
_NOTE = 300
_ended: list[int] = []  # signals that ended this worker's work


@dataclass(frozen=True)
class Method:
    """A way to build networks, for `sweep`.

    builder, cover : names for the table; builder None: the construction's own name
    build : (target, eps) -> a construction, with hidden_layers, parameters, builder and report, such as a
        functools.partial of constructions.build; it must be picklable for a process pool
    theory : n -> the least and largest order that the theory expects, or None
    settings : whatever else the result depends on, for the cache

    >>> from functools import partial
    >>> import constructions
    >>> from approx.targets import gaussian
    >>> nested = Method(None, "nested", partial(constructions.build, cover="nested", samples=1000), lambda n: (1, 1))
    >>> [row.hidden_layers for row in sweep(gaussian(dim=2), [0.4, 0.1], [nested]).rows]
    [1, 5]
    """

    builder: str | None
    cover: str
    build: Callable[[Target, float], Any]
    theory: Callable[[int], tuple[float, float] | None] = lambda n: None
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class _Task:
    """work(*arguments) gives the row; key: where the cache keeps it"""

    key: str
    work: Callable[..., RateRow]
    arguments: tuple[Any, ...]


def sweep(
    targets: Target | Sequence[Target],
    eps: float | Sequence[float],
    methods: Sequence[Method],
    *,
    baselines: str | Sequence[str] = (),
    budget: Budget | None = None,
    executor: Executor | None = None,
    cache: str | os.PathLike[str] | None = None,
    progress: bool = False,
) -> RateTable:
    """A table of every target, method and tolerance.

    targets, eps, methods : what to combine; `constructions.rates.methods` lists methods by name
    baselines : names from BASELINES, or "all", to add for every target and tolerance, each with at most the parameters
        of the smallest network of the methods; budget : what training may cost
    executor : a concurrent.futures.Executor that shares the points (any process pool, dask's client.get_executor(),
        mpi4py's); the rows are those of a serial run, times excepted. With initializer=end_at_interrupts the workers
        of a ProcessPoolExecutor end at Ctrl-C, too
    cache : a file that keeps finished points and from which later sweeps take them; it knows targets by their values
        and claims, not the version of the builders: use a new file after changing those. Lines that cannot be read
        are skipped with a warning
    progress : show a bar

    A build that is refused (ValueError, MemoryError) gives a row that says why. An interrupt (Ctrl-C) returns the
    rows that are done; the point at work is none of them, even if its own proof or training keeps what it has.
    Every point is computed on one thread, since several change the last digits of sums; a proof that its time
    budget ends may differ from run to run. Raises TypeError or ValueError for no targets, tolerances or methods,
    eps that is not positive, unknown baselines, and a cache that is another kind of file.

    >>> from functools import partial
    >>> import constructions
    >>> from approx import targets
    >>> uniform = Method(None, "uniform", partial(constructions.build, cover="uniform", samples=1000))
    >>> table = sweep(targets.gaussian(dim=1), [0.2, 0.1], [uniform])
    >>> [row.hidden_layers for row in table.rows], table.rows[0].claim
    ([5, 13], 'certified')
    """
    chosen = _listed("targets", targets, Target, "a Target or several")
    ways = _listed("methods", methods, Method, "at least one Method")
    tolerances = [eps] if not isinstance(eps, Iterable) or isinstance(eps, str) else list(eps)
    tolerances = sorted({_checks.positive(_CALL, "eps", e) for e in tolerances}, reverse=True)
    if not tolerances:
        raise ValueError(_checks.message(_CALL, "no eps", "at least one tolerance", "Pass eps=[0.2, 0.1], say."))
    names = [baselines] if isinstance(baselines, str) else list(baselines)
    kinds = [_checks.one_of(_CALL, "baselines", kind, BASELINES) for kind in (BASELINES if "all" in names else names)]
    budget = Budget() if budget is None else budget
    if executor is not None and not isinstance(executor, Executor):
        received = f"executor = {_checks.show(executor)}"
        raise TypeError(
            _checks.message(_CALL, received, "a concurrent.futures.Executor", "Pass a ProcessPoolExecutor.")
        )
    rows: dict[str, RateRow] = {}
    kept = Cache(cache)
    tasks = [_built(target, way, e) for target in chosen for way in ways for e in tolerances]
    done = _run(tasks, rows, kept, executor, progress)
    built = [rows[task.key] for task in tasks if task.key in rows]
    if done and kinds:
        extra = [
            _competing(target, e, kind, budget, size)
            for target in chosen
            for kind in kinds
            for e in tolerances
            if (size := _smallest(built, target, e)) is not None
        ]
        done = _run(extra, rows, kept, executor, progress)
        built += [rows[task.key] for task in extra if task.key in rows]
    return RateTable(tuple(built), interrupted=not done)


def _listed(name: str, value: Any, kind: type, required: str) -> list[Any]:
    items = [value] if isinstance(value, kind) else list(value) if isinstance(value, Iterable) else []
    if not items or not all(isinstance(item, kind) for item in items):
        raise TypeError(_checks.message(_CALL, f"{name} = {_checks.show(value)}", required, "Pass a list of them."))
    return items


def _built(target: Target, way: Method, eps: float) -> _Task:
    key = fingerprint(target, way.builder, way.cover, eps, sorted(way.settings.items()))
    blank = RateRow(
        target=target.name,
        dim_in=target.dim_in,
        builder=way.builder or "auto",
        cover=way.cover,
        eps=eps,
        theory=way.theory(target.dim_in),
    )
    return _Task(key, _measure, (way.build, target, blank))


def _competing(target: Target, eps: float, kind: str, budget: Budget, parameters: int) -> _Task:
    return _Task(fingerprint(target, eps, kind, budget, parameters), baseline, (kind, target, parameters, eps, budget))


def _smallest(rows: Sequence[RateRow], target: Target, eps: float) -> int | None:
    """The fewest parameters of a network for that target and tolerance."""
    same = (row for row in rows if (row.target, row.dim_in, row.eps) == (target.name, target.dim_in, eps))
    return min((row.parameters for row in same if row.parameters is not None), default=None)


def _measure(build: Callable[[Target, float], Any], target: Target, blank: RateRow) -> RateRow:
    """One point of the sweep, in whichever process."""
    started, threads = time.perf_counter(), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        built = build(target, blank.eps)
        bound = getattr(built, "lower_bound", None)
    except (ValueError, MemoryError) as error:
        note = " ".join(str(error).split()) or type(error).__name__
        return replace(blank, note=note[:_NOTE], seconds=time.perf_counter() - started)
    finally:
        torch.set_num_threads(threads)
    report = built.report
    return replace(
        blank,
        builder=built.builder,
        hidden_layers=int(built.hidden_layers),
        parameters=int(built.parameters),
        lower=None if report is None else _number(report.lower),
        upper=None if report is None else _number(report.upper),
        claim="not measured" if report is None else report.claim,
        depth_bound=None if bound is None else bound.layers,
        seconds=time.perf_counter() - started,
    )


def _run(
    tasks: Sequence[_Task], rows: dict[str, RateRow], kept: Cache, executor: Executor | None, progress: bool
) -> bool:
    """Fill `rows` and the cache; whether all is done, or an interrupt came before."""
    waiting = {task.key: task for task in tasks}
    for key in list(waiting):
        if (row := kept.get(key)) is not None:
            rows[key] = row
            del waiting[key]
    try:
        with tqdm(total=len(tasks), initial=len(tasks) - len(waiting), desc=_CALL, disable=not progress) as bar:
            for key, row in _serial(waiting) if executor is None else _shared(waiting, executor):
                rows[key] = row
                kept.put(key, row)
                bar.update()
    except KeyboardInterrupt:
        return False
    return True


def end_at_interrupts() -> None:
    """The initializer of a worker process to which the terminal sends Ctrl-C as well: it ends the point at work and
    refuses those that wait, without a traceback.

    >>> from concurrent.futures import ProcessPoolExecutor
    >>> ProcessPoolExecutor(2, initializer=end_at_interrupts).shutdown()
    """
    signal.signal(signal.SIGINT, lambda number, frame: _ended.append(number))


@plain_interrupts()
def _whole(work: Callable[..., RateRow], *arguments: Any) -> RateRow:
    """work(*arguments), unless Ctrl-C came, which proofs, searches and training take as the end of their budget."""
    if _ended:
        raise KeyboardInterrupt
    before = signal.getsignal(signal.SIGINT)
    if not callable(before) or threading.current_thread() is not threading.main_thread():
        return work(*arguments)
    interrupts = []

    def note(number: int, frame: FrameType | None) -> None:
        interrupts.append(number)
        before(number, frame)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, note)
    try:
        row = work(*arguments)
    finally:
        signal.signal(signal.SIGINT, before)
    if interrupts:
        raise KeyboardInterrupt
    return row


def _serial(tasks: Mapping[str, _Task]) -> Iterator[tuple[str, RateRow]]:
    for key, task in tasks.items():
        yield key, _whole(task.work, *task.arguments)


def _shared(tasks: Mapping[str, _Task], executor: Executor) -> Iterator[tuple[str, RateRow]]:
    futures: dict[Future[RateRow], str] = {}
    try:
        for key, task in tasks.items():
            futures[executor.submit(_whole, task.work, *task.arguments)] = key
        for future in as_completed(futures):
            yield futures[future], future.result()
    except CancelledError:
        raise KeyboardInterrupt from None
    finally:
        for future in futures:
            future.cancel()


def _number(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)
