"""From a target and a tolerance to a measured network: choices, refusals, and what holds on all of R^n."""

import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

import constructions
from approx import AffineMap, Ball, Box, Cover, RadialNetwork, Target, WholeSpace, targets
from constructions import build, constant_width, minimal, narrow, widening

QUICK = {"samples": 2000}
BUILDERS = {"widening": widening, "constant_width": constant_width, "narrow": narrow, "minimal": minimal}
GAUSSIAN = targets.gaussian(dim=1)


def sine(**facts):
    """sin(5 x) on [-2, 2], Lipschitz constant 5."""
    return Target(fn=lambda x: np.sin(5 * x[:, 0]), dim_in=1, domain=Box([-2], [2]), name="sine", **facts)


def test_every_construction_is_listed_under_its_name():
    assert constructions.BUILDERS == {name: module.BUILDER for name, module in BUILDERS.items()}
    for name, module in BUILDERS.items():
        assert module.BUILDER.name == name and module.build == module.BUILDER.build
        assert module.BUILDER.everywhere == (name in ("widening", "constant_width"))


@pytest.mark.parametrize(
    ("target", "options", "builder", "reason"),
    [
        (GAUSSIAN, {}, "constant_width", "the claim is on all of R^n"),
        (GAUSSIAN, {"domain": WholeSpace(1)}, "constant_width", "the claim is on all of R^n"),
        (GAUSSIAN, {"domain": Box([-1], [1])}, "narrow", "the domain is compact"),
        (targets.cone(dim=2), {}, "narrow", "no known affine part at infinity"),
        (GAUSSIAN, {"builder": "widening"}, "widening", "asked for"),
    ],
)
def test_the_choice_and_its_reason(target, options, builder, reason):
    built = build(target, 0.3, **options, **QUICK)
    assert built.builder == builder and reason in built.reason
    assert built.theorem == constructions.BUILDERS[builder].theorem
    assert f"{built.theorem} ({builder}): {built.reason}" in repr(built)
    wanted = options.get("domain") or (WholeSpace(1) if target is GAUSSIAN else target.domain)
    assert built.domain == wanted and str(wanted) in repr(built)


@pytest.mark.parametrize("builder", list(BUILDERS))
def test_the_error_is_within_eps_by_a_grid_of_its_own(builder):
    target = targets.gaussian(dim=2)
    built = build(target, 0.2, builder=builder, domain=Box.cube(2, 1.5), **QUICK)
    assert isinstance(built.network, RadialNetwork) and built.eps == 0.2
    x = Box.cube(2, 1.5).grid(101)
    error = np.abs(built.network.evaluate(x) - np.exp(-(x**2).sum(axis=1))[:, None]).max()
    assert 0.02 < error <= 0.2
    assert built.report.lower <= 0.2 and built.report.lower >= 0.9 * error
    assert built.hidden_layers == len(built.hidden_widths) == built.network.hidden_layers
    assert built.parameters == built.network.parameter_count and built.seconds >= 0


@pytest.mark.parametrize("builder", ["widening", "constant_width"])
@pytest.mark.parametrize("target", [targets.affine_bump(dim=1), targets.affine_bump(dim=2), targets.gaussian(dim=2)])
def test_on_all_of_space_the_network_is_the_affine_part_far_out(builder, target):
    built = build(target, 0.25, builder=builder, **QUICK)
    n = target.dim_in
    assert built.domain == WholeSpace(n)
    rng = np.random.default_rng(0)
    direction = rng.normal(size=(3000, n))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    x = direction * 10 ** rng.uniform(-1, 6, (3000, 1))
    values, limits = built.network.evaluate(x), target.affine(x)
    outside = np.linalg.norm(x, axis=1) > built.cover.reach
    assert outside.sum() > 1000
    rounding = 1e-14 * (1 + np.abs(x).max(axis=1, keepdims=True))
    assert (np.abs(values - limits) <= rounding)[outside].all()
    assert np.abs(values - target(x)).max() <= 0.25 + 1e-8
    far = 1e12 * direction[:50]
    assert built.network.evaluate(far) == pytest.approx(target.affine(far), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("builder", list(BUILDERS))
def test_float32(builder):
    target = targets.gaussian(dim=2)
    built = build(target, 0.3, builder=builder, dtype=torch.float32, **QUICK)
    assert built.network.dtype == torch.float32 and "float32" in repr(built)
    x = target.domain.grid(61)
    assert np.abs(built.network.evaluate(x) - target(x)).max() <= 0.3


@pytest.mark.parametrize("builder", ["widening", "constant_width"])
def test_float32_makes_no_claim_on_space_for_a_slope_it_cannot_hold(builder):
    """The stored slope is off by 1e-8, so |F - f| is unbounded, however small it looks near the origin."""
    target = targets.affine_bump(dim=1)
    with pytest.raises(ValueError, match=r"a slope that the dtype holds.*dtype=torch.float64, or a compact domain"):
        build(target, 0.3, builder=builder, dtype=torch.float32, **QUICK)
    build(target, 0.3, builder=builder, dtype=torch.float32, domain=target.domain, **QUICK)


@pytest.mark.parametrize("builder", list(BUILDERS))
def test_the_same_input_gives_the_same_bits(builder):
    target = targets.ridge(dim=2)
    one, two = (build(target, 0.3, builder=builder, seed=5, **QUICK) for _ in range(2))
    first, second = one.network.state_dict(), two.network.state_dict()
    assert first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)
    assert one.report.lower == two.report.lower and (one.report.argmax == two.report.argmax).all()


def test_verification_can_be_left_out():
    built = build(GAUSSIAN, 0.1, verify=False)
    assert built.report is None and "not measured" in repr(built)
    facts = built.provenance()
    assert (facts["lower"], facts["upper"], facts["claim"]) == (None, None, "not measured")
    assert (
        facts["eps"] == 0.1
        and facts["builder"] == "constant_width"
        and facts["hidden_widths"] == [[3, len(built.cover), 0]]
    )


def test_hand_made_covers():
    line = Target(fn=lambda x: x[:, 0], dim_in=1, domain=Box([0], [1]), name="line", lipschitz=1.0)
    centers = (np.arange(5)[:, None] + 0.5) / 5
    cover = Cover(centers, centers, AffineMap.constant([0.5], 1), radii=np.full(5, 0.11))
    for builder in ("widening", "constant_width", "narrow"):
        built = build(line, 0.12, builder=builder, cover=cover, **QUICK)
        assert built.hidden_layers == 5 and built.report.lower <= 0.12
        assert built.cover.strategy == "by hand"
    with pytest.raises(ValueError, match=r"measured error 0\.\d+ at .*; required an error of at most eps = 0.05"):
        build(line, 0.05, cover=cover, **QUICK)
    assert build(line, 0.05, cover=cover, verify=False).report is None
    unknown = replace(line, lipschitz=None, modulus=None)  # a cover by hand needs no Lipschitz constant
    assert build(unknown, 0.12, cover=cover, **QUICK).hidden_layers == 5
    plane = Cover(np.zeros((1, 2)), [[1.0]], AffineMap.constant([0.0], 2), radii=[1.0])
    with pytest.raises(ValueError, match=r"a cover of R\^2 with values in R\^1; required R\^1 and R\^1"):
        build(line, 0.1, cover=plane)


def test_on_all_of_space_the_slope_must_be_the_targets_exactly():
    target = targets.affine_bump(dim=1)
    cover = build(target, 0.3, **QUICK).cover
    assert build(target, 0.3, cover=cover, **QUICK).domain == WholeSpace(1)
    near = AffineMap(target.affine.matrix + 1e-9, target.affine.offset)
    wrong = replace(cover, affine=near)
    with pytest.raises(ValueError, match=r"a cover with slope .*; required that of the target's affine part"):
        build(target, 0.3, cover=wrong, **QUICK)
    build(target, 0.3, builder="constant_width", cover=wrong, domain=target.domain, **QUICK)
    ellipsoids = Cover(cover.centers, cover.values, cover.affine, shapes=cover.matrices)
    with pytest.raises(ValueError, match="affine part is not reproduced exactly; required balls"):
        build(target, 0.3, cover=ellipsoids, **QUICK)


def test_a_modulus_of_continuity_is_enough():
    root = Target(fn=lambda x: np.sqrt(np.abs(x[:, 0])), dim_in=1, domain=Box([-1], [1]), modulus=lambda r: np.sqrt(r))
    for cover in ("auto", "uniform", "adaptive"):
        assert build(root, 0.3, cover=cover, **QUICK).report.lower <= 0.3


def test_an_estimated_constant_is_enlarged_until_the_measurement_agrees():
    honest = build(sine(lipschitz=5.0), 0.2, cover="uniform", values="center", **QUICK)
    timid = sine(lipschitz=1.5, lipschitz_source="estimated")
    built = build(timid, 0.2, cover="uniform", values="center", **QUICK)
    assert built.report.lower <= 0.2 and built.target.lipschitz in (1.5 * 1.5**k for k in range(6))
    assert built.target.lipschitz > 1.5 and len(built.cover) >= 0.4 * len(honest.cover)
    with pytest.raises(ValueError, match="Pass a larger Lipschitz constant or a finer cover"):
        build(sine(lipschitz=0.01, lipschitz_source="estimated"), 0.2, cover="uniform", values="center", **QUICK)


def test_a_refuted_claim_stops_the_build_and_names_two_points():
    with pytest.raises(ValueError, match=r"a claimed Lipschitz constant 4.9, but .* at a = \[.*\], b = \[.*\]"):
        build(sine(lipschitz=4.9), 0.2)
    slanted = replace(GAUSSIAN, tail=lambda radius: 0.1 * float(np.exp(-(radius**2))))
    with pytest.raises(ValueError, match=r"tail\(.*\) = .*, but \|f - L\| = .* at the point"):
        build(slanted, 0.2)


@pytest.mark.parametrize("builder", [None, *BUILDERS])
def test_huge_sizes_are_refused_before_any_work(builder):
    """1e90 cells would never return, so returning at all is the test."""
    text = r"takes (roughly|about) .*e\+\d+ cells.*max_layers"
    with pytest.raises(ValueError, match=text):
        build(targets.gaussian(dim=10), 1e-12, builder=builder)


@pytest.mark.parametrize("builder", list(BUILDERS))
def test_max_layers_bounds_the_layers(builder):
    target = targets.gaussian(dim=2)
    size = build(target, 0.15, builder=builder, domain=target.domain, **QUICK).hidden_layers
    with pytest.raises(ValueError, match=r"max_(layers|cells)"):
        build(target, 0.15, builder=builder, domain=target.domain, max_layers=max(1, size // 4), **QUICK)
    cover = Cover(np.zeros((3, 2)), np.ones((3, 1)), AffineMap.constant([0.0], 2), radii=[9.0, 9.0, 9.0])
    if builder != "minimal":
        with pytest.raises(ValueError, match="a size of 3 hidden layers; required at most max_layers = 2"):
            build(target, 1.0, builder=builder, domain=target.domain, cover=cover, max_layers=2)


def test_minimal_says_why_there_is_none_for_functions_of_one_variable():
    with pytest.raises(
        ValueError, match=r"received a function from R to R.*network is monotone.*Use narrow \(width 2\)"
    ):
        build(GAUSSIAN, 0.2, builder="minimal")


@pytest.mark.parametrize("eps", [0.0, -1.0, float("nan"), float("inf"), -0.0])
def test_eps_must_be_positive_and_finite(eps):
    with pytest.raises(ValueError, match=r"build: received eps = .*; required (eps > 0|a finite eps)"):
        build(GAUSSIAN, eps)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (
            lambda: build("gaussian", 0.1),
            TypeError,
            r"'gaussian'; .* Pass approx.targets.parse_target\('gaussian'\)",
        ),
        (lambda: build(lambda x: x, 0.1), TypeError, "required a Target.*from_numpy"),
        (lambda: build(np.eye(3), 0.1), TypeError, "required a Target.*from_grid"),
        (lambda: build(None, 0.1), TypeError, "required a Target. Build one"),
        (lambda: build(GAUSSIAN, "0.1"), TypeError, "eps = '0.1'; required a real number"),
        (lambda: build(GAUSSIAN, None), TypeError, "eps = None"),
        (lambda: build(GAUSSIAN, 0.1, builder="theorem 5"), ValueError, "one of constant_width, minimal, narrow, rad"),
        (lambda: build(GAUSSIAN, 0.1, builder=5), ValueError, "builder = 5; required one of"),
        (lambda: build(GAUSSIAN, 0.1, domain="box"), TypeError, "domain 'box'; required a Box, Ball or WholeSpace"),
        (lambda: build(GAUSSIAN, 0.1, domain=Box.cube(2, 1)), ValueError, r"a domain of R\^2; required one of R\^1"),
        (lambda: build(GAUSSIAN, 0.1, cover="finest"), ValueError, "strategy = 'finest'; required one of adaptive"),
        (lambda: build(GAUSSIAN, 0.1, values="mean"), ValueError, "values = 'mean'; required one of center"),
        (lambda: build(GAUSSIAN, 0.1, maps="fancy"), ValueError, "maps = 'fancy'; required one of conditioned, paper"),
        (lambda: build(GAUSSIAN, 0.1, cover="gready"), ValueError, "one of adaptive, .*Did you mean greedy"),
        (lambda: build(GAUSSIAN, 0.1, cover="quilt"), ValueError, "one of adaptive, .*Check the spelling"),
        (lambda: build(GAUSSIAN, 0.1, dtype=torch.float16), ValueError, "dtype torch.float16; required torch.float64"),
        (lambda: build(GAUSSIAN, 0.1, dtype="float32"), ValueError, "dtype 'float32'; required torch.float64"),
        (lambda: build(GAUSSIAN, 0.1, max_layers=0), ValueError, "1 <= max_layers"),
        (lambda: build(GAUSSIAN, 0.1, max_layers=1e6), TypeError, "max_layers = 1000000.0; required an integer"),
        (lambda: build(GAUSSIAN, 0.1, samples=0), ValueError, "1 <= samples"),
        (lambda: build(GAUSSIAN, 0.1, seed=-1), ValueError, "0 <= seed"),
        (lambda: build(GAUSSIAN, 0.1, eps_=1), TypeError, "received eps_=; required one of domain, cover"),
    ],
)
def test_bad_arguments_get_one_clear_error(call, error, text):
    with pytest.raises(error, match=text):
        call()


def test_unbounded_domains_need_an_affine_part_and_a_construction_that_serves_them():
    cone = targets.cone(dim=1)
    for builder in (None, "widening", "constant_width"):
        with pytest.raises(
            ValueError, match="cone, which has no affine part and tail; required an asymptotically affine"
        ):
            build(cone, 0.2, builder=builder, domain=WholeSpace(1))
    for builder in ("narrow", "minimal"):
        with pytest.raises(ValueError, match=r"R\^2; required a compact domain.*Use constant_width or widening"):
            build(targets.gaussian(dim=2), 0.2, builder=builder, domain=WholeSpace(2))


@pytest.mark.parametrize("builder", list(BUILDERS))
def test_balls_as_domains(builder):
    target, ball = targets.gaussian(dim=2), Ball([0.5, 0.0], 1.0)
    built = build(target, 0.2, builder=builder, domain=ball, **QUICK)
    x = ball.sample(3000, seed=9)
    assert np.abs(built.network.evaluate(x) - target(x)).max() <= 0.2
    assert re.search(r"on ball of radius 1 about \(0.5, 0\)", repr(built))


@pytest.mark.parametrize(
    ("options", "error", "pattern"),
    [
        ({"device": "gpu"}, ValueError, "device = 'gpu'.*required a device that holds torch.float64"),
        ({"device": "cuda:77"}, ValueError, "device = 'cuda:77'.*Leave device out"),
        ({"sample": 10}, TypeError, "received sample=; required one of .*Did you mean samples"),
        ({"layers": 10}, TypeError, "received layers=.*Did you mean max_layers.*radial_basis' takes layers"),
        ({"sample": 10, "builder": "radial_basis"}, TypeError, "one of layers.*Did you mean samples"),
        ({"domain": (-1, 1)}, TypeError, r"a Box, Ball or WholeSpace. Write approx.Box\("),
    ],
)
def test_options_that_cannot_be_served_are_refused_at_once(options, error, pattern):
    with pytest.raises(error, match=pattern):
        build(GAUSSIAN, 0.1, **options)


def test_many_small_cells_point_to_large_ones():
    small = build(targets.franke(), 0.1, cover="uniform", samples=1000, prove=False)
    assert 'uniform, chebyshev values; cover="greedy" may take far fewer' in repr(small)
    assert "greedy" not in repr(build(GAUSSIAN, 0.1, verify=False))


@pytest.mark.parametrize(
    ("target", "eps"),
    [
        (targets.from_expression("x1 - 2*x5"), 1e-9),
        (targets.from_expression("3"), 1e-9),
        (targets.from_expression("sqrt(x)", domain=Box([4.0], [9.0])), 0.05),
        (targets.from_expression("(x + y, 1 + 0.01*sin(y))"), 0.1),
        (targets.from_numpy(lambda x: x[:, 0] - 1e8, 1, domain=Box([1e8], [1e8 + 1])), 0.1),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_where_an_affine_map_does_no_layer_is_built(target, eps):
    built = build(target, eps, samples=1000, prove=False)
    assert built.hidden_layers == 0 and built.report.proves(eps) and "without a layer" in built.reason
    points = target.domain.sample(5000, seed=1)
    assert np.linalg.norm(built.network.evaluate(points) - target(points), axis=1).max() <= eps
    assert build(target, eps, verify=False).report is None


def test_where_an_affine_map_only_seems_to_do_cells_are_built():
    spike = targets.from_expression("exp(-(700*(x-0.7312345))^2)")
    assert build(spike, 0.4, samples=1000).hidden_layers >= 1  # not met by the points that the map is fitted to
    hidden = targets.from_numpy(
        lambda x: np.array([math.exp(-((1e3 * (v - 0.7)) ** 2)) for v in x[:, 0]]),
        1,
        domain=Box([-1.0], [1.0]),
        lipschitz=1e3,
    )
    assert build(hidden, 0.4, samples=1000).hidden_layers >= 1
    assert build(targets.from_expression("2*x"), 0.1, cover="uniform", verify=False).hidden_layers > 1


@pytest.mark.parametrize("domain", [None, Ball([0.0, 0.0], 2.0)])
def test_where_an_affine_map_serves_most_of_the_domain_few_layers_are_built(domain):
    f = targets.from_expression("x + 2*y + exp(-4*(x^2 + y^2))")
    built = build(f, 0.1, domain=domain, samples=20_000)
    assert built.builder == "constant_width" and "affine map" in built.reason
    assert built.hidden_layers < 1500  # 17,932 and 7,423 where every point needs a cell
    assert built.report.proves(0.1)
    assert build(f, 0.1, domain=domain, cover="uniform", verify=False).builder == "narrow"


@pytest.mark.parametrize("name", ["franke", "saddle", "cone", "terrain"])
def test_where_one_does_not_the_network_stays_narrow(name):
    f = targets.get(name)
    eps = 200.0 if name == "terrain" else 0.1
    assert build(f, eps, verify=False).builder == "narrow"
