"""maps="paper": the stored layers are the paper's own T_i S_{i-1}, and the same function as the conditioned ones."""

import numpy as np
import pytest

from approx.affine import AffineMap
from approx.covers import Cover
from constructions import constant_width, minimal, narrow, widening


def cover_of(n, m, cells=6, slope=True):
    """Balls of radius in (0.1, 0.9) with values at distance >= 1/2 of each other and of L's offset."""
    rng = np.random.default_rng(n + 10 * m)
    values = np.zeros((cells, m))
    values[:, 0] = rng.permutation(cells) + 1.0
    values[:, -1] += rng.integers(0, 3, cells) / 4
    affine = AffineMap(rng.normal(size=(m, n)) * slope, np.zeros(m))
    return Cover(rng.uniform(-1, 1, (cells, n)), values, affine, radii=rng.uniform(0.11, 0.89, cells))


def matrix_of(fn, inputs):
    """(weight, bias) of an affine map given as a function of one vector."""
    bias = fn(np.zeros(inputs))
    return np.stack([fn(row) - bias for row in np.eye(inputs)], axis=1), bias


def theorem_3(cover):
    """Theorem 3: T_i(z) = z - c_i + h_i e_i, S_i(z) = z - (1 + 1/h_i) <e_i, z> e_i + c_i + e_i; e_i comes last."""
    n, h = cover.dim_in, np.sqrt(1 - cover.radii**2)
    layers, back = [], lambda z: z
    for i, center in enumerate(cover.centers):
        width = n + i

        def forward(z, center=center, i=i):
            return np.append(z - np.append(center, np.zeros(i)), h[i])

        layers.append(matrix_of(lambda z, back=back, forward=forward: forward(back(z)), max(width, n)))

        def back(z, center=center, i=i, width=width):
            unit = np.eye(width + 1)[width]
            return z - (1 + 1 / h[i]) * z[width] * unit + np.append(center, np.zeros(i + 1)) + unit

    linear = cover.affine.matrix
    heights = cover.values - cover.affine(cover.centers)  # Phi(e_i) = y_i - L(c_i)

    def readout(z):
        x, e = z[:n], z[n:]
        return linear @ x + cover.affine.offset + heights.T @ e

    layers.append(matrix_of(lambda z, back=back: readout(back(z)), n + len(cover)))
    return layers


def newest_first(weight, bias, n, rows, columns):
    """From the paper's order (x, e_1, ..., e_k) to ours (x, e_k, ..., e_1), on either side."""
    out = np.r_[0:n, n + np.arange(rows)[::-1]] if rows is not None else np.arange(len(bias))
    inputs = np.r_[0:n, n + np.arange(columns)[::-1]]
    return weight[out][:, inputs], bias[out]


def theorem_5(cover, codes, scale):
    """Theorem 5 with A_i = I: maps of the state (x, y, t)."""
    n, m, h = cover.dim_in, cover.dim_out, np.sqrt(1 - cover.radii**2)
    offset, linear = cover.affine.offset, cover.affine.matrix

    def forward(i, s):
        x, y, t = s[:n], s[n : n + m], s[-1]
        return np.concatenate([x - (1 - t) * cover.centers[i], y - t * codes[i], [(1 - t) * h[i]]])

    def back(i, s):
        v, w, q = s[:n], s[n : n + m], s[-1]
        lift = q / h[i]
        return np.concatenate([v + lift * cover.centers[i], w + (1 - lift) * codes[i], [1 - lift]])

    state = n + m + 1
    layers = [matrix_of(lambda x: forward(0, np.concatenate([x, np.zeros(m + 1)])), n)]
    layers += [matrix_of(lambda s, i=i: forward(i, back(i - 1, s)), state) for i in range(1, len(cover))]
    last = len(cover) - 1

    def readout(s):
        s = back(last, s)
        return linear @ s[:n] + offset + scale * s[n : n + m]

    return [*layers, matrix_of(readout, state)]


def theorem_5_compact(cover, codes, scale):
    """The compact variant with A_i = I: x and the value share D = max(n, m) coordinates, one more says which."""
    n, m, h = cover.dim_in, cover.dim_out, np.sqrt(1 - cover.radii**2)
    wide = max(n, m)
    centers, p = (np.pad(a, [(0, 0), (0, wide - a.shape[1])]) for a in (cover.centers, codes))

    def forward(i, s):
        x, t = s[:wide], s[-1]
        return np.append(x - (1 - t) * centers[i] - t * p[i], (1 - t) * h[i])

    def back(i, s):
        v, lift = s[:wide], s[-1] / h[i]
        return np.append(v + lift * centers[i] + (1 - lift) * p[i], 1 - lift)

    last = len(cover) - 1
    layers = [matrix_of(lambda x: forward(0, np.concatenate([x, np.zeros(wide + 1 - n)])), n)]
    layers += [matrix_of(lambda s, i=i: forward(i, back(i - 1, s)), wide + 1) for i in range(1, len(cover))]
    return [*layers, matrix_of(lambda s: cover.affine.offset + scale * back(last, s)[:m], wide + 1)]


def codes_of(cover):
    """p_i = (y_i - L(0)) / s with s half the smallest distance of different values."""
    offsets = cover.values - cover.affine.offset
    gaps = np.linalg.norm(offsets[:, None] - offsets[None], axis=2)
    scale = gaps[gaps > 0].min() / 2
    return offsets / scale, scale


def assert_layers_equal(network, expected):
    layers = list(network.layers())
    assert len(layers) == len(expected)
    for (weight, bias, _), (wanted, shift) in zip(layers, expected, strict=True):
        assert weight.shape == wanted.shape
        # Differences of rows cost a few roundings of numbers up to about 30.
        assert weight.numpy() == pytest.approx(wanted, rel=1e-12, abs=1e-13)
        assert bias.numpy() == pytest.approx(shift, rel=1e-12, abs=1e-13)


@pytest.mark.parametrize(("n", "m"), [(1, 1), (2, 1), (2, 3), (3, 2)])
def test_widening_stores_the_layers_of_theorem_3(n, m):
    cover = cover_of(n, m)
    expected = theorem_3(cover)
    count = len(cover)
    ordered = [newest_first(w, b, n, i + 1, i) for i, (w, b) in enumerate(expected[:-1])]
    ordered.append(newest_first(*expected[-1], n, None, count))
    assert_layers_equal(widening.assemble(cover, maps="paper").network, ordered)


def test_the_first_two_layers_of_theorem_3_by_hand():
    """r = 0.6 and 0.8, so h = 0.8 and 0.6: T_1 = (x - c_1, 0.8); T_2 S_1 = (v + c_1 - c_2, 0.6, 1 - q/0.8)."""
    cover = Cover([[1.0], [3.0]], [[5.0], [7.0]], AffineMap([[2.0]], [1.0]), radii=[0.6, 0.8])
    first, second, last = widening.assemble(cover, maps="paper").network.layers()
    assert first[0].numpy() == pytest.approx(np.array([[1.0], [0.0]]))
    assert first[1].numpy() == pytest.approx([-1.0, 0.8])
    assert second[0].numpy() == pytest.approx(np.array([[1.0, 0.0], [0.0, 0.0], [0.0, -1 / 0.8]]))
    assert second[1].numpy() == pytest.approx([-2.0, 0.6, 1.0])
    # Phi S_2: L(v + c_2) + (5 - L(1)) e_1 + (7 - L(3)) (1 - q/0.6) = 2 v + 7 + 2 e_1 + 0
    assert last[0].numpy() == pytest.approx(np.array([[2.0, 0.0, 2.0]]), abs=1e-14)
    assert last[1].numpy() == pytest.approx([7.0])


@pytest.mark.parametrize(("n", "m"), [(1, 1), (2, 1), (2, 3), (3, 2)])
def test_constant_width_stores_the_layers_of_theorem_5(n, m):
    cover = cover_of(n, m)
    expected = theorem_5(cover, *codes_of(cover))
    assert_layers_equal(constant_width.assemble(cover, maps="paper").network, expected)


@pytest.mark.parametrize(("n", "m"), [(1, 1), (2, 1), (2, 3), (3, 2)])
def test_narrow_stores_the_layers_of_the_compact_variant(n, m):
    cover = cover_of(n, m)
    expected = theorem_5_compact(cover, *codes_of(cover))
    assert_layers_equal(narrow.assemble(cover, maps="paper").network, expected)


def test_the_first_stage_of_minimal_collapses_ball_after_ball():
    """z -> r ((z - c) / r with |.| < 1 set to 0) + c, here seen from outside: S_k undoes T_k."""
    centers = np.array([[-1.0, 0.0], [0.0, 0.5], [1.0, 0.0]])
    radii = np.array([0.9, 0.45, 0.9])
    cover = Cover(centers, [[1.0], [2.0], [4.0]], AffineMap.constant([0.0], 2), radii=radii)
    network = minimal.assemble(cover, tolerance=0.5).network
    layers = [(w.numpy(), b.numpy()) for w, b, _ in network.layers()]
    x = np.random.default_rng(0).uniform(-2, 2, (200, 2))
    z, state = x.copy(), x
    for k in range(3):
        scaled = (z - centers[k]) / radii[k]
        scaled[np.linalg.norm(scaled, axis=1) < 1] = 0
        z = radii[k] * scaled + centers[k]
        state = state @ layers[k][0].T + layers[k][1]
        state[np.linalg.norm(state, axis=1) < 1] = 0
        assert state == pytest.approx(scaled, abs=1e-12)


@pytest.mark.parametrize(("n", "m"), [(1, 1), (2, 1), (1, 3), (3, 2)])
@pytest.mark.parametrize("assemble", [widening.assemble, constant_width.assemble, narrow.assemble])
def test_both_kinds_of_maps_are_the_same_function(assemble, n, m):
    cover = cover_of(n, m, cells=15)
    paper, conditioned = assemble(cover, maps="paper"), assemble(cover, maps="conditioned")
    assert paper.network.widths == conditioned.network.widths
    rng = np.random.default_rng(0)
    x = rng.uniform(-2, 2, (2000, n))
    # Away from boundaries: the realised cells differ by the digits of the padding.
    gauges = np.linalg.norm(x[:, None] - cover.centers, axis=2) / cover.radii
    keep = (np.abs(gauges - 1) > 1e-5).all(axis=1)
    if assemble is narrow.assemble:
        keep &= cover.find(x) >= 0
    assert keep.sum() > 200
    ours, theirs = conditioned.network.evaluate(x[keep]), paper.network.evaluate(x[keep])
    assert ours == pytest.approx(theirs, abs=2e-6)  # the values are rounded to 2^-23 of their size
    assert theirs == pytest.approx(cover(x[keep]), abs=1e-11)


@pytest.mark.parametrize("assemble", [widening.assemble, constant_width.assemble, narrow.assemble])
def test_the_papers_maps_refuse_large_balls_and_ellipsoids(assemble):
    cover = Cover([[0.0]], [[1.0]], AffineMap.constant([0.0], 1), radii=[1.0])
    with pytest.raises(ValueError, match=r"balls of radius < 1.*Use maps='conditioned'"):
        assemble(cover, maps="paper")


def test_small_radii_are_why_the_conditioned_maps_exist():
    """1 - h^2 = r^2: at r = 3e-8 the stored h of the paper misses r^2 by a percent, ours keeps seven digits."""
    cover = Cover([[0.25]], [[1.0]], AffineMap.constant([0.0], 1), radii=[3e-8])
    offsets = 3e-8 * np.array([[0.9], [0.999], [1.001], [1.1]])
    right = np.array([[1.0], [1.0], [0.0], [0.0]])
    ours = constant_width.assemble(cover).network.evaluate(0.25 + offsets)
    assert (ours == right).all()
    h = float(constant_width.assemble(cover, maps="paper").network.blocks[0].bias[-1])
    assert abs((1 - h) * (1 + h) / 9e-16 - 1) > 0.01
