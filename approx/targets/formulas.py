"""Targets from formulas such as "exp(-x^2)*sin(y)"."""

from __future__ import annotations

from collections.abc import Callable

from approx import _checks
from approx.affine import AffineMap
from approx.domains import Ball, Box
from approx.targets._asymptotes import FormulaTail, affine_formula, affine_map
from approx.targets._target import Target
from approx.targets.expressions import MAX_VARIABLES, Expression
from approx.targets.falsify import check_tail, estimate_lipschitz

__all__ = ["asymptote", "from_expression"]


def from_expression(
    text: str,
    *,
    dim_in: int | None = None,
    domain: Box | Ball | None = None,
    lipschitz: float | None = None,
    affine: AffineMap | str | None = None,
    tail: Callable[[float], float] | str | None = None,
    name: str | None = None,
) -> Target:
    """The target that a formula describes; "(a, b, ...)" has several components.

    Variables x, y, z or x1, x2, ...; constants pi, e; + - * / ^ (or **), with the usual precedence; sin cos tan exp log
    sqrt abs tanh sinh cosh arctan min max. The dimension is that of `domain`, or else the largest variable's; the
    domain is by default [-3, 3]^n. Without `lipschitz` the constant is estimated from samples and marked as such.

    On R^n: `affine` is the affine map that f tends to, and `tail` bounds what remains, tail(R) >= |f(x) - affine(x)|
    for all |x| >= R, as for `Target`, or as formulas, that of tail in r. Both are claims, and tested by sampling.

    Raises ValueError for a malformed formula, one without finite values on the domain, an affine part that is not
    affine or whose slope float64 does not hold, and a tail that a point refutes.

    >>> f = from_expression("exp(-x^2) * sin(y)", lipschitz=1.4)
    >>> f([[0.0, 0.5 * 3.141592653589793]]), f.expression
    (array([[1.]]), 'exp(-x^2) * sin(y)')
    >>> from_expression("x/2 + exp(-x^2)", affine="x/2", tail="exp(-r^2)", lipschitz=1.4)
    Target 'x/2 + exp(-x^2)': R^1 -> R^1 on [-3, 3]
      Lipschitz constant 1.4 (claimed)
      tends to an affine map at infinity, with a bound on the tail
    """
    if dim_in is None and domain is not None:
        dim_in = domain.dim
    if dim_in is not None:
        dim_in = _checks.count("from_expression", "dim_in", dim_in, most=MAX_VARIABLES)
    parsed = Expression(text, dim_in or 0)
    if tail is not None and affine is None:
        received, action = "tail without affine", 'Pass affine as well, "0" for instance.'
        raise ValueError(_checks.message("from_expression", received, "both", action))
    target = Target(
        fn=parsed,
        dim_in=parsed.dim_in,
        dim_out=parsed.dim_out,
        domain=domain or Box.cube(parsed.dim_in, 3.0),
        name=text if name is None else name,
        lipschitz=lipschitz,
        affine=affine_map(affine, parsed.dim_in) if isinstance(affine, str) else affine,
        tail=FormulaTail(tail) if isinstance(tail, str) else tail,
        commentary=f"The formula {text}.",
        expression=text,
    )
    target(target.domain.sample(256))
    if tail is not None:
        check_tail(target)
    return target if lipschitz is not None else estimate_lipschitz(target)


def asymptote(target: Target) -> dict[str, str]:
    """What `from_expression` was told of a formula at infinity, as formulas, for files.

    >>> asymptote(from_expression("x/2 + exp(-x^2)", affine="x/2", tail="exp(-r^2)"))
    {'affine_formula': '0.5*x1 + 0.0', 'tail_formula': 'exp(-r^2)'}
    """
    if not target.expression or target.affine is None:
        return {}
    found = {"affine_formula": affine_formula(target.affine)}
    return found | ({"tail_formula": target.tail.text} if isinstance(target.tail, FormulaTail) else {})
