"""Reading weight files: `.caffemodel` of every generation, and Caffe's HDF5 layout."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from netspec.errors import FileError, SpecError
from netspec.files import HDF5_SIGNATURE, is_file, read_bytes
from netspec.ops.base import Shape
from netspec.schema.wire import WireBlob, scan
from netspec.weights.hdf5_file import Hdf5File

# Field 1 of a net is its name, a string; of a solver's state it is a number.
_STATE_START = b"\x08"
MAX_SLOTS = 1000  # of the arrays of a layer in an HDF5 file
_DTYPES = {"float": "<f4", "double": "<f8"}


@dataclass(frozen=True)
class StoredBlob:
    """One array of a file. `legacy` shapes are num, channels, height, width.

    values: None where they were not asked for.
    """

    shape: Shape
    values: np.ndarray | None
    legacy: bool = False


@dataclass(frozen=True)
class LayerWeights:
    """The arrays of one layer, in order; None where the file leaves one out."""

    name: str
    blobs: tuple[StoredBlob | None, ...]


def read_weights(
    path: str | Path, wanted: Mapping[str, Collection[Shape]] | None = None
) -> list[LayerWeights]:
    """Read the arrays of a weight file.

    wanted: the shapes of the arrays of each layer; what is not among them is not read
    from an HDF5 file. None reads everything.

    Raises `FileError` for a file that cannot be read or is none, `MachineError` for one
    that claims to hold more than fits into memory.
    """
    if is_file(path) and read_bytes(path, len(HDF5_SIGNATURE)) == HDF5_SIGNATURE:
        return _read_hdf5(path, wanted)
    data = read_bytes(path)
    if not data:
        raise FileError(f"{path}: is empty; copy or save it again")
    if data.startswith(_STATE_START):
        raise _no_weights(path)
    try:
        return layers_with_values(data)
    except (SpecError, UnicodeDecodeError) as error:
        raise FileError(f"{path}: is no weight file: {error}") from None


def layers_with_values(data: bytes) -> list[LayerWeights]:
    """Return the arrays of a serialized net, of any generation, as views of `data`.

    Raises `SpecError` for bytes that are no such message.
    """
    return [
        LayerWeights(layer.name, tuple(_stored(blob) for blob in layer.blobs))
        for layer in scan(data)
    ]


def _no_weights(path: str | Path) -> FileError:
    return FileError(
        f"{path}: is the state of a solver and holds no weights; give the .caffemodel "
        f"file beside it, or go on from the state with solver.restore, of the command "
        f"line with --snapshot"
    )


def _stored(blob: WireBlob) -> StoredBlob:
    pieces = [np.frombuffer(piece, _DTYPES[blob.dtype]) for piece in blob.pieces]
    values = pieces[0] if len(pieces) == 1 else np.concatenate([np.empty(0), *pieces])
    try:
        values = values.reshape(blob.shape)
        return StoredBlob(values.shape, values, blob.legacy)
    except ValueError:
        raise SpecError(
            f"an array of shape {blob.shape} has {values.size} values"
        ) from None


def _read_hdf5(
    path: str | Path, wanted: Mapping[str, Collection[Shape]] | None
) -> list[LayerWeights]:
    with Hdf5File(path, broken=": is broken") as file:
        data = file.find("data")
        if data is None and file.find("learned_net") is not None:
            raise _no_weights(path)
        if not file.is_group(data):
            raise FileError(f"{path}: has no group 'data', so it holds no weights")
        names = file.names(data)
        return [
            LayerWeights(name, tuple(_arrays(file, data, name, wanted)))
            for name in names
        ]


def _arrays(
    file: Hdf5File,
    data: Any,
    name: str,
    wanted: Mapping[str, Collection[Shape]] | None,
) -> Iterator[StoredBlob | None]:
    """Yield the arrays of one layer; None for those that belong to another."""
    group = file.find(name, data)
    if not file.is_group(group):
        raise FileError(f"{file.path}: /data/{name} is no group of arrays")
    slots = [int(key) for key in file.names(group) if key.isdecimal()]
    last = max(slots, default=-1)
    if last >= MAX_SLOTS:
        raise FileError(
            f"{file.path}: /data/{name} has an array number {last}; a layer has at "
            f"most {MAX_SLOTS:,}"
        )
    for slot in range(last + 1):
        found, place = file.find(str(slot), group), f"/data/{name}/{slot}"
        if found is None:
            yield None
            continue
        if not file.is_dataset(found):
            raise FileError(f"{file.path}: {place} is no array of real numbers")
        shape = file.shape(found, place)
        read = wanted is None or shape in wanted.get(name, ())
        yield StoredBlob(shape, file.read(found, place) if read else None)
