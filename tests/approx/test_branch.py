"""Branch and bound against definitions by brute force, exact fractions and known suprema; and against mutants of it."""

import inspect
import itertools
import math
import pickle
import textwrap
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from fractions import Fraction
from multiprocessing import get_context

import numpy as np
import pytest

from approx.affine import AffineMap
from approx.certification import _boxes, _halving, _union, branch, cells
from approx.certification.branch import branch_and_bound
from approx.certification.cells import Cells
from approx.covers import Cover
from approx.domains import Ball, Box, WholeSpace

CUBE = {n: Box.cube(n, 1.0) for n in (1, 2, 3, 4)}


class Quadratic:
    """f_c(x) = a_c + sum_j (b_cj x_j + q_cj x_j^2): exact in fractions, and with easy bounds."""

    def __init__(self, a, b, q):
        self.a, self.b, self.q = (np.array(v, dtype=float) for v in (a, b, q))

    def __call__(self, x):
        return self.a + x @ self.b.T + x**2 @ self.q.T

    def exact(self, x):
        rows = zip(self.a, self.b, self.q, strict=True)
        return [
            Fraction(a) + sum(Fraction(s) * t + Fraction(r) * t * t for s, r, t in zip(b, q, x, strict=True))
            for a, b, q in rows
        ]

    def range(self, lower, upper):
        low, high = np.tile(self.a, (len(lower), 1)), np.tile(self.a, (len(lower), 1))
        size = np.abs(low)
        for j in range(lower.shape[1]):
            b, q = self.b[:, j], self.q[:, j]
            with np.errstate(divide="ignore", invalid="ignore"):
                top = np.where(q != 0, -b / (2 * q), 0.0)
            ends = [lower[:, j, None], upper[:, j, None], np.clip(top, lower[:, j, None], upper[:, j, None])]
            values = np.stack([b * t + q * t * t for t in ends])
            low, high = low + values.min(axis=0), high + values.max(axis=0)
            size = size + np.abs(values).max(axis=0)
        return low - 1e-13 * size, high + 1e-13 * size


def line(slope, dim=1):
    """x -> slope . x as a Quadratic."""
    return Quadratic([0.0], [np.broadcast_to(slope, (dim,))], [np.zeros(dim)])


def constant(value, dim=1):
    value = np.atleast_1d(value)
    return Quadratic(value, np.zeros((len(value), dim)), np.zeros((len(value), dim)))


@dataclass
class Problem:
    """One question, and points where F is to be tried besides random ones."""

    cells: Cells
    values: np.ndarray
    affine: AffineMap
    f: Quadratic
    domain: Box | Ball
    points: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))
    options: dict = field(default_factory=dict)

    def solve(self, **options):
        call = (self.cells, self.values, self.affine, self.f, self.domain)
        return branch.branch_and_bound(*call, **{"tol": 1e-3, "max_boxes": 100_000} | self.options | options)

    def gauge(self, x):
        """(k, N) |A_i x - u_i| - rho_i by definition."""
        c = self.cells
        vectors = x[:, None, :] if c.matrices is None else np.einsum("ipa,ka->kip", c.matrices, x)
        return np.linalg.norm(vectors - c.offsets, axis=2) - c.radii

    def errors(self, x):
        """(k,) the largest |F - f| at each point that boundaries within the collars and value errors allow, less a
        tolerance for float64."""
        gauge, wanted = self.gauge(x), self.f(x)
        collars = self.cells.collars
        extra = np.broadcast_to(self.options.get("value_error", 0.0), (len(collars) + 1,))
        open_, best = np.ones(len(x), bool), np.zeros(len(x))
        for i, value in enumerate(self.values):
            size = np.linalg.norm(wanted - value, axis=1) + extra[i]
            best = np.where(open_ & (gauge[:, i] < collars[i] - 1e-14), np.maximum(best, size), best)
            open_ &= gauge[:, i] > -collars[i] + 1e-14
        outside = np.linalg.norm(wanted - self.affine(x), axis=1) + extra[-1]
        return np.where(open_, np.maximum(best, outside), best)

    def samples(self, count, rng):
        """Points of the domain: spread out, near boundaries, and near where boundaries meet."""
        n = self.cells.dim_in
        parts = [self.domain.sample(count, int(rng.integers(1 << 30)))]
        if self.points.size:
            parts.append(self.points)
        near = parts[0][: count // 4].copy()
        for _ in range(3 * n):  # Newton steps towards boundaries chosen at random
            for k in range(len(near) if len(self.cells) else 0):
                i = int(rng.integers(len(self.cells)))
                a = np.eye(n) if self.cells.matrices is None else self.cells.matrices[i]
                v = a @ near[k] - self.cells.offsets[i]
                length = np.linalg.norm(v)
                slope = a.T @ v / max(length, 1e-300)
                if slope @ slope > 0 and self.cells.radii[i] < np.inf:
                    near[k] -= (length - self.cells.radii[i]) * slope / (slope @ slope)
        for shift in (0.0, 1e-9, 1e-6):
            parts.append(near + shift * rng.normal(size=near.shape))
        points = np.concatenate(parts)
        return points[self.domain.contains(points)]


def lower_is_exact(problem, bracket):
    """At argmax, in fractions: the point is in the domain and outside all collars, and |F - f| >= lower there."""
    if bracket.argmax is None:
        return bracket.lower == 0
    x = [Fraction(float(v)) for v in bracket.argmax]
    c = problem.cells
    if isinstance(problem.domain, Box):
        spans = zip(problem.domain.lower, x, problem.domain.upper, strict=True)
        inside = all(Fraction(low) <= t <= Fraction(high) for low, t, high in spans)
    else:
        square = sum((t - Fraction(z)) ** 2 for t, z in zip(x, problem.domain.center, strict=True))
        inside = square <= Fraction(problem.domain.radius) ** 2
    if not inside:
        return False
    first = -1
    for i in range(len(c)):
        if c.matrices is None:
            vector = [t - Fraction(u) for t, u in zip(x, c.offsets[i], strict=True)]
        else:
            rows = zip(c.matrices[i], c.offsets[i], strict=True)
            vector = [sum(Fraction(a) * t for a, t in zip(row, x, strict=True)) - Fraction(u) for row, u in rows]
        square = sum(t * t for t in vector)
        if c.collars[i] == np.inf:
            return False
        radius = Fraction(min(float(c.radii[i]), 1e9))  # beyond the domain all the same
        small, large = (radius + s * Fraction(float(c.collars[i])) for s in (-1, 1))
        if small > 0 and square < small**2:
            first = i
            break
        if large > 0 and square <= large**2:
            return False  # in a collar
    extra = np.broadcast_to(problem.options.get("value_error", 0.0), (len(c) + 1,))[first]
    if first >= 0:
        value = [Fraction(float(v)) for v in problem.values[first]]
    else:
        rows = zip(problem.affine.matrix, problem.affine.offset, strict=True)
        value = [sum(Fraction(a) * t for a, t in zip(row, x, strict=True)) + Fraction(b) for row, b in rows]
    square = sum((v - w) ** 2 for v, w in zip(value, problem.f.exact(x), strict=True))
    return (Fraction(bracket.lower) + Fraction(float(extra))) ** 2 <= square or bracket.lower == 0


def check(problem, count=400, seed=0, **options):
    """The bracket of a problem, after comparing it with exact arithmetic and with samples."""
    bracket = problem.solve(**options)
    assert lower_is_exact(problem, bracket)
    x = problem.samples(count, np.random.default_rng(seed))
    assert bracket.upper >= problem.errors(x).max() * (1 - 1e-12) - 1e-13
    assert 0 <= bracket.lower <= bracket.upper
    if bracket.status == "converged":
        wanted = {"tol": 1e-3, "eps": 0.0, "gap": 0.0} | problem.options | options
        near = max(wanted["tol"] or wanted["eps"] / 1000, wanted["gap"] * bracket.lower)
        assert bracket.upper <= bracket.lower + near
    assert (problem.domain.bounding_box().distance(bracket.worst_box) < 1e-12).all()
    return bracket


def random_problem(seed):
    rng = np.random.default_rng(seed)
    n, m, count = int(rng.integers(1, 4)), int(rng.integers(1, 3)), int(rng.integers(0, 7))
    centers = np.round(rng.uniform(-1, 1, (count, n)), int(rng.integers(1, 4)))
    radii = np.round(rng.uniform(0.2, 1.2, count), 2)
    if count > 2:  # a hidden cell, and one that touches its neighbour
        centers[-1], radii[-1] = centers[0], radii[0] / 2
        radii[1] = max(np.linalg.norm(centers[1] - centers[0]) - radii[0], radii[1])
    collar = float(rng.choice([0.0, 1e-9, 1e-3]))
    kind = rng.choice(["balls", "ellipsoids", "slabs"])
    if kind == "balls":
        shaped = Cells.around(centers, radii, None, collar)
    else:
        matrices = rng.normal(size=(count, n, n)) + 1.5 * np.eye(n)
        if kind == "slabs":
            matrices[:, n // 2 :, :] = 0.0
            matrices[:, 0, :] += 0.5
        shaped = Cells.around(centers, radii, matrices, collar)
    values = rng.normal(size=(count, m))
    f = Quadratic(rng.normal(size=m), rng.normal(size=(m, n)), rng.normal(size=(m, n)) * rng.integers(0, 2))
    affine = AffineMap(rng.normal(size=(m, n)) * rng.integers(0, 2), rng.normal(size=m))
    domain = Ball(np.round(rng.normal(size=n) / 4, 1), 1.0) if rng.random() < 0.3 else CUBE[n]
    error = float(rng.choice([0.0, 0.0, 0.01]))
    tol = {1: 1e-3, 2: 0.02, 3: 0.1}[n]
    return Problem(shaped, values, affine, f, domain, options={"value_error": error, "tol": tol, "max_boxes": 20_000})


@pytest.mark.parametrize("group", range(10))
def test_random_problems(group):
    converged = 0
    for seed in range(36 * group, 36 * group + 36):
        converged += check(random_problem(seed), seed=seed).status == "converged"
    assert converged >= 18


def exact_supremum(problem):
    """sup |F - f| for n = m = 1 and balls without collars, in fractions: f - F is a parabola on open intervals."""
    c, domain = problem.cells, problem.domain
    lows = [Fraction(float(u)) - Fraction(float(r)) for (u,), r in zip(c.offsets, c.radii, strict=True)]
    highs = [Fraction(float(u)) + Fraction(float(r)) for (u,), r in zip(c.offsets, c.radii, strict=True)]
    ends = {Fraction(float(domain.lower[0])), Fraction(float(domain.upper[0]))}
    ends |= {t for t in lows + highs if min(ends) < t < max(ends)}
    ends = sorted(ends)
    candidates = []
    for low, high in itertools.pairwise(ends):
        candidates.append(((low + high) / 2, (low, high)))
    candidates += [(t, (t, t)) for t in ends]
    b, q = Fraction(float(problem.f.b[0, 0])), Fraction(float(problem.f.q[0, 0]))
    largest = Fraction(0)
    for inside, (low, high) in candidates:
        first = next((i for i in range(len(c)) if lows[i] < inside < highs[i]), None)
        slope = Fraction(0) if first is not None else Fraction(float(problem.affine.matrix[0, 0]))
        value = Fraction(float(problem.values[first, 0] if first is not None else problem.affine.offset[0]))
        tries = [low, high]
        if q and low < (slope - b) / (2 * q) < high:
            tries.append((slope - b) / (2 * q))
        largest = max([largest, *(abs(problem.f.exact([t])[0] - slope * t - value) for t in tries)])
    return largest


def test_one_dimension_exactly():
    rng, converged = np.random.default_rng(5), 0
    for _ in range(150):
        count, digits = int(rng.integers(0, 8)), int(rng.choice([1, 9]))
        centers, radii = rng.uniform(-1, 1, (count, 1)), rng.uniform(0.05, 0.6, count)
        centers, radii = np.round(centers, digits), np.round(radii, digits) + 0.05
        f = Quadratic(rng.normal(size=1), rng.normal(size=(1, 1)), rng.normal(size=(1, 1)))
        affine = AffineMap(rng.normal(size=(1, 1)), rng.normal(size=1))
        problem = Problem(Cells(centers, radii), rng.normal(size=(count, 1)), affine, f, CUBE[1])
        bracket, exact = problem.solve(tol=1e-6), exact_supremum(problem)
        assert Fraction(bracket.lower) <= exact <= Fraction(bracket.upper)
        converged += bracket.status == "converged"
        assert bracket.status == "converged" or digits == 1  # intervals that touch exactly: a matter of rounding
    assert converged > 120


def test_maximum_at_a_corner():
    """f = x + y + z, L = f exactly, one ball: the largest error is at the corners of the cube that the ball reaches."""
    f, affine = line(1.0, 3), AffineMap([[1.0, 1.0, 1.0]], [0.0])
    whole = check(Problem(Cells([[0.0] * 3], [1.8]), [[0.0]], affine, f, CUBE[3]))
    assert whole.status == "converged" and whole.lower <= 3.0 <= whole.upper
    # The corners are outside a ball of radius 1.7: the largest x + y + z on it is in the direction of a corner.
    part = check(Problem(Cells([[0.0] * 3], [1.7]), [[0.0]], affine, f, CUBE[3]))
    wanted = 1.7 * math.sqrt(3)
    assert part.status == "converged" and part.lower <= wanted <= part.upper
    # Without a cell, nothing is left: the bounds of f - L know it only through residual_range.
    f.residual_range = lambda lower, upper, affine: (np.zeros((len(lower), 1)), np.zeros((len(lower), 1)))
    none = check(Problem(Cells(np.empty((0, 3)), np.empty(0)), np.empty((0, 1)), affine, f, CUBE[3]))
    assert (none.lower, none.upper) == (0.0, 0.0)


def test_known_suprema():
    # A paraboloid |x|^2 on the unit ball against 0, and against its mean value 1/2 on a smaller ball.
    f = Quadratic([0.0], [[0.0, 0.0]], [[1.0, 1.0]])
    disc = Ball([0.0, 0.0], 1.0)
    empty = Cells(np.empty((0, 2)), np.empty(0))
    bracket = check(Problem(empty, np.empty((0, 1)), AffineMap.constant([0.0], 2), f, disc))
    assert bracket.status == "converged" and bracket.lower <= 1.0 <= bracket.upper
    half = Problem(Cells([[0.0, 0.0]], [0.5]), [[0.5]], AffineMap.constant([1.0], 2), f, disc)
    bracket = check(half)
    assert bracket.status == "converged" and bracket.lower <= 0.75 <= bracket.upper
    # Two components, slab |x| < 1/2 with value (1, 1): |(1, 1) - (x, 2 y)| is largest at (-1/2, -1).
    f = Quadratic([0.0, 0.0], [[1.0, 0.0], [0.0, 2.0]], np.zeros((2, 2)))
    slab = Cells([[0.0]], [0.5], [[[1.0, 0.0]]])
    bracket = check(Problem(slab, [[1.0, 1.0]], AffineMap(f.b, [0.0, 0.0]), f, CUBE[2]), tol=1e-5)
    assert bracket.status == "converged" and bracket.lower <= math.hypot(1.5, 3.0) <= bracket.upper


TOUCHING = Problem(  # the intervals (-1.5, 0) and (0, 1.5) and collars that both reach 0; the painted values are right
    Cells([[-0.75], [0.75]], [0.75, 0.75], collars=1e-9),
    np.zeros((2, 1)),
    AffineMap.constant([5.0], 1),
    constant(0.0),
    CUBE[1],
    points=np.array([[0.0], [1e-10]]),
)


def test_touching_cells_charge_the_affine_map():
    bracket = check(TOUCHING)
    assert (bracket.status, bracket.upper, bracket.lower) == ("rounding", pytest.approx(5.0), 0.0)
    assert -1 in bracket.worst_cells and {0, 1} <= set(bracket.worst_cells)
    assert np.abs(bracket.worst_box).max() < 1e-8
    overlapping = replace(TOUCHING, cells=Cells([[-0.75], [0.75]], [0.75 + 1e-6, 0.75], collars=1e-9))
    assert check(overlapping).status == "converged"
    assert check(overlapping).upper == 0.0
    # Without collars, the single point 0 keeps its value 5 in exact arithmetic.
    assert check(replace(TOUCHING, cells=Cells([[-0.75], [0.75]], [0.75, 0.75]))).upper >= 5.0


def test_boundary_through_the_middle_of_the_box():
    """The first point looked at, 0, lies on the boundary of one cell and inside the other: F is never 1."""
    problem = Problem(
        Cells([[1.0], [-1.0]], [1.0, 1.1]), np.zeros((2, 1)), AffineMap.constant([1.0], 1), constant(0.0), CUBE[1]
    )
    bracket = check(problem, max_boxes=1)
    assert bracket.lower == 0.0
    assert check(problem).upper == 0.0


def test_narrow_spike():
    """A spike of width 1e-3, which a million samples on the plane would rarely meet."""

    class Spike:
        center = np.array([0.3217, -0.6789])

        def range(self, lower, upper):
            near = np.maximum(np.maximum(lower - self.center, self.center - upper), 0.0)
            far = np.maximum(np.abs(lower - self.center), np.abs(upper - self.center))
            low, high = (np.exp(-(d**2).sum(axis=1) / 1e-6)[:, None] for d in (far, near))
            return low * (1 - 1e-12), np.minimum(high * (1 + 1e-12), 1.0)

    empty = Cells(np.empty((0, 2)), np.empty(0))
    call = (empty, np.empty((0, 1)), AffineMap.constant([0.0], 2), Spike(), CUBE[2])
    bracket = branch_and_bound(*call, tol=1e-6)
    assert bracket.status == "converged" and 1.0 <= bracket.upper <= 1 + 1e-12
    assert np.abs(bracket.argmax - Spike.center).max() < 1e-5
    assert branch_and_bound(*call, eps=0.9).status == "eps refuted"
    assert branch_and_bound(*call, eps=1.1).status == "eps proved"


def test_decisions():
    f = Quadratic([0.0], [[1.0]], [[0.0]])
    problem = Problem(Cells([[0.0]], [0.6]), [[0.0]], AffineMap([[1.0]], [0.0]), f, CUBE[1])  # sup = 0.6, not attained
    assert check(problem, tol=None, eps=0.61).status == "eps proved"
    assert check(problem, tol=None, eps=0.59).status == "eps refuted"
    tie = check(problem, tol=None, eps=0.6)
    assert tie.status == "converged" and tie.lower <= 0.6 <= tie.upper <= 0.6006
    assert check(problem, tol=None, eps=0.59).boxes <= check(problem, tol=1e-9).boxes
    unlimited = problem.solve(tol=None)
    assert unlimited.upper - unlimited.lower < 1e-12


def test_value_errors_on_both_sides():
    exact = Problem(Cells([[0.0]], [0.5]), [[0.0]], AffineMap([[1.0]], [0.0]), line(1.0), CUBE[1])
    bracket = check(replace(exact, options={"value_error": [0.125, 0.0]}), tol=1e-6)
    assert bracket.status == "rounding"
    assert bracket.lower == pytest.approx(0.375, abs=1e-5) and bracket.upper == pytest.approx(0.625, abs=1e-5)
    # The affine map's own error is charged outside the cell only.
    bracket = check(replace(exact, options={"value_error": [0.0, 0.75]}), tol=1e-6)
    assert bracket.upper == pytest.approx(0.75, abs=1e-3)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, "inverted"])
def test_nothing_is_proved_from_bounds_that_are_no_numbers(bad):
    class Broken:
        def range(self, lower, upper):
            if bad == "inverted":
                return np.ones((len(lower), 1)), -np.ones((len(lower), 1))
            low = np.where((lower <= 0.3) & (upper >= 0.3), bad, 0.0)
            return (low, np.zeros_like(low)) if bad == -np.inf else (np.zeros_like(low), low)

    for shaped in (Cells(np.empty((0, 1)), np.empty(0)), Cells([[0.0]], [2.0])):
        values, affine = np.zeros((len(shaped), 1)), AffineMap.constant([0.0], 1)
        bracket = branch_and_bound(shaped, values, affine, Broken(), CUBE[1], eps=1.0, max_boxes=5000)
        assert bracket.status in ("budget", "rounding")
        assert bracket.upper == np.inf


def test_bounds_that_contradict_each_other():
    class Wrong:  # a Lipschitz constant that is too small
        def range(self, lower, upper):
            middle, half = (lower + upper) / 2, (upper - lower) / 2
            return np.sin(9 * middle) - half, np.sin(9 * middle) + half

    empty = Cells(np.empty((0, 1)), np.empty(0))
    with pytest.raises(ValueError, match="bounds that do not contradict each other"):
        branch_and_bound(empty, np.empty((0, 1)), AffineMap.constant([0.0], 1), Wrong(), CUBE[1], tol=1e-3)


GOOD = {
    "cells": Cells([[0.0, 0.0]], [1.0]),
    "values": [[0.0]],
    "affine": AffineMap.constant([0.0], 2),
    "oracle": constant(0.0, 2),
    "domain": CUBE[2],
}


@pytest.mark.parametrize(
    ("change", "kind", "text"),
    [
        ({"cells": [[0.0, 0.0]]}, TypeError, "required Cells"),
        ({"affine": np.eye(2)}, TypeError, "required AffineMap"),
        ({"domain": WholeSpace(2)}, TypeError, "required Box or Ball. On R"),
        ({"domain": CUBE[3]}, ValueError, "required the same dimension"),
        ({"cells": Cells([[0.0]], [1.0])}, ValueError, "required the same dimension"),
        ({"oracle": lambda lower, upper: (lower, upper)}, TypeError, r"an object with range\(lower, upper\)"),
        ({"oracle": constant([0.0, 0.0], 2)}, ValueError, r"required shape \(1, 1\)"),
        ({"values": [[0.0], [1.0]]}, ValueError, "values of shape"),
        ({"values": [[np.nan]]}, ValueError, "finite numbers"),
        ({"value_error": -1.0}, ValueError, "one finite number >= 0"),
        ({"value_error": np.nan}, ValueError, "one finite number >= 0"),
        ({"value_error": np.inf}, ValueError, "one finite number >= 0"),
        ({"value_error": [0.0]}, ValueError, r"\(2,\) of them"),
        ({"value_error": "much"}, TypeError, "real numbers"),
        ({"tol": 0.0}, ValueError, "tol > 0"),
        ({"tol": np.nan}, ValueError, "a finite tol"),
        ({"eps": -1.0}, ValueError, "eps > 0"),
        ({"eps": "small"}, TypeError, "a real number"),
        ({"max_seconds": 0}, ValueError, "max_seconds > 0"),
        ({"max_boxes": 0}, ValueError, "1 <= max_boxes"),
    ],
)
def test_bad_arguments(change, kind, text):
    assert branch_and_bound(**GOOD).upper == 0.0
    with pytest.raises(kind, match=text):
        branch_and_bound(**GOOD | change)


@pytest.mark.parametrize(
    ("arguments", "kind", "text"),
    [
        (([[0.0]], [1.0, 2.0]), ValueError, r"required \(1,\) numbers"),
        (([[0.0]], [np.nan]), ValueError, "with NaN"),
        (([[np.inf]], [1.0]), ValueError, "finite numbers"),
        (([0.0], [1.0]), ValueError, "offsets of shape"),
        (([[0.0]], [1.0], [[[1.0]], [[1.0]]]), ValueError, "matrices of shape"),
        (([[0.0]], [1.0], np.empty((1, 1, 0))), ValueError, "n, p >= 1"),
        ((np.empty((1, 0)), [1.0]), ValueError, "n, p >= 1"),
        (([[0.0]], [1.0], None, -1.0), ValueError, "one number >= 0"),
        (([[0.0]], [1.0], None, [0.0, 0.0]), ValueError, r"\(1,\) of them"),
        (([[0.0]], ["wide"]), TypeError, "real numbers"),
    ],
)
def test_bad_cells(arguments, kind, text):
    with pytest.raises(kind, match=text):
        Cells(*arguments)


def test_empty_infinite_and_uncertain_cells():
    f, affine = constant(0.0), AffineMap.constant([1.0], 1)
    everything = Problem(Cells([[0.0]], [np.inf]), [[0.25]], affine, f, CUBE[1])
    assert check(everything).upper == pytest.approx(0.25)
    nothing = replace(everything, cells=Cells([[0.0], [0.0]], [0.0, -1.0]), values=np.array([[9.0], [9.0]]))
    assert check(nothing).upper == pytest.approx(1.0)
    unknown = replace(everything, cells=Cells([[0.0]], [0.5], collars=np.inf))  # anywhere or nowhere
    bracket = check(unknown, max_boxes=1000)
    assert bracket.lower == 0.0 and bracket.upper >= 1.0 and bracket.argmax is None


def test_cells_of_a_cover():
    rng = np.random.default_rng(3)
    shapes = rng.normal(size=(5, 2, 2)) + 2 * np.eye(2)
    affine = AffineMap.constant([0.0], 2)
    cover = Cover(rng.normal(size=(5, 2)), np.zeros((5, 1)), affine, shapes=shapes)
    made = Cells.of(cover, 1e-3)
    points = rng.normal(size=(2000, 2))
    gauge = np.linalg.norm(np.einsum("ipa,ka->kip", made.matrices, points) - made.offsets, axis=2)
    wanted = np.linalg.norm(np.einsum("ipa,kia->kip", shapes, points[:, None] - cover.centers), axis=2)
    assert np.abs(gauge - wanted).max() < 1e-13
    # Moving a point by 1e-3 changes |A x - u| by at most the collar.
    moved = points + 1e-3 * (lambda v: v / np.linalg.norm(v, axis=1)[:, None])(rng.normal(size=points.shape))
    change = np.abs(np.linalg.norm(np.einsum("ipa,ka->kip", shapes, moved) - made.offsets, axis=2) - gauge)
    assert (change <= made.collars).all() and (made.collars <= 1.5e-3 * np.linalg.norm(shapes, axis=(1, 2))).all()
    balls = Cells.of(Cover([[1.0, 2.0]], [[0.0]], affine, radii=[0.5]))
    assert balls.matrices is None and balls.collars.tolist() == [0.0]


def test_boxes_hold_their_cells():
    rng = np.random.default_rng(8)
    for n in (1, 2, 3):
        matrices = rng.normal(size=(40, n, n))
        matrices[::4, -1] = 0.0
        shaped = Cells.around(rng.normal(size=(40, n)), rng.uniform(0.1, 1, 40), matrices, 1e-3)
        lower, upper = np.full(n, -2.0), np.full(n, 2.0)
        low, high = shaped.boxes(lower, upper)
        points = rng.uniform(-2, 2, (4000, n))
        gauge = np.linalg.norm(np.einsum("ipa,ka->kip", matrices, points) - shaped.offsets, axis=2)
        held = gauge <= shaped.radii + shaped.collars
        assert ((points[:, None] >= low) & (points[:, None] <= high)).all(axis=2)[held].all()
        assert ((high - low).min(axis=1) < 4.0).any()


def test_budget_and_history():
    problem = replace(random_problem(7), domain=CUBE[random_problem(7).cells.dim_in])
    bracket = check(problem, tol=1e-12, max_boxes=3000)
    assert bracket.status in ("budget", "rounding") and bracket.boxes < 3000 + 4 * 4096
    seconds, lowers, uppers = bracket.history
    assert (np.diff(lowers) >= 0).all() and (np.diff(uppers) <= 0).all() and (np.diff(seconds) >= 0).all()
    assert (lowers[-1], uppers[-1]) == (bracket.lower, bracket.upper)
    again = problem.solve(tol=1e-12, max_boxes=3000)
    assert (again.lower, again.upper, again.boxes) == (bracket.lower, bracket.upper, bracket.boxes)
    at_once = problem.solve(max_seconds=1e-9)
    assert at_once.status == "budget" and at_once.upper >= bracket.lower


def test_a_relative_gap_is_enough():
    problem = replace(random_problem(7), domain=CUBE[random_problem(7).cells.dim_in])
    tight = check(problem, tol=1e-9)
    for gap in (0.3, 0.01):
        near = check(problem, tol=None, gap=gap)
        assert near.status == "converged" and tight.lower <= near.upper <= (1 + gap) * near.lower
        assert near.boxes < tight.boxes
    assert check(problem, tol=10.0, gap=1e-9).boxes == check(problem, tol=10.0).boxes
    with pytest.raises(ValueError, match="gap"):
        problem.solve(gap=-0.1)


@pytest.mark.parametrize("compiled", [False, True])
def test_interrupted_search_keeps_what_it_has(compiled):
    class Impatient(Quadratic):
        calls = 0

        def range(self, lower, upper):
            self.calls += 1
            if self.calls == 9 and compiled:  # where Ctrl-C comes while a compiled function runs
                raise SystemError("returned a result with an exception set") from KeyboardInterrupt()
            if self.calls == 9:
                raise KeyboardInterrupt
            return super().range(lower, upper)

    problem = random_problem(11)
    problem.f = Impatient(problem.f.a, problem.f.b, problem.f.q)
    bracket = check(problem, tol=1e-9)
    assert bracket.status == "budget"


def sixty_cells():
    rng = np.random.default_rng(2)
    centers = rng.uniform(-1, 1, (60, 2))
    f = Quadratic([0.0], [[1.0, 0.5]], [[1.0, -1.0]])
    return Problem(
        Cells(centers, np.full(60, 0.3), collars=1e-9), f(centers), AffineMap([[1.0, 0.5]], [0.0]), f, CUBE[2]
    )


class Failing:
    """An executor whose tasks all end like this."""

    def __init__(self, error):
        self.error = error

    def submit(self, *_):
        future = Future()
        future.set_exception(self.error)
        return future


def test_ctrl_c_while_tasks_run_keeps_what_was_known(monkeypatch):
    monkeypatch.setattr(_halving, "_BATCH", 4)
    problem = sixty_cells()
    serial = check(problem, tol=1e-5)
    bracket = check(problem, tol=1e-5, executor=Failing(KeyboardInterrupt()))
    assert bracket.status == "budget" and bracket.lower <= serial.lower and serial.upper < bracket.upper


def test_an_oracle_that_does_not_pickle_is_named(monkeypatch):
    monkeypatch.setattr(_halving, "_BATCH", 4)
    problem = sixty_cells()
    with pytest.raises(TypeError, match="parts that pickle"):
        check(problem, tol=1e-5, executor=Failing(pickle.PicklingError("Can't pickle <lambda>")))
    with pytest.raises(TypeError, match="of another kind"):
        check(problem, tol=1e-5, executor=Failing(TypeError("of another kind")))
    with pytest.raises(TypeError, match=r"a concurrent\.futures\.Executor"):
        check(problem, tol=1e-5, executor=3)


def test_executor_gives_the_same_bracket(monkeypatch):
    problem = sixty_cells()
    monkeypatch.setattr(_halving, "_BATCH", 4)
    serial = check(problem, tol=1e-5)
    assert serial.status == "converged"
    with ThreadPoolExecutor(2) as threads:
        first, second = (check(problem, tol=1e-5, executor=threads) for _ in range(2))
    with ProcessPoolExecutor(2, mp_context=get_context("fork")) as processes:
        third = check(problem, tol=1e-5, executor=processes)
    for bracket in (first, second, third):
        assert bracket.status == "converged"
        assert max(bracket.lower, serial.lower) <= min(bracket.upper, serial.upper)
        assert (bracket.lower, bracket.upper, bracket.boxes) == (first.lower, first.upper, first.boxes)
    with ThreadPoolExecutor(2) as threads:
        assert check(problem, eps=serial.lower * 0.999, executor=threads).status == "eps refuted"
        assert check(problem, eps=serial.upper * 1.001, executor=threads).status == "eps proved"


def test_thin_and_far_domains():
    f = Quadratic([0.0], [[1.0, 1.0]], [[0.0, 0.0]])
    affine = AffineMap.constant([0.0], 2)
    empty = Cells(np.empty((0, 2)), np.empty(0))
    thin = Box([1.0, 0.0], [1.0 + 4 * 2.0**-52, 1.0])
    assert check(Problem(empty, np.empty((0, 1)), affine, f, thin)).upper == pytest.approx(2.0, abs=1e-3)
    far = Box([1e12, -1e-9], [1e12 + 1, 1e-9])
    assert check(Problem(empty, np.empty((0, 1)), affine, f, far), tol=0.1).upper == pytest.approx(1e12 + 1, abs=1)


# -- soundness of the parts, and mutants -------------------------------------------------------------------------------


def parts_of_thresholds():
    """Cells decided surely, at points next to the boundary, against fractions."""
    rng = np.random.default_rng(1)
    for n in (1, 2, 3):
        centers, radii = rng.normal(size=(300, n)), rng.uniform(0.5, 2, 300)
        shaped = Cells(centers, radii)
        inner, outer = shaped.thresholds(np.full(n, -9.0), np.full(n, 9.0))
        unit = rng.normal(size=(300, n))
        points = centers + radii[:, None] * unit / np.linalg.norm(unit, axis=1)[:, None]
        lists = (np.arange(301), np.arange(300, dtype=np.int32), np.zeros(300, bool))
        arguments = (points, points, np.arange(300), lists, inner, outer, np.zeros(300, bool))
        (starts, _, closed), _, _ = shaped.refine(*arguments)
        for k in range(300):
            vector = [Fraction(a) - Fraction(b) for a, b in zip(points[k], centers[k], strict=True)]
            square, limit = sum(t * t for t in vector), Fraction(float(radii[k])) ** 2
            assert not (closed[k] and square >= limit)
            assert not (starts[k + 1] == starts[k] and square < limit)


def parts_of_norms():
    """Upper bounds against fractions, where all there is to do is to round a norm."""
    rng = np.random.default_rng(1)
    for _ in range(60):
        m = int(rng.integers(2, 5))
        value = rng.normal(size=m)
        empty = Cells(np.empty((0, 1)), np.empty(0))

        class Zero:
            def range(self, lower, upper, m=m):
                return np.zeros((len(lower), m)), np.zeros((len(lower), m))

        call = (Zero(), CUBE[1])
        for shaped, values in ((empty, np.empty((0, m))), (Cells([[0.0]], [3.0]), value[None])):
            affine = AffineMap.constant(value if not len(shaped) else np.zeros(m), 1)
            bracket = branch.branch_and_bound(shaped, values, affine, *call, tol=1e-9)
            exact = sum(Fraction(float(v)) ** 2 for v in value)
            assert Fraction(bracket.lower) ** 2 <= exact <= Fraction(bracket.upper) ** 2


def parts_of_split():
    """The parts of a box fill it: every point of a grid lies in one."""
    rng = np.random.default_rng(4)
    problem = random_problem(1)
    for n in (1, 2, 3):
        empty = Cells(np.empty((0, n)), np.empty(0))
        problem = _boxes.Problem(
            "", empty, np.empty((0, 1)), AffineMap.constant([0.0], n), constant(0.0, n), CUBE[n], 0.0, np.inf
        )
        for cut in (np.full((1, n), np.nan), rng.uniform(-1, 1, (1, n)), np.ones((1, n))):
            block = problem.root()
            block.cuts = cut
            lower, upper, rows, _ = problem.split(block)
            points = CUBE[n].grid(9)[:, None, :]
            assert ((points >= lower) & (points <= upper)).all(axis=2).any(axis=1).all()
            assert (lower >= -1).all() and (upper <= 1).all() and (rows == 0).all()


def parts_of_look():
    """A point outside a ball decides nothing, whatever F and f are there."""
    empty = Cells(np.empty((0, 2)), np.empty(0))
    call = (empty, np.empty((0, 1)), AffineMap.constant([0.0], 2), constant(1.0, 2), Ball([0.0, 0.0], 1.0), 0.0, np.inf)
    problem = _boxes.Problem("", *call)
    for point, wanted in (([0.8, 0.8], False), ([1.0, 1e-7], False), ([0.6, 0.79], True)):
        lower, _, decided = problem.look(problem.root(), np.array([point]))
        assert decided[0] == wanted and lower[0] <= 1


def parts_of_unions():
    """Where several cells are said to hold a box, samples of the box find no point outside all of them."""
    rng = np.random.default_rng(6)
    said, cut = 0, 0
    for k in range(400):
        n = 1 + k % 3
        count = int(rng.integers(2, 6))
        centers = rng.normal(size=(count, n))
        radii = np.linalg.norm(centers, axis=1) * (1 + rng.choice([1e-6, 1e-2, -1e-6])) + 1e-9
        matrices = None if k % 2 else np.tile(np.diag(rng.uniform(0.5, 2, n)), (count, 1, 1))
        if matrices is not None:
            radii = np.linalg.norm(centers @ matrices[0], axis=1) * (1 + rng.choice([1e-6, 1e-2, -1e-6])) + 1e-9
        shaped = Cells.around(centers, radii, matrices)
        half = 10.0 ** rng.uniform(-4, -0.5)
        lower = rng.choice([0.0, -half, -half / 3], n)[None]
        upper = lower + half
        lists = (np.array([0, count]), np.arange(count, dtype=np.int32), np.array([False]))
        inner, outer = shaped.thresholds(lower[0], upper[0])
        (starts, found, closed), _, cuts = shaped.refine(
            lower, upper, np.array([0]), lists, inner, outer, np.array([True])
        )
        x = np.concatenate(
            [rng.uniform(lower[0], upper[0], (2000, n)), lower, upper, np.zeros((1, n)), np.nan_to_num(cuts)]
        )
        x = x[((x >= lower) & (x <= upper)).all(axis=1)]
        vectors = (x[:, None] if matrices is None else np.einsum("ipa,ka->kip", matrices, x)) - shaped.offsets
        hold = np.linalg.norm(vectors, axis=2) < radii
        if closed[0]:
            said += starts[1] > 1
            assert hold[:, found].any(axis=1).all()
        elif not np.isnan(cuts).any():
            cut += 1
    assert said > 50 and cut > 20


HIDDEN = Problem(  # a cell inside an earlier one, with a value that F never takes
    Cells([[0.0, 0.0], [0.1, 0.0]], [0.8, 0.3]),
    np.array([[0.0], [9.0]]),
    AffineMap.constant([0.5], 2),
    constant(0.0, 2),
    CUBE[2],
)
CORNERS = Problem(  # the box is wider than the ball, but no side is
    Cells([[0.0, 0.0]], [1.1]), np.array([[0.0]]), AffineMap.constant([1.0], 2), constant(0.0, 2), CUBE[2],
    points=np.array([[1.0, 1.0], [-1.0, 1.0], [0.9, 0.9]]),
)  # fmt: skip
MIDDLE = Problem(
    Cells([[1.0], [-1.0]], [1.0, 1.1], collars=1e-9), np.zeros((2, 1)), AffineMap.constant([1.0], 1), constant(0.0),
    CUBE[1],
)  # fmt: skip
DISC = Problem(  # x + y on a disc, largest at 45 degrees
    Cells(np.empty((0, 2)), np.empty(0)), np.empty((0, 1)), AffineMap.constant([0.0], 2), line(1.0, 2),
    Ball([0.0, 0.0], 1.0), points=np.sqrt([[0.5, 0.5]]) * (1 - 1e-15),
)  # fmt: skip
NEARLY = replace(TOUCHING, cells=Cells([[-0.75], [0.75]], [0.75 + 1e-10, 0.75], collars=1e-9))
CHARGED = Problem(
    Cells([[0.0]], [0.5]), np.array([[0.5]]), AffineMap.constant([0.25], 1), constant(0.0), CUBE[1],
    options={"value_error": 0.125, "tol": 0.5},
)  # fmt: skip
SLOPED = Problem(  # L - f = x + 1/2, largest at 1
    Cells([[0.0]], [0.5]), np.array([[0.0]]), AffineMap([[1.0]], [0.5]), constant(0.0), CUBE[1],
    points=np.array([[1.0], [-1.0]]),
)  # fmt: skip


def not_a_number():
    for shaped in (Cells(np.empty((0, 1)), np.empty(0)), Cells([[0.0]], [2.0])):
        values, affine = np.zeros((len(shaped), 1)), AffineMap.constant([0.0], 1)

        class Nan:
            def range(self, lower, upper):
                return np.full((len(lower), 1), np.nan), np.full((len(lower), 1), np.nan)

        bracket = branch.branch_and_bound(shaped, values, affine, Nan(), CUBE[1], eps=1.0, max_boxes=64)
        assert bracket.status not in ("eps proved", "converged") and bracket.upper == np.inf


def soundness():
    """Everything that a mutant may break; raises AssertionError."""
    for problem in (HIDDEN, CORNERS, MIDDLE, TOUCHING, NEARLY, DISC, CHARGED, SLOPED):
        check(problem, count=60, tol=problem.options.get("tol", 0.05), max_boxes=1500)
    not_a_number()
    parts_of_thresholds()
    parts_of_norms()
    parts_of_split()
    parts_of_look()
    parts_of_unions()


MUTANTS = {
    "collar ignored": (cells.Cells, "thresholds", "slack = self.collars\n", "slack = 0 * self.collars\n"),
    "square root of n forgotten": (cells, "span", "far += reach * reach", "far = max(far, reach * reach)"),
    "last match instead of first": (
        cells, "_refine", "for e in range(starts[parent], starts[parent + 1]):",
        "for e in range(starts[parent + 1] - 1, starts[parent] - 1, -1):",
    ),
    "undecided points counted as outside": (_boxes.Problem, "look", "(~closed & (counts == 0))", "~closed"),
    "undecided points counted as inside": (_boxes.Problem, "look", "closed & (counts == 1)", "counts >= 1"),
    "NaN accepted": (_boxes.Problem, "_usable", "proper = low <= high", "proper = ~(low > high)"),
    "verdict inverted": (branch, "_bracket", "upper <= limits.eps", "not upper < limits.eps"),
    "margin of thresholds dropped": (cells.Cells, "thresholds", "(terms + 16) * _ULP", "0.0"),
    "margin of norms dropped": (_boxes.Problem, "__init__", "1 + (m + 8) * _ULP, 1 - (m + 8) * _ULP", "1.0, 1.0"),
    "misses inverted": (cells, "_refine", "near > outer[i]", "near <= outer[i] / 2"),
    "affine map forgotten": (_boxes.Problem, "bounds", "np.where(closed, 0.0, outside[rows])", "0.0 * outside[rows]"),
    "value errors not charged": (_boxes.Problem, "_sizes", "self.errors[cells]", "0.0"),
    "value errors trusted below": (_boxes.Problem, "look", "(size - error)", "(size + error)"),
    "caps too small": (_boxes.Problem, "_upward", "norm(gap) * self._up", "norm(gap) * 0.9"),
    "slope of the affine map lost": (_boxes.Problem, "_affine_range", "np.minimum(*ends), high + np.maximum(*ends)",
                                     "ends[0], high + ends[0]"),
    "part of the box lost": (_boxes, "_halve", "= cut[half]", "= cut[half] + (1e-3 if bound is lower else 0.0)"),
    "boxes of a ball dropped": (_boxes.Problem, "meets_domain", "radius * self._wide", "radius / 2"),
    "points beyond a ball": (_boxes.Problem, "_holds", "<= self.ball.radius", "<= 2 * self.ball.radius"),
    "small boxes forgotten": (_halving.Search, "_expand", "self.retire(parts, np.flatnonzero(final))", "pass"),
    "union proved with a gap": (_union, "_prove", "slack * size < 0.0", "slack * size < 1e-3"),
    "union without gradients": (_union, "_prove", "total += 2.0 * np.abs(components).sum(axis=1)", "pass"),
    "union without curvature": (_union, "_measure", "value * value + spread * spread", "value * value + 0 * spread"),
    "union cut short": (_union, "_prove", "< 0.0, last, -1)", "< 0.0, 0, -1)"),
}  # fmt: skip


def interpreted(monkeypatch):
    """Run the compiled kernels as Python, so that they see what is replaced."""
    for name, kernel in list(vars(cells).items()):
        if hasattr(kernel, "py_func"):
            monkeypatch.setattr(cells, name, kernel.py_func)


def mutate(monkeypatch, owner, name, old, new):
    function = getattr(owner, name)
    source = textwrap.dedent(inspect.getsource(getattr(function, "py_func", function)))
    source = source[source.index("def ") :]
    assert source.count(old) == 1, (name, source.count(old))
    space = dict(function.__globals__) if inspect.isfunction(function) else {}
    exec(compile(source.replace(old, new), name, "exec"), vars(inspect.getmodule(owner)) | space, made := {})
    monkeypatch.setattr(owner, name, made[name])


@pytest.mark.parametrize("name", [None, *MUTANTS])
def test_mutants(name, monkeypatch):
    interpreted(monkeypatch)
    if name is None:
        soundness()
        return
    mutate(monkeypatch, *MUTANTS[name])
    with pytest.raises(AssertionError, match="assert"):
        soundness()
