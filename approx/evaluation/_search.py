"""Climb from many starting points at once to larger errors, without derivatives.

F jumps, so the climb compares values only. With a cover the worst point of a piece usually sits on its rim:
a trial step that leaves the piece is also tried after being pulled back to the rim.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from approx.covers import Cover
from approx.domains import Ball, Box

__all__ = ["climb"]

Array = NDArray[np.float64]

_MAX_PAIRS = 8


def climb(
    error: Callable[[Array], Array],
    region: Box | Ball,
    starts: Array,
    steps: Array,
    *,
    cover: Cover | None = None,
    offset: Callable[[Array], Array] | None = None,
    rounds: int = 60,
    seed: int = 0,
) -> Array:
    """starts (k, n), steps (k,) > 0 -> (k, n) points of the region with error at least that of the starts.

    error : (j, n) -> (j,) what to maximise
    cover, offset : the pieces of F, and (j, n) -> (j,) how far from a rim to stay; both or neither

    Every round tries steps along random orthogonal directions, both ways; a success doubles the step, a failure
    halves it.
    """
    count, dim = starts.shape
    rng = np.random.default_rng(seed)
    points, steps = starts.copy(), steps.copy()
    best = error(points)
    rows = np.arange(count)
    for _ in range(rounds):
        frames = np.linalg.qr(rng.standard_normal((count, dim, min(dim, _MAX_PAIRS))))[0].transpose(0, 2, 1)
        moves = steps[:, None, None] * np.concatenate([frames, -frames], axis=1)
        trials = region.project(points[:, None] + moves)
        if cover is not None and offset is not None:
            trials = np.concatenate([trials, region.project(_to_rim(cover, points, trials, offset))], axis=1)
        errors = error(trials.reshape(-1, dim)).reshape(count, -1)
        choice = errors.argmax(axis=1)
        better = errors[rows, choice] > best
        points[better] = trials[rows, choice][better]
        best[better] = errors[rows, choice][better]
        steps = np.where(better, 2 * steps, steps / 2)
    return points


def _to_rim(cover: Cover, points: Array, trials: Array, offset: Callable[[Array], Array]) -> Array:
    """Trials (k, p, n) moved along rays so that they stay in the piece of points (k, n), just inside its rim.

    A piece is a cell minus the earlier ones: a trial outside the cell is pulled into it, a trial inside an
    earlier cell is pushed out of that one. Trials that stay in the piece are returned as they are.
    """
    piece = np.repeat(cover.find(points), trials.shape[1])
    flat = trials.reshape(-1, points.shape[1]).copy()
    hit = cover.find(flat)
    push = (hit >= 0) & ((piece < 0) | (hit < piece))
    move = np.flatnonzero(hit != piece)
    cell = np.where(push, hit, piece)[move]
    ray = flat[move] - cover.centers[cell]
    length = np.linalg.norm(ray, axis=1)
    if cover.radii is not None:
        rim = cover.radii[cell]
    else:
        scaled = np.linalg.norm(np.einsum("kab,kb->ka", cover.matrices[cell], ray), axis=1)
        rim = length / np.where(scaled > 0, scaled, 1.0)
    wanted = np.maximum(rim + np.where(push[move], 1, -1) * offset(flat[move]), 0.0)
    flat[move] = cover.centers[cell] + ray * (wanted / np.where(length > 0, length, 1.0))[:, None]
    return flat.reshape(trials.shape)
