"""One pass that lists every box where eps is not met, against definitions by brute force."""

import inspect
import textwrap

import numpy as np
import pytest

from approx.affine import AffineMap
from approx.certification import holes as module
from approx.certification.cells import Cells
from approx.certification.holes import holes
from approx.domains import Ball, Box


class Waves:
    """sum_j sin(w_j x_j), with plain bounds."""

    def __init__(self, *frequencies):
        self.w = np.array(frequencies)

    def __call__(self, x):
        return np.sin(x * self.w).sum(axis=1)[:, None]

    def range(self, lower, upper):
        middle, half = np.sin((lower + upper) / 2 * self.w), (upper - lower) / 2 * np.abs(self.w)
        low, high = np.maximum(middle - half, -1.0), np.minimum(middle + half, 1.0)
        return low.sum(axis=1)[:, None] - 1e-14, high.sum(axis=1)[:, None] + 1e-14


def first_match(cells, values, affine, x):
    """F by its definition."""
    matrices = np.eye(x.shape[1])[None].repeat(len(cells), 0) if cells.matrices is None else cells.matrices
    found, left = affine(x), np.ones(len(x), bool)
    for matrix, offset, radius, value in zip(matrices, cells.offsets, cells.radii, values, strict=True):
        inside = left & (np.linalg.norm(x @ matrix.T - offset, axis=1) < radius)
        found[inside], left = value, left & ~inside
    return found


def random_problem(seed, dim, domain):
    rng = np.random.default_rng(seed)
    matrices = rng.uniform(2, 4, (9, 1, 1)) * np.eye(dim) + 0.5 * rng.standard_normal((9, dim, dim))
    centers = rng.uniform(-1, 1, (9, dim))
    cells = Cells.around(centers, np.ones(9), matrices, 1e-7)
    f = Waves(*rng.uniform(1, 4, dim))
    return cells, f(centers) + rng.uniform(-0.1, 0.1, (9, 1)), AffineMap.constant([0.2], dim), f, domain


def check(problem, points, **options):
    """The pass leaves out no point with |F - f| > eps, and lists no box without cause."""
    cells, values, affine, f, domain = problem
    eps, resolution = options["eps"], options.get("resolution", 0.0)
    found = holes(*problem, **options)
    assert found.complete and found.elsewhere <= eps
    error = np.linalg.norm(first_match(cells, values, affine, points) - f(points), axis=1)
    wrong = points[error > found.elsewhere]
    listed = np.zeros(len(wrong), bool)
    for lower, upper in zip(found.lower, found.upper, strict=True):
        listed |= ((wrong >= lower) & (wrong <= upper)).all(axis=1)
    assert listed.all()
    rng, causes = np.random.default_rng(0), []
    large = np.flatnonzero(np.linalg.norm(found.upper - found.lower, axis=1) > max(resolution, 1e-6))
    for lower, upper in zip(found.lower[large[:200]], found.upper[large[:200]], strict=True):
        low, high = f.range(lower[None], upper[None])
        assert np.linalg.norm(high - low) / 2 <= options["spread"]
        some = domain.project(lower + rng.random((300, len(lower))) * (upper - lower))
        off = np.linalg.norm(first_match(cells, values, affine, some) - f(some), axis=1).max()
        causes.append(off > 0.9 * eps)
    assert np.mean(causes) >= 0.9
    assert (found.bounds > eps).all()
    return found, error


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("seed", [0, 1])
def test_no_hole_is_missed(dim, seed):
    domain = Box.cube(dim, 1.2) if seed else Ball(np.full(dim, 0.1), 1.1)
    problem = random_problem(seed, dim, domain)
    options = {"eps": 0.8, "spread": 0.2} if dim < 3 else {"eps": 1.2, "spread": 0.8, "resolution": 0.2}
    found, error = check(problem, domain.sample(30_000), **options)
    assert len(found) > 1 and error.max() > options["eps"] > np.median(error)
    assert not found.proved
    again = holes(*problem, **options)
    assert again.lower.tobytes() == found.lower.tobytes() and again.bounds.tobytes() == found.bounds.tobytes()


def test_what_holds_is_proved():
    problem = random_problem(0, 2, Box.cube(2, 1.0))
    x = Box.cube(2, 1.0).sample(20_000)
    cells, values, affine, f, _ = problem
    worst = np.abs(first_match(cells, values, affine, x) - f(x)).max()
    found = holes(*problem, eps=1.2 * worst, spread=0.1)
    assert found.proved and len(found) == 0 and worst <= found.elsewhere <= 1.2 * worst
    assert found.lower.shape == found.upper.shape == (0, 2)


def test_holes_along_the_outside_of_a_cell():
    # The second cell is wrong in a thin shell about the first one only; no box has its middle there.
    cells = Cells([[0.0, 0.0], [0.0, 0.0]], [0.9, 9.0], collars=1e-9)

    class Shell:
        def __call__(self, x):
            return np.maximum(0.0, 1 - 40 * np.abs(np.linalg.norm(x, axis=1) - 0.9))[:, None]

        def range(self, lower, upper):
            middle, half = (lower + upper) / 2, np.linalg.norm(upper - lower, axis=1)[:, None] / 2
            slope = 40 * half + 1e-12
            return np.maximum(self(middle) - slope, 0.0), np.minimum(self(middle) + slope, 1.0)

    values, affine, domain = np.array([[0.6], [0.0]]), AffineMap.constant([0.0], 2), Box.cube(2, 1.0)
    found = holes(cells, values, affine, Shell(), domain, eps=0.61, spread=0.3, max_boxes=100_000)
    assert found.complete and 10 < len(found) < 5000
    # 1 - 40 (r - 0.9) > 0.61
    angle = np.linspace(0, 2 * np.pi, 5000)
    circle = 0.905 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    inside = [((p >= found.lower) & (p <= found.upper)).all(axis=1).any() for p in circle]
    assert all(inside)


def test_a_pass_that_ends_early_says_so():
    problem = random_problem(0, 2, Box.cube(2, 1.0))
    found = holes(*problem, eps=0.01, spread=0.005, max_boxes=50)
    assert not found.complete and not found.proved


@pytest.mark.parametrize(
    ("name", "value"), [("eps", 0.0), ("eps", np.nan), ("spread", -1.0), ("resolution", np.inf), ("max_seconds", 0)]
)
def test_bad_options(name, value):
    options = {"eps": 0.1, "spread": 0.1} | {name: value}
    with pytest.raises(ValueError, match=f"holes: received {name}"):
        holes(*random_problem(0, 1, Box.cube(1, 1.0)), **options)


MUTANTS = {
    "a listed box is dropped": ("retire", "self.listed.append(block.take(rows[above]))", "pass"),
    "the last listed box of a batch is dropped": ("retire", "rows[above]))", "rows[above][:-1]))"),
    "boxes behind the first are not halved": ("push", "np.flatnonzero(~ended)", "np.flatnonzero(~ended)[:1]"),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_mutants_are_found(name, monkeypatch):
    method, old, new = MUTANTS[name]
    source = textwrap.dedent(inspect.getsource(getattr(module._Everywhere, method)))
    assert source.count(old) == 1
    source = source.replace(old, new).replace("super()", "super(_Everywhere, self)")
    exec(compile(source, method, "exec"), vars(module) | {}, made := {})
    monkeypatch.setattr(module._Everywhere, method, made[method])
    with pytest.raises((AssertionError, ValueError)):
        domain = Box.cube(2, 1.2)
        check(random_problem(1, 2, domain), domain.sample(30_000), eps=0.8, spread=0.2)
