"""ShuffleChannel, Reorg and Axpy: channels in another order, and weighed by item."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from netspec.errors import ShapeError, SpecError
from netspec.ops.base import (
    NoReadOp,
    Op,
    Shape,
    bottom_name,
    check_axes,
    count,
    infers,
    label,
)
from netspec.ops.reshape import refuse_in_place
from netspec.schema import LayerParameter


@dataclass(frozen=True, kw_only=True)
class ShuffleChannel(NoReadOp):
    """Channels that lie as (group, C / group) lie as (C / group, group).

    Shapes: x (N, C, ...) -> y (same).
    """

    type: ClassVar[str] = "ShuffleChannel"
    group: int


@dataclass(frozen=True, kw_only=True)
class Reorg(NoReadOp):
    """Pixels of squares to channels, or back with `reverse`, as YOLO does it.

    With s the stride, forward reads its C channels of H by W as if they were C / s^2
    channels of H s by W s, which Darknet does by mistake and all trained nets rely on:

        x as (C / s^2, H, s, W, s) -> y as (s, s, C / s^2, H, W)

    `reverse` moves pixels the other way, with the sizes of its own input:

        x as (s, s, C / s^2, H, W) -> y as (C / s^2, H, s, W, s)

    Shapes: x (N, C, H, W) -> y (N, C s^2, H / s, W / s), or (N, C / s^2, H s, W s).
    """

    type: ClassVar[str] = "Reorg"
    stride: int
    reverse: bool


@dataclass(frozen=True, kw_only=True)
class Axpy(Op):
    """y = a x + b, with a number a for every channel of every item (SENet).

    Shapes: a (N, C) or (N, C, 1, 1), x and b (N, C, ...) -> y (same as x).
    """

    type: ClassVar[str] = "Axpy"

    @property
    def backward_bottoms(self) -> tuple[int, ...]:
        """The factor and what it multiplies."""
        return (0, 1)


@infers("ShuffleChannel")
def shuffle_channel(
    layer: LayerParameter, bottoms: tuple[Shape, ...]
) -> ShuffleChannel:
    """Read a ShuffleChannel layer."""
    refuse_in_place(layer)
    group, x = layer.shuffle_channel_param.group, bottoms[0]
    if len(x) < 2:
        raise ShapeError(
            f"the input has shape {x}; expected (N, C, ...)", layer=label(layer)
        )
    if group < 1 or x[1] % group:
        raise ShapeError(
            f"group is {group}, but the input has {x[1]} channels; expected a divisor "
            f"of it",
            layer=label(layer),
        )
    return ShuffleChannel(layer=layer, bottoms=bottoms, tops=bottoms, group=group)


@infers("Reorg")
def reorg(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> Reorg:
    """Read a Reorg layer."""
    refuse_in_place(layer)
    param = layer.reorg_param
    check_axes(layer, bottoms[0], 4, "the input")
    n, c, height, width = bottoms[0]
    s = param.stride
    if s < 1:
        raise SpecError(
            f"reorg_param.stride is {s}; give the side of the squares, at least 1",
            layer=label(layer),
        )
    if c % (s * s):
        raise ShapeError(
            f"the input has {c} channels, which stride^2, {s * s}, does not divide",
            layer=label(layer),
        )
    if not param.reverse and (height % s or width % s):
        raise ShapeError(
            f"the input is {height} by {width}, which stride {s} does not divide",
            layer=label(layer),
        )
    if param.reverse:
        top = (n, c // (s * s), height * s, width * s)
    else:
        top = (n, c * s * s, height // s, width // s)
    return Reorg(
        layer=layer, bottoms=bottoms, tops=(top,), stride=s, reverse=param.reverse
    )


@infers("Axpy")
def axpy(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> Axpy:
    """Read an Axpy layer."""
    refuse_in_place(layer)
    a, x, b = bottoms
    if x != b:
        raise ShapeError(
            f"{bottom_name(layer, 1)} has shape {x} and {bottom_name(layer, 2)} {b}; "
            f"expected one shape",
            layer=label(layer),
        )
    if len(x) < 2 or a[:2] != x[:2] or count(a, 2) != 1:
        raise ShapeError(
            f"{bottom_name(layer, 0)}, the factors, has shape {a}; expected a number "
            f"for every channel of every item: {x[:2]} or {(*x[:2], 1, 1)}",
            layer=label(layer),
        )
    return Axpy(layer=layer, bottoms=bottoms, tops=(x,))
