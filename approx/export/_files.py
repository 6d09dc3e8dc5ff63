"""Exported files: one function that writes, one that reads a file back as a function of arrays."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from approx import _checks
from approx.export._numpy import npz_bytes, python_source
from approx.export._onnx import model_of
from approx.export._plan import Plan, plan_of
from approx.export._runtime import Network
from approx.export._torch import program_of, script_of, undeprecated
from approx.networks import RadialNetwork
from approx.storage import replacing, writable

__all__ = ["FORMATS", "read", "write"]


def write(path: str | os.PathLike[str], network: RadialNetwork) -> None:
    """Write a network for programs that do not have this package, in the format that the file's name ends in.

        .onnx  standard operators, dynamic batch; runs in onnxruntime and everything else that reads ONNX
        .npz   arrays and a JSON header, see `approx.export` for what they mean
        .py    one Python file with the weights and a function `network`; needs numpy alone
        .pt    TorchScript, for torch.jit.load in Python and C++
        .pt2   a torch.export program, for torch.export.load

    Raises ValueError for another ending and a path that cannot be written, ImportError when a format's package is
    missing, and what `to_numpy` raises. The file appears only once it is complete.

    >>> import tempfile
    >>> from approx.networks import Dense
    >>> net = RadialNetwork([Dense(torch.eye(2).double(), torch.ones(2).double())])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write(f"{folder}/net.npz", net)
    ...     read(f"{folder}/net.npz")([[1.0, 2.0]])
    array([[2., 3.]])
    """
    file = writable(path)
    kind = _format("write", file)
    data = FORMATS[kind](plan_of("write", network))
    with replacing(file) as temporary:
        temporary.write_bytes(data)


def read(path: str | os.PathLike[str]) -> Callable[[Any], NDArray]:
    """An exported file as a function x (k, n) -> (k, m) of arrays, run by what it was written for.

    A .py file is run as a program: read only what you trust. Raises FileNotFoundError, ValueError for another ending,
    and ImportError when onnxruntime is missing.

    >>> import tempfile
    >>> import torch
    >>> net = RadialNetwork.from_layers([(torch.ones(1, 2).double(), torch.zeros(1).double(), None)])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write(Path(folder) / "sum.npz", net)
    ...     read(Path(folder) / "sum.npz")(np.array([[3.0, 4.0]]))
    array([[7.]])
    """
    file = Path(path)
    kind = _format("read", file)
    if not file.is_file():
        received = f"{str(file)!r}"
        raise FileNotFoundError(_checks.message("read", received, "an existing file", "Check the name and the folder."))
    if kind == ".npz":
        return Network.from_file(file)
    if kind == ".py":
        import runpy

        return runpy.run_path(str(file))["network"]
    if kind == ".onnx":
        return _onnx(file)
    module = _script(file) if kind == ".pt" else torch.export.load(file).module()
    dtype = next(iter(module.state_dict().values())).dtype

    def run(x: Any) -> NDArray:
        with torch.no_grad():
            return module(torch.as_tensor(np.asarray(x), dtype=dtype)).numpy()

    return run


def _onnx(file: Path) -> Callable[[Any], NDArray]:
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError("read: an .onnx file needs onnxruntime: pip install onnxruntime") from error
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    dtype = np.float64 if session.get_inputs()[0].type == "tensor(double)" else np.float32
    return lambda x: session.run(None, {"x": np.asarray(x, dtype)})[0]


def _script(file: Path) -> torch.jit.ScriptModule:
    with undeprecated():
        return torch.jit.load(file)


def _script_bytes(plan: Plan) -> bytes:
    stream = io.BytesIO()
    script = script_of(plan)
    with undeprecated():
        torch.jit.save(script, stream)
    return stream.getvalue()


def _program_bytes(plan: Plan) -> bytes:
    stream = io.BytesIO()
    logger = logging.getLogger("torch._export.serde.serialize")  # it logs a warning for every scan without captures
    disabled, logger.disabled = logger.disabled, True
    try:
        torch.export.save(program_of(plan), stream)
    finally:
        logger.disabled = disabled
    return stream.getvalue()


def _format(call: str, file: Path) -> str:
    kind = file.suffix.lower()
    if kind not in FORMATS:
        required = f"a file name that ends in {', '.join(FORMATS)}"
        raise ValueError(_checks.message(call, repr(str(file)), required, "The ending chooses the format."))
    return kind


FORMATS: dict[str, Callable[[Plan], bytes]] = {
    ".npz": npz_bytes,
    ".onnx": lambda plan: model_of(plan).SerializeToString(),
    ".pt": _script_bytes,
    ".pt2": _program_bytes,
    ".py": lambda plan: python_source(plan).encode(),
}
