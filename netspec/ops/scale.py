"""Scale and Bias: multiply by, or add, a smaller array that is broadcast over axes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from netspec.errors import ShapeError, SpecError
from netspec.ops.base import (
    Op,
    ParamDef,
    Shape,
    bottom_name,
    canonical_axis,
    filler,
    infers,
    label,
    stands_for,
)
from netspec.schema import BiasParameter, LayerParameter, ScaleParameter


@dataclass(frozen=True, kw_only=True)
class Scale(Op):
    """y = x * scale (+ bias), the scale broadcast over the other axes of x.

    The scale is parameter 0, or the second bottom where there is one; the bias, if
    `bias_term`, is the last parameter and has the scale's shape `scale_shape`. It lies
    along the axes of x from `axis` on. `over_bottom` says that y is written over x
    though it has another name.

    Shapes: x (O..., S..., I...) with scale (S...) -> y (same as x).
    """

    type: ClassVar[str] = "Scale"
    in_place: ClassVar[bool] = True
    axis: int
    scale_shape: Shape
    bias_term: bool
    over_bottom: bool = False

    @property
    def backward_bottoms(self) -> tuple[int, ...]:
        """The scale if it is a blob, and x unless in place: the kernel keeps a copy."""
        in_place = self.layer.top and self.layer.top[0] == self.layer.bottom[0]
        first = 1 if in_place or self.over_bottom else 0
        return tuple(range(first, len(self.bottoms)))


stands_for(Scale, "EltwiseAffine")


@dataclass(frozen=True, kw_only=True)
class Bias(Op):
    """y = x + bias, the bias broadcast over the other axes of x.

    The bias is parameter 0, or the second bottom where there is one.

    Shapes: x (O..., S..., I...) with bias (S...) -> y (same as x).
    """

    type: ClassVar[str] = "Bias"
    in_place: ClassVar[bool] = True
    axis: int
    bias_shape: Shape

    @property
    def backward_bottoms(self) -> tuple[int, ...]:
        """No bottom is read: a sum passes its gradient on."""
        return ()


@infers("Scale")
def scale(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> Scale:
    """Read a Scale layer."""
    param = layer.scale_param
    axis, shape = _stretched(layer, param, bottoms)
    params = []
    if len(bottoms) == 1:
        params.append(ParamDef(shape, filler(param, "filler", 1)))
    if param.bias_term:
        params.append(ParamDef(shape, filler(param, "bias_filler")))
    return Scale(
        layer=layer,
        bottoms=bottoms,
        tops=bottoms[:1],
        params=tuple(params),
        axis=axis,
        scale_shape=shape,
        bias_term=param.bias_term,
    )


@infers("EltwiseAffine")
def eltwise_affine(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> Scale:
    """Read an EltwiseAffine layer, a Scale with a bias and other fillers."""
    param, x = layer.eltwise_affine_param, bottoms[0]
    if len(x) < 2:
        raise ShapeError(
            f"{bottom_name(layer, 0)} has shape {x}; expected at least 2 axes, with "
            f"channels on axis 1",
            layer=label(layer),
        )
    shape = () if param.channel_shared else (x[1],)
    return Scale(
        layer=layer,
        bottoms=bottoms,
        tops=bottoms,
        params=(
            ParamDef(shape, filler(param, "slope_filler", 1.0001)),
            ParamDef(shape, filler(param, "bias_filler", 0.0001)),
        ),
        axis=0 if param.channel_shared else 1,
        scale_shape=shape,
        bias_term=True,
    )


@infers("Bias")
def bias(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> Bias:
    """Read a Bias layer."""
    param = layer.bias_param
    axis, shape = _stretched(layer, param, bottoms)
    params = (ParamDef(shape, filler(param, "filler")),)
    return Bias(
        layer=layer,
        bottoms=bottoms,
        tops=bottoms[:1],
        params=params if len(bottoms) == 1 else (),
        axis=axis,
        bias_shape=shape,
    )


def _stretched(
    layer: LayerParameter,
    param: ScaleParameter | BiasParameter,
    bottoms: tuple[Shape, ...],
) -> tuple[int, Shape]:
    """Return the first axis that the small array covers, and its shape."""
    x = bottoms[0]
    if len(bottoms) == 2:
        small = bottoms[1]
        axis = canonical_axis(layer, param.axis, len(x), "axis") if small else 0
        if x[axis : axis + len(small)] != small:
            raise ShapeError(
                f"{bottom_name(layer, 1)} has shape {small}, which must equal the "
                f"axes of {bottom_name(layer, 0)} {x} from axis {axis} on; change "
                f"axis or the shape",
                layer=label(layer),
            )
        return axis, small
    if param.num_axes < -1:
        raise SpecError(
            f"num_axes is {param.num_axes}; expected the number of axes to cover, or "
            f"-1 for all from axis on",
            layer=label(layer),
        )
    if param.num_axes == 0:
        return 0, ()
    axis = canonical_axis(layer, param.axis, len(x), "axis")
    if param.num_axes == -1:
        return axis, x[axis:]
    if axis + param.num_axes > len(x):
        raise ShapeError(
            f"num_axes is {param.num_axes} from axis {axis}, but the input has shape "
            f"{x}; reduce num_axes",
            layer=label(layer),
        )
    return axis, x[axis : axis + param.num_axes]
