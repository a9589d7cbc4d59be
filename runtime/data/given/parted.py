"""Batches in parts, one after the other, for nets that take a part at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from netspec.errors import SpecError
from netspec.ops.base import Shape
from runtime.data.given.base import Dataset, fresh
from runtime.data.given.values import Labels
from runtime.data.source import Arrays, Place

KEPT = 16  # batches whose numbers of items are known, those that were read last


class Parted(Dataset):
    """A data set whose every batch comes as `parts` parts, as equal as can be.

    Part j of batch b is batch number b * parts + j. Where a batch has fewer items than
    there are parts, the last ones repeat an item, which counts nothing: see `factors`.
    """

    def __init__(self, dataset: Dataset, parts: int) -> None:
        self.dataset, self.parts = dataset, parts
        self.names, self.classes = dataset.names, dataset.classes
        self.shapes = self._sized(dataset.shapes, _share(self._items(), parts, 0))
        self.cheap = dataset.cheap
        self.varies = dataset.varies or self._items() % parts > 0
        self._read: tuple[int, Arrays] = (-1, ())
        self._buffer: Arrays = ()
        self._counts: dict[int, int] = {}

    def _items(self) -> int:
        return self.dataset.shapes[0][0]

    @property
    def items(self) -> int | None:  # type: ignore[override]
        """Of an epoch."""
        return self.dataset.items

    @property
    def batches(self) -> int | None:  # type: ignore[override]
        """How many parts an epoch has."""
        whole = self.dataset.batches
        return None if whole is None else whole * self.parts

    def factors(self, batch: int) -> tuple[float, float]:
        """Return what the losses of a part count in the mean over the parts.

        The first is for means over items, k n / N for n items of N in k parts, the
        second for sums over them, as `netspec.graph.dividing.summed` finds them.
        """
        number, part = divmod(batch, self.parts)
        count = self._counts.get(number, self._items())
        share = _share(count, self.parts, part)
        if share.start >= count:
            return 0.0, 0.0
        return self.parts * len(share) / count, 1.0

    def shapes_of(self, batch: int) -> tuple[Shape, ...]:
        """Return the shapes of a part."""
        number, part = divmod(batch, self.parts)
        whole = self.dataset.shapes_of(number)
        return self._sized(whole, self._part(number, whole, part))

    def read_sized(self, batch: int, place: Place) -> Arrays:
        """Write a part into arrays that `place` gives; return them."""
        number, part = divmod(batch, self.parts)
        if self._read[0] != number:
            self._read = (-1, ())
            self._read = (number, self.dataset.read_sized(number, self._place))
        whole = self._read[1]
        share = self._part(number, [array.shape for array in whole], part)
        out = place(self._sized([array.shape for array in whole], share))
        for array, target in zip(whole, out, strict=True):
            np.copyto(target, array[_rows(len(array), share)])
        return out

    def expect(self, labels: Mapping[str, Labels]) -> None:
        """Check labels from now on."""
        self.dataset.expect(labels)

    def close(self) -> None:
        """Close the data set."""
        self.dataset.close()

    def _place(self, shapes: Sequence[Shape]) -> Arrays:
        """Return room for a whole batch, the same as long as shapes are."""
        if [array.shape for array in self._buffer] != list(shapes):
            self._buffer = fresh(shapes)
        return self._buffer

    def _part(self, number: int, shapes: Sequence[Shape], part: int) -> range:
        """Return which items of a batch a part has; note how many those are of."""
        counts = {shape[0] for shape in shapes if shape}
        if len(counts) != 1 or not all(shapes):
            raise SpecError(
                f"the arrays of batch {number} have the shapes {list(shapes)}, without "
                f"the same number of items each, so that micro_batch cannot divide it"
            )
        count = counts.pop()
        self._counts[number] = count
        while len(self._counts) > KEPT:
            del self._counts[next(iter(self._counts))]
        return _share(count, self.parts, part)

    def _sized(self, shapes: Sequence[Shape], share: range) -> tuple[Shape, ...]:
        return tuple((max(1, len(share)), *shape[1:]) for shape in shapes)


def _share(count: int, parts: int, part: int) -> range:
    """Return which of `count` items a part has; an empty one begins at `count`."""
    each, more = divmod(count, parts)
    start = part * each + min(part, more)
    return range(start, start + each + (part < more))


def _rows(count: int, share: range) -> slice:
    """Return the items of a part; an empty one has the last of all."""
    return slice(share.start, share.stop) if share else slice(count - 1, count)
