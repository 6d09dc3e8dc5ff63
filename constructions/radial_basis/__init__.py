"""Radial-basis networks: other activations than Step-ReLU, without training, with spectral accuracy."""

from constructions.radial_basis.build import NAME, build
from constructions.radial_basis.features import Layers, assemble, sweep
from constructions.radial_basis.kernels import Kernel, kernel
from constructions.radial_basis.result import RadialBasis

__all__ = ["NAME", "Kernel", "Layers", "RadialBasis", "assemble", "build", "kernel", "sweep"]
