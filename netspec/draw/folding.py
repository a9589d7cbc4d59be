"""Folds: equal modules in a row are one, of which the inside is drawn once.

Modules are equal if they have the same layers with the same options, shapes and lines;
names do not count. They are in a row if each reads from the one before it, as blocks of
a residual net and steps of a recurrent one do. What else they read comes for all of
them from one layer, and what reads another than the last reads all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from netspec.draw.boxes import Picture, Row, Shape
from netspec.draw.modules import Module
from netspec.schema import LayerParameter

FOLD_LENGTH = 3  # two are as quickly read as a fold

Place: TypeAlias = "tuple[int, int]"  # of a box in a module, and of one of its blobs


def fold(root: Module, picture: Picture, *, unless: Sequence[str] = ()) -> None:
    """Put every row of at least `FOLD_LENGTH` equal modules into a fold.

    unless: modules that are to be seen themselves, by path; a row that holds one is
    left as it is.
    """
    reader = _Reader(picture)
    todo = [root]
    while todo:
        module = todo.pop()
        for row in _rows(module, reader):
            seen = any(
                f"{p}/".startswith(f"{m.path}/") for m in row.modules for p in unless
            )
            if len(row.modules) >= FOLD_LENGTH and not seen:
                _put_into_fold(module, row)
        for child in module.children:
            if isinstance(child, Module):
                todo.append(child.shown)


@dataclass(frozen=True)
class _Content:
    """What is in a module, apart from names, and what goes in and out.

    likeness: equal for equal modules. shapes: of all blobs, None where not known.
    boxes: in the order of the net. slots: blobs that come from outside, in the order in
    which they are read.
    """

    likeness: Any
    shapes: list[Shape | None]
    boxes: list[int]
    slots: list[int]

    def equals(self, other: _Content) -> bool:
        """Tell whether two modules differ in names only, as far as shapes are known."""
        return self.likeness == other.likeness and all(
            one is None or another is None or one == another
            for one, another in zip(self.shapes, other.shapes, strict=True)
        )


@dataclass
class _Run:
    """Equal modules, each of which reads from the one before it.

    sources: of every slot where all but the first have it from: a place in the module
    before, or a box outside. others: what reads all of them, by what it reads.
    """

    modules: list[Module]
    contents: list[_Content]
    sources: list[Place | int] = field(default_factory=list)
    others: set[tuple[Place, int]] = field(default_factory=set)


def _put_into_fold(module: Module, run: _Run) -> None:
    row = run.modules
    folded = Module(f"{row[0].path} … {row[-1].path}", list(row), is_fold=True)
    for slot, source in enumerate(run.sources):
        for content in run.contents[1:] if isinstance(source, int) else ():
            if content.slots[slot] != run.contents[0].slots[slot]:
                folded.equal[content.slots[slot]] = run.contents[0].slots[slot]
    place = module.children.index(row[0])
    module.children[place] = folded
    gone = set(row)
    module.children = [
        child
        for child in module.children
        if not isinstance(child, Module) or child not in gone
    ]


def _rows(module: Module, reader: _Reader) -> list[_Run]:
    """Return the longest rows of equal modules among the children of `module`."""
    children = [child for child in module.children if isinstance(child, Module)]
    if len(children) < FOLD_LENGTH:
        return []
    holder = {box: child for child in children for box in child.boxes()}
    runs: list[_Run] = []
    last_of: dict[Module, _Run] = {}
    for child in children:
        content = reader.content(child)
        read = (holder.get(reader.source(blob)) for blob in content.slots)
        for before in dict.fromkeys(one for one in read if one is not None):
            run = last_of.get(before)
            if run is not None and reader.joins(run, content):
                run.modules.append(child)
                run.contents.append(content)
                last_of[child] = last_of.pop(before)
                break
        else:
            last_of[child] = _Run([child], [content])
            runs.append(last_of[child])
    for run in runs:
        if not run.others <= reader.others(run.contents[-1], ()):
            run.modules.pop()  # as it is not read as those before it are
            run.contents.pop()
    return runs


class _Reader:
    """Reads modules, and tells which are equal and in a row."""

    def __init__(self, picture: Picture) -> None:
        self._picture = picture
        self._known: dict[Module, _Content] = {}

    def source(self, blob: int) -> int:
        """Return the box that makes a blob."""
        return self._picture.blobs[blob].net.source

    def joins(self, run: _Run, content: _Content) -> bool:
        """Tell whether a module goes on with a row; note what all have in common."""
        last = run.contents[-1]
        if not last.equals(content):
            return False
        sources = [self._source(blob, last) for blob in content.slots]
        others = self.others(last, content.boxes)
        if len(run.modules) > 1:
            return sources == run.sources and others == run.others
        first = [self.source(blob) for blob in last.slots]
        if any(
            isinstance(source, int) and source != before
            for source, before in zip(sources, first, strict=True)
        ):
            return False
        run.sources, run.others = sources, others
        return True

    def _source(self, blob: int, before: _Content) -> Place | int:
        """Return where a blob comes from: a place in the module before, or a box."""
        box = self.source(blob)
        if box not in before.boxes:
            return box
        makes = self._picture.boxes[box].makes
        return before.boxes.index(box), makes.index(blob)

    def others(self, content: _Content, next_: Sequence[int]) -> set[tuple[Place, int]]:
        """Return which boxes read a module, but for its own and those of `next_`."""
        inside = {*content.boxes, *next_}
        found = set()
        for place, box in enumerate(content.boxes):
            for number, blob in enumerate(self._picture.boxes[box].makes):
                for target in self._picture.blobs[blob].net.targets:
                    if target not in inside:
                        found.add(((place, number), target))
        return found

    def content(self, module: Module) -> _Content:
        """Return what is in a module."""
        if module not in self._known:
            self._known[module] = self._read(module)
        return self._known[module]

    def _read(self, module: Module) -> _Content:
        picture, boxes = self._picture, module.boxes()
        own: dict[int, Place] = {}
        for place, box in enumerate(boxes):
            for number, blob in enumerate(picture.boxes[box].makes):
                own[blob] = place, number
        slots: dict[int, int] = {}
        likeness = []
        for each in (picture.boxes[number] for number in boxes):
            reads: list[Any] = [
                own.get(blob) or slots.setdefault(blob, len(slots))
                for blob in each.reads
            ]
            rows = [_content(row) for row in each.rows]
            likeness.append((rows, reads, each.path.count("/")))
        shapes = [picture.blobs[blob].shape for blob in (*slots, *own)]
        return _Content(likeness, shapes, boxes, list(slots))


def _content(row: Row) -> tuple[str, tuple[str, ...], bytes, bool]:
    """Return what a layer is, apart from names."""
    layer = LayerParameter()
    layer.CopyFrom(row.layer)
    for field_ in ("name", "bottom", "top", "blobs"):
        layer.ClearField(field_)
    for param in layer.param:
        if not row.shared:
            param.ClearField("name")
    data = layer.SerializeToString(deterministic=True)
    return row.phase, row.shared, data, bool(row.fact.mistake)
