"""Targets from data: gridded values, scattered samples, and files of either."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from approx import _checks
from approx.domains import Ball, Box
from approx.targets._grid import GridInterpolant
from approx.targets._samples import LipschitzInterpolant, largest_slopes
from approx.targets._target import Target, usable_slope

__all__ = ["from_file", "from_grid", "from_samples"]

Array = NDArray[np.float64]
MAX_SAMPLES = 20_000
MAX_GRID_DIM = 6
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")
SUFFIXES = (".npy", ".npz", ".csv", *IMAGE_SUFFIXES)


def from_grid(
    values: ArrayLike,
    *,
    lower: ArrayLike | None = None,
    upper: ArrayLike | None = None,
    axes: Sequence[ArrayLike] | None = None,
    vector: bool = False,
    name: str = "grid",
    unit: str = "",
    axis_unit: str = "",
    commentary: str = "",
) -> Target:
    """The multilinear interpolant of values at the nodes of a grid, on the box the nodes span.

    values (k1, ..., kn), or (k1, ..., kn, m) with vector=True; axis 0 is x1. The nodes are evenly spaced from lower
    (n,) to upper (n,), or the increasing coordinates in `axes` (n arrays), or by default 0, 1, 2, ... in every axis.
    The Lipschitz constant is that of the interpolant, exact; outside the box there is no value. Raises ValueError or
    TypeError for fewer than two nodes in an axis, NaN, or nodes that do not increase.

    >>> f = from_grid([[0.0, 1.0], [2.0, 5.0]], lower=[0, 0], upper=[1, 1])
    >>> f([0.5, 0.5]), round(f.lipschitz, 9)
    (array([2.]), 5.0)
    """
    call = "from_grid"
    array = _checks.real_array(call, "values", values)
    array = _checks.finite_array(call, "values", array, (None,) * array.ndim)
    if not vector:
        array = array[..., None]
    shape = array.shape[:-1]
    if not 1 <= len(shape) <= MAX_GRID_DIM or min(shape) < 2 or array.shape[-1] < 1:
        required = f"at least 2 nodes in each of 1 to {MAX_GRID_DIM} axes"
        action = "Give more nodes; for scattered points use from_samples."
        raise ValueError(_checks.message(call, f"values of shape {np.shape(values)}", required, action))
    if axes is not None:
        if lower is not None or upper is not None:
            received = "axes together with lower or upper"
            raise ValueError(_checks.message(call, received, "one of the two", "Pass axes alone."))
        if len(axes) != len(shape):
            received = f"{len(axes)} axes for values with {len(shape)}"
            raise ValueError(_checks.message(call, received, "one array per axis", "Match axes to values.shape."))
        nodes = tuple(
            _checks.finite_array(call, f"axes[{i}]", axis, (count,))
            for i, (axis, count) in enumerate(zip(axes, shape, strict=True))
        )
        for i, axis in enumerate(nodes):
            if not (np.diff(axis) > 0).all():
                required = "increasing coordinates"
                raise ValueError(_checks.message(call, f"axes[{i}] that does not increase", required, "Sort the grid."))
    else:
        if (lower is None) != (upper is None):
            received = "only one of lower and upper"
            raise ValueError(_checks.message(call, received, "both or neither", "Give the other corner of the box."))
        box = Box(np.zeros(len(shape)) if lower is None else lower, np.array(shape) - 1.0 if upper is None else upper)
        if box.dim != len(shape):
            received = f"a box of R^{box.dim} for values with {len(shape)} axes"
            raise ValueError(_checks.message(call, received, "one bound per axis", "Match the box to values.shape."))
        nodes = tuple(np.linspace(a, b, k) for a, b, k in zip(box.lower, box.upper, shape, strict=True))
    surface = GridInterpolant(nodes, array.copy())
    domain = Box([axis[0] for axis in nodes], [axis[-1] for axis in nodes])
    with np.errstate(over="ignore", invalid="ignore"):
        slope = surface.lipschitz()
    if not math.isfinite(slope):
        action = "Rescale values or coordinates."
        raise ValueError(_checks.message(call, "slopes that overflow", "finite slopes", action))
    return Target(
        fn=surface,
        dim_in=len(shape),
        dim_out=array.shape[-1],
        domain=domain,
        name=name,
        lipschitz=usable_slope(slope, domain, float(np.abs(array).max())),
        enclosure=surface.enclose,
        lipschitz_source="proved",
        commentary=commentary or f"Multilinear interpolant of {' x '.join(map(str, shape))} gridded values.",
        unit=unit,
        axis_unit=axis_unit,
    )


def from_samples(
    points: ArrayLike,
    values: ArrayLike,
    *,
    domain: Box | Ball | None = None,
    name: str = "samples",
    unit: str = "",
    axis_unit: str = "",
    commentary: str = "",
) -> Target:
    """The central Lipschitz interpolant of scattered samples: points (k, n), values (k,) or (k, m), k <= 20000.

    Of all functions that take the samples' values and are no steeper than the steepest pair of samples, it is the
    midpoint (componentwise for m > 1; its Lipschitz constant is exact for m = 1 and a bound otherwise). It is defined
    on all of R^n; `domain` is by default the points' bounding box, widened where they all agree in a coordinate.
    Evaluation costs k distances per point. Raises ValueError for NaN, fewer than two distinct points, too many
    points, or two values at the same point.

    >>> f = from_samples([[0.0], [1.0], [3.0]], [0.0, 2.0, 1.0])
    >>> f([[0.0], [1.0], [3.0]]).ravel(), f.lipschitz
    (array([0., 2., 1.]), 2.0)
    """
    call = "from_samples"
    x = _checks.real_array(call, "points", points)
    if x.ndim != 2:
        action = "Put one point in each row; for n = 1 pass points[:, None]."
        raise ValueError(_checks.message(call, f"points of shape {x.shape}", "shape (k, n)", action))
    x = _checks.finite_array(call, "points", x, (None, None))
    y = _checks.real_array(call, "values", values)
    if y.ndim not in (1, 2) or len(y) != len(x):
        action = "Pass one value for each point."
        required = f"shape ({len(x)},) or ({len(x)}, m), as many as points"
        raise ValueError(_checks.message(call, f"values of shape {y.shape}", required, action))
    y = _checks.finite_array(call, "values", y[:, None] if y.ndim == 1 else y, (len(x), None))
    if len(x) > MAX_SAMPLES:
        action = "Thin the samples, or use from_grid if they lie on a grid."
        raise ValueError(_checks.message(call, f"{len(x)} samples", f"at most {MAX_SAMPLES}", action))
    if not x.shape[1] or not y.shape[1]:
        required = "at least one coordinate and one value"
        raise ValueError(_checks.message(call, f"shapes {x.shape}, {y.shape}", required, "Check the columns."))
    x, first, label = np.unique(x + 0.0, axis=0, return_index=True, return_inverse=True)
    clash = (y != y[first][label.ravel()]).any(axis=1)
    if clash.any():
        row = int(np.argmax(clash))
        received = f"two values at the point {x[label.ravel()[row]].tolist()}"
        raise ValueError(_checks.message(call, received, "one value per point", "Average or drop the repeats."))
    y = y[first]
    if len(x) < 2:
        received = f"{len(x)} distinct points"
        raise ValueError(_checks.message(call, received, "at least 2", "Give more samples."))
    with np.errstate(over="ignore"):
        slopes = largest_slopes(x, y)
    if not np.isfinite(slopes).all():
        action = "Merge points that almost coincide, or rescale."
        raise ValueError(_checks.message(call, "slopes that overflow", "finite slopes", action))
    if domain is None:
        low, high = x.min(axis=0), x.max(axis=0)
        half = np.where(high > low, 0.0, 0.5 * (high - low).max())
        domain = Box(low - half, high + half)
    surface = LipschitzInterpolant(x, y, slopes)
    return Target(
        fn=surface,
        dim_in=x.shape[1],
        dim_out=y.shape[1],
        domain=domain,
        name=name,
        lipschitz=usable_slope(float(np.linalg.norm(slopes)), domain, float(np.abs(y).max())),
        enclosure=surface.enclose,
        lipschitz_source="proved",
        commentary=commentary or f"Central Lipschitz interpolant of {len(x)} samples.",
        unit=unit,
        axis_unit=axis_unit,
    )


def from_file(path: str | Path, *, domain: Box | Ball | None = None) -> Target:
    """The target held by a data file; `domain` narrows it (samples may also widen it).

    - ``.npy``: gridded values. ``.npz``: ``values`` with optional ``lower`` and ``upper`` (a grid), or ``points`` and
      ``values`` (samples), or one array under any name (a grid). Pickled objects are refused.
    - ``.csv`` without a header: a matrix of gridded values, row = x1; one column is a grid of R^1. With a header
      ``x1,...,xn`` or ``x,y,z``, then ``value`` or ``y1,...,ym``: samples, one a row.
    - images: grey level in [0, 1], x to the right and y up, on [0, width/height] x [0, 1].

    Raises ValueError when the file is missing, damaged, empty, or holds something else.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "heights.csv"
    ...     _ = path.write_text("1,2,3\\n2,4,8\\n")
    ...     print(from_file(path))
    Target 'heights': R^2 -> R^1 on [0, 1] x [0, 2]
    ...
    """
    call = "from_file"
    if not isinstance(path, str | Path):
        raise TypeError(_checks.message(call, f"path = {_checks.show(path)}", "a file path", "Pass a str or a Path."))
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        action = f"Save the data as one of {', '.join(SUFFIXES)}."
        raise ValueError(_checks.message(call, f"file {str(path)!r}", "a known file type", action))
    if not path.is_file():
        received = f"{str(path)!r}, which is {'not a file' if path.exists() else 'missing'}"
        raise ValueError(_checks.message(call, received, "an existing data file", "Check the path."))
    if path.stat().st_size == 0:
        raise ValueError(_checks.message(call, f"{str(path)!r}, which is empty", "data", "Write the file again."))
    try:
        if suffix == ".csv":
            held = _read_csv(path)
        elif suffix in IMAGE_SUFFIXES:
            held = _read_image(path)
        else:
            held = _read_numpy(path)
    except _Unreadable as error:
        raise ValueError(_checks.message(call, f"{str(path)!r} with {error}", error.required, error.action)) from None
    try:
        if "points" in held:
            return from_samples(**held, name=path.stem, domain=domain)
        target = from_grid(**held, name=path.stem)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{call}({str(path)!r}): {error}") from None
    return target if domain is None else target.with_domain(domain)


class _Unreadable(Exception):
    """Why a file could not be read; becomes one error message that names the file."""

    def __init__(self, found: str, required: str, action: str):
        super().__init__(found)
        self.required = required
        self.action = action


def _read_numpy(path: Path) -> dict[str, Any]:
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {"values": loaded}
        with loaded:
            arrays = {name: loaded[name] for name in loaded.files}
    except Exception as error:  # zipfile, zlib, header and pickle errors: numpy lets many types through
        found = f"contents numpy cannot read ({type(error).__name__}: {_checks.show(str(error))})"
        raise _Unreadable(found, "plain arrays, as np.save and np.savez write them", "Write the file again.") from None
    names = set(arrays)
    if names == {"points", "values"} or {"values"} <= names <= {"values", "lower", "upper"}:
        return arrays
    if len(arrays) == 1:
        return {"values": next(iter(arrays.values()))}
    found = f"arrays named {', '.join(sorted(names)) or 'nothing'}"
    raise _Unreadable(found, "values[, lower, upper], or points and values, or one array", "Rename the arrays.")


def _read_csv(path: Path) -> dict[str, Any]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            rows = [[cell.strip() for cell in row] for row in csv.reader(stream) if any(cell.strip() for cell in row)]
    except (UnicodeDecodeError, csv.Error) as error:
        found = f"contents that are no csv ({_checks.show(str(error))})"
        raise _Unreadable(found, "comma-separated numbers", "Save it as utf-8 csv.") from None
    if not rows:
        raise _Unreadable("no rows", "comma-separated numbers", "Write the file again.")
    if len(rows[0]) == 1 and any(mark in rows[0][0] for mark in ";\t"):
        raise _Unreadable("columns separated by semicolons or tabs", "commas", "Save it with commas between cells.")
    rows[0][0] = rows[0][0].lstrip("# ")  # as numpy.savetxt writes its header
    header = None if any(_is_number(cell) for cell in rows[0]) else rows.pop(0)
    width = len(header) if header else len(rows[0])
    table = np.empty((len(rows), width))
    for i, row in enumerate(rows):
        line = f"data row {i + 1}"
        if len(row) != width:
            raise _Unreadable(f"{len(row)} cells in {line}", f"{width} cells in every row", "Fill the gaps.")
        for j, cell in enumerate(row):
            if not _is_number(cell):
                found = f"{_checks.show(cell)} in {line}, column {j + 1}"
                raise _Unreadable(found, "a number in every cell", "Correct that cell.")
            table[i, j] = float(cell)
    if header is None:
        return {"values": table[:, 0] if width == 1 else table}
    names = [name.lower() for name in header]
    split = _count_coordinates(names)
    return {"points": table[:, :split], "values": table[:, split:]}


def _count_coordinates(names: list[str]) -> int:
    """How many leading columns of a csv of samples are coordinates."""
    for split in range(1, len(names)):
        points, values = names[:split], names[split:]
        numbered = points == [f"x{i + 1}" for i in range(split)]
        lettered = points == ["x", "y", "z"][:split]
        valued = values == ["value"] or values == [f"y{j + 1}" for j in range(len(values))]
        if (numbered or lettered) and valued:
            return split
    required = "columns x1,...,xn or x,y,z, then value or y1,...,ym"
    raise _Unreadable(f"the header {_checks.show(','.join(names))}", required, "Rename the columns.")


def _is_number(cell: str) -> bool:
    return re.fullmatch(r"[+-]?(\d+\.?\d*([eE][+-]?\d+)?|\.\d+([eE][+-]?\d+)?|nan|inf(inity)?)", cell, re.I) is not None


def _read_image(path: Path) -> dict[str, Any]:
    from PIL import Image

    try:
        with Image.open(path) as image:
            if image.mode.startswith("I"):  # 16-bit grey
                grey = np.asarray(image, dtype=np.float64) / 65535
            else:
                red, green, blue, alpha = np.moveaxis(np.asarray(image.convert("RGBA"), dtype=np.float64), -1, 0) / 255
                luminance = 0.299 * red + 0.587 * green + 0.114 * blue
                grey = luminance * alpha + (1 - alpha)  # over white
    except Exception as error:  # damaged files make PIL raise OSError, SyntaxError, ValueError and its own types
        found = f"contents that are no image ({type(error).__name__}: {_checks.show(str(error))})"
        raise _Unreadable(found, "a picture", "Save the picture again.") from None
    height, width = grey.shape
    return {"values": np.clip(grey[::-1].T, 0.0, 1.0), "lower": [0.0, 0.0], "upper": [width / height, 1.0]}
