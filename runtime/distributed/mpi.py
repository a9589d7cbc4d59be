"""Communication by MPI: mpi4py, and the library that it finds."""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
import weakref
import zlib
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np

from netspec.errors import MachineError, SpecError, SpecWarning
from netspec.notebooks import warn_user
from runtime.distributed.communicator import finish
from runtime.distributed.faults import end_job, say
from runtime.distributed.host_memory import HostMemory
from runtime.distributed.joining import watched
from runtime.distributed.leaving import Leaving, Waiting
from runtime.distributed.meeting import Board, Window, all_memories, hosts
from runtime.distributed.ranks import MPICH, OPEN_MPI, Launched
from runtime.distributed.warned import Warned

ASK_S = 0.1  # between looks at whether somebody left who is waited for
TELL_S = 0.5  # between telling others for what this rank waits
SLOW_S = 60.0  # that others may keep this rank waiting before it says so, once
WAIT_S = 0.4  # that each next rank waits with telling it

# How libraries call themselves that do not know what Open MPI's mpiexec tells them.
STRANGERS = ("MPICH", "MVAPICH", "Intel")

# Kinds of exchanges, each of which has a communicator and is counted.
VALUES, SUMS = 0, 1

_NOTHING = np.empty(0)

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
        self.doing = ""
        self.warned: Warned | None = None  # what keeps warnings of a script
        self.broken = ""  # why these ranks cannot go on
        self._left_behind: list[Exchange] = []  # whose memory must stay
        self._quiet = self.rank > 1  # two are enough: one of them waits in any case
        self._board: Board | None = None
        self._windows: weakref.WeakSet[Window] = weakref.WeakSet()
        self._members: list[int] = []  # of this machine, if they meet in memory
        self._across: Any = None  # the first ranks of several machines
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

        self.refuse_broken()
        for window in self._windows:
            at = window.offset(values)
            if at is not None:
                return self._start_in(window, values, at)
        return self._start(SUMS, self._sums.Iallreduce(MPI.IN_PLACE, values))

    def sum(self, values: np.ndarray) -> None:
        """Add up a small array over all ranks, in place."""
        from mpi4py import MPI

        how = "a sum", values.dtype, values.size
        if self._board is not None and self._board.takes(values):
            self._meet(*how, values=values)
        else:
            self._meet(*how)
            self._wait(self._comm.Iallreduce(MPI.IN_PLACE, values))

    def memory(self, nbytes: int) -> HostMemory | None:
        """Return memory for arrays that are added up in place, where there is such."""
        return HostMemory.make(nbytes) if self._members else None

    def share(self, memory: HostMemory | None) -> Window | None:
        """Let ranks add up arrays in this memory where they lie, if all can.

        All ranks call it. It holds as long as what it returns is kept; rank 0 gives a
        `SpecWarning` where there is nothing.
        """
        if not self._members:
            return None
        memories, why = all_memories(self, self._members, memory)
        if memories:
            place = self._members.index(self.rank)
            across = None if self._across is None else self._start_across
            window = Window(memories, place, across)
            self._windows.add(window)
            return window
        self._warn_of_messages(why)
        return None

    def broadcast(self, value: T) -> T:
        """Return the value that rank 0 has, as JSON."""
        self._meet("a value of rank 0")
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
        self._meet("values of all ranks")
        return self._gather(value)

    def _gather(self, value: T) -> list[T]:
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
        self._meet("a barrier")

    def abort(self, status: int) -> None:
        """End the processes of all ranks at once."""
        from mpi4py import MPI

        MPI.COMM_WORLD.Abort(status)
        # MPICH's may return before its launcher kills this process, which would go on,
        # say at its end that it left, and so have others abort with another status.
        os._exit(status)

    def leave(self, said: Sequence[str] = ()) -> bool:
        """Say that this rank ends, and wait until all have said so, the first time.

        said: for rank 0, which has it in `leaving.left` then.
        """
        if self._has_left:
            return False
        self._has_left = True
        self.leaving.leave(self._started, said)
        return True

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
        """Find out which ranks can read each other's memory."""
        machines = hosts(self)
        if len(machines) == self.size:
            return
        members = next(one for one in machines if self.rank in one)
        memories, why = all_memories(self, members, Board.memory())
        if not memories:
            self._warn_of_messages(why)
            return
        self._members = members
        if len(machines) == 1:
            self._board = Board(memories, self.rank)
            return
        first = self.rank == members[0]
        self._across = self._comm.Split(int(first), self.rank)

    def _warn_of_messages(self, why: str) -> None:
        if self.rank == 0 and sys.platform == "linux":  # others never have such memory
            warn_user(
                f"ranks of one machine cannot add up gradients where they lie, and "
                f"take four times as long for it with messages: {why}",
                SpecWarning,
            )

    def _start_across(self, values: np.ndarray) -> Any:
        from mpi4py import MPI

        return self._across.Iallreduce(MPI.IN_PLACE, values)

    def _meet(self, what: str, *how: object, values: np.ndarray = _NOTHING) -> None:
        """Begin an exchange of values, which must be the same on all ranks.

        values: added up at once, where there is a board.

        Raises `SpecError`, on all ranks, where they are at different ones.
        """
        self.refuse_broken()
        mine = " ".join([self.doing, what, *map(str, how)])
        key = zlib.crc32(mine.encode())
        if self._board is not None:
            request = self._board.start(values, key)
            self._wait(request)
            keys = np.array(request.whats)
        else:
            from mpi4py import MPI

            keys = np.zeros(self.size, np.int64)
            keys[self.rank] = key
            self._wait(self._comm.Iallgather(MPI.IN_PLACE, keys))
        if (keys == keys[0]).all():
            return
        rank = int(np.argmax(keys != keys[0]))
        told = self._gather([self.doing, what])
        same = told[0][0] == told[rank][0]
        places = [(_place(*one) if same else _place(one[0])) for one in told]
        self.broken = _apart((0, places[0]), (rank, places[rank]))
        raise SpecError(self.broken)

    def refuse_broken(self) -> None:
        """Refuse to go on where ranks were found to do different things."""
        if self.broken:
            raise SpecError(self.broken)

    def tell_what_waits(self, exchange: Exchange, kind: int, number: int) -> None:
        """Tell others what this rank waits for.

        Raises `SpecError` where it is found that ranks wait for each other.
        """
        mine = Waiting(self.rank, kind, number, list(self._started), self.doing)
        self.leaving.wait(mine)
        self.leaving.look()
        self.refuse_broken()
        stuck = self.leaving.stuck()
        if stuck is not None:
            self._left_behind.append(exchange)
            self.broken = _apart(*((one.rank, _place(one.doing)) for one in stuck))
            raise SpecError(self.broken)

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


def _place(doing: str, what: str = "") -> str:
    said = doing or "what its own program sends"
    return f"{said} ({what})" if what else said


def _apart(one: tuple[int, str], other: tuple[int, str]) -> str:
    return (
        f"ranks do different things: rank {one[0]} is at {one[1]}, and rank {other[0]} "
        f"at {other[1]}. step, solve, test, snapshot, and evaluate and predict with "
        f"communicator= are for all ranks together: call each on all of them, in the "
        f"same order, or on none"
    )


class Exchange:
    """A message between all ranks on its way, the `number`th of its kind."""

    def __init__(
        self, communicator: MpiCommunicator, request: Any, kind: int, number: int
    ) -> None:
        self._communicator, self._request = communicator, request
        self._kind, self._number = kind, number
        self._ask = time.monotonic() + ASK_S
        self._tell = self._ask + TELL_S
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
            number = self._number + getattr(self._request, "steps", 0)
            left = leaving.missing(self._kind, number)
            if left is not None:
                # One message is enough: that of the first rank that waits.
                time.sleep(min(WAIT_S * self._communicator.rank, 5 * WAIT_S))
                end_job(
                    self._communicator,
                    f"error: rank {left.rank} ended ahead of the others, which wait "
                    f"for it: its program came to an end, or called sys.exit",
                )
            if self._tell < now < self._slow + TELL_S:
                self._tell = now + TELL_S
                self._communicator.tell_what_waits(self, self._kind, number)
        return False
