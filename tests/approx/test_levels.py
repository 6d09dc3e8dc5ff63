"""Bounds on level sets of one quantity, and the certificates made of them."""

import numpy as np
import pytest

import constructions
from approx import AffineMap, Ball, Box, Cover, certify, targets
from approx.certification._levels import by_levels
from approx.certification._quadratics import Level, LevelForm
from approx.certification._question import Question
from approx.certification.cells import Cells
from approx.certification.enclosures import enclosure_of

FUNCTIONS = [
    lambda x: np.exp(-np.square(x).sum(axis=1)),
    lambda x: np.cos(3 * np.linalg.norm(x, axis=1)),
    lambda x: (x[:, 0] + 2) * x[:, 1] - x[:, 0] ** 2 / 3,
    lambda x: np.tanh(x @ np.arange(1.0, x.shape[1] + 1)),
    lambda x: np.einsum("ki,ki->k", x, x - 0.5),
    lambda x: np.sqrt(4 + x[:, 0] ** 2 + x[:, 1] ** 2) * np.sin(x[:, 0]) - 2.5,
    lambda x: np.stack([x[:, 0], x[:, 1] * x[:, 0]], axis=1)[:, 1],
    lambda x: (x * x)[:, ::-1].sum(axis=1) ** 2,
    lambda x: np.hypot(x[:, 0], x[:, 1]) + 1 / (3 + np.maximum(x[:, 0], -1.5)),
]


def levels(seed, dim):
    rng = np.random.default_rng(seed)
    center, reach = rng.normal(size=dim), rng.uniform(0.3, 3.0, dim)
    if seed % 2:
        direction = rng.normal(size=dim)
        return Level(center, reach, direction=direction), lambda y: y @ direction
    matrix = rng.normal(size=(dim, dim)) + 2 * np.eye(dim) if seed % 4 else np.eye(dim)
    gram = matrix.T @ matrix
    gram = (gram + gram.T) / 2
    return Level(center, reach, gram=gram), lambda y: np.einsum("ki,ij,kj->k", y, gram, y)


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("function", FUNCTIONS)
def test_forms_hold_the_values_at_random_points_of_level_sets(function, seed):
    dim = 2 + seed % 3
    level, t = levels(seed, dim)
    rng = np.random.default_rng(seed + 100)
    y = rng.uniform(-1, 1, (400, dim)) * level.reach
    values = function(level.center + y)
    at = t(y)
    width = rng.choice([0.0, 1e-9, 1e-2, 1.0], 400)
    spare = 1e-14 * (1 + np.abs(at))  # t is computed, too
    found = function(LevelForm.variables(level, at - spare - width * rng.random(400), at + spare + width)).bounds
    noise = 1e-14 * (1 + np.abs(values))
    assert (found.lo <= values + noise).all() and (values - noise <= found.hi).all()


@pytest.mark.parametrize("dim", [2, 3, 10])
def test_the_range_of_a_radial_function_is_the_right_one(dim):
    level = Level(np.zeros(dim), np.full(dim, 30.0), gram=np.eye(dim))
    low, high = np.array([0.0, 1.0, 4.0]), np.array([0.5, 1.0, 9.0])
    found = np.exp(-np.square(LevelForm.variables(level, low, high)).sum(axis=1)).bounds
    assert found.lo == pytest.approx(np.exp(-high), rel=1e-9) and found.hi == pytest.approx(np.exp(-low), rel=1e-9)
    assert (found.lo <= np.exp(-high)).all() and (found.hi >= np.exp(-low)).all()


def test_what_cannot_be_followed_is_refused():
    level = Level(np.zeros(2), np.ones(2), gram=np.eye(2))
    x = LevelForm.variables(level, np.zeros(3), np.ones(3))
    with pytest.raises(TypeError, match=r"numpy.floor of level forms would be a data-dependent branch"):
        np.floor(x)
    with pytest.raises(TypeError, match=r"numpy.arcsinh is not known for level forms"):
        np.arcsinh(x)


def question(cover, target, error=0.0, displacement=0.0):
    box = target.domain
    return Question(Cells.of(cover, displacement), cover.values, cover.affine, error, enclosure_of(target), (box,), box)


def random_cover(rng, dim, kind):
    """Nested cells of about the same shape, each a little off."""
    count = int(rng.integers(1, 6))
    values, off = rng.normal(size=(count, 1)), 10.0 ** rng.uniform(-14, -5)
    affine = AffineMap.constant(rng.normal(size=1), dim)
    center = rng.uniform(-0.5, 0.5, dim)
    sizes = np.sort(rng.uniform(0.3, 3.0, count))
    if kind == "balls":
        return Cover(center + off * rng.normal(size=(count, dim)), values, affine, radii=sizes)
    matrix = rng.normal(size=(dim, dim)) + 2 * np.eye(dim)
    if kind == "slabs":
        matrix = np.vstack([rng.normal(size=(1, dim)), 1e-4 * np.eye(dim)[1:]])
        center = center + rng.uniform(-1, 1, (count, 1)) * matrix[0] / (matrix[0] @ matrix[0])
        affine = AffineMap(rng.normal() * matrix[:1], [0.3])
    shapes = matrix / sizes[:, None, None] * (1 + off * rng.normal(size=(count, 1, 1)))
    return Cover(np.broadcast_to(center, (count, dim)), values, affine, shapes=shapes)


@pytest.mark.parametrize("kind", ["balls", "ellipsoids", "slabs"])
@pytest.mark.parametrize("seed", range(25))
def test_no_point_errs_by_more_than_the_bound(kind, seed):
    rng = np.random.default_rng(seed)
    dim = int(rng.integers(2, 5))
    target = targets.from_numpy(FUNCTIONS[seed % 6], dim, domain=Box.cube(dim, 2.0), lipschitz=None)
    cover = random_cover(rng, dim, kind)
    found = by_levels(question(cover, target), None, 1e-4, 5.0)
    points = np.concatenate([target.domain.sample(20_000), target.domain.grid(9)])
    points = np.concatenate([points, target.domain.project(cover.boundary_points(4000)[0])])
    error = float(np.abs(cover(points) - target(points)).max())
    assert found is not None and error <= found.upper * (1 + 1e-12)


def test_the_bound_is_sharp_for_a_radial_target():
    target = targets.gaussian(dim=4)
    cover = Cover(np.zeros((2, 4)), [[0.9], [0.4]], AffineMap.constant([0.05], 4), radii=[0.5, 1.2])
    r = np.linspace(0, 6, 400_001)
    values = np.where(r < 0.5, 0.9, np.where(r < 1.2, 0.4, 0.05))
    truth = np.abs(values - np.exp(-r * r)).max()
    found = by_levels(question(cover, target), None, 1e-6, 5.0)
    assert truth <= found.upper + 1e-5 and found.upper <= truth + 1e-4


def test_cells_without_a_common_quantity_are_left_to_other_searches():
    target = targets.gaussian(dim=3)
    apart = Cover([[0.0, 0, 0], [0.1, 0, 0]], [[1.0], [0.5]], target.affine, radii=[0.5, 1.0])
    assert by_levels(question(apart, target), 0.1, None, 5.0) is None
    slanted = Cover([[0.0, 0, 0]], [[1.0]], AffineMap([[0.1, 0.0, 0.0]], [0.0]), radii=[0.5])
    found = by_levels(question(slanted, target), None, 1e-3, 5.0)
    assert found.upper >= 0.3  # what the slope may add at the corners


@pytest.mark.parametrize("dim", [3, 6, 10])
def test_eight_nested_balls_are_certified_on_all_of_space(dim):
    proof = constructions.build(targets.gaussian(dim=dim), 0.06, samples=4000).report
    assert proof.claim == "certified" and proof.proves(0.06) and proof.network.hidden_layers == 8
    assert any("intervals of one quantity" in line for line in proof.rests_on)


@pytest.mark.parametrize("builder", ["constant_width", "narrow"])
def test_slabs_and_balls_on_a_ball(builder):
    ball = Ball(np.zeros(3), 3.0)
    for target in (targets.ridge(dim=3, domain=ball), targets.cone(dim=3, domain=ball)):
        built = constructions.build(target, 0.15, builder=builder, domain=ball, samples=4000)
        assert built.cover.strategy.startswith("nested") and built.report.proves(0.15)


def test_a_changed_value_is_refuted():
    built = constructions.build(targets.gaussian(dim=6), 0.1, verify=False)
    import torch

    with torch.no_grad():
        built.network.blocks[-1].bias += 0.2
    report = certify(built.network, built.target, built.target.domain, eps=0.1)
    assert report.refutes(0.1) and not report.proves(0.1)
