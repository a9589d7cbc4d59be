"""Sources of batches for data layers: the protocols, and reading ahead in a thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol, TypeAlias

import numpy as np

from netspec.errors import SpecError
from netspec.ops.base import Shape, count
from netspec.room import check_room, enough_memory

BATCHES = 2  # in memory: the one that is used and the next one
VALUE_BYTES = 4


class Source(Protocol):
    """A sequence of batches without an end.

    `shapes` are those of the arrays of a batch, one for each top of the layer. Of
    several processes that train together each takes every so many batches.
    """

    shapes: tuple[Shape, ...]

    def next(self) -> Sequence[np.ndarray]:
        """Return the next batch, float32; valid until the following call."""

    def seek(self, batch: int) -> None:
        """Go to where `batch` batches have been delivered since the start."""

    def take_every(self, step: int, first: int) -> None:
        """Deliver the batches `first`, `first` + `step` and so on, from the start."""

    def close(self) -> None:
        """Close files and stop reading ahead."""


class Reader(Protocol):
    """A source by number: batch `b` is the same whenever it is read."""

    shapes: tuple[Shape, ...]

    def read(self, batch: int, out: Sequence[np.ndarray]) -> None:
        """Write batch number `batch` into the arrays `out`."""

    def close(self) -> None:
        """Close files."""


Arrays: TypeAlias = Sequence[np.ndarray]
Place: TypeAlias = Callable[[Sequence[Shape]], Arrays]  # arrays of these shapes


class SizedReader(Reader, Protocol):
    """A reader whose batches may have different shapes.

    `varies` tells whether they may; where they may not, `read` is called. `shapes` are
    those of the first batch.
    """

    varies: bool

    def read_sized(self, batch: int, place: Place) -> Arrays:
        """Write batch number `batch` into arrays that `place` gives; return them."""


class Buffer:
    """Memory for one batch, which grows with the largest one."""

    def __init__(self, shapes: Sequence[Shape], who: str) -> None:
        self._who = who
        self._flat = [np.empty(0, np.float32) for _ in shapes]
        self._shapes: tuple[Shape, ...] = ()
        self.arrays: tuple[np.ndarray, ...] = ()
        self.place(shapes)

    def place(self, shapes: Sequence[Shape]) -> tuple[np.ndarray, ...]:
        """Return arrays of these shapes; those given before are void."""
        if self._shapes == tuple(shapes):
            return self.arrays
        sizes = [count(shape) for shape in shapes]
        if any(size > flat.size for size, flat in zip(sizes, self._flat, strict=True)):
            reading = _reading(self._who, shapes)
            check_room(VALUE_BYTES * sum(sizes), reading)
            with enough_memory(reading):
                self._flat = [np.empty(size, np.float32) for size in sizes]
        self.arrays = tuple(
            flat[:size].reshape(shape)
            for flat, size, shape in zip(self._flat, sizes, shapes, strict=True)
        )
        self._shapes = tuple(shapes)
        return self.arrays


class ReadAhead:
    """A source that reads one batch ahead of the net, in a thread of its own."""

    def __init__(self, reader: Reader | SizedReader, name: str, who: str = "") -> None:
        self.shapes = reader.shapes
        self._reader: Any = reader
        self.varies = bool(getattr(reader, "varies", False))
        self._name = name
        self._who = who or f"layer {name!r}"
        self._closed = False
        values = sum(count(shape) for shape in reader.shapes)
        check_room(BATCHES * VALUE_BYTES * values, _reading(self._who, self.shapes))
        with enough_memory(_reading(self._who, self.shapes)):
            self._buffers = [Buffer(reader.shapes, self._who) for _ in range(BATCHES)]
        self._batch, self._step = 0, 1
        self._delivered = 0  # how many batches, whose buffers take turns
        self._ahead: Future[Arrays] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"data {name}")

    def next_shapes(self) -> tuple[Shape, ...]:
        """Return the shapes of the next batch, which `next` returns.

        An error of the reader is raised here.
        """
        if not self.varies:
            return self.shapes
        batch = self._next()
        self.shapes = tuple(array.shape for array in batch)
        return self.shapes

    def next(self) -> Arrays:
        """Return the next batch; an error of the reader is raised here."""
        delivered = self._next()
        self._ahead = None
        self._delivered += 1
        self._batch += self._step
        self._ahead = self._start(self._batch)
        return delivered

    def _next(self) -> Arrays:
        """Wait for the next batch, which stays the next one."""
        if self._closed:
            raise SpecError(
                f"layer {self._name!r}: its source of data is closed; build a new net"
            )
        if self._ahead is None:
            self._ahead = self._start(self._batch)
        try:
            with enough_memory(_reading(self._who, self.shapes)):
                return self._ahead.result()
        except Exception:
            self._ahead = None  # to be read again
            raise

    def seek(self, batch: int) -> None:
        """Go to batch number `batch`; what was read ahead is dropped."""
        if batch == self._batch:
            return
        self._wait()
        self._batch = batch

    def take_every(self, step: int, first: int) -> None:
        """Deliver every so many batches; a reader that has a `take_every` is told."""
        self._wait()
        self._batch, self._step = first, step
        if hasattr(self._reader, "take_every"):
            self._reader.take_every(step, first)

    def close(self) -> None:
        """Stop reading ahead and close the reader; a second time nothing happens."""
        if self._closed:
            return
        self._closed = True
        self._wait()
        self._thread.shutdown()
        self._reader.close()

    def _start(self, batch: int) -> Future[Arrays]:
        # A function that does not hold this object, which may be let go meanwhile.
        read = _read_sized if self.varies else _read
        buffer = self._buffers[self._delivered % BATCHES]
        return self._thread.submit(read, self._reader, batch, buffer)

    def _wait(self) -> None:
        if self._ahead is not None:
            self._ahead.exception()  # what was read ahead is not wanted, nor its error
            self._ahead = None


def _reading(who: str, shapes: Sequence[Shape]) -> str:
    said = " and ".join(str(shape) for shape in shapes)
    return f"{who}: reading batches of shape {said}"


def _read(reader: Reader, batch: int, buffer: Buffer) -> Arrays:
    reader.read(batch, buffer.arrays)
    return buffer.arrays


def _read_sized(reader: SizedReader, batch: int, buffer: Buffer) -> Arrays:
    return reader.read_sized(batch, buffer.place)
