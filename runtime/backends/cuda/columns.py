"""Sums over rows, as the gradient of a bias is one."""

from __future__ import annotations

from typing import Any

from runtime.arrays import Array, ArraySpec
from runtime.backends.cuda.layer import CudaLayer, stored_as
from runtime.backends.cuda.machine.launch import Call, CudaKernel, blocks_for
from runtime.backends.cuda.tensor import Blob

_PARTS = CudaKernel("columns.cu", "column_parts")
_TOTAL = CudaKernel("columns.cu", "column_total")
_ADD = CudaKernel("columns.cu", "add_row")
LANES, ROWS = 32, 8


def _parts(layer: CudaLayer[Any], rows: int, columns: int) -> int:
    """Return in how many parts the rows are summed."""
    across = -(-columns // LANES)
    enough = max(1, 4 * layer.device.multiprocessors // across)
    return max(1, min(enough, -(-rows // (4 * ROWS))))


def column_sum_arrays(
    layer: CudaLayer[Any], rows: int, columns: int
) -> dict[str, ArraySpec]:
    """Return the scratch array that `column_sum` needs."""
    return {"parts": ArraySpec((_parts(layer, rows, columns), columns))}


def column_sum(
    layer: CudaLayer[Any],
    x: Blob,
    out: Array,
    rows: int,
    columns: int,
    *,
    accumulate: bool,
) -> list[Call]:
    """Return the calls that sum x over its rows, into `out` or added to it.

    Shapes: x (rows, columns) in memory, out (columns) float32.
    """
    count = _parts(layer, rows, columns)
    parts, share = layer.work["parts"], -(-rows // count)
    grid = (-(-columns // LANES), count)
    kernel = stored_as(_PARTS, x)
    return [
        layer.launch(kernel, grid, (LANES, ROWS), x, parts, rows, columns, share),
        layer.launch(
            _TOTAL,
            blocks_for(columns, 128),
            (128,),
            parts,
            out,
            count,
            columns,
            int(accumulate),
        ),
    ]


def add_row(
    layer: CudaLayer[Any], y: Blob, row: Array, rows: int, columns: int
) -> Call:
    """Return the call that adds a row to all rows of y.

    Shapes: y (rows, columns) in memory, row (columns) float32.
    """
    count = rows * columns
    return layer.strided(stored_as(_ADD, y), count, y, row, count, columns)
