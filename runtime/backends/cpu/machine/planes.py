"""Padded copies of image planes, for the kernels of sliding windows."""

from __future__ import annotations

from typing import Any

import numpy as np

from runtime.backends.cpu.machine.compiled import helper, outlined
from runtime.backends.cpu.machine.simd import copy, f32
from runtime.backends.cpu.machine.sliding import split_row


@helper
def _keep_row(a: Any, source: int, target: int, phase_bytes: int, length: int) -> None:
    """Copy a row of the image, with its padding, parted by residues of the stride.

    Args:
        a: the record; see `keep_plane`.
        source: address of the row.
        target: address of the part of residue 0.
        phase_bytes: bytes from the part of one residue to that of the next.
        length: floats of the row in every part.
    """
    x = f32(source)
    for phase in range(a.column_stride):
        start = phase - a.column_pad
        low = 0
        if start < 0:
            low = min(length, (a.column_stride - 1 - start) // a.column_stride)
        high = max(low, min(length, (a.width - 1 - start) // a.column_stride + 1))
        kept = f32(target + phase * phase_bytes)
        for j in range(low):
            kept[j] = np.float32(a.padding)
        if a.column_stride == 1:
            put = target + phase * phase_bytes + 4 * low
            copy(put, source + 4 * (start + low), high - low)
        else:
            for j in range(low, high):
                kept[j] = x[start + j * a.column_stride]
        for j in range(high, length):
            kept[j] = np.float32(a.padding)


@outlined
def keep_plane(a: Any, source: int, target: int, rows: int, length: int) -> None:
    """Copy a plane with its padding, parted by the residues of both strides.

    So every tap of a window sees, for neighbouring output positions, neighbouring
    elements. Shapes: target (row_stride, column_stride, rows, length).

    Args:
        a: the record. It has height and width of the plane, row_pad and column_pad
            (which may be negative), row_stride, column_stride, and the value padding.
        source: address of the plane.
        target: address of its copy.
        rows: rows of a part.
        length: floats of a row of a part.
    """
    part_bytes = 4 * rows * length
    simple = a.column_stride == 2 and a.column_pad == 0
    for row in range(rows * a.row_stride):
        at = row - a.row_pad
        residue, line = row % a.row_stride, row // a.row_stride
        put = target + residue * a.column_stride * part_bytes + 4 * line * length
        if at < 0 or at >= a.height:
            for phase in range(a.column_stride):
                kept = f32(put + phase * part_bytes)
                for j in range(length):
                    kept[j] = np.float32(a.padding)
        elif simple:
            x = source + 4 * at * a.width
            split_row(put, part_bytes, x, min(a.width, 2 * length))
            for phase in range(2):
                kept = f32(put + phase * part_bytes)
                for j in range((a.width - phase + 1) // 2, length):
                    kept[j] = np.float32(a.padding)
        else:
            _keep_row(a, source + 4 * at * a.width, put, part_bytes, length)
