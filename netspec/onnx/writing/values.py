"""What an ONNX model is made of before anything in it has a name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(eq=False)
class Value:
    """An array of the model: an input, a constant, or what a piece computes.

    hint: its name, unless a blob's is better. array: what a constant holds.
    """

    hint: str
    array: np.ndarray | None = None
    is_input: bool = False
    name: str = ""


@dataclass(eq=False)
class Piece:
    """One ONNX node.

    layer: the number of the layer that it is a part of. taken_in: those of layers that
    it does the work of as well.
    """

    kind: str
    inputs: Sequence[Value | None]
    outputs: Sequence[Value]
    attributes: dict[str, Any]
    layer: int
    name: str = ""
    taken_in: list[int] = field(default_factory=list)


@dataclass(eq=False)
class Body:
    """The graph that a Scan runs for every step; it may read values outside."""

    inputs: list[Value] = field(default_factory=list)
    outputs: list[Value] = field(default_factory=list)
    pieces: list[Piece] = field(default_factory=list)
