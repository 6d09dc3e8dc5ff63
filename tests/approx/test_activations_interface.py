"""Radial activations: names, configurations, shifts as parameters, subclasses and error messages."""

from __future__ import annotations

import copy
import json
import math

import numpy as np
import pytest
import torch
from torch import nn

from approx.activations import (
    RadialActivation,
    RadialIdentity,
    RadialSigmoid,
    RadialSwish,
    RationalSquash,
    ShiftedReLU,
    ShiftedSigmoid,
    Squashing,
    StepReLU,
    activation,
    activation_names,
    from_config,
)

SHIFTED = ("shifted_relu", "shifted_sigmoid", "radial_softplus")
per_activation = pytest.mark.parametrize("rho", [activation(name) for name in activation_names()], ids=str)


def points(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)


class TestRegistry:
    @pytest.mark.parametrize("name", activation_names())
    def test_config_round_trip_through_json(self, name):
        rho = activation(name)
        assert rho.name == name and type(rho).__name__.lower() == name.replace("_", "")
        again = from_config(json.loads(json.dumps(rho.config())))
        assert type(again) is type(rho) and again.config() == rho.config()
        assert torch.equal(again(points(9, 3)), rho(points(9, 3)))

    @pytest.mark.parametrize("name", SHIFTED)
    def test_shift_round_trip(self, name):
        assert activation(name, shift=0.1).config() == {"name": name, "shift": 0.1}
        rho = activation(name, shift=0.1, trainable=True)
        with torch.no_grad():
            rho.shift.fill_(1 / 3)
        assert rho.config() == {"name": name, "shift": 1 / 3, "trainable": True}
        again = from_config(json.loads(json.dumps(rho.config())))
        assert isinstance(again.shift, nn.Parameter) and again.shift.item() == 1 / 3

    @pytest.mark.parametrize(
        ("alias", "kind"),
        [
            ("Step-ReLU", StepReLU),
            ("escnn_squash", RationalSquash),
            ("capsule squash", Squashing),
            ("n_relu", ShiftedReLU),
            ("swish", RadialSwish),
            ("identity", RadialIdentity),
            ("RadialSigmoid", RadialSigmoid),
        ],
    )
    def test_aliases(self, alias, kind):
        assert type(activation(alias)) is kind

    @pytest.mark.parametrize("name", ["squash", "", "relu\n" * 1000, "__class__", None, 3])
    def test_unknown_names(self, name):
        with pytest.raises(ValueError, match=r"received name = .* required one of .*step_relu.*escnn_squash"):
            activation(name)

    def test_wrong_parameters(self):
        with pytest.raises(TypeError, match=r"received parameters shift; required for step_relu at most the name"):
            activation("step_relu", shift=1.0)
        with pytest.raises(TypeError, match=r"received parameters bias, shift; .* at most shift and trainable"):
            activation("shifted_relu", shift=1.0, bias=2.0)

    @pytest.mark.parametrize("shift", [math.nan, math.inf])
    def test_shift_must_be_finite(self, shift):
        with pytest.raises(ValueError, match=r"ShiftedReLU: received shift = .* required a finite shift"):
            ShiftedReLU(shift)

    @pytest.mark.parametrize("shift", ["1", None, True, 1j, [1.0]])
    def test_shift_must_be_a_number(self, shift):
        with pytest.raises(TypeError, match=r"ShiftedReLU: received shift = .* required a real number"):
            from_config({"name": "shifted_relu", "shift": shift})

    def test_trainable_must_be_a_truth_value(self):
        with pytest.raises(TypeError, match=r"received trainable = 'no'; required True or False"):
            from_config({"name": "shifted_relu", "trainable": "no"})

    @pytest.mark.parametrize("config", [None, "step_relu", ["name"], {1: 2}])
    def test_configs_that_are_not_dicts_of_names(self, config):
        with pytest.raises(TypeError, match=r"from_config: received .* required a dict"):
            from_config(config)

    def test_config_without_a_name(self):
        with pytest.raises(ValueError, match=r"received name = None; required one of"):
            from_config({})

    def test_unregistered_profiles_cannot_be_saved(self):
        class Steeper(ShiftedReLU):
            """Inherits a registered name, but is another function."""

        for rho in (RadialActivation(torch.tanh), Steeper()):
            with pytest.raises(ValueError, match=r"config: received a profile that is not registered"):
                rho.config()

    def test_repr(self):
        assert repr(ShiftedReLU(0.5, trainable=True)) == "ShiftedReLU(shift=0.5, trainable=True)"
        assert repr(RadialActivation(torch.tanh)) == "RadialActivation(tanh)"
        assert repr(StepReLU()) == "StepReLU()"


class TestTraining:
    @pytest.mark.parametrize("name", SHIFTED)
    def test_shift_at_its_own_kink(self, name):
        rho = activation(name, trainable=True)
        v = torch.tensor([[0.6, 0.8], [0.0, 0.0]], dtype=torch.float64, requires_grad=True)
        rho(v)[:, 1].sum().backward()
        # with t = |v| - shift = 0 the derivatives in t are 1 (from the right), 1/4, 1/2; d/dshift is minus them
        expected = {"shifted_relu": -1, "shifted_sigmoid": -0.25, "radial_softplus": -0.5}[name] * 0.8
        assert rho.shift.grad.item() == pytest.approx(expected, rel=1e-14)

    def test_a_shift_far_above_every_radius(self):
        for name in SHIFTED:
            rho = activation(name, shift=1e5, trainable=True)
            v = points(3, 2).requires_grad_()
            result = rho(v)
            result.sum().backward()
            assert (result == 0).all() and (v.grad == 0).all() and rho.shift.grad == 0

    def test_training_moves_the_shift_to_its_target(self):
        rho, v = ShiftedReLU(0.2, trainable=True), points(200, 3) * 3
        target = ShiftedReLU(0.7)(v)
        optimizer = torch.optim.SGD(rho.parameters(), lr=0.2)
        for _ in range(200):
            optimizer.zero_grad()
            (rho(v) - target).square().sum(dim=1).mean().backward()
            optimizer.step()
        assert rho.shift.item() == pytest.approx(0.7, abs=1e-6)

    def test_a_module_as_profile_is_trained_along(self):
        class Scale(nn.Module):
            def __init__(self):
                super().__init__()
                self.weight = nn.Parameter(torch.tensor(2.0))

            def forward(self, r):
                return self.weight * r

        rho = RadialActivation(Scale())
        assert len(list(rho.parameters())) == 1
        rho(torch.tensor([[3.0, 4.0]])).sum().backward()
        assert rho.h.weight.grad.item() == pytest.approx(7.0)


class TestModule:
    def test_a_subclass_needs_only_h(self):
        class Cubic(RadialActivation):
            limit_factor = math.inf

            def h(self, r):
                return r**3

        assert Cubic()(torch.tensor([0.0, 2.0])).tolist() == [0.0, 8.0]

    def test_fixed_shifts_ignore_the_dtype_of_the_module(self):
        v = points(50, 2)
        assert torch.equal(ShiftedReLU(0.1).float()(v), ShiftedReLU(0.1)(v))
        assert not list(ShiftedReLU(0.1).state_dict())

    def test_trainable_shift_computes_as_the_fixed_one(self):
        for dtype in (torch.float32, torch.float64):
            v = points(50, 2, dtype=dtype)
            with torch.no_grad():
                for rho in (activation(name, trainable=True) for name in SHIFTED):
                    assert torch.equal(rho(v), type(rho)(1.0)(v))
                    assert (
                        rho(v[0]).dtype == rho.profile(v[0, 0].abs()).dtype == rho.factor(v[0, 0].abs()).dtype == dtype
                    )

    def test_copy_and_state_dict(self):
        rho = ShiftedSigmoid(0.3, trainable=True)
        again = ShiftedSigmoid(trainable=True)
        again.load_state_dict(rho.state_dict())
        assert again.config() == rho.config() == copy.deepcopy(rho).config()

    def test_function_transforms(self):
        v = points(4, 3)
        jacobian = torch.func.vmap(torch.func.jacrev(Squashing()))(v)
        r = v.norm(dim=1)[:, None, None]
        along = v[:, :, None] * v[:, None, :] / r**2
        # h'(r) along v, h(r) / r across it
        expected = 2 * r / (1 + r**2) ** 2 * along + r / (1 + r**2) * (torch.eye(3).double() - along)
        torch.testing.assert_close(jacobian, expected, rtol=1e-13, atol=1e-14)


class TestErrors:
    @per_activation
    @pytest.mark.parametrize(
        "v", [torch.ones(2, dtype=torch.int64), torch.ones(2, dtype=torch.complex64), torch.ones(2).bool()], ids=str
    )
    def test_dtypes(self, rho, v):
        with pytest.raises(TypeError, match=r"received v of torch\.\w+; required a tensor of a real floating dtype"):
            rho(v)

    @per_activation
    @pytest.mark.parametrize("v", [[1.0, 2.0], np.ones(2), None, "v" * 1000], ids=lambda v: type(v).__name__)
    def test_not_a_tensor(self, rho, v):
        with pytest.raises(TypeError, match=r"received v = .{,80}; required a tensor of a real floating dtype"):
            rho(v)

    @per_activation
    @pytest.mark.parametrize("shape", [(), (0,), (3, 0)])
    def test_no_coordinates(self, rho, shape):
        with pytest.raises(ValueError, match=r"received v of shape \(.*\); required shape \(\.\.\., d\) with d >= 1"):
            rho(torch.ones(shape))

    @per_activation
    def test_radii(self, rho):
        with pytest.raises(TypeError, match=r"profile: received r = 2\.0; required a tensor"):
            rho.profile(2.0)
        with pytest.raises(TypeError, match=r"factor: received r of torch\.int64; required a tensor"):
            rho.factor(torch.arange(3))

    @pytest.mark.parametrize("h", [lambda r: r.sum(), lambda r: torch.stack([r, r], -1), lambda r: r[:-1]])
    def test_profile_of_another_shape(self, h):
        with pytest.raises(ValueError, match=r"received h\(r\) of shape .* required a real tensor of shape"):
            RadialActivation(h)(torch.ones(4, 2))

    @pytest.mark.parametrize("h", [lambda r: 1.0, lambda r: r.detach().numpy(), lambda r: None, lambda r: r + 1j])
    def test_profile_of_another_type(self, h):
        with pytest.raises(TypeError, match=r"received h\(r\) of type .* required a real tensor of shape"):
            RadialActivation(h)(torch.ones(4, 2))

    @pytest.mark.parametrize("h", [None, 3.0, "tanh", torch.ones(2)])
    def test_profile_must_be_callable(self, h):
        with pytest.raises(TypeError, match=r"RadialActivation: received h = .* required a callable h"):
            RadialActivation(h)

    def test_subclasses_take_no_profile(self):
        with pytest.raises(TypeError, match=r"StepReLU: .* required no h, the class defines it"):
            StepReLU(torch.tanh)
