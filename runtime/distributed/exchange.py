"""Arrays of all ranks, on each of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from runtime.distributed.communicator import Communicator


def gather_arrays(
    communicator: Communicator, mine: Sequence[np.ndarray]
) -> list[list[np.ndarray]]:
    """Return the arrays of all ranks, on each, by rank.

    They may have any shapes, and types whose values float64 has: they go as a sum in
    float64 to which one rank alone adds a value each, which is exact but for the sign
    of a zero.
    """
    told = communicator.gather([[str(a.dtype), *a.shape] for a in mine])
    sizes = [sum(_count(one[1:]) for one in of_rank) for of_rank in told]
    flat = np.zeros(sum(sizes))
    at = sum(sizes[: communicator.rank])
    for array in mine:
        flat[at : at + array.size] = array.reshape(-1)
        at += array.size
    if flat.size:
        communicator.sum(flat)
    found: list[list[np.ndarray]] = []
    at = 0
    for of_rank in told:
        arrays = []
        for dtype, *shape in of_rank:
            count = _count(shape)
            arrays.append(flat[at : at + count].reshape(shape).astype(dtype))
            at += count
        found.append(arrays)
    return found


def _count(shape: Sequence[int]) -> int:
    return int(np.prod(shape, dtype=np.int64))
