"""The compiled kernels against plain loops, and the slices they run on."""

import threading

import numpy as np
import pytest
import torch

from approx import _engine, _tiles
from approx._rescale import IDENTITY, STEP, code
from approx._threads import for_slices
from approx.activations import ShiftedReLU


@pytest.fixture
def threads():
    """Set the number of threads for one test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def step(v):
    return np.zeros_like(v) if (v**2).sum() < 1 else v


def step_layers(x, weights, biases):
    return _engine.layers(x, weights, biases, (STEP, 0.0))


def plain_stack(x, weights, biases):
    result = []
    for v in x:
        for weight, bias in zip(weights, biases, strict=True):
            v = step(weight @ v + bias)
        result.append(v)
    return np.array(result)


def plain_growing(x, weights, biases, readout, offset):
    result = []
    for v in x:
        head = weights.shape[2]
        for weight, bias in zip(weights, biases, strict=True):
            v = step(np.concatenate([weight @ v[:head] + bias, v[head:]]))
        result.append(readout @ v + offset)
    return np.array(result)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("count", [0, 1, 64, 130])
def test_dense_kernel(dtype, count):
    rng = np.random.default_rng(0)
    x, weight, bias = (rng.normal(size=s).astype(dtype) for s in ((count, 3), (5, 3), (5,)))
    weight *= 0.5
    for stepped in (False, True):
        expected = np.array([step(weight @ v + bias) if stepped else weight @ v + bias for v in x]).reshape(count, 5)
        activation = (STEP if stepped else IDENTITY, 0.0)
        values = _engine.layers(x, weight[None], bias[None], activation)
        assert values.dtype == dtype
        np.testing.assert_allclose(values, expected, rtol=1e-12 if dtype == np.float64 else 1e-5, atol=1e-6)
    # A transposed weight is not contiguous.
    assert (_engine.layers(x, np.asfortranarray(weight)[None], bias[None], activation) == values).all()


@pytest.mark.parametrize("width", [1, 3, 5, 16, 17, 22])
def test_stack_kernel(width):
    rng = np.random.default_rng(width)
    x, biases = rng.normal(size=(100, width)) * 2, rng.normal(size=(9, width)) * 0.6
    weights = rng.normal(size=(9, width, width)) * 0.6
    values, expected = step_layers(x, weights, biases), plain_stack(x, weights, biases)
    np.testing.assert_allclose(values, expected, rtol=1e-11, atol=1e-12)
    assert (step_layers(x, weights[:0], biases[:0]) == x).all()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("activation", [(STEP, 0.0), code(ShiftedReLU(0.5))])
def test_values_do_not_depend_on_how_many_sums_a_processor_keeps(monkeypatch, activation, dtype):
    rng = np.random.default_rng(3)
    x, biases = rng.normal(size=(100, 5)).astype(dtype), rng.normal(size=(9, 5)).astype(dtype)
    weights = (rng.normal(size=(9, 5, 5)) / 2).astype(dtype)
    x[0, 0], x[1, 1] = np.nan, np.inf
    found = []
    for tile in ((5, 2), (4, 1), (2, 3)):  # rows and vectors at a time
        monkeypatch.setattr(_engine, "_tile", lambda width, tile=tile: tile)
        found.append(_engine.layers(x, weights, biases, activation))
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])
    assert np.isnan(found[0][:2]).any() and np.isfinite(found[0][2:]).all()
    assert len(np.unique(found[0], axis=0)) > 50


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        ({"avx2": True, "avx512f": True}, (64, 32)),
        ({"avx2": True}, (32, 16)),
        ({"neon": True}, (16, 32)),
        (None, (16, 16)),
    ],
)
def test_registers_of_processors(monkeypatch, features, expected):
    def known():
        if features is None:
            raise RuntimeError("unknown host")
        return features

    monkeypatch.setattr(_tiles, "get_host_cpu_features", known)
    assert _tiles._registers() == expected


@pytest.mark.parametrize("registers", [16, 32])
def test_sums_fit_into_registers(monkeypatch, registers):
    monkeypatch.setattr(_engine, "REGISTERS", registers)
    monkeypatch.setattr(_engine, "SIDE", registers // 8)
    for width in range(1, _engine.NARROW + 1):
        rows, vectors = _engine._tile(width)
        assert 1 <= rows <= width and vectors >= 2
        assert (rows + (1 if rows == width else 2)) * vectors < registers


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(
    ("width", "activation"),
    [(1, (STEP, 0.0)), (16, (STEP, 0.0)), (4, (STEP, 0.0)), (4, (IDENTITY, 0.0)), (4, code(ShiftedReLU(0.5)))],
)
def test_short_runs_need_no_kernel_of_their_own(monkeypatch, width, activation, dtype):
    rng = np.random.default_rng(width)
    layers = 2 * _engine.LONG - 2
    x, biases = rng.normal(size=(100, width)).astype(dtype), rng.normal(size=(layers, width)).astype(dtype)
    weights = (rng.normal(size=(layers, width, width)) / np.sqrt(width)).astype(dtype)
    at_once = _engine.layers(x, weights, biases, activation)
    with monkeypatch.context() as patch:
        patch.delattr(_engine, "_square")
        halves = (slice(None, layers // 2), slice(layers // 2, None))
        in_parts = _engine.chain(x, [(weights[half], biases[half], activation) for half in halves])
    # The same sums in the same order, fused: equal where the machine has fused instructions for squared lengths, too.
    np.testing.assert_allclose(in_parts, at_once, rtol=100 * np.finfo(dtype).eps, atol=100 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("activation", [(STEP, 0.0), code(ShiftedReLU(0.5))])
def test_single_layers_beside_a_run_share_its_kernel(monkeypatch, activation, dtype):
    """One into the run, the run, one out of it, and an affine map: padded with zeros, and the same values."""
    rng = np.random.default_rng(1)
    shapes = [(1, 4, 2), (_engine.LONG, 4, 4), (1, 3, 4), (1, 2, 3)]
    kinds = [activation, activation, activation, (IDENTITY, 0.0)]
    weights = [(rng.normal(size=shape) / 1.5).astype(dtype) for shape in shapes]
    runs = [(w, rng.normal(size=w.shape[:2]).astype(dtype), kind) for w, kind in zip(weights, kinds, strict=True)]
    x = rng.normal(size=(100, 2)).astype(dtype)
    alone = x
    for run in runs:
        alone = _engine.layers(alone, *run)
    with monkeypatch.context() as patch:
        patch.delattr(_engine, "_wide")
        together = _engine.chain(x, runs)
    np.testing.assert_allclose(together, alone, rtol=100 * np.finfo(dtype).eps, atol=100 * np.finfo(dtype).eps)
    assert (_engine.chain(x[17:18], runs) == together[17:18]).all()
    assert together.flags.c_contiguous
    assert together.dtype == dtype


@pytest.mark.parametrize(("head", "extra"), [(1, 0), (2, 0), (2, 3), (4, 1)])
def test_growing_kernel(head, extra):
    rng = np.random.default_rng(head + 10 * extra)
    layers, outputs = 7, 2
    x = rng.normal(size=(100, head + extra)) * 1.5
    weights, biases = rng.normal(size=(layers, head + 1, head)) * 0.4, rng.normal(size=(layers, head + 1)) * 0.2
    readout, offset = rng.normal(size=(outputs, head + extra + layers)), rng.normal(size=outputs)
    expected = plain_growing(x, weights, biases, readout, offset)
    values = _engine.growing(x, weights, biases, readout, offset)
    np.testing.assert_allclose(values, expected, rtol=1e-11, atol=1e-11)
    none = _engine.growing(x, weights[:0], biases[:0], readout[:, : head + extra], offset)
    np.testing.assert_allclose(none, x @ readout[:, : head + extra].T + offset, rtol=1e-12, atol=1e-12)


def test_kernels_do_not_touch_their_input():
    rng = np.random.default_rng(0)
    x, weights, biases = rng.normal(size=(10, 2)), rng.normal(size=(3, 2, 2)), rng.normal(size=(3, 2))
    kept = [array.copy() for array in (x, weights, biases)]
    step_layers(x, weights, biases)
    assert all((a == b).all() for a, b in zip(kept, (x, weights, biases), strict=True))


def test_norms_decide_at_exactly_one():
    # 0.6^2 + 0.8^2 rounds to 1; 3/5 and 4/5 in eighths are exact.
    x = np.array([[1.0, 0.0], [0.0, -1.0], [0.75, 0.5], [np.nextafter(1, 0), 0.0], [-1.0, 5e-324]])
    kept = [True, True, False, False, True]
    for layers in (1, _engine.LONG):
        identity = np.broadcast_to(np.eye(2), (layers, 2, 2))
        values = step_layers(x, identity, np.zeros((layers, 2)))
        assert (values == np.where(np.array(kept)[:, None], x, 0.0)).all()


@pytest.mark.parametrize("number", [1, 2, 3, 8])
@pytest.mark.parametrize("total", [0, 1, 63, 64, 65, 4096, 4097, 10_000, 65_537])
@pytest.mark.parametrize("align", [1, 64])
def test_slices_cover_everything_once(threads, number, total, align):
    threads(number)
    visits, starts, lock = np.zeros(total, int), [], threading.Lock()

    def work(start, stop):
        assert 0 <= start < stop <= total
        with lock:
            visits[start:stop] += 1
            starts.append(start)

    for_slices(work, total, align)
    assert (visits == 1).all() and all(start % align == 0 for start in starts)
    assert (len(starts) > 1) == (number > 1 and total > 4096)


def test_a_failing_slice_is_reported(threads):
    threads(2)

    def work(start, stop):
        if start:
            raise RuntimeError("slice failed")

    with pytest.raises(RuntimeError, match="slice failed"):
        for_slices(work, 10_000, 64)
