"""What ranks tell each other so that nobody waits for what never comes.

A process of MPI that ends while others wait for it leaves them waiting for ever. So
each rank says when it ends, and how many sums and exchanges it took part in; whoever
waits for a later one knows that it never comes. A rank that waits for long says so, and
for what: two that wait for each other in different exchanges do so for ever.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
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


@dataclass(frozen=True)
class Waiting:
    """What a rank waits for: exchange `number` of a kind, with all ranks.

    done: in how many of each kind it took part. doing: what its program does.
    """

    rank: int
    kind: int
    number: int
    done: Sequence[int]
    doing: str

    def lacks(self, other: Waiting) -> bool:
        """Say whether that other has yet to come to what this one waits for."""
        return other.done[self.kind] < self.number


LEAVES, WAITS = 0, 1  # tags of messages


class Leaving:
    """The ends and the waits of all ranks, on communicators that nothing else uses."""

    def __init__(self, comm: Any) -> None:
        self._comm, self._agreeing = comm.Dup(), comm.Dup()
        self._rank, self._size = comm.Get_rank(), comm.Get_size()
        self._lock = threading.Lock()
        self.left: dict[int, Left] = {}
        self._waiting: dict[int, Waiting] = {}  # what ranks said last
        self._still: set[int] = set()  # ranks that said it twice
        self._sent: list[tuple[Any, np.ndarray]] = []

    def look(self) -> None:
        """Take the messages of ranks that left; never waits."""
        from mpi4py import MPI

        if not self._lock.acquire(blocking=False):
            return  # another thread looks
        try:
            status = MPI.Status()
            while self._comm.Iprobe(status=status):
                data = np.empty(status.Get_count(MPI.BYTE), np.uint8)
                rank, tag = status.Get_source(), status.Get_tag()
                self._comm.Recv(data, rank, tag)
                told = json.loads(data.tobytes())
                if tag == LEAVES:
                    self.left[rank] = Left(rank, *told)
                else:
                    self._note(Waiting(rank, *told))
        finally:
            self._lock.release()

    def missing(self, kind: int, number: int) -> Left | None:
        """Return a rank that left without exchange `number` of a kind, if any did."""
        self.look()
        gone = [one for one in self.left.values() if one.done[kind] < number]
        return min(gone, key=lambda one: one.rank, default=None)

    def wait(self, mine: Waiting) -> None:
        """Tell the others what this rank waits for, and note it."""
        self._note(mine)
        self._sent = [one for one in self._sent if not one[0].Test()]
        told = [mine.kind, mine.number, list(mine.done), mine.doing]
        data = np.frombuffer(bytearray(json.dumps(told), "ascii"), np.uint8)
        for rank in range(self._size):
            if rank != self._rank:
                self._sent.append((self._comm.Isend(data, rank, WAITS), data))

    def stuck(self) -> tuple[Waiting, Waiting] | None:
        """Return the first two ranks that wait for each other, if there are any.

        What each said twice in the same words counts, as the rest may be old.
        """
        still = [self._waiting[rank] for rank in sorted(self._still)]
        pairs = combinations(still, 2)
        stuck = (pair for pair in pairs if pair[0].lacks(pair[1]))
        return next((pair for pair in stuck if pair[1].lacks(pair[0])), None)

    def _note(self, one: Waiting) -> None:
        if self._waiting.get(one.rank) == one:
            self._still.add(one.rank)
        else:
            self._still.discard(one.rank)
        self._waiting[one.rank] = one

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
                requests.append((self._comm.Isend(data, rank, LEAVES), data))
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
