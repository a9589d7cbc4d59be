"""Test passes whose batches ranks share: each runs some, and all get the means of all.

Batch number j, counted over all tests, is that of rank j % N, so that ranks that read
ahead go on where they are. Outputs are gathered batch by batch and added in the order
of the batches, so that means have the bits that one process computes. Of an output of
which a rank has more than `KEPT_BYTES`, ranks add up their own batches and then their
sums in order: equal on all ranks, and up to rounding what one process has.

A net in which a batch depends on those before (`carried`) runs on rank 0 alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from netspec.errors import ShapeError
from runtime.distributed import Communicator
from runtime.distributed.exchange import gather_arrays
from runtime.execution.net import Net
from runtime.training.average_precision import Precision
from runtime.training.averages import Averages, Means, Sum, detections
from runtime.training.ranks.carried import carried

KEPT_BYTES = 32 * 2**20  # of the values of an output of all batches of a rank


class Share:
    """The batches that this rank has of a test of `batches`, after `before` others."""

    def __init__(
        self, net: Net, communicator: Communicator, before: int, batches: int
    ) -> None:
        self.communicator = communicator
        ranks, rank = communicator.size, communicator.rank
        if carried(net) is not None:
            ranks, rank = 1, min(rank, 1)  # of which there is none
        if net.clock.step != ranks:
            net.take_every(ranks, rank % ranks)
        self._before, self._batches = before, batches
        self._ranks, self._rank = ranks, rank
        self._round = before // ranks
        self.rounds = -(-(before + batches) // ranks) - self._round
        self.first = before + (rank - before) % ranks

    def batch(self, turn: int) -> int | None:
        """Return the number in the test of the batch of a round, or None."""
        if self._rank >= self._ranks:
            return None
        batch = (self._round + turn) * self._ranks + self._rank - self._before
        return batch if 0 <= batch < self._batches else None


@dataclass(frozen=True)
class _Batch:
    number: int
    loss: float
    items: int | None


class _Output:
    """One output of the batches of this rank: each, or their sum where that is much."""

    def __init__(self, name: str, *, keep: bool) -> None:
        self.name, self._keep = name, keep
        self.values: list[np.ndarray] = []
        self.sum: Sum | None = None
        self.failed: list[str] = []  # why there is no sum, to be told on all ranks
        self._batches: list[_Batch] = []
        self._nbytes = 0

    def add(self, values: np.ndarray, batch: _Batch) -> None:
        if self.sum is not None:
            self._add(self.sum, values, batch)
            return
        self.values.append(values.copy())
        self._batches.append(batch)
        self._nbytes += values.nbytes
        if self._nbytes > KEPT_BYTES and not self._keep:
            self.add_up()

    def add_up(self) -> None:
        """Keep the sum alone."""
        if self.sum is not None or not self.values:
            return
        self.sum = Sum(self.name)
        for values, batch in zip(self.values, self._batches, strict=True):
            self._add(self.sum, values, batch)
        self.values.clear()

    def _add(self, to: Sum, values: np.ndarray, batch: _Batch) -> None:
        if self.failed:
            return
        try:
            to.add(values, batch.items, batch.number)
        except ShapeError as error:
            self.failed.append(error.text)


def shared_means(
    net: Net,
    share: Share,
    on_round: Callable[[int], None],
    precision: Precision,
) -> Means:
    """Run a net forward on the batches of this rank; return the means over all.

    on_round: called with the number of rounds that are done, after each.

    Raises `ShapeError` as of `Averages`, on all ranks.
    """
    averages = Averages(net, precision)
    whole = {*detections(net)}  # which have no sums
    outputs = {name: _Output(name, keep=name in whole) for name in net.graph.outputs}
    mine: list[_Batch] = []
    for turn in range(share.rounds):
        number = share.batch(turn)
        if number is not None:
            found = net.forward()
            batch = _Batch(number, net.loss(), net.fed_items)
            for name, values in found.items():
                outputs[name].add(values, batch)
            mine.append(batch)
        on_round(turn + 1)
    _gather(share.communicator, mine, outputs, averages)
    return averages.means()


def _gather(
    communicator: Communicator,
    mine: list[_Batch],
    outputs: Mapping[str, _Output],
    averages: Averages,
) -> None:
    """Put the outputs of all ranks into `averages`."""
    large = [name for name, one in outputs.items() if one.sum is not None]
    every_large = communicator.gather(large)
    summed = [name for name in outputs if any(name in names for names in every_large)]
    for name in summed:
        outputs[name].add_up()
    failed = [text for one in outputs.values() for text in one.failed]
    for texts in communicator.gather(failed) if summed else ():
        if texts:
            raise ShapeError(texts[0])
    told = communicator.gather([(b.number, b.loss, b.items) for b in mine])
    every = [[_Batch(*one) for one in batches] for batches in told]
    values: dict[str, list[list[np.ndarray]]] = {}
    for name, one in outputs.items():
        if name not in summed:
            values[name] = gather_arrays(communicator, one.values)
    order = sorted(
        (batch.number, rank, place)
        for rank, batches in enumerate(every)
        for place, batch in enumerate(batches)
    )
    for number, rank, place in order:
        batch = every[rank][place]
        found = {name: values[name][rank][place] for name in values}
        averages.add(number, found, batch.loss, batch.items)
    for name in summed:
        averages.take(_sum_of_all(communicator, outputs[name]))


def _sum_of_all(communicator: Communicator, one: _Output) -> Sum:
    """Return the sum of an output over all ranks, added in their order."""
    there = [] if one.sum is None else [one.sum]
    kinds = communicator.gather([(each.items, each.joined) for each in there])
    arrays = gather_arrays(communicator, [each.values for each in there])
    sums = [
        Sum.of(one.name, values[0], kind[0][0], joined=kind[0][1])
        for kind, values in zip(kinds, arrays, strict=True)
        if kind
    ]
    first, *others = sums
    for other in others:
        first.join_other(other)
    return first
