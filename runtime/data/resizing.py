"""`resize_param` of the SSD fork: images to a size, and where what they show goes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from netspec.errors import SpecError, SpecWarning
from netspec.notebooks import warn_user
from netspec.ops.base import Shape, enum_name, label
from netspec.room import check_room
from netspec.schema import LayerParameter, ResizeParameter
from runtime.data.draws import Draws
from runtime.data.interpolating import resized

PAD_MODES = {"MIRRORED": "reflect", "REPEAT_NEAREST": "edge"}  # NumPy's names
BYTES = 3 * 4 * 3  # of a pixel while an image is resized


@dataclass(frozen=True)
class Placed:
    """Where an image of (H, W) lies in the resized one.

    size: (height, width) of the result. inner: those of the image within it. corner:
    (row, column) of its first pixel.
    """

    size: tuple[int, int]
    inner: tuple[int, int]
    corner: tuple[int, int]

    def boxes(self, boxes: np.ndarray, old: tuple[int, int]) -> np.ndarray:
        """Return boxes, in pixels, of an image of size `old` (H, W) as it lies here."""
        factors = np.array([self.inner[1] / old[1], self.inner[0] / old[0]])
        corner = np.array([self.corner[1], self.corner[0]])
        moved: np.ndarray = boxes * np.tile(factors, 2) + np.tile(corner, 2)
        return moved


class Resizing:
    """Images to a size, as `resize_param` says.

        WARP                    exactly height by width
        FIT_SMALL_SIZE          the same shape, the smallest that covers height by width
        FIT_LARGE_SIZE_AND_PAD  the same shape, the largest that fits, with a border

    Each image takes one of `interp_mode` at random. Sizes are cut to whole pixels. The
    border is split evenly, the odd pixel at the end.
    """

    def __init__(self, layer: LayerParameter) -> None:
        self._layer = layer
        self._param = param = layer.transform_param.resize_param
        self.mode = enum_name(param, "resize_mode")
        if not (param.height and param.width):
            raise SpecError(
                f"resize_param has height {param.height} and width {param.width}; give "
                f"both, at least 1",
                layer=label(layer),
            )
        self._size = (param.height, param.width)
        name = ResizeParameter.Interp_mode.Name
        self._ways = [name(number) for number in param.interp_mode] or ["LINEAR"]
        if param.HasField("prob") and param.prob != 1:
            warn_user(
                f"{label(layer)}: resize_param.prob is {param.prob:g}, but every image "
                f"is resized, as in the SSD fork, which does not read it; remove it",
                SpecWarning,
            )
        self.fixed = self.mode != "FIT_SMALL_SIZE"
        given = (param.height_scale, param.width_scale)
        self.frame = given if not self.fixed and all(given) else None

    def placed(self, size: tuple[int, int]) -> Placed:
        """Return where an image of `size` (H, W) lies."""
        (old_h, old_w), (new_h, new_w) = size, self._size
        if self.mode == "WARP":
            return Placed(self._size, self._size, (0, 0))
        wide = old_w * new_h > new_w * old_h  # wider than what it is to fit
        by_width = wide if self.fixed else not wide
        if by_width:
            inner = (max(1, new_w * old_h // old_w), new_w)
        else:
            inner = (new_h, max(1, new_h * old_w // old_h))
        if not self.fixed:
            return Placed(inner, inner, (0, 0))
        corner = ((new_h - inner[0]) // 2, (new_w - inner[1]) // 2)
        return Placed(self._size, inner, corner)

    def apply(self, image: np.ndarray, draws: Draws) -> tuple[np.ndarray, Placed]:
        """Return the resized image and where the old one lies in it.

        Shapes: image (C, H, W) uint8 -> (C, H', W').
        """
        way = self._ways[draws.below(len(self._ways)) if len(self._ways) > 1 else 0]
        height, width = image.shape[1:]
        placed = self.placed((height, width))
        room = BYTES * max(placed.size[0] * placed.size[1], height * placed.inner[1])
        check_room(room, f"{label(self._layer)}: resizing an image to {placed.size}")
        inner = resized(image, *placed.inner, way)
        if placed.inner == placed.size:
            return inner, placed
        (top, left), (rows, columns) = placed.corner, placed.inner
        border = (
            (0, 0),
            (top, placed.size[0] - top - rows),
            (left, placed.size[1] - left - columns),
        )
        mode = enum_name(self._param, "pad_mode")
        if mode in PAD_MODES:
            return np.pad(inner, border, mode=PAD_MODES[mode]), placed  # type: ignore[call-overload]
        padded = np.empty((len(image), *placed.size), np.uint8)
        padded[...] = self._pad_values(image.shape)[:, None, None]
        padded[:, top : top + rows, left : left + columns] = inner
        return padded, placed

    def _pad_values(self, shape: Shape) -> np.ndarray:
        values = list(self._param.pad_value) or [0.0]
        if len(values) not in (1, shape[0]):
            raise SpecError(
                f"resize_param.pad_value is given {len(values)} times for {shape[0]} "
                f"channels; give one, or one for each channel",
                layer=label(self._layer),
            )
        pads = np.rint(values).clip(0, 255).astype(np.uint8)
        return np.broadcast_to(pads, shape[:1])
