"""A grid of images: as an array, as a file, and in a notebook."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from netspec.errors import FileError, MachineError, SpecError, did_you_mean
from netspec.files import replacing
from runtime.html import Markup, escaped, line, output

Channels: TypeAlias = Literal["bgr", "rgb", "gray"] | str
Scale: TypeAlias = Literal["each", "all"] | str

GAP = 2  # pixels between images
BETWEEN = (92, 110, 140)  # the colour there, which no grey image has
WIDE = 2.0  # of a grid, its width over its height
LARGE = 560  # pixels that a small grid is enlarged to
MOST_ZOOM = 12
SHOWN = 160  # pixels of a side of an image with a caption, at most
SHOWN_GRID = 800  # and of a whole grid in a notebook
PHOTO = 64  # larger ones are JPEG in a notebook, which is a tenth of PNG
LETTER, LINE = 6, 12  # pixels of Pillow's own font
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")


class Grid:
    """Images side by side; a notebook shows it, and `save` writes it to a file.

    tiles: the images, uint8.
    captions: a text below each, or none.
    title: what they are. notes: what was left out, or how values became colours.
    array: the whole grid, uint8, without captions.

    Shapes: tiles (n, height, width, 3), array (height, width, 3).
    """

    def __init__(
        self,
        tiles: np.ndarray,
        *,
        title: str = "",
        captions: Sequence[str] = (),
        notes: Sequence[str] = (),
        columns: int | None = None,
    ) -> None:
        self.tiles, self.title = tiles, title
        self.captions, self.notes = tuple(captions), tuple(notes)
        count, height, width = tiles.shape[:3]
        fitting = math.ceil(math.sqrt(count * WIDE * height / width))
        self.columns = max(1, min(count, columns or fitting))
        self.zoom = _zoom(self.columns, width)

    @property
    def rows(self) -> int:
        """The number of rows."""
        return -(-len(self.tiles) // self.columns)

    @property
    def array(self) -> np.ndarray:
        """The grid as RGB, enlarged by a whole factor where the images are small."""
        return self._laid(0)

    def _laid(self, below: int) -> np.ndarray:
        """Return the grid, with room for a caption below each image."""
        zoom = self.zoom
        tiles = self.tiles.repeat(zoom, axis=1).repeat(zoom, axis=2)
        _, height, width, _ = tiles.shape
        step = (height + below + GAP, width + GAP)
        size = (self.rows * step[0] - GAP, self.columns * step[1] - GAP)
        grid = np.empty((*size, 3), np.uint8)
        grid[...] = 255 if below else BETWEEN
        for number, tile in enumerate(tiles):
            row, column = divmod(number, self.columns)
            top, left = row * step[0], column * step[1]
            grid[top : top + height, left : left + width] = tile
        return grid

    def save(self, path: str | Path) -> None:
        """Write the grid, with captions below the images, in the format of the suffix.

        Raises `SpecError` for a suffix of no format, `FileError` where the file cannot
        be written, `MachineError` without Pillow.
        """
        suffix = Path(path).suffix.lower()
        if suffix not in SUFFIXES:
            raise SpecError(
                f"{path}: a picture's file must end in {', '.join(SUFFIXES)}"
                f"{did_you_mean(suffix, SUFFIXES)}"
            )
        image = self._picture()
        kind = {"jpg": "JPEG", "tif": "TIFF"}.get(suffix[1:], suffix[1:].upper())
        try:
            with replacing(path) as file:
                image.save(file, format=kind)
        except OSError as error:
            if isinstance(error, FileError):
                raise
            raise FileError(f"{path}: cannot be written: {error}") from error

    def _picture(self) -> Any:
        """Return the grid as an image of Pillow, with its captions."""
        image = pillow().Image.fromarray(self._laid(LINE if any(self.captions) else 0))
        if any(self.captions):
            self._write_captions(image)
        return image

    def _write_captions(self, image: Any) -> None:
        draw = pillow().ImageDraw.Draw(image)
        _, height, width, _ = self.tiles.shape
        high, wide = height * self.zoom, width * self.zoom
        room = max(1, wide // LETTER)
        for number, caption in enumerate(self.captions):
            row, column = divmod(number, self.columns)
            top = row * (high + LINE + GAP) + high
            left = column * (wide + GAP)
            text = caption if len(caption) <= room else f"{caption[: room - 1]}."
            # The font that needs no file has Latin letters only.
            plain = text.encode("latin-1", "replace").decode("latin-1")
            draw.text((left, top), plain, fill=(0, 0, 0), font=_font())

    def _repr_png_(self) -> bytes:
        image = self._picture()
        image.thumbnail((SHOWN_GRID, SHOWN_GRID))
        return encoded(image, "PNG")

    def _repr_html_(self) -> str:
        parts = [line(Markup(f"<b>{escaped(self.title)}</b>"))] if self.title else []
        if any(self.captions):
            parts.append(self._figures())
        else:
            image = pillow().Image.fromarray(self.array)
            image.thumbnail((SHOWN_GRID, SHOWN_GRID))
            photo = self.tiles.shape[1] > PHOTO
            parts.append(_shown(image, photo, alt=self.title))
        parts += [line(note, "faint") for note in self.notes]
        return output(*parts)

    def _figures(self) -> Markup:
        made = pillow().Image
        zoom = _zoom(self.columns, self.tiles.shape[2])
        figures = []
        for tile, caption in zip(self.tiles, self.captions, strict=True):
            image = made.fromarray(tile)
            image.thumbnail((SHOWN, SHOWN))
            width = image.width * zoom
            shown = _shown(image, max(image.size) > PHOTO, alt=caption, width=width)
            figures.append(
                f'<div style="width: {max(width, 48)}px; overflow-wrap: anywhere">'
                f"{shown}<div>{escaped(caption)}</div></div>"
            )
        return Markup(
            '<div style="display: flex; flex-wrap: wrap; gap: 6px; '
            f'align-items: flex-start">{"".join(figures)}</div>'
        )

    def __repr__(self) -> str:
        height, width = self.array.shape[:2]
        title = f" of {self.title}" if self.title else ""
        return f"<Grid of {len(self.tiles)} images{title}, {width} x {height} pixels>"


def pillow() -> Any:
    """Return Pillow.

    Raises `MachineError` where it is missing.
    """
    try:
        import PIL
        import PIL.Image
        import PIL.ImageDraw
        import PIL.ImageFont
    except ImportError as error:
        raise MachineError(
            "grids of images as pictures need Pillow, which is not installed; install "
            "the extra netspec[data], or take `.array`"
        ) from error
    return PIL


def encoded(image: Any, kind: str) -> bytes:
    """Return an image of Pillow as the bytes of a file."""
    file = io.BytesIO()
    image.save(file, format=kind, **({"quality": 90} if kind == "JPEG" else {}))
    return file.getvalue()


def _font() -> Any:
    fonts = pillow().ImageFont
    # Since Pillow 10.1 the default is another font, which needs FreeType.
    return getattr(fonts, "load_default_imagefont", fonts.load_default)()


def _shown(image: Any, photo: bool, *, alt: str, width: int | None = None) -> Markup:
    kind = "JPEG" if photo else "PNG"
    data = base64.b64encode(encoded(image, kind)).decode()
    size = f"width: {width}px; " if width else ""
    return Markup(
        f'<img alt="{escaped(alt)}" src="data:image/{kind.lower()};base64,{data}" '
        f'style="{size}max-width: 100%; image-rendering: {_rendering(photo)}">'
    )


def _rendering(photo: bool) -> str:
    return "auto" if photo else "pixelated"


def _zoom(columns: int, width: int) -> int:
    return max(1, min(MOST_ZOOM, LARGE // (columns * (width + GAP))))
