"""Writing files so that an interrupt or a full disk loses nothing; reading them."""

from __future__ import annotations

import contextlib
import io
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from netspec.errors import FileError, MachineError

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"  # how every HDF5 file begins
PIECE_BYTES = 1 << 26  # read at once; an interrupt waits for no more


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[IO[bytes]]:
    """Open a temporary file beside `path` that takes its place at the end.

    Whatever stood at `path` stays as it was unless the block ends without an error and
    the data is on the disk. A device or a pipe is written to directly. The temporary
    file is locked as long as it is written to; see `abandoned`. Its name is that of
    what is yielded.

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
            with open(name, "w+b", opener=lambda *_: handle) as file:
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
        if not path.parent.is_dir() and not path.parent.exists():
            reason = f"there is no folder {path.parent}; make it first"
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


def make_folder(path: str | os.PathLike[str]) -> Path:
    """Make a folder, and those that it is in, unless it is there; return its path.

    Raises `FileError`.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(
            f"{folder}: cannot be made a folder: {error.strerror}"
        ) from error
    return folder


def read_bytes(path: str | Path, limit: int | None = None) -> bytes:
    """Return the contents of a file, at most `limit` bytes of it.

    Raises `FileError` naming it, also for a device, which may never end, and
    `MachineError` for more than fits into memory.
    """
    with _reading(path):
        _mode(path)
        if limit is None:
            return Path(path).read_bytes()
        with Path(path).open("rb") as file:
            return file.read(limit)


class FileBytes:
    """The bytes of a file, read where they are wanted and no more than that.

    A file that became shorter meanwhile is an error like any other, which memory that
    the system maps to it would not be. What comes from a pipe is read at once.

    Raises what `read_bytes` does.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = path
        with _reading(path):
            regular = stat.S_ISREG(_mode(path))
            self._file: io.FileIO | io.BytesIO
            if regular or is_folder(path):
                self._file = io.FileIO(path)
            else:
                self._file = io.BytesIO(Path(path).read_bytes())
            self.size = self._file.seek(0, os.SEEK_END)

    def __enter__(self) -> FileBytes:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def read(self, place: int, nbytes: int) -> bytearray:
        """Return `nbytes` bytes from `place` on."""
        with _reading(self.path):
            found = bytearray(nbytes)
            self.read_into(place, memoryview(found))
            return found

    def read_into(self, place: int, target: memoryview) -> None:
        """Fill `target`, a view of plain bytes, with those from `place` on."""
        with _reading(self.path):
            self._file.seek(place)
            done = 0
            while done < len(target):
                count = self._file.readinto(target[done : done + PIECE_BYTES])
                if not count:
                    raise FileError(
                        f"{self.path}: was cut short while it was read; copy it again"
                    )
                done += count


@contextlib.contextmanager
def _reading(path: str | Path) -> Iterator[None]:
    """Turn what goes wrong within this block into errors that name the file."""
    try:
        yield
    except FileError:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise FileError(f"{path}: cannot be read: {reason}") from error
    except ValueError as error:  # a name with a NUL
        raise FileError(f"{path!r}: cannot be read: {error}") from error
    except MemoryError:
        raise MachineError(f"{path}: there is not enough memory to read it") from None


def _mode(path: str | Path) -> int:
    """Return the mode of a file that can be read to its end."""
    mode = Path(path).stat().st_mode
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        raise FileError(f"{path}: is a device; give the name of a file")
    return mode


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
