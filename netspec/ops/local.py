"""Local: a convolution with weights of its own for every place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from netspec.errors import SpecError
from netspec.ops.base import (
    Op,
    ParamDef,
    Shape,
    check_axes,
    count,
    filler,
    infers,
    label,
)
from netspec.ops.convolution import Window, window_sizes
from netspec.schema import LayerParameter


@dataclass(frozen=True, kw_only=True)
class Local(Op):
    """y[o, p] = b[o, p] + sum over the window of place p of w[o, :, p] x.

    Shapes: x (N, C, H, W) -> y (N, num_output, H', W'), sizes as in Convolution,
    weights (num_output, 1, C k k, H' W'), bias (1, 1, num_output, H' W').
    """

    type: ClassVar[str] = "Local"
    num_output: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    pad: tuple[int, int]
    bias_term: bool


@infers("Local")
def local(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> Local:
    """Read a Local layer."""
    param = layer.local_param
    check_axes(layer, bottoms[0], 4, "the input")
    for field in ("num_output", "kernel_size", "stride"):
        if getattr(param, field) < 1:
            raise SpecError(
                f"local_param.{field} is {getattr(param, field)}; expected at least 1",
                layer=label(layer),
            )
    kernel, stride, pad = (
        (value, value) for value in (param.kernel_size, param.stride, param.pad)
    )
    n, c, *image = bottoms[0]
    window = Window(kernel=kernel, stride=stride, pad=pad, dilation=(1, 1))
    places = window_sizes(layer, tuple(image), window)
    size, taps = count(places), c * count(kernel)
    weights = (param.num_output, 1, taps, size)
    params = [ParamDef(weights, filler(param, "weight_filler"))]
    if param.bias_term:
        bias = (1, 1, param.num_output, size)
        params.append(ParamDef(bias, filler(param, "bias_filler")))
    return Local(
        layer=layer,
        bottoms=bottoms,
        tops=((n, param.num_output, *places),),
        params=tuple(params),
        macs=n * count(weights),
        num_output=param.num_output,
        kernel=kernel,
        stride=stride,
        pad=pad,
        bias_term=param.bias_term,
    )
