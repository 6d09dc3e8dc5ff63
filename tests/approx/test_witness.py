"""Witnesses: what a tree or a lattice shows holds point by point, and everything else is refused."""

import inspect
import itertools
import time
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from approx import targets
from approx.affine import AffineMap
from approx.certification import _cubes, _lattices, _question, _tree, certify, enclosure_of
from approx.certification._cubes import Tree, check_tree, find_tree
from approx.certification._lattices import check_lattice, find_lattice
from approx.certification._question import Question
from approx.certification._tree import leaves, morton_order
from approx.certification.cells import Cells
from approx.covers import Cover
from approx.domains import Ball, Box, WholeSpace
from approx.lattice import Lattice
from constructions import constant_width, covers, narrow

ZERO = np.zeros(1)


def random_tree(rng, n, most=60):
    """Depths in order, and the boxes as pairs of corners in exact rationals."""

    def grow(lower, upper, depth):
        if depth and (rng.random() < 0.45 or len(found) > most or depth > 5 * n):
            found.append((depth, lower, upper))
            return
        axis = depth % n
        middle = (lower[axis] + upper[axis]) / 2
        grow(lower, (*upper[:axis], middle, *upper[axis + 1 :]), depth + 1)
        grow((*lower[:axis], middle, *lower[axis + 1 :]), upper, depth + 1)

    found = []
    grow((Fraction(0),) * n, (Fraction(1),) * n, 0)
    return found


def read(depths, n=1, chunk=1 << 14):
    parts = list(leaves(np.zeros(n), 1.0, np.asarray(depths), chunk))
    return tuple(np.concatenate([boxes[end] for _, boxes in parts]) for end in (0, 1))


@pytest.mark.parametrize("n", [1, 2, 3, 7, 10])
def test_trees_are_read_as_they_were_grown(n):
    rng = np.random.default_rng(n)
    for chunk in (1, 3, 1 << 14):
        tree = random_tree(rng, n)
        lower, upper = read([depth for depth, _, _ in tree], n, chunk)
        assert [tuple(map(Fraction, row)) for row in lower.tolist()] == [box[1] for box in tree]
        assert [tuple(map(Fraction, row)) for row in upper.tolist()] == [box[2] for box in tree]
        assert sum(np.prod([b - a for a, b in zip(*box[1:], strict=True)]) for box in tree) == 1


def test_a_list_is_read_if_and_only_if_it_tiles():
    """All lists of up to 5 depths up to 4, against intervals laid side by side in exact arithmetic."""
    accepted = 0
    for size in range(1, 6):
        for depths in itertools.product(range(5), repeat=size):
            at, tiles = Fraction(0), True
            for depth in depths:
                tiles = tiles and (at * 2**depth).denominator == 1 and at < 1
                at += Fraction(1, 2**depth)
            tiles = tiles and at == 1
            try:
                read(depths)
                read(depths, n=3)
                assert tiles, depths
                accepted += 1
            except ValueError:
                assert not tiles, depths
    assert accepted == 1 + 1 + 2 + 5 + 14  # binary trees with up to 5 leaves of depth up to 4


@pytest.mark.parametrize(
    ("depths", "match"),
    [
        ([2, 2, 2], "leave a gap at the end"),
        ([2, 2, 2, 2, 2], "comes after the last one"),
        ([2, 1, 2, 2], "overlaps the one before it"),  # a leaf inside another; the volumes add up to more
        ([2, 2, 3, 2, 3], "overlaps the one before it"),  # the volumes add up to the cube
        ([], "list of integers"),
        ([1.0, 1.0], "list of integers"),
        ([np.nan], "list of integers"),
        ([-1, 1], "integers from 0"),
        ([2**62, 1], "integers from 0"),
        ([[1, 1]], "list of integers"),
    ],
)
def test_lists_that_do_not_tile(depths, match):
    with pytest.raises(ValueError, match=match):
        read(np.array(depths))


def test_morton_order_is_the_order_of_leaves():
    rng = np.random.default_rng(0)
    for n in (1, 3, 10):
        tree = random_tree(rng, n, most=200)
        units = np.array([[int(v * 2**_tree.HALVINGS) for v in box[1]] for box in tree])
        shuffle = rng.permutation(len(tree))
        order = morton_order(units[shuffle], max(depth for depth, _, _ in tree))
        assert (shuffle[order] == np.arange(len(tree))).all()


class Nothing:
    """Bounds of f that are not known."""

    def residual_range(self, lower, upper, affine):
        return np.full((2, len(lower), 1), np.nan)


def quadrants(n=2, slack=1e-6, collar=0.0, radius=None, value=0.0):
    """The 2^n quarters of [-1, 1]^n, each in its ball, for f = 0 and L = 1."""
    f = targets.from_expression("0*x1", dim_in=n, domain=Box.cube(n, 1.0))
    centers = np.array(list(itertools.product((-0.5, 0.5), repeat=n)))
    radii = np.full(2**n, np.sqrt(n) / 2 * (1 + slack) if radius is None else radius)
    cells = Cells(centers, radii, collars=collar)
    cube = Box.cube(n, 1.0)
    values = np.full((2**n, 1), value)
    question = Question(cells, values, AffineMap.constant([1.0], n), 0.0, enclosure_of(f), (cube,), cube)
    return question, Tree(np.full(n, -1.0), 2.0, np.full(2**n, n), np.arange(2**n))


@pytest.mark.parametrize("n", [1, 2, 3, 10])
def test_a_witness_is_accepted(n):
    question, tree = quadrants(n)
    assert check_tree(question, tree) == 0.0
    assert question.on_cells().max() < 1e-300
    found = find_tree(question, 0.5, np.inf)
    assert check_tree(question, found) == 0.0 and (found.cells >= 0).any()
    assert (quadrants(n, value=0.25)[0].on_cells() >= 0.25).all()


BAD = {
    "a wrong cell": ({"cells": np.array([0, 1, 2, 2])}, "not in its cell 2"),
    "swapped cells": ({"cells": np.array([1, 0, 2, 3])}, "not in its cell 1"),
    "a leaf too few": ({"depths": np.array([2, 2, 2]), "cells": np.arange(3)}, "gap at the end"),
    "a leaf too many": ({"depths": np.full(5, 2), "cells": np.array([0, 1, 2, 3, 3])}, "after the last"),
    "a nested leaf": ({"depths": np.array([2, 2, 3, 2, 3]), "cells": np.array([0, 1, 2, 2, 3])}, "overlaps"),
    "no cell of that number": ({"cells": np.array([0, 1, 2, 4])}, "cell number 4"),
    "a negative cell": ({"cells": np.array([0, 1, 2, -2])}, "cell number -2"),
    "a huge cell": ({"cells": np.array([0, 1, 2, 2**62])}, "cell number 4611686018427387904"),
    "cells that are no integers": ({"cells": np.array([0, 1, 2, np.nan])}, "one integer for each leaf"),
    "too few cells": ({"cells": np.arange(3)}, "one integer for each leaf"),
    "a smaller cube": ({"side": 2.0 - 1e-15}, "does not hold the core"),
    "a shifted cube": ({"corner": np.array([-1.0, -1.0 + 1e-15])}, "does not hold the core"),
    "a side that is no number": ({"side": np.nan}, "a cube of"),
    "a corner that is no number": ({"corner": np.array([np.nan, -1.0])}, "a cube of"),
    "an infinite cube": ({"side": np.inf}, "a cube of"),
    "another dimension": ({"corner": np.full(3, -1.0)}, "a cube of"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_witness_is_refused(name):
    change, match = BAD[name]
    question, tree = quadrants()
    with pytest.raises(ValueError, match=match):
        check_tree(question, replace(tree, **change))


@pytest.mark.parametrize(
    "options",
    [
        {"radius": np.sqrt(0.5) * (1 - 1e-9)},  # the corners poke out
        {"collar": 1e-5},  # the slack is 7e-7
        {"radius": 0.0},
        {"radius": np.sqrt(0.5)},  # exactly touching: rounding decides
    ],
)
def test_cells_that_are_too_small_for_their_leaf(options):
    question, tree = quadrants(**options)
    with pytest.raises(ValueError, match="not in its cell"):
        check_tree(question, tree)


def test_what_is_not_known_proves_nothing():
    question, tree = quadrants()
    question = replace(question, enclosure=Nothing())
    assert check_tree(question, replace(tree, cells=np.array([0, -1, 2, 3]))) == np.inf


def test_leaves_without_a_cell_are_charged():
    question, tree = quadrants()
    assert 1 <= check_tree(question, replace(tree, cells=np.array([0, -1, 2, 3]))) < 1 + 1e-12
    elsewhere = replace(question, core=(Box.cube(2, 0.25, 0.5),))  # the core, not the cube, has to be served
    assert check_tree(elsewhere, replace(tree, cells=np.array([-1, -1, -1, 3]))) == 0.0


def random_question(seed):
    rng = np.random.default_rng(seed)
    n, count = int(rng.integers(1, 4)), int(rng.integers(1, 90))
    matrices = rng.normal(size=(count, n, n)) / 0.7 if seed % 3 == 0 else None
    radii = 10 ** rng.uniform(-1, 0.3, count)
    centers = rng.uniform(-1, 1, (count, n))
    cells = Cells.around(centers, radii, matrices, 10 ** rng.uniform(-9, -2))
    f = targets.from_expression("sin(2*x1)" + "+x2^2" * (n > 1) + "-x3" * (n > 2), domain=Box.cube(n, 1.0))
    domain = Box.cube(n, 1.0) if seed % 2 else Ball(np.zeros(n), 1.0)
    affine = AffineMap(rng.normal(size=(1, n)), rng.normal(size=1))
    return Question(cells, rng.normal(size=(count, 1)), affine, 1e-6, enclosure_of(f), (domain,), domain)


def first_cells(question, x, side):
    """(k,) the first cell that holds x, with collars counted to the inside (side = 1) or outside (-1); -1 if none."""
    cells = question.cells
    matrices = np.eye(cells.dim_in) if cells.matrices is None else cells.matrices[:, None]
    offsets = x if cells.matrices is None else (matrices @ x[:, :, None])[:, :, :, 0]
    lengths = np.linalg.norm(offsets - (cells.offsets if cells.matrices is None else cells.offsets[:, None]), axis=-1) \
        if cells.matrices is not None else np.linalg.norm(x[None] - cells.offsets[:, None], axis=-1)  # fmt: skip
    inside = lengths < (cells.radii + side * cells.collars)[:, None]
    return np.where(inside.any(axis=0), inside.argmax(axis=0), -1)


@pytest.mark.parametrize("seed", range(24))
def test_no_point_contradicts_the_bounds(seed):
    """Cells at random: every point in a leaf with a cell is in that cell, and all errors stay below the bounds."""
    question = random_question(seed)
    f, domain = question.enclosure.target, question.domain
    tree = find_tree(question, 0.5, time.time() + 0.15)
    outside, on_cells = check_tree(question, tree), question.on_cells()
    sharp = question.sharpened(on_cells, 0.5 * float(on_cells.max()), time.time() + 0.15)
    assert (sharp <= on_cells).all()
    x = np.concatenate([domain.sample(2000, seed), domain.project(question.cells.offsets)]) if seed % 3 else (
        domain.sample(2000, seed))  # fmt: skip
    for side in (1, -1):
        cell = first_cells(question, x, side)
        value = np.where(cell[:, None] >= 0, question.values[cell], question.affine(x))
        error = np.abs(value - f(x))[:, 0]
        assert (error <= np.where(cell >= 0, sharp[cell], outside)).all()
    held = first_cells(question, x, -1) >= 0
    for rows, (lower, upper) in leaves(tree.corner, tree.side, tree.depths):
        for k in np.flatnonzero(tree.cells[rows] >= 0)[:200]:
            assert held[((x >= lower[k]) & (x <= upper[k])).all(axis=1)].all()


def lattice_question(n, eps=0.45, **changes):
    f = targets.gaussian(dim=n)
    cover = covers.make("uniform", f, eps, WholeSpace(n), everywhere=True, affine=f.affine)
    core = Ball(np.zeros(n), np.sqrt(-np.log(eps)))
    cells = Cells(changes.get("centers", cover.centers), changes.get("radii", cover.radii),
                  collars=changes.get("collars", 1e-10))  # fmt: skip
    return Question(cells, cover.values, cover.affine, 0.0, enclosure_of(f), (core,), None)


@pytest.mark.parametrize("n", [2, 3, 5, 6])
def test_lattices(n):
    question = lattice_question(n)
    centers, radii = question.cells.offsets, question.cells.radii
    rho, origin = find_lattice(centers, radii)
    assert abs(rho * (1 + 1e-6) / radii[0] - 1) < 1e-9
    assert check_lattice(question, rho, origin) <= 0.45
    assert find_lattice(centers, np.linspace(1, 2, len(radii))) is None
    # A lattice that is larger, smaller, shifted or not that of the cells shows nothing.
    for wrong in (
        (rho * (1 + 2e-6), origin),
        (rho * (1 - 1e-4), origin),
        (rho, origin + 1e-3 * rho),
        (rho, origin * np.nan),
    ):
        assert not check_lattice(question, *wrong) <= 0.45
    for change in (
        {"radii": radii * (1 - 2e-6)},
        {"collars": 1e-5},
        {"centers": centers + 1e-5 * np.eye(len(radii), n)},
    ):
        assert not check_lattice(lattice_question(n, **change), rho, origin) <= 0.45
    # Without one of the cells that hold the middle, |f - L| is nearly 1 somewhere.
    inner = int(np.linalg.norm(centers, axis=1).argmin())
    keep = np.arange(len(radii)) != inner
    cells = Cells(centers[keep], radii[keep], collars=1e-10)
    damaged = replace(question, cells=cells, values=question.values[keep])
    x = centers[inner] + np.linspace(0, 0.1 * rho, 50)[:, None] * np.eye(n)[0]
    alone = x[(np.linalg.norm(x[:, None] - cells.offsets, axis=2) > cells.radii).all(axis=1)]
    worst = float(np.exp(-np.square(alone).sum(axis=1)).max()) if len(alone) else 0.46
    assert check_lattice(damaged, rho, origin) >= worst > 0.45


def test_lattice_points_are_complete():
    """All points of the core are within the covering radius of an enumerated point, by brute force."""
    lattice = Lattice(4, 0.7)
    core = Ball(np.full(4, 0.3), 1.1)
    points = lattice.points(core, 0.7 * (1 + 1e-6), np.full(4, 0.123))
    x = core.sample(4000)
    assert (np.linalg.norm(x[:, None] - points, axis=2).min(axis=1) <= 0.7).all()


# name: (owner, function, old, new)
MUTANTS = {
    "overlap read": (_tree, "_walk", "or depths[k] < state[n]", ""),
    "gap read": (_tree, "leaves", "if not state[n + 1]", "if False"),
    "leaf cell not checked": (_cubes, "check_tree", "used & (of >= 0) & ~inside", "used & (of >= 0) & False"),
    "core not held": (_cubes, "check_tree", "corner + side >= upper", "corner + side >= lower"),
    "open leaves free": (_cubes, "check_tree", "used & (of < 0)", "used & (of < -1)"),
    "NaN accepted": (_question.Question, "_size", "np.isnan(size), np.inf", "np.isnan(size), 0.0"),
    "collar of cells ignored": (_lattices, "check_lattice", "cells.radii - cells.collars", "cells.radii"),
    "missing points ignored": (_lattices, "check_lattice", "np.flatnonzero(~served)", "np.arange(0)"),
    "distance from the lattice ignored": (_lattices, "check_lattice", "- off(known, cells.offsets)", ""),
}  # fmt: skip


def soundness():
    """Everything that a mutant may break; raises or asserts."""
    test_a_list_is_read_if_and_only_if_it_tiles()
    for name in BAD:
        test_what_is_no_witness_is_refused(name)
    test_what_is_not_known_proves_nothing()
    test_leaves_without_a_cell_are_charged()
    test_lattices(3)


@pytest.mark.parametrize("name", MUTANTS)
def test_mutants(name, monkeypatch):
    owner, function, old, new = MUTANTS[name]
    monkeypatch.setattr(_tree, "_walk", _tree._walk.py_func)  # compiled code would not see what is replaced
    source = inspect.cleandoc("\n" + inspect.getsource(getattr(owner, function)))
    source = source[source.index("def ") :]
    assert source.count(old) == 1
    module = owner if inspect.ismodule(owner) else inspect.getmodule(owner)
    exec(compile(source.replace(old, new), name, "exec"), vars(module), made := {})
    monkeypatch.setattr(owner, function, made[function])
    for user in (_cubes, __import__("sys").modules[__name__]):
        for known in ("leaves", "check_tree", "check_lattice"):
            if known == function and hasattr(user, known):
                monkeypatch.setattr(user, known, made[function])
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        soundness()


@pytest.mark.parametrize(
    ("n", "eps", "cover", "witness"),
    [
        (4, 0.4, "adaptive", "tree"),
        (5, 0.4, "apart", "lattice"),
        (6, 0.45, "adaptive", "tree"),
        (8, 0.45, "apart", "lattice"),
        (10, 0.47, "auto", "one quantity"),
    ],
)
def test_gaussians_are_proved_everywhere(n, eps, cover, witness):
    f = targets.gaussian(dim=n)
    built = constant_width.build(f, eps, cover=cover, verify=False)
    report = certify(built)
    assert report.claim == "certified" and report.proves(eps), report
    assert any(witness in text for text in report.rests_on)
    x = np.concatenate([WholeSpace(n).sample(20_000, 1, scale=2.0), Ball(np.zeros(n), 1.2).sample(20_000, 2)])
    assert np.abs(built.network.evaluate(x) - f(x)).max() <= report.upper
    at = report.argmax
    assert abs(float(np.abs(built.network.evaluate(at) - f(at)).max()) - report.lower) < 1e-9
    assert certify(built.network, f, f.domain, eps=eps).proves(eps)


@pytest.mark.parametrize("name", ["bump", "affine_bump", "cone", "ridge", "rings", "saddle"])
@pytest.mark.parametrize("n", [4, 5])
def test_the_gallery_in_four_and_five_dimensions(name, n):
    f = targets.get(name, dim=n)
    eps = {"cone": 0.5, "rings": 0.9, "saddle": 0.1}.get(name, 0.45)
    built = narrow.build(f, eps, domain=Box.cube(n, 1.0), verify=False)
    report = certify(built)
    assert report.claim == "certified" and report.proves(eps), report
    x = Box.cube(n, 1.0).sample(20_000)
    assert np.abs(built.network.evaluate(x) - f(x)).max() <= report.upper


@pytest.mark.parametrize("domain", [Box.cube(5, 1.0), Ball(np.zeros(5), 1.0)])
def test_formulas(domain):
    f = targets.from_expression("cos(x1*x2+x3)/(1+x4^2)+0.2*x5", domain=domain)
    built = narrow.build(f, 0.6, verify=False)
    report = certify(built.network, f, domain, eps=0.6)
    assert report.claim == "certified" and report.proves(0.6), report


def test_a_missing_cell_is_found_out():
    n, f = 5, targets.gaussian(dim=5)
    cover = covers.make("auto", f, 0.4, WholeSpace(n), everywhere=True, affine=f.affine)
    middle = int(np.linalg.norm(cover.centers, axis=1).argmin())
    network = constant_width.assemble(cover.subset(np.arange(len(cover)) != middle)).network
    report = certify(network, f, WholeSpace(n), eps=0.4, max_seconds=0.5)
    assert not report.proves(0.4) and report.lower <= report.upper
    wrong = replace(cover, values=np.where(np.arange(len(cover))[:, None] == middle, 0.0, cover.values))
    report = certify(constant_width.assemble(wrong).network, f, WholeSpace(n), eps=0.4, max_seconds=0.5)
    assert report.refutes(0.4) and report.upper > 0.4


def test_cells_by_hand_without_a_grid():
    """One ball in eight dimensions is enough for the gaussian, to 0.45."""
    f = targets.gaussian(dim=8)
    cover = Cover(np.zeros((1, 8)), [[0.55]], f.affine, radii=[1.2])
    report = certify(constant_width.assemble(cover).network, f, Ball(np.zeros(8), 1.1), eps=0.46, max_seconds=5)
    assert report.proves(0.46), report


def test_a_claimed_tail_does_not_enter_a_proof():
    f = targets.gaussian(dim=5)
    claimed = replace(f, lipschitz_source="claimed")
    built = constant_width.build(f, 0.45, verify=False)
    report = certify(built.network, claimed, Ball(np.zeros(5), 0.9), eps=0.45)
    assert report.proves(0.45) and report.claim == "certified" and not any("tail" in text for text in report.rests_on)


def test_a_domain_far_from_where_anything_happens():
    f = targets.gaussian(dim=5)
    built = constant_width.build(f, 0.45, verify=False)
    report = certify(built.network, f, Box.cube(5, 0.5, 9.0), eps=0.01)
    assert report.proves(0.01) and report.lower < 1e-100
