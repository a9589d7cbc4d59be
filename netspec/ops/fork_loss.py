"""Losses of forks: of distances, of centres, of unequal numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from netspec.errors import ShapeError, SpecError
from netspec.ops.base import (
    ParamDef,
    Range,
    Shape,
    bottom_name,
    canonical_axis,
    count,
    enum_name,
    filler,
    infers,
    label,
    numbers_below,
)
from netspec.ops.by_fork import assume
from netspec.ops.loss import LossOp, check_batch, check_label_count
from netspec.ops.softmax import SoftmaxWithLoss, softmax_with_loss
from netspec.schema import FocalLossParameter, LayerParameter
from netspec.schema.in_force import fork


@dataclass(frozen=True, kw_only=True)
class L1Loss(LossOp):
    """loss = sum of |a - b| / N; both inputs have a gradient (NVCaffe)."""

    type: ClassVar[str] = "L1Loss"

    @property
    def gradient_bottoms(self) -> tuple[int, ...]:
        """Both."""
        return (0, 1)

    @property
    def refused_bottoms(self) -> tuple[int, ...]:
        """No bottom is refused."""
        return ()


@dataclass(frozen=True, kw_only=True)
class FocalLoss(SoftmaxWithLoss):
    """loss = -sum of w(p) log(p) over a divisor, p of the labelled class.

        w(p) = factor (base + sign p)^gamma

    soeaver: alpha (1 - p)^gamma, the paper's; caffe-windows, where it is in force:
    (alpha - p)^gamma, and with type ONEADDP (alpha + p)^gamma; alpha is 1 by default.
    """

    type: ClassVar[str] = "FocalLoss"
    factor: float
    base: float
    sign: float
    gamma: float


@dataclass(frozen=True, kw_only=True)
class CenterLoss(LossOp):
    """loss = sum of |x - centre of its class|^2 / (2 N), with a centre a class.

    Parameter 0 holds the centres (num_output, K), whose gradient is no derivative: each
    centre moves to the mean of the features of its class, by count / (count + 1).

    Shapes: x (N, ...) with K values an item, label (N) -> loss ().
    """

    type: ClassVar[str] = "CenterLoss"
    axis: int
    num_output: int

    @property
    def backward_bottoms(self) -> tuple[int, ...]:
        """No bottom is read: the kernel saves the distances and the labels."""
        return ()

    @property
    def ranges(self) -> Mapping[int, Range]:
        """Labels are classes."""
        return {1: numbers_below(self.num_output)}

    @property
    def moved_params(self) -> tuple[int, ...]:
        """The centres."""
        return (0,)

    @property
    def inexact(self) -> str:
        """What the centres get."""
        return "its centres get the mean distance of their class, and no derivative"


@dataclass(frozen=True, kw_only=True)
class TripletLoss(LossOp):
    """loss = sum of max(0, margin + |a - p|^2 - |a - n|^2) / (2 N).

    Shapes: anchor, positive, negative (N, C values) -> loss ().
    """

    type: ClassVar[str] = "TripletLoss"
    margin: float

    @property
    def gradient_bottoms(self) -> tuple[int, ...]:
        """All three."""
        return (0, 1, 2)

    @property
    def refused_bottoms(self) -> tuple[int, ...]:
        """No bottom is refused."""
        return ()


@dataclass(frozen=True, kw_only=True)
class SigmoidCrossEntropyBalanceLoss(LossOp):
    """loss = -sum of w log(p) / N, p the probability of what the target says.

    w is, for each image, the share of its targets that are of the other kind. Targets
    that are neither 0 nor 1 do not count.

    Shapes: x (N, ...), target (as many values) -> loss ().
    """

    type: ClassVar[str] = "SigmoidCrossEntropyBalanceLoss"

    @property
    def ranges(self) -> Mapping[int, Range]:
        """Targets are 0 or 1."""
        return {1: numbers_below(2)}


@infers("TripletLoss")
def triplet_loss(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> TripletLoss:
    """Read a TripletLoss layer."""
    param = layer.triplet_loss_param
    for field in ("group_size", "scale"):
        if param.HasField(field):
            raise SpecError(
                f"triplet_loss_param.{field} is of ArcFace's TripletLoss, whose "
                f"formula is not known here; expected margin alone, for three bottoms",
                layer=label(layer),
            )
    first = bottoms[0]
    for index, shape in enumerate(bottoms):
        if not shape or shape[:1] != first[:1] or count(shape) != count(first):
            raise ShapeError(
                f"{bottom_name(layer, 0)} has shape {first} and "
                f"{bottom_name(layer, index)} {shape}; expected anchors, positives and "
                f"negatives to be as many items of as many values",
                layer=label(layer),
            )
    return TripletLoss(layer=layer, bottoms=bottoms, tops=((),), margin=param.margin)


@infers("SigmoidCrossEntropyBalanceLoss")
def balance_loss(
    layer: LayerParameter, bottoms: tuple[Shape, ...]
) -> SigmoidCrossEntropyBalanceLoss:
    """Read a SigmoidCrossEntropyBalanceLoss layer."""
    check_batch(layer, bottoms)
    check_label_count(layer, bottoms, count(bottoms[0]), "one target for every score")
    return SigmoidCrossEntropyBalanceLoss(layer=layer, bottoms=bottoms, tops=((),))


@infers("L1Loss")
def l1_loss(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> L1Loss:
    """Read an L1Loss layer."""
    a, b = bottoms
    if not a or a[:1] != b[:1] or count(a) != count(b):
        raise ShapeError(
            f"{bottom_name(layer, 0)} has shape {a} and {bottom_name(layer, 1)} {b}; "
            f"expected as many items of as many values",
            layer=label(layer),
        )
    return L1Loss(layer=layer, bottoms=bottoms, tops=((),))


@infers("FocalLoss")
def focal_loss(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> FocalLoss:
    """Read a FocalLoss layer."""
    param = layer.focal_loss_param
    kind = enum_name(param, "type")
    if kind == "LINEAR":
        raise SpecError(
            "focal_loss_param.type is LINEAR, whose formula is not known here; "
            "expected ORIGIN or ONEADDP",
            layer=label(layer),
        )
    if param.gamma < 0:
        raise SpecError(
            f"gamma is {param.gamma:g}; expected an exponent of at least 0",
            layer=label(layer),
        )
    plain = softmax_with_loss(layer, bottoms)
    added = param.type == FocalLossParameter.ONEADDP
    windows = added or fork() == "caffe-windows"
    alpha = param.alpha if param.HasField("alpha") or not windows else 1.0
    if not windows and not (param.HasField("alpha") and 0 <= alpha <= 1):
        assume(
            layer,
            f"multiplied by alpha, {alpha:g}, as in soeaver's Caffe; in caffe-windows "
            f"alpha, 1 by default, stands in the place of 1 in 1 - p. Give alpha, from "
            f"0 to 1, or say --fork rfcn-priv or --fork caffe-windows",
        )
    if windows and not added and alpha < 1:
        raise SpecError(
            f"focal_loss_param.alpha is {alpha:g}; caffe-windows, the fork in force, "
            f"has (alpha - p)^gamma, so give at least 1",
            layer=label(layer),
        )
    return FocalLoss(
        layer=layer,
        bottoms=bottoms,
        tops=plain.tops,
        axis=plain.axis,
        ignore_label=plain.ignore_label,
        normalization=plain.normalization,
        factor=1.0 if windows else alpha,
        base=alpha if windows else 1.0,
        sign=1.0 if added else -1.0,
        gamma=param.gamma,
    )


@infers("CenterLoss")
def center_loss(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> CenterLoss:
    """Read a CenterLoss layer."""
    param = layer.center_loss_param
    axis = canonical_axis(layer, param.axis, len(bottoms[0]), "axis")
    items = count(bottoms[0], 0, axis)
    if param.num_output < 1:
        raise SpecError(
            f"center_loss_param.num_output is {param.num_output}; give the number of "
            f"classes, at least 1",
            layer=label(layer),
        )
    if count(bottoms[1]) != items:
        raise ShapeError(
            f"{bottom_name(layer, 1)}, the labels, has shape {bottoms[1]}; expected "
            f"{items} values, one for each item of {bottom_name(layer, 0)}",
            layer=label(layer),
        )
    centres = (param.num_output, count(bottoms[0], axis))
    return CenterLoss(
        layer=layer,
        bottoms=bottoms,
        tops=((),),
        params=(ParamDef(centres, filler(param, "center_filler")),),
        axis=axis,
        num_output=param.num_output,
    )
