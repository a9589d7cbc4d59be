"""Several files of arrays as one, one after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from runtime.data.given.base import Item, Rows
from runtime.data.given.values import Labels, Numbers
from runtime.data.source import Arrays


class SeveralRows(Rows):
    """The items of some rows, then those of the next.

    parts: with items for the same inputs.
    """

    def __init__(self, parts: Sequence[Rows]) -> None:
        self._parts = parts
        self._ends = np.cumsum([part.count for part in parts])
        self.count = int(self._ends[-1])
        self.alone = any(part.alone for part in parts)
        self.costly = any(part.costly for part in parts)
        self.seen = frozenset.intersection(*(part.seen for part in parts))

    def _begin(self, part: int) -> int:
        return int(self._ends[part]) - self._parts[part].count

    def item(self, number: int) -> Item:
        """Return item `number` of all."""
        part = int(np.searchsorted(self._ends, number, side="right"))
        return self._parts[part].item(number - self._begin(part))

    def read(self, numbers: Numbers, out: Arrays) -> None:
        """Write items, whichever part has them."""
        every = np.asarray(numbers)
        owners = np.searchsorted(self._ends, every, side="right")
        for part in map(int, np.unique(owners)):
            places = np.flatnonzero(owners == part)
            own = every[places] - self._begin(part)
            first, last = int(places[0]), int(places[-1]) + 1
            if last - first == len(places):
                self._parts[part].read(own, [one[first:last] for one in out])
                continue
            found = [np.empty((len(places), *one.shape[1:]), one.dtype) for one in out]
            self._parts[part].read(own, found)
            for target, values in zip(out, found, strict=True):
                target[places] = values

    def settle(self) -> None:
        """Check that items suit the inputs."""
        for part in self._parts:
            part.settle()

    def expect(self, labels: Mapping[str, Labels]) -> None:
        """Look at labels."""
        for part in self._parts:
            part.expect(labels)

    def close(self) -> None:
        """Close all files."""
        for part in self._parts:
            part.close()
