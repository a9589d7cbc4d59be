"""The arrays of a weight file: known by shape at once, read where they are wanted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from netspec.errors import SpecError
from netspec.ops.base import Shape, count
from netspec.room import check_room, enough_memory
from netspec.schema import LayerParameter
from netspec.schema.wire import Bytes, Dtype, Piece

CHUNK_VALUES = 1 << 18  # converted at once
# The types of values: NumPy's, and bfloat16, which NumPy lacks.
WIRE_TYPES: dict[Dtype, str] = {"float": "<f4", "double": "<f8", "half": "<f2"}
BFLOAT16 = "bfloat16"


@dataclass(frozen=True)
class StoredBlob:
    """One array of a file. `legacy` shapes are num, channels, height, width.

    fill: writes the values into an array of as many values, of any shape and type.
    sure: whether nothing can be wrong with the values any more, once the file is open.
    """

    shape: Shape
    fill: Callable[[np.ndarray], None]
    legacy: bool = False
    sure: bool = True

    def read(self, what: str = "an array", dtype: Any = np.float32) -> np.ndarray:
        """Return the values as a new array, of float32 if nothing else is wanted.

        what: what a message calls it. Raises `MachineError` where it does not fit into
        memory, `FileError` where it cannot be read.
        """
        told = f"{what}, of shape {self.shape},"
        check_room(np.dtype(dtype).itemsize * count(self.shape), told)
        try:
            with enough_memory(told):
                values = np.empty(self.shape, dtype)
        except ValueError as error:  # no values, along axes beyond all reason
            raise SpecError(f"{told} cannot be: {error}") from None
        self.fill(values)
        return values

    def prepared(self, what: str, dtype: Any) -> StoredBlob:
        """Return this array, with its values read if something may be wrong with them.

        dtype: the type that they are wanted in. Who changes nothing before all arrays
        are prepared changes all or nothing.
        """
        if self.sure:
            return self
        return of_array(self.read(what, dtype), legacy=self.legacy)


@dataclass(frozen=True)
class LayerWeights:
    """The arrays of one layer, in order; None where the file leaves one out."""

    name: str
    blobs: tuple[StoredBlob | None, ...]


@dataclass(frozen=True)
class LayerArrays:
    """One layer of a net, without blobs, and its arrays; None for one that is missing.

    shared: the numbers of those arrays that belong to another layer.
    """

    layer: LayerParameter
    arrays: Sequence[np.ndarray | None]
    shared: frozenset[int] = frozenset()


def of_array(values: np.ndarray, *, legacy: bool = False) -> StoredBlob:
    """Return an array in memory as one of a file."""

    def fill(target: np.ndarray) -> None:
        target[...] = values.reshape(target.shape)

    return StoredBlob(tuple(values.shape), fill, legacy)


def of_bytes(
    data: Bytes,
    pieces: Sequence[Piece],
    dtype: str,
    shape: Shape,
    *,
    legacy: bool = False,
) -> StoredBlob:
    """Return an array whose values lie in a file, in C order.

    dtype: the type of the values, little-endian, or `BFLOAT16`.

    Raises `SpecError` where the shape does not suit the number of values.
    """
    held = sum(piece.length for piece in pieces)
    if held != count(shape):
        raise SpecError(f"an array of shape {shape} has {held} values")

    def fill(target: np.ndarray) -> None:
        if not target.flags.c_contiguous:
            values = np.empty(target.shape, target.dtype)
            fill(values)
            target[...] = values
            return
        flat, done = target.reshape(-1), 0
        for piece in pieces:
            _fill(data, piece, dtype, flat[done : done + piece.length])
            done += piece.length

    return StoredBlob(shape, fill, legacy)


def _fill(data: Bytes, piece: Piece, dtype: str, flat: np.ndarray) -> None:
    """Write the values of a piece into an array of one axis."""
    read_into = getattr(data, "read_into", None)
    same = dtype != BFLOAT16 and flat.dtype == np.dtype(dtype)
    if same and read_into and piece.step == piece.width and piece.length:
        read_into(piece.start, flat.view(np.uint8).data)
        return
    for first in range(0, piece.length, CHUNK_VALUES):
        length = min(CHUNK_VALUES, piece.length - first)
        # The last value has no room of a whole step behind it.
        nbytes = (length - 1) * piece.step + piece.width
        raw = np.frombuffer(
            data.read(piece.start + first * piece.step, nbytes), np.uint8
        )
        if piece.step != piece.width:
            padded = np.empty((length, piece.step), np.uint8)
            padded.reshape(-1)[:nbytes] = raw
            raw = padded[:, : piece.width].reshape(-1)
        with np.errstate(all="ignore"):  # doubles beyond float32 become infinite
            flat[first : first + length] = _numbers(raw, dtype)


def _numbers(raw: np.ndarray, dtype: str) -> np.ndarray:
    if dtype != BFLOAT16:
        return raw.view(dtype)
    # The upper half of a float32.
    return (raw.view("<u2").astype("<u4") << 16).view("<f4")
