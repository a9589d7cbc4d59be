"""MultiBoxLoss of the SSD fork: how far default boxes are from the truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from netspec.errors import SpecError
from netspec.ops.base import Range, Shape, enum_name, infers, label
from netspec.ops.boxes import Suppression, check_boxes, check_list, suppression
from netspec.ops.loss import LossOp
from netspec.ops.loss_param import fixed_divisor, normalization
from netspec.schema import LayerParameter, MultiBoxLossParameter


@dataclass(frozen=True, kw_only=True)
class MultiBoxLoss(LossOp):
    """The loss of locations and confidences of default boxes matched with true ones.

    The options are those of `multibox_loss_param`, with Caffe's names for values of
    enums. `nms` is None where hard examples are not thinned. `locations_count` and
    `confidences_count` say which of the two losses are part of the sum, which
    `propagate_down` decides.

    Shapes: locations (N, priors 4), confidences (N, priors classes), priors (1, 2,
    priors 4), true boxes (1, 1, boxes, 8) -> loss ().
    """

    type: ClassVar[str] = "MultiBoxLoss"
    num_classes: int
    share_location: bool
    priors: int
    loc_loss_type: str
    conf_loss_type: str
    loc_weight: float
    match_type: str
    overlap_threshold: float
    use_prior_for_matching: bool
    background: int
    use_difficult_gt: bool
    mining_type: str
    neg_pos_ratio: float
    neg_overlap: float
    code_type: str
    encode_variance_in_target: bool
    map_object_to_agnostic: bool
    ignore_cross_boundary_bbox: bool
    bp_inside: bool
    nms: Suppression | None
    sample_size: int
    use_prior_for_nms: bool
    normalization: str
    fixed: float
    locations_count: bool
    confidences_count: bool

    @property
    def gradient_bottoms(self) -> tuple[int, ...]:
        """Locations and confidences."""
        return (0, 1)

    @property
    def refused_bottoms(self) -> tuple[int, ...]:
        """Priors and true boxes."""
        return (2, 3)

    @property
    def unasked_bottoms(self) -> tuple[int, ...]:
        """Priors and true boxes: SSD's layer itself sets propagate_down so."""
        return (2, 3)

    @property
    def backward_bottoms(self) -> tuple[int, ...]:
        """None: what backward needs is worked out by the pass forward."""
        return ()

    @property
    def ranges(self) -> Mapping[int, Range]:
        """Default boxes lie in the image; rows of item -1 say that nothing is there."""
        return {2: Range(0.1, 0.9), 3: Range(-1, -1, integer=True)}


@infers("MultiBoxLoss")
def multi_box_loss(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> MultiBoxLoss:
    """Read a MultiBoxLoss layer."""
    param = layer.multibox_loss_param
    priors = check_boxes(layer, bottoms, param.num_classes, param.share_location)
    check_list(layer, bottoms[3], 3, 8)
    _check_background(layer, param)
    mining = _mining_type(layer, param)
    counts = [*layer.propagate_down, True, True]
    if not layer.propagate_down:
        counts = [True, True]
    thinned = param.HasField("nms_param") and param.nms_param.nms_threshold > 0
    return MultiBoxLoss(
        layer=layer,
        bottoms=bottoms,
        tops=((),),
        num_classes=param.num_classes,
        share_location=param.share_location,
        priors=priors,
        loc_loss_type=enum_name(param, "loc_loss_type"),
        conf_loss_type=enum_name(param, "conf_loss_type"),
        loc_weight=param.loc_weight,
        match_type=enum_name(param, "match_type"),
        overlap_threshold=param.overlap_threshold,
        use_prior_for_matching=param.use_prior_for_matching,
        background=param.background_label_id,
        use_difficult_gt=param.use_difficult_gt,
        mining_type=mining,
        neg_pos_ratio=param.neg_pos_ratio,
        neg_overlap=param.neg_overlap,
        code_type=enum_name(param, "code_type"),
        encode_variance_in_target=param.encode_variance_in_target,
        map_object_to_agnostic=param.map_object_to_agnostic,
        ignore_cross_boundary_bbox=param.ignore_cross_boundary_bbox,
        bp_inside=param.bp_inside,
        nms=suppression(layer, param.nms_param) if thinned else None,
        sample_size=param.sample_size,
        use_prior_for_nms=param.use_prior_for_nms,
        normalization=normalization(layer, default="VALID"),
        fixed=fixed_divisor(layer),
        locations_count=counts[0],
        confidences_count=counts[1],
    )


def _check_background(layer: LayerParameter, param: MultiBoxLossParameter) -> None:
    """Refuse a background that is no class, and too many classes for agnostic nets."""
    background, classes = param.background_label_id, param.num_classes
    softmax = enum_name(param, "conf_loss_type") == "SOFTMAX"
    if background >= classes and softmax:
        raise SpecError(
            f"background_label_id is {background}, but there are {classes} classes; "
            f"expected 0 to {classes - 1}",
            layer=label(layer),
        )
    if param.map_object_to_agnostic and classes != 2:
        raise SpecError(
            f"map_object_to_agnostic makes all objects one class, but num_classes is "
            f"{classes}; expected 2, the background and objects",
            layer=label(layer),
        )
    if param.map_object_to_agnostic and background != 0:
        raise SpecError(
            f"map_object_to_agnostic makes objects the class behind the background, "
            f"but background_label_id is {background}; expected 0",
            layer=label(layer),
        )


def _mining_type(layer: LayerParameter, param: MultiBoxLossParameter) -> str:
    """Return which negatives are learned from, after checking what that needs."""
    mining = enum_name(param, "mining_type")
    if param.HasField("do_neg_mining") and param.do_neg_mining != (mining != "NONE"):
        if param.HasField("mining_type") or param.do_neg_mining:
            raise SpecError(
                f"do_neg_mining is {str(param.do_neg_mining).lower()} and mining_type "
                f"{mining}; leave do_neg_mining out, which is the old form",
                layer=label(layer),
            )
        return "NONE"  # as it was before there was a mining_type
    if mining == "NONE":
        return mining
    if mining == "MAX_NEGATIVE" and not param.neg_pos_ratio > 0:
        raise SpecError(
            f"neg_pos_ratio is {param.neg_pos_ratio:g}; it is the number of negatives "
            f"for each positive, so give a value above 0",
            layer=label(layer),
        )
    if mining == "HARD_EXAMPLE" and param.sample_size < 1:
        raise SpecError(
            f"sample_size is {param.sample_size}; HARD_EXAMPLE learns from that many "
            f"boxes of an image, so give 1 or more",
            layer=label(layer),
        )
    return mining
