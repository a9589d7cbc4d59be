"""The portable kernels on NumPy."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from runtime.backends.base import Backend


class PortableBackend(Backend):
    """Arrays in main memory, and the kernels that every backend has."""

    name: ClassVar[str] = "portable"

    def __init__(self) -> None:
        super().__init__(np)
