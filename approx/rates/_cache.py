"""Finished points of a sweep in a file of JSON lines, so that an interrupted sweep goes on where it was."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

from approx import _checks, storage
from approx.rates._table import RateRow
from approx.targets import Target

__all__ = ["Cache", "fingerprint"]

_HEADER = {"format": "radial-approx rates", "version": 1}
_PROBES = 64


class Cache:
    """Rows by key, one JSON object a line below a header line; without a path it remembers nothing.

    Lines that cannot be read (a write was cut short, say) are skipped with a UserWarning that counts them, and their
    points are computed anew. Raises ValueError for a file that is not such a cache, which is left as it is.
    """

    def __init__(self, path: str | os.PathLike[str] | None):
        self._path: Path | None = None if path is None else storage.writable(path)
        self._rows: dict[str, RateRow] = {}
        if self._path is not None and self._path.exists() and self._path.stat().st_size:
            self._load(self._path)

    def _load(self, path: Path) -> None:
        lines = path.read_bytes().split(b"\n")
        if _parsed(lines[0]) != _HEADER:
            received = f"{str(path)!r}, which does not begin like a cache of a sweep"
            raise ValueError(_checks.message("sweep", received, "a new file or such a cache", "Choose another name."))
        damaged = []
        for number, line in enumerate(lines[1:], start=2):
            if not line.strip():
                continue
            try:
                entry = _parsed(line)
                row = dict(entry["row"])
                row["theory"] = None if row["theory"] is None else tuple(row["theory"])
                self._rows[str(entry["key"])] = RateRow(**row)
            except (TypeError, KeyError, ValueError):
                damaged.append(number)
        if damaged:
            which = f"line {damaged[0]}" if len(damaged) == 1 else f"{len(damaged)} lines, line {damaged[0]} first,"
            warnings.warn(f"{path}: {which} cannot be read; those points are computed anew", stacklevel=4)

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, key: str) -> RateRow | None:
        return self._rows.get(key)

    def put(self, key: str, row: RateRow) -> None:
        """Append the row and flush; what was written before stays whatever happens."""
        self._rows[key] = row
        if self._path is None:
            return
        line = json.dumps({"key": key, "row": asdict(row)}, allow_nan=False)
        with open(self._path, "a+b") as stream:
            if stream.tell() == 0:
                stream.write(json.dumps(_HEADER).encode() + b"\n")
            else:
                stream.seek(-1, os.SEEK_END)
                if stream.read(1) != b"\n":  # the rest of a write that was cut short
                    stream.write(b"\n")
            stream.write(line.encode() + b"\n")


def fingerprint(target: Target, *facts: Any) -> str:
    """A key that changes with the target (its values at fixed points, domain, what is claimed of it) and the facts."""
    points = target.domain.sample(_PROBES, seed=0)
    known = (target.name, target.dim_in, target.dim_out, str(target.domain), target.lipschitz, target.lipschitz_source)
    digest = hashlib.sha256(repr((known, facts)).encode())
    digest.update(target(points).tobytes())
    if target.affine is not None:
        digest.update(target.affine.matrix.tobytes() + target.affine.offset.tobytes())
    return digest.hexdigest()


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:  # also text that is not UTF-8
        return None
