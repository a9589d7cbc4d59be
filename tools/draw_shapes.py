"""Draw images of squares, circles and triangles, with their boxes: a set for detection.

    python tools/draw_shapes.py FOLDER [--train N] [--test N] [--seed N]

Writes `train_lmdb` and `test_lmdb`, databases that AnnotatedData layers read, and
`labelmap.prototxt`, the names of the classes. The images follow from the seed. Needs
the extra netspec[data].
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from netspec.schema import AnnotatedDatum, Datum, LabelMap
from netspec.text import to_text
from runtime.data.convert import write_records

SIDE = 64
NAMES = ("background", "square", "circle", "triangle")
SMALLEST, LARGEST = 12, 36  # pixels of a side
MOST = 3  # shapes in an image
CLEAR = 60  # least difference of a shape's colour from the background's, of one channel
NOISE = 12  # standard deviation
TRIALS = 50  # to place a shape away from the others


def draw(rng: np.random.Generator) -> tuple[np.ndarray, list[tuple[int, list[int]]]]:
    """Return an image (3, 64, 64) of bytes, and class and corners of its shapes."""
    ground = rng.integers(0, 256, 3)
    image = np.ones((3, SIDE, SIDE)) * ground[:, None, None]
    shapes: list[tuple[int, list[int]]] = []
    wanted = int(rng.integers(1, MOST + 1))
    for _ in range(TRIALS):
        if len(shapes) == wanted:
            break
        size = int(rng.integers(SMALLEST, LARGEST + 1))
        left, top = (int(v) for v in rng.integers(0, SIDE - size + 1, 2))
        box = [left, top, left + size, top + size]
        if any(_touch(box, other) for _, other in shapes):
            continue
        kind = int(rng.integers(1, len(NAMES)))
        colour = rng.integers(0, 256, 3)
        while np.abs(colour - ground).max() < CLEAR:
            colour = rng.integers(0, 256, 3)
        part = image[:, top : top + size, left : left + size]
        part[:, _mask(kind, size)] = colour[:, None]
        shapes.append((kind, box))
    image += rng.normal(scale=NOISE, size=image.shape)
    return np.clip(image, 0, 255).astype(np.uint8), shapes


def _touch(a: Sequence[int], b: Sequence[int]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _mask(kind: int, size: int) -> np.ndarray:
    """Say which pixels of a square of `size` belong to a shape that fills it."""
    y, x = (np.mgrid[:size, :size] + 0.5) / size
    if NAMES[kind] == "circle":
        inside: np.ndarray = (x - 0.5) ** 2 + (y - 0.5) ** 2 <= 0.25
    elif NAMES[kind] == "triangle":
        inside = np.abs(x - 0.5) <= y / 2
    else:
        inside = np.ones((size, size), bool)
    return inside


def records(count: int, seed: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield keys and values of a database of `count` images."""
    rng = np.random.default_rng(seed)
    for index in range(count):
        image, shapes = draw(rng)
        datum = Datum(
            channels=3, height=SIDE, width=SIDE, data=image.tobytes(), label=-1
        )
        record = AnnotatedDatum(datum=datum, type=AnnotatedDatum.BBOX)
        for kind, corners in shapes:
            group = record.annotation_group.add(group_label=kind)
            box = group.annotation.add(instance_id=0).bbox
            box.xmin, box.ymin, box.xmax, box.ymax = (v / SIDE for v in corners)
        yield f"{index:08d}".encode(), record.SerializeToString()


def write(folder: Path, train: int, test: int, seed: int = 0) -> None:
    """Write both databases and the names of the classes."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, (name, count) in enumerate((("train", train), ("test", test))):
        room = count * (3 * SIDE * SIDE + 1000)
        write_records(folder / f"{name}_lmdb", room, records(count, 2 * seed + number))
    names = LabelMap()
    for number, name in enumerate(NAMES):
        names.item.add(name=name, label=number, display_name=name)
    (folder / "labelmap.prototxt").write_text(to_text(names))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--train", type=int, default=2000, metavar="N")
    parser.add_argument("--test", type=int, default=200, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    options = parser.parse_args(arguments)
    write(options.folder, options.train, options.test, options.seed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
