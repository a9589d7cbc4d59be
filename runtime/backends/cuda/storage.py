"""How numbers lie in memory: float32, or the upper half of one, or IEEE's half.

NumPy has no bfloat16, so that on the host both half types are `uint16` bits.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from netspec.errors import SpecError, did_you_mean

Storage = Literal["float32", "bfloat16", "float16"]
STORAGES: tuple[Storage, ...] = get_args(Storage)


def item_bytes(storage: str) -> int:
    """Return the bytes of one number: 4 or 2."""
    return host_dtype(storage).itemsize


def host_dtype(storage: str) -> np.dtype:
    """Return the type of arrays on the host: float32, or uint16 for the bits of halves.

    Raises `SpecError` for a storage that there is not.
    """
    if storage == "float32":
        return np.dtype(np.float32)
    if storage in STORAGES:
        return np.dtype(np.uint16)
    raise SpecError(
        f"unknown storage {storage!r}{did_you_mean(storage, STORAGES)}; expected one "
        f"of {', '.join(STORAGES)}"
    )


def to_bits(numbers: np.ndarray, storage: str) -> np.ndarray:
    """Return float32 numbers as they are stored; those of float32 as they are.

    Rounds to the nearest, of two equally near ones to the even one, as the conversions
    of CUDA do. What is too large becomes infinite, NaN stays NaN with its sign.

    Shapes: numbers (any) float32 -> (same) uint16.
    """
    kept = host_dtype(storage)
    if numbers.dtype != np.float32:
        raise SpecError(f"numbers to store must be float32, not {numbers.dtype}")
    if kept == np.float32:
        return numbers
    if storage == "float16":
        with np.errstate(over="ignore", under="ignore"):
            return numbers.astype(np.float16).view(np.uint16)
    bits = np.ascontiguousarray(numbers).reshape(numbers.shape).view(np.uint32)
    odd = (bits >> np.uint32(16)) & np.uint32(1)
    rounded = (bits + (np.uint32(0x7FFF) + odd)) >> np.uint32(16)
    # Rounding could carry a NaN into infinity or zero; this bit keeps it one.
    quiet = (bits >> np.uint32(16)) | np.uint32(0x40)
    return np.where(np.isnan(numbers), quiet, rounded).astype(np.uint16)


def from_bits(stored: np.ndarray, storage: str) -> np.ndarray:
    """Return stored numbers as float32, exactly; those of float32 as they are.

    Shapes: stored (any) uint16 -> (same) float32.
    """
    kept = host_dtype(storage)
    if stored.dtype != kept:
        raise SpecError(f"stored {storage} must be {kept}, not {stored.dtype}")
    if kept == np.float32:
        return stored
    if storage == "float16":
        halves = np.ascontiguousarray(stored).reshape(stored.shape)
        return halves.view(np.float16).astype(np.float32)
    return (stored.astype(np.uint32) << np.uint32(16)).view(np.float32)
