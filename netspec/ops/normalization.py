"""MVN: shapes pass through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from netspec.errors import ShapeError
from netspec.ops.base import NoReadOp, Shape, infers, label
from netspec.schema import LayerParameter


@dataclass(frozen=True, kw_only=True)
class MVN(NoReadOp):
    """y = (x - mean) / (sqrt(var) + eps) for every plane, or every item.

    `across_channels` takes the mean over (C, H, W) instead of (H, W);
    `normalize_variance: false` leaves out the division. The kernel saves what it needs.

    Shapes: x (N, C, H, W) -> y (same); inputs with fewer axes count as if 1s followed,
    and the output is always 4-D.
    """

    type: ClassVar[str] = "MVN"
    normalize_variance: bool
    across_channels: bool
    eps: float

    @property
    def inexact(self) -> str:
        """Eps, which stands outside the root."""
        if not self.normalize_variance or self.eps == 0:
            return ""
        return "its gradient takes eps for 0, as Caffe's does"


@infers("MVN")
def mvn(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> MVN:
    """Read an MVN layer."""
    param = layer.mvn_param
    if len(bottoms[0]) > 4:
        raise ShapeError(
            f"the input must have at most 4 axes; got shape {bottoms[0]}. Add a "
            f"Reshape layer before it",
            layer=label(layer),
        )
    return MVN(
        layer=layer,
        bottoms=bottoms,
        tops=((*bottoms[0], 1, 1, 1, 1)[:4],),
        normalize_variance=param.normalize_variance,
        across_channels=param.across_channels,
        eps=param.eps,
    )
