"""Conv and ConvTranspose: Convolution and Deconvolution."""

from __future__ import annotations

from netspec.onnx.reading.build import Build, as_weight
from netspec.onnx.reading.node import Node
from netspec.onnx.reading.rules.table import rule
from netspec.onnx.reading.rules.windows import (
    Fit,
    Windows,
    fits,
    is_around_images,
    joined,
    numbers,
    read_windows,
    sizes_of,
    wanted,
)
from netspec.onnx.reading.values import Blob, Constant, Padded, Weight
from netspec.schema import ConvolutionParameter, LayerParameter


@rule("Conv")
def conv(node: Node, net: Build) -> Blob:
    """Make a Convolution, and a Slice where the padding is not symmetric."""
    weights = node.constant(1, "w")
    image, kernel = _sizes(node, weights)
    windows = read_windows(node, image, kernel)
    padded = node.inputs[0]
    if isinstance(padded, Padded) and is_around_images(padded) and padded.value == 0:
        windows = joined(windows, padded)
        x = padded.blob
    else:
        x = net.blob(node, 0, "x")
    group = int(node.option("group", 1))
    if group < 1 or x.shape[1] != group * weights.shape[1]:
        node.refuse(
            f"x has {x.shape[1]} channels, w of shape {weights.shape} in {group} "
            f"groups is for {group * weights.shape[1]}"
        )
    found = fits(windows)
    message = _message("Convolution", windows, found, weights.shape[0], group)
    y = net.layer(message, [x], _parameters(node, message, weights, weights.shape[0]))
    return wanted(net, y, found, windows.counts)


@rule("ConvTranspose")
def conv_transpose(node: Node, net: Build) -> Blob:
    """Make a Deconvolution, and a Slice for what is too much."""
    weights = node.constant(1, "w")
    image, kernel = _sizes(node, weights)
    axes = len(image)
    stride = sizes_of(node, "strides", axes, 1)
    dilation = sizes_of(node, "dilations", axes, 1)
    begin, sizes = _transposed(node, image, kernel, stride, dilation)
    x = net.blob(node, 0, "x")
    group = int(node.option("group", 1))
    if group < 1 or x.shape[1] != weights.shape[0]:
        node.refuse(f"x has {x.shape[1]} channels, w has shape {weights.shape}")
    extent = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    more, pads, first = [], [], []
    for place in range(axes):
        whole = stride[place] * (image[place] - 1) + extent[place]
        short = begin[place] + sizes[place] - whole  # what lies behind all windows
        added = max(0, -(-short // stride[place]))
        more.append(added)
        left = whole + added * stride[place] - begin[place] - sizes[place]
        pads.append(min(begin[place], left))
        first.append(begin[place] - pads[-1])
    if any(more):
        ends = (0, 0, *more)
        x = net.padding(Padded(x, (0,) * len(ends), ends, 0.0, node.index))
    windows = Windows(
        tuple(image), kernel, stride, dilation, tuple(pads), tuple(pads), tuple(sizes)
    )
    found = [Fit(pad, start) for pad, start in zip(pads, first, strict=True)]
    outputs = weights.shape[1] * group
    message = _message("Deconvolution", windows, found, outputs, group)
    y = net.layer(message, [x], _parameters(node, message, weights, outputs))
    return wanted(net, y, found, windows.counts)


def _sizes(node: Node, weights: Constant) -> tuple[list[int], tuple[int, ...]]:
    """Return the sizes of the image and of the kernel."""
    value = node.inputs[0] if node.has(0) else None
    shape = value.shape if value is not None else ()
    if len(shape) < 3 or len(weights.shape) != len(shape):
        node.refuse(
            f"x has shape {shape} and w {weights.shape}; expected (N, C, ...) and as "
            f"many axes"
        )
    kernel = weights.shape[2:]
    given = node.option("kernel_shape")
    if given and tuple(given) != kernel:
        node.refuse(f"kernel_shape is {list(given)}, w has shape {weights.shape}")
    return list(shape[2:]), kernel


def _message(
    kind: str, windows: Windows, found: list[Fit], outputs: int, group: int
) -> LayerParameter:
    kernel = windows.kernel
    param = ConvolutionParameter(
        num_output=outputs,
        kernel_size=numbers(kernel, -1),
        stride=numbers(windows.stride, 1),
        pad=numbers(tuple(fit.pad for fit in found), 0),
        dilation=numbers(windows.dilation, 1),
    )
    if group != 1:
        param.group = group
    return LayerParameter(type=kind, convolution_param=param)


def _parameters(
    node: Node, message: LayerParameter, weights: Constant, outputs: int
) -> list[Weight]:
    if not node.has(2):
        message.convolution_param.bias_term = False
        return [as_weight(weights)]
    bias = node.constant(2, "b")
    if bias.shape != (outputs,):
        node.refuse(f"b has shape {bias.shape}; expected ({outputs},)")
    return [as_weight(weights), as_weight(bias)]


def _transposed(
    node: Node,
    image: list[int],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
) -> tuple[list[int], list[int]]:
    """Return what is cut off in front, and the sizes of the result."""
    axes = len(image)
    added = list(node.option("output_padding") or [0] * axes)
    pads = list(node.option("pads") or [0] * 2 * axes)
    shape = node.option("output_shape")
    auto = node.option("auto_pad", "NOTSET")
    if len(added) != axes or min(added) < 0 or len(pads) != 2 * axes or min(pads) < 0:
        node.refuse(
            f"output_padding is {added} and pads {pads}; expected {axes} and "
            f"{2 * axes} values from 0 on"
        )
    whole = [
        s * (size - 1) + d * (k - 1) + 1 + more
        for s, size, d, k, more in zip(
            stride, image, dilation, kernel, added, strict=True
        )
    ]
    if shape:
        node.refuse(
            f"output_shape is {list(shape)}, which leaves the padding open; export it "
            f"with pads and output_padding"
        )
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        node.refuse(f"auto_pad is {auto!r}, which readers take differently; use pads")
    sizes = [
        size - before - after
        for size, before, after in zip(whole, pads[:axes], pads[axes:], strict=True)
    ]
    if min(sizes) < 1:
        node.refuse(f"pads {pads} leave sizes {sizes}")
    return pads[:axes], sizes
