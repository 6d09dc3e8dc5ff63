"""Exports against the network itself: every format, every builder, every activation, with and without this package."""

import base64
import importlib.util
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

import constructions
from approx import activations, export, storage, targets
from approx.activations import RadialActivation, ShiftedReLU, StepReLU
from approx.networks import Dense, Growing, RadialNetwork, Stack

FORMATS = sorted(export.FORMATS)
NUMBERS = np.random.default_rng(5)


def need(kind):
    if kind == ".onnx":
        pytest.importorskip("onnx")
        pytest.importorskip("onnxruntime")


def dense(out, into, activation=None, scale=1.0):
    weight = torch.from_numpy(NUMBERS.normal(size=(out, into)) * scale)
    return Dense(weight, torch.from_numpy(NUMBERS.normal(size=out)), activation)


def run(shape, activation):
    """A block of Stack (N, d, d) or Growing (N, h + 1, h), near enough to an isometry to go through many layers."""
    weight = np.eye(*shape[1:]) + 0.02 * NUMBERS.normal(size=shape)
    kind = Stack if shape[1] == shape[2] else Growing
    return kind(torch.from_numpy(weight), torch.from_numpy(0.2 * NUMBERS.normal(size=shape[:2])), activation)


def through(kind, network, folder):
    """The network as a function, by way of a file of that kind."""
    need(kind)
    export.write(folder / f"network{kind}", network)
    return export.read(folder / f"network{kind}")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A network of every builder, from its file, and that file."""
    folder = tmp_path_factory.mktemp("saved")
    result = {}
    for name, builder in constructions.BUILDERS.items():
        built = builder.build(targets.gaussian(dim=2), 0.4, verify=False)
        storage.save(folder / f"{name}.safetensors", built.network, cover=built.cover)
        result[name] = storage.load(folder / f"{name}.safetensors")
    return result


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("name", constructions.BUILDERS)
def test_saved_networks_of_every_builder(name, kind, saved, tmp_path):
    file = saved[name]
    points = export.probe(file.network, file.cover, 100_000 if kind in (".onnx", ".npz") else 5_000)
    check = export.compare(file.network, through(kind, file.network, tmp_path)(points), points)
    assert (check.wrong, check.other_side) == (0, 0)  # 1e-9 from a boundary is not within rounding of it
    assert check.largest <= 1e-12


@pytest.fixture(scope="module")
def basis():
    return constructions.build(targets.gaussian(dim=2), 1e-2, builder="radial_basis", verify=False)


@pytest.mark.parametrize("kind", [".npz", ".onnx", ".pt"])  # .py and .pt2 run the same steps as these
def test_radial_basis_networks_up_to_the_digits_they_lose(kind, basis, tmp_path):
    """Layers that amplify rounding: float64 leaves them fewer digits than 1e-12, whoever evaluates them."""
    built = basis
    points = np.random.default_rng(0).uniform(-3, 3, (2000, 2))
    check = export.compare(built.network, through(kind, built.network, tmp_path)(points), points)
    assert (check.wrong, check.other_side) == (0, 0)
    assert check.tolerance <= 1e-6
    spoiled = built.network.evaluate(points) + 2 * check.tolerance
    assert export.compare(built.network, spoiled, points).wrong == len(points)


@pytest.mark.parametrize("kind", FORMATS)
def test_points_on_a_boundary_may_fall_on_either_side(kind, saved, tmp_path):
    file = saved["constant_width"]
    points, _ = file.cover.boundary_points(1000)
    check = export.compare(file.network, through(kind, file.network, tmp_path)(points), points)
    assert check.agrees
    assert check.largest <= 1e-12


@pytest.mark.parametrize("kind", FORMATS)
def test_float32(kind, saved, tmp_path):
    built = constructions.build(targets.gaussian(dim=2), 0.4, dtype=torch.float32, verify=False)
    points = export.probe(built.network, built.cover, 5_000)
    values = through(kind, built.network, tmp_path)(points.astype(np.float32))
    assert values.dtype == np.float32
    check = export.compare(built.network, values, points)
    assert check.agrees
    assert check.largest <= 1e-6


@pytest.mark.parametrize("kind", FORMATS)
def test_every_activation(kind, tmp_path):
    rhos = [activations.activation(name) for name in activations.activation_names()]
    points = np.concatenate([NUMBERS.normal(size=(200, 3)) * 3, np.zeros((1, 3)), np.full((1, 3), 1e200)])
    first = dense(5, 3, ShiftedReLU(0.25))
    with torch.no_grad():
        first.bias.zero_()  # so that the zero vector meets an activation, and large ones one that must not overflow
    network = RadialNetwork([first, *(dense(5, 5, rho) for rho in rhos), run((4, 5, 5), ShiftedReLU(0.1)), dense(2, 5)])
    function = through(kind, network, tmp_path)
    assert function(points) == pytest.approx(network.evaluate(points), rel=1e-12, abs=1e-12)
    if kind == ".pt2":
        return  # torch.export takes seconds, and one program has them all
    for rho in rhos:  # each on its own, so that none hides behind another
        network = RadialNetwork([Dense(torch.eye(3).double(), torch.zeros(3).double(), rho)])
        value = through(kind, network, tmp_path)(points)
        assert value == pytest.approx(network.evaluate(points), rel=1e-14, abs=1e-14), rho


GROWING = {
    "last": lambda rho: [run((6, 4, 3), rho)],
    "of the first coordinates": lambda rho: [dense(4, 3, rho), run((6, 3, 2), rho), dense(2, 10)],
    "before a stack": lambda rho: [run((6, 4, 3), rho), run((3, 9, 9), rho), dense(2, 9)],
    "twice": lambda rho: [run((6, 4, 3), rho), run((4, 3, 2), rho), dense(2, 13)],
    "before a layer with activation": lambda rho: [run((6, 4, 3), rho), dense(2, 9, rho)],
}


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("where", GROWING)
def test_growing_runs_anywhere(where, kind, tmp_path):
    points = NUMBERS.normal(size=(100, 3)) * 2
    slow = kind == ".pt2"  # torch.export takes seconds; .pt runs the same steps
    if slow and where not in ("twice", "before a layer with activation"):
        pytest.skip("the other formats show it")
    for rho in (ShiftedReLU(0.3),) if slow else (StepReLU(), ShiftedReLU(0.3), None):
        network = RadialNetwork(GROWING[where](rho))
        assert through(kind, network, tmp_path)(points) == pytest.approx(network.evaluate(points), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("kind", FORMATS)
def test_ten_thousand_layers_are_a_few_nodes(kind, tmp_path):
    angle = NUMBERS.normal(size=10_000)
    turn = np.stack([np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)], axis=1).reshape(-1, 2, 2)
    rho = StepReLU()
    network = RadialNetwork([Stack(torch.from_numpy(turn), torch.zeros(10_000, 2).double(), rho), dense(1, 2)])
    points = NUMBERS.normal(size=(20, 2)) * 2
    values = through(kind, network, tmp_path)(points)
    assert values == pytest.approx(network.evaluate(points), rel=1e-10, abs=1e-10)  # 10,000 roundings of a turn
    assert len(np.unique(values)) > 5
    if kind == ".onnx":
        assert len(export.to_onnx(network).graph.node) < 10
    if kind == ".pt2":
        assert len(export.to_program(network).graph.nodes) < 50


@pytest.mark.parametrize("kind", FORMATS)
def test_any_number_of_points(kind, saved, tmp_path):
    function = through(kind, saved["narrow"].network, tmp_path)
    for count in (0, 1, 2, 7):
        assert function(np.zeros((count, 2))).shape == (count, 1)


def test_numpy_values_do_not_depend_on_the_batch(saved):
    network = saved["constant_width"].network
    function = export.to_numpy(network)
    points = NUMBERS.normal(size=(2500, 2))
    together = function(points)
    assert (function(points[::-1])[::-1] == together).all()
    assert (np.stack([function(point) for point in points[:50]]) == together[:50]).all()
    assert function(points.reshape(50, 50, 2)).shape == (50, 50, 1)
    with pytest.raises(ValueError, match=r"required real numbers of shape \(\.\.\., 2\)"):
        function([1.0, 2.0, 3.0])


ALONE = """
import importlib.util, json, runpy, sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("approx", "constructions"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
import numpy as np, torch
folder = sys.argv[1]
x = np.load(folder + "/points.npy")
"""
READERS = """
torch.set_grad_enabled(False)
points = torch.from_numpy(x)
values = {
    "py": runpy.run_path(folder + "/network.py")["network"](x),
    "pt": torch.jit.load(folder + "/network.pt")(points).numpy(),
    "pt2": torch.export.load(folder + "/network.pt2").module()(points).numpy(),
    "pth": torch.load(folder + "/network.pth", weights_only=False)(points).numpy(),
}
if importlib.util.find_spec("onnxruntime"):
    import onnxruntime
    session = onnxruntime.InferenceSession(folder + "/network.onnx", providers=["CPUExecutionProvider"])
    values["onnx"] = session.run(None, {"x": x})[0]
with np.load(folder + "/network.npz") as file:
    for i, step in enumerate(json.loads(str(file["header"]))["steps"]):
        weight, bias = file[f"step{i}.weight"], file[f"step{i}.bias"]
        for w, b in zip(weight, bias) if step["kind"] == "stack" else [(weight, bias)]:
            x = x @ w.T + b
            if step["activation"] == {"name": "step_relu"}:
                x[(x * x).sum(axis=1) < 1] = 0
    values["npz"] = x
np.savez(folder + "/values.npz", **values)
"""


def alone(code, folder):
    """Run code in a Python that has no approx, with no folder of this project to import from."""
    command = [sys.executable, "-I", "-W", "ignore", "-c", ALONE + code, str(folder)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_files_are_read_where_this_package_is_missing(saved, tmp_path):
    network = saved["constant_width"].network
    points = np.random.default_rng(0).normal(size=(500, 2))
    np.save(tmp_path / "points.npy", points)
    torch.save(export.to_sequential(network), tmp_path / "network.pth")
    runtime = importlib.util.find_spec("onnxruntime") is not None
    for kind in FORMATS:
        if kind != ".onnx" or runtime:
            export.write(tmp_path / f"network{kind}", network)
    done = alone(READERS, tmp_path)
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "values.npz") as values:
        assert len(values) == 5 + runtime
        for name in values:
            assert np.abs(values[name] - network.evaluate(points)).max() <= 1e-12, name


def test_that_python_has_no_approx(tmp_path):
    np.save(tmp_path / "points.npy", np.zeros(1))
    assert "ModuleNotFoundError: approx" in alone("import approx", tmp_path).stderr


def test_the_python_file_is_a_program_and_carries_its_weights(saved, tmp_path):
    network = saved["narrow"].network
    export.write(tmp_path / "net.py", network)
    text = (tmp_path / "net.py").read_text()
    assert base64.b64decode(text.split('DATA = """')[1].split('"""')[0])[:2] == b"PK"
    assert {line.split()[1] for line in text.splitlines() if line.startswith(("import", "from"))} == {
        "base64",
        "io",
        "json",
        "numpy",
    }
    done = subprocess.run(
        [sys.executable, "-I", "net.py", "0.25", "-0.5"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert float(done.stdout) == pytest.approx(network.evaluate([0.25, -0.5])[0], abs=1e-12)


def test_the_same_network_gives_the_same_bytes(saved, tmp_path):
    for kind in (".npz", ".py"):
        export.write(tmp_path / f"a{kind}", saved["widening"].network)
        export.write(tmp_path / f"b{kind}", saved["widening"].network)
        assert (tmp_path / f"a{kind}").read_bytes() == (tmp_path / f"b{kind}").read_bytes()


@pytest.mark.parametrize("name", constructions.BUILDERS)
def test_sequential_of_every_builder(name, saved):
    file = saved[name]
    module = export.to_sequential(file.network)
    points = export.probe(file.network, file.cover, 5_000)
    check = export.compare(file.network, module(torch.from_numpy(points)).numpy(), points)
    assert (check.wrong, check.other_side) == (0, 0)
    assert check.largest <= 1e-12
    assert all(type(part).__module__.split(".")[0] == "torch" for part in module.modules())


@pytest.mark.parametrize("name", activations.activation_names())
def test_sequential_has_the_gradients_of_the_network(name):
    shifted = name in ("shifted_relu", "shifted_sigmoid", "radial_softplus")
    rho = activations.activation(name, **({"shift": 0.5, "trainable": True} if shifted else {}))
    network = RadialNetwork([dense(4, 3, rho), dense(4, 4, rho), dense(2, 4)]).requires_grad_(True)
    with torch.no_grad():
        network.blocks[0].bias.zero_()
    module = export.to_sequential(network)
    x = torch.from_numpy(np.concatenate([NUMBERS.normal(size=(20, 3)), np.zeros((1, 3))]))
    gradients = []
    for subject in (network, module):
        given = x.clone().requires_grad_(True)
        subject(given).pow(2).sum().backward()
        gradients.append([given.grad, *(parameter.grad for parameter in subject.parameters())])
    assert len(gradients[0]) == len(gradients[1]) == 7 + shifted
    for own, other in zip(*gradients, strict=True):
        if own.ndim:
            assert torch.allclose(own, other, rtol=1e-10, atol=1e-12)
    shifts = [[grad for grad in some if grad.ndim == 0] for some in gradients]
    assert [len(some) for some in shifts] == [int(shifted)] * 2
    for own, other in zip(*shifts, strict=True):
        assert torch.allclose(own, other, rtol=1e-10)


def test_what_cannot_be_exported(tmp_path):
    network = RadialNetwork([dense(2, 2, StepReLU()), dense(1, 2)])
    with pytest.raises(ValueError, match=r"required a file name that ends in \.npz, \.onnx, \.pt, \.pt2, \.py"):
        export.write(tmp_path / "network.h5", network)
    with pytest.raises(ValueError, match="in a folder that does not exist"):
        export.write(tmp_path / "none" / "network.npz", network)
    with pytest.raises(FileNotFoundError, match="required an existing file"):
        export.read(tmp_path / "network.npz")
    with pytest.raises(TypeError, match="to_numpy: received network = 3; required a RadialNetwork"):
        export.to_numpy(3)
    with pytest.raises(ValueError, match="programs without this package"):
        export.write(tmp_path / "network.npz", RadialNetwork([dense(2, 2, RadialActivation(torch.tanh))]))
    with pytest.raises(ValueError, match="required float32 or float64"):
        export.to_numpy(RadialNetwork([Dense(torch.eye(2).bfloat16(), torch.zeros(2).bfloat16())]))
    with torch.no_grad():
        network.blocks[0].weight[0, 0] = float("nan")
    with pytest.raises(ValueError, match=r"NaN or infinity in blocks\.0\.weight"):
        export.to_sequential(network)
    assert not list(tmp_path.iterdir())
    wide = RadialNetwork([Growing(torch.zeros(800, 2, 1).double(), torch.zeros(800, 2).double(), None), dense(1, 801)])
    with pytest.raises(ValueError, match="required at most 100,000,000"):
        export.to_sequential(wide)


def test_compare_tells_rounding_from_error(saved):
    file = saved["constant_width"]
    points, normals = file.cover.boundary_points(200)
    inside, outside = (file.network.evaluate(points + side * 1e-13 * normals) for side in (-1, 1))
    jumps = np.flatnonzero(np.abs(inside - outside).max(axis=1) > 1e-3)
    assert len(jumps) > 50
    both = [export.compare(file.network, side[jumps], points[jumps]) for side in (inside, outside)]
    assert all(check.agrees for check in both)
    assert sum(check.other_side for check in both) >= len(jumps)  # one of the two is not what the network says
    values = file.network.evaluate(points)
    values[jumps[0]] += 1e-3
    check = export.compare(file.network, values, points)
    assert (check.wrong, check.agrees) == (1, False)
    assert (check.example == points[jumps[0]]).all()
    with pytest.raises(ValueError, match=r"values of shape \(3, 1\); required shape \(2, 1\)"):
        export.compare(file.network, np.zeros((3, 1)), np.zeros((2, 2)))


def test_a_radial_activation_is_a_layer_of_any_torch_model():
    """Trained as part of a model that is not a RadialNetwork: two rings, which no affine map tells apart."""
    torch.manual_seed(0)
    angle = torch.rand(400) * 2 * torch.pi
    label = (torch.arange(400) % 2).float()
    radius = 1 + label + 0.1 * torch.randn(400)
    x = torch.stack([radius * angle.cos(), radius * angle.sin()], dim=1)
    model = nn.Sequential(
        nn.Linear(2, 12), ShiftedReLU(0.5, trainable=True), nn.LayerNorm(12), nn.Linear(12, 12),
        RadialActivation(torch.tanh), nn.Linear(12, 1),
    )  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)

    def accuracy():
        return ((model(x)[:, 0] > 0) == (label > 0.5)).float().mean().item()

    before, shift = accuracy(), model[1].shift.item()
    for _ in range(150):
        optimizer.zero_grad()
        nn.functional.binary_cross_entropy_with_logits(model(x)[:, 0], label).backward()
        optimizer.step()
    assert before < 0.8
    assert accuracy() > 0.97
    assert model[1].shift.item() != shift
    copy = nn.Sequential(
        nn.Linear(2, 12), ShiftedReLU(0.5, trainable=True), nn.LayerNorm(12), nn.Linear(12, 12),
        RadialActivation(torch.tanh), nn.Linear(12, 1),
    )  # fmt: skip
    copy.load_state_dict(model.state_dict())
    assert torch.equal(copy(x), model(x))
