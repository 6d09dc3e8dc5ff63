"""Every public name has a runnable example in its docstring; the examples themselves run as doctests."""

import inspect

import approx
import constructions
from approx import plotting


def public(module, prefix, seen):
    """(full name, object) of everything that `__all__` offers, module by module."""
    for name in module.__all__:
        value = getattr(module, name)
        if inspect.ismodule(value):
            if value.__name__ not in seen:
                seen.add(value.__name__)
                yield from public(value, f"{prefix}.{name}", seen)
        else:
            yield f"{prefix}.{name}", value


def everything():
    for module in (approx, plotting, constructions):
        yield from public(module, module.__name__, {module.__name__})


def has_example(value):
    """In its docstring or, for a class, in that of a method or of a class that it extends."""
    if not inspect.isclass(value):
        return ">>>" in (inspect.getdoc(value) or "")
    ours = [base for base in value.__mro__ if base.__module__.startswith(("approx", "constructions"))]
    holders = [*ours, *(member for name, member in vars(value).items() if name[0] != "_")]
    return any(">>>" in (getattr(holder, "__doc__", None) or "") for holder in holders)


def test_every_public_function_and_class_has_an_example():
    names = {name: value for name, value in everything() if callable(value)}
    assert len(names) > 100
    assert [name for name, value in names.items() if not has_example(value)] == []


def test_the_walk_finds_names_at_every_depth():
    names = {name for name, _ in everything()}
    assert {"approx.Cover", "approx.targets.gaussian", "approx.plotting.overview", "constructions.build"} <= names
    assert has_example(approx.Cover)
    assert not has_example(everything)
