"""A pool of one thread that does shares in an order in which threads might do them."""

from __future__ import annotations

import ctypes

import numpy as np

from runtime.backends.cpu.machine.thread_pool import Program, ThreadPool, shares

FUNCTION = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 4)


class ShuffledPool(ThreadPool):
    """Shares in random order, as random threads, of which each does some.

    Args:
        size: how many threads there seem to be.
        seed: of the order.
    """

    def __init__(self, size: int, seed: int = 0) -> None:
        super().__init__(size)
        self._rng = np.random.default_rng(seed)

    def _walk(self, program: Program) -> None:
        for call in program.calls:
            parts = 1 if call.serial else shares(call, self.size)
            function = FUNCTION(call.kernel.address)
            order = self._rng.permutation(parts)
            first = 0 if call.serial else int(self._rng.integers(self.size))
            for number, part in enumerate(order):
                thread = (first + number) % self.size
                function(call.record.ctypes.data, int(part), parts, thread)
