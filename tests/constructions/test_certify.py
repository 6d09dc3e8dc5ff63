"""Certificates of built networks: every bound against sampling, every refusal, and claims that are named as such."""

import math

import numpy as np
import pytest
import torch

import approx
import constructions
from approx import targets
from approx.activations import Squashing, StepReLU
from approx.affine import AffineMap
from approx.certification import EnclosureUnavailable, GlobalBoundUnavailable, certify
from approx.covers import Cover
from approx.domains import Ball, Box, WholeSpace
from approx.evaluation import sup_error
from approx.networks import Dense, RadialNetwork
from approx.training import random_network
from constructions import constant_width, narrow, widening


def test_tight_brackets_beat_a_million_samples():
    built = constructions.build(targets.franke(), 0.1, verify=False)
    report = certify(built, tol=1e-4)
    assert report.upper - report.lower <= 1e-4
    x = np.random.default_rng(0).uniform(-3, 3, (1_000_000, 2))
    sampled = np.abs(built.network.evaluate(x) - built.target(x)).max()
    assert sampled <= report.lower <= report.upper


def random_problem(seed):
    """A cover by hand, far from any target, and a formula: nothing was built to fit."""
    rng = np.random.default_rng(seed)
    n, m = int(rng.integers(1, 4)), int(rng.integers(1, 3))
    cells = int(rng.integers(1, 25))
    affine = AffineMap(rng.normal(size=(m, n)), rng.normal(size=m))
    if rng.random() < 0.3:
        axes = np.linalg.qr(rng.normal(size=(cells, n, n)))[0] / rng.uniform(0.1, 1.5, (cells, 1, n))
        extent = {"shapes": axes}
    else:
        extent = {"radii": 10 ** rng.uniform(-2, 0.2, cells)}
    cover = Cover(rng.uniform(-1, 1, (cells, n)), rng.normal(size=(cells, m)), affine, **extent)
    a, b, c = rng.normal(size=(m, n)), rng.normal(size=m), rng.uniform(0.1, 3, m)
    target = targets.from_numpy(
        lambda x: np.stack([np.sin(c[j] * sum(a[j, i] * x[:, i] for i in range(n))) + b[j] for j in range(m)], axis=1),
        n,
        m,
        domain=Box.cube(n, 1.5),
        lipschitz=10.0 * float(np.abs(a).sum()) * 3,
    )
    return cover, target


@pytest.mark.parametrize("seed", range(42))  # every builder with either domain and dtype
def test_brackets_hold_for_arbitrary_covers(seed):
    cover, target = random_problem(seed)
    assemble = (constant_width, widening, narrow)[seed % 3].assemble
    dtype = torch.float32 if seed % 7 == 0 and cover.is_balls else torch.float64
    network = assemble(cover, dtype=dtype, **({"tolerance": 0.01} if assemble is narrow.assemble else {})).network
    domain = Ball(np.full(target.dim_in, 0.1), 1.3) if seed % 2 else target.domain
    report = certify(network, target, domain, tol=1e-4, max_seconds=1)
    x = domain.sample(20_000, seed)
    sampled = np.linalg.norm(network.evaluate(x) - target(x), axis=1).max()
    assert report.upper is not None and sampled <= report.upper
    # The bound is attained as claimed: by the real network, at the point named.
    at = report.argmax
    assert domain.contains(at)
    assert np.linalg.norm(network.evaluate(at) - target(at)) >= report.lower - 1e-9


def test_a_changed_weight_changes_the_verdict():
    built = constructions.build(targets.gaussian(dim=2), 0.2, builder="constant_width", cover="apart", verify=False)
    with torch.no_grad():
        built.network.blocks[-1].bias += 0.05
    for domain in (built.target.domain, WholeSpace(2)):
        report = certify(built.network, built.target, domain, eps=0.2)
        assert report.refutes(0.2) and not report.proves(0.2)


def test_a_narrow_spike_in_a_formula_is_not_missed():
    plain = targets.from_expression("sin(x)", domain=Box.cube(1, 1.0), lipschitz=1.0)
    built = constructions.build(plain, 0.1, verify=False)
    spike = targets.from_expression("sin(x) + exp(-((x - 0.1234567)*1000)^2)", domain=Box.cube(1, 1.0))
    report = certify(built.network, spike, tol=1e-3)
    assert report.lower > 0.85 and not report.proves(0.1)


def test_the_same_spike_behind_a_claim_is_conditional():
    def branchy(x):
        return np.where(np.abs(x[:, 0] - 0.1234567) < 1e-7, 1.0, 0.0) + np.sin(x[:, 0])

    target = targets.from_numpy(branchy, 1, domain=Box.cube(1, 1.0), lipschitz=1.2)
    built = constructions.build(target, 0.1, verify=False)
    report = certify(built, tol=1e-3)
    assert report.claim == "certified on condition"
    assert any("claimed Lipschitz constant 1.2" in text for text in report.rests_on)


def test_whole_space_with_a_slope():
    built = constructions.build(targets.affine_bump(dim=2), 0.2, verify=False)
    report = certify(built)
    assert report.proves(0.2) and isinstance(report.domain, WholeSpace)
    assert any("tail" in text for text in report.rests_on)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_gaussian_on_all_of_space_is_unconditional(dim):
    report = certify(constructions.build(targets.gaussian(dim=dim), 0.2, verify=False))
    assert report.claim == "certified" and report.proves(0.2) and isinstance(report.domain, WholeSpace)
    assert any("interval arithmetic on the slabs" in text for text in report.rests_on)


def test_no_bound_at_infinity_is_refused():
    built = constructions.build(targets.ridge(dim=2), 0.2, verify=False)
    with pytest.raises(GlobalBoundUnavailable, match="no affine part"):
        certify(built.network, built.target, WholeSpace(2))
    bump = constructions.build(targets.affine_bump(dim=2), 0.2, verify=False)
    with torch.no_grad():
        bump.network.blocks[-1].weight[0, 0] *= 1 + 2.0**-52
    with pytest.raises(GlobalBoundUnavailable, match="slope"):
        certify(bump.network, bump.target, WholeSpace(2))


def test_nothing_known_between_points_is_refused():
    target = targets.from_numpy(lambda x: np.where(x[:, 0] > 0, x[:, 0], 0.0), 1, domain=Box.cube(1, 1.0))
    built = constructions.build(target, 0.2, verify=False)
    with pytest.raises(EnclosureUnavailable, match="estimated from samples"):
        certify(built)


def test_arguments_that_do_not_fit():
    eye = torch.eye(2, dtype=torch.float64)
    network = RadialNetwork([Dense(eye, torch.zeros(2, dtype=torch.float64))])
    with pytest.raises(TypeError, match="a RadialNetwork"):
        certify(lambda x: x, targets.gaussian())
    with pytest.raises(ValueError, match="Match them"):
        certify(network, targets.gaussian())
    with pytest.raises(ValueError, match="eps > 0"):
        certify(constructions.build(targets.gaussian(dim=1), 0.3, verify=False), eps=-1.0)
    with pytest.raises(TypeError, match="a Box, a Ball or WholeSpace"):
        certify(network, targets.gaussian(), "box")
    for limits in ({"tol": 0.0}, {"max_seconds": float("nan")}):
        with pytest.raises(ValueError, match="certify: received"):
            certify(network, targets.gaussian(), **limits)


def test_a_tolerance_does_not_leave_eps_undecided():
    built = constructions.constant_width.build(targets.get("cone", dim=2), 0.2, cover="apart", verify=False)
    loose = certify(built, tol=2e-4)
    assert loose.upper - loose.lower <= 2e-4 and loose.proves(0.2)
    assert loose.lower + 2e-4 > 0.2  # so the tolerance alone had been met before
    assert (np.diff(loose.history[0]) >= 0).all() and (np.diff(loose.history[2]) <= 0).all()
    assert loose.history[2, -1] == loose.upper


def layers(*parts):
    """A float64 network of (weight, bias, activation) given as lists."""
    return RadialNetwork.from_layers((torch.tensor(w).double(), torch.tensor(b).double(), rho) for w, b, rho in parts)


def bent(x):
    return np.where(x[:, 0] > 0, x[:, 0], 0.0)


@pytest.mark.parametrize(
    "facts", [{"lipschitz": 1.0}, {"enclosure": lambda a, b: (np.maximum(a, 0), np.maximum(b, 0))}]
)
def test_a_claim_says_nothing_beyond_its_domain(facts):
    target = targets.Target(fn=bent, dim_in=1, domain=Box.cube(1, 1.0), **facts)
    for network in (layers(([[1.0]], [0.0], None)), layers(([[1.0]], [0.0], Squashing()), ([[1.0]], [0.0], None))):
        for domain in (Box.cube(1, 1.5), Ball([0.5], 1.0)):
            with pytest.raises(ValueError, match="where 'f' is known"):
                certify(network, target, domain, tol=0.1)
        assert certify(network, target, Ball([0.5], 0.5), tol=0.1).claim == "certified on condition"
    formula = targets.from_expression("abs(x)", domain=Box.cube(1, 1.0))
    assert certify(network, formula, Box.cube(1, 1.5), tol=0.1).claim == "certified"


def test_another_function_on_intervals_is_found_out():
    def two_faced(x):
        try:
            return np.where(np.abs(x[:, 0] + 0.2) < 0.02, 5.0, 0.0) + x[:, 0]
        except TypeError:
            return 1.0 * x[:, 0]

    target = targets.Target(fn=two_faced, dim_in=1, domain=Box.cube(1, 1.0))
    with pytest.raises(EnclosureUnavailable, match="other values on intervals"):
        certify(layers(([[1.0]], [0.0], None)), target)


class Doubled(RadialNetwork):
    def forward(self, x, **options):
        return 2 * super().forward(x, **options)


def test_a_network_that_computes_something_else_is_refused():
    target = targets.from_expression("sin(x)", domain=Box.cube(1, 1.0))
    changed = Squashing()
    changed.h = lambda r: 5 * r
    for rho in (StepReLU(), Squashing()):
        plain = layers(([[1.5]], [0.1], rho), ([[1.0]], [0.0], None))
        certify(plain, target, eps=5.0)
        with pytest.raises(ValueError, match="a network that computes"):
            certify(Doubled(plain.blocks), target, tol=1e-3)
    with pytest.raises(ValueError, match="a network that computes"):
        certify(layers(([[1.0]], [0.0], changed), ([[1.0]], [0.0], None)), target, tol=1e-3)
    with pytest.raises(ValueError, match="a network that computes"):  # less than its layers are proved to err
        certify(Doubled(layers(([[1.0]], [0.0], None)).blocks), targets.from_expression("2*x"), tol=1e-3)


@pytest.mark.parametrize("rho", [StepReLU(), Squashing()])
def test_weights_that_are_no_numbers_or_overflow_are_refused(rho):
    target = targets.from_expression("sin(x)", domain=Box.cube(1, 1.0))
    network = layers(([[2.0]], [-1.0], rho), ([[0.5]], [0.5], None))
    with torch.no_grad():
        network.blocks[0].weight[0, 0] = float("nan")
    with pytest.raises(ValueError, match=r"received .*weights"):
        certify(network, target)
    with torch.no_grad():
        network.blocks[0].weight[0, 0] = 1e300
    if type(rho) is StepReLU:
        with pytest.raises(ValueError, match="Rescale the layers"):
            certify(network, target)
    else:
        assert certify(network, target, max_seconds=0.1).upper is None


def test_the_worst_point_lies_in_the_domain_even_if_nothing_was_decided():
    target = targets.from_expression("log(x)", domain=Box([1.0], [2.0]))  # undefined at 0
    edge_in_the_middle = layers(([[2.0]], [-4.0], StepReLU()), ([[0.5]], [0.5], None))
    report = certify(edge_in_the_middle, target, max_seconds=1e-9)
    assert report.lower == 0.0 and target.domain.contains(report.argmax)
    assert repr(report).startswith("Certificate on ") and "boundary points" not in repr(report)


@pytest.mark.parametrize("rho", [StepReLU(), Squashing()])
@pytest.mark.parametrize("domain", [Ball([0.5], 1e-18), Box([0.0], [5e-324]), Box([-1e140], [1e140])], ids=str)
def test_extreme_domains(rho, domain):
    target = targets.from_expression("sin(x)")
    network = layers(([[2.0]], [-1.0], rho), ([[0.5]], [0.5], None))
    report = certify(network, target, domain, max_seconds=0.1)
    met = np.abs(network.evaluate(domain.sample(50)) - target(domain.sample(50))).max()
    assert report.upper is None or report.upper >= met - 1e-15  # which values in floating point may miss it by
    with pytest.raises(ValueError, match="Pass a smaller domain"):
        certify(layers(([[2.0]], [-1.0], rho)), target, Box([-1e160], [1e160]))


@pytest.mark.parametrize("tail", [lambda r: 1 - r, lambda r: None, lambda r: 1 / math.cosh(1e6 * r)])
def test_tails_that_are_no_bounds(tail):
    facts = {"affine": AffineMap.constant([0.0], 1), "lipschitz": 1.0, "tail": tail}
    target = targets.Target(fn=lambda x: bent(1 - np.abs(x)), dim_in=1, domain=Box.cube(1, 2.0), **facts)
    with pytest.raises(ValueError, match=r"a non-increasing tail >= 0\. Return a float"):
        certify(layers(([[2.0]], [-1.0], StepReLU()), ([[0.0]], [0.0], None)), target, WholeSpace(1))


def test_crowded_covers_in_three_dimensions_are_bounded_cell_by_cell(monkeypatch):
    from approx.certification import _certify

    built = constructions.constant_width.build(targets.gaussian(dim=3), 0.2, cover="apart", verify=False)
    boxes = certify(built, tol=1e-3)
    monkeypatch.setattr(_certify, "_CROWDED", 10)
    cells = certify(built)
    assert "witness" in cells.rests_on[1] and cells.proves(0.2) and cells.samples < boxes.samples
    assert boxes.lower <= cells.upper and cells.lower <= boxes.upper
    both = certify(built, tol=1e-3)
    assert both.upper - both.lower <= 1e-3 and both.proves(0.2)


def test_a_build_says_why_there_is_no_upper_bound():
    opaque = targets.from_numpy(lambda x: np.interp(x[:, 0], [-1, 0, 1], [0, 1, 0]), 1, domain=Box([-1], [1]))
    built = constructions.build(opaque, 0.2, samples=1000)
    assert built.report.upper is None and built.report.claim == "sampled"
    for text in (built.report.obstacle, repr(built), repr(built.report), built.provenance()["obstacle"]):
        assert "numpy.interp" in text and "pass enclosure=, lipschitz= or modulus=" in text
    high = constructions.build(targets.gaussian(dim=12), 0.3, cover="nested", samples=1000)
    assert high.report.upper is None and "more than 10 dimensions" in repr(high)
    assert constructions.build(opaque, 0.2, samples=1000, prove=False).report.obstacle == ""
    claimed = targets.from_numpy(opaque.fn, 1, domain=opaque.domain, lipschitz=1.0)
    assert constructions.build(claimed, 0.2, samples=1000).report.obstacle == ""


@pytest.mark.parametrize("kind", ["pieces", "levels", "forms"])
def test_without_eps_and_tol_the_bounds_come_within_one_percent_of_each_other(kind):
    if kind == "forms":
        target = targets.gaussian(dim=2)
        network = random_network((2, 8, 8, 1), "radial_swish", seed=0)
    else:
        target = targets.gaussian(dim=2 if kind == "pieces" else 4)
        network = constructions.build(target, 0.2, verify=False).network
    first, second = (certify(network, target, target.domain, max_seconds=600) for _ in range(2))
    assert first.lower < first.upper <= 1.01 * first.lower and first.seconds < 60  # of 600
    assert (first.lower, first.upper, first.samples) == (second.lower, second.upper, second.samples)
    assert first.argmax.tolist() == second.argmax.tolist()
    closer = certify(network, target, target.domain, tol=1e-6)
    assert first.lower <= closer.upper and closer.lower <= first.upper and closer.upper - closer.lower <= 1e-6
    assert closer.upper < first.upper  # so the first had stopped before


def test_a_network_that_equals_its_target_ends_where_rounding_does():
    target = targets.from_numpy(lambda x: 2 * x[:, 0] - 1, 1, domain=Box([-1.0], [1.0]))
    report = certify(layers(([[2.0]], [-1.0], None)), target, max_seconds=600)
    assert 0 == report.lower < report.upper < 1e-14 and report.seconds < 60


@pytest.mark.parametrize("name", ["gaussian", "formula", "own"])
def test_the_content_of_a_file_stands_for_what_was_saved(name, tmp_path):
    target = {
        "gaussian": lambda: targets.gaussian(dim=1),
        "formula": lambda: targets.from_expression("x/2 + exp(-x^2)", affine="x/2", tail="exp(-r^2)", lipschitz=1.4),
        "own": lambda: targets.from_numpy(lambda x: np.cos(x[:, 0]), 1, domain=Box([0.0], [1.0])),
    }[name]()
    built = constructions.build(target, 0.2, samples=2000)
    built.save(tmp_path / "net.safetensors")
    saved = approx.load(tmp_path / "net.safetensors")
    assert saved.domain == built.domain and saved.eps == 0.2
    if name == "own":
        assert saved.target is None
        with pytest.raises(TypeError, match="a Target"):
            certify(saved)
        with pytest.raises(TypeError, match="a Target"):
            sup_error(saved)
    given = (target,) if name == "own" else ()
    assert certify(saved, *given).upper == certify(built).upper <= 0.2
    found, wanted = (sup_error(subject, *given, samples=2000) for subject in (saved, built))
    assert found.domain == wanted.domain and found.lower == pytest.approx(wanted.lower, rel=0.1)
