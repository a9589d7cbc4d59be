"""What training asks of other processes, whatever carries the values between them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from runtime.distributed.host_memory import HostMemory

# Between looks at a sum, each of which moves a piece; a pause takes 0.08 ms more. A
# processor that has something to compute is interrupted seldom, for some looks at once:
# they keep a link of 1 Gb/s busy with a third less work than a look every 0.2 ms.
POLL_S, BESIDE_S, AT_ONCE = 0.00002, 0.001, 8
# Looks without a pause, of half a microsecond each: small sums are done by then, where
# nobody is late.
LOOKS, BESIDE_LOOKS = 400, 20

T = TypeVar("T")


class Request(Protocol):
    """A sum on its way."""

    def done(self) -> bool:
        """Move it on, and say whether it is complete; never waits."""


class Communicator(Protocol):
    """Processes numbered from 0 to `size` - 1, of which this one is `rank`.

    `local_rank` and `local_size` are the same among those of one machine. Every method
    is called by all of them, in the same order; what waits lets signals through. Values
    that are sent are what JSON can say: None, bools, numbers, texts, lists and dicts.

    `doing` is what the program does, the same on all ranks; see `doing`.
    """

    rank: int
    size: int
    local_rank: int
    local_size: int
    doing: str

    def start_sum(self, values: Any) -> Request:
        """Start to add up an array over all ranks, in place, with the same bits on all.

        Called by one thread at a time, which need not be that of the other methods.
        """

    def sum(self, values: Any) -> None:
        """Add up a small array over all ranks, in place."""

    def memory(self, nbytes: int) -> HostMemory | None:
        """Return memory for arrays that ranks add up where they lie, or None."""

    def share(self, memory: HostMemory | None) -> Any:
        """Let `start_sum` do that with arrays in such memory, while the result is kept.

        It is None where that cannot be.
        """

    def broadcast(self, value: T) -> T:
        """Return the value that rank 0 has."""

    def gather(self, value: T) -> list[T]:
        """Return the values of all ranks, on each."""

    def barrier(self) -> None:
        """Wait until all ranks are here."""

    def abort(self, status: int) -> None:
        """End the processes of all ranks at once."""


class Group(Protocol):
    """What adds up arrays over the devices of several processes.

    place: which device of its machine it is. missing: why that cannot be, or "".
    """

    @property
    def place(self) -> str:
        """See above."""

    @property
    def missing(self) -> str:
        """See above."""

    def new_group(self) -> list[int]:
        """Return a name by which processes find each other."""

    def join(self, group: Sequence[int], rank: int, size: int) -> None:
        """Meet the other processes of a group; each of them calls it."""

    def start(self, array: Any) -> Request:
        """Start to add up an array over all processes, in place."""


class Alone:
    """The communicator of a single process."""

    rank, size, local_rank, local_size = 0, 1, 0, 1
    doing = ""

    def start_sum(self, values: Any) -> Request:
        """Leave a sum of one value as it is."""
        return _Done()

    def sum(self, values: Any) -> None:
        """Leave a sum of one value as it is."""

    def memory(self, nbytes: int) -> HostMemory | None:
        """Return None: there is nobody to share it with."""
        return None

    def share(self, memory: HostMemory | None) -> None:
        """Return None."""

    def broadcast(self, value: T) -> T:
        """Return the value."""
        return value

    def gather(self, value: T) -> list[T]:
        """Return the value of the one rank."""
        return [value]

    def barrier(self) -> None:
        """Do nothing."""

    def abort(self, status: int) -> None:
        """End the process."""
        raise SystemExit(status)


class _Done:
    def done(self) -> bool:
        return True


def finish(request: Request, beside: Callable[[], bool] = lambda: False) -> None:
    """Wait for a sum without spinning for long, and with an ear for signals.

    beside: whether this processor has something to compute meanwhile; then it is left
    to that sooner.
    """
    idle = 0
    while not request.done():
        idle += 1
        if not beside():
            if idle > LOOKS:
                time.sleep(POLL_S)
        elif idle > BESIDE_LOOKS and idle % AT_ONCE == 0:
            time.sleep(BESIDE_S)


@contextmanager
def doing(communicator: Communicator | None, what: str) -> Iterator[None]:
    """Note what all ranks do meanwhile, for messages and to tell them apart."""
    if communicator is None:
        yield
        return
    before, communicator.doing = communicator.doing, what
    try:
        yield
    finally:
        communicator.doing = before


def several(communicator: Communicator | None) -> Communicator | None:
    """Return a communicator of more than one rank, or None."""
    return communicator if communicator and communicator.size > 1 else None


def rank_count(communicator: Communicator | None) -> int:
    """Return how many ranks there are: 1 without a communicator."""
    return 1 if communicator is None else communicator.size


def is_first(communicator: Communicator | None) -> bool:
    """Say whether this process shows and writes what all ranks have alike."""
    return communicator is None or communicator.rank == 0
