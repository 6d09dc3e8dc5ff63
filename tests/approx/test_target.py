"""Target: validation, evaluation, modulus, change of domain, and targets from callables."""

import math
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from approx.affine import AffineMap
from approx.domains import Ball, Box, WholeSpace
from approx.targets import Target, from_numpy, from_torch, gaussian


def make(**fields):
    given = {"fn": lambda x: x[:, 0] * x[:, 1], "dim_in": 2, "domain": Box.cube(2, 1.0), "lipschitz": 2.0}
    return Target(**{**given, **fields})


@pytest.mark.parametrize("shape", [(2,), (5, 2), (3, 4, 2), (0, 2), (2, 0, 2)])
def test_shapes(shape):
    x = np.random.default_rng(0).uniform(-1, 1, shape)
    values = make()(x)
    assert values.shape == (*shape[:-1], 1) and values.dtype == np.float64
    np.testing.assert_array_equal(values[..., 0], x[..., 0] * x[..., 1])


def test_column_and_flat_values_agree():
    x = np.random.default_rng(0).uniform(-1, 1, (7, 2))
    np.testing.assert_array_equal(make()(x), make(fn=lambda x: (x[:, 0] * x[:, 1])[:, None])(x))


@pytest.mark.parametrize(
    "fields, pattern",
    [
        ({"fn": 3}, "fn = 3; required a callable"),
        ({"modulus": 1.0}, "modulus = 1.0; required a callable"),
        ({"tail": "x"}, "tail = 'x'; required a callable"),
        ({"name": 3}, "name = 3; required text"),
        ({"dim_in": 0}, "dim_in = 0"),
        ({"dim_in": 2.5}, "dim_in = 2.5; required an integer"),
        ({"dim_out": -1}, "dim_out = -1"),
        ({"domain": Box.cube(3, 1.0)}, r"required a Box or Ball of R\^2"),
        ({"domain": WholeSpace(2)}, r"required a Box or Ball of R\^2"),
        ({"domain": None}, r"domain = None; required a Box or Ball of R\^2"),
        ({"lipschitz": 0.0}, "lipschitz = 0.0; required lipschitz > 0"),
        ({"lipschitz": -1.0}, "lipschitz = -1.0"),
        ({"lipschitz": math.inf}, "lipschitz = inf; required a finite"),
        ({"lipschitz": math.nan}, "lipschitz = nan; required a finite"),
        ({"lipschitz": "1"}, "lipschitz = '1'; required a real number"),
        ({"lipschitz_source": "guessed"}, "one of claimed, estimated, proved"),
        ({"tail": lambda r: 0.0}, "tail without affine"),
        ({"residual_lipschitz": 1.0}, "residual_lipschitz without affine"),
        ({"affine": np.eye(2)}, "required an AffineMap or None"),
        ({"affine": AffineMap.constant([0.0], 3)}, r"affine: R\^3 -> R\^1; required R\^2 -> R\^1"),
        ({"affine": AffineMap.constant([0.0], 2), "residual_lipschitz": 0.0}, "residual_lipschitz = 0.0"),
    ],
)
def test_malformed_fields_are_refused(fields, pattern):
    with pytest.raises((ValueError, TypeError), match=pattern):
        make(**fields)


@pytest.mark.parametrize(
    "fn, pattern",
    [
        (lambda x: x[:, 0][:-1], r"values of shape \(2,\) from fn at 3 points; required shape \(3, 1\)"),
        (lambda x: x, r"values of shape \(3, 2\).*Pass dim_out=2"),
        (lambda x: 1.0, r"values of shape \(\)"),
        (lambda x: x[:, 0] * 1j, "complex128"),
        (lambda x: np.where(x[:, 0] > 0.5, np.nan, 0.0), r"f\(\[0.75, 0.0\]\) = \[nan\].*Change fn"),
        (lambda x: 1 / (x[:, 0] - 0.75), r"f\(\[0.75, 0.0\]\) = \[inf\]"),
    ],
)
def test_bad_values_are_named(fn, pattern):
    with pytest.raises((ValueError, TypeError), match=pattern):
        make(fn=fn)([[0.0, 0.0], [0.75, 0.0], [0.8, 0.0]])


def test_a_bad_value_outside_the_domain_says_so():
    with pytest.raises(ValueError, match=r"outside the domain \[-1, 1\]\^2"):
        make(fn=lambda x: np.where(x[:, 0] > 1, np.nan, 0.0))([2.0, 0.0])


@pytest.mark.parametrize("x", [[1.0], [[1.0, 2.0, 3.0]], 1.0, [[math.nan, 0.0]], "ab"])
def test_bad_points_are_refused(x):
    with pytest.raises((ValueError, TypeError), match="target 'f': received"):
        make()(x)


def test_fn_cannot_change_the_callers_array():
    def greedy(x):
        x *= 2
        return x[:, 0]

    x = np.ones((3, 2))
    with pytest.raises(ValueError, match="read-only"):
        make(fn=greedy)(x)
    assert (x == 1).all()


@pytest.mark.parametrize("slope", [1e-9, 0.3, 1.0, 7.0, 1e9])
@pytest.mark.parametrize("eps", [1e-6, 0.1, 3.0])
def test_radius_for_inverts_the_linear_modulus(slope, eps):
    f = make(lipschitz=slope)
    radius = f.radius_for(eps)
    assert f.variation(radius) <= eps < f.variation(np.nextafter(radius, np.inf))
    assert radius == pytest.approx(eps / slope, rel=1e-15)


def test_radius_for_other_moduli():
    root = make(lipschitz=None, modulus=np.sqrt)
    assert root.radius_for(0.5) == pytest.approx(0.25, rel=1e-15)
    assert make(modulus=lambda r: np.minimum(r, 1.0)).radius_for(1.0) == math.inf
    with pytest.raises(ValueError, match=r"modulus\(0\+\) > 0.5"):
        make(modulus=lambda r: 1.0).radius_for(0.5)
    with pytest.raises(ValueError, match="no Lipschitz constant"):
        make(lipschitz=None).radius_for(0.5)
    with pytest.raises(ValueError, match=r"eps = 0; required eps > 0"):
        make().radius_for(0)


def test_replacing_the_constant_replaces_its_modulus():
    assert replace(make(), lipschitz=5.0).variation(2.0) == 10.0
    assert replace(make(modulus=np.sqrt), lipschitz=5.0).variation(4.0) == 2.0


def test_residual_lipschitz_defaults_to_the_triangle_inequality():
    f = make(affine=AffineMap([[3.0, 4.0]], [0.0]))
    assert f.residual_lipschitz == pytest.approx(2.0 + 5.0)


def test_with_domain_keeps_to_what_is_known():
    compact = make()
    assert compact.with_domain(Ball([0.0, 0.0], 0.5)).domain == Ball([0.0, 0.0], 0.5)
    for wider in (Box.cube(2, 1.5), Ball([0.5, 0.0], 1.0)):
        with pytest.raises(ValueError, match=r"a domain inside \[-1, 1\]\^2"):
            compact.with_domain(wider)
    round_one = make(domain=Ball([0.0, 0.0], 1.0))
    assert round_one.with_domain(Box.cube(2, 0.7)).domain == Box.cube(2, 0.7)
    assert round_one.with_domain(Ball([0.5, 0.0], 0.5)).domain.radius == 0.5
    for wider in (Box.cube(2, 0.71), Ball([0.5, 0.0], 0.51)):
        with pytest.raises(ValueError, match="a domain inside ball of radius 1"):
            round_one.with_domain(wider)
    assert gaussian().with_domain(Box.cube(2, 50.0)).lipschitz == gaussian().lipschitz
    with pytest.raises(ValueError, match=r"a Box or Ball of R\^2"):
        gaussian().with_domain(Box.cube(3, 1.0))


def test_repr_states_the_facts():
    text = repr(gaussian(dim=3))
    assert text.startswith("Target 'gaussian': R^3 -> R^1 on [-3, 3]^3")
    assert "0.857764 (proved)" in text and "a constant map at infinity, with a bound on the tail" in text
    assert "unknown" in repr(make(lipschitz=None))
    assert "with a modulus of continuity" in repr(make(lipschitz=None, modulus=np.sqrt))
    assert "values in m, coordinates in km" in repr(make(unit="m", axis_unit="km"))


# Targets from callables


def test_from_numpy_passes_facts_on():
    f = from_numpy(
        lambda x: x * 2 + 1, 2, 2, domain=Box.cube(2, 1.0), lipschitz=2.0, affine=AffineMap(2 * np.eye(2), [1.0, 1.0])
    )
    assert f.lipschitz_source == "claimed" and f.residual_lipschitz == pytest.approx(4.0)
    np.testing.assert_array_equal(f([1.0, 2.0]), [3.0, 5.0])


def test_from_numpy_estimates_a_missing_constant():
    f = from_numpy(lambda x: x @ [3.0, 4.0], 2, domain=Box.cube(2, 1.0))
    assert f.lipschitz_source == "estimated" and f.lipschitz == pytest.approx(5.5, rel=1e-6)
    assert from_numpy(lambda x: x[:, 0], 1, domain=Box.cube(1, 1.0), modulus=np.abs).lipschitz is None


@pytest.mark.parametrize(
    "fn, pattern",
    [
        (lambda x: math.exp(-(x[0] ** 2)), "fails at 5 points.*TypeError"),
        (lambda x: np.exp(-(x[0] ** 2) - x[1] ** 2), "required shape"),
        (lambda x: np.exp(-np.sum(x**2)), "required shape"),
        (lambda x: np.full(len(x), x.sum()), "depends on the other points of the batch"),
        (lambda x: np.squeeze(x[:, :1] * np.ones((1, 3))), "required shape"),
        (lambda x: None, "fails at 5 points"),
        (lambda x: x[:, 7], "IndexError"),
        (lambda x: np.log(x[:, 0]), "nan.*required finite values"),
        (lambda x: 1.0, r"^target 'f': received values of shape \(\) from fn at 5 points; [^;]*one value a row\.$"),
        (lambda x: x, r"^target 'f': received values of shape \(5, 2\) [^;]*; [^;]*Pass dim_out=2, [^;]*$"),
    ],
)
def test_from_numpy_refuses_unvectorised_or_failing_functions(fn, pattern):
    with pytest.raises(ValueError, match=pattern):
        from_numpy(fn, 2, domain=Box.cube(2, 1.0))


def test_from_torch_matches_its_callable_and_needs_no_gradient():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3)).double()
    f = from_torch(model, 2, 3, domain=Box.cube(2, 1.0))
    x = f.domain.sample(17)
    np.testing.assert_array_equal(f(x), model(torch.tensor(x)).detach().numpy())
    assert f.lipschitz_source == "estimated"
    weights = [p.detach().numpy() for p in model.parameters()]
    assert f.lipschitz <= 1.1 * np.linalg.norm(weights[0], 2) * np.linalg.norm(weights[2], 2)


def test_from_torch_says_what_to_do_with_a_float32_module():
    with pytest.raises(ValueError, match=r"required fn of float64 tensors. Convert the module with .double\(\)"):
        from_torch(torch.nn.Linear(2, 1), 2, domain=Box.cube(2, 1.0))
    assert from_torch(torch.nn.Linear(2, 1).double(), 2, domain=Box.cube(2, 1.0))([0.0, 0.0]).shape == (1,)


def test_from_torch_refuses_what_is_no_torch_function():
    with pytest.raises(TypeError, match="fn = 3; required a callable"):
        from_torch(3, 2, domain=Box.cube(2, 1.0))
    with pytest.raises(ValueError, match="ndarray from fn; required a tensor"):
        from_torch(lambda x: np.zeros(len(x)), 2, domain=Box.cube(2, 1.0))
    drop = torch.nn.Dropout(0.5)  # in training mode: random
    with pytest.raises(ValueError, match="eval mode"):
        from_torch(lambda x: drop(x.sum(1)), 2, domain=Box.cube(2, 1.0))


def test_targets_travel_between_processes():
    f = pickle.loads(pickle.dumps(from_torch(torch.sin, 1, domain=Box.cube(1, 1.0), lipschitz=1.0)))
    assert f([0.5])[0] == math.sin(0.5) and f.radius_for(0.1) == 0.1
