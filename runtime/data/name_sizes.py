"""Text files that tell the name and the size of every image of a set, as SSD has."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

from netspec.errors import FileError
from runtime.data.lists import read_lines

NamedSize: TypeAlias = tuple[str, tuple[int, int]]  # name, (height, width)


def read_name_sizes(path: str | Path, what: str) -> list[NamedSize]:
    """Return the name and (height, width) on every line of a file.

    what: who asks, as errors say it.

    Raises `FileError` naming the first line that is not `name height width`.
    """
    found = []
    for number, line in read_lines(path, what):
        words = line.rsplit(None, 2)
        sizes = words[1:]
        if len(words) != 3 or not all(word.isdecimal() for word in sizes):
            raise FileError(
                f"{what}: {path}:{number}: expected the name, height and width of an "
                f"image, got {line!r}"
            )
        height, width = map(int, sizes)
        if not (height and width):
            raise FileError(f"{what}: {path}:{number}: the image has no pixels")
        found.append((words[0], (height, width)))
    return found
