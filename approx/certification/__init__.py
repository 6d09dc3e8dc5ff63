"""Certification: rigorous bounds lower <= sup |F - f| <= upper for stored radial networks.

_operands  intervals  jets  balls   interval arithmetic, mean value forms and forms over balls on a caller's function
enclosures                   bounds of a target on boxes, and what they rest on
_chain  _recovery  ... pieces   the ordered cells of any Step-ReLU network, from its weights, with error bounds
cells  _blocks  _boxes  _constrained  _halving  branch  holes   branch and bound over boxes
_profiles  _lines  forms  dense   first-order Taylor forms of networks with any activations, from their weights
_series  _expansions  taylor  models   Taylor models of high order, of smooth networks and functions
_question  _tree  _grid  _cubes  _lattices  witness   trees of boxes and lattices, in up to 10 dimensions
_certify                     the whole path
certificate  _arb            its result, and a second opinion on it in ball arithmetic
_local                       bounds on many boxes one by one
"""

from approx.certification._certify import certify
from approx.certification._infinity import GlobalBoundUnavailable
from approx.certification._local import local_bounds
from approx.certification.branch import Bracket, branch_and_bound
from approx.certification.cells import Cells
from approx.certification.certificate import Certificate, Recheck
from approx.certification.enclosures import Enclosure, EnclosureUnavailable, enclosure_of
from approx.certification.pieces import AmbiguousNetwork, Pieces, pieces

__all__ = [
    "AmbiguousNetwork",
    "Bracket",
    "Cells",
    "Certificate",
    "Enclosure",
    "EnclosureUnavailable",
    "GlobalBoundUnavailable",
    "Pieces",
    "Recheck",
    "branch_and_bound",
    "certify",
    "enclosure_of",
    "local_bounds",
    "pieces",
]
