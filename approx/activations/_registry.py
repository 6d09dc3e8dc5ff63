"""Activations by name: those of the package, and those that a program registers so that files can name them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, TypeVar

from approx import _checks
from approx.activations import _profiles
from approx.activations._radial import KINDS, RadialActivation, arguments, class_name, same

__all__ = ["activation", "activation_names", "from_config", "is_built_in", "register"]

Kind = TypeVar("Kind", bound=type[RadialActivation])

_BUILT_IN: dict[str, type[RadialActivation]] = {
    kind.name: kind for kind in (getattr(_profiles, name) for name in _profiles.__all__)
}
_ALIASES: dict[str, type[RadialActivation]] = {
    "capsule_squash": _profiles.Squashing,
    "escnn_squash": _profiles.RationalSquash,
    "identity": _profiles.RadialIdentity,
    "n_relu": _profiles.ShiftedReLU,
    "sigmoid": _profiles.RadialSigmoid,
    "softplus": _profiles.RadialSoftplus,
    "swish": _profiles.RadialSwish,
}
KINDS.update(_BUILT_IN)


def activation(name: str, **parameters: Any) -> RadialActivation:
    """The activation of that name or alias; case, spaces, "-" and "_" do not matter.

    Raises ValueError for an unknown name and TypeError for parameters it does not take.

    >>> activation("Step-ReLU"), activation("n_relu", shift=0.5)
    (StepReLU(), ShiftedReLU(shift=0.5))
    """
    kind = _by_plain_name().get(_plain(name)) if isinstance(name, str) else None
    if kind is None:
        known = [*sorted(KINDS), *sorted(_ALIASES)]
        received, required = f"name = {_checks.show(name)}", f"one of {', '.join(known)}"
        raise ValueError(_checks.message("activation", received, required, _checks.spelling(name, known)))
    takes = arguments(kind)
    if not parameters.keys() <= set(takes):
        received = f"parameters {', '.join(sorted(parameters))}"
        required = f"for {kind.name} at most {' and '.join(takes) or 'the name'}"
        raise TypeError(_checks.message("activation", received, required, "Drop the others."))
    return kind(**parameters)


def activation_names() -> tuple[str, ...]:
    """The names of the activations of the package, sorted, without aliases and without those of `register`.

    >>> activation_names()[:3]
    ('radial_identity', 'radial_sigmoid', 'radial_softplus')
    """
    return tuple(sorted(_BUILT_IN))


def is_built_in(rho: RadialActivation) -> bool:
    """Whether it is one of the package: neither a subclass nor one of `register`.

    >>> from approx.activations import StepReLU
    >>> is_built_in(StepReLU())
    True
    """
    return type(rho) in _BUILT_IN.values()


def from_config(config: Mapping[str, Any]) -> RadialActivation:
    """The activation whose `config()` this is. Raises TypeError or ValueError for anything else.

    >>> from approx.activations import ShiftedReLU
    >>> from_config(ShiftedReLU(0.5).config())
    ShiftedReLU(shift=0.5)
    """
    if not isinstance(config, Mapping) or not all(isinstance(key, str) for key in config):
        required = 'a dict {"name": ...}'
        raise TypeError(_checks.message("from_config", _checks.show(config), required, "Pass what config() gave."))
    parameters = dict(config)
    return activation(parameters.pop("name", None), **parameters)


def register(kind: Kind) -> Kind:
    """Give a class of activations a name that files know it by: a decorator.

    kind : a subclass of RadialActivation that defines `h` and a `name` of its own, a Python identifier. What its
        __init__ takes must be numbers, kept as attributes of the same names (or as parameters of one element); what
        else it holds must be in parameters and buffers.

    Files then hold name, numbers, parameters and buffers, never code: whoever loads one imports the module with the
    class first. They also hold values of h, so that another profile under the same name is refused. `activation`
    takes the name, too. Running the definition again replaces it. What else the package does with own activations:
    train and evaluate with torch, compress, and certify if there is `interval_h`; exports refuse them.

    Returns the class. Raises TypeError for anything else, ValueError for a name that is missing or taken.

    >>> @register
    ... class Capped(RadialActivation):
    ...     name = "capped"
    ...     def __init__(self, cap=1.0):
    ...         super().__init__()
    ...         self.cap = cap
    ...     def h(self, r):
    ...         return r.clamp(max=self.cap)
    >>> activation("capped", cap=2.0)
    Capped(cap=2.0)
    """
    call = "register"
    if not (isinstance(kind, type) and issubclass(kind, RadialActivation) and hasattr(kind, "h")):
        required = "a subclass of RadialActivation that defines h"
        action = "Write class MyActivation(RadialActivation) with a method h."
        raise TypeError(_checks.message(call, _checks.show(kind), required, action))
    name = vars(kind).get("name")
    if not isinstance(name, str) or not name.isidentifier() or not _plain(name):
        received = f"{kind.__name__} with name = {_checks.show(name)}"
        action = 'Write for instance name = "my_activation" in the class.'
        raise ValueError(_checks.message(call, received, "a name of its own, an identifier", action))
    holder = _by_plain_name().get(_plain(name))
    if holder is not None and not same(holder, kind):
        received = f"the name {name!r}, which {class_name(holder)} has"
        raise ValueError(_checks.message(call, received, "a name that is not taken", "Choose another."))
    odd = [str(item) for item in inspect.signature(kind).parameters.values() if item.kind not in _NAMED]
    if odd:
        received = f"{kind.__name__} whose __init__ takes {', '.join(odd)}"
        raise TypeError(_checks.message(call, received, "arguments that have names", "Name each one."))
    for known in [known for known, other in KINDS.items() if same(other, kind)]:
        del KINDS[known]
    KINDS[name] = kind
    return kind


_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def _by_plain_name() -> dict[str, type[RadialActivation]]:
    return {_plain(name): kind for name, kind in (KINDS | _ALIASES).items()}


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())
