"""Normalize of the SSD fork: vectors of channels to one length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from netspec.errors import ShapeError, SpecError
from netspec.ops.base import Op, ParamDef, Shape, filler, infers, label
from netspec.schema import LayerParameter


@dataclass(frozen=True, kw_only=True)
class Normalize(Op):
    """y = scale * x / |x|, the norm over channels, and pixels if `across_spatial`.

    |x| is sqrt(sum of x^2 + eps).

    Shapes: x (N, C, ...) -> y (same), scale (C,) or () with `channel_shared`.
    """

    type: ClassVar[str] = "Normalize"
    across_spatial: bool
    channel_shared: bool
    eps: float


@infers("Normalize")
def normalize(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> Normalize:
    """Read a Normalize layer."""
    param, x = layer.norm_param, bottoms[0]
    if len(x) < 2:
        raise ShapeError(
            f"the input must have at least 2 axes, items and channels; got shape {x}. "
            f"Add a Reshape layer before it",
            layer=label(layer),
        )
    if not param.eps >= 0:
        raise SpecError(
            f"norm_param.eps is {param.eps:g}; it is added to a sum of squares, so "
            f"give 0 or more",
            layer=label(layer),
        )
    shape = () if param.channel_shared else (x[1],)
    return Normalize(
        layer=layer,
        bottoms=bottoms,
        tops=bottoms,
        params=(ParamDef(shape, filler(param, "scale_filler", 1)),),
        across_spatial=param.across_spatial,
        channel_shared=param.channel_shared,
        eps=param.eps,
    )
