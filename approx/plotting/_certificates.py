"""Certificates: how their bounds closed in, where the error is large, and the cells that the upper bound comes from."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from approx import _checks
from approx.certification import Certificate, Pieces, local_bounds, pieces
from approx.domains import Box
from approx.plotting._functions import error_map
from approx.plotting._style import BLUE, GREY, ORANGE, color_bar, coordinates, make_axes, quantity

__all__ = ["bound_map", "bracket_plot", "worst_cell_plot"]

Array = NDArray[np.float64]
_ROOM = 6.0  # of the worst box, drawn about it
_GRID = 300  # per side, for outlines


def bracket_plot(report: Any, ax: Axes | None = None) -> Axes:
    """The certified lower and upper bound over the time of the search, with eps if it is known.

    report : a Certificate
    ax : where to draw; a new pyplot figure if None

    Returns the Axes. Raises TypeError for anything else, ValueError for a certificate whose search took no step.

    >>> import constructions
    >>> from approx import certify, targets
    >>> from matplotlib.figure import Figure
    >>> proof = certify(constructions.build(targets.gaussian(dim=1), 0.2, verify=False), tol=1e-3)
    >>> bracket_plot(proof, Figure().subplots()).get_xlabel()
    'time (s)'
    """
    call = "bracket_plot"
    report = _certificate(call, report)
    if not report.history.shape[1]:
        action = "Ask certify for a smaller tol: this question was decided at once."
        raise ValueError(_checks.message(call, "a certificate without history", "steps of a search", action))
    ax = make_axes(call, ax)
    seconds, lower, upper = report.history
    known = np.isfinite(upper)
    ax.fill_between(seconds[known], lower[known], upper[known], step="post", color=GREY, alpha=0.2, lw=0)
    ax.step(seconds, upper, where="post", color=ORANGE, lw=1.8, label=f"upper bound: {upper[-1]:.6g}")
    ax.step(seconds, lower, where="post", color=BLUE, lw=1.8, label=f"lower bound: {lower[-1]:.6g}")
    if report.eps is not None:
        ax.axhline(report.eps, color="black", ls="--", lw=1, label=f"eps = {report.eps:g}")
    shown = np.concatenate([lower, upper[known], [] if report.eps is None else [report.eps]])
    ax.set_ylim(0, 1.1 * min(shown.max(), 3 * max(upper[-1], report.eps or 0.0)))
    if len(seconds) > 1 and seconds[0] > 0 and seconds[-1] > 20 * seconds[0]:
        ax.set_xscale("log")
    ax.set_xlabel("time (s)")
    ax.set_ylabel(quantity(r"$\sup\,|F - f|$", report.target.unit))
    gap = upper[-1] - lower[-1]
    ax.set_title(f"bounds {gap:.2g} apart after {report.samples:,} boxes", fontsize="medium")
    ax.legend(fontsize="small")
    return ax


def bound_map(report: Any, ax: Axes | None = None, *, domain: Box | None = None, parts: int | None = None) -> Axes:
    """Certified bounds of |F - f| part by part: where the error is large, and how closely it is known.

    n = 1: the lower and upper bound on intervals. n >= 2: the upper bound on squares of the plane of the first two
    coordinates, on all of the worst box's extent in the others; squares whose bounds are more than a twentieth of the
    largest bound apart have a dot.

    report : a Certificate; domain : the part to draw, by default the report's, on R^n the target's
    parts : how many along each side, by default 64 for n = 1 and 24 otherwise
    ax : where to draw; a new pyplot figure if None

    Returns the Axes. Raises TypeError or ValueError for anything else, and for a domain of another dimension.

    >>> import constructions
    >>> from approx import certify, targets
    >>> from matplotlib.figure import Figure
    >>> proof = certify(constructions.build(targets.gaussian(dim=1), 0.2, verify=False))
    >>> bound_map(proof, Figure().subplots(), parts=8).get_ylabel()
    '$|F - f|$'
    """
    call = "bound_map"
    report = _certificate(call, report)
    n = report.target.dim_in
    known = report.domain if report.domain.compact else report.target.domain
    box = known.bounding_box() if domain is None else domain
    if not isinstance(box, Box) or box.dim != n:
        raise ValueError(_checks.message(call, f"domain = {_checks.show(domain)}", f"a Box of R^{n}", "Pass a Box."))
    count = _checks.count(call, "parts", (64 if n == 1 else 24) if parts is None else parts)
    middle = (box.lower + box.upper) / 2
    rest = np.stack([middle, np.nextafter(middle, np.inf)]) if report.worst_box is None else report.worst_box
    edges = [np.linspace(box.lower[j], box.upper[j], count + 1) for j in range(min(n, 2))]
    corners = np.stack(np.meshgrid(*(np.arange(count) for _ in edges), indexing="ij"), axis=-1).reshape(
        count ** len(edges), -1
    )
    lower, upper = (np.tile(end, (len(corners), 1)) for end in rest)
    for j, edge in enumerate(edges):
        lower[:, j], upper[:, j] = edge[corners[:, j]], edge[corners[:, j] + 1]
    low, high = local_bounds(report, lower, upper)
    ax = make_axes(call, ax)
    label = quantity("$|F - f|$", report.target.unit)
    if n == 1:
        ax.stairs(high, edges[0], baseline=low, fill=True, color=ORANGE, alpha=0.35, label="certified bounds")
        ax.stairs(high, edges[0], color=ORANGE, lw=1.2)
        ax.stairs(low, edges[0], color=BLUE, lw=1.2)
        ax.set_ylabel(label)
        if report.eps is not None:
            ax.axhline(report.eps, color="black", ls="--", lw=1, label=f"eps = {report.eps:g}")
        ax.set_ylim(0, None)
        ax.legend(fontsize="small")
    else:
        grid = high.reshape(count, count)
        image = ax.pcolormesh(edges[0], edges[1], grid.T, cmap="cividis", vmin=0, vmax=report.eps)
        wide = float(high.max()) / 20
        loose = high - low > wide
        ax.plot(*((lower + upper) / 2)[loose, :2].T, ".", color="white", ms=3)
        color_bar(ax, image, f"upper bound of {label}")
    coordinates(ax, report.target.axis_unit, Box(box.lower[:2], box.upper[:2]))
    note = f"bounds on {len(low):,} parts, at most {float((high - low).max()):.2g} apart"
    ax.set_title(note + (f"; dots: over {wide:.2g}" if n > 1 and loose.any() else ""), fontsize="medium")
    return ax


def worst_cell_plot(report: Any, ax: Axes | None = None) -> Axes:
    """The error around the box that the upper bound comes from, with the outlines of the cells that may decide F there.

    n = 1: the curve of F - f, the box shaded. n >= 2: a map on the plane of the first two coordinates through the
    middle of the box. The cell that the bound is for is drawn with a thick line; none where it is the affine map.

    report : a Certificate; ax : where to draw, a new pyplot figure if None

    Returns the Axes. Raises TypeError for anything else, ValueError when the bound comes from outside all boxes.

    >>> import constructions
    >>> from approx import certify, targets
    >>> from matplotlib.figure import Figure
    >>> built = constructions.build(targets.gaussian(dim=2), 0.2, cover="uniform", verify=False)
    >>> proof = certify(built, tol=1e-3)
    >>> len(worst_cell_plot(proof, Figure().subplots()).patches)
    1
    """
    call = "worst_cell_plot"
    report = _certificate(call, report)
    if report.worst_box is None:
        received = f"an upper bound from outside all boxes ({report.rests_on[-1]})"
        raise ValueError(_checks.message(call, received, "one from a box", "There is no cell to draw."))
    lower, upper = report.worst_box
    middle, half = lower / 2 + upper / 2, (upper - lower) / 2
    known = pieces(report.network, float(np.linalg.norm(np.abs(middle) + half)) + 1) if report.worst_layers else None
    reach = _ROOM * np.maximum(half.max(), 1e-9 * (1 + np.abs(middle).max()))
    cells = [] if known is None else [_cell(known, layer) for layer in report.worst_layers if layer >= 0]
    if known is not None and cells:  # most of the first of them
        reach = max(reach, 0.75 * np.sqrt(known.rho2[cells[0]]) / np.linalg.norm(known.matrices[cells[0]], 2))
    frame = Box(middle - reach, middle + reach)
    ax = error_map(report, domain=frame, through=middle, ax=ax)
    if report.target.dim_in == 1:
        ax.axvspan(lower[0], upper[0], color=ORANGE, alpha=0.3, lw=0, label="worst box")
    else:
        ax.add_patch(Rectangle(lower[:2], *(upper - lower)[:2], fill=False, ec="black", lw=1.2, zorder=4))
        if known is not None:
            for i in cells:
                thick = known.layers[i] == report.worst_layers[0]
                _outline(ax, known, i, frame, middle, 2.0 if thick else 0.8)
    first = report.worst_layers[0] if report.worst_layers else None
    piece = "" if first is None else ", the affine map" if first < 0 else f", the cell of layer {first + 1}"
    ax.set_title(f"upper bound {report.upper:.6g}{piece}" if report.upper is not None else f"no upper bound yet{piece}")
    return ax


def _certificate(call: str, report: Any) -> Certificate:
    report = getattr(report, "report", report)  # a construction that was certified
    if not isinstance(report, Certificate):
        action = "Pass what certify returned, or a construction that was certified."
        raise TypeError(_checks.message(call, f"report = {_checks.show(report)}", "a Certificate", action))
    return report


def _cell(known: Pieces, layer: int) -> int:
    return int(np.flatnonzero(known.layers == layer)[0])


def _outline(ax: Axes, known: Pieces, i: int, frame: Box, middle: Array, width: float) -> None:
    """The boundary of one cell on the plane of the first two coordinates."""
    x, y = (np.linspace(frame.lower[j], frame.upper[j], _GRID) for j in range(2))
    points = np.tile(middle, (_GRID * _GRID, 1))
    points[:, :2] = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    square = np.square((points - known.centers[i]) @ known.matrices[i].T).sum(axis=1) - known.rho2[i]
    if square.min() < 0 < square.max():
        ax.contour(x, y, square.reshape(_GRID, _GRID), levels=[0.0], colors="black", linewidths=width)
