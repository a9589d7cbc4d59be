"""From a net with its values to an ONNX model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netspec.catalogue import LAYER_TYPES
from netspec.errors import SpecError, UnsupportedError, join
from netspec.graph import Graph, Node
from netspec.graph.types import AUTOMATIC
from netspec.nets.filter import kept_net, merge_state
from netspec.onnx.writing.batch import Batch, Batches, with_batch
from netspec.onnx.writing.draft import Draft
from netspec.onnx.writing.emit import Written, constants_of, emit, fill, import_onnx
from netspec.onnx.writing.families import load
from netspec.onnx.writing.layer import WRITERS, Layer
from netspec.onnx.writing.names import name_rest, name_values
from netspec.onnx.writing.saving import lies_outside, save, save_with_data_beside
from netspec.onnx.writing.values import Piece, Value
from netspec.ops import known_types, op_class
from netspec.ops.base import label
from netspec.schema import TEST, LayerParameter, NetParameter
from netspec.weights import Weights, as_model, complete

if TYPE_CHECKING:
    from onnx import ModelProto

OLDEST_OPSET = 13
DEFAULT_OPSET = 17
# Layers whose tops have as many rows as a run finds.
_FOUND = ("DetectionOutput",)


def to_onnx(
    net: Any,
    weights: str | Path | Mapping[str, Sequence[Any]] | None = None,
    *,
    path: str | Path | None = None,
    opset: int = DEFAULT_OPSET,
    batch: Batch = None,
    external_data: bool | None = None,
) -> ModelProto:
    """Return a net in its TEST phase as an ONNX model of standard operators.

    net: a net for use, as `netspec.load` takes it, or a `Model`. weights: a weight
    file, or arrays by layer name; None takes those that the net itself has. path: a
    file to write. opset: the version of ONNX's operators, from 13 to the newest that
    the library `onnx` has. batch: a number becomes the first axis of every input, with
    "dynamic" that axis may have any size; None leaves it. external_data: write values
    to `path` with `.data` behind it, which is done anyhow where the model has 2 GiB.

    A blob keeps its name, and a node has that of its layer. The numbers are those of
    `runtime`, up to rounding; see the page ONNX of the documentation.

    Raises `UnsupportedError` naming every layer that ONNX has nothing equal to,
    `SpecError` for a net without values, another opset or a batch that a layer does not
    take, `FileError` for files, `MachineError` where the library `onnx` is missing.
    """
    written, constants = _written(net, weights, opset, batch)
    target = None if path is None else Path(path)
    outside = lies_outside(constants, target, external_data)
    if target is not None and outside:
        return save_with_data_beside(written, constants, target)
    if target is not None:
        save(written, constants, target)
    return emit(written, constants, fill)


def save_onnx(
    net: Any,
    weights: str | Path | Mapping[str, Sequence[Any]] | None,
    path: str | Path,
    *,
    opset: int = DEFAULT_OPSET,
    batch: Batch = None,
    external_data: bool | None = None,
) -> None:
    """Write what `to_onnx` writes, without a copy of the values in memory.

    Raises what `to_onnx` raises.
    """
    written, constants = _written(net, weights, opset, batch)
    if lies_outside(constants, Path(path), external_data):
        save_with_data_beside(written, constants, Path(path))
    else:
        save(written, constants, Path(path))


def _written(
    net: Any,
    weights: str | Path | Mapping[str, Sequence[Any]] | None,
    opset: int,
    batch: Batch,
) -> tuple[Written, list[Value]]:
    """Return a net as nodes that have their names, and the constants that they read."""
    _check_options(import_onnx(), opset, batch)
    model = as_model(net, weights)
    _check_types(model.net)
    batches = with_batch(model.net, batch)
    _check_values(batches.graph)
    model = complete(model, batches.graph)
    if model.weights is None and batches.graph.parameters:
        raise SpecError(
            "the net has no values of its parameters, and an ONNX file is nothing "
            "without; give the weights, as in --weights net.caffemodel or "
            "to_onnx(net, 'net.caffemodel')"
        )
    return _write(batches, model.weights or {}, opset)


def _check_options(onnx: Any, opset: Any, batch: Any) -> None:
    newest = onnx.defs.onnx_opset_version()
    if not isinstance(opset, int) or not OLDEST_OPSET <= opset <= newest:
        raise SpecError(
            f"opset is {opset!r}; expected a number from {OLDEST_OPSET} to {newest}, "
            f"the newest of onnx {onnx.__version__}"
        )
    number = isinstance(batch, int) and not isinstance(batch, bool) and batch >= 1
    if not number and batch not in (None, "dynamic"):
        raise SpecError(
            f"batch is {batch!r}; expected a number of at least 1, or 'dynamic'"
        )


def _check_types(net: NetParameter) -> None:
    """Refuse what a net for use does not have, and types without a writer.

    That comes first: shapes behind such layers are often not known either.
    """
    load()
    known = known_types()
    kept = kept_net(net, merge_state(net, TEST)).message
    _raise(
        [
            UnsupportedError(_why_not(layer), layer=label(layer))
            for layer in kept.layer
            if layer.type in known and layer.type not in (*WRITERS, "Input")
        ]
    )


def _check_values(graph: Graph) -> None:
    """Refuse blobs without any value."""
    mistakes = []
    for node in graph.nodes:
        for edge in node.tops:
            if 0 in graph.edges[edge].shape:
                mistakes.append(
                    UnsupportedError(
                        f"cannot be written as ONNX: its top "
                        f"{graph.edges[edge].blob!r} has no values, its shape is "
                        f"{graph.edges[edge].shape}",
                        layer=label(node.layer),
                    )
                )
    _raise(mistakes)


def _why_not(layer: LayerParameter) -> str:
    said = "cannot be written as ONNX: "
    kind, row = op_class(layer.type), LAYER_TYPES.get(layer.type)
    if layer.type == "Python":
        param = layer.python_param
        return said + (
            f"its arithmetic is Python code, {param.module}.{param.layer}; write it "
            f"with other layers, or leave it out of the net for use"
        )
    for_use = "; export the net for use, with --deploy or netspec.deploy(net)"
    if kind.is_source:
        return f"{said}it reads data, which a model gets as inputs{for_use}"
    if kind.is_loss or (row is not None and row.auto_top):
        return f"{said}it is a loss, and ONNX files are for use{for_use}"
    if layer.type in ("Accuracy", "DetectionEvaluate", "HDF5Output"):
        return f"{said}it measures or writes results, and belongs to tests{for_use}"
    return f"{said}there is nothing equal among its operators"


def _write(
    batches: Batches, weights: Weights, opset: int
) -> tuple[Written, list[Value]]:
    graph = batches.graph
    draft = Draft(graph, weights, opset)
    edges: dict[int, Value] = {}
    mistakes: list[UnsupportedError] = []
    unknown: set[int] = set()
    for node in graph.nodes:
        if node.type == "Input":
            for edge in node.tops:
                edges[edge] = Value(graph.edges[edge].blob, is_input=True)
            continue
        try:
            tops = _tops(draft, batches, node, edges, unknown)
        except UnsupportedError as error:
            mistakes.append(error)
            tops = [Value("") for _ in node.tops]
        edges.update(zip(node.tops, tops, strict=True))
        if node.type in _FOUND:
            unknown.update(node.tops)
    _raise(mistakes)
    outputs = _outputs(draft, edges)
    names = name_values(graph, edges, {blob: value for blob, value, _ in outputs})
    name_rest(graph, names, draft.pieces)
    written = Written(
        batches=batches,
        opset=opset,
        pieces=draft.pieces,
        edges=edges,
        inputs=[e for n in graph.nodes if n.type == "Input" for e in n.tops],
        outputs=[(value, edge) for _, value, edge in outputs],
        unknown=frozenset(unknown),
    )
    return written, constants_of(draft.pieces)


def _tops(
    draft: Draft,
    batches: Batches,
    node: Node,
    edges: Mapping[int, Value],
    unknown: set[int],
) -> Sequence[Value]:
    """Write one layer and return the values of its tops."""
    bottoms = [edges[edge] for edge in node.bottoms]
    other = batches.other and batches.other.nodes[node.index].op
    layer = Layer(draft, node, other or None, bottoms)
    if unknown.intersection(node.bottoms) and node.tops:
        raise layer.refused(
            "how many rows its bottom has is only known when the model runs"
        )
    made = WRITERS[node.type](layer)
    return [made] if isinstance(made, Value) else made


def _outputs(draft: Draft, edges: dict[int, Value]) -> list[tuple[str, Value, int]]:
    """Return the outputs, each with a value that no other name is for, and its edge.

    A value that is an input, a constant or another output as well is copied.
    """
    graph = draft.graph
    found: list[tuple[str, Value, int]] = []
    taken: set[Value] = set()
    for blob in graph.outputs:
        edge = graph.blobs[blob]
        producer = graph.nodes[graph.edges[edge].producer]
        if producer.type == "Input" or blob == AUTOMATIC:
            continue
        value = edges[edge]
        if value.is_input or value.array is not None or value in taken:
            copy = Value(blob)
            index = producer.index
            draft.pieces.append(Piece("Identity", [value], [copy], {}, index))
            value = edges[edge] = copy
        taken.add(value)
        found.append((blob, value, edge))
    if not found:
        raise SpecError("the net has no outputs: every blob is read by some layer")
    return found


def _raise(mistakes: Sequence[UnsupportedError]) -> None:
    if len(mistakes) == 1:
        raise mistakes[0]
    if mistakes:
        raise UnsupportedError(join([str(each) for each in mistakes]))
