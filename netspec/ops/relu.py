"""ReLU: shapes pass through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from netspec.ops.base import FromOutputOp, Shape, infers
from netspec.schema import LayerParameter


@dataclass(frozen=True, kw_only=True)
class ReLU(FromOutputOp):
    """y = max(x, 0) + negative_slope * min(x, 0); the sign of y gives the gradient."""

    type: ClassVar[str] = "ReLU"
    keeps_sign: ClassVar[bool] = True
    reads_sign: ClassVar[bool] = True
    negative_slope: float


@infers("ReLU")
def relu(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> ReLU:
    """Read a ReLU layer."""
    return ReLU(
        layer=layer,
        bottoms=bottoms,
        tops=bottoms,
        negative_slope=layer.relu_param.negative_slope,
    )
