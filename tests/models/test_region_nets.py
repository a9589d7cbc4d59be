"""Nets of regions train end to end, on images of drawn shapes in sizes of all kinds."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import runtime
from netspec import NetSpec, Top
from netspec import layers as L

MODELS = Path(__file__).resolve().parents[2] / "models"
IMAGES = 4
START = dict(weight_filler="msra", bias_filler=0)
# Of layers in Python, and of Proposal.
ANCHORS = dict(feat_stride=8, base_size=8, scales=(3, 6), ratios=(0.7, 1.4))
OWN = dict(feat_stride=8, base_size=8, scale=(3, 6), ratio=(0.7, 1.4))
FEW = dict(min_size=8, pre_nms_topn=200, post_nms_topn=40)


@pytest.fixture(scope="module")
def models() -> Iterator[Any]:
    """The modules of `models`, whose layers in Python are written for pycaffe."""
    before = set(sys.modules)
    sys.path.insert(0, str(MODELS))
    try:
        import faster_rcnn
        import rfcn

        yield {"faster_rcnn": faster_rcnn, "rfcn": rfcn}
    finally:
        sys.path.remove(str(MODELS))
        for name in set(sys.modules) - before:
            if str(MODELS) in str(getattr(sys.modules[name], "__file__", "")):
                del sys.modules[name]


def trunk(n: NetSpec) -> Top:
    """Add four convolutions, 8 times smaller than the image."""
    x = n.data
    for k, width in enumerate((12, 24, 32, 48)):
        n[f"conv{k}"] = x = L.Convolution(
            x, num_output=width, kernel_size=3, pad=1, **START
        )
        n[f"relu{k}"] = x = L.ReLU(x, in_place=True)
        if k < 3:
            n[f"pool{k}"] = x = L.Pooling(x, pool="MAX", kernel_size=2, stride=2)
    return x


def judge(n: NetSpec, x: Top) -> None:
    """Add scores and boxes of regions."""
    n.pool = L.ROIPooling(x, n.rois, pooled_h=5, pooled_w=5, spatial_scale=1 / 8)
    n.fc = L.InnerProduct(n.pool, num_output=96, **START)
    n.relu_fc = y = L.ReLU(n.fc, in_place=True)
    n.cls_score = L.InnerProduct(y, num_output=3, weight_filler="xavier")
    n.bbox_pred = L.InnerProduct(y, num_output=12)


def begin(models: Any, kind: str) -> tuple[NetSpec, Top]:
    """Return a net up to the regions that are proposed, with the losses of anchors."""
    faster_rcnn, n = models["faster_rcnn"], NetSpec("tiny")
    n.data, n.im_info, n.gt_boxes = L.Python(
        module="rpn.drawn_shapes_layer",
        layer="DrawnShapesLayer",
        param_str=f"'images': {IMAGES}",
        ntop=3,
    )
    x = trunk(n)
    scores = faster_rcnn.score_anchors(n, x, 4, width=48)
    faster_rcnn.learn_anchors(n, scores, **ANCHORS, batch_size=64)
    options = {**(ANCHORS if kind == "python" else OWN), **FEW}
    n.rpn_rois = faster_rcnn.propose(n, scores, kind, **options)
    return n, x


def training(models: Any, kind: str) -> NetSpec:
    """Return a small Faster R-CNN."""
    n, x = begin(models, kind)
    models["faster_rcnn"].learn_regions(n, n.rpn_rois, 3, batch_size=32)
    judge(n, x)
    n.loss_cls = L.SoftmaxWithLoss(
        n.cls_score, n.labels, loss_weight=1, propagate_down=[True, False]
    )
    weights = (n.bbox_inside_weights, n.bbox_outside_weights)
    n.loss_bbox = L.SmoothL1Loss(n.bbox_pred, n.bbox_targets, *weights, loss_weight=1)
    return n


def use(models: Any) -> NetSpec:
    """Return the same net for use."""
    n = NetSpec("tiny")
    models["faster_rcnn"].inputs(n, 96, 128)
    x = trunk(n)
    scores = models["faster_rcnn"].score_anchors(n, x, 4, width=48)
    n.rois = models["faster_rcnn"].propose(n, scores, "compiled", **OWN, **FEW)
    judge(n, x)
    n.cls_prob = L.Softmax(n.cls_score)
    return n


def solver(n: NetSpec, rate: float = 0.01) -> runtime.Solver:
    return runtime.get_solver(
        f"""net_param {{ {n.to_proto()} }} base_lr: {rate} lr_policy: 'fixed'
        momentum: 0.9 weight_decay: 0.0005 random_seed: 3""",
        allow_python=["rpn"],
    )


def losses(one: runtime.Solver, steps: int) -> list[float]:
    one.step(steps)
    return [row.loss for row in one.history.train]


def test_faster_rcnn_finds_what_it_has_learned(models: Any) -> None:
    one = solver(training(models, "compiled"))
    found = losses(one, 90)
    assert np.mean(found[-8:]) < 0.45 * np.mean(found[:8])
    net = runtime.Net(use(models), runtime.TEST)
    for name, values in net.params.items():
        for mine, learned in zip(values, one.net.params[name], strict=True):
            mine.data[...] = learned.data
    from rpn import boxes

    hits, shapes = [], set()
    for _ in range(IMAGES):
        one.net.forward()
        image = one.net.blobs["data"].data
        shapes.add(image.shape)
        net.blobs["data"].reshape(*image.shape)
        net.blobs["data"].data[...] = image
        net.blobs["im_info"].data[...] = one.net.blobs["im_info"].data
        net.forward()
        rois = net.blobs["rois"].data[:, 1:]
        deltas = net.blobs["bbox_pred"].data.reshape(-1, 3, 4) * [0.1, 0.1, 0.2, 0.2]
        for *truth, kind in one.net.blobs["gt_boxes"].data:
            placed = boxes.moved(rois, deltas[:, int(kind)])
            near = boxes.overlaps(placed, np.array([truth]))[:, 0] > 0.5
            sure = net.blobs["cls_prob"].data[:, int(kind)] > 0.5
            hits.append(bool((near & sure).any()))
    assert len(shapes) > 1
    assert np.mean(hits) > 0.7


def test_the_layer_in_python_proposes_what_proposal_does(models: Any) -> None:
    found = []
    for kind in ("python", "compiled"):
        n, _ = begin(models, kind)
        n.silence = L.Silence(n.rpn_rois)
        net = runtime.Net(n, runtime.TRAIN, seed=5, allow_python=["rpn"])
        rows = []
        for _ in range(3):
            net.forward()
            rows.append(net.blobs["rpn_rois"].data.copy())
        found.append(rows)
    for mine, other in zip(*found, strict=True):
        assert len(mine) > 5
        np.testing.assert_allclose(mine, other, atol=1e-3)


def test_rfcn_learns_from_the_regions_of_the_largest_losses(models: Any) -> None:
    n, x = begin(models, "compiled")
    models["faster_rcnn"].learn_regions(n, n.rpn_rois, 2, batch_size=-1)
    models["rfcn"].judge(n, x, 18, 3)
    models["rfcn"].mine(n)
    models["rfcn"].learn(n)
    message = n.to_proto()
    for layer in message.layer:
        if layer.type == "BoxAnnotatorOHEM":
            layer.box_annotator_ohem_param.roi_per_img = 12
        if layer.type == "PSROIPooling":
            layer.psroi_pooling_param.spatial_scale = 1 / 8
    one = runtime.get_solver(
        f"net_param {{ {message} }} base_lr: 0.02 lr_policy: 'fixed' momentum: 0.9",
        allow_python=["rpn"],
    )
    found = losses(one, 24)
    assert np.mean(found[-4:]) < 0.8 * np.mean(found[:4])
    labels, kept = (one.net.blobs[name].data for name in ("labels", "labels_ohem"))
    loss = one.net.blobs["per_roi_loss"].data.ravel()
    assert (kept.ravel() != -1).sum() == 12
    assert len(labels) > 12
    assert loss[kept.ravel() != -1].min() >= loss[kept.ravel() == -1].max()


def test_options_of_layers_in_python_are_checked(models: Any) -> None:
    n, _ = begin(models, "python")
    message = n.to_proto()
    for layer in message.layer:
        param = layer.python_param
        param.param_str = param.param_str.replace("pre_nms_topn", "pre_nms_top")
    with pytest.raises(ValueError, match="param_str has 'pre_nms_top'; expected some"):
        runtime.Net(message, runtime.TRAIN, allow_python=["rpn"])
