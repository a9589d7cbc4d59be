"""InnerProduct and Embed."""

from __future__ import annotations

import math

import numpy as np

from netspec.readers.draft import Made, Place
from netspec.readers.forms import Form
from netspec.readers.rule import Rule, doubtful, refused, silent


def _not_transposed(place: Place) -> list[Made]:
    weights, *bias = place.values
    changed = type(place.layer)()
    changed.CopyFrom(place.layer)
    changed.inner_product_param.ClearField("transpose")
    return [Made(changed, [np.ascontiguousarray(weights.T), *bias])]


def _of_rows(place: Place) -> list[Made]:
    form, shape = Form(place), place.bottoms[0]
    param, axis = place.layer.inner_product_param, place.op.axis
    rows, size = math.prod(shape[:axis]), math.prod(shape[axis:])
    options = type(param)()
    options.CopyFrom(param)
    options.axis = 1
    x = form.reshape("rows", form.x, (rows, size))
    y = form.put(
        "product", "InnerProduct", x, place.arrays, inner_product_param=options
    )
    return form.end(form.reshape("shape", y, place.tops[0]))


def _is_behind_reshape(place: Place) -> bool:
    """Tell whether MNN leaves the Reshape out from which an InnerProduct reads.

    That is right where the Reshape keeps the rows apart that are multiplied.
    """
    before = place.producer()
    while before is not None and (
        before.type == "Dropout" or _is_concat_of_one(before)
    ):
        before = before.producer()
    if before is None or before.type not in ("Reshape", "Flatten"):
        return False
    rows = before.bottoms[0][:1] == before.tops[0][:1]
    return not rows or place.op.axis != 1


def _is_concat_of_one(place: Place) -> bool:
    return place.type == "Concat" and len(place.bottoms) == 1


def _behind_power(place: Place) -> list[Made]:
    form = Form(place)
    copy = form.power("copy", form.x)
    param = place.layer.inner_product_param
    return form.end(
        form.put("product", place.type, copy, place.arrays, inner_product_param=param)
    )


def _embed(place: Place) -> list[Made]:
    """Return a product with rows that have a 1 at the index, and 0 elsewhere."""
    form, shape = Form(place), place.bottoms[0]
    weights, *bias = place.values
    classes = np.arange(len(weights))
    column = form.reshape("column", form.x, (math.prod(shape), 1))
    off = form.product("off", column, np.ones((len(weights), 1)), -classes)
    far = form.put("far", "AbsVal", off)
    chosen = form.put("chosen", "ReLU", form.power("near", far, -1, 1))
    y = form.product("rows", chosen, weights.T, *bias)
    return form.end(form.reshape("shape", y, place.tops[0]))


RULES = (
    Rule(
        name="transpose",
        types=("InnerProduct",),
        says="transpose",
        readers={
            "opencv": silent("ignores it"),
            "ncnn": silent("ignores it"),
            "rknn": refused(),
        },
        applies=lambda place: place.layer.inner_product_param.transpose,
        rewrite=_not_transposed,
        instead="the weights the other way round",
        needs_values=True,
    ),
    Rule(
        name="behind-reshape",
        types=("InnerProduct",),
        says="InnerProduct of what a Reshape gives other rows",
        readers={"mnn": silent("leaves the Reshape out")},
        applies=_is_behind_reshape,
        rewrite=_behind_power,
        instead="a Power between them, which passes its input on",
    ),
    Rule(
        name="product-of-rows",
        types=("InnerProduct",),
        says="an axis behind the first of a bottom with more than four",
        readers={"mnn": silent("gives no result")},
        applies=lambda place: len(place.bottoms[0]) > 4 and place.op.axis > 1,
        rewrite=_of_rows,
        instead="InnerProduct of rows between two Reshape",
    ),
    Rule(
        name="product-of-all",
        types=("InnerProduct",),
        says="axis 2",
        readers={"ncnn": doubtful("may flatten the other axes too")},
        applies=lambda place: place.op.axis > 1,
    ),
    Rule(
        name="embed",
        types=("Embed",),
        says="Embed",
        readers={"opencv": refused("has none"), "mnn": silent("writes other rows")},
        applies=lambda _: True,
        rewrite=_embed,
        instead="InnerProduct with a row of 0 and one 1, made of the index",
        needs_values=True,
    ),
    Rule(
        name="embed-index",
        types=("Embed",),
        says="Embed",
        readers={"ncnn": doubtful("reads indices as int32, not as numbers of float32")},
        applies=lambda _: True,
    ),
)
