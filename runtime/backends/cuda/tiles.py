"""How blobs with their channels last are dealt out to blocks of threads."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from runtime.backends.cuda.tensor import Blob, place_of

THREADS = 256  # of a block
LINE_BYTES = 128  # what memory hands out at once
MOST_DEEP = 65535  # blocks along the second and third axes of a grid


def together(*sizes: int, itemsize: int) -> int:
    """Return how many neighbours fit 16 bytes and divide every one of the sizes."""
    return math.gcd(16 // itemsize, *sizes)


def channels_together(blob: Blob) -> int:
    """Return how many channels a thread takes of a blob that has them last."""
    return together(blob.shape[1], itemsize=place_of(blob).itemsize)


@dataclass(frozen=True)
class Tiles:
    """A grid of blocks of (packs of channels, columns, rows) over (N, H, W, packs)."""

    grid: tuple[int, int, int]
    block: tuple[int, int, int]


def tiles(images: int, height: int, width: int, packs: int, pack_bytes: int) -> Tiles:
    """Return blocks about as wide as high, over few idle threads.

    Windows of neighbours overlap: in a square block most of what is read twice is near.
    """
    across = deal(packs)
    area = THREADS // across
    columns = max(area // math.isqrt(area), LINE_BYTES // (across * pack_bytes), 1)
    columns = min(columns, area, width)
    rows = max(1, min(area // columns, height, 64))
    wide = -(-packs // across) * -(-width // columns)
    deep = min(-(-height // rows), MOST_DEEP)
    return Tiles((wide, deep, min(images, MOST_DEEP)), (across, columns, rows))


def deal(packs: int, least: int = 8, most: int = 32) -> int:
    """Return how many packs of channels a block takes: few threads are left idle."""
    sizes: Sequence[int] = range(min(packs, least), min(packs, most) + 1)

    def busy(size: int) -> float:
        idle_free = packs / (-(-packs // size) * size)
        return round(idle_free * (THREADS // size * size) / THREADS, 2)

    return max(sizes, key=lambda size: (busy(size), size))
