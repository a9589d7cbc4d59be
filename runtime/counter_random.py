"""Counter-based random numbers: a value depends on its place, not on those before.

The bits of element i are a hash of i and of two keys; the keys are a hash of the seed,
the name of the layer and the number of the forward pass. So a run that resumes draws
what the uninterrupted run would have drawn, on every backend and for any number of
threads, and nothing but the seed and the clock has to be saved.

The mixer is `lowbias32` of Chris Wellons' "hash-prospector" (2018, public domain), the
best known one of its form: two multiplications and three shifts, bias 0.17.
"""

from __future__ import annotations

import zlib
from types import ModuleType

from runtime.arrays import Array

_MULTIPLIERS = (0x7FEB352D, 0x846CA68B)
_SHIFTS = (16, 15, 16)
_MASK = 0xFFFFFFFF
# Where the two keys start: the fractional parts of the roots of 2 and 3.
_START = (0x6A09E667, 0xBB67AE85)


def stream_keys(seed: int, name: str, clock: int, stream: int = 0) -> tuple[int, int]:
    """Return the two keys of one draw: pass `clock` of the layer `name` under `seed`.

    `stream` tells apart several draws of one layer in one pass.
    """
    words = (
        seed & _MASK,
        seed >> 32 & _MASK,
        zlib.crc32(name.encode()),
        clock & _MASK,
        clock >> 32 & _MASK,
        stream & _MASK,
    )
    first, second = _START
    for word in words:
        first, second = _mix(first ^ word), _mix((second + word) & _MASK)
    return first, second


def _mix(value: int) -> int:
    for shift, multiplier in zip(_SHIFTS, (*_MULTIPLIERS, 1), strict=True):
        value = (value ^ value >> shift) * multiplier & _MASK
    return value


def hash_bits(
    xp: ModuleType, values: Array, keys: tuple[int, int], scratch: Array
) -> None:
    """Replace the numbers of elements by their bits under `keys`, in place.

        bits = mix(mix(number ^ key0) ^ key1)

    Shapes: values, scratch (n), uint32 and distinct.
    """
    for key in keys:
        xp.bitwise_xor(values, key, out=values)
        for shift, multiplier in zip(_SHIFTS, (*_MULTIPLIERS, 1), strict=True):
            xp.right_shift(values, shift, out=scratch)
            xp.bitwise_xor(values, scratch, out=values)
            if multiplier != 1:
                xp.multiply(values, multiplier, out=values)
