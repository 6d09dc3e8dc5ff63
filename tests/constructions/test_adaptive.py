import math
import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from approx import targets
from approx.affine import AffineMap
from approx.domains import Ball, Box, WholeSpace
from approx.targets import Target
from constructions.covers import TooManyCells, adaptive, apart, make, uniform
from constructions.covers._problem import Problem
from constructions.covers._values import certify, fill, small_boxes


def hill(dim, **fields):
    """exp(-|x|^2) with exact enclosures, written out here so that the tests do not lean on the gallery."""

    def enclose(low, high):
        near = np.maximum(np.maximum(low, -high), 0.0)
        far = np.maximum(np.abs(low), np.abs(high))
        return np.exp(-(far**2).sum(axis=1))[:, None] - 1e-15, np.exp(-(near**2).sum(axis=1))[:, None] + 1e-15

    slope = math.sqrt(2 / math.e)
    known = {
        "affine": AffineMap.constant([0.0], dim),
        "residual_lipschitz": slope,
        "tail": lambda r: math.exp(-min(r * r, 700.0)),
        "enclosure": enclose,
        "lipschitz": slope,
    }
    return Target(
        fn=lambda x: np.exp(-(x**2).sum(axis=1)),
        dim_in=dim,
        domain=Box.cube(dim, 3.0),
        name="hill",
        **{**known, **fields},
    )


def spike(width=0.05, enclosed=True):
    """width^2 / (width^2 + |x|^2) on the plane: flat but for one place."""

    def profile(s):
        return width**2 / (width**2 + s)

    def enclose(low, high):
        near = np.maximum(np.maximum(low, -high), 0.0)
        far = np.maximum(np.abs(low), np.abs(high))
        return profile((far**2).sum(axis=1))[:, None] - 1e-15, profile((near**2).sum(axis=1))[:, None] + 1e-15

    return Target(
        fn=lambda x: profile((x**2).sum(axis=1)),
        dim_in=2,
        domain=Box.cube(2, 1.0),
        # max |2 w^2 r / (w^2 + r^2)^2|, taken at r = w / sqrt(3)
        lipschitz=9 / (8 * math.sqrt(3)) / width,
        enclosure=enclose if enclosed else None,
        name="spike",
    )


def swirling(domain):
    """Vector valued, without enclosure."""
    return Target(
        fn=lambda x: np.stack([np.sin(2 * x[:, 0] + x[:, 1]), np.cos(2 * x[:, 0] - x[:, 1])], axis=1),
        dim_in=2,
        dim_out=2,
        domain=domain,
        lipschitz=math.sqrt(8),
        name="waves",
    )


def flat(dim, value=0.0, out=1):
    return AffineMap.constant(np.full(out, value), dim)


def assert_good(cover, target, eps, points, *, captured):
    error = float(np.linalg.norm(cover(points) - target(points), axis=1).max())
    assert error <= cover.error_bound * (1 + 1e-12) + 1e-12
    assert cover.error_bound <= eps * (1 + 1e-12)
    if captured:
        assert (cover.find(points) >= 0).all()
    assert (np.diff(cover.radii) <= 0).all()  # large to small
    halvings = np.log2(cover.radii / cover.radii.max(initial=1e-300))
    assert (halvings == np.round(halvings)).all()  # r0 2^-k exactly
    assert (np.ldexp(cover.radii.max(initial=0), halvings.astype(int)) == cover.radii).all()


@pytest.mark.parametrize("values", ["center", "chebyshev"])
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_compact_box_every_point_captured(dim, values):
    f = hill(dim)
    cover = adaptive(f, 0.2, f.domain, everywhere=False, affine=flat(dim), values=values)
    assert_good(cover, f, 0.2, np.concatenate([f.domain.sample(20_000), f.domain.grid(21)]), captured=True)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_whole_space_also_beyond_the_covered_ball(dim):
    f = hill(dim)
    cover = adaptive(f, 0.1, WholeSpace(dim), everywhere=True, affine=f.affine)
    edge, outward = cover.boundary_points(20_000)
    points = np.concatenate([WholeSpace(dim).sample(30_000, scale=3.0), edge - 1e-9 * outward])
    assert_good(cover, f, 0.1, points, captured=False)


@pytest.mark.parametrize("domain", [Box([-1.0, 0.0], [2.0, 0.5]), Ball([0.5, -0.25], 1.3)])
def test_vector_values_without_enclosure(domain):
    f = swirling(domain)
    cover = adaptive(f, 0.3, domain, everywhere=False, affine=flat(2, out=2))
    assert_good(cover, f, 0.3, domain.sample(30_000), captured=True)


def test_flat_parts_get_large_cells():
    f = spike()
    cover = adaptive(f, 0.05, f.domain, everywhere=False, affine=flat(2))
    assert_good(cover, f, 0.05, f.domain.sample(30_000), captured=True)
    even = uniform(f, 0.05, f.domain, everywhere=False, affine=flat(2))
    assert len(cover) < len(even) / 10
    assert cover.radii.max() > 8 * cover.radii.min()


def test_samples_stand_in_for_a_missing_enclosure():
    f = spike(enclosed=False)
    cover = adaptive(f, 0.05, f.domain, everywhere=False, affine=flat(2))
    assert_good(cover, f, 0.05, f.domain.sample(30_000), captured=True)
    assert len(cover) < len(uniform(f, 0.05, f.domain, everywhere=False, affine=flat(2))) / 4


def test_enclosure_alone_is_enough():
    f = hill(2, lipschitz=None, residual_lipschitz=None)
    cover = adaptive(f, 0.2, f.domain, everywhere=True, affine=f.affine)
    assert_good(cover, f, 0.2, f.domain.sample(20_000), captured=False)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_no_later_ball_holds_an_earlier_centre(dim):
    f = hill(dim)
    cover = adaptive(f, 0.15, f.domain, everywhere=True, affine=f.affine)
    assert len(cover) > 3
    for i in range(len(cover)):
        later = np.linalg.norm(cover.centers[i + 1 :] - cover.centers[i], axis=1) < cover.radii[i + 1 :]
        assert not later.any()


def test_equal_neighbours_hold_each_others_centres_from_dimension_4_on():
    f = hill(4)
    cover = adaptive(f, 0.35, f.domain, everywhere=True, affine=f.affine)
    last = len(cover) - 1
    assert (np.linalg.norm(cover.centers[:last] - cover.centers[last], axis=1) < cover.radii[last]).any()


def test_centres_are_dyadic_from_the_corner():
    f = hill(2)
    cover = adaptive(f, 0.1, f.domain, everywhere=False, affine=flat(2))
    # Cells of radius r have the side sqrt(2) r; the largest side is 6 / (j 2^k) with j odd.
    sides = cover.radii * math.sqrt(2) / (1 + cover.overlap)
    steps = (cover.centers + 3.0) / sides[:, None]
    np.testing.assert_allclose(steps, np.floor(steps) + 0.5, atol=1e-6)
    per_box = 6.0 / sides
    np.testing.assert_allclose(per_box, np.round(per_box), atol=1e-6)


def test_cubes_served_by_the_affine_map_are_left_out():
    f = hill(2)
    every = adaptive(f, 0.1, f.domain, everywhere=False, affine=f.affine)
    some = adaptive(f, 0.1, f.domain, everywhere=True, affine=f.affine)
    assert len(some) < len(every)
    assert_good(some, f, 0.1, f.domain.sample(30_000), captured=False)


def test_long_thin_box():
    box = Box([0.0, 5.0], [100.0, 5.1])
    f = Target(fn=lambda x: np.sin(x[:, 0]), dim_in=2, domain=box, lipschitz=1.0, name="ribbon")
    cover = adaptive(f, 0.3, box, everywhere=False, affine=flat(2))
    assert_good(cover, f, 0.3, box.sample(20_000), captured=True)
    assert len(cover) < 600  # 100 / 0.6 cells at best


@settings(max_examples=40, deadline=None)
@given(
    corner=st.lists(st.floats(-2, 2), min_size=3, max_size=3),
    widths=st.lists(st.floats(0.05, 2.0), min_size=3, max_size=3),
    dim=st.integers(1, 3),
    ball=st.booleans(),
    eps=st.floats(0.1, 0.5),
    everywhere=st.booleans(),
    values=st.sampled_from(["center", "chebyshev"]),
)
def test_any_domain(corner, widths, dim, ball, eps, everywhere, values):
    corner, widths = np.array(corner[:dim]), np.array(widths[:dim])
    domain = Ball(corner, widths[0]) if ball else Box(corner, corner + widths)
    f = hill(dim)
    cover = adaptive(f, eps, domain, everywhere=everywhere, affine=f.affine, values=values)
    assert_good(cover, f, eps, domain.sample(2000), captured=not everywhere)


def test_same_input_same_bits():
    f = spike()
    first, second = (adaptive(f, 0.05, f.domain, everywhere=False, affine=flat(2)) for _ in range(2))
    assert first.centers.tobytes() == second.centers.tobytes()
    assert first.values.tobytes() == second.values.tobytes()


@pytest.mark.parametrize("eps", [1e-6, 1e-12, 1e-200])
@pytest.mark.parametrize("dim", [1, 2, 3, 10])
def test_refusal_before_any_work(dim, eps):
    f = hill(dim)
    text = r"adaptive cover: .*takes (roughly|more than) .* cells.*max_cells = 1000.*larger eps.*max_layers"
    with pytest.raises(TooManyCells, match=text):
        adaptive(f, eps, f.domain, everywhere=True, affine=f.affine, max_cells=1000)


def test_limit_is_kept_exactly():
    f = hill(2)
    cells = len(adaptive(f, 0.1, f.domain, everywhere=True, affine=f.affine))
    assert len(adaptive(f, 0.1, f.domain, everywhere=True, affine=f.affine, max_cells=cells)) == cells
    with pytest.raises(TooManyCells, match=rf"outgrew the limit; required at most max_cells = {cells // 2}"):
        adaptive(f, 0.1, f.domain, everywhere=True, affine=f.affine, max_cells=cells // 2)


def test_a_jump_is_refused_when_cells_get_too_small():
    f = Target(
        fn=lambda x: (x[:, 0] > 0.3).astype(float),
        dim_in=1,
        domain=Box([0.0], [1.0]),
        enclosure=lambda low, high: ((low > 0.3).astype(float), (high > 0.3).astype(float)),
        name="jump",
    )
    with pytest.raises(ValueError, match=r"cells that float64 resolves"):
        adaptive(f, 0.1, f.domain, everywhere=False, affine=flat(1))


def test_dimension_and_knowledge_are_checked():
    f = hill(15)
    with pytest.raises(ValueError, match=r"received a target of R\^15; required dimension <= 14"):
        adaptive(f, 0.1, f.domain, everywhere=True, affine=f.affine)
    g = Target(fn=lambda x: x[:, 0], dim_in=1, domain=Box([0.0], [1.0]), name="bare")
    with pytest.raises(ValueError, match=r"target 'bare' with neither modulus nor enclosure"):
        adaptive(g, 0.1, g.domain, everywhere=False, affine=flat(1))


def test_a_false_enclosure_is_refuted_by_name():
    f = hill(2, enclosure=lambda low, high: (np.full((len(low), 1), 2.0), np.full((len(low), 1), 2.1)))
    with pytest.raises(ValueError, match=r"outside the bounds .* that target 'hill' claims"):
        adaptive(f, 0.05, f.domain, everywhere=False, affine=flat(2))


def test_apart_takes_the_smaller_cover_and_says_which():
    options = {"everywhere": False, "affine": flat(2)}
    f = spike()
    even = uniform(f, 0.05, f.domain, **options)
    cover = apart(f, 0.05, f.domain, **options)
    assert len(cover) < len(even)
    assert cover.strategy.startswith("adaptive")
    assert f"uniform has {len(even):,} cells" in cover.strategy

    g = Target(fn=lambda x: x.sum(axis=1), dim_in=2, domain=Box.cube(2, 1.0), lipschitz=math.sqrt(2), name="slope")
    cover = make("apart", g, 0.05, g.domain, **options)
    assert len(cover) == len(uniform(g, 0.05, g.domain, **options))
    assert cover.strategy == "uniform (auto: adaptive has no fewer cells)"


def test_apart_refuses_when_both_do_and_serves_when_one_does():
    f = spike()
    options = {"everywhere": False, "affine": flat(2)}
    cover = apart(f, 0.05, f.domain, max_cells=1000, **options)
    assert cover.strategy == "adaptive (auto: uniform has too many cells)"
    with pytest.raises(TooManyCells, match=r"max_cells = 10"):
        apart(f, 0.05, f.domain, max_cells=10, **options)
    with pytest.raises(TooManyCells, match=r"adaptive cover: .* roughly"):  # uniform needs more
        apart(f, 0.05, f.domain, max_cells=10, **options)
    g = hill(2, lipschitz=None, residual_lipschitz=None)
    assert apart(g, 0.2, g.domain, everywhere=True, affine=g.affine).strategy == "adaptive"


def test_the_refusal_names_the_least_number_of_cells():
    f = targets.gaussian()
    options = {"everywhere": True, "affine": f.affine, "values": "chebyshev"}
    shells = len(make("nested", f, 0.02, f.domain, **options))
    assert 5 < shells < len(make("adaptive", f, 0.02, f.domain, **options)) / 10
    with pytest.raises(TooManyCells, match=rf"nested cover: .* which takes {shells} cells") as refused:
        make("auto", f, 0.02, f.domain, max_cells=5, **options)
    assert refused.value.count == shells
    copy = pickle.loads(pickle.dumps(refused.value))  # as processes of a sweep send it
    assert type(copy) is TooManyCells and (str(copy), copy.count) == (str(refused.value), shells)
    g, counts = targets.franke(), []
    options = {"everywhere": False, "affine": flat(2), "values": "chebyshev", "max_cells": 3}
    for cover in ("uniform", "adaptive"):
        with pytest.raises(TooManyCells) as refused:
            make(cover, g, 0.2, g.domain, **options)
        counts.append(refused.value.count)
    with pytest.raises(TooManyCells) as refused:
        make("auto", g, 0.2, g.domain, **options)
    assert refused.value.count == min(counts) < max(counts)


def test_terrain():
    f = targets.terrain()
    cover = adaptive(f, 200.0, f.domain, everywhere=False, affine=flat(2, 400.0))
    assert_good(cover, f, 200.0, f.domain.sample(20_000), captured=True)
    assert len(cover) < len(uniform(f, 200.0, f.domain, everywhere=False, affine=flat(2, 400.0))) / 3


def problem_for(f, eps, **changes):
    options = {"everywhere": False, "affine": flat(f.dim_in, out=f.dim_out), "values": "chebyshev"}
    return Problem.parse("test", f, eps, f.domain, **{**options, "overlap": 1e-6, "max_cells": 1000, **changes})


def test_small_boxes_miss_no_part_of_the_ball():
    f = Target(**{**vars(spike()), "lipschitz": None, "modulus": None})
    rng = np.random.default_rng(0)
    # The spike lies somewhere in the ball of radius 0.4, so f varies by about 1 there wherever it is.
    turn, length = rng.uniform(0, 2 * math.pi, 300), 0.38 * np.sqrt(rng.random(300))
    centers = length[:, None] * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    values, bounds = certify(problem_for(f, 0.35), centers, 0.4, "chebyshev")
    assert (bounds >= np.abs(1 - values[:, 0])).all()
    assert (bounds > 0.4).all()


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_samples_of_a_cell_are_trusted_only_as_far_as_the_modulus_allows(dim):
    unit, distance = fill(dim)
    ball = Ball(np.zeros(dim), 1.0)
    points = ball.sample(20_000)

    def hidden(x):  # zero at every sample, as large as its Lipschitz constant 1 allows in between
        return np.min([np.linalg.norm(x - s, axis=1) for s in unit], axis=0)

    largest = hidden(points).max()
    assert 0.7 * distance < largest <= distance
    f = Target(fn=hidden, dim_in=dim, domain=ball, lipschitz=1.0, name="hidden")
    values, bounds = certify(problem_for(f, 0.99), np.zeros((1, dim)), 1.0, "chebyshev")
    assert distance == pytest.approx(bounds[0])
    assert np.abs(hidden(points) - values[0, 0]).max() <= bounds[0]


@pytest.mark.parametrize("dim", [1, 2, 3, 4, 5])
def test_patterns_cover_the_unit_ball(dim):
    points = Ball(np.zeros(dim), 1.0).sample(2000)
    low, high = small_boxes(dim)
    assert len(low) <= 128
    assert ((points[:, None] >= low) & (points[:, None] <= high)).all(axis=2).any(axis=1).all()
    if dim <= 3:
        unit, distance = fill(dim)
        assert len(unit) <= 128
        assert np.linalg.norm(points[:, None] - unit, axis=2).min(axis=1).max() <= distance


def test_cells_that_reach_beyond_the_covered_ball_are_certified_there_too():
    # 1 - |x| as far as |x| = 1.1, then back to 0: past the reach 0.9 of eps = 0.1 it goes on falling.
    radii, heights = [0.0, 0.9, 1.1, 1.2], [1.0, 0.1, -0.1, 0.0]

    def enclose(low, high):
        near = np.linalg.norm(np.maximum(np.maximum(low, -high), 0.0), axis=1)
        far = np.linalg.norm(np.maximum(np.abs(low), np.abs(high)), axis=1)
        ends = np.interp(near, radii, heights), np.interp(far, radii, heights)
        bottom = np.where((near < 1.1) & (far > 1.1), -0.1, np.minimum(*ends))
        return bottom[:, None] - 1e-15, np.maximum(*ends)[:, None] + 1e-15

    f = Target(
        fn=lambda x: np.interp(np.linalg.norm(x, axis=1), radii, heights),
        dim_in=2,
        domain=Box.cube(2, 2.0),
        lipschitz=5.0,  # loose, so that enclosures decide
        affine=flat(2),
        tail=lambda r: float(np.interp(r, [0.0, 0.9, 1.1, 1.2], [1.0, 0.1, 0.1, 0.0])),
        enclosure=enclose,
        name="moat",
    )
    cover = adaptive(f, 0.1 + 1e-9, WholeSpace(2), everywhere=True, affine=f.affine)
    edge, outward = cover.boundary_points(50_000)
    assert_good(cover, f, 0.1 + 1e-9, edge - 1e-9 * outward, captured=False)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_enclosures_decide_what_the_affine_map_serves(sign):
    known = hill(2)

    def enclose(low, high):
        bounds = known.enclosure(low, high)
        return tuple(sorted((sign * bounds[0], sign * bounds[1]), key=lambda b: b.sum()))

    f = Target(
        fn=lambda x: sign * known.fn(x),
        dim_in=2,
        domain=known.domain,
        lipschitz=known.lipschitz,
        enclosure=enclose,
        name="hill or pit",
    )
    for strategy in ("adaptive", "uniform"):
        cover = make(strategy, f, 0.2, f.domain, everywhere=True, affine=flat(2, 0.05 * sign))
        assert_good(cover, f, 0.2, f.domain.sample(20_000), captured=False)
        assert np.linalg.norm(cover.centers, axis=1).max() < 2.5


@pytest.mark.parametrize("strategy", ["adaptive", "uniform"])
def test_cells_that_the_affine_map_serves_are_left_out_where_f_itself_is_steep(strategy):
    f = targets.from_expression("x + 2*y + exp(-9*(x^2 + y^2))")
    exact = AffineMap([[1.0, 2.0]], [0.0])
    cover = make(strategy, f, 0.1, f.domain, everywhere=True, affine=exact)
    assert len(cover) < 1000  # f changes by 18 over the domain, so without the map there are over 10,000
    assert_good(cover, f, 0.1, f.domain.sample(20_000), captured=False)
    assert np.linalg.norm(cover.centers, axis=1).max() < 1.0  # |f - L| <= eps from |x| = 0.506 on


@pytest.mark.parametrize("strategy", ["adaptive", "uniform"])
def test_the_affine_map_is_chosen_where_it_is_free(strategy):
    f = targets.from_expression("x + 2*y + exp(-9*(x^2 + y^2))")
    given_map = flat(2)
    cover = make(strategy, f, 0.1, f.domain, everywhere=True, affine=given_map)
    np.testing.assert_allclose(cover.affine.matrix, [[1.0, 2.0]], atol=0.02)
    assert len(cover) < 1000
    assert_good(cover, f, 0.1, f.domain.sample(20_000), captured=False)
    hilly = hill(2, affine=None, residual_lipschitz=None, tail=None)
    kept = make(strategy, hilly, 0.05, hilly.domain, everywhere=True, affine=given_map)
    assert kept.affine is given_map or strategy == "uniform"  # no other map saves small cells on slopes
    captured = make(strategy, f, 0.3, f.domain, everywhere=False, affine=given_map)
    assert captured.affine is given_map  # the builder has none outside its cells
    asymptotic = hill(2)
    assert make(strategy, asymptotic, 0.05, f.domain, everywhere=True, affine=asymptotic.affine).affine is (
        asymptotic.affine
    )


def test_proved_bounds_count_before_an_estimated_constant():
    """The cells are no fewer with a constant that says nothing, and as many as local slopes allow."""
    f = targets.from_expression("sin(2*x)*cos(y)")
    cover = adaptive(f, 0.1, f.domain, everywhere=False, affine=flat(2))
    assert f.lipschitz_source == "estimated" and len(cover) < 5500  # 6,220 by the constant alone
    assert_good(cover, f, 0.1, f.domain.sample(20_000), captured=True)
    loose = replace(f, lipschitz=100 * f.lipschitz, residual_lipschitz=None)
    assert len(adaptive(loose, 0.1, f.domain, everywhere=False, affine=flat(2))) == len(cover)


def test_an_estimated_constant_decides_where_bounds_of_f_do_not():
    """sin(x)/x has no bounds on boxes that hold 0."""
    f = targets.from_expression("sin(x)/x", domain=Box([-1.01], [1.02]))
    cover = adaptive(f, 0.05, f.domain, everywhere=False, affine=flat(1))
    assert len(cover) < 10
    assert_good(cover, f, 0.05, f.domain.sample(1000), captured=True)
