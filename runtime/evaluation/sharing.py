"""A pass over some data that ranks share: each runs some batches, all get the results.

Batch number j is that of rank j % N. What it brings is put together in the order of
batches, so that all ranks have what one process has. A net in which a batch depends on
those before (`carried`) runs on rank 0 alone.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import accumulate
from typing import TypeVar

import numpy as np

from netspec.errors import NetspecError, SpecError
from runtime.data.dataset import Dataset
from runtime.distributed import Communicator
from runtime.distributed.exchange import gather_arrays
from runtime.evaluation.subject import Subject
from runtime.execution.net import Net
from runtime.training.ranks.carried import carried
from runtime.training.ranks.first_rank import error_of, kind_of

T = TypeVar("T")

_INTEGERS = {1: np.int8, 2: np.int16, 4: np.int32, 8: np.int64}  # by their bytes


class Share:
    """The batches that this rank runs: `first`, `first` + `step` and so on, or none.

    ranks: None for one process, which runs all. `numbers` and `counts` are those of the
    batches that were run, and how many items each had.

    Raises `SpecError`, on all ranks, where they hold other data or parameters.
    """

    def __init__(self, ranks: Communicator | None, net: Net, data: Dataset) -> None:
        self.ranks = ranks
        self.step, self.first = 1, 0
        self.runs = True  # whether it has any
        self.numbers: list[int] = []
        self.counts: list[int] = []
        self._order: list[tuple[int, int]] = []  # of batches: rank, and which there
        self.items = 0  # of all batches
        self.before: list[int] = []  # items, of each batch of this rank
        if ranks is None:
            return
        if carried(net) is None:
            self.step, self.first = ranks.size, ranks.rank
        self.runs = self.step > 1 or ranks.rank == 0
        _refuse_unlike(ranks, net, data)

    def run(self, batches: Callable[[], None]) -> None:
        """Run the batches, and learn how many all ranks ran.

        An error on any rank is raised on all: that of the first batch with one.
        """
        ranks = self.ranks
        if ranks is None:
            batches()
            self.items = sum(self.counts)
            return
        error: NetspecError | None = None
        try:
            if self.runs:
                batches()
        except NetspecError as failed:
            error = failed
        at = self.numbers[-1] + self.step if self.numbers else self.first
        places = ranks.gather(None if error is None else at)
        bad = [(one, rank) for rank, one in enumerate(places) if one is not None]
        if bad:
            _, rank = min(bad)
            kind, text = ranks.gather(kind_of(error))[rank]
            raise error if error and rank == ranks.rank else error_of(kind, text)
        every = ranks.gather([self.numbers, self.counts])
        found = sorted(
            (number, rank, place, count)
            for rank, pairs in enumerate(every)
            for place, (number, count) in enumerate(zip(*pairs, strict=True))
        )
        self._order = [(rank, place) for _, rank, place, _ in found]
        self.counts = [count for *_, count in found]
        *starts, self.items = accumulate(self.counts, initial=0)
        self.before = [
            start
            for start, (rank, _) in zip(starts, self._order, strict=True)
            if rank == ranks.rank
        ]

    def gather(self, value: T) -> list[T]:
        """Return the values of all ranks."""
        return [value] if self.ranks is None else self.ranks.gather(value)

    def shapes(self, mine: Sequence[np.ndarray]) -> list[tuple[int, ...]]:
        """Return the shapes of arrays that batches brought, in the order of batches."""
        if self.ranks is None:
            return [array.shape for array in mine]
        every = self.ranks.gather([list(array.shape) for array in mine])
        return [tuple(every[rank][place]) for rank, place in self._order]

    def rows(self, mine: Sequence[np.ndarray], axis: int = 0) -> np.ndarray:
        """Return the arrays that batches brought, one behind the other, bit for bit.

        mine: one of each batch of this rank; all agree but in their length.
        """
        ranks = self.ranks
        if ranks is None:
            return mine[0] if len(mine) == 1 else np.concatenate(mine, axis=axis)
        shapes = self.shapes(mine)
        types = ranks.gather(str(mine[0].dtype) if mine else "")
        dtype = np.dtype(next(one for one in types if one))
        whole = list(shapes[0])
        whole[axis] = sum(shape[axis] for shape in shapes)
        found = np.zeros(whole, dtype)
        start = 0
        for (rank, place), shape in zip(self._order, shapes, strict=True):
            stop = start + shape[axis]
            if rank == ranks.rank:
                where = (slice(None),) * axis + (slice(start, stop),)
                found[where] = mine[place]
            start = stop
        if found.size:
            # Integers keep the bits: one rank alone adds anything but zeros to a value.
            ranks.sum(found.reshape(-1).view(_INTEGERS[dtype.itemsize]))
        return found

    def each(self, mine: Sequence[Sequence[np.ndarray]]) -> list[list[np.ndarray]]:
        """Return a few small arrays a batch, in the order of batches.

        mine: equally many of each batch of this rank.
        """
        if self.ranks is None:
            return [list(arrays) for arrays in mine]
        flat = [array for arrays in mine for array in arrays]
        size = max(self.ranks.gather(len(mine[0]) if mine else 0))
        every = gather_arrays(self.ranks, flat)
        return [
            every[rank][place * size : (place + 1) * size]
            for rank, place in self._order
        ]


def averaged(
    subject: Subject, ranks: Communicator | None
) -> AbstractContextManager[None]:
    """Let all ranks have the mean of their running statistics meanwhile."""
    if ranks is None or subject.solver is None:
        return nullcontext()
    return subject.solver.statistics.averaged()


def _refuse_unlike(ranks: Communicator, net: Net, data: Dataset) -> None:
    glances = ranks.gather(data.glance())
    for rank, glance in enumerate(glances):
        if glance != glances[0]:
            raise SpecError(
                f"the data of rank {rank} are others than those of rank 0; give all "
                f"ranks the same whole data, of which each takes its own batches"
            )
    every = ranks.gather(_sums(net))
    for rank, sums in enumerate(every):
        for name, one in sums.items():
            if one != every[0].get(name):
                raise SpecError(
                    f"layer {name!r} has other parameters on rank {rank} than on rank "
                    f"0; give all ranks the same weights"
                )


def _sums(net: Net) -> dict[str, int]:
    found = {}
    for name, blobs in net.params.items():
        found[name] = 0
        for blob in blobs:
            found[name] = zlib.crc32(blob.data.tobytes(), found[name])
    return found
