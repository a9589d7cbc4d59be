"""Layers that forks compute otherwise, where nothing in a file tells which is meant."""

from __future__ import annotations

from netspec.errors import SpecWarning
from netspec.notebooks import warn_user
from netspec.ops.base import label
from netspec.schema import LayerParameter
from netspec.schema.in_force import fork


def assume(layer: LayerParameter, message: str) -> None:
    """Warn of what a layer is taken for, unless a fork in force tells.

    message: what is computed, and how to say what is meant.
    """
    if fork() is None:
        warn_user(f"{label(layer)}: {message}", SpecWarning)
