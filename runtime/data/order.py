"""The order of the items of a list, epoch by epoch."""

from __future__ import annotations

import zlib

import numpy as np


class Order:
    """The numbers of `count` items over and over, or shuffled anew in every epoch.

    What an epoch has follows from the seed, the name of the layer and its number.
    """

    def __init__(self, seed: int, name: str, count: int, *, shuffle: bool) -> None:
        self._key = (seed, zlib.crc32(name.encode()))
        self._count, self._shuffle = count, shuffle
        self._epoch = -1
        self._numbers = np.arange(count)

    def item(self, number: int) -> int:
        """Return which item of the list is number `number` since the start."""
        epoch, place = divmod(number, self._count)
        if self._shuffle and epoch != self._epoch:
            self._numbers = np.arange(self._count)
            np.random.default_rng([*self._key, epoch]).shuffle(self._numbers)
            self._epoch = epoch
        return int(self._numbers[place])

    def of(self, epoch: int) -> np.ndarray:
        """Return the numbers of an epoch, in its order; valid until the next call."""
        self.item(epoch * self._count)
        return self._numbers
