"""Sizes: multiples, and from how much work on several threads pay."""

from __future__ import annotations

# Elements touched, below which waking other threads costs more than they save.
SERIAL_ELEMENTS = 1 << 14


def few(elements: int) -> bool:
    """Whether there are too few elements for more than one thread."""
    return elements < SERIAL_ELEMENTS


def round_up(number: int, step: int) -> int:
    """Return the next multiple of `step`."""
    return -(-number // step) * step
