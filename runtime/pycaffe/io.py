"""pycaffe's `caffe.io`: images, their way into a net, and arrays as messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from netspec.errors import ShapeError, SpecError, UnsupportedError, did_you_mean
from netspec.schema import BlobProto, BlobProtoVector, Datum
from runtime.data.images import decode, interpolate
from runtime.pycaffe.proto import caffe_pb2 as caffe_pb2

# ---------------------------------------------------------------- images


def load_image(filename: str | Path, color: bool = True) -> np.ndarray:
    """Return an image (H, W, C), float32 from 0 to 1, red first; C is 1 without color.

    Raises `FileError` for a file that is no image.
    """
    pixels = decode(Path(filename), str(filename), color=color)
    return np.ascontiguousarray(pixels[::-1].transpose(1, 2, 0), np.float32) / 255


def resize_image(
    im: np.ndarray, new_dims: Iterable[int], interp_order: int = 1
) -> np.ndarray:
    """Resize an image (H, W, C) to height and width.

    interp_order: 0 takes the nearest pixel, 1 interpolates between four.

    As scikit-image 0.12 did for pycaffe: pixels are squares, and an image that is made
    smaller is not smoothed. At the border the nearest pixel counts, also with more
    than three channels.
    """
    height, width = (int(size) for size in new_dims)
    values = np.asarray(im, np.float32)
    if interp_order == 1:
        resized = interpolate(values.transpose(2, 0, 1), height, width)
        return resized.transpose(1, 2, 0).astype(np.float32)
    if interp_order != 0:
        raise UnsupportedError(f"interp_order is {interp_order}; expected 0 or 1")
    rows = ((np.arange(height) + 0.5) * values.shape[0] / height).astype(int)
    columns = ((np.arange(width) + 0.5) * values.shape[1] / width).astype(int)
    return values[rows][:, columns]


def oversample(images: Iterable[np.ndarray], crop_dims: Iterable[int]) -> np.ndarray:
    """Return ten crops of every image: corners, centre, and their mirror images.

    Shapes: images (H, W, C) each, crop_dims (h, w) -> (10 N, h, w, C) float32.
    """
    height, width = (int(size) for size in crop_dims)
    crops = []
    for image in images:
        down, right = image.shape[0] - height, image.shape[1] - width
        corners = [(0, 0), (0, right), (down, 0), (down, right)]
        places = [*corners, (down // 2, right // 2)]
        five = [image[y : y + height, x : x + width] for y, x in places]
        crops += five + [each[:, ::-1] for each in five]
    return np.array(crops, np.float32)


class Transformer:
    """Turns images into what inputs of a net take, and back.

    inputs: shapes (N, C, H, W) by name of the input. What is not set does nothing.
    """

    def __init__(self, inputs: Mapping[str, Sequence[int]]) -> None:
        self.inputs = dict(inputs)
        self.transpose: dict[str, Sequence[int]] = {}
        self.channel_swap: dict[str, Sequence[int]] = {}
        self.raw_scale: dict[str, float] = {}
        self.mean: dict[str, np.ndarray] = {}
        self.input_scale: dict[str, float] = {}

    def preprocess(self, in_: str, data: np.ndarray) -> np.ndarray:
        """Resize, transpose, swap channels, scale, subtract the mean, scale: in order.

        Shapes: data (H', W', C) -> (C, H, W) with the transposition (2, 0, 1).
        """
        self._check(in_)
        values = np.asarray(data).astype(np.float32, copy=False)
        size = tuple(self.inputs[in_][2:])
        if values.shape[:2] != size:
            values = resize_image(values, size)
        if in_ in self.transpose:
            values = values.transpose(self.transpose[in_])
        if in_ in self.channel_swap:
            values = values[self.channel_swap[in_], :, :]
        if in_ in self.raw_scale:
            values = values * self.raw_scale[in_]
        if in_ in self.mean:
            values = values - self.mean[in_]
        if in_ in self.input_scale:
            values = values * self.input_scale[in_]
        return values

    def deprocess(self, in_: str, data: np.ndarray) -> np.ndarray:
        """Undo `preprocess`, but for the size."""
        self._check(in_)
        values = np.array(data).squeeze()
        if in_ in self.input_scale:
            values = values / self.input_scale[in_]
        if in_ in self.mean:
            values = values + self.mean[in_]
        if in_ in self.raw_scale:
            values = values / self.raw_scale[in_]
        if in_ in self.channel_swap:
            values = values[np.argsort(self.channel_swap[in_]), :, :]
        if in_ in self.transpose:
            values = values.transpose(np.argsort(self.transpose[in_]))
        return values

    def set_transpose(self, in_: str, order: Sequence[int]) -> None:
        """Set the order of axes; (2, 0, 1) brings the channels of an image first."""
        self._check(in_)
        if len(order) != len(self.inputs[in_]) - 1:
            raise ShapeError(
                f"transpose of {in_!r} is {tuple(order)}; expected an order of "
                f"{len(self.inputs[in_]) - 1} axes, as an image has no batch axis"
            )
        self.transpose[in_] = tuple(order)

    def set_channel_swap(self, in_: str, order: Sequence[int]) -> None:
        """Set the order of channels; (2, 1, 0) turns RGB to BGR."""
        self._check(in_)
        if len(order) != self.inputs[in_][1]:
            raise ShapeError(
                f"channel_swap of {in_!r} is {tuple(order)}; the input has "
                f"{self.inputs[in_][1]} channels"
            )
        self.channel_swap[in_] = list(order)

    def set_raw_scale(self, in_: str, scale: float) -> None:
        """Set what to multiply by before the mean is subtracted; 255 for `load_image`.

        The mean is in the units after this scale.
        """
        self._check(in_)
        self.raw_scale[in_] = scale

    def set_mean(self, in_: str, mean: np.ndarray) -> None:
        """Set the mean to subtract: a number for every channel, or an image (C, H, W).

        An image of another size than the input is resized.
        """
        self._check(in_)
        values = np.asarray(mean)
        channels, size = self.inputs[in_][1], tuple(self.inputs[in_][2:])
        if values.ndim == 1:
            values = values[:, None, None]
        elif values.ndim == 2:
            values = values[None, :, :]
        if values.ndim != 3 or values.shape[0] not in (1, channels):
            raise ShapeError(
                f"mean of {in_!r} has shape {np.shape(mean)}; expected ({channels},) "
                f"or {(channels, *size)}"
            )
        if values.shape[1:] not in ((1, 1), size):
            values = resize_image(values.transpose(1, 2, 0), size).transpose(2, 0, 1)
        self.mean[in_] = values

    def set_input_scale(self, in_: str, scale: float) -> None:
        """Set what to multiply by after the mean is subtracted."""
        self._check(in_)
        self.input_scale[in_] = scale

    def _check(self, in_: str) -> None:
        if in_ not in self.inputs:
            hint = did_you_mean(in_, self.inputs)
            raise SpecError(f"{in_!r} is no input of this transformer{hint}")


# ---------------------------------------------------------------- messages


def blobproto_to_array(blob: Any, return_diff: bool = False) -> np.ndarray:
    """Return the values, or the gradients, of a `BlobProto`."""
    if return_diff:
        values = np.array(blob.double_diff or blob.diff, np.float32)
    else:
        values = np.array(blob.double_data or blob.data, np.float32)
    old = ("num", "channels", "height", "width")
    if any(blob.HasField(name) for name in old):
        return values.reshape([getattr(blob, name) for name in old])
    return values.reshape(list(blob.shape.dim))


def array_to_blobproto(arr: np.ndarray, diff: np.ndarray | None = None) -> BlobProto:
    """Return a `BlobProto` with the values of an array, and gradients if given."""
    blob = BlobProto()
    blob.shape.dim.extend(arr.shape)
    blob.data.extend(np.asarray(arr, float).reshape(-1).tolist())
    if diff is not None:
        blob.diff.extend(np.asarray(diff, float).reshape(-1).tolist())
    return blob


def arraylist_to_blobprotovector_str(arraylist: Sequence[np.ndarray]) -> bytes:
    """Return arrays as the bytes of a `BlobProtoVector`."""
    vector = BlobProtoVector()
    vector.blobs.extend([array_to_blobproto(each) for each in arraylist])
    return vector.SerializeToString()


def blobprotovector_str_to_arraylist(str: bytes) -> list[np.ndarray]:  # noqa: A002
    """Return the arrays of the bytes of a `BlobProtoVector`."""
    return [blobproto_to_array(each) for each in BlobProtoVector.FromString(str).blobs]


def array_to_datum(arr: np.ndarray, label: int | None = None) -> Datum:
    """Return an image (C, H, W) as a `Datum`: uint8 as bytes, others as floats."""
    if arr.ndim != 3:
        raise ShapeError(f"a datum has 3 axes, channels first; got shape {arr.shape}")
    datum = Datum(channels=arr.shape[0], height=arr.shape[1], width=arr.shape[2])
    if arr.dtype == np.uint8:
        datum.data = arr.tobytes()
    else:
        datum.float_data.extend(np.asarray(arr, float).reshape(-1).tolist())
    if label is not None:
        datum.label = int(label)
    return datum


def datum_to_array(datum: Any) -> np.ndarray:
    """Return the image (C, H, W) of a `Datum`; its label is in `datum.label`."""
    shape = (datum.channels, datum.height, datum.width)
    if len(datum.data):
        return np.frombuffer(datum.data, np.uint8).reshape(shape)
    return np.array(datum.float_data, float).reshape(shape)
