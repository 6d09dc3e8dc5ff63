"""Activations of one's own: registered, in files, and where only those of the package will do."""

import json
import subprocess
import sys
import textwrap
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open

import approx
from approx import export, targets
from approx.activations import RadialActivation, ShiftedReLU, activation, activation_names, from_config, register
from approx.activations._radial import KINDS
from approx.domains import Box
from approx.networks import RadialNetwork
from constructions import cli


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    """What a test registers goes with it."""
    before = dict(KINDS)
    yield
    KINDS.clear()
    KINDS.update(before)


def bent(factor=1.0, name="bent"):
    """The definition of one class, run anew with each call, as cells of a notebook are."""

    class Bent(RadialActivation):
        lipschitz = 1.0

        def __init__(self, bend=1.0, *, twice=False):
            super().__init__()
            self.bend = bend
            self.twice = twice

        def h(self, r):
            return factor * (2 if self.twice else 1) * torch.tanh(self.bend * r)

        def interval_h(self, r):
            return factor * (2 if self.twice else 1) * np.tanh(self.bend * r)

    Bent.name = name
    return Bent


class Learned(RadialActivation):
    """A profile with a parameter of its own and a buffer."""

    name = "learned"

    def __init__(self, width=1.0):
        super().__init__()
        self.width = torch.nn.Parameter(torch.tensor(width, dtype=torch.float64))
        self.heights = torch.nn.Parameter(torch.ones(3, dtype=torch.float64))
        self.register_buffer("steps", torch.arange(3, dtype=torch.float64))

    def h(self, r):
        return r * torch.exp(-((r[..., None] * self.width - self.steps) ** 2) @ self.heights)


def network_of(rho):
    draw = torch.Generator().manual_seed(0)

    def affine(rows, columns):
        return torch.randn(rows, columns, generator=draw).double(), torch.randn(rows, generator=draw).double()

    return RadialNetwork.from_layers([(*affine(3, 2), rho), (*affine(3, 3), rho), (*affine(1, 3), None)])


def test_a_registered_class_is_known_by_its_name():
    kind = bent()
    assert register(kind) is kind
    rho = activation("Bent", bend=0.5)
    assert type(rho) is kind and rho.config() == {"name": "bent", "bend": 0.5, "twice": False}
    assert repr(rho) == "Bent(bend=0.5, twice=False)" and repr(from_config(rho.config())) == repr(rho)
    assert "bent" not in activation_names()  # those of the package
    with pytest.raises(TypeError, match=r"parameters width; required for bent at most bend and twice"):
        activation("bent", width=1.0)
    with pytest.raises(ValueError, match=r"name = 'bemt'; required one of bent, "):
        activation("bemt")


def test_the_definition_may_run_again():
    first, second = register(bent()), register(bent())
    assert type(activation("bent")) is second
    assert first().config() == second().config()  # a network made before still has its name
    renamed = register(bent(name="curved"))
    assert type(activation("curved")) is renamed
    with pytest.raises(ValueError, match="name = 'bent'"):
        activation("bent")


@pytest.mark.parametrize("name", ["step_relu", "StepReLU", "swish", "n_relu", "capsulesquash"])
def test_names_of_the_package_are_taken(name):
    with pytest.raises(ValueError, match=rf"register: received the name '{name}', which approx\.activations"):
        register(bent(name=name))


def test_names_of_other_classes_are_taken():
    register(bent())

    class Other(RadialActivation):
        name = "BENT"

        def h(self, r):
            return r

    with pytest.raises(ValueError, match=r"which tests\.approx\.test_own_activations\.bent\.<locals>\.Bent has"):
        register(Other)
    assert type(activation("bent")).__name__ == "Bent"


@pytest.mark.parametrize("name", ["", "two words", "a/b", "_", 3, None, b"bent"])
def test_names_are_identifiers(name):
    with pytest.raises(ValueError, match=r"register: received Bent with name = .* required a name of its own"):
        register(bent(name=name))


def test_only_classes_with_an_h_and_named_arguments_are_registered():
    class Inherits(ShiftedReLU):
        """Without a name of its own."""

    class Many(RadialActivation):
        name = "many"

        def __init__(self, *numbers):
            super().__init__()

        def h(self, r):
            return r

    with pytest.raises(ValueError, match="a name of its own"):
        register(Inherits)
    with pytest.raises(TypeError, match=r"takes \*numbers; required arguments that have names"):
        register(Many)
    for thing in (RadialActivation, RadialActivation(torch.tanh), torch.tanh, torch.nn.Linear, "bent", None):
        with pytest.raises(
            TypeError, match=r"register: received .* required a subclass of RadialActivation that defines"
        ):
            register(thing)


def test_subclasses_of_the_package_keep_their_arguments():
    @register
    class Steeper(ShiftedReLU):
        name = "steeper"

        def h(self, r):
            return 3 * super().h(r)

    assert Steeper(0.5, trainable=True).config() == {"name": "steeper", "shift": 0.5, "trainable": True}


@pytest.mark.parametrize("which", ["numbers", "parameters"])
def test_files_bring_it_back(tmp_path, which):
    rho = register(bent())(0.75, twice=True) if which == "numbers" else register(Learned)(0.5)
    network = network_of(rho)
    if which == "parameters":
        with torch.no_grad():
            rho.width.fill_(1 / 3)
            rho.heights.copy_(torch.tensor([0.5, 2.0, 1.0]))
            rho.steps.add_(0.25)
    approx.save(tmp_path / "net", network)
    loaded = approx.load(tmp_path / "net").network
    x = torch.randn(100, 2, generator=torch.Generator().manual_seed(1)).double()
    assert torch.equal(loaded(x), network(x))
    again = loaded.blocks[0].activation
    assert type(again) is type(rho) and again is loaded.blocks[1].activation and again.config() == rho.config()
    assert all(torch.equal(value, rho.state_dict()[name]) for name, value in again.state_dict().items())
    with safe_open(tmp_path / "net", framework="pt") as content:
        header = json.loads(content.metadata()["radial"])
    assert header["activations"] == [rho.config()] and set(header["own"][0]) == {"class", "h"}


def test_files_of_the_package_alone_say_nothing_of_others(tmp_path):
    approx.save(tmp_path / "net", network_of(activation("swish")))
    with safe_open(tmp_path / "net", framework="pt") as content:
        assert "own" not in json.loads(content.metadata()["radial"])


def test_a_name_that_is_not_registered_says_what_it_was(tmp_path, capsys):
    approx.save(tmp_path / "net", network_of(register(bent())()))
    del KINDS["bent"]
    told = r"whose activation 'bent' is not registered here; it was tests\.approx\.test_own_activations\.bent.*Bent; "
    with pytest.raises(ValueError, match=rf"^load: received .*{told}.*import or run what registers it") as caught:
        approx.load(tmp_path / "net")
    assert "damaged" not in str(caught.value) and "Take another copy" not in str(caught.value)
    for command in (["evaluate", str(tmp_path / "net"), "gaussian"], ["certify", str(tmp_path / "net"), "gaussian"]):
        assert cli.main(command) != 0
        shown = capsys.readouterr()
        assert "whose activation 'bent' is not registered here" in shown.err and "Traceback" not in shown.err


def test_a_profile_that_became_another_is_refused(tmp_path):
    approx.save(tmp_path / "net", network_of(register(bent())()))
    register(bent(factor=1.001))
    with pytest.raises(
        ValueError, match=r"was .*Bent with h\(0\.25\) = 0\.244919; the one registered here.*= 0\.245164"
    ):
        approx.load(tmp_path / "net")
    register(bent())
    assert approx.load(tmp_path / "net").network.dim_out == 1


def test_what_a_file_could_not_make_again_is_not_saved(tmp_path):
    @register
    class Forgetful(RadialActivation):
        name = "forgetful"

        def __init__(self, bend=1.0):
            super().__init__()
            self._bend = bend

        def h(self, r):
            return torch.tanh(self._bend * r)

    @register
    class Asking(RadialActivation):
        name = "asking"

        def __init__(self, function):
            super().__init__()
            self.function = function

        def h(self, r):
            return self.function(r)

    approx.save(tmp_path / "net", network_of(Forgetful()))  # the default does
    for rho, why in ((Forgetful(2.0), "which give another h"), (Asking(torch.tanh), "missing 1 required")):
        with pytest.raises(ValueError, match=rf"save: received {type(rho).__name__}\(.*{why}.* attributes of the same"):
            approx.save(tmp_path / "bad", network_of(rho))
    with pytest.raises(ValueError, match="not registered and cannot be saved"):
        approx.save(tmp_path / "bad", network_of(RadialActivation(torch.tanh)))
    assert not (tmp_path / "bad").exists()


def test_another_process_needs_the_module_that_registers_it(tmp_path):
    """Nothing of the file is imported or run."""
    (tmp_path / "my_profiles.py").write_text(
        textwrap.dedent(
            """
            import torch
            from approx.activations import RadialActivation, register

            @register
            class Halved(RadialActivation):
                name = "halved"

                def h(self, r):
                    return r / 2
            """
        )
    )
    script = """
        import approx, my_profiles, torch
        layers = (torch.eye(2), torch.zeros(2), my_profiles.Halved()), (torch.ones(1, 2), torch.zeros(1), None)
        approx.save("net", approx.RadialNetwork.from_layers(layers))
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], cwd=tmp_path, check=True)
    with pytest.raises(ValueError, match=r"it was my_profiles\.Halved; "):
        approx.load(tmp_path / "net")
    assert "my_profiles" not in sys.modules


def test_it_is_trained_evaluated_compressed_and_certified(tmp_path):
    rho = register(bent())()
    network = network_of(rho)
    x = torch.linspace(-1, 1, 40).double().reshape(-1, 2)
    run = approx.train(network, x, x[:, :1] ** 2, lr=0.05, epochs=20)
    approx.save(tmp_path / "net", run.network)
    loaded = approx.load(tmp_path / "net").network
    assert not loaded.compiled
    with pytest.raises(ValueError, match="the package's activations"):
        loaded(x, engine="compiled")
    small = approx.compress(loaded)
    assert small.deviation < 1e-10
    target = targets.from_expression("x^2 + 0*y", domain=Box.cube(2, 1.0))
    proof = approx.certify(loaded, target)
    assert proof.claim == "certified on condition"
    assert any("interval_h of Bent(bend=1.0, twice=False) being the profile h" in text for text in proof.rests_on)
    assert proof.recheck(samples=3).holds
    grid = target.domain.sample(5000)
    assert np.abs(loaded.evaluate(grid) - target(grid)).max() <= proof.upper
    without = network_of(register(Learned)())
    with pytest.raises(ValueError, match=r"the activation Learned.* of which no bounds are known"):
        approx.certify(without, target)
    with pytest.raises(ValueError, match=r"recheck: received the activation Learned.*; required one with interval_h"):
        replace(proof, network=without).recheck()


@pytest.mark.parametrize("to", ["to_numpy", "to_onnx", "to_script", "to_sequential"])
def test_exports_refuse_it(to):
    if to == "to_onnx":
        pytest.importorskip("onnx")
    network = network_of(register(bent())())
    with pytest.raises(ValueError, match=rf"{to}: received the activation Bent.* required one of radial_identity"):
        getattr(export, to)(network)


@pytest.mark.parametrize("tol", [0.3, 8.0])
def test_a_bound_of_a_compression_asks_nothing_of_a_profile_that_falls(tol):
    """h falls from 1 on: its height at a bound of |v| bounds nothing below it."""

    class Hill(ShiftedReLU):  # under the name of one of the package that never falls
        lipschitz = 100.0

        def h(self, r):
            return 100 * r * torch.exp(-r)

    eye, zero = torch.eye(2).double(), torch.zeros(2).double()
    second = torch.tensor([[1.0, 0.0], [0.0, 0.01]]).double(), zero, activation("identity")
    last = torch.ones(1, 2).double(), zero[:1], None
    network = RadialNetwork.from_layers([(eye, zero, Hill()), second, last])
    small = approx.compress(network, tol=tol, radius=3.0)
    x = approx.Ball([0.0, 0.0], 3.0).sample(2000)
    assert np.abs(small.network.evaluate(x) - network.evaluate(x)).max() <= small.bound <= tol
