"""HDF5Data layers: rows of datasets in a list of files."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from netspec import room
from netspec.errors import FileError, SpecError
from netspec.files import is_file
from netspec.ops.base import label
from netspec.room import check_room
from netspec.schema import LayerParameter
from netspec.weights.hdf5_file import Hdf5File, import_h5py, links_allowed
from runtime.data.lists import read_lines

WHOLE_FILE_BYTES = 256 * 2**20  # of values; larger files are read row by row
SCATTERED_SHARE = 0.25  # of memory, where reading rows one by one would be slow
VALUE_BYTES, ROW_NUMBER_BYTES = 4, 8


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
        import_h5py(label(layer))
        self._layer = layer
        self._who = f"{label(layer)}: "
        self._links = links_allowed()  # and not where the thread that reads is
        self._size = param.batch_size
        self._shuffle = param.shuffle
        self._key = (seed, zlib.crc32(layer.name.encode()))
        self._shared = False  # whether other processes take batches in between
        self._paths = [line for _, line in read_lines(param.source, label(layer))]
        self._loaded: LoadedFile | None = None
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
            loaded = self._load(self._paths[file])
            for top, target in zip(self._tops, out, strict=True):
                target[done : done + take] = loaded.rows(top, chosen)
            done += take

    def take_every(self, step: int, first: int) -> None:
        """Read rows alone where those between them are for other processes."""
        if self._shared != (step > 1):
            self.close()
        self._shared = step > 1

    def close(self) -> None:
        """Forget the loaded file."""
        if self._loaded is not None:
            self._loaded.close()
        self._loaded = None

    def _epoch(self, epoch: int) -> tuple[Any, Sequence[Any]]:
        """Return the order of the files, and of the rows of each, in `epoch`."""
        if not self._shuffle:
            return range(len(self._rows)), [range(count) for count in self._rows]
        if self._order is None or self._order[0] != epoch:
            what = f"{label(self._layer)}: the order of {sum(self._rows)} rows"
            check_room(ROW_NUMBER_BYTES * sum(self._rows), what)
            files = np.arange(len(self._rows))
            rows = [np.arange(count) for count in self._rows]
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
                shapes = [
                    file.shape(dataset_of(file, self._who, path, top), top)
                    for top in self._tops
                ]
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

    def _load(self, path: str) -> LoadedFile:
        if self._loaded is None or self._loaded.path != path:
            self.close()
            self._loaded = LoadedFile(
                self._open(path),
                self._who,
                path,
                self._tops,
                shuffled=self._shuffle,
                shared=self._shared,
            )
        return self._loaded

    def _open(self, path: str) -> Hdf5File:
        if not is_file(path):
            raise FileError(
                f"{self._who}{path}, named in {self._layer.hdf5_data_param.source}, "
                f"does not exist"
            )
        return Hdf5File(path, self._who, links=self._links)


class LoadedFile:
    """The data sets of one file: in memory if they are small, else read as needed.

    shared: other processes read the other rows, so that only what must be is read
    whole: what is compressed, in pieces that have rows of all.
    """

    def __init__(
        self,
        file: Hdf5File,
        who: str,
        path: str,
        tops: Sequence[str],
        *,
        shuffled: bool,
        shared: bool = False,
    ) -> None:
        self.path = path
        self._file: Hdf5File | None = file
        found = {top: dataset_of(file, who, path, top) for top in tops}
        sizes = [math.prod(file.shape(found[top], top)) for top in found]
        self._sets: dict[str, Any] = found
        packed = any(file.is_packed(found[top], top) for top in found)
        scattered = packed or shuffled
        rows_alone = shared and not packed
        if not rows_alone and _keep_whole(
            sum(sizes) * VALUE_BYTES, scattered=scattered
        ):
            try:
                self._sets = {
                    top: np.asarray(file.read(found[top], top), np.float32)
                    for top in found
                }
            finally:
                self.close()

    def rows(self, top: str, chosen: Any) -> np.ndarray:
        """Return rows of a data set: those of a range, or an array of numbers."""
        if isinstance(chosen, range):
            chosen = slice(chosen.start, chosen.stop)
        if self._file is None:
            rows: np.ndarray = self._sets[top][chosen]
            return rows
        if isinstance(chosen, slice):
            return self._file.read(self._sets[top], top, chosen)
        order = np.argsort(chosen)  # h5py takes rows in ascending order only
        rows = self._file.read(self._sets[top], top, chosen[order])
        return rows[np.argsort(order)]

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
        self._file = None


def _keep_whole(nbytes: int, *, scattered: bool) -> bool:
    """Tell whether values are read at once and kept.

    scattered: reading some rows costs much more than their share of the file.
    """
    if nbytes <= WHOLE_FILE_BYTES or not scattered:
        return nbytes <= WHOLE_FILE_BYTES
    there = room.room_bytes()
    return there is not None and nbytes <= there * SCATTERED_SHARE


def dataset_of(file: Hdf5File, who: str, path: str, top: str) -> Any:
    """Return a data set of a file by its name.

    Raises `FileError` where there is none.
    """
    found = file.find(top)
    if not file.is_dataset(found):
        names = [name for name in file.names() if file.is_dataset(file.find(name))]
        raise FileError(
            f"{who}{path} has no dataset {top!r}; it has {', '.join(names) or 'none'}"
        )
    return found
