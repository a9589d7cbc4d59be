"""Image files as arrays, through Pillow."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from netspec.errors import FileError, MachineError
from netspec.room import check_room

RESIZED_BYTES = 3 * 2 * 8  # of a pixel while an image is resized: three channels
DECODED_BYTES = 4 + 3  # of a pixel: as Pillow holds it, and as an array
GRAY_MODES = ("1", "L", "I", "I;16", "I;16B")  # Pillow's names of images of one channel


def decode(
    data: bytes | Path,
    what: str,
    *,
    color: bool | None,
    size: tuple[int, int] | None = None,
) -> np.ndarray:
    """Return an image (C, H, W), uint8, its channels in the order blue, green, red.

    color: three channels (True), one (False), or as the file says (None).
    size: height and width to resize to.

    Raises `FileError` with `what` for data that is no image.
    """
    if size is not None:
        check_room(RESIZED_BYTES * size[0] * size[1], f"{what}: resizing it to {size}")

    pixels = _decoded(data, what, lambda image: _pixels(image, color))
    pixels = pixels[:, :, ::-1].transpose(2, 0, 1)
    return pixels if size is None else resize(pixels, *size)


def _pixels(image: Any, color: bool | None) -> np.ndarray:
    """Return the pixels of an opened image, (H, W, C), red first."""
    gray = color is False or (color is None and image.mode in GRAY_MODES)
    if image.mode.startswith("I"):
        # Two bytes a pixel: OpenCV keeps the upper one, Pillow would clip.
        high = np.asarray(image, np.int64) >> 8
        image = _from_gray(high.clip(0, 255).astype(np.uint8))
    return np.atleast_3d(np.asarray(image.convert("L" if gray else "RGB")))


def frames_of(data: Path, what: str) -> int:
    """Return how many frames an image file has; raises what `decode` raises."""
    found = _decoded(data, what, lambda image: np.array(getattr(image, "n_frames", 1)))
    return int(found)


def decode_frame(data: Path, what: str, frame: int, *, color: bool) -> np.ndarray:
    """Return a frame of an image file, as `decode` returns an image."""

    def read(image: Any) -> np.ndarray:
        image.seek(frame)
        return _pixels(image, color)

    return _decoded(data, what, read)[:, :, ::-1].transpose(2, 0, 1)


def decode_labels(data: Path, what: str) -> np.ndarray:
    """Return the labels that an image file holds, one channel or a palette.

    Of a palette the indices; of pixels of one bit 0 and 255. Shapes: -> (H, W), whole
    numbers.

    Raises `FileError` with `what` for a file that is no image, or has colours.
    """

    def labels_of(image: Any) -> np.ndarray:
        if image.mode == "P" or image.mode in GRAY_MODES:
            values = np.asarray(image)
            return values * 255 if values.dtype == bool else values
        colors = np.asarray(image.convert("RGB"))
        if (colors != colors[:, :, :1]).any():
            raise FileError(
                f"{what}: has colours; labels are an image of one channel, or one with "
                f"a palette whose indices are the labels"
            )
        return colors[:, :, 0]

    return _decoded(data, what, labels_of)


def _from_gray(pixels: np.ndarray) -> Any:
    from PIL import Image

    return Image.fromarray(pixels)


def _decoded(
    data: bytes | Path, what: str, read: Callable[[Any], np.ndarray]
) -> np.ndarray:
    """Open an image and read it; raises `FileError` for data that is no image."""
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise MachineError(
            f"{what}: reading images needs Pillow; install the extra netspec[data]"
        ) from error
    # Pillow lets through what its parsers of broken files stumble over.
    broken = (OSError, SyntaxError, ValueError, struct.error, EOFError, IndexError)
    source = data if isinstance(data, Path) else io.BytesIO(data)
    try:
        with Image.open(source) as image:
            pixels_there = image.width * image.height
            check_room(DECODED_BYTES * pixels_there, f"{what}: decoding {image.size}")
            return read(image)
    except FileError:
        raise
    except UnidentifiedImageError:
        raise FileError(f"{what}: is no image of a known format") from None
    except (*broken, Image.DecompressionBombError) as error:
        raise FileError(f"{what}: cannot be read as an image: {error}") from None
    except MemoryError:
        raise MachineError(f"{what}: there is not enough memory to decode it") from None


def resize(images: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize to whole values from 0 to 255; see `interpolate`.

    Shapes: images (..., H, W), values 0 to 255 -> (..., height, width) uint8.
    """
    if images.shape[-2:] == (height, width) and images.dtype == np.uint8:
        return images
    return np.rint(interpolate(images, height, width)).astype(np.uint8)


def interpolate(images: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize by bilinear interpolation between the centres of pixels.

        y[i, j] = interpolated x at ((i + 1/2) H / height - 1/2,
                                     (j + 1/2) W / width - 1/2)

    As in Caffe, which uses OpenCV, the four nearest pixels count alone: an image that
    is made much smaller is sampled, not averaged.

    Shapes: images (..., H, W) -> (..., height, width) float64.
    """
    top, bottom, down = _neighbours(images.shape[-2], height)
    rows = (
        images[..., top, :] * (1 - down)[:, None]
        + images[..., bottom, :] * down[:, None]
    )  # (..., height, W)
    left, right, across = _neighbours(images.shape[-1], width)
    interpolated: np.ndarray = rows[..., left] * (1 - across)
    interpolated += rows[..., right] * across
    return interpolated


def _neighbours(size: int, new: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the indices before and after each new place, and its share of the latter.

    At the border the nearest pixel counts alone.
    """
    places = (np.arange(new) + 0.5) * size / new - 0.5
    places = places.clip(0, size - 1)
    before = places.astype(np.intp)
    after = np.minimum(before + 1, size - 1)
    return before, after, places - before
