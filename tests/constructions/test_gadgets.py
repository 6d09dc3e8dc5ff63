"""Lemma-level pieces: gauges, value codes, embeddings."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from approx.affine import AffineMap
from approx.covers import Cover
from constructions._gadgets import (
    CODE_BITS,
    DIGITS,
    block,
    code_values,
    conditioned_gauge,
    digits,
    exact_in,
    pad,
    paper_gauge,
    transfer,
)

F64, F32 = torch.float64, torch.float32
ADJUSTMENTS = ("padding", "height", "scale")


def balls(seed, cells, n, low, high, spread=1.0):
    rng = np.random.default_rng(seed)
    affine = AffineMap.constant([0.0], n)
    radii = 10 ** rng.uniform(np.log10(low), np.log10(high), cells)
    return Cover(rng.normal(size=(cells, n)) * spread, rng.normal(size=(cells, 1)), affine, radii=radii)


def measured(gauge, x):
    """(k, N) the norm^2 that layer i sees at x, from the definition of a gauge."""
    v = np.einsum("kij,pkj->pki", gauge.matrices, gauge.base * x[:, None] - gauge.anchors)
    return (v**2).sum(axis=2) + gauge.paddings**2 + gauge.heights**2


@pytest.mark.parametrize("adjust", ADJUSTMENTS)
@given(st.integers(0, 2**31), st.integers(1, 3), st.sampled_from([(0.1, 1.0), (1e-6, 1e3), (0.5, 0.5)]))
@settings(max_examples=25, deadline=None)
def test_a_gauge_measures_the_cells_it_claims(adjust, seed, n, sizes):
    cover = balls(seed, 12, n, *sizes)
    gauge = conditioned_gauge(cover, F64, adjust=adjust)
    realised = gauge.cover
    # The cells are those asked for, up to the padding's digits and the grid of the centres.
    assert realised.radii == pytest.approx(cover.radii, rel=1e-6)
    shift = np.linalg.norm(realised.centers - cover.centers, axis=1)
    assert (shift <= 0.1 * cover.radii).all()
    # |v|^2 = 1 on the boundary of the realised cells.
    sphere = np.random.default_rng(seed).normal(size=(12, n))
    sphere /= np.linalg.norm(sphere, axis=1, keepdims=True)
    on = realised.centers + realised.radii[:, None] * sphere
    rounding = 1e-15 * (1 + np.abs(realised.centers).max() / realised.radii)
    assert (np.abs(np.diag(measured(gauge, on)) - 1) <= 16 * rounding).all()
    # What uncaptured points carry along leaves room for the cell, and a captured point's new coordinate is >= 1.
    assert (gauge.heights**2 + gauge.paddings**2 < 1).all() and (2 * gauge.heights >= 1).all()


@pytest.mark.parametrize("adjust", ["padding", "height"])
def test_scales_are_powers_of_two_and_translations_lie_on_one_grid(adjust):
    cover = balls(1, 200, 3, 1e-3, 1e1)
    gauge = conditioned_gauge(cover, F64, adjust=adjust)
    scales = gauge.matrices[:, 0, 0]
    assert (np.frexp(scales)[0] == 0.5).all() and gauge.base == 1.0 and gauge.exact and gauge.affine_exact
    assert (gauge.matrices == scales[:, None, None] * np.eye(3)).all()
    largest = max(np.abs(cover.centers).max(), cover.reach)
    grid = 2.0 ** (np.ceil(np.log2(largest)) + 3 - 53)
    assert (np.round(gauge.anchors / grid) * grid == gauge.anchors).all()
    ratio, shift = transfer(gauge.matrices, gauge.anchors)
    assert (ratio == (scales[1:] / scales[:-1])[:, None, None] * np.eye(3)).all()
    assert (shift == scales[1:, None] * (gauge.anchors[:-1] - gauge.anchors[1:])).all()
    product = gauge.matrices[0]
    for factor in ratio:
        product = factor @ product
    assert (np.linalg.inv(gauge.matrices[-1]) @ product == np.eye(3)).all()


def test_ellipsoids_keep_their_shape():
    rng = np.random.default_rng(0)
    shapes = rng.normal(size=(5, 2, 2)) + 2 * np.eye(2)
    affine = AffineMap([[1.0, 0.0]], [0.0])
    cover = Cover(rng.normal(size=(5, 2)), np.zeros((5, 1)), affine, shapes=shapes)
    for adjust in ADJUSTMENTS:
        gauge = conditioned_gauge(cover, F64, adjust=adjust)
        assert gauge.base * gauge.matrices == pytest.approx(np.sqrt(0.75) * shapes)
        assert gauge.anchors / gauge.base == pytest.approx(cover.centers)
        assert not gauge.exact and not gauge.affine_exact
    ratio, shift = transfer(gauge.matrices, gauge.anchors)
    for i in range(4):
        x = rng.normal(size=2)
        v, w = (gauge.matrices[j] @ (gauge.base * x - gauge.anchors[j]) for j in (i, i + 1))
        assert ratio[i] @ v + shift[i] == pytest.approx(w)


def test_equal_matrices_transfer_by_the_identity_exactly():
    shape = np.array([[[0.3, 0.1], [0.7, 1.9]]]).repeat(3, axis=0)
    ratio, _ = transfer(shape, np.zeros((3, 2)))
    assert (ratio == np.eye(2)).all()


def test_paper_gauge_has_the_papers_heights():
    cover = balls(2, 6, 2, 0.1, 0.9)
    gauge = paper_gauge(cover)
    assert gauge.heights == pytest.approx(np.sqrt(1 - cover.radii**2), rel=1e-15)
    assert (gauge.matrices == np.eye(2)).all() and gauge.base == 1.0 and (gauge.paddings == 0).all()
    assert (gauge.anchors == cover.centers).all() and gauge.cover is cover


@pytest.mark.parametrize("radius", [1.0, 1.5])
def test_the_papers_maps_need_small_balls(radius):
    cover = Cover([[0.0]], [[1.0]], AffineMap.constant([0.0], 1), radii=[radius])
    with pytest.raises(ValueError, match=f"maps='paper': received a radius {radius:g}; required balls of radius < 1"):
        paper_gauge(cover)
    ellipsoid = Cover([[0.0]], [[1.0]], AffineMap.constant([0.0], 1), shapes=[[[2.0]]])
    with pytest.raises(ValueError, match="received Cover\\(1 ellipsoid in"):
        paper_gauge(ellipsoid)


@pytest.mark.parametrize("adjust", ADJUSTMENTS)
def test_float32_refuses_cells_below_its_spacing(adjust):
    cover = Cover([[100.0], [100.0]], [[1.0], [2.0]], AffineMap.constant([0.0], 1), radii=[1e-5, 1.0])
    conditioned_gauge(cover, F64, adjust=adjust)
    cover = Cover([[100.3], [101.1]], [[1.0], [2.0]], AffineMap.constant([0.0], 1), radii=[1e-5, 1.0])
    if adjust == "scale":  # unequal radii: no grid, the rounding bound says what is left
        rounding = conditioned_gauge(cover, F32, adjust=adjust).rounding(F32, 2)
        assert rounding.collar(100.0) > 1e-5
        return
    with pytest.raises(ValueError, match=r"cell 0 of radius 1e-05 at distance 100 .* in float32.*torch.float64"):
        conditioned_gauge(cover, F32, adjust=adjust)


def test_rounding_grows_with_distance_and_shrinks_with_digits():
    gauge = conditioned_gauge(balls(3, 20, 2, 0.1, 1.0), F64, adjust="padding")
    fine, coarse = gauge.rounding(F64, 4), gauge.rounding(F32, 4)
    assert 0 < fine.collar(1.0) < fine.collar(1e6) < 1e-6
    assert coarse.collar(1.0) == pytest.approx(2.0**29 * fine.collar(1.0))
    assert fine.collar(0.0) == fine.absolute
    empty = conditioned_gauge(balls(0, 0, 2, 0.1, 1.0), F64, adjust="padding")
    assert empty.rounding(F64, 4).collar(1e9) == 0.0


@given(st.integers(0, 2**31), st.integers(1, 4), st.floats(1e-4, 1.0), st.floats(1e-6, 1e6))
@settings(max_examples=60, deadline=None)
def test_codes_are_even_far_apart_and_close_to_the_values(seed, m, share, size):
    rng = np.random.default_rng(seed)
    values, origin = size * rng.normal(size=(30, m)), size * rng.normal(size=m)
    values[3] = values[7]
    tolerance = share * size
    codes, scale = code_values(values, origin, tolerance, F64)
    assert (codes == 2 * np.round(codes / 2)).all() and np.frexp(scale)[0] == 0.5
    moved = np.linalg.norm(origin + scale * codes - values, axis=1)
    assert (moved <= tolerance + 1e-15 * size * 30).all()
    gaps = np.linalg.norm(codes[:, None] - codes[None], axis=2)
    assert ((gaps == 0) | (gaps >= 2)).all() and gaps[3, 7] == 0
    assert np.abs(codes).max() <= 2.0 ** (CODE_BITS[F64] + 1)


@pytest.mark.parametrize("dtype", [F64, F32])
def test_the_finest_codes_of_a_dtype(dtype):
    values = np.random.default_rng(0).normal(size=(50, 2))
    codes, scale = code_values(values, np.zeros(2), None, dtype)
    assert np.abs(scale * codes - values).max() <= 2.0 ** (1 - CODE_BITS[dtype]) * np.abs(values).max()
    assert exact_in(codes, dtype)
    with pytest.raises(ValueError, match=r"value coding: .*told apart to 1e-09.*a ratio below 2\^\d+"):
        code_values(values, np.zeros(2), 1e-9, dtype)


def test_codes_of_the_paper():
    values = np.array([[1.0], [4.0], [1.25], [4.0], [2.0]])
    codes, scale = code_values(values, np.array([0.5]), None, F64, "paper")
    assert scale == 0.125 and codes.ravel().tolist() == [4.0, 28.0, 6.0, 28.0, 12.0]
    for maps in ("paper", "conditioned"):
        codes, scale = code_values(np.full((3, 2), 7.0), np.full(2, 7.0), None, F64, maps)
        assert (codes == 0).all() and scale > 0


def test_padding_keeps_the_cell_and_moves_no_point_closer():
    rng = np.random.default_rng(4)
    matrices, anchors = rng.normal(size=(6, 2, 2)) + 2 * np.eye(2), rng.normal(size=(6, 2))
    grown, moved = pad(matrices, anchors, 4)
    assert (grown[:, :2, :2] == matrices).all() and (grown[:, :2, 2:] == 0).all() and (grown[:, 2:, :2] == 0).all()
    smallest = np.linalg.svd(matrices, compute_uv=False)[:, -1]
    assert np.linalg.svd(grown, compute_uv=False)[:, -1] == pytest.approx(smallest)
    assert (moved[:, :2] == anchors).all() and (moved[:, 2:] == 0).all()


@pytest.mark.parametrize("m, count, wide", [(1, 1, 1), (1, 2, 2), (1, 3, 3), (2, 2, 5), (2, 1, 2)])
def test_digits_are_even_and_small_and_read_exactly(m, count, wide):
    codes = 2.0 * np.random.default_rng(5).integers(-(2**23), 2**23, (500, m), endpoint=True)
    codes[:3] = [[2.0**24] * m, [-(2.0**24)] * m, [0.0] * m]
    vectors, reading = digits(codes, count, wide)
    assert vectors.shape == (500, wide) and (vectors % 2 == 0).all()
    assert (vectors @ reading.T == codes).all()
    assert np.abs(vectors).max() <= (2.0**24 if count == 1 else 2 * 2.0 ** (25 / count + 1))


def test_blocks_take_the_dtype_asked_for():
    for dtype in DIGITS:
        assert block(np.eye(2), np.zeros(2), dtype).weight.dtype == dtype
        assert block(np.ones((3, 2, 2)), np.zeros((3, 2)), dtype).layers == 3


def test_exact_in_tells_what_a_dtype_holds():
    assert exact_in(np.array([0.5, 3.0, -0.0]), F32) and exact_in(np.array([0.3]), F64)
    assert not exact_in(np.array([0.5, 0.3]), F32) and not exact_in(np.array([1e300]), F32)
