"""Sums down the columns of a blob: over all axes but the channels, in a fixed order.

With the channels last a blob is a matrix of rows by columns. A first kernel leaves the
sums of its blocks, a second one adds these up: no atomics, so that every run gives the
same bits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from netspec.ops import Shape
from runtime.arrays import Array, ArraySpec
from runtime.backends.cuda.machine.device import Device
from runtime.backends.cuda.machine.launch import Call, CudaKernel
from runtime.backends.cuda.tensor import (
    IN_SOURCES,
    Blob,
    orders_differ,
    place_of,
)
from runtime.backends.cuda.together import Together

if TYPE_CHECKING:
    from runtime.backends.cuda.layer import CudaLayer

TILE_THREADS = 256  # of a block, as in columns.cuh
FINISHERS = 8  # columns of a block that adds partial sums, as in columns.cuh
MOST_LANES = 32  # threads side by side along a row
WHOLE_LANES = 2  # of a block that has all rows: what memory hands out at least
LEAST_LANES = 8  # of 16 bytes each, a whole line of the cache
LEAST_ROWS = 4  # of a thread: what a block does once should not outweigh them
REDUCING = 4  # blocks for each multiprocessor: all are there at once
PACK_BYTES = 16  # that a thread reads at once

_SUMS = CudaKernel("columns.cu", "column_sums")
_ADD_ROW = CudaKernel("rows.cu", "add_row")
_FINISH = CudaKernel("columns.cu", "column_finish")


def matrix_of(shape: Shape) -> tuple[int, int]:
    """Return the rows and columns of a blob with its channels last.

    Shapes: (N, C, ...) is N times the spatial axes by C; (N,) is one column.
    """
    columns = shape[1] if len(shape) > 1 else 1
    return (math.prod(shape) // columns if columns else 0), columns


@dataclass(frozen=True)
class Columns:
    """How the blocks of a kernel divide a matrix; see columns.cuh.

    vector: neighbours that a thread takes at once. lanes: threads side by side along a
    row. chunk: rows of a block. groups: blocks one below the other.
    """

    rows: int
    columns: int
    storage: str
    vector: int
    lanes: int
    chunk: int

    @classmethod
    def of(
        cls, device: Any, shape: Shape, storage: str, blocks: int = REDUCING
    ) -> Columns:
        """Divide a blob, channels last, into `blocks` for each multiprocessor."""
        rows, columns = matrix_of(shape)
        vector = _vector(columns, storage)
        packs = max(1, columns // vector)
        lanes = _lanes(packs)
        deep = TILE_THREADS // lanes
        tiles = -(-packs // lanes)
        most = max(1, -(-rows // (deep * LEAST_ROWS)))
        groups = min(most, -(-device.multiprocessors * blocks // tiles), 65535)
        chunk = max(1, -(-rows // (groups * deep))) * deep
        return cls(rows, columns, storage, vector, lanes, chunk)

    @classmethod
    def whole(cls, shape: Shape, storage: str) -> Columns:
        """Divide a blob of few rows so that a block has all rows of few columns."""
        rows, columns = matrix_of(shape)
        vector = _vector(columns, storage)
        lanes = WHOLE_LANES if columns > vector else 1
        return cls(rows, columns, storage, vector, lanes, max(1, rows))

    @property
    def groups(self) -> int:
        """The rows of blocks, each of which leaves a row of partial sums."""
        return max(1, -(-self.rows // self.chunk))

    @property
    def grid(self) -> tuple[int, int]:
        """The blocks."""
        return max(1, -(-self.columns // (self.lanes * self.vector))), self.groups

    @property
    def finish(self) -> tuple[tuple[int], tuple[int]]:
        """The blocks, and the threads of each, that add the partial sums."""
        deep = 1
        while deep < self.groups and deep < 1024 // FINISHERS:
            deep *= 2
        return (max(1, -(-self.columns // FINISHERS)),), (deep * FINISHERS,)

    def compiled(self, kernel: CudaKernel, **defines: object) -> CudaKernel:
        """Return a kernel compiled for these tiles."""
        store = IN_SOURCES[self.storage]
        tiles = {"STORE": store, "VECTOR": self.vector, "LANES": self.lanes}
        return kernel.with_defines(**tiles, **defines)

    @property
    def sizes(self) -> tuple[int, int, int]:
        """What kernels take: rows, columns and the rows of a block."""
        return self.rows, self.columns, self.chunk

    def partial(self, sums: int = 1, *, lasting: bool = False) -> ArraySpec:
        """Return the array for partial sums, for a step or for the whole pass."""
        size = (self.groups * sums * self.columns,)
        life: Literal["state", "scratch"] = "state" if lasting else "scratch"
        return ArraySpec(size, "float32", life, content="of a pass")


def _vector(columns: int, storage: str) -> int:
    """Return how many neighbours a thread takes at once."""
    pack = PACK_BYTES // (4 if storage == "float32" else 2)
    return pack if columns % pack == 0 else 1


def _lanes(packs: int) -> int:
    """Return how many threads share a row: many, but few of them idle."""
    if packs < LEAST_LANES:
        return 1 << (packs - 1).bit_length()
    choices = (MOST_LANES, MOST_LANES // 2, LEAST_LANES)
    return min(choices, key=lambda lanes: -(-packs // lanes) * lanes)


def column_sum(
    layer: CudaLayer[Any],
    matrix: Columns,
    dy: Blob,
    out: Array,
    partial: Array,
    *,
    accumulate: bool,
    sign: Blob | None = None,
    slope: float = 0.0,
    masked: Blob | None = None,
    times: Blob | None = None,
    lasting: bool = False,
) -> list[Call]:
    """Return the calls that sum a blob down its columns.

    g = dy, or with `sign`: dy where that is positive, else slope dy
    out = (out +) sum of g, or with `times`: of g times

    Args:
        matrix: of the shape and the storage of `dy`: `Columns.of` makes it.
        out: float32 (columns,), stored, or added to where `accumulate` is.
        partial: scratch memory, which `matrix.partial()` describes.
        masked: gets g where there is a sign; may be dy, or left out.
        lasting: whether `partial` stays as it is for the whole pass, so that all sums
            of a net can be ended together.

    Shapes: dy, sign, masked, times (N, C, ...), channels last, all of one storage.
    """
    for blob in (dy, sign, masked, times):
        _check(matrix, blob)
    kernel = matrix.compiled(
        _SUMS, MASK=int(sign is not None), TIMES=int(times is not None)
    )
    blobs = (dy, sign, times, masked)
    sizes = matrix.sizes
    grid, block = matrix.finish
    first = layer.launch(
        kernel, matrix.grid, (TILE_THREADS,), *blobs, partial, *sizes, slope
    )
    ends = (matrix.groups, matrix.columns, accumulate)
    if lasting:
        return [first, Sums(layer.device, [Sum(partial, out, *ends)])]
    return [first, layer.launch(_FINISH, grid, block, partial, out, *ends)]


@dataclass(frozen=True, eq=False)
class Sum:
    """Partial sums (groups, columns) that become out (columns), or are added to it."""

    partial: Array
    out: Array
    groups: int
    columns: int
    add: bool
    group = None

    @property
    def target(self) -> Array:
        """What is written."""
        return self.out

    @property
    def blocks(self) -> int:
        """How many blocks of threads it takes."""
        return -(-self.columns // FINISHERS)

    def row(self, device: Device, first: int) -> tuple[int, ...]:
        """Return what the kernel is told of it."""
        places = device.address(self.partial), device.address(self.out)
        return *places, self.groups, self.columns, int(self.add), first


class Sums(Together):
    """Partial sums of many layers, ended by one launch."""

    row_type = np.dtype("u8, u8, i4, i4, i4, i4")
    kernel = CudaKernel("finish.cu", "finish_sums")


def add_row(
    layer: CudaLayer[Any], y: Blob, row: Array, rows: int, columns: int
) -> Call:
    """Return the call that adds a row to all rows of y.

    Shapes: y (rows, columns) in memory, row (columns) float32.
    """
    kernel = _ADD_ROW.with_defines(STORE=IN_SOURCES[place_of(y).storage])
    size = rows * columns
    return layer.strided(kernel, size, y, row, size, columns)


def _check(matrix: Columns, blob: Blob | None) -> None:
    """Refuse a blob that is not the matrix that it should be."""
    if blob is None:
        return
    place = place_of(blob)
    if place.order == "first" and orders_differ(blob.shape):
        raise ValueError(f"the channels of a blob {blob.shape} must come last")
    if place.storage != matrix.storage or matrix_of(blob.shape) != matrix.sizes[:2]:
        raise ValueError(
            f"a blob {blob.shape} of {place.storage} is not the matrix of "
            f"{matrix.rows} x {matrix.columns} of {matrix.storage}"
        )
