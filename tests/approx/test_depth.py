"""The lower bound of depth, against exhaustive searches that share nothing with it."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

import constructions
from approx import AffineMap, Ball, Box, DepthBound, WholeSpace, depth_lower_bound, targets
from approx.depth._cover import Question, packing, search
from approx.depth._points import Segment


def question(places, f, eps):
    """The question on a line, in the form that `search` takes: values ascending."""
    order = np.argsort(f, kind="stable")
    features = np.column_stack([np.ones(len(f)), places])[order]
    return Question(features, f[order], f[order], eps)


def stabbing(values, eps):
    """The least number of intervals [y - eps, y + eps] that meet all values, by trying all sets of right ends."""
    values = np.unique(values)
    for count in range(len(values) + 1):
        for ends in itertools.combinations(values, count):
            if all(any(abs(v - (y + eps)) <= eps + 1e-12 for y in ends) for v in values):
                return count
    raise AssertionError


def over_all_lines(places, f, eps):
    """min over lines of `stabbing`: a line that serves two points can be moved, serving them still, until it meets
    two ends of their tolerances; one that serves fewer is no better than such a line through its point."""
    best = stabbing(f, eps)
    for i, j in itertools.combinations(range(len(f)), 2):
        for a, b in itertools.product((f[i] - eps, f[i] + eps), (f[j] - eps, f[j] + eps)):
            line = a + (b - a) * (places - places[i]) / (places[j] - places[i])
            best = min(best, stabbing(f[np.abs(f - line) > eps + 1e-12], eps))
    return best


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(-8, 8), min_size=2, max_size=7), st.sampled_from([0.07, 0.13, 0.31]))
def test_search_finds_the_minimum_over_all_lines(heights, eps):
    places = np.linspace(-1, 1, len(heights))
    f = np.array(heights) / 8
    found = search(question(places, f, eps))
    assert found.least == found.attained == over_all_lines(places, f, eps)


def fits(places, f, eps, labels):
    """Whether one line serves the points labelled 0 and one value each other label: a linear program."""
    for label in set(labels) - {0}:
        if np.ptp(f[np.array(labels) == label]) > 2 * eps:
            return False
    served = np.array(labels) == 0
    if not served.any():
        return True
    rows = np.column_stack([np.ones(served.sum()), places[served]])
    ends = np.concatenate([f[served] + eps, -(f[served] - eps)])
    return linprog([0, 0], np.concatenate([rows, -rows]), ends, bounds=[(None, None)] * 2).success


def test_a_network_below_the_bound_is_impossible():
    """Every function of one variable that equals a line on one set and N values elsewhere, on six points: none with
    fewer than `least` values stays within eps, and one with `least` does. All of them, by exhaustion."""
    places = np.linspace(-1, 1, 6)
    for f in (np.array([0.0, 0.7, 0.3, 1.0, 0.5, 0.85]), np.array([0.0, 0.2, 0.9, 0.3, 0.6, 1.0])):
        least = search(question(places, f, 0.04)).least
        assert least >= 2
        for values in range(least + 1):
            possible = any(fits(places, f, 0.04, s) for s in itertools.product(range(values + 1), repeat=len(f)))
            assert possible == (values >= least)


def test_no_network_with_one_layer_is_within_eps_of_what_needs_two():
    """Step-ReLU networks of one hidden layer of width 1 and 2, all weights on a grid: v -> v where |v| >= 1, else 0."""
    x = np.linspace(-1, 1, 9)
    f = np.cos(np.pi * x)
    assert search(question(x, f, 0.45)).least == 2
    assert search(question(x, f, 0.501)).least == 1
    grid = (-2.0, -1.5, -0.5, 0.0, 0.5, 1.5, 2.0)
    best = math.inf
    for width in (1, 2):
        slopes = np.array(list(itertools.product(grid, repeat=2 * width))).reshape(-1, 2, width)
        v = slopes[:, 0, None] * x[:, None] + slopes[:, 1, None]
        v = np.where(np.linalg.norm(v, axis=2, keepdims=True) >= 1, v, 0.0)
        for readout in itertools.product(grid, repeat=width):
            outputs = v @ np.array(readout)
            offset = (np.max(f - outputs, axis=1) + np.min(f - outputs, axis=1)) / 2  # the best bias there is
            best = min(best, np.abs(outputs + offset[:, None] - f).max(axis=1).min())
    assert best == pytest.approx(0.5)  # attained: captured within, constant without


@pytest.mark.parametrize("n", [1, 2, 3, 6, 10])
def test_gaussian_needs_the_same_layers_in_every_dimension(n):
    """ceil((1 - 2 eps) / (2 eps)): with offset eps the affine part serves all values up to 2 eps."""
    for eps in (0.06, 0.03):
        expected = math.ceil((1 - 2 * eps) / (2 * eps))
        assert depth_lower_bound(targets.gaussian(dim=n), eps).layers == expected
    assert depth_lower_bound(targets.gaussian(dim=n), 0.06, Box.cube(n, 3.0)).layers == 8


def test_ridge_is_as_hard_in_every_dimension_as_on_a_line():
    """tanh(w.x) takes along a diagonal of the box all it takes; a tangent serves most of it."""
    for n, reach in ((1, 3.0), (2, 4.5), (3, 5.5)):
        places = np.linspace(-1, 1, 129)
        line = search(question(places, np.tanh(reach * places), 0.06))
        bound = depth_lower_bound(targets.ridge(dim=n), 0.06)
        assert line.least == bound.layers == bound.values_needed
        slope = bound.affine.matrix[0]
        assert np.allclose(slope / slope[0], 1 / np.arange(1, n + 1), rtol=1e-3)  # across w nothing changes


def test_what_an_affine_map_serves_needs_no_layer():
    plane = targets.from_numpy(lambda x: x @ np.array([2.0, -1.0]) + 3, 2, domain=Box.cube(2, 1.0), lipschitz=3.0)
    bound = depth_lower_bound(plane, 1e-3)
    assert bound.layers == 0
    assert bound.affine.matrix == pytest.approx(np.array([[2.0, -1.0]]), abs=2e-3)
    assert depth_lower_bound(targets.gaussian(), 0.5).layers == 0  # the constant 1/2
    assert depth_lower_bound(targets.gaussian(), 0.49).layers == 1


def test_an_affine_part_at_infinity_fixes_the_slope():
    """x + exp(-x^2) on R needs layers where on an interval a steeper line would do."""
    f = targets.affine_bump(dim=1)
    everywhere = depth_lower_bound(f, 0.1, WholeSpace(1))
    assert (everywhere.affine.matrix == f.affine.matrix).all()
    assert abs(everywhere.affine.offset - f.affine.offset) <= 0.1 + 1e-12
    small = Box([0.3], [1.0])
    assert depth_lower_bound(f, 0.1, small).layers == 0 < everywhere.layers


@pytest.mark.parametrize("name", ["gaussian", "affine_bump", "franke", "peaks", "saddle", "rings", "cone"])
def test_smaller_tolerances_and_larger_domains_need_no_fewer_layers(name):
    f = targets.get(name)
    bounds = [depth_lower_bound(f, eps, Box.cube(2, 2.0)).layers for eps in (0.4, 0.2, 0.1)]
    assert bounds == sorted(bounds)
    assert depth_lower_bound(f, 0.1, Box.cube(2, 3.0)).layers >= bounds[-1] - 1  # points are others: no theorem here


def test_vector_values():
    """Two components: at least what each needs alone, and far more for values that fill an area."""
    both = targets.from_numpy(
        lambda x: np.stack([np.sin(3 * x[:, 0]), np.cos(2 * x[:, 1])], axis=1),
        2,
        2,
        domain=Box.cube(2, 3.0),
        lipschitz=3.0,
    )
    alone = targets.from_numpy(lambda x: np.sin(3 * x[:, 0]), 2, domain=Box.cube(2, 3.0), lipschitz=3.0)
    assert depth_lower_bound(both, 0.1).layers > 4 * depth_lower_bound(alone, 0.1).layers
    space = depth_lower_bound(targets.swirl(), 0.2)
    assert 0 < space.layers <= constructions.build(targets.swirl(), 0.2, verify=False).hidden_layers


def test_packing_is_one():
    values = np.random.default_rng(0).random((300, 2))
    chosen = values[packing(values, 0.2, 300)]
    gaps = np.linalg.norm(chosen[:, None] - chosen, axis=2)[np.triu_indices(len(chosen), 1)]
    assert gaps.min() > 0.2
    assert (np.linalg.norm(values[:, None] - chosen, axis=2).min(axis=1) <= 0.2).all()
    assert len(packing(values, 0.2, 5)) == 5


def test_points_of_segments_lie_exactly_on_them():
    from fractions import Fraction

    box = Box([0.1, -1 / 3, 1e3], [0.7, 2 / 3, 1e3 + 1])
    segment = Segment.within(box, box.lower, np.array([0.7, 0.123456789, 1e3 + 0.9]))
    points, places = segment.points(1 << 14)
    assert box.contains(points).all()
    start, end = ([Fraction(v) for v in e] for e in (segment.start, segment.end))
    for i in (1, 777, 5001, 16383):
        t = (1 + Fraction(places[i])) / 2
        assert [Fraction(v) for v in points[i]] == [a + t * (b - a) for a, b in zip(start, end, strict=True)]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_no_construction_has_fewer_layers_than_the_bound(seed):
    """Random targets, tolerances, domains and builders."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 3))
    name = str(rng.choice(["gaussian", "bump", "affine_bump", "cone", "ridge", "rings", "saddle"]))
    f = targets.get(name, dim=n)
    if rng.random() < 0.4:
        waves, shifts = rng.standard_normal((3, n)), rng.uniform(0, 6, 3)
        f = targets.from_numpy(
            lambda x: np.sin(x @ waves.T + shifts).sum(axis=1),
            n,
            domain=Box.cube(n, 1.5),
            lipschitz=float(np.abs(waves).sum()),
        )
    domain = None if rng.random() < 0.5 else Ball(np.zeros(n), float(rng.uniform(0.3, 1.5)))
    builder = str(rng.choice(["widening", "constant_width", "narrow"]))
    cover = str(rng.choice(["adaptive", "auto", "greedy", "uniform"] if n == 1 else ["adaptive", "uniform"]))
    values = "chebyshev" if cover == "greedy" else str(rng.choice(["center", "chebyshev"]))
    built = constructions.build(
        f, float(rng.uniform(0.2, 0.8)), domain=domain, builder=builder, cover=cover, values=values, verify=False
    )
    assert 0 <= built.lower_bound.layers <= built.hidden_layers
    assert str(built.lower_bound.layers) in repr(built)


@pytest.mark.parametrize(
    ("name", "dim", "eps"), [("gaussian", 1, 0.06), ("gaussian", 3, 0.06), ("affine_bump", 1, 0.1), ("ridge", 2, 0.06)]
)
def test_some_constructions_reach_the_bound(name, dim, eps):
    """Proved from both sides: no network has fewer layers, and this one has no more."""
    f = targets.get(name, dim=dim)
    domain = f.domain if f.affine is None else None
    built = constructions.build(f, eps, builder="constant_width", cover="nested", domain=domain, samples=2000)
    assert built.report.upper <= eps
    assert built.lower_bound.layers == built.hidden_layers


def test_a_bound_that_fails_takes_no_construction_with_it():
    def fragile(x):
        if len(x) > 10_000:
            raise ArithmeticError("too many points")
        return np.sin(x[:, 0])

    f = targets.from_numpy(fragile, 1, domain=Box.cube(1, 1.0), lipschitz=1.0)
    built = constructions.build(f, 0.2, cover="uniform", verify=False)
    assert built.lower_bound is None
    assert "no Step-ReLU network" not in repr(built)


def test_results_say_what_they_rest_on():
    proved = depth_lower_bound(targets.gaussian(), 0.1)
    assert isinstance(proved, DepthBound)
    assert proved.rests_on == ("values of f by interval arithmetic", "the target's affine part at infinity")
    branches = targets.from_numpy(
        lambda x: np.where(x[:, 0] > 0, 1.0, 0.0) * x[:, 0], 1, domain=Box.cube(1, 1.0), lipschitz=1.0
    )
    assert "float64 values" in depth_lower_bound(branches, 0.1).rests_on[0]
    assert "takes at least 4 layers" in repr(proved)
    assert depth_lower_bound(targets.franke(), 0.1).layers == depth_lower_bound(targets.franke(), 0.1).layers


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: depth_lower_bound(np.sin, 0.1), TypeError, "required a Target"),
        (lambda: depth_lower_bound(targets.cone(), 0.0), ValueError, "eps > 0"),
        (lambda: depth_lower_bound(targets.cone(), float("nan")), ValueError, "finite eps"),
        (lambda: depth_lower_bound(targets.cone(), "0.1"), TypeError, "a real number"),
        (lambda: depth_lower_bound(targets.cone(), 0.1, Box.cube(3, 1.0)), ValueError, "R\\^2, as the target"),
        (lambda: depth_lower_bound(targets.cone(), 0.1, "box"), TypeError, "a Box, Ball or WholeSpace"),
        (lambda: depth_lower_bound(targets.cone(), 0.1, WholeSpace(2)), ValueError, "affine= on R\\^n"),
        (lambda: depth_lower_bound(targets.cone(), 0.1, Box.cube(2, 5.0)), ValueError, "is known"),
    ],
)
def test_bad_arguments(call, error, match):
    with pytest.raises(error, match=match):
        call()


def test_affine_maps_of_other_shapes_are_told_apart():
    assert depth_lower_bound(targets.gaussian(), 0.1).affine.matrix.shape == AffineMap.constant([0.0], 2).matrix.shape
