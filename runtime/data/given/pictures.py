"""Pictures with a label each: databases, folders of images, lists of images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from netspec.errors import FileError, SpecError
from runtime.data.datum import picture_of, read_datum
from runtime.data.given.base import Item, Rows
from runtime.data.given.field import Field
from runtime.data.given.items import put
from runtime.data.given.values import Numbers
from runtime.data.images import decode
from runtime.data.lists import read_labelled
from runtime.data.lmdb_file import LmdbFile
from runtime.data.source import Arrays

IMAGES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")


class PictureRows(Rows):
    """Items that are a picture and, where the net has a second input, its label."""

    costly = True

    def __init__(self, fields: Sequence[Field], what: str, *, keep_size: bool) -> None:
        if len(fields) > 2:
            raise SpecError(
                f"{what} gives a picture and a label, but the net has "
                f"{len(fields)} inputs: {', '.join(f.name for f in fields)}"
            )
        self._fields = tuple(fields)
        item = fields[0].item
        if len(item) != 3 or item[0] not in (1, 3):
            raise SpecError(
                f"{what} gives pictures, but input {fields[0].name!r} takes items of "
                f"shape {item}; expected (3, height, width), or 1 channel for grey ones"
            )
        self.color = item[0] == 3
        self.size = None if keep_size else (item[1], item[2])

    def read(self, numbers: Numbers, out: Arrays) -> None:
        """Write items into `out`, one by one."""
        for place, number in enumerate(numbers):
            put(self._fields, self.item(int(number)), out, place, int(number))

    def _item(self, picture: np.ndarray, label: int) -> Item:
        item = (picture, np.asarray(label, np.float32))
        return item[: len(self._fields)]


class ImageRows(PictureRows):
    """Image files, decoded to the size of the input.

    keep_size: leave them as large as they are, for a transform that makes the size.
    """

    def __init__(
        self,
        fields: Sequence[Field],
        files: Sequence[tuple[Path, int]],
        what: str,
        *,
        keep_size: bool,
        classes: Sequence[str] = (),
    ) -> None:
        super().__init__(fields, what, keep_size=keep_size)
        self._what = what
        self._files, self.count, self.classes = files, len(files), tuple(classes)

    def sized(self, *, keep_size: bool) -> ImageRows:
        """Return the same images, as large as they are or as the input."""
        if keep_size == (self.size is None):
            return self
        how: dict[str, Any] = {"keep_size": keep_size, "classes": self.classes}
        return ImageRows(self._fields, self._files, self._what, **how)

    def item(self, number: int) -> Item:
        """Decode image `number`, uint8, its channels blue, green, red."""
        path, label = self._files[number]
        picture = decode(path, f"image {path}", color=self.color, size=self.size)
        return self._item(picture, label)


def folder_rows(path: Path, fields: Sequence[Field], *, keep_size: bool) -> ImageRows:
    """Return the images of a folder that has a folder for each class.

    Classes are numbered in the order of their names, images are sorted by theirs. Where
    no label is wanted, all images in the folder are meant, wherever in it they are.

    Raises `FileError` for a folder without images.
    """
    if len(fields) == 1:
        return image_rows(path, fields, keep_size=keep_size)
    folders = sorted(one for one in path.iterdir() if _is_class(one))
    if not folders:
        raise FileError(
            f"{path} is neither an LMDB database (it has no data.mdb) nor a folder of "
            f"images: expected a folder for each class in it"
        )
    files: list[tuple[Path, int]] = []
    for label, folder in enumerate(folders):
        found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGES)
        if not found:
            raise FileError(
                f"{folder} has no images; expected files that end "
                f"in {', '.join(IMAGES)}"
            )
        files.extend((one, label) for one in found)
    names = [folder.name for folder in folders]
    return ImageRows(fields, files, str(path), keep_size=keep_size, classes=names)


def image_rows(path: Path, fields: Sequence[Field], *, keep_size: bool) -> ImageRows:
    """Return an image, or all below a folder in the order of their paths, unlabelled.

    Raises `FileError` where there is none.
    """
    found = (
        sorted(p for p in path.rglob("*") if is_image(p)) if path.is_dir() else [path]
    )
    if not found:
        raise FileError(
            f"{path} has no images and is no LMDB database; expected files that end in "
            f"{', '.join(IMAGES)}"
        )
    files = [(one, 0) for one in found]
    return ImageRows(fields, files, str(path), keep_size=keep_size)


def is_image(path: Path) -> bool:
    """Tell whether a file is called like an image."""
    return path.suffix.lower() in IMAGES


def _is_class(path: Path) -> bool:
    return path.is_dir() and not path.name.startswith((".", "__"))


def list_rows(path: Path, fields: Sequence[Field], *, keep_size: bool) -> ImageRows:
    """Return the images that a text file lists: a path and a label on every line.

    Paths are looked for from the current folder, and then from that of the list.
    """
    lines = read_labelled(path, "the data")
    root = Path()
    if not Path(lines[0][0]).is_file() and (path.parent / lines[0][0]).is_file():
        root = path.parent
    files = [(root / name, label) for name, label in lines]
    return ImageRows(fields, files, str(path), keep_size=keep_size)


class DatabaseRows(PictureRows):
    """Items of an LMDB database, in the order of its keys.

    Pictures keep their sizes. A database is read by one thread.
    """

    costly = False
    alone = True

    def __init__(self, fields: Sequence[Field], path: Path, *, shuffled: bool) -> None:
        what = f"database {path}"
        super().__init__(fields, what, keep_size=True)
        self._what, self._file = what, LmdbFile(str(path), what)
        self.count = self._file.entries
        if not self.count:
            raise FileError(f"{what} is empty")
        if shuffled:
            self._file.index()

    def item(self, number: int) -> Item:
        """Return the picture and the label of item `number`."""
        key, value = self._file.item(number)
        said = f"{self._what}, key {key.decode(errors='replace')!r}"
        datum = read_datum(value, said)
        color = self.color if datum.encoded else None
        return self._item(picture_of(datum, said, color=color), datum.label)

    def close(self) -> None:
        """Close the database."""
        self._file.close()
