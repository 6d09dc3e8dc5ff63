"""Forms over balls: exact values in ball arithmetic, exact rationals for polynomials, known ranges, rounding."""

import inspect
from fractions import Fraction

import numpy as np
import pytest
from flint import ctx

from approx import targets
from approx.certification import balls, enclosure_of
from approx.certification.balls import BallForm
from approx.domains import Ball, Box
from tests.approx.formulas import random_function


@pytest.fixture(autouse=True)
def precision():
    before, ctx.prec = ctx.prec, 300
    yield
    ctx.prec = before


def inside(rng, centers, radii):
    """Points of the balls, surely: most of them close to the boundary."""
    u = rng.normal(size=centers.shape)
    u *= (1 - 1e-12) / np.linalg.norm(u, axis=1, keepdims=True)
    u *= np.where(rng.random((len(u), 1)) < 0.3, rng.random((len(u), 1)), 1.0)
    points = centers + radii[:, None] * u
    # What is computed of squared distances in at most ten dimensions is off by less than 1e-14 of it.
    outside = ~(((points - centers) ** 2).sum(axis=1) <= (1 - 1e-14) * radii**2)
    points[outside] = centers[outside]
    return points


def escapes(seed, functions=12, count=120):
    """(how many exact values certainly lie outside their bounds, how many were compared)."""
    rng = np.random.default_rng(seed)
    bad = compared = 0
    for _ in range(functions):
        n = int(rng.choice([1, 2, 3, 5, 10]))
        function, exact = random_function(rng, n)
        centers = rng.uniform(-2, 2, (count, n)) * rng.integers(0, 2, (count, 1))
        radii = 10.0 ** rng.uniform(-12, 0.3, count) * rng.integers(0, 4, count).clip(max=1)
        result = function(BallForm.variables(centers, radii))
        assert not np.isnan(result.bounds.lo).any()
        for x, lo, hi in zip(inside(rng, centers, radii).tolist(), result.bounds.lo, result.bounds.hi, strict=True):
            value = exact(x)
            bad += bool(value < float(lo) or value > float(hi))
            compared += 1
    return bad, compared


@pytest.mark.parametrize("seed", range(8))
def test_no_exact_value_escapes(seed):
    bad, compared = escapes(seed)
    assert (bad, compared) == (0, 1440)


def test_many_functions_in_few_points():
    assert escapes(100, functions=250, count=8) == (0, 2000)


def quadratic_escapes(seed, count=300):
    """How many exact values of random quadratic polynomials escape, at points where such are extreme."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 5))
    a, b, d = rng.normal(size=n), rng.normal(size=n) * rng.integers(0, 2), rng.normal(size=n) - 0.5
    centers, radii = rng.normal(size=(count, n)) / 4, rng.uniform(0, 1, count)
    x = BallForm.variables(centers, radii)
    bounds = (x @ a + np.square(x) @ d + np.square((x * b).sum(axis=1))).bounds
    bad = 0
    for trial in range(12):
        directions = (a, -a, b, -b)[trial % 4] + rng.normal(size=(count, n)) * 0.2
        unit = directions / np.linalg.norm(directions, axis=1, keepdims=True)
        points = centers + (radii * rng.uniform(0.3, 1 - 1e-9, count))[:, None] * unit
        for y, lo, hi in zip(points.tolist(), bounds.lo.tolist(), bounds.hi.tolist(), strict=True):
            y = [Fraction(v) for v in y]
            value = sum(Fraction(p) * v + Fraction(q) * v * v for p, q, v in zip(a, d, y, strict=True))
            value += sum(Fraction(p) * v for p, v in zip(b, y, strict=True)) ** 2
            bad += not lo <= value <= hi
    return bad


def turning_escapes():
    """x - d x^2 on [-1, 1] has the maximum 1/(4 d) at 1/(2 d) for d > 1/2."""
    d = np.linspace(0.5, 2, 31)
    x = BallForm.variables(np.zeros((31, 1)), np.ones(31))
    return int(((x[:, 0] - d * np.square(x[:, 0])).bounds.hi < 1 / (4 * d)).sum())


@pytest.mark.parametrize("seed", range(6))
def test_no_value_of_a_quadratic_polynomial_escapes(seed):
    assert quadratic_escapes(seed, count=60) + turning_escapes() == 0


MUTANTS = {
    "radius forgotten in squares": ("_Form.squared", "np.square(a)", "0.0"),
    "mixed terms forgotten": ("_Form.squared", "mixed + 2 * length", "2 * length"),
    "products of linear and square": ("_Form.squared", "mixed + 2 * length * bend", "mixed"),
    "vertex where there is none": ("_peak", "slope < -2 * bend", "slope < -bend"),
    "curvature forgotten": ("_peak", "np.maximum(slope + bend, 0.0)", "slope"),
    "slope taken for exact": ("BallForm._linearised", "moved.error + up(doubt * far)", "moved.error"),
    "spread forgotten in products": ("_product", "first.spread() * second.spread()", "0.0"),
    "errors lost in sums": ("_Form.plus", "up(self.error + other.error)", "self.error"),
    "sign of squares": ("_Form.peaks", "_peak(slope, -least)", "_peak(slope, -most)"),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_mutants(name, monkeypatch):
    path, old, new = MUTANTS[name]
    owner, _, method = path.rpartition(".")
    owner = getattr(balls, owner) if owner else balls
    source = inspect.cleandoc("\n" + inspect.getsource(getattr(owner, method)))
    assert source.count(old) == 1
    exec(source.replace(old, new), vars(balls) | {}, made := {})
    monkeypatch.setattr(owner, method, made[method])
    found = (quadratic_escapes(seed, count=60) for seed in range(6))
    assert any(found) or turning_escapes() or any(escapes(seed)[0] for seed in range(8)) or escapes(100, 250, 8)[0]


def test_without_rounding_exact_values_escape(monkeypatch):
    for name in ("up", "down"):
        monkeypatch.setattr(balls, name, lambda x, units=1: x)
    monkeypatch.setattr(balls, "UNIT", 0.0)
    centers, radii = np.random.default_rng(0).uniform(-2, 2, (500, 3)), np.zeros(500)
    x = BallForm.variables(centers, radii)
    form = np.square(x).sum(axis=1).form  # the natural bounds keep their own rounding
    low, high = form.range()
    exact = [sum(Fraction(v) ** 2 for v in c) for c in centers.tolist()]
    assert sum(not lo <= v <= hi for lo, v, hi in zip(low.tolist(), exact, high.tolist(), strict=True)) > 100


@pytest.mark.parametrize("n", [1, 2, 5, 10])
def test_quadratic_functions_have_their_exact_range(n):
    """|x|^2 and |x| on a ball reach (|c| + r)^2 and max(|c| - r, 0)^2; a.x reaches a.c +- |a| r."""
    rng = np.random.default_rng(n)
    centers, radii = rng.uniform(-2, 2, (200, n)), rng.uniform(0, 2, 200)
    x = BallForm.variables(centers, radii)
    size = np.linalg.norm(centers, axis=1)
    far, near = size + radii, np.maximum(size - radii, 0.0)
    for form, low, high in (
        (np.square(x).sum(axis=1), near**2, far**2),
        (np.linalg.norm(x, axis=1), near, far),
        (np.exp(-np.square(x).sum(axis=-1)), np.exp(-(far**2)), np.exp(-(near**2))),
        (x @ np.arange(1.0, n + 1), None, None),
    ):
        if low is None:
            a = np.arange(1.0, n + 1)
            low, high = (centers @ a + s * np.linalg.norm(a) * radii for s in (-1, 1))
        assert (form.bounds.lo <= low + 1e-12).all() and (form.bounds.hi >= high - 1e-12).all()
        assert np.abs(form.bounds.lo - low).max() < 1e-7 and np.abs(form.bounds.hi - high).max() < 1e-11
    # |x - p|^2 for a point p of the caller's, written as a sum of squares of differences
    p = np.ones(n)
    shifted = ((x - p) ** 2).sum(axis=1)
    assert np.abs(shifted.bounds.hi - (np.linalg.norm(centers - p, axis=1) + radii) ** 2).max() < 1e-11


def test_negative_curvature_has_its_turning_point():
    """x - x^2 on [-1/2, 1] has its maximum 1/4 inside, and 2 x - x^2 grows up to the end of [-1/2, 1/2]."""
    x = BallForm.variables(np.array([[0.25], [0.0]]), np.array([0.75, 0.5]))
    y = (x - np.square(x))[:, 0].bounds
    assert abs(y.hi[0] - 0.25) < 1e-13
    assert abs((2 * x - np.square(x))[:, 0].bounds.hi[1] - 0.75) < 1e-13


def test_shapes_follow_numpy():
    x = BallForm.variables(np.zeros((4, 3)), np.ones(4))
    made = np.stack([x[:, 0] + 1, 2 * x[:, 1]], axis=1)
    assert made.shape == (4, 2) and made.T.shape == (2, 4) and made[:, 1].bounds.hi[0] >= 2
    full = np.concatenate([made, np.ones((4, 1)) + 0 * x[:, :1]], axis=1)
    assert full.shape == (4, 3) and abs(full.bounds.hi[0, 2] - 1) < 1e-14
    assert abs((full.sum(axis=1)).bounds.hi[0] - (2 + np.sqrt(5))) < 1e-12  # x + 2 y is kept together
    with pytest.raises(TypeError, match="data-dependent branch"):
        np.where(x[:, 0] > 0, 1.0, 0.0)


def test_overflow_proves_nothing():
    x = BallForm.variables(np.array([[1e200, 0.0], [1.0, 2.0]]), np.array([1.0, 1e-3]))
    y = (np.square(x) * np.square(x)).sum(axis=1).bounds
    assert y.hi[0] == np.inf and y.lo[0] >= 0 and abs(y.hi[1] - 17) < 0.1


@pytest.mark.parametrize("name", ["gaussian", "bump", "cone", "ridge", "rings", "saddle", "affine_bump"])
@pytest.mark.parametrize("domain", [None, Box.cube(5, 1.0), Ball(np.zeros(5), 1.2)])
def test_ranges_on_balls_hold_all_values(name, domain):
    f = targets.get(name, dim=5, **({"domain": domain} if domain else {}))
    bounds = enclosure_of(f)
    rng = np.random.default_rng(5)
    centers, radii = rng.uniform(-1.2, 1.2, (300, 5)), rng.uniform(0, 1, 300)
    low, high = bounds.range_on_balls(centers, radii, domain)
    natural = bounds.range(centers - radii[:, None], centers + radii[:, None])
    met = np.ones(300, bool) if domain is None else domain.distance(centers) < radii
    assert (low[met] >= natural[0][met] - 1e-12).all() and (high[met] <= natural[1][met] + 1e-12).all()
    for _ in range(60):
        x = inside(rng, centers, radii)
        held = np.ones(300, bool) if domain is None else domain.contains(x)
        y = f(x[held])
        assert (low[held] <= y + 1e-13).all() and (y - 1e-13 <= high[held]).all()


def test_proved_slopes_narrow_what_forms_do_not():
    """cos(3 |x|) far away: a small ball, whose values change by no more than 3 r."""
    f = targets.rings(dim=8)
    low, high = enclosure_of(f).range_on_balls(np.full((1, 8), 0.9), [0.05], None)
    assert 0.05 < (high - low)[0, 0] <= 0.3 + 1e-12


def test_residuals_on_balls_keep_the_slope():
    """f - L of a sloped bump is the bump: as narrow as that of the bump alone, up to the lost correlation of exp."""
    f = targets.affine_bump(dim=6)
    low, high = enclosure_of(f).range_on_balls(np.full((1, 6), 2.0), [0.25], None, f.affine)
    assert low[0, 0] >= -1e-8 and high[0, 0] < 1e-8


@pytest.mark.parametrize(
    ("centers", "radii", "match"),
    [
        ([[np.nan, 0.0]], [1.0], "finite"),
        ([[0.0, 0.0]], [np.inf], "finite"),
        ([[0.0, 0.0]], [-1.0], "negative radius"),
        ([[0.0, 0.0]], [1.0, 2.0], "radii"),
        ([[0.0]], [1.0], "centers"),
    ],
)
def test_refusals(centers, radii, match):
    with pytest.raises(ValueError, match=match):
        enclosure_of(targets.gaussian()).range_on_balls(centers, radii, None)
