"""radial certify: a proof for a saved network, whoever built it."""

import json

import numpy as np
import pytest

from approx import storage
from constructions.cli import main


@pytest.fixture
def run(capsys):
    def call(*arguments):
        status = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return status, out, err

    return call


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    file = tmp_path_factory.mktemp("certify") / "franke.safetensors"
    assert main(["build", "franke", "--eps", "0.2", "--out", str(file), "--quiet", "--no-proof"]) == 0
    return file


def test_the_tolerance_of_the_build_is_proved(run, saved):
    status, out, _ = run("certify", saved, "franke", "--json")
    result = json.loads(out)
    assert status == 0 and result["proved"] and result["claim"] == "certified" and result["eps"] == 0.2
    assert result["lower"] <= result["upper"] <= 0.2
    assert "interval arithmetic" in result["rests_on"][0] and "recheck" not in result


def test_in_words_with_a_second_opinion(run, saved):
    status, out, _ = run("certify", saved, "franke", "--tol", "1e-4", "--recheck")
    assert status == 0
    assert "<= sup |F - f| <=" in out and "proved within eps = 0.2" in out
    assert "recheck       confirmed, at 33 points, ball arithmetic at 256 bits" in out


def test_the_certificate_travels_in_the_header(run, saved, tmp_path):
    out = tmp_path / "proved.safetensors"
    status, text, _ = run("certify", saved, "franke", "--tol", "1e-3", "--out", out, "--json")
    before, after = storage.load(saved), storage.load(out)
    assert before.provenance["certificate"] is None and status == 0
    header = after.provenance["certificate"]
    result = json.loads(text)
    assert header["upper"] == after.provenance["upper"] == result["upper"] and header["claim"] == "certified"
    assert np.shape(header["worst_box"]) == (2, 2) and result["files"] == {"network": str(out)}
    for name in ("centers", "values", "radii", "shapes"):
        assert np.array_equal(getattr(after.cover, name), getattr(before.cover, name)), name
    points = np.random.default_rng(0).uniform(0, 1, size=(50, 2))
    assert np.array_equal(after.network.evaluate(points), before.network.evaluate(points))


def test_a_build_saves_its_certificate(run, tmp_path):
    file = tmp_path / "gaussian.safetensors"
    assert run("build", "gaussian", "--dim", 1, "--eps", 0.2, "--out", file, "--quiet")[0] == 0
    certificate = storage.load(file).provenance["certificate"]
    assert certificate["upper"] <= 0.2 and certificate["domain"] == "R^1"
    status, out, _ = run("certify", file, "gaussian", "--json")  # the file knows the dimension
    assert status == 0 and json.loads(out)["domain"] == "R^1"


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (("franke", "--eps", "0.01"), 1, "above eps = 0.01"),
        (("peaks", "--tol", "0.1"), 1, "above eps = 0.2"),
        (("franke", "--eps", "-1"), 2, "eps"),
        (("franke", "--tol", "nan"), 2, "tol"),
        (("franke", "--max-seconds", "0"), 2, "max_seconds"),
        (("franke", "--domain", "space"), 2, "asymptotically affine"),
        (("gaussian", "--dim", "3"), 2, "R^3"),
    ],
)
def test_refuted_and_refused(run, saved, arguments, status, text):
    code, out, err = run("certify", saved, *arguments)
    assert code == status
    assert text in out + err and (status == 1 or (err.count("\n") == 1 and not out))


def test_nothing_is_written_over_the_input(run, saved):
    code, _, err = run("certify", saved, "franke", "--out", saved)
    assert code == 2 and "neither an input nor another output" in err


def test_a_failed_second_opinion_is_no_success(run, saved, tmp_path, monkeypatch):
    from approx.certification import certificate

    real = certificate.Certificate.recheck

    def contradicted(report):
        from dataclasses import replace

        return replace(real(report), contradictions=("F is not F",))

    monkeypatch.setattr(certificate.Certificate, "recheck", contradicted)
    out = tmp_path / "never.safetensors"
    status, text, _ = run("certify", saved, "franke", "--recheck", "--out", out)
    assert status == 1 and "F is not F" in text and not out.exists()
