"""The whole repository passes ruff, its rules and its format, as pyproject.toml has them."""

import shutil
import subprocess
from pathlib import Path

import pytest

RUFF = shutil.which("ruff")
ROOT = Path(__file__).parents[1]


@pytest.mark.skipif(RUFF is None, reason="ruff is not installed: pip install '.[test]'")
@pytest.mark.parametrize("arguments", [("check",), ("format", "--check")])
def test_ruff(arguments):
    done = subprocess.run(
        [RUFF, *arguments, "--no-cache", str(ROOT)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
