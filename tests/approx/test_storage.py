"""Files: what comes back is what went in, bit for bit; anything else is refused with one clear error."""

import json
import os
import stat
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file

from approx import storage
from approx.activations import RadialActivation, ShiftedReLU, Squashing, StepReLU, activation_names, from_config
from approx.affine import AffineMap
from approx.covers import Cover
from approx.domains import Box, WholeSpace
from approx.networks import Dense, Growing, RadialNetwork, Stack
from approx.storage import Saved, load, replacing, save, writable


def random_network(dtype=torch.float64, layers=50):
    """Every kind of block, two activations of which one is shared and one trainable: R^2 -> R^1."""
    random = torch.Generator().manual_seed(7)

    def draw(*shape):
        return torch.randn(*shape, generator=random, dtype=torch.float64).to(dtype)

    step, trained = StepReLU(), ShiftedReLU(1 / 3, trainable=True)
    return RadialNetwork(
        [
            Dense(draw(3, 2), draw(3), trained),
            Stack(draw(layers, 3, 3), draw(layers, 3), step),
            Growing(draw(5, 4, 3), draw(5, 4), step),
            Dense(draw(2, 8), draw(2), Squashing()),
            Dense(draw(1, 2), draw(1)),
        ]
    )


def random_cover(balls=True, cells=20):
    random = np.random.default_rng(3)
    extent = {"radii": random.uniform(0.1, 1, cells)} if balls else {"shapes": random.normal(size=(cells, 2, 2))}
    affine = AffineMap(random.normal(size=(1, 2)), random.normal(size=1))
    return Cover(
        random.normal(size=(cells, 2)), random.normal(size=(cells, 1)), affine, **extent, strategy="test", overlap=1e-6
    )


PROVENANCE = {
    "target": "gaussian",
    "eps": 0.1,
    "domain": "R^2",
    "upper": None,
    "widths": [3, 3],
    "note": 'é 日 \\ " \n',
}


def bits(tensor):
    return tensor.detach().numpy().tobytes()


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "net.safetensors"
    save(path, random_network(), cover=random_cover(), provenance=PROVENANCE)
    return path


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_weights_come_back_bit_for_bit(tmp_path, dtype):
    network = random_network(dtype)
    with torch.no_grad():  # signed zero, subnormal and largest numbers must survive too
        network.blocks[1].bias[0] = torch.tensor(
            [-0.0, torch.finfo(dtype).tiny / 8, torch.finfo(dtype).max], dtype=dtype
        )
    save(tmp_path / "net", network)
    loaded = load(tmp_path / "net").network
    assert [type(block) for block in loaded.blocks] == [type(block) for block in network.blocks]
    assert loaded.widths == network.widths
    assert loaded.state_dict().keys() == network.state_dict().keys()
    for name, value in network.state_dict().items():
        assert loaded.state_dict()[name].dtype == value.dtype
        assert bits(loaded.state_dict()[name]) == bits(value), name


def test_a_loaded_network_computes_the_same_values(file):
    x = torch.randn(17, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    values = load(file).network(x)
    assert values.isfinite().all() and torch.equal(values, random_network()(x))


def test_provenance_and_an_absent_cover_come_back(file, tmp_path):
    assert load(file).provenance == PROVENANCE
    save(tmp_path / "bare", random_network())
    bare = load(str(tmp_path / "bare"))
    assert bare.cover is None and bare.provenance == {}


@pytest.mark.parametrize("balls", [True, False])
def test_covers_come_back(tmp_path, balls):
    cover = random_cover(balls)
    save(tmp_path / "net", random_network(), cover=cover)
    loaded = load(tmp_path / "net").cover
    assert loaded.strategy == "test" and loaded.overlap == 1e-6 and np.isnan(loaded.error_bound)
    for name in ("centers", "values", "radii" if balls else "shapes"):
        assert getattr(loaded, name).tobytes() == getattr(cover, name).tobytes()
    assert (loaded.radii is None) != balls
    assert loaded.affine.matrix.tobytes() == cover.affine.matrix.tobytes()
    assert loaded.affine.offset.tobytes() == cover.affine.offset.tobytes()


def test_a_cover_without_cells_comes_back(tmp_path):
    cover = Cover(np.empty((0, 2)), np.empty((0, 1)), AffineMap.constant([1.0], 2), radii=np.empty(0), error_bound=0.25)
    save(tmp_path / "net", random_network(), cover=cover)
    loaded = load(tmp_path / "net").cover
    assert len(loaded) == 0 and loaded.error_bound == 0.25


@pytest.mark.parametrize("name", activation_names())
def test_every_registered_activation_comes_back(tmp_path, name):
    eye = torch.eye(2).double()
    save(tmp_path / "net", RadialNetwork([Dense(eye, eye[0], from_config({"name": name})), Dense(eye, eye[0])]))
    loaded = load(tmp_path / "net").network.blocks[0].activation
    assert loaded.config() == from_config({"name": name}).config()


def test_a_trained_shift_keeps_its_dtype_and_stays_trainable(tmp_path):
    network = random_network().float()
    save(tmp_path / "net", network)
    shift = load(tmp_path / "net").network.blocks[0].activation.shift
    assert shift.dtype == torch.float32 and shift.requires_grad
    assert bits(shift) == bits(network.blocks[0].activation.shift)


def test_blocks_that_share_an_activation_share_it_again(file):
    blocks = load(file).network.blocks
    assert blocks[1].activation is blocks[2].activation
    assert blocks[0].activation is not blocks[1].activation


def test_loaded_weights_do_not_depend_on_the_file(file):
    network = load(file).network
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with open(file, "r+b") as stream:
        stream.write(b"\xff" * file.stat().st_size)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_tied_weights_are_saved_as_separate_tensors(tmp_path):
    network = random_network()
    network.blocks[4].bias = torch.nn.Parameter(network.blocks[3].bias[:1], requires_grad=False)
    save(tmp_path / "net", network)
    assert torch.equal(load(tmp_path / "net").network.blocks[4].bias, network.blocks[3].bias[:1])


def test_a_hundred_thousand_layers_are_a_few_tensors(tmp_path):
    save(tmp_path / "net", random_network(layers=100_000))
    with safe_open(tmp_path / "net", framework="np") as content:
        assert len(list(content.keys())) == 11  # five blocks of two tensors, one shift
        header = json.loads(content.metadata()["radial"])
    assert len(json.dumps(header)) < 2000
    assert header["blocks"][1] == {"type": "Stack", "layers": 100_000, "width_in": 3, "width_out": 3, "activation": 1}
    assert load(tmp_path / "net").network.hidden_layers == 100_000 + 7


def test_the_same_network_gives_the_same_bytes(tmp_path, file):
    save(tmp_path / "again", random_network(), cover=random_cover(), provenance=PROVENANCE)
    assert (tmp_path / "again").read_bytes() == file.read_bytes()


def test_a_file_gets_the_permissions_of_an_ordinary_new_file(tmp_path, file):
    (tmp_path / "ordinary").touch()
    assert stat.S_IMODE(file.stat().st_mode) == stat.S_IMODE((tmp_path / "ordinary").stat().st_mode)


# --- what save refuses ---


@pytest.mark.parametrize(
    ("provenance", "match"),
    [({"x": np.zeros(3)}, "not JSON"), ({"x": {1, 2}}, "not JSON"), ([1], "not a dict"), ({"x": b"b"}, "not JSON")],
)
def test_a_provenance_that_is_not_json_is_refused(tmp_path, provenance, match):
    with pytest.raises(ValueError, match=match):
        save(tmp_path / "net", random_network(), provenance=provenance)
    assert list(tmp_path.iterdir()) == []


def test_a_circular_provenance_is_refused(tmp_path):
    provenance = {}
    provenance["self"] = provenance
    with pytest.raises(ValueError, match="not JSON"):
        save(tmp_path / "net", random_network(), provenance=provenance)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path, bad):
    network = random_network()
    with torch.no_grad():
        network.blocks[1].weight[3, 1, 1] = bad
    with pytest.raises(ValueError, match=r"NaN or infinity in block1\.weight"):
        save(tmp_path / "net", network)
    assert list(tmp_path.iterdir()) == []


def test_an_unregistered_activation_is_refused(tmp_path):
    eye = torch.eye(2).double()
    network = RadialNetwork([Dense(eye, eye[0], RadialActivation(torch.tanh)), Dense(eye, eye[0])])
    with pytest.raises(ValueError, match="not registered"):
        save(tmp_path / "net", network)


def test_other_objects_and_covers_of_other_dimensions_are_refused(tmp_path):
    with pytest.raises(TypeError, match="a RadialNetwork"):
        save(tmp_path / "net", torch.nn.Linear(2, 1))
    wrong = Cover(np.zeros((1, 3)), np.zeros((1, 1)), AffineMap.constant([0.0], 3), radii=np.ones(1))
    with pytest.raises(ValueError, match=r"a cover in R\^2"):
        save(tmp_path / "net", random_network(), cover=wrong)


@pytest.mark.parametrize(
    ("name", "match"),
    [("missing/net", "does not exist"), (".", "is a directory"), ("", "name of a file"), ("a\0b", "name of a file")],
)
def test_paths_that_cannot_be_written_are_refused(tmp_path, monkeypatch, name, match):
    monkeypatch.chdir(tmp_path)
    for call in (writable, lambda path: save(path, random_network())):
        with pytest.raises(ValueError, match=match):
            call(name)


def test_a_folder_that_may_not_be_written_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    with pytest.raises(ValueError, match="may not be written"):
        writable(tmp_path / "net")


def test_a_path_must_be_text():
    with pytest.raises(TypeError, match="a str or a Path"):
        writable(3)
    with pytest.raises(TypeError, match="a str or a Path"):
        load(None)


# --- writing in one step ---


def test_a_failed_save_leaves_the_old_file_and_nothing_else(tmp_path, file, monkeypatch):
    before = file.read_bytes()

    def fail(*_):
        raise OSError("disk on fire")

    monkeypatch.setattr(storage.os, "replace", fail)
    with pytest.raises(OSError, match="disk on fire"):
        save(file, random_network(torch.float32))
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
    assert file.read_bytes() == before


def test_an_interrupted_write_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt, match="now"), replacing(tmp_path / "net") as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt("now")
    assert list(tmp_path.iterdir()) == []


def test_a_link_keeps_pointing_where_it_did(tmp_path, file):
    link = tmp_path / "link"
    link.symlink_to(file)
    save(link, random_network(torch.float32))
    assert link.is_symlink() and load(file).network.dtype == torch.float32


# --- what load refuses ---


def test_a_missing_file_and_a_directory_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent.*an existing file"):
        load(tmp_path / "absent")
    with pytest.raises(ValueError, match="not a regular file"):
        load(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_not_called_missing(file):
    file.chmod(0)
    with pytest.raises(PermissionError, match="Permission denied"):
        load(file)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"short",
        b"not a safetensors file, only text\n" * 9,
        (2**63).to_bytes(8, "little"),
        b"\xff" * 64,
        b"\0" * 64,
    ],
)
def test_foreign_files_are_refused(tmp_path, content):
    (tmp_path / "net").write_bytes(content)
    with pytest.raises(ValueError, match=r"net', a damaged or truncated file.*Take another copy"):
        load(tmp_path / "net")


@pytest.mark.parametrize("metadata", [None, {"radial": '{"format": "x"}'}, {"radial": "[]"}, {"format": "pt"}])
def test_other_safetensors_files_are_refused(tmp_path, metadata):
    save_file({"x": torch.zeros(3)}, tmp_path / "net", metadata)
    with pytest.raises(ValueError, match="holds no radial network"):
        load(tmp_path / "net")


def test_absurd_sizes_allocate_nothing(tmp_path):
    entry = {"x": {"dtype": "F64", "shape": [2**40], "data_offsets": [0, 2**43]}}
    text = json.dumps(entry).encode()
    (tmp_path / "net").write_bytes(len(text).to_bytes(8, "little") + text)
    with pytest.raises(ValueError, match="a damaged or truncated file"):
        load(tmp_path / "net")


_ORIGINAL: list[bytes] = []


def _original(tmp_path) -> bytes:
    if not _ORIGINAL:
        save(tmp_path / "small", random_network(layers=2), cover=random_cover(cells=2), provenance={"eps": 0.1})
        _ORIGINAL.append((tmp_path / "small").read_bytes())
    return _ORIGINAL[0]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_changed_byte_is_detected(tmp_path, data):
    content = bytearray(_original(tmp_path))
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= data.draw(st.integers(1, 255))
    (tmp_path / "net").write_bytes(content)
    with pytest.raises(ValueError, match="Take another copy"):
        load(tmp_path / "net")


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_missing_or_added_piece_is_detected(tmp_path, data):
    content = _original(tmp_path)
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, len(content)))
    added = data.draw(st.binary(max_size=20))
    damaged = content[:start] + added + content[end:]
    if damaged == content:
        return
    (tmp_path / "net").write_bytes(damaged)
    with pytest.raises(ValueError, match="Take another copy"):
        load(tmp_path / "net")


# --- files whose checksum is right and whose content is not ---


def forge(path: Path, change) -> None:
    """Apply change(header, tensors) to a saved file and give it a valid checksum."""
    with safe_open(path, framework="pt") as content:
        header = json.loads(content.metadata()["radial"])
        tensors = {name: content.get_tensor(name).clone() for name in content.keys()}
    change(header, tensors)
    header["sha256"] = "0" * 64
    save_file(tensors, path, {"radial": json.dumps(header)})
    digest, position = storage._checksum(path)
    with open(path, "r+b") as stream:
        stream.seek(position)
        stream.write(digest)


def test_forging_nothing_gives_a_file_that_loads(file):
    forge(file, lambda header, tensors: None)
    assert load(file).provenance == PROVENANCE


def _nan(header, tensors):
    tensors["block1.weight"][4, 0, 0] = float("nan")


FORGERIES = {
    "a later version": (lambda h, t: h.update(version=2), "format version 2"),
    "a missing tensor": (lambda h, t: t.pop("block1.bias"), "block1.bias"),
    "a missing cover": (lambda h, t: t.pop("cover.radii"), "cover.radii"),
    "a missing shift": (lambda h, t: t.pop("activation0.shift"), "shift"),
    "a missing entry": (lambda h, t: h.pop("blocks"), "blocks"),
    "NaN weights": (_nan, "NaN or infinity in the weights"),
    "a shape of another width": (lambda h, t: t.update({"block1.bias": torch.zeros(50, 4).double()}), "shape"),
    "fewer layers than stated": (
        lambda h, t: t.update(
            {"block1.bias": t["block1.bias"][:9].clone(), "block1.weight": t["block1.weight"][:9].clone()}
        ),
        "'blocks' contradicts",
    ),
    "absurd layers": (lambda h, t: h["blocks"][1].update(layers=10**18), "'blocks' contradicts"),
    "an absurd width": (lambda h, t: h.update(dim_in=10**18), "'dim_in' contradicts"),
    "another dtype": (lambda h, t: h.update(dtype="float32"), "'dtype' contradicts"),
    "an unknown block": (lambda h, t: h["blocks"][0].update(type="Sparse"), "Sparse"),
    "an unknown activation": (lambda h, t: h["activations"][0].update(name="magic"), "magic"),
    "an activation out of range": (lambda h, t: h["blocks"][0].update(activation=7), "list index out of range"),
    "an activation counted from the end": (lambda h, t: h["blocks"][0].update(activation=-3), "'blocks' contradicts"),
    "other cells": (lambda h, t: h["cover"].update(cells="shapes"), "cover.shapes"),
    "a provenance that is no dict": (lambda h, t: h.update(provenance=3), "'provenance'"),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_files_that_contradict_themselves_are_refused(file, name):
    change, match = FORGERIES[name]
    forge(file, change)
    with pytest.raises(ValueError, match=rf"^load: received '.*net\.safetensors', .*{match}"):
        load(file)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def _slots(value, path=()):
    """Paths to everything in a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from _slots(inner, (*path, key))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_header_with_anything_in_it_is_refused_or_means_the_same(tmp_path, data):
    (tmp_path / "net").write_bytes(_original(tmp_path))

    def change(header, tensors):
        described = {key: value for key, value in header.items() if key not in ("sha256", "package", "provenance")}
        *path, last = data.draw(st.sampled_from(list(_slots(described))))
        where = header
        for key in path:
            where = where[key]
        where[last] = data.draw(json_values)

    forge(tmp_path / "net", change)
    try:
        saved = load(tmp_path / "net")
    except ValueError as error:
        assert "Take another copy" in str(error)
        return
    original = random_network(layers=2)
    assert saved.network.widths == original.widths
    assert all(torch.equal(a, b) for a, b in zip(saved.network.parameters(), original.parameters(), strict=True))


def test_a_loaded_file_says_what_it_holds_whatever_its_provenance():
    network = random_network()
    for provenance in ({}, {"target": 3, "eps": "x", "domain": None, "lower": [1], "upper": {}}, {"lower": 0.25}):
        text = repr(Saved(network, None, provenance))
        assert text.startswith("Saved ") and repr(network) in text
    assert "0.25 <= sup|F - f|, claimed when it was built" in text


def test_what_a_file_was_built_for_is_read_from_text_alone():
    network = random_network()
    kept = {"formula": "x/2 + exp(-x^2 - y^2)", "affine_formula": "x/2", "tail_formula": "exp(-r^2)", "eps": 0.25}
    saved = Saved(network, None, kept | {"target": "mine", "domain_spec": "space"})
    x = np.array([[0.5, -1.0], [4.0, 0.0]])
    assert np.array_equal(saved.target(x)[:, 0], x[:, 0] / 2 + np.exp(-(x[:, 0] ** 2) - x[:, 1] ** 2))
    assert saved.target.affine.matrix.tolist() == [[0.5, 0.0]] and saved.target.tail(2.0) == np.exp(-4.0)
    assert saved.domain == WholeSpace(2) and saved.eps == 0.25
    gallery = Saved(network, None, {"target": "peaks", "domain_spec": "box:-1,2", "eps": True})
    assert gallery.target.name == "peaks" and gallery.target.domain == gallery.domain == Box([-1.0, -1.0], [2.0, 2.0])
    for other in ({}, {"target": ["peaks"], "domain_spec": 3, "eps": -1.0}, {"target": "mine", "eps": float("nan")}):
        nothing = Saved(network, None, other)
        assert nothing.target is None and nothing.domain is None and nothing.eps is None
    with pytest.raises(ValueError, match="__import__"):
        Saved(network, None, {"formula": "__import__('os')"}).target  # noqa: B018
    with pytest.raises(ValueError, match="domain"):
        Saved(network, None, {"target": "peaks", "domain_spec": "everywhere"}).domain  # noqa: B018
