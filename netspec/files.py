"""Writing files so that an interrupt or a full disk loses nothing."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from netspec.errors import FileError, MachineError

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"  # how every HDF5 file begins


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[IO[bytes]]:
    """Open a temporary file beside `path` that takes its place at the end.

    Whatever stood at `path` stays as it was unless the block ends without an error and
    the data is on the disk. A device or a pipe is written to directly. The temporary
    file is locked as long as it is written to; see `abandoned`.

    Raises `FileError` naming `path` and the reason.
    """
    path = Path(path)
    try:
        if path.exists() and not path.is_file():
            if path.is_dir():
                raise FileError(f"{path}: is a folder; give the name of a file")
            with path.open("wb") as file:
                yield file
            return
        handle, name = tempfile.mkstemp(
            prefix=f".{path.name}.", suffix=".tmp", dir=path.parent
        )
        try:
            with os.fdopen(handle, "wb") as file:
                _lock(handle)
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.chmod(name, 0o666 & ~_umask())
            os.replace(name, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise
    except FileError:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise FileError(f"{path}: cannot be written: {reason}") from error


def abandoned(path: Path) -> bool:
    """Say whether a temporary file of `replacing` has lost its process.

    The system lets go of the locks of a process that was killed. Where it has none, no
    file counts as abandoned.
    """
    try:
        with path.open("rb") as file:
            return _lock(file.fileno())
    except OSError:
        return False


def _lock(handle: int) -> bool:
    """Lock an open file for this process, if nobody else has."""
    try:
        import fcntl
    except ImportError:  # on Windows
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def is_file(path: str | Path) -> bool:
    """Say whether a file is there; a name that no file can have is not."""
    try:
        return Path(path).is_file()
    except (OSError, ValueError):
        return False  # longer than names are, or with a zero byte


def is_folder(path: str | Path) -> bool:
    """Say whether a folder is there; a name that no folder can have is not."""
    try:
        return Path(path).is_dir()
    except (OSError, ValueError):
        return False


def read_bytes(path: str | Path, limit: int | None = None) -> bytes:
    """Return the contents of a file, at most `limit` bytes of it.

    Raises `FileError` naming it, also for a device, which may never end, and
    `MachineError` for more than fits into memory.
    """
    try:
        mode = Path(path).stat().st_mode
        if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
            raise FileError(f"{path}: is a device; give the name of a file")
        if limit is None:
            return Path(path).read_bytes()
        with Path(path).open("rb") as file:
            return file.read(limit)
    except FileError:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise FileError(f"{path}: cannot be read: {reason}") from error
    except ValueError as error:  # a name with a NUL
        raise FileError(f"{path!r}: cannot be read: {error}") from error
    except MemoryError:
        raise MachineError(f"{path}: there is not enough memory to read it") from None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
