"""What a box says about its layer: its main options, and the family that colours it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePath
from typing import Any

from netspec.catalogue import LAYER_TYPES
from netspec.graph.looking import opaque_reason
from netspec.ops import is_known_type, op_class
from netspec.ops.opaque import kept_options
from netspec.schema import LayerParameter

MAX_FIELDS, MAX_FIELD = 2, 48  # unknown fields in a box, and characters of each

_FAMILIES: dict[str, tuple[str, ...]] = {
    "data": ("Parameter", "HDF5Output"),  # and all that bring data in
    "convolution": (
        "Convolution",
        "ConvolutionDepthwise",
        "Deconvolution",
        "DepthwiseConvolution",
        "Im2col",
        "Local",
    ),
    "dense": (
        *("InnerProduct", "MarginInnerProduct", "LargeMarginInnerProduct", "Embed"),
        *("LSTM", "RNN", "LSTMUnit", "RNNUnit"),
    ),
    "pooling": (
        *("Pooling", "SPP", "Interp", "Upsample"),
        *("PSROIPooling", "ROIAlign", "ROIPooling"),
    ),
    "normalization": (
        *("BatchNorm", "BN", "LRN", "MVN", "Scale", "Bias", "Normalize"),
        "EltwiseAffine",
    ),
    "activation": (
        *("ReLU", "PReLU", "ELU", "Sigmoid", "TanH", "AbsVal", "BNLL", "Power", "Exp"),
        *("Log", "Clip", "Swish", "Threshold", "Dropout", "ReLU6", "ReLUX"),
        *("SeLu", "SeLuDropout"),
    ),
    "joining": ("Axpy", "Concat", "Eltwise", "Slice", "Split", "Crop"),
    "output": ("Softmax", "ArgMax", "Accuracy", "SegAccuracy", "DetectionOutput"),
}
_FAMILY_OF = {name: family for family, names in _FAMILIES.items() for name in names}


def family(layer_type: str) -> str:
    """Return the family of a layer type: "loss" by its name, else "other"."""
    if layer_type.endswith("Loss"):
        return "loss"
    if is_known_type(layer_type) and op_class(layer_type).is_source:
        return "data"
    return _FAMILY_OF.get(layer_type, "other")


def family_of(layer: LayerParameter) -> str:
    """Return the family of a layer: "loss" for one of no other that gives a loss."""
    found = family(layer.type)
    return "loss" if found == "other" and any(layer.loss_weight) else found


def options(layer: LayerParameter) -> str:
    """Return the options that tell this layer from others of its type, in few words."""
    describe = _DESCRIBE.get(layer.type)
    words = describe(layer) if describe else []
    words += unknown_words(layer)
    if any(weight not in (0.0, 1.0) for weight in layer.loss_weight):
        words.append("weight " + ", ".join(f"{w:g}" for w in layer.loss_weight))
    return ", ".join(word for word in words if word).replace(", →", " →")


def unknown_words(layer: LayerParameter) -> list[str]:
    """Return why a layer cannot be read, and the fields that are not known here."""
    reason = opaque_reason(layer)
    if not reason:
        return []
    fields = [" ".join(text.split()) for text in unknown_fields(layer)]
    return [reason, *(shorten(text, MAX_FIELD) for text in fields[:MAX_FIELDS])]


def unknown_fields(layer: LayerParameter) -> list[str]:
    """Return the fields of a layer and its options that are not known, as text."""
    return [*layer.unknown_fields, *(text for _, text in kept_options(layer))]


def shorten(text: str, length: int) -> str:
    """Return `text`, or its beginning with three dots."""
    return text if len(text) <= length else f"{text[: length - 1].rstrip()}…"


def _spatial(message: Any, field: str, short: str, default: int) -> list[int]:
    """Return [h, w, ...] (or one value for all axes) of kernel_size, stride or pad."""
    if message.HasField(f"{short}_h") or message.HasField(f"{short}_w"):
        return [getattr(message, f"{short}_h"), getattr(message, f"{short}_w")]
    value = getattr(message, field)
    if isinstance(value, int):
        return [value]
    return list(value) or [default]


def _times(sizes: list[int]) -> str:
    """Return 3×3 for the one size 3, and 1×7 for 1 and 7."""
    return "×".join(str(size) for size in (sizes * 2 if len(sizes) == 1 else sizes))


def _brief(sizes: list[int]) -> str:
    """Return one number where all sizes are equal."""
    return str(sizes[0]) if len(set(sizes)) == 1 else _times(sizes)


def _window(message: Any) -> list[str]:
    """Kernel, stride and pad, where they are not neutral."""
    stride, pad = (
        _spatial(message, "stride", "stride", 1),
        _spatial(message, "pad", "pad", 0),
    )
    return [
        _times(_spatial(message, "kernel_size", "kernel", 0)),
        f"stride {_brief(stride)}" if set(stride) != {1} else "",
        f"pad {_brief(pad)}" if set(pad) != {0} else "",
    ]


def _convolution(layer: LayerParameter) -> list[str]:
    message = layer.convolution_param
    dilation = list(message.dilation) or _spatial(message, "hole", "hole", 1)
    return [
        *_window(message),
        f"dilation {_brief(dilation)}" if set(dilation) != {1} else "",
        f"group {message.group}" if message.group != 1 else "",
        f"→ {message.num_output}" if message.num_output else "",
    ]


def _pooling(layer: LayerParameter) -> list[str]:
    message = layer.pooling_param
    name = _enum(message, "pool")
    if message.global_pooling:
        return [f"global {name}"]
    down = _enum(message, "round_mode") == "FLOOR" or not message.ceil_mode
    return [name, *_window(message), "rounded down" if down else ""]


def _interp(layer: LayerParameter) -> list[str]:
    message = layer.interp_param
    size = [message.height, message.width]
    return [
        _times(size) if all(size) else "",
        f"zoom {message.zoom_factor}" if message.HasField("zoom_factor") else "",
        f"shrink {message.shrink_factor}" if message.HasField("shrink_factor") else "",
    ]


def _upsample(layer: LayerParameter) -> list[str]:
    message = layer.upsample_param
    scale = [message.scale_h, message.scale_w]
    if not any(scale):
        scale = [message.scale or len(layer.bottom)]
    size = [message.upsample_h, message.upsample_w]
    words = f"to {_times(size)}" if all(size) else f"scale {_brief(scale)}"
    return [words, "by mask" if len(layer.bottom) > 1 else ""]


def _enum(message: Any, field: str) -> str:
    """Return the name of an enum's value."""
    number = getattr(message, field)
    enum = message.DESCRIPTOR.fields_by_name[field].enum_type
    return enum.values_by_number[number].name


def _lrn(layer: LayerParameter) -> list[str]:
    message = layer.lrn_param
    within = _enum(message, "norm_region") == "WITHIN_CHANNEL"
    return [f"size {message.local_size}", "within channel" if within else ""]


def _eltwise(layer: LayerParameter) -> list[str]:
    message = layer.eltwise_param
    return [_enum(message, "operation"), *(f"{value:g}" for value in message.coeff)]


def _concat(layer: LayerParameter) -> list[str]:
    message = layer.concat_param
    axis = message.concat_dim if message.HasField("concat_dim") else message.axis
    return [f"axis {axis}" if axis != 1 else ""]


def _slice(layer: LayerParameter) -> list[str]:
    message = layer.slice_param
    axis = message.slice_dim if message.HasField("slice_dim") else message.axis
    points = ", ".join(str(point) for point in message.slice_point)
    return [f"axis {axis}" if axis != 1 else "", f"at {points}" if points else ""]


def _data(layer: LayerParameter) -> list[str]:
    message = getattr(layer, str(LAYER_TYPES[layer.type].param))
    return [PurePath(message.source).name]


def _accuracy(layer: LayerParameter) -> list[str]:
    top_k = layer.accuracy_param.top_k
    return [f"top {top_k}" if top_k != 1 else ""]


def _reshape(layer: LayerParameter) -> list[str]:
    return [_times(list(layer.reshape_param.shape.dim))]


def _outputs(field: str) -> Callable[[LayerParameter], list[str]]:
    """Describe by `num_output` of the message in `field`."""
    return lambda layer: [f"→ {getattr(layer, field).num_output}"]


def _power(layer: LayerParameter) -> list[str]:
    message = layer.power_param
    base = "x" if message.scale == 1 else f"{message.scale:g}x"
    if message.shift:
        base += f" {'+' if message.shift > 0 else '-'} {abs(message.shift):g}"
    if message.power == 1:
        return [base]
    return [f"{base if base == 'x' else f'({base})'}^{message.power:g}"]


def _python(layer: LayerParameter) -> list[str]:
    param = layer.python_param
    ours = param.module == "__main__"  # of the script or the notebook itself
    return [param.layer if ours else f"{param.module}.{param.layer}"]


_DESCRIBE: dict[str, Callable[[LayerParameter], list[str]]] = {
    "Convolution": _convolution,
    "Interp": _interp,
    "Reorg": lambda layer: [f"stride {layer.reorg_param.stride}"],
    "ShuffleChannel": lambda layer: [f"group {layer.shuffle_channel_param.group}"],
    "Upsample": _upsample,
    "ConvolutionDepthwise": _convolution,
    "DepthwiseConvolution": _convolution,
    "Deconvolution": _convolution,
    "Im2col": _convolution,
    "Pooling": _pooling,
    "InnerProduct": _outputs("inner_product_param"),
    "Embed": _outputs("embed_param"),
    "LSTM": _outputs("recurrent_param"),
    "RNN": _outputs("recurrent_param"),
    "LRN": _lrn,
    "Eltwise": _eltwise,
    "Concat": _concat,
    "Slice": _slice,
    "Data": _data,
    "HDF5Data": _data,
    "ImageData": _data,
    "DenseImageData": _data,
    "ImageLabelmapData": _data,
    "ImageSegData": _data,
    "WindowData": _data,
    "AnnotatedData": lambda layer: [PurePath(layer.data_param.source).name],
    "VideoData": lambda layer: [PurePath(layer.video_data_param.video_file).name],
    "Accuracy": _accuracy,
    "Reshape": _reshape,
    "Power": _power,
    "Dropout": lambda layer: [f"{layer.dropout_param.dropout_ratio:g}"],
    "ReLU": lambda layer: [
        f"slope {layer.relu_param.negative_slope:g}"
        if layer.relu_param.negative_slope
        else ""
    ],
    "Python": _python,
    "ContrastiveLoss": lambda layer: [
        f"margin {layer.contrastive_loss_param.margin:g}"
    ],
}
