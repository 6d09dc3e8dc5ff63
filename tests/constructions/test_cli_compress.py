"""`radial compress`: what it writes and prints, and what it refuses."""

import json

import numpy as np
import pytest
import torch

from approx import activations, storage
from approx.affine import AffineMap
from approx.covers import Cover
from approx.networks import RadialNetwork
from constructions.cli import main


@pytest.fixture
def run(capsys):
    """Run a command; returns (status, stdout, stderr)."""

    def call(*argv):
        status = main([str(word) for word in argv])
        return status, *capsys.readouterr()

    return call


def network(kind, widths=(1, 8, 16, 8, 1)):
    rng = np.random.default_rng(0)
    layers = []
    for i in range(1, len(widths)):
        arrays = rng.normal(size=(widths[i], widths[i - 1])), rng.normal(size=widths[i])
        layers.append((*map(torch.tensor, arrays), kind if i < len(widths) - 1 else None))
    return RadialNetwork.from_layers(layers)


@pytest.fixture
def saved(tmp_path):
    file = tmp_path / "net.safetensors"
    cover = Cover([[0.0]], [[1.0]], AffineMap.constant([0.0], 1), radii=[1.0])
    storage.save(file, network(activations.Squashing()), cover=cover, provenance={"target": "wave", "upper": 0.1})
    return file


def test_it_writes_the_smaller_network(run, saved, tmp_path):
    out = tmp_path / "small.safetensors"
    status, text, err = run("compress", saved, "--out", out)
    assert (status, err) == (0, "")
    for part in ("(1, 2, 3, 4, 1)", "34 (11.1%)", "lossless", "total"):
        assert part in text
    small, full = storage.load(out), storage.load(saved)
    assert small.network.widths == (1, 2, 3, 4, 1)
    assert small.provenance["target"] == "wave" and "upper" not in small.provenance  # it was of other weights
    assert small.provenance["compressed"]["method"] == "qr"
    assert small.cover is not None
    x = np.linspace(-3, 3, 50)[:, None]
    assert np.abs(small.network.evaluate(x) - full.network.evaluate(x)).max() < 1e-12
    assert run("compress", saved, "--out", out, "--quiet") == (0, "", "")


def test_json_with_a_tolerance(run, saved, tmp_path):
    out = tmp_path / "small.safetensors"
    argv = ["compress", saved, "--out", out, "--tol", 20, "--radius", 2, "--samples", 99, "--seed", 3, "--json"]
    status, text, err = run(*argv)
    facts = json.loads(text)
    assert (status, err) == (0, "")
    assert (facts["method"], facts["tol"], facts["radius"], facts["samples"]) == ("rank", 20, 2, 99)
    assert 0 < facts["deviation"] <= facts["bound"] <= 20
    assert facts["parameters_before"] == 305
    assert facts["parameters"] == storage.load(out).network.parameter_count < 34
    assert facts["hidden_widths_before"] == [[8, 1, 0], [16, 1, 0], [8, 1, 0]]
    assert storage.load(out).network.hidden_widths == (2, 3, 1)
    assert facts["hidden_widths"] == [[2, 2, 1], [1, 1, 0]]
    assert facts["files"] == {"network": str(out)}
    assert storage.load(out).cover is None


def test_the_picture(run, saved, tmp_path):
    argv = ["compress", saved, "--out", tmp_path / "a", "--plot", tmp_path / "a.svg", "--quiet", "--method", "rank"]
    assert run(*argv) == (0, "", "")
    assert "<svg" in (tmp_path / "a.svg").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "a.svg", "net.safetensors"]


def test_help_has_examples(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["compress", "--help"])
    assert "examples:\n  radial compress" in capsys.readouterr().out


BAD = {
    "no output": ([], "--out"),
    "the input as output": (["--out", "{file}"], "neither an input nor another output"),
    "a folder that does not exist": (["--out", "absent/a"], "does not exist"),
    "a negative tol": (["--out", "a", "--tol", "-1"], "tol >= 0"),
    "tol = nan": (["--out", "a", "--tol", "nan"], "a finite tol"),
    "radius = 0": (["--out", "a", "--radius", "0"], "radius > 0"),
    "a lossy qr": (["--out", "a", "--tol", "1", "--method", "qr"], "method='rank'"),
    "an unknown method": (["--out", "a", "--method", "lu"], "invalid choice"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_gives_one_line_and_writes_nothing(run, saved, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    options, words = BAD[name]
    before = saved.read_bytes()
    status, out, err = run("compress", saved, *(option.format(file=saved) for option in options))
    assert (status, out) == (2, "")
    assert err.startswith("radial: error: ") and err.count("\n") == 1 and words in err
    assert saved.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["net.safetensors"]


def test_a_tolerance_for_step_relu_is_refused(run, tmp_path):
    storage.save(tmp_path / "net", network(activations.StepReLU()))
    status, _, err = run("compress", tmp_path / "net", "--out", tmp_path / "small", "--tol", 0.1)
    assert status == 2 and "Lipschitz constant is infinite" in err and not (tmp_path / "small").exists()
    assert run("compress", tmp_path / "absent", "--out", tmp_path / "small")[0] == 2
