"""Data layers: items of an LMDB database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from netspec.errors import FileError, SpecError, UnsupportedError
from netspec.ops.base import count, label
from netspec.schema import DataParameter, Datum, LayerParameter
from runtime.counter_random import stream_keys
from runtime.data.images import decode
from runtime.data.lmdb_file import LmdbFile
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
        self._file = LmdbFile(param.source, self._what)
        self._count = self._file.entries
        if self._count == 0:
            raise FileError(f"{self._what} is empty")
        self._skip = 0
        if param.rand_skip:
            self._skip = stream_keys(seed, layer.name, 0, 1)[0] % param.rand_skip
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
        """Close the database."""
        self._file.close()

    def _item(self, number: int) -> tuple[np.ndarray, int]:
        """Return the picture and the label of an item, counted from the start."""
        key, value = self._file.item(number % self._count)
        datum = Datum()
        try:
            datum.ParseFromString(value)
        except DecodeError:
            raise FileError(f"{self._named(key)}: is no Datum") from None
        return self._picture(datum, key), datum.label

    def _named(self, key: bytes) -> str:
        return f"{self._what}, key {key.decode(errors='replace')!r}"

    def _picture(self, datum: Any, key: bytes) -> np.ndarray:
        transform = self._layer.transform_param
        data = datum.data  # a copy of the bytes each time that it is asked for
        if datum.encoded:
            color = None
            if transform.force_color or self._layer.data_param.force_encoded_color:
                color = True
            elif transform.force_gray:
                color = False
            return decode(data, self._named(key), color=color)
        shape = (datum.channels, datum.height, datum.width)
        if data:
            values = np.frombuffer(data, np.uint8)
        else:
            values = np.array(datum.float_data, np.float32)
        if min(shape) < 1 or values.size != count(shape):
            raise FileError(
                f"{self._named(key)}: {values.size} values do not make an image of "
                f"shape {shape}"
            )
        return values.reshape(shape)
