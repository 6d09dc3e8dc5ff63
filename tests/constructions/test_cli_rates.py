"""`radial rates`: tables, files, refusals."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import constructions
from constructions.cli import main

QUICK = ["--samples", "1000", "--no-proof", "--dim", "1"]


@pytest.fixture
def run(capsys):
    def call(*argv):
        status = main(["rates", *map(str, argv)])
        return status, *capsys.readouterr()

    return call


def test_table_and_files(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = ["--csv", "r.csv", "--markdown", "r.md", "--latex", "r.tex", "--plot", "r.png", "--cache", "r.jsonl"]
    status, out, err = run("gaussian", "--eps", "0.3,0.2", "--covers", "uniform,adaptive", *QUICK, *files)
    assert (status, err) == (0, "")
    assert "gaussian on R^1, constant_width, adaptive: order" in out and "least layers" in out
    assert sorted(os.listdir()) == ["r.csv", "r.jsonl", "r.md", "r.png", "r.tex"]
    assert (tmp_path / "r.png").read_bytes().startswith(b"\x89PNG")
    assert len((tmp_path / "r.csv").read_text().splitlines()) == 5
    again, text, _ = run("gaussian", "--eps", "0.3,0.2", "--covers", "uniform,adaptive", *QUICK, "--cache", "r.jsonl")
    assert (again, text) == (0, out)  # times too: nothing is built anew


def test_json_with_baselines(run):
    some = ["--baselines", "grid,rbf,relu", "--seeds", 1, "--steps", 5]
    status, out, _ = run("gaussian", "--eps", "0.2", "--covers", "uniform", "--json", *QUICK, *some)
    facts = json.loads(out)
    assert status == 0 and not facts["interrupted"]
    assert [row["builder"] for row in facts["rows"]] == ["constant_width", "grid", "RBF", "trained ReLU"]
    assert facts["rows"][1]["parameters"] <= facts["rows"][0]["parameters"]
    assert facts["orders"][0]["order"] is None


def test_all_refused_is_status_1(run):
    status, out, _ = run("gaussian", "--eps", "0.01", "--covers", "uniform", "--max-layers", 2, *QUICK)
    assert status == 1 and "max_cells = 2" in out


def test_every_strategy_is_swept_by_default(run):
    from constructions.covers import STRATEGIES

    _, out, _ = run("gaussian", "--eps", "0.4", *QUICK, "--json")
    assert {row["cover"] for row in json.loads(out)["rows"]} == set(STRATEGIES) - {"apart", "auto"}


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["gaussian", "--eps", "0.1,x"], "numbers with commas between"),
        (["gaussian", "--eps", "0.1", "--covers", "spiral"], "one of adaptive"),
        (["gaussian", "--eps", "0.1", "--builders", "spiral"], "one of constant_width"),
        (["gaussian", "--eps", "0.1", "--baselines", "mlp"], "one of all, grid"),
        (["gaussian", "--eps", "0.1", "--jobs", "0"], "1 <= --jobs"),
        (["gaussian", "--eps", "-1"], "eps > 0"),
        (["gaussian", "--eps", "0.1", "--csv", "a", "--latex", "a"], "neither an input nor another output"),
        (["gaussian"], "--eps"),
    ],
)
def test_refusals_are_one_line(run, tmp_path, monkeypatch, argv, message):
    monkeypatch.chdir(tmp_path)
    status, out, err = run(*argv)
    assert status == 2 and out == "" and message in err and err.count("\n") == 1


def test_an_interrupt_ends_all_processes_without_a_traceback(tmp_path):
    """As from a terminal, which sends Ctrl-C to the workers, too."""
    cache = tmp_path / "rates.jsonl"
    command = [sys.executable, "-m", "constructions", "rates", "franke", "--eps", "0.5,0.05,0.04,0.03,0.02"]
    process = subprocess.Popen(
        [*command, "--covers", "uniform,greedy", "--samples", "1000", "--jobs", "2", "--cache", str(cache)],
        cwd=Path(constructions.__file__).parents[1],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while process.poll() is None and not (cache.exists() and '"key"' in cache.read_text()):
        time.sleep(0.05)
    time.sleep(2.0)  # the other worker may still be starting
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130 and err == ""
    assert "0.5" in out and "interrupted: rows are missing" in out
    assert out.endswith("\nthe same command goes on from here\n")
