"""Models to files; values above 2 GiB beside the model, in one file of their own.

Values go from the arrays into a file without a copy: the message of the model is
written in pieces, those with values from the arrays themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from netspec.errors import SpecError
from netspec.files import replacing
from netspec.onnx.writing.emit import Written, emit, fill, held, import_onnx, little
from netspec.onnx.writing.values import Value
from netspec.schema.wire import varint

if TYPE_CHECKING:
    from onnx import ModelProto, TensorProto

LARGEST_MESSAGE = 2**31 - 1
RESERVED = 2**24  # bytes for all of a message that are no values
ALIGNED = 4096  # values in a file of their own begin at multiples, to be mapped
SMALLEST_OUTSIDE = 1024  # bytes; smaller values stay in the model
# Keys of fields that hold bytes: ModelProto.graph, GraphProto.initializer, and
# TensorProto.raw_data.
GRAPH, INITIALIZER, RAW_DATA = (bytes([number << 3 | 2]) for number in (7, 5, 9))


def lies_outside(
    constants: Sequence[Value], path: Path | None, external_data: bool | None
) -> bool:
    """Tell whether values lie beside the model.

    external_data: what was asked for; None does so where the model would be too large
    for one message.

    Raises `SpecError` where it is too large, or has no path to lie beside.
    """
    nbytes = sum(held(value).nbytes for value in constants)
    too_large = nbytes > LARGEST_MESSAGE - RESERVED
    if too_large and external_data is False:
        raise SpecError(
            f"the parameters have {nbytes:,} bytes, one message holds less than 2 GiB; "
            f"leave external_data out"
        )
    outside = too_large or bool(external_data)
    if outside and path is None:
        raise SpecError(
            f"the parameters, {nbytes:,} bytes, are to lie beside the model; give the "
            f"path of a file"
        )
    return outside


def save(written: Written, constants: Sequence[Value], path: Path) -> None:
    """Write a model with its values, whole or not at all."""
    model = emit(written, constants, lambda *_: None)
    with replacing(path) as file:
        for piece in _pieces(model, constants):
            file.write(piece)


def save_with_data_beside(
    written: Written, constants: Sequence[Value], path: Path
) -> ModelProto:
    """Write a model, and its larger values to `path` with `.data` behind it."""
    external = import_onnx().TensorProto.EXTERNAL
    data = path.with_name(f"{path.name}.data")
    with replacing(data) as file:
        end = 0

        def write(proto: TensorProto, array: np.ndarray) -> None:
            nonlocal end
            if array.nbytes < SMALLEST_OUTSIDE:
                fill(proto, array)
                return
            start = -(-end // ALIGNED) * ALIGNED
            file.write(bytes(start - end))
            file.write(_bytes(array))
            end = start + array.nbytes
            proto.data_location = external
            for key, said in (
                ("location", data.name),
                ("offset", start),
                ("length", array.nbytes),
            ):
                proto.external_data.add(key=key, value=str(said))

        model = emit(written, constants, write)
    with replacing(path) as file:
        file.write(model.SerializeToString())
    return model


def _pieces(
    model: ModelProto, constants: Sequence[Value]
) -> Iterator[bytes | memoryview]:
    """Yield a serialized model; model: without the values of its constants."""
    tensors: list[tuple[bytes, memoryview]] = []
    for proto, value in zip(model.graph.initializer, constants, strict=True):
        values = _bytes(held(value))
        head = proto.SerializeToString() + RAW_DATA + varint(values.nbytes)
        start = INITIALIZER + varint(len(head) + values.nbytes)
        tensors.append((start + head, values))
    del model.graph.initializer[:]
    graph = model.graph.SerializeToString()
    model.ClearField("graph")
    yield model.SerializeToString()
    size = len(graph) + sum(len(head) + values.nbytes for head, values in tensors)
    yield GRAPH + varint(size) + graph
    for head, values in tensors:
        yield head
        yield values


def _bytes(array: np.ndarray) -> memoryview:
    """Return the bytes of an array, those of the array itself where that can be."""
    flat = np.ascontiguousarray(little(array)).reshape(-1)
    return flat.view(np.uint8).data
