"""ReLU: shapes pass through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from netspec.ops.base import Op, Shape, infers
from netspec.schema import LayerParameter


@dataclass(frozen=True, kw_only=True)
class ReLU(Op):
    """y = max(x, 0) + negative_slope * min(x, 0).

    The sign of y gives the gradient, unless negative_slope is below 0: then y is
    positive on both sides, and x must be read.
    """

    type: ClassVar[str] = "ReLU"
    in_place: ClassVar[bool] = True
    negative_slope: float

    @property
    def keeps_sign(self) -> bool:
        """Whether y has the sign of x, or is 0."""
        return self.negative_slope >= 0

    @property
    def reads_sign(self) -> bool:
        """Whether the sign of y is all that the gradient reads."""
        return self.keeps_sign

    @property
    def backward_bottoms(self) -> tuple[int, ...]:
        """The input, where the output does not tell its sign."""
        return () if self.keeps_sign else (0,)

    @property
    def backward_tops(self) -> tuple[int, ...]:
        """The output, where it has the sign of the input."""
        return (0,) if self.keeps_sign else ()


@infers("ReLU")
def relu(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> ReLU:
    """Read a ReLU layer."""
    return ReLU(
        layer=layer,
        bottoms=bottoms,
        tops=bottoms,
        negative_slope=layer.relu_param.negative_slope,
    )
