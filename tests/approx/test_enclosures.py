"""Enclosures of targets: exact values in ball arithmetic stay inside, and the basis says what is assumed."""

import math

import numpy as np
import pytest
from flint import arb, ctx

from approx.affine import AffineMap
from approx.certification import intervals
from approx.certification.enclosures import CHUNK, EnclosureUnavailable, enclosure_of
from approx.certification.intervals import Interval
from approx.domains import Ball, Box
from approx.targets import (
    GALLERY,
    Target,
    estimate_lipschitz,
    from_expression,
    from_grid,
    from_numpy,
    from_samples,
    get,
)

CASES = 400  # boxes a target; each with three points


@pytest.fixture(autouse=True)
def precision():
    before, ctx.prec = ctx.prec, 300
    yield
    ctx.prec = before


def norm(x):
    return sum((t * t for t in x), arb(0)).sqrt()


def gaussian(x):
    return (-(norm(x) ** 2)).exp()


def bump(x):
    u = (norm(x) / 2.5) ** 2
    return (-u / (1 - u)).exp() if u < 1 else arb(0)


def ridge(x):
    return sum((t * arb(1 / (i + 1)) for i, t in enumerate(x)), arb(0)).tanh()


def saddle(x):
    return sum(((-1) ** i * t * t for i, t in enumerate(x)), arb(0)) * arb(1 / (9.0 * ((len(x) + 1) // 2)))


def affine_bump(x):
    return sum(((-1) ** i * arb(0.3 / len(x)) * t for i, t in enumerate(x)), arb(0.1)) + gaussian(x)


def franke(x):
    u, v = x
    hills = ((0.75, 0.75, 1.25, 0.75, 1.25), (0.5, 0.75, -1.25, 0.75, 0.75), (-0.2, 1.5, 0.5, 1.5, -2.5))
    total = arb(0.75) * (-(((arb(1.5) * u + arb(5.5)) / 7) ** 2) - (arb(1.5) * v + arb(5.5)) / 10).exp()
    for h, a, b, c, d in hills:
        total += arb(h) * (-((arb(a) * u + arb(b)) ** 2) - (arb(c) * v + arb(d)) ** 2).exp()
    return total


def peaks(x):
    u, v = x
    first = 3 * (1 - u) ** 2 * (-u * u - (v + 1) ** 2).exp()
    second = 10 * (u / 5 - u**3 - v**5) * (-u * u - v * v).exp()
    return (first - second - (-((u + 1) ** 2) - v * v).exp() / 3) / 8


def swirl(x):
    angle = arb(math.pi) * (-(norm(x) ** 2) / 2).exp()
    return [angle.cos() * x[0] - angle.sin() * x[1], angle.sin() * x[0] + angle.cos() * x[1]]


EXACT = {
    "gaussian": gaussian,
    "bump": bump,
    "affine_bump": affine_bump,
    "cone": norm,
    "ridge": ridge,
    "rings": lambda x: (3 * norm(x)).cos(),
    "saddle": saddle,
    "franke": franke,
    "peaks": peaks,
    "swirl": swirl,
}
FORMULAS = {
    "exp(-x^2)*sin(y)": lambda x: (-x[0] * x[0]).exp() * x[1].sin(),
    "max(abs(x), y) + sqrt(x^2 + y^2)": lambda x: abs(x[0]).max(x[1]) + norm(x),
    "2^x + log(4 + x)": lambda x: arb(2) ** x[0] + (4 + x[0]).log(),
    "x*y*z + tanh(x - y)/cosh(z)": lambda x: x[0] * x[1] * x[2] + (x[0] - x[1]).tanh() / x[2].cosh(),
    "arctan(x)^3 - 1/(1 + x^2)": lambda x: x[0].atan() ** 3 - 1 / (1 + x[0] * x[0]),
    "min(x, 0.25) * tan(y/3)": lambda x: x[0].min(arb(0.25)) * (x[1] / 3).tan(),
    "(x - y, x*y, 3)": lambda x: [x[0] - x[1], x[0] * x[1], arb(3)],
}
TARGETS = {name: (lambda name=name: get(name), exact) for name, exact in EXACT.items()}
TARGETS |= {f"{name} 5": (lambda name=name: get(name, dim=5), EXACT[name]) for name in list(EXACT)[:7]}
TARGETS |= {text: (lambda text=text: from_expression(text, lipschitz=99.0), exact) for text, exact in FORMULAS.items()}


def boxes_in(domain, count, seed=0):
    """Boxes of all sizes: points, tiny and large ones."""
    rng = np.random.default_rng(seed)
    limits = domain.bounding_box()
    middle = rng.uniform(limits.lower, limits.upper, (count, domain.dim))
    half = 10.0 ** rng.uniform(-9, 0, (count, 1)) * limits.widths / 4 * (rng.random((count, 1)) < 0.8)
    return np.maximum(middle - half, limits.lower), np.minimum(middle + half, limits.upper)


def outside(low, high, exact):
    """Whether one of the components certainly leaves its bounds."""
    exact = exact if isinstance(exact, list) else [exact]
    return any(value < lo or value > hi for lo, hi, value in zip(low.tolist(), high.tolist(), exact, strict=True))


def misses(name, seed=0):
    make, exact = TARGETS[name]
    target = make()
    lower, upper = boxes_in(target.domain, CASES, seed)
    low, high = enclosure_of(target).range(lower, upper)
    rng = np.random.default_rng(seed)
    bad = 0
    for share in (np.zeros(lower.shape), rng.integers(0, 2, lower.shape), rng.random(lower.shape)):
        inside = np.clip(lower + share * (upper - lower), lower, upper)
        bad += sum(
            outside(lo, hi, exact([arb(t) for t in x])) for lo, hi, x in zip(low, high, inside.tolist(), strict=True)
        )
    return bad


@pytest.mark.parametrize("name", TARGETS)
def test_exact_values_stay_inside_without_any_assumption(name):
    enclosure = enclosure_of(TARGETS[name][0]())
    assert (enclosure.basis, enclosure.conditional) == ("interval arithmetic", False)
    assert misses(name) == 0


@pytest.mark.parametrize("name", ["gaussian", "franke", "peaks", "swirl", "2^x + log(4 + x)"])
def test_without_rounding_exact_values_escape(name, monkeypatch):
    for side in ("down", "up"):
        monkeypatch.setattr(intervals, side, lambda x, units=1: x)
    assert misses(name) > 0


@pytest.mark.parametrize("name", [n for n in GALLERY if n != "terrain"])
def test_bounds_are_close(name):
    """At points to rounding; on small boxes to a few Lipschitz constants; never wider than the target's own."""
    target = get(name)
    enclosure = enclosure_of(target)
    points = target.domain.sample(200, seed=1)
    low, high = enclosure.range(points, points)
    assert (high - low <= 1e-12 * (1 + np.abs(target(points)))).all()
    np.testing.assert_allclose(0.5 * (low + high), target(points), rtol=0, atol=1e-12)
    half = 1e-3
    low, high = enclosure.range(points - half, points + half)
    assert (high - low <= 2 * 1.02 * target.lipschitz * half * math.sqrt(2) * target.dim_out).all()
    if target.enclosure is not None:
        own = target.enclosure(points - half, points + half)
        assert (own[0] <= low + 1e-15).all() and (high <= own[1] + 1e-15).all()


def test_infinite_sides():
    inf = np.inf
    slabs = np.array([[3.0, -inf], [-inf, -inf]]), np.array([[inf, inf], [inf, -3.0]])
    low, high = enclosure_of(get("gaussian")).range(*slabs)
    assert (low == 0).all() and (high <= math.exp(-9) * (1 + 1e-13)).all() and (high >= math.exp(-9)).all()
    low, high = enclosure_of(get("bump")).range(*slabs)
    assert (low == 0).all() and (high < 1e-300).all()
    low, high = enclosure_of(get("cone")).range(*slabs)
    assert (low > 3 - 1e-14).all() and (low <= 3).all() and (high == inf).all()
    low, high = enclosure_of(get("rings")).range(*slabs)
    assert (low == -1).all() and (high == 1).all()
    low, high = enclosure_of(get("ridge")).range([[3.0, -1.0]], [[inf, inf]])
    assert low[0, 0] == pytest.approx(math.tanh(2.5)) and high[0, 0] == 1
    for name in GALLERY:
        target = get(name)
        n = target.dim_in
        whole = enclosure_of(target).range(np.full((1, n), -inf), np.full((1, n), inf))
        mixed = enclosure_of(target).range([[-inf] * n, [0.0] * n], [[inf] * n, [1.0] * n])
        for low, high in (whole, mixed):
            assert not np.isnan([low, high]).any() and (low <= high).all() and (low < inf).all() and (high > -inf).all()
        assert np.isfinite(mixed[0][1]).all() and np.isfinite(mixed[1][1]).all()
    low, high = enclosure_of(get("peaks")).range(*slabs)
    assert np.isfinite(low).all() and np.isfinite(high).all()


def test_residuals():
    target = get("affine_bump", dim=3)
    enclosure = enclosure_of(target)
    lower, upper = boxes_in(target.domain, 300)
    low, high = enclosure.residual_range(lower, upper, target.affine)
    for lo, hi, x in zip(low, high, lower.tolist(), strict=True):
        assert not outside(lo, hi, gaussian([arb(t) for t in x]))
    plain = enclosure.range(lower, upper)
    middle = (lower + upper) / 2
    half = np.linalg.norm(upper - lower, axis=1)[:, None] / 2
    small = half < 1e-3  # the linear parts cancel: what is left varies like the gaussian alone
    assert small.sum() > 100 and (high - low <= 2.02 * 0.86 * math.sqrt(3) * half + 1e-14)[small].all()
    assert (high - low < plain[1] - plain[0])[small & (half > 0) & (np.linalg.norm(middle, axis=1) > 2)[:, None]].all()
    line = from_numpy(lambda x: 2 * x[:, 0], 1, domain=Box.cube(1, 1.0), lipschitz=2.0)
    low, high = enclosure_of(line).residual_range([[-1.0]], [[1.0]], AffineMap([[2.0]], [0.0]))
    assert -1e-14 < low[0, 0] <= 0 <= high[0, 0] < 1e-14
    far = np.array([[3.0, -np.inf]]), np.array([[np.inf, np.inf]])
    shifted = AffineMap.constant([0.25], 2)
    low, high = enclosure_of(get("gaussian")).residual_range(*far, shifted)
    assert low[0, 0] == pytest.approx(-0.25) and high[0, 0] == pytest.approx(math.exp(-9) - 0.25)
    low, high = enclosure_of(get("swirl")).residual_range(*far, get("swirl").affine)
    assert (low == -np.inf).all() and (high == np.inf).all()
    with pytest.raises(ValueError, match=r"(?s)received affine = .*required an AffineMap R\^2 -> R\^1"):
        enclosure_of(get("gaussian")).residual_range(*far, get("swirl").affine)


def test_the_batch_does_not_matter():
    target = get("peaks")
    enclosure = enclosure_of(target)
    lower, upper = boxes_in(target.domain, CHUNK + 7)
    low, high = enclosure.range(lower, upper)
    rows = [0, 5, CHUNK - 1, CHUNK, CHUNK + 6]
    for row in rows:
        one = enclosure.range(lower[row : row + 1], upper[row : row + 1])
        np.testing.assert_array_equal(one, (low[row : row + 1], high[row : row + 1]))
    assert [part.shape for part in enclosure.range(np.empty((0, 2)), np.empty((0, 2)))] == [(0, 1), (0, 1)]


def step(x):
    return np.where(x[:, 0] > 0, x[:, 0], 0.0)


def test_functions_with_branches_rest_on_the_lipschitz_constant():
    target = from_numpy(step, 1, domain=Box.cube(1, 2.0), lipschitz=1.0)
    enclosure = enclosure_of(target)
    assert enclosure.conditional
    assert enclosure.basis == "the claimed Lipschitz constant 1, and float64 values of f to 1e-12 max(1, |f|)"
    low, high = enclosure.range([[-1.0], [1.0], [1.5], [-np.inf]], [[1.0], [1.5], [9.0], [np.inf]])
    assert low.ravel() == pytest.approx([-1, 1, 1.5, -2]) and high.ravel() == pytest.approx([1, 1.5, 2, 2])
    assert (low.ravel() < [-1, 1, 1.5, -2]).all() and (high.ravel() > [1, 1.5, 2, 2]).all()
    low, high = enclosure.range([[2.0]], [[2.0]])
    assert 3.9e-12 < high[0, 0] - low[0, 0] < 4.1e-12  # what evaluation may have rounded


def test_modulus_in_a_ball():
    domain = Ball([1.0, 0.0], 1.0)

    def root(x):
        return np.where(np.linalg.norm(x - [1.0, 0.0], axis=1) < 1 + 1e-12, np.sqrt(np.maximum(x[:, 0], 0.0)), 1e3)

    enclosure = enclosure_of(from_numpy(root, 2, domain=domain, modulus=np.sqrt))
    assert "the claimed modulus of continuity" in enclosure.basis and enclosure.conditional
    rng = np.random.default_rng(0)
    middle, half = domain.bounding_box().sample(400), rng.uniform(0, 0.4, (400, 1))
    low, high = enclosure.range(middle - half, middle + half)
    for _ in range(20):
        inside = middle + half * rng.uniform(-1, 1, (400, 2))
        held = domain.contains(inside)
        values = root(inside[held])[:, None]
        assert held.sum() > 250 and (low[held] <= values).all() and (values <= high[held]).all()
    assert (high - low <= 2 * np.sqrt(2 * math.sqrt(2) * half) + 1e-9)[domain.contains(middle)].all()


def test_on_all_of_space_the_modulus_holds_beyond_the_domain():
    target = Target(
        fn=lambda x: np.where(np.abs(x[:, 0]) < 1, 1 - np.abs(x[:, 0]), 0.0),
        dim_in=1,
        domain=Box.cube(1, 1.0),
        lipschitz=1.0,
        affine=AffineMap.constant([0.0], 1),
    )
    low, high = enclosure_of(target).range([[4.0], [4.0]], [[4.5], [np.inf]])
    assert low.ravel().tolist() == pytest.approx([-0.25, -np.inf]) and high.ravel() == pytest.approx([0.25, np.inf])


@pytest.mark.parametrize("known", ["estimated", "none"])
def test_without_a_proof_or_a_claim_there_is_no_enclosure(known):
    target = Target(fn=step, dim_in=1, domain=Box.cube(1, 2.0))
    if known == "estimated":
        target = estimate_lipschitz(target, samples=64)
    pattern = "estimated from samples" if known == "estimated" else "no Lipschitz constant"
    with pytest.raises(
        EnclosureUnavailable, match=rf"{pattern}, whose fn.*numpy\.greater.*pass enclosure=, lipschitz="
    ):
        enclosure_of(target)
    smooth = estimate_lipschitz(Target(fn=lambda x: np.sin(x[:, 0]), dim_in=1, domain=Box.cube(1, 2.0)))
    assert not enclosure_of(smooth).conditional


def test_given_enclosures():
    grid = from_grid(np.random.default_rng(0).normal(size=(5, 6, 2)), vector=True)
    enclosure = enclosure_of(grid)
    assert (enclosure.basis, enclosure.conditional) == ("the target's enclosure", False)
    lower, upper = boxes_in(grid.domain, 200)
    low, high = enclosure.range(lower, upper)
    own = grid.enclosure(lower, upper)
    assert (low < own[0]).all() and (high > own[1]).all() and np.allclose(low, own[0]) and np.allclose(high, own[1])
    low, high = enclosure.residual_range(lower, upper, AffineMap(np.eye(2), [1.0, 0.0]))
    values = grid(upper) - upper - [1.0, 0.0]
    assert (low <= values).all() and (values <= high).all()
    samples = from_samples([[0.0], [1.0], [3.0]], [0.0, 2000.0, 1.0])
    assert enclosure_of(samples).basis == "the target's enclosure"
    x = np.linspace(0, 3, 101)[:, None]
    low, high = enclosure_of(samples).range(x, x)
    assert (low <= samples(x)).all() and (samples(x) <= high).all() and (high - low < 1e-9).all()

    def own_bounds(lower, upper):
        return np.maximum(lower, 0.0), np.maximum(upper, 0.0)

    claimed = enclosure_of(from_numpy(step, 1, domain=Box.cube(1, 1.0), enclosure=own_bounds))
    assert (claimed.basis, claimed.conditional) == ("the target's enclosure, as claimed by the caller", True)
    unknown = from_numpy(step, 1, domain=Box.cube(1, 1.0), enclosure=lambda a, b: (a * np.nan, b * np.nan))
    assert np.isinf(enclosure_of(unknown).range([[0.0]], [[1.0]])).all()


@pytest.mark.parametrize(
    "bounds, pattern",
    [
        (lambda a, b: (b[:, 0], a[:, 0]), "received low > high"),
        (lambda a, b: (a.T, b.T), r"bounds of shapes \(1, 2\)"),
        (lambda a, b: (a, b[0]), "bounds of shapes"),
        (lambda a, b: ("a", "b"), "array of real numbers"),
    ],
)
def test_malformed_enclosures(bounds, pattern):
    enclosure = enclosure_of(from_numpy(step, 1, domain=Box.cube(1, 1.0), lipschitz=1.0, enclosure=bounds))
    with pytest.raises((ValueError, TypeError), match=pattern):
        enclosure.range([[-1.0], [0.0]], [[0.5], [1.0]])


def two_faced(x):
    return np.sin(x[:, 0]) if isinstance(x, np.ndarray) else np.cos(x[:, 0])


def scribbler(x):
    column = x[:, 0]
    column += 1.0
    return column


@pytest.mark.parametrize(
    "fn, pattern",
    [
        (two_faced, "other values on intervals"),
        (scribbler, "read-only"),
        (
            lambda x: np.stack([x[:, 0]] * 2, axis=1)[:, :1] if isinstance(x, np.ndarray) else x[:, :0],
            "values of shape",
        ),
    ],
)
def test_functions_that_treat_intervals_differently_are_caught(fn, pattern):
    harmless = fn if fn is not scribbler else (lambda x: scribbler(x.copy() if isinstance(x, np.ndarray) else x))
    with pytest.raises(EnclosureUnavailable, match=pattern):
        enclosure_of(Target(fn=harmless, dim_in=1, domain=Box.cube(1, 1.0)))


def test_functions_defined_on_a_ball_only():
    dome = from_numpy(lambda x: np.sqrt(1 - np.sum(x**2, axis=1)), 2, domain=Ball([0.0, 0.0], 0.999), lipschitz=25.0)
    enclosure = enclosure_of(dome)
    assert not enclosure.conditional
    lower = np.array([[-1.0, -1.0], [0.5, 0.5], [0.9, 0.9], [0.0, 0.0]])
    sides = np.array([[2.0, 2.0], [0.5, 0.5], [0.1, 0.1], [0.1, 0.1]])
    low, high = enclosure.range(lower, lower + sides)
    assert low[:2, 0] == pytest.approx([0, 0]) and high[:2, 0] == pytest.approx([1, math.sqrt(0.5)])
    assert (low[2, 0], high[2, 0]) == (-np.inf, np.inf)  # defined nowhere
    assert high[3, 0] - low[3, 0] < 0.02


def test_mean_value_form_is_used_and_may_be_missing():
    cancelling = from_numpy(lambda x: x[:, 0] - x[:, 0] ** 2, 1, domain=Box.cube(1, 1.0), lipschitz=3.0)
    low, high = enclosure_of(cancelling).range([[0.45]], [[0.55]])
    assert high[0, 0] - low[0, 0] < 0.011
    natural = from_numpy(lambda x: x[:, 0] - np.log2(1 + x[:, 0] ** 2), 1, domain=Box.cube(1, 1.0), lipschitz=3.0)
    assert not enclosure_of(natural).conditional
    x = np.array([[0.45], [0.55]])
    function = natural.fn(Interval(x[:1], x[1:]))
    assert enclosure_of(natural).range(x[:1], x[1:])[0][0, 0] == function.lo[0]


@pytest.mark.parametrize(
    "lower, upper, pattern",
    [
        ([[0.0, 0.0]], [[1.0, -1.0]], "a box with lower > upper"),
        ([[0.0, np.nan]], [[1.0, 1.0]], "lower containing NaN"),
        ([[np.inf, 0.0]], [[np.inf, 1.0]], "lower <= upper"),
        ([[0.0]], [[1.0]], r"required shape \(\.\.\., 2\)"),
        ([0.0, 0.0], [1.0, 1.0], r"required both \(k, n\)"),
        ([[0.0, 0.0]], [[1.0, 1.0]] * 2, r"upper of shape \(2, 2\)"),
        ([["a", "b"]], [[1.0, 1.0]], "array of real numbers"),
    ],
)
def test_malformed_boxes(lower, upper, pattern):
    with pytest.raises((ValueError, TypeError), match=pattern):
        enclosure_of(get("gaussian")).range(lower, upper)


def test_only_targets():
    with pytest.raises(TypeError, match="required a Target"):
        enclosure_of(np.sin)
