"""From V1 layers, `layers { type: CONVOLUTION }`, to current ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from netspec.catalogue import LAYER_TYPES
from netspec.errors import SpecError
from netspec.forks.catalogue import catalogue
from netspec.schema import LayerParameter, NetParameter, V1LayerParameter
from netspec.schema.unread import numbers_of, restore, unread_fields
from netspec.text import add_fields

_TYPE = "type: "  # how a kept type begins, of those that V1 here lacks
MAX_NAMED = 3  # layers of a form, in a message
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
    """Turn all layers of `net` from V1 into current ones; say what was dropped.

    Raises `SpecError` where there are current ones beside them, as Caffe would lose
    those.
    """
    if len(net.layer):
        new = [f"{layer.name!r} ({layer.type})" for layer in net.layer]
        old = [f"{each.name!r} ({v1_type_name(each.type)})" for each in net.layers]
        raise SpecError(
            f"net {net.name!r} mixes two forms: {_some(old)} written as `layers`, the "
            f"old form, and {_some(new)} as `layer`, the current one; write all as "
            f"`layer`, with types in quotes as in type: "
            f'"{v1_type_name(net.layers[0].type)}"'
        )
    net.layer.extend(_v2_of_v1(layer, problems) for layer in net.layers)
    del net.layers[:]


def _some(labels: Sequence[str]) -> str:
    shown = ", ".join(labels[:MAX_NAMED])
    more = len(labels) - MAX_NAMED
    verb = "is" if len(labels) == 1 else "are"
    return f"{shown}{f' and {more} more' if more > 0 else ''} {verb}"


def v1_type_name(number: int) -> str:
    """Return the current name of a V1 layer type: 4 is "Convolution"."""
    old = V1LayerParameter.LayerType.Name(number)
    plain = "".join(word.capitalize() for word in old.split("_"))
    return _SPECIAL_NAMES.get(old, plain)


def fork_type_name(old: str) -> str:
    """Return the current name of a type that only V1 layers of forks have.

    It is that of a type with the same letters, RELU6 is "ReLU6", or the words with
    capitals: IMAGE_SEG_DATA is "ImageSegData".
    """
    letters = old.replace("_", "")
    for name in (*LAYER_TYPES, *catalogue().types):
        if name.upper() == letters:
            return name
    return "".join(word.capitalize() for word in old.split("_"))


def _v2_of_v1(old: V1LayerParameter, problems: list[str]) -> LayerParameter:
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
    kept = list(old.unknown_fields)
    types = [text for text in kept if text.startswith(_TYPE)]
    if len(types) == 1 and not layer.type:
        layer.type = fork_type_name(types[0].removeprefix(_TYPE))
        kept.remove(types[0])
    add_fields(layer, kept)
    _move_unread(old, layer, problems)
    return layer


def _move_unread(
    old: V1LayerParameter, layer: LayerParameter, problems: list[str]
) -> None:
    """Move what the layer itself has in binary that nobody here can read.

    Other messages are the same in both forms. A number that the current form has for
    something else would be read as that.
    """
    taken = {field.number for field in LayerParameter.DESCRIPTOR.fields}
    lost = [number for number in numbers_of(old) if number in taken]
    fields = [field for field in unread_fields(old) if field.number not in taken]
    restore(layer, fields)
    if lost:
        problems.append(
            f"layer {old.name!r} ({layer.type}): fields of unknown names with the "
            f"numbers {', '.join(map(str, lost))} are other fields in the current "
            f"form; dropped"
        )


def _set_specs(layer: LayerParameter, field: str, values: Iterable[Any]) -> None:
    for index, value in enumerate(values):
        while len(layer.param) <= index:
            layer.param.add()
        setattr(layer.param[index], field, value)
