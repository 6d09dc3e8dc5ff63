"""Formulas on all of R^n: what they tend to, stated as formulas, and the rest bounded without cancellation."""

import math
import pickle
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import constructions
from approx import AffineMap, Box, WholeSpace, certify, load, targets
from approx.certification import enclosure_of
from approx.certification._residual import residual
from approx.certification.intervals import Interval
from approx.targets import Expression, from_expression, parse_target
from approx.targets._asymptotes import FormulaTail, affine_formula, affine_map
from constructions import cli

SLOPED = {"affine": "x/2", "tail": "exp(-r^2)"}


@pytest.mark.parametrize(
    ("text", "dim", "matrix", "offset"),
    [
        ("2*x - (y - 1)/4", 2, [[2.0, -0.25]], [0.25]),
        ("0", 3, [[0.0, 0.0, 0.0]], [0.0]),
        ("-(x1 + 3)*2 + x3*(2^3 - 1)", 3, [[-2.0, 0.0, 7.0]], [-6.0]),
        ("(y, 1/3)", 2, [[0.0, 1.0], [0.0, 0.0]], [0.0, 1 / 3]),
        ("0.1*x + 0.3", 1, [[0.1]], [0.3]),
        ("x + y - x", 2, [[0.0, 1.0]], [0.0]),
    ],
)
def test_the_coefficients_of_an_affine_formula(text, dim, matrix, offset):
    found = affine_map(text, dim)
    assert found.matrix.tolist() == matrix and found.offset.tolist() == offset


@pytest.mark.parametrize(
    "text", ["x*y", "x^2", "1/x", "exp(x)", "abs(x)", "max(x, 0)", "x/0", "1e308*10*x", "x+sin(x)"]
)
def test_what_is_not_affine_is_refused(text):
    with pytest.raises(ValueError, match=r"affine: received .*required sums and multiples of the variables"):
        affine_map(text, 2)


def test_slopes_that_no_network_has_are_refused():
    with pytest.raises(ValueError, match=r"with the slope 1/3; required slopes that float64 holds\. Write 0\.333"):
        affine_map("x/3 + 1", 1)
    with pytest.raises(ValueError, match="dim_in = 1"):
        affine_map("x + y", 1)


numbers = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(st.lists(numbers, min_size=4, max_size=4), min_size=1, max_size=3))
@settings(max_examples=100, deadline=None)
def test_a_map_comes_back_from_its_formula(rows):
    rows = np.array(rows)
    found = affine_map(affine_formula(AffineMap(rows[:, :3], rows[:, 3])), 3)
    assert (found.matrix == rows[:, :3]).all() and (found.offset == rows[:, 3]).all()


def test_a_tail_is_a_formula_in_r():
    tail = pickle.loads(pickle.dumps(FormulaTail("2*exp(-r^2) + 1/max(r, 1)")))
    assert tail(3.0) == pytest.approx(2 * math.exp(-9) + 1 / 3, rel=1e-15)
    for text in ("exp(-x^2)", "r*y", "(r, r)", "foo(r)", "", "sqr"):
        with pytest.raises(ValueError, match=r"tail: received .* required a formula in r, such as exp\(-r\^2\)"):
            FormulaTail(text)


def test_from_expression_takes_both_as_the_target_does():
    text = from_expression("x/2 + exp(-x^2)", **SLOPED)
    given_ = from_expression("x/2 + exp(-x^2)", affine=AffineMap([[0.5]], [0.0]), tail=lambda r: math.exp(-r * r))
    assert text.affine.matrix.tolist() == given_.affine.matrix.tolist() == [[0.5]]
    assert text.tail(2.0) == pytest.approx(given_.tail(2.0))
    assert targets.asymptote(text) == {"affine_formula": "0.5*x1 + 0.0", "tail_formula": "exp(-r^2)"}
    assert targets.asymptote(given_) == {"affine_formula": "0.5*x1 + 0.0"}
    assert targets.asymptote(from_expression("x")) == targets.asymptote(targets.gaussian()) == {}


@pytest.mark.parametrize(
    ("facts", "match"),
    [
        ({"affine": "x/2", "tail": "exp(-r^3)"}, r"tail\(.* but \|f - L\| = "),
        ({"affine": "x", "tail": "exp(-r^2)"}, r"tail\(.* but \|f - L\| = "),
        ({"affine": "x/2", "tail": "2 + r"}, "non-increasing tail"),
        ({"affine": "x/2", "tail": "-1"}, "non-increasing tail >= 0"),
        ({"affine": "x/2", "tail": "0/(r - r)"}, "non-increasing tail"),
        ({"tail": "exp(-r^2)"}, "tail without affine"),
        ({"affine": "(x, x)"}, r"affine: R\^1 -> R\^2"),
        ({"affine": 3}, "affine = 3"),
    ],
)
def test_claims_that_are_wrong_are_refused(facts, match):
    with pytest.raises((ValueError, TypeError), match=match):
        from_expression("x/2 + exp(-x^2)", **facts)


@pytest.mark.parametrize(
    ("text", "affine", "rest"),
    [
        ("x/2 + exp(-x^2)", "x/2", "exp(-x^2)"),
        ("3 - (2*y - x)*0.5 + 1/(1+x^2+y^2)", "3 - y + 0.5*x", "1/(1+x^2+y^2)"),
        ("(x + 0.1)*3 + 1/(1+x^2+y^2)", "3*x", "0.1*3 + 1/(1+x^2+y^2)"),
        ("x + 1/(1+(x+y)^2) - x - -y", "y", "1/(1+(x+y)^2)"),
        ("+(x - exp(-abs(x + y)))/4", "x/4", "-exp(-abs(x+y))/4"),
    ],
)
def test_the_rest_of_a_formula_is_bounded_where_it_cannot_be_subtracted(text, affine, rest):
    """On random boxes, far ones too: bounds of the rest itself, which hold in exact arithmetic."""
    n = 1 if "y" not in text else 2
    f, expected, line = Expression(text, n), Expression(rest, n), affine_map(affine, n)
    rng = np.random.default_rng(0)
    low = rng.normal(size=(200, n)) * 10.0 ** rng.integers(-2, 12, (200, 1))
    high = low + np.abs(rng.normal(size=(200, n)))
    (found,) = residual(f, line, list(Interval(low, high).T))
    x = low + rng.random((200, n)) * (high - low)
    values = expected(x)[:, 0]
    assert (found.lo <= values + 1e-12).all() and (values <= found.hi + 1e-12).all()
    assert (found.hi - found.lo <= 4.0).all()  # those of f alone are as wide as the boxes' places are inexact
    assert residual(f, AffineMap(line.matrix * 1.5, line.offset), list(Interval(low, high).T)) is None


def test_constants_beside_linear_terms_are_rounded_outward():
    """(x + a) b at the point x, less b x, is a b: no float, but between the bounds."""
    for a, b in ((0.1, 3.0), (0.7, 0.1), (1e-3, 1 / 3)):
        line, point = AffineMap([[b]], [0.0]), Interval([[0.25]], [[0.25]])
        (found,) = residual(Expression(f"(x + {a!r})*{b!r}"), line, list(point.T))
        assert Fraction(float(found.lo[0])) <= Fraction(a) * Fraction(b) <= Fraction(float(found.hi[0]))


def test_a_formula_with_a_slope_is_certified_without_a_tail():
    """The bound at infinity is a proof by intervals; the tail is what the cells were chosen by."""
    f = from_expression("x/2 + exp(-x^2)", **SLOPED)
    low, high = enclosure_of(f).residual_range([[3.0]], [[np.inf]], f.affine)
    assert 0.0 <= low[0, 0] + 1e-300 and math.exp(-9) <= high[0, 0] <= math.exp(-9) * (1 + 1e-9)
    built = constructions.build(f, 0.2, samples=2000)
    assert built.domain == WholeSpace(1) and built.report.claim == "certified" and built.report.proves(0.2)
    proof = certify(built.network, replace(f, tail=None), WholeSpace(1), eps=0.2)
    assert proof.claim == "certified" and proof.proves(0.2)
    assert proof.recheck(samples=8).holds
    x = np.concatenate([np.linspace(-5, 5, 20001), [-1e6, 1e6]])[:, None]
    assert np.abs(built.network.evaluate(x) - f(x)).max() <= proof.upper


def test_where_intervals_say_nothing_the_tail_is_a_named_claim():
    f = from_expression("2*x - y + x*y/(1+x^2+y^2)^2", affine="2*x - y", tail="1/r^2")
    proof = constructions.build(f, 0.3, samples=2000).report
    assert proof.claim == "certified on condition" and "the target's tail" in " ".join(proof.rests_on)


def test_the_command_line_takes_them_and_files_remember(tmp_path, capsys):
    file = str(tmp_path / "net.safetensors")
    formula = ["expr:x/2 + exp(-x^2)", "--affine", "x/2", "--tail", "exp(-r^2)"]
    assert cli.main(["build", *formula, "--eps", "0.2", "--samples", "2000", "--out", file, "--quiet"]) == 0
    assert load(file).provenance["tail_formula"] == "exp(-r^2)"
    assert cli.main(["certify", file, "--json"]) == 0
    assert '"domain": "R^1"' in capsys.readouterr().out
    assert cli.main(["build", "gaussian", "--affine", "0", "--eps", "0.2"]) == 2
    assert "a formula after expr:" in capsys.readouterr().err


def test_parse_target_passes_them_on():
    f = parse_target("expr: exp(-x^2) + y", affine="y", domain=Box.cube(2, 1.0))
    assert f.affine.matrix.tolist() == [[0.0, 1.0]] and f.tail is None
