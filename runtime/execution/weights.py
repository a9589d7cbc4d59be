"""Parameters of a net from and to weight files."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np

from netspec.errors import ShapeError, SpecError, SpecWarning
from netspec.files import replacing
from netspec.graph import Graph, Node
from netspec.ops.base import Shape, label
from netspec.schema import LayerParameter, NetParameter
from netspec.schema.wire import encode_layer
from netspec.weights.hdf5_file import import_h5py
from netspec.weights.reading import LayerWeights, StoredBlob, read_weights
from runtime.execution.blob import Blob

MAX_LISTED = 8  # names of layers in a message
# What decides the sizes of weights, axis by axis; the last stands for all that follow.
_WEIGHT_AXES = {
    "Convolution": ("num_output", "the channels of the bottom or group", "kernel_size"),
    "InnerProduct": ("num_output", "the size of the bottom"),
}

Params: TypeAlias = Mapping[str, Sequence[Blob]]  # of the layers that have some


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
