"""Layers of nets that look at regions of interest: the R-CNN family and R-FCN."""

from __future__ import annotations

from netspec.catalogue.base import LayerType

_FAST_RCNN = "Girshick, arXiv:1504.08083; not in BVLC Caffe"
_RFCN = "Dai et al., arXiv:1605.06409; not in BVLC Caffe"
_OHEM = "Shrivastava et al., arXiv:1604.03540; of R-FCN, not in BVLC Caffe"
_MASK_RCNN = "He et al., arXiv:1703.06870; not in BVLC Caffe"
_FASTER_RCNN = "Ren et al., arXiv:1506.01497; of PVANet, not in BVLC Caffe"
_REGIONS = "A region is the index of its item and two corners in image pixels."

REGION = (
    LayerType(
        name="BoxAnnotatorOHEM",
        param="box_annotator_ohem_param",
        bottoms=(4, 4),
        bottom_names=("regions", "loss", "labels", "weights"),
        tops=(2, 2),
        required=("roi_per_img",),
        summary="Keep the regions of the largest losses: online hard example mining.",
        shapes="regions (R, 5), loss, labels (R, 1), weights (R, 4 K) -> labels, "
        "weights (as they were)",
        notes="The others get the label ignore_label and weights of 0. Has no "
        "gradient.",
        source=_OHEM,
    ),
    LayerType(
        name="PSROIPooling",
        param="psroi_pooling_param",
        bottoms=(2, 2),
        bottom_names=("x", "regions"),
        required=("spatial_scale", "output_dim", "group_size"),
        summary="Pool the mean of every bin of a region, each from its own channels.",
        formula="y[r, d, i, j] = mean of x[(d G + i) G + j] over bin (i, j), G = "
        "group_size",
        shapes="x (N, D G^2, H, W), regions (R, 5) -> y (R, D, G, G)",
        notes=_REGIONS,
        source=_RFCN,
    ),
    LayerType(
        name="Proposal",
        param="proposal_param",
        bottoms=(3, 3),
        bottom_names=("scores", "deltas", "image"),
        tops=(1, 2),
        required=("ratio", "scale"),
        summary="Turn scores and shifts of anchors into regions of interest.",
        shapes="scores (N, 2 A, H, W), deltas (N, 4 A, H, W), image (N, 3) of height, "
        "width and scale -> regions (R, 5), scores (R, 1)",
        notes="R, at most N post_nms_topn, is known only when the layer runs. Has no "
        "gradient.",
        source=_FASTER_RCNN,
    ),
    LayerType(
        name="ROIAlign",
        param="roi_align_param",
        bottoms=(2, 2),
        bottom_names=("x", "regions"),
        required=("pooled_h", "pooled_w"),
        summary="Pool samples between pixels in every bin of a grid over a region.",
        shapes="x (N, C, H, W), regions (R, 5) -> y (R, C, pooled_h, pooled_w)",
        notes=f"{_REGIONS} With sampling_ratio the mean of samples, without it the "
        f"largest.",
        source=_MASK_RCNN,
    ),
    LayerType(
        name="ROIPooling",
        param="roi_pooling_param",
        bottoms=(2, 2),
        bottom_names=("x", "regions"),
        required=("pooled_h", "pooled_w"),
        instead={"pooled_h": (("pooled_size",),), "pooled_w": (("pooled_size",),)},
        summary="Pool the maximum of every bin of a grid over a region.",
        shapes="x (N, C, H, W), regions (R, 5) -> y (R, C, pooled_h, pooled_w)",
        notes=_REGIONS,
        source=_FAST_RCNN,
    ),
    LayerType(
        name="SmoothL1LossOHEM",
        param=None,
        extra_params=("loss_param",),
        bottoms=(2, 3),
        bottom_names=("a", "b", "weights"),
        tops=(1, 2),
        auto_top=True,
        summary="Measure smooth absolute distance, and that of every item.",
        formula="y = sum f(weights (a - b)) / divisor, f(d) = d^2 / 2 if |d| < 1, else "
        "|d| - 1 / 2",
        shapes="a, b, weights (N, C, ...) -> (); a second top (N, 1, ...) has the sums "
        "of all items",
        notes="The divisor is the number of positions (normalization VALID).",
        source=_OHEM,
    ),
    LayerType(
        name="SoftmaxWithLossOHEM",
        param="softmax_param",
        extra_params=("loss_param",),
        bottoms=(2, 2),
        bottom_names=("scores", "label"),
        tops=(1, 3),
        auto_top=True,
        summary="Measure the cross entropy of softmax, and that of every item.",
        formula="y = -sum_n log softmax(scores)[n, label_n] / divisor",
        shapes="scores (N, C, ...), label (N, ...) -> (); a second top has the "
        "probabilities, a third, as label, every item's loss",
        notes="The divisor is the number of labels that count (normalization VALID).",
        source=_OHEM,
    ),
)
