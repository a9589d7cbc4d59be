"""Annotations of images in the forms in which data sets have them: VOC, COCO and text.

A VOC file is XML, one for an image; so is SSD's text, a line `label xmin ymin xmax
ymax` for every object. COCO has one JSON file for many images, which SSD cuts into one
for each. Coordinates are pixels, from the corner of the image.
"""

from __future__ import annotations

import json
import math
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from netspec.errors import FileError
from netspec.files import read_bytes
from runtime.data.label_map import Labels

SIDES = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True)
class Found:
    """An object: its class, its box in pixels, whether it is hard to tell.

    where: of what file and object errors speak.
    """

    label: int
    box: tuple[float, float, float, float]
    difficult: bool
    where: str


@dataclass(frozen=True)
class Annotated:
    """An image file and the objects in it; size (H, W) if the annotation tells it."""

    image: str
    objects: tuple[Found, ...]
    size: tuple[int, int] | None
    where: str


def read_annotation(path: Path, image: str, labels: Labels | None) -> Annotated:
    """Read the annotation file of one image: by its end `.xml`, `.json`, else text.

    Raises `FileError` naming the file, the object and what is wrong with it.
    """
    readers: dict[str, Callable[..., Annotated]] = {".xml": _voc, ".json": _coco_image}
    return readers.get(path.suffix.lower(), _text)(path, image, labels)


def _named(labels: Labels | None, name: str, where: str) -> int:
    if labels is None:
        raise FileError(
            f"{where}: names its class {name!r}; give --label-map, which has the "
            f"number of each"
        )
    if name not in labels.numbers:
        raise FileError(f"{where}: its class {name!r} is not in {labels.path}")
    return labels.numbers[name]


def _number(text: Any, where: str, what: str) -> float:
    try:
        value = float(text)
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise FileError(f"{where}: {what} is {text!r}; expected a number")
    return value


def _voc(path: Path, image: str, labels: Labels | None) -> Annotated:
    data = read_bytes(path)
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise FileError(f"{path}: has a DOCTYPE, which no annotation needs; remove it")
    try:
        root = ET.fromstring(data)  # noqa: S314 - without entities, see above
    except ET.ParseError as error:
        raise FileError(f"{path}: is no XML: {error}") from error
    size = None
    if root.find("size") is not None:
        sides = [root.findtext(f"size/{side}") for side in ("height", "width")]
        height, width = (_number(side, f"{path}", "its size") for side in sides)
        size = (int(height), int(width))
    objects = []
    for index, one in enumerate(root.iter("object")):
        name = (one.findtext("name") or "").strip()
        where = f"{path}: object {index} ({name or 'no name'})"
        if one.find("bndbox") is None:
            raise FileError(f"{where}: has no bndbox")
        box = [_number(one.findtext(f"bndbox/{s}"), where, s) for s in SIDES]
        hard = (one.findtext("difficult") or "0").strip() not in ("0", "")
        number = _named(labels, name, where)
        objects.append(Found(number, (box[0], box[1], box[2], box[3]), hard, where))
    return Annotated(image, tuple(objects), size, str(path))


def _text(path: Path, image: str, labels: Labels | None) -> Annotated:
    try:
        lines = read_bytes(path).decode().splitlines()
    except UnicodeDecodeError:
        raise FileError(
            f"{path}: is no text; expected `label xmin ymin xmax ymax` on every line"
        ) from None
    objects = []
    for index, line in enumerate(lines, 1):
        words, where = line.split(), f"{path}:{index}"
        if not words:
            continue
        if len(words) != 5:
            raise FileError(
                f"{where}: expected label xmin ymin xmax ymax, got {line.strip()!r}"
            )
        numbers = [_number(w, where, s) for w, s in zip(words[1:], SIDES, strict=True)]
        label = int(words[0]) if words[0].lstrip("-").isdecimal() else None
        if label is None:
            label = _named(labels, words[0], where)
        box = (numbers[0], numbers[1], numbers[2], numbers[3])
        objects.append(Found(label, box, False, where))
    return Annotated(image, tuple(objects), None, str(path))


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(read_bytes(path))
    except (ValueError, RecursionError) as error:
        raise FileError(f"{path}: is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise FileError(f"{path}: is no annotation; expected an object")
    return found


def _coco_object(one: Any, labels: Labels | None, names: Any, where: str) -> Found:
    """Read an object of COCO: bbox is x, y, width, height."""
    if not isinstance(one, dict) or "category_id" not in one:
        raise FileError(f"{where}: has no category_id")
    box, number = one.get("bbox"), one["category_id"]
    if not isinstance(box, list) or len(box) != 4:
        raise FileError(f"{where}: bbox is {box!r}; expected x, y, width, height")
    x, y, w, h = (_number(value, where, "bbox") for value in box)
    if labels is None:
        label = int(_number(number, where, "category_id"))
    elif str(number) in labels.numbers or number not in names:
        label = _named(labels, str(number), where)
    else:
        label = _named(labels, names[number], where)
    return Found(label, (x, y, x + w, y + h), bool(one.get("iscrowd", 0)), where)


def _coco_image(path: Path, image: str, labels: Labels | None) -> Annotated:
    content = _json(path)
    objects = content.get("annotation", [])
    if not isinstance(objects, list):
        raise FileError(f"{path}: `annotation` is no list")
    found = tuple(
        _coco_object(one, labels, {}, f"{path}: object {index}")
        for index, one in enumerate(objects)
    )
    return Annotated(image, found, _coco_size(content.get("image"), path), str(path))


def _coco_size(image: Any, path: Path) -> tuple[int, int] | None:
    if not isinstance(image, dict) or not {"height", "width"} <= image.keys():
        return None
    sides = [_number(image[side], str(path), side) for side in ("height", "width")]
    return int(sides[0]), int(sides[1])


def read_coco(path: Path, labels: Labels | None) -> list[Annotated]:
    """Read a COCO file of many images, in its order.

    Raises `FileError` naming the file, the object and what is wrong with it.
    """
    content = _json(path)
    for name in ("images", "annotations"):
        if not isinstance(content.get(name), list):
            raise FileError(
                f"{path}: is no COCO file of instances, as it has no list `{name}`"
            )
    names = {
        one.get("id"): str(one.get("name"))
        for one in content.get("categories", [])
        if isinstance(one, dict)
    }
    by_image: dict[Any, list[Found]] = {}
    files: dict[Any, Annotated] = {}
    for index, image in enumerate(content["images"]):
        if not isinstance(image, dict) or not {"id", "file_name"} <= image.keys():
            raise FileError(f"{path}: image {index} has no id or no file_name")
        where = f"{path}: image {image['id']}"
        size = _coco_size(image, path)
        files[image["id"]] = Annotated(str(image["file_name"]), (), size, where)
    for index, one in enumerate(content["annotations"]):
        number = one.get("image_id") if isinstance(one, dict) else None
        where = f"{path}: annotation {index} of image {number}"
        if number not in files:
            raise FileError(f"{where}: there is no such image")
        by_image.setdefault(number, []).append(_coco_object(one, labels, names, where))
    return [
        replace(image, objects=tuple(by_image.get(number, ())))
        for number, image in files.items()
    ]


def checked(
    found: Annotated, size: tuple[int, int], *, clip: bool
) -> Iterator[tuple[Found, tuple[float, ...]]]:
    """Yield every object with its box in fractions of the sides of the image.

    size: (H, W) of the image file. clip: cut boxes at the sides of the image.

    Raises `FileError` for an annotation of an image of another size, and for a box that
    reaches beyond the image or is none.
    """
    height, width = size
    if found.size is not None and found.size != size:
        raise FileError(
            f"{found.where}: is of an image of {found.size[0]} by {found.size[1]} "
            f"(height, width), but {found.image} has {height} by {width}"
        )
    for one in found.objects:
        box = one.box
        if clip:
            sides = (width, height, width, height)
            box = tuple(  # type: ignore[assignment]
                min(max(value, 0.0), float(side))
                for value, side in zip(box, sides, strict=True)
            )
        said = f"{one.where}: its box is {tuple(f'{value:g}' for value in box)}"
        if not (box[0] < box[2] and box[1] < box[3]):
            raise FileError(
                f"{said}, which has no area; expected xmin < xmax and ymin < ymax"
            )
        if box[0] < 0 or box[1] < 0 or box[2] > width or box[3] > height:
            raise FileError(
                f"{said}, which reaches beyond {found.image} of {height} by {width} "
                f"(height, width); correct it, or cut such boxes with --clip"
            )
        yield one, (box[0] / width, box[1] / height, box[2] / width, box[3] / height)
