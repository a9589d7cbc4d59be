"""Weights of convolutions with zeros between them or around them."""

from __future__ import annotations

from typing import Any

import numpy as np

from netspec.readers.draft import Made, Place
from netspec.readers.rule import Rule, refused, silent
from netspec.readers.rules.convolution import (
    CONVOLUTIONS,
    is_plain,
    set_window,
    spatial_axes,
    with_arrays,
)


def _spread(place: Place) -> list[Made]:
    """Return the layer with zeros between the weights, without dilation."""
    dilation, extents = place.op.dilation, _extents(place)
    weights, *bias = place.values
    wide: Any = np.zeros((*weights.shape[:2], *extents), np.float32)
    wide[(..., *(slice(None, None, d) for d in dilation))] = weights
    made = with_arrays(place, [wide, *bias])
    set_window(made, kernel=extents, dilation=(1,) * len(extents))
    return [Made(made.layer, made.arrays)]


def _arrays(place: Place) -> list[Any]:
    return list(place.arrays or ())


def _is_cropped_point(place: Place) -> bool:
    op = place.op
    return is_plain(place) and any(op.pad) and {*op.kernel, *op.stride} == {1}


def _extents(place: Place) -> list[int]:
    """Return the pixels from the first to the last one under the dilated kernel."""
    pairs = zip(place.op.dilation, place.op.kernel, strict=True)
    return [dilation * (kernel - 1) + 1 for dilation, kernel in pairs]


def _cuts_whole_windows(place: Place) -> bool:
    """Tell whether the pad of a Deconvolution of single channels exceeds its kernel."""
    op = place.op
    pairs = zip(op.pad, _extents(place), strict=True)
    return (
        is_plain(place)
        and op.group == op.channels
        and any(pad > extent for pad, extent in pairs)
    )


def _wider(place: Place) -> list[Made]:
    """Return the layer with zeros around the weights, and a pad larger by as much."""
    spread = _spread(place)[0]
    pairs = zip(place.op.pad, _extents(place), strict=True)
    margin = [max(1, pad - extent) for pad, extent in pairs]
    weights, *bias = spread.arrays or ()
    wide: Any = np.pad(weights, ((0, 0), (0, 0), *((each, each) for each in margin)))
    made = with_arrays(place, [wide, *bias])
    pad = [each + more for each, more in zip(place.op.pad, margin, strict=True)]
    set_window(made, kernel=wide.shape[2:], pad=pad, dilation=(1, 1))
    return [Made(made.layer, made.arrays)]


RULES = (
    Rule(
        name="convolution-dilations",
        types=CONVOLUTIONS,
        says="another dilation for height and width",
        readers={
            "mnn": silent("takes the width for the height"),
            "ncnn": silent("takes the first for both"),
            "openvino": silent("takes the first for both"),
        },
        applies=lambda place: (
            spatial_axes(place) == 2 and len(set(place.op.dilation)) > 1
        ),
        rewrite=_spread,
        instead="zeros between the weights",
        needs_values=True,
    ),
    Rule(
        name="deconvolution-dilation",
        types=("Deconvolution",),
        says="dilation",
        readers={"opencv": silent("ignores it")},
        applies=lambda place: is_plain(place) and set(place.op.dilation) != {1},
        rewrite=_spread,
        instead="zeros between the weights",
        needs_values=True,
    ),
    Rule(
        name="deconvolution-point",
        types=("Deconvolution",),
        says="a pad, with a kernel and stride of 1",
        readers={"opencv": silent("ignores the pad")},
        applies=_is_cropped_point,
        rewrite=_wider,
        instead="zeros around the weight, and a larger pad",
        needs_values=True,
    ),
    Rule(
        name="deconvolution-pad",
        types=("Deconvolution",),
        says="a pad larger than the kernel, with a group for each channel",
        readers={"mnn": refused("ends the process")},
        applies=_cuts_whole_windows,
        rewrite=_wider,
        instead="zeros around the weights, and a larger pad",
        needs_values=True,
    ),
)
