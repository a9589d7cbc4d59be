"""Batches of items that are known by number: order, transforms, several threads."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np

from netspec.ops.base import Shape
from runtime.data.given.base import Dataset, Rows
from runtime.data.given.field import Field
from runtime.data.given.items import put
from runtime.data.given.transforming import Pictures, Transforming
from runtime.data.given.values import BatchCheck, Labels, Numbers
from runtime.data.order import Order
from runtime.data.source import Arrays, Place
from runtime.distributed.processors import usual_threads

T = TypeVar("T")

GLANCES = 16  # items, less one, that tell data from others
MAX_WORKERS = 8  # threads that make items, where these take long


class RowBatches(Dataset):
    """Batches of rows, in order or shuffled anew in every epoch.

    The last batch of an epoch has what is left; no item comes twice in an epoch.
    """

    def __init__(
        self,
        fields: Sequence[Field],
        rows: Rows,
        size: int,
        *,
        shuffle: bool,
        seed: int,
        transform: Transforming | None,
        labels: Mapping[str, Labels],
    ) -> None:
        self._fields, self._rows, self._size = tuple(fields), rows, size
        self._transform, self._shuffle = transform, shuffle
        self._order = Order(seed, fields[0].name, rows.count, shuffle=shuffle)
        self.names = tuple(field.name for field in fields)
        self.shapes = tuple((size, *field.item) for field in fields)
        self.items, self.classes = rows.count, rows.classes
        self.batches = -(-rows.count // size)
        self.varies = rows.count % size > 0
        seen: frozenset[str] = rows.seen if transform is None else frozenset()
        self._check = BatchCheck(self.names, labels, seen)
        self._threads: ThreadPoolExecutor | None = None
        # What stays as large as it is can be transformed in the batch.
        self._whole: Pictures | None = None
        if isinstance(transform, Pictures) and rows.in_memory and rows.exact:
            self._whole = None if transform.cuts or transform.costly else transform
        if self._whole is not None:
            rows.settle()
        self.cheap = rows.in_memory and transform is self._whole
        self._workers = 1
        if rows.costly or (transform is not None and transform.costly):
            self._workers = min(MAX_WORKERS, usual_threads())

    def shapes_of(self, batch: int) -> tuple[Shape, ...]:
        """Return the shapes of a batch."""
        start = batch % (self.batches or 1) * self._size
        count = min(self._size, self._rows.count - start)
        if count == self._size:
            return self.shapes
        return tuple((count, *field.item) for field in self._fields)

    def read_sized(self, batch: int, place: Place) -> Arrays:
        """Write batch number `batch` into arrays that `place` gives; return them."""
        epoch, index = divmod(batch, self.batches or 1)
        start = index * self._size
        stop = min(start + self._size, self._rows.count)
        numbers: Numbers = range(start, stop)
        if self._shuffle:
            numbers = self._order.of(epoch)[start:stop]
        out = place(self.shapes_of(batch))
        with np.errstate(over="ignore"):  # what is infinite then is told of
            first = epoch * self._rows.count + start
            if self._whole is not None:
                self._rows.read(numbers, out)
                self._whole.finish(self._rows.item(int(numbers[0])), first, out[0])
            elif self._transform is None and not self._rows.costly:
                self._rows.read(numbers, out)
            else:
                self._made(numbers, first, out)
        self._check(out, numbers)
        return out

    def expect(self, labels: Mapping[str, Labels]) -> None:
        """Check labels from now on, and those in memory at once."""
        if self._transform is None:
            self._rows.expect(labels)
        self._check.expect(labels)

    def glance(self) -> list[Any]:
        """Return values that are alike for equal data."""
        sums = []
        if self._rows.in_memory:
            last = self._rows.count - 1
            for number in sorted({last * n // GLANCES for n in range(GLANCES + 1)}):
                item = self._rows.item(number)
                sums += [zlib.crc32(one.tobytes()) for one in item]
        return [*super().glance(), sums]

    def _made(self, numbers: Numbers, start: int, out: Arrays) -> None:
        """Make items, in several threads; their order in the batch stays."""
        rows, transform = self._rows, self._transform
        if transform is None:

            def one(place: int) -> None:
                number = int(numbers[place])
                put(self._fields, rows.item(number), out, place, number)

            self._map(one, len(numbers))
            return
        prepare = transform.prepare
        if rows.alone:
            found = [rows.item(int(number)) for number in numbers]
            items = self._map(
                lambda place: prepare(found[place], start + place), len(found)
            )
        else:
            items = self._map(
                lambda place: prepare(rows.item(int(numbers[place])), start + place),
                len(numbers),
            )
        transform.batch(items, start, out)

    def _map(self, call: Callable[[int], T], count: int) -> list[T]:
        if self._workers < 2:
            return [call(place) for place in range(count)]
        if self._threads is None:
            self._threads = ThreadPoolExecutor(
                self._workers, thread_name_prefix="items"
            )
        return list(self._threads.map(call, range(count)))

    def close(self) -> None:
        """Close files and threads."""
        if self._threads is not None:
            self._threads.shutdown()
            self._threads = None
        self._rows.close()
