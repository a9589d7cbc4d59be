"""`Array`, and `ArraySpec`: shape, type and lifetime of an array a kernel wants."""

from __future__ import annotations

from collections.abc import Callable, Hashable
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

    content: tells what a "state" holds. Where it is equal, and not None, the plans that
    a net has for several shapes use one array: what the steps of any of them leave
    there is what the others would.
    """

    shape: Shape
    dtype: str | None = None
    life: Literal["scratch", "saved", "state"] = "scratch"
    content: Hashable = None


def once(make: Callable[[Array], Array], *arrays: Array | None) -> list[Any]:
    """Return `make` of each array, and one result for arrays that are one object.

    Views of a layer's input and output must be one object where the layer runs in
    place: an input that shares memory with the output and is another object is copied
    by CuPy, whole, ahead of the arithmetic. None stays None.
    """
    made = {id(array): make(array) for array in arrays if array is not None}
    return [None if array is None else made[id(array)] for array in arrays]


def views(shape: Shape, *arrays: Array | None) -> list[Any]:
    """Return arrays under another shape, made by `once`."""
    return once(lambda array: array.reshape(shape), *arrays)
