"""From V0 layers, `layers { layer { type: "conv" } }`, to V1 ones."""

from __future__ import annotations

from typing import Any

from netspec.errors import SpecError
from netspec.ops.base import label
from netspec.schema import NetParameter, V0LayerParameter, V1LayerParameter
from netspec.schema.unread import numbers_of, restore, unread_fields
from netspec.text import to_text
from netspec.text.kept_text import one_line, parsed_field

# V0 type names whose V1 name is not the same word in capitals.
_V0_TYPES = {
    "conv": "CONVOLUTION",
    "images": "IMAGE_DATA",
    "innerproduct": "INNER_PRODUCT",
    "pool": "POOLING",
}
_V0_SAME = frozenset(
    (
        "accuracy",
        "bnll",
        "concat",
        "data",
        "dropout",
        "euclidean_loss",
        "flatten",
        "hdf5_data",
        "hdf5_output",
        "im2col",
        "infogain_loss",
        "lrn",
        "multinomial_logistic_loss",
        "relu",
        "sigmoid",
        "softmax",
        "softmax_loss",
        "split",
        "tanh",
        "window_data",
    )
)

_CONVOLUTION = ("conv", "convolution_param")
_INNER_PRODUCT = ("innerproduct", "inner_product_param")
_POOLING = ("pool", "pooling_param")
_DATA = ("data", "data_param")
_IMAGES = ("images", "image_data_param")
_WINDOW = ("window_data", "window_data_param")
_HDF5 = ("hdf5_data", "hdf5_data_param")
_LRN = ("lrn", "lrn_param")

# V0 field -> its name in the V1 message, and the V0 types (with that message) it fits.
_V0_FIELDS: dict[str, tuple[str, tuple[tuple[str, str], ...]]] = {
    "num_output": ("num_output", (_CONVOLUTION, _INNER_PRODUCT)),
    "biasterm": ("bias_term", (_CONVOLUTION, _INNER_PRODUCT)),
    "weight_filler": ("weight_filler", (_CONVOLUTION, _INNER_PRODUCT)),
    "bias_filler": ("bias_filler", (_CONVOLUTION, _INNER_PRODUCT)),
    "pad": ("pad", (_CONVOLUTION, _POOLING)),
    "kernelsize": ("kernel_size", (_CONVOLUTION, _POOLING)),
    "group": ("group", (_CONVOLUTION,)),
    "stride": ("stride", (_CONVOLUTION, _POOLING)),
    "pool": ("pool", (_POOLING,)),
    "dropout_ratio": ("dropout_ratio", (("dropout", "dropout_param"),)),
    "local_size": ("local_size", (_LRN,)),
    "alpha": ("alpha", (_LRN,)),
    "beta": ("beta", (_LRN,)),
    "k": ("k", (_LRN,)),
    "source": (
        "source",
        (_DATA, _HDF5, _IMAGES, _WINDOW, ("infogain_loss", "infogain_loss_param")),
    ),
    "batchsize": ("batch_size", (_DATA, _HDF5, _IMAGES, _WINDOW)),
    "rand_skip": ("rand_skip", (_DATA, _IMAGES)),
    "shuffle_images": ("shuffle", (_IMAGES,)),
    "new_height": ("new_height", (_IMAGES,)),
    "new_width": ("new_width", (_IMAGES,)),
    "concat_dim": ("concat_dim", (("concat", "concat_param"),)),
    "det_fg_threshold": ("fg_threshold", (_WINDOW,)),
    "det_bg_threshold": ("bg_threshold", (_WINDOW,)),
    "det_fg_fraction": ("fg_fraction", (_WINDOW,)),
    "det_context_pad": ("context_pad", (_WINDOW,)),
    "det_crop_mode": ("crop_mode", (_WINDOW,)),
}
_V0_TRANSFORM = {
    "scale": "scale",
    "meanfile": "mean_file",
    "cropsize": "crop_size",
    "mirror": "mirror",
}


def is_v0(net: NetParameter) -> bool:
    """Tell whether `net` has layers in the V0 form."""
    return any(layer.HasField("layer") for layer in net.layers)


def upgrade_v0(net: NetParameter, problems: list[str]) -> None:
    """Turn all layers of `net` from V0 into V1; say in `problems` what was dropped."""
    for index, connection in enumerate(net.layers):
        if not connection.HasField("layer"):
            raise SpecError(
                f"net {net.name!r}: layers[{index}] ({connection.name!r}) is in the V1 "
                f"form, but others are in the V0 form, `layers {{ layer {{ }} }}`; "
                f"write all of them in one form"
            )
    layers = _fold_padding(list(net.layers))
    upgraded = [_v1_of_v0(layer, problems) for layer in layers]
    del net.layers[:]
    net.layers.extend(upgraded)


def _fold_padding(layers: list[Any]) -> list[Any]:
    """Move the pad of every `padding` layer into the layers that read it."""
    last_writer: dict[str, Any] = {}
    kept = []
    for connection in layers:
        for index, blob in enumerate(connection.bottom):
            source = last_writer.get(blob)
            if source is None or source.layer.type != "padding":
                continue
            if connection.layer.type not in ("conv", "pool"):
                raise SpecError(
                    f"reads the padding layer {source.layer.name!r}, but only conv and "
                    f"pool layers can take padding in",
                    layer=label(connection.layer),
                )
            connection.layer.pad = source.layer.pad
            connection.bottom[index] = source.bottom[0]
        if connection.layer.type == "padding":
            if len(connection.bottom) != 1 or len(connection.top) != 1:
                raise SpecError(
                    f"padding layer {connection.layer.name!r}: expected one bottom and "
                    f"one top, got {len(connection.bottom)} and {len(connection.top)}"
                )
        else:
            kept.append(connection)
        last_writer.update(dict.fromkeys(connection.top, connection))
    return kept


def _v1_of_v0(connection: Any, problems: list[str]) -> V1LayerParameter:
    old: V0LayerParameter = connection.layer
    layer = V1LayerParameter(
        bottom=connection.bottom, top=connection.top, name=old.name
    )
    if not old.HasField("name"):
        layer.ClearField("name")
    if old.HasField("type"):
        if old.type not in _V0_TYPES and old.type not in _V0_SAME:
            if not old.type.isidentifier():
                raise SpecError(
                    f"layer {old.name!r}: unknown V0 layer type {old.type!r}; it "
                    f"cannot be upgraded"
                )
            return _of_unknown_type(connection, layer, problems)
        name = _V0_TYPES.get(old.type, old.type.upper())
        layer.type = V1LayerParameter.LayerType.Value(name)
    layer.blobs.extend(old.blobs)
    layer.blobs_lr.extend(old.blobs_lr)
    layer.weight_decay.extend(old.weight_decay)
    for descriptor, value in old.ListFields():
        _move_v0_field(old, layer, descriptor.name, value, problems)
    layer.unknown_fields.extend([*connection.unknown_fields, *old.unknown_fields])
    lost = numbers_of(old)
    if lost:
        problems.append(
            f"layer {old.name!r} ({old.type}): fields of unknown names with the "
            f"numbers {', '.join(map(str, lost))} are other fields in the current "
            f"form; dropped"
        )
    restore(layer, unread_fields(connection))
    return layer


def _of_unknown_type(
    connection: Any, layer: V1LayerParameter, problems: list[str]
) -> V1LayerParameter:
    """Return a layer of a type that V0 does not have here, with all of its fields.

    Where they belong is not known, so they are kept as text, in one message that is
    named after the type.
    """
    old = V0LayerParameter()
    old.CopyFrom(connection.layer)
    name = old.type
    param = f"{name}_param"
    if param in V1LayerParameter.DESCRIPTOR.fields_by_name:
        param = f"{name}_v0_param"
    problems.append(
        f"layer {old.name!r}: unknown V0 layer type {name!r}; it cannot be upgraded, "
        f"so its fields are kept as they stand, in {param}"
    )
    layer.blobs.extend(old.blobs)
    layer.blobs_lr.extend(old.blobs_lr)
    layer.weight_decay.extend(old.weight_decay)
    for field in ("name", "type", "blobs", "blobs_lr", "weight_decay"):
        old.ClearField(field)
    kept = one_line(parsed_field(f"{param} {{ {to_text(old)} }}"))
    texts = [f"type: {name.upper()}", kept, *connection.unknown_fields]
    layer.unknown_fields.extend(texts)
    return layer


def _move_v0_field(
    old: Any, layer: Any, field: str, value: Any, problems: list[str]
) -> None:
    if field in _V0_TRANSFORM:
        setattr(layer.transform_param, _V0_TRANSFORM[field], value)
    elif field == "hdf5_output_param" and old.type == "hdf5_output":
        layer.hdf5_output_param.CopyFrom(value)
    elif field in _V0_FIELDS or field == "hdf5_output_param":
        name, places = _V0_FIELDS.get(field, (field, ()))
        message = dict(places).get(old.type)
        if message is None:
            problems.append(f"{label(old)}: has no place for {field}; dropped")
        else:
            _set(getattr(layer, message), name, value)


def _set(message: Any, field: str, value: Any) -> None:
    """Set a field that may be repeated, or a message."""
    target = getattr(message, field)
    if hasattr(target, "append"):
        target.append(value)
    elif hasattr(target, "CopyFrom"):
        target.CopyFrom(value)
    else:
        setattr(message, field, value)
