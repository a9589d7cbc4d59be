"""Normalize of SSD and of other forks: vectors of channels to one length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from netspec.errors import ShapeError, SpecError
from netspec.ops.base import Op, ParamDef, Shape, filler, infers, label
from netspec.ops.by_fork import assume
from netspec.schema import LayerParameter
from netspec.schema.in_force import fork
from netspec.schema.norms import NORMALIZE_ITEMS, has_scale


@dataclass(frozen=True, kw_only=True)
class Normalize(Op):
    """y = scale * x / |x|, the norm over channels, and pixels if `across_spatial`.

    |x| is sqrt(sum of x^2 + eps). With TSN, ducha-aiki's Caffe, JULE (over channels and
    pixels) or caffe-windows (over channels) in force there is no scale.

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
    word = fork()
    if not has_scale(layer):
        if layer.HasField("norm_param"):
            raise SpecError(
                f"norm_param is of SSD's Normalize, and that of {word}, the fork in "
                f"force, has no such field; remove it, or name another fork",
                layer=label(layer),
            )
        return Normalize(
            layer=layer,
            bottoms=bottoms,
            tops=bottoms,
            across_spatial=word in NORMALIZE_ITEMS,
            channel_shared=True,
            eps=param.eps,
        )
    if not layer.HasField("norm_param") and not layer.blobs:
        assume(
            layer,
            "has no norm_param; taken for SSD's, which sums over channels and pixels "
            "and learns a factor. TSN's and ducha-aiki's have no factor, and those of "
            "caffe-windows sum over channels alone: say --fork, or norm_param "
            "{ across_spatial: true }",
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
