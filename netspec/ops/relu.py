"""ReLU and ReLU6: shapes pass through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from netspec.errors import SpecError
from netspec.ops.base import FromOutputOp, Op, Shape, infers, label
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


@dataclass(frozen=True, kw_only=True)
class ReLU6(FromOutputOp):
    """y = min(max(x, 0) + negative_slope min(x, 0), n), n being 6; right from y."""

    type: ClassVar[str] = "ReLU6"
    negative_slope: float
    n: float

    @property
    def keeps_sign(self) -> bool:
        """Yes: a slope is not below 0."""
        return True


@infers("ReLU")
def relu(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> ReLU:
    """Read a ReLU layer."""
    return ReLU(
        layer=layer,
        bottoms=bottoms,
        tops=bottoms,
        negative_slope=layer.relu_param.negative_slope,
    )


@infers("ReLU6")
def relu6(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> ReLU6:
    """Read a ReLU6 layer."""
    param = layer.relu6_param
    if param.negative_slope < 0:
        raise SpecError(
            f"negative_slope is {param.negative_slope:g}; expected at least 0",
            layer=label(layer),
        )
    if not param.n > 0:
        raise SpecError(
            f"n, the largest value, is {param.n:g}; expected more than 0",
            layer=label(layer),
        )
    return ReLU6(
        layer=layer,
        bottoms=bottoms,
        tops=bottoms,
        negative_slope=param.negative_slope,
        n=param.n,
    )
