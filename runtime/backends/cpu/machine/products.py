"""Sizes of blocks of the products of `gemm`, and their calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runtime.arrays import Array
from runtime.backends.cpu.machine.compiled import Call
from runtime.backends.cpu.machine.gemm import (
    BLOCK_ROW,
    BLOCK_ROWS,
    LINE,
    multiply,
    multiply_columns,
    pack_panels,
)
from runtime.backends.cpu.machine.llvm import LANES
from runtime.backends.cpu.machine.panel import PANEL, PANEL_ROW, TILE_ROWS
from runtime.backends.cpu.machine.sizes import round_up

BLOCK_TERMS = 384  # taken at a time, so that BLOCK_ROWS rows stay in a cache
BLOCK_COLUMNS = 12 * PANEL  # of a right factor that a thread packs for itself
SERIAL_PRODUCTS = 1 << 17  # fewer multiplications are not worth a second thread
ENOUGH_TILES = 8  # of rows for each thread: then rows are divided, not columns
LOWEST = float("-inf")


def spread_row(columns: int) -> int:
    """Return how many floats a row of `columns` takes so that rows share no place.

    Rows whose distance is a power of two would lie in the same few lines of a cache.
    """
    lines = round_up(columns, LINE // 4) // (LINE // 4)
    return (lines | 1) * (LINE // 4)


def panel_bytes(depth: int) -> int:
    """Return the bytes of a packed panel of so many terms."""
    return round_up(depth, LANES) * PANEL_ROW


def packed_floats(depth: int, columns: int, groups: int = 1) -> int:
    """Return the size of a packed factor."""
    return groups * -(-columns // PANEL) * panel_bytes(depth) // 4


def packed(
    b: Array,
    target: Array,
    depth: int,
    columns: int,
    *,
    groups: int = 1,
    transposed: bool = False,
    constant: bool = False,
) -> Call:
    """Return the call that packs b (groups, depth, columns) or its transpose."""
    row = columns if not transposed else depth
    return pack_panels(
        b=b,
        b_row=4 * row,
        b_group=4 * depth * columns,
        groups=groups,
        columns=columns,
        depth=depth,
        transposed=transposed,
        packed=target,
        panel_bytes=panel_bytes(depth),
        serial=4 * b.size < SERIAL_PRODUCTS,
        constant=constant,
    )


@dataclass(frozen=True)
class Products:
    """Products that use one workspace, one after the other.

    workspace: uint8, `workspace_bytes` for each thread.
    """

    workspace: Array
    threads: int

    @property
    def _bytes(self) -> int:
        return int(self.workspace.size) // self.threads

    def _by_columns(self, rows: int, columns: int) -> bool:
        tiles, panels = -(-rows // TILE_ROWS), -(-columns // PANEL)
        return tiles < ENOUGH_TILES * self.threads and tiles < panels

    def times(
        self,
        a: Array,
        b: Array,
        c: Array,
        columns: int,
        depth: int,
        *,
        bias: Array | None = None,
        floor: float = LOWEST,
    ) -> Call:
        """Return the call of c = max(floor, bias + a b).

        a and c are arrays of rows, which may be longer than `depth` and `columns`; b is
        what `packed` makes.
        """
        rows = a.shape[0]
        by_columns = self._by_columns(rows, columns)
        return multiply(
            a=a,
            a_row=4 * a.shape[1],
            packed=b,
            panel_bytes=panel_bytes(depth),
            bias=0 if bias is None else bias,
            c=c,
            c_row=4 * c.shape[1],
            rows=rows,
            columns=columns,
            depth=depth,
            terms=block_terms(depth),
            by_columns=by_columns,
            workspace=self.workspace,
            workspace_bytes=self._bytes,
            floor=floor,
            units=columns // (4 * PANEL) if by_columns else rows // BLOCK_ROWS,
            serial=rows * columns * depth < SERIAL_PRODUCTS,
        )

    def transposed_times(
        self,
        left: Array,
        right: Array,
        out: Array,
        *,
        accumulate: bool,
        first: Array | None = None,
        scale: Array | None = None,
    ) -> Call:
        """Return the call of out = left^T right, or of out += left^T right.

        The rows of both may be longer than out needs. first: the first rows of the
        right factor, which stand ahead of `right`. scale: a factor for each row of it.
        """
        rows, columns = out.shape
        depth = left.shape[0]
        return multiply_columns(
            left=left,
            left_row=4 * left.shape[1],
            right=right,
            right_row=4 * right.shape[1],
            first=0 if first is None else first,
            first_row=0 if first is None else 4 * first.shape[1],
            first_rows=0 if first is None else first.shape[0],
            scale=0 if scale is None else scale,
            out=out,
            rows=rows,
            columns=columns,
            depth=depth,
            terms=block_terms(depth),
            width=block_columns(columns),
            accumulate=accumulate,
            by_columns=self._by_columns(rows, columns),
            workspace=self.workspace,
            workspace_bytes=self._bytes,
            serial=rows * columns * depth < SERIAL_PRODUCTS,
        )


def block_terms(depth: int) -> int:
    """Return how many terms are taken at a time: equal blocks, of pairs of lines."""
    blocks = -(-depth // BLOCK_TERMS)
    return round_up(-(-depth // blocks), LINE // 2)


def block_columns(columns: int) -> int:
    """Return how many columns of a right factor are packed at a time."""
    return min(round_up(columns, PANEL), BLOCK_COLUMNS)


def workspace_bytes(
    times: Sequence[int] = (), transposed: Sequence[tuple[int, int]] = ()
) -> int:
    """Return the bytes that a thread needs for some products.

    times: the depths of those of `Products.times`. transposed: depth and columns of
    those of `Products.transposed_times`.
    """
    wanted = [BLOCK_ROWS * (4 * block_terms(depth) + LINE) for depth in times]
    wanted += [
        4 * block_terms(depth) * (BLOCK_ROW + block_columns(columns))
        for depth, columns in transposed
    ]
    return PANEL_ROW + max(wanted, default=0)
