"""Every registered activation on the compiled engine, against torch and against plain loops in float64."""

import numpy as np
import pytest
import torch
from torch.autograd import forward_ad

from approx import _rescale
from approx._engine import LONG
from approx.activations import RadialActivation, ShiftedReLU, activation, activation_names
from approx.networks import Dense, Growing, RadialNetwork, Stack

DTYPES = (torch.float64, torch.float32)
ACTIVATIONS = (
    *((name, {}) for name in activation_names()),
    ("shifted_relu", {"shift": -0.4}),
    ("shifted_sigmoid", {"shift": 0.7, "trainable": True}),
    ("softplus", {"shift": -1.3, "trainable": True}),
)


def network_of(rho, kind, dtype, seed=0, width=4):
    """R^3 -> R^2 with every layer's map of norm about one."""
    rng = np.random.default_rng(seed)

    def tensor(*shape):
        return torch.as_tensor(rng.normal(size=shape) / np.sqrt(shape[-1])).to(dtype)

    def shift(*shape):
        return torch.as_tensor(0.3 * rng.normal(size=shape)).to(dtype)

    first = Dense(tensor(width, 3), shift(width), rho)
    last = Dense(tensor(2, width), shift(2))
    if kind == "stack":
        return RadialNetwork([first, Stack(tensor(LONG, width, width), shift(LONG, width), rho), last])
    if kind == "dense":  # layers of one shape, which run together, among others
        middle = [Dense(tensor(width, width), shift(width), rho) for _ in range(3)]
        wide = [Dense(tensor(9, width), shift(9), rho), Dense(tensor(2, 9), shift(2), rho)]
        return RadialNetwork([first, *middle, *wide])
    run = Growing(tensor(5, width, width - 1), shift(5, width), rho)
    return RadialNetwork([first, run, Dense(tensor(2, width + 5), shift(2))])


def points(count, dtype, seed=0):
    return torch.as_tensor(np.random.default_rng(seed).normal(scale=2.0, size=(count, 3))).to(dtype)


@pytest.mark.parametrize("kind", ["stack", "dense", "growing"])
@pytest.mark.parametrize(("name", "parameters"), ACTIVATIONS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_both_engines_agree_to_rounding(kind, name, parameters, dtype):
    network = network_of(activation(name, **parameters), kind, dtype)
    x = points(300, dtype)
    with torch.no_grad():
        assert network.compiled
        fast, plain = network(x, engine="compiled"), network(x, engine="torch")
        parts = [(network.partial(x, k), network.partial(x, k, engine="torch")) for k in range(network.depth + 1)]
    # Step-ReLU jumps where rounding decides; the other layers are Lipschitz away from 0, and each adds a few roundings.
    allowed = 3 if name == "step_relu" else 0
    tolerance = 2e3 * torch.finfo(dtype).eps
    for one, other in [(fast, plain), *parts]:
        assert one.dtype == other.dtype and one.shape == other.shape
        far = (one - other).abs().amax(dim=1) > tolerance * (1 + other.abs().amax(dim=1))
        assert int(far.sum()) <= allowed
    assert torch.equal(fast, parts[-1][0])


@pytest.mark.parametrize("width", [1, 5, 16, 40])
@pytest.mark.parametrize("name", ["swish", "shifted_relu"])
def test_every_width(name, width):
    rho = activation(name, **({"shift": 0.3} if name == "shifted_relu" else {}))
    network = network_of(rho, "stack", DTYPES[0], 1, width)
    x = points(77, DTYPES[0])
    torch.testing.assert_close(network(x, engine="compiled"), network(x, engine="torch"), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", ["stack", "dense", "growing"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_value_does_not_depend_on_the_batch(kind, dtype):
    network, x = network_of(activation("softplus"), kind, dtype), points(500, dtype)
    together = network(x, engine="compiled")
    order = torch.as_tensor(np.random.default_rng(1).permutation(500))
    assert torch.equal(network(x[order], engine="compiled"), together[order])
    for start, stop in [(0, 1), (3, 4), (17, 80), (255, 500)]:
        assert torch.equal(network(x[start:stop], engine="compiled"), together[start:stop])


@pytest.mark.parametrize(("name", "parameters"), ACTIVATIONS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_vectors_of_every_length(name, parameters, dtype):
    """|v|^2 overflows and underflows, v = 0, NaN and infinity, as `RadialActivation.forward` treats them."""
    rho, info = activation(name, **parameters), torch.finfo(dtype)
    rng = np.random.default_rng(0)
    lengths = 10.0 ** rng.uniform(np.log10(info.tiny) - 4, np.log10(info.max) - 1, 64)
    v = rng.normal(size=(64, 3))
    v *= (lengths / np.linalg.norm(v, axis=1))[:, None]
    v[:5] = [[0, 0, 0], [1, np.nan, 0], [np.inf, 0, 1], [0, -np.inf, np.nan], [info.tiny * info.eps, 0, 0]]
    v = torch.as_tensor(v).to(dtype)
    eye, zero = torch.eye(3).to(dtype), torch.zeros(3).to(dtype)
    with torch.no_grad():
        expected = rho(v)
        # A zero times an infinite weight is no number, so the activation is applied without an affine map.
        state, squares = np.ascontiguousarray(v.numpy().T), (v * v).sum(dim=1).numpy()
        code, shift = _rescale.code(rho)
        if code == _rescale.STEP:
            _rescale.cut(state, squares)
        elif code != _rescale.IDENTITY:
            _rescale.rescale(code, state.dtype.type(shift), state, squares, np.empty_like(squares))
        values = torch.as_tensor(state.T.copy())
        finite = torch.isfinite(v).all(dim=1)
        whole = RadialNetwork([Dense(eye, zero, rho)])(v[finite], engine="compiled")
    if name in ("step_relu", "radial_identity"):
        assert torch.equal(values.nan_to_num(7.0), expected.nan_to_num(7.0))
        assert torch.equal(whole, expected[finite])
    else:
        # The step from r to r - shift loses as many digits as they have in common.
        room = 1e3 if "shift" in name or "soft" in name else 16
        allowed = {"rtol": room * info.eps, "atol": 8 * info.tiny * info.eps}
        torch.testing.assert_close(values, expected, **allowed, equal_nan=True)
        torch.testing.assert_close(whole, expected[finite], **allowed)


def test_a_changed_shift_is_seen():
    rho = ShiftedReLU(1.0, trainable=True)
    network = RadialNetwork([Dense(torch.eye(2).double(), torch.zeros(2).double(), rho)]).requires_grad_(False)
    x = torch.tensor([[3.0, 4.0]]).double()
    assert network(x).tolist() == [[pytest.approx(2.4), pytest.approx(3.2)]]
    with torch.no_grad():
        rho.shift.fill_(2.5)
    assert network(x).tolist() == [[pytest.approx(1.5), pytest.approx(2.0)]]
    rho.shift.requires_grad_(True)
    network(x).sum().backward()
    assert rho.shift.grad.item() == pytest.approx(-1.4)


def test_forward_derivatives_are_not_lost():
    network, x = network_of(activation("swish"), "stack", DTYPES[0]), points(5, DTYPES[0])
    v = torch.ones_like(x)
    with forward_ad.dual_level():
        slope = forward_ad.unpack_dual(network(forward_ad.make_dual(x, v))).tangent
    step = 1e-6
    expected = (network(x + step * v) - network(x - step * v)) / (2 * step)
    torch.testing.assert_close(slope, expected, rtol=1e-6, atol=1e-8)
    _, same = torch.func.jvp(network, (x,), (v,))
    torch.testing.assert_close(same, slope, rtol=1e-12, atol=1e-12)


def test_torch_transforms_and_tracing_go_through_torch():
    network, x = network_of(activation("swish"), "stack", DTYPES[0]), points(6, DTYPES[0])
    expected = network(x)
    torch.testing.assert_close(torch.func.vmap(network)(x), expected, rtol=1e-12, atol=1e-12)
    traced = torch.jit.trace(network, x[:2], check_trace=False)
    torch.testing.assert_close(traced(x), expected, rtol=1e-12, atol=1e-12)


def test_profiles_that_are_not_registered_fall_back_to_torch():
    network = network_of(RadialActivation(torch.tanh), "stack", DTYPES[0])
    x = points(9, DTYPES[0])
    assert not network.compiled
    assert torch.equal(network(x), network(x, engine="torch"))
