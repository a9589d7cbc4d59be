"""Computes a net layer by layer, with types that `runtime` lacks written here."""

import math

import numpy as np

import runtime
from netspec.graph import build
from netspec.nets.state import State
from netspec.schema import TEST, LayerParameter, NetParameter


def compute(model, inputs):
    """Return all blobs of a net for these inputs; model: with values, one phase."""
    graph = build(model.net, State(TEST))
    blobs = dict(inputs)
    for node in graph.nodes:
        layer = node.layer
        if layer.type in ("Input", "Split"):
            for top in layer.top:
                if layer.type == "Split":
                    blobs[top] = blobs[layer.bottom[0]]
            continue
        bottoms = [blobs[name] for name in layer.bottom]
        if layer.type in OWN:
            tops = [OWN[layer.type](layer, node.op, *bottoms)]
        else:
            tops = _by_runtime(layer, bottoms, (model.weights or {}).get(layer.name))
        blobs.update(zip(layer.top, tops, strict=True))
    return blobs


def _by_runtime(layer, bottoms, arrays):
    """Return the tops of one layer, which gets inputs and tops of its own names."""
    one = LayerParameter()
    one.CopyFrom(layer)
    one.ClearField("param")
    net = NetParameter()
    names = {}
    for blob, value in zip(layer.bottom, bottoms, strict=True):
        if blob not in names:
            names[blob] = f"in{len(names)}"
            source = net.layer.add(name=names[blob], type="Input", top=[names[blob]])
            source.input_param.shape.add().dim.extend(value.shape)
    one.bottom[:] = [names[blob] for blob in layer.bottom]
    one.top[:] = [f"out{index}" for index in range(len(layer.top))]
    net.layer.append(one)
    made = runtime.Net(net, TEST, backend="portable")
    for blob, value in zip(layer.bottom, bottoms, strict=True):
        made.blobs[names[blob]].data[...] = value
    for slot, value in enumerate(arrays or ()):
        made.params[layer.name][slot].data[...] = value
    made.forward()
    return [np.array(made.blobs[top].data) for top in one.top]


def permute(layer, op, x):
    """Return the axes in another order."""
    return np.ascontiguousarray(np.transpose(x, op.order))


def prior_box(layer, op, features, image):
    """Return the boxes of every pixel and their variances, as SSD's authors do."""
    param = layer.prior_box_param
    rows, columns = features.shape[2:]
    height = param.img_h or param.img_size or image.shape[2]
    width = param.img_w or param.img_size or image.shape[3]
    step_h = param.step_h or param.step or height / rows
    step_w = param.step_w or param.step or width / columns
    boxes = []
    for row in range(rows):
        for column in range(columns):
            x, y = (column + param.offset) * step_w, (row + param.offset) * step_h
            for index, small in enumerate(op.min_size):
                sides = [(small, small)]
                if op.max_size:
                    sides.append((math.sqrt(small * op.max_size[index]),) * 2)
                for ratio in op.aspect_ratio[1:]:
                    root = math.sqrt(ratio)
                    sides.append((small * root, small / root))
                boxes += [
                    (
                        (x - w / 2) / width,
                        (y - h / 2) / height,
                        (x + w / 2) / width,
                        (y + h / 2) / height,
                    )
                    for w, h in sides
                ]
    first = np.float32(boxes).reshape(-1)
    if param.clip:
        first = np.clip(first, 0, 1)
    variance = list(param.variance) or [0.1]
    second = np.resize(np.float32(variance), first.shape)
    return np.stack([first, second])[None]


def detection_output(layer, op, locations, scores, priors):
    """Return the boxes that are left, by item, class and score, as SSD's authors do."""
    param = layer.detection_output_param
    classes, shared = param.num_classes, param.share_location
    coded = locations.reshape(len(locations), -1, 1 if shared else classes, 4)
    scores = scores.reshape(len(scores), -1, classes)
    boxes, variances = priors[0].reshape(2, -1, 4)
    rows = []
    for item in range(len(coded)):
        found = []
        for label in range(classes):
            if label == param.background_label_id:
                continue
            codes = coded[item, :, 0 if shared else label]
            decoded = _decoded(param, codes, boxes, variances)
            kept = _suppressed(param, decoded, scores[item, :, label])
            found += [(scores[item, i, label], label, *decoded[i]) for i in kept]
        if 0 <= param.keep_top_k < len(found):
            found = sorted(found, key=lambda row: -row[0])[: param.keep_top_k]
        found.sort(key=lambda row: (row[1], -row[0]))
        rows += [(item, label, score, *box) for score, label, *box in found]
    return np.float32(rows or [[-1] * 7])[None, None]


def _decoded(param, codes, boxes, variances):
    if param.variance_encoded_in_target:
        variances = np.ones_like(variances)
    if param.code_type == 1:  # CORNER
        return boxes + codes * variances
    size = boxes[:, 2:] - boxes[:, :2]
    if param.code_type == 3:  # CORNER_SIZE
        return boxes + codes * variances * np.concatenate([size, size], 1)
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2 + codes[:, :2] * variances[:, :2] * size
    half = np.exp(codes[:, 2:] * variances[:, 2:]) * size / 2
    return np.concatenate([centre - half, centre + half], 1)


def _suppressed(param, boxes, scores):
    """Return the boxes that overlap no better one too much, best first."""
    nms = param.nms_param
    order = np.argsort(-scores, kind="stable")
    order = [i for i in order if scores[i] > param.confidence_threshold]
    if nms.HasField("top_k") and nms.top_k >= 0:
        order = order[: nms.top_k]
    kept, threshold = [], nms.nms_threshold
    for i in order:
        if all(_overlap(boxes[i], boxes[j]) <= threshold for j in kept):
            kept.append(i)
            if nms.eta < 1 and threshold > 0.5:
                threshold *= nms.eta
    return kept


def _overlap(a, b):
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    both = np.prod(np.maximum(high - low, 0))
    return both / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - both)


def roi_pooling(layer, op, x, regions):
    """Return the maxima in parts of regions, as the authors of Fast R-CNN do."""
    param = layer.roi_pooling_param
    ph, pw = param.pooled_h, param.pooled_w
    height, width = x.shape[2:]
    y = np.zeros((len(regions), x.shape[1], ph, pw), np.float32)
    for r, (item, *corners) in enumerate(regions.reshape(len(regions), 5)):
        # Halves are rounded away from 0, as by C's `round`.
        x1, y1, x2, y2 = np.floor(
            np.float32(corners) * np.float32(param.spatial_scale) + 0.5
        ).astype(int)
        bin_h = max(y2 - y1 + 1, 1) / ph
        bin_w = max(x2 - x1 + 1, 1) / pw
        for i in range(ph):
            top = np.clip(math.floor(i * bin_h) + y1, 0, height)
            bottom = np.clip(math.ceil((i + 1) * bin_h) + y1, 0, height)
            for j in range(pw):
                left = np.clip(math.floor(j * bin_w) + x1, 0, width)
                right = np.clip(math.ceil((j + 1) * bin_w) + x1, 0, width)
                part = x[int(item), :, top:bottom, left:right]
                if part.size:
                    y[r, :, i, j] = part.max((1, 2))
    return y


def normalize(layer, op, x):
    """Return x by its norm over channels or the whole item; the scale is 1."""
    param = layer.norm_param
    axes = (1, 2, 3) if param.across_spatial else 1
    return x / np.sqrt((x.astype(float) ** 2).sum(axes, keepdims=True) + param.eps)


OWN = {
    "DetectionOutput": detection_output,
    "Normalize": normalize,
    "Permute": permute,
    "PriorBox": prior_box,
    "ROIPooling": roi_pooling,
}
