"""Data that come one after the other: iterables, generators, what makes one."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from netspec.errors import ShapeError, SpecError, SpecWarning
from netspec.notebooks import warn_user
from netspec.ops.base import Shape
from runtime.data.given.base import Dataset
from runtime.data.given.field import Field
from runtime.data.given.items import item_of, put
from runtime.data.given.transforming import Transforming
from runtime.data.given.values import BatchCheck, Labels
from runtime.data.given.whole import Split, Whole, usual_shapes
from runtime.data.source import Arrays, Place

ITEMS, BATCHES = "items", "batches"
_POSITIONAL = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
)


class StreamEndedError(SpecError):
    """A stream that can be read once only is at its end, after `batches` batches."""

    def __init__(self, batches: int) -> None:
        super().__init__(
            f"the generator ended after {batches} batches and cannot begin anew; give "
            f"a function that returns one, or train for as many iterations"
        )
        self.batches = batches


class Stream:
    """What can be read from its start: once, or as often as wanted.

    begun: what a function has returned already, for its first pass.
    again: whether it can begin anew. length: how many things it yields, if it tells.
    """

    def __init__(self, data: Any, begun: Any = None) -> None:
        self._data, self._begun = data, begun
        self.again = not isinstance(data, Iterator)
        self.length = _length(data)
        self._wants_epoch = callable(data) and wants_epoch(data)

    def begin(self, epoch: int) -> Iterator[Any]:
        """Return an iterator from the start."""
        if not callable(self._data):
            return iter(self._data)
        found, self._begun = self._begun, None
        if found is None or epoch:
            found = self._data(epoch) if self._wants_epoch else self._data()
        try:
            return iter(found)
        except TypeError:
            raise SpecError(
                f"the function given as data returns {type(found).__name__}; expected "
                f"a generator or another iterable of items or of batches"
            ) from None


def _length(data: Any) -> int | None:
    try:
        return len(data)
    except TypeError:
        return None


def wants_epoch(function: Any) -> bool:
    """Say whether a function needs one argument: the number of the epoch."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return False
    needed = [p for p in parameters if p.default is p.empty and p.kind in _POSITIONAL]
    return len(needed) == 1


def kind_of(
    fields: Sequence[Field],
    values: Sequence[Any],
    inputs: Mapping[str, Sequence[int]],
    *,
    transformed: bool = False,
) -> str:
    """Say whether something has one item, or a batch of them, by its shapes.

    Arrays with the shapes of the inputs less their first axis are an item, those with
    one more axis in front are a batch; what suits as it is comes before what suits with
    an axis of one added or dropped.

    Raises `ShapeError` for what is neither, and for what may be both.
    """
    shapes = [np.shape(value) for value in values]
    if transformed:  # only the numbers of axes are known
        more = len(shapes[0]) - len(fields[0].item)
        return BATCHES if more == 1 else ITEMS
    whole = [tuple(shape) for shape in inputs.values()]
    one = min(f.suits(shape) for f, shape in zip(fields, shapes, strict=True))
    several = 0
    if all(shapes):
        several = min(f.suits(s[1:]) for f, s in zip(fields, shapes, strict=True))
        if len({shape[0] for shape in shapes}) > 1:
            several = 0
    if shapes == whole:
        several = max(several, 1)
    if one == several == 0:
        raise ShapeError(_neither(fields, shapes))
    if one == several:
        raise ShapeError(
            f"arrays of shapes {_listed(shapes)} may be one item or a batch, for "
            f"inputs {_listed([f.item for f in fields])} an item; give batches of "
            f"more than one item, or items of exactly these shapes"
        )
    return ITEMS if one > several else BATCHES


def _neither(fields: Sequence[Field], shapes: Sequence[Shape]) -> str:
    pairs = list(zip(fields, shapes, strict=True))
    batch = all(len(shape) == len(f.item) + 1 for f, shape in pairs[:1])
    for field, shape in pairs:
        shape = shape[1:] if batch and shape else shape
        if not field.suits(shape):
            return f"the first {'batch' if batch else 'item'}: {field.wrong(shape)}"
    counts = ", ".join(f"{f.name!r} {s[0] if s else 'none'}" for f, s in pairs)
    return f"the first batch has different numbers of items: {counts}"


def _listed(shapes: Sequence[Shape]) -> str:
    return " and ".join(map(str, shapes))


@dataclass(frozen=True)
class _Read:
    """What was read for a batch: `found` are its items, or its arrays.

    index: its number in the pass. start: the number of its first item in the pass, and
    number: since the start.
    """

    batch: int
    index: int
    start: int
    number: int
    found: Any


class StreamBatches(Dataset):
    """Batches of what a stream yields, items or whole batches.

    An epoch is a pass over the stream. Going back, or on to a batch that is further
    ahead, reads it from the start and drops what is not wanted.
    """

    def __init__(
        self,
        fields: Sequence[Field],
        stream: Stream,
        split: Split,
        inputs: Mapping[str, Sequence[int]],
        size: int,
        *,
        transform: Transforming | None,
        labels: Mapping[str, Labels],
    ) -> None:
        self._fields, self._stream, self._split = tuple(fields), stream, split
        self._size, self._transform = size, transform
        self._check = BatchCheck([f.name for f in fields], labels)
        self.names = tuple(field.name for field in fields)
        self._iterator: Iterator[Any] = stream.begin(0)
        self._epoch = self._at = self._items = 0  # where the iterator is
        try:
            self._first: Any = next(self._iterator)
        except StopIteration:
            raise SpecError("the data have no items") from None
        self._has_first = self._got = True
        self._last: _Read | None = None  # may be asked for once more
        values = split(self._first)
        self.kind = kind_of(fields, values, inputs, transformed=transform is not None)
        self.shapes = tuple((size, *field.item) for field in fields)
        if self.kind == BATCHES:
            self.shapes = usual_shapes(fields, values)
        self._whole = Whole(self._fields, self.shapes, transform, labels)
        if stream.length is not None:
            self.batches = stream.length
            if self.kind == ITEMS:
                self.items = stream.length
                self.batches = -(-stream.length // size)

    @property
    def again(self) -> bool:
        """Whether the data can be read more than once."""
        return self._stream.again

    def expect(self, labels: Mapping[str, Labels]) -> None:
        """Check labels from now on."""
        self._check.expect(labels)
        self._whole.expect(labels)

    def read_sized(self, batch: int, place: Place) -> Arrays:
        """Write batch number `batch` into arrays that `place` gives; return them.

        Raises `StreamEndedError` at the end of what can be read once.
        """
        if self._last is not None and self._last.batch == batch:
            return self._write(self._last, place)
        epoch, index = 0, batch
        if self.batches is not None:
            epoch, index = divmod(batch, self.batches)
        if (epoch, index) < (self._epoch, self._at):
            self._begin(epoch)
        while (self._epoch, self._at) < (epoch, index):
            if self.batches is not None and self._epoch < epoch and self._stream.again:
                self._begin(epoch)
                continue
            if self._next() is None:
                self._end()
                return self.read_sized(batch, place)
        found = self._next()
        if found is None:
            self._end()
            return self.read_sized(batch, place)
        count = len(found[0]) if self.kind == BATCHES else len(found)
        start = self._items - count
        number = self._epoch * (self.batches or 0) * self.shapes[0][0] + start
        self._last = _Read(batch, self._at - 1, start, number, found)
        return self._write(self._last, place)

    def _begin(self, epoch: int) -> None:
        if not self._stream.again:
            raise SpecError(
                "a generator cannot go back to an earlier batch; give a function that "
                "returns one, so that the run can begin anew"
            )
        self._iterator, self._has_first = self._stream.begin(epoch), False
        self._epoch, self._at, self._items = epoch, 0, 0
        self._got = False  # whether anything was read since

    def _end(self) -> None:
        """Note the length of the pass that ended; go to the next one."""
        if not self._got:
            raise SpecError(
                f"the data have no items in epoch {self._epoch}; does the function "
                f"return a new generator each time?"
            )
        other = self.batches is not None and self._at != self.batches
        if other and self._stream.again:
            warn_user(
                f"the data had {self._at} batches in epoch {self._epoch}, but "
                f"{self.batches} were expected; the rest of it comes from their start",
                SpecWarning,
            )
        if self.batches is None:
            self.batches = self._at
            if self.kind == ITEMS or self._items:
                self.items = self._items
        if not self._stream.again:
            raise StreamEndedError(self._at)
        at, epoch = self._at, self._epoch
        if at < self.batches:  # a pass that was too short goes on with another one
            self._begin(epoch)
            self._at = at
        else:
            self._begin(epoch + 1)

    def _next(self) -> Any:
        """Return what the next batch is made of, or None at the end of the pass."""
        if self.kind == BATCHES:
            found = self._take(1)
            if not found:
                return None
            values = item_of(self._fields, self._split(found[0]), self._at)
            self._at += 1
            self._items += len(values[0])
            return values
        found = self._take(self._size)
        if not found:
            return None
        start = self._items
        items = [
            item_of(self._fields, self._split(one), start + place)
            for place, one in enumerate(found)
        ]
        self._at += 1
        self._items += len(items)
        return items

    def _take(self, count: int) -> list[Any]:
        found = []
        if self._has_first and self._at == 0:
            found.append(self._first)
            self._has_first, self._first = False, None
        while len(found) < count:
            try:
                found.append(next(self._iterator))
            except StopIteration:
                break
            self._got = True
        return found

    def _write(self, read: _Read, place: Place) -> Arrays:
        found, start = read.found, read.start
        if self.kind == BATCHES:
            where = {"batch": read.index, "start": start, "number": read.number}
            return self._whole.write(found, place, **where)
        out = place([(len(found), *field.item) for field in self._fields])
        if self._transform is None:
            for row, item in enumerate(found):
                put(self._fields, item, out, row, start + row)
        else:
            first, prepare = read.number, self._transform.prepare
            items = [prepare(item, first + n) for n, item in enumerate(found)]
            self._transform.batch(items, first, out)
        self._check(out, range(start, start + len(found)))
        return out
