"""Losses: scores and targets to one number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from netspec.errors import ShapeError, SpecError, SpecWarning
from netspec.notebooks import warn_user
from netspec.ops.base import (
    Op,
    Range,
    Shape,
    bottom_name,
    canonical_axis,
    count,
    enum_name,
    infers,
    label,
    numbers_below,
)
from netspec.ops.by_fork import assume
from netspec.ops.loss_param import fixed_divisor, ignore_label, normalization
from netspec.schema import LayerParameter
from netspec.schema.in_force import fork


@dataclass(frozen=True, kw_only=True)
class LossOp(Op):
    """A layer whose first top, a 0-axis blob, counts in the objective.

    The labels, bottom 1, have no gradient.
    """

    is_loss: ClassVar[bool] = True

    @property
    def gradient_bottoms(self) -> tuple[int, ...]:
        """All but the labels."""
        return (0,)

    @property
    def refused_bottoms(self) -> tuple[int, ...]:
        """The labels."""
        return (1,)


@dataclass(frozen=True, kw_only=True)
class SigmoidCrossEntropyLoss(LossOp):
    """loss = -sum of t log(p) + (1 - t) log(1 - p) over a divisor, p = sigmoid(x).

    `normalization` is "FULL", "VALID", "BATCH_SIZE", "NONE" or "PRE_FIXED" (divided by
    `fixed`), resolved (here BATCH_SIZE is the default). Targets that, cut to an
    integer, equal `ignore_label` do not count.
    """

    type: ClassVar[str] = "SigmoidCrossEntropyLoss"
    ignore_label: int | None
    normalization: str
    fixed: float = 1.0

    @property
    def ranges(self) -> Mapping[int, Range]:
        """Targets are probabilities."""
        return {1: Range(0, 1)}


@dataclass(frozen=True, kw_only=True)
class EuclideanLoss(LossOp):
    """loss = sum of (a - b)^2 / (2 N); both inputs have a gradient."""

    type: ClassVar[str] = "EuclideanLoss"

    @property
    def gradient_bottoms(self) -> tuple[int, ...]:
        """Both."""
        return (0, 1)

    @property
    def refused_bottoms(self) -> tuple[int, ...]:
        """No bottom is refused: both may be computed."""
        return ()


@dataclass(frozen=True, kw_only=True)
class ContrastiveLoss(LossOp):
    """loss = sum of s d^2 + (1 - s) max(margin - d, 0)^2 over 2 N, d = |a - b|.

    `legacy_version` takes max(margin - d^2, 0) instead.
    """

    type: ClassVar[str] = "ContrastiveLoss"
    margin: float
    legacy_version: bool

    @property
    def gradient_bottoms(self) -> tuple[int, ...]:
        """The pair, not the similarity."""
        return (0, 1)

    @property
    def refused_bottoms(self) -> tuple[int, ...]:
        """None: a gradient of the similarity is left out silently, as in Caffe."""
        return ()

    @property
    def ranges(self) -> Mapping[int, Range]:
        """A pair is similar, 1, or not, 0."""
        return {2: numbers_below(2)}

    @property
    def inexact(self) -> str:
        """Caffe's guard against a distance of 0."""
        if self.legacy_version:
            return ""
        return "its gradient divides by the distance + 0.0001, as Caffe's does"


@dataclass(frozen=True, kw_only=True)
class HingeLoss(LossOp):
    """loss = sum of max(1 - t x, 0) ("L1") or its square ("L2") over N.

    t is 1 for the labelled class and -1 for the others.
    """

    type: ClassVar[str] = "HingeLoss"
    norm: str

    @property
    def ranges(self) -> Mapping[int, Range]:
        """Labels are classes."""
        return {1: numbers_below(count(self.bottoms[0][1:]))}


@dataclass(frozen=True, kw_only=True)
class MultinomialLogisticLoss(LossOp):
    """loss = -sum of log(p of the labelled class) / N, p at least 1e-20."""

    type: ClassVar[str] = "MultinomialLogisticLoss"

    @property
    def ranges(self) -> Mapping[int, Range]:
        """Probabilities, away from the least one, and classes."""
        return {
            0: Range(0.1, 1),
            1: numbers_below(count(self.bottoms[0][1:])),
        }


@dataclass(frozen=True, kw_only=True)
class InfogainLoss(LossOp):
    """loss = -sum of H[label, k] log(p_k) over a divisor, p = softmax(x) along `axis`.

    H is bottom 2, or is read from the file `source`. A second top holds p.
    """

    type: ClassVar[str] = "InfogainLoss"
    axis: int
    ignore_label: int | None
    normalization: str
    fixed: float = 1.0
    source: str

    @property
    def backward_bottoms(self) -> tuple[int, ...]:
        """Labels and H; the kernel saves p."""
        return tuple(range(1, len(self.bottoms)))

    @property
    def backward_tops(self) -> tuple[int, ...]:
        """The second top, where there is one: p is there then."""
        return (1,) if len(self.tops) > 1 else ()

    @property
    def refused_bottoms(self) -> tuple[int, ...]:
        """Labels and H."""
        return tuple(range(1, len(self.bottoms)))

    @property
    def unread_tops(self) -> tuple[int, ...]:
        """The second, p."""
        return (1,)

    @property
    def ranges(self) -> Mapping[int, Range]:
        """Labels are classes."""
        return {1: numbers_below(self.bottoms[0][self.axis])}


@dataclass(frozen=True, kw_only=True)
class SmoothL1Loss(LossOp):
    """loss = sum of f(w_in (a - b)) w_out / divisor, f quadratic below 1 / sigma^2.

    f(d) = sigma^2 d^2 / 2 where |d| < 1 / sigma^2, else |d| - 1 / (2 sigma^2). Bottoms
    2 and 3, the weights, are optional. The divisor is N in Fast R-CNN, Faster R-CNN and
    SSD, and what `loss_param` says in R-FCN, whose second top has the loss of every
    position: its sum over channels, without a gradient of its own.

    Shapes: a, b, w_in, w_out (N, C, ...) -> loss (), losses (N, 1, ...).
    """

    type: ClassVar[str] = "SmoothL1Loss"
    sigma: float
    divisor: float

    @property
    def unread_tops(self) -> tuple[int, ...]:
        """The second, the losses of positions."""
        return (1,)

    @property
    def gradient_bottoms(self) -> tuple[int, ...]:
        """Predictions and targets."""
        return (0, 1)

    @property
    def refused_bottoms(self) -> tuple[int, ...]:
        """No bottom is refused: targets may be computed too."""
        return ()


@infers("SigmoidCrossEntropyLoss")
def sigmoid_cross_entropy_loss(
    layer: LayerParameter, bottoms: tuple[Shape, ...]
) -> SigmoidCrossEntropyLoss:
    """Read a SigmoidCrossEntropyLoss layer."""
    check_batch(layer, bottoms)
    check_label_count(layer, bottoms, count(bottoms[0]), "one target for every score")
    return SigmoidCrossEntropyLoss(
        layer=layer,
        bottoms=bottoms,
        tops=((),),
        ignore_label=ignore_label(layer),
        normalization=normalization(layer, default="BATCH_SIZE"),
        fixed=fixed_divisor(layer),
    )


@infers("EuclideanLoss")
def euclidean_loss(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> EuclideanLoss:
    """Read a EuclideanLoss layer."""
    check_batch(layer, bottoms)
    check_label_count(layer, bottoms, count(bottoms[0]), "as many values as those")
    return EuclideanLoss(layer=layer, bottoms=bottoms, tops=((),))


@infers("ContrastiveLoss")
def contrastive_loss(
    layer: LayerParameter, bottoms: tuple[Shape, ...]
) -> ContrastiveLoss:
    """Read a ContrastiveLoss layer."""
    check_batch(layer, bottoms)
    for index, shape in enumerate(bottoms[:2]):
        if len(shape) < 2 or count(shape, 2) != 1 or shape[1] != bottoms[0][1]:
            raise ShapeError(
                f"the pair must have the same shape (N, C), with 1s after it at most; "
                f"{bottom_name(layer, 0)} has {bottoms[0]} and "
                f"{bottom_name(layer, index)} has {shape}. Add a Flatten layer",
                layer=label(layer),
            )
    if bottoms[2][:1] != bottoms[0][:1] or count(bottoms[2], 1) != 1:
        raise ShapeError(
            f"{bottom_name(layer, 2)}, the similarity, must have shape "
            f"({bottoms[0][0]},); got {bottoms[2]}",
            layer=label(layer),
        )
    param = layer.contrastive_loss_param
    return ContrastiveLoss(
        layer=layer,
        bottoms=bottoms,
        tops=((),),
        margin=param.margin,
        legacy_version=param.legacy_version,
    )


@infers("HingeLoss")
def hinge_loss(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> HingeLoss:
    """Read a HingeLoss layer."""
    check_batch(layer, bottoms)
    check_label_count(layer, bottoms, bottoms[0][0], "one label for every item")
    return HingeLoss(
        layer=layer,
        bottoms=bottoms,
        tops=((),),
        norm=enum_name(layer.hinge_loss_param, "norm"),
    )


@infers("MultinomialLogisticLoss")
def multinomial_logistic_loss(
    layer: LayerParameter, bottoms: tuple[Shape, ...]
) -> MultinomialLogisticLoss:
    """Read a MultinomialLogisticLoss layer."""
    check_batch(layer, bottoms)
    check_label_count(layer, bottoms, bottoms[0][0], "one label for every item")
    return MultinomialLogisticLoss(layer=layer, bottoms=bottoms, tops=((),))


@infers("InfogainLoss")
def infogain_loss(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> InfogainLoss:
    """Read an InfogainLoss layer."""
    param = layer.infogain_loss_param
    x = bottoms[0]
    check_batch(layer, bottoms)
    axis = canonical_axis(layer, param.axis, len(x), "axis")
    check_labels(layer, bottoms, axis)
    if len(bottoms) > 2:
        if count(bottoms[2]) != x[axis] ** 2:
            raise ShapeError(
                f"{bottom_name(layer, 2)}, the matrix H, has shape {bottoms[2]}; "
                f"expected {x[axis]} x {x[axis]} values, a row a class",
                layer=label(layer),
            )
    elif not param.source:
        raise SpecError(
            "the matrix H is missing; give infogain_loss_param.source or a third "
            "bottom",
            layer=label(layer),
        )
    return InfogainLoss(
        layer=layer,
        bottoms=bottoms,
        tops=((), x)[: max(1, len(layer.top))],
        axis=axis,
        ignore_label=ignore_label(layer),
        normalization=normalization(layer, default="VALID"),
        fixed=fixed_divisor(layer),
        source=param.source,
    )


@infers("SmoothL1Loss")
def smooth_l1_loss(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> SmoothL1Loss:
    """Read a SmoothL1Loss layer."""
    check_batch(layer, bottoms)
    for index in range(1, len(bottoms)):
        if count(bottoms[index]) != count(bottoms[0]):
            raise ShapeError(
                f"{bottom_name(layer, index)} has shape {bottoms[index]}; expected as "
                f"many values as {bottom_name(layer, 0)} {bottoms[0]}",
                layer=label(layer),
            )
    sigma = layer.smooth_l1_loss_param.sigma
    if sigma == 0:
        raise SpecError(
            "smooth_l1_loss_param.sigma is 0, which has no inverse; expected a number "
            "above 0, or leave it out for 1",
            layer=label(layer),
        )
    x = bottoms[0]
    losses = (x[0], 1, *x[2:])
    return SmoothL1Loss(
        layer=layer,
        bottoms=bottoms,
        tops=((), losses)[: max(1, len(layer.top))],
        sigma=sigma,
        divisor=_smooth_l1_divisor(layer, bottoms),
    )


def _smooth_l1_divisor(layer: LayerParameter, bottoms: Sequence[Shape]) -> float:
    """Return what SmoothL1Loss divides by, in the fork that is meant.

    R-FCN has no sigma and no fourth bottom, and it alone has a second top and reads
    `loss_param`: its default VALID counts positions, where the others take N.
    """
    x, param = bottoms[0], layer.loss_param
    positions = count(x) // x[1] if len(x) > 1 and x[1] else x[0]
    said = param.HasField("normalization") or param.HasField("normalize")
    others = len(bottoms) > 3 or layer.smooth_l1_loss_param.HasField("sigma")
    word = fork()
    if others and word == "rfcn":
        raise SpecError(
            "R-FCN's SmoothL1Loss has neither a fourth bottom nor sigma, which are "
            "Faster R-CNN's; take them out, or name another fork",
            layer=label(layer),
        )
    if word is not None:
        rfcn = word == "rfcn"
    else:
        rfcn = not others and (said or len(layer.top) > 1)
    if len(layer.top) > 1 and not rfcn:
        raise SpecError(
            f"{'has a second top' if word is None else f'{word} has no second top'}, "
            f"the losses of positions, which R-FCN alone has, without sigma and a "
            f"fourth bottom; take one of them out, or say --fork rfcn",
            layer=label(layer),
        )
    if not rfcn:
        if said:
            warn_user(
                f"{label(layer)}: loss_param has no effect, as the SmoothL1Loss of "
                f"{word or 'Faster R-CNN, whose this is by its sigma or its bottoms,'} "
                f"divides by the number of items; take it out, or use loss_weight",
                SpecWarning,
            )
        elif not others and len(bottoms) == 3 and positions != x[0]:
            assume(
                layer,
                f"divided by the {x[0]} items, as in SSD and Fast R-CNN; R-FCN divides "
                f"by the {positions} positions: for that say --fork rfcn, or "
                f"loss_param {{ normalization: VALID }}",
            )
        return max(1.0, x[0])
    divisors = {"BATCH_SIZE": x[0], "NONE": 1.0, "PRE_FIXED": fixed_divisor(layer)}
    return max(1.0, divisors.get(normalization(layer, default="VALID"), positions))


def check_batch(layer: LayerParameter, bottoms: Sequence[Shape]) -> None:
    """Refuse scores and targets that differ in their first axis."""
    first, second = bottoms[0], bottoms[1]
    if not first or not second or first[0] != second[0]:
        raise ShapeError(
            f"{bottom_name(layer, 0)} {first} and {bottom_name(layer, 1)} {second} "
            f"must have the same first axis, the batch",
            layer=label(layer),
        )


def check_label_count(
    layer: LayerParameter, bottoms: Sequence[Shape], expected: int, what: str
) -> None:
    """Refuse targets with another number of values than `expected`."""
    if count(bottoms[1]) != expected:
        raise ShapeError(
            f"{bottom_name(layer, 1)} has shape {bottoms[1]}, that is "
            f"{count(bottoms[1])} values; expected {expected}, {what} of "
            f"{bottom_name(layer, 0)} {bottoms[0]}",
            layer=label(layer),
        )


def check_labels(layer: LayerParameter, bottoms: Sequence[Shape], axis: int) -> None:
    """Refuse labels that are not one for every position beside the class `axis`."""
    places = count(bottoms[0], 0, axis) * count(bottoms[0], axis + 1)
    what = f"one label for every position beside the class axis {axis}"
    check_label_count(layer, bottoms, places, what)
