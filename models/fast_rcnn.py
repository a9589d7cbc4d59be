"""Fast R-CNN for PASCAL VOC on VGG-16, as published by its author.

    python -m netspec.export models/fast_rcnn.py -o train.prototxt
    python -m netspec.export models/fast_rcnn.py --deploy -o test.prototxt

Girshick, Fast R-CNN, arXiv:1504.08083. VGG-16, whose last pooling gives each region of
interest 7 by 7 places. ROIPooling and SmoothL1Loss are of the author's fork of Caffe.
Data come from his Python layer (`roi_data_layer`, which must be importable). With
--deploy: an image and regions in; for each region probabilities of classes, and for
each class how to move its box, out.
"""

from vgg16 import DEPTHS, LEARN, dense, stage

from netspec import NetSpec
from netspec import layers as L

FIXED = [dict(lr_mult=0, decay_mult=0)] * 2  # the first two stages do not learn


def fast_rcnn(num_classes: int = 21) -> NetSpec:
    """Return the net for training; the classes include the background."""
    n = NetSpec("VGG_ILSVRC_16_layers")
    n.data, n.rois, n.labels, n.bbox_targets, n.bbox_loss_weights = L.Python(
        module="roi_data_layer.layer",
        layer="RoIDataLayer",
        param_str=f"'num_classes': {num_classes}",
        ntop=5,
    )
    judge_regions(n, num_classes)
    n.loss_cls = L.SoftmaxWithLoss(n.cls_score, n.labels, loss_weight=1)
    n.loss_bbox = L.SmoothL1Loss(
        n.bbox_pred, n.bbox_targets, n.bbox_loss_weights, loss_weight=1
    )
    return n


def deploy(
    height: int = 224, width: int = 224, regions: int = 1, num_classes: int = 21
) -> NetSpec:
    """Return the net for use; a region is the number of its image, and its corners."""
    n = NetSpec("VGG_ILSVRC_16_layers")
    n.data, n.rois = L.Input(
        shape=[dict(dim=[1, 3, height, width]), dict(dim=[regions, 5])],
        name="input",
        ntop=2,
    )
    judge_regions(n, num_classes)
    n.cls_prob = L.Softmax(n.cls_score)
    return n


def judge_regions(n: NetSpec, num_classes: int) -> None:
    """Add the layers from `n.data` and `n.rois` to `n.cls_score` and `n.bbox_pred`."""
    x = n.data
    for number, depth in enumerate(DEPTHS, start=1):
        x = stage(n, x, number, depth, param=FIXED if number <= 2 else LEARN)
        if number < len(DEPTHS):
            n[f"pool{number}"] = x = L.Pooling(x, pool="MAX", kernel_size=2, stride=2)
    size = dict(pooled_h=7, pooled_w=7, spatial_scale=1 / 16)
    n.pool5 = L.ROIPooling(x, n.rois, name="roi_pool5", **size)
    x = dense(n, n.pool5, param=LEARN)
    for name, outputs, std in (
        ("cls_score", num_classes, 0.01),
        ("bbox_pred", 4 * num_classes, 0.001),
    ):
        start = dict(weight_filler=dict(type="gaussian", std=std), bias_filler=0)
        n[name] = L.InnerProduct(x, num_output=outputs, param=LEARN, **start)
