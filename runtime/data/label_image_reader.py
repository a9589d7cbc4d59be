"""Images with labels of their pixels: of SegNet, DeepLab, PSPNet and HED."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from netspec.errors import FileError, SpecError
from netspec.ops.base import Shape, check_count, label
from netspec.schema import ImageDataParameter, LayerParameter
from runtime.counter_random import stream_keys
from runtime.data.augment import warn_of_unread
from runtime.data.draws import Draws
from runtime.data.images import decode, decode_labels, resize
from runtime.data.interpolating import nearest
from runtime.data.lists import read_lines
from runtime.data.order import Order
from runtime.data.source import Arrays, Place
from runtime.data.transform import Transform, crop_of

EDGE = 128  # of HED: gray from here on is an edge, as 255 * 1/2 rounds up


@dataclass(frozen=True)
class Pair:
    """An image and its labels, (C, H, W) and (H, W), and the size of its file."""

    image: np.ndarray
    labels: np.ndarray
    size: tuple[int, int]


class LabelImageReader:
    """Batches of images, and of labels for every pixel; see the kinds below.

    Crops and mirrors are the same for both; mean and scale are the image's. Labels are
    resized by their nearest pixel. The labels of an image file with a palette are its
    indices, where Caffe takes the gray of the colours.

    Tops: data (N, C, H, W), label (N, 1, H, W).
    """

    field = ""  # of the layer: where its options are
    shapes: tuple[Shape, ...]
    varies: bool

    def __init__(self, layer: LayerParameter, phase: int, seed: int) -> None:
        self._layer = layer = self._effective(layer)
        self._seed = seed
        self._param = param = getattr(layer, self.field)
        self._check()
        self._lines = self._read_lines()
        self._order = Order(seed, layer.name, len(self._lines), shuffle=param.shuffle)
        self._start = 0
        if param.rand_skip:
            self._start = stream_keys(seed, layer.name, 0, 1)[0] % param.rand_skip
        first = self._pair(0)
        self._transform = Transform(layer, phase, seed, first.image.shape)
        self.varies = self._transform.varies and not param.new_height
        self.shapes = self._shapes(self._transform.shape)

    def read(self, batch: int, out: Sequence[np.ndarray]) -> None:
        """Write batch number `batch` into the arrays `out`, which have `shapes`."""
        self.read_sized(batch, lambda shapes: out)

    def read_sized(self, batch: int, place: Place) -> Arrays:
        """Write batch number `batch` into arrays that `place` gives; return them."""
        start = batch * self._param.batch_size
        pairs = [self._pair(start + at) for at in range(self._param.batch_size)]
        images = [pair.image for pair in pairs]
        shape = self._transform.shape_of(images[0], start)
        out = place(self._shapes(shape))
        self._transform.batch(images, start, out[0])
        for index, pair in enumerate(pairs):
            rows, columns, flip = self._transform.window(
                pair.image.shape, start + index
            )
            part = pair.labels[rows, columns]
            out[1][index, 0] = part[:, ::-1] if flip else part
            for more in out[2:]:
                most = [
                    min(side, there)
                    for side, there in zip(pair.size, shape[1:], strict=True)
                ]
                more[index, 0, 0] = most
        return out

    def close(self) -> None:
        """Do nothing: no file stays open."""

    def _shapes(self, picture: Shape) -> tuple[Shape, ...]:
        batch = self._param.batch_size
        shapes = ((batch, *picture), (batch, 1, *picture[1:]), (batch, 1, 1, 2))
        return shapes[: len(self._layer.top)]

    def _effective(self, layer: LayerParameter) -> LayerParameter:
        """Return the layer with all of its options of images in `transform_param`."""
        return layer

    def _check(self) -> None:
        param, layer = self._param, self._layer
        if param.batch_size < 1:
            raise SpecError("batch_size is 0; give at least 1", layer=label(layer))
        if (param.new_height > 0) != (param.new_width > 0):
            raise SpecError(
                "new_height and new_width must be given together", layer=label(layer)
            )
        channels = 3 if param.is_color else 1
        images = (param.batch_size, channels, param.new_height, param.new_width)
        check_count(layer, "top 0", images)
        warn_of_unread(layer)
        for name in ("resize_param", "noise_param"):
            if layer.transform_param.HasField(name):
                raise SpecError(
                    f"transform_param.{name} is not for images with labels; give "
                    f"new_height and new_width, or remove it",
                    layer=label(layer),
                )

    def _read_lines(self) -> list[tuple[str, str]]:
        """Read the lines of the list: an image and its labels."""
        source, found = self._param.source, []
        for number, line in read_lines(source, label(self._layer)):
            words = line.split()
            if len(words) != 2:
                raise FileError(
                    f"{label(self._layer)}: {source}:{number}: expected an image and "
                    f"{self._behind}, got {line!r}"
                )
            found.append((words[0], words[1]))
        return found

    _behind = "an image of its labels"

    def _pair(self, number: int) -> Pair:
        """Return item `number` since the start, resized."""
        param = self._param
        name, behind = self._lines[self._order.item(number + self._start)]
        path = Path(param.root_folder + name)
        what = f"{label(self._layer)}: image {path}"
        image = decode(path, what, color=param.is_color)
        labels = self._labels(behind, image)
        size = (image.shape[1], image.shape[2])
        if param.new_height:
            size = (param.new_height, param.new_width)
            image, labels = resize(image, *size), _nearest(labels, size)
        return self._finished(Pair(image, labels, size), number)

    def _finished(self, pair: Pair, number: int) -> Pair:
        return pair

    def _labels(self, behind: str, image: np.ndarray) -> np.ndarray:
        """Return the labels of an image. Shapes: image (C, H, W) -> (H, W)."""
        path = Path(self._param.root_folder + behind)
        what = f"{label(self._layer)}: labels {path}"
        labels = decode_labels(path, what)
        if labels.shape != image.shape[1:]:
            raise FileError(
                f"{what}: has {labels.shape[0]} by {labels.shape[1]} (height, width), "
                f"its image {image.shape[1]} by {image.shape[2]}; they must be equal"
            )
        return labels


class DenseImageReader(LabelImageReader):
    """DenseImageData of SegNet: labels divided by `label_divide_factor` (ENet)."""

    field = "dense_image_data_param"

    def _effective(self, layer: LayerParameter) -> LayerParameter:
        made, param = LayerParameter(), layer.dense_image_data_param
        made.CopyFrom(layer)
        transform = made.transform_param
        transform.mirror = transform.mirror or param.mirror
        for name in ("crop_height", "crop_width"):
            if getattr(param, name):
                setattr(transform, name, getattr(param, name))
        if param.label_divide_factor < 1:
            raise SpecError(
                "dense_image_data_param.label_divide_factor is 0; give at least 1",
                layer=label(layer),
            )
        return made

    def _labels(self, behind: str, image: np.ndarray) -> np.ndarray:
        labels = super()._labels(behind, image)
        return labels // self._param.label_divide_factor


class LabelmapReader(LabelImageReader):
    """ImageLabelmapData of HED: labels are 1 at edges, gray of at least 128, else 0."""

    field = "image_data_param"

    def _labels(self, behind: str, image: np.ndarray) -> np.ndarray:
        return (super()._labels(behind, image) >= EDGE).astype(np.uint8)


class SegmentedReader(LabelImageReader):
    """ImageSegData of DeepLab and PSPNet.

    A line of the list is an image, and as `label_type` says an image of labels (PIXEL),
    a number for all pixels (IMAGE), or nothing (NONE: all have `ignore_label`). One of
    `scale_factors` is drawn for every image. One smaller than the crop gets a border
    at its end, of the mean colour and of `ignore_label`.

    Tops: data (N, C, H, W), label (N, 1, H, W), and the size of each image within the
    crop (N, 1, 1, 2), height and width.
    """

    field = "image_data_param"

    def _check(self) -> None:
        super()._check()
        transform, layer = self._layer.transform_param, self._layer
        if transform.mean_file:
            raise SpecError(
                "ImageSegData takes no mean_file; give mean_value", layer=label(layer)
            )
        if not all(0 < factor < np.inf for factor in transform.scale_factors):
            raise SpecError(
                f"transform_param.scale_factors are {list(transform.scale_factors)}; "
                f"expected finite numbers above 0",
                layer=label(layer),
            )
        self._kind = ImageDataParameter.LabelType.Name(self._param.label_type)
        if self._kind == "IMAGE":
            self._behind = "its label"

    def _read_lines(self) -> list[tuple[str, str]]:
        if self._kind != "NONE":
            return super()._read_lines()
        lines = read_lines(self._param.source, label(self._layer))
        return [(line.split()[0], "") for _, line in lines]

    def _labels(self, behind: str, image: np.ndarray) -> np.ndarray:
        if self._kind == "PIXEL":
            return super()._labels(behind, image)
        if self._kind == "NONE":
            return np.full(image.shape[1:], self._param.ignore_label)
        try:
            return np.full(image.shape[1:], int(behind))
        except ValueError:
            raise FileError(
                f"{label(self._layer)}: {self._param.source}: the label {behind!r} is "
                f"no whole number; label_type is IMAGE, and PIXEL reads label images"
            ) from None

    def _finished(self, pair: Pair, number: int) -> Pair:
        factors = self._layer.transform_param.scale_factors
        if factors:
            draws = Draws(self._seed, self._layer.name, number)
            factor = factors[draws.below(len(factors))]
            height, width = pair.image.shape[1:]
            size = (max(1, int(height * factor)), max(1, int(width * factor)))
            image, labels = resize(pair.image, *size), _nearest(pair.labels, size)
            pair = Pair(image, labels, pair.size)
        crop = crop_of(self._layer)
        if crop is None:
            return pair
        height, width = pair.labels.shape
        rows, columns = max(0, crop[0] - height), max(0, crop[1] - width)
        if not (rows or columns):
            return pair
        border = ((0, rows), (0, columns))
        labels = np.pad(
            pair.labels.astype(np.int64),
            border,
            constant_values=self._param.ignore_label,
        )
        means = np.array(list(self._layer.transform_param.mean_value) or [0.0])
        shape = (len(pair.image), height + rows, width + columns)
        image = np.empty(shape, np.float32)
        image[...] = means.reshape(-1, 1, 1) if len(means) in (1, shape[0]) else 0
        image[:, :height, :width] = pair.image
        return Pair(image, labels, pair.size)


def _nearest(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    rows, columns = (
        nearest(old, new)[0][:, 0] for old, new in zip(labels.shape, size, strict=True)
    )
    return labels[rows[:, None], columns]
