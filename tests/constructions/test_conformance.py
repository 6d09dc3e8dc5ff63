"""One table, every builder: each row is a target the construction must meet to eps, measured, compared and proved."""

import math

import numpy as np
import pytest

import constructions
from approx import targets
from approx.certification import certify
from approx.domains import WholeSpace
from approx.evaluation import compare_with_cover, sup_error

COMPACT_ONLY = {"cone", "ridge", "rings", "saddle", "franke", "terrain"}
ANY_DIMENSION = ("gaussian", "bump", "cone", "ridge", "rings", "saddle", "affine_bump")
PLANAR = ("franke", "peaks", "swirl")
ROWS = [
    *((name, 1) for name in ANY_DIMENSION),
    *((name, 2) for name in (*ANY_DIMENSION, *PLANAR)),
    ("gaussian", 3),
]
EXACT_WIDTH = {
    "widening": lambda n, m, layer: n + 1 + layer,
    "constant_width": lambda n, m, layer: n + m + 1,
    "narrow": lambda n, m, layer: max(n, m) + 1,
    "minimal": lambda n, m, layer: max(n, m),
}


def target_of(name, dim):
    return targets.get(name, **({} if name in PLANAR else {"dim": dim}))


def check(builder, name, dim, eps, samples):
    """Build, measure at `samples` points and more, and compare the dense network with its ordered cells."""
    target = target_of(name, dim)
    built = constructions.build(target, eps, builder=builder, verify=False)
    assert (target.affine is None or target.tail is None) == (name in COMPACT_ONLY)
    widths = [EXACT_WIDTH[builder](dim, target.dim_out, layer) for layer in range(built.hidden_layers)]
    assert list(built.hidden_widths) == widths
    if builder != "minimal":
        assert built.hidden_layers == len(built.cover)
    report = sup_error(built, target, samples=samples)
    assert report.lower <= eps, report
    assert report.samples >= samples
    points = probe(built, samples)
    agreement = compare_with_cover(built.network, built.cover, points, built.rounding)
    assert agreement.agrees, agreement
    assert agreement.decided > 0.99 * len(points)
    return built, report, agreement


def probe(built, count):
    """Points of the domain, half of them either side of cell boundaries, 1e-9 away or twice what rounding may move
    them; out to 1e6 on R^n."""
    domain = built.domain
    edge, normal = built.cover.boundary_points(count // 4)
    size = domain.diameter if domain.compact else built.cover.reach
    collar = built.rounding.collar(size)
    assert collar <= 1e-7
    step = max(1e-9, 2 * collar) * np.maximum(1.0, np.abs(edge).max(axis=1, keepdims=True)) * normal
    spread = domain.sample(count // 2)
    if isinstance(domain, WholeSpace):
        spread = domain.sample(count // 2, scale=max(1.0, built.cover.reach), reach=1e6)
    points = np.concatenate([spread, edge + step, edge - step])
    return points[domain.contains(points)]


@pytest.mark.parametrize("builder", constructions.BUILDERS)
@pytest.mark.parametrize(("name", "dim"), ROWS)
def test_every_builder_meets_eps_and_it_is_proved(builder, name, dim):
    target = target_of(name, dim)
    if builder == "minimal" and max(dim, target.dim_out) == 1:
        with pytest.raises(ValueError, match="monotone"):
            constructions.build(target, 0.2, builder=builder)
        return
    eps = 0.2 if target.dim_out == 1 else 0.4
    built, measured, _ = check(builder, name, dim, eps, samples=10_000)
    assert math.isfinite(built.cover.error_bound)
    assert built.cover.error_bound <= eps
    report = certify(built)
    assert report.proves(eps) and report.claim == "certified", report
    assert max(report.lower, measured.lower) <= report.upper
