"""From a data layer to its source."""

from __future__ import annotations

from netspec.catalogue.check import check_arity
from netspec.errors import UnsupportedError
from netspec.ops.base import label
from netspec.schema import LayerParameter
from runtime.data.hdf5_reader import Hdf5Reader
from runtime.data.image_reader import ImageReader
from runtime.data.lmdb_reader import LmdbReader
from runtime.data.memory import MemorySource
from runtime.data.source import ReadAhead, Reader, Source


def open_source(layer: LayerParameter, phase: int, seed: int) -> Source:
    """Open what a data layer reads from.

    phase: decides between random and central crops. seed: of all that is random.

    Raises `FileError` for what cannot be read, `SpecError` for options or a number of
    tops that cannot be, `UnsupportedError` for a type of layer that has no reader here.
    """
    check_arity(layer)
    reader: Reader
    if layer.type == "MemoryData":
        return MemorySource(layer)
    if layer.type == "Data":
        reader = LmdbReader(layer, phase, seed)
    elif layer.type == "HDF5Data":
        reader = Hdf5Reader(layer, phase, seed)
    elif layer.type == "ImageData":
        reader = ImageReader(layer, phase, seed)
    else:
        raise UnsupportedError(
            "data of this type cannot be read here; use Data (LMDB), HDF5Data, "
            "ImageData or MemoryData",
            layer=label(layer),
        )
    return ReadAhead(reader, layer.name)
