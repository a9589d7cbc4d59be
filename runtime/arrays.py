"""`Array`, and `ArraySpec`: shape, type and lifetime of an array a kernel wants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from netspec.ops import Shape

Array: TypeAlias = Any  # an array of the backend's module


@dataclass(frozen=True)
class ArraySpec:
    """An array that a kernel wants beside its blobs and parameters.

    life: "scratch" lives within one step, "saved" from a node's forward to its
    backward, "state" as long as the plan. Contents are undefined at first, except that
    "state" starts as zeros. dtype None is the floating type of the net.
    """

    shape: Shape
    dtype: str | None = None
    life: Literal["scratch", "saved", "state"] = "scratch"
