"""DetectionOutput of SSD, in standard operators.

    boxes = priors moved by the locations                      (N, classes, priors, 4)
    the top_k best scores of every class, above a threshold    (N classes, k)
    NonMaxSuppression of each class                            (found, 3)
    the keep_top_k best scores of every image                  (N, m)
    a row of image, class, score and corners for each, by image, class and score

Where nothing is found there is a row of the image and -1 for every image, as in SSD.

Source: W. Liu et al., SSD: single shot multibox detector, ECCV 2016, and its code.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from netspec.errors import SpecWarning
from netspec.notebooks import warn_user
from netspec.onnx.writing.layer import FLOAT, INT64, Layer, writes
from netspec.onnx.writing.values import Value
from netspec.ops.base import enum_name, label
from netspec.schema import DetectionOutputParameter


@dataclass(frozen=True)
class _Sizes:
    """What the shapes say: images (None where any), priors, classes that count, k."""

    images: int | None
    priors: int
    labels: tuple[int, ...]
    k: int

    @property
    def classes(self) -> int:
        return len(self.labels)


@writes("DetectionOutput")
def detection_output(layer: Layer) -> Value:
    """Write what the docstring of this file says, step by step."""
    param = layer.node.layer.detection_output_param
    _check(layer, param)
    sizes = _sizes(layer, param)
    boxes = _decoded(layer, param, sizes)
    scores, boxes = _best_of_classes(layer, sizes, _scores(layer, sizes), boxes)
    kept = _suppressed(layer, param, sizes, scores, boxes)
    return _rows(layer, sizes, kept, boxes)


def _check(layer: Layer, param: DetectionOutputParameter) -> None:
    nms = param.nms_param
    if layer.op.read_bottoms > 3:
        raise layer.refused("objectness of RefineDet has no form in ONNX here")
    if nms.eta != 1 and nms.nms_threshold > 0.5:
        raise layer.refused(
            f"eta is {nms.eta:g} and nms_threshold {nms.nms_threshold:g}, so the "
            f"threshold would change from box to box; set eta to 1, or nms_threshold "
            f"to 0.5 at most"
        )
    if 0 in (nms.top_k if nms.HasField("top_k") else -1, param.keep_top_k):
        raise layer.refused("top_k or keep_top_k is 0, so that nothing is ever found")
    if param.save_output_param.output_directory or param.visualize:
        warn_user(
            f"{label(layer.node.layer)}: a model in ONNX writes no files and shows no "
            f"windows: save_output_param and visualize are left out",
            SpecWarning,
        )


def _sizes(layer: Layer, param: DetectionOutputParameter) -> _Sizes:
    op = layer.op
    priors = layer.same("the number of default boxes", lambda op: op.bottoms[2][2] // 4)
    background = param.background_label_id
    labels = tuple(c for c in range(op.num_classes) if c != background)
    if not labels:
        raise layer.refused("the background is its only class")
    nms = param.nms_param
    limit = nms.top_k if nms.HasField("top_k") and nms.top_k >= 0 else priors
    known = layer.is_known(lambda op: op.bottoms[0][0])
    images = op.bottoms[0][0] if known else None
    return _Sizes(images, priors, labels, min(limit, priors))


def _scores(layer: Layer, sizes: _Sizes) -> Value:
    """Return the scores of all classes but the background, (N classes, priors)."""
    classes = layer.op.num_classes
    shape = layer.integers(0, sizes.priors, classes)
    by_prior = layer.add("Reshape", layer.bottoms[1], shape)
    by_class = layer.add("Transpose", by_prior, perm=[0, 2, 1])
    if sizes.classes < classes:
        chosen = layer.integers(*sizes.labels)
        by_class = layer.add("Gather", by_class, chosen, axis=1)
    return layer.add("Reshape", by_class, layer.integers(-1, sizes.priors))


def _decoded(layer: Layer, param: DetectionOutputParameter, sizes: _Sizes) -> Value:
    """Return corners: (N, priors, 4), or (N classes, priors, 4) if classes have own."""
    priors = layer.add("Reshape", layer.bottoms[2], layer.integers(2, sizes.priors, 4))
    prior, variance = layer.several(2, "Split", priors, layer.integers(1, 1), axis=0)
    codes = _codes(layer, sizes)
    if not param.variance_encoded_in_target:
        codes = layer.add("Mul", codes, variance)
    halves = layer.integers(2, 2)
    low, high = layer.several(2, "Split", prior, halves, axis=-1)
    code_type = enum_name(param, "code_type")
    if code_type == "CORNER":
        return layer.add("Add", prior, codes)
    side = layer.add("Sub", high, low)
    if code_type == "CORNER_SIZE":
        both = layer.add("Concat", side, side, axis=-1)
        return layer.add("Add", prior, layer.add("Mul", codes, both))
    shift, growth = layer.several(2, "Split", codes, halves, axis=-1)
    middle = layer.add("Mul", layer.add("Add", low, high), layer.number(0.5))
    middle = layer.add("Add", layer.add("Mul", shift, side), middle)
    half = layer.add("Mul", layer.add("Exp", growth), side)
    half = layer.add("Mul", half, layer.number(0.5))
    low, high = layer.add("Sub", middle, half), layer.add("Add", middle, half)
    return layer.add("Concat", low, high, axis=-1)


def _codes(layer: Layer, sizes: _Sizes) -> Value:
    """Return the locations as (N, priors, 4), or (N classes, priors, 4)."""
    x, op = layer.x, layer.op
    if op.share_location:
        return layer.add("Reshape", x, layer.integers(0, sizes.priors, 4))
    shape = layer.integers(0, sizes.priors, op.num_classes, 4)
    by_class = layer.add("Transpose", layer.add("Reshape", x, shape), perm=[0, 2, 1, 3])
    if sizes.classes < op.num_classes:
        chosen = layer.integers(*sizes.labels)
        by_class = layer.add("Gather", by_class, chosen, axis=1)
    return layer.add("Reshape", by_class, layer.integers(-1, sizes.priors, 4))


def _best_of_classes(
    layer: Layer, sizes: _Sizes, scores: Value, boxes: Value
) -> tuple[Value, Value]:
    """Return the k best scores of every class, and their boxes: (N classes, k, ...)."""
    best, places = layer.several(2, "TopK", scores, layer.integers(sizes.k), axis=1)
    shared = layer.op.share_location
    entries = sizes.classes * sizes.k if shared else sizes.k
    places = layer.add("Reshape", places, layer.integers(-1, entries, 1))
    found = layer.add("GatherND", boxes, places, batch_dims=1)
    return best, layer.add("Reshape", found, layer.integers(-1, sizes.k, 4))


def _suppressed(
    layer: Layer,
    param: DetectionOutputParameter,
    sizes: _Sizes,
    scores: Value,
    boxes: Value,
) -> Value:
    """Return the scores that are left as (N, classes k), minus infinity elsewhere."""
    halves = layer.integers(2, 2)
    low, high = layer.several(2, "Split", boxes, halves, axis=-1)
    # Boxes whose corners are the wrong way round overlap nothing, like empty ones.
    proper = layer.add("Concat", low, layer.add("Max", low, high), axis=-1)
    threshold: tuple[Value, ...] = ()
    if param.HasField("confidence_threshold"):
        threshold = (layer.number(param.confidence_threshold),)
    chosen = layer.add(
        "NonMaxSuppression",
        proper,
        layer.add("Unsqueeze", scores, layer.integers(1)),
        layer.integers(sizes.k),
        layer.number(min(param.nms_param.nms_threshold, 1)),
        *threshold,
    )
    places = layer.add("Gather", chosen, layer.integers(0, 2), axis=1)
    left = layer.add("GatherND", scores, places)
    left = layer.add("ScatterND", _nothing(layer, scores), places, left)
    entries = sizes.classes * sizes.k
    left = layer.add("Reshape", left, layer.integers(-1, entries))
    if not 0 <= param.keep_top_k < entries:
        return left
    count = layer.integers(param.keep_top_k)
    best, places = layer.several(2, "TopK", left, count, axis=1)
    return layer.add("ScatterElements", _nothing(layer, left), places, best, axis=1)


def _nothing(layer: Layer, like: Value) -> Value:
    value = np.array([-np.inf], np.float32)
    return layer.add("ConstantOfShape", layer.add("Shape", like), value=value)


def _rows(layer: Layer, sizes: _Sizes, kept: Value, boxes: Value) -> Value:
    """Return a row for every score that is left."""
    is_left = layer.add("Greater", kept, layer.number(-np.inf))
    places = layer.add("Transpose", layer.add("NonZero", is_left), perm=[1, 0])
    image, entry = layer.several(2, "Split", places, layer.integers(1, 1), axis=1)
    labels = layer.constant(sizes.labels, hint="labels")
    label_ = layer.add("Div", entry, layer.integers(sizes.k))
    score = layer.add("GatherND", kept, places)
    by_image = layer.integers(-1, sizes.classes * sizes.k, 4)
    found = layer.add(
        "Concat",
        layer.add("Cast", image, to=FLOAT),
        layer.add("Gather", labels, label_, axis=0),
        layer.add("Unsqueeze", score, layer.integers(1)),
        layer.add("GatherND", layer.add("Reshape", boxes, by_image), places),
        axis=1,
    )
    rows = layer.add("Concat", found, _if_nothing(layer, sizes, found), axis=0)
    return layer.add("Reshape", rows, layer.integers(1, 1, -1, 7))


def _if_nothing(layer: Layer, sizes: _Sizes, found: Value) -> Value:
    """Return a row of the number and -1 for every image if there are no others."""
    if sizes.images is None:
        images = layer.add("Gather", layer.add("Shape", layer.x), layer.integers(0))
        end = layer.add("Squeeze", images, layer.integers(0))
        zero, one = (layer.constant(n, "int64", "number") for n in (0, 1))
        numbers = layer.add("Range", zero, end, one)
        numbers = layer.add("Unsqueeze", numbers, layer.integers(1))
        numbers = layer.add("Cast", numbers, to=FLOAT)
        pads = layer.integers(0, 0, 0, 6)
        rows = layer.add("Pad", numbers, pads, layer.number(-1))
    else:
        images = layer.integers(sizes.images)
        array = np.full((sizes.images, 7), -1, np.float32)
        array[:, 0] = np.arange(sizes.images)
        rows = layer.constant(array, hint="nothing")
    size = layer.add("Gather", layer.add("Shape", found), layer.integers(0))
    is_empty = layer.add("Equal", size, layer.integers(0))
    end = layer.add("Mul", images, layer.add("Cast", is_empty, to=INT64))
    zero = layer.integers(0)
    return layer.add("Slice", rows, zero, end, zero)
