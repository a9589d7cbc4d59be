"""ReLU, ReLU6 and ReLUX: shapes pass through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from netspec.errors import SpecError
from netspec.ops.base import FromOutputOp, Op, Shape, infers, label, stands_for
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


stands_for(ReLU6, "ReLUX")


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
    return _bounded(layer, bottoms, param.negative_slope, "n", param.n)


@infers("ReLUX")
def relux(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> ReLU6:
    """Read a ReLUX layer, a ReLU6 whose largest value is `maximal_value`."""
    param = layer.relux_param
    largest = param.maximal_value
    return _bounded(layer, bottoms, param.negative_slope, "maximal_value", largest)


def _bounded(
    layer: LayerParameter,
    bottoms: tuple[Shape, ...],
    slope: float,
    field: str,
    largest: float,
) -> ReLU6:
    if not slope >= 0:
        raise SpecError(
            f"negative_slope is {slope:g}; expected at least 0", layer=label(layer)
        )
    if not largest > 0:
        raise SpecError(
            f"{field}, the largest value, is {largest:g}; expected more than 0",
            layer=label(layer),
        )
    return ReLU6(
        layer=layer, bottoms=bottoms, tops=bottoms, negative_slope=slope, n=largest
    )
