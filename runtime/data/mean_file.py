"""Mean files: the image that a data layer subtracts, read and checked."""

from __future__ import annotations

from typing import Any

import numpy as np

from netspec.errors import FileError, SpecError, TextError
from netspec.files import read_bytes
from netspec.ops.base import Shape, count, label
from netspec.schema import BlobProto, LayerParameter
from netspec.text import read_message

NUMPY_SIGNATURE = b"\x93NUMPY"  # how every .npy file begins
MAKE_ONE = "make one with: python -m runtime.data mean SOURCE -o mean.binaryproto"


def read_any_mean(layer: LayerParameter, path: str) -> np.ndarray:
    """Return the mean image of a file, whatever its shape.

    Shapes: -> (C, H, W) float32, or fewer axes.

    Raises `FileError` for a file that cannot be read or is no mean image.
    """
    try:
        if read_bytes(path, len(NUMPY_SIGNATURE)) == NUMPY_SIGNATURE:
            raise FileError(
                f"{path}: is a NumPy array; a mean file is a BlobProto, which "
                f"runtime.pycaffe.io.array_to_blobproto makes of an array (C, H, W)"
            )
        mean = blob_array(read_message(path, BlobProto), path)
        if mean.ndim > 3 and count(mean.shape, 0, -3) != 1:
            raise FileError(
                f"{path}: has shape {mean.shape}, which is no single image: num must "
                f"be 1; {MAKE_ONE}"
            )
    except (FileError, TextError) as error:
        raise FileError(f"{label(layer)}: mean_file {error}") from error
    return mean.reshape(mean.shape[-3:]) if mean.ndim > 3 else mean


def read_mean_file(layer: LayerParameter, images: Shape) -> np.ndarray:
    """Return the mean image of `transform_param.mean_file`.

    images: the shape (C, H, W) of the images before they are cropped, and of the mean.

    Shapes: -> (C, H, W) float32.

    Raises `FileError` for a file that cannot be read or is no mean image, `SpecError`
    for the mean of images of another shape.
    """
    path = layer.transform_param.mean_file
    mean = read_any_mean(layer, path)
    if mean.shape != images:
        crop = layer.transform_param.crop_size
        raise SpecError(
            f"mean_file {path} has shape {mean.shape}, the images {images} (channels, "
            f"height, width); {_way(mean, images, crop)}",
            layer=label(layer),
        )
    return mean


def _way(mean: np.ndarray, images: Shape, crop: int) -> str:
    """Return what to do about the mean of images of another shape."""
    shape, channels = mean.shape, images[0]
    if shape == (channels, crop, crop):
        return (
            f"a mean is subtracted before images are cropped to crop_size {crop}, so "
            f"it is of whole images: {MAKE_ONE}"
        )
    if shape == (*images[1:], channels):
        return "its channels come last; write transpose(2, 0, 1) of it"
    if mean.size == channels:
        values = " ".join(f"mean_value: {value:g}" for value in mean.reshape(-1))
        return f"for one value a channel write {values}"
    return f"they must be equal: resize the images, or {MAKE_ONE}"


def blob_array(blob: Any, path: str) -> np.ndarray:
    """Return the values of a `BlobProto` in its shape, float32."""
    legacy = (blob.num, blob.channels, blob.height, blob.width)
    shape = tuple(blob.shape.dim) if blob.HasField("shape") else legacy
    values = np.array(blob.double_data or blob.data, np.float32)
    if not blob.HasField("shape"):
        names = ("num", "channels", "height", "width")
        missing = [name for name in names if not blob.HasField(name)]
        if missing:
            given = ", ".join(
                f"{name} {getattr(blob, name)}" for name in names if name not in missing
            )
            raise FileError(
                f"{path}: has {values.size} values and {given or 'no shape'}, but no "
                f"{', '.join(missing)}; for one image set num to 1 and all of "
                f"channels, height and width"
            )
    try:
        return values.reshape(shape)
    except ValueError:
        raise FileError(
            f"{path}: {values.size} values do not make an array of shape {shape}"
        ) from None
