"""After `radial compile` nothing is left to compile for ordinary work."""

import json

import numba
import torch
from numba.core.event import install_recorder

import approx
from approx.targets import franke, gaussian
from constructions import _compile, build
from constructions.cli import main


def test_what_is_used_later_is_compiled(capsys):
    assert main(["compile", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert list(facts["seconds"])[:2] == ["covers", "builders"] and facts["compiled"] >= 0
    with install_recorder("numba:compile") as recorder:
        built = build(franke(), 0.3, builder="minimal")
        approx.certify(built.network, franke(), tol=0.05)
        build(gaussian(dim=3), 0.4, builder="widening", dtype=torch.float32)
        build(gaussian(dim=3), 0.4, cover="greedy", samples=4096)
        approx.compress(built.network)
    assert [event.data["dispatcher"] for _, event in recorder.buffer] == []


def test_a_report_line_for_every_job(capsys, monkeypatch):
    for job in ("_covers", "_builders", "_evaluation", "_painting", "_radial_basis", "_long_chain", "_compression"):
        monkeypatch.setattr(_compile, job, lambda: None)
    assert main(["compile"]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    assert len(lines) == 7 and last == "nothing was left to compile"
    assert main(["compile", "--quiet"]) == 0
    assert capsys.readouterr().out == ""


def test_without_a_place_for_the_cache_it_says_what_to_do(capsys, monkeypatch):
    for holds in (numba.njit(lambda x: x), lambda x: x):
        monkeypatch.setattr(_compile, "holds", holds)
        assert main(["compile"]) == 2
        assert "Set NUMBA_CACHE_DIR to a folder that can be written" in capsys.readouterr().err
