"""Elementwise activations with or without parameters: shapes pass through."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from netspec.errors import ShapeError, SpecError
from netspec.ops.base import (
    FromOutputOp,
    Op,
    ParamDef,
    Range,
    Shape,
    filler,
    infers,
    label,
)
from netspec.schema import LayerParameter


@dataclass(frozen=True, kw_only=True)
class Sigmoid(FromOutputOp):
    """y = 1 / (1 + exp(-x)); dx = dy y (1 - y)."""

    type: ClassVar[str] = "Sigmoid"


@dataclass(frozen=True, kw_only=True)
class TanH(FromOutputOp):
    """y = tanh(x); dx = dy (1 - y^2)."""

    type: ClassVar[str] = "TanH"


@dataclass(frozen=True, kw_only=True)
class ELU(Op):
    """y = x where x > 0, else alpha (exp(x) - 1); dx = dy or dy (y + alpha).

    With alpha below 0 the output is positive on both sides, so the gradient reads x.
    """

    type: ClassVar[str] = "ELU"
    in_place: ClassVar[bool] = True
    alpha: float

    @property
    def backward_bottoms(self) -> tuple[int, ...]:
        """The input, where the output does not tell its sign."""
        return () if self.alpha >= 0 else (0,)

    @property
    def backward_tops(self) -> tuple[int, ...]:
        """The output, where it has the sign of the input."""
        return (0,) if self.alpha >= 0 else ()


@dataclass(frozen=True, kw_only=True)
class PReLU(Op):
    """y = max(x, 0) + slope * min(x, 0), a learned slope a channel or one for all.

    Shapes: x (N, C, ...) -> y (same), slope (C,) or () with `channel_shared`. In place
    the kernel keeps its own copy of x.
    """

    type: ClassVar[str] = "PReLU"
    in_place: ClassVar[bool] = True
    channel_shared: bool

    @property
    def backward_bottoms(self) -> tuple[int, ...]:
        """The input, unless in place: there the kernel keeps a copy."""
        in_place = self.layer.top and self.layer.top[0] == self.layer.bottom[0]
        return () if in_place else (0,)


@dataclass(frozen=True, kw_only=True)
class AbsVal(Op):
    """y = |x|; dx = dy sign(x), with sign(0) = 0."""

    type: ClassVar[str] = "AbsVal"
    in_place: ClassVar[bool] = True


@dataclass(frozen=True, kw_only=True)
class BNLL(Op):
    """y = log(1 + exp(x)); dx = dy / (1 + exp(-x))."""

    type: ClassVar[str] = "BNLL"
    in_place: ClassVar[bool] = True


@dataclass(frozen=True, kw_only=True)
class Power(Op):
    """y = (shift + scale x)^power."""

    type: ClassVar[str] = "Power"
    in_place: ClassVar[bool] = True
    power: float
    scale: float
    shift: float

    @property
    def backward_bottoms(self) -> tuple[int, ...]:
        """The input, unless the function is affine or constant."""
        affine = self.power in (0, 1) or self.scale == 0
        return () if affine else (0,)

    @property
    def backward_tops(self) -> tuple[int, ...]:
        """The output, where the gradient is written as y / (shift + scale x)."""
        affine = self.power in (0, 1) or self.scale == 0
        return () if affine or self.power == 2 else (0,)

    @property
    def ranges(self) -> Mapping[int, Range]:
        """Where a root is real and a negative power far from its pole."""
        if self.power in (0, 1, 2, 3, 4):
            return {}
        return _where_affine(self.scale, self.shift)


@dataclass(frozen=True, kw_only=True)
class Exp(FromOutputOp):
    """y = base^(shift + scale x), base -1 being e; dx = dy y scale log(base)."""

    type: ClassVar[str] = "Exp"
    base: float
    scale: float
    shift: float


@dataclass(frozen=True, kw_only=True)
class Log(Op):
    """y = log_base(shift + scale x), base -1 being e."""

    type: ClassVar[str] = "Log"
    in_place: ClassVar[bool] = True
    base: float
    scale: float
    shift: float

    @property
    def ranges(self) -> Mapping[int, Range]:
        """Where there is a logarithm: the affine function is from 1/2 to 2."""
        return _where_affine(self.scale, self.shift)


@dataclass(frozen=True, kw_only=True)
class Clip(Op):
    """y = min(max(x, min), max); the gradient passes where min <= x <= max."""

    type: ClassVar[str] = "Clip"
    in_place: ClassVar[bool] = True
    min: float
    max: float


@dataclass(frozen=True, kw_only=True)
class Swish(Op):
    """y = x sigmoid(beta x); dx = dy (beta y + sigmoid(beta x) (1 - beta y))."""

    type: ClassVar[str] = "Swish"
    in_place: ClassVar[bool] = True
    beta: float


@dataclass(frozen=True, kw_only=True)
class Threshold(Op):
    """y = 1 where x > threshold, else 0; it has no gradient."""

    type: ClassVar[str] = "Threshold"
    in_place: ClassVar[bool] = True
    threshold: float

    @property
    def backward_bottoms(self) -> tuple[int, ...]:
        """No bottom is read: there is no gradient."""
        return ()

    @property
    def gradient_bottoms(self) -> tuple[int, ...]:
        """No bottom: a step has no gradient."""
        return ()

    @property
    def refused_bottoms(self) -> tuple[int, ...]:
        """The input."""
        return (0,)


@infers("Sigmoid")
def sigmoid(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> Sigmoid:
    """Read a Sigmoid layer."""
    return Sigmoid(layer=layer, bottoms=bottoms, tops=bottoms)


@infers("TanH")
def tanh(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> TanH:
    """Read a TanH layer."""
    return TanH(layer=layer, bottoms=bottoms, tops=bottoms)


@infers("ELU")
def elu(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> ELU:
    """Read an ELU layer."""
    return ELU(layer=layer, bottoms=bottoms, tops=bottoms, alpha=layer.elu_param.alpha)


@infers("PReLU")
def prelu(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> PReLU:
    """Read a PReLU layer."""
    param = layer.prelu_param
    if len(bottoms[0]) < 2:
        raise ShapeError(
            f"the input must have at least 2 axes, channels on axis 1; got shape "
            f"{bottoms[0]}",
            layer=label(layer),
        )
    shape = () if param.channel_shared else (bottoms[0][1],)
    return PReLU(
        layer=layer,
        bottoms=bottoms,
        tops=bottoms,
        params=(ParamDef(shape, filler(param, "filler", 0.25)),),
        channel_shared=param.channel_shared,
    )


@infers("AbsVal")
def absval(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> AbsVal:
    """Read an AbsVal layer."""
    return AbsVal(layer=layer, bottoms=bottoms, tops=bottoms)


@infers("BNLL")
def bnll(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> BNLL:
    """Read a BNLL layer."""
    return BNLL(layer=layer, bottoms=bottoms, tops=bottoms)


@infers("Power")
def power(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> Power:
    """Read a Power layer."""
    param = layer.power_param
    return Power(
        layer=layer,
        bottoms=bottoms,
        tops=bottoms,
        power=param.power,
        scale=param.scale,
        shift=param.shift,
    )


@infers("Exp")
def exp(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> Exp:
    """Read an Exp layer."""
    param = layer.exp_param
    return Exp(
        layer=layer,
        bottoms=bottoms,
        tops=bottoms,
        base=_base(layer, param.base),
        scale=param.scale,
        shift=param.shift,
    )


@infers("Log")
def log(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> Log:
    """Read a Log layer."""
    param = layer.log_param
    base = _base(layer, param.base)
    if base == 1:
        raise SpecError(
            "base is 1, which has no logarithm; expected a positive value other than "
            "1, or -1 for e",
            layer=label(layer),
        )
    return Log(
        layer=layer,
        bottoms=bottoms,
        tops=bottoms,
        base=base,
        scale=param.scale,
        shift=param.shift,
    )


@infers("Clip")
def clip(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> Clip:
    """Read a Clip layer."""
    param = layer.clip_param
    for field in ("min", "max"):
        if not param.HasField(field):
            raise SpecError(
                f"clip_param.{field} is missing; give both min and max",
                layer=label(layer),
            )
    if not param.min <= param.max:
        raise SpecError(
            f"clip_param.min is {param.min:g} and max {param.max:g}; expected min <= "
            f"max",
            layer=label(layer),
        )
    return Clip(
        layer=layer, bottoms=bottoms, tops=bottoms, min=param.min, max=param.max
    )


@infers("Swish")
def swish(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> Swish:
    """Read a Swish layer."""
    beta = layer.swish_param.beta
    return Swish(layer=layer, bottoms=bottoms, tops=bottoms, beta=beta)


@infers("Threshold")
def threshold(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> Threshold:
    """Read a Threshold layer."""
    value = layer.threshold_param.threshold
    return Threshold(layer=layer, bottoms=bottoms, tops=bottoms, threshold=value)


def _base(layer: LayerParameter, base: float) -> float:
    if base != -1 and not base > 0:
        raise SpecError(
            f"base is {base:g}; expected a positive value, or -1 for e",
            layer=label(layer),
        )
    return base


def _where_affine(scale: float, shift: float) -> Mapping[int, Range]:
    """Return for which x the value of shift + scale x is from 1/2 to 2."""
    if scale == 0:
        return {}
    low, high = sorted(((0.5 - shift) / scale, (2 - shift) / scale))
    return {0: Range(low, high)}
