"""Image files as arrays, through Pillow."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from netspec.errors import FileError, MachineError


def decode(
    data: bytes | Path,
    what: str,
    *,
    color: bool | None,
    size: tuple[int, int] | None = None,
) -> np.ndarray:
    """Return an image (C, H, W), uint8, its channels in the order blue, green, red.

    color: three channels (True), one (False), or as the file says (None).
    size: height and width to resize to, bilinearly.

    Raises `FileError` with `what` for data that is no image.
    """
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise MachineError(
            f"{what}: reading images needs Pillow; install the extra netspec[data]"
        ) from error
    source = data if isinstance(data, Path) else io.BytesIO(data)
    try:
        with Image.open(source) as image:
            gray = color is False or (
                color is None and image.mode in ("1", "L", "I;16")
            )
            picture = image.convert("L" if gray else "RGB")
    except (UnidentifiedImageError, OSError) as error:
        raise FileError(f"{what}: cannot be read as an image: {error}") from None
    if size is not None and (picture.height, picture.width) != size:
        picture = picture.resize(size[::-1], Image.Resampling.BILINEAR)
    pixels = np.asarray(picture)
    if pixels.ndim == 2:
        return pixels[None]
    return pixels[:, :, ::-1].transpose(2, 0, 1)
