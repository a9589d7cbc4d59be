"""Weight files: `.caffemodel` of every generation, and Caffe's HDF5 layout."""

from __future__ import annotations

import io
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np

from netspec.errors import FileError, ShapeError, SpecError, SpecWarning
from netspec.files import HDF5_SIGNATURE, is_file, read_bytes, replacing
from netspec.graph import Graph, Node
from netspec.ops.base import Shape, label
from netspec.schema import LayerParameter, NetParameter
from netspec.schema.wire import WireBlob, encode_layer, scan
from runtime.data.hdf5_file import Hdf5File, import_h5py
from runtime.execution.blob import Blob

MAX_LISTED = 8  # names of layers in a message
# Field 1 of a net is its name, a string; of a solver's state it is a number.
_STATE_START = b"\x08"
MAX_SLOTS = 1000  # of the arrays of a layer in an HDF5 file
# What decides the sizes of weights, axis by axis; the last stands for all that follow.
_WEIGHT_AXES = {
    "Convolution": ("num_output", "the channels of the bottom or group", "kernel_size"),
    "InnerProduct": ("num_output", "the size of the bottom"),
}
_DTYPES = {"float": "<f4", "double": "<f8"}

Params: TypeAlias = Mapping[str, Sequence[Blob]]  # of the layers that have some


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


@dataclass(frozen=True)
class CopyReport:
    """What `copy_weights` did, as names of layers.

    copied: got their parameters from the file.
    missing: have parameters, but the file does not name them; they keep their values.
    unused: stand in the file with arrays, but the net has no such layer.
    """

    copied: tuple[str, ...]
    missing: tuple[str, ...]
    unused: tuple[str, ...]

    def __str__(self) -> str:
        parts = [f"{len(self.copied)} layers copied"]
        if self.missing:
            parts.append(f"not in the file: {', '.join(self.missing)}")
        if self.unused:
            parts.append(f"not in the net: {', '.join(self.unused)}")
        return "; ".join(parts)


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
        return [
            LayerWeights(layer.name, tuple(_stored(blob) for blob in layer.blobs))
            for layer in scan(data)
        ]
    except (SpecError, UnicodeDecodeError) as error:
        raise FileError(f"{path}: is no weight file: {error}") from None


def copy_weights(graph: Graph, params: Params, path: str | Path) -> CopyReport:
    """Copy the parameters of layers with equal names from a file into `params`.

    Layers that the net lacks are ignored; layers that the file lacks keep what they
    have. Old shapes with num, channels, height and width fit a shape that is padded
    with 1s in front.

    Raises `ShapeError`, before anything is copied, where numbers or shapes differ.
    """
    nodes = {node.name: node for node in graph.nodes if node.params}
    shapes = {name: [target.data.shape for target in params[name]] for name in nodes}
    stored = read_weights(path, shapes)
    names = {node.name for node in graph.nodes}
    pairs: list[tuple[np.ndarray, np.ndarray]] = []
    for layer in stored:
        node = nodes.get(layer.name)
        if node is not None and layer.blobs:
            pairs.extend(_matched(graph, params[node.name], node, layer, path))
    for target, values in pairs:
        target[...] = values
    found = {layer.name for layer in stored if layer.blobs}
    return CopyReport(
        copied=tuple(name for name in nodes if name in found),
        missing=tuple(name for name in nodes if name not in found),
        unused=tuple(
            layer.name for layer in stored if layer.blobs and layer.name not in names
        ),
    )


class HasParameters(Protocol):
    """What a `Net` has of its parameters."""

    graph: Graph
    params: Any


def copy_into(nets: Sequence[HasParameters], path: str | Path) -> CopyReport:
    """Copy the parameters of a file into several nets; return what the first got."""
    reports = [copy_weights(net.graph, net.params, path) for net in nets]
    return reports[0]


def warn_of_rest(
    paths: Sequence[str | Path], reports: Sequence[CopyReport], *, level: int = 3
) -> None:
    """Warn, with `SpecWarning`, of files that gave nothing and layers that got nothing.

    reports: of `paths`, copied into one net. level: how far up the caller is whom the
    warning shows.
    """
    said = [
        _gave_nothing(path, report)
        for path, report in zip(paths, reports, strict=True)
        if not report.copied
    ]
    copied = {name for report in reports for name in report.copied}
    left = (
        [name for name in reports[0].missing if name not in copied] if reports else []
    )
    if copied and left:
        unused = [name for report in reports for name in report.unused]
        also = f"; of the file, {_listed(unused)} are in no layer" if unused else ""
        said.append(
            f"{', '.join(map(str, paths))}: {len(copied)} layers got their weights, "
            f"but {_listed(left)} did not and keep what they have{also}. Layers are "
            f"found by their names"
        )
    for text in said:
        warnings.warn(text, SpecWarning, stacklevel=level)


def _gave_nothing(path: str | Path, report: CopyReport) -> str:
    theirs = (
        f"its layers are {_listed(report.unused)}" if report.unused else "it has none"
    )
    mine = f"are {_listed(report.missing)}" if report.missing else "do not exist"
    return (
        f"{path}: nothing is copied, as no layer with weights has a name that the net "
        f"has: {theirs}, those of the net {mine}. Give the layers of the net the names "
        f"of the file"
    )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
    return ", ".join(repr(name) for name in names[:MAX_LISTED]) + more


def save(graph: Graph, params: Params, path: str | Path) -> None:
    """Write the layers of a net with their parameters as a binary `NetParameter`.

    Shared parameters are repeated in every layer that uses them, as Caffe does: no
    other reader resolves their names. The file appears whole or not at all.
    """
    start = NetParameter(name=graph.name)
    with replacing(path) as file:
        file.write(start.SerializeToString())
        for node in graph.nodes:
            header = LayerParameter()
            header.CopyFrom(node.layer)
            header.ClearField("blobs")
            blobs = [
                (blob.shape, np.ascontiguousarray(blob.data, "<f4").reshape(-1).data)
                for blob in params.get(node.name, ())
            ]
            for piece in encode_layer(header.SerializeToString(), blobs):
                file.write(piece)


def save_hdf5(graph: Graph, params: Params, path: str | Path) -> None:
    """Write the parameters to `/data/<layer>/<index>`; shared ones at the owner only.

    Raises `SpecError` for a layer name with a slash, which HDF5 takes for a folder.
    """
    h5py = import_h5py(path)
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        data = file.create_group("data")
        for node in graph.nodes:
            if "/" in node.name:
                raise SpecError(
                    "HDF5 cannot store a name with '/'; save as .caffemodel, or "
                    "rename the layer",
                    layer=label(node.layer),
                )
            group = data.require_group(node.name)
            for slot, index in enumerate(node.params):
                owner = graph.parameters[index].owner
                if (owner.node, owner.slot) == (node.index, slot):
                    group[str(slot)] = params[node.name][slot].data
    with replacing(path) as target:
        target.write(buffer.getbuffer())


# ---------------------------------------------------------------- reading


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


# ---------------------------------------------------------------- matching


def _matched(
    graph: Graph,
    targets: Sequence[Blob],
    node: Node,
    layer: LayerWeights,
    path: str | Path,
) -> Iterable[tuple[np.ndarray, np.ndarray]]:
    """Pair the arrays of a node with those of the file."""
    too_many = len(layer.blobs) > len(targets)
    if too_many or not _only_shared_missing(graph, node, layer):
        raise ShapeError(
            f"{path}: {label(node.layer)} has {len(targets)} parameters, "
            f"the file has {len(layer.blobs)}; change the layer, or its name to keep "
            f"the values it starts with"
        )
    pairs = []
    for slot, blob in enumerate(layer.blobs):
        if blob is None:
            continue
        target = targets[slot].data
        if not _fits(blob, target.shape) or blob.values is None:
            raise ShapeError(
                f"{path}: {label(node.layer)}, parameter {slot} has "
                f"shape {target.shape}, the file has {blob.shape}; "
                f"{_way_to_fit(node, target.shape, blob.shape)}"
            )
        pairs.append((target, blob.values.reshape(target.shape)))
    return pairs


def _way_to_fit(node: Node, ours: Shape, theirs: Shape) -> str:
    """Return what to do about an array whose shape is not that of the file."""
    ways = []
    turned = getattr(node.op, "transpose", False)
    if node.type in _WEIGHT_AXES and not turned and len(ours) <= len(theirs):
        names = _WEIGHT_AXES[node.type]
        pairs = zip(ours, theirs[len(theirs) - len(ours) :], strict=True)
        differ = [axis for axis, (own, other) in enumerate(pairs) if own != other]
        fields = sorted({min(axis, len(names) - 1) for axis in differ})
        ways = [names[index] for index in fields if len(ours) > 1]
    use = f"to use it, take {' and '.join(ways)} of the file's net; " if ways else ""
    return f"{use}to learn it from scratch, rename the layer"


def _only_shared_missing(graph: Graph, node: Node, layer: LayerWeights) -> bool:
    """Tell whether the arrays that the file lacks belong to other layers."""
    for slot, index in enumerate(node.params):
        present = slot < len(layer.blobs) and layer.blobs[slot] is not None
        owner = graph.parameters[index].owner
        if not present and (owner.node, owner.slot) == (node.index, slot):
            return False
    return True


def _fits(blob: StoredBlob, shape: Shape) -> bool:
    if not blob.legacy:
        return blob.shape == shape
    padded = (1,) * (4 - len(shape)) + tuple(shape)
    return blob.shape == padded
