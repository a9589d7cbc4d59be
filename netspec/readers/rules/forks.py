"""Types and options of forks for what other readers know under another name."""

from __future__ import annotations

from netspec.ops.convolution import DEPTHWISE
from netspec.ops.dropout import ForkDropout
from netspec.readers.draft import Made, Place
from netspec.readers.rule import Rule, chain, power, refused, silent

EVERY = ("opencv", "mnn", "ncnn", "openvino", "rknn", "x2paddle")
_HOLES = ("hole", "hole_h", "hole_w")


def _as_convolution(place: Place) -> None:
    param = place.layer.convolution_param
    place.layer.type = "Convolution"
    param.num_output, param.group = place.op.num_output, place.op.group


def _has_holes(place: Place) -> bool:
    return any(map(place.layer.convolution_param.HasField, _HOLES))


def _as_dilation(place: Place) -> None:
    param, dilation = place.layer.convolution_param, place.op.dilation
    for field in _HOLES:
        param.ClearField(field)
    param.dilation[:] = dilation[:1] if len(set(dilation)) == 1 else dilation


def _without_draws(place: Place) -> list[Made]:
    op = place.op
    return chain(place, power("kept", 1 if op.scale_train else 1 - op.dropout_ratio))


RULES = (
    Rule(
        name="depthwise-type",
        types=DEPTHWISE,
        says="a convolution by channels as a type of its own",
        readers=dict.fromkeys(EVERY, refused("does not know it, or was not tried")),
        applies=lambda _: True,
        edit=_as_convolution,
        instead="Convolution with group",
    ),
    Rule(
        name="hole",
        types=("Convolution", "Deconvolution", "Im2col"),
        says="hole",
        readers=dict.fromkeys(EVERY, silent("ignores it, or was not tried with it")),
        applies=_has_holes,
        edit=_as_dilation,
        instead="dilation",
    ),
    Rule(
        name="dropout-draws",
        types=("Dropout",),
        says="sample_weights_test",
        readers=dict.fromkeys(EVERY, silent("draws nothing in use")),
        applies=lambda place: place.layer.dropout_param.sample_weights_test,
    ),
    Rule(
        name="dropout-scale",
        types=("Dropout",),
        says="scale_train: false",
        readers=dict.fromkeys(EVERY, silent("multiplies by nothing, or was not tried")),
        applies=lambda place: (
            isinstance(place.op, ForkDropout) and not place.op.scale_train
        ),
        rewrite=_without_draws,
        instead="Power, which multiplies by 1 - dropout_ratio",
    ),
)
