"""Weights in Caffe's HDF5 layout: array number `i` of a layer is `/data/LAYER/i`.

A layer name with slashes is a path of groups. (Caffe does not find those layers.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from netspec.errors import FileError, SpecError, SpecWarning
from netspec.notebooks import warn_user
from netspec.ops.base import label
from netspec.weights.hdf5_file import Hdf5File
from netspec.weights.stored import LayerArrays, LayerWeights, StoredBlob

MAX_SLOTS = 1000  # of the arrays of a layer
MAX_GROUPS = 100_000
MAX_DEPTH = 64


@contextmanager
def hdf5_layers(path: str | Path) -> Iterator[list[LayerWeights]]:
    """Open an HDF5 file for this block; yields its layers.

    Raises `FileError` for what is no such file, `MachineError` where h5py is missing.
    """
    with Hdf5File(path, broken=": is broken") as file:
        data = file.find("data")
        if data is None and file.find("learned_net") is not None:
            raise no_weights(path)
        if not file.is_group(data):
            raise FileError(f"{path}: has no group 'data', so it holds no weights")
        yield list(_layers(file, data))


def no_weights(path: str | Path) -> FileError:
    """Return the error for the state of a solver in the place of weights."""
    return FileError(
        f"{path}: is the state of a solver and holds no weights; give the .caffemodel "
        f"file beside it, or go on from the state with solver.restore, of the command "
        f"line with --snapshot"
    )


def _layers(file: Hdf5File, data: Any) -> Iterator[LayerWeights]:
    """Yield the layers of all groups, from the outermost in."""
    waiting = [("", data)]
    seen = 0
    while waiting:
        path, group = waiting.pop()
        inner = []
        slots: dict[int, Any] = {}
        for name in file.names(group):
            full = f"{path}/{name}" if path else name
            found = file.find(name, group)
            if file.is_group(found) and not (path and _is_array(file, name, found)):
                inner.append((full, found))
            elif not path:
                raise FileError(f"{file.path}: /data/{full} is no group of arrays")
            elif name.isdecimal():
                slots[int(name)] = found
        seen += 1
        if seen > MAX_GROUPS or path.count("/") > MAX_DEPTH:
            raise FileError(
                f"{file.path}: has more than {MAX_GROUPS:,} groups, or {MAX_DEPTH} "
                f"within each other; is it broken?"
            )
        if slots or (path and not inner):
            yield LayerWeights(path, tuple(_arrays(file, path, slots)))
        waiting.extend(reversed(inner))


def _is_array(file: Hdf5File, name: str, group: Any) -> bool:
    """Tell whether a group stands where an array should be.

    That is one with the name of an array, unless it holds some itself.
    """
    return name.isdecimal() and not any(map(str.isdecimal, file.names(group)))


def _arrays(
    file: Hdf5File, layer: str, slots: dict[int, Any]
) -> Iterator[StoredBlob | None]:
    """Yield the arrays of one layer; None for those that belong to another."""
    last = max(slots, default=-1)
    if last >= MAX_SLOTS:
        raise FileError(
            f"{file.path}: /data/{layer} has an array number {last}; a layer has at "
            f"most {MAX_SLOTS:,}"
        )
    for slot in range(last + 1):
        yield _array(file, slots[slot], layer, slot) if slot in slots else None


def _array(file: Hdf5File, found: Any, layer: str, slot: int) -> StoredBlob:
    place = f"/data/{layer}/{slot}"
    if not file.is_dataset(found):
        raise FileError(f"{file.path}: {place} is no array of real numbers")
    return StoredBlob(
        file.shape(found, place),
        lambda target: file.read_into(found, place, target),
        sure=file.is_plain(found, place),
    )


def fill_hdf5(file: Any, layers: Sequence[LayerArrays]) -> None:
    """Write the arrays of layers into an open HDF5 file, each one's own only.

    Raises `SpecError` for a layer name that HDF5 takes for another. Warns of names with
    a slash, which Caffe does not find.
    """
    named = [each for each in layers if each.arrays or "/" not in each.layer.name]
    _check_names(named)
    data = file.create_group("data")
    for each in named:
        group = data.require_group(each.layer.name)
        for slot, array in enumerate(each.arrays):
            if array is not None and slot not in each.shared:
                values = np.asarray(array, np.float32, order="C")
                group.create_dataset(str(slot), data=values)
    deep = [each.layer.name for each in named if "/" in each.layer.name]
    if deep:
        warn_user(
            f"{len(deep)} layers, {deep[0]!r} the first, have names with '/', which "
            f"stand in this HDF5 file as groups in groups; netspec reads them, Caffe "
            f"does not find them. Save as .caffemodel for it",
            SpecWarning,
        )


def _check_names(layers: Sequence[LayerArrays]) -> None:
    """Refuse names of layers by which HDF5 would find something else, or nothing."""
    arrays = {
        f"{each.layer.name}/{slot}"
        for each in layers
        for slot in range(len(each.arrays))
    }
    names: set[str] = set()
    for each in layers:
        if each.arrays and each.layer.name in names:
            raise SpecError(
                "another layer has this name, of which HDF5 stores one; rename one, or "
                "save as .caffemodel",
                layer=label(each.layer),
            )
        if each.arrays:
            names.add(each.layer.name)
        parts = each.layer.name.split("/")
        ways = {"/".join(parts[: end + 1]) for end in range(len(parts))}
        odd = any(part in ("", ".") or "\0" in part for part in parts)
        if odd or ways & arrays or any(part.isdecimal() for part in parts[1:-1]):
            raise SpecError(
                "HDF5 cannot store this name, in which '/' leads from group to group; "
                "save as .caffemodel, or rename the layer",
                layer=label(each.layer),
            )
