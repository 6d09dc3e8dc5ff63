"""Targets from files: every format read right, every damaged file refused by name."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from approx.domains import Box
from approx.targets import from_file


def write(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_numpy_files(tmp_path):
    values = np.random.default_rng(0).standard_normal((4, 5))
    np.save(tmp_path / "a.npy", values)
    f = from_file(tmp_path / "a.npy")
    assert f.name == "a" and f.domain == Box([0, 0], [3, 4]) and f([3, 4]) == values[3, 4]
    np.savez(tmp_path / "b.npz", values=values, lower=[-1, -1], upper=[1, 1])
    assert from_file(str(tmp_path / "b.npz"))([1.0, -1.0]) == values[3, 0]
    np.savez(tmp_path / "c.npz", points=[[0.0, 1.0], [1.0, 0.0]], values=[1.0, 2.0])
    assert from_file(tmp_path / "c.npz").lipschitz == pytest.approx(2**-0.5)
    np.savez_compressed(tmp_path / "d.NPZ.npz", values)
    assert from_file(tmp_path / "d.NPZ.npz")([0, 1]) == values[0, 1]
    assert from_file(tmp_path / "a.npy", domain=Box([1, 1], [2, 2])).domain == Box([1, 1], [2, 2])
    assert from_file(tmp_path / "c.npz", domain=Box.cube(2, 9.0)).domain == Box.cube(2, 9.0)
    with pytest.raises(ValueError, match="a domain inside"):
        from_file(tmp_path / "a.npy", domain=Box.cube(2, 9.0))


def test_csv_files(tmp_path):
    f = from_file(write(tmp_path, "grid.csv", "1, 2,3\n4,5,6e0\n\n"))
    assert f.domain == Box([0, 0], [1, 2]) and f([1, 2]) == 6
    assert from_file(write(tmp_path, "line.csv", "1\n2\n-.5\n")).dim_in == 1
    f = from_file(write(tmp_path, "s.csv", "\ufeffX,Y,Value\n0,0,1\n3,4,2\n"))
    assert (f.dim_in, f.dim_out) == (2, 1) and f.lipschitz == pytest.approx(0.2) and f([3, 4]) == 2
    f = from_file(write(tmp_path, "v.csv", "x1,x2,x3,y1,y2\n0,0,0,1,2\n1,0,0,3,4\n"))
    assert (f.dim_in, f.dim_out) == (3, 2) and f([1, 0, 0]).tolist() == [3, 4]
    assert from_file(write(tmp_path, "w.csv", "x1,y1\n0,0\n1,1\n")).dim_in == 1


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "gif"])
def test_pictures_stand_upright(tmp_path, suffix):
    pixels = np.array([[0, 51, 102], [153, 204, 255]], dtype=np.uint8)  # top row first
    Image.fromarray(pixels).save(tmp_path / f"p.{suffix}")
    f = from_file(tmp_path / f"p.{suffix}")
    assert f.domain == Box([0, 0], [1.5, 1])
    np.testing.assert_allclose(f([[0, 1], [1.5, 1], [0, 0], [1.5, 0]]).ravel(), [0, 0.4, 0.6, 1.0], atol=1e-12)


def test_pictures_in_colour_and_depth(tmp_path):
    colours = np.zeros((2, 2, 4), dtype=np.uint8)
    colours[0] = [[255, 0, 0, 255], [0, 255, 0, 255]]
    colours[1] = [[0, 0, 255, 255], [0, 0, 0, 0]]  # transparent shows white
    Image.fromarray(colours).save(tmp_path / "c.png")
    grey = from_file(tmp_path / "c.png")([[0, 1], [1, 1], [0, 0], [1, 0]]).ravel()
    np.testing.assert_allclose(grey, [0.299, 0.587, 0.114, 1.0], atol=1e-12)
    Image.fromarray(np.array([[0, 65535], [13107, 26214]], dtype=np.uint16)).save(tmp_path / "d.png")
    deep = from_file(tmp_path / "d.png")([[0, 1], [1, 1], [0, 0], [1, 0]]).ravel()
    np.testing.assert_allclose(deep, [0, 1, 0.2, 0.4], atol=1e-12)
    smooth = np.tile(np.linspace(0, 255, 32).astype(np.uint8), (32, 1))
    Image.fromarray(smooth).save(tmp_path / "e.jpg")
    np.testing.assert_allclose(from_file(tmp_path / "e.jpg")([[0, 0.5], [1, 0.5]]).ravel(), [0, 1], atol=0.03)


PNG = b"\x89PNG\r\n\x1a\n"
BAD_FILES = {
    "a.txt": (b"1,2\n", "a known file type"),
    "noending": (b"1,2\n", "a known file type"),
    "empty.npy": (b"", "empty"),
    "empty.csv": (b"", "empty"),
    "empty.png": (b"", "empty"),
    "junk.npy": (b"not numpy", "contents numpy cannot read"),
    "junk.npz": (b"PK\x03\x04 truncated", "contents numpy cannot read"),
    "header.npy": (b"\x93NUMPY\x01\x00\x10\x00{'descr': 'bad'}", "contents numpy cannot read"),
    "junk.png": (b"not a picture", "contents that are no image"),
    "cut.png": (PNG + b"\x00\x00\x00\rIHDR", "contents that are no image"),
    "junk.jpg": (b"\xff\xd8\xff", "contents that are no image"),
    "blank.csv": (b"\n , \n", "no rows"),
    "binary.csv": (b"\xff\xfe\x00\x01", "contents that are no csv"),
    "ragged.csv": (b"1,2\n3\n", "1 cells in data row 2; required 2 cells"),
    "word.csv": (b"1,2\n3,four\n", "'four' in data row 2, column 2; required a number"),
    "gap.csv": (b"1,2\n3,\n", "'' in data row 2, column 2"),
    "nan.csv": (b"1,2\n3,nan\n", r"values\[1, 1\] = nan; required finite"),
    "one.csv": (b"1,2,3\n", r"shape \(1, 3\); required at least 2 nodes"),
    "onecell.csv": (b"1\n", "required at least 2 nodes"),
    "names.csv": (b"a,b,c\n1,2,3\n4,5,6\n", "the header 'a,b,c'; required columns x1"),
    "novalue.csv": (b"x,y\n1,2\n3,4\n", "the header 'x,y'"),
    "valuefirst.csv": (b"value,x\n1,2\n3,4\n", "the header 'value,x'"),
    "headeronly.csv": (b"x,value\n", "0 distinct points"),
    "single.csv": (b"x,value\n1,2\n", "1 distinct points"),
    "clash.csv": (b"x,value\n1,2\n1,3\n", "two values at the point"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_files_are_refused_by_name(tmp_path, name):
    content, pattern = BAD_FILES[name]
    with pytest.raises(ValueError, match=pattern) as caught:
        from_file(write(tmp_path, name, content))
    assert name in str(caught.value)


def test_other_bad_files(tmp_path):
    with pytest.raises(ValueError, match="which is missing"):
        from_file(tmp_path / "nowhere.npy")
    (tmp_path / "folder.npy").mkdir()
    with pytest.raises(ValueError, match="which is not a file"):
        from_file(tmp_path / "folder.npy")
    np.save(tmp_path / "object.npy", np.array([{}, 1], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="Object arrays cannot be loaded"):
        from_file(tmp_path / "object.npy")
    np.savez(tmp_path / "keys.npz", a=[1, 2], b=[3, 4])
    with pytest.raises(ValueError, match="arrays named a, b; required values"):
        from_file(tmp_path / "keys.npz")
    np.savez(tmp_path / "none.npz")
    with pytest.raises(ValueError, match=r"arrays named nothing|cannot read|empty"):
        from_file(tmp_path / "none.npz")
    np.savez(tmp_path / "half.npz", values=[1, 2], lower=[0])
    with pytest.raises(ValueError, match=r"half.npz.*only one of lower and upper"):
        from_file(tmp_path / "half.npz")
    np.save(tmp_path / "text.npy", np.array(["a", "b"]))
    with pytest.raises(ValueError, match=r"text.npy.*dtype <U1"):
        from_file(tmp_path / "text.npy")
    Image.fromarray(np.zeros((1, 5), dtype=np.uint8)).save(tmp_path / "row.png")
    with pytest.raises(ValueError, match=r"row.png.*at least 2 nodes"):
        from_file(tmp_path / "row.png")
    whole = tmp_path / "whole.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40), dtype=np.uint8)).save(whole)
    with pytest.raises(ValueError, match="contents that are no image"):
        from_file(write(tmp_path, "cut2.png", whole.read_bytes()[:300]))
    with pytest.raises(TypeError, match="path = 3; required a file path"):
        from_file(3)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(["npy", "npz", "csv", "png"]), st.binary(min_size=1, max_size=200))
def test_random_bytes_give_one_clear_error_or_a_target(tmp_path_factory, suffix, content):
    path = write(tmp_path_factory.getbasetemp(), f"fuzz.{suffix}", content)
    try:
        target = from_file(path)
    except ValueError as error:
        assert "fuzz" in str(error)
    else:
        assert np.isfinite(target(target.domain.sample(4))).all()
