"""Resize and Upsample: Deconvolution for whole repeats, else products with matrices.

Along an axis a resize is a matrix: which input counts how much for which output. An
image is its product with one for the rows and one for the columns.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from netspec.onnx.reading.build import Build, check_made, fixed
from netspec.onnx.reading.node import Node
from netspec.onnx.reading.rules.table import rule
from netspec.onnx.reading.values import Blob
from netspec.schema import (
    ConvolutionParameter,
    InnerProductParameter,
    LayerParameter,
)

NEAR = 1e-4  # pixels from an edge that rounding may cross
MOST_VALUES = 1 << 24  # of a matrix
_TRANSFORMS = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")
_ROUNDINGS = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")


@rule("Resize", "Upsample")
def resize(node: Node, net: Build) -> Blob:
    """Nearest or linear interpolation over the pixels of (N, C, H, W)."""
    x = net.blob(node, 0)
    mode = node.option("mode", "nearest")
    mode = "linear" if mode == "bilinear" else mode
    if mode not in ("nearest", "linear"):
        node.refuse(f"mode is {mode!r}; only 'nearest' and 'linear' are read")
    sizes, scales = _sizes(node, x.shape)
    transform, rounding = _coordinates(node)
    moved = [axis for axis, size in enumerate(x.shape) if size != sizes[axis]]
    others = [axis for axis in moved if axis < 2]
    if others or (moved and len(x.shape) not in (3, 4)):
        node.refuse(f"it resizes {x.shape} to {tuple(sizes)}; only pixels are resized")
    matrices = {
        axis: _matrix(
            node, x.shape[axis], sizes[axis], scales[axis], mode, transform, rounding
        )
        for axis in range(2, len(x.shape))
    }
    for axis, matrix in matrices.items():
        if x.shape[axis] == sizes[axis] and not np.array_equal(
            matrix, np.eye(len(matrix))
        ):
            node.refuse(
                f"axis {axis} keeps its {sizes[axis]} places at a scale of "
                f"{scales[axis]:g}; some programs move its values, some do not"
            )
    if not moved:
        return x
    repeats = [_repeats(matrices[axis]) for axis in range(2, len(x.shape))]
    if all(repeats) and len(x.shape) == 4:
        return _repeated(net, x, [int(times or 1) for times in repeats])
    for axis in moved:
        x = _multiplied(net, x, axis, matrices[axis])
    return x


def _sizes(node: Node, shape: Sequence[int]) -> tuple[list[int], list[float]]:
    """Return the sizes of the result and the scale of every axis."""
    rank = len(shape)
    scales, sizes = node.option("scales"), None
    if node.op == "Resize" or node.version >= 9:
        place = 1 if node.op == "Upsample" or node.version < 11 else 2
        values = node.constant(place, "scales").values if node.has(place) else None
        if values is not None and values.size:
            scales = [float(value) for value in values.reshape(-1)]
        if node.op == "Resize" and node.version >= 11:
            sizes = node.whole(3, "sizes") or None
    if node.option("keep_aspect_ratio_policy", "stretch") != "stretch":
        node.refuse("keep_aspect_ratio_policy is not 'stretch'")
    axes = node.axes(rank, node.option("axes") or range(rank))
    given = sizes if sizes is not None else scales
    if given is None or len(given) != len(axes):
        node.refuse(f"scales {scales} and sizes {sizes} are not for shape {shape}")
    result, factors = list(shape), [1.0] * rank
    for axis, value in zip(axes, given, strict=True):
        if not math.isfinite(value) or value <= 0:
            node.refuse(f"scales or sizes hold {value}")
        if sizes is not None:
            result[axis], factors[axis] = int(value), value / shape[axis]
        else:
            result[axis], factors[axis] = math.floor(shape[axis] * value), value
        if result[axis] < 1:
            node.refuse(f"nothing is left of axis {axis} of {tuple(shape)}")
    return result, factors


def _coordinates(node: Node) -> tuple[str, str]:
    """Return how places of the result become those of the input."""
    if node.op == "Upsample" or node.version < 11:
        return "asymmetric", "floor"
    transform = node.option("coordinate_transformation_mode", "half_pixel")
    rounding = node.option("nearest_mode", "round_prefer_floor")
    if transform not in _TRANSFORMS or rounding not in _ROUNDINGS:
        node.refuse(
            f"coordinate_transformation_mode is {transform!r} and nearest_mode "
            f"{rounding!r}; expected one of {', '.join(_TRANSFORMS)}, and of "
            f"{', '.join(_ROUNDINGS)}"
        )
    return transform, rounding


def _matrix(
    node: Node,
    size: int,
    wanted: int,
    scale: float,
    mode: str,
    transform: str,
    rounding: str,
) -> np.ndarray:
    """Return how much every input counts for every output, (wanted, size)."""
    if size * wanted > MOST_VALUES:
        node.refuse(f"from {size} to {wanted} places is more than a matrix can hold")
    if node.flag("antialias") and scale < 1 and mode == "linear":
        node.refuse("antialias is 1 while the image shrinks")
    places = np.arange(wanted, dtype=np.float64)
    step = float(np.float32(scale))
    if transform == "align_corners":
        x = places * (size - 1) / max(wanted - 1, 1)
    elif transform == "asymmetric":
        x = places / step
    elif transform == "pytorch_half_pixel" and wanted == 1:
        x = places * 0
    else:
        x = (places + 0.5) / step - 0.5
    matrix = np.zeros((wanted, size))
    rows = np.arange(wanted)
    if mode == "nearest":
        low, found, high = (
            np.clip(_rounded(x + shift, rounding), 0, size - 1)
            for shift in (-NEAR, 0, NEAR)
        )
        unsure = (low != high) & (x * 2 != np.round(x * 2))
        if unsure.any():
            node.refuse(
                f"from {size} to {wanted} places, place {int(np.argmax(unsure))} lies "
                f"on the edge of two pixels but for rounding, which programs differ in"
            )
        matrix[rows, found] = 1
        return matrix
    x = np.clip(x, 0, size - 1)
    low = np.minimum(np.floor(x).astype(int), size - 1)
    high = np.minimum(low + 1, size - 1)
    np.add.at(matrix, (rows, low), 1 - (x - low))
    np.add.at(matrix, (rows, high), x - low)
    return matrix


def _rounded(x: np.ndarray, rounding: str) -> np.ndarray:
    if rounding == "floor":
        y = np.floor(x)
    elif rounding == "ceil":
        y = np.ceil(x)
    elif rounding == "round_prefer_floor":
        y = np.ceil(x - 0.5)
    else:
        y = np.floor(x + 0.5)
    return y.astype(int)


def _repeats(matrix: np.ndarray) -> int | None:
    """Return how often every place is repeated, None where it is not just that."""
    wanted, size = matrix.shape
    times, rest = divmod(wanted, size)
    if rest or not times:
        return None
    plain = np.repeat(np.eye(size), times, axis=0)
    return times if np.array_equal(plain, matrix) else None


def _repeated(net: Build, x: Blob, times: Sequence[int]) -> Blob:
    """Return every pixel as a block: a Deconvolution with a kernel of ones."""
    channels = x.shape[1]
    check_made(channels * math.prod(times))
    param = ConvolutionParameter(num_output=channels, group=channels, bias_term=False)
    sizes = [times[0]] if times[0] == times[1] else list(times)
    param.kernel_size.extend(sizes)
    param.stride.extend(sizes)
    message = LayerParameter(type="Deconvolution", convolution_param=param)
    return net.layer(message, [x], [fixed(np.ones((channels, 1, *times)))])


def _multiplied(net: Build, x: Blob, axis: int, matrix: np.ndarray) -> Blob:
    """Return the product with a matrix along an axis."""
    last = len(x.shape) - 1
    order = [*(a for a in range(last + 1) if a != axis), axis]
    y = net.permute(x, order, "before")
    param = InnerProductParameter(
        num_output=matrix.shape[0], axis=last, bias_term=False
    )
    message = LayerParameter(type="InnerProduct", inner_product_param=param)
    y = net.layer(message, [y], [fixed(matrix)])
    back = [order.index(a) for a in range(last + 1)]
    return net.permute(y, back, "after")
