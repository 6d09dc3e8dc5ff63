"""compare_with_cover and captured, on Theorem 5 networks written out from the page."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from approx.activations import StepReLU
from approx.affine import AffineMap
from approx.covers import Cover
from approx.domains import Box
from approx.evaluation import captured, compare_with_cover, sup_error
from approx.networks import Dense, Growing, RadialNetwork, Stack
from approx.targets import Target

CELLS = 40
HEIGHT = np.sqrt(0.5)


def shapes_of(cover):
    return cover.matrices * HEIGHT


def theorem_5(cover, dtype=torch.float64):
    """The network of width n + m + 1: z = (x, y, t), layer i = T_i S_{i-1}, with the matrices multiplied out."""
    n, m = cover.dim_in, cover.dim_out
    rest = n + m + 1
    step = (
        min((np.linalg.norm(a - b) for a in cover.values for b in cover.values if (a != b).any()), default=1.0) / 2
    )  # half the smallest distance between values
    marks = (cover.values - cover.affine.offset) / step
    weight, bias = np.eye(rest)[:, :n], np.zeros(rest)
    weights, biases = [], []
    for center, shape, mark in zip(cover.centers, shapes_of(cover), marks, strict=True):
        into, into_bias = np.eye(rest), np.zeros(rest)
        into[:n, :n], into[:n, -1], into_bias[:n] = shape, shape @ center, -shape @ center
        into[n:-1, -1], into[-1, -1], into_bias[-1] = -mark, -HEIGHT, HEIGHT
        weights.append(into @ weight)
        biases.append(into @ bias + into_bias)
        weight, bias = np.eye(rest), np.zeros(rest)
        weight[:n, :n], weight[:n, -1] = np.linalg.inv(shape), center / HEIGHT
        weight[n:-1, -1], bias[n:-1] = -mark / HEIGHT, mark
        weight[-1, -1], bias[-1] = -1 / HEIGHT, 1
    readout = np.hstack([cover.affine.matrix, step * np.eye(m), np.zeros((m, 1))])
    blocks = [
        Dense(torch.tensor(weights[0]), torch.tensor(biases[0]), StepReLU()),
        Stack(torch.tensor(np.array(weights[1:])), torch.tensor(np.array(biases[1:])), StepReLU()),
        Dense(torch.tensor(readout @ weight), torch.tensor(readout @ bias + cover.affine.offset)),
    ]
    return RadialNetwork(blocks).to(dtype)


def random_cover(kind="balls", dim=2, seed=0):
    rng = np.random.default_rng(seed)
    centers = rng.uniform(-1, 1, (CELLS, dim))
    values = rng.integers(-8, 8, (CELLS, 2)) / 8.0
    affine = AffineMap(rng.standard_normal((2, dim)), rng.standard_normal(2))
    if kind == "balls":
        return Cover(centers, values, affine, radii=rng.uniform(0.1, 0.4, CELLS))
    shapes = rng.standard_normal((CELLS, dim, dim)) + 4 * np.eye(dim)
    return Cover(centers, values, affine, shapes=shapes)


def first_cell(cover, x):
    held = [np.linalg.norm((x - c) @ a.T, axis=1) < 1 for c, a in zip(cover.centers, cover.matrices, strict=True)]
    held = np.array(held)
    return np.where(held.any(axis=0), held.argmax(axis=0), -1)


POINTS = Box.cube(2, 1.5).sample(3000, 1)


@pytest.mark.parametrize("kind", ["balls", "ellipsoids"])
def test_a_correct_network_agrees(kind):
    cover = random_cover(kind)
    result = compare_with_cover(theorem_5(cover), cover, POINTS)
    assert result.agrees and result.mismatches == 0
    assert result.points == 3000 and result.decided == 3000
    assert 0 < result.worst <= result.tolerance < 1e-11


def test_single_precision_has_a_wider_tolerance():
    cover = random_cover()
    points = np.concatenate([POINTS, cover.boundary_points(100, 0)[0]])
    result = compare_with_cover(theorem_5(cover, torch.float32), cover, points)
    assert result.agrees and 2900 < result.decided < 3100
    assert 1e-8 < result.worst <= result.tolerance < 1e-2


def test_one_wrong_value_is_found():
    cover = random_cover()
    values = cover.values.copy()
    wrong = int(np.bincount(first_cell(cover, POINTS) + 1)[1:].argmax())
    values[wrong] += 1e-6
    told = Cover(cover.centers, values, cover.affine, radii=cover.radii)
    result = compare_with_cover(theorem_5(cover), told, POINTS)
    assert not result.agrees
    assert result.mismatches == (first_cell(cover, POINTS) == wrong).sum() > 0
    assert first_cell(cover, result.example[None]) == wrong
    assert result.worst == pytest.approx(np.sqrt(2) * 1e-6, rel=1e-6)


def test_the_collar_decides_which_points_count():
    cover = Cover([[0.0], [1.0]], [[1.0], [2.0]], AffineMap.constant([0.0], 1), radii=[0.5, 0.6])
    network = theorem_5(cover)
    points = np.array([[0.0], [0.45], [0.499], [0.501], [0.55], [1.0], [1.599], [1.65], [1e7]])
    rounding = SimpleNamespace(collar=lambda radius: 0.01 if radius < 10 else 1e-6 * radius)
    result = compare_with_cover(network, cover, points, rounding)
    # 0.499 and 0.501 lie at the edge of the first cell, 1.599 at that of the second.
    assert (result.points, result.decided, result.mismatches) == (9, 6, 0)
    wide = SimpleNamespace(collar=lambda radius: 0.7)
    assert compare_with_cover(network, cover, points[:8], wide).decided == 0
    assert not compare_with_cover(network, cover, points[:8], wide).agrees
    assert compare_with_cover(network, cover, points[:8], wide).example is None


def test_the_collar_of_an_ellipsoid_covers_the_whole_collar():
    shape = np.array([[0.1, 0.0], [0.0, 1.0]])
    cover = Cover([[0.0, 0.0]], [[1.0]], AffineMap.constant([0.0], 2), shapes=shape[None])
    network = RadialNetwork(
        [Dense(torch.tensor(np.zeros((1, 2))), torch.tensor(np.zeros(1)))]
    )  # wrong inside: 0 instead of 1
    turns = np.linspace(0, 2 * np.pi, 100)
    rim = np.stack([10 * np.cos(turns), np.sin(turns)], axis=1)
    normal = np.stack([np.cos(turns) / 10, np.sin(turns)], axis=1)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    rounding = SimpleNamespace(collar=lambda radius: 0.05)
    assert compare_with_cover(network, cover, rim - 0.049 * normal, rounding).decided == 0
    assert compare_with_cover(network, cover, rim + 0.049 * normal, rounding).decided == 0
    assert compare_with_cover(network, cover, rim * 0.9, rounding).mismatches == 100


@pytest.mark.parametrize(("dim", "match"), [(3, "a cover R\\^3 -> R\\^2; required R\\^2 -> R\\^2")])
def test_a_cover_of_another_dimension(dim, match):
    with pytest.raises(ValueError, match=match):
        compare_with_cover(theorem_5(random_cover()), random_cover(dim=dim), POINTS)


@pytest.mark.parametrize("call", [lambda net, x: compare_with_cover(net, random_cover(), x), captured])
def test_points_of_another_dimension(call):
    with pytest.raises(ValueError, match=r"points of shape \(5, 3\); required shape \(\*, 2\)"):
        call(theorem_5(random_cover()), np.zeros((5, 3)))


@pytest.mark.parametrize("call", [lambda net, x: compare_with_cover(net, random_cover(), x), captured])
def test_points_that_are_not_finite(call):
    with pytest.raises(ValueError, match=r"points\[0, 1\] = inf; required finite numbers"):
        call(theorem_5(random_cover()), [[0.0, np.inf]])


def test_a_far_point_does_not_loosen_the_tolerance_of_the_others():
    cover = random_cover()
    shifted = Cover(cover.centers, cover.values + 1e-9, cover.affine, radii=cover.radii)
    points = np.concatenate([POINTS, [[1e9, 0.0]]])
    assert compare_with_cover(theorem_5(cover), shifted, points).mismatches == (first_cell(cover, POINTS) >= 0).sum()


@pytest.mark.parametrize("kind", ["balls", "ellipsoids"])
def test_layers_capture_their_cells(kind):
    cover = random_cover(kind)
    assert (captured(theorem_5(cover), POINTS) == first_cell(cover, POINTS)).all()


def test_captured_without_points_or_activations():
    assert captured(theorem_5(random_cover()), np.empty((0, 2))).shape == (0,)
    linear = RadialNetwork([Dense(torch.zeros(1, 2), torch.zeros(1))])
    assert captured(linear, POINTS[:4]).tolist() == [-1] * 4


def growing_network(last):
    """Growing layers between dense ones; `last` decides whether an activated layer follows them."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    isometries = torch.linalg.qr(draw(12, 3, 2))[0]
    blocks = [
        Dense(draw(3, 2), draw(3), StepReLU()),
        Growing(isometries, 0.1 * draw(12, 3), StepReLU()),
        *([Dense(0.2 * draw(4, 15), 0.2 * draw(4), StepReLU())] if last else []),
        Dense(draw(1, 4 if last else 15), draw(1)),
    ]
    return RadialNetwork(blocks)


@pytest.mark.parametrize("last", [False, True])
def test_captured_in_growing_layers(last):
    network = growing_network(last)
    expected = np.full(len(POINTS), -1)
    state = POINTS
    for index, (weight, bias, activation) in enumerate(network.layers()):
        state = state @ weight.numpy().T + bias.numpy()
        if activation is not None:
            state[(state**2).sum(axis=1) < 1] = 0
            expected[(expected < 0) & (state == 0).all(axis=1)] = index
    assert len(set(expected)) > 4
    assert (captured(network, POINTS) == expected).all()


def test_sup_error_of_a_network_is_that_of_its_cover():
    cover = random_cover()
    target = Target(
        fn=lambda x: np.stack([np.sin(x[:, 0]), x[:, 1] ** 2], axis=1), dim_in=2, dim_out=2, domain=Box.cube(2, 1.0)
    )
    of_network = sup_error(theorem_5(cover), target, cover=cover, samples=3000)
    of_cover = sup_error(cover, target, samples=3000)
    assert of_network.lower == pytest.approx(of_cover.lower, rel=1e-12)
    assert of_network.samples == of_cover.samples and of_network.boundary_pairs > 0
