"""ReLU: shapes pass through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from netspec.ops.base import Op, Shape, infers
from netspec.schema import LayerParameter


@dataclass(frozen=True, kw_only=True)
class ReLU(Op):
    """y = max(x, 0) + negative_slope * min(x, 0)."""

    type: ClassVar[str] = "ReLU"
    negative_slope: float

    @property
    def backward_bottoms(self) -> tuple[int, ...]:
        """None: the sign of the output decides."""
        return ()

    @property
    def backward_tops(self) -> tuple[int, ...]:
        """The output."""
        return (0,)


@infers("ReLU")
def relu(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> ReLU:
    """Read a ReLU layer."""
    return ReLU(
        layer=layer,
        bottoms=bottoms,
        tops=bottoms,
        negative_slope=layer.relu_param.negative_slope,
    )
