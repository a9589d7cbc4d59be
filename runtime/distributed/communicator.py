"""What training asks of other processes, whatever carries the values between them."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

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
