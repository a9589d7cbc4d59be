"""The mean image of a database or of a list of images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from netspec.errors import FileError, SpecError
from netspec.schema import BlobProto
from netspec.text import write_message
from netspec.text.messages import is_binary
from runtime.data.convert import Advance
from runtime.data.datum import picture_of, read_datum
from runtime.data.images import decode
from runtime.data.lists import read_labelled
from runtime.data.lmdb_file import LmdbFile


class Pictures:
    """The images of a database or of a list, one after the other.

    source: the folder of an LMDB database or its file, or a list with a path and a
    label on every line. root: put in front of the paths of a list. color: three
    channels (True), one (False), or as an image says (None, which in a list is three).
    size: height and width to which the images of a list are resized.

    Raises `FileError` for what cannot be read, `SpecError` for options that a database
    cannot take.
    """

    def __init__(
        self,
        source: str | Path,
        *,
        root: str = "",
        color: bool | None = None,
        size: tuple[int, int] | None = None,
    ) -> None:
        self._source, self._root = str(source), root
        self._color, self._size = color, size
        self._file: LmdbFile | None = None
        self._lines: Sequence[tuple[str, int]] = ()
        if not _is_list(Path(source)):
            if root or size:
                raise SpecError(
                    f"{source}: is a database, whose images are as they are; --root "
                    f"and --size are for lists of images"
                )
            self._file = LmdbFile(self._source, f"database {source}")
            if self._file.entries == 0:
                raise FileError(f"database {source} is empty")
        else:
            self._lines = read_labelled(source, "mean", root)

    def __len__(self) -> int:
        return len(self._lines) if self._file is None else self._file.entries

    def __iter__(self) -> Iterator[tuple[str, np.ndarray]]:
        """Yield what an image is called, and the image (C, H, W)."""
        if self._file is None:
            color = self._color is not False
            for name, _ in self._lines:
                path = Path(self._root + name)
                yield (
                    str(path),
                    decode(path, str(path), color=color, size=self._size),
                )
            return
        for number in range(self._file.entries):
            key, value = self._file.item(number)
            what = f"database {self._source}, key {key.decode(errors='replace')!r}"
            datum = read_datum(value, what)
            self._check_channels(datum, what)
            yield what, picture_of(datum, what, color=self._color)

    def _check_channels(self, datum: Any, what: str) -> None:
        """Refuse a wish for channels that raw values, which stay as they are, lack."""
        wanted = {True: 3, False: 1, None: datum.channels}[self._color]
        if not datum.encoded and datum.channels != wanted:
            raise SpecError(
                f"{what}: holds raw values of {datum.channels} channels, which "
                f"{'--color' if self._color else '--gray'} cannot change; leave it out"
            )

    def close(self) -> None:
        """Close the database."""
        if self._file is not None:
            self._file.close()


@dataclass(frozen=True)
class Mean:
    """A mean image and how many images it is of.

    Shapes: values (C, H, W) float64.
    """

    values: np.ndarray
    count: int

    @property
    def channels(self) -> list[float]:
        """The mean of each channel, as `mean_value` takes them."""
        return [float(channel.mean()) for channel in self.values]


def mean_of(pictures: Pictures, advance: Advance = lambda count: None) -> Mean:
    """Return the mean of images of one size, added up in float64.

        mean = (x_1 + ... + x_M) / M

    Each image is let go before the next one is read. `advance` is called after each.

    Shapes: images (C, H, W) -> (C, H, W).

    Raises `FileError` for an image of another size than the first, or values that are
    not finite.
    """
    total = np.empty(0)
    for number, (what, picture) in enumerate(pictures):
        if number == 0:
            total = np.zeros(picture.shape, np.float64)
        if picture.shape != total.shape:
            raise FileError(
                f"{what}: has shape {picture.shape}, the first image {total.shape}; a "
                f"mean image needs images of one size: resize them (--size HEIGHT "
                f"WIDTH for a list; --gray or --color where channels differ), or give "
                f"mean_value in the net instead of a mean_file"
            )
        if picture.dtype.kind == "f" and not np.isfinite(picture).all():
            raise FileError(f"{what}: has values that are not finite")
        np.add(total, picture, out=total)
        advance(1)
    return Mean(total / len(pictures), len(pictures))


def check_mean_place(path: Path, *, force: bool) -> None:
    """Refuse a name of a text file, and to replace a file without `force`."""
    if not is_binary(path):
        raise SpecError(
            f"{path}: a mean file is binary; give it a name that ends in .binaryproto"
        )
    if path.exists() and not force:
        raise FileError(f"{path}: exists already; remove it, or write with --force")


def write_mean(path: Path, mean: Mean) -> None:
    """Write a mean image as `mean_file` reads it, in the form of Caffe's tools.

    Shapes: num 1, channels C, height H, width W.
    """
    channels, height, width = mean.values.shape
    blob = BlobProto(num=1, channels=channels, height=height, width=width)
    blob.data.extend(mean.values.astype(np.float32).reshape(-1).tolist())
    write_message(path, blob)


def _is_list(source: Path) -> bool:
    if source.is_dir():
        return False
    if not source.exists():
        raise FileError(f"{source}: no such database or list")
    try:
        with source.open("rb") as file:
            return b"\0" not in file.read(4096)
    except OSError as error:
        raise FileError(f"{source}: cannot be read: {error.strerror}") from error
