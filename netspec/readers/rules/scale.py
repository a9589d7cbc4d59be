"""Scale and Bias: factors and terms along other axes, and from a blob."""

from __future__ import annotations

import numpy as np

from netspec.readers.draft import Made, Place
from netspec.readers.forms import Form, sizes
from netspec.readers.rule import Rule, chain, power, refused, silent
from netspec.readers.rules.joined import comes_from_input


def _covered(place: Place) -> tuple[int, tuple[int, ...]]:
    """Return the first axis that the factors cover, and their shape."""
    op = place.op
    shape = op.scale_shape if place.type == "Scale" else op.bias_shape
    return op.axis, shape


def _is_of_blob(place: Place) -> bool:
    return len(place.bottoms) == 2


def _is_of_channels(place: Place) -> bool:
    """Tell whether there is a factor for each channel, which all readers take."""
    axis, shape = _covered(place)
    return axis == 1 and len(shape) == 1


def _is_scalar(place: Place) -> bool:
    return not _is_of_blob(place) and not _covered(place)[1]


def _bias_as_scale(place: Place) -> list[Made]:
    param, arrays = place.layer.bias_param, place.arrays
    scale = {"axis": param.axis, "num_axes": param.num_axes, "bias_term": True}
    ones = np.ones(_covered(place)[1], np.float32)
    arrays = None if arrays is None else [ones, *arrays]
    return chain(place, ("sum", "Scale", {"scale_param": scale}, arrays))


def _scalar(place: Place) -> list[Made]:
    scale, *bias = (float(each.reshape(())) for each in place.values)
    return chain(place, power("scale", scale, *bias))


def _along_channels(place: Place) -> list[Made]:
    form, shape = Form(place), place.bottoms[0]
    axis, covered = _covered(place)
    end = axis + len(covered)
    before, inside, behind = sizes(shape[:axis], shape[axis:end], shape[end:])
    # The batch keeps its place where the factors begin behind it.
    first = 0 if axis == 1 else before
    x = form.reshape("channels", form.x, (first, inside, behind, 1))
    arrays = None
    if place.arrays is not None:
        arrays = [each.reshape(-1) for each in place.arrays]
    param = {"bias_term": place.layer.scale_param.bias_term}
    y = form.put("scale", "Scale", x, arrays, scale_param=param)
    back = (0, *shape[1:]) if axis == 1 else shape
    return form.end(form.reshape("shape", y, back))


def _bias_apart(place: Place) -> list[Made]:
    """Return the product of two blobs, and then a Scale that adds the bias."""
    form, param = Form(place), place.layer.scale_param
    bottoms = list(place.layer.bottom)
    axis, covered = _covered(place)
    y = form.put("product", "Scale", bottoms, scale_param={"axis": param.axis})
    arrays = None
    if place.arrays is not None:
        arrays = [np.ones(covered, np.float32), *place.arrays]
    scale = {"axis": axis, "num_axes": len(covered), "bias_term": True}
    return form.end(form.put("bias", "Scale", y, arrays, scale_param=scale))


def _stretched(place: Place) -> list[Made]:
    """Return the second bottom stretched to the shape of the first, and Eltwise."""
    form, shape = Form(place), place.bottoms[0]
    axis, covered = _covered(place)
    end = axis + len(covered)
    before, inside, behind = sizes(shape[:axis], shape[axis:end], shape[end:])
    small = place.layer.bottom[1]
    if behind > 1:
        column = form.reshape("column", small, (inside, 1))
        small = form.product("behind", column, np.ones((behind, 1)))
    if before > 1:
        row = form.reshape("row", small, (1, 1, inside, behind))
        small = form.convolution("before", row, np.ones((before, 1, 1, 1)))
    if before > 1 or behind > 1 or covered != shape:
        small = form.reshape("stretched", small, shape)
    operation = "PROD" if place.type == "Scale" else "SUM"
    return form.end(form.both("result", operation, form.x, small))


def _is_elsewhere(place: Place) -> bool:
    return not (_is_of_blob(place) or _is_scalar(place) or _is_of_channels(place))


_NOT_CHANNELS = "factors along other axes than channels"

RULES = (
    Rule(
        name="bias",
        types=("Bias",),
        says="Bias",
        readers={
            "opencv": refused("has none"),
            "mnn": silent("is wrong unless there are 4 axes, and behind a Convolution"),
            "x2paddle": refused(),
        },
        applies=lambda place: not _is_of_blob(place),
        rewrite=_bias_as_scale,
        instead="Scale with factors of 1",
        needs_values=True,
    ),
    Rule(
        name="scalar-scale",
        types=("Scale",),
        says="num_axes: 0",
        readers={
            "opencv": refused("does not load a blob without axes"),
            "mnn": silent("takes it for factors of channels"),
            "ncnn": silent("takes it for factors of channels"),
            "x2paddle": refused(),
        },
        applies=_is_scalar,
        rewrite=_scalar,
        instead="Power",
        needs_values=True,
    ),
    Rule(
        name="bias-of-product",
        types=("Scale",),
        says="bias_term with two bottoms",
        readers={
            "opencv": silent("leaves the bias out"),
            "mnn": refused("takes no second bottom"),
            "openvino": silent("takes the bias for the factors"),
            "x2paddle": refused("takes no second bottom"),
        },
        applies=lambda place: _is_of_blob(place) and place.op.bias_term,
        rewrite=_bias_apart,
        instead="the product, then Scale with factors of 1 and the bias",
        needs_values=True,
    ),
    Rule(
        name="stretched",
        types=("Scale", "Bias"),
        says="two bottoms",
        readers={
            "mnn": refused("gives no result"),
            "x2paddle": refused(),
        },
        applies=lambda place: _is_of_blob(place) and not place.op.params,
        rewrite=_stretched,
        instead="the second stretched by products with 1, and Eltwise",
        needs_values=True,
    ),
    Rule(
        name="product-of-one-axis",
        types=("Scale",),
        says="two bottoms of one axis",
        readers={"opencv": silent("has two axes for one of them")},
        applies=lambda place: (
            _is_of_blob(place) and len(place.bottoms[0]) == 1 and not place.op.params
        ),
        rewrite=_stretched,
        instead="Eltwise",
    ),
    Rule(
        name="sum-of-two",
        types=("Bias",),
        says="two bottoms",
        readers={"opencv": refused("has no Bias")},
        applies=_is_of_blob,
        rewrite=_stretched,
        instead="the second stretched by products with 1, and Eltwise",
        needs_values=True,
    ),
    Rule(
        name="other-axes",
        types=("Scale",),
        says=_NOT_CHANNELS,
        readers={
            "mnn": silent("takes them for channels"),
            "openvino": silent("takes them for channels where the sizes agree"),
        },
        applies=_is_elsewhere,
        rewrite=_along_channels,
        instead="Scale of channels between two Reshape",
    ),
    Rule(
        name="other-axes-joined",
        types=("Scale",),
        says=f"{_NOT_CHANNELS}, behind another layer",
        readers={"opencv": silent("takes them for channels behind a Convolution")},
        applies=lambda place: _is_elsewhere(place) and not comes_from_input(place),
        rewrite=_along_channels,
        instead="Scale of channels between two Reshape",
    ),
    Rule(
        name="no-other-axes",
        types=("Scale",),
        says=_NOT_CHANNELS,
        readers={"ncnn": silent("takes them for channels")},
        applies=_is_elsewhere,
    ),
    Rule(
        name="other-axes-of-two",
        types=("Scale",),
        says="two bottoms",
        readers={"ncnn": silent("takes the second for factors of channels")},
        applies=lambda place: _is_of_blob(place) and _covered(place)[0] != 1,
    ),
)
