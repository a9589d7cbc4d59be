"""Running sums of BatchNorm and BN, which ranks have each by their own batches.

A rank's sums fade with f: s = f s + m of its own batch. Their mean over ranks fades so,
too: it is the same, but for rounding, whenever and however often it is taken. The
sums are not read by passes that learn; tests and files get their mean over all ranks:

- a snapshot is of the mean, and all ranks go on from it, so that a run that is resumed
  has the bits of one that went on;
- a test sees the mean, and each rank goes on from its own sums: tests change no bit;
- at the end of `solve` all ranks have the mean.

Learned parameters do not depend on any of it. One process with N times the `iter_size`
fades N times in an iteration, and so remembers a shorter time in iterations.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from netspec.graph import Graph
from netspec.ops.batch_norm import ChannelNorm
from runtime.distributed import Communicator
from runtime.execution.mirror import Kind, Steps
from runtime.execution.net import Net

_WEIGHTS = frozenset({Kind.WEIGHT})
_TAKEN = Steps(reads=_WEIGHTS, changes=_WEIGHTS)


def remembered(graph: Graph) -> tuple[int, ...]:
    """Return the numbers of the parameters that follow the batches of forward passes.

    They are the means, variances and weights of layers by statistics of the batch,
    which differ between ranks.
    """
    found: dict[int, None] = {}
    for node in graph.nodes:
        op = node.op
        if not isinstance(op, ChannelNorm) or not op.remembers:
            continue
        slots = op.slots.mean, op.slots.variance, op.slots.weight
        found |= dict.fromkeys(node.params[slot] for slot in slots if slot is not None)
    return tuple(sorted(found))


class RunningStatistics:
    """Those of the net that a solver trains on several ranks.

    All methods are called by all ranks, together.
    """

    def __init__(self, net: Net, communicator: Communicator | None) -> None:
        self._net, self._communicator = net, communicator
        parameters = remembered(net.graph) if communicator is not None else ()
        self._arrays = [net.parameters.arrays[index].data for index in parameters]
        self._kept = True  # whether all ranks go on with the mean that they have

    def average(self) -> None:
        """Let all ranks have the mean, from now on."""
        self._kept = True
        if self._arrays:
            self._write(self._mean(self._read()))

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Let all ranks have the mean meanwhile, and what each had after it.

        It stays where `average` is called in between, or somebody writes other values.
        """
        if not self._arrays:
            yield
            return
        own = self._read()
        mean = self._mean(own)
        self._write(mean)
        self._kept = False
        try:
            yield
        finally:
            if not self._kept and _same(self._read(), mean):
                self._write(own)
            self._kept = True

    def _mean(self, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return the means over all ranks, summed in float64."""
        ranks = self._communicator
        if ranks is None:
            return list(values)
        total = np.concatenate([one.astype(np.float64) for one in values])
        ranks.sum(total)
        total /= ranks.size  # exact where all are equal
        ends = np.cumsum([one.size for one in values])[:-1]
        return [
            mean.astype(one.dtype)
            for mean, one in zip(np.split(total, ends), values, strict=True)
        ]

    def _read(self) -> list[np.ndarray]:
        backend, mirror = self._net.backend, self._net.mirror
        found = [np.empty(one.shape, str(one.dtype)) for one in self._arrays]
        mirror.before_steps(_TAKEN)
        for array, host in zip(self._arrays, found, strict=True):
            backend.download(array, out=host)
        mirror.after_steps()
        return found

    def _write(self, values: Sequence[np.ndarray]) -> None:
        backend, mirror = self._net.backend, self._net.mirror
        mirror.before_steps(_TAKEN)
        for array, host in zip(self._arrays, values, strict=True):
            backend.upload(host, out=array)
        mirror.after_steps()


def _same(one: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> bool:
    pairs = zip(one, other, strict=True)
    return all(np.array_equal(a, b, equal_nan=True) for a, b in pairs)
