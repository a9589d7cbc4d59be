"""R-FCN for PASCAL VOC on residual nets, with online hard example mining.

    python -m netspec.export models/rfcn.py -o train.prototxt
    python -m netspec.export models/rfcn.py --set depth=101 --deploy -o test.prototxt

Dai et al., R-FCN: object detection via region-based fully convolutional networks,
arXiv:1605.06409; the nets of 50 and 101 layers are those of its authors' py-R-FCN, that
of 18 is one that soeaver published, with BatchNorm merged into convolutions. Regions
are proposed as in `faster_rcnn.py`; each of their 7 x 7 parts has channels of its own
in the features, and the scores of a region are means over its parts. All objects share
their boxes. Only the regions of the largest losses are learned from. The layers in
Python are those that the authors' files name, and as there `roi-data` has 2 classes:
background and object. With --deploy: an image and im_info in, regions, probabilities
of classes and how to move boxes out.
"""

from typing import Any, Literal

from faster_rcnn import (
    Kind,
    inputs,
    learn_anchors,
    learn_regions,
    normal,
    propose,
    read,
    score_anchors,
)
from resnet import names

from netspec import NetSpec, Top
from netspec import layers as L

Depth = Literal[18, 50, 101]
STILL = dict(lr_mult=0, decay_mult=0)
PARTS = 7  # of a region, on each axis
BOX_CLASSES = 2  # background and object


def rfcn(
    depth: Depth = 50, num_classes: int = 21, proposal: Kind = "python"
) -> NetSpec:
    """Return the net for training; the classes include the background."""
    n = NetSpec("rfcn_resnet18" if depth == 18 else f"ResNet-{depth}")
    read(n, num_classes)
    middle, last = trunk(n, depth)
    scores = anchors(n, middle, depth)
    learn_anchors(n, scores)
    n.rpn_rois = propose(n, scores, proposal, training=True)
    learn_regions(n, n.rpn_rois, BOX_CLASSES)
    judge(n, last, depth, num_classes)
    mine(n)
    learn(n)
    return n


def deploy(
    depth: Depth = 50,
    height: int = 600,
    width: int = 600,
    num_classes: int = 21,
    proposal: Kind = "python",
) -> NetSpec:
    """Return the net for use; im_info is height, width and scale of the image."""
    n = NetSpec() if depth == 18 else NetSpec(f"ResNet-{depth}")
    inputs(n, height, width)
    middle, last = trunk(n, depth)
    n.rois = propose(n, anchors(n, middle, depth), proposal)
    if depth == 18:
        judge(n, last, depth, num_classes)
        n.cls_prob = L.Softmax(n.cls_score)
        return n
    judge(n, last, depth, num_classes, boxes="bbox_pred_pre")
    n.cls_prob_pre = L.Softmax(n.cls_score, name="cls_prob")
    n.cls_prob = L.Reshape(
        n.cls_prob_pre, shape=[-1, num_classes], name="cls_prob_reshape"
    )
    n.bbox_pred = L.Reshape(
        n.bbox_pred_pre, shape=[-1, 4 * BOX_CLASSES], name="bbox_pred_reshape"
    )
    return n


def params(depth: Depth, number: int = 2, rate: float = 1) -> list[dict[str, Any]]:
    """Return how weights and biases learn; only the net of 18 says how they decay."""
    learned = [dict(lr_mult=rate), dict(lr_mult=2 * rate)]
    if depth == 18:
        learned[0]["decay_mult"], learned[1]["decay_mult"] = rate, 0
    return learned[:number]


def trunk(n: NetSpec, depth: Depth) -> tuple[Top, Top]:
    """Add the residual net; return what stages 4 and 5 end with.

    Its last stage is as large as the one before, with dilated convolutions. The first
    two stages do not learn, nor do BatchNorm and Scale.
    """

    def conv(name: str, x: Top, width: int, size: int, rate: int, **window: Any) -> Top:
        """Add a convolution, its normalisation and its scale, the last two in place."""
        stem = name.removeprefix("res") if name != "conv1" else "_conv1"
        bias = depth == 50 and name == "conv1"
        window |= {} if bias else dict(bias_term=False)
        learned = params(depth, 1 + bias, rate)
        n[name] = x = L.Convolution(
            x, num_output=width, kernel_size=size, param=learned, **window
        )
        if depth > 18:
            n["bn" + stem] = x = L.BatchNorm(
                x, param=[STILL] * 3, use_global_stats=True, in_place=True
            )
        scale = dict(param=[STILL] * 2, bias_term=True, in_place=True)
        n["scale" + stem] = x = L.Scale(x, **scale)
        return x

    def relu(name: str, x: Top) -> Top:
        n[name + "_relu"] = x = L.ReLU(x, in_place=True)
        return x

    def block(name: str, x: Top, stage: int, first: bool) -> Top:
        """Add the convolutions of a block and the sum with what goes around them."""
        rate, width = int(stage > 2), 2 ** (stage + 4)
        step = 2 if first and stage in (3, 4) else 1
        wide = dict(dilation=2, pad=2) if stage == 5 else dict(pad=1)
        around = x
        if first and (stage > 2 or depth >= 50):
            out = width if depth < 50 else 4 * width
            around = conv(f"{name}_branch1", x, out, 1, rate, pad=0, stride=step)
        sizes = [(width, 3)] * 2 if depth < 50 else [(width, 1), (width, 3)]
        sizes += [] if depth < 50 else [(4 * width, 1)]
        for letter, (outputs, size) in zip("abc", sizes, strict=False):
            part = f"{name}_branch2{letter}"
            window = wide if size == 3 else dict(pad=0)
            x = conv(part, x, outputs, size, rate, stride=step, **window)
            step = 1
            if letter != "abc"[len(sizes) - 1]:
                x = relu(part, x)
        n[name] = L.Eltwise(around, x)
        return relu(name, n[name])

    x = relu("conv1", conv("conv1", n.data, 64, 7, 0, pad=3, stride=2))
    rim = dict(pad=1, ceil_mode=False) if depth == 18 else {}
    x = n.pool1 = L.Pooling(x, kernel_size=3, stride=2, pool="MAX", **rim)
    ends = []
    for stage in (2, 3, 4, 5):
        for name in names(depth, stage):
            x = block(name, x, stage, first=name.endswith("a"))
        ends.append(x)
    return ends[2], ends[3]


def anchors(n: NetSpec, x: Top, depth: Depth) -> Top:
    """Add the scores of anchors."""
    mark = "_" if depth == 18 else "/"
    return score_anchors(n, x, mark=mark, param=params(depth))


def judge(
    n: NetSpec, x: Top, depth: Depth, num_classes: int, boxes: str = "bbox_pred"
) -> None:
    """Add the layers from features and `n.rois` to `n.cls_score` and `n[boxes]`."""
    options = dict(kernel_size=1, pad=0, param=params(depth), **normal(0.01))
    n.conv_new_1 = L.Convolution(x, num_output=1024, **options)
    n.conv_new_1_relu = x = L.ReLU(n.conv_new_1, in_place=True)
    kinds = (("cls", num_classes), ("bbox", 4 * BOX_CLASSES))
    for kind, numbers in kinds:
        n[f"rfcn_{kind}"] = L.Convolution(x, num_output=numbers * PARTS**2, **options)
    window = dict(global_pooling=True)
    if depth > 18:
        window = dict(kernel_size=PARTS, stride=PARTS)
    ends = (
        ("cls", "cls", "cls_score", "cls_score"),
        ("bbox", "loc", "bbox_pred", boxes),
    )
    for (kind, short, name, top), (_, numbers) in zip(ends, kinds, strict=True):
        n[f"psroipooled_{short}_rois"] = y = L.PSROIPooling(
            n[f"rfcn_{kind}"],
            n.rois,
            spatial_scale=0.0625,
            output_dim=numbers,
            group_size=PARTS,
        )
        n[top] = L.Pooling(y, pool="AVE", name=f"ave_{name}_rois", **window)


def mine(n: NetSpec) -> None:
    """Add the losses of all regions, and the labels of those that are learned from."""

    def still(*bottoms: Top) -> dict[str, Any]:
        return dict(propagate_down=[False] * len(bottoms))

    scored = (n.cls_score, n.labels)
    tops = L.SoftmaxWithLossOHEM(
        *scored, loss_weight=[0] * 3, name="per_roi_loss_cls", ntop=3, **still(*scored)
    )
    n.temp_loss_cls, n.temp_prob_cls, n.per_roi_loss_cls = tops
    placed = (n.bbox_pred, n.bbox_targets, n.bbox_inside_weights)
    n.temp_loss_bbox, n.per_roi_loss_bbox = L.SmoothL1LossOHEM(
        *placed, loss_weight=[0] * 2, name="per_roi_loss_bbox", ntop=2, **still(*placed)
    )
    pair = (n.per_roi_loss_cls, n.per_roi_loss_bbox)
    n.per_roi_loss = L.Eltwise(*pair, **still(*pair))
    bottoms = (n.rois, n.per_roi_loss, n.labels, n.bbox_inside_weights)
    n.labels_ohem, n.bbox_loss_weights_ohem = L.BoxAnnotatorOHEM(
        *bottoms,
        roi_per_img=128,
        ignore_label=-1,
        name="annotator_detector",
        ntop=2,
        **still(*bottoms),
    )
    unused = (n.bbox_outside_weights, n.temp_loss_cls, n.temp_prob_cls)
    n.silence = L.Silence(*unused, n.temp_loss_bbox)


def learn(n: NetSpec) -> None:
    """Add the losses of the regions that are learned from, and their accuracy."""
    n.loss_cls = L.SoftmaxWithLoss(
        n.cls_score,
        n.labels_ohem,
        name="loss",
        loss_weight=1,
        loss_param=dict(ignore_label=-1),
        propagate_down=[True, False],
    )
    n.accuarcy = L.Accuracy(  # so the authors spell it
        n.cls_score, n.labels_ohem, ignore_label=-1, propagate_down=[False, False]
    )
    n.loss_bbox = L.SmoothL1LossOHEM(
        n.bbox_pred,
        n.bbox_targets,
        n.bbox_loss_weights_ohem,
        loss_weight=1,
        loss_param=dict(normalization="PRE_FIXED", pre_fixed_normalizer=128),
        propagate_down=[True, False, False],
    )
