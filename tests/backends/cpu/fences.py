"""Arrays between fences: bytes that no kernel may write to."""

from __future__ import annotations

import math
import weakref
from collections.abc import Sequence

import numpy as np

from runtime.backends.cpu import CpuBackend

FENCE_BYTES = 4096  # on either side of an array; a multiple of a line of the cache
MARK = 0xA5


class FencedBackend(CpuBackend):
    """The CPU, with every array between two fences.

    Args:
        threads: how many run compiled kernels.
        fence_bytes: the length of a fence.
    """

    def __init__(self, threads: int, fence_bytes: int = FENCE_BYTES) -> None:
        super().__init__(threads)
        self.fence_bytes = fence_bytes
        self._fenced: list[weakref.ref[np.ndarray]] = []

    def zeros(self, shape: Sequence[int], dtype: str) -> np.ndarray:
        """Return a new array of zeros that ends where a fence begins."""
        nbytes = math.prod(shape) * np.dtype(dtype).itemsize
        memory = np.full(nbytes + 2 * self.fence_bytes, MARK, np.uint8)
        self._fenced.append(weakref.ref(memory))
        inside = memory[self.fence_bytes : self.fence_bytes + nbytes]
        inside[...] = 0
        return inside.view(dtype).reshape(tuple(shape))

    def check_fences(self) -> None:
        """Say which bytes were written to beside an array, of those that are left."""
        size = self.fence_bytes
        kept = [(one, memory) for one in self._fenced if (memory := one()) is not None]
        self._fenced = [one for one, _ in kept]
        for _, memory in kept:
            for fence, start in ((memory[:size], -size), (memory[-size:], 0)):
                written = np.flatnonzero(fence != MARK)
                assert not written.size, (
                    f"a kernel wrote {written.size} bytes beside an array of "
                    f"{memory.size - 2 * size}, from {start + written[0]:+d} of its "
                    f"{'start' if start else 'end'} on"
                )
