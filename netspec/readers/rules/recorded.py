"""What is on record of readers that are not run here; other families have more."""

from __future__ import annotations

from collections.abc import Iterable

from netspec.catalogue import LAYER_TYPES
from netspec.readers.draft import Place
from netspec.readers.rule import Rule, doubtful, refused, silent
from netspec.readers.rules.pooling import padded_outside

NOT_RUN = ("ncnn", "openvino", "rknn", "x2paddle")
# Types of the nets that these readers were made for.
_CLASSIC = frozenset(
    {
        *("BatchNorm", "Concat", "Convolution", "Deconvolution", "Dropout", "ELU"),
        *("Eltwise", "Flatten", "InnerProduct", "Input", "LRN", "PReLU", "Pooling"),
        *("Power", "ReLU", "Reshape", "Scale", "Sigmoid", "Slice", "Softmax", "Split"),
        "TanH",
    }
)
_RIGHT = {"openvino": ("Tile",), "x2paddle": ("Crop",)}  # beside those, without a rule
# Data layers are refused before any rule is tried.
_FOR_USE = tuple(
    kind
    for kind, known in LAYER_TYPES.items()
    if known.bottoms != (0, 0) or kind in ("Input", "Parameter", "DummyData")
)
_UNTRIED = "was not tried with it"


def _sticks_out(place: Place) -> bool:
    """Tell whether a last window reaches behind the pad, where Caffe cuts it."""
    op = place.op
    return any(op.pad) and any(
        (place.tops[0][axis] - 1) * op.stride[axis - 2] + op.kernel[axis - 2]
        > place.bottoms[0][axis] + 2 * op.pad[axis - 2]
        for axis in (2, 3)
    )


def _has_many_axes(place: Place) -> bool:
    return any(len(shape) > 4 for shape in (*place.bottoms, *place.tops))


RULES = (
    Rule(
        name="argmax",
        types=("ArgMax",),
        says="ArgMax",
        readers={"x2paddle": refused()},
        applies=lambda _: True,
    ),
    Rule(
        name="argmax-options",
        types=("ArgMax",),
        says="axis or top_k",
        readers={"ncnn": refused()},
        applies=lambda place: (
            place.layer.argmax_param.HasField("axis")
            or place.layer.argmax_param.top_k != 1
        ),
    ),
    Rule(
        name="argmax-of-all",
        types=("ArgMax",),
        says="no axis",
        readers={"openvino": refused()},
        applies=lambda place: not place.layer.argmax_param.HasField("axis"),
    ),
    Rule(
        name="argmax-order",
        types=("ArgMax",),
        says="top_k",
        readers={"openvino": silent("has them in the order of their indices")},
        applies=lambda place: place.layer.argmax_param.top_k > 1,
    ),
    Rule(
        name="argmax-values",
        types=("ArgMax",),
        says="out_max_val",
        readers={"openvino": doubtful(_UNTRIED)},
        applies=lambda place: place.layer.argmax_param.out_max_val,
    ),
    Rule(
        name="no-dummy-data",
        types=("DummyData",),
        says="DummyData",
        readers={"x2paddle": refused()},
        applies=lambda _: True,
    ),
    Rule(
        name="detections",
        types=("DetectionOutput",),
        says="the list of detections",
        readers={
            "openvino": doubtful("ends it with a row of image -1, and zeros behind it")
        },
        applies=lambda _: True,
    ),
    Rule(
        name="reduction-of-all",
        types=("Reduction",),
        says="an axis behind the first",
        readers={"ncnn": doubtful("may reduce the other axes too")},
        applies=lambda place: place.op.axis > 0,
    ),
    Rule(
        name="convolution-axes",
        types=("Convolution", "Deconvolution"),
        says="a shape other than (N, C, H, W)",
        readers={
            "ncnn": refused("gives no result"),
            **dict.fromkeys(("openvino", "rknn", "x2paddle"), doubtful(_UNTRIED)),
        },
        applies=lambda place: len(place.bottoms[0]) != 4 or place.op.axis != 1,
    ),
    Rule(
        name="pooling-average-end",
        types=("Pooling",),
        says="AVE with a pad, and a last window that reaches behind it",
        readers={"openvino": silent("divides by the whole window")},
        applies=lambda place: place.op.pool == "AVE" and _sticks_out(place),
        rewrite=padded_outside,
        instead="a pad by Slice and Concat",
    ),
    Rule(
        name="many-axes",
        types=tuple(LAYER_TYPES),
        says="a blob of more than four axes",
        readers={"ncnn": doubtful("has three axes beside the batch")},
        applies=_has_many_axes,
    ),
)


def untried(rules: Iterable[Rule]) -> tuple[Rule, ...]:
    """Return a rule a reader that warns of the types of which nothing is on record."""
    made = []
    for reader in NOT_RUN:
        known = {*_CLASSIC, *_RIGHT.get(reader, ())}
        for rule in rules:
            if reader in rule.readers and len(rule.types) < len(LAYER_TYPES):
                known.update(rule.types)
        made.append(
            Rule(
                name=f"untried-{reader}",
                types=tuple(kind for kind in _FOR_USE if kind not in known),
                says="the layer type",
                readers={reader: doubtful(_UNTRIED)},
                applies=lambda _: True,
            )
        )
    return tuple(made)
