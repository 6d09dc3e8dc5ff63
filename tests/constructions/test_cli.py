"""The command line: what it prints, what it writes, how it fails."""

import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import constructions
from approx import storage, targets
from approx.covers import Cover
from constructions.cli import main
from tests.approx.arb_networks import random_network

QUICK = ["--samples", "2000"]


@pytest.fixture
def run(capsys):
    """Run a command; returns (status, stdout, stderr)."""

    def call(*argv):
        status = main([str(word) for word in argv])
        return status, *capsys.readouterr()

    return call


@pytest.fixture
def saved(tmp_path, run):
    status, _, _ = run("build", "gaussian", "--eps", 0.3, "--out", tmp_path / "net.safetensors", "--quiet", *QUICK)
    assert status == 0
    return tmp_path / "net.safetensors"


def test_help_in_a_subprocess_shows_examples():
    root = Path(constructions.__file__).parents[1]
    result = subprocess.run(
        [sys.executable, "-m", "constructions", "--help"], cwd=root, capture_output=True, text=True, check=True
    )
    assert "radial build gaussian --eps 0.1" in result.stdout and result.stderr == ""


@pytest.mark.parametrize("command", ["gallery", "build", "evaluate"])
def test_every_command_has_help_with_examples(command, capsys):
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    assert f"examples:\n  radial {command}" in capsys.readouterr().out


@pytest.mark.parametrize(("argv", "start"), [([], "usage: radial"), (["--version"], "radial-approx 0.")])
def test_without_arguments_there_is_help(argv, start, capsys):
    with pytest.raises(SystemExit, match="0"):
        main(argv)
    assert capsys.readouterr().out.startswith(start)


def test_gallery_lists_every_target_with_its_commentary(run):
    status, out, err = run("gallery")
    assert (status, err) == (0, "")
    plain = " ".join(out.split())
    for name, factory in targets.GALLERY.items():
        assert name in plain and " ".join(factory().commentary.split()) in plain


def test_gallery_as_json(run):
    status, out, _ = run("gallery", "--json")
    entries = {entry["name"]: entry for entry in json.loads(out)}
    assert status == 0 and entries.keys() == targets.GALLERY.keys()
    # |x| on [-3, 3]^2 spans [0, 3 sqrt(2)]; exp(-|x|^2) spans [exp(-18), 1].
    assert entries["cone"]["spread"] == pytest.approx(3 * 2**0.5, abs=1e-12)
    assert entries["gaussian"]["spread"] == pytest.approx(1 - np.exp(-18), abs=1e-12)
    assert entries["cone"]["lipschitz"] == 1.0
    assert entries["gaussian"]["everywhere"] and not entries["cone"]["everywhere"]


def test_build_prints_json_and_nothing_else(run):
    status, out, err = run("build", "gaussian", "--eps", 0.3, "--json", *QUICK)
    result = json.loads(out)
    assert (status, err) == (0, "")
    assert result["target"] == "gaussian" and result["eps"] == 0.3 and result["domain"] == "R^2"
    ((width, layers, step),) = result["hidden_widths"]
    assert step == 0 and layers == result["hidden_layers"] > 0
    widths = [width] * layers
    sizes = [2, *widths, 1]
    assert result["parameters"] == sum(after * (before + 1) for before, after in itertools.pairwise(sizes))
    assert 0 <= result["lower"] <= 0.3
    assert result["upper"] is None or result["lower"] <= result["upper"]
    assert isinstance(result["claim"], str) and result["seconds"] > 0
    assert result["files"] == {} and len(result["argmax"]) == 2


def test_growing_widths_are_one_run(run):
    _, out, _ = run("build", "gaussian", "--eps", 0.3, "--builder", "widening", "--json", *QUICK)
    result = json.loads(out)
    assert result["hidden_widths"] == [[3, result["hidden_layers"], 1 if result["hidden_layers"] > 1 else 0]]


def test_build_is_repeatable(run):
    first, second = (json.loads(run("build", "gaussian", "--eps", 0.3, "--json", *QUICK)[1]) for _ in range(2))
    for result in (first, second):
        del result["seconds"], result["measuring_seconds"]
    assert first == second


def test_build_reports_in_words(run, tmp_path):
    status, out, _ = run("build", "gaussian", "--eps", 0.3, "--out", tmp_path / "net", *QUICK)
    assert status == 0
    pieces = ("gaussian", "R^2", "heorem", "hidden layers", "parameters", "proved within eps", "worst at", "net (")
    for piece in pieces:
        assert piece in out


def test_quiet_prints_nothing(run):
    assert run("build", "gaussian", "--eps", 0.3, "--quiet", *QUICK) == (0, "", "")


def test_a_saved_network_is_the_one_that_was_built(run, saved):
    loaded = storage.load(saved)
    built = constructions.build(targets.gaussian(), 0.3, samples=2000)
    x = targets.gaussian().domain.sample(200, seed=5)
    assert np.array_equal(loaded.network.evaluate(x), built.network.evaluate(x))
    assert np.array_equal(loaded.cover(x), built.cover(x))
    assert loaded.provenance["target"] == "gaussian" and loaded.provenance["eps"] == 0.3


def test_options_reach_the_construction(run, tmp_path):
    argv = ["--eps", 0.5, "--builder", "constant_width", "--dtype", "float32", "--domain", "ball:1", "--dim", 3]
    argv += ["--values", "center", "--cover", "uniform", "--out", tmp_path / "net", "--json"]
    status, out, err = run("build", "gaussian", *argv, *QUICK)
    assert (status, err) == (0, "")
    result = json.loads(out)
    assert result["builder"] == "constant_width" and "ball of radius 1" in result["domain"]
    assert result["hidden_widths"] == [[3 + 1 + 1, result["hidden_layers"], 0]]
    network = storage.load(tmp_path / "net").network
    assert str(network.dtype) == "torch.float32" and network.dim_in == 3
    assert result["files"] == {"network": str(tmp_path / "net")}


def test_formulas_and_data_files_are_targets(run, tmp_path):
    argv = ["expr:0.3*log(x)", "--eps", 0.2, "--domain", "box:1,3", "--lipschitz", 0.3, "--json"]
    status, out, err = run("build", *argv, *QUICK)
    assert (status, err) == (0, "")
    assert json.loads(out)["domain"] == "[1, 3]"
    np.savetxt(tmp_path / "heights.csv", [[0.0, 0.1, 0.2], [0.1, 0.2, 0.3]], delimiter=",")
    status, out, err = run("build", tmp_path / "heights.csv", "--eps", 0.2, "--json", *QUICK)
    assert (status, err) == (0, "")
    assert json.loads(out)["lower"] <= 0.2


def test_evaluate_measures_a_saved_network(run, saved):
    argv = ["evaluate", saved, "gaussian", "--domain", "space", *QUICK]
    status, out, err = run(*argv, "--json")
    result = json.loads(out)
    assert (status, err) == (0, "")
    assert result["eps"] == 0.3 and result["domain"] == "R^2" and 0 < result["lower"] <= 0.3
    x = np.array([result["argmax"]])
    difference = storage.load(saved).network.evaluate(x) - targets.gaussian()(x)
    assert abs(difference.item()) == pytest.approx(result["lower"], rel=1e-9)
    assert sum(layers for _, layers, _ in result["hidden_widths"]) == result["hidden_layers"]
    status, out, _ = run(*argv)
    assert status == 0 and "none found above eps = 0.3" in out


@pytest.mark.parametrize("command", ["evaluate", "certify"])
def test_a_file_remembers_a_target_of_the_gallery(run, saved, command):
    status, out, err = run(command, saved, "--json")
    assert (status, err) == (0, "") and json.loads(out)["target"] == "gaussian"
    nameless = saved.with_name("nameless.safetensors")
    storage.save(nameless, storage.load(saved).network, provenance={"target": "x"})
    status, out, err = run(command, nameless)
    assert (status, out) == (2, "") and "a file that was built for 'x'" in err and "heights.csv" in err


@pytest.mark.parametrize("command", ["evaluate", "certify"])
def test_a_file_remembers_its_formula_and_where_it_was_built(run, tmp_path, command):
    file = tmp_path / "net.safetensors"
    where = ["--domain", "box:0.5,2;-1,0.1"]  # the formula is undefined on the domain formulas have by default
    status, out, err = run("build", "expr:log(x) * y", "--eps", 0.4, *where, "--no-proof", "--out", file, *QUICK)
    assert (status, err) == (0, "")
    status, out, err = run(command, file, "--json")
    result = json.loads(out)
    assert (status, err) == (0, "")
    assert result["target"] == "log(x) * y" and result["domain"] == "[0.5, 2] x [-1, 0.1]"
    assert run(command, file, "--json", "--domain", "box:1,2;-1,0")[1].count("[1, 2] x [-1, 0]") == 1


def test_a_file_remembers_a_ball_off_the_origin_and_all_of_space(run, saved, tmp_path):
    file = tmp_path / "ball.safetensors"
    assert run("build", "gaussian", "--eps", 0.3, "--domain", "ball:1;0.25,0.5", "--out", file, *QUICK)[0] == 0
    for path, domain in ((file, "ball of radius 1 about (0.25, 0.5)"), (saved, "R^2")):
        status, out, _ = run("certify", path, "--json")
        assert status == 0 and json.loads(out)["domain"] == domain


def test_evaluate_on_another_target_shows_the_error(run, saved):
    status, out, _ = run("evaluate", saved, "cone", "--json", *QUICK)
    # The network is near 0 at the corners of [-3, 3]^2, where |x| = 3 sqrt(2).
    assert status == 1 and json.loads(out)["lower"] > 3.9  # far above the tolerance in the file


def test_plots_are_written_complete(run, saved, tmp_path):
    pytest.importorskip("approx.plotting")
    status, out, err = run(
        "build", "gaussian", "--eps", 0.3, "--plot", tmp_path / "a.png", "--out", tmp_path / "b", *QUICK
    )
    assert (status, err) == (0, "") and "a.png" in out
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert run("evaluate", saved, "gaussian", "--plot", tmp_path / "c.svg", "--quiet", *QUICK) == (0, "", "")
    assert "<svg" in (tmp_path / "c.svg").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b", "c.svg", "net.safetensors"]


# --- failures: status 2 and one line ---


BAD = {
    "an unknown command": (["fly"], "invalid choice"),
    "no eps": (["build", "gaussian"], "a tolerance of the error. Pass --eps"),
    "eps that is no number": (["build", "gaussian", "--eps", "small"], "invalid float value"),
    "eps = 0": (["build", "gaussian", "--eps", "0"], "eps > 0"),
    "eps = nan": (["build", "gaussian", "--eps", "nan"], "finite"),
    "an unknown target": (["build", "gausian", "--eps", "0.3"], "Did you mean gaussian"),
    "a formula with code": (["build", "expr:__import__('os')", "--eps", "0.3"], "expression|formula"),
    "a missing data file": (["build", "absent.csv", "--eps", "0.3"], r"absent\.csv"),
    "an unknown domain": (["build", "gaussian", "--eps", "0.3", "--domain", "disc:2"], "box:LO,HI"),
    "a domain of another dimension": (["build", "gaussian", "--eps", "0.3", "--domain", "box:0,1;0,1;0,1"], r"R\^2"),
    "an absurd dimension": (["build", "gaussian", "--eps", "0.3", "--dim", "1000000000"], "--dim <= 1000"),
    "a network in a format it is not saved in": (
        ["build", "gaussian", "--eps", "0.3", "--out", "a.onnx"],
        "radial export",
    ),
    "a network as a picture": (["build", "gaussian", "--eps", "0.3", "--out", "a.png"], r"net\.safetensors.*Rename"),
    "an unknown builder": (["build", "gaussian", "--eps", "0.3", "--builder", "magic"], "constant_width"),
    "an unknown cover": (["build", "gaussian", "--eps", "0.3", "--cover", "magic"], "uniform"),
    "too many layers": (["build", "gaussian", "--eps", "0.01", "--max-layers", "3"], "max_layers|max_cells|cells"),
    "an Lipschitz constant that is wrong": (["build", "gaussian", "--eps", "0.3", "--lipschitz", "0.1"], "Lipschitz"),
    "all of space for a compact target": (["build", "cone", "--eps", "0.3", "--domain", "space"], "affine"),
    "a formula without expr:": (["build", "x^2+y^2", "--eps", "0.3"], "Formulas start with expr:, as in"),
    "a missing network": (["evaluate", "absent.safetensors", "gaussian"], "an existing file"),
    "samples < 1": (["build", "gaussian", "--eps", "0.3", "--samples", "0"], "samples"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_gives_one_line_and_status_2(run, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    argv, match = BAD[name]
    status, out, err = run(*argv)
    assert (status, out) == (2, "")
    assert err.startswith("radial: error: ") and err.count("\n") == 1 and err.endswith("\n")
    assert re.search(match, err), err


def test_a_damaged_network_is_refused(run, saved):
    content = bytearray(saved.read_bytes())
    content[-3] ^= 1
    saved.write_bytes(content)
    status, out, err = run("evaluate", saved, "gaussian")
    assert (status, out) == (2, "") and "damaged" in err and str(saved) in err


def test_a_network_for_another_dimension_is_refused(run, saved):
    status, _, err = run("evaluate", saved, "gaussian", "--dim", 3)
    assert status == 2 and err.count("\n") == 1 and "R^" in err


@pytest.mark.parametrize(
    ("option", "name", "match"),
    [
        ("--out", "absent/net", "does not exist"),
        ("--out", ".", "is a directory"),
        ("--plot", "absent/a.png", "does not exist"),
        ("--plot", "a.bmp", "ends in .jpg, .pdf, .png, .svg"),
        ("--plot", "a", "ends in .jpg"),
        ("--out", "data.csv", "neither an input"),
    ],
)
def test_outputs_are_checked_before_the_work_starts(run, tmp_path, monkeypatch, option, name, match):
    monkeypatch.chdir(tmp_path)
    np.savetxt("data.csv", [[0.0, 0.1], [0.1, 0.2]], delimiter=",")
    monkeypatch.setattr(constructions, "build", lambda *_, **__: pytest.fail("the work had started"))
    status, out, err = run("build", "data.csv", "--eps", 0.3, option, name)
    assert (status, out) == (2, "") and match in err and err.count("\n") == 1


def test_out_and_plot_must_differ(run, tmp_path):
    status, _, err = run("build", "gaussian", "--eps", 0.3, "--out", tmp_path / "a.png", "--plot", tmp_path / "a.png")
    assert status == 2 and "nor another output" in err


def test_an_error_above_eps_gives_status_1(run, monkeypatch):
    coarse = Cover([[0.0, 0.0]], [[0.0]], targets.gaussian().affine, radii=[0.1])
    real = constructions.build
    monkeypatch.setattr(constructions, "build", lambda *args, **options: real(*args, **options | {"cover": coarse}))
    status, out, err = run("build", "gaussian", "--eps", 0.3, *QUICK)
    assert (status, out) == (1, "") and "an error of at most eps = 0.3" in err and err.count("\n") == 1


@pytest.mark.parametrize("compiled", [False, True])
def test_an_interrupt_gives_130(run, monkeypatch, compiled):
    def interrupted(*_, **__):
        if compiled:  # where Ctrl-C comes while a compiled function runs
            raise SystemError("returned a result with an exception set") from KeyboardInterrupt()
        raise KeyboardInterrupt

    monkeypatch.setattr(constructions, "build", interrupted)
    status, out, err = run("build", "gaussian", "--eps", 0.3)
    assert (status, out, err) == (130, "", "radial: interrupted\n")


def test_a_closed_pipe_is_no_error():
    root = Path(constructions.__file__).parents[1]
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as pipe:
        result = subprocess.run(
            [sys.executable, "-m", "constructions", "gallery"], cwd=root, stdout=pipe, stderr=subprocess.PIPE
        )
    assert (result.returncode, result.stderr) == (0, b"")


def test_certify_serves_networks_of_any_activation(tmp_path, run):
    network = random_network("radial_swish", {}, [2, 8, 8, 1], 1)
    path = tmp_path / "trained.safetensors"
    storage.save(path, network)
    status, out, err = run("certify", path, "franke", "--domain", "box:-1,1", "--tol", 1e-3, "--json")
    facts = json.loads(out)
    assert (status, err) == (0, "") and facts["claim"] == "certified"
    assert 0 <= facts["upper"] - facts["lower"] <= 1e-3 and any("Taylor models" in text for text in facts["rests_on"])
    status, out, err = run("certify", path, "gaussian", "--dim", 2, "--domain", "space", "--quiet")
    assert (status, out) == (2, "") and "Pass a Box or a Ball" in err
