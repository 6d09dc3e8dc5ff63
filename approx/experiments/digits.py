"""Images of handwritten digits: those that come with scikit-learn, or MNIST from files on disk."""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from approx import _checks

__all__ = ["load_digits", "read_idx"]

_UNSIGNED_BYTE = 0x08
_MOST_BYTES = 1 << 31


def load_digits(mnist: str | os.PathLike[str] | None = None) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(images (N, d) with grey levels in [0, 1], labels (N,) in 0..9).

    mnist : a folder that holds train-images-idx3-ubyte and train-labels-idx1-ubyte, compressed (.gz) or not; None for
        the 1,797 images of 8 x 8 pixels that scikit-learn brings along (alpaydin1998digits, d = 64)

    Raises ImportError without scikit-learn where it is needed, ValueError for files that are missing, damaged or do
    not belong together.

    >>> images, labels = load_digits()  # needs scikit-learn
    >>> images.shape, labels[:3]
    ((1797, 64), array([0, 1, 2]))
    """
    if mnist is None:
        try:
            from sklearn import datasets
        except ImportError as error:
            required = "the package scikit-learn, or MNIST files in a folder named by mnist="
            action = "Install it with: pip install scikit-learn"
            raise ImportError(_checks.message("load_digits", "no scikit-learn", required, action)) from error
        images, labels = datasets.load_digits(return_X_y=True)
        return images / 16.0, labels.astype(np.int64)
    folder = Path(mnist)
    images = read_idx(_find(folder, "train-images-idx3-ubyte"))
    labels = read_idx(_find(folder, "train-labels-idx1-ubyte"))
    if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels) or labels.max() > 9:
        received = f"images of shape {images.shape} and labels of shape {labels.shape} up to {labels.max()}"
        required = "(N, rows, columns) and (N,) with labels 0 to 9"
        raise ValueError(_checks.message("load_digits", received, required, "Use two files of one data set."))
    return images.reshape(len(images), -1) / 255.0, labels.astype(np.int64)


def read_idx(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """The array in an IDX file of unsigned bytes, decompressed if its name ends in .gz.

    The format: two zero bytes, the type (8), the number of axes, every length as 4 bytes with the highest first, then
    the entries. Raises ValueError for another type and for files that are damaged, too short or too long.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "labels"
    ...     _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]))
    ...     read_idx(path)
    array([7, 2, 1], dtype=uint8)
    """
    call, path = "read_idx", Path(path)
    name = repr(str(path))
    action = "Download the file again."
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
            head = file.read(4)
            if len(head) < 4 or head[:2] != b"\0\0" or head[2] != _UNSIGNED_BYTE or head[3] == 0:
                received = f"{name}, which begins with {head.hex(' ') or 'nothing'}"
                raise ValueError(_checks.message(call, received, "an IDX file of unsigned bytes, 00 00 08 ..", action))
            lengths = file.read(4 * head[3])
            if len(lengths) < 4 * head[3]:
                raise ValueError(_checks.message(call, f"{name}, which ends in its header", "a whole file", action))
            shape = struct.unpack(f">{head[3]}I", lengths)
            size = math.prod(shape)
            if not 0 < size <= _MOST_BYTES:
                received = f"{name}, which announces the shape {_checks.show(shape)}"
                raise ValueError(_checks.message(call, received, f"1 to {_MOST_BYTES:,} entries", action))
            data = file.read(size + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        received = f"{name}, which does not decompress ({error})"
        raise ValueError(_checks.message(call, received, "a whole gzip file", action)) from error
    if len(data) != size:
        kind = "more" if len(data) > size else f"only {len(data):,}"
        received = f"{name}, which announces {size:,} entries and holds {kind}"
        raise ValueError(_checks.message(call, received, "as many as announced", action))
    return np.frombuffer(data, np.uint8).reshape(shape)


def _find(folder: Path, name: str) -> Path:
    for file in (folder / name, folder / f"{name}.gz"):
        if file.is_file():
            return file
    required = f"a folder that holds {name} or {name}.gz"
    raise ValueError(_checks.message("load_digits", f"mnist = {str(folder)!r}", required, "Check the folder."))
