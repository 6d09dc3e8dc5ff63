"""Evaluate F and f at given points and remember where they differ most."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from approx import _checks
from approx.covers import Cover
from approx.domains import Ball, Box
from approx.evaluation._sampling import chunk_seed, circumradius
from approx.evaluation._search import climb
from approx.targets import Target

__all__ = ["Watch"]

Array = NDArray[np.float64]

_STARTS = 1024  # climbs with a cover
_STRIPES = 32  # climbs outside all cells; every 32nd Sobol point lies in the same part of the domain


class Watch:
    """Evaluates F and f, and remembers the worst points."""

    def __init__(self, network: Callable[[Array], Array], target: Target, cover: Cover | None):
        self.network, self.target, self.cover = network, target, cover
        self.lower, self.looked = -1.0, 0
        self.argmax = self.network_value = self.target_value = np.empty(0)
        self.claims = _TailClaim(target)
        # The worst points of different cells and stripes, in decreasing order of error.
        self.points, self.errors = np.empty((0, target.dim_in)), np.empty(0)
        self.labels = np.empty(0, np.int64)
        self.most = _STRIPES if cover is None else _STARTS
        self.stripes = 1 if cover is None else max(1, min(_STRIPES, _STARTS // (len(cover) + 1)))

    def look(self, points: Array) -> Array:
        """points (k, n) -> (k,) |F - f|, with the worst of them remembered."""
        if not len(points):
            return np.empty(0)
        wanted = self.target(points)
        values = self.network(points)
        errors = _lengths(values - wanted)
        self.claims.check(points, wanted)
        worst = int(errors.argmax())
        if errors[worst] > self.lower:
            self.lower, self.argmax = float(errors[worst]), points[worst].copy()
            self.network_value, self.target_value = values[worst].copy(), wanted[worst].copy()
        index = np.arange(len(points))
        labels = index % _STRIPES
        if self.cover is not None:
            cell = self.cover.find(points)
            labels = np.where(cell < 0, labels, _STRIPES + cell * self.stripes + index % self.stripes)
        self.looked += len(points)
        self._keep(points, errors, labels)
        return errors

    def join(self, other: Watch) -> None:
        """Take over what another one saw, as if it had been looked at after all of this."""
        self.looked += other.looked
        if other.lower > self.lower:
            self.lower, self.argmax = other.lower, other.argmax
            self.network_value, self.target_value = other.network_value, other.target_value
        self._keep(other.points, other.errors, other.labels)

    def _keep(self, points: Array, errors: Array, labels: NDArray[np.int64]) -> None:
        if len(self.errors) == self.most:
            new = errors > self.errors[-1]
            points, errors, labels = points[new], errors[new], labels[new]
        points, errors = np.concatenate([self.points, points]), np.concatenate([self.errors, errors])
        labels = np.concatenate([self.labels, labels])
        order = np.argsort(-errors, kind="stable")
        first = np.sort(np.unique(labels[order], return_index=True)[1])[: self.most]
        keep = order[first]
        self.points, self.errors, self.labels = points[keep], errors[keep], labels[keep]

    def climb(
        self, region: Box | Ball, core: Box | Ball, samples: int, size: int, seed: int, offset: Callable[[Array], Array]
    ) -> None:
        """Climb within `region` from the worst points. With a cover, climb on the function it describes, which is
        cheap, and look at where the climbs end."""
        cover, points = self.cover, self.points[: max(_STRIPES, samples // 256)]
        lengths = np.linalg.norm(points, axis=1)
        spacing = core.diameter * samples ** (-1 / core.dim)
        steps = np.maximum(spacing, np.where(lengths > circumradius(core), lengths / 4, 0.0))
        if cover is not None:
            cell = cover.find(points)
            inside = cell >= 0
            steps[inside] = np.minimum(cover.largest_radius_each[cell[inside]] / 2, core.diameter)

        def error(x: Array) -> Array:
            parts = [x[i : i + size] for i in range(0, len(x), size)]
            if cover is None:
                return np.concatenate([self.look(part) for part in parts])
            return np.concatenate([_lengths(cover(part) - self.target(part)) for part in parts])

        group = max(1, size // 32)
        for start in range(0, len(points), group):
            part = slice(start, start + group)
            key = chunk_seed(seed, start)
            self.look(climb(error, region, points[part], steps[part], cover=cover, offset=offset, seed=key))


class _TailClaim:
    """Points refute a target's tail bound where |f - L| exceeds it; the bound is read off a ladder of radii."""

    def __init__(self, target: Target):
        self.target = target
        self.radii = np.geomspace(1e-3, 1e12, 61)
        self.bounds = None
        if target.affine is not None and target.tail is not None:
            self.bounds = np.array([float(target.tail(float(radius))) for radius in self.radii])

    def check(self, points: Array, values: Array) -> None:
        """Raise ValueError at a point where the values f of shape (k, m) contradict the bound."""
        affine = self.target.affine
        if self.bounds is None or affine is None:
            return
        step = np.searchsorted(self.radii, np.linalg.norm(points, axis=1), side="right") - 1
        points, values, step = points[step >= 0], values[step >= 0], step[step >= 0]
        linear = affine(points)
        excess = _lengths(values - linear)
        terms = affine.lipschitz * np.linalg.norm(points, axis=1)  # they may cancel in L(x)
        noise = 64 * np.finfo(float).eps * (_lengths(values) + _lengths(linear) + terms)
        wrong = ~(excess <= self.bounds[step] * (1 + 1e-12) + noise)
        if wrong.any():
            i = int(wrong.argmax())
            raise ValueError(
                _checks.message(
                    "sup_error",
                    f"|f - L| = {excess[i]:.6g} at x = {points[i].tolist()} for the target {self.target.name!r}",
                    f"at most tail({self.radii[step[i]]:.6g}) = {self.bounds[step[i]]:.6g}, as the target claims",
                    "Correct the target's tail or affine part.",
                )
            )


def _lengths(vectors: Array) -> Array:
    return np.abs(vectors[:, 0]) if vectors.shape[1] == 1 else np.linalg.norm(vectors, axis=1)
