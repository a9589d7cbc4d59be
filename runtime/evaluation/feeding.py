"""A data set through a net once, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from netspec.ops import infer
from netspec.ops.base import Shape
from netspec.schema import TEST, NetParameter
from runtime.data.dataset import Dataset, open_dataset
from runtime.data.given.streams import StreamEndedError
from runtime.data.given.values import Labels
from runtime.evaluation.sharing import Share
from runtime.execution.net import Net


class Pass:
    """One pass over some data with a net, whose inputs get what the data bring.

    inputs: the shapes of what the data bring, by name, in order; those that the net
    does not have are for the caller. The rest is as of `open_dataset`.

    items: how many come before the batch that was yielded last, and at the end how many
    there were; of several ranks, as if all batches but the last had the usual size.
    """

    def __init__(
        self,
        net: Net,
        data: Any,
        inputs: Mapping[str, Shape],
        *,
        batch_size: int | None = None,
        transform: Any = None,
        labels: Mapping[str, Labels] | None = None,
    ) -> None:
        self._net, self._is_mine = net, not isinstance(data, Dataset)
        self.items = 0
        self.dataset = open_dataset(
            data,
            inputs,
            batch_size=batch_size,
            transform=transform,
            phase=TEST,
            labels=labels,
        )

    @property
    def total(self) -> int | None:
        """How many items there will be, where that is known."""
        return self.dataset.items

    def batches(
        self, share: Share, end: str | None = None
    ) -> Iterator[Mapping[str, np.ndarray]]:
        """Run forward on each batch of a share and yield it, by names.

        end: the last layer to run. What is yielded holds until the next one.
        """
        clock, size = self._net.clock, self.dataset.shapes[0][0]
        start = clock.value
        try:
            for number, arrays in one_epoch(self.dataset, share.first, share.step):
                batch = dict(zip(self.dataset.names, arrays, strict=True))
                if share.step > 1:
                    self.items, clock.value = number * size, start + number
                self._forward(batch, end)
                yield batch
                self.items += len(arrays[0])
                share.numbers.append(number)
                share.counts.append(len(arrays[0]))
        finally:
            if self._is_mine:
                self.dataset.close()

    def _forward(self, batch: Mapping[str, np.ndarray], end: str | None) -> None:
        net = self._net
        for name, values in batch.items():
            blob = net.blobs.get(name)
            if blob is None:
                continue
            if blob.shape != values.shape:
                blob.reshape(*values.shape)
            blob.data[...] = values
        if end is None:
            net.forward_steps()
        else:
            net.forward(end=end)


def inputs_of(net: NetParameter) -> dict[str, Shape]:
    """Return the shapes of all inputs as a net says them, whatever it has just now."""
    return {
        top: shape
        for layer in net.layer
        if layer.type == "Input"
        for top, shape in zip(layer.top, infer(layer, ()).tops, strict=True)
    }


def one_epoch(
    data: Dataset, first: int, step: int
) -> Iterator[tuple[int, Sequence[np.ndarray]]]:
    """Yield every so many batches of one pass over some data, with their numbers.

    The next one is read in a thread while the caller works on the last.
    """

    def read(number: int) -> Sequence[np.ndarray] | None:
        if _ended(data, number):
            return None
        try:
            batch = data.batch(number)
        except StreamEndedError:
            return None
        # What had no length before tells it where the next pass would begin.
        return None if _ended(data, number) else batch

    with ThreadPoolExecutor(1, thread_name_prefix="evaluation") as thread:
        number = first
        coming = thread.submit(read, number)
        while (batch := coming.result()) is not None:
            coming = thread.submit(read, number + step)
            yield number, batch
            number += step


def _ended(data: Dataset, number: int) -> bool:
    return data.batches is not None and number >= data.batches
