"""Layers of the forks for detection: SSD and Fast R-CNN."""

from __future__ import annotations

from netspec.catalogue.base import LayerType

_SSD = "Liu et al., arXiv:1512.02325; not in BVLC Caffe"
_FAST_RCNN = "Girshick, arXiv:1504.08083; not in BVLC Caffe"

DETECTION = (
    LayerType(
        name="AnnotatedData",
        param="annotated_data_param",
        extra_params=("data_param", "transform_param"),
        bottoms=(0, 0),
        bottom_names=(),
        tops=(1, 2),
        summary="Read images and their boxes from a database.",
        shapes="data (batch_size, C, H, W), label (1, 1, boxes, 8)",
        notes="The source and the batch size stand in data_param.",
        source=_SSD,
    ),
    LayerType(
        name="DetectionEvaluate",
        param="detection_evaluate_param",
        bottoms=(2, 2),
        bottom_names=("detections", "truth"),
        required=("num_classes",),
        summary="Tell which detections are right.",
        shapes="detections (1, 1, K, 7), truth (1, 1, boxes, 8) -> (1, 1, classes + K, "
        "5)",
        source=_SSD,
    ),
    LayerType(
        name="DetectionOutput",
        param="detection_output_param",
        bottoms=(3, 5),
        bottom_names=(
            "locations",
            "confidences",
            "priors",
            "objectness",
            "refinements",
        ),
        required=("num_classes",),
        summary="Decode boxes and keep the best that do not overlap.",
        shapes="locations (N, 4 P), confidences (N, classes P), priors (1, 2, 4 P), "
        "objectness (N, 2 P), refinements (N, 4 P) -> (1, 1, K, 7)",
        notes="Objectness and refinements are RefineDet's. SSD's fourth bottom, the "
        "images to be shown with visualize, is not read.",
        source=_SSD,
    ),
    LayerType(
        name="MultiBoxLoss",
        param="multibox_loss_param",
        extra_params=("loss_param",),
        bottoms=(4, 4),
        bottom_names=("locations", "confidences", "priors", "truth"),
        auto_top=True,
        required=("num_classes",),
        summary="Measure how far matched boxes and their classes are from the truth.",
        shapes="locations (N, 4 P), confidences (N, classes P), priors (1, 2, 4 P), "
        "truth (1, 1, boxes, 8) -> ()",
        source=_SSD,
    ),
    LayerType(
        name="Normalize",
        param="norm_param",
        summary="Scale every vector of channels to a learned length.",
        formula="y = scale_c x / sqrt(sum x^2 + eps)",
        shapes="x (N, C, H, W) -> y (same shape); scale (C,), or () if shared",
        source="Liu et al., arXiv:1506.04579; not in BVLC Caffe",
    ),
    LayerType(
        name="Permute",
        param="permute_param",
        summary="Change the order of the axes.",
        formula="axis i of y is axis order[i] of x",
        shapes="x (N, C, H, W) -> y (N, H, W, C) for order 0, 2, 3, 1",
        source=_SSD,
    ),
    LayerType(
        name="PriorBox",
        param="prior_box_param",
        bottoms=(2, 2),
        bottom_names=("features", "image"),
        required=("min_size",),
        summary="Lay default boxes over a grid.",
        shapes="features (N, C, H, W), image (N, C', H', W') -> (1, 2, 4 H W boxes)",
        source=_SSD,
    ),
    LayerType(
        name="SmoothL1Loss",
        param="smooth_l1_loss_param",
        extra_params=("loss_param",),
        bottoms=(2, 4),
        bottom_names=("a", "b", "inside", "outside"),
        tops=(1, 2),
        auto_top=True,
        summary="Measure squared distance near 0, absolute distance far away.",
        formula="y = sum outside f(inside (a - b)) / N, f(d) = (sigma d)^2 / 2 if "
        "|d| < 1 / sigma^2, else |d| - 1 / (2 sigma^2)",
        shapes="a, b, inside, outside (N, C, ...) -> (); a second top (N, 1, ...) has "
        "the sums over channels",
        notes="The weights inside and outside may be left out. Without sigma and "
        "outside, loss_param says what to divide by, as in R-FCN.",
        source=_FAST_RCNN,
    ),
    LayerType(
        name="VideoData",
        param="video_data_param",
        extra_params=("data_param", "transform_param"),
        bottoms=(0, 0),
        bottom_names=(),
        tops=(1, 2),
        summary="Read frames from a camera or a video.",
        shapes="data (batch_size, C, H, W), label (batch_size,)",
        source=_SSD,
    ),
)
