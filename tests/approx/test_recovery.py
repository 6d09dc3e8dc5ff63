"""What the stored weights do to points, against the same in rational arithmetic."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
import torch

from approx.activations import StepReLU
from approx.certification import _chain, _exact, _gliding, _recovery
from approx.certification._chain import chain_of
from approx.networks import Dense, Growing, RadialNetwork

KINDS = ["dyadic", "integers", "digits", "cancelling", "far", "subnormal", "explosive", "narrow"]


def network(layers, step=True):
    """Layers (W, b) of float64 arrays, all Step-ReLU but the last."""
    tensors = [(torch.from_numpy(np.array(w)), torch.from_numpy(np.array(b))) for w, b in layers]
    kinds = [StepReLU() if step else None] * (len(layers) - 1) + [None]
    return RadialNetwork.from_layers([(w, b, kind) for (w, b), kind in zip(tensors, kinds, strict=True)])


def random_layers(kind, seed):
    rng = np.random.default_rng(seed)
    count = {"digits": 12, "explosive": 640}.get(kind, 60)
    widths = [2, *rng.integers(1, 5, count - 1), 2]
    if kind == "explosive":
        widths = [1] * count + [2]
    layers = []
    for inputs, outputs in itertools.pairwise(widths):
        w, b = rng.normal(size=(outputs, inputs)), rng.normal(size=outputs)
        if kind != "explosive":
            w[rng.uniform(size=w.shape) < 0.3] = -0.0
            b[rng.uniform(size=b.shape) < 0.3] = -0.0
        if kind == "dyadic":
            w, b = np.sign(w) * 2.0 ** rng.integers(-3, 4, w.shape), np.round(b * 64) / 64
        elif kind == "integers":
            w, b = np.round(w), np.round(4 * b)
        elif kind == "cancelling":
            w = np.round(2 * w) * (1 + 2.0**-40 * rng.integers(-1, 2, w.shape))
        elif kind == "far":
            w *= 2.0 ** rng.integers(-200, 201)
        elif kind == "subnormal":
            b *= 5e-324 * 2.0 ** rng.integers(0, 60)
        elif kind == "narrow":
            w = np.where(rng.uniform(size=w.shape) < 0.8, 0.0, w)
        layers.append((w, b))
    return layers


def affine_in_rationals(layers):
    """[slope, offset] of the composition, and the most binary digits of a row over its common power of two."""
    n = layers[0][0].shape[1]
    rows = [[Fraction(int(a == j)) for a in range(n + 1)] for j in range(n)]
    most = 0
    for w, b in layers:
        rows = [
            [
                sum((Fraction(f) * row[a] for f, row in zip(weights, rows, strict=True) if f), Fraction(0))
                + (Fraction(shift) if a == n else 0)
                for a in range(n + 1)
            ]
            for weights, shift in zip(w.tolist(), b.tolist(), strict=True)
        ]
        for row in rows:
            below = max(value.denominator for value in row)
            integers = [int(value * below) for value in row]
            spare = min((i & -i for i in integers if i), default=1)
            most = max(most, *((abs(i) // spare).bit_length() for i in integers))
    return rows, most


@pytest.fixture(params=[0, 1 << 20], ids=["as long chains", "as short chains"])
def length(request, monkeypatch):
    """What is compiled only for long chains, and what replaces it for short ones."""
    monkeypatch.setattr(_chain, "LONG", request.param)


@pytest.mark.parametrize("kind", KINDS)
def test_the_affine_map_is_that_of_rational_arithmetic(kind, length):
    for seed in range(1 if kind == "explosive" else 12):
        layers = random_layers(kind, seed)
        found = _exact.exact_affine(chain_of(network(layers), "test"))
        rows, most = affine_in_rationals(layers)
        assert found == (rows if most <= 1 << 15 else None)
        assert (found is None) == (kind == "explosive")


def passed(chain):
    """How many layers go through in sums of floating-point numbers, and how many terms the last ones have."""
    n = chain.dim_in
    entries, counts = np.zeros((chain.width, n + 1, _exact._TERMS)), np.zeros((chain.width, n + 1), np.int64)
    entries[range(n), range(n), 0], counts[range(n), range(n)] = 1.0, 1
    arrays = (chain.first_row, chain.first_entry, chain.column, chain.weight, chain.bias)
    new, new_counts = np.zeros_like(entries), np.zeros_like(counts)
    done = _exact._expansions(*arrays, entries, counts, new, new_counts)
    return done, (counts, new_counts)[done % 2].max()


def test_how_far_sums_of_numbers_go():
    """All the way where digits stay few, and part of it where they multiply or leave the range."""
    whole, part = 0, 0
    for kind in KINDS:
        for seed in range(6):
            chain = chain_of(network(random_layers(kind, seed)), "test")
            done, terms = passed(chain)
            assert terms <= _exact._TERMS
            whole += done == len(chain)
            part += 0 < done < len(chain)
            assert done == len(chain) or kind not in ("dyadic", "integers")
    assert whole > 10
    assert part > 10


def carried_by(layers):
    """For the zero state after each Step-ReLU layer: the layer that zeroes it again or -1, and the final value."""
    following, values = [], []
    for start in range(len(layers) - 1):
        state, zeroed = [Fraction(0)] * layers[start][0].shape[0], -1
        for i in range(start + 1, len(layers)):
            w, b = layers[i]
            state = [
                sum((Fraction(f) * s for f, s in zip(row, state, strict=True) if f and s), Fraction(shift))
                for row, shift in zip(w.tolist(), b.tolist(), strict=True)
            ]
            if i < len(layers) - 1 and sum(s * s for s in state) < 1:
                zeroed = i
                break
        following.append(zeroed)
        values.append(state)
    return following, values


def painted(count, codes, seed, special=None):
    """Layers that carry x and a code, moved by the difference of two codes; `special` layers scale by a factor."""
    rng = np.random.default_rng(seed)
    code = rng.integers(0, codes, count + 1).astype(float)
    layers = []
    for i in range(count):
        w, b = np.eye(3), np.zeros(3)
        w[0, 2], w[1, 2] = rng.integers(-3, 4), code[i + 1] - code[i]
        b[1] = code[i] - code[i + 1]
        if special is not None and i % 97 == 50:
            w, b[1] = special * w, special * b[1]
        layers.append((w, b))
    return [*layers, (np.ones((1, 3)), np.array([0.5]))]


@pytest.mark.parametrize(
    ("count", "codes", "special"),
    [(400, 6, None), (300, 250, None), (300, 40, 0.5), (200, 200, 0.1), (150, 30, 2.0**200), (150, 30, 2.0**-300)],
)
def test_zeroed_states_are_those_of_rational_arithmetic(count, codes, special, length):
    """Longer than the spans in which trajectories are followed, with few codes (which end them) and many."""
    layers = painted(count, codes, count + codes, special)
    recovery = _recovery.recover(network(layers), "test")
    found = recovery.follow(np.arange(count), 53)
    following, values = carried_by(layers)
    known = found.doubtful < 0
    assert known.all() or special not in (None, 0.5)
    assert np.array_equal(found.following[known], np.array(following)[known])
    for k in np.flatnonzero(known & (found.following < 0)):
        gap = abs(Fraction(float(found.values[k, 0])) - values[k][0])
        assert gap <= Fraction(float(found.errors[k, 0]))
        assert gap == 0 or special is not None
    if special is None:
        assert not found.errors.any()


@pytest.mark.parametrize("kind", ["dyadic", "digits", "cancelling", "narrow"])
def test_zeroed_states_of_any_layers_are_within_their_errors(kind, length):
    """Lanes whose bounds are shared, in a second group, too, and those that are taken step by step."""
    uncertain, rounded = 0, 0
    for seed in range(4):
        layers = random_layers(kind, seed) + random_layers(kind, seed + 100)[: 12 if kind == "digits" else 30]
        recovery = _recovery.recover(network(layers), "test")
        found = recovery.follow(np.arange(len(layers) - 1), 53)
        following, values = carried_by(layers)
        known = found.doubtful < 0
        uncertain += len(known) - known.sum()
        assert np.array_equal(found.following[known], np.array(following)[known])
        for k in np.flatnonzero(known & (found.following < 0)):
            for j, exact in enumerate(values[k]):
                gap = abs(Fraction(float(found.values[k, j])) - exact)
                assert gap <= Fraction(float(found.errors[k, j]))
                rounded += gap > 0
    assert rounded > 0 or kind in ("dyadic", "narrow")
    assert uncertain < 20


@pytest.mark.parametrize("rounds", [False, True])
@pytest.mark.parametrize("before", [0, 100])
def test_totals_in_spans(rounds, before, monkeypatch):
    """A growing run, begun in the first span or between others: as step by step."""
    rng = np.random.default_rng(before)
    layers, special = 700, 0.3 if rounds else 0.5
    first = [(np.diag([1.0, 0.0, 0.0]), np.array([0.0, 5.0, 0.0])), *painted(before, 90, 1)[:-1]]
    code = rng.integers(3, 90, layers + 1).astype(float)
    weight, bias = np.zeros((layers, 4, 3)), np.zeros((layers, 4))
    weight[:, range(3), range(3)] = 1.0
    bias[:, 1], bias[:, 2] = code[1:] - code[:-1], 0.0
    weight[:, 3, 1], bias[:, 3] = special, rng.integers(-3, 4, layers)
    readout = rng.normal(size=(2, 3 + layers)) if rounds else rng.integers(-9, 10, (2, 3 + layers)) / 4.0
    blocks = [Dense(torch.tensor(w), torch.tensor(b), StepReLU()) for w, b in first]
    blocks += [Growing(torch.tensor(weight), torch.tensor(bias), StepReLU())]
    blocks += [Dense(torch.tensor(readout), torch.zeros(2, dtype=torch.float64))]
    found = {}
    for long in (0, 1 << 20):
        monkeypatch.setattr(_chain, "LONG", long)
        recovery = _recovery.recover(RadialNetwork(blocks), "test")
        assert not recovery.chain.counted.all()
        found[long] = recovery.follow(np.arange(len(recovery.chain) - 1), 53)
    spans, steps = found.values()
    assert np.array_equal(spans.following, steps.following)
    to_the_end = steps.following < 0
    assert to_the_end.sum() > 50
    gap = np.abs(spans.values - steps.values)[to_the_end]
    assert (gap <= (spans.errors + steps.errors)[to_the_end]).all()
    assert spans.errors[to_the_end].max() <= 1.1 * steps.errors[to_the_end].max()
    assert (spans.errors.max() > 0) == rounds


def test_what_coordinates_are_multiples_of():
    """Products of spans of any length in another order, down to 0 where they leave the range."""
    rng = np.random.default_rng(0)
    lost = 0
    for layers in range(1, 40):
        exponents = np.full((layers, 4, 4), _gliding._NEVER)
        some = rng.uniform(size=exponents.shape) < 0.4
        exponents[some] = rng.integers(-200, 60, some.sum())
        exponents[:, 3] = [_gliding._NEVER] * 3 + [0]
        expected = np.where(np.eye(4) == 1, 0.0, np.inf)
        for layer in exponents:
            finite = np.where(layer == _gliding._NEVER, np.inf, layer)
            expected = (finite[:, :, None] + expected[None]).min(axis=1)
        with np.errstate(divide="ignore"):
            found = np.log2(_gliding._paths(exponents))
        assert np.array_equal(found == np.inf, expected == np.inf)
        assert (found <= expected).all()
        lost += (found == -np.inf).sum()
        if layers <= 2:
            assert np.array_equal(found, expected)
    assert lost > 0


def test_trajectories_do_not_depend_on_their_company(length):
    layers = painted(700, 500, 3, special=0.5)
    recovery = _recovery.recover(network(layers), "test")
    together = recovery.follow(np.arange(700), 53)
    for part in (np.arange(0, 700, 7), np.array([5]), np.arange(300, 420)):
        alone = recovery.follow(part, 53)
        for name in ("following", "values", "errors", "doubtful", "gaps"):
            assert np.array_equal(getattr(alone, name), getattr(together, name)[part]), name
