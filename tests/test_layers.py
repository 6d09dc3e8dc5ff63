"""Which module may import which, and that importing does nothing."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# From the bottom up; a unit imports only units of lower levels. A package counts as one unit.
LEVELS = {
    "approx": [
        {"_checks"},
        {"affine", "domains", "activations", "_threads", "_compile", "_interrupts", "_tiles"},
        {"_rescale", "_cells", "blocks", "lattice"},
        {"_engine", "_cuda_kernel", "_bins", "_hierarchy"},
        {"_cuda", "_lookup"},
        {"networks", "covers"},
        {"targets"},
        {"_kept", "evaluation", "compression", "projection"},
        {"storage"},
        {"certification", "training", "export"},
        {"depth", "experiments", "rates", "render"},
        {"plotting"},
        {"__init__"},
    ],
    "constructions": [
        {"_frames"},
        {"_gadgets", "_moves", "_help", "_printing", "_arguments", "covers"},
        {"_measured", "_strokes", "_gallery", "_evaluate", "_certify", "_compress", "_export", "_reproduce"},
        {"_result"},
        {"_construction"},
        {"widening", "constant_width", "narrow", "minimal", "radial_basis"},
        {"painting"},
        {"_paint"},
        {"__init__"},
        {"rates"},
        {"_build", "_compile", "_rates", "_render"},
        {"cli"},
        {"__main__"},
    ],
}
HEAVY = "matplotlib"


def modules(package):
    return sorted((ROOT / package).rglob("*.py"))


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


KNOWN = {name_of(path) for package in LEVELS for path in modules(package)}


def imports(path, *, module_level=False):
    """(name, line) of everything imported; `from a import b` counts as a.b if that is a module."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for node in ast.walk(function)
    }
    found = []
    for node in ast.walk(tree):
        if module_level and id(node) in inside:
            continue
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: write absolute imports"
            full = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [(name if name in KNOWN else node.module, node.lineno) for name in full]
    return found


def unit_of(module):
    """approx.targets.gallery -> ("approx", "targets"); approx -> ("approx", "__init__")."""
    package, *rest = module.split(".")
    return package, rest[0] if rest else "__init__"


def level_of(unit):
    package, name = unit
    for level, names in enumerate(LEVELS[package]):
        if name in names:
            return level
    raise AssertionError(f"{package}/{name} has no level: add it to LEVELS in {Path(__file__).name}")


@pytest.mark.parametrize("package", LEVELS)
def test_every_file_has_a_level(package):
    units = {unit_of(name_of(path)) for path in modules(package)}
    assert units >= {(package, "__init__")}
    for unit in units:
        level_of(unit)


def test_nothing_imports_upward():
    wrong = []
    for package in LEVELS:
        for path in modules(package):
            here = unit_of(name_of(path))
            for name, line in imports(path):
                if name.split(".")[0] not in LEVELS:
                    continue
                there = unit_of(name)
                if there == here:
                    continue
                place = f"{path.relative_to(ROOT)}:{line} imports {name}"
                if package == "approx" and there[0] == "constructions":
                    wrong.append(f"{place}: approx never imports constructions")
                elif there == ("approx", "__init__") and here[0] == "approx":
                    wrong.append(f"{place}: name the module instead of the package")
                elif there[0] == here[0] and level_of(there) >= level_of(here):
                    wrong.append(f"{place}: level {level_of(there)} from level {level_of(here)}")
    assert not wrong, "\n".join(wrong)


def test_no_cycles_between_modules():
    """Also inside the packages that count as one unit above; imports within functions do not run at import."""
    graph = {}
    for package in LEVELS:
        for path in modules(package):
            me = name_of(path)
            graph[me] = {name for name, _ in imports(path, module_level=True) if name in KNOWN and name != me}
    done, active = set(), []

    def visit(module):
        if module in active:
            raise AssertionError("cycle: " + " -> ".join([*active[active.index(module) :], module]))
        if module not in done:
            active.append(module)
            for other in sorted(graph[module]):
                visit(other)
            active.pop()
            done.add(module)

    for module in graph:
        visit(module)
    assert done == set(graph)


def test_the_diagram_names_every_module():
    text = ast.get_docstring(ast.parse((ROOT / "approx" / "__init__.py").read_text(encoding="utf-8")))
    drawn = set(text.replace("(", " ").replace(")", " ").replace(",", " ").replace(":", " ").split())
    units = {unit_of(name_of(path))[1] for path in modules("approx")} - {"__init__"}
    assert {unit for unit in units if not unit.startswith("_")} <= drawn


def test_matplotlib_is_imported_by_plotting_alone():
    where = set()
    for package in LEVELS:
        for path in modules(package):
            if any(name.split(".")[0] == HEAVY for name, _ in imports(path, module_level=True)):
                where.add(".".join(unit_of(name_of(path))))
    assert where == {"approx.plotting"}


def test_the_rules_can_be_broken(tmp_path):
    """The parser sees every form of import, also inside functions and conditions."""
    path = tmp_path / "module.py"
    path.write_text(
        "import approx.covers as c\nif True:\n    from approx import targets, Cover\ndef f():\n    import numpy\n"
    )
    assert imports(path) == [("approx.covers", 1), ("approx.targets", 3), ("approx", 3), ("numpy", 5)]
    assert [name for name, _ in imports(path, module_level=True)] == ["approx.covers", "approx.targets", "approx"]


STATE = """
import random, sys, warnings
import numpy, torch
def state():
    return (
        torch.get_default_dtype(), torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(),
        torch.is_grad_enabled(), bytes(torch.get_rng_state().tolist()), numpy.geterr(),
        numpy.random.get_state()[1].tobytes(), numpy.random.get_state()[2], random.getstate(),
        numpy.get_printoptions(), list(warnings.filters), sys.getrecursionlimit(), list(sys.path),
    )
before = state()
import approx, constructions
loaded = sorted(name for name in sys.modules if name.startswith("matplotlib"))
assert not loaded, f"imported {loaded[:3]}"
assert not {"numba.cuda", "scipy.stats"} & set(sys.modules), "imported what is slow to import"
import numba, scipy.stats, tqdm.auto, safetensors.torch  # third parties may add warning filters of their own
changed = [k for k, (a, b) in enumerate(zip(before, state())) if str(a) != str(b) and k != 10]
assert not changed, f"changed global state {changed}"
ours = [f for f in warnings.filters if f not in before[10] and ("approx" in str(f) or "constructions" in str(f))]
assert not ours
import constructions.cli
assert not [name for name in sys.modules if name.startswith("matplotlib.pyplot")]
"""


def test_importing_prints_nothing_and_changes_nothing():
    result = subprocess.run([sys.executable, "-c", STATE], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_the_installed_packages_are_all_there_are():
    listed = re.search(r"^packages = \[(.*?)\]", (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.M | re.S)
    found = {name_of(path) for package in LEVELS for path in modules(package) if path.name == "__init__.py"}
    assert set(re.findall(r'"([^"]+)"', listed[1])) == found
