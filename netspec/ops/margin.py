"""MarginInnerProduct and LargeMarginInnerProduct: the label's angle made larger."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from netspec.errors import ShapeError, SpecError
from netspec.ops.base import (
    Op,
    ParamDef,
    Range,
    Shape,
    bottom_name,
    canonical_axis,
    count,
    filler,
    infers,
    label,
    numbers_below,
    stands_for,
)
from netspec.schema import (
    LargeMarginInnerProductParameter,
    LayerParameter,
    MarginInnerProductParameter,
)


@dataclass(frozen=True, kw_only=True)
class MarginInnerProduct(Op):
    """y = |x| |w| cos(angle), for the label with psi(angle) in place of the cosine.

        psi(angle) = (-1)^k cos(m angle) - 2 k, angles from k pi / m to (k + 1) pi / m
        y[label] = |x| |w| (lambda cos(angle) + psi(angle)) / (1 + lambda)
        lambda = max(base (1 + gamma iteration)^-power, lambda_min)

    m is `margin`. With `unit_weights` (the type MarginInnerProduct) |w| is taken for 1.
    iteration is the option of this name plus the number of the pass, from 1. A second
    top holds lambda.

    Shapes: x (M..., K...), label (M values) -> y (M..., num_output); weights
    (num_output, K); a second top (1,).
    """

    type: ClassVar[str] = "MarginInnerProduct"
    num_output: int
    axis: int
    margin: int
    unit_weights: bool
    base: float
    gamma: float
    power: float
    iteration: int
    lambda_min: float

    @property
    def backward_bottoms(self) -> tuple[int, ...]:
        """Features; the kernel saves the labels."""
        return (0,)

    @property
    def gradient_bottoms(self) -> tuple[int, ...]:
        """The features."""
        return (0,)

    @property
    def refused_bottoms(self) -> tuple[int, ...]:
        """The labels."""
        return (1,)

    @property
    def ranges(self) -> Mapping[int, Range]:
        """Labels are classes."""
        return {1: numbers_below(self.num_output)}

    @property
    def unread_tops(self) -> tuple[int, ...]:
        """The second, lambda."""
        return (1,)


stands_for(MarginInnerProduct, "LargeMarginInnerProduct")


_FIELDS = {
    "MarginInnerProduct": "margin_inner_product_param",
    "LargeMarginInnerProduct": "largemargin_inner_product_param",
}


@infers("MarginInnerProduct", "LargeMarginInnerProduct")
def margin_inner_product(
    layer: LayerParameter, bottoms: tuple[Shape, ...]
) -> MarginInnerProduct:
    """Read a MarginInnerProduct or LargeMarginInnerProduct layer."""
    field = _FIELDS[layer.type]
    param: MarginInnerProductParameter | LargeMarginInnerProductParameter
    param = getattr(layer, field)
    axis = canonical_axis(layer, param.axis, len(bottoms[0]), "axis")
    rows, outputs = count(bottoms[0], 0, axis), param.num_output
    if outputs < 1:
        raise SpecError(
            f"{field}.num_output is {outputs}; give the number of classes, at least 1",
            layer=label(layer),
        )
    if count(bottoms[1]) != rows:
        raise ShapeError(
            f"{bottom_name(layer, 1)}, the labels, has shape {bottoms[1]}; expected "
            f"{rows} values, one for each row of {bottom_name(layer, 0)} {bottoms[0]}",
            layer=label(layer),
        )
    _check_schedule(layer, param, field)
    weights = (outputs, count(bottoms[0], axis))
    return MarginInnerProduct(
        layer=layer,
        bottoms=bottoms,
        tops=((*bottoms[0][:axis], outputs), (1,))[: max(1, len(layer.top))],
        params=(ParamDef(weights, filler(param, "weight_filler")),),
        macs=count(bottoms[0]) * outputs,
        num_output=outputs,
        axis=axis,
        margin=param.type + 1,
        unit_weights=layer.type == "MarginInnerProduct",
        base=param.base,
        gamma=param.gamma,
        power=param.power,
        iteration=param.iteration,
        lambda_min=param.lambda_min,
    )


def _check_schedule(
    layer: LayerParameter,
    param: MarginInnerProductParameter | LargeMarginInnerProductParameter,
    field: str,
) -> None:
    """Refuse what may make lambda negative, infinite or no number."""
    for name in ("base", "gamma", "power", "iteration", "lambda_min"):
        value = getattr(param, name)
        if not 0 <= value < math.inf:
            raise SpecError(
                f"{field}.{name} is {value:g}; expected a number of at least 0",
                layer=label(layer),
            )
