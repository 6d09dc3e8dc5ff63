"""Falsification: false Lipschitz constants and tails are refuted by a counterexample that holds; true ones stand."""

import re
from dataclasses import replace

import numpy as np
import pytest

from approx.affine import AffineMap
from approx.domains import Ball, Box
from approx.targets import (
    GALLERY,
    Target,
    affine_bump,
    check_claims,
    check_enclosure,
    check_lipschitz,
    check_modulus,
    check_tail,
    estimate_lipschitz,
    gaussian,
    get,
    swirl,
)


def linear_map(matrix, **fields):
    matrix = np.asarray(matrix, dtype=float)
    fields = {"domain": Box.cube(matrix.shape[1], 1.0), **fields}
    return Target(fn=lambda x: x @ matrix.T, dim_in=matrix.shape[1], dim_out=matrix.shape[0], **fields)


@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (4, 1), (2, 2), (3, 5), (5, 3)])
def test_estimate_is_the_spectral_norm_for_linear_maps(shape):
    matrix = np.random.default_rng(3).standard_normal(shape)
    estimated = estimate_lipschitz(linear_map(matrix))
    assert estimated.lipschitz == pytest.approx(1.1 * np.linalg.norm(matrix, 2), rel=1e-6)
    assert estimated.lipschitz_source == "estimated" and estimated.radius_for(1.0) == 1 / estimated.lipschitz


@pytest.mark.parametrize(
    "fn, dim, domain, true",
    [
        (lambda x: np.exp(-50 * (x**2).sum(1)), 2, Box.cube(2, 3.0), 10 * np.exp(-0.5)),  # narrow peak
        (lambda x: np.abs(x[:, 0] - 0.3), 1, Box.cube(1, 1.0), 1.0),
        (lambda x: (x**2).sum(1), 2, Ball([1.0, 0.0], 2.0), 6.0),  # steepest on the boundary
        (lambda x: np.sin(20 * x[:, 0]) * x[:, 1], 2, Box([0, 0], [1, 1]), np.hypot(20, 0)),
    ],
)
def test_estimate_finds_the_steepest_place(fn, dim, domain, true):
    found = estimate_lipschitz(Target(fn=fn, dim_in=dim, domain=domain)).lipschitz / 1.1
    assert 0.99 * true <= found <= true * (1 + 1e-6)


def test_estimate_is_deterministic_and_stays_in_the_domain():
    def watched(x):
        assert domain.contains(x).all() or np.linalg.norm(x - domain.center, axis=1).max() < 1 + 1e-12
        return np.sin(3 * x[:, 0] + x[:, 1])

    domain = Ball([0.0, 0.0], 1.0)
    f = Target(fn=watched, dim_in=2, domain=domain)
    assert estimate_lipschitz(f, seed=5).lipschitz == estimate_lipschitz(f, seed=5).lipschitz


def test_estimate_of_a_constant_is_positive_and_tiny():
    found = estimate_lipschitz(Target(fn=lambda x: np.full(len(x), 7.0), dim_in=2, domain=Box.cube(2, 1.0))).lipschitz
    assert 0 < found * Box.cube(2, 1.0).diameter <= 7 * 1.001e-9


@pytest.mark.parametrize("fn", [np.sign, np.floor, lambda x: 1 / x, lambda x: np.tan(5 * x)])
def test_estimate_refuses_what_has_no_constant(fn):
    f = Target(fn=lambda x: fn(x[:, 0] - 0.123), dim_in=1, domain=Box.cube(1, 3.0))
    with pytest.raises(ValueError, match="a jump or a pole"):
        estimate_lipschitz(f)


@pytest.mark.parametrize("factor", [0.5, 0.99, 0.9999])
@pytest.mark.parametrize("target", [gaussian(), gaussian(dim=5), affine_bump(), swirl()], ids=lambda f: f.name)
def test_false_constants_are_refuted_by_a_true_counterexample(target, factor):
    claim = factor * target.lipschitz
    with pytest.raises(ValueError, match=r"a claimed Lipschitz constant .* but") as caught:
        check_lipschitz(replace(target, lipschitz=claim, lipschitz_source="claimed"))
    a, b = (np.array(numbers(s)) for s in re.findall(r"[ab] = (\[.*?\])", str(caught.value)))
    ratio = np.linalg.norm(target(a) - target(b)) / np.linalg.norm(a - b)
    assert ratio > claim
    assert f"{ratio:.5g}"[:5] in str(caught.value)


def numbers(text):
    return [float(number) for number in text.strip("[]").split(",")]


def test_true_constants_stand_and_the_observed_slope_is_returned():
    matrix = np.diag([3.0, 1.0])
    assert check_lipschitz(linear_map(matrix, lipschitz=3.0)) == pytest.approx(3.0, rel=1e-6)


def test_check_needs_a_constant():
    with pytest.raises(ValueError, match="no Lipschitz constant"):
        check_lipschitz(linear_map(np.eye(2)))


def test_a_claim_on_all_space_is_tested_beyond_the_domain():
    f = Target(
        fn=lambda x: np.exp(-100 * (x[:, 0] - 8) ** 2),  # zero all over the domain
        dim_in=1,
        domain=Box.cube(1, 3.0),
        lipschitz=0.1,
        affine=AffineMap.constant([0.0], 1),
    )
    with pytest.raises(ValueError, match=r"a claimed Lipschitz constant 0\.1"):
        check_lipschitz(f)


def tailed(tail, **fields):
    return replace(gaussian(), tail=tail, **fields)


def test_true_tails_stand():
    check_tail(gaussian(dim=3))
    check_tail(tailed(lambda r: 1.0))


@pytest.mark.parametrize(
    "tail, pattern",
    [
        (lambda r: np.exp(-2 * r * r), r"but \|f - L\| = .* at the point"),
        (lambda r: 0.0, r"but \|f - L\| ="),
        (lambda r: 1 + r, "a non-increasing tail >= 0"),
        (lambda r: -1.0, "a non-increasing tail >= 0"),
        (lambda r: float("nan"), "a non-increasing tail >= 0"),
    ],
)
def test_false_tails_are_refuted(tail, pattern):
    with pytest.raises(ValueError, match=pattern):
        check_tail(tailed(tail))


def test_a_wrong_limit_is_refuted_and_its_point_is_true():
    f = tailed(lambda r: np.exp(-r * r), affine=AffineMap.constant([0.01], 2))
    with pytest.raises(ValueError, match="Correct the tail or the affine map") as caught:
        check_tail(f)
    point = numbers(re.search(r"at the point (\[.*?\])", str(caught.value)).group(1))
    radius = np.linalg.norm(point)
    assert abs(float(f(point)[0]) - 0.01) > np.exp(-(radius**2))


def test_check_tail_needs_a_tail():
    with pytest.raises(ValueError, match="without affine map or tail"):
        check_tail(linear_map(np.eye(2)))


@pytest.mark.parametrize("name", GALLERY)
def test_what_the_gallery_knows_stands(name):
    f = get(name)
    assert check_modulus(f, samples=512) <= 1 + 1e-9
    if f.enclosure is not None:
        check_enclosure(f, samples=512)


@pytest.mark.parametrize(
    "modulus, pattern",
    [
        (lambda r: 0.8 * np.asarray(r), r"modulus\(.*but \|f\(a\) - f\(b\)\|"),  # the slope is 0.8578 near |x| = 0.7
        (lambda r: np.minimum(np.asarray(r), 0.97), r"modulus\(.*but"),  # the values differ by 1 in the end
        (lambda r: -np.asarray(r), "a non-decreasing modulus >= 0"),
        (lambda r: np.minimum(np.asarray(r), 2 - np.asarray(r)), "a non-decreasing modulus >= 0"),
        (lambda r: np.nan * np.asarray(r), "a non-decreasing modulus >= 0"),
    ],
)
def test_false_moduli_are_refuted(modulus, pattern):
    wrong = Target(fn=gaussian().fn, dim_in=2, domain=Box.cube(2, 3.0), modulus=modulus)
    with pytest.raises(ValueError, match=pattern):
        check_modulus(wrong)
    with pytest.raises(ValueError, match=pattern):
        check_claims(wrong)


def test_the_pair_that_refutes_a_modulus_is_true():
    root = Target(fn=lambda x: np.sqrt(np.abs(x[:, 0])), dim_in=1, domain=Box.cube(1, 1.0), modulus=np.sqrt)
    assert 0.99 < check_modulus(root) <= 1 + 1e-9
    with pytest.raises(ValueError, match="Raise the modulus") as caught:
        check_modulus(replace(root, modulus=lambda r: 0.99 * np.sqrt(r)))
    a, b = (np.array(numbers(text)) for text in re.findall(r"[ab] = (\[.*?\])", str(caught.value)))
    assert abs(root(a) - root(b))[0] > 0.99 * np.sqrt(np.linalg.norm(a - b))


def bounds_of(f, change):
    return replace(f, enclosure=lambda low, high: change(*f.enclosure(low, high)), lipschitz_source="claimed")


@pytest.mark.parametrize(
    "change, pattern",
    [
        (lambda low, high: (low, high - 1e-3), "low <= f <= high on the box"),
        (lambda low, high: (low + 1e-6, high), "low <= f <= high on the box"),
        (lambda low, high: (low, low + 0.999 * (high - low)), "low <= f <= high on the box"),
        (lambda low, high: (low, np.nan * high), "low <= f <= high on the box"),
        (lambda low, high: (low[:1], high), "bounds of shapes"),
    ],
)
def test_false_enclosures_are_refuted(change, pattern):
    wrong = bounds_of(gaussian(), change)
    with pytest.raises(ValueError, match=pattern):
        check_enclosure(wrong)
    with pytest.raises(ValueError, match=pattern):
        check_claims(wrong)


def test_ascent_finds_a_leak_that_samples_miss():
    """The bounds are wrong by 1e-3 only on boxes around the top, whose point sampling meets by luck."""

    def change(low, high):
        return low, np.minimum(high, 1 - 1e-3)

    with pytest.raises(ValueError, match="Correct the enclosure") as caught:
        check_enclosure(bounds_of(gaussian(), change), samples=64)
    point = numbers(re.search(r"at (\[.*?\]); required", str(caught.value)).group(1))
    assert gaussian()(point)[0] > 1 - 1e-3


def test_enclosures_on_balls_and_vectors_stand():
    identity = linear_map(np.eye(2), domain=Ball([0.1, 0.2], 0.5), enclosure=lambda low, high: (low, high))
    check_enclosure(identity)
    with pytest.raises(ValueError, match="low <= f <= high on the box"):
        check_enclosure(replace(identity, enclosure=lambda low, high: (low, np.minimum(high, [1.0, 0.6999]))))


def test_claims_are_needed_and_proofs_are_not_looked_at():
    with pytest.raises(ValueError, match="no enclosure"):
        check_enclosure(linear_map(np.eye(2)))
    with pytest.raises(ValueError, match="no Lipschitz constant"):
        check_modulus(linear_map(np.eye(2)))
    check_claims(replace(linear_map(np.eye(2), lipschitz=0.1), lipschitz_source="estimated"))
    with pytest.raises(ValueError, match="check_lipschitz"):
        check_claims(linear_map(np.eye(2), lipschitz=0.1))
