"""Batches that come whole, by number."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from netspec.errors import ShapeError
from netspec.ops.base import Shape
from runtime.data.given.base import Dataset, Item
from runtime.data.given.field import Field
from runtime.data.given.items import item_of
from runtime.data.given.transforming import Transforming
from runtime.data.given.values import BatchCheck, Labels
from runtime.data.order import Order
from runtime.data.source import Arrays, Place

Split = Callable[[Any], Sequence[Any]]  # from what was given to one array a field


class Whole:
    """Writes batches that came whole into arrays, transformed item by item if need be.

    shapes: of the batches that are usual.
    """

    def __init__(
        self,
        fields: Sequence[Field],
        shapes: Sequence[Shape],
        transform: Transforming | None,
        labels: Mapping[str, Labels],
    ) -> None:
        self._fields, self._shapes, self._transform = fields, list(shapes), transform
        self._check = BatchCheck([field.name for field in fields], labels)

    def write(
        self, values: Item, place: Place, *, batch: int, start: int, number: int
    ) -> Arrays:
        """Write the arrays of a batch.

        batch: its number, and start: that of its first item, as messages say them.
        number: of its first item since the start, for what is random.
        """
        if self._transform is None:
            out = place(self._shapes_of(values, batch))
            for array, target in zip(values, out, strict=True):
                with np.errstate(over="ignore"):  # what is infinite then is told of
                    np.copyto(target, array.reshape(target.shape), casting="unsafe")
        else:
            self._counts([np.shape(array) for array in values], batch)
            items = list(zip(*values, strict=True))
            out = place([(len(items), *field.item) for field in self._fields])
            prepare = self._transform.prepare
            made = [prepare(item, number + n) for n, item in enumerate(items)]
            self._transform.batch(made, number, out)
        self._check(out, range(start, start + max(len(array) for array in out)))
        return out

    def expect(self, labels: Mapping[str, Labels]) -> None:
        """Check labels from now on."""
        self._check.expect(labels)

    def _shapes_of(self, values: Item, batch: int) -> list[Shape]:
        given = [tuple(array.shape) for array in values]
        if given == self._shapes:
            return given
        for field, shape in zip(self._fields, given, strict=True):
            if not shape:
                raise ShapeError(
                    f"batch {batch} of the data: {field.name!r} is one number"
                )
            field.check(shape[1:], f"batch {batch} of the data")
        self._counts(given, batch)
        return [
            (shape[0], *field.item)
            for field, shape in zip(self._fields, given, strict=True)
        ]

    def _counts(self, shapes: Sequence[Shape], batch: int) -> None:
        if len({shape[:1] for shape in shapes}) > 1:
            pairs = zip(self._fields, shapes, strict=True)
            said = ", ".join(f"{field.name!r} {shape}" for field, shape in pairs)
            raise ShapeError(
                f"batch {batch} of the data has different numbers of items: {said}"
            )
        if not shapes[0] or not shapes[0][0]:
            raise ShapeError(f"batch {batch} of the data has no items")


def usual_shapes(fields: Sequence[Field], values: Sequence[Any]) -> tuple[Shape, ...]:
    """Return the shapes that the arrays of a batch get in the net."""
    return tuple(
        (np.shape(value)[0], *field.item)
        for field, value in zip(fields, values, strict=True)
    )


class WholeBatches(Dataset):
    """Batches of an object that gives them whole, by number.

    With `shuffle` the batches come in another order in every epoch, their items do not.
    """

    def __init__(
        self,
        fields: Sequence[Field],
        data: Any,
        split: Split,
        *,
        shuffle: bool,
        seed: int,
        transform: Transforming | None,
        labels: Mapping[str, Labels],
    ) -> None:
        self._fields, self._data, self._split = tuple(fields), data, split
        self.names = tuple(field.name for field in fields)
        self.shapes = usual_shapes(fields, split(data[0]))
        self.batches = len(data)
        self._order = Order(seed, self.names[0], self.batches, shuffle=shuffle)
        self._whole = Whole(fields, self.shapes, transform, labels)

    def expect(self, labels: Mapping[str, Labels]) -> None:
        """Check labels from now on."""
        self._whole.expect(labels)

    def read_sized(self, batch: int, place: Place) -> Arrays:
        """Write batch number `batch` into arrays that `place` gives; return them."""
        index = self._order.item(batch)
        try:
            found = self._data[index]
        except Exception as error:
            error.add_note(f"raised by batch {index} of the data")
            raise
        size = self.shapes[0][0]
        values = item_of(self._fields, self._split(found), index)
        number, start = batch * size, index * size
        return self._whole.write(values, place, batch=index, start=start, number=number)
