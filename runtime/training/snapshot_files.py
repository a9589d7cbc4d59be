"""The files of snapshots: their names, their folder, and what dead processes left."""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from netspec.errors import FileError
from netspec.files import abandoned

HASH_BYTES = 16  # of a model, in its state


@dataclass(frozen=True)
class Snapshot:
    """The files of one snapshot."""

    iteration: int
    model: Path
    state: Path


class SnapshotWarning(RuntimeWarning):
    """A snapshot could not be written; training goes on."""


def snapshot_paths(prefix: str, iteration: int, *, hdf5: bool) -> Snapshot:
    """Return the names that Caffe gives to the files of a snapshot."""
    end = ".h5" if hdf5 else ""
    stem = f"{prefix}_iter_{iteration}"
    return Snapshot(
        iteration, Path(f"{stem}.caffemodel{end}"), Path(f"{stem}.solverstate{end}")
    )


def check_writable(prefix: str) -> None:
    """Make the folder of `prefix` and see that a file can be written there.

    Raises `FileError`: better before training than after the first thousand iterations.
    """
    probe = Path(f"{prefix}_iter_0.writable")
    try:
        probe.parent.mkdir(parents=True, exist_ok=True)
        with probe.open("wb"):
            pass
        probe.unlink()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise FileError(
            f"snapshots cannot be written to {probe.parent}: {reason}; "
            f"change snapshot_prefix ({prefix!r})"
        ) from error


def remove_leftovers(prefix: str) -> list[Path]:
    """Remove the temporary files of snapshots that a killed process did not finish.

    Only files of this prefix count, and only those that no process holds any more.
    Returns their names.
    """
    start = Path(f"{prefix}_iter_")
    name = re.compile(
        rf"\.{re.escape(start.name)}\d+\.(caffemodel|solverstate)(\.h5)?"
        r"\.[a-z0-9_]{8}\.tmp"
    )
    removed = []
    with suppress(OSError):  # whoever may not look there has nothing to remove
        for path in sorted(start.parent.iterdir()):
            if name.fullmatch(path.name) and abandoned(path):
                path.unlink()
                removed.append(path)
    return removed


def file_hash(path: Path) -> str:
    """Return what tells the contents of a file from those of others."""
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(
                file, lambda: hashlib.blake2b(digest_size=HASH_BYTES)
            )
    except OSError as error:
        raise FileError(f"{path}: cannot be read: {error.strerror}") from error
    return digest.hexdigest()


def last(snapshot: Snapshot | None) -> str:
    """Say which snapshot is the last one."""
    return f"the last snapshot is {snapshot.state}" if snapshot else "no snapshot"


def unsaved(error: FileError, iteration: int, snapshot: Snapshot | None) -> FileError:
    """Return the error of a run whose last snapshot could not be written."""
    again = f"continue from {snapshot.state}" if snapshot else "there is no older one"
    return FileError(f"{error}; training is at iteration {iteration}; {again}")
