"""Files of NumPy arrays, `.npz`, without the objects that Python would have to run."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from netspec.errors import FileError, NetspecError, SpecError
from netspec.ops.base import count
from netspec.room import check_room
from netspec.weights.stored import CHUNK_VALUES, StoredBlob

ZIP_SIGNATURE = b"PK\x03\x04"
MAX_MEMBERS = 100_000
MAX_NAME_BYTES = (1 << 16) - 1 - len(".npy")
REAL_NUMBERS = "biuf"  # kinds of NumPy's types
_SUFFIX = ".npy"
_HEADERS: dict[tuple[int, int], Callable[..., Any]] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


@contextmanager
def npz_arrays(path: str | Path) -> Iterator[dict[str, StoredBlob]]:
    """Open an `.npz` file for this block; yields its arrays by key.

    Raises `FileError` for a broken one, and for arrays of objects.
    """
    with _reading(f"{path}: is no whole .npz file"):
        file = zipfile.ZipFile(path)
    with file:
        members = [each for each in file.infolist() if not each.filename.endswith("/")]
        if len(members) > MAX_MEMBERS:
            raise FileError(
                f"{path}: has {len(members):,} arrays; at most {MAX_MEMBERS:,} are read"
            )
        for each in members:
            if not each.filename.endswith(_SUFFIX):
                raise FileError(
                    f"{path}: is no .npz file of NumPy: it holds {each.filename!r}, "
                    f"which is no {_SUFFIX} file"
                )
        yield {
            each.filename.removesuffix(_SUFFIX): _stored(path, file, each)
            for each in members
        }


def _stored(
    path: str | Path, file: zipfile.ZipFile, member: zipfile.ZipInfo
) -> StoredBlob:
    who = f"{path}: array {member.filename.removesuffix(_SUFFIX)!r}"
    with _reading(f"{who} is broken"), file.open(member) as stream:
        shape, fortran, dtype = _header(stream, who)
        nbytes = count(shape) * dtype.itemsize
        if stream.tell() + nbytes != member.file_size:
            raise FileError(
                f"{who}, of shape {shape}, does not have {nbytes:,} bytes; the file is "
                f"broken or cut short"
            )

    def fill(target: np.ndarray) -> None:
        with _reading(f"{who} is broken"), file.open(member) as stream:
            _header(stream, who)
            if fortran or not target.flags.c_contiguous:
                check_room(nbytes, who)
                values = np.empty(count(shape), dtype)
                _fill(stream, values)
                order: Literal["F", "C"] = "F" if fortran else "C"
                whole = values.reshape(shape, order=order)
                with np.errstate(all="ignore"):
                    target[...] = whole.reshape(target.shape)
            else:
                _fill(stream, target.reshape(-1), dtype)

    return StoredBlob(shape, fill, sure=False)


def _fill(stream: IO[bytes], flat: np.ndarray, dtype: np.dtype | None = None) -> None:
    """Write all values of a member, of a type, into an array of one axis."""
    dtype = dtype or flat.dtype
    for first in range(0, flat.size, CHUNK_VALUES):
        part = flat[first : first + CHUNK_VALUES]
        data = stream.read(part.size * dtype.itemsize)
        with np.errstate(all="ignore"):  # doubles beyond float32 become infinite
            part[...] = np.frombuffer(data, dtype)
    # At its end, with its sum, a member is looked at when somebody reads beyond.
    if stream.read(1):
        raise ValueError("it is longer than it says")


def _header(stream: IO[bytes], who: str) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(stream)
    if version not in _HEADERS:
        raise FileError(f"{who} has format {version}, which no array of numbers needs")
    shape, fortran, dtype = _HEADERS[version](stream)
    if dtype.hasobject:
        raise FileError(
            f"{who} holds Python objects, which are not read, as they may run code; "
            f"save arrays of numbers"
        )
    if dtype.kind not in REAL_NUMBERS or any(size < 0 for size in shape):
        raise FileError(f"{who} holds {dtype} of shape {shape}; expected real numbers")
    return tuple(map(int, shape)), fortran, dtype


def write_npz(file: IO[bytes], arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays by their keys, as float32.

    Raises `SpecError` for a name with a NUL, at which names of members end, and for one
    that is longer than they are.
    """
    with zipfile.ZipFile(file, "w", allowZip64=True) as archive:
        for key, values in arrays.items():
            if "\0" in key or len(key.encode()) > MAX_NAME_BYTES:
                raise SpecError(
                    f"layer {key.rpartition('/')[0]!r:.100}: .npz cannot store a name "
                    f"with a NUL or of 64 KiB; rename the layer, or save as .caffemodel"
                )
            with archive.open(key + _SUFFIX, "w", force_zip64=True) as member:
                array = np.asarray(values, "<f4", order="C")
                np.lib.format.write_array(member, array, allow_pickle=False)


@contextmanager
def _reading(said: str) -> Iterator[None]:
    try:
        yield
    except NetspecError:
        raise
    except Exception as error:  # of many kinds, tokenize.TokenError for one
        raise FileError(f"{said}: {error or type(error).__name__}") from error
