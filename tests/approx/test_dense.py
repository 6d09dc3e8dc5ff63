"""Certificates of networks with any radial activation: brackets against sampling, exact values and other proofs."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from flint import arb, ctx

from approx import targets
from approx.activations import RadialActivation, StepReLU, activation
from approx.certification import GlobalBoundUnavailable, branch_and_bound, certify, enclosure_of, pieces
from approx.certification.dense import Difference, search_dense
from approx.domains import Ball, Box, WholeSpace
from approx.networks import Dense, RadialNetwork
from tests.approx.arb_networks import CASES, layers_of, random_network, value

WAVES = targets.from_expression("sin(2*x) * cos(y) + 0.3*x", domain=Box.cube(2, 1.5))


@pytest.fixture(autouse=True)
def precision():
    before, ctx.prec = ctx.prec, 200
    yield
    ctx.prec = before


def sampled(network, target, domain, count=20_000, seed=0):
    x = domain.sample(count, seed)
    return np.linalg.norm(network.evaluate(x) - target(x), axis=1).max()


@pytest.mark.parametrize(("name", "parameters"), CASES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_brackets_are_tight_and_hold(name, parameters, dtype):
    network = random_network(name, parameters, [2, 8, 8, 1], 4, dtype, gain=0.7)
    search = Difference(network, enclosure_of(WAVES))
    bracket = search_dense(search, WAVES.domain, tol=2e-3, max_boxes=100_000)
    assert bracket.upper - bracket.lower <= (2e-3 if dtype == torch.float64 else 3e-3)
    largest = sampled(network, WAVES, WAVES.domain)
    assert bracket.lower <= largest + 2e-3 and largest <= bracket.upper
    # The lower bound is attained, in real arithmetic, at the point named.
    x = bracket.argmax.tolist()
    exact = value(layers_of(network), x)[0] - ((2 * arb(x[0])).sin() * arb(x[1]).cos() + arb(0.3) * arb(x[0]))
    assert WAVES.domain.contains(x) and not abs(exact) < bracket.lower


@pytest.mark.parametrize("seed", range(8))
def test_random_networks_of_all_shapes(seed):
    rng = np.random.default_rng(seed)
    n, m = int(rng.integers(1, 4)), int(rng.integers(1, 4))
    name, parameters = CASES[int(rng.integers(len(CASES)))]
    network = random_network(name, parameters, [n, *rng.integers(1, 12, int(rng.integers(1, 4))).tolist(), m], seed)
    a, c = rng.normal(size=(m, n)), rng.uniform(0.5, 2, m)
    target = targets.from_numpy(
        lambda x: np.stack([np.sin(c[j] * sum(a[j, i] * x[:, i] for i in range(n))) for j in range(m)], axis=1),
        n,
        m,
        domain=Box.cube(n, 1.0),
    )
    domain = Ball(np.full(n, 0.1), 0.8) if seed % 2 else target.domain
    report = certify(network, target, domain, max_seconds=0.5)
    assert report.claim == "certified" and domain.contains(report.argmax)
    assert sampled(network, target, domain) <= report.upper
    at = np.linalg.norm(network.evaluate(report.argmax) - target(report.argmax))
    assert report.lower <= at * (1 + 1e-9) + 1e-12


def test_step_networks_agree_with_their_pieces():
    """A few cells, by two proofs that share nothing but the stored weights."""
    for seed in range(6):
        network = random_network("step_relu", {}, [2, 3, 2, 2, 1], seed)
        enclosure, domain = enclosure_of(WAVES), WAVES.domain
        found = pieces(network, 4.0)
        first = branch_and_bound(
            found.cells(4.0), found.values[found.nonempty], found.affine, enclosure, domain,
            value_error=found.value_error(4.0), tol=1e-3, max_seconds=10,
        )  # fmt: skip
        second = search_dense(Difference(network, enclosure), domain, tol=1e-3, max_boxes=50_000)
        assert first.lower <= second.upper and second.lower <= first.upper
        assert second.upper <= first.upper + 2e-3


def test_what_the_network_shares_with_the_target_cancels():
    """F = f: both depend on x with slope 1000, and what is left is second order in the boxes."""
    network = RadialNetwork(
        [
            Dense(torch.eye(1).double(), torch.zeros(1).double(), activation("radial_swish")),
            Dense(torch.full((1, 1), 1000.0).double(), torch.zeros(1).double()),
        ]
    )
    target = targets.from_numpy(lambda x: 1000 * x[:, 0] / (1 + np.exp(-x[:, 0])), 1, domain=Box([0.5], [2.5]))
    search = Difference(network, enclosure_of(target))
    center = np.linspace(0.6, 2.4, 50)[:, None]
    low, high = search.range(center - 0.01, center + 0.01)
    assert (low <= 0).all() and (high >= 0).all() and (high - low).max() < 1e-9
    search.models = None  # forms alone
    widths = []
    for radius in (1e-2, 1e-3):
        low, high = search.range(center - radius, center + radius)
        assert (low <= 0).all() and (high >= 0).all()
        widths.append((high - low).max())
    assert widths[0] < 0.3 and widths[1] < widths[0] / 80
    assert certify(network, target, tol=1e-6).upper <= 2e-6


def test_targets_with_nothing_but_ranges():
    network = random_network("squashing", {}, [1, 6, 1], 2)
    box = Box.cube(1, 1.0)

    def kinked(x):
        return np.where(x[:, 0] > 0.2, x[:, 0] - 0.2, 0.0)

    claimed = targets.from_numpy(kinked, 1, domain=box, lipschitz=1.0)
    report = certify(network, claimed, tol=1e-3, max_seconds=5)
    assert report.claim == "certified on condition" and report.upper - report.lower <= 1e-3
    assert sampled(network, claimed, box) <= report.upper

    def bounds(lower, upper):
        return np.maximum(lower - 0.2, 0.0), np.maximum(upper - 0.2, 0.0)

    enclosed = targets.from_numpy(kinked, 1, domain=box, lipschitz=1.0, enclosure=bounds)
    again = certify(network, enclosed, tol=1e-3, max_seconds=5)
    assert "enclosure" in again.rests_on[0] and abs(again.upper - report.upper) <= 1e-3


def test_wrong_claims_about_the_target_are_found():
    network = random_network("squashing", {}, [1, 6, 1], 2)
    branchy = targets.from_numpy(lambda x: np.where(x[:, 0] > 0, 5.0, 0.0) * x[:, 0], 1,
                                 domain=Box.cube(1, 1.0), lipschitz=1.0)  # fmt: skip
    with pytest.raises(ValueError, match="Lipschitz"):
        certify(network, branchy)


def test_verdicts_on_eps():
    network = random_network("radial_softplus", {"shift": 0.5}, [2, 8, 1], 1)
    tight = certify(network, WAVES, tol=1e-5)
    above, below = (certify(network, WAVES, eps=factor * tight.upper) for factor in (1.001, 0.999))
    assert above.proves(1.001 * tight.upper) and not above.refutes(1.001 * tight.upper)
    assert below.refutes(0.999 * tight.upper) and not below.proves(0.999 * tight.upper)
    assert any("Taylor models" in text and "eps proved" in text for text in above.rests_on)


def test_computed_values_of_single_precision_are_covered():
    """Where the bracket closes as far as rounding allows, thousands of computed values stay below it."""
    network = random_network("rational_squash", {}, [1, 16, 16, 1], 3, torch.float32)
    target = targets.from_expression("0*x + 3", domain=Box([0.3], [0.3 + 2e-6]))
    report = certify(network, target, tol=1e-15, max_seconds=2)
    x = np.linspace(0.3, 0.3 + 2e-6, 5000)[:, None]
    errors = np.abs(network.evaluate(x) - 3.0)
    assert errors.min() >= report.lower - 1e-5 and errors.max() <= report.upper
    assert 1e-7 < report.upper - report.lower < 1e-3


def test_an_executor_shares_the_search():
    network = random_network("shifted_relu", {"shift": 0.5}, [2, 8, 8, 1], 1)
    alone = certify(network, WAVES, tol=1e-4)
    with ThreadPoolExecutor(2) as pool:
        shared = certify(network, WAVES, tol=1e-4, executor=pool)
    assert shared.lower <= alone.upper and alone.lower <= shared.upper and shared.upper - shared.lower <= 1e-4


def test_a_profile_of_the_caller():
    rho = RadialActivation(torch.tanh)
    eye = torch.eye(2).double()
    network = RadialNetwork([Dense(2 * eye, torch.ones(2).double(), rho), Dense(eye[:1], torch.zeros(1).double())])
    with pytest.raises(ValueError, match=r"certify: .*Set activation.interval_h"):
        certify(network, WAVES)
    rho.interval_h = np.tanh
    report = certify(network, WAVES, tol=1e-4)
    assert report.upper - report.lower <= 1e-4
    assert report.lower - 1e-4 <= sampled(network, WAVES, WAVES.domain) <= report.upper
    assert report.claim == "certified on condition" and any("interval_h" in text for text in report.rests_on)


def test_step_layers_among_others():
    layers = random_network("squashing", {}, [2, 6, 6, 1], 7)
    layers.blocks[0].activation = StepReLU()
    report = certify(layers, WAVES, tol=1e-3)
    assert sampled(layers, WAVES, WAVES.domain) <= report.upper <= report.lower + 1e-3


def test_all_of_space_is_refused_in_four_dimensions():
    network = random_network("squashing", {}, [4, 6, 1], 7)
    with pytest.raises(GlobalBoundUnavailable, match="Pass a Box or a Ball"):
        certify(network, targets.gaussian(dim=4), WholeSpace(4))


def test_overflow_is_no_proof():
    huge = torch.full((1, 1), 1e200, dtype=torch.float64)
    network = RadialNetwork([Dense(huge, torch.zeros(1).double(), activation("radial_swish")) for _ in range(2)])
    target = targets.from_expression("x", domain=Box.cube(1, 1.0))
    bracket = search_dense(Difference(network, enclosure_of(target)), target.domain, max_boxes=200)
    assert bracket.upper == np.inf and bracket.status in ("budget", "rounding")


def test_peaks_are_the_corners_towards_which_the_error_grows():
    eye = torch.eye(2).double()
    network = RadialNetwork([Dense(torch.tensor([[1.0, -3.0]]).double(), torch.zeros(1).double(), None)])
    flat = targets.from_expression("0*x + 0*y + 100", domain=Box.cube(2, 1.0))
    _, _, peaks = Difference(network, enclosure_of(flat)).range_and_peaks(-eye.numpy()[:1], eye.numpy()[:1])
    assert peaks.tolist() == [[-1.0, 0.0]]


def test_bounds_survive_pickling():
    difference = Difference(random_network("radial_swish", {}, [2, 6, 1], 7), enclosure_of(WAVES))
    again = pickle.loads(pickle.dumps(difference))
    lower = WAVES.domain.sample(50)
    for first, second in zip(difference.range(lower, lower + 0.1), again.range(lower, lower + 0.1), strict=True):
        np.testing.assert_array_equal(first, second)
