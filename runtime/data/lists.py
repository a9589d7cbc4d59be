"""Text files that name other files, one on every line."""

from __future__ import annotations

from pathlib import Path

from netspec.errors import FileError
from netspec.files import read_bytes


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


def read_labelled(path: str | Path, what: str) -> list[tuple[str, int]]:
    """Read lines of a path, which may have spaces, and a label.

    Raises `FileError` naming the first line that is none.
    """
    found = []
    for number, line in read_lines(path, what):
        name, *rest = line.rsplit(None, 1)
        try:
            found.append((name, int(rest[0])))
        except (IndexError, ValueError):
            raise FileError(
                f"{what}: {path}:{number}: expected a path and a label, got {line!r}"
            ) from None
    return found
