"""Targets: the functions to approximate, ready-made, from callables, from formulas and from data."""

from approx.targets._target import Target
from approx.targets.callables import from_numpy, from_torch
from approx.targets.data import from_file, from_grid, from_samples
from approx.targets.expressions import Expression
from approx.targets.falsify import (
    check_claims,
    check_enclosure,
    check_lipschitz,
    check_modulus,
    check_tail,
    estimate_lipschitz,
)
from approx.targets.formulas import asymptote, from_expression
from approx.targets.gallery import (
    GALLERY,
    affine_bump,
    bump,
    cone,
    franke,
    gaussian,
    get,
    peaks,
    ridge,
    rings,
    saddle,
    swirl,
    terrain,
)
from approx.targets.levels import EllipsoidLevels, PlaneLevels
from approx.targets.parse import parse_target

__all__ = [
    "GALLERY",
    "EllipsoidLevels",
    "Expression",
    "PlaneLevels",
    "Target",
    "affine_bump",
    "asymptote",
    "bump",
    "check_claims",
    "check_enclosure",
    "check_lipschitz",
    "check_modulus",
    "check_tail",
    "cone",
    "estimate_lipschitz",
    "franke",
    "from_expression",
    "from_file",
    "from_grid",
    "from_numpy",
    "from_samples",
    "from_torch",
    "gaussian",
    "get",
    "parse_target",
    "peaks",
    "ridge",
    "rings",
    "saddle",
    "swirl",
    "terrain",
]
