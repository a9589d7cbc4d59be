"""From V1 layers, `layers { type: CONVOLUTION }`, to current ones."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from netspec.schema import LayerParameter, NetParameter, V1LayerParameter

# V1 type names whose current spelling is not the plain capitalisation of their words.
_SPECIAL_NAMES = {
    "ABSVAL": "AbsVal",
    "ARGMAX": "ArgMax",
    "BNLL": "BNLL",
    "HDF5_DATA": "HDF5Data",
    "HDF5_OUTPUT": "HDF5Output",
    "LRN": "LRN",
    "MVN": "MVN",
    "RELU": "ReLU",
    "SOFTMAX_LOSS": "SoftmaxWithLoss",
    "TANH": "TanH",
    "NONE": "",
}

_TRANSFORM_FIELDS = ("scale", "mean_file", "crop_size", "mirror")
_TRANSFORMED = {
    V1LayerParameter.DATA: "data_param",
    V1LayerParameter.IMAGE_DATA: "image_data_param",
    V1LayerParameter.WINDOW_DATA: "window_data_param",
}


def has_old_transform(layer: V1LayerParameter) -> bool:
    """Tell whether a data layer has transformations outside `transform_param`."""
    message = _TRANSFORMED.get(layer.type)
    return message is not None and any(
        getattr(layer, message).HasField(field) for field in _TRANSFORM_FIELDS
    )


def move_transform(layer: V1LayerParameter) -> None:
    """Move the transformations of a data layer into `transform_param`."""
    if not has_old_transform(layer):
        return
    old = getattr(layer, _TRANSFORMED[layer.type])
    for field in _TRANSFORM_FIELDS:
        if old.HasField(field):
            setattr(layer.transform_param, field, getattr(old, field))
            old.ClearField(field)


def upgrade_v1(net: NetParameter, problems: list[str]) -> None:
    """Turn all layers of `net` from V1 into current ones; as `upgrade_v0`."""
    if len(net.layer):
        problems.append(
            f"net {net.name!r}: has both `layers` (old) and `layer` fields; the "
            f"{len(net.layer)} `layer` fields are ignored"
        )
        del net.layer[:]
    net.layer.extend(_v2_of_v1(layer) for layer in net.layers)
    del net.layers[:]


def v1_type_name(number: int) -> str:
    """Return the current name of a V1 layer type: 4 is "Convolution"."""
    old = V1LayerParameter.LayerType.Name(number)
    plain = "".join(word.capitalize() for word in old.split("_"))
    return _SPECIAL_NAMES.get(old, plain)


def _v2_of_v1(old: V1LayerParameter) -> LayerParameter:
    layer = LayerParameter(
        bottom=old.bottom,
        top=old.top,
        include=old.include,
        exclude=old.exclude,
        blobs=old.blobs,
        loss_weight=old.loss_weight,
    )
    if old.HasField("name"):
        layer.name = old.name
    if old.HasField("type"):
        layer.type = v1_type_name(old.type)
    _set_specs(layer, "name", old.param)
    _set_specs(layer, "share_mode", old.blob_share_mode)
    _set_specs(layer, "lr_mult", old.blobs_lr)
    _set_specs(layer, "decay_mult", old.weight_decay)
    for descriptor, value in old.ListFields():
        if descriptor.name.endswith("_param"):
            getattr(layer, descriptor.name).CopyFrom(value)
    return layer


def _set_specs(layer: LayerParameter, field: str, values: Iterable[Any]) -> None:
    for index, value in enumerate(values):
        while len(layer.param) <= index:
            layer.param.add()
        setattr(layer.param[index], field, value)
