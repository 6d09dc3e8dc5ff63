"""Networks as pure numpy functions, and as one Python file that needs nothing but numpy."""

from __future__ import annotations

import base64
import inspect
import io
import textwrap
from typing import Any

import numpy as np

from approx.export import _runtime
from approx.export._plan import Plan, plan_of
from approx.export._runtime import Network
from approx.networks import RadialNetwork

__all__ = ["npz_bytes", "python_source", "to_numpy"]

_PROGRAM = '''

def network(x):
    """x (..., {dim_in}) -> (..., {dim_out}), {dtype}: the network whose weights stand below."""
    return _network(x)


DATA = """
{data}
"""
_network = Network.from_bytes(base64.b64decode(DATA))

if __name__ == "__main__":
    import sys

    print(*network([float(value) for value in sys.argv[1:]]))
'''


def to_numpy(network: RadialNetwork) -> Network:
    """The network as a function of arrays, x (..., n) -> (..., m), computed by numpy alone in the network's dtype.

    Values differ from the network's by rounding: sums may be taken in another order. Where a boundary of Step-ReLU lies
    within that rounding, the value may be that of the other side.
    Raises TypeError for something else than a RadialNetwork, ValueError for a dtype that is not float32 or float64,
    weights that are not finite and activations that are not the package's.

    >>> import torch
    >>> from approx.activations import StepReLU
    >>> from approx.networks import Dense
    >>> eye = torch.eye(2, dtype=torch.float64)
    >>> net = RadialNetwork([Dense(eye, torch.zeros(2).double(), StepReLU()), Dense(eye[:1], torch.ones(1).double())])
    >>> to_numpy(net)([[3.0, 0.0], [0.1, 0.1]])
    array([[4.],
           [1.]])
    """
    plan = plan_of("to_numpy", network)
    return Network(plan.header(), plan.arrays())


def npz_bytes(plan: Plan) -> bytes:
    """The plan as the content of an .npz file: its arrays, and the JSON text `header`."""
    stream = io.BytesIO()
    arrays: dict[str, Any] = {"header": np.array(plan.header()), **plan.arrays()}
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def python_source(plan: Plan) -> str:
    """A Python file with the function `network` and its weights; it imports numpy and the standard library only."""
    data = "\n".join(textwrap.wrap(base64.b64encode(npz_bytes(plan)).decode(), 100))
    runtime = inspect.getsource(_runtime).replace("import io\n", "import base64\nimport io\n", 1)
    facts = {"dim_in": plan.dim_in, "dim_out": plan.dim_out, "dtype": plan.dtype.name}
    return runtime + _PROGRAM.format(data=data, **facts)
