"""Online hard example mining of R-FCN: losses of every item, and who is kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import ClassVar

from netspec.errors import ShapeError, SpecError
from netspec.ops.base import (
    NoReadOp,
    Range,
    Shape,
    bottom_name,
    count,
    infers,
    label,
    numbers_below,
)
from netspec.ops.loss import LossOp, check_batch
from netspec.ops.loss_param import fixed_divisor, normalization
from netspec.ops.softmax import SoftmaxWithLoss, softmax_with_loss
from netspec.schema import LayerParameter


@dataclass(frozen=True, kw_only=True)
class SmoothL1LossOHEM(LossOp):
    """loss = sum of f(w (a - b)) over a divisor, f quadratic below 1.

    f(d) = d^2 / 2 where |d| < 1, else |d| - 1 / 2. Bottom 2, the weights w, is
    optional. A second top has the sum of every item over its channels; its own gradient
    is not looked at. FULL and VALID divide by the positions, all but channels.

    Shapes: a, b, w (N, C, ...) -> loss (), and losses (N, 1, ...). From R-FCN.
    """

    type: ClassVar[str] = "SmoothL1LossOHEM"
    normalization: str
    fixed: float

    @property
    def gradient_bottoms(self) -> tuple[int, ...]:
        """Predictions and targets."""
        return (0, 1)

    @property
    def refused_bottoms(self) -> tuple[int, ...]:
        """No bottom is refused: targets may be computed too."""
        return ()

    @property
    def unread_tops(self) -> tuple[int, ...]:
        """The second, the losses of items."""
        return (1,)


@dataclass(frozen=True, kw_only=True)
class SoftmaxWithLossOHEM(SoftmaxWithLoss):
    """loss = -sum of log(p of the labelled class) over a divisor, p = softmax(x).

    A second top has p, a third the loss of every label, 0 for ignored ones; their own
    gradients are not looked at.

    Shapes: x (O..., C, I...) with C on `axis`, label (O, I values) -> loss (), p (like
    x), losses (like label). From R-FCN.
    """

    type: ClassVar[str] = "SoftmaxWithLossOHEM"

    @property
    def unread_tops(self) -> tuple[int, ...]:
        """The second and the third, p and the losses of items."""
        return (1, 2)


@dataclass(frozen=True, kw_only=True)
class BoxAnnotatorOHEM(NoReadOp):
    """Labels and weights of the regions with the largest losses of every image.

    `roi_per_img` regions of an image keep theirs; the others get `ignore_label` and
    weights of 0. No gradient.

    Shapes: regions (R, 5, ...), loss (R, 1, ...), labels (R, 1, ...), weights (R, C,
    ...) -> labels, weights (same).
    """

    type: ClassVar[str] = "BoxAnnotatorOHEM"
    roi_per_img: int
    ignore_label: int

    @property
    def gradient_bottoms(self) -> tuple[int, ...]:
        """No bottom: which regions are kept has no gradient."""
        return ()

    @property
    def ranges(self) -> Mapping[int, Range]:
        """Numbers of images, of which there may be any."""
        return {0: numbers_below(2)}


@infers("SmoothL1LossOHEM")
def smooth_l1_loss_ohem(
    layer: LayerParameter, bottoms: tuple[Shape, ...]
) -> SmoothL1LossOHEM:
    """Read a SmoothL1LossOHEM layer."""
    check_batch(layer, bottoms)
    for index in range(1, len(bottoms)):
        if count(bottoms[index]) != count(bottoms[0]):
            raise ShapeError(
                f"{bottom_name(layer, index)} has shape {bottoms[index]}; expected as "
                f"many values as {bottom_name(layer, 0)} {bottoms[0]}",
                layer=label(layer),
            )
    x = bottoms[0]
    losses = (x[0], 1, *x[2:])
    return SmoothL1LossOHEM(
        layer=layer,
        bottoms=bottoms,
        tops=((), losses)[: max(1, len(layer.top))],
        normalization=normalization(layer, default="VALID"),
        fixed=fixed_divisor(layer),
    )


@infers("SoftmaxWithLossOHEM")
def softmax_with_loss_ohem(
    layer: LayerParameter, bottoms: tuple[Shape, ...]
) -> SoftmaxWithLossOHEM:
    """Read a SoftmaxWithLossOHEM layer."""
    plain = softmax_with_loss(layer, bottoms)
    options = {field.name: getattr(plain, field.name) for field in fields(plain)}
    options["tops"] = ((), *bottoms)[: max(1, len(layer.top))]
    return SoftmaxWithLossOHEM(**options)


@infers("BoxAnnotatorOHEM")
def box_annotator_ohem(
    layer: LayerParameter, bottoms: tuple[Shape, ...]
) -> BoxAnnotatorOHEM:
    """Read a BoxAnnotatorOHEM layer."""
    param = layer.box_annotator_ohem_param
    if param.roi_per_img < 1:
        raise SpecError(
            "box_annotator_ohem_param.roi_per_img is 0; give at least 1",
            layer=label(layer),
        )
    regions, _, _, weights = bottoms
    if len(regions) < 2 or regions[1] != 5:
        raise ShapeError(
            f"{bottom_name(layer, 0)}, the regions, must have shape (R, 5); got "
            f"{regions}",
            layer=label(layer),
        )
    positions = count(regions) // 5
    for index, what in ((1, "the losses"), (2, "the labels")):
        shape = bottoms[index]
        if shape[:1] != regions[:1] or count(shape) != positions:
            raise ShapeError(
                f"{bottom_name(layer, index)}, {what}, must have a value for each of "
                f"the regions {regions}, shape ({regions[0]}, 1); got {shape}",
                layer=label(layer),
            )
    if weights[:1] != regions[:1] or count(weights, 2) != count(regions, 2):
        raise ShapeError(
            f"{bottom_name(layer, 3)}, the weights, must have a row for each of the "
            f"regions {regions}; got {weights}",
            layer=label(layer),
        )
    return BoxAnnotatorOHEM(
        layer=layer,
        bottoms=bottoms,
        tops=bottoms[2:],
        roi_per_img=param.roi_per_img,
        ignore_label=param.ignore_label,
    )
