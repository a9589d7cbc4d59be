"""Data layers: items of an LMDB database."""

from __future__ import annotations

import numpy as np

from netspec.errors import FileError, SpecError, UnsupportedError
from netspec.ops.base import label
from netspec.schema import DataParameter, LayerParameter
from runtime.counter_random import stream_keys
from runtime.data.datum import picture_of, read_datum, warn_of_scale
from runtime.data.lmdb_file import LmdbFile
from runtime.data.pictures import PictureReader


class LmdbReader(PictureReader):
    """Batches of a database, in the byte order of its keys, over and over.

    See `PictureReader` for the sizes of its images.

    Tops: data (N, C, H, W) and, if the layer has a second top, label (N,).
    """

    def __init__(self, layer: LayerParameter, phase: int, seed: int) -> None:
        param = layer.data_param
        self._layer = layer
        self._what, self._file = open_database(layer)
        self._count = self._file.entries
        skip = 0
        if param.rand_skip:
            skip = stream_keys(seed, layer.name, 0, 1)[0] % param.rand_skip
        first = self._begin(layer, phase, seed, param.batch_size, skip)
        warn_of_scale(layer, first)

    def close(self) -> None:
        """Close the database."""
        self._file.close()

    def _item(self, number: int) -> tuple[np.ndarray, int]:
        """Return the picture and the label of an item, counted from the start."""
        key, value = self._file.item(number % self._count)
        datum = read_datum(value, self._named(key))
        color = color_of(self._layer)
        return picture_of(datum, self._named(key), color=color), datum.label

    def _named(self, key: bytes) -> str:
        return f"{self._what}, key {key.decode(errors='replace')!r}"


def open_database(layer: LayerParameter) -> tuple[str, LmdbFile]:
    """Open the database that `data_param` names; return what errors call it, too.

    Raises `FileError` for what cannot be read or is empty, `SpecError` for a batch of
    nothing, `UnsupportedError` for a LevelDB.
    """
    param = layer.data_param
    if param.backend != DataParameter.LMDB:
        raise UnsupportedError(
            "backend LEVELDB cannot be read; convert the database to LMDB and "
            "set backend: LMDB",
            layer=label(layer),
        )
    if param.batch_size < 1:
        raise SpecError("batch_size must be given and above 0", layer=label(layer))
    what = f"{label(layer)}: database {param.source}"
    file = LmdbFile(param.source, what)
    if file.entries == 0:
        raise FileError(f"{what} is empty")
    return what, file


def color_of(layer: LayerParameter) -> bool | None:
    """Return the colours of encoded images: three channels, one, or as they are."""
    transform = layer.transform_param
    if transform.force_color or layer.data_param.force_encoded_color:
        return True
    return False if transform.force_gray else None
