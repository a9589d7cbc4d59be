"""What needs more memory than there is gets refused before it is taken."""

import resource

import pytest

from netspec import room
from netspec.errors import MachineError
from netspec.room import check_room, in_words, room_bytes

GIB = 2**30
MEMINFO = "MemTotal: 99999999 kB\nMemAvailable: 8388608 kB\nSwapFree: 1048576 kB\n"


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with 8 GiB to be had and 1 GiB of swap, without control groups."""
    proc = tmp_path / "proc"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text(MEMINFO)
    (proc / "self" / "statm").write_text("1000 1 1 1 0 1 0\n")
    monkeypatch.setattr(room, "PROC", proc)
    monkeypatch.setattr(room, "CGROUPS", tmp_path / "groups")
    limits = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    monkeypatch.setattr(resource, "getrlimit", lambda kind: limits)
    return tmp_path


def group(machine, line, folder, names):
    (machine / "proc" / "self" / "cgroup").write_text(line)
    place = machine / "groups" / folder
    place.mkdir(parents=True)
    for name, text in names.items():
        (place / name).write_text(text)


def test_a_machine_gives_what_is_available_and_its_swap(machine):
    assert room_bytes() == 9 * GIB


@pytest.mark.parametrize(
    ("limit", "left"), [(str(6 * GIB), 4.5 * GIB), ("max", 9 * GIB)]
)
def test_a_control_group_gives_its_limit_less_what_is_used(machine, limit, left):
    names = {
        "memory.max": limit,
        "memory.current": str(2 * GIB),
        "memory.stat": f"anon 5\ninactive_file {GIB // 2}\n",
    }
    group(machine, "0::/jobs/one\n", "jobs/one", names)
    assert room_bytes() == left


def test_a_control_group_of_the_first_version_counts_as_well(machine):
    names = {
        "memory.limit_in_bytes": str(3 * GIB),
        "memory.usage_in_bytes": str(2 * GIB),
        "memory.stat": "total_inactive_file 0\n",
    }
    group(machine, "4:cpu:/a\n3:memory:/inside\n", "memory", names)
    assert room_bytes() == GIB


def test_a_limit_of_address_space_leaves_what_is_not_mapped_yet(machine, monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (GIB, GIB))
    assert room_bytes() == GIB - 1000 * resource.getpagesize()


def test_what_does_not_fit_is_refused_with_both_sizes(machine):
    check_room(9 * GIB, "layer 'x'")
    with pytest.raises(
        MachineError, match=r"^layer 'x' needs 9.5 GiB of memory, 9.0 GiB can be had he"
    ):
        check_room(9 * GIB + GIB // 2, "layer 'x'")


def test_a_system_that_tells_nothing_refuses_nothing(machine, monkeypatch):
    (machine / "proc" / "meminfo").write_text("odd\n")
    monkeypatch.delattr(room.os, "sysconf")
    assert room_bytes() is None
    check_room(2**70, "anything")


def test_sizes_in_words():
    sizes = (999, 3000, 2**20, 12_500 * 2**20, 2**64)
    assert [in_words(size) for size in sizes] == [
        "999 bytes",
        "2.9 KiB",
        "1.0 MiB",
        "12.2 GiB",
        "16.0 EiB",
    ]
