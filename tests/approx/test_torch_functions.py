"""Torch callables on intervals, jets and balls: the function that torch computes, or a loud refusal."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import constructions
from approx import Box, certify
from approx.certification import enclosure_of
from approx.certification._arb import ArbArray, precision
from approx.certification._torch import through_torch
from approx.certification.intervals import Interval
from approx.targets import from_torch

torch.manual_seed(0)
MATRIX = torch.randn(2, 2).double()
MODULE = torch.nn.Sequential(
    torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 8), torch.nn.SiLU(), torch.nn.Linear(8, 2)
).double()


def in_place(function, y):
    """What y holds afterwards."""
    function(y, inplace=True)
    return y[:, 0]


SUPPORTED = {
    "sum": lambda x: torch.sin(x).sum(1),
    "module": MODULE,
    "gaussian": lambda x: torch.exp(-x.square().sum(-1)),
    "operators": lambda x: (x[:, 0] ** 2 + 2.0 - abs(x[:, 1])).sqrt() / (1 + x.norm(dim=1)) - -x[:, 0],
    "reflected": lambda x: 2.0 ** x[:, 0] - 1 / (3 - x[:, 1]) + torch.tensor(0.5) * x[:, 0],
    "tensor first": lambda x: torch.ones(2, dtype=torch.float64) - (MATRIX @ x.T).T / torch.tensor([3.0, 4.0]),
    "stack": lambda x: torch.stack([x[:, 0] * x[:, 1], torch.cos(x[:, 0])], dim=1),
    "linalg": lambda x: torch.linalg.norm(x @ MATRIX.T, dim=1) + torch.linalg.vector_norm(x, ord=1, dim=-1),
    "clamp": lambda x: torch.clamp(x[:, 0], min=-0.5, max=0.5) + torch.relu(x[:, 1]).clamp(max=0.25),
    "in place": lambda x: in_place(F.relu, x - 0.3) + torch.nn.SiLU(inplace=True)(x[:, 1] * 2.0),
    "sigmoid": lambda x: 1 - 2 * torch.sigmoid(-x[:, 0]) + torch.rsqrt(2 + x[:, 1]),
    "cat": lambda x: torch.cat([x, x.pow(3)], dim=1).mean(1, keepdim=True),
    "einsum": lambda x: torch.einsum("ki,ij,kj->k", x, MATRIX, x),
    "maximum": lambda x: torch.maximum(x[:, 0], x[:, 1]) + torch.hypot(x[:, 0], x[:, 1]),
    "unbind": lambda x: x.unbind(1)[0] * 3 + torch.sum(x, dim=(1,)) - x.amax(dim=1),
    "shapes": lambda x: x.unsqueeze(1).squeeze(1).reshape(len(x), -1).transpose(0, 1).T.to(torch.float64).double(),
    "scalars": lambda x: sum(row for row in x.T) * x.size(1) + x.dim() + x.shape[1],
}
REFUSED = {
    "where": (lambda x: torch.where(x[:, 0] > 0, x[:, 0], 0 * x[:, 0]), "'>' not supported"),
    "branch": (lambda x: x[:, 0] if x else x[:, 1], "data-dependent branch"),
    "softplus": (lambda x: F.softplus(x).sum(1), "torch.softplus is not known"),
    "underscore": (lambda x: torch.relu_(x.clone()).sum(1), "torch.relu_ is not known"),
    "float": (lambda x: x.float().sum(1).double(), "Tensor.float is not known"),
    "to": (lambda x: x.to(torch.float32).sum(1).double(), "torch.float32 is not known"),
    "options": (lambda x: torch.add(x[:, 0], x[:, 1], alpha=2), "alpha"),
    "erf": (lambda x: torch.erf(x).sum(1), "torch.erf is not known"),
}


def outputs(function):
    return function(torch.zeros(3, 2).double()).reshape(3, -1).shape[1]


@pytest.mark.parametrize("name", SUPPORTED)
def test_the_enclosure_is_of_the_same_function(name):
    function = SUPPORTED[name]
    target = from_torch(function, 2, outputs(function), domain=Box.cube(2, 1.0), lipschitz=50.0)
    enclosure = enclosure_of(target)
    assert enclosure.basis == "interval arithmetic" and not enclosure.conditional
    rng = np.random.default_rng(0)
    middle = rng.uniform(-0.9, 0.9, size=(200, 2))
    half = 0.1 * rng.random(size=(200, 2)) ** 4
    low, high = enclosure.range(middle - half, middle + half)
    for _ in range(20):
        values = target(middle + half * rng.uniform(-1, 1, size=(200, 2)))
        assert (low - 1e-13 <= values).all() and (values <= high + 1e-13).all()
    low, high = enclosure.range(middle, middle)
    assert (high - low).max() < 1e-12
    with precision(128), torch.no_grad():
        balls = through_torch(function, ArbArray.of(middle)).entries.reshape(200, -1)
        exact = np.array([[float(v) for v in row] for row in balls])
    assert exact == pytest.approx(target(middle), abs=1e-13)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_known_is_refused_and_the_claim_is_named(name):
    function, text = REFUSED[name]
    with pytest.raises((TypeError, AttributeError), match=text):
        through_torch(function, Interval([[0.0, 0.0]], [[1.0, 1.0]]))
    if name != "branch":
        target = from_torch(function, 2, domain=Box.cube(2, 1.0), lipschitz=4.0)
        assert "claimed Lipschitz constant 4" in enclosure_of(target).basis


def test_a_torch_module_is_certified_unconditionally():
    target = from_torch(MODULE, 2, 2, domain=Box.cube(2, 1.0))
    assert target.lipschitz_source == "estimated"
    report = certify(constructions.build(target, 0.3, verify=False))
    assert report.claim == "certified" and report.proves(0.3)
    assert report.recheck(samples=2).basis.startswith("ball arithmetic")
