"""Parameters of a net from and to weight files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np

from netspec.errors import ShapeError, SpecError, SpecWarning, did_you_mean
from netspec.graph import Graph, Node
from netspec.notebooks import warn_user
from netspec.ops.base import Shape, label
from netspec.schema import LayerParameter, NetParameter
from netspec.weights.names import Names as Names
from netspec.weights.names import named
from netspec.weights.reading import open_weights
from netspec.weights.stored import LayerArrays, LayerWeights, StoredBlob
from netspec.weights.writing import write_layers
from runtime.execution.arguments import path_of
from runtime.execution.blob import Blob
from runtime.html import closed, line, output, table

MAX_LISTED = 8  # names of layers in a message
MAX_SHOWN = 4  # and in a short one
# What decides the sizes of weights, axis by axis; the last stands for all that follow.
_WEIGHT_AXES = {
    "Convolution": ("num_output", "the channels of the bottom or group", "kernel_size"),
    "InnerProduct": ("num_output", "the size of the bottom"),
}

Params: TypeAlias = Mapping[str, Sequence[Blob]]  # of the layers that have some


@dataclass(frozen=True)
class CopyReport:
    """What a file gave to a net, as names of layers.

    copied: got their parameters from the file.
    missing: have parameters, but the file does not name them; they keep their values.
    unused: stand in the file with arrays, but the net has no such layer.
    renamed: of the copied ones with another name in the file that name, and the net's.

    path: the file. alike: pairs of a layer of the file that nobody uses, and one of the
    net that got nothing, of the same shapes.

    `str` of it is one line with all names, `repr` a short one; notebooks show a table.
    """

    copied: tuple[str, ...]
    missing: tuple[str, ...]
    unused: tuple[str, ...]
    renamed: tuple[tuple[str, str], ...] = ()
    path: str = field(default="", compare=False)
    alike: tuple[tuple[str, str], ...] = field(default=(), compare=False)

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain dicts, lists and strings."""
        return {
            "path": self.path,
            "copied": list(self.copied),
            "missing": list(self.missing),
            "unused": list(self.unused),
            "renamed": [list(pair) for pair in self.renamed],
        }

    def __repr__(self) -> str:
        parts = [f"{len(self.copied)} layers copied"]
        for names, what in ((self.missing, "file"), (self.unused, "net")):
            if names:
                parts.append(f"not in the {what}: {_listed(names, MAX_SHOWN)}")
        return f"<CopyReport: {'; '.join(parts)}>"

    def _repr_html_(self) -> str:
        theirs = {ours: name for name, ours in self.renamed}
        rows = [(name, f"copied from {theirs.get(name, name)}") for name in self.copied]
        rows += [(name, "not in the file: keeps its values") for name in self.missing]
        rows += [(name, "in the file, but not in the net") for name in self.unused]
        head = f"{self.path}: {str(self).partition(';')[0]}".removeprefix(": ")
        left = rows[len(self.copied) :]
        return output(
            line(head),
            table(("layer", ""), left) if left else "",
            closed("all layers", table(("layer", ""), rows)),
        )

    def __str__(self) -> str:
        parts = [f"{len(self.copied)} layers copied"]
        if self.renamed:
            pairs = ", ".join(f"{ours} from {theirs}" for theirs, ours in self.renamed)
            parts.append(f"under other names: {pairs}")
        if self.missing:
            parts.append(f"not in the file: {', '.join(self.missing)}")
        if self.unused:
            parts.append(f"not in the net: {', '.join(self.unused)}")
        return "; ".join(parts)


class HasParameters(Protocol):
    """What a `Net` has of its parameters."""

    graph: Graph
    params: Any


def copy_into(
    nets: Sequence[HasParameters], path: str | Path, names: Names | None = None
) -> CopyReport:
    """Copy the parameters of a file into several nets; return what the first got.

    Layers get what layers of equal names have, or those that `names` gives to the
    layers of the file. Layers that the net lacks are ignored; layers that the file
    lacks keep what they have. Old shapes with num, channels, height and width fit a
    shape that is padded with 1s in front. Values go from the file straight into the
    parameters.

    Raises `ShapeError`, before anything is copied, where numbers or shapes differ,
    `SpecError` for names that do not exist, and `FileError` for files that cannot be
    read.
    """
    path_of(path, "weights")
    with open_weights(path) as layers:
        found = [_Found(net, layers, path, names) for net in nets]
        # Of layers that share a parameter the last counts, and it is read once.
        pairs = {_place(each.target): each for one in found for each in one.pairs}
        ready = [
            (each.target, each.blob.prepared(f"{path}: {each.what}", each.target.dtype))
            for each in pairs.values()
        ]
        for target, blob in ready:
            blob.fill(target)
        return found[0].report


def copy_files(
    nets: Sequence[HasParameters],
    paths: Sequence[str | Path],
    names: Names | None = None,
) -> list[CopyReport]:
    """Copy the parameters of several files, as `copy_into` does for each of them.

    names: a mapping may have names of layers of any of the files.
    """
    if not isinstance(names, Mapping) or len(paths) < 2:
        return [copy_into(nets, path, names) for path in paths]
    held = []
    for path in paths:
        with open_weights(path) as layers:
            held.append({layer.name for layer in layers})
    for name in names:
        if not any(name in theirs for theirs in held):
            raise SpecError(
                f"{', '.join(map(str, paths))}: names gives {name!r} another name, "
                f"which none of the files has{did_you_mean(name, set().union(*held))}"
            )
    each = [{n: own for n, own in names.items() if n in theirs} for theirs in held]
    return [
        copy_into(nets, path, mine or None)
        for path, mine in zip(paths, each, strict=True)
    ]


@dataclass(frozen=True)
class _Pair:
    """A parameter, the array of the file that it gets, and what messages call it."""

    target: np.ndarray
    blob: StoredBlob
    what: str


class _Found:
    """What the layers of a file are to one net: pairs to copy, and a report."""

    def __init__(
        self,
        net: HasParameters,
        layers: Sequence[LayerWeights],
        path: str | Path,
        names: Names | None,
    ) -> None:
        graph, params = net.graph, net.params
        nodes = {node.name: node for node in graph.nodes if node.params}
        ours = {node.name for node in graph.nodes}
        given, left = named(layers, names, ours, path)
        held = [each for each in given if each.layer.blobs]
        self.pairs: list[_Pair] = []
        for each in held:
            node = nodes.get(each.layer.name)
            if node is not None:
                targets = params[node.name]
                self.pairs.extend(_matched(graph, targets, node, each.layer, path))
        found = {each.layer.name for each in held}
        blobs = {layer.name for layer in layers if layer.blobs}
        unused = [*left]
        for each in held:
            unused.extend(each.theirs if each.layer.name not in ours else ())
        missing = [name for name in nodes if name not in found]
        unused = [name for name in unused if name in blobs]
        self.report = CopyReport(
            path=str(path),
            alike=tuple(_alike(layers, unused, [nodes[name] for name in missing])),
            copied=tuple(name for name in nodes if name in found),
            missing=tuple(missing),
            unused=tuple(unused),
            renamed=tuple(
                (theirs, each.layer.name)
                for each in held
                for theirs in each.theirs
                if each.layer.name in nodes and theirs != each.layer.name
            ),
        )


def _alike(
    layers: Sequence[LayerWeights], unused: Sequence[str], missing: Sequence[Node]
) -> Iterator[tuple[str, str]]:
    """Yield each unused layer with one of the net that it fits and that got nothing."""
    shapes = {layer.name: [b and b.shape for b in layer.blobs] for layer in layers}
    for name in unused:
        for node in missing:
            if shapes[name] == [param.shape for param in node.op.params]:
                yield name, node.name


def _place(array: np.ndarray) -> tuple[int, int]:
    """Return where in memory an array lies."""
    return array.__array_interface__["data"][0], array.nbytes


def warn_of_rest(
    paths: Sequence[str | Path],
    reports: Sequence[CopyReport],
    *,
    keyword: str = "names",
) -> None:
    """Warn, with `SpecWarning`, of files that gave nothing and layers that got nothing.

    reports: of `paths`, copied into one net. keyword: the one by which users give other
    names.
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
        alike = [pair for report in reports for pair in report.alike if pair[1] in left]
        hint = ""
        if alike:
            hint = f", or by {keyword}={dict(alike[:1])}, whose shapes agree"
        also = f"; of the file, {_listed(unused)} are in no layer" if unused else ""
        said.append(
            f"{', '.join(map(str, paths))}: {len(copied)} layers got their weights, "
            f"but {_listed(left)} did not and keep what they have{also}. Layers are "
            f"found by their names{hint}"
        )
    for text in said:
        warn_user(text, SpecWarning)


def _gave_nothing(path: str | Path, report: CopyReport) -> str:
    theirs = (
        f"its layers are {_listed(report.unused)}" if report.unused else "it has none"
    )
    mine = f"are {_listed(report.missing)}" if report.missing else "do not exist"
    return (
        f"{path}: nothing is copied, as no layer with weights has a name that the net "
        f"has: {theirs}, those of the net {mine}. Give the layers of the net the names "
        f"of the file, or say with copy_from(..., names=...) which is which"
    )


def _listed(names: Sequence[str], limit: int = MAX_LISTED) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(repr(name) for name in names[:limit]) + more


def save(
    graph: Graph, params: Params, path: str | Path, *, suffix: str | None = None
) -> None:
    """Write the layers of a net with their parameters, as the suffix of the file says.

    suffix: says it in place of that of the file.

    Shared parameters are repeated in every layer that uses them, as Caffe does: no
    other reader resolves their names. In HDF5 files they stand at their owner only, as
    in Caffe's. The file appears whole or not at all.
    """
    path_of(path, "path")
    layers = []
    for node in graph.nodes:
        layer = LayerParameter()
        layer.CopyFrom(node.layer)
        layer.ClearField("blobs")
        owners = [graph.parameters[index].owner for index in node.params]
        shared = {
            slot
            for slot, owner in enumerate(owners)
            if (owner.node, owner.slot) != (node.index, slot)
        }
        arrays = [blob.data for blob in params.get(node.name, ())]
        layers.append(LayerArrays(layer, arrays, frozenset(shared)))
    write_layers(path, NetParameter(name=graph.name), layers, suffix)


# ---------------------------------------------------------------- matching


def _matched(
    graph: Graph,
    targets: Sequence[Blob],
    node: Node,
    layer: LayerWeights,
    path: str | Path,
) -> Iterable[_Pair]:
    """Pair the arrays of a node with those of the file."""
    too_many = len(layer.blobs) > len(targets)
    if too_many or not _only_shared_missing(graph, node, layer):
        held = len(layer.blobs)
        raise ShapeError(
            f"{path}: {label(node.layer)} has {len(targets)} parameters, the file has "
            f"{held}; {_way_to_count(node, held)}, or its name to keep the values it "
            f"starts with"
        )
    pairs = []
    for slot, blob in enumerate(layer.blobs):
        if blob is None:
            continue
        target = targets[slot].data
        what = f"{label(node.layer)}, parameter {slot}"
        if not _fits(blob, target.shape):
            raise ShapeError(
                f"{path}: {what} has shape {target.shape}, the file has {blob.shape}; "
                f"{_way_to_fit(node, target.shape, blob.shape)}"
            )
        pairs.append(_Pair(target, blob, what))
    return pairs


def _way_to_count(node: Node, blobs: int) -> str:
    """Return how a layer gets as many parameters as a file has."""
    if node.type == "BatchNorm" and blobs in (4, 5):
        words = "scale_bias: true"
        if blobs == 4:
            words = "use_weight_bias: true bias_term: false"
        return (
            f"the file is of a fork whose BatchNorm has a factor and a bias: add "
            f"batch_norm_param {{ {words} }}"
        )
    if node.type == "BN" and blobs in (2, 4):
        words = "bn_mode: LEARN (SegNet's)" if blobs == 2 else "eps: 1e-5 (PSPNet's)"
        return f"the file is of another fork's BN: its bn_param says {words}"
    return "change the layer"


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
