"""Formulas such as "exp(-x^2)*sin(y)" as functions.

The text is parsed by Python's `ast` into a tree of which a few node types are allowed, and that tree is compiled to a
list of instructions for a stack machine over numpy ufuncs. Nothing is ever evaluated as Python.
"""

from __future__ import annotations

import ast
import difflib
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from approx import _checks

__all__ = ["Expression"]

Array = NDArray[np.float64]

MAX_LENGTH = 2000
MAX_NESTING = 50
MAX_NODES = 1000
MAX_VARIABLES = 100
CONSTANTS = {"pi": math.pi, "e": math.e}
FUNCTIONS: dict[str, np.ufunc] = {
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "exp": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
    "abs": np.absolute,
    "tanh": np.tanh,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "arctan": np.arctan,
    "min": np.minimum,
    "max": np.maximum,
}
_OPERATORS: dict[type, np.ufunc] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.true_divide,
    ast.Pow: np.power,
    ast.USub: np.negative,
    ast.UAdd: np.positive,
}
_LETTERS = ("x", "y", "z")
_HELP = (
    f"Use numbers, + - * / ^ ** (2*x, not 2x), parentheses, the variables x, y, z or x1, x2, ..., the constants "
    f"{', '.join(CONSTANTS)} and the functions {', '.join(FUNCTIONS)}."
)
_FORBIDDEN = re.compile(  # characters no formula has, and Python's other notations: 0x1 is no product with x1
    r"[^A-Za-z0-9_.+\-*/^()\[\], \t]|(?<![A-Za-z0-9_.])0[xXoObB]"
)

# One instruction: ("number", value), ("variable", index) or (ufunc, how many operands it takes off the stack).
Instruction = tuple[Any, Any]


@dataclass(frozen=True)
class Expression:
    """A parsed formula, R^dim_in -> R^dim_out.

    text : the formula as written. programs : one list of stack-machine instructions (postfix order) per component;
    an instruction is ("number", value), ("variable", index), or (numpy ufunc, number of operands).

    Raises ValueError for anything but a formula, naming the offending piece and its column.

    >>> f = Expression("(x*y, -x^2)")
    >>> f.dim_in, f.dim_out, f(np.array([[2.0, 3.0]]))
    (2, 2, array([[ 6., -4.]]))
    """

    text: str
    dim_in: int = 0
    dim_out: int = field(init=False)
    programs: tuple[tuple[Instruction, ...], ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        parts, error = _parse(self.text)
        programs: list[tuple[Instruction, ...]] = []
        variables: set[str] = set()
        nodes = 0
        for part in parts:
            program = _compile(part, error, variables)
            nodes += len(program)
            programs.append(tuple(program))
        if nodes > MAX_NODES:
            raise error(f"{nodes} numbers, variables and operations", None, f"at most {MAX_NODES}")
        lettered = sorted(variables & set(_LETTERS))
        numbered = sorted((v for v in variables if v not in _LETTERS), key=lambda v: int(v[1:]))
        if lettered and numbered:
            raise error(f"both {lettered[0]} and {numbered[0]}", None, "x, y, z or x1, x2, ..., not a mix")
        largest = max([_LETTERS.index(v) + 1 for v in lettered] + [int(v[1:]) for v in numbered], default=1)
        dim_in = _checks.count("expression", "dim_in", self.dim_in, least=0) or largest
        if dim_in < largest:
            name = (lettered or numbered)[-1]
            raise error(f"the variable {name}, but dim_in = {dim_in},", None, f"dim_in >= {largest}")
        object.__setattr__(self, "dim_in", dim_in)
        object.__setattr__(self, "dim_out", len(programs))
        object.__setattr__(self, "programs", tuple(programs))

    def __call__(self, x: Array) -> Array:
        """x (k, n) -> (k, m) float64."""
        values = self.evaluate(list(np.asarray(x, dtype=np.float64).T))
        return np.stack([np.broadcast_to(value, len(x)) for value in values], axis=1)

    def evaluate(self, operands: Sequence[Any]) -> list[Any]:
        """The m components at n operands: arrays, or any type that numpy's ufuncs accept (such as intervals, through
        ``__array_ufunc__``). Constant subexpressions are numpy scalars."""
        if len(operands) != self.dim_in:
            received = f"{len(operands)} operands"
            raise ValueError(_checks.message("expression", received, f"{self.dim_in} operands", "One per variable."))
        results = []
        with np.errstate(all="ignore"):  # Target refuses what is not finite, naming the point
            for program in self.programs:
                stack: list[Any] = []
                for what, detail in program:
                    if isinstance(what, np.ufunc):
                        stack[-detail:] = [what(*stack[-detail:])]
                    else:
                        stack.append(operands[detail] if what == "variable" else np.float64(detail))
                results.append(stack[0])
        return results


def _parse(text: str) -> tuple[list[ast.expr], Callable[..., ValueError]]:
    """The trees of the components, and a maker of errors that translates tree columns into columns of `text`."""
    if not isinstance(text, str):
        received = f"a {type(text).__name__}"
        raise TypeError(_checks.message("expression", received, "text", "Write the formula as a str."))
    columns: list[int] = []  # of `text`, by place in the text that Python parses

    def error(found: str, at: ast.expr | int | None = None, required: str = "a formula") -> ValueError:
        column = columns[min(at.col_offset, len(columns) - 1)] if isinstance(at, ast.expr) else at
        place = "" if column is None else f" at column {column}"
        received = f"{found}{place} in {_checks.show(text)}"
        return ValueError(_checks.message("expression", received, required, _HELP))

    if len(text) > MAX_LENGTH:
        raise error(f"{len(text)} characters", None, f"at most {MAX_LENGTH}")
    stripped = text.strip()
    if not stripped:
        raise error("no formula")
    bad = _FORBIDDEN.search(text)
    if bad:
        raise error(repr(bad.group()), bad.start() + 1)
    depth = 0
    for column, character in enumerate(text, start=1):
        depth += (character in "([") - (character in ")]")
        if depth > MAX_NESTING:
            raise error(f"more than {MAX_NESTING} open parentheses", column, "less nesting")
    # ^ is the power here; as ** it also gets the precedence of one.
    for column, character in enumerate(stripped, start=text.find(stripped) + 1):
        columns += [column, column] if character == "^" else [column]
    try:
        tree = ast.parse(stripped.replace("^", "**"), mode="eval").body
    except SyntaxError as problem:
        at = min(problem.offset or len(columns), len(columns)) - 1  # 0 means the end
        raise error(f"a syntax error ({problem.msg})", columns[at]) from None
    except (ValueError, RecursionError, MemoryError, OverflowError):
        raise error("a formula too deeply nested") from None
    parts = list(tree.elts) if isinstance(tree, ast.Tuple | ast.List) else [tree]
    if not parts:
        raise error("a tuple without components")
    return parts, error


def _compile(root: ast.expr, error: Callable[..., ValueError], variables: set[str]) -> list[Instruction]:
    """Postfix instructions of a tree, without recursion; adds the names of its variables to `variables`."""
    program: list[Instruction] = []
    todo: list[ast.expr | Instruction] = [root]
    while todo:
        node = todo.pop()
        if isinstance(node, tuple):
            program.append(node)
        elif isinstance(node, ast.Constant):
            program.append(("number", _number(node, error)))
        elif isinstance(node, ast.Name):
            program.append(_name(node, error, variables))
        elif isinstance(node, ast.UnaryOp) and type(node.op) in _OPERATORS:
            todo += [(_OPERATORS[type(node.op)], 1), node.operand]
        elif isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
            if isinstance(node.op, ast.Pow) and isinstance(node.right, ast.Constant) and node.right.value == 2:
                todo += [(np.square, 1), node.left]
            else:
                todo += [(_OPERATORS[type(node.op)], 2), node.right, node.left]
        elif isinstance(node, ast.Call):
            todo += _call(node, error)
        else:
            raise error(_describe(node), node)
    return program


def _number(node: ast.Constant, error: Callable[..., ValueError]) -> float:
    if isinstance(node.value, bool) or not isinstance(node.value, int | float):
        raise error(f"the constant {node.value!r}", node, "real numbers")
    try:
        number = float(node.value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise error("a number too large for float64", node, "numbers below 1.8e308")
    return number


def _name(node: ast.Name, error: Callable[..., ValueError], variables: set[str]) -> Instruction:
    name = node.id
    if name in CONSTANTS:
        return ("number", CONSTANTS[name])
    if name in _LETTERS:
        variables.add(name)
        return ("variable", _LETTERS.index(name))
    if re.fullmatch(r"x[1-9][0-9]{0,2}", name) and int(name[1:]) <= MAX_VARIABLES:
        variables.add(name)
        return ("variable", int(name[1:]) - 1)
    if name in FUNCTIONS:
        raise error(f"the function {name} without (...)", node)
    known = [*CONSTANTS, *FUNCTIONS, *_LETTERS]
    close = difflib.get_close_matches(name, known, n=1)
    raise error(f"the unknown name {name!r}{f' (did you mean {close[0]}?)' if close else ''}", node)


def _call(node: ast.Call, error: Callable[..., ValueError]) -> list[ast.expr | Instruction]:
    """The call's instructions and arguments in reverse order, as the work list takes them."""
    if not isinstance(node.func, ast.Name):
        raise error(f"a call of {_describe(node.func)}", node)
    name = node.func.id
    if name not in FUNCTIONS:
        close = difflib.get_close_matches(name, FUNCTIONS, n=1)
        raise error(f"a call of the unknown function {name!r}{f' (did you mean {close[0]}?)' if close else ''}", node)
    if node.keywords:
        raise error(f"a keyword argument of {name}", node)
    function, count = FUNCTIONS[name], len(node.args)
    wanted = "two or more arguments" if function.nin == 2 else "one argument"
    if (count < 2) if function.nin == 2 else (count != 1):
        raise error(f"{name} with {count} argument{'' if count == 1 else 's'}", node, wanted)
    return [*[(function, function.nin)] * (count - 1 if function.nin == 2 else 1), *reversed(node.args)]


def _describe(node: ast.AST) -> str:
    kinds = {
        ast.Attribute: "an attribute",
        ast.Subscript: "a subscript",
        ast.Lambda: "a lambda",
        ast.Compare: "a comparison",
        ast.Starred: "a starred item",
        ast.Tuple: "a tuple inside the formula",
        ast.List: "a list inside the formula",
        ast.IfExp: "a conditional",
        ast.BoolOp: "a logical operator",
        ast.ListComp: "a comprehension",
    }
    if isinstance(node, ast.BinOp | ast.UnaryOp):
        return f"the operator {type(node.op).__name__}"
    return kinds.get(type(node), f"a Python {type(node).__name__}")
