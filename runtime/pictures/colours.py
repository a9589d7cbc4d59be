"""From values to the colours of images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from netspec.errors import SpecError, did_you_mean
from runtime.pictures.grid import Channels, Scale

ORDERS = ("bgr", "rgb", "gray")
SCALES = ("each", "all")


def check_channels(channels: Channels) -> None:
    """Raise `SpecError` for an order of channels that is none."""
    if channels not in ORDERS:
        raise SpecError(
            f"channels is {channels!r}{did_you_mean(str(channels), ORDERS)}; expected "
            f"'bgr' (Caffe's images), 'rgb', or 'gray' for each channel by itself"
        )


def check_scale(scale: Scale) -> None:
    """Raise `SpecError` for a scale that is none."""
    if scale not in SCALES:
        raise SpecError(
            f"scale is {scale!r}{did_you_mean(str(scale), SCALES)}; expected 'each', "
            f"so that every image has its own black and white, or 'all'"
        )


def check_number(n: int, what: str = "n") -> int:
    """Return a number of images.

    Raises `SpecError` for one that is not above 0.
    """
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
        raise SpecError(f"{what} is {n!r}; expected a whole number above 0")
    return int(n)


def around_zero(values: np.ndarray, scale: Scale) -> np.ndarray:
    """Return 0 as grey, the largest absolute value as black or white, as uint8.

    Shapes: values (n, ...) -> the same. NaN is 0.
    """
    values = np.nan_to_num(np.asarray(values, np.float64), posinf=0, neginf=0)
    axes = tuple(range(1, values.ndim)) if scale == "each" else None
    most = np.abs(values).max(axis=axes, keepdims=True)
    share = values / np.where(most > 0, most, 1)
    return np.rint(127.5 + 127.5 * share).astype(np.uint8)


def from_least(values: np.ndarray, scale: Scale) -> np.ndarray:
    """Return the least value as black and the largest as white, as uint8.

    Shapes: values (n, ...) -> the same. Equal values are black.
    """
    values = np.nan_to_num(np.asarray(values, np.float64), posinf=0, neginf=0)
    axes = tuple(range(1, values.ndim)) if scale == "each" else None
    least = values.min(axis=axes, keepdims=True)
    room = values.max(axis=axes, keepdims=True) - least
    share = (values - least) / np.where(room > 0, room, 1)
    return np.rint(255 * share).astype(np.uint8)


def colour_tiles(pixels: np.ndarray, channels: Channels) -> np.ndarray:
    """Return images of one or three channels as RGB.

    Shapes: pixels (n, 1 or 3, h, w) -> (n, h, w, 3).
    """
    moved = np.moveaxis(pixels, 1, -1)
    if moved.shape[-1] == 1:
        return np.repeat(moved, 3, axis=-1)
    return moved[..., ::-1] if channels == "bgr" else moved


def grey_tiles(pixels: np.ndarray) -> np.ndarray:
    """Return planes as RGB.

    Shapes: pixels (n, h, w) -> (n, h, w, 3).
    """
    return np.repeat(pixels[..., None], 3, axis=-1)


def planes(values: np.ndarray) -> np.ndarray:
    """Return an array with any axes as planes, the last two of them.

    Shapes: (n) -> (1, 1, n); (h, w) -> (1, h, w); (..., h, w) -> (product, h, w).
    """
    if values.ndim < 2:
        return values.reshape(1, 1, -1)
    return values.reshape(-1, *values.shape[-2:])


def cut_note(shown: int, count: int, what: str, n: str = "n") -> Sequence[str]:
    """Return what to say where not all is shown."""
    if shown >= count:
        return ()
    return (f"{shown:,} of {count:,} {what} are shown; {n}={count} shows all",)


def finite_note(values: np.ndarray) -> Sequence[str]:
    """Return what to say of values that are not finite, which are shown as 0."""
    bad = int(values.size - np.isfinite(values).sum())
    said = f"{bad:,} of {values.size:,} values are not finite, and shown as 0"
    return (said,) if bad else ()
