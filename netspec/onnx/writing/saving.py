"""Models to files; values above 2 GiB beside the model, in one file of their own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from netspec.errors import SpecError
from netspec.files import replacing
from netspec.onnx.writing.emit import Written, emit, fill, held, import_onnx, little
from netspec.onnx.writing.values import Value

if TYPE_CHECKING:
    from onnx import ModelProto, TensorProto

LARGEST_MESSAGE = 2**31 - 1
RESERVED = 2**24  # bytes for all of a message that are no values
ALIGNED = 4096  # values in a file of their own begin at multiples, to be mapped
SMALLEST_OUTSIDE = 1024  # bytes; smaller values stay in the model


def finish(
    written: Written,
    constants: Sequence[Value],
    path: Path | None,
    external_data: bool | None,
) -> ModelProto:
    """Return the model, written to `path` if there is one.

    external_data: write values to `path` with `.data` behind it; None does so where the
    model would be too large for one message.

    Raises `SpecError` where it is too large and has no path.
    """
    nbytes = sum(held(value).nbytes for value in constants)
    outside = external_data
    if outside is None:
        outside = nbytes > LARGEST_MESSAGE - RESERVED
    if not outside and nbytes > LARGEST_MESSAGE - RESERVED:
        raise SpecError(
            f"the parameters have {nbytes:,} bytes, one message holds less than 2 GiB; "
            f"leave external_data out"
        )
    if outside and path is None:
        raise SpecError(
            f"the parameters, {nbytes:,} bytes, are to lie beside the model; give the "
            f"path of a file"
        )
    if path is None or not outside:
        model = emit(written, constants, fill)
        if path is not None:
            with replacing(path) as file:
                file.write(model.SerializeToString())
        return model
    return _with_data_beside(written, constants, path)


def _with_data_beside(
    written: Written, constants: Sequence[Value], path: Path
) -> ModelProto:
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
            file.write(np.ascontiguousarray(little(array)).reshape(-1).data)
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
