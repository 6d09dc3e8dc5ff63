"""Paintings: gains and means by their definitions, errors at the nodes, the command line."""

import json

import numpy as np
import pytest
from PIL import Image

from approx import storage, targets
from approx.domains import Ball, Box
from constructions import paint
from constructions._strokes import climb, gains, mark, matrix_of, means, tally
from constructions.cli import main


def first_match(cover, x):
    """The definition, cell by cell."""
    value, open_points = cover.affine(x), np.ones(len(x), bool)
    for center, matrix, y in zip(cover.centers, cover.matrices, cover.values, strict=True):
        inside = open_points & (np.linalg.norm((x - center) @ matrix.T, axis=1) < 1)
        value[inside], open_points = y, open_points & ~inside
    return value


def grid_of(counts, seed=0, m=1):
    """Nodes of [0, 1]^n by lines, random values there, and the arguments of the kernels."""
    rng = np.random.default_rng(seed)
    axes = [np.linspace(0.0, 1.0, k) for k in counts]
    nodes = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, counts[-1], len(counts))
    lead = np.ascontiguousarray(nodes[:, 0, :-1])
    return nodes, lead, rng.standard_normal((*nodes.shape[:2], m)), rng


@pytest.mark.parametrize(("counts", "m"), [((40,), 1), ((15, 20), 1), ((15, 20), 3), ((6, 7, 8), 2)])
def test_a_gain_is_the_fall_of_the_squared_error(counts, m):
    nodes, lead, values, rng = grid_of(counts, m=m)
    n, rows = len(counts), nodes.shape[:2]
    weight = (rng.random(rows) < 0.9).astype(float)
    owner, step = np.zeros(rows, np.int64), 1 / (counts[-1] - 1)
    sums, squares = np.zeros((rows[0], rows[1] + 1, 2 + m)), np.zeros(rows)
    middle = means(owner, weight, values, 1)[0]
    np.testing.assert_allclose(middle, np.average(values, axis=(0, 1), weights=weight))
    painted = rng.standard_normal((1, m))
    total, largest = tally(owner, painted, weight, values, middle, sums, squares)
    errors = weight * ((values - painted[0]) ** 2).sum(axis=2)
    np.testing.assert_allclose((total, largest), (errors.sum(), errors.max()))
    np.testing.assert_allclose(squares.ravel(), errors.cumsum())
    for _ in range(20):
        lower = np.diag(rng.uniform(0.1, 0.5, n)) + np.tril(rng.uniform(-0.3, 0.3, (n, n)), -1)
        theta = np.concatenate([rng.random(n), lower[np.tril_indices(n)]])
        center, shape = matrix_of(theta, n)
        inside = np.linalg.norm((nodes - center) @ shape.T, axis=2) < 1
        labels = owner.copy()
        mark(center, shape, lead, 0.0, step, labels, 7)
        np.testing.assert_array_equal(labels == 7, inside)
        gain = gains(theta[None], lead, 0.0, step, sums)[0]
        if not (inside * weight).any():
            assert gain == -np.inf
            continue
        best = np.average(values[inside], axis=0, weights=weight[inside] + 1e-300)
        after = (weight * ((values - best) ** 2).sum(axis=2))[inside].sum()
        assert gain == pytest.approx(errors[inside].sum() - after, abs=1e-10)
        improved, reached = climb(theta, gain, lead, 0.0, step, sums, rng.standard_normal((30, len(theta))), 0.2)
        assert reached >= gain
        assert reached == gains(improved[None], lead, 0.0, step, sums)[0]


@pytest.mark.parametrize("domain", [None, Ball([0.0, 0.0], 2.0), Box([-1.0, 0.0], [2.0, 1.0])])
def test_errors_are_those_of_every_stage(domain):
    f = targets.peaks()
    picture = paint(f, 12, domain=domain, nodes=50)
    box = picture.domain.bounding_box()
    axes = [np.linspace(a, b, k) for a, b, k in zip(box.lower, box.upper, picture.nodes, strict=True)]
    nodes = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    nodes = nodes[picture.domain.contains(nodes)]
    for count in (0, 1, 5, 12):
        cover = picture.cover(count)
        assert len(cover) == count
        error = np.abs(first_match(cover, nodes) - f(nodes))[:, 0]
        assert picture.rms[count] == pytest.approx(np.sqrt((error**2).mean()))
        assert picture.largest[count] == pytest.approx(error.max())
    assert (np.diff(picture.rms) < 0).all()
    assert picture.rms[-1] < picture.rms[0] / 2


def test_the_network_is_the_picture():
    picture = paint(targets.peaks(), 8, nodes=40)
    x = Box.cube(2, 3.0).sample(2000)
    assert picture.network().hidden_widths == (4,) * 8
    np.testing.assert_allclose(picture.network().evaluate(x), first_match(picture.cover(), x), atol=1e-6)
    assert picture.network(3).hidden_layers == 3
    assert "8 ellipsoids" in repr(picture)


def test_ellipses_of_an_image_are_found_again(tmp_path):
    across, up = np.meshgrid(np.linspace(-1, 1, 80), np.linspace(-1, 1, 80))
    disc = ((across - 0.3) / 0.5) ** 2 + (up / 0.3) ** 2 < 1
    hole = (across - 0.3) ** 2 + up**2 < 0.02
    image = np.where(hole, 255, np.where(disc, 128, 0)).astype(np.uint8)
    Image.fromarray(image).save(tmp_path / "eye.png")
    picture = paint(targets.from_file(tmp_path / "eye.png"), 10)
    assert picture.nodes == (80, 80)
    assert picture.rms[2] < 0.25 * picture.rms[0]
    assert picture.rms[-1] < 0.1 * picture.rms[0]


def test_other_dimensions():
    line = paint(targets.gaussian(dim=1), 9, nodes=400)
    assert line.rms[9] < line.rms[0] / 5
    solid = paint(targets.gaussian(dim=3), 4, nodes=16)
    assert solid.rms[4] < solid.rms[0] / 2
    vector = paint(targets.swirl(), 10, nodes=40)
    assert vector.rms[-1] < vector.rms[0]


def test_seeds_and_limits():
    f = targets.franke()
    one, two, other = (paint(f, 6, nodes=40, seed=seed) for seed in (0, 0, 1))
    assert one.centers.tobytes() == two.centers.tobytes()
    assert one.centers.tobytes() != other.centers.tobytes()
    stopped = paint(f, 50, nodes=40, rms=one.rms[3])
    assert len(stopped) == 3
    assert len(paint(f, 50, nodes=40, max_seconds=1e-9)) == 0
    flat = paint(targets.from_grid(np.ones((4, 4))), 5)
    assert (len(flat), flat.rms[0]) == (0, 0.0)
    assert flat.network().hidden_layers == 0


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"target": 3}, TypeError, r"paint: received target = 3; required a Target"),
        ({"max_layers": 0}, ValueError, r"max_layers = 0; required 1 <= max_layers"),
        ({"max_layers": 2.5}, TypeError, r"max_layers = 2.5; required an integer"),
        ({"rms": -1.0}, ValueError, r"rms = -1; required rms >= 0"),
        ({"rms": float("nan")}, ValueError, r"rms = nan"),
        ({"nodes": 1}, ValueError, r"nodes = 1; required 2 <= nodes"),
        ({"nodes": 100_000}, ValueError, r"nodes = 100000 in R\^2; required at most"),
        ({"seed": -1}, ValueError, r"seed = -1"),
        ({"max_seconds": 0}, ValueError, r"max_seconds = 0"),
        ({"domain": Box([0.0], [1.0])}, ValueError, r"required a Box or Ball of R\^2"),
        ({"target": targets.gaussian(dim=4)}, ValueError, r"a target of R\^4; required dimension <= 3"),
    ],
)
def test_errors_name_what_is_wrong(changes, error, match):
    arguments = {"target": targets.franke(), "max_layers": 3, **changes}
    with pytest.raises(error, match=match):
        paint(**arguments)
    with pytest.raises(ValueError, match=r"layers = 9; required 0 <= layers <= 2"):
        paint(targets.franke(), 2, nodes=20).cover(9)


def test_the_command_paints_a_file(tmp_path, capsys):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "grid.npy", np.repeat(np.repeat(rng.random((4, 4)), 5, axis=0), 5, axis=1))
    files = ["--out", str(tmp_path / "grid.safetensors"), "--plot", str(tmp_path / "grid.png")]
    assert main(["build", str(tmp_path / "grid.npy"), "--max-layers", "12", "--json", "--samples", "2000", *files]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["hidden_layers"] == result["cells"] == 12
    assert len(result["rms_curve"]) == 13
    assert result["rms_curve"][-1] == result["rms"] < result["rms_curve"][0]
    saved = storage.load(tmp_path / "grid.safetensors")
    assert saved.network.hidden_layers == 12
    assert (tmp_path / "grid.png").stat().st_size > 10_000
    assert main(["build", "franke", "--max-layers", "5", "--cover", "greedy"]) == 2
    assert "--cover without --eps" in capsys.readouterr().err
    assert main(["build", "gaussian", "--dim", "1", "--max-layers", "3", "--plot", str(tmp_path / "line.png")]) == 0
    assert "rms error" in capsys.readouterr().out
