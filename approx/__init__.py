"""Radial networks: the objects, and how to measure them.

Modules, lowest first; nothing imports upward, and `approx` never imports `constructions`.

    _checks                  argument checks and the form of error messages
    affine  domains          affine maps; boxes, balls, R^n
    activations              radial rescalings v -> h(|v|) v / |v|
    lattice                  lattices that cover space
    blocks  networks         RadialNetwork, stored in blocks  (_engine, _tiles, _cuda, _rescale: compiled passes)
    covers                   ordered cells with values        (_lookup, _bins, _hierarchy: the first that holds a point)
    targets                  functions to approximate: gallery, formulas, data
    evaluation               the measured sup-norm error
    compression              smaller networks with the same function
    storage                  files                            (_kept: activations that are not the package's)
    export                   networks for programs without this package: torch, numpy, ONNX
    projection               projected gradient descent (Theorem 8), as an optimizer
    training                 random networks and training loops
    experiments              the paper's four experiments with their tables
    certification            proved bounds of the sup-norm error, from the stored weights
    depth                    how many layers any Step-ReLU network needs
    rates                    how size grows as the tolerance shrinks: sweeps, tables, baselines
    render                   interactive pages: a network evaluated in the browser
    plotting                 figures; import it by name, it alone needs matplotlib
"""

from approx import (
    activations,
    certification,
    compression,
    covers,
    depth,
    domains,
    evaluation,
    experiments,
    export,
    networks,
    projection,
    rates,
    render,
    storage,
    targets,
    training,
)
from approx.affine import AffineMap
from approx.certification import certify
from approx.compression import Compression, compress
from approx.covers import Cover
from approx.depth import DepthBound, depth_lower_bound
from approx.domains import Ball, Box, WholeSpace
from approx.evaluation import SupError, sup_error
from approx.networks import RadialNetwork
from approx.storage import load, save
from approx.targets import Target
from approx.training import train

__version__ = "0.1.0"

__all__ = [
    "AffineMap",
    "Ball",
    "Box",
    "Compression",
    "Cover",
    "DepthBound",
    "RadialNetwork",
    "SupError",
    "Target",
    "WholeSpace",
    "activations",
    "certification",
    "certify",
    "compress",
    "compression",
    "covers",
    "depth",
    "depth_lower_bound",
    "domains",
    "evaluation",
    "experiments",
    "export",
    "load",
    "networks",
    "projection",
    "rates",
    "render",
    "save",
    "storage",
    "sup_error",
    "targets",
    "train",
    "training",
]
