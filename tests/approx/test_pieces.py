"""Pieces recovered from stored weights, against exact rational evaluation of the same network."""

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

import constructions
from approx import targets
from approx.activations import ShiftedReLU, StepReLU
from approx.affine import AffineMap
from approx.certification._chain import chain_of, lowest_bit
from approx.certification.pieces import AmbiguousNetwork, pieces
from approx.covers import Cover
from approx.networks import Dense, Growing, RadialNetwork, Stack
from constructions import constant_width, narrow, widening

STEP = StepReLU()


def tensor(values, dtype=torch.float64):
    return torch.as_tensor(np.array(values, dtype=np.float64)).to(dtype)


def network(*layers, dtype=torch.float64):
    """Layers (weight, bias) with Step-ReLU after all but the last, which is (weight, bias) or (weight, bias, rho)."""
    *hidden, last = layers
    rows = [(tensor(w, dtype), tensor(b, dtype), STEP) for w, b in hidden]
    return RadialNetwork.from_layers([*rows, (tensor(last[0], dtype), tensor(last[1], dtype), (*last, None)[2])])


def dense(seed, dim, width, depth, out=1, scale=1.0, dtype=torch.float64):
    """A network with random weights, as training starts from, and biases that let points be zeroed in every layer."""
    rng = np.random.default_rng(seed)
    sizes = [dim, *rng.integers(1, width + 1, depth), out]
    layers = []
    for rows, columns in zip(sizes[1:], sizes[:-1], strict=True):
        layers.append((scale * rng.normal(size=(rows, columns)) / math.sqrt(columns), 0.5 * rng.normal(size=rows)))
    return network(*layers, dtype=dtype)


def exactly(net, point):
    """(index among the Step-ReLU layers of the first that zeroes the point, or -1; the value) in rational numbers."""
    state = [Fraction(float(x)) for x in point]
    first, index = -1, 0
    for weight, bias, rho in net.layers():
        rows = zip(weight.double().tolist(), bias.double().tolist(), strict=True)
        state = [sum((Fraction(w) * s for w, s in zip(row, state, strict=True)), Fraction(b)) for row, b in rows]
        if rho is not None:
            if sum(s * s for s in state) < 1:
                state = [Fraction(0)] * len(state)
                first = index if first < 0 else first
            index += 1
    return first, state


def distance(value, exact):
    return math.sqrt(sum((Fraction(float(v)) - e) ** 2 for v, e in zip(value, exact, strict=True)))


def check_exactly(net, points, radius=20.0, least=0.9):
    """At every point away from the boundaries the pieces are those of the network in real arithmetic."""
    found = pieces(net, radius)
    clear = decided(found, points, found.displacement)
    assert clear.mean() >= least
    for point in points[clear]:
        first, value = exactly(net, point)
        cell = int(found.find(point))
        assert cell == first
        bound = found.affine_error(radius) if cell < 0 else found.value_errors[cell]
        # The outside map is evaluated here in floating point.
        slack = 1e-12 * (1 + np.abs(found.affine.matrix).sum() * np.abs(point).max()) if cell < 0 else 0.0
        assert distance(found(point), value) <= bound + slack
    return found


def decided(found, points, collar):
    """Which points are farther than `collar` (N,) from the boundaries of all cells, tested along many directions."""
    clear = np.ones(len(points), bool)
    for i in found.nonempty:
        if not np.isfinite(collar[i]):
            return np.zeros(len(points), bool)
        length = np.linalg.norm((points - found.centers[i]) @ found.matrices[i].T, axis=1)
        gap = np.abs(length - np.sqrt(found.rho2[i]))
        clear &= gap > np.linalg.norm(found.matrices[i], 2) * collar[i] * (1 + 1e-9) + 1e-15 * length
    return clear


def balls(dim=2, cells=7, out=1, seed=0):
    rng = np.random.default_rng(seed)
    centers, values = rng.uniform(-2, 2, (cells, dim)), rng.normal(size=(cells, out))
    affine = AffineMap(rng.integers(-3, 4, (out, dim)) / 4, rng.normal(size=out))
    return Cover(centers, values, affine, radii=rng.uniform(0.3, 0.9, cells), overlap=1e-3)


def ellipsoids(dim=2, cells=60, seed=0, size=(0.3, 1.0), out=1):
    rng = np.random.default_rng(seed)
    turns = np.linalg.qr(rng.normal(size=(cells, dim, dim)))[0]
    shapes = turns / rng.uniform(*size, (cells, 1, dim))
    values = rng.integers(-40, 40, (cells, out)) / 8
    return Cover(rng.uniform(-3, 3, (cells, dim)), values, AffineMap.constant(np.zeros(out), dim), shapes=shapes)


BUILT = [
    *((name, dtype) for name in constructions.BUILDERS for dtype in (torch.float64, torch.float32)),
]


@pytest.mark.parametrize(("name", "dtype"), BUILT)
@pytest.mark.parametrize("target", ["gaussian", "affine_bump", "swirl"])
def test_every_builder_is_recovered(name, dtype, target):
    f = targets.get(target, **({} if target == "swirl" else {"dim": 2}))
    eps = 0.5 if target == "swirl" else 0.3
    built = constructions.build(f, eps, domain=f.domain, builder=name, dtype=dtype, verify=False)
    cover, found = built.cover, pieces(built.network)
    cells = len(cover)
    assert len(found) == built.hidden_layers
    recovered = found.cover()
    assert recovered.is_balls
    digits = 1e-13 if dtype == torch.float64 else 2e-6
    if name == "minimal" and dtype == torch.float32:
        digits = 1e-3  # rounding adds up over its moves
    assert np.abs(recovered.centers[:cells] - cover.centers).max() <= 1e-13
    exact = name != "narrow" or dtype == torch.float64 or "nested" not in cover.strategy  # ratios are powers of two
    assert np.abs(recovered.radii[:cells] / cover.radii - 1).max() <= (1e-13 if exact else cells * 2.0**-23)
    assert np.abs(recovered.values[:cells] - cover.values).max() <= digits * (1 + np.abs(cover.values).max())
    assert found.displacement[:cells].max() <= 1e-11
    assert found.value_errors[:cells].max() <= 1e-10
    if name in ("widening", "constant_width"):
        slope, offset = found.outside_error(cover.affine)
        assert offset <= digits
        held = np.array_equal(tensor(cover.affine.matrix, dtype).double().numpy(), cover.affine.matrix)
        assert slope == held == np.array_equal(found.affine.matrix, cover.affine.matrix)


@pytest.mark.parametrize("seed", range(30))
def test_random_networks_are_painters(seed):
    rng = np.random.default_rng(seed)
    dim, out = int(rng.integers(1, 4)), int(rng.integers(1, 3))
    net = dense(seed, dim, width=5, depth=int(rng.integers(1, 7)), out=out, scale=1.3)
    check_exactly(net, rng.normal(size=(60, dim)))


def test_first_match_decides_where_cells_overlap():
    net = network(([[1.0]], [0.0]), ([[1.0]], [-1.5]), ([[1.0]], [4.0]))
    found = pieces(net)  # E_1 = (-1, 1), E_2 = (0.5, 2.5); the zero state after layer 1 is not zeroed by layer 2
    assert found.find([[0.7], [2.0], [0.0], [3.0], [-1.0], [1.0]]).tolist() == [0, 1, 0, -1, -1, 1]
    assert found.values.ravel().tolist() == [2.5, 4.0]
    assert found([[0.7]]).item() == net.evaluate([[0.7]]).item() == 2.5


def test_a_captured_point_may_be_zeroed_again():
    net = network(([[1.0]], [0.0]), ([[1.0]], [-0.5]), ([[2.0]], [3.0]), ([[1.0]], [0.25]))
    found = pieces(net)  # zero -> -0.5, zeroed by layer 2 -> 3 -> 3.25
    assert found.values.ravel().tolist() == [3.25, 3.25, 0.25]
    check_exactly(net, np.linspace(-3, 3, 41)[:, None] + 0.01)


def test_no_hidden_layer_is_its_affine_map():
    found = pieces(network(([[0.1, 0.2]], [0.3])))
    assert len(found) == 0 and len(found.cover()) == 0
    assert found.find([[0.0, 0.0]]).tolist() == [-1]
    assert found([[1.0, 1.0]]).item() == pytest.approx(0.6)
    assert found.outside_error(AffineMap([[0.1, 0.2]], [0.3])) == (True, 0.0)
    assert found.collar(1.0).shape == (0,)
    assert found.reach == 0.0
    assert 0 < found.value_error(1.0) < 1e-15


def test_dead_layers_make_empty_cells():
    net = network(([[1.0], [0.0]], [0.0, 1.5]), ([[1.0, 0.0]], [2.0]), ([[1.0]], [0.0]))
    found = pieces(net)
    assert found.rho2[0] == pytest.approx(1 - 2.25)
    assert found.nonempty.tolist() == [1]
    assert np.isnan(found.values[0]).all()
    check_exactly(net, np.linspace(-4, 4, 33)[:, None] + 0.003)


def test_a_layer_that_zeroes_everything_ends_the_list():
    net = network(([[1.0]], [0.0]), ([[0.0]], [0.5]), ([[1.0]], [0.1]), ([[3.0]], [7.0]))
    found = pieces(net, 50.0)
    assert found.nonempty.tolist() == [0, 1]
    assert found.find([[0.0], [40.0]]).tolist() == [0, 1]
    assert found([[0.0], [40.0]]).ravel().tolist() == [7.0, 7.0]  # layer 3 zeroes 0.1
    assert not found.bounded[1] and found.displacement[1] == 0.0
    with pytest.raises(ValueError, match="unbounded cell, at layer 2"):
        found.cover()
    check_exactly(net, np.linspace(-4, 4, 33)[:, None] + 0.003)


def test_step_relu_in_the_last_layer_paints_zero():
    net = network(([[1.0]], [0.0]), ([[0.5]], [2.0], STEP))
    found = pieces(net)
    assert found.values.ravel().tolist() == [2.0, 0.0]
    assert found.find([[0.0], [-4.0], [-7.0]]).tolist() == [0, 1, -1]
    check_exactly(net, np.linspace(-9, 9, 41)[:, None] + 0.003)


def test_hidden_layers_without_activation_make_no_cell():
    layers = [([[2.0]], [0.5], None), ([[1.0]], [0.0], STEP), ([[1.0]], [1.0], None)]
    net = RadialNetwork.from_layers([(tensor(w), tensor(b), rho) for w, b, rho in layers])
    found = pieces(net)
    assert found.layers.tolist() == [1]
    assert (found.centers.item(), found.radii.item(), found.values.item()) == (-0.25, 0.5, 1.0)


@pytest.mark.parametrize("width", [1, 2])
def test_slabs_are_rows_of_rank_one(width):
    weight = np.array([[3.0, 4.0], [1.5, 2.0]])[:width]
    net = network((weight, np.arange(width) / 4), (np.eye(width), np.full(width, -0.9)), (np.ones((1, width)), [0.5]))
    found = pieces(net, 10.0)
    assert not found.bounded.any()
    assert np.isfinite(found.displacement).all() and found.displacement.max() < 1e-11
    assert np.linalg.matrix_rank(found.matrices[0]) == 1
    rng = np.random.default_rng(0)
    found = check_exactly(net, rng.uniform(-1, 1, (300, 2)), radius=10.0)
    assert set(found.find(rng.uniform(-1, 1, (300, 2))).tolist()) == {-1, 0, 1}
    assert np.isinf(pieces(net).displacement).all()
    with pytest.raises(ValueError, match="unbounded cell, at layer 1"):
        found.cover()
    cells = found.cells(10.0)
    assert len(cells) == 2 and np.isfinite(cells.collars).all()


def test_more_rows_than_coordinates_are_reduced():
    net = dense(5, 2, width=5, depth=3, scale=1.5)
    rng = np.random.default_rng(0)
    for layer in range(net.hidden_layers):
        maps = [np.eye(2), np.zeros(2)]
        for weight, bias, _ in list(net.layers())[: layer + 1]:
            maps = [weight.numpy() @ maps[0], weight.numpy() @ maps[1] + bias.numpy()]
        x = rng.normal(size=(50, 2))
        found = pieces(net, 10.0)
        direct = np.square(x @ maps[0].T + maps[1]).sum(axis=1) - 1
        reduced = np.square((x - found.centers[layer]) @ found.matrices[layer].T).sum(axis=1) - found.rho2[layer]
        assert reduced == pytest.approx(direct, rel=1e-9, abs=1e-11)


@pytest.mark.parametrize("builder", [constant_width, widening])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("maps", ["conditioned", "paper"])
def test_evaluation_agrees_outside_the_collars(builder, dtype, maps):
    made = builder.assemble(balls(cells=9), tolerance=1e-3, maps=maps, dtype=dtype)
    check_evaluation(made.network, made.cover, 1e-12 if dtype == torch.float64 else 1e-3)


@pytest.mark.parametrize("builder", [constant_width, widening, narrow])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_evaluation_of_ellipsoids_agrees(builder, dtype):
    """Products A_2 A_1^-1 A_3 A_2^-1 ... telescope: the bounds stay small although the entries' sizes multiply up."""
    made = builder.assemble(ellipsoids(cells=40), tolerance=1e-2, dtype=dtype)
    check_evaluation(made.network, made.cover, 1e-10 if dtype == torch.float64 else 0.05)


def check_evaluation(net, cover, collar, radius=6.0):
    found = pieces(net)
    assert found.collar(radius).max() <= collar
    assert (found.collar(radius) >= found.displacement).all()
    edge, normal = cover.boundary_points(40_000)
    near = edge + normal * collar * np.random.default_rng(1).uniform(-1, 1, (len(edge), 1))
    points = np.concatenate([np.random.default_rng(2).uniform(-4, 4, (60_000, cover.dim_in)), near])
    clear = decided(found, points, found.collar(radius))
    assert clear.mean() > 0.6
    values = found(points[clear])
    for engine in ("compiled", "torch"):
        x = torch.as_tensor(points[clear]).to(net.dtype)
        gap = np.linalg.norm(net(x, engine=engine).double().numpy() - values, axis=1)
        assert gap.max() <= found.value_error(radius) + 1e-15 * np.abs(values).max() * 8


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("seed", range(6))
def test_collars_hold_the_boundaries_of_evaluation(seed, dtype):
    """Where evaluation switches, found by bisection, is within the collar of the recovered boundary, and not on it."""
    net = dense(seed, 2, width=4, depth=3, scale=1.6, dtype=dtype)
    found = pieces(net, 8.0)
    collar = found.collar(8.0)
    starts, ends = np.random.default_rng(seed).uniform(-4, 4, (2, 2000, 2))
    first = switch(net, starts)
    different = first != switch(net, ends)
    starts, ends, first = starts[different], ends[different], first[different]
    for _ in range(60):
        middle = (starts + ends) / 2
        same = (switch(net, middle) == first)[:, None]
        starts, ends = np.where(same, middle, starts), np.where(same, ends, middle)
    gaps = np.full(len(starts), np.inf)
    for i in found.nonempty:
        length = np.linalg.norm((starts - found.centers[i]) @ found.matrices[i].T, axis=1)
        gap = np.abs(length - math.sqrt(found.rho2[i])) / np.linalg.norm(found.matrices[i], 2)
        gaps = np.minimum(gaps, gap / collar[i])
    assert len(gaps) > 100
    assert gaps.max() <= 1.0
    assert gaps.max() > 1e-4  # the bound is not vacuous


def switch(net, points):
    """Which Step-ReLU layer is the first to zero each point when the network is evaluated in its dtype, or -1."""
    x = tensor(points, net.dtype)
    first = np.full(len(points), -1)
    for layer in range(net.hidden_layers):
        zeroed = ~net.partial(x, layer + 1).any(dim=1).numpy()
        first = np.where(zeroed & (first < 0), layer, first)
    return first


@pytest.mark.parametrize("builder", [constant_width, narrow])
def test_real_boundaries_are_within_the_displacement(builder):
    """Exact rational evaluation on either side of the displaced boundary of every cell of a rounded chain."""
    made = builder.assemble(ellipsoids(cells=25, seed=3), tolerance=1e-2)
    found = pieces(made.network)
    assert 0 < found.displacement.max() < 1e-10
    chain = exact_maps(made.network)
    rng = np.random.default_rng(0)
    missed = 0
    for i in range(len(found)):
        for _ in range(4):
            sphere = rng.normal(size=2)
            sphere /= np.linalg.norm(sphere)
            offset = np.linalg.solve(found.matrices[i], sphere) * math.sqrt(found.rho2[i])
            normal = found.matrices[i].T @ (found.matrices[i] @ offset)
            normal /= np.linalg.norm(normal)
            for side in (-1, 1):
                step = 2 * found.displacement[i] * np.linalg.cond(found.matrices[i])
                assert inside(chain[i], found.centers[i] + offset + side * step * normal) == (side < 0)
                tiny = 0.01 * found.displacement[i]
                missed += inside(chain[i], found.centers[i] + offset + side * tiny * normal) != (side < 0)
    assert missed  # the boundaries do differ


def exact_maps(net):
    """[slope, offset] of every layer in rational numbers, rows of n + 1."""
    n = net.dim_in
    rows = [[Fraction(int(j == k)) for k in range(n + 1)] for j in range(n)]
    maps = []
    for weight, bias, _ in net.layers():
        entries = [[Fraction(w) for w in row] for row in weight.double().tolist()]
        product = [[sum(w * r[k] for w, r in zip(row, rows, strict=True)) for k in range(n + 1)] for row in entries]
        rows = [[*row[:n], row[n] + Fraction(b)] for row, b in zip(product, bias.double().tolist(), strict=True)]
        maps.append(rows)
    return maps


def inside(rows, point):
    x = [Fraction(float(p)) for p in point]
    return sum((sum(r * p for r, p in zip(row, x, strict=False)) + row[-1]) ** 2 for row in rows) < 1


def test_displacement_holds_for_a_long_chain_of_roundings():
    """A hundred turns by an angle whose sine and cosine are rounded: slopes drift, and the bound follows."""
    c, s = math.cos(1.0), math.sin(1.0)
    turn = [([[c, -s], [s, c]], [0.01, -0.02])] * 100
    net = network(*turn, (np.eye(2), [0.0, 0.0]))
    found = pieces(net)
    maps = exact_maps(net)
    for i in (0, 10, 99):
        drift = max(
            abs(float(Fraction(float(found._recovery.maps[2 * i + j, k])) - maps[i][j][k]))
            for j in range(2)
            for k in range(3)
        )
        assert drift <= found.displacement[i] < 1e-12
    assert found.collar(5.0)[99] < 1e-12  # the entries' sizes alone would grow like 1.38^100


@pytest.mark.parametrize("seed", range(5))
def test_defects_bound_every_step_of_the_recovery(seed):
    """Row by row |recovered - W recovered before| <= defect in rational numbers, and a defect of 0 means equality."""
    rng = np.random.default_rng(seed)
    sparse = [(np.diag(rng.normal(size=2)), np.zeros(2)) for _ in range(3)]
    dyadic = [(np.diag(rng.choice([0.5, 2.0], 2)), rng.integers(-8, 8, 2) / 8) for _ in range(3)]
    turns = [(np.linalg.qr(rng.normal(size=(2, 2)))[0], rng.normal(size=2)) for _ in range(3)]
    net = network(*dyadic, *sparse, *turns, (rng.normal(size=(1, 2)), [0.25]))
    recovery = pieces(net)._recovery
    before = [[Fraction(int(a == b)) for b in range(3)] for a in range(2)]
    row, equal = 0, 0
    for weight, bias, _ in net.layers():
        after = []
        for w, b in zip(weight.tolist(), bias.tolist(), strict=True):
            exact = [sum(Fraction(f) * r[k] for f, r in zip(w, before, strict=True)) for k in range(3)]
            exact[2] += Fraction(b)
            after.append([Fraction(v) for v in recovery.maps[row].tolist()])
            gaps = [abs(e - r) for e, r in zip(exact, after[-1], strict=True)]
            assert all(g <= Fraction(d) for g, d in zip(gaps, recovery.defects[row].tolist(), strict=True))
            assert recovery.defects[row].max() <= 2.0**-53 * np.abs(recovery.maps[row]).max() * (1 + 1e-9)
            equal += sum(d == 0 for d in recovery.defects[row].tolist())
            row += 1
        before = after
    assert equal >= 18  # the dyadic layers


def line(shifts, scales=None):
    """x -> 2^k x + b on a line, layer by layer, beside a constant 2 that keeps every point uncaptured; float32."""
    scales = np.ones(len(shifts)) if scales is None else scales
    layers = [([[scales[0]], [0.0]], [shifts[0], 2.0])]
    layers += [([[a, 0.0], [0.0, 1.0]], [b, 0.0]) for a, b in zip(scales[1:], shifts[1:], strict=True)]
    return network(*layers, (np.eye(2), np.zeros(2)), dtype=torch.float32)


def signs(count, seed=0):
    return np.random.default_rng(seed).choice([-1.0, 1.0], count)


GRID = np.random.default_rng(0).integers(-64, 65, 60) / 8
LINES = {
    "shifts on a grid: a ladder": line(GRID),
    "powers of two between them": line(np.append(GRID, 0.0), np.append(2.0 ** (np.arange(60) % 3 - 1), 1.0)),
    "shifts on no grid": line(np.ravel([[b, -b] for b in 7 / 3 + np.arange(600) / 171])),
    "scales on no grid": line(np.zeros(40), 1 + signs(40) / 3),
    "a ladder, cancelled, then scaled": line([1000.0, -1000.0, 0.0, 0.0], [1.0, 1.0, 0.3, 0.7]),
}


@pytest.mark.parametrize("name", LINES)
def test_errors_of_uncaptured_points(name):
    """The difference between float32 and rational states, at the worst of many points, is within the bound."""
    net = LINES[name]
    radius = 4.0
    points = np.random.default_rng(1).uniform(-radius, radius, 200).astype(np.float32).astype(np.float64)
    recovery = pieces(net)._recovery
    bounds = recovery.errors(radius, np.zeros(len(recovery.fixed)), rounding=True)
    bounds = bounds.norm + bounds.shift * np.abs(recovery.maps[::2, 0])  # rows come in pairs
    depths = {1, 2, 3, 4, net.hidden_layers // 2, net.hidden_layers}
    worst = 0.0
    for depth in sorted(d for d in depths if d <= net.hidden_layers):
        slope, offset = exact_maps(net)[depth - 1][0]
        states = net.partial(tensor(points, torch.float32)[:, None], depth)[:, 0].double().numpy()
        gap = max(abs(float(Fraction(s) - slope * Fraction(x) - offset)) for s, x in zip(states, points, strict=True))
        assert gap <= bounds[depth - 1]
        worst = max(worst, gap / bounds[depth - 1])
    assert worst > 0.02
    if "ladder" in name and "scaled" not in name:
        assert bounds[-1] <= 2.0**-24 * 128  # it does not grow with the number of layers


def test_growing_runs_are_the_dense_network():
    made = widening.assemble(balls(cells=6, out=2))
    dense_net = RadialNetwork.from_layers(made.network.layers())
    compact, full = pieces(made.network), pieces(dense_net)
    assert chain_of(made.network, "test").width < chain_of(dense_net, "test").width
    assert np.array_equal(compact.centers, full.centers)
    assert np.array_equal(compact.rho2, full.rho2)
    assert compact.values == pytest.approx(full.values, abs=1e-14)
    check_exactly(made.network, np.random.default_rng(0).uniform(-3, 3, (60, 2)))


def test_growing_runs_whose_new_coordinates_depend_on_x():
    rng = np.random.default_rng(4)
    blocks = [
        Dense(tensor(rng.normal(size=(2, 2))), tensor(rng.normal(size=2)), STEP),
        Growing(tensor(rng.normal(size=(4, 3, 2))), tensor(rng.normal(size=(4, 3))), STEP),
        Dense(tensor(rng.normal(size=(1, 6))), tensor([0.5])),
    ]
    check_exactly(RadialNetwork(blocks), rng.normal(size=(80, 2)))
    wider = [Dense(tensor(rng.normal(size=(3, 2))), tensor(rng.normal(size=3)), STEP), blocks[1]]
    check_exactly(RadialNetwork(wider), rng.normal(size=(80, 2)), least=0.5)


@pytest.mark.parametrize("readout", [[1e8, -1e8, 1.1], [1.1, 1e8, -1e8]])
def test_totals_are_bounded_in_any_order(readout):
    """Readout terms 1e8, -1e8 and 1 cancel in one order and not in another: the bound has their sizes."""
    weight = np.zeros((3, 3, 2))
    weight[:, 0, 0] = weight[:, 1, 1] = 1.0
    bias = np.zeros((3, 3))
    bias[:, 1], bias[:, 2] = 0.0, 1.5
    blocks = [
        Dense(tensor([[1.0], [0.0]]), tensor([0.0, 2.0]), STEP),
        Growing(tensor(weight), tensor(bias), STEP),
        Dense(tensor([[0.0, 0.0, 1e8, -1e8, 1.1]]), tensor([0.1])),
    ]
    found = pieces(RadialNetwork(blocks))
    assert 4 * 3e8 * 2.0**-53 <= found.value_error(1.0) <= 40 * 3e8 * 2.0**-53


@pytest.mark.parametrize("builder", [constant_width, widening])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_weight_off_by_one_ulp_is_noticed(builder, dtype):
    cover = balls(cells=8)
    made = builder.assemble(cover, tolerance=1e-3, dtype=dtype)
    assert made.affine_exact
    slope, offset = pieces(made.network).outside_error(cover.affine)
    assert slope and offset <= (1e-14 if dtype == torch.float64 else 1e-6)
    changed = 0
    for block in made.network.blocks:
        weight = block.weight
        for place in torch.nonzero(weight[..., :2, :2].abs() > 0).tolist():
            if weight.ndim == 3 and place[0] not in (0, 6):
                continue
            old = weight[tuple(place)].clone()
            with torch.no_grad():
                weight[tuple(place)] = torch.nextafter(old, torch.tensor(np.inf, dtype=dtype))
            assert not pieces(made.network).outside_error(cover.affine)[0]
            with torch.no_grad():
                weight[tuple(place)] = old
            changed += 1
    assert changed >= 6
    assert pieces(made.network).outside_error(cover.affine)[0]


def test_the_offset_is_compared_exactly():
    made = constant_width.assemble(balls(cells=5), tolerance=1e-3)
    exact = exact_maps(made.network)[-1][0][-1]
    given = AffineMap(made.cover.affine.matrix, made.cover.affine.offset + 2.0**-30)
    slope, bound = pieces(made.network).outside_error(given)
    gap = abs(exact - Fraction(float(given.offset[0])))
    assert slope and gap <= Fraction(bound) <= gap * Fraction(1 + 2**-15)
    other = AffineMap(made.cover.affine.matrix + 2.0**-50, made.cover.affine.offset)
    assert not pieces(made.network).outside_error(other)[0]
    with pytest.raises(ValueError, match="an AffineMap from R"):
        pieces(made.network).outside_error(AffineMap([[1.0]], [0.0]))


def test_exploding_rationals_are_not_proved():
    c, s = math.cos(1.0), math.sin(1.0)
    turn = [([[c, -s], [s, c]], [0.01, -0.02])] * 1000
    found = pieces(network(*turn, (np.eye(2), [0.0, 0.0])))
    slope, bound = found.outside_error(found.affine)
    assert not slope
    assert 0 < bound < 1e-9


def test_a_readout_that_ignores_x_is_constant_outside():
    made = constant_width.assemble(ellipsoids(cells=700), tolerance=1e-2)
    assert pieces(made.network)._exact is None
    slope, bound = pieces(made.network).outside_error(made.cover.affine)
    assert slope and bound <= 1e-12
    assert not pieces(made.network).outside_error(AffineMap([[1e-30, 0.0]], [0.0]))[0]


def test_constant_vectors_near_the_threshold_are_refused():
    unclear = network(([[1.0]], [0.0]), ([[1.0], [0.0]], [0.6, 0.8]), ([[1.0, 1.0]], [0.0]))
    with pytest.raises(AmbiguousNetwork, match="points captured by layer 1 whose norm at layer 2 is within") as caught:
        pieces(unclear)
    assert caught.value.layer == 2 and caught.value.margin < 1e-15
    with pytest.raises(AmbiguousNetwork, match="at layer 1"):
        pieces(network(([[0.0], [0.0]], [0.6, 0.8]), ([[1.0, 1.0]], [0.0])))
    later = network(([[1.0]], [0.0]), ([[1.0]], [3.0]), ([[1.0], [0.0]], [-2.4, 0.8]), ([[1.0, 1.0]], [0.0]))
    with pytest.raises(AmbiguousNetwork, match="captured by layer 1 whose norm at layer 3"):
        pieces(later)
    behind = network(([[0.0]], [0.5]), ([[1.0]], [4.0]), ([[0.0], [0.0]], [0.6, 0.8]), ([[1.0, 1.0]], [0.0]))
    with pytest.raises(AmbiguousNetwork, match="captured by layer 1 whose norm at layer 3"):
        pieces(behind)


def test_a_norm_of_exactly_one_is_no_doubt():
    net = network(([[1.0]], [0.0]), ([[1.0]], [1.0]), ([[1.0]], [-2.0]), ([[1.0]], [0.0]))
    found = pieces(net)  # zero -> 1 -> -1, kept both times
    assert found.values.ravel().tolist() == [-1.0, -2.0, 0.0]
    check_exactly(net, np.linspace(-5, 5, 41)[:, None] + 0.003)


def test_float32_doubts_that_real_arithmetic_does_not_have():
    shift = 1 + 2.0**-20
    net = network(([[1.0]], [0.0]), ([[0.3]], [7.0]), ([[0.7]], [shift - 4.9]), ([[1.0]], [0.0]), dtype=torch.float32)
    found = pieces(net)
    with pytest.raises(AmbiguousNetwork, match="captured by layer 1 whose norm at layer 3"):
        found.collar(5.0)
    pieces(net.double()).collar(5.0)


def test_a_cell_that_may_not_exist_is_covered_by_its_collar():
    touching = network(
        (np.eye(2), [0.0, 0.0]), ([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]], [0.0, 0.0, 1.0]), (np.ones((1, 3)), [0.0])
    )
    with_doubt = pieces(touching)
    assert with_doubt.nonempty.tolist() == [0, 1]
    assert with_doubt.displacement[1] >= with_doubt.radii[1]


def test_exact_sums_are_recognised():
    assert lowest_bit(np.array([0.0, 1.0, 12.0, 0.375, -(2.0**-1074)])).tolist() == [math.inf, 1, 4, 0.125, 2.0**-1074]
    made = constant_width.assemble(balls(cells=50), tolerance=1e-6)
    found = pieces(made.network)
    assert not found._recovery.defects[:-1].any()
    assert found.value_errors.max() <= 2e-15
    # The displacement does not grow with the number of layers.
    few = pieces(constant_width.assemble(balls(cells=50).subset([0, 1]), tolerance=1e-6).network)
    assert found.collar(5.0)[:2] == pytest.approx(few.collar(5.0), rel=0.5)
    assert found.collar(5.0).max() <= 5e-14


def test_blocks_do_not_matter():
    made = constant_width.assemble(balls(cells=6), tolerance=1e-3)
    single = RadialNetwork.from_layers(made.network.layers())
    assert any(isinstance(block, Stack) for block in made.network.blocks)
    one, two = pieces(made.network), pieces(single)
    assert np.array_equal(one.centers, two.centers) and np.array_equal(one.values, two.values)
    assert np.array_equal(one.collar(3.0), two.collar(3.0))


def test_more_trajectories_than_lanes():
    """200 cells, values that repeat, so that trajectories end at different layers of different blocks."""
    cover = balls(cells=200, out=2)
    cover = replace(cover, values=np.round(cover.values))
    made = constant_width.assemble(cover, tolerance=0.25)
    found = pieces(made.network)
    assert np.array_equal(found.values, made.cover.values)
    assert pieces(narrow.assemble(cover, tolerance=0.25).network).values == pytest.approx(made.cover.values, abs=1e-13)
    assert pieces(widening.assemble(cover).network).values == pytest.approx(cover.values, abs=1e-13)


def test_cells_carry_collars_for_branch_and_bound():
    found = pieces(constant_width.assemble(balls(), tolerance=1e-3).network)
    cells = found.cells(5.0)
    assert cells.matrices is None
    assert np.array_equal(cells.collars, found.collar(5.0))
    assert np.array_equal(found.cells().collars, found.displacement)
    mixed = pieces(constant_width.assemble(ellipsoids(cells=5), tolerance=1e-2).network)
    lengths = np.linalg.norm(mixed.cells(5.0).matrices, ord=2, axis=(1, 2))
    assert (mixed.cells(5.0).collars <= lengths * mixed.collar(5.0) * 1.5).all()


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda net: pieces("network"), TypeError, "a RadialNetwork"),
        (lambda net: pieces(net, -1.0), ValueError, "radius > 0"),
        (lambda net: pieces(net, math.nan), ValueError, "finite radius"),
        (lambda net: pieces(net).collar(0.0), ValueError, "radius > 0"),
        (lambda net: pieces(net).find([[math.nan]]), ValueError, "NaN"),
        (lambda net: pieces(net)([[1.0, 2.0]]), ValueError, "last axis = coordinates"),
        (lambda net: pieces(net.to(torch.bfloat16)), ValueError, "torch.float64 or torch.float32"),
    ],
)
def test_bad_input_is_refused(call, error, text):
    with pytest.raises(error, match=text):
        call(network(([[1.0]], [0.0]), ([[1.0]], [0.0])))


def test_other_activations_are_refused():
    net = RadialNetwork.from_layers([(tensor([[1.0]]), tensor([0.0]), ShiftedReLU())])
    with pytest.raises(ValueError, match="have no pieces"):
        pieces(net)


def test_overflow_is_named():
    net = network(([[1e200]], [0.0]), ([[1e200]], [0.0]), ([[1.0]], [0.0]))
    with pytest.raises(ValueError, match="overflow at or behind layer 2"):
        pieces(net)
