"""Image files and their annotations as a database that AnnotatedData layers read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from netspec.errors import FileError
from netspec.files import read_bytes
from netspec.schema import AnnotatedDatum, Datum
from runtime.data.annotations import Annotated, checked, read_annotation, read_coco
from runtime.data.convert import Advance, check_place, write_records
from runtime.data.images import decode, resize
from runtime.data.label_map import Labels
from runtime.data.lists import read_lines


@dataclass(frozen=True)
class Form:
    """How images are written: as their files are, or as pixels of a size.

    size: (height, width) of pixels. gray: one channel. clip: cut boxes at the sides.
    """

    size: tuple[int, int] | None = None
    gray: bool = False
    clip: bool = False


def read_annotated(source: Path, root: str, labels: Labels | None) -> list[Annotated]:
    """Read a COCO file of many images, or a list with an image and its annotation.

    root: what stands in front of every path.

    Raises `FileError` for a line that is none, and for annotations that are none.
    """
    if source.suffix.lower() == ".json":
        found = read_coco(source, labels)
        if not found:
            raise FileError(f"{source}: has no images")
        return found
    found = []
    for number, line in read_lines(source, "annotated"):
        words = line.split()
        if len(words) != 2:
            raise FileError(
                f"{source}:{number}: expected an image and an annotation file, got "
                f"{line!r}"
            )
        found.append(read_annotation(Path(root + words[1]), words[0], labels))
    return found


def write_annotated(
    images: Sequence[Annotated],
    root: str,
    folder: Path,
    form: Form,
    *,
    force: bool = False,
    advance: Advance = lambda count: None,
) -> int:
    """Write a database, and return how many boxes it has. It appears whole or not.

    Raises `FileError` for an image that is none, a box that cannot be, and where
    something stands already, unless `force`.
    """
    check_place(folder, "lmdb", force=force)
    boxes = 0

    def records() -> Iterator[tuple[bytes, bytes]]:
        nonlocal boxes
        for number, one in enumerate(images):
            record, count = _record(one, root, form)
            boxes += count
            yield f"{number:08d}_{one.image}".encode(), record.SerializeToString()

    write_records(folder, _room(images, root, form), records(), advance)
    return boxes


def _room(images: Sequence[Annotated], root: str, form: Form) -> int:
    """Return about how many bytes the records have."""
    if form.size is not None:
        return len(images) * 3 * form.size[0] * form.size[1]
    total = 0
    for one in images:
        path = Path(root + one.image)
        try:
            total += path.stat().st_size
        except OSError as error:
            raise FileError(f"{path}: {error.strerror}") from error
    return total * (16 if form.gray else 1)


def _record(one: Annotated, root: str, form: Form) -> tuple[AnnotatedDatum, int]:
    path = Path(root + one.image)
    image = decode(path, str(path), color=not form.gray)
    size = (image.shape[1], image.shape[2])
    if form.size is None and not form.gray:
        datum = Datum(
            data=read_bytes(path), encoded=True, height=size[0], width=size[1], label=-1
        )
        datum.channels = len(image)
    else:
        pixels = image if form.size is None else resize(image, *form.size)
        channels, height, width = pixels.shape
        datum = Datum(channels=channels, height=height, width=width, label=-1)
        datum.data = np.ascontiguousarray(pixels).tobytes()
    record = AnnotatedDatum(datum=datum, type=AnnotatedDatum.BBOX)
    groups: dict[int, int] = {}
    count = 0
    for found, box in checked(one, size, clip=form.clip):
        if found.label not in groups:
            groups[found.label] = len(record.annotation_group)
            record.annotation_group.add(group_label=found.label)
        group = record.annotation_group[groups[found.label]]
        made = group.annotation.add(instance_id=len(group.annotation))
        made.bbox.xmin, made.bbox.ymin, made.bbox.xmax, made.bbox.ymax = box
        made.bbox.difficult = found.difficult
        count += 1
    return record, count
