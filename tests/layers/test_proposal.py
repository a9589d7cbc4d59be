"""Proposal against loops over anchors, positions and pairs of boxes."""

from __future__ import annotations

import math

import numpy as np
import pytest

import runtime
from netspec.errors import SpecError
from runtime.backends.base import Backend
from tests.layers.harness import LoneLayer

# The nine anchors of Faster R-CNN, as its authors list them.
PUBLISHED = [
    [-84, -40, 99, 55],
    [-176, -88, 191, 103],
    [-360, -184, 375, 199],
    [-56, -56, 71, 71],
    [-120, -120, 135, 135],
    [-248, -248, 263, 263],
    [-36, -80, 51, 95],
    [-80, -168, 95, 183],
    [-168, -344, 183, 359],
]
TWO = "ratio: 0.7 scale: 1 scale: 2.5 base_size: 12 feat_stride: 9 min_size: 6"
THREE = "ratio: 0.5 ratio: 1 ratio: 2 scale: 8 scale: 16 scale: 32"


def anchor(op, ratio, scale):
    width = math.floor(math.sqrt(op.base_size**2 / ratio) + 0.5)
    height = math.floor(width * ratio + 0.5)
    centre = (op.base_size - 1) / 2
    half_w, half_h = (width * scale - 1) / 2, (height * scale - 1) / 2
    return centre - half_w, centre - half_h, centre + half_w, centre + half_h


def overlap(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0]) + 1
    height = min(a[3], b[3]) - max(a[1], b[1]) + 1
    if width <= 0 or height <= 0:
        return 0
    both = width * height
    area = [(c[2] - c[0] + 1) * (c[3] - c[1] + 1) for c in (a, b)]
    return both / (sum(area) - both)


def proposals(op, scores, deltas, info):
    """Rows of image, box and score, one loop for each sentence of the definition."""
    rows = []
    kinds = [anchor(op, r, s) for r in op.ratio for s in op.scale]
    for n in range(len(scores)):
        image = info[n if len(info) == len(scores) else 0].ravel()
        height, width, down = image[:3]
        along = image[3] if len(image) > 3 else down
        boxes = []
        for i, j in np.ndindex(scores.shape[2:]):
            for a, (x1, y1, x2, y2) in enumerate(kinds):
                dx, dy, dw, dh = deltas[n, 4 * a : 4 * a + 4, i, j]
                w, h = x2 - x1 + 1, y2 - y1 + 1
                x = j * op.feat_stride + x1 + w / 2 + dx * w
                y = i * op.feat_stride + y1 + h / 2 + dy * h
                w, h = w * math.exp(dw), h * math.exp(dh)
                box = (
                    min(max(x - w / 2, 0), width - 1),
                    min(max(y - h / 2, 0), height - 1),
                    min(max(x + w / 2, 0), width - 1),
                    min(max(y + h / 2, 0), height - 1),
                )
                large = box[2] - box[0] + 1 >= op.min_size * along
                if large and box[3] - box[1] + 1 >= op.min_size * down:
                    boxes.append((scores[n, len(kinds) + a, i, j], box))
        boxes.sort(key=lambda pair: -pair[0])
        kept = []
        for score, box in boxes[: op.pre_nms_topn]:
            if all(overlap(box, other) <= op.nms_thresh for _, other in kept):
                kept.append((score, box))
        rows += [[n, *box, score] for score, box in kept[: op.post_nms_topn]]
    return np.array(rows).reshape(-1, 6)


def net(options: str, shapes, backend="numpy", dtype="float32"):
    dims = [" ".join(f"dim: {size}" for size in shape) for shape in shapes]
    text = "".join(
        f'layer {{ name: "{name}" type: "Input" top: "{name}" '
        f"input_param {{ shape {{ {dim} }} }} }}\n"
        for name, dim in zip(("scores", "deltas", "info"), dims, strict=True)
    )
    text += f"""layer {{ name: "p" type: "Proposal" bottom: "scores" bottom: "deltas"
        bottom: "info" top: "rois" top: "found" proposal_param {{ {options} }} }}
        layer {{ name: "twice" type: "Power" bottom: "found" top: "twice"
        power_param {{ scale: 2 }} }}"""
    return runtime.Net(text, runtime.TEST, backend=backend, dtype=dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("options", "images", "info"),
    [
        (f"{THREE} min_size: 4 feat_stride: 8 nms_thresh: 0.6", 1, [[50, 70, 1.3]]),
        (
            f"{TWO} pre_nms_topn: 25 post_nms_topn: 9 nms_thresh: 0.4",
            3,
            [[50, 70, 1.3, 0.8], [40, 33, 2, 1], [61, 52, 0.5, 1.5]],
        ),
        ("ratio: 1 scale: 2 nms_thresh: 1 min_size: 0", 2, [[60, 90, 1]]),
    ],
)
def test_proposals_are_the_best_boxes_that_do_not_overlap(
    backend: Backend, options: str, images: int, info: list[list[float]], dtype: str
) -> None:
    rng = np.random.default_rng(6)
    anchors = options.count("ratio") * options.count("scale")
    shapes = [(images, 2 * anchors, 4, 6), (images, 4 * anchors, 4, 6), np.shape(info)]
    one = net(options, shapes, backend.name, dtype)
    op = one.graph.nodes[3].op
    for _ in range(2):
        scores = rng.permutation(np.prod(shapes[0])).reshape(shapes[0]) / 1000
        deltas = rng.normal(size=shapes[1]) * 0.3
        inputs = {"scores": scores, "deltas": deltas, "info": np.array(info)}
        for name, values in inputs.items():
            one.blobs[name].data[...] = values
        one.forward()
        wanted = proposals(op, *inputs.values())
        assert 1 < len(wanted) <= len(scores) * op.post_nms_topn
        assert one.blobs["rois"].data.shape == (len(wanted), 5)
        assert one.blobs["found"].data.shape == (len(wanted), 1)
        rtol = 1e-10 if dtype == "float64" else 1e-5
        np.testing.assert_allclose(
            one.blobs["rois"].data, wanted[:, :5], rtol=rtol, atol=rtol * 60
        )
        np.testing.assert_allclose(one.blobs["found"].data, wanted[:, 5:], rtol=1e-6)
        np.testing.assert_allclose(one.blobs["twice"].data, 2 * wanted[:, 5:], 1e-6)


def test_anchors_are_those_of_faster_rcnn(backend: Backend) -> None:
    options = f"{THREE} min_size: 0 nms_thresh: 1 feat_stride: 16"
    one = net(options, [(1, 18, 1, 1), (1, 36, 1, 1), (1, 3)], backend.name)
    one.blobs["scores"].data[0, :, 0, 0] = [0] * 9 + list(range(9, 0, -1))
    one.blobs["info"].data[...] = [[2000, 2000, 1]]
    one.forward()
    # Moved by half an image, so that no anchor is cut, by deltas of this many sides:
    boxes = np.array(PUBLISHED, float)
    sizes = boxes[:, 2:] - boxes[:, :2] + 1
    shift = np.concatenate([1000 / sizes, np.zeros((9, 2))], axis=1)
    one.blobs["deltas"].data[...] = shift.reshape(1, 36, 1, 1)
    one.forward()
    moved = boxes + 1000
    moved[:, 2:] += 1  # the far corners of a moved box are a pixel further
    np.testing.assert_allclose(one.blobs["rois"].data[:, 1:], moved, atol=1e-3)


def test_where_no_box_is_left_there_is_no_region(backend: Backend) -> None:
    options = "ratio: 1 scale: 2 min_size: 500"
    one = net(options, [(1, 2, 3, 4), (1, 4, 3, 4), (1, 3)], backend.name)
    one.blobs["info"].data[...] = [[100, 100, 1]]
    one.forward()
    assert one.blobs["rois"].data.shape == (0, 5)
    assert one.blobs["twice"].data.shape == (0, 1)


def test_of_equal_scores_the_first_is_kept(backend: Backend) -> None:
    options = "ratio: 1 scale: 1 nms_thresh: 0.3 min_size: 1 feat_stride: 4"
    one = net(options, [(1, 2, 1, 2), (1, 4, 1, 2), (1, 3)], backend.name)
    one.blobs["scores"].data[...] = 0.5
    one.blobs["info"].data[...] = [[100, 100, 1]]
    one.forward()
    np.testing.assert_array_equal(one.blobs["rois"].data, [[0, 0, 0, 16, 16]])


def test_a_delta_of_any_size_gives_a_box_in_the_image(backend: Backend) -> None:
    options = "ratio: 1 scale: 1 min_size: 0"
    one = net(options, [(1, 2, 1, 1), (1, 4, 1, 1), (1, 3)], backend.name)
    one.blobs["deltas"].data[...] = np.reshape([0, 0, 500, 500], (1, 4, 1, 1))
    one.blobs["info"].data[...] = [[30, 40, 1]]
    one.forward()
    np.testing.assert_array_equal(one.blobs["rois"].data, [[0, 0, 0, 39, 29]])


@pytest.mark.parametrize("index", [0, 1, 2])
def test_what_is_no_number_is_an_error(backend: Backend, index: int) -> None:
    shapes = [(1, 2, 1, 2), (1, 4, 1, 2), (1, 3)]
    text = 'type: "Proposal" proposal_param { ratio: 1 scale: 1 }'
    layer = LoneLayer(text, shapes, backend=backend)
    values = [np.ones(shape) for shape in shapes]
    values[index].flat[-1] = np.nan
    match = (
        rf"bottom {index} \('bottom{index}'\) holds nan for image 0, of which no reg"
    )
    with pytest.raises(SpecError, match=match):
        layer.forward(values)
