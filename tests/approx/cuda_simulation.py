"""The CUDA kernels in numba's simulator, which runs them as Python threads: see test_cuda, which runs this file.

In the simulator `fma` rounds twice, so values agree with the processor's to rounding, not to the bit.
"""

import contextlib
import types

import numpy as np
import pytest
import torch

from approx import _cuda, _engine, _rescale
from approx.activations import StepReLU, activation, activation_names
from approx.affine import AffineMap
from approx.blocks import Dense, Growing, Stack
from approx.covers import Cover
from approx.networks import RadialNetwork
from constructions import constant_width, minimal, narrow, widening
from tests.benchmarks import bench_cuda

DTYPES = (np.float64, np.float32)
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # numpy's, where a kernel has NaN or infinity


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Blocks of 4 threads and chunks of one to four layers; few threads and numbers take the same paths."""
    for name, value in (("THREADS", 4), ("BLOCKS", 2), ("STAGED", 512)):
        monkeypatch.setattr(_cuda, name, value)


@pytest.fixture
def host(monkeypatch):
    """`_cuda.through` with tensors of the processor."""

    def layers(points, weights, biases, rho):
        tensors = (points, weights, biases)
        return torch.from_numpy(launch(*(tensor.contiguous().numpy() for tensor in tensors), rho))

    monkeypatch.setattr(_cuda, "_layers", layers)


def launch(points, weights, biases, rho):
    result = np.full((len(points), weights.shape[1]), 17.0, points.dtype)
    _cuda.launch(points, weights, biases, rho, result)
    return result


def random(dtype, *shapes, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape).astype(dtype) for shape in shapes]


def layers_of(dtype, count, width, height=None, seed=0):
    height = height or width
    weights, biases = random(dtype, (count, height, width), (count, height), seed=seed)
    return weights / dtype(width**0.5), biases


def unusual_points(dtype, count, width):
    """Among them zero, tiny and huge ones, whose squares under- and overflow, NaN and infinity."""
    (points,) = random(dtype, (count, width), seed=1)
    small, large = (1e-30, 1e30) if dtype == np.float32 else (1e-200, 1e200)
    points[1], points[2, 0], points[3, -1] = 0, np.nan, np.inf
    points[4] *= dtype(small)
    points[5] *= dtype(large)
    return points


def plain(points, weights, biases, rho):
    return Stack(torch.from_numpy(weights), torch.from_numpy(biases), rho).run(torch.from_numpy(points), len(weights))


@pytest.mark.parametrize("name", activation_names())
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", [1, 5])
def test_layers_agree_with_torch(name, dtype, width):
    rho = activation(name)
    weights, biases = layers_of(dtype, 6, width)
    biases[0] = 0  # the first layer sees the lengths of the points
    points = unusual_points(dtype, 19, width)
    values = launch(points, weights, biases, _rescale.code(rho))
    expected = plain(points, weights, biases, rho).numpy()
    np.testing.assert_array_equal(np.isnan(values), np.isnan(expected))
    finite = np.isfinite(expected).all(axis=1)
    size = 1 + np.abs(expected[finite]).max(axis=1, keepdims=True)
    # Differences grow where a bias is subtracted from a value about as large, as in a thousandfold cancellation.
    assert (np.abs(values[finite] - expected[finite]) <= 1e3 * np.finfo(dtype).eps * size).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_layers_agree_with_the_engine_of_the_processor(dtype):
    weights, biases = layers_of(dtype, 40, 4)  # several chunks
    (points,) = random(dtype, (13, 4), seed=1)
    rho = _rescale.code(StepReLU())
    values, expected = launch(points, weights, biases, rho), _engine.layers(points, weights, biases, rho)
    np.testing.assert_allclose(values, expected, rtol=1e3 * np.finfo(dtype).eps, atol=1e3 * np.finfo(dtype).eps)


@pytest.mark.parametrize("name", ["step_relu", "radial_swish"])
def test_a_value_does_not_depend_on_its_batch(name):
    rho = _rescale.code(activation(name))
    weights, biases = layers_of(np.float64, 5, 3)
    points = unusual_points(np.float64, 37, 3)  # three blocks, the last with few points
    together = launch(points, weights, biases, rho)
    for some in (slice(0, 1), slice(5, 6), slice(36, 37), slice(3, 20), slice(None, None, -1)):
        alone = launch(np.ascontiguousarray(points[some]), weights, biases, rho)
        np.testing.assert_array_equal(alone, together[some])


@pytest.mark.parametrize(("width", "height"), [(2, 5), (5, 2), (1, 3), (3, 1), (9, 10)])
def test_a_single_layer_of_any_shape(width, height):
    for rho in (None, StepReLU(), activation("shifted_relu", shift=0.3)):
        weights, biases = layers_of(np.float64, 1, width, height)
        (points,) = random(np.float64, (9, width), seed=1)
        layer = Dense(torch.from_numpy(weights[0]), torch.from_numpy(biases[0]), rho)
        expected = layer.run(torch.from_numpy(points), 1)
        np.testing.assert_allclose(
            launch(points, weights, biases, _rescale.code(rho)), expected, rtol=1e-12, atol=1e-12
        )


@pytest.mark.parametrize("builder", [constant_width, narrow, minimal, widening])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_built_networks(builder, dtype, host):
    centres = [[-1, -1], [0, -1], [1, -1], [-1, 0], [0, 0], [1, 0]]
    cover = Cover(centres, np.arange(1.0, 7.0)[:, None], AffineMap.constant([0.0], 2), radii=np.full(6, 0.8))
    network = builder.assemble(cover, dtype=dtype).network
    x = torch.from_numpy(np.random.default_rng(1).uniform(-2, 2, (15, 2))).to(dtype)
    for layers in (0, 1, network.depth // 2, network.depth):
        expected = network.partial(x, layers, engine="torch")
        values = _cuda.through(network.blocks, x, layers)
        small = 1e4 * torch.finfo(dtype).eps * expected.abs().max().item()  # cells have the values 1 to 6
        torch.testing.assert_close(values, expected, rtol=0, atol=small)


def test_runs_of_every_kind_in_one_network(host):
    rho = activation("shifted_relu", shift=0.4)

    def tensors(*shape):
        return torch.from_numpy(random(np.float64, shape)[0])

    blocks = [
        Dense(tensors(3, 2), tensors(3), rho),
        *(Dense(tensors(3, 3), tensors(3), rho) for _ in range(3)),  # of one shape: one launch
        Dense(tensors(20, 3), tensors(20), rho),  # too wide: torch
        Dense(tensors(3, 20), tensors(3), rho),
        Growing(tensors(2, 3, 2), tensors(2, 3), rho),
        Dense(tensors(4, 5), tensors(4), None),
        Stack(tensors(3, 4, 4), tensors(3, 4), rho),
        Dense(tensors(1, 4), tensors(1)),
    ]
    network = RadialNetwork(blocks)
    (x,) = random(np.float64, (7, 2))
    x = torch.from_numpy(x)
    for layers in range(network.depth + 1):
        expected = network.partial(x, layers, engine="torch")
        torch.testing.assert_close(_cuda.through(network.blocks, x, layers), expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("width", [1, 4, 16])
def test_the_kernels_pass_their_own_check(host, width, dtype):
    assert _cuda._verdict.__wrapped__(StepReLU, width, dtype, torch.device("cpu")) == ""


def test_tensors_go_to_the_kernel_as_they_are_and_on_the_stream_of_torch(monkeypatch):
    """All of `_layers` but the driver: numba's and torch's devices are stand-ins."""
    from numba import cuda

    used = []

    def external(number):
        used.append(number)
        return number

    class Devices:
        def __getitem__(self, index):
            used.append(("device", index))
            return contextlib.nullcontext()

    monkeypatch.setattr(cuda, "gpus", Devices())
    monkeypatch.setattr(cuda, "external_stream", external, raising=False)
    monkeypatch.setattr(cuda, "as_cuda_array", lambda tensor: tensor.numpy(), raising=False)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: types.SimpleNamespace(cuda_stream=5))
    weights, biases = (torch.from_numpy(array) for array in layers_of(np.float64, 3, 4))
    x = torch.from_numpy(random(np.float64, (4, 10))[0]).T  # not contiguous
    rho = _rescale.code(StepReLU())
    values = _cuda._layers(x, weights.transpose(1, 2), biases, rho)
    expected = plain(x.contiguous().numpy(), weights.transpose(1, 2).contiguous().numpy(), biases.numpy(), StepReLU())
    torch.testing.assert_close(values, expected)
    assert used == [("device", None), 5]
    assert _cuda._layers(x[:0], weights, biases, rho).shape == (0, 4)


def test_the_benchmark_counts_what_it_times():
    kernel, result = bench_cuda.multiply_adds("float64"), np.zeros(6)
    kernel[2, 3](2, result)
    steps = 2 * bench_cuda.UNROLLED  # each sum s becomes 1 + s / 2 so often
    expected = sum(2 + (i + 1) * 0.5**steps for i in range(bench_cuda.SUMS))
    np.testing.assert_allclose(result, expected, rtol=1e-12)
    size = points, layers, width = 1000, 10, 4
    flops = points * layers * (2 * width * width + 3 * width)  # d^2 multiply-adds, the length, the rescaling
    moved = 8 * (points * width * 2 + layers * width * (width + 1))
    assert (bench_cuda.operations(*size), bench_cuda.traffic(*size, 8)) == (flops, moved)
    seconds = {"kernel": 1.0, "torch": 2.0, "loop": 30.0}
    line = bench_cuda.row(size, 8, seconds, {"flops": flops / 0.5, "bytes": moved / 0.25})
    assert line.split()[-5:] == ["2.0x", "30.0x", "50%", "25%", "50%"]
