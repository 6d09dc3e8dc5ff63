"""Orthogonal matrices kept as products, and what a layer's hidden coordinates are turned by.

A matrix of n columns of which only the first k matter is stored as k Householder reflectors: n k numbers instead of
n^2, and applying it to a vector costs 4 n k operations.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Sequence
from typing import overload

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from approx import _checks

__all__ = ["Factors", "Orthogonal", "random_orthogonal"]


class Orthogonal:
    """Q = H_1 ... H_k diag(core, I), an orthogonal matrix of n rows, never formed unless asked for.

    reflectors : (n, k), as torch.geqrf leaves them (H_j = I - tau_j v_j v_j^T, v_j below the diagonal); tau : (k,)
    core : (c, c) orthogonal, c <= n, or None for the identity
    Without reflectors and core it is the identity.

    >>> turn = Orthogonal.from_matrix(torch.tensor([[0.0, -1.0], [1.0, 0.0]]))
    >>> turn.apply(torch.tensor([2.0, 0.0]))
    tensor([0., 2.])
    """

    __slots__ = ("core", "reflectors", "size", "tau")

    def __init__(
        self, size: int, reflectors: Tensor | None = None, tau: Tensor | None = None, core: Tensor | None = None
    ):
        self.size = _checks.count("Orthogonal", "size", size)
        self.reflectors, self.tau, self.core = reflectors, tau, core

    @classmethod
    def from_matrix(cls, matrix: ArrayLike | Tensor) -> Orthogonal:
        """The factor of an (n, n) tensor or array, of its dtype. Raises ValueError unless it is orthogonal to within
        100 n eps."""
        value = torch.as_tensor(matrix)
        if not value.is_floating_point() or value.ndim != 2 or value.shape[0] != value.shape[1] or not len(value):
            received = f"matrix of shape {tuple(value.shape)} and {value.dtype}"
            action = "Pass a square array of floats."
            raise ValueError(_checks.message("Orthogonal.from_matrix", received, "an (n, n) real matrix", action))
        value = value.detach().clone()
        size = len(value)
        gap = float((value.T @ value - torch.eye(size, dtype=value.dtype, device=value.device)).abs().max())
        allowed = 100 * size * torch.finfo(value.dtype).eps
        if not gap <= allowed:  # also when it is NaN
            received = f"a matrix with max |M^T M - I| = {gap:.3g}"
            action = "Take the Q of its QR factorisation."
            required = f"an orthogonal matrix, to within {allowed:.1g}"
            raise ValueError(_checks.message("Orthogonal.from_matrix", received, required, action))
        return cls(size, core=value)

    @property
    def is_identity(self) -> bool:
        return self.reflectors is None and self.core is None

    def apply(self, v: Tensor) -> Tensor:
        """Q v for v (..., n) of the factor's dtype and device -> (..., n).

        Raises TypeError for another dtype or device, ValueError for a wrong last axis.
        """
        return self._act("apply", v, transpose=False)

    def apply_transpose(self, v: Tensor) -> Tensor:
        """Q^T v = Q^-1 v for v (..., n) -> (..., n). Raises as `apply` does."""
        return self._act("apply_transpose", v, transpose=True)

    def matrix(self) -> Tensor:
        """Q as a dense (n, n) tensor; of float64 on the CPU if it is the identity."""
        held = self.core if self.reflectors is None else self.reflectors
        like = torch.empty(0, dtype=torch.float64) if held is None else held
        return self.apply(torch.eye(self.size, dtype=like.dtype, device=like.device)).T.contiguous()

    def columns(self, count: int) -> Tensor:
        """The first `count` columns (n, count), without forming the others; not for the identity."""
        if self.reflectors is None:
            assert self.core is not None, "not for the identity"
            return self.core[:, :count]
        thin = torch.linalg.householder_product(self.reflectors, self.tau)
        return thin[:, :count] if self.core is None else thin[:, : len(self.core)] @ self.core[:, :count]

    def turned(self, turn: Tensor) -> Orthogonal:
        """Q diag(turn, I) for an orthogonal (r, r) tensor; r at most the size of the core, if there is one."""
        core = turn
        if self.core is not None:
            core = self.core.clone()
            core[:, : len(turn)] = self.core[:, : len(turn)] @ turn
        return Orthogonal(self.size, self.reflectors, self.tau, core)

    def _act(self, name: str, v: Tensor, *, transpose: bool) -> Tensor:
        call = f"Orthogonal.{name}"
        held = self.core if self.reflectors is None else self.reflectors
        if not isinstance(v, Tensor) or (held is not None and (v.dtype, v.device) != (held.dtype, held.device)):
            got = f"a tensor of {v.dtype} on {v.device}" if isinstance(v, Tensor) else type(v).__name__
            required = "a tensor" if held is None else f"a tensor of {held.dtype} on {held.device}"
            raise TypeError(_checks.message(call, got, required, "Convert it with torch.as_tensor or .to(...)."))
        if v.ndim == 0 or v.shape[-1] != self.size:
            required = f"shape (..., {self.size})"
            raise ValueError(_checks.message(call, f"shape {tuple(v.shape)}", required, "The last axis is a vector."))
        if held is None:
            return v.clone()
        rows = v.reshape(-1, self.size)
        if not transpose:
            rows = self._turn(rows, transpose)
        if self.reflectors is not None and self.tau is not None and len(rows):
            rows = torch.ormqr(self.reflectors, self.tau, rows.T, left=True, transpose=transpose).T
        if transpose:
            rows = self._turn(rows, transpose)
        return rows.reshape(v.shape)

    def _turn(self, rows: Tensor, transpose: bool) -> Tensor:
        if self.core is None:
            return rows
        size = len(self.core)
        return torch.cat([rows[:, :size] @ (self.core if transpose else self.core.T), rows[:, size:]], dim=1)

    def __repr__(self) -> str:
        if self.is_identity:
            return f"Orthogonal(identity of size {self.size})"
        parts = [] if self.tau is None else [f"{len(self.tau)} reflectors"]
        parts += [] if self.core is None else [f"a rotation of {len(self.core)} coordinates"]
        return f"Orthogonal({self.size} x {self.size}, {' and '.join(parts)})"


class Factors(Sequence[Orthogonal]):
    """A sequence of factors that are made when asked for, so that a million layers need not be a million objects."""

    def __init__(self) -> None:
        self._ends: list[int] = []
        self._makers: list[Callable[[int], Orthogonal]] = []

    def extend(self, count: int, make: Callable[[int], Orthogonal]) -> None:
        """Append make(0), ..., make(count - 1)."""
        if count:
            self._ends.append(len(self) + count)
            self._makers.append(make)

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @overload
    def __getitem__(self, index: int) -> Orthogonal: ...
    @overload
    def __getitem__(self, index: slice) -> list[Orthogonal]: ...
    def __getitem__(self, index: int | slice) -> Orthogonal | list[Orthogonal]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        position = range(len(self))[index]
        piece = bisect.bisect_right(self._ends, position)
        return self._makers[piece](position - (self._ends[piece - 1] if piece else 0))

    def __repr__(self) -> str:
        return f"Factors({len(self):,} orthogonal matrices)"


def random_orthogonal(
    widths: Sequence[int], seed: int, *, dtype: torch.dtype = torch.float64, device: torch.device | str = "cpu"
) -> tuple[Orthogonal, ...]:
    """Independent orthogonal matrices of these sizes, uniform (Haar measure); the same seed gives the same ones.

    Source: the Q of the QR factorisation of a Gaussian matrix, its signs chosen so that R has a positive diagonal.

    >>> [factor.size for factor in random_orthogonal((3, 5), seed=0)]
    [3, 5]
    """
    seed = _checks.count("random_orthogonal", "seed", seed, least=0)
    generator = torch.Generator().manual_seed(seed)
    factors = []
    for width in widths:
        width = _checks.count("random_orthogonal", "width", width)
        reflectors, tau = torch.geqrf(torch.randn(width, width, generator=generator, dtype=torch.float64))
        signs = torch.where(reflectors.diagonal() < 0, -1.0, 1.0).double()
        held = (value.to(device, dtype) for value in (reflectors, tau, signs.diag()))
        factors.append(Orthogonal(width, *held))
    return tuple(factors)
