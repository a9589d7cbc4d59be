"""HDF5Data layers: rows of datasets in a list of files."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from netspec.errors import FileError, MachineError, SpecError
from netspec.ops.base import label
from netspec.schema import LayerParameter
from runtime.data.lists import read_lines


class Hdf5Reader:
    """Batches of rows, file after file, over and over.

    Every top is the dataset of its name; files keep their axes. A batch may begin in
    one file and end in the next. With `shuffle` files and rows come in another order in
    every epoch, a function of the seed, the layer and the epoch.

    Shapes: y_i (batch_size, ...) as the dataset without its first axis.
    """

    def __init__(self, layer: LayerParameter, phase: int, seed: int) -> None:
        param = layer.hdf5_data_param
        if param.batch_size < 1:
            raise SpecError("batch_size must be given and above 0", layer=label(layer))
        if layer.HasField("transform_param"):
            raise SpecError(
                "transform_param does nothing to HDF5 data; write transformed "
                "values, or use Scale and Power layers",
                layer=label(layer),
            )
        self._h5py = _import(label(layer))
        self._layer = layer
        self._size = param.batch_size
        self._shuffle = param.shuffle
        self._key = (seed, zlib.crc32(layer.name.encode()))
        self._paths = [line for _, line in read_lines(param.source, label(layer))]
        self._loaded: tuple[str, list[np.ndarray]] | None = None
        self._rows, tails = self._measure()
        self.shapes = tuple((self._size, *tail) for tail in tails)
        self._order: tuple[int, np.ndarray, list[np.ndarray]] | None = None

    def read(self, batch: int, out: Sequence[np.ndarray]) -> None:
        """Write batch number `batch` into the arrays `out`."""
        total = sum(self._rows)
        done = 0
        while done < self._size:
            epoch, place = divmod(batch * self._size + done, total)
            files, rows = self._epoch(epoch)
            for file in files:
                if place < self._rows[file]:
                    break
                place -= self._rows[file]
            take = min(self._size - done, self._rows[file] - place)
            chosen = rows[file][place : place + take]
            for array, target in zip(self._load(self._paths[file]), out, strict=True):
                target[done : done + take] = array[chosen]
            done += take

    def close(self) -> None:
        """Forget the loaded file."""
        self._loaded = None

    def _epoch(self, epoch: int) -> tuple[np.ndarray, list[np.ndarray]]:
        """Return the order of the files, and of the rows of each, in `epoch`."""
        if self._order is None or self._order[0] != epoch:
            files = np.arange(len(self._rows))
            rows = [np.arange(count) for count in self._rows]
            if self._shuffle:
                rng = np.random.default_rng([*self._key, epoch])
                rng.shuffle(files)
                for order in rows:
                    rng.shuffle(order)
            self._order = (epoch, files, rows)
        return self._order[1], self._order[2]

    def _measure(self) -> tuple[list[int], list[tuple[int, ...]]]:
        """Return the rows of every file and the shapes of a row for every top."""
        counts = []
        tails: list[tuple[int, ...]] = []
        for path in self._paths:
            with self._open(path) as file:
                shapes = [self._dataset(file, path, top).shape for top in self._tops]
            rows = {shape[0] if shape else 0 for shape in shapes}
            if len(rows) != 1:
                raise FileError(
                    f"{label(self._layer)}: the datasets of {path} have different "
                    f"numbers of rows: {shapes}"
                )
            row_shapes = [tuple(shape[1:]) for shape in shapes]
            if tails and row_shapes != tails:
                raise FileError(
                    f"{label(self._layer)}: rows of {path} have shapes {row_shapes}, "
                    f"those of {self._paths[0]} {tails}; they must be equal"
                )
            tails = row_shapes
            counts.append(rows.pop())
        if sum(counts) == 0:
            raise FileError(f"{label(self._layer)}: the files have no rows")
        return counts, tails

    @property
    def _tops(self) -> Sequence[str]:
        return self._layer.top

    def _load(self, path: str) -> list[np.ndarray]:
        if self._loaded is None or self._loaded[0] != path:
            with self._open(path) as file:
                arrays = [self._values(file, path, top) for top in self._tops]
            self._loaded = (path, arrays)
        return self._loaded[1]

    def _open(self, path: str) -> Any:
        if not Path(path).exists():
            raise FileError(
                f"{label(self._layer)}: {path}, named in "
                f"{self._layer.hdf5_data_param.source}, does not exist"
            )
        try:
            return self._h5py.File(path, "r")
        except OSError as error:
            raise FileError(
                f"{label(self._layer)}: {path} is no HDF5 file: {error}"
            ) from None

    def _values(self, file: Any, path: str, top: str) -> np.ndarray:
        try:
            return np.asarray(self._dataset(file, path, top)[()], np.float32)
        except FileError:
            raise
        except OSError as error:
            raise FileError(
                f"{label(self._layer)}: dataset {top!r} of {path} is broken: {error}"
            ) from error

    def _dataset(self, file: Any, path: str, top: str) -> Any:
        found = file.get(top)
        if not isinstance(found, self._h5py.Dataset):
            names = sorted(key for key in file if hasattr(file.get(key), "dtype"))
            raise FileError(
                f"{label(self._layer)}: {path} has no dataset {top!r}; it has "
                f"{', '.join(names)}"
            )
        if found.dtype.kind not in "biuf":
            raise FileError(
                f"{label(self._layer)}: dataset {top!r} of {path} holds {found.dtype}; "
                f"expected real numbers"
            )
        return found


def _import(what: str) -> Any:
    try:
        import h5py
    except ImportError as error:
        raise MachineError(
            f"{what} needs h5py; install the extra netspec[data]"
        ) from error
    return h5py
