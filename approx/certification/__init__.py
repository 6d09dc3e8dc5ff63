"""Certification: rigorous bounds lower <= sup |F - f| <= upper for stored Step-ReLU networks.

_operands  intervals  jets  balls   interval arithmetic, mean value forms and forms over balls on a caller's function
enclosures                   bounds of a target on boxes, and what they rest on
_chain  _recovery  ... pieces   the ordered cells of any Step-ReLU network, from its weights, with error bounds
cells  _boxes  branch        branch and bound over boxes
_question  _tree  _grid  _cubes  _lattices  witness   trees of boxes and lattices, in up to 10 dimensions
_certify                     the whole path
"""

from approx.certification._certify import GlobalBoundUnavailable, certify
from approx.certification.branch import Bracket, branch_and_bound
from approx.certification.cells import Cells
from approx.certification.enclosures import Enclosure, EnclosureUnavailable, enclosure_of
from approx.certification.pieces import AmbiguousNetwork, Pieces, pieces

__all__ = [
    "AmbiguousNetwork",
    "Bracket",
    "Cells",
    "Enclosure",
    "EnclosureUnavailable",
    "GlobalBoundUnavailable",
    "Pieces",
    "branch_and_bound",
    "certify",
    "enclosure_of",
    "pieces",
]
