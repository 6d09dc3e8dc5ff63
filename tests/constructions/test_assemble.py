"""Every assemble turns any ordered cover into a network of the promised widths that equals the cover."""

import numpy as np
import pytest
import torch

from approx.affine import AffineMap
from approx.certification.pieces import pieces
from approx.covers import Cover
from approx.domains import Box
from approx.evaluation import compare_with_cover
from constructions import constant_width, minimal, narrow, widening

ASSEMBLE = {
    "widening": widening.assemble,
    "constant_width": constant_width.assemble,
    "narrow": narrow.assemble,
    "minimal": minimal.assemble,
}
EVERYWHERE = ("widening", "constant_width")
DIMS = [(n, m) for n in (1, 2, 3) for m in (1, 2, 3)]


def random_cover(seed, cells, n, m, shape="balls", low=1e-3, slope=True):
    """Cells of sizes low .. 1, many of them overlapping, in random order."""
    rng = np.random.default_rng(seed)
    affine = AffineMap(rng.normal(size=(m, n)) * slope, rng.normal(size=m))
    centers = rng.uniform(-1, 1, (cells, n))
    values = rng.normal(size=(cells, m)) * 3
    values[cells // 2 :: 3] = values[:1]  # some cells share a value
    radii = 10 ** rng.uniform(np.log10(low), 0, cells)
    if shape == "balls":
        return Cover(centers, values, affine, radii=radii)
    turns = np.linalg.qr(rng.normal(size=(cells, n, n)))[0]
    axes = radii[:, None] * rng.uniform(0.3, 1, (cells, n))
    return Cover(centers, values, affine, shapes=np.swapaxes(turns, 1, 2) / axes[:, :, None])


def lattice_cover(seed, per_axis, n, m, jitter=0.0):
    """Balls about the points of a cubic lattice that cover the cube [-1, 1]^n; none holds another centre."""
    rng = np.random.default_rng(seed)
    axis = (np.arange(per_axis) + 0.5) * 2 / per_axis - 1
    centers = np.stack(np.meshgrid(*[axis] * n, indexing="ij"), axis=-1).reshape(-1, n)
    radius = 1.05 * np.sqrt(n) / per_axis
    radii = radius * (1 + jitter * rng.uniform(0, 1, len(centers)))
    values = rng.integers(-9, 10, (len(centers), m)) / 4
    return Cover(centers, values, AffineMap.constant(np.zeros(m), n), radii=radii)


def points_about(made, count, seed=0):
    """Points inside every cell, on both sides of every boundary down to the rounding collar, and around all cells."""
    cover = made.cover
    rng = np.random.default_rng(seed)
    around = rng.uniform(-2.5, 2.5, (count, cover.dim_in))
    if not len(cover):
        return around
    on, normals = cover.boundary_points(count, seed)
    cell = rng.integers(len(cover), size=count)
    inner = rng.uniform(-1, 1, (count, cover.dim_in)) / np.sqrt(cover.dim_in)
    inner = cover.centers[cell] + np.linalg.solve(cover.matrices[cell], inner[:, :, None])[:, :, 0]
    sides = 10 ** rng.uniform(-9, -2, (count, 1))
    sides[::8] = 1.5 * made.rounding.collar(2 * cover.reach)
    sides *= rng.choice([-1, 1], (count, 1))
    return np.concatenate([around, inner, on + sides * normals, cover.centers])


def agrees(made, points, share=0.9):
    agreement = compare_with_cover(made.network, made.cover, points, made.rounding)
    assert agreement.agrees, agreement
    assert agreement.decided >= share * len(points), agreement


def hidden_widths(name, n, m, layers):
    """The theorems' own words."""
    return {
        "widening": tuple(n + i for i in range(1, layers + 1)),
        "constant_width": (n + m + 1,) * layers,
        "narrow": (max(n, m) + 1,) * layers,
        "minimal": (max(n, m),) * layers,
    }[name]


@pytest.mark.parametrize(("n", "m"), DIMS)
@pytest.mark.parametrize("shape", ["balls", "ellipsoids"])
@pytest.mark.parametrize("name", ["widening", "constant_width", "narrow"])
def test_the_network_equals_its_cover(name, shape, n, m):
    for cells in (1, 2, 30):
        cover = random_cover(cells + 10 * n + m, cells, n, m, shape)
        # Codes share coordinates with x in a narrow network: the fewer of them, the more digits are left for x.
        made = ASSEMBLE[name](cover, tolerance=1e-3 if name == "narrow" else None)
        assert (made.network.dim_in, made.network.dim_out, made.network.dtype) == (n, m, torch.float64)
        assert made.network.hidden_widths == hidden_widths(name, n, m, cells)
        # The realised cover is the one asked for, up to the digits of the coding.
        assert made.cover.values == pytest.approx(cover.values, abs=1e-3 if name == "narrow" else 1e-5)
        assert np.linalg.norm(made.cover.centers - cover.centers, axis=1).max() < 1e-6
        assert made.cover.matrices == pytest.approx(cover.matrices, rel=1e-6, abs=1e-6)
        points = points_about(made, 300)
        if name in EVERYWHERE:
            agrees(made, points)
            agrees(made, 1e6 * np.random.default_rng(0).normal(size=(50, n)))
            assert made.affine_exact == (shape == "balls")
        else:
            agrees(made, points[made.cover.find(points) >= 0])
            assert not made.affine_exact


@pytest.mark.parametrize(("n", "m"), DIMS)
def test_without_cells_the_network_is_its_affine_map(n, m):
    cover = random_cover(0, 0, n, m)
    x = np.random.default_rng(0).normal(size=(20, n))
    for name in EVERYWHERE:
        made = ASSEMBLE[name](cover)
        assert made.network.widths == (n, m) and made.affine_exact
        assert made.network.evaluate(x) == pytest.approx(cover.affine(x), rel=1e-14)
        assert made.rounding.collar(1e6) == 0.0
    for name in ("narrow", "minimal")[: 1 + (max(n, m) > 1)]:
        with pytest.raises(ValueError, match=rf"{name}.assemble: received a cover without cells"):
            ASSEMBLE[name](cover)


@pytest.mark.parametrize(("n", "m"), [(n, m) for n, m in DIMS if max(n, m) > 1])
def test_minimal_equals_its_cover_on_the_cells(n, m):
    for per_axis, jitter in ((1, 0.0), (2, 0.0), (3 if n == 3 else 5, 0.05)):
        cover = lattice_cover(per_axis, per_axis, n, m, jitter)
        made = minimal.assemble(cover, tolerance=0.01)
        network = made.network
        assert network.hidden_widths == hidden_widths("minimal", n, m, network.hidden_layers)
        assert network.hidden_layers >= len(cover)
        assert np.abs(made.cover.values - cover.values).max() <= 0.01
        points = points_about(made, 400)
        agrees(made, points[made.cover.find(points) >= 0])


def test_minimal_takes_cells_of_mixed_sizes_and_ellipsoids():
    """All that is asked is that no later cell holds an earlier centre."""
    rng = np.random.default_rng(3)
    centers, radii = np.empty((0, 2)), []
    for radius in np.geomspace(1.0, 0.02, 40):
        for candidate in rng.uniform(-1.5, 1.5, (50, 2)):
            if (np.linalg.norm(centers - candidate, axis=1) > 1.01 * radius).all():
                centers, radii = np.vstack([centers, candidate]), [*radii, radius]
                break
    values, affine = rng.integers(0, 5, (len(radii), 1)) / 2, AffineMap.constant([0.0], 2)
    assert len(radii) == 40
    shapes = np.eye(2) / np.array(radii)[:, None, None] @ np.diag([1.0, 1.7])
    for cover in (Cover(centers, values, affine, radii=radii), Cover(centers, values, affine, shapes=shapes)):
        made = minimal.assemble(cover, tolerance=0.01)
        points = points_about(made, 500)
        agrees(made, points[made.cover.find(points) >= 0])


@pytest.mark.parametrize("name", ["widening", "constant_width", "narrow", "minimal"])
@pytest.mark.parametrize(("n", "m"), [(1, 2), (2, 1), (2, 2), (3, 1)])
def test_float32_networks_equal_their_covers(name, n, m):
    if name == "minimal":
        made = minimal.assemble(lattice_cover(0, 2, n, m), tolerance=0.2, dtype=torch.float32)
    else:
        made = ASSEMBLE[name](random_cover(n, 20, n, m, low=0.1), tolerance=0.02, dtype=torch.float32)
    assert made.network.dtype == torch.float32
    points = points_about(made, 400).astype(np.float32).astype(np.float64)
    if name in EVERYWHERE:
        assert not made.affine_exact  # the slope itself is rounded
        agrees(made, points, share=0.7)
    else:
        agrees(made, points[made.cover.find(points) >= 0], share=0.7)


@pytest.mark.parametrize("name", EVERYWHERE)
def test_float32_keeps_slopes_it_can_hold(name):
    affine = AffineMap([[0.5, -3.0]], [0.25])
    cover = Cover([[0.0, 0.0], [1.0, 0.5]], [[1.0], [2.0]], affine, radii=[0.5, 1.0])
    assert ASSEMBLE[name](cover, dtype=torch.float32).affine_exact
    constant = Cover([[0.0, 0.0]], [[1.0]], AffineMap.constant([0.1], 2), radii=[0.5])
    assert ASSEMBLE[name](constant, dtype=torch.float32).affine_exact
    slanted = Cover(np.empty((0, 2)), np.empty((0, 1)), AffineMap([[0.1, 0.0]], [0.0]), radii=[])
    assert ASSEMBLE[name](slanted).affine_exact and not ASSEMBLE[name](slanted, dtype=torch.float32).affine_exact


def test_a_hundred_thousand_cells_of_radii_from_a_millionth_to_a_thousand():
    rng = np.random.default_rng(0)
    cells = 100_000
    radii = np.sort(10 ** rng.uniform(-6, 3, cells))  # small cells first, or the giants hide them
    centers = rng.uniform(-1000, 1000, (cells, 2))
    values = rng.normal(size=(cells, 1))
    cover = Cover(centers, values, AffineMap([[0.3, -0.7]], [0.1]), radii=radii)
    made = constant_width.assemble(cover)
    assert made.network.hidden_widths == (4,) * cells and made.affine_exact
    chosen = np.r_[0:120:6, 1000:cells:2000]
    inner = made.cover.centers[chosen] + 0.5 * radii[chosen, None] * [0.6, -0.8]
    outer = made.cover.centers[chosen] + 1.01 * radii[chosen, None] * [0.8, 0.6]
    far = 1e5 * np.array([[1.0, 1.0], [-1.0, 0.3]])
    points = np.concatenate([inner, outer, far])
    first = cover.find(points)
    assert (first[:20] == chosen[:20]).all() and (first == -1).any()
    agrees(made, points)


@pytest.mark.parametrize("name", ["widening", "constant_width"])
def test_float32_refuses_cells_below_the_spacing_of_its_numbers(name):
    cover = Cover([[1000.1, 0.0]], [[1.0]], AffineMap.constant([0.0], 2), radii=[1e-5])
    ASSEMBLE[name](cover)
    with pytest.raises(ValueError, match="larger than the spacing of numbers there"):
        ASSEMBLE[name](cover, dtype=torch.float32)


def test_the_same_cover_gives_the_same_bits():
    cover = random_cover(1, 25, 2, 2)
    lattice = lattice_cover(1, 4, 2, 2)
    for name, assemble in ASSEMBLE.items():
        given = lattice if name == "minimal" else cover
        one, two = (assemble(given, tolerance=0.01).network.state_dict() for _ in range(2))
        assert one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


def test_values_move_by_at_most_the_tolerance():
    cover = random_cover(2, 30, 2, 3)
    for name in ("constant_width", "narrow"):
        for tolerance in (1.0, 0.1, 1e-4):
            made = ASSEMBLE[name](cover, tolerance=tolerance)
            assert np.linalg.norm(made.cover.values - cover.values, axis=1).max() <= tolerance
    assert (widening.assemble(cover, tolerance=1.0).cover.values == cover.values).all()


def test_equal_values_and_one_value_only():
    for values in (np.zeros((6, 1)), np.full((6, 1), 2.5)):
        cover = Cover(np.linspace(-1, 1, 6)[:, None], values, AffineMap.constant([0.0], 1), radii=np.full(6, 0.3))
        for name in ("widening", "constant_width", "narrow"):
            made = ASSEMBLE[name](cover)
            x = made.cover.centers
            assert made.network.evaluate(x) == pytest.approx(values, abs=1e-14)
    flat = lattice_cover(0, 3, 2, 1).subset([0, 1, 2])
    made = minimal.assemble(Cover(flat.centers, np.full((3, 1), 0.5), flat.affine, radii=flat.radii))
    assert made.network.evaluate(flat.centers) == pytest.approx(np.full((3, 1), 0.5), abs=1e-12)
    assert made.network.hidden_layers == 3


def test_minimal_refuses_what_it_cannot_build():
    line = random_cover(0, 3, 1, 1)
    with pytest.raises(ValueError, match=r"minimal: received a function from R to R; .*monotone.*Use narrow"):
        minimal.assemble(line)
    nested = Cover(np.zeros((2, 2)), [[1.0], [2.0]], AffineMap.constant([0.0], 2), radii=[0.5, 1.0])
    with pytest.raises(ValueError, match="cell 1, which holds the centre of the earlier cell 0"):
        minimal.assemble(nested)


@pytest.mark.parametrize("name", list(ASSEMBLE))
@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"maps": "fancy"}, ValueError, "maps = 'fancy'; required one of conditioned, paper"),
        ({"dtype": torch.float16}, ValueError, "dtype torch.float16; required torch.float64 or torch.float32"),
        ({"tolerance": 0.0}, ValueError, "tolerance > 0"),
        ({"tolerance": float("nan")}, ValueError, "a finite tolerance"),
        ({"tolerance": "small"}, TypeError, "a real number"),
        ({"cover": "cells"}, TypeError, "cover 'cells'; required a Cover"),
    ],
)
def test_bad_arguments_get_one_clear_error(name, options, error, text):
    arguments = {"cover": lattice_cover(0, 2, 2, 1)} | options
    with pytest.raises(error, match=rf"^{name}.assemble: received {text}|^{name}.assemble: .*{text}"):
        ASSEMBLE[name](arguments.pop("cover"), **arguments)


def test_narrow_rounds_points_hardly_more_than_numbers_of_their_size():
    """Ellipsoids of many shapes: every layer rounds, so codes of 24 bits beside x would displace boundaries by 9e-9."""
    rng = np.random.default_rng(0)
    angle, axes = rng.uniform(0, np.pi, 200), np.exp(rng.uniform(np.log(0.02), 0, (200, 2)))
    turned = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]).transpose(2, 0, 1)
    shapes = np.concatenate([turned / axes[:, :, None], np.eye(2)[None] / 3])
    centers = np.concatenate([rng.uniform(-1, 1, (200, 2)), np.zeros((1, 2))])
    values = rng.uniform(-1, 1, (201, 1))
    cover = Cover(centers, values, AffineMap.constant([0.0], 2), shapes=shapes)
    made = narrow.assemble(cover, tolerance=1e-4)
    assert pieces(made.network).collar(2.0).max() < 2e-10
    points = Box.cube(2, 1.0).sample(20_000)
    assert np.abs(made.network.evaluate(points) - cover(points)).max() <= 1e-4
