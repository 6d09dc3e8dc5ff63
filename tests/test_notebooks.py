"""What every notebook has: stored figures, exercises, a last cell of assertions, and a line in the README."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MOST_BYTES = 350_000


def text(cell):
    return "".join(cell["source"])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_complete_and_clean(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    assert path.stat().st_size <= MOST_BYTES
    assert cells[0]["cell_type"] == "markdown" and text(cells[0]).startswith("# ")
    assert any("## Exercises" in text(cell) for cell in cells)
    assert cells[-1]["cell_type"] == "code" and "assert " in text(cells[-1])
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 2
    for output in outputs:
        assert output["output_type"] != "error" and output.get("name") != "stderr"
        assert not any(kind.startswith("application/vnd.jupyter.widget") for kind in output.get("data", {}))
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert not re.search(r"/(home|root|tmp|srv|Users)/", json.dumps([outputs, [text(cell) for cell in cells]]))


def test_numbers_run_through_and_the_readme_lists_them():
    names = [path.stem for path in NOTEBOOKS]
    assert [int(name[:2]) for name in names] == list(range(len(names)))
    assert re.findall(r"^\| `(\d\d_\w+)` \|", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.M) == names
