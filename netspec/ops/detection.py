"""Permute of the SSD fork: the axes in another order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from netspec.errors import SpecError
from netspec.ops.base import NoReadOp, Shape, infers, label
from netspec.schema import LayerParameter


@dataclass(frozen=True, kw_only=True)
class Permute(NoReadOp):
    """The axes in another order: axis i of the top is axis order[i] of the bottom."""

    type: ClassVar[str] = "Permute"
    order: tuple[int, ...]


@infers("Permute")
def permute(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> Permute:
    """Read a Permute layer."""
    given, x = tuple(layer.permute_param.order), bottoms[0]
    if len(set(given)) != len(given) or any(axis >= len(x) for axis in given):
        raise SpecError(
            f"permute_param.order is {given}; expected different axes from 0 to "
            f"{len(x) - 1} of the input {x}",
            layer=label(layer),
        )
    order = given + tuple(axis for axis in range(len(x)) if axis not in given)
    top = tuple(x[axis] for axis in order)
    return Permute(layer=layer, bottoms=bottoms, tops=(top,), order=order)
