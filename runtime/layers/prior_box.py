"""PriorBox of the SSD fork: default boxes over a grid."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from netspec.ops import prior_box as ops
from runtime.layers.base import Kernel, register


@register
class PriorBox(Kernel[ops.PriorBox]):
    """The default boxes of every place of a grid, in units of the image.

        centre = ((column + offset) * step_w, (row + offset) * step_h) in pixels
        sides  = min_size, min_size
                 sqrt(min_size * max_size), the same, where there is a max_size
                 min_size * sqrt(r), min_size / sqrt(r) for each further ratio r
        box    = (centre - sides / 2, centre + sides / 2) / (width, height)

    for every min_size, in this order; with `clip` boxes are cut at the image. The
    second row has the variances. Only the sizes of the bottoms count.

    Shapes: features (N, C, H, W), image (N, C', H', W') -> (1, 2, H W priors 4).
    Source: Liu et al., "SSD: single shot multibox detector", 2016, arXiv:1512.02325.
    """

    types = ("PriorBox",)

    def setup(self) -> None:
        """Compute what every pass gives."""
        boxes = default_boxes(self.op).reshape(-1)
        variances = np.tile(self.op.variance, boxes.size // 4)
        self._values = np.empty(self.op.tops[0], self.context.dtype)
        self._values[0] = boxes, variances

    def forward(self) -> None:
        """Copy the boxes."""
        self.backend.upload(self._values, out=self.y)

    def backward(self, accumulate: Sequence[bool]) -> None:
        """Never called: nothing can receive a gradient."""


def default_boxes(op: ops.PriorBox) -> np.ndarray:
    """Return the boxes of all places: (rows, columns, priors, 4), float64."""
    rows, columns = op.bottoms[0][2:]
    half = np.array(list(_sides(op))).reshape(-1, 2) / 2  # (priors, 2): x, y
    y = (np.arange(rows) + op.offset) * op.step[0]
    x = (np.arange(columns) + op.offset) * op.step[1]
    centres = np.empty((rows, columns, 1, 2))
    centres[..., 0] = x[None, :, None]
    centres[..., 1] = y[:, None, None]
    height, width = op.image
    boxes = np.concatenate([centres - half, centres + half], axis=-1)
    boxes /= np.array([width, height, width, height], float)
    return np.clip(boxes, 0, 1) if op.clip else boxes


def _sides(op: ops.PriorBox) -> Iterator[tuple[float, float]]:
    """Yield width and height of the boxes of a place, in pixels."""
    for place, small in enumerate(op.min_size):
        yield small, small
        if op.max_size:
            between = math.sqrt(small * op.max_size[place])
            yield between, between
        for ratio in op.aspect_ratio[1:]:
            yield small * math.sqrt(ratio), small / math.sqrt(ratio)
