"""Folds: equal modules in a row are one, of which the inside is drawn once.

Modules are equal if they have the same layers with the same options, shapes and lines;
names do not count. They are in a row if each reads nothing but the one before it, and
nothing else reads that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from netspec.draw.boxes import Picture, Row
from netspec.draw.modules import Module, settle
from netspec.schema import LayerParameter

FOLD_LENGTH = 3  # two are as quickly read as a fold


def fold(root: Module, picture: Picture, *, unless: Sequence[str] = ()) -> None:
    """Put every row of at least `FOLD_LENGTH` equal modules into a fold.

    unless: modules that are to be seen themselves, by path; a row that holds one is
    left as it is.
    """
    likeness = _Likeness(picture)
    for module in [root, *root.modules()]:
        for row in _rows(module, likeness):
            seen = any(f"{p}/".startswith(f"{m.path}/") for m in row for p in unless)
            if len(row) >= FOLD_LENGTH and not seen:
                _put_into_fold(module, row)
    settle(root, picture)


def drawn_boxes(root: Module, picture: Picture) -> list[int]:
    """Return which box is drawn for each: in a fold, its equal in the first module."""
    drawn = list(range(len(picture.boxes)))
    for module in root.modules():
        for other in module.children[1:] if module.is_fold else ():
            if isinstance(other, Module):
                pairs = zip(other.boxes(), module.shown.boxes(), strict=True)
                for box, equal in pairs:
                    drawn[box] = equal
    for box in range(len(drawn)):
        while drawn[box] != drawn[drawn[box]]:  # folds in folds
            drawn[box] = drawn[drawn[box]]
    return drawn


def _put_into_fold(module: Module, row: list[Module]) -> None:
    folded = Module(f"{row[0].path} … {row[-1].path}", list(row), is_fold=True)
    place = module.children.index(row[0])
    module.children[place] = folded
    gone = set(row)
    module.children = [
        child
        for child in module.children
        if not isinstance(child, Module) or child not in gone
    ]


def _rows(module: Module, likeness: _Likeness) -> list[list[Module]]:
    """Return the longest rows of equal modules among the children of `module`."""
    rows: list[list[Module]] = []
    end_of: dict[int, list[Module]] = {}  # id of the last module of a row -> the row
    start = len(module.entries)
    reader = {line.source - start: line for line in module.lines}
    for place, child in enumerate(module.children):
        if not isinstance(child, Module):
            continue
        row = end_of.pop(place, None)
        if row is None or not likeness.equal(row[-1], child):
            row = []
            rows.append(row)
        row.append(child)
        line = reader.get(place)
        if line is None or len(child.exits) != 1 or len(line.targets) != 1:
            continue
        follower = line.targets[0] - start
        if follower < len(module.children):
            then = module.children[follower]
            if isinstance(then, Module) and len(then.entries) == 1:
                end_of[follower] = row
    return [row for row in rows if len(row[0].entries) == 1]


class _Likeness:
    """Which modules are equal."""

    def __init__(self, picture: Picture) -> None:
        self._picture = picture
        self._known: dict[int, Any] = {}
        self._blobs: list[list[int]] = [[] for _ in picture.boxes]
        for number, blob in enumerate(picture.blobs):
            for box in {blob.net.source, *blob.net.targets}:
                self._blobs[box].append(number)

    def equal(self, one: Module, other: Module) -> bool:
        """Tell whether two modules differ in names only."""
        return bool(self._signature(one) == self._signature(other))

    def _signature(self, module: Module) -> Any:
        if id(module) not in self._known:
            self._known[id(module)] = self._read(module)
        return self._known[id(module)]

    def _read(self, module: Module) -> Any:
        boxes = module.boxes()
        own = {box: place for place, box in enumerate(boxes)}
        layers = [
            [_content(row) for row in self._picture.boxes[box].rows] for box in boxes
        ]
        lines = []
        for number in sorted({n for box in boxes for n in self._blobs[box]}):
            blob = self._picture.blobs[number]
            source = own.get(blob.net.source, -1)
            targets = tuple(own.get(box, -1) for box in blob.net.targets)
            if source < 0:
                targets = tuple(target for target in targets if target >= 0)
            lines.append((source, targets, blob.shape))
        depths = [self._picture.boxes[box].name.count("/") for box in boxes]
        return layers, lines, depths


def _content(row: Row) -> tuple[str, tuple[str, ...], bytes, bool]:
    """Return what a layer is, apart from names."""
    layer = LayerParameter()
    layer.CopyFrom(row.layer)
    for field in ("name", "bottom", "top", "blobs"):
        layer.ClearField(field)
    for param in layer.param:
        if not row.shared:
            param.ClearField("name")
    data = layer.SerializeToString(deterministic=True)
    return row.phase, row.shared, data, bool(row.fact.mistake)
