"""Reading HDF5 files that may be broken, claim any size, or point at other files.

h5py raises errors of many kinds for what is wrong in a file; here each is a `FileError`
that names it. What a data set claims to hold is compared with the memory there is
before it is read.

A file may hold links to other files, and data that lies in them. They are refused, as
whoever made the file would choose what is read of this machine, except within

    with runtime.allow_links():
        net = runtime.Net("net.prototxt", weights="w.caffemodel.h5")
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import numpy as np

from netspec.errors import FileError, MachineError, NetspecError
from netspec.room import check_room

MAX_LINKS = 16  # on the way to one object, as in HDF5 itself
REAL_NUMBERS = "biuf"  # kinds of NumPy's types

_LIBRARY_ERRORS = (
    ArithmeticError,
    AttributeError,
    LookupError,
    OSError,
    RuntimeError,
    SystemError,
    TypeError,
    ValueError,
)
_ALLOWED: ContextVar[bool] = ContextVar("links out of HDF5 files", default=False)


@contextmanager
def allow_links() -> Iterator[None]:
    """Let HDF5 files that are opened within this block refer to other files."""
    token = _ALLOWED.set(True)
    try:
        yield
    finally:
        _ALLOWED.reset(token)


def links_allowed() -> bool:
    """Tell whether files that are opened here may refer to other files."""
    return _ALLOWED.get()


@contextmanager
def reading(said: str) -> Iterator[None]:
    """Turn what h5py raises within this block into a `FileError` that begins `said`."""
    try:
        yield
    except NetspecError:
        raise
    except MemoryError:
        raise MachineError(f"{said}: there is not enough memory to read it") from None
    except _LIBRARY_ERRORS as error:
        reason = getattr(error, "strerror", None) or " ".join(map(str, error.args))
        raise FileError(f"{said}: {reason or type(error).__name__}") from error


class Hdf5File:
    """An HDF5 file, open to be read.

    who: the start of every message, with its colon: "layer 'd' (HDF5Data): ".
    broken: what is said after the path if the file cannot be opened.
    links: whether it may refer to other files; None if it may where this is called.

    Raises `FileError` for what cannot be read, `MachineError` where h5py is missing.
    """

    def __init__(
        self,
        path: str | Path,
        who: str = "",
        broken: str = " is no HDF5 file",
        *,
        links: bool | None = None,
    ) -> None:
        self.path = f"{who}{path}"
        self._who, self._short = who, path
        self._h5py = import_h5py(path)
        self._links = links_allowed() if links is None else links
        with reading(f"{self.path}{broken}"):
            self.file = self._h5py.File(path, "r")

    def __enter__(self) -> Hdf5File:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        with reading(f"{self.path} cannot be closed"):
            self.file.close()

    def find(self, name: str, group: Any = None) -> Any:
        """Return the group or data set of a name, or None where there is none.

        Raises `FileError` for a link out of the file, unless it is allowed.
        """
        with self._reading(name):
            start = self.file if group is None else group
            found = self._walk(start, name, MAX_LINKS)
            if self.is_dataset(found):
                self._check_storage(found, name)
            return found

    def is_group(self, found: Any) -> bool:
        """Tell whether what was found is a group."""
        return isinstance(found, self._h5py.Group)

    def is_dataset(self, found: Any) -> bool:
        """Tell whether what was found is a data set."""
        return isinstance(found, self._h5py.Dataset)

    def names(self, group: Any = None) -> list[str]:
        """Return the names in a group, sorted."""
        with reading(f"{self.path} is broken"):
            return sorted(self.file if group is None else group)

    def shape(self, dataset: Any, name: str) -> tuple[int, ...]:
        """Return the shape of a data set of real numbers.

        Raises `FileError` for one that holds something else.
        """
        with self._reading(name):
            dtype, shape = dataset.dtype, dataset.shape
            if dtype.kind not in REAL_NUMBERS or shape is None:
                raise FileError(
                    f"{self._who}dataset {name!r} of {self._short} holds {dtype}; "
                    f"expected real numbers"
                )
            return tuple(map(int, shape))

    def is_packed(self, dataset: Any, name: str) -> bool:
        """Tell whether values are compressed, in pieces that are unpacked whole."""
        with self._reading(name):
            return dataset.compression is not None

    def read(self, dataset: Any, name: str, rows: Any = ()) -> np.ndarray:
        """Return a data set of real numbers; rows: a slice of it, or their numbers.

        Raises `MachineError` where what the file claims to hold is more than the memory
        there is.
        """
        shape = self.shape(dataset, name)
        with self._reading(name):
            if isinstance(rows, slice):
                shape = (len(range(*rows.indices(shape[0]))), *shape[1:])
            elif not isinstance(rows, tuple):
                shape = (len(rows), *shape[1:])
            # A piece that was compressed is unpacked whole.
            piece = math.prod(dataset.chunks or (0,))
            nbytes = (math.prod(shape) + piece) * dataset.dtype.itemsize
            what = f"dataset {name!r} of {self._short}, of shape {shape},"
            check_room(nbytes, self._who + what)
            return np.asarray(dataset[rows])

    def is_plain(self, dataset: Any, name: str) -> bool:
        """Tell whether values lie in this file one after the other, all of them."""
        with self._reading(name):
            start = dataset.id.get_offset()
            if start is None or dataset.external or dataset.is_virtual:
                return False
            return start + dataset.id.get_storage_size() <= self.file.id.get_filesize()

    def read_into(self, dataset: Any, name: str, target: np.ndarray) -> None:
        """Read a data set of real numbers into an array of as many values."""
        with self._reading(name):
            if target.size == 0:
                return
            if dataset.dtype.kind == "b" or not target.flags.c_contiguous:
                target[...] = self.read(dataset, name).reshape(target.shape)
                return
            # A piece that was compressed is unpacked whole.
            piece = math.prod(dataset.chunks or (0,)) * dataset.dtype.itemsize
            check_room(piece, f"{self._who}dataset {name!r} of {self._short}")
            dataset.read_direct(target.reshape(dataset.shape))

    def _reading(self, name: str) -> AbstractContextManager[None]:
        return reading(f"{self._who}dataset {name!r} of {self._short} is broken")

    def _walk(self, start: Any, name: str, links: int) -> Any:
        """Go from a group to an object, link by link."""
        found = self.file if name.startswith("/") else start
        for part in name.split("/"):
            if part in ("", "."):
                continue
            if not self.is_group(found):
                return None
            link = found.get(part, getlink=True)
            if isinstance(link, self._h5py.ExternalLink) and not self._links:
                raise self._out(name, f"{link.path!r} in {link.filename!r}")
            if isinstance(link, self._h5py.SoftLink):
                if links == 0:
                    raise FileError(f"{self.path}: {name!r} is a link without an end")
                found = self._walk(found, link.path, links - 1)
            else:
                found = found.get(part)
        return found

    def _check_storage(self, dataset: Any, name: str) -> None:
        """Refuse values that lie in other files."""
        if self._links:
            return
        if dataset.external:
            raise self._out(name, f"values in {dataset.external[0][0]!r}")
        if dataset.is_virtual:
            others = {source.file_name for source in dataset.virtual_sources()} - {"."}
            if others:
                raise self._out(name, f"values in {min(others)!r}")

    def _out(self, name: str, what: str) -> FileError:
        return FileError(
            f"{self.path}: {name!r} leads to {what}; other files are not read. Copy "
            f"the values into this file, or, if you trust it, read it within `with "
            f"runtime.allow_links():`, or give --allow-links to the command"
        )


def import_h5py(what: str | Path) -> Any:
    """Return h5py; raises `MachineError` where it is missing."""
    try:
        import h5py
    except ImportError as error:
        raise MachineError(
            f"{what}: HDF5 files need h5py; install the extra netspec[data]"
        ) from error
    return h5py
