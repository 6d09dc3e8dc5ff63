"""Radial networks in ball arithmetic, from the definition: the oracle of the tests of certificates."""

import itertools

import torch
from flint import arb

from approx.activations import activation
from approx.networks import RadialNetwork

# (name, parameters) -> h and h' in arb, for exact arguments r > 0 away from jumps and kinks
CASES = [
    ("radial_identity", {}),
    ("step_relu", {}),
    ("squashing", {}),
    ("rational_squash", {}),
    ("radial_swish", {}),
    ("radial_sigmoid", {}),
    ("shifted_sigmoid", {"shift": 1.5}),
    ("shifted_sigmoid", {"shift": -0.7}),
    ("shifted_relu", {"shift": 0.8}),
    ("shifted_relu", {"shift": -0.4}),
    ("radial_softplus", {"shift": 1.0}),
    ("radial_softplus", {"shift": -2.0}),
]


def sigmoid(t):
    return 1 / (1 + (-t).exp())


def profile(name, r, shift=0.0):
    """(h(r), h'(r)) in ball arithmetic, for an arb r >= 0."""
    t = r - arb(shift)
    s = sigmoid(t)
    match name:
        case "radial_identity":
            return r, arb(1)
        case "step_relu":
            return (arb(0), arb(0)) if r < 1 else (r, arb(1))
        case "squashing":
            return r * r / (1 + r * r), 2 * r / ((1 + r * r) * (1 + r * r))
        case "rational_squash":
            return r / (1 + r), 1 / ((1 + r) * (1 + r))
        case "radial_swish":
            return r * s, s + r * s * (1 - s)
        case "radial_sigmoid" | "shifted_sigmoid":
            return s, s * (1 - s)
        case "shifted_relu":
            return (t, arb(1)) if t > 0 else (arb(0), arb(0))
        case "radial_softplus":
            return (1 + t.exp()).log(), s
    raise AssertionError(name)


def value(layers, x):
    """The network of layers (weight, bias, activation), lists of floats, at a list of floats: a list of arb."""
    v = [arb(number) for number in x]
    for weight, bias, rho in layers:
        v = [
            sum((arb(w) * c for w, c in zip(row, v, strict=True)), arb(b)) for row, b in zip(weight, bias, strict=True)
        ]
        if rho is None:
            continue
        square = sum((c * c for c in v), arb(0))
        if rho.name == "step_relu":
            v = [arb(0) for _ in v] if square < 1 else v
        elif square > 0:
            r = square.sqrt()
            factor = profile(rho.name, r, float(getattr(rho, "shift", 0.0)))[0] / r
            v = [factor * c for c in v]
    return v


def layers_of(network):
    """The layers of a network as `value` takes them."""
    return [(w.double().tolist(), b.double().tolist(), rho) for w, b, rho in network.layers()]


def random_network(name, parameters, widths, seed=0, dtype=torch.float64, gain=1.0):
    """A dense network of these widths with normal weights, every hidden layer with this activation."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    layers = []
    for index, (inner, outer) in enumerate(itertools.pairwise(widths)):
        rho = None if index == len(widths) - 2 else activation(name, **parameters)
        layers.append(((normal(outer, inner) * gain / inner**0.5).to(dtype), (0.5 * normal(outer)).to(dtype), rho))
    return RadialNetwork.from_layers(layers)


def bounded_network(name, parameters, n, seed):
    """Layers of width 5 whose last two coordinates, and the two outputs, do not read the first three."""
    generator = torch.Generator().manual_seed(seed)
    layers = []
    for inner, outer in ((n, 5), (5, 5), (5, 5), (5, 2)):
        weight = torch.randn(outer, inner, generator=generator, dtype=torch.float64)
        weight[-2:, : 3 if inner == 5 else n] = 0.0
        bias = torch.randn(outer, generator=generator, dtype=torch.float64)
        layers.append((weight, bias, activation(name, **parameters)))
    return RadialNetwork.from_layers([*layers[:-1], (*layers[-1][:2], None)])


def far_value(network, point, axis, side):
    """The network at x = X / t in ball arithmetic, X_axis = side, for a point (other X_j, t)."""
    *others, t = point.tolist()
    return value(layers_of(network), [arb(number) / arb(t) for number in (*others[:axis], side, *others[axis:])])
