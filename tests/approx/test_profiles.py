"""Bounds of h, h' and of lines about h(r) / r: against ball arithmetic, for every registered activation."""

import numpy as np
import pytest
import torch
from flint import arb, ctx

from approx.activations import RadialActivation, activation, activation_names
from approx.certification._lines import lines
from approx.certification._profiles import Profile
from approx.certification.intervals import Interval
from tests.approx import arb_networks

CASES = [case for case in arb_networks.CASES if case[0] not in ("step_relu", "radial_identity")]


@pytest.fixture(autouse=True)
def precision():
    before, ctx.prec = ctx.prec, 300
    yield
    ctx.prec = before


def profile_of(name, parameters):
    return Profile.of(activation(name, **parameters), "test")


def intervals(rng, count):
    """Ends of intervals of radii of all sizes, some of them 0, some of them points."""
    low = np.where(rng.random(count) < 0.15, 0.0, 10 ** rng.uniform(-6, 2, count))
    width = np.where(rng.random(count) < 0.1, 0.0, 10 ** rng.uniform(-9, 1.5, count))
    near = rng.random(count) < 0.4  # about the kinks, the jump and the peaks
    low = np.where(near, rng.choice([0.4, 0.577, 0.8, 1.0, 1.5, 2.3994], count) - width * rng.random(count), low)
    low = np.maximum(low, 0.0)
    return low, low + width


def test_every_registered_activation_is_here():
    assert {name for name, _ in arb_networks.CASES} == set(activation_names())


@pytest.mark.parametrize(("name", "parameters"), CASES)
def test_bounds_of_h_and_its_derivative(name, parameters):
    rng = np.random.default_rng(1)
    low, high = intervals(rng, 800)
    h, slope = profile_of(name, parameters).bounds(Interval(low, high))
    for i in range(len(low)):
        for t in (0.0, 1.0, rng.random()):
            r = arb(min(low[i] + t * (high[i] - low[i]), high[i]))
            value, derivative = arb_networks.profile(name, r, **parameters)
            assert not (value < h.lo[i] or value > h.hi[i]), (name, i)
            assert not (derivative < slope.lo[i] or derivative > slope.hi[i]), (name, i)
    points = Interval(high, high)
    h, slope = profile_of(name, parameters).bounds(points)
    assert (h.width <= 4e-14 * (h.hi + 2)).all()
    if name != "shifted_relu":  # at a peak within 1e-4 the bound is that of the peak
        assert slope.width.max() <= 2e-7 and np.median(slope.width) <= 2e-14


@pytest.mark.parametrize(("name", "parameters"), CASES)
def test_bounds_at_infinity(name, parameters):
    profile = profile_of(name, parameters)
    h, slope = profile.bounds(Interval([3.0], [np.inf]))
    at = arb_networks.profile(name, arb(3), **parameters)[0]
    assert not at < h.lo[0] and h.lo[0] > 0.5 and not np.isnan([slope.lo[0], slope.hi[0]]).any()
    assert h.hi[0] == np.inf or 1 <= h.hi[0] < 1 + 1e-12
    assert not np.isfinite(lines(profile, np.array([3.0]), np.array([np.inf])).error[0])


@pytest.mark.parametrize(("name", "parameters"), CASES)
def test_lines_hold_the_factor(name, parameters):
    rng = np.random.default_rng(2)
    low, high = intervals(rng, 800)
    line = lines(profile_of(name, parameters), low, high)
    for i in range(len(low)):
        for t in (0.0, 1.0, rng.random(), rng.random()):
            r = arb(min(low[i] + t * (high[i] - low[i]), high[i]))
            if r == 0:
                continue
            h, slope = arb_networks.profile(name, r, **parameters)
            s = h / r
            assert not abs(s - arb(line.offset[i]) - arb(line.slope[i]) * r * r) > line.error[i], (
                name,
                low[i],
                high[i],
            )
            assert not (s < line.factor[0, i] or s > line.factor[1, i])
            assert not abs(h) > line.size[i]
            assert not abs(slope) > line.steepness[i]
            assert not abs(s) > line.stretch[i]
            assert not abs(slope) > line.stretch[i]
            assert not abs(slope - s) > line.shear[i]


@pytest.mark.parametrize(("name", "parameters"), CASES)
def test_lines_lose_the_second_order_only(name, parameters):
    """Where s has second derivatives, the best line strays by max |s''| (high^2 - low^2)^2 / 16, derivative in r^2."""
    low = np.array([1.0, 1.7, 3.0])
    for width in (0.1, 0.01):
        line = lines(profile_of(name, parameters), low, low + width)
        for i, a in enumerate(low.tolist()):
            q = np.linspace(a**2, (a + width) ** 2, 3)
            s = [arb_networks.profile(name, arb(c).sqrt(), **parameters)[0] / arb(c).sqrt() for c in q.tolist()]
            best = abs(float(s[0] - 2 * s[1] + s[2])) / 4
            assert line.error[i] <= 1.4 * best + 1e-4 * width**2 + 1e-13


def tanh():
    rho = RadialActivation(torch.tanh)
    rho.interval_h = np.tanh
    return rho


def test_profiles_of_callers():
    rng = np.random.default_rng(3)
    low, high = intervals(rng, 300)
    profile = Profile.of(tanh(), "test")
    assert profile.from_zero and not Profile.of(with_bounds(torch.cosh, np.cosh), "test").from_zero
    line = lines(profile, low, high)
    for i in range(300):
        r = arb(high[i])
        if r > 0:
            assert not abs(r.tanh() / r - arb(line.offset[i]) - arb(line.slope[i]) * r * r) > line.error[i]
    assert line.error[(low > 0.1) & (high < low + 1e-4)].max() < 1e-7


def with_bounds(h, function):
    rho = RadialActivation(h)
    rho.interval_h = function
    return rho


@pytest.mark.parametrize(
    ("rho", "text"),
    [
        (RadialActivation(torch.tanh), "no bounds are known.*interval_h"),
        (with_bounds(torch.tanh, np.sinh), "Make it the same function"),
        (with_bounds(torch.tanh, lambda r: np.where(r < 1, r, 1)), "fails on intervals.*branch"),
        (with_bounds(torch.tanh, lambda r: 1.0), "fails on intervals"),
    ],
)
def test_profiles_that_are_refused(rho, text):
    with pytest.raises(ValueError, match=text):
        Profile.of(rho, "test")


def test_stored_shift_of_a_trainable_activation():
    rho = activation("shifted_relu", shift=0.5, trainable=True)
    with torch.no_grad():
        rho.shift += 0.25
    h, _ = Profile.of(rho, "test").bounds(Interval([1.0], [1.0]))
    assert h.contains(0.25).all() and h.width < 1e-15
