"""Networks for programs that do not have this package.

    to_sequential   nn.Sequential of plain torch modules
    to_numpy        a function of numpy arrays
    to_onnx         an ONNX model
    to_script       TorchScript            to_program   torch.export
    write, read     any of them as a file  compare      a file's values against the network's

All but the first write a network as a few steps, in this order (rows of x are points):

    dense    rho(x @ weight.T + bias)
    stack    the same for every weight[i], bias[i]
    growing  for every i: the first h coordinates become h + 1 by weight[i], bias[i], the others move up, then rho of
             all; at the end x @ readout.T + offset
    rescale  rho(x)

An .npz file holds their arrays as ``step0.weight``, ... and the text ``header``: JSON with dim_in, dim_out, dtype and,
for every step, its kind and the name and shift of rho.
"""

from approx.export._check import Comparison, compare, probe
from approx.export._files import FORMATS, read, write
from approx.export._numpy import to_numpy
from approx.export._onnx import to_onnx
from approx.export._torch import to_program, to_script, to_sequential

__all__ = [
    "FORMATS",
    "Comparison",
    "compare",
    "probe",
    "read",
    "to_numpy",
    "to_onnx",
    "to_program",
    "to_script",
    "to_sequential",
    "write",
]
