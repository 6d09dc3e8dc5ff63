"""Moves are replayed literally: every point strictly inside the ball jumps to its centre, all others stay."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from constructions._moves import Routing, route


def replay(points, routing):
    """Final positions, and the smallest | |z - q| - R | over all moves and points, relative to the coordinates."""
    places = points.copy()
    margin = np.inf
    for center, radius in zip(routing.centers, routing.radii, strict=True):
        distance = np.linalg.norm(places - center, axis=1)
        margin = min(margin, np.abs(distance - radius)[distance > 0].min(initial=np.inf))
        places[distance < radius] = center
    return places, margin / max(1.0, np.abs(routing.centers).max(initial=0.0))


def read(places, routing, m):
    return routing.scale * places[:, :m] + routing.shift


def replay_exactly(points, routing):
    places = [tuple(map(Fraction, p)) for p in points.tolist()]
    for center, radius in zip(routing.centers.tolist(), routing.radii.tolist(), strict=True):
        q, r = tuple(map(Fraction, center)), Fraction(radius)
        places = [q if sum((a - b) ** 2 for a, b in zip(p, q, strict=True)) < r * r else p for p in places]
    return places


def hexagonal(count):
    side = round(count**0.5)
    i, j = np.meshgrid(np.arange(side), np.arange(side))
    return np.stack([i.ravel() + 0.5 * (j.ravel() % 2), j.ravel() * 0.75**0.5], axis=1) * 6 / side - 3


def tree(seed, dim):
    """Centres of cubes of very different sizes: a unit cube halved at random near one corner."""
    rng = np.random.default_rng(seed)
    centers, corner, side = [], np.zeros(dim), 1.0
    for _ in range(10):
        side /= 2
        parts = np.stack(np.meshgrid(*[[0, 1]] * dim, indexing="ij"), axis=-1).reshape(-1, dim)
        split = rng.integers(len(parts))
        centers += [corner + side * (part + 0.5) for k, part in enumerate(parts) if k != split]
        corner = corner + side * parts[split]
    return np.array(centers)


@pytest.mark.parametrize("m", [1, 2])
@pytest.mark.parametrize("count", [1, 2, 9, 400])
def test_lattice_values_arrive(count, m):
    points = hexagonal(count)
    values = np.round(20 * np.stack([np.exp(-(points**2).sum(axis=1)), points[:, 1]], axis=1)[:, :m]).astype(np.int64)
    routing = route(points, values)
    places, margin = replay(points, routing)
    assert np.abs(read(places, routing, m) - values).max() < 1e-9
    assert margin > 1e-10


def test_moves_per_point_are_logarithmic():
    points = hexagonal(2500)
    values = np.round(300 * np.exp(-(points**2).sum(axis=1))).astype(np.int64)[:, None]
    assert len(route(points, values).radii) <= (4 + np.log2(2 * 300)) * len(points)
    both = np.round(100 * points).astype(np.int64)
    assert len(route(points, both).radii) <= 2 * (4 + np.log2(2 * 2500)) * len(points)


@pytest.mark.parametrize(("dim", "m"), [(2, 1), (2, 2), (3, 1), (3, 2), (3, 3)])
@pytest.mark.parametrize("make", [tree, lambda seed, dim: np.random.default_rng(seed).normal(size=(60, dim))])
def test_clouds_of_any_kind(make, dim, m):
    points = make(3, dim)
    values = np.random.default_rng(1).integers(-9, 9, (len(points), m))
    routing = route(points, values)
    places, margin = replay(points, routing)
    assert np.abs(read(places, routing, m) - values).max() < 1e-9
    assert margin > 1e-11


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("m", [1, 2])
def test_points_on_one_line(axis, m):
    points = np.zeros((80, 2))
    points[:, axis] = np.linspace(-1, 1, 80)
    values = np.stack([np.arange(80) % 7, np.arange(80) % 5], axis=1)[:, :m]
    routing = route(points, values)
    assert np.abs(read(replay(points, routing)[0], routing, m) - values).max() < 1e-9


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_exact_replay_of_small_clouds(data):
    dim = data.draw(st.integers(2, 3))
    m = data.draw(st.integers(1, dim))
    cells = st.tuples(*[st.integers(-4, 4)] * dim)
    points = np.array(data.draw(st.lists(cells, min_size=1, max_size=7, unique=True)), dtype=float)
    values = np.array(data.draw(st.lists(st.tuples(*[st.integers(-3, 3)] * m), min_size=len(points),
                                         max_size=len(points))))  # fmt: skip
    routing = route(points, values)
    scale, shift = Fraction(routing.scale), [Fraction(s) for s in routing.shift.tolist()]
    for place, value in zip(replay_exactly(points, routing), values.tolist(), strict=True):
        found = [scale * z + s for z, s in zip(place, shift, strict=False)]
        assert max(abs(a - b) for a, b in zip(found, value, strict=True)) < Fraction(1, 10**9)


def test_equal_values_need_no_moves():
    routing = route(np.array([[0.0, 0.0], [1.0, 2.0]]), np.array([[5], [5]]))
    assert isinstance(routing, Routing) and len(routing.radii) == 0
    assert read(np.zeros((1, 2)), routing, 1) == 5


def test_repeated_points_of_one_value_are_one_point():
    points = np.array([[0.0, 0.0], [0.0, 0.0], [1.0, 0.0]])
    routing = route(points, np.array([[1], [1], [2]]))
    assert np.abs(read(replay(points, routing)[0], routing, 1).ravel() - [1, 1, 2]).max() < 1e-12


@pytest.mark.parametrize(
    ("points", "values", "match"),
    [
        ([[0.0], [1.0]], [[1], [2]], "monotonically"),
        ([[0.0, 0.0], [1.0, 1.0]], [[1, 2, 3], [4, 5, 6]], "m <= D"),
        ([[0.0, 0.0], [0.0, 0.0]], [[1], [2]], "several values at the point"),
        ([[0.0, np.nan], [1.0, 1.0]], [[1], [2]], "finite numbers"),
        ([[0.0, 0.0], [1e-13, 0.0], [1.0, 1.0]], [[1], [2], [3]], "points as close as"),
    ],
)
def test_what_cannot_be_routed(points, values, match):
    with pytest.raises(ValueError, match=match):
        route(np.array(points), np.array(values))


def test_same_input_same_moves():
    points = hexagonal(100)
    values = np.arange(100)[:, None] % 13
    first, second = route(points, values), route(points, values)
    assert np.array_equal(first.centers, second.centers) and np.array_equal(first.radii, second.radii)
