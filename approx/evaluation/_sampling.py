"""Where to look for the worst point: evenly spread, far out, on both sides of cell boundaries, at special places.

Every source yields arrays of at most `size` points, so memory does not grow with their number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from approx.covers import Cover
from approx.domains import Ball, Box, WholeSpace

__all__ = ["boundary_pairs", "chunk_seed", "circumradius", "far", "landmarks", "spread"]

Array = NDArray[np.float64]
Offset = Callable[[Array], Array]

_GRID_POINTS = 65536
_CORNERS = 4096
_FAR_PER_AXIS = 64


def chunk_seed(seed: int, *stream: int) -> int:
    """A seed for one chunk of points, different for every chunk."""
    return int(np.random.SeedSequence(seed, spawn_key=stream).generate_state(1)[0])


def circumradius(region: Box | Ball) -> float:
    """The largest |x| in the region."""
    if isinstance(region, Ball):
        return float(np.linalg.norm(region.center)) + region.radius
    return float(np.linalg.norm(np.maximum(np.abs(region.lower), np.abs(region.upper))))


def spread(region: Box | Ball, count: int, size: int, seed: int, part: slice = slice(None)) -> Iterator[Array]:
    """`count` quasi-random points, every chunk with a scramble of its own; only the chunks in `part`."""
    for start in range(0, count, size)[part]:
        yield region.sample(min(size, count - start), chunk_seed(seed, start))


def far(dim: int, scale: float, reach: float, count: int, size: int, seed: int) -> Iterator[Array]:
    """Points of R^dim with log |x| uniform between scale and reach: on the axes, then in all directions."""
    lengths = np.geomspace(scale, reach, min(_FAR_PER_AXIS, max(2, count // (2 * dim))))
    for start in range(0, 2 * dim, max(1, size // len(lengths))):
        axes = np.arange(start, min(2 * dim, start + max(1, size // len(lengths))))
        directions = np.zeros((len(axes), dim))
        directions[np.arange(len(axes)), axes // 2] = 1.0 - 2.0 * (axes % 2)
        yield (lengths[:, None, None] * directions).reshape(-1, dim)
    space = WholeSpace(dim)
    for start in range(0, count, size):
        points = space.sample(2 * min(size, count - start), chunk_seed(seed, start), scale=scale, reach=reach)
        yield points[np.linalg.norm(points, axis=1) > scale]


def landmarks(region: Box | Ball, cover: Cover | None, count: int, size: int, seed: int) -> Iterator[Array]:
    """A grid with the region's vertices and centre, and the centres of at most `count` cells."""
    box = region.bounding_box()
    centers = [((box.lower + box.upper) / 2)[None]]
    per_axis = int(min(max(count // 8, 2), _GRID_POINTS) ** (1 / box.dim))
    if per_axis >= 2:
        grid = box.grid(per_axis)
    else:
        high = np.random.default_rng(chunk_seed(seed, 0)).integers(0, 2, (min(_CORNERS, size), box.dim))
        grid = np.where(high == 1, box.upper, box.lower)
    centers.append(region.project(grid))
    if cover is not None and len(cover):
        some = cover.centers[:: -(-len(cover) // count)]
        centers.append(some[region.contains(some)])
    for points in centers:
        for start in range(0, len(points), size):
            yield points[start : start + size]


def boundary_pairs(
    cover: Cover, region: Box | Ball, count: int, size: int, seed: int, offset: Offset, part: slice = slice(None)
) -> Iterator[tuple[Array, Array]]:
    """Points (k, n) on one side and (k, n) on the other of cell boundaries in the region.

    About `count` boundary points are tried, the same number per cell; those where both sides belong to the same
    first cell show no jump and are dropped. If more than half are dropped (cells mostly outside the region or
    hidden), random chords of the region are searched for jumps as well. Only the chunks in `part` are made.
    """
    cells = len(cover)
    for start in range(0, count if cells else 0, size)[part]:
        some = min(size, count - start)
        pick = (start + np.arange(min(some, cells))) % cells
        points, normals = cover.subset(pick).boundary_points(some, chunk_seed(seed, 0, start))
        inside = region.contains(points)
        found = _both_sides(cover, region, points[inside], normals[inside], offset)
        yield found
        missing = some // 2 - len(found[0])
        if missing > 0:
            ends = region.sample(2 * missing, chunk_seed(seed, 1, start))
            yield _both_sides(cover, region, *_crossings(cover, ends[:missing], ends[missing:]), offset)


def _both_sides(cover: Cover, region: Box | Ball, points: Array, normals: Array, offset: Offset) -> tuple[Array, Array]:
    step = offset(points)[:, None] * normals
    one, other = region.project(points - step), region.project(points + step)
    jumps = cover.find(one) != cover.find(other)
    return one[jumps], other[jumps]


def _crossings(cover: Cover, low: Array, high: Array) -> tuple[Array, Array]:
    """A boundary point on every segment whose ends lie in different cells, and the segment's direction."""
    first = cover.find(low)
    crosses = first != cover.find(high)
    low, high, first = low[crosses], high[crosses], first[crosses]
    direction = high - low
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    for _ in range(48):
        middle = (low + high) / 2
        stays = (cover.find(middle) == first)[:, None]
        low, high = np.where(stays, middle, low), np.where(stays, high, middle)
    return (low + high) / 2, direction
