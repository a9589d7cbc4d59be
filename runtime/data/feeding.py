"""A data set as the source of Input layers, which behave as data layers then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from netspec.errors import SpecError
from netspec.ops.base import Shape, count
from runtime.data.given.base import Dataset
from runtime.data.given.streams import StreamEndedError
from runtime.data.source import Arrays, Buffer, ReadAhead


class Feed:
    """Batches of a data set for the Input layers of one net.

    They are read ahead in a thread; or, where making one is no more work than copying
    it, straight into the memory of the largest input.

    sources: one for each layer, by name; all are at the same batch.
    shapes: of the batches that are usual, by blob.
    always: whether every forward pass takes a batch, and not only those of a solver.
    direct: whether blobs are arrays of the host.
    """

    def __init__(
        self,
        dataset: Dataset,
        layers: Mapping[str, Sequence[str]],
        *,
        always: bool,
        direct: bool = False,
    ) -> None:
        self.dataset, self.always = dataset, always
        self.shapes = dict(zip(dataset.names, dataset.shapes, strict=True))
        self._direct = direct and dataset.cheap
        self._ahead: ReadAhead | None = None
        self._buffer: Buffer | None = None
        if self._direct:
            self._buffer = Buffer(dataset.shapes, "the data")
        else:
            self._ahead = ReadAhead(dataset, dataset.names[0], "the data")
        self._delivered = -1
        self._arrays: Arrays = ()
        self.step = 1
        places = {
            name: [dataset.names.index(top) for top in tops]
            for name, tops in layers.items()
        }
        largest = max(
            range(len(dataset.shapes)), key=lambda n: count(dataset.shapes[n])
        )
        self.sources = {
            name: FedSource(self, its, direct=self._direct and largest in its)
            for name, its in places.items()
        }

    @property
    def items(self) -> int:
        """How many items the batch has that was delivered last."""
        return len(self._arrays[0]) if self._arrays else 0

    def arrays(self, batch: int) -> Arrays:
        """Return batch number `batch`."""
        if batch != self._delivered:
            self._delivered = -1  # if it cannot be read
            if self._ahead is not None:
                self._ahead.seek(batch)
                self._arrays = self._ahead.next()
            elif self._buffer is not None:
                self._arrays = self.dataset.read_sized(batch, self._buffer.place)
            self._delivered = batch
        return self._arrays

    def read_into(self, batch: int, places: Sequence[int], tops: Arrays) -> None:
        """Read a batch, some of its arrays straight into the blobs of a layer."""
        self._delivered = -1
        buffer = self._buffer

        def place(shapes: Sequence[Shape]) -> Arrays:
            if buffer is None:
                raise RuntimeError("a feed that reads ahead has no buffer")
            small = [() if n in places else shape for n, shape in enumerate(shapes)]
            found = list(buffer.place(small))
            for n, top in zip(places, tops, strict=True):
                found[n] = top
            return found

        self._arrays = self.dataset.read_sized(batch, place)
        self._delivered = batch

    def shapes_at(self, batch: int) -> tuple[Shape, ...]:
        """Return the shapes of a batch; where nobody knows them it is read."""
        if batch == self._delivered:
            return tuple(array.shape for array in self._arrays)
        if self._ahead is None:
            return self.dataset.shapes_of(batch)
        self._ahead.seek(batch)
        return self._ahead.next_shapes()

    def look_at(self, batch: int) -> None:
        """Wait for a batch to be read, so that an end of the data ahead is known."""
        with suppress(StreamEndedError):
            self.shapes_at(batch)

    def take_every(self, step: int, first: int) -> None:
        """Deliver the batches `first`, `first` + `step` and so on."""
        self.step = step
        if self._ahead is not None:
            self._ahead.take_every(step, first)
        for source in self.sources.values():
            source.seek(first)

    def close(self) -> None:
        """Stop reading; a second time nothing happens."""
        if self._ahead is not None:
            self._ahead.close()
        elif self._direct:
            self._direct = False
            self.dataset.close()


class FedSource:
    """What one Input layer takes of the batches of a feed.

    direct: whether its blobs may be given to be read into.
    """

    def __init__(self, feed: Feed, places: Sequence[int], *, direct: bool) -> None:
        self._feed, self._places, self._direct = feed, tuple(places), direct
        self._batch = 0
        self.shapes: tuple[Shape, ...] = self._of(feed.dataset.shapes)

    def next_shapes(self) -> tuple[Shape, ...]:
        """Return the shapes of the next batch, which `next` returns."""
        self.shapes = self._of(self._feed.shapes_at(self._batch))
        return self.shapes

    def next(self) -> Arrays:
        """Return the next batch; an error of the data is raised here."""
        arrays = self._feed.arrays(self._batch)
        self._batch += self._feed.step
        return [arrays[place] for place in self._places]

    def into(self, tops: Sequence[Any]) -> bool:
        """Read the next batch straight into blobs, if that can be."""
        if not self._direct or any(top.dtype != np.float32 for top in tops):
            return False
        self._feed.read_into(self._batch, self._places, tops)
        self._batch += self._feed.step
        return True

    def seek(self, batch: int) -> None:
        """Go to batch number `batch`."""
        self._batch = batch

    def take_every(self, step: int, first: int) -> None:
        """Deliver every so many batches, as do the other sources of its feed."""
        self._feed.take_every(step, first)

    def close(self) -> None:
        """Close the feed."""
        self._feed.close()

    def _of(self, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        return tuple(shapes[place] for place in self._places)


def fed_layers(
    tops: Mapping[str, Sequence[str]], names: Sequence[str]
) -> dict[str, Sequence[str]]:
    """Return the Input layers that a data set fills.

    tops: those of all Input layers, by layer.

    Raises `SpecError` for a layer of which it fills some tops alone.
    """
    found = {}
    for layer, its in tops.items():
        filled = [top for top in its if top in names]
        if filled and len(filled) < len(its):
            missing = [top for top in its if top not in names]
            raise SpecError(
                f"the data fill "
                f"{', '.join(filled)} of layer {layer!r} (Input), but not "
                f"{', '.join(missing)}"
            )
        if filled:
            found[layer] = its
    return found
