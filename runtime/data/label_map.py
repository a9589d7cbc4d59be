"""Label maps of the SSD fork: which number a class has, and what it is called."""

from __future__ import annotations

from pathlib import Path

from netspec.errors import FileError, TextError
from netspec.schema import LabelMap
from netspec.text import read_message


class Labels:
    """The classes of a label map: numbers by name, names by number.

    Raises `FileError` for a file that is no label map, has no classes, or has a name or
    a number twice.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            items = list(read_message(self.path, LabelMap).item)
        except TextError as error:
            raise FileError(f"{path}: is no label map: {error}") from error
        if not items:
            raise FileError(f"{path}: has no classes; a label map has `item {{ ... }}`")
        self.numbers: dict[str, int] = {}
        self.names: dict[int, str] = {}
        self.shown: dict[int, str] = {}
        for item in items:
            for field in ("name", "label"):
                if not item.HasField(field):
                    raise FileError(f"{path}: an item has no {field}: {item}".strip())
            if item.name in self.numbers:
                raise FileError(f"{path}: has the name {item.name!r} twice")
            if item.label in self.names:
                raise FileError(f"{path}: has the label {item.label} twice")
            self.numbers[item.name] = item.label
            self.names[item.label] = item.name
            self.shown[item.label] = item.display_name or item.name
