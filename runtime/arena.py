"""Arrays for plans: the arenas of a net and the flat buffers of its parameters."""

from __future__ import annotations

import mmap
import os
import platform
import sys
import weakref
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from netspec.graph import Parameter
from netspec.graph.memory import ALIGNMENT_BYTES, aligned
from netspec.ops.base import Shape, count
from runtime.arrays import Array
from runtime.distributed.communicator import Communicator
from runtime.distributed.host_memory import HostMemory
from runtime.primitives import Primitives

SPARE_FACTOR = 64  # as many times more address space as is used at first
SPARE_BYTES = 256 * 2**20
HUGE_BYTES = 4 * 2**20  # from which huge pages are asked for, as NumPy does
ARENAS = 2  # of a net: one, and one for whoever keeps arrays of the last shapes
_NORESERVE = 0x4000 if platform.machine() in ("x86_64", "aarch64") else None

Place: TypeAlias = tuple[str, int, Shape]  # name of a request, offset, shape


class Memory:
    """One allocation from which arrays are cut at planned offsets; `given` is it."""

    def __init__(self, backend: Primitives, given: Array) -> None:
        self._backend, self._bytes = backend, given
        self.capacity = int(given.size) - ALIGNMENT_BYTES
        address = getattr(given, "ctypes", None)
        self._base = -address.data % ALIGNMENT_BYTES if address is not None else 0

    @classmethod
    def of(cls, backend: Primitives, nbytes: int) -> Memory:
        """Return memory for `nbytes`, all zeros."""
        return Memory(backend, backend.zeros((nbytes + ALIGNMENT_BYTES,), "uint8"))

    def cut(self, offset: int, shape: Shape, dtype: str) -> Array:
        """Return the array of `shape` and `dtype` that starts at byte `offset`."""
        return self._backend.cut(self._bytes, self._base + offset, shape, dtype)


class Arena(Memory):
    """The memory of plans.

    Plans of several shapes share it, one at a time: `owner` is the one whose arrays it
    holds. `nbytes` is what the largest needs. Where memory can be promised without
    being taken, `capacity` is more, so that arrays need not move when a larger plan
    comes.
    """

    def __init__(self, backend: Primitives, nbytes: int) -> None:
        whole = nbytes + ALIGNMENT_BYTES
        spare = _reserved(whole) if backend.on_host else None
        given = backend.zeros((whole,), "uint8") if spare is None else spare
        super().__init__(backend, given)
        self.nbytes, self.growable = nbytes, spare is not None
        self.owner: Any = None
        self._loans: weakref.WeakKeyDictionary[Any, Place] = weakref.WeakKeyDictionary()

    def holds(self, nbytes: int) -> bool:
        """Say whether a plan of so many bytes has room."""
        return nbytes <= self.capacity

    def lend(self, loan: Any, place: Place) -> None:
        """Note that a caller has the array at a place as long as `loan` lives."""
        self._loans[loan] = place

    @property
    def lent(self) -> list[Place]:
        """The places of arrays that callers still have."""
        return list(self._loans.values()) if self._loans else []


class Arenas:
    """The arenas of a net: one, unless callers keep arrays while it changes shapes."""

    def __init__(self, backend: Primitives) -> None:
        self._backend = backend
        self._all: list[Arena] = []

    @property
    def nbytes(self) -> int:
        """Bytes of all of them."""
        return sum(arena.nbytes for arena in self._all)

    def __len__(self) -> int:
        return len(self._all)

    def __contains__(self, arena: Arena) -> bool:
        return any(one is arena for one in self._all)

    def room(self, there: int) -> int:
        """Return how large a plan may be if `there` bytes can be had beside them."""
        free = [arena for arena in self._all if not arena.lent]
        grown = [there + arena.nbytes for arena in free if arena.growable]
        return max([there, *grown, *(one.capacity for one in free if not one.growable)])

    def take(
        self,
        nbytes: int,
        check: Callable[[int], None],
        suits: Callable[[Arena], bool] = lambda _: True,
    ) -> Arena:
        """Return an arena with room for a plan of so many bytes.

        check: asked before a new one is made. suits: which of those there are may be
        taken beside; one of which callers have arrays is not.
        """
        free = [one for one in self._all if not one.lent and suits(one)]
        for arena in free:
            if arena.holds(nbytes):
                arena.nbytes = max(arena.nbytes, nbytes)
                return arena
        check(nbytes)
        made = Arena(self._backend, nbytes)
        # Those that are too small, or kept by callers, go; plans in them are made anew.
        rest = [one for one in self._all if one not in free]
        self._all = [*rest[len(rest) - ARENAS + 1 :], made]
        return made


@cache
def _promises() -> bool:
    """Say whether the system promises memory that it takes only when it is used."""
    if sys.platform != "linux" or _NORESERVE is None:
        return False
    with suppress(OSError):
        strict = Path("/proc/sys/vm/overcommit_memory").read_text().strip() == "2"
        return not strict
    return False


def _reserved(nbytes: int) -> np.ndarray | None:
    """Return memory of at least `nbytes` of which only what is used counts.

    None where there is no such thing or address space is limited (`ulimit -v`).
    """
    if not _promises():
        return None
    import resource

    if resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY:
        return None
    machine = os.sysconf("SC_PHYS_PAGES") * mmap.PAGESIZE
    size = max(nbytes, min(machine, SPARE_FACTOR * nbytes + SPARE_BYTES))
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | (_NORESERVE or 0)
    with suppress(OSError, ValueError, OverflowError):
        memory = mmap.mmap(-1, size, flags=flags)
        if nbytes >= HUGE_BYTES:
            with suppress(OSError, ValueError):
                memory.madvise(mmap.MADV_HUGEPAGE)
        return np.frombuffer(memory, np.uint8)
    return None


@dataclass(frozen=True)
class Flat:
    """All parameters of a net in one buffer, and their gradients in another.

    `slices[i]` is the place of parameter `i` of the graph in both; a parameter that
    belongs to another net has no slice here. The gaps between slices, left by the
    alignment, are zeros and stay zeros. From element `unlearned` on lie those whose
    gradient no layer computes, so that they can be cleared at once. `memory` is that of
    the gradients where other processes can reach them.
    """

    data: Array
    diff: Array
    slices: dict[int, slice]
    unlearned: int
    memory: HostMemory | None = None


def flat_buffers(
    backend: Primitives,
    parameters: Iterable[Parameter],
    dtype: str,
    ranks: Communicator | None = None,
) -> Flat:
    """Allocate zeroed buffers for `parameters`, in their order but unlearned ones last.

    Runs of learned ones are longer without the running values of BatchNorm between.

    ranks: processes that add up gradients, where these lie if the machine can do that.
    """
    step = ALIGNMENT_BYTES // np.dtype(dtype).itemsize
    slices = {}
    size = unlearned = 0
    for parameter in sorted(parameters, key=lambda one: not one.learn):
        elements = count(parameter.shape)
        slices[parameter.index] = slice(size, size + elements)
        size += -(-elements // step) * step
        unlearned = size if parameter.learn else unlearned
    data, memory = backend.zeros((size,), dtype), None
    if ranks is not None and unlearned and backend.on_host:
        memory = ranks.memory(size * np.dtype(dtype).itemsize)
    if memory is None:
        diff = backend.zeros((size,), dtype)
    else:
        diff = memory.array(dtype, size)
    return Flat(data, diff, slices, unlearned, memory)


def total_bytes(sizes: Sequence[int]) -> int:
    """Return the bytes of arrays laid one after the other, each aligned."""
    return sum(aligned(nbytes) for nbytes in sizes)
