"""sup_error against functions whose sup error is known exactly, or found by brute force."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

import approx.evaluation._subject as subject_module
from approx.activations import StepReLU
from approx.affine import AffineMap
from approx.covers import Cover
from approx.domains import Ball, Box, WholeSpace
from approx.evaluation import sup_error
from approx.evaluation._search import _to_rim
from approx.networks import Dense, RadialNetwork
from approx.targets import Target


def make_target(fn, domain, **facts):
    return Target(fn=fn, dim_in=domain.dim, domain=domain, **facts)


def constant(value, dim):
    return AffineMap.constant(np.atleast_1d(value), dim)


IDENTITY = make_target(lambda x: x[:, 0], Box([0.0], [1.0]))


def test_two_cells_on_a_line():
    # First cell (-0.1, 0.5) with value 0.15: the error tends to 0.35 at 0.5 from the left and is never 0.35.
    cover = Cover([[0.2], [0.75]], [[0.15], [0.75]], constant(0.0, 1), radii=[0.3, 0.3])
    report = sup_error(cover, IDENTITY, samples=500)
    assert 0.35 - 1e-8 < report.lower < 0.35
    assert 0.5 - 1e-8 < report.argmax[0] < 0.5
    assert report.network_value == pytest.approx([0.15]) and report.target_value == report.argmax
    assert report.upper is None and report.claim == "sampled"


def test_the_open_side_of_a_boundary_is_seen():
    # Almost all samples see |F - f| = 0; the spike of f lies at the rim of the cell, narrower than any sampling.
    edge, width = 1 / np.pi, 1e-7
    spike = make_target(lambda x: np.maximum(0.0, 1 - np.abs(x[:, 0] - edge) / width), Box([-1.0], [1.0]))
    cover = Cover([[0.0]], [[0.001]], constant(0.0, 1), radii=[edge])
    assert sup_error(lambda x: cover(x), spike, samples=500).lower < 0.01
    assert sup_error(cover, spike, samples=500, optimize=False).lower == pytest.approx(1.0, abs=0.02)


def test_a_tiny_cell_is_found_through_its_cover():
    cover = Cover([[0.3, 0.4]], [[7.0]], constant(0.0, 2), radii=[1e-9])
    zero = make_target(lambda x: 0 * x[:, 0], Box.cube(2, 1.0))
    assert sup_error(cover, zero, samples=200).lower == 7.0
    assert sup_error(lambda x: cover(x), zero, samples=200).lower == 0.0


def test_vector_values_use_the_euclidean_norm():
    line = make_target(lambda x: np.concatenate([x, 2 * x], axis=1), Box([0.0], [1.0]), dim_out=2)
    report = sup_error(lambda x: np.tile([0.5, 1.0], (len(x), 1)), line, samples=100)
    assert report.lower == pytest.approx(np.sqrt(5) / 2, rel=1e-15)
    assert report.argmax[0] in (0.0, 1.0)


def test_ball_domain():
    target = make_target(lambda x: x[:, 0], Ball([1.0, 0.0], 2.0))
    report = sup_error(lambda x: np.zeros(len(x)), target, samples=500)
    assert 3 - 1e-6 < report.lower <= 3
    assert target.domain.contains(report.argmax)


def test_rms_of_a_known_error():
    report = sup_error(lambda x: np.full(len(x), 0.5), IDENTITY, samples=4096)
    assert report.rms == pytest.approx(np.sqrt(1 / 12), rel=1e-4)


BUMP = make_target(
    lambda x: 2 * x[:, 0] + 1 + 1 / (1 + x[:, 0] ** 2),
    Box([-3.0], [3.0]),
    affine=AffineMap([[2.0]], [1.0]),
    tail=lambda radius: 1 / (1 + radius**2),
)


def test_whole_line_with_an_affine_part():
    line = AffineMap([[2.0]], [1.0])
    empty = Cover(np.empty((0, 1)), np.empty((0, 1)), line, radii=np.empty(0))
    for subject in (line, empty):
        report = sup_error(subject, BUMP, WholeSpace(1), samples=2000)
        assert report.lower == pytest.approx(1.0, abs=1e-9) and report.lower <= 1.0 + 1e-15
        assert report.rms is None and report.reach == 1e6
        assert report.tail == pytest.approx(1e-12)


def test_whole_space_looks_far_out():
    tilted = AffineMap([[2.0 + 1e-5]], [1.0])
    near = sup_error(tilted, BUMP, WholeSpace(1), samples=2000, reach=100.0)
    far = sup_error(tilted, BUMP, WholeSpace(1), samples=2000)
    assert near.lower == pytest.approx(1.0, abs=1e-3)
    assert 9.99 < far.lower <= 10.01 and abs(far.argmax[0]) > 0.99e6


def test_whole_space_looks_at_cells_beyond_the_targets_domain():
    cover = Cover([[50.0, 0.0]], [[3.0]], constant(0.0, 2), radii=[1e-3])
    zero = make_target(lambda x: 0 * x[:, 0], Box.cube(2, 1.0), affine=constant(0.0, 2), tail=lambda radius: 0.0)
    assert sup_error(cover, zero, WholeSpace(2), samples=500).lower == 3.0


def test_climbing_reaches_the_top_and_never_passes_it():
    rng = np.random.default_rng(0)
    for dim in (1, 2, 3, 6):
        peak = rng.uniform(-1, 1, dim)
        target = make_target(lambda x, peak=peak: 1 - ((x - peak) ** 2).sum(axis=1), Box.cube(dim, 1.0))
        args = (lambda x: np.zeros(len(x)), target)
        # f lies between 1 - 4 dim and 1; the farthest corner is the worst point as soon as dim >= 2.
        worst = max(1.0, ((1 + np.abs(peak)) ** 2).sum() - 1)
        plain = sup_error(*args, samples=64, optimize=False)
        climbed = sup_error(*args, samples=64)
        assert plain.lower <= climbed.lower <= worst * (1 + 1e-15)
        assert climbed.lower == pytest.approx(worst, rel=1e-9)


def test_climbing_inside_the_domain_without_a_cover():
    target = make_target(lambda x: np.exp(-50 * ((x - 0.123) ** 2).sum(axis=1)), Box.cube(2, 1.0))
    plain = sup_error(lambda x: np.zeros(len(x)), target, samples=64, optimize=False)
    climbed = sup_error(lambda x: np.zeros(len(x)), target, samples=64)
    assert plain.lower < 0.999
    assert 1 - 1e-12 < climbed.lower <= 1.0


def test_climbing_follows_the_rim_of_a_cell():
    # On a disc with f linear the error |f - f(c)| tends to radius * slope at one point of the rim.
    slope = np.array([0.6, -0.8])
    target = make_target(lambda x: x @ slope, Box.cube(2, 3.0))
    cover = Cover([[0.5, 0.25]], [[0.1]], AffineMap(slope[None], [0.0]), radii=[2.0])
    report = sup_error(cover, target, samples=200)
    assert 2 - 1e-7 < report.lower < 2


def test_climbing_ends_at_the_vertex_of_a_piece():
    # The second disc shows only outside the first; there max(x_1, 0) is largest where the circles meet.
    target = make_target(lambda x: np.clip(x[:, 0], 0.0, 0.6), Box.cube(2, 1.0))
    cover = Cover([[1.0, 0.0], [0.0, 0.0]], [[0.3], [0.0]], constant(0.3, 2), radii=[1.0, 1.0])
    report = sup_error(cover, target, samples=500)
    assert 0.5 - 1e-7 < report.lower < 0.5
    assert np.abs(report.argmax) == pytest.approx([0.5, np.sqrt(0.75)], abs=1e-6)


def test_boundaries_are_found_when_cells_are_far_longer_than_the_domain():
    # Slabs: nearly all of their boundary lies outside the domain.
    along = np.array([0.6, 0.8])
    shape = np.diag([10.0, 1e-6]) @ np.array([[0.6, 0.8], [-0.8, 0.6]])
    levels = np.linspace(-2, 2, 25)
    cover = Cover(levels[:, None] * along, levels[:, None], constant(0.0, 2), shapes=np.repeat(shape[None], 25, axis=0))
    target = make_target(lambda x: x @ along, Box.cube(2, 1.0))
    report = sup_error(cover, target, samples=500)
    assert report.boundary_pairs > 20
    assert 0.1 - 1e-8 < report.lower < 0.1


def test_every_cell_has_boundary_points(monkeypatch):
    monkeypatch.setattr(subject_module, "_CHUNK", 16)
    seen = []

    def subject(x):
        seen.append(x.copy())
        return np.zeros(len(x))

    centers = np.linspace(0.05, 0.95, 30)
    cover = Cover(centers[:, None], np.ones((30, 1)), constant(0.0, 1), radii=np.full(30, 0.0101))
    sup_error(subject, IDENTITY, cover=cover, samples=200, optimize=False)
    rims = np.abs(np.abs(np.concatenate(seen) - centers) - 0.0101)
    assert (rims.min(axis=0) < 1.01e-9).all()


def test_trial_steps_go_to_the_rim_of_their_piece():
    cover = Cover([[1.0, 0.0], [0.0, 0.0]], [[1.0], [2.0]], constant(0.0, 2), radii=[1.0, 1.0])
    trials = np.array([[[-2.0, 0.0], [0.4, 0.0], [-0.5, 0.5], [3.0, 4.0]]])
    moved = _to_rim(cover, np.array([[-0.5, 0.0]]), trials, lambda x: np.full(len(x), 1e-3))[0]
    # Out of the second disc: pulled back. Into the first, earlier disc: pushed out of it. Inside: left alone.
    assert moved == pytest.approx(np.array([[-0.999, 0.0], [-0.001, 0.0], [-0.5, 0.5], [0.5994, 0.7992]]), abs=1e-12)
    outside = _to_rim(cover, np.array([[0.5, 2.0]]), trials[:, :3], lambda x: np.full(len(x), 1e-3))[0]
    assert np.linalg.norm(outside[2]) == pytest.approx(1.001)


def first_match(x, centers, shapes, values, background):
    for center, shape, value in zip(centers, shapes, values, strict=True):
        if np.linalg.norm(shape @ (x - center)) < 1:
            return value
    return background


@pytest.mark.parametrize("seed", range(3))
def test_random_ellipsoids_against_brute_force(seed):
    rng = np.random.default_rng(seed)
    centers, values = rng.uniform(-1, 1, (12, 2)), rng.uniform(-1, 1, (12, 1))
    shapes = rng.standard_normal((12, 2, 2)) * 2
    cover = Cover(centers, values, constant(0.2, 2), shapes=shapes)
    target = make_target(lambda x: np.sin(3 * x[:, 0]) * x[:, 1], Box.cube(2, 1.0))
    report = sup_error(cover, target, samples=4000, seed=seed)
    grid = Box.cube(2, 1.0).grid(101)
    brute = [first_match(x, centers, shapes, values[:, 0], 0.2) for x in grid]
    assert report.lower >= np.abs(brute - target(grid)[:, 0]).max()
    at_worst = first_match(report.argmax, centers, shapes, values[:, 0], 0.2)
    assert report.lower == abs(at_worst - target(report.argmax)[0])
    assert target.domain.contains(report.argmax)


def test_the_seed_decides_everything():
    def run(seed, **options):
        report = sup_error(lambda x: np.zeros(len(x)), IDENTITY, Box([0.1], [0.9]), samples=100, seed=seed, **options)
        return report.lower, report.argmax.tobytes(), report.rms, report.samples

    assert run(3) == run(3)
    assert run(3, optimize=False)[2] != run(4, optimize=False)[2]


def test_memory_is_bounded_by_the_chunk(monkeypatch):
    sizes = []

    def subject(x):
        sizes.append(len(x))
        return np.zeros(len(x))

    sup_error(subject, IDENTITY, samples=70_000)
    assert max(sizes) <= 65536
    assert sum(sizes) >= 70_000
    monkeypatch.setattr(subject_module, "_CHUNK", 64)
    sizes.clear()
    cover = Cover([[0.25], [0.75]], [[0.25], [0.75]], constant(0.0, 1), radii=[0.26, 0.26])
    report = sup_error(subject, IDENTITY, cover=cover, samples=1000)
    assert max(sizes) <= 64 and report.samples == sum(sizes)


def test_chunks_shrink_for_wide_networks():
    width = 1 << 15
    layers = [Dense(torch.zeros(width, 1), torch.zeros(width)), Dense(torch.zeros(1, width), torch.zeros(1))]
    assert subject_module.chunk_size(RadialNetwork(layers), 1, 1) == 64


def test_both_sides_are_two_collars_away():
    seen = []

    def subject(x):
        seen.append(x.copy())
        return np.zeros(len(x))

    cover = Cover([[0.0]], [[1.0]], constant(0.0, 1), radii=[0.5])
    rounding = SimpleNamespace(collar=lambda radius: 1e-5 * radius)
    report = sup_error(subject, IDENTITY, cover=cover, rounding=rounding, samples=100, optimize=False)
    distances = np.concatenate(seen)[:, 0] - 0.5
    assert report.boundary_pairs > 0
    assert np.isclose(distances, 2e-5, rtol=1e-6, atol=0).sum() == report.boundary_pairs
    assert np.isclose(distances, -2e-5, rtol=1e-6, atol=0).sum() == report.boundary_pairs


def test_boundaries_are_seen_in_single_precision():
    # F = 0 for |x| < 1 and x / 100 elsewhere; single precision cannot tell 1 - 1e-9 from 1, and would see only 0.99.
    network = RadialNetwork(
        [Dense(torch.eye(1), torch.zeros(1), StepReLU()), Dense(torch.eye(1) / 100, torch.zeros(1))]
    )
    cover = Cover([[0.0]], [[0.0]], AffineMap([[0.01]], [0.0]), radii=[1.0])
    spike = make_target(lambda x: np.maximum(0.0, 1 - np.abs(x[:, 0] - 1) / 1e-4), Box([-2.0], [2.0]))
    report = sup_error(network, spike, samples=50, cover=cover, optimize=False)
    assert 0.992 < report.lower < 1.0


def test_a_construction_brings_its_own_pieces():
    cover = Cover([[0.2], [0.75]], [[0.15], [0.75]], constant(0.0, 1), radii=[0.3, 0.3])
    built = SimpleNamespace(
        network=lambda x: cover(x), cover=cover, target=IDENTITY, domain=Box([0.0], [0.9]), rounding=None, eps=0.2
    )
    report = sup_error(built, samples=300)
    assert report.eps == 0.2 and report.domain == built.domain and report.boundary_pairs > 0
    assert "refuted" in repr(report)
    assert sup_error(built, samples=300, domain=Box([0.6], [0.8])).lower == pytest.approx(0.15)


def test_progress_is_shown_on_demand(capfd):
    sup_error(IDENTITY, IDENTITY, samples=10)
    assert capfd.readouterr().err == ""
    sup_error(IDENTITY, IDENTITY, samples=10, progress=True)
    assert "sup_error" in capfd.readouterr().err


def zeros(x):
    return np.zeros(len(x))


SPACE_WITHOUT_AFFINE = "domain R\\^1 and the target 'f' without affine part.*affine= and tail="


@pytest.mark.parametrize(
    ("arguments", "options", "error", "match"),
    [
        ((zeros, np.sin), {}, TypeError, "target = <ufunc 'sin'>; required a Target"),
        ((zeros,), {}, TypeError, "target = None; required a Target"),
        ((zeros, IDENTITY, Box.cube(2, 1.0)), {}, ValueError, "required a Box, Ball or WholeSpace of dimension 1"),
        ((zeros, IDENTITY, "box"), {}, ValueError, "domain = 'box'"),
        ((zeros, IDENTITY, WholeSpace(1)), {}, ValueError, SPACE_WITHOUT_AFFINE),
        ((zeros, IDENTITY), {"samples": 0}, ValueError, "samples = 0; required 1 <= samples"),
        ((zeros, IDENTITY), {"samples": 1e6}, TypeError, "samples = 1000000.0; required an integer"),
        ((zeros, IDENTITY), {"seed": -1}, ValueError, "seed = -1"),
        ((zeros, BUMP, WholeSpace(1)), {"reach": np.inf}, ValueError, "reach = inf"),
        ((zeros, BUMP, WholeSpace(1)), {"reach": -1.0}, ValueError, "reach = -1.0; required reach > 0"),
        ((3.0, IDENTITY), {}, TypeError, "subject = 3.0; required a RadialNetwork"),
        ((lambda x: np.zeros((len(x), 2)), IDENTITY), {}, ValueError, "values of shape .*, 2.* required shape"),
        ((lambda x: 0.0, IDENTITY), {}, ValueError, "values of shape \\(\\)"),
        ((lambda x: ["a"] * len(x), IDENTITY), {}, TypeError, "required an array of real numbers"),
        (
            (lambda x: np.where(x > 0.5, np.nan, 0.0), IDENTITY),
            {},
            ValueError,
            r"= \[nan\] at x = \[0\.[5-9]\d*\]; required finite values",
        ),
        ((lambda x: np.full(len(x), np.inf), IDENTITY), {}, ValueError, r"= \[inf\] at x = \["),
        ((zeros, make_target(lambda x: np.log(x[:, 0]), Box([-1.0], [1.0]))), {}, ValueError, r"f\(\[-0\."),
        (
            (zeros, IDENTITY),
            {"cover": Cover([[0.0, 0.0]], [[0.0]], constant(0.0, 2), radii=[1.0])},
            ValueError,
            "a cover R\\^2 -> R\\^1; required R\\^1 -> R\\^1",
        ),
        (
            (RadialNetwork([Dense(torch.eye(2), torch.zeros(2))]), IDENTITY),
            {},
            ValueError,
            "a network R\\^2 -> R\\^2; required R\\^1 -> R\\^1",
        ),
        (
            (zeros, IDENTITY),
            {"rounding": SimpleNamespace(collar=lambda radius: float("nan"))},
            ValueError,
            "rounding.collar",
        ),
    ],
)
def test_bad_arguments(arguments, options, error, match):
    with pytest.raises(error, match=match):
        sup_error(*arguments, **{"samples": 100, **options})


@pytest.mark.parametrize("tail", [lambda radius: 0.5 / (1 + radius**2), lambda radius: float("nan")])
def test_a_false_tail_is_refuted_at_a_point(tail):
    false = make_target(BUMP.fn, BUMP.domain, affine=BUMP.affine, tail=tail)
    with pytest.raises(ValueError, match=r"(\|f - L\| = .* at x = \[.*tail\()|(target.tail\(reach\) = nan)"):
        sup_error(BUMP.affine, false, WholeSpace(1), samples=500)


def test_a_true_tail_survives_rounding_far_out():
    assert sup_error(BUMP.affine, BUMP, WholeSpace(1), samples=5000, reach=1e12).lower <= 1.0 + 1e-3


def test_the_engine_can_be_chosen():
    weight, bias = torch.tensor([[2.0]]).double(), torch.zeros(1).double()
    network = RadialNetwork([Dense(weight, bias, StepReLU()), Dense(weight / 4, bias)])  # x for x >= 1/2, else 0
    for engine in ("compiled", "torch"):
        report = sup_error(network, IDENTITY, samples=2000, engine=engine)
        assert 0.49 < report.lower < 0.5
    with pytest.raises(ValueError, match="engine = 'fast'; required one of auto"):
        sup_error(network, IDENTITY, samples=10, engine="fast")
    with pytest.raises(ValueError, match="engine='compiled'"):
        sup_error(network.requires_grad_(True).to(torch.float16), IDENTITY, samples=10, engine="compiled")
