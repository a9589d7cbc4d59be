"""What training asks of other processes, whatever carries the values between them."""

from __future__ import annotations

import time
from typing import Any, Protocol, TypeVar

POLL_S = 0.0002  # between looks at a sum; each look moves a piece of it
# Looks without a pause before the first, some microseconds each: small sums are done
# by then, where nobody is late.
LOOKS = 20

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
    """

    rank: int
    size: int
    local_rank: int
    local_size: int

    def start_sum(self, values: Any) -> Request:
        """Start to add up an array over all ranks, in place, with the same bits on all.

        Called by one thread at a time, which need not be that of the other methods.
        """

    def sum(self, values: Any) -> None:
        """Add up a small array over all ranks, in place."""

    def broadcast(self, value: T) -> T:
        """Return the value that rank 0 has."""

    def gather(self, value: T) -> list[T]:
        """Return the values of all ranks, on each."""

    def barrier(self) -> None:
        """Wait until all ranks are here."""

    def abort(self, status: int) -> None:
        """End the processes of all ranks at once."""


class Alone:
    """The communicator of a single process."""

    rank, size, local_rank, local_size = 0, 1, 0, 1

    def start_sum(self, values: Any) -> Request:
        """Leave a sum of one value as it is."""
        return _Done()

    def sum(self, values: Any) -> None:
        """Leave a sum of one value as it is."""

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


def finish(request: Request) -> None:
    """Wait for a sum without spinning, and with an ear for signals."""
    for _ in range(LOOKS):
        if request.done():
            return
    while not request.done():
        time.sleep(POLL_S)


def several(communicator: Communicator | None) -> Communicator | None:
    """Return a communicator of more than one rank, or None."""
    return communicator if communicator and communicator.size > 1 else None


def rank_count(communicator: Communicator | None) -> int:
    """Return how many ranks there are: 1 without a communicator."""
    return 1 if communicator is None else communicator.size


def is_first(communicator: Communicator | None) -> bool:
    """Say whether this process shows and writes what all ranks have alike."""
    return communicator is None or communicator.rank == 0
