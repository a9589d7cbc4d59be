"""BatchNorm and BN of forks: BatchNorm, and Scale with what is learned."""

from __future__ import annotations

import numpy as np

from netspec.ops.batch_norm import ForkBatchNorm
from netspec.readers.draft import Made, Place
from netspec.readers.forms import Form
from netspec.readers.rule import Rule, refused, silent

_NOT_TRIED = refused("was not tried with it")
_EVERY = ("opencv", "mnn", "ncnn", "openvino", "rknn", "x2paddle")


def _apart(place: Place) -> list[Made]:
    """Return a BatchNorm as Caffe has it, and a Scale with factor and bias."""
    op, slots, form = place.op, place.op.slots, Form(place)
    flat = [np.reshape(each, -1) for each in place.values]
    known = place.arrays is not None
    x = form.x
    if op.statistics != "none":
        arrays = [np.zeros(op.channels), np.zeros(op.channels), np.ones(1)]
        for place_of, slot in enumerate((slots.mean, slots.variance, slots.weight)):
            if slot is not None and known:
                arrays[place_of] = flat[slot]
        param = {"eps": op.eps}
        if op.statistics == "batch":
            param["use_global_stats"] = False
        held = [np.float32(each) for each in arrays] if known else None
        x = form.put("norm", "BatchNorm", x, held, batch_norm_param=param)
    if op.learned_params:
        learned = [flat[slot] for slot in op.learned_params] if known else None
        if slots.gamma is None and learned is not None:
            learned.insert(0, np.ones(op.channels, np.float32))
        param = {"bias_term": slots.beta is not None}
        x = form.put("scale", "Scale", x, learned, scale_param=param)
    return form.end(x)


RULES = (
    Rule(
        name="batch-norm-of-forks",
        types=("BatchNorm",),
        says="BatchNorm with options of forks",
        readers=dict.fromkeys(_EVERY, silent("may ignore them")),
        applies=lambda place: isinstance(place.op, ForkBatchNorm),
        rewrite=_apart,
        instead="BatchNorm, and Scale with its factor and bias",
    ),
    Rule(
        name="bn-statistics",
        types=("BN",),
        says="tops with the statistics of the batch",
        readers=dict.fromkeys(_EVERY, _NOT_TRIED),
        applies=lambda place: len(place.layer.top) > 1,
    ),
    Rule(
        name="bn",
        types=("BN",),
        says="BN",
        readers={
            **dict.fromkeys(_EVERY, _NOT_TRIED),
            "opencv": refused(),
            "mnn": refused(),
        },
        applies=lambda place: len(place.layer.top) == 1,
        rewrite=_apart,
        instead="BatchNorm, and Scale with its factor and bias",
    ),
)
