"""The reading rules of SupError."""

import json

import numpy as np
import pytest

from approx.domains import Box, WholeSpace
from approx.evaluation import SupError


def report(**changes):
    fields = {
        "lower": 0.25,
        "domain": Box.cube(2, 3.0),
        "argmax": np.array([0.5, -1.0]),
        "network_value": np.array([0.75]),
        "target_value": np.array([1.0]),
        "samples": 1234567,
    }
    return SupError(**(fields | changes))


def test_a_lower_bound_only_refutes():
    sampled = report()
    assert sampled.refutes(0.2) and not sampled.refutes(0.25) and not sampled.refutes(0.3)
    assert not sampled.proves(1e9)


def test_an_upper_bound_proves():
    certified = report(upper=0.3, claim="certified")
    assert certified.proves(0.3) and not certified.proves(0.29)
    assert "0.25 <= sup |F - f| <= 0.3" in repr(certified)


def test_the_printed_form_says_what_is_known():
    text = repr(report(eps=0.2, rms=0.01, unit="mm", rests_on=("one", "two"), boundary_pairs=77))
    assert "[-3, 3]^2 (sampled)" in text
    assert "0.25 <= sup |F - f|, upper bound not certified" in text
    assert "x = (0.5, -1): F = 0.75 mm, f = 1 mm" in text
    assert "eps = 0.2: refuted" in text
    assert "1,234,567 points, 77 boundary points" in text and text.startswith("SupError on [")
    assert "rests on    one\n              two" in text
    assert "not refuted" in repr(report(eps=0.3))
    assert "proved" in repr(report(eps=0.3, upper=0.3))
    assert len(repr(report(argmax=np.arange(1000.0)))) < 600


def test_beyond_the_reach():
    assert "claims |f - L| <= 0.001" in repr(report(domain=WholeSpace(2), reach=1e6, tail=1e-3))
    assert "|x| > 1e+06: not looked at, no bound of |f - L| is known" in repr(report(domain=WholeSpace(2), reach=1e6))


def test_json():
    fields = report(eps=0.2, rests_on=("one",), reach=1e6).to_dict()
    assert json.loads(json.dumps(fields, allow_nan=False)) == fields
    assert fields["argmax"] == [0.5, -1.0] and fields["domain"] == "[-3, 3]^2" and fields["upper"] is None
    assert set(fields) == set(SupError.__dataclass_fields__)


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"lower": float("nan")}, ValueError, "lower = nan; required a finite lower"),
        ({"lower": -1.0}, ValueError, "lower = -1.0; required lower >= 0"),
        ({"upper": float("inf")}, ValueError, "upper = inf"),
        ({"upper": 0.2}, ValueError, r"lower = 0.25 and upper = 0.2; required lower <= upper.*\[0.5, -1.0\]"),
        ({"tail": float("nan")}, ValueError, "tail = nan"),
        ({"eps": "0.1"}, TypeError, "eps = '0.1'; required a real number"),
    ],
)
def test_impossible_reports(changes, error, match):
    with pytest.raises(error, match=match):
        report(**changes)


@pytest.mark.parametrize("name", ["refutes", "proves"])
def test_eps_must_be_positive(name):
    with pytest.raises(ValueError, match=f"SupError.{name}: received eps = 0"):
        getattr(report(), name)(0)
