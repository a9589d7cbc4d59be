"""Eltwise: several inputs of one shape to one output of that shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from netspec.errors import SpecError
from netspec.ops.base import Op, Shape, check_same, enum_name, infers, label
from netspec.schema import LayerParameter


@dataclass(frozen=True, kw_only=True)
class Eltwise(Op):
    """The sum (with coefficients), product or maximum of the inputs.

    `operation` is "SUM", "PROD" or "MAX"; `coeff` has a value for every bottom. The
    kernel saves which input was the maximum.
    """

    type: ClassVar[str] = "Eltwise"
    operation: str
    coeff: tuple[float, ...]
    stable_prod_grad: bool

    @property
    def backward_bottoms(self) -> tuple[int, ...]:
        """All inputs of a product."""
        return tuple(range(len(self.bottoms))) if self.operation == "PROD" else ()

    @property
    def backward_tops(self) -> tuple[int, ...]:
        """The output of a product whose gradient is dy y / x."""
        unstable = self.operation == "PROD" and not self.stable_prod_grad
        return (0,) if unstable else ()


@infers("Eltwise")
def eltwise(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> Eltwise:
    """Read an Eltwise layer."""
    param = layer.eltwise_param
    operation = enum_name(param, "operation")
    coeff = tuple(param.coeff)
    check_same(layer, bottoms)
    if coeff and operation == "PROD":
        raise SpecError(
            "coeff is for operation SUM; got PROD, so remove coeff", layer=label(layer)
        )
    if coeff and len(coeff) != len(bottoms):
        raise SpecError(
            f"coeff has {len(coeff)} values for {len(bottoms)} bottoms; give one for "
            f"each, or none",
            layer=label(layer),
        )
    return Eltwise(
        layer=layer,
        bottoms=bottoms,
        tops=bottoms[:1],
        operation=operation,
        coeff=coeff or (1.0,) * len(bottoms),
        stable_prod_grad=param.stable_prod_grad,
    )
