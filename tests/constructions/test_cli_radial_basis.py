"""`radial build --builder radial_basis`: what it prints, saves and refuses."""

import json

import pytest

from approx import storage
from constructions.cli import main

ASKED = ("build", "gaussian", "--dim", 1, "--builder", "radial_basis", "--samples", 1000)


@pytest.fixture
def run(capsys):
    def call(*argv):
        status = main([str(word) for word in argv])
        return status, *capsys.readouterr()

    return call


def test_a_network_of_so_many_layers_is_reported_and_saved(run, tmp_path):
    file = tmp_path / "net.safetensors"
    status, out, _ = run(*ASKED, "--layers", 12, "--activation", "shifted_relu", "--out", file, "--json")
    facts = json.loads(out)
    assert (status, facts["hidden_layers"], facts["hidden_widths"]) == (0, 12, [[3, 12, 0]])
    assert facts["kernel"].startswith("inverse multiquadric")
    assert 0 < facts["lower"] < 1e-3
    saved = storage.load(file)
    assert saved.network.hidden_layers == 12
    assert saved.provenance["certificate"]["upper"] == facts["upper"] < 1e-3
    status, out, _ = run("evaluate", file, "gaussian", "--dim", 1, "--samples", 1000, "--domain", "box:-3,3", "--json")
    assert status == 0
    assert json.loads(out)["lower"] == pytest.approx(facts["lower"], rel=0.1)


def test_the_table_names_kernel_and_digits(run):
    status, out, _ = run(*ASKED, "--layers", 8, "--activation", "radial_swish")
    assert status == 0
    assert "kernel        Gaussian" in out
    assert "digits        gain" in out


def test_a_missed_tolerance_is_status_one(run):
    assert run(*ASKED, "--eps", 1e-3)[0] == 0
    assert run(*ASKED, "--eps", 1e-3, "--max-layers", 3)[0] == 1


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ((*ASKED, "--layers", 5, "--cover", "uniform"), "--cover"),
        ((*ASKED, "--layers", 5, "--activation", "squashing"), "tends to 0"),
        (ASKED, "neither eps nor layers"),
        (("build", "gaussian", "--layers", 5), "received --layers and no --eps"),
    ],
)
def test_what_does_not_fit_is_refused(run, argv, words):
    status, _, err = run(*argv)
    assert status == 2
    assert words in err
