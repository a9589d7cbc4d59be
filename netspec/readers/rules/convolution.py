"""Convolution, Deconvolution and Im2col: the form of their fields, their axes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from netspec.ops.base import count
from netspec.readers.draft import Made, Place
from netspec.readers.rule import Rule, chain, layer, refused, reshape, silent

CONVOLUTIONS = ("Convolution", "Deconvolution")
_WINDOW = ("kernel", "stride", "pad", "dilation")
LARGEST = 2**26  # values of weights that a form may have in place of a few: 256 MiB


def spatial_axes(place: Place) -> int:
    """Return the number of axes behind that of the channels."""
    return len(place.bottoms[0]) - int(place.op.axis) - 1


def is_plain(place: Place) -> bool:
    """Tell whether a convolution is one of images: (N, C, H, W)."""
    return len(place.bottoms[0]) == 4 and spatial_axes(place) == 2


# ------------------------------------------------------------------ fields


def _window(place: Place, **changed: Sequence[int]) -> dict[str, Any]:
    """Return the fields of the window, in the form that most readers know."""
    fields: dict[str, Any] = {}
    for field in _WINDOW:
        values = tuple(changed.get(field, getattr(place.op, field)))
        neutral = {"stride": 1, "dilation": 1, "pad": 0}.get(field)
        name = "kernel_size" if field == "kernel" else field
        if all(value == neutral for value in values):
            continue
        if len(values) == 2 and len(set(values)) == 1:
            fields[name] = values[:1]
        elif len(values) == 2 and field != "dilation":
            fields[f"{field}_h"], fields[f"{field}_w"] = values
        else:
            fields[name] = values
    return fields


def set_window(place: Place, **changed: Sequence[int]) -> None:
    """Write the fields of the window anew, and the axis from the front."""
    param = place.layer.convolution_param
    for field in _WINDOW:
        param.ClearField("kernel_size" if field == "kernel" else field)  # type: ignore[arg-type]
        for side in ("h", "w"):
            if field != "dilation":
                param.ClearField(f"{field}_{side}")  # type: ignore[arg-type]
    for name, values in _window(place, **changed).items():
        if name.endswith(("_h", "_w")):
            setattr(param, name, values)
        else:
            getattr(param, name).extend(values)
    param.axis = place.op.axis
    if param.axis == 1:
        param.ClearField("axis")


def _has_lists(place: Place) -> bool:
    param = place.layer.convolution_param
    lists = (param.kernel_size, param.stride, param.pad)
    return spatial_axes(place) == 2 and any(len(set(values)) > 1 for values in lists)


def _has_halves(place: Place) -> bool:
    param = place.layer.convolution_param
    return any(
        param.HasField(f"{field}_h") != param.HasField(f"{field}_w")  # type: ignore[arg-type]
        for field in ("kernel", "stride", "pad")
    )


def _has_short_lists(place: Place) -> bool:
    """Tell whether one number stands for three axes."""
    param = place.layer.convolution_param
    lists = (param.kernel_size, param.stride, param.pad, param.dilation)
    return spatial_axes(place) > 2 and any(len(values) == 1 for values in lists)


# ------------------------------------------------------- bottoms and axes


def with_arrays(place: Place, arrays: list[Any]) -> Place:
    """Return the place of a copy of a layer, with other arrays."""
    copy = type(place.layer)()
    copy.CopyFrom(place.layer)
    return Place(copy, place.op, arrays, place.draft)


def _pairs(place: Place) -> list[Made]:
    """Return a layer for each bottom, the first with the name that there was."""
    made = []
    blobs = zip(place.layer.bottom, place.layer.top, strict=True)
    for index, (bottom, top) in enumerate(blobs):
        one = with_arrays(place, place.arrays or []).layer
        del one.bottom[:], one.top[:]
        one.bottom.append(bottom)
        one.top.append(top)
        if index:
            one.name = place.fresh(str(index + 1))
        made.append(Made(one, place.arrays))
    return made


def _folds(place: Place) -> bool:
    """Tell whether the layer works on other axes and has a form for images."""
    if is_plain(place):
        return False
    op = place.op
    left = max(0, spatial_axes(place) - 2)
    sizes = count(place.bottoms[0][op.axis + 1 :][:left])
    sizes *= count(place.tops[0][op.axis + 1 :][:left])
    return count(op.params[0].shape) * sizes <= LARGEST


def _as_images(place: Place) -> list[Made]:
    """Return Reshape, a layer of two spatial axes, Reshape.

    The axes in front of the channels become one; missing spatial axes get size 1. Those
    that are too many go into the channels, and the weights into a matrix over them that
    has zeros where the window does not reach.
    """
    op = place.op
    x, y, axis = place.bottoms[0], place.tops[0], op.axis
    left = max(0, spatial_axes(place) - 2)
    ones = (1,) * (2 - spatial_axes(place) + left)
    batch = count(x[:axis])
    inner = (batch, op.channels * count(x[axis + 1 :][:left]))
    outputs = op.num_output * count(y[axis + 1 :][:left])
    weights, *bias = place.values
    weights = _folded(place, weights, left)
    arrays = [weights.reshape(*weights.shape[:2], *ones, *weights.shape[2:])]
    arrays += [np.repeat(each, outputs // op.num_output) for each in bias]
    window = {
        field: ((0,) * len(ones) if field == "pad" else ones)
        + getattr(op, field)[left:]
        for field in _WINDOW
    }
    param = {"num_output": outputs, "bias_term": op.bias_term, "group": op.group}
    return chain(
        place,
        reshape("image", x, (*inner, *ones, *x[axis + 1 + left :])),
        (
            "image_" + place.type.lower(),
            place.type,
            {"convolution_param": {**param, **_window(place, **window)}},
            arrays,
        ),
        reshape("shape", (batch,), y),
    )


def _folded(place: Place, weights: Any, left: int) -> Any:
    """Return weights over channels that hold the first `left` spatial axes too."""
    if not left:
        return weights
    op = place.op
    spatial = slice(op.axis + 1, op.axis + 1 + left)
    down, up = place.bottoms[0][spatial], place.tops[0][spatial]
    if place.type == "Deconvolution":
        down, up = up, down
    # `up` counts places of the window, `down` what lies below it; the first axis of the
    # weights goes with `up`, for it is that of y, and that of x in a Deconvolution.
    first, second, *kernel = weights.shape
    wide: Any = np.zeros((first, *up, second, *down, *kernel[left:]), np.float32)
    every = itertools.product(*map(range, up), *map(range, kernel[:left]))
    for places in every:
        start, offset = places[:left], places[left:]
        below = [
            s * stride - pad + k * dilation
            for s, k, stride, pad, dilation in zip(
                start,
                offset,
                op.stride[:left],
                op.pad[:left],
                op.dilation[:left],
                strict=True,
            )
        ]
        if all(0 <= b < size for b, size in zip(below, down, strict=True)):
            wide[(slice(None), *start, slice(None), *below)] = weights[
                (slice(None), slice(None), *offset)
            ]
    return wide.reshape(first * count(up), second * count(down), *kernel[left:])


# ------------------------------------------------------------------ Im2col


def _columns(place: Place) -> list[Made]:
    """Return a Convolution with a filter for every place of the window."""
    op = place.op
    size = count(op.kernel)
    one = np.eye(size, dtype=np.float32).reshape(size, 1, *op.kernel)
    fields = {
        "num_output": op.channels * size,
        "group": op.channels,
        "bias_term": False,
        "axis": op.axis,
        "kernel_size": op.kernel,
        "stride": op.stride,
        "pad": op.pad,
        "dilation": op.dilation,
    }
    bottoms, tops = place.layer.bottom, place.layer.top
    made = layer(
        "Convolution", place.layer.name, bottoms, tops, convolution_param=fields
    )
    return [Made(made, [np.tile(one, (op.channels,) + (1,) * (one.ndim - 1))])]


# ------------------------------------------------- names that OpenCV gives


def _other_of_the_name(place: Place) -> Place | None:
    """Return another layer with the name of the blob that a Convolution writes."""
    top = place.layer.top[0]
    for other in place.draft.places:
        if other is not place and other.layer.name == top and other.type != "Input":
            return other
    return None


def _rename_other(place: Place) -> None:
    other = _other_of_the_name(place)
    if other is not None:
        other.layer.name = place.draft.fresh(f"{other.layer.name}_{other.type.lower()}")


RULES = (
    Rule(
        name="convolution-pairs",
        types=CONVOLUTIONS,
        says="several bottoms",
        readers={
            "opencv": silent("computes the first pair only"),
            "mnn": silent("computes the first pair only"),
            "ncnn": refused(),
        },
        applies=lambda place: len(place.layer.bottom) > 1,
        rewrite=_pairs,
        instead="a layer for each",
    ),
    Rule(
        name="im2col",
        types=("Im2col",),
        says="Im2col",
        readers={
            name: refused("has no Im2col")
            for name in ("opencv", "mnn", "ncnn", "openvino", "rknn", "x2paddle")
        },
        applies=lambda place: True,
        rewrite=_columns,
        instead="a Convolution with weights of 0 and 1",
        needs_values=True,
    ),
    Rule(
        name="convolution-axes-mnn",
        types=CONVOLUTIONS,
        says="a shape other than (N, C, H, W)",
        readers={"mnn": silent("returns other values or shapes")},
        applies=_folds,
        rewrite=_as_images,
        instead="Reshape, the same over (N, C, H, W), Reshape",
        needs_values=True,
    ),
    Rule(
        name="convolution-axes-opencv",
        types=CONVOLUTIONS,
        says="these axes",
        readers={"opencv": refused()},
        applies=lambda place: (
            _folds(place)
            and not (
                place.type == "Convolution"
                and place.op.axis == 1
                and 1 <= spatial_axes(place) <= 3
            )
        ),
        rewrite=_as_images,
        instead="Reshape, the same over (N, C, H, W), Reshape",
        needs_values=True,
    ),
    Rule(
        name="convolution-lists",
        types=CONVOLUTIONS,
        says="kernel_size, stride or pad as lists",
        readers={
            "mnn": silent("takes the width for the height"),
            "ncnn": silent("takes the first for both"),
        },
        applies=_has_lists,
        edit=set_window,
        instead="kernel_h, kernel_w and their like",
    ),
    Rule(
        name="convolution-halves",
        types=CONVOLUTIONS,
        says="one of kernel_h and kernel_w, stride_h and stride_w, or pad_h and pad_w",
        readers={"opencv": silent("leaves it out")},
        applies=_has_halves,
        edit=set_window,
        instead="both",
    ),
    Rule(
        name="convolution-short-lists",
        types=CONVOLUTIONS,
        says="one number for three axes",
        readers={"opencv": refused()},
        applies=_has_short_lists,
        edit=set_window,
        instead="three",
    ),
    Rule(
        name="convolution-name",
        types=("Convolution",),
        says="a top with the name of another layer",
        readers={"opencv": refused("names the layer after its top, and refuses both")},
        applies=lambda place: _other_of_the_name(place) is not None,
        edit=_rename_other,
        instead="another name for that layer",
    ),
)
