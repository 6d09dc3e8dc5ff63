"""Gallery targets of the plane: Franke's function, the peaks surface, a swirl of the plane, and real terrain."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from approx import _checks
from approx.affine import AffineMap
from approx.domains import Ball, Box
from approx.targets._target import Target, outward, prose
from approx.targets.data import from_grid

__all__ = ["franke", "peaks", "swirl", "terrain"]

Array = NDArray[np.float64]
EARTH_RADIUS = 6371008.8  # metres, the mean radius


def franke(dim: int = 2, *, domain: Box | Ball | None = None) -> Target:
    """Franke's function, the usual test surface of scattered-data interpolation: two hills, a slope and a dip, on
    [0, 1]^2 stretched to [-3, 3]^2 by u = (x + 3)/6. The box is all there is: one of its four terms grows without
    bound below it. Franke, A critical comparison of some methods for interpolation of scattered data (1979).

    >>> franke().lipschitz
    0.57
    """
    _plane_only("franke", dim)
    target = Target(
        fn=_franke,
        dim_in=2,
        domain=Box.cube(2, 3.0),
        name="franke",
        # max |gradient| = 0.56712 at (-1.1421, -0.9105). Proof by branch and bound on the box: |Hessian| <= 2.4,
        # as exp(-|p|^2) has Hessian norm <= 2 and p scales x by 3/4, 3/4, 3/2 in the three gaussian terms
        # (0.844 + 0.5625 + 0.9), and the slope term adds less than 0.08. The tests repeat the proof.
        lipschitz=0.57,
        enclosure=_franke_enclosure,
        lipschitz_source="proved",
        commentary=prose(franke),
    )
    return target if domain is None else target.with_domain(domain)


def peaks(dim: int = 2, *, domain: Box | Ball | None = None) -> Target:
    """The classical peaks surface divided by 8, so that its amplitude is about 1: three hills and two valleys made of
    gaussians times polynomials, all vanishing at infinity. Hills of different height and width are where adaptive
    cells gain most over uniform ones.

    >>> round(float(peaks()([0.0, 0.0])[0]), 6)
    0.122626
    """
    _plane_only("peaks", dim)
    return Target(
        fn=_peaks,
        dim_in=2,
        domain=domain or Box.cube(2, 3.0),
        name="peaks",
        # max |gradient| = 1.74718 at (-0.1495, -1.1454). Proof by branch and bound as for franke; the surface is a sum
        # of products of functions of one variable, whose second derivatives bound the Hessian. The tests repeat it.
        lipschitz=1.75,
        affine=AffineMap.constant([0.0], 2),
        residual_lipschitz=1.75,
        tail=_peaks_tail,
        lipschitz_source="proved",
        commentary=prose(peaks),
    )


def swirl(dim: int = 2, *, domain: Box | Ball | None = None) -> Target:
    """x turned about the origin by the angle pi exp(-|x|^2/2): a map of the plane to itself that turns its centre
    upside down and tends to the identity far out. The one vector-valued target here: its values are points of the box,
    so the amplitude is 3, and its limit at infinity is not constant.

    >>> swirl()([30.0, 40.0])
    array([30., 40.])
    """
    _plane_only("swirl", dim)
    # With t = pi exp(-r^2/2), r t' = -r^2 t, e = x/r and J the quarter turn, the Jacobian is
    # Rot(t) (I - r^2 t (J e) e^T): a rotation times a shear of strength k = r^2 t <= 2 pi/e, of norm
    # (k + sqrt(k^2 + 4))/2.
    shear = 2 * math.pi / math.e
    return Target(
        fn=_swirl,
        dim_in=2,
        dim_out=2,
        domain=domain or Box.cube(2, 3.0),
        name="swirl",
        lipschitz=(shear + math.sqrt(shear * shear + 4)) / 2,
        affine=AffineMap(np.eye(2), np.zeros(2)),
        # Jacobian of f - x: with s = 2 sin(t/2), up to rotations s I - k Rot(t/2) e e^T, that is
        # [[s - k cos(t/2), 0], [-k sin(t/2), s]] in the frame (e, J e); its norm is 2.385205 at most, at r = 0.7611.
        residual_lipschitz=2.38521,
        tail=_swirl_tail,
        lipschitz_source="proved",
        commentary=prose(swirl),
    )


def terrain(dim: int = 2, *, domain: Box | Ball | None = None) -> Target:
    """Real ground: the elevation in metres around the Jacksboro fault on the border of Kentucky and Tennessee (the
    digital elevation model that matplotlib ships), interpolated between its 403 x 344 points. x runs east and y north
    in metres from the south-west corner. Rough at every scale, so the count of cells follows the paper's rate.

    >>> terrain().unit
    'm'
    """
    _plane_only("terrain", dim)
    from matplotlib import cbook

    archive: Any = cbook.get_sample_data("jacksboro_fault_dem.npz")  # an NpzFile
    with archive as data:
        elevation = data["elevation"].astype(np.float64)
        # The file's `ymin` is its north edge (36.73 degrees) and belongs to row 0.
        step_x, step_y = float(data["dx"]), float(data["dy"])
        latitude = math.radians((float(data["ymin"]) + float(data["ymax"])) / 2)
    values = elevation[::-1].T
    metres_per_degree = EARTH_RADIUS * math.pi / 180
    upper = [
        (values.shape[0] - 1) * step_x * metres_per_degree * math.cos(latitude),
        (values.shape[1] - 1) * step_y * metres_per_degree,
    ]
    target = from_grid(
        values, lower=[0.0, 0.0], upper=upper, name="terrain", unit="m", axis_unit="m", commentary=prose(terrain)
    )
    return target if domain is None else target.with_domain(domain)


def _plane_only(name: str, dim: Any) -> None:
    if _checks.count(name, "dim", dim) != 2:
        raise ValueError(_checks.message(name, f"dim = {dim}", "dim = 2", "It is a function of the plane."))


# Franke's terms a exp(-(p_i x + q_i)^2 - ...) in the stretched coordinates, where 9 u = 1.5 x + 4.5.
_HILLS = (  # amplitude, (scale, shift) of x, (scale, shift) of y
    (0.75, (0.75, 1.25), (0.75, 1.25)),
    (0.5, (0.75, -1.25), (0.75, 0.75)),
    (-0.2, (1.5, 0.5), (1.5, -2.5)),
)


def _franke(x: Array) -> Array:
    u, v = x[:, 0], x[:, 1]
    total = 0.75 * np.exp(-(((1.5 * u + 5.5) / 7) ** 2) - (1.5 * v + 5.5) / 10)
    for amplitude, (a, b), (c, d) in _HILLS:
        total = total + amplitude * np.exp(-((a * u + b) ** 2) - (c * v + d) ** 2)
    return total


def _franke_enclosure(lower: Array, upper: Array) -> tuple[Array, Array]:
    """The sum of the exact ranges of the four terms."""
    near, far = _square_range((1.5 * lower[:, 0] + 5.5) / 7, (1.5 * upper[:, 0] + 5.5) / 7)
    low = 0.75 * np.exp(-far - (1.5 * upper[:, 1] + 5.5) / 10)
    high = 0.75 * np.exp(-near - (1.5 * lower[:, 1] + 5.5) / 10)
    for amplitude, (a, b), (c, d) in _HILLS:
        near_u, far_u = _square_range(a * lower[:, 0] + b, a * upper[:, 0] + b)
        near_v, far_v = _square_range(c * lower[:, 1] + d, c * upper[:, 1] + d)
        ends = amplitude * np.exp(-far_u - far_v), amplitude * np.exp(-near_u - near_v)
        low, high = low + np.minimum(*ends), high + np.maximum(*ends)
    return outward(low[:, None], high[:, None])


def _square_range(low: Array, high: Array) -> tuple[Array, Array]:
    """Range of t^2 for low <= t <= high."""
    return np.maximum(np.maximum(low, -high), 0.0) ** 2, np.maximum(low**2, high**2)


def _peaks(x: Array) -> Array:
    u, v = np.clip(x, -40.0, 40.0).T  # beyond, every term underflows to 0; unclipped, powers could overflow
    first = 3 * (1 - u) ** 2 * np.exp(-(u**2) - (v + 1) ** 2)
    second = 10 * (u / 5 - u**3 - v**5) * np.exp(-(u**2) - v**2)
    third = np.exp(-((u + 1) ** 2) - v**2) / 3
    return (first - second - third) / 8


def _peaks_tail(radius: float) -> float:
    """|peaks| term by term for |x| = r >= 1, where |1 - u| <= 1 + r and the shifted centres are within 1 of the origin.

    Each bound decreases from r = 1.6 on; before that the largest value, below 1.02, stands in.
    """
    r = max(float(radius), 1.6)
    shifted = (3 * (1 + r) ** 2 + 1 / 3) * math.exp(-((r - 1) ** 2)) if r < 1e3 else 0.0
    centred = 10 * (r / 5 + r**3 + r**5) * math.exp(-r * r) if r < 1e3 else 0.0
    return min(1.02, (shifted + centred) / 8)


def _swirl(x: Array) -> Array:
    angle = math.pi * np.exp(-0.5 * np.einsum("ki,ki->k", x, x))
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack([cos * x[:, 0] - sin * x[:, 1], sin * x[:, 0] + cos * x[:, 1]], axis=1)


def _swirl_tail(radius: float) -> float:
    """2 r sin(t/2), the distance x moves. It rises until tan(t/2)/(t/2) = r^2, at r = 1.1423, where it is 1.66733."""
    r = float(radius)
    if r <= 1.1424:
        return 1.66733
    return 2 * r * math.sin(0.5 * math.pi * math.exp(-0.5 * r * r))
