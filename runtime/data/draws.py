"""The random numbers of one item of a data layer, one after the other.

They follow from the seed, the name of the layer and the number of the item since the
start, so that an item is the same whenever it is read.
"""

from __future__ import annotations

import numpy as np

from runtime.counter_random import hash_bits, stream_keys

UNIT = 2.0**-32  # of 32 random bits, as a number in [0, 1)
BLOCK = 64  # numbers that are made at once
FIRST_STREAM = 16  # what is drawn otherwise has streams below it


class Draws:
    """A stream of random numbers; `stream` tells apart those of one item."""

    def __init__(self, seed: int, name: str, item: int, stream: int = 1) -> None:
        self._keys = stream_keys(seed, name, item, FIRST_STREAM + stream)
        self._made = np.empty(0, np.uint32)
        self._at = 0

    def words(self, count: int) -> np.ndarray:
        """Return the next `count` words of 32 random bits."""
        if self._at + count > self._made.size:
            size = self._at + max(count, BLOCK)
            words = np.arange(size, dtype=np.uint32)
            hash_bits(np, words, self._keys, np.empty_like(words))
            self._made = words
        chosen = self._made[self._at : self._at + count]
        self._at += count
        return chosen

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """Return a number in [low, high), or `low` where they are equal."""
        return low + (high - low) * float(self.words(1)[0]) * UNIT

    def uniforms(self, *shape: int) -> np.ndarray:
        """Return numbers in [0, 1), float64, of a shape."""
        return self.words(int(np.prod(shape))).reshape(shape) * UNIT

    def below(self, count: int) -> int:
        """Return a whole number from 0 to `count` - 1."""
        return int(self.words(1)[0]) % count
