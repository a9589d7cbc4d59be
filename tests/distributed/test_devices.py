"""Ranks whose arrays are those of a device, as far as that needs no GPU."""

from __future__ import annotations

import numpy as np
import pytest

from tests.distributed.launching import launch, told
from tests.distributed.test_running_statistics import NET

PROGRAM = """
import warnings
from tests.runtime.execution import device_stand_in
device_stand_in.install()
folder, net = sys.argv[1:]
world = runtime.distributed.world()

class Group:
    \"\"\"Stands for NCCL: the sums are MPI's, on the memory of the device.\"\"\"
    missing, place, joined, started = "", f"GPU {world.rank}", None, []
    def new_group(self):
        return [5] * 128
    def join(self, group, rank, size):
        self.joined = [sum(group), rank, size]
    def start(self, array):
        self.started.append(array.size)
        return world.start_sum(array.inner)

def trained(backend, group=None, sync=False):
    device_stand_in.DeviceBackend.group = group
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        solver = runtime.get_solver(
            f"net_param {{ {net} }}", communicator=world, base_lr=0.02, max_iter=3,
            lr_policy="fixed", display=0, random_seed=5, snapshot_prefix=f"{folder}/s",
            backend=backend, sync_batch_norm=sync,
        )
        solver.solve()
    said = [str(one.message) for one in caught]
    said = [one for one in said if "memory of the host" in one]
    values = [b.data.tolist() for blobs in solver.net.params.values() for b in blobs]
    return {"values": values, "said": said}

group = Group()
tell(world, {
    "host": trained("portable"),
    "through host": trained("stand-in"),
    "on devices": trained("stand-in", group),
    "host synced": trained("portable", None, True),
    "synced": trained("stand-in", group, True),
    "joined": group.joined, "started": group.started,
})
"""


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    net = NET.replace("dim: 7", "dim: 4").replace("num_output: 7", "num_output: 4")
    return told(launch(2, PROGRAM, folder, net))


def flat(found) -> np.ndarray:
    values = [np.asarray(one, "float32").reshape(-1) for one in found["values"]]
    return np.concatenate(values)


def test_gradients_on_a_device_are_added_up_as_on_the_host(ranks):
    first = ranks[0]
    for one in ranks:
        np.testing.assert_array_equal(
            flat(one["through host"]), flat(first["on devices"])
        )
        np.testing.assert_array_equal(
            flat(one["on devices"]), flat(first["on devices"])
        )
        for way, other in (("on devices", "host"), ("synced", "host synced")):
            close = {"rtol": 1e-5, "atol": 1e-6}
            np.testing.assert_allclose(flat(one[way]), flat(one[other]), **close)
        apart = np.abs(flat(one["synced"]) - flat(one["host"]))
        assert apart.max() > 1e-3


def test_the_way_through_the_host_is_told_once(ranks):
    one, other = ranks
    assert len(one["through host"]["said"]) == 1
    assert not other["through host"]["said"]
    assert not one["on devices"]["said"]


def test_one_sum_an_iteration_is_asked_of_the_device(ranks):
    for rank, one in enumerate(ranks):
        assert one["joined"] == [640, rank, 2]
        assert len(one["started"]) == 6  # of two runs with three iterations
        assert len(set(one["started"])) == 1
