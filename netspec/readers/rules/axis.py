"""Axes counted from the end, and blobs of one axis."""

from __future__ import annotations

import math

from netspec.readers.draft import Made, Place
from netspec.readers.forms import Form
from netspec.readers.rule import Rule, refused, silent
from netspec.schema import LayerParameter

_PARAMS = {
    "Bias": "bias_param",
    "InnerProduct": "inner_product_param",
    "Scale": "scale_param",
    "Softmax": "softmax_param",
}
_ELEMENTWISE = (
    "AbsVal",
    "BNLL",
    "Dropout",
    "ELU",
    "Eltwise",
    "Exp",
    "Log",
    "Power",
    "ReLU",
    "Sigmoid",
    "Swish",
    "TanH",
    "Threshold",
)
# What `_in_rows` knows how to write.
_OF_ROWS = (*_ELEMENTWISE, "BatchNorm", "InnerProduct", "Softmax")


def _is_negative(place: Place) -> bool:
    return bool(getattr(place.layer, _PARAMS[place.type]).axis < 0)


def _count_from_front(place: Place) -> None:
    param = getattr(place.layer, _PARAMS[place.type])
    param.axis += len(place.bottoms[0])


def _has_one_axis(place: Place) -> bool:
    return any(len(shape) == 1 for shape in (*place.bottoms, *place.tops))


def _in_rows(place: Place) -> list[Made]:
    """Return the layer with bottoms of one row, and its top with one axis again."""
    form, size = Form(place), math.prod(place.bottoms[0])
    # A BatchNorm takes a single axis for items of one channel.
    shape = (1, 1, size) if place.type == "BatchNorm" else (1, size)
    rows = {
        blob: form.reshape("row", blob, shape)
        for blob in dict.fromkeys(place.layer.bottom)
    }
    changed = LayerParameter()
    changed.CopyFrom(place.layer)
    if place.type in _PARAMS:
        getattr(changed, _PARAMS[place.type]).axis = 1
    y = form.again("one", changed, [rows[x] for x in place.layer.bottom], place.arrays)
    return form.end(form.reshape("shape", y, place.tops[0]))


RULES = (
    Rule(
        name="negative-axis",
        types=tuple(_PARAMS),
        says="an axis counted from the end",
        readers={
            "opencv": refused("does not take it in every type"),
            "mnn": silent("takes it for another axis, or gives no result"),
            "ncnn": silent("takes it for another axis"),
            "openvino": refused("does not take it in every type"),
            "rknn": silent("counts axes without the batch"),
            "x2paddle": silent("takes it for another axis"),
        },
        applies=_is_negative,
        edit=_count_from_front,
        instead="the axis counted from the front",
    ),
    Rule(
        name="one-axis",
        types=_OF_ROWS,
        says="a blob of one axis",
        readers={"opencv": refused("has two axes for it in some layers")},
        applies=_has_one_axis,
        rewrite=_in_rows,
        instead="one row between two Reshape",
    ),
    Rule(
        name="one-axis-norm",
        types=("BatchNorm", "Softmax"),
        says="a blob of one axis",
        readers={"mnn": silent("writes other numbers")},
        applies=_has_one_axis,
        rewrite=_in_rows,
        instead="one row between two Reshape",
    ),
)
