"""The message: what was written and named, by the library `onnx`."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from netspec.errors import MachineError
from netspec.graph import Graph
from netspec.onnx.writing.batch import Batches
from netspec.onnx.writing.names import all_pieces, values_of
from netspec.onnx.writing.values import Body, Piece, Value
from netspec.ops.base import label

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

TYPES = {"float32": 1, "int32": 6, "int64": 7, "bool": 9}
IR_WITH_METADATA_OF_NODES = 10


def import_onnx() -> Any:
    """Return the library; raises `MachineError` where it is missing."""
    try:
        import onnx
    except ImportError as error:
        raise MachineError(
            "writing ONNX needs the library onnx; install the extra netspec[interop]"
        ) from error
    return onnx


@dataclass(frozen=True)
class Written:
    """A model of which everything has its name.

    edges: values of edges by number. inputs: edges. outputs: values, and the edge that
    tells the shape of each.
    """

    batches: Batches
    opset: int
    pieces: Sequence[Piece]
    edges: Mapping[int, Value]
    inputs: Sequence[int]
    outputs: Sequence[tuple[Value, int]]
    unknown: frozenset[int]  # edges of whose shape only the number of axes is known


def constants_of(pieces: Sequence[Piece]) -> list[Value]:
    """Return the constants that nodes read, each once, in order."""
    read = [value for piece in all_pieces(pieces) for value in values_of(piece)]
    return [value for value in dict.fromkeys(read) if value.array is not None]


def emit(
    written: Written,
    constants: Sequence[Value],
    fill: Callable[[TensorProto, np.ndarray], None],
) -> ModelProto:
    """Return the model; fill: puts the values of a constant into its message.

    Every message is made in its place, as moving it would copy its values.
    """
    onnx = import_onnx()
    graph = written.batches.graph
    opset = onnx.helper.make_opsetid("", written.opset)
    ir_version = onnx.helper.find_min_ir_version_for([opset])
    told = ir_version >= IR_WITH_METADATA_OF_NODES
    model: ModelProto = onnx.ModelProto(
        ir_version=ir_version,
        producer_name="netspec",
        producer_version=_version(),
        doc_string=f"The Caffe net {graph.name!r} in its TEST phase.",
        opset_import=[opset],
    )
    proto = model.graph
    proto.name = graph.name or "net"
    proto.node.extend(_nodes(onnx, graph, written.pieces, told=told))
    for value in constants:
        array = held(value)
        fill(
            proto.initializer.add(
                name=value.name, data_type=TYPES[array.dtype.name], dims=array.shape
            ),
            array,
        )
    proto.input.extend(_info(onnx, written, edge) for edge in written.inputs)
    for value, edge in written.outputs:
        proto.output.append(_info(onnx, written, edge, value.name))
    proto.value_info.extend(_infos(onnx, written))
    for key, said in _metadata(graph).items():
        model.metadata_props.add(key=key, value=said)
    return model


def fill(proto: TensorProto, array: np.ndarray) -> None:
    """Put the values of a constant into its message."""
    proto.raw_data = little(array).tobytes()


def little(array: np.ndarray) -> np.ndarray:
    """Return an array with the bytes in ONNX's order."""
    return array.astype(array.dtype.newbyteorder("<"), copy=False)


def held(value: Value) -> np.ndarray:
    """Return the array of a constant."""
    if value.array is None:
        raise TypeError(f"{value.name!r} is no constant")
    return value.array


def _nodes(
    onnx: Any, graph: Graph, pieces: Sequence[Piece], *, told: bool
) -> Iterator[NodeProto]:
    for piece in pieces:
        layer = graph.nodes[piece.layer]
        attributes = {
            name: onnx.numpy_helper.from_array(value)
            if isinstance(value, np.ndarray)
            else value
            for name, value in piece.attributes.items()
        }
        body = attributes.get("body")
        if isinstance(body, Body):
            attributes["body"] = _body(onnx, graph, piece, body, told=told)
        node = onnx.helper.make_node(
            piece.kind,
            ["" if value is None else value.name for value in piece.inputs],
            [value.name for value in piece.outputs],
            name=piece.name,
            doc_string=_told(graph, [piece.layer, *piece.taken_in]),
            **attributes,
        )
        if told:
            path, _, _ = layer.name.rpartition("/")
            for key, said in (
                ("namespace", path),
                ("netspec.layer", layer.name),
                ("netspec.type", layer.type),
            ):
                node.metadata_props.add(key=key, value=said)
        yield node


def _told(graph: Graph, numbers: Sequence[int]) -> str:
    """Return which layers a node is: `layer 'bn' (BatchNorm), layer ...`."""
    return ", ".join(label(graph.nodes[number].layer) for number in numbers)


def _body(
    onnx: Any, graph: Graph, piece: Piece, body: Body, *, told: bool
) -> GraphProto:
    def infos(values: Sequence[Value]) -> list[ValueInfoProto]:
        return [
            onnx.helper.make_tensor_value_info(value.name, 1, None) for value in values
        ]

    proto: GraphProto = onnx.helper.make_graph(
        list(_nodes(onnx, graph, body.pieces, told=told)),
        f"{piece.name}/body",
        infos(body.inputs),
        infos(body.outputs),
    )
    return proto


def _info(
    onnx: Any, written: Written, edge: int, name: str | None = None
) -> ValueInfoProto:
    """Return name, type and shape of an edge's value."""
    shape: Sequence[int | str | None] = written.batches.shape(edge)
    if edge in written.unknown:
        shape = [None] * len(shape)
    info: ValueInfoProto = onnx.helper.make_tensor_value_info(
        written.edges[edge].name if name is None else name, 1, shape
    )
    return info


def _infos(onnx: Any, written: Written) -> Iterator[ValueInfoProto]:
    """Yield the shapes of all blobs that nodes make and that are no outputs."""
    seen = {value for value, _ in written.outputs}
    seen.update(written.edges[edge] for edge in written.inputs)
    for edge, value in written.edges.items():
        if value not in seen and value.array is None:
            seen.add(value)
            yield _info(onnx, written, edge)


def _version() -> str:
    try:
        return importlib.metadata.version("netspec")
    except importlib.metadata.PackageNotFoundError:  # run from a checkout
        return ""


def _metadata(graph: Graph) -> dict[str, str]:
    """Return what the model says of the net: modules, with the layers in each."""
    modules: dict[str, list[str]] = {}
    for node in graph.nodes:
        path, slash, _ = node.name.rpartition("/")
        if slash:
            modules.setdefault(path, []).append(node.name)
    return {
        "netspec.net": graph.name,
        "netspec.modules": json.dumps(modules),
        "netspec.types": json.dumps({node.name: node.type for node in graph.nodes}),
    }
