"""Convolution, Deconvolution and Im2col in any number of spatial dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from netspec.errors import ShapeError, SpecError
from netspec.ops.base import (
    NoReadOp,
    Op,
    ParamDef,
    Shape,
    canonical_axis,
    check_same,
    count,
    filler,
    infers,
    label,
    stands_for,
)
from netspec.schema import ConvolutionParameter, LayerParameter


@dataclass(frozen=True, kw_only=True)
class Window:
    """A sliding window, a value for every spatial axis."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    pad: tuple[int, ...]
    dilation: tuple[int, ...]

    @property
    def extent(self) -> tuple[int, ...]:
        """Pixels from the first to the last one under the dilated kernel."""
        pairs = zip(self.kernel, self.dilation, strict=True)
        return tuple(d * (k - 1) + 1 for k, d in pairs)


@dataclass(frozen=True, kw_only=True)
class _Conv(Op):
    """What Convolution and Deconvolution have in common.

    `axis` is that of the channels; axes before it are batch, axes after it are spatial.
    Several bottoms of one shape give as many tops with the same weights. Parameter 0
    holds the weights, parameter 1 the bias (num_output,) if `bias_term`.
    """

    num_output: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    pad: tuple[int, ...]
    dilation: tuple[int, ...]
    group: int
    axis: int
    channels: int
    bias_term: bool


@dataclass(frozen=True, kw_only=True)
class Convolution(_Conv):
    """y = w * x + b, a correlation with a window of weights.

    Shapes: x (N, C, H, W) -> y (N, num_output, H', W'),
    H' = floor((H + 2 pad - extent) / stride) + 1, extent = dilation (kernel - 1) + 1,
    weights (num_output, C / group, kh, kw).
    """

    type: ClassVar[str] = "Convolution"


DEPTHWISE = ("DepthwiseConvolution", "ConvolutionDepthwise")
stands_for(Convolution, *DEPTHWISE)


@dataclass(frozen=True, kw_only=True)
class Deconvolution(_Conv):
    """The transpose of a convolution: every input value adds a scaled window to y.

    Shapes: x (N, C, H, W) -> y (N, num_output, H', W'),
    H' = stride (H - 1) + extent - 2 pad, weights (C, num_output / group, kh, kw).
    """

    type: ClassVar[str] = "Deconvolution"


@dataclass(frozen=True, kw_only=True)
class Im2col(NoReadOp):
    """The windows of a convolution written out as columns.

    Shapes: x (N, C, H, W) -> y (N, C kh kw, H', W') with sizes as in Convolution.
    """

    type: ClassVar[str] = "Im2col"
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    pad: tuple[int, ...]
    dilation: tuple[int, ...]
    axis: int
    channels: int


@infers("Convolution", *DEPTHWISE)
def convolution(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> Convolution:
    """Read a Convolution layer, or one that forks have for as many groups as channels.

    DepthwiseConvolution says its `group`; for ConvolutionDepthwise that and num_output
    are the number of channels, whether it says so or not.
    """
    options, window = _options(layer, bottoms)
    axis, channels, group = options["axis"], options["channels"], options["group"]
    spatial = window_sizes(layer, bottoms[0][axis + 1 :], window)
    top = (*bottoms[0][:axis], options["num_output"], *spatial)
    weights = (options["num_output"], channels // group, *window.kernel)
    return Convolution(
        layer=layer,
        bottoms=bottoms,
        tops=(top,) * len(bottoms),
        params=_params(layer, weights, options),
        macs=len(bottoms) * count(top) * count(weights[1:]),
        **options,
    )


@infers("Deconvolution")
def deconvolution(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> Deconvolution:
    """Read a Deconvolution layer."""
    options, window = _options(layer, bottoms)
    axis, channels, group = options["axis"], options["channels"], options["group"]
    sizes = bottoms[0][axis + 1 :]
    spatial = tuple(
        stride * (size - 1) + extent - 2 * pad
        for size, stride, extent, pad in zip(
            sizes, window.stride, window.extent, window.pad, strict=True
        )
    )
    if any(size < 1 for size in spatial):
        raise ShapeError(
            f"pad {window.pad} cuts the output down to sizes {spatial}; expected at "
            f"least 1 along every axis, so reduce pad",
            layer=label(layer),
        )
    weights = (channels, options["num_output"] // group, *window.kernel)
    return Deconvolution(
        layer=layer,
        bottoms=bottoms,
        tops=((*bottoms[0][:axis], options["num_output"], *spatial),) * len(bottoms),
        params=_params(layer, weights, options),
        macs=len(bottoms) * count(bottoms[0]) * count(weights[1:]),
        **options,
    )


@infers("Im2col")
def im2col(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> Im2col:
    """Read an Im2col layer."""
    param = layer.convolution_param
    axis = canonical_axis(layer, param.axis, len(bottoms[0]), "axis")
    window = _window(layer, param, len(bottoms[0]) - axis - 1)
    channels = bottoms[0][axis]
    spatial = window_sizes(layer, bottoms[0][axis + 1 :], window)
    top = (*bottoms[0][:axis], channels * count(window.kernel), *spatial)
    return Im2col(
        layer=layer,
        bottoms=bottoms,
        tops=(top,),
        axis=axis,
        channels=channels,
        kernel=window.kernel,
        stride=window.stride,
        pad=window.pad,
        dilation=window.dilation,
    )


def window_sizes(layer: LayerParameter, sizes: Shape, window: Window) -> Shape:
    """Return floor((size + 2 pad - extent) / stride) + 1 for every spatial axis."""
    extents = window.extent
    for size, pad, extent in zip(sizes, window.pad, extents, strict=True):
        if size + 2 * pad < extent:
            raise ShapeError(
                f"the kernel covers {extents} pixels, more than the input {sizes} "
                f"with pad {window.pad}; reduce kernel_size or dilation, or add "
                f"padding",
                layer=label(layer),
            )
    return tuple(
        (size + 2 * pad - extent) // stride + 1
        for size, pad, extent, stride in zip(
            sizes, window.pad, extents, window.stride, strict=True
        )
    )


def _options(
    layer: LayerParameter, bottoms: tuple[Shape, ...]
) -> tuple[dict[str, Any], Window]:
    param = layer.convolution_param
    check_same(layer, bottoms)
    axis = canonical_axis(layer, param.axis, len(bottoms[0]), "axis")
    window = _window(layer, param, len(bottoms[0]) - axis - 1)
    channels = bottoms[0][axis]
    num_output, group = param.num_output, param.group
    if layer.type in DEPTHWISE:
        num_output, group = _depthwise(layer, channels)
    if num_output < 1:
        raise SpecError(
            f"convolution_param.num_output is {num_output}; give the number of "
            f"filters, at least 1",
            layer=label(layer),
        )
    for what, size in (("the input has", channels), ("num_output is", num_output)):
        if group < 1 or size % group:
            raise ShapeError(
                f"group is {group}, but {what} {size} channels; expected a "
                f"divisor of it",
                layer=label(layer),
            )
    options = {
        "num_output": num_output,
        "kernel": window.kernel,
        "stride": window.stride,
        "pad": window.pad,
        "dilation": window.dilation,
        "group": group,
        "axis": axis,
        "channels": channels,
        "bias_term": param.bias_term,
    }
    return options, window


def _depthwise(layer: LayerParameter, channels: int) -> tuple[int, int]:
    """Return num_output and group of a layer with a filter for each channel."""
    param = layer.convolution_param
    if layer.type == "DepthwiseConvolution":
        if not param.HasField("group"):
            raise SpecError(
                f"group is missing, without which forks disagree about this layer; "
                f"give the number of channels, group: {channels}",
                layer=label(layer),
            )
        return param.num_output, param.group
    for field in ("num_output", "group"):
        value = getattr(param, field)
        if param.HasField(field) and value != channels:
            raise ShapeError(
                f"{field} is {value}, but the input has {channels} channels, each of "
                f"which has its own filter; expected {channels}, or nothing",
                layer=label(layer),
            )
    return channels, channels


def _params(
    layer: LayerParameter, weights: Shape, options: dict[str, Any]
) -> tuple[ParamDef, ...]:
    param = layer.convolution_param
    weight = ParamDef(weights, filler(param, "weight_filler"))
    if not options["bias_term"]:
        return (weight,)
    return (weight, ParamDef((options["num_output"],), filler(param, "bias_filler")))


def _window(layer: LayerParameter, param: ConvolutionParameter, axes: int) -> Window:
    if param.HasField("kernel_h") or param.HasField("kernel_w"):
        kernel = _pair(layer, param, "kernel", axes)
        if len(param.kernel_size):
            raise SpecError(
                "both kernel_size and kernel_h/kernel_w are given; keep one of them",
                layer=label(layer),
            )
    else:
        if axes and not len(param.kernel_size):
            raise SpecError(
                f"convolution_param.kernel_size is missing; give one value, or one "
                f"for each of the {axes} spatial axes",
                layer=label(layer),
            )
        kernel = _repeated(layer, "kernel_size", param.kernel_size, axes, default=1)
    stride = _spatial(layer, param, "stride", axes, default=1)
    pad = _spatial(layer, param, "pad", axes, default=0)
    dilation = _dilation(layer, param, axes)
    for field, values in (
        ("kernel_size", kernel),
        ("stride", stride),
        ("dilation", dilation),
    ):
        if any(value < 1 for value in values):
            raise SpecError(
                f"convolution_param.{field} is {values}; expected at least 1 along "
                f"every axis",
                layer=label(layer),
            )
    return Window(kernel=kernel, stride=stride, pad=pad, dilation=dilation)


def _dilation(
    layer: LayerParameter, param: ConvolutionParameter, axes: int
) -> tuple[int, ...]:
    """Return `dilation`, or `hole`, DeepLab's word for it."""
    pair = [field for field in ("hole_h", "hole_w") if param.HasField(field)]
    words = [*pair, *(["hole"] if param.HasField("hole") else [])]
    if not words:
        return _repeated(layer, "dilation", param.dilation, axes, default=1)
    if len(param.dilation) or len(words) > 1 + (words == ["hole_h", "hole_w"]):
        also = "dilation" if len(param.dilation) else words[-1]
        raise SpecError(
            f"both {words[0]} and {also} are given, which mean the same; keep one",
            layer=label(layer),
        )
    if words == ["hole"]:
        return (param.hole,) * axes
    if len(pair) == 1:
        missing = "hole_w" if pair == ["hole_h"] else "hole_h"
        raise SpecError(
            f"{pair[0]} is given without {missing}; give both, or hole",
            layer=label(layer),
        )
    return _pair(layer, param, "hole", axes)


def _spatial(
    layer: LayerParameter,
    param: ConvolutionParameter,
    field: str,
    axes: int,
    default: int,
) -> tuple[int, ...]:
    if param.HasField(f"{field}_h") or param.HasField(f"{field}_w"):
        if len(getattr(param, field)):
            raise SpecError(
                f"both {field} and {field}_h/{field}_w are given; keep one of them",
                layer=label(layer),
            )
        return _pair(layer, param, field, axes)
    return _repeated(layer, field, getattr(param, field), axes, default)


def _pair(
    layer: LayerParameter, param: ConvolutionParameter, field: str, axes: int
) -> tuple[int, ...]:
    if axes != 2:
        raise SpecError(
            f"{field}_h and {field}_w are for 2 spatial axes, but the input has "
            f"{axes}; repeat {field if field != 'kernel' else 'kernel_size'} once for "
            f"each axis instead",
            layer=label(layer),
        )
    return (getattr(param, f"{field}_h"), getattr(param, f"{field}_w"))


def _repeated(
    layer: LayerParameter, field: str, values: Sequence[int], axes: int, default: int
) -> tuple[int, ...]:
    given = tuple(values)
    if not given:
        return (default,) * axes
    if len(given) == 1:
        return given * axes
    if len(given) != axes:
        raise SpecError(
            f"convolution_param.{field} has {len(given)} values {given}; expected 1, "
            f"or one for each of the {axes} spatial axes",
            layer=label(layer),
        )
    return given
