"""Sums over GPUs: what is asked of NCCL, and in which order, by a stand-in for it."""

from __future__ import annotations

import re
from types import SimpleNamespace

import numpy as np
import pytest

from netspec.errors import MachineError, SpecError, SpecWarning
from runtime.backends import by_name
from runtime.backends.cuda import found
from runtime.backends.cuda.machine.nccl import Nccl
from runtime.distributed.nccl import OnDevices, ThroughHost, on_devices
from runtime.training.ranks.devices import backend_of_rank
from tests.ranks import together


class StandIn:
    """CuPy as far as `Nccl` needs it, with NCCL's names. `log` has all calls."""

    def __init__(self, *, available: bool = True, refuses: bool = False) -> None:
        self.log: list[tuple] = []
        log = self.log

        class NcclError(RuntimeError):
            pass

        class Communicator:
            def __init__(self, size, identity, rank) -> None:
                if refuses:
                    raise NcclError("NCCL_ERROR_INVALID_USAGE: invalid usage")
                assert isinstance(identity, tuple)
                assert len(identity) == 128
                log.append(("join", size, rank, sum(identity)))

            def allReduce(self, *given) -> None:
                log.append(("sum", *given))

        class Event:
            def __init__(self, *, disable_timing) -> None:
                assert disable_timing
                self.done = False
                log.append(("event", self))

            def record(self, stream) -> None:
                log.append(("record", self, stream.ptr))

        class Stream:
            def __init__(self, *, non_blocking) -> None:
                assert non_blocking
                self.ptr = 77

            def wait_event(self, event) -> None:
                log.append(("wait", self.ptr, event))

        nccl = SimpleNamespace(
            available=available,
            NcclError=NcclError,
            NcclCommunicator=Communicator,
            get_unique_id=lambda: tuple(range(-64, 64)),
            NCCL_FLOAT32=7,
            NCCL_FLOAT64=8,
            NCCL_SUM=0,
        )
        self.cuda = SimpleNamespace(nccl=nccl, Event=Event, Stream=Stream)


COMPUTE = SimpleNamespace(ptr=5)


def device(place="0000:0A:00.0", log=None):
    return SimpleNamespace(pci_bus_id=place, use=lambda: None)


def array(address, size, dtype="float32"):
    data = SimpleNamespace(ptr=address)
    return SimpleNamespace(data=data, size=size, dtype=np.dtype(dtype))


def test_a_sum_runs_beside_the_work_that_comes_after_it():
    cupy = StandIn()
    nccl = Nccl(cupy, device(), COMPUTE)
    assert nccl.missing == ""
    nccl.join(nccl.new_group(), 1, 4)
    request = nccl.start(array(4096, 1000))
    kinds = [entry[0] for entry in cupy.log]
    assert kinds == ["join", "event", "event", "record", "wait", "sum", "record"]
    joined, (_, before), (_, behind), *rest = cupy.log
    assert joined == ("join", 4, 1, -64)
    assert rest == [
        ("record", before, 5),  # behind what computes the gradients
        ("wait", 77, before),
        ("sum", 4096, 4096, 1000, 7, 0, 77),  # in place, on the other stream
        ("record", behind, 77),
    ]
    assert not request.done()
    behind.done = True
    assert request.done()


def test_the_marks_of_an_array_are_made_once():
    cupy = StandIn()
    nccl = Nccl(cupy, device(), COMPUTE)
    nccl.join(nccl.new_group(), 0, 2)
    for _ in range(3):
        nccl.start(array(64, 10, "float64"))
        nccl.start(array(128, 10))
    assert sum(entry[0] == "event" for entry in cupy.log) == 4
    assert [entry[4] for entry in cupy.log if entry[0] == "sum"] == [8, 7] * 3


def test_what_nccl_says_is_told():
    nccl = Nccl(StandIn(refuses=True), device(), COMPUTE)
    said = r"rank 3 on GPU 0000:0A:00.0 cannot meet .*: NCCL_ERROR_INVALID_USAGE"
    with pytest.raises(MachineError, match=said):
        nccl.join(nccl.new_group(), 3, 4)


@pytest.mark.parametrize("way", ["no module", "not available"])
def test_a_missing_nccl_is_no_error(way):
    cupy = StandIn(available=False)
    if way == "no module":
        del cupy.cuda.nccl
    assert "CuPy finds no NCCL" in Nccl(cupy, device(), COMPUTE).missing


class Group:
    """What `on_devices` needs of a device."""

    def __init__(self, place, missing="") -> None:
        self.place, self.missing = place, missing
        self.joined = None

    def new_group(self):
        return [1, 2, 3]

    def join(self, group, rank, size) -> None:
        self.joined = group, rank, size

    def start(self, array):
        return ("started", array)


def meet(*groups):
    """Return what each rank gets, what it joined, and what rank 0 was told."""

    def work(rank):
        return on_devices(rank, None, groups[rank.rank])

    found = together(len(groups), work)
    return found, [group and group.joined for group in groups]


def test_ranks_with_a_gpu_each_meet_by_nccl():
    found, joined = meet(Group("a"), Group("b"), Group("c"))
    assert [type(one) for one in found] == [OnDevices] * 3
    assert joined == [([1, 2, 3], rank, 3) for rank in range(3)]
    mine = SimpleNamespace(shape=(3,))
    assert found[0].start_sum(mine) == ("started", mine)


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        ((Group("a"), Group("b", "no NCCL")), "on rank 1 no NCCL"),
        ((Group("a"), None), "on rank 1 the device has no way to other processes"),
        ((Group("a"), Group("b"), Group("a")), "ranks 0 and 2 share GPU .* a, and"),
    ],
)
def test_without_nccl_sums_go_through_the_host_with_a_notice(groups, said):
    with pytest.warns(SpecWarning, match=f"memory of the host, .*{said}") as told:
        found, joined = meet(*groups)
    assert len(told) == 1  # by rank 0
    assert [type(one) for one in found] == [ThroughHost] * len(groups)
    assert not any(joined)


def test_a_rank_has_the_gpu_of_its_number(monkeypatch):
    for gpus, names in ((4, "012"), (2, "010"), (1, "000"), (0, "000")):
        monkeypatch.setattr(found, "count_gpus", lambda gpus=gpus: gpus)
        chosen = together(3, lambda rank: backend_of_rank("cupy", rank))
        assert chosen == [f"cupy:{number}" for number in names]
    assert together(2, lambda rank: backend_of_rank("cupy:3", rank)) == ["cupy:3"] * 2
    assert together(2, lambda rank: backend_of_rank("numpy", rank)) == ["numpy"] * 2
    assert backend_of_rank("cupy", None) == "cupy"
    assert by_name.name_for_rank("portable", 5) == "portable"


def test_ranks_on_other_kinds_of_devices_are_refused():
    said = re.escape("rank 1 has backend 'numpy', and rank 0 'cupy'; start all")
    with pytest.raises(SpecError, match=said):
        together(2, lambda rank: backend_of_rank(["cupy", "numpy"][rank.rank], rank))
