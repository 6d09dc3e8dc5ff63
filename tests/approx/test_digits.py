"""Handwritten digits: scikit-learn's, and IDX files whole and damaged."""

import gzip
import struct
import sys

import numpy as np
import pytest

from approx.experiments import image_recovery, load_digits, read_idx

IMAGES = np.random.default_rng(0).integers(0, 256, (40, 4, 5), dtype=np.uint8)
LABELS = np.repeat(np.arange(4, dtype=np.uint8), 10)


def idx(array, kind=8):
    """The bytes of an IDX file, from the definition of the format."""
    return bytes([0, 0, kind, array.ndim]) + b"".join(struct.pack(">I", n) for n in array.shape) + array.tobytes()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(IMAGES), mtime=0))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(LABELS))
    return tmp_path


def test_scikit_learns_digits():
    images, labels = load_digits()
    assert images.shape == (1797, 64) and (images.min(), images.max()) == (0, 1)
    assert np.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_mnist_files_plain_and_compressed(folder):
    images, labels = load_digits(folder)
    assert np.array_equal(images, IMAGES.reshape(40, 20) / 255) and np.array_equal(labels, LABELS)
    result = image_recovery(trials=1, epochs=2, copies=5, digit=2, mnist=folder)
    assert result.settings["data"] == "IDX files" and result.settings["widths"] == (20, 21, 22, 3)


def test_without_scikit_learn_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ImportError, match=r"no scikit-learn; required .* pip install scikit-learn"):
        load_digits()


GOOD = idx(IMAGES)
DAMAGED = [
    (b"", "begins with nothing"),
    (b"\0\0\x08", "begins with 00 00 08"),
    (b"<html>not found</html>", "begins with 3c 68 74 6d"),
    (idx(IMAGES, kind=0x0D), "begins with 00 00 0d 03"),
    (b"\0\0\x08\0" + b"1", "begins with 00 00 08 00"),
    (GOOD[:10], "ends in its header"),
    (GOOD[:-1], "announces 800 entries and holds only 799"),
    (GOOD + b"\0", "announces 800 entries and holds more"),
    (GOOD[:4] + b"\xff" * 12, r"announces the shape \(4294967295"),
    (GOOD[:4] + b"\0" * 12, r"announces the shape \(0, 0, 0\)"),
]


@pytest.mark.parametrize("content, match", DAMAGED)
@pytest.mark.parametrize("packed", [False, True])
def test_damaged_files(tmp_path, content, match, packed):
    file = tmp_path / ("images.gz" if packed else "images")
    file.write_bytes(gzip.compress(content, mtime=0) if packed else content)
    with pytest.raises(ValueError, match=f"read_idx: received .*images.*{match}"):
        read_idx(file)


@pytest.mark.parametrize(
    "content",
    [gzip.compress(GOOD, mtime=0)[:-20], GOOD, b"\x1f\x8b" + b"x" * 50, gzip.compress(GOOD, mtime=0)[:40] + b"\0" * 30],
)
def test_damaged_compression(tmp_path, content):
    file = tmp_path / "images.gz"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"does not decompress|announces|ends in its header"):
        read_idx(file)


def test_files_that_do_not_belong_together(folder):
    (folder / "train-labels-idx1-ubyte").write_bytes(idx(LABELS[:-1]))
    with pytest.raises(ValueError, match=r"images of shape \(40, 4, 5\) and labels of shape \(39,\)"):
        load_digits(folder)
    (folder / "train-labels-idx1-ubyte").write_bytes(idx(LABELS + 8))
    with pytest.raises(ValueError, match="up to 11; required"):
        load_digits(folder)
    (folder / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(ValueError, match=r"holds train-labels-idx1-ubyte or train-labels-idx1-ubyte\.gz"):
        load_digits(folder)
    with pytest.raises(ValueError, match="holds train-images-idx3-ubyte"):
        load_digits(folder / "absent")
