"""The gallery: formulas, proved constants, tails and enclosures against independent derivations."""

import math
import pickle

import numpy as np
import pytest
import sympy as sp

from approx.domains import Ball, Box
from approx.targets import GALLERY, affine_bump, bump, check_lipschitz, check_tail, get, peaks, swirl, terrain

ANY_DIM = ["gaussian", "bump", "cone", "ridge", "rings", "saddle", "affine_bump"]
PLANE = ["franke", "peaks", "swirl", "terrain"]
CASES = [(name, n) for name in ANY_DIM for n in (1, 2, 3, 5, 10)] + [(name, 2) for name in PLANE]

FORMULAS = {
    "gaussian": lambda x: math.exp(-math.fsum(t * t for t in x)),
    "bump": lambda x: math.exp(1 - 1 / (1 - math.hypot(*x) ** 2 / 6.25)) if math.hypot(*x) < 2.5 else 0.0,
    "cone": lambda x: math.hypot(*x),
    "ridge": lambda x: math.tanh(math.fsum(t / (i + 1) for i, t in enumerate(x))),
    "rings": lambda x: math.cos(3 * math.hypot(*x)),
    "saddle": lambda x: math.fsum((-1) ** i * t * t for i, t in enumerate(x)) / (9 * ((len(x) + 1) // 2)),
    "affine_bump": lambda x: (
        0.1 + 0.3 * math.fsum((-1) ** i * t for i, t in enumerate(x)) / len(x) + math.exp(-(math.hypot(*x) ** 2))
    ),
}

x, y = sp.symbols("x y", real=True)
u, v = (x + 3) / 6, (y + 3) / 6
FRANKE = (
    sp.Rational(3, 4) * sp.exp(-((9 * u - 2) ** 2 + (9 * v - 2) ** 2) / 4)
    + sp.Rational(3, 4) * sp.exp(-((9 * u + 1) ** 2) / 49 - (9 * v + 1) / 10)
    + sp.Rational(1, 2) * sp.exp(-((9 * u - 7) ** 2 + (9 * v - 3) ** 2) / 4)
    - sp.Rational(1, 5) * sp.exp(-((9 * u - 4) ** 2) - (9 * v - 7) ** 2)
)
PEAKS = (
    3 * (1 - x) ** 2 * sp.exp(-(x**2) - (y + 1) ** 2)
    - 10 * (x / 5 - x**3 - y**5) * sp.exp(-(x**2) - y**2)
    - sp.exp(-((x + 1) ** 2) - y**2) / 3
) / 8


@pytest.mark.parametrize("name, dim", CASES)
def test_every_target_is_complete(name, dim):
    f = get(name, dim=dim)
    assert (f.name, f.dim_in, f.lipschitz_source) == (name, dim, "proved")
    assert len(f.commentary) > 100 and "\n" not in f.commentary and ">>>" not in f.commentary
    values = f(f.domain.sample(512))
    assert values.shape == (512, f.dim_out)
    if name not in ("cone", "swirl", "terrain"):
        assert f.domain == Box.cube(dim, 3.0)
        assert np.abs(values).max() < 2.01
    travelled = pickle.loads(pickle.dumps(f))
    np.testing.assert_array_equal(travelled(f.domain.sample(8)), f(f.domain.sample(8)))


@pytest.mark.parametrize("name", ANY_DIM)
@pytest.mark.parametrize("dim", [1, 2, 7])
def test_formulas(name, dim):
    f = get(name, dim=dim)
    points = f.domain.sample(200, seed=1)
    expected = [FORMULAS[name](point) for point in points.tolist()]
    np.testing.assert_allclose(f(points)[:, 0], expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name, formula", [("franke", FRANKE), ("peaks", PEAKS)])
def test_formulas_of_surfaces(name, formula):
    f = get(name)
    points = f.domain.sample(500, seed=1)
    np.testing.assert_allclose(f(points)[:, 0], sp.lambdify((x, y), formula)(*points.T), rtol=1e-12, atol=1e-14)


def test_swirl_turns_points_by_the_stated_angle():
    points = swirl().domain.sample(200)
    turned = swirl()(points) @ [1, 1j] / (points @ [1, 1j])
    np.testing.assert_allclose(turned, np.exp(1j * np.pi * np.exp(-(points**2).sum(1) / 2)), atol=1e-12)


@pytest.mark.parametrize("name, dim", CASES)
def test_lipschitz_constants_stand_and_are_tight(name, dim):
    f = get(name, dim=dim)
    found = check_lipschitz(f, samples=1024)  # raises when refuted
    if name != "terrain" and dim <= 5:
        assert found >= 0.95 * f.lipschitz


def slopes_stay_below(formula, claim, half_width, curvature):
    """Proof by branch and bound that |grad formula| <= claim on the square, where |Hessian| <= curvature.

    On a square of half-width h the gradient is within sqrt(2) h curvature of its value at the middle."""
    gradient = sp.lambdify((x, y), [sp.diff(formula, x), sp.diff(formula, y)])
    axis = np.linspace(-half_width, half_width, 241)
    h = axis[1] - axis[0]
    middles = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    for _ in range(12):
        slope = np.hypot(*gradient(*middles.T))
        assert slope.max() <= claim
        middles = middles[slope + math.sqrt(2) * h * curvature > claim]
        if not len(middles):
            return True
        corners = np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]]) / 2
        middles = (middles[:, None] + h * corners).reshape(-1, 2)
        h /= 2
    return False


def test_franke_constant_is_proved():
    second = [sp.lambdify((x, y), sp.diff(FRANKE, a, b)) for a, b in ((x, x), (x, y), (y, y))]
    points = Box.cube(2, 3.0).grid(301).T
    xx, xy, yy = (d(*points) for d in second)
    assert np.sqrt(xx**2 + 2 * xy**2 + yy**2).max() < 2.4  # the bound derived beside the code, plausible
    assert slopes_stay_below(FRANKE, get("franke").lipschitz, 3.0, 2.4)
    assert not slopes_hold(FRANKE, 0.567)


def test_peaks_constant_is_proved():
    # A sum of products a(x) b(y): |Hessian|_F from the suprema of the factors and their first two derivatives.
    t = sp.symbols("t", real=True)
    g = sp.exp(-(t**2))
    shifted = g.subs(t, t + 1)
    products = [
        (3 * (1 - t) ** 2 * g, shifted),
        (-2 * t * g, g),
        (10 * t**3 * g, g),
        (10 * g, t**5 * g),
        (shifted / 3, g),
    ]
    grid = np.linspace(-9, 9, 20001)

    def suprema(factor):
        return [1.001 * np.abs(sp.lambdify(t, sp.diff(factor, t, k))(grid)).max() for k in range(3)]

    xx = xy = yy = 0.0
    for a, b in products:
        sup_a, sup_b = suprema(a), suprema(b)
        xx, xy, yy = xx + sup_a[2] * sup_b[0], xy + sup_a[1] * sup_b[1], yy + sup_a[0] * sup_b[2]
    curvature = math.sqrt(xx**2 + 2 * xy**2 + yy**2) / 8
    assert slopes_stay_below(PEAKS, peaks().lipschitz, 6.0, curvature)  # beyond, the gradient is below 1e-6
    assert not slopes_hold(PEAKS, 1.747)


def slopes_hold(formula, claim):
    gradient = sp.lambdify((x, y), [sp.diff(formula, x), sp.diff(formula, y)])
    return np.hypot(*gradient(*Box.cube(2, 3.0).grid(1001).T)).max() <= claim


def test_swirl_constants_from_its_jacobian():
    # On the ray y = 0 the Jacobian shows every slope there is, by rotation symmetry.
    angle = sp.pi * sp.exp(-(x**2 + y**2) / 2)
    image = sp.Matrix([sp.cos(angle) * x - sp.sin(angle) * y, sp.sin(angle) * x + sp.cos(angle) * y])
    jacobian = sp.lambdify(x, image.jacobian([x, y]).subs(y, 0))
    radii = np.linspace(0, 8, 40001)
    entries = [[np.broadcast_to(np.asarray(e, dtype=float), radii.shape) for e in row] for row in jacobian(radii)]
    matrices = np.moveaxis(np.array(entries), -1, 0)
    full = np.linalg.norm(matrices, 2, axis=(1, 2)).max()
    residual = np.linalg.norm(matrices - np.eye(2), 2, axis=(1, 2)).max()
    assert full <= swirl().lipschitz <= full * (1 + 1e-6)
    assert residual <= swirl().residual_lipschitz <= residual * (1 + 1e-5)


@pytest.mark.parametrize(
    "name, dim", [c for c in CASES if c[0] in ("gaussian", "bump", "affine_bump", "peaks", "swirl")]
)
def test_tails_stand(name, dim):
    f = get(name, dim=dim)
    check_tail(f)
    assert f.tail(0.0) >= f.tail(1.0) >= f.tail(2.0) > 0 == f.tail(1e6)


@pytest.mark.parametrize("name", ["gaussian", "bump", "affine_bump", "swirl"])
def test_radial_tails_are_exact(name):
    f = get(name)
    for radius in (0.2, 1.0, 1.1423, 1.2, 2.0, 3.0):
        far = np.linspace(radius, 12.0, 20001)[:, None] * [1.0, 0.0]
        assert np.linalg.norm(f(far) - f.affine(far), axis=1).max() == pytest.approx(f.tail(radius), rel=1e-5)


def test_peaks_tail_and_amplitude():
    grid = Box.cube(2, 8.0).grid(801)
    values, radii = np.abs(peaks()(grid)[:, 0]), np.linalg.norm(grid, axis=1)
    assert 1.0 < values.max() < 1.02
    for radius in np.linspace(0, 8, 33):
        assert values[radii >= radius].max(initial=0.0) <= peaks().tail(radius)
    assert peaks().tail(5.0) < 1e-4


def test_targets_without_a_limit_do_not_claim_one():
    assert {name for name in GALLERY if get(name).affine is None} == {
        "cone", "ridge", "rings", "saddle", "franke", "terrain",
    }  # fmt: skip
    assert not affine_bump().affine.is_constant and not swirl().affine.is_constant


@pytest.mark.parametrize("name, dim", [c for c in CASES if c[0] not in ("peaks", "swirl")])
def test_enclosures_hold_and_close_in(name, dim):
    f = get(name, dim=dim)
    rng = np.random.default_rng(4)
    for width in (1.0, 0.1, 1e-3, 0.0):
        half = 0.5 * width * f.domain.widths * rng.uniform(0, 1, (40, dim))
        middle = f.domain.lower + half + (f.domain.widths - 2 * half) * rng.uniform(0, 1, (40, dim))
        low, high = f.enclosure(middle - half, middle + half)
        assert low.shape == high.shape == (40, 1)
        inside = middle[:, None] + half[:, None] * rng.choice([-1, 0, 1, 0.3, -0.7], (40, 300, dim))
        values = f(np.clip(inside, f.domain.lower, f.domain.upper))
        assert (low[:, None] <= values).all() and (values <= high[:, None]).all()
        if width <= 1e-3:
            spread = 2 * f.lipschitz * np.linalg.norm(half, axis=1) + 1e-9 * (1 + np.abs(values).max())
            assert (high - low <= (8 if name == "franke" else 2 * math.sqrt(dim)) * spread[:, None]).all()


@pytest.mark.parametrize("name", ["gaussian", "bump", "cone", "rings", "ridge", "saddle"])
def test_enclosures_are_exact_ranges(name):
    f = get(name)
    for box in (Box([-3, -3], [3, 3]), Box([0.5, -0.2], [1.5, 0.4]), Box([1, 1], [1.4, 1.2])):
        grid = box.grid(401)
        values = f(grid)
        low, high = f.enclosure(box.lower[None], box.upper[None])
        spacing = f.lipschitz * np.linalg.norm(box.widths) / 400
        assert (
            values.min() - spacing <= low[0, 0] <= values.min() and values.max() <= high[0, 0] <= values.max() + spacing
        )


def test_bump_is_exactly_zero_outside_and_finite_everywhere():
    points = np.array([[2.5, 0.0], [2.6, 0.0], [1e8, 0.0], [1e200, 0.0]])
    assert (bump()(points) == 0).all() and (peaks()(points[2:]) == 0).all()
    assert bump()([2.499999, 0.0]) >= 0


def test_terrain_lies_the_right_way_up():
    from matplotlib import cbook

    with cbook.get_sample_data("jacksboro_fault_dem.npz") as data:
        elevation = data["elevation"].astype(float)
    f = terrain()
    east, north = f.domain.upper
    corners = f([[0, 0], [east, 0], [0, north], [east, north]]).ravel()  # SW, SE, NW, NE; row 0 of the file is north
    np.testing.assert_allclose(corners, [elevation[-1, 0], elevation[-1, -1], elevation[0, 0], elevation[0, -1]])
    degree = 2 * math.pi * 6371008.8 / 360
    assert north == pytest.approx(343 / 1200 * degree, rel=1e-9)
    assert east == pytest.approx(402 / 1200 * degree * math.cos(math.radians(36.589583)), rel=1e-6)
    assert (f.unit, f.axis_unit) == ("m", "m") and f.lipschitz < 2
    # The ground south-east of the fault, the reservoir's valley, is low; the mountains in the south-west are high.
    assert f([0.9 * east, 0.2 * north]) < 400 < 700 < f([0.525 * east, 0.134 * north])


@pytest.mark.parametrize("name", PLANE)
def test_surfaces_refuse_other_dimensions(name):
    with pytest.raises(ValueError, match=f"{name}: received dim = 3; required dim = 2"):
        get(name, dim=3)


@pytest.mark.parametrize("name", ANY_DIM)
@pytest.mark.parametrize("dim, pattern", [(0, "dim = 0"), (-1, "dim = -1"), (2.0, "dim = 2.0"), ("2", "dim = '2'")])
def test_bad_dimensions(name, dim, pattern):
    with pytest.raises((ValueError, TypeError), match=f"{name}: received {pattern}"):
        get(name, dim=dim)


def test_unknown_names_list_the_known():
    with pytest.raises(ValueError, match=r"one of gaussian, bump.*Did you mean gaussian"):
        get("gausian")
    with pytest.raises(ValueError, match="name = 3"):
        get(3)


@pytest.mark.parametrize("name", ANY_DIM)
def test_other_domains(name):
    for domain in (Box.cube(2, 5.0), Ball([1.0, 0.0], 2.0)):
        f = get(name, domain=domain)
        assert f.domain == domain
        check_lipschitz(f, samples=512)


@pytest.mark.parametrize("name", ["franke", "terrain"])
def test_targets_known_on_their_box_only(name):
    inner = Box(get(name).domain.lower + 1, get(name).domain.upper - 1)
    assert get(name, domain=inner).domain == inner
    with pytest.raises(ValueError, match="a domain inside"):
        get(name, domain=Box(inner.lower - 2, inner.upper))
