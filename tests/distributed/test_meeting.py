"""Ranks of one machine add up arrays in memory that they have in common."""

from __future__ import annotations

import os
import re
import sys

import numpy as np
import pytest

from netspec.errors import MachineError
from runtime.distributed import host_memory
from runtime.distributed.host_memory import HostMemory
from runtime.distributed.meeting import BLOCK, SLOT_BYTES, Board, Window
from tests.distributed.in_order import in_ranks_order
from tests.distributed.launching import launch

pytestmark = pytest.mark.skipif(
    not hasattr(os, "memfd_create"), reason="the system has no such memory"
)


def memories(ranks: int, nbytes: int) -> list[HostMemory]:
    made = [HostMemory.make(nbytes) for _ in range(ranks)]
    return [one for one in made if one is not None]


def opened(several: list[HostMemory]) -> list[HostMemory]:
    """The same memory as another process has it."""
    return [HostMemory.open(one.place) for one in several]


def finish(requests: list) -> None:
    """Look at the sums of all ranks in turns, the last rank first."""
    left = list(enumerate(requests))[::-1]
    for _ in range(10):
        left = [(rank, one) for rank, one in left if not one.Test()]
    assert not left


def parts_of(ranks: int, size: int, dtype: str, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng([ranks, size, seed])
    return [rng.normal(size=size).astype(dtype) for _ in range(ranks)]


def test_what_one_writes_the_other_reads():
    (mine,) = memories(1, 1000)
    array = mine.array("float32", 250)
    assert not array.any()
    array[...] = np.arange(250)
    other = HostMemory.open(mine.place)
    assert (other.array("float32", 50, 800) == np.arange(200, 250)).all()
    mine.close()
    mine.close()
    with pytest.raises(FileNotFoundError):
        HostMemory.open(mine.place)
    del mine, array
    assert other.array("float32", 250)[7] == 7


@pytest.mark.parametrize("change", ["mark", "size", "file"])
def test_a_file_that_is_something_else_is_refused(change, tmp_path):
    (mine,) = memories(1, 1000)
    process, number, mark, nbytes = mine.place
    path = tmp_path / "file"
    path.write_bytes(bytes(1000))
    with path.open("rb") as file:
        places = {
            "mark": [process, number, "00" * 16, nbytes],
            "size": [process, number, mark, nbytes + (1 << 20)],
            "file": [process, file.fileno(), mark, nbytes],
        }
        with pytest.raises(FileNotFoundError, match="is something else"):
            HostMemory.open(places[change])


def test_memory_that_there_is_no_room_for_is_none(monkeypatch):
    monkeypatch.setattr(host_memory, "room_bytes", lambda: 1000)
    assert HostMemory.make(1001) is None
    assert HostMemory.make(1000) is not None
    monkeypatch.undo()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    assert HostMemory.make(1000) is None
    monkeypatch.delattr(os, "memfd_create")
    assert HostMemory.make(1000) is None


@pytest.mark.parametrize("ranks", [1, 2, 3, 4, 5, 7, 8])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sums_where_arrays_lie_are_those_of_mpich(ranks, dtype):
    width = np.dtype(dtype).itemsize
    size = 2 * BLOCK * ranks + 37
    mine = memories(ranks, size * width)
    windows = [Window(opened(mine), rank) for rank in range(ranks)]
    whole = [one.array(dtype, size) for one in mine]
    for seed, (start, stop) in enumerate([(0, size), (3, 4), (5, 90), (64, 113)] * 2):
        parts = parts_of(ranks, size, dtype, seed)
        for array, part in zip(whole, parts, strict=True):
            array[...] = part
        views = [
            window._memories[rank].array(dtype, size)[start:stop]
            for rank, window in enumerate(windows)
        ]
        requests = []
        for rank, window in enumerate(windows):
            at = window.offset(views[rank])
            assert at == start * width
            assert not any(one.Test() for one in requests)
            requests.append(window.start(views[rank], at, lambda: None))
        finish(requests)
        assert all(one.steps == 1 for one in requests)
        total = in_ranks_order([part.copy() for part in parts])
        for array, part in zip(whole, parts, strict=True):
            assert (array[start:stop] == total[start:stop]).all()
            assert (array[:start] == part[:start]).all()
            assert (array[stop:] == part[stop:]).all()


def test_what_is_not_finite_is_added_without_a_warning():
    mine = memories(2, 64)
    windows = [Window(mine, rank) for rank in range(2)]
    one, other = (memory.array("float32", 4) for memory in mine)
    one[...] = np.inf, np.nan, 3e38, 1
    other[...] = -np.inf, 1, 3e38, 2
    requests = [
        window.start(array, 0, lambda: None)
        for window, array in zip(windows, (one, other), strict=True)
    ]
    finish(requests)
    expected = np.array([np.nan, np.nan, np.inf, 3], np.float32)
    for array in (one, other):
        np.testing.assert_array_equal(array, expected)


def test_only_arrays_of_the_memory_lie_in_it():
    mine = memories(2, 400)
    window = Window(mine, 0)
    array = mine[0].array("float32", 100)
    assert window.offset(array[10:20]) == 40
    assert window.offset(array[::2]) is None
    assert window.offset(array.view("uint8")) is None
    assert window.offset(np.zeros(100, np.float32)) is None
    assert window.offset(mine[1].array("float32", 100)) is None


def test_a_sum_that_was_left_cannot_be_repeated():
    (mine,) = memories(1, 64)
    window = Window([mine, *memories(1, 64)], 0)
    array = mine.array("float32", 4)
    assert not window.start(array, 0, lambda: None).Test()
    with pytest.raises(MachineError, match="amid the sums .* resume from a snapshot"):
        window.start(array, 0, lambda: None)


@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_small_arrays_are_added_up_on_the_board(ranks):
    mine = [Board.memory() for _ in range(ranks)]
    boards = [Board(opened(mine), rank) for rank in range(ranks)]
    for seed in range(5):
        for shape in [(3,), (2, 5), (), (0,)]:
            parts = parts_of(ranks, int(np.prod(shape)), "float64", seed)
            values = [part.copy().reshape(shape) for part in parts]
            assert all(Board.takes(one) for one in values)
            pairs = list(zip(boards, values, strict=True))
            finish([board.start(one) for board, one in pairs])
            total = in_ranks_order(parts).reshape(shape)
            assert all((one == total).all() for one in values)
    for whats in [[7] * ranks, [7] * (ranks - 1) + [8]]:
        values = [np.ones(2) for _ in boards]
        given = zip(boards, values, whats, strict=True)
        requests = [board.start(one, what) for board, one, what in given]
        finish(requests)
        assert all(one.whats == whats for one in requests)
        assert all((one == (ranks if whats[-1] == 7 else 1)).all() for one in values)
    assert not Board.takes(np.zeros(SLOT_BYTES + 1, np.uint8))
    assert not Board.takes(np.zeros(3, np.complex64))


def test_ranks_that_add_up_different_arrays_are_refused():
    pattern = "adds up other gradients than rank"
    program = f"""
from netspec.errors import MachineError
from runtime.distributed.communicator import finish
world = runtime.distributed.world()
memory = world.memory(4000)
window = world.share(memory)
values = memory.array(np.float32, 900 + world.rank)
try:
    finish(world.start_sum(values))
except MachineError as error:
    assert "{pattern}" in str(error)
    print("refused", flush=True)
"""
    ended = launch(2, program)
    assert ended.status == 0, ended.all
    assert ended.output.count("refused") == 2


# One rank has no such memory, or the others cannot see it.
LACKING = {
    "memfd": "del os.memfd_create",
    "room": "os.posix_fallocate = lambda *_: os.stat('/does/not/exist')",
    "process": "os.getpid = lambda: 1",
}


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nobody is told")
@pytest.mark.parametrize("how", LACKING)
def test_where_memory_lacks_ranks_send_messages_and_say_so(how):
    program = f"""
from runtime.distributed.communicator import finish
if os.environ["PMI_RANK"] == "1":
    {LACKING[how]}
world = runtime.distributed.world()
assert world.memory(1000) is None
assert world.share(None) is None
values = np.full(1000, world.rank + 1.0)
finish(world.start_sum(values))
world.sum(values)
assert (values == 6).all()
"""
    ended = launch(2, program)
    assert ended.status == 0, ended.all
    told = "SpecWarning: ranks of one machine cannot add up gradients where they lie"
    assert ended.errors.count(told) == 1, ended.all


def test_where_memory_lacks_later_ranks_send_messages():
    program = """
from runtime.distributed.communicator import finish
world = runtime.distributed.world()
memory = world.memory(1000)
assert world.share(memory if world.rank else None) is None
values = memory.array(np.float32, 250)
values[...] = world.rank + 1
finish(world.start_sum(values))
assert (values == 3).all()
"""
    ended = launch(2, program)
    assert ended.status == 0, ended.all
    assert len(re.findall("SpecWarning: .*: rank 0 got no memory", ended.errors)) == 1


@pytest.mark.parametrize("when", ["before", "between"])
def test_a_rank_that_leaves_amid_a_sum_ends_all(when):
    program = f"""
from runtime.distributed.communicator import finish
from runtime.distributed.meeting import Window
world = runtime.distributed.world()
memory = world.memory(4000)
window = world.share(memory)
values = memory.array(np.float32, 1000)
finish(world.start_sum(values))
if world.rank == 1:
    if "{when}" == "before":
        sys.exit(0)
    Window.add = lambda *_: sys.exit(0)
finish(world.start_sum(values))
"""
    ended = launch(3, program)
    assert ended.status == 1, ended.all
    assert re.match("rank 0: error: rank 1 ended ahead of the others", ended.errors)
