"""CUDA kernels: in numba's simulator, compiled without a device, replaced by torch, and on a device if there is one."""

import glob
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

import approx
import constructions
from approx import _cuda, _rescale
from approx.activations import RadialActivation, ShiftedReLU, StepReLU, activation, activation_names
from approx.blocks import Dense, Stack
from approx.networks import RadialNetwork

ROOT = Path(__file__).parents[2]
DTYPES = (torch.float64, torch.float32)
WIDTHS = (2, 4, 8, 14, 16)


def network_of(rho, dtype=torch.float64, width=4, layers=20, seed=0):
    rng = np.random.default_rng(seed)

    def tensor(*shape, scale=1.0):
        return torch.from_numpy(rng.normal(scale=scale, size=shape)).to(dtype)

    stack = Stack(tensor(layers, width, width, scale=width**-0.5), tensor(layers, width), rho)
    return RadialNetwork([Dense(tensor(width, 2), tensor(width), rho), stack, Dense(tensor(1, width), tensor(1))])


def points(count, dtype=torch.float64, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(scale=2.0, size=(count, 2))).to(dtype)


def plain(x, weights, biases, rho):
    """What a kernel computes, by torch on the processor."""
    code, shift = rho
    known = [activation(name) for name in activation_names() if _rescale.code(activation(name))[0] == code]
    activate = type(known[-1])(shift) if hasattr(known[-1], "shift") else known[-1]
    for weight, bias in zip(weights, biases, strict=True):
        x = activate(torch.addmm(bias, x, weight.T))
    return x


# Without a device


def test_kernels_in_the_simulator():
    options = ["-q", "-o", "addopts=", "-p", "no:cacheprovider", "--import-mode=importlib"]
    command = [sys.executable, "-m", "pytest", *options, "tests/approx/cuda_simulation.py"]
    environment = os.environ | {"NUMBA_ENABLE_CUDASIM": "1"}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-5000:] + result.stderr[-2000:]
    assert re.search(r"^\d\d+ passed", result.stdout, re.MULTILINE), result.stdout[-2000:]


@pytest.fixture
def toolkit(monkeypatch):
    """numba's compiler for devices of capability 9.0, if a CUDA toolkit is installed."""
    found = sorted(glob.glob("/usr/local/cuda*/nvvm"))
    if "CUDA_HOME" not in os.environ and found:
        monkeypatch.setenv("CUDA_HOME", str(Path(found[-1]).parent))
    from numba import cuda
    from numba.cuda import dispatcher
    from numba.cuda.cudadrv import nvvm

    class Device:
        compute_capability = (9, 0)

    if not nvvm.is_available():
        pytest.skip("needs NVVM of a CUDA toolkit")
    monkeypatch.setattr(dispatcher, "get_current_device", Device)
    return cuda


@pytest.mark.parametrize(
    ("name", "width", "side", "dtype"),
    [("step_relu", 4, 4, "float32"), ("step_relu", 16, 2, "float64"), ("radial_softplus", 14, 2, "float64")],
)
def test_kernels_compile_to_registers(name, width, side, dtype, toolkit):
    """Points lie in registers, all is inlined, products are fused multiply-adds, and weights are read once for all.

    Local memory holds at most the one point whose factor h(r) / r would lose digits.
    """
    from numba import from_dtype

    from approx._cuda_kernel import kernel

    code, _ = _rescale.code(activation(name))
    compiled = kernel(code, width, side, dtype, _cuda.THREADS, _cuda.STAGED)
    real = from_dtype(np.dtype(dtype))
    arguments = (real[:, ::1], real[:, :, ::1], real[:, ::1], real, real[:, ::1])
    ptx, _ = toolkit.compile_ptx(compiled.py_func, arguments, cc=(9, 0))
    lines = [line.strip() for line in ptx.splitlines()]
    local = sum(int(size) for size in re.findall(r"\.local .*\[(\d+)\];", ptx))
    assert local <= (0 if name == "step_relu" else width * np.dtype(dtype).itemsize)
    assert not [line for line in lines if line.startswith("call")]
    kind = "f32" if dtype == "float32" else "f64"
    products = sum(line.startswith(f"fma.rn.{kind}") for line in lines)
    assert products >= width * width * side + (width - 1) * side
    reads = re.findall(r"^ld\.shared(?:\.v(\d))?\.", "\n".join(lines), re.MULTILINE)
    assert sum(int(lanes or 1) for lanes in reads) == width * (width + 1)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_check_of_a_kernel_stays_away_from_the_jump(dtype):
    """So that rounding cannot fail it: no point comes within 1000 roundings of |v| = 1."""
    for width in range(1, _cuda.NARROW + 1):
        x, weights, biases = _cuda._sample(width, dtype)
        for weight, bias in zip(weights, biases, strict=True):
            x = x @ weight.T + bias
            assert (x.norm(dim=1) - 1).abs().min() > 1e3 * torch.finfo(dtype).eps
            x = StepReLU()(x)


@pytest.fixture
def pretended(monkeypatch):
    """Networks that take the processor for a device, with a kernel that counts its layers."""
    calls = []

    def layers(x, weights, biases, rho):
        calls.append(len(weights))
        return plain(x, weights, biases, rho)

    monkeypatch.setattr(RadialNetwork, "device", torch.device("cuda", 0))
    monkeypatch.setattr(RadialNetwork, "_flatten", lambda self, x: x.reshape(-1, self.dim_in))
    monkeypatch.setattr(_cuda, "_available", lambda: True)
    monkeypatch.setattr(_cuda, "_verdict", lambda *key: "")
    monkeypatch.setattr(_cuda, "_layers", layers)
    return calls


def test_networks_on_a_device_take_the_kernels(pretended):
    network, x = network_of(StepReLU()), points(30)
    expected = network(x, engine="torch")
    assert network.compiled
    assert pretended == []
    for engine in ("auto", "compiled"):
        torch.testing.assert_close(network(x, engine=engine), expected)
        assert pretended == [1, 20, 1]
        pretended.clear()
    torch.testing.assert_close(
        network.partial(x.reshape(5, 6, 2), 7).reshape(30, 4), network.partial(x, 7, engine="torch")
    )
    assert pretended == [1, 6]


def test_gradients_and_unknown_activations_stay_with_torch(pretended):
    network, x = network_of(StepReLU()), points(5).requires_grad_()
    assert network(x).requires_grad
    unknown = network_of(RadialActivation(torch.tanh))
    unknown(points(5))
    assert pretended == []
    for net, inputs in ((network, x), (unknown, points(5)), (network_of(StepReLU(), torch.float16), points(5).half())):
        with pytest.raises(ValueError, match=r"received engine='compiled'; required the package's activations"):
            net(inputs, engine="compiled")


def test_without_a_working_kernel_torch_evaluates_and_the_error_says_what_is_missing(pretended, monkeypatch):
    network, x = network_of(StepReLU()), points(5)
    for name, replacement, reason in (
        ("_verdict", lambda *key: "its values differ", "its values differ"),
        ("_available", lambda: False, "numba finds no CUDA device"),
    ):
        monkeypatch.setattr(_cuda, name, replacement)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            torch.testing.assert_close(network(x), network(x, engine="torch"))
        assert not network.compiled
        with pytest.raises(ValueError, match=rf"{reason}.*pip install 'radial-approx\[cuda\]'"):
            network(x, engine="compiled")
    assert pretended == []


@pytest.mark.parametrize("name", activation_names())
def test_a_kernel_is_compared_with_torch_before_its_first_use(name, monkeypatch):
    key = type(activation(name)), 4, torch.float64, torch.device("cpu")

    def verdict(layers):
        monkeypatch.setattr(_cuda, "_layers", layers)
        return _cuda._verdict.__wrapped__(*key)

    def wrong(x, weights, biases, rho):
        values = plain(x, weights, biases, rho)
        values[17, 2] += 1e-9
        return values

    def broken(*arguments):
        raise RuntimeError("no compiler")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert verdict(lambda *a: plain(*a)) == ""
    with pytest.warns(UserWarning, match="torch evaluates instead of the CUDA kernel: its values differ"):
        assert verdict(wrong).startswith("its values differ")
    with pytest.warns(UserWarning, match="RuntimeError: no compiler"):
        assert verdict(broken) == "RuntimeError: no compiler"


def test_one_warning_for_a_kernel_that_does_not_work(monkeypatch):
    _cuda._verdict.cache_clear()
    monkeypatch.setattr(_cuda, "_available", lambda: True)
    monkeypatch.setattr(_cuda, "_layers", lambda x, *rest: x)
    blocks = network_of(StepReLU()).blocks
    with pytest.warns(UserWarning) as caught:
        reasons = {_cuda.obstacle(blocks) for _ in range(3)}
    _cuda._verdict.cache_clear()
    assert len(caught) == len(reasons) == 1


def test_numba_without_cuda_is_no_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba.cuda", None)
    assert not _cuda._available.__wrapped__()


# On a device

on_device = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.fixture
def device():
    place = torch.device("cuda", torch.cuda.current_device())
    if trouble := _cuda.obstacle(network_of(StepReLU()).to(place).blocks):
        pytest.skip(trouble)
    return place


@on_device
@pytest.mark.parametrize("name", activation_names())
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", WIDTHS)
def test_device_and_processor_agree(name, dtype, width, device):
    network, x = network_of(activation(name), dtype, width), points(3001, dtype)
    here = network(x)
    network = network.to(device)
    there = network(x.to(device), engine="compiled").cpu()
    allowed = 3 if name == "step_relu" else 0  # points within rounding of the jump
    far = (there - here).abs() > 1e4 * torch.finfo(dtype).eps * (1 + here.abs())
    assert far.sum() <= allowed
    for some in (slice(0, 1), slice(500, 1013), slice(0, 0)):
        assert torch.equal(network(x[some].to(device)).cpu(), there[some])


@on_device
@pytest.mark.parametrize("builder", ["constant_width", "narrow", "minimal", "widening", "radial_basis"])
def test_built_networks_on_a_device(builder, device):
    target = approx.targets.gaussian(dim=1) if builder == "radial_basis" else approx.targets.gaussian(dim=2)
    if builder == "radial_basis":
        network = constructions.radial_basis.build(target, layers=20).network
    else:
        domain = approx.WholeSpace(2) if builder in ("constant_width", "widening") else approx.Box([-2, -2], [2, 2])
        network = constructions.build(target, 0.2, domain=domain, builder=builder).network
    x = np.random.default_rng(0).uniform(-2, 2, (5000, target.dim_in))
    here = network.evaluate(x)
    there = network.to(device).evaluate(x)
    size = 1e-8 * (1 + np.abs(here))  # far above roundings, far below the steps between cells
    assert (np.abs(there - here) > size).sum() <= 3
    domain = approx.Box([-2.0] * target.dim_in, [2.0] * target.dim_in)
    reports = [approx.sup_error(network, target, domain, samples=20_000, engine=e) for e in ("auto", "torch")]
    assert reports[0].lower == pytest.approx(reports[1].lower, rel=1e-6)


@on_device
def test_streams_of_torch(device):
    network, x = network_of(StepReLU(), layers=2000).to(device), points(50_000).to(device)
    expected = network(x, engine="compiled")
    stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        moved = x * 2  # on this stream, which the kernel has to wait for
        values = network(moved / 2, engine="compiled")
    stream.synchronize()
    assert torch.equal(values, expected)


@on_device
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_every_device_runs_its_own_networks(device):
    network, x = network_of(ShiftedReLU(0.5)), points(1000)
    values = [network.to(place)(x.to(place), engine="compiled") for place in ("cuda:1", "cuda:0", "cuda:1")]
    assert [value.device.index for value in values] == [1, 0, 1]
    assert torch.equal(values[0].cpu(), values[1].cpu())
    assert torch.equal(values[0], values[2])
