"""Radial rescalings: rho(v) = h(|v|) v / |v|, rho(0) = 0 (arXiv 2107.02550).

An activation is a profile h on [0, inf); its factor is lambda(r) = h(r) / r. Everything else follows from h:
rho commutes with every orthogonal map, and its Jacobian at v != 0 has the eigenvalue h'(r) along v and lambda(r)
across it. So the Lipschitz constant of rho on R^d is the supremum of |h'| and |h(r) / r|. If h(0) = 0 the mean
value theorem leaves sup |h'|; if h(0) != 0, or h jumps, rho jumps and the constant is infinite.

The same names mean different profiles elsewhere, so a bare "squash" is refused:

* escnn ``squash``: r / (1 + r), here `RationalSquash` or "escnn_squash";
* escnn ``n_relu``: max(0, r - b) with b = exp(log_bias), here `ShiftedReLU` or "n_relu" with shift=b;
* capsule networks' squash: r^2 / (1 + r^2), here `Squashing` or "capsule_squash";
* the paper's own code: eta(r + b), here `ShiftedReLU` or `ShiftedSigmoid` with shift=-b.
"""

from approx.activations._profiles import (
    RadialIdentity,
    RadialSigmoid,
    RadialSoftplus,
    RadialSwish,
    RationalSquash,
    ShiftedReLU,
    ShiftedSigmoid,
    Squashing,
    StepReLU,
)
from approx.activations._radial import RadialActivation
from approx.activations._registry import activation, activation_names, from_config, is_built_in, register

__all__ = [
    "RadialActivation",
    "RadialIdentity",
    "RadialSigmoid",
    "RadialSoftplus",
    "RadialSwish",
    "RationalSquash",
    "ShiftedReLU",
    "ShiftedSigmoid",
    "Squashing",
    "StepReLU",
    "activation",
    "activation_names",
    "from_config",
    "is_built_in",
    "register",
]
