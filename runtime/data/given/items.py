"""Items of an object with `__len__` and `__getitem__`, as PyTorch's data sets are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from netspec.errors import SpecError
from runtime.data.given.base import Item, Rows
from runtime.data.given.field import Field, as_numbers
from runtime.data.given.values import Numbers
from runtime.data.source import Arrays


class MapRows(Rows):
    """Items that an object gives by number: arrays, tuples of them, or dicts."""

    costly = True

    def __init__(
        self,
        fields: Sequence[Field],
        data: Any,
        split: Callable[[Any], Sequence[Any]],
        *,
        transformed: bool,
    ) -> None:
        self._fields, self._data, self._split = fields, data, split
        self._transformed = transformed
        self.count = len(data)
        if not self.count:
            raise SpecError("the data have no items")

    def item(self, number: int) -> Item:
        """Return item `number`; what the object raises says which one it was."""
        try:
            found = self._data[number]
        except Exception as error:
            error.add_note(f"raised by item {number} of the data")
            raise
        return item_of(self._fields, self._split(found), number)

    def read(self, numbers: Numbers, out: Arrays) -> None:
        """Write items into `out`, one by one."""
        for place, number in enumerate(numbers):
            put(self._fields, self.item(int(number)), out, place, int(number))


def item_of(fields: Sequence[Field], values: Sequence[Any], number: int) -> Item:
    """Return the arrays of an item; raises `SpecError` for what is no number."""
    arrays = []
    for field, value in zip(fields, values, strict=True):
        array = np.asarray(value)
        arrays.append(as_numbers(array, f"{field.name!r} of item {number}"))
    return tuple(arrays)


def put(
    fields: Sequence[Field], item: Item, out: Arrays, place: int, number: int
) -> None:
    """Write the arrays of item `number` into row `place` of a batch."""
    for field, values, target in zip(fields, item, out, strict=True):
        if values.shape != field.item:
            field.check(values.shape, f"item {number} of the data")
            values = values.reshape(field.item)
        with np.errstate(over="ignore"):  # what is infinite then is told of
            target[place] = values
