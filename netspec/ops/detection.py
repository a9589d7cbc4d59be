"""Detection layers of the SSD fork."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from netspec.errors import ShapeError, SpecError
from netspec.ops.base import (
    NoReadOp,
    Op,
    ParamDef,
    Shape,
    bottom_name,
    check_axes,
    count,
    filler,
    infers,
    label,
)
from netspec.ops.loss import LossOp
from netspec.schema import LayerParameter


@dataclass(frozen=True, kw_only=True)
class Normalize(Op):
    """y = scale * x / |x|, the norm over channels, and pixels if `across_spatial`.

    Shapes: x (N, C, H, W) -> y (same), scale (C,) or () with `channel_shared`.
    """

    type: ClassVar[str] = "Normalize"
    across_spatial: bool
    channel_shared: bool
    eps: float


@dataclass(frozen=True, kw_only=True)
class Permute(NoReadOp):
    """The axes in another order: axis i of the top is axis order[i] of the bottom."""

    type: ClassVar[str] = "Permute"
    order: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class PriorBox(NoReadOp):
    """The default boxes of every pixel of a feature map, and their variances.

    `aspect_ratio` starts with 1 and holds the flipped ones. No gradient.

    Shapes: features (N, C, H, W), image (N, C', H', W') -> (1, 2, H W priors 4), with
    priors = min_sizes * aspect_ratios + max_sizes.
    """

    type: ClassVar[str] = "PriorBox"
    min_size: tuple[float, ...]
    max_size: tuple[float, ...]
    aspect_ratio: tuple[float, ...]
    priors: int

    @property
    def gradient_bottoms(self) -> tuple[int, ...]:
        """No bottom: the boxes come from sizes and options, not from values."""
        return ()


@dataclass(frozen=True, kw_only=True)
class DetectionOutput(NoReadOp):
    """The boxes left after suppression of overlapping ones, a row of 7 values each.

    Shapes: locations (N, priors 4), confidences (N, priors classes), priors -> (1, 1,
    boxes, 7). How many boxes there are is known only when the layer runs; here it is 1.
    """

    type: ClassVar[str] = "DetectionOutput"
    num_classes: int
    share_location: bool

    @property
    def gradient_bottoms(self) -> tuple[int, ...]:
        """No bottom: which boxes are left has no gradient."""
        return ()

    @property
    def refused_bottoms(self) -> tuple[int, ...]:
        """All."""
        return tuple(range(len(self.bottoms)))


@dataclass(frozen=True, kw_only=True)
class MultiBoxLoss(LossOp):
    """The loss of locations and confidences of default boxes matched with true ones.

    Shapes: locations (N, priors 4), confidences (N, priors classes), priors (1, 2,
    priors 4), true boxes (1, 1, boxes, 8) -> loss ().
    """

    type: ClassVar[str] = "MultiBoxLoss"
    num_classes: int
    share_location: bool

    @property
    def gradient_bottoms(self) -> tuple[int, ...]:
        """Locations and confidences."""
        return (0, 1)

    @property
    def refused_bottoms(self) -> tuple[int, ...]:
        """Priors and true boxes."""
        return (2, 3)


@dataclass(frozen=True, kw_only=True)
class DetectionEvaluate(NoReadOp):
    """True and false positives among detections, a row of 5 values each.

    Shapes: detections (1, 1, K, 7), true boxes (1, 1, boxes, 8) -> (1, 1, classes + K,
    5); fewer rows where detections are invalid, which only the run tells.
    """

    type: ClassVar[str] = "DetectionEvaluate"
    num_classes: int

    @property
    def gradient_bottoms(self) -> tuple[int, ...]:
        """No bottom: a measure has no gradient."""
        return ()

    @property
    def refused_bottoms(self) -> tuple[int, ...]:
        """All."""
        return (0, 1)


@infers("Normalize")
def normalize(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> Normalize:
    """Read a Normalize layer."""
    param = layer.norm_param
    check_axes(layer, bottoms[0], 4, "the input")
    shape = () if param.channel_shared else (bottoms[0][1],)
    return Normalize(
        layer=layer,
        bottoms=bottoms,
        tops=bottoms,
        params=(ParamDef(shape, filler(param, "scale_filler", 1)),),
        across_spatial=param.across_spatial,
        channel_shared=param.channel_shared,
        eps=param.eps,
    )


@infers("Permute")
def permute(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> Permute:
    """Read a Permute layer."""
    given, x = tuple(layer.permute_param.order), bottoms[0]
    if len(set(given)) != len(given) or any(axis >= len(x) for axis in given):
        raise SpecError(
            f"permute_param.order is {given}; expected different axes from 0 to "
            f"{len(x) - 1} of the input {x}",
            layer=label(layer),
        )
    order = given + tuple(axis for axis in range(len(x)) if axis not in given)
    top = tuple(x[axis] for axis in order)
    return Permute(layer=layer, bottoms=bottoms, tops=(top,), order=order)


@infers("PriorBox")
def prior_box(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> PriorBox:
    """Read a PriorBox layer."""
    param = layer.prior_box_param
    check_axes(layer, bottoms[0], 4, "the feature map")
    smallest, largest = tuple(param.min_size), tuple(param.max_size)
    if not smallest or min(smallest) <= 0:
        raise SpecError(
            f"prior_box_param.min_size is {smallest}; give at least one positive size",
            layer=label(layer),
        )
    if largest and len(largest) != len(smallest):
        raise SpecError(
            f"max_size has {len(largest)} values and min_size {len(smallest)}; give "
            f"as many, or no max_size",
            layer=label(layer),
        )
    ratios = _ratios(layer)
    priors = len(smallest) * len(ratios) + len(largest)
    top = (1, 2, count(bottoms[0], 2) * priors * 4)
    return PriorBox(
        layer=layer,
        bottoms=bottoms,
        tops=(top,),
        min_size=smallest,
        max_size=largest,
        aspect_ratio=ratios,
        priors=priors,
    )


def _ratios(layer: LayerParameter) -> tuple[float, ...]:
    """Return 1, the aspect ratios that are new, and their inverses with `flip`."""
    ratios = [1.0]
    for ratio in layer.prior_box_param.aspect_ratio:
        if ratio <= 0:
            raise SpecError(
                f"aspect_ratio is {ratio:g}; expected a positive value",
                layer=label(layer),
            )
        if any(abs(ratio - other) < 1e-6 for other in ratios):
            continue
        ratios.append(ratio)
        if layer.prior_box_param.flip:
            ratios.append(1 / ratio)
    return tuple(ratios)


@infers("DetectionOutput")
def detection_output(
    layer: LayerParameter, bottoms: tuple[Shape, ...]
) -> DetectionOutput:
    """Read a DetectionOutput layer."""
    param = layer.detection_output_param
    _check_boxes(layer, bottoms, param.num_classes, param.share_location)
    return DetectionOutput(
        layer=layer,
        bottoms=bottoms,
        tops=((1, 1, 1, 7),),
        num_classes=param.num_classes,
        share_location=param.share_location,
    )


@infers("MultiBoxLoss")
def multi_box_loss(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> MultiBoxLoss:
    """Read a MultiBoxLoss layer."""
    param = layer.multibox_loss_param
    _check_boxes(layer, bottoms, param.num_classes, param.share_location)
    return MultiBoxLoss(
        layer=layer,
        bottoms=bottoms,
        tops=((),),
        num_classes=param.num_classes,
        share_location=param.share_location,
    )


@infers("DetectionEvaluate")
def detection_evaluate(
    layer: LayerParameter, bottoms: tuple[Shape, ...]
) -> DetectionEvaluate:
    """Read a DetectionEvaluate layer."""
    param = layer.detection_evaluate_param
    for index, columns in enumerate((7, 8)):
        if len(bottoms[index]) != 4 or bottoms[index][3] != columns:
            raise ShapeError(
                f"{bottom_name(layer, index)} must have shape (1, 1, rows, "
                f"{columns}); got {bottoms[index]}",
                layer=label(layer),
            )
    classes = _classes(layer, param.num_classes) - 1
    top = (1, 1, classes + bottoms[0][2], 5)
    return DetectionEvaluate(
        layer=layer, bottoms=bottoms, tops=(top,), num_classes=param.num_classes
    )


def _classes(layer: LayerParameter, classes: int) -> int:
    if classes < 1:
        raise SpecError(
            f"num_classes is {classes}; give the number of classes, the background "
            f"included",
            layer=label(layer),
        )
    return classes


def _check_boxes(
    layer: LayerParameter, bottoms: Sequence[Shape], classes: int, shared: bool
) -> None:
    """Check locations and confidences against the number of default boxes."""
    _classes(layer, classes)
    if len(bottoms[2]) < 3 or bottoms[2][2] % 4:
        raise ShapeError(
            f"{bottom_name(layer, 2)}, the default boxes, must have shape (1, 2, 4 * "
            f"boxes); got {bottoms[2]}",
            layer=label(layer),
        )
    priors = bottoms[2][2] // 4
    wanted = (priors * 4 * (1 if shared else classes), priors * classes)
    for index, (size, what) in enumerate(
        zip(wanted, ("locations", "confidences"), strict=True)
    ):
        if len(bottoms[index]) < 2 or bottoms[index][1] != size:
            raise ShapeError(
                f"{bottom_name(layer, index)}, the {what}, must have shape (N, "
                f"{size}) for {priors} default boxes and {classes} classes; got "
                f"{bottoms[index]}",
                layer=label(layer),
            )
