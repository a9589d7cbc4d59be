"""Axes that are counted from the end."""

from __future__ import annotations

from netspec.readers.draft import Place
from netspec.readers.rule import Rule, refused, silent

_PARAMS = {
    "Bias": "bias_param",
    "InnerProduct": "inner_product_param",
    "Scale": "scale_param",
    "Softmax": "softmax_param",
}


def _is_negative(place: Place) -> bool:
    return bool(getattr(place.layer, _PARAMS[place.type]).axis < 0)


def _count_from_front(place: Place) -> None:
    param = getattr(place.layer, _PARAMS[place.type])
    param.axis += len(place.bottoms[0])


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
)
