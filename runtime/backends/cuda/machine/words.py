"""Numbers that change from run to run, in the memory of the device.

What a launch is given by value is baked into a captured graph, so learning rates and
the keys of dropout lie in memory, and a launch ahead of the graph sets them: its own
arguments are copied by the driver, so that the host need not wait for the device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from runtime.arrays import Array
from runtime.backends.cuda.machine.device import Device
from runtime.backends.cuda.machine.launch import Call, CudaKernel, Launch

MOST = 8  # words of one launch

_SET = CudaKernel("fill.cu", "set_words")


class Words(Call):
    """Up to eight 32-bit words of the device that are set anew before every run.

    values: returns them, floats (as float32) or whole numbers (modulo 2^32).
    """

    outside = True

    def __init__(
        self, device: Device, count: int, values: Callable[[], Sequence[float | int]]
    ) -> None:
        if not 0 < count <= MOST:
            raise ValueError(f"1 to {MOST} words can be set at once, got {count}")
        self._values, self._count = values, count
        self.array: Array = device.zeros((count,), "uint32")
        self._launch = Launch(
            device, _SET, (1,), (1,), (self.array, count, *(0,) * MOST)
        )
        self._set = device.launcher(self._launch)

    def __call__(self) -> None:
        """Compute the words and bring them to the device."""
        words = [_bits(value) for value in self._values()]
        self._set((self.array, self._count, *words, *(0,) * (MOST - len(words))))


def _bits(value: float | int) -> int:
    if isinstance(value, float | np.floating):
        return int(np.float32(value).view(np.uint32))
    return int(value) & 0xFFFFFFFF
