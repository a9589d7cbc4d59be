"""SSD's and Fast R-CNN's layers against references of their own."""

import math

import numpy as np
import pytest

import netspec
from netspec.errors import SpecError, SpecWarning, UnsupportedError
from tests.onnx.writing import detection_reference as slow
from tests.onnx.writing.running import check_equal, in_onnx, inputs_of, net_of, onnx

NEWEST = onnx.defs.onnx_opset_version()
PRIORS, CLASSES, IMAGES = 13, 4, 3


@pytest.mark.parametrize("opset", [13, 21])
@pytest.mark.parametrize("across", [True, False])
@pytest.mark.parametrize("shared", [True, False])
def test_normalize(across, shared, opset):
    options = f"across_spatial: {across} channel_shared: {shared} eps: 0.5"
    net, graph = net_of(
        f'type: "Normalize" norm_param {{ {options.lower()} }}', [(2, 3, 4, 5)]
    )
    x = inputs_of(graph)
    scale = np.linspace(0.5, 2, 1 if shared else 3, dtype=np.float32)
    weights = {"layer": [scale.reshape(() if shared else 3)]}
    y = in_onnx(netspec.to_onnx(net, weights, opset=opset), x)
    check_equal(y, {"y0": slow.normalize(x["x0"], scale, across, 0.5)})


def test_permute():
    net, graph = net_of(
        'type: "Permute" permute_param { order: 2 order: 0 }', [(2, 3, 4, 5)]
    )
    x = inputs_of(graph)
    y = in_onnx(netspec.to_onnx(net), x)
    check_equal(y, {"y0": x["x0"].transpose(2, 0, 1, 3)})


@pytest.mark.parametrize(
    ("options", "image", "step", "offset", "clip"),
    [
        ("", (60, 90), (15, 15), 0.5, False),
        ("img_size: 50 clip: true", (50, 50), (12.5, 50 / 6), 0.5, True),
        ("img_h: 40 img_w: 50 step: 9 offset: 0", (40, 50), (9, 9), 0, False),
        ("step_h: 7 step_w: 8", (60, 90), (7, 8), 0.5, False),
    ],
)
def test_prior_boxes_are_a_constant(options, image, step, offset, clip):
    net, graph = net_of(
        'type: "PriorBox" prior_box_param { min_size: 12 min_size: 20 max_size: 30 '
        f"max_size: 42 aspect_ratio: 2 aspect_ratio: 3 variance: 0.1 variance: 0.2 "
        f"variance: 0.3 variance: 0.4 {options} }}",
        [(2, 3, 4, 6), (2, 3, 60, 90)],
    )
    model = netspec.to_onnx(net)
    assert [node.op_type for node in model.graph.node] == ["Identity"]
    sides = []
    for low, high in ((12, 30), (20, 42)):
        sides += [(low, low), (math.sqrt(low * high),) * 2]
        for ratio in (2, 1 / 2, 3, 1 / 3):
            sides.append((low * math.sqrt(ratio), low / math.sqrt(ratio)))
    boxes = slow.prior_boxes((4, 6), image, sides, step, offset, clip)
    variances = np.tile([0.1, 0.2, 0.3, 0.4], len(boxes) // 4)
    y = in_onnx(model, inputs_of(graph))
    check_equal(y, {"y0": np.stack([boxes, variances])[None]})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("variance: 0.1 variance: 0.2", "variance is .*; expected 1 or 4"),
        ("img_size: 9 img_h: 9 img_w: 9", "both img_size and img_h and img_w"),
        ("img_h: 9", r"img_h and img_w \(9, 0\)"),
        ("step: 9 step_h: 9 step_w: 9", "both step and step_h and step_w"),
        ("step_w: 9", "step_h and step_w"),
    ],
)
def test_options_of_prior_boxes_that_mean_nothing_are_refused(options, said):
    with pytest.raises(SpecError, match=rf"layer 'layer' \(PriorBox\).*{said}"):
        net_of(
            f'type: "PriorBox" prior_box_param {{ min_size: 12 {options} }}',
            [(2, 3, 4, 6), (2, 3, 60, 90)],
        )


@pytest.mark.parametrize("batch", [None, "dynamic"])
def test_regions_are_pooled(batch):
    net, _ = net_of(
        'type: "ROIPooling" roi_pooling_param { pooled_h: 3 pooled_w: 2 '
        "spatial_scale: 0.5 }",
        [(2, 3, 9, 11), (6, 5)],
    )
    rng = np.random.default_rng(4)
    corners = np.sort(rng.integers(0, 21, (6, 2, 2)), axis=1).reshape(6, 4)
    regions = np.hstack([rng.integers(0, 2, (6, 1)), corners]).astype(np.float32)
    regions[0, 1:] = 30, 30, 60, 40  # beyond the image
    x = {"x0": rng.standard_normal((2, 3, 9, 11)).astype(np.float32), "x1": regions}
    y = in_onnx(netspec.to_onnx(net, batch=batch), x)
    wanted = slow.roi_pooling(x["x0"], regions, (3, 2), 0.5)
    check_equal(y, {"y0": wanted})


@pytest.mark.skipif(NEWEST < 22, reason="this onnx has no opset 22")
def test_regions_in_an_opset_that_onnx_runtime_lacks_are_warned_of():
    net, _ = net_of(
        'type: "ROIPooling" roi_pooling_param { pooled_h: 3 pooled_w: 2 }',
        [(2, 3, 9, 11), (6, 5)],
    )
    with pytest.warns(SpecWarning, match=r"'layer' \(ROIPooling\).*opset 22"):
        netspec.to_onnx(net, opset=22)


def detection_net(options, share=True, images=IMAGES):
    locations = PRIORS * 4 * (1 if share else CLASSES)
    return net_of(
        f'type: "DetectionOutput" detection_output_param {{ num_classes: {CLASSES} '
        f"share_location: {str(share).lower()} {options} }}",
        [(images, locations), (images, PRIORS * CLASSES), (1, 2, PRIORS * 4)],
    )[0]


def detection_inputs(share, images=IMAGES, seed=0):
    rng = np.random.default_rng(seed)
    corners = np.sort(rng.random((PRIORS, 2, 2)), axis=1).reshape(-1)
    variances = rng.choice([0.1, 0.2], PRIORS * 4)
    locations = (images, PRIORS * 4 * (1 if share else CLASSES))
    arrays = (
        rng.standard_normal(locations) * 2,
        rng.random((images, PRIORS * CLASSES)),
        np.stack([corners, variances])[None],
    )
    return {f"x{i}": each.astype(np.float32) for i, each in enumerate(arrays)}


DETECTIONS = [
    ("", {}),
    ("code_type: CENTER_SIZE keep_top_k: 5", dict(code="CENTER_SIZE", keep=5)),
    (
        "code_type: CORNER_SIZE background_label_id: -1 nms_param { top_k: 4 }",
        dict(code="CORNER_SIZE", background=-1, top_k=4),
    ),
    (
        (
            "variance_encoded_in_target: true confidence_threshold: 0.6 "
            "nms_param { nms_threshold: 0.45 eta: 0.9 }"
        ),
        dict(encoded=True, confidence=0.6, threshold=0.45),
    ),
    (
        (
            "code_type: CENTER_SIZE background_label_id: 2 keep_top_k: 200 "
            "confidence_threshold: 0.01 nms_param { nms_threshold: 0.7 top_k: 400 }"
        ),
        dict(
            code="CENTER_SIZE",
            background=2,
            keep=200,
            confidence=0.01,
            threshold=0.7,
            top_k=400,
        ),
    ),
    ("confidence_threshold: 2", dict(confidence=2)),  # nothing is found
]


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize(("options", "same"), DETECTIONS)
def test_detections(options, same, share):
    x = detection_inputs(share)
    wanted = slow.detections(*x.values(), classes=CLASSES, share=share, **same)
    net = detection_net(options, share)
    check_equal(in_onnx(netspec.to_onnx(net), x), {"y0": wanted})


@pytest.mark.parametrize(("options", "same"), DETECTIONS[1::4])
@pytest.mark.parametrize("images", [1, 2, 5])
def test_detections_of_any_number_of_images(options, same, images):
    net = detection_net(options)
    net.layer[2].type, net.layer[2].name = "Parameter", "priors"
    net.layer[2].parameter_param.shape.dim[:] = [1, 2, PRIORS * 4]
    net.layer[2].ClearField("input_param")
    x = detection_inputs(share=True, images=images, seed=images)
    weights = {"priors": [x["x2"]]}
    model = netspec.to_onnx(net, weights, batch="dynamic", opset=13)
    wanted = slow.detections(*x.values(), classes=CLASSES, **same)
    check_equal(in_onnx(model, x), {"y0": wanted})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("nms_param { nms_threshold: 0.6 eta: 0.9 }", "the threshold would change"),
        ("keep_top_k: 0", "nothing is ever found"),
        ("nms_param { top_k: 0 }", "nothing is ever found"),
    ],
)
def test_detections_that_onnx_cannot_make_are_refused(options, said):
    with pytest.raises(UnsupportedError, match=rf"\(DetectionOutput\).*{said}"):
        netspec.to_onnx(detection_net(options))


def test_a_negative_threshold_is_refused():
    with pytest.raises(SpecError, match="nms_threshold is -1; expected at least 0"):
        detection_net("nms_param { nms_threshold: -1 }")


def test_files_that_will_not_be_written_are_warned_of():
    net = detection_net('save_output_param { output_directory: "out" }')
    with pytest.warns(SpecWarning, match="'layer'.*writes no files"):
        netspec.to_onnx(net)


def test_what_reads_detections_is_refused():
    net = detection_net("")
    net.layer.add(name="end", type="Power", bottom=["y0"], top=["z"])
    with pytest.raises(UnsupportedError, match="'end'.*how many rows"):
        netspec.to_onnx(net)
