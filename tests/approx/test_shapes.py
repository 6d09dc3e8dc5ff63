"""Cells from affine maps: what is neglected is within its bounds, in rational arithmetic."""

from fractions import Fraction

import numpy as np
import pytest

from approx.certification._shapes import Drift, blurred, displaced, shapes_of


def exact(values):
    return [[Fraction(float(v)) for v in row] for row in np.atleast_2d(values)]


def square(matrix, vector, offset=None):
    """|matrix vector + offset|^2 for Fractions."""
    offset = [Fraction(0)] * len(matrix) if offset is None else offset
    rows = [sum(a * v for a, v in zip(row, vector, strict=True)) + b for row, b in zip(matrix, offset, strict=True)]
    return sum(row * row for row in rows)


def slope_of(kind, n, rng):
    if kind == "ball":
        return 2.0 ** rng.integers(-20, 20) * np.linalg.qr(rng.normal(size=(n, n)))[0]
    if kind == "nearly a ball":
        return np.linalg.qr(rng.normal(size=(n, n)))[0] + 3e-13 * rng.normal(size=(n, n))
    return rng.normal(size=({"flat": max(1, n - 1), "square": n, "tall": n + 2}[kind], n))


@pytest.mark.parametrize("kind", ["ball", "nearly a ball", "flat", "square", "tall"])
def test_what_is_neglected_is_bounded(kind):
    """q + |M x + b|^2 = 1 - rho2 + |A y|^2 + (at most quadratic |y|^2 + linear |y| + constant), y = x - c."""
    rng = np.random.default_rng(0)
    for n in (1, 2, 3, 5):
        for _ in range(20):
            slope = slope_of(kind, n, rng)
            offset = rng.normal(size=len(slope)) * 10.0 ** rng.integers(-3, 4)
            q = float(rng.uniform(0, 2))
            shapes = shapes_of(slope, offset, np.array([0, len(slope)]), np.array([q]), np.array([1.0]))
            step = rng.normal(size=n) * 10.0 ** rng.integers(-3, 3)
            y = exact(step)[0]
            x = [a + b for a, b in zip(y, exact(shapes.centers[0])[0], strict=True)]
            left = Fraction(q) + square(exact(slope), x, exact(offset)[0])
            right = 1 - Fraction(float(shapes.rho2[0])) + square(exact(shapes.matrices[0]), y)
            size = float(np.linalg.norm(step))
            bound = shapes.quadratic[0] * size**2 + shapes.linear[0] * size + shapes.constant[0]
            assert abs(float(left - right)) <= bound * (1 + 1e-9)
            if np.isfinite(shapes.shrinkings[0]):
                assert size <= shapes.shrinkings[0] * float(square(exact(shapes.matrices[0]), y)) ** 0.5 * (1 + 1e-14)


@pytest.mark.parametrize("q", [0.0, 0.5, 1 - 1e-9, 1.0, 1 + 1e-9, 1.01, 4.0, 1e6])
def test_no_doubtful_point_is_missed(q):
    """Wherever |M (x + zeta) + b + r|^2 + q may compare with 1 in two ways, | |A y|^2 - rho2 | <= eta."""
    rng = np.random.default_rng(1)
    slope, offset = np.diag([3.0, 0.5]) @ np.linalg.qr(rng.normal(size=(2, 2)))[0], np.array([0.25, -1.5])
    shapes = shapes_of(slope, offset, np.array([0, 2]), np.array([q]), np.array([1.0]))
    for error, drift, theta in (
        (0, 0, 1e-12),
        (0, 0, 1e-3),
        (1e-9, 0, 0),
        (1e-6, 1e-7, 0),
        (1e-3, 1e-4, 1e-9),
        (9, 0.2, 0),
    ):
        fixed, relative = (Drift(np.full(1, float(size)), np.full(1, float(size))) for size in (error, drift))
        limit = 1e3
        eta, shift, resolved = blurred(shapes, shapes.rho2, fixed, relative, theta, np.array([limit]))
        edge, _ = displaced(shapes, shapes.rho2, eta, shift, np.array([limit]), resolved)
        assert edge[0] >= 0
        # Points of all sizes, many of them at the boundary where there is one.
        x = rng.normal(size=(4000, 2)) * 10.0 ** rng.uniform(-8, 2.5, size=(4000, 1))
        y = x - shapes.centers[0]
        radial = np.sqrt(max(float(shapes.rho2[0]), 0.0)) / np.linalg.norm(y @ shapes.matrices[0].T, axis=1)
        y[::2] *= (radial * (1 + 4 * (rng.random(len(y)) - 0.5) * 10.0 ** rng.uniform(-9, 0, len(y))))[::2, None]
        x = y + shapes.centers[0]
        size = np.linalg.norm(x, axis=1, keepdims=True)
        ways = rng.normal(size=(2, len(x), 2))
        ways /= np.linalg.norm(ways, axis=2, keepdims=True)
        near = (x + ways[0] * (error + drift * size)) @ slope.T + offset
        norms = np.linalg.norm(near, axis=1)
        blur = error + drift * size[:, 0]
        doubtful = ((norms - blur).clip(0) ** 2 * (1 - theta) + q <= 1) & ((norms + blur) ** 2 * (1 + theta) + q >= 1)
        moved = x + ways[0] * (error + drift * size) - shapes.centers[0]
        gap = np.abs(((moved @ shapes.matrices[0].T) ** 2).sum(axis=1) - shapes.rho2[0])
        inside = np.linalg.norm(moved, axis=1) <= limit
        assert (gap <= eta[0] + 1e-13)[doubtful & inside].all()
        assert error + theta < 1e-9 or q >= 1 or doubtful.sum() > 10


def test_a_vector_that_no_input_moves_is_resolved_at_any_distance():
    """Far empty or full layers leave no doubt however far x is; a slope that is only nearly 0 may."""
    shapes = shapes_of(np.zeros((4, 2)), np.array([0.5, 0.5, 3.0, 4.0]), np.array([0, 2, 4]), np.zeros(2), np.ones(2))
    none, limit = Drift(np.zeros(2), np.zeros(2)), np.full(2, 1e300)
    eta, shift, resolved = blurred(shapes, shapes.rho2, none, none, 1e-15, limit)
    assert resolved.all() and (shift == 0).all() and (eta < 1e-13).all()
    moved = Drift(np.zeros(2), np.full(2, 1e-3))
    assert blurred(shapes, shapes.rho2, none, moved, 1e-15, limit)[2].all()
    drifting = Drift(np.full(2, 1e-20), np.zeros(2))
    eta, _, resolved = blurred(shapes, shapes.rho2, none, drifting, 1e-15, limit)
    assert not resolved.any() and (eta > 1).all()


def test_a_cell_that_is_clearly_empty_is_resolved():
    """rho2 = -24: no point comes near |M x + b| = 1, so errors of a tenth do not matter at any distance."""
    shapes = shapes_of(np.eye(1), np.zeros(1), np.array([0, 1]), np.array([25.0]), np.ones(1))
    error = Drift(np.array([0.1]), np.zeros(1))
    none = Drift(np.zeros(1), np.zeros(1))
    eta, _, resolved = blurred(shapes, shapes.rho2, error, none, 1e-15, np.array([1e6]))
    assert resolved[0] and eta[0] < 1
