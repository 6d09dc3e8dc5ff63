"""From a network and its target to a page."""

from __future__ import annotations

import base64
import html
import json
import os
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from approx import _checks
from approx.covers import Cover
from approx.domains import Ball, Box
from approx.export._plan import Plan, plan_of
from approx.networks import RadialNetwork
from approx.storage import replacing
from approx.targets import Target
from approx.targets._target import require_target

__all__ = ["page", "write_page"]

_WORK = 2e9  # multiply-adds that the browser may spend before the picture is complete: a few seconds
_SIDE = (48, 300)
_LINE = 2000
_MOST_BYTES = 64_000_000
_PARTS = ("page.css", "network.js", "grid.js", "picture.js", "page.js")


def page(
    network: RadialNetwork,
    target: Target,
    *,
    cover: Cover | None = None,
    eps: float | None = None,
    domain: Box | Ball | None = None,
    through: ArrayLike | None = None,
    note: str = "",
) -> str:
    """The HTML text of a page that shows a network and its target, with the weights evaluated in the browser.

    cover : with it, the page paints one cell after another on the cover's affine map
    eps : the tolerance, drawn as a band or named in the scale
    domain : what is shown, by default the target's domain; in more than two dimensions the plane of the first two
        coordinates through `through` (default: the middle)
    note : a line of text, such as the theorem

    The target is stored at the points of the picture, where its values are exact: 2000 on a line, 300 x 300 on a plane,
    fewer for a network that takes long. Everything is computed in float64; a float32 network shows what its weights
    give there. Raises TypeError or ValueError for things that do not fit together, and for more than 64 MB of weights.

    >>> from approx import targets
    >>> text = page(RadialNetwork.from_layers([([[1.0]], [0.0], None)]), targets.gaussian(dim=1))
    >>> text.startswith("<!doctype html>"), "http" in text
    (True, False)
    """
    call = "page"
    plan = plan_of(call, network)
    require_target(call, target)
    for name, other in (("target", target), ("cover", cover)):
        if other is not None and (other.dim_in, other.dim_out) != (network.dim_in, network.dim_out):
            received = f"a {name} R^{other.dim_in} -> R^{other.dim_out}"
            required = f"R^{network.dim_in} -> R^{network.dim_out}, as the network"
            raise ValueError(_checks.message(call, received, required, f"Pass the {name} of this network."))
    eps = None if eps is None else _checks.positive(call, "eps", eps)
    domain = target.domain if domain is None else domain
    if not isinstance(domain, Box | Ball) or domain.dim != network.dim_in:
        required = f"a Box or Ball of R^{network.dim_in}"
        raise ValueError(_checks.message(call, f"domain = {_checks.show(domain)}", required, "Pass what to show."))
    size = sum(array.nbytes for array in plan.arrays().values())
    if size > _MOST_BYTES:
        action = "Show a network built with a larger eps."
        raise ValueError(_checks.message(call, f"{size:,} bytes of weights", f"at most {_MOST_BYTES:,}", action))
    box = domain.bounding_box()
    middle = (box.lower + box.upper) / 2
    through = middle if through is None else _checks.finite_array(call, "through", through, (box.dim,))
    drawn = min(box.dim, 2)
    counts = [_LINE if drawn == 1 else _side(plan)] * drawn
    axes = [
        low + width * (np.arange(count) + 0.5) / count
        for low, width, count in zip(box.lower, box.widths, counts, strict=False)
    ]
    points = np.tile(through, (int(np.prod(counts)), 1))
    points[:, :drawn] = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, drawn)  # rows upwards, x1 runs fastest
    inside = domain.contains(points)
    if not inside.any():
        received = f"a slice through {_checks.show(through.tolist())} that misses {domain}"
        raise ValueError(_checks.message(call, received, "a slice with something to see", "Move `through` inside."))
    values = np.full((len(points), network.dim_out), np.nan)
    values[inside] = target(points[inside])
    data = {
        "plan": json.loads(plan.header()),
        "arrays": {name: _packed(array) for name, array in plan.arrays().items()},
        "name": target.name,
        "note": note,
        "unit": target.unit,
        "axis_unit": target.axis_unit,
        "network": repr(network),
        "eps": eps,
        "lower": box.lower.tolist(),
        "upper": box.upper.tolist(),
        "through": through.tolist(),
        "axes": [_packed(axis) for axis in axes],
        "target": _packed(values),
        "paints": cover is not None and plan.steps[0].activation == {"name": "step_relu"},
        "cells": 0 if cover is None else len(cover),
        "affine": None if cover is None else [cover.affine.matrix.tolist(), cover.affine.offset.tolist()],
    }
    return _assemble(target.name, data)


def write_page(path: str | os.PathLike[str], network: RadialNetwork, target: Target, **options: Any) -> None:
    """Write `page(network, target, ...)` to a file, which appears once it is complete.

    >>> import tempfile
    >>> import constructions
    >>> from approx.targets import gaussian
    >>> built = constructions.build(gaussian(dim=1), 0.2, verify=False)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_page(f"{folder}/gaussian.html", built.network, built.target)
    ...     os.listdir(folder)
    ['gaussian.html']
    """
    text = page(network, target, **options)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _side(plan: Plan) -> int:
    cost = sum(array.size for array in plan.arrays().values()) / 2  # half the layers until a cell captures a point
    return int(np.clip(np.sqrt(_WORK / cost), *_SIDE))


def _packed(array: NDArray) -> dict[str, Any]:
    """An array as shape and base64 of little-endian float64; everything is computed in float64."""
    data = base64.b64encode(np.ascontiguousarray(array, "<f8").tobytes()).decode()
    return {"shape": list(array.shape), "data": data}


def _assemble(title: str, data: dict[str, Any]) -> str:
    folder = resources.files("approx.render")
    parts = {name: (folder / name).read_text(encoding="utf-8") for name in _PARTS}
    text = (folder / "page.html").read_text(encoding="utf-8")
    embedded = json.dumps(data, allow_nan=False).replace("<", "\\u003c")  # no text can end the script element
    for mark, content in {**parts, "title": html.escape(title), "data": embedded}.items():
        before, after = text.split("{{" + mark + "}}")
        text = before + content + after
    return text
