"""Save and load networks: one safetensors file with the weights, the cover they realise and where they come from.

The file is a safetensors file, readable by every tool that reads those. Each block is two tensors
(``block3.weight``, ``block3.bias``), so a million layers stay a few tensors; parameters of activations are
``activation0.<name>``; the cover is ``cover.centers``, ``cover.values``, ``cover.radii`` or ``cover.shapes``, and
``cover.matrix``, ``cover.offset``. The metadata entry ``radial`` is a JSON object that says how they fit together:

format, version : what this file is
sha256 : of the whole file, with these 64 digits read as zeros
package : version of the package that wrote it
dtype, dim_in, dim_out, activations, blocks : the network; every block has type, layers, width_in, width_out and
    the index of its activation, so the widths can be read without any tensor
cover : kind of cells, strategy, error_bound (null if unknown), overlap; null without a cover
provenance : whatever the caller gave: target, eps, domain, builder, theorem, measured error
own : only where activations are not the package's: for each the class that it was, and values of h; null for others

Nothing is pickled, and nothing in a file is executed or imported. An activation that is not the package's is found by
its name among those that are registered (`approx.activations.register`).
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import json
import math
import os
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from approx import _checks, _kept
from approx.activations import RadialActivation
from approx.affine import AffineMap
from approx.covers import Cover
from approx.domains import Ball, Box, WholeSpace, parse_domain
from approx.networks import Dense, Growing, RadialNetwork, Stack
from approx.targets import GALLERY, Target, parse_target

__all__ = ["Saved", "load", "replacing", "save", "writable"]

FORMAT = "radial-network"
VERSION = 1
_KEY = "radial"
_BLOCKS = {"Dense": Dense, "Stack": Stack, "Growing": Growing}
_CHECKSUM = re.compile(rb'\\"sha256\\": ?\\"([0-9a-f]{64})\\"')  # as it stands in the file: JSON inside JSON
_MAX_HEADER = 100_000_000  # what safetensors itself accepts
_CHUNK = 1 << 24


@dataclass(frozen=True, eq=False, repr=False)
class Saved:
    """What a file holds.

    network : the network, on the CPU, in the dtype it was saved in, bit for bit; weights frozen as in a new network
    cover : the ordered cells it realises, or None
    provenance : where it comes from, as given to `save` (tuples come back as lists)
    target, domain, eps : what it says the network was built for. None where it does not: files keep formulas and
        names of the gallery, other targets must be passed besides

    So `certify(load(path))` and `sup_error(load(path))` ask what was asked of the construction.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     net = RadialNetwork.from_layers([(torch.ones(1, 2), torch.zeros(1), None)])
    ...     save(Path(folder) / "sum.safetensors", net, provenance={"made": "by hand"})
    ...     saved = load(Path(folder) / "sum.safetensors")
    >>> saved.network.widths, saved.cover, saved.provenance
    ((2, 1), None, {'made': 'by hand'})
    """

    network: RadialNetwork
    cover: Cover | None
    provenance: dict[str, Any]

    @functools.cached_property
    def target(self) -> Target | None:
        """Raises ValueError for a formula that is none."""
        words, domain = self.words, self.domain
        if "target" not in words:
            return None
        compact = None if isinstance(domain, WholeSpace) else domain
        dim, affine, tail = self.network.dim_in, words.get("affine"), words.get("tail")
        return parse_target(words["target"], dim=dim, domain=compact, affine=affine, tail=tail)

    @functools.cached_property
    def domain(self) -> Box | Ball | WholeSpace | None:
        """Raises ValueError for words that name no domain."""
        spec = self.words.get("domain")
        return None if spec is None else parse_domain(spec, self.network.dim_in)

    @property
    def eps(self) -> float | None:
        eps = self.provenance.get("eps")
        return float(eps) if isinstance(eps, int | float) and 0 < eps < math.inf else None

    @property
    def words(self) -> dict[str, str]:
        """As far as the file has them: target and domain as the command line writes them, affine and tail as
        formulas."""
        found = self.provenance
        words = {"domain": found.get("domain_spec")}
        if isinstance(found.get("formula"), str) and found["formula"]:
            asymptote = {"affine": found.get("affine_formula"), "tail": found.get("tail_formula")}
            words |= {"target": f"expr:{found['formula']}"} | asymptote
        elif found.get("target") in list(GALLERY):
            words["target"] = found["target"]
        return {key: text for key, text in words.items() if isinstance(text, str)}

    def __repr__(self) -> str:
        facts = self.provenance
        lines = ["Saved " + (str(facts["target"]) if facts.get("target") else "network")]
        lines[0] += f" to eps = {facts['eps']}" if facts.get("eps") else ""
        lines[0] += f" on {facts['domain']}" if facts.get("domain") else ""
        lines.append(f"  network  {self.network!r}")
        if self.cover is not None:
            lines.append(f"  cells    {len(self.cover):,}, {self.cover.strategy}")
        lower, upper = facts.get("lower"), facts.get("upper")
        if isinstance(lower, float):
            bound = f" <= {upper:.6g}" if isinstance(upper, float) else ""
            claim = facts.get("claim", "claimed")
            lines.append(f"  error    {lower:.6g} <= sup|F - f|{bound}, {claim} when it was built")
        return "\n".join(lines)


def save(
    path: str | os.PathLike[str],
    network: RadialNetwork,
    *,
    cover: Cover | None = None,
    provenance: dict[str, Any] | None = None,
) -> None:
    """Write a network to `path`, replacing what is there only once the new file is complete.

    cover : the cells the network realises, kept with it. provenance : a dict that JSON can hold.
    Raises ValueError for weights that are not finite, an activation that is not registered, a provenance that is not
    JSON, a cover of other dimensions, or a path that cannot be written; TypeError for something that is not a network.

    >>> import tempfile
    >>> net = RadialNetwork([Dense(torch.eye(2).double(), torch.zeros(2).double())])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(f"{folder}/identity.safetensors", net, provenance={"target": "identity"})
    ...     saved = load(f"{folder}/identity.safetensors")
    >>> saved.network
    RadialNetwork(R^2 -> R^2, no hidden layer, 6 parameters, float64)
    >>> saved.provenance
    {'target': 'identity'}
    """
    if not isinstance(network, RadialNetwork):
        received = f"network = {_checks.show(network)}"
        action = "Pass construction.network, or call construction.save(path)."
        raise TypeError(_checks.message("save", received, "a RadialNetwork", action))
    if cover is not None and (cover.dim_in, cover.dim_out) != (network.dim_in, network.dim_out):
        required = f"a cover in R^{network.dim_in} with values in R^{network.dim_out}"
        raise ValueError(_checks.message("save", repr(cover), required, "Pass the cover this network realises."))
    final = writable(path)
    live, description = _describe(network, cover)
    own = [_kept.description("save", module) for module in _activations(network)]
    tensors = {}  # copies, since safetensors takes neither views nor tensors that share memory
    for name, tensor in live.items():
        if not torch.isfinite(tensor).all():
            action = "Save an earlier state of the training."
            raise ValueError(_checks.message("save", f"NaN or infinity in {name}", "finite numbers", action))
        tensors[name] = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
    header = {
        "format": FORMAT,
        "version": VERSION,
        "sha256": "0" * 64,
        "package": _package_version(),
        **description,
        **({"own": own} if any(own) else {}),
        "provenance": {} if provenance is None else provenance,
    }
    try:
        if not isinstance(header["provenance"], dict):
            raise TypeError("not a dict")
        text = json.dumps(header)
    except (TypeError, ValueError, RecursionError) as error:
        required = "a dict of text, numbers, lists and dicts"
        action = "Convert arrays with .tolist() and objects with str()."
        received = f"provenance that is not JSON ({error})"
        raise ValueError(_checks.message("save", received, required, action)) from error
    with replacing(final) as temporary:
        try:
            save_file(tensors, temporary, {_KEY: text})
        except SafetensorError as error:
            raise OSError(f"save: could not write {str(final)!r}: {error}") from error
        digest, position = _checksum(temporary)
        with open(temporary, "r+b") as stream:
            stream.seek(position)
            stream.write(digest)


def load(path: str | os.PathLike[str]) -> Saved:
    """Read a file written by `save`.

    Raises FileNotFoundError when there is none, PermissionError when it may not be read, and one ValueError that
    names the file when it is damaged, truncated, of another format or version, or contradicts itself, and when it has
    an activation that is not registered (`approx.activations.register`). The checksum covers every byte.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "sum.safetensors"
    ...     save(path, RadialNetwork.from_layers([(torch.ones(1, 2), torch.zeros(1), None)]))
    ...     load(path).network.evaluate([3.0, 4.0])
    array([7.])
    """
    file = _existing(path)
    try:
        with safe_open(file, framework="pt") as content:
            header = json.loads((content.metadata() or {}).get(_KEY, "{}"))
            if not isinstance(header, dict) or header.get("format") != FORMAT:
                raise ValueError("a safetensors file that holds no radial network")
            if header.get("version") != VERSION:
                raise ValueError(f"a radial network in format version {_checks.show(header.get('version'))}")
            digest, _ = _checksum(file)
            if header.get("sha256") != digest.decode():
                raise ValueError("a damaged file: its checksum does not match")
            return _restore(header, content)
    except OSError:
        raise
    except _kept.NotRegistered as error:
        action = "In Python, import or run what registers it, then load the file again."
        text = _checks.message("load", f"{str(file)!r}, {error}", "that activation, as it was", action)
        raise ValueError(text) from error
    except SafetensorError as error:
        problem = f"a damaged or truncated file, or not a safetensors file ({error})"
    except (LookupError, TypeError, ValueError, ArithmeticError, RuntimeError) as error:
        problem = " ".join(str(error).split()) or type(error).__name__
    required = f"a file written by approx.storage.save, format version {VERSION}"
    action = "Take another copy of it, or build and save the network again."
    raise ValueError(_checks.message("load", f"{str(file)!r}, {problem}", required, action))


def writable(path: str | os.PathLike[str]) -> Path:
    """`path` with links resolved, after checking that a file can be put there: ask before long work.

    Raises ValueError when it is a directory, or its folder does not exist or may not be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     writable(Path(folder) / "new.safetensors").name
    'new.safetensors'
    """
    file = _path("path", path)
    folder = file.parent
    if file.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        problem = "is a directory" if file.is_dir() else "is in a folder that may not be written"
        problem = problem if folder.is_dir() else "is in a folder that does not exist"
        required = "the name of a file in an existing, writable folder"
        action = "Create the folder or choose another name."
        raise ValueError(_checks.message("path", f"{str(file)!r}, which {problem}", required, action))
    return file


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give the name of a temporary file beside `path`; at the end of the block it is flushed to disk and becomes
    `path` in one step. If the block raises, the temporary file goes and `path` stays as it was.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with replacing(f"{folder}/note.txt") as temporary:
    ...         _ = temporary.write_text("done")
    ...     [file.name for file in Path(folder).iterdir()]
    ['note.txt']
    """
    final = writable(path)
    temporary = final.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "xb"):
            pass
        mode = temporary.stat().st_mode  # as the umask has it; writers may replace the file by a stricter one
        yield temporary
        os.chmod(temporary, mode)
        with open(temporary, "rb") as stream:
            os.fsync(stream.fileno())
        os.replace(temporary, final)
    finally:
        temporary.unlink(missing_ok=True)


def _activations(network: RadialNetwork) -> list[RadialActivation]:
    """Each once: blocks that share an activation share it again when loaded."""
    modules = [block.activation for block in network.blocks if block.activation is not None]
    return list({id(module): module for module in modules}.values())


def _describe(network: RadialNetwork, cover: Cover | None) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors by name, and the part of the header they determine."""
    modules = _activations(network)
    index = {id(module): position for position, module in enumerate(modules)}
    tensors: dict[str, Tensor] = {}
    blocks: list[dict[str, Any]] = []
    width = network.dim_in
    for position, block in enumerate(network.blocks):
        kind = next((name for name, kind in _BLOCKS.items() if type(block) is kind), None)
        if kind is None:
            received = f"a block of type {type(block).__name__}"
            raise TypeError(_checks.message("save", received, f"one of {', '.join(_BLOCKS)}", "Convert it first."))
        entry = {"type": kind, "layers": block.layers, "width_in": width}
        width = block.widths_after(width)[-1]
        blocks.append({**entry, "width_out": width, "activation": index.get(id(block.activation))})
        tensors |= {f"block{position}.weight": block.weight, f"block{position}.bias": block.bias}
    for position, module in enumerate(modules):
        tensors |= {f"activation{position}.{name}": value for name, value in module.state_dict().items()}
    description = {
        "dtype": str(network.dtype).removeprefix("torch."),
        "dim_in": network.dim_in,
        "dim_out": network.dim_out,
        "activations": [module.config() for module in modules],
        "blocks": blocks,
        "cover": None,
    }
    if cover is not None:
        cells = "radii" if cover.is_balls else "shapes"
        description["cover"] = {
            "cells": cells,
            "strategy": cover.strategy,
            "error_bound": cover.error_bound if math.isfinite(cover.error_bound) else None,
            "overlap": cover.overlap,
        }
        arrays = {"centers": cover.centers, "values": cover.values, cells: getattr(cover, cells)}
        arrays |= {"matrix": cover.affine.matrix, "offset": cover.affine.offset}
        tensors |= {f"cover.{name}": torch.tensor(array) for name, array in arrays.items()}
    return tensors, description


def _restore(header: dict[str, Any], content: safe_open) -> Saved:
    """The objects a header describes. Raises one of many exceptions when header and tensors disagree."""
    activations = []
    own = header.get("own", [None] * len(header["activations"]))
    for position, (config, described) in enumerate(zip(header["activations"], own, strict=True)):
        prefix = f"activation{position}."
        names = [name for name in content.keys() if name.startswith(prefix)]
        state = {name.removeprefix(prefix): content.get_tensor(name).clone() for name in names}
        activations.append(_kept.recalled(config, state, described))
    blocks = []
    for position, entry in enumerate(header["blocks"]):
        weight, bias = (content.get_tensor(f"block{position}.{name}") for name in ("weight", "bias"))
        activation = None if entry["activation"] is None else activations[entry["activation"]]
        blocks.append(_BLOCKS[entry["type"]](weight, bias, activation))
    network = RadialNetwork(blocks)
    cover = None
    if header["cover"] is not None:
        facts = header["cover"]
        arrays = {name: content.get_tensor(f"cover.{name}").numpy() for name in ("centers", "values", facts["cells"])}
        affine = AffineMap(*(content.get_tensor(f"cover.{name}").numpy() for name in ("matrix", "offset")))
        bound = math.nan if facts["error_bound"] is None else facts["error_bound"]
        cover = Cover(**arrays, affine=affine, strategy=facts["strategy"], error_bound=bound, overlap=facts["overlap"])
    _, found = _describe(network, cover)
    for name, value in found.items():
        if header[name] != value:
            raise ValueError(f"a header whose {name!r} contradicts the tensors")
    if not isinstance(header["provenance"], dict):
        raise ValueError("a header whose 'provenance' is not a JSON object")
    return Saved(network, cover, header["provenance"])


def _checksum(file: Path) -> tuple[bytes, int]:
    """SHA-256 of the file with its own digits read as zeros, as hex digits, and where those digits stand."""
    with open(file, "rb") as stream:
        head = stream.read(8)
        size = int.from_bytes(head, "little")
        if size > _MAX_HEADER:
            raise ValueError(f"a header of {size:,} bytes where at most {_MAX_HEADER:,} are allowed")
        head += stream.read(size)
        digits = _CHECKSUM.search(head)
        if digits is None:
            raise ValueError("a damaged file: it has no checksum")
        state = hashlib.sha256(head[: digits.start(1)] + b"0" * 64 + head[digits.end(1) :])
        while chunk := stream.read(_CHUNK):
            state.update(chunk)
    return state.hexdigest().encode(), digits.start(1)


def _existing(path: str | os.PathLike[str]) -> Path:
    file = _path("load", path)
    if not file.exists():
        raise FileNotFoundError(
            _checks.message("load", f"{str(file)!r}", "an existing file", "Check the name and the folder.")
        )
    if not file.is_file():
        action = "Name a file written by approx.storage.save."
        raise ValueError(_checks.message("load", f"{str(file)!r}, not a regular file", "a file", action))
    with open(file, "rb"):  # safe_open would call a file that may not be read missing
        return file


def _path(call: str, path: str | os.PathLike[str]) -> Path:
    """`path` with links resolved, so that a link keeps pointing where it did."""
    if not isinstance(path, str | os.PathLike) or not isinstance(os.fspath(path), str):
        received = f"path = {_checks.show(path)}"
        raise TypeError(_checks.message(call, received, "a str or a Path", "Pass the name of a file."))
    text = os.fspath(path)
    if not text or "\0" in text:
        received = f"path = {_checks.show(text)}"
        raise ValueError(_checks.message(call, received, "the name of a file", "Check the name."))
    return Path(os.path.realpath(text))


def _package_version() -> str:
    try:
        return importlib.metadata.version("radial-approx")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
