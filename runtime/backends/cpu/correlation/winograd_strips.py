"""Strips of tiles, for the kernels of `winograd_code`: tables, and transformed data."""

from __future__ import annotations

from typing import Any

from runtime.backends.cpu.correlation.winograd_transforms import RESULTS, data3, data5
from runtime.backends.cpu.machine.compiled import helper, outlined
from runtime.backends.cpu.machine.llvm import LANES, VECTOR_BYTES, VECTORS
from runtime.backends.cpu.machine.matrix import ZERO
from runtime.backends.cpu.machine.prefetching import (
    LINE_BYTES,
    prefetch_second,
    prefetch_to_write,
)
from runtime.backends.cpu.machine.simd import f32, i64, transpose

TAPS = RESULTS * RESULTS  # positions of a tile
ZEROS_BYTES = 64 * VECTORS  # zeros at the start of a workspace
# The fields of a record that say how the output is cut. What ends in _at, _bytes or
# _offsets is in bytes, sizes are in elements.
#
#   images, groups
#   channels, rows: of x and of y, in a group
#   height, width, out_height, out_width: of a plane of x, and of y
#   kernel: 3 or 5
#   elements: of a transformed tile, 36 or 64
#   tiles_across, tiles_down: tiles of an image
#   strip_rows, strips: rows of tiles in a strip, and strips of an image
#   panel_strips, panel_tiles: the most strips and tiles of a panel
#   in_rows: int64 (strips, 2), the first and the last + 1 row of x that a strip sees
#   in_offsets: int32 (tiles, elements), where a thread's workspace has the vector of
#       LANES channels of an element of a tile. What lies outside of x leads to a vector
#       of zeros at the start of the workspace
#   out_rows, out_offsets: the same for the rows of y and the TAPS positions of a tile.
#       Those outside lead to zeros where dy is read, and to a vector that nobody reads
#       where y is written
#   workspace, workspace_bytes: that of all threads, and the bytes of each
#   transposed_at: where a thread's workspace has the strip as (position, LANES)
#   data_at: where it has the transformed data of a panel
STRIPS = (
    "images groups channels rows height width out_height out_width kernel elements "
    "tiles_across tiles_down strip_rows strips panel_strips panel_tiles "
    "in_rows in_offsets out_rows out_offsets workspace workspace_bytes transposed_at "
    "data_at "
)


@helper
def padded(number: int, step: int) -> int:
    """Return the next multiple of `step`."""
    return (number + step - 1) // step * step


@helper
def element_step(rows: int, width: int) -> int:
    """Return the bytes from one element's matrix (rows, width) to the next.

    That is an odd number of vectors: the elements of a tile are written together, and
    so do not compete for the same few lines of the cache.
    """
    return VECTOR_BYTES * (rows * width // LANES | 1)


@helper
def clear(workspace: int) -> None:
    """Write the zeros at the start of a thread's workspace."""
    zeros = f32(workspace)
    for i in range(ZEROS_BYTES // 4):
        zeros[i] = ZERO


@helper
def transpose_planes(
    planes: int, plane: int, valid: int, first: int, last: int, target: int
) -> None:
    """Write a run of positions of some planes as (position, LANES).

    Args:
        planes: address of (valid, plane) floats.
        plane: positions of a plane.
        valid: how many planes there are, at most LANES.
        first: the number of the first position that is written.
        last: the number of the last one, plus 1.
        target: address of (last - first, LANES) floats.
    """
    for position in range(first, last, LANES):
        transpose(
            target + VECTOR_BYTES * (position - first),
            VECTOR_BYTES,
            planes + 4 * position,
            4 * plane,
            valid,
            min(LANES, last - position),
        )


@helper
def strip_tiles(a: Any, strip: int) -> int:
    """Return how many tiles a strip of an image has."""
    return min(a.strip_rows, a.tiles_down - strip * a.strip_rows) * a.tiles_across


@helper
def ask_for_rows(
    planes: int, plane: int, valid: int, positions: int, tile: int, tiles: int
) -> None:
    """Ask for a share of what `transpose_planes` reads, one for each of some tiles.

    Args:
        planes: address of the first position, of (valid, plane) floats.
        plane: positions of a plane.
        valid: how many planes there are.
        positions: how many of each are read.
        tile: the number of the share.
        tiles: how many shares there are.
    """
    lines = (4 * positions + LINE_BYTES - 1) // LINE_BYTES
    for line in range(lines * tile // tiles, lines * (tile + 1) // tiles):
        for i in range(valid):
            prefetch_second(planes + 4 * i * plane + line * LINE_BYTES)


@helper
def ask_to_write(
    planes: int, plane: int, valid: int, positions: int, tile: int, tiles: int
) -> None:
    """Ask for a share of positions of planes, to be written; see `ask_for_rows`."""
    lines = (4 * positions + LINE_BYTES - 1) // LINE_BYTES
    for line in range(lines * tile // tiles, lines * (tile + 1) // tiles):
        for i in range(valid):
            prefetch_to_write(planes + 4 * i * plane + line * LINE_BYTES)


@outlined
def transform_data(
    a: Any, workspace: int, group: int, first: int, last: int, c0: int, c1: int
) -> int:
    """Compute V = B^T d B of a panel; returns the number of its tiles.

    V (elements, panel_tiles, c1 - c0) lies at `data_at` of the workspace, the channels
    padded to vectors.

    Args:
        a: the record; see `STRIPS`. It has x (images, groups, channels, height, width).
        workspace: address of this thread's workspace.
        group: the number of the group.
        first: the number of the panel's first strip, among those of all images.
        last: the number of its last strip, plus 1.
        c0: the number of the first channel, within the group.
        c1: the number of the last channel, plus 1.
    """
    in_rows, plane = i64(a.in_rows), a.height * a.width
    width = padded(c1 - c0, LANES)
    step = element_step(a.panel_tiles, width)
    tiles = 0
    for strip in range(first, last):
        image, number = strip // a.strips, strip % a.strips
        count = strip_tiles(a, number)
        low, high = in_rows[2 * number] * a.width, in_rows[2 * number + 1] * a.width
        offsets = a.in_offsets + 4 * a.elements * number * a.strip_rows * a.tiles_across
        for c in range(c0, c1, LANES):
            channel = (image * a.groups + group) * a.channels + c
            valid = min(LANES, c1 - c)
            transposed = workspace + a.transposed_at
            transpose_planes(
                a.x + 4 * channel * plane, plane, valid, low, high, transposed
            )
            target = workspace + a.data_at + 4 * (tiles * width + c - c0)
            coming = a.x + 4 * (plane * (channel + LANES) + low)
            following = min(LANES, c1 - c - LANES)
            for t in range(count):
                ask_for_rows(coming, plane, following, high - low, t, count)
                if a.kernel == 3:
                    data3(workspace, offsets + 4 * a.elements * t, target, step)
                else:
                    data5(workspace, offsets + 4 * a.elements * t, target, step)
                target += 4 * width
        tiles += count
    return tiles
