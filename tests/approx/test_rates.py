"""Sweeps: tables, orders, executors, caches, baselines."""

import csv
import io
import itertools
import json
import math
import os
import signal
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context

import numpy as np
import pytest
import torch

import approx
import constructions
from approx import AffineMap, Ball, Box, targets
from approx.certification import Cells, branch_and_bound
from approx.rates import BASELINES, Budget, Method, RateRow, RateTable, baseline, sweep
from constructions import rates

QUICK = {"samples": 2000, "prove": False}
TINY = Budget(seeds=(0, 1), steps=20, data=256, samples=1000)
GAUSSIAN = targets.gaussian(dim=1)


def uniform(**options):
    return rates.methods(["uniform"], **QUICK, **options)


def row(eps, layers, **facts):
    known = {"target": "f", "dim_in": 2, "builder": "b", "cover": "c"}
    return RateRow(**known | {"eps": eps, "hidden_layers": layers} | facts)


def timeless(table):
    return [replace(row, seconds=0.0) for row in table.rows]


def test_orders_of_exact_powers():
    layers = [int(1000 * e**-2) for e in (0.5, 0.25, 0.125)]
    series = RateTable(tuple(row(e, n) for e, n in zip((0.5, 0.25, 0.125), layers, strict=True))).series()[0]
    assert series.pairwise == pytest.approx([2, 2])
    assert series.order == pytest.approx(2) and series.spread == pytest.approx(
        0, abs=1e-6
    )  # the rounding of a sum of squares, under a root


def test_fitted_order_and_spread_by_the_textbook():
    """Slope and standard error of a least-squares line, from the normal equations."""
    eps, layers = np.array([0.4, 0.2, 0.1, 0.05]), np.array([7, 20, 91, 300])
    series = RateTable(tuple(row(e, int(n)) for e, n in zip(eps, layers, strict=True))).series()[0]
    x, y = -np.log(eps), np.log(layers)
    slope = ((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum()
    rest = y - y.mean() - slope * (x - x.mean())
    assert series.order == pytest.approx(slope)
    assert series.spread == pytest.approx(math.sqrt((rest**2).sum() / 2 / ((x - x.mean()) ** 2).sum()))
    assert repr(series) == f"f on R^2, b, c: order {slope:.2f} +- {series.spread:.2f} (eps 0.4 to 0.05)"


def test_series_leave_out_what_has_no_layers():
    rows = (row(0.1, 5), row(0.2, 2), row(0.3, None), row(0.4, 0), row(0.2, 9, builder="B", baseline=True))
    (series,) = RateTable(rows).series()
    assert series.eps.tolist() == [0.2, 0.1]
    assert math.isnan(series.spread) and series.order == pytest.approx(math.log(2.5) / math.log(2))
    assert RateTable(()).series() == ()
    assert "order unknown" in repr(RateTable((row(0.1, 5),)).series()[0])


def test_a_sweep_is_what_building_one_by_one_gives():
    table = sweep([GAUSSIAN, targets.cone(dim=1)], [0.1, 0.3], uniform())
    assert [(r.target, r.eps) for r in table.rows] == [
        ("gaussian", 0.3),
        ("gaussian", 0.1),
        ("cone", 0.3),
        ("cone", 0.1),
    ]
    for r in table.rows:
        built = constructions.build(targets.get(r.target, dim=1), r.eps, cover="uniform", **QUICK)
        assert (r.builder, r.hidden_layers, r.parameters) == (built.builder, built.hidden_layers, built.parameters)
        assert (r.lower, r.upper, r.claim) == (built.report.lower, None, "sampled")
        assert r.depth_bound == built.lower_bound.layers <= r.hidden_layers
        assert r.theory == (1, 1) and r.seconds > 0 and not r.note


def test_certified_bounds_are_in_the_table():
    (r,) = sweep(GAUSSIAN, 0.2, rates.methods(["uniform"], samples=2000)).rows
    assert r.claim == "certified" and r.lower <= r.upper <= 0.2


def test_a_refused_build_is_a_row():
    table = sweep(GAUSSIAN, [0.2, 0.01], rates.methods(["uniform"], max_layers=20, **QUICK))
    assert table.rows[0].hidden_layers and table.rows[1].hidden_layers is None
    assert table.rows[1].claim == "refused" and "max_layers" in table.rows[1].note and "max_layers" in repr(table)
    json.dumps(table.to_dict(), allow_nan=False)


def test_a_bug_is_no_refusal():
    def broken(target, eps):
        raise ZeroDivisionError("bug")

    with pytest.raises(ZeroDivisionError, match="bug"):
        sweep(GAUSSIAN, 0.2, [Method("b", "c", broken)])


def processes():
    return ProcessPoolExecutor(1, mp_context=get_context("spawn"))


def test_executors_give_the_rows_of_a_serial_run():
    """Trained baselines too, in another process; torch's number of threads belongs to a process, so one at a time."""
    ways = rates.methods(["uniform", "adaptive"], **QUICK)
    options = {"baselines": list(BASELINES), "budget": replace(TINY, steps=10)}
    serial = sweep(GAUSSIAN, [0.3, 0.2], ways, **options)
    assert len(serial.rows) == 4 + 2 * len(BASELINES)
    for make in (processes, partial(ThreadPoolExecutor, 1)):
        with make() as executor:
            shared = sweep(GAUSSIAN, [0.3, 0.2], ways, executor=executor, **options)
        assert timeless(shared) == timeless(serial)


def test_a_cache_is_used_and_extended(tmp_path, monkeypatch):
    file = tmp_path / "sweep.jsonl"
    first = sweep(GAUSSIAN, [0.3, 0.2], uniform(), baselines=["grid"], budget=TINY, cache=file)
    calls = []
    real = constructions.BUILDERS["constant_width"].build
    monkeypatch.setattr(
        type(constructions.BUILDERS["narrow"]), "build", lambda *a, **k: calls.append(a) or real(*a[1:], **k)
    )
    again = sweep(GAUSSIAN, [0.3, 0.2], uniform(), baselines=["grid"], budget=TINY, cache=file)
    assert again.rows == first.rows and not calls  # times included
    sweep(GAUSSIAN, [0.3, 0.2, 0.15], uniform(), cache=file)
    assert len(calls) == 1


def test_a_cache_knows_targets_by_value_and_methods_by_settings(tmp_path):
    file = tmp_path / "sweep.jsonl"

    def layers(scale, **options):
        f = targets.from_numpy(lambda x: np.sin(scale * x[:, 0]), 1, domain=Box.cube(1, 1.0), lipschitz=9.0)
        return sweep(f, 0.3, uniform(**options), cache=file).rows[0]

    assert layers(1.0).lower != layers(2.0).lower
    assert layers(1.0, values="center").lower != layers(1.0).lower
    assert len(file.read_text().splitlines()) == 1 + 3


def test_damaged_lines_are_skipped_with_a_warning(tmp_path):
    file = tmp_path / "sweep.jsonl"
    whole = sweep(GAUSSIAN, [0.3, 0.2], uniform(), cache=file)
    text = file.read_bytes()
    lines = text.split(b"\n")
    for damaged, number in (
        (text[:-40], "line 3"),  # a write that was cut short
        (b"\n".join([lines[0], b"\xff\x00nonsense", *lines[2:]]), "line 2"),
        (b"\n".join([lines[0], lines[1].replace(b'"eps": 0.3', b'"eps": "0.3"'), *lines[2:]]), "line 2"),
        (b"\n".join([lines[0], b'{"key": 1}', b"[]", b""]), "2 lines, line 2 first,"),
    ):
        file.write_bytes(damaged)
        with pytest.warns(UserWarning, match=f"{number} cannot be read; those points are computed anew"):
            again = sweep(GAUSSIAN, [0.3, 0.2], uniform(), cache=file)
        assert timeless(again) == timeless(whole)
        with pytest.warns(UserWarning, match="cannot be read"):
            assert sweep(GAUSSIAN, [0.3, 0.2], uniform(), cache=file).rows == again.rows


def test_other_files_are_no_cache(tmp_path):
    file = tmp_path / "notes.txt"
    file.write_text("keep me\n")
    with pytest.raises(ValueError, match="does not begin like a cache"):
        sweep(GAUSSIAN, 0.3, uniform(), cache=file)
    assert file.read_text() == "keep me\n"
    with pytest.raises(ValueError, match="is a directory"):
        sweep(GAUSSIAN, 0.3, uniform(), cache=tmp_path)


def test_an_interrupt_keeps_what_is_done(tmp_path):
    file, built = tmp_path / "sweep.jsonl", []

    def build(target, eps):
        if len(built) == 2:
            raise KeyboardInterrupt
        built.append(eps)
        return constructions.build(target, eps, **QUICK)

    ways = [Method("b", "c", build)]
    table = sweep(GAUSSIAN, [0.4, 0.3, 0.2], ways, baselines=["grid"], cache=file)
    assert table.interrupted and [r.eps for r in table.rows] == [0.4, 0.3]
    assert "interrupted" in repr(table)
    built.clear()
    rest = sweep(GAUSSIAN, [0.4, 0.3, 0.2], ways, cache=file)
    assert built == [0.2] and not rest.interrupted and len(rest.rows) == 3


@pytest.mark.parametrize("taken_by", ["proof", "training", "nothing"])
def test_an_interrupt_that_a_point_takes_for_its_own_ends_the_sweep(taken_by, tmp_path):
    """Proofs and training end at Ctrl-C with what they have; such a point is neither in the table nor in the cache."""
    at_work = []

    def interrupt():
        at_work.append("interrupted")
        os.kill(os.getpid(), signal.SIGINT)

    class Identity:
        calls = 0

        def range(self, lower, upper):
            self.calls += 1
            if self.calls == 5:  # the first look at the whole domain is over
                interrupt()
            return lower, upper

    def build(target, eps):
        if eps == 0.3 and taken_by == "proof":
            cells, affine = Cells([[0.0]], [1.0]), AffineMap([[1.0]], [0.0])
            found = branch_and_bound(cells, [[0.25]], affine, Identity(), Box([-2.0], [2.0]), tol=1e-9)
            at_work.append(found.status)
        elif eps == 0.3 and taken_by == "training":
            x = torch.linspace(0, 1, 8).double()[:, None]
            network = approx.training.random_network((1, 2, 1), seed=0)
            epochs = itertools.count()
            run = approx.train(network, x, x, epochs=10**9, watch=lambda _: interrupt() if next(epochs) == 3 else 0.0)
            at_work.append(run.stopped)
        elif eps == 0.3:
            interrupt()
        return constructions.build(target, eps, **QUICK)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        ways, file = [Method("b", "c", build)], tmp_path / "sweep.jsonl"
        table = sweep(GAUSSIAN, [0.4, 0.3, 0.2], ways, cache=file)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert table.interrupted and [r.eps for r in table.rows] == [0.4]
    assert at_work == ["interrupted", *{"proof": ["budget"], "training": ["interrupted"], "nothing": []}[taken_by]]
    assert file.read_text().count('"key"') == 1


def test_an_interrupt_cancels_what_waits():
    class Pool(ThreadPoolExecutor):
        """The first future is done, the second interrupts, the third never starts."""

        futures: tuple = ()

        def submit(self, work, *arguments):
            future = Future()
            if not self.futures:
                future.set_result(work(*arguments))
            elif len(self.futures) == 1:
                future.set_exception(KeyboardInterrupt())
            self.futures = (*self.futures, future)
            return future

    pool = Pool()
    table = sweep(GAUSSIAN, [0.4, 0.3, 0.2], uniform(), executor=pool)
    assert table.interrupted and len(table.rows) <= 1 and pool.futures[2].cancelled()


def test_csv_has_every_field_in_full():
    table = sweep(GAUSSIAN, [0.3, 0.2], uniform())
    lines = list(csv.DictReader(io.StringIO(table.to_csv())))
    assert len(lines) == 2
    for line, r in zip(lines, table.rows, strict=True):
        assert float(line["lower"]) == r.lower and line["upper"] == "" and int(line["hidden_layers"]) == r.hidden_layers


def test_markdown_and_latex_are_well_formed():
    table = RateTable((row(0.2, 2, target="a_b|c%"), row(0.1, 8, target="a_b|c%")))
    head, rule, *lines = table.to_markdown().splitlines()
    cells = head.count(" | ")
    assert rule.count("---") == cells + 1 and "a_b\\|c%" in lines[0] and lines[1].count(" | ") == cells
    assert "- a_b|c% on R^2, b, c: order 2.00" in table.to_markdown()
    latex = table.to_latex()
    assert latex.startswith("\\begin{tabular}{lll") and r"a\_b|c\%, R\^{}2 & b & c & 0.2 & 2" in latex
    body = [line for line in latex.splitlines() if line.endswith("\\\\")]
    assert len({line.count(" & ") for line in body}) == 1 and body[0].count(" & ") == cells


@pytest.mark.parametrize("kind", BASELINES)
def test_baselines_keep_within_their_parameters(kind):
    for f, parameters in ((targets.gaussian(), 120), (targets.swirl(), 150), (targets.gaussian(dim=3), 200)):
        r = baseline(kind, f, parameters, 0.1, TINY)
        assert 0.5 * parameters < r.parameters <= parameters
        assert r.claim == "sampled" and r.upper is None and r.baseline and 0 < r.lower < 10
        assert (r.hidden_layers == TINY.hidden) if kind.startswith("trained") else r.hidden_layers is None
        small = baseline(kind, f, 1, 0.1, TINY)
        assert small.parameters == 1 or (small.claim == "refused" and "parameters" in small.note)


def test_training_and_more_centres_help():
    f = targets.gaussian(domain=Ball([0.0, 0.0], 2.0))
    for kind in ("trained radial", "trained ReLU"):
        short, long = (baseline(kind, f, 200, 0.1, replace(TINY, seeds=(0,), steps=n)).lower for n in (1, 150))
        assert long < 0.8 * short
    for kind in ("grid", "RBF"):
        few, many = (baseline(kind, f, n, 0.1, TINY).lower for n in (60, 960))
        assert many < 0.5 * few


def test_a_grid_of_constants_is_what_it_says():
    """On [-1, 1] with 4 cells of width 1/2, f = x: off by at most 1/4, and nearly so somewhere."""
    f = targets.from_numpy(lambda x: x[:, 0], 1, domain=Box.cube(1, 1.0), lipschitz=1.0)
    assert 0.249 < baseline("grid", f, 4, 0.1).lower <= 0.25


def test_medians_over_seeds():
    errors = [baseline("trained ReLU", GAUSSIAN, 60, 0.1, replace(TINY, seeds=(s,))).lower for s in (0, 1, 2)]
    r = baseline("trained ReLU", GAUSSIAN, 60, 0.1, replace(TINY, seeds=(0, 1, 2)))
    assert r.lower == sorted(errors)[1]
    assert r.note == f"median of 3 seeds, {min(errors):.3g} to {max(errors):.3g}"


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: sweep([], 0.1, uniform()), TypeError, "a Target or several"),
        (lambda: sweep(GAUSSIAN, [], uniform()), ValueError, "no eps"),
        (lambda: sweep(GAUSSIAN, [0.1, -1.0], uniform()), ValueError, "eps > 0"),
        (lambda: sweep(GAUSSIAN, "0.1", uniform()), TypeError, "a real number"),
        (lambda: sweep(GAUSSIAN, [0.1, float("nan")], uniform()), ValueError, "finite eps"),
        (lambda: sweep(GAUSSIAN, 0.1, []), TypeError, "at least one Method"),
        (lambda: sweep(GAUSSIAN, 0.1, [constructions.build]), TypeError, "at least one Method"),
        (lambda: sweep(GAUSSIAN, 0.1, uniform(), baselines=["mlp"]), ValueError, "one of RBF, grid"),
        (lambda: sweep(GAUSSIAN, 0.1, uniform(), baselines="mlp"), ValueError, "'mlp'; required one of RBF, grid"),
        (lambda: RateTable(()).to_latex(["layers", "depth"]), ValueError, "'depth'; required one of .*least layers"),
        (lambda: sweep(GAUSSIAN, 0.1, uniform(), executor=2), TypeError, "concurrent.futures.Executor"),
        (lambda: rates.methods(["spiral"]), ValueError, "one of adaptive"),
        (lambda: rates.methods(builders=["spiral"]), ValueError, "one of constant_width"),
        (lambda: baseline("grid", GAUSSIAN, 0, 0.1), ValueError, "1 <= parameters"),
        (lambda: Budget(steps=0), ValueError, "1 <= steps"),
        (lambda: Budget(seeds=()), ValueError, "a tuple of integers"),
        (lambda: Budget(seeds=(-1,)), ValueError, "0 <= seeds"),
        (lambda: RateTable((1,)), TypeError, "RateRows"),
        (lambda: row(0.0, 3), ValueError, "eps > 0"),
        (lambda: row(0.1, -3), ValueError, "0 <= hidden_layers"),
    ],
)
def test_bad_arguments(call, error, match):
    with pytest.raises(error, match=match):
        call()
