"""Data layers: items of an LMDB database."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
from google.protobuf.message import DecodeError

from netspec.errors import FileError, MachineError, SpecError, UnsupportedError
from netspec.ops.base import label
from netspec.schema import DataParameter, Datum, LayerParameter
from runtime.counter_random import stream_keys
from runtime.data.images import decode
from runtime.data.transform import Transform


class LmdbReader:
    """Batches of a database, in the byte order of its keys, over and over.

    Tops: data (N, C, H, W) and, if the layer has a second top, label (N,).
    """

    def __init__(self, layer: LayerParameter, phase: int, seed: int) -> None:
        param = layer.data_param
        if param.backend != DataParameter.LMDB:
            raise UnsupportedError(
                "backend LEVELDB cannot be read; convert the database to LMDB and "
                "set backend: LMDB",
                layer=label(layer),
            )
        if param.batch_size < 1:
            raise SpecError("batch_size must be given and above 0", layer=label(layer))
        self._layer = layer
        self._what = f"{label(layer)}: database {param.source}"
        self._env, self._broken = _open(param.source, self._what)
        self._count = self._env.stat()["entries"]
        if self._count == 0:
            raise FileError(f"{self._what} is empty")
        self._skip = 0
        if param.rand_skip:
            self._skip = stream_keys(seed, layer.name, 0, 1)[0] % param.rand_skip
        self._transaction = self._env.begin(buffers=True)
        self._cursor = self._transaction.cursor()
        self._position = -1  # item under the cursor
        self._batch_size = param.batch_size
        first, _ = self._item(self._skip)
        self._transform = Transform(layer, phase, seed, first.shape)
        data = (param.batch_size, *self._transform.shape)
        self.shapes = (data, (param.batch_size,))[: len(layer.top)]

    def read(self, batch: int, out: Sequence[np.ndarray]) -> None:
        """Write batch number `batch` into the arrays `out`."""
        start = batch * self._batch_size
        pictures = []
        for index in range(self._batch_size):
            picture, item_label = self._item(start + index + self._skip)
            pictures.append(picture)
            if len(out) > 1:
                out[1][index] = item_label
        self._transform.batch(pictures, start, out[0])

    def close(self) -> None:
        """Let go of the database; the last reader of it closes it."""
        self._cursor.close()
        self._transaction.abort()
        del self._cursor, self._transaction, self._env

    def _item(self, number: int) -> tuple[np.ndarray, int]:
        """Return the picture and the label of an item, counted from the start."""
        try:
            self._go_to(number % self._count)
            value = bytes(self._cursor.value())
        except self._broken as error:
            raise FileError(
                f"{self._what} is broken at item {number % self._count}: {error}"
            ) from None
        datum = Datum()
        try:
            datum.ParseFromString(value)
        except DecodeError:
            raise FileError(f"{self._what}, {self._key()}: is no Datum") from None
        return self._picture(datum), datum.label

    def _go_to(self, position: int) -> None:
        if position < self._position or self._position < 0:
            self._cursor.first()
            self._position = 0
        while self._position < position:
            self._cursor.next()
            self._position += 1

    def _key(self) -> str:
        return f"key {bytes(self._cursor.key()).decode(errors='replace')!r}"

    def _picture(self, datum: Any) -> np.ndarray:
        transform = self._layer.transform_param
        if datum.encoded:
            color = None
            if transform.force_color or self._layer.data_param.force_encoded_color:
                color = True
            elif transform.force_gray:
                color = False
            return decode(datum.data, f"{self._what}, {self._key()}", color=color)
        shape = (datum.channels, datum.height, datum.width)
        if datum.data:
            values = np.frombuffer(datum.data, np.uint8)
        else:
            values = np.array(datum.float_data, np.float32)
        if min(shape) < 1 or values.size != np.prod(shape, dtype=np.int64):
            raise FileError(
                f"{self._what}, {self._key()}: {values.size} values do not make an "
                f"image of shape {shape}"
            )
        return values.reshape(shape)


# LMDB allows a process to open a database once, and nets for training and testing may
# read the same one. An environment closes when nobody holds it. A database that has
# been replaced is another file, so its number is the key, not its path.
_OPEN: WeakValueDictionary[tuple[int, int], Any] = WeakValueDictionary()


def _open(source: str, what: str) -> tuple[Any, type[Exception]]:
    try:
        import lmdb
    except ImportError as error:
        raise MachineError(
            f"{what} needs lmdb to be read; install the extra netspec[data]"
        ) from error
    path = Path(source)
    if not path.exists():
        raise FileError(f"{what} does not exist")
    in_folder = path.is_dir()
    try:
        file = (path / "data.mdb" if in_folder else path).stat()
        env = _OPEN.get((file.st_dev, file.st_ino))
        if env is None:
            env = lmdb.open(source, readonly=True, lock=False, subdir=in_folder)
            _OPEN[file.st_dev, file.st_ino] = env
    except (OSError, lmdb.Error) as error:
        raise FileError(f"{what} is no LMDB database: {error}") from None
    # Reading behind the end of a file that is mapped into memory kills the process.
    needed = (env.info()["last_pgno"] + 1) * env.stat()["psize"]
    if file.st_size < needed:
        raise FileError(
            f"{what} was cut short: it has {file.st_size} bytes of {needed}; copy or "
            f"make it again"
        )
    return env, lmdb.Error
