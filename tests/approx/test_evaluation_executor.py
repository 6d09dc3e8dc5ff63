"""sup_error spread over workers, and by way of the cover: the same numbers as alone."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

import constructions
from approx import targets
from approx.covers import Cover
from approx.domains import Box
from approx.evaluation import _sup_error, sup_error


@pytest.fixture(scope="module")
def built():
    return constructions.build(targets.gaussian(dim=2), 0.2, verify=False)


def facts(report):
    return {name: value for name, value in report.to_dict().items() if name != "seconds"}


def test_threads_change_nothing(built):
    alone = sup_error(built, samples=150_000)
    with ThreadPoolExecutor(3) as pool:
        assert facts(sup_error(built, samples=150_000, executor=pool)) == facts(alone)
    on_a_box = [sup_error(built, domain=Box([-2, -2], [2, 1]), samples=140_000, executor=None)]
    with ThreadPoolExecutor(2) as pool:
        on_a_box.append(sup_error(built, domain=Box([-2, -2], [2, 1]), samples=140_000, executor=pool))
    assert facts(on_a_box[0]) == facts(on_a_box[1]) and on_a_box[0].rms is not None


def test_a_pool_of_processes_changes_nothing(built):
    alone = sup_error(built, samples=150_000)
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        assert facts(sup_error(built, samples=150_000, executor=pool)) == facts(alone)
        unnamed = replace(built.target, fn=lambda x: np.exp(-(x**2).sum(axis=1)))
        with pytest.raises(TypeError, match=r"sup_error: received an executor of processes .* does not pickle"):
            sup_error(built, unnamed, samples=1000, executor=pool)


def test_a_dask_cluster_changes_nothing(built):
    distributed = pytest.importorskip("distributed")
    alone = sup_error(built, samples=150_000)
    options = {"n_workers": 1, "threads_per_worker": 2, "dashboard_address": None}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
        assert facts(sup_error(built, samples=150_000, executor=client.get_executor())) == facts(alone)


def test_what_is_no_executor_is_refused(built):
    with pytest.raises(TypeError, match=r"executor = 4; required an executor with submit\(\)"):
        sup_error(built, samples=1000, executor=4)


def test_the_cover_finds_the_worst_points_of_the_network(built):
    by_cover, by_network = (sup_error(built, samples=30_000, engine=engine) for engine in ("cover", "compiled"))
    assert by_cover.lower == pytest.approx(by_network.lower, rel=1e-6)
    # Whatever picks the points, the value is the network's own.
    x = by_cover.argmax[None]
    assert (by_cover.network_value == built.network.evaluate(x)[0]).all()
    assert by_cover.lower == pytest.approx(abs(built.network.evaluate(x) - built.target(x))[0, 0], abs=1e-15)
    assert "picked by the cover" in by_cover.rests_on[0]


def test_the_cover_picks_by_itself_where_the_network_is_slow(built, monkeypatch):
    dense = sup_error(built, samples=1000)
    monkeypatch.setattr(_sup_error, "_DENSE_WORK", 1000 * built.network.stored_numbers - 1)
    picked = sup_error(built, samples=1000)
    assert "picked" in picked.rests_on[0] and "picked" not in dense.rests_on[0]
    assert picked.lower == pytest.approx(dense.lower, rel=1e-6)
    assert "picked" not in sup_error(built.network, built.target, samples=1000).rests_on[0]  # no cover, none to pick


def test_a_cover_that_is_not_the_networks_is_not_trusted(built):
    cover = built.cover
    values = cover.values.copy()
    values[len(values) // 2 :] += 1e-3
    wrong = Cover(cover.centers, values, cover.affine, radii=cover.radii)
    with pytest.raises(ValueError, match="a network that does what its cover says"):
        sup_error(built, cover=wrong, samples=1000, engine="cover")
    with pytest.raises(ValueError, match="no RadialNetwork with a cover"):
        sup_error(built.network, built.target, samples=1000, engine="cover")
