"""Items that are rows of arrays, in memory or in a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from netspec.errors import ShapeError, SpecError, SpecWarning
from netspec.notebooks import warn_user
from netspec.ops.base import count
from runtime.data.given.base import Item, Rows
from runtime.data.given.field import Field, as_numbers
from runtime.data.given.values import Labels, Numbers, check_array, check_labels
from runtime.data.source import Arrays

MAX_LOOKED, MAX_CLASSES = 10_000_000, 1000  # labels that are compared
EXPECTED = 10  # of a class; none of it by chance has the probability exp(-10)
LAZY = ("h5py", "zarr")  # modules of arrays that stay in their files


def is_lazy(value: Any) -> bool:
    """Say whether a value is an array whose values are read when they are used."""
    return type(value).__module__.partition(".")[0] in LAZY and hasattr(value, "shape")


def is_array(value: Any) -> bool:
    """Say whether a value is an array, of NumPy or what becomes one."""
    return isinstance(value, np.ndarray) or hasattr(value, "__array__")


def as_array(value: Any, name: str) -> Any:
    """Return a value as an array of real numbers.

    Raises `SpecError` for what is none.
    """
    if not is_lazy(value) and not isinstance(value, np.ndarray):
        try:
            value = np.asarray(value)
        except (ValueError, TypeError, RuntimeError) as error:
            raise SpecError(f"{name!r} does not become an array: {error}") from error
    return as_numbers(value, f"{name!r}")


class ArrayRows(Rows):
    """Rows of arrays with as many rows, one array for each input.

    The arrays are not copied: a batch is converted to float32 as it is made.

    transformed: whether items are transformed before they go to the net, so that
    their shapes need not suit it yet.

    Raises `ShapeError` for shapes that do not suit the inputs, or for different numbers
    of rows, `SpecError` for no rows, and for values that no net can use.
    """

    def __init__(
        self,
        fields: Sequence[Field],
        arrays: Sequence[Any],
        labels: Mapping[str, Labels],
        *,
        transformed: bool = False,
    ) -> None:
        _check_rows(fields, arrays)
        self.count = len(arrays[0])
        self._fields, self._arrays = fields, list(arrays)
        self.alone = any(map(is_lazy, arrays))
        self.in_memory = not any(map(_stays_on_disk, arrays))
        self.exact = arrays[0].dtype.itemsize <= 4
        seen = set()
        for field, values in zip(fields, arrays, strict=True):
            if _stays_on_disk(values):
                continue
            item_values = count(tuple(values.shape[1:]))
            check_array(field.name, values, labels.get(field.name), item_values)
            if values.dtype.kind != "f" or values.dtype.itemsize <= 4:
                seen.add(field.name)  # else float32 may have no such number
        self.seen = frozenset(seen)  # what need not be looked at again
        if not transformed:
            self.settle()

    def settle(self) -> None:
        """Give the arrays the axes of the inputs, or raise `ShapeError`."""
        for place, (field, values) in enumerate(
            zip(self._fields, self._arrays, strict=True)
        ):
            shape = tuple(values.shape[1:])
            field.check(shape, f"data for {field.name!r}, shape {tuple(values.shape)}")
            if not is_lazy(values):
                self._arrays[place] = values.reshape(len(values), *field.item)

    def expect(self, labels: Mapping[str, Labels]) -> None:
        """Look at labels in memory."""
        for field, values in zip(self._fields, self._arrays, strict=True):
            if field.name in labels and field.name in self.seen:
                check_labels(field.name, values, labels[field.name])

    def warn_of_missing(self, first: int) -> None:
        """Warn of labels that lie on one side of the first items alone, as if sorted.

        They are those that only the last items have, and those of which the last items,
        were they mixed, would have `EXPECTED` or more and have none.
        """
        for field, values in zip(self._fields, self._arrays, strict=True):
            if is_lazy(values) or values.size != self.count or self.count > MAX_LOOKED:
                continue
            flat = values.reshape(-1)
            before, counts = np.unique(flat[:first], return_counts=True)
            if values.dtype.kind not in "iu" or len(before) >= MAX_CLASSES:
                continue
            missing = np.setdiff1d(flat[first:], before)
            likely = counts * (self.count - first) >= EXPECTED * first
            untested = np.setdiff1d(before[likely], flat[first:])
            if len(missing):
                only = f"{missing[0]:g} in the last items only, which are for testing"
            elif len(untested):
                only = (
                    f"{untested[0]:g} in the first items only, which is trained and "
                    f"never tested: the last {self.count - first} are for testing"
                )
            else:
                continue
            warn_user(
                f"{field.name!r} has {only}; if the data are sorted, shuffle them "
                f"first",
                SpecWarning,
            )

    def item(self, number: int) -> Item:
        """Return row `number` of every array."""
        return tuple(np.asarray(values[number]) for values in self._arrays)

    def read(self, numbers: Numbers, out: Arrays) -> None:
        """Write rows into `out`."""
        for values, target in zip(self._arrays, out, strict=True):
            if isinstance(numbers, range):
                rows = values[numbers.start : numbers.stop]
                np.copyto(target, rows.reshape(target.shape), casting="unsafe")
            elif is_lazy(values):
                order = np.argsort(numbers)  # h5py takes rows in ascending order only
                rows = np.asarray(values[np.asarray(numbers)[order]])
                target[order] = rows.reshape(target.shape)
            elif values.dtype == np.float32:
                np.take(values, numbers, axis=0, out=target, mode="clip")
            else:
                np.copyto(target, values[numbers], casting="unsafe")


def _stays_on_disk(values: Any) -> bool:
    return is_lazy(values) or isinstance(values, np.memmap)


def _check_rows(fields: Sequence[Field], arrays: Sequence[Any]) -> None:
    for field, values in zip(fields, arrays, strict=True):
        if not values.shape:
            raise ShapeError(
                f"data for {field.name!r} is one number; expected an array with the "
                f"items along its first axis"
            )
    counts = {f.name: len(a) for f, a in zip(fields, arrays, strict=True)}
    if len(set(counts.values())) > 1:
        said = ", ".join(f"{name!r} {number}" for name, number in counts.items())
        raise ShapeError(
            f"the data have different numbers of items: {said}; the first axis of "
            f"every array counts them"
        )
    if not min(counts.values()):
        raise SpecError("the data have no items")
