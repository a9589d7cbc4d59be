"""Items of databases: a `Datum` as an array."""

from __future__ import annotations

from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from netspec.errors import FileError, SpecWarning
from netspec.notebooks import warn_user
from netspec.ops.base import count, label
from netspec.schema import Datum, LayerParameter
from runtime.data.images import decode

BYTE_SCALE = 1 / 32  # a scale below it is for bytes, as 1 / 256 is
# What may have been written as bytes by mistake, by the bytes of a value.
_DTYPES = {2: "float16 or int16", 4: "float32 or int32", 8: "float64 or int64"}


def read_datum(value: bytes, what: str) -> Any:
    """Return the `Datum` that an item holds; raises `FileError` where it is none."""
    datum = Datum()
    try:
        datum.ParseFromString(value)
    except DecodeError:
        raise FileError(f"{what}: is no Datum") from None
    return datum


def picture_of(datum: Any, what: str, *, color: bool | None) -> np.ndarray:
    """Return the image of a `Datum`: uint8 of its bytes, float32 of its floats.

    color: of an encoded image, three channels (True), one (False), or as it says
    (None).

    Shapes: -> (C, H, W).

    Raises `FileError` with `what` where the values do not make an image.
    """
    data = datum.data  # a copy of the bytes each time that it is asked for
    if datum.encoded:
        if not data:
            raise FileError(
                f"{what}: encoded is true, but data is empty; write the bytes of an "
                f"image file into data, or leave encoded out"
            )
        return decode(data, what, color=color)
    shape = (datum.channels, datum.height, datum.width)
    if data:
        values = np.frombuffer(data, np.uint8)
    else:
        values = np.array(datum.float_data, np.float32)
    size = count(shape) if min(shape) >= 1 else -1
    if values.size != size:
        raise FileError(f"{what}: {_why(datum, values.size, shape, size)}")
    return values.reshape(shape)


def warn_of_scale(layer: LayerParameter, picture: np.ndarray) -> None:
    """Warn, with `SpecWarning`, where a scale for bytes meets values from 0 to 1.

    picture: the first image of a data layer, before it is transformed.
    """
    scale = layer.transform_param.scale
    if not 0 < scale <= BYTE_SCALE or picture.size == 0:
        return
    largest = float(picture.max())
    if picture.dtype == np.uint8 and largest == 1:
        said = (
            "bytes of 0 and 1 only; if floats from 0 to 1 were cut to bytes, multiply "
            "them by 255 before, or write them into float_data"
        )
    elif picture.dtype != np.uint8 and 0 < largest <= 1 and picture.min() >= -1:
        said = (
            f"floats up to {largest:g}, which this makes smaller still; it is for "
            f"bytes from 0 to 255: leave it out"
        )
    else:
        return
    warn_user(
        f"{label(layer)}: transform_param.scale is {scale:g}, but the first image has "
        f"{said}",
        SpecWarning,
    )


def _why(datum: Any, found: int, shape: tuple[int, ...], size: int) -> str:
    """Return what is wrong with the number of values, and what to do."""
    if not datum.data:
        said = f"{found} values do not make an image of shape {shape}"
        return said if found else f"{said}; data and float_data are both empty"
    dtype = _DTYPES.get(found // size) if size > 0 and found % size == 0 else None
    if dtype is not None:
        return (
            f"data has {found} bytes for {size} values of shape {shape}, as if values "
            f"of {dtype} had been written; data takes one byte a value (uint8), and "
            f"floats go into float_data"
        )
    encoded = "; if it is a whole image file, set encoded: true"
    return f"{found} values do not make an image of shape {shape}{encoded}"
