"""Sources of batches for data layers: the protocols, and reading ahead in a thread."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

import numpy as np

from netspec.errors import SpecError
from netspec.ops.base import Shape, count
from runtime.room import check_room, enough_memory

BATCHES = 2  # in memory: the one that is used and the next one
VALUE_BYTES = 4


class Source(Protocol):
    """A sequence of batches without an end.

    `shapes` are those of the arrays of a batch, one for each top of the layer.
    """

    shapes: tuple[Shape, ...]

    def next(self) -> Sequence[np.ndarray]:
        """Return the next batch, float32; valid until the following call."""

    def seek(self, batch: int) -> None:
        """Go to where `batch` batches have been delivered since the start."""

    def close(self) -> None:
        """Close files and stop reading ahead."""


class Reader(Protocol):
    """A source by number: batch `b` is the same whenever it is read."""

    shapes: tuple[Shape, ...]

    def read(self, batch: int, out: Sequence[np.ndarray]) -> None:
        """Write batch number `batch` into the arrays `out`."""

    def close(self) -> None:
        """Close files."""


class ReadAhead:
    """A source that reads one batch ahead of the net, in a thread of its own."""

    def __init__(self, reader: Reader, name: str, who: str = "") -> None:
        self.shapes = reader.shapes
        self._reader = reader
        self._name = name
        self._who = who or f"layer {name!r}"
        self._closed = False
        values = sum(count(shape) for shape in reader.shapes)
        check_room(BATCHES * VALUE_BYTES * values, self._reading)
        with enough_memory(self._reading):
            self._buffers = [
                tuple(np.empty(shape, np.float32) for shape in reader.shapes)
                for _ in range(BATCHES)
            ]
        self._batch = 0
        self._ahead: Future[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"data {name}")

    def next(self) -> Sequence[np.ndarray]:
        """Return the next batch; an error of the reader is raised here."""
        if self._closed:
            raise SpecError(
                f"layer {self._name!r}: its source of data is closed; build a new net"
            )
        ahead = self._ahead or self._start(self._batch)
        self._ahead = None
        with enough_memory(self._reading):
            ahead.result()
        delivered = self._buffers[self._batch % 2]
        self._batch += 1
        self._ahead = self._start(self._batch)
        return delivered

    def seek(self, batch: int) -> None:
        """Go to batch number `batch`; what was read ahead is dropped."""
        if batch == self._batch:
            return
        self._wait()
        self._batch = batch

    def close(self) -> None:
        """Stop reading ahead and close the reader; a second time nothing happens."""
        if self._closed:
            return
        self._closed = True
        self._wait()
        self._thread.shutdown()
        self._reader.close()

    @property
    def _reading(self) -> str:
        shapes = " and ".join(str(shape) for shape in self.shapes)
        return f"{self._who}: reading batches of shape {shapes}"

    def _start(self, batch: int) -> Future[None]:
        return self._thread.submit(self._reader.read, batch, self._buffers[batch % 2])

    def _wait(self) -> None:
        if self._ahead is not None:
            self._ahead.exception()  # what was read ahead is not wanted, nor its error
            self._ahead = None
