"""Formulas: values against plain numpy, hostile text refused with its place, nothing executed."""

import builtins
import math
import os
import pickle
import warnings

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from approx.domains import Ball, Box
from approx.targets import Expression, from_expression

FORMULAS = {
    "exp(-x^2)*sin(y)": lambda x, y: np.exp(-(x**2)) * np.sin(y),
    "-x^2 + y": lambda x, y: -(x * x) + y,
    "2^-x * y": lambda x, y: 0.5**x * y,
    "x**2**y": lambda x, y: np.power(x, 2.0**y),
    "x - y - 1": lambda x, y: (x - y) - 1,
    "x / y / 2": lambda x, y: (x / y) / 2,
    "(x + y) * -x": lambda x, y: -(x + y) * x,
    "+x * .5e-1 + 3. * y": lambda x, y: 0.05 * x + 3 * y,
    "abs(x - y) + sqrt(x) + log(y)": lambda x, y: np.abs(x - y) + np.sqrt(x) + np.log(y),
    "min(x, y, 0.7) + max(x, 2*y)": lambda x, y: np.minimum(np.minimum(x, y), 0.7) + np.maximum(x, 2 * y),
    "tan(x) + tanh(y) + sinh(x) - cosh(y) + arctan(x*y)": lambda x, y: (
        np.tan(x) + np.tanh(y) + np.sinh(x) - np.cosh(y) + np.arctan(x * y)
    ),
    "cos(pi*x) * e^y": lambda x, y: np.cos(np.pi * x) * np.exp(y),
    "x2 - x1^3": lambda x, y: y - x**3,
    "  ( (x) + ((y)) )\t": lambda x, y: x + y,
}


@pytest.mark.parametrize("text", FORMULAS)
def test_values(text):
    points = np.random.default_rng(0).uniform(0.1, 1.2, (50, 2))
    values = Expression(text)(points)
    assert values.shape == (50, 1)
    np.testing.assert_allclose(values[:, 0], FORMULAS[text](*points.T), rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize(
    "text, dim_in, dim_out",
    [
        ("x", 1, 1),
        ("z", 3, 1),
        ("x7 + x2", 7, 1),
        ("3", 1, 1),
        ("(x*y, x-y)", 2, 2),
        ("[x1, 2, x3]", 3, 3),
        ("x, y", 2, 2),
        ("(x,)", 1, 1),
        ("((x, y))", 2, 2),
    ],
)
def test_dimensions(text, dim_in, dim_out):
    f = Expression(text)
    assert (f.dim_in, f.dim_out) == (dim_in, dim_out)
    assert f(np.zeros((4, dim_in))).shape == (4, dim_out)


def test_targets_from_formulas():
    f = from_expression("(x*y, x-y)", lipschitz=5.0)
    assert f.domain == Box.cube(2, 3.0) and f.lipschitz_source == "claimed" and f.expression == "(x*y, x-y)"
    np.testing.assert_array_equal(f([2.0, 3.0]), [6.0, -1.0])
    assert from_expression("x", dim_in=4).dim_in == 4
    assert from_expression("x", domain=Ball([0.0, 0.0], 1.0)).dim_in == 2
    assert from_expression("log(x)", domain=Box([1.0], [2.0])).lipschitz == pytest.approx(1.1, rel=1e-4)
    assert from_expression("sin(3*x)").lipschitz == pytest.approx(3.3, rel=1e-6)
    assert from_expression("sin(3*x)").lipschitz_source == "estimated"
    assert from_expression("x", name="line").name == "line"


def test_constants_are_targets():
    f = from_expression("pi^2", dim_in=2)
    np.testing.assert_allclose(f(np.zeros((3, 2))), np.full((3, 1), math.pi**2))
    assert 0 < f.lipschitz < 1e-6


def test_the_same_formula_is_the_same_after_a_journey():
    f = from_expression("(sin(x)*y, max(x, y))", lipschitz=4.0)
    points = f.domain.sample(20)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(f))(points), f(points))


class Dual:
    """a + b eps with eps^2 = 0: stands for any operand type that takes part in numpy's ufuncs."""

    def __init__(self, a, b):
        self.a, self.b = a, b

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        a, b = zip(*[(v.a, v.b) if isinstance(v, Dual) else (v, 0.0) for v in inputs], strict=True)
        rules = {
            np.add: lambda: b[0] + b[1],
            np.multiply: lambda: b[0] * a[1] + a[0] * b[1],
            np.square: lambda: 2 * a[0] * b[0],
            np.negative: lambda: -b[0],
            np.exp: lambda: np.exp(a[0]) * b[0],
            np.sin: lambda: np.cos(a[0]) * b[0],
        }
        return Dual(ufunc(*a), rules[ufunc]())


def test_the_evaluator_takes_other_operands():
    f = Expression("exp(-x^2)*sin(y) + 3")
    x, y = 0.7, 0.4
    (dual,) = f.evaluate([Dual(x, 1.0), Dual(y, 0.0)])
    assert dual.a == pytest.approx(math.exp(-x * x) * math.sin(y) + 3, rel=1e-15)
    assert dual.b == pytest.approx(-2 * x * math.exp(-x * x) * math.sin(y), rel=1e-15)
    with pytest.raises(ValueError, match="1 operands; required 2 operands"):
        f.evaluate([x])


REFUSED = {
    "__import__('os')": r'"\'" at column 12',
    "__import__(x)": r"unknown function '__import__' at column 1",
    "x + open(y)": r"unknown function 'open' at column 5",
    "exit()": "unknown function 'exit'",
    "x.__class__": "an attribute at column 1",
    "sin.__call__(x)": "a call of an attribute",
    "(1).real": "an attribute",
    "x[0]": "a subscript at column 1",
    "sin(x)(y)": "a call of a Python Call",
    "lambda: x": "':' at column 7",
    "x:=3": "':' at column 2",
    "x<y": "'<' at column 2",
    "x==y": "'=' at column 2",
    "sin(x=1)": "'=' at column 6",
    "sin(*x)": "a starred item at column 5",
    "sin(**x)": "a keyword argument of sin",
    "[x for x in y]": "a comprehension",
    "(x for x in y)": "a Python GeneratorExp",
    "x if y else z": "a conditional",
    "x and y": "a logical operator",
    "not x": "the operator Not",
    "x//2": "the operator FloorDiv",
    "x%2": "'%' at column 2",
    "x@y": "'@' at column 2",
    "x|y": "'|' at column 2",
    "~x": "'~' at column 1",
    "'x'": '"\'" at column 1',
    "x; y": "';' at column 2",
    "x\n+y": r"'\\n' at column 2",
    "x\x00": r"'\\x00' at column 2",
    "é": "'é' at column 1",
    "\uff53in(x)": "at column 1",  # Python would read the wide letter as s
    "await x": "a Python Await",
    "yield": "a syntax error",
    "import os": "a syntax error",
    "2x": "syntax error.*column 1.*2\\*x, not 2x",
    "x y": "a syntax error .* at column 3",
    "x +": "a syntax error .* at column 3",
    "(x": "never closed.* at column 1",
    "x)": "a syntax error .* at column 2",
    "x^^2": "a syntax error",
    "": "no formula",
    "   ": "no formula",
    "()": "a tuple without components",
    "[]": "a tuple without components",
    "(x, (y, z))": "a tuple inside the formula at column 5",
    "True": "the constant True",
    "None": "the constant None",
    "...": "the constant Ellipsis",
    "1j*x": "the constant 1j at column 1; |the constant 1j at column 1",
    "0x10": "'0x' at column 1",
    "sin": r"the function sin without \(...\) at column 1",
    "sin()": "sin with 0 arguments; |sin with 0 arguments",
    "sin(x, y)": "sin with 2 arguments at column 1.*required one argument",
    "max(x)": "max with 1 argument at column 1.*required two or more",
    "x + sni(y)": r"unknown function 'sni' \(did you mean sin\?\) at column 5",
    "x^2 + foo": "unknown name 'foo' at column 7",
    "  foo": "unknown name 'foo' at column 3",
    "w": "unknown name 'w'",
    "X": "unknown name 'X'",
    "x0": "unknown name 'x0'",
    "x01": "unknown name 'x01'",
    "x101": "unknown name 'x101'",
    "x + x1": "both x and x1",
    "1e999": "too large for float64",
    "1" * 400: "too large for float64",
    "x" + "+x" * 999: "1999 numbers, variables and operations.*at most 1000",
    "-" * 1999 + "x": "2000 numbers|deeply nested",
    "x" + "**x" * 600: "numbers, variables and operations|deeply nested",
    "(" * 51 + "x" + ")" * 51: "more than 50 open parentheses at column 51",
    "(" * 1000: "more than 50 open parentheses",
    "x+" * 1000 + "x": "2001 characters; |2001 characters",
}


@pytest.mark.parametrize("text", REFUSED)
def test_anything_else_is_refused_with_its_place(text):
    with pytest.raises(ValueError, match=REFUSED[text]) as caught:
        from_expression(text)
    assert "exp, log, sqrt" in str(caught.value) and len(str(caught.value)) < 600


@pytest.mark.parametrize(
    "text", ["9**9**9", "9**9**9**9", "exp(exp(exp(9)))", "0/0", "1/0", "sqrt(-1)", "log(0)", "x^1e300"]
)
def test_overflow_is_an_error_and_no_hang(text):
    with pytest.raises(ValueError, match="required finite values"):
        from_expression(text)


def test_a_formula_without_values_on_the_domain_names_a_point():
    with pytest.raises(ValueError, match=r"f\(\[-.*\]\) = \[nan\]; required finite values"):
        from_expression("log(x)", lipschitz=1.0)


def test_a_pole_is_refused_unless_a_constant_is_claimed():
    with pytest.raises(ValueError, match="a jump or a pole"):
        from_expression("1/x")
    assert from_expression("1/x", lipschitz=1.0).lipschitz_source == "claimed"


def test_dimension_disagreements():
    with pytest.raises(ValueError, match=r"the variable z, but dim_in = 2, in 'x [+] z'; required dim_in >= 3"):
        from_expression("x + z", dim_in=2)
    with pytest.raises(ValueError, match="the variable y, but dim_in = 1"):
        from_expression("y", domain=Box.cube(1, 1.0))
    with pytest.raises(ValueError, match=r"required a Box or Ball of R\^3"):
        from_expression("y", dim_in=3, domain=Box.cube(2, 1.0))
    with pytest.raises(ValueError, match="dim_in = 101"):
        from_expression("x", dim_in=101)


@pytest.mark.parametrize("text", [None, 3, b"x", ["x"]])
def test_other_types_are_refused(text):
    with pytest.raises(TypeError, match=r"expression: received a .*; required text"):
        from_expression(text)


PIECES = st.sampled_from(
    (
        "x y z x1 x99 pi e sin cos exp max min abs ( ) [ ] , + - * / ** ^ 0 1 2.5 1e9 1e400 9 0x1 1j 1_0 "
        "__import__ os eval exec open lambda for in if else not and or is None True _ __class__ "
        "{ } . : ; = == := < > // % @ & | ~ ' \" \\ # ... \n \t \xe9 \xb2"
    ).split(" ")
)
TEXTS = st.one_of(
    st.lists(PIECES, max_size=25).map("".join), st.lists(PIECES, max_size=25).map(" ".join), st.text(max_size=60)
)


@settings(max_examples=300, deadline=None)
@example("().__class__.__bases__[0].__subclasses__()")
@example("[].append(x)")
@example("(lambda f: f(f))(lambda f: f(f))")
@example("x.__init__.__globals__")
@example("max(x for x in ())")
@given(TEXTS)
def test_hostile_text_never_runs(text):
    touched = []

    def trap(name):
        return lambda *args, **kwargs: touched.append(name)

    watched = {name: getattr(builtins, name) for name in ("eval", "exec", "open")}
    system = os.system
    try:
        for name in watched:
            setattr(builtins, name, trap(name))
        os.system = trap("system")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's parser warns about odd literals
            try:
                f = Expression(text)
            except ValueError as error:
                assert "expression: received" in str(error)
            else:
                assert f(np.full((2, f.dim_in), 0.5)).shape == (2, f.dim_out)
    finally:
        os.system = system
        for name, function in watched.items():
            setattr(builtins, name, function)
    assert not touched
