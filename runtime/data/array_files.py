"""Arrays of NumPy's files as databases and HDF5 files that data layers read."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from netspec.errors import FileError, MachineError, ShapeError, SpecError, SpecWarning
from netspec.files import make_folder, replacing
from netspec.notebooks import warn_user
from netspec.ops.base import Shape
from runtime.data.convert import Advance, check_place, write

DATA, LABEL = "data", "label"
SHORT = {"x": DATA, "y": LABEL}  # what arrays in an .npz file are often called
ROWS = 512  # items that are read and written at once
CHANNELS = (1, 3, 4)  # of images whose channels may come last


def read_arrays(
    paths: Sequence[str | Path], names: Sequence[str] | None = None
) -> dict[str, np.ndarray]:
    """Return the arrays of .npy files in order, or of one .npz file, by names.

    names: of the arrays; by default data and label, or what they are called in the
    .npz file, where x and y are data and label.

    Raises `FileError` for files that cannot be read, `SpecError` for other names than
    arrays and for arrays of different lengths.
    """
    found: dict[str, np.ndarray] = {}
    files = [Path(path) for path in paths]
    if len(files) == 1 and files[0].suffix == ".npz":
        found = _of_npz(files[0])
        if set(found) <= set(SHORT):
            found = {SHORT[name]: array for name, array in found.items()}
    else:
        known = names or (DATA, LABEL)
        if len(files) > len(known):
            raise SpecError(
                f"{len(files)} arrays are given, but {len(known)} names; give a name "
                f"for each: --names data,label,..."
            )
        found = {name: _of_npy(path) for name, path in zip(known, files, strict=False)}
    if names is not None:
        missing = [name for name in names if name not in found]
        if missing:
            raise SpecError(
                f"there is no array {missing[0]!r}; there are {', '.join(found)}"
            )
        found = {name: found[name] for name in names}
    _check(found)
    return found


def _of_npy(path: Path) -> np.ndarray:
    if path.suffix != ".npy":
        raise SpecError(f"{path}: expected .npy files, or one .npz file")
    try:
        array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise FileError(f"{path}: {error}") from error
    return array


def _of_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise FileError(f"{path}: {error}") from error


def _check(arrays: Mapping[str, np.ndarray]) -> None:
    if not arrays:
        raise SpecError("there are no arrays to write")
    for name, array in arrays.items():
        if array.dtype.kind not in "biuf":
            raise SpecError(
                f"array {name!r} holds {array.dtype}, which is not real numbers"
            )
        if array.ndim == 0:
            raise ShapeError(f"array {name!r} is one number; its first axis are items")
    counts = {name: len(array) for name, array in arrays.items()}
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise ShapeError(f"the arrays have different numbers of items: {told}")
    if not next(iter(counts.values())):
        raise SpecError("the arrays have no items")


class ArrayPictures:
    """An array and labels as images of a database.

    Shapes: pixels (M, C, H, W), (M, H, W) of grey images or (M, C) of rows; labels (M),
    whole numbers.

    Whole numbers from 0 to 255 are written as bytes, other values as floats.

    Raises `ShapeError` and `SpecError` for what no database holds.
    """

    def __init__(
        self,
        pixels: np.ndarray,
        labels: np.ndarray | None = None,
        *,
        channels_last: bool = False,
        order: np.ndarray | None = None,
    ) -> None:
        shape = pixels.shape[1:]
        if len(shape) > 3:
            raise ShapeError(
                f"{DATA!r} has shape {pixels.shape}; an item of a database has up to "
                f"three axes, (C, H, W); write hdf5"
            )
        self._pixels, self._last = pixels, channels_last
        self._order = np.arange(len(pixels)) if order is None else order
        self.labels = self._numbers(labels)[self._order]
        if channels_last:
            if len(shape) != 3:
                raise ShapeError(f"{DATA!r} has shape {pixels.shape}: no last channels")
            self.shape: Shape = (shape[2], *shape[:2])
        else:
            self.shape = {0: (1, 1, 1), 1: (*shape, 1, 1), 2: (1, *shape)}.get(
                len(shape), shape
            )
            self._look_for_channels(shape)
        self._bytes = _are_bytes(pixels)

    def __len__(self) -> int:
        return len(self._order)

    def picture(self, index: int) -> np.ndarray:
        """Return an image (C, H, W), uint8 or float32."""
        item = np.asarray(self._pixels[self._order[index]])
        if self._last:
            item = item.transpose(2, 0, 1)
        kind = np.uint8 if self._bytes else np.float32
        return np.ascontiguousarray(item.reshape(self.shape), kind)

    def _look_for_channels(self, shape: Shape) -> None:
        if len(shape) == 3 and shape[2] in CHANNELS and shape[0] not in CHANNELS:
            warn_user(
                f"{DATA!r} has items of shape {shape}, as if channels came last; here "
                f"they come first: give --channels-last to move them",
                SpecWarning,
            )

    def _numbers(self, labels: np.ndarray | None) -> np.ndarray:
        if labels is None:
            return np.zeros(len(self._pixels), np.int64)
        flat = np.asarray(labels)
        if flat.size != len(flat):
            raise ShapeError(
                f"{LABEL!r} has shape {flat.shape}; a database holds one label an "
                f"item: if these are one-hot, give their argmax, or write hdf5"
            )
        flat = flat.reshape(-1)
        whole = np.asarray(flat, np.int64)
        if (whole != flat).any():
            place = int(np.argmax(whole != flat))
            raise SpecError(
                f"{LABEL!r} has {flat[place]:g} in item {place}; a database holds "
                f"whole numbers as labels, so write hdf5"
            )
        return whole


def _are_bytes(array: np.ndarray) -> bool:
    """Tell whether all values are whole numbers from 0 to 255, of a type for those."""
    if array.dtype == np.uint8 or array.dtype.kind == "b":
        return True
    if array.dtype.kind not in "iu":
        return False
    return all(
        part.min() >= 0 and part.max() <= 255
        for start in range(0, len(array), ROWS)
        if (part := array[start : start + ROWS]).size
    )


def write_arrays(
    arrays: Mapping[str, np.ndarray],
    path: Path,
    form: str,
    *,
    order: np.ndarray | None = None,
    channels_last: bool = False,
    force: bool = False,
    advance: Advance = lambda count: None,
) -> Path:
    """Write arrays as `path` + "_lmdb", or as `path` + ".h5"; return the source.

    A database holds `data` and, as its labels, `label`. HDF5 holds any arrays, float32,
    for an HDF5Data layer whose tops are called like them; its source is `path` +
    ".txt". order: which items, in which order; all by default.

    Raises as `write` does, and for arrays that a database does not hold.
    """
    if form == "lmdb":
        others = [name for name in arrays if name not in (DATA, LABEL)]
        if others or DATA not in arrays:
            raise SpecError(
                f"a database holds data and label, but there are {', '.join(arrays)}; "
                f"name them so with --names, or write --format hdf5"
            )
        pixels, labels = arrays[DATA], arrays.get(LABEL)
        last = channels_last
        images = ArrayPictures(pixels, labels, channels_last=last, order=order)
        return write(images, path, "lmdb", force=force, advance=advance)
    if channels_last:
        first = np.moveaxis(arrays[DATA], -1, 1)
        arrays = {**arrays, DATA: first}
    return _write_hdf5(arrays, path, order, force=force, advance=advance)


def _write_hdf5(
    arrays: Mapping[str, np.ndarray],
    path: Path,
    order: np.ndarray | None,
    *,
    force: bool,
    advance: Advance,
) -> Path:
    source, target = Path(f"{path}.txt"), Path(f"{path}.h5")
    for result in (source, target):
        check_place(result, "hdf5", force=force)
    try:
        import h5py
    except ImportError as error:
        raise MachineError(
            f"{target}: writing needs h5py; install the extra netspec[data]"
        ) from error
    make_folder(path.parent)
    count = len(next(iter(arrays.values()))) if order is None else len(order)
    with replacing(target) as file, h5py.File(file, "w") as written:
        sets = {
            name: written.create_dataset(name, (count, *array.shape[1:]), np.float32)
            for name, array in arrays.items()
        }
        for start in range(0, count, ROWS):
            end = min(start + ROWS, count)
            chosen = slice(start, end) if order is None else order[start:end]
            for name, array in arrays.items():
                sets[name][start:end] = array[chosen]
            advance(end - start)
    with replacing(source) as text:
        text.write(f"{target}\n".encode())
    return source
