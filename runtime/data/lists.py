"""Text files with a name on every line: of other files, or of classes."""

from __future__ import annotations

import os
from pathlib import Path

from netspec.errors import FileError
from netspec.files import is_file, read_bytes

MAX_LABEL = 2**31 - 1


def read_lines(path: str | Path, what: str) -> list[tuple[int, str]]:
    """Return the lines that are not empty, stripped, with their numbers from 1.

    what: who asks, as errors say it.

    Raises `FileError` for a file that is missing, is no text, or has no lines.
    """
    try:
        text = read_bytes(path).decode()
    except FileError as error:
        raise FileError(f"{what}: {error}") from error
    except UnicodeDecodeError:
        raise FileError(
            f"{what}: {path} is no text; expected a list that names a file on every "
            f"line"
        ) from None
    lines = [(number, line.strip()) for number, line in enumerate(text.split("\n"), 1)]
    lines = [(number, line) for number, line in lines if line]
    if not lines:
        raise FileError(f"{what}: {path} names no file")
    return lines


def read_labelled(path: str | Path, what: str, root: str = "") -> list[tuple[str, int]]:
    """Read lines of a path, which may have spaces, and a label.

    root: what stands in front of every path.

    Raises `FileError` naming the first line that is none.
    """
    found = []
    for number, line in read_lines(path, what):
        name, *rest = line.rsplit(None, 1)
        where = f"{what}: {path}:{number}"
        if not rest:
            raise FileError(f"{where}: expected a path and a label, got {line!r}")
        try:
            number = int(rest[0])
            if abs(number) > MAX_LABEL:
                raise FileError(
                    f"{where}: the label of {name!r} is {rest[0]:.30}; the largest is "
                    f"{MAX_LABEL}"
                )
            found.append((name, number))
        except ValueError:
            if not _is_number(rest[0]):
                raise FileError(
                    f"{where}: expected a path and a label, got {line!r}"
                ) from None
            raise FileError(
                f"{where}: the label of {name!r} is {rest[0]}; {_ONE_LABEL}"
            ) from None
        *start, last = name.rsplit(None, 1)
        if start and _is_number(last) and not is_file(root + name):
            raise FileError(f"{where}: {line!r} has several labels; {_ONE_LABEL}")
    return found


_ONE_LABEL = (
    "in a list of images it is one whole number. Scores, and several labels of an "
    "image, go into HDF5 files that an HDF5Data layer reads"
)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def read_names(path: str | os.PathLike[str]) -> list[str]:
    """Return the names of classes that a text file has, one on a line.

    Raises `FileError`.
    """
    name = os.fspath(path)
    try:
        lines = read_bytes(name).decode().splitlines()
    except UnicodeDecodeError as error:
        raise FileError(f"{name}: is no text in UTF-8: {error}") from None
    return [line.strip() for line in lines if line.strip()]
