"""Detections as files, in the formats that PASCAL VOC, COCO and ILSVRC take."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from netspec.errors import FileError, SpecError, SpecWarning
from netspec.files import is_file, replacing
from netspec.notebooks import warn_user
from netspec.ops.base import label
from netspec.ops.detection_output import Saving
from netspec.schema import LabelMap, LayerParameter
from netspec.text import read_message
from runtime.data.name_sizes import NamedSize, read_name_sizes
from runtime.layers._default_boxes import in_pixels

FORMATS = ("VOC", "COCO", "ILSVRC")


class Found(NamedTuple):
    """A detection: place and size in pixels of the image, with two decimals."""

    image: str
    label: int
    score: float
    x: float
    y: float
    width: float
    height: float


@dataclass
class SavedDetections:
    """Collects detections and writes them whenever a set of images is complete.

    names: of classes, by number. images: name and size of the images of a set, in the
    order in which they come. Files of an earlier set are replaced.
    """

    layer: LayerParameter
    saving: Saving
    names: dict[int, str]
    images: list[NamedSize]
    _found: list[Found] = field(default_factory=list)
    _count: int = 0

    @classmethod
    def opened(cls, layer: LayerParameter, saving: Saving) -> SavedDetections | None:
        """Read the files that `save_output_param` names.

        Warns and returns None where they are not named or not there, as a net is used
        on other machines than the one it was tested on.
        Raises `FileError` for files that are broken, `SpecError` for an unknown format
        and for a number of images that the list does not have.
        """
        what = label(layer)
        for name, path in (
            ("label_map_file", saving.label_map_file),
            ("name_size_file", saving.name_size_file),
        ):
            if not path or not is_file(path):
                missing = f"{path!r} is not there" if path else "is not given"
                warn_user(
                    f"{what}: detections are not saved to "
                    f"{saving.directory!r}, as save_output_param.{name} {missing}",
                    SpecWarning,
                )
                return None
        if saving.format not in FORMATS:
            raise SpecError(
                f"output_format is {saving.format!r}; expected one of "
                f"{', '.join(FORMATS)}",
                layer=what,
            )
        items = read_message(saving.label_map_file, LabelMap).item
        images = read_name_sizes(saving.name_size_file, what)
        wanted = len(images) if saving.images is None else saving.images
        if not 0 < wanted <= len(images):
            raise SpecError(
                f"num_test_image is {wanted}, but {saving.name_size_file} lists "
                f"{len(images)} images",
                layer=what,
            )
        names = {item.label: item.name for item in items}
        return cls(layer, saving, names, images[:wanted])

    def add(self, rows: np.ndarray, items: int) -> None:
        """Take the detections of a batch of `items` images, the next ones of the list.

        Shapes: rows (K, 7).
        """
        for item in range(items):
            mine = rows[(rows[:, 0] == item) & (rows[:, 1] >= 0)]
            self._found.extend(self._in_image(mine))
            self._count += 1
            if self._count == len(self.images):
                self._write()
                self._found, self._count = [], 0

    def _in_image(self, rows: np.ndarray) -> Iterator[Found]:
        name, size = self.images[self._count]
        boxes, _ = in_pixels(rows[:, 3:], size, self.saving.resizing)
        for row, (left, top, right, bottom) in zip(rows, boxes.tolist(), strict=True):
            number = int(row[1])
            if number not in self.names and self.saving.format != "ILSVRC":
                raise SpecError(
                    f"class {number} has no name in {self.saving.label_map_file}; add "
                    f"an item with label: {number}",
                    layer=label(self.layer),
                )
            sides = (left, top, right - left, bottom - top)
            yield Found(name, number, float(row[2]), *map(_two_decimals, sides))

    def _write(self) -> None:
        saving = self.saving
        folder = Path(saving.directory)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileError(
                f"{label(self.layer)}: {folder} cannot be made: {error}"
            ) from error
        if saving.format == "COCO":
            text = json.dumps([_as_coco(one, self.names) for one in self._found])
            _write_text(folder / f"{saving.prefix}.json", [text])
        elif saving.format == "ILSVRC":
            lines = [_line(one, f" {one.label}") for one in self._found]
            _write_text(folder / f"{saving.prefix}.txt", lines)
        else:
            background = self.layer.detection_output_param.background_label_id
            for number, name in self.names.items():
                if number == background:
                    continue
                lines = [_line(one) for one in self._found if one.label == number]
                _write_text(folder / f"{saving.prefix}{name}.txt", lines)


def _two_decimals(value: float) -> float:
    """Round half away from 0, as C does."""
    return math.copysign(math.floor(abs(value) * 100 + 0.5) / 100, value)


def _line(one: Found, label: str = "") -> str:
    """Return a line: name, score, and corners cut to whole pixels."""
    x, y, width, height = map(int, one[3:])
    corners = f"{x} {y} {x + width} {y + height}"
    return f"{one.image}{label} {one.score:g} {corners}"


def _as_coco(one: Found, names: dict[int, str]) -> dict[str, object]:
    return {
        "image_id": _number_or_text(one.image),
        "category_id": _number_or_text(names[one.label]),
        "bbox": list(one[3:]),
        "score": float(f"{one.score:.9g}"),
    }


def _number_or_text(text: str) -> int | str:
    """Return an integer where the text is one, as COCO numbers images and classes."""
    return int(text) if text.isascii() and text.isdigit() else text


def _write_text(path: Path, lines: Iterable[str]) -> None:
    with replacing(path) as file:
        file.write("".join(f"{line}\n" for line in lines).encode())
