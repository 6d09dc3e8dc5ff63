"""`radial reproduce`: tables, files, refusals."""

import csv
import json

import pytest

from approx import experiments
from constructions.cli import main


@pytest.fixture
def run(capsys):
    def call(*argv):
        status = main(["reproduce", *map(str, argv)])
        return status, *capsys.readouterr()

    return call


@pytest.fixture
def short(monkeypatch):
    """The experiments with fewer epochs."""
    brief = {
        1: experiments.lossless,
        2: lambda **options: experiments.projected_descent(epochs=3, **options),
        3: lambda **options: experiments.training_time(side=3, epochs=3, **options),
        4: experiments.image_recovery,
    }
    monkeypatch.setattr(experiments, "EXPERIMENTS", brief)


def test_a_table_beside_the_papers(run):
    status, out, err = run(1, "--trials", 2, "--seed", 4)
    assert (status, err) == (0, "") and out.startswith("Experiment 1: lossless compression")
    assert "1.31e-08 +- 4.5e-09" in out and "here, 2 trials" in out and "seeds 4 to 5" in out


def test_json_is_one_object_with_every_value(run):
    status, out, err = run(1, "--trials", 2, "--json")
    (result,) = json.loads(out)["experiments"]
    assert (status, err) == (0, "") and result["number"] == 1 and len(result["rows"][0]["values"]) == 2


def test_all_with_files(run, short, tmp_path):
    status, out, _ = run("all", "--trials", 1, "--csv", tmp_path / "t.csv", "--plot", tmp_path / "p.png")
    assert status == 0 and [line[11] for line in out.splitlines() if line.startswith("Experiment ")] == list("1234")
    with open(tmp_path / "t.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["experiment"] for row in rows} == set("1234") and (tmp_path / "p.png").stat().st_size > 10_000
    assert {path.name for path in tmp_path.iterdir()} == {"t.csv", "p.png"}


def test_options_reach_experiment_4(run):
    status, out, _ = run(4, "--trials", 1, "--noise", 0.5, 2, "--digit", 1, "--quiet", "--json")
    settings = json.loads(out)["experiments"][0]["settings"]
    assert status == 0 and settings["noise"] == [0.5, 2] and settings["digit"] == 1


def test_an_interrupt_prints_what_there_is(run, monkeypatch):
    done = experiments.lossless(trials=1)
    object.__setattr__(done, "interrupted", True)
    monkeypatch.setattr(experiments, "EXPERIMENTS", {1: lambda **_: done, 2: None})
    status, out, _ = run("all")
    assert status == 130 and "interrupted" in out


@pytest.mark.parametrize(
    "argv, text",
    [
        (["5"], "invalid choice: '5'"),
        (["1", "--trials", 0], "1 <= --trials"),
        (["1", "--seed", -1], "0 <= --seed"),
        (["1", "--noise", 0.5], "--noise with experiment 1; required experiment 4 or all"),
        (["2", "--mnist", "x"], "--mnist with experiment 2"),
        (["1", "--plot", "a.png"], "--plot with experiment 1, which trains nothing"),
        (["4", "--plot", "a.txt"], "ends in .jpg, .pdf, .png, .svg"),
        (["4", "--csv", "no/such/folder/a.csv"], "a folder that does not exist"),
        (["4", "--mnist", "/no/such/folder"], "holds train-images-idx3-ubyte"),
        (["4", "--noise", "nan"], "a finite noise"),
        (["4", "--digit", 11], "digit <= 9"),
    ],
)
def test_refusals_are_one_line(run, argv, text):
    status, out, err = run(*argv)
    assert (status, out) == (2, "") and text in err and err.count("\n") == 1


def test_help_has_examples(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["reproduce", "--help"])
    assert "examples:\n  radial reproduce 1" in capsys.readouterr().out
