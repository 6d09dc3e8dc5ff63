"""Compression of radial networks by their orthogonal symmetry.

factors     orthogonal matrices kept as Householder reflectors
symmetry    the change of hidden coordinates and what it leaves invariant
result      the report: reduced network, factors, residual, deviation, bound
reduce      Algorithm 1 and its rank-revealing and lossy forms
"""

from approx.compression.factors import Orthogonal, random_orthogonal
from approx.compression.reduce import compress
from approx.compression.result import Compression
from approx.compression.symmetry import balance, change_basis, momentum_map

__all__ = [
    "Compression",
    "Orthogonal",
    "balance",
    "change_basis",
    "compress",
    "momentum_map",
    "random_orthogonal",
]
