"""Pages in a real headless Chromium: no complaints, the numbers of the Python network, pictures that change."""

import json
import re

import numpy as np
import pytest
import torch

import constructions
from approx import activations, targets
from approx.covers import Cover
from approx.domains import Ball, Box
from approx.evaluation import captured
from approx.networks import Dense, Growing, RadialNetwork, Stack
from approx.render import page, write_page
from approx.targets import Target
from tests.approx.browser import CHROMIUM, Browser

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium")
PIXELS = "[...document.querySelectorAll('canvas')].map((canvas) => canvas.toDataURL()).join()"
BUILDS = {
    "line": (lambda: targets.gaussian(dim=1), 0.1, "constant_width"),
    "plane": (lambda: targets.peaks(), 0.3, "constant_width"),
    "growing": (lambda: targets.get("swirl"), 0.8, "widening"),
    "slice": (lambda: targets.gaussian(dim=3), 0.4, "narrow"),
}


@pytest.fixture(scope="module")
def built():
    return {
        name: constructions.build(target(), eps, builder=builder, verify=False)
        for name, (target, eps, builder) in BUILDS.items()
    }


@pytest.fixture(scope="module")
def browser():
    one = Browser()
    yield one
    one.close()


@pytest.fixture
def opened(built, browser, tmp_path):
    """A function that writes the page of a build, opens it and gives the browser; complaints fail the test."""

    def opening(name):
        one = built[name]
        domain = one.domain if one.domain.compact else None
        options = {"cover": one.cover, "eps": one.eps, "note": one.theorem, "domain": domain}
        write_page(tmp_path / f"{name}.html", one.network, one.target, **options)
        browser.complaints.clear()
        browser.requests.clear()
        browser.size(1200, 800)
        browser.open(tmp_path / f"{name}.html")
        return browser

    yield opening
    assert browser.complaints == []
    assert all(url.startswith(("file:", "data:")) for url in browser.requests)


def grid_of(browser):
    """Everything the page knows of its grid: points (k, n), target and network (k, m), layers (k,)."""
    text = browser.run(
        "JSON.stringify({x: Array.from({length: count}, (_, i) => point(i)), f: Array.from(target),"
        "F: Array.from(values), k: Array.from(captured)})"
    )
    found = json.loads(text)
    x = np.array(found["x"])
    f, network = (np.array(found[name], dtype=float).reshape(len(x), -1) for name in ("f", "F"))
    return x, f, network, np.array(found["k"])


@needs_browser
@pytest.mark.parametrize("name", BUILDS)
def test_the_numbers_are_those_of_the_python_network(name, built, opened):
    browser = opened(name)
    x, f, network, layer = grid_of(browser)
    one = built[name]
    inside = ~np.isnan(f[:, 0])
    assert inside.sum() >= 0.7 * len(x)
    x, f, network, layer = (array[inside] for array in (x, f, network, layer))
    assert (f == one.target(x)).all()
    assert np.abs(network - one.network.evaluate(x)).max() <= 1e-12
    assert (layer == captured(one.network, x) + 1).all()
    pick = np.random.default_rng(0).choice(np.flatnonzero(inside), 100, replace=False)
    text = browser.run(f"JSON.stringify({pick.tolist()}.map((i) => readout(point(i))))")  # all layers, no shortcut
    told = json.loads(text)
    assert all(here["exact"] for here in told)
    at = np.array([here["x"] for here in told])
    exact = one.network.evaluate(at)
    assert np.abs(np.array([here["network"] for here in told]) - exact).max() <= 1e-12
    error = exact - one.target(at)
    expected = error[:, 0] if error.shape[1] == 1 else np.linalg.norm(error, axis=1)
    assert np.abs(np.array([here["error"] for here in told]) - expected).max() <= 1e-12


def rows_of(browser):
    """What is written beside the picture."""
    cells = "[...document.querySelectorAll('#readout tr')].map((row) => [...row.cells].map((cell) => cell.innerText))"
    return dict(browser.run(cells))


@needs_browser
def test_what_is_written_beside_the_picture(built, opened):
    browser = opened("plane")
    one = built["plane"]
    box = json.loads(browser.run("JSON.stringify(element('map').getBoundingClientRect())"))
    for u, v in np.random.default_rng(1).random((20, 2)):
        x, y = round(box["x"] + u * box["width"]), round(box["y"] + v * box["height"])
        browser("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        rows = rows_of(browser)
        at = np.array([float(number) for number in rows["x"].split(",")])
        pointed = np.array([(x - box["x"]) / box["width"], 1 - (y - box["y"]) / box["height"]]) * 6 - 3
        assert np.abs(at - pointed).max() < 6 / 300 / 10  # much less than a point of the grid
        assert float(rows["network"]) == one.network.evaluate(at)[0]  # where the mouse is, not at the nearest point
        layer = captured(one.network, at[None])[0] + 1
        assert rows["painted by"] == (f"layer {layer}" if layer else "no cell: the affine map outside")
        about = {name: float(rows[name].removeprefix("≈ ")) for name in ("target", "error")}
        assert about["target"] == pytest.approx(one.target(at)[0], abs=5e-3)  # linear between points 0.02 apart
        assert about["error"] == pytest.approx(float(rows["network"]) - about["target"], abs=2e-3)  # four digits
    for _ in range(3):
        browser.key("ArrowRight")
    rows = rows_of(browser)
    at = np.array([float(number) for number in rows["x"].split(",")])
    assert float(rows["target"]) == pytest.approx(one.target(at)[0], abs=1e-12)
    assert float(rows["error"]) == pytest.approx(float(rows["network"]) - float(rows["target"]), abs=1e-12)
    assert "300 x 300 points" in browser.run("element('accuracy').textContent")


@needs_browser
def test_the_slider_paints_cell_after_cell(built, opened):
    browser = opened("plane")
    last = browser.run("last")
    assert last == captured(built["plane"].network, grid_of(browser)[0]).max() + 1
    seen = []
    for layer in (0, 1, last // 3, last):
        browser.run(f"element('layer').value = {layer}; element('layer').dispatchEvent(new Event('input'))")
        browser.frame()
        painted = browser.run("[state.layer, words.slice().reduce((h, w) => (Math.imul(h, 31) + w) | 0, 7)]")
        assert painted[0] == layer
        again = browser.run("(shown = -1, draw(), words.reduce((h, w) => (Math.imul(h, 31) + w) | 0, 7))")
        assert painted[1] == again  # painting what changed gives the picture that painting everything gives
        seen.append(browser.run(PIXELS))
    assert len(set(seen)) == 4
    affine = built["plane"].cover.affine
    browser.run("change({layer: 0})")
    x = grid_of(browser)[0]
    start = np.array(browser.run("Array.from({length: count}, (_, i) => shownValue(i, 0, state.layer))"))
    ever = np.array(browser.run("Array.from(captured)")) > 0
    assert np.abs(start[ever] - affine(x)[ever, 0]).max() <= 1e-12


@needs_browser
def test_views_keys_and_touch(opened):
    browser = opened("growing")
    pictures = {browser.run(PIXELS)}
    for key, expected in (("t", "target"), ("e", "error"), ("n", "network")):
        browser.key(key)
        browser.frame()
        assert browser.run("state.view") == expected
        assert browser.run("document.querySelector('[data-view][aria-pressed=true]').dataset.view") == expected
        pictures.add(browser.run(PIXELS))
    assert len(pictures) == 3
    browser.run("document.querySelector('[data-component=\"1\"]').click()")
    browser.frame()
    assert browser.run(PIXELS) not in pictures
    last = browser.run("last")
    browser.key(",")
    assert browser.run("state.layer") == last - 1
    browser.key("<", shift=True)
    assert browser.run("state.layer") == last - 1 - -(-last // 10)
    browser.key("ArrowRight")
    first = browser.run("nearest(state.at)")
    browser.key("ArrowUp")
    assert browser.run("nearest(state.at) - columns") == first
    browser.key(" ")
    assert browser.run("state.playing") is True
    browser.key(" ")
    browser.size(390, 844, ratio=2, mobile=True)
    browser.frame()
    assert browser.run("document.documentElement.scrollWidth") <= 390
    assert browser.run("getComputedStyle(document.body).fontSize") == "15px"
    box = json.loads(browser.run("JSON.stringify(picture.getBoundingClientRect())"))
    spot = [{"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}]
    before = browser.run("state.at")
    browser("Input.dispatchTouchEvent", type="touchStart", touchPoints=spot)
    browser("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
    assert browser.run("state.at") != before


@needs_browser
def test_sixty_frames_per_second_would_be_kept(browser, tmp_path):
    """1000 cells on 300 x 300 points: the page's own work in a frame is a small part of a sixtieth of a second."""
    target = targets.peaks()
    side = (np.arange(32) + 0.5) * 6 / 32 - 3  # 1024 cells, none hidden by others
    centers = np.random.default_rng(0).permutation(np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2))
    cover = Cover(centers, target(centers), target.affine, radii=np.full(1024, 0.13))
    network = constructions.constant_width.assemble(cover).network
    write_page(tmp_path / "page.html", network, target, cover=cover)
    browser.complaints.clear()
    browser.size(1200, 800)
    browser.open(tmp_path / "page.html")
    assert browser.run("[last > 1000, columns, rows]") == [True, 300, 300]
    costs = browser.run("""(() => {
        const costs = [];
        change({ at: point(12345) });
        for (let k = 0; k < 200; k++) {
            const begun = performance.now();
            change({ layer: (k * 5) % last });
            draw();
            costs.push(performance.now() - begun);
        }
        return costs;
    })()""")
    assert np.quantile(costs, 0.25) < 4  # milliseconds; other work on the machine can only add to them
    assert browser.complaints == []


@needs_browser
@pytest.mark.parametrize("name", activations.activation_names())
def test_every_activation(name, browser, tmp_path):
    """Dense, stacked and growing layers of each; without cells there is nothing to paint, and the slider is hidden."""
    rng = np.random.default_rng(3)

    def numbers(*shape):
        return torch.from_numpy(rng.normal(size=shape))

    shifted = name in ("shifted_relu", "shifted_sigmoid", "radial_softplus")
    rho = activations.activation(name, **({"shift": 0.1} if shifted else {}))
    turn = torch.linalg.qr(numbers(5, 3, 3))[0]
    network = RadialNetwork([
        Dense(numbers(3, 1), numbers(3), rho), Stack(turn, 0.1 * numbers(5, 3), rho),
        Growing(torch.cat([turn[:2, :, :2], numbers(2, 1, 2)], dim=1)[:, :3], 0.1 * numbers(2, 3), rho),
        Dense(numbers(4, 5), numbers(4), rho), Dense(numbers(1, 4), numbers(1)),
    ])  # fmt: skip
    write_page(tmp_path / "page.html", network, targets.gaussian(dim=1))
    browser.complaints.clear()
    browser.open(tmp_path / "page.html")
    x, _, values, _ = grid_of(browser)
    assert np.ptp(values) > 1e-6
    assert np.abs(values - network.evaluate(x)).max() <= 1e-12
    assert browser.run("element('painting').hidden")
    assert browser.complaints == []


def test_one_file_and_nothing_else(built):
    one = built["plane"]
    text = page(one.network, one.target, cover=one.cover, eps=one.eps)
    assert not re.findall(r"https?:|src=|@import|url\(|<link(?! rel=\"icon\" href=\"data:,\")", text)
    assert "{{" not in re.sub(r'<script id="data".*?</script>', "", text, flags=re.S).split("<script>")[0]
    assert text == page(one.network, one.target, cover=one.cover, eps=one.eps)
    hostile = constructions.build(targets.from_expression("x", domain=Box([0], [1])), 0.3, verify=False)
    noted = page(hostile.network, hostile.target, note="</script><script>alert(1)</script>")
    assert "<script>alert(1)" not in noted


def test_what_does_not_fit():
    one = constructions.build(targets.gaussian(dim=2), 0.4, verify=False)
    net, target = one.network, one.target
    with pytest.raises(TypeError, match="page: received target = 3; required a Target"):
        page(net, 3)
    with pytest.raises(ValueError, match=r"a target R\^1 -> R\^1; required R\^2 -> R\^1"):
        page(net, targets.gaussian(dim=1))
    with pytest.raises(ValueError, match=r"required a Box or Ball of R\^2"):
        page(net, target, domain=Ball([0.0], 1.0))
    with pytest.raises(ValueError, match="eps"):
        page(net, target, eps=float("nan"))
    with pytest.raises(ValueError, match="through"):
        page(net, target, through=[0.0])
    wide = RadialNetwork([Dense(torch.zeros(2_900, 2_900).double(), torch.zeros(2_900).double())])
    with pytest.raises(ValueError, match="bytes of weights; required at most 64,000,000"):
        page(wide, Target(fn=lambda x: x, dim_in=2_900, dim_out=2_900, domain=Box.cube(2_900, 1.0)))
