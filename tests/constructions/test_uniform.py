import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from approx.affine import AffineMap
from approx.covers import Cover
from approx.domains import Ball, Box, WholeSpace
from approx.lattice import Lattice
from approx.targets import Target
from constructions import covers
from constructions.covers import TooManyCells, check_coverage, make, uniform


def hill(dim, **fields):
    """exp(-|x|^2), written out here so that the tests do not lean on the gallery."""
    slope = math.sqrt(2 / math.e)
    known = {
        "affine": AffineMap.constant([0.0], dim),
        "residual_lipschitz": slope,
        "tail": lambda r: math.exp(-min(r * r, 700.0)),
    }
    return Target(
        fn=lambda x: np.exp(-(x**2).sum(axis=1)),
        dim_in=dim,
        domain=Box.cube(dim, 3.0),
        lipschitz=slope,
        name="hill",
        **{**known, **fields},
    )


def waves(domain, lipschitz=3.0):
    """Vector valued, without affine part: (sin(2x + y), cos(2x - y)), gradients of length sqrt(5) each."""
    assert lipschitz >= math.sqrt(8)  # the Jacobian [[2c, c], [-2s, s]] has norm at most sqrt(8)
    return Target(
        fn=lambda x: np.stack([np.sin(2 * x[:, 0] + x[:, 1]), np.cos(2 * x[:, 0] - x[:, 1])], axis=1),
        dim_in=2,
        dim_out=2,
        domain=domain,
        lipschitz=lipschitz,
        name="waves",
    )


def line(slope=1.0, claimed=None, lower=0.0, upper=1.0):
    """slope * x on an interval that fn refuses to leave."""

    def fn(x):
        assert (x >= lower - 1e-12).all() and (x <= upper + 1e-12).all(), "evaluated outside the domain"
        return slope * x

    return Target(fn=fn, dim_in=1, domain=Box([lower], [upper]), lipschitz=claimed or abs(slope), name="line")


def flat(dim, value=0.0, out=1):
    return AffineMap.constant(np.full(out, value), dim)


def largest_error(cover, target, points):
    return float(np.linalg.norm(cover(points) - target(points), axis=1).max())


def assert_good(cover, target, eps, points, *, captured):
    error = largest_error(cover, target, points)
    assert error <= cover.error_bound * (1 + 1e-12) + 1e-12
    assert cover.error_bound <= eps * (1 + 1e-12)
    if captured:
        assert (cover.find(points) >= 0).all()
    assert len(set(cover.radii.tolist())) <= 1  # bitwise equal


@pytest.mark.parametrize("values", ["center", "chebyshev"])
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_compact_box_every_point_captured(dim, values):
    f = hill(dim)
    cover = uniform(f, 0.2, f.domain, everywhere=False, affine=flat(dim), values=values)
    points = np.concatenate([f.domain.sample(20_000), f.domain.grid(21)])
    assert_good(cover, f, 0.2, points, captured=True)


@pytest.mark.parametrize("domain", [Box([-1.0, 0.0], [2.0, 0.5]), Ball([0.5, -0.25], 1.3)])
@pytest.mark.parametrize("values", ["center", "chebyshev"])
def test_vector_values(domain, values):
    f = waves(domain)
    cover = uniform(f, 0.3, domain, everywhere=False, affine=flat(2, out=2), values=values)
    assert_good(cover, f, 0.3, domain.sample(30_000), captured=True)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_whole_space(dim):
    f = hill(dim)
    cover = uniform(f, 0.2, WholeSpace(dim), everywhere=True, affine=f.affine)
    points = WholeSpace(dim).sample(30_000, scale=3.0)
    assert_good(cover, f, 0.2, points, captured=False)
    # The tail exp(-R^2) = eps gives R; cells reach no farther than their own diameter beyond it.
    reach = math.sqrt(math.log(1 / 0.2))
    assert np.linalg.norm(cover.centers, axis=1).max() <= reach + cover.radii[0]


def test_cells_on_the_whole_space_hold_beyond_the_covered_ball():
    f = hill(2)
    cover = uniform(f, 0.1, WholeSpace(2), everywhere=True, affine=f.affine)
    edge, outward = cover.boundary_points(20_000)
    assert largest_error(cover, f, edge - 1e-9 * outward) <= 0.1


def test_radius_and_overlap_are_those_of_the_paper():
    f = hill(2)
    cover = uniform(f, 0.1, f.domain, everywhere=False, affine=flat(2))
    assert cover.overlap == 1e-6
    assert cover.radii[0] == f.radius_for(0.1)
    rho = cover.radii[0] / (1 + 1e-6)
    gaps = np.linalg.norm(cover.centers[1:] - cover.centers[0], axis=1)
    assert gaps.min() == pytest.approx(Lattice(2, rho).minimal_distance)
    values = np.exp(-(np.clip(cover.centers, -3, 3) ** 2).sum(axis=1))
    np.testing.assert_array_equal(cover.values[:, 0], values)  # f at the nearest point of the box


@pytest.mark.parametrize(("eps", "cells"), [(0.3, 2), (0.24, 3), (0.11, 5), (0.09, 6), (0.6, 1)])
def test_interval_takes_the_least_number_of_cells(eps, cells):
    # An interval of length 1 and open cells of radius eps: the least N with 2 N eps > 1.
    cover = uniform(line(), eps, Box([0.0], [1.0]), everywhere=False, affine=flat(1))
    assert len(cover) == cells == math.floor(1 / (2 * eps)) + 1
    np.testing.assert_allclose(np.sort(cover.centers[:, 0]), (2 * np.arange(cells) + 1) / (2 * cells))
    assert_good(cover, line(), eps, np.linspace(0, 1, 5001)[:, None], captured=True)


def test_one_cell_when_it_is_enough():
    for domain in (Box.cube(3, 0.1), Ball([0.2, 0.0, 0.0], 0.3)):
        cover = uniform(hill(3), 0.5, domain, everywhere=False, affine=flat(3))
        assert len(cover) == 1


def test_constant_target_takes_one_cell():
    f = Target(
        fn=lambda x: np.full(len(x), 4.0),
        dim_in=2,
        domain=Box.cube(2, 1.0),
        modulus=lambda r: 0.0 * np.asarray(r),
        name="four",
    )
    assert len(uniform(f, 0.1, f.domain, everywhere=False, affine=flat(2))) == 1


def test_target_within_eps_of_its_affine_map_takes_no_cell():
    f = hill(2)
    cover = uniform(f, 1.5, WholeSpace(2), everywhere=True, affine=f.affine)
    assert len(cover) == 0
    assert largest_error(cover, f, WholeSpace(2).sample(1000)) <= cover.error_bound <= 1.5


def test_cells_served_by_the_affine_map_are_left_out():
    f = hill(2)
    every = uniform(f, 0.1, f.domain, everywhere=False, affine=f.affine)
    some = uniform(f, 0.1, f.domain, everywhere=True, affine=f.affine)
    assert len(some) < len(every) / 3  # |x| < 1.52 out of the square of side 6
    assert_good(some, f, 0.1, f.domain.sample(30_000), captured=False)


def test_pruning_uses_the_residual_when_no_tail_or_enclosure_helps():
    # f = 0 for x < 0 and min(x, 1)/10 after, close to the constant 0 on half the box; not defined outside it.
    domain = Box([-5.0, 0.0], [5.0, 1.0])

    def ramp(x):
        return np.where(domain.contains(x), np.clip(x[:, 0], 0, 1) / 10, np.nan)

    f = Target(fn=ramp, dim_in=2, domain=domain, lipschitz=0.1, name="ramp")
    cover = uniform(f, 0.02, domain, everywhere=True, affine=flat(2))
    assert cover.centers[:, 0].min() > -0.5
    assert_good(cover, f, 0.02, f.domain.sample(5000), captured=False)


def test_chebyshev_values_gain_only_where_the_constant_is_loose():
    box = Box([0.0, 0.0], [1.0, 1.0])
    counts = {}
    for claimed in (1.0, 8.0):
        f = Target(fn=lambda x: x[:, 0], dim_in=2, domain=box, lipschitz=claimed, name="slope")
        for values in ("center", "chebyshev"):
            cover = uniform(f, 0.02, box, everywhere=False, affine=flat(2), values=values)
            assert_good(cover, f, 0.02, box.sample(20_000), captured=True)
            counts[claimed, values] = len(cover)
    assert counts[1.0, "chebyshev"] == counts[1.0, "center"]
    assert counts[8.0, "chebyshev"] < counts[8.0, "center"] / 5


def test_chebyshev_values_use_the_enclosure():
    box = Box([0.0], [1.0])
    f = Target(
        fn=lambda x: x[:, 0] ** 2,
        dim_in=1,
        domain=box,
        lipschitz=20.0,
        enclosure=lambda low, high: (low**2, high**2),
        name="square",
    )
    cover = uniform(f, 0.01, box, everywhere=False, affine=flat(1), values="chebyshev")
    # Equal cells of half-width h: the last one, [1 - 2h, 1], must vary by 2 eps, so 4h - 4h^2 = 0.02 at best.
    least = 1 / (2 * (1 - math.sqrt(1 - 0.02)) / 2)
    assert least <= len(cover) <= 1.05 * least + 1
    assert_good(cover, f, 0.01, box.sample(5000), captured=True)


@settings(max_examples=40, deadline=None)
@given(
    corner=st.lists(st.floats(-5, 5), min_size=3, max_size=3),
    widths=st.lists(st.floats(0.05, 2.0), min_size=3, max_size=3),
    dim=st.integers(1, 3),
    ball=st.booleans(),
    eps=st.floats(0.1, 0.5),
    values=st.sampled_from(["center", "chebyshev"]),
)
def test_any_domain(corner, widths, dim, ball, eps, values):
    corner, widths = np.array(corner[:dim]), np.array(widths[:dim])
    domain = Ball(corner, widths[0]) if ball else Box(corner, corner + widths)
    f = Target(
        fn=lambda x: np.sin(x.sum(axis=1)), dim_in=dim, domain=domain, lipschitz=1.01 * math.sqrt(dim), name="sine"
    )
    cover = uniform(f, eps, domain, everywhere=False, affine=flat(dim), values=values)
    assert_good(cover, f, eps, domain.sample(2000), captured=True)


def test_same_input_same_bits():
    f = hill(2)
    first, second = (uniform(f, 0.1, f.domain, everywhere=True, affine=f.affine) for _ in range(2))
    assert first.centers.tobytes() == second.centers.tobytes()
    assert first.values.tobytes() == second.values.tobytes()


@pytest.mark.parametrize("eps", [1e-6, 1e-12, 1e-100, 1e-290])
@pytest.mark.parametrize("dim", [1, 2, 10])
def test_refusal_before_any_work(dim, eps):
    f = hill(dim)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        text = r"uniform cover: .*takes (about|more than) .* cells of radius .*max_cells = 1000.*larger eps.*max_layers"
        with pytest.raises(TooManyCells, match=text):
            uniform(f, eps, f.domain, everywhere=False, affine=flat(dim), max_cells=1000)


def test_limit_is_exact():
    f = hill(2)
    cells = len(uniform(f, 0.1, f.domain, everywhere=True, affine=f.affine))
    assert len(uniform(f, 0.1, f.domain, everywhere=True, affine=f.affine, max_cells=cells)) == cells
    with pytest.raises(TooManyCells, match=f"takes .* cells.*at most max_cells = {cells - 1}"):
        uniform(f, 0.1, f.domain, everywhere=True, affine=f.affine, max_cells=cells - 1)


def test_whole_space_needs_an_affine_map_and_a_tail():
    f = waves(Box.cube(2, 1.0))
    with pytest.raises(ValueError, match=r"without affine map; required a target with affine and tail"):
        uniform(f, 0.1, WholeSpace(2), everywhere=True, affine=flat(2, out=2))
    g = hill(2, tail=None)
    with pytest.raises(ValueError, match=r"without tail bound; required a target with affine and tail"):
        uniform(g, 0.1, WholeSpace(2), everywhere=True, affine=g.affine)
    h = hill(2)
    with pytest.raises(ValueError, match=r"required affine = target.affine"):
        uniform(h, 0.1, WholeSpace(2), everywhere=True, affine=flat(2, 1.0))
    with pytest.raises(ValueError, match=r"must capture every point; required a compact domain"):
        uniform(h, 0.1, WholeSpace(2), everywhere=False, affine=h.affine)


def test_tail_that_stays_above_eps_is_refused():
    f = hill(2, tail=lambda r: 0.5)
    with pytest.raises(ValueError, match=r"a tail of 0.5 still at .*required a tail that falls below eps"):
        uniform(f, 0.1, WholeSpace(2), everywhere=True, affine=f.affine)


def test_domain_beyond_what_is_known_is_refused():
    with pytest.raises(ValueError, match=r"required a domain inside"):
        uniform(line(), 0.1, Box([0.0], [2.0]), everywhere=False, affine=flat(1))


def test_unresolvable_cells_are_refused():
    far = Box([1e9], [1e9 + 1e-3])
    f = Target(fn=lambda x: np.sin(x[:, 0]), dim_in=1, domain=far, lipschitz=1.0, name="far")
    with pytest.raises(ValueError, match=r"cells that float64 resolves at coordinates up to 1e\+09"):
        uniform(f, 1e-5, far, everywhere=False, affine=flat(1))


def test_a_false_claim_is_refuted_by_name():
    f = Target(
        fn=lambda x: x[:, 0],
        dim_in=1,
        domain=Box([0.0], [1.0]),
        lipschitz=1.0,
        enclosure=lambda low, high: (low + 5.0, high + 5.0),
        name="liar",
    )
    with pytest.raises(ValueError, match=r"outside the bounds .* that target 'liar' claims"):
        uniform(f, 0.1, f.domain, everywhere=False, affine=flat(1), values="chebyshev")


def test_missing_lipschitz_constant_is_refused():
    f = Target(fn=lambda x: x[:, 0], dim_in=1, domain=Box([0.0], [1.0]), name="bare")
    with pytest.raises(ValueError, match=r"no Lipschitz constant"):
        uniform(f, 0.1, f.domain, everywhere=False, affine=flat(1))


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"eps": 0.0}, ValueError, r"received eps = 0.0; required eps > 0"),
        ({"eps": math.nan}, ValueError, r"received eps = nan; required a finite eps"),
        ({"eps": "0.1"}, TypeError, r"received eps = '0.1'; required a real number"),
        ({"domain": Box.cube(3, 1.0)}, ValueError, r"required a Box, Ball or WholeSpace of R\^2"),
        ({"domain": "box"}, ValueError, r"received domain = 'box'"),
        ({"affine": AffineMap.constant([0.0], 3)}, ValueError, r"required an AffineMap from R\^2 to R\^1"),
        ({"values": "middle"}, ValueError, r"received values = 'middle'; required one of center, chebyshev"),
        ({"overlap": 0.0}, ValueError, r"received overlap = 0.0; required overlap > 0"),
        ({"overlap": 0.9}, ValueError, r"received overlap = 0.9; required 1e-12 <= overlap <= 0.5"),
        ({"max_cells": 0}, ValueError, r"received max_cells = 0; required 1 <= max_cells"),
        ({"target": np.sin}, TypeError, r"required a Target"),
    ],
)
@pytest.mark.parametrize("strategy", ["uniform", "adaptive", "auto"])
def test_bad_arguments(strategy, change, error, text):
    f = hill(2)
    given_ = {"target": f, "eps": 0.1, "domain": f.domain, "everywhere": True, "affine": f.affine, **change}
    with pytest.raises(error, match=text):
        make(strategy, given_.pop("target"), given_.pop("eps"), given_.pop("domain"), **given_)


def test_unknown_strategy_lists_the_names():
    f = hill(1)
    with pytest.raises(
        ValueError, match=r"covers.make: received strategy = 'square'; required one of adaptive, apart, auto"
    ):
        make("square", f, 0.1, f.domain, everywhere=True, affine=f.affine)
    assert set(covers.STRATEGIES) == {"adaptive", "apart", "auto", "greedy", "nested", "uniform"}


def test_check_coverage_names_an_uncovered_point():
    f = hill(2)
    cover = uniform(f, 0.2, f.domain, everywhere=False, affine=flat(2))
    check_coverage(cover, f.domain)
    inside = np.flatnonzero(np.linalg.norm(cover.centers, axis=1) < 0.5)[0]
    with pytest.raises(RuntimeError, match=r"received a point \[.*\] in no cell of Cover"):
        check_coverage(cover.subset(np.delete(np.arange(len(cover)), inside)), f.domain)


def test_check_coverage_finds_holes_that_random_points_miss():
    rho, box = 0.5, Box.cube(2, 2.03)
    lattice = Lattice(2, rho)
    centers = lattice.points(box)
    radii = np.full(len(centers), rho * (1 - 1e-5))  # open only in tiny triangles at the deep holes
    cover = Cover(centers, np.zeros((len(centers), 1)), flat(2), radii=radii, overlap=1e-6)
    check_coverage(cover, box, samples=256)
    with pytest.raises(RuntimeError, match=r"in no cell"):
        check_coverage(cover, box, samples=256, lattice=lattice)


def test_a_domain_beyond_the_reach_of_the_target_takes_no_cell():
    f = hill(2)
    for domain in (Box([5.0, 5.0], [6.0, 6.0]), Ball([9.0, 0.0], 1.0)):
        for strategy in ("uniform", "adaptive", "auto"):
            cover = make(strategy, f, 0.1, domain, everywhere=True, affine=f.affine)
            assert len(cover) == 0
            assert_good(cover, f, 0.1, domain.sample(1000), captured=False)


@pytest.mark.parametrize("domain", [Box([-0.5, -4.0], [4.0, 4.0]), Ball([1.0, 0.0], 1.5), Ball([0.5, 0.0], 9.0)])
def test_a_domain_partly_beyond_the_reach(domain):
    f = hill(2)
    for strategy in ("uniform", "adaptive"):
        cover = make(strategy, f, 0.1, domain, everywhere=True, affine=f.affine)
        assert 0 < len(cover) < 600
        points = np.concatenate([domain.sample(20_000), domain.project(cover.boundary_points(5000)[0])])
        error = np.linalg.norm(cover(points) - f(points), axis=1).max()
        assert error <= cover.error_bound * (1 + 1e-12) <= 0.1 * (1 + 1e-9)
