"""The CPU backend: the portable kernels on NumPy."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from runtime.backends.base import Backend


class NumpyBackend(Backend):
    """Arrays in main memory; device and host arrays are the same."""

    name: ClassVar[str] = "numpy"

    def __init__(self) -> None:
        super().__init__(np)
