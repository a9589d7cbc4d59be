"""Memory that processes of one machine have in common: each makes some, all open it.

It is a file without a name or a folder (`memfd_create`), which goes with the last
process that has it, however that ends, and for which `/dev/shm` need not be large. All
of it is taken at once, and what there is no room for is refused: a write never fails.
"""

from __future__ import annotations

import mmap
import os
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from netspec.room import room_bytes

HEAD_BYTES = mmap.PAGESIZE  # ahead of the memory, for what processes tell each other
NAME = "netspec-ranks"
_MARK_BYTES = 16
_LINE = 8  # words of a line of a cache, in the head: what one process writes
_order = threading.Lock()


class HostMemory:
    """Zeros that this process made or opened.

    words: of the head, int64, of which the first line is taken.
    """

    _file: int | None = None  # of who made it, until others have opened it

    def __init__(self, file: int, nbytes: int) -> None:
        self._map = mmap.mmap(file, HEAD_BYTES + _whole(nbytes))
        self.nbytes = nbytes
        self.words = memoryview(self._map)[:HEAD_BYTES].cast("q")

    @classmethod
    def make(cls, nbytes: int) -> HostMemory | None:
        """Return so many bytes; None where the system has no such memory, or room."""
        create, room = getattr(os, "memfd_create", None), room_bytes()
        # Who asks Linux for more than there is takes all, and is killed then.
        if create is None or (room is not None and nbytes > room):
            return None
        with suppress(OSError):
            file = create(NAME)
            try:
                os.posix_fallocate(file, 0, HEAD_BYTES + _whole(nbytes))
                made = cls(file, nbytes)
            except OSError:
                os.close(file)
                raise
            made._file = file
            made._map[:_MARK_BYTES] = os.urandom(_MARK_BYTES)
            return made
        return None

    @property
    def place(self) -> list[Any]:
        """Where others find it, as `open` takes it, until `close`."""
        return [os.getpid(), self._file, self._map[:_MARK_BYTES].hex(), self.nbytes]

    @classmethod
    def open(cls, place: Sequence[Any]) -> HostMemory:
        """Return the memory of another process.

        Raises `OSError` where this process cannot have it.
        """
        process, number, mark, nbytes = place
        path = Path(f"/proc/{process}/fd/{number}")
        # In another container the process of this number is another one.
        if not str(path.readlink()).startswith(f"/memfd:{NAME}"):
            raise FileNotFoundError(f"{path} is something else")
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            if os.fstat(file).st_size != HEAD_BYTES + _whole(nbytes):
                raise FileNotFoundError(f"{path} is something else")
            opened = cls(file, nbytes)
        finally:
            os.close(file)
        if opened._map[:_MARK_BYTES].hex() != mark:
            raise FileNotFoundError(f"{path} is something else")
        return opened

    def close(self) -> None:
        """Let no further process open it."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def __del__(self) -> None:
        self.close()

    def array(self, dtype: Any, count: int, at: int = 0) -> np.ndarray:
        """Return `count` elements from byte `at` on; they keep the memory."""
        return np.frombuffer(self._map, dtype, count, HEAD_BYTES + at)


def word(line: int) -> int:
    """Return the number of a word of the head that has a line of a cache to itself."""
    return line * _LINE


def fence() -> None:
    """Let other processes see what was written before ahead of what is written after.

    The same holds for what is read. x86 keeps the order by itself; elsewhere a lock
    that is released is behind all before it, and one that is taken then is ahead of all
    after it.
    """
    for _ in range(2):
        _order.acquire()
        _order.release()


def _whole(nbytes: int) -> int:
    return -(-nbytes // HEAD_BYTES) * HEAD_BYTES
