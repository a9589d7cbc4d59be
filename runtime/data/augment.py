"""What the SSD fork does to an image ahead of crop and mean: resize it, add noise."""

from __future__ import annotations

import numpy as np

from netspec.errors import SpecError, SpecWarning
from netspec.notebooks import warn_user
from netspec.ops.base import label
from netspec.schema import LayerParameter
from runtime.data.draws import Draws
from runtime.data.noise import Noise
from runtime.data.resizing import Placed, Resizing

STREAM = 0  # of the random numbers of an item
BOXES_ONLY = ("distort_param", "expand_param", "emit_constraint")


class Augment:
    """`resize_param` and then `noise_param`, where they are given.

    fixed: whether all images have one size afterwards.
    """

    def __init__(self, layer: LayerParameter, seed: int, channels: int) -> None:
        transform = layer.transform_param
        self._layer, self._seed = layer, seed
        self.resizing = Resizing(layer) if transform.HasField("resize_param") else None
        self._noise = (
            Noise(layer, channels) if transform.HasField("noise_param") else None
        )
        self.fixed = self.resizing is not None and self.resizing.fixed

    def apply(self, image: np.ndarray, number: int) -> tuple[np.ndarray, Placed]:
        """Return item `number` with another size and noise, and where it lies.

        Shapes: image (C, H, W) -> (C, H', W').
        """
        height, width = image.shape[1:]
        placed = Placed((height, width), (height, width), (0, 0))
        if self.resizing is None and self._noise is None:
            return image, placed
        bytes_only(self._layer, image, "resize_param and noise_param")
        draws = Draws(self._seed, self._layer.name, number, STREAM)
        if self.resizing is not None:
            image, placed = self.resizing.apply(image, draws)
        if self._noise is not None:
            image = self._noise.apply(image, draws)
        return image, placed


def bytes_only(layer: LayerParameter, image: np.ndarray, what: str) -> None:
    """Refuse floats where an option is for bytes."""
    if image.dtype != np.uint8:
        raise SpecError(
            f"{what} of transform_param are for images of bytes, but these have "
            f"floats; remove them, or write bytes",
            layer=label(layer),
        )


def warn_of_unread(layer: LayerParameter) -> None:
    """Warn, with `SpecWarning`, of options that only AnnotatedData reads."""
    transform = layer.transform_param
    unread = [name for name in BOXES_ONLY if transform.HasField(name)]
    if unread:
        warn_user(
            f"{label(layer)}: transform_param.{unread[0]} has no effect here; only "
            f"AnnotatedData reads it, as in the SSD fork",
            SpecWarning,
        )
