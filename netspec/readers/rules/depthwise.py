"""Depthwise convolutions that OpenCV computes from memory beside the image."""

from __future__ import annotations

import numpy as np

from netspec.readers.draft import Made, Place
from netspec.readers.rule import Rule, silent
from netspec.readers.rules.convolution import LARGEST, is_plain
from netspec.schema import LayerParameter


def _reads_beside(place: Place) -> bool:
    """Tell whether the fast form of OpenCV is taken where it is wrong.

    It is for 3 by 3 with a pad of at most 1. Its borders are right where the image has
    two rows and columns or more, and without dilation.
    """
    op = place.op
    if not is_plain(place) or not 1 < op.group == op.channels == op.num_output:
        return False
    fast = tuple(op.kernel) == (3, 3) and max(op.pad) == 1
    return fast and (min(place.bottoms[0][2:]) == 1 or max(op.dilation) > 1)


def _fits(place: Place) -> bool:
    return 9 * int(place.op.channels) ** 2 <= LARGEST


def _dense(place: Place) -> list[Made]:
    """Return the convolution of one group, with zeros for the other channels."""
    (weights, *bias), channels = place.values, place.op.channels
    dense = np.zeros((channels, channels, 3, 3), np.float32)
    dense[range(channels), range(channels)] = weights[:, 0]
    made = LayerParameter()
    made.CopyFrom(place.layer)
    made.convolution_param.ClearField("group")
    return [Made(made, [dense, *bias])]


_SAYS = "a depthwise kernel of 3 by 3, padded, with a dilation or on one row or column"
_READS = silent("reads memory beside the image")

RULES = (
    Rule(
        name="depthwise",
        types=("Convolution",),
        says=_SAYS,
        readers={"opencv": _READS},
        applies=lambda place: _reads_beside(place) and _fits(place),
        rewrite=_dense,
        instead="one group, with zeros for the other channels",
        needs_values=True,
    ),
    Rule(
        name="depthwise-wide",
        types=("Convolution",),
        says=f"{_SAYS}, of too many channels to write as one group",
        readers={"opencv": _READS},
        applies=lambda place: _reads_beside(place) and not _fits(place),
    ),
)
