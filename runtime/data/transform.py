"""`transform_param`: crop, mirror, subtract the mean and scale images."""

from __future__ import annotations

import numpy as np

from netspec.errors import SpecError
from netspec.ops.base import Shape, label
from netspec.schema import TRAIN, LayerParameter
from runtime.counter_random import hash_bits, stream_keys
from runtime.data.mean_file import read_mean_file

DRAWS = 3  # random words of an item: crop row, crop column, mirror


def crop_of(layer: LayerParameter) -> tuple[int, int] | None:
    """Return rows and columns of the crop, or None.

    `crop_size` makes a square; `crop_h` and `crop_w` (SSD), or `crop_height` and
    `crop_width` (DeepLab), one that is none.

    Raises `SpecError` for several of them, and for one side alone.
    """
    param = layer.transform_param
    given: list[tuple[int, int]] = []
    if param.crop_size:
        given.append((param.crop_size, param.crop_size))
    for rows, columns in (("crop_h", "crop_w"), ("crop_height", "crop_width")):
        size = (getattr(param, rows), getattr(param, columns))
        if not any(size):
            continue
        if not all(size):
            raise SpecError(
                f"transform_param has {rows} {size[0]} and {columns} {size[1]}; give "
                f"both",
                layer=label(layer),
            )
        given.append(size)
    if len(given) > 1:
        raise SpecError(
            "transform_param has several crops; keep one of crop_size, crop_h with "
            "crop_w, and crop_height with crop_width",
            layer=label(layer),
        )
    return given[0] if given else None


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
        self._crop = crop_of(layer)
        self._mirror = param.mirror
        self._random_crop = phase == TRAIN and self._crop is not None
        self._keys = stream_keys(seed, layer.name, 0)
        if param.force_color and param.force_gray:
            raise SpecError(
                "both force_color and force_gray are set; keep one", layer=label(layer)
            )
        channels, height, width = shape
        if not self._fits((height, width)):
            raise SpecError(
                f"{self._said} is larger than the images, which are "
                f"{height} by {width}; reduce it or use larger images",
                layer=label(layer),
            )
        self.shape = (channels, *self._crop) if self._crop else shape
        self._mean = self._read_mean()
        self.varies = self._crop is None and not param.mean_file

    @property
    def _said(self) -> str:
        if self._layer.transform_param.crop_size or self._crop is None:
            return f"crop_size {self._layer.transform_param.crop_size}"
        return f"a crop of {self._crop[0]} by {self._crop[1]}"

    def _fits(self, size: tuple[int, ...]) -> bool:
        height, width = self._crop or (0, 0)
        return height <= size[0] and width <= size[1]

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
            rows, columns, flip = self._window(item.shape, draws[index])
            target = out[index]
            if flip:
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

    def finish(self, start: int, out: np.ndarray) -> None:
        """Do to pictures in a batch what `batch` does, where nothing is cut from them.

        Shapes: out (N, C, H, W), the items `start`, `start + 1`, ...
        """
        if self._mean is not None:
            np.subtract(out, self._mean, out=out)
        if self._mirror:
            flips = self._draws(start, len(out))[:, 2] & 1
            for index in np.flatnonzero(flips):
                out[index] = out[index, :, :, ::-1].copy()
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
        if self._crop is None or self._layer.transform_param.mean_file:
            raise SpecError(
                f"{said} {first}; all must be equal", layer=label(self._layer)
            )
        if shape[0] != first[0] or not self._fits(shape[1:]):
            raise SpecError(
                f"{said} {first}; all must have as many channels and at least the "
                f"size of {self._said}",
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

    def window(self, shape: Shape, number: int) -> tuple[slice, slice, bool]:
        """Return rows and columns of item `number` that stay, and whether they flip.

        Shapes: shape (C, H, W) of the picture.
        """
        return self._window(shape, self._draws(number, 1)[0])

    def _window(self, shape: Shape, draws: np.ndarray) -> tuple[slice, slice, bool]:
        _, height, width = shape
        flip = bool(self._mirror and draws[2] & 1)
        if self._crop is None:
            return slice(0, height), slice(0, width), flip
        rows, columns = self._crop
        if self._random_crop:
            top = int(draws[0]) % (height - rows + 1)
            left = int(draws[1]) % (width - columns + 1)
        else:
            top, left = (height - rows) // 2, (width - columns) // 2
        return slice(top, top + rows), slice(left, left + columns), flip

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
