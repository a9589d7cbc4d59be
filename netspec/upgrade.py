"""Old forms of nets and solvers brought to the current one.

Caffe's format went through three generations: V0 (`layers { layer { type: "conv" } }`),
V1 (`layers { type: CONVOLUTION }`) and the current `layer { type: "Convolution" }`. The
steps run in Caffe's order: V0, transformation fields, V1, inputs, batch normalisation.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from netspec.errors import SpecError
from netspec.schema import (
    LayerParameter,
    NetParameter,
    SolverParameter,
    V0LayerParameter,
    V1LayerParameter,
)
from netspec.text import parse, to_text

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
_TRANSFORM_FIELDS = ("scale", "mean_file", "crop_size", "mirror")
_TRANSFORMED = {
    V1LayerParameter.DATA: "data_param",
    V1LayerParameter.IMAGE_DATA: "image_data_param",
    V1LayerParameter.WINDOW_DATA: "window_data_param",
}
_SOLVER_TYPES = {
    SolverParameter.SGD: "SGD",
    SolverParameter.NESTEROV: "Nesterov",
    SolverParameter.ADAGRAD: "AdaGrad",
    SolverParameter.RMSPROP: "RMSProp",
    SolverParameter.ADADELTA: "AdaDelta",
    SolverParameter.ADAM: "Adam",
}


def upgrades_needed(net: NetParameter) -> list[str]:
    """Return the names of the steps that `net` needs, in their order.

    They are among "V0", "data-transform", "V1", "input-fields", "batch-norm-params".
    """
    needed = []
    if any(layer.HasField("layer") for layer in net.layers):
        needed.append("V0")
    if any(_has_old_transform(layer) for layer in net.layers):
        needed.append("data-transform")
    if len(net.layers):
        needed.append("V1")
    if len(net.input):
        needed.append("input-fields")
    if any(_is_old_batch_norm(layer) for layer in net.layer):
        needed.append("batch-norm-params")
    return needed


def upgrade_net(
    net: NetParameter, *, problems: list[str] | None = None
) -> NetParameter:
    """Return `net` in the current form; an up-to-date net comes back unchanged.

    problems: a list that collects what was dropped because the current form has no
    place for it (Caffe warns and goes on).

    Raises `SpecError` for what cannot be upgraded, such as an unknown V0 type.
    """
    if not upgrades_needed(net):
        return net
    problems = problems if problems is not None else []
    upgraded = NetParameter()
    upgraded.CopyFrom(net)
    if any(layer.HasField("layer") for layer in upgraded.layers):
        _upgrade_v0(upgraded, problems)
    for old in upgraded.layers:
        _move_transform(old)
    if len(upgraded.layers):
        _upgrade_v1(upgraded, problems)
    if len(upgraded.input):
        _upgrade_inputs(upgraded)
    for layer in upgraded.layer:
        if _is_old_batch_norm(layer):
            for spec in layer.param:
                spec.lr_mult = 0
                spec.decay_mult = 0
    return upgraded


def upgrade_solver(solver: SolverParameter) -> SolverParameter:
    """Return `solver` with the old enum `solver_type` turned into `type`."""
    if not solver.HasField("solver_type"):
        return solver
    if solver.HasField("type"):
        raise SpecError(
            f"solver: both type ({solver.type!r}) and the old solver_type are given; "
            f"remove solver_type"
        )
    upgraded = SolverParameter()
    upgraded.CopyFrom(solver)
    upgraded.type = _SOLVER_TYPES[solver.solver_type]
    upgraded.ClearField("solver_type")
    return upgraded


def upgrade_text(text: str, message: str = "NetParameter") -> str:
    """Return upgraded prototxt text.

    message: "NetParameter" or "SolverParameter", what the text holds.

    Raises `TextError` (a `ValueError`) with line and column for bad text.
    """
    if message == "NetParameter":
        return to_text(upgrade_net(parse(text, NetParameter)))
    if message == "SolverParameter":
        return to_text(upgrade_solver(parse(text, SolverParameter)))
    raise SpecError(
        f"cannot upgrade a {message!r}; expected 'NetParameter' or 'SolverParameter'"
    )


# ---------------------------------------------------------------- V0


def _upgrade_v0(net: NetParameter, problems: list[str]) -> None:
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
                    f"layer {connection.layer.name!r} ({connection.layer.type}): reads "
                    f"the padding layer {source.layer.name!r}, but only conv and pool "
                    f"layers can take padding in"
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
            raise SpecError(
                f"layer {old.name!r}: unknown V0 layer type {old.type!r}; it cannot be "
                f"upgraded"
            )
        name = _V0_TYPES.get(old.type, old.type.upper())
        layer.type = V1LayerParameter.LayerType.Value(name)
    layer.blobs.extend(old.blobs)
    layer.blobs_lr.extend(old.blobs_lr)
    layer.weight_decay.extend(old.weight_decay)
    for descriptor, value in old.ListFields():
        _move_v0_field(old, layer, descriptor.name, value, problems)
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
            problems.append(
                f"layer {old.name!r} ({old.type}): has no place for {field}; dropped"
            )
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


# ---------------------------------------------------------------- V1


def _has_old_transform(layer: V1LayerParameter) -> bool:
    message = _TRANSFORMED.get(layer.type)
    return message is not None and any(
        getattr(layer, message).HasField(field) for field in _TRANSFORM_FIELDS
    )


def _move_transform(layer: V1LayerParameter) -> None:
    if not _has_old_transform(layer):
        return
    old = getattr(layer, _TRANSFORMED[layer.type])
    for field in _TRANSFORM_FIELDS:
        if old.HasField(field):
            setattr(layer.transform_param, field, getattr(old, field))
            old.ClearField(field)


def _upgrade_v1(net: NetParameter, problems: list[str]) -> None:
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


# ---------------------------------------------------------------- current form


def _upgrade_inputs(net: NetParameter) -> None:
    names = list(net.input)
    if len(net.input_shape):
        if len(net.input_shape) != len(names):
            raise SpecError(
                f"net {net.name!r}: {len(names)} inputs, but {len(net.input_shape)} "
                f"input_shape fields; give one for each input"
            )
        shapes = [list(shape.dim) for shape in net.input_shape]
    else:
        dims = list(net.input_dim)
        if dims and len(dims) != 4 * len(names):
            raise SpecError(
                f"net {net.name!r}: {len(names)} inputs need {4 * len(names)} "
                f"input_dim values (4 for each), got {len(dims)}"
            )
        shapes = [dims[start : start + 4] for start in range(0, len(dims), 4)]
    if shapes:  # names alone say nothing: the layers that read them will fail
        layer = LayerParameter(name="input", type="Input", top=names)
        for shape in shapes:
            layer.input_param.shape.add(dim=shape)
        layers = [layer, *net.layer]
        del net.layer[:]
        net.layer.extend(layers)
    for field in ("input", "input_shape", "input_dim"):
        net.ClearField(field)


def _is_old_batch_norm(layer: LayerParameter) -> bool:
    return layer.type == "BatchNorm" and len(layer.param) == 3
