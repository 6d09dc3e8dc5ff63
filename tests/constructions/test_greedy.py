"""Greedy ellipsoids: the rule on dense points, against definitions by brute force."""

import importlib
import math
import re

import numpy as np
import pytest

from approx import targets
from approx.affine import AffineMap
from approx.certification.holes import holes
from approx.domains import Ball, Box, WholeSpace
from approx.targets import Target
from constructions import build
from constructions.covers import TooManyCells, _ground, _proving, greedy, make, uniform
from constructions.covers._blocks import SIDE, blocks, bounds, curve, values
from constructions.covers._canvas import Canvas
from constructions.covers._growth import Cell, grow
from constructions.covers._held import foremost, held, holds, within
from constructions.covers._problem import Problem
from constructions.covers._proving import prove
from constructions.covers._quadrics import ball, climb, quadrics, rounded, scores, shape_of, span

greedy_module = importlib.import_module("constructions.covers.greedy")


def flat(target, value=0.0):
    return AffineMap.constant(np.full(target.dim_out, value), target.dim_in)


def first_match(cover, x):
    """The definition, cell by cell."""
    value, open_points = cover.affine(x), np.ones(len(x), bool)
    for center, matrix, y in zip(cover.centers, cover.matrices, cover.values, strict=True):
        inside = open_points & (np.linalg.norm((x - center) @ matrix.T, axis=1) < 1)
        value[inside], open_points = y, open_points & ~inside
    return value, open_points


def near_boundaries(cover, domain, count=5_000, step=1e-6):
    edge, normal = cover.boundary_points(count)
    points = np.concatenate([edge - step * normal, edge + step * normal])
    return points[domain.contains(points)]


def assert_good(cover, target, eps, domain, points, *, captured):
    points = np.concatenate([points, near_boundaries(cover, domain)])
    value, open_points = first_match(cover, points)
    assert np.linalg.norm(value - target(points), axis=1).max() <= eps
    assert cover.error_bound <= eps
    if captured:
        assert not open_points.any()


def sine():
    return targets.from_expression("sin(2*x)*cos(y)", domain=Box.cube(2, 1.5))


@pytest.mark.parametrize("everywhere", [False, True])
@pytest.mark.parametrize(
    ("target", "eps"),
    [(targets.franke(), 0.2), (targets.saddle(), 0.25), (targets.cone(dim=1), 0.1), (targets.saddle(dim=3), 0.35)],
    ids=lambda value: getattr(value, "name", value),
)
def test_compact_domains(target, eps, everywhere):
    cover = greedy(target, eps, target.domain, everywhere=everywhere, affine=flat(target))
    assert_good(cover, target, eps, target.domain, target.domain.sample(40_000), captured=not everywhere)
    even = uniform(target, eps, target.domain, everywhere=everywhere, affine=flat(target))
    assert len(cover) < len(even) / (1 if target.dim_in == 1 else 10)


@pytest.mark.parametrize("domain", [Ball([0.5, -0.2], 1.0), Box([-1.0, 0.0], [0.5, 4.0])])
def test_other_domains(domain):
    target = targets.from_expression("sin(2*x)*cos(y)", domain=Box.cube(2, 5.0)).with_domain(domain)
    cover = greedy(target, 0.15, domain, everywhere=True, affine=flat(target))
    assert_good(cover, target, 0.15, domain, domain.sample(40_000), captured=False)


@pytest.mark.parametrize("name", ["gaussian", "affine_bump"])
@pytest.mark.parametrize("dim", [1, 2])
def test_whole_space(name, dim):
    target = targets.get(name, dim=dim)
    cover = greedy(target, 0.2, WholeSpace(dim), everywhere=True, affine=target.affine)
    points = np.concatenate([target.domain.sample(5_000), WholeSpace(dim).sample(5_000, scale=3.0)])
    assert_good(cover, target, 0.2, WholeSpace(dim), points, captured=False)
    assert cover.is_balls == (name == "affine_bump")


def test_vector_values():
    target = targets.from_numpy(
        lambda x: np.stack([np.sin(x[:, 0]), np.cos(x[:, 1])], axis=1),
        2,
        dim_out=2,
        domain=Box.cube(2, 1.0),
        lipschitz=1.0,
    )
    cover = greedy(target, 0.4, target.domain, everywhere=False, affine=flat(target))
    assert_good(cover, target, 0.4, target.domain, target.domain.sample(40_000), captured=True)


def test_shells_of_a_hill_are_near_the_lower_bound():
    # Every value takes one cell: at least (1 - 2 eps) / (2 eps), in any dimension.
    f = targets.gaussian()
    cover = greedy(f, 0.1, WholeSpace(2), everywhere=True, affine=f.affine)
    assert math.ceil((1 - 0.2) / 0.2) <= len(cover) <= 6


@pytest.mark.parametrize(("name", "eps", "variation"), [("rings", 0.4, 8.1), ("cone", 0.3, math.sqrt(18))])
def test_cells_nest_outward_where_f_is_radial(name, eps, variation):
    f = targets.get(name)
    cover = greedy(f, eps, f.domain, everywhere=False, affine=flat(f))
    assert_good(cover, f, eps, f.domain, f.domain.sample(40_000), captured=True)
    # A cell can show a change of 2 eps; grown from the extremes inward, these take several times as many.
    assert len(cover) <= 1.25 * variation / (2 * eps) + 3


def test_what_the_affine_map_serves_is_not_painted():
    f = sine()
    assert len(greedy(f, 1.05, f.domain, everywhere=True, affine=flat(f, 9.0))) == 0
    assert len(greedy(f, 1.05, f.domain, everywhere=False, affine=flat(f, 9.0))) == 1
    hill = targets.gaussian()
    cover = greedy(hill, 0.3, hill.domain, everywhere=True, affine=hill.affine)
    assert np.linalg.norm(cover.centers, axis=1).max() + cover.largest_radius_each.max() < 2


def test_same_seed_same_bits():
    f = sine()
    one, two, other = (greedy(f, 0.2, f.domain, everywhere=True, affine=flat(f), seed=seed) for seed in (3, 3, 4))
    for name in ("centers", "shapes", "values"):
        assert getattr(one, name).tobytes() == getattr(two, name).tobytes()
    assert one.centers.tobytes() != other.centers.tobytes()


TIMED = [
    (targets.cone(dim=1), 0.05, False),
    (targets.gaussian(dim=1), 0.05, True),
    (targets.franke(), 0.1, False),
    (targets.saddle(), 0.15, True),
    (targets.saddle(dim=3), 0.35, False),
]


@pytest.mark.parametrize(("target", "eps", "everywhere"), TIMED, ids=lambda value: getattr(value, "name", value))
@pytest.mark.parametrize("seconds", [0, 1e-3])
def test_when_time_is_up_small_cells_finish_the_cover(target, eps, everywhere, seconds):
    cover = greedy(target, eps, target.domain, everywhere=everywhere, affine=flat(target), max_seconds=seconds)
    assert_good(cover, target, eps, target.domain, target.domain.sample(5_000), captured=not everywhere)
    large, small = counts(cover)
    assert large + small + (not everywhere) == len(cover)
    assert f"ended by max_seconds = {seconds:g}:" in cover.strategy


def counts(cover):
    return [int(k) for k in re.findall(r"(\d+) (?:large|adaptive)", cover.strategy.replace(",", ""))]


def after(cells, monkeypatch, event):
    """From the cell with that number on, grow calls `event` first."""
    grown = []

    def counted(*args, **options):
        grown.append(None)
        if len(grown) > cells:
            event()
        return grow(*args, **options)

    monkeypatch.setattr(greedy_module, "grow", counted)


@pytest.mark.parametrize("domain", [None, WholeSpace(2)])
def test_large_cells_stay_on_top_of_the_small_ones(domain, monkeypatch):
    target, eps, grown = targets.affine_bump(dim=2), 0.15, 3
    domain = domain or target.domain
    whole = greedy(target, eps, domain, everywhere=True, affine=target.affine)
    clock = [0.0]
    monkeypatch.setattr(greedy_module.time, "perf_counter", lambda: clock[0])
    after(grown - 1, monkeypatch, lambda: clock.__setitem__(0, 11.0))
    cover = greedy(target, eps, domain, everywhere=True, affine=target.affine, max_seconds=10)
    monkeypatch.undo()
    large, small = counts(cover)
    assert (large, small > 10, len(cover)) == (grown, True, grown + small)
    patched = sum(int(k) for k in re.findall(r"(\d+) of them patches", whole.strategy))  # on top of the grown ones
    assert cover.centers[:grown].tobytes() == whole.centers[patched:][:grown].tobytes()
    assert cover.is_balls == (not domain.compact)
    points = np.concatenate([target.domain.sample(5_000), domain.sample(5_000)])
    assert_good(cover, target, eps, domain, points, captured=False)
    assert small < counts(greedy(target, eps, domain, everywhere=True, affine=target.affine, max_seconds=0))[1]


@pytest.mark.parametrize("compiled", [False, True])
def test_an_interrupt_keeps_the_cells_if_there_is_a_budget(monkeypatch, compiled):
    f = sine()

    def interrupt():
        if compiled:  # where Ctrl-C comes while a compiled function runs
            raise SystemError("returned a result with an exception set") from KeyboardInterrupt()
        raise KeyboardInterrupt

    monkeypatch.setattr(greedy_module, "backgrounds", lambda problem, area: [problem.affine])
    after(4, monkeypatch, interrupt)
    cover = greedy(f, 0.15, f.domain, everywhere=True, affine=flat(f), max_seconds=math.inf)
    assert cover.strategy.startswith("greedy, interrupted: 4 large cells, ")
    assert_good(cover, f, 0.15, f.domain, f.domain.sample(5_000), captured=False)
    with pytest.raises(KeyboardInterrupt):
        greedy(f, 0.15, f.domain, everywhere=True, affine=flat(f))


def test_another_system_error_is_none(monkeypatch):
    f = sine()

    def fail():
        raise SystemError("broken")

    after(4, monkeypatch, fail)
    with pytest.raises(SystemError, match="broken"):
        greedy(f, 0.15, f.domain, everywhere=True, affine=flat(f), max_seconds=math.inf)


def test_enough_time_changes_nothing():
    f = sine()
    options = {"everywhere": True, "affine": flat(f)}
    one, two = greedy(f, 0.2, f.domain, **options), greedy(f, 0.2, f.domain, max_seconds=math.inf, **options)
    assert one.shapes.tobytes() == two.shapes.tobytes() and one.strategy == two.strategy == "greedy"


@pytest.mark.parametrize("domain", [Box.cube(2, 3.0), WholeSpace(2)])
def test_a_network_of_an_early_end_is_certified(domain):
    built = build(targets.peaks(), 0.2, cover="greedy", domain=domain, max_seconds=1e-3, samples=5000)
    assert built.report.claim == "certified" and built.report.upper <= 0.2
    assert "ended by max_seconds = 0.001: " in repr(built)


@pytest.mark.parametrize("seconds", [-1, math.nan, -math.inf, "3", True])
def test_bad_budgets(seconds):
    f = targets.gaussian(dim=1)
    with pytest.raises(
        (ValueError, TypeError), match=r"greedy cover: received max_seconds = .*; required .*max_sec|a real"
    ):
        build(f, 0.2, cover="greedy", max_seconds=seconds)


def test_a_budget_for_what_takes_none_is_refused():
    f = targets.gaussian(dim=1)
    with pytest.raises(ValueError, match="received max_seconds with cover = 'uniform'; required a cover that searches"):
        build(f, 0.2, cover="uniform", max_seconds=3)
    with pytest.raises(ValueError, match="received max_seconds or tries with a Cover made by hand"):
        build(f, 0.2, cover=build(f, 0.2, verify=False).cover, max_seconds=3)
    bare = Target(fn=lambda x: x[:, 0], dim_in=1, domain=Box([0.0], [1.0]), name="bare")
    with pytest.raises(ValueError, match="'bare' with neither modulus nor enclosure; required one of them, for small"):
        greedy(bare, 0.1, bare.domain, everywhere=True, affine=flat(bare), max_seconds=3)


def test_trials_of_constants_take_few_cells(monkeypatch):
    f, eps, trials = targets.franke(), 0.2, []

    def recorded(canvas, eps, *args, **options):
        cells, stopped = paint(canvas, eps, *args, **options)
        trials.append((eps, len(cells), stopped))
        return cells, stopped

    paint = greedy_module.paint
    monkeypatch.setattr(greedy_module, "paint", recorded)
    monkeypatch.setattr(greedy_module, "_MANY", 3)
    cover = greedy(f, eps, f.domain, everywhere=True, affine=flat(f))
    assert_good(cover, f, eps, f.domain, f.domain.sample(5_000), captured=False)
    *trials, last = trials
    assert last[0] == pytest.approx(0.98 * eps) and last[2] == "painted"
    coarser = 1
    for tried, cells, stopped in trials:
        assert tried == pytest.approx(0.98 * eps * coarser) and cells <= 3
        coarser *= 2 if stopped == "max_cells" and cells == 3 else 1
    assert coarser > 1 and any(stopped == "painted" for _, _, stopped in trials)


def test_the_constant_outside_is_the_one_that_leaves_least_to_paint():
    # Two hills and a hollow on a plain at height 0, which the middle of the values, 0.15, does not serve.
    formula = "exp(-4*((x-1)^2+2*(y-1)^2)) + 0.9*exp(-6*((x+1)^2+(y-1)^2)) - 0.7*exp(-3*(x^2+2*(y+1)^2))"
    f = targets.from_expression(formula, domain=Box.cube(2, 2.0))
    cover = greedy(f, 0.1, f.domain, everywhere=True, affine=flat(f, 0.15))
    assert abs(float(cover.affine.offset[0])) < 0.1
    assert_good(cover, f, 0.1, f.domain, f.domain.sample(5_000), captured=False)
    # Ellipses nested about every extreme, down to where 0 serves, and one cell for what the hills have in common.
    assert len(cover) <= sum(math.ceil((height - 0.1) / 0.2) for height in (1.0, 0.9, 0.7)) + 2


@pytest.mark.parametrize("everywhere", [False, True])
def test_an_affine_map_that_serves_most_stays_outside(everywhere):
    f = targets.from_expression("x + y/2 + 0.15*sin(2*x)*cos(y)", domain=Box.cube(2, 2.0))
    cover = greedy(f, 0.2, f.domain, everywhere=everywhere, affine=flat(f))
    assert_good(cover, f, 0.2, f.domain, f.domain.sample(5_000), captured=not everywhere)
    assert (len(cover) == 0) == everywhere
    if everywhere:
        np.testing.assert_allclose(cover.affine.matrix, [[1.0, 0.5]], atol=0.1)


def test_the_best_affine_map_of_the_exponential():
    # Its error, alternating at -1, log(sinh 1), 1, by hand: sinh 1 is the slope.
    f = targets.from_expression("exp(x)", domain=Box([-1.0], [1.0]))
    x = f.domain.grid(2001)
    found = _ground._chebyshev(x, f(x))
    slope = math.sinh(1)
    assert found.matrix[0, 0] == pytest.approx(slope, abs=1e-5)
    error = (math.exp(1) - slope - slope + slope * math.log(slope)) / 2
    assert np.abs(found(x) - f(x)).max() == pytest.approx(error, abs=1e-6)


def test_a_bump_on_a_slope_leaves_the_slope_outside():
    f = targets.from_expression("x + 2*y + exp(-16*(x^2+y^2))", domain=Ball([0.0, 0.0], 2.0))
    cover = greedy(f, 0.2, f.domain, everywhere=True, affine=flat(f))
    assert_good(cover, f, 0.2, f.domain, f.domain.sample(5_000), captured=False)
    # The map with the least largest error is off by 1/2 nearly everywhere; this one by nothing.
    np.testing.assert_allclose(cover.affine.matrix, [[1.0, 2.0]], atol=1e-6)
    np.testing.assert_allclose(cover.affine.offset, 0.0, atol=1e-3)
    # |f - L| > 0.2 for 16 r^2 < log 5 alone, 2.5% of the disc.
    assert first_match(cover, f.domain.sample(5_000))[1].mean() > 0.9
    captured = greedy(f, 0.2, f.domain, everywhere=False, affine=flat(f))
    assert len(cover) < 0.8 * len(captured)


def test_the_affine_map_with_the_least_mean_error():
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (1000, 3)) + 5
    matrix, offset = rng.standard_normal((2, 3)), rng.standard_normal(2)
    y = x @ matrix.T + offset
    y[:300] += rng.uniform(1, 9, (300, 2))
    found = _ground._median(x, y, 0.1)
    np.testing.assert_allclose(found.matrix, matrix, atol=1e-3)
    assert _ground._served(found, x, y, 0.1) == 0.7
    middle = _ground._median(x, np.tile([[3.0]], (1000, 1)), 0.1)
    np.testing.assert_allclose(middle(x), 3.0, atol=1e-12)


def test_the_best_of_several_tries_counts():
    f = targets.franke()
    options = {"everywhere": True, "affine": flat(f)}
    single = [greedy(f, 0.15, f.domain, seed=seed, **options) for seed in (1, 2)]
    assert len(single[1]) < len(single[0])
    assert greedy(f, 0.15, f.domain, seed=1, tries=2, **options).shapes.tobytes() == single[1].shapes.tobytes()
    assert greedy(f, 0.15, f.domain, seed=1, **options).shapes.tobytes() == single[0].shapes.tobytes()
    with pytest.raises(ValueError, match="tries = 0; required 1 <= tries"):
        greedy(f, 0.2, f.domain, tries=0, **options)
    with pytest.raises(ValueError, match="received tries with cover = 'nested'"):
        build(targets.gaussian(), 0.2, cover="nested", tries=2)


def test_a_network_is_built_and_certified():
    built = build(targets.franke(), 0.25, cover="greedy", samples=5000)
    assert built.report.claim == "certified"
    assert built.report.upper <= 0.25
    assert built.hidden_layers == len(built.cover) <= 10


def test_errors():
    f = targets.franke()
    options = {"everywhere": False, "affine": flat(f)}
    with pytest.raises(ValueError, match=r"greedy cover: received values = 'center'; required values = 'chebyshev'"):
        make("greedy", f, 0.1, f.domain, **options)
    with pytest.raises(ValueError, match=r"eps = -1; required eps > 0"):
        greedy(f, -1, f.domain, **options)
    with pytest.raises(ValueError, match=r"seed = -1; required 0 <= seed"):
        greedy(f, 0.1, f.domain, seed=-1, **options)
    with pytest.raises(TooManyCells, match=r"more than 3 ellipsoids; required at most max_cells = 3"):
        greedy(f, 0.1, f.domain, max_cells=3, **options)
    g = targets.gaussian(dim=4)
    with pytest.raises(ValueError, match=r"a target of R\^4; required dimension <= 3"):
        greedy(g, 0.3, g.domain, everywhere=True, affine=g.affine)
    wave = targets.from_expression("sin(40*x)", domain=Box([0.0], [3.0]))
    with pytest.raises(ValueError, match=r"eps = 9.8e-10, far below what f changes between samples 0.0015 apart"):
        greedy(wave, 1e-9, wave.domain, everywhere=False, affine=flat(wave))


def test_without_bounds_of_f_nothing_is_claimed():
    f = Target(
        fn=lambda x: np.where(x[:, 0] > 0, x[:, 0], 0.0),
        dim_in=1,
        domain=Box([-1.0], [1.0]),
        lipschitz=1.0,
        lipschitz_source="estimated",
        name="bent",
    )
    cover = greedy(f, 0.1, f.domain, everywhere=False, affine=flat(f))
    assert math.isnan(cover.error_bound)
    x = f.domain.grid(2001)
    assert np.abs(first_match(cover, x)[0] - f(x)).max() <= 0.1


def test_holes_are_patched():
    f = sine()
    options = {"everywhere": False, "affine": flat(f), "values": "chebyshev", "overlap": 1e-6, "max_cells": 1000}
    problem = Problem.parse("test", f, 0.3, f.domain, **options)
    # A ball of radius 0.2 shows values within 0.22 of that at its centre, and the rest of the box values up to 1.
    hill = Cell(np.array([np.pi / 4, 0.0]), np.eye(2) / 0.8, np.array([0.8]), 0.0)
    missing = prove(problem, [hill], Box([0.2, -0.6], [1.4, 0.6]))
    assert "of them patches" in missing.strategy
    box = Box([0.2, -0.6], [1.4, 0.6])
    assert_good(missing, f, 0.3, box, box.sample(5_000), captured=True)


def problem_of(target, eps, *, everywhere=True, value=0.0):
    options = {"values": "chebyshev", "overlap": 1e-6, "max_cells": 1000}
    affine = flat(target, value)
    return Problem.parse("test", target, eps, target.domain, everywhere=everywhere, affine=affine, **options)


def spoiled(f, eps, by):
    """Cells of a cover whose values are off by so much."""
    cover = greedy(f, 0.9 * eps, f.domain, everywhere=True, affine=flat(f))
    shift = by * (-1.0) ** np.arange(len(cover))
    return [
        Cell(center, matrix, value + off, 0.0)
        for center, matrix, value, off in zip(cover.centers, cover.matrices, cover.values, shift, strict=True)
    ]


def test_all_holes_are_patched_together(monkeypatch):
    f, eps, calls = sine(), 0.2, []

    def counted(*args, **options):
        calls.append(holes(*args, **options))
        return calls[-1]

    cells = spoiled(f, eps, 0.04)
    monkeypatch.setattr(_proving, "holes", counted)
    cover = prove(problem_of(f, eps), cells, f.domain)
    assert_good(cover, f, eps, f.domain, f.domain.sample(40_000), captured=False)
    patches = len(cover) - len(cells)
    assert len(calls) <= 3 and len(calls[0]) > patches > 10
    assert f"{patches} of them patches" in cover.strategy
    # The claim is about the cover with all its patches.
    assert calls[-1].proved and cover.error_bound == calls[-1].elsewhere
    np.testing.assert_array_equal(cover.values[patches:, 0], [cell.value[0] for cell in cells])


def test_a_hole_without_a_patch_leaves_the_cover_unproved(monkeypatch):
    f, eps = sine(), 0.2
    cells = spoiled(f, eps, 0.04)
    monkeypatch.setattr(_proving, "_ROUNDS", 3)
    monkeypatch.setattr(_proving, "_TOGETHER", 1)
    cover = prove(problem_of(f, eps), cells, f.domain)
    assert len(cells) < len(cover) <= len(cells) + 3
    assert math.isnan(cover.error_bound)


def test_bounds_that_meet_about_eps_are_decided():
    f = targets.from_expression("0.35 + 0*x*y", domain=Box.cube(2, 1.0))
    cover = prove(problem_of(f, 0.35), [], f.domain)  # |f - L| = eps, and interval bounds are a little more
    assert len(cover) == 1 and "1 of them patches" in cover.strategy and cover.error_bound <= 0.35


@pytest.mark.parametrize("seed", range(5))
def test_the_fewest_sets_have_all_numbers(seed):
    rng = np.random.default_rng(seed)
    sets = [np.unique(np.append(rng.integers(0, 50, rng.integers(1, 12)), i)) for i in range(50)]
    chosen = _proving._fewest(sets, 50)
    left = set(range(50))
    for i in chosen:  # the rule, by trying all sets
        assert len(left & set(sets[i])) == max(len(left & set(other)) for other in sets)
        left -= set(sets[i])
    assert not left and len(chosen) < 40


def random_problem(seed, n, bad=40, good=60):
    rng = np.random.default_rng(seed)
    return rng.uniform(-1, 1, (bad, n)) + 0.3, rng.uniform(-1, 1, (good, n)), rng.uniform(0.5, 1, good), rng


def value_of(theta, flatness, u):
    """q by its definition."""
    n = u.shape[1]
    lower = np.zeros((n, n))
    lower[np.tril_indices(n)] = theta[: n * (n + 1) // 2]
    slope = theta[n * (n + 1) // 2 :]
    form = lower @ lower.T + (np.linalg.norm(slope) * flatness + 1e-6 * (lower**2).sum()) * np.eye(n)
    return np.einsum("ki,ij,kj->k", u, form, u) + 2 * u @ slope


@pytest.mark.parametrize("n", [1, 2, 3])
def test_quadrics_are_what_their_definition_says(n):
    bad, good, weight, rng = random_problem(n, n)
    sorted_bad, sorted_good = blocks(bad), blocks(good, weight)
    for _ in range(20):
        theta = rng.standard_normal(n * (n + 1) // 2 + n)
        q = value_of(theta, 0.01, bad)
        np.testing.assert_allclose(span(theta, 0.01, bad), (q.min(), q.max()), rtol=1e-12, atol=1e-12)
        level = q.min()
        mark = scores(theta[None], 0.01, sorted_bad, sorted_good)[0]
        if level <= 0:
            assert mark == -1
            continue
        inside = value_of(theta, 0.01, good) < level
        assert mark == pytest.approx(weight[inside].sum())
        center, shape = shape_of(theta, 0.01, level, np.full(n, 5.0))
        cells = np.stack([center + 9, center]), np.stack([shape, shape])
        done, found = rng.random(len(good)) < 0.2, np.empty(len(good), bool)
        holds(good + 5.0, *cells, 1, done, found)
        assert (found == inside & ~done).all()
        assert (held(good + 5.0, *cells, 2) == inside).all()
        assert not (np.linalg.norm((bad + 5.0 - center) @ shape.T, axis=1) < 1 - 1e-9).any()


@pytest.mark.parametrize("n", [1, 2, 3, 4])
@pytest.mark.parametrize("points", [0, 1, 500])
def test_which_points_many_cells_hold(n, points):
    rng = np.random.default_rng(n)
    x, centers = in_order(rng.uniform(-3, 3, (points, n))), rng.uniform(-2, 2, (60, n))
    shapes = 0.3 * rng.standard_normal((60, n, n)) + rng.uniform(1.5, 6, (60, 1, 1)) * np.eye(n)
    lengths = np.linalg.norm(np.einsum("cij,kcj->kci", shapes, x[:, None] - centers), axis=2)
    newly, done = np.empty(points, bool), rng.random(points) < 0.5
    for count in (0, 1, 30, 60):
        found = held(x, centers, shapes, count)
        np.testing.assert_array_equal(found, (lengths[:, :count] < 1).any(axis=1))
    for c in range(60):
        holds(x, centers, shapes, c, done, newly)
        np.testing.assert_array_equal(newly, (lengths[:, c] < 1) & ~done)
    assert points < 500 or (found.any() and not found.all())


def test_the_foremost_sample_is_open():
    rng = np.random.default_rng(0)
    rank, done, wall = rng.standard_normal(300), rng.random(300) < 0.5, rng.random(300) < 0.5
    found = foremost(rank, done, wall)
    assert rank[found] == rank[~done & ~wall].max() and not (done[found] or wall[found])
    assert foremost(rank, done, ~done) == foremost(np.empty(0), done[:0], wall[:0]) == -1


@pytest.mark.parametrize("m", [1, 3])
def test_values_within_a_ball(m):
    values_, middle = np.random.default_rng(m).standard_normal((200, m)), np.ones(m)
    found = within(values_, middle, 1.2)
    np.testing.assert_array_equal(found, np.linalg.norm(values_ - middle, axis=1) <= 1.2)
    assert 0 < found.sum() < 200


@pytest.mark.parametrize("n", [1, 2, 3])
def test_parameters_give_back_the_quadric(n):
    rng = np.random.default_rng(n)
    roots, slopes, u = rng.standard_normal((7, n, n)), rng.standard_normal((7, n)), rng.standard_normal((50, n))
    forms = roots @ roots.transpose(0, 2, 1) + np.eye(n)
    for flatness in (0.0, 0.01):
        for theta, form, slope in zip(quadrics(forms, slopes, flatness), forms, slopes, strict=True):
            expected = np.einsum("ki,ij,kj->k", u, form, u) + 2 * u @ slope
            # Of the trace of L L^T it is 1e-6 that r adds.
            np.testing.assert_allclose(value_of(theta, flatness, u), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("n", [1, 2, 3, 4])
@pytest.mark.parametrize("bad_count", [0, 1, SIDE, 900])
def test_scores_by_blocks_are_sums_over_points(n, bad_count):
    rng = np.random.default_rng(n)
    bad, good = (in_order(rng.standard_normal((k, n)) + shift) for k, shift in ((bad_count, 1.5), (1501, 0.0)))
    bad, weight = bad[np.linalg.norm(bad, axis=1) > 0.1], rng.exponential(size=len(good))
    thetas = rng.standard_normal((200, n * (n + 1) // 2 + n)) * 10.0 ** rng.uniform(-2, 2, (200, 1))
    thetas[:100, -n:] *= 0.01
    found = scores(thetas, 0.01, blocks(bad), blocks(good, weight))
    expected = []
    for theta in thetas:
        level = min(value_of(theta, 0.01, bad), default=np.inf)
        expected.append(weight[value_of(theta, 0.01, good) < level].sum() if level > 0 else -1.0)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert len(set(expected)) > 20 or bad_count < 2


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_blocks_hold_their_points_and_bound_what_a_quadric_does_on_them(n):
    rng = np.random.default_rng(n)
    points, weight = in_order(rng.uniform(-2, 2, (1000, n))), rng.uniform(1, 2, 1000)
    made = blocks(points, weight)
    inside = made.points.transpose(0, 2, 1).reshape(-1, n)
    np.testing.assert_array_equal(inside[:1000], points)
    assert (inside[1000:] == points[-(1000 % SIDE)]).all()
    np.testing.assert_array_equal(made.weight.ravel()[:1000], weight)
    assert not made.weight.ravel()[1000:].any()
    np.testing.assert_allclose(made.total, made.weight.sum(axis=1))
    low, high, q = np.empty(len(made.total)), np.empty(len(made.total)), np.empty(SIDE)
    for _ in range(20):
        lower, slope = np.tril(rng.standard_normal((n, n))), rng.standard_normal(n)
        form = lower @ lower.T
        bounds(int(n == 2), form, slope, made.middle, made.half, low, high)
        for k, block in enumerate(made.points):
            values(int(n == 2), form, slope, block, q)
            expected = np.einsum("is,ij,js->s", block, form, block) + 2 * slope @ block
            np.testing.assert_allclose(q, expected, rtol=1e-12, atol=1e-12)
            assert low[k] <= q.min() + 1e-12 and q.max() <= high[k] + 1e-12


@pytest.mark.parametrize("n", [1, 2, 3])
def test_bounds_on_boxes_are_met_at_corners(n):
    rng = np.random.default_rng(n)
    middle, half, slope = rng.standard_normal((n, 5)), rng.random((n, 5)), rng.standard_normal(n)
    form = np.diag(rng.random(n))
    corners = middle[:, :, None] + half[:, :, None] * (2 * (np.indices((2,) * n).reshape(n, 1, -1)) - 1)
    low, high = np.empty(5), np.empty(5)
    bounds(int(n == 2), form, slope, middle, half, low, high)
    linear = 2 * np.einsum("i,ikc->kc", slope, corners)
    np.testing.assert_allclose(high, (np.einsum("i,ikc->kc", np.diag(form), corners**2) + linear).max(axis=1))
    bounds(int(n == 2), 0 * form, slope, middle, half, low, high)
    np.testing.assert_allclose(low, linear.min(axis=1))
    np.testing.assert_allclose(high, linear.max(axis=1))


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_neighbours_on_the_curve_are_neighbours(n):
    side = {1: 256, 2: 256, 3: 32, 4: 16}[n]
    nodes = Box([0.0] * n, [1.0] * n).grid(side)
    middles = nodes * (1 - 1 / side) + 0.5 / side
    places = curve(middles, np.zeros(n), np.ones(n)).astype(int)
    steps = np.abs(np.diff(middles[np.argsort(places)], axis=0)) * side
    np.testing.assert_allclose(steps.sum(axis=1), 1.0)  # to the next cell, along one axis
    ends = curve(np.stack([np.full(n, -1.0), np.zeros(n), np.full(n, 9.0)]), np.zeros(n), np.ones(n))
    assert ends[0] == ends[1] == 0


def in_order(points):
    return points[np.argsort(curve(points, points.min(axis=0, initial=0), points.max(axis=0, initial=1)))]


def test_a_climb_never_ends_lower_and_keeps_balls_round():
    bad, good, weight, rng = random_problem(0, 2)
    bad = bad[np.linalg.norm(bad, axis=1) > 0.2]
    start, problem = ball(2), (blocks(bad), blocks(good, weight))
    mark = scores(start[None], 0.01, *problem)[0]
    theta, reached = climb(start, 0.01, *problem, rng.standard_normal((300, 5)), 0.2)
    assert reached > mark
    assert reached == scores(theta[None], 0.01, *problem)[0]
    assert (start == ball(2)).all()
    noise = rng.standard_normal((300, 5))
    noise[:, 1], noise[:, 2] = 0.0, noise[:, 0]
    round_one = rounded(quadrics(np.diag([2.0, 1.0])[None], np.ones((1, 2)))[0], 2)
    theta, _ = climb(round_one, 0.01, *problem, noise, 0.2)
    assert theta[1] == 0
    assert theta[0] == pytest.approx(theta[2], rel=1e-12)


def test_a_canvas_offers_the_samples_a_connected_cell_meets_first():
    canvas = Canvas(lambda x: x[:, :1], Box([0.0, 0.0], [1.0, 1.0]), np.array([6, 6]), 1, walled=False)
    bad, good = canvas.split(np.array([0.4]), 0.25)
    x = canvas.points
    np.testing.assert_array_equal(good, np.flatnonzero(np.abs(x[:, 0] - 0.4) <= 0.25))
    np.testing.assert_allclose(np.unique(x[bad, 0]), [0.0, 0.8])  # not the column at 1, behind the one at 0.8
    shape = np.eye(2) / 0.3
    edge, walled = canvas.exposed(np.array([0.5, 0.5]), shape)
    np.testing.assert_allclose(np.linalg.norm(edge - 0.5, axis=1), 0.3)
    assert len(edge) == 8  # the lines at 0.4 and 0.6, twice each, in both directions
    assert not walled.any()
    newly = canvas.paint(np.array([0.5, 0.5]), shape, edge, edge[:, :1])
    np.testing.assert_array_equal(newly, np.linalg.norm(x - 0.5, axis=1) < 0.3)
    canvas.trim()
    assert len(canvas.points) == len(x) + 8
    again, _ = canvas.exposed(np.array([0.5, 0.5]), np.eye(2) / 0.2)
    assert len(again) == 0  # hidden beneath the first
