"""Files in the safetensors format: a header in JSON, and the bytes of all arrays.

Read and written here, not by the library of that name: values go from the file straight
into the arrays of a net, and the other way. (The library hands out arrays of its own,
copies what it writes, and writes other numbers where an array is no C array.)

Source: https://huggingface.co/docs/safetensors, "Format".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import IO, Any

import numpy as np

from netspec.errors import FileError, SpecError
from netspec.files import FileBytes
from netspec.ops.base import count
from netspec.schema.wire import Piece
from netspec.weights.stored import BFLOAT16, StoredBlob, of_bytes

MAX_HEADER_BYTES = 1 << 25  # which take ten times as much in memory
MAX_AXES = 32
ALIGNMENT_BYTES = 8  # of the header
_LENGTH_BYTES = 8
_METADATA = "__metadata__"
_TYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": BFLOAT16,
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "u1",
    "BOOL": "u1",
}


def is_safetensors(head: bytes) -> bool:
    """Tell by its first bytes whether a file is one."""
    length = int.from_bytes(head[:_LENGTH_BYTES], "little")
    return head[_LENGTH_BYTES : _LENGTH_BYTES + 1] == b"{" and length >> 40 == 0


def tensors(data: FileBytes) -> dict[str, StoredBlob]:
    """Return the arrays of a file by their keys.

    Raises `FileError` for a broken one, naming the array.
    """
    length = int.from_bytes(data.read(0, _LENGTH_BYTES), "little")
    start = _LENGTH_BYTES + length
    if length > MAX_HEADER_BYTES or start > data.size:
        raise FileError(
            f"{data.path}: is no safetensors file, or cut short: its header has "
            f"{length:,} bytes"
        )
    try:
        header = json.loads(bytes(data.read(_LENGTH_BYTES, length)))
    except (ValueError, RecursionError) as error:
        raise FileError(f"{data.path}: is no safetensors file: {error}") from None
    return {
        name: _tensor(data, name, said, start)
        for name, said in header.items()
        if name != _METADATA
    }


def _tensor(data: FileBytes, name: str, said: Any, start: int) -> StoredBlob:
    who = f"{data.path}: array {name!r}"
    try:
        code, shape, (first, end) = said["dtype"], said["shape"], said["data_offsets"]
        numbers = [*shape, first, end]
        whole = all(type(each) is int and each >= 0 for each in numbers)
    except (TypeError, KeyError, ValueError):
        whole = False
    if not whole or not isinstance(code, str) or len(shape) > MAX_AXES:
        raise FileError(
            f"{who}: expected dtype, shape and data_offsets, got {said!s:.100}"
        )
    dtype = _TYPES.get(code)
    if dtype is None:
        raise FileError(
            f"{who} has type {code!r}; {', '.join(_TYPES)} are read, so save it as one "
            f"of these"
        )
    width = 2 if dtype == BFLOAT16 else np.dtype(dtype).itemsize
    if end - first != count(shape) * width or start + end > data.size:
        raise FileError(
            f"{who}, of shape {tuple(shape)}, does not lie where the header says, from "
            f"{first:,} to {end:,}; the file is broken or cut short"
        )
    pieces = [Piece(start + first, count(shape), width, width)]
    try:
        return of_bytes(data, pieces, dtype, tuple(shape))
    except SpecError as error:
        raise FileError(f"{who}: {error}") from None


def write_tensors(file: IO[bytes], arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays by their keys, as float32."""
    header: dict[str, Any] = {_METADATA: {"format": "np"}}
    end = 0
    for key, values in arrays.items():
        start, end = end, end + 4 * values.size
        offsets = [start, end]
        header[key] = {
            "dtype": "F32",
            "shape": list(values.shape),
            "data_offsets": offsets,
        }
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % ALIGNMENT_BYTES)
    file.write(len(text).to_bytes(_LENGTH_BYTES, "little"))
    file.write(text)
    for values in arrays.values():
        file.write(np.ascontiguousarray(values, "<f4").reshape(-1).view(np.uint8).data)
