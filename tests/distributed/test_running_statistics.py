"""Running sums of BatchNorm on ranks: what tests and snapshots get, and what stays."""

from __future__ import annotations

import numpy as np
import pytest

import runtime
from tests.distributed.launching import launch, told

NET = """
name: "small"
layer { name: "data" type: "DummyData" top: "data" top: "label"
  dummy_data_param { shape { dim: 6 dim: 3 dim: 5 dim: 4 } shape { dim: 6 dim: 7 }
    data_filler { type: "gaussian" mean: 2 std: 3 } data_filler { type: "gaussian" } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 5 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "norm" type: "BatchNorm" bottom: "conv" top: "conv"
  batch_norm_param { moving_average_fraction: 0.75 } }
layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip"
  inner_product_param { num_output: 7 weight_filler { type: "xavier" } } }
layer { name: "bn" type: "BN" bottom: "ip" top: "ip" bn_param { momentum: 0.75 } }
layer { name: "loss" type: "EuclideanLoss" bottom: "ip" bottom: "label" top: "loss" }
"""

PROGRAM = """
from runtime.training.ranks.running_statistics import remembered
folder, net = sys.argv[1:]
world = runtime.distributed.world()

def solver(name, **fields):
    path, given = f"{folder}/{name}", {"snapshot_after_train": False, **fields}
    return runtime.get_solver(
        f"net_param {{ {net} }}", communicator=world, base_lr=0.02, lr_policy="fixed",
        max_iter=6, display=0, random_seed=5, snapshot_prefix=path, **given
    )

def parameters(one, running):
    chosen = remembered(one.net.graph)
    arrays = one.net.parameters.arrays
    return [a.data.tolist() for i, a in enumerate(arrays) if (i in chosen) == running]

def values(one):
    return {"learned": parameters(one, False), "running": parameters(one, True)}

tested = {"test_iter": [2], "test_interval": 2, "test_initialization": False}
found = {}
one = solver("plain")
for done in range(6):
    found[f"plain at {done}"] = values(one)
    one.step(1)
found["plain"] = values(one)
one = solver("tested", **tested)
seen = []
one.on_test(lambda record: seen.append([record.iteration, values(one)]))
one.step(6)
found["at tests"] = seen
found["tested"] = values(one)
one = solver("solved", **tested)
one.solve()
found["solved"] = values(one)
one = solver("kept", snapshot=3, **tested)
one.step(3)
found["kept at 3"] = values(one)
one.step(3)
found["kept"] = values(one)
world.barrier()
one = solver("kept", snapshot=3, **tested)
one.restore(f"{folder}/kept_iter_3.solverstate")
found["resumed at 3"] = values(one)
one.step(3)
found["resumed"] = values(one)
one = solver("synced", sync_batch_norm=True)
one.step(2)
found["synced"] = values(one)
tell(world, found)
"""


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    return folder, told(launch(2, PROGRAM, folder, NET))


def flat(values) -> np.ndarray:
    return np.concatenate([np.asarray(one, np.float32) for one in values])


def mean(ranks, when) -> np.ndarray:
    """Return what the ranks' own sums should become."""
    total = sum(flat(one[when]["running"]).astype(np.float64) for one in ranks)
    return (total / len(ranks)).astype(np.float32)


def test_each_rank_has_sums_of_its_own_batches(ranks):
    one, other = ranks[1]
    assert one["plain"]["learned"] == other["plain"]["learned"]
    assert np.abs(flat(one["plain"]["running"]) - flat(other["plain"]["running"])).max()


def test_tests_and_snapshots_change_nothing_that_is_learned(ranks):
    for one in ranks[1]:
        for other in ("tested", "solved", "kept", "resumed"):
            assert one[other]["learned"] == one["plain"]["learned"]


def test_tests_see_the_mean_and_leave_each_rank_its_own_sums(ranks):
    one, other = ranks[1]
    assert one["tested"]["running"] == one["plain"]["running"]
    assert other["tested"]["running"] == other["plain"]["running"]
    for found in (one, other):
        assert [iteration for iteration, _ in found["at tests"]] == [2, 4]
        for iteration, seen in found["at tests"]:
            wanted = mean((one, other), f"plain at {iteration}")
            np.testing.assert_array_equal(flat(seen["running"]), wanted)


def test_a_snapshot_has_the_mean_and_all_ranks_go_on_from_it(ranks):
    folder, (one, other) = ranks
    wanted = mean((one, other), "plain at 3")
    net = runtime.Net(NET, weights=folder / "kept_iter_3.caffemodel")
    blobs = [*net.params["norm"], *list(net.params["bn"])[2:]]
    written = np.concatenate([blob.data.reshape(-1) for blob in blobs])
    np.testing.assert_array_equal(written, wanted)
    for found in (one, other):
        np.testing.assert_array_equal(flat(found["kept at 3"]["running"]), wanted)
    later = mean((one, other), "plain")
    close = {"rtol": 2e-6, "atol": 1e-6}
    np.testing.assert_allclose(mean((one, other), "kept"), later, **close)


def test_a_resumed_run_has_the_bits_of_one_that_went_on(ranks):
    for one in ranks[1]:
        assert one["resumed at 3"] == one["kept at 3"]
        assert one["resumed"] == one["kept"]


def test_after_solve_all_ranks_have_the_mean(ranks):
    one, other = ranks[1]
    assert one["solved"] == other["solved"]
    wanted = mean((one, other), "plain")
    np.testing.assert_array_equal(flat(one["solved"]["running"]), wanted)


def test_with_sync_batch_norm_all_ranks_have_the_same_sums(ranks):
    one, other = ranks[1]
    assert one["synced"] == other["synced"]
