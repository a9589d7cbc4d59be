"""What ranks tell each other at their end, so that nobody waits for one that left.

A process of MPI that ends while others wait for it leaves them waiting for ever. So
each rank says when it ends, and how many sums and exchanges it took part in; whoever
waits for a later one knows that it never comes.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

POLL_S = 0.005
# Looks for what goes wrong on all ranks alike, 2 s; then each speaks for itself. They
# are counted, since a process may be stopped for a while with its job.
AGREE_LOOKS = 400
DIGEST_BYTES = 16


@dataclass(frozen=True)
class Left:
    """A rank that ended: what it took part in until then, and what it has to say."""

    rank: int
    done: Sequence[int]
    said: Sequence[str]


class Leaving:
    """The ends of all ranks, on communicators that nothing else uses."""

    def __init__(self, comm: Any) -> None:
        self._comm, self._agreeing = comm.Dup(), comm.Dup()
        self._rank, self._size = comm.Get_rank(), comm.Get_size()
        self._lock = threading.Lock()
        self.left: dict[int, Left] = {}

    def look(self) -> None:
        """Take the messages of ranks that left; never waits."""
        from mpi4py import MPI

        if not self._lock.acquire(blocking=False):
            return  # another thread looks
        try:
            status = MPI.Status()
            while self._comm.Iprobe(status=status):
                data = np.empty(status.Get_count(MPI.BYTE), np.uint8)
                self._comm.Recv(data, status.Get_source(), status.Get_tag())
                left = Left(status.Get_source(), *json.loads(data.tobytes()))
                self.left[left.rank] = left
        finally:
            self._lock.release()

    def missing(self, kind: int, number: int) -> Left | None:
        """Return a rank that left without exchange `number` of a kind, if any did."""
        self.look()
        gone = [one for one in self.left.values() if one.done[kind] < number]
        return min(gone, key=lambda one: one.rank, default=None)

    def leave(self, done: Sequence[int], said: Sequence[str]) -> None:
        """Tell the others that this rank ends, and wait until all have.

        done: of each kind of exchange, how many this rank took part in. said: for
        rank 0, which has it in `left` afterwards.
        """
        requests = []
        for rank in range(self._size):
            if rank != self._rank:
                text = json.dumps([list(done), [] if rank else list(said)])
                data = np.frombuffer(bytearray(text, "ascii"), np.uint8)
                requests.append((self._comm.Isend(data, rank), data))
        while len(self.left) < self._size - 1:
            self.look()
            time.sleep(POLL_S)
        for request, _ in requests:
            while not request.Test():
                time.sleep(POLL_S)

    def agreed(self, digest: bytes) -> bool:
        """Say whether all ranks come here, soon, and with the same digest."""
        own = np.frombuffer(digest.ljust(DIGEST_BYTES)[:DIGEST_BYTES], np.uint8)
        everybody = np.empty((self._size, DIGEST_BYTES), np.uint8)
        request = self._agreeing.Iallgather(own, everybody)
        for _ in range(AGREE_LOOKS):
            if request.Test():
                return bool((everybody == own).all())
            time.sleep(POLL_S)
        return False
