"""Nodes that need no input of the net: their values, by the library's evaluator.

torch.onnx writes `x.view(x.size(0), -1)` as Shape, Gather, Unsqueeze, Concat and
Reshape; with known sizes all but the last are constants.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from netspec.errors import MachineError
from netspec.onnx.reading.library import library
from netspec.onnx.reading.node import Node
from netspec.onnx.reading.values import Blob, Constant, Padded, Value
from netspec.room import check_room

FOLDED = frozenset(
    (
        "Abs",
        "Add",
        "And",
        "Cast",
        "CastLike",
        "Ceil",
        "Clip",
        "Concat",
        "Constant",
        "ConstantOfShape",
        "DequantizeLinear",
        "Div",
        "Equal",
        "Exp",
        "Expand",
        "Flatten",
        "Floor",
        "Gather",
        "GatherElements",
        "GatherND",
        "Greater",
        "GreaterOrEqual",
        "Identity",
        "Less",
        "LessOrEqual",
        "Log",
        "Max",
        "Min",
        "Mod",
        "Mul",
        "Neg",
        "NonZero",
        "Not",
        "Or",
        "Pad",
        "Pow",
        "Range",
        "Reciprocal",
        "ReduceL2",
        "ReduceMax",
        "ReduceMean",
        "ReduceMin",
        "ReduceProd",
        "ReduceSum",
        "ReduceSumSquare",
        "Reshape",
        "Round",
        "ScatterND",
        "Shape",
        "Sign",
        "Size",
        "Slice",
        "Split",
        "Sqrt",
        "Squeeze",
        "Sub",
        "Sum",
        "Tile",
        "Transpose",
        "Trilu",
        "Unsqueeze",
        "Where",
    )
)
SPARE = 1 << 24  # values that folded nodes may make beside four times those given
SMALL = 4096  # values of a constant that tell shapes
_BROADCAST = frozenset(
    {
        "Add",
        "And",
        "Div",
        "Equal",
        "Greater",
        "GreaterOrEqual",
        "Less",
        "LessOrEqual",
        "Max",
        "Min",
        "Mod",
        "Mul",
        "Or",
        "Pow",
        "Sub",
        "Where",
    }
)


def foldable(node: Node) -> bool:
    """Tell whether a node can be computed now."""
    if node.op not in FOLDED or node.schema is None:
        return False
    if node.op in ("Shape", "Size"):
        return True
    return all(x is None or isinstance(x, Constant) for x in node.inputs)


def fold(node: Node, room: int) -> list[Constant | None]:
    """Return the values of the outputs of a node of constants.

    room: how many values they may have. Raises `Refused` for more, and for what goes
    wrong.
    """
    first = node.inputs[0] if node.inputs else None
    if node.op == "Shape" and first is not None:
        begin, end = node.option("start", 0), node.option("end")
        return [Constant(np.array(first.shape[begin:end], np.int64))]
    if node.op == "Size" and first is not None:
        return [Constant(np.array(math.prod(first.shape), np.int64))]
    constants = [x if isinstance(x, Constant) else None for x in node.inputs]
    if node.op == "Identity" and constants[0] is not None:
        return [constants[0]]
    _check_size(node, constants, room)
    values = _evaluated(node, constants)
    learned = any(x.learned for x in constants if x is not None)
    sources = [x.source if x is not None else "" for x in constants]
    told = any(sources) and all(
        x is None or x.source or x.values.size <= SMALL for x in constants
    )
    made: list[Constant | None] = []
    for place, each in enumerate(values):
        source = _source(node, place, sources, constants) if told else ""
        if each is None or each.dtype.kind in "OSU":
            made.append(None)
        else:
            made.append(Constant(each, source, learned))
    return made


def _source(
    node: Node,
    place: int,
    sources: Sequence[str],
    constants: Sequence[Constant | None],
) -> str:
    """Return what tells these values from others: the operation and its inputs."""
    inputs = [
        source or (str(x.values.tolist()) if x is not None else "")
        for source, x in zip(sources, constants, strict=True)
    ]
    options = sorted(str(each).strip() for each in node.proto.attribute)
    return f"{node.op}({', '.join(inputs)}){options if options else ''}.{place}"


def _check_size(node: Node, constants: Sequence[Constant | None], room: int) -> None:
    """Refuse what would make more values than can be had, before it is computed."""
    try:
        made = _count(node, [x.values for x in constants if x is not None])
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        node.refuse(f"its constants do not fit each other: {error}")
    if made > room:
        node.refuse(
            f"it makes a constant of {made:,} values; {room:,} are left for all that "
            f"need no input"
        )
    try:
        check_room(16 * made, f"a constant of {made:,} values")
    except MachineError as error:
        node.refuse(str(error))


def _count(node: Node, arrays: Sequence[np.ndarray]) -> int:
    """Return how many values a node makes at most."""
    if node.op == "Range":
        start, stop, step = (float(each) for each in arrays)
        return max(0, math.ceil((stop - start) / step))
    if node.op == "ConstantOfShape":
        return math.prod(max(int(size), 1) for size in arrays[0].reshape(-1))
    if node.op == "Expand":
        wanted = tuple(int(size) for size in arrays[1].reshape(-1))
        return _product(arrays[0].shape) * _product(wanted)
    if node.op == "Tile":
        return arrays[0].size * _product([int(n) for n in arrays[1].reshape(-1)])
    if node.op == "Pad":
        pads = arrays[1].reshape(-1) if len(arrays) > 1 else node.option("pads", [])
        most = max((abs(int(pad)) for pad in pads), default=0)
        return _product([size + 2 * most for size in arrays[0].shape])
    if node.op == "Gather":
        rank = max(arrays[0].ndim, 1)
        along = arrays[0].shape[int(node.option("axis", 0)) % rank]
        return arrays[0].size // max(along, 1) * arrays[1].size
    if node.op == "GatherND":
        return _product(arrays[0].shape[1:]) * arrays[1].size
    if node.op in _BROADCAST:
        return math.prod(np.broadcast_shapes(*(each.shape for each in arrays)))
    return sum(each.size for each in arrays)


def _product(sizes: Sequence[int]) -> int:
    return math.prod(max(size, 1) for size in sizes)


def _evaluated(
    node: Node, constants: Sequence[Constant | None]
) -> list[np.ndarray | None]:
    """Run one node by the library's evaluator."""
    onnx = library()
    names = [name for name in node.proto.input if name]
    graph = onnx.helper.make_graph(
        [node.proto],
        "constants",
        [
            onnx.helper.make_value_info(name, onnx.TypeProto())
            for name in dict.fromkeys(names)
        ],
        [
            onnx.helper.make_value_info(name, onnx.TypeProto())
            for name in node.proto.output
            if name
        ],
    )
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", node.version)]
    )
    given = {
        name: x.values
        for name, x in zip(node.proto.input, constants, strict=True)
        if name and x is not None
    }
    try:
        with np.errstate(all="ignore"):
            found = iter(onnx.reference.ReferenceEvaluator(model).run(None, given))
    except MemoryError:
        node.refuse("its values need more memory than can be had here")
    except Exception as error:  # of many kinds
        node.refuse(
            f"its values cannot be computed: {type(error).__name__}: {str(error)[:200]}"
        )
    return [np.asarray(next(found)) if name else None for name in node.proto.output]


def output_shapes(node: Node) -> list[tuple[int, ...] | None]:
    """Return the shape of every output as the library infers it, None if it cannot.

    It is only asked about nodes that a rule has accepted, with inputs that are not
    empty: with others it may end the process (1.23.2).
    """
    onnx = library()
    if any(
        value is not None and min(value.shape, default=1) < 1 for value in node.inputs
    ):
        return [None for _ in node.proto.output]
    kinds, data = {}, {}
    for name, value in zip(node.proto.input, node.inputs, strict=True):
        if value is None:
            continue
        kinds[name] = onnx.helper.make_tensor_type_proto(_kind(value), value.shape)
        if isinstance(value, Constant) and value.values.size <= SMALL:
            data[name] = onnx.numpy_helper.from_array(_plain(value.values), name)
    try:
        found = onnx.shape_inference.infer_node_outputs(
            node.schema,
            node.proto,
            kinds,
            data,
            None,
            [onnx.helper.make_opsetid("", node.version)],
        )
    except Exception:  # an inference error: the node is looked at by its rule
        return [None for _ in node.proto.output]
    return [_shape(found.get(name)) for name in node.proto.output]


def _kind(value: Value) -> int:
    """Return the element type for inference, where all real numbers are float32."""
    onnx = library()
    float32, int64 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64
    if isinstance(value, Blob | Padded):
        return int(float32 if value.kind == "numbers" else int64)
    if value.is_real:
        return int(float32)
    return int(onnx.helper.np_dtype_to_tensor_dtype(value.values.dtype))


def _plain(values: np.ndarray) -> np.ndarray:
    constant = Constant(values)
    return constant.real() if constant.is_real else values


def _shape(kind: Any) -> tuple[int, ...] | None:
    """Return the sizes that a type tells, None where one is missing."""
    if kind is None or not kind.tensor_type.HasField("shape"):
        return None
    sizes = kind.tensor_type.shape.dim
    if not all(size.HasField("dim_value") and size.dim_value >= 0 for size in sizes):
        return None
    return tuple(size.dim_value for size in sizes)
