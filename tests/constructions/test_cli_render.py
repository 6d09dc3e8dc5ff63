"""`radial render`: pages and animations of saved networks and new ones."""

import json

import pytest

from constructions.cli import main


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("net") / "g.safetensors"
    arguments = ["--dim", "1", "--eps", "0.2", "--cover", "uniform", "--no-proof", "--quiet", "--out", str(path)]
    assert main(["build", "gaussian", *arguments]) == 0
    return path


def test_a_page_of_a_file(file, tmp_path, capsys):
    out = tmp_path / "page.html"
    assert main(["render", str(file), "--out", str(out), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["target"] == "gaussian"
    assert facts["eps"] == 0.2
    assert facts["files"] == {"page": str(out)}
    assert facts["bytes"] == out.stat().st_size
    text = out.read_text()
    assert text.startswith("<!doctype html>")
    data = json.loads(text.split('<script id="data" type="application/json">')[1].split("</script>")[0])
    assert (data["name"], data["eps"], data["note"], data["paints"]) == ("gaussian", 0.2, "Theorem 5", True)
    assert data["lower"] == [-3.0]


def test_a_page_of_a_target(tmp_path, capsys):
    out = tmp_path / "page.html"
    assert main(["render", "expr:x*y", "--domain", "box:0,1", "--out", str(out)]) == 0
    assert "x*y, eps = 0.1" in capsys.readouterr().out  # a tenth of values from 0 to nearly 1
    arguments = ["--eps", "0.1", "--builder", "widening", "--quiet", "--out", str(out)]
    assert main(["render", "gaussian", *arguments]) == 0
    assert capsys.readouterr().out == ""
    assert '"kind": "growing"' in out.read_text()


def test_a_network_without_cells(tmp_path, capsys):
    out = tmp_path / "page.html"
    arguments = ["--dim", "1", "--builder", "radial_basis", "--eps", "0.01", "--quiet"]
    assert main(["render", "gaussian", *arguments, "--out", str(out)]) == 0
    assert '"paints": false' in out.read_text()
    assert main(["render", "gaussian", *arguments, "--out", str(tmp_path / "a.gif")]) == 2
    assert "the Cover it was built from" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_animations(file, tmp_path):
    from PIL import Image

    assert main(["render", str(file), "--out", str(tmp_path / "a.gif"), "--frames", "3", "--quiet"]) == 0
    with Image.open(tmp_path / "a.gif") as picture:
        assert picture.n_frames == 3
    assert main(["render", str(file), "--out", str(tmp_path / "a.html"), "--animate", "--frames", "2", "--quiet"]) == 0
    assert (tmp_path / "a.html").read_text().count("data:image/png;base64") == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.gif", "a.html"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["gaussian", "--out", "a.png"], "required a file name that ends in .gif or .html"),
        (["gaussian", "--out", "none/a.html"], "in a folder that does not exist"),
        (["nosuch", "--out", "a.html"], "required one of gaussian"),
        (["FILE", "--eps", "0.1", "--out", "a.html"], "--eps or --builder for a saved network"),
        (["FILE", "peaks", "--out", "a.html"], "dim"),
        (["gaussian", "peaks", "--out", "a.html"], "required FILE TARGET, or TARGET alone"),
        (["absent.safetensors", "--out", "a.html"], "required an existing file"),
        (["gaussian", "--eps", "0.3", "--frames", "0", "--out", "a.gif"], "required 1 <= frames"),
    ],
)
def test_refusals(arguments, said, file, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["render", *(str(file) if text == "FILE" else text for text in arguments)]) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_the_gallery_on_one_sheet(tmp_path, capsys):
    from PIL import Image

    from approx.targets import GALLERY

    assert main(["gallery", "--json", "--plot", str(tmp_path / "sheet.png")]) == 0
    assert [entry["name"] for entry in json.loads(capsys.readouterr().out)] == list(GALLERY)
    with Image.open(tmp_path / "sheet.png") as picture:
        assert picture.width > 2000
        assert len(set(picture.convert("RGB").resize((64, 40)).tobytes())) > 100
    assert main(["gallery", "--plot", str(tmp_path / "sheet.doc")]) == 2
    assert "required a file name that ends in" in capsys.readouterr().err
