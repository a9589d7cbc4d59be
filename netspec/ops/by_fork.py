"""The fork in force, where layers of one type compute other things in other forks."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

from netspec.errors import SpecWarning
from netspec.ops.base import label
from netspec.schema import LayerParameter


@dataclass
class _Force:
    word: str | None = None


_force = _Force()


def fork() -> str | None:
    """Return the word of the fork in force, or None where none was chosen."""
    return _force.word


def set_fork(word: str | None) -> None:
    """Put a fork in force; `netspec.forks.use` does."""
    _force.word = word


def assume(layer: LayerParameter, message: str) -> None:
    """Warn of a layer that forks compute otherwise, where nothing tells which is meant.

    message: what is computed, and how to say what is meant. A fork in force has told.
    """
    if _force.word is None:
        warnings.warn(f"{label(layer)}: {message}", SpecWarning, stacklevel=3)
