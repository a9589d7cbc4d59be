"""BatchNorm and MVN: shapes pass through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from netspec.errors import ShapeError
from netspec.ops.base import NoReadOp, ParamDef, Shape, constant, count, infers, label
from netspec.schema import TEST, LayerParameter


@dataclass(frozen=True, kw_only=True)
class BatchNorm(NoReadOp):
    """y = (x - mean) / sqrt(var + eps) for every channel (axis 1).

    Parameters 0 and 1 are the sums of means and variances, (C,) each, parameter 2 the
    factor (1,) to divide them by. They follow the data, not a gradient. The kernel
    saves the normalised values, so the gradient reads no blob and works in place.
    """

    type: ClassVar[str] = "BatchNorm"
    in_place: ClassVar[bool] = True
    channels: int
    use_global_stats: bool
    moving_average_fraction: float
    eps: float

    @property
    def learned_params(self) -> tuple[int, ...]:
        """None: statistics are not learned."""
        return ()

    def saved_bytes(self, itemsize: int) -> int:
        """Return the size of the normalised values, if they are of this batch."""
        return 0 if self.use_global_stats else count(self.tops[0]) * itemsize


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


@infers("BatchNorm")
def batch_norm(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> BatchNorm:
    """Read a BatchNorm layer."""
    param = layer.batch_norm_param
    if not bottoms[0]:
        raise ShapeError(
            "the input is a scalar; expected (N, C, ...)", layer=label(layer)
        )
    channels = 1 if len(bottoms[0]) == 1 else bottoms[0][1]
    given = param.HasField("use_global_stats")
    zero = constant(0)
    return BatchNorm(
        layer=layer,
        bottoms=bottoms,
        tops=bottoms,
        params=(
            ParamDef((channels,), zero),
            ParamDef((channels,), zero),
            ParamDef((1,), zero),
        ),
        channels=channels,
        use_global_stats=param.use_global_stats if given else layer.phase == TEST,
        moving_average_fraction=param.moving_average_fraction,
        eps=param.eps,
    )


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
