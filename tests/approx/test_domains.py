"""Boxes, balls and R^n: membership, projection, samples, and what they refuse."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from approx.domains import Ball, Box, Domain, WholeSpace, format_domain, parse_domain

DOMAINS = [Box([-1.0], [2.0]), Box([-1.0, 0.0, 5.0], [2.0, 1e-3, 9.0]), Ball([0.5], 2.0), Ball([1.0, -3.0], 0.25)]
COMPACT_OR_NOT = [*DOMAINS, WholeSpace(1), WholeSpace(3)]


def test_a_box_is_closed_and_measures_itself():
    box = Box([0.0, -1.0], [3.0, 3.0])
    assert (box.dim, box.compact, box.volume, box.diameter) == (2, True, 12.0, 5.0)
    assert box.widths.tolist() == [3.0, 4.0] and box.bounding_box() is box
    points = [[0, -1], [3, 3], [np.nextafter(3, 4), 0], [1, np.nextafter(-1, -2)], [np.inf, 0]]
    assert box.contains(points).tolist() == [True, True, False, False, False]


def test_a_ball_is_closed_and_measures_itself():
    ball = Ball([1.0, 1.0], 5.0)
    assert (ball.dim, ball.compact, ball.diameter) == (2, True, 10.0)
    assert ball.bounding_box() == Box([-4.0, -4.0], [6.0, 6.0])
    assert ball.contains([[4, 5], [4, np.nextafter(5, 6)], [1, 1]]).tolist() == [True, False, True]


def test_the_whole_space_holds_every_finite_point():
    space = WholeSpace(2)
    assert not space.compact
    assert space.contains([[1e300, -1e300], [np.inf, 0.0]]).tolist() == [True, False]
    assert (space.project([[3.0, 4.0]]) == [[3.0, 4.0]]).all()


@pytest.mark.parametrize("domain", COMPACT_OR_NOT, ids=str)
def test_every_domain_answers_the_same_questions(domain):
    assert isinstance(domain, Domain)
    points = domain.sample(500, seed=3)
    assert points.shape == (500, domain.dim) and points.dtype == np.float64
    assert domain.contains(points).all()
    assert domain.contains(points.reshape(5, 100, domain.dim)).shape == (5, 100)
    assert domain.contains(np.empty((0, domain.dim))).shape == (0,)
    assert (domain.sample(500, seed=3) == points).all()
    assert (domain.sample(500, seed=4) != points).any()
    assert domain.sample(0).shape == (0, domain.dim)


@pytest.mark.parametrize("domain", DOMAINS, ids=str)
def test_projection_is_the_nearest_point(domain):
    rng = np.random.default_rng(0)
    outside = rng.normal(scale=8.0, size=(200, domain.dim))
    nearest = domain.project(outside)
    inside = domain.sample(2000)
    gaps = np.linalg.norm(outside - nearest, axis=1)
    best = np.linalg.norm(outside[:, None] - inside[None], axis=2).min(axis=1)
    assert (gaps <= best * (1 + 1e-12)).all()
    assert domain.distance(outside) == pytest.approx(gaps, abs=1e-12)
    assert (domain.project(inside) == inside).all() and (domain.distance(inside) == 0).all()
    assert domain.distance(nearest) == pytest.approx(0.0, abs=1e-14)


@pytest.mark.parametrize("dim", [1, 2, 5])
def test_samples_are_uniform_in_volume(dim):
    # Quasi-random: the share of a sub-body is its share of the volume, to about log(k)^n / k.
    ball = Ball(np.zeros(dim), 2.0).sample(4096)
    assert (np.linalg.norm(ball, axis=1) < 1.0).mean() == pytest.approx(0.5**dim, abs=0.01)
    assert ball.mean(axis=0) == pytest.approx(np.zeros(dim), abs=0.02)
    box = Box.cube(dim, 1.0).sample(4096)
    assert (box < 0.5).mean(axis=0) == pytest.approx(np.full(dim, 0.75), abs=0.01)


def test_samples_of_the_whole_space_reach_far_and_stay_near():
    lengths = np.linalg.norm(WholeSpace(2).sample(4096, scale=3.0, reach=1e6), axis=1)
    assert (lengths <= 3.0).mean() == pytest.approx(0.5, abs=0.01)
    assert (lengths <= 1.5).mean() == pytest.approx(0.125, abs=0.01)  # uniform in volume: 1/4 of the inner half
    assert (lengths > np.sqrt(3.0 * 1e6)).mean() == pytest.approx(0.25, abs=0.01)  # log-uniform: half of the outer
    assert lengths.max() <= 1e6 * (1 + 1e-12)


def test_a_grid_includes_the_faces():
    grid = Box([0.0, -1.0], [1.0, 1.0]).grid(3)
    expected = [[a, b] for a in (0.0, 0.5, 1.0) for b in (-1.0, 0.0, 1.0)]
    assert grid.tolist() == expected


def test_equality_and_hashing_go_by_content():
    pairs = [(Box([0], [1]), Box([0.0], [1.0]), Box([0], [2])), (Ball([0], 1), Ball([0.0], 1.0), Ball([0], 2.0))]
    for one, same, other in pairs:
        assert one == same and hash(one) == hash(same) and one != other
    assert Box([0], [1]) != Ball([0.5], 0.5) and WholeSpace(2) == WholeSpace(2)


def test_domains_own_their_numbers():
    lower = np.zeros(2)
    box = Box(lower, [1.0, 1.0])
    lower[:] = 7.0
    assert box.lower.tolist() == [0.0, 0.0]
    with pytest.raises(ValueError, match="read-only"):
        box.lower[0] = 1.0


@given(
    st.lists(st.floats(-1e6, 1e6, allow_nan=False), min_size=1, max_size=4),
    st.floats(1e-3, 1e6),
    st.integers(0, 2**31),
)
@settings(max_examples=40, deadline=None)
def test_round_trips_of_projection_on_any_ball(center, radius, seed):
    ball = Ball(center, radius)
    x = np.random.default_rng(seed).normal(scale=10 * radius, size=(20, len(center))) + center
    p = ball.project(x)
    size = np.abs(center).max() + radius
    assert (ball.distance(p) <= 4e-16 * len(center) * size).all()
    assert (p[ball.contains(x)] == x[ball.contains(x)]).all()


@pytest.mark.parametrize(
    ("spec", "dim", "domain"),
    [
        ("box:-3,3", 2, Box.cube(2, 3.0)),
        (" box:-3,3;0,1 ", 2, Box([-3, 0], [3, 1])),
        ("box:1e-3,1e3", 1, Box([1e-3], [1e3])),
        ("ball:2", 3, Ball(np.zeros(3), 2.0)),
        ("ball:2;1,-0.5", 2, Ball([1.0, -0.5], 2.0)),
        ("space", 4, WholeSpace(4)),
    ],
)
def test_specifications_of_the_command_line(spec, dim, domain):
    assert parse_domain(spec, dim) == domain


@pytest.mark.parametrize(
    "spec",
    [
        *("", "box", "box:", "box:1", "box:1,2,3", "box:3,-3", "box:0,0", "box:nan,1", "box:0,inf", "box:0,1;0,1;0,1"),
        *(
            "ball:",
            "ball:-1",
            "ball:0",
            "ball:x",
            "ball:inf",
            "ball:1;0",
            "ball:1;0,0;1",
            "ball:1;0,x",
            "ball:1;0,nan",
            "space:1",
            "SPACE",
            "box:0,1;",
            "os.remove('x')",
            "\x00",
        ),
    ],
)
def test_hostile_specifications_are_refused(spec):
    with pytest.raises(ValueError, match=r"^domain: received .*; required .*"):
        parse_domain(spec, 2)


def test_a_specification_must_be_text():
    with pytest.raises(TypeError, match="domain: received None; required text"):
        parse_domain(None, 2)


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: Box([0, 1], [1]), ValueError, r"Box: received upper of shape \(1,\)"),
        (lambda: Box([0, 1], [1, 1]), ValueError, "lower < upper in every coordinate"),
        (lambda: Box([], []), ValueError, "lower < upper"),
        (lambda: Box([0, 2], [1, 1]), ValueError, "Swap the bounds"),
        (lambda: Box([0, 1], [1, 1]), ValueError, "an interval of positive width"),
        (lambda: Box([np.nan], [1]), ValueError, r"lower\[0\] = nan"),
        (lambda: Box([0], [np.inf]), ValueError, r"upper\[0\] = inf"),
        (lambda: Box([[1, 2], [3]], [1]), TypeError, "rectangular lower"),
        (lambda: Box(["a"], ["b"]), TypeError, "lower of dtype <U1"),
        (lambda: Box([0j], [1]), TypeError, "real numbers"),
        (lambda: Box.cube(0, 1.0), ValueError, "1 <= dim"),
        (lambda: Box.cube(2, -1.0), ValueError, "half_width > 0"),
        (lambda: Ball([], 1.0), ValueError, "1 <= dimension"),
        (lambda: Ball([0.0], 0.0), ValueError, "radius > 0"),
        (lambda: Ball([0.0], np.nan), ValueError, "finite radius"),
        (lambda: Ball([np.inf], 1.0), ValueError, r"center\[0\] = inf"),
        (lambda: WholeSpace(0), ValueError, "1 <= dim"),
        (lambda: WholeSpace(True), TypeError, "an integer"),
        (lambda: WholeSpace(2).sample(3, scale=0.0), ValueError, "scale > 0"),
        (lambda: Box([0], [1]).contains(0.5), ValueError, r"shape \(\.\.\., 1\)"),
        (lambda: Box([0], [1]).contains([[np.nan]]), ValueError, "containing NaN"),
        (lambda: Ball([0, 0], 1).project([[1.0, 2.0, 3.0]]), ValueError, r"shape \(\.\.\., 2\)"),
        (lambda: Box([0], [1]).grid(1), ValueError, "2 <= per_axis"),
        (lambda: Box.cube(9, 1.0).grid(100), ValueError, r"100\*\*9 points"),
        (lambda: Box([0], [1]).sample(-1), ValueError, "0 <= count"),
        (lambda: Box([0], [1]).sample(10**12), ValueError, "count <= 200000000"),
        (lambda: Box([0], [1]).sample(2.0), TypeError, "count = 2.0"),
        (lambda: Box([0], [1]).sample(2, seed=-1), ValueError, "0 <= seed"),
        (lambda: Box([0], [1]).sample(2, seed=None), TypeError, "seed = None"),
    ],
)
def test_bad_input_gets_one_clear_error(make, error, text):
    with pytest.raises(error, match=text):
        make()


@pytest.mark.parametrize("domain", [*COMPACT_OR_NOT, Box([1 / 3], [1e9 + 1 / 3]), Ball([0.1, 0.2], 1e-17)], ids=str)
def test_specifications_round_trip_to_the_last_bit(domain):
    assert parse_domain(format_domain(domain), domain.dim) == domain


@pytest.mark.parametrize(
    ("domain", "text"),
    [
        (Box([1e8], [1e8 + 1]), "[100000000, 100000001]"),
        (Box([-1e8], [1.5]), "[-1e+08, 1.5]"),
        (Box([0.1, 0.1], [0.3, 0.3]), "[0.1, 0.3]^2"),
        (Box([-1.7e308], [1.7e308]), "[-1.7e+308, 1.7e+308]"),
        (Box([1.0], [np.nextafter(1.0, 2.0)]), "[1, 1.0000000000000002]"),
    ],
)
def test_bounds_that_differ_are_written_differently(domain, text):
    assert str(domain) == text
