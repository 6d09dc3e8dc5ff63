"""Radial-basis networks: other activations than Step-ReLU, without training, with spectral accuracy."""

from constructions.radial_basis.build import NAME, build
from constructions.radial_basis.data import from_samples
from constructions.radial_basis.features import Layers, assemble, sweep
from constructions.radial_basis.kernels import Kernel, kernel
from constructions.radial_basis.result import RadialBasis, SampleReport
from constructions.radial_basis.tuning import fine_tune

__all__ = [
    "NAME",
    "Kernel",
    "Layers",
    "RadialBasis",
    "SampleReport",
    "assemble",
    "build",
    "fine_tune",
    "from_samples",
    "kernel",
    "sweep",
]
