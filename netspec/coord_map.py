"""Where the pixels of one blob lie in another: offsets for Crop, as FCNs need them.

    n.score = crop(n.upscore, n.data)

Along each spatial axis a layer maps a place x of its top to the place a x + b of its
bottom. A convolution of stride s, padding p and (dilated) kernel k has a = s and
b = (k - 1) / 2 - p; a deconvolution has the inverse of that map; layers that work on
single pixels keep the place; Crop adds its offset. Maps are composed from either blob
down to one that both come from. The names are those of pycaffe's `coord_map`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from netspec.compatible import layers
from netspec.errors import ShapeError
from netspec.language.calls import Function, Top, describe
from netspec.language.options import layer_of
from netspec.language.proto_to_python import values_of

PASS_THROUGH_LAYERS = frozenset(
    (
        "AbsVal",
        "BNLL",
        "BN",
        "BatchNorm",
        "Bias",
        "Clip",
        "Dropout",
        "ELU",
        "EltwiseAffine",
        "Eltwise",
        "Exp",
        "LRN",
        "Log",
        "MVN",
        "PReLU",
        "Power",
        "ReLU",
        "ReLU6",
        "ReLUX",
        "SeLu",
        "SeLuDropout",
        "Scale",
        "Sigmoid",
        "Split",
        "Swish",
        "TanH",
        "Threshold",
    )
)
_WINDOWS = (
    "Convolution",
    "ConvolutionDepthwise",
    "Deconvolution",
    "DepthwiseConvolution",
    "Im2col",
    "Pooling",
)


class NoMap(ShapeError, RuntimeError):
    """Two tops whose places cannot be compared."""


class NoCrop(ShapeError, AssertionError):
    """A top from which no Crop can cut what is asked for."""


@dataclass(frozen=True)
class CoordMap:
    """Places x of one blob are places `scale` x + `offset` of another.

    axis: the one before the first spatial axis, None where no layer tells. scale,
    offset: one for every spatial axis, or one for all.
    """

    axis: int | None = None
    scale: tuple[Fraction, ...] = (Fraction(1),)
    offset: tuple[Fraction, ...] = (Fraction(0),)

    def after(self, other: CoordMap) -> CoordMap:
        """Return the map that applies `other` and then this one."""
        axes = {each for each in (self.axis, other.axis) if each is not None}
        if len(axes) > 1:
            raise ShapeError(f"layers count from different axes: {sorted(axes)}")
        length = max(map(len, (self.scale, self.offset, other.scale, other.offset)))
        a, b, c, d = (
            _wide(each, length)
            for each in (self.scale, self.offset, other.scale, other.offset)
        )
        return CoordMap(
            axes.pop() if axes else None,
            tuple(a[i] * c[i] for i in range(length)),
            tuple(a[i] * d[i] + b[i] for i in range(length)),
        )

    def inverse(self) -> CoordMap:
        """Return the map in the other direction."""
        length = max(len(self.scale), len(self.offset))
        a, b = _wide(self.scale, length), _wide(self.offset, length)
        return CoordMap(
            self.axis,
            tuple(1 / a[i] for i in range(length)),
            tuple(-b[i] / a[i] for i in range(length)),
        )


def map_between(top_from: Top, top_to: Top) -> CoordMap:
    """Return the map from places of `top_from` to those of `top_to`.

    Raises `NoMap` for tops that layers of pixels and windows do not connect.
    """
    below = _maps_below(top_from)
    for top, mapping in _maps_below(top_to).items():
        if top in below:
            return mapping.inverse().after(below[top])
    raise NoMap(
        f"{describe(top_from.fn)} and {describe(top_to.fn)}: no layers whose places "
        f"are known connect their tops; give Crop its offset yourself"
    )


def crop(top_from: Top, top_to: Top) -> Any:
    """Cut `top_from` to the size of `top_to`, so that equal places lie on each other.

    Raises `NoCrop` where the scales differ, or the offset is no whole number of
    pixels, or negative.
    """
    mapping = map_between(top_from, top_to).inverse()
    who = f"cropping {describe(top_from.fn)} like {describe(top_to.fn)}"
    shown = ", ".join(str(float(each)) for each in mapping.offset)
    if any(each != 1 for each in mapping.scale):
        scales = ", ".join(str(float(each)) for each in mapping.scale)
        raise NoCrop(f"{who}: the scales must be equal, one is {scales} times")
    if any(each < 0 for each in mapping.offset):
        raise NoCrop(f"{who}: the offset is {shown}; pad the input more")
    if any(each.denominator != 1 for each in mapping.offset):
        raise NoCrop(f"{who}: the offset is {shown}; expected whole pixels")
    axis = 2 if mapping.axis is None else mapping.axis + 1
    offset = [int(each) for each in mapping.offset]
    return layers.Crop(top_from, top_to, crop_param=dict(axis=axis, offset=offset))


def _maps_below(top: Top) -> dict[Top, CoordMap]:
    """Return the maps from `top` to all tops that it is computed from, and itself."""
    maps = {top: CoordMap()}
    waiting = [top]
    while waiting:
        above = waiting.pop()
        own = _map_of(above.fn)
        if own is None:
            continue
        # The second bottom of a Crop tells a size, not values.
        inputs = above.fn.inputs
        for bottom in inputs[:1] if above.fn.type_name == "Crop" else inputs:
            if bottom not in maps:
                maps[bottom] = own.after(maps[above])
                waiting.append(bottom)
    return maps


def _map_of(fn: Function) -> CoordMap | None:
    """Return the map from the places of a layer's top to those of its bottom."""
    kind = fn.type_name
    if kind in PASS_THROUGH_LAYERS:
        return CoordMap()
    if kind == "Crop":
        options = values_of(layer_of(fn).crop_param)
        offset = _numbers(options.get("offset", 0)) or (Fraction(0),)
        return CoordMap(int(options.get("axis", 2)) - 1, (Fraction(1),), offset)
    if kind not in _WINDOWS:
        return None
    own = "pooling_param" if kind == "Pooling" else "convolution_param"
    options = values_of(getattr(layer_of(fn), own))
    if "kernel_size" not in options:
        return None
    kernel, stride, pad, dilation = (
        _numbers(options.get(name, default)) or (Fraction(default),)
        for name, default in (
            ("kernel_size", 1),
            ("stride", 1),
            ("pad", 0),
            ("dilation", 1),
        )
    )
    length = max(map(len, (kernel, stride, pad, dilation)))
    k, p, d = (_wide(each, length) for each in (kernel, pad, dilation))
    offset = tuple((k[i] - 1) * d[i] / 2 - p[i] for i in range(length))
    mapping = CoordMap(int(options.get("axis", 1)), stride, offset)
    return mapping.inverse() if kind == "Deconvolution" else mapping


def _numbers(value: Any) -> tuple[Fraction, ...]:
    values = value if isinstance(value, Sequence) else [value]
    return tuple(Fraction(int(each)) for each in values)


def _wide(values: tuple[Fraction, ...], length: int) -> tuple[Fraction, ...]:
    return values * length if len(values) == 1 else values
