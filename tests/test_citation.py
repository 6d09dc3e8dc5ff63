"""The citation in the README is that of this version."""

import re
from pathlib import Path

import approx

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_the_citation_file_in_the_readme():
    (block,) = re.findall(r"```yaml\n(cff-version: 1\.2\.0\n.*?)```", README, flags=re.DOTALL)
    keys = re.findall(r"^([a-z-]+):", block, flags=re.MULTILINE)
    assert {"message", "title", "authors"} <= set(keys) and len(keys) == len(set(keys))  # what the format requires
    assert f"\nversion: {approx.__version__}\n" in block
