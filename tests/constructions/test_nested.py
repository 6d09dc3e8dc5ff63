"""Covers along level sets: how many cells, what they compute, and what they refuse."""

import math

import numpy as np
import pytest

from approx import targets
from approx.domains import Box, WholeSpace
from approx.evaluation import sup_error
from constructions import build, covers

QUICK = {"samples": 4000}


def depth_bound(eps):
    """What exp(-|x|^2) on R^n needs: its values above 2 eps, which no constant serves besides 0, in pieces of 2 eps."""
    return math.ceil((1 - 2 * eps) / (2 * eps))


@pytest.mark.parametrize("dim", range(1, 11))
def test_the_gaussian_takes_as_many_layers_as_it_must_in_every_dimension(dim):
    built = build(targets.gaussian(dim=dim), 0.06, prove=False, **QUICK)
    assert built.hidden_layers == len(built.cover) == 8 == depth_bound(0.06)
    assert built.domain == WholeSpace(dim) and built.cover.strategy.startswith("nested shells")
    assert "level sets" in built.reason


@pytest.mark.parametrize("eps", [0.23, 0.12, 0.06, 0.031, 0.0123])
@pytest.mark.parametrize("builder", ["constant_width", "widening"])
def test_gaussian_layers_over_tolerances(eps, builder):
    built = build(targets.gaussian(dim=2), eps, builder=builder, cover="nested", prove=False, **QUICK)
    assert built.hidden_layers == depth_bound(eps)


def test_another_constant_than_the_limit_stays_outside_only_if_it_saves_a_layer():
    limit = build(targets.gaussian(dim=2), 0.06, cover="nested", prove=False, **QUICK)
    assert limit.cover.affine.offset == 0
    other = build(targets.gaussian(dim=2), 0.0123, cover="nested", **QUICK)
    assert 0.01 < other.cover.affine.offset < 0.0123 and other.report.proves(0.0123)


@pytest.mark.parametrize("dim", [1, 2])
def test_certified_on_all_of_space(dim):
    built = build(targets.gaussian(dim=dim), 0.06, cover="nested", **QUICK)
    assert built.report.claim == "certified" and built.report.proves(0.06)


@pytest.mark.parametrize(("name", "least"), [("rings", 50), ("ridge", 50), ("cone", 50), ("bump", 50)])
def test_far_fewer_cells_than_the_paper_s_cover(name, least):
    target = targets.get(name)
    cover = build(target, 0.1, builder="constant_width", domain=target.domain, prove=False, **QUICK).cover
    even = covers.make("uniform", target, 0.1, target.domain, everywhere=False, affine=cover.affine)
    assert len(even) >= least * len(cover)


def test_the_tanh_ridge_lies_on_a_slanted_background():
    """By hand: L = b t touches tanh - t b = eps twice, so it serves a middle part; the rest of the values is cut."""
    target = targets.ridge(dim=2)
    built = build(target, 0.06, builder="constant_width", domain=target.domain, **QUICK)
    assert built.report.proves(0.06)
    slope = built.cover.affine.matrix[0]
    assert slope[1] == pytest.approx(slope[0] / 2) and slope[0] > 0.3
    assert built.hidden_layers == fewest_with_odd_lines(0.06, 4.5)


def fewest_with_odd_lines(eps, end):
    """The least number of layers for tanh on [-end, end] if L(t) = b t."""
    t = np.linspace(0, end, 20_001)
    counts = []
    for b in np.linspace(0, 1, 501):
        open_values = np.tanh(t)[np.abs(np.tanh(t) - b * t) > eps]
        count = 0
        while len(open_values):
            count += 1
            open_values = open_values[open_values > open_values[0] + 2 * eps]
        counts.append(2 * count)
    return min(counts)


QUADRATICS = ["exp(-(x^2 + x*y + 2*y^2))", "exp(-((x-1)^2 + 3*(y+0.5)^2))", "(x^2 + x*y + 2*y^2)/36"]


@pytest.mark.parametrize("formula", QUADRATICS)
@pytest.mark.parametrize("builder", ["constant_width", "narrow", "widening"])
def test_quadratics_are_recognised_and_painted_with_ellipsoids(formula, builder):
    box = Box.cube(2, 3.0)
    target = targets.from_expression(formula, domain=box)
    built = build(target, 0.06, builder=builder, domain=box, **QUICK)
    values = target(box.grid(801))
    shells = math.ceil(float(np.ptp(values)) / 0.12)  # one of them is left to L, if the builder has one
    assert built.hidden_layers == shells - (builder != "narrow")
    assert not built.cover.is_balls and built.report.proves(0.06)


def test_layers_in_a_common_frame_mix_no_coordinates():
    target = targets.ridge(dim=3)
    built = build(target, 0.2, builder="constant_width", domain=target.domain, prove=False, **QUICK)
    weights = built.network.blocks[1].weight[:, :3, :3].numpy()
    assert (weights == weights * np.eye(3)).all()
    assert sup_error(built, samples=20_000).lower <= 0.2


@pytest.mark.parametrize(
    ("name", "reason"), [("franke", "no ellipsoids"), ("saddle", "a saddle"), ("swirl", "no ellipsoids or planes")]
)
def test_what_has_no_such_level_sets_is_refused_with_the_reason(name, reason):
    target = targets.get(name)
    with pytest.raises(covers.NotNested, match=reason):
        build(target, 0.2, builder="narrow", cover="nested", domain=target.domain)


def test_a_wrong_declaration_is_caught_by_the_measurement():
    wrong = targets.Target(
        fn=lambda x: np.sin(x[:, 0]) * x[:, 1],
        dim_in=2,
        domain=Box.cube(2, 2.0),
        lipschitz=4.0,
        levels=targets.EllipsoidLevels([0.0, 0.0]),
    )
    with pytest.raises(ValueError, match="measured error"):
        build(wrong, 0.1, builder="narrow", cover="nested")


def test_twenty_dimensions_have_shells():
    """Neither balls of one size nor cubes can cover R^20; the default does not ask for them."""
    built = build(targets.gaussian(dim=20), 0.2, samples=500)
    assert built.hidden_layers == built.lower_bound.layers == 2
    assert "nested" in built.cover.strategy
