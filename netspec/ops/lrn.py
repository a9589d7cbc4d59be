"""LRN: shapes pass through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from netspec.errors import SpecError
from netspec.ops.base import Op, Shape, check_axes, enum_name, infers, label
from netspec.schema import LayerParameter


@dataclass(frozen=True, kw_only=True)
class LRN(Op):
    """y = x / (k + alpha / n * sum of x^2 over a window)^beta.

    `norm_region` "ACROSS_CHANNELS": the window is `local_size` channels and n =
    local_size. "WITHIN_CHANNEL": a square of `local_size` pixels, n = local_size^2 at
    the borders too, and k is 1 whatever the option says.
    """

    type: ClassVar[str] = "LRN"
    local_size: int
    alpha: float
    beta: float
    k: float
    norm_region: str


@infers("LRN")
def lrn(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> LRN:
    """Read an LRN layer."""
    param = layer.lrn_param
    check_axes(layer, bottoms[0], 4, "the input")
    if param.local_size % 2 == 0:
        raise SpecError(
            f"lrn_param.local_size is {param.local_size}; expected an odd number, as "
            f"the window is centred",
            layer=label(layer),
        )
    return LRN(
        layer=layer,
        bottoms=bottoms,
        tops=bottoms,
        local_size=param.local_size,
        alpha=param.alpha,
        beta=param.beta,
        k=param.k,
        norm_region=enum_name(param, "norm_region"),
    )
