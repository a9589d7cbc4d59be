"""Faster R-CNN for PASCAL VOC on VGG-16, trained end to end, as its authors have it.

    python -m netspec.export models/faster_rcnn.py -o train.prototxt
    python -m netspec.export models/faster_rcnn.py --deploy -o test.prototxt
    python -m netspec.export models/faster_rcnn.py --deploy --set proposal=compiled

Ren et al., Faster R-CNN, arXiv:1506.01497. A network of its own proposes regions on the
features of VGG-16; Fast R-CNN judges them. The layers in Python are those that the
authors' files name; `models/rpn` has some of these names. With proposal=compiled the
layer Proposal takes the place of one of them. Data come from the authors' Python layer
(`roi_data_layer`): an image, its height, width and scale, and true boxes with classes.
With --deploy: an image and im_info in; regions, for each of them probabilities of
classes, and for each class how to move its box, out.
"""

from typing import Any, Literal

from vgg16 import DEPTHS, dense, stage

from netspec import NetSpec, Top
from netspec import layers as L

FIXED = [dict(lr_mult=0, decay_mult=0)] * 2  # the first two stages do not learn
LEARN = [dict(lr_mult=1), dict(lr_mult=2)]  # weights, bias
RATIOS, SCALES = (0.5, 1, 2), (8, 16, 32)
STRIDE = 16  # pixels of the image to a position of the features
NORMAL = dict(bias_filler=dict(type="constant", value=0))
Kind = Literal["python", "compiled"]


def faster_rcnn(num_classes: int = 21, proposal: Kind = "python") -> NetSpec:
    """Return the net for training; the classes include the background."""
    n = NetSpec("VGG_ILSVRC_16_layers")
    read(n, num_classes)
    x = features(n)
    scores = score_anchors(n, x, param=LEARN)
    learn_anchors(n, scores)
    n.rpn_rois = propose(n, scores, proposal, training=True)
    learn_regions(n, n.rpn_rois, num_classes)
    judge(n, x, num_classes, param=LEARN)
    n.loss_cls = L.SoftmaxWithLoss(
        n.cls_score, n.labels, propagate_down=[True, False], loss_weight=1
    )
    weights = (n.bbox_inside_weights, n.bbox_outside_weights)
    n.loss_bbox = L.SmoothL1Loss(n.bbox_pred, n.bbox_targets, *weights, loss_weight=1)
    return n


def deploy(
    height: int = 224,
    width: int = 224,
    num_classes: int = 21,
    proposal: Kind = "python",
) -> NetSpec:
    """Return the net for use; im_info is height, width and scale of the image."""
    n = NetSpec("VGG_ILSVRC_16_layers")
    inputs(n, height, width)
    x = features(n)
    n.rois = propose(n, score_anchors(n, x), proposal)
    judge(n, x, num_classes)
    n.cls_prob = L.Softmax(n.cls_score)
    return n


def read(n: NetSpec, num_classes: int) -> None:
    """Add an image, its size and its true boxes."""
    n.data, n.im_info, n.gt_boxes = L.Python(
        module="roi_data_layer.layer",
        layer="RoIDataLayer",
        param_str=f"'num_classes': {num_classes}",
        name="input-data",
        ntop=3,
    )


def inputs(n: NetSpec, height: int, width: int) -> None:
    """Add an image and its size as inputs."""
    n.data, n.im_info = L.Input(
        shape=[dict(dim=[1, 3, height, width]), dict(dim=[1, 3])], name="input", ntop=2
    )


def features(n: NetSpec) -> Top:
    """Add the convolutions of VGG-16, the last stage not pooled."""
    x = n.data
    for number, depth in enumerate(DEPTHS, start=1):
        x = stage(n, x, number, depth, param=FIXED if number <= 2 else LEARN)
        if number < len(DEPTHS):
            n[f"pool{number}"] = x = L.Pooling(x, pool="MAX", kernel_size=2, stride=2)
    return x


def normal(std: float) -> dict[str, Any]:
    """Return fillers that draw weights from a normal distribution."""
    return dict(weight_filler=dict(type="gaussian", std=std), **NORMAL)


def score_anchors(
    n: NetSpec,
    x: Top,
    anchors: int = len(RATIOS) * len(SCALES),
    mark: str = "/",
    width: int = 512,
    **options: Any,
) -> Top:
    """Add scores of anchors, `rpn_cls_score`, and `rpn_bbox_pred`; return the former.

    mark: between the words of names. options: of all convolutions.
    """
    options |= normal(0.01)
    window = dict(kernel_size=3, pad=1, stride=1)
    name = f"rpn_conv{mark}3x3"
    top = "rpn/output" if mark == "/" else "rpn_output"
    n[top] = L.Convolution(x, num_output=width, name=name, **window, **options)
    relu = f"rpn_relu{mark}3x3"
    n[relu] = x = L.ReLU(n[top], in_place=True)
    window = dict(kernel_size=1, pad=0, stride=1)
    n.rpn_cls_score = L.Convolution(x, num_output=2 * anchors, **window, **options)
    n.rpn_bbox_pred = L.Convolution(x, num_output=4 * anchors, **window, **options)
    n.rpn_cls_score_reshape = L.Reshape(n.rpn_cls_score, shape=[0, 2, -1, 0])
    return n.rpn_cls_score_reshape


def learn_anchors(n: NetSpec, scores: Top, **options: Any) -> None:
    """Add what the anchors should say, and the losses; options: of the Python layer."""
    names = ("labels", "bbox_targets", "bbox_inside_weights", "bbox_outside_weights")
    tops = L.Python(
        n.rpn_cls_score,
        n.gt_boxes,
        n.im_info,
        n.data,
        module="rpn.anchor_target_layer",
        layer="AnchorTargetLayer",
        param_str=text(**{"feat_stride": STRIDE, **options}),
        name="rpn-data",
        ntop=4,
    )
    for name, top in zip(names, tops, strict=True):
        n[f"rpn_{name}"] = top
    labels, *targets = tops
    n.rpn_cls_loss = L.SoftmaxWithLoss(
        scores,
        labels,
        name="rpn_loss_cls",
        propagate_down=[True, False],
        loss_weight=1,
        loss_param=dict(ignore_label=-1, normalize=True),
    )
    n.rpn_loss_bbox = L.SmoothL1Loss(n.rpn_bbox_pred, *targets, loss_weight=1, sigma=3)


def propose(
    n: NetSpec, scores: Top, kind: Kind, training: bool = False, **options: Any
) -> Top:
    """Add the probabilities of anchors, and return the regions made of them.

    options: of the Python layer, or of Proposal.
    """
    n.rpn_cls_prob = L.Softmax(scores)
    anchors = len(options.get("scales", options.get("scale", SCALES))) * len(
        options.get("ratios", options.get("ratio", RATIOS))
    )
    n.rpn_cls_prob_reshape = L.Reshape(n.rpn_cls_prob, shape=[0, 2 * anchors, -1, 0])
    bottoms = (n.rpn_cls_prob_reshape, n.rpn_bbox_pred, n.im_info)
    if kind == "python":
        return L.Python(
            *bottoms,
            module="rpn.proposal_layer",
            layer="ProposalLayer",
            param_str=text(**{"feat_stride": STRIDE, **options}),
            name="proposal",
        )
    most = dict(pre_nms_topn=12000, post_nms_topn=2000) if training else {}
    given = dict(feat_stride=STRIDE, ratio=RATIOS, scale=SCALES, **most) | options
    given = {k: list(v) if isinstance(v, tuple) else v for k, v in given.items()}
    return L.Proposal(*bottoms, name="proposal", **given)


def learn_regions(n: NetSpec, regions: Top, num_classes: int, **options: Any) -> None:
    """Add what a sample of regions should say; options: of the Python layer."""
    names = ("rois", "labels", "bbox_targets")
    tops = L.Python(
        regions,
        n.gt_boxes,
        module="rpn.proposal_target_layer",
        layer="ProposalTargetLayer",
        param_str=text(num_classes=num_classes, **options),
        name="roi-data",
        ntop=5,
    )
    names += ("bbox_inside_weights", "bbox_outside_weights")
    for name, top in zip(names, tops, strict=True):
        n[name] = top


def judge(n: NetSpec, x: Top, num_classes: int, **options: Any) -> None:
    """Add the layers from features and `n.rois` to `n.cls_score` and `n.bbox_pred`."""
    size = dict(pooled_h=7, pooled_w=7, spatial_scale=1 / STRIDE)
    n.pool5 = L.ROIPooling(x, n.rois, name="roi_pool5", **size)
    x = dense(n, n.pool5, **options)
    for name, outputs, std in (
        ("cls_score", num_classes, 0.01),
        ("bbox_pred", 4 * num_classes, 0.001),
    ):
        n[name] = L.InnerProduct(x, num_output=outputs, **options, **normal(std))


def text(**options: Any) -> str:
    """Return the options of a layer in Python as the authors write them."""
    return ", ".join(f"'{name}': {value}" for name, value in options.items())
