"""Functions that tests compile."""

from __future__ import annotations

from functools import cached_property

from runtime.backends.cpu.machine.compiled import Compiled
from runtime.backends.cpu.machine.objects import load, make


class Made(Compiled):
    """A function that is compiled where it is needed, and not kept."""

    @cached_property
    def address(self) -> int:
        """The address of its code."""
        return load(make(self.function, self.kinds()))
