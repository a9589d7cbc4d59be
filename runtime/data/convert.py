"""Data sets as LMDB databases or HDF5 files that data layers read."""

from __future__ import annotations

import gzip
import io
import itertools
import math
import shutil
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np

from netspec.errors import FileError, MachineError, SpecError
from netspec.files import make_folder, read_bytes, replacing
from netspec.ops.base import Shape
from netspec.room import check_room
from netspec.schema import Datum
from runtime.data.images import decode, resize

Format: TypeAlias = Literal["lmdb", "hdf5"]
# Takes how many more items are written.
Advance: TypeAlias = Callable[[int], object]

DIGITS_SPLIT_SEED = 0  # of the order in which the digits are dealt out
DIGITS_HELD_OUT = 360  # of 1,797
IMAGE_SIDE = 28  # pixels, as LeNet expects
IDX_IMAGES, IDX_LABELS = 0x803, 0x801  # magic numbers of the idx format
COMMIT_ITEMS = 500  # items of a transaction
PAGE_BYTES = 4096  # of LMDB; an item that fills many leaves part of the last one empty


@dataclass(frozen=True)
class Images:
    """Labelled images: pixels (M, C, H, W) uint8, labels (M) int."""

    pixels: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, chosen: Any) -> Images:
        return Images(self.pixels[chosen], self.labels[chosen])

    @property
    def shape(self) -> Shape:
        """Channels, height and width."""
        return self.pixels.shape[1:]

    def picture(self, index: int) -> np.ndarray:
        """Return an image (C, H, W)."""
        return self.pixels[index]


class ListedImages:
    """Image files with labels, opened one by one as they are asked for.

    color: three channels, or one. size: height and width to resize to.

    Raises `FileError` for a file that is no image, or has another size than the first.
    """

    def __init__(
        self,
        lines: Sequence[tuple[str, int]],
        root: str = "",
        *,
        color: bool = True,
        size: tuple[int, int] | None = None,
    ) -> None:
        self._paths = [Path(root + path) for path, _ in lines]
        self._color, self._size = color, size
        self.labels = np.array([number for _, number in lines], np.int64)
        self.shape: Shape = self._decoded(0).shape

    def __len__(self) -> int:
        return len(self._paths)

    def picture(self, index: int) -> np.ndarray:
        """Return an image (C, H, W)."""
        picture = self._decoded(index)
        if picture.shape != self.shape:
            raise FileError(
                f"{self._paths[index]}: has shape {picture.shape}, the first image "
                f"{self.shape}; give --size to make them equal"
            )
        return picture

    def in_memory(self) -> Images:
        """Return all of them at once."""
        pictures = [self.picture(index) for index in range(len(self))]
        return Images(np.stack(pictures), self.labels)

    def _decoded(self, index: int) -> np.ndarray:
        path = self._paths[index]
        return decode(path, str(path), color=self._color, size=self._size)


def digits() -> tuple[Images, Images]:
    """Return the handwritten digits of scikit-learn, to train with and held out.

    1,797 real images of 8 by 8 pixels and 17 grey levels (Alpaydin and Kaynak, 1998),
    enlarged to 28 by 28 by bilinear interpolation with 256 levels, in a fixed random
    order; the last 360 are held out.

    Shapes: pixels (1437, 1, 28, 28) and (360, 1, 28, 28).
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise MachineError(
            "the digits are bundled with scikit-learn; install the extra netspec[demo]"
        ) from error
    bunch = load_digits()
    pixels = resize(bunch.images * (255 / 16), IMAGE_SIDE, IMAGE_SIDE)
    order = np.random.default_rng(DIGITS_SPLIT_SEED).permutation(len(pixels))
    everything = Images(pixels[:, None], bunch.target.astype(np.int64))
    train, held_out = order[:-DIGITS_HELD_OUT], order[-DIGITS_HELD_OUT:]
    return everything[train], everything[held_out]


def read_idx(images: str | Path, labels: str | Path) -> Images:
    """Read MNIST's idx files, plain or gzipped.

    Raises `FileError` for files that are none or do not belong together.
    """
    pixels = _idx(images, IDX_IMAGES, "images")
    numbers = _idx(labels, IDX_LABELS, "labels")
    if len(pixels) != len(numbers):
        raise FileError(
            f"{images} has {len(pixels)} images, {labels} {len(numbers)} labels; they "
            f"do not belong together"
        )
    return Images(pixels[:, None], numbers.astype(np.int64))


def _idx(path: str | Path, magic: int, what: str) -> np.ndarray:
    data = read_bytes(path)
    packed = data[:2] == b"\x1f\x8b"
    plain = io.BytesIO(data)
    stream = gzip.GzipFile(fileobj=plain) if packed else plain
    axes = magic & 0xFF
    try:
        start = stream.read(4 + 4 * axes)
        if len(start) < 4 + 4 * axes or struct.unpack_from(">I", start)[0] != magic:
            raise FileError(f"{path}: is no idx file of {what}")
        shape = struct.unpack_from(f">{axes}I", start, 4)
        size = math.prod(shape)
        check_room(size, f"{path}: its array of shape {shape}")
        # No more than it says: some bytes can unpack to any number of them.
        values = np.frombuffer(stream.read(size + 1), np.uint8)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise FileError(f"{path}: is no complete gzip file: {error}") from None
    except (MemoryError, OverflowError):
        raise MachineError(f"{path}: there is not enough memory for {shape}") from None
    if values.size != size:
        more = "more" if values.size > size else str(values.size)
        raise FileError(f"{path}: has {more} values, expected {shape}")
    return values.reshape(shape)


def pairs(images: Images, times: int = 1, seed: int = 0) -> Images:
    """Pair every image with `times` others; the label is 1 where the classes are equal.

    About half of the pairs are equal: an image's partner comes from its own class or
    from anywhere, by a coin.

    Shapes: pixels (M, C, H, W) -> (times M, 2 C, H, W).
    """
    rng = np.random.default_rng(seed)
    images = images[rng.permutation(np.tile(np.arange(len(images)), times))]
    partners = rng.integers(0, len(images), len(images))
    for number in np.unique(images.labels):
        members = np.flatnonzero(images.labels == number)
        same = members[rng.random(len(members)) < 0.5]
        partners[same] = rng.choice(members, len(same))
    both = np.concatenate([images.pixels, images.pixels[partners]], axis=1)
    equal = images.labels == images.labels[partners]
    return Images(both, equal.astype(np.int64))


class Pictures(Protocol):
    """Images with labels, by number."""

    @property
    def labels(self) -> np.ndarray:
        """The labels (M), int."""

    @property
    def shape(self) -> Shape:
        """Channels, height and width."""

    def __len__(self) -> int: ...

    def picture(self, index: int) -> np.ndarray:
        """Return an image (C, H, W), uint8, or float32 for a database."""


def write(
    images: Pictures,
    path: Path,
    form: Format,
    *,
    force: bool = False,
    advance: Advance = lambda count: None,
) -> Path:
    """Write `images` as `path` + "_lmdb" or `path` + ".h5", and return the source.

    The source is what a data layer names: the folder of the database, or a text file
    that names the HDF5 file. It appears whole or not at all. `advance` is called after
    every item.

    Raises `FileError` where something stands there already, unless `force`, and
    `SpecError` for no images.
    """
    if len(images) == 0:
        raise SpecError(f"{path}: there are no images to write")
    ends = ("_lmdb",) if form == "lmdb" else (".txt", ".h5")
    results = [Path(f"{path}{end}") for end in ends]
    for result in results:
        check_place(result, form, force=force)
    make_folder(path.parent)
    if form == "lmdb":
        _write_lmdb(images, results[0], advance)
    else:
        _write_hdf5(images, results[1], results[0], advance)
    return results[0]


def check_place(result: Path, form: Format, *, force: bool) -> None:
    """Refuse to replace what is there without `force`, or what is no database.

    Raises `FileError`.
    """
    if not result.exists():
        return
    if not force:
        raise FileError(f"{result}: exists already; remove it, or write with --force")
    if form == "lmdb":
        known = {"data.mdb", "lock.mdb"}
        if not result.is_dir() or {file.name for file in result.iterdir()} - known:
            raise FileError(
                f"{result}: is no LMDB database, so --force does not replace it; "
                f"remove it, or choose another --output"
            )


def _write_lmdb(images: Pictures, folder: Path, advance: Advance) -> None:
    size = len(images) * int(np.prod(images.shape))
    write_records(folder, size + len(images) * PAGE_BYTES, _items(images), advance)


def write_records(
    folder: Path,
    size: int,
    records: Iterator[tuple[bytes, bytes]],
    advance: Advance = lambda count: None,
) -> None:
    """Write an LMDB database of (key, value), in the byte order of the keys.

    size: about how many bytes the records have. The database appears whole or not at
    all; what stands there is replaced. `advance` is called after every item.

    Raises `FileError`.
    """
    try:
        import lmdb
    except ImportError as error:
        raise MachineError(
            f"{folder}: writing needs lmdb; install the extra netspec[data]"
        ) from error
    temporary = folder.with_name(f".{folder.name}.unfinished")
    room = 2 * size + (1 << 24)
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        with lmdb.open(str(temporary), map_size=room) as env:
            while chosen := list(itertools.islice(records, COMMIT_ITEMS)):
                with env.begin(write=True) as transaction:
                    for key, value in chosen:
                        transaction.put(key, value, append=True)
                        advance(1)
        if folder.exists():
            shutil.rmtree(folder)
        temporary.rename(folder)
    except FileError:
        raise
    except (OSError, lmdb.Error) as error:
        raise FileError(f"{folder}: cannot be written: {error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _items(images: Pictures) -> Iterator[tuple[bytes, bytes]]:
    channels, height, width = images.shape
    for index in range(len(images)):
        picture = images.picture(index)
        datum = Datum(
            channels=channels,
            height=height,
            width=width,
            label=int(images.labels[index]),
        )
        if picture.dtype == np.uint8:
            datum.data = picture.tobytes()
        else:
            datum.float_data.extend(picture.reshape(-1).tolist())
        yield f"{index:08d}".encode(), datum.SerializeToString()


def _write_hdf5(images: Pictures, path: Path, source: Path, advance: Advance) -> None:
    try:
        import h5py
    except ImportError as error:
        raise MachineError(
            f"{path}: writing needs h5py; install the extra netspec[data]"
        ) from error
    with replacing(path) as target, h5py.File(target, "w") as file:
        data = file.create_dataset("data", (len(images), *images.shape), np.float32)
        rows = np.empty((min(COMMIT_ITEMS, len(images)), *images.shape), np.uint8)
        for start in range(0, len(images), COMMIT_ITEMS):
            chosen = range(start, min(start + COMMIT_ITEMS, len(images)))
            for index in chosen:
                rows[index - start] = images.picture(index)
                advance(1)
            data[start : chosen.stop] = rows[: len(chosen)]
        file["label"] = images.labels.astype(np.float32)
    with replacing(source) as text:
        text.write(f"{path}\n".encode())


def split(images: Images, first: int) -> tuple[Images, Images]:
    """Cut `images` in two: the first `first`, and the rest."""
    if not 0 < first < len(images):
        raise SpecError(
            f"cannot split {len(images)} images after {first}; expected 1 "
            f"to {len(images) - 1}"
        )
    return images[:first], images[first:]
