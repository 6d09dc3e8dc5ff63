"""Random formulas, the same for numpy arrays and in ball arithmetic: the oracle of tests of forms and models."""

import functools
import operator

import numpy as np
from flint import arb

UNARY = {
    "exp": (np.exp, arb.exp),
    "sin": (np.sin, arb.sin),
    "cos": (np.cos, arb.cos),
    "tanh": (np.tanh, arb.tanh),
    "arctan": (np.arctan, arb.atan),
    "absolute": (np.absolute, abs),
    "square": (np.square, lambda v: v * v),
    "cube": (lambda x: x**3, lambda v: v * v * v),
    "root": (lambda x: np.sqrt(1 + np.square(x)), lambda v: (1 + v * v).sqrt()),
    "inverse": (lambda x: 1 / (1.5 + np.square(x)), lambda v: 1 / (1.5 + v * v)),
    "log": (lambda x: np.log(2 + np.square(x)), lambda v: (2 + v * v).log()),
    "negative": (np.negative, operator.neg),
}
BINARY = {
    "add": (np.add, operator.add),
    "subtract": (np.subtract, operator.sub),
    "multiply": (np.multiply, operator.mul),
    "maximum": (np.maximum, lambda a, b: a.max(b)),
    "minimum": (np.minimum, lambda a, b: a.min(b)),
    "quotient": (lambda a, b: a / (2 + np.square(b)), lambda a, b: a / (2 + b * b)),
    "hypot": (np.hypot, lambda a, b: (a * a + b * b).sqrt()),
}


def random_function(rng, n):
    """The same random formula for arrays and for lists of exact numbers."""
    steps = []
    for _ in range(int(rng.integers(2, 7))):
        if rng.random() < 0.4:
            steps.append((1, str(rng.choice(list(UNARY))), float(rng.normal())))
        else:
            steps.append((2, str(rng.choice(list(BINARY))), float(rng.normal())))
    picks = rng.integers(0, n + 3, (len(steps), 2))

    def run(columns, which):
        values = list(columns)
        for (arity, name, factor), pick in zip(steps, picks, strict=True):
            a, b = (values[p % len(values)] for p in pick)
            made = UNARY[name][which](a * factor) if arity == 1 else BINARY[name][which](a * factor, b)
            values.append(made)
        return functools.reduce(operator.add, values[n:])

    return lambda x: run([x[:, i] for i in range(n)], 0), lambda x: run([arb(v) for v in x], 1)
