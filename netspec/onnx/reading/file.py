"""An ONNX file to a model: what is broken or claims too much is refused here."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from google.protobuf.message import DecodeError

from netspec.errors import FileError, MachineError, UnsupportedError
from netspec.files import read_bytes
from netspec.onnx.reading.library import library
from netspec.room import check_room

if TYPE_CHECKING:
    import onnx

MOST_BYTES = (1 << 31) - 1  # of one message
MAX_NODES = 200_000  # of a graph
MAX_FUNCTIONS = 2_000  # of a model
MAX_AXES = 32  # of a tensor; NumPy has room for twice as many
EXTERNAL = 1  # TensorProto.DataLocation


def read_model(path: str | Path) -> onnx.ModelProto:
    """Return the model of an ONNX file, its functions written out.

    Values in files beside it are not read yet: see `tensor_values`.

    Raises `FileError` for a file that cannot be read or is none, `MachineError` without
    the library, `UnsupportedError` for what is no inference graph.
    """
    onnx = library()
    data = read_bytes(path)
    if len(data) > MOST_BYTES:
        raise FileError(
            f"{path}: has {len(data):,} bytes, one message holds less than 2 GiB; save "
            f"it with its values in a file beside it: onnx.save(model, path, "
            f"save_as_external_data=True)"
        )
    try:
        model = onnx.ModelProto.FromString(data)
    except (DecodeError, RecursionError, UnicodeDecodeError):
        raise FileError(
            f"{path}: is not an ONNX model, or was cut short; copy or export it again"
        ) from None
    del data
    if not model.HasField("graph") or not model.ir_version or not model.graph.output:
        raise FileError(f"{path}: is not an ONNX model: it has no graph with outputs")
    if len(model.graph.node) > MAX_NODES:
        raise FileError(
            f"{path}: has {len(model.graph.node):,} nodes; at most {MAX_NODES:,} are "
            f"read. Is it broken?"
        )
    if model.graph.sparse_initializer:
        name = model.graph.sparse_initializer[0].values.name
        raise UnsupportedError(
            f"{path}: initializer {name!r} is sparse; save it as a dense tensor"
        )
    _check_text(model, path)
    return _without_functions(model, path) if model.functions else model


def _check_text(model: Any, path: str | Path) -> None:
    """Refuse names that are not UTF-8, which protobuf hands out as bytes."""
    graph = model.graph
    texts = [graph.name, *(each.name for each in graph.initializer)]
    for node in (*graph.node, *(each for f in model.functions for each in f.node)):
        texts += [node.name, node.op_type, node.domain, *node.input, *node.output]
        texts += [each.name for each in node.attribute]
        texts += [each.ref_attr_name for each in node.attribute]
        texts += [
            text for each in node.metadata_props for text in (each.key, each.value)
        ]
    for value in (*graph.input, *graph.output):
        dims = value.type.tensor_type.shape.dim
        texts += [value.name, *(dim.dim_param for dim in dims)]
    texts += [each.domain for each in model.opset_import]
    for function in model.functions:
        texts += [function.name, function.domain, *function.input, *function.output]
    for tensor in graph.initializer:
        texts += [part for e in tensor.external_data for part in (e.key, e.value)]
    bad = next((text for text in texts if isinstance(text, bytes)), None)
    if bad is not None:
        raise FileError(f"{path}: the name {bad[:60]!r} in it is not UTF-8 text")


def _without_functions(model: Any, path: str | Path) -> Any:
    """Return the model with the nodes of its functions in place of their calls."""
    calls = {(each.domain, each.name): each for each in model.functions}
    if len(calls) > MAX_FUNCTIONS or _calls_itself(calls):
        raise FileError(
            f"{path}: a function of the model calls itself, or there are more than "
            f"{MAX_FUNCTIONS:,} functions, or {MAX_NODES:,} nodes in one"
        )
    try:
        return library().inliner.inline_local_functions(model)
    except Exception as error:
        raise FileError(
            f"{path}: the functions of the model cannot be written out: "
            f"{str(error)[:300]}"
        ) from error


def _calls_itself(calls: dict[tuple[str, str], Any]) -> bool:
    """Tell whether functions call each other in a circle, or each other too often."""
    sizes: dict[tuple[str, str], int] = {}
    before = -1
    while before < len(sizes):
        before = len(sizes)
        for key, function in calls.items():
            inner = [(node.domain, node.op_type) for node in function.node]
            if key not in sizes and all(
                name in sizes or name not in calls for name in inner
            ):
                sizes[key] = sum(sizes.get(name, 1) for name in inner)
    return len(sizes) < len(calls) or max(sizes.values(), default=0) > MAX_NODES


def opsets(model: Any, path: str | Path) -> dict[str, int]:
    """Return the version of every operator set, by domain; "" is ONNX's own.

    Raises `FileError` where there is none, `UnsupportedError` for one that the library
    does not know.
    """
    versions = {
        "" if each.domain == "ai.onnx" else each.domain: each.version
        for each in model.opset_import
    }
    if "" not in versions:
        raise FileError(
            f"{path}: does not say which version of ONNX's operators it uses "
            f"(opset_import), so it is no whole model; export it again"
        )
    onnx = library()
    newest = onnx.defs.onnx_opset_version()
    if not 1 <= versions[""] <= newest:
        raise UnsupportedError(
            f"{path}: uses version {versions['']} of ONNX's operators; the library "
            f"onnx {onnx.__version__} knows 1 to {newest}. Install a newer one, or "
            f"export with a lower opset_version"
        )
    return versions


def tensor_values(tensor: Any, path: str | Path) -> np.ndarray:
    """Return the values of a tensor, read from the file that it names if it does.

    Raises `FileError` for values that are not there or do not fit the sizes,
    `MachineError` for more than fits into memory.
    """
    onnx = library()
    what = f"{path}: tensor {tensor.name!r}"
    sizes = tuple(tensor.dims)
    if len(sizes) > MAX_AXES or any(size < 0 for size in sizes):
        raise FileError(f"{what} has sizes {sizes[:MAX_AXES]}; is the file broken?")
    try:
        kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    except (KeyError, ValueError, TypeError):
        raise FileError(f"{what} has type {tensor.data_type}, unknown here") from None
    if kind.kind == "O" or tensor.data_type == onnx.TensorProto.STRING:
        raise UnsupportedError(f"{what} holds text; a net computes with numbers")
    check_room(2 * math.prod(sizes) * kind.itemsize, what)
    if tensor.data_location == EXTERNAL:
        _check_outside(tensor, path, what, math.prod(sizes) * kind.itemsize)
        other = onnx.TensorProto()
        other.CopyFrom(tensor)
        tensor = other
    try:
        if tensor.data_location == EXTERNAL:
            folder = os.fspath(Path(path).absolute().parent)
            onnx.external_data_helper.load_external_data_for_tensor(tensor, folder)
        values = onnx.numpy_helper.to_array(tensor)
    except MemoryError:
        raise MachineError(f"{what} needs more memory than can be had here") from None
    except Exception as error:  # of many kinds: the library's, the system's, NumPy's
        raise FileError(
            f"{what} of shape {sizes} cannot be read: {str(error)[:300]}"
        ) from error
    if values.shape != sizes:
        raise FileError(f"{what} has values of shape {values.shape}, not {sizes}")
    return values


def _check_outside(tensor: Any, path: str | Path, what: str, nbytes: int) -> None:
    """Refuse values outside the file that are not all there, before they are read.

    What lies outside the folder of the model the library refuses itself.
    """
    entries = {each.key: each.value for each in tensor.external_data}
    try:
        offset, length = int(entries.get("offset", 0)), int(entries.get("length", -1))
    except ValueError:
        raise FileError(f"{what} has a place {entries} that is no number") from None
    if offset < 0 or length not in (-1, nbytes):
        raise FileError(
            f"{what} needs {nbytes:,} bytes, {entries.get('location')!r} is said to "
            f"have {length:,} from {offset:,} on; save the model again"
        )
    location = entries.get("location", "")
    if not location:
        raise FileError(f"{what} lies in another file, which is not named")
    if length == -1:
        try:
            size = (Path(path).parent / location).stat().st_size
        except (OSError, ValueError):
            return  # told when it is read
        if size - offset != nbytes:
            raise FileError(
                f"{what} needs {nbytes:,} bytes, {location!r} has {size - offset:,} "
                f"from {offset:,} on; save the model again"
            )
