"""Both packages pass mypy as pyproject.toml has it, and users' checkers see their annotations."""

import ast
import importlib.util
import os
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
KERNELS = {"compiled", "_compile", "_inlined", "cuda", "intrinsic"}  # decorators of what numba compiles
UNTYPED = {"approx/_tiles.py", "approx/export/_runtime.py"}  # LLVM's objects; a file for readers without this package
TYPED = tuple(int(part) for part in np.__version__.split(".")[:2]) >= (2, 4)


@pytest.mark.skipif(importlib.util.find_spec("mypy") is None, reason="mypy is not installed: pip install '.[test]'")
@pytest.mark.skipif(not TYPED, reason="older NumPy annotates fewer of its functions exactly")
def test_mypy():
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--cache-dir", os.devnull, "--config-file", str(ROOT / "pyproject.toml")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("package", ["approx", "constructions"])
def test_marked_as_typed(package):
    assert files(package).joinpath("py.typed").is_file()


def test_only_kernels_have_no_annotations():
    """mypy passes over the bodies of functions without any."""
    assert not [place for package in ("approx", "constructions") for place in _bare(package)]


def _bare(package):
    """Functions without annotations that are not compiled and not part of a compiled one."""
    for path in sorted((ROOT / package).rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        waiting = [] if name in UNTYPED else [ast.parse(path.read_text(encoding="utf-8"))]
        while waiting:
            node = waiting.pop()
            if isinstance(node, ast.FunctionDef):
                marks = (part for mark in node.decorator_list for part in ast.walk(mark))
                if KERNELS & {part.id for part in marks if isinstance(part, ast.Name)}:
                    continue
                parameters = (part for part in ast.walk(node.args) if isinstance(part, ast.arg))
                if node.returns is None and all(part.annotation is None for part in parameters):
                    yield f"{name}:{node.lineno} {node.name}"
            waiting += ast.iter_child_nodes(node)
