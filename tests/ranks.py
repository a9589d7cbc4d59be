"""Ranks as threads of one process, of which one runs at a time."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from typing import Any

import numpy as np


class _Meeting:
    """Where the threads meet: what each brought, and who may run."""

    def __init__(self, size: int) -> None:
        self.turn = threading.Lock()
        self.barrier = threading.Barrier(size)
        self.brought: list[Any] = [None] * size


class ThreadRank:
    """The communicator of one of several threads. `sums` has the sizes that it sent."""

    def __init__(self, rank: int, size: int, meeting: _Meeting) -> None:
        self.rank = self.local_rank = rank
        self.size = self.local_size = size
        self.sums: list[int] = []
        self.doing = ""
        self._meeting = meeting

    def _exchange(self, value: Any) -> list[Any]:
        meeting = self._meeting
        meeting.brought[self.rank] = copy.deepcopy(value)
        meeting.turn.release()
        try:
            meeting.barrier.wait(60)
            found = list(meeting.brought)
            meeting.barrier.wait(60)
        finally:
            meeting.turn.acquire()
        return found

    def sum(self, values: np.ndarray) -> None:
        """Add up over all ranks, in the order of ranks."""
        self.sums.append(values.size)
        every = self._exchange(values)
        if len({one.shape for one in every}) != 1:
            raise AssertionError(f"sums of {[one.shape for one in every]}")
        values[...] = every[0]
        for one in every[1:]:
            values += one

    def start_sum(self, values: np.ndarray) -> Any:
        """Add up at once."""
        self.sum(values)
        return _Done()

    def memory(self, nbytes: int) -> None:
        """Return None: who waits for memory holds up the others."""

    def share(self, memory: Any) -> None:
        """Return None."""

    def broadcast(self, value: Any) -> Any:
        """Return what rank 0 has."""
        return self._exchange(value)[0]

    def gather(self, value: Any) -> list[Any]:
        """Return what all have."""
        return self._exchange(value)

    def barrier(self) -> None:
        """Wait for all."""
        self._exchange(None)

    def abort(self, status: int) -> None:
        """End the test."""
        raise AssertionError(f"abort({status})")


class _Done:
    def done(self) -> bool:
        return True


def together(size: int, work: Callable[[ThreadRank], Any]) -> list[Any]:
    """Return what `work` returns for each rank; the error of one ends all of them."""
    meeting = _Meeting(size)
    results: list[Any] = [None] * size
    errors: list[BaseException] = []

    def run(rank: int) -> None:
        with meeting.turn:
            try:
                results[rank] = work(ThreadRank(rank, size, meeting))
            except BaseException as error:  # to be raised where the threads are joined
                if not isinstance(error, threading.BrokenBarrierError):
                    errors.append(error)
                meeting.barrier.abort()

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return results
