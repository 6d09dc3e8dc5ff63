"""Radial activations against their definition in exact or 60-digit arithmetic, and against each other's batches."""

from __future__ import annotations

import math
from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from approx.activations import (
    RadialActivation,
    RadialIdentity,
    RadialSigmoid,
    RadialSoftplus,
    RadialSwish,
    RationalSquash,
    ShiftedReLU,
    ShiftedSigmoid,
    Squashing,
    StepReLU,
)

# Each activation with its profile in the words of the definition, on decimals.
PROFILES = [
    (RadialIdentity(), lambda r: r),
    (StepReLU(), lambda r: r if r >= 1 else Decimal(0)),
    (Squashing(), lambda r: r**2 / (r**2 + 1)),
    (RationalSquash(), lambda r: r / (1 + r)),
    (RadialSigmoid(), lambda r: 1 / (1 + (-r).exp())),
    (RadialSwish(), lambda r: r / (1 + (-r).exp())),
    (ShiftedReLU(), lambda r: max(Decimal(0), r - 1)),
    (ShiftedReLU(-0.5), lambda r: r + Decimal("0.5")),
    (ShiftedSigmoid(), lambda r: 1 / (1 + (1 - r).exp())),
    (ShiftedSigmoid(-3.0), lambda r: 1 / (1 + (-3 - r).exp())),
    (RadialSoftplus(), lambda r: r - 1 + (1 + (1 - r).exp()).ln()),  # = log(1 + e^(r - 1)), and never overflows
    (RadialSoftplus(0.0), lambda r: r + (1 + (-r).exp()).ln()),
]
ACTIVATIONS = [rho for rho, _ in PROFILES]
TRAINABLE = [kind(trainable=True) for kind in (ShiftedReLU, ShiftedSigmoid, RadialSoftplus)]
HALVES = (torch.float16, torch.bfloat16)
FLOATS = (torch.float32, torch.float64)

per_profile = pytest.mark.parametrize(("rho", "exact"), PROFILES, ids=[str(rho) for rho, _ in PROFILES])
per_activation = pytest.mark.parametrize("rho", ACTIVATIONS, ids=str)
per_dtype = pytest.mark.parametrize("dtype", FLOATS, ids=str)


def by_definition(vector: list[float], exact) -> list[float]:
    """h(|v|) v / |v| in 60 digits, from the exact values of the coordinates; rho(0) = 0."""
    with localcontext() as context:
        context.prec, context.Emax, context.Emin = 60, 10**6, -(10**6)
        coordinates = [Decimal(c) for c in vector]
        r = sum((c * c for c in coordinates), Decimal(0)).sqrt()
        return [0.0 if r == 0 else float(exact(r) * c / r) for c in coordinates]


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    bits = {2: torch.int16, 4: torch.int32, 8: torch.int64}[a.element_size()]
    return a.dtype == b.dtype and torch.equal(a.contiguous().view(bits), b.contiguous().view(bits))


class TestDefinition:
    @per_profile
    @pytest.mark.parametrize("dim", [1, 2, 3, 7, 100])
    def test_values(self, rho, exact, dim):
        # |v| and v / |v| carry a few roundings each, h as many: 40 units of the last place leave room for d = 100.
        scales = torch.tensor([1e-200, 1e-12, 1e-3, 0.3, 2.0, 7.0, 30.0, 1e5, 1e100, 1e200], dtype=torch.float64)
        points = normal(10, dim) * (scales / math.sqrt(dim))[:, None]
        for point, value in zip(points.tolist(), rho(points).tolist(), strict=True):
            np.testing.assert_allclose(value, by_definition(point, exact), rtol=40 * 2.0**-52, atol=0)

    @per_profile
    def test_single_precision(self, rho, exact):
        points = normal(20, 4, dtype=torch.float32) * torch.logspace(-30, 30, 20)[:, None]
        for point, value in zip(points.tolist(), rho(points).tolist(), strict=True):
            # shifts such as r - 1 cancel near r = 1, hence the absolute part
            np.testing.assert_allclose(value, by_definition(point, exact), rtol=40 * 2.0**-23, atol=1e-37)

    @per_profile
    @pytest.mark.parametrize("dtype", HALVES, ids=str)
    def test_half_precision_is_single_precision_rounded(self, rho, exact, dtype):
        points = (normal(8, 300) / 5).to(dtype)  # 300 squares summed in bfloat16 would stop growing
        result = rho(points)
        assert result.dtype == dtype
        oracle = torch.tensor([by_definition(point, exact) for point in points.double().tolist()], dtype=torch.float64)
        eps = torch.finfo(dtype).eps
        torch.testing.assert_close(result.double(), oracle, rtol=eps, atol=float(torch.finfo(dtype).tiny))

    @per_profile
    def test_profile_and_factor(self, rho, exact):
        radii = [1e-100, 1e-9, 0.25, 0.999, 1.0, 1.5, 7.0, 40.0, 800.0, 1e9, 1e150]
        r = torch.tensor(radii, dtype=torch.float64)
        with localcontext() as context:
            context.prec, context.Emin = 60, -(10**6)
            values = [exact(Decimal(x)) for x in radii]
            ratios = [float(value / Decimal(x)) for value, x in zip(values, radii, strict=True)]
        np.testing.assert_allclose(rho.profile(r).numpy(), [float(v) for v in values], rtol=1e-14, atol=0)
        np.testing.assert_allclose(rho.factor(r).numpy(), ratios, rtol=1e-14, atol=0)

    @pytest.mark.parametrize(
        ("rho", "limit"),
        [
            (RadialIdentity(), 1),
            (StepReLU(), 0),
            (Squashing(), 0),
            (RationalSquash(), 1),
            (RadialSwish(), 0.5),
            (ShiftedReLU(), 0),
            (ShiftedReLU(0.0), 1),
            (ShiftedReLU(-1.0), math.inf),
            (RadialSigmoid(), math.inf),
            (ShiftedSigmoid(), math.inf),
            (RadialSoftplus(), math.inf),
            (RadialActivation(torch.tanh), 1),
            (RadialActivation(lambda r: r * r), 0),
            (RadialActivation(lambda r: -torch.cos(r)), -math.inf),
        ],
        ids=str,
    )
    @per_dtype
    def test_factor_at_zero_is_its_limit(self, rho, limit, dtype):
        assert rho.factor(torch.zeros(2, dtype=dtype)).tolist() == [limit, limit]
        v = torch.zeros(3, 2, dtype=dtype, requires_grad=True)
        rho(v)[:, 0].sum().backward()
        slope = limit if math.isfinite(limit) else 0
        assert v.grad.tolist() == [[slope, 0]] * 3

    def test_special_points(self):
        eight = torch.tensor([[6.0, 8.0]], dtype=torch.float64)
        assert ShiftedReLU(5.0)(eight).tolist() == [[3.0, 4.0]]
        assert Squashing()(torch.tensor([0.0, 1.0]).double()).tolist() == [0.0, 0.5]
        assert RationalSquash()(torch.tensor([-3.0])).tolist() == [-0.75]
        assert RadialSigmoid()(eight)[0, 0].item() == pytest.approx(0.6 / (1 + math.exp(-10)), rel=1e-15)
        assert RadialSwish()(eight)[0, 1].item() == pytest.approx(8 / (1 + math.exp(-10)), rel=1e-15)
        assert ShiftedSigmoid(10.0)(eight)[0].tolist() == pytest.approx([0.3, 0.4], rel=1e-15)
        assert RadialSoftplus(10.0)(eight)[0, 0].item() == pytest.approx(0.6 * math.log(2), rel=1e-15)

    @per_activation
    def test_commutes_with_orthogonal_maps(self, rho):
        q, _ = torch.linalg.qr(normal(5, 5, seed=3))
        v = normal(200, 5, seed=4)
        torch.testing.assert_close(rho(v @ q.T), rho(v) @ q.T, rtol=1e-13, atol=1e-14)

    @per_activation
    def test_odd_and_along_v(self, rho):
        v = normal(100, 3, seed=5)
        torch.testing.assert_close(rho(-v), -rho(v), rtol=0, atol=0)
        assert torch.linalg.cross(rho(v), v).abs().max() < 1e-14


class TestStepReLU:
    @pytest.mark.parametrize("vector", [(0.6, 0.8), (1.0,), (-1.0, 0.0), (0.0, 0.0, -1.0), (0.5, 0.5, 0.5, -0.5)])
    def test_unit_vectors_are_kept(self, vector):
        v = torch.tensor(vector, dtype=torch.float64)
        assert same_bits(StepReLU()(v), v)

    def test_just_inside_is_zero(self):
        below = math.nextafter(1.0, 0.0)
        v = torch.tensor([[below, 0.0], [0.6, 0.8 - 1e-15]], dtype=torch.float64)
        assert StepReLU()(v).tolist() == [[0.0, 0.0]] * 2

    @per_dtype
    @pytest.mark.parametrize("dim", [1, 2, 3, 9, 40])
    def test_decided_by_the_plain_sum_of_squares(self, dtype, dim):
        v = normal(2000, dim, seed=dim)
        v = (v / v.norm(dim=1, keepdim=True)).to(dtype)  # all within a rounding of |v| = 1
        scalar = np.float32 if dtype == torch.float32 else np.float64
        result = StepReLU()(v)
        for row, value in zip(v.numpy(), result, strict=True):
            total = scalar(0)
            for c in row:
                total = scalar(total + scalar(c * c))
            assert value.tolist() == ([0.0] * dim if total < 1 else row.tolist())

    def test_overflowing_and_infinite_vectors_are_kept(self):
        v = torch.tensor([[1e200, -1e200], [math.inf, 0.0], [1e-200, 0.0]], dtype=torch.float64)
        assert StepReLU()(v).tolist() == [[1e200, -1e200], [math.inf, 0.0], [0.0, 0.0]]

    def test_gradient_is_the_identity_or_zero(self):
        v = torch.tensor([[2.0, 1.0], [0.1, 0.2], [1.0, 0.0]], requires_grad=True)
        (StepReLU()(v) * torch.tensor([3.0, 5.0])).sum().backward()
        assert v.grad.tolist() == [[3.0, 5.0], [0.0, 0.0], [3.0, 5.0]]


class TestExactAtSpecialPoints:
    @pytest.mark.parametrize("rho", [*ACTIVATIONS, *TRAINABLE], ids=str)
    @pytest.mark.parametrize("dtype", [*HALVES, *FLOATS], ids=str)
    @pytest.mark.parametrize("dim", [1, 2, 5])
    def test_zero_and_its_gradients(self, rho, dtype, dim):
        v = torch.zeros(3, dim, dtype=dtype)
        v[1] = -0.0
        v[2] = 0.5
        v.requires_grad_()
        rho.zero_grad()
        result = rho(v)
        assert (result[:2] == 0).all()
        result.sum().backward()
        assert v.grad.isfinite().all()
        assert all(parameter.grad.isfinite() for parameter in rho.parameters())

    @pytest.mark.parametrize("rho", [*ACTIVATIONS, *TRAINABLE], ids=str)
    @pytest.mark.parametrize("dim", [1, 3])
    @pytest.mark.parametrize(("dtype", "size"), [(torch.float64, 1e-300), (torch.float32, 1e-30)], ids=str)
    def test_gradients_near_zero(self, rho, dim, dtype, size):
        v = (normal(5, dim, seed=1).to(dtype) * size).requires_grad_()
        rho.zero_grad()
        rho(v).sum().backward()
        assert v.grad.isfinite().all()
        assert all(parameter.grad.isfinite() for parameter in rho.parameters())

    def test_gradient_near_zero_in_one_dimension_is_the_derivative(self):
        # h(r) / r is 5e299 here and must cancel exactly: on R the derivative is h'(r) = 1/4.
        v = torch.tensor([[1e-300], [-1e-300]], dtype=torch.float64, requires_grad=True)
        RadialSigmoid()(v).sum().backward()
        assert v.grad.ravel().tolist() == pytest.approx([0.25, 0.25], rel=1e-14)

    @pytest.mark.parametrize("rho", [r for r in ACTIVATIONS if r.lipschitz < math.inf], ids=str)
    @pytest.mark.parametrize("size", [5e-324, 1e-310, 1e-300, 1e-160, 1e160, 1e300])
    def test_lipschitz_gradients_stay_bounded_at_every_scale(self, rho, size):
        v = (torch.tensor([[1.0, 0.5, -0.25], [1.0, 0.0, 0.0]]).double() * size).requires_grad_()
        rho(v)[:, 0].sum().backward()
        assert (v.grad.norm(dim=1) <= rho.lipschitz * (1 + 1e-12)).all()

    @per_profile
    def test_denormal_vectors(self, rho, exact):
        points = [[5e-324, 0.0], [-1e-320, 3e-321], [2e-310, 1e-310]]
        for point, value in zip(points, rho(torch.tensor(points, dtype=torch.float64)).tolist(), strict=True):
            # results below 2.2e-308 are multiples of 5e-324
            np.testing.assert_allclose(value, by_definition(point, exact), rtol=1e-14, atol=5e-324)

    @pytest.mark.parametrize("rho", [*ACTIVATIONS, RadialActivation(lambda r: torch.where(r < 9, 1.0, 2.0))], ids=str)
    @pytest.mark.parametrize("dim", [1, 3])
    def test_nan_stays_nan_and_in_its_row(self, rho, dim):
        v = normal(4, dim, seed=2)
        clean = rho(v)
        v[2, 0] = math.nan
        result = rho(v)
        assert result[2, 0].isnan()
        keep = [0, 1, 3]
        assert same_bits(result[keep], clean[keep])

    @pytest.mark.parametrize("rho", [Squashing(), RadialSwish(), ShiftedReLU(), RadialSigmoid()], ids=str)
    def test_infinite_vectors_have_no_direction(self, rho):
        v = torch.tensor([[math.inf, 1.0], [-math.inf, math.inf]], dtype=torch.float64)
        assert rho(v).isnan().all()
        assert rho(v[:, :1]).isnan().all()


class TestGradients:
    @pytest.mark.parametrize("rho", [*ACTIVATIONS, *TRAINABLE, RadialActivation(torch.tanh)], ids=str)
    @pytest.mark.parametrize("dim", [1, 3])
    def test_gradcheck_away_from_kinks(self, rho, dim):
        v = normal(6, dim, seed=6)
        v = v / v.norm(dim=1, keepdim=True) * torch.tensor([0.3, 0.7, 0.9, 1.1, 1.8, 4.0])[:, None]
        v.requires_grad_()
        assert torch.autograd.gradcheck(lambda x, *_: rho(x), (v, *rho.parameters()))
        assert torch.autograd.gradgradcheck(lambda x, *_: rho(x), (v, *rho.parameters()))


class TestBatchIndependence:
    @pytest.mark.parametrize("rho", [*ACTIVATIONS, *TRAINABLE, RadialActivation(torch.tanh)], ids=str)
    @pytest.mark.parametrize("dtype", [torch.bfloat16, *FLOATS], ids=str)
    @pytest.mark.parametrize("dim", [1, 2, 17])
    def test_bitwise(self, rho, dtype, dim):
        batch = (normal(1000, dim, seed=7) * 2).to(dtype)
        batch[5] = 0
        with torch.no_grad():
            full = rho(batch)
            alone = torch.stack([rho(row) for row in batch[:40]])
            assert same_bits(alone, full[:40])
            for start, stop in ((0, 1), (3, 10), (1, 32), (500, 1000), (991, 1000)):
                assert same_bits(rho(batch[start:stop]), full[start:stop])
            transposed = batch.T.contiguous().T
            assert same_bits(rho(transposed), full)
            assert same_bits(rho(batch[::3]), full[::3])
            assert same_bits(rho(batch.flip(0)), full.flip(0))
            padded = torch.full((1000, 2 * dim), math.nan, dtype=dtype)
            padded[:, ::2] = batch
            assert same_bits(rho(padded[:, ::2]), full)
            assert same_bits(rho(batch.reshape(10, 100, dim)), full.reshape(10, 100, dim))

    @per_dtype
    def test_bitwise_across_threads(self, dtype):
        batch = normal(70_001, 2, seed=8, dtype=dtype)  # enough for torch to split the work
        for rho in (RadialSwish(), RadialSoftplus(), ShiftedSigmoid(0.3)):
            full = rho(batch)
            for start in (0, 34_993, 35_007, 69_990):
                assert same_bits(rho(batch[start : start + 11]), full[start : start + 11])

    @settings(max_examples=60, deadline=None)
    @given(
        shape=st.lists(st.integers(0, 4), max_size=3).flatmap(lambda s: st.integers(1, 6).map(lambda d: (*s, d))),
        dtype=st.sampled_from([*HALVES, *FLOATS]),
        rho=st.sampled_from([*ACTIVATIONS, *TRAINABLE]),
        seed=st.integers(0, 2**16),
    )
    def test_shape_and_dtype_are_kept(self, shape, dtype, rho, seed):
        v = normal(*shape, seed=seed, dtype=dtype)
        with torch.no_grad():
            result = rho(v)
        assert result.shape == v.shape and result.dtype == dtype and result.isfinite().all()

    @settings(max_examples=60, deadline=None)
    @given(
        vector=st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=1, max_size=5),
        index=st.integers(0, len(PROFILES) - 1),
    )
    def test_any_vector_of_float32_numbers(self, vector, index):
        rho, exact = PROFILES[index]
        if rho.name == "step_relu":  # decided by the rounded sum; tested on its own
            total = sum(Fraction(c) ** 2 for c in vector)
            if abs(total - 1) < Fraction(1, 2**40):
                return
        value = rho(torch.tensor(vector, dtype=torch.float64)).tolist()
        # max(0, r - 1) and log(1 + e^t) lose digits to cancellation, never more than eps * r in absolute terms
        scale = max(map(abs, vector))
        np.testing.assert_allclose(value, by_definition(vector, exact), rtol=1e-14, atol=1e-15 * min(1, scale))


class TestKnownConstants:
    @pytest.mark.parametrize("rho", [r for r in ACTIVATIONS if r.lipschitz < math.inf], ids=str)
    @pytest.mark.parametrize("dim", [1, 3])
    def test_lipschitz_bounds_all_secants_and_is_reached(self, rho, dim):
        # Pairs of all kinds; along a ray every radius up to 8 in steps of 0.01 is compared with a close neighbour.
        a, b = normal(5_000, dim, seed=9) * 3, normal(5_000, dim, seed=10) * 3
        near = a + 1e-3 * normal(5_000, dim, seed=11)
        ray = torch.zeros(800, dim).double()
        ray[:, 0] = torch.arange(800).double() / 100
        step = torch.zeros(dim).double()
        step[0] = 1e-3
        quotients = [
            (rho(x) - rho(y)).norm(dim=1) / (x - y).norm(dim=1) for x, y in ((a, b), (a, near), (ray, ray + step))
        ]
        largest = torch.cat(quotients).max().item()
        assert largest <= rho.lipschitz * (1 + 1e-9)  # rounding of differences of size 1e-3
        assert largest >= rho.lipschitz * 0.99

    @pytest.mark.parametrize("rho", [r for r in ACTIVATIONS if r.lipschitz == math.inf], ids=str)
    def test_infinite_where_it_jumps(self, rho):
        at = 1.0 if rho.name == "step_relu" else 0.0
        pair = torch.tensor([[at - 1e-9], [at + 1e-9]], dtype=torch.float64)
        assert (rho(pair)[1] - rho(pair)[0]).abs().item() > 0.05

    def test_swish_constant(self):
        # 60 digits: bisect r tanh(r / 2) = 2, then h' = 1/2 + r/4
        with localcontext() as context:
            context.prec = 60
            low, high = Decimal(2), Decimal(3)
            for _ in range(180):
                r = (low + high) / 2
                low, high = (r, high) if r * (1 - (-r).exp()) < 2 * (1 + (-r).exp()) else (low, r)
            s = 1 / (1 + (-low).exp())
            slope = s + low * s * (1 - s)
            assert float(slope) == RadialSwish.lipschitz and slope <= Decimal(RadialSwish.lipschitz)
        assert Squashing.lipschitz == pytest.approx(2 / math.sqrt(3) / (1 + 1 / 3) ** 2, rel=1e-15)

    @per_profile
    def test_limit_of_the_factor(self, rho, exact):
        with localcontext() as context:
            context.prec = 60
            assert abs(float(exact(Decimal(10**9)) / 10**9) - rho.limit_factor) < 2e-9
        assert rho.factor(torch.tensor(1e9).double()).item() == pytest.approx(rho.limit_factor, abs=2e-9)

    def test_shifted_relu_constant_follows_its_shift(self):
        rho = ShiftedReLU(0.0, trainable=True)
        assert rho.lipschitz == 1.0
        with torch.no_grad():
            rho.shift.fill_(-0.1)
        assert rho.lipschitz == math.inf

    def test_unknown_for_callables(self):
        rho = RadialActivation(torch.tanh)
        assert rho.limit_factor is None and rho.lipschitz is None
