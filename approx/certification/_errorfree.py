"""Sums and products of two numbers with their rounding errors, compiled (without contraction, which would spoil them).

Source: T. J. Dekker, A floating-point technique for extending the available precision, Numer. Math. 18 (1971);
D. E. Knuth, The Art of Computer Programming, vol. 2, section 4.2.2.
"""

from __future__ import annotations

from approx._compile import compiled

__all__ = ["add", "product"]


@compiled
def product(a, b):  # pragma: no cover - compiled
    """a b = p + e exactly, unless it overflows or underflows."""
    p = a * b
    t = 134217729.0 * a
    ah = t - (t - a)
    al = a - ah
    t = 134217729.0 * b
    bh = t - (t - b)
    bl = b - bh
    return p, ((ah * bh - p) + ah * bl + al * bh) + al * bl


@compiled
def add(a, b):  # pragma: no cover - compiled
    """a + b = s + e exactly, unless it overflows."""
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)
