"""`transform_param`: crop, mirror, subtract the mean and scale images."""

from __future__ import annotations

import numpy as np

from netspec.errors import SpecError
from netspec.ops.base import Shape, label
from netspec.schema import TRAIN, LayerParameter
from runtime.counter_random import hash_bits, stream_keys
from runtime.data.mean_file import read_mean_file

DRAWS = 3  # random words of an item: crop row, crop column, mirror


class Transform:
    """Crop, mirror, subtract the mean and scale: y = (pixel - mean) * scale.

    The mean image is cropped with the picture. Crops are random in TRAIN and central in
    TEST; mirroring is random in both. What is random is a function of the seed, the
    layer and the number of the item since the start. Where no mean image is given,
    images that are cropped may have different sizes, and so may those of different
    batches.
    """

    def __init__(
        self, layer: LayerParameter, phase: int, seed: int, shape: Shape
    ) -> None:
        param = layer.transform_param
        self._layer = layer
        self._input = shape
        self._scale = param.scale
        self._crop = param.crop_size
        self._mirror = param.mirror
        self._random_crop = phase == TRAIN and self._crop > 0
        self._keys = stream_keys(seed, layer.name, 0)
        if param.force_color and param.force_gray:
            raise SpecError(
                "both force_color and force_gray are set; keep one", layer=label(layer)
            )
        channels, height, width = shape
        if self._crop > min(height, width):
            raise SpecError(
                f"crop_size {self._crop} is larger than the images, which are "
                f"{height} by {width}; reduce it or use larger images",
                layer=label(layer),
            )
        self.shape = (channels, self._crop, self._crop) if self._crop else shape
        self._mean = self._read_mean()
        self.varies = not self._crop and not param.mean_file

    def shape_of(self, first: np.ndarray, number: int) -> Shape:
        """Return what a batch has of its pictures: the shape of each.

        first: the first picture of the batch, item `number`.

        Shapes: first (C, H, W).
        """
        if not self.varies:
            return self.shape
        if first.shape[0] != self._input[0]:
            raise SpecError(
                f"item {number} has shape {first.shape}, the first one {self._input}; "
                f"all must have as many channels",
                layer=label(self._layer),
            )
        return first.shape

    def batch(self, items: list[np.ndarray], start: int, out: np.ndarray) -> None:
        """Transform the items `start`, `start + 1`, ... into `out`.

        Shapes: items (C, H, W) each, out (N, C, crop, crop).
        """
        draws = self._draws(start, len(items))
        usual = items[0].shape if self.varies else self._input
        for index, item in enumerate(items):
            if item.shape != usual:
                self._check_shape(item.shape, start + index, usual)
            rows, columns = self._window(item.shape, draws[index])
            target = out[index]
            if self._mirror and draws[index, 2] & 1:
                target = target[:, :, ::-1]
            picture = item[:, rows, columns]
            if self._mean is None:
                target[...] = picture
            elif self._mean.shape == self._input:
                np.subtract(picture, self._mean[:, rows, columns], out=target)
            else:
                np.subtract(picture, self._mean, out=target)
        if self._scale != 1:
            out *= np.float32(self._scale)

    def _check_shape(self, shape: Shape, number: int, first: Shape) -> None:
        """Refuse a picture unlike the first, unless equal windows are cut from both."""
        said = f"item {number} has shape {shape}, the first one"
        if self.varies:
            raise SpecError(
                f"{said} of its batch {first}; the images of a batch must be equal: "
                f"{self._ways()}",
                layer=label(self._layer),
            )
        if not self._crop or self._layer.transform_param.mean_file:
            raise SpecError(
                f"{said} {first}; all must be equal", layer=label(self._layer)
            )
        if shape[0] != first[0] or self._crop > min(shape[1:]):
            raise SpecError(
                f"{said} {first}; all must have as many channels and at least the "
                f"crop_size {self._crop}",
                layer=label(self._layer),
            )

    def _ways(self) -> str:
        resize = ""
        if self._layer.type == "ImageData":
            resize = "new_height and new_width, "
        return f"give {resize}crop_size, or batch_size: 1"

    def _draws(self, start: int, count: int) -> np.ndarray:
        first = start * DRAWS
        words = np.arange(first, first + count * DRAWS, dtype=np.uint64)
        words = words.astype(np.uint32)
        hash_bits(np, words, self._keys, np.empty_like(words))
        return words.reshape(count, DRAWS)

    def _window(self, shape: Shape, draws: np.ndarray) -> tuple[slice, slice]:
        if not self._crop:
            return slice(None), slice(None)
        _, height, width = shape
        if self._random_crop:
            top = int(draws[0]) % (height - self._crop + 1)
            left = int(draws[1]) % (width - self._crop + 1)
        else:
            top, left = (height - self._crop) // 2, (width - self._crop) // 2
        return slice(top, top + self._crop), slice(left, left + self._crop)

    def _read_mean(self) -> np.ndarray | None:
        param, layer, channels = (
            self._layer.transform_param,
            self._layer,
            self._input[0],
        )
        values = list(param.mean_value)
        if param.mean_file and values:
            raise SpecError(
                "both mean_file and mean_value are given; keep one", layer=label(layer)
            )
        if values:
            if len(values) not in (1, channels):
                raise SpecError(
                    f"mean_value is given {len(values)} times for {channels} "
                    f"channels; give one, or one for each channel",
                    layer=label(layer),
                )
            return np.array(values, np.float32).reshape(-1, 1, 1)
        if not param.mean_file:
            return None
        return read_mean_file(layer, self._input)
