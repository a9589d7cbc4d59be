"""`Dataset`, batches by number, and `Rows`, items by number."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from netspec.ops.base import Shape
from runtime.data.source import Arrays, Place

Item: TypeAlias = tuple[np.ndarray, ...]  # one array for each input


class Dataset(ABC):
    """Batches for the inputs of a net, epoch after epoch without an end.

    names: the blobs that a batch fills, in order.
    shapes: of the arrays of a whole batch. The last batch of an epoch may be smaller.
    items, batches: of an epoch; None where nobody knows before it was read.
    varies: whether batches may have other shapes than `shapes`.
    """

    names: tuple[str, ...]
    shapes: tuple[Shape, ...]
    items: int | None = None
    batches: int | None = None
    varies: bool = True

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

    def close(self) -> None:  # noqa: B027
        """Close files and threads; without them nothing happens."""


class Rows(ABC):
    """Items by number, each an array for every input.

    costly: whether making an item takes so long that several threads pay.
    seen: the inputs whose values were all looked at already.
    """

    count: int
    costly: bool = False
    seen: frozenset[str] = frozenset()

    @abstractmethod
    def item(self, number: int) -> Item:
        """Return item `number`, as it lies: the arrays may be views of the data."""

    @abstractmethod
    def read(self, numbers: Sequence[int] | np.ndarray, out: Arrays) -> None:
        """Write items into the rows of `out`, float32."""

    def close(self) -> None:  # noqa: B027
        """Close files; without them nothing happens."""


class Part(Rows):
    """Some items of others, from `first` on."""

    def __init__(self, rows: Rows, first: int, count: int) -> None:
        self._rows, self._first = rows, first
        self.count, self.costly, self.seen = count, rows.costly, rows.seen

    def item(self, number: int) -> Item:
        """Return item `number` of the part."""
        return self._rows.item(self._first + number)

    def read(self, numbers: Sequence[int] | np.ndarray, out: Arrays) -> None:
        """Write items of the part."""
        if isinstance(numbers, range):
            start = self._first
            self._rows.read(range(start + numbers.start, start + numbers.stop), out)
        else:
            self._rows.read(np.asarray(numbers) + self._first, out)


def fresh(shapes: Sequence[Shape]) -> Arrays:
    """Return new arrays of these shapes."""
    return [np.empty(shape, np.float32) for shape in shapes]
