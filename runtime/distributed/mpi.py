"""Communication by MPI: mpi4py, and the library that it finds."""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
import weakref
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np

from netspec.errors import MachineError, SpecWarning
from netspec.notebooks import warn_user
from runtime.distributed.communicator import finish
from runtime.distributed.faults import end_job, say
from runtime.distributed.host_memory import HostMemory
from runtime.distributed.joining import watched
from runtime.distributed.leaving import Leaving
from runtime.distributed.meeting import Board, Window, all_memories
from runtime.distributed.ranks import MPICH, OPEN_MPI, Launched

ASK_S = 0.1  # between looks at whether somebody left who is waited for
SLOW_S = 60.0  # that others may keep this rank waiting before it says so, once
WAIT_S = 0.4  # that each next rank waits with telling it

# How libraries call themselves that do not know what Open MPI's mpiexec tells them.
STRANGERS = ("MPICH", "MVAPICH", "Intel")

# Kinds of exchanges, each of which has a communicator and is counted.
VALUES, SUMS = 0, 1

T = TypeVar("T")


class MpiCommunicator:
    """Ranks of MPI. Gradients have a communicator of their own, for another thread.

    Those of one machine add up in memory that they have in common, where they can; the
    bits are the same.
    """

    def __init__(self, comm: Any, found: Launched) -> None:
        self._comm, self._sums = comm.Dup(), comm.Dup()
        self._started = [0, 0]
        self.leaving = Leaving(comm)
        self.rank, self.size = comm.Get_rank(), comm.Get_size()
        self.local_rank = found.local_rank
        self.local_size = found.local_size or self.size
        self._has_left = False
        self._quiet = self.rank > 1  # two are enough: one of them waits in any case
        self._board: Board | None = None
        self._windows: weakref.WeakSet[Window] = weakref.WeakSet()
        self._meet_in_memory()

    @classmethod
    def of_world(cls, found: Launched) -> MpiCommunicator:
        """Return all ranks of the job.

        Raises `MachineError` if MPI cannot be used.
        """
        try:
            MPI = _library()
        except (ImportError, RuntimeError) as error:
            raise MachineError(
                f"{found.size} processes were started together, but MPI cannot be "
                f"used: {error}; install mpi4py and an MPI library, as with "
                f"pip install 'netspec[mpi]'"
            ) from error
        library = MPI.Get_library_version().partition("\n")[0].partition(",")[0]
        library = " ".join(library.strip("\0").split())
        if not MPI.Is_initialized():
            # The library of the one may end the process under the other's launcher.
            if not _fit(found.launcher, library):
                raise _strangers(found, library, "cannot be used with it")
            with watched(found):
                MPI.Init_thread(MPI.THREAD_MULTIPLE)
        size = MPI.COMM_WORLD.Get_size()
        if size != found.size:
            raise _strangers(found, library, f"sees {size} of them")
        return cls(MPI.COMM_WORLD, found)

    def start_sum(self, values: np.ndarray) -> Exchange:
        """Start to add up an array over all ranks, in place."""
        from mpi4py import MPI

        for window in self._windows:
            at = window.offset(values)
            if at is not None:
                return self._start_in(window, values, at)
        return self._start(SUMS, self._sums.Iallreduce(MPI.IN_PLACE, values))

    def sum(self, values: np.ndarray) -> None:
        """Add up a small array over all ranks, in place."""
        from mpi4py import MPI

        if self._board is not None and self._board.takes(values):
            self._wait(self._board.start(values))
        else:
            self._wait(self._comm.Iallreduce(MPI.IN_PLACE, values))

    def memory(self, nbytes: int) -> HostMemory | None:
        """Return memory for arrays that are added up in place, where there is such."""
        return None if self._board is None else HostMemory.make(nbytes)

    def share(self, memory: HostMemory | None) -> Window | None:
        """Let ranks add up arrays in this memory where they lie, if all can.

        All ranks call it. It holds as long as what it returns is kept; rank 0 gives a
        `SpecWarning` where there is nothing.
        """
        if self._board is None:
            return None
        memories, why = all_memories(self, memory)
        if memories:
            window = Window(memories, self.rank)
            self._windows.add(window)
            return window
        if self.rank == 0:
            warn_user(
                f"ranks of this machine cannot add up gradients where they lie, which "
                f"takes a fourth of the time: {why}",
                SpecWarning,
            )
        return None

    def broadcast(self, value: T) -> T:
        """Return the value that rank 0 has, as JSON."""
        data = _packed(value) if self.rank == 0 else np.empty(0, np.uint8)
        size = np.array([data.size], np.int64)
        self._wait(self._comm.Ibcast(size))
        if self.rank:
            data = np.empty(int(size[0]), np.uint8)
        self._wait(self._comm.Ibcast(data))
        sent: T = json.loads(data.tobytes())
        return sent

    def gather(self, value: T) -> list[T]:
        """Return the values of all ranks, on each, as JSON."""
        packed = _packed(value)
        sizes = np.zeros(self.size, np.int64)
        self._wait(self._comm.Iallgather(np.array([packed.size], np.int64), sizes))
        data = np.empty(int(sizes.sum()), np.uint8)
        starts = np.cumsum(sizes) - sizes
        self._wait(self._comm.Iallgatherv(packed, [data, (sizes, starts)]))
        ends = starts + sizes
        pairs = zip(starts, ends, strict=True)
        return [json.loads(data[start:end].tobytes()) for start, end in pairs]

    def barrier(self) -> None:
        """Wait until all ranks are here."""
        self._wait(self._comm.Ibarrier())

    def abort(self, status: int) -> None:
        """End the processes of all ranks at once."""
        from mpi4py import MPI

        MPI.COMM_WORLD.Abort(status)

    def leave(self, said: Sequence[str] = ()) -> None:
        """Say that this rank ends, and wait until all have said so, once.

        said: for rank 0, which has it in `leaving.left` then.
        """
        if not self._has_left:
            self._has_left = True
            self.leaving.leave(self._started, said)

    def tell_of_wait(self) -> None:
        """Say once that other ranks keep this one waiting."""
        if not self._quiet:
            self._quiet = True
            say(
                self.rank,
                f"note: waits for other ranks since {SLOW_S:g} s. They are slow, or "
                f"stopped, or called something else: step, solve, test, snapshot and "
                f"restore are for all ranks together",
            )

    def count(self, kind: int) -> int:
        """Count one more exchange in which this rank takes part; return its number."""
        self._started[kind] += 1
        return self._started[kind]

    def _meet_in_memory(self) -> None:
        """Find out whether all ranks can read each other's memory."""
        memories, _ = all_memories(self, Board.memory())
        if memories:
            self._board = Board(memories, self.rank)

    def _start(self, kind: int, request: Any) -> Exchange:
        return Exchange(self, request, kind, self.count(kind))

    def _start_in(self, window: Window, values: np.ndarray, at: int) -> Exchange:
        # Others wait twice for this rank: until it is here, and for its share.
        number = self.count(SUMS)
        request = window.start(values, at, lambda: self.count(SUMS))
        return Exchange(self, request, SUMS, number)

    def _wait(self, request: Any) -> None:
        """Wait for a message without spinning, and with an ear for signals."""
        finish(self._start(VALUES, request))


def _library() -> Any:
    """Return mpi4py's module, without starting MPI if nobody has."""
    import mpi4py

    if "mpi4py.MPI" not in sys.modules:
        mpi4py.rc.initialize, mpi4py.rc.finalize = False, True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # what `_strangers` says better
        from mpi4py import MPI
    return MPI


def _fit(launcher: str, library: str) -> bool:
    """Say whether a library may know what a launcher tells it."""
    if launcher == OPEN_MPI:
        return not library.startswith(STRANGERS)
    if launcher == MPICH and library.startswith(OPEN_MPI):
        return "PMIX_RANK" in os.environ  # Slurm can speak both languages
    return True


def _strangers(found: Launched, library: str, what: str) -> MachineError:
    return MachineError(
        f"{found.size} processes were started together, by {found.launcher}'s mpiexec "
        f"or a relative, but the MPI library that mpi4py uses ({library}) {what}: use "
        f"the mpiexec of the same environment, such as {sys.prefix}/bin/mpiexec, or "
        f"install mpi4py for the other MPI"
    )


def _packed(value: Any) -> np.ndarray:
    return np.frombuffer(bytearray(json.dumps(value), "ascii"), np.uint8)


class Exchange:
    """A message between all ranks on its way, the `number`th of its kind."""

    def __init__(
        self, communicator: MpiCommunicator, request: Any, kind: int, number: int
    ) -> None:
        self._communicator, self._request = communicator, request
        self._kind, self._number = kind, number
        self._ask = time.monotonic() + ASK_S
        self._slow = self._ask + SLOW_S

    def done(self) -> bool:
        """Move it on, and say whether it is complete; never waits.

        Where a rank has left that would have to take part, the job ends here.
        """
        if self._request.Test():
            return True
        now = time.monotonic()
        if now > self._ask:
            self._ask = now + ASK_S
            if now > self._slow:
                self._communicator.tell_of_wait()
            leaving = self._communicator.leaving
            steps = getattr(self._request, "steps", 0)
            left = leaving.missing(self._kind, self._number + steps)
            if left is not None:
                # One message is enough: that of the first rank that waits.
                time.sleep(min(WAIT_S * self._communicator.rank, 5 * WAIT_S))
                end_job(
                    self._communicator,
                    f"error: rank {left.rank} ended ahead of the others, which wait "
                    f"for it: its program came to an end, or called sys.exit",
                )
        return False
