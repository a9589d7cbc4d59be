"""`Dataset`, batches by number, and `Rows`, items by number."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from threading import Lock
from typing import Any, TypeAlias

import numpy as np

from netspec.ops.base import Shape
from runtime.data.given.values import Labels, Numbers
from runtime.data.source import Arrays, Place

Item: TypeAlias = tuple[np.ndarray, ...]  # one array for each input


class Dataset(ABC):
    """Batches for the inputs of a net, epoch after epoch without an end.

    names: the blobs that a batch fills, in order.
    shapes: of the arrays of a whole batch. The last batch of an epoch may be smaller.
    items, batches: of an epoch; None where nobody knows before it was read.
    varies: whether batches may have other shapes than `shapes`.
    classes: the names of the classes, by label, where a folder gives them.
    cheap: whether a batch costs no more than a copy of it, from memory.
    """

    names: tuple[str, ...]
    shapes: tuple[Shape, ...]
    items: int | None = None
    batches: int | None = None
    varies: bool = True
    cheap: bool = False
    classes: tuple[str, ...] = ()

    def shapes_of(self, batch: int) -> tuple[Shape, ...]:
        """Return the shapes of a batch, where that needs no reading: if it is cheap."""
        raise NotImplementedError

    def batch(self, number: int) -> Sequence[np.ndarray]:
        """Return batch `number`, counted over all epochs from 0.

        What it holds follows from the data, the seed and the number alone.

        Shapes: float32, one array for each of `names`.

        Raises `SpecError` for values that no net can use, and what the data raise.
        """
        return self.read_sized(number, fresh)

    @abstractmethod
    def read_sized(self, batch: int, place: Place) -> Arrays:
        """Write batch number `batch` into arrays that `place` gives; return them."""

    def read(self, batch: int, out: Sequence[np.ndarray]) -> None:
        """Write batch number `batch` into the arrays `out`, which have its shapes."""
        self.read_sized(batch, lambda shapes: out)

    def expect(self, labels: Mapping[str, Labels]) -> None:
        """Check labels from now on: how many classes the inputs of these names have.

        Raises `SpecError` for labels that are no classes.
        """
        raise NotImplementedError

    def glance(self) -> list[Any]:
        """Return values, as JSON has them, that are alike for equal data.

        Only what is at hand is looked at: sizes, and some items that lie in memory.
        """
        shapes = [[int(size) for size in shape] for shape in self.shapes]
        return [self.items, self.batches, shapes]

    def close(self) -> None:  # noqa: B027
        """Close files and threads; without them nothing happens."""


class Later(Dataset):
    """A data set that begins with its first batch at batch number `after`."""

    def __init__(self, dataset: Dataset, after: int) -> None:
        self.dataset, self.after = dataset, after
        self.names, self.shapes = dataset.names, dataset.shapes
        self.varies, self.cheap = dataset.varies, dataset.cheap
        self.classes = dataset.classes

    @property
    def items(self) -> int | None:  # type: ignore[override]
        """Of an epoch."""
        return self.dataset.items

    @property
    def batches(self) -> int | None:  # type: ignore[override]
        """Of an epoch."""
        return self.dataset.batches

    def shapes_of(self, batch: int) -> tuple[Shape, ...]:
        """Return the shapes of a batch."""
        return self.dataset.shapes_of(batch - self.after)

    def read_sized(self, batch: int, place: Place) -> Arrays:
        """Write a batch into arrays that `place` gives; return them."""
        return self.dataset.read_sized(batch - self.after, place)

    def expect(self, labels: Mapping[str, Labels]) -> None:
        """Check labels from now on."""
        self.dataset.expect(labels)

    def glance(self) -> list[Any]:
        """Return values that are alike for equal data."""
        return self.dataset.glance()

    def close(self) -> None:
        """Close the data set."""
        self.dataset.close()


class Rows(ABC):
    """Items by number, each an array for every input.

    costly: whether making an item takes so long that several threads pay.
    seen: the inputs whose values were all looked at already.
    alone: whether one thread alone may ask for items at a time.
    in_memory: whether items are rows of arrays in memory.
    exact: whether float32 has all values that the first array may have.
    classes: the names of the classes, by label, where a folder gives them.
    """

    count: int
    classes: tuple[str, ...] = ()
    costly: bool = False
    seen: frozenset[str] = frozenset()
    alone: bool = False
    in_memory: bool = False
    exact: bool = False

    @abstractmethod
    def item(self, number: int) -> Item:
        """Return item `number`, as it lies: the arrays may be views of the data."""

    @abstractmethod
    def read(self, numbers: Numbers, out: Arrays) -> None:
        """Write items into the rows of `out`, float32."""

    def settle(self) -> None:  # noqa: B027
        """Check that items suit the inputs as they are, where they were not yet.

        Raises `ShapeError`.
        """

    def expect(self, labels: Mapping[str, Labels]) -> None:  # noqa: B027
        """Look at labels of which nobody knew before, by input, where that is cheap.

        Raises `SpecError` for labels that are no classes.
        """

    def close(self) -> None:  # noqa: B027
        """Close files; without them nothing happens."""


class Part(Rows):
    """Some items of others: those with these numbers.

    lock: of all parts of rows that one thread alone may read at a time.
    """

    def __init__(self, rows: Rows, numbers: np.ndarray, lock: Lock) -> None:
        self._rows, self._numbers = rows, numbers
        self._lock: Any = lock if rows.alone else nullcontext()
        self.count = len(numbers)
        self.costly, self.seen, self.alone = rows.costly, rows.seen, rows.alone
        self.in_memory, self.exact = rows.in_memory, rows.exact
        self.classes = rows.classes

    def item(self, number: int) -> Item:
        """Return item `number` of the part."""
        with self._lock:
            return self._rows.item(int(self._numbers[number]))

    def read(self, numbers: Numbers, out: Arrays) -> None:
        """Write items of the part."""
        if isinstance(numbers, range):
            numbers = slice(numbers.start, numbers.stop)  # type: ignore[assignment]
        with self._lock:
            self._rows.read(self._numbers[numbers], out)

    def settle(self) -> None:
        """Check that items suit the inputs."""
        self._rows.settle()

    def expect(self, labels: Mapping[str, Labels]) -> None:
        """Look at labels."""
        self._rows.expect(labels)

    def close(self) -> None:
        """Close what the items are of, for all its parts."""
        self._rows.close()


def fresh(shapes: Sequence[Shape]) -> Arrays:
    """Return new arrays of these shapes."""
    return [np.empty(shape, np.float32) for shape in shapes]
