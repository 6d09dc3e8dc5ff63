"""`radial export`: files written, compared with the network, reported."""

import json

import numpy as np
import pytest

from approx import export, storage
from constructions.cli import main


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("net") / "g.safetensors"
    assert main(["build", "gaussian", "--eps", "0.4", "--no-proof", "--quiet", "--out", str(path)]) == 0
    return path


@pytest.mark.parametrize("kind", [".npz", ".onnx", ".py", ".pt"])
def test_it_writes_and_compares(kind, file, tmp_path, capsys):
    if kind == ".onnx":
        pytest.importorskip("onnxruntime")
    out = tmp_path / f"g{kind}"
    assert main(["export", str(file), "--out", str(out), "--samples", "1000", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["files"] == {"network": str(out)}
    assert (facts["bytes"], facts["compared"], facts["wrong"]) == (out.stat().st_size, 1000, 0)
    assert facts["largest_difference"] <= 1e-12
    x = np.random.default_rng(1).normal(size=(50, 2))
    assert np.abs(export.read(out)(x) - storage.load(file).network.evaluate(x)).max() <= 1e-12
    assert main(["export", str(file), "--out", str(out)]) == 0
    assert "10,000 points, largest difference" in capsys.readouterr().out


def test_a_wrong_file_is_noticed(file, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(export, "read", lambda path: lambda x: np.full((len(x), 1), 7.0))
    assert main(["export", str(file), "--out", str(tmp_path / "g.npz"), "--samples", "40"]) == 1
    assert "40 points WRONG" in capsys.readouterr().out


def test_a_missing_reader_is_said(file, tmp_path, capsys, monkeypatch):
    def missing(path):
        raise ImportError("no onnxruntime here")

    monkeypatch.setattr(export, "read", missing)
    assert main(["export", str(file), "--out", str(tmp_path / "g.npz"), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["compared"], facts["reason"]) == (0, "no onnxruntime here")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--out", "g.bin"], "required a file name that ends in"),
        (["--out", "none/g.npz"], "in a folder that does not exist"),
        (["--out", "g.npz", "--samples", "0"], "required 1 <= --samples"),
        ([], "the following arguments are required: --out"),
    ],
)
def test_refusals(arguments, said, file, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["export", str(file), *arguments]) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_the_input_is_not_overwritten(file, capsys):
    assert main(["export", str(file), "--out", str(file)]) == 2
    assert "neither an input nor another output" in capsys.readouterr().err
