"""Layers of forks that move or repeat values: ShuffleChannel, Reorg, Interp, ..."""

from __future__ import annotations

import numpy as np

from netspec.ops.base import count
from netspec.readers.draft import Made, Place
from netspec.readers.forms import Form
from netspec.readers.rule import Rule, chain, power, refused, silent
from netspec.readers.rules.forks import EVERY

_UNTRIED = refused("does not know it, or was not tried with it")
_OTHERS = dict.fromkeys([name for name in EVERY if name != "opencv"], _UNTRIED)
_ALL = dict.fromkeys(EVERY, _UNTRIED)


def _two_bounds(place: Place) -> list[Made]:
    """Return n - max(n - v, 0), v being the leaky ReLU."""
    op = place.op
    slope = {"relu_param": {"negative_slope": op.negative_slope}}
    return chain(
        place,
        ("low", "ReLU", slope, ()),
        power("turned", -1, op.n),
        ("high", "ReLU", {}, ()),
        power("back", -1, op.n),
    )


def _shuffled(place: Place) -> list[Made]:
    n, c, *inner = place.bottoms[0]
    group, form = place.op.group, Form(place)
    x = form.reshape("groups", form.x, (n, group, c // group, count(inner)))
    x = form.put("mixed", "Permute", x, permute_param={"order": [0, 2, 1, 3]})
    return form.end(form.reshape("shape", x, place.tops[0]))


def _picks(place: Place) -> np.ndarray:
    """Return weights (C, C / s^2, s, s) that pick a pixel of a channel each."""
    c, s = place.bottoms[0][1], place.op.stride
    few = c // (s * s)
    picks = np.zeros((s, s, few, few, s, s), np.float32)
    for i, j in np.ndindex(s, s):
        picks[i, j, range(few), range(few), i, j] = 1
    return picks.reshape(c, few, s, s)


def _reorganized(place: Place) -> list[Made]:
    (n, c, height, width), s = place.bottoms[0], place.op.stride
    form, weights = Form(place), _picks(place)
    few = c // (s * s)
    if place.op.reverse:
        param = {"num_output": few, "kernel_size": [s], "stride": [s]}
        param["bias_term"] = False
        x = form.put(
            "pixels", "Deconvolution", form.x, [weights], convolution_param=param
        )
        return form.end(x)
    x = form.reshape("planes", form.x, (n, few, height * s, width * s))
    param = {"num_output": c, "kernel_size": [s], "stride": [s], "bias_term": False}
    x = form.put("squares", "Convolution", x, [weights], convolution_param=param)
    return form.end(form.reshape("shape", x, place.tops[0]))


def _weighed(place: Place) -> list[Made]:
    form = Form(place)
    factor, x, added = place.layer.bottom
    shape = place.bottoms[1]
    flat = form.reshape("factors", factor, shape[:2])
    scaled = form.put("scaled", "Scale", [x, flat], scale_param={"axis": 0})
    return form.end(form.both("sum", "SUM", scaled, added))


def _repeated(place: Place) -> list[Made]:
    channels, (rows, columns) = place.bottoms[0][1], place.op.scale
    ones = np.ones((channels, 1, rows, columns), np.float32)
    param = {
        "num_output": channels,
        "group": channels,
        "bias_term": False,
        "kernel_h": rows,
        "kernel_w": columns,
        "stride_h": rows,
        "stride_w": columns,
    }
    form = Form(place)
    return form.end(
        form.put("copies", "Deconvolution", form.x, [ones], convolution_param=param)
    )


def _says_size(place: Place) -> bool:
    """Tell whether an Interp is as all readers know it: a whole image, and its size."""
    param = place.layer.interp_param
    given = {field.name for field, _ in param.ListFields()}
    return given == {"height", "width"} and len(place.layer.bottom) == 1


def _of_size(place: Place) -> list[Made]:
    op, form = place.op, Form(place)
    x, (height, width) = form.x, place.tops[0][2:]
    if op.begin or op.end:
        cut = op.begin + op.end + 1
        window = {"kernel_size": cut}
        like = form.put("size", "Pooling", x, pooling_param=window)
        crop = {"axis": 2, "offset": [op.begin, op.begin]}
        x = form.put("cut", "Crop", [x, like], crop_param=crop)
    size = {"height": height, "width": width}
    return form.end(form.put("sized", "Interp", x, interp_param=size))


RULES = (
    Rule(
        name="relu6",
        types=("ReLU6",),
        says="ReLU6",
        readers=_OTHERS,
        applies=lambda _: True,
        rewrite=_two_bounds,
        instead="bounds by ReLU and Power",
    ),
    Rule(
        name="relu6-options",
        types=("ReLU6",),
        says="options of ReLU6",
        readers={"opencv": silent("ignores them")},
        applies=lambda place: place.op.negative_slope != 0 or place.op.n != 6,
        rewrite=_two_bounds,
        instead="bounds by ReLU and Power",
    ),
    Rule(
        name="shuffle-channel",
        types=("ShuffleChannel",),
        says="ShuffleChannel",
        readers=_OTHERS,
        applies=lambda _: True,
        rewrite=_shuffled,
        instead="Reshape, Permute, Reshape",
    ),
    Rule(
        name="shuffle-channel-axes",
        types=("ShuffleChannel",),
        says="ShuffleChannel of what is no image",
        readers={"opencv": refused("takes images only")},
        applies=lambda place: len(place.bottoms[0]) != 4,
        rewrite=_shuffled,
        instead="Reshape, Permute, Reshape",
    ),
    Rule(
        name="reorg",
        types=("Reorg",),
        says="Reorg",
        readers=_OTHERS,
        applies=lambda _: True,
        rewrite=_reorganized,
        instead="a Convolution that picks pixels",
        needs_values=True,
    ),
    Rule(
        name="reorg-options",
        types=("Reorg",),
        says="reverse, or a stride other than 2",
        readers={"opencv": silent("ignores it")},
        applies=lambda place: place.op.reverse or place.op.stride != 2,
        rewrite=_reorganized,
        instead="a Convolution that picks pixels",
        needs_values=True,
    ),
    Rule(
        name="axpy",
        types=("Axpy",),
        says="Axpy",
        readers={name: finds for name, finds in _ALL.items() if name != "ncnn"},
        applies=lambda _: True,
        rewrite=_weighed,
        instead="Scale by a blob, and a sum",
    ),
    Rule(
        name="upsample-mask",
        types=("Upsample",),
        says="Upsample with the mask of a Pooling",
        readers=_ALL,
        applies=lambda place: place.op.masked,
    ),
    Rule(
        name="upsample",
        types=("Upsample",),
        says="Upsample",
        readers=_ALL,
        applies=lambda place: not place.op.masked,
        rewrite=_repeated,
        instead="a Deconvolution with weights of 1",
        needs_values=True,
    ),
    Rule(
        name="interp-size",
        types=("Interp",),
        says="Interp with factors, cuts or a second bottom",
        readers={
            "opencv": silent("ignores some of them"),
            "mnn": silent("gives another size"),
            "openvino": refused("does not convert some of them"),
        },
        applies=lambda place: not _says_size(place),
        rewrite=_of_size,
        instead="height and width, behind Crop",
    ),
)
