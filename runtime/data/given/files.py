"""Files of arrays: .npz, .npy and HDF5, by the names of their arrays."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from netspec.errors import FileError, ShapeError, SpecError
from netspec.weights.hdf5_file import Hdf5File
from runtime.data.given.arrays import ArrayRows
from runtime.data.given.base import Item, Rows
from runtime.data.given.field import Field
from runtime.data.given.values import Labels, Numbers
from runtime.data.hdf5_reader import LoadedFile
from runtime.data.source import Arrays

USUAL = (("data", "label"), ("x", "y"), ("X", "Y"), ("x_train", "y_train"))


def names_in(fields: Sequence[Field], there: Sequence[str], what: str) -> list[str]:
    """Return the names that a file has for the inputs, in their order.

    Those of the inputs, else a usual pair of data and labels.

    Raises `SpecError` for a file that has neither.
    """
    wanted = [field.name for field in fields]
    for names in (wanted, *map(list, USUAL)):
        if len(names) >= len(wanted) and all(n in there for n in names[: len(wanted)]):
            return list(names[: len(wanted)])
    if len(wanted) == len(there) == 1:
        return list(there)
    pairs = " or ".join(", ".join(pair[: len(wanted)]) for pair in USUAL)
    raise SpecError(
        f"{what} has the arrays {', '.join(there) or 'none'}; expected those of the "
        f"inputs, {', '.join(wanted)}, or {pairs}"
    )


def numpy_arrays(path: Path, fields: Sequence[Field]) -> list[np.ndarray]:
    """Return the arrays of a .npz or .npy file, one for each input.

    Those of a .npy file stay on the disk until they are used.

    Raises `FileError` for a file that cannot be read, `SpecError` for other arrays.
    """
    broken = (OSError, ValueError, EOFError, zipfile.BadZipFile, KeyError)
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(found, np.ndarray):
            if len(fields) != 1:
                raise SpecError(
                    f"{path} is one array, but the net has {len(fields)} inputs: "
                    f"{', '.join(f.name for f in fields)}; write a .npz file: "
                    f"np.savez(path, {', '.join(f'{f.name}=...' for f in fields)})"
                )
            return [found]
        with found:
            return [found[n] for n in names_in(fields, found.files, str(path))]
    except SpecError:
        raise
    except broken as error:
        raise FileError(f"{path}: cannot be read as NumPy arrays: {error}") from None


class Hdf5Rows(Rows):
    """Rows of data sets of an HDF5 file."""

    alone = True

    def __init__(
        self, fields: Sequence[Field], path: Path, *, transformed: bool, shuffled: bool
    ) -> None:
        file = Hdf5File(path)
        names = [n for n in file.names() if file.is_dataset(file.find(n))]
        self._names = names_in(fields, names, str(path))
        shapes = [file.shape(file.find(name), name) for name in self._names]
        rows = [(shape or (0,))[0] for shape in shapes]
        if len(set(rows)) > 1:
            pairs = zip(self._names, rows, strict=True)
            said = ", ".join(f"{name!r} {number}" for name, number in pairs)
            raise ShapeError(
                f"{path}: data sets have different numbers of rows: {said}"
            )
        self.count = rows[0]
        if not self.count:
            raise SpecError(f"{path}: the data have no items")
        for field, shape in zip(fields, shapes, strict=True):
            if not transformed:
                field.check(shape[1:], f"{path}, shape {shape}")
        loaded = LoadedFile(file, "", str(path), self._names, shuffled=shuffled)
        self._loaded = loaded

    def item(self, number: int) -> Item:
        """Return row `number` of every data set."""
        rows = range(number, number + 1)
        return tuple(self._loaded.rows(name, rows)[0] for name in self._names)

    def read(self, numbers: Numbers, out: Arrays) -> None:
        """Write rows into `out`."""
        for name, target in zip(self._names, out, strict=True):
            rows = self._loaded.rows(name, numbers)
            np.copyto(target, rows.reshape(target.shape), casting="unsafe")

    def close(self) -> None:
        """Close the file."""
        self._loaded.close()


def rows_of_file(
    path: Path,
    fields: Sequence[Field],
    labels: Mapping[str, Labels],
    *,
    transformed: bool,
    shuffled: bool,
) -> Rows:
    """Return the rows of a file of arrays; its kind is told by its first bytes."""
    if path.suffix in (".h5", ".hdf5", ".hdf"):
        return Hdf5Rows(fields, path, transformed=transformed, shuffled=shuffled)
    arrays: list[Any] = list(numpy_arrays(path, fields))
    return ArrayRows(fields, arrays, labels, transformed=transformed)
