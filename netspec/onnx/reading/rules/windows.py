"""What windows over an image have in common: sizes, strides, and padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from netspec.onnx.reading.build import Build
from netspec.onnx.reading.node import Node
from netspec.onnx.reading.values import Blob, Padded, Value

Sizes = tuple[int, ...]


@dataclass(frozen=True)
class Windows:
    """Windows over an image, a value for every spatial axis.

    begin, end: places before and after the image. counts: how many windows there are.
    """

    size: Sizes
    kernel: Sizes
    stride: Sizes
    dilation: Sizes
    begin: Sizes
    end: Sizes
    counts: Sizes

    @property
    def extent(self) -> Sizes:
        """Places from the first to the last one of a window."""
        pairs = zip(self.kernel, self.dilation, strict=True)
        return tuple(d * (k - 1) + 1 for k, d in pairs)


@dataclass(frozen=True)
class Fit:
    """Windows with the same padding on both sides that begin at the same places.

    pad: on each side. first: how many windows come before those that are wanted.
    """

    pad: int
    first: int


def sizes_of(node: Node, name: str, axes: int, default: int) -> Sizes:
    """Return an attribute with a value for every spatial axis."""
    given = node.option(name)
    if not given:
        return (default,) * axes
    if len(given) != axes or any(value < 1 for value in given):
        node.refuse(f"{name} is {list(given)}; expected {axes} values of at least 1")
    return tuple(given)


def read_windows(node: Node, image: Sequence[int], kernel: Sizes) -> Windows:
    """Return the windows of a Conv or pooling node, as ONNX counts them."""
    axes = len(image)
    stride = sizes_of(node, "strides", axes, 1)
    dilation = sizes_of(node, "dilations", axes, 1)
    extent = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    begin, end = _padding(node, image, extent, stride)
    ceil = node.flag("ceil_mode")
    counts = []
    for size, window, step, before, after in zip(
        image, extent, stride, begin, end, strict=True
    ):
        free = size + before + after - window
        if free < 0:
            node.refuse(
                f"its window covers {window} places, more than the input {tuple(image)}"
                f" with {before} and {after} beside it"
            )
        count = (-(-free // step) if ceil else free // step) + 1
        if ceil and (count - 1) * step >= size + before:
            count -= 1  # the last window would begin behind the image
        counts.append(count)
    return Windows(tuple(image), kernel, stride, dilation, begin, end, tuple(counts))


def _padding(
    node: Node, image: Sequence[int], extent: Sequence[int], stride: Sizes
) -> tuple[Sizes, Sizes]:
    auto = node.option("auto_pad", "NOTSET")
    axes = len(image)
    pads = node.option("pads") or [0] * 2 * axes
    if auto == "NOTSET":
        if len(pads) != 2 * axes or min(pads) < 0:
            node.refuse(f"pads is {list(pads)}; expected {2 * axes} values from 0 on")
        return tuple(pads[:axes]), tuple(pads[axes:])
    if any(pads):
        node.refuse(f"auto_pad is {auto!r} and pads {list(pads)}; expected one of them")
    if auto == "VALID":
        return (0,) * axes, (0,) * axes
    if auto not in ("SAME_UPPER", "SAME_LOWER"):
        node.refuse(f"auto_pad is {auto!r}, which means nothing")
    if node.flag("ceil_mode"):
        node.refuse(f"ceil_mode is 1 beside auto_pad {auto!r}")
    begin, end = [], []
    for size, window, step in zip(image, extent, stride, strict=True):
        total = max((-(-size // step) - 1) * step + window - size, 0)
        less, more = total // 2, total - total // 2
        begin.append(less if auto == "SAME_UPPER" else more)
        end.append(more if auto == "SAME_UPPER" else less)
    return tuple(begin), tuple(end)


def joined(windows: Windows, padded: Padded) -> Windows:
    """Return the windows on the blob itself of windows on padding around it."""
    before, after = padded.begin[2:], padded.end[2:]
    return Windows(
        padded.blob.shape[2:],
        windows.kernel,
        windows.stride,
        windows.dilation,
        tuple(map(sum, zip(windows.begin, before, strict=True))),
        tuple(map(sum, zip(windows.end, after, strict=True))),
        windows.counts,
    )


def is_around_images(value: Value | None) -> bool:
    """Tell whether a value is padded along spatial axes only."""
    if not isinstance(value, Padded):
        return False
    return not any((*value.begin[:2], *value.end[:2]))


def fits(windows: Windows) -> list[Fit]:
    """Return padding, the same on both sides, under which the same windows appear.

    The windows go on with the same stride, so that the wanted ones are those from
    `first` on.
    """
    found = []
    for size, window, step, before, count in zip(
        windows.size,
        windows.extent,
        windows.stride,
        windows.begin,
        windows.counts,
        strict=True,
    ):
        behind = (count - 1) * step + window - before - size  # what the last one needs
        more = max(0, -(-(behind - before) // step))
        # Padding on both sides moves the end by the same amount as the start.
        found.append(Fit(before + more * step, more))
    return found


def wanted(net: Build, y: Blob, fits: Sequence[Fit], counts: Sizes) -> Blob:
    """Cut the wanted windows out of all that a layer made."""
    for axis, (fit, count) in enumerate(zip(fits, counts, strict=True), 2):
        y = net.cut(y, axis, fit.first, count)
    return y


def numbers(values: Sizes, usual: int) -> list[int]:
    """Return a value for all axes as Caffe writes it: once where they are equal."""
    if all(value == usual for value in values):
        return []
    return [values[0]] if len(set(values)) == 1 else list(values)
