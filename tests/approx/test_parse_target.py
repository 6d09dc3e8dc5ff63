"""Targets as the command line names them."""

import numpy as np
import pytest

from approx.domains import Box
from approx.targets import parse_target


def test_parse_target(tmp_path):
    np.save(tmp_path / "a.npy", np.eye(3))
    assert parse_target("gaussian").dim_in == 2
    assert parse_target(" rings ", dim=3).dim_in == 3
    assert parse_target("cone", domain=Box.cube(4, 1.0)).domain == Box.cube(4, 1.0)
    f = parse_target("expr: exp(-x^2)*sin(y)", dim=3, lipschitz=1.5)
    assert (f.dim_in, f.lipschitz, f.lipschitz_source) == (3, 1.5, "claimed")
    assert parse_target(str(tmp_path / "a.npy"), dim=2)([1, 1]) == 1
    f = parse_target("gaussian", lipschitz=0.9)
    assert (f.lipschitz, f.lipschitz_source, f.variation(2.0)) == (0.9, "claimed", 1.8)


@pytest.mark.parametrize(
    "spec, options, pattern",
    [
        ("gausian", {}, r"one of gaussian, .*; expr:FORMULA; or a file .*Did you mean gaussian"),
        ("", {}, "one of gaussian"),
        ("qqq", {}, "Formulas start with expr:"),
        ("missing.npy", {}, "which is missing"),
        ("folder/thing", {}, "a known file type"),
        ("expr:", {}, "no formula"),
        ("expr:foo(x)", {}, "unknown function 'foo'"),
        ("franke", {"dim": 3}, "required dim = 2"),
        ("gaussian", {"dim": 3, "domain": Box.cube(2, 1.0)}, r"dim = 3 with the domain"),
        ("gaussian", {"lipschitz": 0.5}, "a claimed Lipschitz constant 0.5"),
        ("expr:3*x", {"lipschitz": 2.9}, "a claimed Lipschitz constant 2.9"),
        ("gaussian", {"lipschitz": -1.0}, "lipschitz > 0"),
        (3, {}, "required text"),
    ],
)
def test_bad_specs_are_refused(spec, options, pattern):
    with pytest.raises((ValueError, TypeError), match=pattern):
        parse_target(spec, **options)


def test_parse_target_refuses_the_wrong_dimension_of_a_file(tmp_path):
    np.save(tmp_path / "a.npy", np.eye(3))
    with pytest.raises(ValueError, match=r"dim = 3 for .*a.npy', which holds a function on R\^2"):
        parse_target(str(tmp_path / "a.npy"), dim=3)
